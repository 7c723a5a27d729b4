//! A courier: one connection's link to the queue.
//!
//! It fetches messages for the relay's dialogue, marks them in flight before their final dot, and hands
//! reports to a settlement without making the dialogue wait for the disk.
//!
//! A message to more recipients than a transaction may have goes in several, one after the other on this connection;
//! what each came to is recorded before the next begins. The content stays where it is and is read anew for each.
//!
//! In the place of `<>` the relay may be told an address (`null_sender.rs`); all that is made of its answer goes by the
//! envelope on the spool, which keeps `<>`.
//!
//! Invariant (1 of `queue/mod.rs`): a courier that ends, however, gives back what it still holds.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::AsyncRead;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::clock::Clock;
use super::refusals::{Refusal, Ruling};
use super::roster::Member;
use super::settlement::{Disposition, Said, Settlement, record_part};
use super::{Command, ConnectionId, Queue, Settings, Taken};
use crate::envelope::{Envelope, Recipient, ReversePath};
use crate::log;
use crate::queue_id::QueueId;
use crate::relay::{Report, Transaction, Unmarked, Verdict, Work};
use crate::spool::{Content, Ledger, Mark, ReadError, Replies, Spool, Stored};

/// What couriers and settlements of one generation of settings share.
pub(super) struct Desk {
    pub(super) queue: Queue,
    pub(super) spool: Spool,
    pub(super) settings: Settings,
    pub(super) clock: Arc<dyn Clock>,
    /// The relay has refused mail from `<>` to the postmaster.
    pub(super) null_is_refused: AtomicBool,
}

impl Desk {
    pub(super) fn new(queue: Queue, spool: Spool, settings: Settings, clock: Arc<dyn Clock>) -> Self {
        Desk { queue, spool, settings, clock, null_is_refused: AtomicBool::new(false) }
    }

    pub(super) fn became(&self, id: QueueId, disposition: Disposition) {
        self.queue.tell(Command::Became { id, disposition });
    }

    /// Says in the log that the run before may have sent this message, where nobody has said so. Called at the latest
    /// moment that is safe: before a second final dot, and before a record that ends the mark on the spool.
    pub(super) fn tell_hidden_duplicate(&self, attempt: &mut Attempt) {
        let Attempt { id, member, .. } = attempt;
        if member.marks.hides_duplicate() {
            log::possible_duplicate(*id, "an earlier attempt was past its content when nullmta ended");
            member.marks.set(Mark::Told, true);
            self.queue.tell(Command::DuplicateTold(*id));
        }
    }
}

/// A message under way, without its content: what its report will be settled with.
pub(super) struct Attempt {
    pub(super) id: QueueId,
    pub(super) member: Member,
    pub(super) envelope: Envelope,
    /// The reverse-path that the relay is told.
    pub(super) told: ReversePath,
    pub(super) arrived: Timestamp,
    pub(super) taken_at: Timestamp,
    /// The same by the steady clock.
    pub(super) taken_steady: Timestamp,
    /// How long it was ready before a connection took it.
    pub(super) queued: Duration,
    pub(super) progress: Progress,
    pub(super) ledger: Ledger,
    /// What each recipient was told last.
    pub(super) replies: Replies,
    /// Recipients whose transaction is still to come; those never asked before come first.
    pub(super) rest: VecDeque<usize>,
    /// What the transactions before came to.
    pub(super) earlier: Option<Said>,
}

/// How far an attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The relay cannot have the message.
    BeforeDot,
    /// All but the final dot has been written: from here on the relay may have it.
    PastContent,
}

/// One connection's link to the queue.
pub struct Courier {
    desk: Arc<Desk>,
    connection: ConnectionId,
    /// Given out and not yet reported: the transaction at hand and the one that rides behind it.
    attempts: HashMap<QueueId, Attempt>,
    /// Those of them that another transaction is to follow for.
    unfinished: VecDeque<QueueId>,
    /// How many recipients the relay takes in one transaction, as far as is known.
    most_recipients: usize,
}

impl Courier {
    pub(super) fn new(desk: Arc<Desk>, connection: ConnectionId) -> Self {
        let most_recipients = desk.settings.recipients_per_message.get();
        Courier { desk, connection, attempts: HashMap::new(), unfinished: VecDeque::new(), most_recipients }
    }

    /// The next message's name; with no `patience`, only if one is ready now.
    async fn take(&self, patience: Duration) -> Option<Taken> {
        let (answer, mut answered) = oneshot::channel();
        let wait = !patience.is_zero();
        self.desk.queue.tell(Command::Next { connection: self.connection, wait, answer });
        if !wait {
            return answered.await.ok().flatten();
        }
        if let Ok(taken) = tokio::time::timeout(patience, &mut answered).await {
            return taken.ok().flatten();
        }
        // The owner may have answered in this very moment: what it gave must not be dropped.
        answered.close();
        answered.try_recv().ok().flatten()
    }

    /// Reads the message from the spool; `None` where it cannot be read.
    async fn open(&mut self, taken: Taken) -> Option<Transaction> {
        let Taken { id, member } = taken;
        let spool = self.desk.spool.clone();
        // The page cache has it as a rule; a cold disk must not stall other connections.
        let stored = spawn_blocking(move || spool.read(id)).await;
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

    /// The next transaction of a message that is under way here; `None` where it cannot be read any more.
    async fn go_on(&mut self, id: QueueId) -> Option<Transaction> {
        let spool = self.desk.spool.clone();
        // Its checksums have been looked at when it was begun.
        let stored = spawn_blocking(move || spool.peek(id)).await;
        let attempt = self.attempts.get_mut(&id)?;
        if let Ok(Ok(Stored { content, content_len, .. })) = stored {
            return Some(transaction(attempt, self.most_recipients, content, content_len));
        }
        // The next attempt says why.
        self.settle_parts(id);
        None
    }

    /// Settles a message as far as it has come.
    fn settle_parts(&mut self, id: QueueId) {
        if let Some(attempt) = self.attempts.remove(&id) {
            Settlement::of_parts(self.desk.clone(), attempt).spawn();
        }
    }

    /// Puts back recipients that go in a further transaction, and remembers how many the relay takes in one where
    /// they were too many for this.
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
        self.desk.queue.tell(Command::Lost { connection: self.connection, id, in_doubt });
    }

    /// Says what becomes of a message that cannot be read.
    fn pass_over(&self, id: QueueId, error: &ReadError) {
        let (disposition, then) = match error {
            ReadError::Gone => (Disposition::Removed, "it is no longer in the queue"),
            ReadError::Damaged => (Disposition::Dead, "dead, kept on the spool"),
            ReadError::Io(_) => (Disposition::Postponed, "will try again"),
        };
        log::unreadable(id, error, then);
        self.desk.became(id, disposition);
    }

    /// What the owner, who sees what other messages were told, makes of a refusal.
    async fn ruling(&self, report: &Report) -> Ruling {
        let envelope = self.attempts.get(&report.id).map(|attempt| &attempt.envelope);
        let refusal = envelope.and_then(|envelope| Refusal::of(report, envelope));
        let Some(refusal) = refusal else { return Ruling::AsSaid };
        let (connection, queue) = (self.connection, &self.desk.queue);
        let ruling = queue.ask(|answer| Command::Judge { connection, refusal, answer }).await;
        // An owner that has stopped can tell no more: the next start tries it again.
        ruling.unwrap_or(Ruling::Untold)
    }

    /// Whether the end of a connection that had served says nothing of the message it had.
    async fn is_leave_excused(&self, id: QueueId) -> bool {
        let (connection, queue) = (self.connection, &self.desk.queue);
        queue.ask(|answer| Command::Left { connection, id, answer }).await.unwrap_or(true)
    }

    /// A message whose every recipient had its end before a crash could record its removal.
    fn finish(&mut self, id: QueueId) {
        if let Some(attempt) = self.attempts.remove(&id) {
            Settlement::of_finished(self.desk.clone(), attempt).spawn();
        }
    }
}

impl Work for Courier {
    async fn next(&mut self, patience: Duration) -> Option<Transaction> {
        // Ends: a round without a transaction has taken a message out of the ready ones, and none of them
        // is put back while this task has not yielded to the owner.
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
        let marked = self.desk.spool.mark_in_flight(id).await;
        if let Some(attempt) = self.attempts.get_mut(&id).filter(|_| marked.is_ok()) {
            attempt.progress = Progress::PastContent;
            self.desk.tell_hidden_duplicate(attempt);
        }
        marked.map_err(|error| {
            self.desk.queue.tell(Command::Unmarked { id, error });
            Unmarked
        })
    }

    async fn report(&mut self, mut report: Report) {
        let has = |verdict| report.recipients.iter().any(|recipient| recipient.verdict == verdict);
        let has_answered = has(Verdict::Sent) || has(Verdict::Deferred) || has(Verdict::Bounced);
        if has(Verdict::Sent) {
            self.desk.queue.tell(Command::Taken(self.connection));
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
            self.desk.queue.tell(Command::Answered(self.connection));
        }
        let is_untold = report.recipients.iter().any(|recipient| recipient.verdict == Verdict::Untold);
        let breaks_off = ruling != Ruling::AsSaid || is_untold;
        let id = report.id;
        let Some(mut attempt) = self.attempts.remove(&id) else { return };
        self.put_back(&mut attempt, &mut report);
        if breaks_off || attempt.rest.is_empty() {
            return Settlement::of_report(self.desk.clone(), attempt, report, ruling).spawn();
        }
        let recorded = record_part(&self.desk, &mut attempt, report).await;
        self.attempts.insert(id, attempt);
        match recorded {
            Ok(()) => self.unfinished.push_back(id),
            // A settlement tries until it can be recorded, and nothing is sent meanwhile.
            Err(_) => self.settle_parts(id),
        }
    }
}

impl Drop for Courier {
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
            // Where the runtime itself ends, the next start finds what was recorded.
            if Handle::try_current().is_ok() {
                Settlement::of_unreported(self.desk.clone(), attempt).spawn();
            } else {
                self.desk.became(id, Disposition::Lost { warned: false });
            }
        }
    }
}

/// The next transaction of `attempt`, for at most so many of its recipients.
fn transaction(attempt: &mut Attempt, most_recipients: usize, content: Content, size: u64) -> Transaction {
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

fn reader(content: Content) -> Box<dyn AsyncRead + Send + Unpin> {
    match content {
        Content::Memory(octets) => Box::new(io::Cursor::new(octets)),
        Content::File { file, .. } => Box::new(tokio::fs::File::from_std(file)),
    }
}
