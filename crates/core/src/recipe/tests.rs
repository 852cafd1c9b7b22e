use std::collections::BTreeSet;

use super::*;
use crate::compat;
use crate::gpu;
use crate::release::catalog::Catalog;
use crate::release::resolve::{Question, read_package};

const CATALOG: &str = include_str!("../../../../tests/resolve/manifest.json");

/// `gpu=RTX 5090, torch=2.7`, and the packages after it.
fn asked(text: &str) -> (Question, Vec<PackageWish>) {
    let mut question = Question::about("torch".parse().unwrap());
    let mut packages = Vec::new();
    for part in text.split(", ").filter(|part| !part.is_empty()) {
        let (what, value) = part.split_once('=').unwrap();
        match what {
            "gpu" => {
                question.gpus.insert(gpu::find(value).unwrap().capability);
            }
            "torch" => question.torch = Some(value.parse().unwrap()),
            "cuda" => question.cuda = Some(value.parse().unwrap()),
            "python" => question.python = Some(value.parse().unwrap()),
            "driver" => question.driver = Some(value.parse().unwrap()),
            "glibc" => question.libc = Some(value.parse().unwrap()),
            "machine" => question.machine = Some(value.to_owned()),
            "package" => packages.push(value.parse().unwrap()),
            what => panic!("{what}"),
        }
    }
    (question, packages)
}

fn with<T>(text: &str, manager: Manager, tell: impl FnOnce(&Composed<'_>) -> T) -> T {
    let (mut question, packages) = asked(text);
    question.libc = question.libc.or(manager.libc());
    let catalogs: Vec<Catalog> = packages
        .iter()
        .map(|package| read_package(CATALOG, &package.name).unwrap().catalog)
        .collect();
    let wishes: Vec<Wish<'_>> = packages
        .iter()
        .zip(&catalogs)
        .map(|(package, catalog)| Wish { package, catalog })
        .collect();
    let links = Links::Absolute {
        base: "https://wheels.example.org".to_owned(),
    };
    tell(&compose(&Ask {
        question: &question,
        wishes: &wishes,
        links: &links,
        manager,
    }))
}

fn file(text: &str, manager: Manager) -> String {
    with(text, manager, |composed| match composed {
        Composed::Recipe(recipe) => recipe.text(),
        Composed::Refused(refusal) => panic!("{text}: {refusal:?}"),
    })
}

/// What is chosen, in one line, or why nothing is.
fn told(text: &str) -> String {
    with(text, Manager::Pip, |composed| match composed {
        Composed::Recipe(recipe) => {
            let torch = &recipe.torch;
            let without = recipe.companions.iter();
            let without = without.filter(|one| one.version.is_err());
            let without: Vec<_> = without.map(|one| format!(", no {}", one.package)).collect();
            let without = without.concat();
            let wheels = recipe.wheels.iter();
            let wheels: Vec<_> = wheels
                .map(|pick| format!("\n    {}", pick.wheel.file_name))
                .collect();
            let wheels = wheels.concat();
            let driver = recipe.least_driver.as_ref();
            format!(
                "{text}: torch {} CUDA {} {} Python {} driver {}{without}{wheels}",
                torch.version,
                torch.cuda,
                torch.index.name(),
                recipe.python,
                driver.map_or_else(|| "unknown".to_owned(), ToString::to_string),
            )
        }
        Composed::Refused(refusal) => {
            let whys = refusal.reasons.iter().map(|why| {
                let change = why.change.as_ref();
                let change = change.map_or_else(String::new, |change| format!(" [{change}]"));
                format!("\n    {} {}{change}", why.fit.as_str(), why.text)
            });
            let whys = whys.collect::<Vec<_>>().concat();
            let nearest = refusal.nearest.as_deref().unwrap_or("none");
            let fit = refusal.fit.as_str();
            format!("{text}: {fit}{whys}\n    nearest: {nearest}")
        }
    })
}

#[test]
fn each_tool_gets_a_file_of_its_own() {
    for manager in [
        Manager::Pip,
        Manager::Uv,
        Manager::Pixi,
        Manager::Dockerfile,
    ] {
        let name = format!("file-for-{}", manager.file_name());
        let text = file(
            "gpu=RTX 5090, package=flash-attn, torch=2.9, cuda=13.0, python=3.12",
            manager,
        );
        insta::assert_snapshot!(name, text);
    }
    // What is on PyTorch's own index, and what is a nightly.
    for manager in [
        Manager::Pip,
        Manager::Uv,
        Manager::Pixi,
        Manager::Dockerfile,
    ] {
        let name = format!("index-for-{}", manager.file_name());
        insta::assert_snapshot!(name, file("gpu=RTX 5090, torch=2.7", manager));
        let name = format!("nightly-for-{}", manager.file_name());
        let text = file("gpu=B200, torch=2.16.0.dev20261120, cuda=13.2", manager);
        insta::assert_snapshot!(name, text);
    }
    insta::assert_snapshot!(
        "free-threaded-for-pixi",
        file("gpu=H100, python=3.13t", Manager::Pixi)
    );
}

#[test]
fn the_newest_torch_that_has_all_of_it_is_taken() {
    let asked = [
        "gpu=RTX 5090",
        "gpu=sm_120, driver=570.124.06",
        "gpu=H100, driver=535.104.05",
        "gpu=V100",
        "gpu=GTX 1080 Ti",
        "gpu=DGX Spark, machine=x86_64",
        "gpu=RTX 5090, gpu=RTX 3090",
        "gpu=RTX 5090, gpu=V100",
        "gpu=RTX 5090, torch=2.7",
        "gpu=RTX 5090, torch=2.15",
        "gpu=RTX 5090, python=3.15",
        "gpu=RTX 5090, cuda=cu128",
        "gpu=H100, torch=2.8.0+cu126, cuda=12.6",
        "gpu=H100, glibc=2.17",
        "gpu=RTX 5090, package=flash-attn",
        "gpu=RTX 5090, package=flash-attn, package=causal-conv1d",
        "gpu=RTX 5090, package=xformers, package=triton-kernels",
        "gpu=H100, package=flash-attn==2.8.3, python=3.11",
        "",
    ];
    insta::assert_snapshot!(asked.map(told).join("\n"));
}

#[test]
fn where_nothing_fits_the_reasons_and_the_nearest_are_told() {
    let asked = [
        "gpu=RTX 5090, torch=2.6",
        "gpu=RTX 5090, torch=2.7, cuda=12.6",
        "gpu=RTX 5090, driver=560.35.03",
        "gpu=RTX 5090, cuda=13.4",
        "gpu=RTX 5090, torch=2.16",
        "gpu=RTX 5090, torch=2.16.0.dev20261120",
        "gpu=H100, torch=2.8, python=3.14",
        "gpu=GTX 1080 Ti, torch=2.15",
        "gpu=GTX 1080 Ti, gpu=B200",
        "gpu=H100, torch=2.9, glibc=2.17",
        "gpu=Jetson Thor",
        "gpu=GB10",
        "gpu=GB10, gpu=RTX 5090",
        "gpu=RTX 5090, machine=aarch64",
        "gpu=RTX 5090, glibc=musl",
        "gpu=RTX 5090, cuda=cpu",
        "gpu=RTX 5090, package=sageattention",
        "gpu=RTX 5090, package=flash-attn, package=xformers",
        "gpu=RTX 5090, package=flash-atn",
        "gpu=RTX 5090, package=causal-conv1d, torch=2.9",
    ];
    insta::assert_snapshot!(asked.map(told).join("\n"));
}

/// Whatever is asked: what comes out is what was asked for, and its torch runs on the GPU.
#[test]
fn a_recipe_is_what_was_asked_for_on_every_gpu() {
    let gpus = gpu::known().map(|gpu| gpu.capability);
    for gpu in gpus {
        for torch in [
            "",
            ", torch=2.4",
            ", torch=2.7",
            ", torch=2.9.0",
            ", torch=2.15",
        ] {
            for rest in ["", ", python=3.13", ", driver=570.26", ", cuda=12.6"] {
                let text = format!("gpu={gpu}{torch}{rest}");
                let (question, _) = asked(&text);
                with(&text, Manager::Uv, |composed| match composed {
                    Composed::Recipe(recipe) => {
                        let pick = &recipe.torch;
                        let mut builds = compat::torch_builds(Some(gpu)).into_iter();
                        let build = builds
                            .find(|one| one.torch == pick.version.minor() && one.cuda == pick.cuda);
                        let on_gpu = build.unwrap().on_gpu.unwrap();
                        assert_eq!(on_gpu.runs(), Some(true), "{text}");
                        if let (Some(has), Some(least)) = (&question.driver, &recipe.least_driver) {
                            assert!(has >= least, "{text}");
                        }
                        let companions: BTreeSet<_> =
                            recipe.companions.iter().map(|one| one.package).collect();
                        assert_eq!(companions, compat::COMPANIONS.into(), "{text}");
                    }
                    Composed::Refused(refusal) => {
                        assert!(!refusal.reasons.is_empty(), "{text}");
                        assert_ne!(refusal.fit, compat::Fit::Yes, "{text}");
                    }
                });
            }
        }
    }
}
