//! The pause that a refusal states in words: "try again in 92 seconds".
//!
//! Promises: only a number with a unit counts that stands behind words about another try, so that a limit ("60 messages in
//! 5 minutes") is not taken for a pause. The pause has one second at least, and a day at most.

use std::time::Duration;

const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Words about another try, one of which stands among the [`BEFORE`] words before the number.
const TRY_WORDS: [&str; 6] = ["again", "retry", "wait", "later", "back", "retried"];
const BEFORE: usize = 4;

/// Returns the pause that the reply `said` states; `None` if it states none.
pub(super) fn stated_pause(said: &str) -> Option<Duration> {
    let words: Vec<String> = said.split_whitespace().map(|word| word.to_lowercase()).collect();
    (0..words.len()).find_map(|place| {
        let (number, unit) = quantity(&words, place)?;
        let before = &words[place.saturating_sub(BEFORE)..place];
        let is_told = before.iter().any(|word| TRY_WORDS.contains(&bare(word)));
        let seconds = number.checked_mul(seconds_of(unit)?).filter(|_| is_told)?;
        Some(Duration::from_secs(seconds.max(1)).min(LONGEST))
    })
}

/// Returns the number and the unit at `place`: "92 seconds", "92s".
fn quantity(words: &[String], place: usize) -> Option<(u64, &str)> {
    let word = bare(&words[place]);
    let digits = word.len() - word.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = word.split_at(digits);
    let unit = if unit.is_empty() { bare(words.get(place + 1)?) } else { unit };
    // More than eighteen digits are no number of seconds.
    Some((number.parse().ok()?, unit))
}

fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric())
}

fn seconds_of(unit: &str) -> Option<u64> {
    match unit {
        "s" | "sec" | "secs" | "second" | "seconds" => Some(1),
        "m" | "min" | "mins" | "minute" | "minutes" => Some(60),
        "h" | "hr" | "hrs" | "hour" | "hours" => Some(60 * 60),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_stands_behind_words_about_another_try() {
        let cases = [
            ("550 Too many messages. Try again in 92 seconds", Some(92)),
            ("451 4.7.1 please retry after 5 minutes.", Some(300)),
            ("452 wait 30s", Some(30)),
            ("450 try again in about 2 hours", Some(7200)),
            ("450 Try again in (10 min)", Some(600)),
            ("450 try again in 0 seconds", Some(1)),
            ("450 try again in 900 hours", Some(86_400)),
            ("450 try again in 99999999999999999999 seconds", None),
            ("450 try again in 18446744073709551615 hours", None),
            ("450 only 60 messages in 5 minutes, try again later", None),
            ("450 try again later", None),
            ("450 try again in 5 days", None),
            ("450 try again in seconds", None),
            ("450", None),
            ("", None),
        ];
        for (said, expected) in cases {
            assert_eq!(stated_pause(said), expected.map(Duration::from_secs), "{said}");
        }
    }
}
