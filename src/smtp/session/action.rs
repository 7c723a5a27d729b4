//! The types between a session and its shell: actions for the shell, and the proof with which it answers.
//!
//! Promises: 250 to a message needs a [`Durable`] proof. Printing an action shows neither content nor secrets.
//!
//! Not here: the refusals with which the shell answers in place of a proof (`refusal.rs`).

use std::fmt;

use crate::envelope::Envelope;
use crate::smtp::reply::Reply;

/// Proof that a message is on stable storage. Without it, the reply to the message is never 250. `Committed` of the spool
/// is one; the sink has its own.
pub trait Durable {
    /// Returns the id of the message for the reply to the client.
    fn queue_id(&self) -> String;
}

/// The thing that a reply answers. Only the session can tell: the octets that an action consumed may be a command, or the
/// last piece of a message that looks like one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// The connection itself. The reply is the greeting, which no action carries.
    Connection,
    /// The command line that this action consumed.
    Command,
    /// A line that is not a command: a response in AUTH, or the end of a line that is too long.
    Line,
    /// A chunk (BDAT) that does not end its message, or that was sent outside a transaction.
    Chunk,
    /// The content of a message, which is complete or was given up.
    EndOfData,
}

/// The next thing that the shell must do.
#[derive(PartialEq, Eq)]
pub enum SessionAction {
    /// Send the replies that were held back, and read more octets after those that were not consumed.
    Wait,
    /// Do nothing. Content of a refused message was read and dropped, so the client is not idle.
    Skipped,
    /// Send this reply; it may be held back until `Wait` (pipelining).
    Reply(Answered, Reply),
    /// Open an intake for a message, then call `opened` or `not_opened`. DATA or the first BDAT was valid.
    Open(Box<Envelope>),
    /// Write these decoded octets to the open intake; call `content_failed` if that fails.
    Content(Vec<u8>),
    /// Commit the message, whose content is complete, then call `committed` or `refused`.
    Commit,
    /// Discard the open intake. The shell sends no reply for it.
    Discard {
        /// The reply that will follow at the end of the content; `None` if the client itself gave the message up.
        refusal: Option<Reply>,
    },
    /// Send the reply, flush, do the handshake, then call `tls_started`. If the shell has already read octets that the
    /// session has not seen, they are plaintext and must not be used: close instead.
    StartTls(Reply),
    /// Begin a SASL exchange, then call `auth_challenge`, `auth_succeeded` or `auth_failed`.
    AuthStart {
        /// The mechanism as it is written in the policy.
        mechanism: String,
        /// The decoded initial response; empty for `=`.
        initial_response: Option<Vec<u8>>,
    },
    /// Process the decoded response to the challenge, then call the same methods as for `AuthStart`; the reply then
    /// answers an [`Answered::Line`]. A `Reply` in place of this action means that the client cancelled the exchange.
    AuthResponse(Vec<u8>),
    /// Send the reply to ETRN, and ask the queue to probe the relay.
    ProbeRelay(Reply),
    /// Send the reply, flush, and close the connection.
    Close(Answered, Reply),
}

/// Shows neither content nor secrets.
impl fmt::Debug for SessionAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionAction::Wait => f.write_str("Wait"),
            SessionAction::Skipped => f.write_str("Skipped"),
            SessionAction::Reply(answered, reply) => write!(f, "Reply({answered:?}, {reply})"),
            SessionAction::Open(envelope) => f.debug_tuple("Open").field(envelope).finish(),
            SessionAction::Content(octets) => write!(f, "Content({} octets)", octets.len()),
            SessionAction::Commit => f.write_str("Commit"),
            SessionAction::Discard { refusal: Some(reply) } => write!(f, "Discard({reply})"),
            SessionAction::Discard { refusal: None } => f.write_str("Discard"),
            SessionAction::StartTls(reply) => write!(f, "StartTls({reply})"),
            SessionAction::AuthStart { mechanism, .. } => write!(f, "AuthStart({mechanism}, ***)"),
            SessionAction::AuthResponse(_) => f.write_str("AuthResponse(***)"),
            SessionAction::ProbeRelay(reply) => write!(f, "ProbeRelay({reply})"),
            SessionAction::Close(answered, reply) => write!(f, "Close({answered:?}, {reply})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_content_nor_secrets_are_printed() {
        let secret = b"hunter2".to_vec();
        let start =
            SessionAction::AuthStart { mechanism: "PLAIN".into(), initial_response: Some(secret.clone()) };
        let printed = format!(
            "{:?} {:?} {:?}",
            start,
            SessionAction::AuthResponse(secret.clone()),
            SessionAction::Content(secret)
        );
        assert_eq!(printed, "AuthStart(PLAIN, ***) AuthResponse(***) Content(7 octets)");
    }
}
