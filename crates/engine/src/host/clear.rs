//! Clears away what goes: one thing after the other, the least useful first. What cannot be removed is told,
//! and the rest goes all the same.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8Path;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use wheelfarm_core::diagnostic::chain;
use wheelfarm_core::ident::JobId;

use super::things::{Inventory, Place, Sizes, Thing, ThingKind};
use super::verdict::{Rules, SharedImages, Verdict, Wanted, When, judge};
use super::volumes::shrink_cache;
use crate::container::{Engine, EngineError, Labels};
use crate::files::FileError;
use crate::out_folder::OutFolder;
use crate::store::{History, Store};

/// Whether anything is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// It is only shown.
    Show,
    /// It is done.
    Do,
}

/// What was done with a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Nothing: it stays.
    Stayed,
    /// Nothing yet; it would free so many bytes, if that is known.
    Shown(Option<u64>),
    /// It went, or became smaller, and freed so many bytes, if that is known.
    Freed(Option<u64>),
    /// It is still there.
    Failed(String),
    /// The user stopped before its turn.
    NotReached,
}

/// A thing, what was to become of it and what did.
#[derive(Debug, Clone)]
pub struct Cleared {
    /// The thing.
    pub thing: Thing,
    /// What was to become of it, and why.
    pub verdict: Verdict,
    /// What did.
    pub end: End,
}

impl Cleared {
    /// What was, or would be, freed, as far as that is known.
    pub fn freed_bytes(&self) -> u64 {
        match self.end {
            End::Shown(bytes) | End::Freed(bytes) => bytes.unwrap_or(0),
            End::Stayed | End::Failed(_) | End::NotReached => 0,
        }
    }
}

/// Clears away what `rules` let go of, or shows what would go. Stops between two things when `stop` is cancelled.
pub async fn clear<E: Engine>(
    engine: &Arc<E>,
    mut inventory: Inventory,
    wanted: &Wanted,
    rules: &Rules,
    act: Act,
    stop: &CancellationToken,
) -> Vec<Cleared> {
    inventory.things.extend(old_runs(&inventory, rules));
    let verdicts = judge(&inventory, wanted, rules);
    let things = std::mem::take(&mut inventory.things);
    let mut cleared = Vec::new();
    for (thing, verdict) in things.into_iter().zip(verdicts) {
        let end = match (&verdict, act) {
            (Verdict::Stays(_), _) => End::Stayed,
            (_, Act::Do) if stop.is_cancelled() => End::NotReached,
            (_, Act::Show) => End::Shown(foreseen(&mut inventory, &thing, &verdict)),
            (_, Act::Do) => carry_out(engine, &mut inventory, &thing, &verdict).await,
        };
        cleared.push(Cleared {
            thing,
            verdict,
            end,
        });
    }
    cleared
}

/// What a build does when a job needs more room than there is: lets go what the matrix does not need, the least
/// useful first, until `missing_bytes` are free, and makes caches smaller than they may be before it
/// gives up. Nothing that `running` jobs have goes; a cache that they use loses what was not used for longest.
///
/// # Errors
/// The engine cannot list what it has.
pub async fn make_room<E: Engine>(
    engine: &Arc<E>,
    out: &OutFolder,
    farm: &str,
    request: RoomRequest<'_>,
) -> Result<Vec<Cleared>, EngineError> {
    let sizes = Sizes::WhileBuilding(&request.running);
    let mut inventory = Inventory::take(engine, out, farm, sizes).await?;
    let rules = Rules {
        now_s: request.now_s,
        keep: KEEP_WHEN_SHORT,
        cache_bytes: request.cache_bytes,
        shared: SharedImages::Unneeded,
        when: When::Building(request.running),
    };
    let verdicts = judge(&inventory, request.wanted, &rules);
    let things = std::mem::take(&mut inventory.things);
    let (mut freed_bytes, mut cleared) = (0_u64, Vec::new());
    let mut caches = Vec::new();
    for (thing, verdict) in things.into_iter().zip(verdicts) {
        if freed_bytes >= request.missing_bytes || request.stop.is_cancelled() {
            break;
        }
        if thing.kind == ThingKind::Cache {
            caches.push(thing.clone());
        }
        if matches!(verdict, Verdict::Stays(_)) {
            continue;
        }
        let end = carry_out(engine, &mut inventory, &thing, &verdict).await;
        let done = Cleared {
            thing,
            verdict,
            end,
        };
        freed_bytes += done.freed_bytes();
        cleared.push(done);
    }
    for thing in caches {
        let missing = request.missing_bytes.saturating_sub(freed_bytes);
        if missing == 0 || request.stop.is_cancelled() {
            break;
        }
        let earlier = cleared.iter().find(|done| done.thing.name == thing.name);
        let size = thing.size_bytes.unwrap_or(0);
        let size = size.saturating_sub(earlier.map_or(0, Cleared::freed_bytes));
        if size == 0 {
            continue;
        }
        let verdict = Verdict::Shrinks {
            to_bytes: size.saturating_sub(missing),
            why: "a job needs the room".to_owned(),
        };
        let end = carry_out(engine, &mut inventory, &thing, &verdict).await;
        let done = Cleared {
            thing,
            verdict,
            end,
        };
        freed_bytes += done.freed_bytes();
        cleared.push(done);
    }
    Ok(cleared)
}

/// How long what failed jobs left is kept when there is no room.
const KEEP_WHEN_SHORT: Duration = Duration::from_hours(7 * 24);

/// How much room is wanted, and what may not go.
#[derive(Debug)]
pub struct RoomRequest<'a> {
    /// How much must be freed.
    pub missing_bytes: u64,
    /// What the farm still needs.
    pub wanted: &'a Wanted,
    /// The jobs that run now.
    pub running: BTreeSet<JobId>,
    /// The most that one package's compiler cache may hold.
    pub cache_bytes: Option<u64>,
    /// The time, in seconds since 1970.
    pub now_s: u64,
    /// The user's wish to stop.
    pub stop: &'a CancellationToken,
}

/// The runs in the store that ended before what is kept. What they took up in the file is given back when SQLite next
/// brings its log into it, some time later: nothing is counted as freed.
fn old_runs(inventory: &Inventory, rules: &Rules) -> Option<Thing> {
    let store = inventory.store.clone()?;
    let before_s = rules.now_s.saturating_sub(rules.keep.as_secs());
    let time = moment(before_s)?;
    let count = History::open(&store).and_then(|history| history.runs_before(time));
    let count = match count {
        Ok(0) => return None,
        Ok(count) => count,
        Err(error) => {
            tracing::warn!(error = chain(&error), "old runs not counted");
            return None;
        }
    };
    Some(Thing {
        kind: ThingKind::OldRuns,
        name: format!("{count} runs"),
        place: Place::Runs { store, before_s },
        size_bytes: Some(0),
        made_at_s: None,
        labels: Labels::default(),
        state: None,
        holders: Vec::new(),
    })
}

fn moment(seconds: u64) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

/// The caller holds the lock of `out/`, and so nobody else writes the store.
fn forget_runs(store: &Utf8Path, before_s: u64) -> Result<(), String> {
    let before = moment(before_s).ok_or("no such time")?;
    let opened = Store::open(store, Timestamp::now());
    let forgotten = opened.and_then(|mut opened| opened.store.forget_runs_before(before));
    forgotten.map(|_| ()).map_err(|error| chain(&error))
}

/// What would be freed, with what was let go of before.
fn foreseen(inventory: &mut Inventory, thing: &Thing, verdict: &Verdict) -> Option<u64> {
    match (&thing.place, verdict) {
        (Place::Image(_, id), _) => Some(inventory.images.remove(id)),
        (_, Verdict::Shrinks { to_bytes, .. }) => {
            thing.size_bytes.map(|size| size.saturating_sub(*to_bytes))
        }
        (Place::Container(_) | Place::Volume | Place::Folder(_) | Place::Runs { .. }, _) => {
            thing.size_bytes
        }
    }
}

async fn carry_out<E: Engine>(
    engine: &Arc<E>,
    inventory: &mut Inventory,
    thing: &Thing,
    verdict: &Verdict,
) -> End {
    if let Verdict::Shrinks { to_bytes, .. } = verdict {
        let Some(tool) = &inventory.tool else {
            return End::Failed("no image of the farm's is there to look into it with".to_owned());
        };
        let freed = shrink_cache(engine, tool, &thing.name, *to_bytes, &inventory.owner).await;
        return match freed {
            Ok(bytes) => End::Freed(Some(bytes)),
            Err(error) => End::Failed(chain(&error)),
        };
    }
    let removed = match &thing.place {
        Place::Container(id) => engine.remove(id).await,
        Place::Volume => engine.remove_volume(&thing.name).await,
        Place::Image(name, _) => engine.remove_image(name).await,
        Place::Folder(folder) => match fs_err::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return End::Failed(chain(&FileError::new("remove", folder, error)));
            }
            _ => Ok(()),
        },
        Place::Runs { store, before_s } => match forget_runs(store, *before_s) {
            Ok(()) => Ok(()),
            Err(why) => return End::Failed(why),
        },
    };
    match removed {
        Ok(()) => End::Freed(foreseen(inventory, thing, verdict)),
        Err(error) => End::Failed(chain(&error)),
    }
}
