//! The spool with very many messages, on a real disk.
//!
//! ```text
//! NULLMTA_SCALE=1000000 cargo test --release --test scale -- --ignored --nocapture
//! ```
//! is not part of `cargo test`. The number is 100,000 by default; the disk is that of `TMPDIR`, and 1,000,000
//! messages take 5 GiB of it. Printed: how long a start takes, the memory of each message, and how fast
//! messages of 4 KiB come and go on an empty spool and beside so many. Asserted: memory below 150 octets for a
//! message of the spool and its entry, at least 80 % of an empty spool's rates (in turns, median of seven: an
//! optimised build on a calm machine keeps them), and a log of two segments in the end.
//!
//! Part of `cargo test` are the bounds that have nothing to do with time, of a daemon with tens of thousands
//! of messages in its queue: 150 octets of memory for each in all, and a listing that streams.

mod daemon;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nullmta::envelope::{Address, Envelope, Recipient, ReversePath, Submitter};
use nullmta::queue_id::QueueId;
use nullmta::spool::fs::RealFs;
use nullmta::spool::{Options, Recovery, Spool};
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinSet;

use daemon::{Daemon, figure, free_port};

/// Messages in the small case, and writers at once in every case.
const FEW: usize = 10_000;
/// So many that what a start leaves to the allocator, a few MiB, does not count.
const MANY: usize = 200_000;
const WRITERS: usize = 50;
/// How often rates are measured, on the empty spool and the full one in turn.
const ROUNDS: usize = 7;

fn open(directory: &Path) -> (Spool, Recovery) {
    // Nobody listens: what is announced is dropped at once.
    let (announce, _) = unbounded_channel();
    let options = Options { min_free_space: 0, max_messages: u64::MAX, ..Options::at(directory) };
    Spool::open(options, Arc::new(RealFs), announce).unwrap()
}

fn envelope() -> Envelope {
    let mut envelope = Envelope::from(ReversePath::Mailbox(Address::parse("ann@example.org").unwrap()));
    envelope.recipients = vec![Recipient::plain(Address::parse("bob@example.net").unwrap())];
    envelope
}

/// Returns the number of messages a second.
fn rate(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// Puts `count` messages with so many octets on the spool; their ids in order, and how long it took.
async fn fill(spool: &Spool, count: usize, octets: usize) -> (Vec<QueueId>, Duration) {
    let begun = Instant::now();
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let spool = spool.clone();
        writers.spawn(async move {
            let mut ids = Vec::new();
            for _ in 0..count / WRITERS {
                let mut draft = spool.draft(Timestamp::now());
                draft.write(&vec![b'x'; octets]).await.unwrap();
                let now = Timestamp::now();
                ids.push(spool.commit(draft, envelope(), Submitter::Loopback, now).await.unwrap().id());
            }
            ids
        });
    }
    let mut ids = writers.join_all().await.concat();
    ids.sort();
    (ids, begun.elapsed())
}

/// Removes these, oldest first as the queue does.
async fn drain(spool: &Spool, ids: &[QueueId]) -> Duration {
    let begun = Instant::now();
    let mut removers = JoinSet::new();
    for first in 0..WRITERS {
        let spool = spool.clone();
        let own: Vec<QueueId> = ids.iter().skip(first).step_by(WRITERS).copied().collect();
        removers.spawn(async move {
            for id in own {
                let mut ledger = spool.peek(id).unwrap().ledger;
                (0..ledger.fates().len()).for_each(|recipient| ledger.sent(recipient));
                spool.remove(ledger.settle().unwrap()).await.unwrap();
            }
        });
    }
    removers.join_all().await;
    begun.elapsed()
}

fn octets_in(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

/// How fast [`FEW`] messages come and go, a second.
struct Rates {
    enqueue: f64,
    drain: f64,
}

/// Comes and goes beside what else is on the spool.
async fn pass_through(spool: &Spool) -> Rates {
    let (ids, filled) = fill(spool, FEW, 4096).await;
    let drained = drain(spool, &ids).await;
    Rates { enqueue: rate(FEW, filled), drain: rate(FEW, drained) }
}

fn median(rates: &[Rates], of: impl Fn(&Rates) -> f64) -> f64 {
    let mut values: Vec<f64> = rates.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Starts on a spool of `count` messages, and says what that took.
fn start(directory: &Path, count: usize) -> Spool {
    let resident = || figure(std::process::id(), "VmRSS");
    let before = resident();
    let begun = Instant::now();
    let (spool, recovery) = open(directory);
    let took = begun.elapsed();
    let memory = resident().saturating_sub(before) / count as u64;
    println!("{count} messages: start {took:.2?}, memory {memory} octets each");
    assert_eq!(recovery.entries.len(), count);
    // The window of the scanner and the first stacks are nobody's.
    assert!(memory < 150 + (16 << 20) / count as u64);
    spool
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and gigabytes: NULLMTA_SCALE says how many messages"]
async fn a_million_messages_are_a_supported_state() {
    let many: usize = std::env::var("NULLMTA_SCALE").map_or(100_000, |many| many.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("full");
    let (full, _) = open(&place);
    let (ids, _) = fill(&full, many, 4096).await;
    full.close().await;
    drop(full);
    let full = start(&place, many);
    let (empty, _) = open(&directory.path().join("empty"));

    let (mut at_scale, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(pass_through(&empty).await);
        at_scale.push(pass_through(&full).await);
    }
    for (what, of) in [("enqueue", (|r| r.enqueue) as fn(&Rates) -> f64), ("drain", |r| r.drain)] {
        let [alone, at_scale] = [&alone, &at_scale].map(|rates| median(rates, of));
        println!("{what}: {alone:.0}/s on an empty spool, {at_scale:.0}/s beside {many}");
        assert!(at_scale > 0.8 * alone, "{what} is slower with many messages");
    }

    drain(&full, &ids).await;
    full.close().await;
    let left = octets_in(&place.join("log"));
    assert!(left <= 2 * (32 << 20), "a history leaves nothing: {left} octets");
}

/// A daemon, its relay down, with so many messages in its queue; `directory` is new.
async fn daemon_with(directory: &Path, count: usize) -> Daemon {
    std::fs::create_dir(directory).unwrap();
    let (spool, _) = open(&directory.join("spool"));
    fill(&spool, count, 500).await;
    spool.close().await;
    drop(spool);
    let daemon = Daemon::start(directory, free_port());
    daemon.wait_for_queue_of(count);
    daemon
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and gigabytes: NULLMTA_SCALE says how many messages"]
async fn a_filter_looks_through_very_many_messages() {
    let many: usize = std::env::var("NULLMTA_SCALE").map_or(100_000, |many| many.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon_with(&directory.path().join("many"), many).await;
    for words in ["--from nobody@*", "--to *@nowhere.example", "--uid 7", "--older-than 30d", "--state dead"]
    {
        let begun = Instant::now();
        let out = daemon.queue_list().args(words.split(' ')).output().unwrap();
        println!("{many} messages, {words}: {:.2?}", begun.elapsed());
        assert!(out.status.success() && out.stdout.is_empty(), "{out:?}");
    }
}

/// Lists the `count` messages of a queue; the most memory that it took the client for the first half.
fn list(daemon: &Daemon, count: usize) -> u64 {
    let mut client = daemon.queue_list().stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
    let half = lines.by_ref().take(count / 2).filter(|line| line.as_ref().unwrap().starts_with('{')).count();
    let peak = figure(client.id(), "VmHWM");
    assert_eq!(half + lines.count(), count);
    assert!(client.wait().unwrap().success());
    peak
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queued_message_is_little_memory_and_a_listing_streams() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = async |name: &str, count| daemon_with(&directory.path().join(name), count).await;
    let (empty, few, many) = (daemon("empty", 0).await, daemon("few", FEW).await, daemon("many", MANY).await);
    let [memory_of_none, memory_of_many] = [&empty, &many].map(|daemon| figure(daemon.id(), "VmRSS"));
    let each = memory_of_many.saturating_sub(memory_of_none) / MANY as u64;
    assert!(each < 150, "{each} octets for each message");

    // What the start took for a while is not meant: proc_pid_clear_refs(5).
    std::fs::write(format!("/proc/{}/clear_refs", many.id()), "5").unwrap();
    let (peak_of_few, peak_of_many) = (list(&few, FEW), list(&many, MANY));
    let grown = figure(many.id(), "VmHWM").saturating_sub(memory_of_many);
    println!("{each} octets for each message, {grown} in all while they are listed");
    // Buffers, and the stacks of threads that read; a list of all messages in words would be 40 MiB.
    assert!(grown < 4 << 20, "{grown} octets to list them");
    assert!(peak_of_many < peak_of_few + (2 << 20), "the client keeps them: {peak_of_few}, {peak_of_many}");
}
