//! What a session knows: of the client, and where it stands.
//!
//! Promises: a state is named for what it awaits. The envelope is in the one state that collects it
//! and leaves it by `Action::Open`; there is no other place where something of a transaction is kept.

use super::Answered;
use super::content::Transfer;
use crate::envelope::Envelope;
use crate::smtp::reply::Reply;

/// What is awaited.
#[derive(Debug)]
pub(super) enum State {
    /// HELO or EHLO.
    ExpectHello,
    /// MAIL.
    ExpectMail,
    /// RCPT, then DATA or BDAT.
    ExpectRecipient(CollectedEnvelope),
    /// The shell: `opened` or `not_opened`.
    ExpectIntake(Transfer),
    /// Octets of content, for an open intake.
    ExpectContent(Transfer),
    /// The next BDAT, for an open intake.
    ExpectChunk(Transfer),
    /// Octets of content that nobody wants; at their end the reply is given.
    Skip { transfer: Transfer, answered: Answered, reply: Reply },
    /// The shell: `committed` or `refused`.
    ExpectCommit(Transfer),
    /// The shell: `auth_challenge`, `auth_succeeded` or `auth_failed`.
    ExpectAuthVerdict,
    /// A response to a challenge.
    ExpectAuthResponse,
    /// The shell: `tls_started`.
    ExpectHandshake,
    /// Nothing more.
    Closed,
}

/// The envelope as it is collected.
#[derive(Debug)]
pub(super) struct CollectedEnvelope {
    pub(super) envelope: Box<Envelope>,
    /// SIZE=, or 0.
    pub(super) declared_size: u64,
}

impl State {
    pub(super) fn smtputf8(&self) -> bool {
        match self {
            State::ExpectRecipient(transaction) => transaction.envelope.smtputf8,
            _ => self.transfer().is_some_and(|transfer| transfer.smtputf8),
        }
    }

    pub(super) fn declared_size(&self) -> u64 {
        match self {
            State::ExpectRecipient(transaction) => transaction.declared_size,
            _ => self.transfer().map_or(0, |transfer| transfer.declared_size),
        }
    }

    /// Nobody wants what is to come of a message.
    pub(super) fn skip(transfer: Transfer, reply: Reply) -> State {
        State::Skip { transfer, answered: Answered::EndOfData, reply }
    }

    /// The transfer at hand; whoever takes it says which state comes next.
    pub(super) fn take_transfer(&mut self) -> Option<Transfer> {
        match std::mem::replace(self, State::Closed) {
            State::ExpectIntake(transfer)
            | State::ExpectContent(transfer)
            | State::ExpectChunk(transfer)
            | State::ExpectCommit(transfer) => Some(transfer),
            other => {
                *self = other;
                None
            }
        }
    }

    fn transfer(&self) -> Option<&Transfer> {
        match self {
            State::ExpectIntake(transfer)
            | State::ExpectContent(transfer)
            | State::ExpectChunk(transfer)
            | State::ExpectCommit(transfer) => Some(transfer),
            _ => None,
        }
    }
}

/// What the client has shown of itself since it connected, or since TLS.
#[derive(Debug, Default)]
pub(super) struct SessionClient {
    /// HELO's or EHLO's argument, safe for a header field.
    pub(super) helo: Option<String>,
    pub(super) esmtp: bool,
    pub(super) tls: bool,
    /// Who authenticated.
    pub(super) user: Option<String>,
}

/// As long as a domain may be; a name that is longer is cut.
const MAX_HELO_CHARS: usize = 255;

impl SessionClient {
    /// HELO or EHLO was said. An authentication stays (RFC 4954 4 allows only one).
    pub(super) fn greeted(&mut self, name: &str, esmtp: bool) {
        let safe = |c: char| if c.is_ascii_alphanumeric() || ".-_:[]".contains(c) { c } else { '?' };
        self.helo = Some(name.chars().take(MAX_HELO_CHARS).map(safe).collect());
        self.esmtp = esmtp;
    }

    /// RFC 3848, RFC 6531 4.3. TLS and AUTH are extensions, so whoever used them spoke ESMTP.
    pub(super) fn protocol(&self, smtputf8: bool) -> &'static str {
        match (smtputf8, self.tls, self.user.is_some()) {
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
                tls: letters.contains('S'),
                user: letters.contains('A').then(|| "ann".into()),
            };
            assert_eq!(client.protocol(smtputf8), expected, "{letters} {smtputf8}");
        }
    }
}
