//! Soundings: whether the next message that is tried comes from the front of the queue or from elsewhere.
//!
//! Many bad messages that stand together in front look like a relay that serves nobody, as long as only the front is
//! tried. So after a message has met trouble, others are taken from elsewhere for a while.
//!
//! Promises:
//! 1. After each trouble, until the relay has answered [`WARY`] messages, the first message that is tried comes from
//!    elsewhere, and so does every other one after it, and the first one after each answer.
//! 2. The newest message is tried next if it arrived after the last one that was tried as the newest, unless that was
//!    the one before. So a message that arrives among bad ones need not wait until its place is found.
//! 3. The places of the others are spread over the whole queue, whatever its length: any `n` of them in a row leave no
//!    gap longer than three parts in `n` of it.
//! 4. Without trouble, all messages come from the front.
//!
//! Pure. Not here: whose fault the trouble is (`suspects.rs`, `refusals/want_of_login.rs`), the queue (`roster.rs`).

use crate::queue_id::QueueId;

/// The number of messages that the relay has to answer until the front of the queue is trusted again.
const WARY: u8 = 16;
/// The golden ratio as a part of 2^64: the fractions of its multiples are spread evenly.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The place from which the next message is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NextPlace {
    /// True if the newest message comes before any other, provided that it is newer than [`Soundings::newest`].
    pub(super) may_be_newest: bool,
    /// The place among all ready messages; `None` for the front.
    pub(super) place: Option<usize>,
}

/// The soundings in the queue of one relay.
#[derive(Debug, Default)]
pub(super) struct Soundings {
    /// The number of answers that are awaited yet.
    wary: u8,
    /// The number of messages that were tried since the last answer.
    since_answer: usize,
    /// The number of places that were chosen so far.
    places: u64,
    /// The last message that was tried as the newest.
    newest: Option<QueueId>,
    /// True if no message was tried after `newest`.
    was_newest: bool,
}

impl Soundings {
    /// Returns the place from which the next message is taken, if so many are `ready`.
    pub(super) fn next(&mut self, ready: usize) -> NextPlace {
        if self.wary == 0 {
            return NextPlace { may_be_newest: false, place: None };
        }
        let may_be_newest = !std::mem::take(&mut self.was_newest);
        self.since_answer += 1;
        let is_front = self.since_answer.is_multiple_of(2);
        NextPlace { may_be_newest, place: if is_front { None } else { Some(self.next_place(ready)) } }
    }

    fn next_place(&mut self, ready: usize) -> usize {
        self.places += 1;
        let share = u128::from(GOLDEN.wrapping_mul(self.places));
        // It is less than `ready`.
        ((share * ready as u128) >> 64) as usize
    }

    /// Returns the last message that was tried as the newest.
    pub(super) fn newest(&self) -> Option<QueueId> {
        self.newest
    }

    /// Notes that this message is tried now as the newest.
    pub(super) fn tries_newest(&mut self, id: QueueId) {
        (self.newest, self.was_newest) = (Some(id), true);
    }

    /// Takes in that a message has met trouble, whoever is at fault.
    pub(super) fn met_trouble(&mut self) {
        self.wary = WARY;
    }

    /// Takes in that the relay has answered a transaction.
    pub(super) fn relay_answered(&mut self) {
        self.wary = self.wary.saturating_sub(1);
        self.since_answer = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_1_and_4_every_other_one_from_the_first_on_until_enough_are_answered() {
        let mut soundings = Soundings::default();
        let have_places = |soundings: &mut Soundings| -> Vec<bool> {
            (0..5).map(|_| soundings.next(1000).place.is_some()).collect()
        };
        assert_eq!(have_places(&mut soundings), [false; 5]);
        assert!(!soundings.next(1000).may_be_newest);
        soundings.met_trouble();
        for _ in 0..WARY {
            assert_eq!(have_places(&mut soundings), [true, false, true, false, true]);
            soundings.relay_answered();
        }
        assert_eq!(have_places(&mut soundings), [false; 5]);
        soundings.met_trouble();
        assert!(soundings.next(1).place.is_some());
    }

    #[test]
    fn promise_2_the_newest_is_tried_next_unless_that_was_the_last_one() {
        let mut soundings = Soundings::default();
        soundings.met_trouble();
        for raw in 1..10 {
            assert!(soundings.next(1000).may_be_newest);
            soundings.tries_newest(QueueId::from_raw(raw));
            assert_eq!(soundings.newest().map(QueueId::raw), Some(raw));
            assert!(!soundings.next(1000).may_be_newest);
        }
        assert!(soundings.next(1000).may_be_newest);
        assert!(soundings.next(1000).may_be_newest, "there was no newer one");
    }

    #[test]
    fn promise_3_the_places_are_spread_over_the_queue() {
        for (ready, soundings) in [(1, 10), (7, 20), (1000, 20), (1000, 100), (1_000_000, 50)] {
            for before in [0, 1, 10, 1000] {
                let mut all = Soundings { wary: 1, places: before, ..Soundings::default() };
                let tried = (0..2 * soundings).filter_map(|_| all.next(ready).place);
                let mut places: Vec<usize> = tried.chain([0, ready]).collect();
                places.sort_unstable();
                let longest = places.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
                assert!(longest <= 3 * ready / soundings + 1, "{ready} {soundings} {before}: {longest}");
                assert!(places[..places.len() - 1].iter().all(|place| *place < ready));
            }
        }
    }
}
