//! Threads that take turns, as a seed says: what depends on their timing is the same in every run.
//!
//! One thread runs at a time. It may lose its turn at every call of the disk and wherever it takes a lock that it shares,
//! and it gives its turn away where it would wait for another thread. Who gets the turn, and how much time has passed
//! meanwhile, is thrown with dice. How often turns change, how often each thread gets one, and how fast the clock runs
//! is thrown once for each [`Turns`]: so some disks are slow, and some threads do nothing before all others
//! wait for them.
//!
//! Promises
//! 1. Behind the same seed, the same threads do the same in the same order, if they share nothing else.
//! 2. Once the turns have ended, by [`Turns::end`], everybody runs as without them.
//!
//! Not here: the places where a turn is given away (`fs/sim.rs`, `stock.rs`, `writer.rs`, `start.rs`).

use std::cell::Cell;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use fastrand::Rng;

thread_local! {
    /// The number of this thread among those that take turns: whoever has begun it is the first.
    static SEAT: Cell<usize> = const { Cell::new(0) };
}

/// The turns of the threads that use one disk; clones are the same.
#[derive(Clone)]
pub struct Turns(Arc<TurnTable>);

struct TurnTable {
    state: Mutex<TurnState>,
    changed: Condvar,
}

struct TurnState {
    dice: Rng,
    seats: Vec<Taker>,
    whose: usize,
    /// The number of opportunities of which one gives the turn away.
    opportunities: u32,
    clock: Instant,
    /// Upper bound, in microseconds, of the time that passes at once.
    pace: u64,
    is_over: bool,
}

/// A thread that takes turns.
struct Taker {
    /// The weight with which it is chosen; with 0 it has a turn only while all others wait.
    weight: u32,
    /// True while it waits for another one, and none has done anything since.
    waits: bool,
    has_ended: bool,
}

/// A place among those that take turns, for a thread that is to begin.
pub struct Seat {
    turns: Turns,
    number: usize,
}

impl Turns {
    /// Returns the turns of the thread that calls and of all threads that it begins.
    pub fn new(seed: u64) -> Turns {
        let mut dice = Rng::with_seed(seed);
        let opportunities = [1, 3, 12, 60][dice.usize(..4)];
        let pace = [0, 100, 10_000, 1_000_000][dice.usize(..4)];
        let mut state = TurnState {
            dice,
            seats: Vec::new(),
            whose: 0,
            opportunities,
            clock: Instant::now(),
            pace,
            is_over: false,
        };
        state.add();
        SEAT.set(0);
        Turns(Arc::new(TurnTable { state: Mutex::new(state), changed: Condvar::new() }))
    }

    /// Returns a place for a thread that the caller begins.
    pub fn seat(&self) -> Seat {
        Seat { turns: self.clone(), number: self.state().add() }
    }

    /// Gives the turn away, perhaps. The caller holds no lock that another thread may wait for.
    pub fn may_change(&self) {
        let mut state = self.state();
        if state.is_over {
            return;
        }
        // Something is done now that another one may wait for.
        state.seats.iter_mut().for_each(|seat| seat.waits = false);
        let opportunities = state.opportunities;
        if state.dice.u32(..opportunities) == 0 {
            self.give_away(state);
        }
    }

    /// Gives the turn to another thread; returns when it is the caller's again. The caller holds no lock.
    pub fn wait(&self) {
        let mut state = self.state();
        state.seats[SEAT.get()].waits = true;
        self.give_away(state);
    }

    /// Returns the time.
    pub fn now(&self) -> Instant {
        self.state().clock
    }

    /// Lets everybody run.
    pub fn end(&self) {
        self.state().is_over = true;
        self.0.changed.notify_all();
    }

    pub fn are_over(&self) -> bool {
        self.state().is_over
    }

    fn give_away(&self, mut state: MutexGuard<'_, TurnState>) {
        state.choose();
        self.0.changed.notify_all();
        self.await_turn(state, SEAT.get());
    }

    fn await_turn(&self, state: MutexGuard<'_, TurnState>, number: usize) {
        let others = |state: &mut TurnState| state.whose != number && !state.is_over;
        drop(self.0.changed.wait_while(state, others).unwrap());
    }

    fn state(&self) -> MutexGuard<'_, TurnState> {
        self.0.state.lock().unwrap()
    }
}

impl TurnState {
    fn add(&mut self) -> usize {
        let weight = [0, 1, 8, 64][self.dice.usize(..4)];
        self.seats.push(Taker { weight, waits: false, has_ended: false });
        self.seats.len() - 1
    }

    /// Gives the turn to another thread, if there is one: to one that does not wait, if there is one.
    fn choose(&mut self) {
        self.clock += Duration::from_micros(self.dice.u64(..=self.pace));
        let mut others = self.others();
        if others.is_empty() {
            self.seats.iter_mut().for_each(|seat| seat.waits = false);
            others = self.others();
        }
        let all: u32 = others.iter().map(|number| self.seats[*number].weight).sum();
        let thrown =
            if all == 0 { self.dice.usize(..others.len().max(1)) as u32 } else { self.dice.u32(..all) };
        let mut below = 0;
        let is_chosen = |number: &usize| {
            below += if all == 0 { 1 } else { self.seats[*number].weight };
            thrown < below
        };
        self.whose = others.into_iter().find(is_chosen).unwrap_or(self.whose);
    }

    /// Returns the threads that may have the turn now in place of the one that has it.
    fn others(&self) -> Vec<usize> {
        let may = |(number, seat): &(usize, &Taker)| *number != self.whose && !seat.waits && !seat.has_ended;
        self.seats.iter().enumerate().filter(may).map(|(number, _)| number).collect()
    }
}

impl Seat {
    /// Waits for the first turn of this thread, whose place it is until what is returned is dropped.
    pub fn take(self) -> Seat {
        SEAT.set(self.number);
        self.turns.await_turn(self.turns.state(), self.number);
        self
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.turns.state();
        state.seats[self.number].has_ended = true;
        if state.whose == self.number {
            state.choose();
        }
        drop(state);
        self.turns.0.changed.notify_all();
    }
}
