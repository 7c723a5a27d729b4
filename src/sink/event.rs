//! What a sink tells of: the messages it keeps, the faults that struck.

use std::io;
use std::path::PathBuf;

use super::fault::{Effect, Phase};
use crate::envelope::Envelope;

/// What happens at a sink.
#[derive(Debug)]
pub enum Event {
    /// A message is kept; unless a fault takes the reply, its 250 follows.
    Received(Received),
    /// A fault has struck.
    Struck(Phase, Effect),
    /// A message could not be kept, or a connection not be taken.
    Trouble(String),
}

/// A message as the sink took it.
#[derive(Debug)]
pub struct Received {
    /// How the reply named it; the file's name, where there is one.
    pub id: String,
    /// The envelope, without the recipients that a fault refused.
    pub envelope: Envelope,
    /// SMTP, ESMTPSA, … (RFC 3848).
    pub protocol: &'static str,
    /// Who has authenticated.
    pub user: Option<String>,
    /// Its octets.
    pub content: Content,
}

/// Where the octets of a message are.
#[derive(Debug)]
pub enum Content {
    /// Here.
    Memory(Vec<u8>),
    /// In this file.
    File(PathBuf),
}

impl Content {
    /// The octets, as they came.
    pub fn read(self) -> io::Result<Vec<u8>> {
        match self {
            Content::Memory(octets) => Ok(octets),
            Content::File(path) => std::fs::read(path),
        }
    }
}
