//! The pause of a relay in its note on the spool, so that a restart does not end it: there are blocks that each try prolongs.
//!
//! Promises: a pause for a quota, or for a time that the relay has named, goes on after a restart until its end, at most for
//! [`LONGEST`], wherever the clock was set meanwhile. A note that cannot be read has no pause: that costs one try. A pause
//! after which an operator must act is not noted, since who has acted may restart; nor is one that is only a guess.
//!
//! The note is the record of the rates (`rate.rs`), one more word for the pause, and two for its reason: the class, and what was
//! said, with every octet escaped that would end a word. Pure: time is an argument.

use std::time::Duration;

use jiff::Timestamp;

use super::clock::{Moment, later};
use crate::relay::{Cause, Trouble, WaitClass};

/// The longest pause that is taken from a note.
const LONGEST: Duration = Duration::from_secs(25 * 60 * 60);
/// The word before the second of the day at which the pause ends.
const PAUSED: &str = "paused";
/// The words before the class of the reason, and before what was said.
const CLASS: &str = "class";
const SAID: &str = "said";
/// Upper bound of the characters that are noted of what was said.
const MOST_SAID: usize = 500;
/// The whole note where there is nothing to remember: an empty one would be no note.
const NOTHING: &str = "-";

/// Returns the note of a relay with this record of its rates, and this end of its pause.
pub(super) fn noted(rates: String, paused_until: Option<Timestamp>, now: Moment) -> String {
    let second = paused_until.map(|until| now.time_of_day_at(until).as_second().saturating_add(1));
    let pause = second.map(|second| format!("{PAUSED}={second}"));
    let words: Vec<String> = [rates].into_iter().chain(pause).filter(|word| !word.is_empty()).collect();
    if words.is_empty() { NOTHING.to_owned() } else { words.join(" ") }
}

/// Returns the end of the pause, in the steady time, by this note; `None` if there is none, or if it is over.
pub(super) fn pause_in(note: &str, now: Moment) -> Option<Timestamp> {
    let words = note.split(' ').filter_map(|word| word.split_once('='));
    let (_, second) = words.into_iter().find(|(word, _)| *word == PAUSED)?;
    let until = Timestamp::from_second(second.parse().ok()?).ok()?;
    let left = Duration::try_from(until.duration_since(now.time_of_day)).ok()?;
    (!left.is_zero()).then(|| later(now.steady, left.min(LONGEST)))
}

/// Returns `note` with the reason for its pause.
pub(super) fn with_reason(note: &str, trouble: &Trouble) -> String {
    let (class, said) = match &trouble.cause {
        Cause::BeforeRestart { class, said } => (*class, said.clone()),
        Cause::Waits { reason, .. } => (Some(reason.class), trouble.without_class()),
        _ => (None, trouble.without_class()),
    };
    let class = class.map(|class| format!(" {CLASS}={class}")).unwrap_or_default();
    format!("{note}{class} {SAID}={}", escaped(&said))
}

/// Returns the reason that this note has for its pause; `None` if it has none.
pub(super) fn reason_in(note: &str) -> Option<Cause> {
    let words = || note.split(' ').filter_map(|word| word.split_once('='));
    let word = |name: &str| words().find(|(word, _)| *word == name).map(|(_, text)| text);
    let class = word(CLASS).and_then(WaitClass::named);
    Some(Cause::BeforeRestart { class, said: unescaped(word(SAID)?) })
}

/// Returns the start of `text` as one word.
fn escaped(text: &str) -> String {
    let mut word = String::new();
    for character in text.chars().take(MOST_SAID) {
        if character.is_whitespace() || character.is_control() || character == '%' {
            character.to_string().bytes().for_each(|octet| word.push_str(&format!("%{octet:02X}")));
        } else {
            word.push(character);
        }
    }
    word
}

fn unescaped(word: &str) -> String {
    let mut octets = Vec::with_capacity(word.len());
    let mut rest = word.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| first == b'%') {
            Some(octet) => {
                octets.push(octet);
                rest = &behind[2..];
            }
            None => {
                octets.push(first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn moment(steady: i64, time_of_day: i64) -> Moment {
        let at = |second| Timestamp::from_second(1_800_000_000 + second).unwrap();
        Moment { steady: at(steady), time_of_day: at(time_of_day) }
    }

    #[test]
    fn a_pause_is_read_as_it_was_noted_beside_the_rates() {
        let until = moment(3600, 0).steady;
        let note = noted("day=1 min=2".into(), Some(until), moment(0, 50));
        assert_eq!(note, "day=1 min=2 paused=1800003651");
        assert_eq!(pause_in(&note, moment(7, 50)), Some(moment(3608, 0).steady), "a second more at most");
        assert_eq!(pause_in(&note, moment(7, 3651)), None, "it is over");
        assert_eq!(noted(String::new(), None, moment(0, 0)), "-");
        assert_eq!(noted("day=1".into(), None, moment(0, 0)), "day=1");
    }

    #[test]
    fn the_reason_is_read_as_it_was_noted_and_noted_again_as_it_was_read() {
        let note = noted("day=1".into(), Some(moment(3600, 0).steady), moment(0, 0));
        for said in ["550 5.4.5 limit = 100 % of\ta\u{85}day, ü", "", "%41 %", &"ü ".repeat(MOST_SAID)] {
            for class in [Some(WaitClass::Quota), None] {
                let cause = Cause::BeforeRestart { class, said: said.into() };
                let trouble = Trouble { phase: crate::relay::Phase::Mail, peer: None, cause };
                let whole = with_reason(&note, &trouble);
                assert_eq!(whole.split(' ').count(), 3 + usize::from(class.is_some()), "{whole}");
                assert_eq!(pause_in(&whole, moment(0, 0)), pause_in(&note, moment(0, 0)));
                let Some(Cause::BeforeRestart { class: read, said: words }) = reason_in(&whole) else {
                    panic!("{whole}")
                };
                assert_eq!((read, words), (class, said.chars().take(MOST_SAID).collect()));
            }
        }
        assert!(reason_in(&note).is_none());
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_pause_longer_than_a_day_and_an_hour() {
        let note = noted(String::new(), Some(moment(3600, 0).steady), moment(0, 0));
        let day_and_hour = SignedDuration::from_hours(25);
        assert_eq!(pause_in(&note, moment(0, -9_000_000)), Some(moment(0, 0).steady + day_and_hour));
    }

    #[test]
    fn nonsense_is_no_pause() {
        for note in
            ["", "-", "paused", "paused=", "paused=x", "paused=-1", "paused=99999999999999999999", "day=5 =7"]
        {
            assert_eq!(pause_in(note, moment(0, 0)), None, "{note}");
        }
    }
}
