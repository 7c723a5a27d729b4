//! What became of messages: when each is tried again, and whether the spool records it.
//!
//! Promises: a message leaves the roster only when its removal is recorded; while the spool does not record what a
//! delivery needs, nothing is given out.
//!
//! Not here: how long the pauses are (`schedule.rs`), recording itself (`settlement.rs`).

use super::super::clock::later;
use super::super::recording::Recording;
use super::super::roster::Member;
use super::{Disposition, Effect, Line, Reducer};
use crate::queue_id::QueueId;
use crate::spool::{CommitError, Mark};

impl Reducer {
    pub(super) fn became(&mut self, id: QueueId, disposition: Disposition) {
        let now = self.now.steady;
        self.takes_more(|recording| recording.took_outcome(id));
        self.forget(id, disposition);
        match disposition {
            Disposition::Removed => self.roster.remove(id),
            Disposition::Dead => self.roster.give_up(id),
            Disposition::Held => {
                self.roster.hold(id);
                self.try_due();
            }
            Disposition::Untried if self.relay.want_of_login.waits(id) && !self.relay.is_paused => {
                self.try_lost_again(id);
            }
            Disposition::Untried => self.roster.put_back(id, now),
            Disposition::Lost { warned } => {
                self.roster.update(id, |member| member.marks = member.marks.and(Mark::Warned, warned));
                self.try_lost_again(id);
            }
            Disposition::Postponed => self.defer(id),
            Disposition::Deferred { warned } => self.deferred(id, warned),
        }
    }

    /// What the relay's state knows of this message and needs no more.
    fn forget(&mut self, id: QueueId, disposition: Disposition) {
        let relay = &mut self.relay;
        if matches!(disposition, Disposition::Removed | Disposition::Dead) {
            relay.refusals.release(id);
            relay.throttle.forget(id);
        }
        if disposition != Disposition::Untried {
            relay.throttle.has_been_judged(id);
        }
        match disposition {
            Disposition::Removed | Disposition::Dead | Disposition::Held => relay.want_of_login.forget(id),
            Disposition::Deferred { .. } => relay.want_of_login.deferred(id),
            Disposition::Untried | Disposition::Lost { .. } | Disposition::Postponed => {}
        }
    }

    fn deferred(&mut self, id: QueueId, warned: bool) {
        self.roster.update(id, |member| {
            member.marks = member.marks.and(Mark::Warned, warned).and(Mark::Deferred, true);
            member.losses = 0;
        });
        if self.relay.throttle.is_ready_again(id) {
            self.roster.put_back(id, self.now.steady);
        } else {
            self.defer(id);
        }
    }

    fn try_lost_again(&mut self, id: QueueId) {
        let Some(member) = self.roster.member(id) else { return };
        let Member { losses, copies, .. } = *member;
        if losses == 0 && copies < 2 {
            return self.roster.put_back(id, self.now.steady);
        }
        let used = member.patience_used(self.relay.clock.at(self.now.steady));
        let (left, age) = (self.retry.lifetime.saturating_sub(used), member.age(self.now.time_of_day));
        let spread = self.draw();
        let pause = self.retry.pause_after_loss(losses, copies, age, left, spread);
        self.roster.defer(id, later(self.now.steady, pause));
    }

    fn defer(&mut self, id: QueueId) {
        let Some(member) = self.roster.member(id) else { return };
        let (age, spread) = (member.age(self.now.time_of_day), self.draw());
        let pause = self.retry.pause(age, spread);
        self.roster.defer(id, later(self.now.steady, pause));
    }

    /// Nobody was there any more to be given this message.
    pub(super) fn missed(&mut self, id: QueueId) {
        self.roster.put_back(id, self.now.steady);
        self.tick();
    }

    pub(super) fn unrecorded(&mut self, id: QueueId, why: CommitError) {
        self.takes_less(why);
        self.recording.refuses_outcome(id);
        self.run_relay_clock();
    }

    pub(super) fn unmarked(&mut self, id: QueueId, why: CommitError) {
        self.takes_less(why);
        if self.recording.refuses_mark() {
            self.effects.push(Effect::AwaitRecording(id));
        }
        self.run_relay_clock();
    }

    pub(super) fn recordable(&mut self) {
        self.takes_more(Recording::takes_marks);
    }

    /// The spool has refused to record something.
    fn takes_less(&mut self, why: CommitError) {
        if self.recording.works() {
            self.log(Line::SendingStopped { why, live: self.roster.len() });
        }
    }

    /// The spool may record what it did not.
    fn takes_more(&mut self, change: impl FnOnce(&mut Recording)) {
        let worked = self.recording.works();
        change(&mut self.recording);
        if !worked && self.recording.works() {
            self.log(Line::SendingResumed { live: self.roster.len() });
        }
        self.run_relay_clock();
    }
}
