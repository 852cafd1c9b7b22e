//! Runs git, well kept: no prompt, no hooks, no settings of the user or the machine, no transport
//! that runs programs, and killed when nobody waits for it any more.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time;
use wheelfarm_core::source::GitUrl;

use super::error::GitSaid;
use super::{FetchError, FetchProgress, Progress};

/// How much of what git said an error keeps.
const SAID_BYTES: usize = 4096;

/// What of this process's environment git sees: where programs are, certificates, proxies, and
/// the keys for ssh.
const KEPT: [&str; 16] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "SSH_AUTH_SOCK",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "GIT_EXEC_PATH",
];

const SET: [(&str, &str); 7] = [
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    // Its messages are shown and its output is parsed.
    ("LC_ALL", "C"),
    (
        "GIT_SSH_COMMAND",
        "ssh -o BatchMode=yes -o ConnectTimeout=20",
    ),
];

const SETTINGS: [&str; 12] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "credential.helper=",
    "gc.auto=0",
    "maintenance.auto=false",
    "fetch.recurseSubmodules=false",
    "protocol.allow=never",
    "protocol.ext.allow=never",
    "protocol.https.allow=always",
    "protocol.http.allow=always",
    "protocol.ssh.allow=always",
    "protocol.git.allow=always",
];

/// One run of git.
pub(super) struct Git<'a> {
    /// The repository that it is for, as errors name it.
    pub(super) url: &'a GitUrl,
    /// The repository that it works in.
    pub(super) repository: Option<&'a Path>,
    /// Whether repositories of this machine may be read.
    pub(super) local: LocalRepositories,
    /// How long it may say nothing, for those that talk to a server.
    pub(super) stall_limit: Option<Duration>,
}

/// Whether git may fetch from repositories of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LocalRepositories {
    /// A package that comes from the net must not name files of this machine as its submodules.
    Refused,
    /// The package itself is on this machine.
    Allowed,
}

impl LocalRepositories {
    /// What a package whose source is at `url` may name.
    pub(super) fn of(url: &GitUrl) -> Self {
        if url.is_local() {
            Self::Allowed
        } else {
            Self::Refused
        }
    }
}

/// How a run of git ended.
struct Ended {
    status: ExitStatus,
    output: Vec<u8>,
    said: String,
}

impl Git<'_> {
    /// Runs `git <command> <args>`; gives what it wrote.
    pub(super) async fn run(
        &self,
        command: &'static str,
        args: &[&str],
        progress: Progress<'_>,
    ) -> Result<Vec<u8>, FetchError> {
        let ended = self.ended(command, args, Stdio::piped(), progress).await?;
        self.checked(command, ended)
    }

    /// Runs git; gives what it wrote if it succeeded, and nothing if it failed.
    pub(super) async fn ask(
        &self,
        command: &'static str,
        args: &[&str],
    ) -> Result<Option<Vec<u8>>, FetchError> {
        let ended = self.ended(command, args, Stdio::piped(), &|_| {}).await?;
        Ok(ended.status.success().then_some(ended.output))
    }

    /// Runs git with its output going into `file`.
    pub(super) async fn run_into(
        &self,
        command: &'static str,
        args: &[&str],
        file: File,
    ) -> Result<(), FetchError> {
        let ended = self.ended(command, args, file.into(), &|_| {}).await?;
        self.checked(command, ended).map(drop)
    }

    fn checked(&self, command: &'static str, ended: Ended) -> Result<Vec<u8>, FetchError> {
        if ended.status.success() {
            return Ok(ended.output);
        }
        Err(FetchError::Git {
            command,
            url: self.url.clone(),
            status: ended.status.to_string(),
            said: GitSaid(ended.said),
        })
    }

    /// Can be dropped: git is killed then.
    async fn ended(
        &self,
        command: &'static str,
        args: &[&str],
        output: Stdio,
        progress: Progress<'_>,
    ) -> Result<Ended, FetchError> {
        let mut git = self.command(command, args);
        let child = git.stdout(output).spawn();
        let broken = |source| FetchError::RunGit { source };
        let mut child = child.map_err(|source| {
            if source.kind() == io::ErrorKind::NotFound {
                FetchError::NoGit
            } else {
                broken(source)
            }
        })?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let reading = async {
            let mut bytes = Vec::new();
            if let Some(mut stdout) = stdout {
                stdout.read_to_end(&mut bytes).await?;
            }
            Ok(bytes)
        };
        let listening = async {
            match stderr {
                Some(stderr) => listen(stderr, self.stall_limit, progress).await,
                None => Ok(Heard::default()),
            }
        };
        let both = futures_util::future::try_join(reading, listening).await;
        let (output, heard) = both.map_err(|error: io::Error| {
            if error.kind() == io::ErrorKind::TimedOut {
                let (url, limit) = (self.url.clone(), self.stall_limit.unwrap_or_default());
                FetchError::GitStalled { url, limit }
            } else {
                broken(error)
            }
        })?;
        let status = child.wait().await.map_err(broken)?;
        Ok(Ended {
            status,
            output,
            said: heard.last(),
        })
    }

    fn command(&self, command: &'static str, args: &[&str]) -> Command {
        let mut git = Command::new("git");
        git.env_clear().envs(SET);
        for name in KEPT {
            if let Some(value) = std::env::var_os(name) {
                git.env(name, value);
            }
        }
        if let Some(repository) = self.repository {
            git.arg("--git-dir").arg(repository);
        }
        for setting in SETTINGS {
            git.arg("-c").arg(setting);
        }
        let local = match self.local {
            LocalRepositories::Refused => "protocol.file.allow=never",
            LocalRepositories::Allowed => "protocol.file.allow=always",
        };
        git.arg("-c").arg(local);
        git.arg(command).args(args);
        git.stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        git
    }
}

/// The end of what git said.
#[derive(Debug, Default)]
struct Heard {
    bytes: Vec<u8>,
}

impl Heard {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let over = self.bytes.len().saturating_sub(SAID_BYTES);
        self.bytes.drain(..over);
    }

    /// The lines that are no progress, in one: errors are read in one line each.
    fn last(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let lines = text.split('\n').map(|line| {
            // Progress overwrites its line.
            line.rsplit('\r')
                .find(|part| !part.trim().is_empty())
                .unwrap_or_default()
        });
        let lines: Vec<_> = lines
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let start = lines.len().saturating_sub(5);
        lines[start..].join("; ")
    }
}

/// Reads what git says until it ends. Silence over the limit is an error of kind `TimedOut`.
async fn listen(
    mut stderr: impl AsyncRead + Unpin,
    stall_limit: Option<Duration>,
    progress: Progress<'_>,
) -> io::Result<Heard> {
    let mut heard = Heard::default();
    let mut line = Vec::new();
    let mut buffer = vec![0; 4096];
    loop {
        let read = match stall_limit {
            Some(limit) => time::timeout(limit, stderr.read(&mut buffer)).await?,
            None => stderr.read(&mut buffer).await,
        }?;
        if read == 0 {
            return Ok(heard);
        }
        heard.push(&buffer[..read]);
        for byte in &buffer[..read] {
            if !matches!(byte, b'\n' | b'\r') {
                line.push(*byte);
                continue;
            }
            let text = String::from_utf8_lossy(&line).trim().to_owned();
            if !text.is_empty() {
                progress(FetchProgress::Git { line: text });
            }
            line.clear();
        }
        // A line without end is not kept.
        line.truncate(SAID_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn what_git_says_is_told_line_by_line() {
        let said = b"remote: Counting: 1%\rremote: Counting: 100%\nfatal: no\x80\n\n";
        let lines = Mutex::new(Vec::new());
        let progress = |step| {
            if let FetchProgress::Git { line } = step {
                lines.lock().unwrap().push(line);
            }
        };
        let heard = listen(&said[..], None, &progress).await.unwrap();
        assert_eq!(heard.last(), "remote: Counting: 100%; fatal: no\u{fffd}");
        let lines = lines.into_inner().unwrap();
        assert_eq!(lines[0], "remote: Counting: 1%");
        assert_eq!(lines.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_a_stall() {
        let (_speaker, stderr) = tokio::io::duplex(16);
        let limit = Some(Duration::from_mins(10));
        let error = listen(stderr, limit, &|_| {}).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
