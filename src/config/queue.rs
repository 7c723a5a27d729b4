//! `[queue]`: how long and how often delivery is tried.
//!
//! Promises: invariant 3 of [`Config`](super::Config).

use std::time::Duration;

use super::error::ConfigFault;
use super::file;
use super::setting::OrOff;
use super::table::{Key, given, location_of};
use super::units::{PositiveDuration, PositiveSize, words};
use super::words::OnRefusal;
use crate::envelope::Address;
use crate::message::dsn::Overseers;

/// The default of `queue.retry-min`: greylisting servers accept mail after one to five minutes.
const RETRY_MIN: Duration = Duration::from_mins(1);
/// The default of `queue.retry-max`.
const RETRY_MAX: Duration = Duration::from_hours(1);
/// The default of `queue.lifetime`: RFC 5321 4.5.4.1 recommends four to five days.
const LIFETIME: Duration = Duration::from_hours(5 * 24);
/// The default of `queue.delay-warning`, the same as in sendmail.
const DELAY_WARNING: Duration = Duration::from_hours(4);
/// The default of `queue.min-free-space`: enough for the largest message and one segment of the spool.
const MIN_FREE_SPACE: u64 = 64 << 20;
/// The default of `queue.max-messages`: a program that submits without end is stopped before memory is full.
const MAX_MESSAGES: u64 = 1_000_000;

/// `[queue]`: how long and how often delivery is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueConfig {
    /// The shortest wait before a deferred message is tried again.
    pub retry_min: Duration,
    /// The longest wait before a deferred message is tried again.
    pub retry_max: Duration,
    /// The age at which an undelivered message is bounced.
    pub lifetime: Duration,
    /// The age at which a message of delay is sent to the reverse-path; `None` for never.
    pub delay_warning: Option<Duration>,
    /// The address that gets a DSN which cannot be delivered. It has a domain.
    pub postmaster: Option<Address>,
    /// The reverse-path of a second try for mail from `<>`, where the relay refused `<>`. It has a domain.
    pub bounce_sender: Option<Address>,
    /// The address that gets every DSN of failure as well as the reverse-path. It has a domain.
    pub bounce_copy: Option<Address>,
    /// The fate of a message if the relay refuses its sender or our account for good. `None`: the message is held until
    /// the relay has accepted a first message, and bounced from then on.
    pub on_refusal: Option<OnRefusal>,
    /// Free octets on the spool's disk below which no message is accepted (452).
    pub min_free_space: u64,
    /// The most messages in the spool.
    pub max_messages: u64,
}

impl QueueConfig {
    /// Returns the addresses that are told about failures.
    pub fn overseers(&self) -> Overseers {
        Overseers { postmaster: self.postmaster.clone(), bounce_copy: self.bounce_copy.clone() }
    }

    /// Returns the settings in `queue`, with defaults filled in. An address without a domain gets `origin`.
    pub(super) fn of(queue: &file::QueueTable, origin: &str) -> Result<QueueConfig, ConfigFault> {
        let retry_min = PositiveDuration::or(&queue.retry_min, RETRY_MIN);
        let retry_max = PositiveDuration::or(&queue.retry_max, RETRY_MAX);
        let lifetime = PositiveDuration::or(&queue.lifetime, LIFETIME);
        refuse_less_than_retry_min(
            retry_max,
            "queue.retry-max",
            &queue.retry_max,
            retry_min,
            &queue.retry_min,
        )?;
        refuse_less_than_retry_min(lifetime, "queue.lifetime", &queue.lifetime, retry_min, &queue.retry_min)?;
        Ok(QueueConfig {
            retry_min,
            retry_max,
            lifetime,
            delay_warning: delay_warning_of(&queue.delay_warning, lifetime)?,
            postmaster: completed(&queue.postmaster, origin),
            bounce_sender: completed(&queue.bounce_sender, origin),
            bounce_copy: completed(&queue.bounce_copy, origin),
            on_refusal: given(&queue.on_refusal).copied(),
            min_free_space: PositiveSize::or(&queue.min_free_space, MIN_FREE_SPACE),
            max_messages: given(&queue.max_messages).map_or(MAX_MESSAGES, |count| u64::from(count.0.get())),
        })
    }
}

fn completed(key: &Key<Address>, origin: &str) -> Option<Address> {
    given(key).map(|address| address.completed_with(origin))
}

/// Checks invariant 3. The error names the key of the longer wait, or retry-min if the longer wait is a default.
fn refuse_less_than_retry_min(
    longer: Duration,
    longer_name: &str,
    longer_key: &Key<PositiveDuration>,
    retry_min: Duration,
    retry_min_key: &Key<PositiveDuration>,
) -> Result<(), ConfigFault> {
    if retry_min <= longer {
        return Ok(());
    }
    match (location_of(longer_key), location_of(retry_min_key)) {
        (Some(location), _) => {
            let expected = format!("at least queue.retry-min ({})", words(retry_min));
            Err(location.expected(expected, format!("\"{}\"", words(longer))))
        }
        (None, Some(location)) => {
            let expected = format!("at most {longer_name} ({})", words(longer));
            Err(location.expected(expected, format!("\"{}\"", words(retry_min))))
        }
        // The defaults are in order.
        (None, None) => Ok(()),
    }
}

fn delay_warning_of(
    key: &Key<OrOff<PositiveDuration>>,
    lifetime: Duration,
) -> Result<Option<Duration>, ConfigFault> {
    let Some(entry) = key else { return Ok(Some(DELAY_WARNING)) };
    let Some(PositiveDuration(warning)) = entry.value.0 else { return Ok(None) };
    if warning >= lifetime {
        let expected = format!("less than queue.lifetime ({}), or \"off\"", words(lifetime));
        return Err(entry.location.expected(expected, format!("\"{}\"", words(warning))));
    }
    Ok(Some(warning))
}
