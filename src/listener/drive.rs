//! The driver of a session: it carries out the actions of the session core, over any stream, for any backend.
//!
//! Promises:
//! 1. A 250 for a message is sent only with the proof that the `commit` of the backend returned.
//! 2. However the session ends, a message that was not yet given to `commit` leaves nothing behind. For one that was,
//!    the driver waits, and sends its reply if the client is still there.
//! 3. After the stop signal, content that is arriving may complete until the deadline. Any other session gets 421
//!    4.3.2 as soon as its earlier commands are answered; one in its TLS handshake is closed.
//! 4. Replies are sent in the order of the commands, with one write for a group of pipelined commands.
//!
//! Fails: a session ends with a [`SessionEnd`], which does not affect other sessions.
//! Not here: SMTP (`smtp/session/`), buffers and time limits (`wire.rs`), storage (`backend.rs`), who may connect
//! (`serve.rs`).
//!
//! RFC 5321 4.5.3.2 (timeouts), RFC 2920 (pipelining), RFC 3207 (STARTTLS), RFC 4954 (AUTH).

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::envelope::Envelope;
use crate::listener::backend::{AuthStep, Backend, BoxStream, ClientAnswer, Hello};
use crate::listener::repeats::{RepeatKind, RepeatTally, SessionLines};
use crate::listener::stop::StopSignal;
use crate::listener::wire::Wire;
use crate::log;
use crate::smtp::command::verb_of;
use crate::smtp::reply::{Reply, Severity};
use crate::smtp::session::{Answered, HostTrouble, Session, SessionAction};
use crate::tls_faults::{TlsPeer, connection};
use crate::trace::{NOT_SHOWN, TracedConnection, TracedSide, TracedSpeaker};

pub use crate::listener::wire::{Pace, SessionEnd};

impl fmt::Display for SessionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self {
            SessionEnd::Lost(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                write!(f, ": {}", connection(TlsPeer::CLIENT, error))
            }
            SessionEnd::NoTls(error) => write!(f, ": {}", connection(TlsPeer::CLIENT, error)),
            _ => Ok(()),
        }
    }
}

/// The connection of a client, with all that its session needs besides the session core and the backend.
pub struct ClientConnection {
    /// The stream of the client, to which nothing was written yet.
    pub stream: BoxStream,
    /// The client as log lines name it.
    pub client: String,
    /// The tally of repeated events, which all sessions share.
    pub tally: Arc<RepeatTally>,
    /// The time limits.
    pub pace: Pace,
    /// The signal for the session to end.
    pub stop: StopSignal,
}

/// Runs one session from its greeting to its end. If the stream is already within TLS, the caller must have told the
/// session.
pub async fn drive<B: Backend>(
    session: Session<B::Proof>,
    backend: B,
    connection: ClientConnection,
) -> SessionEnd {
    let mut driver = Driver::of(session, backend, connection);
    let end = driver.run().await.err().unwrap_or(SessionEnd::Closed);
    driver.finish(end).await
}

/// Runs one session that begins with a TLS handshake, which the backend does.
pub async fn drive_within_tls<B: Backend>(
    session: Session<B::Proof>,
    backend: B,
    connection: ClientConnection,
) -> SessionEnd {
    let mut driver = Driver::of(session, backend, connection);
    let end = match driver.secure().await {
        Ok(()) => driver.run().await.err().unwrap_or(SessionEnd::Closed),
        Err(end) => end,
    };
    driver.finish(end).await
}

/// The result of a step: `Ok` while the session continues, else its end.
type Proceed = Result<(), SessionEnd>;

struct Driver<B: Backend> {
    session: Session<B::Proof>,
    backend: B,
    /// The intake for the content of the current transaction; `None` if no content is wanted.
    intake: Option<B::Intake>,
    wire: Wire,
    /// The log lines of this session that may repeat.
    lines: SessionLines,
    traced: TracedConnection,
    /// The octets of content since the last reply to it.
    content: usize,
}

impl<B: Backend> Driver<B> {
    fn of(session: Session<B::Proof>, backend: B, connection: ClientConnection) -> Self {
        let ClientConnection { stream, client, tally, pace, stop } = connection;
        let (wire, lines) = (Wire::new(stream, pace, stop), SessionLines::new(client, tally));
        let traced = TracedConnection::new(TracedSide::Listener);
        Driver { session, backend, intake: None, wire, lines, traced, content: 0 }
    }

    async fn run(&mut self) -> Proceed {
        self.greet().await?;
        loop {
            if self.session.is_idle() {
                self.session.pause_intake(self.backend.intake_pause());
            }
            let (taken, action) = self.session.advance(self.wire.input());
            self.wire.note_transaction(!self.session.is_idle());
            if action != SessionAction::Wait {
                self.wire.note_progress();
            }
            self.act(taken, action).await?;
        }
    }

    /// Carries out `action`, which consumed the first `taken` octets of the input.
    async fn act(&mut self, taken: usize, action: SessionAction) -> Proceed {
        match action {
            SessionAction::Content(octets) => {
                self.wire.consume(taken);
                self.write(&octets).await;
                Ok(())
            }
            SessionAction::Commit => {
                self.wire.consume(taken);
                self.commit().await
            }
            SessionAction::Discard { .. } => {
                self.wire.consume(taken);
                self.discard();
                Ok(())
            }
            SessionAction::Skipped => {
                self.wire.consume(taken);
                Ok(())
            }
            SessionAction::Open(envelope) => self.open(taken, *envelope).await,
            SessionAction::AuthStart { mechanism, initial_response } => {
                let step = self.backend.auth_start(&mechanism, initial_response.as_deref()).await;
                self.go_on_with_auth(Answered::Command, taken, step).await
            }
            SessionAction::AuthResponse(response) => {
                let step = self.backend.auth_response(&response).await;
                self.go_on_with_auth(Answered::Line, taken, step).await
            }
            SessionAction::Reply(answered, reply) => self.answer(answered, taken, reply).await.map(drop),
            SessionAction::ProbeRelay(reply) => {
                let reply = self.backend.probe_relay().await.unwrap_or(reply);
                self.answer(Answered::Command, taken, reply).await.map(drop)
            }
            SessionAction::StartTls(reply) => self.start_tls(taken, reply).await,
            SessionAction::Close(answered, reply) => {
                self.answer(answered, taken, reply).await?;
                Err(SessionEnd::Closed)
            }
            SessionAction::Wait => {
                self.wire.consume(taken);
                self.wire.bring(self.intake.is_some()).await
            }
        }
    }

    /// Opens an intake for the message that the first `taken` octets of the input announce.
    async fn open(&mut self, taken: usize, envelope: Envelope) -> Proceed {
        let Driver { session, backend, .. } = self;
        let hello = Hello {
            helo: session.helo(),
            protocol: session.protocol(),
            declared_size: session.declared_size(),
        };
        let reply = match backend.open(envelope, hello).await {
            Ok(intake) => {
                self.intake = Some(intake);
                self.session.opened()
            }
            Err(refusal) => self.session.not_opened(refusal),
        };
        match reply {
            Some(reply) => self.answer(Answered::Command, taken, reply).await.map(drop),
            None => {
                self.wire.consume(taken);
                Ok(())
            }
        }
    }

    fn discard(&mut self) {
        if let Some(intake) = self.intake.take() {
            self.backend.discard(intake);
        }
    }

    async fn write(&mut self, octets: &[u8]) {
        self.wire.note_content(octets.len());
        self.content += octets.len();
        let Some(intake) = &mut self.intake else { return };
        if let Err(refusal) = self.backend.write(intake, octets).await {
            // The intake is dropped at once, since the rest of the content may take long to arrive.
            self.intake = None;
            self.session.content_failed(refusal);
        }
    }

    async fn commit(&mut self) -> Proceed {
        // Earlier replies of the pipelined group are sent before the disk is waited for.
        self.wire.flush().await?;
        let outcome = match self.intake.take() {
            Some(intake) => self.backend.commit(intake).await,
            // The core knows that there is no intake and asks for no commit. If it did, nothing would be
            // acknowledged.
            None => Err(HostTrouble::Failing.into()),
        };
        let reply = match outcome {
            Ok(proof) => self.session.committed(&proof),
            Err(refusal) => self.session.refused(refusal),
        };
        self.answer(Answered::EndOfData, 0, reply).await.map(drop)
    }

    /// Answers a line of AUTH with the reply for `step`. `answered` says whether the line was a command or a
    /// response.
    async fn go_on_with_auth(&mut self, answered: Answered, taken: usize, step: AuthStep) -> Proceed {
        // The time that the login took, with its wait, does not count against the client.
        self.wire.note_progress();
        let reply = match step {
            AuthStep::Challenge(challenge) => self.session.auth_challenge(&challenge),
            AuthStep::Succeeded { user, senders } => self.session.auth_succeeded(&user, senders),
            AuthStep::Failed => self.session.auth_failed(),
            AuthStep::Unavailable => self.session.auth_unavailable(),
        };
        self.answer(answered, taken, reply).await.map(drop)
    }

    async fn start_tls(&mut self, taken: usize, reply: Reply) -> Proceed {
        if self.answer(Answered::Command, taken, reply).await? != Severity::Positive {
            return Ok(());
        }
        self.wire.flush().await?;
        self.secure().await
    }

    /// Does the TLS handshake.
    async fn secure(&mut self) -> Proceed {
        let Driver { wire, backend, .. } = self;
        let can_bind = wire.upgrade(|plain| backend.starttls(plain)).await?;
        self.session.tls_started(can_bind);
        Ok(())
    }

    /// Sends `reply` as the answer to the first `taken` octets of the input, and consumes them. Returns the severity
    /// of the reply that was sent, which the backend may have replaced.
    async fn answer(
        &mut self,
        answered: Answered,
        taken: usize,
        reply: Reply,
    ) -> Result<Severity, SessionEnd> {
        if answered == Answered::EndOfData {
            // The time that the disk took does not count against the client.
            self.wire.note_message();
        }
        let command = if answered == Answered::Command { &self.wire.input()[..taken] } else { &[] };
        let answer = self.backend.answer(answered, command, reply).await.ok_or(SessionEnd::Dropped)?;
        if let ClientAnswer::Reply(reply) = &answer {
            note(&mut self.lines, verb(answered, command), reply);
        }
        if self.traced.is_traced() {
            trace(&self.traced, self.lines.client(), &heard(answered, command, self.content), &answer);
        }
        if matches!(answered, Answered::EndOfData | Answered::Chunk) {
            self.content = 0;
        }
        self.wire.consume(taken);
        match answer {
            ClientAnswer::Reply(reply) => self.say(reply).await,
            ClientAnswer::Octets(severity, octets) => {
                self.wire.say_octets(&octets).await?;
                if octets.starts_with(b"421") { Err(SessionEnd::Closed) } else { Ok(severity) }
            }
        }
    }

    /// Sends the greeting.
    async fn greet(&mut self) -> Proceed {
        self.answer(Answered::Connection, 0, self.session.greeting()).await.map(drop)
    }

    async fn say(&mut self, reply: Reply) -> Result<Severity, SessionEnd> {
        self.wire.say(&reply).await?;
        // RFC 5321 3.8: the connection is closed after 421, whoever decided on the reply.
        if reply.code() == 421 { Err(SessionEnd::Closed) } else { Ok(reply.severity()) }
    }

    /// Sends the last reply, if the end has one, and discards a message that is still open.
    async fn finish(self, end: SessionEnd) -> SessionEnd {
        // The backend holds the place of the session, so it is dropped only after the last reply.
        let Driver { session, backend: _backend, intake, mut wire, lines, .. } = self;
        note_end(lines, &end, !session.is_idle());
        drop(intake);
        match end {
            SessionEnd::Closed => wire.hang_up(None).await,
            SessionEnd::TimedOut => wire.hang_up(Some(&session.idle_timeout())).await,
            SessionEnd::NoMessage => wire.hang_up(Some(&session.no_message())).await,
            SessionEnd::Stopped => wire.hang_up(Some(&session.shutting_down())).await,
            // Earlier replies are still sent; it does not matter any more whether the client reads them.
            SessionEnd::Dropped => drop(wire.flush().await),
            SessionEnd::Lost(_) | SessionEnd::NotReading | SessionEnd::LineTooLong | SessionEnd::NoTls(_) => {
            }
        }
        end
    }
}

/// Logs how a session ended. Dropping `lines` logs what was only counted.
fn note_end(mut lines: SessionLines, end: &SessionEnd, in_transaction: bool) {
    match end {
        SessionEnd::NoTls(why) if lines.tell(RepeatKind::NoTls) => {
            log::no_tls(lines.client(), &connection(TlsPeer::CLIENT, why));
        }
        SessionEnd::NoTls(_) => {}
        _ if !in_transaction || lines.tell(RepeatKind::Ended(end.kind())) => {
            log::session_ended(lines.client(), end, in_transaction);
        }
        _ => {}
    }
}

/// Logs a reply to `verb`: a refusal at level INFO, since it belongs to the history of the mail, and any other at DEBUG.
fn note(lines: &mut SessionLines, verb: &'static str, reply: &Reply) {
    match reply.severity() {
        Severity::Transient | Severity::Permanent => {
            lines.count_refusal(verb, reply.code());
            if lines.tell(RepeatKind::Refused(verb, reply.code())) {
                log::refused(lines.client(), verb, reply);
            }
        }
        Severity::Positive | Severity::Intermediate if tracing::enabled!(tracing::Level::DEBUG) => {
            log::dialogue(lines.client(), verb, reply);
        }
        Severity::Positive | Severity::Intermediate => {}
    }
}

/// Tells those who trace what a client has said and what it is answered, of AUTH neither.
fn trace(traced: &TracedConnection, client: &str, heard: &str, answer: &ClientAnswer) {
    if !heard.is_empty() {
        traced.tell(&client, None, TracedSpeaker::Them, &heard);
    }
    match answer {
        ClientAnswer::Reply(reply) if reply.code() == 334 => {
            traced.tell(&client, None, TracedSpeaker::Us, &NOT_SHOWN);
        }
        ClientAnswer::Reply(reply) => traced.tell(&client, None, TracedSpeaker::Us, reply),
        ClientAnswer::Octets(_, octets) => {
            traced.tell(&client, None, TracedSpeaker::Us, &format_args!("({} octets)", octets.len()));
        }
    }
}

/// Returns what a client has said, as far as it may be shown: what is no command may be a secret that was sent at the wrong moment.
fn heard(answered: Answered, command: &[u8], content: usize) -> String {
    match (answered, verb_of(command)) {
        (Answered::Connection, _) => String::new(),
        (Answered::EndOfData | Answered::Chunk, _) => format!("(content, {content} octets)"),
        (Answered::Command, Some("AUTH")) => format!("AUTH {NOT_SHOWN}"),
        (Answered::Command, Some(_)) => String::from_utf8_lossy(command.trim_ascii_end()).into_owned(),
        (Answered::Command, None) => format!("(no command, {} octets, not shown)", command.len()),
        (Answered::Line, _) => "(a line, not shown)".into(),
    }
}

/// Word that stands for the command in the log lines about the connection itself.
pub(super) const CONNECT: &str = "CONNECT";

/// Returns the verb of `command`, or the word that stands for it if a reply answers anything else. Nothing else of a
/// command is logged, since an argument may be a secret.
fn verb(answered: Answered, command: &[u8]) -> &'static str {
    match answered {
        Answered::Connection => CONNECT,
        Answered::EndOfData => "END-OF-MESSAGE",
        Answered::Chunk => "BDAT",
        Answered::Line => "UNKNOWN",
        Answered::Command => verb_of(command).unwrap_or("UNKNOWN"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_logged_by_its_word_and_nothing_behind_it() {
        for (answered, expected) in [
            (Answered::Connection, "CONNECT"),
            (Answered::EndOfData, "END-OF-MESSAGE"),
            (Answered::Chunk, "BDAT"),
            (Answered::Line, "UNKNOWN"),
        ] {
            assert_eq!(verb(answered, b""), expected, "{answered:?}");
        }
        for (command, expected) in [
            ("rcpt TO:<x>\r\n", "RCPT"),
            ("AUTH PLAIN AGFubgBzZWNyZXQ=\r\n", "AUTH"),
            ("AGFubgBzZWNyZXQ=\r\n", "UNKNOWN"),
            // This is the response `pass` in AUTH LOGIN.
            ("cGFzcw==\r\n", "UNKNOWN"),
            ("starttls\r\n", "STARTTLS"),
            ("\x1b[2J\r\n", "UNKNOWN"),
            ("\r\n", "UNKNOWN"),
            ("", "UNKNOWN"),
        ] {
            assert_eq!(verb(Answered::Command, command.as_bytes()), expected, "{command:?}");
        }
    }

    #[test]
    fn a_trace_shows_commands_and_nothing_that_may_be_a_secret() {
        for (answered, command, shown) in [
            (Answered::Connection, "", ""),
            (
                Answered::Command,
                "MAIL FROM:<ann@example.org> SIZE=12\r\n",
                "MAIL FROM:<ann@example.org> SIZE=12",
            ),
            (Answered::Command, "AUTH PLAIN AGFubgBzZWNyZXQ=\r\n", "AUTH (a part of AUTH, not shown)"),
            (Answered::Command, "auth\tplain AGFubgBzZWNyZXQ=\r\n", "AUTH (a part of AUTH, not shown)"),
            (Answered::Command, "AGFubgBzZWNyZXQ=\r\n", "(no command, 18 octets, not shown)"),
            (Answered::Line, "", "(a line, not shown)"),
            (Answered::EndOfData, "", "(content, 7 octets)"),
        ] {
            assert_eq!(heard(answered, command.as_bytes(), 7), shown, "{command}");
        }
    }

    #[test]
    fn ends_are_told_in_words() {
        let cases = [
            (SessionEnd::Lost(io::ErrorKind::UnexpectedEof.into()), "lost connection"),
            (SessionEnd::Lost(io::Error::other("x")), "lost connection: x"),
            (SessionEnd::TimedOut, "timeout"),
            (SessionEnd::NoMessage, "timeout: no message"),
            (SessionEnd::NoTls(io::Error::other("x")), "TLS handshake failed: x"),
        ];
        for (end, expected) in cases {
            assert_eq!(end.to_string(), expected);
        }
    }
}
