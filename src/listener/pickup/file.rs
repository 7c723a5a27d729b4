//! A file in the drop directory, which belongs to whoever left it: what it is, and what may be done to it.
//!
//! Promises
//! 1. No symbolic link is followed, no device or pipe is opened to wait on, no file under two names is read:
//!    whose mail a file is, its owner's uid says, and nobody can leave another's file.
//! 2. No rename replaces anything, so no file can be lost by the name of another.
//! 3. What is claimed or removed is so durably when the call returns.
//!
//! Blocking. Not here: which file when (`pickup.rs`), what is in it (`dialogue.rs`).

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};

use crate::smtp::bsmtp;
use crate::spool::drop::{PARTIAL, WHOLE};

/// How the name of a file ends whose message is being taken: left over, it may have been taken.
pub(super) const CLAIMED: &str = ".claimed";

/// A file that is not whole after so many seconds never will be.
const ABANDONED_AFTER_SECONDS: i64 = 24 * 60 * 60;

/// Octets of an envelope in a file, at most.
const MAX_ENVELOPE: u64 = 4 << 20;

/// What a name says of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Partial,
    Whole,
    Claimed,
}

impl Kind {
    /// `None`: no name that we give, and none of our business.
    pub fn of(name: &OsStr) -> Option<Kind> {
        let name = name.to_str()?;
        let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.');
        if name.len() > 200 || name.starts_with('.') || !name.bytes().all(is_plain) {
            return None;
        }
        let kinds = [(PARTIAL, Kind::Partial), (WHOLE, Kind::Whole), (CLAIMED, Kind::Claimed)];
        kinds.into_iter().find(|(end, _)| name.ends_with(end)).map(|(_, kind)| kind)
    }
}

/// What is to be done with a file.
#[derive(Debug)]
pub(super) enum Look {
    /// Take it.
    Take(Candidate),
    /// It may become whole.
    Leave,
    /// It is gone.
    Gone,
    /// It is none that could be taken, ever.
    Bad(&'static str),
}

/// A whole file, open at its start.
#[derive(Debug)]
pub(super) struct Candidate {
    pub file: File,
    /// Its owner.
    pub uid: u32,
    /// As many octets as were there when it was found whole.
    pub length: u64,
    /// What tells it from another file of its name.
    pub inode: u64,
}

/// Looks at the file at `path`; its content may be of up to `max_message_size` octets.
pub(super) fn look(path: &Path, kind: Kind, max_message_size: u64, now: Timestamp) -> io::Result<Look> {
    let metadata = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Look::Gone),
        other => other?,
    };
    if let Some(why) = objection(&metadata, max_message_size) {
        return Ok(Look::Bad(why));
    }
    if kind == Kind::Partial {
        return Ok(incomplete(&metadata, now));
    }
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = fs::OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path);
    let file = match opened {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Look::Gone),
        other => other?,
    };
    // Again, of what was opened: the name may be another file's by now.
    let metadata = file.metadata()?;
    if let Some(why) = objection(&metadata, max_message_size) {
        return Ok(Look::Bad(why));
    }
    if !is_whole(&file, metadata.len())? {
        return Ok(incomplete(&metadata, now));
    }
    Ok(Look::Take(Candidate { file, uid: metadata.uid(), length: metadata.len(), inode: metadata.ino() }))
}

fn objection(metadata: &Metadata, max_message_size: u64) -> Option<&'static str> {
    // A dot in every line of three octets is stuffed.
    let max_octets = max_message_size.saturating_add(max_message_size / 3).saturating_add(MAX_ENVELOPE);
    if !metadata.is_file() {
        Some("it is not a regular file")
    } else if metadata.nlink() > 1 {
        Some("it has more than one name")
    } else if metadata.len() > max_octets {
        Some("it is too large")
    } else {
        None
    }
}

/// The time of its last change in any way, which its owner cannot set.
fn incomplete(metadata: &Metadata, now: Timestamp) -> Look {
    match now.as_second() - metadata.ctime() > ABANDONED_AFTER_SECONDS {
        true => Look::Bad("it was never finished"),
        false => Look::Leave,
    }
}

fn is_whole(file: &File, length: u64) -> io::Result<bool> {
    let mut end = [0; bsmtp::END_OCTETS];
    let Some(at) = length.checked_sub(end.len() as u64) else { return Ok(false) };
    match file.read_exact_at(&mut end, at) {
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(false),
        other => other.map(|()| bsmtp::is_whole(&end)),
    }
}

/// Gives a whole file its claimed name, durably; that name.
pub(super) fn claim(path: &Path) -> io::Result<PathBuf> {
    // Only whole files are claimed, and their names have this end.
    let claimed = path.with_extension(&CLAIMED[1..]);
    rename(path, &claimed)?;
    let synced = sync_directory(path);
    if synced.is_err() {
        // See `release`.
        let _ = release(&claimed);
    }
    synced.map(|()| claimed)
}

/// Undoes [`claim`]. Where that fails, the file keeps its claimed name and is taken by it.
pub(super) fn release(claimed: &Path) -> io::Result<()> {
    rename(claimed, &claimed.with_extension(&WHOLE[1..]))
}

/// Removes the file at `path`, durably; leaves one that has taken its name.
pub(super) fn remove(path: &Path, inode: u64) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.ino() == inode => fs::remove_file(path)?,
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    sync_directory(path)
}

/// Moves the file at `path` into `corrupt`; to where.
pub(super) fn set_aside(path: &Path, corrupt: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    for number in 0..1000 {
        let again = if number == 0 { String::new() } else { format!(".{number}") };
        let to = corrupt.join(format!("drop-{name}{again}"));
        match rename(path, &to) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            other => return other.and_then(|()| sync_directory(&to)).map(|()| to),
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

fn sync_directory(of: &Path) -> io::Result<()> {
    // Every path here is that of a file in a directory.
    File::open(of.parent().unwrap_or(Path::new(".")))?.sync_all()
}
