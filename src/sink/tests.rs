mod day;
mod limits;
mod provider;

use std::collections::BTreeSet;
use std::path::Path;

use rsasl::prelude::{Mechname, SASLClient, SASLConfig};
use tokio::io::duplex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;

use super::*;
use crate::far_end::client::{Client, Heard};
use crate::listener::certificate::tests::connector_trusting;
use crate::listener::stop::{Stopper, stop_signal};
use crate::secret::Secret;

/// Returns the codes of a whole transaction to `a` and `b`, up to the first thing that is not a reply.
async fn transact(client: &mut Client) -> String {
    const CONTENT: &str = "Subject: x\r\n\r\n..dots\r\n.\r\n";
    let steps = [
        "EHLO me\r\n",
        "MAIL FROM:<ann@example.org>\r\n",
        "RCPT TO:<a@example.org>\r\n",
        "RCPT TO:<b@example.org>\r\n",
        "DATA\r\n",
        CONTENT,
        "QUIT\r\n",
    ];
    let mut codes = vec![client.hear().await.code()];
    for step in steps {
        if matches!(codes.last().map(String::as_str), Some("closed" | "silence")) {
            break;
        }
        if step != CONTENT || codes.last().is_some_and(|code| code == "354") {
            codes.push(client.ask(step).await.code());
        }
    }
    codes.join(" ")
}

fn options() -> SinkOptions {
    // The certificate is made once, since that is slow.
    static CERTIFICATE: std::sync::LazyLock<Certificate> =
        std::sync::LazyLock::new(|| Certificate::self_made("localhost").unwrap());
    SinkOptions::new(CERTIFICATE.clone())
}

fn plain(faults: &[&str]) -> SinkOptions {
    let faults = faults.iter().map(|fault| fault.parse().unwrap()).collect();
    SinkOptions { security: Security::None, faults, ..options() }
}

/// A sink whose sessions run over an in-memory connection, and its events.
struct Bench {
    sink: Sink,
    events: UnboundedReceiver<SinkEvent>,
    stop: (Stopper, StopSignal),
}

impl Bench {
    async fn new(options: SinkOptions) -> Self {
        let (sender, events) = unbounded_channel();
        Bench { sink: Sink::bind(options, sender).await.unwrap(), events, stop: stop_signal() }
    }

    fn client(&self) -> Client {
        let (ours, theirs) = duplex(4096);
        let Sink { shared, policy, security, .. } = &self.sink;
        let stop = self.stop.1.clone();
        tokio::spawn(Arc::clone(shared).session(Arc::clone(policy), *security, ours, "client".into(), stop));
        Client::over(theirs)
    }

    /// Returns the messages that were stored since the last call.
    fn received(&mut self) -> Vec<ReceivedMessage> {
        let mut received = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            if let SinkEvent::Received(message) = event {
                received.push(message);
            }
        }
        received
    }
}

fn recipients(message: &ReceivedMessage) -> String {
    let addresses = message.envelope.recipients.iter().map(|recipient| recipient.address.local_part());
    addresses.collect::<Vec<_>>().join(" ")
}

#[tokio::test(start_paused = true)]
async fn a_fault_shows_at_its_phase_and_nowhere_else() {
    // The fault, what the client sees, and the recipients of the message, if any.
    let cases = [
        ("connect=drop", "closed", None),
        ("connect=stall", "silence", None),
        ("greeting=554", "554 closed", None),
        ("greeting=drop", "closed", None),
        ("greeting=stall", "silence", None),
        ("ehlo=421", "220 421 closed", None),
        ("ehlo=502", "220 502 250 250 250 354 250 221", Some("a b")),
        ("ehlo=drop", "220 closed", None),
        ("ehlo=stall", "220 silence", None),
        ("mail=451", "220 250 451 503 503 503 221", None),
        ("mail:ann@example.org=550", "220 250 550 503 503 503 221", None),
        ("mail:bob@example.org=550", "220 250 250 250 250 354 250 221", Some("a b")),
        ("mail=421", "220 250 421 closed", None),
        ("mail=drop", "220 250 closed", None),
        ("mail=stall", "220 250 silence", None),
        ("rcpt=451", "220 250 250 451 451 554 221", None),
        ("rcpt=451*1", "220 250 250 451 250 354 250 221", Some("b")),
        ("rcpt:b@example.org=550", "220 250 250 250 550 354 250 221", Some("a")),
        ("rcpt=drop", "220 250 250 closed", None),
        ("rcpt=stall", "220 250 250 silence", None),
        ("data=452", "220 250 250 250 250 452 221", None),
        ("data=421", "220 250 250 250 250 421 closed", None),
        ("data=drop", "220 250 250 250 250 closed", None),
        ("data=stall", "220 250 250 250 250 silence", None),
        ("content=552", "220 250 250 250 250 354 552 221", None),
        ("content=421", "220 250 250 250 250 354 421 closed", None),
        ("content=drop", "220 250 250 250 250 354 closed", None),
        ("content=stall", "220 250 250 250 250 354 silence", None),
        ("dot=451", "220 250 250 250 250 354 451 221", None),
        ("dot=554", "220 250 250 250 250 354 554 221", None),
        ("dot=421", "220 250 250 250 250 354 421 closed", None),
        ("dot=drop", "220 250 250 250 250 354 closed", None),
        ("dot=stall", "220 250 250 250 250 354 silence", None),
        ("dot=lose-reply", "220 250 250 250 250 354 closed", Some("a b")),
        ("quit=421", "220 250 250 250 250 354 250 421", Some("a b")),
        ("quit=drop", "220 250 250 250 250 354 250 closed", Some("a b")),
        ("quit=stall", "220 250 250 250 250 354 250 silence", Some("a b")),
        (r"greeting=raw 220-a\r\n220 b", "220 250 250 250 250 354 250 221", Some("a b")),
        ("greeting=long 3000 554 no", "554 closed", None),
        ("ehlo=raw 250-x\\r\\n250 y", "220 250 250 250 250 354 250 221", Some("a b")),
        ("mail=lines 90 451 wait", "220 250 451 503 503 503 221", None),
        ("rcpt=raw 251 moved", "220 250 250 251 251 354 250 221", Some("a b")),
        ("rcpt=raw 550*1", "220 250 250 550 250 354 250 221", Some("b")),
        ("data=raw 354-go\\r\\n354 on", "220 250 250 250 250 354 250 221", Some("a b")),
        ("data=raw 451 wait", "220 250 250 250 250 451 221", None),
        ("dot=raw 254 4.7.1 suppressed", "220 250 250 250 250 354 254 221", Some("a b")),
        ("dot=long 60000 554 no", "220 250 250 250 250 354 554 221", None),
        ("greeting=raw 421 no", "421 closed", None),
        ("ehlo=raw 421 no", "220 421 closed", None),
        ("mail=raw 421-no\\r\\n421 no", "220 250 421 closed", None),
        ("content=raw 421 no", "220 250 250 250 250 354 421 closed", None),
        ("dot=raw 421 no", "220 250 250 250 250 354 421 closed", None),
    ];
    for (fault, heard, kept) in cases {
        let mut bench = Bench::new(plain(&[fault])).await;
        assert_eq!(transact(&mut bench.client()).await, heard, "{fault}");
        let received = bench.received();
        assert_eq!(received.first().map(recipients).as_deref(), kept, "{fault}");
        assert!(received.len() <= 1, "{fault}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_fault_every_octet_is_kept() {
    let mut bench = Bench::new(plain(&[])).await;
    assert_eq!(transact(&mut bench.client()).await, "220 250 250 250 250 354 250 221");
    let message = bench.received().remove(0);
    assert_eq!((recipients(&message).as_str(), message.protocol), ("a b", "ESMTP"));
    assert_eq!(message.envelope.reverse_path.to_string(), "ann@example.org");
    assert_eq!(message.content.read().unwrap(), b"Subject: x\r\n\r\n.dots\r\n");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_answered_behind_last_words() {
    let bench = Bench::new(plain(&["mail=421"])).await;
    let mut client = bench.client();
    client.hear().await;
    let pipelined = "EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@example.org>\r\nQUIT\r\n";
    assert_eq!(client.ask(pipelined).await.code(), "250");
    assert_eq!((client.hear().await.code(), client.hear().await), ("421".into(), Heard::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_refused_transaction_does_not_taint_the_next() {
    let mut bench = Bench::new(plain(&["mail=451*1", "rcpt=550*1"])).await;
    let mut client = bench.client();
    client.hear().await;
    for (said, code) in [
        ("EHLO me\r\n", "250"),
        ("MAIL FROM:<>\r\n", "451"),
        ("RSET\r\n", "250"),
        ("MAIL FROM:<>\r\n", "250"),
        ("RCPT TO:<a@example.org>\r\n", "550"),
        ("RSET\r\n", "250"),
        ("MAIL FROM:<>\r\n", "250"),
        ("RCPT TO:<b@example.org>\r\n", "250"),
        ("DATA\r\n", "354"),
        ("x\r\n.\r\n", "250"),
    ] {
        assert_eq!(client.ask(said).await.code(), code, "{said}");
    }
    assert_eq!(bench.received().iter().map(recipients).collect::<Vec<_>>(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn chunks_meet_the_same_faults_as_data() {
    let cases = [("quit=drop", "250 250", 1), ("data=452", "452 503", 0), ("dot=451", "250 451", 0)];
    for (fault, heard, kept) in cases {
        let mut bench = Bench::new(plain(&[fault])).await;
        let mut client = bench.client();
        client.hear().await;
        for said in ["EHLO me\r\n", "MAIL FROM:<>\r\n", "RCPT TO:<a@example.org>\r\n"] {
            assert_eq!(client.ask(said).await.code(), "250");
        }
        let codes = [client.ask("BDAT 3\r\nabc").await.code(), client.ask("BDAT 2 LAST\r\nde").await.code()];
        assert_eq!(codes.join(" "), heard, "{fault}");
        assert_eq!(bench.received().len(), kept, "{fault}");
    }
}

#[tokio::test(start_paused = true)]
async fn faults_change_while_it_runs() {
    let mut bench = Bench::new(plain(&[])).await;
    let faults = bench.sink.faults();
    faults.add("dot=451".parse().unwrap());
    assert!(transact(&mut bench.client()).await.ends_with("354 451 221"));
    faults.clear();
    assert!(transact(&mut bench.client()).await.ends_with("354 250 221"));
    assert_eq!(bench.received().len(), 1);
}

fn users() -> Vec<SinkUser> {
    vec![SinkUser { name: "apikey".into(), password: Secret::new("s3cret".into()) }]
}

/// Does a handshake as a client that trusts only the certificate of the sink.
async fn secure(client: Client, bench: &Bench) -> Client {
    client.secured(&connector_trusting(bench.sink.shared.certificate.pem()), "localhost").await.unwrap()
}

/// Does AUTH with the client side of rsasl. Returns the code of the last reply.
async fn authenticate(client: &mut Client, mechanism: &str, password: &str) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let config = SASLConfig::with_credentials(None, "apikey".into(), password.into()).unwrap();
    let name = Mechname::parse(mechanism.as_bytes()).unwrap();
    let mut sasl = SASLClient::new(config).start_suggested(&[name]).unwrap();
    let mut heard = client.ask(&format!("AUTH {mechanism}\r\n")).await;
    loop {
        if heard.code() != "334" {
            return heard.code();
        }
        let challenge = STANDARD.decode(heard.texts().concat()).unwrap();
        let mut response = Vec::new();
        let input = (!challenge.is_empty()).then_some(&challenge[..]);
        let said = match sasl.step(input, &mut response) {
            Ok(_) => STANDARD.encode(response),
            Err(_) => "*".into(),
        };
        heard = client.ask(&format!("{said}\r\n")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn auth_comes_after_tls_by_every_mechanism_and_before_mail() {
    for mechanism in auth::MECHANISMS {
        let mut bench = Bench::new(SinkOptions { users: users(), ..options() }).await;
        let mut client = bench.client();
        client.hear().await;
        let heard = client.ask("EHLO me\r\n").await;
        let offered = heard.texts();
        assert!(offered.contains(&"STARTTLS"), "{offered:?}");
        assert!(!offered.concat().contains("AUTH"), "{offered:?}");
        assert_eq!(client.ask("MAIL FROM:<>\r\n").await.code(), "530");
        assert_eq!(client.ask("STARTTLS\r\n").await.code(), "220");
        let mut client = secure(client, &bench).await;
        let heard = client.ask("EHLO me\r\n").await;
        let offers_all = heard.texts().contains(&&*format!("AUTH {}", auth::MECHANISMS.join(" ")));
        assert!(offers_all, "{heard:?}");
        assert_eq!(client.ask("MAIL FROM:<>\r\n").await.code(), "530", "{mechanism}");
        let refused = authenticate(&mut client, mechanism, "wrong").await;
        assert!(refused.starts_with('5'), "{mechanism}: {refused}");
        assert_eq!(client.ask("MAIL FROM:<>\r\n").await.code(), "530", "{mechanism}");
        assert_eq!(authenticate(&mut client, mechanism, "s3cret").await, "235", "{mechanism}");
        for said in ["MAIL FROM:<>\r\n", "RCPT TO:<a@example.org>\r\n"] {
            assert_eq!(client.ask(said).await.code(), "250", "{mechanism}");
        }
        assert_eq!(client.ask("DATA\r\n").await.code(), "354");
        assert_eq!(client.ask("x\r\n.\r\n").await.code(), "250");
        let message = bench.received().remove(0);
        assert_eq!((message.user.as_deref(), message.protocol), (Some("apikey"), "ESMTPSA"));
    }
}

#[tokio::test(start_paused = true)]
async fn faults_at_starttls_and_auth() {
    let cases = [
        ("starttls=454", "220 250 454"),
        ("starttls=drop", "220 250 closed"),
        ("starttls=stall", "220 250 silence"),
        ("auth=454", "220 250 220 250 454"),
        ("auth=535", "220 250 220 250 535"),
        ("auth=421", "220 250 220 250 421 closed"),
        ("auth=drop", "220 250 220 250 closed"),
        ("auth=stall", "220 250 220 250 silence"),
    ];
    for (fault, expected) in cases {
        let faults = vec![fault.parse().unwrap()];
        let bench = Bench::new(SinkOptions { users: users(), faults, ..options() }).await;
        let mut client = bench.client();
        let mut codes = vec![client.hear().await.code(), client.ask("EHLO me\r\n").await.code()];
        codes.push(client.ask("STARTTLS\r\n").await.code());
        if codes[2] == "220" {
            let mut client = secure(client, &bench).await;
            codes.push(client.ask("EHLO me\r\n").await.code());
            codes.push(authenticate(&mut client, "PLAIN", "s3cret").await);
            if expected.ends_with("421 closed") {
                codes.push(client.hear().await.code());
            }
        }
        assert_eq!(codes.join(" "), expected, "{fault}");
    }
}

#[tokio::test(start_paused = true)]
async fn implicit_tls_speaks_no_octet_in_the_clear() {
    let mut bench = Bench::new(SinkOptions { security: Security::Implicit, ..options() }).await;
    let mut client = secure(bench.client(), &bench).await;
    assert_eq!(transact(&mut client).await, "220 250 250 250 250 354 250 221");
    assert_eq!(bench.received()[0].protocol, "ESMTPS");

    let mut stranger = bench.client();
    // A TLS alert is not SMTP.
    assert_eq!(stranger.ask("EHLO me\r\n").await.code(), "garbage");
}

fn files(directory: &Path) -> BTreeSet<Vec<u8>> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
}

#[tokio::test]
async fn two_sessions_at_once_over_tcp_into_a_maildir() {
    let root = tempfile::tempdir().unwrap();
    let maildir = Some(root.path().to_owned());
    let (sender, mut events) = unbounded_channel();
    let sink =
        Sink::bind(SinkOptions { maildir, envelope_fields: true, ..plain(&[]) }, sender).await.unwrap();
    let address = sink.address();
    let (stopper, stop) = stop_signal();
    let running = tokio::spawn(sink.run(stop));

    let mut clients = Vec::new();
    for _ in 0..2 {
        clients.push(Client::connected(address.port()).await);
    }
    // The commands of the two sessions alternate.
    let steps =
        ["EHLO me\r\n", "MAIL FROM:<N@x>\r\n", "RCPT TO:<a@x>\r\n", "DATA\r\n", "N\r\n.\r\n", "QUIT\r\n"];
    for (step, code) in steps.into_iter().zip(["250", "250", "250", "354", "250", "221"]) {
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.ask(&step.replace('N', &number.to_string())).await.code(), code, "{step}");
        }
    }
    let expected: BTreeSet<Vec<u8>> = (0..2)
        .map(|n| format!("Return-Path: <{n}@x>\r\nX-Envelope-To: <a@x>\r\n{n}\r\n").into_bytes())
        .collect();
    assert_eq!(files(&root.path().join("new")), expected);
    assert_eq!(files(&root.path().join("tmp")), BTreeSet::new());

    stopper.stop(Instant::now());
    running.await.unwrap();
    let mut told = BTreeSet::new();
    while let Some(event) = events.recv().await {
        if let SinkEvent::Received(message) = event {
            told.insert(message.content.read().unwrap());
        }
    }
    assert_eq!(told, expected);
    assert!(TcpStream::connect(address).await.is_err(), "a stopped sink listens no more");
}

#[tokio::test]
async fn what_cannot_be_kept_is_not_acknowledged() {
    let root = tempfile::tempdir().unwrap();
    let maildir = Some(root.path().to_owned());
    let mut bench = Bench::new(SinkOptions { maildir, ..plain(&[]) }).await;
    std::fs::remove_dir(root.path().join("new")).unwrap();
    assert_eq!(transact(&mut bench.client()).await, "220 250 250 250 250 354 451 221");
    assert!(bench.received().is_empty());
    assert_eq!(files(&root.path().join("tmp")), BTreeSet::new());
}

#[tokio::test]
async fn only_what_works_is_begun() {
    let (sender, _events) = unbounded_channel();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:25"] {
        let options = SinkOptions { address: address.parse().unwrap(), ..plain(&[]) };
        let refused = Sink::bind(options, sender.clone()).await.err().unwrap();
        assert!(matches!(refused, SinkError::NotLoopback(_)), "{refused}");
    }
    let first = Sink::bind(plain(&[]), sender.clone()).await.unwrap();
    let options = SinkOptions { address: first.address(), ..plain(&[]) };
    let refused = Sink::bind(options, sender.clone()).await.err().unwrap();
    assert!(matches!(refused, SinkError::Bind { .. }), "{refused}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let options = SinkOptions { maildir: Some(file.path().to_owned()), ..plain(&[]) };
    let refused = Sink::bind(options, sender).await.err().unwrap();
    assert!(matches!(refused, SinkError::Maildir { .. }), "{refused}");
}
