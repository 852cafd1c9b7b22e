//! Farms that are begun.

use super::nightly::NightlySettings;
use super::*;
use crate::gpu::{self, Listing, Platform};
use crate::ident::PackageName;

fn settings() -> Settings {
    Settings {
        farm: "test".parse().unwrap(),
        gpus: Vec::new(),
        archs: Vec::new(),
        torch: None,
        cuda: None,
        pythons: Vec::new(),
        packages: Vec::new(),
        base: BaseAsked::Manylinux,
        publish_to: None,
        nightly: None,
    }
}

fn for_gpus(gpus: &[&str]) -> Settings {
    let asked = gpus.iter().map(|text| GpuAsked {
        text: (*text).to_owned(),
        gpu: gpu::find(text).unwrap(),
        by: AskedBy::Person,
    });
    Settings {
        gpus: asked.collect(),
        ..settings()
    }
}

fn nightly(labels: &[&str]) -> NightlySettings {
    let action = format!("wheelfarm/wheelfarm@{}", "0123456789".repeat(4));
    let settings = NightlySettings::new(MATRIX, &action);
    settings.and_then(|one| one.on(labels)).unwrap()
}

fn packages_of(names: &[&str]) -> Vec<PackageAsked> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn matrix(starter: &Starter) -> &str {
    let last = starter.files.last().unwrap();
    assert_eq!(last.path, MATRIX, "a folder without a matrix is no farm");
    &last.text
}

/// Its choices, a line each; or what is said against it.
fn told(settings: &Settings) -> String {
    match begin(settings) {
        Ok(starter) => {
            let lines = starter.choices.iter();
            let lines = lines.map(|one| format!("{}: {} ({})", one.what, one.value, one.why));
            let jobs = starter.plan.jobs.iter().map(|job| job.id().to_string());
            lines.chain(jobs).collect::<Vec<_>>().join("\n")
        }
        Err(error) => {
            let hint = error.hint().map(|hint| format!("\n  hint: {hint}"));
            format!("{error}{}", hint.unwrap_or_default())
        }
    }
}

#[test]
fn with_nothing_said_it_is_what_torch_is_for() {
    insta::assert_snapshot!(told(&settings()));
}

#[test]
fn the_matrix_tells_a_newcomer_each_line() {
    let starter = begin(&Settings {
        packages: packages_of(&["sageattention", "sageattn3"]),
        ..for_gpus(&["RTX 4090", "RTX 5090"])
    });
    insta::assert_snapshot!("matrix", matrix(&starter.unwrap()));
    let starter = begin(&Settings {
        base: BaseAsked::Debian,
        torch: Some("2.11".parse().unwrap()),
        nightly: Some(nightly(&["self-hosted", "Linux", "h100"])),
        ..for_gpus(&["H100"])
    });
    let starter = starter.unwrap();
    insta::assert_snapshot!("matrix_debian", matrix(&starter));
    insta::assert_snapshot!("readme", starter.files[0].text);
    let paths: Vec<_> = starter
        .files
        .iter()
        .map(|file| file.path.as_str())
        .collect();
    insta::assert_snapshot!("files", paths.join("\n"));
}

#[test]
fn a_nightly_comes_with_what_its_linters_and_pins_need() {
    let files = |nightly| {
        let settings = Settings {
            nightly,
            ..settings()
        };
        let files = begin(&settings).unwrap().files.into_iter();
        let files = files.filter(|file| file.path.starts_with(".github/"));
        files.map(|file| (file.path, file.text)).collect::<Vec<_>>()
    };
    assert_eq!(files(None), []);
    let plain = files(Some(nightly(&["self-hosted", "linux", "x64"])));
    let paths: Vec<_> = plain.iter().map(|(path, _)| path.as_str()).collect();
    let want = [".github/workflows/nightly.yml", ".github/dependabot.yml"];
    assert_eq!(paths, want, "actionlint knows these labels");
    assert!(plain[0].1.contains("WHEELFARM_MATRIX: \"matrix.yaml\""));
    let named = files(Some(nightly(&["self-hosted", "Linux", "h100"])));
    let (path, text) = named.last().unwrap();
    assert_eq!(path, ".github/actionlint.yaml");
    assert!(text.ends_with("labels: [\"h100\"]\n"), "{text}");
}

#[test]
fn every_gpu_of_today_has_a_farm_that_plans() {
    let mut refused = Vec::new();
    for gpu in gpu::all() {
        for base in [BaseAsked::Manylinux, BaseAsked::Debian] {
            let settings = Settings {
                base,
                ..for_gpus(&[&gpu.capability.to_string()])
            };
            match begin(&settings) {
                Ok(starter) => {
                    assert_eq!(starter.plan.jobs.len(), 1, "{gpu}");
                    assert!(starter.plan.warnings.is_empty(), "{gpu}");
                }
                Err(_) => refused.push(format!("{gpu} {base:?}: {}", told(&settings))),
            }
        }
        let is_old = gpu.listing == Listing::Legacy || gpu.platform == Platform::Tegra;
        let capability = (gpu.capability.major(), gpu.capability.minor());
        // The default package has no kernels for Volta, and Spark's processor is Arm's.
        let is_refused = is_old || [(7, 0), (12, 1)].contains(&capability);
        let name = format!("{gpu} ");
        let found = refused
            .iter()
            .filter(|text| text.starts_with(&name))
            .count();
        assert_eq!(found, if is_refused { 2 } else { 0 }, "{gpu}: {refused:#?}");
    }
    insta::assert_snapshot!(refused.join("\n"));
}

#[test]
fn every_package_has_a_farm_that_plans() {
    let mut lines = Vec::new();
    for name in packages().keys() {
        for gpus in [&["RTX 5090"][..], &["A100", "H100", "B300"], &[]] {
            let settings = Settings {
                packages: packages_of(&[name.as_str()]),
                ..for_gpus(gpus)
            };
            let told = told(&settings);
            let shown = told.lines().filter(|line| !is_same_for_all(line));
            let shown = shown.collect::<Vec<_>>().join("\n");
            lines.push(format!("{name} {gpus:?}\n{shown}"));
        }
    }
    insta::assert_snapshot!(lines.join("\n\n"));
}

fn is_same_for_all(line: &str) -> bool {
    ["package:", "torch:", "cuda:", "python:", "base:"]
        .iter()
        .any(|what| line.starts_with(what))
}

#[test]
fn all_packages_together_plan() {
    let names: Vec<_> = packages().keys().map(PackageName::as_str).collect();
    let starter = begin(&Settings {
        packages: packages_of(&names),
        ..settings()
    });
    let starter = starter.unwrap();
    assert_eq!(starter.plan.jobs.len(), names.len());
    insta::assert_snapshot!(matrix(&starter));
}

#[test]
fn what_was_said_is_kept() {
    let settings = Settings {
        torch: Some("2.9".parse().unwrap()),
        cuda: Some("12.8".parse().unwrap()),
        pythons: vec!["3.11".parse().unwrap(), "3.13".parse().unwrap()],
        archs: vec!["8.9".parse().unwrap(), "12.0".parse().unwrap()],
        packages: packages_of(&["flash-attn==2.8.1"]),
        ..settings()
    };
    insta::assert_snapshot!(told(&settings), @"
    archs: 8.9, 12.0 (as asked for)
    package: flash-attn 2.8.1 (as asked for)
    torch: 2.9.1 (as asked for)
    cuda: 12.8 (as asked for)
    python: 3.11, 3.13 (as asked for)
    base: manylinux-cu128 (PyTorch's builder image from Docker Hub: glibc 2.28, every Python)
    flash-attn-2.8.1-cu128-torch2.9-cp311
    flash-attn-2.8.1-cu128-torch2.9-cp313
    ");
}

#[test]
fn what_cannot_be_is_refused_as_the_plan_would() {
    let base = settings();
    let with_torch = |torch: &str| Some(torch.parse().unwrap());
    let told = [
        told(&Settings {
            torch: with_torch("2.8"),
            cuda: Some("13.0".parse().unwrap()),
            ..base.clone()
        }),
        told(&Settings {
            torch: with_torch("2.99"),
            ..base.clone()
        }),
        told(&Settings {
            torch: with_torch("2.16.0.dev20261120"),
            ..base.clone()
        }),
        told(&Settings {
            torch: with_torch("2.11.7"),
            ..base.clone()
        }),
        told(&Settings {
            cuda: Some("12.4".parse().unwrap()),
            ..base.clone()
        }),
        told(&Settings {
            cuda: Some("12.8".parse().unwrap()),
            base: BaseAsked::Debian,
            ..base.clone()
        }),
        told(&Settings {
            pythons: vec!["3.12".parse().unwrap()],
            base: BaseAsked::Debian,
            ..base.clone()
        }),
        told(&Settings {
            archs: vec!["12.0f".parse().unwrap()],
            ..base.clone()
        }),
        told(&Settings {
            packages: packages_of(&["sageattn3"]),
            ..for_gpus(&["RTX 4090"])
        }),
        told(&Settings {
            packages: packages_of(&["vllm"]),
            ..base.clone()
        }),
        told(&Settings {
            packages: packages_of(&["sageattention==3.0"]),
            ..base.clone()
        }),
        told(&Settings {
            packages: packages_of(&["natten", "natten==0.21.7"]),
            ..base
        }),
        told(&for_gpus(&["GH200"])),
    ];
    insta::assert_snapshot!(told.join("\n\n"));
}

#[test]
fn old_and_new_gpus_together_get_a_torch_that_runs_on_both() {
    let settings = Settings {
        packages: packages_of(&["torchvision"]),
        ..for_gpus(&["V100", "RTX 5090"])
    };
    insta::assert_snapshot!(told(&settings), @"
    archs: 7.0, 12.0+PTX (V100 is 7.0, RTX 5090 is 12.0)
    package: torchvision 0.25.0 (the newest release that fits)
    torch: 2.10.0 (the newest that fits)
    cuda: 12.8 (what PyPI's own torch 2.10 is built with)
    python: 3.12 (the middle one of those that this torch and the packages are for)
    base: manylinux-cu128 (PyTorch's builder image from Docker Hub: glibc 2.28, every Python)
    torchvision-0.25.0-cu128-torch2.10-cp312
    ");
}
