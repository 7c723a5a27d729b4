//! A spool in memory: it has what was recorded, and nothing else, so that a restart finds what a real one would find.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::envelope::{Envelope, ReversePathKey, Submitter};
use crate::filter::MailHolder;
use crate::queue::RelayPlace;
use crate::queue::attempt::OnSpool;
use crate::queue::lanes::Lane;
use crate::queue::routes::relays_of;
use crate::queue_id::QueueId;
use crate::routing::{RoutedMail, Routes};
use crate::spool::{Entry, EntryState, Fate, Flight, Ledger, Mark, Marks, Replies};

/// One message, as it was recorded.
pub(in crate::queue::reducer::tests) struct Stored {
    pub(in crate::queue::reducer::tests) envelope: Envelope,
    pub(in crate::queue::reducer::tests) content: String,
    pub(in crate::queue::reducer::tests) marks: Marks,
    /// The route that an operator has assigned it to.
    pub(in crate::queue::reducer::tests) assigned_route: Option<String>,
    /// Who holds it, if it is on hold.
    pub(in crate::queue::reducer::tests) held_by: Option<MailHolder>,
    pub(in crate::queue::reducer::tests) fates: Vec<Fate>,
    pub(in crate::queue::reducer::tests) replies: Replies,
    arrived: Timestamp,
    lane: Lane,
    patience_mark: u32,
}

/// The messages that are on the spool.
pub(in crate::queue::reducer::tests) struct MemorySpool {
    messages: BTreeMap<QueueId, Stored>,
    next_id: u64,
    /// The number of records that it still takes; `None` if it takes all.
    pub(in crate::queue::reducer::tests) records_left: Option<usize>,
}

impl MemorySpool {
    pub(super) fn new() -> Self {
        MemorySpool { messages: BTreeMap::new(), next_id: 1, records_left: None }
    }

    /// Returns the queue id of the message that comes next.
    pub(in crate::queue::reducer::tests) fn next_id(&self) -> QueueId {
        QueueId::from_raw(self.next_id)
    }

    /// Returns the queue ids of all messages so far.
    pub(super) fn ids(&self) -> Vec<QueueId> {
        (1..self.next_id).map(QueueId::from_raw).collect()
    }

    /// Returns the number of messages.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(in crate::queue::reducer::tests) fn message(&self, id: QueueId) -> &Stored {
        &self.messages[&id]
    }

    pub(super) fn commit(
        &mut self,
        (envelope, content): (Envelope, String),
        lane: Lane,
        arrived: Timestamp,
        patience_mark: u32,
    ) -> Entry {
        let id = self.next_id();
        self.next_id += 1;
        let stored = Stored {
            fates: vec![Fate::Open; envelope.recipients.len()],
            envelope,
            content,
            marks: Marks::default(),
            assigned_route: None,
            held_by: None,
            replies: Replies::default(),
            arrived,
            lane,
            patience_mark,
        };
        let entry = stored.entry(id);
        self.messages.insert(id, stored);
        entry
    }

    /// Has a dead message be one to be settled, if none of its recipients is dead any more, as the index does.
    pub(super) fn bury_no_more(&mut self, id: QueueId) {
        let stored = self.with(id);
        if stored.marks.state() == EntryState::Dead && !stored.fates.contains(&Fate::Dead) {
            stored.marks.set_state(EntryState::Active);
        }
    }

    /// Returns whether it takes one more record.
    pub(super) fn takes_record(&mut self) -> bool {
        match &mut self.records_left {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }

    /// Returns what a start finds.
    pub(super) fn entries(&self) -> Vec<Entry> {
        self.messages.iter().map(|(id, stored)| stored.entry(*id)).collect()
    }

    /// Returns the relay of each open recipient of a message.
    pub(super) fn relays_of(&self, id: QueueId, routes: &Routes) -> Vec<(usize, RelayPlace)> {
        let Stored { envelope, fates, .. } = self.message(id);
        let open = (0..fates.len()).filter(|index| fates[*index] == Fate::Open);
        let submitter = Submitter::Loopback;
        let assigned = self.message(id).assigned_route.as_deref();
        let mail = RoutedMail { reverse_path: &envelope.reverse_path, authors: &[], submitter, assigned };
        relays_of(routes, &mail, envelope, open)
    }

    /// Reads a message for this relay.
    pub(super) fn read(&self, id: QueueId, relay: RelayPlace, routes: &Routes) -> OnSpool {
        let others = self.relays_of(id, routes).into_iter().filter(|(_, place)| *place != relay);
        let Stored { envelope, fates, replies, arrived, .. } = self.message(id);
        let recorded: Vec<(u32, Fate)> = (0..).zip(fates.iter().copied()).collect();
        OnSpool {
            elsewhere: others.map(|(index, _)| index).collect(),
            submitter: Submitter::Loopback,
            envelope: envelope.clone(),
            arrived: *arrived,
            ledger: Ledger::in_memory(id, fates.len(), &recorded),
            replies: replies.clone(),
        }
    }

    pub(super) fn set_flight(&mut self, id: QueueId, flight: Flight) {
        self.with(id).marks.set_flight(flight);
    }

    /// Records the fates of the ledger. That ends the attempt that was in flight.
    pub(super) fn record(&mut self, ledger: &Ledger) {
        let stored = self.with(ledger.id());
        if stored.fates != ledger.fates() {
            stored.marks.set_flight(Flight::Over);
            stored.fates = ledger.fates().to_vec();
        }
    }

    pub(super) fn note(&mut self, id: QueueId, replies: &Replies) {
        let stored = self.with(id);
        stored.replies = replies.clone();
        stored.marks.set(Mark::Deferred, true);
        stored.marks.set_flight(Flight::Over);
    }

    pub(super) fn remove(&mut self, id: QueueId) {
        assert!(self.messages.remove(&id).is_some(), "removed once");
    }

    pub(in crate::queue::reducer::tests) fn with(&mut self, id: QueueId) -> &mut Stored {
        self.messages.get_mut(&id).expect("it is on the spool")
    }
}

impl Stored {
    fn entry(&self, id: QueueId) -> Entry {
        Entry {
            id,
            arrived: self.arrived,
            submitter: Submitter::Loopback,
            lane: self.lane,
            from: ReversePathKey::from(&self.envelope.reverse_path),
            patience_mark: self.patience_mark,
            patience_used: self.replies.patience_used(),
            marks: self.marks,
        }
    }
}
