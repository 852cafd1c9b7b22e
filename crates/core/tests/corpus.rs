//! The inputs that fuzzing kept go through the same checks in the ordinary tests, without the tools
//! of fuzzing. `make fuzz` looks for more of them.

use std::panic::catch_unwind;
use std::path::Path;

#[expect(
    unreachable_pub,
    reason = "the fuzz targets are another crate's, which uses them"
)]
#[path = "../../../fuzz/src/checks.rs"]
mod checks;

#[track_caller]
fn check_corpus(target: &str) {
    let (_, check) = checks::CHECKS
        .iter()
        .find(|(name, _)| *name == target)
        .expect("a target's check has its name");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut failed = Vec::new();
    let mut count = 0;
    for entry in folder.join(target).read_dir().expect("the corpus is there") {
        let path = entry.expect("the corpus can be read").path();
        #[expect(
            clippy::disallowed_methods,
            reason = "it is the test that reads the disk"
        )]
        let bytes = std::fs::read(&path).expect("an input can be read");
        count += 1;
        if catch_unwind(|| check(&bytes)).is_err() {
            failed.push(path);
        }
    }
    assert!(count > 0, "the corpus of {target} is empty");
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn elf_holds_on_the_corpus() {
    check_corpus("elf");
}

#[test]
fn fatbin_holds_on_the_corpus() {
    check_corpus("fatbin");
}

#[test]
fn judge_holds_on_the_corpus() {
    check_corpus("judge");
}

#[test]
fn metadata_holds_on_the_corpus() {
    check_corpus("metadata");
}

#[test]
fn wheel_holds_on_the_corpus() {
    check_corpus("wheel");
}
