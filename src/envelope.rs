//! The envelope: who a message is from, whom it is for, and what was asked for it.
//!
//! Promises: an [`Address`] that exists is safe to put between `<` and `>` on an SMTP command line,
//! in a log line and on one line of a file: it holds no control character, no NUL and no line break.
//!
//! Not here: how an address is written on the wire (`smtp/command.rs`), completing and rewriting
//! it (`message/`).
//!
//! RFC 5321 4.1.2 (mailbox syntax), RFC 6531 3.3 (UTF-8), RFC 3461 (DSN parameters).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// The longest address accepted, in octets: RFC 5321 4.5.3.1.3 allows a path of 256 with its
/// brackets; UTF-8 and real-world VERP addresses want more room.
pub const MAX_ADDRESS_OCTETS: usize = 1000;

/// The longest name of a host, in octets (RFC 1035 2.3.4, with a dot behind it).
const MAX_HOST_NAME_OCTETS: usize = 254;

/// The longest bare local part: with any origin behind it, it is an address still.
const MAX_BARE_OCTETS: usize = MAX_ADDRESS_OCTETS - "@".len() - MAX_HOST_NAME_OCTETS;

/// A mailbox, `local-part@domain` or a bare `local-part` that the origin is still to complete.
///
/// The local part is kept as it was written, quotes included; the domain may be an address literal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(Box<str>);

/// Why a text is no [`Address`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadAddress {
    /// Nothing between the brackets, where a mailbox is needed.
    Empty,
    /// Longer than [`MAX_ADDRESS_OCTETS`], or so long that it has no room for an origin.
    TooLong,
    /// A control character, or a space or bracket outside quotes.
    BadCharacter,
    /// Nothing before the `@`, or a quoted local part that does not end.
    BadLocalPart,
    /// An `@` with no valid domain or address literal behind it.
    BadDomain,
    /// A recipient that is an address, or several, within quotes, and has no domain of its own.
    InQuotes,
    /// A recipient whose local part is an encoded word.
    EncodedWord,
}

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadAddress::Empty => "empty address",
            BadAddress::TooLong => "address too long",
            BadAddress::BadCharacter => "character not allowed in an address",
            BadAddress::BadLocalPart => "malformed local part",
            BadAddress::BadDomain => "malformed domain",
            BadAddress::InQuotes => {
                "an address within quotes and no domain behind them: leave the quotes out"
            }
            BadAddress::EncodedWord => {
                "an encoded word (=?...?=) is a name, not an address: write the address as it is"
            }
        })
    }
}

impl std::error::Error for BadAddress {}

impl Address {
    /// Reads `local@domain`, `"quoted local"@domain`, `local@[192.0.2.1]` or a bare `local`.
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        if text.is_empty() {
            return Err(BadAddress::Empty);
        }
        if text.len() > MAX_ADDRESS_OCTETS {
            return Err(BadAddress::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(BadAddress::BadCharacter);
        }
        let (local, domain) = split_at_domain(text)?;
        check_local_part(local)?;
        match domain {
            Some(domain) => check_domain(domain)?,
            None if text.len() > MAX_BARE_OCTETS => return Err(BadAddress::TooLong),
            None => {}
        }
        Ok(Address(text.into()))
    }

    /// The whole address as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the `@`, quotes included.
    pub fn local_part(&self) -> &str {
        split_at_domain(&self.0).map_or(&*self.0, |(local, _)| local)
    }

    /// What stands behind the `@`; `None` for a bare local part.
    pub fn domain(&self) -> Option<&str> {
        split_at_domain(&self.0).ok().and_then(|(_, domain)| domain)
    }

    /// This address, or this bare local part at `origin`, the name of a host. The dot that may end a fully
    /// qualified name is not for SMTP (RFC 5321 2.3.5), and goes.
    pub fn completed_with(&self, origin: &str) -> Address {
        match self.domain() {
            Some(_) => Address(self.0.strip_suffix('.').unwrap_or(&self.0).into()),
            None => Address(format!("{}@{origin}", self.0).into()),
        }
    }

    /// This address as SMTP has it: a local part with dots where an atom has none is quoted (RFC 5321 4.1.2).
    pub fn to_mailbox(&self) -> Cow<'_, str> {
        let local = self.local_part();
        let is_dot_string = !local.split('.').any(str::is_empty);
        match is_dot_string || local.starts_with('"') {
            true => Cow::Borrowed(&self.0),
            false => Cow::Owned(format!("\"{local}\"{}", &self.0[local.len()..])),
        }
    }

    /// Why nobody can be meant by this as a recipient, though it is an address; `None`: somebody can.
    ///
    /// - A bare local part with an `@` or a comma in it is an address, or a list of them, that was put in quotes as a
    ///   whole. Of a sender a login name may be written so (`ann@realm`).
    /// - A local part that is an encoded word (RFC 2047) hides who is meant: 5 (3) there forbids it.
    pub fn fault_as_recipient(&self) -> Option<BadAddress> {
        if is_encoded_word(self.local_part()) {
            Some(BadAddress::EncodedWord)
        } else {
            (self.domain().is_none() && self.0.contains(['@', ','])).then_some(BadAddress::InQuotes)
        }
    }

    /// Whether a relay must offer SMTPUTF8 to be given this address (RFC 6531 3.4).
    pub fn needs_smtputf8(&self) -> bool {
        !self.0.is_ascii()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Address::parse(text)
    }
}

/// Whether a local part, in quotes or not, is of the form `=?charset?encoding?text?=`.
fn is_encoded_word(local: &str) -> bool {
    let inside = local.trim_matches('"').strip_prefix("=?").and_then(|rest| rest.strip_suffix("?="));
    inside.is_some_and(|inside| inside.split('?').count() > 2)
}

/// Splits at the `@` that ends the local part: the first one outside quotes.
fn split_at_domain(text: &str) -> Result<(&str, Option<&str>), BadAddress> {
    let mut quoted = false;
    let mut escaped = false;
    for (index, octet) in text.bytes().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'@' if !quoted => return Ok((&text[..index], Some(&text[index + 1..]))),
            _ => {}
        }
    }
    if quoted {
        return Err(BadAddress::BadLocalPart);
    }
    Ok((text, None))
}

fn check_local_part(local: &str) -> Result<(), BadAddress> {
    if local.is_empty() {
        return Err(BadAddress::BadLocalPart);
    }
    if let Some(inner) = local.strip_prefix('"') {
        return check_quoted(inner);
    }
    // RFC 5321 asks for dot-atoms; leading, trailing and double dots exist in the field, and are quoted
    // for the relay ([`Address::to_mailbox`]).
    if local.chars().any(|c| " \"<>()[],;:\\".contains(c)) {
        return Err(BadAddress::BadCharacter);
    }
    Ok(())
}

fn check_quoted(inner: &str) -> Result<(), BadAddress> {
    let mut escaped = false;
    for (index, c) in inner.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' if index + 1 == inner.len() => return Ok(()),
            '"' => return Err(BadAddress::BadLocalPart),
            _ => {}
        }
    }
    Err(BadAddress::BadLocalPart)
}

fn check_domain(domain: &str) -> Result<(), BadAddress> {
    if let Some(literal) = domain.strip_prefix('[') {
        let inside = literal.strip_suffix(']').ok_or(BadAddress::BadDomain)?;
        let ok = |c: char| c.is_ascii_alphanumeric() || ".:-".contains(c);
        return if !inside.is_empty() && inside.chars().all(ok) {
            Ok(())
        } else {
            Err(BadAddress::BadDomain)
        };
    }
    let label_ok = |label: &str| {
        !label.is_empty()
            && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_' || !c.is_ascii())
    };
    // One trailing dot is a fully qualified name's own.
    if domain.strip_suffix('.').unwrap_or(domain).split('.').all(label_ok) {
        Ok(())
    } else {
        Err(BadAddress::BadDomain)
    }
}

/// Where failures are reported to: a mailbox, or `<>`, which asks for no reports (RFC 5321 4.5.5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// The null reverse-path `<>`.
    Null,
    /// The mailbox that a DSN goes to.
    Mailbox(Address),
}

impl ReversePath {
    /// The mailbox; `None` for `<>`.
    pub fn mailbox(&self) -> Option<&Address> {
        match self {
            ReversePath::Null => None,
            ReversePath::Mailbox(address) => Some(address),
        }
    }

    /// The same with `address`, if there is one, in the place of `<>`.
    pub fn or_for_null(&self, address: Option<&Address>) -> ReversePath {
        match (self, address) {
            (ReversePath::Null, Some(address)) => ReversePath::Mailbox(address.clone()),
            (ReversePath::Null | ReversePath::Mailbox(_), _) => self.clone(),
        }
    }
}

/// As it stands between the brackets: empty for the null reverse-path.
impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.mailbox().map_or(Ok(()), |address| address.fmt(f))
    }
}

/// When the submitter wants a DSN about a recipient (RFC 3461 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notify {
    /// No NOTIFY parameter: failures, and delays as local policy has it.
    Unstated,
    /// `NOTIFY=NEVER`.
    Never,
    /// Some of `SUCCESS,FAILURE,DELAY`; at least one is true.
    On {
        /// A DSN when the message was delivered or relayed.
        success: bool,
        /// A DSN when delivery failed.
        failure: bool,
        /// A DSN when delivery is late.
        delay: bool,
    },
}

impl Notify {
    /// Whether a failure of this recipient is to be reported.
    pub fn wants_failure(self) -> bool {
        match self {
            Notify::Unstated => true,
            Notify::Never => false,
            Notify::On { failure, .. } => failure,
        }
    }

    /// Whether a delay of this recipient is to be reported.
    pub fn wants_delay(self) -> bool {
        match self {
            Notify::Unstated => true,
            Notify::Never => false,
            Notify::On { delay, .. } => delay,
        }
    }

    /// Whether the submitter asked to hear of success.
    pub fn wants_success(self) -> bool {
        matches!(self, Notify::On { success: true, .. })
    }
}

/// One recipient of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Whom the relay is told.
    pub address: Address,
    /// What the submitter wrote, where rewriting changed it (`orig_to=` in the log).
    pub original: Option<Address>,
    /// NOTIFY (RFC 3461 4.1).
    pub notify: Notify,
    /// ORCPT as given, `addr-type;xtext`, still encoded (RFC 3461 4.2).
    pub orcpt: Option<Box<str>>,
}

impl Recipient {
    /// A recipient with nothing asked for it.
    pub fn plain(address: Address) -> Self {
        Recipient { address, original: None, notify: Notify::Unstated, orcpt: None }
    }
}

/// RET: how much of the message a failure DSN returns (RFC 3461 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// `RET=FULL`.
    Full,
    /// `RET=HDRS`.
    Headers,
}

/// BODY: what the submitter declared of the content (RFC 6152).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Body {
    /// `BODY=7BIT`, or no BODY parameter.
    #[default]
    SevenBit,
    /// `BODY=8BITMIME`.
    EightBitMime,
}

/// The envelope of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// MAIL FROM.
    pub reverse_path: ReversePath,
    /// RCPT TO, in the order given; never empty on a spooled message.
    pub recipients: Vec<Recipient>,
    /// RET (RFC 3461 4.3).
    pub ret: Option<Ret>,
    /// ENVID as given, xtext still encoded (RFC 3461 4.4).
    pub envid: Option<Box<str>>,
    /// BODY (RFC 6152).
    pub body: Body,
    /// SMTPUTF8 was given on MAIL (RFC 6531).
    pub smtputf8: bool,
}

impl Envelope {
    /// An envelope from `reverse_path` with no recipients and nothing asked for.
    pub fn from(reverse_path: ReversePath) -> Self {
        Envelope {
            reverse_path,
            recipients: Vec::new(),
            ret: None,
            envid: None,
            body: Body::SevenBit,
            smtputf8: false,
        }
    }

    /// Whether some address in it can only be given to a relay that offers SMTPUTF8.
    pub fn needs_smtputf8(&self) -> bool {
        self.reverse_path.mailbox().is_some_and(Address::needs_smtputf8)
            || self.recipients.iter().any(|recipient| recipient.address.needs_smtputf8())
    }
}

/// Whose mail it is, as far as fairness and ownership go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Submitter {
    /// A local user, known by SO_PEERCRED or by the owner of a dropped file.
    Uid(u32),
    /// A loopback TCP client: nothing is known but that it is on this host.
    Loopback,
    /// nullmta itself (a DSN).
    Ourselves,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_accepted_and_split() {
        let cases = [
            ("root", "root", None),
            ("ann@example.org", "ann", Some("example.org")),
            ("ann@example.org.", "ann", Some("example.org.")),
            ("\"a b@c\"@example.org", "\"a b@c\"", Some("example.org")),
            ("\"a\\\"b\"@example.org", "\"a\\\"b\"", Some("example.org")),
            ("\"quoted\"", "\"quoted\"", None),
            ("x@[192.0.2.1]", "x", Some("[192.0.2.1]")),
            ("x@[IPv6:2001:db8::1]", "x", Some("[IPv6:2001:db8::1]")),
            ("пример@пример.рф", "пример", Some("пример.рф")),
            ("a..b.@host_1", "a..b.", Some("host_1")),
            ("bounce+x=y@[127.0.0.1]", "bounce+x=y", Some("[127.0.0.1]")),
        ];
        for (text, local, domain) in cases {
            let address = Address::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((address.local_part(), address.domain()), (local, domain), "{text}");
            assert_eq!(address.as_str(), text);
        }
    }

    #[test]
    fn addresses_refused() {
        let cases = [
            ("", BadAddress::Empty),
            ("a\r\nRCPT TO:<b>", BadAddress::BadCharacter),
            ("a\0b", BadAddress::BadCharacter),
            ("a b@c", BadAddress::BadCharacter),
            ("<a@b>", BadAddress::BadCharacter),
            ("@example.org", BadAddress::BadLocalPart),
            ("\"open@example.org", BadAddress::BadLocalPart),
            ("\"a\"b@example.org", BadAddress::BadLocalPart),
            ("a@", BadAddress::BadDomain),
            ("a@b@c", BadAddress::BadDomain),
            ("a@b..c", BadAddress::BadDomain),
            ("a@[", BadAddress::BadDomain),
            ("a@[]", BadAddress::BadDomain),
            ("a@b c", BadAddress::BadDomain),
        ];
        for (text, expected) in cases {
            assert_eq!(Address::parse(text), Err(expected), "{text:?}");
        }
        assert_eq!(Address::parse(&"x".repeat(MAX_ADDRESS_OCTETS + 1)), Err(BadAddress::TooLong));
    }

    #[test]
    fn origin_completes_only_bare_addresses() {
        let bare = Address::parse("root").unwrap();
        assert_eq!(bare.completed_with("example.org").as_str(), "root@example.org");
        let whole = Address::parse("root@host").unwrap();
        assert_eq!(whole.completed_with("example.org"), whole);
        for (text, expected) in [("root@host.", "root@host"), ("root@[192.0.2.1]", "root@[192.0.2.1]")] {
            assert_eq!(Address::parse(text).unwrap().completed_with("example.org").as_str(), expected);
        }
        assert_eq!(
            Address::parse("root.").unwrap().completed_with("example.org").as_str(),
            "root.@example.org"
        );
    }

    #[test]
    fn dots_that_no_atom_has_are_quoted_for_smtp() {
        for (text, expected) in [
            ("a.b@x", "a.b@x"),
            ("a..b@x", "\"a..b\"@x"),
            (".a@x", "\".a\"@x"),
            ("a.", "\"a.\""),
            ("\"a..b\"@x", "\"a..b\"@x"),
            ("\"a b\"@x", "\"a b\"@x"),
            ("a@[192.0.2.1]", "a@[192.0.2.1]"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_mailbox(), expected, "{text}");
        }
    }

    /// One of 995 octets was accepted, completed to 1007, and could not be read back from the spool.
    #[test]
    fn what_is_completed_is_an_address_still() {
        let origin = format!("{}x", "abcdefg.".repeat(MAX_HOST_NAME_OCTETS / 8));
        let bare = |octets| Address::parse(&"x".repeat(octets));
        let completed = bare(MAX_BARE_OCTETS).unwrap().completed_with(&origin);
        assert_eq!(Address::parse(completed.as_str()), Ok(completed.clone()));
        assert_eq!(bare(MAX_BARE_OCTETS + 1), Err(BadAddress::TooLong));
    }

    #[test]
    fn some_addresses_nobody_can_mean_as_a_recipient() {
        let (in_quotes, encoded) = (Some(BadAddress::InQuotes), Some(BadAddress::EncodedWord));
        for (text, fault) in [
            ("\"a@x.example\"", in_quotes),
            ("\"a@x.example, b\"", in_quotes),
            ("\"a,b\"", in_quotes),
            ("\"a b\"", None),
            ("\"a@b\"@x.example", None),
            ("\"a,b\"@x.example", None),
            ("ann@x.example", None),
            ("ann", None),
            ("=?utf-8?q?a=40x.example?=", encoded),
            ("=?utf-8?B?YUB4?=@x.example", encoded),
            ("\"=?utf-8?q?a@x.example?=\"", encoded),
            ("=?utf-8?=@x.example", None),
            ("bounces=?a?b?c@x.example", None),
        ] {
            assert_eq!(Address::parse(text).unwrap().fault_as_recipient(), fault, "{text}");
        }
    }

    #[test]
    fn smtputf8_is_needed_only_for_addresses_that_have_it() {
        let mut envelope = Envelope::from(ReversePath::Null);
        envelope.smtputf8 = true;
        envelope.recipients.push(Recipient::plain(Address::parse("ann@example.org").unwrap()));
        assert!(!envelope.needs_smtputf8());
        envelope.recipients.push(Recipient::plain(Address::parse("ann@exämple.org").unwrap()));
        assert!(envelope.needs_smtputf8());
    }

    #[test]
    fn notify_defaults_are_those_of_rfc_3461() {
        let unstated = Notify::Unstated;
        assert!(unstated.wants_failure() && unstated.wants_delay() && !unstated.wants_success());
        assert!(!Notify::Never.wants_failure() && !Notify::Never.wants_delay());
        let success = Notify::On { success: true, failure: false, delay: false };
        assert!(success.wants_success() && !success.wants_failure());
    }
}
