//! The pause that a refusal states in words: "try again in 92 seconds", "try again after Sun, 05 Oct 2025 19:22:44 UTC".
//!
//! Promises: only a number with a unit counts that stands behind words about another try in the same sentence, so that a limit
//! ("60 messages in 5 minutes") is not taken for a pause, and neither is what stands behind them in parentheses; and only a date that stands behind such words, or behind one about an end
//! ("after", "until", "till", "resets", "resumes", "renews"), and is to come within [`FURTHEST`]. A date without a time is
//! midnight; one without a zone that is known is in UTC. The pause has one second at least, and a day at most: then the relay
//! is asked again.
//!
//! Pure: time is an argument. RFC 5322 3.3 (dates), RFC 3339 (ISO 8601).

use std::time::Duration;

use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};

const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// The time within which a date must be: the limits of providers are by the month at most.
const FURTHEST: Duration = Duration::from_secs(31 * 24 * 60 * 60);

/// Words about another try, one of which stands among the [`BEFORE`] words before the number or the date.
const TRY_WORDS: [&str; 8] = ["again", "retry", "retry-after", "wait", "later", "back", "retried", "next"];
const BEFORE: usize = 4;
/// Words that say as much before a date.
const END_WORDS: [&str; 8] = ["after", "until", "till", "reset", "resets", "resume", "resumes", "renews"];

/// Returns the pause that the reply `said` states at `now`; `None` if it states none.
pub(super) fn stated_pause(said: &str, now: Timestamp) -> Option<Duration> {
    let words: Vec<&str> = said.split_whitespace().collect();
    (0..words.len()).find_map(|place| length(&words, place).or_else(|| time_until(&words, place, now)))
}

/// Returns the pause by a number with its unit at `place`.
fn length(words: &[&str], place: usize) -> Option<Duration> {
    let (number, unit) = quantity(words, place)?;
    let told =
        number.checked_mul(seconds_of(&unit)?).filter(|_| stands_behind(words, place, &[&TRY_WORDS]))?;
    Some(Duration::from_secs(told.max(1)).min(LONGEST))
}

/// Returns the pause by a date at `place`.
fn time_until(words: &[&str], place: usize, now: Timestamp) -> Option<Duration> {
    let date = mail_date(&words[place..]).or_else(|| iso_date(&words[place..]))?;
    let until = Duration::try_from(date.duration_since(now)).ok()?;
    let is_told = !until.is_zero() && until <= FURTHEST;
    // A second more, since the relay may read its clock in whole seconds.
    (is_told && stands_behind(words, place, &[&TRY_WORDS, &END_WORDS]))
        .then(|| Duration::from_secs(until.as_secs() + 1).min(LONGEST))
}

/// Returns whether one of these words stands shortly before `place`, in the same sentence, and in the same parentheses if
/// `place` is not the first word in them.
fn stands_behind(words: &[&str], place: usize, lists: &[&[&str]]) -> bool {
    let before = &words[place.saturating_sub(BEFORE)..place];
    for (distance, word) in before.iter().rev().enumerate() {
        if ends_sentence(word, distance == 0) {
            return false;
        }
        if lists.concat().contains(&bare(word).to_lowercase().as_str()) {
            return true;
        }
        if word.starts_with('(') {
            return false;
        }
    }
    false
}

/// Returns whether a sentence, or a part of one, ends with `word`. A colon may announce what comes next: "Retry-After: 30 s".
fn ends_sentence(word: &str, is_next: bool) -> bool {
    let end = word.trim_end_matches([')', ']', '"', '\'']);
    end.ends_with(['.', ';', '!', '?']) || end.ends_with(':') && !is_next
}

/// Returns the date at the beginning of `words`, in the form of a mail's header: "Sun, 05 Oct 2025 19:22:44 UTC".
fn mail_date(words: &[&str]) -> Option<Timestamp> {
    let is_weekday = words[0].ends_with(',') && words[0].chars().next().is_some_and(char::is_alphabetic);
    let words = &words[usize::from(is_weekday)..];
    let [day, month, year, time] = words.get(..4)?.try_into().ok()?;
    let zone = words.get(4).map(|zone| zone.trim_matches(is_mark)).filter(|zone| is_zone(zone));
    let date =
        format!("{} {month} {year} {} {}", day.trim_start_matches(is_mark), end(time), zone.unwrap_or("UTC"));
    rfc2822::DateTimeParser::new().parse_timestamp(date).ok()
}

/// Returns the date at the beginning of `words`, as ISO 8601 has it, with a space in place of the T, too.
fn iso_date(words: &[&str]) -> Option<Timestamp> {
    let word = |place: usize| words.get(place).map_or("", |word| end(word));
    let (day, time, zone) = (word(0).trim_start_matches(is_mark), word(1), word(2));
    // A number alone is no date, though ISO 8601 has such ones.
    if !day.contains('-') {
        return None;
    }
    let whole =
        [day.to_owned(), format!("{day}{time}"), format!("{day}T{time}"), format!("{day}T{time}{zone}")];
    let in_utc = |date: &String| {
        let date: civil::DateTime = date.parse().ok()?;
        date.to_zoned(TimeZone::UTC).ok().map(|date| date.timestamp())
    };
    whole
        .iter()
        .find_map(|date| date.parse().ok())
        .or_else(|| in_utc(&whole[2]).or_else(|| in_utc(&whole[0])))
}

/// Returns whether `word` has the form of a zone: a name, or an offset.
fn is_zone(word: &str) -> bool {
    let (letters, is_offset) = (word.chars().all(|c| c.is_ascii_alphabetic()), word.starts_with(['+', '-']));
    is_offset || letters && (2..=4).contains(&word.len()) && word.chars().all(char::is_uppercase)
}

fn is_mark(c: char) -> bool {
    !(c.is_alphanumeric() || matches!(c, '+' | '-'))
}

/// Returns `word` without what ends a sentence.
fn end(word: &str) -> &str {
    word.trim_end_matches(is_mark)
}

/// Returns the number and the unit at `place`: "92 seconds", "92s".
fn quantity(words: &[&str], place: usize) -> Option<(u64, String)> {
    let word = bare(words[place]);
    let digits = word.len() - word.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = word.split_at(digits);
    let unit = if unit.is_empty() { bare(words.get(place + 1)?) } else { unit };
    // More than eighteen digits are no number of seconds.
    Some((number.parse().ok()?, unit.to_lowercase()))
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

    fn found(said: &str) -> Option<u64> {
        let now: Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
        stated_pause(said, now).map(|pause| pause.as_secs())
    }

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
            ("450 RETRY AFTER 5 MINUTES", Some(300)),
            // Another sentence, or another matter.
            ("421 4.7.0 Try again later. 500 messages in 24 hours", None),
            ("421 4.7.0 Try again later! 500 messages in 24 hours", None),
            ("421 4.7.0 (Try again later.) 500 messages in 24 hours", None),
            ("421 4.7.0 Try again later; 500 messages in 24 hours", None),
            ("421 4.7.0 Try again later: 500 messages in 24 hours", None),
            ("421 4.7.0 Try again later. 24 hours are the limit", None),
            ("451 4.7.1 Greylisted, please try again later (first seen 3 hours ago)", None),
            ("451 4.7.1 Too fast. Try again in 5 minutes.", Some(300)),
            ("451 4.7.1 Greylisted (please try again in 5 minutes)", Some(300)),
            ("451 4.7.1 Greylisted (retry after 5 minutes)", Some(300)),
            ("451 4.7.1 Retry-After: 30 seconds", Some(30)),
            ("451 4.7.1 Try again in: 5 min.", Some(300)),
            ("450", None),
            ("", None),
        ];
        for (said, expected) in cases {
            assert_eq!(found(said), expected, "{said}");
        }
    }

    /// A relay named the time at which its limit ends, and was asked after an hour, again and again.
    #[test]
    fn a_date_to_come_is_a_pause_until_then() {
        let hour = 3600;
        let cases = [
            // As Mailgun says it.
            ("limit exceeded, try again after Sat, 28 Nov 2026 12:00:31 UTC", Some(32)),
            ("limit exceeded, try again after Sat, 28 Nov 2026 13:00:00 GMT", Some(hour + 1)),
            ("try again after Sat, 28 Nov 2026 13:00:00 GMT.", Some(hour + 1)),
            ("(retry at 28 Nov 2026 14:00:00 +0100)", Some(hour + 1)),
            ("try again after 28 Nov 2026 13:00 UTC", Some(hour + 1)),
            ("try again after Sat, 28 Nov 2026 13:00:00", Some(hour + 1)),
            ("try again after Sat, 28 Nov 2026 13:00:00 or ask us", Some(hour + 1)),
            ("try again after Sat, 28 Nov 2026 08:00:00 EST", Some(hour + 1)),
            ("try again after Sat, 28 Nov 2026 13:00:00 WAT", Some(hour + 1)),
            // A wrong day of the week is no reason to ask sooner.
            ("try again after Sun, 28 Nov 2026 13:00:00 GMT", Some(hour + 1)),
            ("Please try again after 2026-11-28T13:00:00Z", Some(hour + 1)),
            ("try again after 2026-11-28T13:00:00.250Z.", Some(hour + 1)),
            ("blocked until 2026-11-28T14:00:00+01:00, it says", Some(hour + 1)),
            ("blocked until 2026-11-28 14:00:00 +0100", Some(hour + 1)),
            ("quota resets at 2026-11-28 13:00:00 UTC", Some(hour + 1)),
            ("quota resets at 2026-11-28 13:00 (UTC)", Some(hour + 1)),
            ("quota resets on 2026-11-28T13:00:00", Some(hour + 1)),
            ("Retry-After: 2026-11-28T13:00:00Z", Some(hour + 1)),
            ("next try at [2026-11-28T13:00:00Z]", Some(hour + 1)),
            ("try again after 2026-11-29", Some(12 * hour + 1)),
            // After a day it is asked again, whatever it has said.
            ("try again after 2026-12-01T00:00:00Z", Some(24 * hour)),
            ("try again after Tue, 29 Dec 2026 11:00:00 GMT", Some(24 * hour)),
            // Too far away, past, or no date.
            ("try again after Tue, 29 Dec 2026 13:00:00 GMT", None),
            ("try again after 9999-12-31T23:59:59Z", None),
            ("try again after Sat, 28 Nov 2026 11:59:59 GMT", None),
            ("try again after 2026-11-28T12:00:00Z", None),
            ("try again after 2026-11-27", None),
            ("try again after Sat, 31 Nov 2026 13:00:00 GMT", None),
            ("try again after 2026-13-28T13:00:00Z", None),
            ("try again after 28 Nov", None),
            ("try again after Sat, ", None),
            ("try again after 20261129", None),
            ("try again after 12-1", None),
            // What has another meaning.
            ("limit of 2026-11-28T13:00:00Z exceeded", None),
            ("try again later. First seen at 2026-11-28T13:00:00Z", None),
            ("try again later (message of 2026-11-28T13:00:00Z)", None),
            ("again: message of Sat, 28 Nov 2026 with the date 2026-11-28T13:00:00Z", None),
        ];
        for (said, expected) in cases {
            assert_eq!(found(&format!("421 {said}")), expected, "{said}");
        }
    }
}
