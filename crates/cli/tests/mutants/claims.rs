//! Wheels that say of themselves what is not so.

use super::Mutant;
use super::device::BASIS;
use super::wheel::Wheel;

const BASIS_PY: &str = "torch_spline_conv/basis.py";

pub(crate) fn mutants(good: &Wheel) -> Vec<Mutant> {
    let mut mutants = torch(good);
    mutants.extend(names(good));
    mutants.extend(tags(good));
    mutants.extend(record(good));
    mutants
}

fn torch(good: &Wheel) -> Vec<Mutant> {
    let metadata = good.meta("METADATA");
    let requires = |new: &str| {
        let wheel = good.clone();
        let wheel = wheel.replaced(&metadata, "Requires-Dist: torch==2.11.*\n", new);
        wheel.recorded()
    };
    let (local, other) = ("1.2.2+cu130torch2.11", "1.2.2+cu130torch2.10");
    let renamed = good
        .clone()
        .named(local, other)
        .replaced(&metadata, local, other)
        .with_dist_info(&good.dist_info().replace(local, other));
    vec![
        Mutant::of(
            "another minor version of torch required",
            requires("Requires-Dist: torch==2.10.*\n"),
        )
        .finds("abi/torch-minor", "METADATA"),
        Mutant::of(
            "the local version of another torch",
            renamed.clone().recorded(),
        )
        .finds("abi/torch-minor", &renamed.file_name),
        Mutant::of("no torch required", requires("")).finds("requires/torch-bound", "METADATA"),
        Mutant::of(
            "any later torch admitted",
            requires("Requires-Dist: torch>=2.11\n"),
        )
        .finds("requires/torch-bound", "METADATA"),
    ]
}

fn names(good: &Wheel) -> Vec<Mutant> {
    let metadata = good.meta("METADATA");
    let says = |old: &str, new: &str| good.clone().replaced(&metadata, old, new).recorded();
    let older = good
        .clone()
        .named("-1.2.2+", "-1.2.1+")
        .replaced(&metadata, "Version: 1.2.2+", "Version: 1.2.1+")
        .with_dist_info(&good.dist_info().replace("-1.2.2+", "-1.2.1+"));
    vec![
        Mutant::of(
            "another name in METADATA",
            says("Name: torch_spline_conv\n", "Name: torch_scatter\n"),
        )
        .finds("name/metadata-mismatch", &metadata),
        Mutant::of(
            "another version in METADATA",
            says("Version: 1.2.2+", "Version: 1.2.1+"),
        )
        .finds("name/metadata-mismatch", &metadata),
        Mutant::of(
            "another name of the .dist-info folder",
            good.clone()
                .with_dist_info("torch_spline_conv-1.2.2.dist-info")
                .without("torch_spline_conv-1.2.2.dist-info/RECORD")
                .with("torch_spline_conv-1.2.2.dist-info/RECORD", b"")
                .recorded(),
        )
        .finds(
            "name/metadata-mismatch",
            "torch_spline_conv-1.2.2.dist-info",
        ),
        Mutant::of("another version throughout", older.clone().recorded())
            .finds("name/not-asked", &older.file_name),
        Mutant::of(
            "larger than its budget",
            good.clone()
                .with("torch_spline_conv/weights.bin", &noise(9 << 20))
                .recorded(),
        )
        .finds("size/over-budget", &good.file_name),
    ]
}

/// Bytes that deflate makes no shorter: a linear congruential generator's.
fn noise(length: usize) -> Vec<u8> {
    let mut state: u64 = 1;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn tags(good: &Wheel) -> Vec<Mutant> {
    let wheel_file = good.meta("WHEEL");
    let in_file = |old: &str, new: &str| good.clone().replaced(&wheel_file, old, new);
    let (platform, older) = ("manylinux_2_34_x86_64", "manylinux_2_17_x86_64");
    let (python, newer) = ("cp311-cp311", "cp312-cp312");
    let for_older = in_file(platform, older).named(platform, older);
    let for_newer = in_file(python, newer).named(python, newer);
    vec![
        Mutant::of("the tag of an older platform", for_older.clone().recorded())
            .finds("tag/untrue", &for_older.file_name),
        Mutant::of("the tag of another Python", for_newer.clone().recorded())
            .finds("abi/python", &for_newer.file_name),
        Mutant::of(
            "another platform in WHEEL",
            in_file(platform, older).recorded(),
        )
        .finds("tag/untrue", &wheel_file),
        Mutant::of("another Python in WHEEL", in_file(python, newer).recorded())
            .finds("tag/untrue", &wheel_file),
    ]
}

fn record(good: &Wheel) -> Vec<Mutant> {
    let record = good.meta("RECORD");
    let line = good.text(&record).lines();
    let mut line = line.filter(|line| line.starts_with(BASIS_PY));
    let line = line.next().unwrap().to_owned();
    let (path_and_hash, size) = line.rsplit_once(',').unwrap();
    let digit = path_and_hash.chars().nth(BASIS_PY.len() + 20).unwrap();
    let at = BASIS_PY.len() + 20;
    let mut off_by_one = line.clone();
    off_by_one.replace_range(at..=at, if digit == 'A' { "B" } else { "A" });
    let middle = good.files[BASIS].len() / 2;
    let mut damaged = good.files[BASIS].clone();
    damaged[middle] ^= 1;
    vec![
        Mutant::of(
            "a hash in RECORD off by one digit",
            good.clone().replaced(&record, &line, &off_by_one),
        )
        .finds("record/mismatch", BASIS_PY),
        Mutant::of(
            "a size in RECORD off by one",
            good.clone()
                .replaced(&record, &line, &format!("{path_and_hash},1{size}")),
        )
        .finds("record/mismatch", BASIS_PY),
        Mutant::of(
            "a file that RECORD does not list",
            good.clone()
                .with("torch_spline_conv/evil.py", b"import os\n"),
        )
        .finds("record/mismatch", "torch_spline_conv/evil.py"),
        Mutant::of(
            "a file of RECORD that is not there",
            good.clone().without(BASIS_PY),
        )
        .finds("record/mismatch", BASIS_PY),
        Mutant::of(
            "a bit of a module changed after RECORD was written",
            good.clone().with(BASIS, &damaged),
        )
        .finds("record/mismatch", BASIS),
    ]
}
