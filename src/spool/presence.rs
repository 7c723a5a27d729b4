//! Tells whether the spool is still where its path leads. Somebody may remove it under the daemon (`rm -r`), move it,
//! or mount something over it; open files do not notice, and what is synced to them is gone with their last holder.
//!
//! Promises
//! 1. [`leads_to`] is sure: the file is open, so its number is given to no other.
//! 2. [`Presence`] holds the directories open, for the same reason, and the lock.
//!
//! Not here: what follows from it (`writer/rescue.rs`).

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use super::entry::OpenError;
use super::format::HeaderFault;
use super::fs::{File, FileFacts, Fs};
use super::paths::{SpoolPaths, segment_sequence};
use super::scan::{HeaderError, read_header};

/// Returns whether `path` is a name of the open `file`.
pub(super) fn leads_to(fs: &dyn Fs, path: &Path, file: &dyn File) -> io::Result<bool> {
    let open = file.facts()?;
    Ok(facts_if_there(fs, path)?.is_some_and(|found| found.are_of_the_same(&open)))
}

/// Returns whether `path` leads to the open `directory`, through a symbolic link if it must: a spool is often moved to
/// another disk and linked to from its old place.
fn leads_to_directory(fs: &dyn Fs, path: &Path, directory: &dyn File) -> io::Result<bool> {
    match fs.hold_dir(path) {
        Ok(found) => Ok(found.facts()?.are_of_the_same(&directory.facts()?)),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Returns the facts of what is at `path`; `None` if nothing is there.
fn facts_if_there(fs: &dyn Fs, path: &Path) -> io::Result<Option<FileFacts>> {
    match fs.facts(path) {
        Ok(facts) => Ok(Some(facts)),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Holds the directories and the lock with which a spool was opened.
pub(super) struct Presence {
    root: Arc<dyn File>,
    segments: Arc<dyn File>,
    lock_file: FileFacts,
    /// The lock of the spool, which is held as long as something may be written.
    _lock: Box<dyn Send>,
}

impl Presence {
    /// Takes the lock, and opens the directories that are there now.
    pub fn take(fs: &dyn Fs, paths: &SpoolPaths) -> Result<Presence, OpenError> {
        let lock = fs.lock(&paths.lock).map_err(|e| match e.kind() {
            ErrorKind::WouldBlock => OpenError::Locked { path: paths.lock.clone() },
            _ => failed("lock", &paths.lock, e),
        })?;
        Self::with(fs, paths, lock)
    }

    fn with(fs: &dyn Fs, paths: &SpoolPaths, lock: Box<dyn Send>) -> Result<Presence, OpenError> {
        let hold = |path| fs.hold_dir(path).map_err(|e| failed("open", path, e));
        let lock_file = fs.facts(&paths.lock).map_err(|e| failed("look at", &paths.lock, e))?;
        Ok(Presence { root: hold(paths.root())?, segments: hold(&paths.segments)?, lock_file, _lock: lock })
    }

    /// Returns whether everything is where it was. If that cannot be found out now, it is assumed.
    pub fn is_intact(&self, fs: &dyn Fs, paths: &SpoolPaths) -> bool {
        let leads = |path, held: &Arc<dyn File>| leads_to_directory(fs, path, &**held).unwrap_or(true);
        let is_there = |(path, _)| !matches!(facts_if_there(fs, path), Ok(None));
        leads(paths.root(), &self.root)
            && leads(&paths.segments, &self.segments)
            && self.is_locked(fs, paths)
            && paths.directories().into_iter().all(is_there)
    }

    /// Opens the directories that have been made anew in the place of what was removed, and takes the lock again.
    pub fn renew(&mut self, fs: &dyn Fs, paths: &SpoolPaths) -> Result<(), OpenError> {
        if !leads_to_directory(fs, &paths.segments, &*self.segments)
            .map_err(|e| failed("look at", &paths.segments, e))?
        {
            refuse_segments(fs, paths)?;
        }
        if self.is_locked(fs, paths) {
            self.root = fs.hold_dir(paths.root()).map_err(|e| failed("open", paths.root(), e))?;
            self.segments = fs.hold_dir(&paths.segments).map_err(|e| failed("open", &paths.segments, e))?;
        } else {
            *self = Presence::take(fs, paths)?;
        }
        Ok(())
    }

    /// Returns whether the lock file is the one that is held.
    fn is_locked(&self, fs: &dyn Fs, paths: &SpoolPaths) -> bool {
        match facts_if_there(fs, &paths.lock) {
            Ok(found) => found.is_some_and(|found| found.are_of_the_same(&self.lock_file)),
            Err(_) => true,
        }
    }
}

/// Fails if the directory that has taken the place of `log/` holds segments of its own, which are not to be touched.
fn refuse_segments(fs: &dyn Fs, paths: &SpoolPaths) -> Result<(), OpenError> {
    let names = fs.list(&paths.segments).map_err(|e| failed("list", &paths.segments, e))?;
    for sequence in names.iter().filter_map(|name| segment_sequence(name)) {
        let path = paths.segment(sequence);
        let file = fs.open(&path).map_err(HeaderError::Io);
        let header = file.and_then(|file| read_header(&*file, sequence));
        if !matches!(header, Err(HeaderError::Fault(HeaderFault::Unreadable))) {
            return Err(OpenError::Foreign { path });
        }
    }
    Ok(())
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> OpenError {
    OpenError::Io { operation, path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::fs::RealFs;

    /// A spool that was moved to another disk, with a link in its old place, once refused every message: the link was
    /// taken for what had been put there instead of the directory.
    #[test]
    fn a_spool_behind_a_link_is_where_its_path_leads() {
        let base = tempfile::tempdir().unwrap();
        let (disk, link) = (base.path().join("disk"), base.path().join("spool"));
        let paths = SpoolPaths::under(&link);
        std::fs::create_dir(&disk).unwrap();
        std::os::unix::fs::symlink(&disk, &link).unwrap();
        paths.directories().into_iter().for_each(|(path, _)| std::fs::create_dir_all(path).unwrap());
        let presence = Presence::take(&RealFs, &paths).unwrap();
        assert!(presence.is_intact(&RealFs, &paths));
        std::fs::remove_file(&link).unwrap();
        assert!(!presence.is_intact(&RealFs, &paths));
    }
}
