//! The disk to read from alone: every call that would change something fails.
//!
//! Promises: no file is written, made, renamed or removed, and none is opened for writing; so a spool on a
//! read-only medium, or under a running daemon, can be looked at. The lock is a shared one, on a lock
//! file that is there.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use super::super::fs::{File, FileFacts, Fs, Names, RealFs};

/// The real disk, on which every call that would change something fails.
pub(super) struct ReadOnlyFs;

impl Fs for ReadOnlyFs {
    fn create_dir(&self, _: &Path, _: u32) -> io::Result<()> {
        refused()
    }

    fn names(&self, directory: &Path) -> io::Result<Names> {
        RealFs.names(directory)
    }

    fn hold_dir(&self, directory: &Path) -> io::Result<Arc<dyn File>> {
        RealFs.hold_dir(directory)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn sync_file_system(&self, _: &fs::File) -> io::Result<()> {
        refused()
    }

    fn create(&self, _: &Path) -> io::Result<Arc<dyn File>> {
        refused()
    }

    fn create_for_owner(&self, _: &Path) -> io::Result<Arc<dyn File>> {
        refused()
    }

    fn is_held(&self, path: &Path) -> io::Result<bool> {
        RealFs.is_held(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(self.open_plain(path)?))
    }

    fn open_plain(&self, path: &Path) -> io::Result<fs::File> {
        let no_follow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
        fs::OpenOptions::new().read(true).custom_flags(no_follow).open(path)
    }

    fn facts(&self, path: &Path) -> io::Result<FileFacts> {
        RealFs.facts(path)
    }

    fn open_foreign(&self, path: &Path) -> io::Result<(fs::File, FileFacts)> {
        RealFs.open_foreign(path)
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn rename_to_new(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn link_to_new(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn unlink(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        RealFs.free_space(path)
    }

    fn disk_size(&self, path: &Path) -> io::Result<u64> {
        RealFs.disk_size(path)
    }

    fn has_room(&self, _: &Path, _: u64) -> io::Result<bool> {
        refused()
    }

    /// Takes a lock that other readers may have, too; `WouldBlock` while a daemon holds it, `NotFound` where none ever did.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send>> {
        let file = self.open_plain(path)?;
        file.try_lock_shared().map_err(io::Error::from)?;
        Ok(Box::new(file))
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        RealFs.random()
    }
}

fn refused<T>() -> io::Result<T> {
    Err(ErrorKind::ReadOnlyFilesystem.into())
}
