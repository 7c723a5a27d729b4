//! What every message has, and what none has, when it leaves this host.
//!
//! Promises: a field that is there is not added, even if it is empty: relays refuse fields that may stand
//! only once and stand twice.
//!
//! RFC 5322 3.6 (Date and From are required), 3.6.3 (Bcc), RFC 5321 4.4 (Return-Path is the last host's).

use super::{Facts, LocalUser, Rules};
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
pub(super) struct Seen {
    pub(super) date: bool,
    pub(super) message_id: bool,
    pub(super) from: bool,
    /// To or Cc, resent or not.
    pub(super) recipients: bool,
    pub(super) reply_to: bool,
    pub(super) original_from: bool,
    pub(super) original_to: bool,
    pub(super) signature: bool,
}

impl Seen {
    /// Takes note of the field `name`.
    pub(super) fn note(&mut self, name: &str) {
        let seen = match name.to_ascii_lowercase().as_str() {
            "date" => &mut self.date,
            "message-id" => &mut self.message_id,
            "from" => &mut self.from,
            "to" | "cc" | "resent-to" | "resent-cc" | "apparently-to" => &mut self.recipients,
            "reply-to" => &mut self.reply_to,
            "x-original-from" => &mut self.original_from,
            "x-original-to" => &mut self.original_to,
            "dkim-signature" => &mut self.signature,
            _ => return,
        };
        *seen = true;
    }

    /// The fields that are missing: name and body, with its line end.
    pub(super) fn missing(
        &self,
        facts: &Facts,
        reverse_path: &ReversePath,
        rules: &Rules,
    ) -> Vec<(&'static str, String)> {
        let mut missing = Vec::new();
        if !self.from {
            missing.push(("From", format!(" {}\r\n", from(facts, reverse_path, rules))));
        }
        // A signature may cover that there is no To, and a message needs none.
        if !self.recipients && !self.signature {
            missing.push(("To", " undisclosed-recipients:;\r\n".to_owned()));
        }
        if !self.date {
            missing.push(("Date", format!(" {}\r\n", rfc5322(&facts.now))));
        }
        if !self.message_id {
            let Facts { message_id_left: left, hostname: right, .. } = facts;
            missing.push(("Message-ID", format!(" <{left}@{right}>\r\n")));
        }
        missing
    }
}

/// The reverse-path as it was given, with the user's name where one is known.
fn from(facts: &Facts, reverse_path: &ReversePath, rules: &Rules) -> String {
    let ReversePath::Mailbox(address) = reverse_path else {
        return format!("MAILER-DAEMON@{}", rules.origin());
    };
    let address = address.completed_with(rules.origin());
    let name = facts.user.as_ref().map(LocalUser::display_name).unwrap_or_default();
    if name.is_empty() { address.to_string() } else { format!("{name} <{address}>") }
}
