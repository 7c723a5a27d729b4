//! The types of single values in `[rewrite]`.
//!
//! Not here: the rules of types that `message/rewrite/` defines.

use std::borrow::Cow;

use toml::de::DeValue;

use crate::config::setting::{Setting, found};
use crate::config::words::words;
use crate::envelope::Address;
use crate::message::long_lines::LongLines;
use crate::message::rewrite::{
    Class, MasqueradeDomain, Pattern, RejectText, Replacement, Selector, Template,
};

/// The name of a local user, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct LocalUserName(pub(in crate::config) String);

impl Setting for LocalUserName {
    fn expected() -> Cow<'static, str> {
        "the name of a local user such as \"root\"".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let selector = Selector::parse(value.as_str()?).ok()?.to_string();
        (!selector.contains('@')).then_some(LocalUserName(selector))
    }
}

/// The address that gets the mail of a user.
#[derive(Clone, Debug)]
pub(super) struct AliasTarget(pub(super) Address);

impl Setting for AliasTarget {
    fn expected() -> Cow<'static, str> {
        "an address such as \"ops@example.com\" (nullmta runs no program and writes no mailbox)".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        // In aliases(5) this would be a program, a file, or a file with a list.
        let text = value.as_str().filter(|text| !text.starts_with(['|', '/', ':']))?;
        Address::parse(text).ok().map(AliasTarget)
    }
}

/// The one address that replaces all recipients.
#[derive(Clone, Debug)]
pub(in crate::config) struct OneRecipient(pub(in crate::config) Address);

impl Setting for OneRecipient {
    fn expected() -> Cow<'static, str> {
        Address::expected()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str().filter(|text| !has_variable(text))?;
        Address::parse(text).ok().map(OneRecipient)
    }

    fn found(value: &DeValue<'_>) -> String {
        found_fixed(value)
    }
}

/// The address that the relay gets in place of the null reverse-path `<>`.
#[derive(Clone, Debug)]
pub(in crate::config) struct NullSenderAddress(pub(in crate::config) Address);

impl Setting for NullSenderAddress {
    fn expected() -> Cow<'static, str> {
        "an address with its domain, such as \"bounces@example.com\"".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let OneRecipient(address) = OneRecipient::read(value)?;
        address.domain().is_some().then_some(NullSenderAddress(address))
    }

    fn found(value: &DeValue<'_>) -> String {
        found_fixed(value)
    }
}

/// Returns whether `text` has a variable such as `%u`, which only a [`Template`] replaces.
fn has_variable(text: &str) -> bool {
    ["%u", "%d", "%h", "%%"].iter().any(|variable| text.contains(variable))
}

/// Describes a value in an error about a key that allows no variables.
fn found_fixed(value: &DeValue<'_>) -> String {
    match value.as_str() {
        Some(text) if has_variable(text) => format!("{} (only sender has %u, %d, %h and %%)", found(value)),
        _ => found(value),
    }
}

/// The text of a header field, not parsed yet: what it may refer to depends on another key.
#[derive(Clone, Debug)]
pub(super) struct UnparsedField(pub(super) String);

impl Setting for UnparsedField {
    fn expected() -> Cow<'static, str> {
        "a header field such as \"Reply-To: ops@example.com\"".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_str().map(|text| UnparsedField(text.to_owned()))
    }
}

/// `true`, and nothing else.
pub(super) struct Yes;

impl Setting for Yes {
    fn expected() -> Cow<'static, str> {
        "true".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_bool().filter(|yes| *yes).map(|_| Yes)
    }
}

impl Setting for bool {
    fn expected() -> Cow<'static, str> {
        "true or false".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_bool()
    }
}

impl Setting for Selector {
    fn expected() -> Cow<'static, str> {
        "an address, \"@domain\" or the name of a local user".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        Selector::parse(value.as_str()?).ok()
    }
}

impl Setting for Replacement {
    fn expected() -> Cow<'static, str> {
        "an address such as \"ops@example.com\", or \"@domain\"".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        Replacement::parse(value.as_str().filter(|text| !has_variable(text))?).ok()
    }

    fn found(value: &DeValue<'_>) -> String {
        found_fixed(value)
    }
}

impl Setting for Template {
    fn expected() -> Cow<'static, str> {
        "an address such as \"ops@example.com\", in which %u is the user, %d the domain, %h this host and %% \
         a percent sign"
            .into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        Template::parse(value.as_str()?).ok()
    }
}

impl Setting for MasqueradeDomain {
    fn expected() -> Cow<'static, str> {
        "a domain such as \"example.com\", or \"!web1.example.com\" to leave one alone".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        MasqueradeDomain::parse(value.as_str()?).ok()
    }
}

words!(Class, "envelope-sender" => Class::EnvelopeSender, "envelope-recipient" => Class::EnvelopeRecipient,
    "header-sender" => Class::HeaderSender, "header-recipient" => Class::HeaderRecipient);

words!(LongLines, "fold" => LongLines::Fold, "keep" => LongLines::Keep, "encode" => LongLines::Encode);

impl Setting for Pattern {
    fn expected() -> Cow<'static, str> {
        "a regular expression such as \"^X-Mailer:\"".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        Pattern::new(value.as_str()?).ok()
    }

    fn found(value: &DeValue<'_>) -> String {
        match value.as_str().map(Pattern::new) {
            Some(Err(error)) => format!("{} ({error})", found(value)),
            _ => found(value),
        }
    }
}

impl Setting for RejectText {
    fn expected() -> Cow<'static, str> {
        "the text that the client gets: up to 400 characters of printable ASCII".into()
    }

    fn read(value: &DeValue<'_>) -> Option<Self> {
        RejectText::parse(value.as_str()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Setting>(good: &[&str], bad: &[&str]) {
        let accepts = |toml: &str| T::read(DeValue::parse(toml).unwrap().get_ref()).is_some();
        for toml in good {
            assert!(accepts(toml), "refused {toml}");
        }
        for toml in bad {
            assert!(!accepts(toml), "accepted {toml}");
        }
    }

    #[test]
    fn every_type_keeps_its_rule() {
        check::<LocalUserName>(&["'root'", r#""\"a b\"""#], &["''", "'a b'", "'root@x'", "'@x'", "0"]);
        check::<AliasTarget>(
            &["'root'", "'ann@x.example'", r#""\"|x\"@y""#],
            &["'|/bin/sh'", "'/var/mail/x'", "':include:/x'", "''"],
        );
        check::<OneRecipient>(&["'ann'", "'50%@x'"], &["'%u@x'", "'ann@%h'", "''", "'@x'"]);
        check::<NullSenderAddress>(
            &["'ann@x'", "'50%@x'"],
            &["'ann'", "'%u@x'", "'<>'", "''", "'@x'", "true"],
        );
        check::<Selector>(&["'root'", "'ann@x'", "'@x'"], &["''", "'@'", "'a b'", "'a@b@c'"]);
        check::<Replacement>(
            &["'root'", "'ann@x'", "'@x'"],
            &["''", "'@'", "'Ann <ann@x>'", "'%u@x'", "'@%d'"],
        );
        check::<Template>(&["'pi'", "'%u@%h'", "'100%%@x'"], &["''", "'%'", "'%n@x'", "'@x'", "'a b@x'"]);
        check::<MasqueradeDomain>(
            &["'x.example'", "'!x'"],
            &["''", "'!'", "'@x'", "'!!x'", "'x.'", "'[::1]'"],
        );
        check::<Class>(&["'header-sender'"], &["'header_sender'", "'header'", "''"]);
        check::<LongLines>(&["'fold'", "'keep'", "'encode'"], &["'Fold'", "'off'", "998", "true"]);
        check::<Pattern>(&["''", "'^X-(A|B):'", "'ü'"], &["'('", r"'(a)\1'", "5"]);
        check::<RejectText>(&["'no'"], &["''", "' '", r#""a\r\n250 b""#, "'nö'"]);
        check::<bool>(&["true", "false"], &["'true'", "1"]);
        check::<Yes>(&["true"], &["false", "'true'"]);
    }
}
