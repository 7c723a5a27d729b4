//! Small files of facts, beside the messages: UTF-8, one fact a line.
//!
//! Promises: [`write_lines`] returns Ok when the lines are on stable storage; a crash leaves the file as it was or as it
//! is to be. What cannot be read is as if nothing had been written, and is logged.
//!
//! Not here: what the lines say (`relays.rs`, `rates.rs`, `standing.rs`).

use std::io::{self, ErrorKind};
use std::path::Path;

use super::fs::{Fs, read_full_at, unlink_if_there, write_all_at};
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
    let part = path.with_extension("part");
    unlink_if_there(fs, &part)?;
    let file = fs.create(&part)?;
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    write_all_at(&*file, text.as_bytes(), 0)?;
    file.sync_data()?;
    fs.rename(&part, path)?;
    fs.sync_dir(paths.root())
}

/// Returns `text` as a part of one line.
pub(super) fn on_one_line(text: &str) -> String {
    text.escape_debug().to_string()
}
