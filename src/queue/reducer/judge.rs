//! The meaning of a refusal, given what the relay said to other messages; connections ask for it.
//!
//! Promises: a refusal that is not about its message leaves it without a result and uncharged, and its connection gets
//! no more messages, except where a rate is told to one message alone (`waits.rs`). Nor does a connection that the relay
//! has ended.
//!
//! Not here: the rules for a 5xx (`queue/refusals.rs`), for a login that is asked for and not configured
//! (`refusals/want_of_login.rs`) and for a 4xx (`queue/throttle.rs`), and for what a
//! rule says (`waits.rs`).

use super::super::ConnectionId;
use super::super::connections::ConnectionStage;
use super::super::refusals::want_of_login::Want;
use super::super::refusals::{Refusal, Ruling};
use super::super::roster::Standing;
use super::super::throttle::Deferral;
use super::{AtRelay, Effect, LogLine};
use crate::envelope::ReversePath;
use crate::queue_id::QueueId;
use crate::relay::{Cause, Phase, RelayFault, Subject, Trouble};

impl AtRelay<'_> {
    /// Takes in that the relay has taken a message from `from`.
    pub(super) fn taken(&mut self, connection: ConnectionId, from: &ReversePath) {
        if self.relay.is_outdated(connection) {
            return;
        }
        if let Some(connection) = self.relay.connections.named(connection) {
            connection.has_delivered = true;
        }
        self.relay.throttle.taken(self.shared.now.steady, self.relay.max_connections);
        self.relay.guesses.taken().into_iter().for_each(|id| self.ask_once_more(id));
        self.sender_taken(from);
        if self.relay.refusals.taken(*from == ReversePath::Null) {
            self.shared.effects.push(Effect::RememberRelay(self.relay.name.clone()));
        }
        self.relay.want_of_login.taken(connection).into_iter().for_each(|id| self.ask_once_more(id));
        self.try_due();
    }

    /// Makes the held messages ready that waited for the relay to take one. A message that is still being settled comes
    /// here again when it is held.
    pub(super) fn try_due(&mut self) {
        for id in self.relay.refusals.due() {
            if self.put_back_held(id) {
                self.relay.refusals.release(id);
            }
        }
    }

    /// Returns what a refusal means for its message, given what the relay said to others.
    pub(super) fn judge(&mut self, connection: ConnectionId, refusal: &Refusal) -> Ruling {
        if let Some(reason) = refusal.waits {
            return self.judge_wait(connection, refusal, reason);
        }
        if refusal.is_deferral {
            return self.judge_deferral(connection, refusal);
        }
        if refusal.about == Subject::Login && self.relay.is_outdated(connection) {
            // The missing login may be configured now.
            return Ruling::Untold;
        }
        if self.relay.refusals.lacks_login(refusal) && self.want_login(connection, refusal) != Want::Charged {
            return Ruling::Untold;
        }
        let is_first_held = self.relay.refusals.held_by().is_none();
        let ruling = self.relay.refusals.judge(refusal);
        match ruling {
            Ruling::Untold if !self.relay.is_outdated(connection) => {
                self.replace_connections();
                self.relay.soundings.met_trouble();
                let words = self.relay.refusals.trouble(refusal);
                self.troubled(RelayFault::Transaction, trouble(refusal, words));
            }
            Ruling::Hold if is_first_held => {
                let until = self.relay.refusals.held_until();
                let (said, has_null_sender) = (refusal.said.clone(), self.shared.has_null_sender);
                self.log(LogLine::RefusalHeld { said, until, has_null_sender });
            }
            Ruling::AsSaid | Ruling::Defer | Ruling::Hold | Ruling::Untold => {}
        }
        ruling
    }

    /// Takes in that the relay asks for a login that is not configured.
    fn want_login(&mut self, connection: ConnectionId, refusal: &Refusal) -> Want {
        let next = self.relay.connections.next_id();
        let want = self.relay.want_of_login.refused(refusal.id, refusal.in_company, next);
        if !refusal.in_company {
            // Of several nodes behind one name, this may be one that asks everybody for a login.
            self.relay.connections.reaches(connection, ConnectionStage::Leaving);
        }
        self.meet_want(want, trouble(refusal, self.relay.refusals.trouble(refusal)));
        self.relay.soundings.met_trouble();
        if matches!(want, Want::Apart | Want::Few { .. }) {
            let is_paused = self.relay.is_paused();
            // Where the relay is not paused, the message has the pause of one that is lost again and again.
            self.relay.roster.update(refusal.id, |member| {
                member.losses =
                    if is_paused { member.losses.max(1) } else { member.losses.saturating_add(1) };
            });
        }
        want
    }

    /// Takes in that the relay asks for a login that is not configured, by a reply that ended the dialogue during the
    /// message `lost`, which waits by itself already.
    pub(super) fn lost_for_login(&mut self, lost: Option<QueueId>, trouble: Trouble) {
        let Some(id) = lost.filter(|id| self.relay.roster.member(*id).is_some()) else { return };
        let want = self.relay.want_of_login.refused(id, false, self.relay.connections.next_id());
        self.meet_want(want, trouble);
    }

    fn meet_want(&mut self, want: Want, trouble: Trouble) {
        match want {
            Want::Charged => {}
            Want::Apart | Want::Few { again: true } if self.relay.is_paused() => {
                self.trouble_again(&trouble);
            }
            Want::Apart => self.log(LogLine::RelayTrouble(trouble)),
            Want::Few { .. } => self.troubled(RelayFault::Suspects, trouble),
            Want::All => {
                self.replace_connections();
                self.troubled(RelayFault::Transaction, trouble);
            }
        }
    }

    /// Treats a message like any other again that waited for a login, or for what the relay does with others.
    pub(super) fn ask_once_more(&mut self, id: QueueId) {
        self.relay.roster.update(id, |member| member.losses = 0);
        if let Some(Standing::Ready | Standing::Waiting(_)) =
            self.relay.roster.member(id).map(|member| member.standing)
        {
            self.relay.roster.put_back(id, self.shared.now.steady);
        }
    }

    fn judge_deferral(&mut self, connection: ConnectionId, refusal: &Refusal) -> Ruling {
        if self.relay.is_outdated(connection) {
            return Ruling::AsSaid;
        }
        let is_before_content = matches!(refusal.phase, Phase::Mail | Phase::Data);
        let may_be_pace = refusal.about == Subject::Pace;
        if is_before_content && self.is_session_over(connection, refusal.id, may_be_pace) {
            self.relay.rates.give_back();
            return Ruling::Untold;
        }
        if !may_be_pace {
            return self.defer_in_row(refusal);
        }
        let (now, current) = (self.shared.now.steady, self.relay.connections.current());
        let Deferral::Pace { again } = self.relay.throttle.deferred(refusal.id, now, current) else {
            return self.defer_in_row(refusal);
        };
        again.into_iter().for_each(|id| self.excuse(id));
        self.slow_down(connection, refusal);
        Ruling::Untold
    }

    /// Takes in that the relay wants nothing more over this connection, as far as a refusal of `id` shows. Returns whether
    /// that is all that it shows: the connection has brought mail, and the message is excused.
    pub(super) fn is_session_over(
        &mut self,
        connection: ConnectionId,
        id: QueueId,
        may_be_pace: bool,
    ) -> bool {
        let has_delivered = self.relay.connections.named(connection).is_some_and(|one| one.has_delivered);
        let is_over = has_delivered && self.relay.throttle.is_session_over(id, may_be_pace);
        if is_over {
            self.relay.connections.reaches(connection, ConnectionStage::Leaving);
        }
        is_over
    }

    /// Takes in that a message was deferred for no reason that is known better. Returns what that means for it: where so
    /// many others were deferred alike that the messages are not the reason, the relay is in trouble.
    fn defer_in_row(&mut self, refusal: &Refusal) -> Ruling {
        let Some(words) = self.relay.refusals.deferred(refusal) else { return Ruling::AsSaid };
        self.replace_connections();
        self.relay.soundings.met_trouble();
        self.troubled(RelayFault::Transaction, trouble(refusal, words));
        Ruling::Untold
    }

    /// Takes in that the relay has ended a connection during this message. Returns whether the message is not charged
    /// with that.
    pub(super) fn left(&mut self, connection: ConnectionId, id: QueueId) -> bool {
        if self.relay.is_outdated(connection) {
            return true;
        }
        self.relay.connections.reaches(connection, ConnectionStage::Leaving);
        self.relay.rates.give_back();
        self.relay.throttle.is_session_over(id, false)
    }

    /// Takes in that the relay does not want this connection; if it serves no other, it is paused, and gets mail at half
    /// the rate after that.
    fn slow_down(&mut self, connection: ConnectionId, refusal: &Refusal) {
        self.relay.connections.reaches(connection, ConnectionStage::Leaving);
        let trouble = trouble(refusal, format!("the relay said: {}", refusal.said));
        if self.relay.connections.others_serve(connection) {
            self.tell_slowed(trouble);
        } else {
            self.relay.throttle.told_to_slow(self.shared.now.steady, None);
            self.troubled(RelayFault::Transaction, trouble);
        }
    }

    /// Makes a message ready again that was deferred before it was known that it is not at fault.
    fn excuse(&mut self, id: QueueId) {
        match self.relay.roster.member(id).map(|member| member.standing) {
            Some(Standing::Waiting(_)) => self.relay.roster.put_back(id, self.shared.now.steady),
            Some(Standing::UnderWay) => self.relay.throttle.await_settling(id),
            Some(
                Standing::Ready | Standing::Held | Standing::OnHold | Standing::Dead | Standing::Elsewhere(_),
            )
            | None => {}
        }
    }
}

fn trouble(refusal: &Refusal, words: String) -> Trouble {
    Trouble { phase: refusal.phase, peer: Some(Box::new(refusal.peer.clone())), cause: Cause::Other(words) }
}
