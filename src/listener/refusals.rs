//! The refusals that the listener decides on itself, and the reply to each: a limit is reached, or the spool does not take
//! a message.
//!
//! Promises: each refusal has exactly one reply, which is made here and nowhere else. A reply is 4xx, since the same
//! message may be accepted later. It says what the client can do, and not the cause, which is for the log.
//!
//! Not here: refusals because of a message or a command (`smtp/session/refusal.rs`, `smtp/bad_command.rs`), the log lines
//! (`intake.rs`, `serve.rs`).

use crate::listener::limits::Overload;
use crate::smtp::reply::Reply;
use crate::smtp::session::{HostTrouble, MessageRefusal};
use crate::spool::{CommitError, SHARE_IN_WORDS};
use crate::status::Status;

/// Text of the reply to content for whose header section there is no memory, and of the log line about it.
pub(super) const TOO_MANY_HEADERS: &str = "too many large header sections at once: try again later";

const GAVE_WAY: &str = "nothing came of this message for a while, and its room was needed: send it again";

/// Returns the reply to a connection that gets no session.
pub(super) fn no_session(overload: Overload) -> Reply {
    match overload {
        Overload::Sessions => Reply::new(421, Status::transient(3, 2), "too many sessions, try again later"),
        Overload::UserSessions => {
            Reply::new(421, Status::transient(7, 0), "too many sessions of yours, try again later")
        }
    }
}

/// Returns the refusal of a message whose user has sent too many in the last minute.
pub(super) fn too_many_messages() -> MessageRefusal {
    let text = "too many messages from you, try again later";
    MessageRefusal::Client(Reply::new(451, Status::transient(7, 1), text))
}

/// Returns the refusal of a message whose envelope was given before the intake was paused, for this reason.
pub(super) fn intake_paused(why: &str) -> MessageRefusal {
    MessageRefusal::Client(Reply::new(451, Status::transient(3, 2), why))
}

/// Returns the refusal of a message while the groups of its user, for which a limit asks, cannot be had.
pub(super) fn groups_unknown() -> MessageRefusal {
    let text = "your groups, for which a limit of this host asks, are not known now: try again later";
    MessageRefusal::Client(Reply::new(451, Status::transient(3, 0), text))
}

/// Returns the refusal of a message for whose header section there is no memory now.
pub(super) fn too_many_headers() -> MessageRefusal {
    not_now(TOO_MANY_HEADERS)
}

/// Returns the refusal of a message that the spool did not take.
pub(super) fn not_committed(error: CommitError) -> MessageRefusal {
    match error {
        CommitError::Full => HostTrouble::NoRoom.into(),
        CommitError::OverShare => not_now(&format!(
            "your unfinished messages fill {SHARE_IN_WORDS} of the room for mail: finish them, or try again later"
        )),
        CommitError::GaveWay => not_now(GAVE_WAY),
        CommitError::Trouble | CommitError::Astray => HostTrouble::Failing.into(),
        CommitError::Closed => HostTrouble::ShuttingDown.into(),
    }
}

/// Returns a refusal of this message alone, because there is no room for it now.
fn not_now(text: &str) -> MessageRefusal {
    MessageRefusal::Client(Reply::new(452, Status::transient(3, 1), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_of_the_spool_has_its_bland_reply() {
        let cases = [
            (CommitError::Full, true, "452 4.3.1 insufficient"),
            // There is room for others, and the text about a full disk sent operators to look at the disk.
            (
                CommitError::OverShare,
                false,
                "452 4.3.1 your unfinished messages fill a quarter of the room for mail",
            ),
            (CommitError::GaveWay, false, "452 4.3.1 nothing came of this message for a while"),
            (CommitError::Trouble, true, "451 4.3.0"),
            (CommitError::Astray, true, "451 4.3.0"),
            (CommitError::Closed, true, "421 4.3.2"),
        ];
        for (error, is_about_the_host, said) in cases {
            let refusal = not_committed(error);
            assert_eq!(matches!(refusal, MessageRefusal::Host(_)), is_about_the_host, "{error}");
            let reply = refusal.reply().to_string();
            assert!(reply.starts_with(said), "{reply}");
        }
    }

    #[test]
    fn every_limit_has_its_reply_which_lets_the_client_try_again() {
        for (reply, expected) in [
            (no_session(Overload::Sessions), "421 4.3.2 too many sessions, try again later"),
            (no_session(Overload::UserSessions), "421 4.7.0 too many sessions of yours, try again later"),
            (too_many_messages().reply(), "451 4.7.1 too many messages from you, try again later"),
            (too_many_headers().reply(), "452 4.3.1 too many large header sections at once: try again later"),
        ] {
            assert_eq!(reply.to_string(), expected);
        }
    }
}
