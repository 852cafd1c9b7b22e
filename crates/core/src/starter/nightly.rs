//! The nightly workflow of a farm on GitHub Actions: a template, and what is put into it.
//!
//! The template is a workflow as it stands but for five words in `@@`: `@@CRON@@`, `@@MATRIX@@`,
//! `@@TRACK@@`, `@@LABELS@@` and `@@ACTION@@`. This repository's own `.github/workflows/nightly.yml` is
//! the workflow with the settings of `tests::this_repository`.

use crate::release::catalog::Track;

const TEMPLATE: &str = include_str!("../../data/starter/nightly.yml");

/// Where the workflow goes in a repository.
pub const PATH: &str = ".github/workflows/nightly.yml";

/// What a nightly is made with; every value was looked at, so that none can end the place it is put into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NightlySettings {
    cron: String,
    matrix: String,
    track: Track,
    labels: Vec<String>,
    action: String,
}

/// A value cannot stand in the workflow.
#[derive(Debug, thiserror::Error)]
#[error("`{value}` cannot be the {what} of a nightly workflow")]
pub struct NightlyError {
    what: &'static str,
    value: String,
    hint: &'static str,
}

impl NightlyError {
    /// What to write instead.
    pub fn hint(&self) -> &'static str {
        self.hint
    }
}

impl NightlySettings {
    /// The nightly of the farm in `matrix`, a path in the repository, with `action` to install wheelfarm:
    /// `OWNER/NAME@COMMIT`, the commit in full, or `./` in wheelfarm's own repository. It begins at 01:23
    /// UTC, on a runner labelled `self-hosted`, `linux`, `x64`, `gpu`, and publishes to the nightly track.
    ///
    /// # Errors
    /// The path is not plain, or the action is not pinned by a commit: whoever owns a tag or a branch can
    /// move it, and the next night would run what it then names
    /// (<https://docs.github.com/en/actions/reference/security/secure-use>).
    pub fn new(matrix: &str, action: &str) -> Result<Self, NightlyError> {
        let is_path = |text: &str| {
            let is_plain = |it: char| it.is_ascii_alphanumeric() || "._-/".contains(it);
            !text.is_empty() && !text.starts_with(['/', '-']) && text.chars().all(is_plain)
        };
        let refuse = |what, value: &str, hint| NightlyError {
            what,
            value: value.to_owned(),
            hint,
        };
        if !is_path(matrix) || matrix.split('/').any(|part| part == "..") {
            return Err(refuse(
                "matrix",
                matrix,
                "write its path in the repository, of letters, digits and `._-/`: `matrix.yaml`",
            ));
        }
        if action != "./" && !is_pinned(action) {
            return Err(refuse(
                "action",
                action,
                "write OWNER/NAME@COMMIT, the commit with all of its 40 digits",
            ));
        }
        Ok(Self {
            cron: "23 1 * * *".to_owned(),
            matrix: matrix.to_owned(),
            track: Track::Nightly,
            labels: ["self-hosted", "linux", "x64", "gpu"]
                .map(str::to_owned)
                .to_vec(),
            action: action.to_owned(),
        })
    }

    /// Begins at another time: five fields, in UTC
    /// (<https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows#schedule>).
    ///
    /// # Errors
    /// There are not five, or one has a character that none can have.
    pub fn at(self, cron: &str) -> Result<Self, NightlyError> {
        let is_field = |field: &str| {
            !field.is_empty()
                && field
                    .chars()
                    .all(|it| it.is_ascii_alphanumeric() || "*,-/".contains(it))
        };
        if cron.split(' ').count() != 5 || !cron.split(' ').all(is_field) {
            return Err(NightlyError {
                what: "time",
                value: cron.to_owned(),
                hint: "write minute, hour, day, month and weekday, in UTC: `23 1 * * *`",
            });
        }
        Ok(Self {
            cron: cron.to_owned(),
            ..self
        })
    }

    /// Runs on runners that have all of `labels`.
    ///
    /// # Errors
    /// There is none, `self-hosted` is not among them, or one is not plain.
    pub fn on(self, labels: &[&str]) -> Result<Self, NightlyError> {
        let is_label = |label: &&str| {
            let is_plain = |it: char| it.is_ascii_alphanumeric() || "._-".contains(it);
            !label.is_empty() && label.chars().all(is_plain)
        };
        if !labels.contains(&"self-hosted") || !labels.iter().all(is_label) {
            return Err(NightlyError {
                what: "runner",
                value: labels.join(", "),
                hint: "write its labels, `self-hosted` among them, of letters, digits and `._-`",
            });
        }
        Ok(Self {
            labels: labels.iter().map(|&label| label.to_owned()).collect(),
            ..self
        })
    }

    /// The labels of its runner.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// What installs wheelfarm: `OWNER/NAME@COMMIT`.
    pub fn action(&self) -> &str {
        &self.action
    }

    /// Publishes to `track`.
    #[must_use]
    pub fn to(self, track: Track) -> Self {
        Self { track, ..self }
    }
}

/// Whether `action` is `OWNER/NAME@` and a whole commit.
fn is_pinned(action: &str) -> bool {
    let Some((repository, commit)) = action.split_once('@') else {
        return false;
    };
    let is_name = |name: &str| {
        let is_plain = |it: char| it.is_ascii_alphanumeric() || "._-".contains(it);
        !name.is_empty() && name.chars().all(is_plain)
    };
    let is_commit = commit.len() == 40
        && commit
            .chars()
            .all(|it| it.is_ascii_digit() || ('a'..='f').contains(&it));
    let is_repository = repository
        .split_once('/')
        .is_some_and(|(owner, name)| is_name(owner) && is_name(name));
    is_commit && is_repository
}

/// The workflow.
pub fn nightly(settings: &NightlySettings) -> String {
    let NightlySettings {
        cron,
        matrix,
        track,
        labels,
        action,
    } = settings;
    TEMPLATE
        .replace("@@CRON@@", cron)
        .replace("@@MATRIX@@", matrix)
        .replace("@@TRACK@@", track.as_str())
        .replace("@@LABELS@@", &labels.join(", "))
        .replace("@@ACTION@@", action)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn this_repository() -> NightlySettings {
        NightlySettings::new("matrix.yaml", "./").unwrap()
    }

    #[test]
    fn this_repositorys_own_nightly_is_the_template_filled() {
        let own = include_str!("../../../../.github/workflows/nightly.yml");
        assert_eq!(
            own,
            nightly(&this_repository()),
            "fill the five words of crates/core/data/starter/nightly.yml anew"
        );
    }

    #[test]
    fn every_word_of_the_template_is_filled() {
        let action = format!("farm/wheelfarm@{COMMIT}");
        let settings = NightlySettings::new("farm/matrix.yaml", &action)
            .and_then(|it| it.at("7 22 * * 1-5"))
            .and_then(|it| it.on(&["self-hosted", "b200"]));
        let text = nightly(&settings.unwrap().to(Track::Stable));
        assert!(!text.contains("@@"), "{text}");
        for line in [
            "    - cron: \"7 22 * * 1-5\"",
            "  WHEELFARM_MATRIX: \"farm/matrix.yaml\"",
            "  WHEELFARM_TRACK: \"stable\"",
            "    runs-on: [self-hosted, b200]",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}");
        }
        let uses = format!("        uses: {action}");
        assert_eq!(text.lines().filter(|line| **line == uses).count(), 2);
    }

    /// What asks the Hub would otherwise ask for a token by the job's identity, which not every farm is
    /// trusted by.
    #[test]
    fn every_step_that_asks_the_hub_has_the_token_and_no_other() {
        let text = nightly(&this_repository());
        let token = "          HF_TOKEN: ${{ secrets.HF_TOKEN }}\n";
        for step in text.split("      - name: ").skip(1) {
            let asks = ["publish", "status"];
            let asks = asks.map(|step| format!("wheelfarm-nightly {step}\n"));
            let asks = asks.iter().any(|run| step.contains(run.as_str()));
            assert_eq!(step.contains(token), asks, "{step}");
            assert_eq!(step.contains("secrets."), asks, "{step}");
        }
    }

    #[track_caller]
    fn check(settings: Result<NightlySettings, NightlyError>, message: &str) {
        assert_eq!(settings.unwrap_err().to_string(), message);
    }

    #[test]
    fn what_could_end_its_place_in_the_workflow_is_refused() {
        for action in ["farm/wheelfarm@v1", "farm/wheelfarm", "./other", "a/b@c\n"] {
            let message = format!("`{action}` cannot be the action of a nightly workflow");
            check(NightlySettings::new("matrix.yaml", action), &message);
        }
        let short = format!("wheelfarm@{COMMIT}");
        assert!(NightlySettings::new("matrix.yaml", &short).is_err());
        for matrix in ["", "/etc/matrix.yaml", "../matrix.yaml", "m\"\nx: 1", "-x"] {
            let message = format!("`{matrix}` cannot be the matrix of a nightly workflow");
            check(NightlySettings::new(matrix, "./"), &message);
        }
        for cron in ["", "1 2 3 4", "1 2 3 4 \"", "1  2 3 4"] {
            let message = format!("`{cron}` cannot be the time of a nightly workflow");
            check(this_repository().at(cron), &message);
        }
        for labels in [&["gpu"][..], &[], &["self-hosted", "a]"]] {
            let message = format!(
                "`{}` cannot be the runner of a nightly workflow",
                labels.join(", ")
            );
            check(this_repository().on(labels), &message);
        }
    }
}
