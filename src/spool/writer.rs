//! The one thread that writes segments.
//!
//! It takes whatever has arrived while the last sync ran, writes it as one batch and syncs once: group
//! commit that waits for nobody. Only where content is coming in at this moment does it let others run first,
//! if they wait for a processor: on a busy machine that is what makes batches of messages.
//!
//! Promises
//! 1. An answer of Ok to a request that must be durable comes after the sync that made it so. The index
//!    has changed before the answer; a new message is announced on `arrivals` before it, too.
//! 2. A failed write or sync refuses the whole batch, with `Full` or `Trouble`, and changes nothing:
//!    what it left in the segment is void, now and after a restart (`format.rs`, promises 3 and 4).
//!    Only a crash before the next segment is begun may bring a refused message back, whole.
//! 3. The writer never gives up: each batch tries to begin a new segment while there is none.
//! 4. A full disk drains: who may take which space is decided, and proven, in `space.rs`.
//! 5. Nothing is acknowledged in a segment whose name does not lead to it any more (`writer/rescue.rs`).
//! 6. A large file is unlinked only when no record that names it can come back.
//!
//! Not here: the segment (`segment.rs`), the cleaner's choice (`clean.rs`), the threads' start (`start.rs`) and
//! end (`handle.rs`).

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{Receiver, UnboundedSender};
use tokio::sync::oneshot;

use super::change::IndexChange;
use super::clean::{Cleaner, CleanerStep};
use super::draft::LargeName;
use super::entry::{CommitError, Entry};
use super::format::{FORMAT_VERSION, MAX_PAYLOAD, PreviousSegment, SECTOR, SegmentHeader, record_length};
use super::marks::Mark;
use super::presence::{Presence, leads_to};
use super::request::{Acknowledgement, Batch, Order, Request};
use super::segment::{ActiveSegment, AppendPoint, NewRecord};
use super::shared::SharedSpool;
use super::space::{self, Decision, Fill, SegmentSize, SpaceClaim, SpareRoom};
use crate::log;
use crate::queue_id::QueueId;

mod idle;
mod rescue;
mod room;

/// Number of octets at which a batch is written, although more has arrived.
const BATCH: usize = 4 << 20;

/// The thread that writes all records; it owns the active segment, the batch and the cleaner.
pub(super) struct SpoolWriter {
    shared: Arc<SharedSpool>,
    arrivals: UnboundedSender<Entry>,
    /// The segment that is written; `None` after a fault, until the next one can be begun.
    active: Option<ActiveSegment>,
    /// The facts that the next header is to state of the segment before it, while none is active.
    previous: Option<PreviousSegment>,
    batch: Batch,
    /// The number of octets of the batch that was written last.
    batch_octets: usize,
    /// Refused messages whose records may be in the segment. Their large files are removed after the next sync.
    doubtful: Vec<QueueId>,
    cleaner: Cleaner,
    /// True if the cleaner had something to do in its last step.
    cleaner_works: bool,
    /// The directories and the lock with which the spool was opened.
    presence: Presence,
    /// The reason why a removed spool cannot be made anew, as the log has said it last.
    homeless: Option<String>,
}

impl SpoolWriter {
    /// Returns a writer that begins behind the last segment that recovery read.
    pub fn new(
        shared: Arc<SharedSpool>,
        arrivals: UnboundedSender<Entry>,
        previous: Option<PreviousSegment>,
        presence: Presence,
    ) -> Self {
        SpoolWriter {
            shared,
            arrivals,
            active: None,
            previous,
            batch: Batch::default(),
            batch_octets: 0,
            doubtful: Vec::new(),
            cleaner: Cleaner::default(),
            cleaner_works: false,
            presence,
            homeless: None,
        }
    }

    /// Carries out orders until one says to close, or no sender is left. The writer's thread runs this.
    pub fn run(mut self, mut orders: Receiver<Order>) {
        self.clean();
        while let Some(order) = self.next_order(&mut orders) {
            let closing = self.gather(order, &mut orders);
            self.flush();
            if let Some(answer) = closing {
                self.close(&mut orders);
                let _ = answer.send(());
                return;
            }
            self.come_home();
            self.let_dead_segments_go();
            self.clean();
        }
    }

    /// Waits for the next order and returns it; moves messages out of old segments meanwhile. Returns `None` when no sender
    /// is left.
    fn next_order(&mut self, orders: &mut Receiver<Order>) -> Option<Order> {
        loop {
            match orders.try_recv() {
                Ok(order) => return Some(order),
                Err(TryRecvError::Disconnected) => return None,
                // If there was nothing to clean behind the last batch, there is nothing now.
                Err(TryRecvError::Empty) if self.cleaner_works && self.clean() => {}
                Err(TryRecvError::Empty) => return self.wait_for_order(orders),
            }
        }
    }

    fn wait_for_order(&self, orders: &mut Receiver<Order>) -> Option<Order> {
        #[cfg(test)]
        while let Some(turns) = self.shared.fs.turns() {
            match orders.try_recv() {
                Err(TryRecvError::Empty) => turns.wait(),
                order => return order.ok(),
            }
        }
        orders.blocking_recv()
    }

    /// Puts the records that have arrived into the batch. If an order to close was among the orders, returns the sender
    /// of its answer.
    fn gather(&mut self, first: Order, orders: &mut Receiver<Order>) -> Option<oneshot::Sender<()>> {
        let mut next = Some(first);
        while let Some(order) = next {
            match order {
                Order::Write(request) => self.put(*request),
                Order::Close(answer) => return Some(answer),
                Order::Look => self.look(),
            }
            if self.batch.octets.len() >= BATCH {
                break;
            }
            next = self.arrived(orders);
        }
        None
    }

    /// Returns one more order, if there is one. `sched_yield(2)` returns at once when no thread waits for the processor.
    fn arrived(&self, orders: &mut Receiver<Order>) -> Option<Order> {
        let at_once = orders.try_recv().ok();
        if at_once.is_some() || !self.shared.has_drafts() {
            return at_once;
        }
        std::thread::yield_now();
        orders.try_recv().ok()
    }

    fn close(&mut self, orders: &mut Receiver<Order>) {
        orders.close();
        while let Ok(order) = orders.try_recv() {
            if let Order::Write(request) = order {
                self.put(*request);
            }
        }
        self.flush();
        self.leave();
        let end = Request::plain(
            QueueId::from_raw(0),
            IndexChange::CleanEnd,
            Vec::new(),
            &self.shared,
            Acknowledgement::Nobody,
        );
        self.put(end);
        self.flush();
    }

    /// Puts a record into the batch, or refuses it.
    pub(super) fn put(&mut self, mut request: Request) {
        if request.is_pointless(&self.shared) {
            return request.answer.durable(Ok(()));
        }
        let length = request.front.len() + request.content.len();
        if request.claim() == SpaceClaim::Mail && self.shared.is_astray() {
            return request.answer.durable(Err(CommitError::Astray));
        }
        let Some(length) = u32::try_from(length).ok().filter(|length| *length <= MAX_PAYLOAD) else {
            return request.answer.durable(Err(CommitError::Trouble));
        };
        if let Err(error) = self.make_room(record_length(length), request.claim()) {
            self.note_refusal(&request, error);
            return request.answer.durable(Err(error));
        }
        // `make_room` leaves an active segment.
        let Some(active) = &mut self.active else { return };
        let record = NewRecord {
            kind: request.change.kind(),
            id: request.id,
            payload_sum: request.sum,
            relay_clock: self.shared.relay_clock.load(Ordering::Relaxed),
            payload: &[&request.front, &request.content],
        };
        let place = active.encode(&mut self.batch.octets, &record);
        // From here on a record may come to name the file.
        request.large.take().into_iter().for_each(LargeName::keep);
        self.batch.must_sync |= !request.change.kind().is_hint();
        self.batch.requests.push((request, place));
    }

    /// Writes the batch, syncs it and answers.
    pub(super) fn flush(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        if !batch.requests.is_empty() {
            self.batch_octets = batch.octets.len();
            match self.write(&mut batch) {
                Ok(()) => self.succeed(&mut batch),
                Err(error) => self.refuse(&mut batch, error),
            }
        }
        batch.octets.clear();
        batch.octets.shrink_to(BATCH);
        self.batch.octets = batch.octets;
    }

    fn write(&mut self, batch: &mut Batch) -> Result<(), CommitError> {
        let active = self.active.as_mut().ok_or(CommitError::Trouble)?;
        let before = active.append_point();
        if let Err(e) = active.append(&mut batch.octets) {
            log::spool_write(active.sequence(), &e);
            let error = CommitError::from(e.kind());
            if error == CommitError::Trouble {
                self.seal();
            }
            return Err(error);
        }
        batch.answer_written();
        if batch.must_sync { self.make_durable(before) } else { Ok(()) }
    }

    /// Syncs what was appended since `before`, and makes sure that it is where the next start looks for it.
    fn make_durable(&mut self, before: AppendPoint) -> Result<(), CommitError> {
        let active = self.active.as_mut().ok_or(CommitError::Trouble)?;
        let began = Instant::now();
        let synced = active.sync();
        self.shared.syncs.count(began.elapsed());
        let is_there = synced.and_then(|()| match &self.active {
            // While the spool is astray, records are written as well as can be.
            Some(active) if !self.shared.is_astray() => self.is_there(active),
            _ => Ok(true),
        });
        let active = self.active.as_mut().ok_or(CommitError::Trouble)?;
        match is_there {
            Ok(true) => Ok(()),
            Ok(false) => {
                active.roll_back(before);
                self.go_astray();
                Err(CommitError::Astray)
            }
            Err(e) => {
                log::spool_sync(active.sequence(), &e);
                active.roll_back(before);
                self.seal();
                Err(CommitError::from(e.kind()))
            }
        }
    }

    /// Returns whether a segment still has its name.
    fn is_there(&self, active: &ActiveSegment) -> io::Result<bool> {
        leads_to(&*self.shared.fs, &self.shared.paths.segment(active.sequence()), active.file())
    }

    /// Stops using the active segment, and tries at once to say so in the header of the next one.
    fn seal(&mut self) {
        if let Some(active) = self.active.take() {
            self.previous = Some(active.sealed());
        }
        // If it fails, the next batch tries again; meanwhile everything is refused.
        let _ = self.begin_segment(SegmentSize::Any);
    }

    fn succeed(&mut self, batch: &mut Batch) {
        let mut unnamed = Vec::new();
        {
            let mut index = self.shared.index();
            for (request, place) in &batch.requests {
                if index.apply(request.id, *place, &request.change) {
                    unnamed.push(request.id);
                }
            }
            if let Some(active) = &self.active {
                index.grow_segment(active.sequence(), u64::from(active.end()));
            }
        }
        for (request, _) in batch.requests.drain(..) {
            if request.claim() == SpaceClaim::Mail {
                self.shared.room.note_segment();
            }
            // The queue may be gone already, on the way down.
            request.entry.into_iter().for_each(|entry| drop(self.arrivals.send(entry)));
            request.answer.durable(Ok(()));
        }
        unnamed.into_iter().for_each(|id| self.shared.stock.unlink_large(id));
        if batch.must_sync {
            self.unlink_doubtful();
        }
    }

    /// Removes the large files of refused messages, whose records are void from now on.
    fn unlink_doubtful(&mut self) {
        self.doubtful.drain(..).for_each(|id| self.shared.stock.unlink_large(id));
    }

    fn refuse(&mut self, batch: &mut Batch, error: CommitError) {
        for (request, _) in batch.requests.drain(..) {
            self.note_refusal(&request, error);
            if let IndexChange::Arrive { marks, .. } = &request.change
                && marks.has(Mark::Large)
            {
                self.doubtful.push(request.id);
            }
            request.answer.durable(Err(error));
        }
    }

    /// Reports a full disk, once for each time that it is full.
    fn note_refusal(&self, request: &Request, error: CommitError) {
        if error == CommitError::Full && request.claim() == SpaceClaim::Mail {
            self.shared.room.note_no_segment(self.shared.stock.made().size);
        }
    }
}
