//! The reasons for refusing a message because of its content, whoever sends it.
//!
//! Promises: each reason has one sentence, which says what is wrong. SMTP, `sendmail` and `nullmta rewrite` use the
//! same sentence.
//!
//! Not here: the reply codes (`smtp/session/refusal.rs`); the size of the whole message, which only a session limits.

use std::fmt;

use super::hidden_bcc::HiddenBcc;

/// The reason why the content of a message is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unacceptable {
    /// The header section is larger than [`MAX_HEADER_OCTETS`](super::header::MAX_HEADER_OCTETS), or becomes much larger
    /// by being rewritten.
    HeaderTooLarge,
    /// The header section is too large for the header rules of the configuration: to match them would take too long.
    TooMuchEffort,
    /// It has more than [`MAX_RECEIVED_FIELDS`](super::fixup::MAX_RECEIVED_FIELDS) Received fields.
    MailLoop,
    /// Other recipients would read its Bcc.
    HiddenBcc(HiddenBcc),
    /// A rule of the configuration rejects it with this text.
    Rejected(Box<str>),
}

impl From<HiddenBcc> for Unacceptable {
    fn from(hidden: HiddenBcc) -> Self {
        Unacceptable::HiddenBcc(hidden)
    }
}

impl fmt::Display for Unacceptable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unacceptable::HeaderTooLarge => "header section too large",
            Unacceptable::TooMuchEffort => "header section too large for the header rules",
            Unacceptable::MailLoop => "too many Received fields, this looks like a mail loop",
            Unacceptable::HiddenBcc(hidden) => hidden.sentence(),
            Unacceptable::Rejected(text) => text,
        })
    }
}

impl std::error::Error for Unacceptable {}
