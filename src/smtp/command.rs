//! Parses a command line.
//!
//! Promises: a [`Command`] is complete and valid: addresses are valid, parameters are known, well-formed and occur once.
//! No reply repeats anything that the client wrote.
//!
//! Fails: with a [`BadCommand`], which has its reply. After one for which [`BadCommand::is_hopeless`] holds, it is no
//! longer certain that the next octets are commands at all.
//!
//! Not here: whether the command is allowed now, and what it does (`session/`); the end and the length of the line
//! (`session/line.rs`).
//!
//! RFC 5321 4.1.1, RFC 1985 (ETRN), RFC 3030 (BDAT), RFC 3207 (STARTTLS), RFC 4954 (AUTH).

use std::borrow::Cow;

use memchr::memchr2;

pub use super::bad_command::BadCommand;
use super::parameters::{MailParameters, RcptParameters};
use super::path;
use crate::envelope::{Envelope, Notify, Recipient};

/// A command with its arguments.
#[derive(Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// HELO with the name of the client, which is not empty.
    Helo(Cow<'a, str>),
    /// EHLO with the name of the client, which is not empty.
    Ehlo(Cow<'a, str>),
    /// MAIL FROM, which begins a transaction (RFC 5321 4.1.1.2).
    Mail {
        /// The envelope, with the reverse-path and the parameters, but without recipients.
        envelope: Box<Envelope>,
        /// The size of the content that SIZE= announces, in octets.
        size: Option<u64>,
    },
    /// RCPT TO, which adds one recipient to the transaction (RFC 5321 4.1.1.3).
    Rcpt(Recipient),
    /// DATA, after which content follows up to a line with a single dot (RFC 5321 4.1.1.4).
    Data,
    /// BDAT, after which a chunk of content follows (RFC 3030 2).
    Bdat {
        /// The number of octets that follow the command line.
        octets: u64,
        /// True if the chunk ends the content (`LAST`).
        last: bool,
    },
    /// RSET, which drops the transaction (RFC 5321 4.1.1.5).
    Rset,
    /// NOOP, which does nothing, whatever its argument is.
    Noop,
    /// HELP, whose argument is not used.
    Help,
    /// VRFY, whose argument is not used: no address is looked up.
    Vrfy,
    /// EXPN, which is refused, since this host has no mailing lists.
    Expn,
    /// ETRN, which asks the queue to probe the relay (RFC 1985). Its argument is not used.
    Etrn,
    /// STARTTLS, after whose reply the TLS handshake follows (RFC 3207).
    StartTls,
    /// AUTH, which begins a SASL exchange (RFC 4954 4).
    Auth {
        /// The mechanism as it was written; case does not matter.
        mechanism: &'a str,
        /// The initial response in base64, or `=` for an empty one.
        initial_response: Option<&'a str>,
    },
    /// QUIT, whose reply is the last one (RFC 5321 4.1.1.10).
    Quit,
}

impl<'a> Command<'a> {
    /// Parses a command line without its line end.
    pub fn parse(line: &'a [u8]) -> Result<Self, BadCommand> {
        let verb_end = memchr2(b' ', b'\t', line).unwrap_or(line.len());
        let (verb, arguments) = line.split_at(verb_end);
        let verb = Verb::parse(verb)?;
        match str::from_utf8(arguments) {
            Ok(arguments) => verb.with(arguments.trim_matches([' ', '\t'])),
            Err(_) => verb.with_octets(arguments),
        }
    }

    /// Returns whether this command ends the current transaction, if there is one.
    pub fn ends_transaction(&self) -> bool {
        use Command::{Ehlo, Helo, Quit, Rset, StartTls};
        matches!(self, Helo(_) | Ehlo(_) | Rset | StartTls | Quit)
    }

    /// Returns whether a client could send this command for ever without sending a message. MAIL is one, since RSET
    /// undoes it; an accepted message resets the count. RCPT, DATA and octets of content need a MAIL each, or are
    /// refused for good.
    pub fn is_junk(&self) -> bool {
        use Command::{
            Auth, Bdat, Data, Ehlo, Etrn, Expn, Helo, Help, Mail, Noop, Quit, Rcpt, Rset, StartTls, Vrfy,
        };
        match self {
            Helo(_)
            | Ehlo(_)
            | Mail { .. }
            | Rset
            | Noop
            | Help
            | Vrfy
            | Expn
            | Etrn
            | StartTls
            | Auth { .. } => true,
            Bdat { octets, last } => *octets == 0 && !last,
            Rcpt(_) | Data | Quit => false,
        }
    }
}

#[derive(Clone, Copy)]
enum Verb {
    Helo,
    Ehlo,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Help,
    Vrfy,
    Expn,
    Etrn,
    StartTls,
    Auth,
    Quit,
}

const VERBS: [(&str, Verb); 15] = [
    ("MAIL", Verb::Mail),
    ("RCPT", Verb::Rcpt),
    ("DATA", Verb::Data),
    ("BDAT", Verb::Bdat),
    ("EHLO", Verb::Ehlo),
    ("HELO", Verb::Helo),
    ("QUIT", Verb::Quit),
    ("RSET", Verb::Rset),
    ("NOOP", Verb::Noop),
    ("AUTH", Verb::Auth),
    ("STARTTLS", Verb::StartTls),
    ("ETRN", Verb::Etrn),
    ("HELP", Verb::Help),
    ("VRFY", Verb::Vrfy),
    ("EXPN", Verb::Expn),
];

/// The methods of HTTP, the first line of HTTP/2, and CONNECT to a proxy.
const OTHER_PROTOCOLS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI"];

/// Returns the verb that `line` begins with, as a text of ours and not of the client.
pub fn verb_of(line: &[u8]) -> Option<&'static str> {
    let word = line.split(|octet| !octet.is_ascii_alphabetic()).next().unwrap_or_default();
    VERBS.iter().map(|(name, _)| *name).find(|name| word.eq_ignore_ascii_case(name.as_bytes()))
}

impl Verb {
    fn parse(word: &[u8]) -> Result<Self, BadCommand> {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        if let Some((_, verb)) = VERBS.iter().find(|(name, _)| is(name)) {
            return Ok(*verb);
        }
        // `Host:` and `Received:` alike.
        let is_field_name = matches!(word, [name @ .., b':'] if !name.is_empty());
        if is_field_name || OTHER_PROTOCOLS.iter().any(|name| is(name)) {
            return Err(BadCommand::OtherProtocol);
        }
        Err(BadCommand::Unknown)
    }

    fn with(self, arguments: &str) -> Result<Command<'_>, BadCommand> {
        match self {
            Verb::Helo => required(arguments, "HELO hostname").map(|name| Command::Helo(name.into())),
            Verb::Ehlo => required(arguments, "EHLO hostname").map(|name| Command::Ehlo(name.into())),
            Verb::Mail => mail(arguments),
            Verb::Rcpt => rcpt(arguments),
            Verb::Data => none(arguments, "DATA").map(|()| Command::Data),
            Verb::Bdat => bdat(arguments).ok_or(BadCommand::BadChunk),
            Verb::Rset => none(arguments, "RSET").map(|()| Command::Rset),
            Verb::Noop => Ok(Command::Noop),
            Verb::Help => Ok(Command::Help),
            Verb::Vrfy => required(arguments, "VRFY address").map(|_| Command::Vrfy),
            Verb::Expn => Ok(Command::Expn),
            Verb::Etrn => required(arguments, "ETRN domain").map(|_| Command::Etrn),
            Verb::StartTls => none(arguments, "STARTTLS").map(|()| Command::StartTls),
            Verb::Auth => {
                auth(arguments).ok_or(BadCommand::BadArguments("AUTH mechanism [initial-response]"))
            }
            Verb::Quit => none(arguments, "QUIT").map(|()| Command::Quit),
        }
    }

    /// Returns the command with arguments that are not UTF-8. A host may have a name in another character set (`büro-pc` in
    /// Latin-1), which is used in the Received field only, and made safe there; everything else is refused.
    fn with_octets(self, arguments: &[u8]) -> Result<Command<'_>, BadCommand> {
        let name = String::from_utf8_lossy(arguments).trim_matches([' ', '\t']).to_owned();
        match self {
            Verb::Helo => Ok(Command::Helo(name.into())),
            Verb::Ehlo => Ok(Command::Ehlo(name.into())),
            _ => Err(BadCommand::NotUtf8),
        }
    }
}

fn none(arguments: &str, usage: &'static str) -> Result<(), BadCommand> {
    arguments.is_empty().then_some(()).ok_or(BadCommand::BadArguments(usage))
}

fn required<'a>(arguments: &'a str, usage: &'static str) -> Result<&'a str, BadCommand> {
    (!arguments.is_empty()).then_some(arguments).ok_or(BadCommand::BadArguments(usage))
}

/// Returns the text after `keyword`, which is `FROM:` or `TO:`.
fn after_keyword<'a>(arguments: &'a str, keyword: &str) -> Option<&'a str> {
    let (word, rest) = arguments.split_at_checked(keyword.len())?;
    word.eq_ignore_ascii_case(keyword).then_some(rest)
}

fn mail(arguments: &str) -> Result<Command<'_>, BadCommand> {
    let text = after_keyword(arguments, "FROM:").ok_or(BadCommand::BadArguments("MAIL FROM:<address>"))?;
    let (reverse_path, rest) = path::reverse(text).map_err(BadCommand::BadReversePath)?;
    let asked = MailParameters::parse(rest)?;
    let smtputf8 = asked.smtputf8.is_some();
    let mut envelope = Envelope::from(reverse_path);
    if envelope.needs_smtputf8() && !smtputf8 {
        return Err(BadCommand::NeedsSmtputf8);
    }
    envelope.smtputf8 = smtputf8;
    envelope.body = asked.body.unwrap_or_default();
    envelope.ret = asked.ret;
    envelope.envid = asked.envid;
    Ok(Command::Mail { envelope: Box::new(envelope), size: asked.size })
}

fn rcpt(arguments: &str) -> Result<Command<'_>, BadCommand> {
    let text = after_keyword(arguments, "TO:").ok_or(BadCommand::BadArguments("RCPT TO:<address>"))?;
    let (address, rest) = path::forward(text).map_err(BadCommand::BadRecipient)?;
    let asked = RcptParameters::parse(rest)?;
    let notify = asked.notify.unwrap_or(Notify::Unstated);
    Ok(Command::Rcpt(Recipient { notify, orcpt: asked.orcpt, ..Recipient::plain(address) }))
}

fn bdat(arguments: &str) -> Option<Command<'_>> {
    let mut words = arguments.split([' ', '\t']).filter(|word| !word.is_empty());
    let count = words.next().filter(|word| word.bytes().all(|octet| octet.is_ascii_digit()))?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return None,
    };
    words.next().is_none().then_some(Command::Bdat { octets: count.parse().ok()?, last })
}

fn auth(arguments: &str) -> Option<Command<'_>> {
    let mut words = arguments.split([' ', '\t']).filter(|word| !word.is_empty());
    let (mechanism, initial_response) = (words.next()?, words.next());
    words.next().is_none().then_some(Command::Auth { mechanism, initial_response })
}

#[cfg(test)]
mod tests;
