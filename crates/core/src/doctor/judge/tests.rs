//! A host that is fit, with one thing changed: what comes of it.

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

const A5090: &str = "NVIDIA GeForce RTX 5090, 12.0, 580.65.06, 32607 MiB\n";

fn machine(line: &str) -> impl FnOnce(&mut Facts) {
    let gpus = fixture::gpus(line);
    |facts| facts.gpu = gpus
}

/// alpha has `gpu: auto` in both CUDAs.
#[test]
fn drivers_against_each_cuda() {
    for (driver, cu128, cu130) in [
        (
            "525.60.13",
            (Pass, "its PTX takes 570.26"),
            (Fail, "install driver 580 or later"),
        ),
        (
            "520.61.05",
            (Fail, "525.60.13"),
            (Fail, "CUDA 13.0 out of the matrix"),
        ),
        (
            "570.26",
            (Pass, "525.60.13 or later is needed"),
            (Fail, "570.26"),
        ),
        (
            "580.65.06",
            (Pass, "driver"),
            (Pass, "580 or later is needed"),
        ),
        (
            "580.10",
            (Pass, "driver"),
            (Pass, "its PTX takes 580.65.06"),
        ),
    ] {
        let line = format!("NVIDIA H100, 9.0, {driver}, 81559 MiB");
        check_of(Topic::Driver, "CUDA 12.8", machine(&line), cu128);
        check_of(Topic::Driver, "CUDA 13.0", machine(&line), cu130);
    }
}

#[test]
fn a_driver_that_no_job_meets_is_no_fault_unless_wheels_are_proved_here() {
    let old = "NVIDIA H100, 9.0, 525.60.13, 81559 MiB";
    let builds_alone = |facts: &mut Facts| {
        machine(old)(facts);
        let wants = &mut facts.farm.as_mut().unwrap().wants;
        for wish in wants.cudas.values_mut() {
            *wish = crate::package::GpuWish::None;
        }
    };
    check_of(
        Topic::Driver,
        "CUDA 13.0",
        builds_alone,
        (Warn, "builds do without"),
    );
    let proving = |facts: &mut Facts| {
        builds_alone(facts);
        facts.proofs = Proofs::OnThisMachine;
    };
    check_of(Topic::Driver, "CUDA 13.0", proving, (Fail, "580"));
}

#[test]
fn a_machine_without_a_gpu() {
    let without = |facts: &mut Facts| {
        facts.gpu = fixture::gpus("");
        facts.gpu.devices = 0;
    };
    check(
        Topic::Gpu,
        without,
        (Warn, "jobs with `gpu: auto` go without"),
    );
    let proving = |facts: &mut Facts| {
        without(facts);
        facts.proofs = Proofs::OnThisMachine;
    };
    check(Topic::Gpu, proving, (Fail, "no GPU of NVIDIA's"));
    let no_wish = |facts: &mut Facts| {
        without(facts);
        let wants = &mut facts.farm.as_mut().unwrap().wants;
        for wish in wants.cudas.values_mut() {
            *wish = crate::package::GpuWish::None;
        }
    };
    check(Topic::Gpu, no_wish, (Pass, "no job asks for one"));
    check(Topic::Driver, no_wish, (Pass, "no job asks for one"));
    let no_farm = |facts: &mut Facts| {
        without(facts);
        facts.farm = Err(Unseen::new("there is no `matrix.yaml` here", "name one"));
    };
    check(Topic::Gpu, no_farm, (Pass, "no job asks for one"));
    let no_driver = |facts: &mut Facts| {
        without(facts);
        facts.gpu.devices = 2;
    };
    check(
        Topic::Gpu,
        no_driver,
        (Warn, "2 GPUs of NVIDIA's on the bus, and no driver"),
    );
    let no_tools = |facts: &mut Facts| {
        without(facts);
        facts.gpu.loaded = Some("570.86.15".parse().unwrap());
    };
    check(Topic::Gpu, no_tools, (Warn, "driver 570.86.15 is loaded"));
    check_of(
        Topic::Driver,
        "CUDA 13.0",
        no_tools,
        (Fail, "driver 570.86.15"),
    );
    check(
        Topic::Driver,
        without,
        (NotChecked, "no driver of NVIDIA's"),
    );
}

/// alpha is built for 9.0 and 12.0+PTX, beta for 12.0a.
#[test]
fn what_is_planned_against_the_gpus_that_are_here() {
    check(
        Topic::GpuCode,
        machine(A5090),
        (Pass, "as machine code (4 releases)"),
    );
    let hopper = "NVIDIA H200, 9.0, 580.65.06, 143771 MiB";
    check(
        Topic::GpuCode,
        machine(hopper),
        (Warn, "no proof of it here: beta 2.0"),
    );
    let proving = |facts: &mut Facts| {
        machine(hopper)(facts);
        facts.proofs = Proofs::OnThisMachine;
    };
    check(Topic::GpuCode, proving, (Fail, "does not run: beta 2.0"));
    // Eight of a kind are one line, two kinds are two.
    assert_eq!(of(Topic::GpuCode, machine(&A5090.repeat(8))).len(), 1);
    assert_eq!(
        of(Topic::GpuCode, machine(&format!("{A5090}{hopper}"))).len(),
        2
    );
    // 12.1 runs what 12.0 is compiled to; an A100 has nothing of 9.0 or later.
    let ampere = "NVIDIA A100, 8.0, 580.65.06, 81920 MiB";
    check(
        Topic::GpuCode,
        machine(ampere),
        (Warn, "alpha 1.0 of CUDA 12.8, alpha 1.0 of CUDA 13.0"),
    );
}

#[test]
fn the_way_of_a_gpu_into_containers() {
    check(
        Topic::EngineGpu,
        engine(|e| e.gpu = GpuWay::Cdi),
        (Pass, "by CDI"),
    );
    check(
        Topic::EngineGpu,
        engine(|e| e.gpu = GpuWay::None),
        (Warn, "nvidia-ctk"),
    );
    let old_cdi = engine(|e| {
        e.gpu = GpuWay::None;
        e.api = (1, 41);
        e.cdi_folders = vec!["/etc/cdi".to_owned()];
    });
    check(Topic::EngineGpu, old_cdi, (Warn, "Docker 25"));
    let blind = |facts: &mut Facts| facts.gpu.in_container = Some(Err("no devices".to_owned()));
    check(
        Topic::EngineGpu,
        blind,
        (Fail, "does not see it: no devices"),
    );
    let sees = |facts: &mut Facts| facts.gpu.in_container = Some(Ok("1".to_owned()));
    check(Topic::EngineGpu, sees, (Pass, "a container sees 1"));
    let required = |facts: &mut Facts| {
        facts.proofs = Proofs::OnThisMachine;
        engine(|e| e.gpu = GpuWay::None)(facts);
    };
    check(
        Topic::EngineGpu,
        required,
        (Fail, "neither NVIDIA's runtime nor CDI"),
    );
}

fn room(free_gib: u64, free_inodes: Option<u64>) -> impl Fn(&mut Facts) {
    move |facts| {
        for disk in &mut facts.disks {
            disk.room = Ok(DiskRoom {
                device: 1,
                free_bytes: free_gib * GIB,
                free_inodes,
            });
        }
    }
}

/// The largest job takes 20 GiB, the reserve is 5, a Debian is to be bootstrapped.
#[test]
fn room_on_disks() {
    check(
        Topic::Disk,
        room(26, None),
        (
            Pass,
            "20GiB for the largest job, 1 base image to pull, of unknown size, 1GiB for bootstrapping, 5GiB to stay free",
        ),
    );
    check(
        Topic::Disk,
        room(25, None),
        (Fail, "1GiB too little for the first job"),
    );
    let stages = |free_gib| {
        move |facts: &mut Facts| {
            room(free_gib, None)(facts);
            facts.images.as_mut().unwrap().stages_to_make = 2;
        }
    };
    check(Topic::Disk, stages(31), (Fail, "wheelfarm gc --dry-run"));
    check(Topic::Disk, stages(32), (Fail, "6GiB too little for all"));
    check(
        Topic::Disk,
        stages(38),
        (Pass, "12GiB for the images of 2 environments"),
    );
    let unknown = |facts: &mut Facts| facts.images = Err(Unseen::new("gone", "start it"));
    check(
        Topic::Disk,
        unknown,
        (NotChecked, "which images are there is not known"),
    );
    let pulled = |facts: &mut Facts| {
        let bases = facts
            .farm
            .as_ref()
            .unwrap()
            .wants
            .bases
            .keys()
            .cloned()
            .collect();
        facts.images = Ok(ImagesHere {
            bases,
            ..ImagesHere::default()
        });
    };
    check(
        Topic::Disk,
        pulled,
        (
            Pass,
            "500GiB free: 20GiB for the largest job, 5GiB to stay free",
        ),
    );
}

#[test]
fn disks_that_are_not_one() {
    let apart = |facts: &mut Facts| {
        room(500, None)(facts);
        for (device, disk) in (1..).zip(&mut facts.disks) {
            let room = disk.room.as_mut().unwrap();
            room.device = device;
            if disk.what == DiskUse::Out {
                room.free_bytes = 4 * GIB;
            }
        }
    };
    check_of(
        Topic::Disk,
        "/var/lib/docker",
        apart,
        (Pass, "20GiB for the largest job"),
    );
    check_of(Topic::Disk, "out", apart, (Fail, "1GiB too little"));
    check_of(
        Topic::Disk,
        "/tmp",
        apart,
        (Pass, "500GiB free: 1GiB for bootstrapping"),
    );
    let unseen = |facts: &mut Facts| facts.disks[1].room = Err(Unseen::new("denied", "df -h out"));
    check_of(
        Topic::Disk,
        "out",
        unseen,
        (NotChecked, "for wheels and records: denied"),
    );
}

#[test]
fn files_that_may_still_be_made() {
    check(
        Topic::Inodes,
        room(500, Some(49_999)),
        (Fail, "49999 files"),
    );
    check(Topic::Inodes, room(500, Some(50_000)), (Pass, "50000"));
    let many = |facts: &mut Facts| {
        room(500, Some(90_000))(facts);
        facts.images.as_mut().unwrap().stages_to_make = 2;
    };
    check(Topic::Inodes, many, (Warn, "100000"));
    assert_eq!(of(Topic::Inodes, room(500, None)), []);
}

/// beta declares 12 GiB for one compiler.
#[test]
fn memory_against_the_largest_job() {
    check(
        Topic::Memory,
        engine(|e| e.memory_bytes = 8 * GIB),
        (Warn, "by what its package declares"),
    );
    check(
        Topic::Memory,
        engine(|e| e.memory_bytes = 32 * GIB),
        (Pass, "30GiB of it for jobs"),
    );
    let capped = |facts: &mut Facts| {
        facts.farm.as_mut().unwrap().memory_cap = Some(crate::quantity::ByteSize::gib(4));
    };
    check(Topic::Memory, capped, (Warn, "4GiB of it for jobs"));
    let in_use = |facts: &mut Facts| facts.machine.available_bytes = Some(2 * GIB);
    check(Topic::Memory, in_use, (Warn, "only 2GiB is not in use now"));
    // What is in use here says nothing of an engine elsewhere.
    let elsewhere = |facts: &mut Facts| {
        in_use(facts);
        engine(|e| e.whereabouts = Whereabouts::Elsewhere)(facts);
    };
    check(Topic::Memory, elsewhere, (Pass, "the most is"));
    check(
        Topic::Overcommit,
        |facts| facts.machine.overcommit = Some(2),
        (Warn, "overcommit_memory=0"),
    );
    check(
        Topic::OpenFiles,
        |facts| facts.machine.open_files = Some(256),
        (Warn, "ulimit -n"),
    );
    check(
        Topic::OpenFiles,
        |facts| facts.machine.open_files = Some(u64::MAX),
        (Pass, "no limit"),
    );
}

#[test]
fn builds_that_held_more_than_there_is_are_a_fault() {
    use crate::estimate::{Grant, History, ObjectCache, Planned, Sample, SampleEnd};
    let (_, plan) = fixture::plan();
    let sample = Sample {
        at: "2026-11-20T00:00:00Z".to_owned(),
        package: "beta".parse().unwrap(),
        version: "2.0".to_owned(),
        channel: "cu130/torch2.11".to_owned(),
        targets: 1,
        grant: Grant {
            compilers: 1,
            milli_cpus: 1000,
            memory_bytes: 64 * GIB,
        },
        end: SampleEnd::Done,
        peak_memory_bytes: Some(20 * GIB),
        cpu_ms: Some(3_600_000),
        compile_ms: 3_600_000,
        objects: None,
        disk_bytes: None,
    };
    let history = History::new([sample]);
    let planned: Vec<_> = plan
        .jobs
        .iter()
        .map(|job| Planned::of(job, &history, ObjectCache::On))
        .collect();
    let small = |facts: &mut Facts| {
        facts.farm.as_mut().unwrap().planned.clone_from(&planned);
        engine(|e| e.memory_bytes = 16 * GIB)(facts);
    };
    check(Topic::Memory, small, (Fail, "for one compiler of beta-2.0"));
    check(
        Topic::Processors,
        small,
        (Pass, "of which nothing is known"),
    );
}

fn servers(reach: Reach) -> impl FnOnce(&mut Facts) {
    move |facts| facts.network.asked = fixture::asked(&reach)
}

fn status(status: u16) -> Reach {
    Reach::Answered(fixture::answer(status))
}

fn page(from_host: Option<&str>) -> Reach {
    Reach::Answered(Answer {
        is_page: true,
        from_host: from_host.map(str::to_owned),
        ..fixture::answer(200)
    })
}

#[test]
fn what_servers_answer() {
    let registry = "registry-1.docker.io";
    let index = "pypi.org";
    let mirror = "deb.debian.org";
    let files = "files.lab";
    let host = "files.pythonhosted.org";
    for (server, reach, want) in [
        (registry, status(401), (Pass, "401 in 120 ms")),
        (index, status(401), (Fail, "it wants a login")),
        (index, status(404), (Fail, "it has no such project")),
        (index, status(407), (Fail, "a proxy wants a login")),
        (index, status(503), (Warn, "may pass")),
        (mirror, status(404), (Fail, "it has no such suite")),
        (registry, status(404), (Fail, "it is no registry")),
        (registry, page(None), (Fail, "a page for people")),
        (index, page(None), (Pass, "200 in 120 ms")),
        (index, page(Some("login.lab")), (Fail, "a page for people")),
        (files, status(403), (Fail, "it wants a login")),
        (files, status(404), (Fail, "it has no such file")),
        (host, status(404), (Pass, "404 in 120 ms")),
        (host, status(502), (Warn, "may pass")),
        (
            index,
            Reach::Silent { seconds: 5 },
            (
                Fail,
                "no answer within 5 s; needed by every image, torch, alpha",
            ),
        ),
        (
            index,
            Reach::Failed("connection refused".to_owned()),
            (Fail, "curl -I https://pypi.org/"),
        ),
        (
            index,
            Reach::Failed("invalid peer certificate: UnknownIssuer".to_owned()),
            (Fail, "SSL_CERT_FILE"),
        ),
        (
            index,
            Reach::NotAsked("not asked"),
            (NotChecked, "--offline"),
        ),
    ] {
        check_of(Topic::Reach, server, servers(reach), want);
    }
    check_of(
        Topic::Reach,
        "https://github.com/lab/beta",
        servers(Reach::Failed("could not resolve host".to_owned())),
        (Fail, "git ls-remote https://github.com/lab/beta HEAD"),
    );
    check_of(
        Topic::Reach,
        "https://github.com/lab/beta",
        servers(Reach::Listed { ms: 2500 }),
        (Pass, "read by git in 2.5 s"),
    );
}

#[test]
fn what_is_here_need_not_be_reached() {
    let held = |facts: &mut Facts| {
        servers(Reach::Silent { seconds: 5 })(facts);
        for asked in &mut facts.network.asked {
            asked.target.held = Some("it is here".to_owned());
        }
    };
    let checks = of(Topic::Reach, held);
    assert!(checks.len() >= 6, "{checks:?}");
    assert!(checks.iter().all(|check| check.state == Pass), "{checks:?}");
}

#[test]
fn an_engine_with_a_way_of_its_own_may_reach_a_registry() {
    let down = || servers(Reach::Failed("connection refused".to_owned()));
    let name = "registry-1.docker.io";
    check_of(
        Topic::Reach,
        name,
        down(),
        (Fail, "docker pull nvidia/cuda:12.8.1-devel-ubuntu22.04"),
    );
    let proxied = |facts: &mut Facts| {
        down()(facts);
        engine(|e| e.proxies = vec!["http://proxy:3128".to_owned()])(facts);
    };
    check_of(
        Topic::Reach,
        name,
        proxied,
        (NotChecked, "by its proxy http://proxy:3128"),
    );
    let elsewhere = |facts: &mut Facts| {
        down()(facts);
        engine(|e| e.whereabouts = Whereabouts::Elsewhere)(facts);
    };
    check_of(
        Topic::Reach,
        name,
        elsewhere,
        (NotChecked, "from another host"),
    );
    let proxy = |facts: &mut Facts| facts.network.proxies = vec!["HTTPS_PROXY".to_owned()];
    check(Topic::Proxy, proxy, (Warn, "HTTPS_PROXY set"));
}

#[test]
fn the_clock() {
    let ahead = |ahead_s| {
        Reach::Answered(Answer {
            ahead_s,
            ..fixture::answer(200)
        })
    };
    check(
        Topic::Clock,
        servers(ahead(Some(31))),
        (Warn, "31 s ahead of this machine's"),
    );
    check(
        Topic::Clock,
        servers(ahead(Some(-3600))),
        (Warn, "3600 s behind this machine's"),
    );
    check(Topic::Clock, servers(ahead(Some(30))), (Pass, "30 s apart"));
    check(
        Topic::Clock,
        servers(ahead(None)),
        (NotChecked, "timedatectl"),
    );
    // One server that is wrong is not this machine's fault.
    let one_off = |facts: &mut Facts| {
        let Reach::Answered(answer) = &mut facts.network.asked[0].reach else {
            panic!()
        };
        answer.ahead_s = Some(86_400);
    };
    check(Topic::Clock, one_off, (Pass, "0 s apart"));
}

#[test]
fn the_farms_own_files() {
    let out = |hold: Hold| move |facts: &mut Facts| facts.out.hold = hold;
    check(Topic::Out, out(Hold::ToBeMade), (Pass, "can be made"));
    check(
        Topic::Out,
        out(Hold::Busy),
        (Fail, "another run of wheelfarm works in `out`"),
    );
    check(
        Topic::Out,
        out(Hold::Unwritable("denied".to_owned())),
        (Fail, "chown"),
    );
    check(Topic::Leftovers, out(Hold::Busy), (NotChecked, "under way"));
    check(
        Topic::Leftovers,
        |facts| facts.leftovers = Ok(3),
        (Warn, "wheelfarm gc --dry-run"),
    );
    let store = |store: StoreFacts| move |facts: &mut Facts| facts.out.store = store;
    let killed = StoreFacts::Readable {
        killed: Some("17".to_owned()),
    };
    check(Topic::Store, store(killed), (Warn, "wheelfarm runs 17"));
    check(
        Topic::Store,
        store(StoreFacts::None),
        (Pass, "the first build makes it"),
    );
    check(
        Topic::Store,
        store(StoreFacts::Older("schema 1".to_owned())),
        (Pass, "up to date"),
    );
    check(
        Topic::Store,
        store(StoreFacts::Newer("schema 9".to_owned())),
        (Fail, "--out"),
    );
    check(
        Topic::Store,
        store(StoreFacts::Broken("broken".to_owned())),
        (Warn, "moves it aside"),
    );
    check(
        Topic::Store,
        store(StoreFacts::Unreadable("denied".to_owned())),
        (Fail, "ls -l out"),
    );
    let bundle = |facts: &mut Facts| {
        let unseen = Unseen::new("failed to read the certificates", "`build.ca-bundle`");
        facts.farm.as_mut().unwrap().certificates = Some(Err(unseen));
    };
    check(Topic::Certificates, bundle, (Fail, "ca-bundle"));
}

#[test]
fn programs_that_jobs_need() {
    let without = |name: &'static str| {
        move |facts: &mut Facts| {
            for (program, presence) in &mut facts.commands {
                if *program == name {
                    *presence = Presence::Absent;
                }
            }
        }
    };
    check_of(
        Topic::Command,
        "git",
        without("git"),
        (Fail, "sudo apt-get install git"),
    );
    check_of(
        Topic::Command,
        "debootstrap",
        without("debootstrap"),
        (Fail, "debootstrap"),
    );
    check_of(
        Topic::Command,
        "debootstrap as root",
        |facts| facts.machine.is_root = Some(false),
        (Fail, "as root"),
    );
    // Its Debian is in the engine: nothing is bootstrapped.
    let pulled = |facts: &mut Facts| {
        without("debootstrap")(facts);
        let bases = facts
            .farm
            .as_ref()
            .unwrap()
            .wants
            .bases
            .keys()
            .cloned()
            .collect();
        facts.images = Ok(ImagesHere {
            bases,
            ..ImagesHere::default()
        });
    };
    let checks = of(Topic::Command, pulled);
    assert!(checks.iter().all(|check| check.state == Pass), "{checks:?}");
    // Nobody publishes.
    let checks = of(Topic::Command, without("python3"));
    assert!(checks.iter().all(|check| check.state == Pass), "{checks:?}");
}

#[test]
fn without_a_matrix_what_needs_one_is_not_checked() {
    let mut facts = fixture::fit();
    facts.farm = Err(Unseen::new(
        "there is no `matrix.yaml` here",
        "name one: `--matrix FILE`",
    ));
    facts.network.asked.clear();
    facts.leftovers = facts.farm.as_ref().map(|_| 0).map_err(Clone::clone);
    facts.images = Err(Unseen::new("there is no `matrix.yaml` here", "name one"));
    let checks = judge(&facts);
    let state = |topic| {
        checks
            .iter()
            .find(|check| check.topic == topic)
            .map(|check| check.state)
    };
    for topic in [
        Topic::Matrix,
        Topic::Disk,
        Topic::Memory,
        Topic::Driver,
        Topic::Reach,
        Topic::Leftovers,
    ] {
        assert_eq!(state(topic), Some(NotChecked), "{topic:?}");
    }
    for topic in [
        Topic::Engine,
        Topic::Limits,
        Topic::Gpu,
        Topic::Out,
        Topic::Store,
    ] {
        assert_eq!(state(topic), Some(Pass), "{topic:?}");
    }
    assert_eq!(ending(&checks), Ending::NotChecked);
}

fn hub(change: impl FnOnce(&mut HubFacts)) -> impl FnOnce(&mut Facts) {
    let mut hub = HubFacts {
        endpoint: "https://huggingface.co".to_owned(),
        repository: "hf://me/wheels".to_owned(),
        kind: "model".to_owned(),
        owner: "me".to_owned(),
        name: "wheels".to_owned(),
        token: TokenFound::In("HF_TOKEN".to_owned()),
        repository_there: Answered::With(true),
        identity: Answered::With(Identity {
            user: "me".to_owned(),
            organisations: Vec::new(),
            grant: Grant::Write,
        }),
    };
    change(&mut hub);
    |facts| facts.place = Some(PlaceFacts::Hub(hub))
}

#[test]
fn the_place_and_the_token() {
    check(
        Topic::Rights,
        hub(|_| {}),
        (Pass, "may write to `hf://me/wheels` as `me`"),
    );
    let grant = |grant| {
        hub(|hub| {
            hub.identity = Answered::With(Identity {
                user: "me".to_owned(),
                organisations: Vec::new(),
                grant,
            });
        })
    };
    check(Topic::Rights, grant(Grant::Read), (Fail, "may only read"));
    check(
        Topic::Rights,
        grant(Grant::Scoped(Vec::new())),
        (Fail, "scoped to nothing"),
    );
    check(
        Topic::Rights,
        grant(Grant::Unknown(None)),
        (NotChecked, "--dry-run"),
    );
    let refused = Answered::Refused("the Hub answered 401".to_owned());
    check(
        Topic::Rights,
        hub(|hub| hub.identity = refused),
        (Fail, "does not take the token"),
    );
    let silent = Answered::Not("timed out".to_owned());
    check(
        Topic::Rights,
        hub(|hub| hub.identity = silent),
        (NotChecked, "timed out"),
    );
    check(
        Topic::Token,
        hub(|hub| hub.token = TokenFound::Nowhere),
        (Fail, "hf auth login"),
    );
    assert_eq!(
        of(Topic::Rights, hub(|hub| hub.token = TokenFound::Nowhere)),
        []
    );
    let identity = || hub(|hub| hub.token = TokenFound::GithubIdentity);
    check(Topic::Token, identity(), (Pass, "identity on GitHub"));
    check(Topic::Rights, identity(), (NotChecked, "Trusted Publisher"));
    let missing = hub(|hub| hub.repository_there = Answered::With(false));
    check(Topic::Place, missing, (Warn, "--create"));
    let busy = |facts: &mut Facts| {
        facts.place = Some(PlaceFacts::Folder {
            folder: "dist".into(),
            hold: Hold::Unwritable("denied".to_owned()),
        });
    };
    check(Topic::Place, busy, (Fail, "`dist` cannot be written"));
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
    let targets = fixture::asked(&status(200));
    assert!(
        targets
            .iter()
            .any(|asked| asked.target.kind == TargetKind::Git)
    );
}
