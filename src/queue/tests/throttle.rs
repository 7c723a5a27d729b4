//! Relays that tell a rate, a number of connections or the end of a session in the words they have for one message.

use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::bench::{Bench, Does, HOUR, MINUTE, TestClock, report};
use crate::queue::clock::Clock;
use crate::queue::{Connector, QueueLink};
use crate::relay::{Phase, Trouble, Work};

const STEP: Duration = Duration::from_millis(100);

/// A relay that takes a message in a tenth of a second, and has a limit that it tells at MAIL.
struct Strict {
    clock: OnceLock<Arc<TestClock>>,
    /// Messages at a time.
    places: usize,
    /// Messages of one connection.
    session: usize,
    busy: AtomicUsize,
    /// Of them, those for which nothing but time has to pass.
    waiting: AtomicUsize,
    done: AtomicUsize,
    tries: AtomicUsize,
}

impl Strict {
    async fn serve(&self, mut link: QueueLink) -> Result<(), Trouble> {
        let mut served = 0;
        while let Some(transaction) = link.next(Duration::ZERO).await {
            self.tries.fetch_add(1, Relaxed);
            let (id, to) = (transaction.id, transaction.recipients.clone());
            let refusal = match (served < self.session, self.busy.load(Relaxed) < self.places) {
                (false, _) => Some("450 4.7.0 too many messages in this session"),
                (_, false) => Some("432 4.3.2 concurrent connections limit exceeded"),
                (true, true) => None,
            };
            if let Some(said) = refusal {
                let mut refused = report(id, &to, &[said]);
                refused.recipients.iter_mut().for_each(|recipient| recipient.phase = Phase::Mail);
                link.report(refused).await;
                continue;
            }
            self.busy.fetch_add(1, Relaxed);
            link.before_dot(id).await.unwrap();
            self.waiting.fetch_add(1, Relaxed);
            self.clock.get().unwrap().sleep(STEP).await;
            self.waiting.fetch_sub(1, Relaxed);
            self.busy.fetch_sub(1, Relaxed);
            self.done.fetch_add(1, Relaxed);
            served += 1;
            link.report(report(id, &to, &["250 2.0.0 ok"])).await;
        }
        Ok(())
    }
}

impl Connector for Strict {
    fn run_connection(
        self: Arc<Self>,
        link: QueueLink,
    ) -> Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send>> {
        Box::pin(async move { self.serve(link).await })
    }

    fn secret_print(self: Arc<Self>) -> Pin<Box<dyn Future<Output = Option<u64>> + Send>> {
        Box::pin(async { None })
    }
}

/// Hands 100 messages to such a relay; gives how long it took, and how many tries.
async fn drain(places: usize, session: usize) -> (Duration, usize) {
    let relay = Arc::new(Strict {
        clock: OnceLock::new(),
        places,
        session,
        busy: AtomicUsize::new(0),
        waiting: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
        tries: AtomicUsize::new(0),
    });
    let connector = relay.clone();
    let bench = Bench::with(|settings| {
        settings.connector = connector;
        settings.max_connections = NonZeroUsize::new(20).unwrap();
    })
    .await;
    assert!(relay.clock.set(bench.clock.clone()).is_ok());
    for _ in 0..100 {
        bench.submit("app@example.org", &["ann@example.net"]).await;
    }
    let mut passed = Duration::ZERO;
    while !bench.spool.is_empty() {
        // Only what the queue does not fill by itself passes as time: neither the disk's nor other tests'.
        let patience = Instant::now();
        let is_full = || relay.waiting.load(Relaxed) >= places.min(100 - relay.done.load(Relaxed));
        while !is_full() && patience.elapsed() < Duration::from_millis(250) {
            tokio::task::yield_now().await;
        }
        let begun = relay.waiting.load(Relaxed) + relay.done.load(Relaxed);
        bench.clock.advance(STEP);
        passed += STEP;
        while relay.done.load(Relaxed) < begun {
            tokio::task::yield_now().await;
        }
        if begun == 100 {
            bench.until_empty().await;
            break;
        }
        assert!(passed < HOUR, "{} left", bench.spool.len());
        bench.queue.status().await;
    }
    (passed, relay.tries.load(Relaxed))
}

/// Three places for twenty connections: what was refused for its number waited by its age, and those connections
/// refused one message after the other; 100 messages took 262 s instead of 3.3.
#[tokio::test]
async fn a_relay_with_three_places_takes_the_time_of_three_places() {
    let (passed, tries) = drain(3, usize::MAX).await;
    assert!(passed < Duration::from_secs(7), "{passed:?}");
    assert!(tries < 160, "{tries} tries for 100 messages");
}

/// After ten messages of a connection the relay defers every further one: the connection was kept, and deferred
/// message after message; 854 of 1,000 were left after ten minutes.
#[tokio::test]
async fn a_session_that_is_full_costs_no_message_anything() {
    let (passed, tries) = drain(20, 10).await;
    assert!(passed < Duration::from_secs(5), "{passed:?}");
    assert!(tries < 150, "{tries} tries for 100 messages");
}

#[tokio::test]
async fn a_message_that_is_deferred_for_itself_waits_by_its_age_and_slows_nobody() {
    let bench = Bench::new().await;
    bench.relay.always_with_next(Does::Says(vec!["451 4.3.0 cannot take this one"]));
    let own = bench.submit("app@example.org", &["ann@example.net"]).await;
    bench.until(|status| status.deferred == 1).await;
    for _ in 0..50 {
        bench.submit("app@example.org", &["ben@example.net"]).await;
    }
    bench.until(|status| status.live <= 1).await;
    bench.pass(HOUR, MINUTE).await;
    let tries = bench.relay.times_seen(own);
    assert!((1..=8).contains(&tries), "{tries} tries in an hour");
}
