//! Rewriting from outside: `rewriting/*.case`, each a configuration, and messages as they come and go.
//!
//! A case says first what it is about; an empty line; the configuration; then, in turn, what is submitted and
//! what goes on, each behind a line `--- MAIL FROM:<…> RCPT TO:<…> …` (`NAME:` gives the submitting user a full
//! name), or `--- ` and the refusal. What Postfix gives was taken from a Postfix 3 with the settings named.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use jiff::civil::date;
use jiff::tz::TimeZone;
use nullmta::config::{Config, Environment};
use nullmta::envelope::{Address, Envelope, Recipient, ReversePath};
use nullmta::message::fixup::{Fixup, FixupTask};
use nullmta::message::rewrite::{LocalUser, MessageFacts};
use nullmta::message::unacceptable::Unacceptable;

/// A message with the line that stands before it.
struct Message<'c> {
    line: &'c str,
    content: String,
}

impl<'c> Message<'c> {
    fn read(text: &'c str) -> Self {
        let (line, content) = text.split_once('\n').unwrap();
        Message { line, content: content.replace('\n', "\r\n") }
    }

    fn envelope(&self) -> Envelope {
        let (path, rest) = self.line.strip_prefix("MAIL FROM:<").unwrap().split_once('>').unwrap();
        let reverse_path = match path {
            "" => ReversePath::Null,
            path => ReversePath::Mailbox(Address::parse(path).unwrap()),
        };
        let recipients = rest.split(" RCPT TO:<").skip(1);
        let address = |text: &str| Address::parse(text.split_once('>').unwrap().0).unwrap();
        let recipients = recipients.map(|text| Recipient::plain(address(text))).collect();
        Envelope { recipients, ..Envelope::from(reverse_path) }
    }

    fn user(&self) -> Option<LocalUser> {
        let (_, name) = self.line.split_once(" NAME:")?;
        Some(LocalUser { login: "user".into(), full_name: name.into() })
    }

    fn task(&self, config: &Config) -> FixupTask {
        let facts = MessageFacts {
            received: String::new(),
            hostname: config.listen.hostname.clone(),
            message_id_left: "1.2".into(),
            now: date(2026, 11, 21).at(2, 10, 0, 0).to_zoned(TimeZone::UTC).unwrap(),
            user: self.user(),
        };
        FixupTask { envelope: self.envelope(), facts, rules: config.rewrite.clone() }
    }

    /// Returns the message after its fix-up, as a case shows it.
    fn fixed(&self, config: &Config) -> String {
        let (mut fixup, mut out) = (Fixup::new(self.task(config)), Vec::new());
        let pushed = fixup.push(self.content.as_bytes(), &mut out);
        match pushed.and_then(|()| fixup.finish(&mut out)) {
            Ok(fixed) => format!("{}\n{}", line(&fixed.envelope), String::from_utf8(out).unwrap()),
            Err(Unacceptable::Rejected(text)) => format!("550 5.7.1 {text}\n"),
            Err(other) => format!("{other}\n"),
        }
    }
}

fn line(envelope: &Envelope) -> String {
    let mut line = format!("MAIL FROM:<{}>", envelope.reverse_path);
    for recipient in &envelope.recipients {
        write!(line, " RCPT TO:<{}>", recipient.address).unwrap();
    }
    line
}

fn check(name: &str, case: &str) {
    let mut parts = case.split("\n--- ");
    let (_, config) = parts.next().unwrap().split_once("\n\n").unwrap();
    let environment = Environment { hostname: "web1.example.org".into() };
    let config = Config::parse(config, Path::new(name), &environment).unwrap();
    let messages: Vec<_> = parts.map(Message::read).collect();
    assert!(!messages.is_empty() && messages.len().is_multiple_of(2), "{name}");
    for pair in messages.chunks(2) {
        let expected = format!("{}\n{}", pair[1].line, pair[1].content);
        let fixed = pair[0].fixed(&config);
        // The empty line between two pairs is the case's own.
        assert_eq!(fixed.trim_end(), expected.trim_end(), "{name}: {}", pair[0].line);
        if fixed.starts_with("MAIL") {
            check_again(name, &fixed, &config);
        }
    }
}

/// Twice is once; but what a rule prepends or puts in front, it does again.
fn check_again(name: &str, fixed: &str, config: &Config) {
    if name != "header-rules" && name != "recipe-2-all-to-one" {
        let (line, content) = fixed.split_once('\n').unwrap();
        assert_eq!(Message { line, content: content.into() }.fixed(config), fixed, "{name}");
    }
}

#[test]
fn messages_go_on_as_the_cases_say() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rewriting");
    let mut names: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(names.len() >= 8);
    for path in names {
        let name = path.file_stem().unwrap().to_str().unwrap();
        check(name, &fs::read_to_string(&path).unwrap());
    }
}
