//! The meaning of the relay's refusals taken together: they may show that the set-up is wrong, or that it is new.
//!
//! Promises:
//! 1. A refusal that is clearly about a recipient or about the message itself counts for that message alone.
//! 2. If the relay refuses twenty messages in a row with one text, and has taken none in between (`refusals/row.rs`), such a
//!    refusal is trouble of the relay: it bounces nothing until the relay has taken a message.
//! 3. A relay that asks for a login where none is configured is in trouble at once, unless it takes other messages: then the
//!    message is deferred. Such a refusal bounces nothing, whatever else the relay does (`refusals/want_of_login.rs`).
//! 4. Until this relay has taken its first message, its refusals hold the message; `queue.on-refusal` makes that always or
//!    never. A message that was held once for its sender or the account is not bounced by such a refusal later, since nobody
//!    could correct what it was accepted with. A message whose refusal did not say what it is about is tried again when the
//!    relay has taken its first message, and then the reply counts: the set-up works.
//! 5. Mail from `<>` counts in no row and ends none, since our own DSNs follow from messages that do count. A message from
//!    `<>` that is refused while other messages are, with none taken in between, is held until the relay takes a message that
//!    is not from `<>`. Only what is refused after that, on its own, is dead.
//!
//! Held messages are tried again at each start, reload and flush.
//!
//! Pure. Not here: what one refusal is about (`relay/subject.rs`), pausing (`breaker.rs`), a 4xx (`throttle.rs`), holding a
//! message (`settlement.rs`), where it is remembered that a relay has taken mail (`spool/relays.rs`).

mod row;
pub(super) mod want_of_login;

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Config, OnRefusal, Tls};
use crate::envelope::{Envelope, ReversePath};
use crate::outcome::HeldUntil;
use crate::queue_id::QueueId;
use crate::relay::{Cause, Peer, Phase, RecipientReport, Report, Subject, Trouble, Verdict};
use row::Row;

/// The part of the configuration that decides about refusals.
#[derive(Clone, Debug)]
pub struct RefusalRule {
    /// The name of the relay: its hosts, and our user name there. The spool files what it remembers of the relay under
    /// this name.
    pub relay: String,
    /// A user name or a client certificate is configured.
    pub has_login: bool,
    /// `queue.on-refusal`.
    pub on_refusal: Option<OnRefusal>,
}

impl RefusalRule {
    /// Returns the queue's part of `config`.
    pub(super) fn of(config: &Config) -> Self {
        let Config { relay, queue, .. } = config;
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

/// A refusal that may say something about more than its own message.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub id: QueueId,
    pub peer: Peer,
    pub phase: Phase,
    pub about: Subject,
    /// It is a 4xx.
    pub is_deferral: bool,
    pub said: String,
    /// The message is from `<>`.
    pub is_from_null: bool,
    /// The relay took another recipient in the same transaction.
    pub in_company: bool,
    /// The domains of the recipients that were refused.
    pub domains: BTreeSet<String>,
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

/// Returns whether the relay's reply about this recipient may say something about more than this message.
pub(super) fn is_telling(report: &RecipientReport) -> bool {
    report.from_relay
        && match report.verdict {
            Verdict::Bounced => is_about_set_up(report.about),
            Verdict::Deferred => {
                report.about == Subject::Pace || matches!(report.phase, Phase::Mail | Phase::Data)
            }
            Verdict::Sent | Verdict::Unproven | Verdict::Untold | Verdict::TooMany | Verdict::WithoutDsn => {
                false
            }
        }
}

/// Returns whether the relay took this recipient in the same transaction in which it had refused the one that was
/// `told`.
fn is_taken_beside(other: &RecipientReport, told: &RecipientReport) -> bool {
    other.verdict == Verdict::Sent || (other.from_relay && other.phase > told.phase)
}

/// Returns whether a permanent refusal about `subject` may be due to the set-up, and not to its message.
fn is_about_set_up(subject: Subject) -> bool {
    matches!(subject, Subject::Permission | Subject::Login | Subject::Unclear)
}

impl Refusal {
    /// Returns the refusal in `report` that says most about a message with this `envelope`: one that asks for a login,
    /// or else the first.
    pub(super) fn of(report: &Report, envelope: &Envelope) -> Option<Refusal> {
        let telling = || report.recipients.iter().filter(|recipient| is_telling(recipient));
        let told = telling().find(|told| told.about == Subject::Login).or_else(|| telling().next())?;
        let refused = telling().filter_map(|refused| envelope.recipients.get(refused.index));
        let domains =
            refused.filter_map(|recipient| recipient.address.domain()).map(str::to_lowercase).collect();
        Some(Refusal {
            id: report.id,
            peer: report.peer.clone(),
            phase: told.phase,
            about: told.about,
            is_deferral: told.verdict == Verdict::Deferred,
            said: told.said.clone(),
            is_from_null: envelope.reverse_path == ReversePath::Null,
            in_company: report.recipients.iter().any(|other| is_taken_beside(other, told)),
            domains,
        })
    }
}

/// The queue's knowledge of one relay's refusals.
pub(super) struct Refusals {
    rule: RefusalRule,
    /// The relay has taken a message, in this run or in an earlier one.
    has_taken: bool,
    row: Row,
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
    /// Returns the state in which nothing has been refused yet, but the messages `held` in earlier runs.
    pub(super) fn new(rule: RefusalRule, has_taken: bool, held: impl IntoIterator<Item = QueueId>) -> Self {
        Refusals {
            rule,
            has_taken,
            row: Row::default(),
            held: held.into_iter().collect(),
            waiting: BTreeMap::new(),
            taken: 0,
            held_by: None,
        }
    }

    /// Follows a changed configuration; `has_taken` is about its relay.
    pub(super) fn reconfigure(&mut self, rule: RefusalRule, has_taken: bool) {
        (self.rule, self.has_taken, self.row) = (rule, has_taken, Row::default());
    }

    /// Takes in that the relay has taken a message, from `<>` or not. Returns whether it is the first one ever.
    pub(super) fn taken(&mut self, is_from_null: bool) -> bool {
        if is_from_null && self.has_taken && self.row.len() > 0 {
            // Messages are being refused: the bounces that wait for the end of that go on waiting.
            return false;
        }
        if !is_from_null {
            self.row = Row::default();
        }
        self.taken += 1;
        !std::mem::replace(&mut self.has_taken, true)
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
        if !refusal.is_from_null {
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
        if holds || (refusal.is_from_null && self.makes_wait(refusal.id)) {
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

    /// Forgets a message that has left the queue, or is to be tried again as if it had not been held.
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

    /// Returns the reply for which a message was held last, while one is held.
    pub(super) fn held_by(&self) -> Option<&str> {
        self.held_by.as_deref().filter(|_| !self.held.is_empty())
    }

    /// Returns what held mail waits for.
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

    /// Returns `trouble`, and whether it is for want of a login that is not configured: then it says what to do.
    pub(super) fn explain(&self, trouble: Trouble) -> (Trouble, bool) {
        match &trouble.cause {
            Cause::Reply(reply) if reply.code() == AUTHENTICATION_REQUIRED && !self.rule.has_login => {
                (Trouble { cause: Cause::Other(wants_login(&reply.to_string())), ..trouble }, true)
            }
            _ => (trouble, false),
        }
    }

    fn hold(&mut self, refusal: &Refusal) -> Ruling {
        self.held.insert(refusal.id);
        self.held_by = Some(refusal.said.clone());
        Ruling::Hold
    }
}

/// RFC 4954 6.
const AUTHENTICATION_REQUIRED: u16 = 530;

fn wants_login(said: &str) -> String {
    format!(
        "the relay asks for a login and none is configured: set [auth] (username, password-file); it said: {said}"
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DENIED: &str = "550 5.7.1 <ann@example.net>: sender not allowed";

    fn rule(on_refusal: Option<OnRefusal>, has_login: bool) -> RefusalRule {
        RefusalRule { relay: "relay.example:587".into(), has_login, on_refusal }
    }

    fn peer() -> Peer {
        Peer { name: "relay.example".into(), address: "192.0.2.1:587".parse().unwrap(), tls: None }
    }

    fn report(recipients: Vec<RecipientReport>) -> Report {
        Report {
            id: QueueId::from_raw(1),
            peer: peer(),
            recipients,
            possible_duplicate: false,
            lost_at: None,
            left_at: None,
            dsn_passed_on: false,
            connecting: Duration::ZERO,
            transmitting: Duration::ZERO,
        }
    }

    fn refusal(raw: u64, about: Subject, said: &str) -> Refusal {
        Refusal {
            id: QueueId::from_raw(raw),
            peer: peer(),
            phase: Phase::Mail,
            about,
            is_deferral: false,
            said: said.into(),
            is_from_null: false,
            in_company: false,
            domains: [format!("host{}.example", raw % 3)].into(),
        }
    }

    fn judge(refusals: &mut Refusals, raw: u64, about: Subject, said: &str) -> Ruling {
        refusals.judge(&refusal(raw, about, said))
    }

    #[test]
    fn promise_1_a_message_s_own_refusal_stays_its_own() {
        for has_taken in [false, true] {
            let mut refusals = Refusals::new(rule(Some(OnRefusal::Hold), false), has_taken, []);
            for raw in 0..100 {
                for about in [Subject::Recipient, Subject::Message] {
                    assert_eq!(judge(&mut refusals, raw, about, "550 5.1.1 nobody"), Ruling::AsSaid);
                }
            }
            assert!(!refusals.refuses_everything());
        }
    }

    /// Thirty of thirty messages were bounced for one wrong setting, and no warning was logged.
    #[test]
    fn promise_2_twenty_alike_in_a_row_are_the_relay_s() {
        let mut refusals = Refusals::new(rule(None, true), true, []);
        for raw in 1..20 {
            let said = format!("550 5.7.1 <u{raw}@example.net>: sender not allowed, id 4F{raw}C");
            assert_eq!(judge(&mut refusals, raw, Subject::Permission, &said), Ruling::AsSaid, "{raw}");
        }
        let said = "550 5.7.1 <x@example.net>: sender not allowed, id 4F99C";
        assert_eq!(judge(&mut refusals, 20, Subject::Permission, said), Ruling::Untold);
        assert_eq!(judge(&mut refusals, 20, Subject::Permission, said), Ruling::Untold, "it is tried again");
        assert_eq!(judge(&mut refusals, 21, Subject::Recipient, "550 5.1.1 nobody"), Ruling::AsSaid);
        assert!(refusals.trouble(&refusal(20, Subject::Permission, said)).contains("20 messages in a row"));
        assert!(!refusals.taken(false), "not its first");
        assert_eq!(judge(&mut refusals, 20, Subject::Permission, said), Ruling::AsSaid, "one has passed");
    }

    #[test]
    fn what_is_taken_in_between_and_another_text_begin_a_new_row() {
        let mut refusals = Refusals::new(rule(None, true), true, []);
        for raw in 0..200 {
            if raw % 19 == 0 {
                refusals.taken(false);
            }
            assert_eq!(judge(&mut refusals, raw, Subject::Permission, DENIED), Ruling::AsSaid, "{raw}");
        }
        for raw in 0..200 {
            let said = if raw % 2 == 0 { DENIED } else { "554 5.7.1 spam" };
            assert_eq!(judge(&mut refusals, raw, Subject::Permission, said), Ruling::AsSaid, "{raw}");
        }
    }

    #[test]
    fn promise_3_a_login_that_is_asked_for_and_not_configured() {
        let said = "550 5.7.1 Client was not authenticated";
        let table = [
            // has a login, has taken, held, lacks a login
            (false, false, false, true),
            (false, false, true, true),
            (false, true, false, true),
            (false, true, true, false),
            (true, false, false, false),
            (true, true, false, false),
        ];
        for (has_login, has_taken, is_held, expected) in table {
            let held = is_held.then(|| QueueId::from_raw(1));
            let refusals = Refusals::new(rule(None, has_login), has_taken, held);
            let refusal = refusal(1, Subject::Login, said);
            assert_eq!(refusals.lacks_login(&refusal), expected, "{has_login} {has_taken} {is_held}");
            assert_eq!(refusals.trouble(&refusal).contains("set [auth]"), expected);
        }
        let refusals = Refusals::new(rule(None, false), true, []);
        assert!(!refusals.lacks_login(&refusal(1, Subject::Permission, DENIED)));
    }

    /// Whatever was held, waits or has been taken before, and whatever is to become of refusals.
    #[test]
    fn promise_3_words_about_a_login_that_is_not_configured_never_bounce() {
        let said = "550 5.7.1 Client was not authenticated";
        for on_refusal in [None, Some(OnRefusal::Hold), Some(OnRefusal::Bounce)] {
            for (has_taken, is_held, waits, is_from_null) in
                (0..16).map(|n| (n & 1 > 0, n & 2 > 0, n & 4 > 0, n & 8 > 0))
            {
                let id = QueueId::from_raw(1);
                let mut refusals = Refusals::new(rule(on_refusal, false), has_taken, is_held.then_some(id));
                if is_held && waits {
                    refusals.waiting.insert(id, 0);
                }
                for _ in 0..100 {
                    let refusal = Refusal { is_from_null, ..refusal(1, Subject::Login, said) };
                    let ruling = refusals.judge(&refusal);
                    assert!(matches!(ruling, Ruling::Defer | Ruling::Hold), "{ruling:?}");
                    assert!(!refusals.refuses_everything());
                }
            }
        }
    }

    /// Of two recipients one was refused for a login, and the other, before it, for something else: both bounced.
    #[test]
    fn promise_3_one_recipient_that_is_refused_for_a_login_speaks_for_all() {
        let envelope = Envelope::from(ReversePath::Null);
        for about in [Subject::Permission, Subject::Unclear, Subject::Message] {
            for verdict in [Verdict::Bounced, Verdict::Deferred] {
                let first = report_of(verdict, Phase::Data, about);
                let recipients = vec![first, report_of(Verdict::Bounced, Phase::Rcpt, Subject::Login)];
                let refusal = Refusal::of(&report(recipients), &envelope).unwrap();
                assert_eq!((refusal.about, refusal.is_deferral), (Subject::Login, false), "{about:?}");
            }
        }
    }

    /// Recipients that were taken have their fate by a later reply than those that were refused.
    #[test]
    fn promise_3_who_was_taken_beside_is_known_by_the_later_reply() {
        use Phase::{Data, Dot, Mail, Rcpt};
        use Verdict::{Bounced, Deferred, Sent, Untold};
        let table = [
            (Rcpt, (Sent, Dot), true),
            (Rcpt, (Deferred, Dot), true),
            (Rcpt, (Bounced, Data), true),
            (Rcpt, (Bounced, Rcpt), false),
            (Rcpt, (Deferred, Rcpt), false),
            (Rcpt, (Untold, Mail), false),
            (Dot, (Bounced, Dot), false),
            (Dot, (Bounced, Rcpt), false),
        ];
        for (at, (verdict, phase), expected) in table {
            let told = report_of(Bounced, at, Subject::Login);
            let other = report_of(verdict, phase, Subject::Message);
            assert_eq!(is_taken_beside(&other, &told), expected, "{at:?} {verdict:?} {phase:?}");
        }
    }

    fn report_of(verdict: Verdict, phase: Phase, about: Subject) -> RecipientReport {
        let from_relay = verdict != Verdict::Untold;
        let status = crate::status::Status::permanent(7, 1);
        RecipientReport { index: 0, verdict, status, said: "words".into(), from_relay, phase, about }
    }

    /// The first day's mail was lost at every provider: cron's mail goes out as root@vm, the provider refuses the
    /// sender, and then the bounce as well.
    #[test]
    fn promise_4_the_first_day_holds() {
        let table = [
            // queue.on-refusal, has taken, expected
            (None, false, Ruling::Hold),
            (None, true, Ruling::AsSaid),
            (Some(OnRefusal::Hold), false, Ruling::Hold),
            (Some(OnRefusal::Hold), true, Ruling::Hold),
            (Some(OnRefusal::Bounce), false, Ruling::AsSaid),
            (Some(OnRefusal::Bounce), true, Ruling::AsSaid),
        ];
        for (on_refusal, has_taken, expected) in table {
            let mut refusals = Refusals::new(rule(on_refusal, true), has_taken, []);
            let ruling = judge(&mut refusals, 1, Subject::Permission, DENIED);
            assert_eq!(ruling, expected, "{on_refusal:?} {has_taken}");
        }
    }

    #[test]
    fn promise_4_what_was_held_once_is_held_again_until_its_end() {
        let mut refusals = Refusals::new(rule(None, true), false, [QueueId::from_raw(7)]);
        assert_eq!(judge(&mut refusals, 1, Subject::Permission, DENIED), Ruling::Hold);
        assert!(refusals.taken(false), "its first message");
        assert_eq!(judge(&mut refusals, 1, Subject::Permission, DENIED), Ruling::Hold);
        assert_eq!(judge(&mut refusals, 7, Subject::Permission, DENIED), Ruling::Hold, "of an earlier run");
        assert_eq!(refusals.held().map(|id| id.raw()).collect::<Vec<_>>(), [1, 7]);
        assert_eq!(refusals.held_by(), Some(DENIED));
        refusals.release(QueueId::from_raw(1));
        refusals.release(QueueId::from_raw(7));
        assert_eq!(refusals.held_by(), None);
        assert_eq!(judge(&mut refusals, 1, Subject::Permission, DENIED), Ruling::AsSaid);
    }

    #[test]
    fn the_first_day_too_ends_after_twenty_alike() {
        let mut refusals = Refusals::new(rule(None, true), false, []);
        for raw in 1..20 {
            assert_eq!(judge(&mut refusals, raw, Subject::Permission, DENIED), Ruling::Hold);
            assert_eq!(judge(&mut refusals, raw, Subject::Permission, DENIED), Ruling::Hold, "counted once");
        }
        assert_eq!(judge(&mut refusals, 20, Subject::Permission, DENIED), Ruling::Untold);
        assert_eq!(
            judge(&mut refusals, 3, Subject::Permission, DENIED),
            Ruling::Hold,
            "what is held stays so"
        );
    }

    /// A message that was refused with "550 mailbox unavailable" before the first one was taken stayed held for ever, and
    /// its sender was never told.
    #[test]
    fn promise_4_an_unclear_refusal_of_the_first_day_counts_once_the_relay_takes_mail() {
        let said = "550 mailbox unavailable";
        let mut refusals = Refusals::new(rule(None, true), false, [QueueId::from_raw(7)]);
        for _ in 0..2 {
            assert_eq!(judge(&mut refusals, 1, Subject::Unclear, said), Ruling::Hold);
            assert_eq!(judge(&mut refusals, 2, Subject::Permission, DENIED), Ruling::Hold);
            assert_eq!(judge(&mut refusals, 3, Subject::Unclear, said), Ruling::Hold);
            assert_eq!(refusals.due(), []);
        }
        assert_eq!(judge(&mut refusals, 3, Subject::Permission, DENIED), Ruling::Hold, "it is clear now");
        refusals.taken(false);
        assert_eq!(refusals.due(), [QueueId::from_raw(1)]);
        refusals.release(QueueId::from_raw(1));
        for (raw, about, expected) in [
            (1, Subject::Unclear, Ruling::AsSaid),
            (2, Subject::Permission, Ruling::Hold),
            (3, Subject::Permission, Ruling::Hold),
            (7, Subject::Unclear, Ruling::AsSaid),
        ] {
            assert_eq!(judge(&mut refusals, raw, about, said), expected, "{raw}");
        }
    }

    /// Ten messages, each refused twice, were once taken for twenty.
    #[test]
    fn promise_2_counts_messages_not_tries() {
        let mut refusals = Refusals::new(rule(Some(OnRefusal::Bounce), true), true, []);
        for _ in 0..5 {
            for raw in 1..20 {
                assert_eq!(judge(&mut refusals, raw, Subject::Permission, DENIED), Ruling::AsSaid, "{raw}");
            }
        }
        assert_eq!(judge(&mut refusals, 20, Subject::Permission, DENIED), Ruling::Untold);
    }

    /// "550 mailbox unavailable" at RCPT bounced on the first day, and thirty times in a row.
    #[test]
    fn an_unclear_refusal_is_held_on_the_first_day_and_counts_in_a_row() {
        let said = "550 mailbox unavailable";
        let mut refusals = Refusals::new(rule(None, true), false, []);
        assert_eq!(judge(&mut refusals, 1, Subject::Unclear, said), Ruling::Hold);
        let mut refusals = Refusals::new(rule(None, true), true, []);
        for raw in 1..20 {
            assert_eq!(judge(&mut refusals, raw, Subject::Unclear, said), Ruling::AsSaid, "{raw}");
        }
        assert_eq!(judge(&mut refusals, 20, Subject::Unclear, said), Ruling::Untold);
    }

    fn judge_bounce(refusals: &mut Refusals, raw: u64) -> Ruling {
        refusals.judge(&Refusal { is_from_null: true, ..refusal(raw, Subject::Permission, DENIED) })
    }

    /// A wrong setting made ten messages bounce; the ten bounces were refused for the same, filled the row and were
    /// dead for ever.
    #[test]
    fn promise_5_bounces_count_for_nothing_and_wait_for_the_next_message_taken() {
        let mut refusals = Refusals::new(rule(None, true), true, []);
        for raw in 1..20 {
            assert_eq!(judge(&mut refusals, raw, Subject::Permission, DENIED), Ruling::AsSaid, "{raw}");
            assert_eq!(judge_bounce(&mut refusals, 100 + raw), Ruling::Hold, "{raw}");
        }
        assert!(!refusals.refuses_everything(), "nineteen messages");
        assert_eq!(refusals.held_until(), HeldUntil::NextTaken);
        assert_eq!(refusals.due(), []);
        refusals.taken(false);
        assert_eq!(refusals.due().len(), 19);
        refusals.release(QueueId::from_raw(101));
        assert_eq!(judge_bounce(&mut refusals, 101), Ruling::AsSaid, "on its own: dead");
        assert_eq!(
            judge_bounce(&mut refusals, 102),
            Ruling::AsSaid,
            "a flush tried it before it was released"
        );
        assert_eq!(judge(&mut refusals, 1, Subject::Permission, DENIED), Ruling::AsSaid);
        assert_eq!(judge_bounce(&mut refusals, 103), Ruling::Hold, "messages are refused again");
        assert_eq!(refusals.due().len(), 16);
    }

    /// A relay that refused all mail of one sender, and took the bounces, made thirty of thirty messages bounce: each
    /// bounce that it took began a new row.
    #[test]
    fn promise_5_a_bounce_that_is_taken_ends_no_row() {
        let mut refusals = Refusals::new(rule(None, true), true, []);
        for raw in 1..20 {
            assert_eq!(judge(&mut refusals, raw, Subject::Permission, DENIED), Ruling::AsSaid, "{raw}");
            refusals.taken(true);
        }
        assert_eq!(judge(&mut refusals, 20, Subject::Permission, DENIED), Ruling::Untold);
        refusals.taken(true);
        assert!(refusals.refuses_everything());
        refusals.taken(false);
        assert!(!refusals.refuses_everything());
    }

    /// A relay that takes the bounces to one address and refuses those to another was asked about each of the second kind
    /// again whenever it had taken one of the first, without end.
    #[test]
    fn promise_5_a_bounce_that_is_taken_lets_none_go_that_waits() {
        let mut refusals = Refusals::new(rule(None, true), true, []);
        judge(&mut refusals, 1, Subject::Unclear, "550 mailbox unavailable");
        assert_eq!(judge_bounce(&mut refusals, 101), Ruling::Hold);
        refusals.taken(true);
        assert_eq!(refusals.due(), []);
        refusals.taken(false);
        assert_eq!(refusals.due().len(), 1);
    }

    #[test]
    fn promise_5_a_bounce_of_the_first_day_is_held_as_other_mail_is() {
        let mut refusals = Refusals::new(rule(None, true), false, []);
        assert_eq!(judge(&mut refusals, 1, Subject::Permission, DENIED), Ruling::Hold);
        assert_eq!(judge_bounce(&mut refusals, 101), Ruling::Hold);
        refusals.taken(false);
        assert_eq!(refusals.due(), [], "it waits for somebody to mend what it was refused for");
        assert_eq!(judge_bounce(&mut refusals, 101), Ruling::Hold);
    }

    #[test]
    fn promise_5_a_bounce_that_waits_outlives_a_reload_and_a_full_row() {
        let mut refusals = Refusals::new(rule(None, true), true, []);
        judge(&mut refusals, 1, Subject::Permission, DENIED);
        assert_eq!(judge_bounce(&mut refusals, 101), Ruling::Hold);
        refusals.reconfigure(rule(None, true), true);
        assert_eq!(judge_bounce(&mut refusals, 101), Ruling::Hold, "nothing was taken since");
        for raw in 1..=20 {
            judge(&mut refusals, raw, Subject::Permission, DENIED);
        }
        assert_eq!(judge_bounce(&mut refusals, 101), Ruling::Untold);
        refusals.taken(false);
        assert_eq!(judge_bounce(&mut refusals, 101), Ruling::AsSaid);
        assert_eq!(refusals.held().count(), 0);
    }
}
