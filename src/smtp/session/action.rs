//! What passes between a session and its shell: actions one way, proof or refusal the other.
//!
//! Promises: 250 to a message can only be had with a [`Durable`] proof; every [`Refusal`] has one
//! reply, made here. Printing an action shows neither content nor secrets.

use std::fmt;

use super::{error, shutting_down};
use crate::envelope::Envelope;
use crate::smtp::reply::Reply;

/// Proof that a message is on stable storage, without which no 250 is said to it. The spool's
/// `Committed` is one; the sink's Maildir has its own.
pub trait Durable {
    /// What the client is told to ask for later.
    fn queue_id(&self) -> String;
}

/// Why the shell does not take a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No space for it: 452 4.3.1.
    NoRoom,
    /// The disk fails: 451 4.3.0.
    LocalTrouble,
    /// Too many Received fields: 554 5.4.6.
    MailLoop,
    /// The header section is too large: 552 5.3.4.
    HeaderTooLarge,
    /// 421 4.3.2.
    ShuttingDown,
    /// Any other, in the shell's words.
    Other(Reply),
}

impl Refusal {
    /// What the client is told.
    pub fn reply(self) -> Reply {
        match self {
            Refusal::NoRoom => error(452, 3, 1, "insufficient system storage"),
            Refusal::LocalTrouble => error(451, 3, 0, "local trouble, try again later"),
            Refusal::MailLoop => error(554, 4, 6, "too many Received fields, this looks like a mail loop"),
            Refusal::HeaderTooLarge => error(552, 3, 4, "header section too large"),
            Refusal::ShuttingDown => shutting_down(),
            Refusal::Other(reply) => reply,
        }
    }
}

/// What a reply answers. Only the session knows: the octets that an action consumed may be a command, or may be the
/// last piece of a message that begins like one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// The command line that this action consumed.
    Command,
    /// A line that is no command: a response of AUTH, or the end of a line that is too long.
    Line,
    /// A chunk (BDAT) that does not end its message, or that no transaction wanted.
    Chunk,
    /// The content of a message: it is whole, or nothing more of it is wanted.
    EndOfData,
}

/// What the shell is to do next.
#[derive(PartialEq, Eq)]
pub enum Action {
    /// Nothing more can be done with what was given: write what was held back, and bring more
    /// octets behind those that were not consumed.
    Wait,
    /// Content that nobody wants was read and dropped. There is nothing to do, but the client is not idle.
    Skipped,
    /// Write this; it may be held back until `Wait` (pipelining).
    Reply(Answered, Reply),
    /// DATA or the first BDAT was accepted so far: open an intake, then call `opened` or `not_opened`.
    Open(Box<Envelope>),
    /// Decoded octets for the open intake; call `content_failed` if they could not be taken.
    Content(Vec<u8>),
    /// The content is whole: commit, then call `committed` or `refused`.
    Commit,
    /// The open intake is void; no reply is owed by the shell.
    Discard {
        /// The reply that will follow at the end of the content; `None`: the client itself gave the message up.
        refusal: Option<Reply>,
    },
    /// Write the reply, flush, do the handshake, then call `tls_started`. What the shell has read
    /// by then and not yet shown is plaintext that must not be kept: close instead.
    StartTls(Reply),
    /// Begin a SASL exchange, then call `auth_challenge`, `auth_succeeded` or `auth_failed`.
    AuthStart {
        /// As it stands in the policy.
        mechanism: String,
        /// Decoded; empty for `=`.
        initial_response: Option<Vec<u8>>,
    },
    /// The answer to the challenge, decoded; then as for `AuthStart`, but that the reply answers a
    /// [`Answered::Line`]. A `Reply` in its place means that the client broke the exchange off.
    AuthResponse(Vec<u8>),
    /// ETRN: write the reply and ask the queue to probe the relay.
    ProbeRelay(Reply),
    /// Write, flush, close.
    Close(Answered, Reply),
}

/// Shows neither content nor secrets.
impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Wait => f.write_str("Wait"),
            Action::Skipped => f.write_str("Skipped"),
            Action::Reply(answered, reply) => write!(f, "Reply({answered:?}, {reply})"),
            Action::Open(envelope) => f.debug_tuple("Open").field(envelope).finish(),
            Action::Content(octets) => write!(f, "Content({} octets)", octets.len()),
            Action::Commit => f.write_str("Commit"),
            Action::Discard { refusal: Some(reply) } => write!(f, "Discard({reply})"),
            Action::Discard { refusal: None } => f.write_str("Discard"),
            Action::StartTls(reply) => write!(f, "StartTls({reply})"),
            Action::AuthStart { mechanism, .. } => write!(f, "AuthStart({mechanism}, ***)"),
            Action::AuthResponse(_) => f.write_str("AuthResponse(***)"),
            Action::ProbeRelay(reply) => write!(f, "ProbeRelay({reply})"),
            Action::Close(answered, reply) => write!(f, "Close({answered:?}, {reply})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_the_replies_of_the_design() {
        for (refusal, expected) in [
            (Refusal::NoRoom, "452 4.3.1 "),
            (Refusal::LocalTrouble, "451 4.3.0 "),
            (Refusal::MailLoop, "554 5.4.6 "),
            (Refusal::HeaderTooLarge, "552 5.3.4 "),
            (Refusal::ShuttingDown, "421 4.3.2 "),
            (Refusal::Other(Reply::bare(450, "as told")), "450 as told"),
        ] {
            let reply = refusal.reply().to_string();
            assert!(reply.starts_with(expected), "{reply}");
        }
    }

    #[test]
    fn neither_content_nor_secrets_are_printed() {
        let secret = b"hunter2".to_vec();
        let start = Action::AuthStart { mechanism: "PLAIN".into(), initial_response: Some(secret.clone()) };
        let printed =
            format!("{:?} {:?} {:?}", start, Action::AuthResponse(secret.clone()), Action::Content(secret));
        assert_eq!(printed, "AuthStart(PLAIN, ***) AuthResponse(***) Content(7 octets)");
    }
}
