//! Wheels whose GPU code is not what was asked for.

use super::Mutant;
use super::elf::Elf;
use super::fatbin::{FLAG_SPECIFIC, Fatbin, PTX, SASS};
use super::wheel::Wheel;

pub(crate) const BASIS: &str = "torch_spline_conv/_basis_cuda.so";
pub(crate) const WEIGHTING: &str = "torch_spline_conv/_weighting_cuda.so";

/// Longer than what counts as an empty body, and by far.
const FULL_BYTES: usize = 4096;

fn with_code(good: &Wheel, path: &str, edit: impl FnOnce(&mut Fatbin)) -> Wheel {
    let changed = good.clone().edited(path, |module| {
        let mut fatbin = Fatbin::of(module);
        edit(&mut fatbin);
        fatbin.write(module);
    });
    changed.recorded()
}

fn with_cubin(good: &Wheel, path: &str, edit: impl FnOnce(&mut Elf)) -> Wheel {
    with_code(good, path, |fatbin| fatbin.image(SASS, 90).edit(edit))
}

/// The first kernel with a body of some length.
fn kernel(cubin: &Elf) -> String {
    let kernels = cubin.symbols(".symtab").into_iter();
    let kernels = kernels.filter(super::elf::Symbol::is_kernel);
    let mut names = kernels.map(|symbol| symbol.name);
    let is_long = |name: &String| cubin.section(&format!(".text.{name}")).length >= FULL_BYTES;
    names.find(is_long).unwrap()
}

pub(crate) fn mutants(good: &Wheel) -> Vec<Mutant> {
    let mut mutants = archs(good);
    mutants.extend(kernels(good));
    mutants.extend(modules(good));
    mutants
}

fn archs(good: &Wheel) -> Vec<Mutant> {
    vec![
        Mutant::of(
            "sm_90 dropped from one module",
            with_code(good, BASIS, |fatbin| fatbin.remove(SASS, 90)),
        )
        .finds("arch/missing-sass", BASIS),
        Mutant::of(
            "sm_120 left as PTX alone",
            with_code(good, WEIGHTING, |fatbin| fatbin.remove(SASS, 120)),
        )
        .finds("arch/jit-only", WEIGHTING),
        Mutant::of(
            "PTX dropped",
            with_code(good, BASIS, |fatbin| fatbin.remove(PTX, 120)),
        )
        .finds("arch/missing-ptx", BASIS),
        Mutant::of(
            "sm_120a where sm_120 was asked for",
            with_code(good, WEIGHTING, |fatbin| {
                let image = fatbin.image(SASS, 120);
                image.set_flag(FLAG_SPECIFIC);
                image.edit(|cubin| cubin.replace("-arch sm_120 -m 64 \0", "-arch sm_120a -m 64\0"));
            }),
        )
        .finds("arch/missing-sass", WEIGHTING)
        .warns("arch/unasked", WEIGHTING),
        Mutant::of(
            "a header that calls sm_120 sm_120a",
            with_code(good, WEIGHTING, |fatbin| {
                fatbin.image(SASS, 120).set_flag(FLAG_SPECIFIC);
            }),
        )
        .finds("arch/header-mismatch", WEIGHTING)
        .finds("arch/missing-sass", WEIGHTING)
        .warns("arch/unasked", WEIGHTING),
        Mutant::of(
            "headers of sm_90 and sm_120 exchanged",
            with_code(good, BASIS, |fatbin| {
                fatbin.swap_payloads((SASS, 90), (SASS, 120));
            }),
        )
        .finds("arch/header-mismatch", BASIS),
        Mutant::of(
            "an image of an unknown kind beside the others",
            with_code(good, WEIGHTING, |fatbin| {
                let mut other = fatbin.image(PTX, 120).clone();
                other.set_kind(32);
                fatbin.image(SASS, 90).pack();
                fatbin.push(other);
            }),
        )
        .leaves_unchecked("arch/unknown-image", WEIGHTING),
        Mutant::of(
            "good: sm_90 packed with zstd",
            with_code(good, WEIGHTING, |fatbin| fatbin.image(SASS, 90).pack()),
        ),
    ]
}

fn kernels(good: &Wheel) -> Vec<Mutant> {
    let mut kernel_name = String::new();
    let without_kernel = with_cubin(good, BASIS, |cubin| {
        kernel_name = kernel(cubin);
        let symbols = cubin.symbols(".symtab").into_iter();
        let mut symbols = symbols.filter(super::elf::Symbol::is_kernel);
        let symbol = symbols.find(|symbol| symbol.name == kernel_name).unwrap();
        cubin.remove_symbol(&symbol);
    });
    let with_empty_kernel = with_cubin(good, WEIGHTING, |cubin| {
        let name = kernel(cubin);
        cubin.resize_section(&format!(".text.{name}"), 128);
    });
    vec![
        Mutant::of("one kernel removed from sm_90", without_kernel)
            .finds("arch/kernel-parity", BASIS)
            .naming(&kernel_name),
        Mutant::of("the body of one kernel empty for sm_90", with_empty_kernel)
            .finds("arch/empty-kernel", WEIGHTING),
        Mutant::of(
            "the packed sm_90 damaged",
            with_code(good, WEIGHTING, |fatbin| {
                let image = fatbin.image(SASS, 90);
                image.pack();
                image.damage();
            }),
        )
        .finds("module/unreadable", WEIGHTING),
    ]
}

fn modules(good: &Wheel) -> Vec<Mutant> {
    let cpu = good.files["torch_spline_conv/_basis_cpu.so"].clone();
    let extra = "torch_spline_conv/_extra_cuda.so";
    let weighting = good.files[WEIGHTING].clone();
    vec![
        Mutant::of(
            "a module left out",
            good.clone().without(WEIGHTING).recorded(),
        )
        .finds("module/missing", WEIGHTING),
        Mutant::of(
            "a module compiled without its GPU code",
            good.clone().with(BASIS, &cpu).recorded(),
        )
        .finds("arch/missing-sass", BASIS),
        Mutant::of(
            "good: one more module with GPU code",
            good.clone().with(extra, &weighting).recorded(),
        )
        .warns("module/unexpected", extra),
        Mutant::of(
            "a module cut off in the middle",
            good.clone()
                .with(WEIGHTING, &weighting[..weighting.len() / 2])
                .recorded(),
        )
        .finds("module/unreadable", WEIGHTING),
    ]
}
