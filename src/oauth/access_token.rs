//! The access token: what proves to a relay that we may send.
//!
//! Promises: an [`AccessToken`] is not empty, has at most [`MAX_TOKEN_OCTETS`], and consists of the characters that RFC
//! 6750 2.1 allows. So the line of SASL that carries it stays within the 12,288 octets of RFC 4954 4, and neither a line
//! break nor a ^A, which separates the fields of SASL, comes from a token.

use std::fmt;

use crate::secret::Secret;

/// Upper bound, in octets, of an access token. Those of Microsoft have about 2,000, those of Google up to 2,048.
const MAX_TOKEN_OCTETS: usize = 8 * 1024;

/// An access token that may be sent.
#[derive(Clone, Debug)]
pub struct AccessToken(Secret);

/// The reason why a text is no access token. It contains nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadToken {
    /// There is nothing.
    Empty,
    /// It has more than 8 KiB.
    TooLong,
    /// It has a character that RFC 6750 2.1 does not allow.
    Alphabet,
}

impl AccessToken {
    /// Returns `secret` as an access token, if it is one.
    pub fn of(secret: Secret) -> Result<AccessToken, BadToken> {
        let Some(text) = secret.text() else { return Err(BadToken::Alphabet) };
        let is_allowed = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~+/".contains(&octet);
        // RFC 6750 2.1: 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="
        let body = text.trim_end_matches('=');
        if text.is_empty() {
            Err(BadToken::Empty)
        } else if text.len() > MAX_TOKEN_OCTETS {
            Err(BadToken::TooLong)
        } else if body.is_empty() || !body.bytes().all(is_allowed) {
            Err(BadToken::Alphabet)
        } else {
            Ok(AccessToken(secret))
        }
    }

    /// Returns the token as a secret.
    pub fn secret(&self) -> &Secret {
        &self.0
    }

    /// Returns the text of the token, for the one call that proves it to a relay.
    pub fn expose(&self) -> &str {
        // `of` has found only ASCII in it.
        self.0.text().unwrap_or_default()
    }
}

impl fmt::Display for BadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadToken::Empty => "an empty token",
            BadToken::TooLong => "a token of more than 8 KiB",
            BadToken::Alphabet => {
                "what is no access token: it has characters that no token has (RFC 6750 2.1)"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token with a line break in it would be a command to the relay, one with a ^A another field of SASL.
    #[test]
    fn only_the_alphabet_of_rfc_6750_is_a_token() {
        let longest = "x".repeat(MAX_TOKEN_OCTETS);
        for text in ["x", "ya29.a0Af_-~+/9", "eyJ0.eyJh.c2ln", "abc=", "abc==", &longest] {
            assert_eq!(AccessToken::of(Secret::new(text.into())).unwrap().expose(), text);
        }
        let long = "x".repeat(MAX_TOKEN_OCTETS + 1);
        for (text, expected) in [
            ("", BadToken::Empty),
            (&long, BadToken::TooLong),
            ("=", BadToken::Alphabet),
            ("a=b", BadToken::Alphabet),
            ("a b", BadToken::Alphabet),
            ("a\r\nQUIT", BadToken::Alphabet),
            ("a\u{1}auth=Bearer b", BadToken::Alphabet),
            ("tökén", BadToken::Alphabet),
            ("\"abc\"", BadToken::Alphabet),
            ("{\"access_token\":\"abc\"}", BadToken::Alphabet),
        ] {
            assert_eq!(AccessToken::of(Secret::new(text.into())).unwrap_err(), expected, "{text:?}");
        }
    }

    #[test]
    fn never_printed() {
        let token = AccessToken::of(Secret::new("sesame".into())).unwrap();
        assert!(!format!("{token:?} {:?}", Some(&token)).contains("sesame"));
    }
}
