//! The set-up of a day: a queue over a spool in memory, and the client of the daemon, whose connections end at a sink.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::super::super::fault::SinkFault;
use super::super::*;
use crate::config::{Config, Environment};
use crate::envelope::{Address, Envelope, Recipient, ReversePath, Submitter};
use crate::oauth::AccessToken;
use crate::queue::clock::Clock;
use crate::queue::{Connector, Queue, QueueLink, RelaySettings, Settings, queue};
use crate::relay::testing::{Network, Wire, wire_of};
use crate::relay::{Relay, Trouble};
use crate::spool::fs::sim::SimFs;
use crate::spool::{Options, Spool};

/// The largest message that the relay takes, in octets.
pub(super) const LARGEST: u64 = 20_000;

/// The most steps of the clock in which a day must be over.
const MOST_STEPS: usize = 60_000;

const PASSWORD: &str = "s3cret";

/// A day of mail.
pub(super) struct Day {
    queue: Queue,
    spool: Spool,
    clock: Arc<PausedClock>,
    way: Arc<WayToSink>,
    faults: FaultSwitch,
    events: UnboundedReceiver<SinkEvent>,
    /// Each reverse-path and recipient of a message that the sink has taken, in the order they came.
    delivered: Vec<(String, String)>,
    /// The texts of the reports of failures among them.
    reports: Vec<String>,
    /// The refusals of the sink, each with its phase.
    refused: Vec<String>,
    /// While it lives, the clock stands still unless it is told.
    _hold: std::sync::mpsc::Sender<()>,
    _files: TempDir,
    _stopper: Stopper,
}

/// Returns the text of the file in `config/providers/`, if the provider has one.
pub(super) fn configuration(name: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("config/providers/{name}.toml"));
    std::fs::read_to_string(path).ok()
}

/// A configuration for a provider without a file.
fn plain_configuration(profile: &SinkProfile) -> String {
    let port = if profile.security == Security::Implicit { 465 } else { 587 };
    format!(
        "relayhost = \"{}:{port}\"\n\n[auth]\nusername = \"app@example.com\"\npassword-file = \"/etc/nullmta.secret\"\n",
        profile.host
    )
}

/// Returns `text` with the files of this test, and with tokens in place of what asks an endpoint for them.
fn with_files(text: &str, files: &Path) -> String {
    let secret = files.join("secret");
    let mut text = text.replace("/etc/nullmta.secret", secret.to_str().unwrap());
    if let Some(at) = text.find("\n[auth.oauth]") {
        let end = text[at + 1..].find("\n[relay]").map_or(text.len(), |end| at + 1 + end);
        text.replace_range(at..end, &format!("token-file = \"{}\"\n", secret.display()));
    }
    let trusted = format!("[tls]\nca-file = \"{}\"\n", files.join("ca.pem").display());
    let text = match text.contains("\n[tls]\n") {
        true => text.replace("[tls]\n", &trusted),
        false => format!("{text}\n{trusted}"),
    };
    let own = text.lines().filter(|line| !line.starts_with("bounce-sender") && *line != "[queue]");
    own.collect::<Vec<_>>().join("\n") + "\n[queue]\nbounce-sender = \"bounces@example.com\"\n"
}

fn write_secret(path: &Path) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).unwrap();
    file.write_all(PASSWORD.as_bytes()).unwrap();
}

impl Day {
    /// Begins a day at this provider, with its configuration and its sink changed.
    pub(super) async fn new(
        profile: &SinkProfile,
        change_text: impl FnOnce(String) -> String,
        change_sink: impl FnOnce(&mut SinkOptions),
    ) -> Day {
        let files = TempDir::new().unwrap();
        let certificate = Certificate::self_made(profile.host).unwrap();
        std::fs::write(files.path().join("ca.pem"), certificate.pem()).unwrap();
        write_secret(&files.path().join("secret"));
        let text = configuration(profile.names[0]).unwrap_or_else(|| plain_configuration(profile));
        let text = change_text(with_files(&text, files.path()));
        let environment = Environment { hostname: "web1.example.com".into() };
        let config = Config::parse(&text, Path::new("nullmta.toml"), &environment)
            .unwrap_or_else(|error| panic!("{error}\n{text}"));

        let mut options = sink_options(profile, certificate, &config);
        change_sink(&mut options);
        let (sender, events) = unbounded_channel();
        let sink = Sink::bind(options, sender).await.unwrap();
        let faults = sink.faults();
        let (_stopper, stop) = stop_signal();
        let way = Arc::new(WayToSink { sink, stop, open: Arc::default(), most_open: AtomicUsize::new(0) });

        let relay = Relay::new(config.relay.clone()).unwrap_or_else(|error| panic!("{error}"));
        let connector = Arc::new(ThroughSink { relay, way: way.clone() });
        let relays = vec![RelaySettings::new(None, &config.relay, &config.queue, connector)];
        let clock = Arc::new(PausedClock::new());
        let (arrived, arrivals) = unbounded_channel();
        let mut options = Options::at("/spool");
        options.segment_size = 1 << 20;
        let (spool, recovery) = Spool::open(options, Arc::new(SimFs::new()), arrived).unwrap();
        let settings = Settings::new(&config, relays);
        let (queue, run) = queue(spool.clone(), recovery, arrivals, settings, clock.clone());
        tokio::spawn(run);
        Day {
            queue,
            spool,
            clock,
            way,
            faults,
            events,
            delivered: Vec::new(),
            reports: Vec::new(),
            refused: Vec::new(),
            _hold: hold_the_clock(),
            _files: files,
            _stopper,
        }
    }

    /// Commits a message of so many octets.
    pub(super) async fn submit(&self, from: &str, to: &[String], octets: usize) {
        let mut envelope = Envelope::from(ReversePath::Mailbox(Address::parse(from).unwrap()));
        envelope.recipients = to.iter().map(|to| Recipient::plain(Address::parse(to).unwrap())).collect();
        let now = self.clock.now();
        let mut draft = self.spool.draft(now);
        let content =
            format!("Subject: hello\r\n\r\n{}", format!("{}\r\n", "x".repeat(70)).repeat(octets / 72));
        draft.write(content.as_bytes()).await.unwrap();
        self.spool.commit(draft, envelope, Submitter::Loopback, now).await.unwrap();
    }

    /// Has the relay know this sender from now on.
    pub(super) fn verify(&self, sender: &str) {
        self.faults.verify(sender.to_owned());
    }

    /// Returns the number of messages on the spool.
    pub(super) fn left(&self) -> u64 {
        self.spool.len()
    }

    pub(super) fn is_over(&self) -> bool {
        self.spool.is_empty()
    }

    /// Returns each message and recipient that the relay has taken, but for reports of failures.
    pub(super) fn delivered(&self) -> impl Iterator<Item = (&str, &str)> {
        let delivered = self.delivered.iter().map(|(from, to)| (from.as_str(), to.as_str()));
        delivered.filter(|(from, _)| !["", "bounces@example.com"].contains(from))
    }

    /// Returns the recipients whom the reports name as failed; one that is only delayed may be named before it is delivered.
    pub(super) fn failed_recipients(&self) -> Vec<String> {
        let lines = || self.reports.iter().flat_map(|report| report.lines());
        let named = lines().zip(lines().skip(1)).filter(|(_, next)| *next == "Action: failed");
        named
            .filter_map(|(line, _)| line.strip_prefix("Final-Recipient: rfc822; "))
            .map(str::to_owned)
            .collect()
    }

    /// Returns what the relay has refused, but for what it refuses whenever it is sent.
    pub(super) fn refused_for_limits(&self) -> Vec<String> {
        let is_of_sender = |refused: &&String| refused.contains(super::UNKNOWN) || is_about_sender(refused);
        let is_other =
            |refused: &&String| refused.contains("no such user") || refused.contains("Invalid MAIL FROM");
        let is_success = |refused: &&String| refused.starts_with("dot: 254");
        let refused = self.refused.iter();
        refused.filter(|text| !is_of_sender(text) && !is_other(text) && !is_success(text)).cloned().collect()
    }

    /// Returns how often the relay has refused the sender whom it does not know.
    pub(super) fn refused_senders(&self) -> usize {
        self.refused.iter().filter(|text| text.contains(super::UNKNOWN) || is_about_sender(text)).count()
    }

    /// Returns the largest number of connections that were open at once.
    pub(super) fn most_open(&self) -> usize {
        self.way.most_open.load(Ordering::Relaxed)
    }

    /// Lets time pass until `is_done`.
    pub(super) async fn pass_until(&mut self, is_done: impl Fn(&Day) -> bool) {
        for _ in 0..MOST_STEPS {
            let step = self.rest().await;
            if is_done(self) {
                return;
            }
            tokio::time::advance(step).await;
        }
        panic!("{} left, after {:?}: {:?}", self.left(), self.clock.elapsed(), self.queue.status().await);
    }

    /// Lets so much time pass.
    pub(super) async fn pass(&mut self, time: Duration) {
        let end = self.clock.elapsed() + time;
        self.pass_until(move |day| day.clock.elapsed() >= end).await;
    }

    /// Waits until nothing happens any more while no time passes, as far as can be seen, and takes in what the sink has
    /// said. Returns the time that may pass then: less while a message is under way.
    async fn rest(&mut self) -> Duration {
        let mut before = None;
        loop {
            let status = self.queue.status().await.expect("the queue runs");
            if before.as_ref() == Some(&status) {
                self.take_in();
                return match (status.under_way, status.connections()) {
                    (0, 0) => Duration::from_secs(30),
                    (0, _) => Duration::from_secs(2),
                    _ => Duration::from_millis(100),
                };
            }
            before = Some(status);
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
    }

    fn take_in(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            match event {
                SinkEvent::Received(message) => {
                    let from = message.envelope.reverse_path.to_string();
                    for recipient in &message.envelope.recipients {
                        self.delivered.push((from.clone(), recipient.address.to_string()));
                    }
                    let content = String::from_utf8(message.content.read().unwrap()).unwrap();
                    if content.contains("multipart/report") {
                        self.reports.push(content);
                    }
                }
                SinkEvent::Struck(phase, effect) => self.refused.push(format!("{phase}: {}", said(&effect))),
                SinkEvent::Trouble(why) => panic!("{why}"),
            }
        }
    }
}

/// Returns true for the refusal of a sender in which the address is not named.
fn is_about_sender(refused: &str) -> bool {
    let about = ["not authorized to send from that", "must be verified", "Unconfigured Sending Domain"];
    about.iter().any(|words| refused.contains(words))
}

fn said(effect: &FaultEffect) -> String {
    match effect {
        FaultEffect::Odd(odd) => String::from_utf8_lossy(odd.octets()).trim_end().to_owned(),
        other => other.to_string(),
    }
}

fn sink_options(profile: &SinkProfile, certificate: Certificate, config: &Config) -> SinkOptions {
    let mut options = profile.options(certificate);
    if let Some(auth) = &config.relay.auth {
        let (name, password) = (auth.username.clone(), Secret::new(PASSWORD.into()));
        if auth.secret.is_token() {
            options.tokens = vec![TokenUser { name, token: AccessToken::of(password).unwrap() }];
        } else {
            options.users = vec![SinkUser { name, password }];
        }
    }
    if profile.unverified.is_some() {
        options.senders = options.senders.verifying(vec!["@example.com".into()]);
    }
    options.max_message_size = LARGEST;
    for number in 0..10 {
        let fault = format!("rcpt:{}=550 5.1.1 no such user", super::nobody(number));
        options.faults.push(fault.parse::<SinkFault>().unwrap());
    }
    options
}

/// Keeps the paused clock from going on by itself while the disk's thread works. It goes on when this is dropped.
fn hold_the_clock() -> std::sync::mpsc::Sender<()> {
    let (hold, held) = std::sync::mpsc::channel::<()>();
    // It ends with an error when the sender is gone.
    tokio::task::spawn_blocking(move || held.recv().is_ok());
    hold
}

/// The network: every name is that of the sink, and every connection is a session of its own.
struct WayToSink {
    sink: Sink,
    stop: StopSignal,
    open: Arc<AtomicUsize>,
    most_open: AtomicUsize,
}

impl Network for WayToSink {
    type Stream = Wire;

    async fn resolve(&self, _name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![SocketAddr::from(([192, 0, 2, 5], port))])
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Wire> {
        let (near, far) = wire_of(1 << 16, &address.to_string());
        let Sink { shared, policy, security, .. } = &self.sink;
        let session = Arc::clone(shared).session(
            Arc::clone(policy),
            *security,
            far,
            "client".into(),
            self.stop.clone(),
        );
        let open = self.open.clone();
        self.most_open.fetch_max(open.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        tokio::spawn(async move {
            session.await;
            open.fetch_sub(1, Ordering::Relaxed);
        });
        Ok(near)
    }
}

/// The client of the daemon on that network.
struct ThroughSink {
    relay: Relay,
    way: Arc<WayToSink>,
}

impl Connector for ThroughSink {
    fn run_connection(
        self: Arc<Self>,
        mut link: QueueLink,
    ) -> Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send>> {
        Box::pin(async move { self.relay.connect_over(&*self.way).await?.run(&mut link).await })
    }

    fn has_another_secret(self: Arc<Self>) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        Box::pin(async { false })
    }
}

/// The paused clock of the runtime.
struct PausedClock {
    started: (Timestamp, Instant),
}

impl PausedClock {
    fn new() -> Self {
        PausedClock { started: (Timestamp::from_second(1_800_000_000).unwrap(), Instant::now()) }
    }

    fn elapsed(&self) -> Duration {
        self.started.1.elapsed()
    }
}

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        self.steady()
    }

    fn steady(&self) -> Timestamp {
        self.started.0 + SignedDuration::try_from(self.elapsed()).unwrap()
    }

    fn sleep(&self, pause: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(pause))
    }
}
