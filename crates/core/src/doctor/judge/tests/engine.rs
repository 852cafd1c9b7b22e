//! The engine.

use super::*;

#[test]
fn the_engine() {
    check(
        Topic::Engine,
        engine(|e| e.version = "19.03.8".to_owned()),
        (Warn, "older than 20.10"),
    );
    check(
        Topic::Engine,
        engine(|e| e.api = (1, 40)),
        (Warn, "older than 20.10"),
    );
    check(
        Topic::Engine,
        engine(|e| e.version = "20.10.24+dfsg1".to_owned()),
        (Pass, "20.10.24+dfsg1"),
    );
    check(
        Topic::Engine,
        engine(|e| e.ahead_s = Some(-90)),
        (Warn, "90 s behind this machine's"),
    );
    check(
        Topic::Engine,
        engine(|e| e.ahead_s = Some(30)),
        (Pass, "on this host"),
    );
    check(
        Topic::Platform,
        engine(|e| e.architecture = "aarch64".to_owned()),
        (Fail, "DOCKER_HOST"),
    );
    check(
        Topic::Platform,
        engine(|e| e.os = "windows".to_owned()),
        (Fail, "Linux"),
    );
    check(
        Topic::Storage,
        engine(|e| e.storage_driver = "vfs".to_owned()),
        (Warn, "overlay2"),
    );
    check(
        Topic::Storage,
        engine(|e| e.d_type = Some(false)),
        (Fail, "ftype=1"),
    );
    check(
        Topic::Storage,
        engine(|e| e.storage_driver = "btrfs".to_owned()),
        (Pass, "btrfs"),
    );
}

#[test]
fn what_the_engine_does_for_containers() {
    check(
        Topic::LiveRestore,
        engine(|e| e.live_restore = Some(false)),
        (Warn, "daemon.json"),
    );
    check(
        Topic::LiveRestore,
        engine(|e| e.live_restore = None),
        (NotChecked, "docker info"),
    );
    check(
        Topic::ContainerNetwork,
        engine(|e| e.forwarding = Some(false)),
        (Fail, "ip_forward=1"),
    );
    check(
        Topic::Fences,
        engine(|e| e.security.clear()),
        (Warn, "no seccomp"),
    );
    let unconfined = vec!["name=seccomp,profile=unconfined".to_owned()];
    check(
        Topic::Fences,
        engine(|e| e.security = unconfined),
        (Warn, "no seccomp"),
    );
    let plain = vec!["name=seccomp,profile=default".to_owned()];
    check(
        Topic::Fences,
        engine(|e| e.security = plain),
        (Pass, "neither AppArmor nor SELinux"),
    );
}

#[test]
fn an_engine_that_does_not_answer_is_the_one_fault() {
    let mut facts = fixture::fit();
    let gone = Unseen::new("failed to connect to the Docker engine", "start the engine");
    facts.engine = Err(gone.clone());
    facts.images = Err(gone.clone());
    facts.leftovers = Err(gone);
    let checks = judge(&facts);
    let failed: Vec<_> = checks.iter().filter(|check| check.state == Fail).collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    expect(failed[0], (Fail, "start the engine"));
    let group = checks
        .iter()
        .filter(|check| check.topic.group() == Topic::Engine.group());
    assert_eq!(group.count(), 7);
    assert_eq!(ending(&checks), Ending::Unfit);
}

#[test]
fn limits_that_are_not_kept() {
    let lacking = |change: fn(&mut Limits)| engine(move |e| change(&mut e.limits));
    check(
        Topic::Limits,
        lacking(|l| l.memory = Some(false)),
        (Fail, "take the host down"),
    );
    check(
        Topic::Limits,
        lacking(|l| l.cpu = Some(false)),
        (Fail, "refused"),
    );
    check(
        Topic::Limits,
        lacking(|l| l.swap = Some(false)),
        (Warn, "swapaccount=1"),
    );
    check(
        Topic::Limits,
        lacking(|l| l.processes = Some(false)),
        (Warn, "processes"),
    );
    check(
        Topic::Limits,
        lacking(|l| l.memory = None),
        (NotChecked, "does not say"),
    );
    let none = engine(|e| e.cgroup_driver = Some("none".to_owned()));
    check(Topic::Limits, none, (Fail, "rootless"));
}
