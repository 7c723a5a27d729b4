//! AUTH: the frame around a SASL exchange, which itself is the shell's.
//!
//! Promises: one exchange succeeds per session, outside transactions, and where the policy wants
//! TLS, in TLS. After [`MAX_AUTH_FAILURES`] the next AUTH ends the session. Responses are strict base64.
//!
//! Not here: mechanisms, users, passwords (`sink/auth.rs`; the daemon offers no AUTH).
//!
//! RFC 4954.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::state::State;
use super::{Action, Answered, Durable, Session, error, say_hello_first};
use crate::smtp::reply::Reply;
use crate::status::Status;

/// So many guesses a session has.
const MAX_AUTH_FAILURES: u32 = 3;

impl<P: Durable> Session<P> {
    pub(super) fn auth(&mut self, mechanism: &str, initial_response: Option<&str>) -> Action {
        if self.auth_failures >= MAX_AUTH_FAILURES {
            return self.close(Answered::Command, error(421, 7, 0, "too many failed authentications"));
        }
        if let Err(refusal) = self.check_auth_may_begin() {
            return self.answer(refusal);
        }
        let offered = self.policy.auth.iter().find(|offered| offered.eq_ignore_ascii_case(mechanism));
        let Some(mechanism) = offered.cloned() else {
            return self.answer(error(504, 5, 4, "mechanism not offered"));
        };
        let initial_response = match initial_response {
            // RFC 4954 4: an empty response, which base64 could not show.
            Some("=") => Ok(Some(Vec::new())),
            Some(text) => BASE64.decode(text).map(Some),
            None => Ok(None),
        };
        match initial_response {
            Ok(initial_response) => {
                self.state = State::ExpectAuthVerdict;
                Action::AuthStart { mechanism, initial_response }
            }
            Err(_) => self.answer(bad_base64()),
        }
    }

    fn check_auth_may_begin(&self) -> Result<(), Reply> {
        let refusal = match &self.state {
            _ if self.policy.auth.is_empty() => error(502, 5, 1, "AUTH not offered"),
            State::ExpectHello => say_hello_first(),
            State::ExpectRecipient(_) | State::ExpectChunk(_) => error(503, 5, 1, "not within a transaction"),
            _ if self.client.user.is_some() => error(503, 5, 1, "authenticated already"),
            _ if !self.offers_auth() => error(538, 7, 11, "AUTH needs TLS"),
            _ => return Ok(()),
        };
        Err(refusal)
    }

    /// A line that is to answer a challenge.
    pub(super) fn auth_response(&mut self, line: &[u8]) -> Action {
        let response = BASE64.decode(line);
        self.state = if response.is_ok() { State::ExpectAuthVerdict } else { State::ExpectMail };
        match response {
            Ok(response) => Action::AuthResponse(response),
            Err(_) if line == b"*" => {
                self.answer_to(Answered::Line, error(501, 7, 0, "authentication cancelled"))
            }
            Err(_) => self.answer_to(Answered::Line, bad_base64()),
        }
    }

    pub(super) fn auth_line_too_long(&mut self) -> Action {
        self.state = State::ExpectMail;
        self.answer_to(Answered::Line, error(500, 5, 6, "authentication line too long"))
    }

    /// SASL wants more: the 334 that says so.
    pub fn auth_challenge(&mut self, challenge: &[u8]) -> Reply {
        self.state = State::ExpectAuthResponse;
        Reply::bare(334, BASE64.encode(challenge))
    }

    /// `user` is who the client said it is.
    pub fn auth_succeeded(&mut self, user: &str) -> Reply {
        self.client.user = Some(user.to_owned());
        self.state = State::ExpectMail;
        Reply::new(235, Status::success(7, 0), "authentication succeeded")
    }

    /// Wrong password, unknown user, broken exchange: the client is told no more than that it failed.
    pub fn auth_failed(&mut self) -> Reply {
        self.auth_failures += 1;
        self.state = State::ExpectMail;
        error(535, 7, 8, "authentication failed")
    }

    /// Whether EHLO announces AUTH.
    pub(super) fn offers_auth(&self) -> bool {
        !self.policy.auth.is_empty() && (self.client.tls || !self.policy.auth_requires_tls)
    }

    /// Whether the policy wants an authentication that has not been.
    pub(super) fn lacks_auth(&self) -> bool {
        self.policy.auth_required && self.client.user.is_none()
    }
}

fn bad_base64() -> Reply {
    error(501, 5, 2, "response is not base64")
}
