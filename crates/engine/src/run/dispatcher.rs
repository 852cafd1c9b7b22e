//! Starts jobs, hears what they say, begins those again that failed in passing, and sees all to their
//! end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{self, Instant};
use wheelfarm_core::diagnostic::chain;
use wheelfarm_core::estimate::{
    self, Admission, Estimate, Forecast, Grant, History, Host, Leaves, NoMoreMemory, ObjectCache,
    Planned, Sample, TwinKey,
};
use wheelfarm_core::ident::JobId;
use wheelfarm_core::outcome::{Blame, Failure, FailureKind, Outcome, Remedy, Stage};
use wheelfarm_core::plan::{Job, Need};
use wheelfarm_core::quantity::ByteSize;

use super::adopt::Adopted;
use super::job::{Assignment, JobContext};
use super::teller::Teller;
use super::{BuildMode, EVENTS_AHEAD, JobSummary};
use crate::container::{Engine, EngineError};
use crate::event::Event;
use crate::farm_folder::on_record;
use crate::host::clear::{Cleared, RoomRequest, make_room};
use crate::host::disk::{DiskLedger, LeaseError};
use crate::host::verdict::Wanted;

/// A job that is not running, and has not ended.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) job: Job,
    pub(super) need: Need,
    pub(super) adopted: Option<Adopted>,
    pub(super) tries: Tries,
    /// What it must have, when it ran out of what it had.
    pub(super) wants: Option<Grant>,
    /// Before which it is not begun.
    pub(super) not_before: Instant,
    /// What it is expected to need; asked for anew when something was learned.
    estimate: Option<Estimate>,
    /// With which others it shares its objects; `None` without a cache.
    twin: Option<TwinKey>,
    /// How it failed, when it is to begin again.
    failed: Option<JobSummary>,
}

/// How often a job has been begun, and begun again for which reason.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tries {
    attempts: u32,
    later: u32,
    engine: u32,
    room: u32,
    /// Whether what nobody needs was let go of for its sake.
    asked_for_room: bool,
}

impl Waiting {
    pub(super) fn new(job: Job, need: Need, adopted: Option<Adopted>, cache: ObjectCache) -> Self {
        Self {
            twin: (cache == ObjectCache::On).then(|| TwinKey::of(&job)),
            failed: None,
            job,
            need,
            adopted,
            tries: Tries::default(),
            wants: None,
            estimate: None,
            not_before: Instant::now(),
        }
    }
}

/// How a failed job begins again.
#[derive(Debug)]
struct Again {
    tries: Tries,
    wants: Option<Grant>,
    after: Duration,
    text: String,
}

/// Why it does not, beyond what the failure says.
#[derive(Debug, Default)]
struct NoMore {
    kind: Option<FailureKind>,
    detail: Option<String>,
    hint: Option<String>,
}

/// A job that runs, with what it takes to begin it again.
#[derive(Debug)]
struct Running {
    job: Job,
    need: Need,
    tries: Tries,
    grant: Grant,
    wants: Option<Grant>,
    estimate: Estimate,
    twin: Option<TwinKey>,
}

pub(super) struct Dispatcher<'a, E: Engine> {
    pub(super) cx: Arc<JobContext<E>>,
    pub(super) inbox: mpsc::Receiver<Event>,
    teller: Teller<'a>,
    pub(super) waiting: Vec<Waiting>,
    running: BTreeMap<JobId, Running>,
    tasks: JoinSet<JobSummary>,
    ended: BTreeMap<JobId, JobSummary>,
    admission: Admission,
    history: History,
    disk: DiskLedger,
    /// Whether something has happened since the last job that was not let in.
    may_fit: bool,
    /// The jobs that failed for good through no fault of their own since the last that did not.
    host_failures: BTreeSet<JobId>,
    /// How many containers of a killed run keep what they hold of the host.
    left_alone: usize,
    /// When the engine is asked whether it is there again, and until when.
    engine_away: Option<(Instant, Instant)>,
    /// Why no further job is begun: the rest would fail alike.
    closed: Option<String>,
}

/// How every job ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) jobs: BTreeMap<JobId, JobSummary>,
    /// Why the rest was not begun, when that was not the user's wish.
    pub(super) closed: Option<String>,
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
        mut teller: Teller<'a>,
        waiting: Vec<Waiting>,
    ) -> Self {
        let (settings, facts) = (&cx.settings, &cx.facts);
        let (out, cache) = (cx.out.root(), &settings.cache);
        let disk = DiskLedger::of_run(facts, out, cache, settings.disk_reserve);
        Self {
            admission: Admission::new(cx.host()),
            history: teller.history(),
            disk,
            may_fit: true,
            cx,
            inbox,
            teller,
            waiting,
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            ended: BTreeMap::new(),
            host_failures: BTreeSet::new(),
            left_alone: 0,
            engine_away: None,
            closed: None,
        }
    }

    /// Leaves to containers of jobs that this run is not about what they hold; `host` is what that leaves.
    /// They are not watched, and so have it until the run ends.
    pub(super) fn leave_alone(&mut self, others: &[&Adopted], host: Host) {
        if others.is_empty() {
            return;
        }
        self.admission = Admission::new(host);
        self.left_alone = others.len();
        for other in others {
            let job = other.staged.job();
            if let Some(job) = self.cx.plan.jobs.iter().find(|one| one.id() == job) {
                let estimate = self.history.estimate(job);
                self.disk.set_aside(disk_of(job, Some(&estimate)));
            }
        }
        let held = others.iter().map(|other| other.note.grant.memory_bytes);
        let (count, held) = (others.len(), ByteSize::from_bytes(held.sum()));
        let text = format!(
            "containers that a killed run left for jobs that this run does not build run on: {count}, which \
             hold {held}; `wheelfarm build` goes on with them"
        );
        self.tell(&Event::RunNote { text });
    }

    /// What the run is expected to take, told before it begins; `None` when nothing is known of any
    /// job, and for a rehearsal, which compiles nothing.
    pub(super) fn forecast(&mut self) -> Option<Forecast> {
        let settings = &self.cx.settings;
        if settings.mode == BuildMode::Rehearse {
            return None;
        }
        let cache = settings.object_cache();
        let jobs = self.waiting.iter();
        let planned: Vec<_> = jobs
            .map(|waiting| Planned::of(&waiting.job, &self.history, cache))
            .collect();
        let forecast = estimate::forecast(&planned, self.admission.host());
        if !forecast.says_when() {
            return None;
        }
        self.tell(&Event::RunForecast {
            forecast: serde_json::json!(forecast),
        });
        Some(forecast)
    }

    /// Runs until every job has ended or will not be begun.
    pub(super) async fn run(mut self) -> Ended {
        let stop = self.cx.stop.clone();
        let begun = Instant::now();
        let mut told = Told::Nothing;
        loop {
            self.start_what_fits().await;
            self.write_down();
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
                Some(event) = self.inbox.recv() => {
                    self.tell(&event);
                    self.hear_the_rest();
                }
                Some(ended) = self.tasks.join_next() => self.take(ended),
                () = time::sleep_until(wake_at), if wake.is_some() => {
                    self.may_fit = true;
                    self.look_for_engine().await;
                }
            }
        }
        for waiting in std::mem::take(&mut self.waiting) {
            let id = waiting.job.id().clone();
            // One that was to begin again has failed, and how is known.
            let summary = waiting
                .failed
                .unwrap_or_else(|| JobSummary::without_work(id, Outcome::NotStarted));
            self.finish(summary);
        }
        self.tell(&Event::RunFinished {
            elapsed: begun.elapsed(),
        });
        self.write_down();
        Ended {
            jobs: self.ended,
            closed: self.closed,
        }
    }

    /// Tells what else has been said by now, so that the store has it in one go.
    fn hear_the_rest(&mut self) {
        // Bounded: a build that never stops talking must not keep the dispatcher from its work.
        for _ in 0..EVENTS_AHEAD {
            let Ok(event) = self.inbox.try_recv() else {
                return;
            };
            self.tell(&event);
        }
    }

    fn write_down(&mut self) {
        if let Some(reason) = self.teller.write_down() {
            self.close(reason);
        }
    }

    /// The one way in which anything is told.
    fn tell(&mut self, event: &Event) {
        if let Event::AttemptEnded {
            sample: Some(sample),
            ..
        } = event
        {
            self.learn(sample.clone());
        }
        self.teller.tell(event);
    }

    /// What one build took says what the next one of its package needs.
    fn learn(&mut self, sample: Sample) {
        let learned = |waiting: &&mut Waiting| *waiting.job.package() == sample.package;
        for waiting in self.waiting.iter_mut().filter(learned) {
            waiting.estimate = None;
        }
        self.history.add(sample);
    }

    fn may_start(&self) -> bool {
        self.closed.is_none() && !self.cx.stop.stop.is_cancelled()
    }

    /// When there is something to do that no running job brings about.
    fn wake(&self) -> Option<Instant> {
        if !self.may_start() || self.waiting.is_empty() {
            return None;
        }
        if let Some((next_look, _)) = self.engine_away {
            return Some(next_look);
        }
        // What could be begun by now waits for memory or room, which a running job gives back.
        let now = Instant::now();
        let times = self.waiting.iter().map(|waiting| waiting.not_before);
        let next = times.filter(|time| *time > now || self.tasks.is_empty());
        next.min()
    }

    async fn start_what_fits(&mut self) {
        if let Some(text) = self.disk.not_checked() {
            let text = text.to_owned();
            self.tell(&Event::RunNote { text });
        }
        while self.may_fit && self.may_start() && self.engine_away.is_none() {
            match self.next().await {
                Some((waiting, grant)) => self.start(waiting, grant),
                None => self.may_fit = false,
            }
        }
    }

    /// The job that is begun next, and what it is given.
    async fn next(&mut self) -> Option<(Waiting, Grant)> {
        if let Some(found) = self.next_adopted() {
            return Some(found);
        }
        let now = Instant::now();
        loop {
            let mut may_run = Vec::new();
            let mut short = None;
            for place in 0..self.waiting.len() {
                if self.waiting[place].not_before > now {
                    continue;
                }
                let waiting = &mut self.waiting[place];
                waiting
                    .estimate
                    .get_or_insert_with(|| self.history.estimate(&waiting.job));
                match self.lease(place) {
                    Ok(()) => {
                        self.disk.release(self.waiting[place].job.id());
                        may_run.push(place);
                    }
                    Err(error) => {
                        short.get_or_insert((place, error));
                    }
                }
            }
            if may_run.is_empty() {
                // Nothing fits on the disk: what nobody needs goes, and if that is not enough, the job
                // waits for others to end, and fails when there are none.
                let (place, error) = short?;
                if self.tasks.is_empty() && self.give_set_aside() {
                    continue;
                }
                if self.room_may_help(place, &error).await {
                    continue;
                }
                if !self.tasks.is_empty() {
                    return None;
                }
                self.fail_for_room(place, &error);
                continue;
            }
            let candidates: Vec<_> = may_run
                .iter()
                .filter_map(|place| candidate(&self.waiting[*place]))
                .collect();
            let admitted = self.admission.admit(&candidates)?;
            let place = may_run[admitted.index];
            if let Err(error) = self.lease(place) {
                let job = self.waiting[place].job.id();
                tracing::warn!(%job, %error, "a job begins although room went in this moment");
            }
            if admitted.lacks_bytes > 0 {
                let lacks = ByteSize::from_bytes(admitted.lacks_bytes);
                let job = self.waiting[place].job.id().clone();
                let text = format!(
                    "is given all the memory there is, {lacks} less than it is expected to need"
                );
                self.tell(&Event::Note { job, text });
            }
            return Some((self.waiting.remove(place), admitted.grant));
        }
    }

    /// A job whose container runs already: what it holds is held, whatever else there is.
    fn next_adopted(&mut self) -> Option<(Waiting, Grant)> {
        let place = self
            .waiting
            .iter()
            .position(|waiting| waiting.adopted.is_some())?;
        let mut waiting = self.waiting.remove(place);
        let estimate = self.history.estimate(&waiting.job);
        waiting.estimate = Some(estimate);
        let grant = waiting.adopted.as_ref()?.note.grant;
        if let Some(candidate) = candidate(&waiting) {
            self.admission.adopt(&candidate, grant);
        }
        let bytes = disk_need(&waiting);
        if let Err(error) = self.disk.try_lease(waiting.job.id(), bytes) {
            tracing::warn!(job = %waiting.job.id(), %error, "a job that runs already may lack room");
        }
        Some((waiting, grant))
    }

    /// Promises a job its room on the engine's disk.
    fn lease(&mut self, place: usize) -> Result<(), LeaseError> {
        let waiting = &self.waiting[place];
        self.disk.try_lease(waiting.job.id(), disk_need(waiting))
    }

    /// Whether room was kept for containers that nobody watches, and is no longer. A job waits for what other jobs
    /// were promised; for these it would wait for ever.
    fn give_set_aside(&mut self) -> bool {
        let bytes = self.disk.give_set_aside();
        if bytes > 0 {
            let text = format!(
                "{} of the disk are no longer kept for containers that a killed run left: jobs have no room otherwise",
                ByteSize::from_bytes(bytes)
            );
            self.tell(&Event::RunNote { text });
        }
        bytes > 0
    }

    /// Whether room was made for a job that the disk is too full for. Tried once for each job, and not when
    /// what is missing is only promised to jobs that run: they give it back.
    async fn room_may_help(&mut self, place: usize, error: &LeaseError) -> bool {
        let LeaseError::Short(short) = error else {
            return false;
        };
        let waits_for_others = short.would_fit_alone() && !self.tasks.is_empty();
        if waits_for_others || self.waiting[place].tries.asked_for_room {
            return false;
        }
        self.waiting[place].tries.asked_for_room = true;
        self.make_room(short.missing_bytes()).await;
        true
    }

    /// Lets go of what the matrix does not need, and makes caches smaller.
    async fn make_room(&mut self, missing_bytes: u64) {
        let cx = Arc::clone(&self.cx);
        let wanted = match self.wanted().await {
            Ok(wanted) => wanted,
            Err(error) => {
                let text = format!("room was not made: {}", chain(&error));
                return self.tell(&Event::RunNote { text });
            }
        };
        let request = RoomRequest {
            missing_bytes,
            wanted: &wanted,
            running: self.running.keys().cloned().collect(),
            cache_bytes: cx.settings.compiler_cache.map(ByteSize::bytes),
            now_s: u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0),
            stop: &cx.stop.stop,
        };
        let farm = &cx.settings.farm;
        match make_room(&cx.engine, &cx.out, farm, request).await {
            Ok(cleared) => {
                let freed: u64 = cleared.iter().map(Cleared::freed_bytes).sum();
                let text = format!(
                    "{} were missing: {} things let go of, {} freed",
                    ByteSize::from_bytes(missing_bytes),
                    cleared.len(),
                    ByteSize::from_bytes(freed)
                );
                self.tell(&Event::RunNote { text });
            }
            Err(error) => {
                let text = format!("room was not made: {}", chain(&error));
                self.tell(&Event::RunNote { text });
            }
        }
    }

    /// What the whole matrix needs, and not only what this run builds of it.
    async fn wanted(&self) -> Result<Wanted, EngineError> {
        let records = on_record(self.cx.out.root()).unwrap_or_default();
        let needs = self.cx.plan.needs(&records);
        let ca_bundle = self.cx.settings.ca_bundle.as_deref();
        Wanted::of(&*self.cx.engine, &needs, ca_bundle).await
    }

    /// A job that no other job's end makes room for.
    fn fail_for_room(&mut self, place: usize, error: &LeaseError) {
        let waiting = self.waiting.remove(place);
        if let Some(failed) = waiting.failed {
            // How it failed before tells more.
            if let Outcome::Failed(failure) = &failed.outcome {
                self.count_host_failure(&failed.job, failure);
            }
            return self.finish(failed);
        }
        let hint = match error {
            LeaseError::Short(short) => Some(short.hint().to_owned()),
            LeaseError::Unreadable(_) => None,
        };
        let failure = Failure {
            stage: Stage::Image,
            kind: FailureKind::DiskFull,
            detail: chain(error),
            hint,
        };
        let outcome = Outcome::Failed(failure);
        let summary = JobSummary::without_work(waiting.job.id().clone(), outcome);
        self.finish(JobSummary {
            attempts: waiting.tries.attempts,
            ..summary
        });
    }

    fn start(&mut self, waiting: Waiting, grant: Grant) {
        let Waiting {
            job,
            need,
            adopted,
            mut tries,
            wants,
            estimate,
            twin,
            ..
        } = waiting;
        let attempt = match &adopted {
            Some(adopted) => adopted.note.attempt,
            None => tries.attempts + 1,
        };
        let is_first = tries.attempts == 0;
        tries.attempts = attempt;
        if is_first {
            self.tell(&Event::job_started(&job, need.reason()));
        }
        let running = Running {
            job: job.clone(),
            need,
            tries,
            grant,
            wants,
            estimate: estimate.expect("a job is let in by its estimate"),
            twin,
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
        self.hear_the_rest();
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
        let is_built = summary.outcome == Outcome::Built;
        let leaves = if is_built && self.cx.settings.object_cache() == ObjectCache::On {
            Leaves::Objects
        } else {
            Leaves::Nothing
        };
        self.admission.release(&summary.job, leaves);
        self.disk.release(&summary.job);
        self.may_fit = true;
        let Outcome::Failed(failure) = summary.outcome.clone() else {
            self.host_failures.clear();
            return self.finish(summary);
        };
        if failure.kind.blame() != Blame::Host {
            self.host_failures.clear();
        }
        self.begin_again_or_finish(running, failure, summary);
    }

    fn finish(&mut self, summary: JobSummary) {
        self.tell(&Event::JobFinished {
            job: summary.job.clone(),
            outcome: summary.outcome.clone(),
            elapsed: summary.elapsed,
        });
        self.ended.insert(summary.job.clone(), summary);
    }

    /// Several jobs that fail alike for good, one after the other, say that the host is at fault. One job that
    /// fails again and again does not; nor do jobs that are begun again, for one engine that goes away, or one
    /// full disk, is met by all that run.
    fn count_host_failure(&mut self, job: &JobId, failure: &Failure) {
        if failure.kind.blame() != Blame::Host {
            return;
        }
        self.host_failures.insert(job.clone());
        let limit = self.cx.settings.patience.host_failures;
        if self.host_failures.len() >= limit {
            self.close(format!(
                "{limit} jobs in a row failed that are not to blame, the last one: {}",
                failure.detail
            ));
        }
    }

    fn close(&mut self, reason: String) {
        if self.closed.is_none() {
            self.closed = Some(reason.clone());
            self.tell(&Event::AdmissionStopped { reason });
        }
    }

    /// Puts a failed job back among those that wait, if that may help.
    fn begin_again_or_finish(
        &mut self,
        running: Running,
        mut failure: Failure,
        mut summary: JobSummary,
    ) {
        let mut again = self.may_start().then(|| self.again(&running, &failure));
        if let Some(Err(NoMore { kind, detail, hint })) = &again {
            if let Some(kind) = kind {
                failure.kind = kind.clone();
            }
            if let Some(detail) = detail {
                failure.detail = format!("{}; {detail}", failure.detail);
            }
            if hint.is_some() {
                failure.hint.clone_from(hint);
            }
            summary.outcome = Outcome::Failed(failure.clone());
            self.count_host_failure(running.job.id(), &failure);
            again = None;
        }
        let Some(Ok(again)) = again else {
            return self.finish(summary);
        };
        let Again {
            tries,
            wants,
            after,
            text,
        } = again;
        let (patience, now) = (self.cx.settings.patience, Instant::now());
        let remedy = failure.remedy();
        if remedy == Remedy::Engine {
            self.engine_away
                .get_or_insert((now + patience.look_again, now + patience.engine));
        }
        self.tell(&Event::JobRetried {
            job: running.job.id().clone(),
            failure,
            remedy: text,
        });
        // What is only to be waited for comes behind the others.
        let place = match remedy {
            Remedy::Later | Remedy::Room => self.waiting.len(),
            Remedy::None | Remedy::Engine | Remedy::MoreMemoryEach => 0,
        };
        let waiting = Waiting {
            job: running.job,
            need: running.need,
            adopted: None,
            tries,
            wants,
            not_before: now + after,
            // What it took until it failed has been learned from.
            estimate: None,
            twin: running.twin,
            failed: Some(summary),
        };
        self.waiting.insert(place, waiting);
    }

    /// How a failed job begins again.
    fn again(&self, running: &Running, failure: &Failure) -> Result<Again, NoMore> {
        let mut tries = running.tries;
        let remedy = failure.remedy();
        // What it was given after running out of memory stays what it is given.
        let mut wants = running.wants;
        let mut after = Duration::ZERO;
        let (count, text) = match remedy {
            Remedy::None => return Err(NoMore::default()),
            Remedy::MoreMemoryEach => {
                let (grant, estimate) = (running.grant, &running.estimate);
                let less = self.admission.after_out_of_memory(grant, estimate);
                let less = less.map_err(|error| self.no_more_memory(error))?;
                wants = Some(less);
                (&mut 0, format!("begins again with {less}"))
            }
            Remedy::Later => {
                after = self.cx.settings.patience.later;
                let text = format!("begins again in {} s at the earliest", after.as_secs());
                (&mut tries.later, text)
            }
            Remedy::Engine => {
                let text = "begins again when the engine answers".to_owned();
                (&mut tries.engine, text)
            }
            Remedy::Room => {
                let text = "begins again when there is twice the room".to_owned();
                (&mut tries.room, text)
            }
        };
        *count += 1;
        if *count > remedy.tries() {
            return Err(NoMore::default());
        }
        Ok(Again {
            tries,
            wants,
            after,
            text,
        })
    }

    /// A job that had all memory there is, but for what a killed run's containers hold, is not to blame.
    fn no_more_memory(&self, error: NoMoreMemory) -> NoMore {
        if self.left_alone > 0 && matches!(error, NoMoreMemory::Host { .. }) {
            return NoMore {
                kind: Some(FailureKind::Infrastructure),
                detail: Some(format!(
                    "{error}: containers that a killed run left hold the rest"
                )),
                hint: Some(
                    "`wheelfarm build` without a selection goes on with them; then build this again"
                        .to_owned(),
                ),
            };
        }
        NoMore {
            kind: None,
            detail: Some(error.to_string()),
            hint: Some(error.hint().to_owned()),
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

/// What a job will write into the engine: as its last builds did, or as its package says.
fn disk_need(waiting: &Waiting) -> u64 {
    let need = disk_of(&waiting.job, waiting.estimate.as_ref());
    // One that filled the disk needs more than was thought.
    need.saturating_mul(u64::from(waiting.tries.room) + 1)
}

fn disk_of(job: &Job, estimate: Option<&Estimate>) -> u64 {
    let learned = estimate.and_then(|estimate| estimate.disk_bytes);
    learned.unwrap_or_else(|| job.release().resources.disk.bytes())
}

/// What admission is told of a job.
fn candidate(waiting: &Waiting) -> Option<estimate::Waiting<'_>> {
    Some(estimate::Waiting {
        job: waiting.job.id(),
        estimate: waiting.estimate.as_ref()?,
        twin: waiting.twin,
        wants: waiting.wants,
    })
}
