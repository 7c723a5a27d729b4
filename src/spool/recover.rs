//! Recovery: the only way to start, whether the process before ended in order or with the power.
//!
//! [`survey`] reads the segments in order and changes nothing; [`tidy`] (`recover/tidy.rs`) then puts the directory in order.
//! Both may be cut off at any point and done again.
//!
//! Promises
//! 1. Every record that was promised to be durable and is whole is replayed, in the order it was written.
//! 2. What was refused is not (`format.rs`, promises 3 and 4); what was neither refused nor promised may
//!    be, whole. Before anybody acts on it, it is synced: it may have been read from the page cache only.
//! 3. Damage costs the records it hit. The octets are kept in `corrupt/` and reported once. A file that ends
//!    within a batch is damaged: no write goes past the length that a segment was made ready with.
//! 4. A segment file that never became active is removed, or becomes the next segment under another name
//!    (`stock/reuse.rs`). That is safe: a record is written only
//!    after the header is synced, so a file that has neither a header of its own number nor one
//!    record that parses under it holds nothing. With such a record, it is the header that is damaged;
//!    where all are, the records say which spool it is (`identify.rs`).
//! 5. Large files that no live message names are removed; where there is damage, or no segment, they are moved to
//!    `corrupt/` instead, since the record that named them may be what was hit.
//! 6. A segment that is not there although it cannot have been let go, since an older one is there, is
//!    reported at each start.
//!
//! A message whose last recipient is closed is still live if the record that settles it was not
//! synced: it is given out like any other, and its ledger settles at once.
//!
//! Fails: only where going on could do harm. Not here: a fresh segment (`writer.rs`), which every start
//! begins, so that nothing is ever written behind a torn end.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::change::IndexChange;
use super::entry::{Entry, OpenError};
use super::format::{FIRST_RECORD, HeaderFault, PreviousSegment, RecordKind, SegmentHeader, SpoolId};
use super::fs::{File, Fs};
use super::identify::{held_a_record, identify};
use super::index::{Index, RecordPlace};
use super::paths::{DamagedRange, HIGHEST_SEGMENT, SpoolPaths, segment_sequence};
use super::payload::Meta;
use super::scan::{FoundRecord, HeaderError, Scanner, read_header};
use super::space::SMALLEST;
use crate::envelope::ReversePathKey;
use crate::queue_id::QueueId;

mod tidy;

pub(super) use tidy::tidy;

/// The state of a spool as its segments say when they are read in order.
#[derive(Default)]
pub(super) struct Survey {
    /// The id of the spool; `None` in a new one.
    pub spool: Option<SpoolId>,
    pub index: Index,
    pub damage: Vec<DamagedRange>,
    /// The number of writes that were not finished when the process ended.
    pub torn: u64,
    /// The highest relay clock that a record or a header bears.
    pub relay_clock: u32,
    /// The highest queue id that was given.
    pub high_water: u64,
    /// True if the last record says that the process ended in order.
    pub clean: bool,
    /// The facts of the last segment that the header of the next one is to state.
    pub last: Option<PreviousSegment>,
    /// The figures of every segment file, in the order of their numbers.
    pub figures: Vec<Figures>,
    /// The highest number that a file has.
    pub highest: u32,
    /// The messages that were found, each with the place of its record.
    arrivals: Vec<(Entry, RecordPlace)>,
    /// The patience that each message had used by its last note, in seconds.
    patience_used: BTreeMap<QueueId, u32>,
    /// The numbers of files that never became segments.
    leftovers: Vec<u32>,
    /// The numbers of segments of which nothing can be read.
    pub lost: Vec<u32>,
    /// Segments that should be there and are not.
    pub missing: Vec<PreviousSegment>,
}

/// One segment file in figures, for those who look at the spool (`inspect.rs`).
pub(super) struct Figures {
    pub sequence: u32,
    /// The version of its format; `None` when its header cannot be read.
    pub version: Option<u16>,
    /// True if no record is in it.
    pub is_blank: bool,
    pub octets: u64,
    pub records: u64,
    /// The offset at which its last record ends that counts.
    pub end: u32,
    /// The offset behind which nothing is of any use.
    pub used: u32,
    pub torn: u64,
}

struct SegmentFile {
    sequence: u32,
    file: Arc<dyn File>,
    /// The header; `None` when it cannot be read.
    header: Option<SegmentHeader>,
}

/// Reads all segments and returns the state of the spool that they describe.
pub(super) fn survey(fs: &dyn Fs, paths: &SpoolPaths) -> Result<Survey, OpenError> {
    let segments = open_segments(fs, paths)?;
    let highest = segments.last().map_or(0, |last| last.sequence);
    let mut survey = Survey { highest, missing: missing(&segments), ..Survey::default() };
    survey.spool = spool_of(&segments).map_err(|e| failed("read", &paths.segments, e))?;
    if let Some(foreign) =
        segments.iter().find(|s| s.header.as_ref().is_some_and(|h| Some(h.spool) != survey.spool))
    {
        return Err(OpenError::Foreign { path: paths.segment(foreign.sequence) });
    }
    for segment in &segments {
        let bound = bound_of(segment.sequence, &segments);
        survey.segment(segment, bound).map_err(|e| failed("read", &paths.segment(segment.sequence), e))?;
    }
    Ok(survey)
}

fn open_segments(fs: &dyn Fs, paths: &SpoolPaths) -> Result<Vec<SegmentFile>, OpenError> {
    let names = fs.list(&paths.segments).map_err(|e| failed("list", &paths.segments, e))?;
    let mut sequences: Vec<u32> = names.iter().filter_map(|name| segment_sequence(name)).collect();
    sequences.sort_unstable();
    let open = |sequence| {
        let path = paths.segment(sequence);
        let is_file = fs.facts(&path).map_err(|e| failed("open", &path, e))?.is_regular;
        if !is_file || sequence > HIGHEST_SEGMENT {
            let why = if is_file { "no spool comes to that number" } else { "it is not a file" };
            return Err(OpenError::NotASegment { path, why });
        }
        let file = fs.open(&path).map_err(|e| failed("open", &path, e))?;
        let header = match read_header(&*file, sequence) {
            Ok(header) => Some(header),
            Err(HeaderError::Fault(HeaderFault::Unreadable)) => None,
            Err(HeaderError::Fault(HeaderFault::Newer(version))) => {
                return Err(OpenError::NewerFormat { path, version });
            }
            Err(HeaderError::Io(e)) => return Err(failed("read", &path, e)),
        };
        Ok(SegmentFile { sequence, file, header })
    };
    sequences.into_iter().map(open).collect()
}

/// Returns the id of the spool, as the headers say; where none can be read, as the records say.
fn spool_of(segments: &[SegmentFile]) -> io::Result<Option<SpoolId>> {
    match segments.iter().find_map(|segment| Some(segment.header.as_ref()?.spool)) {
        Some(spool) => Ok(Some(spool)),
        None => identify(segments.iter().map(|segment| (segment.sequence, &*segment.file))),
    }
}

/// Returns the facts of segment `sequence` as the latest header that names it states them.
fn bound_of(sequence: u32, segments: &[SegmentFile]) -> Option<PreviousSegment> {
    let stated = |segment: &SegmentFile| segment.header.as_ref()?.previous;
    segments.iter().rev().filter_map(stated).find(|previous| previous.sequence == sequence)
}

/// Returns the segments that a header names and that are not there, although an older one is: the oldest goes first.
fn missing(segments: &[SegmentFile]) -> Vec<PreviousSegment> {
    let headers = || segments.iter().filter_map(|segment| segment.header.as_ref());
    let oldest = headers().next().map_or(u32::MAX, |header| header.sequence);
    let is_there = |sequence| segments.iter().any(|segment| segment.sequence == sequence);
    // One without a record is removed as what never became active.
    let held_records = headers().filter_map(|header| header.previous).filter(|p| p.durable > FIRST_RECORD);
    let mut missing: Vec<PreviousSegment> =
        held_records.filter(|previous| previous.sequence > oldest && !is_there(previous.sequence)).collect();
    missing.dedup_by_key(|previous| previous.sequence);
    missing
}

/// The state of reading one segment.
struct SegmentReading {
    sequence: u32,
    bound: Option<PreviousSegment>,
    /// The ranges in which there is no record.
    gaps: Vec<DamagedRange>,
    /// The offset before which everything is known to have been synced.
    proven: u32,
    /// The offset at which the last record ends that counts.
    end: u32,
    /// The offset at which the last record ends, whether it counts or not.
    used: u32,
    /// True if the last record that counts says that the process ended in order.
    clean: bool,
    records: u64,
}

impl Figures {
    /// Returns the figures of a segment that has not been read yet.
    fn blank(segment: &SegmentFile) -> io::Result<Figures> {
        Ok(Figures {
            sequence: segment.sequence,
            version: segment.header.as_ref().map(|header| header.version),
            is_blank: true,
            octets: segment.file.length()?,
            records: 0,
            end: 0,
            used: 0,
            torn: 0,
        })
    }

    fn read_through(&mut self, reading: &SegmentReading, torn: u64) {
        (self.is_blank, self.records, self.torn) = (false, reading.records, torn);
        // Octets that were safe and are damaged stay, too.
        (self.end, self.used) = (reading.end, reading.used.max(reading.proven));
    }
}

impl Survey {
    fn segment(&mut self, segment: &SegmentFile, bound: Option<PreviousSegment>) -> io::Result<()> {
        let sequence = segment.sequence;
        self.figures.push(Figures::blank(segment)?);
        let Some(spool) = self.spool else { return self.segment_of_no_spool(segment) };
        let mut scanner = Scanner::new(&*segment.file, spool, sequence, u32::MAX)?;
        let proven = bound.map_or(0, |bound| bound.durable);
        let mut reading = SegmentReading {
            sequence,
            bound,
            gaps: Vec::new(),
            proven,
            end: FIRST_RECORD,
            used: FIRST_RECORD,
            clean: false,
            records: 0,
        };
        while let Some(found) = scanner.next()? {
            self.found(&mut reading, found, scanner.payload());
        }
        match &segment.header {
            None if reading.records == 0 && bound.is_none_or(|bound| bound.durable <= FIRST_RECORD) => {
                self.leftovers.push(sequence);
                return Ok(());
            }
            None => self.damage.push(DamagedRange { segment: sequence, start: 0, end: FIRST_RECORD }),
            Some(header) => {
                self.high_water = self.high_water.max(header.high_water.raw());
                self.relay_clock = self.relay_clock.max(header.relay_clock);
            }
        }
        self.index.begin_segment(sequence, segment.file.length()?);
        self.end_of_segment(&reading, &scanner);
        Ok(())
    }

    /// Notes a segment of a spool in which no header and no record is whole.
    fn segment_of_no_spool(&mut self, segment: &SegmentFile) -> io::Result<()> {
        let list = if held_a_record(&*segment.file)? { &mut self.lost } else { &mut self.leftovers };
        list.push(segment.sequence);
        Ok(())
    }

    fn found(&mut self, reading: &mut SegmentReading, found: FoundRecord, payload: &[u8]) {
        let FoundRecord { offset, head, gap } = found;
        let segment = reading.sequence;
        reading.records += 1;
        reading.used = offset + head.record_length();
        let stated_end = reading.bound.map_or(u32::MAX, |bound| bound.end);
        let gap = gap.filter(|start| *start < stated_end);
        reading.gaps.extend(gap.map(|start| DamagedRange { segment, start, end: offset.min(stated_end) }));
        let void = offset >= stated_end;
        if void && !head.kind.is_hint() {
            return;
        }
        if !void {
            reading.proven = reading.proven.max(head.durable_below);
            reading.end = offset + head.record_length();
            reading.clean = head.kind == RecordKind::CleanEnd;
        }
        self.relay_clock = self.relay_clock.max(head.relay_clock);
        self.high_water = self.high_water.max(head.id.raw());
        let place = RecordPlace { segment, offset, payload_length: head.payload_length };
        match IndexChange::decode(head.kind, payload) {
            Ok((change, meta)) => self.replay(head.id, place, &change, meta),
            // Whole, but not in our language: no version wrote this.
            Err(_) => {
                self.damage.push(DamagedRange { segment, start: offset, end: offset + head.record_length() })
            }
        }
    }

    fn replay(
        &mut self,
        id: QueueId,
        place: RecordPlace,
        change: &IndexChange,
        meta: Option<(Meta, ReversePathKey)>,
    ) {
        match change {
            IndexChange::Note { patience_used } => drop(self.patience_used.insert(id, *patience_used)),
            IndexChange::Move(carried) => drop(self.patience_used.insert(id, carried.patience_used)),
            IndexChange::Settle => drop(self.patience_used.remove(&id)),
            _ => {}
        }
        self.index.apply(id, place, change);
        self.arrivals.extend(meta.map(|(meta, from)| (meta.entry(id, from), place)));
    }

    fn end_of_segment(&mut self, reading: &SegmentReading, scanner: &Scanner<'_>) {
        let segment = reading.sequence;
        let (damaged, torn): (Vec<DamagedRange>, Vec<DamagedRange>) =
            reading.gaps.iter().partition(|gap| gap.start < reading.proven);
        let torn_before = self.torn;
        self.torn += torn.len() as u64;
        self.damage.extend(damaged);
        self.clean = reading.clean;
        let tail = scanner.tail();
        let octets = self.figures.last().map_or(0, |figure| figure.octets);
        if tail < reading.proven {
            self.damage.push(DamagedRange { segment, start: tail, end: reading.proven });
        } else if scanner.tail_is_cut_off() && reading.bound.is_none() && !may_have_grown(tail, octets) {
            let end = u32::try_from(octets).unwrap_or(u32::MAX).max(tail);
            self.damage.push(DamagedRange { segment, start: tail, end });
            self.clean = false;
        } else if scanner.tail_is_torn() && reading.bound.is_none() {
            self.torn += 1;
            self.clean = false;
        }
        if let Some(figures) = self.figures.last_mut() {
            figures.read_through(reading, self.torn - torn_before);
        }
        let durable = torn.first().map_or(reading.end, |gap| gap.start);
        self.last = Some(PreviousSegment { sequence: segment, durable, end: reading.end });
    }

    /// Returns whether everything that was written is there, as far as can be told.
    fn is_whole(&self) -> bool {
        self.spool.is_some() && self.damage.is_empty() && self.lost.is_empty() && self.missing.is_empty()
    }

    /// Returns the number of the file that was made ready to be the next segment and did not become one. From then on it does
    /// not count as left over.
    pub fn take_next_segment(&mut self) -> Option<u32> {
        self.leftovers.pop_if(|sequence| *sequence == self.highest)
    }

    /// Takes out the live messages, in the order of their queue ids.
    pub fn take_entries(&mut self) -> Vec<Entry> {
        let (index, patience_used) = (&self.index, std::mem::take(&mut self.patience_used));
        let live = |(mut entry, place): (Entry, RecordPlace)| {
            let slot = index.slot(entry.id).filter(|slot| slot.place == place)?;
            entry.marks = slot.marks;
            entry.patience_used = patience_used.get(&entry.id).copied().unwrap_or(0);
            Some(entry)
        };
        let mut entries: Vec<Entry> =
            std::mem::take(&mut self.arrivals).into_iter().filter_map(live).collect();
        entries.sort_unstable_by_key(|entry| entry.id);
        entries
    }
}

/// Returns whether the end of a file of `octets`, of which everything before `tail` is whole, may be a write that was never
/// finished. Segments are made ready at full length, so only a record that is longer than a segment goes past its end.
fn may_have_grown(tail: u32, octets: u64) -> bool {
    tail == FIRST_RECORD && octets >= SMALLEST
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> OpenError {
    OpenError::Io { operation, path: path.into(), source }
}
