//! Types whose values are one of a few words. An error shows all words of the type.

use std::borrow::Cow;

use toml::de::DeValue;

use super::setting::Setting;

/// Declares the words of a type and the value that each of them stands for.
macro_rules! words {
    ($type:ty, $($word:literal => $value:path),+) => {
        impl $crate::config::setting::Setting for $type {
            fn expected() -> std::borrow::Cow<'static, str> {
                $crate::config::words::one_of(&[$($word),+]).into()
            }

            fn read(value: &toml::de::DeValue<'_>) -> Option<Self> {
                match value.as_str()? {
                    $($word => Some($value),)+
                    _ => None,
                }
            }
        }
    };
}
pub(super) use words;

/// Lists `words` for an error: `"a", "b" or "c"`.
pub(super) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    let Some((last, others)) = quoted.split_last() else { return String::new() };
    format!("{} or {last}", others.join(", "))
}

/// `tls.mode`: how TLS is spoken to the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsMode {
    StartTls,
    Implicit,
    None,
}

words!(TlsMode, "starttls" => TlsMode::StartTls, "implicit" => TlsMode::Implicit, "none" => TlsMode::None);

/// `relay.address-family`: the kind of addresses by which relays are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressFamily {
    Any,
    Ipv4,
    Ipv6,
}

words!(AddressFamily, "any" => AddressFamily::Any, "ipv4" => AddressFamily::Ipv4, "ipv6" => AddressFamily::Ipv6);

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

words!(TlsVersion, "1.2" => TlsVersion::V1_2, "1.3" => TlsVersion::V1_3);

/// `tls.key-exchange`: the key exchanges that are offered to the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyExchangeChoice {
    /// A post-quantum one and classical ones; the classical ones alone where the relay does not answer that.
    Any,
    /// A post-quantum one only.
    PostQuantum,
    /// Classical ones only, on elliptic curves.
    Classical,
}

words!(
    KeyExchangeChoice,
    "any" => KeyExchangeChoice::Any,
    "post-quantum" => KeyExchangeChoice::PostQuantum,
    "classical" => KeyExchangeChoice::Classical
);

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

/// `relay.eight-bit`: what is done with a message with 8-bit octets where the relay does not offer 8BITMIME (RFC 6152).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EightBit {
    /// It is sent as it is.
    Keep,
    /// Its 8-bit bodies are encoded.
    Encode,
    /// It is bounced.
    Bounce,
}

words!(EightBit, "keep" => EightBit::Keep, "encode" => EightBit::Encode, "bounce" => EightBit::Bounce);

/// The amount that is logged; each level includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Only errors: mail is at risk.
    Error,
    /// Warnings: an operator should look.
    Warn,
    /// Each step of each message.
    Info,
    /// The SMTP dialogues too, without secrets.
    Debug,
}

words!(LogLevel, "error" => LogLevel::Error, "warn" => LogLevel::Warn, "info" => LogLevel::Info, "debug" => LogLevel::Debug);

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines in the style of Postfix.
    Text,
    /// One JSON object per line.
    Json,
}

words!(LogFormat, "text" => LogFormat::Text, "json" => LogFormat::Json);

/// `log.redact`: what is hidden in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogRedaction {
    /// Nothing but secrets, which are in no line.
    Nothing,
    /// Mail addresses, in whose place stands a keyed hash.
    Addresses,
}

words!(LogRedaction, "nothing" => LogRedaction::Nothing, "addresses" => LogRedaction::Addresses);

/// `queue.on-refusal`: what happens to a message when the relay refuses its sender or our account for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRefusal {
    /// The message is bounced.
    Bounce,
    /// The message is held.
    Hold,
}

words!(OnRefusal, "bounce" => OnRefusal::Bounce, "hold" => OnRefusal::Hold);

/// `what` of a `[[limit]]`: what happens to a message for which an amount is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BeyondLimit {
    /// It is refused, and may come again later.
    #[default]
    Defer,
    /// It is accepted and put on hold.
    Hold,
}

words!(BeyondLimit, "defer" => BeyondLimit::Defer, "hold" => BeyondLimit::Hold);

/// `auth.oauth.grant`: what an access token is given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GrantWord {
    ClientCredentials,
    RefreshToken,
    JwtBearer,
    DeviceCode,
}

words!(
    GrantWord,
    "client-credentials" => GrantWord::ClientCredentials,
    "refresh-token" => GrantWord::RefreshToken,
    "jwt-bearer" => GrantWord::JwtBearer,
    "device-code" => GrantWord::DeviceCode
);

impl GrantWord {
    /// Returns the word that the configuration uses.
    pub(super) fn word(self) -> &'static str {
        match self {
            GrantWord::ClientCredentials => "client-credentials",
            GrantWord::RefreshToken => "refresh-token",
            GrantWord::JwtBearer => "jwt-bearer",
            GrantWord::DeviceCode => "device-code",
        }
    }
}

/// `auth.mechanisms`: a SASL mechanism that nullmta supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// SCRAM-SHA-512-PLUS, bound to the TLS session.
    ScramSha512Plus,
    /// SCRAM-SHA-256-PLUS (RFC 7677), bound to the TLS session.
    ScramSha256Plus,
    /// SCRAM-SHA-1-PLUS (RFC 5802), bound to the TLS session.
    ScramSha1Plus,
    /// SCRAM-SHA-512, which has the form of RFC 7677.
    ScramSha512,
    /// SCRAM-SHA-256 (RFC 7677).
    ScramSha256,
    /// SCRAM-SHA-1 (RFC 5802).
    ScramSha1,
    /// CRAM-MD5 (RFC 2195), by a hash that is no longer safe, and a password that the relay keeps in the clear.
    CramMd5,
    /// PLAIN (RFC 4616).
    Plain,
    /// LOGIN, which no RFC describes.
    Login,
    /// OAUTHBEARER (RFC 7628), which proves an access token.
    OAuthBearer,
    /// XOAUTH2, which no RFC describes, and which proves an access token.
    XOAuth2,
    /// EXTERNAL (RFC 4422 A), which leaves the proof to the client certificate of TLS.
    External,
}

impl Mechanism {
    /// Every mechanism that proves a password, the one that exposes it least first.
    pub const OF_PASSWORDS: [Mechanism; 9] = [
        Mechanism::ScramSha512Plus,
        Mechanism::ScramSha256Plus,
        Mechanism::ScramSha1Plus,
        Mechanism::ScramSha512,
        Mechanism::ScramSha256,
        Mechanism::ScramSha1,
        Mechanism::CramMd5,
        Mechanism::Plain,
        Mechanism::Login,
    ];

    /// Every mechanism that proves an access token, the one with an RFC first.
    pub const OF_TOKENS: [Mechanism; 2] = [Mechanism::OAuthBearer, Mechanism::XOAuth2];

    /// Every mechanism that leaves the proof to the certificate of this host.
    pub const OF_CERTIFICATES: [Mechanism; 1] = [Mechanism::External];

    /// Returns every mechanism.
    pub fn all() -> impl Iterator<Item = Mechanism> {
        let of_secrets = Mechanism::OF_PASSWORDS.into_iter().chain(Mechanism::OF_TOKENS);
        of_secrets.chain(Mechanism::OF_CERTIFICATES)
    }

    /// Returns whether the mechanism is used only if the configuration names it.
    pub fn is_only_by_name(self) -> bool {
        matches!(self, Mechanism::CramMd5 | Mechanism::External)
    }

    /// Returns the name that the relay and the configuration use.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::ScramSha512Plus => "SCRAM-SHA-512-PLUS",
            Mechanism::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Mechanism::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha1 => "SCRAM-SHA-1",
            Mechanism::CramMd5 => "CRAM-MD5",
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
            Mechanism::OAuthBearer => "OAUTHBEARER",
            Mechanism::XOAuth2 => "XOAUTH2",
            Mechanism::External => "EXTERNAL",
        }
    }
}

impl Setting for Mechanism {
    fn expected() -> Cow<'static, str> {
        one_of(&Mechanism::all().map(Mechanism::name).collect::<Vec<_>>()).into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let name = value.as_str()?;
        Mechanism::all().find(|mechanism| mechanism.name() == name)
    }
}
