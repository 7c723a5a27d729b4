//! One run of the drain part, for each subject.
//!
//! Everything is spooled before the relay comes up. A run begins with the operator's flush, and ends when the sink has all
//! messages. The sink gets the same from each: as many connections at once, as many messages over one, TLS 1.3 (each takes
//! the cipher that rustls prefers), and the same octets from nullmta and from the bare client.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::distance::Distance;
use crate::load::{self, Target};
use crate::postfix::Postfix;
use crate::server::{Program, Server, free_port};
use crate::sink::{Certificate, Sink};
use crate::tls_client;

/// Connections that the relay gets from each, which is the default of nullmta.
const CONNECTIONS: usize = 20;

/// Sessions that fill a spool, and that send while it drains.
pub const SESSIONS: usize = 20;

/// The conditions of a run.
pub struct DrainRun<'a> {
    pub certificate: &'a Certificate,
    /// The content of a message as nullmta sends it, with the final dot.
    pub content: &'a [u8],
    pub round_trip: Duration,
    pub messages: usize,
}

/// Seconds from the flush to the first message, and to the last one.
pub struct Drained {
    pub first: f64,
    pub all: f64,
}

/// A relay that has come up.
pub struct RelayUp {
    pub sink: Sink,
    _distance: Option<Distance>,
}

impl RelayUp {
    /// Waits for so many messages, from `begin` on.
    fn wait(&self, begin: Instant, messages: usize) -> Outcome<Drained> {
        let after = |messages| {
            self.sink.wait_for(messages)?;
            Outcome::Ok(begin.elapsed().as_secs_f64())
        };
        Ok(Drained { first: after(1)?, all: after(messages)? })
    }
}

impl DrainRun<'_> {
    /// Lets the relay come up at `port`.
    pub fn relay_up(&self, port: u16) -> Outcome<RelayUp> {
        if self.round_trip.is_zero() {
            return Ok(RelayUp { sink: Sink::with_login(port, self.certificate, None)?, _distance: None });
        }
        let sink = Sink::with_login(0, self.certificate, None)?;
        let distance = Distance::start(port, sink.port, self.round_trip)?;
        Ok(RelayUp { sink, _distance: Some(distance) })
    }

    /// Drains a nullmta.
    pub fn nullmta(&self, program: &Program, base: &Path) -> Outcome<Drained> {
        let (relay, base) = (free_port()?, base.join(program.subject.name()));
        let server = Server::nullmta_with_login(program, &base, relay, &self.certificate.chain)?;
        load::send(server.port(), SESSIONS, self.messages)?;
        let up = self.relay_up(relay)?;
        let begin = Instant::now();
        // It returns when the relay has been reached; counting goes on meanwhile.
        std::thread::scope(|scope| {
            let flush = scope.spawn(|| server.flush().map_err(|error| error.to_string()));
            let drained = up.wait(begin, self.messages);
            flush.join().map_err(|_| "the flush panicked")??;
            drained
        })
    }

    /// Sends by a client that does nothing else.
    pub fn bare(&self) -> Outcome<Drained> {
        let relay = free_port()?;
        let up = self.relay_up(relay)?;
        let begin = Instant::now();
        let (chain, messages) = (&self.certificate.chain, self.messages);
        std::thread::scope(|scope| {
            let sending = || {
                tls_client::send(relay, chain, self.content, CONNECTIONS, messages)
                    .map_err(|error| error.to_string())
            };
            let sending = scope.spawn(sending);
            let drained = up.wait(begin, messages);
            sending.join().map_err(|_| "the bare client panicked")??;
            drained
        })
    }

    /// Drains a Postfix.
    pub fn postfix(&self, base: &Path) -> Outcome<Drained> {
        let relay = free_port()?;
        let postfix = Postfix::start_holding(&base.join("Postfix"), relay)?;
        load::send(postfix.port(), SESSIONS, self.messages)?;
        postfix.release()?;
        let up = self.relay_up(relay)?;
        let begin = Instant::now();
        postfix.drain()?;
        up.wait(begin, self.messages)
    }
}

/// Returns the content of a message of the load generator as nullmta sends it to the relay, with the final dot.
pub fn as_sent(program: &Program, certificate: &Certificate, base: &Path) -> Outcome<Vec<u8>> {
    let (relay, maildir) = (free_port()?, base.join("maildir"));
    let server = Server::nullmta_with_login(program, base, relay, &certificate.chain)?;
    let sink = Sink::with_login(relay, certificate, Some(&maildir))?;
    load::send(server.port(), 1, 1)?;
    sink.wait_for(1)?;
    let file = fs::read_dir(maildir.join("new"))?.next().ok_or("the sink has kept no message")??;
    // No line of it begins with a dot.
    Ok([fs::read(file.path())?, b".\r\n".to_vec()].concat())
}
