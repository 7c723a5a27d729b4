//! The live messages of one relay, and what each is doing: the queue's memory.
//!
//! Promises: a message is in exactly one [`Standing`] at a time; one that is under way is given to nobody else. A
//! million messages fit: an entry takes 40 octets, in a tree that grows with the queue and never has to be built anew,
//! as a hash table would in the middle of a flood.
//!
//! Messages with losses are not in the lanes: they are given out last, and each on a connection of its own.
//!
//! A ready message that is taken out of its turn leaves its old name in the lane, and `take` passes over it, so that
//! taking a message out needs no search.
//!
//! Pure: time is an argument. Not here: the length of a pause (`schedule.rs`), the messages themselves (`spool/`).

mod member;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;

use super::lanes::Lanes;
use crate::queue_id::QueueId;
use crate::spool::{Entry, EntryState};
pub use member::{Aside, Member, Standing};
use member::{to_hundredths, to_seconds};

/// The number of messages that are looked at to find one that may be given out of its turn.
const LOOKED_AT: usize = 64;

/// The live messages of one relay.
#[derive(Debug, Default)]
pub struct Roster {
    members: BTreeMap<QueueId, Member>,
    lanes: Lanes,
    /// The ready messages with losses; the one that has been ready longest is first.
    lost: VecDeque<QueueId>,
    /// The deferred messages, by the second at which they are due.
    waiting: BTreeSet<(u32, QueueId)>,
    under_way: usize,
    held: usize,
    dead: BTreeSet<QueueId>,
}

impl Roster {
    /// Returns the number of live messages.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Returns the number of messages that are under way.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// Returns the number of held messages.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Returns the number of dead messages.
    pub fn dead(&self) -> usize {
        self.dead.len()
    }

    /// Returns the newest dead message.
    pub fn newest_dead(&self) -> Option<QueueId> {
        self.dead.last().copied()
    }

    /// Returns the number of deferred messages.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns the number of ready messages without losses. Old names may make it too large, never too small.
    pub fn ready(&self) -> usize {
        self.lanes.len()
    }

    /// Returns whether a message with losses is ready. Old names may make this wrongly true, never wrongly false.
    pub fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Returns whether a message is ready, with losses or without. Old names may make this wrongly true.
    pub fn has_ready(&self) -> bool {
        self.ready() > 0 || self.has_lost()
    }

    /// Returns what is remembered of this message.
    pub fn member(&self, id: QueueId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// Returns whether a connection may have this message now.
    pub fn is_ready(&self, id: QueueId) -> bool {
        self.member(id).is_some_and(|member| member.standing == Standing::Ready)
    }

    /// Takes in a message that has been committed or recovered; an active one is ready at once.
    pub fn admit(&mut self, entry: &Entry, now: Timestamp) {
        let standing = match entry.marks.state() {
            EntryState::Active => Standing::Ready,
            EntryState::Held => Standing::Held,
            EntryState::Dead => Standing::Dead,
        };
        let member = Member {
            standing,
            lane: entry.lane,
            arrived: to_seconds(entry.arrived),
            patience_mark: i32::try_from(entry.patience_mark).unwrap_or(i32::MAX),
            ready_since: to_hundredths(now),
            marks: entry.marks,
            losses: 0,
            // Of an earlier run it is only known whether there are any.
            copies: u8::from(entry.marks.may_have_arrived()),
        };
        if self.members.insert(entry.id, member).is_some() {
            return;
        }
        match standing {
            Standing::Ready => self.lanes.push(entry.lane, entry.id),
            Standing::Held => self.held += 1,
            Standing::Dead => drop(self.dead.insert(entry.id)),
            Standing::UnderWay | Standing::Waiting(_) | Standing::Elsewhere(_) => {}
        }
    }

    /// Takes in a message that another roster has had, and that is not under way.
    pub fn adopt(&mut self, id: QueueId, member: Member, now: Timestamp) {
        self.members.insert(id, Member { standing: Standing::Ready, ..member });
        match member.standing {
            Standing::Ready | Standing::UnderWay | Standing::Elsewhere(Aside::Ready) => {
                self.make_ready(id, now)
            }
            Standing::Waiting(due) | Standing::Elsewhere(Aside::Waiting(due)) => self.wait(id, due),
            Standing::Held | Standing::Elsewhere(Aside::Held) => self.hold(id),
            Standing::Dead => self.give_up(id),
        }
    }

    /// Removes a message that is not under way, and returns it: one of those that are ready, by their turn, or else the
    /// oldest one.
    pub fn take_out(&mut self) -> Option<(QueueId, Member)> {
        while let Some(id) = self.lanes.pop() {
            if self.is_ready(id) {
                return self.expel(id);
            }
        }
        let rest = self.members.iter().find(|(_, member)| member.standing != Standing::UnderWay);
        let id = rest.map(|(id, _)| *id)?;
        self.expel(id)
    }

    /// Removes this message, and returns it.
    pub fn expel(&mut self, id: QueueId) -> Option<(QueueId, Member)> {
        self.leave(id);
        self.members.remove(&id).map(|member| (id, member))
    }

    /// Returns whether the message is under way.
    pub fn is_under_way(&self, id: QueueId) -> bool {
        self.member(id).is_some_and(|member| member.standing == Standing::UnderWay)
    }

    /// Returns the names of all messages.
    pub fn ids(&self) -> impl Iterator<Item = QueueId> {
        self.members.keys().copied()
    }

    /// Splits off all messages that are not under way, and keeps the others.
    pub fn split_off_idle(&mut self) -> Roster {
        let under_way = self.members.iter().filter(|(_, member)| member.standing == Standing::UnderWay);
        let under_way: Vec<(QueueId, Member)> = under_way.map(|(id, member)| (*id, *member)).collect();
        under_way.iter().for_each(|(id, _)| self.remove(*id));
        let kept = Roster {
            under_way: under_way.len(),
            members: under_way.into_iter().collect(),
            ..Roster::default()
        };
        std::mem::replace(self, kept)
    }

    /// Notes that another relay has the message now.
    pub fn set_aside(&mut self, id: QueueId) {
        let aside = match self.members.get(&id).map(|member| member.standing) {
            Some(Standing::Ready) => Aside::Ready,
            Some(Standing::Waiting(due)) => Aside::Waiting(due),
            Some(Standing::Held) => Aside::Held,
            _ => return,
        };
        self.leave(id);
        self.members.entry(id).and_modify(|member| member.standing = Standing::Elsewhere(aside));
    }

    /// Notes that no other relay has the message any more.
    pub fn take_back(&mut self, id: QueueId, now: Timestamp) {
        match self.members.get(&id).map(|member| member.standing) {
            Some(Standing::Elsewhere(Aside::Ready)) => self.make_ready(id, now),
            Some(Standing::Elsewhere(Aside::Waiting(due))) => self.wait(id, due),
            Some(Standing::Elsewhere(Aside::Held)) => self.hold(id),
            _ => {}
        }
    }

    fn wait(&mut self, id: QueueId, due: u32) {
        if let Some(member) = self.members.get_mut(&id) {
            member.standing = Standing::Waiting(due);
            self.waiting.insert((due, id));
        }
    }

    /// Gives out this message before its turn, if it is ready.
    pub fn take_named(&mut self, id: QueueId) -> Option<(QueueId, Member)> {
        let member = self.members.get_mut(&id).filter(|member| member.standing == Standing::Ready)?;
        member.standing = Standing::UnderWay;
        self.under_way += 1;
        Some((id, *member))
    }

    /// Gives out a ready message without losses that is not `kept` for others: the one at this place of all, or one
    /// close behind it.
    pub fn take_amid(&mut self, place: usize, kept: impl Fn(QueueId) -> bool) -> Option<(QueueId, Member)> {
        let id = {
            let mut near = self.lanes.behind_place(place).take(LOOKED_AT);
            near.find(|id| self.is_ready_with(*id, false) && !kept(*id))?
        };
        self.take_named(id)
    }

    /// Gives out the newest ready message without losses that is not `kept` for others, if it is newer than `known`.
    pub fn take_newest(
        &mut self,
        known: Option<QueueId>,
        kept: impl Fn(QueueId) -> bool,
    ) -> Option<(QueueId, Member)> {
        let newest = self.members.keys().rev().take(LOOKED_AT).copied();
        let mut newer = newest.take_while(|id| known.is_none_or(|known| *id > known));
        let id = newer.find(|id| self.is_ready_with(*id, false) && !kept(*id))?;
        self.take_named(id)
    }

    /// Gives out the next ready message without losses that is not `kept` for others.
    pub fn take(&mut self, kept: impl Fn(QueueId) -> bool) -> Option<(QueueId, Member)> {
        let mut passed_over = Vec::new();
        let mut taken = None;
        while taken.is_none() {
            let Some(id) = self.lanes.pop() else { break };
            if kept(id) {
                passed_over.push(id);
            } else {
                taken = self.begin(id, false).map(|member| (id, member));
            }
        }
        for id in passed_over {
            if let Some(member) = self.members.get(&id).filter(|member| member.standing == Standing::Ready) {
                self.lanes.push(member.lane, id);
            }
        }
        taken
    }

    /// Gives out the next ready message with losses.
    pub fn take_lost(&mut self) -> Option<(QueueId, Member)> {
        while let Some(id) = self.lost.pop_front() {
            if let Some(member) = self.begin(id, true) {
                return Some((id, member));
            }
        }
        None
    }

    /// Returns whether the message is ready with losses, or without them: its name may stand in a place that it has
    /// left.
    fn is_ready_with(&self, id: QueueId, losses: bool) -> bool {
        let member = self.member(id);
        member.is_some_and(|member| member.standing == Standing::Ready && (member.losses > 0) == losses)
    }

    /// Gives out the message, if it is ready with losses, or without them.
    fn begin(&mut self, id: QueueId, losses: bool) -> Option<Member> {
        if !self.is_ready_with(id, losses) {
            return None;
        }
        let member = self.members.get_mut(&id)?;
        member.standing = Standing::UnderWay;
        self.under_way += 1;
        Some(*member)
    }

    /// Defers the message until `until`.
    pub fn defer(&mut self, id: QueueId, until: Timestamp) {
        self.leave(id);
        self.wait(id, to_seconds(until));
    }

    /// Makes the message ready again, since nothing was said about it; one that another relay has is ready when that gives it
    /// back.
    pub fn put_back(&mut self, id: QueueId, now: Timestamp) {
        self.leave(id);
        match self.members.get_mut(&id) {
            Some(Member { standing: Standing::Elsewhere(aside), .. }) => *aside = Aside::Ready,
            _ => self.make_ready(id, now),
        }
    }

    /// Returns whether the message is held, or will be when another relay gives it back.
    pub fn is_held(&self, id: QueueId) -> bool {
        let standing = self.member(id).map(|member| member.standing);
        matches!(standing, Some(Standing::Held | Standing::Elsewhere(Aside::Held)))
    }

    /// Holds the message: it stays, and is not tried again by itself.
    pub fn hold(&mut self, id: QueueId) {
        self.leave(id);
        if let Some(member) = self.members.get_mut(&id) {
            member.standing = Standing::Held;
            self.held += 1;
        }
    }

    /// Marks the message as dead: it stays, and is not tried again.
    pub fn give_up(&mut self, id: QueueId) {
        self.leave(id);
        if let Some(member) = self.members.get_mut(&id) {
            member.standing = Standing::Dead;
            self.dead.insert(id);
        }
    }

    /// Removes the message.
    pub fn remove(&mut self, id: QueueId) {
        self.leave(id);
        self.members.remove(&id);
    }

    /// Changes what is remembered of the message, except for its standing.
    pub fn update(&mut self, id: QueueId, change: impl FnOnce(&mut Member)) {
        if let Some(member) = self.members.get_mut(&id) {
            change(member);
        }
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
        if let Some(member) = self.members.get_mut(&id) {
            member.standing = Standing::Ready;
            member.ready_since = to_hundredths(now);
            if member.losses == 0 { self.lanes.push(member.lane, id) } else { self.lost.push_back(id) }
        }
    }

    /// Takes the message out of the count or list of its standing.
    fn leave(&mut self, id: QueueId) {
        match self.members.get(&id).map(|member| member.standing) {
            Some(Standing::UnderWay) => self.under_way -= 1,
            Some(Standing::Waiting(due)) => {
                self.waiting.remove(&(due, id));
            }
            Some(Standing::Held) => self.held -= 1,
            Some(Standing::Dead) => drop(self.dead.remove(&id)),
            Some(Standing::Ready | Standing::Elsewhere(_)) | None => {}
        }
    }
}

#[cfg(test)]
mod tests;
