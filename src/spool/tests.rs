//! Tests of the whole spool, mostly on the simulated disk. The rows cited (D1, M3 ...) are those of the
//! tables in `spool.rs`, the promises those of the module named.

mod clean;
mod crash;
mod damage;
mod fault;
mod full;
mod life;
mod removed;
mod standing;
mod start;

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::fs::sim::SimFs;
use super::*;
use crate::envelope::{Address, Envelope, Notify, Recipient, ReversePath, Submitter};

/// A row of the tables that no test proves would be a wish.
#[test]
fn every_row_of_the_tables_is_cited_by_a_test() {
    let tests = [
        include_str!("tests/clean.rs"),
        include_str!("tests/crash.rs"),
        include_str!("tests/crash/history.rs"),
        include_str!("tests/damage.rs"),
        include_str!("tests/fault.rs"),
        include_str!("tests/full.rs"),
        include_str!("tests/life.rs"),
        include_str!("tests/standing.rs"),
        include_str!("tests/start.rs"),
        include_str!("drop/tests.rs"),
        include_str!("rates.rs"),
        include_str!("relays.rs"),
        include_str!("standing.rs"),
        include_str!("../listener/pickup/tests.rs"),
    ];
    let words = |text: &'static str| text.split(|c: char| !c.is_ascii_alphanumeric());
    let cited: std::collections::HashSet<&str> = tests.into_iter().flat_map(words).collect();
    let rows = include_str!("../spool.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//! | ")?.split(" |").next());
    let rows: Vec<&str> = rows.filter(|row| row.starts_with(['D', 'M'])).collect();
    assert_eq!(rows.len(), 14 + 15);
    for row in rows {
        assert!(cited.contains(row), "{row}");
    }
}

/// Returns replies of which the second recipient has this one.
fn replies(said: &str) -> Replies {
    let mut replies = Replies::default();
    replies.set(1, said);
    replies
}

/// A spool on a simulated disk, in small segments.
struct Rig {
    fs: SimFs,
    spool: Spool,
    recovery: Recovery,
    arrivals: UnboundedReceiver<Entry>,
}

/// Small segments, but not so small that their header takes much of them.
const SEGMENT: u64 = 48 << 10;

fn options() -> Options {
    let small = Options::at("/spool");
    Options {
        segment_size: SEGMENT,
        first_segment: SEGMENT,
        large_threshold: 4000,
        min_free_space: 0,
        ..small
    }
}

fn try_open(fs: &SimFs) -> Result<Rig, OpenError> {
    open_with(fs, options())
}

fn open_with(fs: &SimFs, options: Options) -> Result<Rig, OpenError> {
    let (announce, arrivals) = unbounded_channel();
    let (spool, recovery) = Spool::open(options, Arc::new(fs.clone()), announce)?;
    Ok(Rig { fs: fs.clone(), spool, recovery, arrivals })
}

fn open(fs: &SimFs) -> Rig {
    try_open(fs).unwrap_or_else(|e| panic!("{e}"))
}

/// Returns a new spool that has one segment active and one ready.
fn new() -> Rig {
    new_with(options())
}

fn new_with(options: Options) -> Rig {
    let rig = open_with(&SimFs::new(), options).unwrap();
    rig.spool.make_ready();
    rig
}

impl Rig {
    /// Returns the spool as it starts after a power loss now.
    fn after_power_loss(&self) -> Rig {
        open(&self.fs.image(0))
    }

    async fn commit(&self, content: &[u8]) -> Committed {
        self.try_commit(content, envelope(2)).await.unwrap()
    }

    async fn try_commit(&self, content: &[u8], envelope: Envelope) -> Result<Committed, CommitError> {
        let draft = self.draft(content).await?;
        self.spool.commit(draft, envelope, Submitter::Loopback, now()).await
    }

    async fn draft(&self, content: &[u8]) -> Result<Draft, CommitError> {
        let mut draft = self.spool.draft(now());
        draft.write(content).await?;
        Ok(draft)
    }

    fn ids(&self) -> Vec<QueueId> {
        self.recovery.entries.iter().map(|entry| entry.id).collect()
    }

    fn entry(&self, id: QueueId) -> &Entry {
        self.recovery.entries.iter().find(|entry| entry.id == id).unwrap()
    }

    async fn settle(&self, id: QueueId) -> Result<(), CommitError> {
        self.spool.remove(settled(id)).await
    }

    /// Returns the octets of the first segment.
    fn first_segment(&self) -> Vec<u8> {
        self.fs.content(Path::new("/spool/log/00000001.seg")).unwrap()
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let names = fs::Fs::list(&self.fs, &Path::new("/spool").join(directory)).unwrap();
        names.into_iter().map(|name| name.into_string().unwrap()).collect()
    }
}

/// Returns the proof that a message is settled, whatever its recipients are: it is made as for one without any.
pub(super) fn settled(id: QueueId) -> Settled {
    Ledger::new(id, 0, &[]).settle().unwrap()
}

/// Returns the order to delete a message.
pub(super) fn deletion(id: QueueId) -> DeletionOrder {
    let by = Operator { uid: 0, name: None };
    OperatorOrder::permitted(id, OperatorVerb::Delete, by, OrderRight::Everything).deletion().unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// Returns an envelope from Ann to so many recipients, of whom the last one wants no reports.
fn envelope(recipients: usize) -> Envelope {
    let mut envelope = Envelope::from(ReversePath::Mailbox(address("ann@example.org")));
    let recipient = |number| Recipient::plain(address(&format!("bob{number}@example.net")));
    envelope.recipients = (0..recipients).map(recipient).collect();
    if let Some(last) = envelope.recipients.last_mut() {
        last.notify = Notify::Never;
    }
    envelope
}

/// Returns content that differs from every other.
fn content(number: usize, length: usize) -> Vec<u8> {
    let line = format!("Subject: {number}\r\n\r\nmessage {number} ");
    line.bytes().cycle().take(length).collect()
}

/// Returns the octets of the content of a message, wherever they are.
fn octets(content: StoredContent) -> Vec<u8> {
    match content {
        StoredContent::Memory(content) => content.into_vec(),
        StoredContent::File { mut file, len } => {
            let mut octets = Vec::new();
            std::io::Read::read_to_end(&mut file, &mut octets).unwrap();
            assert_eq!(octets.len() as u64, len);
            octets
        }
    }
}
