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
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
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
        let mut known: Vec<_> = self.settings.alarms.drain(..).zip(self.tellers.drain(..)).collect();
        let teller = |alarm: &AlarmConfig| {
            let place = known.iter().position(|(other, _)| other.condition == alarm.condition);
            match place.map(|place| known.swap_remove(place)) {
                Some((same, teller)) if has_same_way && same == *alarm => teller,
                Some((_, before)) => Teller::in_place_of(before, alarm, settings.families),
                None => Teller::begin(alarm, settings.families, HeardOf::default()),
            }
        };
        self.tellers = settings.alarms.iter().map(teller).collect();
        let before = self.episodes.ongoing();
        self.episodes.watch(settings.alarms.iter().map(|alarm| (alarm.condition.clone(), alarm.again_after)));
        let now = self.episodes.ongoing();
        let dropped = before.iter().filter(|alarm| !now.contains(alarm));
        dropped.for_each(|alarm| log::alarm_dropped(&alarm.when));
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

/// Whether somebody has heard of the episode that goes on, and not of its end.
type HeardOf = Arc<AtomicBool>;

/// The task that tells of one alarm; it ends with this.
struct Teller {
    news: watch::Sender<Option<(AlarmMessage, AlarmState)>>,
    heard_of: HeardOf,
    _task: JoinSet<()>,
}

impl Teller {
    fn begin(alarm: &AlarmConfig, families: Families, heard_of: HeardOf) -> Self {
        let ((news, told), mut task) = (watch::channel(None), JoinSet::new());
        if let Some(teller) = alarm.told.clone() {
            task.spawn(telling(teller, families, told, Arc::clone(&heard_of)));
        }
        Teller { news, heard_of, _task: task }
    }

    /// Begins a teller that goes on where another one was: who has not heard of an episode that goes on does so now.
    fn in_place_of(before: Teller, alarm: &AlarmConfig, families: Families) -> Self {
        let (last, heard_of) = (before.news.borrow().clone(), Arc::clone(&before.heard_of));
        drop(before);
        let is_wanted = last.as_ref().is_some_and(|(_, state)| is_untold(*state, heard_of.load(Relaxed)));
        let teller = Teller::begin(alarm, families, heard_of);
        if is_wanted {
            teller.news.send_replace(last);
        } else {
            // For the next one who comes in this one's place; the task has nothing to tell.
            teller.news.send_if_modified(|news| {
                *news = last;
                false
            });
        }
        teller
    }

    fn tell(&self, message: AlarmMessage, state: AlarmState) {
        // Without a task nobody listens.
        self.news.send_replace(Some((message, state)));
    }
}

/// Returns whether the last news of an episode are still to be told: its beginning to who has not heard of it, its end to who has.
fn is_untold(last: AlarmState, is_known: bool) -> bool {
    match last {
        AlarmState::Began | AlarmState::GoesOn => !is_known,
        AlarmState::Ended => is_known,
    }
}

/// Tells what comes, until nothing more can come.
async fn telling(
    teller: AlarmTeller,
    families: Families,
    news: watch::Receiver<Option<(AlarmMessage, AlarmState)>>,
    heard_of: HeardOf,
) {
    let tell = |message: AlarmMessage| {
        let teller = teller.clone();
        async move { tell(&teller, &message, families).await }
    };
    each_told(news, &heard_of, tell).await;
}

/// Does that with `tell`.
async fn each_told<T: Future<Output = Result<(), String>>>(
    mut news: watch::Receiver<Option<(AlarmMessage, AlarmState)>>,
    heard_of: &AtomicBool,
    tell: impl Fn(AlarmMessage) -> T,
) {
    while news.changed().await.is_ok() {
        let mut tries = 0;
        loop {
            let Some((message, state)) = news.borrow_and_update().clone() else { break };
            let is_end = state == AlarmState::Ended;
            if is_end && !heard_of.load(Relaxed) {
                break;
            }
            tries += 1;
            let is_last = is_end && tries >= END_TRIES;
            let when = message.alarm.clone();
            match tell(message).await {
                Ok(()) => {
                    heard_of.store(!is_end, Relaxed);
                    break;
                }
                Err(why) => log::alarm_not_told(&when, &why, !is_last),
            }
            if is_last {
                heard_of.store(false, Relaxed);
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
    use std::sync::Mutex;

    use super::*;
    use crate::alarm::{AlarmCondition, AlarmTest};

    fn news(state: AlarmState) -> Option<(AlarmMessage, AlarmState)> {
        let news = AlarmNews { place: 0, state, why: "old".into(), since: Timestamp::UNIX_EPOCH };
        Some((AlarmMessage::of(&news, "oldest > 1m", "web1.example", &DaemonStatus::default()), state))
    }

    /// A teller of which certain tries fail, and what it was given.
    struct Rig {
        send: watch::Sender<Option<(AlarmMessage, AlarmState)>>,
        told: Arc<Mutex<Vec<&'static str>>>,
        _task: JoinSet<()>,
    }

    impl Rig {
        fn new(fails: impl Fn(usize) -> bool + Send + Sync + 'static) -> Self {
            let ((send, receive), mut task) = (watch::channel(None), JoinSet::new());
            let told = Arc::new(Mutex::new(Vec::new()));
            let seen = Arc::clone(&told);
            task.spawn(async move {
                let tell = |message: AlarmMessage| {
                    let mut seen = seen.lock().unwrap();
                    seen.push(message.state);
                    let has_failed = fails(seen.len());
                    async move { if has_failed { Err("no".into()) } else { Ok(()) } }
                };
                each_told(receive, &AtomicBool::new(false), tell).await;
            });
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
        let rig = Rig::new(|_| false);
        assert_eq!(rig.after(AlarmState::Began, 1000).await, ["began"]);
        assert_eq!(rig.after(AlarmState::Ended, 1000).await, ["began", "ended"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_told_is_tried_again_each_minute() {
        let rig = Rig::new(|tries| tries <= 2);
        assert_eq!(rig.after(AlarmState::Began, 59).await, ["began"]);
        assert_eq!(rig.after(AlarmState::Began, 59).await, ["began"; 2], "newer news are told at once");
        sleep(Duration::from_secs(1000)).await;
        assert_eq!(*rig.told.lock().unwrap(), ["began"; 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_not_heard_of_the_beginning_does_not_hear_of_the_end() {
        let rig = Rig::new(|tries| tries <= 1);
        assert_eq!(rig.after(AlarmState::Began, 30).await, ["began"]);
        assert_eq!(rig.after(AlarmState::Ended, 1000).await, ["began"]);
        assert_eq!(rig.after(AlarmState::Began, 30).await, ["began", "began"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_is_given_up_after_some_tries() {
        let rig = Rig::new(|tries| tries > 1);
        rig.after(AlarmState::Began, 1).await;
        let told = rig.after(AlarmState::Ended, 3600).await;
        assert_eq!(told, [vec!["began"], vec!["ended"; 10]].concat());
        let goes_on = Rig::new(|_| true);
        assert_eq!(
            goes_on.after(AlarmState::Began, 3600 - 1).await.len(),
            60,
            "it goes on, and so do the tries"
        );
    }

    /// A wrong address that was mended by a reload in the middle of an outage told nobody: the new teller waited for news.
    #[tokio::test]
    async fn who_takes_a_teller_s_place_tells_what_nobody_has_heard() {
        let condition = AlarmCondition { text: "dead > 0".into(), test: AlarmTest::DeadOver(0) };
        let alarm = AlarmConfig { condition, told: None, again_after: None };
        let families = Families::default();
        for (state, is_known, is_told) in [
            (AlarmState::Began, false, true),
            (AlarmState::GoesOn, true, false),
            (AlarmState::Ended, true, true),
            (AlarmState::Ended, false, false),
        ] {
            let before = Teller::begin(&alarm, families, Arc::new(AtomicBool::new(is_known)));
            before.news.send_replace(news(state));
            let after = Teller::in_place_of(before, &alarm, families);
            assert_eq!(after.news.borrow().as_ref().map(|(_, state)| *state), Some(state));
            assert_eq!(after.heard_of.load(Relaxed), is_known);
            assert_eq!(is_untold(state, is_known), is_told, "{state:?}, {is_known}");
        }
    }
}
