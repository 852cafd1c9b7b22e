//! A night of many small jobs on the scripted engine, for measurements:
//!
//! ```text
//! night_bench make FOLDER JOBS    a farm of so many jobs: four Pythons of each package
//! night_bench change FOLDER       another source of each package, so that all is built again
//! night_bench run FOLDER          builds what is not on record, and prints what it took
//! night_bench die FOLDER JOBS     the same, and ends itself by SIGKILL once so many are built
//! ```
//!
//! The engine dies with its process, so what it held is in `containers.json`, and the next run finds it
//! running again. Containers say their lines without a pause, but for those of `die` and of the next run.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool for measurements"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};
use wheelfarm_core::outcome::Outcome;
use wheelfarm_core::plan::Need;
use wheelfarm_core::quantity::ByteSize;
use wheelfarm_engine::container::{
    ContainerSpec, Engine, Labels, Network, RootFileSystem, ScriptedEngine, ScriptedRun, Volume,
};
use wheelfarm_engine::event::{Event, Reporter};
use wheelfarm_engine::farm_folder::{FarmFolder, on_record};
use wheelfarm_engine::fetch::{FetchOptions, Fetcher};
use wheelfarm_engine::files::write_atomic;
use wheelfarm_engine::out_folder::OutFolder;
use wheelfarm_engine::run::{
    self, BuildMode, Objects, Patience, RunSettings, StopSignal, Workplace,
};

#[path = "../tests/run/farm.rs"]
#[expect(dead_code, reason = "its wheels are wanted, and not its farm")]
mod farm;

const PYTHONS: [&str; 4] = ["3.10", "3.11", "3.12", "3.13"];

/// What each container says.
const LINES: usize = 40;

/// The shortest and the longest time between two lines, in milliseconds, of containers in whose middle the
/// run is to be killed: no two packages keep step.
const PAUSES: [u64; 2] = [5, 11];

fn make(folder: &Utf8Path, jobs: usize) {
    let packages = jobs.div_ceil(PYTHONS.len());
    let names: Vec<_> = (0..packages)
        .map(|number| format!("demo{number}"))
        .collect();
    let list: String = names
        .iter()
        .flat_map(|name| ["  - name: ", name, "\n    versions: [\"1.0\"]\n"])
        .collect();
    let matrix = format!(
        "schema: 1\nfarm: night\narchs: [\"9.0\"]\npackages:\n{list}environments:\n  - name: builder\n    \
         base:\n      image:\n        reference: pytorch/manylinux2_28-builder:cuda12.8\n        \
         interpreter: manylinux\n    toolkit: image\n    cuda: \"12.8\"\n    \
         torch-index: https://download.pytorch.org/whl/cu128\n    torch: [\"2.8.0\"]\n    \
         python: {}\nexclude: []\n",
        json!(PYTHONS)
    );
    write(folder, "matrix.yaml", &matrix);
    for name in names {
        write(
            folder,
            &format!("sources/{name}/setup.py"),
            "import setuptools\n",
        );
        let package = format!(
            "schema: 1\nname: {name}\nsummary: a job of a night\nlicence: MIT\n\
             upstream: https://example.org/{name}\nreleases:\n  - version: \"1.0\"\n    source:\n      \
             folder: {folder}/sources/{name}\n    kernels: just-in-time\n    build:\n      \
             requirements: [\"setuptools==80.9.0\"]\n    resources:\n      memory: 2GiB\n      \
             time: 40m\n      silence: 20m\n"
        );
        write(folder, &format!("packages/{name}/package.yaml"), &package);
    }
}

fn write(folder: &Utf8Path, path: &str, text: &str) {
    let path = folder.join(path);
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    write_atomic(path, text.as_bytes()).unwrap();
}

fn change(folder: &Utf8Path) {
    for source in folder.join("sources").read_dir_utf8().unwrap() {
        let path = source.unwrap().path().join("setup.py");
        let text = fs_err::read_to_string(&path).unwrap();
        write_atomic(path, format!("{text}# changed\n").as_bytes()).unwrap();
    }
}

/// What a job's container does.
fn scripted(package: &str, pause: Duration) -> ScriptedRun {
    let line = |number| {
        (
            pause,
            format!("[{number}/{LINES}] nvcc -c kernel_{number}.cu"),
        )
    };
    ScriptedRun {
        lines: (0..LINES).map(line).collect(),
        ..farm::good_run(package)
    }
}

/// The containers that run at the moment, for the next process.
fn keep(engine: &ScriptedEngine, folder: &Utf8Path) {
    let kept: Vec<_> = engine
        .specs()
        .iter()
        .map(|spec| {
            let volumes: Vec<_> = spec
                .volumes
                .iter()
                .map(|volume| {
                    let labels: BTreeMap<_, _> = volume.labels.iter().collect();
                    json!({ "name": volume.name, "path": volume.path, "labels": labels })
                })
                .collect();
            let labels: BTreeMap<_, _> = spec.labels.iter().collect();
            json!({
                "name": spec.name, "image": spec.image, "memory_bytes": spec.memory_bytes,
                "labels": labels, "volumes": volumes,
            })
        })
        .collect();
    write(folder, "containers.json", &json!(kept).to_string());
}

fn labels(kept: &Value) -> Labels {
    let labels = kept.as_object().unwrap().iter();
    labels.fold(Labels::default(), |labels, (key, value)| {
        labels.with(key, value.as_str().unwrap())
    })
}

/// Puts the containers there that the process before this one had; they run.
async fn bring_back(engine: &ScriptedEngine, folder: &Utf8Path) {
    let Ok(kept) = fs_err::read(folder.join("containers.json")) else {
        return;
    };
    let kept: Vec<Value> = serde_json::from_slice(&kept).unwrap();
    for one in kept {
        let volume = |kept: &Value| Volume {
            name: kept["name"].as_str().unwrap().to_owned(),
            path: kept["path"].as_str().unwrap().to_owned(),
            labels: labels(&kept["labels"]),
        };
        let volumes = one["volumes"].as_array().unwrap().iter().map(volume);
        let spec = ContainerSpec {
            name: one["name"].as_str().unwrap().to_owned(),
            image: serde_json::from_value(one["image"].clone()).unwrap(),
            command: Vec::new(),
            env: BTreeMap::new(),
            working_dir: None,
            user: None,
            network: Network::Off,
            memory_bytes: one["memory_bytes"].as_u64().unwrap(),
            milli_cpus: 1000,
            pids_limit: 1,
            root: RootFileSystem::ReadOnly,
            tmpfs: Vec::new(),
            volumes: volumes.collect(),
            gpu: None,
            labels: labels(&one["labels"]),
        };
        let container = engine.create(&spec).await.unwrap();
        engine.start(&container).await.unwrap();
    }
    fs_err::remove_file(folder.join("containers.json")).unwrap();
}

/// Counts what is told, notes when the first job of either kind began, and ends the process.
struct Counter<'a> {
    started: Instant,
    events: u64,
    lines: u64,
    built: usize,
    adopted: usize,
    first_adopted: Option<Duration>,
    first_begun: Option<Duration>,
    dies_after: Option<usize>,
    engine: &'a ScriptedEngine,
    folder: &'a Utf8Path,
}

impl Reporter for Counter<'_> {
    fn report(&mut self, event: &Event) {
        self.events += 1;
        // As `--format json` does, without the terminal.
        std::hint::black_box(event.to_json().to_string());
        if let Event::Line { .. } = event {
            self.lines += 1;
        } else if let Event::AttemptStarted { adopted, .. } = event {
            let now = self.started.elapsed();
            if *adopted {
                self.adopted += 1;
                self.first_adopted.get_or_insert(now);
            } else {
                self.first_begun.get_or_insert(now);
            }
        } else if let Event::JobFinished {
            outcome: Outcome::Built,
            ..
        } = event
        {
            self.built += 1;
        }
        let is_late = self.dies_after.is_some_and(|jobs| self.built >= jobs);
        // Who says something runs.
        if is_late && matches!(event, Event::Line { .. }) {
            keep(self.engine, self.folder);
            let id = std::process::id().to_string();
            let mut kill = std::process::Command::new("kill");
            kill.args(["-KILL", &id]).status().unwrap();
        }
    }
}

async fn build(folder: &Utf8Path, dies_after: Option<usize>) {
    let started = Instant::now();
    let out_folder = folder.join("out");
    let is_resumed = folder.join("containers.json").exists();
    let has_pauses = dies_after.is_some() || is_resumed;
    let plan = FarmFolder::read(&folder.join("matrix.yaml"))
        .and_then(|farm| farm.plan())
        .unwrap();
    let engine = Arc::new(ScriptedEngine::default());
    let needs = plan.needs(&on_record(&out_folder).unwrap());
    let planned = started.elapsed();
    let to_build = needs.iter().filter(|(_, need)| *need != Need::UpToDate);
    for (number, (job, _)) in (0..).zip(to_build.clone()) {
        let [least, most] = PAUSES;
        let pause = if has_pauses {
            Duration::from_millis(least + number % (most - least))
        } else {
            Duration::ZERO
        };
        let run = scripted(job.package().as_str(), pause);
        engine.script_next_of(job.id().as_str(), run);
    }
    bring_back(&engine, folder).await;
    let set_up = started.elapsed().saturating_sub(planned);
    let mut counter = Counter {
        started: started + set_up,
        events: 0,
        lines: 0,
        built: 0,
        adopted: 0,
        first_adopted: None,
        first_begun: None,
        dies_after,
        engine: &engine,
        folder,
    };
    let settings = RunSettings {
        farm: "night".to_owned(),
        jobs: Some(4),
        memory: None,
        disk_reserve: ByteSize::from_bytes(0),
        ca_bundle: None,
        cache: folder.join("cache"),
        compiler_cache: Some(ByteSize::from_bytes(1 << 30)),
        mode: BuildMode::Build,
        objects: Objects::Discard,
        patience: Patience::default(),
        events: Some(folder.join("events.jsonl")),
    };
    let workplace = Workplace {
        engine: Arc::clone(&engine),
        out: OutFolder::open(&out_folder).unwrap(),
        fetcher: Fetcher::new(folder.join("cache"), FetchOptions::default()).unwrap(),
        settings,
        plan: plan.clone(),
    };
    let cpu_before = cpu_ms();
    let summary = run::build(workplace, &needs, StopSignal::default(), &mut counter)
        .await
        .unwrap();
    let cpu = cpu_ms() - cpu_before;
    let jobs = summary.jobs.iter();
    let failed = jobs
        .clone()
        .find(|job| matches!(job.outcome, Outcome::Failed(_)));
    assert!(failed.is_none(), "every job is built: {failed:?}");
    let built = jobs.filter(|job| job.outcome == Outcome::Built).count();
    println!("built {built}");
    println!("adopted {}", counter.adopted);
    println!("plan_ms {}", planned.as_millis());
    println!("run_ms {}", summary.elapsed.as_millis());
    println!("cpu_ms {cpu}");
    println!("peak_kib {}", peak_kib());
    println!("events {}", counter.events);
    println!("lines {}", counter.lines);
    let ms = |time: Option<Duration>| time.map_or(0, |time| time.as_millis());
    println!("first_adopted_ms {}", ms(counter.first_adopted));
    println!("first_begun_ms {}", ms(counter.first_begun));
}

/// Processor time of this process so far, of all threads, in milliseconds: Linux counts it in hundredths of
/// a second here (proc(5), `utime` and `stime`).
fn cpu_ms() -> u64 {
    let text = fs_err::read_to_string("/proc/self/stat").unwrap();
    let fields = text.rsplit_once(") ").unwrap().1.split(' ');
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().unwrap())
        .sum();
    ticks * 10
}

/// The most memory that this process has held.
fn peak_kib() -> u64 {
    let text = fs_err::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmHWM:"));
    let words = line.unwrap().split_whitespace();
    words.skip(1).find_map(|word| word.parse().ok()).unwrap()
}

#[tokio::main]
async fn main() {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let folder = Utf8PathBuf::from(words[1]);
    match (words[0], words.get(2)) {
        ("make", Some(jobs)) => make(&folder, jobs.parse().unwrap()),
        ("change", None) => change(&folder),
        ("run", None) => build(&folder, None).await,
        ("die", Some(jobs)) => build(&folder, Some(jobs.parse().unwrap())).await,
        (word, _) => panic!("`{word}` is not known; see the top of the file"),
    }
}
