//! A file in the drop directory, which belongs to whoever left it: what it is, and what may be done to it.
//!
//! Promises
//! 1. No symbolic link is followed, no device or pipe is opened to wait on, no file under two names is read:
//!    whose mail a file is, its owner's uid says, and nobody can leave another's file.
//! 2. No rename replaces anything, so no file can be lost by the name of another.
//! 3. What is claimed is so durably when the call returns. So is what is removed or set aside, unless it says
//!    otherwise.
//! 4. A file that is being written is left alone for a day, and one whose writer has died for a quarter of an hour.
//!    Whoever writes to one that was moved all the same is told so, by its rename, which fails.
//!
//! Blocking. Not here: which file when (`pickup.rs`), what is in it (`dialogue.rs`).

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

/// How the name of a file ends whose message is being taken: left over, it may have been taken.
pub(super) const CLAIMED: &str = ".claimed";

/// A file that is not whole after so many seconds never will be.
const NEVER_FINISHED_AFTER_SECONDS: i64 = 24 * 60 * 60;

/// Nor will one that nobody has had open, and nobody has written to, for so many. `sendmail` may have been stopped that
/// long between making its file and locking it; an earlier one, which locked nothing, may have waited that long for its
/// input.
const ABANDONED_AFTER_SECONDS: i64 = 15 * 60;

/// How the names of files begin that were moved to `corrupt/`.
const ASIDE: &str = "drop-";
/// So many of them, and octets in them, are kept for somebody to look at.
const MOST_FILES: usize = 100;
const MOST_OCTETS: u64 = 64 << 20;

/// What a name says of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DropState {
    Partial,
    Whole,
    Claimed,
}

impl DropState {
    /// `None`: no name that we give, and none of our business.
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

/// What is to be done with a file.
#[derive(Debug)]
pub(super) enum Look {
    /// Take it.
    Take(Candidate),
    /// It may become whole.
    Leave,
    /// It is gone.
    Gone,
    /// A crash left it both the names of a rename.
    Renamed { older: PathBuf, inode: u64 },
    /// It is none that could be taken, ever.
    Bad(&'static str),
}

/// A whole file, open at its start.
#[derive(Debug)]
pub(super) struct Candidate {
    pub file: File,
    /// Of the file that was opened, when it was found whole.
    pub facts: FileFacts,
}

/// Looks at the file at `path`. One that is not whole may become one of up to `max_message_size` octets; of one
/// that is whole and larger, the sender is to be told.
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
    // Again, of what was opened: the name may be another file's by now.
    if let Some(why) = objection(&facts) {
        return Ok(Look::Bad(why));
    }
    if !is_whole(&file, facts.length)? {
        return Ok(incomplete(fs, path, &facts, max_message_size, now));
    }
    Ok(Look::Take(Candidate { file, facts }))
}

/// Of a file with two names, of which one becomes the other in its life, the one that it had first.
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
    // A dot in every line of three octets is stuffed.
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

/// Whether whoever made this file has it open no more; not if nobody can tell, as on a file system without locks.
fn is_let_go(fs: &dyn Fs, path: &Path) -> bool {
    match fs.is_held(path) {
        Ok(is_held) => !is_held,
        // `sendmail` makes none that the daemon may not read.
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

/// Gives a whole file its claimed name, durably; that name.
pub(super) fn claim(fs: &dyn Fs, path: &Path) -> io::Result<PathBuf> {
    // Only whole files are claimed, and their names have this end.
    let claimed = path.with_extension(&CLAIMED[1..]);
    fs.rename_to_new(path, &claimed)?;
    let synced = sync_directory(fs, path);
    if synced.is_err() {
        // See `release`.
        let _ = release(fs, &claimed);
    }
    synced.map(|()| claimed)
}

/// Undoes [`claim`]. Where that fails, the file keeps its claimed name and is taken by it.
pub(super) fn release(fs: &dyn Fs, claimed: &Path) -> io::Result<()> {
    fs.rename_to_new(claimed, &claimed.with_extension(&WHOLE[1..]))
}

/// Whether a name that was taken from a file stays away from it.
#[derive(Debug)]
pub(super) enum Synced {
    /// It does.
    Durably,
    /// A crash may bring it back, for this reason.
    NotYet(io::Error),
}

impl From<io::Result<()>> for Synced {
    fn from(synced: io::Result<()>) -> Self {
        synced.map_or_else(Synced::NotYet, |()| Synced::Durably)
    }
}

/// Takes the name `path` from the file with this inode; leaves it to a file that has taken it.
pub(super) fn remove(fs: &dyn Fs, path: &Path, inode: u64) -> io::Result<Synced> {
    match fs.facts(path) {
        Ok(facts) if facts.inode == inode => fs.unlink(path)?,
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    Ok(sync_directory(fs, path).into())
}

/// Where a file that nothing becomes of has gone.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resting {
    At(PathBuf),
    Removed,
}

/// As log lines go on behind "it is now".
impl fmt::Display for Resting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resting::At(path) => path.display().fmt(f),
            Resting::Removed => f.write_str("removed: corrupt/ holds as much of ordinary users as it may"),
        }
    }
}

/// Moves the file at `path` into `corrupt`, or removes it where that holds enough such files already and it is an
/// ordinary user's; where it is, and whether that is durable.
pub(super) fn set_aside(fs: &dyn Fs, path: &Path, corrupt: &Path) -> io::Result<(Resting, Synced)> {
    let facts = fs.facts(path)?;
    // A directory cannot be removed like this, and takes no room to speak of.
    if facts.is_regular && is_ordinary(facts.owner) && !has_room(fs, corrupt, facts.length)? {
        fs.unlink(path)?;
        return Ok((Resting::Removed, sync_directory(fs, path).into()));
    }
    let (to, synced) = move_aside(fs, path, corrupt)?;
    Ok((Resting::At(to), synced))
}

/// Whether `corrupt` may take one more file of `length` octets. Damaged octets of the log lie there too; they are
/// not counted, and never removed.
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

    /// What is to be done with the file at `path`, when it has not changed for so long.
    fn look_after(fs: &SimFs, path: &Path, seconds: i64) -> Look {
        let now = Timestamp::from_second(CHANGED + seconds).unwrap();
        look(fs, path, DropState::of(path.file_name().unwrap()).unwrap(), 1 << 20, now).unwrap()
    }

    /// A message that `sendmail` is writing, and its file.
    fn begun(fs: &SimFs, directory: &Path) -> (DropFile, PathBuf) {
        let mut envelope = Envelope::from(ReversePath::Mailbox(Address::parse("root").unwrap()));
        envelope.recipients.push(Recipient::plain(Address::parse("ann@example.org").unwrap()));
        let now = Timestamp::from_second(CHANGED).unwrap();
        let file = DropFile::create(Arc::new(fs.clone()), directory, &envelope, now).unwrap();
        let name = fs.list(directory).unwrap().pop().unwrap();
        (file, directory.join(name))
    }

    /// What a dead `sendmail` or a user left unfinished stayed for a day, however much it was, beside what `corrupt/`
    /// takes.
    #[test]
    fn what_is_unfinished_is_left_while_it_may_become_whole() {
        // What a file is: the one that `sendmail` has open; what it leaves when it dies; what one that was stopped before
        // it had the lock, or an earlier one, is writing; a whole file's name without its end.
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
                // The process is killed, and nothing of it runs any more.
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

    /// Where the daemon cannot tell, only a day ends it; what `sendmail` never makes is ended sooner.
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
            // The first call asks for its facts, the second whether it is held.
            fs.set_fault(Some(DiskFault { call: 1, error, for_ever: false }));
            let look = look_after(&fs, &path, HOURS);
            assert_eq!(matches!(look, Look::Leave), is_left, "{error:?}: {look:?}");
        }
    }

    /// A writer that was stopped for longer than that goes on with a file that is not there any more.
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
        // And where the daemon looks while it gets its name, the message is there.
        let (file, path) = begun(&fs, directory);
        let name = file.commit().unwrap().queue_id();
        assert!(matches!(look_after(&fs, &path, HOURS), Look::Gone));
        assert!(set_aside(&fs, &path, corrupt).is_err());
        assert!(fs.facts(&directory.join(name + WHOLE)).is_ok());
    }

    /// One user's junk in `drop/` filled the disk by way of `corrupt/`, which nothing ever emptied.
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
