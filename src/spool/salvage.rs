//! Keeps damaged octets: a copy in `corrupt/`, which is made once and never deleted by nullmta.
//!
//! Promises: a copy is whole and synced under its final name, or it is not there. Making it again
//! does nothing, so that the same damage is reported once however often the spool is recovered. The name tells
//! where the octets stood and their checksum: damage that has grown is kept again, and so is that of another segment
//! of the same number, which is there when somebody has emptied `log/`.

use std::io;
use std::path::{Path, PathBuf};

use super::fs::{File, Fs, unlink_if_there, write_all_at};
use super::paths::{DamagedRange, SpoolPaths};
use super::scan::read_tolerantly;

const CHUNK: usize = 1 << 20;

/// A copy of damaged octets.
pub(super) struct SalvagedCopy {
    pub path: PathBuf,
    /// True if the copy was not there before.
    pub is_new: bool,
}

/// Copies a range to `corrupt/`, unless that was done before; returns where the copy is.
pub(super) fn keep(fs: &dyn Fs, paths: &SpoolPaths, range: DamagedRange) -> io::Result<SalvagedCopy> {
    let segment = fs.open(&paths.segment(range.segment))?;
    let path = path_of(paths, range, &*segment)?;
    let is_new = !fs.list(&paths.corrupt)?.iter().any(|known| Some(known.as_os_str()) == path.file_name());
    if is_new {
        let part = path.with_extension("part");
        unlink_if_there(fs, &part)?;
        copy_range(fs, &*segment, &part, range)?;
        fs.rename(&part, &path)?;
        fs.sync_dir(&paths.corrupt)?;
    }
    Ok(SalvagedCopy { path, is_new })
}

/// Moves an unreadable segment to `corrupt/`; returns its new path.
pub(super) fn put_aside(fs: &dyn Fs, paths: &SpoolPaths, segment: u32) -> io::Result<PathBuf> {
    let from = paths.segment(segment);
    let file = fs.open(&from)?;
    let end = u32::try_from(file.length()?).unwrap_or(u32::MAX);
    let to = path_of(paths, DamagedRange { segment, start: 0, end }, &*file)?;
    fs.rename(&from, &to)?;
    fs.sync_dir(&paths.corrupt)?;
    Ok(to)
}

/// Returns the words in which the damage is reported.
pub(super) fn describe(range: DamagedRange, copy: &SalvagedCopy) -> String {
    format!(
        "segment {:08X} is damaged from octet {} to {}; those octets are kept in {}",
        range.segment,
        range.start,
        range.end,
        copy.path.display()
    )
}

/// Returns the path of the copy of a range, which has the checksum of its octets in its name.
fn path_of(paths: &SpoolPaths, range: DamagedRange, segment: &dyn File) -> io::Result<PathBuf> {
    let mut sum = 0;
    in_chunks(segment, range, |chunk, _| {
        sum = crc32c::crc32c_append(sum, chunk);
        Ok(())
    })?;
    Ok(paths.damaged_range(range, sum))
}

fn copy_range(fs: &dyn Fs, segment: &dyn File, to: &Path, range: DamagedRange) -> io::Result<()> {
    let to = fs.create(to)?;
    in_chunks(segment, range, |chunk, at| write_all_at(&*to, chunk, at))?;
    to.sync_data()
}

/// Gives `take` the octets of a range, and how far into the range they stand.
fn in_chunks(
    segment: &dyn File,
    range: DamagedRange,
    mut take: impl FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut done = 0;
    let length = u64::from(range.end - range.start);
    while done < length {
        let chunk = &mut buffer[..CHUNK.min((length - done) as usize)];
        match read_tolerantly(segment, chunk, u64::from(range.start) + done)? {
            0 => break,
            count => {
                take(&chunk[..count], done)?;
                done += count as u64;
            }
        }
    }
    Ok(())
}
