//! The orders to the writer, and who waits for an answer to them.
//!
//! Not here: the writing (`writer.rs`), what a change means (`change.rs`, `index.rs`).

use tokio::sync::oneshot;

use super::change::IndexChange;
use super::draft::LargeName;
use super::entry::{CommitError, Entry};
use super::index::RecordPlace;
use super::shared::SharedSpool;
use super::space::SpaceClaim;
use crate::envelope::Submitter;
use crate::queue_id::QueueId;

/// An order to the writer.
pub(super) enum Order {
    /// Writes a record.
    Write(Box<Request>),
    /// Looks whether the spool is still where it was.
    Look,
    /// Writes what has arrived, marks a clean end, answers, and ends the writer.
    Close(oneshot::Sender<()>),
}

/// A record that is to be written.
pub(super) struct Request {
    pub id: QueueId,
    pub change: IndexChange,
    /// The payload is `front` with `content` behind it.
    pub front: Vec<u8>,
    pub content: Vec<u8>,
    /// The checksum of the payload.
    pub sum: u32,
    /// The entry with which a new message is announced; `None` for any other record.
    pub entry: Option<Entry>,
    /// The name of the large file of a new message, if it has one.
    pub large: Option<LargeName>,
    pub answer: Acknowledgement,
}

/// The kind of answer that is waited for after a request.
pub(super) enum Acknowledgement {
    /// Somebody waits until the record is synced, if it needs that, and until the index knows of it.
    Durable(oneshot::Sender<Result<(), CommitError>>),
    /// Somebody waits until the record is written.
    Written(oneshot::Sender<Result<(), CommitError>>),
    /// Nobody waits for the record.
    Nobody,
}

/// The records that are written and synced together next.
#[derive(Default)]
pub(super) struct Batch {
    pub octets: Vec<u8>,
    pub requests: Vec<(Request, RecordPlace)>,
    pub must_sync: bool,
}

impl Batch {
    /// Answers those who wait for no sync.
    pub fn answer_written(&mut self) {
        for (request, _) in &mut self.requests {
            if let Acknowledgement::Written(_) = request.answer {
                std::mem::replace(&mut request.answer, Acknowledgement::Nobody).durable(Ok(()));
            }
        }
    }
}

impl Request {
    /// Returns a record with a small payload.
    pub fn plain(
        id: QueueId,
        change: IndexChange,
        payload: Vec<u8>,
        shared: &SharedSpool,
        answer: Acknowledgement,
    ) -> Self {
        let sum = shared.spool.payload_sum(&[&payload]);
        Request { id, change, front: payload, content: Vec::new(), sum, entry: None, large: None, answer }
    }

    /// Returns the claim that the record has to the room of a disk that may be full.
    pub fn claim(&self) -> SpaceClaim {
        match (&self.change, &self.entry) {
            (_, Some(entry)) if entry.submitter != Submitter::Ourselves => SpaceClaim::Mail,
            (IndexChange::Arrive { .. } | IndexChange::Move(_), _) => SpaceClaim::Content,
            _ => SpaceClaim::Outcome,
        }
    }

    /// Returns whether the record is about a message that is gone.
    pub fn is_pointless(&self, shared: &SharedSpool) -> bool {
        let needs_message = !matches!(self.change, IndexChange::Arrive { .. } | IndexChange::CleanEnd);
        needs_message && shared.index().slot(self.id).is_none()
    }
}

impl Acknowledgement {
    /// Sends the answer; nothing is done if the receiver has gone away meanwhile.
    pub fn durable(self, result: Result<(), CommitError>) {
        match self {
            Acknowledgement::Durable(answer) => drop(answer.send(result)),
            Acknowledgement::Written(answer) => drop(answer.send(result)),
            Acknowledgement::Nobody => {}
        }
    }
}
