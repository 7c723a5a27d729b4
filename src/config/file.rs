//! The shape of the file: every key there is, and the type of its value.
//!
//! Promises: a [`File`] has no unknown key and no value that breaks its own rule. What keys mean
//! together, and what an absent one means, is for `resolve.rs`.

use super::error::Fault;
use super::pin::Pin;
use super::relay::{Mechanism, Pipelining, TlsVersion};
use super::relayhost::WrittenHost;
use super::rewrite::Rewrite;
use super::setting::{
    AbsolutePath, CertificateName, CommandLine, Count, CredentialName, HostName, LoopbackAddress, OrOff,
    SecretPath, ShownCertificate, SocketPath, Username,
};
use super::table::{Entry, List, Table};
use super::units::{Lapse, Size};
use super::words::TlsMode;
use super::{Format, Level, OnRefusal};
use crate::envelope::Address;

/// A key that the file may leave out.
pub(super) type Key<T> = Option<Entry<T>>;

/// A key that the file may leave out, one value or several.
pub(super) type Keys<T> = Option<List<T>>;

/// The file.
pub(super) struct File {
    pub(super) relayhost: Keys<WrittenHost>,
    pub(super) spool: Key<AbsolutePath>,
    pub(super) auth: Auth,
    pub(super) tls: Tls,
    pub(super) listen: Listen,
    pub(super) rewrite: Rewrite,
    pub(super) queue: Queue,
    pub(super) relay: Relay,
    pub(super) log: Log,
    pub(super) control: Key<SocketPath>,
}

/// `[auth]`
pub(super) struct Auth {
    pub(super) username: Key<Username>,
    pub(super) password_file: Key<SecretPath>,
    pub(super) credential: Key<CredentialName>,
    pub(super) password_command: Key<CommandLine>,
    pub(super) mechanisms: Keys<Mechanism>,
}

/// `[tls]`
pub(super) struct Tls {
    pub(super) mode: Key<TlsMode>,
    pub(super) ca_file: Key<AbsolutePath>,
    pub(super) pin_sha256: Keys<Pin>,
    pub(super) server_name: Key<CertificateName>,
    pub(super) client_certificate: Key<AbsolutePath>,
    pub(super) client_key: Key<AbsolutePath>,
    pub(super) minimum: Key<TlsVersion>,
}

/// `[listen]`
pub(super) struct Listen {
    pub(super) addresses: Keys<LoopbackAddress>,
    pub(super) socket: Key<OrOff<SocketPath>>,
    pub(super) hostname: Key<HostName>,
    pub(super) max_message_size: Key<Size>,
    pub(super) max_recipients: Key<Count>,
    pub(super) max_sessions: Key<Count>,
    pub(super) max_sessions_per_uid: Key<Count>,
    pub(super) max_messages_per_minute_per_uid: Key<OrOff<Count>>,
    pub(super) idle_timeout: Key<Lapse>,
    pub(super) certificate: Key<ShownCertificate>,
    pub(super) key: Key<AbsolutePath>,
}

/// `[queue]`
pub(super) struct Queue {
    pub(super) retry_min: Key<Lapse>,
    pub(super) retry_max: Key<Lapse>,
    pub(super) lifetime: Key<Lapse>,
    pub(super) delay_warning: Key<OrOff<Lapse>>,
    pub(super) postmaster: Key<Address>,
    pub(super) on_refusal: Key<OnRefusal>,
    pub(super) min_free_space: Key<Size>,
    pub(super) max_messages: Key<Count>,
}

/// `[relay]`
pub(super) struct Relay {
    pub(super) max_connections: Key<Count>,
    pub(super) messages_per_connection: Key<Count>,
    pub(super) recipients_per_message: Key<Count>,
    pub(super) pipelining: Key<Pipelining>,
    pub(super) idle: Key<OrOff<Lapse>>,
    pub(super) timeouts: Timeouts,
}

/// `[relay.timeouts]`
pub(super) struct Timeouts {
    pub(super) connect: Key<Lapse>,
    pub(super) tls: Key<Lapse>,
    pub(super) greeting: Key<Lapse>,
    pub(super) ehlo: Key<Lapse>,
    pub(super) auth: Key<Lapse>,
    pub(super) mail: Key<Lapse>,
    pub(super) rcpt: Key<Lapse>,
    pub(super) data: Key<Lapse>,
    pub(super) block: Key<Lapse>,
    pub(super) dot: Key<Lapse>,
    pub(super) quit: Key<Lapse>,
}

/// `[log]`
pub(super) struct Log {
    pub(super) level: Key<Level>,
    pub(super) format: Key<Format>,
}

impl File {
    pub(super) fn read(text: &str) -> Result<File, Fault> {
        let mut table = Table::document(text)?;
        let file = File {
            relayhost: table.take_list("relayhost")?,
            spool: table.take("spool")?,
            auth: Auth::read(table.table("auth")?)?,
            tls: Tls::read(table.table("tls")?)?,
            listen: Listen::read(table.table("listen")?)?,
            rewrite: Rewrite::read(table.table("rewrite")?)?,
            queue: Queue::read(table.table("queue")?)?,
            relay: Relay::read(table.table("relay")?)?,
            log: Log::read(table.table("log")?)?,
            control: read_control(table.table("admin")?)?,
        };
        table.done()?;
        Ok(file)
    }
}

/// `[admin]`
fn read_control(mut table: Table<'_>) -> Result<Key<SocketPath>, Fault> {
    let control = table.take("control")?;
    table.done()?;
    Ok(control)
}

impl Auth {
    fn read(mut table: Table<'_>) -> Result<Self, Fault> {
        let auth = Auth {
            username: table.take("username")?,
            password_file: table.take("password-file")?,
            credential: table.take("credential")?,
            password_command: table.take("password-command")?,
            mechanisms: table.take_list("mechanisms")?,
        };
        table.done()?;
        Ok(auth)
    }
}

impl Tls {
    fn read(mut table: Table<'_>) -> Result<Self, Fault> {
        let tls = Tls {
            mode: table.take("mode")?,
            ca_file: table.take("ca-file")?,
            pin_sha256: table.take_list("pin-sha256")?,
            server_name: table.take("server-name")?,
            client_certificate: table.take("client-certificate")?,
            client_key: table.take("client-key")?,
            minimum: table.take("minimum")?,
        };
        table.done()?;
        Ok(tls)
    }
}

impl Listen {
    fn read(mut table: Table<'_>) -> Result<Self, Fault> {
        let listen = Listen {
            addresses: table.take_list("addresses")?,
            socket: table.take("socket")?,
            hostname: table.take("hostname")?,
            max_message_size: table.take("max-message-size")?,
            max_recipients: table.take("max-recipients")?,
            max_sessions: table.take("max-sessions")?,
            max_sessions_per_uid: table.take("max-sessions-per-uid")?,
            max_messages_per_minute_per_uid: table.take("max-messages-per-minute-per-uid")?,
            idle_timeout: table.take("idle-timeout")?,
            certificate: table.take("certificate")?,
            key: table.take("key")?,
        };
        table.done()?;
        Ok(listen)
    }
}

impl Queue {
    fn read(mut table: Table<'_>) -> Result<Self, Fault> {
        let queue = Queue {
            retry_min: table.take("retry-min")?,
            retry_max: table.take("retry-max")?,
            lifetime: table.take("lifetime")?,
            delay_warning: table.take("delay-warning")?,
            postmaster: table.take("postmaster")?,
            on_refusal: table.take("on-refusal")?,
            min_free_space: table.take("min-free-space")?,
            max_messages: table.take("max-messages")?,
        };
        table.done()?;
        Ok(queue)
    }
}

impl Relay {
    fn read(mut table: Table<'_>) -> Result<Self, Fault> {
        let relay = Relay {
            max_connections: table.take("max-connections")?,
            messages_per_connection: table.take("messages-per-connection")?,
            recipients_per_message: table.take("recipients-per-message")?,
            pipelining: table.take("pipelining")?,
            idle: table.take("idle")?,
            timeouts: Timeouts::read(table.table("timeouts")?)?,
        };
        table.done()?;
        Ok(relay)
    }
}

impl Timeouts {
    fn read(mut table: Table<'_>) -> Result<Self, Fault> {
        let timeouts = Timeouts {
            connect: table.take("connect")?,
            tls: table.take("tls")?,
            greeting: table.take("greeting")?,
            ehlo: table.take("ehlo")?,
            auth: table.take("auth")?,
            mail: table.take("mail")?,
            rcpt: table.take("rcpt")?,
            data: table.take("data")?,
            block: table.take("block")?,
            dot: table.take("dot")?,
            quit: table.take("quit")?,
        };
        table.done()?;
        Ok(timeouts)
    }
}

impl Log {
    fn read(mut table: Table<'_>) -> Result<Self, Fault> {
        let log = Log { level: table.take("level")?, format: table.take("format")? };
        table.done()?;
        Ok(log)
    }
}
