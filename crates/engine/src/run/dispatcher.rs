//! Starts jobs, hears what they say, begins those again that failed in passing, and sees all to their
//! end.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{self, Instant};
use wheelfarm_core::diagnostic::chain;
use wheelfarm_core::estimate::{
    self, Admission, Estimate, Forecast, Grant, History, Host, Leaves, ObjectCache, Planned,
    Sample, TwinKey,
};
use wheelfarm_core::ident::JobId;
use wheelfarm_core::outcome::{Blame, Failure, FailureKind, Outcome, Remedy, Stage};
use wheelfarm_core::plan::{Job, Need};
use wheelfarm_core::quantity::ByteSize;

use super::adopt::Adopted;
use super::job::{Assignment, JobContext};
use super::teller::Teller;
use super::{BuildMode, JobSummary};
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
    /// What it was expected to need when it was let in first.
    estimate: Option<Estimate>,
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
            wants: None,
            estimate: None,
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
    estimate: Estimate,
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
    /// How much room a job found missing, and nobody has made yet.
    room_wanted: Option<u64>,
    /// Whether all has been let go of that may go; a job that ends may leave more.
    is_swept: bool,
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
        mut teller: Teller<'a>,
        waiting: Vec<Waiting>,
    ) -> Self {
        let (settings, facts) = (&cx.settings, &cx.facts);
        let (cpus, memory_bytes) = (facts.cpus, facts.memory_bytes);
        let host = Host::new(cpus, memory_bytes, settings.memory, settings.jobs);
        let (out, cache) = (cx.out.root(), &settings.cache);
        let disk = DiskLedger::of_run(facts, out, cache, settings.disk_reserve);
        Self {
            admission: Admission::new(host),
            history: teller.history(),
            disk,
            may_fit: true,
            room_wanted: None,
            is_swept: false,
            cx,
            inbox,
            teller,
            waiting,
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            ended: BTreeMap::new(),
            host_failures: 0,
            engine_away: None,
            is_closed: false,
        }
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
    pub(super) async fn run(mut self) -> BTreeMap<JobId, JobSummary> {
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
            let summary = JobSummary::without_work(id, Outcome::NotStarted);
            self.finish(summary);
        }
        self.tell(&Event::RunFinished {
            elapsed: begun.elapsed(),
        });
        self.write_down();
        self.ended
    }

    /// Tells what else has been said by now, so that the store has it in one go.
    fn hear_the_rest(&mut self) {
        while let Ok(event) = self.inbox.try_recv() {
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

    async fn start_what_fits(&mut self) {
        if let Some(text) = self.disk.not_checked() {
            let text = text.to_owned();
            self.tell(&Event::RunNote { text });
        }
        while self.may_fit && self.may_start() && self.engine_away.is_none() {
            if let Some(missing_bytes) = self.room_wanted.take() {
                self.make_room(missing_bytes).await;
            }
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
        let mut short_of_room = Vec::new();
        loop {
            let may_run: Vec<usize> = (0..self.waiting.len())
                .filter(|place| self.waiting[*place].not_before <= now)
                .filter(|place| !short_of_room.contains(place))
                .collect();
            for place in &may_run {
                let waiting = &mut self.waiting[*place];
                waiting
                    .estimate
                    .get_or_insert_with(|| self.history.estimate(&waiting.job));
            }
            let (all, cache) = (&self.waiting, self.cx.settings.object_cache());
            let candidates: Vec<_> = may_run
                .iter()
                .filter_map(|place| candidate(&all[*place], cache))
                .collect();
            let admitted = self.admission.admit(&candidates)?;
            let place = may_run[admitted.index];
            if let Err(error) = self.lease_or_make_room(place).await {
                self.admission
                    .release(self.waiting[place].job.id(), Leaves::Nothing);
                let helps_to_wait = match &error {
                    LeaseError::Short(short) => short.would_fit_alone(),
                    LeaseError::Unreadable(_) => false,
                };
                if self.tasks.is_empty() && !helps_to_wait {
                    self.fail_for_room(place, &error);
                    if self.is_closed {
                        return None;
                    }
                } else {
                    short_of_room.push(place);
                }
                continue;
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
        let cache = self.cx.settings.object_cache();
        if let Some(candidate) = candidate(&waiting, cache) {
            self.admission.adopt(&candidate, grant);
        }
        let bytes = disk_need(&waiting);
        if let Err(error) = self.disk.try_lease(waiting.job.id(), bytes) {
            tracing::warn!(job = %waiting.job.id(), %error, "a job that runs already may lack room");
        }
        Some((waiting, grant))
    }

    /// Promises a job its room on the engine's disk. Where there is too little, what nobody needs is let go
    /// of first.
    async fn lease_or_make_room(&mut self, place: usize) -> Result<(), LeaseError> {
        let bytes = disk_need(&self.waiting[place]);
        let job = self.waiting[place].job.id().clone();
        let res = self.disk.try_lease(&job, bytes);
        let Err(LeaseError::Short(short)) = &res else {
            return res;
        };
        if self.is_swept {
            return res;
        }
        self.make_room(short.missing_bytes()).await;
        self.disk.try_lease(&job, bytes)
    }

    /// Lets go of what the matrix does not need, and makes caches smaller.
    async fn make_room(&mut self, missing_bytes: u64) {
        self.is_swept = true;
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
        self.count_host_failure(&failure);
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
            estimate,
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
            estimate: estimate.expect("a job is let in by its estimate"),
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
        self.is_swept = false;
        if let Outcome::Failed(failure) = &mut summary.outcome {
            self.count_host_failure(failure);
            if self.begin_again(running, failure) {
                return;
            }
        } else {
            self.host_failures = 0;
        }
        self.finish(summary);
    }

    fn finish(&mut self, summary: JobSummary) {
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
    fn begin_again(&mut self, running: Running, failure: &mut Failure) -> bool {
        let Running {
            job,
            need,
            mut tries,
            grant,
            estimate,
        } = running;
        let patience = self.cx.settings.patience;
        let remedy = failure.remedy();
        let now = Instant::now();
        let (count, not_before, wants, text) = match remedy {
            Remedy::None => return false,
            Remedy::MoreMemoryEach => {
                let less = match self.admission.after_out_of_memory(grant, &estimate) {
                    Ok(less) => less,
                    Err(error) => {
                        failure.detail = format!("{}; {error}", failure.detail);
                        failure.hint = Some(error.hint().to_owned());
                        return false;
                    }
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
                let text = "begins again when room was made".to_owned();
                self.room_wanted = Some(job.release().resources.disk.bytes());
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
            wants,
            not_before,
            estimate: Some(estimate),
        };
        self.waiting.insert(place, waiting);
        true
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
    let estimate = waiting.estimate.as_ref();
    estimate
        .and_then(|estimate| estimate.disk_bytes)
        .unwrap_or_else(|| waiting.job.release().resources.disk.bytes())
}

/// What admission is told of a job.
fn candidate(waiting: &Waiting, cache: ObjectCache) -> Option<estimate::Waiting<'_>> {
    Some(estimate::Waiting {
        job: waiting.job.id(),
        estimate: waiting.estimate.as_ref()?,
        twin: (cache == ObjectCache::On).then(|| TwinKey::of(&waiting.job)),
        wants: waiting.wants,
    })
}

fn describe(grant: Grant) -> String {
    let memory = ByteSize::from_bytes(grant.memory_bytes);
    match grant.compilers {
        1 => format!("one compiler at a time in {memory}"),
        several => format!("{several} compilers side by side in {memory}"),
    }
}
