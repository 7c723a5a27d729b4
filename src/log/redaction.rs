//! Hides mail addresses in lines of the log: a keyed hash stands in place of each.
//!
//! Promises
//! 1. Nothing that stands as an address in a line is left: neither in the fields that hold one (`from=`, `to=`, `orig_to=`), nor in what
//!    a relay or a client said. Where it is not clear how far an address goes, more is hidden, not less.
//! 2. The same address has the same hash, in upper or lower case, with the same key; without the key nobody can tell which address it is,
//!    nor try one.
//! 3. The names of fields, queue ids, relays, codes and the words around an address stay as they are. An address in angle brackets
//!    or of a field is hashed as it is; so it can be searched for.
//!
//! Not hidden: what is no address, such as a local part alone in the words of a relay, login names, and the names of systemd's units,
//! which may have an `@`.
//!
//! Not here: where the key comes from (`spool/log_key.rs`), where lines are written (`journal.rs`).

use std::borrow::Cow;
use std::sync::LazyLock;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use regex::{Captures, Regex};

/// The octets of a hash that are shown.
const SHOWN: usize = 8;

/// What stands before the hash.
const MARK: &str = "address-";

/// Hides addresses with one key.
#[derive(Clone)]
pub struct Redactor(Key);

impl Redactor {
    /// Returns one for this key.
    pub fn new(key: &[u8]) -> Self {
        Redactor(Key::new(HMAC_SHA256, key))
    }

    /// Returns what stands in place of an address, such as `address-3f9a1c22b7d04e51`.
    pub fn token(&self, address: &str) -> String {
        let hash = sign(&self.0, address.to_lowercase().as_bytes());
        let digits: String = hash.as_ref().iter().take(SHOWN).map(|octet| format!("{octet:02x}")).collect();
        format!("{MARK}{digits}")
    }

    /// Returns the text of a line without addresses.
    pub fn line<'a>(&self, text: &'a str) -> Cow<'a, str> {
        PARTS.replace_all(text, |found: &Captures<'_>| self.part(found))
    }

    /// Returns a part of a line without the address in it.
    fn part(&self, found: &Captures<'_>) -> String {
        let group = |name| found.name(name).map(|part| part.as_str());
        if let (Some(start), Some(address)) = (group("field"), group("of_field")) {
            return format!("{start}{}>", self.token(address));
        }
        if let (Some(start), Some(name)) = (group("login"), group("of_login")) {
            return format!("{start}{}", self.token(name));
        }
        match group("address") {
            Some(address) => {
                let bare = address.trim_start_matches('\'').trim_end_matches(['.', '!', '?']);
                let at = address.len() - address.trim_start_matches('\'').len();
                let (before, behind) = (&address[..at], &address[at + bare.len()..]);
                format!("{before}{}{behind}", self.token(bare))
            }
            // The name of a unit.
            None => found[0].to_owned(),
        }
    }

    /// Returns the value of a field of a JSON line without addresses.
    fn value<'a>(&self, name: &str, value: &'a str) -> Cow<'a, str> {
        match name {
            "from" | "to" | "orig_to" if !value.is_empty() => Cow::Owned(self.token(value)),
            "unit" => Cow::Borrowed(value),
            _ => self.line(value),
        }
    }

    /// Returns a line that is a JSON object without addresses in its strings.
    pub fn json(&self, line: &str) -> String {
        let (mut out, mut rest, mut name) = (String::with_capacity(line.len()), line, String::new());
        while let Some(start) = rest.find('"') {
            let (before, string) = rest.split_at(start);
            let (string, behind) = string.split_at(end_of_string(string));
            out += before;
            match serde_json::from_str::<String>(string) {
                Ok(text) if behind.starts_with(':') => {
                    out += string;
                    name = text;
                }
                Ok(text) => out += &serde_json::Value::from(&*self.value(&name, &text)).to_string(),
                // It cannot be known what is in it.
                Err(_) => out += "\"\"",
            }
            rest = behind;
        }
        out + rest
    }
}

/// Returns the length of the JSON string that `text` starts with, with its quotes.
fn end_of_string(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.bytes().enumerate().skip(1).find(|(_, octet)| {
        let ends = *octet == b'"' && !is_escaped;
        is_escaped = *octet == b'\\' && !is_escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// The parts of a line that may hold an address; the first one that fits decides.
static PARTS: LazyLock<Regex> = LazyLock::new(|| {
    let quoted = r#""(?:[^"\\]|\\.)*""#;
    let field = format!(r"(?P<field>(?:^|[ ,:])(?:orig_to|to|from)=<)(?P<of_field>{quoted}[^>]*|[^>]+)>");
    let unit = r"(?:^|, )unit=[^ ,@]+(?:@[^ ,@]*)?\.(?:service|scope|slice|socket|timer|mount|path|target)(?:[ ,]|$)";
    let login = r"(?P<login>sasl_username=)(?P<of_login>[^ ,:@]*@[^ ,:]*)";
    let local = format!(r#"(?:{quoted}|[^ \t<>"(),;:\[\]@]+)"#);
    let domain = r#"(?:\[[^\]]*\]|[^ \t<>"'(),;:\[\]]+)"#;
    // The pattern is constant, and uses no class of Unicode, which the program is built without.
    Regex::new(&format!("{field}|{unit}|{login}|(?P<address>{local}@{domain})"))
        .expect("the pattern is a regular expression")
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redactor() -> Redactor {
        Redactor::new(&[7; 32])
    }

    /// Returns the line, with the address of each hash that stands for one of these.
    fn line(text: &str, known: &[&str]) -> String {
        let redactor = redactor();
        let line = redactor.line(text).into_owned();
        known.iter().enumerate().fold(line, |line, (number, address)| {
            line.replace(&redactor.token(address), &format!("#{number}"))
        })
    }

    #[test]
    fn an_address_is_hidden_wherever_it_stands() {
        let ann = "ann@example.org";
        for (text, hidden) in [
            (
                "18A4: to=<ann@example.org>, orig_to=<root>, relay=mx[192.0.2.5]:587",
                "18A4: to=<#0>, orig_to=<#1>, relay=mx[192.0.2.5]:587",
            ),
            ("18A4: to=<\"a > b\"@example.org>, relay=x", "18A4: to=<#2>, relay=x"),
            ("from=<>, size=12", "from=<>, size=12"),
            (
                "status=bounced (550 5.1.1 <Ann@Example.ORG>: no, see ann@example.org.)",
                "status=bounced (550 5.1.1 <#0>: no, see #0.)",
            ),
            (
                "550 rfc822;ann@example.org mailto:ann@example.org 'ann@example.org' (ann@example.org)",
                "550 rfc822;#0 mailto:#0 '#0' (#0)",
            ),
            ("550 user \"a > b\"@example.org", "550 user #2"),
            (
                "login: localhost, sasl_username=ann@example.org: wrong",
                "login: localhost, sasl_username=#0: wrong",
            ),
            (
                "sasl_username=shop, unit=user@1000.service (queued)",
                "sasl_username=shop, unit=user@1000.service (queued)",
            ),
            ("mail from <ann@example.org> is held", "mail from <#0> is held"),
            ("no address in here, at 10:00", "no address in here, at 10:00"),
        ] {
            assert_eq!(line(text, &[ann, "root", "\"a > b\"@example.org"]), hidden, "{text}");
        }
    }

    #[test]
    fn a_hash_needs_the_key() {
        let other = Redactor::new(&[8; 32]);
        let (one, two) = (redactor().token("ann@example.org"), redactor().token("ANN@example.org"));
        assert_eq!(one, two);
        assert_ne!(one, other.token("ann@example.org"));
        assert!(one.starts_with("address-") && one.len() == MARK.len() + 2 * SHOWN, "{one}");
    }

    #[test]
    fn a_json_line_keeps_its_fields() {
        let line = r#"{"level":"INFO","message":"18A4: to=<\"a b\"@example.org>","to":"\"a b\"@example.org","orig_to":"root","unit":"user@1000.service","size":12,"from":"","said":"250 ok \\"}"#;
        let told: serde_json::Value = serde_json::from_str(&redactor().json(line)).unwrap();
        let token = redactor().token("\"a b\"@example.org");
        assert_eq!(told["to"], token);
        assert_eq!(told["message"], format!("18A4: to=<{token}>"));
        assert_eq!(told["orig_to"], redactor().token("root"));
        assert_eq!(
            (&told["unit"], &told["size"], &told["from"]),
            (&"user@1000.service".into(), &12.into(), &"".into())
        );
        assert_eq!(told["said"], "250 ok \\");
    }

    proptest! {
        /// Whatever stands around it, no address that SMTP knows is left.
        #[test]
        fn no_address_is_left(
            before in "[ -~]{0,20}",
            local in "[a-z0-9!#$%&'*+/=?^_`{|}~.-]{6,12}",
            domain in "[a-z0-9]{3,9}\\.[a-z]{2,4}",
            behind in "[ -~]{0,20}",
        ) {
            let text = format!("{before} <{local}@{domain}> {behind}");
            let told = redactor().line(&text).into_owned();
            prop_assert!(!told.contains(&format!("{local}@{domain}")), "{}", told);
            let json = serde_json::json!({ "message": text, "said": format!("{local}@{domain}") }).to_string();
            let told = redactor().json(&json);
            prop_assert!(!told.contains(&format!("{local}@")), "{}", told);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&told).is_ok(), "{}", told);
        }
    }
}
