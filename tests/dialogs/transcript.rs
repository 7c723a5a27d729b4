//! The shape of the `.smtp` files in this directory.
//!
//! ```text
//! # What it shows, and why that matters. Further comments anywhere.
//! policy: max-message-size=100 max-recipients=2 max-errors=3 max-junk-commands=3 starttls
//! policy: auth=PLAIN,LOGIN auth-required auth-requires-tls plaintext-requires-tls
//! after: recipient     ehlo, recipient, data or chunk: what was said before, silently
//! not-by-octets        only whole: where it matters what is behind a command already
//!
//! C: NOOP              the client says this and CRLF; neighbours go out in one piece
//! C| raw\r\n           the client says exactly this
//! ! refused MailLoop   the shell's next answer: see `Answer`
//! S: 250 2.0.0         a reply line; more text may follow in it
//! E: ESMTP from <a@b>  the envelope handed over, then `E: to <c@d>` for each recipient
//! B: text              a line of the content stored, without its CRLF
//! X:                   the open intake is void
//! A: PLAIN \0ann\0x    AUTH begins, or a response within it; `A: PLAIN` has no initial response
//! P:                   ETRN probes the relay
//! H:                   the handshake is done
//! Z:                   the session is closed
//! ```
//! Escapes: `\r \n \t \0 \\ \xNN`, and `\{x*500}` for 500 times x.

use std::collections::VecDeque;

use nullmta::message::unacceptable::Unacceptable;
use nullmta::routing::AddressPattern;
use nullmta::sender_policy::{AllowedSenders, SenderPolicy};
use nullmta::smtp::session::{AuthCover, AuthOffer, HostTrouble, MessageRefusal, SessionPolicy};

pub struct Transcript {
    pub policy: SessionPolicy,
    pub by_octets: bool,
    pub turns: Vec<Turn>,
    pub answers: VecDeque<Answer>,
    pub preamble: &'static [u8],
}

/// The octets that the client sends in one piece, and all that must come of them.
#[derive(Clone, Default)]
pub struct Turn {
    pub said: Vec<u8>,
    pub expected: Vec<String>,
}

/// The answer of the shell when the session asks for one; without it all goes well.
#[derive(Debug)]
pub enum Answer {
    /// `opened`: this time all goes well.
    Opened,
    /// `not-opened REFUSAL`
    NotOpened(MessageRefusal),
    /// `content-failed REFUSAL`
    ContentFailed(MessageRefusal),
    /// `refused REFUSAL`
    Refused(MessageRefusal),
    /// `challenge text`
    Challenge(Vec<u8>),
    /// `authenticated user`
    Authenticated(String),
    /// `limited pattern`: ann, who may give only such reverse-paths
    Limited(SenderPolicy),
    /// `unavailable`
    Unavailable,
}

impl Transcript {
    pub fn parse(text: &str) -> Self {
        let mut transcript = Transcript {
            policy: policy(),
            by_octets: true,
            turns: vec![Turn::default()],
            answers: VecDeque::new(),
            preamble: b"",
        };
        assert!(text.starts_with("# "), "the first line says what and why");
        let lines = text.lines().map(str::trim_end);
        lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .for_each(|line| transcript.read(line));
        transcript
    }

    fn read(&mut self, line: &str) {
        let line = &repeated(line);
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        match kind {
            "policy:" => rest.split(' ').for_each(|setting| set(&mut self.policy, setting)),
            "after:" => self.preamble = preamble(rest),
            "not-by-octets" => self.by_octets = false,
            "!" => self.answers.push_back(answer(rest)),
            "C:" => self.say([unescaped(rest), b"\r\n".to_vec()].concat()),
            "C|" => self.say(unescaped(rest)),
            "S:" | "E:" | "B:" | "X:" | "A:" | "P:" | "H:" | "Z:" => {
                self.turns.last_mut().expect("there is a first turn").expected.push(line.to_owned());
            }
            _ => panic!("no such line: {line}"),
        }
    }

    fn say(&mut self, octets: Vec<u8>) {
        match self.turns.last_mut() {
            Some(turn) if turn.expected.is_empty() => turn.said.extend(octets),
            _ => self.turns.push(Turn { said: octets, expected: Vec::new() }),
        }
    }

    /// The same dialogue with all the client says in one piece, save what has to wait for TLS.
    pub fn at_once(&self) -> Vec<Turn> {
        let mut turns = vec![Turn::default()];
        for turn in &self.turns {
            let last = turns.last_mut().expect("there is a first turn");
            last.said.extend(&turn.said);
            last.expected.extend(turn.expected.iter().cloned());
            if turn.expected.iter().any(|event| event == "H:") {
                turns.push(Turn::default());
            }
        }
        turns
    }
}

pub fn policy() -> SessionPolicy {
    SessionPolicy::plain("mx.test", 10_000, 100)
}

fn set(policy: &mut SessionPolicy, setting: &str) {
    match setting.split_once('=') {
        Some(("max-message-size", value)) => policy.max_message_size = value.parse().unwrap(),
        Some(("max-recipients", value)) => policy.max_recipients = value.parse().unwrap(),
        Some(("max-junk-commands", value)) => policy.max_junk_commands = value.parse().unwrap(),
        Some(("max-errors", value)) => policy.max_errors = value.parse().unwrap(),
        Some(("auth", value)) => {
            policy.auth = Some(AuthOffer::of(value.split(','), AuthCover::Nothing));
        }
        None if setting == "starttls" => policy.starttls = true,
        // These stand behind the setting `auth`.
        None if setting == "auth-required" => policy.auth.as_mut().unwrap().is_required = true,
        None if setting == "auth-requires-tls" => {
            let mechanisms = &mut policy.auth.as_mut().unwrap().mechanisms;
            mechanisms.iter_mut().for_each(|mechanism| mechanism.needs = AuthCover::Tls);
        }
        None if setting == "plaintext-requires-tls" => {
            let mechanisms = &mut policy.auth.as_mut().unwrap().mechanisms;
            let shows_password = |name: &str| ["PLAIN", "LOGIN"].contains(&name);
            let shown = mechanisms.iter_mut().filter(|mechanism| shows_password(&mechanism.name));
            shown.for_each(|mechanism| mechanism.needs = AuthCover::Tls);
        }
        _ => panic!("no such setting: {setting}"),
    }
}

fn preamble(name: &str) -> &'static [u8] {
    match name {
        "ehlo" => b"EHLO client\r\n",
        "recipient" => b"EHLO client\r\nMAIL FROM:<ann@example.org>\r\nRCPT TO:<root>\r\n",
        "data" => b"EHLO client\r\nMAIL FROM:<ann@example.org>\r\nRCPT TO:<root>\r\nDATA\r\n",
        "chunk" => b"EHLO client\r\nMAIL FROM:<ann@example.org>\r\nRCPT TO:<root>\r\nBDAT 5\r\none\r\n",
        _ => panic!("no such preamble: {name}"),
    }
}

fn answer(text: &str) -> Answer {
    let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
    match kind {
        "opened" => Answer::Opened,
        "not-opened" => Answer::NotOpened(refusal(rest)),
        "content-failed" => Answer::ContentFailed(refusal(rest)),
        "refused" => Answer::Refused(refusal(rest)),
        "challenge" => Answer::Challenge(unescaped(rest)),
        "authenticated" => Answer::Authenticated(rest.to_owned()),
        "limited" => Answer::Limited(SenderPolicy {
            who: "user ann".into(),
            origin: "origin.test".into(),
            reverse_paths: AllowedSenders {
                allowed: vec![AddressPattern::parse(rest).unwrap()],
                denied: Vec::new(),
            },
            authors: AllowedSenders::default(),
        }),
        "unavailable" => Answer::Unavailable,
        _ => panic!("no such answer: {text}"),
    }
}

fn refusal(name: &str) -> MessageRefusal {
    match name {
        "NoRoom" => HostTrouble::NoRoom.into(),
        "Failing" => HostTrouble::Failing.into(),
        "ShuttingDown" => HostTrouble::ShuttingDown.into(),
        "MailLoop" => Unacceptable::MailLoop.into(),
        "HeaderTooLarge" => Unacceptable::HeaderTooLarge.into(),
        _ => panic!("no such refusal: {name}"),
    }
}

/// `\{x*500}` written out.
fn repeated(line: &str) -> String {
    let Some((before, rest)) = line.split_once("\\{") else { return line.to_owned() };
    let (inside, behind) = rest.split_once('}').expect("closing brace");
    let (what, count) = inside.rsplit_once('*').expect("x*count");
    format!("{before}{}{}", what.repeat(count.parse().unwrap()), repeated(behind))
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&octet, behind)) = rest.split_first() {
        rest = behind;
        if octet != b'\\' {
            octets.push(octet);
            continue;
        }
        let taken = match rest {
            [b'x', high, low, ..] => {
                let digits = [*high, *low];
                octets.push(u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap());
                3
            }
            [b'{', inside @ ..] => {
                let end = inside.iter().position(|octet| *octet == b'}').expect("closing brace");
                let (what, count) =
                    str::from_utf8(&inside[..end]).unwrap().rsplit_once('*').expect("x*count");
                octets.extend(unescaped(what).repeat(count.parse().unwrap()));
                end + 2
            }
            [letter, ..] => {
                let found = [(b'r', b'\r'), (b'n', b'\n'), (b't', b'\t'), (b'0', 0), (b'\\', b'\\')];
                octets.push(found.iter().find(|(name, _)| name == letter).expect("known escape").1);
                1
            }
            [] => panic!("escape without a letter: {text}"),
        };
        rest = &rest[taken..];
    }
    octets
}
