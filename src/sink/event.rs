//! The events that a sink reports: messages that it received, and faults that struck.

use std::io;
use std::path::PathBuf;

use super::fault::{FaultEffect, SinkPhase};
use crate::envelope::Envelope;

/// An event at a sink.
#[derive(Debug)]
pub enum SinkEvent {
    /// A message was received and stored. Its 250 follows, unless a fault suppresses it.
    Received(ReceivedMessage),
    /// A fault has struck.
    Struck(SinkPhase, FaultEffect),
    /// A message could not be stored, or a connection could not be accepted.
    Trouble(String),
}

/// A message that the sink received.
#[derive(Debug)]
pub struct ReceivedMessage {
    /// The id in the reply, which is the name of the file if there is one.
    pub id: String,
    /// The envelope, without the recipients that a fault refused.
    pub envelope: Envelope,
    /// The protocol: SMTP, ESMTPSA, … (RFC 3848).
    pub protocol: &'static str,
    /// The user who logged in, if any.
    pub user: Option<String>,
    /// The octets of the message.
    pub content: ReceivedContent,
}

/// The octets of a message, or the file that holds them.
#[derive(Debug)]
pub enum ReceivedContent {
    /// The octets themselves.
    Memory(Vec<u8>),
    /// The path of the file.
    File(PathBuf),
}

impl ReceivedContent {
    /// Returns the octets as they were received. Blocks on the disk for a file.
    pub fn read(self) -> io::Result<Vec<u8>> {
        match self {
            ReceivedContent::Memory(octets) => Ok(octets),
            ReceivedContent::File(path) => std::fs::read(path),
        }
    }
}
