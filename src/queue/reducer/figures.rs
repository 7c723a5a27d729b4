//! What is said of the queue to those who ask, and what a client may have done.
//!
//! Not here: how it is shown (`admin/`).

use std::time::Duration;

use jiff::Timestamp;

use super::super::roster::Standing;
use super::super::{Listed, Status, TooSoon};
use super::Reducer;
use crate::log::HeldBack;
use crate::queue_id::QueueId;
use crate::relay::Trouble;

/// How often a client's ETRN is followed: anybody on this host may send one, and each can cost a login.
const CLIENT_PROBE_INTERVAL: Duration = Duration::from_secs(60);

impl Reducer {
    pub(super) fn probe_now(&mut self) {
        self.relay.breaker.probe_now(self.now.steady);
        self.try_all();
    }

    pub(super) fn probe_for_client(&mut self) -> Option<TooSoon> {
        let now = self.now.steady;
        let since = |time| Duration::try_from(now.duration_since(time)).unwrap_or_default();
        let last = self.last_client_probe.map(since);
        if let Some(last) = last.filter(|last| *last < CLIENT_PROBE_INTERVAL) {
            let until = |time: Timestamp| Duration::try_from(time.duration_since(now)).unwrap_or_default();
            let next_probe_in = self.relay.breaker.retry_at().map(until);
            return Some(TooSoon { last, again_in: CLIENT_PROBE_INTERVAL - last, next_probe_in });
        }
        self.last_client_probe = Some(now);
        // Each refused login counts against the account, and who may send mail need not be who put it right.
        if self.relay.breaker.is_locked_out() {
            self.try_all();
        } else {
            self.probe_now();
        }
        None
    }

    pub(super) fn standings(&self, ids: Vec<QueueId>) -> Vec<Listed> {
        let shown = |standing| match standing {
            Standing::Waiting(due) => Standing::Waiting(self.second_of_day(due)),
            other => other,
        };
        let known = |id| Some(Listed { id, standing: shown(self.roster.member(id)?.standing) });
        ids.into_iter().filter_map(known).collect()
    }

    /// A second of the steady time as the time of day has it.
    fn second_of_day(&self, steady: u32) -> u32 {
        let steady = Timestamp::from_second(steady.into()).unwrap_or(Timestamp::MAX);
        u32::try_from(self.now.time_of_day_at(steady).as_second().max(0)).unwrap_or(u32::MAX)
    }

    pub(super) fn status(&self) -> Status {
        let relay = &self.relay;
        Status {
            live: self.roster.len(),
            ready: self.roster.ready(),
            under_way: self.roster.under_way(),
            deferred: self.roster.waiting(),
            held: self.roster.held(),
            dead: self.roster.dead(),
            newest_dead: self.roster.newest_dead(),
            connections: relay.connections.len(),
            reached: relay.reached,
            troubles: relay.troubles,
            is_untried: relay.breaker.is_untried(),
            paused_until: relay.breaker.retry_at().map(|time| self.now.time_of_day_at(time)),
            trouble: relay.trouble.as_ref().map(ToString::to_string),
            trouble_outline: relay.trouble.as_ref().map(Trouble::outline),
            held_because: relay.refusals.held_by().map(|said| self.held_back(said).to_string()),
        }
    }

    /// What is said of mail that `said` holds.
    fn held_back<'a>(&self, said: &'a str) -> HeldBack<'a> {
        let until = self.relay.refusals.held_until();
        HeldBack { said, until, has_null_sender: self.has_null_sender }
    }
}
