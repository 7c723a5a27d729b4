//! The request for a token: the form, made of the configuration and the files that it names.
//!
//! Fails: [`Denial::Configuration`], if a file cannot be used; [`Denial::Trouble`], if the system cannot read it now.

use std::time::{SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

use super::super::web::WebMessage;
use crate::config::{
    ClientProof, OAuthConfig, OAuthGrant, SecretError, SecretKind, read_assertion_key, read_client_key,
    read_text,
};
use crate::oauth::{Claims, Denial, TokenGrant, form};
use crate::secret::{Secret, SecretMasks};

/// Returns the message with this form.
pub(super) fn form_message(form: &[u8]) -> WebMessage<'_> {
    WebMessage { content_type: "application/x-www-form-urlencoded", field: None, body: form }
}

/// The fields of a request, with the secrets that are in them.
pub(super) struct TokenRequest {
    /// The grant that it asks with.
    pub(super) grant: TokenGrant,
    fields: Vec<(&'static str, Zeroizing<String>)>,
    /// The secrets among them.
    pub(super) secrets: SecretMasks,
}

impl TokenRequest {
    /// Makes the request for the grant of `oauth`. `refresh_token` is that of a [`OAuthGrant::RefreshToken`]. Blocks on the
    /// disk.
    pub(super) fn for_token(
        oauth: &OAuthConfig,
        username: &str,
        refresh_token: Option<&Secret>,
    ) -> Result<TokenRequest, Denial> {
        let mut request = TokenRequest::empty(grant_of(&oauth.grant));
        let scope = oauth.scope.as_deref();
        match &oauth.grant {
            OAuthGrant::ClientCredentials { client_id, proof } => {
                request.plain("grant_type", "client_credentials");
                request.client(client_id, Some(proof), oauth)?;
                request.scope(scope);
            }
            OAuthGrant::RefreshToken { client_id, proof, .. } => {
                request.plain("grant_type", "refresh_token");
                if let Some(token) = refresh_token {
                    request.secret("refresh_token", token.clone());
                }
                request.client(client_id, proof.as_ref(), oauth)?;
                // Microsoft demands it (AADSTS900144), Google must not need it: it is sent where it is set.
                request.scope(scope);
            }
            OAuthGrant::JwtBearer { issuer, key_file, subject } => {
                request.plain("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
                let key = read_assertion_key(key_file).map_err(of_file)?;
                let no_issuer = || {
                    let words = "auth.oauth.client-id is missing, and the key file has no client_email";
                    Denial::Configuration(words.into())
                };
                let issuer = issuer.as_deref().or(key.issuer.as_deref()).ok_or_else(no_issuer)?;
                let audience = oauth.token_url.to_string();
                let subject = subject.as_deref().unwrap_or(username);
                let claims = Claims { issuer, subject, audience: &audience, scope, now: now() };
                request.secret("assertion", key.sign(&claims, None).map_err(Denial::Trouble)?);
            }
        }
        Ok(request)
    }

    /// Makes the request for a device code (RFC 8628 3.1).
    pub(super) fn for_device_code(
        oauth: &OAuthConfig,
        client_id: &str,
        proof: Option<&ClientProof>,
    ) -> Result<TokenRequest, Denial> {
        let mut request = TokenRequest::empty(TokenGrant::DeviceCode);
        request.client(client_id, proof, oauth)?;
        request.scope(oauth.scope.as_deref());
        Ok(request)
    }

    /// Makes the request that asks whether the user has logged in (RFC 8628 3.4).
    pub(super) fn for_device(
        oauth: &OAuthConfig,
        client_id: &str,
        proof: Option<&ClientProof>,
        device_code: &Secret,
    ) -> Result<TokenRequest, Denial> {
        let mut request = TokenRequest::empty(TokenGrant::DeviceCode);
        request.plain("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
        request.secret("device_code", device_code.clone());
        request.client(client_id, proof, oauth)?;
        Ok(request)
    }

    fn empty(grant: TokenGrant) -> TokenRequest {
        TokenRequest { grant, fields: Vec::new(), secrets: SecretMasks::default() }
    }

    /// Returns the form to send.
    pub(super) fn form(&self) -> Zeroizing<Vec<u8>> {
        let fields: Vec<(&str, &str)> =
            self.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        form(&fields)
    }

    fn plain(&mut self, name: &'static str, value: &str) {
        self.fields.push((name, Zeroizing::new(value.into())));
    }

    fn secret(&mut self, name: &'static str, value: Secret) {
        // `read_secret` takes only UTF-8, and a token or an assertion is ASCII.
        let text = value.text().unwrap_or_default();
        self.plain(name, text);
        self.secrets.keep(text);
    }

    fn scope(&mut self, scope: Option<&str>) {
        if let Some(scope) = scope {
            self.plain("scope", scope);
        }
    }

    fn client(
        &mut self,
        client_id: &str,
        proof: Option<&ClientProof>,
        oauth: &OAuthConfig,
    ) -> Result<(), Denial> {
        self.plain("client_id", client_id);
        match proof {
            None => {}
            Some(ClientProof::Secret { file, .. }) => {
                let secret = read_secret(file, SecretKind::ClientSecret)?;
                self.secret("client_secret", secret);
            }
            Some(ClientProof::Certificate { certificate, key }) => {
                let (certificate, key) = read_client_key(certificate, key).map_err(of_file)?;
                let audience = oauth.token_url.to_string();
                let claims = Claims {
                    issuer: client_id,
                    subject: client_id,
                    audience: &audience,
                    scope: None,
                    now: now(),
                };
                let signed = key.sign(&claims, Some(&certificate)).map_err(Denial::Trouble)?;
                self.plain("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
                self.secret("client_assertion", signed);
            }
        }
        Ok(())
    }
}

fn grant_of(grant: &OAuthGrant) -> TokenGrant {
    match grant {
        OAuthGrant::ClientCredentials { .. } => TokenGrant::ClientCredentials,
        OAuthGrant::RefreshToken { device_url: None, .. } => TokenGrant::RefreshToken,
        OAuthGrant::RefreshToken { device_url: Some(_), .. } => TokenGrant::DeviceCode,
        OAuthGrant::JwtBearer { .. } => TokenGrant::JwtBearer,
    }
}

/// Reads a secret that goes into a form, which is UTF-8. Blocks on the disk.
pub(super) fn read_secret(path: &std::path::Path, kind: SecretKind) -> Result<Secret, Denial> {
    read_text(path, kind).map_err(of_file)
}

/// Returns the denial for a file that cannot be read.
fn of_file(error: SecretError) -> Denial {
    let words = error.to_string();
    if error.is_for_operator() { Denial::Configuration(words) } else { Denial::Trouble(words) }
}

fn now() -> i64 {
    // A clock before 1970 is refused by every endpoint.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
