//! `[[limit]]`: how much mail clients of this host may submit, and as which senders.
//!
//! Promises: each limit has a name of its own, and limits something. What only a known user can be asked about (the senders
//! that they may use, their sessions, their queued mail) stands only in a limit that can be looked up for one.
//!
//! A limit is about the clients that fit each of its conditions; a condition is a list, of which one entry must fit.
//! Without a condition it is about every user apart, except root and the daemon's own.
//!
//! Not here: how much is used (`listener/client_limits.rs`).

use std::fmt;

use super::error::{ConfigFault, KeyLocation};
use super::file::LimitTable;
use super::limit_setting::{AllowedAmount, LocalName, RecipientCount};
use super::table::{Key, Keys, Located, LocatedList, given};
use super::units::PositiveCount;
use super::words::BeyondLimit;
use crate::routing::{AddressPattern, SenderPattern};

/// One `[[limit]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitConfig {
    /// Its name in replies, the log and listings, which is unique.
    pub name: String,
    /// The clients that it is about.
    pub subject: LimitSubject,
    /// True if each user has the limit apart; else all that it is about have it together.
    pub each_user: bool,
    /// The most messages in a period, for each of several periods.
    pub messages: Vec<AllowedAmount>,
    /// The most octets of content in a period.
    pub octets: Vec<AllowedAmount>,
    /// The most recipients in a period.
    pub recipients: Vec<AllowedAmount>,
    /// The most recipients of one message.
    pub recipients_per_message: Option<u64>,
    /// The largest message, in octets.
    pub size: Option<u64>,
    /// The most sessions at once.
    pub sessions: Option<u64>,
    /// The most messages of a user on the spool at once.
    pub queued: Option<u64>,
    /// What happens to a message for which an amount is used up, or too much is queued.
    pub beyond: BeyondLimit,
    /// The senders that these clients may use; empty for all.
    pub allow_from: Vec<AddressPattern>,
    /// The senders that these clients may not use.
    pub deny_from: Vec<AddressPattern>,
}

/// The clients that a limit is about: those that fit each list that is not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitSubject {
    /// Users, by number.
    pub uids: Vec<u32>,
    /// Users, by login name.
    pub users: Vec<String>,
    /// Members of groups, by the name of the group.
    pub groups: Vec<String>,
    /// Clients whose message has one of these reverse-paths.
    pub senders: Vec<SenderPattern>,
    /// Programs on the unix socket, by the name of their command.
    pub commands: Vec<String>,
}

/// Returns the limits in `tables`.
pub(super) fn limits(tables: &[Located<LimitTable>]) -> Result<Vec<LimitConfig>, ConfigFault> {
    let mut limits: Vec<LimitConfig> = Vec::new();
    for Located { location, value: table } in tables {
        let limit = limit(table, location)?;
        if limits.iter().any(|other| other.name == limit.name) {
            let at = table.name.as_ref().map_or(location, |name| &name.location);
            let found = format!("another one called {:?}", limit.name);
            return Err(at.expected("a name of its own for each limit (name)", found));
        }
        limits.push(limit);
    }
    Ok(limits)
}

fn limit(table: &LimitTable, location: &KeyLocation) -> Result<LimitConfig, ConfigFault> {
    let subject = LimitSubject {
        uids: values(&table.uid).into_iter().map(|uid| uid.0).collect(),
        users: names(&table.user),
        groups: names(&table.group),
        senders: values(&table.sender),
        commands: names(&table.command),
    };
    refuse_what_needs_a_user(table, &subject)?;
    let of_one_message = |count: &RecipientCount| match count {
        RecipientCount::OfOneMessage(count) => Some(u64::from(count.0.get())),
        RecipientCount::InPeriod(_) => None,
    };
    let recipients_in_period = |count: &RecipientCount| match count {
        RecipientCount::OfOneMessage(_) => None,
        RecipientCount::InPeriod(allowance) => Some(*allowance),
    };
    let limit = LimitConfig {
        name: given(&table.name).map_or_else(|| subject.to_string(), |name| name.0.clone()),
        each_user: given(&table.each_user).copied().unwrap_or(subject == LimitSubject::default()),
        subject,
        messages: periods(&table.messages, |count| Some(count.0))?,
        octets: periods(&table.octets, |size| Some(size.0))?,
        recipients: periods(&table.recipients, recipients_in_period)?,
        recipients_per_message: values(&table.recipients).iter().find_map(of_one_message),
        size: given(&table.size).map(|size| size.0),
        sessions: count(&table.sessions),
        queued: count(&table.queued),
        beyond: given(&table.what).copied().unwrap_or_default(),
        allow_from: values(&table.allow_from),
        deny_from: values(&table.deny_from),
    };
    if limit.limits_nothing() {
        return Err(location.expected(
            "something that is limited: messages, octets, recipients, size, sessions, queued, allow-from or deny-from",
            "none of them",
        ));
    }
    match table.what.as_ref().filter(|_| limit.beyond == BeyondLimit::Hold && !limit.has_amounts()) {
        Some(what) => {
            let expected =
                "messages, octets, recipients in a period or queued beside it, which may be used up";
            Err(what.location.expected(expected, "none of them"))
        }
        None => Ok(limit),
    }
}

/// Refuses keys that are about a user where the limit cannot be looked up for one: the sender is known only with a message,
/// and a program chooses the name of its command itself.
fn refuse_what_needs_a_user(table: &LimitTable, subject: &LimitSubject) -> Result<(), ConfigFault> {
    let names_a_user = !(subject.uids.is_empty() && subject.users.is_empty() && subject.groups.is_empty());
    let allow = table.allow_from.as_ref().map(|list| &list.location);
    let policy = allow.or(table.deny_from.as_ref().map(|list| &list.location));
    if let Some(location) = policy.filter(|_| !names_a_user || !subject.commands.is_empty()) {
        let expected = "uid, user or group beside it, and no command: a program can take any name";
        return Err(location.expected(expected, "it without"));
    }
    let is_known_later = !(subject.senders.is_empty() && subject.commands.is_empty());
    let of_session = table.sessions.as_ref().map(|entry| &entry.location);
    let of_queue = table.queued.as_ref().map(|entry| &entry.location);
    match of_session.or(of_queue).filter(|_| is_known_later) {
        Some(location) => {
            Err(location
                .expected("it in a limit of users: without sender and command", "one of these beside it"))
        }
        None => Ok(()),
    }
}

impl LimitConfig {
    /// Returns whether it has an amount that may be used up.
    fn has_amounts(&self) -> bool {
        let periods = [&self.messages, &self.octets, &self.recipients];
        self.queued.is_some() || periods.iter().any(|periods| !periods.is_empty())
    }

    fn limits_nothing(&self) -> bool {
        let counts = [self.recipients_per_message, self.size, self.sessions, self.queued];
        let periods = [&self.messages, &self.octets, &self.recipients];
        counts.iter().all(Option::is_none)
            && periods.iter().all(|periods| periods.is_empty())
            && self.allow_from.is_empty()
            && self.deny_from.is_empty()
    }
}

/// Displays the conditions: `uid 33`, `user www-data, sender @example.com`, `every user`.
impl fmt::Display for LimitSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |word: &str, names: Vec<String>| {
            (!names.is_empty()).then(|| format!("{word} {}", names.join(" or ")))
        };
        let parts = [
            joined("uid", self.uids.iter().map(ToString::to_string).collect()),
            joined("user", self.users.clone()),
            joined("group", self.groups.clone()),
            joined("sender", self.senders.iter().map(ToString::to_string).collect()),
            joined("command", self.commands.clone()),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        f.write_str(if parts.is_empty() { "every user".to_owned() } else { parts.join(", ") }.as_str())
    }
}

fn values<T: Clone>(keys: &Keys<T>) -> Vec<T> {
    keys.as_ref().map(LocatedList::values).unwrap_or_default()
}

fn names(keys: &Keys<LocalName>) -> Vec<String> {
    values(keys).into_iter().map(|name| name.0).collect()
}

fn count(key: &Key<PositiveCount>) -> Option<u64> {
    given(key).map(|count| u64::from(count.0.get()))
}

/// Returns the amounts of `key`, none if the file leaves it out. Two for the same period are an error: one of them would
/// have no effect.
fn periods<T>(
    key: &Keys<T>,
    amount: impl Fn(&T) -> Option<AllowedAmount>,
) -> Result<Vec<AllowedAmount>, ConfigFault> {
    let Some(LocatedList { entries, .. }) = key else { return Ok(Vec::new()) };
    let mut read: Vec<AllowedAmount> = Vec::new();
    for entry in entries {
        let Some(new) = amount(&entry.value) else { continue };
        if let Some(earlier) = read.iter().find(|earlier| earlier.per == new.per) {
            return Err(entry
                .location
                .expected("one amount for each period", format!("\"{earlier}\" and \"{new}\"")));
        }
        read.push(new);
    }
    Ok(read)
}
