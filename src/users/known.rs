//! A cache of answers about users. Time is an argument.
//!
//! Promises: an answer is valid for [`KEPT_FOR`], also the answer that there is no such user; there are at most [`MOST`]
//! answers; while the name service does not answer, a user keeps the name that was known before.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::message::rewrite::LocalUser;

/// Time for which an answer is valid.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// The most answers that are kept at once.
const MOST: usize = 1000;

/// The cached answers.
#[derive(Debug, Default)]
pub(super) struct Known {
    answers: HashMap<u32, Answer>,
    /// True if the name service did not answer the last lookup.
    is_silent: bool,
}

#[derive(Debug)]
struct Answer {
    /// The user; `None` if there is no such user, or the name service did not answer.
    user: Option<LocalUser>,
    until: Instant,
}

impl Known {
    /// Returns the cached answer about `uid`: a user, or `Some(None)` for no name. `None` means that there is no answer,
    /// and a lookup is needed.
    pub(super) fn answer(&self, uid: u32, now: Instant) -> Option<Option<LocalUser>> {
        let answer = self.answers.get(&uid).filter(|answer| now < answer.until)?;
        Some(answer.user.clone())
    }

    /// Stores the answer of the name service about `uid`.
    pub(super) fn learn(&mut self, uid: u32, user: Option<LocalUser>, now: Instant) {
        self.is_silent = false;
        self.keep(uid, user, now);
    }

    /// Notes that there was no answer about `uid`, so that the lookup is not repeated at once. Returns the user that was
    /// known before.
    pub(super) fn unanswered(&mut self, uid: u32, now: Instant) -> Option<LocalUser> {
        let before = self.answers.remove(&uid).and_then(|answer| answer.user);
        self.keep(uid, before.clone(), now);
        before
    }

    /// Notes that the name service does not answer. Returns whether it did so before.
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
