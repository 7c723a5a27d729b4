//! What a token endpoint says: three digits, which are the HTTP status, and the body of its reply; the body also as the reason
//! that a relay gives for refusing a token.
//!
//! Promises: nothing panics; an access token has the alphabet of RFC 6750 and a bounded length; a refresh token is read from
//! its file as it was written; times are bounded; what is told to an operator is one short line without control characters, in
//! which the access token of the reply does not stand.

#![no_main]

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use nullmta::oauth::{AccessToken, Denial, DeviceCode, TokenGrant, device_code, granted, reason_in, rotated};
use nullmta::secret::{Secret, SecretMasks};
use serde_json::{Map, Value};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Some of our words around three texts of the endpoint, each of 200 characters that are escaped as `\u{10ffff}`.
const LONGEST_LINE: usize = 8 * 1024;

fn assert_line(words: &str) {
    assert!(!words.is_empty() && words.len() <= LONGEST_LINE, "{}", words.len());
    assert!(!words.chars().any(char::is_control), "{words:?}");
}

fn assert_token(token: &AccessToken) {
    let text = token.expose();
    assert!(!text.is_empty() && text.len() <= 8 * 1024);
    assert!(text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-._~+/=".contains(&octet)), "{text:?}");
}

/// Checks that a refresh token survives its file, where it is one line.
fn assert_kept(token: &Secret) {
    let mut file = token.expose().to_vec();
    file.push(b'\n');
    let read = Secret::of_octets(file.into()).expect("one line");
    assert_eq!(read.expose(), token.expose());
}

fn assert_device(code: &DeviceCode) {
    [&code.user_code, &code.page].into_iter().for_each(|text| assert_line(text));
    assert!(code.lifetime <= DAY);
    assert!((Duration::from_secs(1)..=Duration::from_secs(60)).contains(&code.interval));
}

/// Checks what an operator is told. `secret` is the access token of the reply, if it stands nowhere else in it.
fn assert_denial(denial: &Denial, secret: Option<&str>) {
    let (Denial::Configuration(words) | Denial::Trouble(words)) = denial else { return };
    assert_line(words);
    assert!(secret.is_none_or(|secret| !words.contains(secret)), "{words:?}");
}

/// Returns the access token of a reply, if it is long enough to be known again, and no other field holds it.
fn secret_in(body: &[u8]) -> Option<String> {
    let mut fields: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let secret = fields.remove("access_token")?.as_str().filter(|text| text.len() >= 16)?.to_owned();
    let others = fields.iter().map(|(name, value)| format!("{name} {value}")).collect::<String>();
    (!others.contains(&secret)).then_some(secret)
}

fuzz_target!(|octets: &[u8]| {
    let none = SecretMasks::default();
    if let Some(reason) = reason_in(&STANDARD.encode(octets), &none) {
        assert_line(&reason);
    }
    if let Some(reason) = std::str::from_utf8(octets).ok().and_then(|text| reason_in(text, &none)) {
        assert_line(&reason);
    }
    let Some((digits, body)) = octets.split_at_checked(3) else { return };
    let Some(status) = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u16>().ok()) else { return };
    let secret = secret_in(body);
    let refresh = rotated(status, body);
    refresh.iter().for_each(assert_kept);
    match granted(TokenGrant::DeviceCode, &none, status, body) {
        Ok(granted) => {
            assert_token(&granted.token);
            assert!(granted.lifetime.is_none_or(|lifetime| lifetime <= DAY));
            let both = [&granted.refresh_token, &refresh].map(|token| token.as_ref().map(|token| token.expose().to_vec()));
            assert_eq!(both[0], both[1]);
        }
        Err(denial) => assert_denial(&denial, secret.as_deref()),
    }
    match device_code(&none, status, body) {
        Ok(code) => assert_device(&code),
        Err(denial) => assert_denial(&denial, secret.as_deref()),
    }
});
