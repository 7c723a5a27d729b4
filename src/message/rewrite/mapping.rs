//! Maps an address: by a table, or else to the one address for all mail.
//!
//! Invariants:
//! 1. An address that a table or the one address gives is *finished*: it is not replaced with the one address again.
//!    An entry that maps an address to itself is an exception from the one address.
//! 2. If [`Course::circle`] finds nothing, every address is at rest after at most [`MAX_STEPS`] steps, and rewriting
//!    it again changes nothing.

use std::collections::BTreeSet;

use super::change::Rule;
use super::masquerade::Masquerade;
use super::pattern::Pattern;
use super::rules::Class;
use super::table::{Replacement, Selector, Table};
use super::template::Template;
use crate::envelope::Address;
use crate::envelope::spelling::{at_domain, folded, folded_domain};

/// The most steps that an address may need.
pub(super) const MAX_STEPS: usize = 50;

/// The names of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) origin: String,
    pub(super) name: String,
}

impl Host {
    /// Returns whether the users of the domain of `address` are users of this host. The first label of the host name
    /// is local, too, since some programs ask the kernel for it and not the resolver.
    pub(super) fn is_local(&self, address: &Address) -> bool {
        let domain = folded_domain(address.domain().unwrap_or(&self.origin));
        let short_name = self.name.split('.').next().unwrap_or_default();
        [&*self.origin, &*self.name, short_name, "localhost", "localhost.localdomain"]
            .into_iter()
            .any(|own| folded_domain(own) == domain)
    }
}

/// The settings `senders` and `sender`, or `recipients` and `recipient`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) table: Table,
    pub(super) by_table: Rule,
    pub(super) for_all: Option<Template>,
    pub(super) by_for_all: Rule,
    pub(super) finished: Finished,
}

/// The addresses that the one address for all does not replace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Finished {
    addresses: BTreeSet<String>,
    domains: BTreeSet<String>,
    form: Option<Pattern>,
}

impl Finished {
    /// Adds the results of a table.
    pub(super) fn add_table(&mut self, table: &Table, masquerade: &Masquerade) {
        for replacement in table.replacements() {
            match replacement {
                Replacement::Address(address) => self.add_address(address, masquerade),
                Replacement::Domain(domain) => self.add_domain(domain, masquerade),
            }
        }
    }

    /// Adds all addresses of a domain, and of the domain that it is masqueraded as.
    pub(super) fn add_domain(&mut self, domain: &str, masquerade: &Masquerade) {
        self.domains.insert(folded_domain(domain));
        self.domains.extend(masquerade.parent_of(domain).map(folded_domain));
    }

    /// Adds an address, and its masqueraded form.
    pub(super) fn add_address(&mut self, address: &Address, masquerade: &Masquerade) {
        self.addresses.insert(folded(address));
        let parent = address.domain().and_then(|domain| masquerade.parent_of(domain));
        self.addresses.extend(parent.map(|parent| folded(&at_domain(address, parent))));
    }

    /// Adds all results of a template.
    pub(super) fn add_template(&mut self, template: &Template, host: &Host, masquerade: &Masquerade) {
        let masqueraded = |domain: &str| masquerade.parent_of(domain).unwrap_or(domain).to_owned();
        self.form = template.form(&host.name, &host.origin, masqueraded);
    }

    /// Returns the domains all of whose addresses are finished.
    pub(super) fn domains(&self) -> impl Iterator<Item = &str> {
        self.domains.iter().map(String::as_str)
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
    /// Returns the mapping of a complete address; `None` if it is not mapped.
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

/// One step of rewriting an address: the rule, and the result.
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

/// All that rewrites the addresses of one class.
#[derive(Clone, Copy)]
pub(super) struct Course<'r> {
    pub(super) host: &'r Host,
    /// The mapping; `None` if addresses are only completed and masqueraded.
    pub(super) mapping: Option<&'r Mapping>,
    pub(super) masquerade: &'r Masquerade,
    pub(super) class: Class,
}

impl Course<'_> {
    /// Returns the steps of `address`. The last one gives the final address. There are none if the address stays.
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

    /// Returns the next step: the mapping, or else masquerading. The result is mapped again.
    fn step(&self, address: &Address) -> Option<AddressStep> {
        let mapped = self.mapping.and_then(|mapping| mapping.step(address, self.host));
        mapped.or_else(|| {
            let hidden = self.masquerade.apply(address, self.class)?;
            AddressStep::from(Rule::Masquerade, address, hidden)
        })
    }

    /// Returns an entry of the table for which rewriting does not end, if there is one.
    ///
    /// Every circle contains an entry of the table, or is reached from one. So it is enough to begin with each entry;
    /// for `@domain`, once with a user that is masqueraded, and once with one that is not.
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

    /// The address `root@web1`, which programs write that ask the kernel for the host's name, was not found in the
    /// aliases of web1.
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
