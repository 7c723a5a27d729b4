//! The types of single values in `[[limit]]`.
//!
//! Not here: what follows from them (`limit.rs`).

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU64;

use toml::de::DeValue;

use super::rate::RatePeriod;
use super::setting::Setting;
use super::units::{PositiveCount, PositiveSize};

/// An amount in a period: of messages, octets or recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowedAmount {
    /// The most in one go, and then in each period.
    pub amount: NonZeroU64,
    /// The period.
    pub per: RatePeriod,
}

impl fmt::Display for AllowedAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.amount, self.per.word())
    }
}

/// A number in a period, as in `messages = "100/hour"`.
#[derive(Clone, Copy, Debug)]
pub(super) struct CountInPeriod(pub(super) AllowedAmount);

/// A size in a period, as in `octets = "50M/day"`.
#[derive(Clone, Copy, Debug)]
pub(super) struct SizeInPeriod(pub(super) AllowedAmount);

impl Setting for CountInPeriod {
    fn expected() -> Cow<'static, str> {
        "a number in a minute, hour or day such as \"30/min\", \"100/hour\" or \"1000/day\"".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let count = |text: &str| {
            let is_number = text.bytes().all(|octet| octet.is_ascii_digit());
            text.parse().ok().filter(|_| is_number)
        };
        in_period(value, count).map(CountInPeriod)
    }
}

impl Setting for SizeInPeriod {
    fn expected() -> Cow<'static, str> {
        "a size in a minute, hour or day such as \"50M/hour\" or \"1 GiB/day\"".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let size = |text: &str| PositiveSize::parse(text).map(|size| size.0);
        in_period(value, size).map(SizeInPeriod)
    }
}

fn in_period(value: &DeValue<'_>, amount: impl Fn(&str) -> Option<u64>) -> Option<AllowedAmount> {
    let (text, period) = value.as_str()?.split_once('/')?;
    let per = RatePeriod::parse(period).filter(|per| *per != RatePeriod::Second)?;
    Some(AllowedAmount { amount: NonZeroU64::new(amount(text)?)?, per })
}

/// A number of recipients of one message, or in a period.
#[derive(Clone, Copy, Debug)]
pub(super) enum RecipientCount {
    OfOneMessage(PositiveCount),
    InPeriod(AllowedAmount),
}

impl Setting for RecipientCount {
    fn expected() -> Cow<'static, str> {
        "the most recipients of one message such as 50, or in a minute, hour or day such as \"1000/day\""
            .into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        match CountInPeriod::read(value) {
            Some(CountInPeriod(allowance)) => Some(RecipientCount::InPeriod(allowance)),
            None => PositiveCount::read(value).map(RecipientCount::OfOneMessage),
        }
    }
}

/// The name of a user, a group or a command.
#[derive(Clone, Debug)]
pub(super) struct LocalName(pub(super) String);

impl Setting for LocalName {
    fn expected() -> Cow<'static, str> {
        "a name such as \"www-data\", of up to 64 characters without spaces".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let name = value.as_str()?;
        let is_short = !name.is_empty() && name.chars().count() <= 64;
        let is_plain = |c: char| !c.is_whitespace() && !c.is_control();
        (is_short && name.chars().all(is_plain)).then(|| LocalName(name.into()))
    }
}
