//! A host that is fit, with one thing changed: what comes of it.

mod engine;
mod farm;
mod gpu;
mod network;
mod publishing;
mod room;

use super::super::facts::{
    DiskRoom, DiskUse, EngineSurvey, Facts, GpuWay, Hold, ImagesHere, Limits, PlaceFacts, Presence,
    Proofs, StoreFacts, Unseen, Whereabouts,
};
use super::super::fixture::{self, GIB};
use super::super::hub::{Answered, Grant, HubFacts, Identity, TokenFound};
use super::super::targets::{Answer, Reach, TargetKind};
use super::super::{Check, Ending, State, Topic, ending};
use super::judge;

/// The checks on a topic, of a fit host that was changed.
fn of(topic: Topic, change: impl FnOnce(&mut Facts)) -> Vec<Check> {
    let mut facts = fixture::fit();
    change(&mut facts);
    let checks = judge(&facts);
    for check in &checks {
        let has_hint = check.hint.as_ref().is_some_and(|hint| !hint.is_empty());
        assert_eq!(has_hint, check.state != Pass, "{check:?}");
    }
    checks
        .into_iter()
        .filter(|check| check.topic == topic)
        .collect()
}

/// The one check on a topic: its state, and what its words hold.
#[track_caller]
fn check(topic: Topic, change: impl FnOnce(&mut Facts), want: (State, &str)) -> Check {
    let mut found = of(topic, change);
    let check = found.pop().expect("there is one");
    assert_eq!(found, [], "one check alone");
    expect(&check, want);
    check
}

/// The check on one subject of a topic.
#[track_caller]
fn check_of(topic: Topic, subject: &str, change: impl FnOnce(&mut Facts), want: (State, &str)) {
    let found = of(topic, change);
    let check = found
        .iter()
        .find(|check| check.subject.as_deref() == Some(subject));
    expect(check.unwrap_or_else(|| panic!("{found:?}")), want);
}

#[track_caller]
fn expect(check: &Check, (state, words): (State, &str)) {
    let hint = check.hint.as_deref().unwrap_or_default();
    let text = format!("{} / {hint}", check.seen);
    assert_eq!(check.state, state, "{text}");
    assert!(text.contains(words), "{text}");
}

fn engine(change: impl FnOnce(&mut EngineSurvey)) -> impl FnOnce(&mut Facts) {
    |facts| change(facts.engine.as_mut().unwrap())
}

use State::{Fail, NotChecked, Pass, Warn};

#[test]
fn a_fit_host() {
    let checks = judge(&fixture::fit());
    let lines = checks.iter().map(|check| {
        let subject = check.subject.as_deref().unwrap_or("-");
        format!(
            "{} | {} | {subject} | {}\n",
            check.state,
            check.topic.as_str(),
            check.seen
        )
    });
    insta::assert_snapshot!(lines.collect::<String>());
    assert_eq!(ending(&checks), Ending::Fit);
}

#[test]
fn an_up_to_date_farm_fetches_nothing() {
    let done = |facts: &mut Facts| {
        let farm = facts.farm.as_mut().unwrap();
        farm.planned.clear();
        farm.wants.sources.clear();
        farm.wants.bases.clear();
        farm.wants.disk_bytes.clear();
        farm.wants.package_index = None;
        farm.wants.to_build = 0;
        facts.network.asked.clear();
    };
    check(Topic::Reach, done, (Pass, "every job is up to date"));
    check(Topic::Memory, done, (Pass, "nothing is to be built"));
    check(Topic::Disk, done, (Pass, "5GiB to stay free"));
    assert_eq!(of(Topic::Command, done), []);
    let targets = fixture::asked(&Reach::Answered(fixture::answer(200)));
    assert!(
        targets
            .iter()
            .any(|asked| asked.target.kind == TargetKind::Git)
    );
}
