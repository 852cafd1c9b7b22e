use super::*;
use crate::fatbin::fixture::{EntryBytes, container};
use crate::wheel::fixture::{Elf, PLAIN, Tree, with_sections};

const NAME: &str = "demo-1.0-cp312-cp312-linux_x86_64.whl";

/// A wheel of two modules, each with a symbol and with one image of PTX.
fn two_modules(caps: WheelCaps) -> WheelReport {
    let library = Elf {
        defined: &["a_function"],
        ..Elf::default()
    };
    let fatbin = container(&[EntryBytes::ptx(90, ".entry a_kernel(){}")]);
    let module = with_sections(&library.bytes(), &[(".nv_fatbin", &fatbin)]);
    let tree = Tree::wheel("demo-1.0", &[], "cp312-cp312-linux_x86_64")
        .with("demo/a.so", &module)
        .with("demo/b.so", &module)
        .recorded("demo-1.0");
    let options = InspectOptions {
        depth: Depth::Kernels,
        reading: Reading::Whole,
        caps,
    };
    inspect_wheel(NAME, tree.pack(PLAIN), &options).unwrap()
}

#[track_caller]
fn check(caps: WheelCaps, want_images: [usize; 2], want_faults: &[&str]) {
    let report = two_modules(caps);
    let images: [usize; 2] = [0, 1].map(|index| {
        let module = report.modules.get(index).into_iter();
        let containers = module.flat_map(|module| &module.containers);
        containers.map(|container| container.images.len()).sum()
    });
    assert_eq!(images, want_images);
    let findings = report.findings.iter();
    let unreadable = findings.filter(|found| found.rule == Rule::ModuleUnreadable);
    let faults: Vec<String> = unreadable
        .map(|found| format!("{}: {}", found.place, found.seen))
        .collect();
    assert_eq!(faults, want_faults);
}

#[test]
fn caps_hold_for_all_modules_of_a_wheel_together() {
    let caps = WheelCaps::default();
    check(caps, [1, 1], &[]);
    let mut one_image = caps;
    one_image.device_code.images = 1;
    check(
        one_image,
        [1, 0],
        &["demo/b.so: .nv_fatbin at byte 312 of the file: the section has too many images"],
    );
    check(
        WheelCaps {
            symbol_bytes: 100,
            ..caps
        },
        [1, 0],
        &["demo/b.so: has more symbols than the modules of any wheel together"],
    );
}
