//! `relay.rate`: how many messages a relay may get in a second, a minute, an hour or a day.
//!
//! Not here: how the rate is kept (`queue/rate.rs`).

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use toml::de::DeValue;

use super::error::ConfigFault;
use super::setting::Setting;
use super::table::{Keys, LocatedList};

/// A number of messages in a period: `14/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The most messages in any period of this length.
    pub messages: NonZeroU32,
    /// The length of the period.
    pub per: RatePeriod,
}

/// The period of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RatePeriod {
    /// `s`.
    Second,
    /// `min`, or `m` as in a duration.
    Minute,
    /// `h`.
    Hour,
    /// `day`, or `d` as in a duration.
    Day,
}

impl RatePeriod {
    /// Returns the length of the period.
    pub fn length(self) -> Duration {
        Duration::from_secs(match self {
            RatePeriod::Second => 1,
            RatePeriod::Minute => 60,
            RatePeriod::Hour => 3600,
            RatePeriod::Day => 86_400,
        })
    }

    /// Returns the word for the period: `s`, `min`, `h` or `day`.
    pub fn word(self) -> &'static str {
        match self {
            RatePeriod::Second => "s",
            RatePeriod::Minute => "min",
            RatePeriod::Hour => "h",
            RatePeriod::Day => "day",
        }
    }

    pub(super) fn parse(word: &str) -> Option<RatePeriod> {
        match word {
            "s" => Some(RatePeriod::Second),
            "min" | "m" | "minute" => Some(RatePeriod::Minute),
            "h" | "hour" => Some(RatePeriod::Hour),
            "day" | "d" => Some(RatePeriod::Day),
            _ => None,
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.messages, self.per.word())
    }
}

impl Setting for Rate {
    fn expected() -> Cow<'static, str> {
        "a number of messages in a second, minute, hour or day such as \"14/s\", \"30/min\", \"100/h\" or \
         \"10000/day\""
            .into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let (number, period) = value.as_str()?.split_once('/')?;
        let is_number = number.bytes().all(|octet| octet.is_ascii_digit());
        let messages = number.parse().ok().filter(|_| is_number)?;
        Some(Rate { messages, per: RatePeriod::parse(period)? })
    }
}

/// Returns the rates of `key`, none if the file leaves it out. Two for the same period are an error: one of them would
/// have no effect.
pub(super) fn rates_of(key: &Keys<Rate>) -> Result<Vec<Rate>, ConfigFault> {
    let Some(LocatedList { entries, .. }) = key else { return Ok(Vec::new()) };
    for (place, entry) in entries.iter().enumerate() {
        let per = entry.value.per;
        if let Some(earlier) = entries[..place].iter().find(|earlier| earlier.value.per == per) {
            let found = format!("\"{}\" and \"{}\"", earlier.value, entry.value);
            return Err(entry.location.expected("one rate for each period", found));
        }
    }
    Ok(entries.iter().map(|entry| entry.value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        let read = |text: &str| Rate::read(DeValue::parse(&format!("'{text}'")).unwrap().get_ref());
        for (text, written) in [
            ("14/s", "14/s"),
            ("30/min", "30/min"),
            ("30/m", "30/min"),
            ("100/h", "100/h"),
            ("10000/day", "10000/day"),
            ("10000/d", "10000/day"),
            ("4294967295/s", "4294967295/s"),
        ] {
            assert_eq!(read(text).unwrap().to_string(), written);
        }
        for text in [
            "",
            "14",
            "/s",
            "0/s",
            "-1/s",
            "+1/s",
            "1.5/s",
            "14/ s",
            "14 /s",
            "14/S",
            "14/week",
            "4294967296/s",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
