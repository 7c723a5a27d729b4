//! The condition of an alarm: whether these facts meet it, and in which words.

use std::fmt;
use std::time::Duration;

use super::facts::{AlarmFacts, AlarmRelay, FreeSpace, RelayObstacle};
use crate::log::{age_in_words, counted};

const DAY: u64 = 24 * 60 * 60;

/// A condition, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmCondition {
    /// Its text, such as `oldest > 30m`, by which the alarm is named everywhere.
    pub text: String,
    /// Its meaning.
    pub test: AlarmTest,
}

/// The meaning of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmTest {
    /// `oldest > 30m`: the oldest message that is to be sent waits for longer.
    OldestOver(Duration),
    /// `relay paused > 10m`: a relay has been paused for longer.
    RelayPausedOver(Duration),
    /// `queued > 1000`: more messages than this are to be sent.
    QueuedOver(u64),
    /// `free space < 5%`, `free space < 500M`: less is free on the disk of the spool.
    FreeSpaceBelow(FreeBound),
    /// `certificate < 14d`: a certificate, or a secret whose end is known, expires within that time.
    ExpiresWithin(Duration),
    /// `dead > 0`: there are more dead messages than this.
    DeadOver(u64),
    /// `quota`: what may be sent by a relay is used up.
    Quota,
    /// `configuration`: an operator must act before certain mail, or any, goes.
    Configuration,
    /// `cannot record`: the spool takes no mail, or no outcome.
    CannotRecord,
}

/// The least space that must be free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreeBound {
    /// Percent of the disk.
    Percent(u8),
    /// Octets.
    Octets(u64),
}

impl AlarmTest {
    /// Returns what is so, in words, if `facts` meet it.
    pub fn met(&self, facts: &AlarmFacts) -> Option<String> {
        match *self {
            AlarmTest::OldestOver(most) => oldest(facts, most),
            AlarmTest::RelayPausedOver(most) => of_relays(facts, |relay| paused(relay, most)),
            AlarmTest::QueuedOver(most) => {
                (facts.queued > most).then(|| format!("{} to be sent", counted(facts.queued, "message")))
            }
            AlarmTest::FreeSpaceBelow(least) => facts.space.and_then(|space| short_of(space, least)),
            AlarmTest::ExpiresWithin(most) => expiring(facts, most),
            AlarmTest::DeadOver(most) => (facts.dead > most).then(|| {
                let dead = counted(facts.dead, "dead message");
                format!("{dead}, which nobody has been told of: see nullmta queue list --state dead")
            }),
            AlarmTest::Quota => of_relays(facts, |relay| obstacle(relay, RelayObstacle::Quota)),
            AlarmTest::Configuration => to_mend(facts),
            AlarmTest::CannotRecord => facts.cannot_record.clone(),
        }
    }

    /// Returns whether mail is at risk where this is met, and not only late.
    pub fn is_loss(&self) -> bool {
        matches!(self, AlarmTest::CannotRecord)
    }

    /// Returns whether `other` is about the same, with whatever bound.
    pub fn is_of_kind(&self, other: &AlarmTest) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl fmt::Display for AlarmCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn oldest(facts: &AlarmFacts, most: Duration) -> Option<String> {
    let oldest = facts.oldest.filter(|age| *age > most)?;
    let why = of_relays(facts, |relay| relay.trouble.as_ref().map(|why| format!("{}: {why}", relay.name)));
    let why = why.map_or(String::new(), |why| format!("; {why}"));
    Some(format!("the oldest message waits for {}{why}", age_in_words(oldest.as_secs())))
}

fn paused(relay: &AlarmRelay, most: Duration) -> Option<String> {
    let time = relay.paused_for.filter(|time| *time > most)?;
    let why = relay.trouble.as_ref().map_or(String::new(), |why| format!(": {why}"));
    Some(format!("{} is paused for {}{why}", relay.name, age_in_words(time.as_secs())))
}

fn obstacle(relay: &AlarmRelay, wanted: RelayObstacle) -> Option<String> {
    relay.obstacle.filter(|obstacle| *obstacle == wanted)?;
    let why = relay.trouble.as_deref().unwrap_or("see nullmta status");
    Some(format!("{}: {why}", relay.name))
}

fn to_mend(facts: &AlarmFacts) -> Option<String> {
    let held = |relay: &AlarmRelay| {
        relay.held_because.as_ref().map(|why| format!("mail is held at {}: {why}", relay.name))
    };
    let of_relay = |relay: &AlarmRelay| obstacle(relay, RelayObstacle::Configuration).or_else(|| held(relay));
    let all = facts.to_mend.iter().cloned().chain(facts.relays.iter().filter_map(of_relay));
    listed(all.collect())
}

fn short_of(space: FreeSpace, least: FreeBound) -> Option<String> {
    let FreeSpace { free, size } = space;
    let mebibytes = free >> 20;
    match least {
        FreeBound::Octets(least) => {
            (free < least).then(|| format!("{mebibytes} MiB are free on the disk of the spool"))
        }
        // In wide integers, since a disk may have more than 2^64 / 100 octets.
        FreeBound::Percent(least) => {
            (u128::from(free) * 100 < u128::from(size) * u128::from(least)).then(|| {
                let percent = u128::from(free) * 100 / u128::from(size);
                format!("{mebibytes} MiB, {percent} %, are free on the disk of the spool")
            })
        }
    }
}

fn expiring(facts: &AlarmFacts, most: Duration) -> Option<String> {
    let most = i64::try_from(most.as_secs()).unwrap_or(i64::MAX);
    let told = facts.expiries.iter().filter(|expiry| expiry.left < most).map(|expiry| {
        match u64::try_from(expiry.left) {
            Err(_) => format!("{} has expired", expiry.what),
            Ok(left) if left < DAY => format!("{} expires within a day", expiry.what),
            Ok(left) => format!("{} expires in {}", expiry.what, counted(left / DAY, "day")),
        }
    });
    listed(told.collect())
}

fn of_relays(facts: &AlarmFacts, told: impl Fn(&AlarmRelay) -> Option<String>) -> Option<String> {
    listed(facts.relays.iter().filter_map(told).collect())
}

fn listed(words: Vec<String>) -> Option<String> {
    (!words.is_empty()).then(|| words.join("; "))
}

#[cfg(test)]
mod tests {
    use super::super::facts::FactExpiry;
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn news() -> AlarmRelay {
        AlarmRelay { name: "the relay of route news".into(), ..AlarmRelay::default() }
    }

    /// Each condition just at its bound, where it is not met, and just beyond it.
    #[test]
    fn a_condition_is_met_just_beyond_its_bound_and_says_so() {
        let old = |age| AlarmFacts { oldest: Some(seconds(age)), ..AlarmFacts::default() };
        let paused = |time| AlarmRelay {
            paused_for: Some(seconds(time)),
            trouble: Some("connect: refused".into()),
            ..news()
        };
        let at_pause = |time| AlarmFacts { relays: vec![paused(time)], ..AlarmFacts::default() };
        let many = |queued| AlarmFacts { queued, ..AlarmFacts::default() };
        let dead = |dead| AlarmFacts { dead, ..AlarmFacts::default() };
        let free =
            |free| AlarmFacts { space: Some(FreeSpace { free, size: 100 << 20 }), ..AlarmFacts::default() };
        let expiry = |left| FactExpiry { what: "the certificate of the relay".into(), left };
        let left = |left| AlarmFacts { expiries: vec![expiry(left)], ..AlarmFacts::default() };
        let two_weeks = 14 * DAY as i64;
        let table = [
            (AlarmTest::OldestOver(seconds(1800)), old(1800), old(1801), "the oldest message waits for 30m"),
            (
                AlarmTest::RelayPausedOver(seconds(600)),
                at_pause(600),
                at_pause(601),
                "the relay of route news is paused for 10m: connect: refused",
            ),
            (AlarmTest::QueuedOver(1000), many(1000), many(1001), "1001 messages to be sent"),
            (
                AlarmTest::DeadOver(0),
                dead(0),
                dead(1),
                "1 dead message, which nobody has been told of: see nullmta queue list --state dead",
            ),
            (
                AlarmTest::FreeSpaceBelow(FreeBound::Percent(5)),
                free(5 << 20),
                free((5 << 20) - 1),
                "4 MiB, 4 %, are free on the disk of the spool",
            ),
            (
                AlarmTest::FreeSpaceBelow(FreeBound::Octets(8 << 20)),
                free(8 << 20),
                free(7 << 20),
                "7 MiB are free on the disk of the spool",
            ),
            (
                AlarmTest::ExpiresWithin(seconds(14 * DAY)),
                left(two_weeks),
                left(two_weeks - 1),
                "the certificate of the relay expires in 13 days",
            ),
        ];
        for (test, at, beyond, words) in table {
            assert_eq!(test.met(&at), None, "{test:?}");
            assert_eq!(test.met(&beyond).as_deref(), Some(words), "{test:?}");
            assert_eq!(test.met(&AlarmFacts::default()), None, "{test:?}: nothing is wrong");
        }
        let met = |left_now| AlarmTest::ExpiresWithin(seconds(DAY)).met(&left(left_now));
        assert_eq!(met(5).as_deref(), Some("the certificate of the relay expires within a day"));
        assert_eq!(met(-5).as_deref(), Some("the certificate of the relay has expired"));
    }

    #[test]
    fn a_disk_that_does_not_say_its_size_meets_no_share() {
        let facts = AlarmFacts { space: Some(FreeSpace { free: 0, size: 0 }), ..AlarmFacts::default() };
        assert_eq!(AlarmTest::FreeSpaceBelow(FreeBound::Percent(5)).met(&facts), None);
    }

    #[test]
    fn the_old_message_is_told_with_the_trouble_of_its_relay() {
        let relay = AlarmRelay { trouble: Some("the name was not found".into()), ..news() };
        let facts =
            AlarmFacts { oldest: Some(seconds(7200)), relays: vec![relay, news()], ..AlarmFacts::default() };
        assert_eq!(
            AlarmTest::OldestOver(seconds(60)).met(&facts).unwrap(),
            "the oldest message waits for 2h; the relay of route news: the name was not found"
        );
    }

    #[test]
    fn what_only_an_operator_can_mend_is_one_alarm_and_a_quota_another() {
        let with = |obstacle| AlarmRelay { obstacle, trouble: Some("535 no".into()), ..news() };
        let held = AlarmRelay { held_because: Some("not verified".into()), ..news() };
        let facts = |relay| AlarmFacts { relays: vec![relay], ..AlarmFacts::default() };
        let (quota, configuration) = (AlarmTest::Quota, AlarmTest::Configuration);
        let used_up = facts(with(Some(RelayObstacle::Quota)));
        assert_eq!(quota.met(&used_up).as_deref(), Some("the relay of route news: 535 no"));
        assert_eq!(configuration.met(&used_up), None);
        let refused = facts(with(Some(RelayObstacle::Configuration)));
        assert_eq!(configuration.met(&refused).as_deref(), Some("the relay of route news: 535 no"));
        assert_eq!(quota.met(&refused), None);
        assert_eq!(
            configuration.met(&facts(held)).as_deref(),
            Some("mail is held at the relay of route news: not verified")
        );
        assert_eq!(configuration.met(&facts(with(None))), None, "trouble that passes by itself");
        let file = AlarmFacts { to_mend: vec!["the file has an error".into()], ..AlarmFacts::default() };
        assert_eq!(configuration.met(&file).as_deref(), Some("the file has an error"));
    }
}
