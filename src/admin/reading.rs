//! Answers who wants to read one message: its envelope, what became of its recipients, and its content, octet by octet.
//!
//! The content goes over the control socket also for root, and not from the spool: the daemon knows who asks (SO_PEERCRED), while
//! in a segment the mail of all users lies together; what it sends has been checked as a whole; and a message that is moved or
//! removed meanwhile is still whole, since its file stays open. It is base64, since the protocol is lines of JSON.
//!
//! Promises: nothing of a message is read for a client but its envelope before its rights are known. A client who asks for a
//! message of somebody else is told the same as if there were none. [`PIECE`] octets of a large message are in memory at once.
//!
//! Not here: the same without a daemon (`from_spool.rs`).

use std::fs::File;
use std::io::{self, Read};

use base64::prelude::{BASE64_STANDARD, Engine};

use super::detail::{MessageDetail, ReadPart, detail};
use super::listing::ListedMessage;
use super::output::ClientOutput;
use super::rights::Rights;
use crate::queue::{Queue, QueueStatus};
use crate::queue_id::QueueId;
use crate::spool::{ReadError, Spool, Stored, StoredContent};

/// The number of octets of the content that one line of the answer holds.
pub(super) const PIECE: usize = 96 << 10;

/// A message that a client wants to read.
pub(super) struct MessageReading {
    pub id: QueueId,
    pub rights: Rights,
    /// The most octets of the content that are sent.
    pub most: u64,
}

/// A message that was found for a client.
enum FoundMessage {
    Whole(Box<MessageDetail>, StoredContent),
    Unreadable(ReadError),
    Absent,
}

impl MessageReading {
    /// Sends the message.
    pub async fn answer(self, queue: &Queue, spool: &Spool, output: &mut ClientOutput) -> io::Result<()> {
        match self.find(queue, spool).await? {
            FoundMessage::Whole(message, content) => {
                output.item(&ReadPart::Message(message)).await?;
                send(content, self.most, output).await
            }
            FoundMessage::Unreadable(error) => output.item(&ReadPart::Unreadable(error.to_string())).await,
            FoundMessage::Absent => output.item(&ReadPart::Absent).await,
        }
    }

    async fn find(&self, queue: &Queue, spool: &Spool) -> io::Result<FoundMessage> {
        let Some(listed) = queue.standings(vec![self.id]).await.into_iter().next() else {
            return Ok(FoundMessage::Absent);
        };
        let (rights, status, spool) = (self.rights, queue.status().await, spool.clone());
        let look = move || found(&spool, listed.into(), rights, status.as_ref());
        Ok(tokio::task::spawn_blocking(look).await?)
    }
}

fn found(spool: &Spool, listed: ListedMessage, rights: Rights, status: Option<&QueueStatus>) -> FoundMessage {
    let is_theirs = |stored: &Stored| rights.include(stored.submitter);
    match spool.peek(listed.id) {
        Ok(stored) if !is_theirs(&stored) => return FoundMessage::Absent,
        Err(_) if rights != Rights::Everything => return FoundMessage::Absent,
        _ => {}
    }
    match spool.read(listed.id) {
        Ok(stored) => {
            let message = detail(listed, &stored, rights, status);
            FoundMessage::Whole(Box::new(message), stored.content)
        }
        Err(ReadError::Gone) => FoundMessage::Absent,
        Err(error) => FoundMessage::Unreadable(error),
    }
}

/// Sends the first `most` octets of the content.
async fn send(content: StoredContent, most: u64, output: &mut ClientOutput) -> io::Result<()> {
    match content {
        StoredContent::Memory(content) => {
            let content = content.as_ref();
            let end = content.len().min(usize::try_from(most).unwrap_or(usize::MAX));
            for piece in content[..end].chunks(PIECE) {
                output.item(&ReadPart::Content(BASE64_STANDARD.encode(piece))).await?;
            }
        }
        StoredContent::File { mut file, len } => {
            let mut left = len.min(most);
            while left > 0 {
                let (back, piece) = tokio::task::spawn_blocking(move || next_piece(file, left)).await??;
                left -= piece.len() as u64;
                file = back;
                output.item(&ReadPart::Content(BASE64_STANDARD.encode(piece))).await?;
            }
        }
    }
    Ok(())
}

/// Returns the file, and its next octets, of which `left` are wanted.
fn next_piece(mut file: File, left: u64) -> io::Result<(File, Vec<u8>)> {
    let mut piece = vec![0; PIECE.min(usize::try_from(left).unwrap_or(PIECE))];
    file.read_exact(&mut piece)?;
    Ok((file, piece))
}
