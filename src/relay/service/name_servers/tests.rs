use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::*;

/// What a name server says.
#[derive(Clone, Copy)]
pub(in super::super) enum Answer {
    /// These records: priority, weight and port, and the target.
    Records(&'static [([u16; 3], &'static str)]),
    /// So many records, each of another host.
    Many(usize),
    NoSuchName,
    Fails,
    /// Nothing.
    IsSilent,
    /// Datagrams of somebody on the way come first: nonsense, and a record with another id.
    IsForestalled(&'static [([u16; 3], &'static str)]),
}

impl Answer {
    fn octets(self, question: &[u8]) -> Vec<u8> {
        let question = Message::from_octets(question).unwrap();
        let code = match self {
            Answer::NoSuchName => Rcode::NXDOMAIN,
            Answer::Fails => Rcode::SERVFAIL,
            _ => Rcode::NOERROR,
        };
        let mut message = MessageBuilder::new_vec().start_answer(&question, code).unwrap();
        let owner = question.first_question().unwrap().into_qname();
        let mut push = |[priority, weight, port]: [u16; 3], target: &str| {
            let target: Name<Vec<u8>> = target.parse().unwrap();
            message.push((owner, 60, Srv::new(priority, weight, port, target))).unwrap();
        };
        match self {
            Answer::Records(records) | Answer::IsForestalled(records) => {
                records.iter().for_each(|(numbers, target)| push(*numbers, target));
            }
            Answer::Many(count) => {
                (0..count).for_each(|number| push([1, 1, 465], &format!("mx{number}.example.com.")))
            }
            Answer::NoSuchName | Answer::Fails | Answer::IsSilent => {}
        }
        message.finish()
    }

    /// Returns the datagrams: one that is too long is cut short.
    fn datagrams(self, question: &[u8]) -> Vec<Vec<u8>> {
        let whole = self.octets(question);
        match self {
            Answer::IsSilent => Vec::new(),
            Answer::IsForestalled(_) => {
                let mut other_id = Answer::Records(&[([1, 1, 465], "evil.example.")]).octets(question);
                other_id[0] ^= 1;
                vec![b"nonsense".to_vec(), other_id, whole]
            }
            _ if whole.len() <= 512 => vec![whole],
            _ => {
                let mut cut = Answer::Records(&[]).octets(question);
                cut[2] |= 2;
                vec![cut]
            }
        }
    }
}

/// A name server by script, on loopback, by UDP and by TCP.
pub(in super::super) struct ScriptedServer {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl ScriptedServer {
    /// Starts a server; `answer` gets whether the question is about `_submissions`.
    pub(in super::super) async fn start(answer: fn(bool) -> Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let socket = UdpSocket::bind(address).await.unwrap();
        let asked: Arc<AtomicUsize> = Arc::default();
        let count = asked.clone();
        let answer_to =
            move |question: &[u8]| answer(question.windows(13).any(|octets| octets == b"\x0c_submissions"));
        tokio::spawn(async move {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                count.fetch_add(1, Ordering::Relaxed);
                let question = &question[..length];
                for datagram in answer_to(question).datagrams(question) {
                    socket.send_to(&datagram, from).await.unwrap();
                }
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
                stream.read_exact(&mut question).await.unwrap();
                let answer = answer_to(&question).octets(&question);
                stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        });
        ScriptedServer { address, asked }
    }

    pub(in super::super) fn as_only_one(&self) -> NameServers {
        NameServers::These(vec![self.address])
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

const GOOD: &[([u16; 3], &str)] = &[([10, 5, 465], "mx1.example.com."), ([20, 0, 465], "mx2.example.com.")];

fn targets(found: &Result<Vec<SrvRecord>, String>) -> Vec<&str> {
    found.as_ref().unwrap().iter().map(|record| record.target.as_str()).collect()
}

#[tokio::test]
async fn an_answer_has_its_records() {
    let server = ScriptedServer::start(|_| Answer::Records(GOOD)).await;
    let found = server.as_only_one().records("_submissions._tcp.example.com").await.unwrap();
    let record =
        |priority, weight, target: &str| SrvRecord { priority, weight, port: 465, target: target.into() };
    assert_eq!(found, [record(10, 5, "mx1.example.com"), record(20, 0, "mx2.example.com")]);
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn forged_datagrams_are_passed_over() {
    let server = ScriptedServer::start(|_| Answer::IsForestalled(GOOD)).await;
    let found = server.as_only_one().records("_submission._tcp.example.com").await;
    assert_eq!(targets(&found), ["mx1.example.com", "mx2.example.com"]);
}

#[tokio::test]
async fn an_answer_that_is_too_long_comes_by_tcp() {
    let server = ScriptedServer::start(|_| Answer::Many(300)).await;
    let found = server.as_only_one().records("_submission._tcp.example.com").await.unwrap();
    assert_eq!(found.len(), 300);
}

/// Each case: what the first server says, and how often it is asked before the second one answers.
#[tokio::test(start_paused = true)]
async fn promise_2_the_next_server_is_asked() {
    let second = ScriptedServer::start(|_| Answer::Records(GOOD)).await;
    for first in [(|_| Answer::Fails) as fn(bool) -> Answer, |_| Answer::IsSilent] {
        let first = ScriptedServer::start(first).await;
        let servers = NameServers::These(vec![first.address, second.address]);
        assert_eq!(
            targets(&servers.records("_submission._tcp.example.com").await),
            ["mx1.example.com", "mx2.example.com"]
        );
        assert_eq!(first.asked(), 1);
    }
    let dead = NameServers::These(vec!["127.0.0.1:1".parse().unwrap(), second.address]);
    assert_eq!(targets(&dead.records("_submission._tcp.example.com").await).len(), 2);
}

/// Each case: what the only server says, and the records or the error.
#[tokio::test(start_paused = true)]
async fn promise_3_no_such_name_is_an_answer_and_a_failure_a_sentence() {
    for (answer, expected) in [
        ((|_| Answer::NoSuchName) as fn(bool) -> Answer, Ok(Vec::new())),
        (
            |_| Answer::Fails,
            Err("the name server 127.0.0.1: it cannot find the answer (SERVFAIL)".to_owned()),
        ),
        (|_| Answer::IsSilent, Err("the name server 127.0.0.1: no answer within 5 s".to_owned())),
    ] {
        let server = ScriptedServer::start(answer).await;
        assert_eq!(server.as_only_one().records("_submission._tcp.example.com").await, expected);
        assert_eq!(server.asked(), 1);
    }
    let dead = NameServers::These(vec!["127.0.0.1:1".parse().unwrap()]);
    let told = dead.records("_submission._tcp.example.com").await.unwrap_err();
    // By the system, or by the end of our patience.
    assert!(told.starts_with("the name server 127.0.0.1: "), "{told}");
    let long = format!("_submission._tcp.{}", "a.".repeat(130));
    assert!(dead.records(&long).await.unwrap_err().ends_with("is no name that DNS can have"));
}

#[test]
fn promise_1_what_resolv_conf_says() {
    let cases: [(&str, &[&str], usize, u64); 6] = [
        ("", &["127.0.0.1:53"], 2, 5),
        ("# nameserver 192.0.2.9\nsearch example.com\n", &["127.0.0.1:53"], 2, 5),
        (
            "nonsense\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 \nnameserver localhost\noptions edns0 trust-ad\n",
            &["192.0.2.1:53", "[2001:db8::1]:53"],
            2,
            5,
        ),
        (
            "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n",
            &["192.0.2.1:53", "192.0.2.2:53", "192.0.2.3:53"],
            2,
            5,
        ),
        ("options timeout:1 attempts:1\n", &["127.0.0.1:53"], 1, 1),
        ("options timeout:0 attempts:9\noptions timeout:30\n", &["127.0.0.1:53"], 3, 5),
    ];
    for (text, servers, attempts, seconds) in cases {
        let servers = servers.iter().map(|server| server.parse().unwrap()).collect();
        let expected = AskingOrder { servers, attempts, wait: Duration::from_secs(seconds) };
        assert_eq!(listed(text), expected, "{text:?}");
    }
}

/// A laptop that came to another network asked the servers of the last one until the daemon was started again.
#[tokio::test]
async fn promise_1_the_file_is_read_anew() {
    let directory = tempfile::tempdir().unwrap();
    let servers = NameServers::ListedIn(directory.path().join("resolv.conf"));
    for server in ["192.0.2.1", "192.0.2.2"] {
        fs::write(directory.path().join("resolv.conf"), format!("nameserver {server}\n")).unwrap();
        assert_eq!(servers.order().await.servers[0].ip().to_string(), server);
    }
}
