//! Small files of facts, beside the messages: UTF-8, one fact a line.
//!
//! Promises: [`write_lines`] returns Ok when the lines are on stable storage; a crash leaves the file as it was or as it
//! is to be. What cannot be read is as if nothing had been written, and is logged.
//!
//! Who has to know whether a failed change may be on the disk writes in two steps: [`write_part`], before whose end nothing has
//! changed, and [`put_in_place`], after whose failure the file may be either.
//!
//! Not here: what the lines say (`relays.rs`, `rates.rs`, `standing.rs`).

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fs::{File, Fs, read_full_at, unlink_if_there, write_all_at};
use super::paths::SpoolPaths;
use crate::log;

/// A longer file was not written by nullmta.
const LARGEST: u64 = 1 << 20;

/// Returns the lines of the file at `path`; none if there is no such file, or if it cannot be read.
pub(super) fn read_lines(fs: &dyn Fs, path: &Path) -> Vec<String> {
    match read(fs, path) {
        Ok(lines) => lines,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            log::done_without(&path.display().to_string(), &error);
            Vec::new()
        }
    }
}

fn read(fs: &dyn Fs, path: &Path) -> io::Result<Vec<String>> {
    let file = fs.open(path)?;
    let mut octets = vec![0; file.length()?.min(LARGEST) as usize];
    let read = read_full_at(&*file, &mut octets, 0)?;
    octets.truncate(read);
    Ok(String::from_utf8_lossy(&octets).lines().map(str::to_owned).collect())
}

/// Writes these lines to the file at `path`, in place of all that was there. This blocks.
pub(super) fn write_lines<'a>(
    fs: &dyn Fs,
    paths: &SpoolPaths,
    path: &Path,
    lines: impl Iterator<Item = &'a str>,
) -> io::Result<()> {
    let part = write_part(fs, path, lines)?;
    put_in_place(fs, paths, &part, path)
}

/// Writes these lines to a file beside `path`, and returns the path of that. The file at `path` stays as it is.
pub(super) fn write_part<'a>(
    fs: &dyn Fs,
    path: &Path,
    lines: impl Iterator<Item = &'a str>,
) -> io::Result<PathBuf> {
    let part = path.with_extension("part");
    unlink_if_there(fs, &part)?;
    let file = fs.create(&part)?;
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    write_all_at(&*file, text.as_bytes(), 0)?;
    file.sync_data()?;
    Ok(part)
}

/// Does the same, but over what [`make_spare`] has put there: a full disk takes lines that are no longer than that.
pub(super) fn write_over_spare<'a>(
    fs: &dyn Fs,
    path: &Path,
    lines: impl Iterator<Item = &'a str>,
) -> io::Result<PathBuf> {
    let part = path.with_extension("part");
    let file = open_or_create(fs, &part)?;
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    write_all_at(&*file, text.as_bytes(), 0)?;
    file.truncate(text.len() as u64)?;
    file.sync_data()?;
    Ok(part)
}

/// Takes so many octets of the disk, beside `path`, for what is to be written there next.
pub(super) fn make_spare(fs: &dyn Fs, path: &Path, octets: usize) -> io::Result<()> {
    let file = open_or_create(fs, &path.with_extension("part"))?;
    if file.length()? < octets as u64 {
        write_all_at(&*file, &vec![0; octets], 0)?;
        file.sync_data()?;
    }
    Ok(())
}

fn open_or_create(fs: &dyn Fs, path: &Path) -> io::Result<Arc<dyn File>> {
    match fs.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => fs.create(path),
        opened => opened,
    }
}

/// Puts what was written to `part` in place of the file at `path`.
pub(super) fn put_in_place(fs: &dyn Fs, paths: &SpoolPaths, part: &Path, path: &Path) -> io::Result<()> {
    fs.rename(part, path)?;
    fs.sync_dir(paths.root())
}

/// Returns `text` as a part of one line.
pub(super) fn on_one_line(text: &str) -> String {
    text.escape_debug().to_string()
}
