//! The lines about clients: accepted and refused messages, sessions, and trouble with accepting.
//!
//! Promises: the text that a client sent is escaped.
//!
//! Not here: counting lines that would repeat without end (`listener/repeats.rs`).

use std::fmt;
use std::net::SocketAddr;

use tracing::{debug, error, info, warn};

use super::text::{Foreign, counted, foreign};
use crate::envelope::ReversePath;
use crate::queue_id::QueueId;

/// The parts of the line about an accepted message, which is written before its 250 is sent.
pub struct AcceptedLine<'a> {
    /// The queue id of the message.
    pub id: QueueId,
    /// The client: `localhost[127.0.0.1]`, `localhost[127.0.0.1] uid 1000` or `uid 1000`.
    pub client: &'a str,
    /// The login name of that uid, if it has one.
    pub user: Option<&'a str>,
    /// The name with which the client has logged in, and the mechanism.
    pub login: Option<(&'a str, &'a str)>,
    /// The reverse-path that the client gave in MAIL.
    pub from: &'a ReversePath,
    /// The size of the content in octets, with the fields that were added to it.
    pub size: u64,
    /// The number of recipients.
    pub nrcpt: usize,
    /// The protocol: SMTP, ESMTP, … (RFC 3848).
    pub protocol: &'a str,
    /// The name that the client gave in HELO or EHLO.
    pub helo: Option<&'a str>,
    /// The Message-ID, by which the program that submitted it knows it.
    pub message_id: Option<&'a str>,
    /// The process that connected to the unix socket.
    pub process: Option<&'a ClientProcess>,
}

/// The process at the other end of the unix socket, as far as the kernel tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientProcess {
    /// The group that it ran in when it connected.
    pub gid: u32,
    /// Its id; `None` if it is in another PID namespace.
    pub pid: Option<u32>,
    /// Its name, which it may have chosen itself.
    pub command: Option<String>,
    /// The systemd unit that it belongs to.
    pub unit: Option<String>,
}

impl fmt::Display for ClientProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gid={}", self.gid)?;
        if let Some(pid) = self.pid {
            write!(f, ", pid={pid}")?;
        }
        if let Some(command) = &self.command {
            write!(f, ", command=<{}>", Foreign(command))?;
        }
        if let Some(unit) = &self.unit {
            write!(f, ", unit={}", Foreign(unit))?;
        }
        Ok(())
    }
}

impl fmt::Display for AcceptedLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AcceptedLine { id, client, from, size, nrcpt, protocol, .. } = self;
        let from = from.to_string();
        let from = Foreign(&from);
        write!(f, "{id}: client={client}")?;
        if let Some(user) = self.user {
            write!(f, " ({})", Foreign(user))?;
        }
        if let Some((name, mechanism)) = self.login {
            write!(f, ", sasl_method={mechanism}, sasl_username={}", LoginWord(name))?;
        }
        write!(f, ", from=<{from}>, size={size}, nrcpt={nrcpt}, proto={protocol}")?;
        if let Some(helo) = self.helo {
            write!(f, ", helo=<{}>", Foreign(helo))?;
        }
        if let Some(message_id) = self.message_id {
            write!(f, ", message-id={}", Foreign(message_id))?;
        }
        if let Some(process) = self.process {
            write!(f, ", {process}")?;
        }
        f.write_str(" (queued)")
    }
}

/// Logs that a message is on stable storage.
pub fn accepted(accepted: &AcceptedLine<'_>) {
    let AcceptedLine { id, client, from, size, nrcpt, protocol, .. } = accepted;
    let AcceptedLine { user, message_id, .. } = accepted;
    let helo = accepted.helo.map(|helo| Foreign(helo).to_string());
    let (sasl_username, sasl_method) = accepted.login.unzip();
    let sasl_username = sasl_username.map(|name| LoginWord(name).to_string());
    let process = accepted.process;
    let (gid, pid) = (process.map(|process| process.gid), process.and_then(|process| process.pid));
    let command = process.and_then(|process| process.command.as_deref());
    let unit = process.and_then(|process| process.unit.as_deref());
    info!(
        queue_id = %id, client, user, %from, size, nrcpt, proto = protocol, helo, message_id, gid, pid, command, unit,
        sasl_method, sasl_username,
        "{accepted}"
    );
}

/// A name of AUTH as one word: whatever could be taken for another part of the line is shown as `?`.
struct LoginWord<'a>(&'a str);

/// The number of letters of such a name that a line shows.
const SHOWN_LETTERS: usize = 64;

impl fmt::Display for LoginWord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let safe = |c: char| if c.is_whitespace() || ",<>()=\"".contains(c) { '?' } else { c };
        let word: String = self.0.chars().take(SHOWN_LETTERS).map(safe).collect();
        Foreign(&word).fmt(f)
    }
}

/// The parts of the line about an attempt to log in.
#[derive(Clone, Copy)]
pub struct LoginLine<'a> {
    /// The client, as in [`AcceptedLine`].
    pub client: &'a str,
    /// The SASL mechanism.
    pub mechanism: &'a str,
    /// The name, if the client has told one.
    pub name: Option<&'a str>,
    /// The reason why it failed; `None` if it went well.
    pub why: Option<&'a dyn fmt::Display>,
}

/// Logs that a client has logged in, or could not.
pub fn login(line: &LoginLine<'_>) {
    let LoginLine { client, mechanism: sasl_method, .. } = line;
    let name = line.name.map(|name| LoginWord(name).to_string());
    let sasl_username = name.as_deref().unwrap_or("?");
    match line.why {
        None => info!(
            client,
            sasl_method,
            sasl_username,
            "login: {client}, sasl_method={sasl_method}, sasl_username={sasl_username}"
        ),
        Some(why) => warn!(
            client,
            sasl_method,
            sasl_username,
            "login failed: {client}, sasl_method={sasl_method}, sasl_username={sasl_username}: {why}"
        ),
    }
}

/// Logs the number of further logins that were like those logged one by one.
pub fn login_more(client: &str, has_failed: bool, more: u64) {
    if has_failed {
        warn!(client, more, "login failed: {more} more like this from {client}");
    } else {
        info!(client, more, "login: {more} more like this from {client}");
    }
}

/// What a file with users that cannot be used means, if it could be used before.
pub const USERS_STAY: &str = "the users of before stay in force, until it is mended";

/// What such a file means if it could never be used.
pub const NOBODY_LOGS_IN: &str = "nobody can log in (454), mail that needs no login is taken";

/// Logs that the file with the users was read again.
pub fn users_read(path: &dyn fmt::Display, users: usize) {
    let users = counted(users as u64, "user");
    info!("the users of {path} were read again: {users} in force");
}

/// Logs that the file with the users cannot be used; `has_before` says whether it could be used before.
pub fn users_unusable(why: &str, has_before: bool) {
    let means = if has_before { USERS_STAY } else { NOBODY_LOGS_IN };
    warn!("listen.users-file: {why}; {means}");
}

/// Logs what was done with lines of a message that are too long for SMTP.
pub fn long_lines(id: QueueId, done: &dyn fmt::Display) {
    info!(queue_id = %id, "{id}: lines over 998 octets {done}");
}

/// Logs that a connection, a command or a message got `said`, a 4xx or 5xx reply. `verb` is CONNECT, RCPT,
/// END-OF-MESSAGE, …
pub fn refused(client: &str, verb: &str, said: &dyn fmt::Display) {
    let said = foreign(said);
    info!(client, verb, said, "NOQUEUE: reject: {verb} from {client}: {said}");
}

/// Logs the number of further refusals that were like those logged one by one: of a session, or of all sessions of a
/// client in a minute.
pub fn refused_more(client: &str, verb: &str, code: u16, more: u64) {
    info!(client, verb, code, more, "NOQUEUE: reject: {more} more like this: {verb} from {client}: {code}");
}

/// Logs that a TLS handshake with a client failed; as a rule the client does not trust our certificate.
pub fn no_tls(client: &str, why: &dyn fmt::Display) {
    info!(client, "NOQUEUE: TLS handshake failed from {client}: {why}");
}

/// Logs the number of further TLS handshakes that failed like those logged one by one.
pub fn no_tls_more(client: &str, more: u64) {
    info!(client, more, "NOQUEUE: TLS handshake failed: {more} more like this from {client}");
}

/// Logs `said`, any other reply to a client.
pub fn dialogue(client: &str, verb: &str, said: &dyn fmt::Display) {
    let said = foreign(said);
    debug!(client, verb, said, "{verb} from {client}: {said}");
}

/// Logs that the spool did not take a message, with the full cause. The client got a 4xx reply and still has the
/// message, so no mail is at risk.
pub fn not_queued(id: QueueId, why: &dyn fmt::Display) {
    warn!(queue_id = %id, "{id}: not queued: {why}");
}

/// Logs that the spool takes no message now, with the cause. The client got a 4xx reply to DATA.
pub fn not_taken(client: &str, why: &dyn fmt::Display) {
    info!(client, "NOQUEUE: not queued from {client}: {why}");
}

/// Logs the number of further messages that were not queued for the same reason as those logged one by one.
pub fn not_queued_more(client: &str, why: &str, more: u64) {
    warn!(client, more, "NOQUEUE: not queued: {more} more like this from {client}: {why}");
}

/// Logs the end of a session: at INFO within a transaction, else at DEBUG.
pub fn session_ended(client: &str, how: &dyn fmt::Display, in_transaction: bool) {
    if in_transaction {
        info!(client, "{how} within a transaction from {client}");
    } else {
        debug!(client, "{how}: session of {client}");
    }
}

/// Logs the number of further sessions that ended within a transaction like those logged one by one.
pub fn session_ended_more(client: &str, how: &str, more: u64) {
    info!(client, more, "{how} within a transaction: {more} more like this from {client}");
}

/// Logs that the task of a session panicked.
pub fn session_failed(why: &dyn fmt::Display) {
    error!("a session failed, others go on: {why}");
}

/// Logs that there are too few file descriptors for all sessions that `listen.max-sessions` allows.
pub fn fewer_sessions(most: usize, allowed: usize, descriptors: u64) {
    warn!(
        "at most {most} sessions at once instead of {allowed} (listen.max-sessions): {descriptors} file descriptors; \
         see LimitNOFILE= in systemd.exec(5)"
    );
}

/// Logs that a connection is refused: its peer is not on this host, or is not known.
pub fn stranger(why: &dyn fmt::Display) {
    warn!("connection refused: {why}");
}

/// Logs that connections cannot be accepted now; called once until it works again.
pub fn accept_trouble(why: &dyn fmt::Display) {
    warn!("cannot accept connections for now: {why}");
}

/// Logs that this host does not have a configured address, for example because IPv6 is switched off.
pub fn address_left_out(address: SocketAddr, why: &dyn fmt::Display) {
    warn!("not listening on {address}: {why}");
}
