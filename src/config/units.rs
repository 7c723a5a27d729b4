//! Counts, durations and sizes, as they are written in the file.
//!
//! Promises: a value is never zero and never too large to calculate with; a number without a unit is not accepted as a
//! duration.
//!
//! jiff reads durations, too, but in more forms than the file documents (`1.5h`, `5 days`, `1h ago`, `PT90S`, `01:30:00`),
//! and no days or weeks where it reads a [`Duration`]. A form that is once accepted has to stay, so the documented forms
//! have this parser.

use std::borrow::Cow;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use toml::de::DeValue;

use super::setting::Setting;
use super::table::{Key, given};

/// The longest duration accepted. A longer one is taken for a typing error.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Units of time and their milliseconds, the largest first. The parts of a duration must have this order.
const TIME_UNITS: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Returns the units of time of a second or more, each with its seconds, the largest first.
pub fn units_of_time() -> impl Iterator<Item = (&'static str, u64)> {
    let of_seconds = |(unit, milliseconds): &(&'static str, u64)| (*unit, milliseconds / 1000);
    TIME_UNITS.iter().map(of_seconds).filter(|(_, seconds)| *seconds > 0)
}

/// Units of size and their octets, as in GNU coreutils: `M` and `MiB` are powers of 1,024, `MB` of 1,000.
const SIZE_UNITS: [(&str, u64); 14] = [
    ("", 1),
    ("B", 1),
    ("K", 1 << 10),
    ("M", 1 << 20),
    ("G", 1 << 30),
    ("T", 1 << 40),
    ("KIB", 1 << 10),
    ("MIB", 1 << 20),
    ("GIB", 1 << 30),
    ("TIB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// A duration above zero: `"90s"`, `"1h30m"`, `"5d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PositiveDuration(pub(super) Duration);

impl PositiveDuration {
    /// Returns the duration of `key`, or `default` if the file leaves the key out.
    pub(super) fn or(key: &Key<PositiveDuration>, default: Duration) -> Duration {
        given(key).map_or(default, |lapse| lapse.0)
    }
}

impl Setting for PositiveDuration {
    fn expected() -> Cow<'static, str> {
        "a duration above zero and up to a year such as \"90s\", \"1h30m\" or \"5d\"".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        parse_duration(value.as_str()?).map(PositiveDuration)
    }
}

/// A number of octets above zero: `"50M"`, `"1 GiB"`, `4096`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PositiveSize(pub(super) u64);

impl PositiveSize {
    /// Parses a size as it stands in a text.
    pub(super) fn parse(text: &str) -> Option<PositiveSize> {
        // The spool and statvfs reckon in signed 64 bits.
        parse_size(text).filter(|octets| *octets > 0 && *octets <= i64::MAX as u64).map(PositiveSize)
    }

    /// Returns the octets of `key`, or `default` if the file leaves the key out.
    pub(super) fn or(key: &Key<PositiveSize>, default: u64) -> u64 {
        given(key).map_or(default, |size| size.0)
    }
}

impl Setting for PositiveSize {
    fn expected() -> Cow<'static, str> {
        "a size above zero such as \"50M\", \"1 GiB\" or a number of octets".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let octets = match value {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok()?,
            value => parse_size(value.as_str()?)?,
        };
        // The spool and statvfs reckon in signed 64 bits.
        (octets > 0 && octets <= i64::MAX as u64).then_some(PositiveSize(octets))
    }
}

/// A whole number above zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct PositiveCount(pub(super) NonZeroU32);

impl PositiveCount {
    pub(super) fn to_usize(self) -> NonZeroUsize {
        // Fails only where a usize has 16 bits.
        NonZeroUsize::try_from(self.0).unwrap_or(NonZeroUsize::MAX)
    }

    /// Returns the number of `key`, or `default` if the file leaves the key out.
    pub(super) fn or(key: &Key<PositiveCount>, default: NonZeroUsize) -> NonZeroUsize {
        given(key).map_or(default, |count| count.to_usize())
    }
}

impl Setting for PositiveCount {
    fn expected() -> Cow<'static, str> {
        "a whole number from 1 to 4294967295".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let number = value.as_integer()?;
        let count = u32::from_str_radix(number.as_str(), number.radix()).ok()?;
        NonZeroU32::new(count).map(PositiveCount)
    }
}

/// Returns the duration that a text such as `90s`, `1h30m` or `5d` gives; `None` if it gives none above zero and up to a year.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim_matches(' ');
    let mut total: u64 = 0;
    let mut units = TIME_UNITS.iter();
    while !rest.is_empty() {
        let (number, unit, behind) = split_quantity(rest)?;
        let (_, milliseconds) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.checked_mul(*milliseconds)?)?;
        rest = behind;
    }
    let duration = Duration::from_millis(total);
    (!duration.is_zero() && duration <= LONGEST).then_some(duration)
}

fn parse_size(text: &str) -> Option<u64> {
    let (number, unit, behind) = split_quantity(text.trim_matches(' '))?;
    let unit = unit.to_ascii_uppercase();
    let (_, octets) = SIZE_UNITS.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*octets).filter(|_| behind.is_empty())
}

/// Splits `text` into the number at its start, the letters after it, and the rest.
fn split_quantity(text: &str) -> Option<(u64, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text[..digits].parse().ok()?;
    let rest = text[digits..].trim_start_matches(' ');
    let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    Some((number, &rest[..letters], rest[letters..].trim_start_matches(' ')))
}

/// Returns `duration` as it would be written in the file.
pub(super) fn words(duration: Duration) -> String {
    // Every duration here was parsed from whole milliseconds up to `LONGEST`.
    let mut rest = duration.as_millis() as u64;
    let mut words = String::new();
    for (unit, milliseconds) in TIME_UNITS.iter().skip(1) {
        if rest >= *milliseconds {
            words += &format!("{}{unit}", rest / milliseconds);
            rest %= milliseconds;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let cases = [
            ("90s", 90_000, "1m30s"),
            ("1h30m", 5_400_000, "1h30m"),
            (" 1h 30 m ", 5_400_000, "1h30m"),
            ("5d", 432_000_000, "5d"),
            ("2w", 1_209_600_000, "14d"),
            ("250ms", 250, "250ms"),
            ("1s500ms", 1_500, "1s500ms"),
            ("366d", 31_622_400_000, "366d"),
        ];
        for (text, milliseconds, written) in cases {
            let duration = parse_duration(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(duration, Duration::from_millis(milliseconds), "{text}");
            assert_eq!(words(duration), written);
            assert_eq!(parse_duration(&words(duration)), Some(duration), "{text}");
        }
    }

    #[test]
    fn no_durations() {
        for text in [
            "",
            " ",
            "5",
            "0s",
            "0h0m",
            "-1s",
            "1.5h",
            "h",
            "5 days",
            "5D",
            "30m1h",
            "1h1h",
            "1h,",
            "5d5",
            "off",
            "367d",
            "99999999999999999999s",
            "18446744073709551615w",
            "1\u{a0}h",
            "٣s",
        ] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
    }

    #[test]
    fn sizes() {
        let cases = [
            ("1", 1),
            ("4096", 4096),
            ("50M", 50 << 20),
            ("50m", 50 << 20),
            ("1 GiB", 1 << 30),
            ("64KiB", 64 << 10),
            ("40MB", 40_000_000),
            ("1 kB", 1000),
            ("512 B", 512),
            ("2T", 2 << 40),
        ];
        for (text, octets) in cases {
            assert_eq!(parse_size(text), Some(octets), "{text}");
        }
        for text in ["", "M", "1.5G", "-1", "1 M M", "1X", "50 Mb/s", "99999999T", "1,000", "5%"] {
            assert_eq!(parse_size(text), None, "{text:?}");
        }
    }

    #[test]
    fn sizes_are_integers_too_and_stay_in_their_bounds() {
        let read = |toml: &str| PositiveSize::read(DeValue::parse(toml).unwrap().get_ref());
        assert_eq!(read("52_428_800"), Some(PositiveSize(50 << 20)));
        for toml in ["0", "'0'", "'0 M'", "-5", "1.0", "true", "'8388608T'", "9223372036854775808"] {
            assert_eq!(read(toml), None, "{toml}");
        }
    }
}
