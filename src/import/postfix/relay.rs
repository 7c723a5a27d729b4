//! `relayhost`, the parameters that overrule it, and the fallback relays.
//!
//! Fails: no relay at all is an error, since nullmta never looks up an MX.

use super::super::draft::{Cited, ConfigDraft, DraftKey};
use super::super::lines::items;
use super::super::location::{ImportError, SourceLocation};
use super::super::nexthop::{Nexthop, NexthopLookup, port};
use super::PostfixSource;
use super::route_tables::RouteTables;

const NO_RELAY: &str = "no relayhost: Postfix finds the MX of every recipient itself, \
                        nullmta hands all mail to one relay (relayhost = [host]:port)";

/// The relays for all mail, in the order in which they are tried, and the settings that name them.
pub(super) struct RelayList {
    /// The relays, in the order in which they are tried; there is at least one.
    pub(super) nexthops: Vec<Nexthop>,
    from: Vec<Cited>,
}

/// Returns the relays for all mail that no route takes, or an error if nothing names one.
pub(super) fn read(
    source: &PostfixSource<'_>,
    tables: &RouteTables,
    draft: &mut ConfigDraft,
) -> Result<RelayList, ImportError> {
    let (text, mut from) = nexthop_text(source, tables, draft)?;
    let location = from
        .first()
        .map_or_else(|| SourceLocation::file(&source.files.own("main.cf")), |cited| cited.location.clone());
    let mut relays = nexthops(source, &text, &location)?;
    relays.extend(fallbacks(source, &location)?);
    from.extend(source.parameters.cited(&[fallback_parameter(source)]));
    if fallback_parameter(source) == FALLBACKS[0] {
        draft.already_so(source.parameters.cited(&FALLBACKS[1..]), "smtp_fallback_relay overrules it");
    }
    from.extend(source.parameters.cited(&["use_srv_lookup"]));
    draft.already_so(source.parameters.cited(&["smtp_tcp_port"]), "the port stands in relayhost");
    Ok(RelayList { nexthops: relays, from })
}

/// The parameter that names the relays for when the others fail, and its old name.
pub(super) const FALLBACKS: [&str; 2] = ["smtp_fallback_relay", "fallback_relay"];

/// Returns the one of both that counts. The old name is no more than the default of the new one.
fn fallback_parameter(source: &PostfixSource<'_>) -> &'static str {
    let is_set = |name| source.parameters.get(name).is_some();
    let [new, old] = FALLBACKS;
    if is_set(old) && !is_set(new) { old } else { new }
}

/// Returns the relays that are tried when those of a line fail.
pub(super) fn fallbacks(
    source: &PostfixSource<'_>,
    location: &SourceLocation,
) -> Result<Vec<Nexthop>, ImportError> {
    nexthops(source, &source.value(fallback_parameter(source))?, location)
}

/// Returns the relays in the list `text`, which stands at `location`.
pub(super) fn nexthops(
    source: &PostfixSource<'_>,
    text: &str,
    location: &SourceLocation,
) -> Result<Vec<Nexthop>, ImportError> {
    let default_port = port(&source.value("smtp_tcp_port")?).unwrap_or(25);
    let services = source.value("use_srv_lookup")?;
    let nexthop = |item| {
        let parsed = Nexthop::parse(item, default_port);
        let found = parsed.ok_or_else(|| location.error("expected a relay as `[host]:port`"))?;
        Ok(found.by_srv(&items(&services)))
    };
    items(text).into_iter().map(nexthop).collect()
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
    tables: &RouteTables,
    draft: &mut ConfigDraft,
) -> Result<(String, Vec<Cited>), ImportError> {
    let relayhost = source.value("relayhost")?;
    let found = match tables.of_everyone(&source.value("default_transport")?) {
        Some((nexthop, Some(cited))) => (nexthop.clone(), vec![Cited { shown: Some(nexthop), ..cited }]),
        Some((nexthop, None)) => (nexthop, source.parameters.cited(&["default_transport"])),
        None => (relayhost.clone(), source.parameters.cited(&["relayhost"])),
    };
    if found.0.is_empty() {
        let location = source.parameters.get("relayhost").map(|parameter| parameter.location.clone());
        return Err(location
            .unwrap_or_else(|| SourceLocation::file(&source.files.own("main.cf")))
            .error(NO_RELAY));
    }
    if found.0 != relayhost && !relayhost.is_empty() {
        draft.already_so(source.parameters.cited(&["relayhost"]), "overruled: no mail goes there");
    }
    Ok(found)
}
