//! Gets one message of the queue, with its content, from the daemon.
//!
//! Promise: a content that did not arrive as a whole is no content.

use std::io;

use base64::prelude::{BASE64_STANDARD, Engine};

use super::super::ConfigFile;
use super::super::exit::{Exit, Failure};
use super::ask;
use crate::admin::detail::{MessageDetail, ReadPart};
use crate::admin::protocol::ControlRequest;
use crate::queue_id::QueueId;

/// A message of the queue.
pub(super) enum Fetched {
    /// The message, and the first octets of its content.
    Message(Box<MessageDetail>, Vec<u8>),
    /// The message is damaged; holds what is wrong.
    Unreadable(String),
    /// There is none that this user may see.
    Absent,
}

/// Returns the message `id`, with at most `most` octets of its content.
pub(super) fn fetch(config: &ConfigFile, id: QueueId, most: u64) -> Result<Fetched, Failure> {
    let (mut fetched, mut content) = (Fetched::Absent, Vec::new());
    ask(config, &ControlRequest::QueueRead { id, most }, &mut |part: ReadPart| {
        match part {
            ReadPart::Message(message) => fetched = Fetched::Message(message, Vec::new()),
            ReadPart::Content(piece) => {
                let piece = BASE64_STANDARD.decode(piece);
                content.extend(piece.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?);
            }
            ReadPart::Unreadable(why) => fetched = Fetched::Unreadable(why),
            ReadPart::Absent => fetched = Fetched::Absent,
        }
        Ok(())
    })?;
    match fetched {
        Fetched::Message(message, _) if content.len() as u64 == message.size.min(most) => {
            Ok(Fetched::Message(message, content))
        }
        Fetched::Message(..) => {
            Err(Failure::new(Exit::TempFail, "the content did not arrive as a whole; try again"))
        }
        other => Ok(other),
    }
}

/// Returns the failure for a message that this user cannot have.
pub(super) fn absent(id: QueueId) -> Failure {
    Failure::new(Exit::Failed, format!("the queue has no message {id} that you may see"))
}

/// Returns the failure for a message that is damaged.
pub(super) fn unreadable(id: QueueId, why: &str) -> Failure {
    Failure::new(Exit::Failed, format!("message {id} cannot be read: {why}"))
}
