//! SASL with an access token: OAUTHBEARER and XOAUTH2.
//!
//! Promises: a token is sent only over a [`Verified`] stream, as an initial response only where the line has at most 512
//! octets, else after the relay's 334: the tokens of Microsoft never fit, and its relays want it so. The relay's reason for
//! a refusal is answered as the mechanism asks, and is part of the error.
//!
//! rsasl has both mechanisms; they are not used, since its OAUTHBEARER answers a refusal with an empty line in place of
//! the ^A of RFC 7628 3.2.3, and writes a username with a comma as it is (RFC 5801 4).
//!
//! RFC 7628 (OAUTHBEARER); XOAUTH2 has no RFC, Google and Microsoft describe it.

use zeroize::Zeroizing;

use super::super::channel::Channel;
use super::super::login::Login;
use super::super::tls::Verified;
use super::super::trouble::{Cause, Phase, TokenRefusal, Trouble};
use super::{MAX_LINE_OCTETS, allowed, cancel, encoded, nothing_in_common};
use crate::config::Mechanism;
use crate::oauth::{AccessToken, Denial, reason_in, remedy_at_relay};
use crate::smtp::reply::{Reply, Severity};

/// Authenticates with the access token of the login `auth`, by one of the mechanisms in `offered`. A token that was handed
/// out earlier, by `tokens`, and is refused now is replaced once. Returns the mechanism that the relay took.
pub(super) async fn authenticate_by_token(
    channel: &mut Channel<Verified>,
    offered: &[String],
    login: &Login,
) -> Result<Mechanism, Trouble> {
    let auth = &login.auth;
    let common = |mechanism: &Mechanism| offered.iter().any(|name| name == mechanism.name());
    let Some(mechanism) = allowed(auth).into_iter().find(common) else {
        return Err(channel.trouble(Phase::Auth, Cause::Misfit(nothing_in_common(offered, auth))));
    };
    let Some(tokens) = &login.tokens else {
        let token = login.token().await;
        let token = token.map_err(|error| channel.trouble(Phase::Auth, error.cause()))?;
        return authenticate(channel, mechanism, &auth.username, &token).await.map(|()| mechanism);
    };
    loop {
        let handed = login
            .handed_token(tokens)
            .await
            .map_err(|denial| channel.trouble(Phase::Auth, cause_of(denial)))?;
        // The relay may speak of an earlier token.
        channel.keep_all_secrets(&tokens.exchanged());
        match authenticate(channel, mechanism, &auth.username, &handed.token).await {
            Err(trouble) if matches!(trouble.cause, Cause::LoginRefused { for_good: true, .. }) => {
                tokens.refused(&handed.token).await;
                if handed.is_fresh {
                    return Err(with_remedy(trouble));
                }
            }
            result => {
                if let Some(at) = handed.retires_at {
                    channel.retire_at(at);
                }
                return result.map(|()| mechanism);
            }
        }
    }
}

/// Returns the refusal of a token that the endpoint has just handed out, with what to do about it.
fn with_remedy(mut trouble: Trouble) -> Trouble {
    if let Cause::LoginRefused { said, token: Some(token), .. } = &mut trouble.cause {
        let host = trouble.peer.as_ref().map_or("", |peer| peer.name.as_str());
        token.remedy = remedy_at_relay(host, said);
    }
    trouble
}

/// Returns the cause for a token that is not to be had: trouble that may pass, or an operator must act.
fn cause_of(denial: Denial) -> Cause {
    match denial {
        Denial::Configuration(words) => Cause::NoSecret(words),
        Denial::Trouble(words) => Cause::Other(words),
        Denial::Pending | Denial::SlowDown => {
            Cause::Other("the token endpoint answers another question".into())
        }
    }
}

/// Authenticates `user` with `token`. A refusal is [`Cause::LoginRefused`].
async fn authenticate(
    channel: &mut Channel<Verified>,
    mechanism: Mechanism,
    user: &str,
    token: &AccessToken,
) -> Result<(), Trouble> {
    let response = response(mechanism, user, token);
    let refused = |said: String, for_good, reply: Option<Reply>, reason| {
        let said = format!("{}: {said}", mechanism.name());
        let token = Some(Box::new(TokenRefusal { reason, remedy: None }));
        Cause::LoginRefused { said, for_good, reply: reply.map(Box::new), token, advice: None }
    };
    channel.keep_secret(token.expose().as_bytes());
    let mut reply = begin(channel, mechanism, &response).await?;
    let mut reason = None;
    if reply.severity() == Severity::Intermediate {
        reason = reason_in(challenge(&reply), channel.told_secrets());
        // RFC 7628 3.2.3; XOAUTH2 asks for an empty line.
        let acknowledged: &[u8] = if mechanism == Mechanism::OAuthBearer { b"AQ==" } else { b"" };
        reply = channel.secret_command(Phase::Auth, acknowledged).await?;
    }
    match reply.severity() {
        Severity::Positive => Ok(()),
        Severity::Intermediate => {
            cancel(channel).await?;
            let words = "the relay asks for more than the mechanism has".into();
            Err(channel.trouble(Phase::Auth, refused(words, true, None, None)))
        }
        _ if reply.code() == 421 => Err(channel.trouble(Phase::Auth, Cause::Reply(reply))),
        severity => {
            let said = Cause::Reply(reply.clone()).to_string();
            let for_good = severity == Severity::Permanent;
            Err(channel.trouble(Phase::Auth, refused(said, for_good, Some(reply), reason)))
        }
    }
}

/// Sends AUTH with the response, on one line or on two. Returns the reply to the response.
async fn begin(
    channel: &mut Channel<Verified>,
    mechanism: Mechanism,
    response: &[u8],
) -> Result<Reply, Trouble> {
    let name = mechanism.name();
    let octets = "AUTH ".len() + name.len() + " ".len() + response.len() + "\r\n".len();
    if octets <= MAX_LINE_OCTETS {
        let mut line = Zeroizing::new(Vec::with_capacity(octets));
        line.extend_from_slice(format!("AUTH {name} ").as_bytes());
        line.extend_from_slice(response);
        let reply = channel.secret_command(Phase::Auth, &line).await?;
        // Some relays take no initial response, and ask for what they were told.
        let asks_again = reply.severity() == Severity::Intermediate && challenge(&reply).is_empty();
        return if asks_again { channel.secret_command(Phase::Auth, response).await } else { Ok(reply) };
    }
    let reply = channel.command(Phase::Auth, format!("AUTH {name}").as_bytes()).await?;
    if reply.severity() != Severity::Intermediate {
        return Ok(reply);
    }
    channel.secret_command(Phase::Auth, response).await
}

/// Returns the only message of the mechanism, in base64.
fn response(mechanism: Mechanism, user: &str, token: &AccessToken) -> Zeroizing<Vec<u8>> {
    let front = match mechanism {
        Mechanism::OAuthBearer => format!("n,a={},", saslname(user)),
        _ => format!("user={user}"),
    };
    // A username has no control character (config/setting.rs), a token has the alphabet of RFC 6750: no ^A in them.
    let message = Zeroizing::new([&front, "\u{1}auth=Bearer ", token.expose(), "\u{1}\u{1}"].concat());
    encoded(message.as_bytes())
}

/// Returns `user` as RFC 5801 4 writes a name.
fn saslname(user: &str) -> String {
    user.replace('=', "=3D").replace(',', "=2C")
}

fn challenge(reply: &Reply) -> &str {
    reply.lines().first().map_or("", |text| text.trim())
}

#[cfg(test)]
mod tests;
