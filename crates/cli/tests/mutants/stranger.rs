//! A wheel of others under our name.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Mutant;
use super::wheel::Wheel;

/// A small wheel of PyPI with one compiled module, for the same Python.
const REQUIREMENT: &str = "markupsafe==3.0.2 \
    --hash=sha256:a123e330ef0853c6e822384873bef7507557d8e4a082961e1defa947aa59ba84";

/// What the contract of torch-spline-conv names.
const MODULES: [&str; 6] = [
    "torch_spline_conv/_basis_cuda.so",
    "torch_spline_conv/_weighting_cuda.so",
    "torch_spline_conv/_basis_cpu.so",
    "torch_spline_conv/_weighting_cpu.so",
    "torch_spline_conv/_version_cpu.so",
    "torch_spline_conv/_version_cuda.so",
];

pub(crate) fn mutants(good: &Wheel, folder: &Path) -> Vec<Mutant> {
    let stranger = Wheel::read(&download(folder));
    let renamed = Wheel {
        file_name: good.file_name.clone(),
        ..stranger
    };
    let metadata = "Metadata-Version: 2.4\nName: torch_spline_conv\n\
                    Version: 1.2.2+cu130torch2.11\nRequires-Dist: torch==2.11.*\n";
    let disguised = renamed.clone().with_dist_info(&good.dist_info());
    let disguised = disguised
        .with(&good.meta("METADATA"), metadata.as_bytes())
        .with(&good.meta("WHEEL"), &good.files[&good.meta("WHEEL")])
        .recorded();
    let names = Mutant::raw(
        "a stranger's wheel, renamed",
        &good.file_name,
        renamed.packed(),
    )
    .finds("name/metadata-mismatch", &renamed.meta("METADATA"))
    .finds("name/metadata-mismatch", &renamed.dist_info())
    .finds("tag/untrue", &renamed.meta("WHEEL"));
    let modules = Mutant::of("a stranger's wheel under our name throughout", disguised);
    [names, modules]
        .map(|mutant| {
            let missing = MODULES.iter();
            missing.fold(mutant, |mutant, module| {
                mutant.finds("module/missing", module)
            })
        })
        .into()
}

fn download(folder: &Path) -> PathBuf {
    let script = r#"
set -eu
mkdir "$1"
cd "$1"
python3 -m venv venv
echo "$2" >requirement.txt
venv/bin/pip download --quiet --no-deps --require-hashes --requirement requirement.txt --dest wheels \
    --only-binary=:all: --python-version 3.11 --platform manylinux2014_x86_64
"#;
    let folder = folder.join("stranger");
    let output = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(&folder)
        .arg(REQUIREMENT)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let mut wheels = fs_err::read_dir(folder.join("wheels")).unwrap();
    wheels.next().unwrap().unwrap().path()
}
