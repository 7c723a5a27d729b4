//! Content of any kind through the header splitter, the address parser and rewriting.
//!
//! Promises: nothing panics; it does not matter into which pieces content is cut; fields stay in their order; octets around
//! addresses stay as they were, except for routes, and so does the body, except for folds; From has one mailbox; no line
//! is too long; rewriting a second time changes nothing.

#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use nullmta::config::{Config, Environment};
use nullmta::envelope::{Address, Envelope, Recipient, ReversePath};
use nullmta::message::address::{Mailbox, around_mailboxes, authors, mailboxes, scattered};
use nullmta::message::author_name;
use nullmta::message::fixup::{Fixed, Fixup, LongLinesFound, FixupTask};
use nullmta::message::forgotten_comma::with_commas;
use nullmta::message::header::{self, Field, MAX_LINE_OCTETS};
use nullmta::message::mend::Mender;
use nullmta::message::rewrite::{MessageFacts, Rules};
use nullmta::message::unacceptable::Unacceptable;

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
    let facts = MessageFacts {
        received: String::new(),
        hostname: "web1.example.org".into(),
        message_id_left: "1.2".into(),
        now: jiff::Timestamp::UNIX_EPOCH.to_zoned(jiff::tz::TimeZone::UTC),
        user: None,
    };
    let (mut fixup, mut out) = (Fixup::new(FixupTask { envelope, facts, rules: RULES.clone() }), Vec::new());
    for chunk in chunks {
        fixup.push(chunk, &mut out)?;
    }
    let fixed = fixup.finish(&mut out)?;
    Ok((fixed, out))
}

/// Fields whose names are mended.
fn has_authors(field: &Field) -> bool {
    let authors = ["Sender", "Reply-To", "Errors-To", "Return-Receipt-To", "Disposition-Notification-To"];
    let others = ["Mail-Followup-To", "Resent-From", "Resent-Sender"];
    authors.iter().chain(&others).any(|name| field.is(name))
}

fn has_recipients(field: &Field) -> bool {
    let recipients = ["To", "Cc", "Apparently-To", "Resent-To", "Resent-Cc", "Resent-Reply-To"];
    recipients.iter().any(|name| field.is(name))
}

/// Returns the addresses of `field`, which has this body, and true if the body is a list of addresses.
fn addresses_in(field: &Field, body: &[u8]) -> (Vec<Mailbox>, bool) {
    let list = if has_recipients(field) { mailboxes(body) } else { authors(body) };
    match list.collect() {
        Ok(list) => (list, true),
        Err(_) => (scattered(body).collect(), false),
    }
}

/// Returns a body of `field` without its addresses, and without the routes that rewriting removes.
fn around_addresses(field: &Field, body: &[u8], is_signed: bool) -> Vec<u8> {
    let (mailboxes, _) = addresses_in(field, body);
    let with_removed_route = |mailbox: Mailbox| Mailbox { route: mailbox.route.filter(|_| !is_signed), ..mailbox };
    around_mailboxes(body, mailboxes.into_iter().map(with_removed_route))
}

/// Returns `octets` without white space, which is all that a fold adds: before an address that does not fit on its line,
/// or in a line that is too long.
fn unfolded(octets: &[u8]) -> Vec<u8> {
    octets.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect()
}

/// Returns true if a word is so long that it may have to be folded within, itself or grown by an address.
fn has_long_word(octets: &[u8]) -> bool {
    octets.split(|octet| octet.is_ascii_whitespace() || *octet == b',').any(|word| word.len() > LONG_WORD)
}

/// With the longest address that rules make of a short one, still no line.
const LONG_WORD: usize = 700;

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

fn mended(content: &[u8]) -> Vec<u8> {
    let (mut mender, mut out) = (Mender::default(), Vec::new());
    mender.push(content, &mut out).expect("what was taken has no hidden Bcc");
    mender.finish(&mut out).expect("what was taken has no hidden Bcc");
    out
}

/// Returns true for From, which is written anew if it does not have one mailbox (`sender`), and for X-Original-From, which
/// a second From becomes.
fn is_author(field: &Field) -> bool {
    field.is("From") || field.is("X-Original-From")
}

fn check_author(after: &[u8]) {
    let header = header::split(after).header;
    let from: Vec<_> = header.fields().filter(|field| field.is("From")).collect();
    assert_eq!(from.len(), 1);
    let list: Vec<_> = mailboxes(from[0].raw_body()).collect();
    assert!(matches!(list[..], [Ok(_)]), "{}", from[0].octets().escape_ascii());
}

fn check_what_stays(content: &[u8], after: &[u8]) {
    let before = mended(content);
    let before = &before[..];
    // The last line of a header section may lack its end, and gets it.
    let split = header::split(before);
    let is_unended = split.blank_line.is_empty() && split.body.is_empty() && !before.ends_with(b"\n");
    let before = [before, if is_unended { b"\r\n" } else { b"" }].concat();
    let (before, after) = (header::split(&before), header::split(after));
    assert_eq!(unfolded(after.body), unfolded(before.body));
    let is_signed = before.header.find("DKIM-Signature").is_some();
    let mut became = after.header.fields().filter(|field| !is_author(field));
    for field in before.header.fields().filter(|field| !is_dropped(field) && !is_author(field)) {
        let is_it = |other: &Field| other.name() == field.name();
        let became = became.find(is_it).expect("no field is lost");
        if !is_changed(&field) {
            assert_eq!(unfolded(became.octets()), unfolded(field.octets()));
        } else if !has_long_word(field.raw_body()) {
            let around = |body: &[u8]| unfolded(&around_addresses(&field, body, is_signed));
            let mend: fn(&[u8]) -> Option<Vec<u8>> = match () {
                () if has_recipients(&field) => with_commas,
                () if has_authors(&field) => author_name::mended,
                () => |_| None,
            };
            let mended = mend(field.raw_body()).filter(|_| !is_signed);
            let body = mended.as_deref().unwrap_or(field.raw_body());
            // Quotes of an address end those that are open.
            if addresses_in(&field, body).1 || !body.contains(&b'"') {
                assert_eq!(around(became.raw_body()), around(body));
            }
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
    let Ok((fixed_once, once)) = whole else { return };
    check_author(&once);
    if fixed_once.long_lines != Some(LongLinesFound::Signed) {
        // Content that came through a session has CRs; here they may be missing.
        let is_long = |line: &[u8]| line.len() > MAX_LINE_OCTETS + b"\r".len();
        assert!(!once.split(|octet| *octet == b'\n').any(is_long));
    }
    // Content has CR only in its line ends; of others one may be the half of one.
    if !content.contains(&b'\r') {
        if !has_long_word(content) {
            let (_, twice) = fixed(std::iter::once(&once[..])).unwrap();
            assert_eq!(twice, once);
        }
        check_what_stays(content, &once);
    }
});
