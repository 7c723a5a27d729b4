//! Flickering: a relay that is paused and usable again, over and over, such as one that refuses every second
//! connection.
//!
//! Promises: of pauses that follow each other closely, the first [`TOLD`] and their ends are logged one by one; the
//! others are counted, and logged in one line a minute. A pause that goes on is logged, however many came before it, and
//! again after 1 s, 2 s … 5 min, however short its probes are.
//! After a quiet minute, pauses are logged one by one again.
//!
//! Pure. Not here: what a pause is (`breaker.rs`), the lines (`log/relay.rs`).

use std::time::Duration;

use jiff::Timestamp;

use super::clock::later;

/// The number of pauses that are logged one by one.
const TOLD: u32 = 3;
const PERIOD: Duration = Duration::from_secs(60);

/// The first and the longest time between two lines about one pause.
const FIRST_SILENCE: Duration = Duration::from_secs(1);
const LONGEST_SILENCE: Duration = Duration::from_secs(300);
/// The share of the time that must have passed, since a probe may be early by its spread.
const EARLY: f64 = 0.7;

/// The pauses of one relay that follow each other closely.
#[derive(Debug, Default)]
pub(super) struct Flickers {
    /// The end of the minute in which pauses are counted; `None` if there was no pause for a minute.
    until: Option<Timestamp>,
    told: u32,
    untold: u32,
    /// True if the present pause is one of those that were not logged.
    is_untold: bool,
    /// The time before which no line says again that the pause goes on, and the time between that line and the next.
    silent_until: Option<Timestamp>,
    silence: Duration,
}

impl Flickers {
    /// Takes in that the relay is paused. Returns whether that is to be logged.
    pub(super) fn begins(&mut self, now: Timestamp) -> bool {
        self.silence = FIRST_SILENCE;
        self.silent_until = Some(later(now, self.silence.mul_f64(EARLY)));
        self.until.get_or_insert_with(|| later(now, PERIOD));
        if self.told < TOLD {
            self.told += 1;
            return true;
        }
        self.untold += 1;
        self.is_untold = true;
        false
    }

    /// Takes in that the pause goes on. Returns whether its beginning was not logged, and is to be logged now.
    pub(super) fn goes_on(&mut self) -> bool {
        let was_untold = std::mem::take(&mut self.is_untold);
        self.untold -= u32::from(was_untold && self.untold > 0);
        was_untold
    }

    /// Returns whether it is time for another line that the pause goes on.
    pub(super) fn is_to_be_repeated(&mut self, now: Timestamp) -> bool {
        if self.silent_until.is_some_and(|until| now < until) {
            return false;
        }
        self.silence = (self.silence * 2).clamp(FIRST_SILENCE, LONGEST_SILENCE);
        self.silent_until = Some(later(now, self.silence.mul_f64(EARLY)));
        true
    }

    /// Takes in that the pause is over. Returns whether that is to be logged.
    pub(super) fn ends(&mut self) -> bool {
        !std::mem::take(&mut self.is_untold)
    }

    /// Returns the number of pauses that were not logged, when their minute is over.
    pub(super) fn counted(&mut self, now: Timestamp) -> Option<u32> {
        self.until.filter(|until| now >= *until)?;
        let untold = std::mem::take(&mut self.untold);
        if untold == 0 {
            (self.until, self.told) = (None, 0);
            return None;
        }
        self.until = Some(later(now, PERIOD));
        Some(untold)
    }

    /// Returns when [`Flickers::counted`] has something to return.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.until.filter(|_| self.untold > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn a_few_are_told_and_the_others_counted_once_a_minute() {
        let mut flickers = Flickers::default();
        let (mut told, mut counted) = (0, Vec::new());
        for second in 0..300 {
            counted.extend(flickers.counted(at(second)));
            let begins = flickers.begins(at(second));
            assert_eq!(flickers.ends(), begins, "both lines or none");
            told += u32::from(begins);
        }
        assert_eq!((told, counted), (TOLD, vec![57, 60, 60, 60]));
        assert_eq!(flickers.due(), Some(at(300)));
        assert_eq!(flickers.counted(at(300)), Some(60));
        assert_eq!((flickers.counted(at(360)), flickers.due()), (None, None));
        assert!(flickers.begins(at(361)), "after a quiet minute it is told anew");
    }

    /// A relay that is away is probed every eight seconds, and an outage of a day would have made ten thousand lines.
    #[test]
    fn a_pause_that_goes_on_is_repeated_ever_less_often() {
        let mut flickers = Flickers::default();
        flickers.begins(at(0));
        let told: Vec<i64> = (1..86_400 / 8)
            .map(|probe| probe * 8)
            .filter(|second| flickers.is_to_be_repeated(at(*second)))
            .collect();
        assert_eq!(told[..6], [8, 16, 24, 32, 48, 72]);
        assert!(told.len() < 86_400 / 200, "{}", told.len());
        flickers.begins(at(86_400));
        assert!(flickers.is_to_be_repeated(at(86_401)), "each pause has its own");
    }

    #[test]
    fn a_pause_that_goes_on_is_told() {
        let mut flickers = Flickers::default();
        for _ in 0..TOLD {
            assert!(flickers.begins(at(0)) && !flickers.goes_on() && flickers.ends());
        }
        assert!(!flickers.begins(at(1)));
        assert!(flickers.goes_on() && !flickers.goes_on());
        assert!(flickers.ends());
        assert_eq!(flickers.counted(at(60)), None, "none is untold");
    }
}
