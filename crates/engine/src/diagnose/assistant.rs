//! Asks an assistant that the user has installed: `claude` or `gemini`. It gets a text and gives one; its
//! tools are off as far as its flags go, it runs in an empty folder, without this process's secrets, and
//! what it proposes is shown and not run.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::time::Duration;

use camino::Utf8PathBuf;
use tokio_util::sync::CancellationToken;

use crate::container::sanitise_line;
use crate::files::{self, FileError};
use crate::prove::process::{self, Ending, Program, Stream};

/// How long an answer may take.
pub const LIMIT: Duration = Duration::from_mins(5);

/// Of an answer, so much is kept.
const MOST_BYTES: usize = 64 * 1024;

/// The prompt, in the empty folder.
const PROMPT: &str = "prompt.md";

/// A program that answers prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assistant {
    /// Claude Code.
    Claude,
    /// Gemini CLI.
    Gemini,
}

/// What both get of the environment: where things are, the language, and the way to the network.
const SHARED: [&str; 20] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "https_proxy",
    "http_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
];

impl Assistant {
    /// Those that are known, in the order that they are looked for.
    pub const ALL: [Self; 2] = [Self::Claude, Self::Gemini];

    /// The name of its program.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Gemini => "gemini",
        }
    }

    /// What it is told, the prompt being on its standard input.
    ///
    /// `claude`: print and end, no tool of its own, no server of tools from its settings, nothing kept
    /// (<https://code.claude.com/docs/en/cli-reference>). `gemini`: print and end, ask before any tool that
    /// acts, which without a terminal refuses it, and no extensions
    /// (<https://geminicli.com/docs/cli/headless/>).
    fn args(self) -> Vec<&'static str> {
        match self {
            Self::Claude => vec![
                "-p",
                "--output-format",
                "text",
                "--tools",
                "",
                "--strict-mcp-config",
                "--no-session-persistence",
            ],
            Self::Gemini => vec![
                "-p",
                "Do what the text on standard input asks for.",
                "--output-format",
                "text",
                "--approval-mode",
                "default",
                "--extensions",
                "none",
            ],
        }
    }

    /// What it needs of the environment to know its user. Nothing else is handed on, least of all tokens
    /// of a Hub or of a repository.
    fn own_variables(self) -> &'static [&'static str] {
        match self {
            Self::Claude => &[
                "ANTHROPIC_API_KEY",
                "ANTHROPIC_AUTH_TOKEN",
                "ANTHROPIC_BASE_URL",
                "ANTHROPIC_MODEL",
                "CLAUDE_CONFIG_DIR",
                "CLAUDE_CODE_OAUTH_TOKEN",
            ],
            Self::Gemini => &[
                "GEMINI_API_KEY",
                "GEMINI_MODEL",
                "GOOGLE_API_KEY",
                "GOOGLE_CLOUD_PROJECT",
                "GOOGLE_CLOUD_LOCATION",
                "GOOGLE_GENAI_USE_VERTEXAI",
                "GOOGLE_APPLICATION_CREDENTIALS",
            ],
        }
    }
}

/// An assistant and where its program lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub assistant: Assistant,
    /// Its program.
    pub program: Utf8PathBuf,
}

/// No answer.
#[derive(Debug, thiserror::Error)]
pub enum AssistantError {
    /// None of the programs is on PATH.
    #[error("found no {} on PATH", .0.join(" and no "))]
    Missing(Vec<&'static str>),
    /// Its folder or the prompt could not be made.
    #[error("failed to prepare the prompt for `{assistant}`")]
    Prepare {
        /// Its program.
        assistant: &'static str,
        /// Why.
        #[source]
        source: FileError,
    },
    /// It could not be started or heard.
    #[error("failed to run `{assistant}`")]
    Run {
        /// Its program.
        assistant: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended badly.
    #[error("`{assistant}` ended with {ending}: {said}")]
    Failed {
        /// Its program.
        assistant: &'static str,
        /// Its exit code, or the signal.
        ending: String,
        /// The last that it said.
        said: String,
    },
    /// It took too long.
    #[error("`{assistant}` gave no answer in {} seconds", .limit.as_secs())]
    TimedOut {
        /// Its program.
        assistant: &'static str,
        /// How long was waited.
        limit: Duration,
    },
    /// The user stopped.
    #[error("stopped")]
    Stopped,
    /// It ended well and said nothing.
    #[error("`{0}` gave an empty answer")]
    Empty(&'static str),
}

/// Looks on `path` for the assistant that is wanted, or for any.
///
/// # Errors
/// There is none.
pub fn find(path: &OsStr, wanted: Option<Assistant>) -> Result<Found, AssistantError> {
    let wanted = match wanted {
        Some(assistant) => vec![assistant],
        None => Assistant::ALL.to_vec(),
    };
    for assistant in &wanted {
        for folder in std::env::split_paths(path) {
            // A relative entry of PATH would run what lies in the folder of the log.
            let Ok(folder) = Utf8PathBuf::from_path_buf(folder) else {
                continue;
            };
            let program = folder.join(assistant.as_str());
            if folder.is_absolute() && is_program(&program) {
                return Ok(Found {
                    assistant: *assistant,
                    program,
                });
            }
        }
    }
    let names = wanted.iter().map(|assistant| assistant.as_str());
    Err(AssistantError::Missing(names.collect()))
}

fn is_program(path: &Utf8PathBuf) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let facts = fs_err::metadata(path);
    facts.is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
}

/// Hands `prompt` to an assistant and gives its answer, line by line made safe for a terminal.
/// `environment` is this process's.
///
/// # Errors
/// It could not be run, ended badly, took longer than `limit`, or said nothing.
pub async fn ask(
    found: &Found,
    prompt: &str,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    limit: Duration,
    stop: &CancellationToken,
) -> Result<String, AssistantError> {
    let assistant = found.assistant.as_str();
    let prepare = |source| AssistantError::Prepare { assistant, source };
    let home = tempfile::tempdir()
        .map_err(|source| prepare(FileError::new("write", std::env::temp_dir(), source)))?;
    let path = home.path().to_owned();
    let folder = Utf8PathBuf::from_path_buf(path).map_err(|path| {
        let source = io::Error::from(io::ErrorKind::InvalidFilename);
        prepare(FileError::new("write", path, source))
    })?;
    // Beside the folder that the assistant runs in, which stays empty.
    let input = folder.join(PROMPT);
    let empty = folder.join("empty");
    files::create_folder(&empty).map_err(prepare)?;
    files::write_atomic(&input, prompt.as_bytes()).map_err(prepare)?;
    let program = Program {
        name: &found.program,
        args: found.assistant.args(),
        environment: environment_of(found.assistant, environment),
        folder: &empty,
    };
    let input = files::open(input.as_std_path()).map_err(prepare)?;
    let mut answer = String::new();
    let mut last_error = String::new();
    let mut on_line = |stream, line: &[u8]| {
        let line = sanitise_line(line);
        match stream {
            Stream::Output if answer.len() < MOST_BYTES => {
                answer.push_str(&line);
                answer.push('\n');
            }
            Stream::Error if !line.trim().is_empty() => last_error = line,
            Stream::Output | Stream::Error => {}
        }
    };
    let ending = process::run_with_input(&program, input.into(), limit, stop, &mut on_line)
        .await
        .map_err(|source| AssistantError::Run { assistant, source })?;
    match ending {
        Ending::TimedOut => Err(AssistantError::TimedOut { assistant, limit }),
        Ending::Stopped => Err(AssistantError::Stopped),
        Ending::Exited(status) if !status.success() => Err(AssistantError::Failed {
            assistant,
            ending: status.to_string(),
            said: if last_error.is_empty() {
                answer
                    .lines()
                    .last()
                    .unwrap_or("it said nothing")
                    .to_owned()
            } else {
                last_error
            },
        }),
        Ending::Exited(_) if answer.trim().is_empty() => Err(AssistantError::Empty(assistant)),
        Ending::Exited(_) => Ok(answer.trim_end().to_owned()),
    }
}

/// Only what is named: a token that is not needed cannot be told.
fn environment_of(
    assistant: Assistant,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> BTreeMap<OsString, OsString> {
    let own = assistant.own_variables();
    let is_wanted = |name: &OsStr| {
        let name = name.to_str().unwrap_or_default();
        SHARED.contains(&name) || own.contains(&name)
    };
    let mut wanted: BTreeMap<_, _> = environment
        .into_iter()
        .filter(|(name, _)| is_wanted(name))
        .collect();
    wanted.insert("TERM".into(), "dumb".into());
    wanted.insert("NO_COLOR".into(), "1".into());
    wanted
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A program of that name in a folder of its own.
    fn program(name: &str, script: &str) -> (tempfile::TempDir, OsString) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs_err::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let search = folder.path().as_os_str().to_owned();
        (folder, search)
    }

    async fn asked(name: &str, script: &str, limit: Duration) -> Result<String, AssistantError> {
        let (_keep, search) = program(name, script);
        let found = find(&search, None)?;
        let environment = [
            ("PATH".into(), "/usr/bin:/bin".into()),
            ("HF_TOKEN".into(), "planted".into()),
            ("GITHUB_TOKEN".into(), "planted".into()),
            ("ANTHROPIC_API_KEY".into(), "key".into()),
        ];
        ask(
            &found,
            "why?\n",
            environment,
            limit,
            &CancellationToken::new(),
        )
        .await
    }

    const SOON: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn an_assistant_gets_the_prompt_and_nothing_else() {
        let script = "echo \"args: $*|\"; cat; echo \"files: $(ls -A | wc -l)\"; \
                      env | grep -c planted; env | grep -c ^ANTHROPIC_API_KEY=";
        let answer = asked("claude", script, SOON).await.unwrap();
        assert_eq!(
            answer,
            "args: -p --output-format text --tools  --strict-mcp-config --no-session-persistence|\n\
             why?\nfiles: 0\n0\n1"
        );
    }

    #[tokio::test]
    async fn gemini_is_asked_where_there_is_no_claude() {
        let script = "echo \"$*\"; cat >/dev/null; env | grep -c ANTHROPIC_API_KEY; true";
        let answer = asked("gemini", script, SOON).await.unwrap();
        assert_eq!(
            answer,
            "-p Do what the text on standard input asks for. --output-format text --approval-mode default \
             --extensions none\n0"
        );
    }

    #[tokio::test]
    async fn an_answer_is_made_safe_for_a_terminal() {
        let answer = asked(
            "claude",
            "printf '\\033[31mred\\033[0m\\a\\nplain\\n'",
            SOON,
        )
        .await;
        assert_eq!(answer.unwrap(), "red\nplain");
    }

    #[tokio::test]
    async fn bad_endings_are_told() {
        let said = |res: Result<String, AssistantError>| res.unwrap_err().to_string();
        assert_eq!(
            said(asked("claude", "echo 'not logged in' >&2; exit 3", SOON).await),
            "`claude` ended with exit status: 3: not logged in"
        );
        assert_eq!(
            said(asked("claude", "true", SOON).await),
            "`claude` gave an empty answer"
        );
        let limit = Duration::from_millis(300);
        assert_eq!(
            said(asked("claude", "sleep 60", limit).await),
            "`claude` gave no answer in 0 seconds"
        );
    }

    #[test]
    fn a_program_is_looked_for_on_absolute_paths_only() {
        let missing = find(OsStr::new(".:"), None).unwrap_err();
        assert_eq!(missing.to_string(), "found no claude and no gemini on PATH");
        let (_keep, search) = program("gemini", "true");
        assert!(find(&search, Some(Assistant::Claude)).is_err());
        assert_eq!(find(&search, None).unwrap().assistant, Assistant::Gemini);
    }
}
