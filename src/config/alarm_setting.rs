//! The condition of an `[[alarm]]`, as it is written: `when = "oldest > 30m"`.
//!
//! Not here: what it means for the facts (`alarm/condition.rs`), the rest of the table (`alarm.rs`).

use std::borrow::Cow;

use toml::de::DeValue;

use super::setting::Setting;
use super::units::{PositiveSize, parse_duration};
use crate::alarm::{AlarmCondition, AlarmTest, FreeBound};

impl Setting for AlarmCondition {
    fn expected() -> Cow<'static, str> {
        "a condition: \"oldest > 30m\", \"relay paused > 10m\", \"queued > 1000\", \"dead > 0\", \"free space < 5%\" (or \
         \"< 500M\"), \"certificate < 14d\", \"quota\", \"configuration\" or \"cannot record\""
            .into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let words: Vec<&str> = value.as_str()?.split_ascii_whitespace().collect();
        let test = test_of(&words)?;
        Some(AlarmCondition { text: words.join(" "), test })
    }
}

fn test_of(words: &[&str]) -> Option<AlarmTest> {
    Some(match *words {
        ["oldest", ">", time] => AlarmTest::OldestOver(parse_duration(time)?),
        ["relay", "paused", ">", time] => AlarmTest::RelayPausedOver(parse_duration(time)?),
        ["queued", ">", number] => AlarmTest::QueuedOver(count(number)?),
        ["dead", ">", number] => AlarmTest::DeadOver(count(number)?),
        ["free", "space", "<", least] => AlarmTest::FreeSpaceBelow(free_bound(least)?),
        ["certificate", "<", time] => AlarmTest::ExpiresWithin(parse_duration(time)?),
        ["quota"] => AlarmTest::Quota,
        ["configuration"] => AlarmTest::Configuration,
        ["cannot", "record"] => AlarmTest::CannotRecord,
        _ => return None,
    })
}

fn count(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|octet| octet.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

fn free_bound(text: &str) -> Option<FreeBound> {
    match text.strip_suffix('%') {
        Some(percent) => {
            let percent = u8::try_from(count(percent)?).ok()?;
            (1..100).contains(&percent).then_some(FreeBound::Percent(percent))
        }
        None => PositiveSize::parse(text).map(|size| FreeBound::Octets(size.0)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(text: &str) -> Option<AlarmCondition> {
        AlarmCondition::read(&DeValue::String(text.into()))
    }

    #[test]
    fn each_condition_has_its_form() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let table = [
            ("oldest > 30m", AlarmTest::OldestOver(minutes(30))),
            ("relay paused > 10m", AlarmTest::RelayPausedOver(minutes(10))),
            ("queued > 1000", AlarmTest::QueuedOver(1000)),
            ("dead > 0", AlarmTest::DeadOver(0)),
            ("free space < 5%", AlarmTest::FreeSpaceBelow(FreeBound::Percent(5))),
            ("free space < 500M", AlarmTest::FreeSpaceBelow(FreeBound::Octets(500 << 20))),
            ("certificate < 14d", AlarmTest::ExpiresWithin(minutes(14 * 24 * 60))),
            ("quota", AlarmTest::Quota),
            ("configuration", AlarmTest::Configuration),
            ("cannot record", AlarmTest::CannotRecord),
        ];
        for (text, test) in table {
            assert_eq!(read(text), Some(AlarmCondition { text: text.into(), test }));
        }
        assert_eq!(read("  dead  >\t0 ").unwrap().text, "dead > 0");
    }

    #[test]
    fn another_form_is_no_condition() {
        for text in [
            "",
            "oldest",
            "oldest > 30",
            "oldest < 30m",
            "oldest>30m",
            "queued > -1",
            "queued > +1",
            "queued > 1k",
            "free space < 0%",
            "free space < 100%",
            "free space < 5 %",
            "free space > 5%",
            "quota > 0",
            "dead",
            "Quota",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
