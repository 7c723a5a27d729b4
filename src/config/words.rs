//! Values of the file that are one of a few words, each with the list of them that an error shows.

use std::borrow::Cow;

use toml::de::DeValue;

use super::relay::{Mechanism, Pipelining, TlsVersion};
use super::setting::Setting;
use super::{Format, Level, OnRefusal};

/// `tls.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsMode {
    StartTls,
    Implicit,
    None,
}

/// A type whose values are words.
macro_rules! words {
    ($type:ty, $expected:literal, $($word:literal => $value:path),+) => {
        impl Setting for $type {
            fn expected() -> Cow<'static, str> {
                $expected.into()
            }

            fn read(value: &DeValue<'_>) -> Option<Self> {
                match value.as_str()? {
                    $($word => Some($value),)+
                    _ => None,
                }
            }
        }
    };
}

words!(TlsMode, "\"starttls\", \"implicit\" or \"none\"",
    "starttls" => TlsMode::StartTls, "implicit" => TlsMode::Implicit, "none" => TlsMode::None);
words!(TlsVersion, "\"1.2\" or \"1.3\"",
    "1.2" => TlsVersion::V1_2, "1.3" => TlsVersion::V1_3);
words!(Pipelining, "\"across\", \"group\" or \"off\"",
    "across" => Pipelining::Across, "group" => Pipelining::Group, "off" => Pipelining::Off);
words!(Level, "\"error\", \"warn\", \"info\" or \"debug\"",
    "error" => Level::Error, "warn" => Level::Warn, "info" => Level::Info, "debug" => Level::Debug);
words!(Format, "\"text\" or \"json\"",
    "text" => Format::Text, "json" => Format::Json);
words!(OnRefusal, "\"bounce\" or \"hold\"",
    "bounce" => OnRefusal::Bounce, "hold" => OnRefusal::Hold);
words!(Mechanism, "\"SCRAM-SHA-512\", \"SCRAM-SHA-256\", \"SCRAM-SHA-1\", \"PLAIN\" or \"LOGIN\"",
    "SCRAM-SHA-512" => Mechanism::ScramSha512, "SCRAM-SHA-256" => Mechanism::ScramSha256,
    "SCRAM-SHA-1" => Mechanism::ScramSha1, "PLAIN" => Mechanism::Plain, "LOGIN" => Mechanism::Login);
