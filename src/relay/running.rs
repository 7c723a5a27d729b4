//! Several futures at a time, of which the first to end is wanted next.
//!
//! Promises: each future is run to its end or dropped, and none is begun twice, however often a wait is given up.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// A future that is under way, and what it is about.
pub(crate) struct Running<'a, K, T> {
    /// What it is about.
    pub(crate) of: K,
    doing: Pin<Box<dyn Future<Output = T> + Send + 'a>>,
}

impl<'a, K, T> Running<'a, K, T> {
    pub(crate) fn new(of: K, doing: impl Future<Output = T> + Send + 'a) -> Self {
        Running { of, doing: Box::pin(doing) }
    }
}

/// Returns the first one that ends, and its result; it is taken out of `running`. Waits for ever if there is none.
pub(crate) async fn first_ended<K, T>(running: &mut Vec<Running<'_, K, T>>) -> (K, T) {
    poll_fn(|cx| {
        for position in 0..running.len() {
            if let Poll::Ready(result) = running[position].doing.as_mut().poll(cx) {
                return Poll::Ready((running.remove(position).of, result));
            }
        }
        Poll::Pending
    })
    .await
}
