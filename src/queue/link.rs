//! The queue's end of one connection to the relay.
//!
//! It fetches messages for the relay's dialogue, marks them as in flight before their final dot, and gives reports to a
//! settlement, so that the dialogue does not wait for the disk.
//!
//! A message to more recipients than a transaction may have is sent in several transactions, one after the other on
//! this connection; the result of each is recorded before the next begins. The content stays on the spool and is read
//! for each.
//!
//! In place of `<>` the relay may get an address (`null_sender.rs`); everything that is made of its answer goes by the
//! envelope on the spool, which keeps `<>`.
//!
//! Invariant (1 of `queue.rs`): a link that is dropped, for whatever reason, gives back the messages that it still
//! holds.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::BufReader;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::attempt::{Attempt, AttemptResult, OnSpool, Part, Progress};
use super::desk::DeliveryDesk;
use super::hearing::{Hearing, Hears, breaks_off};
use super::reducer::{Disposition, Event, QueueAnswer};
use super::refusals::Ruling;
use super::routes::elsewhere;
use super::settlement::{Settlement, Settling, record_part};
use super::{ConnectionId, OwnerInput, RelayPlace, Taken};
use crate::envelope::{Envelope, ReversePath};
use crate::log;
use crate::queue_id::QueueId;
use crate::relay::{Content, Report, Transaction, Unmarked, Work};
use crate::spool::{ReadError, Stored, StoredContent};

/// The queue's end of one connection to the relay: the relay's dialogue takes messages from it and reports to it.
pub struct QueueLink {
    desk: Arc<DeliveryDesk>,
    connection: ConnectionId,
    relay: RelayPlace,
    /// The messages that were given out and are not reported yet: the transaction at hand, and the one whose commands
    /// were sent behind it.
    attempts: HashMap<QueueId, Attempt>,
    /// The messages in `attempts` for which a further transaction is to follow.
    unfinished: VecDeque<QueueId>,
}

impl QueueLink {
    pub(super) fn new(desk: Arc<DeliveryDesk>, connection: ConnectionId, relay: RelayPlace) -> Self {
        QueueLink { desk, connection, relay, attempts: HashMap::new(), unfinished: VecDeque::new() }
    }

    /// Asks for the next message, and waits up to `patience` for it; with no patience, returns one only if it is ready
    /// now.
    async fn take(&self, patience: Duration) -> Option<Taken> {
        let (answer, mut answered) = oneshot::channel();
        let wait = !patience.is_zero();
        self.desk.queue.send(OwnerInput::Next { connection: self.connection, wait, answer });
        if !wait {
            return answered.await.ok().flatten();
        }
        if let Ok(taken) = tokio::time::timeout(patience, &mut answered).await {
            return taken.ok().flatten();
        }
        // The owner may have answered in this moment: the message that it gave must not be lost.
        answered.close();
        answered.try_recv().ok().flatten()
    }

    /// Reads the message from the spool; returns `None` if it cannot be read.
    async fn open(&mut self, taken: Taken) -> Option<Transaction> {
        let Taken { id, .. } = taken;
        let spool = self.desk.spool.clone();
        let (desk, relay) = (self.desk.clone(), self.relay);
        let elsewhere = move |stored: Stored| (elsewhere(&desk.settings.routes, relay, &stored), stored);
        let stored = match spool.read_at_once(id) {
            Some(stored) => Ok(Ok(elsewhere(stored))),
            // A slow disk must not hold up other connections.
            None => spawn_blocking(move || spool.read(id).map(elsewhere)).await,
        };
        match stored {
            Ok(Ok((elsewhere, stored))) => Some(self.begin(taken, elsewhere, stored)),
            Ok(Err(error)) => {
                self.pass_over(id, &error);
                None
            }
            Err(_panicked) => {
                self.desk.became(id, Disposition::Postponed);
                None
            }
        }
    }

    fn begin(&mut self, taken: Taken, elsewhere: BTreeSet<usize>, stored: Stored) -> Transaction {
        let id = taken.id;
        let Stored { submitter, envelope, arrived, ledger, content, content_len, replies, .. } = stored;
        let told = self.desk.null_sender(self.relay).told(id, &envelope);
        let message = OnSpool { elsewhere, submitter, envelope, arrived, ledger, replies };
        let attempt = Attempt::new(taken, message, told, self.desk.clock.moment());
        let attempt = self.attempts.entry(id).insert_entry(attempt).into_mut();
        transaction(attempt, content, content_len)
    }

    /// Waits until a further transaction may begin by the rates. Returns whether it may: not if that would take too long.
    async fn may_go_on(&self) -> bool {
        match self.desk.queue.ask(Event::GoesOn(self.connection)).await {
            Some(QueueAnswer::GoesOnIn(Some(pause))) => {
                self.desk.clock.sleep(pause).await;
                true
            }
            _ => false,
        }
    }

    /// Returns the next transaction of a message that this connection has begun; `None` if the message cannot be read
    /// any more.
    async fn go_on(&mut self, id: QueueId) -> Option<Transaction> {
        let spool = self.desk.spool.clone();
        // Its checksums were verified when it was begun.
        let stored = spawn_blocking(move || spool.peek(id)).await;
        let attempt = self.attempts.get_mut(&id)?;
        if let Ok(Ok(Stored { content, content_len, .. })) = stored {
            return Some(transaction(attempt, content, content_len));
        }
        // The next attempt logs the reason.
        self.settle_parts(id);
        None
    }

    /// Begins a settlement beside the dialogue, which goes on. If nothing is to be recorded, the owner is told at once,
    /// so that it hears of the message before it hears of the end of this connection.
    fn settle(&self, settling: Settling) {
        match settling.without_record() {
            Some(disposition) => self.desk.became(settling.attempt.id, disposition),
            None => {
                let settlement = Settlement::new(self.desk.clone(), settling);
                self.desk.queue.send(OwnerInput::Settle(Box::new(settlement)));
            }
        }
    }

    /// Settles a message as far as the attempt has come.
    fn settle_parts(&mut self, id: QueueId) {
        if let Some(attempt) = self.attempts.remove(&id) {
            self.settle(Settling::of_parts(attempt));
        }
    }

    fn lost(&self, id: QueueId, in_doubt: bool) {
        self.desk.queue.tell(Event::Lost { connection: self.connection, id, in_doubt });
    }

    /// Decides what happens to a message that cannot be read.
    fn pass_over(&self, id: QueueId, error: &ReadError) {
        let (disposition, then) = match error {
            ReadError::Gone => (Disposition::Removed, "it is no longer in the queue"),
            ReadError::Damaged => (Disposition::Dead, "dead, kept on the spool"),
            ReadError::Io(_) => (Disposition::Postponed, "will try again"),
        };
        log::unreadable(id, error, then);
        self.desk.became(id, disposition);
    }

    /// Tells the owner of a report, and asks it about that; it knows what the relay said to other messages.
    async fn hear(&self, attempt: &Attempt, report: Report) -> (Report, Ruling) {
        let mut hearing = Hearing::new(self.connection, attempt, report, self.desk.null_sender(self.relay));
        while let Some(hears) = hearing.next() {
            match hears {
                Hears::Told(event) => self.desk.queue.tell(event),
                Hears::Asked(event) => {
                    let answer = self.desk.queue.ask(event).await;
                    hearing.answered(answer);
                }
            }
        }
        hearing.end()
    }

    /// Removes a message whose every recipient had its end before a crash kept the removal from being recorded.
    fn finish(&mut self, id: QueueId) {
        if let Some(attempt) = self.attempts.remove(&id) {
            self.settle(Settling::of_finished(attempt));
        }
    }
}

impl Work for QueueLink {
    async fn next(&mut self, patience: Duration) -> Option<Transaction> {
        // This loop ends: a round without a transaction has taken a message out of the ready ones, and none of them is
        // put back before this task yields to the owner.
        loop {
            if let Some(id) = self.unfinished.front().copied() {
                let may_go_on = self.may_go_on().await;
                self.unfinished.pop_front();
                if !may_go_on {
                    self.settle_parts(id);
                    continue;
                }
                match self.go_on(id).await {
                    Some(transaction) => return Some(transaction),
                    None => continue,
                }
            }
            let taken = self.take(patience).await?;
            let id = taken.id;
            match self.open(taken).await {
                Some(transaction) if transaction.recipients.is_empty() => self.finish(id),
                Some(transaction) => return Some(transaction),
                None => {}
            }
        }
    }

    async fn before_dot(&mut self, id: QueueId) -> Result<(), Unmarked> {
        if let Some(attempt) = self.attempts.get_mut(&id) {
            self.desk.tell_hidden_duplicate(attempt).await;
        }
        let marked = self.desk.spool.mark_in_flight(id).await;
        if let Some(attempt) = self.attempts.get_mut(&id).filter(|_| marked.is_ok()) {
            attempt.progress = Progress::PastContent;
        }
        marked.map_err(|error| {
            self.desk.queue.tell(Event::Unmarked { id, why: error });
            Unmarked
        })
    }

    async fn report(&mut self, report: Report) {
        let id = report.id;
        let Some(attempt) = self.attempts.get(&id) else { return };
        // If this task is cut off while it asks, the message is given back.
        let (mut report, ruling) = self.hear(attempt, report).await;
        let breaks_off = breaks_off(&report, ruling);
        let Some(mut attempt) = self.attempts.remove(&id) else { return };
        if let Some(limits) = attempt.put_back(&mut report) {
            self.desk.queue.tell(Event::ShownLimits { connection: self.connection, limits });
        }
        let said = AttemptResult::of(&attempt, report, ruling, &self.desk.terms());
        said.log(&attempt);
        self.desk.queue.followers.tell(attempt.submitter, said.lines(&attempt));
        self.desk.tally(self.relay).count_delays(said.delays());
        self.desk.tally(self.relay).count(said.outcomes(&attempt), self.desk.clock.now());
        self.desk.tallies.count_failures(said.failures());
        if breaks_off || attempt.rest.is_empty() {
            return self.settle(Settling::of_result(attempt, said));
        }
        attempt.take_in(said);
        // If this task is cut off while it records, the report is settled when the message is given back.
        self.unfinished.push_back(id);
        let attempt = self.attempts.entry(id).insert_entry(attempt).into_mut();
        if record_part(&self.desk, attempt).await.is_err() {
            // A settlement tries until the spool records it, and nothing is sent meanwhile.
            self.unfinished.retain(|unfinished| *unfinished != id);
            self.settle_parts(id);
        }
    }
}

impl Drop for QueueLink {
    fn drop(&mut self) {
        for (id, attempt) in std::mem::take(&mut self.attempts) {
            let in_doubt = attempt.progress == Progress::PastContent;
            if in_doubt {
                log::possible_duplicate(id, "its connection ended without a report");
            }
            let is_between = self.unfinished.contains(&id);
            if !is_between {
                self.lost(id, in_doubt);
            }
            self.settle(Settling::of_unreported(attempt));
        }
    }
}

/// Returns the next transaction of `attempt`, with as many of its recipients as one may have.
fn transaction(attempt: &mut Attempt, content: StoredContent, size: u64) -> Transaction {
    let Part { recipients, wants_smtputf8, was_refused } = attempt.next_part();
    let Envelope { reverse_path, ret, envid, body, .. } = &attempt.envelope;
    Transaction {
        id: attempt.id,
        is_from_null: *reverse_path == ReversePath::Null,
        reverse_path: attempt.told.clone(),
        recipients,
        body: *body,
        ret: *ret,
        envid: envid.clone(),
        wants_smtputf8,
        was_refused,
        size,
        content: reader(content),
    }
}

/// The number of octets that are read from a file at a time.
const BLOCK_OCTETS: usize = 64 << 10;

fn reader(content: StoredContent) -> Box<dyn Content> {
    match content {
        StoredContent::Memory(content) => Box::new(io::Cursor::new(content)),
        StoredContent::File { file, .. } => {
            Box::new(BufReader::with_capacity(BLOCK_OCTETS, tokio::fs::File::from_std(file)))
        }
    }
}
