//! From the text of a matrix and its packages to the plan, with the real files of this repository.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeMap;

use wheelfarm_core::diagnostic::Diagnostics;
use wheelfarm_core::digest::Sha256Digest;
use wheelfarm_core::matrix::Matrix;
use wheelfarm_core::package;
use wheelfarm_core::plan::{
    GITHUB_JOB_LIMIT, Need, OnRecord, PatchKey, Plan, PlanInput, Selector, WheelPresence, expand,
    github_matrix,
};
use wheelfarm_core::render::StageContext;

const SPLINE_CONV: &str = include_str!("../../../packages/torch-spline-conv/package.yaml");
const SAGE: &str = include_str!("../../../packages/sageattention/package.yaml");
const QUICKSTART: &str = include_str!("../../../examples/quickstart/matrix.yaml");
const CU_PATCH: &str =
    include_str!("../../../patches/torch-spline-conv/1.2.2/0001-cu-without-python-h.patch");
const PARALLEL_PATCH: &str =
    include_str!("../../../patches/torch-spline-conv/1.2.2/0002-compile-in-parallel.subst.yaml");

/// `cu_patch` is the text of the first patch of torch-spline-conv.
fn plan(matrix: &str, cu_patch: &str) -> Result<Plan, Diagnostics> {
    plan_of(SPLINE_CONV, matrix, cu_patch)
}

/// The same with another `package.yaml` of torch-spline-conv.
fn plan_of(spline_conv: &str, matrix: &str, cu_patch: &str) -> Result<Plan, Diagnostics> {
    let matrix = Matrix::parse("matrix.yaml", matrix)?;
    let packages = [spline_conv, SAGE]
        .map(|text| package::parse("package.yaml", text).unwrap())
        .map(|package| (package.name.clone(), package));
    let patches = [
        ("0001-cu-without-python-h.patch", cu_patch),
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
}

fn quickstart() -> Plan {
    plan(QUICKSTART, CU_PATCH).unwrap()
}

/// A matrix of torch-spline-conv alone, with one line replaced.
fn spline_conv_matrix(from: &str, to: &str) -> String {
    let text = "schema: 1\nfarm: test\narchs: [\"9.0\", \"12.0+PTX\"]\npackages:\n  \
                - name: torch-spline-conv\n    versions: [\"1.2.2\"]\nenvironments:\n  \
                - name: builder\n    base:\n      image:\n        \
                reference: pytorch/manylinux2_28-builder:cuda12.8\n        \
                interpreter: manylinux\n    toolkit: image\n    cuda: \"12.8\"\n    \
                torch-index: https://download.pytorch.org/whl/cu128\n    \
                torch: [\"2.8.0\", \"2.9.1\"]\n    python: [\"3.10\", \"3.13\"]\nexclude: []\n";
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

fn ids(plan: &Plan) -> Vec<&str> {
    plan.jobs.iter().map(|job| job.id().as_str()).collect()
}

#[track_caller]
fn refusal(from: &str, to: &str) -> String {
    plan(&spline_conv_matrix(from, to), CU_PATCH)
        .unwrap_err()
        .to_string()
}

#[test]
fn the_quickstart_is_two_jobs() {
    let plan = quickstart();
    assert_eq!(
        ids(&plan),
        [
            "sageattention-1.0.6-cu130-torch2.11-cp311",
            "torch-spline-conv-1.2.2-cu130-torch2.11-cp311",
        ]
    );
    assert_eq!(plan.jobs[0].archs(), None);
    assert_eq!(plan.jobs[1].archs().unwrap().to_string(), "9.0 12.0+PTX");
    assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
}

#[test]
fn the_dockerfile_of_a_debian_base_and_a_toolkit_from_pypi() {
    let plan = quickstart();
    let context = StageContext::new(&plan.jobs[1], Some(b"PEM")).unwrap();
    insta::assert_snapshot!(context.dockerfile());
}

#[test]
fn the_dockerfile_of_a_manylinux_image() {
    let plan = plan(&spline_conv_matrix("exclude: []", "exclude: []"), CU_PATCH).unwrap();
    let context = StageContext::new(&plan.jobs[0], None).unwrap();
    insta::assert_snapshot!(context.dockerfile());
}

#[test]
fn the_digest_changes_with_what_can_change_the_wheel_and_nothing_else() {
    let first = quickstart();
    let digest = |plan: &Plan| plan.jobs[1].digest();
    assert_eq!(digest(&first), digest(&quickstart()));

    let other_patch = plan(QUICKSTART, &format!("Tidied up.\n{CU_PATCH}")).unwrap();
    assert_ne!(digest(&first), digest(&other_patch));
    assert_eq!(first.jobs[0].digest(), other_patch.jobs[0].digest());

    let changed = |from: &str, to: &str| {
        assert!(QUICKSTART.contains(from), "{from}");
        digest(&plan(&QUICKSTART.replacen(from, to, 1), CU_PATCH).unwrap())
    };
    assert_ne!(digest(&first), changed("\"9.0\", ", "\"9.0+PTX\", "));
    assert_eq!(
        digest(&first),
        changed("\"9.0\", \"12.0+PTX\"", "\"12.0+PTX\", \"9.0\"")
    );
    assert_eq!(
        digest(&first),
        changed("ca-bundle: host", "ca-bundle: image")
    );
    assert_eq!(digest(&first), changed("farm: quickstart", "farm: other"));
}

#[test]
fn a_build_number_is_another_wheel_of_the_same_job() {
    let matrix = spline_conv_matrix("exclude: []", "exclude: []");
    let with = |build: &str| {
        let numbered = SPLINE_CONV.replacen(
            "version: \"1.2.2\"",
            &format!("version: \"1.2.2\"{build}"),
            1,
        );
        plan_of(&numbered, &matrix, CU_PATCH).unwrap()
    };
    let first = with("");
    let second = with("\n    build-number: 2");
    assert_eq!(ids(&first), ids(&second));
    let (first, second) = (&first.jobs[0], &second.jobs[0]);
    assert_ne!(first.digest(), second.digest());
    assert_eq!(second.release().build_number.unwrap().to_string(), "2");
    assert_eq!(first.channel(), second.channel());
    let record = OnRecord {
        digest: first.digest(),
        wheel: WheelPresence::Present,
    };
    let on_record = BTreeMap::from([(first.id().clone(), record)]);
    let needs = with("\n    build-number: 2").needs(&on_record)[0].1;
    assert_eq!(needs, Need::InputsChanged);
}

/// A matrix whose torch is `torch`, from an index of CUDA 13.0.
fn with_torch(torch: &str, index: &str) -> String {
    spline_conv_matrix(
        "cuda: \"12.8\"\n    torch-index: https://download.pytorch.org/whl/cu128\n    torch: \
         [\"2.8.0\", \"2.9.1\"]\n    python: [\"3.10\", \"3.13\"]",
        &format!(
            "cuda: \"13.0\"\n    torch-index: {index}\n    torch: [{torch}]\n    \
             python: [\"3.12\"]"
        ),
    )
}

const NIGHTLIES: &str = "https://download.pytorch.org/whl/nightly/cu130";

#[test]
fn each_nightly_is_a_job_and_a_channel_of_its_own() {
    let torch = "\"2.15.0.dev20260901\", \"2.16.0.dev20261119\", \"2.16.0.dev20261120\"";
    let plan = plan(&with_torch(torch, NIGHTLIES), CU_PATCH).unwrap();
    assert_eq!(
        ids(&plan),
        [
            "torch-spline-conv-1.2.2-cu130-torch2.15.dev20260901-cp312",
            "torch-spline-conv-1.2.2-cu130-torch2.16.dev20261119-cp312",
            "torch-spline-conv-1.2.2-cu130-torch2.16.dev20261120-cp312",
        ]
    );
    let last = &plan.jobs[2];
    assert_eq!(last.local_version(), "cu130torch2.16.dev20261120");
    assert_eq!(last.channel().to_string(), "cu130/torch2.16.dev20261120");
    assert_eq!(plan.channels().len(), 3);
    assert_ne!(plan.jobs[1].digest(), plan.jobs[2].digest());
    let context = StageContext::new(&plan.jobs[2], None).unwrap();
    let install = format!("--index-url {NIGHTLIES} torch==2.16.0.dev20261120\n");
    assert!(context.dockerfile().contains(&install));
    let warnings: Vec<_> = plan.warnings.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(warnings.join("\n"));
}

/// A package with a plain release and a variant of it, with extra sources, in a folder of its source,
/// that is shown a GPU, and whose 9.0 needs CUDA 13.
fn variants(entry: &str) -> Result<Plan, Diagnostics> {
    let release = |variant: &str| {
        format!(
            "  - version: \"1.0\"\n{variant}    source: {{git: {{url: https://example.org/demo, commit: \
             d1a57a546c3d395b1ffcbeecc66d81db76f3b4b5}}}}\n    extra-sources:\n      - into: deps/x\n        \
             archive: {{url: \"https://example.org/x.tar.gz\", sha256: {}}}\n    kernels:\n      \
             compiled:\n        archs: [\"9.0\", \"12.0\"]\n        cuda: {{\"9.0\": \">=13.0\"}}\n        \
             source: setup.py\n    build:\n      folder: hopper\n      gpu-shim: true\n      requirements: []\n",
            Sha256Digest::of(b"x")
        )
    };
    let text = format!(
        "schema: 1\nname: demo\nsummary: a test\nlicence: MIT\nupstream: https://example.org\n\
         links: {{issues: \"https://example.org/issues\"}}\nreleases:\n{}{}",
        release(""),
        release("    variant: avx512\n")
    );
    let package = package::parse("package.yaml", &text)?;
    let matrix = with_torch("\"2.11.0\"", "https://download.pytorch.org/whl/cu130").replace(
        "  - name: torch-spline-conv\n    versions: [\"1.2.2\"]\n",
        &format!("  - name: demo\n    versions: [\"1.0\"]\n{entry}"),
    );
    expand(&PlanInput {
        matrix: &Matrix::parse("matrix.yaml", &matrix)?,
        packages: &[(package.name.clone(), package)].into(),
        patches: &BTreeMap::new(),
        folders: &BTreeMap::new(),
    })
}

#[test]
fn a_variant_is_built_where_it_is_asked_for_and_has_a_channel_of_its_own() {
    let plain = variants("").unwrap();
    assert_eq!(ids(&plain), ["demo-1.0-cu130-torch2.11-cp312"]);
    let chosen = variants("    variants: [avx512]\n").unwrap();
    assert_eq!(ids(&chosen), ["demo-1.0-avx512-cu130-torch2.11-cp312"]);
    let job = &chosen.jobs[0];
    assert_eq!(job.local_version(), "cu130torch2.11.avx512");
    assert_eq!(job.channel().to_string(), "cu130/torch2.11-avx512");
    assert_ne!(job.digest(), plain.jobs[0].digest());
    let error = variants("    variants: [avx2]\n").unwrap_err().to_string();
    assert!(
        error.contains("its package.yaml has 1.0, 1.0 (avx512)"),
        "{error}"
    );
}

#[test]
fn what_a_build_is_given_stands_in_its_dockerfile_and_its_identity() {
    let plan = variants("").unwrap();
    let job = &plan.jobs[0];
    let context = StageContext::new(job, None).unwrap();
    let dockerfile = context.dockerfile();
    for line in [
        "WORKDIR /build/source/hopper\n",
        "WHEELFARM_SHOWN_GPUS=\"9.0;12.0\"",
        "echo 'import wheelfarm_gpu_shim'",
        "mv \"${CUDA_HOME}/bin/nvcc\" \"${CUDA_HOME}/bin/nvcc.real\"",
    ] {
        assert!(dockerfile.contains(line), "no {line} in {dockerfile}");
    }
    assert_eq!(
        job.source_identity(),
        format!(
            "git d1a57a546c3d395b1ffcbeecc66d81db76f3b4b5 without submodules; deps/x: archive sha256:{}",
            Sha256Digest::of(b"x")
        )
    );
}

#[test]
fn an_arch_that_needs_a_newer_toolkit_than_nvcc_does_is_refused_with_an_older_one() {
    let old = "cuda: \"12.8\"";
    let package = SPLINE_CONV.replace(
        "        source: \"csrc",
        "        cuda: {\"9.0\": \">=13.0\"}\n        source: \"csrc",
    );
    assert_ne!(package, SPLINE_CONV);
    let error = plan_of(&package, &spline_conv_matrix(old, old), CU_PATCH)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("cannot be built for arch `9.0` with CUDA 12.8"),
        "{error}"
    );
    assert!(error.contains("for `9.0` it needs CUDA >=13.0"), "{error}");
}

#[test]
fn a_release_that_the_table_does_not_list_is_a_warning() {
    let index = "https://download.pytorch.org/whl/cu130";
    let plan = plan(&with_torch("\"2.11.7\"", index), CU_PATCH).unwrap();
    let warnings: Vec<_> = plan.warnings.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(warnings.join("\n"));
}

#[test]
fn the_compiler_of_the_base_is_not_judged_where_the_package_chooses_another() {
    let base = |image: &str| {
        spline_conv_matrix(
            "reference: pytorch/manylinux2_28-builder:cuda12.8",
            &format!("reference: {image}"),
        )
        .replace("\"2.8.0\", \"2.9.1\"", "\"2.11.0\"")
    };
    let refused = |matrix: &str, package: &str| {
        let matrix = Matrix::parse("matrix.yaml", matrix).unwrap();
        let package = package::parse("package.yaml", package).unwrap();
        let packages = BTreeMap::from([(package.name.clone(), package)]);
        let patches = [
            ("0001-cu-without-python-h.patch", CU_PATCH),
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
        let res = expand(&PlanInput {
            matrix: &matrix,
            packages: &packages,
            patches: &patches.into(),
            folders: &BTreeMap::new(),
        });
        let faults = res
            .err()
            .map_or_else(String::new, |faults| faults.to_string());
        faults.contains("torch-takes-gcc")
    };
    let with_env = |line: &str| {
        assert!(SPLINE_CONV.contains("      env:\n"));
        SPLINE_CONV.replace("      env:\n", &format!("      env:\n        {line}\n"))
    };
    let trixie = base("example.org/cuda:12.8-trixie");
    assert!(refused(&trixie, SPLINE_CONV));
    assert!(refused(
        &trixie,
        &with_env("TORCH_DONT_CHECK_COMPILER_ABI: \"0\"")
    ));
    assert!(!refused(
        &trixie,
        &with_env("TORCH_DONT_CHECK_COMPILER_ABI: \"1\"")
    ));
    assert!(!refused(&trixie, &with_env("CXX: g++-13")));
    assert!(!refused(
        &base("example.org/cuda:12.8-bookworm"),
        SPLINE_CONV
    ));
    assert!(!refused(&base("example.org/cuda:12.8"), SPLINE_CONV));
}

#[test]
fn what_is_on_record_decides_what_is_built() {
    let plan = quickstart();
    let job = &plan.jobs[1];
    let record = |digest, wheel| BTreeMap::from([(job.id().clone(), OnRecord { digest, wheel })]);
    let need = |on_record| plan.needs(&on_record)[1].1;
    assert_eq!(need(BTreeMap::new()), Need::New);
    assert_eq!(
        need(record(job.digest(), WheelPresence::Present)),
        Need::UpToDate
    );
    assert_eq!(
        need(record(job.digest(), WheelPresence::Missing)),
        Need::WheelMissing
    );
    assert_eq!(
        need(record(plan.jobs[0].digest(), WheelPresence::Present)),
        Need::InputsChanged
    );
}

#[test]
fn what_cannot_work_is_refused_with_place_rule_and_source() {
    let refusals = [
        refusal("cuda: \"12.8\"", "cuda: \"12.6\""),
        refusal("\"3.10\", \"3.13\"", "\"3.10\", \"3.14\""),
        refusal("archs: [\"9.0\"", "archs: [\"5.0\""),
        refusal("archs: [\"9.0\"", "archs: [\"9.0a\""),
        refusal("torch: [\"2.8.0\"", "torch: [\"2.5.1\""),
        refusal("toolkit: image", "toolkit: pypi"),
        refusal(
            "    torch-index: https://download.pytorch.org/whl/cu128\n    torch: [\"2.8.0\"",
            "    torch: [\"2.11.0\"",
        ),
        refusal(
            "pytorch/manylinux2_28-builder:cuda12.8\n        interpreter: manylinux",
            "nvidia/cuda:12.8.1-devel-ubuntu22.04\n        interpreter: apt",
        ),
    ];
    insta::assert_snapshot!(refusals.join("\n\n"));
}

#[test]
fn an_exclusion_takes_a_job_out_and_says_why() {
    let text = spline_conv_matrix(
        "exclude: []",
        "exclude:\n  - torch: [\"2.8.0\"]\n    python: [\"3.13\"]\n    reason: not wanted\n",
    );
    let plan = plan(&text, CU_PATCH).unwrap();
    assert_eq!(plan.jobs.len(), 3);
    assert_eq!(plan.excluded.len(), 1);
    assert_eq!(
        plan.excluded[0].id.as_str(),
        "torch-spline-conv-1.2.2-cu128-torch2.8-cp313"
    );
    assert_eq!(plan.excluded[0].reason, "not wanted");
}

#[test]
fn an_exclusion_that_takes_nothing_out_is_refused() {
    insta::assert_snapshot!(
        refusal("exclude: []", "exclude:\n  - torch: [\"2.7.0\"]\n    reason: not wanted\n"),
        @r"
    matrix.yaml:19:5: this exclusion takes no job out [idle-exclusion]
      hint: remove it, or mend the axis that does not match
    "
    );
}

#[test]
fn one_wheel_serves_what_its_stable_abi_reaches() {
    let text = spline_conv_matrix(
        "name: torch-spline-conv\n    versions: [\"1.2.2\"]",
        "name: sageattention\n    versions: [\"1.0.6\"]",
    );
    let plan = plan(&text, CU_PATCH).unwrap();
    assert_eq!(ids(&plan), ["sageattention-1.0.6-cu128-torch2.8-cp310"]);
    assert_eq!(plan.excluded.len(), 3);
    assert_eq!(
        plan.excluded[0].reason,
        "the wheel of `sageattention-1.0.6-cu128-torch2.8-cp310` serves it too"
    );
}

#[test]
fn selection_takes_globs() {
    let mut plan = quickstart();
    plan.select(&Selector::new(&["sage*".to_owned()], &[]).unwrap());
    assert_eq!(plan.jobs.len(), 1);
}

#[test]
fn github_takes_what_must_be_built_up_to_its_limit() {
    let plan = quickstart();
    let needs: Vec<_> = plan.jobs.iter().map(|job| (job, Need::New)).collect();
    insta::assert_snapshot!(github_matrix(&needs).unwrap(), @r#"{"include":[{"archs":"","cuda":"13.0","job":"sageattention-1.0.6-cu130-torch2.11-cp311","package":"sageattention","python":"3.11","torch":"2.11.0","version":"1.0.6"},{"archs":"9.0 12.0+PTX","cuda":"13.0","job":"torch-spline-conv-1.2.2-cu130-torch2.11-cp311","package":"torch-spline-conv","python":"3.11","torch":"2.11.0","version":"1.2.2"}]}"#);
    let up_to_date: Vec<_> = plan.jobs.iter().map(|job| (job, Need::UpToDate)).collect();
    assert_eq!(github_matrix(&up_to_date).unwrap(), r#"{"include":[]}"#);
    let many: Vec<_> = needs
        .iter()
        .copied()
        .cycle()
        .take(GITHUB_JOB_LIMIT + 1)
        .collect();
    let error = github_matrix(&many).unwrap_err();
    assert!(error.to_string().starts_with("257 jobs"), "{error}");
    assert!(error.hint().contains("--only"));
}

#[test]
fn the_patch_digest_is_of_its_text() {
    let plan = quickstart();
    let patch = &plan.jobs[1].patches()[0];
    assert_eq!(patch.sha256, Sha256Digest::of(CU_PATCH.as_bytes()));
}
