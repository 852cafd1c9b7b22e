//! The engine: whether what the farm asks of it is kept.

use crate::doctor::facts::{EngineSurvey, Facts, Whereabouts};
use crate::doctor::{Check, Topic};

/// The oldest engine that the farm was tried with: Docker 20.10, API 1.41 (README, "Limits").
const OLDEST: ((u32, u32), (usize, usize)) = ((20, 10), (1, 41));

/// How far two clocks may be apart, in seconds.
pub(super) const CLOCK_TOLERANCE_S: u64 = 30;

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    let survey = match &facts.engine {
        Ok(survey) => survey,
        Err(unseen) => {
            let rest = Topic::ALL
                .iter()
                .filter(|topic| topic.group() == Topic::Engine.group() && **topic != Topic::Engine);
            let rest =
                rest.map(|topic| topic.not_checked("the engine does not answer", &unseen.hint));
            return std::iter::once(Topic::Engine.fail(&unseen.why, &unseen.hint))
                .chain(rest)
                .collect();
        }
    };
    vec![
        engine(survey),
        platform(survey),
        storage(survey),
        limits(survey),
        live_restore(survey),
        fences(survey),
        network(survey),
    ]
}

/// Major and minor of `20.10.24+dfsg1`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn engine(survey: &EngineSurvey) -> Check {
    let EngineSurvey {
        name,
        version: found,
        api: (major, minor),
        ..
    } = survey;
    let place = match survey.whereabouts {
        Whereabouts::ThisHost => "on this host",
        Whereabouts::Elsewhere => "on another host",
    };
    let seen = format!("{name} {found}, API {major}.{minor}, {place}");
    let (oldest, oldest_api) = OLDEST;
    if version(found).is_some_and(|found| found < oldest) || survey.api < oldest_api {
        return Topic::Engine.warn(
            format!("{seen}: older than 20.10 (API 1.41), the oldest that was tried"),
            "upgrade it: https://docs.docker.com/engine/install/",
        );
    }
    match survey.ahead_s {
        Some(ahead_s) if ahead_s.unsigned_abs() > CLOCK_TOLERANCE_S => Topic::Engine.warn(
            format!(
                "{seen}; its clock is {} s {}",
                ahead_s.unsigned_abs(),
                side(ahead_s)
            ),
            "set both clocks: `timedatectl set-ntp true`",
        ),
        Some(_) | None => Topic::Engine.pass(seen),
    }
}

/// Which way a clock is off, from where this machine stands.
pub(super) fn side(ahead_s: i64) -> &'static str {
    if ahead_s > 0 {
        "ahead of this machine's"
    } else {
        "behind this machine's"
    }
}

fn platform(survey: &EngineSurvey) -> Check {
    let EngineSurvey {
        os,
        architecture,
        cpus,
        ..
    } = survey;
    let seen = format!("{os}, {architecture}, {cpus} processors");
    if os == "linux" && ["x86_64", "amd64"].contains(&architecture.as_str()) {
        return Topic::Platform.pass(seen);
    }
    Topic::Platform.fail(
        format!("{seen}: wheels are built for Linux on x86_64"),
        "name an engine of such a host with DOCKER_HOST",
    )
}

fn storage(survey: &EngineSurvey) -> Check {
    let driver = &survey.storage_driver;
    if survey.d_type == Some(false) {
        return Topic::Storage.fail(
            format!("{driver} on a file system without d_type: layers break"),
            "make the file system again with `mkfs.xfs -n ftype=1`, or keep images on another: \
             `data-root` in /etc/docker/daemon.json",
        );
    }
    match driver.as_str() {
        "vfs" => Topic::Storage.warn(
            "vfs copies every layer whole: an image of six GB for each step of its Dockerfile",
            "`\"storage-driver\": \"overlay2\"` in /etc/docker/daemon.json, then `sudo systemctl restart docker`; \
             images that are there are not seen any more",
        ),
        "devicemapper" | "aufs" => Topic::Storage.warn(
            format!("{driver}, which engines no longer have"),
            "`\"storage-driver\": \"overlay2\"` in /etc/docker/daemon.json, then `sudo systemctl restart docker`; \
             images that are there are not seen any more",
        ),
        driver => Topic::Storage.pass(driver),
    }
}

/// What the engine does with a limit that it cannot keep: it discards those on memory, swap and processes
/// with a warning, and refuses a container with one on processors
/// (<https://github.com/moby/moby/blob/master/daemon/daemon_unix.go>, `verifyPlatformContainerResources`).
fn limits(survey: &EngineSurvey) -> Check {
    const CGROUPS: &str = "see what is off: `docker info`; a rootless engine needs cgroup v2 with systemd and delegation: \
                           https://docs.docker.com/engine/security/rootless/tips/#limiting-resources";
    let cgroups = survey
        .cgroup_version
        .as_deref()
        .unwrap_or("of unknown version");
    let driver = survey.cgroup_driver.as_deref().unwrap_or("unknown");
    let seen = format!("cgroup v{cgroups}, driver {driver}");
    let limits = survey.limits;
    if driver == "none" || limits.memory == Some(false) {
        return Topic::Limits.fail(
            format!("{seen}: limits on memory are discarded, and a build could take the host down"),
            CGROUPS,
        );
    }
    if limits.cpu == Some(false) {
        return Topic::Limits.fail(
            format!("{seen}: limits on processors are refused, and every container with them"),
            CGROUPS,
        );
    }
    let lacks: Vec<_> = [("swap", limits.swap), ("processes", limits.processes)]
        .into_iter()
        .filter_map(|(what, kept)| (kept == Some(false)).then_some(what))
        .collect();
    if !lacks.is_empty() {
        return Topic::Limits.warn(
            format!("{seen}: limits on {} are discarded", lacks.join(" and ")),
            "for swap: boot with `cgroup_enable=memory swapaccount=1` on the kernel's command line",
        );
    }
    if limits.memory.is_none() || limits.cpu.is_none() {
        return Topic::Limits.not_checked(
            format!("{seen}; the engine does not say which limits it keeps"),
            "docker info",
        );
    }
    Topic::Limits.pass(format!(
        "{seen}; limits on memory, swap, processors and processes are kept"
    ))
}

fn live_restore(survey: &EngineSurvey) -> Check {
    match survey.live_restore {
        Some(true) => Topic::LiveRestore.pass("on: containers outlive an engine that is started again"),
        // A swarm's engine refuses the setting.
        Some(false) => Topic::LiveRestore.warn(
            "off: an engine that is started again, as by an upgrade at night, ends the builds under way",
            "`{ \"live-restore\": true }` in /etc/docker/daemon.json, then `sudo systemctl reload docker`",
        ),
        None => Topic::LiveRestore.not_checked("the engine does not say", "docker info"),
    }
}

fn fences(survey: &EngineSurvey) -> Check {
    let named = |wanted: &str| {
        let mut options = survey.security.iter();
        options.any(|option| {
            let mut parts = option.split(',');
            parts.any(|part| part.strip_prefix("name=").unwrap_or(part) == wanted)
        })
    };
    let mut unconfined = survey.security.iter();
    let is_unconfined =
        unconfined.any(|option| option.contains("name=seccomp") && option.contains("unconfined"));
    if !named("seccomp") || is_unconfined {
        return Topic::Fences.warn(
            "no seccomp: a package's build may make any system call",
            "leave `seccomp-profile` out of /etc/docker/daemon.json, on a kernel with CONFIG_SECCOMP",
        );
    }
    let more: Vec<_> = ["apparmor", "selinux", "userns", "rootless"]
        .into_iter()
        .filter(|name| named(name))
        .collect();
    let more = if more.is_empty() {
        "neither AppArmor nor SELinux".to_owned()
    } else {
        more.join(", ")
    };
    Topic::Fences.pass(format!("seccomp, {more}"))
}

fn network(survey: &EngineSurvey) -> Check {
    match survey.forwarding {
        Some(true) => Topic::ContainerNetwork.pass("packets of containers are passed on"),
        Some(false) => Topic::ContainerNetwork.fail(
            "packets of containers are not passed on: no image can be built",
            "sudo sysctl -w net.ipv4.ip_forward=1, and a line for it in /etc/sysctl.d/",
        ),
        None => Topic::ContainerNetwork.not_checked("the engine does not say", "docker info"),
    }
}
