//! The end of a pause after a login that failed, where somebody has changed the secret.
//!
//! Promises: while the pause lasts, the secret is read every few seconds, and the owner of the queue is told once when
//! it is not that of the failed login any more; nothing is sent to the relay for it. A panic in this ends no watch: it goes
//! on after a pause.
//!
//! Not here: how long the pause is (`breaker.rs`), where the secret comes from (`config/`), and which one was tried
//! (`relay/login.rs`).

use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;

use super::super::RelayPlace;
use super::super::desk::DeliveryDesk;
use super::super::reducer::Event;
use super::tasks::{Duty, Tasks};

const INTERVAL: Duration = Duration::from_secs(5);

/// The watch for another secret than that of the failed login. Its task is aborted when this is dropped.
pub(super) struct SecretWatch {
    task: AbortHandle,
    relay: RelayPlace,
}

impl SecretWatch {
    /// Begins to watch.
    pub(super) fn begin(tasks: &mut Tasks, desk: Arc<DeliveryDesk>, relay: RelayPlace) -> Self {
        SecretWatch { task: tasks.spawn(Duty::SecretWatch, another_secret(desk, relay)), relay }
    }

    /// Returns whether this task is the one that watches.
    pub(super) fn is(&self, task: tokio::task::Id) -> bool {
        self.task.id() == task
    }

    /// Goes on after a panic of its task.
    pub(super) fn go_on(&mut self, tasks: &mut Tasks, desk: Arc<DeliveryDesk>) {
        self.task = tasks.spawn(Duty::SecretWatch, another_secret(desk, self.relay));
    }
}

impl Drop for SecretWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns when there is another secret for `relay` than that of the last login.
async fn another_secret(desk: Arc<DeliveryDesk>, relay: RelayPlace) -> Option<Event> {
    loop {
        desk.clock.sleep(INTERVAL).await;
        if desk.relay(relay).connector.clone().has_another_secret().await {
            return Some(Event::SecretChanged(relay));
        }
    }
}
