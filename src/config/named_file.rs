//! The files that a configuration names, each with its key.
//!
//! Not here: reading them (`tls_file.rs`, `secret_source.rs`), who may read them (`access.rs`).

use std::path::Path;

use super::{
    AlarmTeller, ClientCertificate, Config, Logins, RelayConfig, RouteConfig, SecretSource,
    ServerCertificate, TokenSource, Trust, WebPost,
};

/// A file that the configuration names.
pub struct NamedFile<'a> {
    /// The key, such as `tls.ca-file` or `route[2].tls.ca-file`.
    pub setting: String,
    /// The path of the file.
    pub path: &'a Path,
    /// True if only few may read the file, because it holds a password or a private key.
    pub is_secret: bool,
}

/// Returns the files of one relay; `table` comes before each key, such as `route[2].`.
fn of_relay<'a>(relay: &'a RelayConfig, table: &str) -> Vec<NamedFile<'a>> {
    let named = |(key, path, is_secret)| NamedFile { setting: format!("{table}{key}"), path, is_secret };
    let mut files: Vec<(&str, &Path, bool)> = Vec::new();
    match relay.auth.as_ref().map(|auth| &auth.secret) {
        Some(SecretSource::File(path)) => files.push(("auth.password-file", path, true)),
        Some(SecretSource::Token(TokenSource::File(path))) => files.push(("auth.token-file", path, true)),
        Some(SecretSource::Token(TokenSource::OAuth(oauth))) => files.extend(oauth.files()),
        _ => {}
    }
    if let Some(tls) = relay.tls.settings() {
        if let Trust::CaFile(path) = &tls.trust {
            files.push(("tls.ca-file", path, false));
        }
        if let Some(ClientCertificate { certificate, key }) = &tls.client {
            files.push(("tls.client-certificate", certificate, false));
            files.push(("tls.client-key", key, true));
        }
    }
    files.into_iter().map(named).collect()
}

/// Returns the files of a page that is posted to; `table` comes before each key, such as `alarm[1].`.
fn of_post<'a>(post: &'a WebPost, table: &str) -> Vec<NamedFile<'a>> {
    let named = |key, path, is_secret| NamedFile { setting: format!("{table}{key}"), path, is_secret };
    let header = post.header_file.as_deref().map(|path| named("header-file", path, true));
    let authorities = post.ca_file.as_deref().map(|path| named("ca-file", path, false));
    header.into_iter().chain(authorities).collect()
}

impl Config {
    /// Returns every file that the configuration names, in the order `[auth]`, `[tls]`, those of the routes, `[listen]`,
    /// those of the alarms.
    pub fn named_files(&self) -> Vec<NamedFile<'_>> {
        self.files_in_force().into_iter().chain(self.users_file()).collect()
    }

    /// Returns those files that count from a start or a reload on, in the same order.
    pub(super) fn files_in_force(&self) -> Vec<NamedFile<'_>> {
        let mut files = of_relay(&self.relay, "");
        for (place, RouteConfig { relay, .. }) in self.routes.iter().enumerate() {
            files.extend(of_relay(relay, &format!("route[{}].", place + 1)));
        }
        if let Some(ServerCertificate::Files { chain, key }) = &self.listen.certificate {
            let listen = |key: &str, path, is_secret| NamedFile { setting: key.to_owned(), path, is_secret };
            files.extend([listen("listen.certificate", chain, false), listen("listen.key", key, true)]);
        }
        files.extend(self.posts().into_iter().flat_map(|(table, post)| of_post(post, &table)));
        files
    }

    /// Returns the pages to which alarms and heartbeats are posted, each with what stands in front of its keys.
    pub(super) fn posts(&self) -> Vec<(String, &WebPost)> {
        let of_heartbeat = self.heartbeat.iter().map(|heartbeat| ("heartbeat.".to_owned(), &heartbeat.post));
        let of_alarms = self.alarms.iter().enumerate().filter_map(|(place, alarm)| match &alarm.told {
            Some(AlarmTeller::Post(post)) => Some((format!("alarm[{}].", place + 1), post)),
            _ => None,
        });
        of_alarms.chain(of_heartbeat).collect()
    }

    /// Returns the file with the users who may log in, which is read again without a reload when it has changed. The daemon
    /// waits for no disk that has it.
    pub(super) fn users_file(&self) -> Option<NamedFile<'_>> {
        match &self.listen.logins {
            Some(Logins::Users(path)) => {
                Some(NamedFile { setting: "listen.users-file".into(), path, is_secret: true })
            }
            Some(Logins::Anybody) | None => None,
        }
    }
}
