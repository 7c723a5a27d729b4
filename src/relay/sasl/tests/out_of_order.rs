//! Relays that prove nothing, prove it wrongly, ask for too much work, or leave the order of the exchange.

use super::*;

/// Promise 2. Such a relay does not know the secret; with PLAIN it would have been given it.
#[tokio::test]
async fn a_relay_that_proves_nothing_is_refused() {
    for mechanism in &all()[..3] {
        let (result, _) = authenticated(mechanism, &user(PASSWORD, None), 4096, Twist::NoProof).await;
        let expected = format!("{mechanism}: the relay let us in without proving that it knows the secret");
        assert_eq!(result, Err(expected));
        let (result, heard) = authenticated(mechanism, &user(PASSWORD, None), 4096, Twist::WrongProof).await;
        assert_eq!(
            result,
            Err(format!("{mechanism}: the relay's proof is wrong: it does not know the secret"))
        );
        assert_eq!(heard.last().unwrap(), "*");
    }
}

/// The log said "invalid proof" of a wrong password, and nobody knew what to do.
#[tokio::test]
async fn a_refused_proof_is_a_refused_password() {
    for mechanism in &all()[..3] {
        let (mut channel, far) = channel();
        let (user, offered) = (user(PASSWORD, None), offers(mechanism));
        let refused = authenticate(&mut channel, &offered, &user.login);
        let (result, _) = tokio::join!(refused, serve(far, 4096, Twist::RefusedProof));
        let words = result.unwrap_err().to_string();
        assert!(words.ends_with(&format!("AUTH: {mechanism}: user or password refused")), "{words}");
    }
}

#[tokio::test]
async fn iterations_are_bounded() {
    for (iterations, accepted) in
        [(1, false), (4095, false), (4096, true), (1_000_001, false), (u32::MAX, false)]
    {
        let (result, heard) =
            authenticated("SCRAM-SHA-256", &user(PASSWORD, None), iterations, Twist::None).await;
        if accepted {
            assert_eq!(result, Ok(()));
            continue;
        }
        let expected = format!(
            "SCRAM-SHA-256: the relay asks for {iterations} SCRAM iterations; 4096 to 1000000 are accepted"
        );
        assert_eq!(result, Err(expected));
        assert_eq!(heard.last().unwrap(), "*");
    }
}

/// Each case: the mechanism, the relay's script behind the AUTH line, and the words of the trouble.
#[tokio::test]
async fn relays_out_of_order() {
    let cases = [
        (
            "SCRAM-SHA-256",
            "S: 334 !!!!\nC: *\nS: 501 ok\n",
            "SCRAM-SHA-256: the relay's challenge is not base64",
        ),
        // What is no refusal of "*" answers something else, and the password is told to nobody who is out of step.
        (
            "SCRAM-SHA-256",
            "S: 334 !!!!\nC: *\nS: 235 ok\n",
            "the relay said what answers no command of ours: 235 ok",
        ),
        (
            "SCRAM-SHA-256",
            "S: 334 !!!!\nC: *\nS: 334 go on\n",
            "the relay said what answers no command of ours: 334 go on",
        ),
        ("SCRAM-SHA-256", "S: 334 !!!!\nC: *\nS: what\n", "not an SMTP reply: \"what\\r\\n\""),
        // r=x,s
        (
            "SCRAM-SHA-256",
            "S: 334 cj14LHM=\nC: *\nS: 501 ok\n",
            "SCRAM-SHA-256: the relay's challenge is malformed",
        ),
        (
            "SCRAM-SHA-256",
            "S: 235 come in\n",
            "SCRAM-SHA-256: the relay let us in without proving that it knows the secret",
        ),
        (
            "PLAIN",
            "S: 334 more\nC: AHVzZXIAcGVuY2ls\nS: 334 more\nC: *\nS: 501 ok\n",
            "PLAIN: the relay asks for more than the mechanism has, and neither takes nor refuses the login (another one \
             can be named by auth.mechanisms)",
        ),
        ("PLAIN", "S: 454 4.7.0 later\n", "PLAIN: the relay said: 454 4.7.0 later"),
        ("PLAIN", "S: 534 5.7.9 too weak\n", "PLAIN: the relay said: 534 5.7.9 too weak"),
        ("PLAIN", "S: 421 4.3.2 bye\n", "the relay said: 421 4.3.2 bye"),
        ("PLAIN", "!close", "the relay closed the connection"),
        ("PLAIN", "S: hello\n", "not an SMTP reply: \"hello\\r\\n\""),
        (
            "LOGIN",
            "S: 334 VXNlcm5hbWU6\nC: dXNlcg==\nS: 334 UGFzc3dvcmQ6\nC: cGVuY2ls\nS: 535 5.7.8 no\n",
            "LOGIN: the relay said: 535 5.7.8 no",
        ),
    ];
    for (mechanism, script, expected) in cases {
        let (mut channel, far) = channel();
        let (offered, user) = (offers(mechanism), user(PASSWORD, None));
        let relaying = async {
            let mut relay = Server::over(far);
            let line = relay.line().await;
            assert!(line.starts_with(&format!("AUTH {mechanism}")), "{line}");
            relay.play(script).await;
        };
        let authenticating = async {
            let trouble = authenticate(&mut channel, &offered, &user.login).await.unwrap_err();
            drop(channel);
            trouble.to_string()
        };
        let told = tokio::join!(authenticating, relaying).0;
        assert_eq!(told.strip_prefix("mx.example.net[192.0.2.5]:587: AUTH: "), Some(expected), "{script}");
    }
}
