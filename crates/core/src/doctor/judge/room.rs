//! Disks, memory and processors, against what the jobs are expected to need.

use std::collections::BTreeMap;

use super::counted;
use crate::doctor::facts::{DiskFacts, DiskRoom, DiskUse, Facts, FarmFacts};
use crate::doctor::{Check, MATRIX_HINT, Topic};
use crate::estimate::{Basis, Host, forecast};
use crate::matrix::Base;
use crate::quantity::ByteSize;

/// What torch and the compilers take on top of a base: torch 2.11 of CUDA 13.0 alone has 5.0 GB with its
/// libraries, the compilers 0.8 (README, "Quickstart").
const STAGES_BYTES: u64 = 6 << 30;

/// What debootstrap makes in the temporary folder: the root and its tar.
const BOOTSTRAP_BYTES: u64 = 1 << 30;

/// How many files the images of one environment and a build have, rounded up: 35,577 were counted in the toolkit
/// stage of torch 2.11 and CUDA 13.0 on Debian 12, and a build leaves some thousands of objects.
const STAGES_INODES: u64 = 50_000;

/// How many files debootstrap makes in the temporary folder, rounded up.
const BOOTSTRAP_INODES: u64 = 20_000;

/// The least limit on open files: the farm's own connections, logs and files of a few jobs side by side.
const LEAST_OPEN_FILES: u64 = 1024;

const FREE_DISK: &str = "`wheelfarm gc --dry-run` shows what can go; or lower `build.disk-reserve` in the matrix, or \
                         `resources.disk` in the package";

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    let mut checks = disks(facts);
    checks.push(memory(facts));
    checks.extend(overcommit(facts));
    checks.push(processors(facts));
    checks.extend(open_files(facts));
    checks
}

fn size(bytes: u64) -> ByteSize {
    ByteSize::from_bytes(bytes)
}

fn disks(facts: &Facts) -> Vec<Check> {
    let mut by_device: BTreeMap<u64, (DiskRoom, Vec<&DiskFacts>)> = BTreeMap::new();
    let mut checks = Vec::new();
    for disk in &facts.disks {
        if disk.what == DiskUse::Temporary && !makes_a_debian(facts) {
            continue;
        }
        match &disk.room {
            Ok(room) => by_device
                .entry(room.device)
                .or_insert((*room, Vec::new()))
                .1
                .push(disk),
            Err(unseen) => {
                let why = format!("for {}: {}", disk.what.as_str(), unseen.why);
                checks.push(
                    Topic::Disk
                        .not_checked(why, &unseen.hint)
                        .of(disk.folder.as_str()),
                );
            }
        }
    }
    for (room, uses) in by_device.values() {
        let subject = uses.iter().map(|disk| disk.folder.as_str());
        let subject = subject.collect::<Vec<_>>().join(", ");
        let need = Need::of(facts, uses);
        checks.push(disk(*room, &need, facts).of(subject.clone()));
        checks.extend(inodes(*room, &need).map(|check| check.of(subject)));
    }
    checks
}

/// Whether a base is bootstrapped that is not in the engine.
fn makes_a_debian(facts: &Facts) -> bool {
    let Ok(farm) = &facts.farm else { return false };
    farm.wants.bases.iter().any(|(reference, wanted)| {
        let is_here = facts
            .images
            .as_ref()
            .is_ok_and(|images| images.bases.contains(reference));
        matches!(wanted.base, Base::Debootstrap { .. }) && !is_here
    })
}

/// What a disk is to get.
#[derive(Debug, Default)]
struct Need {
    /// The largest job.
    largest_bytes: u64,
    /// Environments whose images are still to be made.
    stages: u64,
    /// Bases to pull, whose size is not known.
    pulls: u64,
    /// Of bootstrapping.
    temporary_bytes: u64,
    /// What must stay free.
    reserve_bytes: u64,
    /// Files of images and builds, or of bootstrapping.
    files: u64,
    /// Whether this is known.
    is_known: bool,
}

impl Need {
    fn of(facts: &Facts, uses: &[&DiskFacts]) -> Self {
        let Ok(farm) = &facts.farm else {
            return Self::default();
        };
        let has = |what| uses.iter().any(|disk| disk.what == what);
        let mut need = Self {
            reserve_bytes: farm.disk_reserve_bytes,
            is_known: true,
            ..Self::default()
        };
        if has(DiskUse::Temporary) {
            need.temporary_bytes = BOOTSTRAP_BYTES;
            need.files = BOOTSTRAP_INODES;
            if uses.len() == 1 {
                // The reserve is for what jobs write to.
                need.reserve_bytes = 0;
            }
        }
        if has(DiskUse::Engine) {
            let builds = if farm.wants.to_build > 0 {
                STAGES_INODES
            } else {
                0
            };
            need.files = need.files.max(builds);
            need.largest_bytes = farm.wants.disk_bytes.values().copied().max().unwrap_or(0);
            match &facts.images {
                Ok(images) => {
                    need.stages = images.stages_to_make;
                    let stages = images.stages_to_make.saturating_mul(STAGES_INODES);
                    need.files = need.files.max(stages);
                    let missing = farm.wants.bases.iter().filter(|(reference, wanted)| {
                        matches!(wanted.base, Base::Image { .. })
                            && !images.bases.contains(*reference)
                    });
                    need.pulls = u64::try_from(missing.count()).unwrap_or(u64::MAX);
                }
                Err(_) => need.is_known = false,
            }
        }
        need
    }

    /// Without this much the first job that is begun fails.
    fn least_bytes(&self) -> u64 {
        let first = if self.stages > 0 { STAGES_BYTES } else { 0 };
        self.largest_bytes
            .saturating_add(first)
            .saturating_add(self.temporary_bytes)
            .saturating_add(self.reserve_bytes)
    }

    /// With less than this the last jobs end as `disk-full`: a run lets go of no stage that a job of the matrix needs
    /// (docs/gc.md).
    fn all_bytes(&self) -> u64 {
        let more = self.stages.saturating_sub(1).saturating_mul(STAGES_BYTES);
        self.least_bytes().saturating_add(more)
    }

    fn words(&self) -> String {
        let mut parts = Vec::new();
        if self.largest_bytes > 0 {
            parts.push(format!("{} for the largest job", size(self.largest_bytes)));
        }
        if self.stages > 0 {
            let all = size(self.stages.saturating_mul(STAGES_BYTES));
            let count = usize::try_from(self.stages).unwrap_or(usize::MAX);
            parts.push(format!(
                "{all} for the images of {}",
                counted(count, "environment")
            ));
        }
        if self.pulls > 0 {
            let count = usize::try_from(self.pulls).unwrap_or(usize::MAX);
            parts.push(format!(
                "{} to pull, of unknown size",
                counted(count, "base image")
            ));
        }
        if self.temporary_bytes > 0 {
            parts.push(format!("{} for bootstrapping", size(self.temporary_bytes)));
        }
        if self.reserve_bytes > 0 {
            parts.push(format!("{} to stay free", size(self.reserve_bytes)));
        }
        parts.join(", ")
    }
}

fn disk(room: DiskRoom, need: &Need, facts: &Facts) -> Check {
    let free = size(room.free_bytes);
    if facts.farm.is_err() {
        return Topic::Disk.not_checked(
            format!("{free} free; no matrix says what is needed"),
            MATRIX_HINT,
        );
    }
    let seen = format!("{free} free: {}", need.words());
    if room.free_bytes < need.least_bytes() {
        let missing = size(need.least_bytes() - room.free_bytes);
        return Topic::Disk.fail(
            format!("{seen}; {missing} too little for the first job"),
            FREE_DISK,
        );
    }
    if room.free_bytes < need.all_bytes() {
        let missing = size(need.all_bytes() - room.free_bytes);
        return Topic::Disk.fail(
            format!("{seen}; {missing} too little for all of them, and what the matrix needs is not cleared away"),
            "build in parts: `wheelfarm build --only 'GLOB'`, then `wheelfarm gc --all-images`; or free some space: \
             `wheelfarm gc --dry-run`",
        );
    }
    if !need.is_known {
        return Topic::Disk.not_checked(
            format!("{seen}; which images are there is not known"),
            "start the engine: `sudo systemctl start docker`",
        );
    }
    Topic::Disk.pass(seen)
}

fn inodes(room: DiskRoom, need: &Need) -> Option<Check> {
    let free = room.free_inodes?;
    // Of wheels, records and downloads there are few.
    let least = need.files.clamp(1, STAGES_INODES);
    let seen = format!("{free} files may still be made");
    let hint =
        "`df -i` shows it; delete many small files, or make the file system again with more inodes";
    Some(if free == 0 {
        Topic::Inodes.fail("no file can be made", hint)
    } else if free < least {
        Topic::Inodes.fail(format!("{seen}; what is made first may have {least}"), hint)
    } else if free < need.files {
        let wanted = need.files;
        Topic::Inodes.warn(format!("{seen}; all that is to be made has {wanted}"), hint)
    } else {
        Topic::Inodes.pass(seen)
    })
}

/// The memory of the engine's host; of this machine, when no engine answers.
fn host(facts: &Facts, farm: &FarmFacts) -> Option<Host> {
    let (cpus, memory_bytes) = match &facts.engine {
        Ok(survey) => (survey.cpus, survey.memory_bytes),
        Err(_) => (facts.machine.cpus?, facts.machine.memory_bytes?),
    };
    Some(Host::new(cpus, memory_bytes, farm.memory_cap, farm.jobs))
}

fn memory(facts: &Facts) -> Check {
    const FREE_MEMORY: &str = "build on a host with more memory, leave the job out with `exclude:`, or mend `resources.memory-per-process`";
    let swap = facts
        .machine
        .swap_bytes
        .map_or_else(String::new, |bytes| match bytes {
            0 => ", no swap".to_owned(),
            bytes => format!(", {} of swap", size(bytes)),
        });
    let total = match &facts.engine {
        Ok(survey) => Some(survey.memory_bytes),
        Err(_) => facts.machine.memory_bytes,
    };
    let Some(total) = total else {
        return Topic::Memory.not_checked("how much there is cannot be read", "free -h");
    };
    let seen = format!("{}{swap}", size(total));
    let Ok(farm) = &facts.farm else {
        return Topic::Memory.not_checked(
            format!("{seen}; no matrix says what is needed"),
            MATRIX_HINT,
        );
    };
    let Some(host) = host(facts, farm) else {
        return Topic::Memory.not_checked(seen, "free -h");
    };
    let seen = format!("{seen}, {} of it for jobs", size(host.memory_bytes));
    let needs = farm
        .planned
        .iter()
        .map(|planned| (planned.estimate.memory.bytes(1), planned));
    let Some((bytes, largest)) = needs.max_by_key(|(bytes, _)| *bytes) else {
        return Topic::Memory.pass(format!("{seen}; nothing is to be built"));
    };
    let need = format!("{} for one compiler of {}", size(bytes), largest.job);
    if bytes > host.memory_bytes {
        let seen = format!("{seen}; {need}");
        return match largest.estimate.basis {
            Basis::Release { builds } => {
                let builds = usize::try_from(builds).unwrap_or(usize::MAX);
                Topic::Memory.fail(
                    format!("{seen}, by {} of it", counted(builds, "build")),
                    FREE_MEMORY,
                )
            }
            Basis::Package { .. } | Basis::Declared => Topic::Memory.warn(
                format!("{seen}, by what its package declares: it is tried in less"),
                FREE_MEMORY,
            ),
        };
    }
    let available = facts
        .machine
        .available_bytes
        .filter(|_| facts.is_engine_here());
    match available {
        Some(available) if available < bytes => Topic::Memory.warn(
            format!(
                "{seen}; {need}, and only {} is not in use now",
                size(available)
            ),
            "end what holds it: `ps --sort=-rss -eo rss,comm | head`",
        ),
        Some(_) | None => Topic::Memory.pass(format!("{seen}; the most is {need}")),
    }
}

/// 2 refuses memory that nothing backs: nvcc's children and CUDA ask for far more than they use
/// (<https://www.kernel.org/doc/html/latest/mm/overcommit-accounting.html>).
fn overcommit(facts: &Facts) -> Option<Check> {
    let mode = facts
        .machine
        .overcommit
        .filter(|_| facts.is_engine_here())?;
    Some(match mode {
        2 => Topic::Overcommit.warn(
            "the kernel refuses memory that is asked for and not backed (vm.overcommit_memory=2): compilers fail early",
            "sudo sysctl -w vm.overcommit_memory=0",
        ),
        mode => Topic::Overcommit.pass(format!("vm.overcommit_memory={mode}")),
    })
}

fn processors(facts: &Facts) -> Check {
    let cpus = match &facts.engine {
        Ok(survey) => Some(survey.cpus),
        Err(_) => facts.machine.cpus,
    };
    let Some(cpus) = cpus else {
        return Topic::Processors.not_checked("how many there are cannot be read", "nproc");
    };
    let Ok(farm) = &facts.farm else {
        return Topic::Processors.pass(format!("{cpus}"));
    };
    let Some(host) = host(facts, farm).filter(|_| !farm.planned.is_empty()) else {
        return Topic::Processors.pass(format!("{cpus}; nothing is to be built"));
    };
    let forecast = forecast(&farm.planned, host);
    let unknown = forecast.unknown().count();
    let hours = |ms: u64| {
        let minutes = ms / 60_000;
        format!("{}h{:02}m", minutes / 60, minutes % 60)
    };
    let time = forecast.makespan_ms;
    Topic::Processors.pass(match (forecast.says_when(), unknown) {
        (false, _) => format!("{cpus}; how long the jobs take is not known yet"),
        (true, 0) => format!(
            "{cpus}; the jobs are expected to take {}",
            hours(time.likely)
        ),
        (true, unknown) => format!(
            "{cpus}; the jobs are expected to take {} and what {} take of which nothing is known",
            hours(time.likely),
            counted(unknown, "job")
        ),
    })
}

fn open_files(facts: &Facts) -> Option<Check> {
    let limit = facts.machine.open_files?;
    Some(if limit < LEAST_OPEN_FILES {
        Topic::OpenFiles.warn(
            format!("{limit} at most in this process"),
            "ulimit -n 65536, before the build; in a systemd unit `LimitNOFILE=65536`",
        )
    } else if limit == u64::MAX {
        Topic::OpenFiles.pass("no limit")
    } else {
        Topic::OpenFiles.pass(format!("{limit} at most in this process"))
    })
}
