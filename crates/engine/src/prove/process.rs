//! Runs one program of a stranger on this machine: a group of its own, no input but what it is
//! given, a time limit, and an environment of the few variables that it needs.
//!
//! That keeps accidents out and is no fence: the program is the same user, and can read that user's
//! files.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use camino::Utf8Path;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::{self, Instant};
use tokio_util::sync::CancellationToken;

use crate::container::Lines;
use crate::secrets;

/// What of this process's environment a program gets: where programs and libraries are, which GPUs
/// it may see, and the compiler that Triton starts.
const KEPT: [&str; 5] = [
    "PATH",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "CC",
];

/// How long what a program left behind may hold its output open.
const PATIENCE: Duration = Duration::from_secs(5);

/// The environment of a program whose home is `home`.
pub(crate) fn clean_environment(
    inherited: &[(OsString, OsString)],
    home: &Utf8Path,
) -> BTreeMap<OsString, OsString> {
    let kept = inherited
        .iter()
        .filter(|(name, _)| KEPT.iter().any(|kept| name == kept));
    let set = [
        ("HOME", home.as_str()),
        ("TMPDIR", home.as_str()),
        // Every Python has it, and what is printed is read.
        ("LC_ALL", "C.UTF-8"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("PYTHONNOUSERSITE", "1"),
        ("PIP_CONFIG_FILE", "/dev/null"),
        ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
    ];
    let set = set.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    kept.cloned().chain(set).collect()
}

/// A program to run.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    /// Its name or path.
    pub(crate) name: &'a Utf8Path,
    /// What it is told.
    pub(crate) args: Vec<&'a str>,
    /// All of its environment.
    pub(crate) environment: BTreeMap<OsString, OsString>,
    /// Where it runs.
    pub(crate) folder: &'a Utf8Path,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// By itself.
    Exited(ExitStatus),
    /// It was killed at its time limit.
    TimedOut,
    /// It was killed because the user stopped.
    Stopped,
}

/// Which stream a line came on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// Runs `program` to its end, and ends what it started with it. Lines are cut at 16 KiB.
pub(crate) async fn run(
    program: &Program<'_>,
    limit: Duration,
    stop: &CancellationToken,
    on_line: &mut (dyn FnMut(Stream, &[u8]) + Send),
) -> io::Result<Ending> {
    run_with_input(program, Stdio::null(), limit, stop, on_line).await
}

/// The same for a program that reads `input`.
pub(crate) async fn run_with_input(
    program: &Program<'_>,
    input: Stdio,
    limit: Duration,
    stop: &CancellationToken,
    on_line: &mut (dyn FnMut(Stream, &[u8]) + Send),
) -> io::Result<Ending> {
    let mut child = Command::new(program.name)
        .args(&program.args)
        .env_clear()
        .envs(&program.environment)
        .current_dir(program.folder)
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let group = child.id();
    let deadline = Instant::now() + limit;
    let res = listen(&mut child, group, deadline, stop, on_line).await;
    kill_group(group).await;
    if let Err(error) = child.kill().await {
        tracing::warn!(?group, %error, "program did not end when it was killed");
    }
    res
}

/// Hears a program until it has ended and its output with it. What goes on after that, out of its
/// group, is not waited for.
async fn listen(
    child: &mut Child,
    group: Option<u32>,
    mut deadline: Instant,
    stop: &CancellationToken,
    on_line: &mut (dyn FnMut(Stream, &[u8]) + Send),
) -> io::Result<Ending> {
    let mut output = Pipe::new(child.stdout.take());
    let mut error = Pipe::new(child.stderr.take());
    let mut exited = None;
    let ending = loop {
        if let (Some(status), true) = (exited, output.is_done() && error.is_done()) {
            break Ending::Exited(status);
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => break Ending::Stopped,
            () = time::sleep_until(deadline) => match exited {
                Some(status) => break Ending::Exited(status),
                None => break Ending::TimedOut,
            },
            read = output.read(), if !output.is_done() => {
                output.take(read?, &mut |line: &[u8]| on_line(Stream::Output, line));
            }
            read = error.read(), if !error.is_done() => {
                error.take(read?, &mut |line: &[u8]| on_line(Stream::Error, line));
            }
            status = child.wait(), if exited.is_none() => {
                exited = Some(status?);
                kill_group(group).await;
                deadline = deadline.min(Instant::now() + PATIENCE);
            }
        }
    };
    output.finish(&mut |line: &[u8]| on_line(Stream::Output, line));
    error.finish(&mut |line: &[u8]| on_line(Stream::Error, line));
    Ok(ending)
}

/// One stream of a program, cut into lines.
struct Pipe<R> {
    stream: Option<R>,
    buffer: Vec<u8>,
    lines: Lines,
}

impl<R: AsyncRead + Unpin> Pipe<R> {
    fn new(stream: Option<R>) -> Self {
        Self {
            stream,
            buffer: vec![0; 8192],
            lines: Lines::default(),
        }
    }

    fn is_done(&self) -> bool {
        self.stream.is_none()
    }

    /// Reads into the buffer. Cancel-safe: what is not read stays in the pipe.
    async fn read(&mut self) -> io::Result<usize> {
        match &mut self.stream {
            Some(stream) => stream.read(&mut self.buffer).await,
            None => Ok(0),
        }
    }

    fn take(&mut self, length: usize, on_line: &mut (dyn FnMut(&[u8]) + Send)) {
        if length == 0 {
            self.stream = None;
        }
        self.lines.push(&self.buffer[..length], on_line);
    }

    fn finish(self, on_line: &mut (dyn FnMut(&[u8]) + Send)) {
        self.lines.finish(on_line);
    }
}

/// Kills what is left of a program's group: what hangs in a child would go on using the GPU.
async fn kill_group(group: Option<u32>) {
    let Some(id) = group else {
        return;
    };
    // A second Ctrl-C goes to all of this program's group, and ends a shell that has just been started
    // before it is in its own.
    for _ in 0..3 {
        match kill_with_shell(id).await {
            Ok(status) if status.code().is_some() => return,
            Ok(status) => tracing::debug!(id, %status, "the shell that kills was killed"),
            Err(error) => tracing::debug!(id, %error, "no shell to kill with"),
        }
    }
    tracing::warn!(id, "what the program started may go on");
}

/// The shell's own `kill`, for the program may not be installed. It fails on a group that has ended,
/// which is what is wanted.
async fn kill_with_shell(id: u32) -> io::Result<ExitStatus> {
    Command::from(secrets::command("sh"))
        .args(["-c", "kill -s KILL -- \"-$1\"", "sh", &id.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .status()
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Heard {
        ending: Ending,
        lines: Vec<(Stream, String)>,
        took: Duration,
    }

    async fn hear(script: &str, limit: Duration, stop: &CancellationToken) -> Heard {
        let home = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(home.path()).unwrap();
        let inherited: Vec<_> = std::env::vars_os()
            .chain([("HF_TOKEN".into(), "planted".into())])
            .collect();
        let program = Program {
            name: Utf8Path::new("sh"),
            args: vec!["-c", script],
            environment: clean_environment(&inherited, folder),
            folder,
        };
        let mut lines = Vec::new();
        let started = Instant::now();
        let mut on_line = |stream, line: &[u8]| {
            lines.push((stream, String::from_utf8_lossy(line).into_owned()));
        };
        let ending = run(&program, limit, stop, &mut on_line).await.unwrap();
        Heard {
            ending,
            lines,
            took: started.elapsed(),
        }
    }

    #[tokio::test]
    async fn both_streams_are_heard_and_input_is_closed() {
        let script = "cat; echo out; echo err >&2; printf rest; exit 3";
        let heard = hear(script, PATIENCE, &CancellationToken::new()).await;
        assert!(matches!(heard.ending, Ending::Exited(status) if status.code() == Some(3)));
        let line = |stream, text: &str| (stream, text.to_owned());
        for wanted in [
            line(Stream::Output, "out"),
            line(Stream::Output, "rest"),
            line(Stream::Error, "err"),
        ] {
            assert!(heard.lines.contains(&wanted), "{:?}", heard.lines);
        }
        assert_eq!(heard.lines.len(), 3);
    }

    #[tokio::test]
    async fn secrets_do_not_get_in() {
        let heard = hear("env", PATIENCE, &CancellationToken::new()).await;
        let names = heard
            .lines
            .iter()
            .filter_map(|(_, line)| line.split_once('='));
        let names: Vec<&str> = names.map(|(name, _)| name).collect();
        assert!(
            names.contains(&"PATH") && names.contains(&"HOME"),
            "{names:?}"
        );
        assert!(!names.contains(&"HF_TOKEN"), "{names:?}");
        // What the shell itself sets stands beside what is kept and set.
        assert!(names.len() <= KEPT.len() + 7 + 4, "{names:?}");
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_killed_with_what_it_started() {
        let mark = tempfile::tempdir().unwrap();
        let pid = mark.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", pid.display());
        let limit = Duration::from_secs(1);
        let heard = hear(&script, limit, &CancellationToken::new()).await;
        assert!(
            matches!(heard.ending, Ending::TimedOut),
            "{:?}",
            heard.ending
        );
        let child = fs_err::read_to_string(&pid).unwrap();
        let stat = format!("/proc/{}/stat", child.trim());
        // Gone, or a zombie that the machine's first process has not yet taken note of.
        let goes_on = || fs_err::read_to_string(&stat).is_ok_and(|text| !text.contains(") Z "));
        for _ in 0..100 {
            if !goes_on() {
                return;
            }
            time::sleep(Duration::from_millis(50)).await;
        }
        panic!("its child goes on");
    }

    #[tokio::test]
    async fn what_is_left_behind_does_not_hold_a_run_up() {
        let limit = Duration::from_mins(5);
        let heard = hear("sleep 600 & echo done", limit, &CancellationToken::new()).await;
        assert!(matches!(heard.ending, Ending::Exited(status) if status.success()));
        assert!(heard.took < PATIENCE, "{:?}", heard.took);
        assert_eq!(heard.lines, [(Stream::Output, "done".to_owned())]);
    }

    #[tokio::test]
    async fn a_stop_ends_it() {
        let stop = CancellationToken::new();
        stop.cancel();
        let heard = hear("sleep 600", Duration::from_mins(5), &stop).await;
        assert!(
            matches!(heard.ending, Ending::Stopped),
            "{:?}",
            heard.ending
        );
    }
}
