//! Values of the file that are one of a few words, each with the list of them that an error shows.

use std::borrow::Cow;

use toml::de::DeValue;

use super::setting::Setting;

/// A type whose values are words.
macro_rules! words {
    ($type:ty, $($word:literal => $value:path),+) => {
        impl Setting for $type {
            fn expected() -> Cow<'static, str> {
                one_of(&[$($word),+]).into()
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

/// `"a", "b" or "c"`.
fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    let Some((last, others)) = quoted.split_last() else { return String::new() };
    format!("{} or {last}", others.join(", "))
}

/// `tls.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsMode {
    StartTls,
    Implicit,
    None,
}

words!(TlsMode, "starttls" => TlsMode::StartTls, "implicit" => TlsMode::Implicit, "none" => TlsMode::None);

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

words!(TlsVersion, "1.2" => TlsVersion::V1_2, "1.3" => TlsVersion::V1_3);

/// `relay.pipelining`: how many commands are written before the first of them is answered (RFC 2920).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pipelining {
    /// A transaction's MAIL, RCPT… and DATA together, and those of the next one behind the final dot.
    Across,
    /// A transaction's MAIL, RCPT… and DATA together, after the reply to the last final dot.
    Group,
    /// One command at a time.
    Off,
}

words!(Pipelining, "across" => Pipelining::Across, "group" => Pipelining::Group, "off" => Pipelining::Off);

/// How much is logged; each level includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Mail is at risk.
    Error,
    /// An operator should look.
    Warn,
    /// The mail's story.
    Info,
    /// The dialogue, without secrets.
    Debug,
}

words!(Level, "error" => Level::Error, "warn" => Level::Warn, "info" => Level::Info, "debug" => Level::Debug);

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines of the shape Postfix made familiar.
    Text,
    /// One JSON object a line.
    Json,
}

words!(Format, "text" => Format::Text, "json" => Format::Json);

/// `queue.on-refusal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRefusal {
    /// The message is bounced.
    Bounce,
    /// The message is held.
    Hold,
}

words!(OnRefusal, "bounce" => OnRefusal::Bounce, "hold" => OnRefusal::Hold);

/// A SASL mechanism that we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// SCRAM-SHA-512.
    ScramSha512,
    /// RFC 7677.
    ScramSha256,
    /// RFC 5802.
    ScramSha1,
    /// RFC 4616.
    Plain,
    /// LOGIN, which no RFC describes.
    Login,
}

words!(Mechanism, "SCRAM-SHA-512" => Mechanism::ScramSha512, "SCRAM-SHA-256" => Mechanism::ScramSha256,
    "SCRAM-SHA-1" => Mechanism::ScramSha1, "PLAIN" => Mechanism::Plain, "LOGIN" => Mechanism::Login);
