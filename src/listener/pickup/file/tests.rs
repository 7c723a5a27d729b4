use std::sync::Arc;

use super::*;
use crate::envelope::{Address, Envelope, Recipient, ReversePath};
use crate::listener::pickup::aside::set_aside;
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
