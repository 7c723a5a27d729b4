//! Every log line, in one place. Names and order are those of Postfix, so that people and parsers know them.
//!
//! Promises: the end of each recipient is one line; foreign octets are escaped; no secret is in a line. The text is the
//! same in both formats; the JSON format has parts of it as fields, too. Lines and fields are an interface:
//! `config/log.md` lists all but those of DEBUG, and the tests hold them.
//!
//! Levels: INFO tells what happens to the mail; WARN asks an operator to look; ERROR says that mail is at risk; DEBUG
//! shows the dialogues, without secrets.
//!
//! To add a line, write a function here, and add the line to `config/log.md`: `log/tests.rs` fails until it is there.
//!
//! Not here: where lines are written, and how a line is framed (`journal.rs`).

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use crate::envelope::{Address, ReversePath};
use crate::outcome::{Delays, HeldUntil, Outcome};
use crate::queue_id::QueueId;
use crate::smtp::reply::Reply;
use crate::status::Status;

/// The relay as a log line names it: `mx.example.net[192.0.2.5]:587`.
#[derive(Clone, Copy, Debug)]
pub struct LoggedRelay<'a> {
    /// Its name in the configuration.
    pub name: &'a str,
    /// The address that was reached.
    pub address: SocketAddr,
    /// The TLS version in use, such as `TLSv1.3`.
    pub tls: Option<&'a str>,
}

impl fmt::Display for LoggedRelay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]:{}", Foreign(self.name), self.address.ip(), self.address.port())
    }
}

/// The parts of the line about one attempt for one recipient.
pub struct Delivery<'a> {
    /// The queue id of the message.
    pub id: QueueId,
    /// The recipient that the relay got.
    pub to: &'a Address,
    /// The recipient that the submitter gave, if it is another one.
    pub orig_to: Option<&'a Address>,
    /// The relay; `None` if none was reached.
    pub relay: Option<LoggedRelay<'a>>,
    /// The parts of the delay.
    pub delays: Delays,
    /// The enhanced status code, from the relay or from us.
    pub status: Status,
    /// The outcome.
    pub outcome: Outcome,
    /// The relay's reply, or our reason.
    pub said: &'a str,
}

impl fmt::Display for Delivery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: to=<{}>", self.id, Foreign(self.to.as_str()))?;
        if let Some(orig_to) = self.orig_to {
            write!(f, ", orig_to=<{}>", Foreign(orig_to.as_str()))?;
        }
        write!(f, ", relay={}", RelayName(self.relay))?;
        let Delays { before, queued, connecting, transmitting } = self.delays;
        write!(f, ", delay={}", Seconds(self.delays.total()))?;
        write!(
            f,
            ", delays={}/{}/{}/{}",
            Seconds(before),
            Seconds(queued),
            Seconds(connecting),
            Seconds(transmitting)
        )?;
        if let Some(tls) = self.relay.and_then(|relay| relay.tls) {
            write!(f, ", tls={tls}")?;
        }
        write!(f, ", dsn={}, status={} ({})", self.status, self.outcome, Foreign(self.said))
    }
}

/// Logs one attempt for one recipient.
pub fn delivery(delivery: &Delivery<'_>) {
    let Delays { before, queued, connecting, transmitting } = delivery.delays;
    info!(
        queue_id = %delivery.id,
        to = %delivery.to,
        orig_to = delivery.orig_to.map(Address::as_str),
        relay = %RelayName(delivery.relay),
        tls = delivery.relay.and_then(|relay| relay.tls),
        delay = number(delivery.delays.total()),
        delay_before = number(before),
        delay_queued = number(queued),
        delay_connecting = number(connecting),
        delay_transmitting = number(transmitting),
        dsn = %delivery.status,
        status = %delivery.outcome,
        said = %Foreign(delivery.said),
        "{delivery}"
    );
}

/// The parts of the line about an accepted message, which is written just before its 250.
pub struct Accepted<'a> {
    /// The queue id of the message.
    pub id: QueueId,
    /// The client: `localhost[127.0.0.1]`, `localhost[127.0.0.1] uid 1000` or `uid 1000`.
    pub client: &'a str,
    /// The login name of that uid, if it has one.
    pub user: Option<&'a str>,
    /// The reverse-path.
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
}

impl fmt::Display for Accepted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Accepted { id, client, from, size, nrcpt, protocol, .. } = self;
        let from = from.to_string();
        let from = Foreign(&from);
        write!(f, "{id}: client={client}")?;
        if let Some(user) = self.user {
            write!(f, " ({})", Foreign(user))?;
        }
        write!(f, ", from=<{from}>, size={size}, nrcpt={nrcpt}, proto={protocol}")?;
        if let Some(helo) = self.helo {
            write!(f, ", helo=<{}>", Foreign(helo))?;
        }
        if let Some(message_id) = self.message_id {
            write!(f, ", message-id={}", Foreign(message_id))?;
        }
        f.write_str(" (queued)")
    }
}

/// Logs that a message is on stable storage.
pub fn accepted(accepted: &Accepted<'_>) {
    let Accepted { id, client, from, size, nrcpt, protocol, .. } = accepted;
    let Accepted { user, message_id, .. } = accepted;
    let helo = accepted.helo.map(|helo| Foreign(helo).to_string());
    info!(
        queue_id = %id, client, user, %from, size, nrcpt, proto = protocol, helo, message_id,
        "{accepted}"
    );
}

/// Logs what was done with lines of a message that are too long for SMTP.
pub fn long_lines(id: QueueId, done: &dyn fmt::Display) {
    info!(queue_id = %id, "{id}: lines over 998 octets {done}");
}

/// Logs that a message has left the spool: every recipient is sent, or bounced and the bounce spooled.
pub fn removed(id: QueueId) {
    info!(queue_id = %id, "{id}: removed");
}

/// Logs that the DSN about the failure of a message is on the spool.
pub fn failure_reported(id: QueueId, dsn: QueueId) {
    info!(queue_id = %id, notification = %dsn, "{id}: sender non-delivery notification: {dsn}");
}

/// Logs that the DSN about the delay of a message is on the spool.
pub fn delay_reported(id: QueueId, dsn: QueueId) {
    info!(queue_id = %id, notification = %dsn, "{id}: sender delay notification: {dsn}");
}

/// Logs that the DSN about the success of a message is on the spool.
pub fn success_reported(id: QueueId, dsn: QueueId) {
    info!(queue_id = %id, notification = %dsn, "{id}: sender delivery status notification: {dsn}");
}

/// Logs that the relay may have a copy of this message that we do not know of.
pub fn possible_duplicate(id: QueueId, why: &str) {
    warn!(queue_id = %id, "{id}: possible duplicate: {why}");
}

/// Logs that a message failed, nobody can be told, and it is kept for the operator.
pub fn dead(id: QueueId, why: &str) {
    warn!(queue_id = %id, "{id}: dead, kept on the spool: {}", Foreign(why));
}

/// Logs that a message on the spool cannot be read; `then` says what becomes of it.
pub fn unreadable(id: QueueId, why: &dyn fmt::Display, then: &str) {
    error!(queue_id = %id, "{id}: cannot be read from the spool: {why}; {then}");
}

/// Logs that the spool did not record the outcome of a message; it is asked again until it does.
pub fn unrecorded(id: QueueId, why: &dyn fmt::Display) {
    error!(queue_id = %id, "{id}: outcome not recorded: {why}; will try again");
}

/// Logs that nothing is sent from now on, since the spool does not record the outcomes of deliveries.
pub fn sending_stopped(why: &dyn fmt::Display, live: usize) {
    error!("nothing is sent: deliveries cannot be recorded: {why}; {live} in the queue, will try again");
}

/// Logs that the spool records the outcomes of deliveries again.
pub fn sending_resumed(live: usize) {
    info!("deliveries can be recorded again; {live} in the queue");
}

/// Logs that the relay is paused for all messages: at level WARN when the pause begins, at INFO later.
pub fn relay_paused(trouble: &dyn fmt::Display, live: usize, probe_in: Duration, is_new: bool) {
    let (trouble, wait) = (foreign(trouble), Seconds(probe_in));
    if is_new {
        warn!(relay_state = "paused", "relay paused: {trouble}; {live} in the queue, next probe in {wait}s");
    } else {
        info!(
            relay_state = "paused",
            "relay still paused: {trouble}; {live} in the queue, next probe in {wait}s"
        );
    }
}

/// Logs that the relay refuses messages because they are too many, and gets fewer at a time.
pub fn relay_slowed(trouble: &dyn fmt::Display, connections: usize) {
    info!("relay takes less at a time: {trouble}; at most {connections} connections from now on");
}

/// Logs trouble of one connection that does not pause the relay.
pub fn relay_trouble(trouble: &dyn fmt::Display) {
    info!("relay trouble: {}", foreign(trouble));
}

/// Logs that a relay failed when several commands were sent at once, and gets one at a time for this period.
pub fn lock_step(period: Duration, trouble: &dyn fmt::Display) {
    let minutes = period.as_secs() / 60;
    let period = if minutes < 60 { format!("{minutes} minutes") } else { "a day".into() };
    info!("relay gets one command at a time for {period}, since it failed at several: {trouble}");
}

/// Logs that a relay offers DSN, refused a command with DSN parameters, and took the message without them.
pub fn dsn_refused(peer: &dyn fmt::Display, said: &str) {
    info!(
        "relay gets no DSN parameters for a day, since it takes mail only without them, and success is reported from \
         here: {peer}: {said}"
    );
}

/// Logs that a relay answered only a ClientHello that fits into one TCP segment.
pub fn classical_key_exchange(trouble: &dyn fmt::Display) {
    info!(
        "relay gets a smaller ClientHello for a day, without post-quantum key exchange, since it did not answer the \
         larger one: {trouble}"
    );
}

/// Logs that a message is held after a refusal, while no other message was held.
pub fn refusal_held(why: &HeldBack<'_>) {
    warn!("{why}");
}

/// The reason why mail is held, and what to do about it.
pub struct HeldBack<'a> {
    /// The relay's reply to the last message that was held.
    pub said: &'a str,
    /// The event that it waits for.
    pub until: HeldUntil,
    /// Whether `rewrite.null-sender` is set.
    pub has_null_sender: bool,
}

impl fmt::Display for HeldBack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let until = match self.until {
            HeldUntil::FirstTaken => {
                "this relay has never taken a message from here, so what it refuses is held"
            }
            HeldUntil::NextTaken => {
                "the relay refuses messages and their bounces, so the bounces are held until it takes a message"
            }
            HeldUntil::Mended => "what the relay refuses is held",
        };
        let said = Foreign(self.said);
        let null = if self.has_null_sender { "" } else { ", rewrite.null-sender for mail from <>" };
        write!(
            f,
            "{until}: {said}; have the relay take this sender, or set rewrite.sender for the mail to come{null}; a \
             reload tries what is held again"
        )
    }
}

/// Logs, once after each start or reload, that the relay refuses `<>`; mail for the postmaster is sent from `instead`.
pub fn null_sender_refused(said: &str, instead: &Address) {
    let (said, instead) = (Foreign(said), foreign(instead));
    warn!(
        "the relay refuses mail from <>: {said}; the postmaster's is sent as from {instead} now, and all other needs \
         rewrite.null-sender"
    );
}

/// Logs that the relay takes mail again.
pub fn relay_resumed(live: usize) {
    info!(relay_state = "usable", "relay usable again; {live} in the queue");
}

/// Logs the number of further pauses that came and went in a minute, after a few that were logged one by one.
pub fn relay_flickered(times: u32, live: usize) {
    warn!(times, "relay paused and usable again {times} more times within a minute; {live} in the queue");
}

/// Logs that a connection, a command or a message got a 4xx or 5xx reply. `verb` is CONNECT, RCPT, END-OF-MESSAGE, …
pub fn refused(client: &str, verb: &str, said: &Reply) {
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

/// Logs any other reply to a client.
pub fn dialogue(client: &str, verb: &str, said: &Reply) {
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

/// Logs that octets of the spool which were acknowledged are no valid record any more, and what was done about it.
pub fn spool_damaged(report: &str) {
    error!("spool damaged: {report}");
}

/// Logs that a segment could not be prepared or removed; it is tried again.
pub fn spool_stock(log: &Path, why: &io::Error) {
    warn!("spool: cannot prepare or remove a segment in {}: {why}; will try again", log.display());
}

/// Logs that the content of a large message could not be written; its client gets a 4xx reply.
pub fn spool_large(path: &Path, why: &io::Error) {
    error!("spool: cannot write {}: {why}; the message is refused", path.display());
}

/// Logs that a batch of records could not be written; the clients that waited for it get a 4xx reply.
pub fn spool_write(segment: u32, why: &io::Error) {
    error!("spool: cannot write to segment {segment:08X}: {why}; mail is being refused");
}

/// Logs that a sync failed; the clients that waited for it get a 4xx reply.
pub fn spool_sync(segment: u32, why: &io::Error) {
    error!("spool: cannot sync segment {segment:08X}: {why}; it is not used any more");
}

/// Logs that a new segment could not be begun.
pub fn spool_begin(segment: u32, why: &io::Error) {
    error!("spool: cannot begin segment {segment:08X}: {why}; mail is being refused");
}

/// Logs that there is no room for mail from now on; called once until there is room.
pub fn spool_full(root: &Path, why: &dyn fmt::Display) {
    warn!(
        "spool full: {}: {why}; mail is refused with 452 until there is room, deliveries go on",
        root.display()
    );
}

/// Logs that there is room for mail again.
pub fn spool_has_room(root: &Path) {
    info!("spool has room again: {}; mail is taken again", root.display());
}

/// Logs that the path of the spool does not lead to the open spool any more.
pub fn spool_astray(root: &Path, live: u64) {
    let root = root.display();
    error!("spool: {root} was removed or moved under the daemon; mail is refused; {live} in the queue");
}

/// Logs that a removed spool cannot be made anew; called once for each reason.
pub fn spool_homeless(root: &Path, why: &str, live: u64) {
    let root = root.display();
    error!(
        "spool: cannot go on in {root}: {why}; mail is refused, deliveries go on; do not stop the daemon: \
         it alone has the {live} in the queue; it tries again each second"
    );
}

/// Logs that a spool which was removed or moved is whole again: at ERROR if messages had to be saved from open files.
pub fn spool_home(root: &Path, saved: u64, lost: u64) {
    let root = root.display();
    if saved + lost > 0 {
        error!(
            "spool: {root} is made anew: {saved} messages saved from open files, {lost} lost; mail is taken again"
        );
    } else {
        info!("spool: {root} is whole again; mail is taken again");
    }
}

/// Logs that a message of a removed spool could not be saved.
pub fn message_lost(id: QueueId, why: &dyn fmt::Display) {
    error!(queue_id = %id, "{id}: lost with the removed spool: {why}");
}

/// Logs that the daemon ends while its spool is not at its path.
pub fn spool_left_behind(root: &Path, live: u64) {
    let root = root.display();
    error!(
        "spool: {root} is still not there at the stop: the {live} in the queue are lost, unless it was moved"
    );
}

/// Logs that the last run did not stop in good order (a crash, a kill or a power cut). `torn` is the number of
/// writes that were cut off and had not been acknowledged.
pub fn unclean_end(torn: u64) {
    warn!(
        torn,
        "the last run ended without stopping: what the relay took in that moment may be sent again \
         (possible duplicate); {torn} unacknowledged writes dropped"
    );
}

/// Logs that a message which `sendmail` left in the drop directory is on the spool.
pub fn picked_up(id: QueueId, file: &dyn fmt::Display, uid: u32) {
    info!(queue_id = %id, "{id}: picked up from {file} of uid {uid}");
}

/// Logs that a dropped file is kept for later, since its message was refused for now.
pub fn not_picked_up(file: &dyn fmt::Display, why: &str) {
    info!("{file}: not picked up yet: {}", Foreign(why));
}

/// Logs that a dropped file which is no message was moved aside.
pub fn set_aside(file: &dyn fmt::Display, why: &str, to: &dyn fmt::Display) {
    warn!("{file}: not picked up: {}; it is now {to}", Foreign(why));
}

/// Logs that a dropped message was refused for good, its sender gets a DSN, and its file was moved aside.
pub fn bounced_at_pick_up(
    id: QueueId,
    dsn: QueueId,
    file: &dyn fmt::Display,
    why: &str,
    to: &dyn fmt::Display,
) {
    let why = Foreign(why);
    warn!(
        queue_id = %id, notification = %dsn,
        "{id}: not picked up from {file}: {why}; sender non-delivery notification: {dsn}; it is now {to}"
    );
}

/// Logs that a dropped message was refused for good, nobody gets a DSN, and its file was moved aside.
pub fn dead_at_pick_up(file: &dyn fmt::Display, why: &str, to: &dyn fmt::Display) {
    warn!("{file}: dead, not picked up: {}; it can be reported to nobody; it is now {to}", Foreign(why));
}

/// Logs that the task that picks up dropped messages panicked.
pub fn pickup_failed(why: &dyn fmt::Display) {
    error!("picking up dropped messages failed, and begins anew: {why}");
}

/// Logs that a dropped file, or the drop directory, cannot be processed; called once for each.
pub fn drop_trouble(file: &dyn fmt::Display, why: &str) {
    warn!("{file}: {why}; will try again");
}

/// The parts of the line about a daemon that takes mail now.
pub struct Started<'a> {
    /// The name of this host.
    pub hostname: &'a str,
    /// The relay that gets the mail.
    pub relay: &'a str,
    /// The addresses and sockets on which it listens.
    pub addresses: &'a str,
    /// The directory of the spool.
    pub spool: &'a Path,
    /// The number of messages in the queue.
    pub live: usize,
}

/// Logs that the daemon takes mail.
pub fn started(started: &Started<'_>) {
    let (version, spool) = (env!("CARGO_PKG_VERSION"), started.spool.display());
    let Started { hostname, relay, addresses, live, .. } = started;
    info!(
        version, relay, addresses, %spool, live,
        "started as {hostname}: nullmta {version}, relay {relay}, listening on {addresses}, spool {spool}; \
         {live} in the queue"
    );
}

/// Logs that a key about where to listen has no effect, since systemd passes other sockets.
pub fn overruled(key: &str, addresses: &str) {
    warn!(
        "{key} has no effect: systemd passes the sockets, which are {addresses}; change them with systemctl edit \
         nullmta.socket"
    );
}

/// Logs a warning about the configuration.
pub fn config_warning(warning: &str) {
    warn!("{warning}");
}

/// Logs a warning about the set-up of the relay.
pub fn relay_warning(warning: &str) {
    warn!("{warning}");
}

/// Logs that the daemon begins to stop.
pub fn stopping() {
    info!("stopping");
}

/// Logs that the daemon has stopped in good order.
pub fn stopped() {
    info!("stopped");
}

/// Logs that the configuration was read again and is in force. `changed` has the keys whose values changed.
pub fn reloaded(path: &dyn fmt::Display, changed: &[String]) {
    let changed = if changed.is_empty() { "nothing".into() } else { changed.join(", ") };
    info!(changed, "configuration reloaded from {path}; changed: {changed}");
}

/// Logs that a changed configuration has an error.
pub fn not_reloaded(why: &str) {
    error!("configuration not reloaded, the old one stays in force: {why}");
}

/// Logs that a key has changed that only a restart puts into force.
pub fn needs_restart(key: &str) {
    warn!("{key} has changed: that takes a restart");
}

/// A command or a reply between a relay and us, but nothing of AUTH and no content.
pub struct Said<'a> {
    /// The queue id of the message; `None` before and between transactions.
    pub id: Option<QueueId>,
    /// The relay.
    pub relay: &'a dyn fmt::Display,
    /// The command, or the phase in which the relay replied.
    pub command: &'a dyn fmt::Display,
}

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.relay, foreign(self.command))
    }
}

/// The queue id at the start of a line about a message; nothing for other lines.
struct Prefix(Option<QueueId>);

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |id| write!(f, "{id}: "))
    }
}

/// Logs a command to the relay.
pub fn relay_told(told: &Said<'_>) {
    debug!(queue_id = told.id.map(tracing::field::display), "{}to {told}", Prefix(told.id));
}

/// Logs a reply of the relay.
pub fn relay_said(said: &Said<'_>, reply: &dyn fmt::Display) {
    let prefix = Prefix(said.id);
    debug!(queue_id = said.id.map(tracing::field::display), "{prefix}from {said}: {}", foreign(reply));
}

/// Logs that a client of the control socket went away, or did not keep to the protocol.
pub fn control_client(why: &dyn fmt::Display) {
    debug!("control client: {why}");
}

/// Logs that the control socket cannot accept connections now.
pub fn control_trouble(why: &dyn fmt::Display) {
    warn!("control socket: cannot accept for now: {why}");
}

/// Logs that the daemon could not begin to accept connections.
pub fn not_serving(why: &dyn fmt::Display) {
    error!("not serving: {why}");
}

/// Logs that the name service does not answer; called once until it does.
pub fn users_unknown(why: &dyn fmt::Display) {
    warn!("users cannot be looked up, and are numbers for now: {why}");
}

/// Logs that the system refused something that the daemon can do without.
pub fn done_without(what: &str, why: &dyn fmt::Display) {
    debug!("{what}: {why}");
}

/// Shows the relay, or `none`.
struct RelayName<'a>(Option<LoggedRelay<'a>>);

impl fmt::Display for RelayName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(relay) => relay.fmt(f),
            None => f.write_str("none"),
        }
    }
}

/// Returns the seconds as a number with millisecond precision, for the JSON format.
fn number(duration: Duration) -> f64 {
    duration.as_millis() as f64 / 1000.0
}

/// Shows seconds as Postfix does, with two significant digits below a hundred: `0.01`, `2.6`, `31`, `4711`.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        let digits = if seconds < 0.995 { 2 } else { usize::from(seconds < 9.95) };
        let text = format!("{seconds:.digits$}");
        let bare = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        f.write_str(bare)
    }
}

/// Shows foreign text on one line: every character that could forge a line or control a terminal is escaped, and a text
/// longer than [`MAX_FOREIGN_OCTETS`] is cut, with the number of octets that are left out.
pub struct Foreign<'a>(pub &'a str);

/// The most octets that one foreign text takes in a line. The longest address, and every reply that a person would
/// read, is shown in full. Every syslog receiver should take lines of 2 KiB (RFC 5424 6.1).
const MAX_FOREIGN_OCTETS: usize = 1000;

impl fmt::Display for Foreign<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut octets = 0;
        for (start, c) in self.0.char_indices() {
            let is_escaped = is_harmful(c);
            octets += if is_escaped { c.escape_default().len() } else { c.len_utf8() };
            if octets > MAX_FOREIGN_OCTETS {
                return write!(f, "... ({} octets more)", self.0.len() - start);
            }
            if is_escaped {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// Returns the text of `value`, escaped and cut like [`Foreign`].
fn foreign(value: &dyn fmt::Display) -> String {
    Foreign(&value.to_string()).to_string()
}

/// Returns `json` with a JSON escape for every character that is invisible or changes the direction of text: the value
/// is the same, and a terminal shows all of it. Such characters can only be in strings.
pub fn visible_json(json: &str) -> Cow<'_, str> {
    if json.is_ascii() {
        return Cow::Borrowed(json);
    }
    let mut visible = String::with_capacity(json.len());
    for c in json.chars() {
        if is_invisible(c) || c.is_control() && !c.is_ascii() {
            for unit in c.encode_utf16(&mut [0; 2]) {
                visible += &format!("\\u{unit:04x}");
            }
        } else {
            visible.push(c);
        }
    }
    Cow::Owned(visible)
}

/// Returns whether `c` could control a terminal, or change how the text around it is shown.
pub fn is_harmful(c: char) -> bool {
    c.is_control() || is_invisible(c)
}

/// Returns whether `c` is a line or paragraph separator, or a format character of Unicode (general category Cf): it
/// changes the direction of text, joins characters, or is not visible.
fn is_invisible(c: char) -> bool {
    const INVISIBLE: [RangeInclusive<char>; 20] = [
        '\u{ad}'..='\u{ad}',
        '\u{600}'..='\u{605}',
        '\u{61c}'..='\u{61c}',
        '\u{6dd}'..='\u{6dd}',
        '\u{70f}'..='\u{70f}',
        '\u{890}'..='\u{891}',
        '\u{8e2}'..='\u{8e2}',
        '\u{180e}'..='\u{180e}',
        '\u{200b}'..='\u{200f}',
        '\u{2028}'..='\u{202e}',
        '\u{2060}'..='\u{2064}',
        '\u{2066}'..='\u{206f}',
        '\u{feff}'..='\u{feff}',
        '\u{fff9}'..='\u{fffb}',
        '\u{110bd}'..='\u{110bd}',
        '\u{110cd}'..='\u{110cd}',
        '\u{13430}'..='\u{1343f}',
        '\u{1bca0}'..='\u{1bca3}',
        '\u{1d173}'..='\u{1d17a}',
        '\u{e0001}'..='\u{e007f}',
    ];
    !c.is_ascii() && INVISIBLE.iter().any(|range| range.contains(&c))
}

#[cfg(test)]
mod tests;
