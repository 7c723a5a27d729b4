//! `config/providers/`: a small configuration for each provider, which can be used as it is but for the names in it.

use nullmta::relay::ReplyRules;
use nullmta::sink::SinkProfile;

use super::*;

/// Each file with its relayhost, and the provider by whose built-in rules the replies of that relay are read.
const PROVIDERS: [(&str, &str, Option<&str>); 18] = [
    ("amazon-ses", "email-smtp.eu-west-1.amazonaws.com:587", Some("Amazon SES")),
    ("azure-communication-services", "smtp.azurecomm.net:587", None),
    ("brevo", "smtp-relay.brevo.com:587", Some("Brevo")),
    ("fastmail", "smtp.fastmail.com:465", None),
    ("gmail", "smtp.gmail.com:587", Some("Gmail")),
    ("google-workspace-relay", "smtp-relay.gmail.com:587", Some("Gmail")),
    ("mailgun", "smtp.mailgun.org:587", Some("Mailgun")),
    ("mailjet", "in-v3.mailjet.com:587", None),
    ("mandrill", "smtp.mandrillapp.com:587", None),
    ("microsoft-365", "smtp.office365.com:587", Some("Microsoft 365")),
    ("ovh", "ssl0.ovh.net:587", None),
    ("postmark", "smtp.postmarkapp.com:587", None),
    ("resend", "smtp.resend.com:587", None),
    ("scaleway", "smtp.tem.scaleway.com:587", None),
    ("sendgrid", "smtp.sendgrid.net:587", Some("SendGrid")),
    ("sparkpost", "smtp.sparkpostmail.com:587", Some("SparkPost")),
    ("yandex", "smtp.yandex.com:465", Some("Yandex")),
    ("zoho", "smtp.zoho.com:587", Some("Zoho")),
];

/// The files: name without extension, and text.
fn files() -> Vec<(String, String)> {
    fixtures("../config/providers")
}

fn text_of(name: &str) -> String {
    files().into_iter().find(|(file, _)| file == name).unwrap().1
}

/// The text with the login that it shows in comments in force, in place of the one that it has.
fn with_other_login(text: &str) -> String {
    let lines = text.lines().filter_map(|line| match line.strip_prefix('#') {
        Some(set) if !set.starts_with(' ') => Some(set),
        _ => Some(line).filter(|line| !line.starts_with("password-file")),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn each_is_a_configuration_for_its_relay_and_its_replies() {
    let found: Vec<_> = files()
        .iter()
        .map(|(name, text)| {
            let config = parse(text, name).unwrap_or_else(|error| panic!("{error}"));
            let [relay] = &config.relay.hosts[..] else { panic!("{name}: {:?}", config.relay.hosts) };
            let provider = ReplyRules::new(&[], &relay.host.to_string()).provider();
            assert_eq!(
                matches!(config.relay.tls, Tls::Implicit(_)),
                relay.port == RelayPort::Number(465),
                "{name}"
            );
            (name.clone(), relay.to_string(), provider)
        })
        .collect();
    assert_eq!(found, PROVIDERS.map(|(name, relay, rules)| (name.into(), relay.into(), rules)));
}

/// The sinks that play relays for which there is no file: their names and hosts, and whose rules their replies are read by.
const WITHOUT_FILE: [(&str, &str, Option<&str>); 9] = [
    ("emailit", "smtp.emailit.com", None),
    ("hoster", "mail.hoster.example", None),
    ("mailersend", "smtp.mailersend.net", Some("MailerSend")),
    ("microsoft-365-high-volume", "smtp-hve.office365.com", Some("Microsoft 365")),
    ("msndr", "smtp.msndr.net", None),
    ("oracle", "smtp.email.eu-frankfurt-1.oci.oraclecloud.com", None),
    ("outlook", "smtp-mail.outlook.com", Some("Microsoft 365")),
    ("purelymail", "smtp.purelymail.com", Some("Purelymail")),
    ("zeptomail", "smtp.zeptomail.com", Some("ZeptoMail")),
];

/// The files, the rules for replies and the sinks know the same providers, by the same hosts.
#[test]
fn each_provider_has_a_sink_of_its_name() {
    let expected = PROVIDERS.map(|(name, relay, rules)| (name, relay.rsplit_once(':').unwrap().0, rules));
    let mut expected = [&expected[..], &WITHOUT_FILE[..]].concat();
    expected.sort_unstable();
    let found: Vec<_> = SinkProfile::all()
        .iter()
        .map(|sink| (sink.names[0], sink.host, ReplyRules::new(&[], sink.host).provider()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn none_leaves_a_warning_but_that_about_passwords_at_google() {
    for (name, text) in files() {
        let advice = parse(&text, &name).unwrap().advice;
        let about_password = |said: &String| name == "gmail" && said.contains("only an app password");
        assert!(advice.iter().all(about_password), "{name}: {advice:?}");
    }
}

#[test]
fn each_says_what_to_do_at_the_provider_first() {
    for (name, text) in files() {
        assert!(
            text.lines().nth(1).is_some_and(|line| line.starts_with("# Before the first mail: ")),
            "{name}"
        );
    }
}

#[test]
fn microsoft_365_gets_a_token_and_no_more_than_it_allows() {
    let config = parse(&text_of("microsoft-365"), "microsoft-365").unwrap();
    let OAuthGrant::ClientCredentials { proof, .. } = &oauth_of(&config).grant else { panic!() };
    assert_eq!(*proof, ClientProof::Secret { file: "/etc/nullmta.client-secret".into(), expires: None });
    assert_eq!(config.relay.max_connections.get(), 3);
    let rates: Vec<String> = config.relay.rates.iter().map(ToString::to_string).collect();
    assert_eq!(rates, ["30/min", "10000/day"]);
}

#[test]
fn the_other_login_at_google_is_a_configuration() {
    let config = parse(&with_other_login(&text_of("gmail")), "gmail").unwrap();
    let key_file = "/etc/nullmta.key".into();
    assert_eq!(oauth_of(&config).grant, OAuthGrant::JwtBearer { issuer: None, key_file, subject: None });
    assert!(config.advice.is_empty(), "{:?}", config.advice);
    let relay = text_of("google-workspace-relay");
    assert_eq!(parse(&relay, "relay").unwrap().relay.auth, None);
    let with_login = relay.replace("#[auth]", "[auth]").replace("\n#username", "\nusername");
    let with_login = parse(&with_login.replace("\n#password", "\npassword"), "relay").unwrap();
    assert_eq!(with_login.relay.auth.unwrap().secret, SecretSource::File("/etc/nullmta.secret".into()));
}
