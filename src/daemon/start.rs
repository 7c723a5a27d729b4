//! The start: what is opened, in which order, and then begun.
//!
//! Promises: everything that can fail is opened before any part is begun (`Opened`).
//!
//! Fails: with a [`DaemonError`]; then nothing was accepted.
//!
//! Not here: the parts and their end (`parts.rs`).

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Zoned;
use tokio::net::UnixListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinError;

use super::host::{raise_descriptor_limit, within};
use super::parts::{DaemonPart, Parts, anew_after_panics};
use super::{Daemon, DaemonError, Start, join, read_now};
use crate::admin::alarm_settings::AlarmSettings;
use crate::admin::alarms::watch_over;
use crate::admin::control::{self, Control, ReloadRequest};
use crate::admin::history_keeper::HistoryKeeper;
use crate::admin::http;
use crate::admin::protocol::Configuration;
use crate::admin::standing;
use crate::config::{Config, FileContents, ListenConfig};
use crate::listener::Service;
use crate::listener::bind::{BindError, Bound, bind};
use crate::listener::certificate::Certificate;
use crate::listener::intake::SessionDesk;
use crate::listener::login::LoginDesk;
use crate::listener::pickup::pick_up;
use crate::listener::serve::serve;
use crate::listener::stop::{StopSignal, Stopper, stop_signal};
use crate::log::{self, StartedLine};
use crate::queue::clock::SystemClock;
use crate::queue::{Connector, Queue, RelaySettings, Settings, queue};
use crate::relay::lookup::lookup_warnings;
use crate::relay::{BuiltRelay, LateRelay, Relay};
use crate::spool::fs::RealFs;
use crate::spool::{Entry, Options, Recovery, Spool};
use crate::systemd::{Inherited, SocketAddresses};
use crate::users::{Nss, Users};

impl Daemon {
    /// Opens everything and begins all parts. `reload` gets the requests of the control socket to read the configuration
    /// again.
    pub(super) async fn start(
        start: Start,
        reload: UnboundedSender<ReloadRequest>,
    ) -> Result<Self, DaemonError> {
        let Start { path, config, inherited, level } = start;
        let descriptors = raise_descriptor_limit();
        let passed = inherited.places();
        let overruled = overruled(&passed, &config);
        warn_of(&config, &path);
        // Before they are read for use: one that is changed in between is noticed by the next reload.
        let contents = FileContents::of(&config);
        let opened = Opened::open(&config, inherited).await?;
        let (listened, addresses) = (addresses_of(&opened.bound), join(&opened.bound));
        let needs_certificate = certificate_need(&opened.bound, !passed.is_empty());
        opened.log(&config);
        overruled.iter().for_each(|key| log::overruled(key, &addresses));

        let (configuration, in_force) = watch::channel(Configuration {
            overruled: overruled.iter().map(ToString::to_string).collect(),
            ..read_now(&path)
        });
        let begun = opened.begin(&config, descriptors, in_force, reload);
        let Begun { certificate, logins, users, spool, queue, service, alarm_settings, stopper, parts } =
            begun;
        Ok(Daemon {
            configuration,
            passed,
            listened,
            addresses,
            needs_certificate,
            path,
            started: config.clone(),
            config,
            contents,
            level,
            certificate,
            logins,
            users,
            spool,
            queue,
            descriptors,
            service,
            alarm_settings,
            stopper,
            parts,
        })
    }
}

/// The error for a socket of systemd whose clients begin with TLS.
const NO_CERTIFICATE: &str = "systemd passed a socket called smtps, whose clients begin with TLS: expected listen.certificate, \
                              which TLS needs";

/// The error for a socket of `listen.tls-addresses` that is open, though the configuration names it no more.
const NO_CERTIFICATE_YET: &str = "the sockets of listen.tls-addresses, whose clients begin with TLS, stay open until a restart: \
                                  expected listen.certificate; restart nullmta to close them";

/// Returns why there must be a certificate, whatever the configuration says; `None` if no socket needs one.
fn certificate_need(bound: &[Bound], is_passed: bool) -> Option<&'static str> {
    let why = if is_passed { NO_CERTIFICATE } else { NO_CERTIFICATE_YET };
    bound.iter().any(|socket| matches!(socket, Bound::Tls(_))).then_some(why)
}

/// Returns an error with `need`, the reason for which there must be a certificate, if `config` has none.
pub(super) fn refuse_without_certificate(
    config: &Config,
    need: Option<&'static str>,
) -> Result<(), &'static str> {
    match need {
        Some(need) if config.listen.certificate.is_none() => Err(need),
        _ => Ok(()),
    }
}

/// Everything that a start opens, and that can fail in it.
struct Opened {
    bound: Vec<Bound>,
    relays: Vec<RelaySettings>,
    certificate: Option<Certificate>,
    spool: Spool,
    recovery: Recovery,
    /// The messages that the spool takes from now on.
    arrivals: UnboundedReceiver<Entry>,
    /// The control socket.
    control: UnixListener,
}

impl Opened {
    async fn open(config: &Config, inherited: Inherited) -> Result<Self, DaemonError> {
        let BegunRelays { relays, faults } = relays(config).map_err(DaemonError::Relay)?;
        let certificate = Certificate::of(&config.listen)
            .map_err(|error| DaemonError::Certificate(config.located(&error)))?;
        let is_passed = !inherited.is_empty();
        let bound = sockets(config, inherited)?;
        refuse_without_certificate(config, certificate_need(&bound, is_passed))
            .map_err(|need| DaemonError::Certificate(need.into()))?;
        refuse_ourselves(config, &addresses_of(&bound)).map_err(DaemonError::Relay)?;
        let (announce, arrivals) = unbounded_channel();
        let (spool, recovery) = open_spool(config, announce).await?;
        log_recovery(&recovery);
        standing::tell_found(&spool);
        standing::tell_without_route(&spool, config.routes.iter().map(|route| &*route.rule.name));
        let control = control::bind(&config.control)
            .map_err(|error| DaemonError::Control(config.control.clone(), error))?;
        faults.iter().for_each(|fault| log::relay_not_usable(fault));
        Ok(Opened { bound, relays, certificate, spool, recovery, arrivals, control })
    }

    /// Begins all parts. `in_force` tells those who ask which configuration is in force.
    fn begin(
        self,
        config: &Config,
        descriptors: u64,
        in_force: watch::Receiver<Configuration>,
        reload: UnboundedSender<ReloadRequest>,
    ) -> Begun {
        let Opened { bound, relays, certificate, spool, recovery, arrivals, control: control_listener } =
            self;
        let (settings, clock) = (Settings::new(config, relays), Arc::new(SystemClock::start()));
        let (queue, deliveries) = queue(spool.clone(), recovery, arrivals, settings, clock);
        let users = Users::of(Arc::new(Nss));
        let logins = LoginDesk::new(&config.listen);
        logins.look();
        let desk =
            session_desk(config, &spool, &queue, users.clone(), certificate.clone(), Arc::clone(&logins));
        let service = Service::new(&within(&config.listen, descriptors), desk);
        let history = HistoryKeeper::start();
        let (ongoing, alarms) = watch::channel(Vec::new());
        let (alarm_settings, followed) = watch::channel(AlarmSettings::of(config));
        let control = Control {
            history: Arc::clone(&history),
            queue: queue.clone(),
            spool: spool.clone(),
            configuration: in_force,
            users: users.clone(),
            logins: Arc::clone(&logins),
            alarms,
            service: Arc::clone(&service),
            reload,
        };
        let (stopper, stop) = stop_signal();
        let mut parts = Parts::default();
        parts.begin(DaemonPart::PickUp, picking_up(config.spool.clone(), Arc::clone(&service), stop.clone()));
        parts.begin(DaemonPart::Listener, serving(bound, Arc::clone(&service), stop));
        parts.begin(DaemonPart::Queue, deliveries);
        parts.begin(DaemonPart::History, history.keep(queue.clone(), Arc::clone(&service)));
        if !config.http.is_empty() {
            parts.begin(DaemonPart::Http, http::serve(control.clone(), config.http.clone()));
        }
        parts.begin(DaemonPart::Alarms, watch_over(control.clone(), followed, ongoing));
        parts.begin(DaemonPart::Control, control.serve(control_listener));
        Begun { certificate, logins, users, spool, queue, service, alarm_settings, stopper, parts }
    }

    /// Logs that the daemon has started.
    fn log(&self, config: &Config) {
        log::started(&StartedLine {
            hostname: &config.listen.hostname,
            relay: &join(&config.relay.hosts),
            addresses: &join(&self.bound),
            spool: &config.spool,
            live: self.recovery.entries.len(),
        });
    }
}

/// The parts that a start has begun, and everything by which the daemon reaches them.
struct Begun {
    certificate: Option<Certificate>,
    logins: Arc<LoginDesk>,
    users: Users,
    spool: Spool,
    queue: Queue,
    service: Arc<Service>,
    alarm_settings: watch::Sender<AlarmSettings>,
    stopper: Stopper,
    parts: Parts,
}

/// Returns the addresses of TCP sockets.
fn addresses_of(bound: &[Bound]) -> Vec<SocketAddr> {
    bound.iter().filter_map(Bound::address).collect()
}

/// Accepts and holds sessions, until a stop is given or the sockets cannot be used.
async fn serving(bound: Vec<Bound>, service: Arc<Service>, stop: StopSignal) {
    if let Err(error) = serve(bound, service, stop).await {
        log::not_serving(&error);
    }
}

/// Takes over dropped messages until a stop is given.
fn picking_up(spool: PathBuf, service: Arc<Service>, stop: StopSignal) -> impl Future<Output = ()> {
    let signal = stop.clone();
    let begin = move || pick_up(Arc::new(RealFs), spool.clone(), Arc::clone(&service), signal.clone());
    anew_after_panics(begin, stop)
}

/// Returns what sessions use to put messages on the spool.
pub(super) fn session_desk(
    config: &Config,
    spool: &Spool,
    queue: &Queue,
    users: Users,
    certificate: Option<Certificate>,
    logins: Arc<LoginDesk>,
) -> SessionDesk {
    let queue = queue.clone();
    SessionDesk {
        spool: spool.clone(),
        rules: Arc::clone(&config.rewrite),
        users,
        hostname: config.listen.hostname.as_str().into(),
        uid_in_received: config.listen.uid_in_received,
        overseers: config.queue.overseers(),
        probe: Arc::new(move || {
            let queue = queue.clone();
            Box::pin(async move { queue.probe_for_client().await.map(|too_soon| too_soon.to_string()) })
        }),
        clock: Zoned::now,
        certificate,
        logins,
    }
}

/// The relays of a configuration, ready to be connected to.
pub(super) struct BegunRelays {
    pub(super) relays: Vec<RelaySettings>,
    /// What is wrong with files without which one of them cannot be used yet.
    pub(super) faults: Vec<String>,
}

/// Returns the relays of the configuration.
pub(super) fn relays(config: &Config) -> Result<BegunRelays, String> {
    let built = Relay::for_daemon(config)?;
    let names = std::iter::once(None).chain(config.routes.iter().map(|route| Some(route.rule.name.clone())));
    let mut faults = Vec::new();
    let relays = built.into_iter().zip(config.relays()).zip(names).map(|((relay, settings), name)| {
        let connector: Arc<dyn Connector> = match relay {
            BuiltRelay::Usable(relay) => {
                relay.warnings().iter().for_each(|warning| log::relay_warning(warning));
                Arc::<Relay>::from(relay)
            }
            BuiltRelay::Late(relay, fault) => {
                faults.push(fault);
                Arc::<LateRelay>::from(relay)
            }
        };
        RelaySettings::new(name, settings, &config.queue, connector)
    });
    Ok(BegunRelays { relays: relays.collect(), faults })
}

/// Returns an error if the relay is this daemon: its mail would go in circles. The parser knows only of
/// `listen.addresses`, and systemd may have passed other sockets.
pub(super) fn refuse_ourselves(config: &Config, listened: &[SocketAddr]) -> Result<(), String> {
    match config.relays().flat_map(|relay| &relay.hosts).find(|host| host.is_one_of(listened)) {
        Some(host) => Err(format!(
            "{host} is where nullmta listens itself: mail would go round in circles; set relayhost to the relay that \
             takes this host's mail, or change nullmta.socket"
        )),
        None => Ok(()),
    }
}

/// Logs what an operator should know of `config`, which was read from the file at `path`. Nothing waits for those
/// warnings that need an answer of a name server, or the file with the users; what is wrong with that one, the logins say.
pub(super) fn warn_of(config: &Config, path: &Path) {
    config.warnings_without_users(path).iter().for_each(|warning| log::config_warning(warning));
    let config = config.clone();
    std::thread::spawn(move || {
        let exposed = config.exposed_users();
        exposed.iter().for_each(|warning| log::config_warning(warning));
        lookup_warnings(&config).iter().for_each(|warning| log::config_warning(warning))
    });
}

/// Returns the keys of `config` that have no effect, since systemd passed other sockets than they name.
pub(super) fn overruled(passed: &SocketAddresses, config: &Config) -> Vec<&'static str> {
    let ListenConfig { addresses, tls_addresses, socket, .. } = &config.listen;
    passed.overruled(addresses, tls_addresses, socket.as_deref())
}

fn sockets(config: &Config, inherited: Inherited) -> Result<Vec<Bound>, DaemonError> {
    let bound = if inherited.is_empty() { bind(&config.listen) } else { taken_over(inherited) };
    bound.map_err(DaemonError::Bind)
}

/// Returns the sockets that systemd passed, as the listener has them.
pub fn taken_over(inherited: Inherited) -> Result<Vec<Bound>, BindError> {
    let tcp = inherited.tcp.into_iter().map(Bound::tcp);
    let tls = inherited.tls.into_iter().map(|listener| Bound::tcp(listener).map(Bound::within_tls));
    let unix = inherited.unix.into_iter().map(Bound::unix);
    tcp.chain(tls).chain(unix).collect()
}

async fn open_spool(
    config: &Config,
    announce: UnboundedSender<Entry>,
) -> Result<(Spool, Recovery), DaemonError> {
    let mut options = Options::at(&config.spool);
    options.min_free_space = config.queue.min_free_space;
    options.max_messages = config.queue.max_messages;
    let open = move || Spool::open(options, Arc::new(RealFs), announce);
    let opened = tokio::task::spawn_blocking(open).await;
    let panicked = |panic: JoinError| DaemonError::System("recover the spool", io::Error::other(panic));
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::config::Environment;

    /// A reload took the certificate away from sockets that stay open: each handshake failed then, and so did the next start.
    #[test]
    fn a_socket_whose_clients_begin_with_tls_needs_a_certificate() {
        let bound = || Bound::tcp(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
        let (plain, within_tls) = ([bound()], [bound(), bound().within_tls()]);
        let config = |listen: &str| {
            let text = format!("relayhost = \"a.example\"\n{listen}");
            let environment = Environment { hostname: "web1.example".into() };
            Config::parse(&text, Path::new("nullmta.toml"), &environment).unwrap()
        };
        let (without, with) = (config(""), config("listen.certificate = \"self-made\""));
        for (is_passed, words) in [(true, "systemd passed a socket called smtps"), (false, "until a restart")]
        {
            assert_eq!(certificate_need(&plain, is_passed), None);
            let need = certificate_need(&within_tls, is_passed);
            assert_eq!(refuse_without_certificate(&with, need), Ok(()));
            let refused = refuse_without_certificate(&without, need).unwrap_err();
            assert!(refused.contains(words) && refused.contains("listen.certificate"), "{refused}");
        }
        assert_eq!(refuse_without_certificate(&without, None), Ok(()));
    }
}
