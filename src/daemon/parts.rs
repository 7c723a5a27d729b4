//! The parts of the daemon that run side by side.
//!
//! | part | what its end means for the mail | what a stop waits for |
//! |---|---|---|
//! | listener | there are no sessions; what `sendmail` submits waits in the drop directory | the sessions: content on its way, last replies |
//! | queue | mail is accepted and waits; nothing is sent | dialogues past their final dot, and the record of their result |
//! | pick-up | what waits in the drop directory stays there | the file at hand; the next start takes the others |
//! | control socket | mail goes on; nobody can see or control it | nothing: it answers until the other parts have ended |
//! | history | mail goes on; `status` has no rates, and the page no curve | nothing, as the control socket |
//! | HTTP | mail goes on; monitoring programs get no figures | nothing, as the control socket |
//! | alarms | mail goes on; nobody is told who does not look | nothing, as the control socket |
//! | spool's writer | nothing is accepted, and no result is recorded | it is the last one: `Spool::close` |
//! | spool's stock of segments | the same, as soon as the segments that there are have been filled | as the writer |
//!
//! Promises: the end of each part is noticed at once, even if it is a panic. No part ends by itself before a stop, so
//! one that does has failed. Then the daemon stops the other parts in order, names the one that failed, and exits with
//! an error, so that systemd starts it again; what was accepted is on the spool. After a panic, the pick-up is first
//! begun again.
//!
//! Not here: the spool's two threads; their ends are noticed by [`Spool::writer_ended`] and [`Spool::stock_ended`].
//!
//! [`Spool::writer_ended`]: crate::spool::Spool::writer_ended
//! [`Spool::stock_ended`]: crate::spool::Spool::stock_ended

use std::collections::HashMap;
use std::fmt;
use std::future::{Future, pending};
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};

use crate::listener::stop::StopSignal;
use crate::log;

/// A part of the daemon, without which it does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonPart {
    /// It accepts mail over sockets.
    Listener,
    /// It sends mail to the relay.
    Queue,
    /// It takes over the messages in the drop directory.
    PickUp,
    /// It answers the commands of an operator.
    Control,
    /// It remembers the last day in numbers.
    History,
    /// It gives metrics and health to monitoring programs.
    Http,
    /// It tells who does not look.
    Alarms,
    /// It records mail on the disk.
    Writer,
    /// It makes the files ready that mail is recorded in, and removes them.
    Stock,
}

impl fmt::Display for DaemonPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DaemonPart::Listener => "the listener",
            DaemonPart::Queue => "the queue",
            DaemonPart::PickUp => "the pick-up of dropped messages",
            DaemonPart::Control => "the control socket",
            DaemonPart::History => "the history of the last day",
            DaemonPart::Http => "the page of metrics and health",
            DaemonPart::Alarms => "the watch over alarms",
            DaemonPart::Writer => "the spool's writer",
            DaemonPart::Stock => "the spool's stock of segments",
        })
    }
}

/// The parts that are tasks and run now.
#[derive(Default)]
pub(super) struct Parts {
    tasks: JoinSet<()>,
    names: HashMap<Id, DaemonPart>,
}

impl Parts {
    /// Begins a part.
    pub(super) fn begin(&mut self, part: DaemonPart, run: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(run);
        self.names.insert(task.id(), part);
    }

    /// Waits until a part has ended, and returns it; waits for ever if none runs. Cancel safe.
    pub(super) async fn ended(&mut self) -> DaemonPart {
        while let Some(ended) = self.tasks.join_next_with_id().await {
            let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
            if let Some(part) = self.names.remove(&id) {
                return part;
            }
        }
        pending().await
    }

    /// Waits until all parts but those that answer operators have ended, and then ends these.
    pub(super) async fn end(mut self) {
        let answers = |part: &DaemonPart| {
            matches!(part, DaemonPart::Control | DaemonPart::History | DaemonPart::Http | DaemonPart::Alarms)
        };
        while self.names.values().any(|part| !answers(part)) {
            self.ended().await;
        }
        self.tasks.shutdown().await;
    }
}

/// The pause of the pick-up after a panic.
const PICKUP_PAUSE: Duration = Duration::from_secs(10);

/// Runs what `begin` begins to its end, and begins it again after a panic. As a rule one dropped file causes the panic,
/// and the other files, which `sendmail` has acknowledged, must not wait for that.
pub(super) async fn anew_after_panics<F>(begin: impl Fn() -> F, mut stop: StopSignal)
where
    F: Future<Output = ()> + Send + 'static,
{
    while let Err(panic) = tokio::spawn(begin()).await {
        log::pickup_failed(&panic);
        tokio::select! {
            _ = stop.given() => return,
            () = tokio::time::sleep(PICKUP_PAUSE) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::oneshot;
    use tokio::task::yield_now;
    use tokio::time::Instant;

    use super::*;
    use crate::listener::stop::stop_signal;

    /// Ends by a panic so many times, then well; gives how often it was begun.
    async fn begun(panics: u32, stop: StopSignal) -> u32 {
        let begun = AtomicU32::new(0);
        let begin = || {
            let before = begun.fetch_add(1, Ordering::Relaxed);
            async move { assert!(before >= panics, "told to") }
        };
        anew_after_panics(begin, stop).await;
        begun.into_inner()
    }

    /// A panic used to end picking up until the next start, without a word of ours.
    #[tokio::test(start_paused = true)]
    async fn picking_up_begins_anew_after_a_panic_unless_we_stop() {
        let (stopper, stop) = stop_signal();
        assert_eq!(begun(2, stop.clone()).await, 3);
        stopper.stop(Instant::now());
        assert_eq!(begun(2, stop).await, 1);
    }

    /// Nobody noticed the end of the control socket or of the pick-up: the daemon ran on, and could not be steered, or left
    /// dropped messages lying.
    #[tokio::test]
    async fn the_end_of_each_part_is_noticed_even_by_panic() {
        for part in [DaemonPart::Listener, DaemonPart::Queue, DaemonPart::PickUp, DaemonPart::Control] {
            let mut parts = Parts::default();
            parts.begin(DaemonPart::Queue, pending());
            parts.begin(part, async { panic!("told to") });
            assert_eq!(parts.ended().await, part);
            parts.begin(part, async {});
            assert_eq!(parts.ended().await, part);
        }
    }

    #[tokio::test]
    async fn a_stop_waits_for_all_parts_but_the_control_socket() {
        for part in [DaemonPart::Listener, DaemonPart::Queue, DaemonPart::PickUp] {
            let (release, released) = oneshot::channel::<()>();
            let mut parts = Parts::default();
            parts.begin(DaemonPart::Control, pending());
            parts.begin(part, async { drop(released.await) });
            let mut end = Box::pin(parts.end());
            tokio::select! {
                biased;
                () = &mut end => panic!("{part} has not ended"),
                () = yield_now() => {}
            }
            release.send(()).unwrap();
            end.await;
        }
    }
}
