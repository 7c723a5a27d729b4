//! Gets messages of the queue, with their content, from the daemon, or from the spool while none runs.
//!
//! Promise: a content that did not arrive as a whole is no content.

use std::io::{self, Read};

use base64::prelude::{BASE64_STANDARD, Engine};

use super::super::ConfigFile;
use super::super::exit::{Exit, Failure};
use super::{QueueAnswered, ask_or_read};
use crate::admin::detail::{MessageDetail, ReadPart};
use crate::admin::from_spool::{MessageOnSpool, QueueOnSpool};
use crate::admin::protocol::ControlRequest;
use crate::queue_id::QueueId;
use crate::spool::StoredContent;

/// A message of the queue.
pub(super) enum Fetched {
    /// The message, and the first octets of its content.
    Message(Box<MessageDetail>, Vec<u8>),
    /// The message is damaged; holds what is wrong.
    Unreadable(String),
    /// There is none that this user may see.
    Absent,
}

/// Where messages come from.
pub(super) struct MessageSource<'a> {
    config: &'a ConfigFile,
    /// The queue on the spool, from when on no daemon answers.
    queue: Option<Box<QueueOnSpool>>,
}

impl<'a> MessageSource<'a> {
    /// Returns the source that the configuration names.
    pub fn of(config: &'a ConfigFile) -> Self {
        MessageSource { config, queue: None }
    }

    /// Returns the message `id`, with at most `most` octets of its content.
    pub fn fetch(&mut self, id: QueueId, most: u64) -> Result<Fetched, Failure> {
        let fetched = match &self.queue {
            Some(queue) => from_spool(queue, id, most)?,
            None => match ask(self.config, id, most)? {
                Ok(fetched) => fetched,
                Err(queue) => from_spool(self.queue.insert(queue), id, most)?,
            },
        };
        match fetched {
            Fetched::Message(message, content) if content.len() as u64 != message.size.min(most) => {
                let why = "the content did not arrive as a whole; try again";
                Err(Failure::new(Exit::TempFail, why))
            }
            fetched => Ok(fetched),
        }
    }
}

fn from_spool(queue: &QueueOnSpool, id: QueueId, most: u64) -> Result<Fetched, Failure> {
    Ok(match queue.message_of(id) {
        MessageOnSpool::Whole(message, content) => {
            let content = first(content, most).map_err(|error| Failure::new(Exit::IoError, error))?;
            Fetched::Message(message, content)
        }
        MessageOnSpool::Unreadable(error) => Fetched::Unreadable(error.to_string()),
        MessageOnSpool::Absent => Fetched::Absent,
    })
}

/// Returns the first octets of a content, `most` at most.
fn first(content: StoredContent, most: u64) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    match content {
        StoredContent::Memory(content) => content.as_ref().take(most).read_to_end(&mut octets)?,
        StoredContent::File { file, .. } => file.take(most).read_to_end(&mut octets)?,
    };
    Ok(octets)
}

/// Asks the daemon for a message; returns the queue on the spool if none runs.
fn ask(config: &ConfigFile, id: QueueId, most: u64) -> Result<Result<Fetched, Box<QueueOnSpool>>, Failure> {
    let (mut fetched, mut content) = (Fetched::Absent, Vec::new());
    let answered = ask_or_read(config, &ControlRequest::QueueRead { id, most }, &mut |part: ReadPart| {
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
    Ok(match (answered, fetched) {
        (QueueAnswered::OnSpool(queue), _) => Err(queue),
        (QueueAnswered::ByDaemon(_), Fetched::Message(message, _)) => Ok(Fetched::Message(message, content)),
        (QueueAnswered::ByDaemon(_), fetched) => Ok(fetched),
    })
}

/// Returns the failure for a message that this user cannot have.
pub(super) fn absent(id: QueueId) -> Failure {
    Failure::new(Exit::Failed, format!("the queue has no message {id} that you may see"))
}

/// Returns the failure for a message that is damaged.
pub(super) fn unreadable(id: QueueId, why: &str) -> Failure {
    Failure::new(Exit::Failed, format!("message {id} cannot be read: {why}"))
}
