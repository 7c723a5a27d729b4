//! `[rewrite]`: its keys, what their values may be, and what they mean together.
//!
//! Promises: the rules of a configuration let every address come to rest; an entry that would lead in
//! circles is refused where it stands.
//! Not here: what one value may be (`rewrite/setting.rs`), what the rules do (`message/rewrite/`).

mod setting;

use std::collections::BTreeMap;

use super::error::{Fault, Place};
use super::setting::{HostName, Setting};
use super::table::{Entry, Key, Keys, List, Map, Part, Table, table};
use crate::envelope::Address;
use crate::message::long_lines::LongLines;
use crate::message::rewrite::{
    Action, Circle, Class, FieldText, HeaderRule, MAX_RULES_KIB, MasqueradeDomain, Pattern, Refusal,
    Replacement, Rules, Selector, Settings, Template,
};
use setting::{NullSender, OneRecipient, Target, Text, User, Yes};

/// The most header rules: each is asked about every field until one matches.
const MAX_HEADER_RULES: usize = 100;

table! {
    /// `[rewrite]`
    Rewrite {
        origin: Key<HostName>,
        masquerade: Keys<MasqueradeDomain>,
        masquerade_except: Keys<User>,
        masquerade_classes: Keys<Class>,
        sender: Key<Template>,
        null_sender: Key<NullSender>,
        recipient: Key<OneRecipient>,
        senders: Vec<Mapped>,
        recipients: Vec<Mapped>,
        aliases: Vec<Alias>,
        verified_domains: Keys<HostName>,
        keep_original: Key<bool>,
        reply_to_original: Key<bool>,
        hide_received: Key<bool>,
        long_lines: Key<LongLines>,
        header: Vec<HeaderRule>,
    }
}

/// An entry of `senders` or `recipients`.
type Mapped = (Entry<Selector>, Replacement);

/// An entry of `aliases`.
type Alias = (Entry<User>, Vec<Address>);

impl Rewrite {
    /// The rules, for this host.
    pub(super) fn rules(&self, origin: &str, hostname: &str) -> Result<Rules, Fault> {
        let default = Settings::new(origin, hostname);
        let on = |key: &Key<bool>| key.as_ref().is_some_and(|entry| entry.value);
        let settings = Settings {
            masquerade: values(&self.masquerade).unwrap_or_default(),
            masquerade_except: names(values(&self.masquerade_except), |user| user.0),
            masquerade_classes: values(&self.masquerade_classes).unwrap_or(default.masquerade_classes),
            sender: self.sender.as_ref().map(|entry| entry.value.clone()),
            null_sender: self.null_sender.as_ref().map(|entry| entry.value.0.clone()),
            recipient: self.recipient.as_ref().map(|entry| entry.value.0.clone()),
            senders: table_of(&self.senders),
            recipients: table_of(&self.recipients),
            aliases: self.aliases.iter().map(|(user, to)| (user.value.0.clone(), to.clone())).collect(),
            verified_domains: names(values(&self.verified_domains), |domain| domain.0),
            keep_original: on(&self.keep_original),
            reply_to_original: on(&self.reply_to_original),
            hide_received: on(&self.hide_received),
            long_lines: self.long_lines.as_ref().map_or(default.long_lines, |entry| entry.value),
            header: self.header.clone(),
            ..default
        };
        Rules::new(settings).map_err(|circle| self.circle_fault(&circle))
    }

    /// The targets of `aliases` that are written without a domain, each with its user; not those that keep an address
    /// as it is.
    pub(super) fn bare_targets(&self) -> impl Iterator<Item = (&str, &Address)> {
        self.aliases.iter().flat_map(|(user, targets)| {
            let user = user.value.0.as_str();
            let is_bare = move |target: &&Address| target.domain().is_none() && target.local_part() != user;
            targets.iter().filter(is_bare).map(move |target| (user, target))
        })
    }

    fn circle_fault(&self, circle: &Circle) -> Fault {
        let place = match circle {
            Circle::Senders(selector) => place_of(&self.senders, selector),
            Circle::Recipients(selector) => place_of(&self.recipients, selector),
            Circle::Aliases(user) => self
                .aliases
                .iter()
                .map(|(entry, _)| entry)
                .find(|entry| entry.value.0 == *user)
                .map(|e| &e.place),
        };
        // The rules were made of these entries.
        let place = place.cloned().unwrap_or_else(|| Place::of_missing("rewrite"));
        place.expected("an address that comes to rest", "one that leads back to itself, or on and on")
    }
}

fn values<T: Clone>(keys: &Keys<T>) -> Option<Vec<T>> {
    keys.as_ref().map(List::values)
}

fn names<T>(values: Option<Vec<T>>, name: impl Fn(T) -> String) -> Vec<String> {
    values.unwrap_or_default().into_iter().map(name).collect()
}

fn table_of(entries: &[Mapped]) -> BTreeMap<Selector, Replacement> {
    entries.iter().map(|(selector, to)| (selector.value.clone(), to.clone())).collect()
}

fn place_of<'r>(entries: &'r [Mapped], selector: &Selector) -> Option<&'r Place> {
    entries.iter().map(|(entry, _)| entry).find(|entry| entry.value == *selector).map(|entry| &entry.place)
}

impl Part for Vec<Mapped> {
    fn take(table: &mut Table<'_>, key: &'static str) -> Result<Self, Fault> {
        table.take_map(key).and_then(mapped)
    }
}

impl Part for Vec<Alias> {
    fn take(table: &mut Table<'_>, key: &'static str) -> Result<Self, Fault> {
        table.take_map(key).and_then(aliases)
    }
}

impl Part for Vec<HeaderRule> {
    fn take(table: &mut Table<'_>, key: &'static str) -> Result<Self, Fault> {
        table.tables(key).and_then(header_rules)
    }
}

fn mapped(entries: Map<Selector, Replacement>) -> Result<Vec<Mapped>, Fault> {
    let mut mapped: Vec<Mapped> = Vec::new();
    for (selector, to) in entries {
        let [only] = &to.entries[..] else {
            return Err(to.place.expected(Replacement::expected(), "several (only aliases have them)"));
        };
        refuse_second(&selector, mapped.iter().map(|(entry, _)| entry))?;
        mapped.push((selector, only.value.clone()));
    }
    Ok(mapped)
}

fn aliases(entries: Map<User, Target>) -> Result<Vec<Alias>, Fault> {
    let mut aliases: Vec<Alias> = Vec::new();
    for (user, to) in entries {
        refuse_second(&user, aliases.iter().map(|(entry, _)| entry))?;
        let targets = to.entries.into_iter().map(|entry| entry.value.0).collect();
        aliases.push((user, targets));
    }
    Ok(aliases)
}

/// TOML tells `Root` from `root`.
fn refuse_second<'e, T: PartialEq + 'e>(
    entry: &Entry<T>,
    mut others: impl Iterator<Item = &'e Entry<T>>,
) -> Result<(), Fault> {
    match others.find(|other| other.value == entry.value) {
        Some(other) => {
            let found = format!("`{}` as well (case and needless quotes are no difference)", other.place.key);
            Err(entry.place.expected("each address once", found))
        }
        None => Ok(()),
    }
}

fn header_rules(tables: Vec<(Place, Table<'_>)>) -> Result<Vec<HeaderRule>, Fault> {
    if let Some((place, _)) = tables.get(MAX_HEADER_RULES) {
        return Err(place.expected(format!("at most {MAX_HEADER_RULES} rules"), "more"));
    }
    let (mut rules, mut kib) = (Vec::new(), 0);
    for (place, table) in tables {
        let rule = header_rule(&place, table)?;
        kib += rule.pattern.kib();
        if kib > MAX_RULES_KIB {
            let expected = format!("rules of at most {MAX_RULES_KIB} KiB together, when compiled");
            return Err(place.expected(expected, format!("{kib} KiB up to here")));
        }
        rules.push(rule);
    }
    Ok(rules)
}

/// `[[rewrite.header]]`
fn header_rule(place: &Place, mut table: Table<'_>) -> Result<HeaderRule, Fault> {
    let pattern: Key<Pattern> = table.take("match")?;
    let replace: Key<Text> = table.take("replace")?;
    let remove: Key<Yes> = table.take("remove")?;
    let prepend: Key<Text> = table.take("prepend")?;
    let reject: Key<Refusal> = table.take("reject")?;
    let keep: Key<Yes> = table.take("keep")?;
    table.done()?;
    let missing = |key: &str| Place { line: place.line, key: format!("{}.{key}", place.key) };
    let pattern = pattern.ok_or_else(|| missing("match").expected(Pattern::expected(), "none"))?.value;
    let groups = pattern.groups();
    let actions = [
        replace.map(|text| field_text(&text, groups).map(Action::Replace)),
        remove.map(|_| Ok(Action::Remove)),
        prepend.map(|text| field_text(&text, groups).map(Action::Prepend)),
        reject.map(|entry| Ok(Action::Reject(entry.value))),
        keep.map(|_| Ok(Action::Keep)),
    ];
    let mut actions: Vec<_> = actions.into_iter().flatten().collect::<Result<_, _>>()?;
    match (actions.pop(), actions.len()) {
        (Some(action), 0) => Ok(HeaderRule { pattern, action }),
        (last, _) => {
            let found = if last.is_some() { "several" } else { "none" };
            Err(place.expected("one of replace, remove, prepend, reject, keep beside match", found))
        }
    }
}

fn field_text(entry: &Entry<Text>, groups: usize) -> Result<FieldText, Fault> {
    FieldText::parse(&entry.value.0, groups).map_err(|error| {
        entry.place.expected(
            "a header field such as \"Reply-To: ops@example.com\", with $1 for what a group matched",
            error,
        )
    })
}
