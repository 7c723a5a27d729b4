//! What a sink tells of: the messages it keeps, the faults that struck.

use std::io;
use std::path::PathBuf;

use super::fault::{FaultEffect, SinkPhase};
use crate::envelope::Envelope;

/// What happens at a sink.
#[derive(Debug)]
pub enum SinkEvent {
    /// A message is kept; unless a fault takes the reply, its 250 follows.
    Received(ReceivedMessage),
    /// A fault has struck.
    Struck(SinkPhase, FaultEffect),
    /// A message could not be kept, or a connection not be taken.
    Trouble(String),
}

/// A message as the sink took it.
#[derive(Debug)]
pub struct ReceivedMessage {
    /// How the reply named it; the file's name, where there is one.
    pub id: String,
    /// The envelope, without the recipients that a fault refused.
    pub envelope: Envelope,
    /// SMTP, ESMTPSA, … (RFC 3848).
    pub protocol: &'static str,
    /// Who has authenticated.
    pub user: Option<String>,
    /// Its octets.
    pub content: ReceivedContent,
}

/// Where the octets of a message are.
#[derive(Debug)]
pub enum ReceivedContent {
    /// Here.
    Memory(Vec<u8>),
    /// In this file.
    File(PathBuf),
}

impl ReceivedContent {
    /// The octets, as they came.
    pub fn read(self) -> io::Result<Vec<u8>> {
        match self {
            ReceivedContent::Memory(octets) => Ok(octets),
            ReceivedContent::File(path) => std::fs::read(path),
        }
    }
}
