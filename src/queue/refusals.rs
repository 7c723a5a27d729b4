//! The meaning of the relay's refusals taken together: they may show that the set-up is wrong, or that it is new.
//!
//! Promises:
//! 1. A refusal that is clearly about a recipient or about the message itself counts for that message alone.
//! 2. If the relay refuses twenty messages in a row with one text, and has taken none in between (`refusals/row.rs`),
//!    such a refusal is trouble of the relay: it bounces nothing until the relay has taken a message.
//!    The same holds for ten messages that are deferred with one text at MAIL, DATA or the final dot; a 4xx at RCPT is
//!    the recipient's. One message counts once, however often it is tried, and one that is deferred again after others
//!    were taken does not count.
//! 3. A relay that asks for a login where none is configured is in trouble at once, unless it takes other messages:
//!    then the message is deferred. Such a refusal bounces nothing, whatever else the relay does
//!    (`refusals/want_of_login.rs`).
//! 4. Until this relay has taken its first message, its refusals hold the message; `queue.on-refusal` makes that always
//!    or never. A message that was held once for its sender or the account is not bounced by such a refusal later,
//!    since nobody could correct what it was accepted with. A message whose refusal did not say what it is about is
//!    tried again when the relay has taken its first message, and then the reply counts: the set-up works.
//! 5. Mail from `<>` counts in no row and ends none, since our own DSNs follow from messages that do count. A message
//!    from `<>` that is refused while other messages are, with none taken in between, is held until the relay takes a
//!    message that is not from `<>`. Only what is refused after that, on its own, is dead.
//!
//! Held messages are tried again at each start, reload and flush.
//!
//! Pure. Not here: what one refusal is about (`relay/subject.rs`), pausing (`breaker.rs`), one 4xx (`throttle.rs`),
//! holding a message (`settlement.rs`), where it is remembered that a relay has taken mail (`spool/relays.rs`).

pub(super) mod guesses;
mod refusal;
mod row;
pub(super) mod want_of_login;

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{OnRefusal, QueueConfig, RelayConfig, Tls};
use crate::outcome::HeldUntil;
use crate::queue_id::QueueId;
use crate::relay::{Cause, Subject, Trouble};
use refusal::is_about_set_up;
pub(super) use refusal::{Refusal, is_telling};
use row::Row;

/// If so many messages in a row are refused alike for good, the messages are not the reason.
const REFUSED: usize = 20;
/// If so many in a row are deferred alike, the messages are not the reason. They are fewer, since being wrong costs less:
/// other mail that the relay takes shows it at once.
const DEFERRED: usize = 10;

/// The part of the configuration that decides about refusals.
#[derive(Clone, Debug)]
pub struct RefusalRule {
    /// The name of the relay: its hosts, and our user name there. The spool files what it remembers of the relay under
    /// this name.
    pub relay: String,
    /// True if a user name or a client certificate is configured.
    pub has_login: bool,
    /// The value of `queue.on-refusal`.
    pub on_refusal: Option<OnRefusal>,
}

impl RefusalRule {
    /// Returns the rule for this relay.
    pub(super) fn of(relay: &RelayConfig, queue: &QueueConfig) -> Self {
        let hosts: Vec<String> = relay.hosts.iter().map(ToString::to_string).collect();
        let user = relay.auth.as_ref().map(|auth| format!(" as {}", auth.username)).unwrap_or_default();
        let shows_certificate = match &relay.tls {
            Tls::StartTls(tls) | Tls::Implicit(tls) => tls.client.is_some(),
            Tls::None => false,
        };
        RefusalRule {
            relay: hosts.join(",") + &user,
            has_login: relay.auth.is_some() || shows_certificate,
            on_refusal: queue.on_refusal,
        }
    }
}

/// The meaning of a refusal for its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// It means what the reply says.
    AsSaid,
    /// The message is deferred, whatever the reply says.
    Defer,
    /// The message is held.
    Hold,
    /// It says nothing about the message, since it is about the relay.
    Untold,
}

/// The queue's knowledge of one relay's refusals.
pub(super) struct Refusals {
    rule: RefusalRule,
    /// True if the relay has taken a message, in this run or in an earlier one.
    has_taken: bool,
    row: Row,
    /// The messages in a row that were deferred, not refused for good.
    deferred: Row,
    /// Each message that was deferred, with the number of messages that the relay had taken by then.
    deferrals: BTreeMap<QueueId, u64>,
    held: BTreeSet<QueueId>,
    /// The messages of `held` that wait for the relay to take a message, each with the number of messages that it had
    /// taken when the wait began.
    waiting: BTreeMap<QueueId, u64>,
    /// The number of messages that the relay has taken in this run.
    taken: u64,
    /// The reply for which a message was held last.
    held_by: Option<String>,
}

impl Refusals {
    /// Returns the state in which nothing has been refused yet.
    pub(super) fn new(rule: RefusalRule, has_taken: bool) -> Self {
        Refusals {
            rule,
            has_taken,
            row: Row::of(REFUSED),
            deferred: Row::of(DEFERRED),
            deferrals: BTreeMap::new(),
            held: BTreeSet::new(),
            waiting: BTreeMap::new(),
            taken: 0,
            held_by: None,
        }
    }

    /// Takes in that these messages were held earlier.
    pub(super) fn held_before(&mut self, held: impl IntoIterator<Item = QueueId>) {
        self.held.extend(held);
    }

    /// Follows a changed configuration; `has_taken` is about its relay.
    pub(super) fn reconfigure(&mut self, rule: RefusalRule, has_taken: bool) {
        (self.rule, self.has_taken) = (rule, has_taken);
        (self.row, self.deferred) = (Row::of(REFUSED), Row::of(DEFERRED));
    }

    /// Takes in that the relay has taken a message, from `<>` or not. Returns whether it is the first one ever.
    pub(super) fn taken(&mut self, is_from_null: bool) -> bool {
        if !is_from_null {
            self.deferred = Row::of(DEFERRED);
        }
        if is_from_null && self.has_taken && self.row.len() > 0 {
            // Messages are being refused: the bounces that wait for the end of that go on waiting.
            return false;
        }
        if !is_from_null {
            self.row = Row::of(REFUSED);
        }
        self.taken += 1;
        !std::mem::replace(&mut self.has_taken, true)
    }

    /// Takes in that a message was deferred at MAIL, DATA or the final dot. If that is trouble of the relay, returns why.
    pub(super) fn deferred(&mut self, refusal: &Refusal) -> Option<String> {
        let before = self.deferrals.insert(refusal.id, self.taken);
        if before.is_some_and(|before| before < self.taken) {
            // The relay has taken others, and this one is deferred again.
            return None;
        }
        if !refusal.is_from_null() {
            // One trouble may have several codes: Amazon SES says 451 and 454 of a service that fails.
            let words = refusal.said.split_once(' ').map_or("", |(_, words)| words);
            self.deferred.add(refusal.id, words, refusal.about, &refusal.domains);
        }
        self.deferred.is_full().then(|| {
            format!(
                "at least {} messages in a row were deferred alike and none was taken, so this is not about one of \
                 them; the relay said: {}",
                self.deferred.len(),
                refusal.said
            )
        })
    }

    /// Returns what `refusal` means for its message.
    pub(super) fn judge(&mut self, refusal: &Refusal) -> Ruling {
        if !is_about_set_up(refusal.about) {
            return Ruling::AsSaid;
        }
        let is_unclear = refusal.about == Subject::Unclear;
        if self.held.contains(&refusal.id) && !self.waiting.contains_key(&refusal.id) && !is_unclear {
            return self.hold(refusal);
        }
        if self.names_missing_login(refusal) {
            return self.judge_missing_login(refusal);
        }
        if !refusal.is_from_null() {
            self.row.add(refusal.id, &refusal.said, refusal.about, &refusal.domains);
        }
        if self.refuses_everything() {
            return Ruling::Untold;
        }
        let is_first_day = self.rule.on_refusal.is_none() && !self.has_taken;
        if is_first_day && is_unclear {
            self.waiting.insert(refusal.id, self.taken);
        } else if is_first_day {
            self.waiting.remove(&refusal.id);
        }
        let holds = is_first_day || self.rule.on_refusal == Some(OnRefusal::Hold);
        if holds || (refusal.is_from_null() && self.makes_wait(refusal.id)) {
            return self.hold(refusal);
        }
        Ruling::AsSaid
    }

    /// Returns what a refusal for want of a login that is not configured means for a message that is charged with it.
    fn judge_missing_login(&mut self, refusal: &Refusal) -> Ruling {
        if self.rule.on_refusal == Some(OnRefusal::Hold) {
            return self.hold(refusal);
        }
        self.release(refusal.id);
        Ruling::Defer
    }

    /// Returns whether the message `id` from `<>`, which was refused, waits for the relay to take another one: other
    /// messages are being refused, or it waits already and none was taken since.
    fn makes_wait(&mut self, id: QueueId) -> bool {
        let since = self.waiting.get(&id).copied();
        if since.is_some() {
            self.release(id);
        }
        let must_wait = self.row.len() > 0 || since == Some(self.taken);
        if must_wait {
            self.waiting.insert(id, self.taken);
        }
        must_wait
    }

    /// Returns the messages that waited for the relay to take one, which it has done.
    pub(super) fn due(&self) -> Vec<QueueId> {
        self.waiting.iter().filter(|(_, since)| **since < self.taken).map(|(id, _)| *id).collect()
    }

    /// Forgets a message that has left the queue.
    pub(super) fn forget(&mut self, id: QueueId) {
        self.deferrals.remove(&id);
        self.release(id);
    }

    /// Forgets that a message was held, which is to be tried again as if it had not been held.
    pub(super) fn release(&mut self, id: QueueId) {
        self.waiting.remove(&id);
        self.held.remove(&id);
    }

    /// Returns whether the relay has refused so many messages alike that the messages are not the reason.
    pub(super) fn refuses_everything(&self) -> bool {
        self.row.is_full()
    }

    /// Returns why a refusal that says nothing about its message is trouble of the relay, and what to do about it.
    pub(super) fn trouble(&self, refusal: &Refusal) -> String {
        let said = &refusal.said;
        if self.lacks_login(refusal) {
            return wants_login(said);
        }
        format!(
            "at least {} messages in a row were refused alike and none was taken, so nothing is bounced for it: \
             correct the account or the sender and reload; the relay said: {said}",
            self.row.len()
        )
    }

    /// Returns the messages that were held at some time and are still there.
    pub(super) fn held(&self) -> impl Iterator<Item = QueueId> + '_ {
        self.held.iter().copied()
    }

    /// Returns whether the message was held at some time and not released since.
    pub(super) fn is_held(&self, id: QueueId) -> bool {
        self.held.contains(&id)
    }

    /// Returns the reply for which a message was held last, while one is held.
    pub(super) fn held_by(&self) -> Option<&str> {
        self.held_by.as_deref().filter(|_| !self.held.is_empty())
    }

    /// Returns the event that held mail waits for.
    pub(super) fn held_until(&self) -> HeldUntil {
        if self.rule.on_refusal.is_none() && !self.has_taken {
            HeldUntil::FirstTaken
        } else if self.held.iter().all(|id| self.waiting.contains_key(id)) {
            HeldUntil::NextTaken
        } else {
            HeldUntil::Mended
        }
    }

    /// Returns whether the relay refuses for want of a login that is not configured. A message that was held before is
    /// held for its earlier reason.
    pub(super) fn lacks_login(&self, refusal: &Refusal) -> bool {
        let is_held = self.has_taken && self.held.contains(&refusal.id);
        self.names_missing_login(refusal) && !is_held
    }

    fn names_missing_login(&self, refusal: &Refusal) -> bool {
        refusal.about == Subject::Login && !self.rule.has_login
    }

    /// Returns `trouble`, and whether it is for want of a login, or of TLS, that is not configured: then it says what to do.
    pub(super) fn explain(&self, trouble: Trouble) -> (Trouble, bool) {
        let said = match &trouble.cause {
            Cause::Reply(reply) if reply.code() == AUTHENTICATION_REQUIRED => reply.to_string(),
            Cause::Waits { said, .. } if said.starts_with("530") => said.clone(),
            _ => return (trouble, false),
        };
        if self.rule.has_login {
            return (trouble, false);
        }
        let is_in_clear = trouble.peer.as_ref().is_some_and(|peer| peer.tls.is_none());
        let words =
            if is_in_clear && speaks_of_starttls(&said) { wants_starttls(&said) } else { wants_login(&said) };
        (Trouble { cause: Cause::Other(words), ..trouble }, true)
    }

    /// Holds the message, whatever else is known.
    pub(super) fn hold(&mut self, refusal: &Refusal) -> Ruling {
        self.held.insert(refusal.id);
        self.held_by = Some(refusal.said.clone());
        Ruling::Hold
    }
}

/// The reply code by which a relay asks for a login (RFC 4954 6), or for STARTTLS before anything else (RFC 3207 4).
const AUTHENTICATION_REQUIRED: u16 = 530;

fn wants_login(said: &str) -> String {
    format!(
        "the relay asks for a login and none is configured: set [auth] (username, password-file); it \
         said: {said}"
    )
}

fn speaks_of_starttls(said: &str) -> bool {
    said.to_ascii_uppercase().contains("STARTTLS")
}

fn wants_starttls(said: &str) -> String {
    format!(
        "the relay asks for STARTTLS, which tls.mode = \"none\" leaves out: set tls.mode = \"starttls\", and tls.ca-file or \
         tls.pin-sha256 if its certificate is its own; it said: {said}"
    )
}

#[cfg(test)]
mod tests;
