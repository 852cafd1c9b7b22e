//! A farm of small packages in a temporary folder, and runs of it on the scripted engine.

use std::io::{Cursor, Write};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::outcome::Outcome;
use wheelfarm_core::plan::Need;
use wheelfarm_core::quantity::ByteSize;
use wheelfarm_core::wheel::record::{self, FileRecord};
use wheelfarm_engine::container::{ScriptedEngine, ScriptedRun};
use wheelfarm_engine::event::{Event, Reporter};
use wheelfarm_engine::farm_folder::{FarmFolder, on_record};
use wheelfarm_engine::fetch::{FetchOptions, Fetcher};
use wheelfarm_engine::files::write_atomic;
use wheelfarm_engine::out_folder::OutFolder;
use wheelfarm_engine::run::{
    self, BuildMode, JobSummary, Objects, Patience, RunError, RunSettings, RunSummary, StopSignal,
    Workplace,
};

/// A farm, its `out/`, and the engine that builds it. Packages are `a`, `b`, … at version 1.0, each
/// of one job, in this order.
#[derive(Debug)]
pub(crate) struct Farm {
    folder: tempfile::TempDir,
    pub(crate) engine: Arc<ScriptedEngine>,
    pub(crate) stop: StopSignal,
    pub(crate) jobs_at_a_time: u32,
    /// What jobs may use at most.
    pub(crate) memory: Option<ByteSize>,
    pub(crate) mode: BuildMode,
    pub(crate) objects: Objects,
    /// The packages that the run is about; all, when there are none.
    pub(crate) only: &'static [&'static str],
    /// What is built besides what is not on record.
    pub(crate) built: Built,
}

/// What is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Built {
    /// What is not on record.
    Undone,
    /// What is selected, as by `--force`.
    All,
}

/// Sees every event of a run while it happens.
struct Watcher<'a> {
    seen: &'a mut (dyn FnMut(&Event) + Send),
}

impl Reporter for Watcher<'_> {
    fn report(&mut self, event: &Event) {
        (self.seen)(event);
    }
}

impl Farm {
    pub(crate) fn new(packages: &[&str]) -> Self {
        let farm = Self {
            folder: tempfile::tempdir().unwrap(),
            engine: Arc::default(),
            stop: StopSignal::default(),
            jobs_at_a_time: 1,
            memory: None,
            mode: BuildMode::Build,
            objects: Objects::Discard,
            only: &[],
            built: Built::Undone,
        };
        let list: String = packages
            .iter()
            .flat_map(|name| ["  - name: ", name, "\n    versions: [\"1.0\"]\n"])
            .collect();
        farm.write(
            "matrix.yaml",
            &format!(
                "schema: 1\nfarm: test\narchs: [\"9.0\"]\npackages:\n{list}environments:\n  \
                 - name: builder\n    base:\n      image:\n        \
                 reference: pytorch/manylinux2_28-builder:cuda12.8\n        \
                 interpreter: manylinux\n    toolkit: image\n    cuda: \"12.8\"\n    \
                 torch-index: https://download.pytorch.org/whl/cu128\n    \
                 torch: [\"2.8.0\"]\n    python: [\"3.12\"]\nexclude: []\n"
            ),
        );
        for name in packages {
            farm.package(name, "");
        }
        farm
    }

    /// Writes a package's files; `extra` are more lines of its one release.
    pub(crate) fn package(&self, name: &str, extra: &str) {
        let source = self.path().join("sources").join(name);
        self.write(&format!("sources/{name}/setup.py"), "import setuptools\n");
        self.write(
            &format!("packages/{name}/package.yaml"),
            &format!(
                "schema: 1\nname: {name}\nsummary: a test\nlicence: MIT\n\
                 upstream: https://example.org/{name}\nreleases:\n  - version: \"1.0\"\n    \
                 source:\n      folder: {source}\n    kernels: just-in-time\n    \
                 build:\n      requirements: [\"setuptools==80.9.0\"]\n    \
                 resources:\n      memory: 2GiB\n      time: 40m\n      silence: 20m\n{extra}"
            ),
        );
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        write_atomic(path, text.as_bytes()).unwrap();
    }

    /// Puts `new` in the place of `old`, which must be there.
    pub(crate) fn replace(&self, path: &str, old: &str, new: &str) {
        let text = self.read(path);
        assert!(text.contains(old), "{text}");
        self.write(path, &text.replace(old, new));
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs_err::read_to_string(self.path().join(path)).unwrap()
    }

    pub(crate) fn path(&self) -> &Utf8Path {
        Utf8Path::from_path(self.folder.path()).unwrap()
    }

    pub(crate) fn out(&self) -> Utf8PathBuf {
        self.path().join("out")
    }

    /// Builds what is not on record.
    pub(crate) async fn build(&self) -> RunSummary {
        self.build_and_watch(&mut |_| ()).await
    }

    pub(crate) async fn build_and_watch(
        &self,
        seen: &mut (dyn FnMut(&Event) + Send),
    ) -> RunSummary {
        self.try_build(seen).await.unwrap()
    }

    pub(crate) async fn try_build(
        &self,
        seen: &mut (dyn FnMut(&Event) + Send),
    ) -> Result<RunSummary, RunError> {
        let plan = FarmFolder::read(&self.path().join("matrix.yaml"))
            .and_then(|farm| farm.plan())
            .unwrap_or_else(|error| panic!("{error}: {error:?}"));
        let out = OutFolder::open(&self.out()).unwrap();
        let mut needs = plan.needs(&on_record(&self.out()).unwrap());
        if !self.only.is_empty() {
            needs.retain(|(job, _)| self.only.contains(&job.package().as_str()));
        }
        for (_, need) in &mut needs {
            if self.built == Built::All && *need == Need::UpToDate {
                *need = Need::Forced;
            }
        }
        let fetcher = Fetcher::new(self.path().join("cache"), FetchOptions::default()).unwrap();
        let settings = RunSettings {
            farm: "test".to_owned(),
            jobs: Some(self.jobs_at_a_time),
            memory: self.memory,
            disk_reserve: ByteSize::from_bytes(0),
            ca_bundle: None,
            cache: self.path().join("cache"),
            compiler_cache: None,
            mode: self.mode,
            objects: self.objects,
            patience: Patience::default(),
            events: None,
        };
        let engine = Arc::clone(&self.engine);
        let stop = self.stop.clone();
        let mut watcher = Watcher { seen };
        let workplace = Workplace {
            engine,
            out,
            fetcher,
            settings,
            plan: plan.clone(),
        };
        run::build(workplace, &needs, stop, &mut watcher).await
    }

    /// The names in a folder below `out/`.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<_> = self
            .out()
            .join(folder)
            .read_dir_utf8()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_owned())
            .collect();
        names.sort();
        names
    }

    /// Nothing may be left of a run but what is on record and what failed.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.engine.left_behind(), Vec::<String>::new());
        let mut images = self.engine.images();
        images.retain(|image| image.starts_with("wheelfarm/job:"));
        assert_eq!(images, Vec::<String>::new());
        assert_eq!(self.names("staging"), Vec::<String>::new());
    }
}

/// The id of a package's job.
pub(crate) fn job_id(package: &str) -> String {
    format!("{package}-1.0-cu128-torch2.8-cp312")
}

/// How each job ended: `script`, `built`, `not-started`.
pub(crate) fn ends(summary: &RunSummary) -> Vec<&'static str> {
    summary.jobs.iter().map(end).collect()
}

fn end(job: &JobSummary) -> &'static str {
    match &job.outcome {
        Outcome::Failed(failure) => failure.kind.as_str(),
        outcome @ (Outcome::Built
        | Outcome::Rehearsed
        | Outcome::UpToDate
        | Outcome::Cancelled
        | Outcome::NotStarted) => outcome.as_str(),
    }
}

/// A container that ends well and leaves the wheel of `package`.
pub(crate) fn good_run(package: &str) -> ScriptedRun {
    run_with_wheels(&[(&wheel_name(package, "1.0"), wheel(package, "1.0"))])
}

/// A container that ends well and leaves these files in its output folder.
pub(crate) fn run_with_wheels(wheels: &[(&str, Vec<u8>)]) -> ScriptedRun {
    let tools = archive(&[("tools.txt", b"gcc 12.2.0\npython 3.12.1\n".to_vec())]);
    ScriptedRun {
        files: [
            ("/build/out/.".to_owned(), archive(wheels)),
            ("/build/tools.txt".to_owned(), tools),
        ]
        .into(),
        ..ScriptedRun::default()
    }
}

/// A tar of files by path.
pub(crate) fn archive(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(u64::try_from(content.len()).unwrap());
        archive.append_data(&mut header, name, &**content).unwrap();
    }
    archive.into_inner().unwrap()
}

pub(crate) fn wheel_name(package: &str, version: &str) -> String {
    format!("{package}-{version}-py3-none-any.whl")
}

/// A small wheel without compiled code.
pub(crate) fn wheel(package: &str, version: &str) -> Vec<u8> {
    let dist_info = format!("{package}-{version}.dist-info");
    let metadata =
        format!("Metadata-Version: 2.4\nName: {package}\nVersion: {version}\n\n# {package}\n");
    let tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let files = [
        (format!("{package}/__init__.py"), "import os\n".to_owned()),
        (format!("{dist_info}/METADATA"), metadata),
        (format!("{dist_info}/WHEEL"), tags.to_owned()),
    ];
    let records = files.each_ref().map(|(_, text)| FileRecord {
        sha256: Sha256Digest::of(text.as_bytes()),
        size_bytes: u64::try_from(text.len()).unwrap(),
    });
    let paths = files.iter().map(|(path, _)| path.as_str());
    let record_path = format!("{dist_info}/RECORD");
    let record = record::write(paths.zip(&records), &record_path);
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    let mut add = |path: &str, content: &[u8]| {
        zip.start_file(path, options).unwrap();
        zip.write_all(content).unwrap();
    };
    for (path, text) in &files {
        add(path, text.as_bytes());
    }
    add(&record_path, &record);
    zip.finish().unwrap().into_inner()
}
