//! Mail that does not go to relayhost, by its recipient or its sender, and logins that depend on the sender: each becomes
//! a `[[route]]`.
//!
//! Promises: 1. the first route that takes a recipient leads to the relay that Postfix would choose, with its user: routes
//! for recipients stand before those for senders, addresses before domains, and a domain before those that it is below;
//! 2. a secret goes to no relay that Postfix would not give it to; 3. a sender is named as nullmta sees it, after all
//! rewriting. A line for which that cannot be is listed as mail that goes elsewhere.
//!
//! Not here: which way Postfix chooses (`route_tables.rs`).

use std::cmp::Reverse;

use super::super::draft::{Cited, ConfigDraft, DraftKey, Route};
use super::super::location::{ImportError, SourceLocation};
use super::super::nexthop::{Nexthop, NexthopLookup};
use super::PostfixSource;
use super::auth::{Credential, MAPS, PasswordTables, password_file};
use super::relay::{FALLBACKS, fallbacks, nexthops};
use super::rewrite::{Rewriting, completed};
use super::route_tables::{RouteTables, cite};
use super::stage::NULL;
use super::tls;
use super::ways::MailWay;

/// The side of a message that a route looks at. Postfix asks for the recipient first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Recipient,
    Sender,
}

/// The breadth of a pattern: an address, and `<>`, is the narrowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Breadth {
    Address,
    Domain,
    /// All domains below one; the longer that is, the narrower.
    Below(Reverse<usize>),
}

/// A route that is being gathered. All of its patterns have the same breadth.
pub(super) struct PlannedRoute {
    side: Side,
    breadth: Breadth,
    /// True if it leads to the relay of all other mail, with its login: it is there in front of a wider one.
    is_usual: bool,
    patterns: Vec<String>,
    nexthops: Vec<Nexthop>,
    credential: Option<Credential>,
    /// The entries that name the relay, and those that have the login.
    from: Vec<Cited>,
    logins: Vec<Cited>,
}

/// Returns the routes that are needed beside the relays `usual`, to which all other mail goes.
pub(super) fn plan(
    source: &PostfixSource<'_>,
    tables: &RouteTables,
    rewriting: &Rewriting,
    usual: &[Nexthop],
    credentials: &PasswordTables,
    draft: &mut ConfigDraft,
) -> Result<Vec<PlannedRoute>, ImportError> {
    let mut plan = Plan { source, usual, credentials, planned: Vec::new() };
    plan.add_recipients(tables, draft)?;
    plan.add_senders(tables, rewriting, draft)?;
    let mut planned = plan.planned;
    planned.sort_by_key(|route| (route.side, route.breadth, route.is_usual));
    let mut planned = merged(planned);
    // What comes last and goes the usual way needs no route.
    while let Some(last) = planned.pop_if(|last| last.is_usual) {
        draft
            .already_so(last.from.into_iter().chain(last.logins).collect(), "relayhost takes it in any case");
    }
    Ok(planned)
}

/// Merges routes that stand beside each other and lead to the same relays with the same login.
fn merged(planned: Vec<PlannedRoute>) -> Vec<PlannedRoute> {
    let mut merged: Vec<PlannedRoute> = Vec::new();
    for route in planned {
        match merged.last_mut().filter(|last| last.leads_as(&route)) {
            Some(last) => last.take_in(route),
            None => merged.push(route),
        }
    }
    merged
}

/// Adds these routes to `draft`, each with the TLS and the login of its relay; `all` are the relays of all mail.
pub(super) fn carry(
    source: &PostfixSource<'_>,
    planned: Vec<PlannedRoute>,
    all: &[Nexthop],
    draft: &mut ConfigDraft,
) -> Result<(), ImportError> {
    for route in planned {
        let route = route.finished(source, all, draft)?;
        draft.add_route(route);
    }
    Ok(())
}

/// The routes so far.
struct Plan<'a> {
    source: &'a PostfixSource<'a>,
    usual: &'a [Nexthop],
    credentials: &'a PasswordTables,
    planned: Vec<PlannedRoute>,
}

impl Plan<'_> {
    fn add_recipients(&mut self, tables: &RouteTables, draft: &mut ConfigDraft) -> Result<(), ImportError> {
        for entry in &tables.recipients {
            let relay = match tables.transports.of_recipient(&entry.value) {
                MailWay::Relay(text) => Some(text),
                MailWay::Usual => None,
                way => {
                    draft.goes_elsewhere(vec![cite(entry)], no_relay(&way));
                    continue;
                }
            };
            let relays = self.relays(relay.as_deref(), &entry.location, draft)?;
            let credential = relays.first().map_or(Ok(None), |first| self.credentials.of_relay(first))?;
            self.add(Side::Recipient, &entry.key, relays, credential, vec![cite(entry)], draft);
        }
        let about = || self.source.parameters.cited(&["transport_maps"]);
        if !self.credentials.senders.is_empty() && !self.planned.is_empty() {
            let why = "mail that takes a route by its recipient has the user of that route, also from a sender with a user of \
                       its own: for that, put a [[route]] with senders and recipients in front";
            draft.not_carried(about(), why);
        }
        if self.planned.iter().any(|route| route.is_usual) && !tables.senders().is_empty() {
            let why = "mail to a recipient without a relay of its own, in a domain that has one, goes to relayhost, also from \
                       a sender with a relay of its own";
            draft.goes_elsewhere(about(), why);
        }
        Ok(())
    }

    fn add_senders(
        &mut self,
        tables: &RouteTables,
        rewriting: &Rewriting,
        draft: &mut ConfigDraft,
    ) -> Result<(), ImportError> {
        let mut senders = tables.senders();
        // Where all mail is from one sender, its user is the configuration's own.
        if !(draft.has("auth.username") && draft.has("rewrite.sender")) {
            let is_new = |sender: &&str| !tables.senders().contains(sender);
            senders.extend(self.credentials.senders.iter().map(String::as_str).filter(is_new));
        }
        for sender in senders {
            let (way, entry) = tables.of_sender(sender);
            let own = self.credentials.of_sender(sender)?;
            let cited: Vec<Cited> = entry.map(cite).into_iter().collect();
            let about = || {
                let login = own.iter().map(|own| login_cited(sender, own));
                cited.iter().cloned().chain(login).collect::<Vec<_>>()
            };
            let relay = match way {
                MailWay::Relay(text) => Some(text),
                MailWay::Usual => None,
                way => {
                    draft.goes_elsewhere(about(), no_relay(&way));
                    continue;
                }
            };
            let Some(seen) = as_seen(sender, rewriting) else {
                draft.goes_elsewhere(about(), MADE_ONE);
                continue;
            };
            let location = entry.map(|entry| entry.location.clone());
            let location = location.unwrap_or_else(|| SourceLocation::file("main.cf"));
            let relays = self.relays(relay.as_deref(), &location, draft)?;
            let of_relay = || relays.first().map_or(Ok(None), |first| self.credentials.of_relay(first));
            let credential = own.map_or_else(of_relay, |own| Ok(Some(own)))?;
            self.add(Side::Sender, &seen, relays, credential, cited, draft);
        }
        Ok(())
    }

    /// Returns the relays in `text`, with those that Postfix falls back to and that have the same TLS mode and login; without
    /// a text, those of all other mail.
    fn relays(
        &self,
        text: Option<&str>,
        location: &SourceLocation,
        draft: &mut ConfigDraft,
    ) -> Result<Vec<Nexthop>, ImportError> {
        let Some(text) = text else { return Ok(self.usual.to_vec()) };
        let mut relays = nexthops(self.source, text, location)?;
        let Some(first) = relays.first().cloned() else {
            return Err(location.error("expected a relay as `[host]:port`"));
        };
        let login =
            |nexthop: &Nexthop| self.credentials.of_relay(nexthop).ok().flatten().map(|one| known(&one));
        let is_like_first =
            |relay: &Nexthop| (relay.port == 465) == (first.port == 465) && login(relay) == login(&first);
        for other in relays.iter().filter(|relay| !is_like_first(relay)) {
            draft.warn(&format!(
                "{} is left out behind {} in a route: all its relays have one TLS mode and one login.",
                other.text, first.text
            ));
        }
        relays.retain(is_like_first);
        let (like, unlike): (Vec<_>, Vec<_>) =
            fallbacks(self.source, location)?.into_iter().partition(is_like_first);
        if !unlike.is_empty() {
            let why = "left out of each route whose relay has another login or TLS mode: all relays of a route have one";
            draft.not_carried(self.source.parameters.cited(&FALLBACKS), why);
        }
        relays.extend(like);
        Ok(relays)
    }

    /// Adds one pattern to the route with the same relays and user, or to a new one.
    fn add(
        &mut self,
        side: Side,
        pattern: &str,
        nexthops: Vec<Nexthop>,
        credential: Option<Credential>,
        from: Vec<Cited>,
        draft: &mut ConfigDraft,
    ) {
        let logins: Vec<Cited> = credential.iter().map(|one| login_cited(MAPS, one)).collect();
        let is_usual = written(&nexthops) == written(self.usual)
            && credential.as_ref().map(known) == self.credentials.chosen().map(known);
        let (breadth, patterns) = (breadth_of(pattern), vec![pattern.to_owned()]);
        let new = PlannedRoute { side, breadth, is_usual, patterns, nexthops, credential, from, logins };
        let knows =
            |route: &&PlannedRoute| route.side == side && route.patterns.iter().any(|one| one == pattern);
        if let Some(known) = self.planned.iter().find(knows) {
            if !known.leads_as(&new) {
                let why =
                    format!("nullmta looks at senders after all rewriting, and {pattern} has another relay");
                draft.goes_elsewhere(new.from.into_iter().chain(new.logins).collect(), &why);
            }
            return;
        }
        match self.planned.iter_mut().find(|route| route.breadth == breadth && route.leads_as(&new)) {
            Some(same) => same.take_in(new),
            None => self.planned.push(new),
        }
    }
}

const MADE_ONE: &str = "smtp_generic_maps makes all senders one, and nullmta chooses a relay by that one";

/// Returns why mail goes another way that went `way`.
fn no_relay(way: &MailWay) -> &'static str {
    match way {
        MailWay::Direct => {
            "it went to the hosts of the recipient's domain, whose MX nullmta never looks up: it goes where the other lines \
             send it"
        }
        _ => "it went to no relay, and nullmta hands all mail to one: it goes where the other lines send it",
    }
}

/// Returns a sender of a table as nullmta sees it, after the generic tables, by which Postfix changes it only behind the
/// choice of the relay; `None` if they make all senders one.
fn as_seen(sender: &str, rewriting: &Rewriting) -> Option<String> {
    let generic = &rewriting.generic;
    if sender == NULL {
        return Some(sender.into());
    }
    if generic.fixed.is_some() {
        return None;
    }
    let Some(entry) = generic.entry(sender) else { return Some(sender.into()) };
    let user = sender.split_once('@').map_or(sender, |(user, _)| user);
    match entry.value.starts_with('@') {
        true => Some(format!("{user}{}", entry.value)),
        false => Some(completed(&entry.value, &rewriting.origin)),
    }
}

fn breadth_of(pattern: &str) -> Breadth {
    match pattern.strip_prefix('@') {
        Some(below) if below.starts_with('.') => Breadth::Below(Reverse(below.matches('.').count())),
        Some(_) => Breadth::Domain,
        None => Breadth::Address,
    }
}

fn known(one: &Credential) -> (String, Vec<u8>) {
    (one.username.clone(), one.secret.expose().to_owned())
}

fn login_cited(name: &str, credential: &Credential) -> Cited {
    Cited { location: credential.location.clone(), name: name.into(), shown: None }
}

fn written(nexthops: &[Nexthop]) -> Vec<String> {
    nexthops.iter().map(Nexthop::written).collect()
}

impl PlannedRoute {
    /// Returns its relays.
    pub(super) fn nexthops(&self) -> &[Nexthop] {
        &self.nexthops
    }

    /// Returns whether both look at the same side, and lead to the same relays with the same login.
    fn leads_as(&self, other: &PlannedRoute) -> bool {
        self.side == other.side
            && written(&self.nexthops) == written(&other.nexthops)
            && self.credential.as_ref().map(known) == other.credential.as_ref().map(known)
    }

    /// Takes the patterns of `other`, which leads as this one.
    fn take_in(&mut self, other: PlannedRoute) {
        self.patterns.extend(other.patterns);
        for (own, others) in [(&mut self.from, other.from), (&mut self.logins, other.logins)] {
            let is_new = |cited: &Cited| !own.contains(cited);
            let new: Vec<Cited> = others.into_iter().filter(is_new).collect();
            own.extend(new);
        }
    }

    fn finished(
        self,
        source: &PostfixSource<'_>,
        all: &[Nexthop],
        draft: &mut ConfigDraft,
    ) -> Result<Route, ImportError> {
        let PlannedRoute { side, patterns, nexthops, credential, from, logins, .. } = self;
        let mut relayhost = DraftKey::new("relayhost", written(&nexthops), from);
        let by_mx = |relay: &&Nexthop| relay.lookup == NexthopLookup::Mx && !relay.is_loopback();
        for Nexthop { host, .. } in nexthops.iter().filter(by_mx) {
            relayhost = relayhost.advised(format!(
                "Without brackets Postfix asks for the MX of {host} first; nullmta connects to {host} itself."
            ));
        }
        let mut groups = vec![vec![relayhost]];
        if let Some(Credential { location, username, secret }) = credential {
            let file = password_file(source.options.secret_file, &secret, &username, &location, draft);
            groups.push(vec![DraftKey::new("auth.username", username, logins), file]);
        }
        let mut own = ConfigDraft::default();
        tls::carry(source, &nexthops, all, &mut own)?;
        groups.append(&mut own.groups);
        draft.absorb(own);
        let name = nexthops.first().map(|first| first.host.clone()).unwrap_or_default();
        let (senders, recipients) = match side {
            Side::Sender => (patterns, Vec::new()),
            Side::Recipient => (Vec::new(), patterns),
        };
        Ok(Route { name, senders, recipients, groups })
    }
}
