//! The failures of the last hour, by reason.
//!
//! Promises: memory is bounded, whatever the reasons say: at most [`MOST_REASONS`] of [`LONGEST_REASON`] octets. If there are
//! more, the one that was met least often gives way and counts with the others, so that no flood of single ones hides the reason
//! for which mail is stuck.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The most reasons that are kept apart.
pub const MOST_REASONS: usize = 24;
/// The most octets of a reason.
const LONGEST_REASON: usize = 200;
/// The name of the reasons that are not kept apart.
const OTHERS: &str = "other reasons";

/// The length of a part of the hour, in seconds.
const PART_SECONDS: u64 = 300;
/// The parts of the hour.
const PARTS: usize = 12;

/// A reason for which mail has failed in the last hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RecentFailure {
    /// The reason, without words of a relay and without names.
    pub reason: String,
    /// The number of times that it was met in the last hour.
    pub times: u64,
    /// The time since it was met last, in seconds.
    pub last_age: u64,
}

/// The failures of the last hour.
#[derive(Debug, Default)]
pub(super) struct RecentFailures {
    known: Vec<KnownFailure>,
    others: HourCount,
}

#[derive(Debug)]
struct KnownFailure {
    reason: String,
    count: HourCount,
}

/// A count of the last hour, in parts.
#[derive(Clone, Copy, Debug, Default)]
struct HourCount {
    parts: [u64; PARTS],
    /// The number of the newest part.
    newest: u64,
    /// The moment at which it was counted last.
    last: Duration,
}

impl RecentFailures {
    /// Counts a reason that was met this many times.
    pub(super) fn add(&mut self, now: Duration, reason: String, times: u64) {
        let reason = shortened(reason);
        self.known.retain(|known| known.count.of_hour(now) > 0);
        if let Some(known) = self.known.iter_mut().find(|known| known.reason == reason) {
            return known.count.add(now, times);
        }
        let mut count = HourCount::default();
        count.add(now, times);
        self.known.push(KnownFailure { reason, count });
        if self.known.len() > MOST_REASONS {
            self.forget_one(now);
        }
    }

    /// Counts the rarest reason with the others.
    fn forget_one(&mut self, now: Duration) {
        let rarest = self.known.iter().enumerate().min_by_key(|(_, known)| known.count.of_hour(now));
        let Some((place, _)) = rarest else { return };
        let times = self.known.remove(place).count.of_hour(now);
        self.others.add(now, times);
    }

    /// Returns the reasons that were met in the last hour, the one that was met most often first, and the others last.
    pub(super) fn list(&self, now: Duration) -> Vec<RecentFailure> {
        let listed = |reason: &str, count: &HourCount| RecentFailure {
            reason: reason.to_owned(),
            times: count.of_hour(now),
            last_age: now.saturating_sub(count.last).as_secs(),
        };
        let mut list: Vec<RecentFailure> =
            self.known.iter().map(|known| listed(&known.reason, &known.count)).collect();
        list.sort_by(|one, other| other.times.cmp(&one.times).then_with(|| one.reason.cmp(&other.reason)));
        list.push(listed(OTHERS, &self.others));
        list.retain(|failure| failure.times > 0);
        list
    }
}

impl HourCount {
    fn add(&mut self, now: Duration, times: u64) {
        let part = now.as_secs() / PART_SECONDS;
        // The parts in between were passed without a failure.
        for passed in (self.newest + 1..=part).take(PARTS) {
            self.parts[place_of(passed)] = 0;
        }
        (self.newest, self.last) = (part, now);
        self.parts[place_of(part)] += times;
    }

    /// Returns the count of the hour that ends now.
    fn of_hour(&self, now: Duration) -> u64 {
        let part = now.as_secs() / PART_SECONDS;
        let first = part.saturating_sub(PARTS as u64 - 1);
        (first..=self.newest).map(|part| self.parts[place_of(part)]).sum()
    }
}

/// Returns the place of a part of this number.
fn place_of(part: u64) -> usize {
    (part % PARTS as u64) as usize
}

fn shortened(mut reason: String) -> String {
    if reason.len() > LONGEST_REASON {
        let end = (0..=LONGEST_REASON).rev().find(|at| reason.is_char_boundary(*at)).unwrap_or(0);
        reason.truncate(end);
        reason.push_str("...");
    }
    reason
}
