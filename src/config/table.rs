//! A TOML document, table by table: each key is asked for once, what nobody asked for is an error.
//!
//! Promises: every fault has the line and the full key; the keys that an error lists are those that
//! are read, since asking for them is what lists them. [`table!`] declares a table once: its struct says
//! which keys there are, and a key is called as its field is, with hyphens.
//! Not here: which keys there are (`file.rs`, `rewrite.rs`), what a value may be (`setting.rs`).
//!
//! serde is not used: its errors know neither the key nor, for a wrong type, what the key wants.

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::error::{Fault, Place, line_at};
use super::setting::{Setting, found};

/// One table of the document, with the keys that were not taken from it yet.
pub(super) struct Table<'i> {
    text: &'i str,
    /// `tls` or `relay.timeouts`; empty for the document.
    name: String,
    entries: Vec<(Place, Spanned<DeValue<'i>>)>,
    asked: Vec<String>,
}

/// Declares a table of the file: its struct, and how it is read. Each field is a [`Part`].
macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        pub(in crate::config) struct $name {
            $(pub(in crate::config) $field: $type,)*
        }

        impl $name {
            fn read(mut table: $crate::config::table::Table<'_>) -> Result<Self, $crate::config::error::Fault> {
                let read = $name {
                    $($field: $crate::config::table::Part::take(&mut table, stringify!($field))?,)*
                };
                table.done()?;
                Ok(read)
            }
        }

        impl $crate::config::table::Part for $name {
            fn take(
                outer: &mut $crate::config::table::Table<'_>,
                key: &'static str,
            ) -> Result<Self, $crate::config::error::Fault> {
                outer.table(key).and_then($name::read)
            }
        }
    };
}

pub(super) use table;

/// What a key of a table may hold.
pub(super) trait Part: Sized {
    /// What stands in `table` under `key`; the file may leave it out.
    fn take(table: &mut Table<'_>, key: &'static str) -> Result<Self, Fault>;
}

impl<T: Setting> Part for Key<T> {
    fn take(table: &mut Table<'_>, key: &'static str) -> Result<Self, Fault> {
        table.take(key)
    }
}

impl<T: Setting> Part for Keys<T> {
    fn take(table: &mut Table<'_>, key: &'static str) -> Result<Self, Fault> {
        table.take_list(key)
    }
}

/// A key that the file may leave out.
pub(super) type Key<T> = Option<Entry<T>>;

/// A key that the file may leave out, one value or several.
pub(super) type Keys<T> = Option<List<T>>;

/// The value of `key`, where the file has it.
pub(super) fn given<T>(key: &Key<T>) -> Option<&T> {
    key.as_ref().map(|entry| &entry.value)
}

/// Where `key` stands, if the file has it.
pub(super) fn place_of<T>(key: &Key<T>) -> Option<&Place> {
    key.as_ref().map(|entry| &entry.place)
}

/// A value, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Entry<T> {
    pub(super) place: Place,
    pub(super) value: T,
}

/// The entries of a list, which the file may also write as a single value.
#[derive(Clone, Debug)]
pub(super) struct List<T> {
    pub(super) place: Place,
    pub(super) entries: Vec<Entry<T>>,
}

/// The entries of a table whose keys are values themselves.
pub(super) type Map<K, T> = Vec<(Entry<K>, List<T>)>;

impl<T: Clone> List<T> {
    /// The values alone.
    pub(super) fn values(&self) -> Vec<T> {
        self.entries.iter().map(|entry| entry.value.clone()).collect()
    }
}

impl<'i> Table<'i> {
    /// The whole of `text`.
    pub(super) fn document(text: &'i str) -> Result<Self, Fault> {
        match DeTable::parse(text) {
            Ok(table) => Ok(Table::of(text, String::new(), table.into_inner())),
            Err(error) => Err(syntax_fault(text, &error)),
        }
    }

    fn of(text: &'i str, name: String, table: DeTable<'i>) -> Self {
        let place = |key: &Spanned<DeString<'_>>| Place {
            line: line_at(text, key.span().start),
            key: full_key(&name, key.get_ref()),
        };
        let entries = table.into_iter().map(|(key, value)| (place(&key), value)).collect();
        Table { text, name, entries, asked: Vec::new() }
    }

    /// The value of `key`; `None` when the file does not have it.
    pub(super) fn take<T: Setting>(&mut self, key: &'static str) -> Result<Key<T>, Fault> {
        let Some((place, value)) = self.remove(key) else { return Ok(None) };
        read(self.text, place, &value).map(Some)
    }

    /// The values of `key`, a list of at least one or a single value; `None` when the file does not have it.
    pub(super) fn take_list<T: Setting>(&mut self, key: &'static str) -> Result<Keys<T>, Fault> {
        let Some((place, value)) = self.remove(key) else { return Ok(None) };
        read_list(self.text, place, &value).map(Some)
    }

    /// The entries of the table `key`, whose keys are values themselves; none when the file does not have it.
    pub(super) fn take_map<K: Setting, T: Setting>(&mut self, key: &'static str) -> Result<Map<K, T>, Fault> {
        let name = full_key(&self.name, &written(key));
        let Some((place, value)) = self.remove(key) else { return Ok(Vec::new()) };
        let table = match value.into_inner() {
            DeValue::Table(table) => table,
            other => return Err(place.expected(format!("a table, [{name}]"), found(&other))),
        };
        let mut entries = Vec::new();
        for (key, value) in table {
            let place =
                Place { line: line_at(self.text, key.span().start), key: full_key(&name, key.get_ref()) };
            let key = Spanned::new(key.span(), DeValue::String(key.into_inner()));
            entries.push((read(self.text, place.clone(), &key)?, read_list(self.text, place, &value)?));
        }
        // As the file has them, so that the first fault is the one that is shown.
        entries.sort_by_key(|(key, _): &(Entry<K>, _)| key.place.line);
        Ok(entries)
    }

    /// The tables of the list `key`, `[[key]]`, each with its place; none when the file does not have it.
    pub(super) fn tables(&mut self, key: &'static str) -> Result<Vec<(Place, Table<'i>)>, Fault> {
        let name = full_key(&self.name, &written(key));
        let Some((place, value)) = self.remove(key) else { return Ok(Vec::new()) };
        let expected = format!("a list of tables, [[{name}]]");
        let items = match value.into_inner() {
            DeValue::Array(items) => items,
            other => return Err(place.expected(expected, found(&other))),
        };
        let mut tables = Vec::new();
        for item in items {
            let place = Place { line: line_at(self.text, item.span().start), key: name.clone() };
            match item.into_inner() {
                DeValue::Table(table) => tables.push((place, Table::of(self.text, name.clone(), table))),
                other => return Err(place.expected(expected, found(&other))),
            }
        }
        Ok(tables)
    }

    /// The table `key`; an empty one when the file does not have it.
    pub(super) fn table(&mut self, key: &'static str) -> Result<Table<'i>, Fault> {
        let name = full_key(&self.name, &written(key));
        match self.remove(key) {
            None => Ok(Table { text: self.text, name, entries: Vec::new(), asked: Vec::new() }),
            Some((place, value)) => match value.into_inner() {
                DeValue::Table(table) => Ok(Table::of(self.text, name, table)),
                other => Err(place.expected(format!("a table, [{name}]"), found(&other))),
            },
        }
    }

    /// Refuses the keys that nobody asked for.
    pub(super) fn done(self) -> Result<(), Fault> {
        let Some((place, _)) = self.entries.iter().min_by_key(|(place, _)| place.line) else {
            return Ok(());
        };
        let prefix = if self.name.is_empty() { 0 } else { self.name.len() + 1 };
        let advice = advice_on(&place.key[prefix..], &self.asked);
        Err(place.fault(format!("unknown key{advice}; expected one of {}", self.asked.join(", "))))
    }

    fn remove(&mut self, key: &'static str) -> Option<(Place, Spanned<DeValue<'i>>)> {
        let key = written(key);
        let full = full_key(&self.name, &key);
        self.asked.push(key);
        let index = self.entries.iter().position(|(place, _)| place.key == full)?;
        Some(self.entries.swap_remove(index))
    }
}

fn read_list<T: Setting>(text: &str, place: Place, value: &Spanned<DeValue<'_>>) -> Result<List<T>, Fault> {
    let DeValue::Array(items) = value.get_ref() else {
        return read(text, place.clone(), value).map(|entry| List { place, entries: vec![entry] });
    };
    if items.is_empty() {
        return Err(place.expected(T::expected(), "an empty list"));
    }
    let entries = items.iter().map(|item| read(text, place.clone(), item)).collect::<Result<_, _>>()?;
    Ok(List { place, entries })
}

fn read<T: Setting>(text: &str, mut place: Place, value: &Spanned<DeValue<'_>>) -> Result<Entry<T>, Fault> {
    place.line = line_at(text, value.span().start);
    match T::read(value.get_ref()) {
        Some(value) => Ok(Entry { place, value }),
        None => Err(place.expected(T::expected(), T::found(value.get_ref()))),
    }
}

/// The key of the field `name`.
fn written(name: &str) -> String {
    name.replace('_', "-")
}

fn full_key(table: &str, key: &str) -> String {
    let key = key.escape_debug();
    if table.is_empty() { key.to_string() } else { format!("{table}.{key}") }
}

/// What an unknown key probably was meant to be, in brackets.
fn advice_on(unknown: &str, known: &[String]) -> String {
    match unknown {
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

/// The key that a typing error or two would make `unknown`.
fn nearest<'k>(unknown: &str, known: &'k [String]) -> Option<&'k str> {
    let edits = known.iter().map(|key| (edits_between(unknown, key), key.as_str()));
    edits.filter(|(edits, key)| *edits <= 1 + key.len() / 5).min().map(|(_, key)| key)
}

/// The Levenshtein distance.
fn edits_between(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

fn syntax_fault(text: &str, error: &toml::de::Error) -> Fault {
    // The text may end without its last line break; a fault at the end belongs to its last line.
    let end = text.trim_end().len();
    let offset = error.span().map_or(0, |span| span.start).min(end);
    let key = key_around(text, offset);
    // One line, whatever the parser says; its messages quote grammar, never the file.
    let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
    Place { line: line_at(text, offset), key }.fault(format!("not valid TOML: {message}"))
}

/// The key or table on the line that holds `offset`, as far as a line that is not TOML shows one.
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

/// The table that `line` opens.
fn table_of(line: &str) -> Option<&str> {
    line.trim().strip_prefix('[')?.split_once(']').map(|(name, _)| name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (a, b, edits) in
            [("", "", 0), ("", "abc", 3), ("mode", "mode", 0), ("mod", "mode", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!((edits_between(a, b), edits_between(b, a)), (edits, edits), "{a} {b}");
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
