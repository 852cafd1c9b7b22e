//! Why a command could not do what was asked, with its exit code and what to type.

use std::fmt::Display;

use wheelfarm_core::plan::SelectorError;
use wheelfarm_engine::container::EngineError;
use wheelfarm_engine::farm_folder::{FarmError, RecordError};
use wheelfarm_engine::fetch::{FetchError, FetchErrorKind};
use wheelfarm_engine::files::is_disk_full;
use wheelfarm_engine::out_folder::OutError;
use wheelfarm_engine::run::RunError;
use wheelfarm_engine::store::{EventLogError, LedgerError, StoreError};

use crate::exit_code::ExitCode;
use crate::render::OutputError;

/// A command's failure.
#[derive(Debug)]
pub(crate) struct Failure {
    code: ExitCode,
    error: anyhow::Error,
    hint: Option<String>,
}

const DISK_HINT: &str = "free some space and run again; nothing half-written is kept";

impl Failure {
    pub(crate) fn new(code: ExitCode, error: impl Into<anyhow::Error>) -> Self {
        Self {
            code,
            error: error.into(),
            hint: None,
        }
    }

    pub(crate) fn bad_input(error: impl Into<anyhow::Error>) -> Self {
        Self::new(ExitCode::BadInput, error)
    }

    pub(crate) fn infrastructure(error: impl Into<anyhow::Error>) -> Self {
        let error = error.into();
        let hint = is_disk_full(error.as_ref()).then(|| DISK_HINT.to_owned());
        Self {
            code: ExitCode::Infrastructure,
            error,
            hint,
        }
    }

    pub(crate) fn with_hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    pub(crate) fn with_hint_if(self, hint: Option<impl Display>) -> Self {
        match hint {
            Some(hint) => self.with_hint(hint),
            None => self,
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        self.code
    }

    pub(crate) fn error(&self) -> &anyhow::Error {
        &self.error
    }

    pub(crate) fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl From<FarmError> for Failure {
    fn from(error: FarmError) -> Self {
        let hint = error.hint();
        let failure = Self::bad_input(error);
        match hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        let hint = error.hint().or_else(|| match error.kind() {
            FetchErrorKind::Network => {
                Some("run it again when the network is back: what was fetched is kept")
            }
            FetchErrorKind::Source | FetchErrorKind::DiskFull | FetchErrorKind::Machine => None,
        });
        let failure = match error.kind() {
            FetchErrorKind::Source => Self::bad_input(error),
            FetchErrorKind::Network | FetchErrorKind::DiskFull | FetchErrorKind::Machine => {
                Self::infrastructure(error)
            }
        };
        match hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}

impl From<OutputError> for Failure {
    fn from(error: OutputError) -> Self {
        Self::infrastructure(error)
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        Self::infrastructure(error)
    }
}

impl From<SelectorError> for Failure {
    fn from(error: SelectorError) -> Self {
        Self::bad_input(error).with_hint(
            "`*` stands for any text, `?` for one letter, `[ab]` for one of these letters, \
             `{ab,cd}` for one of these texts",
        )
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let hint = error.hint();
        let failure = Self::infrastructure(error);
        match hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}

impl From<OutError> for Failure {
    fn from(error: OutError) -> Self {
        match &error {
            OutError::Busy(_) => Self::infrastructure(error)
                .with_hint("wait for it, or give this run a folder of its own with --out"),
            OutError::Prepare { .. } => Self::infrastructure(error),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let hint = error.hint();
        let is_input = matches!(
            error,
            StoreError::Missing(_) | StoreError::Newer { .. } | StoreError::Older { .. }
        );
        let failure = if is_input {
            Self::bad_input(error)
        } else {
            Self::infrastructure(error)
        };
        match hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        let error = match error {
            LedgerError::Store(error) => return error.into(),
            LedgerError::Log(error) => error,
            other => return Self::infrastructure(other),
        };
        let hint = error.hint();
        let is_input = matches!(
            error,
            EventLogError::Foreign(_) | EventLogError::OtherStore { .. }
        );
        let failure = if is_input {
            Self::bad_input(error)
        } else {
            Self::infrastructure(error)
        };
        match hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Engine(error) => error.into(),
            RunError::Store(error) => {
                let hint = error.hint();
                Self::infrastructure(error).with_hint_if(hint)
            }
            RunError::Ledger(error) => {
                let hint = error.hint();
                Self::infrastructure(error).with_hint_if(hint)
            }
            RunError::NoMemory { .. } => Self::infrastructure(error).with_hint(
                "`wheelfarm build` without a selection goes on with them; `docker rm --force` and a name gives \
                 one up",
            ),
            RunError::NoGpu { .. } => Self::infrastructure(error).with_hint(
                "run where the engine has NVIDIA's container toolkit, leave the job out with \
                 --skip, or set `gpu: auto` in the package",
            ),
        }
    }
}
