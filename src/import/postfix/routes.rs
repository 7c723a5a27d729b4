//! Relays that depend on the sender: `sender_dependent_relayhost_maps`,
//! `sender_dependent_default_transport_maps`, and passwords that do.
//!
//! Promises: each sender is in one route, with the relay and the user that Postfix would use for it.

use super::super::draft::{ConfigDraft, Route};
use super::super::location::ImportError;
use super::super::maps::{LookupTable, MapEntry, Shape};
use super::super::nexthop::{Nexthop, port};
use super::PostfixSource;
use super::auth::PasswordTables;
use super::relay::nexthop_of;

const RELAYHOSTS: &str = "sender_dependent_relayhost_maps";
const TRANSPORTS: &str = "sender_dependent_default_transport_maps";

/// Adds the routes to `draft`. The mail of all other senders goes to `nexthops`.
pub(super) fn carry(
    source: &PostfixSource<'_>,
    nexthops: &[Nexthop],
    credentials: &PasswordTables,
    draft: &mut ConfigDraft,
) -> Result<(), ImportError> {
    let relays = relays(source, draft)?;
    let has_relay = |sender: &&str| relays.iter().any(|entry| entry.key == *sender);
    let mut senders: Vec<&str> = relays.iter().map(|entry| entry.key.as_str()).collect();
    // Where all mail is from one sender, its user is the configuration's own.
    if !(draft.has("auth.username") && draft.has("rewrite.sender")) {
        senders.extend(credentials.senders.iter().map(String::as_str).filter(|sender| !has_relay(sender)));
    }
    for sender in senders {
        let relay = relay_of(&relays, sender);
        let nexthop = relay.map(|entry| nexthop(source, entry)).transpose()?;
        // There is always one: no relay is an error.
        let Some(nexthop) = nexthop.as_ref().or(nexthops.first()) else { continue };
        let credential = match credentials.of_sender(sender)? {
            Some(own) => Some(own),
            None => credentials.of_relay(nexthop)?,
        };
        let locations =
            [relay.map(|entry| entry.location.clone()), credential.as_ref().map(|one| one.location.clone())];
        add(
            draft,
            Route {
                senders: vec![sender.into()],
                relayhost: nexthop.written(),
                username: credential.map(|one| one.username),
                locations: locations.into_iter().flatten().collect(),
            },
        );
    }
    Ok(())
}

/// Returns the relay of a sender, or of its domain.
fn relay_of<'r>(relays: &'r [MapEntry], sender: &str) -> Option<&'r MapEntry> {
    let domain = sender.find('@').map(|at| &sender[at..]);
    let keyed = |key: &str| relays.iter().find(|entry| entry.key == key);
    keyed(sender).or_else(|| keyed(domain?))
}

/// Adds `route` to `draft`; senders with the same relay and user share a route.
fn add(draft: &mut ConfigDraft, route: Route) {
    let same = |other: &&mut Route| other.relayhost == route.relayhost && other.username == route.username;
    match draft.routes.iter_mut().find(same) {
        Some(other) => {
            other.senders.extend(route.senders);
            let new: Vec<_> =
                route.locations.into_iter().filter(|location| !other.locations.contains(location)).collect();
            other.locations.extend(new);
        }
        None => draft.routes.push(route),
    }
}

fn nexthop(source: &PostfixSource<'_>, entry: &MapEntry) -> Result<Nexthop, ImportError> {
    let default_port = port(&source.value("smtp_tcp_port")?).unwrap_or(25);
    Nexthop::parse(&entry.value, default_port)
        .ok_or_else(|| entry.location.error("expected a relay as `[host]:port`"))
}

/// Returns the relay of each sender. A transport for a sender takes precedence over a relayhost.
fn relays(source: &PostfixSource<'_>, draft: &mut ConfigDraft) -> Result<Vec<MapEntry>, ImportError> {
    let mut relays: Vec<MapEntry> = Vec::new();
    for name in [TRANSPORTS, RELAYHOSTS] {
        for table in source.tables(name, Shape::Postmap, "", draft)? {
            let LookupTable::Pairs(entries) = table else {
                draft.not_carried(
                    source.parameters.cited(&[name]),
                    "only tables with a sender in each line have an equivalent",
                );
                continue;
            };
            for mut entry in entries {
                if name == TRANSPORTS {
                    let Some(nexthop) = nexthop_of(&entry.value) else { continue };
                    entry.value = nexthop.to_owned();
                }
                if relays.iter().all(|known| known.key != entry.key) {
                    relays.push(entry);
                }
            }
        }
        if !draft.accounts_for(name) {
            draft.already_so(source.parameters.cited(&[name]), "see the per-sender relays above");
        }
    }
    Ok(relays)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::location::SourceLocation;

    #[test]
    fn senders_with_the_same_relay_and_user_share_a_route() {
        let mut draft = ConfigDraft::default();
        for (sender, username, line) in [("a@x", "u", 1), ("b@x", "v", 2), ("c@x", "u", 1)] {
            add(
                &mut draft,
                Route {
                    senders: vec![sender.into()],
                    relayhost: "r:587".into(),
                    username: Some(username.into()),
                    locations: vec![SourceLocation::line("s", line)],
                },
            );
        }
        let senders: Vec<_> =
            draft.routes.iter().map(|route| (route.senders.join(" "), route.locations.len())).collect();
        assert_eq!(senders, [("a@x c@x".into(), 1), ("b@x".into(), 1)]);
    }

    #[test]
    fn a_sender_counts_before_its_domain() {
        let entry =
            |key: &str| MapEntry { location: SourceLocation::file("s"), key: key.into(), value: "r".into() };
        let relays = [entry("@x"), entry("a@x")];
        for (sender, key) in [("a@x", Some("a@x")), ("b@x", Some("@x")), ("@x", Some("@x")), ("a@y", None)] {
            assert_eq!(relay_of(&relays, sender).map(|entry| entry.key.as_str()), key, "{sender}");
        }
    }
}
