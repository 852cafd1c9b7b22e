//! Changes of what is listed: yanks, holds, promotions, and the return to an earlier release. No file
//! goes.

use std::collections::BTreeSet;

use crate::release::catalog::{Catalog, CatalogWheel, Track};
use crate::release::life::pick::{Reason, WheelGlobs};
use crate::release::life::{Effect, LifeError, Revision};
use crate::wheel::name::WheelName;

/// Marks wheels: pip and uv no longer take them unless their exact version is asked for (PEP 592).
/// One that is marked already gets the new reason.
pub fn yank(
    catalog: &Catalog,
    globs: &WheelGlobs,
    reason: &Reason,
    now: &str,
) -> Result<Revision, LifeError> {
    let reason = reason.to_string();
    let picked = globs.pick(catalog, OF_ALL, |_| true)?;
    let title = |count: &str| format!("yank {count}: {reason}");
    let mark = |wheel: &mut CatalogWheel| set(&mut wheel.yanked, Some(&reason));
    Ok(revise(catalog, &picked, Effect::Yanked, title, now, mark))
}

/// Takes the marks away.
pub fn unyank(catalog: &Catalog, globs: &WheelGlobs, now: &str) -> Result<Revision, LifeError> {
    let picked = globs.pick(catalog, "that is yanked", |wheel| wheel.yanked.is_some())?;
    let title = |count: &str| format!("take back the yank of {count}");
    let mark = |wheel: &mut CatalogWheel| set(&mut wheel.yanked, None);
    Ok(revise(catalog, &picked, Effect::Unyanked, title, now, mark))
}

/// Protects wheels from being cleared out, whatever the rules are then.
pub fn hold(
    catalog: &Catalog,
    globs: &WheelGlobs,
    reason: &Reason,
    now: &str,
) -> Result<Revision, LifeError> {
    let reason = reason.to_string();
    let picked = globs.pick(catalog, OF_ALL, |_| true)?;
    let title = |count: &str| format!("hold {count}: {reason}");
    let mark = |wheel: &mut CatalogWheel| set(&mut wheel.hold, Some(&reason));
    Ok(revise(catalog, &picked, Effect::Held, title, now, mark))
}

/// Takes the protection away.
pub fn unhold(catalog: &Catalog, globs: &WheelGlobs, now: &str) -> Result<Revision, LifeError> {
    let picked = globs.pick(catalog, "that is held", |wheel| wheel.hold.is_some())?;
    let title = |count: &str| format!("let go of {count}");
    let mark = |wheel: &mut CatalogWheel| set(&mut wheel.hold, None);
    Ok(revise(catalog, &picked, Effect::Released, title, now, mark))
}

/// Lists wheels of the nightly track on the stable one as well. They stay on the nightly track, so that
/// what was installed from there can be installed again.
pub fn promote(catalog: &Catalog, globs: &WheelGlobs, now: &str) -> Result<Revision, LifeError> {
    let is_nightly = |wheel: &CatalogWheel| wheel.tracks.contains(&Track::Nightly);
    let picked = globs.pick(catalog, "on track nightly", is_nightly)?;
    let mut yanked = picked.iter().filter(|wheel| wheel.yanked.is_some());
    if let Some(first) = yanked.next() {
        return Err(LifeError::YankedIsNotPromoted {
            first: first.file_name.to_string(),
            reason: first.yanked.clone().unwrap_or_default(),
            more: yanked.count(),
        });
    }
    let title = |count: &str| format!("promote {count} to stable");
    let effect = Effect::Listed(Track::Stable);
    let list = |wheel: &mut CatalogWheel| wheel.tracks.insert(Track::Stable);
    Ok(revise(catalog, &picked, effect, title, now, list))
}

const OF_ALL: &str = "of the catalog";

/// Changes the wheels of `picked`; `change` says whether there was anything to change.
fn revise(
    catalog: &Catalog,
    picked: &[&CatalogWheel],
    effect: Effect,
    title: impl Fn(&str) -> String,
    now: &str,
    change: impl Fn(&mut CatalogWheel) -> bool,
) -> Revision {
    let mut next = catalog.clone();
    let mut effects = Vec::new();
    for picked in picked {
        let wheel = next.wheels.get_mut(&picked.file_name);
        if wheel.is_some_and(&change) {
            effects.push((picked.file_name.clone(), effect));
        }
    }
    let title = title(&counted(effects.len()));
    Revision::new(catalog, next, title, effects, now)
}

/// Whether the text was another one.
fn set(text: &mut Option<String>, wanted: Option<&String>) -> bool {
    let is_other = text.as_ref() != wanted;
    *text = wanted.cloned();
    is_other
}

/// `1 wheel`, `3 wheels`.
pub(super) fn counted(wheels: usize) -> String {
    match wheels {
        1 => "1 wheel".to_owned(),
        wheels => format!("{wheels} wheels"),
    }
}

/// Which release is to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// The one with this number.
    Number(u64),
    /// The one so many before the latest.
    Back(u64),
}

/// The text names no earlier release.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no earlier release")]
pub struct EarlierError(String);

impl EarlierError {
    /// What to write instead.
    pub fn hint(&self) -> &'static str {
        "write its number, as `wheelfarm status` lists it, or how many before the latest: `latest-1`"
    }
}

impl std::str::FromStr for Earlier {
    type Err = EarlierError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (digits, make): (&str, fn(u64) -> Self) = match text.strip_prefix("latest-") {
                Some(digits) => (digits, Self::Back),
                None => (text, Self::Number),
            };
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let number = is_number.then(|| digits.parse().ok())?;
            number.filter(|&number| number > 0).map(make)
        };
        read().ok_or_else(|| EarlierError(text.to_owned()))
    }
}

impl Earlier {
    /// Its number, when `latest` is the latest one; none when there was no such release before it.
    pub fn number(self, latest: u64) -> Option<u64> {
        let number = match self {
            Self::Number(number) => number,
            Self::Back(back) => latest.checked_sub(back)?,
        };
        (1..latest).contains(&number).then_some(number)
    }
}

/// What becomes of yanks when an earlier release comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Yanks {
    /// What is yanked stays so, and what was then is again: a mark is a warning, and being early is no
    /// reason to take it back.
    Keep,
    /// As they were then.
    AsThen,
}

/// What becomes of wheels that an earlier release had and that are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClearedOut {
    /// They keep it from coming back.
    Refuse,
    /// It comes back without them.
    LeaveOut,
}

/// Lists what `to`, an earlier release, listed, as a new release. Wheels that came since are listed no
/// more; they stay in the catalog, and their bytes stay.
pub fn rollback(
    catalog: &Catalog,
    to: &Catalog,
    yanks: Yanks,
    cleared_out: ClearedOut,
    now: &str,
) -> Result<Revision, LifeError> {
    let is_gone = |wheel: &&CatalogWheel| {
        !wheel.tracks.is_empty() && !catalog.wheels.contains_key(&wheel.file_name)
    };
    let mut gone = to.wheels.values().filter(is_gone);
    if let Some(first) = gone.next()
        && cleared_out == ClearedOut::Refuse
    {
        return Err(LifeError::ClearedOut {
            release: to.release,
            first: first.file_name.to_string(),
            more: gone.count(),
        });
    }
    let mut next = catalog.clone();
    let mut effects = Vec::new();
    for (name, wheel) in &mut next.wheels {
        let then = to.wheels.get(name);
        let tracks = then.map_or_else(BTreeSet::new, |then| then.tracks.clone());
        for track in Track::ALL {
            match (wheel.tracks.contains(&track), tracks.contains(&track)) {
                (false, true) => effects.push((name.clone(), Effect::Listed(track))),
                (true, false) => effects.push((name.clone(), Effect::Unlisted(track))),
                (true, true) | (false, false) => {}
            }
        }
        wheel.tracks = tracks;
        if let Some(then) = then {
            effects.extend(list_again(name, wheel, then));
            effects.extend(yank_again(name, wheel, then, yanks));
        }
    }
    let title = format!("roll back to release {}", to.release);
    Ok(Revision::new(catalog, next, title, effects, now))
}

/// Lists a wheel for the jobs that it was listed for then: one without compiled code comes out of many, and
/// publications since may have told of more.
fn list_again(
    name: &WheelName,
    wheel: &mut CatalogWheel,
    then: &CatalogWheel,
) -> Option<(WheelName, Effect)> {
    let is_same = wheel.jobs().collect::<BTreeSet<_>>() == then.jobs().collect();
    if is_same || then.tracks.is_empty() {
        return None;
    }
    wheel.job.clone_from(&then.job);
    wheel.channel.clone_from(&then.channel);
    wheel.built_against.clone_from(&then.built_against);
    wheel.also.clone_from(&then.also);
    Some((name.clone(), Effect::OtherJobs))
}

fn yank_again(
    name: &WheelName,
    wheel: &mut CatalogWheel,
    then: &CatalogWheel,
    yanks: Yanks,
) -> Option<(WheelName, Effect)> {
    let effect = match (&wheel.yanked, &then.yanked) {
        (None, Some(_)) => Effect::Yanked,
        (Some(_), None) if yanks == Yanks::AsThen => Effect::Unyanked,
        (Some(_), _) | (None, None) => return None,
    };
    wheel.yanked.clone_from(&then.yanked);
    Some((name.clone(), effect))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::life::tests::{catalog, told, wheel};

    const NOW: &str = "2026-11-21T03:00:00Z";
    const CHANNEL: &str = "cu130/torch2.11";
    const STABLE: &[Track] = &[Track::Stable];
    const NIGHTLY: &[Track] = &[Track::Nightly];

    fn of(version: &str, day: u32, tracks: &[Track]) -> CatalogWheel {
        let name = format!("{version}+cu130torch2.11-cp311-cp311");
        wheel(&name, CHANNEL, day, tracks)
    }

    fn three() -> Catalog {
        catalog([
            of("1.0", 1, STABLE),
            of("1.1", 2, NIGHTLY),
            of("1.2", 3, NIGHTLY),
        ])
    }

    fn globs(glob: &str) -> WheelGlobs {
        WheelGlobs::new(&[glob.to_owned()]).unwrap()
    }

    fn reason(text: &str) -> Reason {
        text.parse().unwrap()
    }

    #[track_caller]
    fn check(revision: &Revision, title: &str, want: &[&str]) {
        let full = |line: &&str| format!("{line}+cu130torch2.11-cp311-cp311");
        let want: Vec<String> = want.iter().map(full).collect();
        assert_eq!(told(revision), want);
        assert_eq!(revision.title, title);
        assert_eq!(revision.catalog.release, 4 + u64::from(!want.is_empty()));
    }

    #[test]
    fn a_yank_marks_and_is_taken_back() {
        let before = three();
        let yanked = yank(
            &before,
            &globs("demo-1.[12]*"),
            &reason("wrong results"),
            NOW,
        )
        .unwrap();
        check(
            &yanked,
            "yank 2 wheels: wrong results",
            &["yanked 1.1", "yanked 1.2"],
        );
        assert_eq!(yanked.catalog.published_at, NOW);
        let marks = yanked.catalog.wheels.values().map(|w| w.yanked.as_deref());
        let marks: Vec<_> = marks.collect();
        assert_eq!(marks, [None, Some("wrong results"), Some("wrong results")]);

        let after = &yanked.catalog;
        let again = yank(after, &globs("demo-1.1*"), &reason("wrong results"), NOW).unwrap();
        assert!(again.is_nothing());
        assert_eq!(again.catalog, *after);
        let other = yank(after, &globs("demo-1.1*"), &reason("worse"), NOW).unwrap();
        assert_eq!(told(&other).len(), 1);

        let back = unyank(after, &globs("*"), NOW).unwrap();
        assert_eq!(back.title, "take back the yank of 2 wheels");
        assert_eq!(back.catalog.wheels, before.wheels);
        let error = unyank(&before, &globs("demo-1.0*"), NOW).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`demo-1.0*` matches no wheel that is yanked"
        );
    }

    #[test]
    fn a_hold_is_a_mark_of_its_own() {
        let held = hold(&three(), &globs("*1.0*"), &reason("paper 12"), NOW).unwrap();
        check(&held, "hold 1 wheel: paper 12", &["held 1.0"]);
        let back = unhold(&held.catalog, &globs("*"), NOW).unwrap();
        assert_eq!(back.catalog.wheels, three().wheels);
        assert_eq!(back.title, "let go of 1 wheel");
        assert!(unhold(&three(), &globs("*"), NOW).is_err());
    }

    #[test]
    fn what_is_promoted_is_on_both_tracks_and_is_not_yanked() {
        let promoted = promote(&three(), &globs("demo-1.1*"), NOW).unwrap();
        check(
            &promoted,
            "promote 1 wheel to stable",
            &["listed on stable 1.1"],
        );
        assert_eq!(promoted.catalog.on(Track::Stable).count(), 2);
        assert_eq!(promoted.catalog.on(Track::Nightly).count(), 2);
        let again = promote(&promoted.catalog, &globs("demo-1.1*"), NOW).unwrap();
        assert!(again.is_nothing());

        let error = promote(&three(), &globs("demo-1.0*"), NOW).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`demo-1.0*` matches no wheel on track nightly"
        );
        let yanked = yank(&three(), &globs("*1.1*"), &reason("broken"), NOW).unwrap();
        let error = promote(&yanked.catalog, &globs("*"), NOW).unwrap_err();
        assert!(error.is_refusal());
        insta::assert_snapshot!(format!("{error}\nhint: {}", error.hint().unwrap()), @r"
        `demo-1.1+cu130torch2.11-cp311-cp311-manylinux_2_28_x86_64.whl` is yanked (broken), so it is not promoted
        hint: take the mark away first with `wheelfarm yank 'demo-1.1+cu130torch2.11-cp311-cp311-manylinux_2_28_x86_64.whl' --undo`, or leave it out
        ");
    }

    #[test]
    fn an_earlier_release_is_named_by_its_number_or_from_the_latest() {
        let number = |text: &str| text.parse::<Earlier>().unwrap().number(7);
        assert_eq!(number("6"), Some(6));
        assert_eq!(number("latest-1"), Some(6));
        assert_eq!(number("latest-6"), Some(1));
        for none in ["7", "8", "latest-7", "latest-8"] {
            assert_eq!(number(none), None, "{none}");
        }
        for bad in ["", "0", "latest", "latest-0", "latest-", "-1", "+1", "one"] {
            let error = bad.parse::<Earlier>().unwrap_err();
            assert!(error.hint().contains("latest-1"), "{bad}");
        }
    }

    fn keeping_yanks(now: &Catalog, to: &Catalog) -> Revision {
        rollback(now, to, Yanks::Keep, ClearedOut::Refuse, NOW).unwrap()
    }

    #[test]
    fn an_earlier_release_comes_back_as_a_new_one() {
        let earlier = Catalog {
            release: 2,
            ..catalog([of("1.0", 1, STABLE), of("1.1", 2, NIGHTLY)])
        };
        let now = promote(&three(), &globs("demo-1.1*"), NOW).unwrap().catalog;
        let now = yank(&now, &globs("demo-1.0*"), &reason("slow"), NOW).unwrap();
        let (now, release) = (now.catalog, 6);
        let back = keeping_yanks(&now, &earlier);
        let full = |line: &str| format!("{line}+cu130torch2.11-cp311-cp311");
        assert_eq!(
            told(&back),
            ["unlisted from stable 1.1", "unlisted from nightly 1.2"].map(full)
        );
        assert_eq!(back.catalog.release, release + 1);
        assert_eq!(back.title, "roll back to release 2");
        assert_eq!(back.catalog.wheels.len(), 3, "bytes stay");
        let first = back.catalog.wheels.values().next().unwrap();
        assert_eq!(first.yanked.as_deref(), Some("slow"));

        let as_then = rollback(&now, &earlier, Yanks::AsThen, ClearedOut::Refuse, NOW).unwrap();
        assert!(told(&as_then).contains(&full("unyanked 1.0")));

        assert!(keeping_yanks(&back.catalog, &earlier).is_nothing());
    }

    #[test]
    fn a_yank_of_then_comes_back_with_its_release() {
        let mut then = of("1.0", 1, STABLE);
        then.yanked = Some("wrong results".to_owned());
        let earlier = Catalog {
            release: 2,
            ..catalog([then])
        };
        let back = keeping_yanks(&three(), &earlier);
        let first = &back.catalog.wheels.values().next().unwrap();
        assert_eq!(first.yanked.as_deref(), Some("wrong results"));
        assert_eq!(told(&back)[0], "yanked 1.0+cu130torch2.11-cp311-cp311");
    }

    #[test]
    fn a_wheel_of_several_channels_is_back_in_those_of_then() {
        let of = |channel| wheel("0.1-py3-none", channel, 1, STABLE);
        let earlier = Catalog {
            release: 2,
            ..catalog([of("cu130/torch2.11")])
        };
        let more = [of("cu128/torch2.8")];
        let now = earlier.with(more, Track::Stable, NOW).unwrap();
        let channels = |catalog: &Catalog| catalog.wheels.values().next().unwrap().channels().len();
        assert_eq!((channels(&earlier), channels(&now)), (1, 2));
        let back = keeping_yanks(&now, &earlier);
        assert_eq!(told(&back), ["listed for other jobs 0.1-py3-none"]);
        assert_eq!(back.catalog.wheels, earlier.wheels);
        assert!(keeping_yanks(&back.catalog, &earlier).is_nothing());
        // Forward again, to what it was listed for before.
        let on = keeping_yanks(&back.catalog, &now);
        assert_eq!(on.catalog.wheels, now.wheels);
    }

    #[test]
    fn a_release_whose_wheels_are_gone_comes_back_only_on_request() {
        let earlier = Catalog {
            release: 2,
            ..catalog([
                of("0.8", 1, STABLE),
                of("0.9", 1, STABLE),
                of("1.0", 1, STABLE),
            ])
        };
        let refuse = rollback(&three(), &earlier, Yanks::Keep, ClearedOut::Refuse, NOW);
        insta::assert_snapshot!(refuse.unwrap_err(), @"`demo-0.8+cu130torch2.11-cp311-cp311-manylinux_2_28_x86_64.whl` of release 2 was cleared out since, and so for 1 more");
        let back = rollback(&three(), &earlier, Yanks::Keep, ClearedOut::LeaveOut, NOW).unwrap();
        assert_eq!(back.catalog.on(Track::Stable).count(), 1);
        assert_eq!(back.catalog.on(Track::Nightly).count(), 0);
    }
}
