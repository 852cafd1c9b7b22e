//! What goes on record of a job's inputs and of its failure, and what the next plan says of it.

use std::collections::BTreeMap;

use wheelfarm_core::ident::JobId;
use wheelfarm_core::outcome::Stage;
use wheelfarm_core::plan::Need;
use wheelfarm_core::plan::changes::{Change, SinceRecord, Why};
use wheelfarm_engine::container::ScriptedRun;
use wheelfarm_engine::farm_folder::{self, FarmFolder};

use crate::farm::{Farm, ends, good_run, job_id};

/// What each job of the farm needs, and why.
fn planned(farm: &Farm) -> (Vec<Need>, BTreeMap<JobId, Why>) {
    let folder = FarmFolder::read(&farm.path().join("matrix.yaml")).unwrap();
    let plan = folder.plan().unwrap();
    let needs = plan.needs(&farm_folder::on_record(&farm.out()).unwrap());
    let why = farm_folder::why(&farm.out(), &needs).unwrap();
    (needs.iter().map(|(_, need)| *need).collect(), why)
}

async fn built(farm: &Farm, packages: &[&str]) {
    for package in packages {
        farm.engine.script_next(good_run(package));
    }
    let summary = farm.build().await;
    assert!(
        ends(&summary).iter().all(|end| *end == "built"),
        "{summary:#?}"
    );
}

const NO_INPUT: &str = "    contract:\n      size: 1MiB\n    gpu: none\n";

#[tokio::test(start_paused = true)]
async fn what_changed_since_the_record_is_told_and_only_that_is_built() {
    let farm = Farm::new(&["a", "b"]);
    built(&farm, &["a", "b"]).await;
    // A container that nothing is scripted for leaves no wheel: what is not up to date would fail.
    assert_eq!(ends(&farm.build().await), ["up-to-date", "up-to-date"]);

    // What is in no digest changes nothing.
    farm.package("a", NO_INPUT);
    assert_eq!(planned(&farm).0, [Need::UpToDate, Need::UpToDate]);

    let path = "packages/a/package.yaml";
    let text = fs_err::read_to_string(farm.path().join(path)).unwrap();
    farm.write(
        path,
        &text.replace("setuptools==80.9.0", "setuptools==81.0.0"),
    );
    farm.write("sources/b/setup.py", "import setuptools, sys\n");
    let (needs, why) = planned(&farm);
    assert_eq!(needs, [Need::InputsChanged, Need::InputsChanged]);
    let changes = |package: &str| match &why[&job_id(package).parse::<JobId>().unwrap()].changes {
        SinceRecord::Changes(changes) => changes.clone(),
        other @ (SinceRecord::Nothing | SinceRecord::NotOnRecord) => panic!("{other:?}"),
    };
    let gone = Change {
        field: "requirements".to_owned(),
        before: Some("setuptools==80.9.0".to_owned()),
        after: None,
    };
    let new = Change {
        before: None,
        after: Some("setuptools==81.0.0".to_owned()),
        ..gone.clone()
    };
    assert_eq!(changes("a"), [gone, new]);
    let fields: Vec<_> = changes("b")
        .into_iter()
        .map(|change| change.field)
        .collect();
    assert_eq!(fields, ["source"]);

    farm.write("sources/b/setup.py", "import setuptools\n");
    farm.engine.script_next(good_run("a"));
    assert_eq!(ends(&farm.build().await), ["built", "up-to-date"]);
    assert_eq!(planned(&farm).0, [Need::UpToDate, Need::UpToDate]);
}

#[tokio::test(start_paused = true)]
async fn a_record_from_before_inputs_were_kept_says_so() {
    let farm = Farm::new(&["a"]);
    built(&farm, &["a"]).await;
    farm.write("sources/a/setup.py", "import setuptools, sys\n");
    let inputs = farm
        .out()
        .join("jobs")
        .join(job_id("a"))
        .join("inputs.json");
    for text in [None, Some("{}"), Some("not json")] {
        match text {
            None => fs_err::remove_file(&inputs).unwrap(),
            Some(text) => fs_err::write(&inputs, text).unwrap(),
        }
        let (needs, why) = planned(&farm);
        assert_eq!(needs, [Need::InputsChanged]);
        let why = why.into_values().next().unwrap();
        assert_eq!(why.changes, SinceRecord::NotOnRecord, "{text:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn how_a_job_failed_is_told_until_it_is_built() {
    let farm = Farm::new(&["a"]);
    let run = ScriptedRun {
        exit_code: 2,
        ..good_run("a")
    };
    farm.engine.script_next(run);
    assert_eq!(ends(&farm.build().await), ["script"]);
    let (needs, why) = planned(&farm);
    assert_eq!(needs, [Need::New]);
    let failure = why.into_values().next().unwrap().last_failure.unwrap();
    assert_eq!(
        (failure.stage, failure.kind.as_str(), failure.exit_code),
        (Stage::Compile, "script", Some(2))
    );
    assert_eq!(failure.job.as_str(), job_id("a"));

    built(&farm, &["a"]).await;
    assert_eq!(planned(&farm), (vec![Need::UpToDate], BTreeMap::new()));
}
