//! Trouble of the relay and the end of connections: whose fault it is, and whether the relay is paused for it.
//!
//! Promises: what happens on a connection of earlier settings counts for nothing. Relay trouble changes nothing of a
//! message but its losses, and is logged once.
//!
//! Not here: which replies are trouble (`relay/verdict.rs`), whose fault it is (`suspects.rs`), the length of the pause
//! (`breaker.rs`).

use std::time::Duration;

use jiff::Timestamp;

use super::super::ConnectionId;
use super::super::breaker::Consequence;
use super::super::clock::later;
use super::super::roster::Standing;
use super::super::suspects::Blame;
use super::{AtRelay, Effect, LogLine};
use crate::queue_id::QueueId;
use crate::relay::{Cause, Phase, RelayFault, Trouble};

impl AtRelay<'_> {
    pub(super) fn answered(&mut self, connection: ConnectionId) {
        if self.relay.is_outdated(connection) {
            return;
        }
        self.relay.answered();
        if self.relay.is_paused() && self.relay.want_of_login.shows_nothing(connection) {
            // What a later connection meets ends the pause.
            return;
        }
        self.relay.breaker.success(self.shared.now.steady);
        self.follow_breaker();
        self.relay.trouble = None;
    }

    /// Takes in that a connection was lost during this message, which may be at fault.
    pub(super) fn lost(&mut self, connection: ConnectionId, id: QueueId, in_doubt: bool) {
        self.relay.roster.update(id, |member| member.copies = member.copies.saturating_add(in_doubt.into()));
        if self.relay.is_outdated(connection) {
            return;
        }
        if !in_doubt {
            self.relay.rates.give_back();
        }
        let Some(member) = self.relay.roster.member(id) else { return };
        let (blame, losses) = self.relay.suspects.lost(id, member.losses);
        self.relay.soundings.met_trouble();
        self.relay.roster.update(id, |member| member.losses = losses);
        if let Some(connection) = self.relay.connections.named(connection) {
            (connection.blame, connection.lost) = (Some(blame), Some(id));
        }
    }

    pub(super) fn ended(&mut self, connection: ConnectionId, trouble: Option<Trouble>) {
        self.relay.idle.retain(|idle| *idle != connection);
        let Some(connection) = self.relay.connections.ended(connection) else { return };
        if trouble.is_none() && connection.has_delivered && !self.relay.is_outdated(connection.id) {
            self.relay.connections.vacate();
        }
        let Some(trouble) = trouble.filter(|_| !self.relay.is_outdated(connection.id)) else { return };
        if let Some(lost) = connection.lost.filter(|id| self.relay.roster.member(*id).is_some()) {
            self.relay.met_overlong.remove(&lost);
            if matches!(trouble.cause, Cause::Overlong { .. }) {
                self.relay.met_overlong.insert(lost);
            }
        }
        let (trouble, lacks_login) = self.relay.refusals.explain(trouble);
        let fault = RelayFault::of(&trouble);
        if fault.is_wait() {
            self.replace_connections();
            return self.troubled(fault, trouble);
        }
        match (fault, connection.blame) {
            (_, Some(Blame::Message)) if lacks_login => self.lost_for_login(connection.lost, trouble),
            // It was logged with the message.
            (_, Some(Blame::Message)) => self.keep_time_told_alone(connection.lost, &trouble),
            // Every message had its answer before.
            (RelayFault::Transaction, None) => self.log(LogLine::RelayTrouble(trouble)),
            // This was logged with the message, too.
            (RelayFault::Transaction, Some(Blame::Suspects { again: true })) if self.relay.is_paused() => {
                self.trouble_again(&trouble);
            }
            (RelayFault::Transaction, Some(Blame::Suspects { .. })) => {
                self.troubled(RelayFault::Suspects, trouble)
            }
            (fault, _) => self.troubled(fault, trouble),
        }
    }

    /// Has the message wait as long as a reply says that it alone has got, and that ended the connection.
    fn keep_time_told_alone(&mut self, lost: Option<QueueId>, trouble: &Trouble) {
        let now = self.shared.now;
        let (Some(id), Some(named)) = (lost, trouble.named_time(now.time_of_day)) else { return };
        let until = later(now.steady, named);
        match self.relay.roster.member(id).map(|member| member.standing) {
            Some(Standing::UnderWay) => drop(self.relay.told_alone.insert(id, until)),
            Some(Standing::Waiting(due)) if i64::from(due) < until.as_second() => {
                self.relay.roster.defer(id, until, now.steady);
            }
            _ => {}
        }
    }

    pub(super) fn trouble_again(&mut self, trouble: &Trouble) {
        let (now, spread) = (self.shared.now.steady, self.shared.draw());
        self.relay.breaker.trouble_again(now, spread);
        self.keep_named_time(trouble, Consequence::Unremarkable);
        self.note_pause();
    }

    pub(super) fn troubled(&mut self, fault: RelayFault, trouble: Trouble) {
        let (now, spread) = (self.shared.now.steady, self.shared.draw());
        self.relay.troubles += 1;
        let was_paused = self.relay.breaker.retry_at().is_some();
        let working = match fault {
            // A relay with few places refuses one more while those that have one are being opened.
            RelayFault::Opening => self.relay.connections.trusted(),
            _ => self.relay.connections.working(),
        };
        let met = self.relay.breaker.trouble(now, working, fault, spread);
        match self.keep_named_time(&trouble, met) {
            Consequence::Paused { retry_at } => {
                self.relay.connections.distrust();
                self.tell_pause(&trouble, retry_at, was_paused);
            }
            Consequence::Unremarkable => self.log(LogLine::RelayTrouble(trouble.clone())),
        }
        // The note of a pause has its reason.
        self.relay.trouble = Some(trouble.clone());
        self.follow_breaker();
        // A secret that cannot be read is watched as well: it may be on its way.
        let is_of_login = self.relay.breaker.is_locked_out() || trouble.phase == Phase::Auth;
        let place = self.relay.place;
        if is_of_login {
            self.shared.effects.push(Effect::WatchSecret(place));
        } else if trouble.phase > Phase::Auth {
            self.shared.effects.push(Effect::ForgetSecret(place));
        }
        // Trouble before the login says nothing of the secret: another host may have refused it.
    }

    /// Has the pause last as long as a reply says which no rule has read. Returns the effect of the trouble, of which this
    /// was `met`.
    fn keep_named_time(&mut self, trouble: &Trouble, met: Consequence) -> Consequence {
        match trouble.named_time(self.shared.now.time_of_day) {
            Some(named) => self.relay.breaker.names_time(self.shared.now.steady, named, met),
            None => met,
        }
    }

    /// Logs, once, a pause of an earlier run that goes on.
    pub(super) fn tell_earlier_pause(&mut self) {
        let earlier = self.relay.earlier_pause.take();
        let Some((trouble, retry_at)) = earlier.and_then(|until| Some((self.relay.trouble.clone()?, until)))
        else {
            return;
        };
        self.tell_pause(&trouble, retry_at, false);
    }

    /// Logs that the relay is paused, or still is.
    fn tell_pause(&mut self, trouble: &Trouble, retry_at: Timestamp, was_paused: bool) {
        let now = self.shared.now.steady;
        self.tell_flickers();
        let flickers = &mut self.relay.flickers;
        let is_new = if was_paused { flickers.goes_on() } else { flickers.begins(now) };
        if is_new || was_paused && flickers.is_to_be_repeated(now) {
            let probe_in = Duration::try_from(retry_at.duration_since(now)).unwrap_or_default();
            let (trouble, live) = (trouble.clone(), self.relay.roster.len());
            self.log(LogLine::RelayPaused { trouble, live, probe_in, is_new });
        }
    }
}
