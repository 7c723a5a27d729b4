//! Moves a file of the drop directory to `corrupt/`, where an operator can look at it.
//!
//! Promises: a move never replaces a file. It is durable when the call returns, unless the result says otherwise. Files of
//! ordinary users cannot fill the disk by way of `corrupt/`: it holds at most [`MOST_FILES`] of them, with at most
//! [`MOST_OCTETS`]; a further one is removed.
//!
//! All functions block. Not here: which files are moved (`pickup.rs`).

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::file::{Synced, sync_directory};
use crate::listener::peer::is_ordinary;
use crate::spool::fs::Fs;

/// The beginning of the names of files that were moved to `corrupt/`.
const ASIDE: &str = "drop-";
/// The most such files that are kept for the operator, and the most octets in them.
const MOST_FILES: usize = 100;
const MOST_OCTETS: u64 = 64 << 20;

/// The place of a file that was set aside.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resting {
    At(PathBuf),
    Removed,
}

/// Displays as the text after "it is now" in a log line.
impl fmt::Display for Resting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resting::At(path) => path.display().fmt(f),
            Resting::Removed => f.write_str("removed: corrupt/ holds as much of ordinary users as it may"),
        }
    }
}

/// Moves the file at `path` to `corrupt`, or removes it if it is an ordinary user's and enough such files are there.
/// Returns its place, and whether that is durable.
pub(super) fn set_aside(fs: &dyn Fs, path: &Path, corrupt: &Path) -> io::Result<(Resting, Synced)> {
    let facts = fs.facts(path)?;
    // A directory cannot be removed like this, and takes almost no room.
    if facts.is_regular && is_ordinary(facts.owner) && !has_room(fs, corrupt, facts.length)? {
        fs.unlink(path)?;
        return Ok((Resting::Removed, sync_directory(fs, path).into()));
    }
    let (to, synced) = move_aside(fs, path, corrupt)?;
    Ok((Resting::At(to), synced))
}

/// Returns whether `corrupt` may take another file of `length` octets. Damaged octets of the spool, which are kept
/// there, too, do not count and are never removed.
fn has_room(fs: &dyn Fs, corrupt: &Path, length: u64) -> io::Result<bool> {
    let (mut files, mut octets) = (1, length);
    for name in fs.names(corrupt)? {
        let name = name?;
        if name.to_string_lossy().starts_with(ASIDE) {
            files += 1;
            octets += fs.facts(&corrupt.join(name)).map_or(0, |facts| facts.length);
        }
    }
    Ok(files <= MOST_FILES && octets <= MOST_OCTETS)
}

fn move_aside(fs: &dyn Fs, path: &Path, corrupt: &Path) -> io::Result<(PathBuf, Synced)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    for number in 0..1000 {
        let again = if number == 0 { String::new() } else { format!(".{number}") };
        let to = corrupt.join(format!("{ASIDE}{name}{again}"));
        match fs.rename_to_new(path, &to) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
            Ok(()) => {
                let synced = sync_directory(fs, &to).and_then(|()| sync_directory(fs, path));
                return Ok((to, synced.into()));
            }
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::fs::sim::SimFs;

    /// The junk of one user in `drop/` filled the disk by way of `corrupt/`, which nothing ever emptied.
    #[test]
    fn corrupt_takes_so_much_of_an_ordinary_user_and_damage_does_not_count() {
        for (length, files, kept) in [(10, 105, MOST_FILES), (1 << 20, 70, 64), (65 << 20, 1, 0)] {
            let fs = SimFs::new();
            let (drop, corrupt) = (Path::new("/drop"), Path::new("/corrupt"));
            fs.create_dir(drop, 0o3733).unwrap();
            fs.create_dir(corrupt, 0o700).unwrap();
            let damaged = corrupt.join("00000001-00000000-00001000-0BADC0DE");
            fs.create(&damaged).unwrap().write_at(&vec![0; 65 << 20], 0).unwrap();
            let mut at = 0;
            for number in 0..files {
                let path = drop.join(format!("{number}.bsmtp"));
                fs.create(&path).unwrap().write_at(&vec![0; length], 0).unwrap();
                let (resting, synced) = set_aside(&fs, &path, corrupt).unwrap();
                assert!(matches!(synced, Synced::Durably), "{synced:?}");
                at += usize::from(resting != Resting::Removed);
                assert!(fs.facts(&path).is_err());
            }
            assert_eq!((at, fs.list(corrupt).unwrap().len()), (kept, kept + 1), "{length} octets each");
            assert!(fs.content(&damaged).is_some());
        }
    }
}
