//! The state of a session, and its facts about the client.
//!
//! Promises: a state is named after the thing that it waits for. The envelope is in the one state that collects it, and
//! leaves it with `SessionAction::Open`; no other place keeps a part of a transaction.

use std::sync::Arc;

use super::content::Transfer;
use super::{Answered, AuthCover};
use crate::envelope::Envelope;
use crate::sender_policy::SenderPolicy;
use crate::smtp::reply::Reply;

/// The thing that a session waits for.
#[derive(Debug)]
pub(super) enum SessionState {
    /// HELO or EHLO, without which nothing else is accepted.
    ExpectHello,
    /// MAIL, which begins a transaction.
    ExpectMail,
    /// RCPT, then DATA or BDAT.
    ExpectRecipient(CollectedEnvelope),
    /// The answer of the shell: `opened` or `not_opened`.
    ExpectIntake(Transfer),
    /// Octets of content, for an open intake.
    ExpectContent(Transfer),
    /// The next BDAT, for an open intake.
    ExpectChunk(Transfer),
    /// Octets of refused content; the reply is sent at their end.
    Skip { transfer: Transfer, answered: Answered, reply: Reply },
    /// The answer of the shell: `committed` or `refused`.
    ExpectCommit(Transfer),
    /// The answer of the shell: `auth_challenge`, `auth_succeeded` or `auth_failed`.
    ExpectAuthVerdict,
    /// The response of the client to a challenge.
    ExpectAuthResponse,
    /// The answer of the shell: `tls_started`.
    ExpectHandshake,
    /// Nothing more; the session is over.
    Closed,
}

/// The envelope while MAIL and RCPT commands arrive.
#[derive(Debug)]
pub(super) struct CollectedEnvelope {
    pub(super) envelope: Box<Envelope>,
    /// The value of SIZE=, or 0.
    pub(super) declared_size: u64,
}

impl SessionState {
    pub(super) fn smtputf8(&self) -> bool {
        match self {
            SessionState::ExpectRecipient(transaction) => transaction.envelope.smtputf8,
            _ => self.transfer().is_some_and(|transfer| transfer.smtputf8),
        }
    }

    pub(super) fn declared_size(&self) -> u64 {
        match self {
            SessionState::ExpectRecipient(transaction) => transaction.declared_size,
            _ => self.transfer().map_or(0, |transfer| transfer.declared_size),
        }
    }

    /// Returns the state in which the rest of a refused message is dropped, before `reply` is sent.
    pub(super) fn skip(transfer: Transfer, reply: Reply) -> SessionState {
        SessionState::Skip { transfer, answered: Answered::EndOfData, reply }
    }

    /// Takes the current transfer out of the state. The caller must set the next state.
    pub(super) fn take_transfer(&mut self) -> Option<Transfer> {
        match std::mem::replace(self, SessionState::Closed) {
            SessionState::ExpectIntake(transfer)
            | SessionState::ExpectContent(transfer)
            | SessionState::ExpectChunk(transfer)
            | SessionState::ExpectCommit(transfer) => Some(transfer),
            other => {
                *self = other;
                None
            }
        }
    }

    fn transfer(&self) -> Option<&Transfer> {
        match self {
            SessionState::ExpectIntake(transfer)
            | SessionState::ExpectContent(transfer)
            | SessionState::ExpectChunk(transfer)
            | SessionState::ExpectCommit(transfer) => Some(transfer),
            _ => None,
        }
    }
}

/// The facts about the client since it connected, or since the TLS handshake.
#[derive(Debug, Default)]
pub(super) struct SessionClient {
    /// The argument of HELO or EHLO, made safe for a header field.
    pub(super) helo: Option<String>,
    pub(super) esmtp: bool,
    pub(super) cover: AuthCover,
    /// The user who authenticated, if any.
    pub(super) user: Option<String>,
    /// As whom that user may send; `None` for no limit.
    pub(super) senders: Option<Arc<SenderPolicy>>,
}

/// The longest name in HELO or EHLO that is kept, the length of a domain. A longer one is cut.
const MAX_HELO_CHARS: usize = 255;

impl SessionClient {
    /// Notes HELO or EHLO. An authentication stays valid, since RFC 4954 4 allows only one.
    pub(super) fn greeted(&mut self, name: &str, esmtp: bool) {
        let safe = |c: char| if c.is_ascii_alphanumeric() || ".-_:[]".contains(c) { c } else { '?' };
        self.helo = Some(name.chars().take(MAX_HELO_CHARS).map(safe).collect());
        self.esmtp = esmtp;
    }

    /// Returns whether the session is within TLS.
    pub(super) fn is_within_tls(&self) -> bool {
        self.cover != AuthCover::Nothing
    }

    /// Returns the name of the protocol (RFC 3848, RFC 6531 4.3). TLS and AUTH are extensions, so a client that used them
    /// speaks ESMTP.
    pub(super) fn protocol(&self, smtputf8: bool) -> &'static str {
        match (smtputf8, self.is_within_tls(), self.user.is_some()) {
            (false, false, false) if !self.esmtp => "SMTP",
            (false, false, false) => "ESMTP",
            (false, false, true) => "ESMTPA",
            (false, true, false) => "ESMTPS",
            (false, true, true) => "ESMTPSA",
            (true, false, false) => "UTF8SMTP",
            (true, false, true) => "UTF8SMTPA",
            (true, true, false) => "UTF8SMTPS",
            (true, true, true) => "UTF8SMTPSA",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_given_is_made_safe_for_a_header_field() {
        for (name, expected) in [
            ("host.example", "host.example"),
            ("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
            ("a (comment) <b>", "a??comment???b?"),
            ("a\t\u{1b}\u{fc}", "a???"),
        ] {
            let mut client = SessionClient::default();
            client.greeted(name, true);
            assert_eq!(client.helo.as_deref(), Some(expected));
        }
        let mut client = SessionClient::default();
        client.greeted(&"x".repeat(1000), true);
        assert_eq!(client.helo.map(|name| name.len()), Some(MAX_HELO_CHARS));
    }

    #[test]
    fn protocols_are_those_of_the_registry() {
        let cases = [
            ("", false, "SMTP"),
            ("E", false, "ESMTP"),
            ("ES", false, "ESMTPS"),
            ("EA", false, "ESMTPA"),
            ("ESA", false, "ESMTPSA"),
            ("S", false, "ESMTPS"),
            ("E", true, "UTF8SMTP"),
            ("ES", true, "UTF8SMTPS"),
            ("EA", true, "UTF8SMTPA"),
            ("ESA", true, "UTF8SMTPSA"),
        ];
        for (letters, smtputf8, expected) in cases {
            let client = SessionClient {
                helo: None,
                esmtp: letters.contains('E'),
                cover: if letters.contains('S') { AuthCover::Tls } else { AuthCover::Nothing },
                user: letters.contains('A').then(|| "ann".into()),
                senders: None,
            };
            assert_eq!(client.protocol(smtputf8), expected, "{letters} {smtputf8}");
        }
    }
}
