//! The spool, or a part of it, is removed or moved under the writer. Open files do not notice: 300 messages were
//! answered 250 after an `rm -r` of the spool, and all of them were gone at the next stop.

use std::io::ErrorKind;
use std::path::PathBuf;

use super::*;
use crate::spool::fs::Fs;

/// An action of somebody else on the spool.
type Deed = fn(&SimFs);

fn unlink(fs: &SimFs, name: &str) {
    let path = Path::new("/spool").join(name);
    // A segment that is being made ready may have its name later.
    let _ = fs.unlink(&path);
    fs.sync_dir(path.parent().unwrap()).unwrap();
}

const REMOVALS: [(&str, Deed); 8] = [
    ("the spool", |fs| fs.remove_all(Path::new("/spool"))),
    ("all that is in it", |fs| {
        for name in ["log", "large", "corrupt", "drop"] {
            fs.remove_all(&Path::new("/spool").join(name));
        }
        unlink(fs, "lock");
    }),
    ("the segments", |fs| fs.remove_all(Path::new("/spool/log"))),
    ("the first segment", |fs| unlink(fs, "log/00000001.seg")),
    ("all segments", |fs| {
        for name in fs.list(Path::new("/spool/log")).unwrap() {
            unlink(fs, &format!("log/{}", name.to_str().unwrap()));
        }
    }),
    ("the lock", |fs| unlink(fs, "lock")),
    ("large/", |fs| fs.remove_all(Path::new("/spool/large"))),
    ("drop/", |fs| fs.remove_all(Path::new("/spool/drop"))),
];

/// Commits until the spool takes mail again. Returns the queue id of the message that was acknowledged.
async fn served_again(rig: &Rig, what: &str) -> QueueId {
    // Other threads make what is missing, when they have the processor.
    for _ in 0..100_000 {
        std::thread::yield_now();
        rig.spool.look();
        match rig.try_commit(b"afterwards", envelope(1)).await {
            Ok(committed) => return committed.id(),
            Err(error) => assert_eq!(error, CommitError::Astray, "{what}"),
        }
    }
    panic!("{what}: mail is still refused");
}

/// writer/rescue.rs 2: whatever is removed, and however much the segments hold, what was acknowledged is there at the
/// next start, with what was recorded of it.
#[tokio::test]
async fn what_was_acknowledged_survives_the_removal_of_its_files() {
    for (what, remove) in REMOVALS {
        for count in [1, 20, 90] {
            let rig = new();
            let mut acknowledged = Vec::new();
            for number in 0..count {
                acknowledged.push(rig.commit(&content(number, 1500)).await.id());
            }
            let held = acknowledged[0];
            rig.spool.set_state(held, EntryState::Held).await.unwrap();
            rig.spool.note_replies(held, &replies("450 4.2.0 busy")).await;
            remove(&rig.fs);
            acknowledged.push(served_again(&rig, what).await);

            let after = rig.after_power_loss();
            assert_eq!(after.ids(), acknowledged, "{what}, {count} messages");
            assert_eq!(after.entry(held).marks.state(), EntryState::Held, "{what}");
            let stored = after.spool.read(held).unwrap();
            assert_eq!(octets(stored.content), content(0, 1500), "{what}");
            assert_eq!(rig.names("drop"), [""; 0], "{what}");
        }
    }
}

/// The last look was a second ago, and the stop wrote its end into a file without a name: 350 messages were gone.
#[tokio::test]
async fn what_is_removed_just_before_the_stop_is_saved_by_it() {
    for (what, remove) in REMOVALS {
        let rig = new();
        let mut acknowledged = Vec::new();
        for number in 0..40 {
            acknowledged.push(rig.commit(&content(number, 1500)).await.id());
        }
        remove(&rig.fs);
        rig.spool.close().await;
        let ids = open(&rig.fs).ids();
        assert!(acknowledged.iter().all(|id| ids.contains(id)), "{what}: {} of 40", ids.len());
    }
}

/// writer.rs 5: no commit is acknowledged in a file without a name, at whatever moment it loses it.
#[tokio::test]
async fn a_commit_after_the_removal_is_refused_or_safe() {
    for (what, remove) in REMOVALS {
        let rig = new();
        let mut acknowledged = vec![rig.commit(b"before").await.id()];
        remove(&rig.fs);
        for number in 0..30 {
            if let Ok(committed) = rig.try_commit(&content(number, 900), envelope(1)).await {
                acknowledged.push(committed.id());
                rig.spool.look();
            }
        }
        acknowledged.push(served_again(&rig, what).await);
        assert_eq!(rig.after_power_loss().ids(), acknowledged, "{what}");
    }
}

/// The usual case of a daemon without privileges: it may not make its spool anew. It goes on delivering, and has
/// every message when an operator has made the directory.
#[tokio::test]
async fn where_nothing_can_be_made_deliveries_go_on_and_nothing_is_forgotten() {
    let fs = SimFs::new();
    fs.create_dir(Path::new("/var"), 0o755).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    let options = Options { directory: PathBuf::from("/var/spool"), ..options() };
    let rig = open_with(&fs, options.clone()).unwrap();
    let (sent, kept) = (rig.commit(b"sent").await.id(), rig.commit(b"kept").await.id());
    fs.remove_all(Path::new("/var"));
    for _ in 0..3 {
        rig.spool.look();
        assert_eq!(rig.try_commit(b"new", envelope(1)).await.unwrap_err(), CommitError::Astray);
        assert_eq!(rig.spool.check_room(0), Err(CommitError::Astray));
    }
    rig.spool.mark_in_flight(sent).await.unwrap();
    rig.settle(sent).await.unwrap();
    assert_eq!(octets(rig.spool.read(kept).unwrap().content), b"kept");

    fs.create_dir(Path::new("/var"), 0o755).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    let new = served_again(&rig, "made by an operator").await;
    assert_eq!(open_with(&fs.image(0), options).unwrap().ids(), [kept, new]);
}

/// writer/rescue.rs 3: a copy of what only has another name would be delivered twice.
#[tokio::test]
async fn what_was_moved_is_not_copied_and_goes_on_when_it_is_back() {
    let rig = new();
    let (sent, kept) = (rig.commit(b"sent").await.id(), rig.commit(b"kept").await.id());
    rig.fs.move_all(Path::new("/spool"), Path::new("/elsewhere"));
    for _ in 0..3 {
        assert_eq!(rig.try_commit(b"refused", envelope(1)).await.unwrap_err(), CommitError::Astray);
        rig.spool.look();
    }
    rig.settle(sent).await.unwrap();
    assert!(rig.fs.list(Path::new("/spool")).is_err(), "nothing is made there");
    rig.fs.move_all(Path::new("/elsewhere"), Path::new("/spool"));
    let new = served_again(&rig, "moved back").await;
    assert_eq!(rig.after_power_loss().ids(), [kept, new], "what was refused does not come back");
}

/// writer/rescue.rs 3: a spool that was put in the place of ours (a backup, another daemon's) keeps every octet.
#[tokio::test]
async fn another_spool_in_its_place_is_not_touched() {
    let rig = new();
    rig.commit(b"ours").await;
    rig.fs.move_all(Path::new("/spool"), Path::new("/elsewhere"));
    let other = open(&rig.fs);
    let theirs = other.commit(b"theirs").await.id();
    other.spool.close().await;
    rig.fs.remove_all(Path::new("/elsewhere"));
    for _ in 0..3 {
        rig.spool.look();
        assert_eq!(rig.try_commit(b"refused", envelope(1)).await.unwrap_err(), CommitError::Astray);
    }
    assert_eq!(rig.after_power_loss().ids(), [theirs]);
}

/// A record that names a removed file would be a message without content.
#[tokio::test]
async fn a_large_file_removed_before_its_commit_is_a_refusal() {
    let rig = new();
    let draft = rig.draft(&content(1, 300_000)).await.unwrap();
    unlink(&rig.fs, &format!("large/{}", draft.id()));
    let refused = rig.spool.commit(draft, envelope(1), Submitter::Loopback, now()).await;
    assert_eq!(refused.unwrap_err(), CommitError::Astray);
    assert!(rig.spool.is_empty());
}

/// The real disk: `rm -r` of a spool in use.
#[tokio::test]
async fn a_real_spool_that_is_removed_comes_back_with_its_messages() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spool");
    let start = || {
        let (announce, arrivals) = unbounded_channel();
        let options = Options { directory: path.clone(), ..options() };
        (Spool::open(options, Arc::new(super::super::fs::RealFs), announce).unwrap(), arrivals)
    };
    let commit = async |spool: &Spool, octets: &[u8]| {
        let mut draft = spool.draft(now());
        draft.write(octets).await.unwrap();
        spool.commit(draft, envelope(1), Submitter::Loopback, now()).await
    };
    let ((spool, _), _arrivals) = start();
    let kept = commit(&spool, b"kept").await.unwrap().id();
    // As `rm -r`, which fails where the spool has a file made in a directory that is about to go: it is removed again.
    while let Err(error) = std::fs::remove_dir_all(&path) {
        assert_eq!(error.kind(), ErrorKind::DirectoryNotEmpty);
    }
    assert_eq!(commit(&spool, b"refused").await.unwrap_err(), CommitError::Astray);
    let new = loop {
        if let Ok(committed) = commit(&spool, b"new").await {
            break committed.id();
        }
    };
    spool.close().await;
    let ((_, recovery), _arrivals) = start();
    assert_eq!(recovery.entries.iter().map(|entry| entry.id).collect::<Vec<_>>(), [kept, new]);
    assert_eq!(recovery.damaged, [""; 0]);
}
