//! The compiler cache of a package: a volume that its compile containers share, kept between runs, and
//! what it did for a build.
//!
//! A package's own build can write to it, so no two packages share one.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::time::Duration;

use serde::Deserialize;
use tokio_util::io::SyncIoBridge;
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::manifest::CacheFigures;
use wheelfarm_core::render::{CACHE_FIGURES_FILE, CACHE_FOLDER, CACHE_VARIABLES, USAGE_FILE};

use super::BuildMode;
use super::job::RunningJob;
use crate::container::{
    Engine, EngineError, EngineErrorKind, Labels, OwnedContainer, Volume, labels,
};

/// How long figures may take to come: a wheel does not wait for them.
const FIGURES_TIME: Duration = Duration::from_mins(1);

/// The longest file of figures; one has 0.6 kB.
const MAX_BYTES: u64 = 64 << 10;

impl<E: Engine> RunningJob<'_, E> {
    /// The volume with the cache, and the variables that tell the build of it. A rehearsal compiles
    /// nothing.
    pub(super) fn cache_volume(&self, env: &mut BTreeMap<String, String>) -> Option<Volume> {
        let limit = self.cx.settings.compiler_cache?;
        if self.cx.settings.mode == BuildMode::Rehearse {
            return None;
        }
        let [folder, bytes] = CACHE_VARIABLES;
        env.insert(folder.to_owned(), CACHE_FOLDER.to_owned());
        env.insert(bytes.to_owned(), limit.bytes().to_string());
        let (farm, package) = (self.cx.label(), self.job.package());
        Some(Volume {
            name: format!(
                "wheelfarm-cache-{package}-{}",
                Sha256Digest::of(farm.as_bytes()).short()
            ),
            path: CACHE_FOLDER.to_owned(),
            labels: Labels::default()
                .with(labels::CACHE, &farm)
                .with(labels::PACKAGE, package.as_str()),
        })
    }
}

/// What a build leaves word of. One that was killed leaves nothing, and no figure is worth a wheel.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// What the compiler cache did for it.
    pub(super) cache: Option<CacheFigures>,
    /// What its container used.
    pub(super) usage: Option<Usage>,
}

/// What a container used, as the build inside read it off its control group.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) struct Usage {
    pub(super) cpu_ms: Option<u64>,
    pub(super) peak_memory_bytes: Option<u64>,
    pub(super) build_bytes: Option<u64>,
}

/// The figures of an ended build.
pub(super) async fn left_by<E: Engine>(container: &OwnedContainer<E>) -> Left {
    let cache = text_of(container, CACHE_FIGURES_FILE).await;
    let usage = text_of(container, USAGE_FILE).await;
    Left {
        cache: cache.and_then(|text| CacheFigures::parse(&text)),
        usage: usage.and_then(|text| serde_json::from_str(&text).ok()),
    }
}

async fn text_of<E: Engine>(container: &OwnedContainer<E>, path: &str) -> Option<String> {
    let asked = tokio::time::timeout(FIGURES_TIME, container.download(path)).await;
    let archive = match asked.unwrap_or_else(|_| {
        Err(EngineError::new(
            format!("take `{path}` out in time"),
            EngineErrorKind::Other,
        ))
    }) {
        Ok(archive) => archive,
        Err(error) => {
            if error.kind() != EngineErrorKind::NoSuchPath {
                tracing::warn!(%error, path, "figures of a build not read");
            }
            return None;
        }
    };
    let text = tokio::task::spawn_blocking(move || first_file(SyncIoBridge::new(archive)))
        .await
        .expect("reading a small text does not panic");
    text.ok()
}

fn first_file(archive: impl Read) -> io::Result<String> {
    let mut text = String::new();
    let mut archive = tar::Archive::new(archive.take(2 * MAX_BYTES));
    if let Some(entry) = archive.entries()?.next() {
        entry?.take(MAX_BYTES).read_to_string(&mut text)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use crate::secrets;

    const LOOK: &str = "
import importlib.util, sys
spec = importlib.util.spec_from_file_location('watched_build', sys.argv[1])
watched = importlib.util.module_from_spec(spec)
spec.loader.exec_module(watched)
watched.CGROUP = sys.argv[2]
memory = watched.PeakMemory()
memory.look()
print(memory.bytes)
";

    /// What the build says that it held, of 1000 bytes of which the kernel can drop 700.
    fn looked_at(used: &str, stat: &str, lines: &str) -> String {
        let group = tempfile::tempdir().unwrap();
        for (file, text) in [(used, "1000\n"), (stat, lines)] {
            let path = group.path().join(file);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        let dockerfiles = concat!(env!("CARGO_MANIFEST_DIR"), "/../../dockerfiles");
        let output = secrets::command("python3")
            .args(["-BIS", "-c", LOOK])
            .arg(format!("{dockerfiles}/watched_build.py"))
            .arg(group.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// As the engine's figures are read, in `container/docker`: the greater of both counts.
    #[test]
    fn pages_of_files_are_no_memory_of_a_build() {
        let lines = "anon 300\ninactive_file 500\nactive_file 200\n";
        assert_eq!(looked_at("memory.current", "memory.stat", lines), "300\n");
        let lines = "inactive_file 1\ntotal_inactive_file 500\ntotal_active_file 200\n";
        let [used, stat] = ["memory/memory.usage_in_bytes", "memory/memory.stat"];
        assert_eq!(looked_at(used, stat, lines), "300\n");
    }
}
