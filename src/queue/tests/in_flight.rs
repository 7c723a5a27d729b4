//! What the log says of copies that the relay may have, over kills: settlement.rs has the table.
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

use super::bench::{Bench, DAY, Does, MINUTE, TestRelay, captured};
use crate::queue_id::QueueId;
use crate::relay::{Cause, Phase};
use crate::smtp::reply::Reply;
use crate::spool::fs::sim::SimFs;
use crate::spool::{EntryState, Marks, Options, Spool};
use crate::status::Status;

/// A message's life over several runs.
struct Story {
    fs: SimFs,
    relay: Arc<TestRelay>,
    lines: HashMap<QueueId, usize>,
}

/// What is known of a message when a run has ended.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    lines: usize,
    dots: usize,
    /// How often the spool was asked for the mark: as often as `dots`, but for one kill in between.
    marks_asked: usize,
    /// Whether the next run finds a mark of which the spool does not know that it was told.
    hides: bool,
}

impl Account {
    /// What one run, which began with `before`, may have added. A line is for a final dot of this run, or for a mark that
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

/// When a run is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kill {
    /// When nothing happens any more without time passing.
    AtRest,
    AtAnyMoment,
}

impl Story {
    fn new() -> Self {
        Story { fs: SimFs::new(), relay: TestRelay::new(), lines: HashMap::new() }
    }

    /// The life of a message from `from` so far: in each of these runs the relay did this with it. It takes mail from now
    /// on.
    fn after(from: &str, runs: &[Does]) -> (Self, QueueId) {
        let mut story = Story::new();
        let first = &runs[0];
        story.relay.always(first.clone());
        let id = story.run(async |bench| {
            let id = bench.submit(from, &["ann@example.net"]).await;
            until_met(bench, id, first, (0, 0)).await;
            id
        });
        for does in &runs[1..] {
            let before = (story.relay.connections(), story.relay.dots(id).0);
            story.relay.always(does.clone());
            story.run(async |bench| until_met(bench, id, does, before).await);
        }
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

    /// What the next start finds of each message.
    fn found(&self) -> HashMap<QueueId, Marks> {
        let options = Options { segment_size: 1 << 20, ..Options::at(Path::new("/spool")) };
        let (sender, _arrivals) = unbounded_channel();
        let (_spool, recovery) = Spool::open(options, Arc::new(self.fs.image(1)), sender).unwrap();
        recovery.entries.iter().map(|entry| (entry.id, entry.marks)).collect()
    }

    /// What the next start finds of this message.
    fn marks(&self, id: QueueId) -> Marks {
        self.found()[&id]
    }

    /// How it stands with each message that was told of, or that the next start finds.
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

/// One line was said for one copy at each start that took the message up, whether it was sent again or not, and for
/// attempts that the relay had answered, or that had never come to their dot.
#[test]
fn each_copy_has_its_line() {
    let busy = || Does::SaysAtRcpt(vec!["450 4.2.1 busy"]);
    let closes = || Does::Breaks(Phase::Dot, Cause::Closed);
    let table: Vec<(&str, Vec<Does>, usize)> = vec![
        ("never in flight", vec![Does::Leaves], 0),
        ("killed behind the mark", vec![is_silent()], 1),
        ("killed twice behind it", vec![is_silent(), is_silent()], 2),
        ("taken up, and not sent again, by two runs", vec![is_silent(), Does::Leaves, Does::Leaves], 1),
        ("deferred before the second dot", vec![is_silent(), busy(), busy()], 1),
        ("lost, which was said", vec![closes()], 1),
        ("lost, and taken up by two runs", vec![closes(), Does::Leaves], 1),
        ("lost, then killed behind a second mark", vec![closes(), is_silent()], 2),
        ("without a report", vec![Does::Panics], 1),
        ("without a report, and taken up by two runs", vec![Does::Panics, Does::Leaves], 1),
        ("answered with 421", vec![leaves_at_dot()], 0),
        ("answered with 421 and taken up by two runs", vec![leaves_at_dot(), Does::Leaves], 0),
        ("answered with 421 after a copy", vec![closes(), leaves_at_dot()], 1),
        ("answered with 450", vec![Does::Says(vec!["450 4.2.1 busy"])], 0),
    ];
    for (what, runs, lines) in table {
        let (mut story, id) = Story::after("app@example.org", &runs);
        story.run(settle);
        assert_eq!(story.lines(id), lines, "{what}");
    }
}

/// What was lost: a copy that the relay may have was forgotten with the next deferral, or by the run after it, and the
/// bounce said that the message had not been delivered.
#[test]
fn a_bounce_says_that_it_may_have_arrived_whatever_came_in_between() {
    let busy = || Does::SaysAtRcpt(vec!["450 4.2.1 busy"]);
    let busy_at_dot = || Does::Says(vec!["450 4.2.1 busy"]);
    let closes = || Does::Breaks(Phase::Dot, Cause::Closed);
    let table: Vec<(&str, Vec<Does>, bool)> = vec![
        ("killed behind the mark", vec![is_silent()], true),
        ("then deferred before its dot", vec![is_silent(), busy()], true),
        ("then deferred at its dot", vec![is_silent(), busy_at_dot()], true),
        ("then deferred by many runs", vec![is_silent(), busy(), busy_at_dot(), busy()], true),
        ("lost", vec![closes()], true),
        ("lost, then deferred", vec![closes(), busy()], true),
        ("lost, then deferred at its dot and left", vec![closes(), busy_at_dot(), Does::Leaves], true),
        ("lost, then answered with 421, then deferred", vec![closes(), leaves_at_dot(), busy()], true),
        ("without a report, then deferred", vec![Does::Panics, busy()], true),
        ("never in flight", vec![Does::Leaves, busy()], false),
        ("answered with 421, then deferred", vec![leaves_at_dot(), busy()], false),
        ("deferred at its dot", vec![busy_at_dot(), busy_at_dot()], false),
    ];
    for (what, runs, expected) in table {
        let (mut story, id) = Story::after("app@example.org", &runs);
        story.relay.always_with(id, Does::SaysAtRcpt(vec!["550 5.1.1 no such user"]));
        story.run(settle);
        let bounce = story.relay.seen().into_iter().find(|seen| seen.from.is_empty()).expect("it bounced");
        let words: Vec<&str> = bounce.content.split_whitespace().collect();
        let says = words.join(" ").contains("it may have been delivered all the same");
        assert_eq!(says, expected, "{what}: {}", bounce.content);
    }
}

/// What was lost: what is dead, since nobody hears of mail from `<>`, was exported as never delivered, though an earlier
/// run had been past its content.
#[test]
fn what_is_dead_may_have_arrived_all_the_same() {
    for (runs, expected) in [(vec![is_silent()], true), (vec![Does::Leaves], false)] {
        let (mut story, id) = Story::after("", &runs);
        story.relay.always_with(id, Does::SaysAtRcpt(vec!["550 5.1.1 no such user"]));
        story.run(settle);
        assert_eq!(
            (story.marks(id).state(), story.marks(id).may_have_arrived()),
            (EntryState::Dead, expected)
        );
    }
}

/// A relay that refuses the second copy has got none, and nobody is asked again.
#[test]
fn what_is_refused_before_its_second_dot_is_no_duplicate() {
    let mut story = Story::new();
    story.relay.always(is_silent());
    let id = story.run(async |bench| {
        let id = bench.submit("app@example.org", &["ann@example.net", "ben@example.net"]).await;
        until_met(bench, id, &is_silent(), (0, 0)).await;
        id
    });
    story.relay.always(Does::Says(vec!["250 2.0.0 ok"]));
    story.relay.always_with(id, Does::SaysAtRcpt(vec!["550 5.1.1 no such user"]));
    story.run(settle);
    assert_eq!((story.lines(id), story.relay.dots(id)), (0, (1, 1)));
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

/// The connections and final dots that there were before.
type Before = (usize, usize);

/// Waits until the relay has done it with this message: with a silent one until the dot is written, else until the
/// queue is at rest behind it.
async fn until_met(bench: &Bench, id: QueueId, does: &Does, (connections, dots): Before) {
    let has_met = || match does {
        Does::Leaves | Does::SaysAtRcpt(_) => bench.relay.connections() > connections,
        _ => bench.relay.dots(id).0 > dots,
    };
    match does {
        Does::Stalls(..) => bench.until_told(|_| has_met()).await,
        _ => drop(bench.until(|_| has_met()).await),
    }
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

/// How it stands after a run that began with `before`.
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
