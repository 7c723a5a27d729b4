//! The episodes of alarms: one from the look that meets a condition until it has not been met for a while.
//!
//! Times are given twice: by a clock that only goes on, for what has to last, and by the time of day, for what is shown.

use std::time::Duration;

use jiff::Timestamp;

use super::condition::AlarmCondition;
use super::facts::AlarmFacts;

/// The time for which a condition must not have been met before its episode is over.
pub const QUIET_FOR: Duration = Duration::from_secs(60);

/// What has become of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmState {
    /// Its episode has begun.
    Began,
    /// Its episode goes on, and it is time to tell it again.
    GoesOn,
    /// Its episode is over.
    Ended,
}

impl AlarmState {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            AlarmState::Began => "began",
            AlarmState::GoesOn => "goes-on",
            AlarmState::Ended => "ended",
        }
    }
}

/// What is to be told of an alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmNews {
    /// The place of its condition among those that are watched.
    pub place: usize,
    /// What has become of it.
    pub state: AlarmState,
    /// What is so, in words; at the end of an episode, what was so last.
    pub why: String,
    /// The time at which the episode began.
    pub since: Timestamp,
}

/// An alarm whose episode goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OngoingAlarm {
    /// The text of its condition.
    pub when: String,
    /// What is so, in words.
    pub why: String,
    /// The time at which the episode began.
    pub since: Timestamp,
}

/// The episodes of the conditions that are watched.
#[derive(Debug, Default)]
pub struct AlarmEpisodes {
    watched: Vec<WatchedCondition>,
}

#[derive(Debug)]
struct WatchedCondition {
    condition: AlarmCondition,
    again_after: Option<Duration>,
    episode: Option<Episode>,
}

/// An episode that goes on. Its durations are times of the clock that only goes on.
#[derive(Debug)]
struct Episode {
    why: String,
    since: Timestamp,
    last_met: Duration,
    last_told: Duration,
}

impl AlarmEpisodes {
    /// Watches these conditions from now on, each with the time after which it is told again. The episode of one that was
    /// watched before goes on.
    pub fn watch(&mut self, conditions: impl IntoIterator<Item = (AlarmCondition, Option<Duration>)>) {
        let mut before = std::mem::take(&mut self.watched);
        let watched = conditions.into_iter().map(|(condition, again_after)| {
            let known = before.iter_mut().find(|known| known.condition == condition);
            let episode = known.and_then(|known| known.episode.take());
            WatchedCondition { condition, again_after, episode }
        });
        self.watched = watched.collect();
    }

    /// Looks at the facts as of `now`, and returns what is to be told.
    pub fn look(&mut self, facts: &AlarmFacts, now: Duration, time: Timestamp) -> Vec<AlarmNews> {
        let news = self.watched.iter_mut().enumerate().filter_map(|(place, watched)| {
            let (state, why, since) = watched.look(facts, now, time)?;
            Some(AlarmNews { place, state, why, since })
        });
        news.collect()
    }

    /// Returns the alarms whose episodes go on.
    pub fn ongoing(&self) -> Vec<OngoingAlarm> {
        let ongoing = self.watched.iter().filter_map(|watched| {
            let Episode { why, since, .. } = watched.episode.as_ref()?;
            Some(OngoingAlarm { when: watched.condition.text.clone(), why: why.clone(), since: *since })
        });
        ongoing.collect()
    }
}

impl WatchedCondition {
    fn look(
        &mut self,
        facts: &AlarmFacts,
        now: Duration,
        time: Timestamp,
    ) -> Option<(AlarmState, String, Timestamp)> {
        match (self.condition.test.met(facts), &mut self.episode) {
            (None, None) => None,
            (Some(why), None) => {
                let episode = Episode { why: why.clone(), since: time, last_met: now, last_told: now };
                self.episode = Some(episode);
                Some((AlarmState::Began, why, time))
            }
            (Some(why), Some(episode)) => {
                (episode.why, episode.last_met) = (why, now);
                let is_due = self.again_after.is_some_and(|after| now - episode.last_told >= after);
                is_due.then(|| {
                    episode.last_told = now;
                    (AlarmState::GoesOn, episode.why.clone(), episode.since)
                })
            }
            (None, Some(episode)) if now - episode.last_met < QUIET_FOR => None,
            (None, Some(_)) => {
                self.episode.take().map(|episode| (AlarmState::Ended, episode.why, episode.since))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::condition::AlarmTest;
    use super::*;

    fn dead(most: u64) -> AlarmCondition {
        AlarmCondition { text: format!("dead > {most}"), test: AlarmTest::DeadOver(most) }
    }

    fn facts(dead: u64) -> AlarmFacts {
        AlarmFacts { dead, ..AlarmFacts::default() }
    }

    fn at(second: u64) -> (Duration, Timestamp) {
        (Duration::from_secs(second), Timestamp::from_second(1_000_000 + second as i64).unwrap())
    }

    /// Looks every second from `seconds` on, and returns what was told, each with its second.
    fn told(
        episodes: &mut AlarmEpisodes,
        seconds: std::ops::Range<u64>,
        dead: impl Fn(u64) -> u64,
    ) -> Vec<(u64, AlarmState)> {
        let told = seconds.flat_map(|second| {
            let (now, time) = at(second);
            let news = episodes.look(&facts(dead(second)), now, time);
            news.into_iter().map(move |news| (second, news.state)).collect::<Vec<_>>()
        });
        told.collect()
    }

    #[test]
    fn an_episode_is_told_once_and_its_end_once() {
        let mut episodes = AlarmEpisodes::default();
        episodes.watch([(dead(0), None)]);
        let told = told(&mut episodes, 0..1000, |second| u64::from((100..500).contains(&second)));
        // It was met last at second 499.
        assert_eq!(told, [(100, AlarmState::Began), (559, AlarmState::Ended)]);
    }

    #[test]
    fn a_value_that_wavers_about_its_bound_makes_one_episode() {
        let mut episodes = AlarmEpisodes::default();
        episodes.watch([(dead(0), None)]);
        assert_eq!(told(&mut episodes, 0..10_000, |second| second / 50 % 2), [(50, AlarmState::Began)]);
    }

    #[test]
    fn an_episode_that_goes_on_is_told_again_where_that_is_wanted() {
        let mut episodes = AlarmEpisodes::default();
        episodes.watch([(dead(0), Some(Duration::from_secs(300)))]);
        let told = told(&mut episodes, 0..1000, |second| u64::from(second < 650));
        let expected = [
            (0, AlarmState::Began),
            (300, AlarmState::GoesOn),
            (600, AlarmState::GoesOn),
            (709, AlarmState::Ended),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn an_episode_goes_on_over_a_reload_and_is_listed_with_its_newest_words() {
        let mut episodes = AlarmEpisodes::default();
        episodes.watch([(dead(5), None), (dead(0), None)]);
        let (now, time) = at(7);
        assert_eq!(episodes.look(&facts(1), now, time).len(), 1);
        episodes.watch([(dead(0), Some(Duration::from_secs(9)))]);
        let (now, _) = at(8);
        assert_eq!(episodes.look(&facts(2), now, time), [], "it has been told");
        let [OngoingAlarm { when, why, since }] = &episodes.ongoing()[..] else { panic!("{episodes:?}") };
        assert!(when == "dead > 0" && why.starts_with("2 dead messages") && *since == time);
        episodes.watch([]);
        assert_eq!(episodes.ongoing(), []);
    }
}
