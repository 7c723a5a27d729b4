//! The addresses that mail goes out with, for those who expect some of them.
//!
//! Promises: if an address of some kind can go out at all, one of that kind is among those that are returned here, as long
//! as the kind is one address, a domain or everything below a domain. `[[rewrite.header]]` is not looked at, by which a
//! header field may become any other one.
//!
//! Rewriting a result changes nothing, so that an address can go out if it stays as it is. Which one stays depends on its
//! domain, but for the users that a rule names.

use super::mapping::Mapping;
use super::rules::{Class, Rules};
use super::table::Replacement;
use crate::envelope::spelling::at_domain;
use crate::envelope::{Address, Envelope, Recipient, ReversePath};

impl Rules {
    /// Returns senders of `class` as they go out: those that a rule names, and those that `sample` makes of a local part.
    pub fn outgoing_senders(&self, class: Class, sample: impl Fn(&str) -> Option<Address>) -> Vec<Address> {
        let found = self.samples(&self.senders, sample);
        found.iter().map(|address| self.sent_as(address, class)).collect()
    }

    /// Does the same for recipients of the envelope.
    pub fn outgoing_recipients(&self, sample: impl Fn(&str) -> Option<Address>) -> Vec<Address> {
        let found = self.samples(&self.recipients, sample);
        found.iter().chain(self.aliases.targets()).flat_map(|address| self.recipients_for(address)).collect()
    }

    /// Returns the recipients to which mail to `address` goes.
    pub fn recipients_for(&self, address: &Address) -> Vec<Address> {
        let recipients = vec![Recipient::plain(address.clone())];
        let envelope = Envelope { recipients, ..Envelope::from(ReversePath::Null) };
        self.envelope(envelope).recipients.into_iter().map(|recipient| recipient.address).collect()
    }

    fn samples(&self, mapping: &Mapping, sample: impl Fn(&str) -> Option<Address>) -> Vec<Address> {
        let unnamed = mapping.table.unnamed_user();
        let users = std::iter::once(&unnamed).chain(&self.masquerade.except);
        let mut samples: Vec<Address> = users.filter_map(|user| sample(user)).collect();
        // Letters are an address.
        let anyone = Address::parse(&unnamed).unwrap().completed_with(self.origin());
        let named = mapping.table.replacements().map(|replacement| match replacement {
            Replacement::Address(address) => address.clone(),
            Replacement::Domain(domain) => at_domain(&anyone, domain),
        });
        samples.extend(named);
        let parents = self.masquerade.domains.iter().map(|parent| &*parent.name);
        let domains = parents.chain(mapping.finished.domains());
        samples.extend(domains.map(|domain| at_domain(&anyone, domain)));
        samples.push(anyone);
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::{MasqueradeDomain, RewriteSettings};
    use super::super::table::Selector;
    use super::super::template::Template;
    use super::*;

    fn selected(entries: &[(&str, &str)]) -> std::collections::BTreeMap<Selector, Replacement> {
        let entry =
            |(from, to): &(&str, &str)| (Selector::parse(from).unwrap(), Replacement::parse(to).unwrap());
        entries.iter().map(entry).collect()
    }

    /// Each row: settings, and for the ends of addresses whether some sender that goes out has that end.
    #[test]
    fn a_sender_that_can_go_out_is_found() {
        let plain = || RewriteSettings::new("example.com", "web1.example.com");
        let sender = |text: &str| Some(Template::parse(text).unwrap());
        let masquerade =
            ["!lab.example.com", "example.com"].map(|text| MasqueradeDomain::parse(text).unwrap());
        let masqueraded = RewriteSettings {
            masquerade: masquerade.into(),
            masquerade_except: vec!["root".into()],
            ..plain()
        };
        let one = RewriteSettings { sender: sender("noreply@example.com"), ..plain() };
        let but_for = RewriteSettings { verified_domains: vec!["shop.example".into()], ..one.clone() };
        let table = selected(&[("@old.example", "@new.example"), ("ann@old.example", "ann@old.example")]);
        let mapped = RewriteSettings { senders: table, ..plain() };
        let cases: [(RewriteSettings, &[(&str, bool)]); 5] = [
            (plain(), &[("@shop.example", true), ("app@below.example", true)]),
            (
                masqueraded,
                &[
                    ("app@web1.example.com", false),
                    ("root@web1.example.com", true),
                    ("@below.example.com", true),
                    ("@lab.example.com", true),
                    ("@example.com", true),
                ],
            ),
            (one, &[("@shop.example", false), ("noreply@example.com", true), ("app@example.com", false)]),
            (but_for, &[("@shop.example", true), ("@other.example", false), ("noreply@example.com", true)]),
            (mapped, &[("@new.example", true), ("ann@old.example", true), ("bob@old.example", false)]),
        ];
        for (settings, expected) in cases {
            let rules = Rules::new(settings.clone()).unwrap();
            for (end, is_there) in expected {
                let sample = |user: &str| match end.strip_prefix('@') {
                    Some(domain) => Address::parse(&format!("{user}@{domain}")).ok(),
                    None => Address::parse(end).ok(),
                };
                let found = rules.outgoing_senders(Class::EnvelopeSender, sample);
                let has = found.iter().any(|address| address.as_str().ends_with(end));
                assert_eq!(has, *is_there, "{end}: {found:?} of {settings:?}");
            }
        }
    }
}
