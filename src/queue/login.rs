//! The end of a pause for a refused login that does not wait for the clock: another secret.
//!
//! Promises: while the pause lasts the secret is looked at every few seconds, and the owner is told once when it is
//! another than the one refused; nothing is sent for it.
//!
//! Not here: how long the pause is (`breaker.rs`), where the secret comes from (`config/`).

use std::sync::Arc;
use std::time::Duration;

use super::desk::Desk;
use super::reducer::Event;

const INTERVAL: Duration = Duration::from_secs(5);

/// Watches the secret that has been refused until it is another.
pub(super) async fn another_secret(desk: Arc<Desk>) -> Option<Event> {
    let carrier = &desk.settings.carrier;
    let refused = carrier.clone().secret_print().await?;
    loop {
        desk.clock.sleep(INTERVAL).await;
        // One that cannot be read is being written.
        let print = carrier.clone().secret_print().await;
        if print.is_some_and(|print| print != refused) {
            return Some(Event::SecretChanged);
        }
    }
}
