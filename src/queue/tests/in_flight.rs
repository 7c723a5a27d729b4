//! Copies that the relay may have, and what the log says of them, over kills at any moment: `settlement.rs` has the
//! table, and `reducer/tests/copies.rs` its rows.
//!
//! A run of the queue is a runtime of its own; a kill drops it with all its tasks, and the next run finds what had been
//! written. What is logged while it is dropped is not heard: a killed process says nothing.

mod hidden;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::runtime::{self, Runtime};
use tokio::sync::mpsc::unbounded_channel;

use super::bench::{Bench, DAY, Does, MINUTE, TestRelay};
use crate::queue::testing::captured;
use crate::queue_id::QueueId;
use crate::relay::{Cause, Phase};
use crate::smtp::reply::Reply;
use crate::spool::fs::sim::SimFs;
use crate::spool::{Marks, Options, Spool};
use crate::status::Status;

/// A message's life over several runs.
struct Story {
    fs: SimFs,
    relay: Arc<TestRelay>,
    lines: HashMap<QueueId, usize>,
}

/// The state of a message when a run has ended.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    lines: usize,
    dots: usize,
    /// Number of times that the spool was asked for the mark: as often as `dots`, but for one kill in between.
    marks_asked: usize,
    /// The next run finds a mark of which the spool does not know that it was told.
    hides: bool,
}

impl Account {
    /// Checks what one run, which began with `before`, has added. A line is for a final dot of this run, or for a mark that
    /// it has found; what is at rest when the process is killed is told of or still to be told of once.
    ///
    /// A kill at any other moment may come between the mark and the dot, or between the line and the record that it was
    /// said. The next run cannot know, and says the line: it then has no dot, or is said twice.
    fn check_after(self, before: Account, kill: Kill) {
        let (lines, dots) = (self.lines - before.lines, self.dots - before.dots);
        let due = dots + usize::from(before.hides);
        let is_marked = before.hides || self.marks_asked > before.marks_asked;
        assert!(lines <= due, "a line without a dot: {before:?}, {self:?}, {kill:?}");
        assert!(is_marked || !self.hides, "a mark that nobody asked for: {before:?}, {self:?}, {kill:?}");
        if kill == Kill::AtRest {
            let told = lines + usize::from(self.hides);
            assert!(told <= due, "two lines for one dot: {before:?}, {self:?}");
        }
    }
}

/// The moment at which a run is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kill {
    /// Nothing happens any more without time passing.
    AtRest,
    AtAnyMoment,
}

impl Story {
    fn new() -> Self {
        Story { fs: SimFs::new(), relay: TestRelay::new(), lines: HashMap::new() }
    }

    /// The life of a message so far: in its first run the relay was silent behind the final dot. It takes mail from now
    /// on.
    fn after_silence() -> (Self, QueueId) {
        let mut story = Story::new();
        story.relay.always(is_silent());
        let id = story.run(async |bench| {
            let id = bench.submit("app@example.org", &["ann@example.net"]).await;
            bench.until_told(|_| bench.relay.dots(id).0 > 0).await;
            id
        });
        story.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
        (story, id)
    }

    /// One run, ended by kill -9 when `deeds` are done.
    fn run<T>(&mut self, deeds: impl AsyncFnOnce(&Bench) -> T) -> T {
        let runtime: Runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (log, logging) = captured();
        let (bench, done) = runtime.block_on(async {
            let bench = Bench::simulated_with(&self.fs, self.relay.clone());
            let done = deeds(&bench).await;
            (bench, done)
        });
        for line in log.text().lines() {
            if let Some((head, _)) = line.split_once(": possible duplicate") {
                let id = head.split_whitespace().last().unwrap().parse().unwrap();
                *self.lines.entry(id).or_default() += 1;
            }
        }
        self.fs = self.fs.image(1);
        drop(logging);
        drop(runtime);
        drop(bench);
        done
    }

    /// Returns what the next start finds of each message.
    fn found(&self) -> HashMap<QueueId, Marks> {
        let options = Options { segment_size: 1 << 20, ..Options::at(Path::new("/spool")) };
        let (sender, _arrivals) = unbounded_channel();
        let (_spool, recovery) = Spool::open(options, Arc::new(self.fs.image(1)), sender).unwrap();
        recovery.entries.iter().map(|entry| (entry.id, entry.marks)).collect()
    }

    /// Returns the state of each message that was told of, or that the next start finds.
    fn accounts(&self) -> HashMap<QueueId, Account> {
        let found = self.found();
        let account = |id: &QueueId| Account {
            lines: self.lines(*id),
            dots: self.relay.dots(*id).0,
            marks_asked: self.relay.marks_asked(*id),
            hides: found.get(id).is_some_and(|marks| marks.hides_duplicate()),
        };
        self.lines.keys().chain(found.keys()).map(|id| (*id, account(id))).collect()
    }

    fn lines(&self, id: QueueId) -> usize {
        self.lines.get(&id).copied().unwrap_or_default()
    }
}

fn leaves_at_dot() -> Does {
    Does::Breaks(Phase::Dot, Cause::Reply(Reply::new(421, Status::transient(3, 2), "going down")))
}

fn is_silent() -> Does {
    Does::Stalls(Phase::Dot, 1000 * DAY)
}

/// Time passes until nothing is left but refused bounces. What was held or lost is tried at once.
async fn settle(bench: &Bench) {
    for _ in 0..1000 {
        bench.clock.advance(10 * MINUTE);
        let status = bench.until(|_| true).await;
        if status.live == status.dead {
            return;
        }
        bench.queue.probe_now();
    }
    panic!("something is left");
}

fn does() -> impl Strategy<Value = Does> {
    prop_oneof![
        Just(Does::Says(vec!["250 2.0.0 ok"])),
        Just(Does::Says(vec!["250 2.0.0 ok", "450 4.2.1 busy"])),
        Just(Does::Says(vec!["450 4.2.1 busy"])),
        Just(Does::Says(vec!["450 4.2.1 busy", "550 5.1.1 no such user"])),
        Just(Does::SaysAtRcpt(vec!["450 4.2.1 busy"])),
        Just(Does::SaysAtRcpt(vec!["550 5.1.1 no such user", "450 4.2.1 busy"])),
        Just(Does::Leaves),
        Just(Does::Breaks(Phase::Content, Cause::Closed)),
        Just(Does::Breaks(Phase::Dot, Cause::Closed)),
        Just(leaves_at_dot()),
        Just(is_silent()),
    ]
}

/// One run: what the relay does, how many minutes pass, how many turns the tasks have in each of them, and whether it is
/// killed in the midst of things.
type Life = (Vec<Does>, u8, u16, Kill);

fn lives() -> impl Strategy<Value = Vec<Life>> {
    let kill = prop_oneof![Just(Kill::AtRest), Just(Kill::AtAnyMoment)];
    vec((vec(does(), 1..6), 0u8..90, 0u16..120, kill), 1..6)
}

/// Plays one run, in which a message is submitted.
async fn live(bench: &Bench, (_, minutes, turns, kill): &Life) -> QueueId {
    let id = bench.submit("app@example.org", &["ann@example.net", "ben@example.net"]).await;
    for _ in 0..=*minutes {
        bench.clock.advance(MINUTE);
        for _ in 0..*turns {
            tokio::task::yield_now().await;
        }
    }
    if *kill == Kill::AtRest {
        bench.until_nothing_happens().await;
    }
    id
}

/// Plays it, and gives the relay time to take the rest.
fn play(lives: &[Life]) {
    let mut story = Story::new();
    let (mut ids, mut before) = (Vec::new(), HashMap::new());
    for life in lives {
        life.0.iter().for_each(|does| story.relay.once(does.clone()));
        ids.push(story.run(async |bench| live(bench, life).await));
        before = checked(&story, &before, life.3);
    }
    story.relay.forget_script();
    story.run(settle);
    checked(&story, &before, Kill::AtRest);
    for id in ids {
        let (copies, lines) = (story.relay.dots(id).1, story.lines(id));
        assert!(lines + 1 >= copies, "{copies} copies of {id}, {lines} lines");
    }
}

/// Returns the state after a run that began with `before`.
fn checked(story: &Story, before: &HashMap<QueueId, Account>, kill: Kill) -> HashMap<QueueId, Account> {
    let accounts = story.accounts();
    for (id, after) in &accounts {
        after.check_after(before.get(id).copied().unwrap_or_default(), kill);
    }
    accounts
}

/// No history leaves a copy without its line, nor a line without a final dot that may have left a copy, but for what a
/// kill left uncertain ([`Account::check_after`]).
#[test]
fn any_history_has_a_line_for_each_copy() {
    let config = Config { cases: 24, failure_persistence: None, max_shrink_iters: 50, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let played = runner.run(&lives(), |lives| {
        play(&lives);
        Ok(())
    });
    played.unwrap_or_else(|e| panic!("{e}"));
}
