//! Addresses: a mailbox, or a bare local part.
//!
//! Promises: an [`Address`] is safe between `<` and `>` on an SMTP command line, in a log line and on one line of a file:
//! it contains no control character, no NUL and no line break.
//!
//! Not here: quoted strings themselves (`envelope/quoted.rs`), the path around an address (`smtp/path.rs`), addresses in header fields (`message/address.rs`), rewriting
//! (`message/rewrite/`).
//!
//! RFC 5321 4.1.2 (mailbox syntax), RFC 6531 3.3 (UTF-8).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::international::a_domain;
use super::quoted::{closed_len, quote};

/// The longest address accepted, in octets. RFC 5321 4.5.3.1.3 allows a path of 256 with its brackets, but addresses in
/// UTF-8 and VERP addresses can be longer.
pub const MAX_ADDRESS_OCTETS: usize = 1000;

/// The longest host name, in octets (RFC 1035 2.3.4), with a final dot.
const MAX_HOST_NAME_OCTETS: usize = 254;

/// The longest bare local part: completed with any origin, it is still a valid address.
const MAX_BARE_OCTETS: usize = MAX_ADDRESS_OCTETS - "@".len() - MAX_HOST_NAME_OCTETS;

/// A mailbox, `local-part@domain`, or a bare `local-part`, to which the origin is added later.
///
/// The local part is kept as it was written, with its quotes; the domain may be an address literal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(Box<str>);

/// The reason why a text is not an [`Address`], or not one for a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadAddress {
    /// There is nothing between the brackets, but a mailbox is needed.
    Empty,
    /// It is longer than [`MAX_ADDRESS_OCTETS`], or would be after an origin is added.
    TooLong,
    /// It contains a control character, or a space or bracket outside quotes.
    BadCharacter,
    /// There is nothing before the `@`, or a quoted local part does not end.
    BadLocalPart,
    /// There is no valid domain or address literal after the `@`.
    BadDomain,
    /// A recipient is an address, or several, in quotes as a whole, without a domain after the quotes.
    InQuotes,
    /// A recipient that consists of words within quotes, and has no domain.
    NameInQuotes,
    /// The local part of a recipient is an encoded word.
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
            BadAddress::NameInQuotes => {
                "a name within quotes and no domain behind it: write the address, in <> behind the name"
            }
            BadAddress::EncodedWord => {
                "an encoded word (=?...?=) is a name, not an address: write the address as it is"
            }
        })
    }
}

impl std::error::Error for BadAddress {}

impl Address {
    /// Parses `local@domain`, `"quoted local"@domain`, `local@[192.0.2.1]` or a bare `local`.
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

    /// Returns the whole address as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the part before the `@`, with its quotes.
    pub fn local_part(&self) -> &str {
        split_at_domain(&self.0).map_or(&*self.0, |(local, _)| local)
    }

    /// Returns the part after the `@`; `None` for a bare local part.
    pub fn domain(&self) -> Option<&str> {
        split_at_domain(&self.0).ok().and_then(|(_, domain)| domain)
    }

    /// Returns this address, or this bare local part with `origin`, a host name, as its domain. A final dot of the domain,
    /// which SMTP does not allow (RFC 5321 2.3.5), is removed.
    pub fn completed_with(&self, origin: &str) -> Address {
        match self.domain() {
            Some(_) => Address(self.0.strip_suffix('.').unwrap_or(&self.0).into()),
            None => Address(format!("{}@{origin}", self.0).into()),
        }
    }

    /// Returns this address in the form of SMTP: a local part with dots in places that an atom does not allow is quoted
    /// (RFC 5321 4.1.2).
    pub fn to_mailbox(&self) -> Cow<'_, str> {
        let local = self.local_part();
        let is_dot_string = !local.split('.').any(str::is_empty);
        match is_dot_string || local.starts_with('"') {
            true => Cow::Borrowed(&self.0),
            false => Cow::Owned(format!("\"{local}\"{}", &self.0[local.len()..])),
        }
    }

    /// Returns the reason why this address cannot be a recipient, although it is valid; `None` if it can.
    ///
    /// - A bare local part with an `@` or a comma in it is an address, or a list of addresses, that was put in quotes as a
    ///   whole. As a sender it is accepted, since a login name may have that form (`ann@realm`).
    /// - A bare local part with white space, brackets, a colon or a semicolon in it is a name without its address.
    /// - A local part that is an encoded word (RFC 2047) hides the address; section 5 (3) of that RFC forbids it. Of a bare
    ///   one the beginning is enough.
    pub fn fault_as_recipient(&self) -> Option<BadAddress> {
        let (local, is_bare) = (self.local_part(), self.domain().is_none());
        let is_cut = || is_bare && local.trim_start_matches('"').starts_with("=?");
        match () {
            () if is_encoded_word(local) || is_cut() => Some(BadAddress::EncodedWord),
            () if is_bare && local.contains(['@', ',']) => Some(BadAddress::InQuotes),
            () => (is_bare && local.contains([' ', '<', '>', '(', ')', '[', ']', ':', ';']))
                .then_some(BadAddress::NameInQuotes),
        }
    }

    /// Returns the same address in ASCII, where its domain alone is not, and can be written so (RFC 5890).
    pub(crate) fn in_ascii(&self) -> Option<Address> {
        let local = self.local_part();
        let domain = self.domain().filter(|domain| local.is_ascii() && !domain.is_ascii())?;
        let written = Address(format!("{local}@{}", a_domain(domain)?).into());
        (written.0.is_ascii() && written.0.len() <= MAX_ADDRESS_OCTETS).then_some(written)
    }

    /// Returns whether this address may be sent only to a relay that offers SMTPUTF8 (RFC 6531 3.4).
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

/// Returns whether a local part, in quotes or not, has the form `=?charset?encoding?text?=`.
fn is_encoded_word(local: &str) -> bool {
    let inside = local.trim_matches('"').strip_prefix("=?").and_then(|rest| rest.strip_suffix("?="));
    inside.is_some_and(|inside| inside.split('?').count() > 2)
}

/// Splits at the `@` that ends the local part: the first one outside quotes.
fn split_at_domain(text: &str) -> Result<(&str, Option<&str>), BadAddress> {
    let at = find_outside_quotes(text, &['@'])?;
    Ok(at.map_or((text, None), |at| (&text[..at], Some(&text[at + 1..]))))
}

/// Returns the offset of the first of the `wanted` characters that is outside quotes; an error if there is none and a
/// quoted text does not end.
pub(crate) fn find_outside_quotes(text: &str, wanted: &[char]) -> Result<Option<usize>, BadAddress> {
    let mut from = 0;
    while let Some(found) = text[from..].find(|c| c == '"' || wanted.contains(&c)) {
        let found = from + found;
        if !text[found..].starts_with('"') {
            return Ok(Some(found));
        }
        from = found + closed_len(&text.as_bytes()[found..], b'"').ok_or(BadAddress::BadLocalPart)?;
    }
    Ok(None)
}

/// Returns whether a local part with this character needs quotes. RFC 5321 requires them for anything but dot-atoms, but
/// real addresses have leading, trailing and double dots, which are quoted for the relay ([`Address::to_mailbox`]).
fn needs_quotes(c: char) -> bool {
    " \"<>()[],;:\\@".contains(c)
}

/// Returns `text`, which is not in quotes yet, as a local part: in quotes if it needs them.
pub(crate) fn quoted_local_part(text: &str) -> Cow<'_, str> {
    if text.is_empty() || text.contains(needs_quotes) { Cow::Owned(quote(text)) } else { Cow::Borrowed(text) }
}

fn check_local_part(local: &str) -> Result<(), BadAddress> {
    if local.is_empty() {
        return Err(BadAddress::BadLocalPart);
    }
    if local.starts_with('"') {
        let is_one = closed_len(local.as_bytes(), b'"') == Some(local.len());
        return is_one.then_some(()).ok_or(BadAddress::BadLocalPart);
    }
    if local.contains(needs_quotes) {
        return Err(BadAddress::BadCharacter);
    }
    Ok(())
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
    // A fully qualified name may end in one dot.
    if domain.strip_suffix('.').unwrap_or(domain).split('.').all(label_ok) {
        Ok(())
    } else {
        Err(BadAddress::BadDomain)
    }
}

#[cfg(test)]
mod tests;
