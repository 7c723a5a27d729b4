//! What every message has, and what none has, when it leaves this host.
//!
//! Promises: a field that is there is not added, even if it is empty: relays refuse fields that may stand
//! only once and stand twice.
//!
//! RFC 5322 3.6 (Date and From are required), 3.6.3 (Bcc), 3.6.6 (so are Resent-Date and Resent-From where
//! there is any resent field), RFC 5321 4.4 (Return-Path is the last host's).

use super::{LocalUser, MessageFacts, Rules};
use crate::envelope::ReversePath;
use crate::message::date::rfc5322;

/// Fields that are dropped. A blind copy is a recipient of the envelope; a Return-Path or Content-Length
/// is of another delivery.
const DROPPED: [&str; 4] = ["Bcc", "Resent-Bcc", "Return-Path", "Content-Length"];

/// Whether the field `name` is dropped.
pub(super) fn is_dropped(name: &str) -> bool {
    DROPPED.iter().any(|dropped| dropped.eq_ignore_ascii_case(name))
}

/// Which fields there are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SeenFields {
    pub(super) date: bool,
    pub(super) message_id: bool,
    pub(super) from: bool,
    /// To or Cc, resent or not.
    pub(super) recipients: bool,
    pub(super) reply_to: bool,
    pub(super) original_from: bool,
    pub(super) original_to: bool,
    pub(super) signature: bool,
    /// Any resent field.
    resent: bool,
    resent_date: bool,
    resent_message_id: bool,
    resent_from: bool,
}

impl SeenFields {
    /// Takes note of the field `name`.
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

    /// The fields that are missing: name and body, with its line end.
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
        // A signature may cover that there is no To, and a message needs none.
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

/// The reverse-path as it was given, with the user's name where one is known.
fn from(facts: &MessageFacts, reverse_path: &ReversePath, rules: &Rules) -> String {
    let ReversePath::Mailbox(address) = reverse_path else {
        return format!("MAILER-DAEMON@{}", rules.origin());
    };
    let address = address.completed_with(rules.origin());
    let name = facts.user.as_ref().map(LocalUser::display_name).unwrap_or_default();
    if name.is_empty() { address.to_string() } else { format!("{name} <{address}>") }
}
