//! The client side of SMTP: the extensions that a server offers, and the text of the commands of a transaction. It is
//! used towards the relay, by `sendmail`, and for BSMTP.
//!
//! Promises:
//! 1. A parameter is written only if its extension is offered.
//! 2. A command is one line: no content of an envelope can end it early or add another command.
//!
//! Not here: when a command is sent, and the meaning of its reply (`relay/dialog.rs`, `cli/sendmail/client.rs`), stuffing
//! (`dot.rs`).
//!
//! RFC 5321 4.1.1.2 and 4.1.1.3, RFC 1870 (SIZE), RFC 2920 3.1 (groups), RFC 3461 4 (DSN), RFC 6152 (BODY),
//! RFC 6531 3.4 (SMTPUTF8).

mod capabilities;
mod parameter_set;

use std::borrow::Cow;

use super::parameters;
use crate::envelope::{Address, Body, Envelope, Recipient, Ret, ReversePath};

pub(crate) use capabilities::Capabilities;
pub use parameter_set::{ExtensionParameter, ParameterSet};

/// The reverse-path and the parameters of a MAIL command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mail<'a> {
    pub(crate) reverse_path: &'a ReversePath,
    /// The size of the content in octets, if it is known.
    pub(crate) size: Option<u64>,
    pub(crate) body: Body,
    pub(crate) smtputf8: bool,
    pub(crate) ret: Option<Ret>,
    /// ENVID, in xtext.
    pub(crate) envid: Option<&'a str>,
}

impl<'a> From<&'a Envelope> for Mail<'a> {
    fn from(envelope: &'a Envelope) -> Self {
        Mail {
            reverse_path: &envelope.reverse_path,
            size: None,
            body: envelope.body,
            smtputf8: envelope.smtputf8,
            ret: envelope.ret,
            envid: envelope.envid.as_deref(),
        }
    }
}

/// The way in which an address is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// As it was given. This is for our own session, for which it would be another address with quotes.
    AsGiven,
    /// In the syntax of SMTP, with quotes where they are needed.
    Strict,
}

/// The way in which commands are written for one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dialect<'a> {
    pub(crate) offered: &'a Capabilities,
    pub(crate) spelling: Spelling,
}

/// The line of a command, without its line end.
pub(crate) struct ClientCommand {
    pub(crate) text: String,
    /// The parameters that it has.
    pub(crate) parameters: ParameterSet,
}

/// The commands of one transaction.
pub(crate) struct Group {
    mail: ClientCommand,
    rcpts: Vec<ClientCommand>,
}

impl Dialect<'_> {
    /// Returns the MAIL command.
    pub(crate) fn mail(self, mail: &Mail<'_>) -> ClientCommand {
        let reverse_path = mail.reverse_path.mailbox().map(|address| self.spelled(address));
        let text = format!("MAIL FROM:<{}>", reverse_path.unwrap_or_default());
        let mut command = ClientCommand { text, parameters: ParameterSet::default() };
        if let Some(size) = mail.size.filter(|_| self.offered.size) {
            command.add(ExtensionParameter::Size, |text| text.push_str(&format!(" SIZE={size}")));
        }
        if self.offered.eight_bit_mime && mail.body == Body::EightBitMime {
            command.add(ExtensionParameter::Body, |text| text.push_str(" BODY=8BITMIME"));
        }
        if self.offered.smtputf8 && mail.smtputf8 {
            command.add(ExtensionParameter::SmtpUtf8, |text| text.push_str(" SMTPUTF8"));
        }
        if self.offered.dsn {
            let push = |text: &mut String| parameters::push_mail_dsn(text, mail.ret, mail.envid);
            command.add(ExtensionParameter::Dsn, push);
        }
        command
    }

    /// Returns the RCPT command for one recipient.
    pub(crate) fn rcpt(self, recipient: &Recipient) -> ClientCommand {
        let text = format!("RCPT TO:<{}>", self.spelled(&recipient.address));
        let mut command = ClientCommand { text, parameters: ParameterSet::default() };
        if self.offered.dsn {
            command.add(ExtensionParameter::Dsn, |text| parameters::push_rcpt_dsn(text, recipient));
        }
        command
    }

    /// Returns all commands of a transaction.
    pub(crate) fn group<'r>(
        self,
        mail: &Mail<'_>,
        recipients: impl IntoIterator<Item = &'r Recipient>,
    ) -> Group {
        let rcpts = recipients.into_iter().map(|recipient| self.rcpt(recipient)).collect();
        Group { mail: self.mail(mail), rcpts }
    }

    fn spelled(self, address: &Address) -> Cow<'_, str> {
        match self.spelling {
            Spelling::AsGiven => address.as_str().into(),
            Spelling::Strict => address.to_mailbox(),
        }
    }
}

impl ClientCommand {
    /// Has `push` add `parameter` to the text, and notes it if anything was added.
    fn add(&mut self, parameter: ExtensionParameter, push: impl FnOnce(&mut String)) {
        let without = self.text.len();
        push(&mut self.text);
        if self.text.len() > without {
            self.parameters.insert(parameter);
        }
    }
}

impl Group {
    /// Returns the MAIL command.
    pub(crate) fn mail(&self) -> &ClientCommand {
        &self.mail
    }

    /// Returns the RCPT commands, in the order of the recipients.
    pub(crate) fn rcpts(&self) -> &[ClientCommand] {
        &self.rcpts
    }

    /// Appends all commands with their line ends, and DATA after them, for a server that offers PIPELINING or for a file.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let envelope = [&self.mail].into_iter().chain(&self.rcpts).map(|line| line.text.as_str());
        for line in envelope.chain(["DATA"]) {
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO_OURS: Dialect<'_> = Dialect { offered: &Capabilities::OURS, spelling: Spelling::AsGiven };

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn from(text: &str) -> Envelope {
        Envelope::from(ReversePath::Mailbox(address(text)))
    }

    #[test]
    fn only_what_is_offered_is_asked_for() {
        let mut envelope = from("röot");
        (envelope.smtputf8, envelope.body) = (true, Body::EightBitMime);
        (envelope.ret, envelope.envid) = (Some(Ret::Headers), Some("a+2Bb".into()));
        let mail = Mail { size: Some(7), ..Mail::from(&envelope) };
        let orcpt = Some("rfc822;ann@example.org".into());
        let recipient = Recipient { orcpt, ..Recipient::plain(address("ann@example.org")) };
        let none = Capabilities::default();
        let every = Capabilities { size: true, ..Capabilities::OURS };
        let cases = [
            (&none, "MAIL FROM:<röot>", "RCPT TO:<ann@example.org>"),
            (
                &every,
                "MAIL FROM:<röot> SIZE=7 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb",
                "RCPT TO:<ann@example.org> ORCPT=rfc822;ann@example.org",
            ),
        ];
        for (offered, expected_mail, expected_rcpt) in cases {
            let dialect = Dialect { offered, spelling: Spelling::Strict };
            let (mail, rcpt) = (dialect.mail(&mail), dialect.rcpt(&recipient));
            assert_eq!((&*mail.text, &*rcpt.text), (expected_mail, expected_rcpt));
            let has_dsn = |line: &ClientCommand| line.parameters.has(ExtensionParameter::Dsn);
            assert_eq!((has_dsn(&mail), has_dsn(&rcpt)), (offered.dsn, offered.dsn));
            assert_eq!(mail.parameters == ParameterSet::all(), offered.size);
        }
        let plain = TO_OURS.rcpt(&Recipient::plain(address("ann@example.org")));
        assert!(plain.parameters.is_empty(), "{}", plain.text);
    }

    #[test]
    fn the_null_reverse_path_is_a_pair_of_brackets() {
        let envelope = Envelope::from(ReversePath::Null);
        assert_eq!(TO_OURS.mail(&Mail::from(&envelope)).text, "MAIL FROM:<>");
    }

    #[test]
    fn no_parameter_adds_a_line() {
        let mut envelope = Envelope::from(ReversePath::Null);
        envelope.envid = Some("x\r\nRCPT TO:<y>".into());
        assert_eq!(TO_OURS.mail(&Mail::from(&envelope)).text, "MAIL FROM:<>");
    }

    #[test]
    fn dots_where_an_atom_has_none_are_quoted_for_others_alone() {
        let envelope = from("a..b@example.org");
        let recipient = Recipient::plain(address("c.@example.org"));
        let strict = Dialect { spelling: Spelling::Strict, ..TO_OURS };
        for (dialect, reverse_path, forward_path) in [
            (TO_OURS, "a..b@example.org", "c.@example.org"),
            (strict, "\"a..b\"@example.org", "\"c.\"@example.org"),
        ] {
            assert_eq!(dialect.mail(&Mail::from(&envelope)).text, format!("MAIL FROM:<{reverse_path}>"));
            assert_eq!(dialect.rcpt(&recipient).text, format!("RCPT TO:<{forward_path}>"));
        }
    }
}
