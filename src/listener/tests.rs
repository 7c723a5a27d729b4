//! Tests of whole sessions: driver, buffers, limits and intake together.

mod driver;
pub(super) mod host;
mod logins;
mod memory;
mod secured;
mod served;
mod slow;
mod spooled;
mod stopping;

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use crate::config::ListenConfig;
use crate::far_end::client;

/// The idle timeout in these tests.
const IDLE: Duration = Duration::from_secs(300);

/// The time in which a client must read a reply in these tests.
const WRITE: Duration = Duration::from_secs(60);

/// Waits until `done` holds, which another task or thread brings about.
async fn until(done: impl Fn() -> bool) {
    let wait = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("it never came");
}

/// Stops a paused clock until the result is dropped. Without it, such a clock advances whenever no task is ready,
/// even if the kernel still has octets to deliver: each limit would end before the other side could send anything.
fn standstill() -> Sender<()> {
    let (held, ended) = channel();
    // A paused clock does not advance while a blocking task runs.
    tokio::task::spawn_blocking(move || ended.recv());
    held
}

/// Returns limits that are too high for a test to reach by accident.
pub(super) fn listen() -> ListenConfig {
    ListenConfig {
        addresses: vec!["127.0.0.1:0".parse().unwrap()],
        tls_addresses: Vec::new(),
        socket: None,
        hostname: "host.example.org".into(),
        max_message_size: 100 << 20,
        max_recipients: 1000,
        max_sessions: 500,
        max_sessions_per_uid: 500,
        max_messages_per_minute_per_uid: None,
        idle_timeout: IDLE,
        uid_in_received: false,
        certificate: None,
        logins: None,
        require_auth: false,
        limits: Vec::new(),
    }
}
