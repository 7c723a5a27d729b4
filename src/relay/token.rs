//! Access tokens from a token endpoint (`[auth.oauth]`).
//!
//! Promises:
//! 1. A token is used until shortly before its end, by all connections; then one request gets another, and the others wait
//!    for it. While the endpoint does not work, the old token is used as long as connections that it opens take messages.
//! 2. A request that has begun comes to its end even if the connection that wanted it is given up, and a stop of the daemon
//!    waits for it: a refresh token that the endpoint hands out meanwhile is written (`token/refresh_file.rs`). No request is
//!    begun for a connection that was given up.
//! 3. A token that a relay has refused is not used again. Connections that logged in with one take no further message shortly
//!    before its stated end: some relays look at it again, and refuse messages for good.
//! 4. The endpoint is not asked before the time that it names (Retry-After), and while an old token is valid, not within a
//!    minute of a failure.
//! 5. If a token is not renewed while the old one is valid, the log says so once, before mail waits.
//! 6. No secret of a request, and none of the tokens exchanged lately, is in words of the endpoint that are repeated.
//!
//! Fails: [`Denial`], with the endpoint in front: an operator must act, or the endpoint has trouble.
//!
//! Not here: the text of requests and replies (`oauth/`), HTTP (`web.rs`), how long a token is used
//! (`token/keeping.rs`).
//!
//! RFC 6749.

mod exchanged;
mod keeping;
mod login;
mod refresh_file;
mod request;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, oneshot};
use tokio::time::Instant;
use zeroize::Zeroizing;

pub use login::{DevicePrompt, device_login};
pub use refresh_file::{
    is_ours as is_refresh_token_of_ours, retry_now as refresh_tokens_retried,
    settled as refresh_tokens_settled,
};

use super::web::{WebClient, WebReply, WebServer};
use crate::config::{Families, OAuthConfig, OAuthGrant, SecretKind, SettingError, WebAddress};
use crate::log;
use crate::oauth::{AccessToken, Denial, Granted, granted, rotated};
use crate::secret::SecretMasks;
use exchanged::ExchangedTokens;
use keeping::TokenKeeping;
use refresh_file::{RefreshAsker, RefreshFile, Unwritable};
use request::{TokenRequest, form_message};

/// The tokens of one `[auth.oauth]`.
pub(super) struct TokenDesk {
    /// The name of the route that leads to the relay, for the log.
    route: Option<Arc<str>>,
    oauth: OAuthConfig,
    /// `auth.username`: the mailbox that the token is for.
    username: String,
    endpoint: WebClient,
    /// The lock is held across a request, so that the others wait for its token (promise 1).
    keeping: Mutex<TokenKeeping>,
    exchanged: ExchangedTokens,
}

/// A token for a login.
pub(super) struct HandedToken {
    /// The token.
    pub(super) token: AccessToken,
    /// True if the endpoint has handed it out just now. If it is refused, another one would be, too.
    pub(super) is_fresh: bool,
    /// The time from which on a connection that it opened takes no further message, as far as its end is stated.
    pub(super) retires_at: Option<Instant>,
}

impl TokenDesk {
    /// Loads the authorities. Returns the desk, and warnings for the operator. Blocks on the disk.
    pub(super) fn new(
        oauth: OAuthConfig,
        username: String,
        families: Families,
        route: Option<Arc<str>>,
    ) -> Result<(Self, Vec<String>), SettingError> {
        let (endpoint, mut warnings) =
            WebClient::new(WebServer::TokenEndpoint, oauth.ca_file.as_deref(), families)?;
        warnings.extend(oauth.doubts().into_iter().map(String::from));
        let refresh_file = oauth.refresh_token_file();
        warnings.extend(
            refresh_file.into_iter().flat_map(|file| refresh_file::warnings(file, oauth.has_login())),
        );
        let (keeping, exchanged) = (Mutex::default(), ExchangedTokens::default());
        Ok((TokenDesk { route, oauth, username, endpoint, keeping, exchanged }, warnings))
    }

    /// Returns a token that is valid now.
    pub(super) async fn token(self: &Arc<Self>) -> Result<HandedToken, Denial> {
        let (asker, handed) = oneshot::channel();
        // A task of its own: it is not given up with the caller (promise 2).
        tokio::spawn(Arc::clone(self).flight(asker));
        let handed = handed.await.unwrap_or_else(|_| Err(given_up()));
        handed.map_err(|denial| at(&self.oauth.token_url, denial))
    }

    /// Returns what the files hold that `[auth.oauth]` names, and whether a refresh token could be written; `None` if they
    /// cannot be read now. It changes with what an operator does about a refusal.
    pub(super) async fn secrets(&self) -> Option<Zeroizing<Vec<u8>>> {
        let oauth = self.oauth.clone();
        let read = move || {
            let mut secrets = oauth.secrets();
            secrets.extend(oauth.refresh_token_file().map(|file| u8::from(refresh_file::is_writable(file))));
            secrets
        };
        tokio::task::spawn_blocking(read).await.ok()
    }

    /// Returns the time for which the token that is held is valid, if the endpoint states it; `None` if none is held.
    pub(super) async fn held_validity(&self) -> Option<Option<Duration>> {
        let end = self.keeping.lock().await.stated_end()?;
        Some(end.map(|end| end.saturating_duration_since(Instant::now())))
    }

    /// Returns the masks of the tokens that were exchanged lately.
    pub(super) fn exchanged(&self) -> SecretMasks {
        self.exchanged.masks()
    }

    /// Returns a sentence about a refresh token that could not be written yet.
    pub(super) fn unwritten(&self) -> Option<String> {
        refresh_file::unwritten_notice(self.oauth.refresh_token_file()?)
    }

    /// Takes in that a relay has refused `token`.
    pub(super) async fn refused(&self, token: &AccessToken) {
        self.keeping.lock().await.refused(token);
    }

    async fn flight(self: Arc<Self>, asker: Asker) {
        let handed = self.handed(&asker).await;
        // The connection may have been given up meanwhile.
        let _ = asker.send(handed);
    }

    async fn handed(self: &Arc<Self>, asker: &Asker) -> Result<HandedToken, Denial> {
        let mut keeping = self.keeping.lock().await;
        let now = Instant::now();
        if let Some(token) = keeping.token(now) {
            return Ok(HandedToken { token, is_fresh: false, retires_at: keeping.retires_at() });
        }
        let asked = match keeping.rested(now) {
            Ok(()) => self.ask(asker).await,
            Err(denial) => Err(denial.into()),
        };
        match asked {
            Ok(granted) => {
                keeping.keep(now, &granted);
                Ok(HandedToken { token: granted.token, is_fresh: true, retires_at: keeping.retires_at() })
            }
            Err(NotGranted { denial, retry_after }) => {
                let now = Instant::now();
                keeping.failed(now, &denial, retry_after);
                let Some(token) = keeping.old_token(now) else { return Err(denial) };
                if let Some(left) = keeping.tell_once(now) {
                    let words = words_of(at(&self.oauth.token_url, denial));
                    log::token_not_renewed(self.route.as_deref(), &self.username, &words, left);
                }
                Ok(HandedToken { token, is_fresh: false, retires_at: keeping.retires_at() })
            }
        }
    }

    /// Asks the endpoint for a token.
    async fn ask(self: &Arc<Self>, asker: &Asker) -> Result<Granted, NotGranted> {
        match &self.oauth.grant {
            OAuthGrant::RefreshToken { file, device_url, .. } => {
                let us = RefreshAsker { route: self.route.clone(), has_login: device_url.is_some() };
                let file = RefreshFile::lock(file, us).await;
                let file = file.map_err(|held| Denial::Trouble(held.to_string()))?;
                still_wanted(asker)?;
                self.refresh(file, device_url.is_some()).await
            }
            OAuthGrant::ClientCredentials { .. } | OAuthGrant::JwtBearer { .. } => {
                still_wanted(asker)?;
                let desk = Arc::clone(self);
                let request =
                    aside(move || TokenRequest::for_token(&desk.oauth, &desk.username, None)).await?;
                let reply = self.post(&request).await?;
                self.read_grant(&request, &reply)
            }
        }
    }

    /// Asks with the refresh token in `file`, and writes the one that replaces it.
    async fn refresh(
        self: &Arc<Self>,
        mut file: RefreshFile,
        has_login: bool,
    ) -> Result<Granted, NotGranted> {
        let desk = Arc::clone(self);
        let (mut file, token, request) = aside(move || {
            let path = desk.refresh_path();
            file.catch_up().map_err(|fault| unwritten(path, &fault))?;
            if has_login && !path.exists() {
                let words =
                    format!("{} is missing: nobody has logged in; run nullmta oauth login", path.display());
                return Err(Denial::Configuration(words));
            }
            let token = request::read_secret(path, SecretKind::RefreshToken)?;
            let request = TokenRequest::for_token(&desk.oauth, &desk.username, Some(&token))?;
            Ok((file, token, request))
        })
        .await?;
        self.exchanged.keep(&token);
        let reply = self.post(&request).await?;
        // Also beside an access token that cannot be used: the old one may be dead from now on.
        if let Some(new) = rotated(reply.status, &reply.body).filter(|new| new.expose() != token.expose()) {
            self.exchanged.keep(&new);
            aside(move || {
                file.replace(token, new);
                Ok(())
            })
            .await?;
        }
        self.read_grant(&request, &reply)
    }

    /// Reads the reply to `request`.
    fn read_grant(&self, request: &TokenRequest, reply: &WebReply) -> Result<Granted, NotGranted> {
        let mut secrets = self.exchanged.masks();
        secrets.keep_all(&request.secrets);
        let granted = granted(request.grant, &secrets, reply.status, &reply.body);
        let granted = granted.map_err(|denial| NotGranted { denial, retry_after: reply.retry_after })?;
        self.exchanged.keep(granted.token.secret());
        Ok(granted)
    }

    async fn post(&self, request: &TokenRequest) -> Result<WebReply, Denial> {
        let reply = self.endpoint.post(&self.oauth.token_url, form_message(&request.form())).await;
        reply.map_err(Denial::Trouble)
    }

    /// Returns the path of the refresh token; empty for a grant without one, which never asks.
    fn refresh_path(&self) -> &Path {
        self.oauth.refresh_token_file().unwrap_or(Path::new(""))
    }
}

/// The other end of a request: who waits for its token.
type Asker = oneshot::Sender<Result<HandedToken, Denial>>;

/// The reason why there is no token, with the time for which the endpoint wants no further request, if it named one.
struct NotGranted {
    denial: Denial,
    retry_after: Option<Duration>,
}

impl From<Denial> for NotGranted {
    fn from(denial: Denial) -> Self {
        NotGranted { denial, retry_after: None }
    }
}

fn given_up() -> Denial {
    Denial::Trouble("the request was given up".into())
}

/// Returns an error if nobody waits any more.
fn still_wanted(asker: &Asker) -> Result<(), Denial> {
    if asker.is_closed() { Err(given_up()) } else { Ok(()) }
}

/// Returns the denial for a refresh token that cannot be written to `path`.
fn unwritten(path: &Path, fault: &Unwritable) -> Denial {
    let words = format!("{} cannot be written: {fault}", path.display());
    if fault.is_for_operator() { Denial::Configuration(words) } else { Denial::Trouble(words) }
}

fn words_of(denial: Denial) -> String {
    match denial {
        Denial::Configuration(words) | Denial::Trouble(words) => words,
        Denial::Pending | Denial::SlowDown => "the endpoint answers another question".into(),
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
