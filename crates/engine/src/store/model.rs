//! A law: whatever is told, in whatever order, the tables are what the events come to.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the model has a function for each kind of event"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::{Strategy, any, prop};
use proptest::{prop_assert_eq, proptest};
use serde_json::{Value, json};
use wheelfarm_core::estimate::Sample;
use wheelfarm_core::ident::JobId;
use wheelfarm_core::outcome::{Failure, Outcome, Stage};

use super::tests::{at, facts, failure, finished, fresh, grant, job, sample, started, temporary};
use super::{
    AttemptRecord, FailureRecord, History, JobRecord, JobState, RetryRecord, StageRecord, stamp,
};
use crate::event::Event;

/// The tables as one who reads the events would draw them up.
#[derive(Default)]
struct Model {
    jobs: BTreeMap<JobId, JobRecord>,
    samples: Vec<Sample>,
    events: Vec<Value>,
    ended_at: Option<String>,
    planned: Option<u64>,
    stopped: Option<String>,
    forecast: Option<Value>,
}

impl Model {
    fn job(&mut self, job: &JobId) -> &mut JobRecord {
        let empty = JobRecord {
            job: job.clone(),
            digest: None,
            package: None,
            version: None,
            channel: None,
            why: None,
            state: JobState::Running,
            started_at: None,
            ended_at: None,
            elapsed_ms: None,
            failure: None,
            stages: Vec::new(),
            attempts: Vec::new(),
            retries: Vec::new(),
        };
        self.jobs.entry(job.clone()).or_insert(empty)
    }

    fn attempt(&mut self, job: &JobId, number: u32) -> &mut AttemptRecord {
        let attempts = &mut self.job(job).attempts;
        let place = attempts.partition_point(|it| it.attempt < number);
        if attempts.get(place).is_none_or(|it| it.attempt != number) {
            attempts.insert(
                place,
                AttemptRecord {
                    attempt: number,
                    grant: None,
                    adopted: None,
                    started_at: None,
                    ended_at: None,
                    sample: None,
                },
            );
        }
        &mut attempts[place]
    }

    fn take(&mut self, now: &str, event: &Event) {
        let text = || Some(now.to_owned());
        if !matches!(event, Event::Line { .. }) {
            self.events.push(event.to_json());
        }
        match event {
            Event::RunStarted { jobs } => self.planned = Some(u64::try_from(*jobs).unwrap()),
            Event::RunForecast { forecast } => self.forecast = Some(forecast.clone()),
            Event::AdmissionStopped { reason } => {
                self.stopped.get_or_insert(reason.clone());
            }
            Event::RunFinished { .. } => self.ended_at = text(),
            _ => self.take_of_job(now, event),
        }
    }

    fn take_of_job(&mut self, now: &str, event: &Event) {
        let text = || Some(now.to_owned());
        match event {
            Event::JobUpToDate { job } => {
                let job = self.job(job);
                (job.state, job.ended_at) = (JobState::UpToDate, text());
            }
            Event::JobStarted {
                job,
                digest,
                package,
                version,
                channel,
                why,
            } => {
                let before = self.job(job).clone();
                *self.job(job) = JobRecord {
                    job: job.clone(),
                    digest: Some(*digest),
                    package: Some(package.clone()),
                    version: Some(version.clone()),
                    channel: Some(channel.clone()),
                    why: Some((*why).to_owned()),
                    state: JobState::Running,
                    started_at: text(),
                    ended_at: None,
                    elapsed_ms: None,
                    failure: None,
                    ..before
                };
            }
            Event::StageStarted { job, stage } => {
                let record = StageRecord {
                    stage: *stage,
                    started_at: now.to_owned(),
                    wall_ms: None,
                };
                self.job(job).stages.push(record);
            }
            Event::StageFinished {
                job,
                stage,
                elapsed,
            } => {
                let wall_ms = u64::try_from(elapsed.as_millis()).unwrap();
                let stages = self.jobs.get_mut(job).map(|job| job.stages.iter_mut());
                let last = stages.and_then(|stages| stages.rev().find(|it| it.stage == *stage));
                if let Some(last) = last {
                    last.wall_ms.get_or_insert(wall_ms);
                }
            }
            _ => self.take_of_attempt(now, event),
        }
    }

    fn take_of_attempt(&mut self, now: &str, event: &Event) {
        let text = || Some(now.to_owned());
        match event {
            Event::AttemptStarted {
                job,
                attempt,
                grant,
                adopted,
            } => {
                *self.attempt(job, *attempt) = AttemptRecord {
                    attempt: *attempt,
                    grant: Some(*grant),
                    adopted: Some(*adopted),
                    started_at: text(),
                    ended_at: None,
                    sample: None,
                };
            }
            Event::AttemptEnded {
                job,
                attempt,
                sample,
            } => {
                let record = self.attempt(job, *attempt);
                record.ended_at = text();
                record.sample.clone_from(sample);
                self.samples.extend(sample.clone());
            }
            Event::JobRetried {
                job,
                failure,
                remedy,
            } => {
                let record = RetryRecord {
                    at: now.to_owned(),
                    failure: failed(failure),
                    remedy: remedy.clone(),
                };
                self.job(job).retries.push(record);
            }
            Event::JobFinished {
                job,
                outcome,
                elapsed,
            } => {
                let job = self.job(job);
                job.state = serde_json::from_value(json!(outcome.as_str())).unwrap();
                job.ended_at = text();
                job.elapsed_ms = Some(u64::try_from(elapsed.as_millis()).unwrap());
                job.failure = match outcome {
                    Outcome::Failed(failure) => Some(failed(failure)),
                    Outcome::Built
                    | Outcome::UpToDate
                    | Outcome::Rehearsed
                    | Outcome::Cancelled
                    | Outcome::NotStarted => None,
                };
            }
            _ => {}
        }
    }
}

fn failed(failure: &Failure) -> FailureRecord {
    FailureRecord {
        stage: failure.stage,
        kind: failure.kind.as_str().to_owned(),
        detail: failure.detail.clone(),
        hint: failure.hint.clone(),
    }
}

/// Any event about one of three jobs, in any order: more than a run can say.
fn events() -> impl Strategy<Value = Event> {
    (0..18_u8, 0..3_usize, 0..10_usize, 1..4_u32, any::<u16>()).prop_map(
        |(kind, n, stage, attempt, amount)| {
            let job = job(n);
            let stage = Stage::ALL[stage];
            let elapsed = Duration::from_millis(u64::from(amount));
            let text = format!("text {amount}");
            match kind {
                0 => Event::RunStarted {
                    jobs: usize::from(amount),
                },
                1 => Event::JobUpToDate { job },
                2 | 3 => started(n),
                4 | 5 => Event::StageStarted { job, stage },
                6 | 7 => Event::StageFinished {
                    job,
                    stage,
                    elapsed,
                },
                8 => Event::AttemptStarted {
                    job,
                    attempt,
                    grant: grant(attempt),
                    adopted: amount % 2 == 0,
                },
                9 => Event::AttemptEnded {
                    job,
                    attempt,
                    sample: (amount % 3 > 0).then(|| sample(n, u64::from(amount % 12))),
                },
                10 => Event::JobRetried {
                    job,
                    failure: failure(stage, &text),
                    remedy: "again".to_owned(),
                },
                11 => finished(n, Outcome::Built),
                12 => finished(n, Outcome::Failed(failure(stage, &text))),
                13 => Event::AdmissionStopped { reason: text },
                14 => Event::Line { job, text },
                15 => Event::Note { job, text },
                16 => Event::RunForecast {
                    forecast: json!({ "wall_ms": amount }),
                },
                _ => Event::RunFinished { elapsed },
            }
        },
    )
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    #[test]
    fn the_tables_are_what_the_events_come_to(
        batches in prop::collection::vec(prop::collection::vec(events(), 0..12), 0..8),
    ) {
        let (_folder, path) = temporary();
        let mut store = fresh(&path);
        let run = store.begin_run(at(0), &facts()).unwrap();
        let begun = store.history().last_seq().unwrap();
        let mut model = Model::default();
        for (second, batch) in (1..).zip(&batches) {
            store.record(run, at(second), batch).unwrap();
            for event in batch {
                model.take(&stamp(at(second)), event);
            }
        }
        drop(store);
        let history = History::open(&path).unwrap();
        let detail = history.run(run).unwrap().unwrap();
        let jobs: Vec<_> = model.jobs.into_values().collect();
        prop_assert_eq!(&detail.jobs, &jobs);
        prop_assert_eq!(detail.run.ended_at, model.ended_at);
        prop_assert_eq!(detail.run.jobs, model.planned);
        prop_assert_eq!(detail.run.admission_stopped, model.stopped);
        prop_assert_eq!(detail.run.forecast, model.forecast);
        let events = history.events_after(begun, u32::MAX).unwrap();
        let events: Vec<_> = events.into_iter().map(|event| event.event).collect();
        prop_assert_eq!(events, model.events);
        prop_assert_eq!(history.samples(u32::MAX).unwrap(), model.samples);
        for job in &jobs {
            let counted = jobs.iter().filter(|other| other.state == job.state).count();
            let kept = detail.run.counts[&job.state];
            prop_assert_eq!(kept, u64::try_from(counted).unwrap());
        }
    }
}
