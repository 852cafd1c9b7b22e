//! A build that takes more memory than it was given.

use serde_json::{Value, json};

use crate::farm::{Farm, Package};

/// Takes 700 MiB in as many processes as there may be compilers.
const HUNGRY: &str = r#"
import os, subprocess, sys
code = "import time; taken = bytearray(700 << 20); taken[::4096] = b'x' * len(taken[::4096]); time.sleep(2)"
jobs = int(os.environ["MAX_JOBS"])
compilers = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(jobs)]
ends = [compiler.wait() for compiler in compilers]
print(f"{jobs} compilers ended with {ends}", flush=True)
sys.exit(1 if any(ends) else 0)
"#;

/// Row 4. It runs again with half the compilers; a neighbour does not notice.
#[test]
fn docker_a_build_out_of_memory_goes_on_with_half_the_compilers_and_harms_no_neighbour() {
    let waits = Package {
        before: "echo waiting; until test -e /tmp/go; do sleep 0.1; done",
        ..Package::default()
    };
    let neighbour = Farm::new("neighbour", &waits);
    let beside = neighbour.start();
    let container = neighbour.container_that_said("waiting");

    let package = Package {
        before: "python hungry.py",
        ..Package::default()
    };
    let farm = Farm::new("hungry", &package);
    farm.write("packages/demo/source/hungry.py", HUNGRY);
    let said = farm.build();
    assert!(
        said.contains("out-of-memory at compile; begins again with one compiler"),
        "{said}"
    );
    farm.check_built(3);
    let run = farm.run(1);
    let attempts = run["jobs"][0]["attempts"].as_array().unwrap();
    let seen: Vec<_> = attempts
        .iter()
        .map(|attempt| (&attempt["grant"]["compilers"], &attempt["sample"]["end"]))
        .collect();
    assert_eq!(
        seen,
        [
            (&json!(2), &json!("out-of-memory")),
            (&json!(1), &json!("done"))
        ],
        "{run:#}"
    );
    let peak = attempts[1]["sample"]["peak_memory_bytes"].as_u64().unwrap();
    assert!(peak >= 700 << 20, "{run:#}");
    assert_eq!(run["jobs"][0]["retries"].as_array().map(Vec::len), Some(1));

    // It has been there all the time, in the container that it began in.
    neighbour.docker(&["exec", &container, "touch", "/tmp/go"]);
    beside.done();
    neighbour.check_built(3);
    let run: Value = neighbour.run(1);
    assert_eq!(run["jobs"][0]["attempts"].as_array().map(Vec::len), Some(1));
}
