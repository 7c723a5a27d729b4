//! Finds out that a port speaks TLS from the first octet, while a greeting is awaited there.
//!
//! Such a port waits for our ClientHello as we wait for its greeting, for five minutes, and then nobody knows why. But a
//! relay that holds its greeting back on purpose, for up to a minute, is silent in the same way. So:
//!
//! Promises:
//! 1. The wait for the greeting goes on beside the look, and has its whole time limit. Only an answer that is TLS ends it.
//! 2. The look is one connection more with one ClientHello, made after [`SILENCE`]. No more of a handshake is made there.
//! 3. Some relays count it against a client that it speaks before the greeting. So an address that does not answer by TLS is
//!    looked at once a day, and a relay that greets within [`SILENCE`] never.
//! 4. A port that takes one client at a time does not answer the look. So the log names what may be wrong in any case.
//!
//! Not here: the words for the operator (`opening.rs`), handshakes (`tls.rs`).
//!
//! RFC 8314 3.3, RFC 8446 5.1 (records).

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use super::dial::Network;
use super::remembered::PERIOD;
use super::trouble::Peer;
use crate::log;

/// The silence after which a port is looked at. Most relays that delay their greeting on purpose wait for less.
const SILENCE: Duration = Duration::from_secs(20);

/// The time limit of the look.
const LIMIT: Duration = Duration::from_secs(10);

/// Upper bound of the addresses that are remembered. Of more, the oldest is forgotten.
const MOST: usize = 64;

/// The types of the records with which a server may answer a ClientHello.
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

/// The addresses that were looked at within the last day, and are not known to speak TLS at once.
pub(crate) struct PortLooks {
    silence: Duration,
    seen: Mutex<Vec<(SocketAddr, Instant)>>,
}

impl Default for PortLooks {
    fn default() -> Self {
        PortLooks::behind(SILENCE)
    }
}

impl PortLooks {
    /// Returns looks that are taken after a silence of another length, for somebody who waits for what is found.
    pub(crate) fn behind(silence: Duration) -> Self {
        PortLooks { silence, seen: Mutex::default() }
    }

    /// Ends when it is found that the port of `peer` speaks TLS at once; never ends otherwise.
    pub(crate) async fn finds_tls<N: Network>(&self, network: &N, peer: &Peer, hello: Vec<u8>) {
        let begun = Instant::now();
        sleep(self.silence).await;
        if self.begin(peer.address) {
            let looking = speaks_tls(network, peer.address, &hello);
            if timeout(LIMIT, looking).await.ok().flatten() == Some(true) {
                self.forget(peer.address);
                return;
            }
            log::no_greeting_yet(peer.route(), peer, begun.elapsed());
        }
        std::future::pending().await
    }

    /// Returns true if the address may be looked at, and remembers that it is.
    fn begin(&self, address: SocketAddr) -> bool {
        let now = Instant::now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|(_, at)| now < *at + PERIOD);
        if seen.iter().any(|(known, _)| *known == address) {
            return false;
        }
        if seen.len() == MOST {
            seen.remove(0);
        }
        seen.push((address, now));
        true
    }

    fn forget(&self, address: SocketAddr) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|(known, _)| *known != address);
    }
}

/// Returns whether the answer to this ClientHello is TLS; `None` if there is none.
async fn speaks_tls<N: Network>(network: &N, address: SocketAddr, hello: &[u8]) -> Option<bool> {
    let mut stream = network.connect(address).await.ok()?;
    stream.write_all(hello).await.ok()?;
    stream.flush().await.ok()?;
    // The type of the record, and the first octet of its version.
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.ok()?;
    Some(matches!(head, [ALERT | HANDSHAKE, 3]))
}

#[cfg(test)]
mod tests {
    use super::super::testing::authority::{Authority, tls_settings};
    use super::super::testing::network::{Far, NOW, Scripted};
    use super::super::testing::settings;
    use super::super::{Relay, Trouble};
    use super::*;
    use crate::config::{HostOrIp, RelayConfig, RelayHost, RelayPort, Tls, Trust};

    const AT: &str = "192.0.2.5:2465";
    const GREETS: &str = "S: 220 mx ESMTP\nC: EHLO client.example\nS: 250 mx";

    /// Tries to open a session with a relay that should begin with STARTTLS, `tries` times. Returns the last trouble, and
    /// the times of the connections in milliseconds.
    async fn tried(far: Far, tries: usize) -> (Trouble, Vec<String>) {
        let ca = Authority::new().file();
        let tls = Tls::StartTls(tls_settings(Trust::CaFile(ca.path().into())));
        let host = RelayHost { host: HostOrIp::Name("mx".into()), port: RelayPort::Number(2465) };
        let relay = Relay::new(RelayConfig { hosts: vec![host], tls, ..settings() }).unwrap();
        let network = Scripted::new(&[("mx", &["192.0.2.5"])], &[(AT, far)]);
        let mut told = None;
        for _ in 0..tries {
            told = relay.connect_over(&network).await.err();
        }
        let dialled = network.dialled();
        (told.unwrap(), dialled.into_iter().map(|line| line.replace(&format!("{AT} @"), "")).collect())
    }

    /// A relay with implicit TLS on another port than 465 was trouble without a reason, and that after five minutes.
    #[tokio::test(start_paused = true)]
    async fn a_port_that_speaks_tls_at_once_is_told_of_within_seconds() {
        let (trouble, dialled) = tried(Far::SpeaksTls, 2).await;
        assert_eq!(
            trouble.to_string(),
            "configuration: mx[192.0.2.5]:2465: greeting: the relay sends no greeting, and speaks TLS from the first octet on \
             this port: set tls.mode = \"implicit\""
        );
        assert_eq!(dialled, ["0", "20000", "20000", "40000"], "each try tells it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_greeting_that_is_held_back_is_waited_for() {
        // The relay takes no other client meanwhile, answers it as SMTP, or hangs up on it.
        for seconds in [1, 21, 60, 290] {
            for second in ["", "S: 554 5.5.1 speak when you are spoken to\n!close", "!close"] {
                let far = Far::GreetsLate(Duration::from_secs(seconds), GREETS, second);
                let (trouble, dialled) = tried(far, 3).await;
                let told = trouble.to_string();
                assert!(
                    told.contains(
                        "the relay does not offer STARTTLS: nothing is sent without it; name another port"
                    ),
                    "{told}"
                );
                let expected = if seconds < 20 { 3 } else { 4 };
                assert_eq!(dialled.len(), expected, "one look a day: {dialled:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_relay_that_is_silent_to_everything_keeps_its_five_minutes() {
        let (trouble, dialled) = tried(Far::Accepts(NOW, ""), 1).await;
        let told = trouble.to_string();
        assert!(
            told.starts_with("mx[192.0.2.5]:2465: greeting: no answer within 300 s; does tls.mode fit"),
            "{told}"
        );
        assert_eq!(dialled, ["0", "20000"]);
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_addresses_the_oldest_is_forgotten() {
        let looks = PortLooks::default();
        let at = |port: usize| SocketAddr::new("192.0.2.5".parse().unwrap(), u16::try_from(port).unwrap());
        assert!((1..=MOST).all(|port| looks.begin(at(port))));
        assert!(!looks.begin(at(1)) && looks.begin(at(MOST + 1)) && looks.begin(at(1)));
        tokio::time::advance(PERIOD).await;
        assert!(looks.begin(at(MOST)));
    }
}
