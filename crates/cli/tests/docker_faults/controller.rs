//! The controller is killed, or told to stop, or there are two.

use std::time::Duration;

use serde_json::{Value, json};

use crate::farm::{Farm, JOB, Made, Package, until};

/// State, the stage that did not end, and how each attempt was begun: `adopted` or not.
fn of_job(run: &Value) -> (&str, Option<&str>, Vec<bool>) {
    let job = &run["jobs"][0];
    assert_eq!(job["job"], JOB, "{run:#}");
    let stages = job["stages"].as_array().unwrap().iter();
    let in_flight = stages
        .rev()
        .find(|stage| stage["wall_ms"].is_null())
        .map(|stage| stage["stage"].as_str().unwrap());
    let attempts = job["attempts"].as_array().unwrap().iter();
    let adopted = attempts.map(|attempt| attempt["adopted"].as_bool().unwrap());
    (job["state"].as_str().unwrap(), in_flight, adopted.collect())
}

#[track_caller]
fn check_run(farm: &Farm, number: u32, state: &str, job: (&str, Option<&str>, &[bool])) {
    let run = farm.run(number);
    assert_eq!(run["state"], state, "{run:#}");
    let (job_state, in_flight, adopted) = of_job(&run);
    assert_eq!((job_state, in_flight, &adopted[..]), job, "{run:#}");
}

/// What ran while nobody watched counts: the next forecast is made of it.
#[track_caller]
fn check_compiled_for(farm: &Farm, at_least_ms: u64) {
    let sample = &farm.run(2)["jobs"][0]["attempts"][0]["sample"];
    let compile_ms = sample["compile_ms"].as_u64().unwrap();
    assert!(compile_ms >= at_least_ms, "{sample}");
}

/// Row 1. The container runs on, and the next run follows it to its end.
#[test]
fn docker_a_killed_controllers_container_is_gone_on_with() {
    let farm = Farm::new("adopted", &Package::saying(16));
    let made = Made::watch(&farm);
    let first = farm.start();
    let container = farm.container_that_said("line 4");
    first.kill();
    farm.container_that_said("line 6");
    let said = farm.build();
    assert!(said.contains("attempt 1, found running"), "{said}");
    farm.check_built(16);
    let made = made.containers();
    assert_eq!(made.len(), 1, "{made:?}");
    assert!(made[0].starts_with(&container));
    check_run(
        &farm,
        1,
        "interrupted",
        ("interrupted", Some("compile"), &[false]),
    );
    check_run(&farm, 2, "finished", ("built", None, &[true]));
    check_compiled_for(&farm, 7_000);
}

/// Row 1 again: and killed once more, before the container ends.
#[test]
fn docker_a_controller_that_is_killed_twice_still_has_one_container() {
    let farm = Farm::new("twice", &Package::saying(20));
    let made = Made::watch(&farm);
    let first = farm.start();
    farm.container_that_said("line 2");
    first.kill();
    let second = farm.start();
    second.until_said("found running");
    farm.container_that_said("line 8");
    second.kill();
    farm.build();
    farm.check_built(20);
    assert_eq!(made.containers().len(), 1);
    check_run(
        &farm,
        2,
        "interrupted",
        ("interrupted", Some("compile"), &[true]),
    );
    check_run(&farm, 3, "finished", ("built", None, &[true]));
}

/// Row 2. Before there is a container, the stages before it are done again.
#[test]
fn docker_a_controller_that_is_killed_while_it_fetches_begins_again() {
    let farm = Farm::new("fetch", &Package::default());
    // Reading this takes a while.
    farm.write("packages/demo/source/big.bin", vec![7; 200 << 20]);
    let first = farm.start_and_watch();
    farm.until_stored("fetch");
    first.kill();
    assert_eq!(farm.containers(), Vec::<String>::new());
    fs_err::remove_file(farm.path("packages/demo/source/big.bin")).unwrap();
    farm.build();
    farm.check_built(3);
    check_run(&farm, 1, "interrupted", ("interrupted", Some("fetch"), &[]));
    check_run(&farm, 2, "finished", ("built", None, &[false]));
}

/// Row 2. What the engine was building for the dead controller is gone, or taken up by the next run.
#[test]
fn docker_a_controller_that_is_killed_while_it_builds_an_image_begins_again() {
    let farm = Farm::new("image", &Package::default());
    // No engine has a layer for it, so it takes pip a second or more to see that it is not for this Python.
    let never = format!("wheel==0.45.1; python_version > '9.{}'", std::process::id());
    farm.require(&never);
    let first = farm.start_and_watch();
    farm.until_stored("image");
    // By then the engine is at it.
    std::thread::sleep(Duration::from_millis(300));
    first.kill();
    farm.build();
    farm.check_built(3);
    check_run(&farm, 1, "interrupted", ("interrupted", Some("image"), &[]));
    check_run(&farm, 2, "finished", ("built", None, &[false]));
}

/// Row 2. The container ended well and its wheel is still in it: the next run takes it.
#[test]
fn docker_a_controller_that_is_killed_before_it_collects_compiles_nothing_again() {
    let farm = Farm::new("collect", &Package::saying(6));
    let made = Made::watch(&farm);
    let first = farm.start();
    let container = farm.container_that_said("line 2");
    // It neither sees the container's end nor does anything about it.
    first.signal("STOP");
    until("the container's end", || {
        let state = farm.docker(&["inspect", "--format", "{{json .State}}", &container]);
        let state: Value = serde_json::from_str(&state).unwrap();
        (state["Status"] == "exited").then(|| assert_eq!(state["ExitCode"], json!(0)))
    });
    first.kill();
    farm.build();
    farm.check_built(6);
    assert_eq!(made.containers().len(), 1);
    check_run(
        &farm,
        1,
        "interrupted",
        ("interrupted", Some("compile"), &[false]),
    );
    check_run(&farm, 2, "finished", ("built", None, &[true]));
    // Six lines, half a second each; the engine tells whole seconds.
    check_compiled_for(&farm, 2_000);
}

/// A farm whose first controller was killed once `stage` had begun, with a run that is as it should be, and the
/// containers that were made.
#[track_caller]
fn killed_at(stage: &str, in_time: impl Fn(&Value) -> bool) -> (Farm, Made) {
    let package = Package {
        ballast_bytes: 64 << 20,
        ..Package::default()
    };
    // The moment is short; a kill that comes too late says nothing, and another farm is tried.
    let killed_in_time = (0..8).find_map(|attempt| {
        let farm = Farm::new(&format!("{stage}{attempt}"), &package);
        let made = Made::watch(&farm);
        let first = farm.start_and_watch();
        farm.until_stored(stage);
        (first.kill_if_it_runs() && in_time(&farm.run(1))).then_some((farm, made))
    });
    killed_in_time.unwrap_or_else(|| panic!("all of eight kills came too late for {stage}"))
}

/// The wheel is on its way from its container to the record: the next run takes it out again.
#[track_caller]
fn check_killed_at(stage: &str) {
    let (farm, made) = killed_at(stage, |run| of_job(run).1 == Some(stage));
    let said = farm.build();
    assert!(said.contains("attempt 1, found running"), "{said}");
    farm.check_built(3);
    assert_eq!(made.containers().len(), 1, "nothing is compiled again");
    check_run(
        &farm,
        1,
        "interrupted",
        ("interrupted", Some(stage), &[false]),
    );
    check_run(&farm, 2, "finished", ("built", None, &[true]));
}

/// Row 2.
#[test]
fn docker_a_controller_that_is_killed_at_collect_compiles_nothing_again() {
    check_killed_at("collect");
}

/// Row 2.
#[test]
fn docker_a_controller_that_is_killed_at_finish_compiles_nothing_again() {
    check_killed_at("finish");
}

/// Row 2.
#[test]
fn docker_a_controller_that_is_killed_at_inspect_compiles_nothing_again() {
    check_killed_at("inspect");
}

/// Row 2. The record may be in place by then, and its container not yet removed.
#[test]
fn docker_a_controller_that_is_killed_at_record_compiles_nothing_again() {
    let (farm, made) = killed_at("record", |run| run["state"] != "finished");
    farm.build();
    farm.check_built(3);
    assert_eq!(made.containers().len(), 1, "nothing is compiled again");
    let (first, second) = (farm.run(1), farm.run(2));
    assert_eq!(first["state"], "interrupted", "{first:#}");
    let (was, is) = (of_job(&first).0, of_job(&second).0);
    assert!(
        [("interrupted", "built"), ("built", "up-to-date")].contains(&(was, is)),
        "{was}, {is}"
    );
}

/// Row 2. When all is on record, what a killed run left is removed all the same.
#[test]
fn docker_what_a_killed_run_left_goes_when_every_wheel_is_on_record() {
    // The moment is short; a kill that comes too late says nothing, and another farm is tried.
    let killed_in_time = (0..8).find_map(|attempt| {
        let farm = Farm::new(&format!("left{attempt}"), &Package::default());
        let first = farm.start();
        let record = farm.out().join("jobs").join(JOB);
        while !record.exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        (first.kill_if_it_runs() && farm.containers().len() == 1).then_some(farm)
    });
    let farm = killed_in_time.expect("one of eight kills comes before the container is removed");
    let said = farm.build();
    assert!(said.contains("up to date"), "{said}");
    farm.check_built(3);
    assert_eq!(of_job(&farm.run(1)).0, "built");
}

/// Row 3. A reboot ends containers with nobody watching: what was compiled is in the cache.
#[test]
fn docker_a_container_that_is_killed_with_its_controller_is_built_again_from_the_cache() {
    let package = Package {
        before: "gcc -c one.c -o one.o && gcc -c two.c -o two.o",
        ..Package::saying(8)
    };
    let farm = Farm::new("reboot", &package);
    farm.write(
        "packages/demo/source/one.c",
        "int one(void) { return 1; }\n",
    );
    farm.write(
        "packages/demo/source/two.c",
        "int two(void) { return 2; }\n",
    );
    let first = farm.start();
    let container = farm.container_that_said("line 3");
    first.kill();
    farm.docker(&["kill", &container]);
    farm.build();
    farm.check_built(8);
    check_run(
        &farm,
        1,
        "interrupted",
        ("interrupted", Some("compile"), &[false]),
    );
    check_run(&farm, 2, "finished", ("built", None, &[false]));
    let manifest = farm.out().join("jobs").join(JOB).join("manifest.json");
    let manifest: Value = serde_json::from_slice(&fs_err::read(manifest).unwrap()).unwrap();
    let host = &manifest["cost"]["cache"]["objects"]["host"];
    assert_eq!(
        (&host["needed"], &host["compiled"]),
        (&json!(2), &json!(0)),
        "{manifest:#}"
    );
}

/// Row 5. Two runs of one farm in two folders do not know of each other.
#[test]
fn docker_two_controllers_with_two_folders_both_build() {
    let farm = Farm::new("two", &Package::saying(8));
    let one = farm.start_in("out", &[]);
    let two = farm.start_in("other", &[]);
    let both = until("two containers", || {
        let containers = farm.containers();
        (containers.len() == 2).then_some(containers)
    });
    assert_ne!(both[0], both[1]);
    one.done();
    two.done();
    for out in ["out", "other"] {
        farm.check_built_in(out, 8);
        farm.check_nothing_is_left(out);
    }
}

/// Row 6. SIGTERM is what a service manager sends; what it stops is begun anew, and on record as stopped.
#[test]
fn docker_a_controller_that_is_told_to_end_leaves_nothing_running() {
    let farm = Farm::new("term", &Package::saying(30));
    let first = farm.start();
    farm.container_that_said("line 3");
    first.signal("TERM");
    let (status, said) = first.wait();
    assert_eq!(status.code(), Some(130), "{said}");
    farm.check_nothing_is_left("out");
    let run = farm.run(1);
    assert_eq!(run["state"], "finished", "{run:#}");
    let (state, _, adopted) = of_job(&run);
    assert_eq!((state, &adopted[..]), ("cancelled", &[false][..]));
}
