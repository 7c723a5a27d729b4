//! The AUTH command. The SASL exchange itself is done by the shell.
//!
//! Promises: at most one exchange succeeds per session, outside transactions, and each mechanism only within the cover that
//! the policy wants for it. After [`MAX_AUTH_FAILURES`] the next AUTH ends the session. Responses are strict base64.
//!
//! Not here: mechanisms, users, passwords (`sasl_server.rs`, `listener/login.rs`, `sink/auth.rs`).
//!
//! RFC 4954.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::state::SessionState;
use super::{Answered, Durable, OfferedMechanism, Session, SessionAction, error, say_hello_first};
use crate::sender_policy::SenderPolicy;
use crate::smtp::reply::Reply;
use crate::status::Status;

/// The number of failed attempts that a session may make.
const MAX_AUTH_FAILURES: u32 = 3;

impl<P: Durable> Session<P> {
    pub(super) fn auth(&mut self, mechanism: &str, initial_response: Option<&str>) -> SessionAction {
        if self.auth_failures >= MAX_AUTH_FAILURES {
            return self.close(Answered::Command, error(421, 7, 0, "too many failed authentications"));
        }
        if let Err(refusal) = self.check_auth_may_begin() {
            return self.answer(refusal);
        }
        let mut known = self.policy.auth.iter().flat_map(|auth| &auth.mechanisms);
        let mechanism = match known.find(|known| known.name.eq_ignore_ascii_case(mechanism)) {
            None => return self.answer(error(504, 5, 4, "mechanism not offered")),
            Some(known) if !self.is_offered(known) => {
                return self.answer(error(538, 7, 11, "this mechanism needs TLS"));
            }
            Some(known) => known.name.clone(),
        };
        let initial_response = match initial_response {
            // RFC 4954 4: an empty response, which base64 could not show.
            Some("=") => Ok(Some(Vec::new())),
            Some(text) => BASE64.decode(text).map(Some),
            None => Ok(None),
        };
        match initial_response {
            Ok(initial_response) => {
                self.state = SessionState::ExpectAuthVerdict;
                SessionAction::AuthStart { mechanism, initial_response }
            }
            Err(_) => self.answer(bad_base64()),
        }
    }

    fn check_auth_may_begin(&self) -> Result<(), Reply> {
        let refusal = match &self.state {
            _ if self.policy.auth.is_none() => error(502, 5, 1, "AUTH not offered"),
            SessionState::ExpectHello => say_hello_first(),
            SessionState::ExpectRecipient(_) | SessionState::ExpectChunk(_) => {
                error(503, 5, 1, "not within a transaction")
            }
            _ if self.client.user.is_some() => error(503, 5, 1, "authenticated already"),
            _ => return Ok(()),
        };
        Err(refusal)
    }

    /// Processes the line with which the client answers a challenge.
    pub(super) fn auth_response(&mut self, line: &[u8]) -> SessionAction {
        let response = BASE64.decode(line);
        self.state =
            if response.is_ok() { SessionState::ExpectAuthVerdict } else { SessionState::ExpectMail };
        match response {
            Ok(response) => SessionAction::AuthResponse(response),
            Err(_) if line == b"*" => {
                self.answer_to(Answered::Line, error(501, 7, 0, "authentication cancelled"))
            }
            Err(_) => self.answer_to(Answered::Line, bad_base64()),
        }
    }

    pub(super) fn auth_line_too_long(&mut self) -> SessionAction {
        self.state = SessionState::ExpectMail;
        self.answer_to(Answered::Line, error(500, 5, 6, "authentication line too long"))
    }

    /// Tells the session that SASL sends a challenge. Returns the 334 reply with it.
    pub fn auth_challenge(&mut self, challenge: &[u8]) -> Reply {
        self.state = SessionState::ExpectAuthResponse;
        Reply::bare(334, BASE64.encode(challenge))
    }

    /// Tells the session that the client has authenticated as `user`, who may send as these senders; `None` for all. Returns
    /// the reply.
    pub fn auth_succeeded(&mut self, user: &str, senders: Option<Arc<SenderPolicy>>) -> Reply {
        self.client.user = Some(user.to_owned());
        self.client.senders = senders;
        self.state = SessionState::ExpectMail;
        Reply::new(235, Status::success(7, 0), "authentication succeeded")
    }

    /// Tells the session that the exchange failed. The returned reply does not say whether the user, the password or the
    /// exchange was wrong.
    pub fn auth_failed(&mut self) -> Reply {
        self.auth_failures += 1;
        self.state = SessionState::ExpectMail;
        error(535, 7, 8, "authentication failed")
    }

    /// Tells the session that nobody can be authenticated now. Returns the reply, which says that it may go well later.
    pub fn auth_unavailable(&mut self) -> Reply {
        self.state = SessionState::ExpectMail;
        error(454, 7, 0, "no login is possible now, try again later")
    }

    /// Returns the mechanisms that EHLO announces now.
    pub(super) fn mechanisms(&self) -> Vec<&str> {
        let known = self.policy.auth.iter().flat_map(|auth| &auth.mechanisms);
        known.filter(|known| self.is_offered(known)).map(|known| known.name.as_str()).collect()
    }

    fn is_offered(&self, mechanism: &OfferedMechanism) -> bool {
        self.client.cover >= mechanism.needs
    }

    /// Returns whether the policy requires authentication and the client has not authenticated.
    pub(super) fn lacks_auth(&self) -> bool {
        self.policy.auth.as_ref().is_some_and(|auth| auth.is_required) && self.client.user.is_none()
    }
}

fn bad_base64() -> Reply {
    error(501, 5, 2, "response is not base64")
}
