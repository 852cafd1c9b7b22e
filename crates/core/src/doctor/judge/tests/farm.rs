//! The farm's own files and programs.

use super::*;

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
