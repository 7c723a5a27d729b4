//! `relayhost`, the parameters that overrule it, and the fallback relays.
//!
//! Fails: no relay at all is an error, since nullmta never looks up an MX.

use super::super::draft::{Cited, ConfigDraft, DraftKey};
use super::super::lines::items;
use super::super::location::{ImportError, SourceLocation};
use super::super::maps::{LookupTable, MapEntry, Shape};
use super::super::nexthop::{Nexthop, NexthopLookup, port};
use super::PostfixSource;

const NO_RELAY: &str = "no relayhost: Postfix finds the MX of every recipient itself, \
                        nullmta hands all mail to one relay (relayhost = [host]:port)";

/// The relays for all mail, in the order in which they are tried, and the settings that name them.
pub(super) struct RelayList {
    /// The relays, in the order in which they are tried; there is at least one.
    pub(super) nexthops: Vec<Nexthop>,
    from: Vec<Cited>,
}

/// Returns the relays for all mail, or an error if `main.cf` names none.
pub(super) fn read(source: &PostfixSource<'_>, draft: &mut ConfigDraft) -> Result<RelayList, ImportError> {
    let default_port = port(&source.value("smtp_tcp_port")?).unwrap_or(25);
    let (text, mut from) = nexthop_text(source, draft)?;
    // The old name is no more than the default of the new one.
    let is_set = |name| source.parameters.get(name).is_some();
    let (new, old) = ("smtp_fallback_relay", "fallback_relay");
    let fallback = if is_set(old) && !is_set(new) { old } else { new };
    if fallback == new {
        draft.already_so(source.parameters.cited(&[old]), "smtp_fallback_relay overrules it");
    }
    let fallbacks = source.value(fallback)?;
    let location = from
        .first()
        .map_or_else(|| SourceLocation::file(&source.files.own("main.cf")), |cited| cited.location.clone());
    from.extend(source.parameters.cited(&[fallback]));
    from.extend(source.parameters.cited(&["use_srv_lookup"]));
    let services = source.value("use_srv_lookup")?;
    let nexthop = |item| {
        let parsed = Nexthop::parse(item, default_port);
        let found = parsed.ok_or_else(|| location.error("expected a relay as `[host]:port`"))?;
        Ok(found.by_srv(&items(&services)))
    };
    let nexthops =
        items(&text).into_iter().chain(items(&fallbacks)).map(nexthop).collect::<Result<Vec<_>, _>>()?;
    draft.already_so(source.parameters.cited(&["smtp_tcp_port"]), "the port stands in relayhost");
    Ok(RelayList { nexthops, from })
}

impl RelayList {
    /// Adds the relays that use the same TLS mode and login as the first one, since nullmta has only one of each. A
    /// secret must not be offered to a relay that it was not meant for. Returns the relays that were added.
    pub(super) fn carry(
        mut self,
        is_like_first: impl Fn(&Nexthop) -> bool,
        draft: &mut ConfigDraft,
    ) -> Vec<Nexthop> {
        let implicit = self.nexthops.first().is_some_and(|first| first.port == 465);
        let (kept, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.nexthops)
            .into_iter()
            .partition(|nexthop| (nexthop.port == 465) == implicit && is_like_first(nexthop));
        for other in others {
            draft.warn(&format!(
                "{} is left out of relayhost: all relays there have the TLS mode, the user and the secret of \
                 the first.",
                other.text
            ));
        }
        let written: Vec<String> = kept.iter().map(Nexthop::written).collect();
        let mut key = DraftKey::new("relayhost", written, self.from);
        for Nexthop { host, .. } in
            kept.iter().filter(|nexthop| nexthop.lookup == NexthopLookup::Mx && !nexthop.is_loopback())
        {
            key = key.advised(format!(
                "Without brackets Postfix asks for the MX of {host} first; nullmta connects to {host} itself."
            ));
        }
        draft.set(key);
        kept
    }
}

/// Returns the text that names the relays, and the setting it comes from: the one of several that takes precedence.
fn nexthop_text(
    source: &PostfixSource<'_>,
    draft: &mut ConfigDraft,
) -> Result<(String, Vec<Cited>), ImportError> {
    let relayhost = source.value("relayhost")?;
    let default_transport = source.value("default_transport")?;
    let found = match (everyones_transport(source, draft)?, nexthop_of(&default_transport)) {
        (Some((nexthop, location)), _) => {
            let cited = Cited { shown: Some(nexthop.clone()), ..Cited::entry(&location, "*") };
            (nexthop, vec![cited])
        }
        (None, Some(nexthop)) => (nexthop.into(), source.parameters.cited(&["default_transport"])),
        (None, None) => (relayhost.clone(), source.parameters.cited(&["relayhost"])),
    };
    if found.0.is_empty() {
        let location = source.parameters.get("relayhost").map(|parameter| parameter.location.clone());
        return Err(location
            .unwrap_or_else(|| SourceLocation::file(&source.files.own("main.cf")))
            .error(NO_RELAY));
    }
    if found.0 != relayhost && !relayhost.is_empty() {
        draft.not_carried(source.parameters.cited(&["relayhost"]), "overruled: no mail goes there");
    }
    Ok(found)
}

/// Returns the nexthop in `transport:nexthop`, if the transport leads to a relay.
pub(super) fn nexthop_of(transport: &str) -> Option<&str> {
    let (name, nexthop) = transport.split_once(':')?;
    let reaches_a_relay = !["error", "retry", "discard", "local", "virtual", "lmtp", "pipe"].contains(&name);
    (reaches_a_relay && !nexthop.is_empty()).then_some(nexthop)
}

/// Returns the relay that `transport_maps` has for every recipient. Its other entries are listed as not carried.
fn everyones_transport(
    source: &PostfixSource<'_>,
    draft: &mut ConfigDraft,
) -> Result<Option<(String, SourceLocation)>, ImportError> {
    const PER_RECIPIENT: &str = "all mail goes to relayhost, whoever it is for";
    let mut found = None;
    for table in source.tables("transport_maps", Shape::Postmap, "", draft)? {
        let entries = match table {
            LookupTable::Pairs(entries) => entries,
            LookupTable::Static(entry) => vec![MapEntry { key: "*".into(), ..entry }],
            LookupTable::Patterns(_) | LookupTable::Unread(_) => {
                draft.not_carried(source.parameters.cited(&["transport_maps"]), PER_RECIPIENT);
                continue;
            }
        };
        for entry in entries {
            match nexthop_of(&entry.value) {
                Some(nexthop) if entry.key == "*" && found.is_none() => {
                    found = Some((nexthop.to_owned(), entry.location));
                }
                _ => {
                    let cited =
                        Cited { shown: Some(entry.value), ..Cited::entry(&entry.location, &entry.key) };
                    draft.not_carried(vec![cited], PER_RECIPIENT);
                }
            }
        }
    }
    if !draft.accounts_for("transport_maps") {
        draft.already_so(source.parameters.cited(&["transport_maps"]), "read; see relayhost");
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_transports_that_reach_a_relay_have_a_nexthop() {
        for (transport, nexthop) in [
            ("smtp:[a]:25", Some("[a]:25")),
            ("relay:a", Some("a")),
            (":[a]", Some("[a]")),
            ("smtp", None),
            ("smtp:", None),
            ("error:no mail", None),
            ("discard:", None),
        ] {
            assert_eq!(nexthop_of(transport), nexthop, "{transport}");
        }
    }
}
