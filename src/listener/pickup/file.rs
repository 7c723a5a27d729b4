//! A file in the drop directory, which belongs to the user who left it: what it contains, and what may be done with
//! it.
//!
//! Promises:
//! 1. No symbolic link is followed, no device or pipe is opened, and no file with two names is read. So the owner of
//!    a file is the user whose mail it is, and nobody can leave a file of another user.
//! 2. A rename never replaces a file, so no file is lost because of the name of another one.
//! 3. A claim is durable when the call returns, and so is a removal, unless the result says otherwise.
//! 4. A file that is being written is left alone for a day, and one whose writer has died for a quarter of an hour.
//!    If a file was moved and its writer goes on nevertheless, the writer notices it, since its rename fails.
//!
//! All functions block. Not here: which file is processed when (`pickup.rs`), the content (`dialogue.rs`), moving a file to
//! `corrupt/` (`aside.rs`).

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::smtp::bsmtp;
use crate::spool::drop::{PARTIAL, WHOLE};
use crate::spool::fs::{FileFacts, Fs};

/// The end of the name of a file whose message is being taken. If it is found at a start, the message may have been
/// taken.
pub(super) const CLAIMED: &str = ".claimed";

/// The age in seconds after which an unfinished file is taken for one that will never be finished.
const NEVER_FINISHED_AFTER_SECONDS: i64 = 24 * 60 * 60;

/// The age in seconds after which a file that nobody has had open or written to since is taken for one that will never be
/// finished. `sendmail` may be stopped for that long between creating and locking its file; an older version, which did
/// not lock it, may wait that long for its input.
const ABANDONED_AFTER_SECONDS: i64 = 15 * 60;

/// The state of a file, which its name shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DropState {
    Partial,
    Whole,
    Claimed,
}

impl DropState {
    /// Returns the state; `None` if the name is not one that nullmta gives to a file.
    pub fn of(name: &OsStr) -> Option<DropState> {
        let name = name.to_str()?;
        let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.');
        if name.len() > 200 || name.starts_with('.') || !name.bytes().all(is_plain) {
            return None;
        }
        let kinds = [(PARTIAL, DropState::Partial), (WHOLE, DropState::Whole), (CLAIMED, DropState::Claimed)];
        kinds.into_iter().find(|(end, _)| name.ends_with(end)).map(|(_, kind)| kind)
    }
}

/// The next thing to do with a file.
#[derive(Debug)]
pub(super) enum Look {
    /// Its message can be taken.
    Take(Candidate),
    /// It may still become complete.
    Leave,
    /// It does not exist any more.
    Gone,
    /// A crash in a rename has left it both names.
    Renamed { older: PathBuf, inode: u64 },
    /// It can never be taken, for this reason.
    Bad(&'static str),
}

/// A complete file that was opened and not read yet.
#[derive(Debug)]
pub(super) struct Candidate {
    pub file: File,
    /// The facts of the open file at the time when it was found complete.
    pub facts: FileFacts,
}

/// Looks at the file at `path`. An unfinished file may still become one of up to `max_message_size` octets. A
/// complete one that is larger is taken nevertheless, since its sender must be told.
pub(super) fn look(
    fs: &dyn Fs,
    path: &Path,
    kind: DropState,
    max_message_size: u64,
    now: Timestamp,
) -> io::Result<Look> {
    let facts = match fs.facts(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Look::Gone),
        other => other?,
    };
    if let Some(older) = older_name(fs, path, &facts) {
        return Ok(Look::Renamed { older, inode: facts.inode });
    }
    if let Some(why) = objection(&facts) {
        return Ok(Look::Bad(why));
    }
    if kind == DropState::Partial {
        return Ok(incomplete(fs, path, &facts, max_message_size, now));
    }
    let (file, facts) = match fs.open_foreign(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Look::Gone),
        other => other?,
    };
    // The facts are checked again for the file that was opened, since the name may belong to another file by now.
    if let Some(why) = objection(&facts) {
        return Ok(Look::Bad(why));
    }
    if !is_whole(&file, facts.length)? {
        return Ok(incomplete(fs, path, &facts, max_message_size, now));
    }
    Ok(Look::Take(Candidate { file, facts }))
}

/// Returns the older name of a file with two names, if a rename of ours gives the one in place of the other.
fn older_name(fs: &dyn Fs, path: &Path, facts: &FileFacts) -> Option<PathBuf> {
    if !facts.is_regular || facts.links != 2 {
        return None;
    }
    let names = [PARTIAL, WHOLE, CLAIMED].map(|end| path.with_extension(&end[1..]));
    let is_name = |name: &PathBuf| fs.facts(name).is_ok_and(|other| other.inode == facts.inode);
    let mut names = names.into_iter().filter(is_name);
    let older = names.next();
    older.filter(|_| names.next().is_some())
}

fn objection(facts: &FileFacts) -> Option<&'static str> {
    if !facts.is_regular {
        Some("it is not a regular file")
    } else if facts.links > 1 {
        Some("it has more than one name")
    } else {
        None
    }
}

fn incomplete(fs: &dyn Fs, path: &Path, facts: &FileFacts, max_message_size: u64, now: Timestamp) -> Look {
    let age = now.as_second() - facts.changed;
    // If every line has three octets and begins with a dot, each of these dots is stuffed.
    let max_content = max_message_size.saturating_add(max_message_size / 3);
    if facts.length > max_content.saturating_add(bsmtp::MAX_ENVELOPE_OCTETS as u64) {
        Look::Bad("it is too large")
    } else if age > NEVER_FINISHED_AFTER_SECONDS {
        Look::Bad("it was never finished")
    } else if age > ABANDONED_AFTER_SECONDS && is_let_go(fs, path) {
        Look::Bad("it is unfinished, and nobody writes it any more")
    } else {
        Look::Leave
    }
}

/// Returns whether the process that wrote this file has closed it. If that cannot be found out, as on a file system
/// without locks, the answer is no.
fn is_let_go(fs: &dyn Fs, path: &Path) -> bool {
    match fs.is_held(path) {
        Ok(is_held) => !is_held,
        // The daemon may read every file that `sendmail` creates.
        Err(error) => error.kind() == ErrorKind::PermissionDenied,
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

/// Renames a complete file to its claimed name, durably. Returns that name.
pub(super) fn claim(fs: &dyn Fs, path: &Path) -> io::Result<PathBuf> {
    // Only complete files are claimed, and their names have this end.
    let claimed = path.with_extension(&CLAIMED[1..]);
    fs.rename_to_new(path, &claimed)?;
    let synced = sync_directory(fs, path);
    if synced.is_err() {
        // If this fails, too, the file keeps its claimed name and is taken under it.
        let _ = release(fs, &claimed);
    }
    synced.map(|()| claimed)
}

/// Undoes [`claim`]. If that fails, the file keeps its claimed name and is taken under it.
pub(super) fn release(fs: &dyn Fs, claimed: &Path) -> io::Result<()> {
    fs.rename_to_new(claimed, &claimed.with_extension(&WHOLE[1..]))
}

/// The durability of the removal of a name.
#[derive(Debug)]
pub(super) enum Synced {
    /// The removal outlives a crash.
    Durably,
    /// A crash may bring the name back, because of this error.
    NotYet(io::Error),
}

impl From<io::Result<()>> for Synced {
    fn from(synced: io::Result<()>) -> Self {
        synced.map_or_else(Synced::NotYet, |()| Synced::Durably)
    }
}

/// Removes the name `path` if it belongs to the file with this inode, and not to another file by now.
pub(super) fn remove(fs: &dyn Fs, path: &Path, inode: u64) -> io::Result<Synced> {
    match fs.facts(path) {
        Ok(facts) if facts.inode == inode => fs.unlink(path)?,
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    Ok(sync_directory(fs, path).into())
}

/// Syncs the directory that contains this file.
pub(super) fn sync_directory(fs: &dyn Fs, of: &Path) -> io::Result<()> {
    // Every path here is that of a file in a directory.
    fs.sync_dir(of.parent().unwrap_or(Path::new(".")))
}

#[cfg(test)]
mod tests;
