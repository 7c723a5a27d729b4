//! The index knows where every live message is and what has been recorded of it: the sum of all records in all segments.
//!
//! Promises
//! 1. [`Index::apply`] is the only way to change it, with the changes in the order of their records; so what
//!    the writer keeps and what recovery rebuilds are the same.
//! 2. Every record about a message stands behind the message in the segments, and a record that moves the
//!    message carries them all. So while segments go oldest first, a segment in which no message
//!    lives is needed by nobody, whatever outcomes stand in it.
//! 3. A message takes 24 octets in a B-tree and nothing else, until it has an outcome or a note, or is put on hold, or assigned to a
//!    route.
//!
//! Changes about a message that is not there are ignored: it was settled, or its record is damaged.
//! Not here: locks (`shared.rs`), what follows from the sums (`space.rs`), reading what is at a place (`read.rs`).

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use super::change::{Carried, IndexChange};
use super::entry::IndexedMessage;
use super::format::record_length;
use super::ledger::{Fate, Fates};
use super::marks::{EntryState, Flight, Mark, Marks};
use super::payload::DsnEffect;
use super::space::{Oldest, Sums};
use super::users::{LiveByUser, UserNumber};
use crate::queue_id::QueueId;

/// Upper bound, in octets, of what a Moved record adds to the Message payload, not counting fates, note, hold and route
/// (`payload.rs`).
const MOVED_MORE: u64 = 16;
/// Number of octets that one outcome takes in a Moved record.
const MOVED_FATE: u64 = 5;

/// The place of a record: its segment, its offset there, and the length of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordPlace {
    pub segment: u32,
    pub offset: u32,
    pub payload_length: u32,
}

/// The entry that the index keeps for every live message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub place: RecordPlace,
    pub marks: Marks,
    pub user: UserNumber,
}

/// The outcomes, the note and the hold that have been recorded for a message since it was committed. Few messages have any.
#[derive(Clone, Debug, Default)]
pub(super) struct Extra {
    pub fates: Fates,
    /// The place of the last note; `None` if there is none behind the message's own record.
    pub note: Option<RecordPlace>,
    /// The place of the State that has put the message on hold; `None` if it is not on hold, or its own record says so.
    pub hold: Option<RecordPlace>,
    /// The place of the State that has assigned the message to a route; `None` if there is none behind its own record.
    pub route: Option<RecordPlace>,
}

impl Extra {
    /// Returns the number of octets that it takes in a Moved record.
    fn octets(&self) -> u64 {
        let octets = |place: Option<RecordPlace>| place.map_or(0, |place| u64::from(place.payload_length));
        octets(self.note) + octets(self.hold) + octets(self.route) + MOVED_FATE * self.fates.len() as u64
    }
}

/// The sums of what is in one segment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SegmentTally {
    /// The number of messages that live in it.
    pub live: u32,
    /// The sum of the octets of their records.
    pub live_octets: u64,
    /// The sum of the octets, in Moved records, of the outcomes and notes that follow their own records.
    extra_octets: u64,
    /// The length of the file, in octets.
    pub size: u64,
    /// The lowest and the highest id that ever lived in it: all messages that live in it are between them.
    ids: Option<(QueueId, QueueId)>,
}

impl SegmentTally {
    /// Returns an upper bound, in octets, of what a move of all that lives in it takes elsewhere.
    fn moved(&self) -> u64 {
        self.live_octets + self.extra_octets + u64::from(self.live) * MOVED_MORE
    }

    fn as_oldest(&self, sequence: u32) -> Oldest {
        Oldest { sequence, size: self.size, moved: self.moved() }
    }
}

/// Holds every live message with its place and marks, and the sums of each segment.
#[derive(Debug, Default)]
pub(super) struct Index {
    slots: BTreeMap<QueueId, Slot>,
    extras: HashMap<QueueId, Extra>,
    segments: BTreeMap<u32, SegmentTally>,
    /// The sum of the octets of all segments.
    size: u64,
    /// The sum of the octets of all records of live messages.
    live_octets: u64,
    users: LiveByUser,
}

impl Index {
    /// Returns the number of live messages.
    pub fn len(&self) -> u64 {
        self.slots.len() as u64
    }

    /// Returns the number of live messages of this user.
    pub fn live_of(&self, uid: u32) -> u64 {
        self.users.live(uid)
    }

    /// Returns the user of a message, if it is known.
    pub fn uid_of(&self, slot: Slot) -> Option<u32> {
        self.users.uid(slot.user)
    }

    /// Returns the place and the marks of a message; `None` if no live message has this id.
    pub fn slot(&self, id: QueueId) -> Option<Slot> {
        self.slots.get(&id).copied()
    }

    /// Returns the outcomes and the note that are recorded for a message; they are empty if there are none.
    pub fn extra(&self, id: QueueId) -> Extra {
        self.extras.get(&id).cloned().unwrap_or_default()
    }

    /// Returns the `count` live messages that follow `after`, or the first ones, in the order of their ids.
    pub fn following(&self, after: Option<QueueId>, count: usize) -> Vec<IndexedMessage> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let found = self.slots.range((start, Bound::Unbounded)).take(count);
        found.map(|(id, slot)| IndexedMessage { id: *id, uid: self.uid_of(*slot) }).collect()
    }

    /// Returns those of these messages that are live.
    pub fn indexed(&self, ids: &[QueueId]) -> Vec<IndexedMessage> {
        let known = |id: &QueueId| Some(IndexedMessage { id: *id, uid: self.uid_of(self.slot(*id)?) });
        ids.iter().filter_map(known).collect()
    }

    /// Returns the messages that live in `segment`, in the order of their ids, from `from` on or from the first one. It looks
    /// at `look` messages at most; when there may be more, the second part says where to go on.
    pub fn live_in(
        &self,
        segment: u32,
        from: Option<QueueId>,
        look: usize,
    ) -> (Vec<QueueId>, Option<QueueId>) {
        let Some(ids) = self.segments.get(&segment).and_then(|tally| tally.ids) else {
            return (Vec::new(), None);
        };
        let first = from.map_or(ids.0, |from| from.max(ids.0));
        if first > ids.1 {
            return (Vec::new(), None);
        }
        let mut there = self.slots.range(first..=ids.1);
        let looked = there.by_ref().take(look);
        let here = looked.filter(|(_, slot)| slot.place.segment == segment).map(|(id, _)| *id).collect();
        (here, there.next().map(|(id, _)| *id))
    }

    /// Returns the live messages that have this mark.
    pub fn with_mark(&self, mark: Mark) -> Vec<QueueId> {
        self.slots.iter().filter(|(_, slot)| slot.marks.has(mark)).map(|(id, _)| *id).collect()
    }

    /// Returns the numbers of all segments, oldest first.
    pub fn segments(&self) -> Vec<u32> {
        self.segments.keys().copied().collect()
    }

    /// Returns the sums of segment `sequence`.
    pub fn tally(&self, sequence: u32) -> SegmentTally {
        self.segments.get(&sequence).copied().unwrap_or_default()
    }

    /// Adds a segment of `size` octets, or changes the size of one that is there.
    pub fn begin_segment(&mut self, sequence: u32, size: u64) {
        let before = std::mem::replace(&mut self.segments.entry(sequence).or_default().size, size);
        self.size = self.size + size - before;
    }

    /// Notes that segment `sequence` has `size` octets, if it had fewer.
    pub fn grow_segment(&mut self, sequence: u32, size: u64) {
        if size > self.tally(sequence).size {
            self.begin_segment(sequence, size);
        }
    }

    /// Takes out the oldest segments in which nothing lives, and returns their numbers, oldest first. The newest segment is
    /// never among them: its header may be the only one left that says which spool this is.
    pub fn take_dead_segments(&mut self) -> Vec<u32> {
        let newest = self.segments.last_key_value().map(|(sequence, _)| *sequence);
        let mut dead = Vec::new();
        while let Some(first) = self.segments.first_entry() {
            if first.get().live > 0 || Some(*first.key()) == newest {
                break;
            }
            let (sequence, tally) = first.remove_entry();
            self.size -= tally.size;
            dead.push(sequence);
        }
        dead
    }

    /// Returns the sums of all segments while segment `active` is written.
    pub fn sums(&self, active: u32) -> Sums {
        let open: u64 = self.segments.range(active..).map(|(_, tally)| tally.size).sum();
        let oldest = self.segments.first_key_value().filter(|(sequence, _)| **sequence != active);
        Sums {
            live: self.live_octets,
            closed: self.size - open,
            active_moved: self.tally(active).moved(),
            oldest: oldest.map(|(sequence, tally)| tally.as_oldest(*sequence)),
        }
    }

    /// Returns an upper bound, in octets, of what a move of all that lives in segment `sequence` would take, if
    /// `records` more lived there that have `octets` together.
    pub fn moved_with(&self, sequence: u32, records: u64, octets: u64) -> u64 {
        self.tally(sequence).moved() + records * MOVED_MORE + octets
    }

    /// Returns the oldest segment, which may be the active one.
    pub fn oldest(&self) -> Oldest {
        let first = self.segments.first_key_value();
        first.map_or(Oldest::default(), |(sequence, tally)| tally.as_oldest(*sequence))
    }

    /// Returns the sum of the octets of the records of all live messages.
    pub fn live_octets(&self) -> u64 {
        self.live_octets
    }

    /// Applies the change of the record at `place`. Returns true when the large file of the message is needed no more.
    pub fn apply(&mut self, id: QueueId, place: RecordPlace, change: &IndexChange) -> bool {
        match change {
            IndexChange::Arrive { effect, marks, uid } => {
                self.put(id, place, *uid);
                self.with(id, |slot| slot.marks = *marks);
                self.apply_effect(effect);
            }
            IndexChange::Move(carried) => self.carry(id, place, carried),
            IndexChange::Close(fates) => self.close(id, fates),
            IndexChange::Settle => return self.remove(id),
            IndexChange::State(state) => self.set_state(id, place, *state),
            IndexChange::Reopen => self.reopen(id),
            IndexChange::Assign => self.with_extra(id, |extra| extra.route = Some(place)),
            IndexChange::Note { .. } => self.note(id, place),
            IndexChange::InFlight(flight) => self.with(id, |slot| slot.marks.set_flight(*flight)),
            IndexChange::CleanEnd => {}
        }
        false
    }

    /// Takes a message out: it is settled, or its record cannot be read any more. Returns whether it had a large file.
    pub fn remove(&mut self, id: QueueId) -> bool {
        let extra = self.extras.remove(&id).unwrap_or_default();
        let Some(slot) = self.slots.remove(&id) else { return false };
        self.count(slot.place, false);
        self.users.leaves(slot.user);
        self.segments.entry(slot.place.segment).or_default().extra_octets -= extra.octets();
        slot.marks.has(Mark::Large)
    }

    fn put(&mut self, id: QueueId, place: RecordPlace, uid: Option<u32>) {
        self.remove(id);
        let user = self.users.arrives(uid);
        self.slots.insert(id, Slot { place, marks: Marks::default(), user });
        self.count(place, true);
        let ids = &mut self.segments.entry(place.segment).or_default().ids;
        *ids = Some(ids.map_or((id, id), |(low, high)| (low.min(id), high.max(id))));
    }

    fn carry(&mut self, id: QueueId, place: RecordPlace, carried: &Carried) {
        self.put(id, place, carried.uid);
        self.with(id, |slot| slot.marks = carried.marks);
        if !carried.fates.is_empty() {
            self.with_extra(id, |extra| extra.fates = carried.fates.clone());
        }
    }

    fn apply_effect(&mut self, effect: &DsnEffect) {
        match effect {
            DsnEffect::Nothing => {}
            DsnEffect::Closes { of, recipients } => {
                let fates: Fates = recipients.iter().map(|index| (*index, Fate::Bounced)).collect();
                self.close(*of, &fates);
                self.bury_no_more(*of);
            }
            DsnEffect::Warns { of } => self.mark(*of, Mark::Warned, true),
        }
    }

    fn close(&mut self, id: QueueId, fates: &Fates) {
        if fates.is_empty() {
            return;
        }
        self.with(id, |slot| slot.marks.set_flight(Flight::Over));
        self.with_extra(id, |extra| {
            for (index, fate) in fates {
                match extra.fates.iter_mut().find(|(other, _)| other == index) {
                    None => extra.fates.push((*index, *fate)),
                    // Somebody could be told of it after all.
                    Some((_, known)) if *known == Fate::Dead && *fate == Fate::Bounced => *known = *fate,
                    Some(_) => {}
                }
            }
        });
    }

    /// Has a dead message be one to be settled, if none of its recipients is dead any more.
    fn bury_no_more(&mut self, id: QueueId) {
        let has_dead =
            self.extras.get(&id).is_some_and(|extra| extra.fates.iter().any(|(_, fate)| *fate == Fate::Dead));
        self.with(id, |slot| {
            if slot.marks.state() == EntryState::Dead && !has_dead {
                slot.marks.set_state(EntryState::Active);
            }
        });
    }

    fn set_state(&mut self, id: QueueId, place: RecordPlace, state: EntryState) {
        self.with(id, |slot| slot.marks.set_state(state));
        let hold = (state == EntryState::OnHold).then_some(place);
        if hold.is_some() || self.extras.contains_key(&id) {
            self.with_extra(id, |extra| extra.hold = hold);
        }
    }

    fn reopen(&mut self, id: QueueId) {
        self.with(id, |slot| slot.marks.set_state(EntryState::Held));
        self.with_extra(id, |extra| {
            extra.fates.retain(|(_, fate)| *fate != Fate::Dead);
            extra.hold = None;
        });
    }

    fn note(&mut self, id: QueueId, place: RecordPlace) {
        self.mark(id, Mark::Deferred, true);
        self.with(id, |slot| slot.marks.set_flight(Flight::Over));
        self.with_extra(id, |extra| extra.note = Some(place));
    }

    fn mark(&mut self, id: QueueId, mark: Mark, on: bool) {
        self.with(id, |slot| slot.marks.set(mark, on));
    }

    fn with(&mut self, id: QueueId, change: impl FnOnce(&mut Slot)) {
        if let Some(slot) = self.slots.get_mut(&id) {
            change(slot);
        }
    }

    /// Applies `change` to the outcomes and the note of a live message.
    fn with_extra(&mut self, id: QueueId, change: impl FnOnce(&mut Extra)) {
        let Some(slot) = self.slots.get(&id) else { return };
        let extra = self.extras.entry(id).or_default();
        let before = extra.octets();
        change(extra);
        let tally = self.segments.entry(slot.place.segment).or_default();
        tally.extra_octets = tally.extra_octets + extra.octets() - before;
    }

    fn count(&mut self, place: RecordPlace, arrives: bool) {
        let tally = self.segments.entry(place.segment).or_default();
        let octets = u64::from(record_length(place.payload_length));
        if arrives {
            tally.live += 1;
            tally.live_octets += octets;
            self.live_octets += octets;
        } else {
            // `put` has counted in at the same place everything that is counted out here.
            tally.live -= 1;
            tally.live_octets -= octets;
            self.live_octets -= octets;
        }
    }
}

#[cfg(test)]
mod tests;
