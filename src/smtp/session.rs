//! The server side of a dialogue, without a socket: the input is octets, the output is one [`SessionAction`] at a time.
//!
//! The shell (`listener/`, the sink) calls [`Session::advance`] with all octets that were read and not yet consumed, does
//! what the action says, and calls again *until the action is [`SessionAction::Wait`]*, also when no input is left. An action
//! that needs an answer from the shell names the method for it, which must be called before the next `advance`. A reply
//! with code 421, whatever its origin, is the last one: the shell flushes and closes.
//!
//! Promises:
//! 1. The actions do not depend on the pieces in which the octets arrive, except that `Content` may be cut differently.
//! 2. Content is never taken for a command, nor a command for content: the end of data is CRLF `.` CRLF, a chunk has the
//!    length that its BDAT gave, and refused content is read to its real end.
//! 3. 250 to content is sent only for a [`Durable`] proof.
//! 4. The envelope is in the state that needs it; RSET, EHLO and STARTTLS drop it as a whole.
//! 5. Nothing from before TLS counts after the handshake, and no plaintext after STARTTLS is accepted.
//! 6. Memory: one envelope and one state. The buffer of the shell needs [`MAX_UNCONSUMED_OCTETS`].
//!
//! Fails: every error is a reply. Closing at any moment loses nothing that was acknowledged; an intake that is open then
//! must be discarded.
//!
//! Not here: timers, sockets, TLS, SASL (`listener/`); content beyond its line ends (`message/`).
//!
//! RFC 5321, RFC 1870 (SIZE), RFC 1985 (ETRN), RFC 2034 (ENHANCEDSTATUSCODES), RFC 2920 (PIPELINING),
//! RFC 3030 (CHUNKING), RFC 3207 (STARTTLS), RFC 3461 (DSN), RFC 4954 (AUTH), RFC 6152 (8BITMIME),
//! RFC 6531 (SMTPUTF8).

mod action;
mod auth;
mod content;
mod extension;
mod line;
mod refusal;
mod state;
mod transaction;

use std::marker::PhantomData;
use std::sync::Arc;

use super::bad_command::BadCommand;
use super::command::Command;
use super::dot::LineEnd;
use super::reply::{Reply, Severity};
use crate::status::Status;
use line::{InputLine, LineReader};
use state::{SessionClient, SessionState};

pub use action::{Answered, Durable, SessionAction};
pub use extension::ServiceExtension;
pub use line::MAX_UNCONSUMED_OCTETS;
pub use refusal::{HostTrouble, MessageRefusal};

/// The limits of a listener, and the extensions that it offers.
#[derive(Clone, Debug)]
pub struct SessionPolicy {
    /// The name that we give for this host.
    pub hostname: String,
    /// The largest content accepted, in octets, with line ends counted as CRLF.
    pub max_message_size: u64,
    /// The most recipients of one message.
    pub max_recipients: usize,
    /// The extensions that are offered besides STARTTLS and AUTH.
    pub extensions: Vec<ServiceExtension>,
    /// True if STARTTLS is offered.
    pub starttls: bool,
    /// The offer of AUTH; `None` if it is not offered.
    pub auth: Option<AuthOffer>,
    /// The number of commands refused for good, without an accepted message between them, that ends the session. A
    /// recipient beyond twice `max_recipients` counts as one, so that a client can find out the limit, but not try
    /// for ever.
    pub max_errors: u32,
    /// The number of commands that bring no message nearer ([`Command::is_junk`]) which a client may send without an
    /// accepted message between them. The next one ends the session.
    pub max_junk_commands: u32,
}

/// The offer of AUTH, with its conditions.
#[derive(Clone, Debug, Default)]
pub struct AuthOffer {
    /// The SASL mechanisms, in the order in which EHLO names them; at least one.
    pub mechanisms: Vec<OfferedMechanism>,
    /// True if MAIL and ETRN are refused before AUTH.
    pub is_required: bool,
}

/// A SASL mechanism, with its condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedMechanism {
    /// The name, in upper case.
    pub name: String,
    /// The least cover within which it is offered.
    pub needs: AuthCover,
}

/// The cover of a session against those who could read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuthCover {
    /// None.
    #[default]
    Nothing,
    /// TLS.
    Tls,
    /// TLS to which a login can be bound (RFC 9266).
    BoundTls,
}

impl AuthOffer {
    /// Returns an offer of these mechanisms, each within such a cover, which nobody has to take.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>, needs: AuthCover) -> Self {
        let offered = |name: &str| OfferedMechanism { name: name.to_owned(), needs };
        AuthOffer { mechanisms: names.into_iter().map(offered).collect(), is_required: false }
    }
}

/// The usual value of `max_errors`.
const MAX_ERRORS: u32 = 20;

/// The usual value of `max_junk_commands`, which is that of Postfix.
const MAX_JUNK_COMMANDS: u32 = 100;

impl SessionPolicy {
    /// Returns the policy for clients of this host, with neither STARTTLS nor AUTH.
    pub fn plain(hostname: impl Into<String>, max_message_size: u64, max_recipients: usize) -> Self {
        SessionPolicy {
            hostname: hostname.into(),
            max_message_size,
            max_recipients,
            extensions: ServiceExtension::ALL.into(),
            starttls: false,
            auth: None,
            max_errors: MAX_ERRORS,
            max_junk_commands: MAX_JUNK_COMMANDS,
        }
    }
}

/// One session, from the greeting to the close. `P` is the proof that it needs to reply 250.
#[derive(Debug)]
pub struct Session<P: Durable> {
    policy: Arc<SessionPolicy>,
    state: SessionState,
    client: SessionClient,
    lines: LineReader,
    /// The number of commands refused for good since the last message was accepted.
    errors: u32,
    /// The number of junk commands ([`Command::is_junk`]) since the last message was accepted.
    junk_commands: u32,
    /// The number of recipients beyond the limit that were refused since the last message was accepted.
    surplus: usize,
    auth_failures: u32,
    /// Why no message may begin now.
    intake_pause: Option<String>,
    proof: PhantomData<fn(P)>,
}

impl<P: Durable> Session<P> {
    /// Returns the session for a client that has connected.
    pub fn new(policy: Arc<SessionPolicy>) -> Self {
        Session {
            policy,
            state: SessionState::ExpectHello,
            client: SessionClient::default(),
            lines: LineReader::default(),
            errors: 0,
            junk_commands: 0,
            surplus: 0,
            auth_failures: 0,
            intake_pause: None,
            proof: PhantomData,
        }
    }

    /// Has MAIL be refused for now, for this reason; `None` if it is taken.
    pub fn pause_intake(&mut self, why: Option<String>) {
        self.intake_pause = why;
    }

    /// Returns the greeting.
    pub fn greeting(&self) -> Reply {
        Reply::bare(220, format!("{} ESMTP nullmta", self.policy.hostname))
    }

    /// Consumes octets at the start of `input` up to the next action. Returns their number, which may be zero, and the
    /// action. While an action waits for the answer of the shell, the result is only [`SessionAction::Wait`].
    pub fn advance(&mut self, input: &[u8]) -> (usize, SessionAction) {
        match &self.state {
            SessionState::ExpectContent(_) => self.content(input),
            SessionState::Skip { .. } => self.skip(input),
            SessionState::ExpectHello
            | SessionState::ExpectMail
            | SessionState::ExpectRecipient(_)
            | SessionState::ExpectChunk(_)
            | SessionState::ExpectAuthResponse => self.line(input),
            SessionState::ExpectIntake(_)
            | SessionState::ExpectCommit(_)
            | SessionState::ExpectAuthVerdict
            | SessionState::ExpectHandshake => (0, SessionAction::Wait),
            SessionState::Closed => (input.len(), SessionAction::Wait),
        }
    }

    /// Tells the session that the TLS handshake is done; `can_bind` says whether a login can be bound to it. Everything from
    /// before it is forgotten (RFC 3207 4.2).
    pub fn tls_started(&mut self, can_bind: bool) {
        let cover = if can_bind { AuthCover::BoundTls } else { AuthCover::Tls };
        self.client = SessionClient { cover, ..SessionClient::default() };
        self.state = SessionState::ExpectHello;
    }

    /// Returns the reply before closing a session in which the client was silent for too long.
    pub fn idle_timeout(&self) -> Reply {
        error(421, 4, 2, "idle for too long, closing")
    }

    /// Returns the reply before closing a session in which no message came for too long, even if it was not idle.
    pub fn no_message(&self) -> Reply {
        error(421, 4, 2, "no message for too long, closing")
    }

    /// Returns the reply before closing a session because the daemon stops.
    pub fn shutting_down(&self) -> Reply {
        shutting_down()
    }

    /// Returns the name that was given with HELO or EHLO, for the Received field. It consists of letters, digits and
    /// `.-_:[]`; other characters were replaced by `?`.
    pub fn helo(&self) -> Option<&str> {
        self.client.helo.as_deref()
    }

    /// Returns the protocol of the current transaction: SMTP, ESMTPSA, UTF8SMTP… (RFC 3848, RFC 6531 4.3).
    pub fn protocol(&self) -> &'static str {
        self.client.protocol(self.state.smtputf8())
    }

    /// Returns the size of the content in octets as the client declared it by SIZE= or the first BDAT; 0 if it did not.
    /// It is for checking whether there is room at `Open`.
    pub fn declared_size(&self) -> u64 {
        self.state.declared_size()
    }

    /// Returns whether the session may be closed without loss: no transaction and no exchange is under way.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, SessionState::ExpectHello | SessionState::ExpectMail | SessionState::Closed)
    }

    /// Processes one line: a command, or a response within AUTH.
    fn line(&mut self, input: &[u8]) -> (usize, SessionAction) {
        if matches!(self.state, SessionState::ExpectHello) && input.first() == Some(&TLS_HANDSHAKE_RECORD) {
            let reply = error(554, 5, 1, "TLS begins with STARTTLS here");
            return (input.len(), self.close(Answered::Line, reply));
        }
        let in_auth = matches!(self.state, SessionState::ExpectAuthResponse);
        match self.lines.read(input, in_auth) {
            InputLine::Partial { dropped } => (dropped, SessionAction::Wait),
            InputLine::TooLong { octets } if in_auth => (octets, self.auth_line_too_long()),
            InputLine::TooLong { octets } => {
                (octets, self.answer_to(Answered::Line, error(500, 5, 2, "line too long")))
            }
            InputLine::Whole { text, octets, .. } if in_auth => (octets, self.auth_response(text)),
            InputLine::Whole { text, octets, end } => match self.command(text, end, octets < input.len()) {
                Next::Act(action) => (octets, action),
                Next::VoidFirst => (0, SessionAction::Discard { refusal: None }),
                Next::Read => {
                    let (more, action) = self.advance(&input[octets..]);
                    (octets + more, action)
                }
            },
        }
    }

    fn command(&mut self, text: &[u8], end: LineEnd, more_behind: bool) -> Next {
        // A CR in a command line is broken, or an attempt to have one line read as two.
        if text.iter().any(|octet| matches!(octet, b'\r' | 0)) {
            return Next::Act(self.answer(error(500, 5, 2, "CR or NUL within a command line")));
        }
        match Command::parse(text) {
            Err(bad) if bad.is_hopeless() => Next::Act(self.close(Answered::Command, bad.reply())),
            Err(bad) => Next::Act(self.answer(bad.reply())),
            Ok(command)
                if command.ends_transaction() && matches!(self.state, SessionState::ExpectChunk(_)) =>
            {
                self.state = SessionState::ExpectMail;
                Next::VoidFirst
            }
            Ok(command) => self.obey(command, end, more_behind),
        }
    }

    fn obey(&mut self, command: Command<'_>, end: LineEnd, more_behind: bool) -> Next {
        if command.is_junk() {
            self.junk_commands = self.junk_commands.saturating_add(1);
            if self.junk_commands > self.policy.max_junk_commands {
                let reply = error(421, 7, 0, "too many commands without a message, closing");
                return Next::Act(self.close(Answered::Command, reply));
            }
        }
        let action = match command {
            Command::Helo(name) => self.hello(&name, false),
            Command::Ehlo(name) => self.hello(&name, true),
            Command::Mail { envelope, size } => self.mail(envelope, size),
            Command::Rcpt(recipient) => self.rcpt(recipient),
            Command::Data => self.data(end),
            // The octets of the chunk must not be taken for commands.
            Command::Bdat { .. } if !self.policy.offers(ServiceExtension::Chunking) => {
                self.close(Answered::Command, BadCommand::Unknown.reply())
            }
            Command::Bdat { octets, last } => return self.bdat(octets, last).map_or(Next::Read, Next::Act),
            Command::Rset => self.rset(),
            Command::Noop => self.answer(ok(0, 0, "ok")),
            Command::Help => self.answer(Reply::new(214, Status::success(0, 0), COMMANDS)),
            // RFC 5321 3.5.3: 252: cannot tell, will take it and try.
            Command::Vrfy => {
                self.answer(Reply::new(252, Status::success(5, 0), "not verified, but accepted"))
            }
            Command::Expn => self.answer(error(502, 5, 1, "no mailing lists here")),
            Command::Etrn if !self.policy.offers(ServiceExtension::Etrn) => {
                self.answer(BadCommand::Unknown.reply())
            }
            Command::Etrn => self.etrn(),
            Command::StartTls => self.start_tls(more_behind),
            Command::Auth { mechanism, initial_response } => self.auth(mechanism, initial_response),
            Command::Quit => self.close(Answered::Command, Reply::new(221, Status::success(0, 0), "bye")),
        };
        Next::Act(action)
    }

    fn hello(&mut self, name: &str, esmtp: bool) -> SessionAction {
        self.client.greeted(name, esmtp);
        self.state = SessionState::ExpectMail;
        if esmtp {
            self.answer(Reply::multiline(250, self.extensions()))
        } else {
            self.answer(Reply::bare(250, self.policy.hostname.clone()))
        }
    }

    fn extensions(&self) -> Vec<String> {
        let policy = &self.policy;
        let line = |extension: ServiceExtension| extension.line(policy.max_message_size);
        let offered = || ServiceExtension::ALL.into_iter().filter(|extension| policy.offers(*extension));
        let mut lines = vec![policy.hostname.clone()];
        lines.extend(offered().filter(|extension| extension.is_before_tls()).map(line));
        if policy.starttls && !self.client.is_within_tls() {
            lines.push("STARTTLS".into());
        }
        let mechanisms = self.mechanisms();
        if !mechanisms.is_empty() {
            lines.push(format!("AUTH {}", mechanisms.join(" ")));
        }
        lines.extend(offered().filter(|extension| !extension.is_before_tls()).map(line));
        lines
    }

    fn etrn(&mut self) -> SessionAction {
        match &self.state {
            SessionState::ExpectHello => self.answer(say_hello_first()),
            // RFC 1985 5.1.
            SessionState::ExpectRecipient(_) | SessionState::ExpectChunk(_) => {
                self.answer(error(503, 5, 1, "not within a transaction"))
            }
            _ if self.lacks_auth() => self.answer(authentication_required()),
            _ => SessionAction::ProbeRelay(ok(0, 0, "queueing started")),
        }
    }

    fn start_tls(&mut self, more_behind: bool) -> SessionAction {
        if !self.policy.starttls {
            return self.answer(error(502, 5, 1, "STARTTLS not offered"));
        }
        if self.client.is_within_tls() {
            return self.answer(error(503, 5, 1, "TLS is up already"));
        }
        // RFC 3207 6: what stands behind in plaintext would be taken for what the client says in TLS.
        if more_behind {
            return self.close(Answered::Command, error(554, 5, 1, "plaintext behind STARTTLS"));
        }
        self.state = SessionState::ExpectHandshake;
        SessionAction::StartTls(Reply::new(220, Status::success(0, 0), "ready to start TLS"))
    }

    /// Returns the action that sends `reply` to a command.
    fn answer(&mut self, reply: Reply) -> SessionAction {
        self.answer_to(Answered::Command, reply)
    }

    /// Returns the action that sends `reply`, or 421 in its place after too many errors.
    fn answer_to(&mut self, answered: Answered, reply: Reply) -> SessionAction {
        let is_surplus = reply.code() == 452 && self.surplus > self.policy.max_recipients;
        if reply.severity() == Severity::Permanent || is_surplus {
            self.errors = self.errors.saturating_add(1);
            if self.errors >= self.policy.max_errors {
                return self.close(answered, error(421, 7, 0, "too many errors, closing"));
            }
        }
        if reply.code() == 421 { self.close(answered, reply) } else { SessionAction::Reply(answered, reply) }
    }

    fn close(&mut self, answered: Answered, reply: Reply) -> SessionAction {
        self.state = SessionState::Closed;
        SessionAction::Close(answered, reply)
    }

    /// Returns `reply` for a method that the shell calls; closes the session if the code is 421.
    fn said(&mut self, reply: Reply) -> Reply {
        if reply.code() == 421 {
            self.state = SessionState::Closed;
        }
        reply
    }

    /// Returns the state of a session without a transaction.
    fn between_transactions(&self) -> SessionState {
        if self.client.helo.is_some() { SessionState::ExpectMail } else { SessionState::ExpectHello }
    }
}

/// The next step after a command line.
enum Next {
    Act(SessionAction),
    /// The shell must discard the open intake before the command is executed.
    VoidFirst,
    /// There is nothing to do; a chunk follows.
    Read,
}

/// The first octet of a TLS handshake, from a client that is set to implicit TLS. It would wait for ever.
const TLS_HANDSHAKE_RECORD: u8 = 0x16;

const COMMANDS: &str = "HELO EHLO MAIL RCPT DATA BDAT RSET NOOP HELP VRFY ETRN STARTTLS AUTH QUIT";

fn ok(subject: u16, detail: u16, text: impl Into<String>) -> Reply {
    Reply::new(250, Status::success(subject, detail), text)
}

/// Returns a 4xx or 5xx reply with an enhanced status of the same class.
fn error(code: u16, subject: u16, detail: u16, text: &str) -> Reply {
    let class = if code < 500 { Status::transient } else { Status::permanent };
    Reply::new(code, class(subject, detail), text)
}

fn say_hello_first() -> Reply {
    error(503, 5, 1, "say EHLO first")
}

fn authentication_required() -> Reply {
    error(530, 7, 0, "authentication required")
}

fn shutting_down() -> Reply {
    error(421, 3, 2, "shutting down, try again later")
}

#[cfg(test)]
mod tests;
