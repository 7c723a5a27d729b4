//! The tables `senders` and `recipients`: an address, a domain or a user on the left, the replacement on the right.
//!
//! Promises: the most specific entry is used: the address, then the user alone (for the domains of this host), then
//! `@domain`, as in canonical(5).
//!
//! Not here: addresses without an entry (`mapping.rs`).

use std::collections::BTreeMap;
use std::fmt;

use crate::envelope::address::quoted_local_part;
use crate::envelope::spelling::{at_domain, folded_domain, folded_local};
use crate::envelope::{Address, BadAddress};

/// The left side of an entry: `ann@example.org`, `@example.org` or `ann`, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector {
    user: Option<Box<str>>,
    domain: Option<Box<str>>,
}

impl Selector {
    /// Parses the left side of an entry.
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        let any_user = text.starts_with('@');
        let address = if any_user { Address::parse(&format!("x{text}"))? } else { Address::parse(text)? };
        Ok(Selector {
            user: (!any_user).then(|| folded_local(address.local_part()).into()),
            domain: address.domain().map(|domain| folded_domain(domain).into()),
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.user.as_deref().unwrap_or_default())?;
        self.domain.as_ref().map_or(Ok(()), |domain| write!(f, "@{domain}"))
    }
}

/// The right side of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replacement {
    /// The address is replaced with this one; a bare address gets the origin.
    Address(Address),
    /// Only the domain is replaced with this one.
    Domain(Box<str>),
}

impl Replacement {
    /// Parses an address or `@domain`.
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        match text.strip_prefix('@') {
            Some(domain) => {
                Address::parse(&format!("x@{domain}")).map(|_| Replacement::Domain(domain.into()))
            }
            None => Address::parse(text).map(Replacement::Address),
        }
    }

    /// Returns the replacement for `address`.
    pub(super) fn apply(&self, address: &Address) -> Address {
        match self {
            Replacement::Address(address) => address.clone(),
            Replacement::Domain(domain) => at_domain(address, domain),
        }
    }
}

/// A table of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    entries: BTreeMap<Selector, Replacement>,
}

impl Table {
    /// Returns the table of `entries`. Bare addresses on the right get `origin`.
    pub(super) fn new(entries: &BTreeMap<Selector, Replacement>, origin: &str) -> Self {
        let complete = |replacement: &Replacement| match replacement {
            Replacement::Address(address) => Replacement::Address(address.completed_with(origin)),
            domain => domain.clone(),
        };
        let entries = entries.iter().map(|(selector, to)| (selector.clone(), complete(to))).collect();
        Table { entries }
    }

    /// Returns the replacement for a complete `address`. `is_local` says whether its domain is one of this host.
    pub(super) fn find(&self, address: &Address, is_local: bool) -> Option<Address> {
        if self.entries.is_empty() {
            return None;
        }
        let user = Some(folded_local(address.local_part()).into());
        let domain = address.domain().map(|domain| folded_domain(domain).into());
        let whole = Selector { user, domain };
        let alone = Selector { user: whole.user.clone(), domain: None };
        let at_domain = Selector { user: None, domain: whole.domain.clone() };
        let entry = self.entries.get(&whole);
        let entry = entry.or_else(|| self.entries.get(&alone).filter(|_| is_local));
        entry.or_else(|| self.entries.get(&at_domain)).map(|to| to.apply(address))
    }

    /// Returns whether an entry is for a user with this name.
    pub(super) fn names(&self, user: &Address) -> bool {
        let user = folded_local(user.local_part());
        self.entries.keys().any(|selector| selector.user.as_deref() == Some(&*user))
    }

    /// Returns the right sides of all entries.
    pub(super) fn replacements(&self) -> impl Iterator<Item = &Replacement> {
        self.entries.values()
    }

    /// Returns a user for which there is no entry.
    pub(super) fn unnamed_user(&self) -> String {
        let lens = self.entries.keys().filter_map(|selector| Some(selector.user.as_ref()?.len()));
        // It is longer than the longest user in the table.
        "u".repeat(1 + lens.max().unwrap_or_default())
    }

    /// Returns an address for which each entry is used. `user` is taken for entries of any user, `origin` for a local
    /// domain.
    pub(super) fn samples<'t>(
        &'t self,
        user: &str,
        origin: &str,
    ) -> impl Iterator<Item = (&'t Selector, Address)> {
        self.entries.keys().filter_map(move |selector| {
            let user = quoted_local_part(selector.user.as_deref().unwrap_or(user));
            let domain = selector.domain.as_deref().unwrap_or(origin);
            Some((selector, Address::parse(&format!("{user}@{domain}")).ok()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(&str, &str)]) -> Table {
        let read =
            |(from, to): &(&str, &str)| (Selector::parse(from).unwrap(), Replacement::parse(to).unwrap());
        Table::new(&entries.iter().map(read).collect(), "origin.example")
    }

    #[test]
    fn the_most_particular_entry_counts() {
        let table = table(&[
            ("Ann@Example.org", "exact@x.example"),
            ("ann", "user@x.example"),
            ("@example.org", "@domain.example"),
            ("\"a b\"@example.org", "bare"),
        ]);
        for (address, is_local, expected) in [
            ("ann@example.org", true, Some("exact@x.example")),
            ("ANN@EXAMPLE.ORG.", true, Some("exact@x.example")),
            ("ann@host.example", true, Some("user@x.example")),
            ("ann@host.example", false, None),
            ("bob@example.org", true, Some("bob@domain.example")),
            ("\"b c\"@example.org", false, Some("\"b c\"@domain.example")),
            ("\"a b\"@example.org", false, Some("bare@origin.example")),
            ("bob@host.example", true, None),
            ("bob@sub.example.org", false, None),
        ] {
            let found = table.find(&Address::parse(address).unwrap(), is_local);
            assert_eq!(found.as_ref().map(Address::as_str), expected, "{address}");
        }
    }

    #[test]
    fn both_sides_are_addresses_or_domains() {
        for text in ["", "@", "@a@b", "a@", "a b", "@a b", "<a@b>", "a@b\n"] {
            assert!(Selector::parse(text).is_err() && Replacement::parse(text).is_err(), "{text:?}");
        }
        for (text, shown) in
            [("Ann@X.Example", "ann@x.example"), ("@X.example.", "@x.example"), ("Root", "root")]
        {
            assert_eq!(Selector::parse(text).unwrap().to_string(), shown);
        }
    }
}
