//! A network of scripted relays.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use super::super::dial::Network;
use super::super::service::ServiceHost;
use super::{Wire, play, wire};
use crate::config::ServiceKind;

/// The behaviour of an address to which somebody connects.
#[derive(Clone, Copy)]
pub(crate) enum Far {
    /// Accepts after this time, then plays its script.
    Accepts(Duration, &'static str),
    /// Plays the first script to its first client after this time, and so to each one behind an end of that; to one that
    /// comes meanwhile it plays the second script at once.
    GreetsLate(Duration, &'static str, &'static str),
    /// Waits for a ClientHello, and answers it by an alert.
    SpeaksTls,
    /// Refuses after this time.
    Refuses(Duration),
    /// Never answers.
    IsSilent,
}

/// At once.
pub(crate) const NOW: Duration = Duration::ZERO;

/// Names, addresses, and what was dialled when.
pub(crate) struct Scripted {
    names: HashMap<&'static str, Vec<&'static str>>,
    far: HashMap<SocketAddr, Far>,
    begun: Instant,
    dialled: Mutex<Vec<(SocketAddr, Duration)>>,
    /// Shared by all connections that are open.
    /// The hosts that every domain names.
    services: Vec<ServiceHost>,
    open: Arc<()>,
    most_open: Mutex<usize>,
}

impl Scripted {
    pub(crate) fn new(names: &[(&'static str, &[&'static str])], far: &[(&str, Far)]) -> Self {
        Scripted {
            names: names.iter().map(|(name, found)| (*name, found.to_vec())).collect(),
            far: far.iter().map(|(address, far)| (address.parse().unwrap(), *far)).collect(),
            begun: Instant::now(),
            dialled: Mutex::default(),
            services: Vec::new(),
            open: Arc::default(),
            most_open: Mutex::default(),
        }
    }

    /// Returns the same network, in which each domain names these hosts for submission.
    pub(crate) fn with_services(self, services: Vec<ServiceHost>) -> Self {
        Scripted { services, ..self }
    }

    /// Returns the number of connections that were open at most at a time.
    pub(crate) fn most_open(&self) -> usize {
        *self.most_open.lock().unwrap()
    }

    /// Counts a connection as long as it is open.
    fn counted(&self, near: Wire) -> Wire {
        let near = near.counted_by(self.open.clone());
        let mut most = self.most_open.lock().unwrap();
        *most = most.max(Arc::strong_count(&self.open) - 1);
        near
    }

    /// `192.0.2.1:25 @250`: address, and milliseconds since the network was made.
    pub(crate) fn dialled(&self) -> Vec<String> {
        let dialled = self.dialled.lock().unwrap();
        dialled.iter().map(|(address, when)| format!("{address} @{}", when.as_millis())).collect()
    }
}

impl Network for Scripted {
    type Stream = Wire;

    async fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let Some(found) = self.names.get(name) else {
            return Err(io::Error::other("no such name"));
        };
        Ok(found.iter().map(|address| SocketAddr::new(address.parse().unwrap(), port)).collect())
    }

    async fn service_hosts(&self, domain: &str, kinds: &[ServiceKind]) -> Result<Vec<ServiceHost>, String> {
        let hosts: Vec<_> = self.services.iter().filter(|host| kinds.contains(&host.kind)).cloned().collect();
        if hosts.is_empty() { Err(format!("no SRV records of {domain}")) } else { Ok(hosts) }
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Wire> {
        self.dialled.lock().unwrap().push((address, self.begun.elapsed()));
        match self.far.get(&address) {
            Some(Far::Accepts(after, script)) => {
                sleep(*after).await;
                let (near, far) = wire(&address.to_string());
                tokio::spawn(play(far, script));
                Ok(self.counted(near))
            }
            Some(Far::GreetsLate(after, first, other)) => {
                let (near, far) = wire(&address.to_string());
                let (after, first, other) = (*after, *first, *other);
                let is_first = Arc::strong_count(&self.open) == 1;
                tokio::spawn(async move {
                    if is_first {
                        sleep(after).await;
                    }
                    play(far, if is_first { first } else { other }).await
                });
                Ok(self.counted(near))
            }
            Some(Far::SpeaksTls) => {
                let (near, mut far) = wire(&address.to_string());
                tokio::spawn(async move {
                    let mut head = [0; 5];
                    let is_hello = far.read_exact(&mut head).await.is_ok() && head.starts_with(&[22, 3]);
                    let mut hello = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
                    if is_hello && far.read_exact(&mut hello).await.is_ok() {
                        let _ = far.write_all(&[21, 3, 3, 0, 2, 2, 40]).await;
                    }
                });
                Ok(self.counted(near))
            }
            Some(Far::Refuses(after)) => {
                sleep(*after).await;
                Err(io::ErrorKind::ConnectionRefused.into())
            }
            Some(Far::IsSilent) | None => std::future::pending().await,
        }
    }
}
