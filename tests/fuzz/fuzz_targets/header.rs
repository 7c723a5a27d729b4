//! Content of any kind through the header splitter, the address parser and rewriting.
//!
//! What must hold: nothing panics; how content is cut does not matter; fields stay in their order, and octets
//! around addresses as they were; so does the body; what was rewritten is not rewritten again.

#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use nullmta::config::{Config, Environment};
use nullmta::envelope::{Address, Envelope, Recipient, ReversePath};
use nullmta::message::address::mailboxes;
use nullmta::message::fixup::{Fixed, Fixup, Task, Unacceptable};
use nullmta::message::header::{self, Field};
use nullmta::message::rewrite::{Facts, Rules};

const CONFIG: &str = r#"
relayhost = "smtp.example.com"
[rewrite]
origin = "example.org"
senders = { root = "ops@web1.example.org", "@old.example" = "@example.org" }
sender = "%u+%h@x.example"
recipients = { "@old.example" = "@example.org", ann = "ann.smith@x.example" }
masquerade = "example.org"
aliases = { bob = ["bob", "b@x.example"] }
keep-original = true
reply-to-original = true
"#;

static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| {
    let environment = Environment { hostname: "web1.example.org".into() };
    Config::parse(CONFIG, "fuzz.toml".as_ref(), &environment).unwrap().rewrite
});

fn fixed<'c>(chunks: impl Iterator<Item = &'c [u8]>) -> Result<(Fixed, Vec<u8>), Unacceptable> {
    let address = |text: &str| Address::parse(text).unwrap();
    let recipients = vec![Recipient::plain(address("ann")), Recipient::plain(address("bob"))];
    let envelope = Envelope { recipients, ..Envelope::from(ReversePath::Mailbox(address("root"))) };
    let facts = Facts {
        received: String::new(),
        hostname: "web1.example.org".into(),
        message_id_left: "1.2".into(),
        now: jiff::Timestamp::UNIX_EPOCH.to_zoned(jiff::tz::TimeZone::UTC),
        user: None,
    };
    let (mut fixup, mut out) = (Fixup::new(Task { envelope, facts, rules: RULES.clone() }), Vec::new());
    for chunk in chunks {
        fixup.push(chunk, &mut out)?;
    }
    let fixed = fixup.finish(&mut out)?;
    Ok((fixed, out))
}

/// A body with every address that is one replaced by nothing.
fn around_addresses(body: &[u8]) -> Vec<u8> {
    let (mut around, mut done) = (Vec::new(), 0);
    for mailbox in mailboxes(body).flatten() {
        around.extend_from_slice(&body[done..mailbox.local.start]);
        done = mailbox.domain.unwrap_or(mailbox.local).end;
    }
    around.extend_from_slice(&body[done..]);
    around
}

/// Fields with addresses that rules may change, and fields that go.
fn is_changed(field: &Field) -> bool {
    let addresses = ["From", "Sender", "Reply-To", "Errors-To", "Return-Receipt-To", "To", "Cc"];
    let others = ["Disposition-Notification-To", "Mail-Followup-To", "Apparently-To"];
    field.name().to_ascii_lowercase().starts_with("resent-")
        || addresses.iter().chain(&others).any(|name| field.is(name))
}

fn is_dropped(field: &Field) -> bool {
    ["Bcc", "Resent-Bcc", "Return-Path", "Content-Length"].iter().any(|name| field.is(name))
}

fn check_what_stays(before: &[u8], after: &[u8]) {
    // The last line of a header section may lack its end, and gets it.
    let split = header::split(before);
    let is_unended = split.blank_line.is_empty() && split.body.is_empty() && !before.ends_with(b"\n");
    let before = [before, if is_unended { b"\r\n" } else { b"" }].concat();
    let (before, after) = (header::split(&before), header::split(after));
    assert_eq!(after.body, before.body);
    let mut became = after.header.fields();
    for field in before.header.fields().filter(|field| !is_dropped(field)) {
        let is_it = |other: &Field| other.name() == field.name();
        let became = became.find(is_it).expect("no field is lost");
        if is_changed(&field) {
            assert_eq!(around_addresses(became.raw_body()), around_addresses(field.raw_body()));
        } else {
            assert_eq!(became.octets(), field.octets());
        }
    }
}

fuzz_target!(|content: &[u8]| {
    // A body whole, as if it were a field's.
    for mailbox in mailboxes(content).flatten() {
        assert!(mailbox.local.end <= content.len() && !mailbox.local.is_empty());
    }
    let whole = fixed(std::iter::once(content));
    assert_eq!(whole, fixed(content.chunks(7)));
    let Ok((_, once)) = whole else { return };
    // In front of an mbox line or a bare CR there may be more to mend.
    if header::split(content).mbox_line.is_empty() && !content.contains(&b'\r') {
        let (_, twice) = fixed(std::iter::once(&once[..])).unwrap();
        assert_eq!(twice, once);
        check_what_stays(content, &once);
    }
});
