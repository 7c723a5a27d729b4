//! The refusals of a message, and the reply to each.
//!
//! Promises: a refusal has exactly one reply, which is made here and nowhere else. A [`MessageRefusal::Host`] is a reply
//! with 4xx: it says nothing about the message, and the next message would be refused, too. A [`MessageRefusal::Message`]
//! is a reply with 5xx: the same message will never be accepted.
//!
//! Not here: the refusals of commands, which the session makes by itself; the cause of a [`HostTrouble`], which is for
//! the log of the shell and not for the client.

use super::{error, shutting_down};
use crate::message::unacceptable::Unacceptable;
use crate::smtp::reply::Reply;

/// The reason why a message is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageRefusal {
    /// The host cannot accept any message now.
    Host(HostTrouble),
    /// The content of this message is not accepted.
    Message(Unacceptable),
    /// This client may not send a message now, or not in this transaction; the shell knows the reply.
    Client(Reply),
    /// This client may not send as this reverse-path; the shell knows the reply. Whoever has this address did not send the
    /// message.
    Sender(Reply),
}

/// The reason why the host cannot accept any message now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostTrouble {
    /// There is no space for a message.
    NoRoom,
    /// The disk, or another part of the host, fails.
    Failing,
    /// The daemon is stopping.
    ShuttingDown,
}

impl From<HostTrouble> for MessageRefusal {
    fn from(trouble: HostTrouble) -> Self {
        MessageRefusal::Host(trouble)
    }
}

impl From<Unacceptable> for MessageRefusal {
    fn from(why: Unacceptable) -> Self {
        MessageRefusal::Message(why)
    }
}

impl MessageRefusal {
    /// Returns the reply to the client.
    pub fn reply(self) -> Reply {
        match self {
            MessageRefusal::Host(HostTrouble::NoRoom) => error(452, 3, 1, "insufficient system storage"),
            MessageRefusal::Host(HostTrouble::Failing) => error(451, 3, 0, "local trouble, try again later"),
            MessageRefusal::Host(HostTrouble::ShuttingDown) => shutting_down(),
            MessageRefusal::Message(why) => {
                let (code, subject, detail) = code_of(&why);
                error(code, subject, detail, &why.to_string())
            }
            MessageRefusal::Client(reply) | MessageRefusal::Sender(reply) => reply,
        }
    }
}

/// Returns the reply code, and subject and detail of the enhanced status (RFC 3463).
fn code_of(why: &Unacceptable) -> (u16, u16, u16) {
    match why {
        Unacceptable::HeaderTooLarge | Unacceptable::TooMuchEffort => (552, 3, 4),
        Unacceptable::MailLoop => (554, 4, 6),
        Unacceptable::HiddenBcc(_) => (550, 6, 0),
        Unacceptable::Rejected(_) => (550, 7, 1),
    }
}

/// Returns the reply to a message, or to its declared size, that is over the limit of the policy.
pub(super) fn too_large() -> Reply {
    error(552, 3, 4, "message too large")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::hidden_bcc::HiddenBcc;
    use crate::smtp::reply::Severity;

    /// Returns every reason with its reply. A reason that is new does not compile before it has a row.
    fn table() -> Vec<(MessageRefusal, &'static str)> {
        use HostTrouble::{Failing, NoRoom, ShuttingDown};
        use MessageRefusal::{Client, Host, Message, Sender};
        let hidden = |hidden| Message(Unacceptable::HiddenBcc(hidden));
        vec![
            (Host(NoRoom), "452 4.3.1 insufficient system storage"),
            (Host(Failing), "451 4.3.0 local trouble, try again later"),
            (Host(ShuttingDown), "421 4.3.2 shutting down, try again later"),
            (Message(Unacceptable::HeaderTooLarge), "552 5.3.4 header section too large"),
            (Message(Unacceptable::TooMuchEffort), "552 5.3.4 header section too large for the header rules"),
            (
                Message(Unacceptable::MailLoop),
                "554 5.4.6 too many Received fields, this looks like a mail loop",
            ),
            (
                hidden(HiddenBcc::BehindCr),
                "550 5.6.0 a Bcc stands behind a CR that ends no line: end lines with CRLF",
            ),
            (
                hidden(HiddenBcc::Indented),
                "550 5.6.0 a Bcc stands on an indented line within another field: indent no field",
            ),
            (
                hidden(HiddenBcc::BehindTooMuch),
                "550 5.6.0 a Bcc stands behind too many lines that are no header: begin with the header, end it with \
                 an empty line",
            ),
            (Message(Unacceptable::Rejected("no spam".into())), "550 5.7.1 no spam"),
            (Client(Reply::bare(450, "as told")), "450 as told"),
            (Sender(Reply::bare(550, "as told")), "550 as told"),
        ]
    }

    /// Returns the number of the row for a reason; its `match` makes a row for every reason a must.
    fn row(refusal: &MessageRefusal) -> usize {
        match refusal {
            MessageRefusal::Host(HostTrouble::NoRoom) => 0,
            MessageRefusal::Host(HostTrouble::Failing) => 1,
            MessageRefusal::Host(HostTrouble::ShuttingDown) => 2,
            MessageRefusal::Message(Unacceptable::HeaderTooLarge) => 3,
            MessageRefusal::Message(Unacceptable::TooMuchEffort) => 4,
            MessageRefusal::Message(Unacceptable::MailLoop) => 5,
            MessageRefusal::Message(Unacceptable::HiddenBcc(HiddenBcc::BehindCr)) => 6,
            MessageRefusal::Message(Unacceptable::HiddenBcc(HiddenBcc::Indented)) => 7,
            MessageRefusal::Message(Unacceptable::HiddenBcc(HiddenBcc::BehindTooMuch)) => 8,
            MessageRefusal::Message(Unacceptable::Rejected(_)) => 9,
            MessageRefusal::Client(_) => 10,
            MessageRefusal::Sender(_) => 11,
        }
    }

    #[test]
    fn every_refusal_has_its_one_reply() {
        for (at, (refusal, expected)) in table().into_iter().enumerate() {
            assert_eq!(row(&refusal), at, "{refusal:?}");
            assert_eq!(refusal.clone().reply().to_string(), expected, "{refusal:?}");
            let severity = refusal.clone().reply().severity();
            match refusal {
                MessageRefusal::Host(_) => assert_eq!(severity, Severity::Transient),
                MessageRefusal::Message(_) => assert_eq!(severity, Severity::Permanent),
                MessageRefusal::Client(_) | MessageRefusal::Sender(_) => {}
            }
        }
    }
}
