//! The page of one wheel: what it is, which GPUs run it, and what was checked.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::index::escaped;
use crate::gate::report::label_order;
use crate::manifest::{CheckState, Manifest};
use crate::receipt::GpuRunRecord;

/// What is appended to the wheel's name for its page.
pub const SUFFIX: &str = ".html";

/// The page of the wheel that `manifest` is about, as HTML without scripts.
pub fn wheel_page(manifest: &Manifest) -> String {
    let name = escaped(&manifest.wheel.file_name);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <title>{name}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{name}</h1>\n"
    );
    page += &table(&facts(manifest));
    page += "<h2>Which GPUs run it</h2>\n";
    page += &gpus(manifest);
    page += &modules(manifest);
    page += "<h2>What was checked</h2>\n";
    page += &checks(manifest);
    page += "</body>\n</html>\n";
    page
}

pub(super) const STYLE: &str = "body{font-family:sans-serif;margin:2em}table{border-collapse:collapse}\
                     td,th{border:1px solid #bbb;padding:.2em .6em;text-align:left}\
                     h1{font-size:1.2em}h2{font-size:1em}";

fn facts(manifest: &Manifest) -> Vec<Vec<String>> {
    let wheel = &manifest.wheel;
    let environment = &manifest.environment;
    let row = |key: &str, value: String| vec![key.to_owned(), value];
    vec![
        row(
            "project",
            format!("{} {}", manifest.package, manifest.version),
        ),
        row("sha256", wheel.sha256.to_string()),
        row("size", format!("{} bytes", wheel.size_bytes)),
        row(
            "built against",
            format!(
                "CUDA {}, torch {}, Python {}",
                environment.cuda, environment.torch, environment.python
            ),
        ),
        row(
            "archs asked for",
            manifest
                .archs
                .clone()
                .unwrap_or_else(|| "compiled on the user's GPU".to_owned()),
        ),
        row("requires", wheel.requires_dist.join(", ")),
        row("platform", wheel.platform_reason.clone()),
        row("source", manifest.source.identity.clone()),
        row("job", manifest.job.to_string()),
    ]
}

fn gpus(manifest: &Manifest) -> String {
    if manifest.runs_on.is_empty() {
        return "<p>Not checked: the wheel was built before there was a gate.</p>\n".to_owned();
    }
    if manifest
        .runs_on
        .iter()
        .all(|gpu| gpu.verdict == "no-device-code")
    {
        return "<p>It holds no GPU code.</p>\n".to_owned();
    }
    let mut rows = vec![
        ["compute capability", "for example", "answer", "driver"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for gpu in &manifest.runs_on {
        let driver = gpu.least_driver.as_ref();
        rows.push(vec![
            gpu.capability.clone(),
            gpu.example.clone(),
            gpu.verdict.clone(),
            driver.map_or_else(String::new, |driver| format!("{driver} or later")),
        ]);
    }
    table(&rows)
}

fn modules(manifest: &Manifest) -> String {
    let modules = &manifest.wheel.module_archs;
    if modules.is_empty() {
        return String::new();
    }
    let columns: BTreeSet<&String> = modules
        .values()
        .flat_map(|module| module.images.keys())
        .collect();
    let mut columns: Vec<&String> = columns.into_iter().collect();
    columns.sort_by_key(|column| label_order(column));
    let mut head = vec!["module".to_owned(), "containers".to_owned()];
    head.extend(columns.iter().map(|&column| column.clone()));
    let mut rows = vec![head];
    for (path, module) in modules {
        let mut row = vec![path.clone(), module.containers.to_string()];
        row.extend(columns.iter().map(|&column| {
            let count = module.images.get(column);
            count.map_or_else(|| "-".to_owned(), ToString::to_string)
        }));
        rows.push(row);
    }
    format!(
        "<h2>GPU code by module: how many containers hold it</h2>\n{}",
        table(&rows)
    )
}

fn checks(manifest: &Manifest) -> String {
    let said = |state: CheckState| match state {
        CheckState::Passed => "passed",
        CheckState::NotChecked => "not checked in full",
    };
    let gpu_run = manifest.gpu_run.as_ref();
    let gpu_run = gpu_run.map_or_else(|| "not run".to_owned(), GpuRunRecord::line);
    let mut text = format!(
        "<p>Gate: {}. Run on a GPU: {}.</p>\n",
        said(manifest.gate),
        escaped(&gpu_run)
    );
    if !manifest.findings.is_empty() {
        text += "<ul>\n";
        for finding in &manifest.findings {
            let line = escaped(&crate::gate::report::finding_line(finding));
            writeln!(text, "<li>{line}</li>").expect("a String takes all that is written");
        }
        text += "</ul>\n";
    }
    text
}

/// The first row is the head when the table has more than two columns.
fn table(rows: &[Vec<String>]) -> String {
    let has_head = rows.first().is_some_and(|row| row.len() > 2);
    let mut text = String::from("<table>\n");
    for (index, row) in rows.iter().enumerate() {
        let tag = if has_head && index == 0 { "th" } else { "td" };
        let cells = row
            .iter()
            .map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell)));
        writeln!(text, "<tr>{}</tr>", cells.collect::<String>())
            .expect("a String takes all that is written");
    }
    text + "</table>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::SAMPLE;
    use crate::receipt::RunState;

    #[test]
    fn a_page_says_where_the_wheel_runs_and_what_was_checked() {
        let manifest = Manifest::parse(SAMPLE).unwrap();
        insta::assert_snapshot!(wheel_page(&manifest));
    }

    #[test]
    fn what_was_not_checked_is_not_said_to_run() {
        let mut manifest = Manifest::parse(SAMPLE).unwrap();
        manifest.runs_on.clear();
        manifest.gate = CheckState::NotChecked;
        let page = wheel_page(&manifest);
        assert!(
            page.contains("Not checked: the wheel was built before"),
            "{page}"
        );
        assert!(page.contains("Gate: not checked in full."), "{page}");
    }

    #[test]
    fn a_run_on_a_gpu_is_told_with_its_device() {
        let mut manifest = Manifest::parse(SAMPLE).unwrap();
        let said = |manifest: &Manifest| {
            let page = wheel_page(manifest);
            let line = page.lines().find(|line| line.contains("Run on a GPU"));
            line.unwrap_or_default().to_owned()
        };
        let mut record = GpuRunRecord {
            state: RunState::Passed,
            reason: None,
            device: Some("NVIDIA H200".to_owned()),
            driver: Some("580.159.03".to_owned()),
            ..GpuRunRecord::not_run()
        };
        manifest.gpu_run = Some(record.clone());
        let passed = said(&manifest);
        record.state = RunState::Failed;
        record.reason = Some("numbers: 3 < 4".to_owned());
        manifest.gpu_run = Some(record);
        let failed = said(&manifest);
        manifest.gpu_run = None;
        insta::assert_snapshot!([passed, failed, said(&manifest)].join("\n"), @r"
        <p>Gate: passed. Run on a GPU: NVIDIA H200, driver 580.159.03, passed.</p>
        <p>Gate: passed. Run on a GPU: NVIDIA H200, driver 580.159.03, failed (numbers: 3 &lt; 4).</p>
        <p>Gate: passed. Run on a GPU: not run.</p>
        ");
    }
}
