//! The size of volumes, and compiler caches made smaller: both by a small container, since only a container
//! of an engine that may be anywhere sees into its volumes, and few engines say how large they are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wheelfarm_core::digest::Sha256Digest;

use crate::container::{
    ContainerSpec, Engine, EngineError, ImageId, Labels, Network, OwnedContainer, RootFileSystem,
    RunEnd, RunHow, RunLimits, Tmpfs, Volume, labels, sanitise_line,
};

const SIZES_SCRIPT: &str = include_str!("../../../../dockerfiles/volume_sizes.sh");
const SHRINK_SCRIPT: &str = include_str!("../../../../dockerfiles/shrink_cache.sh");

/// A large cache has a million files.
const LIMITS: RunLimits = RunLimits {
    total: Duration::from_mins(10),
    silence: Duration::from_mins(10),
    grace: Duration::from_secs(5),
};

/// Volumes could not be looked into.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The engine failed.
    #[error("failed to look into volumes of the engine")]
    Engine(#[from] EngineError),
    /// The script did not do its work.
    #[error("the container that looks into volumes {how}: {last_line}")]
    Script {
        /// How it ended.
        how: String,
        /// The last that it said.
        last_line: String,
    },
}

/// What volumes take up, in bytes, by name. `image` needs a shell, `du` and `find`; `owner` are the labels of the farm.
/// One that cannot be read in full is left out.
pub async fn volume_sizes<E: Engine>(
    engine: &Arc<E>,
    image: &ImageId,
    names: &[String],
    owner: &Labels,
) -> Result<BTreeMap<String, u64>, VolumeError> {
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let lines = run(engine, spec(image, names, owner, SIZES_SCRIPT, None)).await?;
    let mut sizes = BTreeMap::new();
    for line in &lines {
        let mut words = line.split_whitespace();
        let (Some(kib), Some(place)) = (words.next(), words.next()) else {
            continue;
        };
        let name = place
            .strip_prefix("/volumes/")
            .and_then(|number| names.get(number.parse::<usize>().ok()?));
        let Some(name) = name else { continue };
        match kib.parse::<u64>() {
            Ok(kib) => sizes.insert(name.clone(), kib * 1024),
            Err(_) => sizes.remove(name),
        };
    }
    Ok(sizes)
}

/// Deletes what was not used for longest from a compiler cache until it takes up at most `to_bytes`; returns how
/// many bytes that freed. A build that has the cache goes on: it compiles again what it does not find.
pub async fn shrink_cache<E: Engine>(
    engine: &Arc<E>,
    image: &ImageId,
    volume: &str,
    to_bytes: u64,
    owner: &Labels,
) -> Result<u64, VolumeError> {
    let names = [volume.to_owned()];
    let spec = spec(image, &names, owner, SHRINK_SCRIPT, Some(to_bytes / 1024));
    let lines = run(engine, spec).await?;
    let figure = |word: &str| {
        let kib = lines.iter().find_map(|line| line.strip_prefix(word));
        kib.and_then(|kib| kib.trim().parse::<u64>().ok())
    };
    match (figure("before "), figure("after ")) {
        (Some(before), Some(after)) => Ok(before.saturating_sub(after) * 1024),
        _ => Err(VolumeError::Script {
            how: "did not say what it did".to_owned(),
            last_line: lines.last().cloned().unwrap_or_default(),
        }),
    }
}

fn spec(
    image: &ImageId,
    names: &[String],
    owner: &Labels,
    script: &str,
    argument: Option<u64>,
) -> ContainerSpec {
    let farm: Vec<_> = owner.iter().map(|(_, value)| value).collect();
    let what = format!("{}\n{}", farm.join("\n"), names.join("\n"));
    let what = Sha256Digest::of(what.as_bytes()).short();
    // A leftover of this name is replaced by its labels: they must fit nothing else.
    let labels = owner.clone().with(labels::VOLUMES, &what);
    let argument = argument.map(|argument| argument.to_string());
    ContainerSpec {
        name: format!("wheelfarm-volumes-{what}"),
        image: image.clone(),
        command: ["sh", "-c", script, "wheelfarm-volumes"]
            .map(str::to_owned)
            .into_iter()
            .chain(argument)
            .collect(),
        env: BTreeMap::new(),
        working_dir: Some("/".to_owned()),
        // What builds write is theirs.
        user: Some("10001:10001".to_owned()),
        network: Network::Off,
        memory_bytes: 512 << 20,
        milli_cpus: 1000,
        pids_limit: 64,
        root: RootFileSystem::ReadOnly,
        tmpfs: vec![Tmpfs {
            path: "/tmp".to_owned(),
            size_bytes: 256 << 20,
        }],
        volumes: names
            .iter()
            .enumerate()
            .map(|(number, name)| Volume {
                name: name.clone(),
                path: format!("/volumes/{number}"),
                labels: Labels::default(),
            })
            .collect(),
        gpu: None,
        labels,
    }
}

/// Runs the container to its end; its volumes stay.
async fn run<E: Engine>(engine: &Arc<E>, spec: ContainerSpec) -> Result<Vec<String>, VolumeError> {
    let name = spec.name.clone();
    let mut container = OwnedContainer::create(Arc::clone(engine), spec).await?;
    container.keep_volumes();
    let mut lines = Vec::new();
    let never = CancellationToken::new();
    let end = container
        .run_to_end(&LIMITS, &never, &never, |line| {
            lines.push(sanitise_line(line));
        })
        .await;
    if let Err(error) = container.remove().await {
        tracing::warn!(container = name, %error, "container left in the engine");
    }
    match failure(&end?) {
        None => Ok(lines),
        Some(how) => Err(VolumeError::Script {
            how,
            last_line: lines.pop().unwrap_or_default(),
        }),
    }
}

fn failure(end: &RunEnd) -> Option<String> {
    match end.how {
        RunHow::Exited if end.exit_code == 0 => None,
        RunHow::Exited => Some(format!("ended with exit code {}", end.exit_code)),
        RunHow::OutOfMemory => Some("ran out of memory".to_owned()),
        RunHow::TimedOut | RunHow::Stalled => Some("ran past its time limit".to_owned()),
        RunHow::Cancelled => Some("was stopped".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{ImageRef, ScriptedEngine, ScriptedRun};

    async fn engine(lines: &[&str], exit_code: i64) -> (Arc<ScriptedEngine>, ImageId) {
        let engine = Arc::new(ScriptedEngine::default());
        let name = ImageRef::new("a:1");
        engine.put_image(name.as_str(), &Labels::default());
        let image = engine.image(&name).await.unwrap().unwrap().id;
        for name in ["one", "two"] {
            engine.put_volume(name, &Labels::default());
        }
        engine.script_next(ScriptedRun {
            lines: lines
                .iter()
                .map(|line| (Duration::ZERO, (*line).to_owned()))
                .collect(),
            exit_code,
            ..ScriptedRun::default()
        });
        (engine, image)
    }

    fn names() -> [String; 2] {
        ["one", "two"].map(str::to_owned)
    }

    #[tokio::test(start_paused = true)]
    async fn sizes_are_read_and_volumes_stay() {
        let said = [
            "12\t/volumes/0",
            "7\t/volumes/1",
            "? /volumes/1",
            "nonsense",
        ];
        let (engine, image) = engine(&said, 0).await;
        let sizes = volume_sizes(&engine, &image, &names(), &Labels::default()).await;
        assert_eq!(sizes.unwrap(), [("one".to_owned(), 12 * 1024)].into());
        assert_eq!(engine.left_behind(), ["one", "two"]);
        assert!(
            volume_sizes(&engine, &image, &[], &Labels::default())
                .await
                .unwrap()
                .is_empty()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_cache_lost_is_told() {
        let (engine, image) = engine(&["before 300", "after 100"], 0).await;
        let freed = shrink_cache(&engine, &image, "one", 1 << 20, &Labels::default()).await;
        assert_eq!(freed.unwrap(), 200 * 1024);
        assert_eq!(engine.left_behind(), ["one", "two"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_script_that_fails_is_told_and_volumes_stay() {
        let (engine, image) = engine(&["before 300", "rm: read-only"], 1).await;
        let error = shrink_cache(&engine, &image, "one", 0, &Labels::default()).await;
        assert_eq!(
            error.unwrap_err().to_string(),
            "the container that looks into volumes ended with exit code 1: rm: read-only"
        );
        assert_eq!(engine.left_behind(), ["one", "two"]);
    }
}
