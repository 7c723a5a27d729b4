//! Refusals that are about more than their message, by a rule: what waits, and until when.
//!
//! Promises: such a refusal bounces nothing and leaves its message uncharged, unless the relay itself shows that it is the
//! message's own (`refusals/guesses.rs`).
//!
//! | reason | consequence |
//! |---|---|
//! | throttle: a full session | the connection gets no more messages, if it has brought one; if not, as for connections |
//! | throttle | the relay gets one connection less, and this one no more messages; unless the reply is about connections, the rate is halved (`learned_rate.rs`); it is paused if a time is named, or if it takes no connection at all; nothing of this where one message alone is told so again though others were taken, or where one alone is named a time at RCPT |
//! | quota | the relay is paused as the rule or the reply says, or for 1, 2, 4 … 25 hours, and probed with one message |
//! | configuration of the route | the relay is paused as after a refused login, and probed with one message |
//! | configuration of a sender | the message is held, and one of this sender is tried each hour; after some in a row all of its mail is held, also what arrives later (`roster/refused_senders.rs`) |
//!
//! Not here: which replies these are (`relay/reply_rules.rs`), the pauses (`breaker.rs`).

use super::super::ConnectionId;
use super::super::connections::ConnectionStage;
use super::super::refusals::guesses::Guess;
use super::super::refusals::{Refusal, Ruling};
use super::super::roster::{SenderRefusal, SenderRuling};
use super::{AtRelay, LogLine};
use crate::config::RuleScope;
use crate::envelope::ReversePath;
use crate::key_names::on_route;
use crate::queue_id::QueueId;
use crate::relay::{Cause, Excess, Phase, RelayFault, Trouble, WaitClass, WaitReason};

/// The subject of a refusal, beside what the relay says to others.
enum Weighed {
    /// The message, or one of its recipients; holds what follows for it.
    OfMessage(Ruling),
    /// The relay, which then has the mail wait.
    OfRelay {
        reason: WaitReason,
        /// True if others are tried soon, since it may be about the message all the same.
        spares_others: bool,
    },
}

/// The advice where the relay takes no mail from `<>`, nor from what it gets in its place.
const NULL_SENDER_HINT: &str =
    "set queue.bounce-sender to an address that the relay takes as a sender: bounces are then sent from it";

impl AtRelay<'_> {
    /// Returns what a refusal for this reason means for its message.
    pub(super) fn judge_wait(
        &mut self,
        connection: ConnectionId,
        refusal: &Refusal,
        reason: WaitReason,
    ) -> Ruling {
        if self.relay.is_outdated(connection) {
            return Ruling::Untold;
        }
        if let WaitClass::Configuration(RuleScope::Sender) = reason.class {
            return self.hold_for_sender(refusal, reason);
        }
        let is_session = reason.class == WaitClass::Throttle(Excess::Session) && reason.pause.is_none();
        if is_session && self.is_session_over(connection, refusal.id, false) {
            return Ruling::Untold;
        }
        let (reason, spares_others) = match self.weigh(refusal, reason) {
            Weighed::OfMessage(ruling) => return ruling,
            Weighed::OfRelay { reason, spares_others } => (reason, spares_others),
        };
        let said = refusal.said.clone();
        let (phase, peer) = (refusal.phase, Some(Box::new(refusal.peer.clone())));
        self.waits_for(
            connection,
            reason,
            Trouble { phase, peer, cause: Cause::Waits { said, reason: Box::new(reason) } },
        );
        if spares_others {
            self.relay.breaker.spares_others(self.shared.now.steady);
        }
        Ruling::Untold
    }

    /// Weighs whether a refusal is about the relay, as its rule says, or about its message.
    fn weigh(&mut self, refusal: &Refusal, mut reason: WaitReason) -> Weighed {
        let (is_guess, names_time) = (reason.rule.is_guess(), reason.pause.is_some());
        let is_guess_at_rcpt = is_guess && refusal.phase == Phase::Rcpt;
        if is_guess_at_rcpt && refusal.in_company {
            // The relay takes mail now.
            return Weighed::OfMessage(Ruling::Defer);
        }
        let is_throttle = matches!(reason.class, WaitClass::Throttle(_));
        let mut spares_others = false;
        match self.relay.guesses.told(refusal.id, is_guess, is_throttle) {
            Guess::Own => return Weighed::OfMessage(Ruling::Defer),
            Guess::OfRelay { alone: true, again: true, .. } if is_throttle => {
                self.set_apart(refusal.id, true);
                return Weighed::OfMessage(Ruling::Untold);
            }
            // What one recipient alone was told is not said to all: the message waits by its age.
            Guess::OfRelay { alone: true, .. } if is_throttle && is_guess_at_rcpt && names_time => {
                return Weighed::OfMessage(Ruling::Defer);
            }
            // A relay that is only slowed down goes on showing whether it is the message.
            Guess::OfRelay { .. } if is_throttle => {}
            Guess::OfRelay { soon, apart, .. } => {
                reason.pause = reason.pause.or(soon);
                spares_others = !names_time && soon.is_some();
                self.set_apart(refusal.id, apart);
            }
        }
        Weighed::OfRelay { reason, spares_others }
    }

    /// Lets others be tried before this message, if it waits apart.
    fn set_apart(&mut self, id: QueueId, apart: bool) {
        if apart {
            self.relay.roster.update(id, |member| member.losses = member.losses.max(1));
        }
    }

    /// Slows the relay down, or pauses it.
    fn waits_for(&mut self, connection: ConnectionId, reason: WaitReason, trouble: Trouble) {
        self.relay.connections.reaches(connection, ConnectionStage::Leaving);
        let (now, current) = (self.shared.now.steady, self.relay.connections.current());
        if reason.class == WaitClass::Throttle(Excess::Messages) {
            self.relay.throttle.told_to_slow(now, None);
        }
        // Where the relay gets too many connections and this was the only one, no rate makes the next one wait.
        let goes_on = match reason.class {
            WaitClass::Throttle(Excess::Messages) => true,
            WaitClass::Throttle(Excess::Connections | Excess::Session) => {
                self.relay.connections.others_serve(connection)
            }
            WaitClass::Quota | WaitClass::Configuration(_) => false,
        };
        if goes_on && reason.pause.is_none() {
            self.relay.throttle.lower(now, current);
            return self.tell_slowed(trouble);
        }
        self.replace_connections();
        self.troubled(RelayFault::of(&trouble), trouble);
    }

    /// Logs that the relay gets less at a time, once for the replies that come together.
    pub(super) fn tell_slowed(&mut self, trouble: Trouble) {
        if self.relay.throttle.is_news(self.shared.now.steady) {
            let connections = self.relay.throttle.connections_allowed(self.relay.max_connections);
            self.log(LogLine::RelaySlowed { trouble, connections });
        }
    }

    fn hold_for_sender(&mut self, refusal: &Refusal, reason: WaitReason) -> Ruling {
        if refusal.in_company || refusal.follows_taken {
            // The relay takes mail of this sender.
            return Ruling::Defer;
        }
        let WaitReason { pause, .. } = reason;
        let hint = if refusal.from == ReversePath::Null { Some(NULL_SENDER_HINT) } else { reason.hint };
        let hint = hint.map(|hint| on_route(hint, self.relay.route.as_deref()).into_owned());
        let sender = SenderRefusal { from: refusal.from.clone(), said: refusal.said.clone(), hint, pause };
        match self.relay.roster.sender_refused(refusal.id, &sender, self.shared.now.steady) {
            SenderRuling::Own => return Ruling::Defer,
            SenderRuling::Waits(Some(news)) => self.log(LogLine::SenderHeld { sender, news }),
            SenderRuling::Waits(None) => {}
        }
        self.relay.refusals.hold(refusal)
    }

    /// Makes a message ready of each sender that the relay refuses, where it is time for that.
    pub(super) fn try_senders(&mut self) {
        let now = self.shared.now.steady;
        for id in self.relay.roster.try_senders(now) {
            if !self.relay.roster.is_odd(id) {
                self.relay.roster.begin_patience(id, now);
            }
        }
    }

    /// Takes in that the relay has taken a message from `from`: what waits for this sender is tried.
    pub(super) fn sender_taken(&mut self, from: &ReversePath) {
        let Some(freed) = self.relay.roster.sender_taken(from) else { return };
        for id in &freed.waited {
            self.relay.refusals.release(*id);
            self.put_back_held(*id);
        }
        for id in &freed.odd {
            if self.relay.roster.is_held(*id) {
                self.relay.roster.put_back(*id, self.shared.now.steady);
            }
        }
        if freed.is_news {
            let held = freed.waited.len() + freed.odd.len();
            self.log(LogLine::SenderTaken { from: from.clone(), held });
        }
    }
}
