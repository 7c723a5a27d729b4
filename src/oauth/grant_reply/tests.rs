use super::*;

fn device_code(status: u16, body: &[u8]) -> Result<DeviceCode, Denial> {
    super::device_code(&SecretMasks::default(), status, body)
}

fn granted(status: u16, body: &[u8]) -> Result<Granted, Denial> {
    super::granted(TokenGrant::DeviceCode, &SecretMasks::default(), status, body)
}

#[test]
fn a_token_comes_with_its_lifetime_and_perhaps_a_refresh_token() {
    let cases = [
        (r#"{"access_token":"a.b","token_type":"Bearer","expires_in":3599}"#, Some(3599), None),
        (
            r#"{"access_token":"a.b","token_type":"bearer","expires_in":"3599","refresh_token":"r"}"#,
            Some(3599),
            Some("r"),
        ),
        (r#"{"access_token":"a.b","expires_in":99999999}"#, Some(86400), None),
        (r#"{"access_token":"a.b","expires_in":-1}"#, None, None),
        (r#"{"access_token":"a.b","refresh_token":""}"#, None, None),
        (r#"{"access_token":"a.b","error":""}"#, None, None),
        (r#"{"access_token":"a.b","error":null}"#, None, None),
        (r#"{"access_token":"a.b","refresh_token":"a\nb"}"#, None, None),
    ];
    for (body, lifetime, refresh) in cases {
        let granted = granted(200, body.as_bytes()).unwrap();
        assert_eq!(granted.token.expose(), "a.b");
        assert_eq!(granted.lifetime.map(|lifetime| lifetime.as_secs()), lifetime, "{body}");
        assert_eq!(granted.refresh_token.as_ref().and_then(Secret::text), refresh, "{body}");
    }
}

/// `true`: an operator must act. `false`: it may be better later.
#[test]
fn a_refusal_is_for_an_operator_and_a_failure_is_not() {
    let cases: [(u16, &str, bool, &str); 20] = [
        (
            400,
            r#"{"error":"invalid_grant"}"#,
            true,
            "invalid_grant: the refresh token is not accepted any more",
        ),
        (
            401,
            r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret\r\nTrace ID: x"}"#,
            true,
            "invalid_client: the client secret is wrong; client-secret-file must hold the secret's Value, not its Secret \
             ID; it said: AADSTS7000215: Invalid client secret Trace ID: x",
        ),
        (
            400,
            r#"{"error":"new_error","error_description":"\u001b[2J"}"#,
            true,
            "new_error; it said: \\u{1b}[2J",
        ),
        (400, r#"{"error":"temporarily_unavailable"}"#, false, "temporarily_unavailable"),
        (503, r#"{"error":"invalid_grant"}"#, false, "invalid_grant: "),
        (429, r#"{"error":"invalid_request"}"#, false, "invalid_request: "),
        (500, "<html>", false, "HTTP 500"),
        (404, "<html>", true, "HTTP 404, and no word of OAuth: is auth.oauth.token-url right?"),
        (429, "", false, "HTTP 429"),
        (401, r#"{"error":"","error_description":"d."}"#, true, "HTTP 401, and no word of OAuth"),
        (503, r#"{"error":" \r\n"}"#, false, "HTTP 503"),
        (400, r#"{"error":"new_error","error_description":" "}"#, true, "new_error"),
        (200, r#"{"error":""}"#, false, "it gave no access token"),
        (302, "", false, "it redirects (HTTP 302), which is not followed"),
        (200, "<html>", false, "its reply is not JSON"),
        (200, "{}", false, "it gave no access token"),
        (200, "[]", false, "its reply is not JSON"),
        (200, r#"{"access_token":"a\r\nb"}"#, false, "it gave what is no access token"),
        (200, r#"{"error":"invalid_scope"}"#, true, "invalid_scope: auth.oauth.scope is not known"),
        (200, r#"{"access_token":"a","token_type":"mac"}"#, true, "it gives tokens of the type mac"),
    ];
    for (status, body, must_act, expected) in cases {
        let denial = granted(status, body.as_bytes()).unwrap_err();
        let (words, acts) = match &denial {
            Denial::Configuration(words) => (words, true),
            Denial::Trouble(words) => (words, false),
            other => panic!("{other:?}"),
        };
        assert!(words.starts_with(expected) && !words.ends_with(": "), "{body}: {words}");
        assert_eq!(acts, must_act, "{body}");
    }
}

#[test]
fn a_login_that_is_awaited_is_neither() {
    assert_eq!(granted(400, br#"{"error":"authorization_pending"}"#).unwrap_err(), Denial::Pending);
    assert_eq!(granted(400, br#"{"error":"slow_down"}"#).unwrap_err(), Denial::SlowDown);
}

#[test]
fn a_device_code_names_the_page_and_the_pace() {
    let body = br#"{"device_code":"d","user_code":"AB-CD","verification_uri":"https://x/","expires_in":900,"interval":7}"#;
    let code = device_code(200, body).unwrap();
    assert_eq!((code.user_code.as_str(), code.page.as_str()), ("AB-CD", "https://x/"));
    assert_eq!((code.lifetime.as_secs(), code.interval.as_secs()), (900, 7));
    let body = br#"{"device_code":"d","user_code":"\u001b[2J","verification_url":"https://g/"}"#;
    let code = device_code(200, body).unwrap();
    assert_eq!((code.user_code.as_str(), code.interval.as_secs()), ("\\u{1b}[2J", 5));
    assert!(matches!(device_code(200, b"{}"), Err(Denial::Trouble(_))));
    let without_a_code = br#"{"device_code":"d","user_code":" ","verification_uri":"https://x/"}"#;
    assert!(matches!(device_code(200, without_a_code), Err(Denial::Trouble(_))));
}

/// Neither a token nor what stands beside it is in any text.
#[test]
fn never_printed() {
    let granted = granted(200, br#"{"access_token":"sesame","refresh_token":"sesame"}"#).unwrap();
    assert!(!format!("{granted:?}").contains("sesame"));
}

fn words_of(denial: Denial) -> String {
    match denial {
        Denial::Configuration(words) | Denial::Trouble(words) => words,
        other => format!("{other:?}"),
    }
}

/// The secret was looked for in the JSON, where it was written in another way, and came out of it into the log.
#[test]
fn a_secret_in_the_words_of_an_endpoint_is_masked_however_it_is_written() {
    let secret = "s/a\"b\\c\u{e4} e";
    let mut secrets = SecretMasks::default();
    secrets.keep(secret);
    let in_json = [
        r#"s/a\"b\\c\u00e4 e"#,
        r#"s\/a\u0022b\u005Cc\u00E4\u0020e"#,
        "s%2Fa%22b%5Cc%C3%A4+e",
        "s%2fa%22b%5cc%c3%a4%20e",
        "cy9hImJcY8OkIGU=",
        "cy9hImJcY8OkIGU",
    ];
    for written in in_json {
        let body = format!(r#"{{"error":"invalid_client","error_description":"bad {written}."}}"#);
        let denial =
            super::granted(TokenGrant::ClientCredentials, &secrets, 401, body.as_bytes()).unwrap_err();
        let words = words_of(denial);
        assert!(
            words.starts_with("invalid_client: ") && words.ends_with("; it said: bad ***."),
            "{written}: {words}"
        );
        let body = format!(r#"{{"error":"{written}"}}"#);
        let denial =
            super::granted(TokenGrant::ClientCredentials, &secrets, 401, body.as_bytes()).unwrap_err();
        assert_eq!(words_of(denial), "***", "{written}");
    }
}

/// The tokens of the reply itself are secrets as well.
#[test]
fn a_token_in_the_reply_is_not_in_its_denial() {
    for body in [
        r#"{"access_token":"sesame","token_type":"sesame"}"#,
        r#"{"refresh_token":"sesame","error":"x","error_description":"sesame"}"#,
    ] {
        let words = words_of(granted(200, body.as_bytes()).unwrap_err());
        assert!(words.contains("***") && !words.contains("sesame"), "{words}");
    }
}

/// A secret that is a word of the protocol made the reply another one.
#[test]
fn a_secret_that_is_a_common_word_changes_nothing_of_the_meaning() {
    let mut secrets = SecretMasks::default();
    ["error", "invalid", "access_token", "s", "the"].iter().for_each(|word| secrets.keep(word));
    let granted =
        |status, body: &str| super::granted(TokenGrant::ClientCredentials, &secrets, status, body.as_bytes());
    assert_eq!(granted(200, r#"{"access_token":"t"}"#).unwrap().token.expose(), "t");
    let denial =
        granted(401, r#"{"error":"invalid_client","error_description":"AADSTS7000222: the secret"}"#);
    let Denial::Configuration(words) = denial.unwrap_err() else { panic!("not for an operator") };
    assert!(
        words.contains("the client secret has expired")
            && words.ends_with("it said: AADSTS7000222: the secret"),
        "{words}"
    );
}
