//! The images that a job needs: the base that everything starts from, the stages that jobs share,
//! and the job's own.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{self, Instant};
use tokio_util::sync::CancellationToken;
use wheelfarm_core::diagnostic::chain;
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::matrix::Base;
use wheelfarm_core::outcome::{FailureKind, Stage};
use wheelfarm_core::plan::Job;
use wheelfarm_core::render::{self, SharedStage, StageContext};

use super::bootstrap_root;
use super::job::{Halt, JobContext, RunningJob};
use crate::container::{
    Engine, EngineError, ImageBuild, ImageId, ImageKind, ImageRef, Labels, TarSource, labels,
};
use crate::files::FileError;
use crate::secrets;

/// How the base image of a Debian suite is made. A change of this text makes the image again.
///
/// What is deleted is not needed to compile, or differs from host to host: debootstrap copies the
/// host's name and resolver into the root.
const DEBOOTSTRAP_SCRIPT: &str = include_str!("../../../../dockerfiles/debootstrap.sh");

/// The image that a wheel is compiled in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct BuilderImage {
    pub(super) id: ImageId,
    pub(super) base: ImageRef,
    pub(super) base_id: ImageId,
}

/// One lock for each image that jobs share, so that two jobs do not build it side by side.
#[derive(Debug, Default)]
pub(super) struct Images {
    locks: Mutex<BTreeMap<ImageRef, Arc<tokio::sync::Mutex<()>>>>,
}

impl Images {
    fn lock(&self, image: &ImageRef) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self
            .locks
            .lock()
            .expect("no code panics while it holds the locks");
        Arc::clone(locks.entry(image.clone()).or_default())
    }
}

/// How long making a job's image may take: debootstrap, torch and the compilers, downloaded once.
const TOTAL_TIME: Duration = Duration::from_hours(3);

/// How long it may say nothing. pip is silent while it downloads: torch has 2.5 GB with its libraries,
/// which is 40 minutes at 1 MB/s; and a job waits in silence for a stage that another one makes.
const SILENCE: Duration = Duration::from_hours(1);

/// Makes the job's own image within the limits in time.
pub(super) async fn builder<E: Engine>(
    running: &mut RunningJob<'_, E>,
    context: &Utf8Path,
) -> Result<BuilderImage, Halt> {
    let stop = running.cx.stop.stop.child_token();
    running.image_stop = stop.clone();
    let last_line = running.log.last_line();
    let limit = over_limit(last_line);
    let mut limit = std::pin::pin!(limit);
    let (kind, detail) = {
        let made = make_builder(running, context);
        let mut made = std::pin::pin!(made);
        tokio::select! {
            biased;
            image = &mut made => return image,
            over = &mut limit => {
                // The engine is told, and cleans up after itself.
                stop.cancel();
                if let Ok(image) = made.await {
                    return Ok(image);
                }
                over
            }
        }
    };
    if running.cx.stop.stop.is_cancelled() {
        return Err(Halt::Cancelled);
    }
    Err(Halt::failed(Stage::Image, kind, detail))
}

/// Returns when an image takes too long, with what is wrong.
async fn over_limit(mut last_line: watch::Receiver<Instant>) -> (FailureKind, String) {
    let deadline = Instant::now() + TOTAL_TIME;
    loop {
        let silent = *last_line.borrow_and_update() + SILENCE;
        time::sleep_until(silent.min(deadline)).await;
        let now = Instant::now();
        if now >= deadline {
            let hours = TOTAL_TIME.as_secs() / 3600;
            let detail = format!("the image was not ready after {hours} hours");
            return (FailureKind::TimedOut, detail);
        }
        if now >= *last_line.borrow() + SILENCE {
            let hours = SILENCE.as_secs() / 3600;
            let detail = format!("making the image printed nothing for {hours} hour");
            return (FailureKind::Stalled, detail);
        }
    }
}

/// Makes the job's own image, from the context that lies in its staging folder.
async fn make_builder<E: Engine>(
    running: &mut RunningJob<'_, E>,
    context: &Utf8Path,
) -> Result<BuilderImage, Halt> {
    let base = ImageRef::new(render::base_reference(running.job));
    let base_id = ensure_base(running, &base).await?;
    for stage in [SharedStage::Torch, SharedStage::Toolkit] {
        shared_stage(running, stage).await?;
    }
    let tag = builder_tag(running.cx, running.job);
    let build = ImageBuild {
        context: TarSource::File(context.to_owned()),
        target: None,
        tag,
        labels: kind_label(running.labels(), ImageKind::Job),
    };
    let id = build_image(running, build).await?;
    Ok(BuilderImage { id, base, base_id })
}

/// Makes a stage that jobs share, unless it is there. Its name is the digest of its recipe, so
/// that two environments never take each other's.
pub(super) async fn shared_stage<E: Engine>(
    running: &mut RunningJob<'_, E>,
    stage: SharedStage,
) -> Result<ImageId, Halt> {
    let base = ImageRef::new(render::base_reference(running.job));
    let base_id = ensure_base(running, &base).await?;
    let ca_bundle = running.cx.settings.ca_bundle.as_deref();
    let context = StageContext::new(running.job, ca_bundle)
        .map_err(|error| Halt::failed(Stage::Image, FailureKind::Rejected, chain(&error)))?;
    let tag = shared_tag(&context, stage, &base_id);
    let lock = running.cx.images.lock(&tag);
    let _held = hold(running, &lock).await?;
    let found = running.cx.engine.image(&tag).await;
    if let Some(image) = found.map_err(|error| Halt::engine(Stage::Image, &error))? {
        return Ok(image.id);
    }
    let tar = context
        .write_tar(Vec::new())
        .expect("writing into memory does not fail");
    let build = ImageBuild {
        context: TarSource::Memory(Bytes::from(tar)),
        target: Some(stage.target().to_owned()),
        tag,
        labels: kind_label(
            running.cx.labels(),
            match stage {
                SharedStage::Torch => ImageKind::Torch,
                SharedStage::Toolkit => ImageKind::Toolkit,
            },
        ),
    };
    build_image(running, build).await
}

/// The name of a shared stage's image.
fn shared_tag(context: &StageContext, stage: SharedStage, base: &ImageId) -> ImageRef {
    let recipe = format!("{base}\n{}", context.recipe(stage));
    let recipe = Sha256Digest::of(recipe.as_bytes());
    ImageRef::new(format!("wheelfarm/{}:{}", stage.target(), recipe.short()))
}

/// The names of the images that a job starts from and that stay in the engine after it: its base,
/// and the stages that it shares with others. Without its base, those are not known, and not there.
pub async fn shared_images<E: Engine>(
    engine: &E,
    job: &Job,
    ca_bundle: Option<&[u8]>,
) -> Result<Vec<ImageRef>, EngineError> {
    let base = ImageRef::new(render::base_reference(job));
    let Some(facts) = engine.image(&base).await? else {
        return Ok(vec![base]);
    };
    let context =
        StageContext::new(job, ca_bundle).expect("the plan has rendered this job already");
    let stages = [SharedStage::Torch, SharedStage::Toolkit];
    let tags = stages.map(|stage| shared_tag(&context, stage, &facts.id));
    Ok(std::iter::once(base).chain(tags).collect())
}

/// The image of torch alone that the job's own image is built on, by its name and its id; `None`
/// when this engine has not built it.
pub(crate) async fn torch_image<E: Engine>(
    engine: &E,
    job: &Job,
    ca_bundle: Option<&[u8]>,
) -> Result<Option<(ImageRef, ImageId)>, EngineError> {
    let base = ImageRef::new(render::base_reference(job));
    let Some(base) = engine.image(&base).await? else {
        return Ok(None);
    };
    let context =
        StageContext::new(job, ca_bundle).expect("the plan has rendered this job already");
    let tag = shared_tag(&context, SharedStage::Torch, &base.id);
    let image = engine.image(&tag).await?;
    Ok(image.map(|image| (tag, image.id)))
}

async fn build_image<E: Engine>(
    running: &mut RunningJob<'_, E>,
    build: ImageBuild,
) -> Result<ImageId, Halt> {
    let log = &mut running.log;
    let stop = &running.image_stop;
    let mut on_line = |line: &[u8]| log.line(line);
    running
        .cx
        .engine
        .build_image(build, stop, &mut on_line)
        .await
        .map_err(|error| Halt::engine(Stage::Image, &error))
}

/// Waits until no other job makes an image. That is no silence of this one's.
async fn hold<'l, E: Engine>(
    running: &mut RunningJob<'_, E>,
    lock: &'l tokio::sync::Mutex<()>,
) -> Result<tokio::sync::MutexGuard<'l, ()>, Halt> {
    let stop = running.image_stop.clone();
    alive(running, &stop, lock.lock())
        .await
        .ok_or(Halt::Cancelled)
}

/// Does what says nothing of itself, within the total limit alone. `None` when it was stopped.
async fn alive<E: Engine, T>(
    running: &mut RunningJob<'_, E>,
    stop: &CancellationToken,
    done: impl Future<Output = T>,
) -> Option<T> {
    let mut done = std::pin::pin!(done);
    loop {
        tokio::select! {
            biased;
            done = &mut done => return Some(done),
            () = stop.cancelled() => return None,
            () = time::sleep(SILENCE / 4) => running.log.is_alive(),
        }
    }
}

async fn ensure_base<E: Engine>(
    running: &mut RunningJob<'_, E>,
    base: &ImageRef,
) -> Result<ImageId, Halt> {
    let lock = running.cx.images.lock(base);
    let _held = hold(running, &lock).await?;
    let job = running.job;
    match &job.environment().base {
        Base::Image { .. } => pulled_base(running, base).await,
        Base::Debootstrap { suite, mirror } => {
            bootstrapped_base(running, base, suite, mirror).await
        }
    }
}

async fn pulled_base<E: Engine>(
    running: &mut RunningJob<'_, E>,
    base: &ImageRef,
) -> Result<ImageId, Halt> {
    let engine = Arc::clone(&running.cx.engine);
    let fail = |error| Halt::engine(Stage::Image, &error);
    if let Some(image) = engine.image(base).await.map_err(fail)? {
        return Ok(image.id);
    }
    running.log.line(format!("pulling {base}").as_bytes());
    let stop = running.image_stop.clone();
    let pulled = alive(running, &stop, engine.pull(base, &stop)).await;
    pulled.ok_or(Halt::Cancelled)?.map_err(fail)?;
    if let Some(image) = engine.image(base).await.map_err(fail)? {
        Ok(image.id)
    } else {
        let detail = format!("image `{base}` was pulled and is not there");
        Err(Halt::failed(
            Stage::Image,
            FailureKind::Infrastructure,
            detail,
        ))
    }
}

async fn bootstrapped_base<E: Engine>(
    running: &mut RunningJob<'_, E>,
    base: &ImageRef,
    suite: &str,
    mirror: &str,
) -> Result<ImageId, Halt> {
    let engine = Arc::clone(&running.cx.engine);
    let fail = |error| Halt::engine(Stage::Image, &error);
    let recipe = format!("{suite} {mirror}\n{DEBOOTSTRAP_SCRIPT}");
    let recipe = Sha256Digest::of(recipe.as_bytes()).to_string();
    let wanted = Labels::default().with(labels::RECIPE, &recipe);
    if let Some(image) = engine.image(base).await.map_err(fail)?
        && image.labels.contain(&wanted)
    {
        return Ok(image.id);
    }
    let above = Utf8PathBuf::from_path_buf(std::env::temp_dir()).unwrap_or("/tmp".into());
    let folder = bootstrap_root::new(&above).await;
    let folder = folder.map_err(|error| {
        let error = FileError::new("write", &above, error);
        Halt::file(Stage::Image, &error)
    })?;
    let folder_path = Utf8Path::from_path(folder.path()).unwrap_or(Utf8Path::new("/tmp"));
    debootstrap(running, folder_path, suite, mirror).await?;
    let root = TarSource::File(folder_path.join("root.tar"));
    // The kind is told besides: an image without it is still the one that is wanted.
    let labels = kind_label(wanted, ImageKind::Base);
    engine.import_image(root, base, &labels).await.map_err(fail)
}

/// The labels of an image that say what it is for.
pub(crate) fn kind_label(labels: Labels, kind: ImageKind) -> Labels {
    labels.with(labels::IMAGE_KIND, kind.as_str())
}

/// Runs debootstrap on the host: it needs root there, as the engine does.
async fn debootstrap<E: Engine>(
    running: &mut RunningJob<'_, E>,
    folder: &Utf8Path,
    suite: &str,
    mirror: &str,
) -> Result<(), Halt> {
    let fail = |detail: String| {
        Halt::failed(Stage::Image, FailureKind::Infrastructure, detail).with_hint(
            "run as root with debootstrap installed: `apt-get install debootstrap`; \
             or use a registry image as the environment's base",
        )
    };
    let mut child = Command::from(secrets::command("sh"))
        .args(["-c", DEBOOTSTRAP_SCRIPT, "debootstrap", suite, mirror])
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| fail(format!("failed to start a shell: {error}")))?;
    let stdout = child
        .stdout
        .take()
        .ok_or_else(|| fail("no output".to_owned()))?;
    let mut lines = BufReader::new(stdout).lines();
    loop {
        tokio::select! {
            biased;
            () = running.image_stop.cancelled() => {
                end_group(&mut child).await;
                return Err(Halt::Cancelled);
            }
            line = lines.next_line() => match line {
                Ok(Some(line)) => running.log.line(line.as_bytes()),
                Ok(None) => break,
                Err(error) => return Err(fail(format!("failed to read debootstrap's output: {error}"))),
            },
        }
    }
    let status = child
        .wait()
        .await
        .map_err(|error| fail(format!("failed to wait for debootstrap: {error}")))?;
    if status.success() {
        return Ok(());
    }
    Err(fail(format!(
        "debootstrap of Debian {suite} ended with {status}"
    )))
}

/// Ends a command and all that it started. debootstrap unmounts what it has mounted when it is
/// asked to end, so it is asked, and given time.
async fn end_group(child: &mut Child) {
    const PATIENCE: Duration = Duration::from_secs(20);
    let Some(id) = child.id() else {
        return;
    };
    let asked = Command::from(secrets::command("kill"))
        .args(["-TERM", "--", &format!("-{id}")])
        .status()
        .await;
    let ended = time::timeout(PATIENCE, child.wait()).await;
    if asked.is_err() || ended.is_err() {
        tracing::warn!(id, "debootstrap did not end when it was asked to");
    }
}

/// Removes the job's own image; the stages that it shares with other jobs stay.
pub(super) async fn remove_builder<E: Engine>(cx: &JobContext<E>, job: &Job) {
    let tag = builder_tag(cx, job);
    if let Err(error) = cx.engine.remove_image(&tag).await {
        tracing::warn!(job = %job.id(), %error, "image left in the engine");
    }
}

fn builder_tag<E: Engine>(cx: &JobContext<E>, job: &Job) -> ImageRef {
    ImageRef::new(format!("wheelfarm/job:{}", cx.key(job)))
}
