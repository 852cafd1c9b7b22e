//! The libraries of an image, read once in a container of it and kept.
//!
//! The libraries of torch's image are 4 GB and their tables 18 MB: a script in the container leaves
//! the tables in a volume, and only they come out.

use std::fs::File;
use std::io::{BufReader, Seek, Write};
use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use tokio::io::{AsyncRead, AsyncReadExt};
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::gate::libraries::Libraries;
use wheelfarm_core::plan::Job;
use wheelfarm_core::quantity::ByteSize;

use super::cache;
use super::error::LibrariesError;
use super::tables::{self, TablesError};
use crate::container::{
    ContainerSpec, Engine, EngineError, EngineErrorKind, ImageId, Labels, Network, OwnedContainer,
    RootFileSystem, RunEnd, RunHow, RunLimits, Volume, labels, sanitise_line,
};
use crate::files::{self, FileError, Lock};
use crate::run::{StopSignal, torch_image};

/// What runs in the container.
const SCRIPT: &str = include_str!("../../../../dockerfiles/libraries.py");

/// The one folder that it can write to.
const FOLDER: &str = "/tmp";

/// What it writes.
const OUTPUT: &str = "/tmp/tables";

/// It holds one chunk of a table at a time; the rest is room for Python.
const MEMORY: ByteSize = ByteSize::gib(1);

/// It takes seconds where nothing is wrong, and says nothing.
const LIMITS: RunLimits = RunLimits {
    total: Duration::from_mins(10),
    silence: Duration::from_mins(10),
    grace: Duration::from_secs(5),
};

/// The longest time without a byte while the tables come out.
const STALL: Duration = Duration::from_mins(1);

/// A hundred times what comes out of an image of torch.
const OUTPUT_CAP_BYTES: u64 = 2 << 30;

const CHUNK_BYTES: usize = 256 << 10;

/// The libraries of `image`, which is the environment's stage of torch: what `cache` holds of it,
/// or what a container finds, which is then kept there. The container has `labels`, no network and
/// no GPU, cannot write but to a volume of its own, and is gone afterwards.
///
/// Several callers may ask for one image at a time; one works and the others wait for it.
///
/// Not cancel-safe: cancel `stop` instead.
pub async fn environment_libraries<E: Engine>(
    engine: &Arc<E>,
    image: &ImageId,
    cache: &Utf8Path,
    labels: &Labels,
    stop: &StopSignal,
) -> Result<Libraries, LibrariesError> {
    let folder = cache.join("libraries");
    files::create_folder(&folder)?;
    // Another script may find other libraries in the same image.
    let recipe = Sha256Digest::of(SCRIPT.as_bytes()).short();
    let name = format!("{}-{recipe}", file_name(image));
    let kept = folder.join(format!("{name}.json.zst"));
    if let Some(libraries) = load(&kept, image).await {
        return Ok(libraries);
    }
    let _lock = lock(&folder.join(format!("{name}.lock")), stop).await?;
    if let Some(libraries) = load(&kept, image).await {
        return Ok(libraries);
    }
    let reading = Reading {
        engine,
        image,
        stop,
    };
    let spool = tempfile::tempfile_in(&folder)
        .map_err(|source| FileError::new("write into", &folder, source))?;
    let spool = reading.spool(labels, spool, &folder).await?;
    let environment = image.to_string();
    let res = tokio::task::spawn_blocking(move || {
        let res = read_spool(spool, environment);
        if let Ok(libraries) = &res {
            // They are at hand: a cache that cannot be written costs time, and no build.
            if let Err(error) = cache::store(&kept, libraries) {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "symbol tables are not kept");
            }
        }
        res
    });
    res.await
        .expect("reading tables does not panic")
        .map_err(|source| LibrariesError::Tables {
            image: image.clone(),
            source,
        })
}

/// The libraries of a job's environment, as [`environment_libraries`] has them; `None` when this
/// engine has no image of it, since nothing was built there.
pub async fn job_libraries<E: Engine>(
    engine: &Arc<E>,
    job: &Job,
    ca_bundle: Option<&[u8]>,
    cache: &Utf8Path,
    labels: &Labels,
    stop: &StopSignal,
) -> Result<Option<Libraries>, LibrariesError> {
    let found = torch_image(&**engine, job, ca_bundle).await;
    let found = found.map_err(LibrariesError::NoEngine)?;
    match found {
        Some((_, image)) => environment_libraries(engine, &image, cache, labels, stop)
            .await
            .map(Some),
        None => Ok(None),
    }
}

/// An image's id as the name of a file.
fn file_name(image: &ImageId) -> String {
    let id = image.as_str();
    let id = id.strip_prefix("sha256:").unwrap_or(id);
    id.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

async fn load(kept: &Utf8Path, image: &ImageId) -> Option<Libraries> {
    let (kept, environment) = (kept.to_owned(), image.to_string());
    tokio::task::spawn_blocking(move || cache::load(&kept, &environment))
        .await
        .expect("reading kept tables does not panic")
}

/// Waits for whoever reads the same image.
async fn lock(path: &Utf8PathBuf, stop: &StopSignal) -> Result<Lock, LibrariesError> {
    loop {
        if let Some(lock) = files::lock(path)? {
            return Ok(lock);
        }
        // Waiting in the kernel would hold a thread that nothing can call back.
        tokio::select! {
            biased;
            () = stop.stop.cancelled() => return Err(LibrariesError::Stopped),
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
    }
}

/// The reading of one image.
struct Reading<'a, E: Engine> {
    engine: &'a Arc<E>,
    image: &'a ImageId,
    stop: &'a StopSignal,
}

impl<E: Engine> Reading<'_, E> {
    /// Runs the script and brings what it leaves into `spool`.
    async fn spool(
        &self,
        labels: &Labels,
        spool: File,
        folder: &Utf8Path,
    ) -> Result<File, LibrariesError> {
        if self.stop.stop.is_cancelled() {
            return Err(LibrariesError::Stopped);
        }
        let spec = self.spec(labels);
        let name = spec.name.clone();
        let mut container = OwnedContainer::create(Arc::clone(self.engine), spec)
            .await
            .map_err(|error| self.engine_failure(error))?;
        let res = self.run_and_take(&container, spool, folder).await;
        if let Err(error) = container.remove().await {
            tracing::warn!(container = name, %error, "container left in the engine");
        }
        res
    }

    fn spec(&self, labels: &Labels) -> ContainerSpec {
        let owner: Vec<_> = labels.iter().map(|(_, value)| value).collect();
        let owner = Sha256Digest::of(owner.join("\n").as_bytes()).short();
        let image = Sha256Digest::of(self.image.as_str().as_bytes()).short();
        let name = format!("wheelfarm-libraries-{image}-{owner}");
        // A leftover of this name is replaced by its labels: they must fit nothing else.
        let labels = labels.clone().with(labels::IMAGE, self.image.as_str());
        ContainerSpec {
            image: self.image.clone(),
            command: ["/opt/venv/bin/python", "-I", "-B", "-c", SCRIPT, OUTPUT]
                .map(str::to_owned)
                .into(),
            env: [("HOME".to_owned(), FOLDER.to_owned())].into(),
            working_dir: Some(FOLDER.to_owned()),
            user: Some("10001:10001".to_owned()),
            network: Network::Off,
            memory_bytes: MEMORY.bytes(),
            milli_cpus: 2000,
            pids_limit: 64,
            root: RootFileSystem::ReadOnly,
            tmpfs: Vec::new(),
            // What is in a tmpfs is gone when the container has ended.
            volumes: vec![Volume {
                name: name.clone(),
                path: FOLDER.to_owned(),
                labels: labels.clone(),
            }],
            gpu: None,
            labels,
            name,
        }
    }

    async fn run_and_take(
        &self,
        container: &OwnedContainer<E>,
        spool: File,
        folder: &Utf8Path,
    ) -> Result<File, LibrariesError> {
        let mut last_line = String::new();
        let end = container
            .run_to_end(&LIMITS, &self.stop.stop, &self.stop.at_once, |line| {
                last_line = sanitise_line(line);
            })
            .await
            .map_err(|error| self.engine_failure(error))?;
        self.verdict(&end, last_line)?;
        let archive = container
            .download(OUTPUT)
            .await
            .map_err(|error| self.engine_failure(error))?;
        self.take(archive, spool, folder).await
    }

    fn verdict(&self, end: &RunEnd, last_line: String) -> Result<(), LibrariesError> {
        let how = match end.how {
            RunHow::Exited => match end.exit_code {
                0 => return Ok(()),
                code => format!("ended with exit code {code}"),
            },
            RunHow::OutOfMemory => format!("ran out of its {MEMORY} of memory"),
            RunHow::TimedOut | RunHow::Stalled => "ran past its time limit".to_owned(),
            RunHow::Cancelled => return Err(LibrariesError::Stopped),
        };
        Err(LibrariesError::Script {
            image: self.image.clone(),
            how,
            last_line,
        })
    }

    /// Writes a download to `spool`, which begins anew for its reader.
    async fn take(
        &self,
        mut archive: impl AsyncRead + Unpin,
        mut spool: File,
        folder: &Utf8Path,
    ) -> Result<File, LibrariesError> {
        let broken = |source| self.engine_failure(broken_off(source));
        let fault = |source| FileError::new("write into", folder, source);
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut total_bytes = 0;
        loop {
            let read = tokio::select! {
                biased;
                () = self.stop.stop.cancelled() => return Err(LibrariesError::Stopped),
                read = tokio::time::timeout(STALL, archive.read(&mut chunk)) => read,
            };
            let stalled = || std::io::Error::from(std::io::ErrorKind::TimedOut);
            let length = read.map_err(|_| broken(stalled()))?.map_err(broken)?;
            if length == 0 {
                break;
            }
            total_bytes += u64::try_from(length).unwrap_or(u64::MAX);
            if total_bytes > OUTPUT_CAP_BYTES {
                return Err(broken(std::io::ErrorKind::FileTooLarge.into()));
            }
            // A chunk goes to the page cache: that is no wait worth a thread of its own.
            spool.write_all(&chunk[..length]).map_err(fault)?;
        }
        spool.rewind().map_err(fault)?;
        tracing::debug!(image = %self.image, total_bytes, "symbol tables taken out");
        Ok(spool)
    }

    fn engine_failure(&self, source: EngineError) -> LibrariesError {
        if source.kind() == EngineErrorKind::Cancelled {
            return LibrariesError::Stopped;
        }
        LibrariesError::Engine {
            image: self.image.clone(),
            source,
        }
    }
}

fn broken_off(source: std::io::Error) -> EngineError {
    let operation = format!("take `{OUTPUT}` out of a container");
    EngineError::new(operation, EngineErrorKind::Other).with_source(source)
}

/// Reads the one file of an archive.
fn read_spool(spool: File, environment: String) -> Result<Libraries, TablesError> {
    let fault = |source| TablesError::Read { record: 0, source };
    let mut archive = tar::Archive::new(BufReader::new(spool));
    let mut entries = archive.entries().map_err(fault)?;
    let entry = entries.next().transpose().map_err(fault)?;
    let entry = entry.ok_or_else(|| fault(std::io::ErrorKind::UnexpectedEof.into()))?;
    let mut reader = BufReader::with_capacity(CHUNK_BYTES, entry);
    tables::read(&mut reader, environment)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio_util::sync::CancellationToken;

    use super::super::fixture;
    use super::*;
    use crate::container::{Operation, ScriptedEngine, ScriptedRun};

    /// An engine, a cache and a user who may stop.
    struct Lab {
        engine: Arc<ScriptedEngine>,
        cache: tempfile::TempDir,
        stop: StopSignal,
    }

    fn good_run() -> ScriptedRun {
        let tables = fixture::tar_of(&fixture::tables());
        ScriptedRun {
            files: BTreeMap::from([(OUTPUT.to_owned(), tables)]),
            ..ScriptedRun::default()
        }
    }

    impl Lab {
        fn new() -> Self {
            Self {
                engine: Arc::default(),
                cache: tempfile::tempdir().unwrap(),
                stop: StopSignal::default(),
            }
        }

        fn cache(&self) -> &Utf8Path {
            Utf8Path::from_path(self.cache.path()).unwrap()
        }

        async fn read(&self) -> Result<Libraries, LibrariesError> {
            let labels = Labels::default().with(labels::FARM, "test");
            let image = ImageId::new("sha256:0123");
            let res =
                environment_libraries(&self.engine, &image, self.cache(), &labels, &self.stop);
            res.await
        }

        /// What is kept, and what should not be there.
        fn kept(&self) -> Vec<String> {
            let entries = self.cache().join("libraries").read_dir_utf8().unwrap();
            let paths = entries.map(|entry| entry.unwrap().into_path());
            let kept = paths.filter(|path| path.extension() != Some("lock"));
            kept.map(|path| path.file_name().unwrap().to_owned())
                .collect()
        }
    }

    #[track_caller]
    fn check_failed(lab: &Lab, res: Result<Libraries, LibrariesError>) -> LibrariesError {
        assert_eq!(lab.engine.left_behind(), Vec::<String>::new());
        assert_eq!(lab.kept(), Vec::<String>::new());
        res.unwrap_err()
    }

    #[tokio::test]
    async fn libraries_are_read_once_and_kept() {
        let lab = Lab::new();
        lab.engine.script_next(good_run());
        let first = lab.read().await.unwrap();
        assert_eq!(first.environment, "sha256:0123");
        assert!(first.libraries.contains_key("libc.so.6"));
        assert_eq!(lab.engine.left_behind(), Vec::<String>::new());
        // A second container would leave nothing that can be taken out.
        assert_eq!(lab.read().await.unwrap(), first);
        let kept = lab.kept();
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert!(
            kept[0].starts_with("0123-") && kept[0].ends_with(".json.zst"),
            "{kept:?}"
        );
        let kept = lab.cache().join("libraries").join(&kept[0]);
        files::write_atomic(&kept, b"damaged").unwrap();
        lab.engine.script_next(good_run());
        assert_eq!(lab.read().await.unwrap(), first, "made again");
    }

    #[tokio::test(start_paused = true)]
    async fn several_callers_read_an_image_once() {
        let lab = Lab::new();
        lab.engine.script_next(good_run());
        let (one, two, three) = tokio::join!(lab.read(), lab.read(), lab.read());
        assert_eq!(one.unwrap(), two.unwrap());
        assert!(three.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_container_is_fenced() {
        let lab = Lab::new();
        lab.engine.script_next(ScriptedRun {
            hangs: true,
            ..good_run()
        });
        let watch = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let specs = lab.engine.specs();
            lab.stop.stop.cancel();
            specs
        };
        let (res, specs) = tokio::join!(lab.read(), watch);
        let spec = &specs[0];
        assert_eq!(spec.network, Network::Off);
        assert_eq!(spec.root, RootFileSystem::ReadOnly);
        assert!(spec.gpu.is_none() && spec.user.is_some());
        let image = Labels::default().with(labels::IMAGE, "sha256:0123");
        assert!(spec.labels.contain(&image.with(labels::FARM, "test")));
        let error = check_failed(&lab, res);
        assert!(matches!(error, LibrariesError::Stopped), "{error:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_the_engine_refuses_nothing_stays() {
        for operation in [
            Operation::Create,
            Operation::Start,
            Operation::Wait,
            Operation::Download,
        ] {
            let lab = Lab::new();
            lab.engine.script_next(good_run());
            lab.engine.fail_next(operation, EngineErrorKind::DiskFull);
            let error = check_failed(&lab, lab.read().await);
            assert!(
                matches!(&error, LibrariesError::Engine { source, .. } if source.kind() == EngineErrorKind::DiskFull),
                "{operation:?}: {error:?}"
            );
            assert!(error.hint().is_some());
        }
    }

    #[tokio::test]
    async fn a_container_that_cannot_be_removed_loses_nothing() {
        let lab = Lab::new();
        lab.engine.script_next(good_run());
        lab.engine
            .fail_next(Operation::Remove, EngineErrorKind::Gone);
        assert!(lab.read().await.is_ok());
    }

    #[track_caller]
    fn check_script(error: &LibrariesError, want: &str) {
        assert!(matches!(error, LibrariesError::Script { .. }), "{error:?}");
        assert_eq!(error.to_string(), want);
    }

    #[tokio::test(start_paused = true)]
    async fn a_script_that_does_not_end_well_is_told_by_its_last_line() {
        let line = |line: &str| (Duration::from_secs(1), line.to_owned());
        let lab = Lab::new();
        lab.engine.script_next(ScriptedRun {
            lines: vec![line("Traceback"), line("OSError: \x1b[31mno\x1b[0m")],
            exit_code: 1,
            ..good_run()
        });
        let error = check_failed(&lab, lab.read().await);
        let begin = "the list of the libraries of image `sha256:0123`";
        check_script(
            &error,
            &format!("{begin} ended with exit code 1: OSError: no"),
        );
        lab.engine.script_next(ScriptedRun {
            lines: vec![line("Killed")],
            out_of_memory: true,
            ..good_run()
        });
        let error = check_failed(&lab, lab.read().await);
        check_script(
            &error,
            &format!("{begin} ran out of its 1GiB of memory: Killed"),
        );
        lab.engine.script_next(ScriptedRun {
            hangs: true,
            ..good_run()
        });
        let error = check_failed(&lab, lab.read().await);
        check_script(&error, &format!("{begin} ran past its time limit: "));
    }

    #[tokio::test]
    async fn what_cannot_be_tables_is_an_error() {
        for content in [&b""[..], b"{\"end\":0}\n", &fixture::tables()[..3000]] {
            for tar in [fixture::tar_of(content), content.to_vec()] {
                let lab = Lab::new();
                lab.engine.script_next(ScriptedRun {
                    files: BTreeMap::from([(OUTPUT.to_owned(), tar)]),
                    ..ScriptedRun::default()
                });
                let error = check_failed(&lab, lab.read().await);
                assert!(matches!(error, LibrariesError::Tables { .. }), "{error:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_waiting_for_another_reader() {
        let lab = Lab::new();
        let stop: &CancellationToken = &lab.stop.stop;
        let folder = lab.cache().join("libraries");
        files::create_folder(&folder).unwrap();
        let recipe = Sha256Digest::of(SCRIPT.as_bytes()).short();
        let held = files::lock(folder.join(format!("0123-{recipe}.lock"))).unwrap();
        let cancel = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            stop.cancel();
        };
        let (res, ()) = tokio::join!(lab.read(), cancel);
        assert!(matches!(res, Err(LibrariesError::Stopped)), "{res:?}");
        drop(held);
    }
}
