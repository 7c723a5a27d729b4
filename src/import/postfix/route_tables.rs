//! The tables by which Postfix chooses a relay: `transport_maps` by the recipient, `sender_dependent_default_transport_maps`
//! and `sender_dependent_relayhost_maps` by the sender.
//!
//! Promises: an address has the way that Postfix finds for it. `transport_maps` comes first, then the transport of the
//! sender, then `default_transport`, then the relayhost of the sender, then `relayhost`. A line that can have no effect, and
//! one that cannot be followed, is listed with the reason.
//!
//! Not here: the routes that are made of it (`routes.rs`), merging the tables of one parameter (`stage.rs`).

use super::super::draft::{Cited, ConfigDraft};
use super::super::lines::items;
use super::super::location::ImportError;
use super::super::maps::{LookupTable, MapEntry, Shape};
use super::PostfixSource;
use super::stage::{MergedTables, NULL};
use super::ways::{MailWay, Transports, of_relayhost};

const BY_RECIPIENT: &str = "transport_maps";
const RELAYHOSTS: &str = "sender_dependent_relayhost_maps";
const TRANSPORTS: &str = "sender_dependent_default_transport_maps";
const PARENTS: &str = "parent_domain_matches_subdomains";

/// The tables by which a relay is chosen.
pub(super) struct RouteTables {
    pub(super) transports: Transports,
    /// The lines of `transport_maps`, whose keys are addresses, `@domain`, and `@.domain` for all domains below.
    pub(super) recipients: Vec<MapEntry>,
    /// The line of `transport_maps` for all other recipients.
    everyone: Option<MapEntry>,
    by_transport: SenderTable,
    by_relayhost: SenderTable,
}

/// A table with senders as keys: addresses, `@domain`, and `<>`.
#[derive(Default)]
struct SenderTable {
    merged: MergedTables,
    null: Option<MapEntry>,
}

/// The way of the mail of a sender, and the line that says so.
pub(super) type WayOfSender<'t> = (MailWay, Option<&'t MapEntry>);

impl RouteTables {
    /// Reads the tables; `origin` is the domain of users without one.
    pub(super) fn read(
        source: &PostfixSource<'_>,
        origin: &str,
        draft: &mut ConfigDraft,
    ) -> Result<RouteTables, ImportError> {
        let transports = Transports::read(source.files)?;
        let (recipients, everyone) = read_recipients(source, draft)?;
        let mut read_senders = |name| read_senders(source, name, origin, draft);
        let (by_transport, by_relayhost) = (read_senders(TRANSPORTS)?, read_senders(RELAYHOSTS)?);
        let mut tables = RouteTables { transports, recipients, everyone, by_transport, by_relayhost };
        tables.drop_what_is_never_asked(source, draft)?;
        for name in [BY_RECIPIENT, TRANSPORTS, RELAYHOSTS, PARENTS] {
            if !draft.accounts_for(name) {
                draft.already_so(source.parameters.cited(&[name]), "read; see relayhost and the routes");
            }
        }
        Ok(tables)
    }

    /// Returns the relays for all mail that no line names a way for, if it is a table that names them.
    pub(super) fn of_everyone(&self, default_transport: &str) -> Option<(String, Option<Cited>)> {
        let relay = |way: MailWay, entry: Option<&MapEntry>| match way {
            MailWay::Relay(text) => Some((text, entry.map(cite))),
            _ => None,
        };
        let everyone = self.everyone.as_ref();
        let by_transport = self.by_transport.merged.fixed.as_ref();
        let by_relayhost = self.by_relayhost.merged.fixed.as_ref();
        everyone
            .and_then(|entry| relay(self.transports.of_recipient(&entry.value), Some(entry)))
            .or_else(|| {
                by_transport.and_then(|entry| relay(self.transports.of_sender(&entry.value), Some(entry)))
            })
            .or_else(|| relay(self.transports.of_sender(default_transport), None))
            .or_else(|| by_relayhost.and_then(|entry| relay(of_relayhost(&entry.value), Some(entry))))
    }

    /// Returns all senders with a line.
    pub(super) fn senders(&self) -> Vec<&str> {
        let tables = [&self.by_transport, &self.by_relayhost];
        let entries = tables.iter().flat_map(|table| table.merged.entries.iter().chain(&table.null));
        let mut senders: Vec<&str> = Vec::new();
        for entry in entries {
            if !senders.contains(&entry.key.as_str()) {
                senders.push(&entry.key);
            }
        }
        senders
    }

    /// Returns the way of the mail of `sender`, which may be an `@domain` or `<>`.
    pub(super) fn of_sender(&self, sender: &str) -> WayOfSender<'_> {
        let by_transport = self.by_transport.entry(sender);
        match by_transport.map(|entry| self.transports.of_sender(&entry.value)) {
            None | Some(MailWay::Usual) => {}
            Some(way) => return (way, by_transport),
        }
        let by_relayhost = self.by_relayhost.entry(sender);
        by_relayhost
            .map_or((MailWay::Usual, by_transport), |entry| (of_relayhost(&entry.value), by_relayhost))
    }

    /// Empties the tables of senders that Postfix never asks, since something before them answers for all mail.
    fn drop_what_is_never_asked(
        &mut self,
        source: &PostfixSource<'_>,
        draft: &mut ConfigDraft,
    ) -> Result<(), ImportError> {
        let mut never = |names: &[&str], by: &str| {
            let why = format!("never asked: {by} answers for all mail before");
            draft.already_so(source.parameters.cited(names), &why);
        };
        let everyone = self
            .everyone
            .as_ref()
            .filter(|entry| self.transports.of_recipient(&entry.value) != MailWay::Usual);
        if let Some(entry) = everyone {
            never(&[TRANSPORTS, RELAYHOSTS], &entry.location.to_string());
            (self.by_transport, self.by_relayhost) = Default::default();
        } else if matches!(self.transports.of_sender(&source.value("default_transport")?), MailWay::Relay(_))
        {
            never(&[RELAYHOSTS], "default_transport");
            self.by_relayhost = SenderTable::default();
        }
        Ok(())
    }
}

impl SenderTable {
    fn entry(&self, sender: &str) -> Option<&MapEntry> {
        if sender == NULL { self.null.as_ref() } else { self.merged.entry(sender) }
    }
}

/// Returns a citation of `entry` with its value.
pub(super) fn cite(entry: &MapEntry) -> Cited {
    Cited { shown: Some(entry.value.clone()), ..Cited::entry(&entry.location, &entry.key) }
}

/// Reads the tables of the parameter `name`, in their order; a line that is left out concerns the way of mail.
fn tables(
    source: &PostfixSource<'_>,
    name: &str,
    draft: &mut ConfigDraft,
) -> Result<Vec<LookupTable>, ImportError> {
    let mut own = ConfigDraft::default();
    let tables = source.tables_in_order(name, Shape::Postmap, ROUTE_BY_HAND, &mut own)?;
    draft.absorb_about_ways(own);
    Ok(tables)
}

const ROUTE_BY_HAND: &str = ", and what it has goes where the other lines send it";

type Recipients = (Vec<MapEntry>, Option<MapEntry>);

fn read_recipients(source: &PostfixSource<'_>, draft: &mut ConfigDraft) -> Result<Recipients, ImportError> {
    let with_parents = items(&source.value(PARENTS)?).contains(&BY_RECIPIENT);
    let mut tables = tables(source, BY_RECIPIENT, draft)?;
    let mut everyone = None;
    for table in &mut tables {
        let LookupTable::Pairs(entries) = table else { continue };
        let mut keyed = Vec::new();
        for entry in std::mem::take(entries) {
            if entry.key == "*" {
                // Postfix asks for it when nothing else has answered.
                everyone.get_or_insert(entry);
            } else {
                keyed.extend(recipient_keys(entry, with_parents, draft));
            }
        }
        *entries = keyed;
    }
    let merged = merge(tables, draft);
    let fixed = merged.fixed.map(|entry| MapEntry { key: "*".into(), ..entry });
    Ok((merged.entries, fixed.or(everyone)))
}

/// Returns the entry with each key that it has in nullmta: `@domain` for a domain, `@.domain` for those below it.
fn recipient_keys(entry: MapEntry, with_parents: bool, draft: &mut ConfigDraft) -> Vec<MapEntry> {
    let keys = match entry.key.as_str() {
        key if key.starts_with('@') || key == NULL => {
            draft.already_so(vec![cite(&entry)], "never asked: a domain stands in transport_maps without @");
            Vec::new()
        }
        key if key.starts_with('.') && with_parents => {
            draft.already_so(vec![cite(&entry)], &format!("never asked, as {PARENTS} is set"));
            Vec::new()
        }
        key if key.contains('@') => vec![key.to_owned()],
        key if with_parents => vec![format!("@{key}"), format!("@.{key}")],
        key => vec![format!("@{key}")],
    };
    keys.into_iter().map(|key| MapEntry { key, ..entry.clone() }).collect()
}

fn read_senders(
    source: &PostfixSource<'_>,
    name: &str,
    origin: &str,
    draft: &mut ConfigDraft,
) -> Result<SenderTable, ImportError> {
    let mut tables = tables(source, name, draft)?;
    let mut null = None;
    for table in &mut tables {
        let LookupTable::Pairs(entries) = table else { continue };
        for entry in std::mem::take(entries) {
            match entry.key.as_str() {
                NULL => drop(null.get_or_insert(entry)),
                key if key.contains('@') => entries.push(entry),
                key if key.contains('.') => {
                    draft.already_so(
                        vec![cite(&entry)],
                        "never asked: a domain of senders is written @domain",
                    );
                }
                key => entries.push(MapEntry { key: format!("{key}@{origin}"), ..entry }),
            }
        }
    }
    Ok(SenderTable { merged: merge(tables, draft), null })
}

fn merge(tables: Vec<LookupTable>, draft: &mut ConfigDraft) -> MergedTables {
    let mut own = ConfigDraft::default();
    let merged = MergedTables::of_ways(tables, &mut own);
    draft.absorb_about_ways(own);
    merged
}
