//! Keeps damaged octets: a copy in `corrupt/`, made once, never deleted by nullmta.
//!
//! Promises: a copy is whole and synced under its final name, or it is not there. Making it again
//! does nothing, so that the same damage is reported once however often the spool is recovered.

use std::io;
use std::path::Path;

use super::fs::{Fs, write_all_at};
use super::place::Places;
use super::scan::read_tolerantly;
use super::stock::unlink;

const CHUNK: usize = 1 << 20;

/// Octets `start..end` of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub segment: u32,
    pub start: u32,
    pub end: u32,
}

/// Copies a range; false if that was done before.
pub(super) fn keep(fs: &dyn Fs, places: &Places, range: Range) -> io::Result<bool> {
    let copy = places.damaged_range(range.segment, range.start);
    let name = copy.file_name().unwrap_or_default();
    if fs.list(&places.corrupt)?.iter().any(|known| known == name) {
        return Ok(false);
    }
    let part = copy.with_extension("part");
    unlink(fs, &part)?;
    copy_range(fs, &places.segment(range.segment), &part, range)?;
    fs.rename(&part, &copy)?;
    fs.sync_dir(&places.corrupt)?;
    Ok(true)
}

/// What the log says of it.
pub(super) fn describe(places: &Places, range: Range) -> String {
    format!(
        "segment {:08X} is damaged from octet {} to {}; those octets are kept in {}",
        range.segment,
        range.start,
        range.end,
        places.damaged_range(range.segment, range.start).display()
    )
}

fn copy_range(fs: &dyn Fs, from: &Path, to: &Path, range: Range) -> io::Result<()> {
    let (from, to) = (fs.open(from)?, fs.create(to)?);
    let mut buffer = vec![0; CHUNK];
    let mut done = 0;
    let length = u64::from(range.end - range.start);
    while done < length {
        let chunk = &mut buffer[..CHUNK.min((length - done) as usize)];
        match read_tolerantly(&*from, chunk, u64::from(range.start) + done)? {
            0 => break,
            count => {
                write_all_at(&*to, &chunk[..count], done)?;
                done += count as u64;
            }
        }
    }
    to.sync_data()
}
