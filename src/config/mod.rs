//! Configuration: only values that can be used.
//!
//! Promises: a [`Config`] that exists is complete and consistent; code that holds one checks nothing
//! again. It comes from a file, and where that does not name this host from the host itself
//! (`environment.rs`): a bad value is an error, never a default.
//!
//! Invariants (tests cite them):
//! 1. `relay.hosts` is not empty; [`Tls::None`] only when each of them is a loopback address or `localhost`.
//! 2. `listen.addresses` is not empty, and holds loopback addresses only.
//! 3. `queue.retry_min <= queue.retry_max` and `queue.retry_min <= queue.lifetime`.
//! 4. No count, size or duration is zero, except `relay.idle`, where zero means: close at once.
//! 5. No secret stands in a `Config`, and none is repeated in an error.
//!
//! Fails: [`ConfigError`], one line with file, line, key and what was expected. Nothing was started
//! or changed by then; at a reload the old configuration stays.
//!
//! Not here: reading secrets (`secret_source/`), files that the configuration names (`check.rs`).
//! The way of a text: `table.rs` (TOML, unknown keys) → `file.rs` (the keys) → the file of each table, such as
//! `queue.rs` (defaults, and what keys mean together). So a new key is a line in `file.rs`, and its meaning in the
//! file of its table; the tests then ask for it in `config/nullmta.toml` and `tests/good_config/everything.toml`.

mod access;
mod advice;
mod auth;
mod authorities;
mod changes;
mod check;
mod content;
mod despite_errors;
mod environment;
mod error;
mod file;
mod key_pair;
mod listen;
mod log;
mod lookup;
mod pin;
mod queue;
mod relay;
mod relayhost;
mod rewrite;
mod secret_source;
mod setting;
mod table;
mod tls;
mod tls_file;
mod units;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use access::OpenFault;
pub use auth::Auth;
pub use authorities::Authorities;
pub use environment::Environment;
pub use error::ConfigError;
pub use key_pair::read_pair;
pub use listen::{Listen, MAX_MESSAGE_SIZE, ServerCertificate};
pub use log::Log;
pub use queue::Queue;
pub use relay::{Hello, Relay, Timeouts};
pub use relayhost::{Host, RelayHost};
pub use secret_source::{BadSecret, SecretError, SecretSource};
pub use tls::{ClientCertificate, Tls, TlsSettings, Trust};
pub use tls_file::{TlsFile, TlsFileError, TlsFileFault};
pub use words::{Format, Level, Mechanism, OnRefusal, Pipelining, TlsVersion};

use error::{Fault, Place};
use file::File;
use setting::{HostName, Setting, SocketPath};
use table::{Key, given};

use crate::message::rewrite::Rules;

/// `spool`, by default.
const SPOOL: &str = "/var/spool/nullmta";

/// `admin.control`, by default.
const CONTROL: &str = "/run/nullmta/control.sock";

/// Everything that `/etc/nullmta.toml` says, with the defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `spool`: the directory that holds the queued mail.
    pub spool: PathBuf,
    /// `relayhost`, `[auth]`, `[tls]` and `[relay]`: where the mail goes.
    pub relay: Relay,
    /// `[listen]`: where the mail comes from.
    pub listen: Listen,
    /// `[queue]`: how long and how often delivery is tried.
    pub queue: Queue,
    /// `[log]`.
    pub log: Log,
    /// `admin.control`: the socket of `nullmta queue` and `nullmta status`.
    pub control: PathBuf,
    /// `[rewrite]`: what becomes of addresses and header fields. The origin is the hostname by default.
    pub rewrite: Arc<Rules>,
    /// What an operator should know though all of this can be used.
    pub advice: Vec<String>,
}

impl Config {
    /// What `file` says, with the defaults; a fault names the key to change.
    fn of(file: &File, environment: &Environment) -> Result<Config, Fault> {
        let hostname = hostname_of(&file.listen.hostname, environment)?;
        let own_origin = given(&file.rewrite.origin).map(|origin| origin.0.as_str());
        let origin = own_origin.unwrap_or(&hostname);
        let listen = Listen::of(&file.listen, hostname.clone())?;
        let hello = Hello::of(&hostname, own_origin);
        let mut config = Config {
            relay: Relay::of(file, hello, &listen.addresses)?,
            spool: given(&file.spool).map_or_else(|| SPOOL.into(), |path| path.0.clone()),
            queue: Queue::of(&file.queue, origin)?,
            log: Log::of(&file.log),
            control: control_of(&file.admin.control, listen.socket.as_ref())?,
            rewrite: Arc::new(file.rewrite.rules(origin, &hostname)?),
            listen,
            advice: Vec::new(),
        };
        config.advice = advice::advice(file, &config);
        Ok(config)
    }

    /// Reads the configuration `text`; `path` is what errors call it. Pure: looks at no file.
    pub fn parse(text: &str, path: &Path, environment: &Environment) -> Result<Config, ConfigError> {
        File::parse(text)
            .and_then(|file| Config::of(&file, environment))
            .map_err(|fault| ConfigError::new(path, fault))
    }

    /// Reads the file at `path`, and none that it names: for commands that only ask where the daemon is.
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        check::read(path).map_err(|fault| ConfigError::new(path, fault))
    }

    /// Reads the file at `path` and checks the files it names: certificates, keys and secrets.
    /// Blocks on the disk.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        check::load(path).map_err(|fault| ConfigError::new(path, fault))
    }

    /// Where the daemon that was started from the file at `path` is asked, though the file has errors now. Blocks on
    /// the disk.
    pub fn control_in(path: &Path) -> PathBuf {
        let text = content::read_all(path).unwrap_or_default();
        despite_errors::control_in(&String::from_utf8_lossy(&text))
    }

    /// Where the spool is that the file at `path` means, though it has errors; `None` where that cannot be told for
    /// certain. Blocks on the disk.
    pub fn spool_in(path: &Path) -> Option<PathBuf> {
        despite_errors::spool_in(&String::from_utf8_lossy(&content::read_all(path).ok()?))
    }

    /// The text of the file at `path`, for [`Config::changed_keys`]; what cannot be read says nothing.
    pub fn text(path: &Path) -> String {
        String::from_utf8(content::read_all(path).unwrap_or_default()).unwrap_or_default()
    }

    /// The keys, such as `queue.lifetime`, that two texts of a configuration say different things of.
    pub fn changed_keys(old: &str, new: &str) -> Vec<String> {
        changes::changed_keys(old, new)
    }

    /// What an operator should know of this configuration, read from the file at `path`, though it can be used.
    /// Blocks on the disk.
    pub fn warnings(&self, path: &Path) -> Vec<String> {
        let exposures = check::exposures(self);
        check::warning(path).into_iter().chain(exposures).chain(self.advice.iter().cloned()).collect()
    }

    /// The same of what a name server says about the relayhosts. Blocks on the network, for seconds.
    pub fn lookup_warnings(&self) -> Vec<String> {
        lookup::advice(self)
    }
}

fn hostname_of(key: &Key<HostName>, environment: &Environment) -> Result<String, Fault> {
    match given(key) {
        Some(name) => Ok(name.0.clone()),
        None => HostName::parse(&environment.hostname).map(|name| name.0).ok_or_else(|| {
            let found = format!("none, and this host calls itself {:?}", environment.hostname);
            Place::of_missing("listen.hostname").expected(HostName::expected(), found)
        }),
    }
}

/// Where the control socket is: never at the socket of `sendmail`, `submission`.
fn control_of(key: &Key<SocketPath>, submission: Option<&PathBuf>) -> Result<PathBuf, Fault> {
    let Some(entry) = key else { return Ok(CONTROL.into()) };
    if submission == Some(&entry.value.0) {
        return Err(entry.place.expected("a path of its own", "that of listen.socket"));
    }
    Ok(entry.value.0.clone())
}
