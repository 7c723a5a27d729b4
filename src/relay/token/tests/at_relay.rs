//! A relay that refuses a token: the whole dialogue of AUTH, with the endpoint behind it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::config::{AuthConfig, SecretSource, Timeouts, TokenSource};
use crate::far_end::server::Server;
use crate::relay::channel::Channel;
use crate::relay::login::Login;
use crate::relay::sasl::authenticate;
use crate::relay::testing::{peer, wire};
use crate::relay::tls::Verified;

/// Logs in by `mechanism` at a relay that plays `script`, and returns the result.
async fn ended(mechanism: &str, login: &Login, script: &str) -> Result<(), String> {
    let offered = [mechanism.to_owned()];
    let (near, far) = wire("192.0.2.5:587");
    let mut channel = Channel::new(Verified::assumed(near), peer(), Timeouts::default());
    let mut relay = Server::over(far);
    let authenticating = async {
        let result = authenticate(&mut channel, &offered, login).await;
        drop(channel);
        result.map(drop).map_err(|trouble| trouble.to_string())
    };
    let (result, rest) = tokio::join!(authenticating, async move { relay.play(script).await });
    assert_eq!(rest, "", "nothing was said beyond the script");
    result
}

/// Returns a login whose endpoint, `far`, hands out tokens.
fn login(far: &Far, files: &Files) -> Login {
    let oauth = config(&far.url, client(files));
    let secret = SecretSource::Token(TokenSource::OAuth(Box::new(oauth.clone())));
    let auth = AuthConfig { username: "ann@example.com".into(), secret, mechanisms: None };
    Login::new(auth).with_tokens(Some(desk(oauth)))
}

/// The line that proves `token`, and the replies by which a relay refuses it: at once, or by a reason that is answered.
fn proof(mechanism: &str, token: &str) -> String {
    let front = if mechanism == "XOAUTH2" { "user=ann@example.com" } else { "n,a=ann@example.com," };
    let message = STANDARD.encode(format!("{front}\u{1}auth=Bearer {token}\u{1}\u{1}"));
    format!("C: AUTH {mechanism} {message}\n")
}

fn refusals(mechanism: &str) -> [String; 2] {
    let reason = STANDARD.encode(r#"{"status":"401","schemes":"bearer","scope":"https://mail.google.com/"}"#);
    let answer = if mechanism == "XOAUTH2" { "" } else { "AQ==" };
    let at_once = "S: 535 5.7.3 Authentication unsuccessful\n".to_owned();
    [at_once, format!("S: 334 {reason}\nC: {answer}\nS: 535 5.7.8 Username and Password not accepted\n")]
}

/// Each mechanism, with each way to refuse a token.
fn cases() -> Vec<(&'static str, String)> {
    let of = |mechanism: &'static str| refusals(mechanism).map(|refusal| (mechanism, refusal));
    ["XOAUTH2", "OAUTHBEARER"].into_iter().flat_map(of).collect()
}

/// A token that was revoked before its end paused the relay for a minute, and then for two.
#[tokio::test]
async fn a_token_that_the_relay_refuses_is_fetched_anew_and_tried_once_more() {
    for (mechanism, refusal) in cases() {
        let files = Files::new();
        let far = Far::answering(vec![token("t1"), token("t2")]).await;
        let login = login(&far, &files);
        let first = format!("{}S: 235 2.7.0 welcome\n", proof(mechanism, "t1"));
        assert_eq!(ended(mechanism, &login, &first).await, Ok(()));
        let second =
            [&proof(mechanism, "t1"), &refusal, &proof(mechanism, "t2"), "S: 235 2.7.0 welcome\n"].concat();
        assert_eq!(ended(mechanism, &login, &second).await, Ok(()), "{second}");
        let third = format!("{}S: 235 2.7.0 welcome\n", proof(mechanism, "t2"));
        assert_eq!(ended(mechanism, &login, &third).await, Ok(()), "the new one is kept");
        assert_eq!(far.forms().await.len(), 2);
    }
}

/// Each try counts against the account: there are two, and not more.
#[tokio::test]
async fn a_token_that_is_fresh_and_refused_ends_the_login() {
    for (mechanism, refusal) in cases() {
        let files = Files::new();
        let far = Far::answering(vec![token("t1"), token("t2")]).await;
        let login = login(&far, &files);
        let first = [&proof(mechanism, "t1"), "S: 235 2.7.0 welcome\n"].concat();
        assert_eq!(ended(mechanism, &login, &first).await, Ok(()));
        let second = format!("{}{refusal}{}{refusal}", proof(mechanism, "t1"), proof(mechanism, "t2"));
        let words = ended(mechanism, &login, &second).await.unwrap_err();
        let expected = format!("mx.example.net[192.0.2.5]:587: AUTH: {mechanism}: the relay said: 535 5.7.");
        assert!(words.starts_with(&expected), "{words}");
        assert!(words.contains("the token is"), "what to do: {words}");
        assert!(!words.contains("t1") && !words.contains("t2"), "{words}");
        assert_eq!(far.forms().await.len(), 2);
    }
}
