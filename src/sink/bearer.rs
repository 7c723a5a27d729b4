//! The server side of OAUTHBEARER and XOAUTH2, as in a relay that knows one token for each user.
//!
//! Promises: an exchange succeeds only for a known user with the user's own token. A wrong one is told the reason in a
//! challenge, as Google does, and fails after the client's answer. `Debug` does not show tokens.
//!
//! RFC 7628 (OAUTHBEARER).

use super::auth::{AuthExchange, SinkUsers};
use crate::listener::backend::AuthStep;
use crate::oauth::AccessToken;

/// The mechanisms that EHLO offers where a token is known.
pub const TOKEN_MECHANISMS: [&str; 2] = ["OAUTHBEARER", "XOAUTH2"];

/// The challenge that says why a token is refused.
const REASON: &[u8] = br#"{"status":"401","schemes":"bearer","scope":"mail"}"#;

/// A user who logs in with an access token.
#[derive(Clone, Debug)]
pub struct TokenUser {
    /// The name of the user.
    pub name: String,
    /// The token that proves the name.
    pub token: AccessToken,
}

/// Everybody who may log in.
pub(super) struct Admitted {
    pub(super) users: SinkUsers,
    pub(super) tokens: Vec<TokenUser>,
}

/// An exchange that is under way.
pub(super) enum SinkExchange {
    /// With a password.
    Password(AuthExchange),
    /// With a token, whose message is awaited.
    Token(TokenMechanism),
    /// With a token that was refused; the client's answer to the reason is awaited.
    Refused,
}

/// A mechanism that proves a token.
#[derive(Clone, Copy)]
pub(super) enum TokenMechanism {
    OAuthBearer,
    XOAuth2,
}

impl Admitted {
    /// Begins an exchange. Returns it, unless it is over, and the first answer to the client.
    pub(super) fn start(&self, mechanism: &str, initial: Option<&[u8]>) -> (Option<SinkExchange>, AuthStep) {
        let mechanism = match mechanism {
            "OAUTHBEARER" if !self.tokens.is_empty() => TokenMechanism::OAuthBearer,
            "XOAUTH2" if !self.tokens.is_empty() => TokenMechanism::XOAuth2,
            other => {
                let (exchange, step) = self.users.start(other, initial);
                return (exchange.map(SinkExchange::Password), step);
            }
        };
        match initial {
            Some(message) => self.go_on(SinkExchange::Token(mechanism), message),
            None => (Some(SinkExchange::Token(mechanism)), AuthStep::Challenge(Vec::new())),
        }
    }

    /// Processes a response of the client. Returns the exchange, unless it is over, and the answer.
    pub(super) fn go_on(&self, exchange: SinkExchange, response: &[u8]) -> (Option<SinkExchange>, AuthStep) {
        match exchange {
            SinkExchange::Password(mut exchange) => {
                let step = exchange.respond(response);
                let goes_on = matches!(step, AuthStep::Challenge(_));
                (goes_on.then_some(SinkExchange::Password(exchange)), step)
            }
            SinkExchange::Token(mechanism) => match self.user_of(mechanism, response) {
                Some(user) => (None, AuthStep::Succeeded { user, senders: None }),
                None => (Some(SinkExchange::Refused), AuthStep::Challenge(REASON.to_vec())),
            },
            SinkExchange::Refused => (None, AuthStep::Failed),
        }
    }

    /// Returns the user whom the message of a client proves.
    fn user_of(&self, mechanism: TokenMechanism, message: &[u8]) -> Option<String> {
        let message = std::str::from_utf8(message).ok()?;
        let (front, fields) = message.split_once('\u{1}')?;
        let name = match mechanism {
            TokenMechanism::OAuthBearer => {
                let name = front.strip_prefix("n,a=")?.strip_suffix(',')?;
                name.replace("=2C", ",").replace("=3D", "=")
            }
            TokenMechanism::XOAuth2 => front.strip_prefix("user=")?.to_owned(),
        };
        let mut fields = fields.strip_suffix("\u{1}\u{1}")?.split('\u{1}');
        let token = fields.find_map(|field| field.strip_prefix("auth=Bearer "))?;
        let known = self.tokens.iter().find(|known| known.name == name && known.token.expose() == token)?;
        Some(known.name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn admitted() -> Admitted {
        let token = AccessToken::of(Secret::new("sesame".into())).unwrap();
        let tokens = vec![TokenUser { name: "ann,x=y@example.com".into(), token }];
        Admitted { users: SinkUsers::new(&[]).unwrap(), tokens }
    }

    #[test]
    fn only_the_token_of_the_user_is_accepted() {
        let cases = [
            ("OAUTHBEARER", "n,a=ann=2Cx=3Dy@example.com,\u{1}auth=Bearer sesame\u{1}\u{1}", true),
            ("OAUTHBEARER", "n,a=ann=2Cx=3Dy@example.com,\u{1}host=x\u{1}auth=Bearer sesame\u{1}\u{1}", true),
            ("OAUTHBEARER", "n,a=ann,x=y@example.com,\u{1}auth=Bearer sesame\u{1}\u{1}", true),
            ("OAUTHBEARER", "n,,\u{1}auth=Bearer sesame\u{1}\u{1}", false),
            ("OAUTHBEARER", "n,a=ann=2Cx=3Dy@example.com,\u{1}auth=Bearer sesam\u{1}\u{1}", false),
            ("XOAUTH2", "user=ann,x=y@example.com\u{1}auth=Bearer sesame\u{1}\u{1}", true),
            ("XOAUTH2", "user=bob@example.com\u{1}auth=Bearer sesame\u{1}\u{1}", false),
            ("XOAUTH2", "user=ann,x=y@example.com\u{1}auth=Bearer sesame", false),
            ("XOAUTH2", "", false),
        ];
        for (mechanism, message, accepted) in cases {
            for at_once in [true, false] {
                let admitted = admitted();
                let (exchange, step) = admitted.start(mechanism, at_once.then_some(message.as_bytes()));
                let (exchange, step) = match at_once {
                    true => (exchange, step),
                    false => admitted.go_on(exchange.unwrap(), message.as_bytes()),
                };
                if accepted {
                    assert_eq!(
                        step,
                        AuthStep::Succeeded { user: "ann,x=y@example.com".into(), senders: None }
                    );
                } else {
                    assert_eq!(step, AuthStep::Challenge(REASON.to_vec()), "{message:?}");
                    assert_eq!(admitted.go_on(exchange.unwrap(), b"\x01").1, AuthStep::Failed);
                }
            }
        }
    }

    #[test]
    fn without_tokens_there_is_no_such_mechanism() {
        let admitted = Admitted { tokens: Vec::new(), ..admitted() };
        for mechanism in TOKEN_MECHANISMS {
            assert!(matches!(admitted.start(mechanism, None), (None, AuthStep::Failed)));
        }
    }
}
