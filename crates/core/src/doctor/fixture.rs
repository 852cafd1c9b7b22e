//! A farm and a host for tests.

use std::collections::BTreeMap;

use super::facts::{
    DiskFacts, DiskRoom, DiskUse, EngineSurvey, Facts, FarmFacts, GpuFacts, GpuWay, Hold,
    ImagesHere, Limits, MachineFacts, NetworkFacts, OutFacts, Presence, Proofs, StoreFacts, Unseen,
    Whereabouts,
};
use super::targets::{Answer, Asked, Reach, Target};
use super::wants::Wants;
use crate::estimate::{History, ObjectCache, Planned};
use crate::matrix::Matrix;
use crate::package;
use crate::plan::{Need, Plan, PlanInput, expand};

pub(super) const GIB: u64 = 1 << 30;

const MATRIX: &str = r#"
schema: 1
farm: test
archs: ["9.0", "12.0+PTX"]
packages:
  - name: alpha
    versions: ["1.0"]
  - name: beta
    versions: ["2.0"]
    archs: ["12.0a"]
environments:
  - name: bookworm-cu130
    base:
      debootstrap:
        suite: bookworm
    toolkit: pypi
    cuda: "13.0"
    torch: ["2.11.0"]
    python: ["3.11"]
  - name: ubuntu-cu128
    base:
      image:
        reference: nvidia/cuda:12.8.1-devel-ubuntu22.04
        interpreter: apt
    toolkit: image
    cuda: "12.8"
    torch-index: https://download.pytorch.org/whl/cu128
    torch: ["2.8.0"]
    python: ["3.10"]
"#;

/// An sdist with a wish for a GPU.
const ALPHA: &str = r#"
schema: 1
name: alpha
summary: kernels from an index
licence: MIT
upstream: https://example.org/alpha
releases:
  - version: "1.0"
    source:
      sdist:
        sha256: b0398a5877222ee1abaeccd27d1029309c8b57994794a11c1278e0bfd176512c
    kernels:
      compiled:
        archs: ["8.0", "9.0", "12.0"]
        source: test
    needs:
      source: test
    build:
      requirements: ["setuptools==80.9.0"]
    gpu: auto
"#;

/// A commit, and an archive beside it.
const BETA: &str = r#"
schema: 1
name: beta
summary: kernels from a repository
licence: MIT
upstream: https://example.org/beta
releases:
  - version: "2.0"
    source:
      git:
        url: https://github.com/lab/beta
        commit: fa1d103d16c5dfd7a3d9f77e46a18c17c5a0ee9b
    extra-sources:
      - into: third_party/gamma
        archive:
          url: https://files.lab/gamma-1.tar.gz?sig=planted
          sha256: ed45a81da29f774665dbdd4709d7e534cdf16d2e7006dbd06957f35bd09661b2
    kernels:
      compiled:
        archs: ["12.0a"]
        source: test
    needs:
      source: test
    build:
      requirements: ["setuptools==80.9.0"]
    resources:
      memory: 12GiB
      memory-per-process: 12GiB
      disk: 20GiB
"#;

pub(super) fn plan() -> (Matrix, Plan) {
    let matrix = Matrix::parse("matrix.yaml", MATRIX).unwrap_or_else(|faults| panic!("{faults}"));
    let packages = [ALPHA, BETA].map(|text| {
        let package = package::parse("package.yaml", text);
        let package = package.unwrap_or_else(|faults| panic!("{faults}"));
        (package.name.clone(), package)
    });
    let plan = expand(&PlanInput {
        matrix: &matrix,
        packages: &packages.into(),
        patches: &BTreeMap::new(),
        folders: &BTreeMap::new(),
    });
    let plan = plan.unwrap_or_else(|faults| panic!("{faults}"));
    (matrix, plan)
}

/// What four jobs want that are all to be built.
pub(super) fn wants() -> Wants {
    let (_, plan) = plan();
    let jobs: Vec<_> = plan.jobs.iter().map(|job| (job, Need::New)).collect();
    Wants::of(&jobs, |_| None)
}

fn farm() -> FarmFacts {
    let (matrix, plan) = plan();
    let history = History::default();
    let planned = plan.jobs.iter();
    let planned = planned.map(|job| Planned::of(job, &history, ObjectCache::On));
    FarmFacts {
        matrix: "matrix.yaml".to_owned(),
        wants: wants(),
        planned: planned.collect(),
        memory_cap: matrix.build.memory,
        jobs: matrix.build.jobs,
        disk_reserve_bytes: matrix.build.disk_reserve.bytes(),
        certificates: None,
    }
}

/// An answer of a server that is well.
pub(super) fn answer(status: u16) -> Answer {
    Answer {
        status,
        is_page: false,
        from_host: None,
        ms: 120,
        ahead_s: Some(0),
    }
}

/// Every server of the plan, and the same word of each.
pub(super) fn asked(reach: &Reach) -> Vec<Asked> {
    let targets = super::targets::targets(&wants(), &super::targets::Here::default());
    let asked = |target: Target| Asked {
        target,
        reach: reach.clone(),
    };
    targets.into_iter().map(asked).collect()
}

/// An engine that is as it should be.
pub(super) fn engine() -> EngineSurvey {
    EngineSurvey {
        name: "docker".to_owned(),
        version: "28.2.2".to_owned(),
        api: (1, 50),
        os: "linux".to_owned(),
        architecture: "x86_64".to_owned(),
        cpus: 16,
        memory_bytes: 64 * GIB,
        storage_driver: "overlay2".to_owned(),
        d_type: Some(true),
        cgroup_version: Some("2".to_owned()),
        cgroup_driver: Some("systemd".to_owned()),
        limits: Limits {
            memory: Some(true),
            swap: Some(true),
            cpu: Some(true),
            processes: Some(true),
        },
        live_restore: Some(true),
        security: vec![
            "name=apparmor".to_owned(),
            "name=seccomp,profile=builtin".to_owned(),
            "name=cgroupns".to_owned(),
        ],
        forwarding: Some(true),
        gpu: GpuWay::NvidiaRuntime,
        cdi_folders: Vec::new(),
        proxies: Vec::new(),
        mirrors: Vec::new(),
        ahead_s: Some(0),
        whereabouts: Whereabouts::ThisHost,
    }
}

/// The GPUs that `nvidia-smi` tells in these lines.
pub(super) fn gpus(lines: &str) -> GpuFacts {
    GpuFacts {
        devices: lines.lines().count(),
        gpus: crate::gpu::machine::parse_machine_gpus(lines)
            .map_err(|error| Unseen::new(error.to_string(), error.hint())),
        loaded: None,
        in_container: None,
    }
}

fn disk(what: DiskUse, folder: &str) -> DiskFacts {
    DiskFacts {
        what,
        folder: folder.into(),
        room: Ok(DiskRoom {
            device: 1,
            free_bytes: 500 * GIB,
            free_inodes: Some(20_000_000),
        }),
    }
}

/// A host that nothing is wrong with, for all four jobs.
pub(super) fn fit() -> Facts {
    Facts {
        farm: Ok(farm()),
        out: OutFacts {
            folder: "out".into(),
            hold: Hold::Free,
            store: StoreFacts::Readable { killed: None },
        },
        engine: Ok(engine()),
        images: Ok(ImagesHere::default()),
        leftovers: Ok(0),
        machine: MachineFacts {
            memory_bytes: Some(64 * GIB),
            available_bytes: Some(60 * GIB),
            swap_bytes: Some(0),
            overcommit: Some(0),
            cpus: Some(16),
            open_files: Some(1_048_576),
            is_root: Some(true),
        },
        gpu: gpus("NVIDIA GeForce RTX 5090, 12.0, 580.65.06, 32607 MiB\n"),
        disks: vec![
            disk(DiskUse::Engine, "/var/lib/docker"),
            disk(DiskUse::Out, "out"),
            disk(DiskUse::Cache, "/root/.cache/wheelfarm"),
            disk(DiskUse::Temporary, "/tmp"),
        ],
        commands: ["git", "debootstrap", "python3"]
            .map(|name| (name, Presence::Here))
            .to_vec(),
        network: NetworkFacts {
            asked: asked(&Reach::Answered(answer(200))),
            proxies: Vec::new(),
        },
        place: None,
        proofs: Proofs::AsPackagesSay,
    }
}
