//! The ledger of a message: it knows what became of each recipient, and it alone makes a [`Settled`].
//!
//! Promises
//! 1. A [`Settled`] exists only for a message whose every recipient is sent or bounced, and nothing else removes a message
//!    from the spool but the order of an operator to delete it (`order.rs`). One recipient that is dead keeps it.
//! 2. A recipient is bounced here only when the submitter asked not to hear of it. Any other bounce
//!    comes with the DSN that reports it ([`super::Spool::commit_bounce`]), in one record.
//! 3. An end is final: the first one counts. Only an operator opens dead recipients again: on the spool
//!    ([`super::Spool::reopen`]) before anybody reads the message, or here alone, so that they stay dead there until the report
//!    of their failure is on it ([`super::OperatorOrder::open_dead`]).
//!
//! An outcome that is marked `sent` is in memory until [`super::Spool::record`] returns. Lost before that, the
//! recipient is tried again: the one duplicate that the promises allow.

use crate::envelope::Recipient;
use crate::queue_id::QueueId;

/// The outcome of one recipient so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fate {
    /// The message is still to be delivered to the recipient.
    Open = 0,
    /// The relay has taken the message for the recipient.
    Sent = 1,
    /// The recipient is given up, and that is reported unless the submitter asked not to be told.
    Bounced = 2,
    /// The recipient is given up, and nobody can be told: the message is not sent again, and is kept for an operator to see.
    Dead = 3,
}

/// The fates of some recipients, each with the recipient's index in the envelope.
pub(super) type Fates = Vec<(u32, Fate)>;

/// The recipients of one message with their outcomes so far.
#[derive(Debug)]
pub struct Ledger {
    id: QueueId,
    fates: Vec<Fate>,
    /// The outcomes that are not recorded on the disk yet.
    unrecorded: Fates,
}

/// The proof that every recipient is sent or bounced. Without it no message is removed.
#[derive(Debug)]
pub struct Settled {
    id: QueueId,
}

/// An error: the submitter wants to hear of failures, so the recipient is bounced with a DSN or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MustReport;

impl Ledger {
    /// Returns the ledger of a message with so many `recipients`, and with the outcomes that are `recorded` for them.
    pub(super) fn new(id: QueueId, recipients: usize, recorded: &[(u32, Fate)]) -> Self {
        let mut ledger = Ledger { id, fates: vec![Fate::Open; recipients], unrecorded: Vec::new() };
        for (index, fate) in recorded {
            ledger.close(*index as usize, *fate);
        }
        ledger.unrecorded.clear();
        ledger
    }

    /// Returns the queue id of the message.
    pub fn id(&self) -> QueueId {
        self.id
    }

    /// Returns the outcome of every recipient, in the order of the envelope.
    pub fn fates(&self) -> &[Fate] {
        &self.fates
    }

    /// Returns the indexes of the recipients to whom the message is still to be delivered.
    pub fn open(&self) -> impl Iterator<Item = usize> {
        self.unsettled().filter(|index| self.fates[*index] == Fate::Open)
    }

    /// Returns the indexes of the recipients that keep the message on the spool: they are open or dead.
    pub fn unsettled(&self) -> impl Iterator<Item = usize> {
        let kept = |fate: &Fate| matches!(fate, Fate::Open | Fate::Dead);
        self.fates.iter().enumerate().filter(move |(_, fate)| kept(fate)).map(|(index, _)| index)
    }

    /// Notes that the relay has taken the message for the recipient of this index.
    pub fn sent(&mut self, recipient: usize) {
        self.close(recipient, Fate::Sent);
    }

    /// Gives up the recipient of this `index` without a report, which the submitter must have asked for; after an error the
    /// recipient is still open. `recipient` is its entry in the envelope.
    pub fn bounced_unreported(&mut self, index: usize, recipient: &Recipient) -> Result<(), MustReport> {
        if recipient.notify.wants_failure() {
            return Err(MustReport);
        }
        self.close(index, Fate::Bounced);
        Ok(())
    }

    /// Gives up the recipient of this index and marks it as dead, because nobody can be told of the failure.
    pub fn dead(&mut self, recipient: usize) {
        self.close(recipient, Fate::Dead);
    }

    /// Opens the dead recipients again. On the spool they are dead until a report bounces them.
    pub(super) fn open_dead(&mut self) {
        self.fates.iter_mut().filter(|fate| **fate == Fate::Dead).for_each(|fate| *fate = Fate::Open);
    }

    /// Returns the proof that every recipient is sent or bounced; `None` while one is open or dead.
    pub fn settle(&self) -> Option<Settled> {
        self.unsettled().next().is_none().then_some(Settled { id: self.id })
    }

    /// Notes that the DSN that bounces these recipients is on the spool.
    pub(super) fn bounced_with_dsn(&mut self, recipients: &[u32]) {
        for index in recipients {
            self.close(*index as usize, Fate::Bounced);
        }
        // The DSN's own record says this; it needs no other record.
        self.unrecorded.retain(|(index, fate)| *fate != Fate::Bounced || !recipients.contains(index));
    }

    /// Returns the outcomes that are not recorded yet.
    pub(super) fn unrecorded(&self) -> &[(u32, Fate)] {
        &self.unrecorded
    }

    /// Notes that all outcomes so far are recorded.
    pub(super) fn recorded(&mut self) {
        self.unrecorded.clear();
    }

    fn close(&mut self, index: usize, fate: Fate) {
        if let Some(open) = self.fates.get_mut(index).filter(|now| **now == Fate::Open) {
            *open = fate;
            // Recipients are counted in 32 bits on disk; an envelope of more does not fit a record.
            self.unrecorded.push((index as u32, fate));
        }
    }
}

/// The ledger over a spool that a test keeps in memory.
#[cfg(test)]
impl Ledger {
    /// Returns the ledger of a message of `recipients` recipients, with what is recorded of them.
    pub fn in_memory(id: QueueId, recipients: usize, recorded: &[(u32, Fate)]) -> Self {
        Ledger::new(id, recipients, recorded)
    }

    /// Notes that the DSN that bounces these recipients is in that memory.
    pub fn bounced_in_memory(&mut self, recipients: &[usize]) {
        self.bounced_with_dsn(&recipients.iter().map(|index| *index as u32).collect::<Vec<_>>());
    }
}

impl Settled {
    /// Returns the queue id of the message.
    pub fn id(&self) -> QueueId {
        self.id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Address, Notify};

    fn ledger(recorded: &[(u32, Fate)]) -> Ledger {
        Ledger::new(QueueId::from_raw(5), 3, recorded)
    }

    fn recipient(notify: Notify) -> Recipient {
        Recipient { notify, ..Recipient::plain(Address::parse("ann@example.org").unwrap()) }
    }

    /// Promise 1.
    #[test]
    fn nothing_is_settled_while_a_recipient_is_open() {
        let mut ledger = ledger(&[(0, Fate::Sent)]);
        ledger.sent(2);
        assert!(ledger.settle().is_none(), "recipient 1 is open");
        assert_eq!(ledger.open().collect::<Vec<_>>(), [1]);
        ledger.sent(1);
        assert_eq!(ledger.settle().map(|settled| settled.id()), Some(QueueId::from_raw(5)));
    }

    #[test]
    fn a_restart_with_every_recipient_closed_can_settle_at_once() {
        let all = [(0, Fate::Sent), (1, Fate::Bounced), (2, Fate::Sent)];
        assert!(ledger(&all).settle().is_some());
    }

    /// Promise 2.
    #[test]
    fn only_who_asked_not_to_hear_of_it_is_bounced_without_a_dsn() {
        let mut ledger = ledger(&[]);
        let delay_only = Notify::On { success: false, failure: false, delay: true };
        assert_eq!(ledger.bounced_unreported(0, &recipient(Notify::Unstated)), Err(MustReport));
        assert_eq!(ledger.bounced_unreported(1, &recipient(Notify::Never)), Ok(()));
        assert_eq!(ledger.bounced_unreported(2, &recipient(delay_only)), Ok(()));
        assert_eq!(ledger.fates(), [Fate::Open, Fate::Bounced, Fate::Bounced]);
    }

    /// Promise 1: a dead recipient is asked no more, and keeps the message.
    #[test]
    fn a_dead_recipient_is_not_open_and_never_settles() {
        let mut ledger = ledger(&[(0, Fate::Sent), (1, Fate::Dead)]);
        assert_eq!((ledger.open().collect::<Vec<_>>(), ledger.unsettled().count()), (vec![2], 2));
        ledger.dead(2);
        assert_eq!(ledger.unrecorded(), [(2, Fate::Dead)]);
        assert!(ledger.open().next().is_none() && ledger.settle().is_none());
    }

    /// Promise 3; and an index out of range, which a damaged record might hold, is ignored.
    #[test]
    fn the_first_end_counts_and_is_recorded_once() {
        let mut ledger = ledger(&[(0, Fate::Bounced), (99, Fate::Sent)]);
        assert_eq!(ledger.unrecorded(), []);
        ledger.sent(0);
        ledger.sent(1);
        ledger.sent(1);
        ledger.bounced_with_dsn(&[1, 2]);
        assert_eq!(ledger.fates(), [Fate::Bounced, Fate::Sent, Fate::Bounced]);
        assert_eq!(ledger.unrecorded(), [(1, Fate::Sent)]);
        ledger.recorded();
        assert_eq!(ledger.unrecorded(), []);
    }
}
