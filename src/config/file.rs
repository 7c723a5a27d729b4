//! The keys of the file, table by table, and the type of each value.
//!
//! Promises: a [`ConfigFile`] has no unknown key and no value that breaks its own rule.
//! Not here: defaults, and rules that concern several keys. They are in the file of each table: `listen.rs`, `queue.rs`,
//! `relay.rs` and so on.

use super::error::ConfigFault;
use super::limit_setting::{CountInPeriod, LocalName, RecipientCount, SizeInPeriod};
use super::pin::Pin;
use super::rate::Rate;
use super::relayhost::WrittenHost;
use super::reply_rule::ReplyRule;
use super::rewrite::RewriteTable;
use super::route_setting::{RouteName, Uid};
use super::setting::{
    AbsolutePath, CertificateName, CivilDay, CommandLine, CredentialName, HeloName, HostName, HttpSetting,
    LoopbackAddress, OrOff, PlainText, SecretPath, ShownCertificate, SocketPath, SourceAddress, Username,
};
use super::table::{Key, Keys, Located, TablePart, TomlTable, table};
use super::units::{PositiveCount, PositiveDuration, PositiveSize};
use super::web_address::WebAddress;
use super::words::{
    AddressFamily, BeyondLimit, EightBit, GrantWord, KeyExchangeChoice, LogFormat, LogLevel, LogRedaction,
    Mechanism, OnRefusal, Pipelining, TlsMode, TlsVersion,
};
use crate::alarm::AlarmCondition;
use crate::envelope::Address;
use crate::routing::{AddressPattern, SenderPattern, SendersIn};

table! {
    /// The whole file.
    ConfigFile {
        relayhost: Keys<WrittenHost>,
        spool: Key<AbsolutePath>,
        route: Vec<Located<RouteTable>>,
        limit: Vec<Located<LimitTable>>,
        auth: AuthTable,
        tls: TlsTable,
        listen: ListenTable,
        rewrite: RewriteTable,
        queue: QueueTable,
        relay: RelayTable,
        log: LogTable,
        admin: AdminTable,
        alarm: Vec<Located<AlarmTable>>,
        heartbeat: HeartbeatTable,
    }
}

table! {
    /// The keys of `[[route]]`.
    RouteTable {
        name: Key<RouteName>,
        senders: Keys<SenderPattern>,
        senders_in: Key<SendersIn>,
        recipients: Keys<AddressPattern>,
        uid: Keys<Uid>,
        relayhost: Keys<WrittenHost>,
        auth: AuthTable,
        tls: TlsTable,
        relay: RelayTable,
    }
}

table! {
    /// The keys of `[[limit]]`.
    LimitTable {
        name: Key<RouteName>,
        uid: Keys<Uid>,
        user: Keys<LocalName>,
        group: Keys<LocalName>,
        sender: Keys<SenderPattern>,
        command: Keys<LocalName>,
        each_user: Key<bool>,
        messages: Keys<CountInPeriod>,
        octets: Keys<SizeInPeriod>,
        recipients: Keys<RecipientCount>,
        size: Key<PositiveSize>,
        sessions: Key<PositiveCount>,
        queued: Key<PositiveCount>,
        what: Key<BeyondLimit>,
        allow_from: Keys<AddressPattern>,
        deny_from: Keys<AddressPattern>,
    }
}

table! {
    /// The keys of `[auth]`.
    AuthTable {
        username: Key<Username>,
        password_file: Key<SecretPath>,
        credential: Key<CredentialName>,
        password_command: Key<CommandLine>,
        token_file: Key<SecretPath>,
        token_command: Key<CommandLine>,
        mechanisms: Keys<Mechanism>,
        oauth: OAuthTable,
    }
}

table! {
    /// The keys of `[auth.oauth]`.
    OAuthTable {
        grant: Key<GrantWord>,
        token_url: Key<WebAddress>,
        client_id: Key<PlainText>,
        client_secret_file: Key<SecretPath>,
        secret_expires: Key<CivilDay>,
        client_certificate: Key<AbsolutePath>,
        key_file: Key<SecretPath>,
        scope: Key<PlainText>,
        subject: Key<Username>,
        refresh_token_file: Key<SecretPath>,
        device_url: Key<WebAddress>,
        ca_file: Key<AbsolutePath>,
    }
}

table! {
    /// The keys of `[tls]`.
    TlsTable {
        mode: Key<TlsMode>,
        ca_file: Key<AbsolutePath>,
        pin_sha256: Keys<Pin>,
        server_name: Key<CertificateName>,
        client_certificate: Key<AbsolutePath>,
        client_key: Key<AbsolutePath>,
        minimum: Key<TlsVersion>,
        key_exchange: Key<KeyExchangeChoice>,
    }
}

table! {
    /// The keys of `[listen]`.
    ListenTable {
        addresses: Keys<LoopbackAddress>,
        tls_addresses: Keys<LoopbackAddress>,
        socket: Key<OrOff<SocketPath>>,
        hostname: Key<HostName>,
        max_message_size: Key<PositiveSize>,
        max_recipients: Key<PositiveCount>,
        max_sessions: Key<PositiveCount>,
        max_sessions_per_uid: Key<PositiveCount>,
        max_messages_per_minute_per_uid: Key<OrOff<PositiveCount>>,
        idle_timeout: Key<PositiveDuration>,
        uid_in_received: Key<bool>,
        certificate: Key<ShownCertificate>,
        key: Key<AbsolutePath>,
        users_file: Key<AbsolutePath>,
        require_auth: Key<bool>,
        accept_any: Key<bool>,
    }
}

table! {
    /// The keys of `[queue]`.
    QueueTable {
        retry_min: Key<PositiveDuration>,
        retry_max: Key<PositiveDuration>,
        lifetime: Key<PositiveDuration>,
        delay_warning: Key<OrOff<PositiveDuration>>,
        postmaster: Key<Address>,
        bounce_sender: Key<Address>,
        bounce_copy: Key<Address>,
        on_refusal: Key<OnRefusal>,
        min_free_space: Key<PositiveSize>,
        max_messages: Key<PositiveCount>,
    }
}

table! {
    /// The keys of `[relay]`.
    RelayTable {
        max_connections: Key<PositiveCount>,
        messages_per_connection: Key<PositiveCount>,
        recipients_per_message: Key<PositiveCount>,
        domains_per_message: Key<PositiveCount>,
        rate: Keys<Rate>,
        connection_age: Key<OrOff<PositiveDuration>>,
        pipelining: Key<Pipelining>,
        eight_bit: Key<EightBit>,
        idle: Key<OrOff<PositiveDuration>>,
        helo_name: Key<HeloName>,
        source_address: Keys<SourceAddress>,
        address_family: Key<AddressFamily>,
        reply: Vec<ReplyRule>,
        timeouts: TimeoutsTable,
    }
}

table! {
    /// The keys of `[relay.timeouts]`.
    TimeoutsTable {
        connect: Key<PositiveDuration>,
        tls: Key<PositiveDuration>,
        greeting: Key<PositiveDuration>,
        ehlo: Key<PositiveDuration>,
        auth: Key<PositiveDuration>,
        mail: Key<PositiveDuration>,
        rcpt: Key<PositiveDuration>,
        data: Key<PositiveDuration>,
        block: Key<PositiveDuration>,
        dot: Key<PositiveDuration>,
        quit: Key<PositiveDuration>,
    }
}

table! {
    /// The keys of `[log]`.
    LogTable {
        level: Key<LogLevel>,
        format: Key<LogFormat>,
        redact: Key<LogRedaction>,
    }
}

table! {
    /// The keys of `[admin]`.
    AdminTable {
        control: Key<SocketPath>,
        http: Keys<HttpSetting>,
    }
}

table! {
    /// The keys of `[[alarm]]`.
    AlarmTable {
        when: Key<AlarmCondition>,
        command: Key<CommandLine>,
        post: Key<WebAddress>,
        header_file: Key<SecretPath>,
        ca_file: Key<AbsolutePath>,
        again_after: Key<PositiveDuration>,
    }
}

table! {
    /// The keys of `[heartbeat]`.
    HeartbeatTable {
        post: Key<WebAddress>,
        every: Key<PositiveDuration>,
        header_file: Key<SecretPath>,
        ca_file: Key<AbsolutePath>,
    }
}

impl TablePart for Vec<Located<RouteTable>> {
    fn take(table: &mut TomlTable<'_>, key: &'static str) -> Result<Self, ConfigFault> {
        let route = |(location, table)| Ok(Located { location, value: RouteTable::read(table)? });
        table.numbered_tables(key)?.into_iter().map(route).collect()
    }
}

impl TablePart for Vec<Located<LimitTable>> {
    fn take(table: &mut TomlTable<'_>, key: &'static str) -> Result<Self, ConfigFault> {
        let limit = |(location, table)| Ok(Located { location, value: LimitTable::read(table)? });
        table.numbered_tables(key)?.into_iter().map(limit).collect()
    }
}

impl TablePart for Vec<Located<AlarmTable>> {
    fn take(table: &mut TomlTable<'_>, key: &'static str) -> Result<Self, ConfigFault> {
        let alarm = |(location, table)| Ok(Located { location, value: AlarmTable::read(table)? });
        table.numbered_tables(key)?.into_iter().map(alarm).collect()
    }
}

impl ConfigFile {
    /// Parses the whole of `text`.
    pub(super) fn parse(text: &str) -> Result<ConfigFile, ConfigFault> {
        TomlTable::document(text).and_then(ConfigFile::read)
    }
}
