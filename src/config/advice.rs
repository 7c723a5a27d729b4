//! Warnings about a configuration that can be used, but with which mail may be refused or go astray.
//!
//! Promises: one list, for `nullmta check` and for the log at each start and reload. Each line says what happens to the
//! mail and which key to set. Pure.
//! Not here: warnings that need a name server (`lookup.rs`).

use std::net::IpAddr;

use super::environment::is_full_name;
use super::file::ConfigFile;
use super::{Config, HostOrIp, Tls};
use crate::envelope::{Address, Envelope, Recipient, ReversePath};

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

/// Returns the warnings for `config`, which was read from `file`.
pub(super) fn advice(file: &ConfigFile, config: &Config) -> Vec<String> {
    [
        bare_hostname(config),
        bare_sender(file, config),
        unknown_sender(config),
        root_at_home(config),
        no_login(config),
    ]
    .into_iter()
    .flatten()
    .chain(bare_targets(file, config))
    .collect()
}

fn bare_hostname(config: &Config) -> Option<String> {
    let name = &config.listen.hostname;
    (!is_full_name(name)).then(|| {
        format!(
            "this host's name, {name}, has no domain that others know: the relay is not told it, and bare addresses \
             become root@{}; set listen.hostname = \"{name}.example.com\"",
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
    let provider = config.relay.hosts.iter().find(|host| is_provider(&host.host))?;
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

fn no_login(config: &Config) -> Option<String> {
    let known_by_name = |host: &HostOrIp| matches!(host, HostOrIp::Name(name) if !name.eq_ignore_ascii_case(KNOWS_BY_ADDRESS));
    let is_public = |host: &HostOrIp| match host {
        HostOrIp::Address(address) => is_public(*address),
        name => is_provider(name) && known_by_name(name),
    };
    let host = config.relay.hosts.iter().find(|host| is_public(&host.host))?;
    no_login_at(config, &host.host)
}

/// Returns a warning if the configuration has no login for `host`, a relay on the Internet.
pub(super) fn no_login_at(config: &Config, host: &HostOrIp) -> Option<String> {
    let has_certificate = match &config.relay.tls {
        Tls::StartTls(settings) | Tls::Implicit(settings) => settings.client.is_some(),
        Tls::None => false,
    };
    (config.relay.auth.is_none() && !has_certificate).then(|| {
        format!(
            "{host} is a relay on the Internet and there is no [auth]: unless it knows this host by its address, it \
             refuses the mail; set username and password-file"
        )
    })
}

fn is_provider(host: &HostOrIp) -> bool {
    let HostOrIp::Name(name) = host else { return false };
    let name = name.trim_end_matches('.').to_lowercase();
    PROVIDERS.iter().any(|part| if part.ends_with('.') { name.contains(part) } else { name.ends_with(part) })
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
pub(super) fn is_public(address: IpAddr) -> bool {
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
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Environment;

    fn advised(text: &str, hostname: &str) -> Vec<String> {
        let environment = Environment { hostname: hostname.into() };
        Config::parse(text, Path::new("nullmta.toml"), &environment).unwrap().advice
    }

    /// The first day's mail of a new host was lost at each provider by the three lines of the README: cron's mail went
    /// out as root of the host, the provider refused that sender, and the bounce, too. Each row: the configuration, and
    /// how its warnings begin, or what they name.
    #[test]
    fn what_the_first_day_s_mail_would_be_lost_by_is_said() {
        const AUTH: &str = "auth.username = \"u\"\nauth.password-file = \"/s\"\n";
        const ROOT: &str = "rewrite.aliases.root = \"ops@example.com\"\n";
        const SENDER: &str = "rewrite.sender = \"noreply@example.com\"\n";
        let all = |lines: &[&str]| lines.concat();
        let sendgrid = "relayhost = \"smtp.sendgrid.net\"\n";
        let own = "relayhost = \"relay.internal\"\n";
        let cases: Vec<(String, &str, Vec<&str>)> = vec![
            (all(&[sendgrid, AUTH, ROOT, SENDER]), "web1.example.com", vec![]),
            (all(&[own, ROOT]), "web1.example.com", vec![]),
            (all(&[own, "rewrite.recipient = \"ops@example.com\"\n"]), "web1.example.com", vec![]),
            (
                all(&[own]),
                "web1.example.com",
                vec!["mail for root, from cron and others, goes to root@web1.example.com"],
            ),
            (
                all(&[sendgrid, AUTH, ROOT]),
                "web1.example.com",
                vec![
                    "smtp.sendgrid.net takes mail from senders that it knows, and this host's goes out as root@web1",
                ],
            ),
            (
                all(&[sendgrid, AUTH, ROOT, "rewrite.masquerade = \"example.com\"\n"]),
                "web1.example.com",
                vec![],
            ),
            (
                all(&[sendgrid, ROOT, SENDER]),
                "web1.example.com",
                vec!["smtp.sendgrid.net is a relay on the Internet"],
            ),
            (
                all(&["relayhost = \"192.0.2.1\"\n", ROOT]),
                "web1.example.com",
                vec!["192.0.2.1 is a relay on the Internet"],
            ),
            (all(&["relayhost = \"10.0.0.1\"\n", ROOT]), "web1.example.com", vec![]),
            (all(&["relayhost = \"smtp-relay.gmail.com\"\n", ROOT, SENDER]), "web1.example.com", vec![]),
            (
                all(&[own, ROOT, "rewrite.sender = \"noreply\"\n"]),
                "web1.example.com",
                vec!["rewrite.sender has no domain, and gets that of rewrite.origin, web1.example.com"],
            ),
            (all(&[own, ROOT]), "3f2a9c0d1e4b", vec!["this host's name, 3f2a9c0d1e4b, has no domain"]),
            (
                all(&[own, "rewrite.aliases.root = \"ann\"\n"]),
                "web1.example.com",
                vec![
                    "rewrite.aliases sends mail for root to ann, which has no domain, and gets that of rewrite.origin, \
                      web1.example.com; if nobody reads ann@web1.example.com, write",
                ],
            ),
            (
                all(&[
                    own,
                    "rewrite.origin = \"vm\"\nrewrite.aliases.root = [\"ann\", \"ops@example.com\"]\n",
                ]),
                "web1.example.com",
                vec!["rewrite.aliases sends mail for root to ann, which has no domain"],
            ),
            (
                all(&[own, "rewrite.origin = \"example.com\"\nrewrite.aliases.root = \"ann\"\n"]),
                "web1.example.com",
                vec![],
            ),
            (all(&[own, ROOT, "rewrite.aliases.backup = \"root\"\n"]), "web1.example.com", vec![]),
            (
                all(&[own, ROOT, "rewrite.aliases.ann = \"admins\"\nrewrite.aliases.admins = \"ben\"\n"]),
                "web1.example.com",
                vec!["rewrite.aliases sends mail for admins to ben"],
            ),
            (
                all(&[own, "rewrite.aliases.root = \"ann\"\nrewrite.recipient = \"ops@example.com\"\n"]),
                "web1.example.com",
                vec![],
            ),
            (
                all(&["relayhost = \"SMTP.office365.com.\"\n"]),
                "localhost",
                vec![
                    "this host's name, localhost, has no domain",
                    "SMTP.office365.com. takes mail from senders that it knows",
                    "mail for root, from cron and others, goes to root@localhost",
                    "SMTP.office365.com. is a relay on the Internet",
                ],
            ),
        ];
        for (text, hostname, expected) in cases {
            let advice = advised(&text, hostname);
            let fits = advice.len() == expected.len()
                && advice.iter().zip(&expected).all(|(said, begin)| said.starts_with(begin));
            assert!(fits, "{text}{hostname}: {advice:#?}");
        }
    }

    #[test]
    fn every_provider_is_known_by_its_hosts() {
        for host in [
            "email-smtp.eu-west-1.amazonaws.com",
            "smtp.eu.mailgun.org",
            "smtp-broadcasts.postmarkapp.com",
            "smtp.office365.com",
            "smtp-mail.outlook.com",
            "smtp.gmail.com",
            "smtp-relay.brevo.com",
            "in-v3.mailjet.com",
            "smtp.zoho.eu",
            "smtppro.zoho.com",
            "ssl0.ovh.net",
            "smtp.yandex.ru",
            "smtp.tem.scaleway.com",
        ] {
            assert!(is_provider(&HostOrIp::Name(host.into())), "{host}");
        }
        for host in ["relay.example.com", "gmail.com.example.org", "notsendgrid.net", "zoho"] {
            assert!(!is_provider(&HostOrIp::Name(host.into())), "{host}");
        }
    }
}
