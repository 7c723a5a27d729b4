//! A token endpoint by script, on a real socket of 127.0.0.1.

use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::super::testing::authority::{Authority, Identity, file};
use super::*;
use crate::config::{ClientProof, HostOrIp};
use crate::secret::Secret;

mod at_relay;

/// What the endpoint answers to one request; then it closes the connection.
type Answers = Vec<String>;

fn json(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn token(name: &str) -> String {
    json(200, &format!(r#"{{"access_token":"{name}","token_type":"Bearer","expires_in":3600}}"#))
}

/// An endpoint that is under way, and its forms in the end.
struct Far {
    url: WebAddress,
    serving: JoinHandle<Vec<String>>,
}

impl Far {
    async fn answering(answers: Answers) -> Far {
        Far::answering_over(answers, None).await
    }

    async fn answering_over(answers: Answers, identity: Option<Identity>) -> Far {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let host = HostOrIp::Address(address.ip());
        let url =
            WebAddress { is_tls: identity.is_some(), host, port: address.port(), path: "/token?a=b".into() };
        let serving = tokio::spawn(async move {
            let mut forms = Vec::new();
            for answer in answers {
                let (stream, _) = listener.accept().await.unwrap();
                forms.push(match &identity {
                    None => serve(stream, &answer).await,
                    Some(identity) => match identity.acceptor().accept(stream).await {
                        Ok(stream) => serve(stream, &answer).await,
                        Err(_) => "no handshake".into(),
                    },
                });
            }
            forms
        });
        Far { url, serving }
    }

    /// Returns the form of each request, one behind the other.
    async fn forms(self) -> Vec<String> {
        self.serving.await.unwrap()
    }
}

/// Reads a request, answers it, and returns its form.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> String {
    let mut heard = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await.unwrap();
        heard.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&heard).into_owned();
        let Some((head, form)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if form.len() >= length.parse().unwrap() {
            assert!(head.starts_with("post /token?a=b http/1.1\r\n"), "{head}");
            assert!(head.contains("content-type: application/x-www-form-urlencoded"), "{head}");
            assert!(head.contains("host: 127.0.0.1:"), "{head}");
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
            return form.to_owned();
        }
    }
}

/// Files of one test.
struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new() -> Files {
        Files { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn with(&self, name: &str, text: &str) -> PathBuf {
        refresh_file::write(&self.path(name), &crate::secret::Secret::new(text.into())).unwrap();
        self.path(name)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }
}

fn config(url: &WebAddress, grant: OAuthGrant) -> OAuthConfig {
    OAuthConfig { token_url: url.clone(), scope: Some("mail.send".into()), ca_file: None, grant }
}

fn client(files: &Files) -> OAuthGrant {
    let proof = ClientProof::Secret { file: files.with("secret", "s&sam"), expires: None };
    OAuthGrant::ClientCredentials { client_id: "app".into(), proof }
}

fn refresh(files: &Files, device_url: Option<WebAddress>) -> OAuthGrant {
    let file = files.path("refresh");
    OAuthGrant::RefreshToken { client_id: "app".into(), proof: None, file, device_url }
}

fn desk(oauth: OAuthConfig) -> Arc<TokenDesk> {
    desk_on(None, oauth)
}

fn desk_on(route: Option<&str>, oauth: OAuthConfig) -> Arc<TokenDesk> {
    let route = route.map(Arc::from);
    Arc::new(TokenDesk::new(oauth, "ann@example.com".into(), Families::default(), route).unwrap().0)
}

async fn denied(desk: &Arc<TokenDesk>) -> Denial {
    desk.token().await.err().unwrap()
}

/// Ten connections asked ten times, and some endpoints then revoke what they gave first.
#[tokio::test]
async fn all_connections_share_one_request_and_its_token() {
    let files = Files::new();
    let far = Far::answering(vec![token("t1")]).await;
    let desk = desk(config(&far.url, client(&files)));
    let asked = (0..10).map(|_| {
        let desk = Arc::clone(&desk);
        tokio::spawn(async move { desk.token().await.unwrap().token.expose().to_owned() })
    });
    for handed in asked.collect::<Vec<_>>() {
        assert_eq!(handed.await.unwrap(), "t1");
    }
    let form = "grant_type=client_credentials&client_id=app&client_secret=s%26sam&scope=mail.send";
    assert_eq!(far.forms().await, [form]);
}

#[tokio::test]
async fn a_refused_token_is_not_used_again() {
    let files = Files::new();
    let far = Far::answering(vec![token("t1"), token("t2")]).await;
    let desk = desk(config(&far.url, client(&files)));
    let first = desk.token().await.unwrap();
    assert!(first.is_fresh && !desk.token().await.unwrap().is_fresh);
    desk.refused(&first.token).await;
    let second = desk.token().await.unwrap();
    assert_eq!((second.token.expose(), second.is_fresh), ("t2", true));
    desk.refused(&first.token).await;
    assert!(!desk.token().await.unwrap().is_fresh, "the refusal was of another one");
}

#[tokio::test]
async fn an_endpoint_that_is_down_leaves_the_old_token_until_its_connections_retire() {
    let files = Files::new();
    let far = Far::answering(vec![json(503, ""); 3]).await;
    let desk = desk(config(&far.url, client(&files)));
    let lived = |lifetime: u64, age: u64| {
        let token = AccessToken::of(Secret::new("old".into())).unwrap();
        let granted = Granted { token, lifetime: Some(Duration::from_secs(lifetime)), refresh_token: None };
        let mut keeping = TokenKeeping::default();
        keeping.keep(Instant::now() - Duration::from_secs(age), &granted);
        keeping
    };
    *desk.keeping.lock().await = lived(3600, 3500);
    assert_eq!(desk.token().await.unwrap().token.expose(), "old");
    // With the first of these, connections would be opened again and again, and take no message.
    for age in [3596, 3600] {
        *desk.keeping.lock().await = lived(3600, age);
        let expected = Denial::Trouble("the token endpoint 127.0.0.1: HTTP 503".into());
        assert_eq!(denied(&desk).await, expected);
    }
}

/// The old refresh token is dead as soon as the endpoint has handed out another: a crash then must not lose that.
#[tokio::test]
async fn another_refresh_token_is_on_disk_before_it_is_used() {
    let files = Files::new();
    files.with("refresh", "r1");
    let rotating = |token: &str, next: &str| {
        json(200, &format!(r#"{{"access_token":"{token}","expires_in":0,"refresh_token":"{next}"}}"#))
    };
    let far = Far::answering(vec![rotating("t1", "r2"), rotating("t2", "r2"), rotating("t3", "r3")]).await;
    let desk = desk(config(&far.url, refresh(&files, None)));
    for (token, kept) in [("t1", "r2\n"), ("t2", "r2\n"), ("t3", "r3\n")] {
        assert_eq!(desk.token().await.unwrap().token.expose(), token);
        assert_eq!(files.text("refresh"), kept);
    }
    let form =
        |token: &str| format!("grant_type=refresh_token&refresh_token={token}&client_id=app&scope=mail.send");
    assert_eq!(far.forms().await, [form("r1"), form("r2"), form("r2")]);
}

/// The new refresh token was forgotten with an access token that cannot be used, and the login with it.
#[tokio::test]
async fn another_refresh_token_is_kept_beside_a_useless_access_token() {
    let files = Files::new();
    files.with("refresh", "r1");
    let far = Far::answering(vec![json(200, r#"{"access_token":"a b","refresh_token":"r2"}"#)]).await;
    let desk = desk(config(&far.url, refresh(&files, None)));
    assert!(matches!(denied(&desk).await, Denial::Trouble(words) if words.contains("no access token")));
    assert_eq!(files.text("refresh"), "r2\n");
}

/// A daemon that was stopped while the endpoint answered lost the only valid refresh token.
#[tokio::test]
async fn a_stop_waits_for_the_request_and_for_the_disk() {
    let files = Files::new();
    files.with("refresh", "r1");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let host = HostOrIp::Address(address.ip());
    let url = WebAddress { is_tls: false, host, port: address.port(), path: "/token?a=b".into() };
    let desk = desk(config(&url, refresh(&files, None)));
    let asking = tokio::spawn(async move { desk.token().await.is_ok() });
    let (mut stream, _) = listener.accept().await.unwrap();
    // The connection to the relay is cut off, and then the daemon stops.
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    let mut stopping = std::pin::pin!(refresh_tokens_settled());
    let is_waiting = tokio::select! {
        biased;
        () = &mut stopping => false,
        () = tokio::task::yield_now() => true,
    };
    assert!(is_waiting);
    let answer = json(200, r#"{"access_token":"t","refresh_token":"r2"}"#);
    let (form, ()) = tokio::join!(serve(&mut stream, &answer), stopping);
    assert!(form.contains("refresh_token=r1"));
    assert_eq!(files.text("refresh"), "r2\n");
}

/// A request for a connection that nobody waits for any more would only begin another rotation.
#[tokio::test]
async fn nothing_is_asked_for_nobody() {
    let files = Files::new();
    let far = Far::answering(vec![token("t1"), token("t2")]).await;
    let desk = desk(config(&far.url, client(&files)));
    let held = desk.keeping.lock().await;
    let waiting = Arc::clone(&desk);
    let given_up = tokio::spawn(async move { waiting.token().await.is_ok() });
    tokio::task::yield_now().await;
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());
    drop(held);
    assert_eq!(desk.token().await.unwrap().token.expose(), "t1");
}

/// An endpoint that asked for patience was asked again with every probe of the relay.
#[tokio::test]
async fn an_endpoint_that_is_asked_too_often_gets_its_rest() {
    let date = |text: &str| format!("HTTP/1.1 429 X\r\nRetry-After: {text}\r\nContent-Length: 0\r\n\r\n");
    for (told, expected) in [
        ("120", "HTTP 429; it wants no request for another 1"),
        ("Fri, 31 Dec 2100 23:59:59 GMT", "HTTP 429; it wants no request for another 35"),
    ] {
        let files = Files::new();
        let far = Far::answering(vec![date(told)]).await;
        let desk = desk(config(&far.url, client(&files)));
        let first = Denial::Trouble("the token endpoint 127.0.0.1: HTTP 429".into());
        assert_eq!(denied(&desk).await, first);
        let Denial::Trouble(words) = denied(&desk).await else { panic!("no trouble") };
        assert!(words.contains(expected), "{words}");
        assert_eq!(far.forms().await.len(), 1);
    }
}

/// Each reply of an endpoint, and what is made of it: `!` for an operator.
#[tokio::test]
async fn what_an_endpoint_says_in_place_of_a_token() {
    let large = json(200, &"x".repeat(70_000));
    let cases = [
        (json(400, r#"{"error":"invalid_grant","error_description":"bad s&sam"}"#), "!invalid_grant: "),
        (json(401, r#"{"error":"x","error_description":"bad s&sam"}"#), "!x; it said: bad ***"),
        (json(404, "no"), "!HTTP 404, and no word of OAuth"),
        (json(302, ""), "it redirects (HTTP 302), which is not followed"),
        (json(200, "{}"), "it gave no access token"),
        (large, "its reply has more than 64 KiB"),
        ("220 mx.example ESMTP\r\n".into(), "what it sent is not HTTP/1.1"),
        (String::new(), "connection closed before message completed"),
        ("HTTP/1.1 200 X\r\nContent-Length: 99\r\n\r\n{".into(), "end of file before message length reached"),
        (format!("HTTP/1.1 200 X\r\nA: {}\r\n\r\n", "x".repeat(40_000)), ""),
    ];
    for (answer, expected) in cases {
        let files = Files::new();
        let far = Far::answering(vec![answer]).await;
        let told = match denied(&desk(config(&far.url, client(&files)))).await {
            Denial::Configuration(words) => {
                format!("!{}", words.strip_prefix("the token endpoint 127.0.0.1: ").unwrap())
            }
            Denial::Trouble(words) => {
                words.strip_prefix("the token endpoint 127.0.0.1: ").unwrap().to_owned()
            }
            other => panic!("{other:?}"),
        };
        assert!(told.starts_with(expected) && !told.contains("s&sam"), "{expected}: {told}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_trouble() {
    let files = Files::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let host = HostOrIp::Address("127.0.0.1".parse().unwrap());
    let url = WebAddress { is_tls: false, host, port, path: "/".into() };
    assert!(
        matches!(denied(&desk(config(&url, client(&files)))).await, Denial::Trouble(words) if words.contains("refused"))
    );
}

/// No secret goes to a server that is not the endpoint; and what is wrong with its certificate is said, with what to set.
#[tokio::test]
async fn the_certificate_is_verified_before_anything_is_sent() {
    let (authority, other) = (Authority::new(), Authority::new());
    let other_name = "the token endpoint's certificate is for login.example.com, not for 127.0.0.1 (is the host in \
                      auth.oauth.token-url right?); the certificate is for login.example.com, valid from ";
    // The other authority has the same name.
    let unknown = "a signature of the token endpoint, or of the issuer it names, is wrong (is auth.oauth.ca-file out of \
                   date?); the certificate is for no host name, valid from ";
    for (identity, ca, refused) in [
        (authority.identity("127.0.0.1"), authority.file(), None),
        (authority.identity("login.example.com"), authority.file(), Some(other_name)),
        (authority.identity("127.0.0.1"), other.file(), Some(unknown)),
    ] {
        let files = Files::new();
        let far = Far::answering_over(vec![token("t1")], Some(identity)).await;
        let oauth = OAuthConfig { ca_file: Some(ca.path().into()), ..config(&far.url, client(&files)) };
        let handed = desk(oauth).token().await;
        assert_eq!(handed.is_ok(), refused.is_none());
        if let Some(expected) = refused {
            let Err(Denial::Trouble(words)) = handed else { panic!("no trouble") };
            assert!(words.starts_with(&format!("the token endpoint 127.0.0.1: {expected}")), "{words}");
            assert!(!words.contains("the relay") && !words.contains("pin"), "{words}");
            assert_eq!(far.forms().await, ["no handshake"]);
        }
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_for_an_operator() {
    let files = Files::new();
    let far = Far::answering(vec![]).await;
    let key_file = file("hunter2");
    let jwt = OAuthGrant::JwtBearer { issuer: None, key_file: key_file.path().into(), subject: None };
    let grants = [
        (refresh(&files, None), "cannot read"),
        (refresh(&files, Some(far.url.clone())), "nobody has logged in; run nullmta oauth login"),
        (jwt, "holds neither a PEM private key"),
    ];
    for (grant, expected) in grants {
        let denial = denied(&desk(config(&far.url, grant))).await;
        let Denial::Configuration(words) = denial else { panic!("{denial:?}") };
        assert!(words.contains(expected) && !words.contains("hunter2"), "{words}");
    }
}

/// A command asked with the token that the daemon was asking with, and the endpoint revoked what it had given to both.
#[tokio::test(start_paused = true)]
async fn a_refresh_token_that_another_process_uses_is_trouble_that_passes() {
    let files = Files::new();
    let far = Far::answering(vec![]).await;
    let desk = desk(config(&far.url, refresh(&files, None)));
    // As the new file of another process, which it has put in place and not let go.
    let _held = refresh_file::write(&files.path("refresh"), &Secret::new("r1".into())).unwrap();
    let Denial::Trouble(words) = denied(&desk).await else { panic!("not trouble that passes") };
    let expected = format!(
        "(pid {}) has used the refresh token in {} for 10 s, and two at a time could end the login",
        std::process::id(),
        files.path("refresh").display()
    );
    assert!(words.starts_with("the token endpoint 127.0.0.1: not asked, since "), "{words}");
    assert!(words.ends_with(&expected), "{words}");
    assert_eq!(far.forms().await, Vec::<String>::new());
}

/// A service account of Google, and a certificate of Microsoft: both sign an assertion.
#[tokio::test]
async fn an_assertion_is_signed_for_the_endpoint() {
    let pem =
        std::fs::read_to_string(super::super::testing::authority::kept_path("rsa-assertion.pem")).unwrap();
    let key = file(&pem);
    let far = Far::answering(vec![token("t1"), token("t2")]).await;
    let path: PathBuf = key.path().into();
    let jwt = OAuthGrant::JwtBearer { issuer: Some("svc".into()), key_file: path.clone(), subject: None };
    desk(config(&far.url, jwt)).token().await.unwrap();
    let proof = ClientProof::Certificate { certificate: path.clone(), key: path };
    let credentials = OAuthGrant::ClientCredentials { client_id: "app".into(), proof };
    desk(config(&far.url, credentials)).token().await.unwrap();
    let forms = far.forms().await;
    let begin = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=eyJ";
    assert!(forms[0].starts_with(begin), "{}", forms[0]);
    let begin = "grant_type=client_credentials&client_id=app&client_assertion_type=\
                 urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=eyJ";
    assert!(forms[1].starts_with(begin) && forms[1].ends_with("&scope=mail.send"), "{}", forms[1]);
}

#[tokio::test]
async fn a_login_on_a_terminal_leaves_a_refresh_token() {
    let files = Files::new();
    let code = r#"{"device_code":"d&1","user_code":"AB-CD","verification_uri":"https://x/","expires_in":900,"interval":1}"#;
    let pending = json(400, r#"{"error":"authorization_pending"}"#);
    let done = json(200, r#"{"access_token":"t","refresh_token":"r1"}"#);
    let far = Far::answering(vec![json(200, code), pending, done]).await;
    let oauth = config(&far.url, refresh(&files, Some(far.url.clone())));
    let mut told = String::new();
    device_login(&oauth, Families::default(), |prompt| {
        told = format!("{} {} {}", prompt.page, prompt.user_code, prompt.lifetime.as_secs() / 60)
    })
    .await
    .unwrap();
    assert_eq!((told.as_str(), files.text("refresh").as_str()), ("https://x/ AB-CD 15", "r1\n"));
    let asked =
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=d%261&client_id=app";
    assert_eq!(far.forms().await, ["client_id=app&scope=mail.send", asked, asked]);
}

#[tokio::test]
async fn a_login_that_is_refused_says_so() {
    let files = Files::new();
    let code = r#"{"device_code":"dev-1","user_code":"u","verification_uri":"https://x/","interval":1}"#;
    let cases = [
        (vec![json(400, r#"{"error":"invalid_client"}"#)], "invalid_client: client-id"),
        (vec![json(200, code), json(400, r#"{"error":"access_denied"}"#)], "access_denied: the user said no"),
        (
            vec![json(200, code), json(400, r#"{"error":"authorization_declined"}"#)],
            "authorization_declined: the user said no",
        ),
        (vec![json(200, code), token("t")], "the login gave no refresh token"),
    ];
    for (answers, expected) in cases {
        let far = Far::answering(answers).await;
        let oauth = config(&far.url, refresh(&files, Some(far.url.clone())));
        let words = device_login(&oauth, Families::default(), |_| {}).await.unwrap_err();
        assert!(words.contains(expected), "{words}");
        assert!(!files.path("refresh").exists());
    }
}

/// It was told as trouble of the relay, which passes by itself; who must be able to write where was not said.
#[tokio::test]
async fn a_refresh_token_that_cannot_be_written_is_for_an_operator() {
    let files = Files::new();
    files.with("refresh", "r1");
    // No draft can be made where a directory has its name.
    let obstacle = files.path("refresh.new");
    std::fs::create_dir(&obstacle).unwrap();
    let rotating = json(200, r#"{"access_token":"t1","expires_in":0,"refresh_token":"r2"}"#);
    let far = Far::answering(vec![rotating, token("t2")]).await;
    let desk = desk(config(&far.url, refresh(&files, None)));
    assert_eq!(desk.token().await.unwrap().token.expose(), "t1");
    let Denial::Configuration(words) = denied(&desk).await else { panic!("not for an operator") };
    let (path, directory) = (files.path("refresh"), files.path(""));
    let told = [
        format!("the token endpoint 127.0.0.1: {} cannot be written: ", path.display()),
        format!("must be able to make files in {}", directory.display().to_string().trim_end_matches('/')),
    ];
    assert!(told.iter().all(|told| words.contains(told)), "{words}");
    assert_eq!(files.text("refresh"), "r1\n");
    std::fs::remove_dir(&obstacle).unwrap();
    assert_eq!(desk.token().await.unwrap().token.expose(), "t2");
    assert_eq!(files.text("refresh"), "r2\n");
    assert!(far.forms().await[1].contains("refresh_token=r2"));
}

/// The user had logged in before it was found out that nothing of the login could be kept.
#[tokio::test]
async fn a_login_that_could_not_be_kept_is_not_begun() {
    let files = Files::new();
    std::fs::create_dir(files.path("refresh.new")).unwrap();
    let far = Far::answering(vec![]).await;
    let oauth = config(&far.url, refresh(&files, Some(far.url.clone())));
    let mut is_prompted = false;
    let words = device_login(&oauth, Families::default(), |_| is_prompted = true).await.unwrap_err();
    assert!(
        words.contains("refresh cannot be written: ") && words.contains("must be able to make files in"),
        "{words}"
    );
    assert!(!is_prompted && far.forms().await.is_empty());
}

/// The first that was heard of an endpoint that refused was mail that waited, when the token had come to its end.
#[tokio::test]
async fn a_token_that_is_not_renewed_is_told_once_while_it_is_valid() {
    let files = Files::new();
    let refusal = json(401, r#"{"error":"invalid_client","error_description":"AADSTS7000222: expired"}"#);
    let far = Far::answering(vec![refusal.clone(), refusal]).await;
    let desk = desk_on(Some("news"), config(&far.url, client(&files)));
    let token = AccessToken::of(Secret::new("old".into())).unwrap();
    let granted = Granted { token, lifetime: Some(Duration::from_secs(3600)), refresh_token: None };
    desk.keeping.lock().await.keep(Instant::now() - Duration::from_secs(3500), &granted);
    let log = crate::journal::testing::Captured::default();
    let written = log.clone();
    let journal = tracing_subscriber::fmt().with_ansi(false).without_time().with_target(false);
    let _guard = tracing::subscriber::set_default(journal.with_writer(move || written.clone()).finish());
    for _ in 0..3 {
        assert_eq!(desk.token().await.unwrap().token.expose(), "old");
    }
    let begin = " WARN route news: access token of ann@example.com not renewed: the token endpoint 127.0.0.1: invalid_client: the client \
                 secret has expired; make a new one";
    let text = log.text();
    assert!(
        text.starts_with(begin) && text.contains("valid for another ") && text.lines().count() == 1,
        "{text}"
    );
}
