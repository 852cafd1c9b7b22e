//! Servers: whether a night that needs them reaches them.

use crate::doctor::facts::{EngineSurvey, Facts, Whereabouts};
use crate::doctor::judge::engine::{CLOCK_TOLERANCE_S, side};
use crate::doctor::targets::{Answer, Asked, Question, Reach, TargetKind};
use crate::doctor::{Check, MATRIX_HINT, Topic};

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    let engine = facts.engine.as_ref().ok();
    let mut checks: Vec<_> = facts
        .network
        .asked
        .iter()
        .map(|asked| reach(asked, engine).of(asked.target.name.clone()))
        .collect();
    if facts.farm.is_err() {
        checks.push(Topic::Reach.not_checked("no matrix says what is fetched", MATRIX_HINT));
    } else if checks.is_empty() {
        checks.push(Topic::Reach.pass("nothing is to be fetched: every job is up to date"));
    }
    checks.push(proxy(facts));
    checks.push(clock(facts));
    checks
}

/// What an answer means.
enum Meaning {
    Fine,
    /// It may answer otherwise in a while.
    MayPass,
    /// The same request fails again, for this reason.
    Refused(&'static str),
}

/// What the status of an answer means to who fetches from there. A registry that wants a login answers 401
/// to its root, and gives a token to anybody afterwards
/// (<https://distribution.github.io/distribution/spec/auth/token/>); a Hub answers 401 without a token.
fn meaning(kind: TargetKind, answer: &Answer) -> Meaning {
    let answers_by_page = matches!(
        kind,
        TargetKind::Registry | TargetKind::Hub | TargetKind::Mirror
    );
    if answer.is_page && answer.status < 400 && (answers_by_page || answer.from_host.is_some()) {
        return Meaning::Refused(
            "it is a page for people: a login of a proxy or of a guest network",
        );
    }
    match answer.status {
        200..=299 => Meaning::Fine,
        401 if matches!(kind, TargetKind::Registry | TargetKind::Hub) => Meaning::Fine,
        407 => Meaning::Refused("a proxy wants a login"),
        // The root of a server of files need not be for anybody.
        400..=404 if kind == TargetKind::Host => Meaning::Fine,
        401 | 403 => Meaning::Refused("it wants a login"),
        404 | 410 => Meaning::Refused(match kind {
            TargetKind::Index => "it has no such project",
            TargetKind::Registry => "it is no registry",
            TargetKind::Mirror => "it has no such suite",
            TargetKind::File => "it has no such file",
            TargetKind::Host | TargetKind::Git | TargetKind::Hub => "there is nothing",
        }),
        408 | 429 | 500..=599 => Meaning::MayPass,
        _ => Meaning::Refused("it is no answer to that"),
    }
}

fn reach(asked: &Asked, engine: Option<&EngineSurvey>) -> Check {
    let target = &asked.target;
    let needed = format!("needed by {}", target.needed_by);
    let bad = |what: &str| match &target.held {
        Some(held) => Topic::Reach.pass(format!("{what}; {held}")),
        None => unreached(asked, engine, &format!("{what}; {needed}")),
    };
    match &asked.reach {
        Reach::Listed { ms } => {
            Topic::Reach.pass(format!("read by git in {}; {needed}", seconds(*ms)))
        }
        Reach::Failed(why) => bad(why),
        Reach::Silent { seconds } => bad(&format!("no answer within {seconds} s")),
        Reach::NotAsked(why) => {
            let hint = match target.question {
                Question::Nothing => "write `https://`, a host and a path in the matrix",
                Question::Web(_) | Question::Git(_) => "leave --offline out",
            };
            Topic::Reach.not_checked(format!("{why}; {needed}"), hint)
        }
        Reach::Answered(answer) => {
            let status = answer.status;
            match (meaning(target.kind, answer), &target.held) {
                (Meaning::Fine, _) => {
                    Topic::Reach.pass(format!("{status} in {}; {needed}", seconds(answer.ms)))
                }
                (Meaning::MayPass, None) => Topic::Reach.warn(
                    format!("it answers {status}, which may pass; {needed}"),
                    "run `wheelfarm doctor` again in a while: a build tries five times",
                ),
                (Meaning::MayPass, Some(held)) => {
                    Topic::Reach.pass(format!("it answers {status}; {held}"))
                }
                (Meaning::Refused(why), _) => bad(&format!("it answers {status}: {why}")),
            }
        }
    }
}

/// Something that must be fetched and is not to be had from here.
fn unreached(asked: &Asked, engine: Option<&EngineSurvey>, seen: &str) -> Check {
    let kind = asked.target.kind;
    // The engine pulls by itself, by a way of its own.
    if kind == TargetKind::Registry {
        let way = match engine {
            Some(engine) if !engine.proxies.is_empty() => {
                Some(format!("by its proxy {}", engine.proxies.join(", ")))
            }
            Some(engine) if engine.whereabouts == Whereabouts::Elsewhere => {
                Some("from another host".to_owned())
            }
            Some(_) | None => None,
        };
        if let Some(way) = way {
            let image = first_image(asked);
            return Topic::Reach.not_checked(
                format!("{seen}; the engine pulls {way}"),
                format!("docker pull {image}"),
            );
        }
    }
    Topic::Reach.fail(seen, hint(asked))
}

fn hint(asked: &Asked) -> String {
    let name = &asked.target.name;
    let text = match &asked.reach {
        Reach::Failed(why) => why.as_str(),
        Reach::Answered(_) | Reach::Listed { .. } | Reach::Silent { .. } | Reach::NotAsked(_) => "",
    };
    if ["certificate", "UnknownIssuer"]
        .iter()
        .any(|word| text.contains(word))
    {
        return "a company's proxy signs with its own authority: `export SSL_CERT_FILE=BUNDLE.pem`, and `build.ca-bundle: host` \
                for containers; or this clock is wrong: `timedatectl`"
            .to_owned();
    }
    match asked.target.kind {
        TargetKind::Registry => format!(
            "see what the engine says: `docker pull {}`; or bring the images by `docker save` and `docker load`, name a mirror \
             (`registry-mirrors` in /etc/docker/daemon.json), or take a base without a registry (`debootstrap:` in the \
             matrix)",
            first_image(asked)
        ),
        TargetKind::Git => format!("git ls-remote {name} HEAD"),
        TargetKind::Index
        | TargetKind::File
        | TargetKind::Host
        | TargetKind::Mirror
        | TargetKind::Hub => match &asked.target.question {
            Question::Web(url) => format!("curl -I {url}"),
            Question::Git(_) | Question::Nothing => format!("curl -I https://{name}/"),
        },
    }
}

/// One of the images that come from a registry: whoever gets it gets the others.
fn first_image(asked: &Asked) -> String {
    let images = &asked.target.needed_by;
    let first = images.split(", ").next().unwrap_or(images);
    first.replace('`', "")
}

fn seconds(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        _ => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
    }
}

/// Proxies of this environment serve what the farm itself fetches. Images are built through the engine's
/// API, which is not told of them.
fn proxy(facts: &Facts) -> Check {
    let proxies = &facts.network.proxies;
    if proxies.is_empty() {
        return Topic::Proxy.pass("none is set");
    }
    Topic::Proxy.warn(
        format!(
            "{} set: the farm fetches sources by it, and containers in which images are made know nothing of it",
            proxies.join(", ")
        ),
        "see to it that containers reach the indexes: `docker run --rm IMAGE python3 -m pip download --no-deps pip`; or name \
         indexes that they reach, `build.package-index` and `torch-index`",
    )
}

fn clock(facts: &Facts) -> Check {
    let answers = facts
        .network
        .asked
        .iter()
        .filter_map(|asked| match &asked.reach {
            Reach::Answered(answer) => answer.ahead_s.map(|ahead_s| (ahead_s, &asked.target.name)),
            Reach::Listed { .. } | Reach::Failed(_) | Reach::Silent { .. } | Reach::NotAsked(_) => {
                None
            }
        });
    // One server may be wrong; half of them hardly are.
    let mut answers: Vec<_> = answers.collect();
    answers.sort();
    let Some(&(ahead_s, _)) = answers.get(answers.len() / 2) else {
        return Topic::Clock.not_checked("no server has told the time", "timedatectl");
    };
    let off_s = ahead_s.unsigned_abs();
    let count = super::counted(answers.len(), "server");
    if off_s > CLOCK_TOLERANCE_S {
        return Topic::Clock.warn(
            format!(
                "the clocks of {count} are {off_s} s {}: certificates and tokens may be refused",
                side(ahead_s)
            ),
            "timedatectl set-ntp true",
        );
    }
    Topic::Clock.pass(format!("{off_s} s apart from {count}"))
}
