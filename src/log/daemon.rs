//! The lines about the daemon: start, reload and stop, the control socket, and warnings about the configuration.

use std::fmt;
use std::path::Path;

use tracing::{debug, error, info, warn};

/// The parts of the line about a daemon that takes mail now.
pub struct StartedLine<'a> {
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
pub fn started(started: &StartedLine<'_>) {
    let (version, spool) = (env!("CARGO_PKG_VERSION"), started.spool.display());
    let StartedLine { hostname, relay, addresses, live, .. } = started;
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

/// Logs that the key for the hashes of hidden addresses can be neither read nor made.
pub fn hashes_will_change(why: &dyn fmt::Display) {
    warn!(
        "addresses in this log are hidden under hashes of this run alone, since the key on the spool cannot be used: {why}; \
         nullmta log finds no address among them"
    );
}

/// Logs that an operator looks on at dialogues for a time.
pub fn traced(seconds: u64, uid: u32, by: &dyn fmt::Display) {
    info!(uid, "dialogues are traced for {seconds} s by {by}");
}

/// Logs a warning about the configuration.
pub fn config_warning(warning: &str) {
    warn!("{warning}");
}

/// Logs at a reload that the secret of a relay, or a file for its TLS, cannot be used.
pub fn relay_not_usable_now(fault: &dyn fmt::Display) {
    error!(
        "{fault}; the configuration is in force nevertheless: mail for this relay is taken, and waits on the spool until \
         that is mended"
    );
}

/// Logs at a start that the secret of a relay, or a file for its TLS, cannot be used.
pub fn relay_not_usable(fault: &dyn fmt::Display) {
    error!(
        "{fault}; nullmta starts nevertheless: mail for this relay is taken, and waits on the spool until that is mended"
    );
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

/// Logs that a client of the control socket went away, or did not keep to the protocol.
pub fn control_client(why: &dyn fmt::Display) {
    debug!("control client: {why}");
}

/// Logs that the control socket cannot accept connections now.
pub fn control_trouble(why: &dyn fmt::Display) {
    warn!("control socket: cannot accept for now: {why}");
}

/// Logs that the address of `admin.http` cannot be listened on.
pub fn http_not_open(address: &dyn fmt::Display, why: &dyn fmt::Display) {
    warn!(
        "no page, metrics and health at {address}: {why}; see admin.http; it is tried again in a minute, and mail goes on"
    );
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
