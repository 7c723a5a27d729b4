//! Access tokens from a token endpoint (`[auth.oauth]`).
//!
//! Promises:
//! 1. A token is used until shortly before its end, by all connections; then one request gets another, and the others wait
//!    for it. While the endpoint does not work, the old token is used up to its end.
//! 2. A request that has begun comes to its end even if the connection that wanted it is given up: a refresh token that the
//!    endpoint has handed out is not lost (`token/refresh_file.rs`).
//! 3. A token that a relay has refused is not used again.
//!
//! Fails: [`Denial`], with the endpoint in front: an operator must act, or the endpoint has trouble.
//!
//! Not here: the text of requests and replies (`oauth/`), HTTP (`token/endpoint.rs`).
//!
//! RFC 6749.

mod endpoint;
mod login;
mod refresh_file;
mod request;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;
use zeroize::Zeroizing;

pub use login::{DevicePrompt, device_login};

use crate::config::{OAuthConfig, OAuthGrant, SettingError, WebAddress};
use crate::log;
use crate::oauth::{AccessToken, Denial, Granted, granted};
use endpoint::Endpoint;
use refresh_file::RefreshFile;
use request::TokenRequest;

/// A token is renewed this long before its end, or at half of its life if that is later.
const AHEAD: Duration = Duration::from_secs(300);
/// The lifetime of a token whose endpoint does not say (RFC 6749 5.1).
const UNSAID: Duration = Duration::from_secs(600);

/// The tokens of one `[auth.oauth]`.
pub(super) struct TokenDesk {
    oauth: OAuthConfig,
    /// `auth.username`: the mailbox that the token is for.
    username: String,
    endpoint: Endpoint,
    /// The lock is held across a request, so that the others wait for its token (promise 1).
    held: Mutex<Option<HeldToken>>,
}

struct HeldToken {
    token: AccessToken,
    renew_at: Instant,
    ends_at: Instant,
}

/// A token for a login.
pub(super) struct HandedToken {
    /// The token.
    pub(super) token: AccessToken,
    /// True if the endpoint has handed it out just now. If it is refused, another one would be, too.
    pub(super) is_fresh: bool,
}

impl TokenDesk {
    /// Loads the authorities. Returns the desk, and warnings for the operator. Blocks on the disk.
    pub(super) fn new(oauth: OAuthConfig, username: String) -> Result<(Self, Vec<String>), SettingError> {
        let (endpoint, warnings) = Endpoint::new(oauth.ca_file.as_deref())?;
        Ok((TokenDesk { oauth, username, endpoint, held: Mutex::default() }, warnings))
    }

    /// Returns a token that is valid now.
    pub(super) async fn token(self: &Arc<Self>) -> Result<HandedToken, Denial> {
        let desk = Arc::clone(self);
        // A task of its own: it is not given up with the caller (promise 2).
        let flight = tokio::spawn(async move { desk.flight().await });
        let handed = flight.await.map_err(|error| Denial::Trouble(error.to_string()));
        handed.flatten().map_err(|denial| at(&self.oauth.token_url, denial))
    }

    /// Returns what the files hold that `[auth.oauth]` names; `None` if they cannot be read now.
    pub(super) async fn secrets(&self) -> Option<Zeroizing<Vec<u8>>> {
        let oauth = self.oauth.clone();
        tokio::task::spawn_blocking(move || oauth.secrets()).await.ok()
    }

    /// Takes in that a relay has refused `token`.
    pub(super) async fn refused(&self, token: &AccessToken) {
        let mut held = self.held.lock().await;
        if held.as_ref().is_some_and(|held| held.token.expose() == token.expose()) {
            *held = None;
        }
    }

    async fn flight(self: Arc<Self>) -> Result<HandedToken, Denial> {
        let desk = Arc::clone(&self);
        let mut held = desk.held.lock().await;
        let now = Instant::now();
        if let Some(held) = held.as_ref().filter(|held| now < held.renew_at) {
            return Ok(HandedToken { token: held.token.clone(), is_fresh: false });
        }
        match self.ask().await {
            Ok(granted) => {
                let lifetime = granted.lifetime.unwrap_or(UNSAID);
                let (renew_at, ends_at) =
                    (now + lifetime.saturating_sub(AHEAD).max(lifetime / 2), now + lifetime);
                *held = Some(HeldToken { token: granted.token.clone(), renew_at, ends_at });
                Ok(HandedToken { token: granted.token, is_fresh: true })
            }
            Err(denial) => match held.as_ref().filter(|held| now < held.ends_at) {
                Some(held) => Ok(HandedToken { token: held.token.clone(), is_fresh: false }),
                None => Err(denial),
            },
        }
    }

    /// Asks the endpoint for a token.
    async fn ask(self: &Arc<Self>) -> Result<Granted, Denial> {
        match &self.oauth.grant {
            OAuthGrant::RefreshToken { file, device_url, .. } => {
                let file = RefreshFile::lock(file).await;
                self.refresh(file, device_url.is_some()).await
            }
            OAuthGrant::ClientCredentials { .. } | OAuthGrant::JwtBearer { .. } => {
                let desk = Arc::clone(self);
                let request =
                    aside(move || TokenRequest::for_token(&desk.oauth, &desk.username, None)).await?;
                let url = &self.oauth.token_url;
                let reply = self.endpoint.post(url, &request.form()).await.map_err(Denial::Trouble)?;
                read(&request, reply, granted)
            }
        }
    }

    /// Asks with the refresh token in `file`, and writes the one that replaces it.
    async fn refresh(self: &Arc<Self>, mut file: RefreshFile, has_login: bool) -> Result<Granted, Denial> {
        let desk = Arc::clone(self);
        let (mut file, token, request) = aside(move || {
            let path = desk.refresh_path();
            let unwritten = |error| Denial::Trouble(format!("{} cannot be written: {error}", path.display()));
            file.catch_up().map_err(unwritten)?;
            if has_login && !path.exists() {
                let words =
                    format!("{} is missing: nobody has logged in; run nullmta oauth login", path.display());
                return Err(Denial::Configuration(words));
            }
            let token = request::read_secret(path)?;
            let request = TokenRequest::for_token(&desk.oauth, &desk.username, Some(&token))?;
            Ok((file, token, request))
        })
        .await?;
        let url = &self.oauth.token_url;
        let reply = self.endpoint.post(url, &request.form()).await.map_err(Denial::Trouble)?;
        let granted = read(&request, reply, granted)?;
        if let Some(new) = granted.refresh_token.clone().filter(|new| new.expose() != token.expose()) {
            let desk = Arc::clone(self);
            aside(move || {
                if let Err(error) = file.replace(token, new) {
                    log::refresh_token_not_written(&desk.refresh_path().display(), &error);
                }
                Ok(())
            })
            .await?;
        }
        Ok(granted)
    }

    /// Returns the path of the refresh token; empty for a grant without one, which never asks.
    fn refresh_path(&self) -> &std::path::Path {
        self.oauth.refresh_token_file().unwrap_or(std::path::Path::new(""))
    }
}

/// Reads the reply to `request`. The secrets of the request are not in a denial, even if the endpoint repeats them.
fn read<T>(
    request: &TokenRequest,
    reply: endpoint::EndpointReply,
    reader: impl Fn(u16, &[u8]) -> Result<T, Denial>,
) -> Result<T, Denial> {
    match reader(reply.status, &reply.body) {
        Ok(read) => Ok(read),
        Err(_) => reader(reply.status, &request.masked(&reply.body)),
    }
}

/// Puts the endpoint in front of the words of `denial`.
fn at(url: &WebAddress, denial: Denial) -> Denial {
    let told = |words: String| format!("the token endpoint {}: {words}", url.host);
    match denial {
        Denial::Configuration(words) => Denial::Configuration(told(words)),
        Denial::Trouble(words) => Denial::Trouble(told(words)),
        other => other,
    }
}

/// Runs `work` outside the async threads.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Denial> + Send + 'static,
) -> Result<T, Denial> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Denial::Trouble(format!("its files were not read: {error}"))))
}

#[cfg(test)]
mod tests;
