//! Whether a host is fit for a night: facts go in, a line for each check comes out.
//!
//! A line fails when the night would: a source that must be fetched and cannot, a disk without room for the
//! largest job. It warns when the night goes on and something of it may not. What could not be looked at is
//! "not checked", and never a pass. docs/doctor.md has every check with its source.

pub mod facts;
pub mod hub;
mod judge;
pub mod proc;
pub mod targets;
pub mod wants;

#[cfg(test)]
mod fixture;

use std::fmt;

use serde::Serialize;

pub use judge::judge;

/// What to type when there is no matrix.
const MATRIX_HINT: &str = "run it in the folder of matrix.yaml, or name one: `--matrix FILE`";

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing stands in the way.
    Pass,
    /// The night goes on, and something may not go as it should.
    Warn,
    /// The night would fail.
    Fail,
    /// It could not be looked at, or nothing asks for it.
    NotChecked,
}

impl State {
    /// Every state, in the order in which they are counted.
    pub const ALL: [Self; 4] = [Self::Pass, Self::Warn, Self::Fail, Self::NotChecked];

    /// As people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::NotChecked => "not checked",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What checks are about, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// The files of the farm and what it runs on this host.
    Farm,
    /// The container engine.
    Engine,
    /// GPUs and their driver.
    Gpu,
    /// Disks, memory, processors.
    Room,
    /// Where things are fetched from.
    Network,
    /// Where wheels go to.
    Publishing,
}

impl Group {
    /// As people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Farm => "farm",
            Self::Engine => "engine",
            Self::Gpu => "gpu",
            Self::Room => "room",
            Self::Network => "network",
            Self::Publishing => "publishing",
        }
    }
}

macro_rules! topics {
    ($($(#[$doc:meta])* $name:ident = $text:literal in $group:ident,)+) => {
        /// What a check is about; the names are stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Topic { $($(#[$doc])* $name,)+ }

        impl Topic {
            /// Every topic, in the order in which they are shown.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The stable name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// What it belongs to.
            pub fn group(self) -> Group {
                match self { $(Self::$name => Group::$group,)+ }
            }
        }
    };
}

topics! {
    /// The matrix can be read, and has jobs.
    Matrix = "matrix" in Farm,
    /// The certificates that containers are to trust are there.
    Certificates = "certificates" in Farm,
    /// A program of this host that a job needs.
    Command = "command" in Farm,
    /// `out/` can be written, and nobody else works in it.
    Out = "out" in Farm,
    /// The store can be read by this program.
    Store = "store" in Farm,
    /// What runs that are no more left in the engine.
    Leftovers = "leftovers" in Farm,
    /// It answers, and with which version.
    Engine = "engine" in Engine,
    /// The engine runs what wheels are built for.
    Platform = "platform" in Engine,
    /// How it stores images.
    Storage = "storage" in Engine,
    /// Whether limits on containers are kept.
    Limits = "limits" in Engine,
    /// Whether containers outlive an engine that is started again.
    LiveRestore = "live-restore" in Engine,
    /// What fences containers off.
    Fences = "fences" in Engine,
    /// Whether containers reach the network, from which images are built.
    ContainerNetwork = "container-network" in Engine,
    /// The GPUs of this machine.
    Gpu = "gpu" in Gpu,
    /// The driver against each CUDA that is planned.
    Driver = "driver" in Gpu,
    /// Which packages run on the GPUs that are here.
    GpuCode = "gpu-code" in Gpu,
    /// Whether the engine gives GPUs to containers.
    EngineGpu = "engine-gpu" in Gpu,
    /// Room on a disk.
    Disk = "disk" in Room,
    /// Files that a disk may still get.
    Inodes = "inodes" in Room,
    /// Memory against the largest job.
    Memory = "memory" in Room,
    /// Whether the kernel refuses memory that is asked for and not used.
    Overcommit = "overcommit" in Room,
    /// Processors, and how long the night is expected to take.
    Processors = "processors" in Room,
    /// How many files a process may open.
    OpenFiles = "open-files" in Room,
    /// Something that is fetched from.
    Reach = "reach" in Network,
    /// A proxy of this environment.
    Proxy = "proxy" in Network,
    /// This machine's clock against those of the servers.
    Clock = "clock" in Network,
    /// The folder or repository that is published to.
    Place = "place" in Publishing,
    /// A token for it.
    Token = "token" in Publishing,
    /// What the token may do there.
    Rights = "rights" in Publishing,
}

/// One line: what was looked at, what was seen, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What it is about.
    pub topic: Topic,
    /// Which of several: a disk, an address, a program.
    pub subject: Option<String>,
    /// What came of it.
    pub state: State,
    /// What was seen, a lowercase fragment.
    pub seen: String,
    /// What to type; always there for [`State::Warn`] and [`State::Fail`].
    pub hint: Option<String>,
}

impl Topic {
    fn check(self, state: State, seen: impl Into<String>, hint: Option<String>) -> Check {
        Check {
            topic: self,
            subject: None,
            state,
            seen: seen.into(),
            hint,
        }
    }

    pub(crate) fn pass(self, seen: impl Into<String>) -> Check {
        self.check(State::Pass, seen, None)
    }

    pub(crate) fn warn(self, seen: impl Into<String>, hint: impl Into<String>) -> Check {
        self.check(State::Warn, seen, Some(hint.into()))
    }

    pub(crate) fn fail(self, seen: impl Into<String>, hint: impl Into<String>) -> Check {
        self.check(State::Fail, seen, Some(hint.into()))
    }

    /// `hint` is what to type to have it checked.
    pub(crate) fn not_checked(self, why: impl Into<String>, hint: impl Into<String>) -> Check {
        self.check(State::NotChecked, why, Some(hint.into()))
    }
}

impl Check {
    pub(crate) fn of(self, subject: impl Into<String>) -> Self {
        Self {
            subject: Some(subject.into()),
            ..self
        }
    }
}

/// How an examination ended, over all of its checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The night can begin.
    Fit,
    /// Nothing failed, and something could not be looked at.
    NotChecked,
    /// Something failed.
    Unfit,
}

/// What all checks come to.
pub fn ending(checks: &[Check]) -> Ending {
    let any = |state| checks.iter().any(|check| check.state == state);
    if any(State::Fail) {
        Ending::Unfit
    } else if any(State::NotChecked) {
        Ending::NotChecked
    } else {
        Ending::Fit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_looked_at_is_no_pass() {
        let pass = Topic::Matrix.pass("1 job");
        let unseen = Topic::Store.not_checked("no", "try");
        let warn = Topic::Limits.warn("none", "try");
        let fail = Topic::Engine.fail("gone", "try");
        let check = |checks: &[&Check], want| {
            let checks: Vec<_> = checks.iter().copied().cloned().collect();
            assert_eq!(ending(&checks), want);
        };
        check(&[], Ending::Fit);
        check(&[&pass, &warn], Ending::Fit);
        check(&[&pass, &unseen], Ending::NotChecked);
        check(&[&unseen, &fail, &warn], Ending::Unfit);
    }

    #[test]
    fn names_are_told_apart_and_in_order_of_their_groups() {
        let names: std::collections::BTreeSet<_> =
            Topic::ALL.iter().map(|topic| topic.as_str()).collect();
        assert_eq!(names.len(), Topic::ALL.len());
        assert!(Topic::ALL.is_sorted_by_key(|topic| topic.group()));
    }

    /// The page says what each check is about and where its rule comes from.
    #[test]
    fn every_check_stands_in_the_documents() {
        let page = include_str!("../../../../docs/doctor.md");
        for topic in Topic::ALL {
            let row = format!("| `{}` |", topic.as_str());
            assert!(page.contains(&row), "docs/doctor.md lacks {row}");
        }
    }
}
