//! The configuration from outside: a directory of bad files, each with the error it must give, a
//! directory of good ones with what they must mean, and the examples that are shipped.

#[path = "config/providers.rs"]
mod providers;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nullmta::config::{
    AlarmTeller, AllowedAmount, BeyondLimit, ClientProof, Config, EhloName, EightBit, Environment, Families,
    FamilyUse, HostOrIp, KeyExchangeChoice, Logins, Means, Mechanism, OAuthConfig, OAuthGrant, Pipelining,
    RelayConfig, RelayHost, RelayPort, ReplyPhase, RuleScope, SecretSource, ServerCertificate, ServiceKind,
    Tls, TlsVersion, TokenSource, Trust,
};
use nullmta::routing::SendersIn;

fn under_tests(directory: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(directory)
}

fn parse(text: &str, name: &str) -> Result<Config, String> {
    let environment = Environment { hostname: "host.example.org".into() };
    Config::parse(text, Path::new(name), &environment).map_err(|error| error.to_string())
}

/// The `.toml` files in a directory of `tests/`: name without extension, and text.
fn fixtures(directory: &str) -> Vec<(String, String)> {
    let mut fixtures: Vec<_> = fs::read_dir(under_tests(directory))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    fixtures.sort();
    fixtures
}

#[test]
fn every_recipe_is_a_configuration() {
    let recipes = fixtures("recipes");
    assert!(recipes.len() >= 4, "{} found", recipes.len());
    for (name, text) in recipes {
        parse(&text, &name).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn every_bad_file_gives_the_error_beside_it() {
    let fixtures = fixtures("bad_config");
    assert!(fixtures.len() >= 50, "{} found", fixtures.len());
    let mut wrong = Vec::new();
    for (name, text) in &fixtures {
        let expected = fs::read_to_string(under_tests("bad_config").join(format!("{name}.expected")));
        let expected = expected.unwrap_or_else(|error| panic!("{name}.expected: {error}"));
        let given = match parse(text, &format!("{name}.toml")) {
            Ok(_) => "accepted".into(),
            Err(error) => error,
        };
        if !says(&given, expected.trim_end()) {
            wrong.push(format!("{name}\n  expected {expected}     given {given}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Whether `given` is what is `expected`. If that ends with `expected one of …`, then `…` stands for all keys of the table
/// in question, as the example shows them.
fn says(given: &str, expected: &str) -> bool {
    let before = expected.strip_suffix('…').filter(|before| before.ends_with("expected one of "));
    let Some(before) = before else { return given == expected };
    let Some(listed) = given.strip_prefix(before) else { return false };
    let (_, key) = before.split_once("key `").unwrap();
    let (table, _) = key.split_once('`').unwrap().0.rsplit_once('.').unwrap();
    // The tables of a route have the keys of those at the top.
    let table = table.strip_prefix("route[2].").unwrap_or(table);
    let listed: BTreeSet<String> = listed.split(", ").map(str::to_owned).collect();
    listed == example::keys_of(table)
}

#[test]
fn no_error_repeats_what_may_be_a_secret() {
    for (name, text) in fixtures("bad_config") {
        let error = parse(&text, "x.toml").unwrap_err();
        assert!(!error.contains("hunter2") && !error.contains('\n'), "{name}: {error}");
    }
}

#[test]
fn a_damaged_file_gives_an_error_of_one_line_or_a_valid_configuration() {
    for (name, text) in fixtures("bad_config").into_iter().chain(fixtures("good_config")) {
        for at in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
            let (before, after) = text.split_at(at);
            check_damaged(before, &name);
            for foreign in ["\"", "\n", "[", "=", "0", "\u{e9}", "\0"] {
                check_damaged(&format!("{before}{foreign}{after}"), &name);
            }
        }
    }
}

fn check_damaged(text: &str, name: &str) {
    match parse(text, name) {
        Ok(config) => check_invariants(&config, text),
        Err(error) => assert!(!error.chars().any(char::is_control), "{error:?}"),
    }
}

/// The invariants in the header of `config.rs`.
fn check_invariants(config: &Config, text: &str) {
    let (relay, listen, queue) = (&config.relay, &config.listen, &config.queue);
    let on_loopback = relay.hosts.iter().all(|relay| relay.host.is_loopback());
    assert!(!relay.hosts.is_empty() && (relay.tls != Tls::None || on_loopback), "1: {text}");
    let addresses = &listen.addresses;
    assert!(!addresses.is_empty() && addresses.iter().all(|address| address.ip().is_loopback()), "2: {text}");
    assert!(queue.retry_min <= queue.retry_max && queue.retry_min <= queue.lifetime, "3: {text}");
    let counts = [listen.max_recipients, listen.max_sessions, listen.max_sessions_per_uid];
    let sizes = [listen.max_message_size, queue.min_free_space, queue.max_messages];
    assert!(!counts.contains(&0) && !sizes.contains(&0), "4: {text}");
    assert!(!queue.retry_min.is_zero() && !listen.idle_timeout.is_zero(), "4: {text}");
}

#[test]
fn a_host_without_a_usable_name_has_to_be_named() {
    let unnamed = |text: &str| {
        let environment = Environment { hostname: "(none)".into() };
        Config::parse(text, Path::new("x.toml"), &environment).map_err(|error| error.to_string())
    };
    let error = unnamed("relayhost = \"smtp.example.com\"").unwrap_err();
    assert!(error.starts_with("x.toml:1: key `listen.hostname`: expected a domain name"), "{error}");
    assert!(error.ends_with("found none, and this host calls itself \"(none)\""), "{error}");
    let named = unnamed("relayhost = \"smtp.example.com\"\nlisten.hostname = \"web1\"").unwrap();
    assert_eq!((named.listen.hostname.as_str(), named.rewrite.origin()), ("web1", "web1"));
}

/// What each file of `good_config` means.
#[test]
fn good_files_mean_what_they_say() {
    type Meaning = fn(&Config);
    let checks: [(&str, Meaning); 19] = [
        ("minimal", minimal),
        ("provider", provider),
        ("failover", failover),
        ("external", external),
        ("loopback-plain", loopback_plain),
        ("private-ca", private_ca),
        ("pinned", pinned),
        ("rewriting", rewriting),
        ("routes", routes),
        ("limits", limits),
        ("self-made", self_made),
        ("srv", srv),
        ("oauth-certificate", oauth_certificate),
        ("oauth-device", oauth_device),
        ("oauth-secret", oauth_secret),
        ("oauth-service-account", oauth_service_account),
        ("token-command", token_command),
        ("token-file", token_file),
        ("everything", everything),
    ];
    let fixtures = fixtures("good_config");
    assert_eq!(fixtures.len(), checks.len());
    for (name, check) in checks {
        let (_, text) = fixtures.iter().find(|(fixture, _)| fixture == name).unwrap();
        check(&parse(text, name).unwrap());
    }
}

fn named(host: &str, port: u16) -> RelayHost {
    RelayHost { host: HostOrIp::Name(host.into()), port: RelayPort::Number(port) }
}

fn srv(config: &Config) {
    let services = |relay: &RelayConfig| match relay.hosts[0].port {
        RelayPort::BySrv(kinds) => kinds.to_vec(),
        RelayPort::Number(port) => panic!("{port}"),
    };
    let (first, second) = (ServiceKind::Submissions, ServiceKind::Submission);
    let hosts: Vec<_> = config.relay.hosts.iter().map(RelayHost::to_string).collect();
    assert_eq!(hosts, ["srv:example.com", "smtp.example.net:587"]);
    assert_eq!(services(&config.relay), [first, second]);
    assert_eq!(services(&config.routes[0].relay), [first]);
    assert_eq!(services(&config.routes[1].relay), [second]);
    assert_eq!(config.routes[0].rule.name, "srv:a.example");
}

fn minimal(config: &Config) {
    assert_eq!(config.relay.hosts, [named("smtp.example.com", 587)]);
    assert!(matches!(&config.relay.tls, Tls::StartTls(tls) if tls.trust == Trust::System));
    assert_eq!((&config.relay.auth, &config.listen.certificate), (&None, &None));
    let name = "host.example.org";
    assert_eq!((config.rewrite.origin(), config.listen.hostname.as_str()), (name, name));
    assert_eq!(config.relay.hello, EhloName::Name(name.into()));
}

fn provider(config: &Config) {
    assert_eq!(config.relay.hosts, [named("email-smtp.eu-west-1.amazonaws.com", 465)]);
    assert!(matches!(config.relay.tls, Tls::Implicit(_)));
    let auth = config.relay.auth.as_ref().unwrap();
    assert_eq!(auth.secret, SecretSource::Credential("relay".into()));
    assert_eq!(auth.mechanisms, Some(vec![Mechanism::Plain]));
}

fn failover(config: &Config) {
    let hosts: Vec<_> = config.relay.hosts.iter().map(RelayHost::to_string).collect();
    assert_eq!(hosts, ["mx1.example.com:587", "mx2.example.com:2525", "192.0.2.1:587", "[2001:db8::1]:26"]);
    assert_eq!(config.rewrite.origin(), "example.com");
    assert_eq!(config.queue.postmaster.as_ref().unwrap().as_str(), "root@example.com", "completed");
}

fn loopback_plain(config: &Config) {
    assert_eq!(config.relay.tls, Tls::None);
    assert!(config.relay.hosts.iter().all(|relay| relay.host.is_loopback()));
    assert_eq!(
        config.relay.hosts.iter().map(|relay| relay.port).collect::<Vec<_>>(),
        [1025, 25, 25].map(RelayPort::Number)
    );
    assert!(config.relay.auth.is_some(), "AUTH without TLS never leaves this host");
}

fn private_ca(config: &Config) {
    let Tls::StartTls(tls) = &config.relay.tls else { panic!("{:?}", config.relay.tls) };
    assert_eq!(tls.trust, Trust::CaFile("/etc/ssl/our-ca.pem".into()));
    assert_eq!(tls.server_name.as_deref(), Some("relay.internal"));
    assert_eq!(tls.client.as_ref().unwrap().key, Path::new("/etc/nullmta.key"));
    assert_eq!(tls.minimum, TlsVersion::V1_3);
}

fn pinned(config: &Config) {
    let Tls::StartTls(tls) = &config.relay.tls else { panic!("{:?}", config.relay.tls) };
    let Trust::Pins(pins) = &tls.trust else { panic!("{:?}", tls.trust) };
    assert_eq!(pins.len(), 2);
    assert_eq!(pins[0], pins[1], "hex and base64 of one digest");
}

/// `tests/rewriting.rs` shows what rules do; here it is that spelling is no difference.
fn rewriting(config: &Config) {
    let text = "relayhost = \"smtp.example.com\"\nrewrite.senders.root = \"ops@host.example.org\"\n\
                rewrite.aliases = { root = \"ann@x.example\", bob = [\"bob\"] }\n\
                rewrite.header = [{ match = \"^X-Mailer:\", remove = true }]";
    assert_eq!(*config, parse(text, "the same").unwrap());
}

fn self_made(config: &Config) {
    assert_eq!(config.listen.certificate, Some(ServerCertificate::SelfMade));
}

/// A secret that is meant for one relay never goes to another one, nor do the limits of one hold for another.
fn routes(config: &Config) {
    let [shop, partner] = &config.routes[..] else { panic!("{:?}", config.routes) };
    assert_eq!((shop.rule.name.as_str(), partner.rule.name.as_str()), ("shop", "smtp.partner.example:587"));
    assert_eq!((shop.rule.senders_in, shop.rule.senders.len()), (SendersIn::HeaderFrom, 2));
    assert_eq!(shop.relay.hosts, [named("mx1.shop.example", 587), named("mx2.shop.example", 26)]);
    assert_eq!(shop.relay.auth.as_ref().unwrap().secret, SecretSource::Credential("shop".into()));
    assert_eq!(shop.relay.tls.settings().unwrap().minimum, TlsVersion::V1_3);
    assert_eq!(shop.relay.hello, EhloName::Name("two.example.com".into()));
    assert_eq!((partner.rule.uids.as_slice(), &partner.relay.auth), (&[33, 34][..], &None));
    assert_eq!(partner.relay.hello, EhloName::Name("host.example.org".into()));
    let connections = [&config.relay, &shop.relay, &partner.relay].map(|relay| relay.max_connections.get());
    assert_eq!(connections, [3, 1, 20]);
}

fn limits(config: &Config) {
    let [web, app, every] = &config.listen.limits[..] else { panic!("{:?}", config.listen.limits) };
    let said = |allowances: &[AllowedAmount]| -> Vec<String> {
        allowances.iter().map(ToString::to_string).collect()
    };
    assert_eq!((web.name.as_str(), web.each_user, &web.subject.uids[..]), ("web", true, &[33, 34][..]));
    assert_eq!((&web.subject.users[..], web.subject.groups.len()), (&["www-data".to_owned()][..], 2));
    assert_eq!((web.subject.senders.len(), &web.subject.commands[..]), (2, &["php".to_owned()][..]));
    assert_eq!(said(&web.messages), ["30/min", "100/h", "1000/day"]);
    assert_eq!(
        (said(&web.octets), said(&web.recipients)),
        (vec!["52428800/h".into()], vec!["2000/day".into()])
    );
    assert_eq!((web.recipients_per_message, web.size), (Some(50), Some(5 << 20)));
    assert_eq!((app.name.as_str(), app.each_user, app.sessions), ("user www-data", false, Some(5)));
    assert_eq!((app.queued, app.allow_from.len(), app.deny_from.len()), (Some(1000), 2, 1));
    assert_eq!((every.name.as_str(), every.each_user), ("every user", true));
    assert_eq!([web.beyond, every.beyond], [BeyondLimit::Defer, BeyondLimit::Hold]);
}

fn everything(config: &Config) {
    let conditions: Vec<&str> = config.alarms.iter().map(|alarm| alarm.condition.text.as_str()).collect();
    let usual = ["relay paused > 10m", "cannot record"];
    assert_eq!(conditions[..2], ["free space < 500M", "oldest > 1h"]);
    assert_eq!(conditions[2..], usual, "but for that about the oldest message, which the file has");
    let [page, hook] = [0, 1].map(|place: usize| config.alarms[place].clone());
    assert_eq!(page.told, Some(AlarmTeller::Command(vec!["/usr/local/bin/page".into(), "ops".into()])));
    assert_eq!(page.again_after, Some(Duration::from_secs(4 * 3600)));
    let Some(AlarmTeller::Post(post)) = hook.told else { panic!("{hook:?}") };
    assert_eq!((post.url.is_tls, post.url.path.as_str()), (true, "/mail?room=ops"));
    assert_eq!(post.header_file, Some("/etc/nullmta.hook".into()));
    assert_eq!(post.ca_file, Some("/etc/own-ca.pem".into()));
    let heartbeat = config.heartbeat.as_ref().unwrap();
    assert_eq!((heartbeat.post.url.port, heartbeat.every), (8080, Duration::from_secs(10)));
    let minimal = parse(&fixtures("good_config").iter().find(|(name, _)| name == "minimal").unwrap().1, "m");
    let (default, timeouts) = (minimal.unwrap(), &config.relay.timeouts);
    assert_eq!(config.listen.addresses.len(), 1);
    assert_eq!(config.listen.socket, None);
    assert_eq!(config.listen.max_message_size, 40_000_000);
    assert_eq!(config.listen.max_sessions, 20);
    assert_eq!(config.listen.max_sessions_per_uid, 20, "its default stays below max-sessions");
    assert_eq!(config.listen.max_messages_per_minute_per_uid, Some(60));
    assert!(config.listen.uid_in_received);
    let (chain, key) = ("/etc/nullmta-listen.pem".into(), "/etc/nullmta-listen.key".into());
    assert_eq!(config.listen.certificate, Some(ServerCertificate::Files { chain, key }));
    assert_eq!(config.listen.logins, Some(Logins::Users("/etc/nullmta.users".into())));
    assert!(config.listen.require_auth);
    assert_eq!((config.listen.tls_addresses.len(), config.listen.all_addresses().len()), (2, 3));
    assert_eq!(config.queue.delay_warning, None);
    assert_eq!(config.queue.min_free_space, 1 << 30);
    assert_eq!(config.relay.idle, Duration::ZERO);
    assert_eq!(config.relay.domains_per_message.map(|most| most.get()), Some(2));
    let rates: Vec<String> = config.relay.rates.iter().map(ToString::to_string).collect();
    assert_eq!((rates.join(" "), default.relay.rates.len()), ("14/s 10000/day".into(), 0));
    assert_eq!(
        (config.relay.connection_age, default.relay.connection_age),
        (None, Some(Duration::from_secs(300)))
    );
    assert_eq!(config.relay.pipelining, Pipelining::Across);
    assert_eq!(config.relay.tls.settings().unwrap().key_exchange, KeyExchangeChoice::PostQuantum);
    assert_eq!(config.relay.hello, EhloName::Name("mail.example.com".into()));
    let six = FamilyUse::From("2001:db8::7".parse().unwrap());
    assert_eq!(config.relay.families.for_address(&"2001:db8::1".parse().unwrap()), six);
    assert_eq!(config.relay.families.only(), Some("IPv6"));
    assert_eq!(default.relay.families, Families::default());
    assert_eq!(config.relay.eight_bit, EightBit::Encode);
    assert_eq!((timeouts.dot, timeouts.connect), (Duration::from_secs(1200), Duration::from_millis(1500)));
    assert_eq!(timeouts.mail, default.relay.timeouts.mail, "what is not set stays");
    let [quota, sender] = &config.relay.replies[..] else { panic!("{:?}", config.relay.replies) };
    assert_eq!((quota.means, quota.pause), (Means::Quota, Some(Duration::from_secs(7200))));
    assert_eq!((quota.pattern.as_str(), &quota.phases[..]), ("^554 .*daily quota", &[ReplyPhase::Dot][..]));
    assert_eq!((sender.means, sender.scope), (Means::Configuration, RuleScope::Sender));
    assert_eq!(sender.phases, [ReplyPhase::Mail, ReplyPhase::Dot]);
    assert_eq!((quota.scope, default.relay.replies.len()), (RuleScope::Route, 0));
    assert_ne!((&config.log, &config.control), (&default.log, &default.control));
    let auth = config.relay.auth.as_ref().unwrap();
    let command = ["/usr/bin/pass", "show", "relay"].map(String::from).to_vec();
    assert_eq!(auth.secret, SecretSource::Command(command));
    assert!(!auth.secret.is_token());
    assert_eq!(config.rewrite.null_sender().unwrap().as_str(), "bounces@example.com");
    assert_eq!(default.rewrite.null_sender(), None);
    let [copy, sender] =
        [&config.queue.bounce_copy, &config.queue.bounce_sender].map(|a| a.as_ref().unwrap().as_str());
    assert_eq!((copy, sender), ("copies@example.com", "bounces@example.net"));
    assert_eq!((&default.queue.bounce_copy, &default.queue.bounce_sender), (&None, &None));
}

fn external(config: &Config) {
    let auth = config.relay.auth.as_ref().unwrap();
    assert_eq!((auth.username.as_str(), &auth.secret), ("", &SecretSource::Certificate));
    assert_eq!(auth.mechanisms, Some(vec![Mechanism::External]));
}

fn token_command(config: &Config) {
    let auth = config.relay.auth.as_ref().unwrap();
    let command = ["/usr/local/bin/token", "--for", "smtp"].map(String::from).to_vec();
    assert_eq!(auth.secret, SecretSource::Token(TokenSource::Command(command)));
    assert_eq!(auth.mechanisms, Some(vec![Mechanism::XOAuth2]));
}

fn oauth_of(config: &Config) -> &OAuthConfig {
    config.relay.auth.as_ref().unwrap().secret.oauth().unwrap()
}

fn oauth_certificate(config: &Config) {
    let oauth = oauth_of(config);
    assert_eq!(oauth.token_url.to_string(), "https://login.microsoftonline.com/tenant/oauth2/v2.0/token");
    assert_eq!(oauth.scope.as_deref(), Some("https://outlook.office365.com/.default"));
    let (certificate, key) = ("/etc/app.pem".into(), "/etc/app.key".into());
    let proof = ClientProof::Certificate { certificate, key };
    assert_eq!(oauth.grant, OAuthGrant::ClientCredentials { client_id: "app".into(), proof });
}

fn oauth_secret(config: &Config) {
    let expires = Some(jiff::civil::date(2027, 1, 31));
    let proof = ClientProof::Secret { file: "/etc/nullmta.client-secret".into(), expires };
    assert_eq!(oauth_of(config).grant, OAuthGrant::ClientCredentials { client_id: "app".into(), proof });
    assert_eq!(oauth_of(config).secret_expires(), expires);
}

fn oauth_service_account(config: &Config) {
    let key_file = "/etc/service-account.json".into();
    let subject = Some("noreply@example.com".into());
    assert_eq!(oauth_of(config).grant, OAuthGrant::JwtBearer { issuer: None, key_file, subject });
}

fn oauth_device(config: &Config) {
    let oauth = oauth_of(config);
    let OAuthGrant::RefreshToken { client_id, proof, file, device_url } = &oauth.grant else { panic!() };
    assert_eq!((client_id.as_str(), proof), ("app", &None));
    assert_eq!(file, Path::new("/var/spool/nullmta/refresh-token"));
    assert_eq!(device_url.as_ref().unwrap().to_string(), "https://login.example.com:8443/devicecode");
    assert_eq!(oauth.ca_file.as_deref(), Some(Path::new("/etc/ssl/our-ca.pem")));
    assert!(oauth.has_login());
}

fn token_file(config: &Config) {
    let secret = &config.relay.auth.as_ref().unwrap().secret;
    assert_eq!(*secret, SecretSource::Token(TokenSource::File("/run/token/smtp".into())));
    assert!(secret.is_token());
}

mod example {
    //! `config/nullmta.toml`: what it says of the defaults is held against the code.

    use super::*;

    fn text() -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/nullmta.toml");
        fs::read_to_string(path).unwrap()
    }

    /// The key that a line sets, or would set if it were not commented out.
    fn key_of(line: &str) -> Option<&str> {
        let (key, _) = line.strip_prefix('#').unwrap_or(line).split_once(" = ")?;
        let is_key = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        key.chars().all(is_key).then_some(key)
    }

    /// The example, with the keys that `wanted` takes for its own no longer commented out.
    fn uncommented(wanted: impl Fn(&str) -> bool) -> String {
        let mut lines = Vec::new();
        for (full, line) in with_full_keys(&text()) {
            lines.push(match line.strip_prefix('#') {
                Some(set) if full.as_deref().is_some_and(&wanted) => set.to_owned(),
                _ => line,
            });
        }
        lines.join("\n")
    }

    /// Each line, with the full key that it sets or would set.
    fn with_full_keys(text: &str) -> Vec<(Option<String>, String)> {
        let mut table = String::new();
        let mut lines = Vec::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                table = format!("{name}.");
            }
            lines.push((key_of(line).map(|key| format!("{table}{key}")), line.to_owned()));
        }
        lines
    }

    /// The keys of a table, and the names of the tables in it.
    pub(super) fn keys_of(table: &str) -> BTreeSet<String> {
        let shown = with_full_keys(&text()).into_iter().filter_map(|(key, _)| key);
        let in_table = shown.filter_map(|key| Some(key.strip_prefix(table)?.strip_prefix('.')?.to_owned()));
        in_table.filter_map(|key| Some(key.split('.').next()?.to_owned())).collect()
    }

    /// The keys whose values are examples: the comment above them says `(no default)`.
    fn without_default() -> BTreeSet<String> {
        let (mut keys, mut is_marked, mut is_in_comment) = (BTreeSet::new(), false, false);
        for (key, line) in with_full_keys(&text()) {
            let is_comment = key.is_none() && line.starts_with('#');
            is_marked = (is_marked && (is_in_comment || key.is_some()))
                || (is_comment && line.contains("(no default)"));
            is_in_comment = is_comment;
            keys.extend(key.filter(|_| is_marked));
        }
        keys
    }

    #[test]
    fn as_shipped_it_names_a_relay_and_nothing_else() {
        let text = text();
        let set: Vec<&str> =
            text.lines().filter(|line| !line.starts_with(['#', '[']) && !line.is_empty()).collect();
        assert_eq!(set, ["relayhost = \"smtp.example.com:587\""]);
    }

    #[test]
    fn three_lines_make_it_whole() {
        let text = uncommented(|key| ["auth.username", "auth.password-file"].contains(&key));
        let config = parse(&text, "nullmta.toml").unwrap();
        assert_eq!(config.relay.hosts, [named("smtp.example.com", 587)]);
        let auth = config.relay.auth.unwrap();
        assert_eq!(auth.username, "apikey");
        assert_eq!(auth.secret, SecretSource::File("/etc/nullmta.secret".into()));
    }

    #[test]
    fn what_is_commented_out_is_the_default() {
        let (default, without_default) = (parse(&text(), "nullmta.toml"), without_default());
        let keys = with_full_keys(&text()).into_iter().filter_map(|(key, _)| key);
        for key in keys.filter(|key| !without_default.contains(key)) {
            let with_it = parse(&uncommented(|other| other == key), "nullmta.toml");
            assert_eq!(
                with_it, default,
                "the default of {key}; if it has none, its comment says (no default)"
            );
        }
        let shown = uncommented(|key| !without_default.contains(key));
        assert_ne!(shown, text());
        assert_eq!(parse(&shown, "nullmta.toml"), default);
    }

    #[test]
    fn every_key_shown_for_itself_is_accepted_and_changes_something() {
        let default = parse(&text(), "nullmta.toml").unwrap();
        let without_default = without_default();
        assert!(without_default.len() >= 20, "{without_default:?}");
        for key in without_default.iter().filter(|key| !OF_OTHER_GRANTS.contains(&key.as_str())) {
            let with_it = uncommented(|other| other == key || companions(key).contains(&other));
            let config = parse(&with_it, "nullmta.toml").unwrap_or_else(|error| panic!("{key}: {error}"));
            assert_ne!(config, default, "{key}");
        }
    }

    /// The keys of a grant by client credentials.
    const CREDENTIALS: &[&str] = &[
        "auth.username",
        "auth.oauth.grant",
        "auth.oauth.token-url",
        "auth.oauth.client-id",
        "auth.oauth.client-secret-file",
    ];

    /// Keys of grants that the example does not show; files of `good_config` do.
    const OF_OTHER_GRANTS: [&str; 5] = [
        "auth.oauth.client-certificate",
        "auth.oauth.key-file",
        "auth.oauth.subject",
        "auth.oauth.refresh-token-file",
        "auth.oauth.device-url",
    ];

    /// The keys without which `key` is not accepted.
    fn companions(key: &str) -> &'static [&'static str] {
        match key {
            "auth.username" | "auth.mechanisms" => &["auth.username", "auth.password-file"],
            "auth.password-file"
            | "auth.credential"
            | "auth.password-command"
            | "auth.token-file"
            | "auth.token-command" => &["auth.username"],
            "auth.oauth.grant"
            | "auth.oauth.token-url"
            | "auth.oauth.client-id"
            | "auth.oauth.client-secret-file" => CREDENTIALS,
            "auth.oauth.scope" | "auth.oauth.ca-file" | "auth.oauth.secret-expires" => CREDENTIALS,
            // It exempts from this one.
            "rewrite.verified-domains" => &["rewrite.sender"],
            "listen.certificate" => &["listen.key"],
            "listen.key" => &["listen.certificate"],
            "listen.tls-addresses" => &["listen.certificate", "listen.key"],
            "tls.client-certificate" => &["tls.client-key"],
            "tls.client-key" => &["tls.client-certificate"],
            _ => &[],
        }
    }

    #[test]
    fn every_mechanism_is_named() {
        let names = Mechanism::all().map(Mechanism::name).collect::<Vec<_>>().join(", ");
        assert!(
            text().replace("\n# ", " ").contains(&format!("Only these SASL mechanisms: {names}.")),
            "{names}"
        );
    }

    #[test]
    fn every_key_there_is_is_shown() {
        let shown: BTreeSet<_> = with_full_keys(&text()).into_iter().filter_map(|(key, _)| key).collect();
        for table in [
            "auth",
            "auth.oauth",
            "tls",
            "listen",
            "rewrite",
            "queue",
            "relay",
            "relay.timeouts",
            "log",
            "admin",
        ] {
            // The error about an unknown key lists those there are.
            let error = parse(&format!("{table}.no-such-key-at-all = 1"), "x").unwrap_err();
            let (_, known) = error.split_once("expected one of ").unwrap();
            for key in known.split(", ").filter(|key| !["timeouts", "oauth"].contains(key)) {
                assert!(shown.contains(&format!("{table}.{key}")), "{table}.{key}");
            }
        }
        assert!(shown.contains("relayhost") && shown.contains("spool"));
    }
}

mod units {
    //! `systemd/`: the units are for the configuration's defaults.

    use super::*;

    fn values(unit: &str, key: &str) -> Vec<String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(unit);
        let text = fs::read_to_string(path).unwrap();
        text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(String::from).collect()
    }

    #[test]
    fn the_sockets_and_the_spool_are_the_default_ones() {
        let default = parse("relayhost = \"smtp.example.com\"", "default").unwrap();
        let mut streams: Vec<_> = default.listen.addresses.iter().map(ToString::to_string).collect();
        streams.push(default.listen.socket.unwrap().display().to_string());
        assert_eq!(values("nullmta.socket", "ListenStream"), streams);
        assert_eq!(values("nullmta.socket", "SocketMode"), ["0666"]);
        assert_eq!(values("nullmta.service", "ReadWritePaths"), [default.spool.display().to_string()]);
        assert!(default.control.starts_with("/run/nullmta"));
        assert_eq!(values("nullmta.service", "RuntimeDirectory"), ["nullmta"]);
    }
}
