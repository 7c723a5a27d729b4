//! The commands of a transaction: MAIL, RCPT…, DATA, with the parameters a relay understands.
//!
//! Promises:
//! 1. A parameter is sent only when the relay offers its extension.
//! 2. A command is one line: what the envelope holds cannot end it or add another.
//! 3. What this relay could never take is known before anything is said to it ([`obstacle`]).
//!
//! Not here: when the lines are sent and what the replies mean (`dialog.rs`).
//!
//! RFC 5321 4.1.1.2 and 4.1.1.3, RFC 1870 (SIZE), RFC 2920 3.1 (groups), RFC 3461 4 (DSN), RFC 6152
//! (BODY), RFC 6531 3.4 (SMTPUTF8).

use super::Transaction;
use super::capabilities::Capabilities;
use crate::envelope::{Address, Body, Recipient};
use crate::smtp::parameters;
use crate::status::Status;

/// The commands of one transaction for one relay.
pub(crate) struct Group {
    mail: Line,
    rcpts: Vec<Line>,
}

/// A command's line, without its end.
pub(crate) struct Line {
    pub(crate) text: String,
    /// It has DSN parameters.
    pub(crate) has_dsn: bool,
}

impl Group {
    /// Puts the envelope of `transaction` in words that a relay with these offers understands.
    pub(crate) fn new(transaction: &Transaction, offered: &Capabilities) -> Self {
        let recipients = transaction.recipients.iter();
        Group {
            mail: mail(transaction, offered),
            rcpts: recipients.map(|(_, recipient)| rcpt(recipient, offered)).collect(),
        }
    }

    /// The MAIL line.
    pub(crate) fn mail(&self) -> &Line {
        &self.mail
    }

    /// The RCPT lines, in the transaction's order.
    pub(crate) fn rcpts(&self) -> &[Line] {
        &self.rcpts
    }

    /// All of it with its line ends, for a relay that offers PIPELINING.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let envelope = [&self.mail].into_iter().chain(&self.rcpts).map(|line| line.text.as_str());
        for line in envelope.chain(["DATA"]) {
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn mail(transaction: &Transaction, offered: &Capabilities) -> Line {
    let reverse_path = transaction.reverse_path.mailbox().map(Address::to_mailbox).unwrap_or_default();
    let mut text = format!("MAIL FROM:<{reverse_path}>");
    if offered.size {
        text.push_str(&format!(" SIZE={}", transaction.size));
    }
    if offered.eight_bit_mime && transaction.body == Body::EightBitMime {
        text.push_str(" BODY=8BITMIME");
    }
    if offered.smtputf8 && transaction.needs_smtputf8 {
        text.push_str(" SMTPUTF8");
    }
    with_dsn(text, offered, |text| {
        parameters::push_mail_dsn(text, transaction.ret, transaction.envid.as_deref());
    })
}

fn rcpt(recipient: &Recipient, offered: &Capabilities) -> Line {
    let text = format!("RCPT TO:<{}>", recipient.address.to_mailbox());
    with_dsn(text, offered, |text| parameters::push_rcpt_dsn(text, recipient))
}

/// `text`, and what `push` adds to it where DSN is offered.
fn with_dsn(mut text: String, offered: &Capabilities, push: impl FnOnce(&mut String)) -> Line {
    let without = text.len();
    if offered.dsn {
        push(&mut text);
    }
    Line { has_dsn: text.len() > without, text }
}

/// Why this relay can never take `transaction` for `recipient`, in our words.
pub(crate) fn obstacle(
    transaction: &Transaction,
    recipient: &Recipient,
    offered: &Capabilities,
) -> Option<(Status, String)> {
    if let Some(limit) = offered.size_limit.filter(|&limit| transaction.size > limit) {
        let size = transaction.size;
        let words = format!("message of {size} octets is larger than the {limit} that the relay takes");
        return Some((Status::permanent(3, 4), words));
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
        demanding.needs_smtputf8 = true;
        demanding.ret = Some(Ret::Headers);
        demanding.envid = Some("QQ314159".into());
        demanding.recipients[0].1.notify = Notify::On { success: true, failure: true, delay: false };
        demanding.recipients[0].1.orcpt = Some("rfc822;ben+2Bx@example.org".into());
        demanding.recipients[1].1.notify = Notify::Never;
        demanding
    }

    fn lines(transaction: &Transaction, offered: &Capabilities) -> Vec<String> {
        let mut out = Vec::new();
        Group::new(transaction, offered).write(&mut out);
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
            let Group { mail, rcpts } = Group::new(transaction, offered);
            (mail.has_dsn, rcpts.iter().map(|line| line.has_dsn).collect::<Vec<_>>())
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
            ("änn@example.org", "ben@example.net", ascii_only.clone(), Some("5.6.7")),
            ("ann@example.org", "ben@example.net", ascii_only, None),
            ("änn@example.org", "bén@example.net", everything(), None),
        ];
        for (from, to, offered, expected) in cases {
            let message = transaction(1, from, &[to], "hello");
            let found = obstacle(&message, &message.recipients[0].1, &offered);
            assert_eq!(found.map(|(status, _)| status.to_string()).as_deref(), expected, "{from} {to}");
        }
    }
}
