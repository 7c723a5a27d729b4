//! The `aliases` of the configuration: the addresses to which the mail of local users goes.
//!
//! Promises: mail goes to the targets of an alias. A target that is itself an alias is followed. An alias may name
//! itself, which keeps the address as well. No target is in the result twice.

use std::collections::{BTreeMap, BTreeSet};

use super::mapping::{Host, MAX_STEPS};
use crate::envelope::Address;
use crate::envelope::spelling::folded_local;

/// The alias that leads back to itself through others, or through more than [`MAX_STEPS`] of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AliasCircle(pub(super) String);

/// Local users in their folded form, with their targets, which are complete addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Aliases {
    entries: BTreeMap<String, Vec<Address>>,
}

impl Aliases {
    /// Returns the aliases of `entries`, or the first one that leads in a circle. `finish` rewrites a target.
    pub(super) fn new(
        entries: &BTreeMap<String, Vec<Address>>,
        host: &Host,
        finish: impl Fn(&Address) -> Address,
    ) -> Result<Self, AliasCircle> {
        let entries = entries
            .iter()
            .map(|(user, targets)| (user.clone(), targets.iter().map(&finish).collect()))
            .collect();
        let aliases = Aliases { entries };
        for (user, targets) in &aliases.entries {
            let mut expansion = Expansion { above: vec![user.clone()], ..Expansion::default() };
            expansion.add_all(&aliases, targets, host).map_err(|_| AliasCircle(user.clone()))?;
        }
        Ok(aliases)
    }

    /// Returns all targets.
    pub(super) fn targets(&self) -> impl Iterator<Item = &Address> {
        self.entries.values().flatten()
    }

    /// Returns the addresses that get the mail for `address`; `None` if it is not an alias.
    pub(super) fn expand(&self, address: &Address, host: &Host) -> Option<Vec<Address>> {
        self.key_of(address, host)?;
        let mut expansion = Expansion::default();
        // This does not fail, since `new` has followed every alias to its end.
        expansion.add(self, address, host).ok()?;
        Some(expansion.found)
    }

    fn key_of(&self, address: &Address, host: &Host) -> Option<String> {
        if self.entries.is_empty() || !host.is_local(address) {
            return None;
        }
        let user = folded_local(address.local_part());
        self.entries.contains_key(&user).then_some(user)
    }
}

/// The targets that were found while aliases are followed.
#[derive(Default)]
struct Expansion {
    found: Vec<Address>,
    /// The aliases that were followed; following one again would find nothing new.
    followed: BTreeSet<String>,
    /// The aliases on the way to the current one.
    above: Vec<String>,
}

impl Expansion {
    fn add(&mut self, aliases: &Aliases, address: &Address, host: &Host) -> Result<(), AliasCircle> {
        let user = aliases.key_of(address, host).filter(|user| self.above.last() != Some(user));
        let Some(user) = user else {
            if !self.found.contains(address) {
                self.found.push(address.clone());
            }
            return Ok(());
        };
        if self.above.contains(&user) || self.above.len() == MAX_STEPS {
            return Err(AliasCircle(user));
        }
        if !self.followed.insert(user.clone()) {
            return Ok(());
        }
        let targets = &aliases.entries[&user];
        self.above.push(user);
        self.add_all(aliases, targets, host)?;
        self.above.pop();
        Ok(())
    }

    fn add_all(&mut self, aliases: &Aliases, targets: &[Address], host: &Host) -> Result<(), AliasCircle> {
        targets.iter().try_for_each(|target| self.add(aliases, target, host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host { origin: "example.org".into(), name: "web1.example.org".into() }
    }

    fn aliases(entries: &[(&str, &[&str])]) -> Result<Aliases, AliasCircle> {
        let read = |(user, targets): &(&str, &[&str])| {
            let targets = targets.iter().map(|target| Address::parse(target).unwrap()).collect();
            ((*user).to_owned(), targets)
        };
        let entries = entries.iter().map(read).collect();
        Aliases::new(&entries, &host(), |address| address.completed_with("example.org"))
    }

    #[test]
    fn aliases_are_followed_to_their_ends() {
        let aliases = aliases(&[
            ("root", &["ops@x.example", "admins"]),
            ("admins", &["ann@x.example", "Bob@web1.example.org", "ops@x.example"]),
            ("bob", &["bob", "bob@home.example"]),
            ("postmaster", &["root"]),
        ])
        .unwrap();
        let all = "ops@x.example ann@x.example bob@example.org bob@home.example";
        for (address, expected) in [
            ("root@example.org", Some(all)),
            ("ROOT@localhost", Some(all)),
            ("postmaster@web1.example.org", Some(all)),
            ("bob@example.org", Some("bob@example.org bob@home.example")),
            ("root@elsewhere.example", None),
            ("ann@example.org", None),
        ] {
            let found = aliases.expand(&Address::parse(address).unwrap(), &host());
            let found = found.map(|all| all.iter().map(Address::as_str).collect::<Vec<_>>().join(" "));
            assert_eq!(found.as_deref(), expected, "{address}");
        }
    }

    #[test]
    fn circles_are_refused_and_meetings_are_not() {
        let circle = aliases(&[("a", &["b"]), ("b", &["x@x.example", "c"]), ("c", &["a@localhost"])]);
        assert_eq!(circle.err(), Some(AliasCircle("a".into())));
        assert!(aliases(&[("a", &["a"])]).is_ok());
        // Each of 40 pairs leads to both of the next pair: there are 2^40 ways, but each alias is followed once.
        let names: Vec<[String; 2]> = (0..40).map(|n| [format!("l{n}"), format!("r{n}")]).collect();
        let entries: BTreeMap<_, _> = names
            .windows(2)
            .flat_map(|pair| {
                let targets: Vec<_> = pair[1].iter().map(|name| Address::parse(name).unwrap()).collect();
                [(pair[0][0].clone(), targets.clone()), (pair[0][1].clone(), targets)]
            })
            .collect();
        let aliases = Aliases::new(&entries, &host(), Address::clone).unwrap();
        let found = aliases.expand(&Address::parse("l0").unwrap(), &host()).unwrap();
        assert_eq!(found.iter().map(Address::as_str).collect::<Vec<_>>(), ["l39", "r39"]);
    }

    #[test]
    fn the_longest_way_is_bounded() {
        let chain = |len: usize| -> BTreeMap<String, Vec<Address>> {
            let target = |n: usize| vec![Address::parse(&format!("u{}", n + 1)).unwrap()];
            (0..len).map(|n| (format!("u{n}"), target(n))).collect()
        };
        assert!(Aliases::new(&chain(MAX_STEPS), &host(), Address::clone).is_ok());
        assert!(Aliases::new(&chain(MAX_STEPS + 1), &host(), Address::clone).is_err());
    }
}
