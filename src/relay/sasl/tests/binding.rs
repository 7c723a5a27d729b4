//! Logins that are bound to the TLS session, and what a relay without such logins is told.

use super::*;

/// The first message of SCRAM, decoded.
fn client_first(heard: &[String]) -> String {
    let response = heard[0].split(' ').nth(2).unwrap();
    String::from_utf8(STANDARD.decode(response).unwrap()).unwrap()
}

#[tokio::test]
async fn a_login_is_bound_to_the_tls_session() {
    let remedy = "; if the password is right, a proxy ends TLS between us: allow SCRAM without -PLUS (auth.mechanisms)";
    for name in bound() {
        let offered = format!("PLAIN {} {name}", name.strip_suffix(PLUS).unwrap());
        let both = [Some(BINDING); 2];
        let (result, heard) =
            authenticated_bound(&offered, &user(PASSWORD, None), 4096, Twist::None, both).await;
        assert_eq!(result, Ok(()), "{name}");
        assert!(heard[0].starts_with(&format!("AUTH {name} ")), "{heard:?}");
        assert!(client_first(&heard).starts_with("p=tls-exporter,,n=user,r="), "{}", client_first(&heard));
        let wrong = authenticated_bound(&offered, &user("pencils", None), 4096, Twist::None, both).await.0;
        assert_eq!(wrong, Err(format!("{name}: the relay said: 535 5.7.8 who are you{remedy}")));
        // Somebody in between has a TLS session with each of us.
        let between = [Some(BINDING), Some([7; 32])];
        let (result, heard) =
            authenticated_bound(&offered, &user(PASSWORD, None), 4096, Twist::None, between).await;
        assert_eq!(result, Err(format!("{name}: the relay said: 535 5.7.8 who are you{remedy}")));
        assert_eq!(heard.len(), 2, "no other mechanism: {heard:?}");
        for (twist, words) in [
            (Twist::NoProof, "the relay let us in without proving that it knows the secret"),
            (Twist::WrongProof, "the relay's proof is wrong: it does not know the secret"),
        ] {
            let result = authenticated_bound(&offered, &user(PASSWORD, None), 4096, twist, both).await.0;
            assert_eq!(result, Err(format!("{name}: {words}{remedy}")));
        }
    }
}

/// RFC 5802 6: what is said when a login is not bound.
#[tokio::test]
async fn the_relay_is_told_why_a_login_is_not_bound() {
    use config::Mechanism::{ScramSha256, ScramSha256Plus};
    let both = "SCRAM-SHA-256 SCRAM-SHA-256-PLUS";
    for (offered, narrowed, bindings, expected) in [
        ("SCRAM-SHA-256", None, [Some(BINDING), None], "y,,"),
        ("SCRAM-SHA-256", None, [None, None], "n,,"),
        (both, None, [None, Some(BINDING)], "n,,"),
        (both, Some(vec![ScramSha256]), [Some(BINDING), Some(BINDING)], "n,,"),
        (both, Some(vec![ScramSha256, ScramSha256Plus]), [Some(BINDING), Some(BINDING)], "p=tls-exporter,,"),
        // It has bound mechanisms, but not the one that is best else.
        ("SCRAM-SHA-512 SCRAM-SHA-1-PLUS", None, [Some(BINDING), Some(BINDING)], "p=tls-exporter,,"),
    ] {
        let user = user(PASSWORD, narrowed);
        let (result, heard) = authenticated_bound(offered, &user, 4096, Twist::None, bindings).await;
        assert_eq!(result, Ok(()), "{offered} {expected}");
        assert!(client_first(&heard).starts_with(expected), "{offered}: {}", client_first(&heard));
    }
    // Somebody took the bound ones out of the relay's reply to EHLO.
    let (user, both) = (user(PASSWORD, None), [Some(BINDING), Some(BINDING)]);
    let told = authenticated_bound("SCRAM-SHA-256", &user, 4096, Twist::None, both).await.0.unwrap_err();
    assert_eq!(told, "SCRAM-SHA-256: the relay said: 535 5.7.8 who are you");
}

/// Servers that bind by tls-unique alone refuse the first message. Mail waited, although SCRAM would have worked.
#[tokio::test]
async fn a_relay_that_binds_by_something_else_gets_an_unbound_login() {
    for answers in
        ["S: 535 5.7.8 no\n", "S: 334 ZT11bnN1cHBvcnRlZC1jaGFubmVsLWJpbmRpbmctdHlwZQ==\nC: *\nS: 501 ok\n"]
    {
        let (mut channel, far) = channel_with(Some(BINDING));
        let (user, offered) =
            (user(PASSWORD, None), offers("SCRAM-SHA-1-PLUS SCRAM-SHA-256-PLUS SCRAM-SHA-256"));
        let relaying = async {
            let mut relay = Server::over(far);
            assert!(relay.line().await.starts_with("AUTH SCRAM-SHA-256-PLUS "));
            relay.play(&format!("{answers}!close")).await;
            // Not `y`: the relay does offer it.
            let second = relay.line().await;
            assert!(second.starts_with("AUTH SCRAM-SHA-256 biws"), "{second}");
            relay.say("454 4.7.0 later").await;
        };
        let (result, ()) = tokio::join!(authenticate(&mut channel, &offered, &user.login), relaying);
        assert!(result.unwrap_err().to_string().ends_with("SCRAM-SHA-256: the relay said: 454 4.7.0 later"));
        // It is not tried again on the next connection.
        let (_, heard) = authenticated_bound(
            "SCRAM-SHA-256-PLUS SCRAM-SHA-256",
            &user,
            4096,
            Twist::None,
            [Some(BINDING), Some(BINDING)],
        )
        .await;
        assert!(heard[0].starts_with("AUTH SCRAM-SHA-256 "), "{heard:?}");
    }
}

/// Who allows bound logins alone gets no other, and is told why there is none.
#[tokio::test]
async fn a_login_that_must_be_bound_is_bound_or_refused() {
    let only = || user(PASSWORD, Some(vec![config::Mechanism::ScramSha256Plus]));
    let offered = "PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS";
    let (mut channel, far) = channel();
    let refused = authenticate(&mut channel, &offers(offered), &only().login).await.unwrap_err().to_string();
    assert!(refused.contains("AUTH: only SCRAM with -PLUS is allowed and offered"), "{refused}");
    drop(channel);
    assert_eq!(play(far, "").await, "");

    let (mut channel, far) = channel_with(Some(BINDING));
    let (user, offered) = (only(), offers(offered));
    let relaying = async {
        let mut relay = Server::over(far);
        relay.line().await;
        relay.play("S: 535 5.7.8 no\n").await
    };
    let authenticating = async {
        let result = authenticate(&mut channel, &offered, &user.login).await;
        drop(channel);
        result.unwrap_err().to_string()
    };
    let (told, rest) = tokio::join!(authenticating, relaying);
    let remedy = "; it may bind logins by something else than tls-exporter: allow SCRAM without -PLUS (auth.mechanisms)";
    assert!(told.ends_with(&format!("SCRAM-SHA-256-PLUS: the relay said: 535 5.7.8 no{remedy}")), "{told}");
    assert_eq!(rest, "");
}
