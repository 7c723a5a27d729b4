//! The client's side of a submission: a small dialogue that blocks.
//!
//! Promises:
//! 1. [`Undone`] tells apart what nothing was queued of, since no daemon was there ([`Undone::Absent`]), since it
//!    said nothing at all ([`Undone::Silent`]), takes nothing more at this moment ([`Undone::Busy`]) or not so many recipients in one session
//!    ([`Undone::TooMany`]), by its word for now ([`Undone::Deferred`]) or for good ([`Undone::Refused`]), from what
//!    may have been queued ([`Undone::InDoubt`]): the daemon had the final dot, and its reply did not come.
//! 2. A message goes to all of its recipients or to none: one that is refused ends the transaction.
//! 3. An input that breaks off ends the connection before the final dot.
//!
//! Not here: which way is tried when (`submit.rs`); the relay's dialogue (`relay/dialog.rs`).
//!
//! RFC 5321 3.3, 4.2.

use std::fmt;
use std::io::{self, Read, Write};
use std::time::Duration;

use super::connection::{Connection, Patience};
use super::content::Content;
use super::ways::Way;
use crate::envelope::{Envelope, Recipient};
use crate::smtp::client::{Capabilities, Dialect, Mail, Spelling};
use crate::smtp::dot::Stuffer;
use crate::smtp::reply::{Reply, Severity};
use crate::status::Status;

/// How long the reply to QUIT is waited for.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a reply was given to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// MAIL.
    Mail,
    /// RCPT of this recipient.
    Rcpt(String),
    /// DATA or the content.
    Content,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Phase::Mail => f.write_str("reverse-path"),
            Phase::Rcpt(recipient) => write!(f, "recipient <{recipient}>"),
            Phase::Content => f.write_str("message"),
        }
    }
}

/// Why a message was not submitted.
#[derive(Debug)]
pub(super) enum Undone {
    /// Nothing was queued: no daemon of ours is there, or it went away.
    Absent(String),
    /// Nothing was queued: the connection was made, or its backlog is full, and no greeting came in time. A daemon
    /// hangs, or is being started.
    Silent(String),
    /// Nothing was queued: a daemon is there, and has no place for another session; or it stops.
    Busy(String),
    /// Nothing was queued: a daemon is there, and never takes so many recipients in one session.
    TooMany(String),
    /// Nothing was queued: the daemon will not have it for now.
    Deferred(Phase, Reply),
    /// Nothing was queued, and never will be.
    Refused(Phase, Reply),
    /// Nothing was queued: the content is longer than the daemon takes.
    TooLarge(u64),
    /// It may have been queued.
    InDoubt(String),
    /// Standard input broke off; nothing was queued.
    Input(io::Error),
}

/// A session, its greeting heard.
pub(super) struct Client<'a> {
    connection: Connection,
    patience: Patience,
    /// Read and not yet understood.
    input: Vec<u8>,
    /// Where the dialogue is shown.
    transcript: &'a mut dyn Write,
}

impl<'a> Client<'a> {
    /// Connects, and waits for a good greeting.
    pub(super) fn connect(
        way: &Way,
        patience: Patience,
        transcript: &'a mut dyn Write,
    ) -> Result<(Self, Reply), Undone> {
        let connection = Connection::open(way, &patience).map_err(unheard)?;
        let mut client = Client { connection, patience, input: Vec::new(), transcript };
        let greeting = client.reply().map_err(unheard)?;
        client.connection.wait_at_most(Some(patience.reply)).map_err(absent)?;
        welcome(greeting).map(|greeting| (client, greeting))
    }

    /// The connection, for whoever wants to speak on it.
    pub(super) fn into_connection(self) -> Connection {
        self.connection
    }

    /// EHLO; a server without it is none of ours, and is left alone.
    pub(super) fn hello(&mut self) -> Result<Capabilities, Undone> {
        let reply = self.command("EHLO localhost").map_err(absent)?;
        welcome(reply).map(|reply| Capabilities::from_ehlo(&reply))
    }

    /// One command that is no part of a transaction; its reply.
    pub(super) fn ask(&mut self, command: &str) -> Result<Reply, Undone> {
        self.command(command).map_err(absent)
    }

    /// MAIL.
    pub(super) fn mail(&mut self, envelope: &Envelope, offered: &Capabilities) -> Result<Reply, Undone> {
        if envelope.needs_smtputf8() && !offered.smtputf8 {
            return Err(Undone::Absent("SMTPUTF8 is not offered".into()));
        }
        let reply = self.ask(&to_daemon(offered).mail(&Mail::from(envelope)).text)?;
        // RFC 4954 6: this port is for those with a password, which says nothing of the message.
        if reply.code() == 530 {
            return Err(Undone::Absent(reply.to_string()));
        }
        accepted(Phase::Mail, reply)
    }

    /// RCPT.
    pub(super) fn rcpt(&mut self, recipient: &Recipient, offered: &Capabilities) -> Result<Reply, Undone> {
        let reply = self.ask(&to_daemon(offered).rcpt(recipient).text)?;
        // RFC 5321 4.5.3.1.10: too many recipients; a file in the drop directory may have them all.
        if reply.code() == 452 && reply.status() == Some(Status::transient(5, 3)) {
            return Err(Undone::TooMany(reply.to_string()));
        }
        accepted(Phase::Rcpt(recipient.address.to_string()), reply)
    }

    /// A whole transaction; the reply that says it is durably queued.
    pub(super) fn submit<R: Read>(
        &mut self,
        envelope: &Envelope,
        content: &mut Content<R>,
    ) -> Result<Reply, Undone> {
        let offered = self.hello()?;
        self.mail(envelope, &offered)?;
        for recipient in &envelope.recipients {
            self.rcpt(recipient, &offered)?;
        }
        let go_on = self.ask("DATA")?;
        if go_on.severity() != Severity::Intermediate {
            return accepted(Phase::Content, go_on).and_then(|reply| Err(Undone::Absent(reply.to_string())));
        }
        self.content(content, offered.size_limit.unwrap_or(u64::MAX))
    }

    /// QUIT. What becomes of it concerns nobody, so it is not waited for long.
    pub(super) fn quit(mut self) {
        let _ = self.connection.wait_at_most(Some(FAREWELL)).and_then(|()| self.command("QUIT"));
    }

    fn content<R: Read>(&mut self, content: &mut Content<R>, most: u64) -> Result<Reply, Undone> {
        let (mut stuffer, mut out, mut size) = (Stuffer::new(), Vec::new(), 0);
        while let Some(piece) = content.piece().map_err(Undone::Input)? {
            size += piece.len() as u64;
            if size > most {
                // The daemon would read it to its end, which may never come.
                return Err(Undone::TooLarge(most));
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

    /// Writes the end of data. Its last octet sent, only a reply tells what became of the message.
    fn end_of_data(&mut self, end: &[u8]) -> Result<Reply, Undone> {
        self.connection.wait_at_most(Some(self.patience.end_of_data)).map_err(absent)?;
        let (last, before) = end.split_last().unwrap_or((&b'\n', &[]));
        if let Err(error) = self.connection.write_all(before) {
            return Err(self.broken_off(&error));
        }
        if let Err(error) = self.connection.write_all(&[*last]) {
            return Err(self.broken_off(&error));
        }
        self.show(">>>", ".");
        let in_doubt = |error: io::Error| Undone::InDoubt(described(&error));
        let reply = self.reply().map_err(in_doubt)?;
        accepted(Phase::Content, reply)
    }

    /// The connection broke within the content. Some servers say why first.
    fn broken_off(&mut self, error: &io::Error) -> Undone {
        match self.reply().map(|reply| accepted(Phase::Content, reply)) {
            Ok(Err(undone)) => undone,
            _ => Undone::Absent(described(error)),
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
        // Nobody to show it to is no reason to lose the mail.
        let _ = writeln!(self.transcript, "{mark}{space}{line}");
    }
}

/// How commands are written for the daemon.
fn to_daemon(offered: &Capabilities) -> Dialect<'_> {
    Dialect { offered, spelling: Spelling::AsGiven }
}

/// What a reply means for the session, before any transaction.
fn welcome(reply: Reply) -> Result<Reply, Undone> {
    match reply.severity() {
        Severity::Positive => Ok(reply),
        Severity::Transient => Err(Undone::Busy(reply.to_string())),
        // That is no listener of ours.
        Severity::Permanent | Severity::Intermediate => Err(Undone::Absent(reply.to_string())),
    }
}

/// What a reply means for the transaction at hand.
fn accepted(phase: Phase, reply: Reply) -> Result<Reply, Undone> {
    match reply.severity() {
        Severity::Positive => Ok(reply),
        Severity::Permanent => Err(Undone::Refused(phase, reply)),
        // RFC 5321 3.8: it closes the connection.
        Severity::Transient if reply.code() == 421 => Err(Undone::Busy(reply.to_string())),
        Severity::Transient => Err(Undone::Deferred(phase, reply)),
        Severity::Intermediate => Err(Undone::Absent(reply.to_string())),
    }
}

/// No greeting: nobody is there, or nobody answers.
fn unheard(error: io::Error) -> Undone {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Undone::Silent(described(&error)),
        _ => absent(error),
    }
}

fn absent(error: io::Error) -> Undone {
    Undone::Absent(described(&error))
}

/// An error in words for a person: a read that timed out is `WouldBlock` to the system.
fn described(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer in time".into(),
        io::ErrorKind::UnexpectedEof => "connection lost".into(),
        _ => error.to_string(),
    }
}
