//! Addresses: `myorigin`, masquerading, canonical, generic and virtual tables.
//!
//! Promises: an address becomes the same as after the chain of tables in Postfix. Postfix uses canonical tables when it
//! accepts a message and generic ones when it delivers it. nullmta has one table for senders and one for recipients, so
//! the result of each table is looked up in the later ones here.

use super::super::draft::{Cited, ConfigDraft, DraftKey, DraftValue};
use super::super::lines::items;
use super::super::location::{ImportError, SourceLocation};
use super::super::maps::MapEntry;
use super::PostfixSource;
use super::stage::{MergedTables, NULL};
use crate::envelope::Address;

/// The results of reading Postfix's rewriting that the importers of other settings need.
pub(super) struct Rewriting {
    /// The domain that completes bare names.
    pub(super) origin: String,
    /// The sender of all mail of this host, if there is only one.
    pub(super) fixed_sender: Option<String>,
    /// Entries of `virtual_alias_maps` for users without a domain.
    pub(super) virtual_users: Vec<MapEntry>,
    /// What Postfix changes only when it delivers, behind the choice of the relay.
    pub(super) generic: MergedTables,
}

/// The tables for senders, or those for recipients, merged into one.
#[derive(Default)]
struct CanonicalMapping {
    entries: Vec<MapEntry>,
    /// The entry for every address that has no entry of its own.
    fixed: Option<MapEntry>,
    /// The keys of tables whose results Postfix looks up again in the same table.
    asked_again: Vec<String>,
    from: Vec<Cited>,
}

/// Adds the rules for addresses to `draft`.
pub(super) fn carry(source: &PostfixSource<'_>, draft: &mut ConfigDraft) -> Result<Rewriting, ImportError> {
    let origin = carry_origin(source, draft)?;
    carry_masquerade(source, draft)?;
    let mut senders = CanonicalMapping::default();
    let mut recipients = CanonicalMapping::default();
    let read = |name, draft: &mut ConfigDraft| MergedTables::read(source, name, draft);
    let both = Sides { senders: true, recipients: true };
    for (maps, classes, default) in [
        ("sender_canonical_maps", "sender_canonical_classes", Sides { recipients: false, ..both }),
        ("recipient_canonical_maps", "recipient_canonical_classes", Sides { senders: false, ..both }),
        ("canonical_maps", "canonical_classes", both),
    ] {
        let stage = read(maps, draft)?;
        let sides = Sides::of(source, classes, draft)?.unwrap_or(default);
        if !sides.senders && !sides.recipients {
            draft.not_carried(stage.from.clone(), &format!("{classes} names no side that can be changed"));
        }
        if sides.senders {
            senders.then(stage.clone());
        }
        if sides.recipients {
            recipients.then(stage);
        }
    }
    let (virtual_addresses, virtual_users) = virtual_aliases(source, draft)?;
    recipients.asked_again = virtual_addresses.entries.iter().map(|entry| entry.key.clone()).collect();
    recipients.then(virtual_addresses);
    let both = read("smtp_generic_maps", draft)?;
    let generic = both.clone();
    senders.then(both.clone());
    recipients.then(both);
    let fixed_sender = senders.fixed.as_ref().map(|entry| completed(&entry.value, &origin));
    senders.carry("rewrite.sender", "rewrite.senders", &origin, draft);
    recipients.carry("rewrite.recipient", "rewrite.recipients", &origin, draft);
    Ok(Rewriting { origin, fixed_sender, virtual_users, generic })
}

/// Returns `address` with the domain `origin` if it has none.
pub(super) fn completed(address: &str, origin: &str) -> String {
    if address.contains('@') { address.into() } else { format!("{address}@{origin}") }
}

/// Adds `myorigin`, and `myhostname` too, which is the default of the origin. Returns the origin.
fn carry_origin(source: &PostfixSource<'_>, draft: &mut ConfigDraft) -> Result<String, ImportError> {
    let mut hostname = source.options.hostname.to_owned();
    if let Some(set) = source.set_value("myhostname")? {
        draft.set(DraftKey::new("listen.hostname", set.as_str(), source.parameters.cited(&["myhostname"])));
        hostname = set;
    }
    let cited = source.parameters.cited(&["myorigin"]);
    let written = source.value("myorigin")?;
    // Debian's Postfix takes a path for the file that has the name on its first line.
    let origin = match written.starts_with('/') {
        false => written,
        true => match source.files.text(&written)? {
            Some(text) => text.lines().next().unwrap_or_default().trim().to_owned(),
            None => {
                draft.not_carried(cited, &format!("{written} is not there"));
                return Ok(hostname);
            }
        },
    };
    match origin == hostname {
        true => draft.already_so(cited, "bare addresses are completed with listen.hostname"),
        // Without the setting it is the hostname that Postfix would make of this host's bare name.
        false if cited.is_empty() => return Ok(hostname),
        false => draft.set(DraftKey::new("rewrite.origin", origin.as_str(), cited)),
    }
    Ok(origin)
}

fn carry_masquerade(source: &PostfixSource<'_>, draft: &mut ConfigDraft) -> Result<(), ImportError> {
    let domains = source.value("masquerade_domains")?;
    let except = source.value("masquerade_exceptions")?;
    let classes = source.value("masquerade_classes")?;
    let cited = |name| source.parameters.cited(&[name]);
    let texts = |value: &str| DraftValue::Texts(items(value).into_iter().map(String::from).collect());
    if domains.is_empty() {
        let names = ["masquerade_domains", "masquerade_exceptions", "masquerade_classes"];
        draft.already_so(source.parameters.cited(&names), "nothing is masqueraded");
        return Ok(());
    }
    draft.set(DraftKey::new("rewrite.masquerade", texts(&domains), cited("masquerade_domains")));
    match except.is_empty() {
        true => draft.already_so(cited("masquerade_exceptions"), "no exceptions"),
        false => draft.set(DraftKey::new(
            "rewrite.masquerade-except",
            texts(&except),
            cited("masquerade_exceptions"),
        )),
    }
    let mut named: Vec<&str> = items(&classes);
    named.sort_unstable();
    match named.as_slice() {
        ["envelope_sender", "header_recipient", "header_sender"] => {
            draft.already_so(cited("masquerade_classes"), "the default");
        }
        _ => {
            let classes = texts(&classes.replace('_', "-"));
            draft.set(DraftKey::new("rewrite.masquerade-classes", classes, cited("masquerade_classes")));
        }
    }
    Ok(())
}

/// The addresses that a canonical table changes: those of senders, of recipients, or both.
#[derive(Clone, Copy)]
struct Sides {
    senders: bool,
    recipients: bool,
}

impl Sides {
    /// Returns the sides that the parameter `name` lists; `None` if it is not set. nullmta always changes envelope and
    /// header together. If the parameter lists only one of the two, recipients of the envelope are still changed, and
    /// with them those of the header; senders are not: mail, bounces or answers would go to somebody else.
    fn of(
        source: &PostfixSource<'_>,
        name: &str,
        draft: &mut ConfigDraft,
    ) -> Result<Option<Sides>, ImportError> {
        let Some(value) = source.set_value(name)? else { return Ok(None) };
        let listed = items(&value);
        let has = |class: &str| listed.contains(&class);
        let (senders, recipients) = (has("envelope_sender"), has("envelope_recipient"));
        let mut lost = Vec::new();
        if senders != has("header_sender") {
            lost.push("senders are changed in both or not at all, and are left alone");
        }
        if recipients != has("header_recipient") {
            lost.push(match recipients {
                true => "recipients are changed in the header (To, Cc), too",
                false => "To and Cc are left alone: the mail itself would go to somebody else",
            });
        }
        let cited = source.parameters.cited(&[name]);
        let together = "envelope and header are changed together";
        match lost.is_empty() {
            true => draft.already_so(cited, together),
            false => draft.not_carried(cited, &format!("{together}: {}", lost.join("; "))),
        }
        Ok(Some(Sides { senders: senders && has("header_sender"), recipients }))
    }
}

/// Splits `virtual_alias_maps` into the entries for addresses, and those for users without a domain, which are aliases.
fn virtual_aliases(
    source: &PostfixSource<'_>,
    draft: &mut ConfigDraft,
) -> Result<(MergedTables, Vec<MapEntry>), ImportError> {
    let old = source.parameters.get("virtual_maps").is_some();
    let mut stage =
        MergedTables::read(source, if old { "virtual_maps" } else { "virtual_alias_maps" }, draft)?;
    let keys: Vec<String> = stage.entries.iter().map(|entry| entry.key.clone()).collect();
    let (mut users, mut addresses) = (Vec::new(), Vec::new());
    for entry in std::mem::take(&mut stage.entries) {
        let declares_a_domain = keys.iter().any(|key| key.ends_with(&format!("@{}", entry.key)));
        if !entry.key.contains('@') && !declares_a_domain {
            users.push(entry);
        } else if entry.key.contains('@') {
            addresses.push(entry);
        }
    }
    stage.entries = addresses;
    Ok((stage, users))
}

impl CanonicalMapping {
    /// Appends `stage` to the chain: the result of each present entry is looked up in it.
    fn then(&mut self, stage: MergedTables) {
        for entry in self.entries.iter_mut().chain(&mut self.fixed) {
            if let Some(later) = stage.lookup(&entry.value) {
                entry.value = later.to_owned();
            }
        }
        let is_new = |entry: &MapEntry| self.entries.iter().all(|own| own.key != entry.key);
        let new: Vec<MapEntry> = stage.entries.into_iter().filter(is_new).collect();
        self.entries.extend(new);
        self.fixed = self.fixed.take().or(stage.fixed);
        self.from.extend(stage.from);
    }

    fn carry(
        mut self,
        fixed_key: &'static str,
        table_key: &'static str,
        origin: &str,
        draft: &mut ConfigDraft,
    ) {
        let obstacles: Vec<_> = self.entries.iter().map(|entry| self.obstacle(entry, origin)).collect();
        let mut entries = Vec::new();
        let whole = std::mem::take(&mut self.entries);
        for (entry, obstacle) in whole.iter().zip(obstacles) {
            let carry = |value: &str| (entry.key.clone(), vec![value.to_owned()], entry.location.clone());
            let Some(why) = obstacle else {
                entries.push(carry(&entry.value));
                continue;
            };
            let cited =
                Cited { shown: Some(entry.value.clone()), ..Cited::entry(&entry.location, &entry.key) };
            let domain = entry.key.find('@').filter(|at| *at > 0).map(|at| &entry.key[at..]);
            let has_other = self.fixed.is_some() || whole.iter().any(|other| Some(&*other.key) == domain);
            // What is for the rest of them would send their mail to somebody else.
            if has_other && !entry.key.starts_with('@') && is_address(&entry.key) {
                entries.push(carry(&entry.key));
                draft.not_carried(vec![cited], &format!("{why}; the address stays as it is"));
            } else {
                draft.not_carried(vec![cited], &why);
            }
        }
        if let Some(entry) = self.fixed {
            // `%u` and the like are variables in `sender` alone.
            let escaped = if fixed_key == "rewrite.sender" { "%%" } else { "%" };
            let address = entry.value.replace('%', escaped);
            draft.set(DraftKey::new(fixed_key, address, cited_at(&self.from, &entry.location)));
        }
        if !entries.is_empty() {
            draft.set(DraftKey::new(table_key, DraftValue::Map(entries), self.from));
        }
    }

    /// Returns the reason why `entry` cannot be carried as it is.
    fn obstacle(&self, entry: &MapEntry, origin: &str) -> Option<String> {
        if let Some(why) = refusal(entry) {
            return Some(why.into());
        }
        let again = self.entry_for(&entry.value, origin).filter(|again| again.key != entry.key)?;
        let is_asked_again = [entry, again].iter().all(|entry| self.asked_again.contains(&entry.key));
        let leads_on = completed(&again.value, origin) != completed(&entry.value, origin);
        let why = || {
            format!("Postfix does not look up again what it gives; here {} would change it", again.location)
        };
        (leads_on && !is_asked_again).then(why)
    }

    /// Returns the entry that nullmta finds for the address `value` or its domain.
    fn entry_for(&self, value: &str, origin: &str) -> Option<&MapEntry> {
        let value = completed(value, origin).to_lowercase();
        let keyed =
            |key: &str| self.entries.iter().find(|entry| completed(&entry.key, origin).to_lowercase() == key);
        keyed(&value).or_else(|| keyed(&value[value.find('@')?..]))
    }
}

/// Returns the parameter that named the table of `location`, or that is there itself.
fn cited_at(from: &[Cited], location: &SourceLocation) -> Vec<Cited> {
    let own = from.iter().find(|cited| cited.location == *location);
    own.map_or_else(|| from.to_vec(), |cited| vec![cited.clone()])
}

/// Returns whether `text` is an address, a user or `@domain`.
fn is_address(text: &str) -> bool {
    let text = if text.starts_with('@') { format!("x{text}") } else { text.to_owned() };
    Address::parse(&text).is_ok()
}

fn refusal(entry: &MapEntry) -> Option<&'static str> {
    match (is_address(&entry.key), is_address(&entry.value)) {
        (true, false) if items(&entry.value).len() > 1 => {
            Some("only a user without a domain can have several targets (rewrite.aliases)")
        }
        (true, true) => None,
        (true, false) if entry.value == NULL => Some(
            "an address becomes another one, and never the null address: bounces of its mail would be lost",
        ),
        (false, _) => Some("the key is no address, no user and no @domain"),
        (_, false) => Some("the value is no address"),
    }
}
