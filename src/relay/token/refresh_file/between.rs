//! The lock between processes for the file of a refresh token (flock(2)): the daemon has one, and a command may have another.
//!
//! Promises:
//! 1. Of all processes of nullmta on this kernel one at a time holds the file at a path, whatever takes its place meanwhile: a new
//!    file is locked before it is there ([`hold`]), and who has waited for the old one looks again.
//! 2. Only who may read the secret can hold its file. The directory is not what is locked: others may open it, too, and the mail
//!    would wait for them.
//! 3. No thread of the runtime waits. A holder that does not end is waited for no longer than [`PATIENCE`].
//! 4. It works where the file is mounted read-only, and leaves nothing behind: the lock ends with its holder.
//!
//! Fails: [`HeldElsewhere`], which says by whom. A file that is missing or must not be used has no lock, since nobody uses the
//! token in it: reading it says what is wrong. Nor has one on a file system without locks.

use std::fmt;
use std::fs::{self, File, Metadata, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{major, minor};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::config::{SecretFile, SecretKind};
use crate::log::Foreign;

/// The longest time for which another process is waited for. It makes one request, which is done in a second as a rule.
const PATIENCE: Duration = Duration::from_secs(10);

/// The time between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Another process has held the file for as long as we waited.
#[derive(Debug)]
pub(in crate::relay::token) struct HeldElsewhere {
    path: PathBuf,
    /// The process; `None` if the system does not tell.
    holder: Option<Holder>,
}

#[derive(Debug)]
struct Holder {
    pid: u32,
    /// The name of its program; empty if it is not to be seen.
    name: String,
}

/// Returns the file at `path`, locked for as long as it is kept; `None` if there is nothing to lock.
pub(super) async fn locked(path: &Path) -> Result<Option<File>, HeldElsewhere> {
    let patient_until = Instant::now() + PATIENCE;
    loop {
        let tried = path.to_path_buf();
        // A panic was logged; the next try may do better.
        let outcome = spawn_blocking(move || try_lock(&tried)).await;
        match outcome {
            Ok(Ok(lock)) => return Ok(lock),
            Ok(Err(held)) if Instant::now() >= patient_until => return Err(held),
            Err(_) if Instant::now() >= patient_until => {
                return Err(HeldElsewhere { path: path.into(), holder: None });
            }
            _ => sleep(PAUSE).await,
        }
    }
}

/// Locks `file`, which is new and has no name that others use. It stays locked while it is kept. Blocks on the disk.
pub(super) fn hold(file: &File) {
    // Nobody else knows it. Where there are no locks, others have none either.
    let _ = file.try_lock();
}

/// Returns the file at `path`, locked; `None` if there is nothing to lock. Blocks on the disk.
fn try_lock(path: &Path) -> Result<Option<File>, HeldElsewhere> {
    loop {
        let Ok(file) = SecretFile::at(path, SecretKind::RefreshToken).open() else { return Ok(None) };
        let Ok(metadata) = file.metadata() else { return Ok(None) };
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(HeldElsewhere { path: path.into(), holder: holder_of(&metadata) });
            }
            Err(TryLockError::Error(_)) => return Ok(None),
            Ok(()) if is_at(path, &metadata) => return Ok(Some(file)),
            // Another one has taken its place meanwhile.
            Ok(()) => {}
        }
    }
}

/// Returns whether the file with this `metadata` is the one at `path`.
fn is_at(path: &Path, metadata: &Metadata) -> bool {
    fs::metadata(path).is_ok_and(|now| (now.dev(), now.ino()) == (metadata.dev(), metadata.ino()))
}

/// Returns who holds a lock on the file with this `metadata`.
fn holder_of(metadata: &Metadata) -> Option<Holder> {
    let (major, minor) = (major(metadata.dev()), minor(metadata.dev()));
    let file = format!("{major:02x}:{minor:02x}:{}", metadata.ino());
    let pid = pid_in(&fs::read_to_string("/proc/locks").ok()?, &file)?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(Holder { pid, name: name.trim().into() })
}

/// Returns the process that has a lock by flock(2) on `file` in this text of `/proc/locks` (proc_locks(5)). One of another
/// container has no number here.
fn pid_in(locks: &str, file: &str) -> Option<u32> {
    let of_line = |line: &str| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [_, "FLOCK", _, _, pid, locked, ..] if locked == file => pid.parse().ok(),
        _ => None,
    };
    locks.lines().find_map(of_line).filter(|pid| *pid != 0)
}

impl fmt::Display for HeldElsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = PATIENCE.as_secs();
        write!(f, "not asked, since ")?;
        match &self.holder {
            Some(Holder { pid, name }) if !name.is_empty() => write!(f, "{} (pid {pid})", Foreign(name))?,
            Some(Holder { pid, .. }) => write!(f, "the process {pid}")?,
            None => f.write_str("another process")?,
        }
        let path = self.path.display();
        write!(
            f,
            " has used the refresh token in {path} for {seconds} s, and two at a time could end the login"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::super::writing::write;
    use super::*;
    use crate::secret::Secret;

    fn put(path: &Path, text: &str) -> File {
        write(path, &Secret::new(text.into())).unwrap()
    }

    /// Another process that holds the file at `path` until its input ends.
    fn other_process(path: &Path) -> Child {
        let command = Command::new("flock")
            .args([path.as_os_str(), "-c".as_ref(), "echo held; exec cat".as_ref()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = command.unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        child
    }

    /// The daemon and a command used one refresh token at the same time, and the endpoint revoked both that it gave.
    #[tokio::test(start_paused = true)]
    async fn another_process_is_waited_for_and_named_and_not_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        drop(put(&path, "one"));
        let mut other = other_process(&path);
        let begun = Instant::now();
        let held = locked(&path).await.unwrap_err();
        assert!((PATIENCE..PATIENCE + 2 * PAUSE).contains(&begun.elapsed()));
        assert_eq!(
            held.to_string(),
            format!(
                "not asked, since flock (pid {}) has used the refresh token in {} for 10 s, and two at a time could end \
                 the login",
                other.id(),
                path.display()
            )
        );
        let released = async {
            sleep(PAUSE * 5).await;
            drop(other.stdin.take());
            other.wait().unwrap();
        };
        // The thread that waits is the only one of the runtime: it went on meanwhile.
        let (lock, ()) = tokio::join!(locked(&path), released);
        assert!(lock.unwrap().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_takes_the_place_of_another_is_held_from_the_start() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        drop(put(&path, "one"));
        let old = locked(&path).await.unwrap().unwrap();
        let new = put(&path, "two");
        assert!(!is_at(&path, &old.metadata().unwrap()));
        drop(old);
        try_lock(&path).unwrap_err();
        drop(new);
        let lock = try_lock(&path).unwrap().unwrap();
        assert!(is_at(&path, &lock.metadata().unwrap()));
    }

    /// Any user could have stopped the mail with a lock on a directory that all may read.
    #[test]
    fn a_lock_on_the_directory_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        drop(put(&path, "one"));
        let mut other = other_process(directory.path());
        assert!(try_lock(&path).unwrap().is_some());
        drop(other.stdin.take());
        other.wait().unwrap();
    }

    #[test]
    fn what_nobody_can_use_needs_no_lock() {
        let directory = tempfile::tempdir().unwrap();
        assert!(try_lock(&directory.path().join("missing")).unwrap().is_none());
        assert!(try_lock(directory.path()).unwrap().is_none(), "not a file");
    }

    #[test]
    fn the_holder_is_read_from_the_locks_of_the_system() {
        let locks = "1: POSIX  ADVISORY  WRITE 7 08:01:42 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 812 08:01:42 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 9 08:01:43 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 0 00:2f:7 0 EOF\n";
        let cases = [("08:01:42", Some(812)), ("08:01:43", None), ("00:2f:7", None), ("08:01:4", None)];
        for (file, expected) in cases {
            assert_eq!(pid_in(locks, file), expected, "{file}");
        }
    }
}
