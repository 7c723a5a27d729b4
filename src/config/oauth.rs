//! `[auth.oauth]`: how an access token is got, in place of a password.
//!
//! Promises: an [`OAuthConfig`] has all that its grant needs, and the file has no key that the grant does not use.
//!
//! Not here: the dialogue with the token endpoint (`relay/token.rs`), the forms that are sent (`oauth/`).
//!
//! RFC 6749 (OAuth 2.0), 7523 (JWT assertions), 8628 (device code).

use std::path::{Path, PathBuf};

use jiff::civil::Date;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

use super::access::OpenFault;
use super::error::{ConfigFault, KeyLocation};
use super::file::OAuthTable;
use super::secret_file::{SecretError, SecretFile, SecretKind, stays_until_mended};
use super::table::{Key, Located, given, location_of};
use super::tls_file::{TlsFile, TlsFileError, TlsFileFault};
use super::web_address::WebAddress;
use super::words::GrantWord;
use crate::oauth::AssertionKey;
use crate::secret::Secret;

/// `[auth.oauth]`: how an access token is got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthConfig {
    /// `token-url`: the token endpoint (RFC 6749 3.2).
    pub token_url: WebAddress,
    /// `scope`: what the token is asked for.
    pub scope: Option<String>,
    /// `ca-file`: the authorities that the endpoint's certificate is verified by; `None` for those of the system.
    pub ca_file: Option<PathBuf>,
    /// `grant`: what the token is given for.
    pub grant: OAuthGrant,
}

/// What a token is given for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OAuthGrant {
    /// `client-credentials` (RFC 6749 4.4): the client itself is who sends.
    ClientCredentials {
        /// `client-id`.
        client_id: String,
        /// The proof that we are the client.
        proof: ClientProof,
    },
    /// `refresh-token` (RFC 6749 6), or `device-code` (RFC 8628), which gets the refresh token by a login on a terminal.
    RefreshToken {
        /// `client-id`.
        client_id: String,
        /// The proof that we are the client; `None` for a public client.
        proof: Option<ClientProof>,
        /// `refresh-token-file`: read for each token, and written when the endpoint hands out another refresh token.
        file: PathBuf,
        /// `device-url`: the device authorization endpoint; `None` for `refresh-token`.
        device_url: Option<WebAddress>,
    },
    /// `jwt-bearer` (RFC 7523 2.1): an assertion that we sign, as for a service account of Google.
    JwtBearer {
        /// `client-id`: who signs; `None` if the key file says so.
        issuer: Option<String>,
        /// `key-file`: the JSON file of a service account, or a PEM file with an RSA key.
        key_file: PathBuf,
        /// `subject`: the mailbox that we act for; `None` for `auth.username`.
        subject: Option<String>,
    },
}

/// The proof of a client (RFC 6749 2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientProof {
    /// A secret.
    Secret {
        /// `client-secret-file`: the file that holds it.
        file: PathBuf,
        /// `secret-expires`: the day on which it ends, if the operator has said so.
        expires: Option<Date>,
    },
    /// `client-certificate` and `key-file`: an assertion that the key of the certificate signs (private_key_jwt).
    Certificate {
        /// The PEM file with the certificate.
        certificate: PathBuf,
        /// The PEM file with its RSA key.
        key: PathBuf,
    },
}

const KEY_FILE: &str = "auth.oauth.key-file";
const SECRET_FILE: &str = "auth.oauth.client-secret-file";
const CERTIFICATE: &str = "auth.oauth.client-certificate";
const REFRESH_TOKEN_FILE: &str = "auth.oauth.refresh-token-file";

impl OAuthConfig {
    /// Returns what `table` describes, with the position of its grant; `None` if the file leaves it out.
    pub(super) fn of(table: &OAuthTable) -> Result<Option<(&KeyLocation, OAuthConfig)>, ConfigFault> {
        let Some(grant) = &table.grant else {
            return match keys(table).into_iter().find_map(|(location, _)| location) {
                Some(location) => {
                    Err(location.expected(location.beside("auth.oauth.grant") + " beside it", "no grant"))
                }
                None => Ok(None),
            };
        };
        for (location, users) in keys(table) {
            if let Some(location) = location.filter(|_| !users.contains(&grant.value)) {
                return Err(location.fault(format!(
                    "expected nothing here: grant = \"{}\" does not use it",
                    grant.value.word()
                )));
            }
        }
        let config = OAuthConfig {
            token_url: needed(&table.token_url, grant, "token-url")?.clone(),
            scope: given(&table.scope).map(|scope| scope.0.clone()),
            ca_file: given(&table.ca_file).map(|path| path.0.clone()),
            grant: grant_of(table, grant)?,
        };
        Ok(Some((&grant.location, config)))
    }

    /// Checks that the files can be used that must be there before the first token is asked for, and that a key has the form
    /// that is needed. An error comes with the key that names its file. Blocks on the disk.
    pub(super) fn check(&self) -> Result<(), (&'static str, SecretError)> {
        match &self.grant {
            OAuthGrant::ClientCredentials { .. } => {}
            OAuthGrant::JwtBearer { issuer, key_file, .. } => {
                let key = read_assertion_key(key_file).map_err(|error| (KEY_FILE, error))?;
                if issuer.is_none() && key.issuer.is_none() {
                    let words = format!(
                        "{} does not say who signs (client_email): set auth.oauth.client-id",
                        key_file.display()
                    );
                    return Err((KEY_FILE, SecretError::Unusable(words)));
                }
            }
            OAuthGrant::RefreshToken { file, device_url, .. } => {
                // Before the login on a terminal there is no refresh token.
                let is_awaited = device_url.is_some() && !file.exists();
                let read = if is_awaited { Ok(()) } else { check_text(file, SecretKind::RefreshToken) };
                read.map_err(|error| (REFRESH_TOKEN_FILE, error))?;
            }
        }
        match self.proof() {
            None => Ok(()),
            Some(ClientProof::Secret { file, .. }) => {
                check_text(file, SecretKind::ClientSecret).map_err(|error| (SECRET_FILE, error))
            }
            Some(ClientProof::Certificate { certificate, key }) => {
                let certificate_error = |error| (CERTIFICATE, error);
                read_certificate(certificate).map_err(certificate_error)?;
                read_client_key(certificate, key).map(drop).map_err(|error| (KEY_FILE, error))
            }
        }
    }

    /// Returns every file that is named here, each with its key, and whether it is a secret.
    pub(super) fn files(&self) -> Vec<(&'static str, &Path, bool)> {
        let mut files = Vec::new();
        match &self.grant {
            OAuthGrant::ClientCredentials { .. } => {}
            OAuthGrant::RefreshToken { file, .. } => {
                files.push((REFRESH_TOKEN_FILE, file.as_path(), true));
            }
            OAuthGrant::JwtBearer { key_file, .. } => files.push((KEY_FILE, key_file.as_path(), true)),
        }
        match self.proof() {
            Some(ClientProof::Secret { file, .. }) => files.push((SECRET_FILE, file, true)),
            Some(ClientProof::Certificate { certificate, key }) => {
                files.push((CERTIFICATE, certificate, false));
                files.push((KEY_FILE, key, true));
            }
            None => {}
        }
        files.extend(self.ca_file.iter().map(|path| ("auth.oauth.ca-file", path.as_path(), false)));
        files
    }

    /// Returns the content of all files that are named here, one behind the other; a file that cannot be read counts as
    /// empty. Blocks on the disk.
    pub fn secrets(&self) -> Zeroizing<Vec<u8>> {
        let mut content = Zeroizing::new(Vec::new());
        for (_, path, _) in self.files() {
            content.extend_from_slice(&read_key(path).unwrap_or_default());
        }
        content
    }

    /// Returns the day on which the client secret ends, if it is known.
    pub fn secret_expires(&self) -> Option<Date> {
        match self.proof()? {
            ClientProof::Secret { expires, .. } => *expires,
            ClientProof::Certificate { .. } => None,
        }
    }

    fn proof(&self) -> Option<&ClientProof> {
        match &self.grant {
            OAuthGrant::ClientCredentials { proof, .. } => Some(proof),
            OAuthGrant::RefreshToken { proof, .. } => proof.as_ref(),
            OAuthGrant::JwtBearer { .. } => None,
        }
    }

    /// Returns whether a user logs in on a terminal (`nullmta oauth login`).
    pub fn has_login(&self) -> bool {
        matches!(&self.grant, OAuthGrant::RefreshToken { device_url: Some(_), .. })
    }

    /// Returns the file to which a refresh token is written, if there is one.
    pub fn refresh_token_file(&self) -> Option<&Path> {
        match &self.grant {
            OAuthGrant::RefreshToken { file, .. } => Some(file),
            OAuthGrant::ClientCredentials { .. } | OAuthGrant::JwtBearer { .. } => None,
        }
    }
}

/// Returns the secret in the file at `path`, which goes into a form, and so is UTF-8. Blocks on the disk.
pub fn read_text(path: &Path, kind: SecretKind) -> Result<Secret, SecretError> {
    let secret = SecretFile::at(path, kind).read()?;
    match secret.text() {
        Some(_) => Ok(secret),
        None => Err(SecretError::Unusable(format!("{} is not UTF-8", path.display()))),
    }
}

fn check_text(path: &Path, kind: SecretKind) -> Result<(), SecretError> {
    read_text(path, kind).map(drop)
}

/// Returns the key in a `key-file`. Blocks on the disk.
pub fn read_assertion_key(path: &Path) -> Result<AssertionKey, SecretError> {
    let octets = read_key(path)?;
    AssertionKey::read(&octets)
        .map_err(|bad| SecretError::Unusable(format!("{} holds {bad}", path.display())))
}

/// Returns the certificate in a `client-certificate`, as DER, and its key in a `key-file`. Blocks on the disk.
pub fn read_client_key(certificate: &Path, key: &Path) -> Result<(Vec<u8>, AssertionKey), SecretError> {
    let (der, read) = (read_certificate(certificate)?, read_assertion_key(key)?);
    if read.is_of(&der) {
        return Ok((der, read));
    }
    let file = TlsFile { setting: KEY_FILE, path: key };
    Err(of_tls_file(file.fault(TlsFileFault::OtherKey(certificate.into()))))
}

/// Returns the octets of a `key-file`. Blocks on the disk.
fn read_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    TlsFile { setting: KEY_FILE, path }.private().map_err(of_tls_file)
}

/// Returns the first certificate in a `client-certificate`, as DER. Blocks on the disk.
fn read_certificate(path: &Path) -> Result<Vec<u8>, SecretError> {
    let file = TlsFile { setting: CERTIFICATE, path };
    let octets = file.public().map_err(of_tls_file)?;
    match CertificateDer::from_pem_slice(&octets) {
        Ok(certificate) => Ok(certificate.to_vec()),
        Err(_) => Err(of_tls_file(file.fault(TlsFileFault::NoCertificates))),
    }
}

fn of_tls_file(error: TlsFileError) -> SecretError {
    match error.fault {
        // It passes by itself, unlike what is wrong with a file.
        TlsFileFault::Closed(OpenFault::Unreadable(fault)) if !stays_until_mended(&fault) => {
            SecretError::File(error.path, OpenFault::Unreadable(fault), SecretKind::ClientSecret)
        }
        _ => SecretError::Unusable(error.words()),
    }
}

/// Returns the position of `setting`, one of the keys that name a file.
pub(super) fn location_of_file<'t>(table: &'t OAuthTable, setting: &str) -> Option<&'t KeyLocation> {
    let locations = keys(table).into_iter().filter_map(|(location, _)| location);
    locations.into_iter().find(|location| location.key_of_relay() == setting)
}

type KeyUsers = &'static [GrantWord];

/// Returns the position of each key but `grant`, with the grants that use it.
fn keys(table: &OAuthTable) -> Vec<(Option<&KeyLocation>, KeyUsers)> {
    use GrantWord::{ClientCredentials, DeviceCode, JwtBearer, RefreshToken};
    const ALL: KeyUsers = &[ClientCredentials, RefreshToken, DeviceCode, JwtBearer];
    const PROVEN: KeyUsers = &[ClientCredentials, RefreshToken, DeviceCode];
    vec![
        (location_of(&table.token_url), ALL),
        (location_of(&table.client_id), ALL),
        (location_of(&table.client_secret_file), PROVEN),
        (location_of(&table.secret_expires), PROVEN),
        (location_of(&table.client_certificate), PROVEN),
        (location_of(&table.key_file), ALL),
        (location_of(&table.scope), ALL),
        (location_of(&table.subject), &[JwtBearer]),
        (location_of(&table.refresh_token_file), &[RefreshToken, DeviceCode]),
        (location_of(&table.device_url), &[DeviceCode]),
        (location_of(&table.ca_file), ALL),
    ]
}

fn needed<'t, T>(key: &'t Key<T>, grant: &Located<GrantWord>, name: &str) -> Result<&'t T, ConfigFault> {
    given(key).ok_or_else(|| {
        let wanted = grant.location.beside(&format!("auth.oauth.{name}"));
        grant.location.expected(format!("{wanted} beside grant = \"{}\"", grant.value.word()), "none")
    })
}

fn grant_of(table: &OAuthTable, grant: &Located<GrantWord>) -> Result<OAuthGrant, ConfigFault> {
    let client_id = || needed(&table.client_id, grant, "client-id").map(|id| id.0.clone());
    let refresh = |device_url| {
        Ok(OAuthGrant::RefreshToken {
            client_id: client_id()?,
            proof: proof_of(table)?,
            file: needed(&table.refresh_token_file, grant, "refresh-token-file")?.0.clone(),
            device_url,
        })
    };
    match grant.value {
        GrantWord::ClientCredentials => {
            let proof = proof_of(table)?.ok_or_else(|| {
                let secret = grant.location.beside("auth.oauth.client-secret-file");
                let wanted = format!("{secret}, or client-certificate and key-file, beside it");
                grant.location.expected(wanted, "none of them")
            })?;
            Ok(OAuthGrant::ClientCredentials { client_id: client_id()?, proof })
        }
        GrantWord::RefreshToken => refresh(None),
        GrantWord::DeviceCode => refresh(Some(needed(&table.device_url, grant, "device-url")?.clone())),
        GrantWord::JwtBearer => Ok(OAuthGrant::JwtBearer {
            issuer: given(&table.client_id).map(|id| id.0.clone()),
            key_file: needed(&table.key_file, grant, "key-file")?.0.clone(),
            subject: given(&table.subject).map(|subject| subject.0.clone()),
        }),
    }
}

fn proof_of(table: &OAuthTable) -> Result<Option<ClientProof>, ConfigFault> {
    if let (Some(alone), None) = (&table.secret_expires, &table.client_secret_file) {
        let secret = alone.location.beside("auth.oauth.client-secret-file");
        return Err(alone.location.expected(secret + " beside it", "it alone"));
    }
    match (&table.client_secret_file, &table.client_certificate, &table.key_file) {
        (None, None, None) => Ok(None),
        (Some(secret), None, None) => Ok(Some(ClientProof::Secret {
            file: secret.value.0.clone(),
            expires: given(&table.secret_expires).map(|day| day.0),
        })),
        (None, Some(certificate), Some(key)) => Ok(Some(ClientProof::Certificate {
            certificate: certificate.value.0.clone(),
            key: key.value.0.clone(),
        })),
        (Some(secret), _, _) => {
            Err(secret.location.expected("either this, or client-certificate and key-file", "both"))
        }
        (None, Some(alone), None) => {
            Err(alone.location.expected(alone.location.beside(KEY_FILE) + " beside it", "it alone"))
        }
        (None, None, Some(alone)) => {
            let certificate = alone.location.beside("auth.oauth.client-certificate");
            Err(alone.location.expected(certificate + " beside it", "it alone"))
        }
    }
}
