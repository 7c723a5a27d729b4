//! Values of options that several commands have.

use std::time::Duration;

use crate::config::parse_duration;

/// Reads a time or an age, for clap.
pub(super) fn time(text: &str) -> Result<Duration, &'static str> {
    parse_duration(text)
        .ok_or("a time is a number above zero and a unit, up to a year, such as 90s, 2h or 1d12h")
}
