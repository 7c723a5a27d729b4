//! A network of scripted relays.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
                let near = near.counted_by(self.open.clone());
                let mut most = self.most_open.lock().unwrap();
                *most = most.max(Arc::strong_count(&self.open) - 1);
                Ok(near)
            }
            Some(Far::Refuses(after)) => {
                sleep(*after).await;
                Err(io::ErrorKind::ConnectionRefused.into())
            }
            Some(Far::IsSilent) | None => std::future::pending().await,
        }
    }
}
