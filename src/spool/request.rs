//! What the writer is asked to write, and who waits for it.
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
    Write(Box<Request>),
    /// See whether the spool is where it was.
    Look,
    /// Write what has arrived, mark a clean end, answer and end.
    Close(oneshot::Sender<()>),
}

/// A record to write.
pub(super) struct Request {
    pub id: QueueId,
    pub change: IndexChange,
    /// The payload is these two, one after the other.
    pub front: Vec<u8>,
    pub content: Vec<u8>,
    /// Checksum of the payload.
    pub sum: u32,
    /// For a new message: what to announce.
    pub entry: Option<Entry>,
    /// For a new message with a large file: its name.
    pub large: Option<LargeName>,
    pub answer: Acknowledgement,
}

/// Who waits for an answer to a request, and for what.
pub(super) enum Acknowledgement {
    /// For the sync, where the record asks for one, and until the index knows of it.
    Durable(oneshot::Sender<Result<(), CommitError>>),
    /// For the write.
    Written(oneshot::Sender<Result<(), CommitError>>),
    Nobody,
}

/// The records that the next write will hold.
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
    /// A record with a small payload.
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

    /// What it asks of a disk that may be full.
    pub fn claim(&self) -> SpaceClaim {
        match (&self.change, &self.entry) {
            (_, Some(entry)) if entry.submitter != Submitter::Ourselves => SpaceClaim::Mail,
            (IndexChange::Arrive { .. } | IndexChange::Move(_), _) => SpaceClaim::Content,
            _ => SpaceClaim::Outcome,
        }
    }

    /// Whether it is about a message that is gone.
    pub fn is_pointless(&self, shared: &SharedSpool) -> bool {
        let needs_message = !matches!(self.change, IndexChange::Arrive { .. } | IndexChange::CleanEnd);
        needs_message && shared.index().slot(self.id).is_none()
    }
}

impl Acknowledgement {
    /// Tells who waits; whoever has gone away meanwhile does not care.
    pub fn durable(self, result: Result<(), CommitError>) {
        match self {
            Acknowledgement::Durable(answer) => drop(answer.send(result)),
            Acknowledgement::Written(answer) => drop(answer.send(result)),
            Acknowledgement::Nobody => {}
        }
    }
}
