//! The fate of messages after an attempt: the time of the next one, and the removal of those that are done.
//!
//! Promises: a message leaves the roster only when its removal is recorded; while the spool does not record what a
//! delivery needs, no message is given out.
//!
//! Not here: the length of the pauses (`schedule.rs`), recording itself (`settlement.rs`).

use std::time::Duration;

use jiff::Timestamp;

use super::super::clock::later;
use super::super::recording::Recording;
use super::super::roster::Member;
use super::{AtRelay, Disposition, Effect, LogLine, Reducer};
use crate::queue_id::QueueId;
use crate::spool::{CommitError, Mark};

impl AtRelay<'_> {
    pub(super) fn became(&mut self, id: QueueId, disposition: Disposition) {
        let now = self.shared.now.steady;
        self.forget(id, disposition);
        let told_alone = self.relay.told_alone.remove(&id);
        match disposition {
            Disposition::Removed => self.relay.roster.remove(id),
            Disposition::Dead => self.relay.roster.give_up(id, now),
            // Since it was refused, the relay has taken another message of its sender.
            Disposition::Held if !self.relay.refusals.is_held(id) => self.relay.roster.put_back(id, now),
            Disposition::Held => {
                self.relay.roster.hold(id, now);
                self.try_due();
            }
            Disposition::Untried if self.relay.want_of_login.waits(id) && !self.relay.is_paused() => {
                self.try_lost_again(id, told_alone);
            }
            Disposition::OnHold => self.relay.roster.put_on_hold(id, now),
            Disposition::Released => self.released(id),
            Disposition::Untried | Disposition::Unchanged | Disposition::Routed => {
                self.relay.roster.put_back(id, now)
            }
            Disposition::Lost { warned } => {
                self.relay.roster.update(id, |member| member.marks = member.marks.and(Mark::Warned, warned));
                self.try_lost_again(id, told_alone);
            }
            Disposition::Served => self.relay.roster.put_back(id, now),
            Disposition::Postponed => self.defer(id, Duration::ZERO),
            Disposition::Deferred { warned, named } => self.deferred(id, warned, named.unwrap_or_default()),
        }
    }

    /// Forgets what the relay's state has about this message and does not need any more.
    fn forget(&mut self, id: QueueId, disposition: Disposition) {
        let relay = &mut *self.relay;
        if matches!(disposition, Disposition::Removed | Disposition::Dead) {
            relay.forget_met(id);
        }
        if !matches!(disposition, Disposition::Lost { .. } | Disposition::Untried) {
            relay.met_overlong.remove(&id);
        }
        if disposition != Disposition::Untried {
            relay.throttle.has_been_judged(id);
        }
        match disposition {
            Disposition::Removed
            | Disposition::Dead
            | Disposition::Held
            | Disposition::OnHold
            | Disposition::Released
            | Disposition::Routed => relay.want_of_login.forget(id),
            Disposition::Deferred { .. } => relay.want_of_login.deferred(id),
            Disposition::Untried
            | Disposition::Lost { .. }
            | Disposition::Served
            | Disposition::Unchanged
            | Disposition::Postponed => {}
        }
    }

    fn deferred(&mut self, id: QueueId, warned: bool, named: Duration) {
        self.relay.roster.update(id, |member| {
            member.marks = member.marks.and(Mark::Warned, warned).and(Mark::Deferred, true);
            member.losses = 0;
        });
        if self.relay.throttle.is_ready_again(id) {
            self.relay.roster.put_back(id, self.shared.now.steady);
        } else {
            self.defer(id, named);
        }
    }

    /// Has a message tried again that lost its connection; not before the time that it alone was told, or that at which its
    /// sender is to hear of it, if that is sooner.
    fn try_lost_again(&mut self, id: QueueId, told_alone: Option<Timestamp>) {
        let Some(member) = self.relay.roster.member(id).copied() else { return };
        let Member { losses, copies, .. } = member;
        if losses == 0 && copies < 2 {
            return self.relay.roster.put_back(id, self.shared.now.steady);
        }
        let used = member.patience_used(self.relay.roster.reading(self.shared.now.steady));
        let age = member.age(self.shared.now.time_of_day);
        let runs = self.relay.uses_patience_of_deferred();
        let left = runs.then(|| self.shared.retry.lifetime.saturating_sub(used));
        let spread = self.shared.draw();
        let pause = self.shared.retry.pause_after_loss(losses, copies, age, left, spread);
        let due = self.shared.retry.until_sender_is_told(used, member.marks.has(Mark::Warned));
        let now = self.shared.now.steady;
        let told = told_alone.map_or(now, |told| told.min(later(now, due)));
        self.relay.roster.defer(id, told.max(later(now, pause)), now);
    }

    /// Has a message tried again by its age, but not before the time that the relay has named for it, or that at which its
    /// sender is to hear of it, if that is sooner.
    fn defer(&mut self, id: QueueId, named: Duration) {
        let Some(member) = self.relay.roster.member(id) else { return };
        let (age, spread) = (member.age(self.shared.now.time_of_day), self.shared.draw());
        let used = member.patience_used(self.relay.roster.reading(self.shared.now.steady));
        let retry = &self.shared.retry;
        let due = retry.until_sender_is_told(used, member.marks.has(Mark::Warned));
        let pause = retry.pause(age, spread).max(named.min(due));
        let now = self.shared.now.steady;
        self.relay.roster.defer(id, later(now, pause), now);
    }
}

impl Reducer {
    pub(super) fn unrecorded(&mut self, id: QueueId, why: CommitError) {
        self.takes_less(why);
        self.shared.recording.refuses_outcome(id);
        self.for_each_relay(|at| at.run_patience());
    }

    pub(super) fn unmarked(&mut self, id: QueueId, why: CommitError) {
        self.takes_less(why);
        if self.shared.recording.refuses_mark() {
            self.shared.effects.push(Effect::AwaitRecording(id));
        }
        self.for_each_relay(|at| at.run_patience());
    }

    /// Takes in that the spool has refused to record something.
    fn takes_less(&mut self, why: CommitError) {
        if self.shared.recording.works() {
            let live = self.relays.live();
            self.shared.log(None, LogLine::SendingStopped { why, live });
        }
    }

    /// Takes in that the spool may record now what it did not.
    pub(super) fn takes_more(&mut self, change: impl FnOnce(&mut Recording)) {
        let worked = self.shared.recording.works();
        change(&mut self.shared.recording);
        if !worked && self.shared.recording.works() {
            let live = self.relays.live();
            self.shared.log(None, LogLine::SendingResumed { live });
        }
        self.for_each_relay(|at| at.run_patience());
    }
}
