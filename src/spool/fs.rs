//! The seam: every disk call that the spool makes goes through [`Fs`] and [`File`].
//!
//! Promises of an implementation
//! 1. What `sync_data` has returned Ok for survives power loss, with the file's length.
//! 2. A name that `sync_dir` of its directory has returned Ok for survives it too: made, renamed or gone.
//! 3. Before that, anything may be left: the old octets, the new, or a mixture by sectors; the old
//!    name, the new, or none. But a rename loses no file: one whose old name was durable has that one, the
//!    new one or both, since file systems with a journal have renames in one piece.
//!
//! Errors are those of the system, unchanged. Short reads and writes and `Interrupted` are the
//! caller's to go on from (`read_full_at`, `write_all_at`): the tests make all of them happen.
//!
//! Not here: what is called and when (`segment.rs`, `stock.rs`, `draft.rs`, `recover.rs`); the real disk is in
//! `fs/real.rs`, the simulated one of the tests in `fs/sim.rs`.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

mod real;
#[cfg(test)]
pub(crate) mod sim;

pub use real::RealFs;

/// The disk calls on names of files and directories.
pub trait Fs: Send + Sync {
    /// Makes a directory with exactly this mode, but for the setgid bit where that is forbidden;
    /// `AlreadyExists` if there is something by that name.
    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// Returns the names in a directory, in any order, as they are read.
    fn names(&self, directory: &Path) -> io::Result<Names>;
    /// Returns all the names in a directory, in any order.
    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        self.names(directory)?.collect()
    }
    /// Opens a directory. While it is open, no other file is given its number.
    fn hold_dir(&self, directory: &Path) -> io::Result<Arc<dyn File>>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, directory: &Path) -> io::Result<()>;
    /// Makes everything durable on the file system that `file` is on.
    fn sync_file_system(&self, file: &fs::File) -> io::Result<()>;
    /// Makes a new file of mode 0600 to read and write; `AlreadyExists` if there is one.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Makes a file as [`Fs::create`] does that the owner of the directory can read: they are root or the same user, or the
    /// directory hands its group down (setgid), which may then read it. Otherwise this fails with `PermissionDenied` and
    /// makes no file. While the file is open it is locked, where the file system has locks.
    fn create_for_owner(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Returns whether the process that made this file by [`Fs::create_for_owner`] still has it open; an error if that
    /// cannot be found out.
    fn is_held(&self, path: &Path) -> io::Result<bool>;
    /// Opens a file to read and write, but never through a symbolic link.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Opens a file to read, as the type that is returned in [`super::StoredContent::File`].
    fn open_plain(&self, path: &Path) -> io::Result<fs::File>;
    /// Returns the facts of what has this name; a symbolic link is not followed.
    fn facts(&self, path: &Path) -> io::Result<FileFacts>;
    /// Opens to read what anybody may have put there, and returns the facts of what was opened. It never follows a symbolic
    /// link, and never waits for the other end of a pipe.
    fn open_foreign(&self, path: &Path) -> io::Result<(fs::File, FileFacts)>;
    /// Gives a file a new name; a file that had that name loses it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a new name; `AlreadyExists` if something has it.
    fn rename_to_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name; `AlreadyExists` if something has it.
    fn link_to_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name; its content goes with the last name and the last open handle.
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// Returns the number of octets that an unprivileged user may still write on the file system of `path`; `u64::MAX` if the
    /// file system does not say it, so that only a write will show it.
    fn free_space(&self, path: &Path) -> io::Result<u64>;
    /// Returns the number of octets that the file system of `path` has in all; 0 if it does not say it.
    fn disk_size(&self, path: &Path) -> io::Result<u64>;
    /// Returns whether a new file in `directory` would get `length` octets now. [`Fs::free_space`] knows nothing of a user's
    /// quota, nor of what some file systems need for themselves. Nothing is left behind.
    fn has_room(&self, directory: &Path, length: u64) -> io::Result<bool>;
    /// Locks `path`, made when missing, until the result is dropped; `WouldBlock` while another holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send>>;
    /// Returns sixteen octets that nobody can guess.
    fn random(&self) -> io::Result<[u8; 16]>;
    /// Returns the turns that threads take, in a test that says whose it is.
    #[cfg(test)]
    fn turns(&self) -> Option<sim::Turns> {
        None
    }
}

/// The names in a directory.
pub type Names = Box<dyn Iterator<Item = io::Result<OsString>> + Send>;

/// The facts that the system knows of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// True for a regular file: no directory, link, pipe, device or socket.
    pub is_regular: bool,
    /// The number of its names (hard links).
    pub links: u64,
    /// The uid of its owner.
    pub owner: u32,
    /// The length of the file, in octets.
    pub length: u64,
    /// The number that no other file of its file system has as long as it exists.
    pub inode: u64,
    /// The number of its file system.
    pub device: u64,
    /// The time of its last change in any way, in seconds since 1970. Its owner cannot set it.
    pub changed: i64,
}

impl FileFacts {
    /// Returns whether these are facts of the same file, which is open.
    pub fn are_of_the_same(&self, other: &FileFacts) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

impl From<&fs::Metadata> for FileFacts {
    fn from(metadata: &fs::Metadata) -> Self {
        FileFacts {
            is_regular: metadata.is_file(),
            links: metadata.nlink(),
            owner: metadata.uid(),
            length: metadata.len(),
            inode: metadata.ino(),
            device: metadata.dev(),
            changed: metadata.ctime(),
        }
    }
}

/// The disk calls on an open file.
pub trait File: Send + Sync {
    /// Reads into `buffer`; returns the number of octets that were read, which is 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Reads as [`File::read_at`] does, but only octets that are in memory; `None` if the disk would have to be asked, or
    /// if that is unknown. This default is for files that are in memory as a whole.
    fn read_cached_at(&self, buffer: &mut [u8], offset: u64) -> Option<usize> {
        self.read_at(buffer, offset).ok()
    }
    /// Writes from `buffer`; returns the number of octets that were written.
    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<usize>;
    /// Gives the file `length` octets, which is no less than it has, and its blocks: what is written to it up to there
    /// needs no more room, and reads as zeros until it is written. An error where the disk has no such room, or the
    /// file system no such call; the file may be longer then.
    fn reserve(&self, length: u64) -> io::Result<()>;
    /// Cuts the file off at `length`, which is no more than it has.
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// Makes content and length durable (fdatasync).
    fn sync_data(&self) -> io::Result<()>;
    /// Returns the length of the file, in octets.
    fn length(&self) -> io::Result<u64>;
    /// Returns the facts of the file, whatever names it has.
    fn facts(&self) -> io::Result<FileFacts>;
}

/// Fills `buffer` from `offset` on; returns the number of octets that were read, which is less only at the end of the file.
pub(super) fn read_full_at(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// Writes all of `buffer` at `offset`.
pub(super) fn write_all_at(file: &dyn File, mut buffer: &[u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match file.write_at(buffer, offset) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => {
                buffer = &buffer[count..];
                offset += count as u64;
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Removes a file's name as [`Fs::unlink`] does; a file that does not exist is no error.
pub(super) fn unlink_if_there(fs: &dyn Fs, path: &Path) -> io::Result<()> {
    match fs.unlink(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
