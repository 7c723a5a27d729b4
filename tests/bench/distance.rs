//! A path to a server that takes time: octets arrive half a round trip after they were sent, in both directions.
//!
//! The delay is in the path and not in the sink, so that it is the same for every client, whatever waits for what: for the
//! handshake of TLS, for commands one by one, and for groups of them. A path has no limit of octets under way.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, sleep_until};

use crate::Outcome;

/// A running path; its drop ends it.
pub struct Distance(Option<tokio::runtime::Runtime>);

impl Distance {
    /// Makes port `here` of 127.0.0.1 lead to port `there`, a round trip away.
    pub fn start(here: u16, there: u16, round_trip: Duration) -> Outcome<Distance> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let listener = runtime.block_on(TcpListener::bind(local(here)))?;
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A connection that fails is its client's trouble.
                tokio::spawn(join(client, local(there), round_trip / 2));
            }
        });
        Ok(Distance(Some(runtime)))
    }
}

impl Drop for Distance {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

async fn join(client: TcpStream, server: SocketAddr, delay: Duration) -> io::Result<()> {
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::try_join!(carry(from_client, to_server, delay), carry(from_server, to_client, delay)).map(drop)
}

/// Carries octets until one end closes.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) -> io::Result<()> {
    let (under_way, mut arriving) = unbounded_channel::<(Instant, Vec<u8>)>();
    let departures = async move {
        let mut octets = vec![0; 16 << 10];
        loop {
            let read = from.read(&mut octets).await?;
            if read == 0 || under_way.send((Instant::now() + delay, octets[..read].to_vec())).is_err() {
                return io::Result::Ok(());
            }
        }
    };
    let arrivals = async move {
        while let Some((due, octets)) = arriving.recv().await {
            sleep_until(due).await;
            to.write_all(&octets).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(departures, arrivals).map(drop)
}
