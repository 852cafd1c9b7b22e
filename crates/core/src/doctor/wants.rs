//! What the jobs of a plan want of a host: CUDA versions and archs, GPUs, sources, images, indexes.

use std::collections::{BTreeMap, BTreeSet};

use crate::arch::ArchList;
use crate::ident::{JobId, PackageName};
use crate::matrix::{Base, Interpreter, TorchIndex};
use crate::package::GpuWish;
use crate::plan::{Job, Need};
use crate::render;
use crate::source::Source;
use crate::version::CudaVersion;

/// What a plan wants.
#[derive(Debug, Clone, Default)]
pub struct Wants {
    /// Jobs that are picked.
    pub jobs: usize,
    /// Those of them that need a build.
    pub to_build: usize,
    /// The CUDA versions of all jobs, and the strongest wish for a GPU among the jobs of each.
    pub cudas: BTreeMap<CudaVersion, GpuWish>,
    /// What GPU code each release is built for, by `package version` and CUDA.
    pub code: BTreeMap<(String, CudaVersion), ArchList>,
    /// Sources of jobs that need a build, each once.
    pub sources: Vec<WantedSource>,
    /// Bases of jobs that need a build, by the reference of their image.
    pub bases: BTreeMap<String, WantedBase>,
    /// The index that build requirements come from; `None` when nothing is to be built.
    pub package_index: Option<String>,
    /// Disk that each job that needs a build is expected to take, in bytes: declared, where nothing was
    /// measured.
    pub disk_bytes: BTreeMap<JobId, u64>,
}

/// A source and whose it is.
#[derive(Debug, Clone)]
pub struct WantedSource {
    /// Where it comes from.
    pub source: Source,
    /// The packages that need it.
    pub packages: BTreeSet<PackageName>,
}

/// What images start from.
#[derive(Debug, Clone)]
pub struct WantedBase {
    /// What it is.
    pub base: Base,
    /// Where torch is installed from on it.
    pub torch_indexes: BTreeSet<String>,
}

impl WantedBase {
    /// Where its Debian packages come from, when the farm knows it: suite and mirror.
    pub fn debian(&self) -> Option<(&str, &str)> {
        match &self.base {
            Base::Debootstrap { suite, mirror } => Some((suite, mirror)),
            Base::Image { .. } => None,
        }
    }

    /// Whether compilers are installed on it by `apt-get`.
    pub fn installs_by_apt(&self) -> bool {
        match &self.base {
            Base::Debootstrap { .. } => true,
            Base::Image { interpreter, .. } => *interpreter == Interpreter::Apt,
        }
    }
}

impl Wants {
    /// What these jobs want; `measured` are the bytes on disk that builds of a job took.
    pub fn of(jobs: &[(&Job, Need)], measured: impl Fn(&Job) -> Option<u64>) -> Self {
        let mut wants = Self {
            jobs: jobs.len(),
            ..Self::default()
        };
        for &(job, need) in jobs {
            let cuda = job.environment().cuda;
            let wish = wants.cudas.entry(cuda).or_insert(GpuWish::None);
            *wish = stronger(*wish, job.release().gpu);
            if let Some(archs) = job.archs() {
                let release = format!("{} {}", job.package(), job.release().label());
                wants.code.insert((release, cuda), archs.clone());
            }
            if need != Need::UpToDate {
                wants.to_build += 1;
                wants.add_build(job, measured(job));
            }
        }
        wants
    }

    fn add_build(&mut self, job: &Job, measured: Option<u64>) {
        let release = job.release();
        let declared = release.resources.disk.bytes();
        self.disk_bytes
            .insert(job.id().clone(), measured.unwrap_or(declared));
        let extra = release.extra_sources.iter().map(|extra| &extra.source);
        for source in std::iter::once(&release.source).chain(extra) {
            self.add_source(source, job.package());
        }
        let environment = job.environment();
        let torch_index = match &environment.torch_index {
            TorchIndex::Pypi => environment.package_index.clone(),
            TorchIndex::Url(url) => url.clone(),
        };
        let base = self
            .bases
            .entry(render::base_reference(job))
            .or_insert_with(|| WantedBase {
                base: environment.base.clone(),
                torch_indexes: BTreeSet::new(),
            });
        base.torch_indexes.insert(torch_index);
        self.package_index = Some(environment.package_index.clone());
    }

    fn add_source(&mut self, source: &Source, package: &PackageName) {
        let known = self
            .sources
            .iter_mut()
            .find(|known| known.source == *source);
        if let Some(known) = known {
            known.packages.insert(package.clone());
            return;
        }
        self.sources.push(WantedSource {
            source: source.clone(),
            packages: BTreeSet::from([package.clone()]),
        });
    }

    /// The strongest wish for a GPU among all jobs.
    pub fn gpu(&self) -> GpuWish {
        let wishes = self.cudas.values().copied();
        wishes.fold(GpuWish::None, stronger)
    }
}

fn stronger(one: GpuWish, other: GpuWish) -> GpuWish {
    match (one, other) {
        (GpuWish::Required, _) | (_, GpuWish::Required) => GpuWish::Required,
        (GpuWish::Auto, _) | (_, GpuWish::Auto) => GpuWish::Auto,
        (GpuWish::None, GpuWish::None) => GpuWish::None,
    }
}
