//! A shell without a network: does what the session says and keeps it as the lines of a transcript.
//!
//! It checks on the way what `smtp/session.rs` promises of actions: content only for an open intake,
//! nothing after the close, no more kept unconsumed than was said, a whole line for every reply to a command, and
//! progress.

use std::collections::VecDeque;
use std::sync::Arc;

use nullmta::envelope::{Envelope, Notify, Recipient, Ret};
use nullmta::smtp::reply::Reply;
use nullmta::smtp::session::{
    Answered, Durable, MAX_UNCONSUMED_OCTETS, Session, SessionAction, SessionPolicy,
};

use super::transcript::Answer;

/// The proof, and the number of the message.
struct Stored(u32);

impl Durable for Stored {
    fn queue_id(&self) -> String {
        self.0.to_string()
    }
}

/// One session and what became of it.
pub struct Shell {
    session: Session<Stored>,
    pub answers: VecDeque<Answer>,
    unconsumed: Vec<u8>,
    pub events: Vec<String>,
    /// The content of the open intake.
    intake: Option<Vec<u8>>,
    stored: u32,
    closed: bool,
}

impl Shell {
    pub fn new(policy: &SessionPolicy) -> Self {
        Shell {
            session: Session::new(Arc::new(policy.clone())),
            answers: VecDeque::new(),
            unconsumed: Vec::new(),
            events: Vec::new(),
            intake: None,
            stored: 0,
            closed: false,
        }
    }

    pub fn feed(&mut self, octets: &[u8]) {
        self.unconsumed.extend_from_slice(octets);
        let mut idle_steps = 0;
        while !self.closed {
            let (consumed, action) = self.session.advance(&self.unconsumed);
            let octets: Vec<u8> = self.unconsumed.drain(..consumed).collect();
            if let SessionAction::Reply(Answered::Command, _) | SessionAction::Close(Answered::Command, _) =
                action
            {
                let line_feed = octets.iter().position(|octet| *octet == b'\n');
                assert_eq!(
                    line_feed,
                    consumed.checked_sub(1),
                    "a command is one line: {}",
                    octets.escape_ascii()
                );
            }
            idle_steps = if consumed == 0 { idle_steps + 1 } else { 0 };
            assert!(idle_steps < 4, "no progress: {action:?}");
            if action == SessionAction::Wait {
                assert!(self.unconsumed.len() < MAX_UNCONSUMED_OCTETS);
                return;
            }
            self.act(action);
        }
    }

    fn act(&mut self, action: SessionAction) {
        match action {
            SessionAction::Wait | SessionAction::Skipped => {}
            SessionAction::Reply(_, reply) => {
                assert_ne!(reply.code(), 421, "421 closes");
                self.say(&reply);
            }
            SessionAction::Open(envelope) => self.open(&envelope),
            SessionAction::Content(octets) => self.take_content(&octets),
            SessionAction::Commit => self.commit(),
            SessionAction::Discard { .. } => {
                self.intake.take().expect("an open intake to discard");
                self.events.push("X:".into());
            }
            SessionAction::StartTls(reply) => {
                assert!(self.unconsumed.is_empty(), "plaintext behind STARTTLS");
                self.say(&reply);
                self.events.push("H:".into());
                self.session.tls_started(false);
            }
            SessionAction::AuthStart { mechanism, initial_response: None } => self.exchange(&mechanism),
            SessionAction::AuthStart { mechanism, initial_response: Some(octets) } => {
                self.exchange(&format!("{mechanism} {}", escaped(&octets)));
            }
            SessionAction::AuthResponse(octets) => self.exchange(&escaped(&octets)),
            SessionAction::ProbeRelay(reply) => {
                self.say(&reply);
                self.events.push("P:".into());
            }
            SessionAction::Close(_, reply) => {
                self.say(&reply);
                self.close();
            }
        }
    }

    fn open(&mut self, envelope: &Envelope) {
        assert!(self.intake.is_none(), "two intakes");
        match self.answers.front() {
            Some(Answer::NotOpened(_)) => {
                let Some(Answer::NotOpened(why)) = self.answers.pop_front() else { unreachable!() };
                let reply = self.session.not_opened(why);
                self.say_if_any(reply);
                return;
            }
            Some(Answer::Opened) => drop(self.answers.pop_front()),
            _ => {}
        }
        self.events.push(format!("E: {} {}", self.session.protocol(), asked_of(envelope)));
        self.events.extend(envelope.recipients.iter().map(to));
        self.intake = Some(Vec::new());
        let reply = self.session.opened();
        self.say_if_any(reply);
    }

    fn take_content(&mut self, octets: &[u8]) {
        let intake = self.intake.as_mut().expect("content for an open intake");
        assert!(!octets.is_empty());
        intake.extend_from_slice(octets);
        if let Some(Answer::ContentFailed(_)) = self.answers.front() {
            let Some(Answer::ContentFailed(why)) = self.answers.pop_front() else { unreachable!() };
            self.intake = None;
            self.session.content_failed(why);
        }
    }

    fn commit(&mut self) {
        let content = self.intake.take().expect("an open intake to commit");
        if let Some(Answer::Refused(_)) = self.answers.front() {
            let Some(Answer::Refused(why)) = self.answers.pop_front() else { unreachable!() };
            let reply = self.session.refused(why);
            self.say_if_any(Some(reply));
            return;
        }
        let lines = content.split_inclusive(|octet| *octet == b'\n');
        for line in lines {
            let line = line.strip_suffix(b"\r\n").expect("stored lines end in CRLF");
            self.events.push(format!("B: {}", escaped(line)).trim_end().to_owned());
        }
        self.stored += 1;
        let reply = self.session.committed(&Stored(self.stored));
        self.say(&reply);
    }

    fn exchange(&mut self, said: &str) {
        self.events.push(format!("A: {said}").trim_end().to_owned());
        let reply = match self.answers.pop_front() {
            Some(Answer::Challenge(challenge)) => self.session.auth_challenge(&challenge),
            Some(Answer::Authenticated(user)) => self.session.auth_succeeded(&user, None),
            Some(Answer::Limited(senders)) => self.session.auth_succeeded("ann", Some(Arc::new(senders))),
            Some(Answer::Unavailable) => self.session.auth_unavailable(),
            None => self.session.auth_failed(),
            Some(other) => panic!("no answer to AUTH: {other:?}"),
        };
        self.say(&reply);
    }

    fn say_if_any(&mut self, reply: Option<Reply>) {
        if let Some(reply) = reply {
            self.say(&reply);
            if reply.code() == 421 {
                self.close();
            }
        }
    }

    fn say(&mut self, reply: &Reply) {
        let mut octets = Vec::new();
        reply.encode(&mut octets);
        let text = String::from_utf8(octets).unwrap();
        self.events.extend(text.lines().map(|line| format!("S: {line}").trim_end().to_owned()));
    }

    fn close(&mut self) {
        self.events.push("Z:".into());
        self.closed = true;
        assert_eq!(self.session.advance(b"NOOP\r\n"), (6, SessionAction::Wait), "nothing after the close");
    }
}

fn asked_of(envelope: &Envelope) -> String {
    let mut text = format!("from <{}> BODY={:?}", envelope.reverse_path, envelope.body);
    text = text.replace(" BODY=SevenBit", "").replace("EightBitMime", "8BITMIME");
    text.push_str(if envelope.smtputf8 { " SMTPUTF8" } else { "" });
    text.push_str(match envelope.ret {
        Some(Ret::Full) => " RET=FULL",
        Some(Ret::Headers) => " RET=HDRS",
        None => "",
    });
    text + &envelope.envid.as_ref().map(|envid| format!(" ENVID={envid}")).unwrap_or_default()
}

fn to(recipient: &Recipient) -> String {
    let notify = match recipient.notify {
        Notify::Unstated => String::new(),
        Notify::Never => " NOTIFY=NEVER".into(),
        Notify::On { success, failure, delay } => {
            let words = [(success, "SUCCESS"), (failure, "FAILURE"), (delay, "DELAY")];
            let asked: Vec<&str> = words.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
            format!(" NOTIFY={}", asked.join(","))
        }
    };
    let orcpt = recipient.orcpt.as_ref().map(|orcpt| format!(" ORCPT={orcpt}")).unwrap_or_default();
    format!("E: to <{}>{notify}{orcpt}", recipient.address)
}

fn escaped(octets: &[u8]) -> String {
    let escape = |octet: &u8| match octet {
        0 => "\\0".into(),
        b' '..=b'~' => char::from(*octet).to_string(),
        _ => octet.escape_ascii().to_string(),
    };
    octets.iter().map(escape).collect()
}
