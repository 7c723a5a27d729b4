//! Lookup tables of Postfix, named as `type:name`, and the text files that they are made from.
//!
//! Promises: a table of an indexed type (`hash:`, `lmdb:` …) is read from the text file that it was made from; entries
//! have the order of their file; keys are in lower case, as in Postfix; of two entries with the same key, the first one
//! counts.
//!
//! Fails: a line that is not an entry is an error with its file and line. The error quotes nothing, since the table may
//! hold secrets. A table that cannot be read is not an error: it is [`Unread`], with the reason.

use std::collections::HashSet;

use super::files::SourceFiles;
use super::lines::{first_word, items, logical_lines};
use super::location::{ImportError, SourceLocation};
use super::main_cf::Parameters;
use super::pattern::{PostfixPattern, read_patterns};

/// A lookup table of Postfix, such as `hash:/etc/aliases`, as far as it can be read.
pub(super) enum LookupTable {
    /// The same value for every key.
    Static(MapEntry),
    /// A value for each of some keys.
    Pairs(Vec<MapEntry>),
    /// The value of the first pattern that matches.
    Patterns(Vec<PostfixPattern>),
    /// The table of this name cannot be read. It keeps its position in the list, because Postfix searches a later table
    /// only if this one has no answer.
    Unread(String),
}

/// One line of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MapEntry {
    pub(super) location: SourceLocation,
    pub(super) key: String,
    pub(super) value: String,
}

/// The lookup tables that a parameter lists.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) tables: Vec<LookupTable>,
    pub(super) unread: Vec<Unread>,
    /// Entries whose key occurred before in the same table. They never count.
    pub(super) repeated: Vec<MapEntry>,
}

/// A table that cannot be read.
pub(super) struct Unread {
    /// Its type and name; only the type for a table that stands in `main.cf` itself.
    pub(super) name: String,
    /// The reason why it cannot be read.
    pub(super) why: String,
}

/// Types whose text file has a key and a value on each line.
const KEYED: [&str; 7] = ["hash", "texthash", "btree", "lmdb", "dbm", "cdb", "sdbm"];

/// The form of the lines in a file of keys and values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A line is `key value`, as in postmap(1).
    Postmap,
    /// A line is `key: value`, as in aliases(5).
    Aliases,
}

/// Reads the tables that the parameter `name` lists.
pub(super) fn tables(
    parameters: &Parameters,
    name: &str,
    files: &SourceFiles<'_>,
    shape: Shape,
) -> Result<Tables, ImportError> {
    let value = parameters.value(name)?;
    let location = parameters
        .get(name)
        .map_or_else(|| SourceLocation::file("main.cf"), |parameter| parameter.location.clone());
    let mut found = Tables::default();
    for item in items(&value) {
        match table(item, &location, parameters, files, shape)? {
            Ok(LookupTable::Pairs(entries)) => {
                let (first, repeated) = by_key(entries);
                found.tables.push(LookupTable::Pairs(first));
                found.repeated.extend(repeated);
            }
            Ok(table) => found.tables.push(table),
            Err(why) => {
                found.tables.push(LookupTable::Unread(shown(item)));
                found.unread.push(Unread { name: shown(item), why });
            }
        }
    }
    Ok(found)
}

fn shown(item: &str) -> String {
    match split_type(item) {
        (Some(kind), name) if !name.starts_with('/') => format!("{kind}:…"),
        _ => item.into(),
    }
}

fn split_type(item: &str) -> (Option<&str>, &str) {
    let item = item.strip_prefix("proxy:").unwrap_or(item);
    item.split_once(':').map_or((None, item), |(kind, name)| (Some(kind), name))
}

fn table(
    item: &str,
    location: &SourceLocation,
    parameters: &Parameters,
    files: &SourceFiles<'_>,
    shape: Shape,
) -> Result<Result<LookupTable, String>, ImportError> {
    let (kind, name) = split_type(item);
    let kind = kind.map_or_else(|| parameters.value("default_database_type"), |kind| Ok(kind.into()))?;
    let inner = name.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).map(str::trim);
    match kind.as_str() {
        "static" => {
            let value = inner.unwrap_or(name);
            Ok(Ok(LookupTable::Static(MapEntry {
                location: location.clone(),
                key: String::new(),
                value: value.into(),
            })))
        }
        "inline" => inline(inner, location).map(LookupTable::Pairs).map(Ok),
        "regexp" | "pcre" => {
            if let Some(rules) = inner {
                let rules: Vec<&str> = items(rules).into_iter().map(unbraced).collect();
                return inline_patterns(&rules, location, &kind).map(LookupTable::Patterns).map(Ok);
            }
            Ok(match files.text(name)? {
                Some(text) => Ok(LookupTable::Patterns(read_patterns(name, &text, &kind)?)),
                None => Err("it is not there".into()),
            })
        }
        kind if KEYED.contains(&kind) => Ok(match files.text(name)? {
            Some(text) => Ok(LookupTable::Pairs(pairs(name, &text, shape)?)),
            None => Err("the text it was made of is not there".into()),
        }),
        kind => Ok(Err(format!("tables of type {kind} are not read"))),
    }
}

fn unbraced(item: &str) -> &str {
    item.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(item).trim()
}

fn inline_patterns(
    rules: &[&str],
    location: &SourceLocation,
    kind: &str,
) -> Result<Vec<PostfixPattern>, ImportError> {
    let patterns = read_patterns(&location.file, &rules.join("\n"), kind);
    let mut patterns = patterns.map_err(|error| location.error(error.message))?;
    patterns.iter_mut().for_each(|pattern| pattern.location = location.clone());
    Ok(patterns)
}

fn inline(inner: Option<&str>, location: &SourceLocation) -> Result<Vec<MapEntry>, ImportError> {
    let expected = || location.error("expected `inline:{ key=value, { key = value with spaces } }`");
    let mut entries = Vec::new();
    for item in items(inner.ok_or_else(expected)?) {
        let (key, value) = unbraced(item).split_once('=').ok_or_else(expected)?;
        add(&mut entries, location.clone(), key.trim(), value.trim());
    }
    Ok(entries)
}

/// Splits `entries` into the first one of each key and the later ones.
fn by_key(entries: Vec<MapEntry>) -> (Vec<MapEntry>, Vec<MapEntry>) {
    let mut seen = HashSet::new();
    entries.into_iter().partition(|entry| seen.insert(entry.key.clone()))
}

/// Returns the entries in `text`, the content of `file`, in their order. A key may occur twice.
pub(super) fn pairs(file: &str, text: &str, shape: Shape) -> Result<Vec<MapEntry>, ImportError> {
    let mut entries = Vec::new();
    for line in logical_lines(file, text)? {
        let (key, value, expected) = match shape {
            Shape::Postmap => {
                let (key, value) = first_word(&line.text);
                (key, value, "expected a key, white space and a value, found a key alone")
            }
            Shape::Aliases => {
                let (key, value) = line.text.split_once(':').unwrap_or((&line.text, ""));
                (key.trim().trim_matches('"'), value.trim(), "expected `name: value`")
            }
        };
        if key.is_empty() || value.is_empty() {
            return Err(line.location.error(expected));
        }
        add(&mut entries, line.location, key, value);
    }
    Ok(entries)
}

fn add(entries: &mut Vec<MapEntry>, location: SourceLocation, key: &str, value: &str) {
    entries.push(MapEntry { location, key: key.to_lowercase(), value: value.into() });
}

/// Returns the entry that `tables` have for `key`. Pattern tables are not searched.
pub(super) fn lookup<'t>(tables: &'t [LookupTable], key: &str) -> Option<&'t MapEntry> {
    let key = key.to_lowercase();
    tables.iter().find_map(|table| match table {
        LookupTable::Static(entry) => Some(entry),
        LookupTable::Pairs(entries) => entries.iter().find(|entry| entry.key == key),
        LookupTable::Patterns(_) | LookupTable::Unread(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::path::Path;

    fn read(path: &Path) -> io::Result<Vec<u8>> {
        match path.to_str().unwrap() {
            "/etc/postfix/map" => Ok(b"# c\nRoot  ops@example.com\nroot other\nb\n  c\td\n".to_vec()),
            "/etc/postfix/bad" => Ok(b"a b\nhunter2\n".to_vec()),
            "/etc/postfix/all" => Ok(b"/./ x\n".to_vec()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn of(value: &str) -> Result<Tables, ImportError> {
        let mut parameters = Parameters::of_host("web1");
        parameters.set(SourceLocation::line("/etc/postfix/main.cf", 7), "m", value);
        let files = SourceFiles::new(Path::new("/etc/postfix"), "/etc/postfix", &read);
        tables(&parameters, "m", &files, Shape::Postmap)
    }

    #[test]
    fn every_type_is_asked_in_its_order() {
        for (value, key, expected) in [
            ("hash:/etc/postfix/map", "ROOT", Some("ops@example.com")),
            ("proxy:texthash:$config_directory/map", "b", Some("c\td")),
            ("/etc/postfix/map", "root", Some("ops@example.com")),
            ("hash:/etc/postfix/map", "x", None),
            ("inline:{ root=a, {b = c d} }, static:z", "b", Some("c d")),
            ("inline:{ root=a } static:z", "q", Some("z")),
            ("static:{ two words }", "", Some("two words")),
            ("", "x", None),
        ] {
            let Tables { tables, unread, .. } = of(value).unwrap_or_else(|error| panic!("{value}: {error}"));
            assert_eq!(lookup(&tables, key).map(|entry| entry.value.as_str()), expected, "{value}");
            assert!(unread.is_empty());
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_reported() {
        let repeated = of("hash:/etc/postfix/map").unwrap().repeated;
        assert_eq!(repeated.len(), 1);
        assert_eq!((repeated[0].location.to_string().as_str(), repeated[0].key.as_str()), ("map:3", "root"));
    }

    #[test]
    fn what_cannot_be_had_has_a_reason_and_shows_no_secret() {
        let Tables { tables, unread, .. } =
            of("hash:/etc/postfix/gone, ldap:/etc/x, mysql:hunter2 regexp:/gone").unwrap();
        assert!(tables.iter().all(|table| matches!(table, LookupTable::Unread(_))) && tables.len() == 4);
        let said: Vec<_> = unread.iter().map(|table| format!("{}: {}", table.name, table.why)).collect();
        assert_eq!(
            said,
            [
                "hash:/etc/postfix/gone: the text it was made of is not there",
                "ldap:/etc/x: tables of type ldap are not read",
                "mysql:…: tables of type mysql are not read",
                "regexp:/gone: it is not there",
            ]
        );
    }

    #[test]
    fn broken_tables_name_the_line_and_quote_nothing() {
        for (value, said) in [
            (
                "hash:/etc/postfix/bad",
                "/etc/postfix/bad:2: expected a key, white space and a value, found a key alone",
            ),
            (
                "inline:hunter2",
                "/etc/postfix/main.cf:7: expected `inline:{ key=value, { key = value with spaces } }`",
            ),
            (
                "inline:{hunter2}",
                "/etc/postfix/main.cf:7: expected `inline:{ key=value, { key = value with spaces } }`",
            ),
        ] {
            assert_eq!(of(value).err().map(|error| error.to_string()).as_deref(), Some(said));
        }
    }

    #[test]
    fn aliases_have_a_colon() {
        let entries = pairs("/etc/aliases", "root: a@b,\n  c@d\n\"two words\": x\n", Shape::Aliases).unwrap();
        let shown: Vec<_> = entries.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())).collect();
        assert_eq!(shown, [("root", "a@b,  c@d"), ("two words", "x")]);
        let error = pairs("/etc/aliases", "root ops\n", Shape::Aliases).unwrap_err();
        assert_eq!(error.to_string(), "/etc/aliases:1: expected `name: value`");
    }
}
