//! The alarms of the daemon: what is so is looked at every [`LOOK_EVERY`], and who does not look is told.
//!
//! Promises:
//! 1. Each alarm is in the journal and in `status`, whether or not anybody is told by a program or a page.
//! 2. An alarm is told by one program or post at a time, in the order of what became of it; what could not be told is tried
//!    again after [`RETRY_AFTER`], with the newest of it, the end of an episode [`END_TRIES`] times. Who has not heard of the
//!    beginning of an episode does not hear of its end.
//! 3. Nothing of mail waits for any of this, and a stop of the daemon ends it at once.
//!
//! A restart begins episodes anew, so that what is still so is told again.
//!
//! Not here: when an episode begins and ends (`alarm/episode.rs`), telling (`alarm_teller.rs`).

use std::pin::pin;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::alarm_facts::facts;
use super::alarm_message::AlarmMessage;
use super::alarm_settings::AlarmSettings;
use super::alarm_teller::tell;
use super::control::Control;
use super::heartbeat::beat;
use super::protocol::DaemonStatus;
use crate::alarm::{AlarmEpisodes, AlarmNews, AlarmState, OngoingAlarm};
use crate::config::{AlarmConfig, AlarmTeller, Families};
use crate::log::{self, AlarmLine};

/// The time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The time after which what could not be told is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(60);
/// The number of times that the end of an episode is tried to be told.
const END_TRIES: u32 = 10;

/// Looks, and tells, until the task is ended. `ongoing` says to those who ask which alarms go on.
pub async fn watch_over(
    control: Control,
    mut settings: watch::Receiver<AlarmSettings>,
    ongoing: watch::Sender<Vec<OngoingAlarm>>,
) {
    let begun = Instant::now();
    let mut heartbeat = pin!(beat(control.clone(), settings.clone()));
    let mut watched = WatchedAlarms::of(&settings.borrow_and_update());
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => {
                // A daemon that is stopping knows nothing any more.
                let Some(status) = control.figures().await else { continue };
                watched.look(&status, begun.elapsed(), Timestamp::now());
                ongoing.send_replace(watched.episodes.ongoing());
            }
            () = &mut heartbeat => return,
            Ok(()) = settings.changed() => watched.follow(&settings.borrow_and_update()),
        }
    }
}

/// The alarms that are watched, with their tellers.
struct WatchedAlarms {
    settings: AlarmSettings,
    episodes: AlarmEpisodes,
    /// The teller of each alarm, in the same order.
    tellers: Vec<Teller>,
}

impl WatchedAlarms {
    fn of(settings: &AlarmSettings) -> Self {
        let tellers = Vec::new();
        let mut alarms =
            WatchedAlarms { settings: settings.clone(), episodes: AlarmEpisodes::default(), tellers };
        alarms.follow(settings);
        alarms
    }

    /// Follows changed settings. An alarm that stays as it was goes on, and so does its teller.
    fn follow(&mut self, settings: &AlarmSettings) {
        let has_same_way = self.settings.families == settings.families;
        let known = self.settings.alarms.drain(..).zip(self.tellers.drain(..));
        let mut known: Vec<_> = known.filter(|_| has_same_way).collect();
        let teller = |alarm: &AlarmConfig| match known.iter().position(|(other, _)| other == alarm) {
            Some(place) => known.swap_remove(place).1,
            None => Teller::begin(alarm, settings.families),
        };
        self.tellers = settings.alarms.iter().map(teller).collect();
        self.episodes.watch(settings.alarms.iter().map(|alarm| (alarm.condition.clone(), alarm.again_after)));
        self.settings = settings.clone();
    }

    fn look(&mut self, status: &DaemonStatus, now: Duration, time: Timestamp) {
        for news in self.episodes.look(&facts(status, time), now, time) {
            // Each place is one of the settings in force.
            let (Some(alarm), Some(teller)) =
                (self.settings.alarms.get(news.place), self.tellers.get(news.place))
            else {
                continue;
            };
            let when = &alarm.condition.text;
            write_line(&news, when, alarm.condition.test.is_loss());
            teller.tell(AlarmMessage::of(&news, when, &self.settings.hostname, status), news.state);
        }
    }
}

fn write_line(news: &AlarmNews, when: &str, is_loss: bool) {
    let line = AlarmLine { when, why: &news.why, since: news.since };
    match news.state {
        AlarmState::Began if is_loss => log::alarm_of_loss(&line),
        AlarmState::Began => log::alarm_began(&line),
        AlarmState::GoesOn => log::alarm_goes_on(&line),
        AlarmState::Ended => log::alarm_ended(&line),
    }
}

/// The task that tells of one alarm; it ends with this.
struct Teller {
    news: watch::Sender<Option<(AlarmMessage, AlarmState)>>,
    _task: JoinSet<()>,
}

impl Teller {
    fn begin(alarm: &AlarmConfig, families: Families) -> Self {
        let ((news, told), mut task) = (watch::channel(None), JoinSet::new());
        if let Some(teller) = alarm.told.clone() {
            task.spawn(telling(teller, families, told));
        }
        Teller { news, _task: task }
    }

    fn tell(&self, message: AlarmMessage, state: AlarmState) {
        // Without a task nobody listens.
        self.news.send_replace(Some((message, state)));
    }
}

/// Tells what comes, until nothing more can come.
async fn telling(
    teller: AlarmTeller,
    families: Families,
    news: watch::Receiver<Option<(AlarmMessage, AlarmState)>>,
) {
    let tell = |message: AlarmMessage| {
        let teller = teller.clone();
        async move { tell(&teller, &message, families).await }
    };
    each_told(news, tell).await;
}

/// Does that with `tell`.
async fn each_told<T: Future<Output = Result<(), String>>>(
    mut news: watch::Receiver<Option<(AlarmMessage, AlarmState)>>,
    tell: impl Fn(AlarmMessage) -> T,
) {
    let mut is_known = false;
    while news.changed().await.is_ok() {
        let mut tries = 0;
        loop {
            let Some((message, state)) = news.borrow_and_update().clone() else { break };
            let is_end = state == AlarmState::Ended;
            if is_end && !is_known {
                break;
            }
            tries += 1;
            let when = message.alarm.clone();
            match tell(message).await {
                Ok(()) => {
                    is_known = !is_end;
                    break;
                }
                Err(why) => log::alarm_not_told(&when, &why),
            }
            if is_end && tries >= END_TRIES {
                is_known = false;
                break;
            }
            tokio::select! {
                () = sleep(RETRY_AFTER) => {}
                changed = news.changed() => match changed {
                    Ok(()) => tries = 0,
                    Err(_) => return,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn news(state: AlarmState) -> Option<(AlarmMessage, AlarmState)> {
        let news = AlarmNews { place: 0, state, why: "old".into(), since: Timestamp::UNIX_EPOCH };
        Some((AlarmMessage::of(&news, "oldest > 1m", "web1.example", &DaemonStatus::default()), state))
    }

    /// A teller that fails so many times first, and what it was given.
    struct Rig {
        send: watch::Sender<Option<(AlarmMessage, AlarmState)>>,
        told: Arc<Mutex<Vec<&'static str>>>,
        _task: JoinSet<()>,
    }

    impl Rig {
        fn new(failures: usize) -> Self {
            let ((send, receive), mut task) = (watch::channel(None), JoinSet::new());
            let told = Arc::new(Mutex::new(Vec::new()));
            let seen = Arc::clone(&told);
            task.spawn(each_told(receive, move |message| {
                let mut seen = seen.lock().unwrap();
                seen.push(message.state);
                let is_late = seen.len() > failures;
                async move { if is_late { Ok(()) } else { Err("no".into()) } }
            }));
            Rig { send, told, _task: task }
        }

        /// Gives news, waits for so many seconds, and returns what was told since the beginning.
        async fn after(&self, state: AlarmState, seconds: u64) -> Vec<&'static str> {
            self.send.send_replace(news(state));
            sleep(Duration::from_secs(seconds)).await;
            self.told.lock().unwrap().clone()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_episode_is_told_once_and_so_is_its_end() {
        let rig = Rig::new(0);
        assert_eq!(rig.after(AlarmState::Began, 1000).await, ["began"]);
        assert_eq!(rig.after(AlarmState::Ended, 1000).await, ["began", "ended"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_told_is_tried_again_each_minute() {
        let rig = Rig::new(2);
        assert_eq!(rig.after(AlarmState::Began, 59).await, ["began"]);
        assert_eq!(rig.after(AlarmState::Began, 59).await, ["began"; 2], "newer news are told at once");
        sleep(Duration::from_secs(1000)).await;
        assert_eq!(*rig.told.lock().unwrap(), ["began"; 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_not_heard_of_the_beginning_does_not_hear_of_the_end() {
        let rig = Rig::new(1);
        assert_eq!(rig.after(AlarmState::Began, 30).await, ["began"]);
        assert_eq!(rig.after(AlarmState::Ended, 1000).await, ["began"]);
        assert_eq!(rig.after(AlarmState::Began, 30).await, ["began", "began"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_is_given_up_after_some_tries() {
        let rig = Rig::new(0);
        rig.after(AlarmState::Began, 1).await;
        let failing = Rig::new(usize::MAX);
        assert_eq!(failing.after(AlarmState::Began, 3600).await.len(), 60, "it goes on, and so do the tries");
        assert_eq!(rig.after(AlarmState::Ended, 1).await, ["began", "ended"]);
    }
}
