//! The figures of the daemon as metrics, in the text format of OpenMetrics 1.0, which Prometheus reads.
//!
//! Promises: names, units and types as Prometheus' guide asks: base units (seconds, bytes), `_total` for what only grows since
//! the start. A label is a state, an outcome or the name of a route, which is empty for the relay of the top-level `relayhost`;
//! no address, no user and no reply is in it. Pure: everything is made of one [`DaemonStatus`], when somebody asks, so that
//! mail pays nothing for it.
//!
//! Not here: who asks (`http.rs`, `cli/metrics.rs`).

use std::fmt;
use std::sync::atomic::AtomicU64;

use jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::metric_text::in_order;
use super::protocol::{DaemonStatus, MessageState, OutcomeCounts, RelayFigures};

/// The type of what [`exposition`] returns, for HTTP.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;
type Level = Gauge<f64, AtomicU64>;

/// Returns the metrics of these figures.
pub fn exposition(status: &DaemonStatus) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("nullmta");
    add_daemon(&mut registry, status);
    add_messages(&mut registry, status);
    add_spool(&mut registry, status);
    add_relays(&mut registry, &status.relays);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(in_order(&text))
}

fn add_daemon(registry: &mut Registry, status: &DaemonStatus) {
    let build = Info::new(vec![("version", status.version.clone())]);
    registry.register("build", "The version of the running daemon", build);
    let is_refused = status.configuration.refused.is_some();
    let help = "Whether the configuration file has an error, so that an older one is in force";
    registry.register("configuration_refused", help, level(f64::from(u8::from(is_refused))));
    let alarms = Family::<Labels, Level>::default();
    for alarm in &status.alarms {
        set(&alarms, vec![("when", alarm.when.clone())], 1.0);
    }
    registry.register("alarm", "Alarms that go on", alarms);
    let expiring = level(status.expiring.len() as f64);
    registry.register("expiring", "Certificates and secrets that expire within two weeks", expiring);
}

fn add_messages(registry: &mut Registry, status: &DaemonStatus) {
    let messages = Family::<Labels, Level>::default();
    for (state, count) in by_state(status) {
        set(&messages, vec![("state", state.to_string())], count as f64);
    }
    registry.register("messages", "Messages in the queue", messages);
    let age = level(status.oldest_age.unwrap_or(0) as f64);
    let help = "Age of the oldest message that is to be sent; 0 without one";
    registry.register_with_unit("oldest_message_age", help, Unit::Seconds, age);
}

/// Returns the number of messages in each state.
fn by_state(status: &DaemonStatus) -> [(MessageState, usize); 6] {
    [
        (MessageState::Ready, status.ready),
        (MessageState::Active, status.active),
        (MessageState::Deferred, status.deferred),
        (MessageState::Held, status.held),
        (MessageState::OnHold, status.on_hold),
        (MessageState::Dead, status.dead),
    ]
}

fn add_spool(registry: &mut Registry, status: &DaemonStatus) {
    let is_refused = f64::from(u8::from(status.spool_trouble.is_some()));
    registry.register(
        "mail_refused",
        "Whether mail is refused, since the spool takes none",
        level(is_refused),
    );
    let octets = level(status.spool.octets as f64);
    registry.register_with_unit("spool_live", "What live messages take in the spool", Unit::Bytes, octets);
    let reserve = level(status.spool.reserve as f64);
    let help = "What must be free for mail to be accepted: queue.min-free-space";
    registry.register_with_unit("spool_reserve", help, Unit::Bytes, reserve);
    if let Some(free) = status.spool.free {
        let help = "What is free on the disk of the spool";
        registry.register_with_unit("spool_free", help, Unit::Bytes, level(free as f64));
    }
}

fn add_relays(registry: &mut Registry, relays: &[RelayFigures]) {
    let recipients = Family::<Labels, Counter>::default();
    for relay in relays {
        for (outcome, count) in by_outcome(relay.outcomes) {
            recipients.get_or_create(&with(relay, ("outcome", outcome))).inc_by(count);
        }
    }
    registry.register("recipients", "What came of recipients, each time that one was tried", recipients);
    for gauge in RELAY_GAUGES {
        gauge.add(registry, relays);
    }
}

/// A gauge of each relay.
struct RelayGauge {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    /// Returns its value; `None` if the relay has none now.
    value: fn(&RelayFigures) -> Option<f64>,
}

const RELAY_GAUGES: [RelayGauge; 6] = [
    RelayGauge {
        name: "relay_messages",
        help: "Messages that the relay gets",
        unit: None,
        value: |relay| Some(relay.messages as f64),
    },
    RelayGauge {
        name: "relay_connections",
        help: "Open connections to the relay",
        unit: None,
        value: |relay| Some(relay.connections as f64),
    },
    RelayGauge {
        name: "relay_paused",
        help: "Whether the relay is paused for its trouble",
        unit: None,
        value: |relay| Some(f64::from(u8::from(relay.paused_since.is_some()))),
    },
    RelayGauge {
        name: "relay_paused_since_timestamp",
        help: "When the pause of the relay began",
        unit: Some(Unit::Seconds),
        value: |relay| second(relay.paused_since.as_deref()),
    },
    RelayGauge {
        name: "relay_next_probe_timestamp",
        help: "When the relay is probed next",
        unit: Some(Unit::Seconds),
        value: |relay| second(relay.next_probe.as_deref()),
    },
    RelayGauge {
        name: "relay_last_success_timestamp",
        help: "When the relay last took a message since the start",
        unit: Some(Unit::Seconds),
        value: |relay| second(relay.last_success.as_deref()),
    },
];

impl RelayGauge {
    fn add(self, registry: &mut Registry, relays: &[RelayFigures]) {
        let family = Family::<Labels, Level>::default();
        for relay in relays {
            (self.value)(relay).into_iter().for_each(|value| set(&family, labels(relay), value));
        }
        match self.unit {
            Some(unit) => registry.register_with_unit(self.name, self.help, unit, family),
            None => registry.register(self.name, self.help, family),
        }
    }
}

/// Returns the number of recipients with each outcome.
fn by_outcome(counts: OutcomeCounts) -> [(&'static str, u64); 5] {
    let OutcomeCounts { sent, deferred, held, bounced, expired } = counts;
    [("sent", sent), ("deferred", deferred), ("held", held), ("bounced", bounced), ("expired", expired)]
}

fn labels(relay: &RelayFigures) -> Labels {
    vec![("route", relay.route.clone().unwrap_or_default())]
}

fn with(relay: &RelayFigures, (name, value): (&'static str, &str)) -> Labels {
    let mut labels = labels(relay);
    labels.push((name, value.to_owned()));
    labels
}

fn level(value: f64) -> Level {
    let gauge = Level::default();
    gauge.set(value);
    gauge
}

fn set(family: &Family<Labels, Level>, labels: Labels, value: f64) {
    family.get_or_create(&labels).set(value);
}

/// Returns a time of RFC 3339 in seconds since 1970.
fn second(time: Option<&str>) -> Option<f64> {
    let time: Timestamp = time?.parse().ok()?;
    Some(time.as_second() as f64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::admin::protocol::ListedAlarm;

    /// Returns the names of all metrics.
    fn told() -> BTreeSet<&'static str> {
        let lines = include_str!("../../config/commands.md").lines();
        let names =
            lines.filter(|line| line.starts_with("| `nullmta_")).filter_map(|line| line.split('|').nth(1));
        names.flat_map(|names| names.split('`').skip(1).step_by(2)).collect()
    }

    /// A dashboard or an alert whose metric does not exist is silent for ever.
    #[test]
    fn what_is_shown_and_alerted_of_exists() {
        let told = told();
        for file in
            [include_str!("../../config/prometheus-rules.yml"), include_str!("../../config/grafana.json")]
        {
            let words = file.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let named: BTreeSet<&str> = words.filter(|word| word.starts_with("nullmta_")).collect();
            assert!(named.len() > 5, "{named:?}");
            assert_eq!(named.difference(&told).collect::<Vec<_>>(), Vec::<&&str>::new());
        }
    }

    /// Each metric that is given stands in the table of `config/commands.md`, and each of that table is given.
    #[test]
    fn the_table_of_metrics_is_complete() {
        let usable = RelayFigures {
            paused_since: Some("2026-11-21T01:00:00Z".into()),
            next_probe: Some("2026-11-21T02:00:00Z".into()),
            last_success: Some("2026-11-21T00:00:00Z".into()),
            ..RelayFigures::default()
        };
        let status = DaemonStatus { relays: vec![usable], ..DaemonStatus::default() };
        let spool = super::super::protocol::SpoolFigures { free: Some(1), ..status.spool };
        let alarm = ListedAlarm { when: "dead > 0".into(), why: String::new(), since: String::new() };
        let text = exposition(&DaemonStatus { spool, alarms: vec![alarm], ..status }).unwrap();
        let given = text.lines().filter(|line| !line.starts_with('#'));
        let given: BTreeSet<&str> = given.filter_map(|line| line.split(['{', ' ']).next()).collect();
        assert_eq!(given, told());
        assert!(
            text.contains("\nnullmta_relay_paused_since_timestamp_seconds{route=\"\"} 1795222800.0\n"),
            "{text}"
        );
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
