//! The second part of a DSN: the fields for programs.
//!
//! Promises: each field is one folded field, whatever the relay and the submitter wrote. A message/delivery-status is
//! ASCII, with `\x{…}` for other characters (RFC 6533 3). Addresses that are not ASCII make it a
//! message/global-delivery-status, which is UTF-8.
//!
//! RFC 3464 2.2 (per-message fields), 2.3 (per-recipient fields); RFC 3461 4 (xtext); RFC 6533.

use std::borrow::Cow;

use super::{Affected, Dsn, DsnKind, DsnPart};
use crate::envelope::{ReversePath, xtext};
use crate::message::date::rfc5322_at;
use crate::message::fold::{Folded, one_line};

/// The longest Diagnostic-Code, in octets. A longer one is cut.
const MAX_DIAGNOSTIC_OCTETS: usize = 2000;

/// The longest name, ENVID or ORCPT, in octets. A longer one is cut.
const MAX_NAME_OCTETS: usize = 500;

pub(super) fn part(dsn: &Dsn<'_>) -> DsnPart {
    let is_utf8 = dsn.affected.iter().any(needs_utf8);
    let writer = FieldWriter { dsn, is_utf8 };
    let mut body = writer.message_fields();
    for affected in dsn.affected {
        body.push_str("\r\n");
        body.push_str(&writer.recipient_fields(affected));
    }
    let content_type = if is_utf8 { "message/global-delivery-status" } else { "message/delivery-status" };
    DsnPart { description: "Delivery Report", content_type, body: body.into_bytes() }
}

/// Returns whether an address of this recipient is not ASCII.
fn needs_utf8(affected: &Affected<'_>) -> bool {
    let orcpt = affected.recipient.orcpt.as_deref().and_then(decoded_orcpt);
    affected.recipient.address.needs_smtputf8() || orcpt.is_some_and(|(_, address)| !address.is_ascii())
}

struct FieldWriter<'a> {
    dsn: &'a Dsn<'a>,
    is_utf8: bool,
}

impl FieldWriter<'_> {
    fn message_fields(&self) -> String {
        let Dsn { hostname, original, now, .. } = self.dsn;
        let mut fields = String::new();
        let mut add = |field: Folded| fields.push_str(&field.finish());
        if let Some(envid) = original.envelope.envid.as_deref().map(decoded_xtext).filter(|id| !id.is_empty())
        {
            add(Folded::field("Original-Envelope-Id").words(&self.encoded(&envid)));
        }
        add(Folded::field("Reporting-MTA").word("dns;").word(hostname));
        add(Folded::field("X-Nullmta-Queue-ID").word(&original.queue_id.to_string()));
        if let ReversePath::Mailbox(address) = &original.envelope.reverse_path {
            add(self.address("X-Nullmta-Sender", address.as_str()));
        }
        add(Folded::field("Arrival-Date").word(&rfc5322_at(original.arrived, now)));
        fields
    }

    fn recipient_fields(&self, affected: &Affected<'_>) -> String {
        let mut fields = String::new();
        let mut add = |field: Folded| fields.push_str(&field.finish());
        if let Some((kind, address)) = affected.recipient.orcpt.as_deref().and_then(decoded_orcpt) {
            add(Folded::field("Original-Recipient").word(&format!("{kind};")).words(&self.encoded(&address)));
        }
        add(self.address("Final-Recipient", affected.recipient.address.as_str()));
        add(Folded::field("Action").word(self.action()));
        add(Folded::field("Status").word(&affected.status.to_string()));
        if let Some(name) = affected.remote_mta {
            add(self.text("Remote-MTA", "dns;", name, MAX_NAME_OCTETS));
        }
        if !affected.diagnostic.trim().is_empty() {
            let kind = if affected.from_relay { "smtp;" } else { "x-nullmta;" };
            add(self.text("Diagnostic-Code", kind, affected.diagnostic, MAX_DIAGNOSTIC_OCTETS));
        }
        add(Folded::field("Last-Attempt-Date").word(&rfc5322_at(affected.last_attempt, self.dsn.now)));
        if let DsnKind::Delayed { retrying_until } = self.dsn.kind {
            add(Folded::field("Will-Retry-Until").word(&rfc5322_at(retrying_until, self.dsn.now)));
        }
        fields
    }

    fn action(&self) -> &'static str {
        match self.dsn.kind {
            DsnKind::Failed => "failed",
            DsnKind::Delayed { .. } => "delayed",
            DsnKind::Relayed => "relayed",
        }
    }

    fn address(&self, name: &str, address: &str) -> Folded {
        let kind = if address.is_ascii() { "rfc822;" } else { "utf-8;" };
        Folded::field(name).word(kind).word(&self.encoded(address))
    }

    fn text(&self, name: &str, kind: &str, text: &str, max: usize) -> Folded {
        Folded::field(name).word(kind).words(&self.encoded(&one_line(text, max)))
    }

    /// Returns `text` in a form that this kind of report may contain.
    fn encoded<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.is_utf8 { Cow::Borrowed(text) } else { xtext::in_ascii(text) }
    }
}

/// Splits an ORCPT into its address type and its decoded address; `None` if it is malformed (RFC 3461 4.2).
fn decoded_orcpt(orcpt: &str) -> Option<(&str, String)> {
    let (kind, address) = orcpt.split_once(';')?;
    let is_atom =
        !kind.is_empty() && kind.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
    let address = decoded_xtext(address);
    (is_atom && kind.len() <= 64 && !address.is_empty()).then_some((kind, address))
}

/// Decodes xtext (RFC 3461 4) to one line, since the decoded text may contain line breaks.
fn decoded_xtext(xtext: &str) -> String {
    one_line(&String::from_utf8_lossy(&xtext::decoded(xtext)), MAX_NAME_OCTETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xtext_is_decoded_and_never_fails() {
        let cases = [
            ("", ""),
            ("plain", "plain"),
            ("QQ314159", "QQ314159"),
            ("a+2Bb+3Dc", "a+b=c"),
            ("a+2bb", "a+b"),
            ("a+0D+0A+00Subject:+20+20x", "a ?Subject: x"),
            ("+0D+0A", ""),
            ("+D0+BF", "п"),
            ("+FF", "\u{FFFD}"),
            ("+", "+"),
            ("+4", "+4"),
            ("+G0+", "+G0+"),
            ("++41", "+A"),
        ];
        for (xtext, expected) in cases {
            assert_eq!(decoded_xtext(xtext), expected, "{xtext:?}");
        }
    }

    #[test]
    fn only_well_formed_orcpts_are_reported() {
        let cases = [
            ("rfc822;ann+2Bx@example.org", Some(("rfc822", "ann+x@example.org"))),
            ("utf-8;+D0+BF@example.org", Some(("utf-8", "п@example.org"))),
            ("x400;/a=b;c/", Some(("x400", "/a=b;c/"))),
            ("ann@example.org", None),
            (";ann@example.org", None),
            ("rfc822;", None),
            ("rfc822;+20+0A", None),
            ("rfc 822;ann", None),
            ("rfc822\r\nX: y;ann", None),
        ];
        for (orcpt, expected) in cases {
            let decoded = decoded_orcpt(orcpt);
            assert_eq!(decoded.as_ref().map(|(kind, address)| (*kind, &**address)), expected, "{orcpt:?}");
        }
    }
}
