//! `relayhost`, `[auth]`, `[tls]` and `[relay]`: whom the mail goes to, and what protects it.
//!
//! Promises: invariant 1 of [`Config`](super::Config); one source for the secret, one kind of trust.

use std::net::SocketAddr;
use std::time::Duration;

use super::{duration, given, place_of};
use crate::config::defaults;
use crate::config::error::{Fault, Place};
use crate::config::file::{self, File};
use crate::config::relay::{
    Auth, ClientCertificate, Hello, Relay, Timeouts, Tls, TlsSettings, TlsVersion, Trust,
};
use crate::config::relayhost::{Host, RelayHost, WrittenHost};
use crate::config::secret_source::SecretSource;
use crate::config::setting::{OrOff, Setting};
use crate::config::table::{Entry, List};
use crate::config::words::TlsMode;

/// What concerns the relay; to it, we are `hello`. It is none of the addresses that we listen on.
pub(super) fn relay_of(file: &File, hello: Hello, listened: &[SocketAddr]) -> Result<Relay, Fault> {
    let Some(relayhost) = &file.relayhost else {
        return Err(Place::of_missing("relayhost").expected(WrittenHost::expected(), "no such key"));
    };
    let tls = tls_of(&file.tls, relayhost)?;
    let hosts = hosts_of(relayhost, &tls, file.tls.mode.is_some())?;
    refuse_ourselves(relayhost, &hosts, listened)?;
    Ok(Relay {
        hosts,
        tls,
        auth: auth_of(&file.auth)?,
        max_connections: given(&file.relay.max_connections)
            .map_or(defaults::MAX_CONNECTIONS, |count| count.to_usize()),
        messages_per_connection: given(&file.relay.messages_per_connection)
            .map_or(defaults::MESSAGES_PER_CONNECTION, |count| count.to_usize()),
        recipients_per_message: given(&file.relay.recipients_per_message)
            .map_or(defaults::RECIPIENTS_PER_MESSAGE, |count| count.to_usize()),
        pipelining: given(&file.relay.pipelining).copied().unwrap_or(defaults::PIPELINING),
        idle: match given(&file.relay.idle) {
            None => defaults::IDLE,
            Some(OrOff(None)) => Duration::ZERO,
            Some(OrOff(Some(lapse))) => lapse.0,
        },
        timeouts: timeouts_of(&file.relay.timeouts),
        hello,
    })
}

/// Mail that we hand to ourselves goes round until it has too many Received fields.
fn refuse_ourselves(
    relayhost: &List<WrittenHost>,
    hosts: &[RelayHost],
    listened: &[SocketAddr],
) -> Result<(), Fault> {
    let is_ours = |host: &RelayHost| match &host.host {
        Host::Address(address) => listened.contains(&SocketAddr::new(*address, host.port)),
        name => name.is_loopback() && listened.iter().any(|address| address.port() == host.port),
    };
    match relayhost.entries.iter().zip(hosts).find(|(_, host)| is_ours(host)) {
        Some((entry, host)) => Err(entry.place.expected(
            "the relay that takes this host's mail",
            format!(
                "{host}, which is nullmta's own listener (listen.addresses): mail would go round in circles"
            ),
        )),
        None => Ok(()),
    }
}

fn hosts_of(relayhost: &List<WrittenHost>, tls: &Tls, mode_given: bool) -> Result<Vec<RelayHost>, Fault> {
    let default_port = match tls {
        Tls::StartTls(_) => 587, // RFC 6409
        Tls::Implicit(_) => 465, // RFC 8314 7.3
        Tls::None => 25,
    };
    let resolve = |entry: &Entry<WrittenHost>| {
        let WrittenHost { host, port } = entry.value.clone();
        // STARTTLS towards port 465 waits for a greeting that never comes.
        if port == Some(465) && !mode_given {
            return Err(entry.place.fault(
                "port 465 speaks TLS from the first octet: expected tls.mode = \"implicit\" (or another mode) \
                 to be set, found no tls.mode",
            ));
        }
        Ok(RelayHost { host, port: port.unwrap_or(default_port) })
    };
    relayhost.entries.iter().map(resolve).collect()
}

fn tls_of(tls: &file::Tls, relayhost: &List<WrittenHost>) -> Result<Tls, Fault> {
    let mode = given(&tls.mode).copied().unwrap_or(TlsMode::StartTls);
    if mode == TlsMode::None {
        refuse_plaintext_beyond_loopback(tls, relayhost)?;
        return Ok(Tls::None);
    }
    let settings = TlsSettings {
        trust: trust_of(tls)?,
        server_name: given(&tls.server_name).map(|name| name.0.clone()),
        client: client_certificate_of(tls)?,
        minimum: given(&tls.minimum).copied().unwrap_or(TlsVersion::V1_2),
    };
    Ok(if mode == TlsMode::Implicit { Tls::Implicit(settings) } else { Tls::StartTls(settings) })
}

/// Invariant 1. No relay beyond this host gets a message or a secret without TLS.
fn refuse_plaintext_beyond_loopback(tls: &file::Tls, relayhost: &List<WrittenHost>) -> Result<(), Fault> {
    let Some(mode) = place_of(&tls.mode) else { return Ok(()) };
    if let Some(entry) = relayhost.entries.iter().find(|entry| !entry.value.host.is_loopback()) {
        return Err(mode.expected(
            "\"starttls\" or \"implicit\" (\"none\" is for a relayhost on a loopback address only)",
            format!("\"none\" with relayhost {}", entry.value.host),
        ));
    }
    let others = [
        place_of(&tls.ca_file),
        tls.pin_sha256.as_ref().map(|list| &list.place),
        place_of(&tls.server_name),
        place_of(&tls.client_certificate),
        place_of(&tls.client_key),
        place_of(&tls.minimum),
    ];
    match others.into_iter().flatten().next() {
        Some(other) => Err(other.expected("nothing here with tls.mode = \"none\"", "it set")),
        None => Ok(()),
    }
}

/// A pinned key needs no CA, and a CA says nothing about a pin: one of them decides.
fn trust_of(tls: &file::Tls) -> Result<Trust, Fault> {
    match (&tls.ca_file, &tls.pin_sha256) {
        (Some(ca_file), Some(pins)) => Err(pins.place.expected(
            "either tls.ca-file or tls.pin-sha256 (a pinned key is trusted whatever CA signed it)",
            format!("both (tls.ca-file stands on line {})", ca_file.place.line),
        )),
        (Some(ca_file), None) => Ok(Trust::CaFile(ca_file.value.0.clone())),
        (None, Some(pins)) => Ok(Trust::Pins(pins.values().into_iter().map(|pin| pin.0).collect())),
        (None, None) => Ok(Trust::System),
    }
}

fn client_certificate_of(tls: &file::Tls) -> Result<Option<ClientCertificate>, Fault> {
    match (&tls.client_certificate, &tls.client_key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => {
            Ok(Some(ClientCertificate { certificate: certificate.value.0.clone(), key: key.value.0.clone() }))
        }
        (Some(alone), None) => Err(alone.place.expected("tls.client-key beside it", "it alone")),
        (None, Some(alone)) => Err(alone.place.expected("tls.client-certificate beside it", "it alone")),
    }
}

fn auth_of(auth: &file::Auth) -> Result<Option<Auth>, Fault> {
    let sources = sources_of(auth);
    let Some(username) = &auth.username else {
        let mechanisms = auth.mechanisms.as_ref().map(|list| &list.place);
        return match sources.first().map(|(place, _)| *place).or(mechanisms) {
            Some(place) => Err(place.expected("auth.username beside it", "no username")),
            None => Ok(None),
        };
    };
    let secret = match sources.as_slice() {
        [(_, secret)] => secret.clone(),
        [] => return Err(username.place.expected(format!("{ONE_SOURCE} beside it"), "none of them")),
        [(one, _), (other, _), ..] => {
            return Err(other.expected(ONE_SOURCE, format!("{} on line {} too", one.key, one.line)));
        }
    };
    Ok(Some(Auth {
        username: username.value.0.clone(),
        secret,
        mechanisms: auth.mechanisms.as_ref().map(List::values),
    }))
}

const ONE_SOURCE: &str = "exactly one of password-file, credential and password-command";

/// Every source of the secret that the file names, in the order of the file.
fn sources_of(auth: &file::Auth) -> Vec<(&Place, SecretSource)> {
    let file =
        auth.password_file.as_ref().map(|entry| (&entry.place, SecretSource::File(entry.value.0.clone())));
    let credential =
        auth.credential.as_ref().map(|entry| (&entry.place, SecretSource::Credential(entry.value.0.clone())));
    let command = auth
        .password_command
        .as_ref()
        .map(|entry| (&entry.place, SecretSource::Command(entry.value.0.clone())));
    let mut sources: Vec<_> = [file, credential, command].into_iter().flatten().collect();
    sources.sort_by_key(|(place, _)| place.line);
    sources
}

fn timeouts_of(file: &file::Timeouts) -> Timeouts {
    let default = Timeouts::default();
    Timeouts {
        connect: duration(&file.connect, default.connect),
        tls: duration(&file.tls, default.tls),
        greeting: duration(&file.greeting, default.greeting),
        ehlo: duration(&file.ehlo, default.ehlo),
        auth: duration(&file.auth, default.auth),
        mail: duration(&file.mail, default.mail),
        rcpt: duration(&file.rcpt, default.rcpt),
        data: duration(&file.data, default.data),
        block: duration(&file.block, default.block),
        dot: duration(&file.dot, default.dot),
        quit: duration(&file.quit, default.quit),
    }
}
