//! The parameters of MAIL and RCPT, read by the server and written by clients.
//!
//! Promises of reading: every parameter that EHLO announces is checked and kept; none may occur twice; an unknown one is
//! refused and never skipped, since the client relies on it. AUTH= is checked and ignored (RFC 4954 5), since we do not
//! trust what it says.
//!
//! Promises of writing: a parameter is one word; a value that would break this is left out.
//!
//! Not here: whether the server understands a parameter (`client.rs`).
//!
//! RFC 1870 (SIZE), RFC 6152 (BODY), RFC 6531 (SMTPUTF8), RFC 3461 (RET, ENVID, NOTIFY, ORCPT).

use super::bad_command::BadCommand;
use crate::envelope::{Body, Notify, Recipient, Ret, xtext};

/// Upper bound, in octets, of the value of ENVID (RFC 3461 5.4).
const MAX_ENVID_OCTETS: usize = 100;
/// Upper bound, in octets, of the value of ORCPT (RFC 3461 5.4).
const MAX_ORCPT_OCTETS: usize = 500;

/// The parameters of MAIL.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct MailParameters {
    /// SIZE=, in octets; a number too large for the type becomes the largest possible one.
    pub(super) size: Option<u64>,
    pub(super) body: Option<Body>,
    pub(super) smtputf8: Option<()>,
    pub(super) ret: Option<Ret>,
    pub(super) envid: Option<Box<str>>,
    auth: Option<()>,
}

/// The parameters of RCPT.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RcptParameters {
    pub(super) notify: Option<Notify>,
    pub(super) orcpt: Option<Box<str>>,
}

impl MailParameters {
    /// Reads what follows the path.
    pub(super) fn parse(text: &str) -> Result<Self, BadCommand> {
        let mut found = MailParameters::default();
        for (keyword, value) in parameters(text) {
            match keyword.to_ascii_uppercase().as_str() {
                "SIZE" => once(&mut found.size, value.and_then(size), "SIZE")?,
                "BODY" => once(&mut found.body, value.and_then(body), "BODY")?,
                "SMTPUTF8" => once(&mut found.smtputf8, value.is_none().then_some(()), "SMTPUTF8")?,
                "RET" => once(&mut found.ret, value.and_then(ret), "RET")?,
                "ENVID" => once(&mut found.envid, value.and_then(envid), "ENVID")?,
                "AUTH" => once(&mut found.auth, value.and_then(auth), "AUTH")?,
                _ => return Err(BadCommand::UnknownParameter),
            }
        }
        Ok(found)
    }
}

impl RcptParameters {
    /// Reads what follows the path.
    pub(super) fn parse(text: &str) -> Result<Self, BadCommand> {
        let mut found = RcptParameters::default();
        for (keyword, value) in parameters(text) {
            match keyword.to_ascii_uppercase().as_str() {
                "NOTIFY" => once(&mut found.notify, value.and_then(notify), "NOTIFY")?,
                "ORCPT" => once(&mut found.orcpt, value.and_then(orcpt), "ORCPT")?,
                _ => return Err(BadCommand::UnknownParameter),
            }
        }
        Ok(found)
    }
}

/// Appends the DSN parameters of MAIL.
pub(super) fn push_mail_dsn(line: &mut String, ret: Option<Ret>, envid: Option<&str>) {
    let ret = ret.map(|ret| match ret {
        Ret::Full => "FULL",
        Ret::Headers => "HDRS",
    });
    push(line, "RET", ret);
    push(line, "ENVID", envid);
}

/// Appends the DSN parameters of RCPT.
pub(super) fn push_rcpt_dsn(line: &mut String, recipient: &Recipient) {
    push(line, "NOTIFY", notify_value(recipient.notify).as_deref());
    push(line, "ORCPT", recipient.orcpt.as_deref());
}

fn notify_value(notify: Notify) -> Option<String> {
    match notify {
        Notify::Unstated => None,
        Notify::Never => Some("NEVER".into()),
        Notify::On { success, failure, delay } => {
            let asked = [(success, "SUCCESS"), (failure, "FAILURE"), (delay, "DELAY")];
            let words: Vec<&str> = asked.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
            Some(words.join(","))
        }
    }
}

fn push(line: &mut String, key: &str, value: Option<&str>) {
    let is_one_parameter = |value: &&str| !value.is_empty() && value.bytes().all(|o| o.is_ascii_graphic());
    if let Some(value) = value.filter(is_one_parameter) {
        line.push_str(&format!(" {key}={value}"));
    }
}

fn parameters(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let words = text.split([' ', '\t']).filter(|word| !word.is_empty());
    words.map(|word| word.split_once('=').map_or((word, None), |(keyword, value)| (keyword, Some(value))))
}

/// Stores `value` in `slot`; an error if it is malformed or if the parameter occurred before.
fn once<T>(slot: &mut Option<T>, value: Option<T>, keyword: &'static str) -> Result<(), BadCommand> {
    if slot.is_some() {
        return Err(BadCommand::DuplicateParameter(keyword));
    }
    *slot = Some(value.ok_or(BadCommand::BadParameter(keyword))?);
    Ok(())
}

fn size(value: &str) -> Option<u64> {
    // RFC 1870 3: up to 20 digits, which is more than 64 bits hold.
    let well_formed = (1..=20).contains(&value.len()) && value.bytes().all(|octet| octet.is_ascii_digit());
    well_formed.then(|| value.parse().unwrap_or(u64::MAX))
}

fn body(value: &str) -> Option<Body> {
    match value.to_ascii_uppercase().as_str() {
        "7BIT" => Some(Body::SevenBit),
        "8BITMIME" => Some(Body::EightBitMime),
        _ => None,
    }
}

fn ret(value: &str) -> Option<Ret> {
    match value.to_ascii_uppercase().as_str() {
        "FULL" => Some(Ret::Full),
        "HDRS" => Some(Ret::Headers),
        _ => None,
    }
}

fn envid(value: &str) -> Option<Box<str>> {
    let fits = (1..=MAX_ENVID_OCTETS).contains(&value.len());
    (fits && xtext::is_printable(value)).then(|| value.into())
}

fn auth(value: &str) -> Option<()> {
    (!value.is_empty() && xtext::is_printable(value)).then_some(())
}

fn notify(value: &str) -> Option<Notify> {
    if value.eq_ignore_ascii_case("NEVER") {
        return Some(Notify::Never);
    }
    let (mut success, mut failure, mut delay) = (false, false, false);
    for word in value.split(',') {
        match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => success = true,
            "FAILURE" => failure = true,
            "DELAY" => delay = true,
            _ => return None,
        }
    }
    Some(Notify::On { success, failure, delay })
}

/// Parses `addr-type;xtext`. A UTF-8 address is kept in its ASCII form, which may be sent to every relay.
fn orcpt(value: &str) -> Option<Box<str>> {
    let (kind, address) = value.split_once(';')?;
    let is_kind =
        !kind.is_empty() && kind.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
    if !is_kind || address.is_empty() || value.len() > MAX_ORCPT_OCTETS {
        return None;
    }
    if kind.eq_ignore_ascii_case("utf-8") {
        return Some(format!("{kind};{}", xtext::ascii_form(address)?).into());
    }
    xtext::is_printable(address).then(|| value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_parameters_kept() {
        let text = " SIZE=1000  body=8bitmime\tSMTPUTF8 RET=hdrs ENVID=QQ+2B1 AUTH=<>";
        let expected = MailParameters {
            size: Some(1000),
            body: Some(Body::EightBitMime),
            smtputf8: Some(()),
            ret: Some(Ret::Headers),
            envid: Some("QQ+2B1".into()),
            auth: Some(()),
        };
        assert_eq!(MailParameters::parse(text), Ok(expected));
        assert_eq!(MailParameters::parse("  "), Ok(MailParameters::default()));
        let huge = MailParameters::parse("SIZE=99999999999999999999").unwrap();
        assert_eq!(huge.size, Some(u64::MAX));
    }

    #[test]
    fn mail_parameters_refused() {
        let long = format!("ENVID={}", "x".repeat(MAX_ENVID_OCTETS + 1));
        for (text, expected) in [
            ("SIZE", BadCommand::BadParameter("SIZE")),
            ("SIZE=", BadCommand::BadParameter("SIZE")),
            ("SIZE=-1", BadCommand::BadParameter("SIZE")),
            ("SIZE=1k", BadCommand::BadParameter("SIZE")),
            ("SIZE=100000000000000000000", BadCommand::BadParameter("SIZE")),
            ("SIZE=1 SIZE=1", BadCommand::DuplicateParameter("SIZE")),
            ("BODY=BINARYMIME", BadCommand::BadParameter("BODY")),
            ("SMTPUTF8=yes", BadCommand::BadParameter("SMTPUTF8")),
            ("SMTPUTF8 smtputf8", BadCommand::DuplicateParameter("SMTPUTF8")),
            ("RET=NONE", BadCommand::BadParameter("RET")),
            ("ENVID=", BadCommand::BadParameter("ENVID")),
            ("ENVID=a+0Ab", BadCommand::BadParameter("ENVID")),
            ("ENVID=a=b", BadCommand::BadParameter("ENVID")),
            (&long, BadCommand::BadParameter("ENVID")),
            ("AUTH=a+b", BadCommand::BadParameter("AUTH")),
            ("NOTIFY=NEVER", BadCommand::UnknownParameter),
            ("XTRA=1", BadCommand::UnknownParameter),
            ("=1", BadCommand::UnknownParameter),
        ] {
            assert_eq!(MailParameters::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn rcpt_parameters_kept() {
        let on = |success, failure, delay| Some(Notify::On { success, failure, delay });
        for (text, notify, orcpt) in [
            ("NOTIFY=NEVER", Some(Notify::Never), None),
            ("NOTIFY=SUCCESS", on(true, false, false), None),
            ("notify=failure,delay", on(false, true, true), None),
            ("ORCPT=rfc822;ann@example.org", None, Some("rfc822;ann@example.org")),
            (
                "ORCPT=rfc822;a+2Bb@example.org NOTIFY=DELAY",
                on(false, false, true),
                Some("rfc822;a+2Bb@example.org"),
            ),
            ("ORCPT=utf-8;\u{fc}@example.org", None, Some("utf-8;\\x{FC}@example.org")),
        ] {
            let expected = RcptParameters { notify, orcpt: orcpt.map(Into::into) };
            assert_eq!(RcptParameters::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn rcpt_parameters_refused() {
        let long = format!("ORCPT=rfc822;{}", "x".repeat(MAX_ORCPT_OCTETS));
        for (text, expected) in [
            ("NOTIFY=", BadCommand::BadParameter("NOTIFY")),
            ("NOTIFY=NEVER,DELAY", BadCommand::BadParameter("NOTIFY")),
            ("NOTIFY=SOMETIMES", BadCommand::BadParameter("NOTIFY")),
            ("NOTIFY=NEVER NOTIFY=NEVER", BadCommand::DuplicateParameter("NOTIFY")),
            ("ORCPT=ann@example.org", BadCommand::BadParameter("ORCPT")),
            ("ORCPT=;ann@example.org", BadCommand::BadParameter("ORCPT")),
            ("ORCPT=rfc822;", BadCommand::BadParameter("ORCPT")),
            ("ORCPT=rfc822;a+0D+0Ab", BadCommand::BadParameter("ORCPT")),
            ("ORCPT=rfc822;\u{fc}", BadCommand::BadParameter("ORCPT")),
            ("ORCPT=utf-8;a+b", BadCommand::BadParameter("ORCPT")),
            (&long, BadCommand::BadParameter("ORCPT")),
            ("SIZE=1", BadCommand::UnknownParameter),
        ] {
            assert_eq!(RcptParameters::parse(text), Err(expected), "{text}");
        }
    }
}
