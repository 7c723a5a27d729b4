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
//! The way of a text: `table.rs` (TOML, unknown keys) → `file.rs` (the keys) → `resolve.rs`
//! (defaults, and what keys mean together).

mod access;
mod advice;
mod authorities;
mod changes;
mod check;
mod content;
mod defaults;
mod despite_errors;
mod environment;
mod error;
mod file;
mod key_pair;
mod lookup;
mod pin;
mod relay;
mod relayhost;
mod resolve;
mod rewrite;
mod secret_source;
mod setting;
mod table;
mod tls_file;
mod units;
mod words;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use access::OpenFault;
pub use authorities::Authorities;
pub use defaults::MAX_MESSAGE_SIZE;
pub use environment::Environment;
pub use error::ConfigError;
pub use key_pair::read_pair;
pub use relay::{
    Auth, ClientCertificate, Hello, Mechanism, Pipelining, Relay, Timeouts, Tls, TlsSettings, TlsVersion,
    Trust,
};
pub use relayhost::{Host, RelayHost};
pub use secret_source::{BadSecret, SecretError, SecretSource};
pub use tls_file::{TlsFile, TlsFileError, TlsFileFault};

use crate::envelope::Address;
use crate::message::rewrite::Rules;

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
    /// Reads the configuration `text`; `path` is what errors call it. Pure: looks at no file.
    pub fn parse(text: &str, path: &Path, environment: &Environment) -> Result<Config, ConfigError> {
        file::File::read(text)
            .and_then(|file| resolve::resolve(&file, environment))
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

/// `[listen]`: the loopback listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Loopback addresses only. Port 0 lets the system choose one.
    pub addresses: Vec<SocketAddr>,
    /// The unix socket of `sendmail`; `None` when it is `"off"`.
    pub socket: Option<PathBuf>,
    /// The name in the greeting, in Received fields and in our EHLO.
    pub hostname: String,
    /// The largest message accepted, in octets.
    pub max_message_size: u64,
    /// The most recipients of one message.
    pub max_recipients: usize,
    /// The most sessions at once.
    pub max_sessions: usize,
    /// The most sessions at once of one local user; at most `max_sessions`.
    pub max_sessions_per_uid: usize,
    /// The most messages a minute of one local user on the unix socket; `None` for no limit.
    pub max_messages_per_minute_per_uid: Option<u32>,
    /// A session that says nothing for so long is closed (421).
    pub idle_timeout: Duration,
    /// What STARTTLS shows; `None`: it is not offered.
    pub certificate: Option<ServerCertificate>,
}

/// `listen.certificate` and `listen.key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerCertificate {
    /// `"self-made"`: made anew by each start, for the names of loopback and `listen.hostname`.
    SelfMade,
    /// Read from files.
    Files {
        /// PEM, the chain, our own certificate first.
        chain: PathBuf,
        /// PEM, its private key.
        key: PathBuf,
    },
}

/// `[queue]`: how long and how often delivery is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// The shortest wait before a deferred message is tried again.
    pub retry_min: Duration,
    /// The longest one.
    pub retry_max: Duration,
    /// The age at which an undelivered message is bounced.
    pub lifetime: Duration,
    /// The age at which the reverse-path is told of a delay; `None` for never.
    pub delay_warning: Option<Duration>,
    /// Who gets a DSN that cannot be delivered; with its domain.
    pub postmaster: Option<Address>,
    /// What becomes of a message whose sender or account the relay refuses for good; `None`: it is held until the relay
    /// has taken a first message, and bounced from then on.
    pub on_refusal: Option<OnRefusal>,
    /// Free octets on the spool's disk below which no message is accepted (452).
    pub min_free_space: u64,
    /// The most messages on the spool.
    pub max_messages: u64,
}

/// `queue.on-refusal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRefusal {
    /// The message is bounced.
    Bounce,
    /// The message is held.
    Hold,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Lines below this level are not written.
    pub level: Level,
    /// How a line is written.
    pub format: Format,
}

/// How much is logged; each level includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Mail is at risk.
    Error,
    /// An operator should look.
    Warn,
    /// The mail's story.
    Info,
    /// The dialogue, without secrets.
    Debug,
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines of the shape Postfix made familiar.
    Text,
    /// One JSON object a line.
    Json,
}
