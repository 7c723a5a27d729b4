//! The commands of a transaction for one relay, and the reasons why it can never accept a recipient.
//!
//! Promises: a recipient that this relay can never accept is known before a command is sent ([`obstacle`]); so is which
//! parameters the message can do without ([`needed`]).
//!
//! Not here: the text of the commands (`smtp/client.rs`), when they are sent, and the meaning of replies (`dialog.rs`).
//!
//! RFC 1870 (SIZE), RFC 6531 3.5 (SMTPUTF8).

use super::Transaction;
use crate::config::EightBit;
use crate::envelope::{Address, Body, Recipient, ReversePath};
use crate::smtp::client::{Capabilities, Dialect, ExtensionParameter, Group, Mail, ParameterSet, Spelling};
use crate::status::Status;

/// Writes the domains of the envelope in ASCII where they alone need SMTPUTF8, for a relay that does not offer it. Its reports
/// name the recipients by their index, so that the log and a DSN show them as they were given.
pub(crate) fn write_domains_in_ascii(transaction: &mut Transaction) {
    if let Some(from) = transaction.reverse_path.mailbox().and_then(Address::in_ascii) {
        transaction.reverse_path = ReversePath::Mailbox(from);
    }
    for (_, recipient) in &mut transaction.recipients {
        if let Some(address) = recipient.address.in_ascii() {
            recipient.address = address;
        }
    }
}

/// Returns the commands for the envelope of `transaction`, for a relay with these extensions.
pub(crate) fn group(transaction: &Transaction, offered: &Capabilities) -> Group {
    let mail = Mail {
        reverse_path: &transaction.reverse_path,
        size: Some(transaction.size),
        body: transaction.body,
        smtputf8: transaction.wants_smtputf8,
        ret: transaction.ret,
        envid: transaction.envid.as_deref(),
    };
    let recipients = transaction.recipients.iter().map(|(_, recipient)| recipient);
    Dialect { offered, spelling: Spelling::Strict }.group(&mail, recipients)
}

/// Returns the parameters without which `transaction` must not be sent.
pub(crate) fn needed(transaction: &Transaction, eight_bit: EightBit) -> ParameterSet {
    let from = transaction.reverse_path.mailbox();
    let mut addresses = from.into_iter().chain(transaction.recipients.iter().map(|(_, to)| &to.address));
    // Without SMTPUTF8 a domain is written in ASCII.
    let needs_smtputf8 = |address: &Address| address.needs_smtputf8() && address.in_ascii().is_none();
    let smtputf8 = addresses.any(needs_smtputf8).then_some(ExtensionParameter::SmtpUtf8);
    let must_be_declared = transaction.body == Body::EightBitMime && eight_bit == EightBit::Bounce;
    let body = must_be_declared.then_some(ExtensionParameter::Body);
    ParameterSet::of(smtputf8.into_iter().chain(body))
}

/// Returns the reason why this relay can never accept `transaction` for `recipient`: a status, and our words.
pub(crate) fn obstacle(
    transaction: &Transaction,
    recipient: &Recipient,
    offered: &Capabilities,
    eight_bit: EightBit,
) -> Option<(Status, String)> {
    if let Some(limit) = offered.size_limit.filter(|&limit| transaction.size > limit) {
        let size = transaction.size;
        let words = format!("message of {size} octets is larger than the {limit} that the relay takes");
        return Some((Status::permanent(3, 4), words));
    }
    let is_eight_bit = transaction.body == Body::EightBitMime && !offered.eight_bit_mime;
    if is_eight_bit && eight_bit == EightBit::Bounce {
        let words =
            "the message is 8-bit, the relay does not offer 8BITMIME, and relay.eight-bit is \"bounce\"";
        // RFC 3463 3.7: X.6.3, conversion required but not supported.
        return Some((Status::permanent(6, 3), words.into()));
    }
    let from = transaction.reverse_path.mailbox();
    let needs_smtputf8 = recipient.address.needs_smtputf8() || from.is_some_and(Address::needs_smtputf8);
    if needs_smtputf8 && !offered.smtputf8 {
        let words = "the address needs SMTPUTF8, which the relay does not offer".into();
        // RFC 6531 3.5, RFC 6533: X.6.7, non-ASCII addresses not permitted.
        return Some((Status::permanent(6, 7), words));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Notify, Ret};
    use crate::relay::testing::transaction;
    use crate::smtp::client::ClientCommand;

    fn everything() -> Capabilities {
        Capabilities {
            size: true,
            size_limit: None,
            eight_bit_mime: true,
            smtputf8: true,
            dsn: true,
            ..Capabilities::default()
        }
    }

    fn demanding() -> Transaction {
        let mut demanding = transaction(1, "anna@exämple.org", &["ben@example.net", "cara@example.net"], "x");
        demanding.body = Body::EightBitMime;
        demanding.wants_smtputf8 = true;
        demanding.ret = Some(Ret::Headers);
        demanding.envid = Some("QQ314159".into());
        demanding.recipients[0].1.notify = Notify::On { success: true, failure: true, delay: false };
        demanding.recipients[0].1.orcpt = Some("rfc822;ben+2Bx@example.org".into());
        demanding.recipients[1].1.notify = Notify::Never;
        demanding
    }

    fn lines(transaction: &Transaction, offered: &Capabilities) -> Vec<String> {
        let mut out = Vec::new();
        group(transaction, offered).write(&mut out);
        String::from_utf8(out).unwrap().split_terminator("\r\n").map(String::from).collect()
    }

    #[test]
    fn every_parameter_is_sent_when_offered() {
        let expected = [
            "MAIL FROM:<anna@exämple.org> SIZE=1 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ314159",
            "RCPT TO:<ben@example.net> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;ben+2Bx@example.org",
            "RCPT TO:<cara@example.net> NOTIFY=NEVER",
            "DATA",
        ];
        assert_eq!(lines(&demanding(), &everything()), expected);
    }

    #[test]
    fn a_line_knows_whether_it_has_dsn_parameters() {
        let has_dsn = |transaction: &Transaction, offered: &Capabilities| {
            let group = group(transaction, offered);
            let has_dsn = |line: &ClientCommand| line.parameters.has(ExtensionParameter::Dsn);
            (has_dsn(group.mail()), group.rcpts().iter().map(has_dsn).collect::<Vec<_>>())
        };
        let mut mixed = demanding();
        mixed.recipients[1].1.notify = Notify::Unstated;
        assert_eq!(has_dsn(&mixed, &everything()), (true, vec![true, false]));
        mixed.envid = None;
        mixed.ret = None;
        assert_eq!(has_dsn(&mixed, &everything()), (false, vec![true, false]));
        assert_eq!(has_dsn(&demanding(), &Capabilities::default()), (false, vec![false, false]));
    }

    #[test]
    fn a_message_needs_what_its_addresses_and_the_configuration_ask_for() {
        use ExtensionParameter::{Body as EightBitBody, SmtpUtf8};
        for (from, to, body, eight_bit, expected) in [
            ("ann@example.org", "ben@example.net", Body::EightBitMime, EightBit::Keep, vec![]),
            ("ann@example.org", "ben@example.net", Body::EightBitMime, EightBit::Encode, vec![]),
            ("ann@example.org", "ben@example.net", Body::EightBitMime, EightBit::Bounce, vec![EightBitBody]),
            ("ann@example.org", "ben@example.net", Body::SevenBit, EightBit::Bounce, vec![]),
            ("änn@example.org", "ben@example.net", Body::SevenBit, EightBit::Bounce, vec![SmtpUtf8]),
            ("", "bén@example.net", Body::EightBitMime, EightBit::Keep, vec![SmtpUtf8]),
            ("ann@exämple.org", "bob@bücher.example", Body::SevenBit, EightBit::Keep, vec![]),
            ("ann@exämple.org", "bób@bücher.example", Body::SevenBit, EightBit::Keep, vec![SmtpUtf8]),
        ] {
            let mut message = Transaction { body, ..transaction(1, from, &[to], "x") };
            message.wants_smtputf8 = true;
            assert_eq!(needed(&message, eight_bit), ParameterSet::of(expected), "{from} {to} {eight_bit:?}");
        }
    }

    #[test]
    fn no_parameter_is_sent_that_is_not_offered() {
        let expected = [
            "MAIL FROM:<anna@exämple.org>",
            "RCPT TO:<ben@example.net>",
            "RCPT TO:<cara@example.net>",
            "DATA",
        ];
        assert_eq!(lines(&demanding(), &Capabilities::default()), expected);
    }

    #[test]
    fn a_plain_message_asks_for_nothing_but_its_size() {
        let expected = ["MAIL FROM:<> SIZE=5", "RCPT TO:<ben@example.net>", "DATA"];
        assert_eq!(lines(&transaction(1, "", &["ben@example.net"], "hello"), &everything()), expected);
    }

    /// An envelope read back from a damaged spool must not become a command.
    #[test]
    fn parameters_cannot_smuggle_commands() {
        for evil in ["a\r\nRSET", "a b", "a\tb", "a\u{85}b", ""] {
            let mut smuggling = transaction(1, "", &["ben@example.net"], "x");
            smuggling.envid = Some(evil.into());
            smuggling.recipients[0].1.orcpt = Some(evil.into());
            let expected = ["MAIL FROM:<> SIZE=1", "RCPT TO:<ben@example.net>", "DATA"];
            assert_eq!(lines(&smuggling, &everything()), expected, "{evil:?}");
        }
    }

    #[test]
    fn what_a_relay_cannot_take_is_known_beforehand() {
        let limited = |limit| Capabilities { size: true, size_limit: Some(limit), ..everything() };
        let ascii_only = Capabilities { smtputf8: false, ..everything() };
        let cases = [
            ("ann@example.org", "ben@example.net", limited(4), Some("5.3.4")),
            ("ann@example.org", "ben@example.net", limited(5), None),
            ("ann@example.org", "ben@exämple.net", ascii_only.clone(), Some("5.6.7")),
            ("ann@example.org", "bén@exämple.net", ascii_only.clone(), Some("5.6.7")),
            ("änn@example.org", "ben@example.net", ascii_only.clone(), Some("5.6.7")),
            ("ann@example.org", "ben@example.net", ascii_only, None),
            ("änn@example.org", "bén@example.net", everything(), None),
        ];
        for (from, to, offered, expected) in cases {
            let message = transaction(1, from, &[to], "hello");
            let found = obstacle(&message, &message.recipients[0].1, &offered, EightBit::Keep);
            assert_eq!(found.map(|(status, _)| status.to_string()).as_deref(), expected, "{from} {to}");
        }
    }

    /// `bob@bücher.example` bounced, although the relay takes `bob@xn--bcher-kva.example`.
    #[test]
    fn an_international_domain_is_written_in_ascii_for_a_relay_without_smtputf8() {
        let mut message =
            transaction(1, "ann@exämple.org", &["bob@bücher.example", "bób@bücher.example"], "x");
        write_domains_in_ascii(&mut message);
        let expected = [
            "MAIL FROM:<ann@xn--exmple-cua.org>",
            "RCPT TO:<bob@xn--bcher-kva.example>",
            "RCPT TO:<bób@bücher.example>",
            "DATA",
        ];
        assert_eq!(lines(&message, &Capabilities::default()), expected);
    }

    #[test]
    fn an_8_bit_message_bounces_only_where_it_is_asked_for_and_needed() {
        let seven_bit_only = Capabilities { eight_bit_mime: false, ..everything() };
        for (body, offered, eight_bit, expected) in [
            (Body::EightBitMime, &seven_bit_only, EightBit::Bounce, Some("5.6.3")),
            (Body::EightBitMime, &seven_bit_only, EightBit::Keep, None),
            (Body::EightBitMime, &seven_bit_only, EightBit::Encode, None),
            (Body::EightBitMime, &everything(), EightBit::Bounce, None),
            (Body::SevenBit, &seven_bit_only, EightBit::Bounce, None),
        ] {
            let message = Transaction { body, ..transaction(1, "", &["ben@example.net"], "x") };
            let found = obstacle(&message, &message.recipients[0].1, offered, eight_bit);
            assert_eq!(
                found.map(|(status, _)| status.to_string()).as_deref(),
                expected,
                "{body:?} {eight_bit:?}"
            );
        }
    }
}
