//! Whole sessions: driver, buffers, limits and intake together.

mod driver;
mod memory;
mod secured;
mod served;
mod slow;
pub(super) mod spooled;
mod stopping;

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use crate::config::ListenConfig;
use crate::far_end::client;

/// How long a session may idle, in these tests.
const IDLE: Duration = Duration::from_secs(300);

/// How long a client may leave replies unread.
const WRITE: Duration = Duration::from_secs(60);

/// Waits until what another task or thread does is done.
async fn until(done: impl Fn() -> bool) {
    let wait = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("it never came");
}

/// Holds a paused clock still until it is dropped. Without it such a clock goes on as soon as no task is ready, though
/// the kernel may have octets on their way: each limit is over before the other side could speak.
fn standstill() -> Sender<()> {
    let (held, ended) = channel();
    // A paused clock waits for what blocks.
    tokio::task::spawn_blocking(move || ended.recv());
    held
}

/// Limits that no test meets by accident.
pub(super) fn listen() -> ListenConfig {
    ListenConfig {
        addresses: vec!["127.0.0.1:0".parse().unwrap()],
        socket: None,
        hostname: "host.example.org".into(),
        max_message_size: 100 << 20,
        max_recipients: 1000,
        max_sessions: 500,
        max_sessions_per_uid: 500,
        max_messages_per_minute_per_uid: None,
        idle_timeout: IDLE,
        certificate: None,
    }
}
