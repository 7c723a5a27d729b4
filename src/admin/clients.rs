//! Limits the clients of the control socket, in all and for each user. Without these limits, one user with nine thousand
//! idle connections used up the file descriptors that mail needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::listener::peer::is_ordinary;

/// The most clients at once. The last [`KEPT`] slots are reserved for root and the user of the daemon.
pub(super) const MOST: usize = 64;
const KEPT: usize = 8;
/// The most clients at once of one ordinary user.
const MOST_OF_ONE: usize = 8;

/// The time between two requests of one ordinary user to have mail tried: each may cost the relay a connection.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// The number of clients of each user.
#[derive(Default)]
pub(super) struct ClientSlots {
    counts: Mutex<HashMap<u32, usize>>,
    /// When each ordinary user had mail tried last, within [`RETRY_INTERVAL`].
    retries: Mutex<HashMap<u32, Instant>>,
}

/// One client, counted until it is dropped.
pub(super) struct ClientSlot {
    among: Arc<ClientSlots>,
    uid: u32,
}

impl ClientSlots {
    /// Counts a new client of this user; `None` if there are too many.
    pub fn admit(self: &Arc<Self>, uid: u32) -> Option<ClientSlot> {
        let mut counts = self.counts();
        let all: usize = counts.values().sum();
        let (most, most_of_one) = if is_ordinary(uid) { (MOST - KEPT, MOST_OF_ONE) } else { (MOST, MOST) };
        let own = counts.entry(uid).or_default();
        if all >= most || *own >= most_of_one {
            return None;
        }
        *own += 1;
        Some(ClientSlot { among: Arc::clone(self), uid })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<u32, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSlot {
    /// Returns the uid of the client.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Returns whether the client may have mail tried now; the time until it may, if not. Whoever may counts from now on.
    pub fn may_retry(&self, now: Instant) -> Result<(), Duration> {
        if !is_ordinary(self.uid) {
            return Ok(());
        }
        let mut retries = self.among.retries.lock().unwrap_or_else(PoisonError::into_inner);
        retries.retain(|_, last| now.duration_since(*last) < RETRY_INTERVAL);
        match retries.get(&self.uid) {
            Some(last) => Err(RETRY_INTERVAL - now.duration_since(*last)),
            None => {
                retries.insert(self.uid, now);
                Ok(())
            }
        }
    }
}

impl Drop for ClientSlot {
    fn drop(&mut self) {
        let mut counts = self.among.counts();
        if let Some(own) = counts.get_mut(&self.uid) {
            *own -= 1;
        }
        counts.retain(|_, own| *own > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_user_has_mail_tried_once_a_minute() {
        let clients = Arc::new(ClientSlots::default());
        let (now, ann) = (Instant::now(), clients.admit(70_001).unwrap());
        assert_eq!(ann.may_retry(now), Ok(()));
        assert_eq!(ann.may_retry(now + Duration::from_secs(20)), Err(Duration::from_secs(40)));
        assert_eq!(ann.may_retry(now + Duration::from_secs(60)), Ok(()));
        let root = clients.admit(0).unwrap();
        assert_eq!([(); 3].map(|()| root.may_retry(now)), [Ok(()); 3]);
    }

    #[test]
    fn one_user_has_a_share_all_have_a_total_and_root_has_a_place() {
        let clients = Arc::new(ClientSlots::default());
        let admitted = |uid| std::iter::from_fn(|| clients.admit(uid)).collect::<Vec<_>>();
        let ann = admitted(70_001);
        assert_eq!(ann.len(), MOST_OF_ONE);
        let others: Vec<_> = (70_002..70_100).flat_map(admitted).collect();
        assert_eq!(ann.len() + others.len(), MOST - KEPT);
        assert_eq!(admitted(0).len(), KEPT);
        drop((ann, others));
        assert!(clients.counts().is_empty());
    }
}
