use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::super::testing::authority::file;
use super::super::super::testing::{peer, wire};
use super::super::{Login, authenticate};
use super::*;
use crate::config::{AuthConfig, SecretSource, Timeouts, TokenSource};
use crate::far_end::server::Server;

/// Logs in with `token` at a relay that offers `offered`, and then plays `script`. Returns the result, and what the
/// relay heard beyond its script.
async fn ended(offered: &str, token: &str, script: &str) -> (Result<(), String>, String) {
    let file = file(token);
    let secret = SecretSource::Token(TokenSource::File(file.path().into()));
    let login = Login::new(AuthConfig { username: "ann@example.com".into(), secret, mechanisms: None });
    let offered: Vec<String> = offered.split_whitespace().map(String::from).collect();
    let (near, far) = wire("192.0.2.5:587");
    let mut channel = Channel::new(Verified::assumed(near), peer(), Timeouts::default());
    let mut relay = Server::over(far);
    let authenticating = async {
        let result = authenticate(&mut channel, &offered, &login).await;
        drop(channel);
        result.map(drop).map_err(|trouble| {
            let words = trouble.to_string();
            assert!(words.contains("mx.example.net[192.0.2.5]:587: AUTH: "), "{words}");
            words.replacen("mx.example.net[192.0.2.5]:587: AUTH: ", "", 1)
        })
    };
    let relaying = async move { relay.play(script).await };
    tokio::join!(authenticating, relaying)
}

fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

#[tokio::test]
async fn a_short_token_is_an_initial_response() {
    let xoauth2 = base64("user=ann@example.com\u{1}auth=Bearer ya29.x\u{1}\u{1}");
    let bearer = base64("n,a=ann@example.com,\u{1}auth=Bearer ya29.x\u{1}\u{1}");
    let cases = [
        ("PLAIN XOAUTH2", format!("AUTH XOAUTH2 {xoauth2}")),
        ("XOAUTH2 OAUTHBEARER LOGIN", format!("AUTH OAUTHBEARER {bearer}")),
    ];
    for (offered, line) in cases {
        let script = format!("C: {line}\nS: 235 2.7.0 welcome\n");
        let (result, _) = ended(offered, "ya29.x\n", &script).await;
        assert_eq!(result, Ok(()), "{offered}");
    }
    let script = format!("C: AUTH XOAUTH2 {xoauth2}\nS: 334 \nC: {xoauth2}\nS: 235 welcome\n");
    assert_eq!(ended("XOAUTH2", "ya29.x", &script).await.0, Ok(()), "it is asked for again");
}

/// Microsoft's tokens have some 2,000 octets: on one line with AUTH they are refused.
#[tokio::test]
async fn a_long_token_waits_for_the_relay() {
    for octets in [400, 2_000, 8_192] {
        let token = "t".repeat(octets);
        let response = base64(&format!("user=ann@example.com\u{1}auth=Bearer {token}\u{1}\u{1}"));
        assert!(response.len() <= 12_286, "RFC 4954 4");
        let script = format!("C: AUTH XOAUTH2\nS: 334 \nC: {response}\nS: 235 2.7.0 welcome\n");
        assert_eq!(ended("LOGIN XOAUTH2", &token, &script).await.0, Ok(()), "{octets}");
    }
}

/// The reason of a refusal is a challenge. Without an answer to it, the relay waits for ever.
#[tokio::test]
async fn a_refusal_with_a_reason_is_answered() {
    let reason = base64(r#"{"status":"401","scope":"https://mail.google.com/"}"#);
    for (mechanism, first, answer) in [
        ("XOAUTH2", "user=ann@example.com\u{1}auth=Bearer x\u{1}\u{1}", ""),
        ("OAUTHBEARER", "n,a=ann@example.com,\u{1}auth=Bearer x\u{1}\u{1}", "AQ=="),
    ] {
        let script =
            format!("C: AUTH {mechanism} {}\nS: 334 {reason}\nC: {answer}\nS: 535 5.7.8 no\n", base64(first));
        let expected = format!(
            "{mechanism}: the relay said: 535 5.7.8 no (its reason: status 401, scope https://mail.google.com/)"
        );
        assert_eq!(ended(mechanism, "x", &script).await.0, Err(expected));
    }
}

#[tokio::test]
async fn relays_out_of_order() {
    let auth =
        format!("C: AUTH XOAUTH2 {}\n", base64("user=ann@example.com\u{1}auth=Bearer sesame\u{1}\u{1}"));
    let cases = [
        (
            "S: 535 5.7.3 Authentication unsuccessful\n",
            "XOAUTH2: the relay said: 535 5.7.3 Authentication unsuccessful",
        ),
        ("S: 535 5.7.8 not Bearer sesame\n", "XOAUTH2: the relay said: 535 5.7.8 not Bearer ***"),
        ("S: 334 !!!\nC: \nS: 535 5.7.8 no\n", "XOAUTH2: the relay said: 535 5.7.8 no"),
        (
            "S: 334 eA==\nC: \nS: 334 eA==\nC: *\nS: 501 ok\n",
            "XOAUTH2: the relay asks for more than the mechanism has",
        ),
        ("S: 454 4.7.0 later\n", "XOAUTH2: the relay said: 454 4.7.0 later"),
        ("S: 421 4.3.2 bye\n", "the relay said: 421 4.3.2 bye"),
        ("!close", "the relay closed the connection"),
    ];
    for (script, expected) in cases {
        let (result, _) = ended("XOAUTH2", "sesame", &format!("{auth}{script}")).await;
        assert_eq!(result, Err(expected.into()), "{script}");
    }
}

/// Nothing is sent: neither what is no token, nor a token to a relay that takes none.
#[tokio::test]
async fn without_a_token_or_a_mechanism_nothing_is_sent() {
    let not_a_token = "configuration: auth.token-file holds what is no access token: it has characters that no token \
                       has (RFC 6750 2.1); put the token alone there, without \"Bearer\" or quotes";
    let nothing =
        "configuration: no mechanism in common: the relay offers PLAIN LOGIN; we have OAUTHBEARER XOAUTH2";
    for (offered, token, expected) in [
        ("XOAUTH2", "{\"access_token\":\"x\"}", not_a_token),
        ("XOAUTH2", "a b", not_a_token),
        ("PLAIN LOGIN", "x", nothing),
    ] {
        assert_eq!(ended(offered, token, "").await, (Err(expected.into()), String::new()), "{token}");
    }
}

#[test]
fn a_username_is_written_as_rfc_5801_says() {
    assert_eq!(saslname("a=b,c@example.com"), "a=3Db=2Cc@example.com");
}
