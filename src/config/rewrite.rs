//! `[rewrite]`: its keys, what their values may be, and what they mean together.
//!
//! Promises: with the rules of a configuration, rewriting any address ends; an entry that would make it circle is an
//! error at the line of that entry.
//! Not here: the types of single values (`rewrite/setting.rs`), what the rules do (`message/rewrite/`).

mod setting;

use std::collections::BTreeMap;

use super::error::{ConfigFault, KeyLocation};
use super::setting::{HostName, Setting};
use super::table::{Key, Keys, Located, LocatedList, Map, TablePart, TomlTable, table};
use crate::envelope::Address;
use crate::message::long_lines::LongLines;
use crate::message::rewrite::{
    Circle, Class, FieldText, HeaderAction, HeaderRule, MAX_RULES_KIB, MasqueradeDomain, Pattern, RejectText,
    Replacement, RewriteSettings, Rules, Selector, Template,
};
use setting::{AliasTarget, LocalUserName, NullSenderAddress, OneRecipient, UnparsedField, Yes};

/// The most header rules. Every header field is compared with each rule until one matches.
const MAX_HEADER_RULES: usize = 100;

table! {
    /// The keys of `[rewrite]`.
    RewriteTable {
        origin: Key<HostName>,
        masquerade: Keys<MasqueradeDomain>,
        masquerade_except: Keys<LocalUserName>,
        masquerade_classes: Keys<Class>,
        sender: Key<Template>,
        null_sender: Key<NullSenderAddress>,
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
type Mapped = (Located<Selector>, Replacement);

/// An entry of `aliases`.
type Alias = (Located<LocalUserName>, Vec<Address>);

impl RewriteTable {
    /// Returns the rules, for the host `hostname` with the domain `origin` for bare addresses.
    pub(super) fn rules(&self, origin: &str, hostname: &str) -> Result<Rules, ConfigFault> {
        let default = RewriteSettings::new(origin, hostname);
        let on = |key: &Key<bool>| key.as_ref().is_some_and(|entry| entry.value);
        let settings = RewriteSettings {
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
            long_lines: self.long_lines(),
            header: self.header.clone(),
            ..default
        };
        Rules::new(settings).map_err(|circle| self.circle_fault(&circle))
    }

    /// Returns the treatment of lines that are too long.
    pub(super) fn long_lines(&self) -> LongLines {
        self.long_lines.as_ref().map_or(LongLines::Fold, |entry| entry.value)
    }

    /// Returns the targets of `aliases` that are written without a domain, each with its user. An alias of a user to
    /// itself is left out.
    pub(super) fn bare_targets(&self) -> impl Iterator<Item = (&str, &Address)> {
        self.aliases.iter().flat_map(|(user, targets)| {
            let user = user.value.0.as_str();
            let is_bare = move |target: &&Address| target.domain().is_none() && target.local_part() != user;
            targets.iter().filter(is_bare).map(move |target| (user, target))
        })
    }

    fn circle_fault(&self, circle: &Circle) -> ConfigFault {
        let location = match circle {
            Circle::Senders(selector) => location_of(&self.senders, selector),
            Circle::Recipients(selector) => location_of(&self.recipients, selector),
            Circle::Aliases(user) => self
                .aliases
                .iter()
                .map(|(entry, _)| entry)
                .find(|entry| entry.value.0 == *user)
                .map(|e| &e.location),
        };
        // The rules were made of these entries.
        let location = location.cloned().unwrap_or_else(|| KeyLocation::of_missing("rewrite"));
        location.expected("an address that comes to rest", "one that leads back to itself, or on and on")
    }
}

fn values<T: Clone>(keys: &Keys<T>) -> Option<Vec<T>> {
    keys.as_ref().map(LocatedList::values)
}

fn names<T>(values: Option<Vec<T>>, name: impl Fn(T) -> String) -> Vec<String> {
    values.unwrap_or_default().into_iter().map(name).collect()
}

fn table_of(entries: &[Mapped]) -> BTreeMap<Selector, Replacement> {
    entries.iter().map(|(selector, to)| (selector.value.clone(), to.clone())).collect()
}

fn location_of<'r>(entries: &'r [Mapped], selector: &Selector) -> Option<&'r KeyLocation> {
    entries.iter().map(|(entry, _)| entry).find(|entry| entry.value == *selector).map(|entry| &entry.location)
}

impl TablePart for Vec<Mapped> {
    fn take(table: &mut TomlTable<'_>, key: &'static str) -> Result<Self, ConfigFault> {
        table.take_map(key).and_then(mapped)
    }
}

impl TablePart for Vec<Alias> {
    fn take(table: &mut TomlTable<'_>, key: &'static str) -> Result<Self, ConfigFault> {
        table.take_map(key).and_then(aliases)
    }
}

impl TablePart for Vec<HeaderRule> {
    fn take(table: &mut TomlTable<'_>, key: &'static str) -> Result<Self, ConfigFault> {
        table.tables(key).and_then(header_rules)
    }
}

fn mapped(entries: Map<Selector, Replacement>) -> Result<Vec<Mapped>, ConfigFault> {
    let mut mapped: Vec<Mapped> = Vec::new();
    for (selector, to) in entries {
        let [only] = &to.entries[..] else {
            return Err(to.location.expected(Replacement::expected(), "several (only aliases have them)"));
        };
        refuse_second(&selector, mapped.iter().map(|(entry, _)| entry))?;
        mapped.push((selector, only.value.clone()));
    }
    Ok(mapped)
}

fn aliases(entries: Map<LocalUserName, AliasTarget>) -> Result<Vec<Alias>, ConfigFault> {
    let mut aliases: Vec<Alias> = Vec::new();
    for (user, to) in entries {
        refuse_second(&user, aliases.iter().map(|(entry, _)| entry))?;
        let targets = to.entries.into_iter().map(|entry| entry.value.0).collect();
        aliases.push((user, targets));
    }
    Ok(aliases)
}

/// Returns an error if `entry` occurs a second time. TOML itself does not notice, since it distinguishes `Root` from
/// `root`.
fn refuse_second<'e, T: PartialEq + 'e>(
    entry: &Located<T>,
    mut others: impl Iterator<Item = &'e Located<T>>,
) -> Result<(), ConfigFault> {
    match others.find(|other| other.value == entry.value) {
        Some(other) => {
            let found =
                format!("`{}` as well (case and needless quotes are no difference)", other.location.key);
            Err(entry.location.expected("each address once", found))
        }
        None => Ok(()),
    }
}

fn header_rules(tables: Vec<(KeyLocation, TomlTable<'_>)>) -> Result<Vec<HeaderRule>, ConfigFault> {
    if let Some((location, _)) = tables.get(MAX_HEADER_RULES) {
        return Err(location.expected(format!("at most {MAX_HEADER_RULES} rules"), "more"));
    }
    let (mut rules, mut kib) = (Vec::new(), 0);
    for (location, table) in tables {
        let rule = header_rule(&location, table)?;
        kib += rule.pattern.kib();
        if kib > MAX_RULES_KIB {
            let expected = format!("rules of at most {MAX_RULES_KIB} KiB together, when compiled");
            return Err(location.expected(expected, format!("{kib} KiB up to here")));
        }
        rules.push(rule);
    }
    Ok(rules)
}

/// Reads one table of `[[rewrite.header]]`.
fn header_rule(location: &KeyLocation, mut table: TomlTable<'_>) -> Result<HeaderRule, ConfigFault> {
    let pattern: Key<Pattern> = table.take("match")?;
    let replace: Key<UnparsedField> = table.take("replace")?;
    let remove: Key<Yes> = table.take("remove")?;
    let prepend: Key<UnparsedField> = table.take("prepend")?;
    let reject: Key<RejectText> = table.take("reject")?;
    let keep: Key<Yes> = table.take("keep")?;
    table.done()?;
    let missing = |key: &str| KeyLocation { line: location.line, key: format!("{}.{key}", location.key) };
    let pattern = pattern.ok_or_else(|| missing("match").expected(Pattern::expected(), "none"))?.value;
    let groups = pattern.groups();
    let actions = [
        replace.map(|text| field_text(&text, groups).map(HeaderAction::Replace)),
        remove.map(|_| Ok(HeaderAction::Remove)),
        prepend.map(|text| field_text(&text, groups).map(HeaderAction::Prepend)),
        reject.map(|entry| Ok(HeaderAction::Reject(entry.value))),
        keep.map(|_| Ok(HeaderAction::Keep)),
    ];
    let mut actions: Vec<_> = actions.into_iter().flatten().collect::<Result<_, _>>()?;
    match (actions.pop(), actions.len()) {
        (Some(action), 0) => Ok(HeaderRule { pattern, action }),
        (last, _) => {
            let found = if last.is_some() { "several" } else { "none" };
            Err(location.expected("one of replace, remove, prepend, reject, keep beside match", found))
        }
    }
}

fn field_text(entry: &Located<UnparsedField>, groups: usize) -> Result<FieldText, ConfigFault> {
    FieldText::parse(&entry.value.0, groups).map_err(|error| {
        entry.location.expected(
            "a header field such as \"Reply-To: ops@example.com\", with $1 for what a group matched",
            error,
        )
    })
}
