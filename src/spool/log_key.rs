//! The key with which the log hashes addresses: `<spool>/log-key`, 32 random octets, made once for each spool.
//!
//! Promises: the file is whole as soon as it has its name, and only the user of the daemon can read it. Two processes that make it at
//! once come to the same key.
//!
//! Fails: without a key the caller has to take one for this run alone ([`LogKey::passing`]): addresses are hidden all the same, under
//! hashes that nobody finds again.
//!
//! Not here: what is hashed (`log/redaction.rs`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::fs::{Fs, RealFs};
use super::paths::SpoolPaths;

/// The octets of a key.
const OCTETS: usize = 32;

/// A key for the log.
pub struct LogKey([u8; OCTETS]);

impl LogKey {
    /// Returns the key of the spool in this directory; makes both if they are not there.
    pub fn of_spool(directory: &Path) -> io::Result<LogKey> {
        let paths = SpoolPaths::under(directory);
        match read(&paths.log_key) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            found => return found,
        }
        let [(root, mode), ..] = paths.directories();
        match RealFs.create_dir(root, mode) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        make(&paths.log_key)?;
        File::open(root)?.sync_all()?;
        read(&paths.log_key)
    }

    /// Returns the key of the spool in this directory, if this user may read it, and there is one.
    pub fn readable(directory: &Path) -> io::Result<LogKey> {
        read(&SpoolPaths::under(directory).log_key)
    }

    /// Returns a key for this run alone.
    pub fn passing() -> LogKey {
        LogKey(random())
    }

    /// Returns its octets.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

fn read(path: &Path) -> io::Result<LogKey> {
    let mut key = Vec::new();
    File::open(path)?.take(OCTETS as u64 + 1).read_to_end(&mut key)?;
    let key = <[u8; OCTETS]>::try_from(key);
    key.map(LogKey)
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is damaged: remove it, for a new one"))
}

/// Makes the file, unless another process has just done so.
fn make(path: &Path) -> io::Result<()> {
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let written = write(&beside).and_then(|()| match fs::hard_link(&beside, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    // What is left of it after a crash is in nobody's way.
    let _ = fs::remove_file(&beside);
    written
}

fn write(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&random())?;
    file.sync_all()
}

fn random() -> [u8; OCTETS] {
    let mut octets = [0; OCTETS];
    // The random numbers of the system do not fail; without them there is no TLS, either.
    aws_lc_rs::rand::fill(&mut octets).expect("the system has random numbers");
    octets
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let spool = directory.path().join("spool");
        assert_eq!(LogKey::readable(&spool).err().map(|error| error.kind()), Some(ErrorKind::NotFound));
        let first = LogKey::of_spool(&spool).unwrap();
        assert_eq!(LogKey::of_spool(&spool).unwrap().octets(), first.octets());
        assert_eq!(LogKey::readable(&spool).unwrap().octets(), first.octets());
        let path = spool.join("log-key");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&spool).unwrap().permissions().mode() & 0o777, 0o711);
        assert_eq!(fs::read_dir(&spool).unwrap().count(), 1, "nothing else is left");
        // Another process was faster.
        make(&path).unwrap();
        assert_eq!(LogKey::of_spool(&spool).unwrap().octets(), first.octets());
        assert_ne!(LogKey::passing().octets(), first.octets());
    }

    #[test]
    fn a_damaged_key_is_an_error_and_no_new_key() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("log-key"), "short").unwrap();
        let error = LogKey::of_spool(directory.path()).err().unwrap();
        assert!(error.to_string().contains("damaged"), "{error}");
    }
}
