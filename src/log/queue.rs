//! The lines about messages in the queue: their end, the reports about them, and what keeps them.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use tracing::{error, info, warn};

use super::relay::ByRoute;
use super::text::{Foreign, Seconds, foreign};
use crate::envelope::{Address, ReversePath};
use crate::outcome::HeldUntil;
use crate::queue_id::QueueId;

/// Logs that a message has left the spool: every recipient is sent, or bounced and the bounce spooled.
pub fn removed(id: QueueId) {
    info!(queue_id = %id, "{id}: removed");
}

/// Logs what an operator has done with a message.
pub fn ordered(id: QueueId, done: &str, uid: u32, by: &dyn fmt::Display) {
    info!(queue_id = %id, uid, "{id}: {done} by {by}");
}

/// Logs that an operator has assigned a message to a route, or to the top-level relay if the name is empty.
pub fn assigned(id: QueueId, route: &str, uid: u32, by: &dyn fmt::Display) {
    let by_route =
        if route.is_empty() { "by no route".to_owned() } else { format!("by route {}", Foreign(route)) };
    info!(queue_id = %id, uid, route, "{id}: to be sent {by_route}, as ordered by {by}");
}

/// Logs that a message was not deleted, of which the line before says that it is.
pub fn not_deleted(id: QueueId, uid: u32, by: &dyn fmt::Display, why: &dyn fmt::Display) {
    warn!(queue_id = %id, uid, "{id}: not deleted after all, as ordered by {by}: {}; it is in the queue as before", foreign(why));
}

/// Logs that an operator has ordered something about a message that is under way.
pub fn order_marked(id: QueueId, to_be: &str, uid: u32, by: &dyn fmt::Display) {
    info!(queue_id = %id, uid, "{id}: under way; to be {to_be} when its reply is in, as ordered by {by}");
}

/// Logs that a message had left before an order about it could be carried out.
pub fn order_late(id: QueueId, to_be: &str, uid: u32, by: &dyn fmt::Display) {
    info!(queue_id = %id, uid, "{id}: left the queue before it could be {to_be}, as ordered by {by}");
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

/// Logs that a message is held after a refusal, while no other message was held.
pub fn refusal_held(route: Option<&str>, why: &HeldBack<'_>) {
    let by = ByRoute(route);
    warn!(route, "{by}{why}");
}

/// Logs, once for each sender, that what the relay refuses of it is held until an operator acts; one message is tried again
/// each `probe_in`.
pub fn sender_held(
    route: Option<&str>,
    from: &ReversePath,
    said: &str,
    hint: Option<&str>,
    probe_in: Duration,
) {
    let by = ByRoute(route);
    let (from, said, wait) = (foreign(from), Foreign(said), Seconds(probe_in));
    let hint = hint.map_or(String::new(), |hint| format!("; {hint}"));
    warn!(
        route,
        "{by}mail from <{from}> is held, other mail goes on: {said}{hint}; one is tried again every {wait}s"
    );
}

/// Logs that the relay refuses all mail of this sender, so that none is tried but one message each `probe_in`. What to do was
/// said with the first message.
pub fn sender_stopped(route: Option<&str>, from: &ReversePath, said: &str, probe_in: Duration) {
    let (by, from, said, wait) = (ByRoute(route), foreign(from), Foreign(said), Seconds(probe_in));
    info!(
        route,
        "{by}all mail from <{from}> is held now, since the relay refused several messages in a row; one is tried every \
         {wait}s: {said}"
    );
}

/// Logs that the relay takes mail of this sender again.
pub fn sender_taken(route: Option<&str>, from: &ReversePath, held: usize) {
    let (by, from) = (ByRoute(route), foreign(from));
    info!(route, "{by}mail from <{from}> is taken again; {held} that were held are tried");
}

/// The reason why mail of a sender is held, and what to do about it.
pub struct SenderHeldBack<'a> {
    /// The reverse-path.
    pub from: &'a ReversePath,
    /// The relay's reply to its first message that was held.
    pub said: &'a str,
    /// What an operator can do about it, if the rule says so.
    pub hint: Option<&'a str>,
    /// The number of further senders whose mail is held.
    pub others: usize,
    /// The time at which the next message of one of them is tried.
    pub next: Timestamp,
}

impl fmt::Display for SenderHeldBack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, said) = (foreign(self.from), Foreign(self.said));
        write!(f, "the relay does not take mail from <{from}>")?;
        match self.others {
            0 => {}
            1 => f.write_str(" and another sender")?,
            others => write!(f, " and {others} other senders")?,
        }
        write!(f, ", which is held, and other mail goes on: {said}")?;
        if let Some(hint) = self.hint {
            write!(f, "; {hint}")?;
        }
        write!(f, "; one message is tried at {:.0}, and a flush or a reload tries now", self.next)
    }
}

/// The reason why mail is held, and what to do about it.
pub struct HeldBack<'a> {
    /// The relay's reply to the last message that was held.
    pub said: &'a str,
    /// The event that it waits for.
    pub until: HeldUntil,
    /// True if `rewrite.null-sender` is set.
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

/// Logs, once after each start or reload, that the relay refuses `<>`; mail from `<>` is sent from `instead`, only that
/// for the postmaster if not `is_for_all`.
pub fn null_sender_refused(route: Option<&str>, said: &str, instead: &Address, is_for_all: bool) {
    let (by, said, instead) = (ByRoute(route), Foreign(said), foreign(instead));
    if is_for_all {
        return info!(
            route,
            "{by}the relay refuses mail from <>: {said}; such mail is sent again as from {instead} (queue.bounce-sender)"
        );
    }
    warn!(
        route,
        "{by}the relay refuses mail from <>: {said}; the postmaster's is sent as from {instead} now, and all other needs \
         queue.bounce-sender or rewrite.null-sender"
    );
}
