//! An engine that does as a test tells it: for faults that a real one cannot be made to have.
//!
//! It keeps account of what exists, so that a test can see what a run left behind. The tests in
//! `tests/docker_engine/` hold it against the real engine where both can do the same.

use std::collections::{BTreeMap, VecDeque};
use std::io::Cursor;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use camino::Utf8PathBuf;
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wheelfarm_core::doctor::facts::{EngineSurvey, GpuWay, Limits, Whereabouts};

use super::{
    ContainerId, ContainerSpec, ContainerState, ContainerSummary, Engine, EngineError,
    EngineErrorKind, EngineFacts, Exit, GpuOffer, ImageBuild, ImageFacts, ImageId, ImageRef,
    ImageSummary, Labels, LineSink, Owned, TarSource, Usage, VolumeSummary,
};

/// The operations that a script can make fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// `describe`.
    Describe,
    /// `pull`.
    Pull,
    /// `import_image`.
    ImportImage,
    /// `build_image`.
    BuildImage,
    /// `build_image` says nothing more and does not end.
    HangInBuild,
    /// `create`.
    Create,
    /// `start`.
    Start,
    /// `wait`.
    Wait,
    /// `download`.
    Download,
    /// `remove`.
    Remove,
    /// `find`.
    Find,
    /// The stream of `logs`: it breaks off after the first line.
    Logs,
    /// `remove_image`.
    RemoveImage,
    /// `remove_volume`.
    RemoveVolume,
    /// `images`, `containers` and `volumes`.
    List,
    /// `usage` does not answer.
    HangInUsage,
}

/// What a container does once it is started.
#[derive(Debug, Clone, Default)]
pub struct ScriptedRun {
    /// Its output, each line after a pause.
    pub lines: Vec<(Duration, String)>,
    /// Whether it then says nothing for ever.
    pub hangs: bool,
    /// Its exit code.
    pub exit_code: i64,
    /// Whether a process of it is killed at the memory limit.
    pub out_of_memory: bool,
    /// What `download` gives, by path.
    pub files: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug)]
struct Container {
    spec: ContainerSpec,
    run: ScriptedRun,
    started_at_s: Option<u64>,
    finished_at_s: Option<u64>,
    /// `Some(code)` once it has ended.
    ended: watch::Sender<Option<i64>>,
}

impl Container {
    fn summary(&self, id: &str) -> ContainerSummary {
        let ended = *self.ended.borrow();
        ContainerSummary {
            id: ContainerId::new(id),
            name: self.spec.name.clone(),
            labels: self.spec.labels.clone(),
            image: self.spec.image.clone(),
            volumes: self
                .spec
                .volumes
                .iter()
                .map(|volume| volume.name.clone())
                .collect(),
            state: match ended {
                Some(code) => ContainerState::Ended(Exit {
                    code,
                    out_of_memory: self.run.out_of_memory,
                }),
                None if self.started_at_s.is_some() => ContainerState::Running,
                None => ContainerState::Created,
            },
            created_at_s: SCRIPTED_TIME_S,
            started_at_s: self.started_at_s,
            finished_at_s: ended
                .and(self.finished_at_s)
                .or(ended.map(|_| SCRIPTED_TIME_S)),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    images: BTreeMap<ImageRef, ImageFacts>,
    containers: BTreeMap<String, Container>,
    /// Images that have no name.
    unnamed: Vec<ImageSummary>,
    volumes: BTreeMap<String, Labels>,
    runs: VecDeque<ScriptedRun>,
    named_runs: Vec<(String, ScriptedRun)>,
    faults: BTreeMap<Operation, VecDeque<EngineErrorKind>>,
    created: u32,
}

/// A scripted engine.
#[derive(Debug, Clone)]
pub struct ScriptedEngine {
    state: Arc<Mutex<State>>,
    gpu: GpuOffer,
    data_folder: Option<Utf8PathBuf>,
    survey: EngineSurvey,
}

/// How large the engine says each of its images is.
pub const SCRIPTED_IMAGE_BYTES: u64 = 1 << 30;

/// When everything in the engine was made, in seconds since 1970.
pub const SCRIPTED_TIME_S: u64 = 1_700_000_000;

impl Default for ScriptedEngine {
    fn default() -> Self {
        Self {
            state: Arc::default(),
            gpu: GpuOffer::None,
            data_folder: None,
            survey: survey(),
        }
    }
}

impl ScriptedEngine {
    /// An engine that offers GPUs in this way.
    #[must_use]
    pub fn with_gpu(mut self, gpu: GpuOffer) -> Self {
        self.gpu = gpu;
        self
    }

    /// An engine that keeps its data in this folder of the host.
    #[must_use]
    pub fn with_data_folder(mut self, folder: Utf8PathBuf) -> Self {
        self.data_folder = Some(folder);
        self
    }

    /// An engine that says this of itself and of its host.
    #[must_use]
    pub fn with_survey(mut self, survey: EngineSurvey) -> Self {
        self.survey = survey;
        self
    }

    /// Puts an image there as if it had been built.
    pub fn put_image(&self, name: &str, labels: &Labels) {
        self.add_image(&ImageRef::new(name), labels);
    }

    /// Puts an image without a name there.
    pub fn put_unnamed_image(&self, id: &str, labels: &Labels) {
        self.state().unnamed.push(ImageSummary {
            id: ImageId::new(id),
            names: Vec::new(),
            parent: None,
            labels: labels.clone(),
            size_bytes: SCRIPTED_IMAGE_BYTES,
            created_at_s: SCRIPTED_TIME_S,
        });
    }

    /// Puts a volume there.
    pub fn put_volume(&self, name: &str, labels: &Labels) {
        self.state().volumes.insert(name.to_owned(), labels.clone());
    }

    /// Makes the next call of `operation` fail. Several are used up in order.
    pub fn fail_next(&self, operation: Operation, kind: EngineErrorKind) {
        let mut state = self.state();
        state.faults.entry(operation).or_default().push_back(kind);
    }

    /// Says what the next created container does. One without a script ends well at once.
    pub fn script_next(&self, run: ScriptedRun) {
        self.state().runs.push_back(run);
    }

    /// Says what the next container does whose name has `part` in it; goes before `script_next`.
    pub fn script_next_of(&self, part: &str, run: ScriptedRun) {
        let part = format!("wheelfarm-{part}-");
        self.state().named_runs.push((part, run));
    }

    /// Ends every container, as a reboot does.
    pub fn end_all(&self, code: i64) {
        let ids: Vec<_> = self.state().containers.keys().cloned().collect();
        for id in ids {
            self.end(&ContainerId::new(id), code);
        }
    }

    /// Ends every container, as one that has run for so long.
    pub fn end_all_after(&self, ran: Duration, code: i64) {
        for container in self.state().containers.values_mut() {
            let started_at_s = container.started_at_s;
            container.finished_at_s = started_at_s.map(|started| started + ran.as_secs());
        }
        self.end_all(code);
    }

    /// The names of the containers and volumes that are there.
    pub fn left_behind(&self) -> Vec<String> {
        let state = self.state();
        let containers = state
            .containers
            .values()
            .map(|container| container.spec.name.clone());
        containers.chain(state.volumes.keys().cloned()).collect()
    }

    /// The names of the images that are there.
    pub fn images(&self) -> Vec<String> {
        self.state()
            .images
            .keys()
            .map(ToString::to_string)
            .collect()
    }

    /// The specs of the containers that are there.
    pub fn specs(&self) -> Vec<ContainerSpec> {
        let state = self.state();
        state
            .containers
            .values()
            .map(|container| container.spec.clone())
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no test panics while it holds the state")
    }

    fn check(&self, operation: Operation) -> Result<(), EngineError> {
        let fault = self
            .state()
            .faults
            .get_mut(&operation)
            .and_then(VecDeque::pop_front);
        match fault {
            Some(kind) => Err(EngineError::new(
                format!("do {operation:?} by script"),
                kind,
            )),
            None => Ok(()),
        }
    }

    fn end(&self, id: &ContainerId, code: i64) {
        if let Some(container) = self.state().containers.get(id.as_str()) {
            container.ended.send_if_modified(|ended| {
                let is_first = ended.is_none();
                if is_first {
                    *ended = Some(code);
                }
                is_first
            });
        }
    }

    fn ended(&self, id: &ContainerId) -> Result<watch::Receiver<Option<i64>>, EngineError> {
        let state = self.state();
        let container = state.containers.get(id.as_str());
        container
            .map(|container| container.ended.subscribe())
            .ok_or_else(|| EngineError::new("find a container", EngineErrorKind::Other))
    }

    fn add_image(&self, reference: &ImageRef, labels: &Labels) -> ImageId {
        let id = ImageId::new(format!("scripted:{reference}"));
        let facts = ImageFacts {
            id: id.clone(),
            labels: labels.clone(),
        };
        self.state().images.insert(reference.clone(), facts);
        id
    }
}

/// An engine that keeps every limit, on a host without a GPU.
fn survey() -> EngineSurvey {
    let kept = Some(true);
    EngineSurvey {
        name: "scripted".to_owned(),
        version: "28.0".to_owned(),
        api: (1, 48),
        os: "linux".to_owned(),
        architecture: "x86_64".to_owned(),
        cpus: 4,
        memory_bytes: 16 << 30,
        storage_driver: "overlay2".to_owned(),
        d_type: kept,
        cgroup_version: Some("2".to_owned()),
        cgroup_driver: Some("systemd".to_owned()),
        limits: Limits {
            memory: kept,
            swap: kept,
            cpu: kept,
            processes: kept,
        },
        live_restore: kept,
        security: vec!["name=seccomp,profile=builtin".to_owned()],
        forwarding: kept,
        gpu: GpuWay::None,
        cdi_folders: Vec::new(),
        proxies: Vec::new(),
        mirrors: Vec::new(),
        ahead_s: Some(0),
        whereabouts: Whereabouts::ThisHost,
    }
}

fn now_s() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0)
}

impl Engine for ScriptedEngine {
    type Download = Cursor<Vec<u8>>;

    async fn describe(&self) -> Result<EngineFacts, EngineError> {
        self.check(Operation::Describe)?;
        Ok(EngineFacts {
            name: "scripted".to_owned(),
            version: "1".to_owned(),
            cpus: 4,
            memory_bytes: 16 << 30,
            gpu: self.gpu,
            data_folder: self.data_folder.clone(),
        })
    }

    async fn survey(&self) -> Result<EngineSurvey, EngineError> {
        self.check(Operation::Describe)?;
        Ok(self.survey.clone())
    }

    async fn image(&self, reference: &ImageRef) -> Result<Option<ImageFacts>, EngineError> {
        Ok(self.state().images.get(reference).cloned())
    }

    async fn pull(
        &self,
        reference: &ImageRef,
        _stop: &CancellationToken,
    ) -> Result<(), EngineError> {
        self.check(Operation::Pull)?;
        self.add_image(reference, &Labels::default());
        Ok(())
    }

    async fn import_image(
        &self,
        _root: TarSource,
        reference: &ImageRef,
        labels: &Labels,
    ) -> Result<ImageId, EngineError> {
        self.check(Operation::ImportImage)?;
        Ok(self.add_image(reference, labels))
    }

    async fn build_image(
        &self,
        build: ImageBuild,
        stop: &CancellationToken,
        on_line: LineSink<'_>,
    ) -> Result<ImageId, EngineError> {
        if stop.is_cancelled() {
            return Err(EngineError::new("build", EngineErrorKind::Cancelled));
        }
        on_line(format!("Step 1/1 : {}", build.tag).as_bytes());
        self.check(Operation::BuildImage)?;
        if self.check(Operation::HangInBuild).is_err() {
            stop.cancelled().await;
            return Err(EngineError::new("build", EngineErrorKind::Cancelled));
        }
        Ok(self.add_image(&build.tag, &build.labels))
    }

    async fn remove_image(&self, reference: &ImageRef) -> Result<(), EngineError> {
        self.check(Operation::RemoveImage)?;
        let mut state = self.state();
        state.images.remove(reference);
        state
            .unnamed
            .retain(|image| image.id.as_str() != reference.as_str());
        Ok(())
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId, EngineError> {
        self.check(Operation::Create)?;
        let mut state = self.state();
        if state
            .containers
            .values()
            .any(|other| other.spec.name == spec.name)
        {
            return Err(EngineError::new("create", EngineErrorKind::NameTaken));
        }
        state.created += 1;
        let id = format!("container-{}", state.created);
        for volume in &spec.volumes {
            // As the engine has it: a volume that is there keeps its labels.
            let there = state.volumes.entry(volume.name.clone());
            there.or_insert_with(|| volume.labels.clone());
        }
        let mut named = state.named_runs.iter();
        let named = named.position(|(part, _)| spec.name.contains(part));
        let run = match named {
            Some(place) => state.named_runs.remove(place).1,
            None => state.runs.pop_front().unwrap_or_default(),
        };
        let container = Container {
            spec: spec.clone(),
            run,
            started_at_s: None,
            finished_at_s: None,
            ended: watch::Sender::new(None),
        };
        state.containers.insert(id.clone(), container);
        Ok(ContainerId::new(id))
    }

    async fn start(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.check(Operation::Start)?;
        if let Some(container) = self.state().containers.get_mut(id.as_str()) {
            container.started_at_s.get_or_insert_with(now_s);
        }
        Ok(())
    }

    fn logs(&self, id: &ContainerId) -> impl Stream<Item = Result<Bytes, EngineError>> + Send {
        let run = self
            .state()
            .containers
            .get(id.as_str())
            .map(|container| container.run.clone())
            .unwrap_or_default();
        let (engine, id) = (self.clone(), id.clone());
        let killed = {
            let (engine, id) = (engine.clone(), id.clone());
            async move {
                if let Ok(mut ended) = engine.ended(&id) {
                    // The sender lives as long as the container does.
                    drop(ended.wait_for(Option::is_some).await);
                }
            }
        };
        let lines = stream::iter(run.lines).then(|(pause, line)| async move {
            tokio::time::sleep(pause).await;
            Ok(Bytes::from(line + "\n"))
        });
        let breaks = self.check(Operation::Logs).err();
        let broken = breaks.is_some();
        let end = stream::once(async move {
            if let Some(error) = breaks {
                return Err(error);
            }
            if run.hangs {
                std::future::pending::<()>().await;
            }
            engine.end(&id, run.exit_code);
            Ok(Bytes::new())
        });
        let lines = lines.take(if broken { 1 } else { usize::MAX });
        lines.chain(end).take_until(killed)
    }

    async fn wait(&self, id: &ContainerId) -> Result<Exit, EngineError> {
        self.check(Operation::Wait)?;
        let mut ended = self.ended(id)?;
        let code = ended
            .wait_for(Option::is_some)
            .await
            .map_err(|_| EngineError::new("wait", EngineErrorKind::Gone))?
            .unwrap_or(-1);
        let state = self.state();
        let container = state.containers.get(id.as_str());
        Ok(Exit {
            code,
            out_of_memory: container.is_some_and(|container| container.run.out_of_memory),
        })
    }

    async fn find(&self, name: &str) -> Result<Option<ContainerSummary>, EngineError> {
        self.check(Operation::Find)?;
        let state = self.state();
        let mut containers = state.containers.iter();
        let found = containers.find(|(_, container)| container.spec.name == name);
        Ok(found.map(|(id, container)| container.summary(id)))
    }

    async fn usage(&self, _id: &ContainerId) -> Result<Usage, EngineError> {
        if self.check(Operation::HangInUsage).is_err() {
            std::future::pending::<()>().await;
        }
        Ok(Usage {
            memory_bytes: 1 << 20,
            cpu_time: Duration::from_secs(1),
        })
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), EngineError> {
        tokio::time::sleep(grace).await;
        self.end(id, 143);
        Ok(())
    }

    async fn kill(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.end(id, 137);
        Ok(())
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.check(Operation::Remove)?;
        self.state().containers.remove(id.as_str());
        Ok(())
    }

    async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        self.check(Operation::RemoveVolume)?;
        self.state().volumes.remove(name);
        Ok(())
    }

    async fn upload(
        &self,
        _id: &ContainerId,
        _folder: &str,
        _archive: TarSource,
    ) -> Result<(), EngineError> {
        Ok(())
    }

    async fn download(&self, id: &ContainerId, path: &str) -> Result<Self::Download, EngineError> {
        self.check(Operation::Download)?;
        let state = self.state();
        let container = state.containers.get(id.as_str());
        container
            .and_then(|container| container.run.files.get(path))
            .map(|archive| Cursor::new(archive.clone()))
            .ok_or_else(|| {
                EngineError::new(format!("take `{path}` out"), EngineErrorKind::NoSuchPath)
            })
    }

    async fn images(&self) -> Result<Vec<ImageSummary>, EngineError> {
        self.check(Operation::List)?;
        let state = self.state();
        let named = state.images.iter().map(|(name, image)| ImageSummary {
            id: image.id.clone(),
            names: vec![name.clone()],
            parent: None,
            labels: image.labels.clone(),
            size_bytes: SCRIPTED_IMAGE_BYTES,
            created_at_s: SCRIPTED_TIME_S,
        });
        Ok(named.chain(state.unnamed.iter().cloned()).collect())
    }

    async fn containers(&self, labels: &Labels) -> Result<Vec<ContainerSummary>, EngineError> {
        self.check(Operation::List)?;
        let state = self.state();
        let carry = state
            .containers
            .iter()
            .filter(|(_, container)| container.spec.labels.contain(labels));
        Ok(carry.map(|(id, container)| container.summary(id)).collect())
    }

    async fn volumes(&self, labels: &Labels) -> Result<Vec<VolumeSummary>, EngineError> {
        self.check(Operation::List)?;
        let state = self.state();
        let carry = state
            .volumes
            .iter()
            .filter(|(_, own)| own.contain(labels))
            .map(|(name, own)| VolumeSummary {
                name: name.clone(),
                labels: own.clone(),
                created_at_s: Some(SCRIPTED_TIME_S),
            });
        Ok(carry.collect())
    }

    async fn owned(&self, labels: &Labels) -> Result<Owned, EngineError> {
        let state = self.state();
        Ok(Owned {
            containers: state
                .containers
                .iter()
                .filter(|(_, container)| container.spec.labels.contain(labels))
                .map(|(id, _)| ContainerId::new(id.clone()))
                .collect(),
            volumes: state
                .volumes
                .iter()
                .filter(|(_, own)| own.contain(labels))
                .map(|(name, _)| name.clone())
                .collect(),
        })
    }
}
