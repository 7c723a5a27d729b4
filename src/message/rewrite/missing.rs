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

/// The fields that a message has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SeenFields {
    pub(super) date: bool,
    pub(super) message_id: bool,
    pub(super) from: bool,
    /// True if there is To or Cc, resent or not.
    pub(super) recipients: bool,
    pub(super) reply_to: bool,
    pub(super) original_from: bool,
    pub(super) original_to: bool,
    pub(super) signature: bool,
    /// True if there is any resent field.
    resent: bool,
    resent_date: bool,
    resent_message_id: bool,
    resent_from: bool,
}

impl SeenFields {
    /// Notes that the field `name` exists.
    pub(super) fn note(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        self.resent |= name.starts_with("resent-");
        let seen = match name.as_str() {
            "date" => &mut self.date,
            "message-id" => &mut self.message_id,
            "from" => &mut self.from,
            "to" | "cc" | "resent-to" | "resent-cc" | "apparently-to" => &mut self.recipients,
            "reply-to" => &mut self.reply_to,
            "x-original-from" => &mut self.original_from,
            "x-original-to" => &mut self.original_to,
            "dkim-signature" => &mut self.signature,
            "resent-date" => &mut self.resent_date,
            "resent-message-id" => &mut self.resent_message_id,
            "resent-from" => &mut self.resent_from,
            _ => return,
        };
        *seen = true;
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
        // A message may have no To, and a signature may cover that.
        let needs_to = !self.recipients && !self.signature;
        let fields = [
            (!self.from, "From", from.clone()),
            (needs_to, "To", " undisclosed-recipients:;\r\n".to_owned()),
            (!self.date, "Date", date.clone()),
            (!self.message_id, "Message-ID", message_id.clone()),
            (self.resent && !self.resent_from, "Resent-From", from),
            (self.resent && !self.resent_date, "Resent-Date", date),
            (self.resent && !self.resent_message_id, "Resent-Message-ID", message_id),
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
