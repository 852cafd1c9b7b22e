//! Wheels whose modules need what the user does not have.

use super::Mutant;
use super::device::{BASIS, WEIGHTING};
use super::elf::{DT_NEEDED, DT_RUNPATH, Elf};
use super::wheel::Wheel;

const VERSION_CPU: &str = "torch_spline_conv/_version_cpu.so";
const EM_AARCH64: u8 = 183;

fn with_module(good: &Wheel, path: &str, edit: impl FnOnce(&mut Elf)) -> Wheel {
    good.clone().edited(path, edit).recorded()
}

pub(crate) fn mutants(good: &Wheel) -> Vec<Mutant> {
    let mut mutants = symbols(good);
    mutants.extend(libraries(good));
    mutants.extend(machines(good));
    mutants
}

fn symbols(good: &Wheel) -> Vec<Mutant> {
    let mut lacking = String::new();
    let without_symbol = with_module(good, WEIGHTING, |module| {
        let symbols = module.symbols(".dynsym").into_iter();
        let mut wanted = symbols.filter(super::elf::Symbol::is_wanted);
        let symbol = wanted.find(|symbol| symbol.name.starts_with("_ZN3c10"));
        let name = symbol.unwrap().name;
        lacking = name.replacen("_ZN3c10", "_ZN3c11", 1);
        module.rename(&name, &lacking);
    });
    let newer_glibc = with_module(good, BASIS, |module| {
        module.rename_version("GLIBC_2.32", "GLIBC_2.99");
    });
    vec![
        Mutant::of("a symbol that libtorch lacks", without_symbol)
            .finds("abi/undefined-symbol", WEIGHTING)
            .naming(&lacking),
        Mutant::of("a newer glibc", newer_glibc)
            .finds("glibc/too-new", BASIS)
            .naming("GLIBC_2.99")
            .finds("abi/undefined-symbol", BASIS)
            .finds("tag/untrue", &good.file_name),
    ]
}

fn libraries(good: &Wheel) -> Vec<Mutant> {
    let driver = "torch_spline_conv.libs/libcuda-1a2b3c4d.so.1";
    let library = good.files[VERSION_CPU].clone();
    let adds = |tag, text: &'static str| {
        with_module(good, BASIS, move |module| module.add_dynamic(tag, text))
    };
    vec![
        Mutant::of(
            "a bundled libcuda.so.1",
            good.clone().with(driver, &library).recorded(),
        )
        .finds("needed/bundled-driver", driver),
        Mutant::of(
            "a library of no known family needed",
            adds(DT_NEEDED, "libmystery.so.7"),
        )
        .finds("needed/not-allowed", BASIS)
        .naming("libmystery.so.7")
        .finds("tag/untrue", &good.file_name),
        Mutant::of(
            "a library needed that the contract does not allow",
            adds(DT_NEEDED, "libcublas.so.13"),
        )
        .finds("needed/not-allowed", BASIS),
        Mutant::of(
            "the runtime of another CUDA needed",
            with_module(good, WEIGHTING, |module| {
                module.rename_version("libcudart.so.13", "libcudart.so.12");
            }),
        )
        .finds("needed/other-cuda", WEIGHTING)
        .leaves_unchecked("abi/undefined-symbol", WEIGHTING),
        Mutant::of(
            "a search path of the build host",
            adds(DT_RUNPATH, "/usr/local/cuda/lib64"),
        )
        .finds("rpath/leak", BASIS)
        .naming("/usr/local/cuda/lib64"),
        Mutant::of(
            "a search path out of site-packages",
            adds(DT_RUNPATH, "$ORIGIN/../../../lib"),
        )
        .finds("rpath/leak", BASIS),
        Mutant::of(
            "good: a search path within site-packages",
            adds(DT_RUNPATH, "$ORIGIN/../torch/lib"),
        ),
    ]
}

fn machines(good: &Wheel) -> Vec<Mutant> {
    let other_python = "torch_spline_conv/_extra.cpython-312-x86_64-linux-gnu.so";
    let library = good.files[VERSION_CPU].clone();
    vec![
        Mutant::of(
            "a module for aarch64",
            with_module(good, VERSION_CPU, |module| module.bytes[18] = EM_AARCH64),
        )
        .finds("tag/untrue", VERSION_CPU),
        Mutant::of(
            "an extension module of another Python",
            good.clone().with(other_python, &library).recorded(),
        )
        .finds("tag/untrue", other_python)
        .finds("abi/python", other_python),
    ]
}
