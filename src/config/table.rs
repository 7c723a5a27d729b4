//! Reads a TOML document table by table. Each key is requested once; a key that was never requested is an error.
//!
//! Promises: every fault has the line and the full key. The keys that an error lists are exactly those that are read,
//! because requesting a key also adds it to that list. [`table!`] declares a table once: the fields of its struct are
//! the keys, with hyphens in place of underscores.
//! Not here: which keys there are (`file.rs`, `rewrite.rs`), what a value may be (`setting.rs`).
//!
//! serde is not used: its errors know neither the key nor, for a wrong type, what the key wants.

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::error::{ConfigFault, KeyLocation, line_at};
use super::setting::{Setting, found};

/// One table of the document, with the keys that were not requested yet.
pub(super) struct TomlTable<'i> {
    text: &'i str,
    /// The name of the table, such as `tls` or `relay.timeouts`; empty for the whole document.
    name: String,
    entries: Vec<(KeyLocation, Spanned<DeValue<'i>>)>,
    asked: Vec<String>,
}

/// Declares a table of the file: its struct, and how it is read. Each field is a [`TablePart`].
macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        pub(in crate::config) struct $name {
            $(pub(in crate::config) $field: $type,)*
        }

        impl $name {
            fn read(mut table: $crate::config::table::TomlTable<'_>) -> Result<Self, $crate::config::error::ConfigFault> {
                let read = $name {
                    $($field: $crate::config::table::TablePart::take(&mut table, stringify!($field))?,)*
                };
                table.done()?;
                Ok(read)
            }
        }

        impl $crate::config::table::TablePart for $name {
            fn take(
                outer: &mut $crate::config::table::TomlTable<'_>,
                key: &'static str,
            ) -> Result<Self, $crate::config::error::ConfigFault> {
                outer.table(key).and_then($name::read)
            }
        }
    };
}

pub(super) use table;

/// A type that a field of a [`table!`] may have.
pub(super) trait TablePart: Sized {
    /// Returns the value of `key` in `table`, or the value that means that the file leaves the key out.
    fn take(table: &mut TomlTable<'_>, key: &'static str) -> Result<Self, ConfigFault>;
}

impl<T: Setting> TablePart for Key<T> {
    fn take(table: &mut TomlTable<'_>, key: &'static str) -> Result<Self, ConfigFault> {
        table.take(key)
    }
}

impl<T: Setting> TablePart for Keys<T> {
    fn take(table: &mut TomlTable<'_>, key: &'static str) -> Result<Self, ConfigFault> {
        table.take_list(key)
    }
}

/// A single value, or `None` if the file leaves the key out.
pub(super) type Key<T> = Option<Located<T>>;

/// One value or several, or `None` if the file leaves the key out.
pub(super) type Keys<T> = Option<LocatedList<T>>;

/// Returns the value of `key`; `None` if the file leaves the key out.
pub(super) fn given<T>(key: &Key<T>) -> Option<&T> {
    key.as_ref().map(|entry| &entry.value)
}

/// Returns the position of `key`; `None` if the file leaves the key out.
pub(super) fn location_of<T>(key: &Key<T>) -> Option<&KeyLocation> {
    key.as_ref().map(|entry| &entry.location)
}

/// A value with its position in the file.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub(super) location: KeyLocation,
    pub(super) value: T,
}

/// The entries of a list. In the file, a list of one entry may also be written as a single value.
#[derive(Clone, Debug)]
pub(super) struct LocatedList<T> {
    pub(super) location: KeyLocation,
    pub(super) entries: Vec<Located<T>>,
}

/// The entries of a table whose keys are values themselves, such as `rewrite.aliases`.
pub(super) type Map<K, T> = Vec<(Located<K>, LocatedList<T>)>;

impl<T: Clone> LocatedList<T> {
    /// Returns the values without their positions.
    pub(super) fn values(&self) -> Vec<T> {
        self.entries.iter().map(|entry| entry.value.clone()).collect()
    }
}

impl<'i> TomlTable<'i> {
    /// Parses `text` and returns the table of the whole document.
    pub(super) fn document(text: &'i str) -> Result<Self, ConfigFault> {
        match DeTable::parse(text) {
            Ok(table) => Ok(TomlTable::of(text, String::new(), table.into_inner())),
            Err(error) => Err(syntax_fault(text, &error)),
        }
    }

    fn of(text: &'i str, name: String, table: DeTable<'i>) -> Self {
        let location = |key: &Spanned<DeString<'_>>| KeyLocation {
            line: line_at(text, key.span().start),
            key: full_key(&name, key.get_ref()),
        };
        let entries = table.into_iter().map(|(key, value)| (location(&key), value)).collect();
        TomlTable { text, name, entries, asked: Vec::new() }
    }

    /// Requests `key` and returns its value; `None` if the file leaves it out.
    pub(super) fn take<T: Setting>(&mut self, key: &'static str) -> Result<Key<T>, ConfigFault> {
        let Some((location, value)) = self.remove(key) else { return Ok(None) };
        read(self.text, location, &value).map(Some)
    }

    /// Requests `key` and returns its values, at least one; `None` if the file leaves it out.
    pub(super) fn take_list<T: Setting>(&mut self, key: &'static str) -> Result<Keys<T>, ConfigFault> {
        let Some((location, value)) = self.remove(key) else { return Ok(None) };
        read_list(self.text, location, &value).map(Some)
    }

    /// Requests the table `key`, whose keys are values themselves, and returns its entries; none if the file leaves it
    /// out.
    pub(super) fn take_map<K: Setting, T: Setting>(
        &mut self,
        key: &'static str,
    ) -> Result<Map<K, T>, ConfigFault> {
        let name = full_key(&self.name, &written(key));
        let Some((location, value)) = self.remove(key) else { return Ok(Vec::new()) };
        let table = match value.into_inner() {
            DeValue::Table(table) => table,
            other => return Err(location.expected(format!("a table, [{name}]"), found(&other))),
        };
        let mut entries = Vec::new();
        for (key, value) in table {
            let location = KeyLocation {
                line: line_at(self.text, key.span().start),
                key: full_key(&name, key.get_ref()),
            };
            let key = Spanned::new(key.span(), DeValue::String(key.into_inner()));
            entries.push((read(self.text, location.clone(), &key)?, read_list(self.text, location, &value)?));
        }
        // The order of the file, so that the first error in it is the one that is shown.
        entries.sort_by_key(|(key, _): &(Located<K>, _)| key.location.line);
        Ok(entries)
    }

    /// Requests the list of tables `[[key]]` and returns each table with its position; none if the file leaves it out.
    pub(super) fn tables(
        &mut self,
        key: &'static str,
    ) -> Result<Vec<(KeyLocation, TomlTable<'i>)>, ConfigFault> {
        self.tables_named(key, |name, _| name.to_owned())
    }

    /// Does the same, and calls the tables `key[1]`, `key[2]` and so on in errors.
    pub(super) fn numbered_tables(
        &mut self,
        key: &'static str,
    ) -> Result<Vec<(KeyLocation, TomlTable<'i>)>, ConfigFault> {
        self.tables_named(key, |name, number| format!("{name}[{number}]"))
    }

    fn tables_named(
        &mut self,
        key: &'static str,
        called: impl Fn(&str, usize) -> String,
    ) -> Result<Vec<(KeyLocation, TomlTable<'i>)>, ConfigFault> {
        let name = full_key(&self.name, &written(key));
        let Some((location, value)) = self.remove(key) else { return Ok(Vec::new()) };
        let expected = format!("a list of tables, [[{}]]", heading(&name));
        let items = match value.into_inner() {
            DeValue::Array(items) => items,
            other => return Err(location.expected(expected, found(&other))),
        };
        let mut tables = Vec::new();
        for (place, item) in items.into_iter().enumerate() {
            let name = called(&name, place + 1);
            let location = KeyLocation { line: line_at(self.text, item.span().start), key: name.clone() };
            match item.into_inner() {
                DeValue::Table(table) => tables.push((location, TomlTable::of(self.text, name, table))),
                other => return Err(location.expected(expected, found(&other))),
            }
        }
        Ok(tables)
    }

    /// Requests the table `key` and returns it; an empty one if the file leaves it out.
    pub(super) fn table(&mut self, key: &'static str) -> Result<TomlTable<'i>, ConfigFault> {
        let name = full_key(&self.name, &written(key));
        match self.remove(key) {
            None => Ok(TomlTable { text: self.text, name, entries: Vec::new(), asked: Vec::new() }),
            Some((location, value)) => match value.into_inner() {
                DeValue::Table(table) => Ok(TomlTable::of(self.text, name, table)),
                other => Err(location.expected(format!("a table, [{}]", heading(&name)), found(&other))),
            },
        }
    }

    /// Returns an error if the file has a key here that was never requested.
    pub(super) fn done(self) -> Result<(), ConfigFault> {
        let Some((location, _)) = self.entries.iter().min_by_key(|(location, _)| location.line) else {
            return Ok(());
        };
        let prefix = if self.name.is_empty() { 0 } else { self.name.len() + 1 };
        let advice = advice_on(&location.key[prefix..], &self.asked);
        Err(location.fault(format!("unknown key{advice}; expected one of {}", self.asked.join(", "))))
    }

    fn remove(&mut self, key: &'static str) -> Option<(KeyLocation, Spanned<DeValue<'i>>)> {
        let key = written(key);
        let full = full_key(&self.name, &key);
        self.asked.push(key);
        let index = self.entries.iter().position(|(location, _)| location.key == full)?;
        Some(self.entries.swap_remove(index))
    }
}

fn read_list<T: Setting>(
    text: &str,
    location: KeyLocation,
    value: &Spanned<DeValue<'_>>,
) -> Result<LocatedList<T>, ConfigFault> {
    let DeValue::Array(items) = value.get_ref() else {
        return read(text, location.clone(), value)
            .map(|entry| LocatedList { location, entries: vec![entry] });
    };
    if items.is_empty() {
        return Err(location.expected(T::expected(), "an empty list"));
    }
    let entries = items.iter().map(|item| read(text, location.clone(), item)).collect::<Result<_, _>>()?;
    Ok(LocatedList { location, entries })
}

fn read<T: Setting>(
    text: &str,
    mut location: KeyLocation,
    value: &Spanned<DeValue<'_>>,
) -> Result<Located<T>, ConfigFault> {
    location.line = line_at(text, value.span().start);
    match T::read(value.get_ref()) {
        Some(value) => Ok(Located { location, value }),
        None => Err(location.expected(T::expected(), T::found(value.get_ref()))),
    }
}

/// Returns the key of the field `name`: hyphens replace underscores.
fn written(name: &str) -> String {
    name.replace('_', "-")
}

/// Returns the name of a table as its heading has it: without the number of a table of a list.
fn heading(name: &str) -> String {
    let parts = name.split('.').map(|part| part.split_once('[').map_or(part, |(list, _)| list));
    parts.collect::<Vec<_>>().join(".")
}

fn full_key(table: &str, key: &str) -> String {
    let key = key.escape_debug();
    if table.is_empty() { key.to_string() } else { format!("{table}.{key}") }
}

/// Returns a hint in brackets about what the unknown key was probably meant to be; may be empty.
fn advice_on(unknown: &str, known: &[String]) -> String {
    match unknown {
        "password" if known.iter().any(|key| key == "scram-sha-256") => {
            " (no password stands in this file, only its keys: nullmta user passwd writes them)".into()
        }
        "password" | "secret" | "token" => {
            " (no secret stands in this file: put it in one of its own and name that in `password-file`)"
                .into()
        }
        "verify" | "insecure" | "tls-verify" => {
            " (the relay is always verified: `ca-file` or `pin-sha256` say what is trusted)".into()
        }
        "relayhost" | "spool" => format!(" in this table (`{unknown}` stands above the first [table])"),
        _ => nearest(unknown, known).map_or_else(String::new, |key| format!(" (did you mean `{key}`?)")),
    }
}

/// Returns the known key that differs from `unknown` by a few typing errors at most.
fn nearest<'k>(unknown: &str, known: &'k [String]) -> Option<&'k str> {
    let edits = known.iter().map(|key| (strsim::levenshtein(unknown, key), key.as_str()));
    edits.filter(|(edits, key)| *edits <= 1 + key.len() / 5).min().map(|(_, key)| key)
}

fn syntax_fault(text: &str, error: &toml::de::Error) -> ConfigFault {
    // The text may end without its last line break; a fault at the end belongs to its last line.
    let end = text.trim_end().len();
    let offset = error.span().map_or(0, |span| span.start).min(end);
    let key = key_around(text, offset);
    // The parser's message may have several lines; it never quotes the file.
    let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
    KeyLocation { line: line_at(text, offset), key }.fault(format!("not valid TOML: {message}"))
}

/// Returns the key or the table on the line that holds `offset`; empty if none can be found there. The line need not
/// be valid TOML.
fn key_around(text: &str, offset: usize) -> String {
    let start = text[..text.floor_char_boundary(offset)].rfind('\n').map_or(0, |at| at + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let is_key =
        |key: &&str| !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if let Some(table) = table_of(line).filter(is_key) {
        return table.into();
    }
    let Some(key) = line.split_once('=').map(|(key, _)| key.trim()).filter(is_key) else {
        return String::new();
    };
    full_key(text[..start].lines().rev().find_map(table_of).unwrap_or_default(), key)
}

/// Returns the name of the table whose heading `line` is.
fn table_of(line: &str) -> Option<&str> {
    line.trim().strip_prefix('[')?.split_once(']').map(|(name, _)| name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_has_the_fewest_edits_and_not_too_many() {
        let known = ["mode", "modem", "sitting"].map(str::to_owned);
        for (unknown, expected) in [
            ("mode", Some("mode")),
            ("mod", Some("mode")),
            ("modems", Some("modem")),
            ("kitten", None),
            ("", None),
        ] {
            assert_eq!(nearest(unknown, &known), expected, "{unknown}");
        }
    }

    #[test]
    fn advice_is_given_only_when_a_key_is_near() {
        let known = ["max-message-size", "max-messages", "mode"].map(str::to_owned);
        assert_eq!(advice_on("max-mesage-size", &known), " (did you mean `max-message-size`?)");
        assert_eq!(advice_on("max_messages", &known), " (did you mean `max-messages`?)");
        assert_eq!(advice_on("colour", &known), "");
        assert!(advice_on("password", &known).contains("no secret stands in this file"));
    }

    #[test]
    fn the_key_of_a_broken_line_is_found_or_left_out() {
        let text = "[tls] # x\n\nmode = starttls\nü = \"";
        assert_eq!(key_around(text, text.find("starttls").unwrap()), "tls.mode");
        assert_eq!(key_around(text, text.len()), "");
        assert_eq!(key_around("relayhost = x", 3), "relayhost");
        assert_eq!(key_around("[tls]\n[auth]\n[tls]", 14), "tls");
        assert_eq!(key_around("[a b] c\nx = y", 9), "a b.x");
        assert_eq!(key_around("", 0), "");
    }
}
