//! What an installer's answer comes to.

use std::str::FromStr;

use pep440_rs::{Version, VersionSpecifiers};

use super::{Expected, Row};
use crate::digest::Sha256Digest;
use crate::ident::PackageName;

/// How an installer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It says what it would install.
    Done,
    /// It refuses.
    Failed,
    /// It did not get so far as to say anything of the release, and why.
    NotRun(String),
}

/// Whether an installer looks at what is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// It does.
    Seeing,
    /// It does not, because it was told to install for another Python.
    Blind,
}

/// One distribution that an installer would install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The project.
    pub project: PackageName,
    /// The version, local part included.
    pub version: String,
    /// The name of the file, where the installer tells it.
    pub file_name: Option<String>,
    /// The digest that it has for the file, where it tells one.
    pub sha256: Option<Sha256Digest>,
}

/// What came of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How the installer ended.
    pub ended: Ended,
    /// Whether it looked at the installed torch.
    pub sight: Sight,
    /// What it would install.
    pub taken: Vec<Taken>,
    /// The files of the release's projects that it asked the default index for. They are never handed out,
    /// since an installer would run what is in an sdist.
    pub turned_away: Vec<String>,
    /// What it asked the release for that is not there, though a page or a line names it.
    pub missing: Vec<String>,
    /// The installer's own words.
    pub said: String,
}

/// What a row comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it must be.
    Pass,
    /// It is not.
    Wrong {
        /// What came instead of what was expected.
        got: String,
    },
    /// Nothing is known.
    NotChecked {
        /// Why.
        why: String,
    },
}

/// What an installer did about the project of a row.
enum Got<'a> {
    File(&'a Taken),
    DefaultIndex(&'a str),
    Refusal,
    Nothing,
}

impl Row {
    /// Holds what came of the row against what must.
    pub fn judge(&self, outcome: &Outcome) -> Verdict {
        if let Ended::NotRun(why) = &outcome.ended {
            return Verdict::NotChecked { why: why.clone() };
        }
        // A refusal because a link is dead is not the refusal that is wanted.
        if let Some(path) = outcome.missing.first() {
            return wrong(format!(
                "`{path}`, which a page or a line names, is not there"
            ));
        }
        if let Some(change) = self.torch_change(outcome) {
            return wrong(change);
        }
        let got = self.got(outcome);
        match (&self.expected, &got) {
            (Expected::File { name, sha256 }, Got::File(taken)) => {
                let is_file = taken.file_name.as_deref() == Some(name.to_string().as_str());
                match taken.sha256 {
                    Some(digest) if is_file && digest != *sha256 => {
                        wrong(format!("`{name}` with sha256 {digest}"))
                    }
                    Some(_) | None if is_file => Verdict::Pass,
                    Some(_) | None => wrong(got.to_string()),
                }
            }
            (Expected::AnythingBut(name), Got::File(taken)) => {
                if taken.file_name.as_deref() == Some(name.to_string().as_str()) {
                    wrong(got.to_string())
                } else {
                    Verdict::Pass
                }
            }
            (Expected::Refusal, Got::Refusal)
            | (Expected::AnythingBut(_), Got::DefaultIndex(_) | Got::Refusal) => Verdict::Pass,
            (Expected::File { .. }, Got::DefaultIndex(_) | Got::Refusal)
            | (Expected::Refusal, Got::DefaultIndex(_) | Got::File(_))
            | (_, Got::Nothing) => wrong(got.to_string()),
        }
    }

    fn got<'a>(&self, outcome: &'a Outcome) -> Got<'a> {
        if let Some(file) = outcome.turned_away.first() {
            return Got::DefaultIndex(file);
        }
        let mut taken = outcome.taken.iter();
        match taken.find(|taken| taken.project == self.project) {
            Some(taken) => Got::File(taken),
            None if outcome.ended == Ended::Done => Got::Nothing,
            None => Got::Refusal,
        }
    }

    /// What the installer would make of the installed torch, unless it leaves it alone. Where there is none,
    /// or it does not look, it may bring what the line asks for.
    fn torch_change(&self, outcome: &Outcome) -> Option<String> {
        let mut taken = outcome.taken.iter();
        let torch = taken.find(|taken| taken.project.as_str() == "torch")?;
        match (&self.installed_torch, outcome.sight) {
            (Some(installed), Sight::Seeing) => (torch.version != *installed)
                .then(|| format!("torch {} in the place of {installed}", torch.version)),
            (None, _) | (_, Sight::Blind) => {
                let version = Version::from_str(&torch.version);
                let specifiers = self.torch_requirement.trim_start_matches("torch");
                let wanted = VersionSpecifiers::from_str(specifiers);
                let fits = version.is_ok_and(|v| wanted.is_ok_and(|wanted| wanted.contains(&v)));
                let asked = &self.torch_requirement;
                (!fits).then(|| format!("torch {}, and the line says `{asked}`", torch.version))
            }
        }
    }
}

impl std::fmt::Display for Got<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(taken) => match &taken.file_name {
                Some(name) => write!(f, "`{name}`"),
                None => write!(f, "{} {} of an unknown file", taken.project, taken.version),
            },
            Self::DefaultIndex(name) => write!(f, "`{name}` of the default index"),
            Self::Refusal => f.write_str("a refusal"),
            Self::Nothing => f.write_str("nothing: the installer finds nothing to do"),
        }
    }
}

fn wrong(got: String) -> Verdict {
    Verdict::Wrong { got }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256Digest;
    use crate::release::catalog::Track;
    use crate::release::install::Way;
    use crate::release::table::{Face, Installer, Purpose};

    const FILE: &str = "demo-1.0+cu130torch2.11-cp311-cp311-manylinux_2_28_x86_64.whl";

    fn row(expected: Expected) -> Row {
        Row {
            purpose: Purpose::Newest,
            track: Track::Stable,
            channel: "cu130/torch2.11".parse().unwrap(),
            python: "3.11".parse().unwrap(),
            machine: "x86_64".to_owned(),
            glibc: None,
            installed_torch: Some("2.11.0".to_owned()),
            torch: "2.11.0".to_owned(),
            torch_requirement: "torch==2.11.0".to_owned(),
            installer: Installer::Uv,
            way: Way::Index,
            face: Face::Static,
            project: "demo".parse().unwrap(),
            words: Vec::new(),
            expected,
        }
    }

    fn file() -> Expected {
        Expected::File {
            name: FILE.parse().unwrap(),
            sha256: Sha256Digest::of(b"demo"),
        }
    }

    fn taken(project: &str, version: &str, file_name: Option<&str>) -> Taken {
        Taken {
            project: project.parse().unwrap(),
            version: version.to_owned(),
            file_name: file_name.map(str::to_owned),
            sha256: None,
        }
    }

    fn outcome(ended: Ended, taken: Vec<Taken>) -> Outcome {
        Outcome {
            ended,
            sight: Sight::Seeing,
            taken,
            turned_away: Vec::new(),
            missing: Vec::new(),
            said: String::new(),
        }
    }

    #[track_caller]
    fn check(expected: Expected, outcome: &Outcome, want: &str) {
        let got = match row(expected).judge(outcome) {
            Verdict::Pass => "pass".to_owned(),
            Verdict::Wrong { got } => format!("wrong: {got}"),
            Verdict::NotChecked { why } => format!("not checked: {why}"),
        };
        assert_eq!(got, want);
    }

    #[test]
    fn the_one_file_is_right_and_any_other_wrong() {
        let right = outcome(
            Ended::Done,
            vec![taken("demo", "1.0+cu130torch2.11", Some(FILE))],
        );
        check(file(), &right, "pass");
        check(Expected::Refusal, &right, &format!("wrong: `{FILE}`"));
        check(
            Expected::AnythingBut(FILE.parse().unwrap()),
            &right,
            &format!("wrong: `{FILE}`"),
        );
        let other = FILE.replace("cu130", "cu128");
        let other = outcome(Ended::Done, vec![taken("demo", "1.0", Some(&other))]);
        check(
            file(),
            &other,
            "wrong: `demo-1.0+cu128torch2.11-cp311-cp311-manylinux_2_28_x86_64.whl`",
        );
        check(Expected::AnythingBut(FILE.parse().unwrap()), &other, "pass");
        let unnamed = outcome(Ended::Done, vec![taken("demo", "1.0", None)]);
        check(file(), &unnamed, "wrong: demo 1.0 of an unknown file");
        let mut bytes = right;
        bytes.taken[0].sha256 = Some(Sha256Digest::of(b"other"));
        let digest = Sha256Digest::of(b"other");
        check(
            file(),
            &bytes,
            &format!("wrong: `{FILE}` with sha256 {digest}"),
        );
    }

    #[test]
    fn refusals_count_only_when_nothing_was_dead() {
        let mut refused = outcome(Ended::Failed, Vec::new());
        check(Expected::Refusal, &refused, "pass");
        check(file(), &refused, "wrong: a refusal");
        refused.missing.push("files/a.whl".to_owned());
        let dead = "wrong: `files/a.whl`, which a page or a line names, is not there";
        check(Expected::Refusal, &refused, dead);
        let nothing = outcome(Ended::Done, Vec::new());
        check(
            file(),
            &nothing,
            "wrong: nothing: the installer finds nothing to do",
        );
        check(
            Expected::Refusal,
            &nothing,
            "wrong: nothing: the installer finds nothing to do",
        );
    }

    #[test]
    fn a_file_of_the_default_index_is_never_a_refusal() {
        let mut away = outcome(Ended::Failed, Vec::new());
        away.turned_away.push("demo-1.1.tar.gz".to_owned());
        let want = "wrong: `demo-1.1.tar.gz` of the default index";
        check(file(), &away, want);
        check(Expected::Refusal, &away, want);
        check(Expected::AnythingBut(FILE.parse().unwrap()), &away, "pass");
    }

    #[test]
    fn another_torch_is_wrong_whatever_else_is_right() {
        let right = taken("demo", "1.0+cu130torch2.11", Some(FILE));
        let with = |torch: &str| {
            outcome(
                Ended::Done,
                vec![right.clone(), taken("torch", torch, None)],
            )
        };
        check(
            file(),
            &with("2.12.0"),
            "wrong: torch 2.12.0 in the place of 2.11.0",
        );
        check(
            file(),
            &with("2.11.0+cu130"),
            "wrong: torch 2.11.0+cu130 in the place of 2.11.0",
        );
        let mut blind = with("2.11.0");
        blind.sight = Sight::Blind;
        check(file(), &blind, "pass");
        blind.taken[1].version = "2.12.0".to_owned();
        check(
            file(),
            &blind,
            "wrong: torch 2.12.0, and the line says `torch==2.11.0`",
        );
        let why = Ended::NotRun("it did not end within 120 s".to_owned());
        check(
            file(),
            &outcome(why, Vec::new()),
            "not checked: it did not end within 120 s",
        );
    }
}
