//! The changes that were made to a message, each with its rule, and the fields that were left alone, each with the
//! reason. `nullmta rewrite --explain` shows them.

use std::fmt;

use crate::message::fold::one_line;

/// The most changes of one message that are kept. A message can be made to need millions.
pub const MAX_CHANGES: usize = 1000;

/// The longest text of a field that is kept, in octets.
const MAX_SHOWN_OCTETS: usize = 300;

/// The rule that made a change. It is displayed as its key in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The key `rewrite.origin`.
    Origin,
    /// The key `rewrite.senders`.
    Senders,
    /// The key `rewrite.sender`.
    Sender,
    /// The key `rewrite.null-sender`. The change is made when the message is sent to the relay.
    NullSender,
    /// The key `rewrite.recipients`.
    Recipients,
    /// The key `rewrite.recipient`.
    Recipient,
    /// The key `rewrite.masquerade`.
    Masquerade,
    /// The key `rewrite.aliases`.
    Aliases,
    /// The rule with this number, counted from 1, in `rewrite.header`.
    Header(usize),
    /// The key `rewrite.hide-received`.
    HideReceived,
    /// The key `rewrite.keep-original`.
    KeepOriginal,
    /// The key `rewrite.reply-to-original`.
    ReplyToOriginal,
    /// No key: the change is made to every message that needs it.
    FixUp,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rule::Origin => "rewrite.origin",
            Rule::Senders => "rewrite.senders",
            Rule::Sender => "rewrite.sender",
            Rule::NullSender => "rewrite.null-sender",
            Rule::Recipients => "rewrite.recipients",
            Rule::Recipient => "rewrite.recipient",
            Rule::Masquerade => "rewrite.masquerade",
            Rule::Aliases => "rewrite.aliases",
            Rule::Header(number) => return write!(f, "rewrite.header {number}"),
            Rule::HideReceived => "rewrite.hide-received",
            Rule::KeepOriginal => "rewrite.keep-original",
            Rule::ReplyToOriginal => "rewrite.reply-to-original",
            Rule::FixUp => "always",
        })
    }
}

/// The place of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangePlace {
    /// The reverse-path, of MAIL FROM.
    ReversePath,
    /// A recipient, of RCPT TO.
    Recipient,
    /// The header field with this name.
    Field(String),
}

impl fmt::Display for ChangePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChangePlace::ReversePath => "MAIL FROM",
            ChangePlace::Recipient => "RCPT TO",
            ChangePlace::Field(name) => name,
        })
    }
}

/// A change. It is displayed as `From: root -> root@example.org (rewrite.origin)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The rule that made it.
    pub rule: Rule,
    /// The place of the change.
    pub place: ChangePlace,
    /// The address or field text before the change; `None` if there was nothing.
    pub before: Option<String>,
    /// The address or field text after the change; `None` if there is nothing.
    pub after: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { rule, place, before, after } = self;
        match (before, after) {
            (Some(before), Some(after)) => write!(f, "{place}: {before} -> {after} ({rule})"),
            (Some(before), None) => write!(f, "{place}: removed: {before} ({rule})"),
            (None, Some(after)) => write!(f, "{place}: added: {after} ({rule})"),
            (None, None) => write!(f, "{place}: nothing ({rule})"),
        }
    }
}

/// The reason why a field, or a part of it, was left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftWhy {
    /// The field is not a list of addresses, and contains none.
    NoAddresses,
    /// The field is not a list of addresses; those that it contains are rewritten like others.
    NoList,
    /// An address in the field is not valid.
    BadAddress,
    /// Words without `@` beside an address in brackets are taken for a part of the name.
    Name,
    /// The setting `rewrite.reply-to-original` keeps it.
    ReplyToOriginal,
    /// The name needs quotes or similar, but a signature covers the field.
    Signed,
    /// A comma is missing, but a signature covers the field.
    SignedList,
    /// The field has a source route, but a signature covers it.
    SignedRoute,
    /// The field is a second From, but a signature covers it.
    SignedFrom,
}

impl fmt::Display for LeftWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LeftWhy::NoAddresses => "no list of addresses",
            LeftWhy::NoList => {
                "no list of addresses: those that can be read in it are rewritten, the rest stays; the relay may refuse it"
            }
            LeftWhy::BadAddress => "one of its addresses cannot be read, and stays as it is",
            LeftWhy::Name => {
                "words beside an address in brackets are taken for a part of its name, which lacks quotes"
            }
            LeftWhy::ReplyToOriginal => "kept by rewrite.reply-to-original",
            LeftWhy::Signed => "its name needs quotes, but the message is signed: the relay may refuse it",
            LeftWhy::SignedList => {
                "a comma is missing between addresses, but the message is signed: the relay may refuse it"
            }
            LeftWhy::SignedRoute => "a source route stands in it, but the message is signed: the relay may refuse it",
            LeftWhy::SignedFrom => {
                "a message has one From, but this one is signed with more of them: the relay may refuse it"
            }
        })
    }
}

/// A field that was left alone, as a whole or in part. It is displayed as `From: ann@x < (no list of addresses)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftAlone {
    /// The name of the field.
    pub field: String,
    /// The body of the field, on one line.
    pub body: String,
    /// The reason why the field was left as it is.
    pub why: LeftWhy,
}

impl fmt::Display for LeftAlone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.field, self.body, self.why)
    }
}

/// The changes of one message, in the order in which they were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    kept: Vec<Change>,
    left_alone: Vec<LeftAlone>,
    /// The number of changes beyond [`MAX_CHANGES`].
    more: usize,
}

impl Changes {
    /// Returns the first [`MAX_CHANGES`] changes.
    pub fn kept(&self) -> &[Change] {
        &self.kept
    }

    /// Returns the number of the other changes.
    pub fn more(&self) -> usize {
        self.more
    }

    /// Returns the fields with addresses that were left alone, at most [`MAX_CHANGES`].
    pub fn left_alone(&self) -> &[LeftAlone] {
        &self.left_alone
    }

    /// Notes a field that was left alone.
    pub(super) fn left(&mut self, name: &str, why: LeftWhy, body: &[u8]) {
        if self.left_alone.len() < MAX_CHANGES {
            let body = one_line(&String::from_utf8_lossy(body), MAX_SHOWN_OCTETS);
            self.left_alone.push(LeftAlone { field: name.to_owned(), body, why });
        }
    }

    /// Notes an address that was replaced.
    pub(super) fn address(
        &mut self,
        rule: Rule,
        place: &ChangePlace,
        before: impl fmt::Display,
        after: String,
    ) {
        self.add(|| Change {
            rule,
            place: place.clone(),
            before: Some(before.to_string()),
            after: Some(after),
        });
    }

    /// Notes that the field `name` was changed, added or removed, with its bodies.
    pub(super) fn field(&mut self, rule: Rule, name: &str, before: Option<&[u8]>, after: Option<&[u8]>) {
        let shown = |body: &[u8]| one_line(&String::from_utf8_lossy(body), MAX_SHOWN_OCTETS);
        self.add(|| Change {
            rule,
            place: ChangePlace::Field(name.to_owned()),
            before: before.map(shown),
            after: after.map(shown),
        });
    }

    fn add(&mut self, change: impl FnOnce() -> Change) {
        if self.kept.len() < MAX_CHANGES {
            self.kept.push(change());
        } else {
            self.more += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_said_on_one_line_each() {
        let mut changes = Changes::default();
        changes.address(Rule::Origin, &ChangePlace::ReversePath, "root", "root@x".to_owned());
        changes.field(Rule::Header(2), "Subject", Some(b" a\r\n b"), Some(b" c\x1b"));
        changes.field(Rule::FixUp, "Bcc", Some(b" ann\r\n"), None);
        changes.field(Rule::FixUp, "To", None, Some(&[b'x'; 400]));
        let shown: Vec<_> = changes.kept().iter().map(Change::to_string).collect();
        assert_eq!(shown[0], "MAIL FROM: root -> root@x (rewrite.origin)");
        assert_eq!(shown[1], "Subject: a b -> c? (rewrite.header 2)");
        assert_eq!(shown[2], "Bcc: removed: ann (always)");
        assert_eq!(shown[3], format!("To: added: {} [...] (always)", "x".repeat(300)));
    }

    #[test]
    fn a_message_that_needs_many_changes_does_not_fill_memory_with_them() {
        let mut changes = Changes::default();
        for _ in 0..MAX_CHANGES + 3 {
            changes.field(Rule::FixUp, "Bcc", None, None);
        }
        assert_eq!((changes.kept().len(), changes.more()), (MAX_CHANGES, 3));
    }
}
