//! What was seen of a host. All of it is looked at elsewhere.

use std::collections::BTreeSet;

use camino::Utf8PathBuf;

use super::hub::HubFacts;
use super::targets::Asked;
use super::wants::Wants;
use crate::estimate::Planned;
use crate::gpu::driver::Driver;
use crate::gpu::machine::MachineGpu;
use crate::quantity::ByteSize;

/// Something, or why it could not be looked at.
pub type Seen<T> = Result<T, Unseen>;

/// Why something could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen {
    /// A lowercase fragment.
    pub why: String,
    /// What to type.
    pub hint: String,
}

impl Unseen {
    /// Why, and what to type.
    pub fn new(why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            hint: hint.into(),
        }
    }
}

/// Everything that was seen.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The farm; without a matrix, why there is none.
    pub farm: Seen<FarmFacts>,
    /// The folder of wheels and records.
    pub out: OutFacts,
    /// The engine; why it does not answer.
    pub engine: Seen<EngineSurvey>,
    /// What of the plan's images is in the engine.
    pub images: Seen<ImagesHere>,
    /// How many containers and volumes of runs that are no more are in the engine.
    pub leftovers: Seen<usize>,
    /// The machine that this runs on.
    pub machine: MachineFacts,
    /// Its GPUs.
    pub gpu: GpuFacts,
    /// The disks that jobs write to.
    pub disks: Vec<DiskFacts>,
    /// Programs that jobs need, and whether they are here.
    pub commands: Vec<(&'static str, Presence)>,
    /// Where things are fetched from.
    pub network: NetworkFacts,
    /// Where wheels go to, if a place was named.
    pub place: Option<PlaceFacts>,
    /// What the night does besides.
    pub proofs: Proofs,
}

impl Facts {
    /// Whether the engine's host is this machine, so that what is seen here holds for it.
    pub(super) fn is_engine_here(&self) -> bool {
        let engine = self.engine.as_ref();
        engine.is_ok_and(|engine| engine.whereabouts == Whereabouts::ThisHost)
    }
}

/// Whether something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    Here,
    /// It is not.
    Absent,
}

/// Whether wheels are run with this machine's GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proofs {
    /// As the packages say (`gpu:`).
    AsPackagesSay,
    /// `wheelfarm prove` runs here, so a GPU that does not run what is planned is a fault.
    OnThisMachine,
}

/// A farm that could be read.
#[derive(Debug, Clone)]
pub struct FarmFacts {
    /// The matrix as the user named it.
    pub matrix: String,
    /// What its jobs want of the host.
    pub wants: Wants,
    /// Those that need a build, with what they are expected to take.
    pub planned: Vec<Planned>,
    /// The most memory that all jobs together may be given.
    pub memory_cap: Option<ByteSize>,
    /// The most jobs at a time.
    pub jobs: Option<u32>,
    /// What must stay free of every disk, in bytes.
    pub disk_reserve_bytes: u64,
    /// The certificates that containers are to trust, or why they cannot be read; `None`: the image's own.
    pub certificates: Option<Seen<String>>,
}

/// `out/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutFacts {
    /// Where.
    pub folder: Utf8PathBuf,
    /// Whether it can be written, and who has it.
    pub hold: Hold,
    /// The store in it.
    pub store: StoreFacts,
}

/// Whether a folder can be worked in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// Nobody works in it, and it can be written.
    Free,
    /// It is not there, and can be made.
    ToBeMade,
    /// Another run works in it.
    Busy,
    /// It cannot be written.
    Unwritable(String),
}

/// The store in `out/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreFacts {
    /// There is none yet.
    None,
    /// It can be read: whether the last run was killed.
    Readable {
        /// The last run, if it was killed.
        killed: Option<String>,
    },
    /// Its schema is older than this program's: the next build brings it up to date.
    Older(String),
    /// Its schema is newer than this program's.
    Newer(String),
    /// It is broken: the next build moves it aside.
    Broken(String),
    /// It could not be opened for another reason.
    Unreadable(String),
}

/// What an engine says of itself and of its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineSurvey {
    /// `docker`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The API that it is spoken to with, major and minor.
    pub api: (usize, usize),
    /// `linux`.
    pub os: String,
    /// `x86_64`.
    pub architecture: String,
    /// Processors of its host.
    pub cpus: u32,
    /// Memory of its host, in bytes.
    pub memory_bytes: u64,
    /// How it stores layers: `overlay2`.
    pub storage_driver: String,
    /// Whether the file system below has the types of files in its folders, where it says so.
    pub d_type: Option<bool>,
    /// `1` or `2`.
    pub cgroup_version: Option<String>,
    /// `cgroupfs`, `systemd`, or `none`, which keeps no limit.
    pub cgroup_driver: Option<String>,
    /// Limits that it can keep.
    pub limits: Limits,
    /// Whether containers go on without it.
    pub live_restore: Option<bool>,
    /// `name=seccomp,profile=default`, `name=apparmor`, `name=rootless`, `name=userns`.
    pub security: Vec<String>,
    /// Whether its host passes on packets of containers.
    pub forwarding: Option<bool>,
    /// How containers get a GPU.
    pub gpu: GpuWay,
    /// Folders of CDI specifications that name NVIDIA devices, on this host.
    pub cdi_folders: Vec<String>,
    /// Proxies that it pulls by, without passwords.
    pub proxies: Vec<String>,
    /// Mirrors that it asks before Docker Hub.
    pub mirrors: Vec<String>,
    /// By how many seconds its clock is ahead of this machine's.
    pub ahead_s: Option<i64>,
    /// Where it runs.
    pub whereabouts: Whereabouts,
}

/// Where an engine runs, as far as its address tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// Behind a socket of this host.
    ThisHost,
    /// Behind an address.
    Elsewhere,
}

/// Which limits an engine's host can keep; `None` where it does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// On memory.
    pub memory: Option<bool>,
    /// On swap.
    pub swap: Option<bool>,
    /// On processor time.
    pub cpu: Option<bool>,
    /// On processes.
    pub processes: Option<bool>,
}

/// How an engine gives containers a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpuWay {
    /// Not at all.
    None,
    /// NVIDIA's container runtime.
    NvidiaRuntime,
    /// The Container Device Interface.
    Cdi,
}

/// What of a plan's images is in the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImagesHere {
    /// The bases that are there, by reference.
    pub bases: BTreeSet<String>,
    /// The indexes that torch still has to come from.
    pub torch_from: BTreeSet<String>,
    /// The bases on which compilers still have to be installed.
    pub compilers_on: BTreeSet<String>,
    /// How many pairs of stages are still to be made.
    pub stages_to_make: u64,
}

/// The machine that this runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MachineFacts {
    /// All memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// What programs can still get, in bytes.
    pub available_bytes: Option<u64>,
    /// Swap, in bytes.
    pub swap_bytes: Option<u64>,
    /// `vm.overcommit_memory`: 2 refuses what is not backed.
    pub overcommit: Option<u32>,
    /// Processors.
    pub cpus: Option<u32>,
    /// Files that this process may have open.
    pub open_files: Option<u64>,
    /// Whether this process is root's.
    pub is_root: Option<bool>,
}

/// The GPUs of this machine.
#[derive(Debug, Clone)]
pub struct GpuFacts {
    /// NVIDIA's display controllers on the bus.
    pub devices: usize,
    /// What `nvidia-smi` says.
    pub gpus: Seen<Vec<MachineGpu>>,
    /// The driver that the kernel has loaded.
    pub loaded: Option<Driver>,
    /// What a container with a GPU sees; `None` when that was not tried.
    pub in_container: Option<Result<String, String>>,
}

/// What a disk is to the night.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskUse {
    /// The engine keeps images and volumes there.
    Engine,
    /// `out/`.
    Out,
    /// Downloads and symbol tables.
    Cache,
    /// The root of a bootstrapped Debian is made there.
    Temporary,
}

impl DiskUse {
    /// As people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Engine => "images and volumes",
            Self::Out => "wheels and records",
            Self::Cache => "downloads",
            Self::Temporary => "bootstrapping",
        }
    }
}

/// A folder that jobs write to, and the disk that it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFacts {
    /// What for.
    pub what: DiskUse,
    /// Where.
    pub folder: Utf8PathBuf,
    /// The disk; why it cannot be looked at.
    pub room: Seen<DiskRoom>,
}

/// What is left of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskRoom {
    /// Tells it from others of this host.
    pub device: u64,
    /// What an ordinary user may still write, in bytes.
    pub free_bytes: u64,
    /// Files that may still be made; `None` where the file system has no such limit.
    pub free_inodes: Option<u64>,
}

/// Where things are fetched from.
#[derive(Debug, Clone, Default)]
pub struct NetworkFacts {
    /// What was asked, and what came of it.
    pub asked: Vec<Asked>,
    /// Variables of this environment that name a proxy.
    pub proxies: Vec<String>,
}

/// Where wheels go to.
#[derive(Debug, Clone)]
pub enum PlaceFacts {
    /// A folder of this machine.
    Folder {
        /// Where.
        folder: Utf8PathBuf,
        /// Whether it can be written.
        hold: Hold,
    },
    /// A repository on a Hub.
    Hub(Box<HubFacts>),
}
