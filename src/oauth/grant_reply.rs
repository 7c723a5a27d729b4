//! The reply of a token endpoint: a token, or why there is none.
//!
//! Promises: a reply without a token says whether an operator must act ([`Denial::Configuration`]) or the endpoint has
//! trouble ([`Denial::Trouble`]), in a sentence; nothing of a token is in it, neither of those in the reply nor of the secrets
//! that the caller names. These change only words of the endpoint that are repeated, never what its reply means.
//!
//! RFC 6749 5.1, 5.2; RFC 8628 3.2, 3.5.

use std::time::Duration;

use serde_json::{Map, Value};

use super::access_token::AccessToken;
use super::remedies::{DenialEnd, TokenGrant, known};
use super::words::quoted;
use crate::secret::{Secret, SecretMasks};

/// A token, with what comes with it.
#[derive(Debug)]
pub struct Granted {
    /// The access token.
    pub token: AccessToken,
    /// The time for which it is valid, if the endpoint says so.
    pub lifetime: Option<Duration>,
    /// The refresh token to use from now on, if the endpoint hands one out.
    pub refresh_token: Option<Secret>,
}

/// The code that a login on a terminal begins with.
#[derive(Debug)]
pub struct DeviceCode {
    /// The code that we ask with.
    pub device_code: Secret,
    /// The code that the user types.
    pub user_code: String,
    /// The page on which the user types it.
    pub page: String,
    /// The time for which the codes are valid.
    pub lifetime: Duration,
    /// The time between two questions.
    pub interval: Duration,
}

/// The reason why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// An operator must act: another try fails in the same way.
    Configuration(String),
    /// The endpoint does not work now.
    Trouble(String),
    /// The user has not logged in yet (RFC 8628 3.5).
    Pending,
    /// The user has not logged in yet, and we ask too often.
    SlowDown,
}

/// The longest lifetime that is believed.
const LONGEST: u64 = 24 * 3600;

/// The time between two questions of a login, if the endpoint says none (RFC 8628 3.2), and its bounds: one of 0 would be asked
/// without a pause.
const INTERVAL: Duration = Duration::from_secs(5);
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);

/// Reads the reply with the HTTP status `status` to a request for a token with `grant`. `secrets` are masked in a denial.
pub fn granted(
    grant: TokenGrant,
    secrets: &SecretMasks,
    status: u16,
    body: &[u8],
) -> Result<Granted, Denial> {
    let reply = fields(grant, secrets, status, body)?;
    let Some(token) = text(&reply, "access_token") else {
        return Err(Denial::Trouble("it gave no access token".into()));
    };
    let token = AccessToken::of(Secret::new(token.into()))
        .map_err(|bad| Denial::Trouble(format!("it gave {bad}")))?;
    if let Some(kind) = text(&reply, "token_type").filter(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        let kind = quoted(kind, &with_own(secrets, &reply));
        let words = format!("it gives tokens of the type {kind}; only Bearer can be used");
        return Err(Denial::Configuration(words));
    }
    Ok(Granted { token, lifetime: seconds(&reply, "expires_in"), refresh_token: refresh_token(&reply) })
}

/// Returns the refresh token to use from now on, if the reply with the HTTP status `status` holds one, whatever else is wrong
/// with it: the one before may be dead.
pub fn rotated(status: u16, body: &[u8]) -> Option<Secret> {
    // The grant matters only where there is none.
    refresh_token(&fields(TokenGrant::RefreshToken, &SecretMasks::default(), status, body).ok()?)
}

/// Reads the reply with the HTTP status `status` to a request for a device code. `secrets` are masked in every text of it.
pub fn device_code(secrets: &SecretMasks, status: u16, body: &[u8]) -> Result<DeviceCode, Denial> {
    let reply = fields(TokenGrant::DeviceCode, secrets, status, body)?;
    // Google writes `verification_url`.
    let page = text(&reply, "verification_uri").or(text(&reply, "verification_url"));
    let (Some(device), Some(user), Some(page)) =
        (text(&reply, "device_code"), text(&reply, "user_code"), page)
    else {
        return Err(Denial::Trouble("it gave no device code; is auth.oauth.device-url right?".into()));
    };
    Ok(DeviceCode {
        device_code: Secret::new(device.into()),
        user_code: quoted(user, secrets),
        page: quoted(page, secrets),
        lifetime: seconds(&reply, "expires_in").unwrap_or(Duration::from_secs(600)),
        interval: seconds(&reply, "interval").unwrap_or(INTERVAL).clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL),
    })
}

/// Returns `secrets` with those that the reply itself holds.
fn with_own(secrets: &SecretMasks, reply: &Map<String, Value>) -> SecretMasks {
    let mut secrets = secrets.clone();
    for name in ["access_token", "refresh_token", "id_token", "device_code"] {
        secrets.keep(text(reply, name).unwrap_or_default());
    }
    secrets
}

/// RFC 6749 A.17: 1*VSCHAR.
fn refresh_token(reply: &Map<String, Value>) -> Option<Secret> {
    let is_token = |text: &&str| {
        text.len() <= crate::secret::MAX_OCTETS
            && text.bytes().all(|octet| octet.is_ascii_graphic() || octet == b' ')
    };
    text(reply, "refresh_token").filter(is_token).map(|text| Secret::new(text.into()))
}

fn fields(
    grant: TokenGrant,
    secrets: &SecretMasks,
    status: u16,
    body: &[u8],
) -> Result<Map<String, Value>, Denial> {
    let reply: Option<Map<String, Value>> = serde_json::from_slice(body).ok();
    match (status, reply) {
        (200..=299, Some(reply)) if text(&reply, "error").is_none() => Ok(reply),
        (200..=299, None) => Err(Denial::Trouble("its reply is not JSON".into())),
        (300..=399, _) => Err(Denial::Trouble(format!(
            "it redirects (HTTP {status}), which is not followed, since the secret would go along; set the address that \
             it leads to"
        ))),
        (_, Some(reply)) if text(&reply, "error").is_some() => {
            Err(refused(grant, &with_own(secrets, &reply), status, &reply))
        }
        (400..=499, _) if ![408, 425, 429].contains(&status) => Err(Denial::Configuration(format!(
            "HTTP {status}, and no word of OAuth: is auth.oauth.token-url right?"
        ))),
        _ => Err(Denial::Trouble(format!("HTTP {status}"))),
    }
}

fn refused(grant: TokenGrant, secrets: &SecretMasks, status: u16, reply: &Map<String, Value>) -> Denial {
    let error = text(reply, "error").unwrap_or_default();
    let description = text(reply, "error_description");
    match error {
        "authorization_pending" => return Denial::Pending,
        "slow_down" => return Denial::SlowDown,
        _ => {}
    }
    let (end, remedy) = known(grant, error, description.unwrap_or_default());
    let remedy = remedy.map(|remedy| format!(": {remedy}")).unwrap_or_default();
    let said = description.map(|text| format!("; it said: {}", quoted(text, secrets))).unwrap_or_default();
    let words = format!("{}{remedy}{said}", quoted(error, secrets));
    // 429 and 5xx say that it is not about the request.
    match end {
        DenialEnd::ByOperator | DenialEnd::AnotherLogin if status < 500 && status != 429 => {
            Denial::Configuration(words)
        }
        DenialEnd::ByOperator | DenialEnd::AnotherLogin | DenialEnd::ByItself => Denial::Trouble(words),
    }
}

/// Returns a text of the reply. One without a visible character says as much as none.
fn text<'r>(reply: &'r Map<String, Value>, name: &str) -> Option<&'r str> {
    reply.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty())
}

/// Returns a number of seconds, which some endpoints write as a text.
fn seconds(reply: &Map<String, Value>, name: &str) -> Option<Duration> {
    let value = reply.get(name)?;
    let seconds = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    Some(Duration::from_secs(seconds.min(LONGEST)))
}

#[cfg(test)]
mod tests;
