//! What a roster does about senders that the relay refuses (`refused_senders.rs`): it holds their messages, and gives them
//! back.
//!
//! Pure: time is an argument.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::refused_senders::{FreedSender, RefusedSender, SenderRefusal, SenderRuling};
use super::{Member, Roster, Standing};
use crate::envelope::{ReversePath, ReversePathKey};
use crate::queue_id::QueueId;

impl Roster {
    /// Takes in that the relay has refused the message `id` for its sender. If that stops the sender, its mail is not ready
    /// any more.
    pub fn sender_refused(&mut self, id: QueueId, refusal: &SenderRefusal, now: Timestamp) -> SenderRuling {
        let ruling = self.senders.refused(id, refusal, now);
        if matches!(ruling, SenderRuling::Waits(Some(news)) if news.is_stopped) {
            let from = ReversePathKey::from(&refusal.from);
            let is_of_sender = |member: &Member| member.standing == Standing::Ready && member.from == from;
            let ready = self.members.iter().filter(|(_, member)| is_of_sender(member));
            let ready: Vec<QueueId> = ready.map(|(id, _)| *id).collect();
            ready.into_iter().for_each(|id| self.hold(id, now));
        }
        ruling
    }

    /// Takes in that the relay has taken a message of this sender. Returns what waited for that, if it had refused any.
    pub fn sender_taken(&mut self, from: &ReversePath) -> Option<FreedSender> {
        self.senders.taken(from)
    }

    /// Makes a message ready of each refused sender, where it is time for that. Returns them.
    pub fn try_senders(&mut self, now: Timestamp) -> Vec<QueueId> {
        let Roster { members, senders, .. } = self;
        let is_held = |id| members.get(&id).is_some_and(|member| member.standing == Standing::Held);
        let due = senders.due(now, is_held);
        due.iter().for_each(|id| self.make_ready(*id, now));
        due
    }

    /// Makes a message ready, also one of a sender that is stopped: somebody wants it to be tried.
    pub fn try_anyway(&mut self, id: QueueId, now: Timestamp) {
        if let Some(from) = self.member(id).map(|member| member.from) {
            self.senders.tries(id, from);
            self.put_back(id, now);
        }
    }

    /// Forgets which senders the relay refuses. Returns the messages that waited for them.
    pub fn forget_senders(&mut self) -> BTreeSet<QueueId> {
        self.senders.forget_all()
    }

    /// Returns the senders of which a message waits.
    pub fn refused_senders(&self) -> impl Iterator<Item = &RefusedSender> {
        self.senders.waiting()
    }

    /// Returns when [`Roster::try_senders`] next has something to do.
    pub fn next_sender_due(&self) -> Option<Timestamp> {
        self.senders.next_due()
    }

    /// Returns whether the message may be refused for itself, and not for its sender.
    pub fn is_odd(&self, id: QueueId) -> bool {
        self.member(id).is_some_and(|member| self.senders.is_odd(id, member.from))
    }
}
