//! The mechanism that follows one that cannot work, and the secrets that some mechanisms cannot use.

use super::*;

/// Promise 4. A relay that offered a mechanism which it cannot do for this user got nothing else, and mail waited for ever.
#[tokio::test]
async fn promise_4_a_mechanism_that_cannot_work_is_followed_by_the_next() {
    let (plain, wrong) = (PLAIN_LINE, "LOGIN: the relay said: 535 5.7.8 no");
    let login_refused = format!("{LOGIN_TO_ITS_END}S: 535 5.7.8 no\n");
    let login_taken = format!("{LOGIN_TO_ITS_END}S: 235 ok\n");
    for said in ["504 5.5.4 not that", "504 what", "500 5.5.6 too long", "501 5.5.2 syntax", "502 5.5.1 what"]
    {
        let script = format!("C: {plain}\nS: {said}\n");
        let taken = format!("{script}{login_taken}");
        assert_eq!(played(&user(PASSWORD, None).login, "PLAIN LOGIN", &taken).await, Ok(()), "{said}");
        let refused = format!("{script}{login_refused}");
        let result = played(&user(PASSWORD, None).login, "PLAIN LOGIN", &refused).await;
        assert_eq!(result, Err(wrong.into()), "{said}");
    }
}

/// Promise 4: each of these may be a checked password, or is no matter of the mechanism.
#[tokio::test]
async fn promise_4_no_password_is_checked_twice() {
    for said in [
        "535 5.7.8 no",
        "535 no",
        "534 5.7.9 application-specific password required",
        "500 5.7.0 authentication failed",
        "501 authentication failed",
        "550 5.7.30 basic authentication is not supported",
        "454 4.7.0 later",
        "432 4.7.12 a password transition is needed",
    ] {
        let script = format!("C: {PLAIN_LINE}\nS: {said}\n");
        let result = played(&user(PASSWORD, None).login, "PLAIN LOGIN", &script).await;
        assert_eq!(result, Err(format!("PLAIN: the relay said: {said}")), "{said}");
    }
    let refused =
        format!("C: {PLAIN_LINE}\nS: 504 5.5.4 not that\n{LOGIN_TO_ITS_END}S: 504 5.5.4 nor that\n");
    let result = played(&user(PASSWORD, None).login, "PLAIN LOGIN", &refused).await;
    assert_eq!(result, Err("LOGIN: the relay said: 504 5.5.4 nor that".into()), "a third is not tried");
    let closed = format!("C: {PLAIN_LINE}\nS: 504 5.5.4 not that\nC: AUTH LOGIN\n!close");
    let result = played(&user(PASSWORD, None).login, "PLAIN LOGIN", &closed).await;
    assert_eq!(result, Err("PLAIN: the relay said: 504 5.5.4 not that".into()), "what says more is told");
}

/// Promise 4: the first message of SCRAM is the username. Dovecot says 535 to it where it has no SCRAM secret of a user.
#[tokio::test]
async fn promise_4_a_refusal_before_the_proof_is_no_wrong_password() {
    for (what, answers) in [
        ("no secret for SCRAM", "S: 535 5.7.8 no\n"),
        ("too weak for this user", "S: 534 5.7.9 no\n"),
        ("a challenge that is none", "S: 334 !!!!\nC: *\nS: 501 ok\n"),
    ] {
        let (mut channel, far) = channel();
        let (user, offered) = (user(PASSWORD, None), offers("PLAIN SCRAM-SHA-256"));
        let relaying = async {
            let mut relay = Server::over(far);
            let line = relay.line().await;
            assert!(line.starts_with("AUTH SCRAM-SHA-256 "), "{line}");
            relay.play(&format!("{answers}C: {PLAIN_LINE}\nS: 235 ok\n")).await;
        };
        let authenticating = async {
            let result = authenticate(&mut channel, &offered, &user.login).await;
            drop(channel);
            result
        };
        let (result, ()) = tokio::join!(authenticating, relaying);
        result.unwrap_or_else(|trouble| panic!("{what}: {trouble}"));
        // On the next connection the mechanism is not tried again.
        let again = format!("C: {PLAIN_LINE}\nS: 235 ok\n");
        assert_eq!(played(&user.login, "PLAIN SCRAM-SHA-256", &again).await, Ok(()), "{what}");
    }
}

/// Promise 4, as to what the configuration excludes and as to a relay that cannot prove itself: no other mechanism.
#[tokio::test]
async fn promise_4_what_is_excluded_is_not_fallen_back_to() {
    let narrowed = user(PASSWORD, Some(vec![config::Mechanism::Plain]));
    let script = format!("C: {PLAIN_LINE}\nS: 504 5.5.4 not that\n");
    let result = played(&narrowed.login, "PLAIN LOGIN", &script).await;
    assert_eq!(result, Err("PLAIN: the relay said: 504 5.5.4 not that".into()));
    for twist in [Twist::NoProof, Twist::WrongProof] {
        let (result, heard) =
            authenticated("SCRAM-SHA-256 PLAIN LOGIN", &user(PASSWORD, None), 4096, twist).await;
        assert!(result.is_err() && heard.iter().all(|line| !line.starts_with("AUTH PLAIN")), "{heard:?}");
    }
}

/// A password from a Latin-1 terminal: octet for octet where the relay takes it so, and in words where it cannot.
#[tokio::test]
async fn a_password_that_is_not_utf_8() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"p\xe4ss\n").unwrap();
    let secret = || SecretSource::File(file.path().into());
    let login =
        || Login::new(config::AuthConfig { username: USER.into(), secret: secret(), mechanisms: None });
    let script = "C: AUTH PLAIN AHVzZXIAcORzcw==\nS: 235 ok\n";
    assert_eq!(played(&login(), "SCRAM-SHA-256 PLAIN", script).await, Ok(()));
    let words = played(&login(), "SCRAM-SHA-256", "").await.unwrap_err();
    let expected = "configuration: the password is not UTF-8, and the relay offers only SCRAM";
    assert!(words.starts_with(expected), "{words}");
}

/// A password with a soft hyphen, which SASLprep drops, was another password than the one that the relay had hashed.
#[tokio::test]
async fn a_password_is_prepared_where_it_is_hashed() {
    let user = user("pen\u{ad}cil", None);
    for mechanism in &all()[..3] {
        assert_eq!(authenticated(mechanism, &user, 4096, Twist::None).await.0, Ok(()), "{mechanism}");
    }
    let script = "C: AUTH PLAIN AHVzZXIAcGVuwq1jaWw=\nS: 235 ok\n";
    assert_eq!(played(&user.login, "PLAIN", script).await, Ok(()), "octet for octet");
}

/// The password that a relay has no SCRAM secret of may be replaced by one of which it has.
#[tokio::test]
async fn another_secret_begins_with_the_best_mechanism_again() {
    let user = user(PASSWORD, None);
    user.login.secret().await.unwrap();
    user.login.cannot_use(config::Mechanism::ScramSha256);
    let taken = format!("C: {PLAIN_LINE}\nS: 235 ok\n");
    assert_eq!(played(&user.login, "PLAIN SCRAM-SHA-256", &taken).await, Ok(()));
    std::fs::write(user.file.path(), "pencils\n").unwrap();
    let (_, heard) = authenticated("PLAIN SCRAM-SHA-256", &user, 4096, Twist::None).await;
    assert!(heard[0].starts_with("AUTH SCRAM-SHA-256 "), "{heard:?}");
}

/// A relay that has no secret of a user for one hash has none for another either.
#[tokio::test]
async fn the_second_mechanism_is_of_another_kind() {
    use config::Mechanism::{Login, Plain, ScramSha1, ScramSha256};
    for (first, rest, expected) in [
        (ScramSha256, &[ScramSha1, Plain, Login][..], Some(Plain)),
        (ScramSha256, &[ScramSha1], Some(ScramSha1)),
        (Plain, &[Login], Some(Login)),
        (Plain, &[], None),
    ] {
        let mechanisms: Vec<_> = [first].iter().chain(rest).copied().collect();
        assert_eq!(second_to(first, &mechanisms), expected, "{mechanisms:?}");
    }
}
