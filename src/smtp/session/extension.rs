//! The service extensions (RFC 5321 2.2) that a session may offer, besides STARTTLS and AUTH, which have conditions.
//!
//! Promise: what is not offered is not understood: a parameter of it is refused, as is its command.

use super::SessionPolicy;
use crate::envelope::{Body, Envelope, Notify, Recipient};

/// A service extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceExtension {
    /// PIPELINING (RFC 2920).
    Pipelining,
    /// SIZE (RFC 1870).
    Size,
    /// VRFY (RFC 5321 3.5).
    Vrfy,
    /// ETRN (RFC 1985).
    Etrn,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    EnhancedStatusCodes,
    /// 8BITMIME (RFC 6152).
    EightBitMime,
    /// SMTPUTF8 (RFC 6531).
    SmtpUtf8,
    /// DSN (RFC 3461).
    Dsn,
    /// CHUNKING (RFC 3030).
    Chunking,
    /// HELP (RFC 5321 4.1.1.8).
    Help,
}

use ServiceExtension::{
    Chunking, Dsn, EightBitMime, EnhancedStatusCodes, Etrn, Help, Pipelining, Size, SmtpUtf8, Vrfy,
};

impl ServiceExtension {
    /// Every extension, in the order in which EHLO names them.
    pub const ALL: [ServiceExtension; 10] =
        [Pipelining, Size, Vrfy, Etrn, EnhancedStatusCodes, EightBitMime, SmtpUtf8, Dsn, Chunking, Help];

    /// Returns its line in the reply to EHLO.
    pub(super) fn line(self, max_message_size: u64) -> String {
        let keyword = match self {
            Pipelining => "PIPELINING",
            Size => return format!("SIZE {max_message_size}"),
            Vrfy => "VRFY",
            Etrn => "ETRN",
            EnhancedStatusCodes => "ENHANCEDSTATUSCODES",
            EightBitMime => "8BITMIME",
            SmtpUtf8 => "SMTPUTF8",
            Dsn => "DSN",
            Chunking => "CHUNKING",
            Help => "HELP",
        };
        keyword.into()
    }

    /// Returns true if EHLO names it before STARTTLS and AUTH.
    pub(super) fn is_before_tls(self) -> bool {
        matches!(self, Pipelining | Size | Vrfy | Etrn)
    }
}

impl SessionPolicy {
    pub(super) fn offers(&self, extension: ServiceExtension) -> bool {
        self.extensions.contains(&extension)
    }

    /// Returns true if every parameter of MAIL belongs to an extension that is offered.
    pub(super) fn knows_parameters_of_mail(&self, envelope: &Envelope, size: Option<u64>) -> bool {
        let used = [
            (Size, size.is_some()),
            (EightBitMime, envelope.body == Body::EightBitMime),
            (SmtpUtf8, envelope.smtputf8),
            (Dsn, envelope.ret.is_some() || envelope.envid.is_some()),
        ];
        used.into_iter().all(|(extension, is_used)| !is_used || self.offers(extension))
    }

    /// Returns true if every parameter of RCPT belongs to an extension that is offered.
    pub(super) fn knows_parameters_of_rcpt(&self, recipient: &Recipient) -> bool {
        let uses_dsn = recipient.notify != Notify::Unstated || recipient.orcpt.is_some();
        !uses_dsn || self.offers(Dsn)
    }
}
