//! The daemon: the order of its start, what a reload changes, and how it stops.
//!
//! Start: the sockets (clients wait in their backlog from here on), the certificates, the spool's recovery, the control
//! socket, the queue, the sessions, `READY`. What fails before `READY` ends the start, and then nothing was accepted.
//!
//! Reload (SIGHUP, `nullmta reload`): a configuration with an error changes nothing, and the log says so. What only a
//! restart can change (`fixed_keys`) stays as it was at the start, and each reload says that too.
//!
//! Stop (SIGTERM, SIGINT): no more connections are accepted, idle sessions get 421, and content on its way in is taken
//! to its end or refused. The relay gets no more messages, and a dialogue past its final dot is waited for. After 20 s
//! the rest is cut off. Nothing durable depends on any of this. A request with a refresh token is waited for up to 35 s
//! more, since the token that comes back may be the only valid one.
//!
//! Every task of the daemon is begun in `daemon/parts.rs`, which has the table of the parts, or by one of these parts
//! (the accept loop begins the sessions, the queue its connections and settlements).
//!
//! Not here: what a start opens (`daemon/start.rs`), a reload (`daemon/reload.rs`).

mod error;
mod host;
mod parts;
mod reload;
mod signals;
mod start;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{self, Runtime};
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::admin::alarm_settings::AlarmSettings;
use crate::admin::protocol::Configuration;
use crate::admin::standing;
use crate::config::{Config, FileContents};
use crate::journal::LevelHandle;
use crate::listener::Service;
use crate::listener::certificate::Certificate;
use crate::listener::login::LoginDesk;
use crate::listener::stop::Stopper;
use crate::log;
use crate::queue::Queue;
use crate::relay::refresh_tokens_settled;
use crate::spool::Spool;
use crate::systemd::{self, Inherited, SocketAddresses};
use crate::users::Users;
use host::notify;
use parts::Parts;
use signals::{SignalRequest, Signals};

pub use error::DaemonError;
pub use parts::DaemonPart;
pub use start::taken_over;

/// The time for which a stop waits for dialogues under way.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// The time for which a stop waits, after that, for a token endpoint, which is given up after 30 s, and for the disk.
const TOKEN_PATIENCE: Duration = Duration::from_secs(35);

/// The input of a start.
pub struct Start {
    /// The file from which the configuration was read, and is read again.
    pub path: PathBuf,
    /// The configuration in that file.
    pub config: Config,
    /// The sockets that systemd passed; without any, those of the configuration are bound.
    pub inherited: Inherited,
    /// The handle by which the level of the log is changed.
    pub level: LevelHandle,
}

/// Returns the runtime of the daemon: a thread for each processor runs its tasks.
///
/// One thread alone is woken less often, but in turns it was no cheaper, and it took four messages where these took five.
pub fn runtime() -> io::Result<Runtime> {
    runtime::Builder::new_multi_thread().enable_all().build()
}

/// Runs the daemon until it is told to stop, or until a part without which nothing works has failed.
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
            _ = look.tick() => {
                daemon.spool.look();
                daemon.logins.look();
                standing::end_due(&daemon.spool, &daemon.queue);
            }
            part = daemon.failed() => {
                daemon.stop().await;
                return Err(DaemonError::Failed(part));
            }
        }
    }
    daemon.stop().await;
    Ok(())
}

/// The time between two lines for `systemctl status`, if no watchdog asks for more.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// The time between two looks at the directory of the spool, which may have been removed, and at the file with the users.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The running daemon.
struct Daemon {
    path: PathBuf,
    /// The configuration of the start, which stays in force for keys that only a restart changes.
    started: Config,
    /// The configuration that is in force for the other keys.
    config: Config,
    /// The contents of the files that it names.
    contents: FileContents,
    /// The state of the configuration, as the control socket shows it.
    configuration: watch::Sender<Configuration>,
    /// The sockets that systemd passed, whatever `[listen]` says.
    passed: SocketAddresses,
    /// The addresses on which the daemon listens for SMTP.
    listened: Vec<SocketAddr>,
    /// The addresses as the log shows them, with the Unix sockets.
    addresses: String,
    /// Why there must be a certificate as long as these sockets are open; `None` if none of them needs one.
    needs_certificate: Option<&'static str>,
    level: LevelHandle,
    certificate: Option<Certificate>,
    logins: Arc<LoginDesk>,
    users: Users,
    spool: Spool,
    queue: Queue,
    /// The number of file descriptors that the daemon may have.
    descriptors: u64,
    service: Arc<Service>,
    /// The alarms that are watched.
    alarm_settings: watch::Sender<AlarmSettings>,
    stopper: Stopper,
    parts: Parts,
}

impl Daemon {
    /// Tells systemd that the daemon works, if it does: the owner of the queue must answer.
    async fn report(&self) {
        if let Some(status) = self.queue.status().await {
            let sessions = self.service.sessions();
            let line = format!(
                "{} in the queue, {sessions} sessions, relay {}",
                status.live,
                status.foremost().state()
            );
            let spool = self.spool.trouble().map(|why| format!("; mail is refused: {why}"));
            notify(systemd::watchdog());
            notify(systemd::status(&(line + &spool.unwrap_or_default())));
        }
    }

    /// Waits until a part has failed, and returns it. Cancel safe.
    async fn failed(&mut self) -> DaemonPart {
        tokio::select! {
            part = self.parts.ended() => part,
            () = self.spool.writer_ended() => DaemonPart::Writer,
            () = self.spool.stock_ended() => DaemonPart::Stock,
        }
    }

    /// Stops every part, and closes the spool when nothing writes to it any more.
    async fn stop(self) {
        log::stopping();
        notify(systemd::stopping());
        self.stopper.stop(Instant::now() + STOP_PATIENCE);
        self.queue.stop(STOP_PATIENCE);
        self.parts.end().await;
        // What is not written then is in the log, or the endpoint never answered.
        let _ = timeout(TOKEN_PATIENCE, refresh_tokens_settled()).await;
        self.service.say_what_was_counted();
        self.spool.close().await;
        // A socket file that is gone already does no harm.
        let _ = std::fs::remove_file(&self.started.control);
        log::stopped();
    }
}

/// Returns the state of a configuration that was read now, and is in force.
fn read_now(path: &Path) -> Configuration {
    let since = format!("{:.0}", jiff::Timestamp::now());
    let (needs_restart, overruled) = (Vec::new(), Vec::new());
    Configuration { path: path.display().to_string(), since, refused: None, needs_restart, overruled }
}

fn join(items: &[impl fmt::Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
