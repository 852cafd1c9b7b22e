//! The farm that was begun: what was chosen, what was written, and what comes next.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;
use wheelfarm_core::starter::{MATRIX, Settings, Starter, shell_word};
use wheelfarm_engine::starter::Written;

use super::{OutputError, data};

/// A farm that was begun, or would be.
pub(crate) struct Begun<'a> {
    pub(crate) folder: &'a Utf8Path,
    pub(crate) settings: &'a Settings,
    pub(crate) starter: &'a Starter,
    pub(crate) written: &'a Written,
    /// Nothing was written.
    pub(crate) is_dry: bool,
}

impl Begun<'_> {
    /// What to type next.
    fn commands(&self) -> Vec<String> {
        let mut commands = Vec::new();
        if self.folder != "." {
            commands.push(format!("cd {}", shell_word(self.folder.as_str())));
        }
        commands.extend(["doctor", "plan", "build"].map(|name| format!("wheelfarm {name}")));
        if let Some(shelf) = &self.settings.publish_to {
            let shelf = shell_word(shelf);
            commands.push(format!("wheelfarm publish --to {shelf} --prove"));
        }
        commands
    }

    fn jobs(&self) -> Vec<String> {
        let jobs = self.starter.plan.jobs.iter();
        jobs.map(|job| job.id().to_string()).collect()
    }
}

/// What was chosen and why, what was written, and the next commands.
pub(crate) fn human(begun: &Begun<'_>) -> Result<(), OutputError> {
    data(&human_text(begun))
}

/// The longest value that reasons are aligned behind.
const MOST_ALIGNED: usize = 32;

fn human_text(begun: &Begun<'_>) -> String {
    let mut lines = Vec::new();
    let choices = begun.starter.choices.iter();
    // A value of its own length, as a commit's, moves no other.
    let lengths = choices.clone().map(|one| one.value.len());
    let width = lengths.filter(|length| *length <= MOST_ALIGNED).max();
    let width = width.unwrap_or_default();
    for choice in choices {
        let (what, value, why) = (choice.what, &choice.value, &choice.why);
        lines.push(format!("chose  {what:<8} {value:<width$}  {why}"));
    }
    let verb = if begun.is_dry { "would write" } else { "wrote" };
    let written = begun.written;
    for (group, count) in groups(&written.new) {
        let place = begun.folder.join(group);
        match count {
            1 => lines.push(format!("{verb}  {place}")),
            count => lines.push(format!("{verb}  {place}  {count} files")),
        }
    }
    for kept in &written.kept {
        let place = begun.folder.join(kept);
        lines.push(format!(
            "kept   {place}  it was there; nothing is overwritten"
        ));
    }
    if !written.same.is_empty() {
        let count = written.same.len();
        lines.push(format!(
            "same   {count} files were there already, word for word"
        ));
    }
    for job in begun.jobs() {
        lines.push(format!("plan   {job}"));
    }
    if begun.is_dry {
        lines.push(String::new());
        lines.push(format!("{}:", begun.folder.join(MATRIX)));
        let matrix = begun.starter.files.iter().find(|file| file.path == MATRIX);
        let matrix = matrix.map(|file| file.text.trim_end().to_owned());
        lines.extend(matrix);
        return lines.join("\n");
    }
    lines.push(String::new());
    lines.push("Next:".to_owned());
    for command in begun.commands() {
        lines.push(format!("  {command}"));
    }
    lines.join("\n")
}

/// What is written, a line for each package and not for each of its patches: `patches/torch/`.
fn groups(paths: &[Utf8PathBuf]) -> Vec<(Utf8PathBuf, usize)> {
    let mut order = Vec::new();
    let mut counts: BTreeMap<Utf8PathBuf, usize> = BTreeMap::new();
    for path in paths {
        let parts: Vec<_> = path.iter().collect();
        let group = match parts[..] {
            [top, name, _, ..] if matches!(top, "packages" | "patches") => {
                Utf8Path::new(top).join(name).join("")
            }
            _ => path.clone(),
        };
        if !counts.contains_key(&group) {
            order.push(group.clone());
        }
        *counts.entry(group).or_default() += 1;
    }
    let counted = order.into_iter().map(|group| {
        let count = counts[&group];
        (group, count)
    });
    counted.collect()
}

/// Schema 1.
pub(crate) fn json(begun: &Begun<'_>) -> Result<(), OutputError> {
    let choices = begun.starter.choices.iter();
    let choices: Vec<_> = choices
        .map(|one| json!({ "what": one.what, "value": one.value, "why": one.why }))
        .collect();
    let paths = |paths: &[Utf8PathBuf]| -> Vec<String> {
        let places = paths.iter().map(|path| begun.folder.join(path));
        places.map(Utf8PathBuf::into_string).collect()
    };
    let value = json!({
        "schema": 1,
        "farm": begun.settings.farm.as_str(),
        "folder": begun.folder.as_str(),
        "dry_run": begun.is_dry,
        "choices": choices,
        "written": paths(&begun.written.new),
        "kept": paths(&begun.written.kept),
        "same": paths(&begun.written.same),
        "jobs": begun.jobs(),
        "next": begun.commands(),
    });
    data(&format!("{value:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_counted_by_package() {
        let paths = [
            "README.md",
            "packages/a/package.yaml",
            "packages/a/test.py",
            "patches/a/1.0/x.patch",
            "matrix.yaml",
        ]
        .map(Utf8PathBuf::from);
        let groups = groups(&paths);
        let told: Vec<_> = groups
            .iter()
            .map(|(path, n)| format!("{path} {n}"))
            .collect();
        let want = [
            "README.md 1",
            "packages/a/ 2",
            "patches/a/ 1",
            "matrix.yaml 1",
        ];
        assert_eq!(told, want);
    }
}
