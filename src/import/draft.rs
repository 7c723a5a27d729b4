//! The configuration that is being made, and the list of settings that became no key.
//!
//! Promise: each setting that was read either becomes (a part of) a key, or is listed with the reason why not. The names
//! here say *carried* for the first and *accounted for* for the second.
//!
//! Not here: the keys that are removed again at the end (`finish.rs`), writing the text (`render.rs`).

use std::collections::BTreeSet;
use std::fmt;

use super::location::SourceLocation;
use super::main_cf::{Parameter, Parameters};
use crate::secret::Secret;

/// The content of the new configuration file.
#[derive(Default)]
pub(super) struct ConfigDraft {
    /// Keys in groups: the keys of one group are written together or not at all.
    pub(super) groups: Vec<Vec<DraftKey>>,
    pub(super) remarks: Vec<Remark>,
    pub(super) routes: Vec<Route>,
    /// The secrets of `[auth]` and of the routes.
    pub(super) secrets: Vec<DraftSecret>,
    /// All secrets that were read; none of them may appear in the text.
    pub(super) hidden: Vec<Secret>,
    pub(super) cited: BTreeSet<String>,
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(super) struct DraftKey {
    /// The full name, such as `relayhost`, `tls.mode` or `relay.timeouts.dot`.
    pub(super) name: &'static str,
    pub(super) value: DraftValue,
    pub(super) from: Vec<Cited>,
    /// Comments about the key for the person who reads the file.
    pub(super) advice: Vec<String>,
}

/// The value of a key.
#[derive(Clone, Debug)]
pub(super) enum DraftValue {
    Text(String),
    Texts(Vec<String>),
    Number(u64),
    Flag(bool),
    /// A table of its own: each key with its values and the location that it was read from.
    Map(Vec<(String, Vec<String>, SourceLocation)>),
}

/// A setting that was read: its location, its name, and its value unless that must not be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cited {
    pub(super) location: SourceLocation,
    pub(super) name: String,
    pub(super) shown: Option<String>,
}

/// A setting that became no key, with the reason; or a warning about no setting in particular.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remark {
    pub(super) omission: Omission,
    pub(super) about: Option<Cited>,
    pub(super) why: String,
}

/// The reason why a setting became no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Omission {
    /// Some mail goes another way than before; a person must know.
    GoesElsewhere,
    /// nullmta cannot do this; a person should know.
    NotCarried,
    /// nullmta does this without a key.
    AlreadySo,
}

/// A relay for the mail of some senders, or to some recipients: a `[[route]]`.
#[derive(Clone, Default)]
pub(super) struct Route {
    pub(super) name: String,
    /// The senders as `senders` has them; empty for all.
    pub(super) senders: Vec<String>,
    /// The recipients as `recipients` has them; empty for all.
    pub(super) recipients: Vec<String>,
    /// Its keys in groups, by the names that they have at the top: `relayhost`, `tls.mode`, `auth.username`.
    pub(super) groups: Vec<Vec<DraftKey>>,
}

impl Route {
    /// Returns all of its keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &DraftKey> {
        self.groups.iter().flatten()
    }
}

/// The secret of a login, which gets a file of its own.
pub(super) struct DraftSecret {
    /// The path of that file.
    pub(super) path: String,
    /// The user that it is for, and its location.
    username: String,
    pub(super) location: SourceLocation,
    pub(super) secret: Secret,
}

impl fmt::Display for Cited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.shown {
            Some(value) => write!(f, "{}: {} = {value}", self.location, self.name),
            None => write!(f, "{}: {} (value not shown: it may hold a secret)", self.location, self.name),
        }
    }
}

impl Cited {
    /// Returns a citation of the table entry `key`.
    pub(super) fn entry(location: &SourceLocation, key: &str) -> Cited {
        Cited { location: location.clone(), name: key.into(), shown: Some("…".into()) }
    }
}

impl Parameters {
    /// Returns a citation of each parameter in `names` that was set.
    pub(super) fn cited(&self, names: &[&str]) -> Vec<Cited> {
        names.iter().filter_map(|name| self.get(name)).map(|parameter| self.cite(parameter)).collect()
    }

    /// Returns a citation of `parameter`, without its value if that may be secret.
    pub(super) fn cite(&self, parameter: &Parameter) -> Cited {
        Cited {
            location: parameter.location.clone(),
            name: parameter.name.clone(),
            shown: self.shown(parameter),
        }
    }
}

impl DraftKey {
    pub(super) fn new(name: &'static str, value: impl Into<DraftValue>, from: Vec<Cited>) -> DraftKey {
        DraftKey { name, value: value.into(), from, advice: Vec::new() }
    }

    pub(super) fn advised(mut self, advice: impl Into<String>) -> DraftKey {
        self.advice.push(advice.into());
        self
    }
}

impl From<&str> for DraftValue {
    fn from(text: &str) -> DraftValue {
        DraftValue::Text(text.into())
    }
}

impl From<String> for DraftValue {
    fn from(text: String) -> DraftValue {
        DraftValue::Text(text)
    }
}

/// A list of one text becomes a single text, which is written without brackets.
impl From<Vec<String>> for DraftValue {
    fn from(mut texts: Vec<String>) -> DraftValue {
        match texts.pop() {
            Some(only) if texts.is_empty() => DraftValue::Text(only),
            last => {
                texts.extend(last);
                DraftValue::Texts(texts)
            }
        }
    }
}

impl ConfigDraft {
    /// Adds `key`.
    pub(super) fn set(&mut self, key: DraftKey) {
        self.set_together(vec![key]);
    }

    /// Adds a group of keys, which are written together or not at all.
    pub(super) fn set_together(&mut self, keys: Vec<DraftKey>) {
        self.cited.extend(keys.iter().flat_map(|key| &key.from).map(|cited| cited.name.clone()));
        self.groups.push(keys);
    }

    /// Lists settings for something that nullmta cannot do.
    pub(super) fn not_carried(&mut self, about: Vec<Cited>, why: &str) {
        self.remark(Omission::NotCarried, about, why);
    }

    /// Lists settings for something that nullmta does without a key.
    pub(super) fn already_so(&mut self, about: Vec<Cited>, why: &str) {
        self.remark(Omission::AlreadySo, about, why);
    }

    /// Lists settings that became no key for the reason `omission`.
    pub(super) fn remark(&mut self, omission: Omission, about: Vec<Cited>, why: &str) {
        self.cited.extend(about.iter().map(|cited| cited.name.clone()));
        let remarks = about.into_iter().map(|cited| Remark { omission, about: Some(cited), why: why.into() });
        remarks.for_each(|remark| self.add_remark(remark));
    }

    /// Lists settings because of which mail went another way than it will.
    pub(super) fn goes_elsewhere(&mut self, about: Vec<Cited>, why: &str) {
        self.remark(Omission::GoesElsewhere, about, why);
    }

    /// Adds the remarks of `other`, each that is not known yet.
    pub(super) fn absorb(&mut self, other: ConfigDraft) {
        self.hidden.extend(other.hidden);
        self.cited.extend(other.cited);
        other.remarks.into_iter().for_each(|remark| self.add_remark(remark));
    }

    fn add_remark(&mut self, remark: Remark) {
        if !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }

    /// Adds the remarks of `other`, which is about the way of mail: what is not carried goes elsewhere.
    pub(super) fn absorb_about_ways(&mut self, mut other: ConfigDraft) {
        for remark in other.remarks.iter_mut().filter(|remark| remark.omission == Omission::NotCarried) {
            remark.omission = Omission::GoesElsewhere;
        }
        self.absorb(other);
    }

    /// Returns the path of the file for a secret: `base` for the first one, and with a number behind it for each other.
    /// Logins by the same line share a file.
    pub(super) fn file_for(
        &mut self,
        secret: &Secret,
        username: &str,
        location: &SourceLocation,
        base: &str,
    ) -> String {
        let is_same = |known: &&DraftSecret| {
            known.location == *location
                && known.username == username
                && known.secret.expose() == secret.expose()
        };
        if let Some(known) = self.secrets.iter().find(is_same) {
            return known.path.clone();
        }
        let path = match self.secrets.len() {
            0 => base.to_owned(),
            others => format!("{base}-{}", others + 1),
        };
        self.hidden.push(secret.clone());
        self.secrets.push(DraftSecret {
            path: path.clone(),
            username: username.into(),
            location: location.clone(),
            secret: secret.clone(),
        });
        path
    }

    /// Adds a route, with its name, or another one if that is taken or can be no name.
    pub(super) fn add_route(&mut self, mut route: Route) {
        let is_name = |name: &str| {
            !name.is_empty() && name.len() <= 56 && name.bytes().all(|octet| octet.is_ascii_graphic())
        };
        let wanted = if is_name(&route.name) { route.name.clone() } else { "route".into() };
        let is_free = |name: &String| self.routes.iter().all(|other| other.name != *name);
        let mut names =
            std::iter::once(wanted.clone()).chain((2..).map(|number| format!("{wanted}-{number}")));
        // One of them is free: there are more of them than routes.
        route.name = names.find(is_free).unwrap_or(wanted);
        self.cited.extend(route.keys().flat_map(|key| &key.from).map(|cited| cited.name.clone()));
        self.routes.push(route);
    }

    /// Adds a warning that concerns no setting in particular.
    pub(super) fn warn(&mut self, why: &str) {
        self.remarks.push(Remark { omission: Omission::NotCarried, about: None, why: why.into() });
    }

    /// Returns whether the parameter `name` became a key or was listed.
    pub(super) fn accounts_for(&self, name: &str) -> bool {
        self.cited.contains(name)
    }

    /// Returns whether the draft has the key `key`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.groups.iter().flatten().any(|carried| carried.name == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cited(name: &str, shown: &str) -> Vec<Cited> {
        vec![Cited {
            location: SourceLocation::line("/etc/postfix/main.cf", 4),
            name: name.into(),
            shown: Some(shown.into()),
        }]
    }

    fn with_relayhost(relayhost: &str) -> ConfigDraft {
        let mut draft = ConfigDraft::default();
        draft.set(DraftKey::new("relayhost", relayhost, cited("relayhost", relayhost)));
        draft
    }

    fn finish(draft: ConfigDraft) -> Result<String, String> {
        let start = SourceLocation::file("/etc/postfix/main.cf");
        let finished = draft.finish("it", &start, "web1.example.com");
        finished.map(|imported| imported.toml).map_err(|error| error.to_string())
    }

    #[test]
    fn what_the_parser_refuses_is_accounted_for_in_its_words() {
        let mut draft = with_relayhost("smtp.example.com:587");
        draft.set(DraftKey::new("queue.lifetime", "0s", cited("maximal_queue_lifetime", "0")));
        draft.set(DraftKey::new("queue.retry-max", "2h", cited("maximal_backoff_time", "2h")));
        let text = finish(draft).unwrap();
        assert!(text.contains("retry-max = \"2h\"") && !text.contains("\nlifetime"), "{text}");
        assert!(
            text.contains("main.cf:4: maximal_queue_lifetime = 0\n#     key `queue.lifetime`: expected"),
            "{text}"
        );
    }

    #[test]
    fn what_belongs_together_is_refused_together() {
        let mut draft = with_relayhost("smtp.example.com:587");
        let key = |name, value| DraftKey::new(name, value, cited(name, value));
        draft.set_together(vec![key("tls.client-certificate", "/a.pem"), key("tls.client-key", "relative")]);
        let text = finish(draft).unwrap();
        assert!(!text.contains("\nclient-"), "{text}");
    }

    #[test]
    fn nothing_is_made_without_a_relayhost_that_can_be_used() {
        let said = finish(with_relayhost("not a host")).unwrap_err();
        assert!(said.starts_with("/etc/postfix/main.cf:4: key `relayhost`: expected a host"), "{said}");
        let said = finish(ConfigDraft::default()).unwrap_err();
        assert!(said.starts_with("/etc/postfix/main.cf: key `relayhost`"), "{said}");
        let mut implicit = with_relayhost("smtp.example.com:465");
        implicit.set(DraftKey::new("tls.mode", "implicit", Vec::new()));
        assert!(finish(implicit).is_ok());
    }

    #[test]
    fn a_secret_in_a_harmless_parameter_is_hidden() {
        let mut draft = with_relayhost("smtp.example.com");
        draft.not_carried(cited("my_note", "the password is hunter2"), "because");
        draft.hidden.push(Secret::new("hunter2".into()));
        let text = finish(draft).unwrap();
        assert!(text.contains("my_note (value not shown") && !text.contains("hunter2"), "{text}");
    }

    fn route(name: &str, relayhost: &str) -> Route {
        Route {
            name: name.into(),
            senders: vec!["@news.example".into()],
            groups: vec![vec![DraftKey::new("relayhost", relayhost, cited("sender_relay", relayhost))]],
            ..Route::default()
        }
    }

    #[test]
    fn a_route_that_the_parser_refuses_is_accounted_for_and_takes_no_other_with_it() {
        let mut draft = with_relayhost("smtp.example.com:587");
        draft.add_route(route("no name at all", "a.example:587"));
        draft.add_route(route("bad", "not a host"));
        draft.add_route(route("good", "b.example:587"));
        let mut half = route("good", "c.example:587");
        half.groups.push(vec![DraftKey::new("tls.minimum", "1.1", cited("protocols", "1.1"))]);
        draft.add_route(half);
        let text = finish(draft).unwrap();
        for name in ["route", "good", "good-2"] {
            assert!(text.contains(&format!("name = \"{name}\"\n")), "{text}");
        }
        assert!(!text.contains("name = \"bad\"") && !text.contains("\nminimum = "), "{text}");
        let elsewhere = text.split_once("# Mail that goes another way than before:").unwrap().1;
        let why = "sender_relay = not a host\n#     no [[route]] can be made of it: key `relayhost`";
        assert!(elsewhere.contains(why), "{text}");
        assert!(
            elsewhere.contains("protocols = 1.1\n#     of the route good-2: key `tls.minimum`"),
            "{text}"
        );
    }

    #[test]
    fn a_route_shares_the_limits_of_every_relay_and_the_mechanisms_where_it_logs_in() {
        let mut draft = with_relayhost("smtp.example.com:587");
        draft.set(DraftKey::new("tls.server-name", "other.example", Vec::new()));
        draft.set(DraftKey::new("relay.max-connections", DraftValue::Number(3), Vec::new()));
        draft.set_together(vec![
            DraftKey::new("auth.username", "u", Vec::new()),
            DraftKey::new("auth.password-file", "/p", Vec::new()),
        ]);
        draft.set(DraftKey::new("auth.mechanisms", "PLAIN", Vec::new()));
        draft.add_route(route("open", "a.example:587"));
        let mut login = route("login", "b.example:587");
        login.groups.push(draft.groups[3].clone());
        draft.add_route(login);
        let text = finish(draft).unwrap();
        let (_, routes) = text.split_once("[[route]]").unwrap();
        let (open, login) = routes.split_once("[[route]]").unwrap();
        assert!(open.contains("max-connections = 3") && login.contains("max-connections = 3"), "{text}");
        assert!(
            !routes.contains("server-name") && !open.contains("PLAIN") && login.contains("PLAIN"),
            "{text}"
        );
    }

    #[test]
    fn each_login_has_its_own_file() {
        let mut draft = ConfigDraft::default();
        let mut file = |username: &str, line| {
            let location = SourceLocation::line("/etc/postfix/sasl_passwd", line);
            draft.file_for(&Secret::new("hunter2".into()), username, &location, "/s")
        };
        let files = [file("a", 1), file("a", 2), file("b", 2), file("a", 1), file("c", 3)];
        assert_eq!(files, ["/s", "/s-2", "/s-3", "/s", "/s-4"]);
    }
}
