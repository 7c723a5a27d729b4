use std::num::NonZeroU64;

use super::*;
use crate::config::RatePeriod;
use crate::envelope::Address;
use crate::routing::{AddressPattern, SenderPattern};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn allowance(amount: u64, per: RatePeriod) -> Vec<AllowedAmount> {
    vec![AllowedAmount { amount: NonZeroU64::new(amount).unwrap(), per }]
}

/// Returns a limit that is about nobody in particular and limits nothing.
fn limit(name: &str) -> LimitConfig {
    LimitConfig {
        name: name.into(),
        subject: LimitSubject::default(),
        each_user: false,
        messages: Vec::new(),
        octets: Vec::new(),
        recipients: Vec::new(),
        recipients_per_message: None,
        size: None,
        sessions: None,
        queued: None,
        beyond: BeyondLimit::Defer,
        allow_from: Vec::new(),
        deny_from: Vec::new(),
    }
}

fn of_uid(uid: u32) -> LimitSubject {
    LimitSubject { uids: vec![uid], ..LimitSubject::default() }
}

fn limits(limits: &[LimitConfig]) -> Arc<ClientLimits> {
    ClientLimits::new(limits, "host.example", |_| String::new(), || at(0))
}

const ROOM: QueueRoom = QueueRoom { of_user: 0, left: 100 };

fn user(uid: u32) -> LimitedClient<'static> {
    LimitedClient { uid: Some(uid), ..LimitedClient::default() }
}

fn path(text: &str) -> ReversePath {
    if text.is_empty() { ReversePath::Null } else { ReversePath::Mailbox(Address::parse(text).unwrap()) }
}

/// Returns the text of the refusal of a message with two recipients, or nothing if it is counted and queued.
fn send(limits: &Arc<ClientLimits>, client: LimitedClient<'_>, from: &str, octets: u64, now: i64) -> String {
    let reverse_path = path(from);
    let message = LimitedMessage { reverse_path: &reverse_path, recipients: 2, octets };
    let queue = QueueRoom { of_user: client.uid.map_or(0, |uid| u64::from(uid % 10)), left: 100 };
    match limits.charge(client, message, queue, at(now)) {
        Ok(charge) => {
            charge.keep(octets);
            String::new()
        }
        Err(reached) => reached.reply().to_string(),
    }
}

#[test]
fn each_limit_has_its_reply() {
    let web = |change: fn(&mut LimitConfig)| {
        let mut limit = limit("web");
        limit.subject = of_uid(1033);
        change(&mut limit);
        limits(&[limit])
    };
    let cases: [(Arc<ClientLimits>, &str); 9] = [
        (
            web(|limit| limit.messages = allowance(1, RatePeriod::Hour)),
            "450 4.7.1 messages of 1/h are used up (limit \"web\" of this host): try again in 60 min",
        ),
        (
            web(|limit| limit.octets = allowance(1500, RatePeriod::Day)),
            "450 4.7.1 octets of 1500/day are used up (limit \"web\" of this host): try again in 8 h",
        ),
        (
            web(|limit| limit.octets = allowance(999, RatePeriod::Day)),
            "552 5.3.4 the message alone has more octets than 999/day (limit \"web\" of this host)",
        ),
        (
            web(|limit| limit.recipients = allowance(2, RatePeriod::Minute)),
            "450 4.7.1 recipients of 2/min are used up (limit \"web\" of this host): try again in 60 s",
        ),
        (
            web(|limit| limit.recipients = allowance(1, RatePeriod::Minute)),
            "550 5.5.3 the message alone has more recipients than 1/min (limit \"web\" of this host)",
        ),
        (
            web(|limit| limit.recipients_per_message = Some(1)),
            "550 5.5.3 a message may have 1 recipient (limit \"web\" of this host): send it in several messages",
        ),
        (
            web(|limit| limit.size = Some(999)),
            "552 5.3.4 a message may have 999 octets (limit \"web\" of this host)",
        ),
        (
            web(|limit| limit.queued = Some(3)),
            "450 4.7.1 you may have 3 messages waiting to be sent (limit \"web\" of this host): try again when some have left",
        ),
        (
            web(|limit| limit.allow_from = vec![AddressPattern::parse("@web.example").unwrap()]),
            "550 5.7.1 clients of the limit \"web\" may not send as <ann@example.org> (MAIL FROM), only as @web.example",
        ),
    ];
    for (limits, expected) in cases {
        let first = send(&limits, user(1033), "ann@example.org", 1000, 0);
        let second = send(&limits, user(1033), "ann@example.org", 1000, 0);
        assert_eq!(second, expected);
        assert!(first.is_empty() || first == expected, "{first}");
        assert_eq!(send(&limits, user(1034), "ann@example.org", 1000, 0), "", "another user: {expected}");
    }
}

#[test]
fn a_limit_is_about_those_who_fit_each_condition() {
    let names = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    let subject = LimitSubject {
        users: names(&["www-data", "app"]),
        groups: names(&["web"]),
        senders: vec![SenderPattern::parse("@example.org").unwrap()],
        commands: names(&["php"]),
        ..LimitSubject::default()
    };
    let groups = names(&["users", "web"]);
    let whole = LimitedClient { uid: Some(1033), login: Some("app"), groups: &groups, command: Some("php") };
    let cases = [
        (whole, "ann@example.org", true),
        (LimitedClient { login: None, ..whole }, "ann@example.org", false),
        (LimitedClient { login: Some("ann"), ..whole }, "ann@example.org", false),
        (LimitedClient { groups: &groups[..1], ..whole }, "ann@example.org", false),
        (LimitedClient { command: None, ..whole }, "ann@example.org", false),
        (whole, "ann@example.com", false),
        (whole, "", false),
    ];
    for (client, from, is_about) in cases {
        assert_eq!(fits(&subject, client, Some(&path(from))), is_about, "{client:?} {from}");
    }
    assert!(!fits(&subject, whole, None), "the sender of a session is not known");
}

/// A limit that names nobody stops a runaway program of any user, and never the mail of root.
#[test]
fn each_user_apart_or_all_together() {
    let each =
        LimitConfig { each_user: true, messages: allowance(1, RatePeriod::Day), ..limit("every user") };
    let limits_of_each = limits(std::slice::from_ref(&each));
    for client in [user(1033), user(1034), LimitedClient::default()] {
        assert_eq!(send(&limits_of_each, client, "a@x.example", 1, 0), "");
        assert!(send(&limits_of_each, client, "a@x.example", 1, 0).starts_with("450"), "{client:?}");
    }
    let of_all = limits(&[LimitConfig { each_user: false, ..each }]);
    assert_eq!(send(&of_all, user(1033), "a@x.example", 1, 0), "");
    assert!(send(&of_all, user(1034), "a@x.example", 1, 0).starts_with("450"));
    for _ in 0..3 {
        assert_eq!(send(&of_all, user(0), "a@x.example", 1, 0), "", "root");
    }
    let named = limits(&[LimitConfig {
        subject: of_uid(0),
        messages: allowance(1, RatePeriod::Day),
        ..limit("root")
    }]);
    assert_eq!(send(&named, user(0), "a@x.example", 1, 0), "");
    assert!(send(&named, user(0), "a@x.example", 1, 0).starts_with("450"), "root is named");
}

#[test]
fn what_is_refused_by_one_limit_or_not_queued_uses_nothing() {
    let wide = LimitConfig { messages: allowance(2, RatePeriod::Day), ..limit("wide") };
    let narrow = LimitConfig { size: Some(10), ..limit("narrow") };
    let limits = limits(&[wide, narrow]);
    for _ in 0..5 {
        assert!(send(&limits, user(1033), "a@x.example", 11, 0).starts_with("552"));
    }
    let reverse_path = path("a@x.example");
    let message = LimitedMessage { reverse_path: &reverse_path, recipients: 1, octets: 1 };
    for _ in 0..5 {
        let mut charge = limits.charge(user(1033), message, ROOM, at(0)).unwrap();
        assert_eq!(charge.grow(10, at(0)), Ok(()));
        let refusal = charge.grow(11, at(0)).unwrap_err().reply().to_string();
        assert_eq!(refusal, "552 5.3.4 a message may have 10 octets (limit \"narrow\" of this host)");
    }
    assert_eq!(send(&limits, user(1033), "a@x.example", 1, 0), "");
    assert_eq!(send(&limits, user(1033), "a@x.example", 1, 0), "");
    assert!(send(&limits, user(1033), "a@x.example", 1, 0).starts_with("450"));
}

#[test]
fn octets_count_as_they_are_and_not_as_they_were_announced() {
    let limits = limits(&[LimitConfig { octets: allowance(1000, RatePeriod::Hour), ..limit("web") }]);
    let reverse_path = path("a@x.example");
    let message = LimitedMessage { reverse_path: &reverse_path, recipients: 1, octets: 1000 };
    limits.charge(user(1033), message, ROOM, at(0)).unwrap().keep(300);
    assert_eq!(send(&limits, user(1033), "a@x.example", 700, 0), "");
    assert!(send(&limits, user(1033), "a@x.example", 1, 0).starts_with("450"));
}

/// A client that announced no size was outside of a limit of octets, and sendmail announces none.
#[test]
fn octets_that_were_not_announced_count_as_they_arrive() {
    let limits = limits(&[LimitConfig { octets: allowance(1000, RatePeriod::Hour), ..limit("web") }]);
    let reverse_path = path("a@x.example");
    let message = LimitedMessage { reverse_path: &reverse_path, recipients: 1, octets: 0 };
    let begin = || limits.charge(user(1033), message, ROOM, at(0));
    let mut first = begin().unwrap();
    assert_eq!((first.grow(400, at(0)), first.grow(900, at(0))), (Ok(()), Ok(())));
    let mut second = begin().unwrap();
    assert_eq!(second.grow(100, at(0)), Ok(()));
    let refused = second.grow(101, at(0)).unwrap_err().reply().to_string();
    assert!(refused.starts_with("450 4.7.1 octets of 1000/h are used up"), "{refused}");
    first.keep(900);
    let refused = begin().unwrap_err().reply().to_string();
    assert!(refused.starts_with("450 4.7.1 octets of 1000/h are used up"), "before its content: {refused}");
    drop(second);
    let mut third = begin().unwrap();
    assert!(third.grow(1001, at(0)).unwrap_err().reply().to_string().starts_with("552 5.3.4"));
}

/// What is refused for its size may be reported to its sender, who must be one that these clients may use.
#[test]
fn the_sender_is_looked_at_before_everything_else() {
    let small = LimitConfig { size: Some(10), ..limit("small") };
    let own = LimitConfig {
        subject: of_uid(1033),
        allow_from: vec![AddressPattern::parse("@web.example").unwrap()],
        ..limit("own")
    };
    let limits = limits(&[small, own]);
    assert!(
        send(&limits, user(1033), "ann@example.org", 11, 0).starts_with("550 5.7.1 clients of the limit")
    );
    assert!(send(&limits, user(1033), "ann@web.example", 11, 0).starts_with("552 5.3.4"));
}

/// Thirty sessions at their content at once were thirty messages of five.
#[test]
fn messages_under_way_count_for_the_queue() {
    let limits = limits(&[LimitConfig { subject: of_uid(1033), queued: Some(3), ..limit("web") }]);
    let reverse_path = path("a@x.example");
    let message = LimitedMessage { reverse_path: &reverse_path, recipients: 1, octets: 0 };
    let begin = |uid, of_user, left| limits.charge(user(uid), message, QueueRoom { of_user, left }, at(0));
    let held: Vec<_> = (0..2).map(|_| begin(1033, 1, 100).unwrap()).collect();
    assert!(
        begin(1033, 1, 100).unwrap_err().reply().to_string().starts_with("450 4.7.1 you may have 3 messages")
    );
    drop(held);
    assert!(begin(1033, 1, 100).is_ok());
    // Without a limit, half of the places that are free.
    let held: Vec<_> = (0..5).map(|_| begin(1034, 0, 10).unwrap()).collect();
    let refused = begin(1034, 0, 10).unwrap_err();
    assert!(refused.reply().to_string().starts_with("450 4.7.1 your messages that wait"), "{refused}");
    assert!(begin(1035, 0, 10).is_ok() && begin(0, 100, 0).is_ok());
    drop(held);
    assert!(begin(1034, 0, 10).is_ok());
}

#[test]
fn sessions_are_counted_until_they_end() {
    let web = LimitConfig { subject: of_uid(1033), sessions: Some(2), ..limit("web") };
    let every = LimitConfig { each_user: true, sessions: Some(3), ..limit("every user") };
    let both = [every, web];
    let limits = limits(&both);
    let held: Vec<_> = (0..2).map(|_| limits.enter(user(1033)).unwrap()).collect();
    for _ in 0..5 {
        let refused = limits.enter(user(1033)).unwrap_err().reply().to_string();
        assert_eq!(
            refused,
            "421 4.7.0 you may have 2 sessions at once (limit \"web\" of this host): try again later"
        );
    }
    let others: Vec<_> = (0..3).map(|_| limits.enter(user(1034)).unwrap()).collect();
    assert!(limits.enter(user(1034)).is_err() && limits.enter(user(0)).is_ok());
    limits.change(&both, "host.example", at(0));
    drop((held, others));
    assert!(limits.enter(user(1033)).is_ok() && limits.enter(user(1034)).is_ok());
    assert_eq!(limits.state().limits[1].usages[&Holder::All].sessions, 0);
}

/// What was used before a restart or a reload stays used; a kill forgets what was not noted.
#[test]
fn what_is_used_is_noted_and_remembered() {
    let web = LimitConfig {
        each_user: true,
        messages: allowance(2, RatePeriod::Hour),
        octets: allowance(1000, RatePeriod::Day),
        ..limit("web")
    };
    let first = limits(std::slice::from_ref(&web));
    assert_eq!(first.news(|| at(0)), None);
    send(&first, user(1033), "a@x.example", 10, 0);
    send(&first, LimitedClient::default(), "a@x.example", 10, 0);
    let notes = first.news(|| at(0)).unwrap();
    assert_eq!(first.news(|| at(0)), None, "it is noted");
    let names: Vec<_> = notes.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["limit web of unknown users", "limit web of uid 1033"]);
    let second = ClientLimits::new(
        std::slice::from_ref(&web),
        "host.example",
        move |name| {
            notes.iter().find(|(other, _)| other == name).map(|(_, note)| note.clone()).unwrap_or_default()
        },
        || at(0),
    );
    assert!(send(&second, user(1034), "a@x.example", 1, 1).is_empty());
    assert!(send(&second, user(1033), "a@x.example", 1, 2).is_empty());
    assert!(send(&second, user(1033), "a@x.example", 1, 3).starts_with("450"));
    second.change(&[LimitConfig { messages: allowance(4, RatePeriod::Hour), ..web }], "host.example", at(3));
    let sent: Vec<bool> = (0..3).map(|_| send(&second, user(1033), "a@x.example", 1, 3).is_empty()).collect();
    assert_eq!(sent, [true, true, false], "what was used stays used");
    let later = second.news(|| at(1_000_000)).unwrap();
    assert!(later.iter().all(|(_, note)| note.is_empty()), "nothing is used any more: {later:?}");
    assert_eq!(second.state().limits[0].usages.len(), 1, "only who was refused is remembered");
}

#[test]
fn the_figures_say_who_is_limited_and_until_when() {
    let web = LimitConfig { each_user: true, messages: allowance(1, RatePeriod::Hour), ..limit("web") };
    let limits = limits(&[web]);
    send(&limits, user(1033), "a@x.example", 1, 0);
    send(&limits, user(1033), "a@x.example", 1, 0);
    let figures = |refused, until: Option<i64>| LimitFigures {
        held: 0,
        limit: "web".into(),
        uid: Some(1033),
        left: vec![("messages", "1/h".into(), u64::from(until.is_none()))],
        refused,
        until: until.map(at),
    };
    assert_eq!(limits.figures(at(1)), [figures(1, Some(3600))]);
    assert_eq!(limits.figures(at(3600)), [figures(1, None)]);
}

/// Only a refusal kept a job within its limit, and a program that does not try again lost its mail.
#[test]
fn what_is_beyond_a_limit_that_holds_is_taken_and_held_and_uses_nothing_of_it() {
    let holding = |name: &str, messages| LimitConfig {
        messages: allowance(messages, RatePeriod::Hour),
        beyond: BeyondLimit::Hold,
        ..limit(name)
    };
    let octets = LimitConfig {
        messages: Vec::new(),
        octets: allowance(1000, RatePeriod::Hour),
        ..holding("octets", 1)
    };
    let limits = limits(&[
        holding("few", 2),
        octets,
        LimitConfig { messages: allowance(5, RatePeriod::Hour), size: Some(5000), ..limit("all") },
    ]);
    let reverse_path = path("app@example.org");
    let charge = |octets| {
        let message = LimitedMessage { reverse_path: &reverse_path, recipients: 1, octets };
        limits.charge(user(1000), message, ROOM, at(0))
    };
    let held = |charge: &Charge| charge.on_hold().map(str::to_owned);
    for expected in [None, None, Some("the limit \"few\" of this host: messages of 2/h were used up")] {
        let charge = charge(10).unwrap();
        assert_eq!(held(&charge).as_deref(), expected);
        charge.keep(10);
    }
    let mut growing = charge(10).unwrap();
    growing.grow(4000, at(0)).unwrap();
    assert!(held(&growing).unwrap().contains("\"few\""), "the first reason stays");
    assert_eq!(growing.grow(5001, at(0)).unwrap_err().reply().code(), 552, "what is no amount is refused");
    growing.keep(4000);
    charge(10).unwrap().keep(10);
    assert_eq!(charge(10).unwrap_err().reply().code(), 450, "another limit counts what is held");
    let figures = limits.figures(at(0));
    let of = |name: &str| figures.iter().find(|figures| figures.limit == name).unwrap();
    assert_eq!((of("few").held, of("few").refused, of("few").left[0].2), (3, 0, 0));
    assert_eq!((of("octets").held, of("octets").left[0].2), (1, 960));
    assert_eq!((of("all").held, of("all").refused), (0, 1));
}
