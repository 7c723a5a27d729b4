//! `[[route]]`: the mail that goes to another relay than that of the top-level `relayhost`, and that relay.
//!
//! Promises: each route has a name of its own, and a condition at least. Nothing is inherited from the tables at the
//! top: a login or a key that is meant for one relay never reaches another one, and the limits of one relay are not those of
//! another. What a route does not set has its default.
//!
//! Not here: which route a message takes (`routing.rs`), the tables about a relay (`relay.rs`, `auth.rs`, `tls.rs`).

use std::net::SocketAddr;

use super::error::{ConfigFault, KeyLocation};
use super::file::RouteTable;
use super::relay::{EhloName, RelayConfig, RelayTables};
use super::table::{Keys, Located, LocatedList, given};
use crate::message::long_lines::LongLines;
use crate::routing::RouteRule;

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteConfig {
    /// Its name, and the mail that it takes.
    pub rule: RouteRule,
    /// Its relay.
    pub relay: RelayConfig,
}

impl RouteTable {
    /// Returns the tables about the relay of this route, which begins at `location`.
    pub(super) fn tables(&self, location: &KeyLocation, long_lines: LongLines) -> RelayTables<'_> {
        let RouteTable { relayhost, auth, tls, relay, .. } = self;
        let location = KeyLocation { line: location.line, key: format!("{}.relayhost", location.key) };
        RelayTables { location, relayhost: relayhost.as_ref(), auth, tls, relay, long_lines }
    }
}

/// Returns the routes in `tables`; `hello` is the name for EHLO of those that set none, `long_lines` is for all of them.
pub(super) fn routes(
    tables: &[Located<RouteTable>],
    hello: &EhloName,
    long_lines: LongLines,
    listened: &[SocketAddr],
) -> Result<Vec<RouteConfig>, ConfigFault> {
    let mut routes: Vec<RouteConfig> = Vec::new();
    for Located { location, value: table } in tables {
        let own = given(&table.relay.helo_name).map(|name| EhloName::Name(name.0.clone()));
        let hello = own.unwrap_or_else(|| hello.clone());
        let relay = RelayConfig::of(table.tables(location, long_lines), hello, listened)?;
        let rule = rule(table, &relay, location)?;
        if routes.iter().any(|other| other.rule.name == rule.name) {
            let at = table.name.as_ref().map_or(location, |name| &name.location);
            return Err(at.expected(
                "a name of its own for each route",
                format!("another one called {:?}", rule.name),
            ));
        }
        routes.push(RouteConfig { rule, relay });
    }
    Ok(routes)
}

fn rule(table: &RouteTable, relay: &RelayConfig, location: &KeyLocation) -> Result<RouteRule, ConfigFault> {
    let RouteTable { name, senders, senders_in, recipients, uid, .. } = table;
    if senders.is_none() && recipients.is_none() && uid.is_none() {
        return Err(location.expected(
            "a condition: senders, recipients or uid (what goes to the relay of no route is said by relayhost at the top)",
            "none",
        ));
    }
    if let (None, Some(place)) = (senders, senders_in) {
        return Err(place.location.expected(place.location.beside("senders") + " beside it", "no senders"));
    }
    let hosts: Vec<String> = relay.hosts.iter().map(ToString::to_string).collect();
    Ok(RouteRule {
        name: given(name).map_or_else(|| hosts.join(","), |name| name.0.clone()),
        senders: values(senders),
        senders_in: given(senders_in).copied().unwrap_or_default(),
        recipients: values(recipients),
        uids: values(uid).into_iter().map(|uid| uid.0).collect(),
    })
}

fn values<T: Clone>(keys: &Keys<T>) -> Vec<T> {
    keys.as_ref().map(LocatedList::values).unwrap_or_default()
}
