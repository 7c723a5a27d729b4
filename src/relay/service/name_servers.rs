//! Asks the name servers of this host for SRV records.
//!
//! Promises:
//! 1. The servers are those of `/etc/resolv.conf`, which is read anew for each question, as is its `timeout` and
//!    `attempts`; the first [`MOST_SERVERS`] are asked in their order. Lines that mean nothing to us are passed over.
//! 2. A server that does not answer in time, fails or refuses is followed by the next one; each is asked up to `attempts`
//!    times, of which there are at most [`MOST_ATTEMPTS`], and awaited for at most [`LONGEST_WAIT`].
//! 3. "There is no such name" is an answer without records, and ends the question.
//!
//! The exchange by UDP, and by TCP for an answer that is too long, is that of the library: random ids and ports, and only
//! datagrams that answer the question.
//!
//! Not here: the choice among the records (`service.rs`).
//!
//! RFC 1035, RFC 5452, resolv.conf(5).

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::base::iana::Rcode;
use domain::base::{Message, MessageBuilder, Name, Rtype};
use domain::net::client::dgram_stream;
use domain::net::client::protocol::{TcpConnect, UdpConnect};
use domain::net::client::request::{RequestMessage, SendRequest};
use domain::rdata::Srv;
use domain::resolv::stub::conf::ResolvConf;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// The number of servers that resolv.conf(5) allows.
const MOST_SERVERS: usize = 3;
const MOST_ATTEMPTS: usize = 3;
/// The default of `timeout` in resolv.conf(5), and here the longest.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

type Question = RequestMessage<Vec<u8>>;

/// One host that an SRV record names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SrvRecord {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    /// The name of the host without a dot at its end; `.` if the service is not offered.
    pub(super) target: String,
}

/// The name servers that are asked.
#[derive(Clone, Debug)]
pub(crate) enum NameServers {
    /// Those that this file names, in the form of resolv.conf(5).
    ListedIn(PathBuf),
    /// These, each asked once.
    #[cfg(test)]
    These(Vec<SocketAddr>),
}

impl Default for NameServers {
    fn default() -> Self {
        NameServers::ListedIn("/etc/resolv.conf".into())
    }
}

/// The servers, and for how long each is asked.
#[derive(Debug, PartialEq, Eq)]
struct AskingOrder {
    servers: Vec<SocketAddr>,
    attempts: usize,
    wait: Duration,
}

impl NameServers {
    /// Returns the SRV records of `name`. The error is a sentence about the server that was asked last.
    pub(super) async fn records(&self, name: &str) -> Result<Vec<SrvRecord>, String> {
        let question = question(name).ok_or_else(|| format!("{name} is no name that DNS can have"))?;
        let order = self.order().await;
        let mut told = "there is no name server".to_owned();
        for server in std::iter::repeat_n(&order.servers, order.attempts).flatten() {
            let answer = match timeout(order.wait, ask(*server, question.clone())).await {
                Ok(answer) => answer,
                Err(_) => Err(format!("no answer within {} s", order.wait.as_secs())),
            };
            match answer {
                Ok(records) => return Ok(records),
                Err(error) => told = format!("the name server {}: {error}", server.ip()),
            }
        }
        Err(told)
    }

    async fn order(&self) -> AskingOrder {
        match self {
            NameServers::ListedIn(path) => {
                let path = path.clone();
                // A thread that panics has read nothing.
                spawn_blocking(move || listed_in(&path)).await.unwrap_or_else(|_| listed(""))
            }
            #[cfg(test)]
            NameServers::These(servers) => {
                AskingOrder { servers: servers.clone(), attempts: 1, wait: LONGEST_WAIT }
            }
        }
    }
}

/// Returns what the file says; what is said without it, if it cannot be read (resolv.conf(5)).
fn listed_in(path: &Path) -> AskingOrder {
    listed(&fs::read_to_string(path).unwrap_or_default())
}

/// Returns what the text of a resolv.conf says. Without a server it is the one on this host.
fn listed(text: &str) -> AskingOrder {
    let mut conf = ResolvConf::new();
    // The library stops at a line that it does not know, so that each is read by itself.
    for line in text.lines().filter(|line| !names_a_server_by_name(line)) {
        let _ = conf.parse(&mut line.as_bytes());
    }
    conf.finalize();
    AskingOrder {
        servers: conf.servers.iter().map(|server| server.addr).take(MOST_SERVERS).collect(),
        attempts: conf.options.attempts.clamp(1, MOST_ATTEMPTS),
        wait: conf.options.timeout.clamp(Duration::from_secs(1), LONGEST_WAIT),
    }
}

/// Returns true if `line` names a server by a name, for which another server would have to be asked.
fn names_a_server_by_name(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    let is_server = words.next() == Some("nameserver");
    // The zone of a link-local address stands behind a percent sign.
    let is_address = |word: &str| word.contains('%') || word.parse::<std::net::IpAddr>().is_ok();
    is_server && !words.next().is_some_and(is_address)
}

fn question(name: &str) -> Option<Question> {
    let name: Name<Vec<u8>> = name.parse().ok()?;
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_rd(true);
    let mut message = message.question();
    message.push((name, Rtype::SRV)).ok()?;
    RequestMessage::new(message.into_message()).ok()
}

/// Asks one server.
async fn ask(server: SocketAddr, question: Question) -> Result<Vec<SrvRecord>, String> {
    let mut settings = dgram_stream::Config::new();
    settings.dgram_mut().set_max_retries(0);
    // Longer than we wait ourselves.
    settings.dgram_mut().set_read_timeout(LONGEST_WAIT * 2);
    // No EDNS: servers that know none would refuse, and a long answer comes by TCP.
    settings.dgram_mut().set_udp_payload_size(None);
    let (connection, transport) =
        dgram_stream::Connection::with_config(UdpConnect::new(server), TcpConnect::new(server), settings);
    let mut asked = connection.send_request(question);
    let answer = tokio::select! {
        answer = asked.get_response() => answer.map_err(|error| error.to_string())?,
        () = transport.run() => return Err("the connection ended".into()),
    };
    match answer.header().rcode() {
        Rcode::NOERROR | Rcode::NXDOMAIN => records_in(&answer).ok_or_else(|| "its answer is broken".into()),
        Rcode::SERVFAIL => Err("it cannot find the answer (SERVFAIL)".into()),
        Rcode::REFUSED => Err("it refuses the question (REFUSED)".into()),
        code => Err(format!("it fails with the code {code}")),
    }
}

/// Returns the SRV records that answer the question; `None` if the answer cannot be read.
fn records_in(answer: &Message<impl AsRef<[u8]>>) -> Option<Vec<SrvRecord>> {
    let answer = answer.for_slice();
    let name = answer.canonical_name()?;
    let mut records = Vec::new();
    for record in answer.answer().ok()?.limit_to_in::<Srv<_>>() {
        let record = record.ok()?;
        if record.owner() == &name {
            let found = record.data();
            records.push(SrvRecord {
                priority: found.priority(),
                weight: found.weight(),
                port: found.port(),
                target: found.target().to_string(),
            });
        }
    }
    Some(records)
}

#[cfg(test)]
pub(super) mod tests;
