//! The facts that alarms are about, taken from the state of the daemon. Pure: the time is an argument.

use std::time::Duration;

use jiff::Timestamp;

use super::health::{CANNOT_RECORD, waiting};
use super::protocol::{DaemonStatus, Obstacle, RelayFigures};
use crate::alarm::{AlarmFacts, AlarmRelay, FactExpiry, FreeSpace, RelayObstacle};

/// Returns the facts as of `now`.
pub(super) fn facts(status: &DaemonStatus, now: Timestamp) -> AlarmFacts {
    let refused = status.spool_trouble.as_ref().map(|why| format!("mail is refused: {why}"));
    let space = status.spool.free.map(|free| FreeSpace { free, size: status.spool.size.unwrap_or(0) });
    let file = status.configuration.refused.as_ref();
    let file = file.map(|refused| format!("the configuration file cannot be used: {}", refused.why));
    let users = status.users_trouble.as_ref().map(|why| format!("logins: {why}"));
    AlarmFacts {
        oldest: status.oldest_age.map(Duration::from_secs),
        queued: waiting(status) as u64,
        dead: status.dead as u64,
        space,
        relays: status.relays.iter().map(|relay| of_relay(relay, now)).collect(),
        expiries: status.relays.iter().flat_map(|relay| expiries(relay, now)).collect(),
        cannot_record: refused.or_else(|| status.cannot_record.then(|| CANNOT_RECORD.into())),
        to_mend: file.into_iter().chain(users).collect(),
    }
}

fn of_relay(relay: &RelayFigures, now: Timestamp) -> AlarmRelay {
    let since = relay.paused_since.as_ref().and_then(|since| since.parse().ok());
    let lasted = |since: Timestamp| Duration::try_from(now.duration_since(since)).unwrap_or_default();
    AlarmRelay {
        name: relay.route.as_ref().map_or("the relay".into(), |route| format!("the relay of route {route}")),
        paused_for: since.map(lasted),
        trouble: relay.trouble.clone(),
        obstacle: relay.obstacle.map(|obstacle| match obstacle {
            Obstacle::Quota => RelayObstacle::Quota,
            Obstacle::Configuration => RelayObstacle::Configuration,
        }),
        held_because: relay.held_because.clone().filter(|_| relay.held > 0),
    }
}

fn expiries(relay: &RelayFigures, now: Timestamp) -> Vec<FactExpiry> {
    let left = |until: Timestamp| until.as_second() - now.as_second();
    let ends = relay.expiries.iter().filter_map(|expiry| {
        Some(FactExpiry { what: expiry.what.clone(), left: left(expiry.until.parse().ok()?) })
    });
    ends.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::protocol::{Configuration, ListedExpiry, RefusedConfiguration, SpoolFigures};

    #[test]
    fn each_fact_comes_from_its_figure() {
        let relay = RelayFigures {
            route: Some("news".into()),
            paused_since: Some("2026-11-21T01:00:00Z".into()),
            trouble: Some("quota: used up".into()),
            obstacle: Some(Obstacle::Quota),
            held: 1,
            held_because: Some("not verified".into()),
            expiries: vec![ListedExpiry {
                what: "the certificate".into(),
                until: "2026-11-22T01:10:00Z".into(),
            }],
            ..RelayFigures::default()
        };
        let idle =
            RelayFigures { held_because: Some("nothing is held now".into()), ..RelayFigures::default() };
        let refused = RefusedConfiguration { at: String::new(), why: "line 3".into() };
        let status = DaemonStatus {
            messages: 9,
            dead: 2,
            on_hold: 3,
            oldest_age: Some(90),
            spool: SpoolFigures { free: Some(5), size: Some(100), ..SpoolFigures::default() },
            spool_trouble: Some("full".into()),
            configuration: Configuration { refused: Some(refused), ..Configuration::default() },
            relays: vec![relay, idle],
            ..DaemonStatus::default()
        };
        let found = facts(&status, "2026-11-21T01:10:00Z".parse().unwrap());
        let expected = AlarmFacts {
            oldest: Some(Duration::from_secs(90)),
            queued: 4,
            dead: 2,
            space: Some(FreeSpace { free: 5, size: 100 }),
            relays: vec![
                AlarmRelay {
                    name: "the relay of route news".into(),
                    paused_for: Some(Duration::from_secs(600)),
                    trouble: Some("quota: used up".into()),
                    obstacle: Some(RelayObstacle::Quota),
                    held_because: Some("not verified".into()),
                },
                AlarmRelay { name: "the relay".into(), ..AlarmRelay::default() },
            ],
            expiries: vec![FactExpiry { what: "the certificate".into(), left: 24 * 60 * 60 }],
            cannot_record: Some("mail is refused: full".into()),
            to_mend: vec!["the configuration file cannot be used: line 3".into()],
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_spool_that_takes_mail_but_records_no_outcome_is_told_too() {
        let status = DaemonStatus { cannot_record: true, ..DaemonStatus::default() };
        assert_eq!(facts(&status, Timestamp::UNIX_EPOCH).cannot_record.as_deref(), Some(CANNOT_RECORD));
    }
}
