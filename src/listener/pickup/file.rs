//! A file in the drop directory, which belongs to the user who left it: what it contains, and what may be done with
//! it.
//!
//! Promises:
//! 1. No symbolic link is followed, no device or pipe is opened, and no file with two names is read. So the owner of
//!    a file is the user whose mail it is, and nobody can leave a file of another user.
//! 2. A rename never replaces a file, so no file is lost because of the name of another one.
//! 3. A claim is durable when the call returns, and so is a removal or a move, unless the result says otherwise.
//! 4. A file that is being written is left alone for a day, and one whose writer has died for a quarter of an hour.
//!    If a file was moved and its writer goes on nevertheless, the writer notices it, since its rename fails.
//!
//! All functions block. Not here: which file is processed when (`pickup.rs`), the content (`dialogue.rs`).

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::listener::peer::is_ordinary;
use crate::smtp::bsmtp;
use crate::spool::drop::{PARTIAL, WHOLE};
use crate::spool::fs::{FileFacts, Fs};

/// The end of the name of a file whose message is being taken. If it is found at a start, the message may have been
/// taken.
pub(super) const CLAIMED: &str = ".claimed";

/// The age in seconds after which an unfinished file is taken for one that will never be finished.
const NEVER_FINISHED_AFTER_SECONDS: i64 = 24 * 60 * 60;

/// The same for a file that nobody has had open and nobody has written to. `sendmail` may be stopped for that long
/// between creating and locking its file; an older version, which did not lock it, may wait that long for its input.
const ABANDONED_AFTER_SECONDS: i64 = 15 * 60;

/// The beginning of the names of files that were moved to `corrupt/`.
const ASIDE: &str = "drop-";
/// The most such files that are kept for the operator, and the most octets in them.
const MOST_FILES: usize = 100;
const MOST_OCTETS: u64 = 64 << 20;

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

/// Whether the removal of a name is durable.
#[derive(Debug)]
pub(super) enum Synced {
    /// It is durable.
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

fn sync_directory(fs: &dyn Fs, of: &Path) -> io::Result<()> {
    // Every path here is that of a file in a directory.
    fs.sync_dir(of.parent().unwrap_or(Path::new(".")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::envelope::{Address, Envelope, Recipient, ReversePath};
    use crate::smtp::session::Durable;
    use crate::spool::drop::{DropError, DropFile};
    use crate::spool::fs::sim::{CHANGED, DiskFault, SimFs};

    const MINUTES: i64 = 60;
    const HOURS: i64 = 60 * MINUTES;

    fn drop_directory() -> (SimFs, &'static Path) {
        let (fs, directory) = (SimFs::new(), Path::new("/drop"));
        fs.create_dir(directory, 0o3733).unwrap();
        (fs, directory)
    }

    /// Looks at the file at `path` when it has not changed for so many seconds.
    fn look_after(fs: &SimFs, path: &Path, seconds: i64) -> Look {
        let now = Timestamp::from_second(CHANGED + seconds).unwrap();
        look(fs, path, DropState::of(path.file_name().unwrap()).unwrap(), 1 << 20, now).unwrap()
    }

    /// Begins a message as `sendmail` does; returns it with the path of its file.
    fn begun(fs: &SimFs, directory: &Path) -> (DropFile, PathBuf) {
        let mut envelope = Envelope::from(ReversePath::Mailbox(Address::parse("root").unwrap()));
        envelope.recipients.push(Recipient::plain(Address::parse("ann@example.org").unwrap()));
        let now = Timestamp::from_second(CHANGED).unwrap();
        let file = DropFile::create(Arc::new(fs.clone()), directory, &envelope, now).unwrap();
        let name = fs.list(directory).unwrap().pop().unwrap();
        (file, directory.join(name))
    }

    /// A file that a dead `sendmail` or a user left unfinished stayed for a day, whatever its size, and did not count
    /// against the limit of `corrupt/`.
    #[test]
    fn what_is_unfinished_is_left_while_it_may_become_whole() {
        // `held` is open in `sendmail`. `dead` was left by a `sendmail` that died. `unlocked.tmp` belongs to one that
        // was stopped before it had the lock, or to an older version. `half.bsmtp` has the name of a complete file,
        // but not its end.
        let table = [
            ("held", 20 * MINUTES, true),
            ("held", 23 * HOURS, true),
            ("held", 25 * HOURS, false),
            ("dead", 0, true),
            ("dead", 14 * MINUTES, true),
            ("dead", 16 * MINUTES, false),
            ("unlocked.tmp", 0, true),
            ("unlocked.tmp", 14 * MINUTES, true),
            ("unlocked.tmp", 16 * MINUTES, false),
            ("half.bsmtp", 14 * MINUTES, true),
            ("half.bsmtp", 16 * MINUTES, false),
        ];
        for (what, age, is_left) in table {
            let (fs, directory) = drop_directory();
            let (held, path) = begun(&fs, directory);
            let (fs, path) = match what {
                "held" => (fs, path),
                // The process is killed, so nothing of it runs any more.
                "dead" => (fs.image(1), path),
                name => {
                    fs.create(&directory.join(name)).unwrap();
                    (fs, directory.join(name))
                }
            };
            let look = look_after(&fs, &path, age);
            assert_eq!(matches!(look, Look::Leave), is_left, "{what} {age}: {look:?}");
            drop(held);
        }
    }

    /// If the daemon cannot find out whether a file is open, the file stays for a day. One that `sendmail` never
    /// makes goes sooner.
    #[test]
    fn what_cannot_be_asked_about_is_judged_by_its_age() {
        for (error, is_left) in [
            (ErrorKind::Unsupported, true),
            (ErrorKind::Other, true),
            (ErrorKind::NotFound, true),
            (ErrorKind::PermissionDenied, false),
        ] {
            let (fs, directory) = drop_directory();
            let path = directory.join("a.tmp");
            fs.create(&path).unwrap();
            // The first call asks for the facts of the file, the second one whether it is locked.
            fs.set_fault(Some(DiskFault { call: 1, error, for_ever: false }));
            let look = look_after(&fs, &path, HOURS);
            assert_eq!(matches!(look, Look::Leave), is_left, "{error:?}: {look:?}");
        }
    }

    /// A writer that was stopped for longer than that goes on with a file that was moved.
    #[test]
    fn whoever_writes_a_file_that_was_moved_is_told_that_nothing_is_queued() {
        let (fs, directory) = drop_directory();
        let corrupt = Path::new("/corrupt");
        fs.create_dir(corrupt, 0o700).unwrap();
        let (mut file, path) = begun(&fs, directory);
        set_aside(&fs, &path, corrupt).unwrap();
        file.write(b"Subject: x\r\n\r\nx\r\n").unwrap();
        let outcome = file.commit();
        assert!(matches!(outcome, Err(DropError::NotQueued { .. })), "{outcome:?}");
        assert!(fs.list(directory).unwrap().is_empty());
        // If the daemon looks while the file gets its final name, the message is not lost.
        let (file, path) = begun(&fs, directory);
        let name = file.commit().unwrap().queue_id();
        assert!(matches!(look_after(&fs, &path, HOURS), Look::Gone));
        assert!(set_aside(&fs, &path, corrupt).is_err());
        assert!(fs.facts(&directory.join(name + WHOLE)).is_ok());
    }

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
