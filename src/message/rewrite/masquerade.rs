//! Masquerading: replaces the domain of a host with its parent domain.
//!
//! Promises: it does what `masquerade_domains` of Postfix does. The first domain in the list that contains the
//! address decides; `!domain` keeps the addresses below it; the domain itself is never changed.

use std::collections::BTreeSet;

use super::rules::{Class, MasqueradeDomain};
use crate::envelope::Address;
use crate::envelope::spelling::{at_domain, folded_domain, folded_local};

/// The settings `masquerade`, `masquerade-except` and `masquerade-classes`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Masquerade {
    pub(super) domains: Vec<MasqueradeDomain>,
    /// Local parts in their folded form.
    pub(super) except: BTreeSet<String>,
    pub(super) classes: BTreeSet<Class>,
}

impl Masquerade {
    /// Returns the same domains, but for no class of addresses.
    pub(super) fn off(&self) -> Masquerade {
        Masquerade { classes: BTreeSet::new(), ..self.clone() }
    }

    /// Returns the masqueraded form of an address of `class`; `None` if it stays.
    pub(super) fn apply(&self, address: &Address, class: Class) -> Option<Address> {
        if !self.classes.contains(&class) || self.except.contains(&folded_local(address.local_part())) {
            return None;
        }
        self.parent_of(address.domain()?).map(|parent| at_domain(address, parent))
    }

    /// Returns the domain that replaces `domain`; `None` if it stays.
    pub(super) fn parent_of(&self, domain: &str) -> Option<&str> {
        let domain = folded_domain(domain);
        let is_or_is_in = |parent: &MasqueradeDomain| {
            let rest = domain.strip_suffix(&folded_domain(&parent.name));
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let first = self.domains.iter().find(|parent| is_or_is_in(parent))?;
        let stays = first.is_exception || folded_domain(&first.name) == domain;
        (!stays).then_some(&*first.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_domain_listed_counts() {
        let domains = ["!lab.example.com", "b.example.com", "Example.com", "a.example.com"];
        let masquerade = Masquerade {
            domains: domains.iter().map(|text| MasqueradeDomain::parse(text).unwrap()).collect(),
            except: ["root".to_owned()].into(),
            classes: [Class::HeaderSender].into(),
        };
        for (address, expected) in [
            ("ann@web1.example.com", Some("ann@Example.com")),
            ("ann@WEB1.EXAMPLE.COM.", Some("ann@Example.com")),
            ("ann@x.a.example.com", Some("ann@Example.com")),
            ("ann@x.b.example.com", Some("ann@b.example.com")),
            ("ann@b.example.com", None),
            ("ann@example.com", None),
            ("ann@x.lab.example.com", None),
            ("ann@lab.example.com", None),
            ("ann@notexample.com", None),
            ("ann@com", None),
            ("ann@[192.0.2.1]", None),
            ("Root@web1.example.com", None),
            ("\"root\"@web1.example.com", None),
        ] {
            let address = Address::parse(address).unwrap();
            let hidden = masquerade.apply(&address, Class::HeaderSender);
            assert_eq!(hidden.as_ref().map(Address::as_str), expected, "{address}");
            assert_eq!(masquerade.apply(&address, Class::EnvelopeRecipient), None, "not this class");
            assert_eq!(masquerade.off().apply(&address, Class::HeaderSender), None);
        }
    }
}
