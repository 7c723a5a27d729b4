//! Messages that `sendmail` acknowledged and the daemon refuses for good: their senders learn of it.
//!
//! Such files went to `corrupt/` with a line in the log, without a delivery or a bounce.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::*;
use crate::config::{Config, Environment, ListenConfig};
use crate::listener::intake::SessionDesk;
use crate::listener::tests::listen;
use crate::message::dsn::Overseers;
use crate::message::rewrite::{HeaderAction, HeaderRule, Pattern, RejectText, RewriteSettings, Rules};
use crate::spool::Entry;

const REFUSED: &str = "EHLO localhost\r\nMAIL FROM:<root>\r\nRCPT TO:<ann>\r\nRCPT TO:<bob> NOTIFY=NEVER\r\nDATA\r\n\
                       X-Spam: yes\r\nSubject: lost?\r\n\r\nbody\r\n.\r\nQUIT\r\n";

fn rules() -> Rules {
    let action = HeaderAction::Reject(RejectText::parse("no spam").unwrap());
    let header = vec![HeaderRule { pattern: Pattern::new("^X-Spam:").unwrap(), action }];
    Rules::new(RewriteSettings { header, ..RewriteSettings::new("origin.example", "host.example.org") })
        .unwrap()
}

/// Returns a host that refuses spam, with this postmaster.
fn rig(postmaster: Option<&str>) -> Rig {
    let rig = Rig::new();
    let desk = SessionDesk {
        rules: Arc::new(rules()),
        overseers: Overseers {
            postmaster: postmaster.map(|address| Address::parse(address).unwrap()),
            bounce_copy: Some(Address::parse("copy@origin.example").unwrap()),
        },
        ..rig.host.service.terms().desk.clone()
    };
    rig.host.service.reload(&listen(), desk);
    rig
}

impl Rig {
    /// Returns the only message that arrived, with its content.
    fn bounce(&mut self) -> (Entry, Envelope, String) {
        let entry = self.host.arrivals.try_recv().unwrap();
        assert!(self.host.arrivals.try_recv().is_err() && entry.submitter == Submitter::Ourselves);
        let envelope = self.host.spool.read(entry.id).unwrap().envelope;
        let content = String::from_utf8(self.host.content(&entry)).unwrap();
        (entry, envelope, content.replace("\r\n ", " "))
    }
}

#[tokio::test]
async fn its_sender_gets_a_bounce() {
    let mut rig = rig(None);
    rig.leave("a.bsmtp", REFUSED);
    assert_eq!(rig.round().await, POLL);
    assert_eq!((rig.dropped().len(), rig.aside()), (0, vec!["drop-a.claimed".into()]));
    let (_, envelope, content) = rig.bounce();
    assert_eq!(envelope.reverse_path, ReversePath::Null);
    let to: Vec<_> = envelope.recipients.iter().map(|to| to.address.as_str()).collect();
    assert_eq!(to, ["root@origin.example", "copy@origin.example"]);
    for words in [
        "Final-Recipient: rfc822; ann@origin.example\r\n",
        "Action: failed\r\nStatus: 5.7.1\r\n",
        "550 5.7.1 no spam",
        "X-Spam: yes\r\nSubject: lost?\r\n\r\nbody\r\n",
    ] {
        assert!(content.contains(words), "{words:?} in {content}");
    }
    assert!(!content.contains("bob@"), "whose failure is not to be reported: {content}");
}

#[tokio::test]
async fn whatever_it_is_refused_for() {
    let with = |fields: &str| MESSAGE.replace("Subject: x", fields);
    let cases = [
        ("5.4.6", with(&"Received: x\r\n".repeat(101)), "Received: x\r\nReceived: x\r\n"),
        ("5.3.4", with(&"X: 0123456789\r\n".repeat(80_000)), "X: 0123456789\r\nX: 0123456789\r\n"),
        (
            "5.7.1",
            with(&format!("X-Spam: yes\r\n\r\n{}", "0123456789\r\n".repeat(50_000))),
            "X-Spam: yes\r\n",
        ),
        ("5.7.1", with("X-Spam: yes"), "X-Spam: yes\r\n\r\n.dot\r\n"),
        // The bounce said that the message was too large.
        ("5.6.0", with("Subject: x\rBcc: ann@example.org"), "a Bcc stands behind a CR that ends no line"),
    ];
    for (status, file, quoted) in cases {
        let mut rig = rig(None);
        rig.leave("a.bsmtp", file);
        rig.round().await;
        assert_eq!(rig.aside(), ["drop-a.claimed"], "{status}");
        let (_, _, content) = rig.bounce();
        assert!(content.contains(&format!("Status: {status}\r\n")) && content.contains(quoted), "{content}");
        assert!(content.len() < 60_000, "{} octets for {status}", content.len());
    }
}

#[tokio::test]
async fn too_large_is_said_of_the_message_and_never_read_to_its_end() {
    let mut rig = rig(None);
    let (before, after) = MESSAGE.split_at(MESSAGE.find("..dot").unwrap());
    // The file is sparse.
    let file = File::create(rig.drop("a.bsmtp")).unwrap();
    file.write_all_at(before.as_bytes(), 0).unwrap();
    file.write_all_at(format!("\r\n{after}").as_bytes(), 1 << 40).unwrap();
    rig.round().await;
    let (_, _, content) = rig.bounce();
    assert!(content.contains("552 5.3.4 message too large") && content.contains("\r\nSubject: x\r\n"));
    assert_eq!(rig.aside(), ["drop-a.claimed"]);
}

/// `sendmail` cannot always read the configuration, and the sender cannot be asked to try again.
#[tokio::test]
async fn the_limits_of_a_session_are_not_those_of_a_file() {
    let small =
        Host::with_clock(|listen, _| (listen.max_recipients, listen.max_message_size) = (1, 10), Zoned::now);
    let mut rig = Rig::on(small);
    let recipients: String = (0..3000).map(|number| format!("RCPT TO:<{number}@example.org>\r\n")).collect();
    rig.leave("a.bsmtp", MESSAGE.replace("RCPT TO:<ann@example.org>\r\n", &recipients));
    rig.round().await;
    assert_eq!(rig.arrived(), [".dot\r\n"]);
    let stored = rig.host.spool.read(rig.pickup_id()).unwrap();
    assert_eq!((stored.envelope.recipients.len(), rig.aside().len()), (3000, 0));
}

#[tokio::test]
async fn mail_from_nobody_goes_to_the_postmaster() {
    let file = REFUSED.replace("<root>", "<>");
    let mut rig = rig(Some("ops@example.org"));
    rig.leave("a.bsmtp", &file);
    rig.round().await;
    let (_, envelope, content) = rig.bounce();
    assert_eq!(envelope.recipients[0].address.as_str(), "ops@example.org");
    assert!(content.contains("Postmaster Copy") && rig.aside().len() == 1, "{content}");
}

/// Whoever was named as the sender got a report about mail that they had not sent, with the text of the client.
#[tokio::test]
async fn a_sender_that_is_not_theirs_is_told_nothing() {
    let uid = rustix::process::geteuid().as_raw();
    let large = REFUSED.replace("body", &"0123456789\r\n".repeat(50_000));
    for (file, postmaster) in
        [(REFUSED, None), (REFUSED, Some("ops@example.org")), (&large, Some("ops@example.org"))]
    {
        let config =
            format!("relayhost = \"x.example\"\n[[limit]]\nuid = {uid}\nallow-from = \"@app.example\"\n");
        let environment = Environment { hostname: "host.example.org".into() };
        let limits = Config::parse(&config, Path::new("x.toml"), &environment).unwrap().listen.limits;
        let mut rig = rig(postmaster);
        let desk = rig.host.service.terms().desk.clone();
        rig.host.service.reload(&ListenConfig { limits, ..listen() }, desk);
        rig.leave("a.bsmtp", file);
        rig.round().await;
        assert_eq!((rig.dropped().len(), rig.aside()), (0, vec!["drop-a.claimed".into()]));
        if postmaster.is_none() {
            assert!(rig.host.arrivals.try_recv().is_err());
            continue;
        }
        let (_, envelope, content) = rig.bounce();
        let to: Vec<_> = envelope.recipients.iter().map(|to| to.address.as_str()).collect();
        assert_eq!(to, ["ops@example.org"]);
        assert!(content.contains("<root@origin.example> (MAIL FROM), only as @app.example"), "{content}");
    }
}

/// A refused report to the postmaster was reported to the postmaster again here, while the queue made it dead: mail
/// that one of the two could not deliver might never be reported.
#[tokio::test]
async fn where_nobody_is_to_be_told_the_log_says_so() {
    let ops = Some("ops@example.org");
    let from_nobody = REFUSED.replace("<root>", "<>");
    for (file, postmaster) in [
        (from_nobody.clone(), None),
        (REFUSED.replace("<ann>", "<ann> NOTIFY=NEVER"), None),
        (from_nobody.replace("<ann>", "<ops@example.org>"), ops),
        (from_nobody.replace("<bob> NOTIFY=NEVER", "<ops@example.org>"), ops),
    ] {
        let mut rig = rig(postmaster);
        rig.leave("a.bsmtp", &file);
        rig.round().await;
        assert!(rig.host.spool.is_empty());
        assert_eq!(rig.aside(), ["drop-a.claimed"]);
    }
}

/// Promise 4: while the file cannot be moved, its sender is told only once.
#[tokio::test]
async fn a_file_that_cannot_be_moved_is_bounced_once() {
    let mut rig = rig(None);
    let corrupt = rig.pickup.corrupt.clone();
    fs::remove_dir(&corrupt).unwrap();
    rig.leave("a.bsmtp", REFUSED);
    for _ in 0..3 {
        rig.round().await;
    }
    rig.bounce();
    assert_eq!(rig.dropped(), ["a.claimed"]);
    fs::create_dir(&corrupt).unwrap();
    rig.round().await;
    assert!(rig.host.arrivals.try_recv().is_err() && rig.pickup.refused.is_empty());
    assert_eq!((rig.dropped().len(), rig.aside()), (0, vec!["drop-a.claimed".into()]));
}
