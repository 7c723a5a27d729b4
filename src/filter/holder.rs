//! Who holds a message that is on hold, and the words by which a filter asks for it.

use std::fmt;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The kind of who holds a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HolderKind {
    /// An operator has put it on hold.
    Operator,
    /// The user who submitted it has put it on hold, without the rights of an operator.
    Submitter,
    /// A hold rule has held it as it came in.
    Rule,
    /// A limit of the configuration has held it as it came in.
    Limit,
    /// It is not known: a version of nullmta that did not record it has put it on hold.
    Unknown,
}

impl HolderKind {
    const ALL: [HolderKind; 5] = [
        HolderKind::Operator,
        HolderKind::Submitter,
        HolderKind::Rule,
        HolderKind::Limit,
        HolderKind::Unknown,
    ];

    fn word(self) -> &'static str {
        match self {
            HolderKind::Operator => "operator",
            HolderKind::Submitter => "submitter",
            HolderKind::Rule => "rule",
            HolderKind::Limit => "limit",
            HolderKind::Unknown => "unknown",
        }
    }
}

/// Who holds a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MailHolder {
    /// The kind.
    pub kind: HolderKind,
    /// The uid of the operator or submitter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The login name that this user had then, if one was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The number of the hold rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<u32>,
}

impl MailHolder {
    /// Returns a holder of whom only the kind is known.
    pub fn of(kind: HolderKind) -> MailHolder {
        MailHolder { kind, uid: None, user: None, rule: None }
    }

    /// Returns the user with this uid as the holder.
    pub fn user(kind: HolderKind, uid: u32, user: Option<&str>) -> MailHolder {
        MailHolder { uid: Some(uid), user: user.map(str::to_owned), ..MailHolder::of(kind) }
    }

    /// Returns the hold rule of this number as the holder.
    pub fn rule(number: u32) -> MailHolder {
        MailHolder { rule: Some(number), ..MailHolder::of(HolderKind::Rule) }
    }
}

impl fmt::Display for MailHolder {
    /// Writes what follows "held by": `root`, `its sender (www-data)`, `hold rule 3`. The name is foreign text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = match (&self.user, self.uid) {
            (Some(name), _) => name.clone(),
            (None, Some(uid)) => format!("uid {uid}"),
            (None, None) => "an operator".into(),
        };
        match (self.kind, self.rule) {
            (HolderKind::Operator, _) => f.write_str(&user),
            (HolderKind::Submitter, _) => write!(f, "its sender ({user})"),
            (HolderKind::Rule, Some(number)) => write!(f, "hold rule {number}"),
            (HolderKind::Rule, None) => f.write_str("a rule of an operator"),
            (HolderKind::Limit, _) => f.write_str("a limit of this host"),
            (HolderKind::Unknown, _) => {
                f.write_str("an operator or its sender (an older nullmta did not record who)")
            }
        }
    }
}

/// A condition about who holds a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolderCondition {
    /// Somebody of this kind.
    Kind(HolderKind),
    /// The hold rule of this number.
    Rule(u32),
    /// The user with this uid, as an operator or as the submitter.
    User(u32),
}

impl HolderCondition {
    /// Returns whether this holder is meant.
    pub fn means(self, holder: &MailHolder) -> bool {
        match self {
            HolderCondition::Kind(kind) => holder.kind == kind,
            HolderCondition::Rule(number) => holder.rule == Some(number),
            HolderCondition::User(uid) => holder.uid == Some(uid),
        }
    }
}

impl fmt::Display for HolderCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HolderCondition::Kind(kind) => f.write_str(kind.word()),
            HolderCondition::Rule(number) => write!(f, "rule:{number}"),
            HolderCondition::User(uid) => write!(f, "uid:{uid}"),
        }
    }
}

/// The error for a word that names no holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadHolderCondition;

impl fmt::Display for BadHolderCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mail is held by operator, submitter, rule, rule:NUMBER, limit, unknown, or a user: uid:NUMBER or the login name")
    }
}

impl std::error::Error for BadHolderCondition {}

impl FromStr for HolderCondition {
    type Err = BadHolderCondition;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let number = |digits: &str| digits.parse().map_err(|_| BadHolderCondition);
        match word.split_once(':') {
            Some(("rule", digits)) => number(digits).map(HolderCondition::Rule),
            Some(("uid", digits)) => number(digits).map(HolderCondition::User),
            _ => {
                let kind = HolderKind::ALL.into_iter().find(|kind| kind.word() == word);
                kind.map(HolderCondition::Kind).ok_or(BadHolderCondition)
            }
        }
    }
}

impl Serialize for HolderCondition {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HolderCondition {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_condition_has_one_word_and_means_its_holder() {
        let root = MailHolder::user(HolderKind::Operator, 0, Some("root"));
        let app = MailHolder::user(HolderKind::Submitter, 33, None);
        let of = |words: &str| words.parse::<HolderCondition>().unwrap();
        for (word, meant, not) in [
            ("operator", &root, &app),
            ("submitter", &app, &root),
            ("uid:33", &app, &root),
            ("uid:0", &root, &app),
            ("rule", &MailHolder::rule(3), &app),
            ("rule:3", &MailHolder::rule(3), &MailHolder::rule(33)),
            ("limit", &MailHolder::of(HolderKind::Limit), &root),
            ("unknown", &MailHolder::of(HolderKind::Unknown), &root),
        ] {
            assert!(of(word).means(meant) && !of(word).means(not), "{word}");
            assert_eq!(serde_json::to_string(&of(word)).unwrap(), format!("\"{word}\""));
        }
        for word in ["", "rule:", "rule:x", "uid:-1", "Operator", "root"] {
            assert_eq!(word.parse::<HolderCondition>(), Err(BadHolderCondition), "{word}");
        }
    }

    #[test]
    fn a_holder_is_named_in_words_and_in_json() {
        let app = MailHolder::user(HolderKind::Submitter, 33, Some("www-data"));
        assert_eq!(app.to_string(), "its sender (www-data)");
        assert_eq!(MailHolder::user(HolderKind::Operator, 0, None).to_string(), "uid 0");
        assert_eq!(MailHolder::of(HolderKind::Operator).to_string(), "an operator");
        assert_eq!(MailHolder::rule(3).to_string(), "hold rule 3");
        assert_eq!(MailHolder::of(HolderKind::Rule).to_string(), "a rule of an operator");
        assert_eq!(
            serde_json::to_string(&app).unwrap(),
            r#"{"kind":"submitter","uid":33,"user":"www-data"}"#
        );
        assert_eq!(serde_json::to_string(&MailHolder::rule(3)).unwrap(), r#"{"kind":"rule","rule":3}"#);
    }
}
