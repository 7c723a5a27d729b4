//! Random histories on a full disk: mail of mixed sizes until it is refused, with starts in between in some, room that
//! somebody else takes, then or while mail is still taken, and gives back later, starts after a kill, and deliveries in
//! any order, some with a deferral before. None may find no
//! room for its outcome, however late the threads of the spool are: they take turns as the seed says (`fs/sim/turns.rs`),
//! so that a seed fails always or never.
//!
//! A longer run: `NULLMTA_FULL_CASES=5000 cargo test --lib spool::tests::full::history`, from another seed on with
//! `NULLMTA_FULL_FIRST`.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use fastrand::Rng;

use super::*;

const CASES: u64 = 60;

struct History {
    dice: Rng,
    limit: Limit,
    options: Options,
    rig: Rig,
    queued: Vec<QueueId>,
    starts_while_it_fills: bool,
    others_come_while_it_fills: bool,
    /// The events so far, in words, for the reader of a failure.
    told: String,
}

impl History {
    fn new(seed: u64) -> History {
        let mut dice = Rng::with_seed(seed);
        let (name, limit) = LIMITS[dice.usize(..LIMITS.len())];
        let octets = dice.u64(2..14) * SEGMENT + dice.u64(..SEGMENT);
        // Segments all of one size, or growing.
        let options = Options { first_segment: [SEGMENT, SEGMENT / 3][dice.usize(..2)], ..options() };
        let told = format!("seed {seed}: {name} of {octets}, segments from {}", options.first_segment);
        let rig = open_in_turns(SimFs::new(), &options, &mut dice);
        rig.spool.make_ready();
        let [starts_while_it_fills, others_come_while_it_fills] = [dice.bool(), dice.bool()];
        limit(&rig.fs, octets);
        History {
            dice,
            limit,
            options,
            rig,
            queued: Vec::new(),
            starts_while_it_fills,
            others_come_while_it_fills,
            told,
        }
    }

    fn tell(&mut self, what: &str) {
        self.told += &format!("; {} queued, {what}", self.queued.len());
    }

    /// Lets the threads of the spool have their turns until `future` is ready.
    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        let (mut future, turns) = (pin!(future), fs::Fs::turns(&self.rig.fs).unwrap());
        loop {
            match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(result) => return result,
                Poll::Pending => turns.wait(),
            }
        }
    }

    fn fill(&mut self) {
        let longest = self.dice.usize(100..3900);
        loop {
            let content = content(self.queued.len(), self.dice.usize(10..longest));
            match self.wait(self.rig.try_commit(&content, envelope(1))) {
                Ok(committed) => {
                    self.queued.push(committed.id());
                    if self.starts_while_it_fills && self.dice.u8(..64) == 0 {
                        self.start_again();
                    }
                    if self.others_come_while_it_fills && self.dice.u8(..64) == 0 {
                        self.others_take_the_rest();
                    }
                }
                Err(error) => return assert_eq!(error, CommitError::Full, "{}", self.told),
            }
        }
    }

    fn others_take_the_rest(&mut self) {
        self.tell("others take the rest");
        (self.limit)(&self.rig.fs, self.rig.fs.used());
    }

    fn others_give_some_back(&mut self) {
        let octets = self.dice.u64(..4 * SEGMENT);
        self.tell(&format!("others give {octets} back"));
        (self.limit)(&self.rig.fs, self.rig.fs.used() + octets);
    }

    fn start_again(&mut self) {
        self.tell("start");
        let rig = open_in_turns(self.rig.fs.image(1), &self.options, &mut self.dice);
        self.end_turns();
        self.rig = rig;
        assert_eq!(self.rig.ids(), self.queued, "{}", self.told);
    }

    /// Lets the threads of this run end when their spool is closed.
    fn end_turns(&self) {
        fs::Fs::turns(&self.rig.fs).into_iter().for_each(|turns| turns.end());
    }

    /// Returns the names of the segments and how many octets each has.
    fn segments(&self) -> Vec<(String, usize)> {
        let octets =
            |name: &String| self.rig.fs.content(&Path::new("/spool/log").join(name)).map_or(0, |s| s.len());
        self.rig.names("log").into_iter().map(|name| (name.clone(), octets(&name))).collect()
    }

    /// Delivers some of what is queued.
    fn drain(&mut self) {
        let (count, order) = (self.dice.usize(..=self.queued.len()), self.dice.u8(..3));
        self.tell(&format!("deliver {count} in order {order}"));
        for step in 0..count {
            if step == 0 && self.dice.bool() || self.dice.u8(..) == 0 {
                self.start_again();
            }
            let at = match order {
                0 => 0,
                1 => self.queued.len() - 1,
                _ => self.dice.usize(..self.queued.len()),
            };
            let id = self.queued[at];
            if self.dice.u8(..8) == 0 {
                self.wait(self.rig.spool.note_replies(id, &replies("450 4.2.0 later")));
            }
            if self.dice.u8(..64) == 0 {
                self.rig.spool.look();
            }
            let delivered = self.wait(deliver(&self.rig, id));
            assert_eq!(delivered, Ok(()), "{}; number {at} failed, {:?}", self.told, self.segments());
            self.queued.remove(at);
        }
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.end_turns();
    }
}

/// Opens the spool on this disk, whose threads take turns.
fn open_in_turns(fs: SimFs, options: &Options, dice: &mut Rng) -> Rig {
    fs.take_turns(dice.u64(..));
    open_with(&fs, options.clone()).unwrap()
}

/// writer.rs 4, clean.rs 4.
#[test]
fn any_history_on_a_full_disk_drains() {
    let asked = std::env::var("NULLMTA_FULL_CASES").ok();
    let cases = asked.map_or(CASES, |cases| cases.parse().expect("NULLMTA_FULL_CASES is a number"));
    let first = std::env::var("NULLMTA_FULL_FIRST").map_or(0, |first| first.parse().expect("a number"));
    for seed in first..first + cases {
        let mut history = History::new(seed);
        for _ in 0..history.dice.usize(1..4) {
            history.fill();
            if history.dice.bool() {
                history.others_take_the_rest();
            }
            history.drain();
            if history.dice.bool() {
                history.others_give_some_back();
            }
        }
    }
}
