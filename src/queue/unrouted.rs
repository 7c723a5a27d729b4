//! The messages whose relays are not known yet: those that have arrived, and all of them after a start or a reload with
//! other routes.
//!
//! Promises: a message is here, or with one relay at least. The relays of some hundred messages are looked up at a time,
//! in the order in which their submitters take turns; what arrives does not wait for the end of an earlier queue. A
//! reload makes the answer to an earlier question void.
//!
//! A reload costs little, however many messages there are: the rosters of all relays come here as they are, and are
//! emptied from look-up to look-up. That is why not each message is looked up when it is next sent: it would wait for a
//! relay that may be paused, and that is not its own any more.
//!
//! Pure. Not here: looking up (`routes.rs`), who gets the messages (`relays.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::patience::PatienceReading;
use super::roster::{Aside, Member, Roster, Standing, StandingCounts};
use crate::queue_id::QueueId;
use crate::spool::{Entry, EntryState};

/// The number of messages that are looked up at a time.
const AT_A_TIME: usize = 256;
/// The number of places among them that arrivals cannot take from older messages.
const FOR_FORMER: usize = 64;

/// The roster of a relay whose messages are routed anew.
struct Former {
    roster: Roster,
    /// The relay's clocks at the reload.
    reading: PatienceReading,
}

/// The messages whose relays are not known yet. Their patience stands: the clocks of a roster here show nothing.
#[derive(Default)]
pub(super) struct Unrouted {
    fresh: Roster,
    former: Vec<Former>,
    /// The messages whose relays are being looked up.
    asked: BTreeMap<QueueId, Member>,
    /// The number of the last look-up.
    lookup: u64,
    /// The messages that some relay has held.
    held: BTreeSet<QueueId>,
}

/// A message whose relays were found.
pub(super) struct Found {
    pub(super) member: Member,
    /// True if a relay has held it.
    pub(super) was_held: bool,
}

impl Unrouted {
    /// Takes in a message that was committed or recovered, and has used so much of its patience.
    pub(super) fn admit(&mut self, entry: &Entry, patience_used: Duration, now: Timestamp) {
        self.fresh.admit(entry, patience_used, now);
        if entry.marks.state() == EntryState::Held {
            self.held.insert(entry.id);
        }
    }

    /// Takes in a message that a relay had whose clocks are at `reading`.
    pub(super) fn add(
        &mut self,
        id: QueueId,
        member: Member,
        reading: PatienceReading,
        was_held: bool,
        now: Timestamp,
    ) {
        self.fresh.adopt(id, member, reading, now);
        if was_held {
            self.held.insert(id);
        }
    }

    /// Takes in all messages of a relay, of which it has held these, at the time at which its clocks show this.
    pub(super) fn add_all(
        &mut self,
        roster: Roster,
        held: impl IntoIterator<Item = QueueId>,
        reading: PatienceReading,
    ) {
        self.former.push(Former { roster, reading });
        self.held.extend(held);
    }

    /// Forgets the look-up that is under way: its answer goes by other routes.
    pub(super) fn route_anew(&mut self, now: Timestamp) {
        self.lookup += 1;
        std::mem::take(&mut self.asked)
            .into_iter()
            .for_each(|(id, member)| self.fresh.adopt(id, member, PatienceReading::default(), now));
    }

    /// Makes every deferred message ready.
    pub(super) fn wake_all(&mut self, now: Timestamp) {
        self.fresh.wake_all(now);
        self.former.iter_mut().for_each(|former| former.roster.wake_all(now));
        for member in self.asked.values_mut() {
            if matches!(member.standing, Standing::Waiting(_) | Standing::Elsewhere(Aside::Waiting(_))) {
                member.begins(Standing::Ready, PatienceReading::default());
            }
        }
    }

    /// Returns the next look-up, with its number; `None` if one is under way, or if there is nothing to look up.
    pub(super) fn next_lookup(&mut self) -> Option<(u64, Vec<QueueId>)> {
        if !self.asked.is_empty() {
            return None;
        }
        self.ask_fresh(AT_A_TIME - FOR_FORMER);
        self.ask_former();
        self.ask_fresh(AT_A_TIME);
        if self.asked.is_empty() {
            return None;
        }
        self.lookup += 1;
        Some((self.lookup, self.asked.keys().copied().collect()))
    }

    fn ask_fresh(&mut self, most: usize) {
        while self.asked.len() < most
            && let Some((id, member)) = self.fresh.take_out()
        {
            self.asked.insert(id, member);
        }
    }

    fn ask_former(&mut self) {
        while self.asked.len() < AT_A_TIME
            && let Some(Former { roster, reading }) = self.former.last_mut()
        {
            match roster.take_out() {
                Some((id, member)) => {
                    self.asked.insert(id, member.at_clocks(*reading, PatienceReading::default()));
                }
                None => drop(self.former.pop()),
            }
        }
    }

    /// Takes out a message whose relays were found by this look-up; `None` if it is not asked for any more.
    pub(super) fn found(&mut self, lookup: u64, id: QueueId) -> Option<Found> {
        if lookup != self.lookup {
            return None;
        }
        let member = self.asked.remove(&id)?;
        Some(Found { member, was_held: self.held.remove(&id) })
    }

    /// Returns what is remembered of this message.
    pub(super) fn member(&self, id: QueueId) -> Option<&Member> {
        self.asked.get(&id).or_else(|| self.rosters().find_map(|roster| roster.member(id)))
    }

    /// Returns the rosters of the messages that are not being looked up.
    pub(super) fn rosters(&self) -> impl Iterator<Item = &Roster> {
        std::iter::once(&self.fresh).chain(self.former.iter().map(|former| &former.roster))
    }

    /// Returns the number of messages in each state.
    pub(super) fn counts(&self) -> StandingCounts {
        let mut counts = StandingCounts::default();
        self.rosters().for_each(|roster| counts += roster.counts());
        self.asked.values().for_each(|member| counts.more(member.standing));
        counts
    }

    /// Returns the number of messages that are being looked up.
    pub(super) fn asked(&self) -> usize {
        self.asked.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::testing::entry;

    /// A flush right after a reload with other routes left what was deferred as it was.
    #[test]
    fn what_is_deferred_is_woken_wherever_it_waits_for_its_relays() {
        let now = Timestamp::UNIX_EPOCH;
        let deferred = |number| {
            let mut roster = Roster::default();
            roster.admit(&entry(number), Duration::ZERO, now);
            roster.defer(QueueId::from_raw(number), Timestamp::from_second(3600).unwrap(), now);
            roster
        };
        let mut unrouted = Unrouted::default();
        unrouted.add_all(deferred(1), [], PatienceReading::default());
        let (lookup, asked) = unrouted.next_lookup().unwrap();
        unrouted.add_all(deferred(2), [], PatienceReading::default());
        let (_, fresh) = deferred(3).expel(QueueId::from_raw(3)).unwrap();
        unrouted.add(QueueId::from_raw(3), fresh, PatienceReading::default(), false, now);
        unrouted.wake_all(now);
        for number in 1..=3 {
            let member = unrouted.member(QueueId::from_raw(number)).unwrap();
            assert_eq!(member.standing, Standing::Ready, "{number}");
        }
        let found = asked.into_iter().map(|id| unrouted.found(lookup, id).unwrap().member.standing);
        assert_eq!(found.collect::<Vec<_>>(), [Standing::Ready]);
    }
}
