//! The sessions in `tests/relays/sessions/*.smtp`.

use super::*;
use crate::relay::Transaction;
use crate::relay::testing::{Given, transaction};

/// One file: the mechanisms that are allowed (all, by default), the messages from ann@example.org, the script, what is
/// reported, and how the session ends: `ok`, or the phase and the words of the trouble. A script that goes on behind a
/// handshake (`!tls`) is for a relay that is verified, another one for a relay on loopback.
#[derive(Default)]
struct Session {
    mechanisms: Option<Vec<config::Mechanism>>,
    messages: Vec<Transaction>,
    plain: String,
    protected: Option<String>,
    reports: Vec<String>,
    end: String,
}

fn session(text: &str) -> Session {
    let mut session = Session::default();
    let mut script = String::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("mechanisms", names) => {
                let named =
                    |mechanism: &config::Mechanism| names.split(' ').any(|name| name == mechanism.name());
                session.mechanisms = Some(config::Mechanism::all().filter(named).collect());
            }
            ("message", message) => {
                let (envelope, content) = message.split_once(": ").unwrap();
                let (id, to) = envelope.split_once(' ').unwrap();
                let content = format!("{content}\r\n");
                session.messages.push(transaction(id.parse().unwrap(), "ann@example.org", &[to], &content));
            }
            ("report", report) => session.reports.push(report.into()),
            ("end", end) => session.end = end.into(),
            _ => script.extend([line, "\n"]),
        }
    }
    match script.split_once("!tls\n") {
        Some((plain, protected)) => {
            (session.plain, session.protected) = (format!("{plain}!tls\n"), Some(protected.into()));
        }
        None => session.plain = script,
    }
    session
}

/// Returns the reports, the end of the session in words, and what the relay heard behind its scripts.
async fn held(session: Session, relay: &Identity) -> (Vec<String>, String, String) {
    let tls = session.protected.as_ref().map_or(Tls::None, |_| Tls::StartTls(pinned(relay)));
    let (mut settings, _file) = with_tls(tls);
    settings.auth.as_mut().unwrap().mechanisms = session.mechanisms;
    let address = if session.protected.is_some() { "192.0.2.5:587" } else { "127.0.0.1:2525" };
    let (near, far) = wire(address);
    let (protection, _) = Protection::new(&settings.tls, &settings.hosts).unwrap();
    let peer = Peer { name: "mx.example".into(), address: address.parse().unwrap(), tls: None, route: None };
    let mut given = Given::new(session.messages);
    let holding = async {
        let flight = FirstFlight::new(KeyExchange::PostQuantum);
        let login = settings.auth.clone().map(Login::new);
        let opened = open(near, peer, &settings, &protection, &flight, login.as_ref()).await;
        opened?.run(&mut given).await
    };
    let serving = async {
        let mut far = BufReader::new(far);
        let mut rest = play(&mut far, &session.plain).await;
        if let Some(protected) = session.protected {
            rest += &play(relay.acceptor().accept(&mut far).await.unwrap(), &protected).await;
        }
        rest
    };
    let (result, rest) = tokio::join!(holding, serving);
    let peer = format!(
        "mx.example[{}]:{}: ",
        &address[..address.find(':').unwrap()],
        address.split(':').nth(1).unwrap()
    );
    let end = result.err().map_or("ok".into(), |trouble: Trouble| trouble.to_string().replacen(&peer, "", 1));
    (given.told(), end, rest)
}

#[tokio::test(start_paused = true)]
async fn sessions() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/relays/sessions");
    let relay = Authority::new().identity("mx.example");
    let mut held_so_far = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        let session = session(&std::fs::read_to_string(&path).unwrap());
        let expected = (session.reports.clone(), session.end.clone(), String::new());
        assert_eq!(held(session, &relay).await, expected, "{}", path.display());
        held_so_far += 1;
    }
    assert!(held_so_far > 25, "{held_so_far} sessions in {directory}");
}
