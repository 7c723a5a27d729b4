//! The daemon: what is started in which order, what a reload changes, how it stops.
//!
//! Start: sockets (clients wait in the backlog from here on), certificates, the spool's recovery, the control
//! socket, the queue, the sessions, `READY`. What fails before `READY` ends the start, and nothing was
//! accepted.
//!
//! Reload (SIGHUP, `nullmta reload`): a configuration with an error changes nothing and says so. What only a restart can change
//! (`fixed_keys`) stays as it was started, which each reload says.
//!
//! Stop (SIGTERM, SIGINT): no more is accepted, idle sessions get 421, content on its way in finishes or is
//! refused; no more is given to the relay, and a dialogue past its final dot is waited for; after
//! 20 s the rest is cut. Nothing durable depends on any of it.
//!
//! Every task of the daemon is begun in `daemon/parts.rs`, which has the table of the parts, or by one that is (the accept
//! loop its sessions, the queue its connections and settlements).
//!
//! Not here: what is opened in which order (`daemon/start.rs`), a reload (`daemon/reload.rs`).

mod error;
mod host;
mod parts;
mod reload;
mod signals;
mod start;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::admin::protocol::Configuration;
use crate::config::Config;
use crate::journal::LevelHandle;
use crate::listener::Service;
use crate::listener::certificate::Certificate;
use crate::listener::stop::Stopper;
use crate::log;
use crate::queue::Queue;
use crate::spool::Spool;
use crate::systemd::{self, Inherited, SocketAddresses};
use crate::users::Users;
use host::notify;
use parts::Parts;
use signals::{SignalRequest, Signals};

pub use error::DaemonError;
pub use parts::Part;
pub use start::taken_over;

/// How long a stop waits for dialogues under way.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// What the daemon is started from.
pub struct Start {
    /// Where the configuration was read, and is read again.
    pub path: PathBuf,
    /// What it said.
    pub config: Config,
    /// Sockets passed by systemd; with none, those of the configuration are bound.
    pub inherited: Inherited,
    /// The running log's level.
    pub level: LevelHandle,
}

/// Runs the daemon until it is told to stop, or a part of it that nothing works without has failed.
pub async fn run(start: Start) -> Result<(), DaemonError> {
    let mut signals = Signals::new().map_err(|error| DaemonError::System("watch for signals", error))?;
    let (reload, mut reload_requests) = unbounded_channel();
    let mut daemon = Daemon::start(start, reload).await?;
    let mut watchdog = interval(systemd::watchdog_interval().unwrap_or(STATUS_INTERVAL));
    let mut look = interval(LOOK_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    notify(systemd::ready());
    loop {
        tokio::select! {
            told = signals.next() => match told {
                SignalRequest::Stop => break,
                SignalRequest::Reload => drop(daemon.reload().await),
                SignalRequest::Probe => daemon.queue.probe_now(),
            },
            Some(answer) = reload_requests.recv() => {
                // Whoever asked may have gone away.
                drop(answer.send(daemon.reload().await));
            }
            _ = watchdog.tick() => daemon.report().await,
            _ = look.tick() => daemon.spool.look(),
            part = daemon.failed() => {
                daemon.stop().await;
                return Err(DaemonError::Failed(part));
            }
        }
    }
    daemon.stop().await;
    Ok(())
}

/// How often `systemctl status` gets a fresh line, where no watchdog asks for more.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// How often the spool sees whether it is still where it was opened: it may have been removed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The running daemon.
struct Daemon {
    path: PathBuf,
    /// What it was started with, which is in force still where only a restart changes it.
    started: Config,
    /// What is in force otherwise.
    config: Config,
    /// What the control socket says of it.
    configuration: watch::Sender<Configuration>,
    /// The sockets that systemd passed, whatever `[listen]` says.
    passed: SocketAddresses,
    /// Where we listen for SMTP.
    listened: Vec<SocketAddr>,
    /// Where we listen, as the log says it.
    addresses: String,
    level: LevelHandle,
    certificate: Option<Certificate>,
    users: Users,
    spool: Spool,
    queue: Queue,
    /// How many file descriptors there may be.
    descriptors: u64,
    service: Arc<Service>,
    stopper: Stopper,
    parts: Parts,
}

impl Daemon {
    /// Tells systemd that we live, if we do: the queue's owner must answer.
    async fn report(&self) {
        if let Some(status) = self.queue.status().await {
            let sessions = self.service.sessions();
            let line = format!("{} in the queue, {sessions} sessions, relay {}", status.live, status.relay());
            let spool = self.spool.trouble().map(|why| format!("; mail is refused: {why}"));
            notify(systemd::watchdog());
            notify(systemd::status(&(line + &spool.unwrap_or_default())));
        }
    }

    /// Waits until a part has failed, and returns it. Cancel safe.
    async fn failed(&mut self) -> Part {
        tokio::select! {
            part = self.parts.ended() => part,
            () = self.spool.writer_ended() => Part::Writer,
            () = self.spool.stock_ended() => Part::Stock,
        }
    }

    /// Stops every part, and closes the spool when nothing writes to it any more.
    async fn stop(self) {
        log::stopping();
        notify(systemd::stopping());
        self.stopper.stop(Instant::now() + STOP_PATIENCE);
        self.queue.stop(STOP_PATIENCE);
        self.parts.end().await;
        self.service.say_what_was_counted();
        self.spool.close().await;
        // A socket file that is gone already is as good.
        let _ = std::fs::remove_file(&self.started.control);
        log::stopped();
    }
}

/// A configuration that was read at this moment, and is in force.
fn read_now(path: &Path) -> Configuration {
    let since = format!("{:.0}", jiff::Timestamp::now());
    let (needs_restart, overruled) = (Vec::new(), Vec::new());
    Configuration { path: path.display().to_string(), since, refused: None, needs_restart, overruled }
}

fn join(items: &[impl fmt::Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
