//! A real engine for one test: an image of its own, labels of its own, and a look at its end at
//! what is left behind.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use wheelfarm_engine::container::{
    ContainerSpec, DockerEngine, Engine, ImageId, ImageRef, Labels, Network, OwnedContainer,
    RootFileSystem, RunEnd, RunLimits, TarSource, Tmpfs, Volume, labels, remove_owned,
};

/// The label of the test's image. The engine gives it to every container of the image, so it
/// finds those too that lost their own labels.
const TEST_LABEL: &str = "dev.wheelfarm.test";

/// Where Debian's `busybox-static` puts its one file.
const BUSYBOX: &str = "/bin/busybox";

const APPLETS: [&str; 24] = [
    "cat", "cut", "dd", "du", "echo", "env", "find", "grep", "head", "id", "kill", "ls", "mkdir",
    "printf", "rm", "seq", "sh", "sleep", "sort", "stat", "tail", "touch", "true", "wc",
];

/// Limits that no test reaches by accident.
pub(crate) const AMPLE: RunLimits = RunLimits {
    total: Duration::from_mins(2),
    silence: Duration::from_mins(1),
    grace: Duration::from_secs(10),
};

/// The engine and what one test may leave nothing of.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) engine: Arc<DockerEngine>,
    pub(crate) image: ImageId,
    pub(crate) image_name: ImageRef,
    unique: String,
    more_images: Mutex<Vec<ImageRef>>,
}

/// Runs `body` against the real engine, and fails if a container, volume or image is left.
pub(crate) async fn with_lab(test: &str, body: impl AsyncFnOnce(&Lab)) {
    let lab = Lab::open(test).await;
    let res = AssertUnwindSafe(body(&lab)).catch_unwind().await;
    let left = lab.left_behind().await;
    lab.clean().await;
    if let Err(panic) = res {
        resume_unwind(panic);
    }
    assert_eq!(left, Vec::<String>::new(), "left behind in the engine");
}

impl Lab {
    async fn open(test: &str) -> Self {
        let engine = DockerEngine::connect().await.unwrap_or_else(|error| {
            panic!("docker_* tests need a Docker engine that answers; leave them out with the default nextest profile: {error:?}")
        });
        let unique = format!("{test}-{}", std::process::id());
        let image_name = ImageRef::new(format!("wheelfarm-test/{unique}:root"));
        let image = engine
            .import_image(
                TarSource::Memory(root_file_system(&[])),
                &image_name,
                &Labels::default().with(TEST_LABEL, &unique),
            )
            .await
            .expect("a small tar can be imported");
        Self {
            engine: Arc::new(engine),
            image,
            image_name,
            unique,
            more_images: Mutex::default(),
        }
    }

    /// One more image, which goes with the test.
    pub(crate) async fn import(&self, part: &str, root: Bytes) -> ImageId {
        let name = ImageRef::new(format!("wheelfarm-test/{}:{part}", self.unique));
        self.more_images.lock().unwrap().push(name.clone());
        let labels = Labels::default().with(TEST_LABEL, &self.unique);
        let root = TarSource::Memory(root);
        let image = self.engine.import_image(root, &name, &labels).await;
        image.expect("a tar can be imported")
    }

    /// The labels of what the test creates.
    pub(crate) fn labels(&self) -> Labels {
        Labels::default().with(labels::FARM, &self.unique)
    }

    /// A name that no other test uses.
    pub(crate) fn name(&self, part: &str) -> String {
        format!("wheelfarm-test-{}-{part}", self.unique)
    }

    /// A container that runs a shell script, hardened as the one that compiles: see `compile_spec`
    /// in `src/run/job.rs`.
    pub(crate) fn spec(&self, script: &str) -> ContainerSpec {
        let name = self.name("job");
        ContainerSpec {
            image: self.image.clone(),
            command: ["sh", "-c", script].map(str::to_owned).into(),
            env: [("PROCESS_MEMORY_MIB".to_owned(), "512".to_owned())].into(),
            working_dir: None,
            user: Some("10001:10001".to_owned()),
            network: Network::Off,
            memory_bytes: 64 << 20,
            milli_cpus: 1000,
            pids_limit: 64,
            root: RootFileSystem::ReadOnly,
            tmpfs: vec![Tmpfs {
                path: "/tmp".to_owned(),
                size_bytes: 16 << 20,
            }],
            volumes: vec![Volume {
                name: name.clone(),
                path: "/build".to_owned(),
                labels: self.labels(),
            }],
            gpu: None,
            labels: self.labels(),
            name,
        }
    }

    pub(crate) async fn create(&self, spec: ContainerSpec) -> OwnedContainer<DockerEngine> {
        OwnedContainer::create(Arc::clone(&self.engine), spec)
            .await
            .expect("the container can be created")
    }

    /// Containers of the test's image, and volumes with its labels.
    pub(crate) async fn left_behind(&self) -> Vec<String> {
        let of_image = Labels::default().with(TEST_LABEL, &self.unique);
        let of_image = self.engine.owned(&of_image).await.unwrap();
        let labelled = self.engine.owned(&self.labels()).await.unwrap();
        let mut left: Vec<_> = of_image
            .containers
            .iter()
            .chain(&labelled.containers)
            .map(|id| format!("container {}", id.as_str()))
            .chain(labelled.volumes.iter().map(|name| format!("volume {name}")))
            .collect();
        left.sort();
        left.dedup();
        left
    }

    async fn clean(&self) {
        let of_image = Labels::default().with(TEST_LABEL, &self.unique);
        for labels in [of_image, self.labels()] {
            remove_owned(&*self.engine, &labels).await.unwrap();
        }
        let mut images = vec![self.image_name.clone()];
        images.append(&mut self.more_images.lock().unwrap());
        for name in images {
            self.engine.remove_image(&name).await.unwrap();
            let image = self.engine.image(&name).await.unwrap();
            assert!(image.is_none(), "{image:?}");
        }
    }
}

/// Runs a container to its end and removes it.
pub(crate) async fn run(
    lab: &Lab,
    spec: ContainerSpec,
    limits: &RunLimits,
) -> (RunEnd, Vec<String>) {
    let mut container = lab.create(spec).await;
    let mut lines = Vec::new();
    let never = CancellationToken::new();
    let end = container
        .run_to_end(limits, &never, &never, |line| {
            lines.push(String::from_utf8_lossy(line).into_owned());
        })
        .await
        .unwrap();
    container.remove().await.unwrap();
    (end, lines)
}

/// A tar with one file in it, owned by the user that builds.
pub(crate) fn tar_of(path: &str, content: &str) -> TarSource {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o640);
    header.set_uid(10001);
    header.set_gid(10001);
    header.set_size(u64::try_from(content.len()).unwrap());
    archive
        .append_data(&mut header, path, content.as_bytes())
        .unwrap();
    TarSource::Memory(Bytes::from(archive.into_inner().unwrap()))
}

/// A root file system that is a static busybox, the folders of a builder image, and these scripts by name.
pub(crate) fn root_file_system(scripts: &[(&str, &str)]) -> Bytes {
    let busybox = fs_err::read(Path::new(BUSYBOX)).unwrap_or_else(|error| {
        panic!("docker_* tests make their image of a static busybox: `apt-get install busybox-static`: {error}")
    });
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, mode: u32, uid: u64, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(uid);
        header.set_gid(uid);
        header.set_size(u64::try_from(content.len()).unwrap());
        archive.append_data(&mut header, path, content).unwrap();
    };
    let folder = tar::EntryType::Directory;
    for path in ["bin/", "etc/"] {
        add(path, folder, 0o755, 0, b"");
    }
    add("tmp/", folder, 0o1777, 0, b"");
    for path in ["build/", "build/out/"] {
        add(path, folder, 0o750, 10001, b"");
    }
    add("bin/busybox", tar::EntryType::Regular, 0o755, 0, &busybox);
    for (name, script) in scripts {
        let path = format!("bin/{name}");
        add(&path, tar::EntryType::Regular, 0o755, 0, script.as_bytes());
    }
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    for applet in APPLETS {
        let path = format!("bin/{applet}");
        archive.append_link(&mut header, path, "busybox").unwrap();
    }
    Bytes::from(archive.into_inner().unwrap())
}
