//! `[queue]`: how long and how often delivery is tried.
//!
//! Promises: invariant 3 of [`Config`](super::Config).

use std::time::Duration;

use super::error::Fault;
use super::file;
use super::setting::OrOff;
use super::table::{Key, given, place_of};
use super::units::{Lapse, Size, words};
use super::words::OnRefusal;
use crate::envelope::Address;

/// `queue.retry-min`: greylisting lets go after a minute or five.
const RETRY_MIN: Duration = Duration::from_mins(1);
/// `queue.retry-max`.
const RETRY_MAX: Duration = Duration::from_hours(1);
/// `queue.lifetime`: RFC 5321 4.5.4.1 asks for four or five days.
const LIFETIME: Duration = Duration::from_hours(5 * 24);
/// `queue.delay-warning`: sendmail's.
const DELAY_WARNING: Duration = Duration::from_hours(4);
/// `queue.min-free-space`: the largest message and a segment of the spool.
const MIN_FREE_SPACE: u64 = 64 << 20;
/// `queue.max-messages`: a runaway program is stopped before memory is.
const MAX_MESSAGES: u64 = 1_000_000;

/// `[queue]`: how long and how often delivery is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// The shortest wait before a deferred message is tried again.
    pub retry_min: Duration,
    /// The longest one.
    pub retry_max: Duration,
    /// The age at which an undelivered message is bounced.
    pub lifetime: Duration,
    /// The age at which the reverse-path is told of a delay; `None` for never.
    pub delay_warning: Option<Duration>,
    /// Who gets a DSN that cannot be delivered; with its domain.
    pub postmaster: Option<Address>,
    /// What becomes of a message whose sender or account the relay refuses for good; `None`: it is held until the relay
    /// has taken a first message, and bounced from then on.
    pub on_refusal: Option<OnRefusal>,
    /// Free octets on the spool's disk below which no message is accepted (452).
    pub min_free_space: u64,
    /// The most messages on the spool.
    pub max_messages: u64,
}

impl Queue {
    /// What the file says, with the defaults; addresses without a domain get `origin`.
    pub(super) fn of(queue: &file::Queue, origin: &str) -> Result<Queue, Fault> {
        let retry_min = Lapse::or(&queue.retry_min, RETRY_MIN);
        let retry_max = Lapse::or(&queue.retry_max, RETRY_MAX);
        let lifetime = Lapse::or(&queue.lifetime, LIFETIME);
        refuse_less_than_retry_min(
            retry_max,
            "queue.retry-max",
            &queue.retry_max,
            retry_min,
            &queue.retry_min,
        )?;
        refuse_less_than_retry_min(lifetime, "queue.lifetime", &queue.lifetime, retry_min, &queue.retry_min)?;
        Ok(Queue {
            retry_min,
            retry_max,
            lifetime,
            delay_warning: delay_warning_of(&queue.delay_warning, lifetime)?,
            postmaster: given(&queue.postmaster).map(|address: &Address| address.completed_with(origin)),
            on_refusal: given(&queue.on_refusal).copied(),
            min_free_space: Size::or(&queue.min_free_space, MIN_FREE_SPACE),
            max_messages: given(&queue.max_messages).map_or(MAX_MESSAGES, |count| u64::from(count.0.get())),
        })
    }
}

/// Invariant 3. The fault is laid to the longer wait, or to retry-min where the longer one is the default.
fn refuse_less_than_retry_min(
    longer: Duration,
    longer_name: &str,
    longer_key: &Key<Lapse>,
    retry_min: Duration,
    retry_min_key: &Key<Lapse>,
) -> Result<(), Fault> {
    if retry_min <= longer {
        return Ok(());
    }
    match (place_of(longer_key), place_of(retry_min_key)) {
        (Some(place), _) => {
            let expected = format!("at least queue.retry-min ({})", words(retry_min));
            Err(place.expected(expected, format!("\"{}\"", words(longer))))
        }
        (None, Some(place)) => {
            let expected = format!("at most {longer_name} ({})", words(longer));
            Err(place.expected(expected, format!("\"{}\"", words(retry_min))))
        }
        // The defaults are in order.
        (None, None) => Ok(()),
    }
}

fn delay_warning_of(key: &Key<OrOff<Lapse>>, lifetime: Duration) -> Result<Option<Duration>, Fault> {
    let Some(entry) = key else { return Ok(Some(DELAY_WARNING)) };
    let Some(Lapse(warning)) = entry.value.0 else { return Ok(None) };
    if warning >= lifetime {
        let expected = format!("less than queue.lifetime ({}), or \"off\"", words(lifetime));
        return Err(entry.place.expected(expected, format!("\"{}\"", words(warning))));
    }
    Ok(Some(warning))
}
