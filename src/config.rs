//! Configuration: the types here hold only values that can be used.
//!
//! Promises: a [`Config`] that exists is complete and consistent; code that holds one checks nothing
//! again. It comes from a file, and where that does not name this host from the host itself
//! (`environment.rs`): a bad value is an error, never a default.
//!
//! Invariants (tests cite them):
//! 1. `relay.hosts` is not empty; [`Tls::None`] only when each of them is a loopback address or `localhost`.
//! 2. `listen.addresses` is not empty, and holds loopback addresses only, as `listen.tls_addresses` does, which may be empty.
//! 3. `queue.retry_min <= queue.retry_max` and `queue.retry_min <= queue.lifetime`.
//! 4. No count, size or duration is zero, except `relay.idle`, where zero means: close at once.
//! 5. No secret stands in a `Config`, and none is repeated in an error.
//!
//! Fails: [`ConfigError`], one line with file, line, key and what was expected. Nothing was started
//! or changed by then; at a reload the old configuration stays.
//!
//! Not here: running the command that prints a password, and looking relayhosts up (`relay/`): this module starts no
//! program, opens no connection and asks no name server. It reads the files that the configuration names: the secret
//! (`secret_source.rs`), certificates and keys (`tls_file.rs`).
//! A text passes through these files in turn: `table.rs` (TOML, unknown keys) → `file.rs` (the keys) → the file of each
//! table, such as `queue.rs` (defaults, and rules for several keys). So a new key is a line in `file.rs`, and its
//! meaning in the file of its table; `tests/config.rs` fails until its comment is in `config/nullmta.toml`, too. A key that a
//! reload cannot change is also in `fixed_keys` of `daemon/reload.rs`.

mod access;
mod advice;
mod alarm;
mod alarm_setting;
mod auth;
mod authorities;
mod changes;
mod check;
mod content;
mod despite_errors;
mod environment;
mod error;
mod families;
mod file;
mod file_contents;
mod key_pair;
mod limit;
mod limit_setting;
mod listen;
mod log;
mod named_file;
mod oauth;
mod oauth_doubts;
mod pin;
mod queue;
mod rate;
mod relay;
mod relayhost;
mod reply_rule;
mod rewrite;
mod route;
mod route_setting;
mod secret_file;
mod secret_source;
mod setting;
mod setting_error;
mod table;
mod tls;
mod tls_file;
mod toml_text;
mod units;
mod users_edit;
mod users_file;
mod web_address;
mod words;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use access::OpenFault;
pub use alarm::{AlarmConfig, AlarmTeller, HeartbeatConfig, WebPost};
pub use auth::AuthConfig;
pub use authorities::Authorities;
pub use environment::Environment;
pub use error::ConfigError;
pub use families::{Families, FamilyUse};
pub use file_contents::FileContents;
pub use key_pair::read_pair;
pub use limit::{LimitConfig, LimitSubject};
pub use limit_setting::AllowedAmount;
pub use listen::{
    LISTEN_ADDRESSES, ListenConfig, Logins, MAX_MESSAGE_SIZE, SUBMIT_SOCKET, ServerCertificate,
};
pub use log::LogConfig;
pub use named_file::NamedFile;
pub use oauth::{ClientProof, OAuthConfig, OAuthGrant, read_assertion_key, read_client_key, read_text};
pub use queue::QueueConfig;
pub use rate::{Rate, RatePeriod};
pub use relay::{EhloName, RelayConfig, Timeouts};
pub use relayhost::{HostOrIp, RelayHost, RelayPort, ServiceKind};
pub use reply_rule::{Means, ReplyPattern, ReplyPhase, ReplyRule, RuleScope};
pub use route::RouteConfig;
pub use secret_file::{SecretError, SecretFile, SecretKind, stays_until_mended};
pub use secret_source::{SecretSource, TokenSource};
pub use setting::HttpSetting;
pub use setting_error::SettingError;
pub use tls::{ClientCertificate, Tls, TlsSettings, Trust};
pub use tls_file::{TlsFile, TlsFileError, TlsFileFault};
pub use toml_text::quoted;
pub use units::{parse_duration, units_of_time};
pub use users_edit::{UsersEditError, UsersText};
pub use users_file::{FileStamp, FromDomain, LoginName, LoginUser, LoginUsers, UsersFileError};
pub use web_address::WebAddress;
pub use words::{
    BeyondLimit, EightBit, KeyExchangeChoice, LogFormat, LogLevel, LogRedaction, Mechanism, OnRefusal,
    Pipelining, TlsVersion,
};

use error::{ConfigFault, KeyLocation};
use file::{AdminTable, ConfigFile};
use setting::{HostName, Setting, SocketPath};
use table::{Key, given};

use crate::message::rewrite::Rules;
use crate::routing::Routes;

/// The usual path of the configuration file, which the shipped unit names.
pub const FILE: &str = "/etc/nullmta.toml";

/// The default of `spool`.
pub const SPOOL: &str = "/var/spool/nullmta";

/// The default of `admin.control`.
pub const CONTROL: &str = "/run/nullmta/control.sock";

/// Everything that `/etc/nullmta.toml` says, with the defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `spool`: the directory that holds the queued mail.
    pub spool: PathBuf,
    /// `relayhost`, `[auth]`, `[tls]` and `[relay]`: where the mail goes.
    pub relay: RelayConfig,
    /// `[[route]]`: the mail that goes to other relays, and these relays.
    pub routes: Vec<RouteConfig>,
    /// `[listen]`: where the mail comes from.
    pub listen: ListenConfig,
    /// `[queue]`: how long and how often delivery is tried.
    pub queue: QueueConfig,
    /// `[log]`: how much is logged, and in which format.
    pub log: LogConfig,
    /// `admin.control`: the socket of `nullmta queue` and `nullmta status`.
    pub control: PathBuf,
    /// `admin.http`: where the page, metrics and health are.
    pub http: Vec<HttpSetting>,
    /// `[[alarm]]`, and the usual alarms behind them.
    pub alarms: Vec<AlarmConfig>,
    /// `[heartbeat]`: a page that hears that mail gets through.
    pub heartbeat: Option<HeartbeatConfig>,
    /// `[rewrite]`: the rules that change addresses and header fields. The origin is the hostname by default.
    pub rewrite: Arc<Rules>,
    /// Warnings for the operator: the configuration can be used, but mail may not go where it is expected.
    pub advice: Vec<String>,
    /// The file from which all this was read.
    text: ConfigText,
}

/// The path and the text of a configuration file. All of them are equal, so that configurations are equal if they say the
/// same, however they are written.
#[derive(Clone, Debug, Default)]
struct ConfigText {
    path: PathBuf,
    text: String,
}

impl PartialEq for ConfigText {
    fn eq(&self, _: &ConfigText) -> bool {
        true
    }
}

impl Eq for ConfigText {}

impl Config {
    /// Returns the configuration that `file` describes, with defaults filled in. An error names the key to change.
    fn of(file: &ConfigFile, environment: &Environment) -> Result<Config, ConfigFault> {
        let hostname = hostname_of(&file.listen.hostname, environment)?;
        let own_origin = given(&file.rewrite.origin).map(|origin| origin.0.as_str());
        let origin = own_origin.unwrap_or(&hostname);
        let listen = ListenConfig::of(&file.listen, &file.limit, hostname.clone())?;
        let helo_name = given(&file.relay.helo_name).map(|name| name.0.as_str());
        let hello = EhloName::of(helo_name, &hostname, own_origin);
        let mut config = Config {
            relay: RelayConfig::of(file.tables(), hello, &listen.all_addresses())?,
            routes: route::routes(
                &file.route,
                &EhloName::of(None, &hostname, own_origin),
                file.rewrite.long_lines(),
                &listen.all_addresses(),
            )?,
            spool: given(&file.spool).map_or_else(|| SPOOL.into(), |path| path.0.clone()),
            queue: QueueConfig::of(&file.queue, origin)?,
            log: LogConfig::of(&file.log),
            http: http_of(&file.admin, listen.socket.as_ref())?,
            control: control_of(&file.admin.control, listen.socket.as_ref())?,
            alarms: alarm::alarms(&file.alarm)?,
            heartbeat: alarm::heartbeat(&file.heartbeat)?,
            rewrite: Arc::new(file.rewrite.rules(origin, &hostname)?),
            listen,
            advice: Vec::new(),
            text: ConfigText::default(),
        };
        config.advice = advice::advice(file, &config);
        Ok(config)
    }

    /// Returns what `text`, the content of the file at `path`, says: key by key, and with defaults filled in.
    fn of_text(
        text: &str,
        path: &Path,
        environment: &Environment,
    ) -> Result<(ConfigFile, Config), ConfigFault> {
        let file = ConfigFile::parse(text)?;
        let text = ConfigText { path: path.into(), text: text.into() };
        let config = Config { text, ..Config::of(&file, environment)? };
        Ok((file, config))
    }

    /// Parses the configuration `text`. Errors name the file as `path`, but no file is read: this is pure.
    pub fn parse(text: &str, path: &Path, environment: &Environment) -> Result<Config, ConfigError> {
        Config::of_text(text, path, environment)
            .map(|(_, config)| config)
            .map_err(|fault| ConfigError::new(path, fault))
    }

    /// Reads and parses the file at `path`, but reads none of the files that it names. For commands that only need to
    /// find the daemon.
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        check::read(path).map_err(|fault| ConfigError::new(path, fault))
    }

    /// Reads the file at `path` and checks the secret that it names. The certificates and keys are read by those who use
    /// them, `Relay::new` and `Certificate::of`. Blocks on the disk.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        check::load(path).map_err(|fault| ConfigError::new(path, fault))
    }

    /// Does the same at a start, where a secret that cannot be used now is no error if another relay can be used: only the
    /// relay that needs it waits for it.
    /// Returns what is wrong with each. Blocks on the disk.
    pub fn load_for_start(path: &Path) -> Result<(Config, Vec<ConfigError>), ConfigError> {
        let told = |fault| ConfigError::new(path, fault);
        let (config, faults) = check::load_for_start(path).map_err(told)?;
        Ok((config, faults.into_iter().map(told).collect()))
    }

    /// Returns the text of `error`, in front of which stands the position of its setting in the file: `FILE:LINE: key …`.
    pub fn located(&self, error: &SettingError) -> String {
        check::located(&self.text.path, &self.text.text, error)
    }

    /// Returns the path of the control socket of the daemon that was started from the file at `path`, even if the file
    /// has errors now. Blocks on the disk.
    pub fn control_in(path: &Path) -> PathBuf {
        let text = content::read_all(path).unwrap_or_default();
        despite_errors::control_in(&String::from_utf8_lossy(&text))
    }

    /// Returns the spool directory that the file at `path` names, even if the file has errors; `None` if the directory
    /// is not certain. Blocks on the disk.
    pub fn spool_in(path: &Path) -> Option<PathBuf> {
        despite_errors::spool_in(&String::from_utf8_lossy(&content::read_all(path).ok()?))
    }

    /// Returns the text of `error` about the relay of a route, the first one being 0, with the position of its setting.
    pub fn located_in_route(&self, route: usize, error: &SettingError) -> String {
        check::located_in_route(&self.text.path, &self.text.text, route, error)
    }

    /// Returns all relays: that of the top-level `relayhost`, and then those of the routes in their order.
    pub fn relays(&self) -> impl Iterator<Item = &RelayConfig> {
        std::iter::once(&self.relay).chain(self.routes.iter().map(|route| &route.relay))
    }

    /// Returns all relays in the same order, each with the name of the route that leads to it.
    pub fn relays_of_routes(&self) -> impl Iterator<Item = (Option<&str>, &RelayConfig)> {
        let routes = self.routes.iter().map(|route| (Some(route.rule.name.as_str()), &route.relay));
        std::iter::once((None, &self.relay)).chain(routes)
    }

    /// Returns the rules by which a message finds its relay.
    pub fn routing(&self) -> Routes {
        Routes(self.routes.iter().map(|route| route.rule.clone()).collect())
    }

    /// Returns the keys, such as `queue.lifetime`, whose values differ in `newer`. The file may have changed since both
    /// were read: their own texts are compared.
    pub fn changed_keys(&self, newer: &Config) -> Vec<String> {
        changes::changed_keys(&self.text.text, &newer.text.text)
    }

    /// Returns all warnings about this configuration, which was read from the file at `path`. Blocks on the disk.
    pub fn warnings(&self, path: &Path) -> Vec<String> {
        let of_users = self.exposed_users().into_iter().chain(check::users_warning(self));
        self.warnings_with(path, of_users)
    }

    /// Returns all warnings but those about the file with the users, for which nothing waits that must go on. Blocks on the disk.
    pub fn warnings_without_users(&self, path: &Path) -> Vec<String> {
        self.warnings_with(path, None)
    }

    /// Returns the warning that every user can read the file with the users. Blocks on the disk that has it.
    pub fn exposed_users(&self) -> Option<String> {
        check::exposures(self.users_file()).pop()
    }

    fn warnings_with(&self, path: &Path, of_users: impl IntoIterator<Item = String>) -> Vec<String> {
        let exposures = check::exposures(self.files_in_force());
        let unheard = self.posts().into_iter().flat_map(|(table, post)| post.warnings(&table));
        let unheard = unheard.chain(alarm::command_warnings(&self.alarms));
        check::warning(path)
            .into_iter()
            .chain(exposures)
            .chain(unheard)
            .chain(of_users)
            .chain(self.advice.iter().cloned())
            .collect()
    }

    /// Returns the warning about a relayhost of `relay`, to which `route` leads, that is a name, after it was looked up: `found`
    /// are its addresses, or the reason why there are none.
    pub fn lookup_warning(
        &self,
        route: Option<&str>,
        relay: &RelayConfig,
        host: &RelayHost,
        found: Result<Vec<SocketAddr>, String>,
    ) -> Option<String> {
        advice::lookup_warning(self, route, relay, host, found)
    }
}

fn hostname_of(key: &Key<HostName>, environment: &Environment) -> Result<String, ConfigFault> {
    match given(key) {
        Some(name) => Ok(name.0.clone()),
        None => HostName::parse(&environment.hostname).map(|name| name.0).ok_or_else(|| {
            let found = format!("none, and this host calls itself {:?}", environment.hostname);
            KeyLocation::of_missing("listen.hostname").expected(HostName::expected(), found)
        }),
    }
}

/// Returns the places of `admin.http`. A unix socket must differ from `submission`, the socket of `sendmail`, and the control
/// socket.
fn http_of(admin: &AdminTable, submission: Option<&PathBuf>) -> Result<Vec<HttpSetting>, ConfigFault> {
    let Some(list) = &admin.http else { return Ok(Vec::new()) };
    let control = control_of(&admin.control, submission)?;
    for entry in &list.entries {
        if let HttpSetting::Unix(path) = &entry.value
            && (Some(path) == submission || *path == control)
        {
            let other = if *path == control { "that of admin.control" } else { "that of listen.socket" };
            return Err(entry.location.expected("a path of its own", other));
        }
    }
    Ok(list.entries.iter().map(|entry| entry.value.clone()).collect())
}

/// Returns the path of the control socket. It must differ from `submission`, the socket of `sendmail`.
fn control_of(key: &Key<SocketPath>, submission: Option<&PathBuf>) -> Result<PathBuf, ConfigFault> {
    let Some(entry) = key else { return Ok(CONTROL.into()) };
    if submission == Some(&entry.value.0) {
        return Err(entry.location.expected("a path of its own", "that of listen.socket"));
    }
    Ok(entry.value.0.clone())
}
