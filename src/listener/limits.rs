//! The limits of the listener: the number of sessions in all and for each user, the messages of a user in a minute,
//! and the memory for header sections.
//!
//! Promises:
//! 1. A [`Permit`] counts one session. Dropping it ends the count, however the session ended.
//! 2. The rate of a user is a token bucket: a burst of the messages of a whole minute, then an even flow. The bucket
//!    outlives the sessions of the user, so a new connection does not refill it; neither does a reload that keeps the
//!    rate.
//! 3. Memory is bounded: a user without a session and with a full bucket is forgotten.
//! 4. No ordinary user has more sessions than places are free: one user can get half of all places, a second one half
//!    of the rest, and so on, so that a place is always free for another user. One place in twenty is reserved for
//!    root and the daemon's own user. The pick-up needs no place.
//! 5. The memory for header sections is shared in the same way (`limits/header_memory.rs`).
//!
//! The kernel is asked for the user of a loopback TCP client after the client has a place (`owner.rs`). A client whose user is
//! unknown is limited by the number of all sessions alone. Root and the daemon's own user have neither a share nor a rate over
//! TCP, where they may pass on the connections of others.
//!
//! Fails: the session gets 421 or the message 451, and nothing is queued. Time is an argument.

mod bucket;
mod header_memory;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::config;
use crate::listener::peer::{LocalPeer, is_ordinary};
use bucket::Bucket;
use header_memory::HeaderMemory;

pub use header_memory::HeaderRoom;

/// The number of users that are remembered before those without need are forgotten.
const REMEMBERED_USERS: usize = 256;

/// The file descriptors that are reserved for the spool, the relay, the control socket and everything else.
const KEPT_DESCRIPTORS: u64 = 256;

/// Returns the number of sessions for which `descriptors` are enough. A session needs one for its connection, and one
/// for a file while a large message arrives, or before the first message for the look-up of its process (`process.rs`). What
/// the few threads keep that read of a process is within [`KEPT_DESCRIPTORS`].
pub fn sessions_within(descriptors: u64) -> usize {
    let left = descriptors.saturating_sub(KEPT_DESCRIPTORS).max(descriptors / 4);
    usize::try_from(left / 2).unwrap_or(usize::MAX).max(1)
}

/// The configured limits. Zero never means "no limit".
#[derive(Clone, Copy, Debug)]
struct Allowed {
    sessions: usize,
    sessions_per_uid: usize,
    messages_per_minute: Option<u32>,
}

impl Allowed {
    fn by(listen: &config::ListenConfig) -> Self {
        Allowed {
            sessions: listen.max_sessions,
            sessions_per_uid: listen.max_sessions_per_uid,
            messages_per_minute: listen.max_messages_per_minute_per_uid,
        }
    }

    /// Returns the number of places for users other than root and the daemon's own.
    fn for_ordinary(&self) -> usize {
        self.sessions - self.sessions / 20
    }

    fn bucket(&self, now: Instant) -> Option<Bucket> {
        self.messages_per_minute.map(|per_minute| Bucket::full(per_minute, now))
    }
}

/// The state that is remembered about one user.
#[derive(Debug)]
struct User {
    sessions: usize,
    bucket: Option<Bucket>,
}

impl User {
    fn is_worth_remembering(&self, allowed: &Allowed, now: Instant) -> bool {
        let spent =
            |bucket: &Bucket| !allowed.messages_per_minute.is_none_or(|rate| bucket.is_full(rate, now));
        self.sessions > 0 || self.bucket.as_ref().is_some_and(spent)
    }
}

#[derive(Debug)]
struct LimitsState {
    allowed: Allowed,
    sessions: usize,
    users: HashMap<u32, User>,
}

impl LimitsState {
    fn user(&mut self, uid: u32, now: Instant) -> &mut User {
        let allowed = self.allowed;
        if self.users.len() >= REMEMBERED_USERS {
            self.users.retain(|_, user| user.is_worth_remembering(&allowed, now));
        }
        self.users.entry(uid).or_insert_with(|| User { sessions: 0, bucket: allowed.bucket(now) })
    }

    /// Counts one more session for this user, while `places_left` places are free.
    fn seat(&mut self, uid: u32, places_left: usize, now: Instant) -> Result<(), Overload> {
        let most = self.allowed.sessions_per_uid;
        let user = self.user(uid, now);
        if user.sessions >= most || is_ordinary(uid) && user.sessions > places_left {
            return Err(Overload::UserSessions);
        }
        user.sessions += 1;
        Ok(())
    }
}

/// The reason why a session is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overload {
    /// There are as many sessions as are allowed in all.
    Sessions,
    /// There are as many sessions as this user may have.
    UserSessions,
}

/// The limits, and how much of them is used. All listeners share one value.
#[derive(Debug)]
pub struct Limits {
    state: Mutex<LimitsState>,
    headers: Arc<HeaderMemory>,
}

impl Limits {
    /// Returns the limits that `listen` sets, with nothing used.
    pub fn new(listen: &config::ListenConfig) -> Arc<Self> {
        let state = LimitsState { allowed: Allowed::by(listen), sessions: 0, users: HashMap::new() };
        Arc::new(Limits { state: Mutex::new(state), headers: Arc::default() })
    }

    /// Replaces the limits. Running sessions are not affected.
    pub fn change(&self, listen: &config::ListenConfig) {
        let mut state = self.state();
        let before = std::mem::replace(&mut state.allowed, Allowed::by(listen));
        if state.allowed.messages_per_minute != before.messages_per_minute {
            // A bucket of another size cannot be carried over.
            state.users.values_mut().for_each(|user| user.bucket = None);
        }
    }

    /// Counts a session of `peer`; an error if it is one too many.
    pub fn admit(self: &Arc<Self>, peer: LocalPeer, now: Instant) -> Result<Permit, Overload> {
        let mut state = self.state();
        // For a TCP client, `Permit::seat` checks later whether it may have one of the last places.
        let places = match peer.uid() {
            Some(uid) if is_ordinary(uid) => state.allowed.for_ordinary(),
            _ => state.allowed.sessions,
        };
        let Some(left) = places.checked_sub(state.sessions).filter(|left| *left > 0) else {
            return Err(Overload::Sessions);
        };
        if let Some(uid) = peer.uid() {
            state.seat(uid, left, now)?;
        }
        state.sessions += 1;
        Ok(Permit { limits: Arc::clone(self), peer, seated: peer.uid() })
    }

    /// Counts a session of the pick-up, which has one at a time and always gets a place.
    pub fn admit_pickup(self: &Arc<Self>, peer: LocalPeer) -> Permit {
        self.state().sessions += 1;
        Permit { limits: Arc::clone(self), peer, seated: None }
    }

    /// Returns the number of sessions at present.
    pub fn sessions(&self) -> usize {
        self.state().sessions
    }

    fn state(&self) -> MutexGuard<'_, LimitsState> {
        // No code under this lock can panic and leave the state inconsistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that is counted.
#[derive(Debug)]
pub struct Permit {
    limits: Arc<Limits>,
    peer: LocalPeer,
    /// The user among whose sessions it is counted; over TCP it is an ordinary one.
    seated: Option<u32>,
}

impl Permit {
    /// Returns the client of the session.
    pub fn peer(&self) -> LocalPeer {
        self.peer
    }

    /// Counts a session over TCP among those of `owner`, the user as far as the kernel knows it; an error if it is
    /// one too many.
    pub fn seat(&mut self, owner: Option<u32>, now: Instant) -> Result<(), Overload> {
        self.peer = self.peer.owned_by(owner);
        let mut state = self.limits.state();
        // The session itself is counted already.
        let others = state.sessions.saturating_sub(1);
        let is_ours = owner.is_some_and(|uid| !is_ordinary(uid));
        let places = if is_ours { state.allowed.sessions } else { state.allowed.for_ordinary() };
        let left = places.saturating_sub(others);
        if left == 0 {
            return Err(Overload::Sessions);
        }
        if let Some(uid) = owner.filter(|uid| is_ordinary(*uid)) {
            state.seat(uid, left, now)?;
            drop(state);
            self.seated = owner;
        }
        Ok(())
    }

    /// Returns the memory account for the header section of a message, which is empty at first.
    pub fn header(&self) -> HeaderRoom {
        HeaderRoom::new(Arc::clone(&self.limits.headers), self.peer.user())
    }

    /// Counts a message of this user, over the socket and TCP together. Returns `false` if the rate does not allow it.
    pub fn take_message(&self, now: Instant) -> bool {
        let Some(uid) = self.peer.uid().or(self.seated) else { return true };
        let mut state = self.limits.state();
        let allowed = state.allowed;
        let Some(per_minute) = allowed.messages_per_minute else { return true };
        let user = state.user(uid, now);
        user.bucket.get_or_insert(Bucket::full(per_minute, now)).take(per_minute, now)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.limits.state();
        state.sessions -= 1;
        if let Some(user) = self.seated.and_then(|uid| state.users.get_mut(&uid)) {
            user.sessions -= 1;
        }
    }
}

#[cfg(test)]
mod tests;
