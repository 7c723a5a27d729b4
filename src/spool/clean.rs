//! The cleaner: moves the few live messages of an old segment forward, so that the segment can go.
//!
//! Promises
//! 1. The segments take at most three times the octets that live and two segments, the active one and one made
//!    ready: one message deferred for days pins nothing. Where much was settled at once, or much lives in
//!    the oldest segments, that is so as soon as the cleaner has caught up.
//! 2. A moved message is one record with all that was recorded of it, written and synced like any
//!    other before the index, and then the old segment, forget the old one.
//! 3. It works in small steps between the batches of the writer, and looks at no more than some thousand
//!    messages of the index in each, so that nobody waits for it long, however many are queued. A step moves
//!    more than the batch before it has brought, so that the cleaner does catch up.
//! 4. It works on a full disk, too: while no segment is ready and none can be made, the oldest is cleaned at once
//!    if what lives in it fits into what is left of the active one, or of that and what there is of the next: then it
//!    is the next (`space.rs`).
//!
//! A live message that cannot be read back has its octets put into `corrupt/` before its segment may go;
//! if that fails too, or the disk did not answer, the segment stays until a later step succeeds.
//!
//! Not here: letting go (`stock.rs`), when it is wanted (`space.rs`).

use std::sync::Arc;

use super::change::{Carried, IndexChange};
use super::entry::ReadError;
use super::format::record_length;
use super::index::{Extra, Slot};
use super::marks::EntryState;
use super::octets::MalformedOctets;
use super::paths::DamagedRange;
use super::payload::{self, MovedPayload};
use super::read::{Base, StoredRecord, base_of, payload_at, record_at};
use super::replies::patience_used_in;
use super::request::{Acknowledgement, Request};
use super::salvage;
use super::segment::ActiveSegment;
use super::shared::SharedSpool;
use super::space::{self, Clean, Target};
use crate::log;
use crate::queue_id::QueueId;

/// Number of octets of messages that one step moves at least, if there are as many.
const STEP: usize = 256 << 10;
/// Factor by which one step moves more octets than the batch before it had.
const AHEAD: usize = 2;
/// Number of messages of the index at which one step looks at most: it has the index locked for well under a millisecond.
const LOOK: usize = 8192;

/// Number of steps that are passed over after a failure; one comes with every batch.
const PAUSE: u32 = 100;

/// The cleaner's position: the segment that it empties, and the messages in it that are still to be moved.
#[derive(Default)]
pub(super) struct Cleaner {
    /// The number of the segment that is emptied.
    segment: u32,
    /// Messages that were found in it and are still to be moved, the last one first.
    left: Vec<QueueId>,
    /// The message of the index at which to look for more; `None` stands for the first one.
    next: Option<QueueId>,
    /// The number of calls of [`Cleaner::step`] that still do nothing, after a step that failed.
    pause: u32,
    /// The last segment for which the log says that it could not be cleaned; it is said once.
    reported: u32,
}

/// The step that the writer carries out for the cleaner.
pub(super) enum CleanerStep {
    /// The writer writes these messages again.
    Move(Vec<Request>),
    /// The writer begins the next segment.
    Begin,
}

impl Cleaner {
    /// Returns the next step while the segments take too much room; `None` when they do not, or nothing can be done. The
    /// writer's last batch had `batch` octets.
    pub fn step(
        &mut self,
        shared: &Arc<SharedSpool>,
        active: &ActiveSegment,
        batch: usize,
    ) -> Option<CleanerStep> {
        let now = candidate(shared, active)?;
        if self.pause > 0 {
            self.pause -= 1;
            return None;
        }
        let Clean::Move(oldest, room) = now else { return Some(CleanerStep::Begin) };
        if self.segment != oldest || self.left.is_empty() {
            self.look_for_more(shared, oldest);
        }
        let mut moves = Vec::new();
        let mut octets = 0;
        while octets < STEP.max(AHEAD * batch).min(room as usize)
            && let Some(id) = self.left.pop()
        {
            if let Some(request) = self.request(shared, id) {
                octets += request.front.len() + request.content.len();
                moves.push(request);
            }
        }
        // A step without a move took damaged messages out, or met none that lives: more may follow.
        (self.pause == 0).then_some(CleanerStep::Move(moves))
    }

    fn look_for_more(&mut self, shared: &SharedSpool, oldest: u32) {
        if self.segment != oldest {
            (self.segment, self.next) = (oldest, None);
        }
        (self.left, self.next) = shared.index().live_in(oldest, self.next, LOOK);
        self.left.reverse();
    }

    /// Returns the record that moves this message, if it still is where it was.
    fn request(&mut self, shared: &Arc<SharedSpool>, id: QueueId) -> Option<Request> {
        match moving(shared, id, self.segment)? {
            Ok(request) => Some(request),
            Err(error) => {
                let slot = shared.index().slot(id)?;
                self.give_up(shared, id, slot, &error);
                None
            }
        }
    }

    /// Takes a message out that cannot be read: its octets are kept in `corrupt/`, or the segment stays for now.
    fn give_up(&mut self, shared: &Arc<SharedSpool>, id: QueueId, slot: Slot, error: &ReadError) {
        let place = slot.place;
        let range = DamagedRange {
            segment: place.segment,
            start: place.offset,
            end: place.offset + record_length(place.payload_length),
        };
        let kept = match error {
            ReadError::Io(_) => None,
            _ => salvage::keep(&*shared.fs, &shared.paths, range).ok(),
        };
        if let Some(copy) = kept {
            log::spool_damaged(&format!("{id}: lost to damage; {}", salvage::describe(range, &copy)));
            shared.index().remove(id);
        } else {
            self.postpone(id, place.segment, error);
        }
    }

    /// Leaves the segment for later: the disk may then read the message, or take the copy of it.
    fn postpone(&mut self, id: QueueId, segment: u32, error: &ReadError) {
        if self.reported != segment {
            log::spool_damaged(&format!("{id}: cannot be moved yet: {error}; segment {segment:08X} stays"));
        }
        (self.pause, self.reported) = (PAUSE, segment);
        (self.left, self.next) = (Vec::new(), None);
    }
}

/// Returns the step that is to be taken now, as `space.rs` decides; `None` if there is nothing to do.
fn candidate(shared: &SharedSpool, active: &ActiveSegment) -> Option<Clean> {
    let sums = shared.index().sums(active.sequence());
    // The index is not locked while the disk is asked.
    let next = sums.oldest.is_some().then(|| shared.stock.next())?;
    let target = Target {
        room: active.room(),
        holds: active.holds(),
        capacity: active.capacity(),
        next: shared.stock.made().octets,
    };
    space::clean_now(&sums, next, target, shared.options.segment_size)
}

/// Returns the record that moves this message forward, if it lives in `segment`.
pub(super) fn moving(shared: &SharedSpool, id: QueueId, segment: u32) -> Option<Result<Request, ReadError>> {
    let (slot, uid, extra) = {
        let index = shared.index();
        let slot = index.slot(id)?;
        (slot, index.uid_of(slot), index.extra(id))
    };
    let record = || record_at(shared, id, slot.place);
    let moved =
        |record| moved(shared, id, slot, uid, &extra, record).map_err(|MalformedOctets| ReadError::Damaged);
    (slot.place.segment == segment).then(|| record().and_then(moved))
}

fn moved(
    shared: &SharedSpool,
    id: QueueId,
    slot: Slot,
    uid: Option<u32>,
    extra: &Extra,
    record: StoredRecord,
) -> Result<Request, MalformedOctets> {
    let base = base_of(record.kind, record.payload())?;
    let noted = payload_at(shared, id, extra.note).ok().flatten();
    // A note that cannot be read is no reason to leave the message behind.
    let note = noted.as_deref().or(base.note);
    let patience_used = note.map_or(0, patience_used_in);
    let hold = hold(shared, id, slot, extra, &base);
    // An assignment that cannot be read is no reason to leave the message behind, either.
    let route = payload_at(shared, id, extra.route).ok().flatten();
    let carried = Carried { marks: slot.marks, fates: extra.fates.clone(), patience_used, uid };
    let front = payload::encode_moved(&MovedPayload {
        marks: carried.marks,
        fates: carried.fates.clone(),
        note,
        hold: hold.as_deref(),
        route: route.as_deref().or(base.route),
        message: base.payload,
    });
    let length = base.payload.len();
    let content = record.into_end(length).into_vec();
    let sum = shared.spool.payload_sum(&[&front, &content]);
    let change = IndexChange::Move(Box::new(carried));
    Ok(Request { id, change, front, content, sum, entry: None, large: None, answer: Acknowledgement::Nobody })
}

/// Returns the State payload that has put a message on hold, if it is so by one.
fn hold(shared: &SharedSpool, id: QueueId, slot: Slot, extra: &Extra, base: &Base<'_>) -> Option<Vec<u8>> {
    if slot.marks.state() != EntryState::OnHold {
        return None;
    }
    match payload_at(shared, id, extra.hold) {
        Ok(hold) => hold.or_else(|| base.hold.map(<[u8]>::to_vec)),
        // It stays on hold; who holds it is lost.
        Err(_) => Some(payload::encode_state(EntryState::OnHold).into()),
    }
}
