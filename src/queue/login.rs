//! The end of a pause for a refused login that does not wait for the clock: another secret.
//!
//! Promises: while the pause lasts the secret is looked at every few seconds, and the owner is told once when it is
//! another than the one refused; nothing is sent for it.
//!
//! Not here: how long the pause is (`breaker.rs`), where the secret comes from (`config/`).

use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;

use super::Command;
use super::courier::Desk;

const INTERVAL: Duration = Duration::from_secs(5);

/// A look-out for another secret, until it is dropped.
pub(super) struct SecretWatch(AbortHandle);

impl SecretWatch {
    /// Begins to watch the secret that has been refused.
    pub(super) fn begin(desk: Arc<Desk>) -> Self {
        SecretWatch(tokio::spawn(watch(desk)).abort_handle())
    }
}

impl Drop for SecretWatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn watch(desk: Arc<Desk>) {
    let carrier = &desk.settings.carrier;
    let Some(refused) = carrier.clone().secret_print().await else { return };
    loop {
        desk.clock.sleep(INTERVAL).await;
        // One that cannot be read is being written.
        let print = carrier.clone().secret_print().await;
        if print.is_some_and(|print| print != refused) {
            return desk.queue.tell(Command::SecretChanged);
        }
    }
}
