//! Compares addresses that may be spelled differently.
//!
//! Promises: tables and lists ignore case, quotes that a local part does not need, and a dot at the end of a domain,
//! as those of Postfix do. (RFC 5321 2.4 allows a host to distinguish `Ann` from `ann`, but nobody relies on it.)

use std::borrow::Cow;

use crate::envelope::Address;

/// Returns a local part without its quotes and the backslashes in them.
pub(super) fn unquoted(local: &str) -> Cow<'_, str> {
    let Some(inside) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Cow::Borrowed(local);
    };
    let mut text = String::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        text.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    Cow::Owned(text)
}

/// Returns a local part with quotes if it needs them.
pub(super) fn quoted(text: &str) -> Cow<'_, str> {
    let is_special = |c: char| " \"<>()[],;:\\@".contains(c);
    if !text.is_empty() && !text.contains(is_special) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// Returns the folded form of a local part, which is the same for all its spellings.
pub(super) fn folded_local(local: &str) -> String {
    unquoted(local).to_lowercase()
}

/// Returns the folded form of a domain, which is the same for all its spellings.
pub(super) fn folded_domain(domain: &str) -> String {
    domain.strip_suffix('.').unwrap_or(domain).to_lowercase()
}

/// Returns the folded form of an address, which is the same for all its spellings.
pub(super) fn folded(address: &Address) -> String {
    let local = folded_local(address.local_part());
    match address.domain() {
        Some(domain) => format!("{local}@{}", folded_domain(domain)),
        None => local,
    }
}

/// Returns `address` with another domain, or unchanged if it would become too long.
pub(super) fn at_domain(address: &Address, domain: &str) -> Address {
    Address::parse(&format!("{}@{domain}", address.local_part())).unwrap_or_else(|_| address.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_address_in_any_spelling() {
        for (one, other) in [
            ("Ann@Example.ORG", "ann@example.org"),
            ("ann@example.org.", "ann@example.org"),
            ("\"ann\"@example.org", "ann@example.org"),
            ("\"\\ann\"", "Ann"),
            ("ÄNN@EXÄMPLE.org", "änn@exämple.org"),
        ] {
            let [one, other] = [one, other].map(|text| folded(&Address::parse(text).unwrap()));
            assert_eq!(one, other);
        }
    }

    #[test]
    fn quotes_are_put_where_they_are_needed() {
        for (text, spelt) in [
            ("ann", "ann"),
            ("a.b+c", "a.b+c"),
            ("a b", "\"a b\""),
            ("a\"\\b", "\"a\\\"\\\\b\""),
            ("a@b", "\"a@b\""),
            ("", "\"\""),
        ] {
            assert_eq!(quoted(text), spelt);
            assert_eq!(unquoted(spelt), text);
        }
    }

    #[test]
    fn a_domain_that_makes_an_address_too_long_is_not_taken() {
        let address = Address::parse(&format!("{}@x", "a".repeat(900))).unwrap();
        assert_eq!(at_domain(&address, "y.example").domain(), Some("y.example"));
        assert_eq!(at_domain(&address, &"y".repeat(200)), address);
    }
}
