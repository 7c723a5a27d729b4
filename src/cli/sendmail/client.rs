//! Submits a message to the daemon over SMTP. The dialogue blocks.
//!
//! Promises:
//! 1. After every [`NotSubmitted`] except [`NotSubmitted::InDoubt`] nothing was queued. In doubt means that the final dot
//!    was sent and no reply came: the message may be queued.
//! 2. A message goes to all of its recipients or to none: if one recipient is refused, the transaction ends.
//! 3. If the input breaks off, the connection is closed before the final dot.
//!
//! Not here: the order in which the ways to the daemon are tried (`submit.rs`); the dialogue with the relay
//! (`relay/dialog.rs`).
//!
//! RFC 5321 3.3, 4.2.

use std::fmt;
use std::io::{self, Read, Write};
use std::time::Duration;

use super::connection::{AnswerLimits, DaemonConnection};
use super::content::RewindableContent;
use super::ways::Way;
use crate::envelope::{Envelope, Recipient};
use crate::smtp::client::{Capabilities, Dialect, Mail, Spelling};
use crate::smtp::dot::Stuffer;
use crate::smtp::reply::{Reply, Severity};
use crate::status::Status;

/// Time for which we wait for the reply to QUIT.
const FAREWELL: Duration = Duration::from_secs(1);

/// The part of a transaction that a reply is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SubmitPhase {
    /// MAIL: the reverse-path, or the size of the message.
    Mail,
    /// RCPT with this address.
    Rcpt(String),
    /// DATA or the content.
    Content,
}

impl fmt::Display for SubmitPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubmitPhase::Mail => f.write_str("reverse-path"),
            SubmitPhase::Rcpt(recipient) => write!(f, "recipient <{recipient}>"),
            SubmitPhase::Content => f.write_str("message"),
        }
    }
}

/// The reason why a message was not submitted.
#[derive(Debug)]
pub(super) enum NotSubmitted {
    /// Nothing was queued: no nullmta daemon listens there, or the connection was lost.
    Absent(String),
    /// Nothing was queued: no greeting came in time, or the backlog of the socket is full. The daemon hangs, or is being
    /// started.
    Silent(String),
    /// Nothing was queued: the daemon accepts no further session now, or it stops.
    Busy(String),
    /// Nothing was queued: the daemon never accepts so many recipients in one transaction.
    TooMany(String),
    /// Nothing was queued: the daemon refused the message for now (4xx).
    Deferred(SubmitPhase, Reply),
    /// Nothing was queued: the daemon refused the message for good (5xx).
    Refused(SubmitPhase, Reply),
    /// Nothing was queued: the content is longer than this limit of the daemon, in octets.
    TooLarge(u64),
    /// The message may be queued: no reply to the final dot came.
    InDoubt(String),
    /// Nothing was queued: standard input cannot be read to its end.
    Input(io::Error),
}

/// A session with the daemon, which has sent its greeting.
pub(super) struct DaemonClient<'a> {
    connection: DaemonConnection,
    limits: AnswerLimits,
    /// The octets that were read and not yet parsed.
    input: Vec<u8>,
    /// The dialogue is shown here (`-v`).
    transcript: &'a mut dyn Write,
}

impl<'a> DaemonClient<'a> {
    /// Connects and waits for the greeting. Returns the session and the greeting.
    pub(super) fn connect(
        way: &Way,
        limits: AnswerLimits,
        transcript: &'a mut dyn Write,
    ) -> Result<(Self, Reply), NotSubmitted> {
        let connection = DaemonConnection::open(way, &limits).map_err(unheard)?;
        let mut client = DaemonClient { connection, limits, input: Vec::new(), transcript };
        let greeting = client.reply().map_err(unheard)?;
        client.connection.wait_at_most(Some(limits.reply)).map_err(absent)?;
        welcome(greeting).map(|greeting| (client, greeting))
    }

    /// Returns the connection, for a caller that relays the octets of another client.
    pub(super) fn into_connection(self) -> DaemonConnection {
        self.connection
    }

    /// Sends EHLO and returns what the daemon offers. A server that refuses EHLO is not nullmta and is not used.
    pub(super) fn hello(&mut self) -> Result<Capabilities, NotSubmitted> {
        let reply = self.command("EHLO localhost").map_err(absent)?;
        welcome(reply).map(|reply| Capabilities::from_ehlo(&reply))
    }

    /// Sends one command and returns the reply, whatever it says.
    pub(super) fn ask(&mut self, command: &str) -> Result<Reply, NotSubmitted> {
        self.command(command).map_err(absent)
    }

    /// Sends MAIL and returns the positive reply.
    pub(super) fn mail(
        &mut self,
        envelope: &Envelope,
        offered: &Capabilities,
    ) -> Result<Reply, NotSubmitted> {
        if envelope.needs_smtputf8() && !offered.smtputf8 {
            return Err(NotSubmitted::Absent("SMTPUTF8 is not offered".into()));
        }
        let reply = self.ask(&to_daemon(offered).mail(&Mail::from(envelope)).text)?;
        // RFC 4954 6: authentication is required here. This says nothing about the message.
        if reply.code() == 530 {
            return Err(NotSubmitted::Absent(reply.to_string()));
        }
        accepted(SubmitPhase::Mail, reply)
    }

    /// Sends RCPT and returns the positive reply.
    pub(super) fn rcpt(
        &mut self,
        recipient: &Recipient,
        offered: &Capabilities,
    ) -> Result<Reply, NotSubmitted> {
        let reply = self.ask(&to_daemon(offered).rcpt(recipient).text)?;
        // RFC 5321 4.5.3.1.10: too many recipients. A file in the drop directory may name them all.
        if reply.code() == 452 && reply.status() == Some(Status::transient(5, 3)) {
            return Err(NotSubmitted::TooMany(reply.to_string()));
        }
        accepted(SubmitPhase::Rcpt(recipient.address.to_string()), reply)
    }

    /// Sends EHLO and a whole transaction. Returns the reply that says that the message is durably queued.
    pub(super) fn submit<R: Read>(
        &mut self,
        envelope: &Envelope,
        content: &mut RewindableContent<R>,
    ) -> Result<Reply, NotSubmitted> {
        let offered = self.hello()?;
        self.mail(envelope, &offered)?;
        for recipient in &envelope.recipients {
            self.rcpt(recipient, &offered)?;
        }
        let go_on = self.ask("DATA")?;
        if go_on.severity() != Severity::Intermediate {
            return accepted(SubmitPhase::Content, go_on)
                .and_then(|reply| Err(NotSubmitted::Absent(reply.to_string())));
        }
        self.content(content, offered.size_limit.unwrap_or(u64::MAX))
    }

    /// Sends QUIT and closes the connection. Errors are ignored, since the result is known by now.
    pub(super) fn quit(mut self) {
        let _ = self.connection.wait_at_most(Some(FAREWELL)).and_then(|()| self.command("QUIT"));
    }

    fn content<R: Read>(
        &mut self,
        content: &mut RewindableContent<R>,
        most: u64,
    ) -> Result<Reply, NotSubmitted> {
        let (mut stuffer, mut out, mut size) = (Stuffer::new(), Vec::new(), 0);
        while let Some(piece) = content.piece().map_err(NotSubmitted::Input)? {
            size += piece.len() as u64;
            if size > most {
                // The daemon would read on to the end of the content, which may never come.
                return Err(NotSubmitted::TooLarge(most));
            }
            stuffer.push(piece, &mut out);
            if let Err(error) = self.connection.write_all(&out) {
                return Err(self.broken_off(&error));
            }
            out.clear();
        }
        stuffer.finish(&mut out);
        self.end_of_data(&out)
    }

    /// Writes `end`, the last octets of the content with the final dot, and returns the reply. Once the last octet is
    /// written, the message is in doubt until a reply comes.
    fn end_of_data(&mut self, end: &[u8]) -> Result<Reply, NotSubmitted> {
        self.connection.wait_at_most(Some(self.limits.end_of_data)).map_err(absent)?;
        let (last, before) = end.split_last().unwrap_or((&b'\n', &[]));
        if let Err(error) = self.connection.write_all(before) {
            return Err(self.broken_off(&error));
        }
        if let Err(error) = self.connection.write_all(&[*last]) {
            return Err(self.broken_off(&error));
        }
        self.show(">>>", ".");
        let in_doubt = |error: io::Error| NotSubmitted::InDoubt(described(&error));
        let reply = self.reply().map_err(in_doubt)?;
        accepted(SubmitPhase::Content, reply)
    }

    /// Returns the reason for a connection that broke while the content was sent: the daemon's refusal if it sent one,
    /// else `error`.
    fn broken_off(&mut self, error: &io::Error) -> NotSubmitted {
        match self.reply().map(|reply| accepted(SubmitPhase::Content, reply)) {
            Ok(Err(undone)) => undone,
            _ => NotSubmitted::Absent(described(error)),
        }
    }

    fn command(&mut self, line: &str) -> io::Result<Reply> {
        self.show(">>>", line);
        self.connection.write_all(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }

    fn reply(&mut self) -> io::Result<Reply> {
        loop {
            let parsed = Reply::parse(&self.input).map_err(io::Error::other)?;
            if let Some((reply, octets)) = parsed {
                self.input.drain(..octets);
                self.show("", &reply.to_string());
                return Ok(reply);
            }
            let mut buffer = [0; 4096];
            match self.connection.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => self.input.extend_from_slice(&buffer[..len]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn show(&mut self, mark: &str, line: &str) {
        let space = if mark.is_empty() { "" } else { " " };
        // If the transcript cannot be written, the mail is still sent.
        let _ = writeln!(self.transcript, "{mark}{space}{line}");
    }
}

/// Returns the form in which commands are sent to the daemon.
fn to_daemon(offered: &Capabilities) -> Dialect<'_> {
    Dialect { offered, spelling: Spelling::AsGiven }
}

/// Returns a positive reply to the connection or to EHLO; else the reason why the session cannot be used.
fn welcome(reply: Reply) -> Result<Reply, NotSubmitted> {
    match reply.severity() {
        Severity::Positive => Ok(reply),
        Severity::Transient => Err(NotSubmitted::Busy(reply.to_string())),
        // nullmta never replies so: this is another server.
        Severity::Permanent | Severity::Intermediate => Err(NotSubmitted::Absent(reply.to_string())),
    }
}

/// Returns a positive reply to a command of a transaction; else the reason why the message was not submitted.
fn accepted(phase: SubmitPhase, reply: Reply) -> Result<Reply, NotSubmitted> {
    match reply.severity() {
        Severity::Positive => Ok(reply),
        Severity::Permanent => Err(NotSubmitted::Refused(phase, reply)),
        // RFC 5321 3.8: the server closes the connection.
        Severity::Transient if reply.code() == 421 => Err(NotSubmitted::Busy(reply.to_string())),
        Severity::Transient => Err(NotSubmitted::Deferred(phase, reply)),
        Severity::Intermediate => Err(NotSubmitted::Absent(reply.to_string())),
    }
}

/// Returns the reason for a connection on which no greeting came.
fn unheard(error: io::Error) -> NotSubmitted {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => NotSubmitted::Silent(described(&error)),
        _ => absent(error),
    }
}

fn absent(error: io::Error) -> NotSubmitted {
    NotSubmitted::Absent(described(&error))
}

/// Returns `error` in words for a person. A read that timed out is `WouldBlock` to the system.
fn described(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer in time".into(),
        io::ErrorKind::UnexpectedEof => "connection lost".into(),
        _ => error.to_string(),
    }
}
