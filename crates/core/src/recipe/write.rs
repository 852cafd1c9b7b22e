//! The file of a recipe, for each who reads it, with its reasons as comments.

use super::choice::{self, Environment};
use super::{Ask, Manager, Recipe};
use crate::compat::{self, Companion, CompanionVersion, Index};
use crate::gpu::{self, Capability};
use crate::release::resolve::{Asked, Libc};
use crate::version::PythonVersion;
use crate::wheel::tags::LibcNeed;

/// The suite of the images that a Dockerfile begins with, and its glibc: packages.debian.org/bookworm.
const DOCKER_SUITE: &str = "bookworm";
/// See [`DOCKER_SUITE`].
const DOCKER_GLIBC: Libc = Libc::Glibc(2, 36);

impl Manager {
    /// The C library of the environment that it makes, where that is the file's own matter.
    pub fn libc(self) -> Option<Libc> {
        match self {
            Self::Dockerfile => Some(DOCKER_GLIBC),
            Self::Pip | Self::Uv | Self::Pixi => None,
        }
    }
}

/// What a reader should know beside the versions, a sentence each.
pub(super) fn notes(
    ask: &Ask<'_>,
    environment: &Environment,
    libc: Option<LibcNeed>,
) -> Vec<String> {
    let question = ask.question;
    let torch = &environment.torch;
    let mut notes = Vec::new();
    let is_nightly = torch.version.nightly().is_some();
    if question.gpus.is_empty() {
        notes.push(format!(
            "no GPU was named: `wheelfarm compat --torch {}` says on which its kernels run",
            torch.version.minor()
        ));
    } else if is_nightly {
        notes.push(
            "whether the kernels of a nightly run there is not in the table: \
             `torch.cuda.get_arch_list()` shows what it has"
                .to_owned(),
        );
    } else {
        let how = if environment.is_jit {
            "once the driver has compiled its PTX, at first use"
        } else {
            "as machine code"
        };
        notes.push(format!("torch's own kernels run there {how}"));
    }
    if torch.index == Index::Pytorch && !is_nightly {
        notes.extend(why_not_pypi(ask, environment));
    }
    if let Some(LibcNeed::Glibc(major, minor)) = libc {
        notes.push(format!("its wheels need glibc {major}.{minor} or later"));
    }
    let taken = [
        (
            Asked::Python,
            question.python.is_none(),
            environment.python.to_string(),
        ),
        (
            Asked::Machine,
            question.machine.is_none(),
            choice::machine(question).to_owned(),
        ),
    ];
    let taken: Vec<String> = taken
        .into_iter()
        .filter(|(_, is_open, _)| *is_open)
        .map(|(asked, _, value)| format!("{} {value}", asked.flag()))
        .collect();
    if !taken.is_empty() {
        notes.push(format!("not told, and taken to be: {}", taken.join(", ")));
    }
    if ask.wishes.is_empty() {
        notes
            .push("the farm's wheels: none, for no `--from` and `--package` were given".to_owned());
    }
    notes
}

/// Why torch comes from PyTorch's own index.
fn why_not_pypi(ask: &Ask<'_>, environment: &Environment) -> Option<String> {
    let version = environment.torch.version;
    let pypi = compat::cuda_on_pypi(version.minor())?;
    let is_on_pypi = |one: &Environment| one.torch.version == version && one.torch.cuda == pypi;
    let all = choice::environments(ask.question);
    let why = match all.iter().find(|one| is_on_pypi(one)) {
        _ if pypi == environment.torch.cuda => {
            format!(
                "PyPI has none of {version} for Python {}",
                environment.python
            )
        }
        None => {
            format!("PyPI's torch {version} is for CUDA {pypi}, whose kernels do not run there")
        }
        Some(one) => {
            let lacks = one.lacks(ask.question);
            if lacks.contains(&choice::Axis::Driver) {
                format!("PyPI's torch {version} is for CUDA {pypi}, which needs a newer driver")
            } else {
                format!("PyPI's torch {version} is for CUDA {pypi}")
            }
        }
    };
    Some(format!("{why}: hence PyTorch's own index"))
}

/// Since when releases of torch run there.
fn since(gpus: &[Capability]) -> Option<String> {
    let first = |gpu: Capability| {
        let builds = compat::torch_builds(Some(gpu)).into_iter();
        let mut running = builds.filter(|build| {
            let on_gpu = build.on_gpu.as_ref();
            on_gpu.is_some_and(|on_gpu| on_gpu.runs() == Some(true))
        });
        running.next()
    };
    let all: Option<Vec<_>> = gpus.iter().map(|&gpu| first(gpu)).collect();
    let latest = all?.into_iter().max_by_key(|build| build.torch)?;
    Some(format!("since {} (CUDA {})", latest.torch, latest.cuda))
}

/// `12.0 (RTX 5090)`.
fn gpu_text(capability: Capability) -> String {
    gpu::of(capability).map_or_else(|| capability.to_string(), ToString::to_string)
}

/// The file.
pub(super) fn text(recipe: &Recipe<'_>) -> String {
    let head = head(recipe);
    let body = match recipe.manager {
        Manager::Pip => pip(recipe),
        Manager::Uv => uv(recipe),
        Manager::Pixi => pixi(recipe),
        Manager::Dockerfile => dockerfile(recipe),
    };
    format!("{head}{body}")
}

fn head(recipe: &Recipe<'_>) -> String {
    let torch = &recipe.torch;
    let gpus: Vec<String> = recipe.gpus.iter().map(|&gpu| gpu_text(gpu)).collect();
    let for_gpus = match gpus.as_slice() {
        [] => String::new(),
        gpus => format!(", for {}", gpus.join(" and ")),
    };
    let mut lines = vec![format!(
        "torch {} for CUDA {}, Python {}{for_gpus}",
        torch.version, torch.cuda, recipe.python
    )];
    lines.push(match &recipe.least_driver {
        Some(driver) => format!("driver {driver} or later (Linux)"),
        None => "the least driver is not known".to_owned(),
    });
    lines.push(match (&recipe.nightly, recipe.gpus.as_slice()) {
        (Some(why), _) => format!("a nightly of torch: {why}"),
        (None, []) => "no nightly is needed".to_owned(),
        (None, gpus) => match since(gpus) {
            Some(since) => format!("no nightly is needed: releases of torch run there {since}"),
            None => "no nightly is needed".to_owned(),
        },
    });
    lines.extend(recipe.notes.iter().cloned());
    let without = recipe.companions.iter().filter_map(|one| {
        let why = one.version.as_ref().err()?;
        Some(format!("no {}: {why}", one.package))
    });
    lines.extend(without);
    if recipe.nightly.is_some() {
        lines.push(
            "torchvision and triton are not pinned: a nightly's own metadata pins those of its day"
                .to_owned(),
        );
    }
    lines.push(match recipe.manager {
        Manager::Pip => format!(
            "install it: python{} -m pip install -r requirements.txt",
            recipe.python
        ),
        Manager::Uv => "install it: uv sync".to_owned(),
        Manager::Pixi => "install it: pixi install (pixi 0.71 or later)".to_owned(),
        Manager::Dockerfile => {
            "run it: docker build -t environment . && docker run --gpus all environment".to_owned()
        }
    });
    joined(lines.iter().map(|line| format!("# {line}\n")))
}

fn joined(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<Vec<_>>().concat()
}

/// `torch==2.11.0+cu128`, and the companions: what is on PyTorch's index has its CUDA in its version
/// there, so that no other index can stand in for it.
struct Pin {
    package: String,
    /// `==0.26.0+cu128`; empty where the nightly pins it.
    specifier: String,
    index: Index,
}

fn pins(recipe: &Recipe<'_>) -> Vec<Pin> {
    let torch = &recipe.torch;
    let tag = torch.cuda.tag();
    let local = |index| match index {
        Index::Pypi => String::new(),
        Index::Pytorch => format!("+{tag}"),
    };
    let mut pins = vec![Pin {
        package: "torch".to_owned(),
        specifier: format!("=={}{}", torch.version, local(torch.index)),
        index: torch.index,
    }];
    let found = |one: &Companion| -> Option<Pin> {
        let CompanionVersion {
            version,
            index,
            has_cuda,
        } = one.version.as_ref().ok()?;
        let local = if *has_cuda {
            local(*index)
        } else {
            String::new()
        };
        Some(Pin {
            package: one.package.to_owned(),
            specifier: format!("=={version}{local}"),
            index: *index,
        })
    };
    pins.extend(recipe.companions.iter().filter_map(found));
    if recipe.nightly.is_some() {
        pins.extend(["torchvision", "triton"].map(|package| Pin {
            package: package.to_owned(),
            specifier: String::new(),
            index: torch.index,
        }));
    }
    pins
}

/// The words of `pip install` for it.
fn pip_words(recipe: &Recipe<'_>) -> (Vec<String>, Vec<String>) {
    let mut options = Vec::new();
    if recipe.nightly.is_some() {
        options.push("--pre".to_owned());
    }
    if let Some(url) = recipe.torch.index_url() {
        options.push(format!("--index-url {url}"));
        options.push("--extra-index-url https://pypi.org/simple".to_owned());
    }
    let pins = pins(recipe).into_iter();
    let mut requirements: Vec<String> = pins
        .map(|pin| format!("{}{}", pin.package, pin.specifier))
        .collect();
    requirements.extend(recipe.wheels.iter().map(|pick| pick.lines.pip.clone()));
    (options, requirements)
}

fn pip(recipe: &Recipe<'_>) -> String {
    let (options, requirements) = pip_words(recipe);
    let lines = options.iter().chain(&requirements);
    joined(lines.map(|line| format!("{line}\n")))
}

fn uv(recipe: &Recipe<'_>) -> String {
    let pins = pins(recipe);
    let name = index_name(recipe);
    let own = recipe.wheels.iter().map(|pick| {
        let file_name = &pick.wheel.file_name;
        format!("{}=={}", file_name.project(), file_name.full_version())
    });
    let dependencies = pins
        .iter()
        .map(|pin| format!("{}{}", pin.package, pin.specifier));
    let dependencies = dependencies
        .chain(own)
        .map(|text| format!("    \"{text}\",\n"));
    let dependencies = joined(dependencies);
    let python = plain(recipe.python);
    let mut parts = vec![format!(
        "[project]\nname = \"environment\"\nversion = \"0\"\nrequires-python = \"=={python}.*\"\n\
         dependencies = [\n{dependencies}]\n\n[tool.uv]\n\
         environments = [\"sys_platform == 'linux' and platform_machine == 'x86_64'\"]\n"
    )];
    if recipe.nightly.is_some() {
        parts.push("prerelease = \"allow\"\n".to_owned());
    }
    let sources = pins.iter().filter(|pin| pin.index == Index::Pytorch);
    let mut sources: Vec<String> = sources
        .map(|pin| format!("{} = {{ index = \"{name}\" }}\n", pin.package))
        .collect();
    sources.extend(recipe.wheels.iter().map(|pick| {
        let project = pick.wheel.file_name.project();
        let (sha256, url) = (&pick.wheel.sha256, &pick.lines.url);
        format!("# uv.lock has to say sha256:{sha256}\n{project} = {{ url = \"{url}\" }}\n")
    }));
    if !sources.is_empty() {
        parts.push(format!("\n[tool.uv.sources]\n{}", sources.concat()));
    }
    if let Some(url) = recipe.torch.index_url() {
        parts.push(format!(
            "\n[[tool.uv.index]]\nname = \"{name}\"\nurl = \"{url}\"\nexplicit = true\n"
        ));
    }
    parts.concat()
}

/// `pytorch-cu128`.
fn index_name(recipe: &Recipe<'_>) -> String {
    format!("pytorch-{}", recipe.torch.cuda.tag())
}

/// `3.13` of the free-threaded 3.13 as well.
fn plain(python: PythonVersion) -> String {
    python.to_string().trim_end_matches('t').to_owned()
}

fn is_free_threaded(python: PythonVersion) -> bool {
    python.to_string().ends_with('t')
}

fn pixi(recipe: &Recipe<'_>) -> String {
    let glibc = match recipe.libc {
        Some(LibcNeed::Glibc(major, minor)) => format!(", glibc = \"{major}.{minor}\""),
        Some(LibcNeed::Nothing) | None => String::new(),
    };
    let python = plain(recipe.python);
    let python = if is_free_threaded(recipe.python) {
        let tag = recipe.python.tag();
        format!("python = {{ version = \"{python}.*\", build = \"*_{tag}\" }}\n")
    } else {
        format!("python = \"{python}.*\"\n")
    };
    let url = recipe.torch.index_url();
    let pins: Vec<String> = pins(recipe)
        .iter()
        .map(|pin| {
            let version = match pin.specifier.as_str() {
                "" => "*",
                specifier => specifier,
            };
            match (&url, pin.index) {
                (Some(url), Index::Pytorch) => format!(
                    "{} = {{ version = \"{version}\", index = \"{url}\" }}\n",
                    pin.package
                ),
                _ => format!("{} = \"{version}\"\n", pin.package),
            }
        })
        .collect();
    let own = joined(recipe.wheels.iter().map(|pick| {
        let project = pick.wheel.file_name.project();
        let (sha256, url) = (&pick.wheel.sha256, &pick.lines.url);
        format!("{project} = {{ url = \"{url}#sha256={sha256}\" }}\n")
    }));
    format!(
        "[workspace]\nname = \"environment\"\nchannels = [\"conda-forge\"]\n\
         platforms = [{{ platform = \"linux-64\", cuda = \"{}\"{glibc} }}]\n\n\
         [dependencies]\n{python}\n[pypi-dependencies]\n{}{own}",
        least_cuda(recipe),
        pins.concat()
    )
}

/// The CUDA that a driver has to say it is for: of minor versions, the first that knows the GPU, by
/// minor version compatibility.
fn least_cuda(recipe: &Recipe<'_>) -> String {
    let cuda = recipe.torch.cuda;
    let of_gpus = recipe.gpus.iter().filter_map(|&gpu| gpu::of(gpu));
    let firsts = of_gpus
        .map(|gpu| gpu.first_cuda)
        .filter(|first| first.major() == cuda.major());
    match firsts.max() {
        Some(first) => first.to_string(),
        None => format!("{}.0", cuda.major()),
    }
}

fn dockerfile(recipe: &Recipe<'_>) -> String {
    let python = plain(recipe.python);
    let driver = recipe.least_driver.as_ref().map(|driver| {
        // The toolkit refuses to start a container on an older one, instead of a failure at first use.
        format!(" \\\n    NVIDIA_REQUIRE_DRIVER=\"driver>={driver}\"")
    });
    let (options, requirements) = pip_words(recipe);
    let options = options.iter().cloned();
    let words = options.chain(requirements.iter().map(|one| format!("\"{one}\"")));
    let words: Vec<String> = words.map(|word| format!(" \\\n    {word}")).collect();
    // What a nightly pins itself stands there without a version.
    let unpinned = if recipe.nightly.is_some() {
        "# hadolint ignore=DL3013\n"
    } else {
        ""
    };
    format!(
        "FROM python:{python}-slim-{DOCKER_SUITE}\n\
         # CUDA's libraries come with torch's wheels; the driver is the host's.\n\
         ENV NVIDIA_VISIBLE_DEVICES=all \\\n    NVIDIA_DRIVER_CAPABILITIES=compute,utility{}\n\
         # triton compiles at first use, for which it needs a C compiler.\n\
         # hadolint ignore=DL3008\n\
         RUN apt-get update \\\n    && apt-get install -y --no-install-recommends gcc libc6-dev \\\n    \
         && rm -rf /var/lib/apt/lists/*\n\
         {unpinned}RUN pip install --no-cache-dir{}\n",
        driver.unwrap_or_default(),
        words.concat()
    )
}
