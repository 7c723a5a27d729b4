//! One thing that was looked at, as text and as JSON.
//!
//! Promises: its words are escaped, and stand on one line of JSON; without addresses, what may be a mail address is left out.

use std::sync::LazyLock;

use regex::Regex;
use serde::Serialize;

use super::super::paragraph::labelled;
use crate::log::Foreign;

/// Whether a thing is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Health {
    /// It is.
    Ok,
    /// It may not be, or will not for long, or could not be seen.
    Look,
    /// Mail does not get through, or is lost, as long as it is so.
    Broken,
}

/// A thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Finding {
    /// The name of the thing, the same for all findings about it.
    pub(super) check: &'static str,
    pub(super) result: Health,
    /// What was found.
    pub(super) words: String,
    /// What to do about it; `None` if nothing is to be done, or if `words` say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to_do: Option<String>,
}

impl Finding {
    /// Returns that all is well.
    pub(super) fn ok(check: &'static str, words: impl Into<String>) -> Self {
        Finding { check, result: Health::Ok, words: words.into(), to_do: None }
    }

    /// Returns something to look at, with what to do.
    pub(super) fn look(check: &'static str, words: impl Into<String>, to_do: impl Into<String>) -> Self {
        Finding { check, result: Health::Look, words: words.into(), to_do: Some(to_do.into()) }
    }

    /// Returns something to look at whose words say what to do.
    pub(super) fn doubt(check: &'static str, words: impl Into<String>) -> Self {
        Finding { check, result: Health::Look, words: words.into(), to_do: None }
    }

    /// Returns something that is broken, with what to do.
    pub(super) fn broken(check: &'static str, words: impl Into<String>, to_do: impl Into<String>) -> Self {
        Finding { check, result: Health::Broken, words: words.into(), to_do: Some(to_do.into()) }
    }

    /// Returns the same without mail addresses.
    pub(super) fn without_addresses(self) -> Self {
        let bare = |words: &str| ADDRESS.replace_all(words, "(address)").into_owned();
        Finding { words: bare(&self.words), to_do: self.to_do.as_deref().map(bare), ..self }
    }

    /// Returns its lines.
    pub(super) fn text(&self) -> String {
        let mark = match self.result {
            Health::Ok => "ok",
            Health::Look => "look",
            Health::Broken => "BROKEN",
        };
        let to_do = self.to_do.iter().map(|to_do| format!("To do: {}", Foreign(to_do)));
        let paragraphs: Vec<String> =
            std::iter::once(Foreign(&self.words).to_string()).chain(to_do).collect();
        labelled(&format!("{mark:<6} {:<13} ", self.check), &paragraphs)
    }
}

/// What may be a mail address: anything around an `@` that no punctuation of a sentence ends.
static ADDRESS: LazyLock<Regex> = LazyLock::new(|| {
    let local = r#"("[^"]*"|[^ \t<>"'(),;:\[\]=]+)"#;
    let domain = r#"(\[[^\]]*\]|[^ \t<>"'(),;:]+)"#;
    // The pattern is constant, and uses no class of Unicode, which the program is built without.
    Regex::new(&format!("{local}@{domain}")).expect("the pattern is a regular expression")
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_says_what_to_do_and_fits_a_terminal() {
        let taken =
            "127.0.0.1:25 is taken by master\u{1b} (pid 812): mail that is handed in there is not ours";
        let findings = [
            Finding::ok("disk", "46448 MiB free, of which 64 MiB stay free"),
            Finding::broken("ports", taken, "stop it, and keep it from starting again, then start nullmta"),
        ];
        let shown: String = findings.iter().map(Finding::text).collect();
        let expected = "\
ok     disk          46448 MiB free, of which 64 MiB stay free
BROKEN ports         127.0.0.1:25 is taken by master\\u{1b} (pid 812): mail that
                     is handed in there is not ours
                     To do: stop it, and keep it from starting again, then start
                     nullmta
";
        assert_eq!(shown, expected);
    }

    #[test]
    fn no_address_is_left() {
        for (words, bare) in [
            ("550 <ann@example.org> is unknown", "550 <(address)> is unknown"),
            ("as ann+x@example.org, then \"a b\"@[192.0.2.1]: no", "as (address), then (address): no"),
            ("from=ann@example.org; @home", "from=(address); @home"),
        ] {
            let finding = Finding::look("relay", words, words).without_addresses();
            assert_eq!((finding.words.as_str(), finding.to_do.as_deref()), (bare, Some(bare)));
        }
    }
}
