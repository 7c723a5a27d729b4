//! The end of a pause after a refused login, where somebody has changed the secret.
//!
//! Promises: while the pause lasts, the secret is read every few seconds, and the owner of the queue is told once when
//! it is not the refused one any more; nothing is sent to the relay for it. A panic in this ends no watch: it goes on
//! after a pause, with the secret that was refused.
//!
//! Not here: how long the pause is (`breaker.rs`), where the secret comes from (`config/`).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::task::AbortHandle;

use super::super::RelayPlace;
use super::super::desk::DeliveryDesk;
use super::super::reducer::Event;
use super::tasks::{Duty, Tasks};

const INTERVAL: Duration = Duration::from_secs(5);

/// The fingerprint of the refused secret, once it has been read; `None` in it if the secret cannot be watched.
type RefusedPrint = Arc<OnceCell<Option<u64>>>;

/// The watch for another secret than the refused one. Its task is aborted when this is dropped.
pub(super) struct SecretWatch {
    task: AbortHandle,
    relay: RelayPlace,
    refused: RefusedPrint,
}

impl SecretWatch {
    /// Begins to watch; the secret that is found now is the refused one.
    pub(super) fn begin(tasks: &mut Tasks, desk: Arc<DeliveryDesk>, relay: RelayPlace) -> Self {
        let refused = RefusedPrint::default();
        let task = tasks.spawn(Duty::SecretWatch, another_secret(desk, relay, refused.clone()));
        SecretWatch { task, relay, refused }
    }

    /// Returns whether this task is the one that watches.
    pub(super) fn is(&self, task: tokio::task::Id) -> bool {
        self.task.id() == task
    }

    /// Goes on after a panic of its task.
    pub(super) fn go_on(&mut self, tasks: &mut Tasks, desk: Arc<DeliveryDesk>) {
        let (relay, refused) = (self.relay, self.refused.clone());
        self.task = tasks.spawn(Duty::SecretWatch, async move {
            desk.clock.sleep(INTERVAL).await;
            another_secret(desk, relay, refused).await
        });
    }
}

impl Drop for SecretWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns when the secret is another one than the refused one, or at once if it cannot be watched.
async fn another_secret(desk: Arc<DeliveryDesk>, relay: RelayPlace, refused: RefusedPrint) -> Option<Event> {
    let connector = &desk.relay(relay).connector;
    let refused = (*refused.get_or_init(|| connector.clone().secret_print()).await)?;
    loop {
        desk.clock.sleep(INTERVAL).await;
        // A secret that cannot be read is being written.
        let print = connector.clone().secret_print().await;
        if print.is_some_and(|print| print != refused) {
            return Some(Event::SecretChanged(relay));
        }
    }
}
