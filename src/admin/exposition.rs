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
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::metric_text::in_order;
use super::protocol::{
    DaemonStatus, DurationFigures, IntakeFigures, MessageState, OutcomeCounts, RefusedVerb, RelayFigures,
};
use crate::standing_orders::PausedPart;

/// The type of what [`exposition`] returns, for HTTP.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;
type Level = Gauge<f64, AtomicU64>;

/// Returns the metrics of these figures.
pub fn exposition(status: &DaemonStatus) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("nullmta");
    add_daemon(&mut registry, status);
    add_intake(&mut registry, &status.intake);
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
    let by_operator = Family::<Labels, Level>::default();
    for part in [PausedPart::Delivery, PausedPart::Intake] {
        let pauses = status.pauses.iter().filter(|pause| pause.part == part);
        set(&by_operator, vec![("part", part.to_string())], pauses.count() as f64);
    }
    registry.register("operator_pauses", "Pauses that operators have ordered", by_operator);
    registry.register("alarm", "Alarms that go on", alarms);
    let expiring = level(status.expiring.len() as f64);
    registry.register("expiring", "Certificates and secrets that expire within two weeks", expiring);
}

fn add_intake(registry: &mut Registry, intake: &IntakeFigures) {
    let accepted = Counter::<u64>::default();
    accepted.inc_by(intake.accepted);
    registry.register("messages_accepted", "Messages that were accepted", accepted);
    let refused = Family::<Labels, Counter>::default();
    for RefusedVerb { verb, code, times } in &intake.refused {
        let labels = vec![("verb", verb.clone()), ("code", code.to_string())];
        refused.get_or_create(&labels).inc_by(*times);
    }
    registry.register("refusals", "Replies that refused a session, a message or a recipient", refused);
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
    let help = "How long it took to make a batch of records durable";
    registry.register_with_unit("spool_sync", help, Unit::Seconds, Durations(status.syncs.clone()));
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
    for times in RELAY_TIMES {
        times.add(registry, relays);
    }
    for counter in RELAY_COUNTERS {
        counter.add(registry, relays);
    }
    for gauge in RELAY_GAUGES {
        gauge.add(registry, relays);
    }
}

/// The durations of each relay.
struct RelayTimesOf {
    name: &'static str,
    help: &'static str,
    value: fn(&RelayFigures) -> &DurationFigures,
}

const RELAY_TIMES: [RelayTimesOf; 2] = [
    RelayTimesOf {
        name: "relay_connect",
        help: "How long connections took that were set up for a message, from name to login",
        value: |relay| &relay.connecting,
    },
    RelayTimesOf {
        name: "relay_transaction",
        help: "How long transactions took, from MAIL to the last reply",
        value: |relay| &relay.sending,
    },
];

impl RelayTimesOf {
    fn add(self, registry: &mut Registry, relays: &[RelayFigures]) {
        let family = relays.iter().map(|relay| (labels(relay), Durations((self.value)(relay).clone())));
        registry.register_with_unit(self.name, self.help, Unit::Seconds, DurationFamily(family.collect()));
    }
}

/// Durations that were counted elsewhere.
#[derive(Debug)]
struct Durations(DurationFigures);

impl EncodeMetric for Durations {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        let DurationFigures { microseconds, within } = &self.0;
        let bound =
            |bound: Option<u64>| bound.map_or(f64::INFINITY, |milliseconds| milliseconds as f64 / 1e3);
        let buckets: Vec<(f64, u64)> =
            within.iter().map(|(within, times)| (bound(*within), *times)).collect();
        let count = buckets.iter().map(|(_, times)| times).sum();
        encoder.encode_histogram::<NoLabelSet>(*microseconds as f64 / 1e6, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// The durations of several relays, each with its labels.
#[derive(Debug)]
struct DurationFamily(Vec<(Labels, Durations)>);

impl EncodeMetric for DurationFamily {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        self.0.iter().try_for_each(|(labels, durations)| durations.encode(encoder.encode_family(labels)?))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// A counter of each relay.
struct RelayCounter {
    name: &'static str,
    help: &'static str,
    value: fn(&RelayFigures) -> u64,
}

const RELAY_COUNTERS: [RelayCounter; 2] = [
    RelayCounter {
        name: "relay_reached",
        help: "Connections that were found to work",
        value: |relay| relay.reached,
    },
    RelayCounter {
        name: "relay_troubles",
        help: "Troubles of the relay, failed probes among them",
        value: |relay| relay.troubles,
    },
];

impl RelayCounter {
    fn add(self, registry: &mut Registry, relays: &[RelayFigures]) {
        let family = Family::<Labels, Counter>::default();
        for relay in relays {
            family.get_or_create(&labels(relay)).inc_by((self.value)(relay));
        }
        registry.register(self.name, self.help, family);
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

const RELAY_GAUGES: [RelayGauge; 7] = [
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
    RelayGauge {
        name: "relay_expiry_timestamp",
        help: "When the first certificate or secret for the relay expires",
        unit: Some(Unit::Seconds),
        value: |relay| second(relay.expiries.iter().map(|expiry| expiry.until.as_str()).min()),
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
    use std::time::Duration;

    use super::*;
    use crate::admin::protocol::{ListedAlarm, ListedExpiry};
    use crate::histogram::DurationHistogram;

    /// Returns the names of all metrics.
    fn told() -> BTreeSet<&'static str> {
        let lines = include_str!("../../config/commands.md").lines();
        let names =
            lines.filter(|line| line.starts_with("| `nullmta_")).filter_map(|line| line.split('|').nth(1));
        names.flat_map(|names| names.split('`').skip(1).step_by(2)).collect()
    }

    /// Returns the metric to which this series belongs: a histogram has three kinds of them.
    fn metric_of(series: &str) -> &str {
        let kinds = ["_sum", "_count", "_bucket"];
        kinds.into_iter().find_map(|kind| series.strip_suffix(kind)).unwrap_or(series)
    }

    /// Returns so many durations of 3 ms.
    fn took(times: u64) -> DurationFigures {
        let histogram = DurationHistogram::default();
        (0..times).for_each(|_| histogram.count(Duration::from_millis(3)));
        histogram.counts().into()
    }

    /// A dashboard or an alert whose metric does not exist is silent for ever.
    #[test]
    fn what_is_shown_and_alerted_of_exists() {
        let told = told();
        for file in
            [include_str!("../../config/prometheus-rules.yml"), include_str!("../../config/grafana.json")]
        {
            let words = file.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let named: BTreeSet<&str> =
                words.filter(|word| word.starts_with("nullmta_")).map(metric_of).collect();
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
            expiries: vec![ListedExpiry { what: String::new(), until: "2027-01-01T00:00:00Z".into() }],
            connecting: took(2),
            sending: took(3),
            ..RelayFigures::default()
        };
        let status = DaemonStatus { relays: vec![usable], ..DaemonStatus::default() };
        let spool = super::super::protocol::SpoolFigures { free: Some(1), ..status.spool };
        let alarm = ListedAlarm { when: "dead > 0".into(), why: String::new(), since: String::new() };
        let refused = RefusedVerb { verb: "RCPT".into(), code: 550, times: 4 };
        let intake = IntakeFigures { accepted: 7, refused: vec![refused] };
        let status = DaemonStatus { spool, intake, syncs: took(1), alarms: vec![alarm], ..status };
        let text = exposition(&status).unwrap();
        let given = text.lines().filter(|line| !line.starts_with('#'));
        let given: BTreeSet<&str> =
            given.filter_map(|line| line.split(['{', ' ']).next()).map(metric_of).collect();
        assert_eq!(given, told());
        for line in [
            "nullmta_refusals_total{verb=\"RCPT\",code=\"550\"} 4",
            "nullmta_relay_transaction_seconds_bucket{le=\"0.001\",route=\"\"} 0",
            "nullmta_relay_transaction_seconds_bucket{le=\"0.005\",route=\"\"} 3",
            "nullmta_relay_transaction_seconds_bucket{le=\"+Inf\",route=\"\"} 3",
            "nullmta_relay_transaction_seconds_sum{route=\"\"} 0.009",
            "nullmta_spool_sync_seconds_count 1",
        ] {
            assert!(text.lines().any(|given| given == line), "{line}\n{text}");
        }
        assert!(
            text.contains("\nnullmta_relay_paused_since_timestamp_seconds{route=\"\"} 1795222800.0\n"),
            "{text}"
        );
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
