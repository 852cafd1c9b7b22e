//! The farm's own files, and the programs that it runs.

use super::counted;
use crate::doctor::facts::{Facts, FarmFacts, Hold, OutFacts, Presence, Seen, StoreFacts};
use crate::doctor::{Check, Topic};
use crate::matrix::Base;
use crate::source::Source;

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    let mut checks = vec![matrix(&facts.farm)];
    if let Ok(farm) = &facts.farm {
        checks.extend(certificates(farm));
    }
    checks.extend(commands(facts));
    checks.push(out(&facts.out));
    checks.push(store(&facts.out));
    checks.push(leftovers(facts));
    checks
}

fn matrix(farm: &Seen<FarmFacts>) -> Check {
    let farm = match farm {
        Ok(farm) => farm,
        Err(unseen) => return Topic::Matrix.not_checked(&unseen.why, &unseen.hint),
    };
    let jobs = counted(farm.wants.jobs, "job");
    let seen = format!(
        "`{}`: {jobs}, {} to build",
        farm.matrix, farm.wants.to_build
    );
    match farm.wants.jobs {
        0 => Topic::Matrix.warn(
            format!("`{}`: every job is left out", farm.matrix),
            "`wheelfarm plan` says why",
        ),
        _ => Topic::Matrix.pass(seen),
    }
}

fn certificates(farm: &FarmFacts) -> Option<Check> {
    let check = match farm.certificates.as_ref()? {
        Ok(what) => Topic::Certificates.pass(format!("containers get {what}")),
        Err(unseen) => Topic::Certificates.fail(&unseen.why, &unseen.hint),
    };
    Some(check)
}

/// Why a program is needed, if it is.
fn wanted(facts: &Facts, program: &str) -> Option<&'static str> {
    match program {
        "git" => {
            let wants = &facts.farm.as_ref().ok()?.wants;
            let mut sources = wants.sources.iter();
            sources
                .any(|wanted| matches!(wanted.source, Source::Git { .. }))
                .then_some("sources come from git repositories")
        }
        "debootstrap" => bootstraps(facts).then_some("a Debian is bootstrapped"),
        "python3" => facts
            .place
            .as_ref()
            .map(|_| "publishing tries pip and uv first"),
        _ => None,
    }
}

/// Whether a base is bootstrapped that is not in the engine yet.
fn bootstraps(facts: &Facts) -> bool {
    let Ok(farm) = &facts.farm else { return false };
    let mut bases = farm.wants.bases.iter();
    bases.any(|(reference, wanted)| {
        let is_here = facts
            .images
            .as_ref()
            .is_ok_and(|images| images.bases.contains(reference));
        matches!(wanted.base, Base::Debootstrap { .. }) && !is_here
    })
}

fn commands(facts: &Facts) -> Vec<Check> {
    let mut checks = Vec::new();
    for (program, presence) in &facts.commands {
        let Some(why) = wanted(facts, program) else {
            continue;
        };
        let check = match presence {
            Presence::Here => Topic::Command.pass(format!("is here; {why}")),
            Presence::Absent => Topic::Command.fail(
                format!("is not here; {why}"),
                format!("sudo apt-get install {program}"),
            ),
        };
        checks.push(check.of(*program));
    }
    if bootstraps(facts) && facts.machine.is_root == Some(false) {
        let check = Topic::Command.fail(
            "a Debian is bootstrapped, which takes root on this host",
            "run the build as root, or use a registry's image as the environment's base",
        );
        checks.push(check.of("debootstrap as root"));
    }
    checks
}

fn out(out: &OutFacts) -> Check {
    hold(Topic::Out, out.folder.as_str(), &out.hold)
}

/// What can be done in a folder.
pub(super) fn hold(topic: Topic, folder: &str, hold: &Hold) -> Check {
    match hold {
        Hold::Free => topic.pass(format!("`{folder}` can be written, and nobody works in it")),
        Hold::ToBeMade => topic.pass(format!("`{folder}` is not there yet, and can be made")),
        Hold::Busy => topic.fail(
            format!("another run of wheelfarm works in `{folder}`"),
            "wait for it (`wheelfarm runs`), or name another folder",
        ),
        Hold::Unwritable(why) => topic.fail(
            format!("`{folder}` cannot be written: {why}"),
            format!("sudo chown -R \"$USER\" {folder}, or name another folder"),
        ),
    }
}

fn store(out: &OutFacts) -> Check {
    let file = out.folder.join("wheelfarm.sqlite");
    match &out.store {
        StoreFacts::None => Topic::Store.pass("there is none yet; the first build makes it"),
        StoreFacts::Readable { killed: None } => Topic::Store.pass(format!("`{file}` can be read")),
        StoreFacts::Readable { killed: Some(run) } => Topic::Store.warn(
            format!("run {run} was killed; the next build goes on with what it left"),
            format!("wheelfarm runs {run}"),
        ),
        StoreFacts::Older(what) => Topic::Store.pass(format!(
            "{what}; the next build brings it up to date, and older programs refuse it then"
        )),
        StoreFacts::Newer(what) => Topic::Store.fail(
            what,
            "use the wheelfarm that wrote it, or give this one a folder of its own with --out",
        ),
        StoreFacts::Broken(what) => Topic::Store.warn(
            format!("{what}; the next build moves it aside and forgets what runs took"),
            format!("bring `{file}` back from a backup, or leave it"),
        ),
        StoreFacts::Unreadable(what) => Topic::Store.fail(
            what,
            format!(
                "look at the rights of `{file}` and of its folder: ls -l {}",
                out.folder
            ),
        ),
    }
}

fn leftovers(facts: &Facts) -> Check {
    if facts.out.hold == Hold::Busy {
        return Topic::Leftovers.not_checked(
            "a run is under way, and what is in the engine is its",
            "wait for it (`wheelfarm runs`)",
        );
    }
    match &facts.leftovers {
        Ok(0) => Topic::Leftovers.pass("nothing of earlier runs is left in the engine"),
        Ok(count) => {
            let things = counted(*count, "thing");
            Topic::Leftovers.warn(
                format!(
                    "{things} of earlier runs (containers, volumes) in the engine; the next build goes on with \
                     them or removes them"
                ),
                "wheelfarm gc --dry-run",
            )
        }
        Err(unseen) => Topic::Leftovers.not_checked(&unseen.why, &unseen.hint),
    }
}
