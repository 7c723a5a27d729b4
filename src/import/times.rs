//! Converts durations between the forms of Postfix and of nullmta.

use crate::config::units_of_time;

/// Returns the seconds of a unit, which both programs name by the same letter.
fn seconds_of(unit: char) -> Option<u64> {
    units_of_time().find(|(name, _)| name.chars().eq([unit])).map(|(_, seconds)| seconds)
}

/// Returns the seconds of a duration as Postfix writes it; `unit` is the unit of a bare number.
pub(super) fn seconds(text: &str, unit: char) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = match text[digits..].trim() {
        "" => unit,
        rest => rest.chars().next().filter(|_| rest.len() == 1)?,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(seconds_of(unit.to_ascii_lowercase())?)
}

/// Returns a duration as nullmta writes it, in one unit.
pub(super) fn words(seconds: u64) -> String {
    let (unit, length) =
        units_of_time().find(|(_, length)| seconds.is_multiple_of(*length)).unwrap_or(("s", 1));
    format!("{}{unit}", seconds / length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_of_their_parameter() {
        for (text, unit, expected) in [
            ("5", 'd', Some(432_000)),
            ("5d", 's', Some(432_000)),
            ("300", 's', Some(300)),
            ("90m", 's', Some(5400)),
            ("1 h", 's', Some(3600)),
            ("0", 'h', Some(0)),
            ("2w", 'd', Some(1_209_600)),
            ("", 's', None),
            ("soon", 's', None),
            ("5x", 's', None),
            ("5 min", 's', None),
            ("99999999999999999999", 's', None),
            ("18446744073709551615", 'd', None),
        ] {
            assert_eq!(seconds(text, unit), expected, "{text}");
        }
    }

    #[test]
    fn times_are_written_in_their_largest_unit() {
        for (seconds, text) in [(90, "90s"), (3600, "1h"), (5400, "90m"), (432_000, "5d"), (1_209_600, "2w")]
        {
            assert_eq!(words(seconds), text);
        }
    }
}
