//! The install table with real pip and real uv, on releases of tiny wheels. Needs PyPI and a python3.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "clippy allows them in test functions, and not in what they call"
)]

mod release;

use std::collections::{BTreeMap, BTreeSet};

use tokio_util::sync::CancellationToken;
use wheelfarm_core::release::links::Links;
use wheelfarm_core::release::table::{Installer, Purpose, Verdict};
use wheelfarm_engine::fetch::{FetchOptions, Fetcher};
use wheelfarm_engine::install_table::{
    AT_ONCE, InstallTable, ROW_LIMIT, SHOWN_LIMIT, Served, TableOptions, TableReport,
};
use wheelfarm_engine::run::StopSignal;

use release::{Release, Tiny, good};

fn cache() -> std::path::PathBuf {
    std::env::temp_dir().join("wheelfarm-install-table-test")
}

fn table() -> InstallTable {
    InstallTable::new(options())
}

fn options() -> TableOptions {
    TableOptions {
        fetcher: Fetcher::new(cache(), FetchOptions::default()).unwrap(),
        index: wheelfarm_core::source::IndexUrl::default(),
        python: "python3".into(),
        inherited: std::env::vars_os().collect(),
        at_once: AT_ONCE,
        limit: ROW_LIMIT,
        shown_limit: SHOWN_LIMIT,
        stop: StopSignal {
            stop: CancellationToken::new(),
            at_once: CancellationToken::new(),
        },
    }
}

async fn run(release: &Release, links: Links) -> TableReport {
    let served = Served {
        links,
        index_url: None,
        address: None,
    };
    let report = table()
        .run(
            &release.catalog,
            &release.changed,
            &served,
            release.files(),
            &|_, _| (),
        )
        .await
        .unwrap();
    for row in &report.rows {
        println!(
            "{:>5} ms {}\n         {}\n         {}",
            row.took_ms,
            row.sentence(),
            row.line,
            row.said
        );
    }
    report
}

fn hub() -> Links {
    Links::Hub {
        endpoint: "https://huggingface.co".to_owned(),
        repository: "me/wheels".to_owned(),
    }
}

fn purposes(report: &TableReport) -> BTreeSet<Purpose> {
    report.rows.iter().map(|row| row.row.purpose).collect()
}

fn wrong(report: &TableReport) -> BTreeMap<(Purpose, Installer), usize> {
    let mut wrong = BTreeMap::new();
    for row in report.wrong() {
        *wrong
            .entry((row.row.purpose, row.row.installer))
            .or_default() += 1;
    }
    wrong
}

#[tokio::test]
async fn conformance_small_install_table_of_a_good_release_on_a_hub() {
    let report = run(&Release::new(good()), hub()).await;
    assert_eq!(report.left_out, 0);
    assert!(report.holds());
    assert_eq!(purposes(&report), Purpose::ALL.into());
}

#[tokio::test]
async fn conformance_small_install_table_of_a_good_release_in_a_folder() {
    let report = run(&Release::new(good()), Links::Relative).await;
    assert!(report.holds() && !report.rows.is_empty());
    assert!(!purposes(&report).contains(&Purpose::ClosedWay));
}

#[tokio::test]
async fn conformance_small_install_table_of_one_new_wheel_at_an_address() {
    let mut release = Release::new(good());
    release
        .changed
        .retain(|name| name.to_string().starts_with("kernels_of_mine"));
    let base = "https://wheels.example.org".to_owned();
    let report = run(&release, Links::Absolute { base }).await;
    assert!(report.holds() && !report.rows.is_empty());
    let line = &report.rows[0].line;
    assert!(line.contains("https://wheels.example.org/"), "{line}");
}

#[tokio::test]
async fn conformance_small_install_table_finds_an_index_that_mixes_cudas() {
    let name = |cuda: &str| {
        format!("flash_attn-2.8.3+{cuda}torch2.11-cp311-cp311-manylinux_2_28_x86_64.whl")
    };
    let wheel = |cuda: &str| {
        let channel = format!("{cuda}/torch2.11");
        Tiny::new(&name(cuda), &channel, &["torch==2.11.*"])
    };
    let mut release = Release::new(vec![wheel("cu128"), wheel("cu130")]);
    // As a shelf would list it that has one index for all: the wheel for CUDA 13 among those for 12.8.
    let stray = name("cu130").parse().unwrap();
    let stray = release.catalog.wheels.get_mut(&stray).unwrap();
    stray.channel = "cu128/torch2.11".parse().unwrap();
    let report = run(&release, hub()).await;
    // The file of requirements names it, and so does the version without its local part.
    let purposes = [Purpose::OtherWay, Purpose::PublicVersion];
    let every = purposes.map(|purpose| Installer::ALL.map(|one| ((purpose, one), 1)));
    assert_eq!(wrong(&report), every.into_iter().flatten().collect());
    for row in report.wrong() {
        let got = format!("`{}`", name("cu130"));
        assert_eq!(row.verdict, Verdict::Wrong { got });
    }
    assert!(!report.holds());
}

#[tokio::test]
async fn conformance_small_install_table_finds_a_wheel_that_is_not_bound_to_its_torch() {
    let name = "flash_attn-2.8.3+cu130torch2.11-cp311-cp311-manylinux_2_28_x86_64.whl";
    let report = run(
        &Release::new(vec![Tiny::new(name, "cu130/torch2.11", &["torch"])]),
        Links::Relative,
    )
    .await;
    // Beside an older torch and a newer one.
    assert_eq!(
        wrong(&report),
        BTreeMap::from(Installer::ALL.map(|installer| ((Purpose::OtherTorch, installer), 2)))
    );
}

#[tokio::test]
async fn conformance_small_install_table_finds_a_link_that_leads_nowhere() {
    let release = Release::new(vec![Tiny::new(
        "flash_attn-2.8.3+cu130torch2.11-cp311-cp311-manylinux_2_28_x86_64.whl",
        "cu130/torch2.11",
        &["torch==2.11.*"],
    )]);
    let served = Served {
        links: hub(),
        index_url: None,
        address: None,
    };
    let report = table()
        .run(
            &release.catalog,
            &release.changed,
            &served,
            |_| None,
            &|_, _| (),
        )
        .await
        .unwrap();
    let dead = report.wrong().filter(
        |row| matches!(&row.verdict, Verdict::Wrong { got } if got.contains("is not there")),
    );
    // Rows that expect a refusal are wrong too: it is not the refusal that is meant.
    assert!(dead.count() > 20);
    assert_eq!(report.not_checked().count(), 0);
}

#[tokio::test]
async fn conformance_small_install_table_is_not_checked_without_an_index_or_a_python() {
    let release = Release::new(good());
    let served = Served {
        links: hub(),
        index_url: None,
        address: None,
    };
    let error = |options: TableOptions| async {
        let table = InstallTable::new(options);
        let res = table
            .run(
                &release.catalog,
                &release.changed,
                &served,
                release.files(),
                &|_, _| (),
            )
            .await;
        res.unwrap_err().to_string()
    };
    let no_python = TableOptions {
        python: "/no/such/python3".into(),
        ..options()
    };
    assert_eq!(
        error(no_python).await,
        "failed to run `/no/such/python3`: No such file or directory (os error 2)"
    );
    let mut no_index = options();
    no_index.index = "http://127.0.0.1:9/simple".parse().unwrap();
    no_index.fetcher = Fetcher::new(
        cache(),
        FetchOptions {
            attempts: 1,
            ..FetchOptions::default()
        },
    )
    .unwrap();
    let error = error(no_index).await;
    assert!(
        error.starts_with("failed to ask `http://127.0.0.1:9/simple"),
        "{error}"
    );
}
