//! The configuration that is being made, and the account of what it was made of.
//!
//! Promise: what was read is either carried into a key, or stands in the account with the reason.
//!
//! Not here: what is taken out again at the end (`finish.rs`), how it is written (`render.rs`).

use std::collections::BTreeSet;
use std::fmt;

use super::location::SourceLocation;
use super::main_cf::{Parameter, Parameters};
use crate::secret::Secret;

/// Everything that is to be written.
#[derive(Default)]
pub(super) struct ConfigDraft {
    /// What belongs together is carried together, or not at all.
    pub(super) groups: Vec<Vec<DraftKey>>,
    pub(super) remarks: Vec<Remark>,
    pub(super) routes: Vec<Route>,
    /// The secret of `[auth]`.
    pub(super) secret: Option<Secret>,
    /// All that were seen; none of them is shown.
    pub(super) hidden: Vec<Secret>,
    pub(super) cited: BTreeSet<String>,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct DraftKey {
    /// `relayhost`, or with its table: `tls.mode`, `relay.timeouts.dot`.
    pub(super) name: &'static str,
    pub(super) value: DraftValue,
    pub(super) from: Vec<Cited>,
    /// What a person should know about it.
    pub(super) advice: Vec<String>,
}

/// A value of the kinds that occur.
#[derive(Clone, Debug)]
pub(super) enum DraftValue {
    Text(String),
    Texts(Vec<String>),
    Number(u64),
    Flag(bool),
    /// A table of its own: keys, their values, and where each is from.
    Map(Vec<(String, Vec<String>, SourceLocation)>),
}

/// Something that was read: where, its name, and its value unless that must not be shown.
#[derive(Clone, Debug)]
pub(super) struct Cited {
    pub(super) location: SourceLocation,
    pub(super) name: String,
    pub(super) shown: Option<String>,
}

/// An entry of the account.
#[derive(Clone, Debug)]
pub(super) struct Remark {
    pub(super) omission: Omission,
    pub(super) about: Option<Cited>,
    pub(super) why: String,
}

/// What became of something that is in no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Omission {
    /// It is lost, and somebody should know.
    NotCarried,
    /// Nothing needs to be said for it to be so.
    AlreadySo,
}

/// A relay for some senders, and who we are to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) senders: Vec<String>,
    pub(super) relayhost: String,
    pub(super) username: Option<String>,
    /// Where it is from, and where its secret is.
    pub(super) locations: Vec<SourceLocation>,
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
    /// An entry of a table, by its key.
    pub(super) fn entry(location: &SourceLocation, key: &str) -> Cited {
        Cited { location: location.clone(), name: key.into(), shown: Some("…".into()) }
    }
}

impl Parameters {
    /// The setting of each of `names` that was set.
    pub(super) fn cited(&self, names: &[&str]) -> Vec<Cited> {
        names.iter().filter_map(|name| self.get(name)).map(|parameter| self.cite(parameter)).collect()
    }

    /// `parameter`, as it may be shown.
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

/// One is written without brackets.
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
    /// Carries `key`.
    pub(super) fn set(&mut self, key: DraftKey) {
        self.set_together(vec![key]);
    }

    /// Carries all of `keys` or none.
    pub(super) fn set_together(&mut self, keys: Vec<DraftKey>) {
        self.cited.extend(keys.iter().flat_map(|key| &key.from).map(|cited| cited.name.clone()));
        self.groups.push(keys);
    }

    /// Accounts for what nullmta has no way to do.
    pub(super) fn not_carried(&mut self, about: Vec<Cited>, why: &str) {
        self.remark(Omission::NotCarried, about, why);
    }

    /// Accounts for what is so without a key.
    pub(super) fn already_so(&mut self, about: Vec<Cited>, why: &str) {
        self.remark(Omission::AlreadySo, about, why);
    }

    fn remark(&mut self, omission: Omission, about: Vec<Cited>, why: &str) {
        self.cited.extend(about.iter().map(|cited| cited.name.clone()));
        self.remarks.extend(about.into_iter().map(|cited| Remark {
            omission,
            about: Some(cited),
            why: why.into(),
        }));
    }

    /// Says something that no setting stands for.
    pub(super) fn warn(&mut self, why: &str) {
        self.remarks.push(Remark { omission: Omission::NotCarried, about: None, why: why.into() });
    }

    /// Whether the parameter `name` was accounted for.
    pub(super) fn accounts_for(&self, name: &str) -> bool {
        self.cited.contains(name)
    }

    /// Whether `key` is carried.
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
        draft.finish("it", &start, "web1.example.com").map_err(|error| error.to_string())
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
}
