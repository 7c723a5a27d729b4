//! The lines about the relay: its pauses, what it gets from now on, and the dialogue with it at DEBUG.
//!
//! Promises: nothing of AUTH and no content is in a line.

use std::fmt;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::text::{Foreign, Seconds, counted, foreign};
use crate::key_names::on_route;
use crate::queue_id::QueueId;

/// The route at the start of a line about its relay, `route news: `; nothing for the relay of the top-level `relayhost`.
pub(super) struct ByRoute<'a>(pub(super) Option<&'a str>);

impl fmt::Display for ByRoute<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |route| write!(f, "route {}: ", Foreign(route)))
    }
}

/// Logs that the relay is paused for all messages: at level WARN when the pause begins, at INFO later.
pub fn relay_paused(
    route: Option<&str>,
    trouble: &dyn fmt::Display,
    live: usize,
    probe_in: Duration,
    is_new: bool,
) {
    let (by, trouble, wait) = (ByRoute(route), foreign(trouble), Seconds(probe_in));
    if is_new {
        warn!(
            route,
            relay_state = "paused",
            "{by}relay paused: {trouble}; {live} in the queue, next probe in {wait}s"
        );
    } else {
        info!(
            route,
            relay_state = "paused",
            "{by}relay still paused: {trouble}; {live} in the queue, next probe in {wait}s"
        );
    }
}

/// Logs that the relay refuses messages because they are too many, and gets fewer at a time.
pub fn relay_slowed(route: Option<&str>, trouble: &dyn fmt::Display, connections: usize) {
    let by = ByRoute(route);
    info!(
        route,
        "{by}relay takes less at a time: {trouble}; at most {} from now on, and less if it says so again: nullmta status \
         shows how much",
        counted(connections, "connection")
    );
}

/// Logs that the relay took only so many recipients in one transaction.
pub fn relay_takes_fewer(route: Option<&str>, relay: &dyn fmt::Display, recipients: usize) {
    let by = ByRoute(route);
    info!(
        route,
        recipients,
        "{by}relay takes fewer recipients: {} gets {recipients} in a transaction from now on, since it said that more are too many; longer \
         lists go in several",
        foreign(relay)
    );
}

/// Logs that the relay takes recipients of one domain in a transaction.
pub fn relay_takes_one_domain(route: Option<&str>, relay: &dyn fmt::Display) {
    let by = ByRoute(route);
    info!(
        route,
        "{by}relay takes one domain: {} gets recipients of one domain in a transaction for a day, since it refused several",
        foreign(relay)
    );
}

/// Logs that bodies of a message were encoded, since the relay does not take them as they are.
pub fn recoded(id: QueueId, route: Option<&str>, relay: &dyn fmt::Display) {
    let relay = foreign(relay);
    info!(queue_id = %id, route, "{id}: bodies encoded for {relay}, which does not take them as they are");
}

/// Logs that something of a message was to be encoded and is not, with the reason.
pub fn not_recoded(id: QueueId, route: Option<&str>, relay: &dyn fmt::Display, left: &dyn fmt::Display) {
    let relay = foreign(relay);
    info!(
        queue_id = %id,
        route,
        "{id}: not encoded for {relay}: {left}; the relay may refuse or change them"
    );
}

/// Logs trouble of one connection that does not pause the relay.
pub fn relay_trouble(route: Option<&str>, trouble: &dyn fmt::Display) {
    let (by, trouble) = (ByRoute(route), foreign(trouble));
    info!(route, "{by}relay trouble: {trouble}");
}

/// Logs that a relay failed when several commands were sent at once, and gets one at a time for this period.
pub fn lock_step(route: Option<&str>, period: Duration, trouble: &dyn fmt::Display) {
    let minutes = period.as_secs() / 60;
    let period = if minutes < 60 { counted(minutes, "minute") } else { "a day".into() };
    let by = ByRoute(route);
    info!(route, "{by}relay gets one command at a time for {period}, since it failed at several: {trouble}");
}

/// Logs that a relay offers `parameter`, refused a command with it, and took the message without it.
pub fn parameter_refused(
    route: Option<&str>,
    peer: &dyn fmt::Display,
    parameter: &dyn fmt::Display,
    said: &str,
) {
    let by = ByRoute(route);
    info!(
        route,
        "{by}relay gets no {parameter} for a day, since it offers that and takes mail only without it: {peer}: {said}"
    );
}

/// Logs that a relay offers DSN, refused a command with DSN parameters, and took the message without them.
pub fn dsn_refused(route: Option<&str>, peer: &dyn fmt::Display, said: &str) {
    let by = ByRoute(route);
    info!(
        route,
        "{by}relay gets no DSN parameters for a day, since it takes mail only without them, and success is reported from \
         here: {peer}: {said}"
    );
}

/// Logs that a relay answered only a ClientHello that fits into one TCP segment.
pub fn classical_key_exchange(route: Option<&str>, trouble: &dyn fmt::Display) {
    let by = ByRoute(route);
    info!(
        route,
        "{by}relay gets a smaller ClientHello for a day, without post-quantum key exchange, since it did not answer the \
         larger one: {trouble}"
    );
}

/// Logs that a relay has sent no greeting for so long, and is waited for.
pub fn no_greeting_yet(route: Option<&str>, peer: &dyn fmt::Display, waited: Duration) {
    let (by, waited) = (ByRoute(route), Seconds(waited));
    let remedy = on_route("set tls.mode = \"implicit\"", route);
    info!(
        route,
        "{by}no greeting yet from the relay {peer} after {waited}s, it is waited for; if its port speaks TLS from the first \
         octet, {remedy}"
    );
}

/// Logs that a relayhost, or one of its addresses, is passed over since it failed, while another one is there: at level
/// WARN when that begins, at INFO when it has failed again.
pub fn relayhost_passed_over(
    route: Option<&str>,
    place: &dyn fmt::Display,
    why: &str,
    period: Duration,
    is_new: bool,
) {
    let (by, place, why, period) = (ByRoute(route), foreign(place), foreign(&why), Seconds(period));
    if is_new {
        warn!(
            route,
            "{by}relayhost {place} is passed over for {period}s, and the next one gets the mail: {why}"
        );
    } else {
        info!(route, "{by}relayhost {place} is passed over for another {period}s: {why}");
    }
}

/// Logs that a relayhost is left alone, since another try there costs something, while the others of the list are tried.
/// `why` is `None` where the line about the relay says it.
pub fn relayhost_left_alone(
    route: Option<&str>,
    place: &dyn fmt::Display,
    why: Option<&str>,
    period: Duration,
) {
    let (by, place, period) = (ByRoute(route), foreign(place), Seconds(period));
    let why = why.map(|why| format!(": {}", foreign(&why))).unwrap_or_default();
    warn!(
        route,
        "{by}relayhost {place} is left alone for {period}s, and the other hosts of the list are tried meanwhile{why}"
    );
}

/// Logs that a relayhost, or one of its addresses, that was passed over works again.
pub fn relayhost_works_again(route: Option<&str>, place: &dyn fmt::Display) {
    let (by, place) = (ByRoute(route), foreign(place));
    info!(route, "{by}relayhost {place} works again, and gets mail in its turn");
}

/// Logs that a certificate is about to expire.
pub fn certificate_expires(route: Option<&str>, notice: &str) {
    let (by, notice) = (ByRoute(route), foreign(&on_route(notice, route)));
    warn!(route, "{by}certificate about to expire: {notice}");
}

/// Logs that the client secret of OAuth is about to expire.
pub fn client_secret_expires(route: Option<&str>, notice: &str) {
    let (by, notice) = (ByRoute(route), foreign(&on_route(notice, route)));
    warn!(route, "{by}client secret about to expire: {notice}");
}

/// Logs that a new refresh token could not be written, while the endpoint may take the old one no more.
/// `has_login` tells it to be that of a login on a terminal.
pub fn refresh_token_not_written(
    route: Option<&str>,
    path: &dyn fmt::Display,
    error: &dyn fmt::Display,
    has_login: bool,
) {
    let by = ByRoute(route);
    let remedy = if has_login { "log in again (nullmta oauth login)" } else { "put a new one into the file" };
    error!(
        route,
        "{by}refresh token not written to {path}: {error}; it is in memory alone, and tried again every few seconds; if \
         nullmta is killed before, {remedy}"
    );
}

/// Logs that a refresh token is written that could not be before.
pub fn refresh_token_written(route: Option<&str>, path: &dyn fmt::Display) {
    let by = ByRoute(route);
    info!(route, "{by}refresh token written to {path}, at last");
}

/// Logs that there is no other access token for `username`, while the one at hand is valid for the time `left`.
pub fn token_not_renewed(route: Option<&str>, username: &str, words: &str, left: Duration) {
    let (by, username, words, left) =
        (ByRoute(route), foreign(&username), foreign(&on_route(words, route)), Seconds(left));
    warn!(
        route,
        "{by}access token of {username} not renewed: {words}; the one at hand is valid for another {left}s, and then mail waits"
    );
}

/// Logs that the relay takes mail again.
pub fn relay_resumed(route: Option<&str>, live: usize) {
    let by = ByRoute(route);
    info!(route, relay_state = "usable", "{by}relay usable again; {live} in the queue");
}

/// Logs the number of further pauses that came and went in a minute, after a few that were logged one by one.
pub fn relay_flickered(route: Option<&str>, times: u32, live: usize) {
    let by = ByRoute(route);
    warn!(
        route,
        times,
        "{by}relay paused and usable again {} within a minute; {live} in the queue",
        counted(times, "more time")
    );
}

/// A command or a reply between a relay and us, but nothing of AUTH and no content.
pub struct RelayLine<'a> {
    /// The queue id of the message; `None` before and between transactions.
    pub id: Option<QueueId>,
    /// The route that leads to the relay.
    pub route: Option<&'a str>,
    /// The relay at the other end, by its name and address.
    pub relay: &'a dyn fmt::Display,
    /// The command, or the phase in which the relay replied.
    pub command: &'a dyn fmt::Display,
}

impl fmt::Display for RelayLine<'_> {
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
pub fn relay_told(told: &RelayLine<'_>) {
    let (prefix, by) = (Prefix(told.id), ByRoute(told.route));
    debug!(queue_id = told.id.map(tracing::field::display), route = told.route, "{prefix}{by}to {told}");
}

/// Logs a reply of the relay.
pub fn relay_said(said: &RelayLine<'_>, reply: &dyn fmt::Display) {
    let (prefix, by, reply) = (Prefix(said.id), ByRoute(said.route), foreign(reply));
    debug!(
        queue_id = said.id.map(tracing::field::display),
        route = said.route,
        "{prefix}{by}from {said}: {reply}"
    );
}
