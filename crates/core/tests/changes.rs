//! What rebuilds what: edits of a farm's files, the jobs whose digest they change, and what is told of it.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};

use wheelfarm_core::matrix::Matrix;
use wheelfarm_core::package;
use wheelfarm_core::plan::changes::changes;
use wheelfarm_core::plan::{Need, OnRecord, PatchKey, Plan, PlanInput, WheelPresence, expand};

const SPLINE_CONV: &str = include_str!("../../../packages/torch-spline-conv/package.yaml");
const SAGE: &str = include_str!("../../../packages/sageattention/package.yaml");
const CU_PATCH: &str =
    include_str!("../../../patches/torch-spline-conv/1.2.2/0001-cu-without-python-h.patch");
const PARALLEL_PATCH: &str =
    include_str!("../../../patches/torch-spline-conv/1.2.2/0002-compile-in-parallel.subst.yaml");

/// Two packages, one of which compiles nothing, in two environments.
const MATRIX: &str = "schema: 1
farm: test
archs: [\"9.0\", \"12.0+PTX\"]
packages:
  - name: torch-spline-conv
    versions: [\"1.2.2\"]
  - name: sageattention
    versions: [\"1.0.6\"]
environments:
  - name: bookworm-cu130
    base:
      debootstrap:
        suite: bookworm
    toolkit: pypi
    cuda: \"13.0\"
    torch: [\"2.11.0\"]
    python: [\"3.11\"]
  - name: builder-cu128
    base:
      image:
        reference: pytorch/manylinux2_28-builder:cuda12.8
        interpreter: manylinux
    toolkit: image
    cuda: \"12.8\"
    torch-index: https://download.pytorch.org/whl/cu128
    torch: [\"2.8.0\"]
    python: [\"3.12\"]
exclude: []
build:
  ca-bundle: host
";

const SPLINE_130: &str = "torch-spline-conv-1.2.2-cu130-torch2.11-cp311";
const SPLINE_128: &str = "torch-spline-conv-1.2.2-cu128-torch2.8-cp312";
const SAGE_130: &str = "sageattention-1.0.6-cu130-torch2.11-cp311";
const SAGE_128: &str = "sageattention-1.0.6-cu128-torch2.8-cp312";

/// The texts of a farm.
#[derive(Debug, Clone)]
struct Texts {
    matrix: String,
    spline_conv: String,
    cu_patch: String,
}

fn texts() -> Texts {
    Texts {
        matrix: MATRIX.to_owned(),
        spline_conv: SPLINE_CONV.to_owned(),
        cu_patch: CU_PATCH.to_owned(),
    }
}

fn plan(texts: &Texts) -> Plan {
    let matrix = Matrix::parse("matrix.yaml", &texts.matrix).unwrap();
    let packages = [texts.spline_conv.as_str(), SAGE]
        .map(|text| package::parse("package.yaml", text).unwrap())
        .map(|package| (package.name.clone(), package));
    let patches = [
        ("0001-cu-without-python-h.patch", texts.cu_patch.as_str()),
        ("0002-compile-in-parallel.subst.yaml", PARALLEL_PATCH),
    ]
    .map(|(file, text)| {
        let key = PatchKey {
            package: "torch-spline-conv".parse().unwrap(),
            version: "1.2.2".to_owned(),
            file: file.to_owned(),
        };
        (key, text.to_owned())
    });
    expand(&PlanInput {
        matrix: &matrix,
        packages: &packages.into(),
        patches: &patches.into(),
        folders: &BTreeMap::new(),
    })
    .unwrap()
}

#[track_caller]
fn edit(text: &mut String, from: &str, to: &str) {
    assert!(text.contains(from), "{from}");
    *text = text.replacen(from, to, 1);
}

/// With every wheel on record as it was, `change` makes `jobs` stale, and `fields` are told of the first.
#[track_caller]
fn check(change: impl Fn(&mut Texts), jobs: &[&str], fields: &[&str]) {
    let before = plan(&texts());
    let mut changed = texts();
    change(&mut changed);
    let after = plan(&changed);
    let records = before.jobs.iter().map(|job| {
        let digest = job.digest();
        let wheel = WheelPresence::Present;
        (job.id().clone(), OnRecord { digest, wheel })
    });
    let needs = after.needs(&records.collect());
    let mut stale = Vec::new();
    for (job, need) in needs {
        let was = before.jobs.iter().find(|was| was.id() == job.id()).unwrap();
        let told = changes(&was.inputs(), &job.inputs());
        match need {
            Need::UpToDate => assert_eq!(told, [], "{}", job.id()),
            Need::InputsChanged => {
                let told: BTreeSet<_> = told.iter().map(|change| change.field.as_str()).collect();
                assert_eq!(told, fields.iter().copied().collect(), "{}", job.id());
                stale.push(job.id().to_string());
            }
            Need::New | Need::WheelMissing | Need::Forced | Need::Rehearsed => panic!("{need:?}"),
        }
    }
    stale.sort();
    let mut wanted = jobs.to_vec();
    wanted.sort_unstable();
    assert_eq!(stale, wanted);
}

fn in_package(from: &'static str, to: &'static str) -> impl Fn(&mut Texts) {
    move |texts| edit(&mut texts.spline_conv, from, to)
}

fn in_matrix(from: &'static str, to: &'static str) -> impl Fn(&mut Texts) {
    move |texts| edit(&mut texts.matrix, from, to)
}

const SPLINE: [&str; 2] = [SPLINE_130, SPLINE_128];

#[test]
fn a_changed_patch_rebuilds_only_its_package() {
    let field = "patches.0001-cu-without-python-h.patch";
    check(
        |texts| texts.cu_patch.insert_str(0, "Tidied up.\n"),
        &SPLINE,
        &[field],
    );
}

#[test]
fn a_new_base_digest_rebuilds_only_its_environment() {
    let pinned = concat!(
        "pytorch/manylinux2_28-builder:cuda12.8",
        "@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    );
    check(
        in_matrix("pytorch/manylinux2_28-builder:cuda12.8", pinned),
        &[SPLINE_128, SAGE_128],
        &["base"],
    );
    check(
        in_matrix(
            "suite: bookworm\n",
            "suite: bookworm\n        mirror: http://mirror.example.org/debian\n",
        ),
        &[SPLINE_130, SAGE_130],
        &["base_mirror"],
    );
}

#[test]
fn another_torch_rebuilds_only_its_environment() {
    check(
        in_matrix("torch: [\"2.8.0\"]", "torch: [\"2.8.1\"]"),
        &[SPLINE_128, SAGE_128],
        &["torch"],
    );
    check(
        in_matrix(
            "https://download.pytorch.org/whl/cu128",
            "https://mirror.example.org/cu128",
        ),
        &[SPLINE_128, SAGE_128],
        &["torch_index"],
    );
}

#[test]
fn archs_rebuild_what_is_compiled() {
    check(
        in_matrix("archs: [\"9.0\", ", "archs: [\"8.0\", \"9.0\", "),
        &SPLINE,
        &["archs", "env.TORCH_CUDA_ARCH_LIST"],
    );
}

#[test]
fn what_a_package_says_of_its_build_rebuilds_it_and_is_told() {
    check(
        in_package("ninja==1.13.0", "ninja==1.12.0"),
        &SPLINE,
        &["requirements"],
    );
    check(
        in_package(
            "FORCE_CUDA: \"1\"",
            "FORCE_CUDA: \"yes\"\n        MORE: \"1\"",
        ),
        &SPLINE,
        &["env.FORCE_CUDA", "env.MORE"],
    );
    check(
        in_package(
            "    build:\n",
            "    build:\n      command: python setup.py bdist_wheel\n",
        ),
        &SPLINE,
        &["build_command"],
    );
    check(
        in_package(
            "    build:\n",
            "    build:\n      system-packages: [libaio-dev]\n",
        ),
        &SPLINE,
        &["system_packages"],
    );
    check(
        in_package("    build:\n", "    build:\n      folder: csrc\n"),
        &SPLINE,
        &["folder"],
    );
    check(
        in_package(
            "    build:\n",
            "    build:\n      output: \"torch_*.whl\"\n",
        ),
        &SPLINE,
        &["output"],
    );
    check(
        in_package("    build:\n", "    build:\n      gpu-shim: true\n"),
        &SPLINE,
        &["gpu_shim", "env.WHEELFARM_SHOWN_GPUS"],
    );
    check(
        in_package(
            "version: \"1.2.2\"",
            "version: \"1.2.2\"\n    build-number: 2",
        ),
        &SPLINE,
        &["build_number"],
    );
    check(in_package("ed45a81d", "ed45a81e"), &SPLINE, &["source"]);
    check(
        in_package(
            "      - 0001-cu-without-python-h.patch\n      - 0002-compile-in-parallel.subst.yaml\n",
            "      - 0002-compile-in-parallel.subst.yaml\n      - 0001-cu-without-python-h.patch\n",
        ),
        &SPLINE,
        &["patches"],
    );
    check(
        in_package("      - 0002-compile-in-parallel.subst.yaml\n", ""),
        &SPLINE,
        &["patches.0002-compile-in-parallel.subst.yaml"],
    );
}

#[test]
fn what_holds_for_the_whole_farm_rebuilds_everything() {
    let all = [SPLINE_130, SPLINE_128, SAGE_130, SAGE_128];
    check(
        in_matrix(
            "  ca-bundle: host\n",
            "  ca-bundle: host\n  source-date-epoch: 1700000000\n",
        ),
        &all,
        &["source_date_epoch_s", "env.SOURCE_DATE_EPOCH"],
    );
}

#[test]
fn what_cannot_change_a_wheel_rebuilds_nothing() {
    let nothing = |change: &dyn Fn(&mut Texts)| check(change, &[], &[]);
    nothing(&in_package("test: test.py", "# no test"));
    nothing(&in_package("size: 8MiB", "size: 9MiB"));
    nothing(&in_package("glibc: \"2.34\"", "glibc: \"2.28\""));
    nothing(&in_package("memory: 6GiB", "memory: 9GiB"));
    nothing(&in_package("time: 40m", "time: 80m"));
    nothing(&in_package("gpu: auto", "gpu: none"));
    nothing(&in_package("summary: B-spline", "summary: Spline"));
    nothing(&in_matrix("farm: test", "farm: other"));
    nothing(&in_matrix("ca-bundle: host", "ca-bundle: image"));
    nothing(&in_matrix("name: builder-cu128", "name: other"));
    nothing(&in_matrix(
        "archs: [\"9.0\", \"12.0+PTX\"]",
        "archs: [\"12.0+PTX\", \"9.0\"]",
    ));
}
