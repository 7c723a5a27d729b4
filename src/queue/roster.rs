//! The live messages of one relay, and what each is doing: the queue's memory.
//!
//! Promises: a message is in exactly one [`Standing`] at a time; one that is under way is given to nobody else. A
//! million messages fit: an entry takes 40 octets, in a tree that grows with the queue and never has to be built anew,
//! as a hash table would in the middle of a flood.
//!
//! Messages with losses are not in the lanes: they are given out last, and each on a connection of its own.
//!
//! A ready message that is taken out of its turn leaves its name in the lane, so that taking it out needs no search. When
//! it is ready again it has its place by that name, and gets no second one; a name that stands for no ready message costs
//! nobody a turn, is counted nowhere, and is thrown away when there are too many of them.
//!
//! While a sender is stopped (`roster/refused_senders.rs`), none of its messages is ready but the one that is tried: what is
//! ready then is held, and so is later what arrives or becomes ready. The spool does not hear of that.
//!
//! Pure: time is an argument. Not here: the length of a pause (`schedule.rs`), the messages themselves (`spool/`).

mod counts;
mod member;
mod refused_senders;
mod senders;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use jiff::Timestamp;

use super::lanes::{Lanes, short_name};
use super::patience::{PatienceClocks, PatienceOf, PatienceReading};
use crate::queue_id::QueueId;
use crate::spool::{Entry, EntryState};
pub use counts::StandingCounts;
pub use member::{Aside, Member, Standing};
use member::{to_hundredths, to_seconds};
use refused_senders::RefusedSenders;
pub use refused_senders::{RefusedSender, SenderNews, SenderRefusal, SenderRuling};

/// The number of messages that are looked at to find one that may be given out of its turn.
const LOOKED_AT: usize = 64;
/// The number of names in the lanes, beyond two for each ready message, at which those are thrown away that stand for none.
const SPARE_NAMES: usize = 64;

/// The live messages of one relay.
#[derive(Debug, Default)]
pub struct Roster {
    members: BTreeMap<QueueId, Member>,
    counts: StandingCounts,
    /// The names of all ready messages without losses, and some others.
    lanes: Lanes,
    /// The ready messages with losses, by the time since which they have been ready.
    lost: BTreeSet<(u32, QueueId)>,
    /// The deferred messages, by the second at which they are due.
    waiting: BTreeSet<(u32, QueueId)>,
    senders: RefusedSenders,
    dead: BTreeSet<QueueId>,
    /// Every message of a lower id is dead or on hold; `None` if that is not known of any.
    oldest_from: Option<QueueId>,
    clocks: PatienceClocks,
}

impl Roster {
    /// Returns the number of live messages.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Returns the number of messages in each state.
    pub fn counts(&self) -> StandingCounts {
        self.counts
    }

    /// Returns the number of messages that are under way.
    pub fn under_way(&self) -> usize {
        self.counts.under_way
    }

    /// Returns the newest dead message.
    pub fn newest_dead(&self) -> Option<QueueId> {
        self.dead.last().copied()
    }

    /// Returns when the oldest message was accepted that is neither dead nor on hold.
    pub fn oldest(&mut self) -> Option<Timestamp> {
        let id = self.oldest_awaited()?;
        Timestamp::from_second(self.member(id)?.arrived.into()).ok()
    }

    /// Returns the oldest message that is neither dead nor on hold. What is found to be so is not looked at again, so that a
    /// million messages on hold cost one walk.
    fn oldest_awaited(&mut self) -> Option<QueueId> {
        let from = self.oldest_from.map_or(Bound::Unbounded, Bound::Included);
        let mut left = self.members.range((from, Bound::Unbounded));
        let found = left.find(|(_, member)| member.standing.is_awaited()).map(|(id, _)| *id);
        self.oldest_from = found.or(self.members.last_key_value().map(|(id, _)| *id));
        found
    }

    /// Returns the number of ready messages without losses.
    pub fn ready(&self) -> usize {
        self.counts.ready - self.lost.len()
    }

    /// Returns whether a message with losses is ready.
    pub fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Returns whether a message is ready, with losses or without.
    pub fn has_ready(&self) -> bool {
        self.counts.ready > 0
    }

    /// Returns what is remembered of this message.
    pub fn member(&self, id: QueueId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// Returns whether a connection may have this message now.
    pub fn is_ready(&self, id: QueueId) -> bool {
        self.member(id).is_some_and(|member| member.standing == Standing::Ready)
    }

    /// Lets the patience of these messages run from `now` on.
    pub fn run_patience(&mut self, patience: PatienceOf, now: Timestamp) {
        self.clocks.run(patience, now);
    }

    /// Returns what the clocks of patience show.
    pub fn reading(&self, now: Timestamp) -> PatienceReading {
        self.clocks.at(now)
    }

    /// Gives the message all of its patience again: it was held, and could not be sent until somebody acted.
    pub fn begin_patience(&mut self, id: QueueId, now: Timestamp) {
        let reading = self.reading(now);
        self.update(id, |member| member.set_patience_used(Duration::ZERO, reading));
    }

    /// Takes in a message that has been committed or recovered, and has used so much of its patience; an active one is ready
    /// at once.
    pub fn admit(&mut self, entry: &Entry, patience_used: Duration, now: Timestamp) {
        let standing = match entry.marks.state() {
            EntryState::Active => Standing::Ready,
            EntryState::Held => Standing::Held,
            EntryState::Dead => Standing::Dead,
            EntryState::OnHold => Standing::OnHold,
        };
        let mut member = Member {
            standing,
            lane: short_name(entry.lane),
            from: entry.from,
            arrived: to_seconds(entry.arrived),
            patience_mark: 0,
            ready_since: to_hundredths(now),
            marks: entry.marks,
            losses: 0,
            // Of an earlier run it is only known whether there are any.
            copies: u8::from(entry.marks.may_have_arrived()),
            is_named: false,
        };
        if self.member(entry.id).is_none() {
            member.set_patience_used(patience_used, self.reading(now));
            self.take_in(entry.id, member);
        }
    }

    /// Takes in a message that another roster has had whose clocks were at `there`, and that is not under way.
    pub fn adopt(&mut self, id: QueueId, member: Member, there: PatienceReading, now: Timestamp) {
        let standing = match member.standing {
            Standing::UnderWay | Standing::Elsewhere(Aside::Ready) => Standing::Ready,
            Standing::Elsewhere(Aside::Waiting(due)) => Standing::Waiting(due),
            Standing::Elsewhere(Aside::Held) => Standing::Held,
            known => known,
        };
        self.remove(id);
        let mut adopted = member.at_clocks(there, self.reading(now));
        adopted.begins(standing, self.reading(now));
        self.take_in(id, Member { is_named: false, ready_since: to_hundredths(now), ..adopted });
    }

    /// Takes in a message that does what `member` says.
    fn take_in(&mut self, id: QueueId, member: Member) {
        self.members.insert(id, member);
        self.enter(id);
    }

    /// Removes a message that is not under way, and returns it: one of those that are ready, by their turn, or else the
    /// oldest one.
    pub fn take_out(&mut self) -> Option<(QueueId, Member)> {
        if let Some(id) = self.pop() {
            return self.expel(id);
        }
        let rest = self.members.iter().find(|(_, member)| member.standing != Standing::UnderWay);
        let id = rest.map(|(id, _)| *id)?;
        self.expel(id)
    }

    /// Removes this message, and returns it.
    pub fn expel(&mut self, id: QueueId) -> Option<(QueueId, Member)> {
        self.leave(id);
        let member = self.members.remove(&id)?;
        self.senders.forget(id, member.from);
        Some((id, member))
    }

    /// Returns whether the message is under way.
    pub fn is_under_way(&self, id: QueueId) -> bool {
        self.member(id).is_some_and(|member| member.standing == Standing::UnderWay)
    }

    /// Returns the names of all messages.
    pub fn ids(&self) -> impl Iterator<Item = QueueId> {
        self.members.keys().copied()
    }

    /// Splits off all messages that are not under way, and keeps the others. The clocks of what is split off stand.
    pub fn split_off_idle(&mut self, now: Timestamp) -> Roster {
        let under_way = self.members.iter().filter(|(_, member)| member.standing == Standing::UnderWay);
        let under_way: Vec<(QueueId, Member)> = under_way.map(|(id, member)| (*id, *member)).collect();
        let mut idle = std::mem::take(self);
        self.clocks = idle.clocks.clone();
        idle.clocks.run(PatienceOf::None, now);
        for (id, member) in under_way {
            self.take_in(id, Member { is_named: false, ..member });
        }
        Roster { counts: StandingCounts { under_way: 0, ..idle.counts }, ..idle }.without(self.ids())
    }

    /// Returns the same roster without the memory of these messages, which it does not count any more.
    fn without(mut self, ids: impl Iterator<Item = QueueId>) -> Roster {
        ids.for_each(|id| _ = self.members.remove(&id));
        self
    }

    /// Notes that another relay has the message now.
    pub fn set_aside(&mut self, id: QueueId) {
        let aside = match self.members.get(&id).map(|member| member.standing) {
            Some(Standing::Ready) => Aside::Ready,
            Some(Standing::Waiting(due)) => Aside::Waiting(due),
            Some(Standing::Held) => Aside::Held,
            _ => return,
        };
        // It is measured by the same clock as before.
        self.leave(id);
        self.members.entry(id).and_modify(|member| member.standing = Standing::Elsewhere(aside));
        self.enter(id);
    }

    /// Notes that no other relay has the message any more.
    pub fn take_back(&mut self, id: QueueId, now: Timestamp) {
        match self.members.get(&id).map(|member| member.standing) {
            Some(Standing::Elsewhere(Aside::Ready)) => self.make_ready(id, now),
            Some(Standing::Elsewhere(Aside::Waiting(due))) => self.change(id, Standing::Waiting(due), now),
            Some(Standing::Elsewhere(Aside::Held)) => self.hold(id, now),
            _ => {}
        }
    }

    /// Gives out this message before its turn, if it is ready.
    pub fn take_named(&mut self, id: QueueId, now: Timestamp) -> Option<(QueueId, Member)> {
        if !self.is_ready(id) {
            return None;
        }
        self.change(id, Standing::UnderWay, now);
        self.member(id).map(|member| (id, *member))
    }

    /// Gives out a ready message without losses that is not `kept` for others: the one at this place of all, or one
    /// close behind it.
    pub fn take_amid(
        &mut self,
        place: usize,
        kept: impl Fn(QueueId) -> bool,
        now: Timestamp,
    ) -> Option<(QueueId, Member)> {
        let id = {
            let mut near = self.lanes.behind_place(place).take(LOOKED_AT);
            near.find(|id| self.is_ready_with(*id, false) && !kept(*id))?
        };
        self.take_named(id, now)
    }

    /// Gives out the newest ready message without losses that is not `kept` for others, if it is newer than `known`.
    pub fn take_newest(
        &mut self,
        known: Option<QueueId>,
        kept: impl Fn(QueueId) -> bool,
        now: Timestamp,
    ) -> Option<(QueueId, Member)> {
        let newest = self.members.keys().rev().take(LOOKED_AT).copied();
        let mut newer = newest.take_while(|id| known.is_none_or(|known| *id > known));
        let id = newer.find(|id| self.is_ready_with(*id, false) && !kept(*id))?;
        self.take_named(id, now)
    }

    /// Gives out the next ready message without losses that is not `kept` for others.
    pub fn take(&mut self, kept: impl Fn(QueueId) -> bool, now: Timestamp) -> Option<(QueueId, Member)> {
        let mut passed_over = Vec::new();
        let taken = loop {
            match self.pop() {
                Some(id) if kept(id) => passed_over.push(id),
                found => break found.and_then(|id| self.take_named(id, now)),
            }
        };
        passed_over.into_iter().for_each(|id| self.join_lane(id));
        taken
    }

    /// Gives out the next ready message with losses.
    pub fn take_lost(&mut self, now: Timestamp) -> Option<(QueueId, Member)> {
        let (_, id) = *self.lost.first()?;
        self.take_named(id, now)
    }

    /// Returns whether the message is ready with losses, or without them: its name may stand in a place that it has
    /// left.
    fn is_ready_with(&self, id: QueueId, losses: bool) -> bool {
        let member = self.member(id);
        member.is_some_and(|member| member.is_ready_with(losses))
    }

    /// Takes the next name out of the lanes that stands for a ready message without losses.
    fn pop(&mut self) -> Option<QueueId> {
        let Roster { lanes, members, .. } = self;
        lanes.pop(|id| {
            let Some(member) = members.get_mut(&id) else { return false };
            member.is_named = false;
            member.is_ready_with(false)
        })
    }

    /// Puts the name of the message at the end of its lane, unless it stands there already.
    fn join_lane(&mut self, id: QueueId) {
        let Some(member) = self.members.get_mut(&id).filter(|member| !member.is_named) else { return };
        member.is_named = true;
        self.lanes.push(member.lane.into(), member.from, id);
        if self.lanes.len() > 2 * self.ready() + SPARE_NAMES {
            self.tidy();
        }
    }

    /// Throws the names away that stand for no ready message.
    fn tidy(&mut self) {
        let Roster { lanes, members, .. } = self;
        lanes.retain(|id| {
            let Some(member) = members.get_mut(&id) else { return false };
            member.is_named = member.is_ready_with(false);
            member.is_named
        });
    }

    /// Defers the message until `until`.
    pub fn defer(&mut self, id: QueueId, until: Timestamp, now: Timestamp) {
        self.change(id, Standing::Waiting(to_seconds(until)), now);
    }

    /// Makes the message ready again, since nothing was said about it; one that another relay has is ready when that gives it
    /// back.
    pub fn put_back(&mut self, id: QueueId, now: Timestamp) {
        match self.member(id).map(|member| member.standing) {
            Some(Standing::Elsewhere(_)) => self.change(id, Standing::Elsewhere(Aside::Ready), now),
            _ => self.make_ready(id, now),
        }
    }

    /// Returns whether the message is held, or will be when another relay gives it back.
    pub fn is_held(&self, id: QueueId) -> bool {
        let standing = self.member(id).map(|member| member.standing);
        matches!(standing, Some(Standing::Held | Standing::Elsewhere(Aside::Held)))
    }

    /// Holds the message: it stays, and is not tried again by itself.
    pub fn hold(&mut self, id: QueueId, now: Timestamp) {
        self.change(id, Standing::Held, now);
    }

    /// Puts the message on hold for an operator: only an operator has it tried again.
    pub fn put_on_hold(&mut self, id: QueueId, now: Timestamp) {
        self.change(id, Standing::OnHold, now);
    }

    /// Takes the message out of everybody's hands while an order about it is carried out. Returns what it was doing.
    pub fn take_up(&mut self, id: QueueId, now: Timestamp) -> Option<(Member, Standing)> {
        let was = self.member(id)?.standing;
        self.change(id, Standing::UnderWay, now);
        Some((*self.member(id)?, was))
    }

    /// Has the message do again what it did before an order about it.
    pub fn restore(&mut self, id: QueueId, was: Standing, now: Timestamp) {
        match was {
            Standing::Ready => self.make_ready(id, now),
            other => self.change(id, other, now),
        }
    }

    /// Marks the message as dead: it stays, and is not tried again.
    pub fn give_up(&mut self, id: QueueId, now: Timestamp) {
        self.change(id, Standing::Dead, now);
    }

    /// Removes the message.
    pub fn remove(&mut self, id: QueueId) {
        self.expel(id);
    }

    /// Changes what is remembered of the message, except for its standing.
    pub fn update(&mut self, id: QueueId, change: impl FnOnce(&mut Member)) {
        // The place of a ready message depends on its losses.
        self.leave(id);
        self.members.entry(id).and_modify(change);
        self.enter(id);
    }

    /// Makes every deferred message ready whose time has come.
    pub fn wake_due(&mut self, now: Timestamp) {
        while let Some(&(due, id)) = self.waiting.first() {
            if due > to_seconds(now) {
                break;
            }
            self.put_back(id, now);
        }
    }

    /// Makes every deferred message ready.
    pub fn wake_all(&mut self, now: Timestamp) {
        while let Some(&(_, id)) = self.waiting.first() {
            self.put_back(id, now);
        }
    }

    /// Makes this message ready if it is deferred and another relay has it: it is tried when that gives it back.
    pub fn wake_set_aside(&mut self, id: QueueId, now: Timestamp) {
        let standing = self.member(id).map(|member| member.standing);
        if matches!(standing, Some(Standing::Elsewhere(Aside::Waiting(_)))) {
            self.put_back(id, now);
        }
    }

    /// Returns when [`Roster::wake_due`] next has something to do.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.waiting.first().and_then(|(due, _)| Timestamp::from_second((*due).into()).ok())
    }

    fn make_ready(&mut self, id: QueueId, now: Timestamp) {
        self.leave(id);
        self.members.entry(id).and_modify(|member| member.ready_since = to_hundredths(now));
        self.begin(id, Standing::Ready, now);
    }

    fn change(&mut self, id: QueueId, standing: Standing, now: Timestamp) {
        self.leave(id);
        self.begin(id, standing, now);
    }

    fn begin(&mut self, id: QueueId, standing: Standing, now: Timestamp) {
        let reading = self.reading(now);
        self.members.entry(id).and_modify(|member| member.begins(standing, reading));
        self.enter(id);
    }

    /// Takes the message out of the count and the list of its state. What follows is [`Roster::enter`], or its removal.
    fn leave(&mut self, id: QueueId) {
        let Some(member) = self.members.get(&id) else { return };
        self.counts.less(member.standing);
        self.senders.goes_on(id, member.from);
        match member.standing {
            Standing::Ready => drop(self.lost.remove(&(member.ready_since, id))),
            Standing::Waiting(due) => drop(self.waiting.remove(&(due, id))),
            Standing::Dead => drop(self.dead.remove(&id)),
            Standing::UnderWay | Standing::Held | Standing::OnHold | Standing::Elsewhere(_) => {}
        }
    }

    /// Takes the message into the count and the list of its state. What would be ready of a sender that is stopped is held,
    /// and is measured by the same clock.
    fn enter(&mut self, id: QueueId) {
        let Some(member) = self.members.get_mut(&id) else { return };
        if member.standing == Standing::Ready && self.senders.stops(id, member.from) {
            member.standing = Standing::Held;
        }
        let standing = member.standing;
        if standing.is_awaited() {
            self.oldest_from = self.oldest_from.map(|from| from.min(id));
        }
        self.counts.more(standing);
        match standing {
            Standing::Ready if member.losses > 0 => drop(self.lost.insert((member.ready_since, id))),
            Standing::Ready => self.join_lane(id),
            Standing::Waiting(due) => drop(self.waiting.insert((due, id))),
            Standing::Dead => {
                self.senders.forget(id, member.from);
                self.dead.insert(id);
            }
            Standing::Held | Standing::Elsewhere(Aside::Held) => self.senders.waits(id, member.from),
            Standing::UnderWay | Standing::OnHold | Standing::Elsewhere(Aside::Ready | Aside::Waiting(_)) => {
            }
        }
    }
}

#[cfg(test)]
mod tests;
