//! Merges the lookup tables of one parameter into one.
//!
//! Promises: the merged table gives an address the same result as Postfix, or the entry is listed as not carried. Postfix
//! searches all tables, pattern tables too, for the whole address, and only then those with keys for the user and for
//! the `@domain`; the first answer counts. A table or pattern that matches every address ends the search. After a
//! pattern that no table of nullmta can express, and after a table that cannot be read, an entry is left out if that
//! pattern or table might have answered first: mail would go to somebody else. The null address is never looked up.

use super::super::draft::{Cited, ConfigDraft, Omission};
use super::super::location::{ImportError, SourceLocation};
use super::super::maps::{LookupTable, MapEntry, Shape};
use super::super::pattern::PostfixPattern;
use super::PostfixSource;

/// The lookup tables of one parameter, merged into one.
#[derive(Clone, Default)]
pub(super) struct MergedTables {
    /// Entries for an address, a user or an `@domain`.
    pub(super) entries: Vec<MapEntry>,
    /// The entry for all other addresses.
    pub(super) fixed: Option<MapEntry>,
    /// The parameter that lists the tables.
    pub(super) from: Vec<Cited>,
}

impl MergedTables {
    /// Reads the tables that the parameter `name` lists.
    pub(super) fn read(
        source: &PostfixSource<'_>,
        name: &str,
        draft: &mut ConfigDraft,
    ) -> Result<MergedTables, ImportError> {
        let tables = source.tables_in_order(name, Shape::Postmap, "", draft)?;
        Ok(MergedTables { from: source.parameters.cited(&[name]), ..MergedTables::of(tables, draft) })
    }

    fn of(tables: Vec<LookupTable>, draft: &mut ConfigDraft) -> MergedTables {
        MergedTables::merged(tables, false, draft)
    }

    /// Merges tables that say which way mail goes. All mail has to go somewhere: what stands behind something that is left out
    /// counts, also for the addresses of that, whose way is another one in any case.
    pub(super) fn of_ways(tables: Vec<LookupTable>, draft: &mut ConfigDraft) -> MergedTables {
        MergedTables::merged(tables, true, draft)
    }

    fn merged(tables: Vec<LookupTable>, are_of_ways: bool, draft: &mut ConfigDraft) -> MergedTables {
        let mut asking = Asking {
            are_of_ways,
            entries: Vec::new(),
            fixed: None,
            end: None,
            patterns: Vec::new(),
            left_out: Vec::new(),
            unread: None,
            draft,
        };
        let mut in_parts = Vec::new();
        let mut number = 0..;
        for table in tables {
            match table {
                LookupTable::Static(entry) => asking.all(entry),
                LookupTable::Pairs(entries) => {
                    for (number, entry) in number.by_ref().zip(entries) {
                        if is_whole(&entry.key) {
                            asking.entry(number, entry);
                        } else {
                            in_parts.push((number, entry));
                        }
                    }
                }
                LookupTable::Patterns(patterns) => {
                    number
                        .by_ref()
                        .zip(patterns)
                        .for_each(|(number, pattern)| asking.pattern(number, pattern));
                }
                LookupTable::Unread(name) => drop(asking.unread.get_or_insert(name)),
            }
        }
        for (number, entry) in in_parts {
            asking.entry(number, entry);
        }
        let Asking { mut entries, fixed, .. } = asking;
        entries.sort_by_key(|(number, _)| *number);
        MergedTables {
            entries: entries.into_iter().map(|(_, entry)| entry).collect(),
            fixed,
            from: Vec::new(),
        }
    }

    /// Returns the result for `address`; `None` if there is none, or if it is `@domain`, which keeps the user.
    pub(super) fn lookup(&self, address: &str) -> Option<&str> {
        let found = self.entry(address)?;
        // The same user elsewhere: only the table itself can say that.
        (!found.value.starts_with('@')).then_some(&found.value)
    }

    /// Returns the entry for `address`, which may be an `@domain`.
    pub(super) fn entry(&self, address: &str) -> Option<&MapEntry> {
        let address = address.to_lowercase();
        let domain = address.find('@').map(|at| &address[at..]);
        let keyed = |key: &str| self.entries.iter().find(|entry| entry.key == key);
        keyed(&address).or_else(|| keyed(domain?)).or(self.fixed.as_ref())
    }
}

/// Returns whether `key` is `user@domain`, and not `user` or `@domain`.
fn is_whole(key: &str) -> bool {
    key.find('@').is_some_and(|at| at > 0)
}

/// The state of a merge, which goes through the tables in the order in which Postfix searches them.
struct Asking<'d> {
    are_of_ways: bool,
    /// The entries so far, with their numbers in the order of the files.
    entries: Vec<(usize, MapEntry)>,
    fixed: Option<MapEntry>,
    /// The location of an entry that matches every address. Nothing after it is searched.
    end: Option<SourceLocation>,
    /// The locations and keys of entries that are patterns.
    patterns: Vec<(SourceLocation, String)>,
    left_out: Vec<PostfixPattern>,
    /// The first table that cannot be read.
    unread: Option<String>,
    draft: &'d mut ConfigDraft,
}

impl Asking<'_> {
    /// Adds `entry`, or lists the reason why not. Returns whether it was added.
    fn entry(&mut self, number: usize, entry: MapEntry) -> bool {
        let cited = Cited { shown: Some(entry.value.clone()), ..Cited::entry(&entry.location, &entry.key) };
        match self.obstacle(&entry.key) {
            None => {
                self.entries.push((number, entry));
                return true;
            }
            Some((omission, why)) => self.draft.remark(omission, vec![cited], &why),
        }
        false
    }

    /// Adds an entry for every address that no earlier entry matches.
    fn all(&mut self, entry: MapEntry) {
        if self.end.is_some() {
            return;
        }
        self.end = Some(entry.location.clone());
        let first = self.unread.as_deref().map(behind_table).filter(|_| !self.are_of_ways);
        match first.or_else(|| {
            self.left_out.first().filter(|_| !self.are_of_ways).map(|first| behind(&first.location))
        }) {
            None => self.fixed = Some(entry),
            Some(why) => {
                let cited =
                    Cited { shown: Some(entry.value), ..Cited::entry(&entry.location, "all addresses") };
                self.draft.not_carried(vec![cited], &why);
            }
        }
    }

    /// Returns the reason why an entry for `key` is left out: something before it answers first, or might do so.
    fn obstacle(&self, key: &str) -> Option<(Omission, String)> {
        if key == NULL {
            return Some((Omission::AlreadySo, NEVER_NULL.into()));
        }
        if let Some(end) = &self.end {
            return Some((Omission::AlreadySo, format!("never asked: {end} answers every address")));
        }
        let same = self.entries.iter().find(|(_, own)| own.key == key).map(|(_, own)| &own.location);
        let covers = |pattern: &str| match pattern.strip_prefix('@') {
            Some(below) if below.starts_with('.') => {
                key.rsplit_once('@').is_some_and(|(_, domain)| domain.ends_with(below))
            }
            Some(_) => is_whole(key) && key.ends_with(pattern),
            None => key.split_once('@').is_some_and(|(user, _)| user == pattern),
        };
        let covering =
            || self.patterns.iter().find(|(_, pattern)| covers(pattern)).map(|(location, _)| location);
        if let Some(first) = same.or_else(covering) {
            return Some((Omission::AlreadySo, format!("never asked: {first} answers before")));
        }
        // A table asks for the user first.
        let of_domain =
            self.patterns.iter().find(|(_, pattern)| !key.contains('@') && pattern.starts_with('@'));
        if let Some((location, domain)) = of_domain {
            return Some((
                Omission::NotCarried,
                format!("users of {domain} have their answer at {location} before"),
            ));
        }
        if self.are_of_ways {
            return None;
        }
        if let Some(table) = &self.unread {
            return Some((Omission::NotCarried, behind_table(table)));
        }
        let first = self.left_out.iter().find(|first| !is_whole(key) || first.may_match_address(key))?;
        Some((Omission::NotCarried, behind(&first.location)))
    }

    fn pattern(&mut self, number: usize, pattern: PostfixPattern) {
        let PostfixPattern { location, expression, conditions, result } = &pattern;
        let is_plain = conditions.is_empty() && !result.contains('$');
        if self.are_of_ways {
            return self.pattern_of_way(number, pattern);
        }
        let entry = |key: String, value: String| MapEntry { location: location.clone(), key, value };
        let cited =
            || Cited { location: location.clone(), name: expression.written(), shown: Some(result.clone()) };
        let (entry, lost) =
            if let Some(moved) = expression.as_domain_move(result).filter(|_| conditions.is_empty()) {
                let lost = moved.is_open.then_some("for this domain alone, and no longer one that begins so");
                (entry(moved.old, moved.new), lost)
            } else if let Some(key) = expression.as_key().filter(|_| is_plain) {
                let lost = (!key.contains('@')).then_some("for users of this host's own domains alone");
                (entry(key.to_lowercase(), result.clone()), lost)
            } else if is_plain && expression.matches_all() {
                return self.all(entry(String::new(), result.clone()));
            } else {
                self.draft
                    .not_carried(vec![cited()], "tables have addresses, users and @domains, and no patterns");
                return self.left_out.push(pattern);
            };
        let key = entry.key.clone();
        let is_taken = self.entry(number, entry);
        if let Some(lost) = lost.filter(|_| is_taken) {
            self.draft.not_carried(vec![cited()], lost);
        }
        self.patterns.push((pattern.location, key));
    }
}

impl Asking<'_> {
    /// Adds a pattern that says which way mail goes, if it means addresses or domains.
    fn pattern_of_way(&mut self, number: usize, pattern: PostfixPattern) {
        let PostfixPattern { location, expression, conditions, result } = &pattern;
        let entry = |key: String| MapEntry { location: location.clone(), key, value: result.clone() };
        let is_plain = conditions.is_empty() && !result.contains('$');
        if is_plain && expression.matches_all() {
            return self.all(entry(String::new()));
        }
        let cited = || {
            vec![Cited {
                location: location.clone(),
                name: expression.written(),
                shown: Some(result.clone()),
            }]
        };
        let Some(matched) = expression.as_addresses().filter(|_| is_plain) else {
            let why = "a [[route]] has addresses, @domains and @.domains, and no patterns";
            self.draft.not_carried(cited(), why);
            return self.left_out.push(pattern);
        };
        if matched.is_open {
            self.draft.not_carried(cited(), "for this domain alone, and no longer one that begins so");
        }
        for key in matched.keys {
            self.entry(number, entry(key.clone()));
            self.patterns.push((pattern.location.clone(), key));
        }
    }
}

/// The null address, as some write it in a table.
pub(super) const NULL: &str = "<>";

const NEVER_NULL: &str =
    "no table is asked for the null sender; if a relay refuses <>, it gets rewrite.null-sender";

/// Returns the reason why an entry after an unreadable table is left out.
fn behind_table(table: &str) -> String {
    format!("an address that it is for might stand in {table} first, which is not read")
}

/// Returns the reason why an entry after a pattern that was left out is left out, too.
fn behind(first: &SourceLocation) -> String {
    format!("an address that it is for might meet the pattern at {first} first, which is left out")
}

#[cfg(test)]
mod tests {
    use super::super::super::maps::pairs;
    use super::super::super::pattern::read_patterns;
    use super::*;

    fn patterns(text: &str) -> LookupTable {
        LookupTable::Patterns(read_patterns("/etc/postfix/p", text, "regexp").unwrap())
    }

    fn keyed(text: &str) -> LookupTable {
        LookupTable::Pairs(pairs("/etc/postfix/k", text, Shape::Postmap).unwrap())
    }

    /// Returns the entries, the value for all other addresses, and the number of lines that are lost.
    fn read(tables: Vec<LookupTable>) -> (String, Option<String>, usize) {
        let mut draft = ConfigDraft::default();
        let stage = MergedTables::of(tables, &mut draft);
        let shown: Vec<_> =
            stage.entries.iter().map(|entry| format!("{} {}", entry.key, entry.value)).collect();
        let lost = draft.remarks.iter().filter(|remark| remark.omission == Omission::NotCarried).count();
        (shown.join(", "), stage.fixed.map(|entry| entry.value), lost)
    }

    #[test]
    fn patterns_that_are_addresses_are_entries_and_the_last_is_for_all() {
        let text = "/^Root@.*$/ ops@example.com\n/^(.*)@Web1\\.x$/ ${1}@y.example\n/(.+)@web2.x$/ $1@y.example\n\
                    /(.*)@x/ $1@y\n/./ me@example.com\n/^late$/ never@example.com\n";
        let entries = "root ops@example.com, @web1.x @y.example, @web2.x @y.example, @x @y";
        assert_eq!(
            read(vec![patterns(text)]),
            (entries.into(), Some("me@example.com".into()), 2),
            "root elsewhere, and longer names than x"
        );
    }

    /// A pattern was left out and the rest of the table carried: mail went to whom the rest named, and not to whom
    /// the pattern did. So it went where nullmta's order of address, user and domain is not that of the patterns.
    #[test]
    fn nothing_is_carried_that_something_left_out_might_have_answered() {
        const GROUPS: &str = "/^(.*)@(.*)\\.lan$/ $1@$2.example.com\n";
        let with = |text: &str| patterns(&format!("{GROUPS}{text}"));
        let cases: [(Vec<LookupTable>, &str, Option<&str>, usize); 9] = [
            (vec![with("/./ me@x\n")], "", None, 2),
            (
                vec![with("/^ann@a\\.lan$/ boss@x\n/^ann@b\\.example$/ ann@x\n")],
                "ann@b.example ann@x",
                None,
                2,
            ),
            (vec![with("/^(.*)@c\\.lan$/ $1@x\n")], "", None, 2),
            // A keyed table is asked for the whole address before the patterns behind it, for all else after them.
            (vec![keyed("ann@a.lan a@x\nbob b@x\n@a.lan c@x\n"), with("")], "ann@a.lan a@x", None, 3),
            (vec![keyed("ann@x a@x\n@x c@x\n"), patterns("/./ me@x\n")], "ann@x a@x", Some("me@x"), 0),
            (vec![patterns("/^(.*)@old$/ $1@new\n/^ann@old$/ boss@x\n")], "@old @new", None, 0),
            (
                vec![patterns("/^(.*)@old$/ $1@new\n"), keyed("root ops@x\nann@new n@x\n")],
                "@old @new, ann@new n@x",
                None,
                1,
            ),
            (vec![keyed("@old c@x\n"), patterns("/^(.*)@old$/ $1@new\n")], "@old @new", None, 0),
            (vec![patterns("if /a/\n/^ann@x$/ b@x\nendif\n/^ann@x$/ c@x\n")], "", None, 2),
        ];
        for (number, (tables, entries, fixed, lost)) in cases.into_iter().enumerate() {
            assert_eq!(read(tables), (entries.into(), fixed.map(Into::into), lost), "case {number}");
        }
    }

    #[test]
    fn addresses_count_before_domains_and_domains_before_all() {
        let location = SourceLocation::file("m");
        let entry = |key: &str, value: &str| MapEntry {
            location: location.clone(),
            key: key.into(),
            value: value.into(),
        };
        let entries =
            vec![entry("@a.example", "domain@x"), entry("ann@a.example", "ann@x"), entry("@b.example", "@x")];
        let stage = MergedTables { entries, fixed: Some(entry("", "all@x")), from: Vec::new() };
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
