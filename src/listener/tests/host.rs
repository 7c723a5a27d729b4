//! A host for tests: a spool, the state that sessions share, and users.

use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};

use jiff::Zoned;
use tempfile::TempDir;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;

use super::client::Client;
use super::listen;
use crate::config::ListenConfig;
use crate::listener::intake::SessionDesk;
use crate::listener::login::LoginDesk;
use crate::listener::peer::LocalPeer;
use crate::listener::stop::{StopSignal, Stopper, stop_signal};
use crate::listener::{Service, SessionOpening};
use crate::message::dsn::Overseers;
use crate::message::rewrite::{RewriteSettings, Rules};
use crate::spool::fs::{Fs, RealFs};
use crate::spool::{Entry, Options, Recovery, Spool, StoredContent};
use crate::users::{Account, NameService, Users};

/// A host with a spool of its own.
pub struct Host {
    pub directory: TempDir,
    pub spool: Spool,
    pub recovery: Recovery,
    pub arrivals: UnboundedReceiver<Entry>,
    pub desk: SessionDesk,
    pub service: Arc<Service>,
    pub probes: Arc<AtomicUsize>,
    pub stopper: Stopper,
    pub stop: StopSignal,
}

/// A user database with one user.
#[derive(Default)]
pub struct AnnIs1000 {
    pub asked: AtomicUsize,
    /// While the other end of this exists, no query is answered.
    pub hangs: Option<Mutex<Receiver<()>>>,
}

impl NameService for AnnIs1000 {
    fn by_uid(&self, uid: u32) -> io::Result<Option<Account>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(held) = &self.hangs {
            // An error means that the test has ended.
            let _ = held.lock().unwrap().recv();
        }
        Ok((uid == 1000).then(|| Account { uid, gid: 1000, login: "ann".into(), gecos: b"Ann E".to_vec() }))
    }

    fn groups(&self, account: &Account) -> io::Result<Vec<u32>> {
        Ok(vec![account.gid])
    }

    fn group_name(&self, gid: u32) -> io::Result<Option<String>> {
        Ok((gid == 1000).then(|| "staff".into()))
    }
}

/// Returns the time of a clock that stands still.
pub fn noon() -> Zoned {
    "2026-11-21T12:00:00+00:00[UTC]".parse().unwrap()
}

impl Host {
    /// Returns a host with the options that `change` sets.
    pub fn new(change: impl FnOnce(&mut ListenConfig, &mut Options)) -> Host {
        Host::with_clock(change, noon)
    }

    /// Returns such a host with another clock.
    pub fn with_clock(change: impl FnOnce(&mut ListenConfig, &mut Options), clock: fn() -> Zoned) -> Host {
        Host::on(Arc::new(RealFs), change, clock)
    }

    /// Returns such a host on another disk.
    pub fn on(
        disk: Arc<dyn Fs>,
        change: impl FnOnce(&mut ListenConfig, &mut Options),
        clock: fn() -> Zoned,
    ) -> Host {
        let directory = tempfile::tempdir().unwrap();
        let mut listen = listen();
        let mut options = Options { min_free_space: 0, ..Options::at(directory.path().join("spool")) };
        change(&mut listen, &mut options);
        let (announce, arrivals) = unbounded_channel();
        let (spool, recovery) = Spool::open(options, disk, announce).unwrap();
        let probes = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&probes);
        let desk = SessionDesk {
            spool: spool.clone(),
            rules: Arc::new(Rules::new(RewriteSettings::new("origin.example", "host.example.org")).unwrap()),
            users: Users::of(Arc::new(AnnIs1000::default())),
            hostname: "host.example.org".into(),
            uid_in_received: listen.uid_in_received,
            overseers: Overseers::default(),
            probe: Arc::new(move || {
                let is_first = counted.fetch_add(1, Ordering::SeqCst) == 0;
                Box::pin(async move { (!is_first).then(|| "not again so soon".to_owned()) })
            }),
            clock,
            certificate: None,
            logins: LoginDesk::new(&listen),
        };
        let service = Service::new(&listen, desk.clone());
        let (stopper, stop) = stop_signal();
        Host { directory, spool, recovery, arrivals, desk, service, probes, stopper, stop }
    }

    /// Returns a session of `uid` after its greeting.
    pub async fn session(&self, uid: u32) -> (Client, JoinHandle<()>) {
        self.session_of(LocalPeer::Uid(uid)).await
    }

    /// Returns a session of `peer` after its greeting.
    pub async fn session_of(&self, peer: LocalPeer) -> (Client, JoinHandle<()>) {
        let (ours, theirs) = duplex(64 << 10);
        let permit = self.service.admit(peer).unwrap();
        let session = tokio::spawn(self.service.session(
            Box::new(ours),
            permit,
            SessionOpening::Greeting,
            None,
            self.stop.clone(),
        ));
        (Client::greeted(theirs).await, session)
    }

    /// Returns the client's end of a session of `peer` that begins with a TLS handshake.
    pub fn session_within_tls(&self, peer: LocalPeer) -> (DuplexStream, JoinHandle<()>) {
        let (ours, theirs) = duplex(64 << 10);
        let permit = self.service.admit(peer).unwrap();
        let session =
            self.service.session(Box::new(ours), permit, SessionOpening::Handshake, None, self.stop.clone());
        (theirs, tokio::spawn(session))
    }

    /// Returns the stored content of the message that arrived.
    pub fn content(&self, entry: &Entry) -> Vec<u8> {
        match self.spool.read(entry.id).unwrap().content {
            StoredContent::Memory(content) => content.as_ref().to_vec(),
            StoredContent::File { mut file, .. } => {
                let mut content = Vec::new();
                file.read_to_end(&mut content).unwrap();
                content
            }
        }
    }

    /// Returns the sizes of the large files that exist at present.
    pub fn large(&self) -> Vec<u64> {
        let large: PathBuf = self.directory.path().join("spool/large");
        // A file may disappear while it is looked at.
        fs::read_dir(large).unwrap().filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).collect()
    }

    pub fn nothing_arrived(&mut self) -> bool {
        self.arrivals.try_recv().is_err() && self.spool.is_empty()
    }
}
