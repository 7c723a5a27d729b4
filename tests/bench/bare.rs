//! A server that is nullmta's listener with nothing behind it: the same driver and session core, on the same
//! runtime, for a backend that forgets what it is given. A process of its own, as the daemon is. It is not the
//! scripted server of the other tests (`tests/far_end/`), since the listener's own cost is what is measured.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use nullmta::envelope::Envelope;
use nullmta::listener::backend::{Backend, Hello};
use nullmta::listener::drive::{ClientConnection, Pace, drive};
use nullmta::listener::repeats::RepeatTally;
use nullmta::listener::stop::{StopSignal, stop_signal};
use nullmta::smtp::session::{Durable, MessageRefusal, Session, SessionPolicy};

use crate::Outcome;

/// Makes the benchmark this server instead.
pub const ARGUMENT: &str = "--serve-nothing";

const PACE: Pace = Pace::even(Duration::from_secs(300));

/// Says its port on standard output, and serves until it is killed.
pub fn serve() -> Outcome<()> {
    nullmta::daemon::runtime()?.block_on(accept())
}

async fn accept() -> Outcome<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    let (_stopper, stop) = stop_signal();
    let policy = Arc::new(SessionPolicy::plain("bare.example", 50 << 20, 1000));
    loop {
        let (stream, peer) = listener.accept().await?;
        tokio::spawn(session(stream, peer.to_string(), policy.clone(), stop.clone()));
    }
}

async fn session(stream: TcpStream, client: String, policy: Arc<SessionPolicy>, stop: StopSignal) {
    // As the daemon has it; without, only the latency would be worse.
    let _ = stream.set_nodelay(true);
    let connection =
        ClientConnection { stream: Box::new(stream), client, tally: RepeatTally::new(), pace: PACE, stop };
    drive(Session::new(policy), Nowhere, connection).await;
}

/// Takes everything, keeps nothing.
struct Nowhere;

/// Proof of nothing at all.
struct Forgotten;

impl Durable for Forgotten {
    fn queue_id(&self) -> String {
        "0000000000000000".into()
    }
}

impl Backend for Nowhere {
    type Proof = Forgotten;
    type Intake = ();

    async fn open(&mut self, _: Envelope, _: Hello<'_>) -> Result<(), MessageRefusal> {
        Ok(())
    }

    async fn write(&mut self, (): &mut (), _: &[u8]) -> Result<(), MessageRefusal> {
        Ok(())
    }

    async fn commit(&mut self, (): ()) -> Result<Forgotten, MessageRefusal> {
        Ok(Forgotten)
    }
}
