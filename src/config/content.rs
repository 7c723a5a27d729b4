//! Reads the content of the configuration file, or of a file that it names.
//!
//! Promises: no more of it is read than [`MAX_OCTETS`].

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The most octets that are read of one file. Neither a configuration nor a certificate is larger.
const MAX_OCTETS: u64 = 16 * 1024 * 1024;

/// Returns the octets of the file at `path`. Blocks on the disk.
pub(super) fn read_all(path: &Path) -> io::Result<Vec<u8>> {
    read_open(File::open(path)?)
}

/// Returns the octets of an open file. Blocks on the disk.
pub(super) fn read_open(file: File) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len().min(MAX_OCTETS) as usize;
    // Room for all, and for the read that finds the end: a key leaves no copy behind where the buffer grew.
    let mut octets = Vec::with_capacity(length + 64);
    file.take(MAX_OCTETS).read_to_end(&mut octets)?;
    Ok(octets)
}
