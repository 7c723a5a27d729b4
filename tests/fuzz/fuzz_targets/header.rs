//! Content of any kind through the header splitter, the address parser and rewriting.
//!
//! What must hold: nothing panics; how content is cut does not matter; octets around addresses stay; what
//! was rewritten is not rewritten again.

#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use nullmta::config::{Config, Environment};
use nullmta::envelope::{Address, Envelope, Recipient, ReversePath};
use nullmta::message::address::mailboxes;
use nullmta::message::fixup::{Fixed, Fixup, Task, Unacceptable};
use nullmta::message::header;
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
    }
});
