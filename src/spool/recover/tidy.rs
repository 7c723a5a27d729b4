//! Puts the directories of a spool in order after its segments have been read: keeps what is damaged, and removes what
//! no record names.
//!
//! It may be cut off at any point and done again. The promises are those of `recover.rs`, 3 to 6.

use std::io;

use super::{Survey, failed};
use crate::spool::entry::OpenError;
use crate::spool::fs::{Fs, unlink_if_there};
use crate::spool::marks::Mark;
use crate::spool::paths::{DamagedRange, SpoolPaths, large_id};
use crate::spool::salvage;

/// Puts the spool in order as the survey has found it; returns the lines that report damage which was not seen before.
pub fn tidy(fs: &dyn Fs, paths: &SpoolPaths, survey: &mut Survey) -> Result<Vec<String>, OpenError> {
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

/// Copies damaged ranges to `corrupt/`; returns the lines that report them.
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

/// Removes files that never became segments, and moves segments to `corrupt/` of which nothing can be read.
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

/// Removes large files that no live message names, or moves them to `corrupt/` where a record may be missing.
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
