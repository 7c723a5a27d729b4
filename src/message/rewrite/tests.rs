//! Tests of what the cases in `tests/rewriting/` cannot show: the changes that are noted, properties of all rules,
//! signatures, hostile input.

mod authors;
mod originals;
mod properties;
mod signature;

use jiff::civil::date;
use jiff::tz::TimeZone;

use super::*;
use crate::envelope::{Address, Notify, Recipient, ReversePath};

fn facts() -> MessageFacts {
    MessageFacts {
        received: String::new(),
        hostname: "web1.example.org".to_owned(),
        message_id_left: "1.2".to_owned(),
        now: date(2026, 11, 21).at(2, 10, 0, 0).to_zoned(TimeZone::UTC).unwrap(),
        user: None,
    }
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn envelope(from: &str, to: &[&str]) -> Envelope {
    let recipients = to.iter().map(|to| Recipient::plain(address(to))).collect();
    Envelope { recipients, ..Envelope::from(ReversePath::Mailbox(address(from))) }
}

fn settings() -> RewriteSettings {
    RewriteSettings::new("example.org", "web1.example.org")
}

fn header_rule(pattern: &str, action: HeaderAction) -> HeaderRule {
    HeaderRule { pattern: Pattern::new(pattern).unwrap(), action }
}

/// A header section that needs no field added.
const COMPLETE: &str = "From: ann@x.example\r\nTo: bob@x.example\r\nDate: x\r\nMessage-ID: <a@b>\r\n";

fn rewritten(settings: RewriteSettings, envelope: Envelope, header: &str) -> Result<Rewritten, Unacceptable> {
    rewrite(envelope, header::split(header.as_bytes()).header, &Rules::new(settings).unwrap(), &facts())
}

#[test]
fn every_step_is_noted_with_its_rule() {
    let senders = [(Selector::parse("root").unwrap(), Replacement::parse("ops@web1.example.org").unwrap())];
    let settings = RewriteSettings {
        senders: senders.into(),
        masquerade: vec![MasqueradeDomain::parse("example.org").unwrap()],
        aliases: [("bob".to_owned(), vec![address("b@x.example"), address("c@x.example")])].into(),
        keep_original: true,
        ..settings()
    };
    let header = format!("{COMPLETE}Sender: root\r\nBcc: eve\r\n");
    let changes = rewritten(settings, envelope("root", &["bob"]), &header).unwrap().changes;
    let lines: Vec<_> = changes.kept().iter().map(Change::to_string).collect();
    assert_eq!(
        lines,
        [
            "Sender: root -> root@example.org (rewrite.origin)",
            "Sender: root@example.org -> ops@web1.example.org (rewrite.senders)",
            "Sender: ops@web1.example.org -> ops@example.org (rewrite.masquerade)",
            "Bcc: removed: eve (always)",
            "MAIL FROM: root -> root@example.org (rewrite.origin)",
            "MAIL FROM: root@example.org -> ops@web1.example.org (rewrite.senders)",
            "MAIL FROM: ops@web1.example.org -> ops@example.org (rewrite.masquerade)",
            "RCPT TO: bob -> bob@example.org (rewrite.origin)",
            "RCPT TO: bob@example.org -> b@x.example, c@x.example (rewrite.aliases)",
        ]
    );
}

/// DSNs came from MAILER-DAEMON at this host whatever `sender` said. A relay that accepts verified senders only
/// refused all of them, and nobody learned of a failure.
#[test]
fn a_dsn_is_from_whom_the_relay_knows() {
    let template = |text: &str| Some(Template::parse(text).unwrap());
    let senders = |from: &str| RewriteSettings {
        senders: [(Selector::parse(from).unwrap(), Replacement::parse("ops@x.example").unwrap())].into(),
        ..settings()
    };
    let masquerade = vec![MasqueradeDomain::parse("org").unwrap()];
    for (settings, expected) in [
        (settings(), "MAILER-DAEMON@example.org"),
        (RewriteSettings { sender: template("noreply@x.example"), ..settings() }, "noreply@x.example"),
        (RewriteSettings { sender: template("%u@x.example"), ..settings() }, "MAILER-DAEMON@x.example"),
        (senders("mailer-daemon"), "ops@x.example"),
        (senders("@example.org"), "ops@x.example"),
        (senders("root"), "MAILER-DAEMON@example.org"),
        (RewriteSettings { masquerade, ..settings() }, "MAILER-DAEMON@org"),
    ] {
        assert_eq!(Rules::new(settings).unwrap().dsn_author().as_str(), expected);
    }
}

#[test]
fn recipients_keep_what_was_written_and_asked_for_them() {
    let settings = RewriteSettings { recipient: Some(address("ops@x.example")), ..settings() };
    let plain = |text: &str| Recipient::plain(address(text));
    let recipients = vec![
        plain("root"),
        plain("ann@y.example"),
        Recipient { notify: Notify::Never, ..plain("bob") },
        Recipient { orcpt: Some("rfc822;carl".into()), ..plain("carl") },
        Recipient { original: Some(address("older")), orcpt: Some("rfc822;dora".into()), ..plain("dora") },
        plain("ops@x.example"),
    ];
    let given = Envelope { recipients, ..envelope("root", &[]) };
    let became = rewritten(settings.clone(), given, COMPLETE).unwrap().envelope.recipients;
    assert!(became.iter().all(|recipient| recipient.address == address("ops@x.example")));
    let told: Vec<_> =
        became.iter().map(|to| (to.original.as_ref().map(Address::as_str), to.notify)).collect();
    assert_eq!(
        told,
        [
            (Some("root"), Notify::Unstated),
            (Some("bob"), Notify::Never),
            (Some("carl"), Notify::Unstated),
            (Some("older"), Notify::Unstated),
        ],
        "each who asked for something of his own is told of it"
    );
    let twice = envelope("root", &["ops@x.example", "ops@x.example"]);
    let became = rewritten(settings, twice, COMPLETE).unwrap().envelope;
    assert_eq!(became.recipients.len(), 2, "what the submitter repeats is not ours to take out");
    assert_eq!(became.recipients[0].original, None);
}

/// A local user that was given twice was in the result twice the first time, and once the second time: for an alias
/// that leads to its own user in another spelling, it was not known whether the address had changed.
#[test]
fn each_target_of_an_alias_is_there_once() {
    let targets = vec![address("root"), address("root@localhost")];
    let settings = RewriteSettings { aliases: [("root".to_owned(), targets)].into(), ..settings() };
    let both = ["root@example.org", "root@localhost"];
    for to in ["root", "root@localhost", "root@example.org", "root@web1"] {
        for other in ["root", "root@localhost", "root@example.org"] {
            let became = |given: Envelope| rewritten(settings.clone(), given, COMPLETE).unwrap().envelope;
            let once = became(envelope("ann", &[to, other, to]));
            let found: Vec<_> = once.recipients.iter().map(|to| to.address.as_str()).collect();
            assert_eq!(found, both, "{to}, {other}");
            assert_eq!(became(once.clone()).recipients.len(), 2, "twice is once");
        }
    }
}

#[test]
fn our_received_field_goes_through_the_rules_too() {
    let facts = MessageFacts { received: "Received: by web1\r\n\tfor <x>\r\n".into(), ..facts() };
    let apply = |settings: RewriteSettings| {
        let rules = Rules::new(settings).unwrap();
        let header = format!("Received: by db1\r\n{COMPLETE}");
        let header = header::split(header.as_bytes()).header;
        String::from_utf8(rewrite(envelope("ann@x", &["b@x"]), header, &rules, &facts).unwrap().header)
            .unwrap()
    };
    assert_eq!(apply(settings()), format!("{}Received: by db1\r\n{COMPLETE}", facts.received));
    assert_eq!(apply(RewriteSettings { hide_received: true, ..settings() }), COMPLETE);
    let header = vec![header_rule("^Received: by web1", HeaderAction::Remove)];
    assert_eq!(apply(RewriteSettings { header, ..settings() }), format!("Received: by db1\r\n{COMPLETE}"));
}

#[test]
fn what_grows_beyond_bounds_is_refused() {
    let text = FieldText::parse(&format!("X: {}", "x".repeat(1000)), 0).unwrap();
    let header = vec![header_rule("^A:", HeaderAction::Prepend(text))];
    let many = "A: b\r\n".repeat(100_000);
    let became = rewritten(RewriteSettings { header, ..settings() }, envelope("root", &["root"]), &many);
    assert_eq!(became.err(), Some(Unacceptable::HeaderTooLarge));
}

#[test]
fn many_rules_for_a_large_header_take_their_time_and_no_more() {
    let header: Vec<_> =
        (0..100).map(|n| header_rule(&format!("^x-(y+)+{n}$"), HeaderAction::Remove)).collect();
    let kib: u64 = header.iter().map(|rule| u64::from(rule.pattern.kib())).sum();
    let most = (MAX_EFFORT / kib) as usize - COMPLETE.len();
    for (octets, is_taken) in [(most - 100, true), (most + 100, false)] {
        let large = format!("{COMPLETE}X: {}\r\n", "y".repeat(octets));
        let settings = RewriteSettings { header: header.clone(), ..settings() };
        match rewritten(settings, envelope("root", &["root"]), &large) {
            Ok(became) => assert!(is_taken && became.header == large.as_bytes()),
            Err(refused) => assert!(!is_taken && refused == Unacceptable::TooMuchEffort),
        }
    }
}

/// There was no rule that only protects fields from later rules, so these refused mail that such a rule is meant for.
#[test]
fn a_field_that_is_kept_meets_no_later_rule() {
    let refusal = RejectText::parse("no").unwrap();
    let header =
        vec![header_rule("^X: a", HeaderAction::Keep), header_rule("^X:", HeaderAction::Reject(refusal))];
    let became = |field: &str| {
        let settings = RewriteSettings { header: header.clone(), ..settings() };
        rewritten(settings, envelope("root", &["root"]), &format!("{COMPLETE}{field}\r\n"))
    };
    assert_eq!(became("x: AB").unwrap().header, format!("{COMPLETE}x: AB\r\n").as_bytes());
    assert_eq!(became("X: b").err(), Some(Unacceptable::Rejected("no".into())));
}

/// Rules could be evaded, and matched by mistake, in a field that was longer than the part that was checked.
#[test]
fn a_field_is_rejected_for_its_end_however_long_it_is() {
    let refusal = RejectText::parse("no").unwrap();
    let header = vec![header_rule("^Subject: x* spam$", HeaderAction::Reject(refusal))];
    let settings = || RewriteSettings { header: header.clone(), ..settings() };
    let long = format!("{COMPLETE}Subject: {} spam", "x".repeat(200_000));
    let became = |header: &str| rewritten(settings(), envelope("root", &["root"]), header);
    assert_eq!(became(&format!("{long}\r\n")).err(), Some(Unacceptable::Rejected("no".into())));
    assert!(became(&format!("{long}, or not\r\n")).is_ok());
}
