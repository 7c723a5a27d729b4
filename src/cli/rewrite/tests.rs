use std::sync::Arc;

use jiff::tz::TimeZone;

use super::*;
use crate::message::rewrite::{RewriteSettings, Rules};

fn task() -> FixupTask {
    let root = Address::parse("root").unwrap();
    let envelope = Envelope {
        recipients: vec![Recipient::plain(root.clone())],
        ..Envelope::from(ReversePath::Mailbox(root))
    };
    let facts = MessageFacts {
        received: String::new(),
        hostname: "web1.example.org".to_owned(),
        message_id_left: "1.2".to_owned(),
        now: Zoned::now().with_time_zone(TimeZone::UTC),
        user: None,
    };
    let rules = Rules::new(RewriteSettings::new("example.org", "web1.example.org")).unwrap();
    FixupTask { envelope, facts, rules: Arc::new(rules) }
}

const MESSAGE: &[u8] =
    b"From: Cron <root>\nTo:\troot\r\nBcc: ann\nCc: Ann <ann@x\nDate: x\nMessage-ID: <a\x1b@b>\n\nbody\n.\n";

/// A name with U+202E in it turned the rest of its line around on the terminal.
#[test]
fn what_changes_how_text_is_seen_is_not_shown() {
    let message = "From: \"a\u{202e}b\" <root>\nTo: \u{ad}\u{9b}<<x\n\n";
    let (fixed, header) = header_of(task(), &mut message.as_bytes()).unwrap();
    let said = explanation(&fixed, &header);
    assert!(said.contains("  From: \"a?b\" <root@example.org>\n"), "{said}");
    assert!(said.chars().all(|c| c == '\n' || !is_harmful(c)), "{said}");
}

#[test]
fn changes_are_explained_with_their_rules() {
    let (fixed, header) = header_of(task(), &mut &MESSAGE[..]).unwrap();
    assert_eq!(
        explanation(&fixed, &header),
        "Changes:\n\
         \u{20} From: root -> root@example.org (rewrite.origin)\n\
         \u{20} To: root -> root@example.org (rewrite.origin)\n\
         \u{20} Bcc: removed: ann (always)\n\
         \u{20} MAIL FROM: root -> root@example.org (rewrite.origin)\n\
         \u{20} RCPT TO: root -> root@example.org (rewrite.origin)\n\
         \n\
         Left alone:\n\
         \u{20} Cc: Ann <ann@x (no list of addresses: those that can be read in it are rewritten, \
         the rest stays; the relay may refuse it)\n\
         \n\
         Envelope:\n\
         \u{20} MAIL FROM:<root@example.org>\n\
         \u{20} RCPT TO:<root@example.org>\n\
         \n\
         Header:\n\
         \u{20} From: Cron <root@example.org>\n\
         \u{20} To:\troot@example.org\n\
         \u{20} Cc: Ann <ann@x\n\
         \u{20} Date: x\n\
         \u{20} Message-ID: <a?@b>\n"
    );
}

/// With `rewrite.null-sender`, the queue and the relay get different reverse-paths: that of the relay is shown.
#[test]
fn what_the_relay_is_told_for_the_null_reverse_path_is_shown() {
    let null_sender = Some(Address::parse("bounces@example.org").unwrap());
    for (null_sender, change, told) in [
        (None, "  none", ""),
        (null_sender, "  MAIL FROM: <> -> bounces@example.org (rewrite.null-sender)", "bounces@example.org"),
    ] {
        let settings =
            RewriteSettings { null_sender, ..RewriteSettings::new("example.org", "web1.example.org") };
        let rules = Arc::new(Rules::new(settings).unwrap());
        let task = FixupTask { envelope: Envelope::from(ReversePath::Null), rules, ..task() };
        let message = &b"From: a@x\nTo: b@y\nDate: x\nMessage-ID: <a@b>\n\n"[..];
        let (fixed, header) = header_of(task, &mut &*message).unwrap();
        let text = explanation(&fixed, &header);
        let expected = format!("Changes:\n{change}\n\nEnvelope:\n  MAIL FROM:<{told}>\n");
        assert!(text.starts_with(&expected), "{text}");
        let json = serde_json::to_value(json::Explanation::of(&fixed, &header)).unwrap();
        assert_eq!(json["reverse-path"], told);
        assert_eq!(json["changes"].as_array().unwrap().len(), usize::from(!told.is_empty()));
    }
}

/// A message that intake refuses, for a Bcc behind a bare CR, was shown rewritten, with the Bcc in another field.
#[test]
fn a_carriage_return_is_what_it_is_at_intake() {
    let (_, header) = header_of(task(), &mut &b"To: a@x\r\nSubject: x\ry: z\r\r\n\r\n"[..]).unwrap();
    let header = String::from_utf8(header).unwrap();
    assert!(header.starts_with("To: a@x\r\nSubject: x y: z\r\n"), "{header:?}");
    for message in ["To: a@x\r\nSubject: x\rBcc: b@y\r\r\n\r\n", "To: a@x\rBcc: b@y", "text\n\rBcc: b@y\n"] {
        let explained = header_of(task(), &mut message.as_bytes()).map(|_| ());
        let copied = copy(task(), &mut message.as_bytes(), &mut Vec::new());
        for refused in [explained, copied] {
            let failure = refused.unwrap_err();
            let expected = "the message would be refused: a Bcc stands behind a CR that ends no line: end lines with CRLF";
            assert_eq!((failure.exit(), failure.to_string().as_str()), (Exit::Failed, expected));
        }
    }
}

#[test]
fn changes_are_explained_as_json() {
    let (fixed, header) = header_of(task(), &mut &MESSAGE[..]).unwrap();
    let said = serde_json::to_value(json::Explanation::of(&fixed, &header)).unwrap();
    let origin = |place: &str, field: Option<&str>| {
        serde_json::json!({
            "place": place, "field": field, "rule": "rewrite.origin", "before": "root", "after": "root@example.org",
        })
    };
    let expected = serde_json::json!({
        "changes": [
            origin("field", Some("From")),
            origin("field", Some("To")),
            {"place": "field", "field": "Bcc", "rule": "always", "before": "ann", "after": null},
            origin("reverse-path", None),
            origin("recipient", None),
        ],
        "more-changes": 0,
        "left-alone": [{
            "field": "Cc", "body": "Ann <ann@x",
            "why": "no list of addresses: those that can be read in it are rewritten, the rest stays; \
                    the relay may refuse it",
        }],
        "reverse-path": "root@example.org",
        "recipients": ["root@example.org"],
        "header": [
            {"name": "From", "body": "Cron <root@example.org>"},
            {"name": "To", "body": "root@example.org"},
            {"name": "Cc", "body": "Ann <ann@x"},
            {"name": "Date", "body": "x"},
            {"name": "Message-ID", "body": "<a\u{1b}@b>"},
        ],
    });
    assert_eq!(said, expected);
}

#[test]
fn the_message_is_copied_with_the_line_ends_of_a_file() {
    let mut out = Vec::new();
    copy(task(), &mut &MESSAGE[..], &mut out).unwrap();
    let expected = "From: Cron <root@example.org>\nTo:\troot@example.org\nCc: Ann <ann@x\nDate: x\n\
                    Message-ID: <a\u{1b}@b>\n\nbody\n.\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn a_message_that_would_be_refused_is_said_to_be() {
    let looping = "Received: by x\n".repeat(101);
    let failure = header_of(task(), &mut looping.as_bytes()).unwrap_err();
    assert!(failure.to_string().starts_with("the message would be refused: too many Received fields"));
}
