//! The types of single values in `[[route]]`.
//!
//! Not here: what follows from them (`routing.rs`).

use std::borrow::Cow;

use toml::de::DeValue;

use super::setting::Setting;
use super::words::words;
use crate::routing::{AddressPattern, SenderPattern, SendersIn};

/// The longest name of a route, in characters.
const MAX_NAME: usize = 64;

/// The name of a route in the log and in listings.
#[derive(Clone, Debug)]
pub(super) struct RouteName(pub(super) String);

impl Setting for RouteName {
    fn expected() -> Cow<'static, str> {
        "a name such as \"newsletter\", of up to 64 letters, digits, dots, hyphens and the like, without spaces".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let name = value.as_str()?;
        let is_short = !name.is_empty() && name.chars().count() <= MAX_NAME;
        (is_short && name.chars().all(|c| c.is_ascii_graphic())).then(|| RouteName(name.into()))
    }
}

/// The number of a local user.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uid(pub(super) u32);

impl Setting for Uid {
    fn expected() -> Cow<'static, str> {
        "the number of a user such as 33 (`id -u www-data` prints it)".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let number = value.as_integer()?;
        let uid = i64::from_str_radix(number.as_str(), number.radix()).ok()?;
        u32::try_from(uid).ok().map(Uid)
    }
}

impl Setting for SenderPattern {
    fn expected() -> Cow<'static, str> {
        format!("{}, or \"<>\"", AddressPattern::expected()).into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        SenderPattern::parse(value.as_str()?)
    }
}

impl Setting for AddressPattern {
    fn expected() -> Cow<'static, str> {
        "an address with its domain, \"@domain\" for all addresses there (not \"*@domain\"), or \"@.domain\" for all domains \
         below it"
            .into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        AddressPattern::parse(value.as_str()?)
    }
}

words!(SendersIn, "envelope" => SendersIn::Envelope, "header-from" => SendersIn::HeaderFrom);
