//! What one kind of address becomes: by the table, else by the one address for all.
//!
//! Invariants:
//! 1. What the table or the one address gives is *finished*: the one address for all is not put in its
//!    place again. An entry that gives an address itself is an exception from the one for all.
//! 2. A [`Course`] that [`Course::circle`] has no objection to comes to rest within [`MAX_STEPS`], and what
//!    it comes to stays as it is: twice is once.

use std::collections::BTreeSet;

use super::change::Rule;
use super::masquerade::Masquerade;
use super::pattern::Pattern;
use super::rules::Class;
use super::spelling::{at_domain, folded, folded_domain};
use super::table::{Replacement, Selector, Table};
use super::template::Template;
use crate::envelope::Address;

/// The longest way an address goes.
pub(super) const MAX_STEPS: usize = 50;

/// What is known of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) origin: String,
    pub(super) name: String,
}

impl Host {
    /// Whether the users of `address`'s domain are this host's. Programs that ask the kernel for its name,
    /// and not the resolver, know the first label alone.
    pub(super) fn is_local(&self, address: &Address) -> bool {
        let domain = folded_domain(address.domain().unwrap_or(&self.origin));
        let short_name = self.name.split('.').next().unwrap_or_default();
        [&*self.origin, &*self.name, short_name, "localhost", "localhost.localdomain"]
            .into_iter()
            .any(|own| own.eq_ignore_ascii_case(&domain))
    }
}

/// `senders` and `sender`, or `recipients` and `recipient`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) table: Table,
    pub(super) by_table: Rule,
    pub(super) for_all: Option<Template>,
    pub(super) by_for_all: Rule,
    pub(super) finished: Finished,
}

/// Addresses that the one for all does not take the place of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Finished {
    addresses: BTreeSet<String>,
    domains: BTreeSet<String>,
    form: Option<Pattern>,
}

impl Finished {
    /// Takes up what a table gives.
    pub(super) fn add_table(&mut self, table: &Table, masquerade: &Masquerade) {
        for replacement in table.replacements() {
            match replacement {
                Replacement::Address(address) => self.add_address(address, masquerade),
                Replacement::Domain(domain) => self.add_domain(domain, masquerade),
            }
        }
    }

    /// Takes up all addresses of a domain, masqueraded or not.
    pub(super) fn add_domain(&mut self, domain: &str, masquerade: &Masquerade) {
        self.domains.insert(folded_domain(domain));
        self.domains.extend(masquerade.parent_of(domain).map(folded_domain));
    }

    /// Takes up an address, masqueraded or not.
    pub(super) fn add_address(&mut self, address: &Address, masquerade: &Masquerade) {
        self.addresses.insert(folded(address));
        let parent = address.domain().and_then(|domain| masquerade.parent_of(domain));
        self.addresses.extend(parent.map(|parent| folded(&at_domain(address, parent))));
    }

    /// Takes up what the template makes.
    pub(super) fn add_template(&mut self, template: &Template, host: &Host, masquerade: &Masquerade) {
        let masqueraded = |domain: &str| masquerade.parent_of(domain).unwrap_or(domain).to_owned();
        self.form = template.form(&host.name, &host.origin, masqueraded);
    }

    fn contains(&self, address: &Address) -> bool {
        let folded = folded(address);
        let domain = address.domain().map(folded_domain).unwrap_or_default();
        self.domains.contains(&domain)
            || self.form.as_ref().is_some_and(|form| form.matches(folded.as_bytes()))
            || self.addresses.contains(&folded)
    }
}

impl Mapping {
    /// What becomes of a complete address; `None`: nothing.
    fn step(&self, address: &Address, host: &Host) -> Option<AddressStep> {
        if let Some(found) = self.table.find(address, host.is_local(address)) {
            return AddressStep::from(self.by_table, address, found);
        }
        let template = self.for_all.as_ref()?;
        if self.finished.contains(address) {
            return None;
        }
        AddressStep::from(self.by_for_all, address, template.apply(address, &host.name, &host.origin)?)
    }
}

/// A step of an address on its way, and where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AddressStep {
    pub(super) rule: Rule,
    pub(super) to: Address,
}

impl AddressStep {
    fn from(rule: Rule, before: &Address, to: Address) -> Option<AddressStep> {
        (to != *before).then_some(AddressStep { rule, to })
    }
}

/// The way of the addresses of a class.
#[derive(Clone, Copy)]
pub(super) struct Course<'r> {
    pub(super) host: &'r Host,
    /// `None`: completed and masqueraded only.
    pub(super) mapping: Option<&'r Mapping>,
    pub(super) masquerade: &'r Masquerade,
    pub(super) class: Class,
}

impl Course<'_> {
    /// The steps of `address`, the last one to where it rests; none: it stays as it is.
    pub(super) fn steps(&self, address: &Address) -> Vec<AddressStep> {
        let mut steps = Vec::new();
        let mut current = address.clone();
        steps.extend(AddressStep::from(Rule::Origin, address, address.completed_with(&self.host.origin)));
        while steps.len() < MAX_STEPS {
            if let Some(last) = steps.last() {
                current = last.to.clone();
            }
            let Some(step) = self.step(&current) else { break };
            steps.push(step);
        }
        steps
    }

    /// Masquerading comes behind the mapping, and what it gives is looked up again.
    fn step(&self, address: &Address) -> Option<AddressStep> {
        let mapped = self.mapping.and_then(|mapping| mapping.step(address, self.host));
        mapped.or_else(|| {
            let hidden = self.masquerade.apply(address, self.class)?;
            AddressStep::from(Rule::Masquerade, address, hidden)
        })
    }

    /// The entry of the table from which an address would not come to rest.
    ///
    /// A circle has an entry in it, or comes from one: so it is enough to set out from each of them, and
    /// for `@domain` once with a user who is masqueraded, once with one who is not.
    pub(super) fn circle(&self) -> Option<&Selector> {
        let table = &self.mapping?.table;
        let unnamed = table.unnamed_user();
        let mut users = std::iter::once(&unnamed).chain(&self.masquerade.except);
        users.find_map(|user| {
            table
                .samples(user, &self.host.origin)
                .find(|(_, sample)| self.steps(sample).len() == MAX_STEPS)
                .map(|(selector, _)| selector)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `root@web1`, as programs write it that ask the kernel for the host's name, was no alias on web1.
    #[test]
    fn users_of_every_name_of_this_host_are_its_own() {
        let host = Host { origin: "example.com".into(), name: "web1.lan.example".into() };
        for (address, is_local) in [
            ("root", true),
            ("root@example.com", true),
            ("root@WEB1.lan.example.", true),
            ("root@web1", true),
            ("root@Web1", true),
            ("root@localhost", true),
            ("root@localhost.localdomain", true),
            ("root@lan.example", false),
            ("root@web1.example.com", false),
            ("root@web", false),
        ] {
            assert_eq!(host.is_local(&Address::parse(address).unwrap()), is_local, "{address}");
        }
    }
}
