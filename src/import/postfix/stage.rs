//! The tables of one parameter, made one.
//!
//! Promises: entries in the order in which Postfix asks for them, the first of a key alone; a table or
//! pattern that answers every address ends the search. What no table of nullmta can say is accounted for.

use super::super::draft::{Cited, Draft};
use super::super::maps::{Entry, Shape, Table};
use super::super::pattern::Pattern;
use super::super::place::ImportError;
use super::Source;

/// What a parameter's tables answer.
#[derive(Clone, Default)]
pub(super) struct Stage {
    /// For an address, a user or an `@domain`.
    pub(super) entries: Vec<Entry>,
    /// For all others.
    pub(super) fixed: Option<Entry>,
    /// The parameter.
    pub(super) from: Vec<Cited>,
}

impl Stage {
    /// Reads the tables that the parameter `name` lists.
    pub(super) fn read(source: &Source<'_>, name: &str, draft: &mut Draft) -> Result<Stage, ImportError> {
        let mut stage = Stage { from: source.settings.cited(&[name]), ..Stage::default() };
        for table in source.tables(name, Shape::Postmap, "", draft)? {
            match table {
                Table::Static(entry) => stage.fixed = Some(entry),
                Table::Pairs(entries) => entries.into_iter().for_each(|entry| stage.add(entry)),
                Table::Patterns(patterns) => {
                    patterns.into_iter().for_each(|pattern| stage.add_pattern(pattern, draft))
                }
            }
            if stage.fixed.is_some() {
                break;
            }
        }
        Ok(stage)
    }

    fn add(&mut self, entry: Entry) {
        if self.entries.iter().all(|own| own.key != entry.key) {
            self.entries.push(entry);
        }
    }

    fn add_pattern(&mut self, pattern: Pattern, draft: &mut Draft) {
        let Pattern { place, expression, conditional, result } = pattern;
        if self.fixed.is_some() {
            // The one that answers every address came before.
            return;
        }
        if let Some((key, value)) = expression.as_domain_move(&result).filter(|_| !conditional) {
            return self.add(Entry { place, key, value });
        }
        let plain = !conditional && !result.contains('$');
        match expression.as_key().filter(|_| plain) {
            Some(key) => self.add(Entry { place, key: key.to_lowercase(), value: result }),
            None if plain && expression.matches_all() => {
                self.fixed = Some(Entry { place, key: String::new(), value: result });
            }
            None => {
                let cited = Cited { place, name: expression.written(), shown: Some(result) };
                draft.not_carried(vec![cited], "tables have addresses, users and @domains, and no patterns");
            }
        }
    }

    /// What they answer for `address`.
    pub(super) fn lookup(&self, address: &str) -> Option<&str> {
        let address = address.to_lowercase();
        let domain = address.find('@').map(|at| &address[at..]);
        let keyed = |key: &str| self.entries.iter().find(|entry| entry.key == key);
        let found = keyed(&address).or_else(|| keyed(domain?)).or(self.fixed.as_ref())?;
        // The same user elsewhere: only the table itself can say that.
        (!found.value.starts_with('@')).then_some(&found.value)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::pattern::read_patterns;
    use super::*;
    use crate::import::place::Place;

    #[test]
    fn patterns_that_are_addresses_are_entries_and_the_last_is_for_all() {
        let text = "/^Root@.*$/ ops@example.com\n/(.*)@x/ $1@y\n/^(.*)@Web1\\.x$/ ${1}@y.example\n/(.+)@web2.x$/ $1@y.example\n/./ me@example.com\n/^late$/ never@example.com\n";
        let (mut stage, mut draft) = (Stage::default(), Draft::default());
        for pattern in read_patterns("/etc/postfix/m", text, "regexp").unwrap() {
            stage.add_pattern(pattern, &mut draft);
        }
        let keys: Vec<_> = stage.entries.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["root", "@web1.x", "@web2.x"]);
        assert_eq!(stage.entries[1].value, "@y.example");
        assert_eq!(stage.fixed.unwrap().value, "me@example.com");
        assert_eq!(draft.remarks.len(), 1, "the one with a group");
    }

    #[test]
    fn addresses_count_before_domains_and_domains_before_all() {
        let place = Place::file("m");
        let entry =
            |key: &str, value: &str| Entry { place: place.clone(), key: key.into(), value: value.into() };
        let entries =
            vec![entry("@a.example", "domain@x"), entry("ann@a.example", "ann@x"), entry("@b.example", "@x")];
        let stage = Stage { entries, fixed: Some(entry("", "all@x")), from: Vec::new() };
        for (address, expected) in [
            ("Ann@A.example", Some("ann@x")),
            ("bob@a.example", Some("domain@x")),
            ("bob@b.example", None),
            ("bob@c.example", Some("all@x")),
            ("bob", Some("all@x")),
        ] {
            assert_eq!(stage.lookup(address), expected, "{address}");
        }
    }
}
