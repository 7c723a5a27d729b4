//! The line about one attempt for one recipient, in the form of Postfix.
//!
//! Promises: each attempt for a recipient is one such line, and the last one tells the end of the recipient.

use std::fmt;
use std::net::SocketAddr;

use tracing::info;

use super::text::{Foreign, Seconds, number};
use crate::envelope::Address;
use crate::outcome::{Delays, Outcome};
use crate::queue_id::QueueId;
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
pub struct DeliveryLine<'a> {
    /// The queue id of the message.
    pub id: QueueId,
    /// The recipient that the relay got.
    pub to: &'a Address,
    /// The recipient that the submitter gave, if it is another one.
    pub orig_to: Option<&'a Address>,
    /// The relay; `None` if none was reached.
    pub relay: Option<LoggedRelay<'a>>,
    /// The name of the route by which it went; `None` if by none.
    pub route: Option<&'a str>,
    /// The parts of the time since the message was received.
    pub delays: Delays,
    /// The enhanced status code, from the relay or from us.
    pub status: Status,
    /// The outcome for this recipient, shown as `status=`.
    pub outcome: Outcome,
    /// The relay's reply, or our reason.
    pub said: &'a str,
}

impl fmt::Display for DeliveryLine<'_> {
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
        if let Some(route) = self.route {
            write!(f, ", route={}", Foreign(route))?;
        }
        write!(f, ", dsn={}, status={} ({})", self.status, self.outcome, Foreign(self.said))
    }
}

/// Logs one attempt for one recipient.
pub fn delivery(delivery: &DeliveryLine<'_>) {
    let Delays { before, queued, connecting, transmitting } = delivery.delays;
    info!(
        queue_id = %delivery.id,
        to = %delivery.to,
        orig_to = delivery.orig_to.map(Address::as_str),
        relay = %RelayName(delivery.relay),
        tls = delivery.relay.and_then(|relay| relay.tls),
        route = delivery.route,
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
