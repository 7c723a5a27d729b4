//! What the reader of the log looks for: a message by its queue id, or those that an address or a Message-ID names.
//!
//! Promises: an address is compared with those of the line that nullmta wrote there (`from=`, `to=`, `orig_to=`), and a Message-ID
//! with `message-id=`, never with what a relay or a client said: text from outside gives nobody a message that is not theirs. Upper
//! and lower case are the same in an address.

use std::convert::Infallible;
use std::str::FromStr;

use crate::log::{Foreign, Redactor};
use crate::queue_id::QueueId;

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Id(QueueId),
    /// The messages from and to an address, or with a Message-ID; the text has no angle brackets.
    Named {
        given: String,
        /// The text as a line shows it, and as it shows it where addresses are hidden.
        shown: Vec<String>,
    },
}

impl FromStr for Wanted {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(id) = text.parse() {
            return Ok(Wanted::Id(id));
        }
        let bare = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
        Ok(Wanted::Named { given: text.to_owned(), shown: vec![Foreign(bare).to_string()] })
    }
}

impl Wanted {
    /// Returns the same, found also where the log hides addresses with this key.
    pub(super) fn or_hidden(self, redactor: &Redactor) -> Self {
        match self {
            Wanted::Named { given, mut shown } => {
                shown.extend(shown.first().map(|bare| redactor.token(bare)));
                Wanted::Named { given, shown }
            }
            Wanted::Id(_) => self,
        }
    }

    /// Returns the text that the user gave.
    pub(super) fn text(&self) -> String {
        match self {
            Wanted::Id(id) => id.to_string(),
            Wanted::Named { given, .. } => given.clone(),
        }
    }

    /// Returns whether the line, which is about the message `id`, makes that message one of those looked for.
    pub(super) fn means(&self, id: QueueId, text: &str) -> bool {
        match self {
            Wanted::Id(wanted) => *wanted == id,
            Wanted::Named { shown, .. } => shown.iter().any(|shown| {
                addresses(text).any(|address| address.eq_ignore_ascii_case(shown))
                    || message_id(text).is_some_and(|text| has_message_id(text, shown))
            }),
        }
    }

    /// Returns whether a line about no message names the address that is looked for.
    pub(super) fn is_named_in(&self, text: &str) -> bool {
        match self {
            Wanted::Named { shown, .. } => shown.iter().filter(|shown| !shown.is_empty()).any(|shown| {
                text.to_ascii_lowercase().contains(&format!("<{}>", shown.to_ascii_lowercase()))
            }),
            Wanted::Id(_) => false,
        }
    }
}

/// Returns the addresses of a line about a message: those of an attempt, or the reverse-path of an accepted one.
fn addresses(text: &str) -> impl Iterator<Item = &str> {
    let said = text.split_once(": ").map_or("", |(_, said)| said);
    let (first, second) = match said.strip_prefix("to=<") {
        Some(rest) => {
            let (to, rest) = split_address(rest);
            (Some(to), rest.strip_prefix(", orig_to=<").map(|rest| split_address(rest).0))
        }
        None if said.starts_with("client=") => {
            (said.split_once(", from=<").map(|(_, rest)| split_address(rest).0), None)
        }
        None => (None, None),
    };
    first.into_iter().chain(second)
}

/// Splits `text` at the angle bracket that ends an address; one in a quoted local part does not.
fn split_address(text: &str) -> (&str, &str) {
    let quoted = text.starts_with('"').then(|| end_of_quotes(text)).flatten().unwrap_or(0);
    let end = text[quoted..].find('>').map_or(text.len(), |at| quoted + at);
    (&text[..end], text.get(end + 1..).unwrap_or(""))
}

/// Returns where the quoted string ends that `text` starts with.
fn end_of_quotes(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    let ends = |(_, c): &(usize, char)| match (is_escaped, c) {
        (false, '"') => true,
        (escaped, c) => {
            is_escaped = !escaped && *c == '\\';
            false
        }
    };
    text.char_indices().skip(1).find(ends).map(|(at, _)| at + 1)
}

/// Returns the line about an accepted message from its Message-ID on.
fn message_id(text: &str) -> Option<&str> {
    let said = text.split_once(": ")?.1;
    let rest = said.starts_with("client=").then(|| said.split_once(", message-id="))??.1;
    rest.strip_suffix(" (queued)").or(Some(rest))
}

/// Returns whether `text` begins with the Message-ID `wanted`, which goes on to the end or to the process that submitted it.
fn has_message_id(text: &str, wanted: &str) -> bool {
    let rest = text.strip_prefix('<').and_then(|text| text.strip_prefix(wanted)?.strip_prefix('>'));
    let bare = || text.strip_prefix(wanted);
    rest.or_else(bare).is_some_and(|rest| rest.is_empty() || rest.starts_with(", gid="))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: QueueId = QueueId::from_raw(0x18A4_F1C9_A02B_3D40);

    fn means(wanted: &str, said: &str) -> bool {
        wanted.parse::<Wanted>().unwrap().means(ID, &format!("{ID}: {said}"))
    }

    #[test]
    fn a_message_is_named_by_its_addresses_and_its_message_id() {
        let accepted = "client=uid 1000 (ann), from=<ann@example.org>, size=12, nrcpt=1, proto=ESMTP, message-id=<2@web1>, gid=1000, \
                        pid=4711, command=<sendmail>, unit=cron.service (queued)";
        for wanted in ["ann@example.org", "<Ann@EXAMPLE.org>", "2@web1", "<2@web1>"] {
            assert!(means(wanted, accepted), "{wanted}");
        }
        for wanted in
            ["nn@example.org", "ann@example.or", "2@web", "uid 1000", "sendmail", "web1", "18A4F1C9A02B3D41"]
        {
            assert!(!means(wanted, accepted), "{wanted}");
        }
        assert!(means("3@app", "client=x, from=<>, size=1, nrcpt=1, proto=SMTP, message-id=3@app (queued)"));
        let sent = "to=<\"a > b\"@example.org>, orig_to=<root>, relay=x, dsn=2.0.0, status=sent (250 ok)";
        assert!(means("\"A > b\"@example.org", sent) && means("root", sent));
        assert!(means("18a4f1c9a02b3d40", sent));
    }

    /// A relay that repeats the address of another message in its reply would lead to that one.
    #[test]
    fn what_others_said_names_no_message() {
        for said in [
            "to=<ann@example.org>, relay=x, status=deferred (450 to=<bob@example.org>, orig_to=<bob@example.org>)",
            "client=localhost[::1], from=<ann@example.org>, size=1, nrcpt=1, proto=SMTP, helo=<x>, from=<bob@example.org> (queued)",
            "possible duplicate: to=<bob@example.org>",
            "to=<\"a>, orig_to=<bob@example.org>\"@example.org>, relay=x, status=sent (250 ok)",
        ] {
            assert!(!means("bob@example.org", said), "{said}");
        }
    }

    #[test]
    fn a_hidden_address_is_found_with_the_key() {
        let redactor = Redactor::new(b"key");
        let accepted =
            "client=x, from=<ann@example.org>, size=1, nrcpt=1, proto=SMTP, message-id=<3@app> (queued)";
        let hidden = format!("{ID}: {}", redactor.line(accepted));
        for wanted in ["Ann@example.org", "<3@app>"] {
            let wanted: Wanted = wanted.parse().unwrap();
            assert!(!wanted.means(ID, &hidden), "{hidden}");
            assert!(wanted.clone().or_hidden(&redactor).means(ID, &hidden), "{hidden}");
            assert!(
                wanted.or_hidden(&redactor).means(ID, &format!("{ID}: {accepted}")),
                "of before it was set"
            );
        }
    }

    #[test]
    fn a_refusal_names_an_address() {
        let named = |wanted: &str| {
            wanted
                .parse::<Wanted>()
                .unwrap()
                .is_named_in("NOQUEUE: reject: RCPT from x: 553 5.1.3 <Bob@example.org>")
        };
        assert!(
            named("bob@example.org")
                && !named("ob@example.org")
                && !named("<>")
                && !named("18A4F1C9A02B3D40")
        );
    }
}
