use super::*;
use crate::config::Config;
use crate::relay::reply_rules::ReplyRules;
use crate::relay::trouble::{Cause, Peer, Trouble};
use jiff::Timestamp;

/// The relay of a configuration with these keys.
fn relay(keys: &str) -> RelayConfig {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nullmta.toml");
    std::fs::write(&path, format!("relayhost = \"mail.hoster.example\"\n{keys}\n")).unwrap();
    Config::read(&path).unwrap().relay
}

const PASSWORD: &str = "auth.username = \"ann\"\nauth.password-file = \"/etc/nullmta.secret\"";
const IN_FORCE: &str =
    "the user name \"ann\" (auth.username) with the password in /etc/nullmta.secret (auth.password-file)";

fn parsed(said: &str) -> Reply {
    Reply::parse(format!("{said}\r\n").as_bytes()).unwrap().unwrap().0
}

/// Returns what the log says when the relay of `keys`, which no provider's rules know, says this.
fn told(keys: &str, route: Option<&str>, phase: Phase, said: &str) -> String {
    let reply = parsed(said);
    let cause = match phase {
        Phase::Auth => Cause::LoginRefused {
            said: format!("PLAIN: the relay said: {said}"),
            for_good: reply.severity() == Severity::Permanent,
            reply: Some(Box::new(reply)),
            token: None,
            advice: None,
        },
        _ => Cause::Reply(reply),
    };
    trouble_of(keys, route, phase, cause)
}

fn trouble_of(keys: &str, route: Option<&str>, phase: Phase, cause: Cause) -> String {
    let peer = Peer {
        name: "mail.hoster.example".into(),
        address: "192.0.2.5:587".parse().unwrap(),
        route: route.map(Into::into),
        tls: Some("TLSv1.3"),
    };
    let trouble = Trouble { phase, peer: Some(Box::new(peer)), cause };
    ReplyRules::of(&relay(keys), "mail.hoster.example").read(trouble, Timestamp::now()).to_string()
}

/// A refused login at a relay of one's own was said with the relay's words alone: `535 5.7.8 no`, and not what to do.
#[test]
fn every_refusal_of_a_login_says_what_to_do() {
    let table = [
        (Phase::Auth, "535 5.7.8 no", "; it refuses IN FORCE: correct the one that is wrong; mail waits"),
        (Phase::Auth, "535 no", "; it refuses IN FORCE: correct the one that is wrong; mail waits"),
        (Phase::Auth, "550 go away", "; it refuses IN FORCE: correct the one that is wrong; mail waits"),
        (Phase::Auth, "501 5.7.8 no", "; it refuses IN FORCE: correct the one that is wrong; mail waits"),
        (
            Phase::Auth,
            "534 5.7.9 no",
            "; it wants another way to log in than this one: allow a stronger mechanism",
        ),
        (Phase::Auth, "534 no", "; it wants another way to log in than this one: allow a stronger mechanism"),
        (
            Phase::Auth,
            "535 5.7.9 no",
            "; it wants another way to log in than this one: allow a stronger mechanism",
        ),
        (
            Phase::Auth,
            "538 5.7.11 no",
            "; it wants more encryption for this mechanism than the connection has",
        ),
        (
            Phase::Auth,
            "523 5.7.10 no",
            "; it wants more encryption for this mechanism than the connection has",
        ),
        (
            Phase::Auth,
            "530 5.7.0 first TLS",
            "; it wants more encryption for this mechanism than the connection has",
        ),
        (
            Phase::Auth,
            "432 4.7.12 no",
            "; it has this account's password in a form that does not serve this mechanism",
        ),
        (Phase::Auth, "525 5.7.13 no", "; the relay has closed this account: ask its operator"),
        (Phase::Auth, "504 5.5.4 no", "; it does not take this mechanism, or no login on this port"),
        (Phase::Auth, "502 no", "; it does not take this mechanism, or no login on this port"),
        (
            Phase::Auth,
            "454 4.7.0 no",
            "; it cannot check a login now, and does not say that this one is wrong",
        ),
        (Phase::Auth, "451 no", "; it cannot check a login now, and does not say that this one is wrong"),
        (Phase::Mail, "530 5.7.0 log in", "; it took the login and asks for one all the same"),
        (Phase::Rcpt, "530 log in", "; it took the login and asks for one all the same"),
        (Phase::Mail, "535 5.7.8 no", "; it had taken the login, and refuses it now"),
        (Phase::Mail, "454 4.7.0 no", "; it had taken the login, and refuses it now"),
        (Phase::Dot, "538 5.7.11 no", "; it had taken the login, and refuses it now"),
    ];
    for (phase, said, expected) in table {
        let told = told(PASSWORD, None, phase, said);
        assert!(told.contains(&format!("the relay said: {said}; ")), "{told}");
        assert!(told.contains(&expected.replace("IN FORCE", IN_FORCE)), "{phase} {said}: {told}");
        assert!(told.contains(IN_FORCE), "{phase} {said}: {told}");
        // Behind the login nobody watches the secret any more.
        let secret = match phase {
            Phase::Auth => "noticed within seconds, another user name at nullmta reload",
            _ => {
                "used at the next try, and nullmta flush tries at once; another user name needs nullmta reload"
            }
        };
        let end =
            format!("; mail waits meanwhile, and nothing bounces for it; another secret there is {secret}");
        assert!(told.ends_with(&end), "{phase} {said}: {told}");
    }
    for (phase, said) in
        [(Phase::Auth, "421 4.3.2 bye"), (Phase::Mail, "550 5.7.1 no"), (Phase::Ehlo, "530 no")]
    {
        assert_eq!(LoginRefusal::of(phase, &parsed(said)), None, "{phase} {said}");
    }
}

/// SCRAM says within its exchange that the password is wrong; the reply behind it is not waited for.
#[test]
fn a_refusal_in_the_words_of_scram_is_about_the_password() {
    for (said, expected) in [
        (
            "SCRAM-SHA-256: user or password refused",
            "; it refuses the user name \"ann\" (auth.username) with the password",
        ),
        ("SCRAM-SHA-256: the relay's proof is wrong", "; this is no login as its mechanism has it"),
    ] {
        let cause =
            Cause::LoginRefused { said: said.into(), for_good: true, reply: None, token: None, advice: None };
        let told = trouble_of(PASSWORD, None, Phase::Auth, cause);
        assert!(told.contains(&format!("{said}{expected}")), "{told}");
    }
}

/// The advice named `[auth]`, whichever route had the login.
#[test]
fn on_a_route_the_keys_are_those_of_the_route() {
    let told = told(PASSWORD, Some("news"), Phase::Auth, "535 5.7.8 no");
    assert!(
        told.contains(
            "the user name \"ann\" (route.auth.username) with the password in /etc/nullmta.secret \
             (route.auth.password-file)"
        ),
        "{told}"
    );
}

#[test]
fn each_kind_of_secret_says_where_it_is_and_how_it_is_changed() {
    let table = [
        (
            "auth.username = \"ann\"\nauth.credential = \"relay\"",
            "with the password in the credential relay (auth.credential): correct the one",
            "another credential is noticed once the unit is restarted, another user name at nullmta reload",
        ),
        (
            "auth.username = \"ann\"\nauth.password-command = [\"/usr/bin/pass\", \"relay\"]",
            "with the password that /usr/bin/pass prints (auth.password-command): correct the one",
            "the command is run anew at each login, and nullmta flush tries at once; another user name needs nullmta reload",
        ),
        (
            "auth.username = \"ann\"\nauth.token-file = \"/t\"",
            "with the access token in /t (auth.token-file): is the token for this account",
            "another secret there is noticed within seconds, another user name at nullmta reload",
        ),
        (
            "auth.username = \"ann\"\nauth.token-command = [\"/bin/token\"]",
            "with the access token that /bin/token prints (auth.token-command): correct the one",
            "the command is run anew at each login, and nullmta flush tries at once; another user name needs nullmta reload",
        ),
        (
            "auth.mechanisms = \"EXTERNAL\"\ntls.client-certificate = \"/c\"\ntls.client-key = \"/k\"",
            "; it refuses the certificate in /c (tls.client-certificate): have the certificate registered",
            "a change comes into force at nullmta reload",
        ),
    ];
    for (keys, expected, end) in table {
        let told = told(keys, None, Phase::Auth, "535 no");
        assert!(told.contains(expected) && told.ends_with(end), "{keys}: {told}");
    }
    let certificate = "tls.client-certificate = \"/c\"\ntls.client-key = \"/k\"";
    let told = told(certificate, None, Phase::Mail, "530 5.7.0 log in");
    assert!(
        told.contains("; it does not know this host by the certificate in /c (tls.client-certificate), or"),
        "{told}"
    );
    assert!(LoginInForce::of(&relay("")).is_none(), "who has no login is told so elsewhere");
}

#[test]
fn a_relay_without_tls_that_wants_it_is_to_get_it() {
    let keys = format!("{PASSWORD}\ntls.mode = \"none\"");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nullmta.toml");
    std::fs::write(&path, format!("relayhost = \"127.0.0.1:2525\"\n{keys}\n")).unwrap();
    let login = LoginInForce::of(&Config::read(&path).unwrap().relay).unwrap();
    let advice = login.advice(LoginRefusal::InClear, None);
    assert!(advice.starts_with("it wants a login under TLS only: set tls.mode = \"starttls\""), "{advice}");
    let advice = login.advice(LoginRefusal::Exchange, None);
    assert!(advice.starts_with("this is no login as its mechanism has it"), "{advice}");
}

/// What is known of a token's refusal stands in place of the general words.
#[test]
fn a_better_remedy_is_kept() {
    let login = LoginInForce::of(&relay(PASSWORD)).unwrap();
    let advice = login.advice(LoginRefusal::Credentials, Some("mend the token"));
    assert!(advice.starts_with(&format!("mend the token; in force is {IN_FORCE}; mail waits")), "{advice}");
}
