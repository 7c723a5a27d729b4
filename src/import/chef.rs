//! The attributes of Chef's `postfix` cookbook, as JSON: a node's, a role's, or the `postfix` table alone.
//!
//! Promises: the attributes are turned into the files that the cookbook would write, and these are imported as files of
//! Postfix; no other file is read. `override_attributes` of a role take precedence over its `default_attributes`.
//! Each attribute becomes a key or is listed.
//!
//! Fails: text that is no JSON, with its line, and JSON without `postfix`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::ImportOptions;
use super::draft::{Cited, ConfigDraft, Omission};
use super::files::SourceFiles;
use super::location::{ImportError, SourceLocation};
use super::main_cf::Parameters;
use super::postfix;

/// The tables that hold attributes, the one with the lowest precedence first. The empty name is the document itself.
const LEVELS: [&str; 7] =
    ["default", "default_attributes", "", "normal", "normal_attributes", "override", "override_attributes"];

/// Lookup tables that have an attribute of their own: the attribute, the file, the parameter that names the file, and the
/// attribute, if any, that makes the cookbook set this parameter.
const TABLES: [(&str, &str, &str, Option<&str>); 6] = [
    ("sender_canonical_map_entries", "/etc/postfix/sender_canonical", "sender_canonical_maps", None),
    ("recipient_canonical_map_entries", "/etc/postfix/recipient_canonical", "recipient_canonical_maps", None),
    ("smtp_generic_map_entries", "/etc/postfix/smtp_generic", "smtp_generic_maps", None),
    ("virtual_aliases", "/etc/postfix/virtual", "virtual_alias_maps", Some("use_virtual_aliases")),
    ("transports", "/etc/postfix/transport", "transport_maps", Some("use_transport_maps")),
    // Postfix reads /etc/aliases without being told.
    ("aliases", "/etc/aliases", "alias_maps", None),
];

const UNUSED: &str = "the attribute that has Postfix read it is not true";

/// The reasons why the other attributes become no key; a `*` at the end stands for the rest of the name.
const REASONS: [(&str, Omission, &str); 15] = [
    ("mail_type", Omission::AlreadySo, "nullmta is a client"),
    ("use_procmail", Omission::AlreadySo, "nothing is delivered on this host"),
    ("use_*", Omission::AlreadySo, "it says which of the tables Postfix reads"),
    ("*_db", Omission::AlreadySo, "it is about Postfix's own files"),
    ("*_db_type", Omission::AlreadySo, "it is about Postfix's own files"),
    ("*_template_source", Omission::AlreadySo, "it is about Postfix's own files"),
    ("conf_dir", Omission::AlreadySo, "it is about Postfix's own files"),
    ("sasl_password_file", Omission::AlreadySo, "it is about Postfix's own files"),
    ("packages", Omission::AlreadySo, "it is about Postfix's own files"),
    ("uid", Omission::AlreadySo, "the unit file says who nullmta runs as"),
    ("cafile", Omission::NotCarried, "the system's CA bundle is trusted; another one is tls.ca-file"),
    ("relayhost_*", Omission::NotCarried, "no node is searched for: write relayhost"),
    ("multi_environment_relay", Omission::NotCarried, "no node is searched for: write relayhost"),
    (
        "maps",
        Omission::NotCarried,
        "these tables are read only where the parameters of main name a table above",
    ),
    ("master", Omission::NotCarried, "nullmta is one process: its services are not to be chosen"),
];

const SASL_PASSWD: &str = "/etc/postfix/sasl_passwd";

/// Adds to `draft` the configuration of Postfix that the attributes in `text` describe.
pub(super) fn carry(
    location: &SourceLocation,
    text: &str,
    options: &ImportOptions<'_>,
    draft: &mut ConfigDraft,
) -> Result<(), ImportError> {
    let document: Value = serde_json::from_str(text).map_err(|error| {
        SourceLocation::line(&location.file, error.line()).error("expected JSON, found something else")
    })?;
    let mut cookbook = Cookbook {
        location,
        parameters: Parameters::of_host(options.hostname),
        files: BTreeMap::new(),
        attributes: BTreeMap::new(),
    };
    let mut found = false;
    for level in LEVELS {
        let above = if level.is_empty() { Some(&document) } else { document.get(level) };
        // A bare `{"main": {…}}` is the `postfix` table itself.
        let bare = above.filter(|above| level.is_empty() && above.get("main").is_some());
        if let Some(Value::Object(attributes)) = above.and_then(|above| above.get("postfix")).or(bare) {
            found = true;
            cookbook.read(attributes)?;
        }
    }
    if !found {
        return Err(
            location.error("expected the attributes of the postfix cookbook: {\"postfix\": {\"main\": {…}}}")
        );
    }
    cookbook.name_tables(draft);
    let (written, attributes) = (cookbook.files, cookbook.attributes);
    let read = |path: &Path| {
        let text = written.get(path).map(|text| text.as_bytes().to_vec());
        text.ok_or_else(|| io::ErrorKind::NotFound.into())
    };
    let files = SourceFiles::new(Path::new("/etc/postfix"), "/etc/postfix", &read);
    postfix::carry(
        &postfix::PostfixSource { parameters: &cookbook.parameters, files: &files, options },
        draft,
    )?;
    attributes.keys().for_each(|name| account(location, name, draft));
    Ok(())
}

/// Lists the attribute `name`, unless it is one that was read.
fn account(location: &SourceLocation, name: &str, draft: &mut ConfigDraft) {
    if ["main", "sasl"].contains(&name) || TABLES.iter().any(|(attribute, ..)| *attribute == name) {
        return;
    }
    let fits = |pattern: &str| match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
        (Some(start), _) => name.starts_with(start),
        (_, Some(end)) => name.ends_with(end),
        _ => name == pattern,
    };
    let cited = vec![Cited::entry(location, name)];
    match REASONS.iter().find(|(pattern, ..)| fits(pattern)) {
        Some((_, omission, why)) => draft.remark(*omission, cited, why),
        None => draft.not_carried(cited, "nullmta has nothing like it"),
    }
}

/// The files and parameters that the cookbook would write.
struct Cookbook<'p> {
    location: &'p SourceLocation,
    parameters: Parameters,
    files: BTreeMap<PathBuf, String>,
    /// All attributes, each with whether it is true.
    attributes: BTreeMap<String, bool>,
}

impl Cookbook<'_> {
    fn read(&mut self, attributes: &Map<String, Value>) -> Result<(), ImportError> {
        let is_true = |value: &Value| value.as_bool().unwrap_or(value == "true");
        self.attributes.extend(attributes.iter().map(|(name, value)| (name.clone(), is_true(value))));
        for (name, value) in objects(attributes, "main") {
            if let Some(value) = self.word(value)? {
                self.parameters.set(self.location.clone(), name, &value);
            }
        }
        for (attribute, file, ..) in TABLES {
            let mut separator = " ";
            if attribute == "aliases" {
                separator = ": ";
            }
            let mut lines = String::new();
            for (key, value) in objects(attributes, attribute) {
                if let Some(value) = self.word(value)? {
                    lines += &format!("{key}{separator}{value}\n");
                }
            }
            self.write(file, lines);
        }
        let lines = self.passwords(attributes)?;
        self.write(SASL_PASSWD, lines);
        Ok(())
    }

    /// Adds a lookup table.
    fn write(&mut self, file: &str, lines: String) {
        if !lines.is_empty() {
            self.files.insert(file.into(), lines);
        }
    }

    /// Sets the parameters that name the present tables, if they are not set and the cookbook would set them.
    fn name_tables(&mut self, draft: &mut ConfigDraft) {
        let passwords = ("sasl", SASL_PASSWD, "smtp_sasl_password_maps", None);
        for (attribute, file, parameter, switch) in TABLES.into_iter().chain([passwords]) {
            if !self.files.contains_key(Path::new(file)) || self.parameters.get(parameter).is_some() {
                continue;
            }
            let is_on = |switch: &str| self.attributes.get(switch) == Some(&true);
            if switch.is_none_or(is_on) {
                self.parameters.set(self.location.clone(), parameter, &format!("hash:{file}"));
            } else {
                draft.not_carried(vec![Cited::entry(self.location, attribute)], UNUSED);
            }
        }
    }

    /// Returns the lines of `sasl_passwd` for the attribute `sasl`: one user for the relayhost, or a table of relays,
    /// each with `username` and `password`.
    fn passwords(&self, attributes: &Map<String, Value>) -> Result<String, ImportError> {
        let mut lines = String::new();
        let sasl: BTreeMap<&String, &Value> = objects(attributes, "sasl").collect();
        let word =
            |key: &str| sasl.iter().find(|(name, _)| name.as_str() == key).map(|(_, value)| self.word(value));
        let of = |key: &str| word(key).transpose().map(|word| word.flatten().unwrap_or_default());
        let (username, password) = (of("smtp_sasl_user_name")?, of("smtp_sasl_passwd")?);
        if !username.is_empty() {
            lines += &format!("{} {username}:{password}\n", self.parameters.value("relayhost")?);
        }
        for (relay, value) in sasl {
            let part = |key: &str| value.get(key).map_or(Ok(None), |value| self.word(value));
            if let (Some(username), Some(password)) = (part("username")?, part("password")?) {
                lines += &format!("{relay} {username}:{password}\n");
            }
        }
        Ok(lines)
    }

    /// Returns a value as the cookbook writes it, on one line; `None` for null.
    fn word(&self, value: &Value) -> Result<Option<String>, ImportError> {
        let word = match value {
            Value::Null => return Ok(None),
            Value::Bool(flag) => if *flag { "yes" } else { "no" }.into(),
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.clone(),
            Value::Array(items) => {
                let words: Result<Vec<_>, _> = items.iter().map(|item| self.word(item)).collect();
                words?.into_iter().flatten().collect::<Vec<_>>().join(", ")
            }
            Value::Object(_) => {
                return Err(self.location.error("expected a text, a number or a list, found a table"));
            }
        };
        match word.chars().any(char::is_control) {
            true => Err(self.location.error("expected values of one line")),
            false => Ok(Some(word)),
        }
    }
}

/// Returns the entries of the table `name`; none if it is not a table.
fn objects<'m>(
    attributes: &'m Map<String, Value>,
    name: &str,
) -> impl Iterator<Item = (&'m String, &'m Value)> {
    attributes.get(name).and_then(Value::as_object).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(text: &str) -> Result<String, String> {
        let options = ImportOptions { hostname: "web1.example.com", secret_file: None };
        let location = SourceLocation::file("node.json");
        let mut draft = ConfigDraft::default();
        carry(&location, text, &options, &mut draft)
            .and_then(|()| draft.finish("node.json", &location, options.hostname))
            .map(|imported| imported.toml)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn both_forms_of_passwords() {
        for sasl in [
            r#"{"smtp_sasl_user_name": "apikey", "smtp_sasl_passwd": "hunter2"}"#,
            r#"{"[smtp.example.com]:587": {"username": "apikey", "password": "hunter2"}}"#,
        ] {
            let main = r#"{"relayhost": "[smtp.example.com]:587", "smtp_sasl_auth_enable": true}"#;
            let text = carried(&format!(r#"{{"postfix": {{"main": {main}, "sasl": {sasl}}}}}"#)).unwrap();
            assert!(text.contains("username = \"apikey\"") && !text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn overrides_count_first() {
        let text = carried(
            r#"{"default_attributes": {"postfix": {"main": {"relayhost": "[a]:587"}}},
                "override_attributes": {"postfix": {"main": {"relayhost": "[b]:587"}}}}"#,
        );
        assert!(text.unwrap().contains("relayhost = \"b:587\""));
    }

    #[test]
    fn what_is_no_cookbook_is_an_error_that_quotes_nothing() {
        for (text, said) in [
            ("{\n\"postfix\": hunter2", "node.json:2: expected JSON, found something else"),
            (r#"{"chef_type": "node"}"#, "node.json: expected the attributes of the postfix cookbook"),
            (
                r#"{"main": {"relayhost": {"a": "hunter2"}}}"#,
                "node.json: expected a text, a number or a list",
            ),
            (r#"{"main": {"relayhost": "a\nb = hunter2"}}"#, "node.json: expected values of one line"),
        ] {
            let error = carried(text).unwrap_err();
            assert!(error.starts_with(said) && !error.contains("hunter2"), "{error}");
        }
    }
}
