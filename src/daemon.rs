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
//! Every task of the daemon is spawned here or by the one that is (the accept loop its sessions, the
//! queue its couriers).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Zoned;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::admin::control::{self, Control, ReloadRequest};
use crate::admin::protocol::{Configuration, RefusedConfiguration, Reloaded};
use crate::config::{Config, ListenConfig, ServerCertificate};
use crate::journal::LevelHandle;
use crate::listener::Service;
use crate::listener::bind::{BindError, Bound, bind};
use crate::listener::certificate::Certificate;
use crate::listener::intake::Desk;
use crate::listener::limits::sessions_within;
use crate::listener::pickup::pick_up;
use crate::listener::serve::serve;
use crate::listener::stop::{StopSignal, Stopper, stop_signal};
use crate::log::{self, Started};
use crate::queue::clock::SystemClock;
use crate::queue::{Queue, Settings, queue};
use crate::relay::Relay;
use crate::spool::fs::RealFs;
use crate::spool::{OpenError, Options, Recovery, Spool};
use crate::systemd::{self, BadSocket, Inherited, SocketAddresses};
use crate::users::{Nss, Users};

/// How long a stop waits for dialogues under way.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// Why the daemon did not start, and nothing was accepted; or why it does not go on.
#[derive(Debug)]
pub enum DaemonError {
    /// A socket that systemd passed.
    Inherited(BadSocket),
    /// A socket of the configuration.
    Bind(BindError),
    /// The spool.
    Spool(OpenError),
    /// What the relay's configuration names: certificates, keys.
    Relay(String),
    /// What the listener is to show in TLS handshakes.
    Certificate(String),
    /// The control socket.
    Control(PathBuf, io::Error),
    /// Something that the system normally gives.
    System(&'static str, io::Error),
    /// It had started: a part failed, and only a restart helps. What was accepted is safe.
    Failed(&'static str),
}

impl fmt::Display for DaemonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DaemonError::Inherited(error) => error.fmt(f),
            DaemonError::Bind(error) => error.fmt(f),
            DaemonError::Spool(error) => error.fmt(f),
            DaemonError::Relay(error) | DaemonError::Certificate(error) => f.write_str(error),
            DaemonError::Control(path, error) => {
                write!(
                    f,
                    "cannot listen on the control socket {}: {error}; see admin.control",
                    path.display()
                )
            }
            DaemonError::System(what, error) => write!(f, "cannot {what}: {error}"),
            DaemonError::Failed(part) => write!(f, "{part} has failed; a restart is needed, no mail is lost"),
        }
    }
}

impl std::error::Error for DaemonError {}

/// How long picking up pauses after a panic.
const PICKUP_PAUSE: Duration = Duration::from_secs(10);

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
    let mut watchdog = tokio::time::interval(systemd::watchdog_interval().unwrap_or(STATUS_INTERVAL));
    notify(systemd::ready());
    loop {
        tokio::select! {
            told = signals.next() => match told {
                Told::Stop => break,
                Told::Reload => drop(daemon.reload().await),
                Told::Probe => daemon.queue.probe_now(),
            },
            Some(answer) = reload_requests.recv() => {
                // Whoever asked may have gone away.
                drop(answer.send(daemon.reload().await));
            }
            _ = watchdog.tick() => daemon.report().await,
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

/// What a signal means.
enum Told {
    Stop,
    Reload,
    Probe,
}

/// How often the parts are looked at.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
    probe: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
            probe: signal(SignalKind::user_defined1())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.reload.recv() => Told::Reload,
            _ = self.probe.recv() => Told::Probe,
        }
    }
}

struct Daemon {
    path: PathBuf,
    /// What it was started with, which is in force still where only a restart changes it.
    started: Config,
    /// What is in force otherwise.
    config: Config,
    /// The file's text when that was read.
    text: String,
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
    sessions: JoinHandle<io::Result<()>>,
    deliveries: JoinHandle<()>,
    control: JoinHandle<()>,
    pickup: JoinHandle<()>,
}

impl Daemon {
    async fn start(start: Start, reload: UnboundedSender<ReloadRequest>) -> Result<Self, DaemonError> {
        let Start { path, config, inherited, level } = start;
        let descriptors = raise_descriptor_limit();
        let passed = inherited.places();
        let overruled = passed.overruled(&config.listen.addresses, config.listen.socket.as_deref());
        warn_of(&config, &path);
        let bound = sockets(&config, inherited)?;
        let addresses = join(&bound);
        let listened: Vec<SocketAddr> = bound.iter().filter_map(Bound::address).collect();
        refuse_ourselves(&config, &listened).map_err(DaemonError::Relay)?;
        let carrier = carrier(&config).map_err(DaemonError::Relay)?;
        let certificate = Certificate::of(&config.listen).map_err(DaemonError::Certificate)?;
        let (announce, arrivals) = unbounded_channel();
        let (spool, recovery) = open_spool(&config, announce).await?;
        log_recovery(&recovery);
        let control_listener = control::bind(&config.control)
            .map_err(|error| DaemonError::Control(config.control.clone(), error))?;
        log::started(&Started {
            hostname: &config.listen.hostname,
            relay: &join(&config.relay.hosts),
            addresses: &addresses,
            spool: &config.spool,
            live: recovery.entries.len(),
        });
        overruled.iter().for_each(|key| log::overruled(key, &addresses));

        let settings = Settings::new(&config, carrier);
        let (queue, deliveries) =
            queue(spool.clone(), recovery, arrivals, settings, Arc::new(SystemClock::start()));
        let users = Users::of(Arc::new(Nss));
        let service = Service::new(
            &within(&config.listen, descriptors),
            desk(&config, &spool, &queue, users.clone(), certificate.clone()),
        );
        let (stopper, stop) = stop_signal();
        let pickup = spawn_pickup(config.spool.clone(), Arc::clone(&service), stop.clone());
        let (configuration, in_force) = watch::channel(Configuration {
            overruled: overruled.iter().map(ToString::to_string).collect(),
            ..read_now(&path)
        });
        let control = Control {
            queue: queue.clone(),
            spool: spool.clone(),
            configuration: in_force,
            users: users.clone(),
            reload,
        };
        Ok(Daemon {
            text: Config::text(&path),
            configuration,
            passed,
            listened,
            addresses,
            path,
            started: config.clone(),
            config,
            level,
            certificate,
            sessions: tokio::spawn(serve(bound, service.clone(), stop)),
            deliveries: tokio::spawn(deliveries),
            control: tokio::spawn(control.serve(control_listener)),
            pickup,
            users,
            spool,
            queue,
            descriptors,
            service,
            stopper,
        })
    }

    /// Reads the configuration again, and follows it if it is good.
    async fn reload(&mut self) -> Reloaded {
        notify(systemd::reloading());
        let path = self.path.clone();
        let load = move || {
            let (text, config) = (Config::text(&path), Config::load(&path));
            if let Ok(config) = &config {
                warn_of(config, &path);
            }
            (text, config)
        };
        let loaded = tokio::task::spawn_blocking(load).await;
        let outcome = match loaded {
            Ok((text, Ok(config))) => self.follow(config).map(|followed| (text, followed)),
            Ok((_, Err(error))) => Err(error.to_string()),
            Err(panic) => Err(panic.to_string()),
        };
        let reloaded = match outcome {
            Ok((text, followed)) => self.reloaded(text, followed),
            Err(why) => self.not_reloaded(why),
        };
        notify(systemd::ready());
        reloaded
    }

    /// Notes and says that the file with this text is in force.
    fn reloaded(&mut self, text: String, configuration: Configuration) -> Reloaded {
        let changed = Config::changed_keys(&self.text, &text);
        log::reloaded(&self.path.display(), &changed);
        self.text = text;
        self.configuration.send_replace(configuration.clone());
        Reloaded { configuration, changed }
    }

    /// Notes and says that it is not.
    fn not_reloaded(&mut self, why: String) -> Reloaded {
        log::not_reloaded(&why);
        let at = read_now(&self.path).since;
        self.configuration
            .send_modify(|configuration| configuration.refused = Some(RefusedConfiguration { at, why }));
        let configuration = self.configuration.borrow().clone();
        Reloaded { configuration, changed: Vec::new() }
    }

    /// Follows `config`: what is in force then, with the keys that it cannot follow.
    fn follow(&mut self, config: Config) -> Result<Configuration, String> {
        refuse_ourselves(&config, &self.listened)?;
        let carrier = carrier(&config)?;
        let certificate = self.certificate(&config)?;
        let overruled = self.passed.overruled(&config.listen.addresses, config.listen.socket.as_deref());
        let is_passed = |key: &str| !self.passed.is_empty() && key.starts_with("listen.");
        let fixed = fixed_keys(&self.started, &config).into_iter();
        let fixed = fixed.filter(|(key, is_changed)| *is_changed && !is_passed(key)).map(|(key, _)| key);
        let needs_restart: Vec<_> = fixed.collect();
        needs_restart.iter().for_each(|key| log::needs_restart(key));
        overruled.iter().for_each(|key| log::overruled(key, &self.addresses));
        self.queue.reconfigure(Settings::new(&config, carrier));
        let desk = desk(&config, &self.spool, &self.queue, self.users.clone(), certificate.clone());
        self.service.reload(&within(&config.listen, self.descriptors), desk);
        self.level.set(config.log.level);
        self.certificate = certificate;
        self.config = config;
        let words = |keys: Vec<&str>| keys.into_iter().map(String::from).collect();
        let (needs_restart, overruled) = (words(needs_restart), words(overruled));
        Ok(Configuration { needs_restart, overruled, ..read_now(&self.path) })
    }

    /// What `config` has the listener show. A self-made one lasts for a run: somebody may have come to trust it.
    fn certificate(&self, config: &Config) -> Result<Option<Certificate>, String> {
        let (old, new) = (&self.config.listen, &config.listen);
        let is_kept = new.certificate == Some(ServerCertificate::SelfMade)
            && (&old.certificate, &old.hostname) == (&new.certificate, &new.hostname);
        if is_kept { Ok(self.certificate.clone()) } else { Certificate::of(new) }
    }

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

    /// Waits until a part fails that must not: its name. Cancel safe.
    async fn failed(&mut self) -> &'static str {
        loop {
            if self.sessions.is_finished() {
                return "the listener";
            }
            if self.deliveries.is_finished() {
                return "the queue";
            }
            if !self.spool.is_writing() {
                return "the spool's writer";
            }
            self.spool.look();
            tokio::time::sleep(HEALTH_INTERVAL).await;
        }
    }

    async fn stop(self) {
        log::stopping();
        notify(systemd::stopping());
        self.stopper.stop(Instant::now() + STOP_PATIENCE);
        self.queue.stop(STOP_PATIENCE);
        if let Ok(Err(error)) = self.sessions.await {
            log::not_serving(&error);
        }
        // A file left where it was is taken by the next start.
        let _ = self.pickup.await;
        self.service.say_what_was_counted();
        // A queue that panicked has nothing under way any more.
        let _ = self.deliveries.await;
        self.control.abort();
        self.spool.close().await;
        // A socket file that is gone already is as good.
        let _ = std::fs::remove_file(&self.started.control);
        log::stopped();
    }
}

/// What sessions put messages on.
fn desk(
    config: &Config,
    spool: &Spool,
    queue: &Queue,
    users: Users,
    certificate: Option<Certificate>,
) -> Desk {
    let queue = queue.clone();
    Desk {
        spool: spool.clone(),
        rules: Arc::clone(&config.rewrite),
        users,
        hostname: config.listen.hostname.as_str().into(),
        postmaster: config.queue.postmaster.clone(),
        probe: Arc::new(move || {
            let queue = queue.clone();
            Box::pin(async move { queue.probe_for_client().await.map(|too_soon| too_soon.to_string()) })
        }),
        clock: Zoned::now,
        certificate,
    }
}

/// The relay of the configuration, ready to be connected to.
fn carrier(config: &Config) -> Result<Arc<Relay>, String> {
    let relay = Relay::new(config.relay.clone())?;
    relay.warnings().iter().for_each(|warning| log::relay_warning(warning));
    Ok(Arc::new(relay))
}

/// Mail that we hand to ourselves goes round: the parser knows of `listen.addresses`, and systemd may have passed others.
fn refuse_ourselves(config: &Config, listened: &[SocketAddr]) -> Result<(), String> {
    match config.relay.hosts.iter().find(|host| host.is_one_of(listened)) {
        Some(host) => Err(format!(
            "{host} is where nullmta listens itself: mail would go round in circles; set relayhost to the relay that \
             takes this host's mail, or change nullmta.socket"
        )),
        None => Ok(()),
    }
}

/// Says in the log what an operator should know of `config`, which was read from the file at `path`: what a name
/// server knows when it has answered, which nothing waits for.
fn warn_of(config: &Config, path: &Path) {
    config.warnings(path).iter().for_each(|warning| log::config_warning(warning));
    let config = config.clone();
    std::thread::spawn(move || {
        config.lookup_warnings().iter().for_each(|warning| log::config_warning(warning))
    });
}

fn sockets(config: &Config, inherited: Inherited) -> Result<Vec<Bound>, DaemonError> {
    let bound = if inherited.is_empty() { bind(&config.listen) } else { taken_over(inherited) };
    bound.map_err(DaemonError::Bind)
}

/// The sockets that systemd passed, as the listener has them.
pub fn taken_over(inherited: Inherited) -> Result<Vec<Bound>, BindError> {
    let tcp = inherited.tcp.into_iter().map(Bound::tcp);
    let unix = inherited.unix.into_iter().map(Bound::unix);
    tcp.chain(unix).collect()
}

async fn open_spool(
    config: &Config,
    announce: tokio::sync::mpsc::UnboundedSender<crate::spool::Entry>,
) -> Result<(Spool, Recovery), DaemonError> {
    let mut options = Options::at(&config.spool);
    options.min_free_space = config.queue.min_free_space;
    options.max_messages = config.queue.max_messages;
    let open = move || Spool::open(options, Arc::new(RealFs), announce);
    let opened = tokio::task::spawn_blocking(open).await;
    let panicked =
        |panic: tokio::task::JoinError| DaemonError::System("recover the spool", io::Error::other(panic));
    opened.map_err(panicked)?.map_err(DaemonError::Spool)
}

fn log_recovery(recovery: &Recovery) {
    for damage in &recovery.damaged {
        log::spool_damaged(damage);
    }
    if recovery.unclean {
        log::unclean_end(recovery.torn);
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

fn spawn_pickup(spool: PathBuf, service: Arc<Service>, stop: StopSignal) -> JoinHandle<()> {
    let signal = stop.clone();
    let begin = move || pick_up(Arc::new(RealFs), spool.clone(), Arc::clone(&service), signal.clone());
    tokio::spawn(anew_after_panics(begin, stop))
}

/// Runs what `begin` begins to its end. A panic is the fault of one dropped file, as a rule: what `sendmail` has
/// acknowledged in others is not left lying for it.
async fn anew_after_panics<F>(begin: impl Fn() -> F, mut stop: StopSignal)
where
    F: Future<Output = ()> + Send + 'static,
{
    while let Err(panic) = tokio::spawn(begin()).await {
        log::pickup_failed(&panic);
        tokio::select! {
            _ = stop.given() => return,
            () = tokio::time::sleep(PICKUP_PAUSE) => {}
        }
    }
}

/// What only a restart can change, and whether it was changed.
fn fixed_keys(old: &Config, new: &Config) -> [(&'static str, bool); 6] {
    [
        ("spool", old.spool != new.spool),
        ("listen.addresses", old.listen.addresses != new.listen.addresses),
        ("listen.socket", old.listen.socket != new.listen.socket),
        ("admin.control", old.control != new.control),
        ("log.format", old.log.format != new.log.format),
        (
            "queue.min-free-space, queue.max-messages",
            (old.queue.min_free_space, old.queue.max_messages)
                != (new.queue.min_free_space, new.queue.max_messages),
        ),
    ]
}

/// `listen` with no more sessions than there are descriptors for: spool, relay and control socket need some.
fn within(listen: &ListenConfig, descriptors: u64) -> ListenConfig {
    let most = sessions_within(descriptors);
    if listen.max_sessions > most {
        log::fewer_sessions(most, listen.max_sessions, descriptors);
    }
    ListenConfig {
        max_sessions: listen.max_sessions.min(most),
        max_sessions_per_uid: listen.max_sessions_per_uid.min(most),
        ..listen.clone()
    }
}

/// Sessions, connections, segments and large files each hold a descriptor. How many there may be.
fn raise_descriptor_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        log::done_without("the limit of descriptors stays", &error);
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

fn notify(sent: io::Result<()>) {
    if let Err(error) = sent {
        log::done_without("systemd was not told", &error);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Ends by a panic so many times, then well; gives how often it was begun.
    async fn begun(panics: u32, stop: StopSignal) -> u32 {
        let begun = AtomicU32::new(0);
        let begin = || {
            let before = begun.fetch_add(1, Ordering::Relaxed);
            async move { assert!(before >= panics, "told to") }
        };
        anew_after_panics(begin, stop).await;
        begun.into_inner()
    }

    /// A panic used to end picking up until the next start, without a word of ours.
    #[tokio::test(start_paused = true)]
    async fn picking_up_begins_anew_after_a_panic_unless_we_stop() {
        let (stopper, stop) = stop_signal();
        assert_eq!(begun(2, stop.clone()).await, 3);
        stopper.stop(Instant::now());
        assert_eq!(begun(2, stop).await, 1);
    }
}
