//! The challenge by which a relay says why it refuses a token, before its final reply.
//!
//! RFC 7628 3.2.2; XOAUTH2 has the same form.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::words::quoted;
use crate::secret::SecretMasks;

/// The fields of the challenge that say something to an operator. The others name schemes and configurations.
const TELLING: [&str; 2] = ["status", "scope"];

/// Returns the reason that `challenge`, the text of a 334 reply, gives: `status 400, scope https://mail.google.com/`;
/// `None` if it gives none. `secrets` are masked in it.
pub fn reason_in(challenge: &str, secrets: &SecretMasks) -> Option<String> {
    let octets = STANDARD.decode(challenge.trim()).ok()?;
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&octets).ok()?;
    let told = TELLING.iter().filter_map(|name| {
        let value = match fields.get(*name)? {
            serde_json::Value::String(text) => quoted(text, secrets),
            serde_json::Value::Number(number) => number.to_string(),
            _ => return None,
        };
        Some(format!("{name} {value}"))
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| told.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_found_or_there_is_none() {
        let cases = [
            (
                r#"{"status":"401","schemes":"bearer mac","scope":"https://mail.google.com/"}"#,
                Some("status 401, scope https://mail.google.com/"),
            ),
            (r#"{"status":"invalid_token","openid-configuration":"x"}"#, Some("status invalid_token")),
            (r#"{"status":400}"#, Some("status 400")),
            (r#"{"status":"a\r\n\u001b[2J"}"#, Some("status a \\u{1b}[2J")),
            (r#"{"status":["x"]}"#, None),
            ("[]", None),
            ("", None),
            ("{", None),
        ];
        for (json, expected) in cases {
            assert_eq!(
                reason_in(&STANDARD.encode(json), &SecretMasks::default()).as_deref(),
                expected,
                "{json}"
            );
        }
        assert_eq!(reason_in("not base64!", &SecretMasks::default()), None);
    }

    /// The token came out of the JSON whole, or as the first 200 characters of it.
    #[test]
    fn a_token_in_the_reason_is_masked() {
        let token = "a/token.".repeat(40);
        let mut secrets = SecretMasks::default();
        secrets.keep(&token);
        let json = format!(r#"{{"status":"401","scope":"no {}"}}"#, token.replace('/', "\\/"));
        assert_eq!(reason_in(&STANDARD.encode(json), &secrets).unwrap(), "status 401, scope no ***");
    }
}
