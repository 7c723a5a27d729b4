//! The commands for the envelope: MAIL, RCPT, RSET.
//!
//! Promises: an envelope begins with one MAIL, has at most `max_recipients`, and is dropped as a whole with its
//! transaction. A client gives only a reverse-path that it may give (`sender_policy.rs`). An address in UTF-8 is in it only if MAIL said SMTPUTF8 (RFC 6531).

use super::refusal::too_large;
use super::state::{CollectedEnvelope, SessionState};
use super::{Durable, Session, SessionAction, authentication_required, error, ok, say_hello_first};
use crate::envelope::{Envelope, Recipient};
use crate::smtp::command::BadCommand;

impl<P: Durable> Session<P> {
    pub(super) fn mail(&mut self, envelope: Box<Envelope>, size: Option<u64>) -> SessionAction {
        let declared_size = size.unwrap_or(0);
        let reply = match &self.state {
            SessionState::ExpectHello => say_hello_first(),
            SessionState::ExpectRecipient(_) | SessionState::ExpectChunk(_) => {
                error(503, 5, 1, "transaction under way")
            }
            _ if self.lacks_auth() => authentication_required(),
            _ if !self.policy.knows_parameters_of_mail(&envelope, size) => {
                BadCommand::UnknownParameter.reply()
            }
            _ if let Some(refusal) = self.refused_sender(&envelope) => error(550, 7, 1, &refusal),
            // RFC 3463 3.4: "system not accepting messages".
            _ if let Some(why) = &self.intake_pause => error(451, 3, 2, why),
            // RFC 1870 6.1.
            _ if declared_size > self.policy.max_message_size => too_large(),
            _ => {
                self.state = SessionState::ExpectRecipient(CollectedEnvelope { envelope, declared_size });
                ok(1, 0, "ok")
            }
        };
        self.answer(reply)
    }

    /// Returns why the client may not give this reverse-path; `None` if it may.
    fn refused_sender(&self, envelope: &Envelope) -> Option<String> {
        let policy = self.client.senders.as_ref()?;
        policy.check_reverse_path(&envelope.reverse_path).err().map(|refusal| refusal.to_string())
    }

    pub(super) fn rcpt(&mut self, recipient: Recipient) -> SessionAction {
        let max_recipients = self.policy.max_recipients;
        let knows_parameters = self.policy.knows_parameters_of_rcpt(&recipient);
        let reply = match &mut self.state {
            SessionState::ExpectHello => say_hello_first(),
            SessionState::ExpectRecipient(_) if !knows_parameters => BadCommand::UnknownParameter.reply(),
            SessionState::ExpectRecipient(CollectedEnvelope { envelope, .. }) => {
                if recipient.address.needs_smtputf8() && !envelope.smtputf8 {
                    BadCommand::NeedsSmtputf8.reply()
                } else if envelope.recipients.len() >= max_recipients {
                    // RFC 5321 4.5.3.1.10: temporary, so that the client sends the others in a next transaction.
                    self.surplus += 1;
                    error(452, 5, 3, "too many recipients")
                } else {
                    envelope.recipients.push(recipient);
                    ok(1, 5, "ok")
                }
            }
            SessionState::ExpectChunk(_) => error(503, 5, 1, "content has begun"),
            _ => error(503, 5, 1, "need MAIL first"),
        };
        self.answer(reply)
    }

    pub(super) fn rset(&mut self) -> SessionAction {
        self.state = self.between_transactions();
        self.answer(ok(0, 0, "ok"))
    }
}
