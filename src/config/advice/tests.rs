use std::path::Path;

use super::*;
use crate::config::Environment;

fn advised(text: &str, hostname: &str) -> Vec<String> {
    let environment = Environment { hostname: hostname.into() };
    Config::parse(text, Path::new("nullmta.toml"), &environment).unwrap().advice
}

/// Returns configurations of a first day. Each row: the text, the name of the host, and the beginning of each warning.
fn first_days() -> Vec<(String, &'static str, Vec<&'static str>)> {
    const AUTH: &str = "auth.username = \"u\"\nauth.password-file = \"/s\"\n";
    const TOKEN: &str = "auth.username = \"u\"\nauth.token-file = \"/t\"\n";
    const ROOT: &str = "rewrite.aliases.root = \"ops@example.com\"\n";
    const SENDER: &str = "rewrite.sender = \"noreply@example.com\"\n";
    let all = |lines: &[&str]| lines.concat();
    let sendgrid = "relayhost = \"smtp.sendgrid.net\"\n";
    let ses = "relayhost = \"email-smtp.eu-west-1.amazonaws.com\"\n";
    let own = "relayhost = \"relay.internal\"\n";
    vec![
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
        (all(&[sendgrid, AUTH, ROOT, "rewrite.masquerade = \"example.com\"\n"]), "web1.example.com", vec![]),
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
            all(&["relayhost = \"smtp.office365.com\"\n", AUTH, ROOT, SENDER]),
            "web1.example.com",
            vec![
                "smtp.office365.com gets the password of u: Microsoft turns this off at the end of December 2026",
            ],
        ),
        (
            all(&["relayhost = \"smtp.gmail.com\"\n", AUTH, ROOT, SENDER]),
            "web1.example.com",
            vec!["smtp.gmail.com gets the password of u: Google takes no password of an account"],
        ),
        (all(&["relayhost = \"smtp.office365.com\"\n", TOKEN, ROOT, SENDER]), "web1.example.com", vec![]),
        (all(&["relayhost = \"smtp.gmail.com\"\n", TOKEN, ROOT, SENDER]), "web1.example.com", vec![]),
        (
            all(&["relayhost = [\"relay.example.com\", \"Outlook.office365.com.\"]\n", AUTH, ROOT, SENDER]),
            "web1.example.com",
            vec!["outlook.office365.com gets the password of u: Microsoft turns this off"],
        ),
        // High Volume Email takes passwords until September 2028, and Azure's password is a client secret.
        (all(&["relayhost = \"smtp-hve.office365.com\"\n", AUTH, ROOT, SENDER]), "web1.example.com", vec![]),
        (all(&["relayhost = \"smtp.azurecomm.net\"\n", AUTH, ROOT, SENDER]), "web1.example.com", vec![]),
        (
            all(&[ses, AUTH, ROOT, SENDER]),
            "web1.example.com",
            vec!["email-smtp.eu-west-1.amazonaws.com refuses mail from <>, as bounces are"],
        ),
        (
            all(&[ses, AUTH, ROOT, SENDER, "queue.bounce-sender = \"noreply@example.com\"\n"]),
            "web1.example.com",
            vec![],
        ),
        (
            all(&[ses, AUTH, ROOT, SENDER, "rewrite.null-sender = \"noreply@example.com\"\n"]),
            "web1.example.com",
            vec![],
        ),
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
            all(&[own, "rewrite.origin = \"vm\"\nrewrite.aliases.root = [\"ann\", \"ops@example.com\"]\n"]),
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
    ]
}

/// The first day's mail of a new host was lost at each provider by the three lines of the README: cron's mail went
/// out as root of the host, the provider refused that sender, and the bounce, too.
#[test]
fn what_the_first_day_s_mail_would_be_lost_by_is_said() {
    for (text, hostname, expected) in first_days() {
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

#[test]
fn networks_of_one_s_own_are_not_the_internet() {
    for (address, public) in [
        ("192.0.2.1", true),
        ("127.0.0.1", false),
        ("10.1.2.3", false),
        ("172.16.0.1", false),
        ("172.32.0.1", true),
        ("192.168.1.1", false),
        ("169.254.0.1", false),
        ("100.64.0.1", false),
        ("100.128.0.1", true),
        ("::1", false),
        ("fd00::1", false),
        ("fe80::1", false),
        ("2001:db8::1", true),
        ("::ffff:10.0.0.1", false),
    ] {
        assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
    }
}

#[test]
fn an_answer_about_a_relayhost_is_explained() {
    let config = |login: &str| {
        let text =
            format!("relayhost = \"mx.example.com\"\n{login}rewrite.recipient = \"ops@example.com\"\n");
        let environment = Environment { hostname: "web1.example.com".into() };
        Config::parse(&text, Path::new("nullmta.toml"), &environment).unwrap()
    };
    let at = |addresses: &[&str]| Ok(addresses.iter().map(|address| address.parse().unwrap()).collect());
    let plain = config("");
    let own = plain.listen.addresses[0].to_string();
    let login = config("auth.username = \"u\"\nauth.password-file = \"/s\"\n");
    for (config, found, expected) in [
        (
            &plain,
            Err("no such name".to_owned()),
            Some("mx.example.com cannot be looked up now: no such name; is"),
        ),
        (
            &plain,
            at(&["10.0.0.1:25", &own]),
            Some("mx.example.com:587 is nullmta's own listener: mail would go"),
        ),
        (
            &plain,
            at(&["192.0.2.1:587"]),
            Some("mx.example.com is a relay on the Internet and there is no [auth]"),
        ),
        (&login, at(&["192.0.2.1:587"]), None),
        (&plain, at(&["10.0.0.1:587"]), None),
    ] {
        let said = config.lookup_warning(None, &config.relay, &config.relay.hosts[0], found);
        assert!(
            expected
                .map_or(said.is_none(), |begin| said.as_deref().is_some_and(|said| said.starts_with(begin))),
            "{expected:?}: {said:?}"
        );
    }
}

/// `check` was silent about a rule that decides about no mail.
#[test]
fn a_rule_for_replies_that_changes_nothing_is_warned_of() {
    let warned = |table: &str, phase: &str, means: &str| -> Vec<String> {
        let text = format!(
            "relayhost = \"relay.internal\"\n[rewrite]\naliases.root = \"ops@example.com\"\n[[route]]\nname = \"r\"\n\
             relayhost = \"other.internal\"\nsenders = \"@a.example\"\n[[{table}]]\nmatch = \"x\"\n{phase}\nmeans = \"{means}\"\n"
        );
        advised(&text, "web1.example.com").into_iter().filter(|said| said.contains("reply]]")).collect()
    };
    let only = "phase = [\"greeting\", \"auth\"]";
    let mixed = "phase = [\"ehlo\", \"starttls\", \"dot\"]";
    for (table, phase, means, expected) in [
        (
            "relay.reply",
            only,
            "permanent",
            "[[relay.reply]] 1: means = \"permanent\" has no effect at greeting, auth: what",
        ),
        (
            "relay.reply",
            mixed,
            "deferral",
            "[[relay.reply]] 1: means = \"deferral\" has no effect at ehlo, starttls: what",
        ),
        (
            "route.relay.reply",
            only,
            "permanent",
            "route r: [[route.relay.reply]] 1 of route r: means = \"permanent\" has no effect at greeting, auth",
        ),
        ("relay.reply", "phase = \"auth\"", "configuration", ""),
        ("relay.reply", "phase = \"rcpt\"", "permanent", ""),
        ("relay.reply", "", "permanent", ""),
    ] {
        let said = warned(table, phase, means);
        match expected {
            "" => assert!(said.is_empty(), "{said:?}"),
            _ => assert!(said.len() == 1 && said[0].starts_with(expected), "{expected}: {said:?}"),
        }
    }
    assert!(warned("relay.reply", mixed, "deferral")[0].ends_with("; take ehlo, starttls out of its phase"));
}

/// A route by `senders` took nothing beside `rewrite.sender`, and nobody was told.
#[test]
fn a_route_for_addresses_that_rewriting_changes_is_warned_of() {
    let warned = |rewrite: &str, route: &str| -> Vec<String> {
        let text = format!(
            "relayhost = \"relay.internal\"\n[rewrite]\naliases.root = \"ops@example.com\"\n{rewrite}\n\
             [[route]]\nname = \"r\"\nrelayhost = \"other.internal\"\n{route}\n"
        );
        let said = advised(&text, "web1.example.com").into_iter();
        said.filter(|said| !said.starts_with("mail for root")).collect()
    };
    let one = "sender = \"noreply@example.com\"";
    let header_rule = "sender = \"noreply@example.com\"\n[[rewrite.header]]\nmatch = \"^From:\"\nreplace = \"From: a@x.example\"";
    let never = "no mail ever takes the route r: routes are chosen after rewriting, by which mail";
    for (rewrite, route, expected) in [
        ("", "senders = \"@shop.example\"", String::new()),
        (
            one,
            "senders = \"@shop.example\"",
            format!("{never} from app@shop.example goes out as noreply@example.com; "),
        ),
        (
            one,
            "senders = \"@.shop.example\"",
            format!("{never} from app@below.shop.example goes out as noreply@"),
        ),
        (
            one,
            "senders = \"@shop.example\"\nsenders-in = \"header-from\"",
            format!("{never} from app@shop.example"),
        ),
        (header_rule, "senders = \"@shop.example\"\nsenders-in = \"header-from\"", String::new()),
        (
            one,
            "senders = [\"@shop.example\", \"noreply@Example.com\"]",
            "no mail takes the route r by @shop.example in its \
         senders: "
                .into(),
        ),
        (
            one,
            "senders = [\"@shop.example\", \"<>\"]",
            "no mail takes the route r by @shop.example in its senders: ".into(),
        ),
        (one, "senders = \"@example.com\"", String::new()),
        (one, "recipients = \"@shop.example\"", String::new()),
        ("sender = \"%u@example.com\"", "senders = \"ann@example.com\"", String::new()),
        (
            "masquerade = \"example.com\"",
            "senders = \"@web1.example.com\"",
            format!(
                "{never} from app@web1.example.com goes \
         out as app@example.com"
            ),
        ),
        (
            "masquerade = \"example.com\"\nmasquerade-except = \"root\"",
            "senders = \"@web1.example.com\"",
            String::new(),
        ),
        (
            "verified-domains = \"xn--bcher-kva.example\"\nsender = \"a@x.example\"",
            "senders = \"@bücher.example\"",
            String::new(),
        ),
        ("recipient = \"ops@example.com\"", "recipients = \"@shop.example\"", String::new()),
        (
            "recipient = \"ops@example.com\"\nsender = \"a@x.example\"",
            "recipients = \"@shop.example\"",
            format!("{never} to app@shop.example goes to ops@example.com; "),
        ),
        (
            "recipient = \"ops@example.com\"\nsender = \"a@x.example\"",
            "recipients = \"@x.example\"",
            String::new(),
        ),
        (
            "sender = \"a@x.example\"",
            "recipients = [\"root@web1.example.com\"]",
            format!(
                "{never} to root@web1.example.com goes to \
         ops@example.com; "
            ),
        ),
    ] {
        let said = warned(rewrite, route);
        assert_eq!(said.len(), usize::from(!expected.is_empty()), "{rewrite}, {route}: {said:?}");
        assert!(said.iter().all(|said| said.starts_with(&expected)), "{rewrite}, {route}: {said:?}");
    }
}
