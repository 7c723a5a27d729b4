//! Answers about users, kept for a while. Time is an argument.
//!
//! Promises: an answer holds for [`KEPT_FOR`], that there is no such user as well; there are [`MOST`] at once; a user
//! whose name was known keeps it while the name service does not answer.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::message::rewrite::LocalUser;

/// How long an answer holds.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// So many answers are kept at once.
const MOST: usize = 1000;

/// What is known of users.
#[derive(Debug, Default)]
pub(super) struct Known {
    answers: HashMap<u32, Answer>,
    /// The name service left the last question open.
    is_silent: bool,
}

#[derive(Debug)]
struct Answer {
    /// `None`: there is no such user, or nobody could say.
    user: Option<LocalUser>,
    until: Instant,
}

impl Known {
    /// The answer about `uid`: a user, or `Some(None)` for no name. `None`: it has to be asked for.
    pub(super) fn answer(&self, uid: u32, now: Instant) -> Option<Option<LocalUser>> {
        let answer = self.answers.get(&uid).filter(|answer| now < answer.until)?;
        Some(answer.user.clone())
    }

    /// Keeps what the name service has said of `uid`.
    pub(super) fn learn(&mut self, uid: u32, user: Option<LocalUser>, now: Instant) {
        self.is_silent = false;
        self.keep(uid, user, now);
    }

    /// Notes that `uid` could not be asked about, so that it is not asked again at once; who it was before.
    pub(super) fn unanswered(&mut self, uid: u32, now: Instant) -> Option<LocalUser> {
        let before = self.answers.remove(&uid).and_then(|answer| answer.user);
        self.keep(uid, before.clone(), now);
        before
    }

    /// Notes that the name service does not answer; whether that is news.
    pub(super) fn is_newly_silent(&mut self) -> bool {
        !std::mem::replace(&mut self.is_silent, true)
    }

    fn keep(&mut self, uid: u32, user: Option<LocalUser>, now: Instant) {
        if self.answers.len() >= MOST && !self.answers.contains_key(&uid) {
            self.make_room(now);
        }
        self.answers.insert(uid, Answer { user, until: now + KEPT_FOR });
    }

    fn make_room(&mut self, now: Instant) {
        self.answers.retain(|_, answer| now < answer.until);
        if self.answers.len() >= MOST {
            let oldest = self.answers.iter().min_by_key(|(_, answer)| answer.until).map(|(uid, _)| *uid);
            oldest.and_then(|uid| self.answers.remove(&uid));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> Option<LocalUser> {
        Some(LocalUser::new("ann", b"Ann Example"))
    }

    #[test]
    fn an_answer_holds_for_a_minute() {
        let (mut known, start) = (Known::default(), Instant::now());
        assert_eq!(known.answer(1000, start), None, "to be asked for");
        known.learn(1000, ann(), start);
        known.learn(1001, None, start);
        let almost = start + KEPT_FOR - Duration::from_nanos(1);
        assert_eq!((known.answer(1000, almost), known.answer(1001, almost)), (Some(ann()), Some(None)));
        let over = start + KEPT_FOR;
        assert_eq!((known.answer(1000, over), known.answer(1001, over)), (None, None));
    }

    #[test]
    fn a_known_user_keeps_the_name_while_nobody_answers() {
        let (mut known, start) = (Known::default(), Instant::now());
        known.learn(1000, ann(), start);
        let later = start + 2 * KEPT_FOR;
        assert_eq!((known.unanswered(1000, later), known.unanswered(1001, later)), (ann(), None));
        assert_eq!((known.answer(1000, later), known.answer(1001, later)), (Some(ann()), Some(None)));
        assert_eq!(known.answer(1000, later + KEPT_FOR), None, "asked again");
    }

    #[test]
    fn a_silence_is_news_once() {
        let (mut known, now) = (Known::default(), Instant::now());
        assert!(known.is_newly_silent() && !known.is_newly_silent());
        known.learn(1000, None, now);
        assert!(known.is_newly_silent());
    }

    #[test]
    fn there_are_so_many_answers_at_once_and_the_oldest_goes_first() {
        let (mut known, start) = (Known::default(), Instant::now());
        let most = u32::try_from(MOST).unwrap();
        for uid in 0..most + 10 {
            known.learn(uid, None, start + Duration::from_nanos(uid.into()));
        }
        assert_eq!(known.answers.len(), MOST);
        let kept = |uid| known.answer(uid, start).is_some();
        assert!(!kept(9) && kept(10) && kept(most + 9));
        known.learn(0, None, start + 2 * KEPT_FOR);
        assert_eq!(known.answers.len(), 1, "those that hold no more go all at once");
    }
}
