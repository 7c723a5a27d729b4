//! The `[[limit]]`s in force: which clients each is about, and how much of it they have used.
//!
//! Promises
//! 1. A message is counted before it is taken, by every limit that is about its client, or by none: where one is reached,
//!    nothing is used of the others. A message that is not queued in the end does not count ([`Charge`]).
//!    With `what = "hold"` a message for which an amount is used up is taken and put on hold ([`Charge::on_hold`]); it uses nothing
//!    of that limit, and what it is due of the others.
//! 2. What is used survives a reload that keeps the name of the limit, and a restart: it is noted on the spool within a
//!    second (`Service::note_limits`). A kill forgets no more than that second.
//! 3. Memory is bounded: a user of whom nothing is used, and who has no session, is forgotten.
//! 4. Root and the daemon's own user are within a limit only if it names a user, a group, a sender or a command. DSNs
//!    are within none, since they do not come through the listener.
//!
//! A client whose user the kernel cannot tell is not within a limit of certain users. Where each user has a limit apart, all
//! such clients have one together.
//!
//! Fails: with [`LimitReached`], which is the reply. Time is an argument. Not here: the keys (`config/limit.rs`), the limits of
//! `[listen]`, which hold for all (`limits.rs`).

mod meter;
mod reached;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::config::{AllowedAmount, BeyondLimit, LimitConfig, LimitSubject};
use crate::envelope::ReversePath;
use crate::listener::peer::is_ordinary;
use crate::sender_policy::{AllowedSenders, SenderPolicy};
use meter::{Meter, NoRoom};
use reached::{LimitUnit, Reached};

pub use reached::LimitReached;

/// The number of users of one limit that are remembered before those without need are forgotten.
const REMEMBERED: usize = 256;

/// A client, as far as limits look at it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LimitedClient<'a> {
    /// The user, if the kernel can tell.
    pub uid: Option<u32>,
    /// The login name of the user, if it is known.
    pub login: Option<&'a str>,
    /// The names of the groups that the user is in, if a limit asks for groups.
    pub groups: &'a [String],
    /// The command of a program on the unix socket.
    pub command: Option<&'a str>,
}

/// A message, as far as limits look at it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LimitedMessage<'a> {
    pub reverse_path: &'a ReversePath,
    pub recipients: u64,
    /// The number of octets, as announced or as they are.
    pub octets: u64,
}

/// Those who have an amount together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    /// All that the limit is about.
    All,
    /// One user, or all clients whose user is not known.
    User(Option<u32>),
}

/// How much one holder has used of one limit.
#[derive(Debug)]
struct Usage {
    meters: Vec<(LimitUnit, AllowedAmount, Meter)>,
    sessions: u64,
    /// The number of messages and sessions that were refused, and the moment until which the last one was, if that is known.
    refused: u64,
    until: Option<Timestamp>,
    /// The number of messages that were held.
    held: u64,
}

#[derive(Debug)]
struct LimitInForce {
    config: LimitConfig,
    /// The senders that these clients may use; `None` for all.
    senders: Option<Arc<SenderPolicy>>,
    usages: BTreeMap<Holder, Usage>,
}

/// The room in the queue, for a client.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct QueueRoom {
    /// The number of messages of its user on the spool.
    pub of_user: u64,
    /// The number of messages for which there are places.
    pub left: u64,
}

/// What is remembered of earlier runs: the note that was kept under a name.
type NotedUsage = Box<dyn Fn(&str) -> String + Send + Sync>;

#[derive(Debug)]
struct LimitsState {
    limits: Vec<LimitInForce>,
    /// The number of messages under way of each user: counted, and not on the spool yet.
    under_way: HashMap<u32, u64>,
    /// The names of notes about whom there is nothing to note any more.
    forgotten: Vec<String>,
    /// True if something was used that is not noted yet.
    is_news: bool,
}

/// All limits, and how much of each is used.
pub struct ClientLimits {
    state: Mutex<LimitsState>,
    remembered: NotedUsage,
    /// The time at which a message is given up.
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

/// What the limits say of one holder, for listings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitFigures {
    /// The name of the limit.
    pub limit: String,
    /// The user, if the limit counts each apart and this one is known.
    pub uid: Option<u32>,
    /// Each amount in a period: its key, what is allowed, and what is left of it.
    pub left: Vec<(&'static str, String, u64)>,
    /// The number of messages and sessions that were refused since the start.
    pub refused: u64,
    /// The number of messages that were put on hold since the start.
    pub held: u64,
    /// The moment from which on there is room again; `None` if there is.
    pub until: Option<Timestamp>,
}

impl ClientLimits {
    /// Returns the limits of this configuration. An address without a domain gets `origin`; `remembered` returns what was noted in
    /// an earlier run.
    pub(super) fn new(
        limits: &[LimitConfig],
        origin: &str,
        remembered: impl Fn(&str) -> String + Send + Sync + 'static,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Arc<Self> {
        let limits = in_force(limits, origin);
        let state = LimitsState { limits, under_way: HashMap::new(), forgotten: Vec::new(), is_news: false };
        let (remembered, clock) = (Box::new(remembered), Box::new(clock));
        Arc::new(ClientLimits { state: Mutex::new(state), remembered, clock })
    }

    /// Replaces the limits. What was used of one counts for the one with the same name.
    pub(super) fn change(&self, limits: &[LimitConfig], origin: &str, now: Timestamp) {
        let mut state = self.state();
        let before = std::mem::replace(&mut state.limits, in_force(limits, origin));
        for limit in &mut state.limits {
            if let Some(earlier) = before.iter().find(|earlier| earlier.config.name == limit.config.name) {
                limit.follow(earlier, now);
            }
        }
        let names: Vec<&str> = state.limits.iter().map(|limit| limit.config.name.as_str()).collect();
        let gone = before.iter().filter(|earlier| !names.contains(&earlier.config.name.as_str()));
        let gone: Vec<String> =
            gone.flat_map(|limit| limit.usages.keys().map(|holder| limit.note_name(*holder))).collect();
        state.forgotten.extend(gone);
        state.is_news = true;
    }

    /// Returns whether a limit, or one of sessions if only these are meant, asks for the groups of a user.
    pub(super) fn ask_for_groups(&self, of_sessions: bool) -> bool {
        self.ask(of_sessions, |subject| !subject.groups.is_empty())
    }

    /// Returns whether a limit, or one of sessions if only these are meant, asks for the login name of a user.
    pub(super) fn ask_for_names(&self, of_sessions: bool) -> bool {
        self.ask(of_sessions, |subject| !subject.users.is_empty())
    }

    fn ask(&self, of_sessions: bool, asks: impl Fn(&LimitSubject) -> bool) -> bool {
        let state = self.state();
        let mut meant = state.limits.iter().filter(|limit| !of_sessions || limit.config.sessions.is_some());
        meant.any(|limit| asks(&limit.config.subject))
    }

    /// Counts a session of `client`; an error if it is one too many.
    pub(super) fn enter(self: &Arc<Self>, client: LimitedClient<'_>) -> Result<LimitedSession, LimitReached> {
        let mut state = self.state();
        let mut counted = Vec::new();
        for limit in &mut state.limits {
            let Some(most) = limit.config.sessions else { continue };
            let Some(holder) = limit.holder(client, None) else { continue };
            let name = limit.config.name.clone();
            let usage = limit.usage(holder, &self.remembered, Timestamp::MIN);
            if usage.sessions >= most {
                usage.refused += 1;
                drop(state);
                drop(LimitedSession { limits: Arc::clone(self), counted });
                return Err(LimitReached { limit: name, by: Reached::Sessions(most) });
            }
            usage.sessions += 1;
            counted.push((name, holder));
        }
        drop(state);
        Ok(LimitedSession { limits: Arc::clone(self), counted })
    }

    /// Counts a message of `client`; an error if a limit does not allow it, or its user has a fair share of the queue.
    pub(super) fn charge(
        self: &Arc<Self>,
        client: LimitedClient<'_>,
        message: LimitedMessage<'_>,
        queue: QueueRoom,
        now: Timestamp,
    ) -> Result<Charge, LimitReached> {
        let mut state = self.state();
        let queue = state.with_those_under_way(client.uid, queue);
        // Half of all places, if there is no other mail.
        if client.uid.is_some_and(is_ordinary) && queue.of_user >= queue.left {
            return Err(LimitReached { limit: String::new(), by: Reached::Share });
        }
        let holders: Vec<Option<Holder>> =
            state.limits.iter().map(|limit| limit.holder(client, Some(message.reverse_path))).collect();
        // A sender that is not theirs first: whatever else is refused may be reported to the sender.
        for (limit, holder) in state.limits.iter_mut().zip(&holders) {
            let Some(holder) = *holder else { continue };
            limit.check_sender(message.reverse_path, holder, &self.remembered, now)?;
        }
        let mut holding: Vec<LimitReached> = Vec::new();
        for (limit, holder) in state.limits.iter_mut().zip(&holders) {
            let Some(holder) = *holder else { continue };
            holding.extend(limit.check(message, holder, queue, &self.remembered, now)?);
        }
        let mut charge = Charge {
            limits: Arc::clone(self),
            of: Vec::new(),
            uid: client.uid,
            message: (message.recipients, message.octets),
            taken: now,
            size: None,
            senders: Vec::new(),
            on_hold: holding.first().map(LimitReached::holding),
        };
        for (limit, holder) in state.limits.iter_mut().zip(holders) {
            let Some(holder) = holder else { continue };
            let name = limit.config.name.clone();
            let usage = limit.usage(holder, &self.remembered, now);
            if holding.iter().any(|reached| reached.limit == name) {
                usage.held += 1;
            } else {
                usage.take(message.recipients, message.octets, now);
                charge.of.push((name, holder));
            }
            charge.senders.extend(limit.senders.clone());
            let size = limit.config.size.map(|size| (size, limit.config.name.clone()));
            charge.size = charge.size.take().into_iter().chain(size).min();
        }
        state.is_news |= !charge.of.is_empty();
        if let Some(uid) = client.uid {
            *state.under_way.entry(uid).or_default() += 1;
        }
        Ok(charge)
    }

    /// Returns what is to be noted of each holder, as a name and a note, if anything was used since the last call. An empty
    /// note says that nothing is used any more.
    pub(super) fn news(&self, clock: impl FnOnce() -> Timestamp) -> Option<Vec<(String, String)>> {
        let mut state = self.state();
        if !std::mem::take(&mut state.is_news) {
            return None;
        }
        let now = clock();
        let notes = state.limits.iter().flat_map(|limit| {
            let note = |(holder, usage): (&Holder, &Usage)| (limit.note_name(*holder), usage.note(now));
            limit.usages.iter().map(note)
        });
        let mut notes: Vec<(String, String)> = notes.collect();
        let forgotten: Vec<String> = std::mem::take(&mut state.forgotten);
        notes.extend(forgotten.into_iter().map(|name| (name, String::new())));
        state.limits.iter_mut().for_each(|limit| limit.forget_idle(now));
        Some(notes)
    }

    /// Returns the figures of each holder who has used something, or was refused.
    pub fn figures(&self, now: Timestamp) -> Vec<LimitFigures> {
        let state = self.state();
        let figures = state.limits.iter().flat_map(|limit| {
            let shown = limit
                .usages
                .iter()
                .filter(|(_, usage)| usage.refused > 0 || usage.held > 0 || !usage.is_idle(now));
            shown.map(|(holder, usage)| usage.figures(&limit.config.name, *holder, now))
        });
        figures.collect()
    }

    fn with_usage(&self, limit: &str, holder: Holder, change: impl FnOnce(&mut Usage)) {
        let mut state = self.state();
        if let Some(usage) = state.usage_of(limit, holder) {
            change(usage);
            let has_amounts = !usage.meters.is_empty();
            state.is_news |= has_amounts;
        }
    }

    /// Counts out a message that was under way.
    fn arrived(&self, uid: Option<u32>) {
        let mut state = self.state();
        let Some(uid) = uid else { return };
        if let Some(count) = state.under_way.get_mut(&uid) {
            *count -= 1;
            if *count == 0 {
                state.under_way.remove(&uid);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, LimitsState> {
        // No code under this lock can panic and leave the state inconsistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ClientLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state().fmt(f)
    }
}

fn in_force(limits: &[LimitConfig], origin: &str) -> Vec<LimitInForce> {
    let in_force = |config: &LimitConfig| LimitInForce {
        config: config.clone(),
        senders: senders_of(config, origin).map(Arc::new),
        usages: BTreeMap::new(),
    };
    limits.iter().map(in_force).collect()
}

/// Returns the senders that a limit allows, in the envelope and in the header alike; `None` for all.
fn senders_of(config: &LimitConfig, origin: &str) -> Option<SenderPolicy> {
    let LimitConfig { name, allow_from, deny_from, .. } = config;
    let senders = AllowedSenders { allowed: allow_from.clone(), denied: deny_from.clone() };
    (senders != AllowedSenders::default()).then(|| SenderPolicy {
        who: format!("clients of the limit \"{name}\""),
        origin: origin.to_owned(),
        reverse_paths: senders.clone(),
        authors: senders,
    })
}

impl LimitsState {
    fn usage_of(&mut self, limit: &str, holder: Holder) -> Option<&mut Usage> {
        let limit = self.limits.iter_mut().find(|known| known.config.name == limit)?;
        limit.usages.get_mut(&holder)
    }

    /// Returns what happens to a message beyond this limit.
    fn beyond(&self, limit: &str) -> BeyondLimit {
        let limit = self.limits.iter().find(|known| known.config.name == limit);
        limit.map_or(BeyondLimit::Defer, |limit| limit.config.beyond)
    }

    /// Returns the room in the queue as it is when all messages under way are on the spool.
    fn with_those_under_way(&self, uid: Option<u32>, queue: QueueRoom) -> QueueRoom {
        let of_user = uid.and_then(|uid| self.under_way.get(&uid)).copied().unwrap_or_default();
        let of_all: u64 = self.under_way.values().sum();
        QueueRoom { of_user: queue.of_user + of_user, left: queue.left.saturating_sub(of_all) }
    }
}

impl LimitInForce {
    /// Returns who has this limit for `client`; `None` if it is not about it. Without a reverse-path, a limit about senders is
    /// about nobody.
    fn holder(&self, client: LimitedClient<'_>, reverse_path: Option<&ReversePath>) -> Option<Holder> {
        let subject = &self.config.subject;
        let is_exempt =
            *subject == LimitSubject::default() && client.uid.is_some_and(|uid| !is_ordinary(uid));
        let is_about = !is_exempt && fits(subject, client, reverse_path);
        let holder = if self.config.each_user { Holder::User(client.uid) } else { Holder::All };
        is_about.then_some(holder)
    }

    /// Returns what `holder` has used; what was noted in an earlier run, if it is the first time.
    fn usage(&mut self, holder: Holder, remembered: &NotedUsage, now: Timestamp) -> &mut Usage {
        if self.usages.len() >= REMEMBERED {
            self.forget_idle(now);
        }
        let (config, name) = (&self.config, self.note_name(holder));
        self.usages.entry(holder).or_insert_with(|| Usage::noted(config, &remembered(&name)))
    }

    fn forget_idle(&mut self, now: Timestamp) {
        self.usages.retain(|_, usage| !usage.is_idle(now) || usage.refused > 0 || usage.held > 0);
        if self.usages.len() >= REMEMBERED {
            self.usages.retain(|_, usage| !usage.is_idle(now));
        }
    }

    /// Takes over what was used of the limit in its earlier form.
    fn follow(&mut self, earlier: &LimitInForce, now: Timestamp) {
        for (holder, before) in &earlier.usages {
            let mut usage = Usage::noted(&self.config, "");
            for (unit, of, meter) in &mut usage.meters {
                let same =
                    before.meters.iter().find(|(other, other_of, _)| other == unit && other_of.per == of.per);
                *meter =
                    same.map_or(*meter, |(_, earlier_of, meter)| meter.of_another(*earlier_of, *of, now));
            }
            (usage.sessions, usage.refused, usage.held) = (before.sessions, before.refused, before.held);
            self.usages.insert(*holder, usage);
        }
    }

    /// Returns what is reached of the limit, if it holds the message for it; an error if `holder` may not send the message.
    fn check(
        &mut self,
        message: LimitedMessage<'_>,
        holder: Holder,
        queue: QueueRoom,
        remembered: &NotedUsage,
        now: Timestamp,
    ) -> Result<Option<LimitReached>, LimitReached> {
        let of_message = self.of_message(message, queue);
        let (limit, beyond) = (self.config.name.clone(), self.config.beyond);
        let usage = self.usage(holder, remembered, now);
        let reached = of_message.or_else(|| usage.used_up(message.recipients, message.octets, now));
        match reached {
            Some(by) if beyond == BeyondLimit::Hold && by.is_of_amount() => {
                Ok(Some(LimitReached { limit, by }))
            }
            Some(by) => Err(usage.refuse(limit, by)),
            None => Ok(None),
        }
    }

    /// Returns an error if `holder` may not use this sender.
    fn check_sender(
        &mut self,
        path: &ReversePath,
        holder: Holder,
        remembered: &NotedUsage,
        now: Timestamp,
    ) -> Result<(), LimitReached> {
        let Some(Err(refusal)) = self.senders.as_ref().map(|senders| senders.check_reverse_path(path)) else {
            return Ok(());
        };
        let limit = self.config.name.clone();
        Err(self.usage(holder, remembered, now).refuse(limit, Reached::Sender(refusal.to_string())))
    }

    fn of_message(&self, message: LimitedMessage<'_>, queue: QueueRoom) -> Option<Reached> {
        let LimitConfig { recipients_per_message, size, queued, .. } = &self.config;
        let too_many =
            recipients_per_message.filter(|most| message.recipients > *most).map(Reached::Recipients);
        let too_large = || size.filter(|most| message.octets > *most).map(Reached::Size);
        let too_many_queued = || queued.filter(|most| queue.of_user >= *most).map(Reached::Queued);
        too_many.or_else(too_large).or_else(too_many_queued)
    }

    /// Returns the name under which the note about `holder` is kept.
    fn note_name(&self, holder: Holder) -> String {
        let name = &self.config.name;
        match holder {
            Holder::All => format!("limit {name}"),
            Holder::User(Some(uid)) => format!("limit {name} of uid {uid}"),
            Holder::User(None) => format!("limit {name} of unknown users"),
        }
    }
}

/// Returns whether a client, with the reverse-path of its message, fits every condition.
fn fits(subject: &LimitSubject, client: LimitedClient<'_>, reverse_path: Option<&ReversePath>) -> bool {
    let LimitSubject { uids, users, groups, senders, commands } = subject;
    let is_one_of = |names: &[String], name: Option<&str>| {
        names.is_empty() || name.is_some_and(|name| names.iter().any(|other| other == name))
    };
    (uids.is_empty() || client.uid.is_some_and(|uid| uids.contains(&uid)))
        && is_one_of(users, client.login)
        && (groups.is_empty() || client.groups.iter().any(|group| groups.contains(group)))
        && (senders.is_empty()
            || reverse_path.is_some_and(|path| senders.iter().any(|sender| sender.takes(path))))
        && is_one_of(commands, client.command)
}

impl Usage {
    /// Returns what `note` says of the amounts of `config`.
    fn noted(config: &LimitConfig, note: &str) -> Usage {
        let recorded = |unit: LimitUnit, of: AllowedAmount| {
            let key = format!("{}/{}", unit.key(), of.per.word());
            let mut words = note.split(' ').filter_map(|word| word.split_once('='));
            Meter::recorded(words.find(|(word, _)| *word == key).map_or("", |(_, record)| record))
        };
        let amounts = [
            (LimitUnit::Messages, &config.messages),
            (LimitUnit::Octets, &config.octets),
            (LimitUnit::Recipients, &config.recipients),
        ];
        let amounts = amounts.into_iter().flat_map(|(unit, list)| list.iter().map(move |of| (unit, *of)));
        let meters = amounts.map(|(unit, of)| (unit, of, recorded(unit, of))).collect();
        Usage { meters, sessions: 0, refused: 0, until: None, held: 0 }
    }

    /// Returns what [`Usage::noted`] understands; nothing if nothing is used.
    fn note(&self, now: Timestamp) -> String {
        let used = self.meters.iter().filter(|(_, _, meter)| !meter.is_free(now));
        let words =
            used.map(|(unit, of, meter)| format!("{}/{}={}", unit.key(), of.per.word(), meter.record()));
        words.collect::<Vec<_>>().join(" ")
    }

    fn is_idle(&self, now: Timestamp) -> bool {
        self.sessions == 0 && self.meters.iter().all(|(_, _, meter)| meter.is_free(now))
    }

    /// Counts a refusal. Returns it.
    fn refuse(&mut self, limit: String, by: Reached) -> LimitReached {
        let reached = LimitReached { limit, by };
        self.refused += 1;
        self.until = reached.until();
        reached
    }

    /// Returns the amount that has no room for this message, the one for which it would wait longest. One octet more is asked
    /// for than was announced, so that an amount that is used up refuses a message before its content.
    fn used_up(&self, recipients: u64, octets: u64, now: Timestamp) -> Option<Reached> {
        let refusals = self.meters.iter().filter_map(|(unit, of, meter)| {
            let units = units(*unit, recipients, octets).max(1);
            meter.check(*of, units, now).err().map(|no_room| (no_room, *unit, *of))
        });
        Usage::longest(refusals, now)
    }

    /// Returns the amount of octets that has no room for `more` of a message of `octets` in all.
    fn octets_used_up(&self, octets: u64, more: u64, now: Timestamp) -> Option<Reached> {
        let of_octets = self.meters.iter().filter(|(unit, ..)| *unit == LimitUnit::Octets);
        let refusals = of_octets.filter_map(|(unit, of, meter)| {
            let no_room =
                if octets > of.amount.get() { Err(NoRoom::Ever) } else { meter.check(*of, more, now) };
            no_room.err().map(|no_room| (no_room, *unit, *of))
        });
        Usage::longest(refusals, now)
    }

    /// Returns the refusal that lasts longest.
    fn longest(
        refusals: impl Iterator<Item = (NoRoom, LimitUnit, AllowedAmount)>,
        now: Timestamp,
    ) -> Option<Reached> {
        let latest = |no_room: &NoRoom| match no_room {
            NoRoom::Until(until) => *until,
            NoRoom::Ever => Timestamp::MAX,
        };
        let (no_room, unit, of) = refusals.max_by_key(|(no_room, ..)| latest(no_room))?;
        Some(match no_room {
            NoRoom::Until(until) => {
                let wait = Duration::try_from(until.duration_since(now)).unwrap_or_default();
                Reached::UsedUp { unit, of, until, wait }
            }
            NoRoom::Ever => Reached::MoreThanAll { unit, of },
        })
    }

    fn take(&mut self, recipients: u64, octets: u64, now: Timestamp) {
        for (unit, of, meter) in &mut self.meters {
            meter.take(*of, units(*unit, recipients, octets), now);
        }
    }

    fn give_back(&mut self, recipients: u64, octets: u64, ago: Duration) {
        for (unit, of, meter) in &mut self.meters {
            meter.give_back(*of, units(*unit, recipients, octets), ago);
        }
    }

    /// Takes more octets, or gives them back.
    fn count_octets(&mut self, change: impl Fn(&mut Meter, AllowedAmount)) {
        let of_octets = self.meters.iter_mut().filter(|(unit, ..)| *unit == LimitUnit::Octets);
        of_octets.for_each(|(_, of, meter)| change(meter, *of));
    }

    fn figures(&self, limit: &str, holder: Holder, now: Timestamp) -> LimitFigures {
        let left =
            self.meters.iter().map(|(unit, of, meter)| (unit.key(), of.to_string(), meter.left(*of, now)));
        LimitFigures {
            limit: limit.to_owned(),
            uid: match holder {
                Holder::All => None,
                Holder::User(uid) => uid,
            },
            left: left.collect(),
            refused: self.refused,
            held: self.held,
            until: self.until.filter(|until| *until > now),
        }
    }
}

/// Returns what a message takes of an amount.
fn units(unit: LimitUnit, recipients: u64, octets: u64) -> u64 {
    match unit {
        LimitUnit::Messages => 1,
        LimitUnit::Octets => octets,
        LimitUnit::Recipients => recipients,
    }
}

/// A session that is counted. Dropping it ends the count.
#[derive(Debug)]
pub(super) struct LimitedSession {
    limits: Arc<ClientLimits>,
    counted: Vec<(String, Holder)>,
}

impl Drop for LimitedSession {
    fn drop(&mut self) {
        for (limit, holder) in std::mem::take(&mut self.counted) {
            self.limits.with_usage(&limit, holder, |usage| usage.sessions = usage.sessions.saturating_sub(1));
        }
    }
}

/// A message that is counted. Unless it is kept, dropping it gives back what it took.
#[derive(Debug)]
pub(super) struct Charge {
    limits: Arc<ClientLimits>,
    of: Vec<(String, Holder)>,
    uid: Option<u32>,
    /// The recipients and octets that were taken.
    message: (u64, u64),
    /// The moment at which they were.
    taken: Timestamp,
    /// The most octets of a message, and the limit that says so.
    size: Option<(u64, String)>,
    senders: Vec<Arc<SenderPolicy>>,
    /// Why the message is to be held, if it is.
    on_hold: Option<String>,
}

impl Charge {
    /// Returns why the message is to be put on hold; `None` if it is not.
    pub fn on_hold(&self) -> Option<&str> {
        self.on_hold.as_deref()
    }

    /// Returns the policies that the authors in the header have to fit, too.
    pub fn senders(&self) -> &[Arc<SenderPolicy>] {
        &self.senders
    }

    /// Takes in that so many octets have arrived in all; an error if the message is too large, or there is no room for what is
    /// more than was announced.
    pub fn grow(&mut self, octets: u64, now: Timestamp) -> Result<(), LimitReached> {
        if let Some((most, limit)) = self.size.as_ref().filter(|(most, _)| octets > *most) {
            return Err(LimitReached { limit: limit.clone(), by: Reached::Size(*most) });
        }
        let more = octets.saturating_sub(self.message.1);
        if more == 0 || self.of.is_empty() {
            return Ok(());
        }
        let limits = Arc::clone(&self.limits);
        let mut state = limits.state();
        let mut holding = Vec::new();
        for (name, holder) in &self.of {
            let holds = state.beyond(name) == BeyondLimit::Hold;
            let Some(usage) = state.usage_of(name, *holder) else { continue };
            let Some(by) = usage.octets_used_up(octets, more, now) else { continue };
            if !holds {
                return Err(usage.refuse(name.clone(), by));
            }
            holding.push(LimitReached { limit: name.clone(), by });
        }
        for reached in holding {
            self.is_held_by(&mut state, &reached, now);
        }
        for (name, holder) in &self.of {
            if let Some(usage) = state.usage_of(name, *holder) {
                usage.count_octets(|meter, of| meter.take(of, more, now));
            }
        }
        drop(state);
        self.message.1 = octets;
        Ok(())
    }

    /// Takes in that a limit holds the message that has grown beyond it, and gives back what was taken of it.
    fn is_held_by(&mut self, state: &mut LimitsState, reached: &LimitReached, now: Timestamp) {
        let (recipients, octets) = self.message;
        let ago = Duration::try_from(now.duration_since(self.taken)).unwrap_or_default();
        for (_, holder) in self.of.extract_if(.., |(of, _)| *of == reached.limit) {
            if let Some(usage) = state.usage_of(&reached.limit, holder) {
                usage.give_back(recipients, octets, ago);
                usage.held += 1;
            }
        }
        self.on_hold.get_or_insert_with(|| reached.holding());
    }

    /// Returns the time since it was taken.
    fn age(&self) -> Duration {
        Duration::try_from((self.limits.clock)().duration_since(self.taken)).unwrap_or_default()
    }

    /// Keeps what was taken for a message of so many octets, which is on the spool now.
    pub fn keep(mut self, octets: u64) {
        let (surplus, ago) = (self.message.1.saturating_sub(octets), self.age());
        for (limit, holder) in std::mem::take(&mut self.of) {
            self.limits.with_usage(&limit, holder, |usage| {
                usage.count_octets(|meter, of| meter.give_back(of, surplus, ago));
            });
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.limits.arrived(self.uid);
        let ((recipients, octets), ago) = (self.message, self.age());
        for (limit, holder) in std::mem::take(&mut self.of) {
            self.limits.with_usage(&limit, holder, |usage| usage.give_back(recipients, octets, ago));
        }
    }
}

#[cfg(test)]
mod tests;
