//! The last check of a draft before it is written.
//!
//! Promises: 1. a key that nullmta's own parser refuses is left out, with the message of the parser as the reason;
//! 2. no key, comment or reason contains a secret.
//!
//! Not here: how it is written (`render.rs`).

use std::path::Path;

use super::Imported;
use super::draft::{Cited, ConfigDraft, DraftKey, DraftValue, Route};
use super::location::{ImportError, SourceLocation};
use super::render::render;
use crate::config::{Config, Environment};
use crate::secret::Secret;

impl ConfigDraft {
    /// Returns the text of the file, and the secrets. `start` is the location of an error if there is no relayhost.
    pub(super) fn finish(
        mut self,
        origin: &str,
        start: &SourceLocation,
        hostname: &str,
    ) -> Result<Imported, ImportError> {
        let of_logins = self.take_what_is_for_logins_of_routes();
        self.keep_what_is_accepted(start, hostname)?;
        self.keep_routes(hostname, &of_logins);
        self.hide_secrets();
        let toml = render(&self, origin);
        let keys = self.groups.iter().flatten().chain(self.routes.iter().flat_map(Route::keys));
        let named: Vec<&str> = keys.filter_map(DraftKey::named_file).collect();
        let mut secrets = self.secrets;
        secrets.retain(|secret| named.contains(&secret.path.as_str()));
        Ok(Imported { toml, secrets: secrets.into_iter().map(|one| (one.path, one.secret)).collect() })
    }

    /// Takes the groups out that are for every login, if the relayhost has none: they are for the routes alone.
    fn take_what_is_for_logins_of_routes(&mut self) -> Vec<Vec<DraftKey>> {
        let logs_in =
            |mut keys: Box<dyn Iterator<Item = &DraftKey> + '_>| keys.any(|key| key.name == "auth.username");
        let by_routes = logs_in(Box::new(self.routes.iter().flat_map(Route::keys)));
        if logs_in(Box::new(self.groups.iter().flatten())) || !by_routes {
            return Vec::new();
        }
        let (taken, left) =
            std::mem::take(&mut self.groups).into_iter().partition(|group| is_of_logins(group));
        self.groups = left;
        taken
    }

    /// Removes what the parser refuses of the routes, and gives to each the settings that are for every relay; `of_logins` are
    /// those for the logins of routes.
    fn keep_routes(&mut self, hostname: &str, of_logins: &[Vec<DraftKey>]) {
        let of_relays = self.groups.iter().filter(|group| is_shared(group));
        let shared: Vec<Vec<DraftKey>> = of_logins.iter().chain(of_relays).cloned().collect();
        // Routes do not depend on each other, nor on other keys.
        let is_base = |group: &&Vec<DraftKey>| is_about_the_relay(group);
        let groups: Vec<Vec<DraftKey>> = self.groups.iter().filter(is_base).cloned().collect();
        for mut route in std::mem::take(&mut self.routes) {
            let mut alone = ConfigDraft { groups: groups.clone(), ..ConfigDraft::default() };
            let all = std::mem::take(&mut route.groups);
            let (base, others): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|group| is_about_the_relay(group));
            route.groups = base;
            alone.routes = vec![route];
            if let Some(refusal) = alone.refusal(hostname) {
                let from = cited(alone.routes.iter().flat_map(Route::keys));
                let why = format!("no [[route]] can be made of it: {refusal}");
                self.goes_elsewhere(from, &why);
                continue;
            }
            let is_for_it = |group: &&Vec<DraftKey>| {
                !is_of_logins(group) || others.iter().flatten().any(|key| key.name == "auth.username")
            };
            let is_new = |group: &&Vec<DraftKey>| {
                group.iter().all(|key| others.iter().flatten().all(|own| own.name != key.name))
            };
            let of_all: Vec<_> =
                shared.iter().filter(is_for_it).filter(is_new).map(|group| unadvised(group)).collect();
            for group in others.into_iter().chain(of_all) {
                self.add_to_route(group, &mut alone, hostname);
            }
            self.routes.append(&mut alone.routes);
        }
    }

    /// Adds `group` to the only route of `alone`, or lists it with the reason why not.
    fn add_to_route(&mut self, group: Vec<DraftKey>, alone: &mut ConfigDraft, hostname: &str) {
        let Some(route) = alone.routes.first_mut() else { return };
        let (name, from) = (route.name.clone(), cited(group.iter()));
        route.groups.push(group);
        let Some(refusal) = alone.refusal(hostname) else { return };
        alone.routes.iter_mut().for_each(|route| drop(route.groups.pop()));
        self.not_carried(from, &format!("of the route {name}: {refusal}"));
    }

    /// Removes the keys that the parser refuses (promise 1).
    fn keep_what_is_accepted(&mut self, start: &SourceLocation, hostname: &str) -> Result<(), ImportError> {
        // Whether a relayhost is valid depends on the mode: they are one question.
        let (base, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.groups).into_iter().partition(|group| is_about_the_relay(group));
        self.groups = base;
        let routes = std::mem::take(&mut self.routes);
        let relayhost = self.groups.iter().flatten().find(|key| key.name == "relayhost");
        let location =
            relayhost.and_then(|key| key.from.first()).map_or(start, |cited| &cited.location).clone();
        self.refusal(hostname).map_or(Ok(()), |refusal| Err(location.error(refusal)))?;
        let mut has_all_rules = true;
        for group in others {
            let is_rule = group.iter().any(|key| key.name == "rewrite.header.match");
            if is_rule && !has_all_rules {
                let from = group.into_iter().flat_map(|key| key.from).collect();
                self.not_carried(from, "it stands behind a rule that is left out");
                continue;
            }
            self.groups.push(group);
            if let Some(refusal) = self.refusal(hostname) {
                has_all_rules &= !is_rule;
                let refused = self.groups.pop().into_iter().flatten();
                match refused.flat_map(|key| key.from).collect::<Vec<_>>() {
                    // A default, which no line set.
                    from if from.is_empty() => self.warn(&refusal),
                    from => self.not_carried(from, &refusal),
                }
            }
        }
        self.routes = routes;
        Ok(())
    }

    /// Returns the message with which the parser refuses the keys; `None` if it accepts them.
    fn refusal(&self, hostname: &str) -> Option<String> {
        let (groups, routes) = (self.groups.clone(), self.routes.clone());
        let only_keys = ConfigDraft { groups, routes, ..ConfigDraft::default() };
        let environment = Environment { hostname: hostname.into() };
        let refused = Config::parse(&render(&only_keys, ""), Path::new(""), &environment).err()?.to_string();
        // Its line is one of a text that nobody sees, and so is the number of the route.
        let said = refused.split_once(": ").map_or(refused.as_str(), |(_, said)| said);
        Some(said.replace("`route[1].", "`").replace("`route.", "`"))
    }

    /// Removes every shown value that contains a secret (promise 2).
    fn hide_secrets(&mut self) {
        let hidden = &self.hidden;
        let holds_one = |text: &str| {
            hidden.iter().filter_map(Secret::text).any(|secret| !secret.is_empty() && text.contains(secret))
        };
        let of_routes = self.routes.iter_mut().flat_map(|route| route.groups.iter_mut().flatten());
        let of_keys = self.groups.iter_mut().flatten().chain(of_routes).flat_map(|key| &mut key.from);
        let of_remarks = self.remarks.iter_mut().filter_map(|remark| remark.about.as_mut());
        for cited in of_keys.chain(of_remarks) {
            cited.shown = cited.shown.take().filter(|value| !holds_one(value));
        }
    }
}

impl DraftKey {
    /// Returns the path that it names as the file of a secret.
    fn named_file(&self) -> Option<&str> {
        match &self.value {
            DraftValue::Text(path) if self.name == "auth.password-file" => Some(path),
            _ => None,
        }
    }
}

/// Returns whether a group says where a relay is. Whether a relayhost is valid depends on the mode of TLS.
fn is_about_the_relay(group: &[DraftKey]) -> bool {
    group.iter().any(|key| ["relayhost", "tls.mode"].contains(&key.name))
}

/// Returns whether a group is meant for each relay, whichever its name is.
fn is_shared(group: &[DraftKey]) -> bool {
    group.iter().all(|key| key.name.starts_with("relay.")) || is_of_logins(group)
}

/// Returns whether a group is meant for each login.
fn is_of_logins(group: &[DraftKey]) -> bool {
    group.iter().all(|key| key.name == "auth.mechanisms")
}

fn unadvised(group: &[DraftKey]) -> Vec<DraftKey> {
    group.iter().map(|key| DraftKey { advice: Vec::new(), ..key.clone() }).collect()
}

fn cited<'k>(keys: impl Iterator<Item = &'k DraftKey>) -> Vec<Cited> {
    keys.flat_map(|key| key.from.clone()).collect()
}
