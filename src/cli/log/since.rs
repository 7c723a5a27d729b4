//! The time from which on the log is read: an age, or a point in time.
//!
//! Promise: what cannot be understood, and a time that is still to come, is an error that says what is expected; it is never taken for
//! another time.

use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::config::parse_duration;

/// A point in time that has been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Since(Timestamp);

const EXPECTED: &str = "a time is an age such as 2h or 3d, a day or a time of this host's clock such as 2026-11-29 or \"2026-11-29 10:00\", or one \
                        with its zone such as 2026-11-29T10:00:00Z";

impl Since {
    pub(super) fn time(self) -> Timestamp {
        self.0
    }

    /// Reads `text`, at `now` and in the zone of this host.
    fn at(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Since, &'static str> {
        let text = text.trim();
        let age = || parse_duration(text).and_then(|age| now.checked_sub(age).ok());
        let instant = || Timestamp::from_str(text).ok();
        let local = || zone.to_timestamp(DateTime::from_str(text).ok()?).ok();
        match age().or_else(instant).or_else(local) {
            None => Err(EXPECTED),
            Some(time) if time > now => Err("this time is still to come"),
            Some(time) => Ok(Since(time)),
        }
    }
}

impl FromStr for Since {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Since::at(text, Timestamp::now(), &TimeZone::system())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_a_day_and_a_time_are_understood_and_nothing_else() {
        let now: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let read = |text| Since::at(text, now, &zone).map(|since| since.0.to_string());
        for (text, time) in [
            ("2h", "2026-11-29T10:00:00Z"),
            ("1d12h", "2026-11-28T00:00:00Z"),
            ("2026-11-29", "2026-11-28T23:00:00Z"),
            (" 2026-11-29 10:00 ", "2026-11-29T09:00:00Z"),
            ("2026-11-29T10:00:01", "2026-11-29T09:00:01Z"),
            ("2026-11-29T10:00:00Z", "2026-11-29T10:00:00Z"),
            ("2026-11-29T10:00:00+05:00", "2026-11-29T05:00:00Z"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(time), "{text}");
        }
        for wrong in ["", "yesterday", "2", "-2h", "2026-13-01", "29.11.2026", "@1", "--until=now"] {
            assert_eq!(read(wrong), Err(EXPECTED), "{wrong}");
        }
        assert_eq!(read("2026-11-30"), Err("this time is still to come"));
    }
}
