//! The names of the keys and tables about a relay, as sentences give them to an operator.
//!
//! Promises: a sentence is written as for the relay of the top-level `relayhost`, whose tables are `[auth]`, `[tls]` and
//! `[relay]`. For the relay of a route, [`on_route`] gives each of them the name that it has there: `[route.auth] of route
//! news`, `route.tls.mode`. Only our own words go through it, and in them only the tables and keys that exist: the host
//! `relay.example` stays as it is.
//!
//! Pure. Not here: the names in errors about a line of the file, `route[2].tls.mode` (`config/error.rs`).

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// A table about a relay, with its keys.
struct RelayTableName {
    table: &'static str,
    keys: &'static [&'static str],
    /// Those of its keys that are tables themselves.
    tables: &'static [&'static str],
}

const TABLES: [RelayTableName; 3] = [
    RelayTableName {
        table: "auth",
        keys: &[
            "username",
            "password-file",
            "credential",
            "password-command",
            "token-file",
            "token-command",
            "mechanisms",
            "oauth",
        ],
        tables: &["oauth"],
    },
    RelayTableName {
        table: "tls",
        keys: &[
            "mode",
            "ca-file",
            "pin-sha256",
            "server-name",
            "client-certificate",
            "client-key",
            "minimum",
            "key-exchange",
        ],
        tables: &[],
    },
    RelayTableName {
        table: "relay",
        keys: &[
            "max-connections",
            "messages-per-connection",
            "recipients-per-message",
            "domains-per-message",
            "rate",
            "connection-age",
            "pipelining",
            "eight-bit",
            "idle",
            "helo-name",
            "source-address",
            "address-family",
            "reply",
            "timeouts",
        ],
        tables: &["reply", "timeouts"],
    },
];

/// What may be the name of a table in brackets, or of a key.
static CANDIDATE: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?P<open>\[\[?)?(?P<table>auth|tls|relay)(?P<path>(?:\.[a-z0-9]+(?:-[a-z0-9]+)*)*)(?:(?P<close>\]\]?)(?: [0-9]+)?)?";
    // The pattern is constant, and uses no class of Unicode, which the program is built without.
    Regex::new(pattern).expect("the pattern is a regular expression")
});

/// Returns our sentence `words` about a relay with the names that its tables and keys have on `route`; `None` is the relay
/// of the top-level `relayhost`.
pub fn on_route<'w>(words: &'w str, route: Option<&str>) -> Cow<'w, str> {
    let Some(route) = route else { return Cow::Borrowed(words) };
    CANDIDATE.replace_all(words, |found: &Captures<'_>| {
        // The whole match is always there.
        let whole = found.get(0).expect("a match has a text");
        let (before, after) = (&words[..whole.start()], &words[whole.end()..]);
        match NameKind::of(found, before, after) {
            None => whole.as_str().to_owned(),
            Some(NameKind::Key) => format!("route.{}", whole.as_str()),
            Some(NameKind::Table) => {
                let opened = found.name("open").map_or("", |open| open.as_str());
                format!("{opened}route.{} of route {route}", &whole.as_str()[opened.len()..])
            }
        }
    })
}

/// Does the same, and puts the route in front of a sentence that names a table or a key. One that does not is about a host,
/// whichever route leads there.
pub fn about_relay(words: &str, route: Option<&str>) -> String {
    match (route, on_route(words, route)) {
        (Some(route), named) if named != words => format!("route {route}: {named}"),
        (_, named) => named.into_owned(),
    }
}

/// What a name in a sentence names.
enum NameKind {
    Table,
    Key,
}

impl NameKind {
    /// Returns the kind of the name that was found between `before` and `after`; `None` if it is no name of ours.
    fn of(found: &Captures<'_>, before: &str, after: &str) -> Option<NameKind> {
        let known = TABLES.iter().find(|known| &found["table"] == known.table)?;
        let mut path = found["path"].split('.').skip(1);
        let (first, further) = (path.next(), path.count());
        let is_table = first.is_none_or(|first| known.tables.contains(&first)) && further == 0;
        match (found.name("open"), found.name("close")) {
            (Some(open), Some(close)) => (open.len() == close.len() && is_table).then_some(NameKind::Table),
            (None, None) => {
                let first = first.filter(|first| known.keys.contains(first))?;
                let ends = further == 0 || known.tables.contains(&first);
                let is_part = |c: char| c.is_alphanumeric() || "_-@".contains(c);
                let goes_on =
                    before.ends_with(|c| is_part(c) || "./".contains(c)) || after.starts_with(is_part);
                (ends && !goes_on).then_some(NameKind::Key)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn each_table_and_key_has_the_name_that_it_has_on_the_route() {
        let table = [
            ("set [auth]: this relay", "set [route.auth] of route news: this relay"),
            ("see [auth.oauth]", "see [route.auth.oauth] of route news"),
            ("[[relay.reply]] 2: no", "[[route.relay.reply]] 2 of route news: no"),
            ("set tls.mode = \"implicit\"", "set route.tls.mode = \"implicit\""),
            ("(auth.mechanisms).", "(route.auth.mechanisms)."),
            (
                "are auth.username and auth.oauth.scope right?",
                "are route.auth.username and route.auth.oauth.scope right?",
            ),
            ("at most relay.idle.", "at most route.relay.idle."),
            ("no key here", "no key here"),
            // Hosts, and what has its name already.
            ("relay.example[192.0.2.1]:587: no", "relay.example[192.0.2.1]:587: no"),
            ("tls.mode.example and my-relay.rate", "tls.mode.example and my-relay.rate"),
            ("relay.reply-to.example", "relay.reply-to.example"),
            ("route[2].tls.mode, route.auth.username", "route[2].tls.mode, route.auth.username"),
            ("the relay [is] tls", "the relay [is] tls"),
        ];
        for (words, expected) in table {
            assert_eq!(on_route(words, Some("news")), expected);
            assert!(matches!(on_route(words, None), Cow::Borrowed(same) if same == words));
        }
    }

    #[test]
    fn the_route_stands_before_a_sentence_about_its_tables() {
        assert_eq!(about_relay("set [tls]", Some("news")), "route news: set [route.tls] of route news");
        assert_eq!(about_relay("mx.example is not found", Some("news")), "mx.example is not found");
        assert_eq!(about_relay("set [tls]", None), "set [tls]");
    }

    /// A key that is not here would be named as that of another relay.
    #[test]
    fn every_key_about_a_relay_is_known() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nullmta.toml");
        for known in &TABLES {
            std::fs::write(&path, format!("relayhost = \"a.example\"\n{}.unknown = 1\n", known.table))
                .unwrap();
            let said = Config::read(&path).unwrap_err().to_string();
            let (_, listed) = said.split_once("expected one of ").unwrap();
            assert_eq!(listed, known.keys.join(", "), "{}", known.table);
        }
    }
}
