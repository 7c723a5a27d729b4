//! Recovery: the only way to start, whether the process before ended in order or with the power.
//!
//! [`survey`] reads the segments in order and changes nothing; [`tidy`] then puts the directory in order.
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
//! 5. Large files that no live message names are removed; where there is damage, or no log, they are moved to
//!    `corrupt/` instead, since the record that named them may be what was hit.
//! 6. A segment that is not there although it cannot have been let go, since an older one is there, is
//!    reported at each start.
//!
//! A message whose last recipient is closed is still live if the record that settles it was not
//! synced: it is given out like any other, and its ledger settles at once.
//!
//! Fails: only where going on could do harm. Not here: a fresh segment (`writer.rs`), which every start
//! begins, so that nothing is ever written behind a torn end.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::change::IndexChange;
use super::entry::{Entry, OpenError};
use super::format::{FIRST_RECORD, HeaderFault, PreviousSegment, RecordKind, SegmentHeader, SpoolId};
use super::fs::{File, Fs, unlink_if_there};
use super::identify::{held_a_record, identify};
use super::index::{Index, RecordPlace};
use super::marks::Mark;
use super::paths::{DamagedRange, HIGHEST_SEGMENT, SpoolPaths, large_id, segment_sequence};
use super::payload::Meta;
use super::salvage;
use super::scan::{FoundRecord, Scanner, read_header};
use super::space::SMALLEST;
use crate::queue_id::QueueId;

/// What all segments say, read in order.
#[derive(Default)]
pub(super) struct Survey {
    /// `None` in a new spool.
    pub spool: Option<SpoolId>,
    pub index: Index,
    pub damage: Vec<DamagedRange>,
    pub torn: u64,
    pub relay_clock: u32,
    pub high_water: u64,
    /// The last record says that the process ended in order.
    pub clean: bool,
    /// The last segment, as the header of the next is to speak of it.
    pub last: Option<PreviousSegment>,
    /// Every segment file, by number.
    pub figures: Vec<Figures>,
    /// The highest number that a file has.
    pub highest: u32,
    arrivals: Vec<(Entry, RecordPlace)>,
    /// Files that never became segments.
    leftovers: Vec<u32>,
    /// Segments that nothing can be read from.
    pub lost: Vec<u32>,
    /// Segments that should be there and are not.
    pub missing: Vec<PreviousSegment>,
}

/// One segment file, for those who look at the spool (`inspect.rs`).
pub(super) struct Figures {
    pub sequence: u32,
    /// `None` when its header cannot be read.
    pub version: Option<u16>,
    /// No record is in it.
    pub is_blank: bool,
    pub octets: u64,
    pub records: u64,
    /// Where its last record that counts ends.
    pub end: u32,
    /// Behind this, nothing in it is of any use.
    pub used: u32,
    pub torn: u64,
}

struct SegmentFile {
    sequence: u32,
    file: Arc<dyn File>,
    /// `None` when it cannot be read.
    header: Option<SegmentHeader>,
}

/// Reads all segments and returns what they say.
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
        let header = match read_header(&*file, sequence).map_err(|e| failed("read", &path, e))? {
            Ok(header) => Some(header),
            Err(HeaderFault::Unreadable) => None,
            Err(HeaderFault::Newer(version)) => return Err(OpenError::NewerFormat { path, version }),
        };
        Ok(SegmentFile { sequence, file, header })
    };
    sequences.into_iter().map(open).collect()
}

/// As the headers say, or where none can be read, the records.
fn spool_of(segments: &[SegmentFile]) -> io::Result<Option<SpoolId>> {
    match segments.iter().find_map(|segment| Some(segment.header.as_ref()?.spool)) {
        Some(spool) => Ok(Some(spool)),
        None => identify(segments.iter().map(|segment| (segment.sequence, &*segment.file))),
    }
}

/// What the latest header that names segment `sequence` says of it.
fn bound_of(sequence: u32, segments: &[SegmentFile]) -> Option<PreviousSegment> {
    let stated = |segment: &SegmentFile| segment.header.as_ref()?.previous;
    segments.iter().rev().filter_map(stated).find(|previous| previous.sequence == sequence)
}

/// The segments that a header names and that are gone before their turn: the oldest goes first.
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

/// What is known of a segment while it is read.
struct SegmentReading {
    sequence: u32,
    bound: Option<PreviousSegment>,
    /// Ranges without a record.
    gaps: Vec<DamagedRange>,
    /// Everything before this offset was synced.
    proven: u32,
    /// Where the last record that counts ends.
    end: u32,
    /// Where the last record ends, whether it counts or not.
    used: u32,
    /// The last record that counts says that the process ended in order.
    clean: bool,
    records: u64,
}

impl Figures {
    /// The figures of a segment not read yet.
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
        // What was safe and is damaged stays, too.
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

    /// Neither a header nor a record of any segment is whole.
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

    fn replay(&mut self, id: QueueId, place: RecordPlace, change: &IndexChange, meta: Option<Meta>) {
        self.index.apply(id, place, change);
        self.arrivals.extend(meta.map(|meta| (meta.entry(id), place)));
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

    /// Whether everything that was written is there, as far as can be told.
    fn is_whole(&self) -> bool {
        self.spool.is_some() && self.damage.is_empty() && self.lost.is_empty() && self.missing.is_empty()
    }

    /// The number of the file that was made ready to be the next segment, and did not become one. It is no leftover from
    /// then on.
    pub fn take_next_segment(&mut self) -> Option<u32> {
        self.leftovers.pop_if(|sequence| *sequence == self.highest)
    }

    /// The live messages, by queue id. Empties the survey of them.
    pub fn take_entries(&mut self) -> Vec<Entry> {
        let index = &self.index;
        let live = |(mut entry, place): (Entry, RecordPlace)| {
            let slot = index.slot(entry.id).filter(|slot| slot.place == place)?;
            entry.marks = slot.marks;
            Some(entry)
        };
        let mut entries: Vec<Entry> =
            std::mem::take(&mut self.arrivals).into_iter().filter_map(live).collect();
        entries.sort_unstable_by_key(|entry| entry.id);
        entries
    }
}

/// Whether the end of a file of `octets`, where no record before `tail` is missing, may be a write that was never
/// finished. Segments are made ready at full length, so only what is longer than a segment goes past its end.
fn may_have_grown(tail: u32, octets: u64) -> bool {
    tail == FIRST_RECORD && octets >= SMALLEST
}

/// Puts the spool in order as the survey has it; what to report of damage not seen before.
pub(super) fn tidy(fs: &dyn Fs, paths: &SpoolPaths, survey: &mut Survey) -> Result<Vec<String>, OpenError> {
    if let Some(last) = survey.last {
        let path = paths.segment(last.sequence);
        let sync = fs.open(&path).and_then(|file| file.sync_data());
        sync.map_err(|e| failed("sync", &path, e))?;
    }
    let mut reports = keep_damage(fs, paths, survey);
    remove_leftovers(fs, paths, survey, &mut reports).map_err(|e| failed("clear", &paths.segments, e))?;
    sort_out_large(fs, paths, survey, &mut reports).map_err(|e| failed("clear", &paths.large, e))?;
    Ok(reports)
}

fn keep_damage(fs: &dyn Fs, paths: &SpoolPaths, survey: &Survey) -> Vec<String> {
    let report = |range: &DamagedRange| match salvage::keep(fs, paths, *range) {
        Ok(copy) => copy.is_new.then(|| salvage::describe(*range, &copy)),
        Err(e) => Some(format!(
            "segment {:08X} is damaged from octet {} to {}; those octets could not be copied: {e}",
            range.segment, range.start, range.end
        )),
    };
    let gone = survey.missing.iter().map(|gone| {
        format!("segment {:08X} is missing; {} octets of it were safe", gone.sequence, gone.durable)
    });
    survey.damage.iter().filter_map(report).chain(gone).collect()
}

fn remove_leftovers(
    fs: &dyn Fs,
    paths: &SpoolPaths,
    survey: &Survey,
    reports: &mut Vec<String>,
) -> io::Result<()> {
    for sequence in &survey.lost {
        let to = salvage::put_aside(fs, paths, *sequence)?;
        reports.push(format!(
            "segment {sequence:08X} holds no readable header or record; it is now {}",
            to.display()
        ));
    }
    for sequence in &survey.leftovers {
        unlink_if_there(fs, &paths.segment(*sequence))?;
    }
    // A leftover's name will be used again, a lost segment's is in corrupt/: neither may come back.
    fs.sync_dir(&paths.segments)
}

fn sort_out_large(
    fs: &dyn Fs,
    paths: &SpoolPaths,
    survey: &mut Survey,
    reports: &mut Vec<String>,
) -> io::Result<()> {
    for name in fs.list(&paths.large)? {
        let Some(id) = large_id(&name) else { continue };
        survey.high_water = survey.high_water.max(id.raw());
        if survey.index.slot(id).is_some_and(|slot| slot.marks.has(Mark::Large)) {
            continue;
        }
        let path = paths.large(id);
        if survey.is_whole() {
            unlink_if_there(fs, &path)?;
        } else {
            let to = paths.corrupt.join(&name);
            fs.rename(&path, &to)?;
            reports.push(format!("no record names the large file {id}; it is now {}", to.display()));
        }
    }
    Ok(())
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> OpenError {
    OpenError::Io { operation, path: path.into(), source }
}
