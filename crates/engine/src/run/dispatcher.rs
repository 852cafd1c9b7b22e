//! Starts jobs, hears what they say, begins those again that failed in passing, and sees all to their
//! end.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{self, Instant};
use wheelfarm_core::estimate::Grant;
use wheelfarm_core::ident::JobId;
use wheelfarm_core::outcome::{Blame, Failure, Outcome, Remedy};
use wheelfarm_core::plan::{Job, Need};

use super::JobSummary;
use super::adopt::Adopted;
use super::job::{Assignment, JobContext};
use crate::container::Engine;
use crate::event::{Event, Reporter};

/// A job that is not running, and has not ended.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) job: Job,
    pub(super) need: Need,
    pub(super) adopted: Option<Adopted>,
    pub(super) tries: Tries,
    /// What it is to be given, when it ran out of what it had.
    pub(super) asks: Option<Grant>,
    /// Before which it is not begun.
    pub(super) not_before: Instant,
}

/// How often a job has been begun, and begun again for which reason.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tries {
    attempts: u32,
    later: u32,
    engine: u32,
    room: u32,
}

impl Waiting {
    pub(super) fn new(job: Job, need: Need, adopted: Option<Adopted>) -> Self {
        Self {
            job,
            need,
            adopted,
            tries: Tries::default(),
            asks: None,
            not_before: Instant::now(),
        }
    }
}

/// A job that runs, with what it takes to begin it again.
#[derive(Debug)]
struct Running {
    job: Job,
    need: Need,
    tries: Tries,
    grant: Grant,
}

pub(super) struct Dispatcher<'a, E: Engine> {
    pub(super) cx: Arc<JobContext<E>>,
    pub(super) inbox: mpsc::Receiver<Event>,
    pub(super) reporter: &'a mut dyn Reporter,
    pub(super) waiting: Vec<Waiting>,
    running: BTreeMap<JobId, Running>,
    tasks: JoinSet<JobSummary>,
    ended: BTreeMap<JobId, JobSummary>,
    /// Jobs in a row that failed through no fault of their own.
    host_failures: u32,
    /// When the engine is asked whether it is there again, and until when.
    engine_away: Option<(Instant, Instant)>,
    /// Set when no further job is begun: the rest would fail alike.
    is_closed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Stop,
    AtOnce,
}

impl<'a, E: Engine> Dispatcher<'a, E> {
    pub(super) fn new(
        cx: Arc<JobContext<E>>,
        inbox: mpsc::Receiver<Event>,
        reporter: &'a mut dyn Reporter,
        waiting: Vec<Waiting>,
    ) -> Self {
        Self {
            cx,
            inbox,
            reporter,
            waiting,
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            ended: BTreeMap::new(),
            host_failures: 0,
            engine_away: None,
            is_closed: false,
        }
    }

    /// Runs until every job has ended or will not be begun.
    pub(super) async fn run(mut self) -> BTreeMap<JobId, JobSummary> {
        let stop = self.cx.stop.clone();
        let mut told = Told::Nothing;
        loop {
            self.start_what_fits();
            let wake = self.wake();
            if self.tasks.is_empty() && wake.is_none() {
                break;
            }
            let wake_at = wake.unwrap_or_else(Instant::now);
            tokio::select! {
                biased;
                () = stop.at_once.cancelled(), if told != Told::AtOnce => {
                    told = Told::AtOnce;
                    self.tell(&Event::Stopping { at_once: true });
                }
                () = stop.stop.cancelled(), if told == Told::Nothing => {
                    told = Told::Stop;
                    self.tell(&Event::Stopping { at_once: false });
                }
                Some(event) = self.inbox.recv() => self.tell(&event),
                Some(ended) = self.tasks.join_next() => self.take(ended),
                () = time::sleep_until(wake_at), if wake.is_some() => self.look_for_engine().await,
            }
        }
        for waiting in std::mem::take(&mut self.waiting) {
            let id = waiting.job.id().clone();
            let summary = JobSummary::without_work(id.clone(), Outcome::NotStarted);
            self.ended.insert(id, summary);
        }
        self.ended
    }

    /// The one way in which anything is told.
    fn tell(&mut self, event: &Event) {
        self.reporter.report(event);
    }

    fn may_start(&self) -> bool {
        !self.is_closed && !self.cx.stop.stop.is_cancelled()
    }

    /// When there is something to do that no running job brings about.
    fn wake(&self) -> Option<Instant> {
        if !self.may_start() || self.waiting.is_empty() {
            return None;
        }
        if let Some((next_look, _)) = self.engine_away {
            return Some(next_look);
        }
        let earliest = self.waiting.iter().map(|waiting| waiting.not_before).min();
        // What could be begun by now waits for room, which a running job makes.
        earliest.filter(|earliest| *earliest > Instant::now())
    }

    fn start_what_fits(&mut self) {
        while self.may_start() && self.engine_away.is_none() {
            let Some((place, grant)) = self.next() else {
                return;
            };
            let waiting = self.waiting.remove(place);
            self.start(waiting, grant);
        }
    }

    /// Which job is begun next, and with what.
    fn next(&self) -> Option<(usize, Grant)> {
        if self.tasks.len() >= self.cx.settings.jobs {
            return None;
        }
        let now = Instant::now();
        let place = self
            .waiting
            .iter()
            .position(|waiting| waiting.not_before <= now)?;
        let waiting = &self.waiting[place];
        let found = waiting.adopted.as_ref().map(|adopted| adopted.note.grant);
        let grant = found
            .or(waiting.asks)
            .unwrap_or_else(|| self.cx.share(&waiting.job.release().resources));
        Some((place, grant))
    }

    fn start(&mut self, waiting: Waiting, grant: Grant) {
        let Waiting {
            job,
            need,
            adopted,
            mut tries,
            ..
        } = waiting;
        let attempt = match &adopted {
            Some(adopted) => adopted.note.attempt,
            None => tries.attempts + 1,
        };
        let is_first = tries.attempts == 0;
        tries.attempts = attempt;
        if is_first {
            self.tell(&Event::JobStarted {
                job: job.id().clone(),
                digest: job.digest(),
                why: need.reason(),
            });
        }
        let running = Running {
            job: job.clone(),
            need,
            tries,
            grant,
        };
        self.running.insert(job.id().clone(), running);
        let cx = Arc::clone(&self.cx);
        let assignment = Assignment {
            job,
            grant,
            attempt,
            adopted,
        };
        self.tasks.spawn(async move { cx.run(assignment).await });
    }

    fn take(&mut self, ended: Result<JobSummary, JoinError>) {
        // What the job said before it ended comes before the news of its end.
        while let Ok(event) = self.inbox.try_recv() {
            self.tell(&event);
        }
        let mut summary = match ended {
            Ok(summary) => summary,
            // A panic is a bug in the farm: it must not pass for a failed build.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let running = self
            .running
            .remove(&summary.job)
            .expect("a job that ends was running");
        summary.attempts = running.tries.attempts;
        if let Outcome::Failed(failure) = &summary.outcome {
            let failure = failure.clone();
            self.count_host_failure(&failure);
            if self.begin_again(running, &failure) {
                return;
            }
        } else {
            self.host_failures = 0;
        }
        self.tell(&Event::JobFinished {
            job: summary.job.clone(),
            outcome: summary.outcome.clone(),
            elapsed: summary.elapsed,
        });
        self.ended.insert(summary.job.clone(), summary);
    }

    fn count_host_failure(&mut self, failure: &Failure) {
        if failure.kind.blame() != Blame::Host {
            self.host_failures = 0;
            return;
        }
        self.host_failures += 1;
        let limit = self.cx.settings.patience.host_failures;
        if self.host_failures >= limit {
            self.close(format!(
                "{limit} failures in a row that are not the jobs' own, the last one: {}",
                failure.detail
            ));
        }
    }

    fn close(&mut self, reason: String) {
        if !self.is_closed {
            self.is_closed = true;
            self.tell(&Event::AdmissionStopped { reason });
        }
    }

    /// Puts a failed job back among those that wait, if that may help.
    fn begin_again(&mut self, running: Running, failure: &Failure) -> bool {
        let Running {
            job,
            need,
            mut tries,
            grant,
        } = running;
        let patience = self.cx.settings.patience;
        let remedy = failure.remedy();
        let now = Instant::now();
        let (count, not_before, asks, text) = match remedy {
            Remedy::None => return false,
            Remedy::MoreMemoryEach => {
                let Some(less) = self.after_out_of_memory(grant) else {
                    return false;
                };
                let text = format!("begins again with {}", describe(less));
                (&mut 0, now, Some(less), text)
            }
            Remedy::Later => {
                let text = format!(
                    "begins again in {} s at the earliest",
                    patience.later.as_secs()
                );
                (&mut tries.later, now + patience.later, None, text)
            }
            Remedy::Engine => {
                let text = "begins again when the engine answers".to_owned();
                (&mut tries.engine, now, None, text)
            }
            Remedy::Room => {
                let text = "begins again when there is room".to_owned();
                (&mut tries.room, now, None, text)
            }
        };
        *count += 1;
        if *count > remedy.tries() || !self.may_start() {
            return false;
        }
        if remedy == Remedy::Engine {
            self.engine_away
                .get_or_insert((now + patience.look_again, now + patience.engine));
        }
        self.tell(&Event::JobRetried {
            job: job.id().clone(),
            failure: failure.clone(),
            remedy: text,
        });
        // What is only to be waited for comes behind the others.
        let place = match remedy {
            Remedy::Later | Remedy::Room => self.waiting.len(),
            Remedy::None | Remedy::Engine | Remedy::MoreMemoryEach => 0,
        };
        let waiting = Waiting {
            job,
            need,
            adopted: None,
            tries,
            asks,
            not_before,
        };
        self.waiting.insert(place, waiting);
        true
    }

    /// What a job is given that ran out of memory with `grant`: half the compilers side by side, and
    /// when there is but one, all the memory that there is.
    fn after_out_of_memory(&self, grant: Grant) -> Option<Grant> {
        let most = self.cx.memory_budget();
        match grant.compilers {
            0 | 1 if grant.memory_bytes >= most => None,
            0 | 1 => Some(Grant {
                memory_bytes: grant.memory_bytes.saturating_mul(2).min(most),
                ..grant
            }),
            several => Some(Grant {
                compilers: several / 2,
                ..grant
            }),
        }
    }

    /// Asks the engine whether it is there again; gives up when it has been away for too long.
    async fn look_for_engine(&mut self) {
        let Some((_, until)) = self.engine_away else {
            return;
        };
        let patience = self.cx.settings.patience;
        let asked = time::timeout(patience.answer, self.cx.engine.describe()).await;
        if matches!(asked, Ok(Ok(_))) {
            self.engine_away = None;
            return;
        }
        let now = Instant::now();
        if now >= until {
            self.engine_away = None;
            let text = format!(
                "the engine has not answered for {} s",
                patience.engine.as_secs()
            );
            self.close(text);
        } else {
            self.engine_away = Some((now + patience.look_again, until));
        }
    }
}

fn describe(grant: Grant) -> String {
    let memory = wheelfarm_core::quantity::ByteSize::from_bytes(grant.memory_bytes);
    match grant.compilers {
        1 => format!("one compiler at a time in {memory}"),
        several => format!("{several} compilers side by side in {memory}"),
    }
}
