//! `nullmta spool …`: checks, counts or exports the messages on the spool, without the daemon.
//!
//! Promises: none of these commands writes to the spool. `verify` and `stat` also work while a daemon runs; `export` does
//! not, since a message that it copies might be delivered by the daemon, and again from the copy.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::output::printed;
use super::queue::print_json;
use crate::admin::protocol::MessageState;
use crate::config::{self, Config};
use crate::log::counted;
use crate::spool::OpenError;
use crate::spool::inspect::{self, Files, Inspection, SegmentFigures, SpoolReport};

mod export;

/// Check, count or export the messages on the spool, without the daemon.
#[derive(Subcommand)]
pub(super) enum SpoolCommand {
    /// Check every record, message and large file; exits 1 if something is damaged
    Verify(Verify),
    /// Write every message to a directory, as .eml with its envelope as .json
    Export(export::Export),
    /// Count the messages, octets, segments and files
    Stat(Stat),
}

impl SpoolCommand {
    pub(super) fn run(&self) -> Result<(), Failure> {
        match self {
            SpoolCommand::Verify(verify) => verify.run(),
            SpoolCommand::Export(export) => export.run(),
            SpoolCommand::Stat(stat) => stat.run(),
        }
    }
}

/// The options that say where the spool is.
#[derive(Args)]
struct SpoolLocation {
    /// The configuration file, which names the spool
    #[arg(short, long, value_name = "FILE", default_value = config::FILE)]
    config: PathBuf,
    /// The spool; no configuration is read then
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    spool: Option<PathBuf>,
}

impl SpoolLocation {
    fn directory(&self) -> Result<PathBuf, Failure> {
        match &self.spool {
            Some(directory) => Ok(directory.clone()),
            None => Ok(Config::read(&self.config).map_err(super::config_failure)?.spool),
        }
    }
}

/// Check every record, message and large file.
#[derive(Args)]
pub(super) struct Verify {
    #[command(flatten)]
    place: SpoolLocation,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Verify {
    fn run(&self) -> Result<(), Failure> {
        let report = inspect::verify(&self.place.directory()?).map_err(open_failure)?;
        let said = match self.json {
            true => print_json(&VerifyJson::of(&report)),
            false => write!(io::stdout(), "{}", verify_text(&report)),
        };
        printed(said)?;
        match report.is_clean() {
            true => Ok(()),
            false => Err(Failure::new(Exit::Failed, "the spool is damaged; all that is whole is delivered")),
        }
    }
}

/// Count the messages, octets, segments and files.
#[derive(Args)]
pub(super) struct Stat {
    #[command(flatten)]
    place: SpoolLocation,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Stat {
    fn run(&self) -> Result<(), Failure> {
        let inspection = Inspection::beside(&self.place.directory()?).map_err(open_failure)?;
        let stat = StatJson::of(&inspection).map_err(open_failure)?;
        let said = match self.json {
            true => print_json(&stat),
            false => write!(io::stdout(), "{}", stat_text(&stat)),
        };
        printed(said)
    }
}

fn open_failure(error: OpenError) -> Failure {
    let exit = match &error {
        OpenError::Locked { .. } => Exit::TempFail,
        OpenError::NotASpool { .. } => Exit::DataErr,
        _ => Exit::CantCreate,
    };
    Failure::new(exit, error)
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct VerifyJson {
    clean: bool,
    messages: usize,
    segments: Vec<SegmentJson>,
    unreadable: Vec<UnreadableJson>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct SegmentJson {
    sequence: u32,
    version: Option<u16>,
    blank: bool,
    octets: u64,
    records: u64,
    messages: u32,
    damage: Vec<(u32, u32)>,
    torn: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct UnreadableJson {
    id: String,
    why: String,
}

impl VerifyJson {
    fn of(report: &SpoolReport) -> Self {
        let segment = |segment: &SegmentFigures| SegmentJson {
            sequence: segment.sequence,
            version: segment.version,
            blank: segment.is_blank,
            octets: segment.octets,
            records: segment.records,
            messages: segment.live,
            damage: segment.damage.clone(),
            torn: segment.torn,
        };
        let unreadable =
            report.unreadable.iter().map(|u| UnreadableJson { id: u.id.to_string(), why: u.why.clone() });
        VerifyJson {
            clean: report.is_clean(),
            messages: report.messages,
            segments: report.segments.iter().map(segment).collect(),
            unreadable: unreadable.collect(),
        }
    }
}

const HEADING: &str = "SEGMENT   VERSION      OCTETS  RECORDS  MESSAGES  TORN  DAMAGED\n";

/// Returns a line for each segment, a line for each damaged message, and the sum.
fn verify_text(report: &SpoolReport) -> String {
    let mut text = String::from(HEADING);
    for segment in &report.segments {
        let SegmentFigures { sequence, octets, records, live, torn, .. } = segment;
        let version = match segment.version {
            Some(version) => version.to_string(),
            None if segment.is_blank => "blank".into(),
            // Only the header of the segment is damaged.
            None if segment.records > 0 => "unknown".into(),
            None => "lost".into(),
        };
        let damage: Vec<String> =
            segment.damage.iter().map(|(start, end)| format!("{start}-{end}")).collect();
        let damage = if damage.is_empty() { "-".into() } else { damage.join(",") };
        text += &format!(
            "{sequence:08X}  {version:>7}  {octets:>10}  {records:>7}  {live:>8}  {torn:>4}  {damage}\n"
        );
    }
    for unreadable in &report.unreadable {
        text += &format!("{unreadable}\n");
    }
    let damage: usize = report.segments.iter().map(|segment| segment.damage.len()).sum();
    text + &format!(
        "{}, {} of them damaged; {}\n",
        counted(report.messages, "message"),
        report.unreadable.len(),
        counted(damage, "damaged range")
    )
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct StatJson {
    messages: usize,
    ready: usize,
    deferred: usize,
    held: usize,
    on_hold: usize,
    dead: usize,
    live_octets: u64,
    dead_octets: u64,
    segments: usize,
    blank_segments: usize,
    segment_octets: u64,
    large: FilesJson,
    corrupt: FilesJson,
    drop: FilesJson,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct FilesJson {
    files: u64,
    octets: u64,
}

impl From<Files> for FilesJson {
    fn from(files: Files) -> Self {
        FilesJson { files: files.count, octets: files.octets }
    }
}

impl StatJson {
    fn of(inspection: &Inspection) -> Result<Self, OpenError> {
        let entries = inspection.entries();
        let count = |state| entries.iter().filter(|entry| MessageState::from(*entry) == state).count();
        let segments = inspection.segments();
        let sum = |octets: fn(&SegmentFigures) -> u64| segments.iter().map(octets).sum::<u64>();
        let live_octets = sum(|segment| segment.live_octets);
        Ok(StatJson {
            messages: entries.len(),
            ready: count(MessageState::Ready),
            deferred: count(MessageState::Deferred),
            held: count(MessageState::Held),
            on_hold: count(MessageState::OnHold),
            dead: count(MessageState::Dead),
            live_octets,
            dead_octets: sum(|segment| segment.used).saturating_sub(live_octets),
            segments: segments.len(),
            blank_segments: segments.iter().filter(|segment| segment.is_blank).count(),
            segment_octets: sum(|segment| segment.octets),
            large: inspection.large()?.into(),
            corrupt: inspection.corrupt()?.into(),
            drop: inspection.dropped()?.into(),
        })
    }
}

fn stat_text(stat: &StatJson) -> String {
    let StatJson { messages, ready, deferred, held, on_hold, dead, live_octets, dead_octets, .. } = stat;
    let StatJson { segments, blank_segments, segment_octets, large, corrupt, drop, .. } = stat;
    format!(
        "messages  {messages}: {ready} ready, {deferred} deferred, {held} held, {on_hold} on hold, {dead} dead\n\
         records   {live_octets} octets live, {dead_octets} dead\n\
         segments  {segments} of {segment_octets} octets, {blank_segments} of them blank\n\
         large     {} files of {} octets\n\
         corrupt   {} files of {} octets\n\
         drop      {} files of {} octets\n",
        large.files, large.octets, corrupt.files, corrupt.octets, drop.files, drop.octets
    )
}

#[cfg(test)]
mod tests;
