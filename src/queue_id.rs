//! The queue id: the name of one message for the life of its spool.
//!
//! Promises: ids are unique in a spool, sort by the time when they were assigned, and are never used again, even if the
//! clock is changed: [`QueueIds`] only counts up, and the spool keeps the highest id.
//!
//! Not here: keeping the highest id across restarts (`spool/`).

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The name of a message: the nanoseconds since 1970, made unique. Displays as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(u64);

impl QueueId {
    /// Returns the id with the number `raw`, as a record in the spool holds it.
    pub const fn from_raw(raw: u64) -> Self {
        QueueId(raw)
    }

    /// Returns the number, to be stored in a record.
    pub const fn raw(self) -> u64 {
        self.0
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

impl fmt::Debug for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The error for a text that is not a queue id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadQueueId;

impl fmt::Display for BadQueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a queue id is 16 hexadecimal digits, such as 18A4F1C9A02B3D40")
    }
}

impl std::error::Error for BadQueueId {}

impl FromStr for QueueId {
    type Err = BadQueueId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let well_formed = text.len() == 16 && text.bytes().all(|octet| octet.is_ascii_hexdigit());
        if !well_formed {
            return Err(BadQueueId);
        }
        u64::from_str_radix(text, 16).map(QueueId).map_err(|_| BadQueueId)
    }
}

/// As its text.
impl Serialize for QueueId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for QueueId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The only source of new ids.
#[derive(Debug)]
pub struct QueueIds {
    last: AtomicU64,
}

impl QueueIds {
    /// Returns a source that assigns only ids above `high_water`.
    pub fn above(high_water: QueueId) -> Self {
        QueueIds { last: AtomicU64::new(high_water.0) }
    }

    /// Assigns the next id: `now` in nanoseconds, or one more than the last id if the clock has not advanced.
    pub fn next(&self, now: Timestamp) -> QueueId {
        let wanted = u64::try_from(now.as_nanosecond()).unwrap_or(0);
        let step = |last: u64| wanted.max(last + 1);
        let before = self.last.update(Ordering::Relaxed, Ordering::Relaxed, step);
        QueueId(step(before))
    }

    /// Returns the highest id assigned so far.
    pub fn high_water(&self) -> QueueId {
        QueueId(self.last.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_up_even_when_the_clock_goes_back() {
        let ids = QueueIds::above(QueueId::from_raw(0));
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let first = ids.next(now);
        let second = ids.next(now);
        let third = ids.next(Timestamp::from_second(1_000_000_000).unwrap());
        assert!(first < second && second < third);
        assert_eq!(ids.high_water(), third);
    }

    #[test]
    fn ids_stay_above_the_high_water_mark_of_an_earlier_run() {
        let mark = QueueId::from_raw(u64::MAX / 2);
        let ids = QueueIds::above(mark);
        assert!(ids.next(Timestamp::from_second(1).unwrap()) > mark);
    }

    #[test]
    fn text_form_is_sixteen_digits_both_ways() {
        let id = QueueId::from_raw(0x18A4_F1C9_A02B_3D40);
        assert_eq!(id.to_string(), "18A4F1C9A02B3D40");
        assert_eq!("18a4f1c9a02b3d40".parse(), Ok(id));
        for bad in ["", "18A4", "18A4F1C9A02B3D4G", "+8A4F1C9A02B3D40", "18A4F1C9A02B3D400"] {
            assert_eq!(bad.parse::<QueueId>(), Err(BadQueueId), "{bad:?}");
        }
    }
}
