//! The fields that a message must have, and those that it must not have, when it leaves this host.
//!
//! Promises: a field that exists is not added again, even if it is empty, since relays refuse a message with two
//! fields of a kind of which only one is allowed.
//!
//! RFC 5322 3.6 (Date and From are required), 3.6.3 (Bcc), 3.6.6 (Resent-Date and Resent-From are required with any
//! resent field), RFC 5321 4.4 (Return-Path is added by the last host).

use super::{LocalUser, MessageFacts, Rules};
use crate::envelope::ReversePath;
use crate::message::date::rfc5322;

/// The fields that are dropped. The recipients of Bcc are in the envelope. Return-Path and Content-Length are left
/// from another delivery.
const DROPPED: [&str; 4] = ["Bcc", "Resent-Bcc", "Return-Path", "Content-Length"];

/// Returns whether the field `name` is dropped.
pub(super) fn is_dropped(name: &str) -> bool {
    DROPPED.iter().any(|dropped| dropped.eq_ignore_ascii_case(name))
}

/// A field, or a kind of fields, whose presence decides about others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SeenField {
    Date,
    MessageId,
    From,
    /// To or Cc, resent or not.
    Recipients,
    ReplyTo,
    OriginalFrom,
    OriginalTo,
    Signature,
    /// Any resent field.
    Resent,
    ResentDate,
    ResentMessageId,
    ResentFrom,
}

/// The fields that a message has: one bit for each [`SeenField`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SeenFields(u16);

impl SeenFields {
    /// Returns whether the message has this field.
    pub(super) fn has(self, field: SeenField) -> bool {
        self.0 & (1 << field as u16) != 0
    }

    fn add(&mut self, field: SeenField) {
        self.0 |= 1 << field as u16;
    }

    /// Notes that the field `name` exists.
    pub(super) fn note(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        if name.starts_with("resent-") {
            self.add(SeenField::Resent);
        }
        self.add(match name.as_str() {
            "date" => SeenField::Date,
            "message-id" => SeenField::MessageId,
            "from" => SeenField::From,
            "to" | "cc" | "resent-to" | "resent-cc" | "apparently-to" => SeenField::Recipients,
            "reply-to" => SeenField::ReplyTo,
            "x-original-from" => SeenField::OriginalFrom,
            "x-original-to" => SeenField::OriginalTo,
            "dkim-signature" => SeenField::Signature,
            "resent-date" => SeenField::ResentDate,
            "resent-message-id" => SeenField::ResentMessageId,
            "resent-from" => SeenField::ResentFrom,
            _ => return,
        });
    }

    /// Returns the fields that are missing: their names, and bodies with line ends.
    pub(super) fn missing(
        &self,
        facts: &MessageFacts,
        reverse_path: &ReversePath,
        rules: &Rules,
    ) -> Vec<(&'static str, String)> {
        let MessageFacts { message_id_left: left, hostname: right, .. } = facts;
        let from = format!(" {}\r\n", from(facts, reverse_path, rules));
        let date = format!(" {}\r\n", rfc5322(&facts.now));
        let message_id = format!(" <{left}@{right}>\r\n");
        let lacks = |field| !self.has(field);
        // A message may have no To, and a signature may cover that.
        let needs_to = lacks(SeenField::Recipients) && lacks(SeenField::Signature);
        let lacks_resent = |field| self.has(SeenField::Resent) && lacks(field);
        let fields = [
            (lacks(SeenField::From), "From", from.clone()),
            (needs_to, "To", " undisclosed-recipients:;\r\n".to_owned()),
            (lacks(SeenField::Date), "Date", date.clone()),
            (lacks(SeenField::MessageId), "Message-ID", message_id.clone()),
            (lacks_resent(SeenField::ResentFrom), "Resent-From", from),
            (lacks_resent(SeenField::ResentDate), "Resent-Date", date),
            (lacks_resent(SeenField::ResentMessageId), "Resent-Message-ID", message_id),
        ];
        fields.into_iter().filter_map(|(is_missing, name, body)| is_missing.then_some((name, body))).collect()
    }
}

/// Returns the body of From: the reverse-path as it was given, with the name of the user if it is known.
fn from(facts: &MessageFacts, reverse_path: &ReversePath, rules: &Rules) -> String {
    let ReversePath::Mailbox(address) = reverse_path else {
        return format!("MAILER-DAEMON@{}", rules.origin());
    };
    let address = address.completed_with(rules.origin());
    let name = facts.user.as_ref().map(LocalUser::display_name).unwrap_or_default();
    if name.is_empty() { address.to_string() } else { format!("{name} <{address}>") }
}
