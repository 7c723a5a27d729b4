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
//! Invariant (1 of `queue/mod.rs`): a link that is dropped, for whatever reason, gives back the messages that it still
//! holds.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::attempt::{Attempt, Progress};
use super::desk::DeliveryDesk;
use super::reducer::{Disposition, Event, QueueAnswer};
use super::refusals::{Refusal, Ruling};
use super::roster::Member;
use super::settlement::{Settlement, record_part};
use super::{ConnectionId, OwnerInput, Taken};
use crate::envelope::{Envelope, Recipient, ReversePath};
use crate::log;
use crate::queue_id::QueueId;
use crate::relay::{Report, Transaction, Unmarked, Verdict, Work};
use crate::spool::{ReadError, Stored, StoredContent};

/// The queue's end of one connection to the relay: the relay's dialogue takes messages from it and reports to it.
pub struct QueueLink {
    desk: Arc<DeliveryDesk>,
    connection: ConnectionId,
    /// The messages that were given out and are not reported yet: the transaction at hand, and the one whose commands
    /// were sent behind it.
    attempts: HashMap<QueueId, Attempt>,
    /// Those of them for which a further transaction is to follow.
    unfinished: VecDeque<QueueId>,
    /// The number of recipients that the relay takes in one transaction, as far as is known.
    most_recipients: usize,
}

impl QueueLink {
    pub(super) fn new(desk: Arc<DeliveryDesk>, connection: ConnectionId) -> Self {
        let most_recipients = desk.settings.recipients_per_message.get();
        QueueLink { desk, connection, attempts: HashMap::new(), unfinished: VecDeque::new(), most_recipients }
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
        let Taken { id, member } = taken;
        let spool = self.desk.spool.clone();
        let stored = match spool.read_at_once(id) {
            Some(stored) => Ok(Ok(stored)),
            // A slow disk must not hold up other connections.
            None => spawn_blocking(move || spool.read(id)).await,
        };
        match stored {
            Ok(Ok(stored)) => Some(self.begin(id, member, stored)),
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

    fn begin(&mut self, id: QueueId, member: Member, stored: Stored) -> Transaction {
        let Stored { envelope, arrived, ledger, content, content_len, replies, .. } = stored;
        let (taken_at, taken_steady) = (self.desk.clock.now(), self.desk.clock.steady());
        let (asked, unasked): (Vec<usize>, Vec<usize>) =
            ledger.open().partition(|index| replies.of(*index).is_some());
        let attempt = Attempt {
            id,
            member,
            told: self.desk.told_reverse_path(&envelope),
            envelope,
            arrived,
            taken_at,
            taken_steady,
            queued: member.ready_for(taken_steady),
            progress: Progress::BeforeDot,
            ledger,
            replies,
            rest: unasked.into_iter().chain(asked).collect(),
            earlier: None,
        };
        let attempt = self.attempts.entry(id).insert_entry(attempt).into_mut();
        transaction(attempt, self.most_recipients, content, content_len)
    }

    /// Returns the next transaction of a message that this connection has begun; `None` if the message cannot be read
    /// any more.
    async fn go_on(&mut self, id: QueueId) -> Option<Transaction> {
        let spool = self.desk.spool.clone();
        // Its checksums were verified when it was begun.
        let stored = spawn_blocking(move || spool.peek(id)).await;
        let attempt = self.attempts.get_mut(&id)?;
        if let Ok(Ok(Stored { content, content_len, .. })) = stored {
            return Some(transaction(attempt, self.most_recipients, content, content_len));
        }
        // The next attempt logs the reason.
        self.settle_parts(id);
        None
    }

    /// Begins a settlement beside the dialogue, which goes on. If nothing is to be recorded, the owner is told at once,
    /// so that it hears of the message before it hears of the end of this connection.
    fn settle(&self, settlement: Settlement) {
        match settlement.without_record() {
            Some(disposition) => self.desk.became(settlement.id(), disposition),
            None => self.desk.queue.send(OwnerInput::Settle(Box::new(settlement))),
        }
    }

    /// Settles a message as far as the attempt has come.
    fn settle_parts(&mut self, id: QueueId) {
        if let Some(attempt) = self.attempts.remove(&id) {
            self.settle(Settlement::of_parts(self.desk.clone(), attempt));
        }
    }

    /// Puts back the recipients that go in a further transaction. If they were too many for this one, remembers how
    /// many the relay takes.
    fn put_back(&mut self, attempt: &mut Attempt, report: &mut Report) {
        let (again, told): (Vec<_>, Vec<_>) = std::mem::take(&mut report.recipients)
            .into_iter()
            .partition(|recipient| matches!(recipient.verdict, Verdict::TooMany | Verdict::WithoutDsn));
        let is_full = again.iter().any(|recipient| recipient.verdict == Verdict::TooMany);
        if is_full && !told.is_empty() {
            self.most_recipients = self.most_recipients.min(told.len());
        }
        for recipient in again.iter().rev() {
            attempt.rest.push_front(recipient.index);
        }
        report.recipients = told;
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

    /// Returns what a refusal means for its message. The owner decides, since it knows what the relay said to other
    /// messages.
    async fn ruling(&self, report: &Report) -> Ruling {
        let envelope = self.attempts.get(&report.id).map(|attempt| &attempt.envelope);
        let refusal = envelope.and_then(|envelope| Refusal::of(report, envelope));
        let Some(refusal) = refusal else { return Ruling::AsSaid };
        let refused = Event::Refused { connection: self.connection, refusal: Box::new(refusal) };
        match self.desk.queue.ask(refused).await {
            Some(QueueAnswer::Ruling(ruling)) => ruling,
            // An owner that has stopped cannot say more: the next start tries the message again.
            _ => Ruling::Untold,
        }
    }

    /// Returns whether the end of a connection that had served others says nothing about the message that it carried.
    async fn is_leave_excused(&self, id: QueueId) -> bool {
        let left = Event::Left { connection: self.connection, id };
        match self.desk.queue.ask(left).await {
            Some(QueueAnswer::IsExcused(is_excused)) => is_excused,
            _ => true,
        }
    }

    /// Removes a message whose every recipient had its end before a crash kept the removal from being recorded.
    fn finish(&mut self, id: QueueId) {
        if let Some(attempt) = self.attempts.remove(&id) {
            self.settle(Settlement::of_finished(self.desk.clone(), attempt));
        }
    }
}

impl Work for QueueLink {
    async fn next(&mut self, patience: Duration) -> Option<Transaction> {
        // This loop ends: a round without a transaction has taken a message out of the ready ones, and none of them is
        // put back before this task yields to the owner.
        loop {
            if let Some(id) = self.unfinished.pop_front() {
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

    async fn report(&mut self, mut report: Report) {
        if let Some(attempt) = self.attempts.get(&report.id) {
            attempt.weigh_unproven(&mut report);
        }
        let has = |verdict| report.recipients.iter().any(|recipient| recipient.verdict == verdict);
        let has_answered = has(Verdict::Sent) || has(Verdict::Deferred) || has(Verdict::Bounced);
        if let Some(attempt) = self.attempts.get(&report.id).filter(|_| has(Verdict::Sent)) {
            let is_from_null = attempt.envelope.reverse_path == ReversePath::Null;
            self.desk.queue.tell(Event::TakenByRelay { connection: self.connection, is_from_null });
        }
        if let Some(attempt) = self.attempts.get(&report.id) {
            self.desk.excuse_null_sender(attempt, &mut report);
        }
        let ruling = self.ruling(&report).await;
        if report.left_at.is_some() && !self.is_leave_excused(report.id).await {
            report.lost_at = report.left_at;
        }
        if report.is_lost() {
            self.lost(report.id, report.possible_duplicate);
        } else if ruling != Ruling::Untold && has_answered {
            self.desk.queue.tell(Event::Answered(self.connection));
        }
        let is_untold = report.recipients.iter().any(|recipient| recipient.verdict == Verdict::Untold);
        let breaks_off = ruling != Ruling::AsSaid || is_untold;
        let id = report.id;
        let Some(mut attempt) = self.attempts.remove(&id) else { return };
        self.put_back(&mut attempt, &mut report);
        if breaks_off || attempt.rest.is_empty() {
            return self.settle(Settlement::of_report(self.desk.clone(), attempt, report, ruling));
        }
        // If this task is cut off while it records, the report is settled when the message is given back.
        self.unfinished.push_back(id);
        let attempt = self.attempts.entry(id).insert_entry(attempt).into_mut();
        if record_part(&self.desk, attempt, report).await.is_err() {
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
            self.settle(Settlement::of_unreported(self.desk.clone(), attempt));
        }
    }
}

/// Returns the next transaction of `attempt`, with at most this many of its recipients.
fn transaction(
    attempt: &mut Attempt,
    most_recipients: usize,
    content: StoredContent,
    size: u64,
) -> Transaction {
    let Envelope { recipients, ret, envid, body, .. } = &attempt.envelope;
    let reverse_path = attempt.told.clone();
    let part = attempt.rest.drain(..most_recipients.min(attempt.rest.len()));
    let part: Vec<(usize, Recipient)> =
        part.filter_map(|index| Some((index, recipients.get(index)?.clone()))).collect();
    let needs_smtputf8 = reverse_path.mailbox().is_some_and(|address| address.needs_smtputf8())
        || part.iter().any(|(_, recipient)| recipient.address.needs_smtputf8());
    Transaction {
        id: attempt.id,
        reverse_path,
        recipients: part,
        body: *body,
        ret: *ret,
        envid: envid.clone(),
        needs_smtputf8,
        size,
        content: reader(content),
    }
}

fn reader(content: StoredContent) -> Box<dyn AsyncRead + Send + Unpin> {
    match content {
        StoredContent::Memory(octets) => Box::new(io::Cursor::new(octets)),
        StoredContent::File { file, .. } => Box::new(tokio::fs::File::from_std(file)),
    }
}
