//! What a run will take, by letting its jobs in as a run would, with what is expected of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::admission::{Admission, Host, Leaves, TwinKey, Waiting};
use super::history::History;
use super::need::{Basis, Estimate, Spread};
use crate::ident::JobId;
use crate::plan::Job;

/// A job of a run that is to be forecast.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Which.
    pub job: JobId,
    /// What it is expected to need.
    pub estimate: Estimate,
    /// With which others it shares its objects; `None` without a cache.
    pub twin: Option<TwinKey>,
}

/// Whether compiled objects are kept between jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectCache {
    /// Each job compiles everything.
    Off,
    /// Jobs that differ in Python alone compile once.
    On,
}

impl Planned {
    /// What is known of a job.
    pub fn of(job: &Job, history: &History, cache: ObjectCache) -> Self {
        Self {
            job: job.id().clone(),
            estimate: history.estimate(job),
            twin: match cache {
                ObjectCache::Off => None,
                ObjectCache::On => Some(TwinKey::of(job)),
            },
        }
    }
}

/// What a run is expected to take. Times in milliseconds, memory in bytes.
///
/// A store keeps it beside what the run took, hence serde; its keys are schema 1 of that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Forecast {
    /// In the order in which they are let in.
    pub jobs: Vec<JobForecast>,
    /// From the first job's start to the last one's end. `likely` and `low` leave out what is not
    /// known; in `high` the unknown take all the time that their packages allow them.
    pub makespan_ms: Spread,
    /// Processor time of the compilations. Leaves the unknown out.
    pub cpu_ms: Spread,
    /// The most memory that is set aside for jobs at one time.
    pub peak_memory_bytes: u64,
}

/// What one job is expected to take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct JobForecast {
    /// Which.
    pub job: JobId,
    /// What that rests on.
    pub basis: Basis,
    /// Another job that compiles the same objects before it.
    pub after: Option<JobId>,
    /// When it begins, from the start of the run.
    pub starts_ms: u64,
    /// How long it takes; `None`: not known.
    pub wall_ms: Option<u64>,
    /// Processor time of its compilation; `None`: not known.
    pub cpu_ms: Option<u64>,
    /// Compilers side by side.
    pub compilers: u32,
    /// The memory that is set aside for it.
    pub memory_bytes: u64,
    /// By how much that is less than what it may need.
    pub lacks_bytes: u64,
}

impl Forecast {
    /// The jobs that nothing is known of but what their packages declare.
    pub fn unknown(&self) -> impl Iterator<Item = &JobId> {
        let unknown = self.jobs.iter().filter(|job| job.wall_ms.is_none());
        unknown.map(|job| &job.job)
    }

    /// Whether any job's time is known.
    pub fn says_when(&self) -> bool {
        self.jobs.iter().any(|job| job.wall_ms.is_some())
    }
}

/// Lets the jobs in as a run would, three times: as is likely, at best and at worst.
///
/// The times of all jobs at once are taken to be good or bad, so the truth lies within more often
/// than the word for one job says.
pub fn forecast(jobs: &[Planned], host: Host) -> Forecast {
    let likely = Simulation::run(jobs, host, Case::Likely);
    let low = Simulation::run(jobs, host, Case::Low);
    let high = Simulation::run(jobs, host, Case::High);
    // Shorter jobs may end up in a worse order: a scheduler's anomaly is no good news.
    let likely_ms = likely.ends_ms;
    Forecast {
        makespan_ms: Spread {
            low: low.ends_ms.min(likely_ms),
            likely: likely_ms,
            high: high.ends_ms.max(likely_ms),
        },
        cpu_ms: Spread {
            low: low.cpu_ms.min(likely.cpu_ms),
            likely: likely.cpu_ms,
            high: high.cpu_ms.max(likely.cpu_ms),
        },
        peak_memory_bytes: likely.peak_memory_bytes,
        jobs: likely.jobs,
    }
}

#[derive(Debug, Clone, Copy)]
enum Case {
    Low,
    Likely,
    High,
}

impl Case {
    fn of(self, spread: Spread) -> u64 {
        match self {
            Self::Low => spread.low,
            Self::Likely => spread.likely,
            Self::High => spread.high,
        }
    }
}

#[derive(Default)]
struct Simulation {
    jobs: Vec<JobForecast>,
    ends_ms: u64,
    cpu_ms: u64,
    peak_memory_bytes: u64,
}

impl Simulation {
    fn run(planned: &[Planned], host: Host, case: Case) -> Self {
        let mut simulation = Self::default();
        let mut admission = Admission::new(host);
        let mut waiting: Vec<&Planned> = planned.iter().collect();
        let mut first_twin: BTreeMap<TwinKey, JobId> = BTreeMap::new();
        // By their end, those of one time in the order in which they came.
        let mut running: BTreeMap<(u64, usize), &Planned> = BTreeMap::new();
        let mut now_ms = 0;
        loop {
            loop {
                let list: Vec<_> = waiting.iter().map(|planned| planned.as_waiting()).collect();
                let Some(admitted) = admission.admit(&list) else {
                    break;
                };
                let planned = waiting.remove(admitted.index);
                let is_warm = admission.is_warm(planned.twin);
                let mut job = planned.forecast(admitted.grant.compilers, is_warm, case);
                job.starts_ms = now_ms;
                job.memory_bytes = admitted.grant.memory_bytes;
                job.lacks_bytes = admitted.lacks_bytes;
                if let Some(twin) = planned.twin {
                    job.after = first_twin.get(&twin).cloned().filter(|_| is_warm);
                    first_twin.entry(twin).or_insert_with(|| job.job.clone());
                }
                let took_ms = job.wall_ms.unwrap_or(match case {
                    Case::Low | Case::Likely => 0,
                    Case::High => planned.at_most_ms(),
                });
                running.insert(
                    (now_ms.saturating_add(took_ms), simulation.jobs.len()),
                    planned,
                );
                simulation.cpu_ms = simulation.cpu_ms.saturating_add(job.cpu_ms.unwrap_or(0));
                simulation.jobs.push(job);
            }
            let held = admission.held().memory_bytes;
            simulation.peak_memory_bytes = simulation.peak_memory_bytes.max(held);
            let Some(((ends_ms, _), ended)) = running.pop_first() else {
                break;
            };
            now_ms = ends_ms;
            admission.release(&ended.job, Leaves::Objects);
        }
        simulation.ends_ms = now_ms;
        simulation
    }
}

impl Planned {
    fn as_waiting(&self) -> Waiting<'_> {
        Waiting {
            job: &self.job,
            estimate: &self.estimate,
            twin: self.twin,
            wants: None,
        }
    }

    fn at_most_ms(&self) -> u64 {
        let other_ms = self.estimate.other_ms.unwrap_or(0);
        self.estimate.time_limit_ms.saturating_add(other_ms)
    }

    fn forecast(&self, compilers: u32, is_warm: bool, case: Case) -> JobForecast {
        let estimate = &self.estimate;
        let cpu_ms = if is_warm {
            estimate.warm_cpu_ms
        } else {
            estimate.cold_cpu_ms
        };
        let cpu_ms = cpu_ms.map(|spread| case.of(spread));
        let wall_ms = cpu_ms.map(|cpu_ms| {
            let compile_ms = estimate.compile_ms(cpu_ms, compilers);
            compile_ms.saturating_add(estimate.other_ms.unwrap_or(0))
        });
        JobForecast {
            job: self.job.clone(),
            basis: estimate.basis,
            after: None,
            starts_ms: 0,
            wall_ms,
            cpu_ms,
            compilers,
            memory_bytes: 0,
            lacks_bytes: 0,
        }
    }
}

/// How a forecast compares with what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Accuracy {
    /// What was expected, in milliseconds.
    pub makespan_ms: Spread,
    /// What it took, in milliseconds.
    pub took_ms: u64,
    /// By how many percent of what was likely that is longer; shorter when below zero. `None`: nothing
    /// was known of any job.
    pub percent: Option<i64>,
    /// Whether it lies between the least and the most that were expected.
    pub within: bool,
    /// Jobs of which nothing was known.
    pub unknown: u64,
}

/// Holds a run's forecast against the wall time that the run took, in milliseconds. Only for a run
/// that ended as it was meant to: one that was stopped says nothing.
pub fn accuracy(forecast: &Forecast, took_ms: u64) -> Accuracy {
    let expected = forecast.makespan_ms;
    let percent = || {
        let likely = i128::from(expected.likely);
        let off = (i128::from(took_ms) - likely) * 100;
        // To the nearest, away from zero in the middle.
        let rounded = (off.abs() * 2 + likely) / (likely * 2) * off.signum();
        i64::try_from(rounded).ok()
    };
    Accuracy {
        makespan_ms: expected,
        took_ms,
        percent: (forecast.says_when() && expected.likely > 0)
            .then(percent)
            .flatten(),
        within: (expected.low..=expected.high).contains(&took_ms),
        unknown: u64::try_from(forecast.unknown().count()).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Sample;
    use super::super::fixture::{GIB, MINUTE_MS, built, learned, subject, with_objects};
    use super::*;
    use crate::digest::Sha256Digest;

    const HOST: Host = Host {
        cpus: 2,
        memory_bytes: 24 * GIB,
        jobs: Some(1),
    };

    fn planned(name: &str, samples: &[Sample]) -> Planned {
        Planned {
            job: name.parse().unwrap(),
            estimate: learned(&subject("demo", 12, 4), samples),
            twin: None,
        }
    }

    fn twins(name: &str, samples: &[Sample]) -> Planned {
        Planned {
            twin: Some(Sha256Digest::of(b"demo").into()),
            ..planned(name, samples)
        }
    }

    #[test]
    fn one_job_takes_what_it_took() {
        let samples = [built("demo", 2, 4 * GIB, 20 * MINUTE_MS)];
        let forecast = forecast(&[planned("demo", &samples)], HOST);
        let job = &forecast.jobs[0];
        assert_eq!(
            (job.wall_ms, job.cpu_ms),
            (Some(10 * MINUTE_MS), Some(20 * MINUTE_MS))
        );
        assert_eq!((job.compilers, job.memory_bytes), (2, 5 * GIB));
        assert_eq!(forecast.makespan_ms.likely, 10 * MINUTE_MS);
        assert_eq!(forecast.makespan_ms.high, 10 * MINUTE_MS * 5 / 4);
        assert_eq!(forecast.peak_memory_bytes, 5 * GIB);
    }

    #[test]
    fn twins_are_compiled_once() {
        let samples = [
            with_objects(built("demo", 2, 4 * GIB, 20 * MINUTE_MS), 3, 3),
            with_objects(built("demo", 2, GIB, 2 * MINUTE_MS), 3, 0),
        ];
        let jobs = [twins("cp311", &samples), twins("cp313", &samples)];
        let forecast = forecast(&jobs, HOST);
        assert_eq!(forecast.cpu_ms.likely, 22 * MINUTE_MS);
        assert_eq!(forecast.makespan_ms.likely, 11 * MINUTE_MS);
        assert_eq!(forecast.jobs[1].after.as_ref().unwrap().as_str(), "cp311");
        let apart = jobs.map(|job| Planned { twin: None, ..job });
        assert_eq!(super::forecast(&apart, HOST).cpu_ms.likely, 40 * MINUTE_MS);
    }

    #[test]
    fn the_unknown_are_named_and_bound_the_worst_only() {
        let samples = [built("demo", 2, 4 * GIB, 20 * MINUTE_MS)];
        let jobs = [planned("known", &samples), planned("new", &[])];
        let forecast = forecast(&jobs, HOST);
        let unknown: Vec<_> = forecast.unknown().map(JobId::as_str).collect();
        assert_eq!(unknown, ["new"]);
        assert_eq!(forecast.makespan_ms.likely, 10 * MINUTE_MS);
        assert_eq!(
            forecast.makespan_ms.high,
            120 * MINUTE_MS + 10 * MINUTE_MS * 5 / 4
        );
        assert_eq!(forecast.peak_memory_bytes, 12 * GIB);
        assert!(!super::forecast(&jobs[1..], HOST).says_when());
    }

    #[test]
    fn a_forecast_comes_back_from_its_text() {
        let samples = [built("demo", 2, 4 * GIB, 20 * MINUTE_MS)];
        let forecast = forecast(&[planned("a", &samples), planned("b", &[])], HOST);
        let text = serde_json::to_string(&forecast).unwrap();
        assert_eq!(serde_json::from_str::<Forecast>(&text).unwrap(), forecast);
    }

    #[test]
    fn a_run_is_held_against_its_forecast() {
        let samples = [built("demo", 2, 4 * GIB, 20 * MINUTE_MS)];
        let forecast = forecast(&[planned("demo", &samples)], HOST);
        let of = |took_ms| {
            let held = accuracy(&forecast, took_ms);
            (held.percent, held.within)
        };
        assert_eq!(of(10 * MINUTE_MS), (Some(0), true));
        assert_eq!(of(11 * MINUTE_MS), (Some(10), true));
        assert_eq!(of(5 * MINUTE_MS), (Some(-50), false));
        assert_eq!(of(20 * MINUTE_MS), (Some(100), false));
        let nothing = super::forecast(&[planned("new", &[])], HOST);
        assert_eq!(accuracy(&nothing, 5).percent, None);
    }

    proptest! {
        /// No schedule is faster than all cores at work, none slower than one job after the other on
        /// one core.
        #[test]
        fn a_makespan_lies_between_what_is_possible_and_what_is_worst(
            jobs in prop::collection::vec((1..20_u64, 1..500_u64), 1..20),
            (cpus, gib) in (1..32_u32, 24..200_u64),
        ) {
            let planned: Vec<_> = jobs.iter().enumerate().map(|(n, (peak, minutes))| {
                planned(&format!("job{n}"), &[built("demo", 1, peak * GIB, minutes * MINUTE_MS)])
            }).collect();
            let host = Host { cpus, memory_bytes: gib * GIB, jobs: None };
            let forecast = forecast(&planned, host);
            prop_assert_eq!(forecast.jobs.len(), jobs.len());
            let Spread { low, likely, high } = forecast.makespan_ms;
            prop_assert!(low <= likely && likely <= high);
            prop_assert!(likely <= forecast.cpu_ms.likely);
            prop_assert!(likely >= forecast.cpu_ms.likely / u64::from(cpus));
            prop_assert!(forecast.peak_memory_bytes <= host.memory_bytes);
        }
    }
}
