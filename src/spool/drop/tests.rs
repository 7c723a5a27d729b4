use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::super::fs::RealFs;
use super::super::fs::sim::{DiskFault, SimFs};
use super::*;
use crate::envelope::{Address, Recipient, ReversePath};

const CONTENT: &[u8] = b"Subject: x\r\n\r\n.\r\nbody\r\n";
const DIRECTORY: &str = "/drop";

fn envelope() -> Envelope {
    let mut envelope = Envelope::from(ReversePath::Mailbox(Address::parse("root").unwrap()));
    envelope.recipients.push(Recipient::plain(Address::parse("ann@example.org").unwrap()));
    envelope
}

fn leave(fs: &SimFs) -> Result<Dropped, DropError> {
    let mut file =
        DropFile::create(Arc::new(fs.clone()), Path::new(DIRECTORY), &envelope(), Timestamp::UNIX_EPOCH)?;
    file.write(CONTENT)?;
    file.commit()
}

fn disk() -> SimFs {
    let fs = SimFs::new();
    fs.create_dir(Path::new(DIRECTORY), 0o1733).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs
}

/// Returns the whole files in the drop directory; each of them must be whole indeed.
fn whole_files(fs: &SimFs) -> Vec<Vec<u8>> {
    let names = fs.list(Path::new(DIRECTORY)).unwrap();
    let whole = names.iter().filter(|name| name.to_string_lossy().ends_with(WHOLE));
    let contents: Vec<_> = whole.map(|name| fs.content(&Path::new(DIRECTORY).join(name)).unwrap()).collect();
    assert!(contents.iter().all(|content| bsmtp::is_whole(content)), "{contents:?}");
    contents
}

#[test]
fn what_is_left_is_a_dialogue_that_ends_with_quit() {
    let fs = disk();
    leave(&fs).unwrap();
    let expected = "EHLO localhost\r\nMAIL FROM:<root>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n\
                    Subject: x\r\n\r\n..\r\nbody\r\n.\r\nQUIT\r\n";
    assert_eq!(whole_files(&fs), [expected.as_bytes()]);
}

/// Promises 1 and 2, at every moment of a power cut.
#[test]
fn after_a_crash_a_dropped_message_is_there_and_no_other_is_taken_for_whole() {
    for seed in 0..64 {
        let fs = disk();
        fs.watch(move |disk| drop(whole_files(&disk.image(seed))));
        leave(&fs).unwrap();
        fs.unwatch();
        assert_eq!(whole_files(&fs.image(seed)).len(), 1, "seed {seed}");
    }
}

#[test]
fn whichever_disk_call_fails_nothing_is_left_or_it_is_said() {
    let fs = disk();
    fs.set_fault(None);
    leave(&fs).unwrap();
    let calls = fs.calls();
    assert!(calls >= 5, "create, write, sync, rename, sync: {calls}");
    for call in 0..calls {
        for for_ever in [false, true] {
            let fs = disk();
            fs.set_fault(Some(DiskFault { call, error: io::ErrorKind::StorageFull, for_ever }));
            let outcome = leave(&fs);
            fs.set_fault(None);
            let left = whole_files(&fs).len();
            match outcome {
                Err(error @ DropError::NotQueued { .. }) => {
                    assert_eq!((left, error.is_full()), (0, true), "call {call}, {error}");
                }
                Err(DropError::InDoubt { .. }) => assert!(for_ever, "call {call}"),
                // Some calls are tried again.
                Ok(_) => assert_eq!(left, 1, "call {call}"),
            }
        }
    }
}

#[test]
fn a_message_that_was_taken_at_once_is_not_an_error() {
    let fs = disk();
    let file =
        DropFile::create(Arc::new(fs.clone()), Path::new(DIRECTORY), &envelope(), Timestamp::UNIX_EPOCH);
    // As if the daemon had been faster: there is no such file any more.
    assert!(file.unwrap().withdraw(io::ErrorKind::StorageFull.into()).is_ok());
}

#[test]
fn an_abandoned_message_leaves_nothing() {
    let fs = disk();
    let file =
        DropFile::create(Arc::new(fs.clone()), Path::new(DIRECTORY), &envelope(), Timestamp::UNIX_EPOCH);
    drop(file.unwrap());
    assert!(fs.list(Path::new(DIRECTORY)).unwrap().is_empty());
}

#[test]
fn on_a_real_disk_the_file_is_its_users_alone() {
    let directory = tempfile::tempdir().unwrap();
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let mut file = DropFile::create(Arc::new(RealFs), directory.path(), &envelope(), now).unwrap();
    let big = vec![b'x'; 3 * WRITE_OCTETS];
    file.write(&big).unwrap();
    let dropped = file.commit().unwrap();
    let path = directory.path().join(format!("{}{WHOLE}", dropped.queue_id()));
    let metadata = std::fs::metadata(&path).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!(metadata.uid(), rustix::process::geteuid().as_raw());
    assert!(metadata.len() > big.len() as u64);
    assert!(dropped.queue_id().starts_with("18FAE27693B40000-"), "{dropped:?}");
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let nowhere = Path::new("/nonexistent/drop");
    let refused = DropFile::create(Arc::new(RealFs), nowhere, &envelope(), Timestamp::UNIX_EPOCH);
    let error = refused.err().unwrap().to_string();
    assert!(error.starts_with("cannot create /nonexistent/drop/"), "{error}");
}
