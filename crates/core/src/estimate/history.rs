//! What earlier builds teach of the next ones.
//!
//! Memory is learned pessimistically and time as it was on average: memory that is short kills a
//! build, a minute that is short delays one. One compiler in twenty may hold five times what the
//! others do (7 to 10.6 GB in one `cicc` beside neighbours of 2, `shared/reference/field.md`, 4), so
//! of what was held the most counts and never a mean.

use std::collections::BTreeMap;

use super::need::{Basis, Estimate, MOST_TIMES, MemoryNeed, Spread, share};
use super::{Sample, SampleEnd};
use crate::ident::PackageName;
use crate::package::Resources;
use crate::plan::Job;

/// How many samples of a kind count, the newest: compilers and hosts change, and a peak that has not
/// come again in twenty builds was another's fault.
const NEWEST: usize = 20;

/// What is added to the most that was seen of a release. Builds of one release differ by a few
/// percent on one host; ninja's order, and so which compilers meet, is what differs more.
const RELEASE_MARGIN_PERCENT: u64 = 125;

/// The same for what was seen of another release or other archs: their sources differ as well.
const PACKAGE_MARGIN_PERCENT: u64 = 150;

/// The least that a build is given: Python that imports torch holds half of it before anything is
/// compiled. A package that declares less gets less.
pub const LEAST_BYTES: u64 = 1 << 30;

/// How far a single build's time may lie from the next one's, in percent: with two or more, their
/// own spread tells.
const ONE_BUILD_PERCENT: u64 = 25;

/// The least spread of times, in percent: hosts are never equally busy twice.
const LEAST_SPREAD_PERCENT: u64 = 10;

/// What a build takes whose objects all come from the cache, in percent of one that compiles them:
/// least, likely, most. Used until one was measured. 15 is what issue 6 asks of a second Python.
const WARM_PERCENT: (u64, u64, u64) = (2, 8, 15);

/// What is asked about: everything of a job that its needs depend on.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The package.
    pub package: PackageName,
    /// Its version, with the variant behind a dash when it has one, as in [`Sample::version`].
    pub version: String,
    /// How many archs it is compiled for; none for a package without CUDA sources. PTX beside an
    /// arch's machine code does not count: it is what the machine code is made from.
    pub targets: u32,
    /// What `package.yaml` declares.
    pub resources: Resources,
    /// The package's own `MAX_JOBS`, when that is a number: it bears no more compilers side by side.
    pub most_compilers: Option<u32>,
}

impl Subject {
    /// What a job asks about.
    pub fn of(job: &Job) -> Self {
        let release = job.release();
        let version = match &release.variant {
            None => release.version.value.to_string(),
            Some(variant) => format!("{}-{variant}", release.version.value),
        };
        let targets = job.archs().map_or(0, |archs| archs.iter().count());
        let own = release.build.env.get("MAX_JOBS");
        let own = own.and_then(|own| own.value.trim().parse().ok());
        Self {
            package: job.package().clone(),
            version,
            targets: u32::try_from(targets).unwrap_or(u32::MAX),
            resources: release.resources,
            most_compilers: own.filter(|most| *most > 0),
        }
    }
}

/// Wall time of a finished job's stages besides its compilation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StageTimes {
    /// What was built.
    pub package: PackageName,
    /// Its version, as in [`Sample::version`].
    pub version: String,
    /// All other stages together, in milliseconds.
    pub other_ms: u64,
}

/// Everything that is known of earlier builds.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// By package, the newest first.
    samples: BTreeMap<PackageName, Vec<Sample>>,
    stages: Vec<StageTimes>,
}

impl History {
    /// From what the store has, in any order. Times of one zone (UTC) are told apart by their text.
    pub fn new(samples: impl IntoIterator<Item = Sample>) -> Self {
        let mut history = Self::default();
        for sample in samples {
            let of_package = history.samples.entry(sample.package.clone());
            of_package.or_default().push(sample);
        }
        for samples in history.samples.values_mut() {
            samples.sort_by(|one, other| other.at.cmp(&one.at));
        }
        history
    }

    /// With what the other stages of finished jobs took, in any order.
    #[must_use]
    pub fn with_stages(mut self, stages: Vec<StageTimes>) -> Self {
        self.stages = stages;
        self
    }

    /// Learns from a build that has just ended.
    pub fn add(&mut self, sample: Sample) {
        let of_package = self.samples.entry(sample.package.clone()).or_default();
        let place = of_package.partition_point(|other| other.at > sample.at);
        of_package.insert(place, sample);
    }

    /// Whether nothing was built yet.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// What the job is expected to need.
    pub fn estimate(&self, job: &Job) -> Estimate {
        self.estimate_of(&Subject::of(job))
    }

    /// What a job is expected to need that has this to ask about.
    pub fn estimate_of(&self, subject: &Subject) -> Estimate {
        let of_package = self.samples.get(&subject.package);
        let of_package = of_package.map_or(&[][..], Vec::as_slice);
        let (of_release, others): (Vec<_>, Vec<_>) = of_package.iter().partition(|sample| {
            sample.version == subject.version && sample.targets == subject.targets
        });
        let lessons = [
            (Lessons::of(&of_release), Kin::Release),
            (Lessons::of(&others), Kin::Package),
        ];
        let taught = lessons.iter().find(|(lessons, _)| lessons.teach());
        let memory = memory_need(subject, &lessons, taught);
        let Some((lessons, kin)) = taught else {
            return Estimate {
                basis: Basis::Declared,
                memory,
                cold_cpu_ms: None,
                warm_cpu_ms: None,
                other_ms: self.other_ms(subject),
                objects: None,
                disk_bytes: None,
                time_limit_ms: limit_ms(&subject.resources),
                busy_milli: None,
            };
        };
        let builds = u32::try_from(lessons.cold.len().max(lessons.partial.len()));
        let builds = builds.unwrap_or(u32::MAX);
        let cold_cpu_ms = lessons.cold_cpu_ms(subject.targets, *kin);
        Estimate {
            basis: match kin {
                Kin::Release => Basis::Release { builds },
                Kin::Package => Basis::Package { builds },
            },
            memory,
            cold_cpu_ms,
            warm_cpu_ms: lessons.warm_cpu_ms(cold_cpu_ms),
            other_ms: self.other_ms(subject),
            objects: lessons.objects(*kin),
            disk_bytes: lessons.disk_bytes(),
            time_limit_ms: limit_ms(&subject.resources),
            busy_milli: lessons.busy_milli(),
        }
    }

    /// The mean over jobs of the release, else of the package, else of all.
    fn other_ms(&self, subject: &Subject) -> Option<u64> {
        let all = self.stages.iter();
        let of_package: Vec<_> = all
            .filter(|stages| stages.package == subject.package)
            .collect();
        let of_release = of_package.iter();
        let of_release = of_release.filter(|stages| stages.version == subject.version);
        mean(of_release.map(|stages| stages.other_ms))
            .or_else(|| mean(of_package.iter().map(|stages| stages.other_ms)))
            .or_else(|| mean(self.stages.iter().map(|stages| stages.other_ms)))
    }
}

fn limit_ms(resources: &Resources) -> u64 {
    u64::try_from(resources.time.duration().as_millis()).unwrap_or(u64::MAX)
}

/// How near the builds are that an expectation rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kin {
    Release,
    Package,
}

/// The newest samples of a kind, by what they teach.
struct Lessons<'a> {
    /// Every object was compiled.
    cold: Vec<&'a Sample>,
    /// Some were; the peak of the others is not in theirs.
    partial: Vec<&'a Sample>,
    /// None was.
    warm: Vec<&'a Sample>,
    /// Limits that were not enough.
    out_of_memory: Vec<&'a Sample>,
}

impl<'a> Lessons<'a> {
    fn of(samples: &[&'a Sample]) -> Self {
        let newest = |picks: fn(&Sample) -> bool| {
            let picked = samples.iter().filter(|sample| picks(sample));
            picked.take(NEWEST).copied().collect()
        };
        Self {
            cold: newest(|sample| is_done(sample) && compiled(sample) == Compiled::All),
            partial: newest(|sample| is_done(sample) && compiled(sample) == Compiled::Some),
            warm: newest(|sample| is_done(sample) && compiled(sample) == Compiled::None),
            out_of_memory: newest(|sample| !is_done(sample)),
        }
    }

    /// Whether they say what a build takes: warm ones and those that were killed do not.
    fn teach(&self) -> bool {
        !self.cold.is_empty() || self.timed().next().is_some()
    }

    /// Those that were measured, cold ones if there are any.
    fn timed(&self) -> impl Iterator<Item = &'a Sample> + '_ {
        let measured = |sample: &&&Sample| sample.cpu_ms.is_some();
        let cold = self.cold.iter().filter(measured);
        let only_partial = self.cold.iter().find(measured).is_none();
        let partial = self.partial.iter().filter(measured);
        cold.chain(partial.filter(move |_| only_partial)).copied()
    }

    /// Scaled to the number of archs, since each source is compiled for one after the other, and to
    /// all of the objects.
    fn cold_cpu_ms(&self, targets: u32, kin: Kin) -> Option<Spread> {
        let overhead_ms = mean(self.warm.iter().filter_map(|sample| sample.cpu_ms)).unwrap_or(0);
        let times: Vec<_> = self
            .timed()
            .filter_map(|sample| {
                let cpu_ms = of_all_objects(sample, overhead_ms)?;
                Some(match (targets, sample.targets) {
                    (0, _) | (_, 0) => cpu_ms,
                    (targets, of_sample) => share(cpu_ms, targets.into(), of_sample.into()),
                })
            })
            .collect();
        let spread = spread(&times)?;
        Some(match kin {
            Kin::Release => spread,
            // Another release's sources may be twice as many.
            Kin::Package => Spread {
                low: spread.low / 2,
                likely: spread.likely,
                high: spread.high.saturating_mul(2),
            },
        })
    }

    fn warm_cpu_ms(&self, cold_cpu_ms: Option<Spread>) -> Option<Spread> {
        let times: Vec<_> = self.warm.iter().filter_map(|warm| warm.cpu_ms).collect();
        spread(&times).or_else(|| {
            let cold = cold_cpu_ms?.likely;
            let (low, likely, high) = WARM_PERCENT;
            let percent = |percent| share(cold, percent, 100);
            Some(Spread {
                low: percent(low),
                likely: percent(likely),
                high: percent(high),
            })
        })
    }

    /// Another release may have more, so its number bounds nothing.
    fn objects(&self, kin: Kin) -> Option<u64> {
        let counted = self.cold.iter().chain(&self.partial).chain(&self.warm);
        let most = counted.filter_map(|sample| Some(sample.objects?.needed));
        most.max().filter(|most| *most > 0 && kin == Kin::Release)
    }

    fn disk_bytes(&self) -> Option<u64> {
        let measured = self.cold.iter().chain(&self.partial);
        let most = measured.filter_map(|sample| sample.disk_bytes).max()?;
        Some(share(most, RELEASE_MARGIN_PERCENT, 100))
    }

    /// How much of its compilers a build kept busy.
    fn busy_milli(&self) -> Option<u64> {
        let shares = self.timed().filter_map(|sample| {
            let given = (u64::from(sample.grant.compilers) * 1000).min(sample.grant.milli_cpus);
            let could_ms = share(sample.compile_ms, given, 1000);
            let cpu_ms = sample.cpu_ms.filter(|_| could_ms > 0)?;
            Some(share(cpu_ms, 1000, could_ms))
        });
        // A host that others work on makes a build look idle; far below a tenth nothing is learned.
        mean(shares).map(|busy| busy.clamp(100, 1000))
    }
}

#[derive(PartialEq, Eq)]
enum Compiled {
    All,
    Some,
    None,
}

fn is_done(sample: &Sample) -> bool {
    match sample.end {
        SampleEnd::Done => true,
        SampleEnd::OutOfMemory => false,
    }
}

/// Without a count there was no cache.
fn compiled(sample: &Sample) -> Compiled {
    match sample.objects {
        Some(objects) if objects.compiled >= objects.needed => Compiled::All,
        Some(objects) if objects.compiled == 0 => Compiled::None,
        Some(_) => Compiled::Some,
        None => Compiled::All,
    }
}

/// The processor time if all objects had been compiled.
fn of_all_objects(sample: &Sample, overhead_ms: u64) -> Option<u64> {
    let cpu_ms = sample.cpu_ms?;
    let Some(objects) = sample.objects.filter(|objects| objects.compiled > 0) else {
        return Some(cpu_ms);
    };
    let needed = objects.needed.max(objects.compiled);
    let overhead_ms = overhead_ms.min(cpu_ms);
    let compiling = share(cpu_ms - overhead_ms, needed, objects.compiled);
    Some(overhead_ms.saturating_add(compiling))
}

/// From what was held, what was not enough, and what is declared.
///
/// `resources.memory` is what one begins with, whatever the compilers, and it bounds how many there
/// are: nothing else is known. Once a build was measured it bounds nothing more, neither up nor
/// down: the container's limit is the prediction. `memory-per-process` stays what a single compiler
/// may hold for as long as none was seen alone, up to what the whole build was seen to hold.
fn memory_need(
    subject: &Subject,
    lessons: &[(Lessons<'_>, Kin)],
    taught: Option<&(Lessons<'_>, Kin)>,
) -> MemoryNeed {
    let declared_bytes = subject.resources.memory.bytes();
    let each_bytes = subject.resources.memory_per_process.bytes();
    let (seen, partial, kin) = match taught {
        Some((lessons, kin)) => (peaks(&lessons.cold), peaks(&lessons.partial), Some(*kin)),
        None => (Vec::new(), Vec::new(), None),
    };
    let held = most(&seen, |_| true);
    let ordinary_bytes = held.max(declared_bytes).max(each_bytes);
    // Builds that ran out of memory do not raise it: one without bounds would get more each night.
    let most_bytes = ordinary_bytes.saturating_mul(MOST_TIMES);
    let killed = lessons
        .iter()
        .filter(|(_, of)| *of == Kin::Release || kin.is_none_or(|kin| kin == *of))
        .flat_map(|(lessons, _)| &lessons.out_of_memory)
        .map(|sample| {
            let had_bytes = sample.grant.memory_bytes.min(most_bytes);
            (sample.grant.compilers.max(1), had_bytes)
        });
    let is_measured = !seen.is_empty();
    let is_known_alone = seen.iter().any(|(with, _)| *with == 1);
    // What is not the whole truth can only raise it.
    let mut at_least = seen.clone();
    at_least.extend(partial);
    at_least.extend(killed);
    let shares = at_least
        .iter()
        .map(|(with, bytes)| bytes / u64::from(*with));
    let further_bytes = shares.max().unwrap_or(0);
    let single_bytes = further_bytes.max(most(&at_least, |with| with == 1));
    if is_measured {
        let unseen = if is_known_alone {
            0
        } else {
            each_bytes.min(held)
        };
        return MemoryNeed {
            single_bytes: single_bytes.max(unseen),
            further_bytes,
            seen,
            at_least,
            margin_percent: match kin {
                Some(Kin::Package) => PACKAGE_MARGIN_PERCENT,
                Some(Kin::Release) | None => RELEASE_MARGIN_PERCENT,
            },
            least_bytes: LEAST_BYTES.min(declared_bytes),
            most_compilers: subject.most_compilers,
            most_bytes,
        };
    }
    let fitting = u32::try_from((declared_bytes / each_bytes.max(1)).max(1)).ok();
    MemoryNeed {
        single_bytes: single_bytes.max(each_bytes),
        further_bytes: further_bytes.max(each_bytes),
        seen,
        // A margin is in what people declare.
        margin_percent: if at_least.is_empty() {
            100
        } else {
            RELEASE_MARGIN_PERCENT
        },
        at_least,
        least_bytes: declared_bytes,
        most_compilers: [fitting, subject.most_compilers]
            .into_iter()
            .flatten()
            .min(),
        most_bytes,
    }
}

/// With how many compilers each was built, and what it held.
fn peaks(samples: &[&Sample]) -> Vec<(u32, u64)> {
    let peaks = samples.iter().filter_map(|sample| {
        let compilers = sample.grant.compilers.max(1);
        Some((compilers, sample.peak_memory_bytes?))
    });
    peaks.collect()
}

fn most(peaks: &[(u32, u64)], picks: fn(u32) -> bool) -> u64 {
    let picked = peaks.iter().filter(|(with, _)| picks(*with));
    picked.map(|(_, bytes)| *bytes).max().unwrap_or(0)
}

fn mean(values: impl Iterator<Item = u64>) -> Option<u64> {
    let (count, sum) = values.fold((0_u64, 0_u128), |(count, sum), value| {
        (count + 1, sum + u128::from(value))
    });
    let mean = sum.checked_div(u128::from(count))?;
    u64::try_from(mean).ok()
}

/// The mean, and how far the times lie apart.
fn spread(times: &[u64]) -> Option<Spread> {
    let likely = mean(times.iter().copied())?;
    let percent = match times {
        [_] => ONE_BUILD_PERCENT,
        _ => LEAST_SPREAD_PERCENT,
    };
    let least = *times.iter().min()?;
    let most = *times.iter().max()?;
    Some(Spread {
        low: least.min(share(likely, 100 - percent, 100)),
        likely,
        high: most.max(share(likely, 100 + percent, 100)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::{GIB, MINUTE_MS, built, killed, learned, subject, with_objects};
    use super::*;

    #[track_caller]
    fn check_memory(samples: &[Sample], compilers: u32, want_bytes: u64) {
        let estimate = learned(&subject("demo", 12, 4), samples);
        assert_eq!(estimate.memory.bytes(compilers), want_bytes, "{estimate:?}");
    }

    #[test]
    fn without_builds_what_is_declared_is_what_one_begins_with() {
        let estimate = learned(&subject("demo", 12, 4), &[built("other", 1, GIB, 1)]);
        assert_eq!(estimate.basis, Basis::Declared);
        assert_eq!(estimate.cold_cpu_ms, None);
        assert_eq!(estimate.memory.bytes(1), 12 * GIB);
        assert_eq!(estimate.memory.bytes(3), 12 * GIB);
        assert_eq!(estimate.memory.compilers_in(100 * GIB, 16), Some(3));
        assert_eq!(estimate.memory.compilers_in(11 * GIB, 16), None);
    }

    #[test]
    fn a_package_says_how_many_compilers_it_bears() {
        let bears = |most_compilers| Subject {
            most_compilers,
            ..subject("demo", 12, 4)
        };
        for samples in [&[][..], &[built("demo", 2, 3 * GIB, MINUTE_MS)]] {
            let in_all = |most| {
                learned(&bears(most), samples)
                    .memory
                    .compilers_in(99 * GIB, 2)
            };
            assert_eq!((in_all(Some(1)), in_all(None)), (Some(1), Some(2)));
            let little = learned(&bears(Some(1)), samples).memory;
            assert_eq!(little.squeezed(11 * GIB, 2), 1);
        }
    }

    #[test]
    fn causal_conv1d_is_given_what_it_held_and_a_margin() {
        // docs/builds.md: 3.8 GB with two compilers, 672 s for two archs.
        let samples = [built("demo", 2, 3_800_000_000, 672_000)];
        check_memory(&samples, 1, 4_750_000_000);
        check_memory(&samples, 2, 4_750_000_000);
        check_memory(&samples, 3, 9_500_000_000);
        let estimate = learned(&subject("demo", 8, 4), &samples);
        assert_eq!(estimate.basis, Basis::Release { builds: 1 });
        assert_eq!(
            estimate.cold_cpu_ms,
            Some(Spread {
                low: 504_000,
                likely: 672_000,
                high: 840_000
            })
        );
        assert_eq!(estimate.compile_ms(672_000, 2), 336_000);
    }

    #[test]
    fn one_great_compiler_is_not_halved_with_their_number() {
        // Four held 12 GiB, one of them 10 alone: found when one ran alone.
        let samples = [built("demo", 4, 12 * GIB, 1), built("demo", 1, 10 * GIB, 1)];
        check_memory(&samples, 1, 10 * GIB * 5 / 4);
        check_memory(&samples, 4, 12 * GIB * 5 / 4);
        check_memory(&samples, 5, 50 * GIB * 5 / 4);
    }

    #[test]
    fn of_peaks_the_most_counts_and_of_times_the_mean() {
        let samples = [
            built("demo", 1, 2 * GIB, 10 * MINUTE_MS),
            built("demo", 1, 6 * GIB, 20 * MINUTE_MS),
            built("demo", 1, 3 * GIB, 30 * MINUTE_MS),
        ];
        check_memory(&samples, 1, 6 * GIB * 5 / 4);
        let estimate = learned(&subject("demo", 12, 4), &samples);
        assert_eq!(
            estimate.cold_cpu_ms,
            Some(Spread {
                low: 10 * MINUTE_MS,
                likely: 20 * MINUTE_MS,
                high: 30 * MINUTE_MS
            })
        );
    }

    #[test]
    fn only_the_newest_builds_count() {
        let mut samples: Vec<_> = (0..20).map(|_| built("demo", 1, 2 * GIB, 1)).collect();
        let mut old = built("demo", 1, 50 * GIB, 1);
        old.at = "2025-01-01T00:00:00Z".to_owned();
        samples.insert(0, old);
        check_memory(&samples, 1, 2 * GIB * 5 / 4);
    }

    #[test]
    fn running_out_of_memory_says_that_it_needs_more_than_it_had() {
        // Not how much it needs: with fewer compilers it may do.
        check_memory(&[killed("demo", 4, 16 * GIB)], 4, 20 * GIB);
        check_memory(&[killed("demo", 4, 16 * GIB)], 1, 12 * GIB);
        check_memory(&[killed("demo", 1, 16 * GIB)], 1, 20 * GIB);
        let samples = [killed("demo", 4, 16 * GIB), built("demo", 2, 14 * GIB, 1)];
        check_memory(&samples, 2, 14 * GIB * 5 / 4);
        check_memory(&samples, 4, 28 * GIB * 5 / 4);
        let nothing = learned(&subject("demo", 12, 4), &[killed("demo", 4, 16 * GIB)]);
        assert_eq!(nothing.basis, Basis::Declared);
    }

    #[test]
    fn a_build_from_the_cache_says_nothing_of_cold_ones() {
        let warm = with_objects(built("demo", 2, GIB / 2, MINUTE_MS), 10, 0);
        let estimate = learned(&subject("demo", 12, 4), std::slice::from_ref(&warm));
        assert_eq!(estimate.basis, Basis::Declared);
        assert_eq!(estimate.memory.bytes(1), 12 * GIB);

        let cold = with_objects(built("demo", 2, 6 * GIB, 20 * MINUTE_MS), 10, 10);
        let estimate = learned(&subject("demo", 12, 4), &[warm, cold]);
        assert_eq!(estimate.basis, Basis::Release { builds: 1 });
        assert_eq!(estimate.cold_cpu_ms.unwrap().likely, 20 * MINUTE_MS);
        assert_eq!(estimate.warm_cpu_ms.unwrap().likely, MINUTE_MS);
        assert_eq!(estimate.memory.bytes(2), 6 * GIB * 5 / 4);
        assert_eq!(estimate.objects, Some(10));
    }

    #[test]
    fn the_rest_of_a_build_is_scaled_to_all_of_its_objects() {
        let warm = with_objects(built("demo", 2, GIB / 2, MINUTE_MS), 10, 0);
        let rest = with_objects(built("demo", 1, 9 * GIB, 5 * MINUTE_MS), 10, 4);
        let estimate = learned(&subject("demo", 12, 4), &[warm, rest]);
        assert_eq!(estimate.cold_cpu_ms.unwrap().likely, 11 * MINUTE_MS);
        // The peak of the six others is not known, so what is declared stays the least.
        assert_eq!(estimate.memory.bytes(1), 12 * GIB);
        assert_eq!(estimate.memory.bytes(2), 18 * GIB * 5 / 4);
    }

    #[test]
    fn another_release_or_arch_count_teaches_less_surely() {
        let mut of_one_arch = built("demo", 1, 4 * GIB, 10 * MINUTE_MS);
        of_one_arch.targets = 1;
        let estimate = learned(&subject("demo", 12, 4), &[of_one_arch]);
        assert_eq!(estimate.basis, Basis::Package { builds: 1 });
        assert_eq!(estimate.cold_cpu_ms.unwrap().likely, 20 * MINUTE_MS);
        assert_eq!(estimate.cold_cpu_ms.unwrap().high, 50 * MINUTE_MS);
        assert_eq!(estimate.memory.bytes(1), 6 * GIB);
        assert_eq!(estimate.objects, None);
    }

    #[test]
    fn other_stages_are_those_of_the_release_if_there_are_any() {
        let of = |package: &str, version: &str, other_ms| StageTimes {
            package: package.parse().unwrap(),
            version: version.to_owned(),
            other_ms,
        };
        let stages = vec![
            of("demo", "1.0", 10),
            of("demo", "2.0", 30),
            of("x", "1", 80),
        ];
        let history = History::new([]).with_stages(stages);
        let other_ms = |package: &str, version: &str| {
            let mut subject = subject(package, 12, 4);
            version.clone_into(&mut subject.version);
            history.estimate_of(&subject).other_ms
        };
        assert_eq!(other_ms("demo", "1.0"), Some(10));
        assert_eq!(other_ms("demo", "3.0"), Some(20));
        assert_eq!(other_ms("new", "1.0"), Some(40));
        assert_eq!(learned(&subject("demo", 12, 4), &[]).other_ms, None);
    }

    fn any_sample() -> impl Strategy<Value = Sample> {
        let ends = prop::bool::weighted(0.3);
        (1..32_u32, 0..40 * GIB, ends, 0..3_u64, 1..3_u32).prop_map(
            |(compilers, bytes, is_killed, compiled, targets)| {
                let mut sample = if is_killed {
                    killed("demo", compilers, bytes)
                } else {
                    with_objects(built("demo", compilers, bytes, 1000), 2, compiled)
                };
                sample.targets = targets;
                sample
            },
        )
    }

    proptest! {
        #[test]
        fn more_compilers_never_need_less(samples in prop::collection::vec(any_sample(), 0..30)) {
            let estimate = learned(&subject("demo", 12, 4), &samples);
            for compilers in 1..40 {
                let need = estimate.memory.bytes(compilers);
                prop_assert!(need <= estimate.memory.bytes(compilers + 1));
            }
            for memory_bytes in [GIB, 7 * GIB, 24 * GIB, 300 * GIB] {
                match estimate.memory.compilers_in(memory_bytes, 40) {
                    None => prop_assert!(estimate.memory.bytes(1) > memory_bytes),
                    Some(most) => prop_assert!(estimate.memory.bytes(most) <= memory_bytes),
                }
            }
        }

        /// What was once held, or was not enough, is never given again to as many compilers.
        #[test]
        fn what_was_seen_is_covered(samples in prop::collection::vec(any_sample(), 0..15)) {
            let estimate = learned(&subject("demo", 12, 4), &samples);
            let of_release = samples.iter().filter(|sample| sample.targets == 2);
            for sample in of_release.filter(|sample| compiled(sample) == Compiled::All) {
                let need = estimate.memory.bytes(sample.grant.compilers);
                let seen = match sample.end {
                    SampleEnd::Done => sample.peak_memory_bytes.unwrap(),
                    SampleEnd::OutOfMemory => sample.grant.memory_bytes + sample.grant.memory_bytes / 4,
                };
                prop_assert!(need >= seen, "{need} {seen}");
            }
        }

        #[test]
        fn the_order_of_samples_does_not_matter(
            samples in prop::collection::vec((any_sample(), 0..60_u32), 0..15),
        ) {
            let mut samples: Vec<_> = samples.into_iter().enumerate().map(|(at, (mut sample, _))| {
                sample.at = format!("2026-11-20T00:00:{at:02}Z");
                sample
            }).collect();
            let subject = subject("demo", 12, 4);
            let first = learned(&subject, &samples);
            samples.reverse();
            prop_assert_eq!(&first, &learned(&subject, &samples));
            let mut history = History::default();
            for sample in samples {
                history.add(sample);
            }
            prop_assert_eq!(&first, &history.estimate_of(&subject));
        }
    }
}
