//! [`Spool`]: the handle by which the rest of the program uses the spool.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use jiff::Timestamp;
use tokio::sync::mpsc::{Sender, UnboundedSender};
use tokio::sync::{oneshot, watch};

use super::Committed;
use super::change::IndexChange;
use super::draft::{Draft, FinishedDraft};
use super::entry::{
    CommitError, Entry, GlancedEnvelope, IndexedMessage, OpenError, Options, ReadError, Recovery, SpoolSpace,
    Stored,
};
use super::fs::Fs;
use super::glance;
use super::ledger::Ledger;
use super::marks::{EntryState, Flight};
use super::order::Removal;
use super::payload::{self, DsnEffect, HeldFromFirst, Meta};
use super::read::{self, Check};
use super::replies::Replies;
use super::request::{Acknowledgement, Order, Request};
use super::shared::SharedSpool;
use super::standing::OrdersUnwritten;
use super::start::{self, OpenedSpool};
use crate::envelope::{Envelope, ReversePath, ReversePathKey, Submitter};
use crate::filter::{HolderKind, MailHolder};
use crate::histogram::DurationCounts;
use crate::queue_id::QueueId;
use crate::standing_orders::{HoldRule, NewMessage, StandingOrders};

/// A handle of the spool; clones share one writer. When the last one is dropped, what has been sent to the writer is
/// written, and the writer ends without the mark of a clean end.
#[derive(Clone)]
pub struct Spool {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<SharedSpool>,
    /// The sender of orders to the writer; `None` only while the handle is dropped.
    orders: Option<Sender<Order>>,
    stock_runs: watch::Receiver<()>,
    threads: Mutex<Option<[JoinHandle<()>; 2]>>,
}

impl Spool {
    /// Opens the spool by recovery, which is the only way to start. The writer announces new messages on `arrivals` after
    /// their sync; those that recovery has found are in the result. This blocks.
    pub fn open(
        options: Options,
        fs: Arc<dyn Fs>,
        arrivals: UnboundedSender<Entry>,
    ) -> Result<(Spool, Recovery), OpenError> {
        let OpenedSpool { shared, orders, stock_runs, threads, recovery } =
            start::open(options, fs, arrivals)?;
        let inner = Inner { shared, orders: Some(orders), stock_runs, threads: Mutex::new(Some(threads)) };
        Ok((Spool { inner: Arc::new(inner) }, recovery))
    }

    /// Returns whether a message of `size` octets would be taken now: it looks at the free space of the disk, as of the last
    /// second, and at the number of messages.
    pub fn check_room(&self, size: u64) -> Result<(), CommitError> {
        let shared = self.shared();
        if shared.is_astray() {
            return Err(CommitError::Astray);
        }
        shared.room.check(size, self.len(), &shared.unfinished)
    }

    /// Returns the space that the records of live messages take, and that of the disk when it was asked last.
    pub fn space(&self) -> SpoolSpace {
        let shared = self.shared();
        let disk = shared.room.known();
        SpoolSpace {
            octets: shared.index().live_octets(),
            free: disk.map(|disk| disk.free),
            size: disk.map(|disk| disk.size).filter(|size| *size > 0),
            reserve: shared.options.min_free_space,
        }
    }

    /// Returns how long the syncs of batches took since the start.
    pub fn syncs(&self) -> DurationCounts {
        self.shared().syncs.counts()
    }

    /// Returns the reason, in words, why no mail is taken; `None` while mail is taken.
    pub fn trouble(&self) -> Option<String> {
        if self.shared().is_astray() {
            return Some(CommitError::Astray.to_string());
        }
        if self.shared().is_failing() {
            return Some(format!("{}, as the log says", CommitError::Trouble));
        }
        self.shared().room.shortage().map(|shortage| format!("full: {shortage}"))
    }

    /// Begins a message and gives it its queue id.
    pub fn draft(&self, now: Timestamp) -> Draft {
        Draft::new(Arc::clone(self.shared()), self.shared().ids.next(now))
    }

    /// Puts a message on the spool; returns when it is on stable storage.
    pub async fn commit(
        &self,
        draft: Draft,
        envelope: Envelope,
        submitter: Submitter,
        now: Timestamp,
    ) -> Result<Committed, CommitError> {
        self.commit_with(draft, envelope, submitter, now, DsnEffect::Nothing).await
    }

    /// Commits a DSN and, in the same record, marks recipients of the original as bounced.
    pub async fn commit_bounce(
        &self,
        draft: Draft,
        envelope: Envelope,
        of: &mut Ledger,
        recipients: &[usize],
        now: Timestamp,
    ) -> Result<Committed, CommitError> {
        // An index above 32 bits is none of the ledger's, which ignores it.
        let recipients: Vec<u32> = recipients.iter().filter_map(|index| u32::try_from(*index).ok()).collect();
        let effect = DsnEffect::Closes { of: of.id(), recipients: recipients.clone() };
        let committed = self.commit_with(draft, envelope, Submitter::Ourselves, now, effect).await?;
        of.bounced_with_dsn(&recipients);
        Ok(committed)
    }

    /// Commits a delay DSN and, in the same record, that `of` has been warned of.
    pub async fn commit_warning(
        &self,
        draft: Draft,
        envelope: Envelope,
        of: QueueId,
        now: Timestamp,
    ) -> Result<Committed, CommitError> {
        self.commit_with(draft, envelope, Submitter::Ourselves, now, DsnEffect::Warns { of }).await
    }

    /// Reads a message and checks every octet of it. This blocks: it reads from the page cache as a rule, but all of a large
    /// file.
    pub fn read(&self, id: QueueId) -> Result<Stored, ReadError> {
        read::read(self.shared(), id, Check::Everything)
    }

    /// Reads a message as [`Spool::read`] does, without waiting for the disk. Returns `None` if it may have to wait, or if
    /// anything is wrong: [`Spool::read`] then says what. A message that has just arrived is in memory as a rule.
    pub fn read_at_once(&self, id: QueueId) -> Option<Stored> {
        read::read_at_once(self.shared(), id)
    }

    /// Reads a message as [`Spool::read`] does, but does not check the content of a large file. Listings and DSNs use none or
    /// little of it.
    pub fn peek(&self, id: QueueId) -> Result<Stored, ReadError> {
        read::read(self.shared(), id, Check::AllButLarge)
    }

    /// Records those outcomes in `ledger` that are not recorded yet; returns when they are synced.
    pub async fn record(&self, ledger: &mut Ledger) -> Result<(), CommitError> {
        if ledger.unrecorded().is_empty() {
            return Ok(());
        }
        let fates = ledger.unrecorded().to_vec();
        let payload = payload::encode_fates(&fates);
        self.change(ledger.id(), IndexChange::Close(fates), payload).await?;
        ledger.recorded();
        Ok(())
    }

    /// Removes a message that is settled, or that an operator has ordered to be deleted; returns when that is synced.
    pub async fn remove(&self, removal: impl Into<Removal>) -> Result<(), CommitError> {
        self.change(removal.into().id(), IndexChange::Settle, Vec::new()).await
    }

    /// Opens the dead recipients of a message again, and makes it one that is held; returns when that is synced.
    pub async fn reopen(&self, id: QueueId) -> Result<(), CommitError> {
        self.change(id, IndexChange::Reopen, vec![payload::REOPENED]).await
    }

    /// Gives a message another state; returns when that is synced.
    pub async fn set_state(&self, id: QueueId, state: EntryState) -> Result<(), CommitError> {
        self.change(id, IndexChange::State(state), payload::encode_state(state).into()).await
    }

    /// Puts a message on hold, by this holder; returns when that is synced.
    pub async fn hold(&self, id: QueueId, by: &MailHolder) -> Result<(), CommitError> {
        self.change(id, IndexChange::State(EntryState::OnHold), payload::encode_hold(by)).await
    }

    /// Assigns a message to the route of this name, or to the top-level `relayhost` if it is empty; returns when that is synced.
    pub async fn assign_route(&self, id: QueueId, route: &str) -> Result<(), CommitError> {
        self.change(id, IndexChange::Assign, payload::encode_route(route)).await
    }

    /// Notes the last reply to each recipient, and the patience used by then. Whoever reads the message from then on gets it. It is not synced: it is lost
    /// with the power, and where the spool can record nothing.
    pub async fn note_replies(&self, id: QueueId, replies: &Replies) {
        let (answer, done) = oneshot::channel();
        let answer = Acknowledgement::Durable(answer);
        let change = IndexChange::Note { patience_used: replies.patience_used() };
        let request = Request::plain(id, change, replies.encode(), self.shared(), answer);
        // A hint that is refused is missing, and no more.
        let _ = self.ask(request, done).await;
    }

    /// Marks a message as in flight; it is called just before the final dot. When this returns Ok the mark is written,
    /// so that it survives kill -9, but not synced. After an error there is no mark, and a duplicate would not be
    /// noticed.
    pub async fn mark_in_flight(&self, id: QueueId) -> Result<(), CommitError> {
        self.record_flight(id, Flight::Begun).await
    }

    /// Records how the last attempt has ended, of which nothing else is recorded. It survives kill -9 as the mark does. Where
    /// it is lost, the log says once more after the next start that the message may be a duplicate.
    pub async fn end_flight(&self, id: QueueId, how: Flight) {
        let _ = self.record_flight(id, how).await;
    }

    async fn record_flight(&self, id: QueueId, flight: Flight) -> Result<(), CommitError> {
        let (answer, written) = oneshot::channel();
        let answer = Acknowledgement::Written(answer);
        let change = IndexChange::InFlight(flight);
        let request = Request::plain(id, change, payload::encode_flight(flight), self.shared(), answer);
        self.ask(request, written).await
    }

    /// Writes a record that changes nothing about a message; returns when it is synced. A caller whose record was refused
    /// learns by this whether the next one will be taken.
    pub async fn try_recording(&self, id: QueueId) -> Result<(), CommitError> {
        self.change(id, IndexChange::Close(Vec::new()), payload::encode_fates(&[])).await
    }

    /// Sets the relay clock: the number of seconds for which the relay has been usable in the life of the spool. Every record
    /// bears it.
    pub fn set_relay_clock(&self, seconds: u32) {
        self.shared().relay_clock.store(seconds, Ordering::Relaxed);
    }

    /// Returns the relay clock as it was set last, or found by recovery.
    pub fn relay_clock(&self) -> u32 {
        self.shared().relay_clock.load(Ordering::Relaxed)
    }

    /// Returns whether the relay of that name has ever taken a message of this spool.
    pub fn knows_relay(&self, name: &str) -> bool {
        self.shared().relays.contain(name)
    }

    /// Remembers that the relay of that name has taken a message. This blocks.
    pub fn remember_relay(&self, name: &str) -> io::Result<()> {
        let shared = self.shared();
        shared.relays.add(&*shared.fs, &shared.paths, name)
    }

    /// Returns the note of how much is used of the rates of the relay, or of the limit, of that name; an empty one if there
    /// is none.
    pub fn noted_rates(&self, relay: &str) -> String {
        self.shared().rates.about(relay)
    }

    /// Notes how much is used of the rates of the relay, or of the limit, of that name: on disk with the next
    /// [`Spool::write_rates`]. An empty note is forgotten.
    pub fn note_rates(&self, relay: &str, note: &str) {
        self.shared().rates.set(relay, note);
    }

    /// Writes the notes of how much of rates and limits is used. This blocks.
    pub fn write_rates(&self) -> io::Result<()> {
        let shared = self.shared();
        shared.rates.write(&*shared.fs, &shared.paths)
    }

    /// Returns the standing orders of operators.
    pub fn standing_orders(&self) -> Arc<StandingOrders> {
        self.shared().standing.orders()
    }

    /// Changes the standing orders: on stable storage, and in force for every message that is committed later, when this returns
    /// Ok. This blocks, also for the commits that are under way, which may have been looked at by the orders before.
    pub fn change_standing_orders<T>(
        &self,
        change: impl FnOnce(&mut StandingOrders) -> T,
    ) -> Result<T, OrdersUnwritten> {
        let shared = self.shared();
        let changed = shared.standing.change(&*shared.fs, &shared.paths, change)?;
        shared.commits.wait_for_earlier();
        Ok(changed)
    }

    /// Returns the number of messages that the hold rule of this number has held since the start.
    pub fn held_by_rule(&self, number: u32) -> u64 {
        self.shared().standing.held_by(number)
    }

    /// Returns the `count` messages that follow `after`, or the first ones, in the order of their ids: a page of a listing.
    pub fn following(&self, after: Option<QueueId>, count: usize) -> Vec<IndexedMessage> {
        self.shared().index().following(after, count)
    }

    /// Returns those of these messages that are on the spool.
    pub fn indexed(&self, ids: &[QueueId]) -> Vec<IndexedMessage> {
        self.shared().index().indexed(ids)
    }

    /// Returns the envelope of a message without reading its content or checking it: for a look through very many messages.
    /// What it leads to is to be read ([`Spool::peek`]). Returns `None` where only that can tell it. This blocks: it reads
    /// a little from the page cache as a rule.
    pub fn glance(&self, id: QueueId) -> Option<GlancedEnvelope> {
        glance::glance(self.shared(), id)
    }

    /// Returns the newest queue id that was given to a message.
    pub fn newest(&self) -> QueueId {
        self.shared().ids.high_water()
    }

    /// Returns the number of messages on the spool.
    pub fn len(&self) -> u64 {
        self.shared().index().len()
    }

    /// Returns the number of messages of this user on the spool, whichever way they came.
    pub fn messages_of(&self, uid: u32) -> u64 {
        self.shared().index().live_of(uid)
    }

    /// Returns the number of messages for which there is room beside those that are on the spool (`queue.max-messages`).
    pub fn places_left(&self) -> u64 {
        self.shared().options.max_messages.saturating_sub(self.len())
    }

    /// Returns whether no message is on the spool.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until the writer has ended, by panic even. Then nothing can be recorded any more, and only a restart helps.
    pub async fn writer_ended(&self) {
        if let Some(orders) = &self.inner.orders {
            orders.closed().await;
        }
    }

    /// Waits until the thread that makes and removes segments has ended, by panic even. Then mail is refused as soon as the
    /// segments that there are have been filled, and only a restart helps.
    pub async fn stock_ended(&self) {
        // Nothing is ever sent: it ends when the thread has dropped the other side.
        while self.inner.stock_runs.clone().changed().await.is_ok() {}
    }

    /// Asks the writer to look soon if the spool is still where it was: it may have been removed. It is called each second.
    pub fn look(&self) {
        if let Some(orders) = &self.inner.orders {
            // A writer that is busy looks behind each sync anyway.
            let _ = orders.try_send(Order::Look);
        }
    }

    /// Closes the spool: what has been sent is written, a clean end is marked, and the threads end. Nothing durable depends
    /// on it.
    pub async fn close(&self) {
        let (answer, closed) = oneshot::channel();
        if self.send(Order::Close(answer)).await.is_ok() {
            let _ = closed.await;
        }
        let inner = Arc::clone(&self.inner);
        // The writer has ended, or ends at once: it has closed its side of the channel.
        let _ = tokio::task::spawn_blocking(move || inner.join()).await;
    }

    /// Makes the next segment ready, as it is in a spool whose active segment is half used.
    #[cfg(test)]
    pub(super) fn make_ready(&self) {
        while !self.shared().stock.made().is_ready() {
            self.shared().stock.wait_for_piece().unwrap();
        }
    }

    async fn commit_with(
        &self,
        draft: Draft,
        envelope: Envelope,
        submitter: Submitter,
        now: Timestamp,
        effect: DsnEffect,
    ) -> Result<Committed, CommitError> {
        let shared = self.shared();
        if !draft.belongs_to(shared) {
            return Err(CommitError::Trouble);
        }
        let id = draft.id();
        let FinishedDraft { memory: content, large, on_hold, handed_in_from } = draft.finish().await?;
        let (large, name) = large.unzip();
        let _passing = shared.commits.enter();
        let original_from = handed_in_from.filter(|from| *from != envelope.reverse_path);
        let original_from = original_from.map(|from| from.to_string());
        let by_rule = self.hold_rule_for(&envelope, original_from.as_deref(), submitter, now);
        let held_by = |by, words| HeldFromFirst { by, words };
        let rule = by_rule.as_ref().map(|rule| held_by(MailHolder::rule(rule.number), rule.to_string()));
        let on_hold = rule.or_else(|| on_hold.map(|why| held_by(MailHolder::of(HolderKind::Limit), why)));
        let lane = lane(submitter, &envelope.reverse_path);
        let patience_mark = shared.relay_clock.load(Ordering::Relaxed);
        let meta =
            Meta { arrived: now, submitter, lane, patience_mark, effect, large, on_hold, original_from };
        let change =
            IndexChange::Arrive { effect: meta.effect.clone(), marks: meta.marks(), uid: submitter.user() };
        let front = payload::encode_message(&meta, &envelope);
        let sum = shared.spool.payload_sum(&[&front, &content]);
        let entry = Some(meta.entry(id, ReversePathKey::from(&envelope.reverse_path)));
        let (answer, done) = oneshot::channel();
        let answer = Acknowledgement::Durable(answer);
        let request = Request { id, change, front, content, sum, entry, large: name, answer };
        self.ask(request, done).await?;
        by_rule.iter().for_each(|rule| shared.standing.count_held(rule.number));
        Ok(Committed { id, on_hold: meta.on_hold.map(|hold| hold.words) })
    }

    /// Returns the rule that holds this message, if there is one.
    fn hold_rule_for(
        &self,
        envelope: &Envelope,
        original_from: Option<&str>,
        submitter: Submitter,
        now: Timestamp,
    ) -> Option<HoldRule> {
        let orders = self.standing_orders();
        orders.rules(now).next()?;
        let to: Vec<String> =
            envelope.recipients.iter().map(|recipient| recipient.address.to_string()).collect();
        let message = NewMessage {
            uid: submitter.user(),
            is_report: submitter == Submitter::Ourselves,
            from: &envelope.reverse_path.to_string(),
            original_from,
            to: &to,
        };
        orders.hold_rule_for(&message, now).cloned()
    }

    async fn change(&self, id: QueueId, change: IndexChange, payload: Vec<u8>) -> Result<(), CommitError> {
        let (answer, done) = oneshot::channel();
        let request = Request::plain(id, change, payload, self.shared(), Acknowledgement::Durable(answer));
        self.ask(request, done).await
    }

    async fn ask(
        &self,
        request: Request,
        done: oneshot::Receiver<Result<(), CommitError>>,
    ) -> Result<(), CommitError> {
        self.send(Order::Write(Box::new(request))).await?;
        // No answer: the writer died, and what it wrote last is not to be trusted.
        done.await.unwrap_or(Err(CommitError::Trouble))
    }

    async fn send(&self, order: Order) -> Result<(), CommitError> {
        let orders = self.inner.orders.as_ref().ok_or(CommitError::Closed)?;
        orders.send(order).await.map_err(|_| CommitError::Closed)
    }

    fn shared(&self) -> &Arc<SharedSpool> {
        &self.inner.shared
    }
}

impl Inner {
    /// Waits until both threads have ended.
    fn join(&self) {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some([writer, stock]) = threads {
            // A thread that panicked has said so; there is nothing to add.
            let _ = writer.join();
            self.shared.stock.close();
            let _ = stock.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Without senders the writer ends.
        self.orders = None;
        self.join();
    }
}

/// Returns the lane in which a submitter waits its turn: by its uid where that is known, else by its reverse-path, in which
/// upper and lower case count as the same.
fn lane(submitter: Submitter, reverse_path: &ReversePath) -> u64 {
    match submitter.user() {
        Some(uid) => fnv1a(&format!("uid {uid}")),
        None => fnv1a(&reverse_path.to_string().to_lowercase()),
    }
}

/// Returns the FNV-1a hash of a text. It is the same in every run, since lanes are stored.
fn fnv1a(text: &str) -> u64 {
    text.bytes()
        .fold(0xCBF2_9CE4_8422_2325, |hash, octet| (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01B3))
}
