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
