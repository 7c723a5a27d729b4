//! Where the lines of the log are read from: the journal, or a file.
//!
//! Promises
//! 1. Only lines of the daemon are taken from the journal: journald itself notes the unit of each process (`_SYSTEMD_UNIT`), which
//!    no other program can claim.
//! 2. It can be read several times, with the same lines: a file is read as far as it went at first.
//! 3. A line takes at most [`LONGEST`] octets; of a longer one the beginning is read.
//!
//! Fails: each [`SourceError`] says what to do.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use jiff::Timestamp;

use super::line::StoryLine;

/// The most octets of a line: more than any that nullmta writes, also where each is a number in JSON.
const LONGEST: u64 = 1 << 20;
/// The most octets that are kept of what `journalctl` complains of.
const COMPLAINT: u64 = 16 << 10;

const JOURNALCTL: &str = "journalctl";
const ARGUMENTS: [&str; 5] = [
    "--no-pager",
    "--output=json",
    "--output-fields=MESSAGE,PRIORITY",
    // Else a long field is left out.
    "--all",
    "_SYSTEMD_UNIT=nullmta.service",
];

/// The reason why the log cannot be read.
#[derive(Debug)]
pub(super) enum SourceError {
    /// This user may not read it.
    NotAllowed(String),
    /// It is no log of nullmta, or none that can be read so.
    NotALog(String),
    /// There is no journal here.
    NoJournal(String),
    /// Reading failed.
    Broken(String),
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceError::NotAllowed(why)
            | SourceError::NotALog(why)
            | SourceError::NoJournal(why)
            | SourceError::Broken(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for SourceError {}

/// The log, or its part since a point in time.
pub(super) enum LineSource {
    Journal {
        since: Option<Timestamp>,
    },
    LogFile {
        path: PathBuf,
        /// The octets that it had at first.
        length: u64,
        since: Option<Timestamp>,
    },
}

impl LineSource {
    /// Returns the log in the file at `path`, or the journal.
    pub(super) fn of(path: Option<&Path>, since: Option<Timestamp>) -> Result<LineSource, SourceError> {
        let Some(path) = path else { return Ok(LineSource::Journal { since }) };
        let metadata = open(path)?.metadata().map_err(|error| broken(path, &error))?;
        if !metadata.is_file() {
            let words =
                "is no file: it is read more than once, which a pipe cannot be; write it to a file first";
            return Err(SourceError::NotALog(format!("{} {words}", path.display())));
        }
        Ok(LineSource::LogFile { path: path.to_owned(), length: metadata.len(), since })
    }

    /// Returns what it is, for the start of a sentence.
    pub(super) fn place(&self) -> String {
        match self {
            LineSource::Journal { .. } => "the journal".to_owned(),
            LineSource::LogFile { path, .. } => path.display().to_string(),
        }
    }

    /// Returns the part since `time`, if it is not cut already.
    pub(super) fn from(&self, time: Timestamp) -> Option<LineSource> {
        match self {
            LineSource::Journal { since: None } => Some(LineSource::Journal { since: Some(time) }),
            // A file is read from its beginning in any case, and its lines may have no time.
            LineSource::Journal { .. } | LineSource::LogFile { .. } => None,
        }
    }

    /// Gives each line to `take`, in the order of the log, until that breaks.
    pub(super) fn read(&self, take: &mut dyn FnMut(StoryLine) -> ControlFlow<()>) -> Result<(), SourceError> {
        match self {
            LineSource::Journal { since } => read_journal(*since, take),
            LineSource::LogFile { path, length, since } => read_file(path, *length, *since, take),
        }
    }
}

fn open(path: &Path) -> Result<File, SourceError> {
    File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            SourceError::NotAllowed(format!("you may not read {}: try it as root", path.display()))
        }
        _ => broken(path, &error),
    })
}

fn broken(path: &Path, error: &io::Error) -> SourceError {
    SourceError::Broken(format!("cannot read {}: {error}", path.display()))
}

fn read_file(
    path: &Path,
    length: u64,
    since: Option<Timestamp>,
    take: &mut dyn FnMut(StoryLine) -> ControlFlow<()>,
) -> Result<(), SourceError> {
    let mut lines = BufReader::new(open(path)?.take(length));
    let (mut was_empty, mut is_log) = (true, false);
    while let Some((raw, is_cut)) = next_line(&mut lines).map_err(|error| broken(path, &error))? {
        was_empty = false;
        let Some(line) = StoryLine::of_file(&raw, is_cut) else { continue };
        is_log = true;
        match (since, line.time) {
            (Some(_), None) => {
                let words = "has lines without a time that can be compared: leave --since out";
                return Err(SourceError::NotALog(format!("{} {words}", path.display())));
            }
            (Some(since), Some(time)) if time < since => continue,
            _ => {}
        }
        if take(line).is_break() {
            return Ok(());
        }
    }
    if is_log || was_empty {
        return Ok(());
    }
    Err(SourceError::NotALog(format!(
        "{} has no line of nullmta: it is another file, or packed",
        path.display()
    )))
}

/// Returns the next line, and whether its end is missing; `None` at the end.
fn next_line(lines: &mut impl BufRead) -> io::Result<Option<(String, bool)>> {
    let mut raw = Vec::new();
    lines.take(LONGEST).read_until(b'\n', &mut raw)?;
    if raw.is_empty() {
        return Ok(None);
    }
    let is_whole = raw.pop_if(|octet| *octet == b'\n').is_some();
    if !is_whole {
        lines.skip_until(b'\n')?;
    }
    raw.pop_if(|octet| *octet == b'\r');
    Ok(Some((String::from_utf8_lossy(&raw).into_owned(), !is_whole)))
}

fn read_journal(
    since: Option<Timestamp>,
    take: &mut dyn FnMut(StoryLine) -> ControlFlow<()>,
) -> Result<(), SourceError> {
    let mut journal = start(since)?;
    let (Some(output), Some(complaints)) = (journal.stdout.take(), journal.stderr.take()) else {
        unreachable!("both are pipes");
    };
    // On a thread of its own, so that `journalctl` never waits for a reader of its complaints.
    let complaints = thread::spawn(move || first_of(complaints));
    let mut lines = BufReader::new(output);
    let read = take_entries(&mut lines, take);
    drop(lines);
    let ended = journal.wait().map_err(|error| SourceError::Broken(format!("{JOURNALCTL}: {error}")))?;
    let complaints = complaints.join().unwrap_or_default();
    let is_broken_off =
        read.map_err(|error| SourceError::Broken(format!("{JOURNALCTL}: {error}")))?.is_break();
    match complaint(&complaints, ended.success() || is_broken_off) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn start(since: Option<Timestamp>) -> Result<Child, SourceError> {
    let mut command = Command::new(JOURNALCTL);
    command.args(ARGUMENTS).env("LC_ALL", "C").stdin(Stdio::null());
    // It takes no time before 1970.
    command.args(since.map(|since| format!("--since=@{}", since.as_second().max(0))));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => SourceError::NoJournal(
            "there is no journalctl here: name the file to which nullmta logs with --file".to_owned(),
        ),
        _ => SourceError::Broken(format!("cannot start {JOURNALCTL}: {error}")),
    })
}

/// Gives each entry to `take`, until that breaks.
fn take_entries(
    lines: &mut impl BufRead,
    take: &mut dyn FnMut(StoryLine) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    while let Some((entry, _)) = next_line(lines)? {
        // "-- No entries --" is no entry.
        if let Some(line) = StoryLine::of_journal(&entry)
            && take(line).is_break()
        {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Returns the beginning of what can be read, and reads the rest.
fn first_of(mut complaints: impl Read) -> String {
    let mut first = Vec::new();
    // What cannot be read is not known, and then the exit code says that something is wrong.
    let _ = complaints.by_ref().take(COMPLAINT).read_to_end(&mut first);
    let _ = io::copy(&mut complaints, &mut io::sink());
    String::from_utf8_lossy(&first).into_owned()
}

/// Returns the error that `journalctl` means with these words on standard error.
fn complaint(words: &str, succeeded: bool) -> Option<SourceError> {
    let is_denied = ["insufficient permissions", "not seeing messages from other users"]
        .into_iter()
        .any(|part| words.contains(part));
    if is_denied {
        let words = "you may not read the journal of nullmta: try it as root, or have root add you to the group systemd-journal \
                     (usermod -aG systemd-journal NAME, then log in again)";
        return Some(SourceError::NotAllowed(words.to_owned()));
    }
    let no_journal = words.contains("No journal files were found");
    match (no_journal, succeeded) {
        (true, _) => Some(SourceError::NoJournal(
            "there is no journal here: name the file to which nullmta logs with --file".to_owned(),
        )),
        (false, true) => None,
        (false, false) => Some(SourceError::Broken(format!("{JOURNALCTL}: {}", last_line(words)))),
    }
}

fn last_line(words: &str) -> &str {
    words.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it failed without a word")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_journalctl_complains_of_is_told() {
        let told = |words, succeeded| complaint(words, succeeded).map(|error| format!("{error:?}"));
        let hint = "Hint: You are currently not seeing messages from other users and the system.\n      Users in groups 'adm', \
                    'systemd-journal' can see all messages.\n";
        for (words, succeeded, start) in [
            (hint, true, "NotAllowed("),
            ("No journal files were opened due to insufficient permissions.\n", false, "NotAllowed("),
            ("No journal files were found.\n", true, "NoJournal("),
            ("Failed to open\n\n", false, "Broken(\"journalctl: Failed to open"),
            ("", false, "Broken(\"journalctl: it failed without a word"),
        ] {
            assert!(told(words, succeeded).unwrap().starts_with(start), "{words}");
        }
        assert_eq!(told("Journal file x is truncated, ignoring file.\n", true), None);
    }

    #[test]
    fn a_line_without_an_end_does_not_take_the_next_one() {
        let long = "x".repeat(LONGEST as usize + 5);
        let text = format!("one\r\n{long}\nthree");
        let mut lines = text.as_bytes();
        let mut next = || next_line(&mut lines).unwrap().map(|(line, is_cut)| (line.len(), is_cut));
        assert_eq!(
            [next(), next(), next(), next()],
            [Some((3, false)), Some((LONGEST as usize, true)), Some((5, true)), None]
        );
    }
}
