//! Every log line, in one place: names and order are Postfix's, so that people's eyes and parsers work.
//!
//! Promises: every end of every message leaves one line; foreign octets are escaped; no secret passes
//! through here. The text is the same in both formats; the JSON format gives parts of it as fields too.
//! Lines and fields are an interface: they are listed in `config/log.md`, apart from those of DEBUG, and held by the
//! tests below.
//!
//! Levels: INFO is the mail's story, WARN wants an operator's look, ERROR means mail at risk, DEBUG is
//! the dialogue without secrets.
//!
//! Not here: where lines go and how a line is framed (`journal.rs`).

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use crate::envelope::{Address, ReversePath};
use crate::queue_id::QueueId;
use crate::smtp::reply::Reply;
use crate::status::Status;

/// What became of one recipient in one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The relay has it.
    Sent,
    /// To be tried again.
    Deferred,
    /// Refused in a way that only an operator can mend: kept.
    Held,
    /// Never to be tried again.
    Bounced,
    /// Tried for longer than the queue lifetime: bounced.
    Expired,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Sent => "sent",
            Outcome::Deferred => "deferred",
            Outcome::Held => "held",
            Outcome::Bounced => "bounced",
            Outcome::Expired => "expired",
        })
    }
}

/// The four parts of a delay, as Postfix counts them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delays {
    /// From arrival until the message was ready for this attempt.
    pub before: Duration,
    /// Ready, without a connection to itself: in the queue, or behind another message on one.
    pub queued: Duration,
    /// Connection set-up, as far as it waited for that; zero on a connection that was open.
    pub connecting: Duration,
    /// The transaction itself.
    pub transmitting: Duration,
}

impl Delays {
    fn total(self) -> Duration {
        self.before + self.queued + self.connecting + self.transmitting
    }
}

/// The relay as a log line names it: `mx.example.net[192.0.2.5]:587`.
#[derive(Clone, Copy, Debug)]
pub struct Relay<'a> {
    /// The name it is configured by.
    pub name: &'a str,
    /// The address that was reached.
    pub address: SocketAddr,
    /// The TLS version in use, such as `TLSv1.3`.
    pub tls: Option<&'a str>,
}

impl fmt::Display for Relay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]:{}", Foreign(self.name), self.address.ip(), self.address.port())
    }
}

/// One recipient in one attempt: the line everything else is grepped by.
pub struct Delivery<'a> {
    /// The message.
    pub id: QueueId,
    /// Whom the relay was told.
    pub to: &'a Address,
    /// Whom the submitter wrote, where that differs.
    pub orig_to: Option<&'a Address>,
    /// The relay, where one was reached.
    pub relay: Option<Relay<'a>>,
    /// Where the time went.
    pub delays: Delays,
    /// The status, the relay's or ours.
    pub status: Status,
    /// What became of it.
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

/// One line per recipient per attempt.
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

/// An accepted message: its 250 is about to be said.
pub struct Accepted<'a> {
    /// The message.
    pub id: QueueId,
    /// `localhost[127.0.0.1]`, `localhost[127.0.0.1] uid 1000` or `uid 1000`.
    pub client: &'a str,
    /// The login name of that uid, where it has one.
    pub user: Option<&'a str>,
    /// Where failures are reported to.
    pub from: &'a ReversePath,
    /// Octets of content, with what was added to it.
    pub size: u64,
    /// How many recipients.
    pub nrcpt: usize,
    /// SMTP, ESMTP, … (RFC 3848).
    pub protocol: &'a str,
    /// What the client called itself.
    pub helo: Option<&'a str>,
    /// By which the program that handed it in knows it.
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

/// A message is on stable storage.
pub fn accepted(accepted: &Accepted<'_>) {
    let Accepted { id, client, from, size, nrcpt, protocol, .. } = accepted;
    let Accepted { user, message_id, .. } = accepted;
    let helo = accepted.helo.map(|helo| Foreign(helo).to_string());
    info!(
        queue_id = %id, client, user, %from, size, nrcpt, proto = protocol, helo, message_id,
        "{accepted}"
    );
}

/// The message has lines that are too long for SMTP: what was done with them.
pub fn long_lines(id: QueueId, done: &dyn fmt::Display) {
    info!(queue_id = %id, "{id}: lines over 998 octets {done}");
}

/// The message has left the spool: every recipient had its end.
pub fn removed(id: QueueId) {
    info!(queue_id = %id, "{id}: removed");
}

/// A failed message's DSN is on the spool.
pub fn failure_reported(id: QueueId, dsn: QueueId) {
    info!(queue_id = %id, notification = %dsn, "{id}: sender non-delivery notification: {dsn}");
}

/// A delay DSN is on the spool.
pub fn delay_reported(id: QueueId, dsn: QueueId) {
    info!(queue_id = %id, notification = %dsn, "{id}: sender delay notification: {dsn}");
}

/// A DSN about success is on the spool.
pub fn success_reported(id: QueueId, dsn: QueueId) {
    info!(queue_id = %id, notification = %dsn, "{id}: sender delivery status notification: {dsn}");
}

/// The relay may have been given this message twice.
pub fn possible_duplicate(id: QueueId, why: &str) {
    warn!(queue_id = %id, "{id}: possible duplicate: {why}");
}

/// A message that can reach nobody, not even its reverse-path, is kept for the operator.
pub fn dead(id: QueueId, why: &str) {
    warn!(queue_id = %id, "{id}: dead, kept on the spool: {}", Foreign(why));
}

/// A message on the spool cannot be read, now or ever; `then` says what becomes of it.
pub fn unreadable(id: QueueId, why: &dyn fmt::Display, then: &str) {
    error!(queue_id = %id, "{id}: cannot be read from the spool: {why}; {then}");
}

/// What became of a message could not be recorded; it is tried until it can be.
pub fn unrecorded(id: QueueId, why: &dyn fmt::Display) {
    error!(queue_id = %id, "{id}: outcome not recorded: {why}; will try again");
}

/// The spool does not take what has to be recorded of a delivery: nothing is sent from now on.
pub fn sending_stopped(why: &dyn fmt::Display, live: usize) {
    error!("nothing is sent: deliveries cannot be recorded: {why}; {live} in the queue, will try again");
}

/// The spool takes it again.
pub fn sending_resumed(live: usize) {
    info!("deliveries can be recorded again; {live} in the queue");
}

/// The relay is paused, for every message: a warning when it begins, the story after that.
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

/// The relay refuses messages for their number, and takes others: it is given fewer at a time.
pub fn relay_slowed(trouble: &dyn fmt::Display, connections: usize) {
    info!("relay takes less at a time: {trouble}; at most {connections} connections from now on");
}

/// A probe failed, or a relay takes fewer connections than we would like.
pub fn relay_trouble(trouble: &dyn fmt::Display) {
    info!("relay trouble: {}", foreign(trouble));
}

/// A relay failed where it had been sent commands before it had answered those in front of them.
pub fn lock_step(period: Duration, trouble: &dyn fmt::Display) {
    let minutes = period.as_secs() / 60;
    let period = if minutes < 60 { format!("{minutes} minutes") } else { "a day".into() };
    info!("relay gets one command at a time for {period}, since it failed at several: {trouble}");
}

/// A relay offers DSN, refused a command with its parameters, and took the message without them.
pub fn dsn_refused(peer: &dyn fmt::Display, said: &str) {
    info!(
        "relay gets no DSN parameters for a day, since it takes mail only without them, and success is reported from \
         here: {peer}: {said}"
    );
}

/// A relay answered a ClientHello only when it was small enough for one segment.
pub fn classical_key_exchange(trouble: &dyn fmt::Display) {
    info!(
        "relay gets a smaller ClientHello for a day, without post-quantum key exchange, since it did not answer the \
         larger one: {trouble}"
    );
}

/// A message is held after a refusal, and none was before.
pub fn refusal_held(why: &HeldBack<'_>) {
    warn!("{why}");
}

/// What held mail waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldUntil {
    /// That the relay takes a message for the first time.
    FirstTaken,
    /// That it takes another message: bounces that it refused together with messages.
    NextTaken,
    /// That somebody mends what it was refused for.
    Mended,
}

/// Why mail is held, and what to do about it.
pub struct HeldBack<'a> {
    /// The relay's reply to the last message that was held.
    pub said: &'a str,
    /// What it waits for.
    pub until: HeldUntil,
    /// `rewrite.null-sender` is set.
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

/// The relay refuses `<>`, for the first time since the start or the last reload: the postmaster's mail has another way.
pub fn null_sender_refused(said: &str, instead: &Address) {
    let (said, instead) = (Foreign(said), foreign(instead));
    warn!(
        "the relay refuses mail from <>: {said}; the postmaster's is sent as from {instead} now, and all other needs \
         rewrite.null-sender"
    );
}

/// The relay takes mail again.
pub fn relay_resumed(live: usize) {
    info!(relay_state = "usable", "relay usable again; {live} in the queue");
}

/// A connection, a command or a message got a 4xx or 5xx reply. `verb`: CONNECT, RCPT, END-OF-MESSAGE, …
pub fn refused(client: &str, verb: &str, said: &Reply) {
    let said = foreign(said);
    info!(client, verb, said, "NOQUEUE: reject: {verb} from {client}: {said}");
}

/// So many more refusals, of a session or of all a client's in a minute, were like those told one by one.
pub fn refused_more(client: &str, verb: &str, code: u16, more: u64) {
    info!(client, verb, code, more, "NOQUEUE: reject: {more} more like this: {verb} from {client}: {code}");
}

/// A TLS handshake with a client failed, which as a rule does not trust our certificate.
pub fn no_tls(client: &str, why: &dyn fmt::Display) {
    info!(client, "NOQUEUE: TLS handshake failed from {client}: {why}");
}

/// So many more handshakes failed like those told one by one.
pub fn no_tls_more(client: &str, more: u64) {
    info!(client, more, "NOQUEUE: TLS handshake failed: {more} more like this from {client}");
}

/// Any other reply.
pub fn dialogue(client: &str, verb: &str, said: &Reply) {
    let said = foreign(said);
    debug!(client, verb, said, "{verb} from {client}: {said}");
}

/// The spool did not take a message, which the client was told; `why` is the full cause. Nothing is at
/// risk: the client still has it.
pub fn not_queued(id: QueueId, why: &dyn fmt::Display) {
    warn!(queue_id = %id, "{id}: not queued: {why}");
}

/// The spool takes no message now, which the client was told at DATA; `why` is the cause.
pub fn not_taken(client: &str, why: &dyn fmt::Display) {
    info!(client, "NOQUEUE: not queued from {client}: {why}");
}

/// So many more messages were not queued for the same reason as those told one by one.
pub fn not_queued_more(client: &str, why: &str, more: u64) {
    warn!(client, more, "NOQUEUE: not queued: {more} more like this from {client}: {why}");
}

/// A session ended; within a transaction that is part of the mail's story.
pub fn session_ended(client: &str, how: &dyn fmt::Display, in_transaction: bool) {
    if in_transaction {
        info!(client, "{how} within a transaction from {client}");
    } else {
        debug!(client, "{how}: session of {client}");
    }
}

/// So many more sessions ended within a transaction like those told one by one.
pub fn session_ended_more(client: &str, how: &str, more: u64) {
    info!(client, more, "{how} within a transaction: {more} more like this from {client}");
}

/// The task of a session ended by itself: a panic.
pub fn session_failed(why: &dyn fmt::Display) {
    error!("a session failed, others go on: {why}");
}

/// The file descriptors are too few for all sessions that are allowed.
pub fn fewer_sessions(most: usize, allowed: usize, descriptors: u64) {
    warn!(
        "at most {most} sessions at once instead of {allowed} (listen.max-sessions): {descriptors} file descriptors; \
         see LimitNOFILE= in systemd.exec(5)"
    );
}

/// A connection whose peer is not on this host, or cannot be told.
pub fn stranger(why: &dyn fmt::Display) {
    warn!("connection refused: {why}");
}

/// Accepting connections fails for now; said once until it works again.
pub fn accept_trouble(why: &dyn fmt::Display) {
    warn!("cannot accept connections for now: {why}");
}

/// A configured address that this host does not have (IPv6 switched off).
pub fn address_left_out(address: SocketAddr, why: &dyn fmt::Display) {
    warn!("not listening on {address}: {why}");
}

/// Recovery or the cleaner found octets that were acknowledged once and are no record any more; what was
/// done about it.
pub fn spool_damaged(report: &str) {
    error!("spool damaged: {report}");
}

/// Making a segment ready or letting one go failed; tried again.
pub fn spool_stock(log: &Path, why: &io::Error) {
    warn!("spool: cannot prepare or remove a segment in {}: {why}; will try again", log.display());
}

/// The content of a large message could not be written; its client was refused.
pub fn spool_large(path: &Path, why: &io::Error) {
    error!("spool: cannot write {}: {why}; the message is refused", path.display());
}

/// A batch could not be written; those who waited for it were refused.
pub fn spool_write(segment: u32, why: &io::Error) {
    error!("spool: cannot write to segment {segment:08X}: {why}; mail is being refused");
}

/// A sync failed; those who waited for it were refused.
pub fn spool_sync(segment: u32, why: &io::Error) {
    error!("spool: cannot sync segment {segment:08X}: {why}; it is not used any more");
}

/// A new segment could not be begun.
pub fn spool_begin(segment: u32, why: &io::Error) {
    error!("spool: cannot begin segment {segment:08X}: {why}; mail is being refused");
}

/// There is no room for mail, from now on; said once until there is.
pub fn spool_full(root: &Path, why: &dyn fmt::Display) {
    warn!(
        "spool full: {}: {why}; mail is refused with 452 until there is room, deliveries go on",
        root.display()
    );
}

/// There is room again.
pub fn spool_has_room(root: &Path) {
    info!("spool has room again: {}; mail is taken again", root.display());
}

/// The spool's path does not lead to it any more.
pub fn spool_astray(root: &Path, live: u64) {
    let root = root.display();
    error!("spool: {root} was removed or moved under the daemon; mail is refused; {live} in the queue");
}

/// A spool that is astray cannot be made anew; said once for each reason.
pub fn spool_homeless(root: &Path, why: &str, live: u64) {
    let root = root.display();
    error!(
        "spool: cannot go on in {root}: {why}; mail is refused, deliveries go on; do not stop the daemon: \
         it alone has the {live} in the queue; it tries again each second"
    );
}

/// A spool that was astray is whole again: an error where it took messages out of open files to make it so.
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

/// A message of a removed spool could not be saved.
pub fn message_lost(id: QueueId, why: &dyn fmt::Display) {
    error!(queue_id = %id, "{id}: lost with the removed spool: {why}");
}

/// The daemon ends while its spool is astray.
pub fn spool_left_behind(root: &Path, live: u64) {
    let root = root.display();
    error!(
        "spool: {root} is still not there at the stop: the {live} in the queue are lost, unless it was moved"
    );
}

/// The spool was not closed in good order: a crash, a kill or a power cut. `torn`: writes that nobody had
/// been told of, cut off in the middle.
pub fn unclean_end(torn: u64) {
    warn!(
        torn,
        "the last run ended without stopping: what the relay took in that moment may be sent again \
         (possible duplicate); {torn} unacknowledged writes dropped"
    );
}

/// A message that `sendmail` left in the drop directory is on the spool.
pub fn picked_up(id: QueueId, file: &dyn fmt::Display, uid: u32) {
    info!(queue_id = %id, "{id}: picked up from {file} of uid {uid}");
}

/// A dropped file is left for later: its message was refused for now.
pub fn not_picked_up(file: &dyn fmt::Display, why: &str) {
    info!("{file}: not picked up yet: {}", Foreign(why));
}

/// A dropped file that is no message was moved aside.
pub fn set_aside(file: &dyn fmt::Display, why: &str, to: &dyn fmt::Display) {
    warn!("{file}: not picked up: {}; it is now {to}", Foreign(why));
}

/// A dropped message was refused for good, its sender is told, and its file was moved aside.
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

/// A dropped message was refused for good, nobody is to be told, and its file was moved aside.
pub fn dead_at_pick_up(file: &dyn fmt::Display, why: &str, to: &dyn fmt::Display) {
    warn!("{file}: dead, not picked up: {}; it can be reported to nobody; it is now {to}", Foreign(why));
}

/// The task that picks up ended by itself: a panic.
pub fn pickup_failed(why: &dyn fmt::Display) {
    error!("picking up dropped messages failed, and begins anew: {why}");
}

/// A dropped file, or the directory, resists; said once of each.
pub fn drop_trouble(file: &dyn fmt::Display, why: &str) {
    warn!("{file}: {why}; will try again");
}

/// What a daemon is that takes mail now.
pub struct Started<'a> {
    /// Its name.
    pub hostname: &'a str,
    /// Where mail goes.
    pub relay: &'a str,
    /// Where it listens.
    pub addresses: &'a str,
    /// Where mail is kept.
    pub spool: &'a Path,
    /// How many messages are in the queue.
    pub live: usize,
}

/// The daemon takes mail.
pub fn started(started: &Started<'_>) {
    let (version, spool) = (env!("CARGO_PKG_VERSION"), started.spool.display());
    let Started { hostname, relay, addresses, live, .. } = started;
    info!(
        version, relay, addresses, %spool, live,
        "started as {hostname}: nullmta {version}, relay {relay}, listening on {addresses}, spool {spool}; \
         {live} in the queue"
    );
}

/// A key that says where to listen, and sockets passed by systemd that say otherwise.
pub fn overruled(key: &str, addresses: &str) {
    warn!(
        "{key} has no effect: systemd passes the sockets, which are {addresses}; change them with systemctl edit \
         nullmta.socket"
    );
}

/// Something about the configuration's file that an operator should know.
pub fn config_warning(warning: &str) {
    warn!("{warning}");
}

/// Something about the relay's set-up that an operator should know.
pub fn relay_warning(warning: &str) {
    warn!("{warning}");
}

/// The daemon was told to stop.
pub fn stopping() {
    info!("stopping");
}

/// The daemon has stopped in good order.
pub fn stopped() {
    info!("stopped");
}

/// The configuration was read again, and is in force. `changed`: its keys that say something else now.
pub fn reloaded(path: &dyn fmt::Display, changed: &[String]) {
    let changed = if changed.is_empty() { "nothing".into() } else { changed.join(", ") };
    info!(changed, "configuration reloaded from {path}; changed: {changed}");
}

/// A changed configuration has an error.
pub fn not_reloaded(why: &str) {
    error!("configuration not reloaded, the old one stays in force: {why}");
}

/// A changed key that a reload cannot change.
pub fn needs_restart(key: &str) {
    warn!("{key} has changed: that takes a restart");
}

/// Something said between a relay and us, and of which message: nothing of AUTH, and no content.
pub struct Said<'a> {
    /// The message at hand; none before and between transactions.
    pub id: Option<QueueId>,
    /// The relay.
    pub relay: &'a dyn fmt::Display,
    /// A command, or the phase that a reply is to.
    pub command: &'a dyn fmt::Display,
}

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.relay, foreign(self.command))
    }
}

/// The queue id in front of a line about a message; nothing in front of another.
struct Prefix(Option<QueueId>);

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |id| write!(f, "{id}: "))
    }
}

/// A command to the relay.
pub fn relay_told(told: &Said<'_>) {
    debug!(queue_id = told.id.map(tracing::field::display), "{}to {told}", Prefix(told.id));
}

/// A reply of the relay.
pub fn relay_said(said: &Said<'_>, reply: &dyn fmt::Display) {
    let prefix = Prefix(said.id);
    debug!(queue_id = said.id.map(tracing::field::display), "{prefix}from {said}: {}", foreign(reply));
}

/// A client of the control socket went away or spoke nonsense.
pub fn control_client(why: &dyn fmt::Display) {
    debug!("control client: {why}");
}

/// The control socket cannot accept for now.
pub fn control_trouble(why: &dyn fmt::Display) {
    warn!("control socket: cannot accept for now: {why}");
}

/// The accept loop could not begin.
pub fn not_serving(why: &dyn fmt::Display) {
    error!("not serving: {why}");
}

/// The name service does not answer, for the first time since it did.
pub fn users_unknown(why: &dyn fmt::Display) {
    warn!("users cannot be looked up, and are numbers for now: {why}");
}

/// Something the system refused that we can do without.
pub fn done_without(what: &str, why: &dyn fmt::Display) {
    debug!("{what}: {why}");
}

/// The relay, or `none`.
struct RelayName<'a>(Option<Relay<'a>>);

impl fmt::Display for RelayName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(relay) => relay.fmt(f),
            None => f.write_str("none"),
        }
    }
}

/// Seconds as the JSON format has them: a number, to the millisecond.
fn number(duration: Duration) -> f64 {
    duration.as_millis() as f64 / 1000.0
}

/// Seconds with two significant digits below a hundred, as Postfix prints them: `0.01`, `2.6`, `31`, `4711`.
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

/// Foreign text for one line: everything is escaped that could forge a line or drive a terminal, and what goes
/// beyond [`MAX_FOREIGN_OCTETS`] is cut, with a word on how much that is.
pub struct Foreign<'a>(pub &'a str);

/// The most octets that one piece of foreign text takes of a line. The longest address is shown whole, and so is
/// every reply that a person reads; RFC 5424 6.1 has a line of 2 KiB taken everywhere.
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

/// What `value` says, as [`Foreign`] text.
fn foreign(value: &dyn fmt::Display) -> String {
    Foreign(&value.to_string()).to_string()
}

/// JSON text with every character that is invisible, or turns the direction of text, as an escape of JSON's: it
/// stands for the same value, and hides nothing on a terminal. Such a character can stand in a string only.
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

/// Whether `c` could drive a terminal, or change how the text around it is seen.
pub fn is_harmful(c: char) -> bool {
    c.is_control() || is_invisible(c)
}

/// Line and paragraph separators, and the format characters of Unicode (general category Cf): what turns the
/// direction of text, joins, or is not seen at all.
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
