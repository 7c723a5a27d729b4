//! The login of a user on a terminal: device code (RFC 8628).
//!
//! Promises: the endpoint is asked no more often than it wants, and not beyond the end of its code; the refresh token is
//! durable before success is told; that it can be written is tried before the user is asked for anything.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::super::web::{WebClient, WebServer};
use super::refresh_file;
use super::request::{TokenRequest, form_message};
use super::{aside, at, unwritten, words_of};
use crate::config::{Families, OAuthConfig, OAuthGrant};
use crate::oauth::{Denial, device_code, granted};

/// What the user is asked to do.
pub struct DevicePrompt {
    /// The page to open.
    pub page: String,
    /// The code to type there.
    pub user_code: String,
    /// The time for which the code is valid.
    pub lifetime: Duration,
}

/// Logs a user in by `oauth`, and writes the refresh token. `prompt` tells the user what to do.
pub async fn device_login(
    oauth: &OAuthConfig,
    families: Families,
    prompt: impl FnOnce(&DevicePrompt),
) -> Result<(), String> {
    let OAuthGrant::RefreshToken { client_id, proof, file, device_url: Some(device_url) } = &oauth.grant
    else {
        return Err("expected auth.oauth with grant = \"device-code\", found another one".into());
    };
    let path = file.clone();
    let tried = aside(move || refresh_file::rehearse(&path).map_err(|fault| unwritten(&path, &fault)));
    tried.await.map_err(words_of)?;
    let (endpoint, _) = WebClient::new(WebServer::TokenEndpoint, oauth.ca_file.as_deref(), families)
        .map_err(|error| error.to_string())?;
    let told = |denial| words_of(at(&oauth.token_url, denial));
    let told_of_device = |denial| words_of(at(device_url, denial));
    let request = TokenRequest::for_device_code(oauth, client_id, proof.as_ref()).map_err(told_of_device)?;
    let reply = endpoint.post(device_url, form_message(&request.form())).await;
    let reply = reply.map_err(|words| told_of_device(Denial::Trouble(words)))?;
    let code = device_code(&request.secrets, reply.status, &reply.body).map_err(told_of_device)?;
    prompt(&DevicePrompt { page: code.page, user_code: code.user_code, lifetime: code.lifetime });
    let (ends_at, mut interval) = (Instant::now() + code.lifetime, code.interval);
    let token = loop {
        sleep(interval).await;
        if Instant::now() >= ends_at {
            return Err("nobody has logged in while the code was valid; begin again".into());
        }
        let request =
            TokenRequest::for_device(oauth, client_id, proof.as_ref(), &code.device_code).map_err(told)?;
        // RFC 8628 3.5: the next question waits longer after one without an answer.
        let Ok(reply) = endpoint.post(&oauth.token_url, form_message(&request.form())).await else {
            interval *= 2;
            continue;
        };
        match granted(request.grant, &request.secrets, reply.status, &reply.body) {
            Ok(granted) => break granted.refresh_token,
            Err(Denial::Pending | Denial::Trouble(_)) => {}
            Err(Denial::SlowDown) => interval += Duration::from_secs(5),
            Err(denial) => return Err(told(denial)),
        }
    };
    let Some(token) = token else {
        return Err("the login gave no refresh token; does auth.oauth.scope have offline_access?".into());
    };
    refresh_file::write_login(file, token).await.map_err(words_of)
}
