//! Which job is let in next, and what its container may use.
//!
//! Memory is given away once: the sum of what containers may hold never exceeds what the host gives,
//! so a compiler that grows beyond what was predicted meets its own container's limit and no
//! neighbour's. Cores are given away once as well. There is no clock in here: a job is passed over
//! a number of times, not a number of minutes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::Grant;
use super::need::{Estimate, MOST_TIMES, share};
use crate::digest::Sha256Digest;
use crate::ident::JobId;
use crate::matrix::Base;
use crate::plan::Job;
use crate::quantity::ByteSize;

/// How many cores there are for each job that runs beside others, where the matrix does not say how
/// many run: enough that a build's serial parts do not idle the host, few enough that the memory of
/// several builds fits.
const CORES_FOR_EACH_JOB: u32 = 4;

/// How many run at least, memory allowing: one fetches or makes its image while the other compiles.
const LEAST_JOBS: u32 = 2;

/// How often a job that comes first and does not fit is passed over by others that do. After that
/// nothing is let in until it fits.
const PATIENCE: u32 = 4;

/// What a job leaves to the host: the farm, the engine, image builds and the kernel. A host of 880
/// GB rebooted with 98.8 % of it given away (`shared/reference/field.md`, P6).
pub fn host_reserve_bytes(memory_bytes: u64) -> u64 {
    const GIB: u64 = 1 << 30;
    (memory_bytes / 16)
        .clamp(GIB, 8 * GIB)
        .min(memory_bytes / 2)
}

/// What a host gives to jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// Processors.
    pub cpus: u32,
    /// What all containers together may hold.
    pub memory_bytes: u64,
    /// The most jobs at a time; `None`: memory and cores decide.
    pub jobs: Option<u32>,
}

impl Host {
    /// A host with so many processors and so much memory. `cap` is what the matrix allows; without
    /// it a part is left to the host.
    pub fn new(cpus: u32, memory_bytes: u64, cap: Option<ByteSize>, jobs: Option<u32>) -> Self {
        let memory_bytes = match cap {
            Some(cap) => cap.bytes().min(memory_bytes),
            None => memory_bytes - host_reserve_bytes(memory_bytes),
        };
        Self {
            cpus: cpus.max(1),
            memory_bytes,
            jobs: jobs.map(|jobs| jobs.max(1)),
        }
    }

    /// What is left beside containers that run on and that nobody waits for: their memory and their cores, but
    /// for one, which are not given away again.
    #[must_use]
    pub fn beside(self, grants: &[Grant]) -> Self {
        let memory_bytes = grants.iter().map(|grant| grant.memory_bytes).sum();
        let milli_cpus: u64 = grants.iter().map(|grant| grant.milli_cpus).sum();
        let cpus = u32::try_from(milli_cpus.div_ceil(1000)).unwrap_or(u32::MAX);
        let jobs = u32::try_from(grants.len()).unwrap_or(u32::MAX);
        Self {
            cpus: self.cpus.saturating_sub(cpus).max(1),
            memory_bytes: self.memory_bytes.saturating_sub(memory_bytes),
            jobs: self.jobs.map(|most| most.saturating_sub(jobs).max(1)),
        }
    }

    /// How many jobs may run side by side.
    fn slots(&self) -> u32 {
        self.jobs.unwrap_or_else(|| {
            let slots = (self.cpus / CORES_FOR_EACH_JOB).max(LEAST_JOBS);
            slots.min(self.cpus)
        })
    }
}

/// Jobs with one key compile the same objects: they differ in Python alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TwinKey(Sha256Digest);

impl TwinKey {
    /// The key of a job: everything of it that reaches a compiler, but Python.
    pub fn of(job: &Job) -> Self {
        let environment = job.environment();
        let base = match &environment.base {
            Base::Debootstrap { suite, mirror } => format!("debootstrap {suite} {mirror}"),
            Base::Image { reference, .. } => format!("image {reference}"),
        };
        let mut parts = vec![
            job.package().to_string(),
            job.release().label(),
            job.source_identity().to_owned(),
            job.archs().map(ToString::to_string).unwrap_or_default(),
            environment.cuda.to_string(),
            environment.torch.to_string(),
            base,
        ];
        let patches = job.patches().iter();
        parts.extend(patches.map(|patch| patch.sha256.to_string()));
        Self(Sha256Digest::of(parts.join("\n").as_bytes()))
    }
}

#[cfg(test)]
impl From<Sha256Digest> for TwinKey {
    fn from(digest: Sha256Digest) -> Self {
        Self(digest)
    }
}

/// A job that could run.
#[derive(Debug, Clone, Copy)]
pub struct Waiting<'a> {
    /// Which.
    pub job: &'a JobId,
    /// What it is expected to need.
    pub estimate: &'a Estimate,
    /// With which others it shares its objects; `None` without a cache.
    pub twin: Option<TwinKey>,
    /// What it must have, after it ran out of memory: [`Admission::after_out_of_memory`].
    pub wants: Option<Grant>,
}

/// A job that is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// Its place in the list of those that waited.
    pub index: usize,
    /// What its container may use.
    pub grant: Grant,
    /// By how much that is less memory than predicted: the host has no more, and the job is alone.
    pub lacks_bytes: u64,
}

/// What a job leaves behind when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
    /// All of its objects are in the cache: its twins compile none.
    Objects,
    /// It failed, or there is no cache.
    Nothing,
}

/// What is given away at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Jobs.
    pub jobs: u32,
    /// Memory.
    pub memory_bytes: u64,
    /// Processor time, in thousandths of a processor.
    pub milli_cpus: u64,
}

/// Why a job that ran out of memory is not tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoMoreMemory {
    /// It had all there is.
    #[error(
        "jobs may use no more than these {} here",
        ByteSize::from_bytes(*.had_bytes)
    )]
    Host {
        /// What it had.
        had_bytes: u64,
    },
    /// It had a multiple of what was predicted and declared.
    #[error(
        "{} are {MOST_TIMES} times what its builds have held or it declares",
        ByteSize::from_bytes(*.had_bytes)
    )]
    Boundless {
        /// What it had.
        had_bytes: u64,
    },
}

impl NoMoreMemory {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Host { .. } => "build it on a host with more memory, or raise `build.memory`",
            Self::Boundless { .. } => {
                "if it does need more, raise `resources.memory` in the package"
            }
        }
    }
}

/// Who runs, what they were given, and who was passed over.
#[derive(Debug, Clone)]
pub struct Admission {
    host: Host,
    running: BTreeMap<JobId, Running>,
    passed_over: BTreeMap<JobId, u32>,
    /// Whose objects are in the cache.
    warm: BTreeSet<TwinKey>,
}

#[derive(Debug, Clone, Copy)]
struct Running {
    grant: Grant,
    twin: Option<TwinKey>,
    cpu_ms: u64,
}

impl Admission {
    /// Nobody runs yet.
    pub fn new(host: Host) -> Self {
        Self {
            host,
            running: BTreeMap::new(),
            passed_over: BTreeMap::new(),
            warm: BTreeSet::new(),
        }
    }

    /// The host.
    pub fn host(&self) -> Host {
        self.host
    }

    /// What is given away.
    pub fn held(&self) -> Held {
        let mut held = Held::default();
        for running in self.running.values() {
            held.jobs += 1;
            held.memory_bytes += running.grant.memory_bytes;
            held.milli_cpus += running.grant.milli_cpus;
        }
        held
    }

    /// Whether a job's objects are in the cache, as far as this run knows.
    pub fn is_warm(&self, twin: Option<TwinKey>) -> bool {
        twin.is_some_and(|twin| self.warm.contains(&twin))
    }

    /// Lets the next job in, if one fits. To be asked again until it says `None`, and then not until
    /// a job ends or joins: the answer would be the same, but those that do not fit would be counted
    /// as passed over.
    ///
    /// Those that ran out of memory come first: what they have compiled is waiting. Then those of
    /// which nothing is known, since they may take longest, and then the longest, with what their
    /// twins will take after them.
    pub fn admit(&mut self, waiting: &[Waiting<'_>]) -> Option<Admitted> {
        let slots = self.host.slots();
        let held = self.held();
        if held.jobs >= slots || self.free_cores() == 0 {
            return None;
        }
        let queue = self.queue(waiting);
        let mut does_not_fit = Vec::new();
        for (place, index) in queue.iter().enumerate() {
            let candidate = &waiting[*index];
            let patience_is_out = self.passed_over.get(candidate.job) >= Some(&PATIENCE);
            let behind = queue[place + 1..].iter().chain(&queue[..place]);
            let behind: Vec<_> = behind.map(|index| &waiting[*index]).collect();
            let Some((grant, lacks_bytes)) = self.grant(candidate, &behind, patience_is_out) else {
                if patience_is_out {
                    return None;
                }
                does_not_fit.push(candidate.job.clone());
                continue;
            };
            for job in does_not_fit {
                *self.passed_over.entry(job).or_default() += 1;
            }
            self.enter(candidate, grant);
            return Some(Admitted {
                index: *index,
                grant,
                lacks_bytes,
            });
        }
        None
    }

    /// Takes a job that runs already: one that an earlier run of the farm had started. It may hold
    /// more than the host gives now.
    pub fn adopt(&mut self, job: &Waiting<'_>, grant: Grant) {
        self.enter(job, grant);
    }

    /// Gives back what a job had.
    pub fn release(&mut self, job: &JobId, leaves: Leaves) {
        let Some(running) = self.running.remove(job) else {
            return;
        };
        if let (Leaves::Objects, Some(twin)) = (leaves, running.twin) {
            self.warm.insert(twin);
        }
    }

    /// What a job is to be given that ran out of memory: half the compilers in as much memory, and
    /// when one alone was too many, twice the memory.
    ///
    /// # Errors
    /// When it had all that the host gives, or several times what its builds hold.
    pub fn after_out_of_memory(
        &self,
        previous: Grant,
        estimate: &Estimate,
    ) -> Result<Grant, NoMoreMemory> {
        let had_bytes = previous.memory_bytes;
        if previous.compilers > 1 {
            let compilers = previous.compilers / 2;
            return Ok(Grant {
                compilers,
                milli_cpus: u64::from(compilers) * 1000,
                memory_bytes: had_bytes.min(self.host.memory_bytes),
            });
        }
        let most = estimate.memory.most_bytes();
        let memory_bytes = had_bytes
            .saturating_mul(2)
            .min(most)
            .min(self.host.memory_bytes);
        if memory_bytes > had_bytes {
            return Ok(Grant {
                memory_bytes,
                ..previous
            });
        }
        Err(if had_bytes >= self.host.memory_bytes {
            NoMoreMemory::Host { had_bytes }
        } else {
            NoMoreMemory::Boundless { had_bytes }
        })
    }

    fn enter(&mut self, job: &Waiting<'_>, grant: Grant) {
        self.passed_over.remove(job.job);
        let running = Running {
            grant,
            twin: job.twin,
            cpu_ms: self.cpu_ms(job).unwrap_or(0),
        };
        self.running.insert(job.job.clone(), running);
    }

    fn free_cores(&self) -> u32 {
        let given = self.held().milli_cpus.div_ceil(1000);
        let given = u32::try_from(given).unwrap_or(u32::MAX);
        self.host.cpus.saturating_sub(given)
    }

    fn free_bytes(&self) -> u64 {
        let held = self.held().memory_bytes;
        self.host.memory_bytes.saturating_sub(held)
    }

    /// Processor time as far as it is known, in milliseconds.
    fn cpu_ms(&self, job: &Waiting<'_>) -> Option<u64> {
        let cpu_ms = if self.is_warm(job.twin) {
            job.estimate.warm_cpu_ms
        } else {
            job.estimate.cold_cpu_ms
        };
        Some(cpu_ms?.likely)
    }

    /// Who may run, in the order in which they are let in. Of twins the first alone, and none while
    /// another runs.
    fn queue(&self, waiting: &[Waiting<'_>]) -> Vec<usize> {
        let running: BTreeSet<_> = self.running.values().filter_map(|job| job.twin).collect();
        let mut twins_ms: BTreeMap<TwinKey, u64> = BTreeMap::new();
        for job in waiting {
            if let (Some(twin), Some(warm)) = (job.twin, job.estimate.warm_cpu_ms) {
                *twins_ms.entry(twin).or_default() += warm.likely;
            }
        }
        let mut queue: Vec<_> = (0..waiting.len()).collect();
        queue.sort_by_key(|index| {
            let job = &waiting[*index];
            let own_ms = self.cpu_ms(job);
            let twins_ms = job.twin.and_then(|twin| twins_ms.get(&twin));
            let with_twins = own_ms.map(|own| own.saturating_add(twins_ms.copied().unwrap_or(0)));
            // An absent time is less than any, and so comes first.
            (job.wants.is_none(), with_twins.map(Reverse), job.job)
        });
        let mut seen = running;
        queue.retain(|index| waiting[*index].twin.is_none_or(|twin| seen.insert(twin)));
        queue
    }

    /// What the job gets now, and by how much that is less memory than predicted. `None`: it waits.
    fn grant(
        &self,
        job: &Waiting<'_>,
        others: &[&Waiting<'_>],
        patience_is_out: bool,
    ) -> Option<(Grant, u64)> {
        let free_bytes = self.free_bytes();
        let is_alone = self.running.is_empty();
        if let Some(wants) = job.wants {
            let memory_bytes = wants.memory_bytes.min(self.host.memory_bytes);
            let compilers = wants.compilers.min(self.free_cores());
            let fits = memory_bytes <= free_bytes && compilers > 0;
            return fits.then(|| (grant_of(compilers, memory_bytes), 0));
        }
        let memory = &job.estimate.memory;
        let share = self.share_of_cores(job, others);
        if memory.bytes(1) > self.host.memory_bytes {
            let compilers = memory.squeezed(self.host.memory_bytes, share);
            let lacks_bytes = memory.bytes(1) - self.host.memory_bytes;
            let grant = grant_of(compilers, self.host.memory_bytes);
            return is_alone.then_some((grant, lacks_bytes));
        }
        let compilers = memory.compilers_in(free_bytes, share)?;
        // In half of what it could have it would hold a slot for twice the time.
        let could_have = memory.compilers_in(self.host.memory_bytes, share)?;
        let is_enough = compilers.saturating_mul(2) >= could_have;
        let enters = is_alone || patience_is_out || is_enough;
        enters.then(|| (grant_of(compilers, memory.bytes(compilers)), 0))
    }

    /// How many compilers a job's share of the free cores lets run.
    ///
    /// The free cores are divided among those that fit beside it. A job that is a great part of all
    /// the work gets more, up to leaving one to each of them: with fewer it would be the last to end,
    /// alone.
    fn share_of_cores(&self, job: &Waiting<'_>, others: &[&Waiting<'_>]) -> u32 {
        let free_cores = self.free_cores();
        let jobs = u32::try_from(self.running.len()).unwrap_or(u32::MAX);
        let open = self.host.slots().saturating_sub(jobs).saturating_sub(1);
        let own_bytes = job.estimate.memory.bytes(1);
        let mut room = self.free_bytes().saturating_sub(own_bytes);
        let mut beside = 0;
        for other in others {
            let needs = other.estimate.memory.bytes(1);
            if beside < open && needs <= room {
                room -= needs;
                beside += 1;
            }
        }
        let even = free_cores / (beside + 1);
        let running_ms = self.running.values().map(|job| job.cpu_ms);
        let others_ms = others.iter().filter_map(|other| self.cpu_ms(other));
        let own_ms = self.cpu_ms(job).unwrap_or(0);
        let all_ms = running_ms
            .chain(others_ms)
            .fold(own_ms, u64::saturating_add);
        let due = if all_ms == 0 {
            0
        } else {
            share(own_ms, self.host.cpus.into(), all_ms)
        };
        let due = u32::try_from(due).unwrap_or(u32::MAX);
        let due = due.min(free_cores.saturating_sub(beside));
        job.estimate.useful(even.max(due))
    }
}

fn grant_of(compilers: u32, memory_bytes: u64) -> Grant {
    Grant {
        compilers,
        milli_cpus: u64::from(compilers) * 1000,
        memory_bytes,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::{GIB, MINUTE_MS, built, killed, learned, subject, with_objects};
    use super::*;

    const HOUR_MS: u64 = 60 * MINUTE_MS;

    struct Candidate {
        job: JobId,
        estimate: Estimate,
        twin: Option<TwinKey>,
        wants: Option<Grant>,
    }

    impl Candidate {
        fn as_waiting(&self) -> Waiting<'_> {
            Waiting {
                job: &self.job,
                estimate: &self.estimate,
                twin: self.twin,
                wants: self.wants,
            }
        }
    }

    /// Built once: one compiler held so many GiB, and it took so long.
    fn known(name: &str, gib: u64, cpu_ms: u64) -> Candidate {
        let samples = [with_objects(built("demo", 1, gib * GIB, cpu_ms), 64, 64)];
        Candidate {
            job: name.parse().unwrap(),
            estimate: learned(&subject("demo", 12, 4), &samples),
            twin: None,
            wants: None,
        }
    }

    /// Never built: it declares so many GiB, and 4 for each compiler.
    fn unknown(name: &str, gib: u64) -> Candidate {
        Candidate {
            estimate: learned(&subject("demo", gib, 4), &[]),
            ..known(name, 1, 1)
        }
    }

    fn twin_of(mut candidate: Candidate, key: &str) -> Candidate {
        candidate.twin = Some(TwinKey(Sha256Digest::of(key.as_bytes())));
        candidate
    }

    fn host(cpus: u32, gib: u64, jobs: Option<u32>) -> Host {
        Host {
            cpus,
            memory_bytes: gib * GIB,
            jobs,
        }
    }

    /// Lets in what fits, and says who with how many compilers.
    fn let_in(admission: &mut Admission, waiting: &mut Vec<Candidate>) -> Vec<(String, u32)> {
        let mut entered = Vec::new();
        loop {
            let candidates: Vec<_> = waiting.iter().map(Candidate::as_waiting).collect();
            let Some(admitted) = admission.admit(&candidates) else {
                return entered;
            };
            let job = waiting.remove(admitted.index).job;
            entered.push((job.to_string(), admitted.grant.compilers));
        }
    }

    #[track_caller]
    fn check(host: Host, mut waiting: Vec<Candidate>, want: &[(&str, u32)]) {
        let entered = let_in(&mut Admission::new(host), &mut waiting);
        let entered: Vec<_> = entered
            .iter()
            .map(|(job, with)| (job.as_str(), *with))
            .collect();
        assert_eq!(entered, want);
    }

    #[test]
    fn a_job_alone_has_all_cores_that_its_memory_lets_work() {
        check(
            host(16, 100, None),
            vec![known("a", 4, HOUR_MS)],
            &[("a", 16)],
        );
        check(
            host(16, 30, None),
            vec![known("a", 4, HOUR_MS)],
            &[("a", 6)],
        );
    }

    #[test]
    fn cores_are_divided_among_those_that_fit() {
        let jobs = || {
            (0..6)
                .map(|n| known(&format!("job{n}"), 2, HOUR_MS))
                .collect()
        };
        let four = [("job0", 4), ("job1", 4), ("job2", 4), ("job3", 4)];
        check(host(16, 100, None), jobs(), &four);
        check(host(16, 100, Some(2)), jobs(), &[("job0", 8), ("job1", 8)]);
        check(host(2, 100, None), jobs(), &[("job0", 1), ("job1", 1)]);
        // One compiler of each fits, so there is no second beside it to leave cores to.
        check(host(16, 4, None), jobs(), &[("job0", 1)]);
    }

    #[test]
    fn a_great_part_of_the_work_gets_a_great_part_of_the_cores() {
        let mut jobs = vec![known("long", 1, 10 * HOUR_MS)];
        jobs.extend((0..10).map(|n| known(&format!("short{n}"), 1, HOUR_MS)));
        let want = [("long", 8), ("short0", 2), ("short1", 3), ("short2", 3)];
        check(host(16, 1000, None), jobs, &want);
    }

    #[test]
    fn the_unknown_come_first_and_then_the_longest() {
        let jobs = vec![
            known("short", 1, 1),
            known("long", 1, HOUR_MS),
            unknown("new", 12),
        ];
        check(
            host(4, 100, Some(3)),
            jobs,
            &[("new", 1), ("long", 2), ("short", 1)],
        );
    }

    #[test]
    fn what_needs_more_than_there_is_runs_alone_with_what_there_is() {
        let mut admission = Admission::new(host(8, 24, None));
        let first = unknown("small", 6);
        let small = admission.admit(&[first.as_waiting()]).unwrap();
        assert_eq!(small.grant.memory_bytes, 6 * GIB);
        let great = unknown("great", 64);
        assert_eq!(admission.admit(&[great.as_waiting()]), None);
        admission.release(&first.job, Leaves::Nothing);
        let alone = admission.admit(&[great.as_waiting()]).unwrap();
        assert_eq!(alone.grant, grant_of(6, 24 * GIB));
        assert_eq!(alone.lacks_bytes, 40 * GIB);
    }

    #[test]
    fn who_does_not_fit_is_passed_over_only_so_often() {
        let mut admission = Admission::new(host(4, 20, Some(4)));
        let runs = known("runs", 2, HOUR_MS);
        admission.admit(&[runs.as_waiting()]).unwrap();
        let mut waiting = vec![known("great", 15, 10 * HOUR_MS)];
        waiting.extend((0..20).map(|n| known(&format!("small{n:02}"), 1, MINUTE_MS)));
        // One core is all that `runs` left; each small one ends at once.
        admission.running.get_mut(&runs.job).unwrap().grant = grant_of(1, 3 * GIB);
        let mut before = 0;
        while let Some(admitted) = {
            let candidates: Vec<_> = waiting.iter().map(Candidate::as_waiting).collect();
            admission.admit(&candidates)
        } {
            let job = waiting.remove(admitted.index).job;
            assert_ne!(job.as_str(), "great");
            admission.release(&job, Leaves::Nothing);
            before += 1;
        }
        assert_eq!(before, PATIENCE);
        admission.release(&runs.job, Leaves::Nothing);
        let entered = let_in(&mut admission, &mut waiting);
        assert_eq!(entered[0].0, "great");
    }

    #[test]
    fn twins_wait_for_the_first_of_them() {
        let mut admission = Admission::new(host(16, 100, None));
        let mut waiting: Vec<_> = ["cp310", "cp311", "cp312"]
            .map(|python| twin_of(known(python, 2, HOUR_MS), "demo"))
            .into();
        waiting.push(known("other", 2, MINUTE_MS));
        let entered = let_in(&mut admission, &mut waiting);
        let names: Vec<_> = entered.iter().map(|(job, _)| job.as_str()).collect();
        assert_eq!(names, ["cp310", "other"]);
        let twin = waiting[0].twin;
        assert!(!admission.is_warm(twin));
        admission.release(&"cp310".parse().unwrap(), Leaves::Objects);
        assert!(admission.is_warm(twin));
        assert_eq!(let_in(&mut admission, &mut waiting)[0].0, "cp311");
    }

    #[test]
    fn after_out_of_memory_half_the_compilers_and_then_twice_the_memory() {
        let admission = Admission::new(host(16, 40, None));
        let estimate = unknown("a", 4).estimate;
        let mut grant = grant_of(6, 4 * GIB);
        let mut tried = Vec::new();
        let end = loop {
            match admission.after_out_of_memory(grant, &estimate) {
                Ok(next) => grant = next,
                Err(error) => break error,
            }
            tried.push((grant.compilers, grant.memory_bytes / GIB));
        };
        assert_eq!(tried, [(3, 4), (1, 4), (1, 8), (1, 16)]);
        assert_eq!(
            end,
            NoMoreMemory::Boundless {
                had_bytes: 16 * GIB
            }
        );
        assert_eq!(
            end.to_string(),
            "16GiB are 4 times what its builds have held or it declares"
        );
        let small = Admission::new(host(16, 6, None));
        let next = small.after_out_of_memory(grant_of(1, 4 * GIB), &estimate);
        assert_eq!(next, Ok(grant_of(1, 6 * GIB)));
        let end = small.after_out_of_memory(grant_of(1, 6 * GIB), &estimate);
        assert_eq!(end, Err(NoMoreMemory::Host { had_bytes: 6 * GIB }));
    }

    #[test]
    fn builds_that_ran_out_of_memory_do_not_raise_what_one_may_have() {
        let admission = Admission::new(host(16, 100, None));
        let subject = subject("a", 4, 4);
        let estimate = learned(
            &subject,
            &[4, 8, 16, 20].map(|gib| killed("a", 1, gib * GIB)),
        );
        let end = admission.after_out_of_memory(grant_of(1, 16 * GIB), &estimate);
        let had_bytes = 16 * GIB;
        assert_eq!(end, Err(NoMoreMemory::Boundless { had_bytes }));
        assert_eq!(estimate.memory.bytes(1), 20 * GIB);
        // A build that held as much and ended well does.
        let large = built("a", 1, 8 * GIB, MINUTE_MS);
        let estimate = learned(&subject, &[large, killed("a", 1, 16 * GIB)]);
        let next = admission.after_out_of_memory(grant_of(1, 16 * GIB), &estimate);
        assert_eq!(next, Ok(grant_of(1, 32 * GIB)));
    }

    #[test]
    fn what_was_promised_after_out_of_memory_is_waited_for() {
        let mut admission = Admission::new(host(4, 20, None));
        let runs = known("runs", 4, HOUR_MS);
        admission.adopt(&runs.as_waiting(), grant_of(1, 10 * GIB));
        let mut again = known("again", 4, HOUR_MS);
        again.wants = Some(grant_of(1, 16 * GIB));
        assert_eq!(admission.admit(&[again.as_waiting()]), None);
        admission.release(&runs.job, Leaves::Nothing);
        let admitted = admission.admit(&[again.as_waiting()]).unwrap();
        assert_eq!(admitted.grant, grant_of(1, 16 * GIB));
    }

    #[test]
    fn a_part_of_the_memory_is_left_to_the_host() {
        let budget = |gib: u64, cap| Host::new(2, gib * GIB, cap, None).memory_bytes;
        assert_eq!(budget(24, None), 24 * GIB - 24 * GIB / 16);
        assert_eq!(budget(4, None), 3 * GIB);
        assert_eq!(budget(1024, None), 1016 * GIB);
        assert_eq!(budget(24, Some(ByteSize::gib(48))), 24 * GIB);
        assert_eq!(budget(24, Some(ByteSize::gib(8))), 8 * GIB);
    }

    #[test]
    fn what_others_hold_is_not_given_away() {
        let left = host(16, 30, Some(4)).beside(&[grant_of(3, 10 * GIB), grant_of(1, 4 * GIB)]);
        assert_eq!(left, host(12, 16, Some(2)));
        let left = left.beside(&[grant_of(12, 20 * GIB); 2]);
        assert_eq!(left, host(1, 0, Some(1)));
        assert_eq!(left.beside(&[]), left);
    }

    fn any_candidate() -> impl Strategy<Value = (u64, Option<u64>, Option<u8>, u64)> {
        let twin = prop::option::of(0..4_u8);
        (
            1..40_u64,
            prop::option::of(1..10 * HOUR_MS),
            twin,
            0..64_u64,
        )
    }

    proptest! {
        /// Whatever the jobs, the host and the order in which they end or run out of memory.
        #[test]
        fn nothing_is_given_twice_and_every_job_ends(
            (cpus, gib, jobs) in (1..64_u32, 1..256_u64, prop::option::of(1..20_u32)),
            candidates in prop::collection::vec(any_candidate(), 1..30),
            mut chance in any::<u64>(),
        ) {
            let host = host(cpus, gib, jobs);
            let mut admission = Admission::new(host);
            let mut waiting: Vec<_> = candidates.iter().enumerate().map(|(n, candidate)| {
                let (gib, cpu_ms, twin, fails) = *candidate;
                let name = format!("job{n}");
                let mut candidate = match cpu_ms {
                    Some(cpu_ms) => known(&name, gib, cpu_ms),
                    None => unknown(&name, gib),
                };
                candidate.twin = twin.map(|twin| TwinKey(Sha256Digest::of(&[twin])));
                (candidate, fails)
            }).collect();
            let mut running = Vec::new();
            let (mut ended, mut steps) = (0, 0);
            while ended < candidates.len() {
                steps += 1;
                prop_assert!(steps < 10_000);
                loop {
                    let list: Vec<_> = waiting.iter().map(|(job, _)| job.as_waiting()).collect();
                    let Some(admitted) = admission.admit(&list) else { break };
                    let (job, fails) = waiting.remove(admitted.index);
                    prop_assert!(admitted.grant.compilers >= 1);
                    if let Some(wants) = job.wants {
                        prop_assert!(wants.compilers >= admitted.grant.compilers);
                    }
                    running.push((job, fails, admitted.grant));
                }
                prop_assert!(!running.is_empty(), "somebody always gets in");
                let held = admission.held();
                prop_assert!(held.memory_bytes <= host.memory_bytes);
                prop_assert!(held.milli_cpus <= u64::from(host.cpus) * 1000);
                prop_assert!(held.jobs <= host.slots());
                let mut twins: Vec<_> = running.iter().filter_map(|(job, ..)| job.twin).collect();
                let all = twins.len();
                twins.sort();
                twins.dedup();
                prop_assert_eq!(twins.len(), all);

                chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let index = usize::try_from(chance >> 33).unwrap() % running.len();
                let (mut job, fails, grant) = running.remove(index);
                // A compiler of so many GiB is killed in less.
                let is_killed = grant.memory_bytes < fails * GIB;
                let next = admission.after_out_of_memory(grant, &job.estimate);
                admission.release(&job.job, if is_killed { Leaves::Nothing } else { Leaves::Objects });
                match next {
                    Ok(next) if is_killed => {
                        prop_assert!(next.compilers < grant.compilers || next.memory_bytes > grant.memory_bytes);
                        job.wants = Some(next);
                        waiting.push((job, fails));
                    }
                    _ => ended += 1,
                }
            }
            prop_assert_eq!(admission.held(), Held::default());
        }

        #[test]
        fn the_same_waiting_jobs_are_let_in_alike_in_any_order(
            candidates in prop::collection::vec(any_candidate(), 1..12),
            turn in 0..12_usize,
        ) {
            let build = || candidates.iter().enumerate().map(|(n, (gib, cpu_ms, twin, _))| {
                let mut job = known(&format!("job{n:02}"), *gib, cpu_ms.unwrap_or(5));
                job.twin = twin.map(|twin| TwinKey(Sha256Digest::of(&[twin])));
                job
            }).collect::<Vec<_>>();
            let mut turned = build();
            let middle = turn % turned.len();
            turned.rotate_left(middle);
            let host = host(16, 64, None);
            let one = let_in(&mut Admission::new(host), &mut build());
            let other = let_in(&mut Admission::new(host), &mut turned);
            prop_assert_eq!(one, other);
        }
    }
}
