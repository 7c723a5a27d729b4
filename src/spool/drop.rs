//! The drop directory: how a user leaves a message there while the daemon is down.
//!
//! ```text
//! <spool>/drop/18A4F1C9A02B3D40-0000002A-5EED1234.tmp      being written; what a crash leaves is worth nothing
//! <spool>/drop/18A4F1C9A02B3D40-0000002A-5EED1234.bsmtp    whole and synced (the form: smtp/bsmtp.rs)
//! ```
//! The directory has mode 3733: everybody may leave a file, nobody may list them or touch another's. A file is
//! its user's own, so its owner tells the daemon whose mail it is; and it is of the daemon's group (setgid) and
//! has mode 0640, so a daemon without privileges can read it. Where the bit is missing nothing is left that
//! the daemon could not read: only for a daemon of root or of the same user, with mode 0600. Names sort by time.
//!
//! The file is locked (flock(2)) from the moment on that it is made until it is closed, so the daemon can tell one that
//! is being written from one whose writer has died. The lock guards nothing: a writer whose file the daemon has moved
//! away finds it gone when it gives it its name, and says that nothing is queued. The spool is on a local file system;
//! where that has no locks, only the file's age tells.
//!
//! Promises:
//! 1. A name that ends in `.bsmtp` is given only to a file that is whole and synced.
//! 2. [`Dropped`] exists only when the name, too, survives power loss.
//! 3. A file that was not committed is removed again; after a crash the `.tmp` is left over.
//!
//! Fails: [`DropError`]. After `NotQueued` nothing will be delivered; after `InDoubt` it may be.
//!
//! Not here: the daemon's side, which takes the files and sets aside `.tmp` files that nobody writes any
//! more (`listener/pickup/file.rs`).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::fs::{File, Fs, write_all_at};
use crate::envelope::Envelope;
use crate::smtp::bsmtp;
use crate::smtp::dot::Stuffer;
use crate::smtp::session::Durable;

/// The end of the name of a whole file.
pub const WHOLE: &str = ".bsmtp";

/// The end of the name of a file that is being written.
pub const PARTIAL: &str = ".tmp";

/// Number of octets that are gathered in memory before they are written.
const WRITE_OCTETS: usize = 64 * 1024;

/// Proof that a message is on stable storage in the drop directory.
#[derive(Debug)]
pub struct Dropped {
    name: String,
}

impl Durable for Dropped {
    fn queue_id(&self) -> String {
        self.name.clone()
    }
}

/// The reason why a message could not be left in the drop directory.
#[derive(Debug)]
pub enum DropError {
    /// The message was not queued: nothing of it will be delivered.
    NotQueued {
        /// The verb for the call that failed, in words that follow "cannot".
        operation: &'static str,
        /// The path of the file or directory that the call was about.
        path: PathBuf,
        /// The error that the system returned.
        source: io::Error,
    },
    /// The file has its name, but that could not be made durable: it may or may not be delivered.
    InDoubt {
        /// The path of the file under its final name.
        path: PathBuf,
        /// The error that the system returned when the name was synced.
        source: io::Error,
    },
}

impl DropError {
    /// Returns whether the disk was full.
    pub fn is_full(&self) -> bool {
        let (DropError::NotQueued { source, .. } | DropError::InDoubt { source, .. }) = self;
        matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

impl fmt::Display for DropError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DropError::NotQueued { operation, path, source } => {
                write!(f, "cannot {operation} {}: {source}", path.display())
            }
            DropError::InDoubt { path, source } => {
                write!(f, "cannot sync the name of {}: {source}; possible duplicate", path.display())
            }
        }
    }
}

impl std::error::Error for DropError {}

/// A message on its way into the drop directory. If this is dropped before it is committed, the file is removed.
pub struct DropFile {
    fs: Arc<dyn Fs>,
    directory: PathBuf,
    name: String,
    file: Arc<dyn File>,
    written: u64,
    pending: Vec<u8>,
    stuffer: Stuffer,
    /// True while the file still has the name of a partial one.
    is_partial: bool,
}

impl DropFile {
    /// Begins the file of a message with this envelope.
    pub fn create(
        fs: Arc<dyn Fs>,
        directory: &Path,
        envelope: &Envelope,
        now: Timestamp,
    ) -> Result<Self, DropError> {
        let name = unique_name(now);
        let path = directory.join(format!("{name}{PARTIAL}"));
        let mut pending = Vec::new();
        bsmtp::begin(envelope, &mut pending);
        let created = if pending.len() > bsmtp::MAX_ENVELOPE_OCTETS {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "too many recipients"))
        } else {
            fs.create_for_owner(&path)
        };
        let file = created.map_err(|source| DropError::NotQueued { operation: "create", path, source })?;
        Ok(DropFile {
            fs,
            directory: directory.to_owned(),
            name,
            file,
            written: 0,
            pending,
            stuffer: Stuffer::new(),
            is_partial: true,
        })
    }

    /// Appends normalised content.
    pub fn write(&mut self, content: &[u8]) -> Result<(), DropError> {
        self.stuffer.push(content, &mut self.pending);
        if self.pending.len() >= WRITE_OCTETS { self.flush() } else { Ok(()) }
    }

    /// Syncs the content, which is whole, and gives the file the name by which the daemon takes it.
    pub fn commit(mut self) -> Result<Dropped, DropError> {
        std::mem::take(&mut self.stuffer).finish(&mut self.pending);
        bsmtp::end(&mut self.pending);
        self.flush()?;
        self.file.sync_data().map_err(|source| self.not_queued("sync", source))?;
        let plain = self.fs.open_plain(&self.partial()).map_err(|source| self.not_queued("open", source))?;
        self.fs.rename(&self.partial(), &self.whole()).map_err(|source| self.not_queued("rename", source))?;
        self.is_partial = false;
        match self.sync_names(&plain) {
            Ok(()) => Ok(Dropped { name: self.name.clone() }),
            Err(source) => self.withdraw(source),
        }
    }

    fn flush(&mut self) -> Result<(), DropError> {
        write_all_at(&*self.file, &self.pending, self.written)
            .map_err(|source| self.not_queued("write", source))?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Makes the new name durable.
    fn sync_names(&self, file: &std::fs::File) -> io::Result<()> {
        match self.fs.sync_dir(&self.directory) {
            // A directory that one may write to and not read can only be synced with all around it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => self.fs.sync_file_system(file),
            outcome => outcome,
        }
    }

    /// Takes the name back, since it may be lost with the power.
    fn withdraw(&self, source: io::Error) -> Result<Dropped, DropError> {
        let path = self.whole();
        match self.fs.unlink(&path) {
            Ok(()) => Err(DropError::NotQueued { operation: "sync the name of", path, source }),
            // The daemon has it: it removes a file only for a message that is on its spool.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Dropped { name: self.name.clone() }),
            Err(_) => Err(DropError::InDoubt { path, source }),
        }
    }

    fn partial(&self) -> PathBuf {
        self.directory.join(format!("{}{PARTIAL}", self.name))
    }

    fn whole(&self) -> PathBuf {
        self.directory.join(format!("{}{WHOLE}", self.name))
    }

    fn not_queued(&self, operation: &'static str, source: io::Error) -> DropError {
        DropError::NotQueued { operation, path: self.partial(), source }
    }
}

impl Drop for DropFile {
    fn drop(&mut self) {
        if self.is_partial {
            // A partial file that cannot be removed is never taken for a whole one.
            let _ = self.fs.unlink(&self.partial());
        }
    }
}

/// Returns a name that no other process gives. Should there be a file of that name all the same, creating it fails.
fn unique_name(now: Timestamp) -> String {
    let nanoseconds = u64::try_from(now.as_nanosecond()).unwrap_or(0);
    format!("{nanoseconds:016X}-{:08X}-{:08X}", std::process::id(), fastrand::u32(..))
}

#[cfg(test)]
mod tests;
