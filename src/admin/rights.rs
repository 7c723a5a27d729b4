//! The rights of a client of the control socket.
//!
//! Promises: root, the user of the daemon and the members of its group may do anything; any other user may list the
//! queue and give orders about messages, and that only for their own. An [`OperatorOrder`] is made here alone. The kernel tells who the client is (SO_PEERCRED), so the mode of the socket
//! does not matter. Nobody is given mail that came over TCP, though the user of the connection may be known: what is behind
//! a connection is not known ([`Submitter::LoopbackUid`]). Membership is known from the group that the client runs in, else
//! from the name service.
//!
//! Fails: a user whose groups cannot be looked up counts as a member of none.

use rustix::process::{getegid, geteuid};
use tokio::net::unix::UCred;

use crate::envelope::Submitter;
use crate::filter::MailHolder;
use crate::queue_id::QueueId;
use crate::spool::{Operator, OperatorOrder, OperatorVerb, OrderRight};
use crate::users::Users;

/// The rights of a client: the messages that it may see, and the commands that it may give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rights {
    Everything,
    /// Only to list and to steer the messages that this user submitted.
    Own(u32),
}

impl Rights {
    pub(super) async fn of(client: UCred, users: &Users) -> Self {
        let uid = client.uid();
        let our_group = getegid().as_raw();
        let is_ours = uid == geteuid().as_raw() || client.gid() == our_group;
        let may_do_all = uid == 0 || is_ours || users.is_in_group(uid, our_group).await;
        if may_do_all { Rights::Everything } else { Rights::Own(uid) }
    }

    /// Returns the order `verb` of `by`, who has these rights, about the message `id` of this submitter; `None` if they may
    /// not give it. The submitter of a message need not be known to who may do everything.
    pub(super) fn order(
        self,
        verb: OperatorVerb,
        by: &Operator,
        id: QueueId,
        submitter: Option<Submitter>,
    ) -> Option<OperatorOrder> {
        let right = match self {
            Rights::Everything => Some(OrderRight::Everything),
            // By which relay mail goes is the operators' alone.
            Rights::Own(_) if verb == OperatorVerb::Route => None,
            Rights::Own(_) => {
                let is_theirs = submitter.is_some_and(|submitter| self.include(submitter));
                is_theirs.then_some(OrderRight::OwnMail)
            }
        };
        right.map(|right| OperatorOrder::permitted(id, verb, by.clone(), right))
    }

    /// Returns whether they may include a message of which only the user is known, unless that is `None`.
    pub(super) fn may_include(self, uid: Option<u32>) -> bool {
        match self {
            Rights::Everything => true,
            Rights::Own(own) => uid.is_none_or(|uid| uid == own),
        }
    }

    /// Returns whether they may have mail sent that this holder has put on hold: who submitted it what they hold themselves.
    pub(super) fn may_release_from(self, holder: &MailHolder) -> bool {
        match self {
            Rights::Everything => true,
            Rights::Own(uid) => holder.uid == Some(uid),
        }
    }

    pub(super) fn include(self, submitter: Submitter) -> bool {
        match self {
            Rights::Everything => true,
            Rights::Own(uid) => submitter == Submitter::Uid(uid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_user_sees_their_own_messages_only() {
        let own = Rights::Own(1000);
        assert!(own.may_include(Some(1000)) && own.may_include(None) && !own.may_include(Some(0)));
        assert!(own.include(Submitter::Uid(1000)) && !own.include(Submitter::Uid(0)));
        assert!(!own.include(Submitter::LoopbackUid(1000)));
        assert!(!own.include(Submitter::Loopback) && !own.include(Submitter::Ourselves));
        assert!(Rights::Everything.include(Submitter::Ourselves));
    }

    #[test]
    fn an_ordinary_user_orders_only_about_their_own_mail() {
        let by = Operator { uid: 1000, name: None };
        let may = |rights: Rights, submitter| {
            rights.order(OperatorVerb::Delete, &by, QueueId::from_raw(1), submitter).is_some()
        };
        assert!(may(Rights::Own(1000), Some(Submitter::Uid(1000))));
        for other in
            [Submitter::Uid(0), Submitter::LoopbackUid(1000), Submitter::Loopback, Submitter::Ourselves]
        {
            assert!(!may(Rights::Own(1000), Some(other)) && may(Rights::Everything, Some(other)));
        }
        assert!(!may(Rights::Own(1000), None) && may(Rights::Everything, None));
    }
}
