//! Warnings about a configuration that can be used, but with which mail may be refused or go astray.
//!
//! Promises: one list, for `nullmta check` and for the log at each start and reload. Each line says what happens to the
//! mail and which key to set. Pure.
//! Not here: asking the name server about relayhosts (`relay/lookup.rs`).

mod reply_rules;
mod routes;

use std::net::{IpAddr, SocketAddr};

use super::environment::is_full_name;
use super::file::ConfigFile;
use super::{Config, EhloName, HostOrIp, Logins, RelayConfig, RelayHost, Tls};
use crate::envelope::{Address, Envelope, Recipient, ReversePath};
use crate::key_names::about_relay;

/// Providers that accept mail only from senders they know. Each entry is the end of their host names; one that ends in a
/// dot may stand anywhere in the name.
const PROVIDERS: [&str; 24] = [
    ".amazonaws.com",
    ".sendgrid.net",
    ".mailgun.org",
    ".postmarkapp.com",
    ".mandrillapp.com",
    ".office365.com",
    ".outlook.com",
    ".azurecomm.net",
    ".gmail.com",
    ".brevo.com",
    ".mailjet.com",
    ".resend.com",
    ".sparkpostmail.com",
    ".fastmail.com",
    ".ovh.net",
    ".yandex.com",
    ".yandex.ru",
    ".tem.scaleway.com",
    ".mailersend.net",
    ".emailit.com",
    ".oraclecloud.com",
    ".zoho.",
    ".zeptomail.",
    ".msndr.net",
];

/// A relay that can recognise its customers by their IP addresses, so that `[auth]` may not be needed.
const KNOWS_BY_ADDRESS: &str = "smtp-relay.gmail.com";

/// Relays at which a password does not work for ever, or not everyone's, by their names; each with what to do.
const PASSWORDS: [(&[&str], &str); 2] = [
    (
        &["smtp.office365.com", "smtp-legacy.office365.com", "outlook.office365.com"],
        "Microsoft turns this off at the end of December 2026 for existing tenants, and new ones never get it; an admin \
         can turn it on again for a time. Mail then waits with 535 5.7.139 or 550 5.7.30; set an access token in place of \
         the password ([auth.oauth])",
    ),
    (
        &["smtp.gmail.com", "smtp.googlemail.com"],
        "Google takes no password of an account, but only an app password, which needs 2-step verification; others get \
         534 5.7.9 or 535 5.7.8, and mail waits. Make one at https://myaccount.google.com/apppasswords, or set an \
         access token ([auth.oauth])",
    ),
];

/// The ends of the names of relays that refuse the null reverse-path, which bounces have.
const REFUSES_BOUNCES: [&str; 1] = [".amazonaws.com"];

/// Returns the warnings for `config`, which was read from `file`.
pub(super) fn advice(file: &ConfigFile, config: &Config) -> Vec<String> {
    [bare_hostname(config), bare_sender(file, config), unknown_sender(config), root_at_home(config)]
        .into_iter()
        .flatten()
        .chain(config.relays_of_routes().flat_map(of_relay))
        .chain(refused_bounces(file, config))
        .chain(bare_targets(file, config))
        .chain(routes::idle(file, config))
        .chain(hidden_passwords(config))
        .collect()
}

/// Returns a warning if a relay is known to refuse the bounces of this configuration.
fn refused_bounces(file: &ConfigFile, config: &Config) -> Option<String> {
    if config.queue.bounce_sender.is_some() || file.rewrite.null_sender.is_some() {
        return None;
    }
    let relays = std::iter::once(&config.relay).chain(config.routes.iter().map(|route| &route.relay));
    let refuses = |host: &&RelayHost| match &host.host {
        HostOrIp::Name(name) => is_below(name, &REFUSES_BOUNCES),
        HostOrIp::Address(_) => false,
    };
    let host = relays.flat_map(|relay| &relay.hosts).find(refuses)?;
    Some(format!(
        "{} refuses mail from <>, as bounces are: nobody would hear of mail that fails, and the bounces would be dead; set \
         bounce-sender = \"noreply@example.com\" in [queue], with an address of yours that the relay knows",
        host.host
    ))
}

/// Returns the warnings about the login at a relay, to which `route` leads, and about the rules for its replies.
fn of_relay((route, relay): (Option<&str>, &RelayConfig)) -> Vec<String> {
    let of_login = [no_login(relay), unwelcome_password(relay)].into_iter().flatten();
    of_login.chain(reply_rules::without_effect(relay)).map(|said| about_relay(&said, route)).collect()
}

/// Returns a warning if programs that know no SCRAM cannot log in over TCP, since there is no TLS.
fn hidden_passwords(config: &Config) -> Option<String> {
    let has_users = matches!(config.listen.logins, Some(Logins::Users(_)));
    (has_users && config.listen.certificate.is_none()).then(|| {
        "listen.users-file without listen.certificate: over TCP only SCRAM-SHA-256 is offered, since PLAIN and LOGIN show the \
         password; many programs know no SCRAM, and cannot log in; set listen.certificate = \"self-made\", or a file"
            .into()
    })
}

fn bare_hostname(config: &Config) -> Option<String> {
    let name = &config.listen.hostname;
    (!is_full_name(name)).then(|| {
        let told = match &config.relay.hello {
            EhloName::Name(told) => format!("EHLO says {told} instead"),
            EhloName::AddressLiteral => "EHLO says this host's address instead, which some relays refuse".into(),
        };
        format!(
            "this host's name, {name}, has no domain that others know: the relay is not told it ({told}), and bare \
             addresses become root@{}; set listen.hostname = \"{name}.example.com\", or relay.helo-name for EHLO alone",
            config.rewrite.origin()
        )
    })
}

fn bare_sender(file: &ConfigFile, config: &Config) -> Option<String> {
    let sender = file.rewrite.sender.as_ref()?;
    (!sender.value.has_domain()).then(|| {
        format!(
            "rewrite.sender has no domain, and gets that of rewrite.origin, {}; say which one the relay knows",
            config.rewrite.origin()
        )
    })
}

fn unknown_sender(config: &Config) -> Option<String> {
    let provider = config.relay.hosts.iter().find(|host| is_provider(&host.telling_name()))?;
    let sent = sent_by_root(config);
    let sender = sent.reverse_path.mailbox()?;
    (sender == &root(config)).then(|| {
        format!(
            "{} takes mail from senders that it knows, and this host's goes out as {sender}; set sender = \
             \"noreply@example.com\" in [rewrite], with an address of yours that the relay knows",
            provider.host
        )
    })
}

fn root_at_home(config: &Config) -> Option<String> {
    let sent = sent_by_root(config);
    let home = root(config);
    sent.recipients.iter().any(|recipient| recipient.address == home).then(|| {
        format!(
            "mail for root, from cron and others, goes to {home}; if nobody reads that, set aliases = {{ root = \
             \"you@example.com\" }} in [rewrite]"
        )
    })
}

/// Returns a warning for each target of an alias that has no domain, if only the name of this host can complete it.
fn bare_targets(file: &ConfigFile, config: &Config) -> Vec<String> {
    let origin = config.rewrite.origin();
    if file.rewrite.origin.is_some() && is_full_name(origin) {
        return Vec::new();
    }
    let is_sent_there = |(user, target): &(&str, &Address)| {
        let there = target.completed_with(origin);
        sent_to(config, user).recipients.iter().any(|recipient| recipient.address == there)
    };
    let targets = file.rewrite.bare_targets().filter(is_sent_there);
    let said = targets.map(|(user, target)| {
        format!(
            "rewrite.aliases sends mail for {user} to {target}, which has no domain, and gets that of rewrite.origin, \
             {origin}; if nobody reads {target}@{origin}, write the target as {target}@example.com"
        )
    });
    said.collect()
}

fn no_login(relay: &RelayConfig) -> Option<String> {
    let known_by_name = |host: &HostOrIp| matches!(host, HostOrIp::Name(name) if !name.eq_ignore_ascii_case(KNOWS_BY_ADDRESS));
    let is_public = |host: &HostOrIp| match host {
        HostOrIp::Address(address) => is_public(*address),
        name => is_provider(name) && known_by_name(name),
    };
    let host = relay.hosts.iter().find(|host| is_public(&host.telling_name()))?;
    no_login_at(relay, &host.host)
}

/// Returns the warning about a relayhost that is a name, after it was looked up: `found` are its addresses, or the reason
/// why there are none.
pub(super) fn lookup_warning(
    config: &Config,
    route: Option<&str>,
    relay: &RelayConfig,
    host: &RelayHost,
    found: Result<Vec<SocketAddr>, String>,
) -> Option<String> {
    match found {
        Err(why) => Some(format!(
            "{} cannot be looked up now: {why}; is relayhost right? Mail is kept until it can be",
            host.host
        )),
        Ok(found) if found.iter().any(|address| config.listen.all_addresses().contains(address)) => {
            let whose = route.map_or(String::new(), |route| format!(" of route {route}"));
            Some(format!(
                "{host} is nullmta's own listener: mail would go round in circles; set relayhost{whose}"
            ))
        }
        Ok(found) if found.iter().any(|address| is_public(address.ip())) => {
            let said = about_relay(&no_login_at(relay, &host.host)?, route);
            Some(said).filter(|said| !config.advice.contains(said))
        }
        Ok(_) => None,
    }
}

/// Returns a warning if the configuration has no login for `host`, a relay on the Internet.
fn no_login_at(relay: &RelayConfig, host: &HostOrIp) -> Option<String> {
    let has_certificate = match &relay.tls {
        Tls::StartTls(settings) | Tls::Implicit(settings) => settings.client.is_some(),
        Tls::None => false,
    };
    (relay.auth.is_none() && !has_certificate).then(|| {
        format!(
            "{host} is a relay on the Internet and there is no [auth]: unless it knows this host by its address, it \
             refuses the mail; set username and password-file"
        )
    })
}

/// Returns a warning if a password is configured for a relay that soon takes none, or takes only one that is made for
/// programs.
fn unwelcome_password(relay: &RelayConfig) -> Option<String> {
    let auth = relay.auth.as_ref().filter(|auth| !auth.secret.is_token() && !auth.secret.is_certificate())?;
    let found = relay.hosts.iter().find_map(|host| {
        let HostOrIp::Name(name) = host.telling_name() else { return None };
        let name = name.trim_end_matches('.').to_lowercase();
        PASSWORDS.iter().find(|(known, _)| known.contains(&name.as_str())).map(|(_, words)| (name, *words))
    });
    found.map(|(name, words)| format!("{name} gets the password of {}: {words}", auth.username))
}

fn is_provider(host: &HostOrIp) -> bool {
    matches!(host, HostOrIp::Name(name) if is_below(name, &PROVIDERS))
}

/// Returns whether the host name fits one of `parts`: each is the end of one, or stands anywhere in it if it ends in a dot.
fn is_below(name: &str, parts: &[&str]) -> bool {
    let name = name.trim_end_matches('.').to_lowercase();
    parts.iter().any(|part| if part.ends_with('.') { name.contains(part) } else { name.ends_with(part) })
}

fn root(config: &Config) -> Address {
    // Letters are an address.
    Address::parse("root").unwrap().completed_with(config.rewrite.origin())
}

/// Returns the envelope of a message from root to root after rewriting.
fn sent_by_root(config: &Config) -> Envelope {
    sent_to(config, "root")
}

/// Returns the envelope of a message from root to the local user `user` after rewriting.
fn sent_to(config: &Config, user: &str) -> Envelope {
    // A name that is not an address gets no mail.
    let user = Address::parse(user).map(|user| user.completed_with(config.rewrite.origin()));
    let recipients = user.into_iter().map(Recipient::plain).collect();
    config.rewrite.envelope(Envelope { recipients, ..Envelope::from(ReversePath::Mailbox(root(config))) })
}

/// Returns whether `address` is on the Internet, and not in a private network.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(four) => {
            let is_shared = four.octets()[0] == 100 && four.octets()[1] & 0xc0 == 64; // RFC 6598
            !(four.is_loopback()
                || four.is_private()
                || four.is_link_local()
                || four.is_unspecified()
                || is_shared)
        }
        IpAddr::V6(six) => {
            !(six.is_loopback()
                || six.is_unspecified()
                || six.is_unique_local()
                || six.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests;
