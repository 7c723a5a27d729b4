//! The kinds of fields that matter for mending, by their names.

use crate::message::header::name_before_colon;

/// The kind of a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum FieldKind {
    From,
    /// Sender and Reply-To.
    Authors,
    /// To, Cc, Bcc, and those of a resent message.
    Recipients,
    Subject,
    /// Another field that only the header of a message has.
    OfMessage,
    /// A field of MIME, which a web page and a reply of HTTP have, too.
    OfContent,
    #[default]
    Other,
}

impl FieldKind {
    /// Returns the kind of a field, or of its beginning up to the colon.
    pub(super) fn of(field: &[u8]) -> FieldKind {
        const AUTHORS: [&[u8]; 2] = [b"sender", b"reply-to"];
        const RECIPIENTS: [&[u8]; 6] = [b"to", b"cc", b"bcc", b"resent-to", b"resent-cc", b"resent-bcc"];
        const OF_MESSAGE: [&[u8]; 5] =
            [b"date", b"message-id", b"in-reply-to", b"references", b"mime-version"];
        let name = &name_before_colon(field).to_ascii_lowercase()[..];
        match () {
            () if name == b"from" => FieldKind::From,
            () if name == b"subject" => FieldKind::Subject,
            () if AUTHORS.contains(&name) => FieldKind::Authors,
            () if RECIPIENTS.contains(&name) => FieldKind::Recipients,
            () if OF_MESSAGE.contains(&name) || name.starts_with(b"resent-") => FieldKind::OfMessage,
            () if name.starts_with(b"content-") => FieldKind::OfContent,
            () => FieldKind::Other,
        }
    }

    /// Returns whether the body of the field is a list of addresses.
    pub(super) fn is_list(self) -> bool {
        matches!(self, FieldKind::From | FieldKind::Authors | FieldKind::Recipients)
    }

    /// Returns whether a line without an indent and without another meaning may be a part of the field. For
    /// recipients the field then cannot be read, and `sendmail -t` says so.
    pub(super) fn may_take_text(self) -> bool {
        !matches!(self, FieldKind::From | FieldKind::Authors | FieldKind::OfMessage)
    }

    /// Returns whether a header section with such a field is that of a message, whatever follows it.
    pub(super) fn makes_a_message(self) -> bool {
        self.is_list() || matches!(self, FieldKind::Subject | FieldKind::OfMessage)
    }
}

/// Returns whether only text can follow a header section with a field called `name`.
pub fn makes_a_message(name: &str) -> bool {
    FieldKind::of(name.as_bytes()).makes_a_message()
}
