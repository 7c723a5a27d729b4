//! The number of live messages of each user, by whom the index can say whether one has more than a fair share.
//!
//! Promises: a message takes two octets for its user, whatever the number of users. A user without a live message is
//! forgotten. Beyond [`MOST`] users at once, those that come later count as unknown.
//!
//! Not here: whose mail a message is (`envelope.rs`), the share of a user (`listener/intake.rs`).

use std::collections::HashMap;

/// The most users who have live messages and are told apart.
const MOST: usize = u16::MAX as usize;

/// The number by which the index knows the user of a message; 0 stands for no user that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UserNumber(u16);

/// The users who have live messages.
#[derive(Debug, Default)]
pub(super) struct LiveByUser {
    numbers: HashMap<u32, UserNumber>,
    /// The user of each number, from 1 on, with the number of live messages; numbers without a user are in `free`.
    users: Vec<(u32, u64)>,
    free: Vec<UserNumber>,
}

impl LiveByUser {
    /// Counts one more message of this user. Returns the number to count it out by.
    pub fn arrives(&mut self, uid: Option<u32>) -> UserNumber {
        let Some(number) = uid.and_then(|uid| self.number(uid)) else { return UserNumber::default() };
        if let Some((_, live)) = self.entry(number) {
            *live += 1;
        }
        number
    }

    /// Counts out a message of the user of this number.
    pub fn leaves(&mut self, number: UserNumber) {
        let Some((uid, live)) = self.entry(number) else { return };
        *live -= 1;
        if *live == 0 {
            let uid = *uid;
            self.numbers.remove(&uid);
            self.free.push(number);
        }
    }

    /// Returns the user of this number.
    pub fn uid(&self, number: UserNumber) -> Option<u32> {
        self.users.get(usize::from(number.0).checked_sub(1)?).map(|(uid, _)| *uid)
    }

    /// Returns the number of live messages of this user.
    pub fn live(&self, uid: u32) -> u64 {
        let place = self.numbers.get(&uid).map(|number| usize::from(number.0) - 1);
        place.and_then(|place| self.users.get(place)).map_or(0, |(_, live)| *live)
    }

    /// Returns the number of this user, a new one if there was none; `None` if there are no more.
    fn number(&mut self, uid: u32) -> Option<UserNumber> {
        if let Some(number) = self.numbers.get(&uid) {
            return Some(*number);
        }
        let number = match self.free.pop() {
            Some(number) => number,
            None if self.users.len() < MOST => {
                self.users.push((uid, 0));
                // There are no more than `MOST`.
                UserNumber(self.users.len() as u16)
            }
            None => return None,
        };
        self.users[usize::from(number.0) - 1] = (uid, 0);
        self.numbers.insert(uid, number);
        Some(number)
    }

    fn entry(&mut self, number: UserNumber) -> Option<&mut (u32, u64)> {
        self.users.get_mut(usize::from(number.0).checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_is_counted_and_forgotten_without_mail() {
        let mut users = LiveByUser::default();
        let [ann, more, bob] = [1000, 1000, 1001].map(|uid| users.arrives(Some(uid)));
        let unknown = users.arrives(None);
        assert_eq!((ann, users.live(1000), users.live(1001), users.live(0)), (more, 2, 1, 0));
        assert_eq!((users.uid(bob), users.uid(unknown)), (Some(1001), None));
        [ann, more, unknown].into_iter().for_each(|number| users.leaves(number));
        assert_eq!((users.live(1000), users.live(1001)), (0, 1));
        assert_eq!(users.arrives(Some(1002)), ann, "the number is used again");
        assert_eq!((users.uid(ann), users.numbers.len()), (Some(1002), 2));
    }

    #[test]
    fn users_beyond_the_last_number_are_unknown() {
        let mut users = LiveByUser::default();
        let most = u32::try_from(MOST).unwrap();
        for uid in 0..most {
            assert_ne!(users.arrives(Some(uid)), UserNumber::default());
        }
        assert_eq!((users.arrives(Some(most)), users.live(most)), (UserNumber::default(), 0));
        assert_eq!((users.uid(UserNumber(u16::MAX)), users.live(most - 1)), (Some(most - 1), 1));
    }
}
