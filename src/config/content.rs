//! The content of a file: of the configuration, or one that it names.
//!
//! Promises: no more of it is read than [`MAX_OCTETS`].

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The largest file read: what is larger is no configuration, and no certificate.
const MAX_OCTETS: u64 = 16 * 1024 * 1024;

/// The octets of the file at `path`. Blocks on the disk.
pub(super) fn read_all(path: &Path) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    File::open(path)?.take(MAX_OCTETS).read_to_end(&mut octets)?;
    Ok(octets)
}

/// Why there are none, in words that name the file.
pub(super) fn cannot_read(path: &Path, error: io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}
