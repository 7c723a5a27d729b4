//! `main.cf`: the parameters, the locations where they were set, and their values.
//!
//! Promises: the last definition of a parameter counts, and the earlier ones are kept in a list; a parameter that is not
//! set has the default of Postfix, if that matters here; a value that may hold a secret is never [`shown`].
//!
//! [`shown`]: Parameters::shown

use std::collections::BTreeSet;

use super::expand::{expand, names_in};
use super::lines::logical_lines;
use super::location::{ImportError, SourceLocation};

/// A parameter that was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) location: SourceLocation,
    pub(super) name: String,
    /// The value as it is written.
    raw: String,
}

/// All parameters that were set.
#[derive(Default)]
pub(super) struct Parameters {
    parameters: Vec<Parameter>,
    overridden: Vec<Parameter>,
    hostname: String,
}

/// Defaults of Postfix that other values depend on.
const DEFAULTS: [(&str, &str); 16] = [
    ("alias_maps", "hash:/etc/aliases"),
    ("config_directory", "/etc/postfix"),
    ("data_directory", "/var/lib/postfix"),
    ("default_database_type", "hash"),
    ("default_transport", "smtp"),
    ("masquerade_classes", "envelope_sender, header_sender, header_recipient"),
    ("mail_name", "Postfix"),
    ("mydestination", "$myhostname, localhost.$mydomain, localhost"),
    ("myorigin", "$myhostname"),
    ("queue_directory", "/var/spool/postfix"),
    ("sender_canonical_classes", "envelope_sender, header_sender"),
    ("smtp_tls_enforce_peername", "yes"),
    ("smtp_tls_key_file", "$smtp_tls_cert_file"),
    ("smtpd_tls_eckey_file", "$smtpd_tls_eccert_file"),
    ("smtpd_tls_key_file", "$smtpd_tls_cert_file"),
    ("virtual_alias_maps", "$virtual_maps"),
];

impl Parameters {
    /// Returns an empty set of parameters for the host `hostname`.
    pub(super) fn of_host(hostname: &str) -> Parameters {
        Parameters { hostname: hostname.into(), ..Parameters::default() }
    }

    /// Adds the parameters in `text`, the content of `main.cf`.
    pub(super) fn read(&mut self, file: &str, text: &str) -> Result<(), ImportError> {
        for line in logical_lines(file, text)? {
            let (name, value) = assignment(&line.text).ok_or_else(|| {
                line.location.error("expected `name = value` (a continued line begins with a space)")
            })?;
            self.set(line.location, name, value);
        }
        Ok(())
    }

    /// Sets a parameter; an earlier value of it no longer counts.
    pub(super) fn set(&mut self, location: SourceLocation, name: &str, value: &str) {
        if let Some(at) = self.parameters.iter().position(|parameter| parameter.name == name) {
            self.overridden.push(self.parameters.remove(at));
        }
        self.parameters.push(Parameter { location, name: name.into(), raw: value.into() });
    }

    /// Returns the parameter `name`; `None` if it was not set.
    pub(super) fn get(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }

    /// Returns all parameters, in the order of the file.
    pub(super) fn all(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Returns the definitions that a later one replaced.
    pub(super) fn overridden(&self) -> &[Parameter] {
        &self.overridden
    }

    /// Returns the expanded value of `name`; its default if it is not set; empty if it has no default.
    pub(super) fn value(&self, name: &str) -> Result<String, ImportError> {
        let Some(raw) = self.raw(name) else { return Ok(String::new()) };
        let location = || {
            self.get(name)
                .map_or_else(|| SourceLocation::file("main.cf"), |parameter| parameter.location.clone())
        };
        expand(&raw, &|name| self.raw(name))
            .map(|value| value.trim().to_owned())
            .map_err(|message| location().error(format!("{name}: {message}")))
    }

    /// Returns whether the value of `name` is `yes`.
    pub(super) fn is_yes(&self, name: &str) -> Result<bool, ImportError> {
        Ok(self.value(name)?.eq_ignore_ascii_case("yes"))
    }

    /// Returns whether another parameter refers to `name`.
    pub(super) fn is_referred_to(&self, name: &str) -> bool {
        self.parameters.iter().any(|parameter| names_in(&parameter.raw).contains(&name))
    }

    /// Returns the value of `parameter` as written, on one line; `None` if it may hold a secret.
    pub(super) fn shown(&self, parameter: &Parameter) -> Option<String> {
        let hidden = is_sensitive(&parameter.name) && !names_files(&parameter.raw)
            || self.sensitive_references().contains(parameter.name.as_str());
        (!hidden).then(|| parameter.raw.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// Returns the parameters that sensitive ones refer to, directly or indirectly, and that are more than a path.
    fn sensitive_references(&self) -> BTreeSet<&str> {
        let mut found: BTreeSet<&str> = BTreeSet::new();
        let sensitive = self.parameters.iter().filter(|parameter| is_sensitive(&parameter.name));
        let mut open: Vec<&str> = sensitive.flat_map(|parameter| names_in(&parameter.raw)).collect();
        while let Some(name) = open.pop() {
            let own = self.get(name).filter(|parameter| !parameter.raw.starts_with('/'));
            if own.is_some() && found.insert(name) {
                open.extend(own.iter().flat_map(|parameter| names_in(&parameter.raw)));
            }
        }
        found
    }

    fn raw(&self, name: &str) -> Option<String> {
        match (self.get(name), name) {
            (Some(parameter), _) => Some(parameter.raw.clone()),
            (None, "myhostname") => Some(match self.hostname.contains('.') {
                true => self.hostname.clone(),
                // Only a mydomain that was set: the default would ask for myhostname again.
                false => format!("{}.{}", self.hostname, self.raw_or("mydomain", "localdomain")),
            }),
            (None, "mydomain") => {
                let host = self.raw_or("myhostname", &self.hostname);
                Some(host.split_once('.').map_or("localdomain", |(_, domain)| domain).into())
            }
            _ => DEFAULTS.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into()),
        }
    }

    fn raw_or(&self, name: &str, default: &str) -> String {
        self.get(name).map_or_else(|| default.into(), |parameter| parameter.raw.clone())
    }
}

fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let valid = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    valid.then_some((name, value.trim()))
}

/// Returns whether the value of `name` may hold a secret.
pub(super) fn is_sensitive(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["passw", "secret", "token"].iter().any(|word| name.contains(word))
}

/// Returns whether a value only names files, as `hash:/etc/postfix/sasl_passwd` does, and so holds no secret itself.
pub(super) fn names_files(value: &str) -> bool {
    let is_file = |item: &str| {
        let Some((kind, name)) = item.trim_start_matches("proxy:").split_once(':') else {
            return item.starts_with('/');
        };
        kind != "static" && kind != "inline" && (name.starts_with('/') || name.starts_with('$'))
    };
    value.split([' ', '\t', ',']).filter(|item| !item.is_empty()).all(is_file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(text: &str) -> Parameters {
        let mut parameters = Parameters::of_host("web1");
        parameters.read("/etc/postfix/main.cf", text).unwrap();
        parameters
    }

    #[test]
    fn the_last_definition_counts_and_the_first_is_remembered() {
        let parameters = parameters("a = 1\nb = $a\na =\n  2\n");
        assert_eq!((parameters.value("a"), parameters.value("b")), (Ok("2".into()), Ok("2".into())));
        assert_eq!(parameters.get("a").unwrap().location.line, Some(3));
        assert_eq!(parameters.overridden()[0].location.line, Some(1));
    }

    #[test]
    fn names_of_the_host_complete_each_other() {
        let names = |text: &str| {
            let parameters = parameters(text);
            ["myhostname", "mydomain", "myorigin"].map(|name| parameters.value(name).unwrap())
        };
        for (text, expected) in [
            ("", ["web1.localdomain", "localdomain", "web1.localdomain"]),
            ("mydomain = example.com", ["web1.example.com", "example.com", "web1.example.com"]),
            ("myhostname = a.b.example", ["a.b.example", "b.example", "a.b.example"]),
            (
                "myhostname = mx.$mydomain\nmydomain = x.example",
                ["mx.x.example", "x.example", "mx.x.example"],
            ),
            (
                "myorigin = $mydomain\nmyhostname = a.example.org",
                ["a.example.org", "example.org", "example.org"],
            ),
        ] {
            assert_eq!(names(text), expected, "{text}");
        }
    }

    #[test]
    fn errors_name_the_line_and_quote_nothing() {
        let mut broken = Parameters::of_host("web1");
        let error = broken.read("/etc/postfix/main.cf", "a = b\n[relay]:587 user:hunter2\n").unwrap_err();
        assert!(error.to_string().starts_with("/etc/postfix/main.cf:2: expected `name = value`"), "{error}");
        assert!(!error.to_string().contains("hunter2"));
        let error = parameters("\nx = static:hunter2${").value("x").unwrap_err();
        assert_eq!(error.to_string(), "/etc/postfix/main.cf:2: x: `${` without its `}`");
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        let parameters = parameters(
            "smtp_sasl_password_maps = static:me:$pw\npw = $inner\ninner = hunter2\nmap = hash:/x\n\
             lmtp_sasl_password_maps = hash:/etc/postfix/sasl\nother = inline:{a=b}\ndb_password = hunter2",
        );
        let shown: Vec<_> =
            parameters.all().iter().filter_map(|parameter| parameters.shown(parameter)).collect();
        assert_eq!(shown, ["hash:/x", "hash:/etc/postfix/sasl", "inline:{a=b}"]);
    }
}
