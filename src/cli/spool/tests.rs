use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use clap::Parser;
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::sync::mpsc::unbounded_channel;

use super::super::{Arguments, CliCommand};
use super::*;
use crate::envelope::{Address, Envelope, Recipient, ReversePath, Submitter};
use crate::queue_id::QueueId;
use crate::spool::fs::RealFs;
use crate::spool::inspect::UnreadableMessage;
use crate::spool::{self, Options};

/// Runs a command line on the spool below `directory`.
fn run(directory: &TempDir, words: &[&str]) -> Result<(), Failure> {
    let spool = directory.path().join("spool");
    let mut line = vec!["nullmta", "spool"];
    line.extend(words);
    line.extend(["--spool", spool.to_str().unwrap()]);
    match Arguments::try_parse_from(line).unwrap_or_else(|e| panic!("{e}")).command {
        CliCommand::Spool(spool) => spool.run(),
        _ => unreachable!("the line says spool"),
    }
}

fn exit_of(result: Result<(), Failure>) -> (Exit, String) {
    let failure = result.unwrap_err();
    (failure.exit(), failure.to_string())
}

/// Returns a spool with a message of 12 octets and one of 9,000, without a daemon.
async fn spool_at_rest() -> (TempDir, Vec<QueueId>) {
    let (directory, spool, ids) = spool_in_use().await;
    spool.close().await;
    (directory, ids)
}

async fn spool_in_use() -> (TempDir, spool::Spool, Vec<QueueId>) {
    let directory = tempfile::tempdir().unwrap();
    let small = Options::at(directory.path().join("spool"));
    let options = Options { segment_size: 32 << 10, large_threshold: 4000, min_free_space: 0, ..small };
    let (spool, _) = spool::Spool::open(options, Arc::new(RealFs), unbounded_channel().0).unwrap();
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let mut ids = Vec::new();
    for content in [b"Subject: \xff\r\n".to_vec(), vec![b'x'; 9000]] {
        let mut draft = spool.draft(now);
        draft.write(&content).await.unwrap();
        let mut envelope = Envelope::from(ReversePath::Mailbox(Address::parse("app@example.org").unwrap()));
        for to in ["ann@example.org", "ben@example.org"] {
            envelope.recipients.push(Recipient::plain(Address::parse(to).unwrap()));
        }
        ids.push(spool.commit(draft, envelope, Submitter::Uid(1000), now).await.unwrap().id());
    }
    let mut ledger = spool.read(ids[0]).unwrap().ledger;
    ledger.sent(1);
    spool.record(&mut ledger).await.unwrap();
    (directory, spool, ids)
}

fn damage_large(directory: &TempDir, id: QueueId) {
    let path = directory.path().join(format!("spool/large/{id}"));
    let mut octets = fs::read(&path).unwrap();
    octets[77] ^= 1;
    fs::write(path, octets).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn an_export_holds_every_message_and_its_envelope() {
    let (directory, ids) = spool_at_rest().await;
    let to = directory.path().join("out");
    run(&directory, &["export", to.to_str().unwrap()]).unwrap();
    assert_eq!(fs::read(to.join(format!("{}.eml", ids[0]))).unwrap(), b"Subject: \xff\r\n");
    assert_eq!(fs::read(to.join(format!("{}.eml", ids[1]))).unwrap(), vec![b'x'; 9000]);
    let json = fs::read_to_string(to.join(format!("{}.json", ids[0]))).unwrap();
    let recipient = |address, fate| {
        serde_json::json!({
            "address": address, "original": null, "fate": fate, "last-reply": null, "notify": [], "orcpt": null,
        })
    };
    let expected = serde_json::json!({
        "id": ids[0].to_string(), "state": "ready", "arrived": "2027-01-15T08:00:00Z",
        "submitter": "uid 1000", "reverse-path": "app@example.org",
        "recipients": [recipient("ann@example.org", "open"), recipient("ben@example.org", "sent")],
        "ret": null, "envid": null, "body": "7bit", "smtputf8": false, "size": 12,
        "possible-duplicate": false,
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), expected);
    assert_eq!((mode(&to), mode(&to.join(format!("{}.eml", ids[0])))), (0o700, 0o600));
}

#[tokio::test]
async fn an_export_goes_where_there_is_nothing_yet() {
    let (directory, _) = spool_at_rest().await;
    let full = directory.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("x"), "").unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(directory.path().join("spool/corrupt"), &link).unwrap();
    let within = directory.path().join("spool/out");
    for (to, why) in [(&full, "is not empty"), (&within, "is within"), (&link, "is within")] {
        let (exit, message) = exit_of(run(&directory, &["export", to.to_str().unwrap()]));
        assert_eq!(exit, Exit::CantCreate);
        assert!(message.contains(why), "{message}");
    }
    assert!(!within.exists(), "nothing is made in the spool");
}

#[tokio::test]
async fn a_damaged_message_costs_no_other_one_and_is_said() {
    let (directory, ids) = spool_at_rest().await;
    assert!(run(&directory, &["verify"]).is_ok());
    damage_large(&directory, ids[1]);
    assert_eq!(exit_of(run(&directory, &["verify", "--json"])).0, Exit::Failed);
    let to = directory.path().join("out");
    let (exit, message) = exit_of(run(&directory, &["export", to.to_str().unwrap()]));
    assert_eq!((exit, message.as_str()), (Exit::Failed, "1 damaged message left out"));
    assert_eq!(fs::read_dir(to).unwrap().count(), 2);
}

/// A message whose record cannot be read is in no list of messages. An export without such messages was once called
/// complete.
#[tokio::test]
async fn an_export_says_what_of_the_log_is_damaged() {
    let (directory, _) = spool_at_rest().await;
    let segment = directory.path().join("spool/log/00000001.seg");
    let mut octets = fs::read(&segment).unwrap();
    octets[8192 + 50] ^= 1;
    fs::write(&segment, octets).unwrap();
    let to = directory.path().join("out");
    let (exit, message) = exit_of(run(&directory, &["export", to.to_str().unwrap()]));
    assert_eq!(exit, Exit::Failed);
    assert!(message.starts_with("what was in 1 damaged range of the log is not exported"), "{message}");
    assert_eq!(fs::read_dir(to).unwrap().count(), 2, "the other message");
}

#[tokio::test]
async fn beside_a_daemon_one_may_look_and_not_export() {
    let (directory, spool, _) = spool_in_use().await;
    run(&directory, &["verify"]).unwrap();
    run(&directory, &["stat", "--json"]).unwrap();
    let to = directory.path().join("out");
    assert_eq!(exit_of(run(&directory, &["export", to.to_str().unwrap()])).0, Exit::TempFail);
    assert!(!to.exists());
    spool.close().await;
}

#[tokio::test]
async fn what_is_no_spool_is_said_to_be_none() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(exit_of(run(&directory, &["stat"])).0, Exit::CantCreate);
    fs::create_dir(directory.path().join("spool")).unwrap();
    for words in [&["verify"][..], &["stat"], &["export", "/nonexistent/out"]] {
        let (exit, message) = exit_of(run(&directory, words));
        assert_eq!(exit, Exit::DataErr);
        assert!(message.contains("is no spool"), "{message}");
    }
}

#[test]
fn a_report_reads_as_documented() {
    let blank = SegmentFigures {
        sequence: 2,
        version: None,
        is_blank: true,
        octets: 32768,
        used: 0,
        records: 0,
        live: 0,
        live_octets: 0,
        damage: vec![],
        torn: 0,
    };
    let damaged = SegmentFigures {
        sequence: 1,
        version: Some(1),
        is_blank: false,
        records: 12,
        live: 3,
        damage: vec![(8192, 8704), (9216, 9300)],
        torn: 1,
        ..blank.clone()
    };
    let headless =
        SegmentFigures { sequence: 3, version: None, damage: vec![(0, 8192)], torn: 0, ..damaged.clone() };
    let lost =
        SegmentFigures { sequence: 4, records: 0, live: 0, damage: vec![(0, 32768)], ..headless.clone() };
    let id = QueueId::from_raw(0x18A4_F1C9_A02B_3D40);
    let unreadable = vec![UnreadableMessage { id, why: "the message is damaged on disk".into() }];
    let report = SpoolReport { segments: vec![damaged, blank, headless, lost], messages: 6, unreadable };
    assert_eq!(
        verify_text(&report),
        "SEGMENT   VERSION      OCTETS  RECORDS  MESSAGES  TORN  DAMAGED\n\
         00000001        1       32768       12         3     1  8192-8704,9216-9300\n\
         00000002    blank       32768        0         0     0  -\n\
         00000003  unknown       32768       12         3     0  0-8192\n\
         00000004     lost       32768        0         0     0  0-32768\n\
         18A4F1C9A02B3D40: the message is damaged on disk\n\
         6 messages, 1 of them damaged; 4 damaged ranges\n"
    );
}

#[tokio::test]
async fn the_spool_in_a_few_numbers() {
    let (directory, _) = spool_at_rest().await;
    let spool = directory.path().join("spool");
    fs::write(spool.join("drop/a.bsmtp"), "12345").unwrap();
    let mut stat = StatJson::of(&Inspection::beside(&spool).unwrap()).unwrap();
    assert!(stat.live_octets > 12 && stat.dead_octets > 8192, "headers are dead octets");
    let segments =
        fs::read_dir(spool.join("log")).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    let lengths: Vec<u64> = segments.collect();
    assert_eq!((stat.segments, stat.segment_octets), (lengths.len(), lengths.iter().sum()));
    (stat.live_octets, stat.dead_octets, stat.segments) = (1, 2, 3);
    (stat.blank_segments, stat.segment_octets) = (2, 4);
    assert_eq!(
        stat_text(&stat),
        "messages  2: 2 ready, 0 deferred, 0 held, 0 on hold, 0 dead\n\
         records   1 octets live, 2 dead\n\
         segments  3 of 4 octets, 2 of them blank\n\
         large     1 files of 9000 octets\n\
         corrupt   0 files of 0 octets\n\
         drop      1 files of 5 octets\n"
    );
}
