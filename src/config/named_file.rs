//! The files that a configuration names, each with its key.
//!
//! Not here: reading them (`tls_file.rs`, `secret_source.rs`), who may read them (`access.rs`).

use std::path::Path;

use super::{ClientCertificate, Config, SecretSource, ServerCertificate, TokenSource, Trust};

/// A file that the configuration names.
pub struct NamedFile<'a> {
    /// The key, such as `tls.ca-file`.
    pub setting: &'static str,
    /// The path of the file.
    pub path: &'a Path,
    /// True if only few may read the file, because it holds a password or a private key.
    pub is_secret: bool,
}

impl Config {
    /// Returns every file that the configuration names, in the order `[auth]`, `[tls]`, `[listen]`.
    pub fn named_files(&self) -> Vec<NamedFile<'_>> {
        let public = |setting, path| NamedFile { setting, path, is_secret: false };
        let secret = |setting, path| NamedFile { setting, path, is_secret: true };
        let mut files = Vec::new();
        match self.relay.auth.as_ref().map(|auth| &auth.secret) {
            Some(SecretSource::File(path)) => files.push(secret("auth.password-file", path)),
            Some(SecretSource::Token(TokenSource::File(path))) => files.push(secret("auth.token-file", path)),
            Some(SecretSource::Token(TokenSource::OAuth(oauth))) => {
                let named = |(setting, path, is_secret)| NamedFile { setting, path, is_secret };
                files.extend(oauth.files().into_iter().map(named));
            }
            _ => {}
        }
        if let Some(tls) = self.relay.tls.settings() {
            if let Trust::CaFile(path) = &tls.trust {
                files.push(public("tls.ca-file", path));
            }
            if let Some(ClientCertificate { certificate, key }) = &tls.client {
                files.extend([public("tls.client-certificate", certificate), secret("tls.client-key", key)]);
            }
        }
        if let Some(ServerCertificate::Files { chain, key }) = &self.listen.certificate {
            files.extend([public("listen.certificate", chain), secret("listen.key", key)]);
        }
        files
    }
}
