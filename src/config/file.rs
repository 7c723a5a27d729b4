//! The keys of the file, table by table, and the type of each one's value.
//!
//! Promises: a [`File`] has no unknown key and no value that breaks its own rule. What an absent key means, and what
//! keys mean together, stands in the file of its table: `listen.rs`, `queue.rs`, `relay.rs` and so on.

use super::error::Fault;
use super::pin::Pin;
use super::relayhost::WrittenHost;
use super::rewrite::Rewrite;
use super::setting::{
    AbsolutePath, CertificateName, CommandLine, CredentialName, HostName, LoopbackAddress, OrOff, SecretPath,
    ShownCertificate, SocketPath, Username,
};
use super::table::{Key, Keys, Table, table};
use super::units::{Count, Lapse, Size};
use super::words::{Format, Level, Mechanism, OnRefusal, Pipelining, TlsMode, TlsVersion};
use crate::envelope::Address;

table! {
    /// The file.
    File {
        relayhost: Keys<WrittenHost>,
        spool: Key<AbsolutePath>,
        auth: Auth,
        tls: Tls,
        listen: Listen,
        rewrite: Rewrite,
        queue: Queue,
        relay: Relay,
        log: Log,
        admin: Admin,
    }
}

table! {
    /// `[auth]`
    Auth {
        username: Key<Username>,
        password_file: Key<SecretPath>,
        credential: Key<CredentialName>,
        password_command: Key<CommandLine>,
        mechanisms: Keys<Mechanism>,
    }
}

table! {
    /// `[tls]`
    Tls {
        mode: Key<TlsMode>,
        ca_file: Key<AbsolutePath>,
        pin_sha256: Keys<Pin>,
        server_name: Key<CertificateName>,
        client_certificate: Key<AbsolutePath>,
        client_key: Key<AbsolutePath>,
        minimum: Key<TlsVersion>,
    }
}

table! {
    /// `[listen]`
    Listen {
        addresses: Keys<LoopbackAddress>,
        socket: Key<OrOff<SocketPath>>,
        hostname: Key<HostName>,
        max_message_size: Key<Size>,
        max_recipients: Key<Count>,
        max_sessions: Key<Count>,
        max_sessions_per_uid: Key<Count>,
        max_messages_per_minute_per_uid: Key<OrOff<Count>>,
        idle_timeout: Key<Lapse>,
        certificate: Key<ShownCertificate>,
        key: Key<AbsolutePath>,
    }
}

table! {
    /// `[queue]`
    Queue {
        retry_min: Key<Lapse>,
        retry_max: Key<Lapse>,
        lifetime: Key<Lapse>,
        delay_warning: Key<OrOff<Lapse>>,
        postmaster: Key<Address>,
        on_refusal: Key<OnRefusal>,
        min_free_space: Key<Size>,
        max_messages: Key<Count>,
    }
}

table! {
    /// `[relay]`
    Relay {
        max_connections: Key<Count>,
        messages_per_connection: Key<Count>,
        recipients_per_message: Key<Count>,
        pipelining: Key<Pipelining>,
        idle: Key<OrOff<Lapse>>,
        timeouts: Timeouts,
    }
}

table! {
    /// `[relay.timeouts]`
    Timeouts {
        connect: Key<Lapse>,
        tls: Key<Lapse>,
        greeting: Key<Lapse>,
        ehlo: Key<Lapse>,
        auth: Key<Lapse>,
        mail: Key<Lapse>,
        rcpt: Key<Lapse>,
        data: Key<Lapse>,
        block: Key<Lapse>,
        dot: Key<Lapse>,
        quit: Key<Lapse>,
    }
}

table! {
    /// `[log]`
    Log {
        level: Key<Level>,
        format: Key<Format>,
    }
}

table! {
    /// `[admin]`
    Admin {
        control: Key<SocketPath>,
    }
}

impl File {
    /// Reads the whole of `text`.
    pub(super) fn parse(text: &str) -> Result<File, Fault> {
        Table::document(text).and_then(File::read)
    }
}
