//! A verdict as one English sentence, to stand after the name of what was judged.

use std::collections::BTreeMap;

use super::capability::Capability;
use super::rules::WhyNot;
use super::table::{self, Platform};
use super::verdict::{GpuVerdict, Verdict};
use crate::arch::Arch;

/// What becomes of the code on the GPU, and why: `runs natively on 12.0 (RTX 5090), with driver
/// 570.26 or later`.
pub fn sentence(verdict: &GpuVerdict) -> String {
    let gpu = gpu_text(verdict.gpu);
    match verdict.verdict {
        Verdict::Native => format!("runs natively on {gpu}, {}", with_driver(verdict)),
        Verdict::Jit if verdict.native == 0 => format!(
            "runs on {gpu} once the driver has compiled it, at first use; {}",
            needs_driver(verdict)
        ),
        Verdict::Jit => format!(
            "runs on {gpu}, where the driver compiles {} of {} at first use; {}",
            verdict.jit,
            containers(verdict.total),
            needs_driver(verdict)
        ),
        Verdict::Partly => format!(
            "runs on {gpu} in part: {}{}",
            missing(verdict),
            not_known(verdict).map_or_else(String::new, |text| format!("; {text}"))
        ),
        Verdict::Fails => format!("fails on {gpu}: {}", missing(verdict)),
        Verdict::Unknown => format!(
            "may run on {gpu}: {}",
            not_known(verdict).unwrap_or_else(|| "what its code does is not known".to_owned())
        ),
        Verdict::NoDeviceCode => {
            "has no device code, so nothing in it depends on the GPU".to_owned()
        }
    }
}

/// `12.0 (RTX 5090)`.
fn gpu_text(gpu: Capability) -> String {
    table::of(gpu).map_or_else(|| gpu.to_string(), ToString::to_string)
}

fn containers(count: usize) -> String {
    match count {
        1 => "1 container".to_owned(),
        count => format!("{count} containers"),
    }
}

fn is_tegra(gpu: Capability) -> bool {
    table::of(gpu).is_some_and(|gpu| match gpu.platform {
        Platform::Tegra => true,
        Platform::Desktop => false,
    })
}

fn with_driver(verdict: &GpuVerdict) -> String {
    match &verdict.least_driver {
        Some(driver) => format!("with driver {driver} or later"),
        None if is_tegra(verdict.gpu) => "with the driver of its JetPack".to_owned(),
        None => "with an unknown driver".to_owned(),
    }
}

fn needs_driver(verdict: &GpuVerdict) -> String {
    if let Some(driver) = &verdict.least_driver {
        return format!("it needs driver {driver} or later");
    }
    let reads = match verdict.ptx {
        None => String::new(),
        Some(ptx) => match ptx.cuda() {
            Some(cuda) => format!(" that reads PTX ISA {ptx}, that of CUDA {cuda},"),
            None => format!(" that reads PTX ISA {ptx},"),
        },
    };
    if is_tegra(verdict.gpu) {
        let reads = reads.trim_end_matches(',');
        return format!("it needs a JetPack with a driver{reads}");
    }
    format!("it needs a driver{reads} whose number is unknown")
}

/// `no image for 12.0 in 5 of 9 containers, which hold sm_80, sm_90 and no PTX; sm_90 is not …`.
fn missing(verdict: &GpuVerdict) -> String {
    let gpu = verdict.gpu;
    let held = &verdict.held;
    let machine_code = names("sm_", &held.machine_code);
    let ptx = if held.ptx.is_empty() {
        "no PTX".to_owned()
    } else {
        let held = names("compute_", &held.ptx);
        format!("no PTX of use there (only {held})")
    };
    let holding = if held.machine_code.is_empty() {
        format!("no machine code and {ptx}")
    } else {
        format!("{machine_code} and {ptx}")
    };
    let where_missing = match (verdict.fails, verdict.total) {
        (1, 1) => "its one container, which holds".to_owned(),
        (fails, total) if fails == total => format!("any of {total} containers, which hold"),
        (fails, total) => format!(
            "{fails} of {}, which {}",
            containers(total),
            if fails == 1 { "holds" } else { "hold" }
        ),
    };
    let causes: Vec<_> = causes(verdict)
        .into_iter()
        .map(|cause| format!("; {cause}"))
        .collect();
    format!(
        "no image for {gpu} in {where_missing} {holding}{}",
        causes.concat()
    )
}

fn names(prefix: &str, archs: &BTreeMap<Arch, WhyNot>) -> String {
    let names: Vec<_> = archs
        .keys()
        .map(|arch| format!("{prefix}{}", arch.number()))
        .collect();
    names.join(", ")
}

/// Why the nearest of `archs` is of no use: the highest one that is not above the GPU, for that is
/// what one would think runs, or else the lowest.
fn cause(prefix: &str, archs: &BTreeMap<Arch, WhyNot>, gpu: Capability) -> Option<String> {
    let below = archs
        .iter()
        .rfind(|(arch, _)| Capability::of_arch(**arch) <= gpu);
    let (arch, why) = below.or_else(|| archs.first_key_value())?;
    Some(reason(prefix, *arch, *why, gpu))
}

/// Why code is of no use on a GPU, of which its containers that fail have nothing else: `sm_90 is not
/// binary compatible with 12.0: …`. Empty when nothing fails.
pub fn causes(verdict: &GpuVerdict) -> Vec<String> {
    let machine_code = cause("sm_", &verdict.held.machine_code, verdict.gpu);
    let ptx = cause("compute_", &verdict.held.ptx, verdict.gpu);
    machine_code.into_iter().chain(ptx).collect()
}

/// Why machine code (`sm_`) or PTX (`compute_`) for `arch` is of no use on `gpu`.
pub fn reason(prefix: &str, arch: Arch, why: WhyNot, gpu: Capability) -> String {
    let name = format!("{prefix}{}", arch.number());
    let target = Capability::of_arch(arch);
    match why {
        WhyNot::OtherMajor | WhyNot::Tegra => {
            format!("{name} is not binary compatible with {gpu}: {}", rule(why))
        }
        WhyNot::Later => format!("{name} is for {target} and later"),
        WhyNot::Specific => format!("the `a` holds {name} to {target} alone"),
        WhyNot::Family => {
            let members = table::family(target).into_iter().flatten();
            let members: Vec<_> = members.map(ToString::to_string).collect();
            format!("the `f` holds {name} to {}", members.join(", "))
        }
    }
}

/// The rule that makes code of no use on a GPU, without the names of the two.
pub fn rule(why: WhyNot) -> &'static str {
    match why {
        WhyNot::OtherMajor => "machine code runs on GPUs of its own major compute capability alone",
        WhyNot::Later => "it is for a later compute capability",
        WhyNot::Specific => "the `a` holds it to its own compute capability alone",
        WhyNot::Family => "the `f` holds it to its family",
        WhyNot::Tegra => {
            "NVIDIA supports that neither between desktop GPUs and Tegra nor between Tegras"
        }
    }
}

fn not_known(verdict: &GpuVerdict) -> Option<String> {
    let share = |count| match verdict.total {
        1 => "its one container".to_owned(),
        total => format!("{count} of {}", containers(total)),
    };
    let unknown = match verdict.unknown {
        0 => None,
        1 => Some("does is not known, for its code"),
        _ => Some("do is not known, for their code"),
    };
    let unknown = unknown.map(|text| {
        let share = share(verdict.unknown);
        format!("what {share} {text} is of an unknown kind or arch")
    });
    let link = match verdict.link_unproven {
        0 => None,
        1 => Some("runs only if the driver links it"),
        _ => Some("run only if the driver links them"),
    };
    let link = link.map(|text| {
        let share = share(verdict.link_unproven);
        format!("{share} {text} anew when loading, which is not proven")
    });
    let parts: Vec<_> = unknown.into_iter().chain(link).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fatbin::Container;
    use crate::gpu::rules::tests::container;
    use crate::gpu::verdict::{ModuleCode, runs_on};

    fn told((executable, relocatable, gpu): (&str, &str, &str)) -> String {
        let read = |text: &str| -> Vec<Container> {
            let texts = text.split(',').filter(|text| !text.trim().is_empty());
            texts.map(container).collect()
        };
        let (executable, relocatable) = (read(executable), read(relocatable));
        let module = ModuleCode {
            executable: executable.iter().collect(),
            relocatable: relocatable.iter().collect(),
        };
        let cuda = "12.8".parse().ok();
        sentence(&runs_on(&[module], cuda, gpu.parse().unwrap()))
    }

    #[test]
    fn every_verdict_is_one_sentence() {
        let code = [
            ("sm_120", "", "12.0"),
            ("sm_87", "", "8.7"),
            ("compute_90", "", "12.0"),
            ("sm_120, sm_120, sm_90 compute_90@9.2", "", "12.0"),
            ("compute_90@9.5", "", "9.0"),
            ("compute_90@9.9", "", "9.0"),
            ("compute_80", "", "8.7"),
            ("sm_80 sm_86 sm_90, sm_80 sm_90, sm_120", "", "12.0"),
            ("sm_120, sm_90, sm_x", "", "12.0"),
            ("sm_90", "", "12.0"),
            ("sm_90a compute_90a", "", "12.0"),
            ("sm_75 sm_120 compute_120", "", "11.0"),
            ("compute_100f", "", "12.0"),
            ("sm_100a, sm_100a", "", "10.3"),
            ("sm_80 sm_86", "", "8.7"),
            ("sm_89 sm_90", "", "8.6"),
            ("kind16_120", "", "12.0"),
            ("sm_90, sm_x", "compute_90", "12.0"),
            ("sm_120", "", "13.0"),
            ("", "", "12.0"),
        ];
        insta::assert_snapshot!(code.map(told).join("\n"), @r"
        runs natively on 12.0 (RTX 5090), with driver 570.26 or later
        runs natively on 8.7 (Jetson Orin), with the driver of its JetPack
        runs on 12.0 (RTX 5090) once the driver has compiled it, at first use; it needs driver 570.26 or later
        runs on 12.0 (RTX 5090), where the driver compiles 1 of 3 containers at first use; it needs driver 595.45.04 or later
        runs on 9.0 (H100) once the driver has compiled it, at first use; it needs a driver that reads PTX ISA 9.5, that of CUDA 13.5, whose number is unknown
        runs on 9.0 (H100) once the driver has compiled it, at first use; it needs a driver that reads PTX ISA 9.9, whose number is unknown
        runs on 8.7 (Jetson Orin) once the driver has compiled it, at first use; it needs a JetPack with a driver that reads PTX ISA 8.7, that of CUDA 12.8
        runs on 12.0 (RTX 5090) in part: no image for 12.0 in 2 of 3 containers, which hold sm_80, sm_86, sm_90 and no PTX; sm_90 is not binary compatible with 12.0: machine code runs on GPUs of its own major compute capability alone
        runs on 12.0 (RTX 5090) in part: no image for 12.0 in 1 of 3 containers, which holds sm_90 and no PTX; sm_90 is not binary compatible with 12.0: machine code runs on GPUs of its own major compute capability alone; what 1 of 3 containers does is not known, for its code is of an unknown kind or arch
        fails on 12.0 (RTX 5090): no image for 12.0 in its one container, which holds sm_90 and no PTX; sm_90 is not binary compatible with 12.0: machine code runs on GPUs of its own major compute capability alone
        fails on 12.0 (RTX 5090): no image for 12.0 in its one container, which holds sm_90a and no PTX of use there (only compute_90a); sm_90a is not binary compatible with 12.0: machine code runs on GPUs of its own major compute capability alone; the `a` holds compute_90a to 9.0 alone
        fails on 11.0 (Jetson Thor): no image for 11.0 in its one container, which holds sm_75, sm_120 and no PTX of use there (only compute_120); sm_75 is not binary compatible with 11.0: machine code runs on GPUs of its own major compute capability alone; compute_120 is for 12.0 and later
        fails on 12.0 (RTX 5090): no image for 12.0 in its one container, which holds no machine code and no PTX of use there (only compute_100f); the `f` holds compute_100f to 10.0, 10.3, 10.7
        fails on 10.3 (B300): no image for 10.3 in any of 2 containers, which hold sm_100a and no PTX; the `a` holds sm_100a to 10.0 alone
        fails on 8.7 (Jetson Orin): no image for 8.7 in its one container, which holds sm_80, sm_86 and no PTX; sm_86 is not binary compatible with 8.7: NVIDIA supports that neither between desktop GPUs and Tegra nor between Tegras
        fails on 8.6 (RTX 3090): no image for 8.6 in its one container, which holds sm_89, sm_90 and no PTX; sm_89 is for 8.9 and later
        may run on 12.0 (RTX 5090): what its one container does is not known, for its code is of an unknown kind or arch
        may run on 12.0 (RTX 5090): what 1 of 2 containers does is not known, for its code is of an unknown kind or arch; 1 of 2 containers runs only if the driver links it anew when loading, which is not proven
        fails on 13.0: no image for 13.0 in its one container, which holds sm_120 and no PTX; sm_120 is not binary compatible with 13.0: machine code runs on GPUs of its own major compute capability alone
        has no device code, so nothing in it depends on the GPU
        ");
    }
}
