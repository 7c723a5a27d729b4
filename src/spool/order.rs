//! The order of an operator about one message, which is a proof: somebody who may give it has given it.
//!
//! Promises
//! 1. An [`OperatorOrder`] is made only where the rights of a client of the control socket are checked for this very
//!    message (`admin/rights.rs`; `tests/layers.rs` holds it). It is for one verb, and is used once.
//! 2. Only an order to delete becomes a [`DeletionOrder`], and beside a [`Settled`] nothing else removes a message from the
//!    spool ([`super::Spool::remove`]).
//!
//! Pure. Not here: what follows from an order (`queue/orders.rs`), who may give one (`admin/rights.rs`).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ledger::{Ledger, Settled};
use crate::filter::{HolderKind, MailHolder};
use crate::log::Foreign;
use crate::queue_id::QueueId;

/// The thing that an operator wants to happen to a message, as the control socket names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperatorVerb {
    /// It is not sent before it is released.
    Hold,
    /// It is not on hold any more.
    Release,
    /// It is tried now.
    Retry,
    /// It is returned to its sender as if its time were over.
    Expire,
    /// It goes by another route.
    Route,
    /// It is removed, and nobody is told.
    Delete,
}

/// The user who has given an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// The uid, as the kernel told it.
    pub uid: u32,
    /// The login name, if one is known.
    pub name: Option<Arc<str>>,
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}", self.uid)?;
        match &self.name {
            Some(name) => write!(f, " ({})", Foreign(name)),
            None => Ok(()),
        }
    }
}

/// The proof that an operator may do this with this message, and has ordered it.
#[derive(Debug)]
pub struct OperatorOrder {
    id: QueueId,
    verb: OperatorVerb,
    by: Operator,
    right: OrderRight,
    /// The name of the route by which it is to go; empty for the top-level `relayhost`.
    route: Arc<str>,
}

/// The right by which somebody orders something about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderRight {
    /// They may do everything with all mail.
    Everything,
    /// They have submitted the message.
    OwnMail,
}

impl OperatorOrder {
    /// Returns the order of an operator whose right to give it has just been checked.
    pub fn permitted(id: QueueId, verb: OperatorVerb, by: Operator, right: OrderRight) -> Self {
        OperatorOrder { id, verb, by, right, route: "".into() }
    }

    /// Returns the same order, which is to send the message by the route of this name.
    #[must_use]
    pub fn to_route(self, route: Arc<str>) -> Self {
        OperatorOrder { route, ..self }
    }

    /// Returns the name of the route by which the message is to go.
    pub fn route(&self) -> &str {
        &self.route
    }

    /// Returns the queue id of the message.
    pub fn id(&self) -> QueueId {
        self.id
    }

    /// Returns what is to happen to it.
    pub fn verb(&self) -> OperatorVerb {
        self.verb
    }

    /// Returns who has given the order.
    pub fn by(&self) -> &Operator {
        &self.by
    }

    /// Returns who holds the message if this order puts it on hold.
    pub fn holder(&self) -> MailHolder {
        let kind = match self.right {
            OrderRight::Everything => HolderKind::Operator,
            OrderRight::OwnMail => HolderKind::Submitter,
        };
        MailHolder::user(kind, self.by.uid, self.by.name.as_deref())
    }

    /// Returns whether this order may release a message from this holder: who submitted it only from their own hand.
    pub fn may_release_from(&self, holder: &MailHolder) -> bool {
        self.right == OrderRight::Everything || holder.uid == Some(self.by.uid)
    }

    /// Returns whether this order, to hold a message, takes it over from this holder: an operator's hand is the stronger one.
    pub fn takes_over_from(&self, holder: &MailHolder) -> bool {
        self.right == OrderRight::Everything && holder.kind != HolderKind::Operator
    }

    /// Opens the dead recipients of the message again, which this order returns; on the spool they are dead until a report bounces
    /// them. It does nothing if the order is about something else.
    pub fn open_dead(&self, ledger: &mut Ledger) {
        if ledger.id() == self.id && self.verb == OperatorVerb::Expire {
            ledger.open_dead();
        }
    }

    /// Returns the proof by which the message is removed; the order itself if it is for something else.
    pub fn deletion(self) -> Result<DeletionOrder, OperatorOrder> {
        if self.verb == OperatorVerb::Delete { Ok(DeletionOrder { id: self.id }) } else { Err(self) }
    }
}

/// The proof that an operator has ordered this message to be deleted.
#[derive(Debug)]
pub struct DeletionOrder {
    id: QueueId,
}

/// The reason for which a message may be removed from the spool.
#[derive(Debug)]
pub enum Removal {
    /// Every recipient is sent or bounced.
    Settled(Settled),
    /// An operator has ordered it.
    Deleted(DeletionOrder),
}

impl Removal {
    /// Returns the queue id of the message.
    pub(super) fn id(&self) -> QueueId {
        match self {
            Removal::Settled(settled) => settled.id(),
            Removal::Deleted(order) => order.id,
        }
    }
}

impl From<Settled> for Removal {
    fn from(settled: Settled) -> Self {
        Removal::Settled(settled)
    }
}

impl From<DeletionOrder> for Removal {
    fn from(order: DeletionOrder) -> Self {
        Removal::Deleted(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(verb: OperatorVerb) -> OperatorOrder {
        by(verb, 0, OrderRight::Everything)
    }

    fn by(verb: OperatorVerb, uid: u32, right: OrderRight) -> OperatorOrder {
        OperatorOrder::permitted(QueueId::from_raw(7), verb, Operator { uid, name: None }, right)
    }

    /// A submitter had sent what an operator, or a hold rule, had put on hold.
    #[test]
    fn who_sent_a_message_releases_it_from_their_own_hand_alone() {
        let own = by(OperatorVerb::Release, 33, OrderRight::OwnMail);
        let root = order(OperatorVerb::Release);
        let by_others = [HolderKind::Rule, HolderKind::Limit, HolderKind::Unknown].map(MailHolder::of);
        for holder in by_others.into_iter().chain([root.holder(), MailHolder::rule(33)]) {
            assert!(!own.may_release_from(&holder) && root.may_release_from(&holder), "{holder}");
            assert!(!own.takes_over_from(&holder), "{holder}");
            assert_eq!(root.takes_over_from(&holder), holder != root.holder(), "{holder}");
        }
        assert!(own.may_release_from(&own.holder()) && root.may_release_from(&own.holder()));
        assert!(root.takes_over_from(&own.holder()) && !own.takes_over_from(&own.holder()));
    }

    /// Promise 2.
    #[test]
    fn only_an_order_to_delete_removes_anything() {
        use OperatorVerb::{Delete, Expire, Hold, Release, Retry, Route};
        for verb in [Hold, Release, Retry, Expire, Route] {
            assert_eq!(order(verb).deletion().unwrap_err().verb(), verb);
        }
        assert_eq!(Removal::from(order(Delete).deletion().unwrap()).id(), QueueId::from_raw(7));
    }

    #[test]
    fn an_operator_is_named_in_one_line() {
        let operator = |name: Option<&str>| Operator { uid: 7, name: name.map(Into::into) };
        assert_eq!(operator(None).to_string(), "uid 7");
        assert_eq!(operator(Some("a\nb")).to_string(), "uid 7 (a\\nb)");
    }
}
