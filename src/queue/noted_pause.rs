//! The pause of a relay in its note on the spool, so that a restart does not end it: there are blocks that each try prolongs.
//!
//! Promises: a pause for a quota, or for a time that the relay has named, goes on after a restart until its end, at most for
//! [`LONGEST`], wherever the clock was set meanwhile. A note that cannot be read has no pause: that costs one try. A pause
//! after which an operator must act is not noted, since who has acted may restart; nor is one that is only a guess.
//!
//! The note is the record of the rates (`rate.rs`), and one more word for the pause. Pure: time is an argument.

use std::time::Duration;

use jiff::Timestamp;

use super::clock::{Moment, later};

/// The longest pause that is taken from a note.
const LONGEST: Duration = Duration::from_secs(25 * 60 * 60);
/// The word before the second of the day at which the pause ends.
const PAUSED: &str = "paused";
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
