//! The parameters that a message can do without, one for each extension that has any.
//!
//! Not here: their text (`client.rs`), which of them one message needs (`relay/group.rs`).
//!
//! RFC 1870 (SIZE), RFC 6152 (BODY), RFC 6531 (SMTPUTF8), RFC 3461 (DSN).

use std::fmt;

/// The parameters of one extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtensionParameter {
    /// SIZE.
    Size,
    /// BODY=8BITMIME.
    Body,
    /// SMTPUTF8.
    SmtpUtf8,
    /// RET and ENVID at MAIL, NOTIFY and ORCPT at RCPT.
    Dsn,
}

impl ExtensionParameter {
    pub(crate) const ALL: [ExtensionParameter; 4] = [
        ExtensionParameter::Size,
        ExtensionParameter::Body,
        ExtensionParameter::SmtpUtf8,
        ExtensionParameter::Dsn,
    ];

    /// Returns the words by which a server may name it, in upper case.
    pub(crate) fn names(self) -> &'static [&'static str] {
        match self {
            ExtensionParameter::Size => &["SIZE"],
            ExtensionParameter::Body => &["BODY", "8BITMIME"],
            ExtensionParameter::SmtpUtf8 => &["SMTPUTF8"],
            ExtensionParameter::Dsn => &["DSN", "RET", "ENVID", "NOTIFY", "ORCPT"],
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for ExtensionParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ExtensionParameter::Size => "SIZE",
            ExtensionParameter::Body => "BODY=8BITMIME",
            ExtensionParameter::SmtpUtf8 => "SMTPUTF8",
            ExtensionParameter::Dsn => "DSN",
        })
    }
}

/// A set of parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParameterSet(u8);

impl ParameterSet {
    /// Returns the set of this one alone.
    #[cfg(test)]
    pub(crate) const fn only(parameter: ExtensionParameter) -> Self {
        ParameterSet(1 << parameter as u8)
    }

    pub(crate) fn of(parameters: impl IntoIterator<Item = ExtensionParameter>) -> Self {
        ParameterSet(parameters.into_iter().fold(0, |set, parameter| set | parameter.bit()))
    }

    /// Returns the set of all parameters.
    pub(crate) fn all() -> Self {
        ParameterSet::of(ExtensionParameter::ALL)
    }

    pub(crate) fn insert(&mut self, parameter: ExtensionParameter) {
        self.0 |= parameter.bit();
    }

    pub(crate) fn has(self, parameter: ExtensionParameter) -> bool {
        self.0 & parameter.bit() != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn and(self, other: Self) -> Self {
        ParameterSet(self.0 & other.0)
    }

    pub(crate) fn without(self, other: Self) -> Self {
        ParameterSet(self.0 & !other.0)
    }
}

impl fmt::Display for ParameterSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ExtensionParameter::ALL.iter().filter(|parameter| self.has(**parameter));
        f.write_str(&names.map(ToString::to_string).collect::<Vec<_>>().join(", "))
    }
}
