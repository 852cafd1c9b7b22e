//! Proof that the gate catches: a good wheel, real and built by the farm, is changed in one way after
//! the other, and `wheelfarm verify` must find exactly what was changed, where it was changed.

mod archive;
mod bytes;
mod claims;
mod device;
mod elf;
mod fatbin;
mod host;
mod stranger;
mod wheel;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use self::wheel::Wheel;

/// A file to verify, and all that the gate should find in it.
#[derive(Debug)]
pub(crate) struct Mutant {
    what: &'static str,
    file_name: String,
    bytes: Vec<u8>,
    findings: Vec<Finding>,
    /// What the first finding has to say, among other things.
    naming: String,
}

/// One finding; its text is not compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    severity: String,
    rule: String,
    place: String,
}

impl Finding {
    fn line(&self) -> String {
        let Self {
            severity,
            rule,
            place,
        } = self;
        format!("{severity} {rule} {place}")
    }
}

/// What `wheelfarm verify` says of one file.
#[derive(Debug)]
struct Answer {
    findings: BTreeSet<Finding>,
    /// All that was seen, as text.
    seen: String,
    verdict: String,
    exit_code: Option<i32>,
}

impl Mutant {
    /// A changed wheel, with the good one's name or another.
    pub(crate) fn of(what: &'static str, wheel: Wheel) -> Self {
        Self {
            what,
            bytes: wheel.packed(),
            file_name: wheel.file_name,
            findings: Vec::new(),
            naming: String::new(),
        }
    }

    /// A file that is written as it is.
    pub(crate) fn raw(what: &'static str, file_name: &str, bytes: Vec<u8>) -> Self {
        let file_name = file_name.to_owned();
        Self {
            what,
            file_name,
            bytes,
            findings: Vec::new(),
            naming: String::new(),
        }
    }

    fn with(mut self, severity: &str, rule: &str, place: &str) -> Self {
        self.findings.push(Finding {
            severity: severity.to_owned(),
            rule: rule.to_owned(),
            place: place.to_owned(),
        });
        self
    }

    /// An error.
    pub(crate) fn finds(self, rule: &str, place: &str) -> Self {
        self.with("error", rule, place)
    }

    pub(crate) fn warns(self, rule: &str, place: &str) -> Self {
        self.with("warning", rule, place)
    }

    pub(crate) fn leaves_unchecked(self, rule: &str, place: &str) -> Self {
        self.with("not-checked", rule, place)
    }

    /// What some finding has to name.
    pub(crate) fn naming(mut self, text: &str) -> Self {
        text.clone_into(&mut self.naming);
        self
    }

    /// The verdict and the exit code that the findings add up to.
    fn verdict(&self) -> (&'static str, i32) {
        let has = |severity| self.findings.iter().any(|found| found.severity == severity);
        if has("error") {
            ("failed", 1)
        } else if has("not-checked") {
            ("not-checked", 4)
        } else {
            ("passed", 0)
        }
    }

    fn objections(&self, answer: &Answer) -> Option<String> {
        let wanted: BTreeSet<Finding> = self.findings.iter().cloned().collect();
        let (verdict, exit_code) = self.verdict();
        let is_right = answer.findings == wanted
            && answer.verdict == verdict
            && answer.exit_code == Some(exit_code)
            && answer.seen.contains(&self.naming);
        let list = |findings: &BTreeSet<Finding>| {
            let lines = findings
                .iter()
                .map(|found| format!("\n    {}", found.line()));
            lines.collect::<String>()
        };
        (!is_right).then(|| {
            format!(
                "{}\n  wanted {verdict}, {exit_code}, naming `{}`{}\n  found {}, {:?}{}\n  {}",
                self.what,
                self.naming,
                list(&wanted),
                answer.verdict,
                answer.exit_code,
                list(&answer.findings),
                answer.seen.replace('\n', "\n  "),
            )
        })
    }
}

/// Verifies `good`, a wheel of torch-spline-conv for the job `job` of `matrix`, and what is made of
/// it in `folder`.
pub(crate) fn check(verify: impl Fn(&Path) -> Command, good: &Path, folder: &Path) {
    let wheel = Wheel::read(good);
    let mut mutants = vec![
        Mutant::raw(
            "good: as it was built",
            &wheel.file_name,
            fs_err::read(good).unwrap(),
        ),
        Mutant::of("good: packed again", wheel.clone().recorded()),
    ];
    mutants.extend(device::mutants(&wheel));
    mutants.extend(host::mutants(&wheel));
    mutants.extend(claims::mutants(&wheel));
    mutants.extend(archive::mutants(&wheel));
    mutants.extend(stranger::mutants(&wheel, folder));

    let mut table = String::from("| mutation | place | found | verdict |\n|---|---|---|---|\n");
    let mut objections = Vec::new();
    for mutant in &mutants {
        let path = folder.join(&mutant.file_name);
        fs_err::write(&path, &mutant.bytes).unwrap();
        let answer = answer(verify(&path));
        fs_err::remove_file(&path).unwrap();
        write_row(&mut table, mutant, &answer);
        objections.extend(mutant.objections(&answer));
    }
    print(&table);
    assert!(objections.is_empty(), "{}", objections.join("\n"));
}

fn answer(mut verify: Command) -> Answer {
    let output = verify.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let value: Value = serde_json::from_slice(&output.stdout).expect(&stderr);
    let wheel = &value["wheels"][0];
    let findings = wheel["findings"].as_array().unwrap();
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    Answer {
        findings: findings
            .iter()
            .map(|finding| Finding {
                severity: text(finding, "severity"),
                rule: text(finding, "rule"),
                place: text(finding, "place"),
            })
            .collect(),
        seen: findings
            .iter()
            .map(|finding| text(finding, "seen"))
            .collect::<Vec<_>>()
            .join("\n"),
        verdict: text(wheel, "verdict"),
        exit_code: output.status.code(),
    }
}

fn write_row(table: &mut String, mutant: &Mutant, answer: &Answer) {
    let place = mutant.findings.first().map_or("", |first| &*first.place);
    let rules: BTreeSet<String> = answer
        .findings
        .iter()
        .map(|found| match &*found.severity {
            "error" => found.rule.clone(),
            severity => format!("{} ({severity})", found.rule),
        })
        .collect();
    let rules: Vec<String> = rules.into_iter().collect();
    let (what, verdict) = (mutant.what, &answer.verdict);
    writeln!(
        table,
        "| {what} | {place} | {} | {verdict} |",
        rules.join(", ")
    )
    .unwrap();
}

#[expect(
    clippy::print_stdout,
    reason = "the table is for who reads the test's output"
)]
fn print(table: &str) {
    println!("{table}");
}
