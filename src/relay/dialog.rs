//! The dialogue of one connection: transaction after transaction until there is nothing left to say.
//!
//! Promises:
//! 1. Every transaction taken is reported once, before `run` returns.
//! 2. With PIPELINING a transaction costs one round trip: MAIL, RCPT… and DATA are one group, and the next
//!    transaction's group rides behind this one's final dot (RFC 2920 3.1). Without it, one command at
//!    a time.
//! 3. When a connection dies, the transaction whose group was on its way is `Untold` and no more.
//!
//! How it ends: `Ok` when there is no more work, the count is reached, our own content failed, or the
//! relay took leave between transactions (421 or a close in place of the reply to MAIL, on a connection
//! that has served before): what was handed over and is `Untold` then may be tried again at once.
//! `Err` for relay trouble.
//!
//! Not here: one transaction's words (`dialog/converse.rs`), what a reply means (`verdict.rs`), the commands'
//! text (`group.rs`), the books (`delivery.rs`).

mod converse;

use std::time::Duration;

use super::capabilities::Capabilities;
use super::channel::Channel;
use super::delivery::Delivery;
use super::tls::Verified;
use super::trouble::{Cause, Peer, Phase, Trouble};
use super::{Work, config};

/// Verified, greeted, authenticated.
pub struct Connection {
    channel: Channel<Verified>,
    offered: Capabilities,
    /// Transactions that may still be begun.
    left: usize,
    idle: Duration,
    /// Set-up time, until a report has told it.
    connecting: Duration,
    /// The relay may hold an open transaction that ended without a final dot.
    rset_owed: bool,
    /// A transaction has come to its end here.
    has_served: bool,
}

/// Why a dialogue stops before the work is done.
enum End {
    /// Relay trouble.
    Trouble(Trouble),
    /// The connection is of no more use, and nobody is to blame who is not blamed already.
    Spent,
}

impl From<Trouble> for End {
    fn from(trouble: Trouble) -> Self {
        End::Trouble(trouble)
    }
}

impl Connection {
    /// A connection over which transactions may be sent: [`Verified`] is the proof.
    pub(super) fn new(channel: Channel<Verified>, offered: Capabilities, settings: &config::Relay) -> Self {
        Connection {
            channel,
            offered,
            left: settings.messages_per_connection.get(),
            idle: settings.idle,
            connecting: Duration::ZERO,
            rset_owed: false,
            has_served: false,
        }
    }

    /// Says how long the set-up took; the first report tells it.
    pub(super) fn connected_in(mut self, connecting: Duration) -> Self {
        self.connecting = connecting;
        self
    }

    /// Who is talked to.
    pub fn peer(&self) -> &Peer {
        self.channel.peer()
    }

    /// Delivers what `work` gives until it gives nothing, the count is reached, or the connection
    /// ends; QUITs politely.
    ///
    /// Err: relay-wide trouble for the breaker. Every transaction has been reported before.
    pub async fn run<W: Work>(mut self, work: &mut W) -> Result<(), Trouble> {
        match self.deliver(work).await {
            Ok(()) => {
                self.channel.quit().await;
                Ok(())
            }
            Err(End::Spent) => Ok(()),
            Err(End::Trouble(trouble)) => {
                if matches!(&trouble.cause, Cause::Reply(reply) if reply.code() != 421) {
                    self.channel.quit().await;
                }
                Err(trouble)
            }
        }
    }

    async fn deliver<W: Work>(&mut self, work: &mut W) -> Result<(), End> {
        while let Some(delivery) = self.take(work, self.idle).await {
            let mut ahead = self.transact(delivery, false, work).await?;
            while let Some(delivery) = ahead {
                ahead = self.transact(delivery, true, work).await?;
            }
        }
        Ok(())
    }

    /// The next transaction that this relay can be asked about.
    async fn take<W: Work>(&mut self, work: &mut W, patience: Duration) -> Option<Delivery> {
        while self.left > 0 {
            let delivery = Delivery::new(work.next(patience).await?, &self.offered);
            if delivery.has_open() {
                self.left -= 1;
                return Some(delivery);
            }
            self.report(delivery, work).await;
        }
        None
    }

    /// One transaction to its report. Gives the next one if its group went out behind the final dot;
    /// `grouped` says that this one's did.
    async fn transact<W: Work>(
        &mut self,
        mut delivery: Delivery,
        grouped: bool,
        work: &mut W,
    ) -> Result<Option<Delivery>, End> {
        let mut ahead = None;
        let ended = self.converse(&mut delivery, grouped, &mut ahead, work).await;
        if let Err(End::Trouble(trouble)) = &ended {
            delivery.leave_untold(trouble);
        }
        self.report(delivery, work).await;
        match ended {
            Ok(()) => {
                self.has_served = true;
                Ok(ahead)
            }
            Err(End::Spent) => Err(End::Spent),
            Err(End::Trouble(trouble)) => {
                if let Some(mut unheard) = ahead {
                    unheard.leave_untold(&trouble);
                    self.report(unheard, work).await;
                }
                Err(if self.is_leave_taking(&trouble) { End::Spent } else { End::Trouble(trouble) })
            }
        }
    }

    /// Whether `trouble` is no more than a relay that has had enough of this connection.
    fn is_leave_taking(&self, trouble: &Trouble) -> bool {
        let has_left = match &trouble.cause {
            Cause::Closed => true,
            Cause::Reply(reply) => reply.code() == 421,
            _ => false,
        };
        self.has_served && has_left && matches!(trouble.phase, Phase::Mail | Phase::Rset)
    }

    async fn report<W: Work>(&mut self, delivery: Delivery, work: &mut W) {
        let connecting = std::mem::take(&mut self.connecting);
        let peer = self.channel.peer().clone();
        work.report(delivery.into_report(peer, self.offered.dsn, connecting)).await;
    }
}

#[cfg(test)]
mod tests;
