//! How many commits a repository gets within an hour.
//!
//! The Hub takes 128 and says so nowhere but in the refusal of the 129th (hub.md, section 4). The
//! farm keeps below that by the Hub's own lists of commits, so that several machines, and people,
//! count together.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::api::{Api, Commit};
use super::error::HubError;

/// How many commits there may be within an hour, all branches together.
pub const COMMITS_PER_HOUR: usize = 100;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// There is no room for as many commits as are to be made.
#[derive(Debug, PartialEq, Eq)]
struct Spent {
    /// How many there were within the last hour.
    commits: usize,
    /// When there is room for those to come.
    room_at: Timestamp,
}

/// Whether `needed` more commits fit under `limit` after those made at `times`.
fn room(times: &[Timestamp], needed: usize, limit: usize, now: Timestamp) -> Result<(), Spent> {
    let since = now.saturating_sub(HOUR).unwrap_or(Timestamp::MIN);
    let mut recent: Vec<_> = times.iter().filter(|time| **time > since).collect();
    recent.sort_unstable();
    let over = (recent.len() + needed).saturating_sub(limit);
    // As many as are over the limit must have become old.
    let last = over
        .checked_sub(1)
        .map(|last| last.min(recent.len().saturating_sub(1)));
    match last.and_then(|last| recent.get(last)) {
        None => Ok(()),
        Some(time) => Err(Spent {
            commits: recent.len(),
            room_at: time.saturating_add(HOUR).unwrap_or(Timestamp::MAX),
        }),
    }
}

impl Api {
    /// Whether there is room for `needed` commits on a repository with these branches.
    pub(super) async fn check_budget(
        &self,
        branches: &[&str],
        needed: usize,
        limit: usize,
    ) -> Result<(), HubError> {
        let mut times = BTreeMap::new();
        let mut now = Timestamp::now();
        for branch in branches {
            let (commits, date) = self
                .commits(branch, |commits| {
                    let last = commits.last().and_then(time);
                    last.is_some_and(|last| now.duration_since(last) > HOUR)
                        || commits.len() > limit
                })
                .await?;
            // The Hub's clock counts, where it says what it shows.
            now = date.unwrap_or(now);
            // A branch that was begun on another has the other's commits too.
            times.extend(
                commits
                    .iter()
                    .filter_map(|commit| Some((commit.id.clone(), time(commit)?))),
            );
        }
        let times: Vec<_> = times.into_values().collect();
        room(&times, needed, limit, now).map_err(|spent| HubError::BudgetSpent {
            address: self.repository.to_string(),
            commits: spent.commits,
            needed,
            limit,
            room_at: spent.room_at.to_string(),
        })
    }
}

/// When a commit was made, where that is said.
fn time(commit: &Commit) -> Option<Timestamp> {
    commit.date.as_ref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_commits_make_room() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let minutes = |ago: i64| now - SignedDuration::from_mins(ago);
        let times = [minutes(90), minutes(50), minutes(10), minutes(30)];
        assert_eq!(room(&times, 1, 4, now), Ok(()));
        let spent = |needed, limit| {
            let spent = room(&times, needed, limit, now).unwrap_err();
            (spent.commits, spent.room_at.to_string())
        };
        assert_eq!(spent(1, 3), (3, "2026-11-21T12:10:00Z".to_owned()));
        assert_eq!(spent(2, 3), (3, "2026-11-21T12:30:00Z".to_owned()));
        assert_eq!(spent(9, 3), (3, "2026-11-21T12:50:00Z".to_owned()));
        assert_eq!(room(&[], 1, 1, now), Ok(()));
    }
}
