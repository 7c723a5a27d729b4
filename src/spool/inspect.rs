//! Looks at a spool from outside: `nullmta spool` shows and checks it, whether or not a daemon runs on it.
//!
//! Promises
//! 1. Nothing on the spool changes (`inspect/read_only.rs`), and nobody waits for us: no lock is taken, but
//!    by [`Inspection::alone`].
//! 2. What recovery would deliver at the next start is what is shown: the survey is recovery's own.
//! 3. Beside a running daemon nothing sound is called damaged: what one look finds wrong counts only if a
//!    second look finds the same. A record being written, or a segment reused meanwhile, is not the same twice.
//!
//! Fails: [`OpenError`], when there is no spool that this program can read. Damage is no error but what is
//! looked for.
//!
//! Not here: repair, which is recovery's (`recover.rs`); words and exit codes (`cli/spool.rs`).

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::entry::{Entry, GlancedEnvelope, OpenError, ReadError, Stored};
use super::fs::Fs;
use super::glance;
use super::index::SegmentTally;
use super::paths::{DamagedRange, SpoolPaths, large_id};
use super::read::{self, Check};
use super::recover::{self, Survey};
use super::shared::SharedSpool;
use super::start;
use crate::queue_id::QueueId;

mod read_only;

use read_only::ReadOnlyFs;

/// The list of segments is read so many times at most, since they come and go under a running daemon.
const SURVEYS: usize = 5;

/// One segment file in figures, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFigures {
    /// The number of the segment.
    pub sequence: u32,
    /// The version of its format; `None` when its header cannot be read.
    pub version: Option<u16>,
    /// No record is in it: it is made ready for use, or never came into use.
    pub is_blank: bool,
    /// The length of the file, in octets.
    pub octets: u64,
    /// The number of octets up to the end of its last record.
    pub used: u64,
    /// The number of records that are whole.
    pub records: u64,
    /// The number of messages that live in it.
    pub live: u32,
    /// The sum of the octets of their records.
    pub live_octets: u64,
    /// The damaged ranges, each with the offsets of its begin and its end.
    pub damage: Vec<(u32, u32)>,
    /// The number of writes that were cut off in the middle. Nobody was told that they were safe.
    pub torn: u64,
}

/// A live message that cannot be given to the relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableMessage {
    /// The queue id of the message.
    pub id: QueueId,
    /// The words that say what is wrong with it.
    pub why: String,
}

/// The result of [`verify`].
#[derive(Clone, Debug)]
pub struct SpoolReport {
    /// The segments, in the order of their numbers.
    pub segments: Vec<SegmentFigures>,
    /// The number of live messages, the unreadable ones included.
    pub messages: usize,
    /// The messages whose record, envelope or large file is not what was written.
    pub unreadable: Vec<UnreadableMessage>,
}

/// Counts the files in one directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The number of files there.
    pub count: u64,
    /// The sum of their octets.
    pub octets: u64,
}

/// A spool, as one look has found it.
pub struct Inspection {
    shared: SharedSpool,
    entries: Vec<Entry>,
    segments: Vec<SegmentFigures>,
    /// The lock that keeps a daemon from starting meanwhile, if it was taken.
    _lock: Option<Box<dyn Send>>,
}

impl Inspection {
    /// Looks at the spool in `directory`, whether or not a daemon runs on it.
    pub fn beside(directory: &Path) -> Result<Self, OpenError> {
        let paths = SpoolPaths::under(directory);
        let survey = survey(&paths)?;
        Inspection::of(paths, survey, None)
    }

    /// Looks at the spool in `directory`, on which no daemon may run, nor start, until this is dropped.
    pub fn alone(directory: &Path) -> Result<Self, OpenError> {
        let paths = SpoolPaths::under(directory);
        let lock = match ReadOnlyFs.lock(&paths.lock) {
            Ok(lock) => Some(lock),
            // Never used, or a copy without it.
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                return Err(OpenError::Locked { path: paths.lock });
            }
            Err(source) => return Err(OpenError::Io { operation: "lock", path: paths.lock, source }),
        };
        let survey = survey(&paths)?;
        Inspection::of(paths, survey, lock)
    }

    fn of(paths: SpoolPaths, mut survey: Survey, lock: Option<Box<dyn Send>>) -> Result<Self, OpenError> {
        let segments = segments(&survey);
        let entries = survey.take_entries();
        let options = super::Options::at(paths.root());
        let shared = start::share(options, Arc::new(ReadOnlyFs), paths, survey)?;
        Ok(Inspection { shared, entries, segments, _lock: lock })
    }

    /// Returns the segments, in the order of their numbers.
    pub fn segments(&self) -> &[SegmentFigures] {
        &self.segments
    }

    /// Returns the live messages, in the order of their queue ids.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Reads a message and checks every octet of it.
    pub fn read(&self, id: QueueId) -> Result<Stored, ReadError> {
        read::read(&self.shared, id, Check::Everything)
    }

    /// Reads a message as [`super::Spool::peek`] does.
    pub fn peek(&self, id: QueueId) -> Result<Stored, ReadError> {
        read::read(&self.shared, id, Check::AllButLarge)
    }

    /// Looks at the envelope of a message as [`super::Spool::glance`] does.
    pub fn glance(&self, id: QueueId) -> Option<GlancedEnvelope> {
        glance::glance(&self.shared, id)
    }

    /// Counts the large files.
    pub fn large(&self) -> Result<Files, OpenError> {
        let large = &self.shared.paths.large;
        count(large, |name| large_id(name).is_some())
    }

    /// Counts the files in `corrupt/`.
    pub fn corrupt(&self) -> Result<Files, OpenError> {
        count(&self.shared.paths.corrupt, |_| true)
    }

    /// Counts the files in `drop/`.
    pub fn dropped(&self) -> Result<Files, OpenError> {
        count(&self.shared.paths.drop, |_| true)
    }

    fn report(&self) -> SpoolReport {
        let unreadable = self.entries.iter().filter_map(|entry| {
            let why = self.read(entry.id).err()?.to_string();
            Some(UnreadableMessage { id: entry.id, why })
        });
        SpoolReport {
            segments: self.segments.clone(),
            messages: self.entries.len(),
            unreadable: unreadable.collect(),
        }
    }
}

impl SpoolReport {
    /// Returns whether everything is as it was written. A write that was cut off is no damage: nobody was told that it was
    /// safe.
    pub fn is_clean(&self) -> bool {
        self.unreadable.is_empty() && self.segments.iter().all(|segment| segment.damage.is_empty())
    }

    /// Leaves only the damage that `before` had, too.
    fn confirm(&mut self, before: &SpoolReport) {
        self.unreadable.retain(|found| before.unreadable.contains(found));
        for segment in &mut self.segments {
            let known = before.segments.iter().find(|other| other.sequence == segment.sequence);
            segment.damage.retain(|range| known.is_some_and(|known| known.damage.contains(range)));
        }
    }
}

impl fmt::Display for UnreadableMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id, self.why)
    }
}

/// Checks every record, every live message and every large file of the spool in `directory`.
pub fn verify(directory: &Path) -> Result<SpoolReport, OpenError> {
    let mut report = Inspection::beside(directory)?.report();
    if !report.is_clean() {
        let first = report;
        report = Inspection::beside(directory)?.report();
        report.confirm(&first);
    }
    Ok(report)
}

/// Reads all segments; does so again where one of them was removed meanwhile.
fn survey(paths: &SpoolPaths) -> Result<Survey, OpenError> {
    let path = paths.root().to_owned();
    match (path.metadata(), paths.segments.metadata()) {
        (Err(e), _) if e.kind() == ErrorKind::NotFound => return Err(OpenError::NoSuchSpool { path }),
        // Who may not look into the directory does not know what is in it.
        (Err(source), _) | (_, Err(source)) if source.kind() == ErrorKind::PermissionDenied => {
            return Err(OpenError::Io { operation: "read", path, source });
        }
        (Ok(_), Ok(segments)) if segments.is_dir() => {}
        (Ok(_), _) => return Err(OpenError::NotASpool { path }),
        (Err(_), _) => {}
    }
    let mut surveys = 1;
    loop {
        match recover::survey(&ReadOnlyFs, paths) {
            Err(OpenError::Io { path, source, .. })
                if source.kind() == ErrorKind::NotFound && path != paths.segments && surveys < SURVEYS =>
            {
                surveys += 1;
            }
            done => return done,
        }
    }
}

/// Returns the figures of all segments, of missing ones too.
fn segments(survey: &Survey) -> Vec<SegmentFigures> {
    let figures = survey.figures.iter().map(|figure| {
        let sequence = figure.sequence;
        let damage = survey.damage.iter().filter(|range| range.segment == sequence);
        // Nothing in it can be read.
        let is_lost = survey.lost.contains(&sequence);
        let all = is_lost.then_some((0, u32::try_from(figure.octets).unwrap_or(u32::MAX)));
        let SegmentTally { live, live_octets, .. } = survey.index.tally(sequence);
        SegmentFigures {
            sequence,
            version: figure.version,
            is_blank: figure.is_blank && !is_lost,
            octets: figure.octets,
            used: if figure.is_blank { 0 } else { u64::from(figure.end) },
            records: figure.records,
            live,
            live_octets,
            damage: damage.map(|&DamagedRange { start, end, .. }| (start, end)).chain(all).collect(),
            torn: figure.torn,
        }
    });
    let missing = survey.missing.iter().map(|gone| SegmentFigures {
        sequence: gone.sequence,
        version: None,
        is_blank: false,
        octets: 0,
        used: 0,
        records: 0,
        live: 0,
        live_octets: 0,
        damage: vec![(0, gone.durable)],
        torn: 0,
    });
    let mut segments: Vec<SegmentFigures> = figures.chain(missing).collect();
    segments.sort_by_key(|segment| segment.sequence);
    segments
}

/// Counts the files in a directory of whose names `counts` returns true.
fn count(directory: &Path, counts: impl Fn(&std::ffi::OsStr) -> bool) -> Result<Files, OpenError> {
    let failed = |source| OpenError::Io { operation: "list", path: directory.into(), source };
    let mut files = Files::default();
    let entries = match std::fs::read_dir(directory) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(files),
        other => other.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        // A file that is gone by now is not counted.
        if let Some(metadata) = entry.metadata().ok().filter(|_| counts(&entry.file_name())) {
            files.count += 1;
            files.octets += metadata.len();
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
