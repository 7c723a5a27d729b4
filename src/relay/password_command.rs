//! Runs the program of `password-command`, which prints the secret.
//!
//! Promises: it is run without a shell, and its standard input is empty. After 30 seconds, or when nobody waits for it
//! any more, it is killed with all that it started. Its output is read up to a bound and wiped; one line of its error output is kept.
//!
//! Not here: the check, without running it, that the program is there (`config/secret_source.rs`).

use std::fmt;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use super::program_group::ProgramGroup;
use crate::config::SecretError;
use crate::secret::{self, BadSecret, Secret};

/// Time for which the program may run.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The number of characters of its error output that an error repeats.
const COMPLAINT: usize = 200;

/// The reason why a program gave no secret. It never contains what the program printed.
#[derive(Debug)]
pub(super) enum CommandError {
    /// The program cannot be run, or what it printed is no secret.
    Source(SecretError),
    /// The program took too long and was killed.
    TimedOut(String),
    /// The program has ended, and another one that it started kept its output open for too long.
    HeldOpen(String),
    /// The program failed; holds the last line that it wrote to standard error.
    Failed(String, ExitStatus, String),
}

impl CommandError {
    /// Returns whether an operator must act: there is no such program, or it may not be run. What it says may pass.
    pub(super) fn is_for_operator(&self) -> bool {
        matches!(self, CommandError::Source(error @ SecretError::NotRun(..)) if error.is_for_operator())
    }
}

/// The exit status and the output of a program that has ended.
struct ProgramEnd {
    status: ExitStatus,
    stdout: Zeroizing<Vec<u8>>,
    stderr: Zeroizing<Vec<u8>>,
}

/// Runs the program and returns the secret that it prints.
pub(super) async fn run(words: &[String]) -> Result<Secret, CommandError> {
    let program = program_of(words);
    let not_run = |error| CommandError::Source(SecretError::NotRun(program.into(), error));
    let mut child = command_of(words).spawn().map_err(not_run)?;
    let group = ProgramGroup::of(&child);
    let ended = match tokio::time::timeout(TIMEOUT, end_of(&mut child)).await {
        Ok(ended) => {
            group.leave();
            ended.map_err(not_run)?
        }
        Err(_) => {
            let has_ended = matches!(child.try_wait(), Ok(Some(_)));
            let late = if has_ended { CommandError::HeldOpen } else { CommandError::TimedOut };
            return Err(late(program.into()));
        }
    };
    let bad_output =
        |bad| CommandError::Source(SecretError::NoSecret(format!("the output of {program}"), bad));
    // A program whose output is read no more fails by that.
    if ended.stdout.len() == secret::MOST_READ {
        return Err(bad_output(BadSecret::TooLong));
    }
    if !ended.status.success() {
        let said = complaint(&ended.stderr, &ended.stdout);
        return Err(CommandError::Failed(program.into(), ended.status, said));
    }
    Secret::of_octets(ended.stdout).map_err(bad_output)
}

/// Returns the path of the program. The parser refuses an empty list; if there were one, the empty path is not found.
fn program_of(words: &[String]) -> &str {
    words.first().map_or("", String::as_str)
}

fn command_of(words: &[String]) -> Command {
    let mut command = Command::new(program_of(words));
    command
        .args(words.iter().skip(1))
        // The program must not report our state to systemd.
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    command
}

async fn end_of(child: &mut Child) -> io::Result<ProgramEnd> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = tokio::try_join!(bounded(stdout), bounded(stderr))?;
    Ok(ProgramEnd { status: child.wait().await?, stdout, stderr })
}

/// Reads from `pipe` up to one octet more than the output may have. Then the pipe is closed, and a program that goes on
/// writing to it gets SIGPIPE.
async fn bounded(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut octets = secret::buffer();
    if let Some(pipe) = pipe {
        pipe.take(secret::MOST_READ as u64).read_to_end(&mut octets).await?;
    }
    Ok(octets)
}

/// Returns the last line of `stderr`, short and printable. Anything that also stands in `stdout` is masked, since it may
/// be the secret.
fn complaint(stderr: &[u8], stdout: &[u8]) -> String {
    let (stderr, stdout) = (String::from_utf8_lossy(stderr), String::from_utf8_lossy(stdout));
    let stdout = Zeroizing::new(stdout.into_owned());
    let mut said =
        stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned();
    for secret in stdout.lines().map(str::trim).filter(|line| !line.is_empty()) {
        said = said.replace(secret, "***");
    }
    said.trim().chars().take(COMPLAINT).flat_map(char::escape_debug).collect()
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::Source(error) => error.fmt(f),
            CommandError::TimedOut(program) => {
                write!(f, "{program} took longer than {} s and was killed", TIMEOUT.as_secs())
            }
            CommandError::HeldOpen(program) => write!(
                f,
                "{program} has ended, but another program that it started kept its output open for {} s: have that one write \
                 elsewhere (>/dev/null)",
                TIMEOUT.as_secs()
            ),
            CommandError::Failed(program, status, said) => write!(f, "{program} failed, {status}: {said}"),
        }
    }
}
