use std::time::Duration;

use super::refusal::is_taken_beside;
use super::*;
use crate::envelope::{Address, Envelope, ReversePath};
use crate::relay::{Peer, Phase, RecipientReport, Report, Verdict};

const DENIED: &str = "550 5.7.1 <ann@example.net>: sender not allowed";

fn rule(on_refusal: Option<OnRefusal>, has_login: bool) -> RefusalRule {
    RefusalRule { relay: "relay.example:587".into(), has_login, on_refusal }
}

fn peer() -> Peer {
    Peer { name: "relay.example".into(), address: "192.0.2.1:587".parse().unwrap(), route: None, tls: None }
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

fn from(is_null: bool) -> ReversePath {
    if is_null { ReversePath::Null } else { ReversePath::Mailbox(Address::parse("app@example.org").unwrap()) }
}

fn refusal(raw: u64, about: Subject, said: &str) -> Refusal {
    Refusal {
        id: QueueId::from_raw(raw),
        peer: peer(),
        phase: Phase::Mail,
        about,
        is_deferral: false,
        said: said.into(),
        from: from(false),
        waits: None,
        in_company: false,
        follows_taken: false,
        domains: [format!("host{}.example", raw % 3)].into(),
    }
}

fn judge(refusals: &mut Refusals, raw: u64, about: Subject, said: &str) -> Ruling {
    refusals.judge(&refusal(raw, about, said))
}

#[test]
fn promise_1_a_message_s_own_refusal_stays_its_own() {
    for has_taken in [false, true] {
        let mut refusals = Refusals::new(rule(Some(OnRefusal::Hold), false), has_taken);
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
    let mut refusals = Refusals::new(rule(None, true), true);
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
    let mut refusals = Refusals::new(rule(None, true), true);
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
        let mut refusals = Refusals::new(rule(None, has_login), has_taken);
        refusals.held_before(held);
        let refusal = refusal(1, Subject::Login, said);
        assert_eq!(refusals.lacks_login(&refusal), expected, "{has_login} {has_taken} {is_held}");
        assert_eq!(refusals.trouble(&refusal).contains("set [auth]"), expected);
    }
    let refusals = Refusals::new(rule(None, false), true);
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
            let mut refusals = Refusals::new(rule(on_refusal, false), has_taken);
            refusals.held_before(is_held.then_some(id));
            if is_held && waits {
                refusals.waiting.insert(id, 0);
            }
            for _ in 0..100 {
                let refusal = Refusal { from: from(is_from_null), ..refusal(1, Subject::Login, said) };
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
        let mut refusals = Refusals::new(rule(on_refusal, true), has_taken);
        let ruling = judge(&mut refusals, 1, Subject::Permission, DENIED);
        assert_eq!(ruling, expected, "{on_refusal:?} {has_taken}");
    }
}

#[test]
fn promise_4_what_was_held_once_is_held_again_until_its_end() {
    let mut refusals = Refusals::new(rule(None, true), false);
    refusals.held_before([QueueId::from_raw(7)]);
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
    let mut refusals = Refusals::new(rule(None, true), false);
    for raw in 1..20 {
        assert_eq!(judge(&mut refusals, raw, Subject::Permission, DENIED), Ruling::Hold);
        assert_eq!(judge(&mut refusals, raw, Subject::Permission, DENIED), Ruling::Hold, "counted once");
    }
    assert_eq!(judge(&mut refusals, 20, Subject::Permission, DENIED), Ruling::Untold);
    assert_eq!(judge(&mut refusals, 3, Subject::Permission, DENIED), Ruling::Hold, "what is held stays so");
}

/// A message that was refused with "550 mailbox unavailable" before the first one was taken stayed held for ever, and
/// its sender was never told.
#[test]
fn promise_4_an_unclear_refusal_of_the_first_day_counts_once_the_relay_takes_mail() {
    let said = "550 mailbox unavailable";
    let mut refusals = Refusals::new(rule(None, true), false);
    refusals.held_before([QueueId::from_raw(7)]);
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
    let mut refusals = Refusals::new(rule(Some(OnRefusal::Bounce), true), true);
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
    let mut refusals = Refusals::new(rule(None, true), false);
    assert_eq!(judge(&mut refusals, 1, Subject::Unclear, said), Ruling::Hold);
    let mut refusals = Refusals::new(rule(None, true), true);
    for raw in 1..20 {
        assert_eq!(judge(&mut refusals, raw, Subject::Unclear, said), Ruling::AsSaid, "{raw}");
    }
    assert_eq!(judge(&mut refusals, 20, Subject::Unclear, said), Ruling::Untold);
}

fn judge_bounce(refusals: &mut Refusals, raw: u64) -> Ruling {
    refusals.judge(&Refusal { from: from(true), ..refusal(raw, Subject::Permission, DENIED) })
}

/// A wrong setting made ten messages bounce; the ten bounces were refused for the same, filled the row and were
/// dead for ever.
#[test]
fn promise_5_bounces_count_for_nothing_and_wait_for_the_next_message_taken() {
    let mut refusals = Refusals::new(rule(None, true), true);
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
    assert_eq!(judge_bounce(&mut refusals, 102), Ruling::AsSaid, "a flush tried it before it was released");
    assert_eq!(judge(&mut refusals, 1, Subject::Permission, DENIED), Ruling::AsSaid);
    assert_eq!(judge_bounce(&mut refusals, 103), Ruling::Hold, "messages are refused again");
    assert_eq!(refusals.due().len(), 16);
}

/// A relay that refused all mail of one sender, and took the bounces, made thirty of thirty messages bounce: each
/// bounce that it took began a new row.
#[test]
fn promise_5_a_bounce_that_is_taken_ends_no_row() {
    let mut refusals = Refusals::new(rule(None, true), true);
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
    let mut refusals = Refusals::new(rule(None, true), true);
    judge(&mut refusals, 1, Subject::Unclear, "550 mailbox unavailable");
    assert_eq!(judge_bounce(&mut refusals, 101), Ruling::Hold);
    refusals.taken(true);
    assert_eq!(refusals.due(), []);
    refusals.taken(false);
    assert_eq!(refusals.due().len(), 1);
}

#[test]
fn promise_5_a_bounce_of_the_first_day_is_held_as_other_mail_is() {
    let mut refusals = Refusals::new(rule(None, true), false);
    assert_eq!(judge(&mut refusals, 1, Subject::Permission, DENIED), Ruling::Hold);
    assert_eq!(judge_bounce(&mut refusals, 101), Ruling::Hold);
    refusals.taken(false);
    assert_eq!(refusals.due(), [], "it waits for somebody to mend what it was refused for");
    assert_eq!(judge_bounce(&mut refusals, 101), Ruling::Hold);
}

#[test]
fn promise_5_a_bounce_that_waits_outlives_a_reload_and_a_full_row() {
    let mut refusals = Refusals::new(rule(None, true), true);
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

/// A relay on loopback that demands STARTTLS was said to ask for a login.
#[test]
fn a_530_says_what_the_relay_asks_for() {
    const NO_TLS: Option<&str> = None;
    const LOGIN: &str = "the relay asks for a login and none is configured: set [auth]";
    const STARTTLS: &str =
        "the relay asks for STARTTLS, which tls.mode = \"none\" leaves out: set tls.mode = \"starttls\"";
    let must = "Must issue a STARTTLS command first";
    for (tls, said, has_login, expected) in [
        (NO_TLS, "Authentication required", false, Some(LOGIN)),
        (NO_TLS, must, false, Some(STARTTLS)),
        (Some("TLSv1.3"), must, false, Some(LOGIN)),
        (Some("TLSv1.3"), "Authentication required", false, Some(LOGIN)),
        (Some("TLSv1.3"), "Authentication required", true, None),
    ] {
        let refusals = Refusals::new(rule(None, has_login), false);
        let reply = crate::smtp::reply::Reply::bare(530, said);
        let peer = Some(Box::new(Peer { tls, ..peer() }));
        let (told, is_wanting) =
            refusals.explain(Trouble { phase: Phase::Mail, peer, cause: Cause::Reply(reply) });
        assert_eq!(is_wanting, expected.is_some(), "{said}");
        let words = told.cause.to_string();
        assert!(expected.is_none_or(|begin| words.starts_with(begin)) && words.contains(said), "{words}");
    }
}
