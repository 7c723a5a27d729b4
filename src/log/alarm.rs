//! The lines about alarms and the heartbeat.

use jiff::Timestamp;
use tracing::{error, info, warn};

use super::text::Foreign;

/// The parts of a line about an alarm.
pub struct AlarmLine<'a> {
    /// Its condition, such as `oldest > 30m`.
    pub when: &'a str,
    /// What is so, or was so last, in words.
    pub why: &'a str,
    /// The time at which its episode began.
    pub since: Timestamp,
}

/// Logs that an alarm has begun: somebody should look.
pub fn alarm_began(alarm: &AlarmLine<'_>) {
    let AlarmLine { when, why, .. } = alarm;
    warn!(alarm = when, "alarm \"{when}\" began: {}", Foreign(why));
}

/// Logs that an alarm has begun because of which mail is at risk.
pub fn alarm_of_loss(alarm: &AlarmLine<'_>) {
    let AlarmLine { when, why, .. } = alarm;
    error!(alarm = when, "alarm \"{when}\" began: {}", Foreign(why));
}

/// Logs that an alarm goes on.
pub fn alarm_goes_on(alarm: &AlarmLine<'_>) {
    let AlarmLine { when, why, since } = alarm;
    warn!(alarm = when, "alarm \"{when}\" goes on, since {since:.0}: {}", Foreign(why));
}

/// Logs that an alarm is over.
pub fn alarm_ended(alarm: &AlarmLine<'_>) {
    let AlarmLine { when, why, since } = alarm;
    info!(
        alarm = when,
        "alarm \"{when}\" ended: it is not so any more; since {since:.0} it had been so: {}",
        Foreign(why)
    );
}

/// Logs that an alarm which goes on is not watched any more.
pub fn alarm_dropped(when: &str) {
    info!(
        alarm = when,
        "alarm \"{when}\" went on, and is not watched any more: the configuration in force has it no more; nobody is told of its end"
    );
}

/// Logs that nobody could be told of an alarm.
pub fn alarm_not_told(when: &str, why: &str, is_tried_again: bool) {
    let next = if is_tried_again { "it is tried again in a minute" } else { "it is given up" };
    warn!(alarm = when, "alarm \"{when}\": nobody could be told of it: {}; {next}", Foreign(why));
}

/// Logs that the heartbeat is silent from now on.
pub fn heartbeat_is_silent(why: &str) {
    warn!("no heartbeat is sent from now on, since mail does not get through as it should: {}", Foreign(why));
}

/// Logs that the heartbeat is sent again.
pub fn heartbeat_goes_on() {
    info!("mail gets through: the heartbeat is sent again");
}

/// Logs that the heartbeat does not arrive.
pub fn heartbeat_failed(why: &str) {
    warn!(
        "the heartbeat does not arrive, which will be taken for trouble with mail: {}; see [heartbeat]",
        Foreign(why)
    );
}

/// Logs that the heartbeat arrives again.
pub fn heartbeat_arrives() {
    info!("the heartbeat arrives again");
}
