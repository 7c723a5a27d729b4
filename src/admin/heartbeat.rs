//! The heartbeat: a page hears that mail gets through for as long as it does, and notices by the silence that it does not.
//!
//! Promises: nothing is posted while anything is critical (`health.rs`) or an alarm goes on; nor in the first minute after a start
//! ([`SETTLED_AFTER`]), so that a daemon which starts again and again is silent, too. A reload begins no period anew. The beginning and the end of the silence, and of
//! posts that fail, are logged once each.
//!
//! Fails: a post that fails is not repeated before the next one is due.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::alarm_message::HeartbeatMessage;
use super::alarm_settings::AlarmSettings;
use super::alarm_teller::send;
use super::control::Control;
use super::health::{HealthBounds, HealthLevel, findings};
use super::protocol::DaemonStatus;
use crate::log;

/// The time for which the daemon runs before the first heartbeat.
const SETTLED_AFTER: Duration = Duration::from_secs(60);

/// Posts until the task is ended.
pub(super) async fn beat(control: Control, mut settings: watch::Receiver<AlarmSettings>) {
    let mut lines = HeartbeatLines::default();
    let settled_at = Instant::now() + SETTLED_AFTER;
    let mut last = None;
    loop {
        let now = settings.borrow_and_update().clone();
        let Some(heartbeat) = &now.heartbeat else {
            if settings.changed().await.is_err() {
                return;
            }
            continue;
        };
        let due = last.map_or(settled_at, |last: Instant| last + heartbeat.every);
        if timeout_at(due, settings.changed()).await.is_ok_and(|changed| changed.is_ok()) {
            continue;
        }
        last = Some(Instant::now());
        // A daemon that is stopping says nothing more.
        let Some(status) = control.figures().await else { return sleep(Duration::MAX).await };
        let time = Timestamp::now();
        if let Some(why) = silence(&status, time) {
            lines.silent(&why);
            continue;
        }
        lines.well();
        let message = HeartbeatMessage::of(&now.hostname, &status, time);
        lines.posted(send(&heartbeat.post, &message, now.families).await);
    }
}

/// Returns why no heartbeat is sent; `None` while mail gets through.
fn silence(status: &DaemonStatus, now: Timestamp) -> Option<String> {
    let worst = findings(status, &HealthBounds::default(), now).into_iter().next();
    let critical = worst.filter(|worst| worst.health == HealthLevel::Critical).map(|worst| worst.words);
    let alarm = || status.alarms.first().map(|alarm| format!("alarm \"{}\": {}", alarm.when, alarm.why));
    critical.or_else(alarm)
}

/// What the log has been told.
#[derive(Debug, Default)]
struct HeartbeatLines {
    is_silent: bool,
    has_failed: bool,
}

impl HeartbeatLines {
    fn silent(&mut self, why: &str) {
        if !std::mem::replace(&mut self.is_silent, true) {
            log::heartbeat_is_silent(why);
        }
    }

    fn well(&mut self) {
        if std::mem::replace(&mut self.is_silent, false) {
            log::heartbeat_goes_on();
        }
    }

    fn posted(&mut self, result: Result<(), String>) {
        match result {
            Ok(()) if std::mem::replace(&mut self.has_failed, false) => log::heartbeat_arrives(),
            Ok(()) => {}
            Err(why) if !std::mem::replace(&mut self.has_failed, true) => log::heartbeat_failed(&why),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::protocol::{ListedAlarm, RelayFigures};

    #[test]
    fn it_is_silent_while_mail_does_not_get_through() {
        let now: Timestamp = "2026-11-21T02:00:00Z".parse().unwrap();
        let at = |since: &str| RelayFigures { paused_since: Some(since.into()), ..RelayFigures::default() };
        let status = |relay| DaemonStatus { relays: vec![relay], ..DaemonStatus::default() };
        assert_eq!(silence(&status(RelayFigures::default()), now), None);
        assert_eq!(silence(&status(at("2026-11-21T01:59:00Z")), now), None, "a relay that restarts");
        let long = silence(&status(at("2026-11-21T01:49:59Z")), now).unwrap();
        assert!(long.starts_with("the relay is paused for 10m"), "{long}");
        let alarm = ListedAlarm { when: "dead > 0".into(), why: "1 dead".into(), since: String::new() };
        let alarmed = DaemonStatus { alarms: vec![alarm], ..status(RelayFigures::default()) };
        assert_eq!(silence(&alarmed, now).unwrap(), "alarm \"dead > 0\": 1 dead");
    }
}
