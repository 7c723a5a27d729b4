//! The part of a message that is not held in memory: a temporary file without a name.
//!
//! Promises:
//! 1. Nobody else can read the file: it has no name, and its mode is 0600. Nothing of it remains when the process ends, for
//!    whatever reason.
//! 2. The file is created when it is first needed, and never grows beyond its limit.
//!
//! Fails if the file cannot be created, or cannot grow. Then the file is closed and its space is free again.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// The number of octets that are read at once.
const PIECE_OCTETS: u64 = 64 * 1024;

/// A file that can be read while more octets are appended.
pub(super) struct Overflow {
    directory: PathBuf,
    most: u64,
    file: Option<File>,
    len: u64,
}

impl Overflow {
    /// Returns an empty one, for at most `most` octets. The file will be created in `directory`.
    pub(super) fn new(directory: PathBuf, most: u64) -> Self {
        Overflow { directory, most, file: None, len: 0 }
    }

    /// Returns the number of octets in it.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Appends `octets` and returns the result.
    pub(super) fn with(mut self, octets: &[u8]) -> io::Result<Self> {
        if octets.is_empty() {
            return Ok(self);
        }
        let len = self.len + octets.len() as u64;
        if len > self.most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => unnamed_file(&self.directory)?,
        };
        file.write_all_at(octets, self.len)?;
        Ok(Overflow { file: Some(file), len, ..self })
    }

    /// Reads octets from the offset `start` on, up to 64 KiB, and appends them to `out`.
    pub(super) fn read(&self, start: u64, out: &mut Vec<u8>) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let (from, len) = (out.len(), PIECE_OCTETS.min(self.len.saturating_sub(start)));
        out.resize(from + len as usize, 0);
        file.read_exact_at(&mut out[from..], start).map_err(|error| {
            let directory = self.directory.display();
            io::Error::new(error.kind(), format!("its copy in {directory} cannot be read: {error}"))
        })
    }

    /// Refuses all further octets.
    pub(super) fn close(&mut self) {
        self.most = self.len;
    }
}

fn unnamed_file(directory: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    let unnamed = options.clone().custom_flags(OFlags::TMPFILE.bits() as i32).open(directory);
    unnamed.or_else(|_| named_for_a_moment(&options, directory))
}

/// Creates a file and removes its name at once, for a file system without O_TMPFILE, as in many containers.
fn named_for_a_moment(options: &OpenOptions, directory: &Path) -> io::Result<File> {
    let path = directory.join(format!("nullmta-{:016x}", fastrand::u64(..)));
    let file = options.clone().create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn all(overflow: &Overflow) -> Vec<u8> {
        let mut out = Vec::new();
        while (out.len() as u64) < overflow.len() {
            overflow.read(out.len() as u64, &mut out).unwrap();
        }
        out
    }

    #[test]
    fn what_was_appended_can_be_read_again_and_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut overflow = Overflow::new(directory.path().into(), u64::MAX);
        let mut expected = Vec::new();
        for piece in [&b"a"[..], b"", &[b'b'; 100_000], b"c"] {
            overflow = overflow.with(piece).unwrap();
            expected.extend_from_slice(piece);
            assert_eq!(overflow.len(), expected.len() as u64);
            assert!(all(&overflow) == expected && all(&overflow) == expected);
        }
    }

    #[test]
    fn no_name_leads_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let overflow = Overflow::new(directory.path().into(), 10).with(b"secret").unwrap();
        let options = OpenOptions::new().read(true).write(true).mode(0o600).clone();
        let by_the_other_way = named_for_a_moment(&options, directory.path()).unwrap();
        for file in [overflow.file.unwrap(), by_the_other_way] {
            let metadata = file.metadata().unwrap();
            assert_eq!((metadata.nlink(), metadata.mode() & 0o777), (0, 0o600));
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn it_is_no_longer_than_it_may_be() {
        let directory = tempfile::tempdir().unwrap();
        let overflow = || Overflow::new(directory.path().into(), 3).with(b"ab").unwrap();
        assert_eq!(all(&overflow().with(b"c").unwrap()), b"abc");
        assert_eq!(overflow().with(b"cd").err().unwrap().kind(), io::ErrorKind::FileTooLarge);
        let mut closed = overflow();
        closed.close();
        assert!(closed.with(b"c").is_err());
    }

    #[test]
    fn without_a_directory_there_is_none() {
        let overflow = || Overflow::new("/nonexistent".into(), 10);
        assert!(overflow().with(b"").is_ok() && overflow().with(b"a").is_err());
    }
}
