//! Dates for header fields (RFC 5322 3.3).

use jiff::fmt::rfc2822;
use jiff::{Timestamp, Zoned};

/// Returns `now` in the form `Sat, 21 Nov 2026 02:10:00 +0000`.
///
/// The format has no digits for some years, which a wrong clock may give. The date is then in 1970: it is wrong, as
/// the clock is, but no message is lost.
pub(super) fn rfc5322(now: &Zoned) -> String {
    rfc2822::to_string(now).unwrap_or_else(|_| "Thu, 1 Jan 1970 00:00:00 +0000".to_owned())
}

/// Returns `then` in the same form, in the time zone of `now`.
pub(super) fn rfc5322_at(then: Timestamp, now: &Zoned) -> String {
    rfc5322(&then.to_zoned(now.time_zone().clone()))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use jiff::tz::{TimeZone, offset};

    use super::*;

    #[test]
    fn written_with_the_offset_of_the_zone() {
        let berlin = TimeZone::fixed(offset(1));
        let cases = [
            (date(2026, 11, 21).at(2, 10, 0, 0).to_zoned(TimeZone::UTC), "Sat, 21 Nov 2026 02:10:00 +0000"),
            (date(2026, 3, 1).at(2, 10, 0, 999).to_zoned(berlin), "Sun, 1 Mar 2026 02:10:00 +0100"),
            (date(-1, 1, 1).at(0, 0, 0, 0).to_zoned(TimeZone::UTC), "Thu, 1 Jan 1970 00:00:00 +0000"),
        ];
        for (now, expected) in cases {
            assert_eq!(rfc5322(&now.unwrap()), expected);
        }
    }

    #[test]
    fn earlier_times_are_written_in_the_zone_of_now() {
        let now = date(2026, 11, 21).at(2, 10, 0, 0).to_zoned(TimeZone::fixed(offset(-5))).unwrap();
        assert_eq!(rfc5322_at(Timestamp::UNIX_EPOCH, &now), "Wed, 31 Dec 1969 19:00:00 -0500");
    }
}
