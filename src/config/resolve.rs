//! From the keys to the configuration: defaults, and what keys mean together.
//!
//! Promises: the invariants of [`Config`] (see `config/mod.rs`); a fault names the key to change.

mod relay;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::advice::advice;
use super::error::{Fault, Place};
use super::file::{self, File, Key};
use super::setting::{Count, HostName, OrOff, Setting, ShownCertificate, SocketPath};
use super::units::{Lapse, words};
use super::{Config, Environment, Format, Hello, Level, Listen, Log, Queue, ServerCertificate, defaults};
use crate::envelope::Address;

/// Fills in the defaults and checks what no key can say alone.
pub(super) fn resolve(file: &File, environment: &Environment) -> Result<Config, Fault> {
    let hostname = hostname_of(&file.listen.hostname, environment)?;
    let origin = given(&file.rewrite.origin).map_or_else(|| hostname.clone(), |origin| origin.0.clone());
    let listen = listen_of(&file.listen, hostname.clone())?;
    let hello = Hello::of(&hostname, given(&file.rewrite.origin).map(|origin| origin.0.as_str()));
    let relay = relay::relay_of(file, hello, &listen.addresses)?;
    let mut config = Config {
        relay,
        spool: given(&file.spool).map_or_else(|| defaults::SPOOL.into(), |path| path.0.clone()),
        queue: queue_of(&file.queue, &origin)?,
        log: log_of(&file.log),
        control: control_of(&file.control, &listen.socket)?,
        rewrite: Arc::new(file.rewrite.rules(&origin, &hostname)?),
        listen,
        advice: Vec::new(),
    };
    config.advice = advice(file, &config);
    Ok(config)
}

fn given<T>(key: &Key<T>) -> Option<&T> {
    key.as_ref().map(|entry| &entry.value)
}

pub(super) fn place_of<T>(key: &Key<T>) -> Option<&Place> {
    key.as_ref().map(|entry| &entry.place)
}

fn duration(key: &Key<Lapse>, default: Duration) -> Duration {
    given(key).map_or(default, |lapse| lapse.0)
}

fn count(key: &Key<Count>, default: usize) -> usize {
    given(key).map_or(default, |count| count.to_usize().get())
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

fn listen_of(listen: &file::Listen, hostname: String) -> Result<Listen, Fault> {
    let max_sessions = count(&listen.max_sessions, defaults::MAX_SESSIONS);
    Ok(Listen {
        addresses: addresses_of(listen)?,
        socket: socket_of(&listen.socket),
        hostname,
        max_message_size: given(&listen.max_message_size).map_or(defaults::MAX_MESSAGE_SIZE, |size| size.0),
        max_recipients: count(&listen.max_recipients, defaults::MAX_RECIPIENTS),
        max_sessions,
        max_sessions_per_uid: max_sessions_per_uid_of(&listen.max_sessions_per_uid, max_sessions)?,
        max_messages_per_minute_per_uid: given(&listen.max_messages_per_minute_per_uid)
            .and_then(|limit| limit.0)
            .map(|count| count.0.get()),
        idle_timeout: duration(&listen.idle_timeout, defaults::IDLE_TIMEOUT),
        certificate: certificate_of(listen)?,
    })
}

fn certificate_of(listen: &file::Listen) -> Result<Option<ServerCertificate>, Fault> {
    let Some(certificate) = &listen.certificate else {
        return match &listen.key {
            None => Ok(None),
            Some(alone) => Err(alone.place.expected("listen.certificate beside it", "it alone")),
        };
    };
    match (&certificate.value, &listen.key) {
        (ShownCertificate::SelfMade, None) => Ok(Some(ServerCertificate::SelfMade)),
        (ShownCertificate::SelfMade, Some(key)) => {
            Err(key.place.expected("nothing here with listen.certificate = \"self-made\"", "it set"))
        }
        (ShownCertificate::File(chain), Some(key)) => {
            Ok(Some(ServerCertificate::Files { chain: chain.clone(), key: key.value.0.clone() }))
        }
        (ShownCertificate::File(_), None) => {
            Err(certificate.place.expected("listen.key beside it", "it alone"))
        }
    }
}

fn addresses_of(listen: &file::Listen) -> Result<Vec<SocketAddr>, Fault> {
    let Some(list) = &listen.addresses else { return Ok(defaults::ADDRESSES.to_vec()) };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for entry in &list.entries {
        let address = entry.value.0;
        if address.port() != 0 && addresses.contains(&address) {
            return Err(entry.place.expected("each address once", format!("\"{address}\" again")));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

fn socket_of(key: &Key<OrOff<SocketPath>>) -> Option<PathBuf> {
    match given(key) {
        None => Some(defaults::SOCKET.into()),
        Some(OrOff(path)) => path.as_ref().map(|path| path.0.clone()),
    }
}

fn max_sessions_per_uid_of(key: &Key<Count>, max_sessions: usize) -> Result<usize, Fault> {
    match key {
        None => Ok(defaults::MAX_SESSIONS_PER_UID.min(max_sessions)),
        Some(entry) if entry.value.to_usize().get() > max_sessions => {
            Err(entry.place.expected(format!("at most listen.max-sessions ({max_sessions})"), entry.value.0))
        }
        Some(entry) => Ok(entry.value.to_usize().get()),
    }
}

fn queue_of(queue: &file::Queue, origin: &str) -> Result<Queue, Fault> {
    let retry_min = duration(&queue.retry_min, defaults::RETRY_MIN);
    let retry_max = duration(&queue.retry_max, defaults::RETRY_MAX);
    let lifetime = duration(&queue.lifetime, defaults::LIFETIME);
    refuse_less_than_retry_min(retry_max, "queue.retry-max", &queue.retry_max, retry_min, &queue.retry_min)?;
    refuse_less_than_retry_min(lifetime, "queue.lifetime", &queue.lifetime, retry_min, &queue.retry_min)?;
    Ok(Queue {
        retry_min,
        retry_max,
        lifetime,
        delay_warning: delay_warning_of(&queue.delay_warning, lifetime)?,
        postmaster: given(&queue.postmaster).map(|address: &Address| address.completed_with(origin)),
        on_refusal: given(&queue.on_refusal).copied(),
        min_free_space: given(&queue.min_free_space).map_or(defaults::MIN_FREE_SPACE, |size| size.0),
        max_messages: given(&queue.max_messages)
            .map_or(defaults::MAX_MESSAGES, |count| u64::from(count.0.get())),
    })
}

/// Invariant 3. The fault is laid to the longer wait, or to retry-min where the longer one is the default.
fn refuse_less_than_retry_min(
    longer: Duration,
    longer_name: &str,
    longer_key: &Key<Lapse>,
    retry_min: Duration,
    retry_min_key: &Key<Lapse>,
) -> Result<(), Fault> {
    if retry_min <= longer {
        return Ok(());
    }
    match (place_of(longer_key), place_of(retry_min_key)) {
        (Some(place), _) => {
            let expected = format!("at least queue.retry-min ({})", words(retry_min));
            Err(place.expected(expected, format!("\"{}\"", words(longer))))
        }
        (None, Some(place)) => {
            let expected = format!("at most {longer_name} ({})", words(longer));
            Err(place.expected(expected, format!("\"{}\"", words(retry_min))))
        }
        // The defaults are in order.
        (None, None) => Ok(()),
    }
}

fn delay_warning_of(key: &Key<OrOff<Lapse>>, lifetime: Duration) -> Result<Option<Duration>, Fault> {
    let Some(entry) = key else { return Ok(Some(defaults::DELAY_WARNING)) };
    let Some(Lapse(warning)) = entry.value.0 else { return Ok(None) };
    if warning >= lifetime {
        let expected = format!("less than queue.lifetime ({}), or \"off\"", words(lifetime));
        return Err(entry.place.expected(expected, format!("\"{}\"", words(warning))));
    }
    Ok(Some(warning))
}

fn log_of(log: &file::Log) -> Log {
    Log {
        level: given(&log.level).copied().unwrap_or(Level::Info),
        format: given(&log.format).copied().unwrap_or(Format::Text),
    }
}

fn control_of(key: &Key<SocketPath>, submission: &Option<PathBuf>) -> Result<PathBuf, Fault> {
    let Some(entry) = key else { return Ok(defaults::CONTROL.into()) };
    if submission.as_ref() == Some(&entry.value.0) {
        return Err(entry.place.expected("a path of its own", "that of listen.socket"));
    }
    Ok(entry.value.0.clone())
}
