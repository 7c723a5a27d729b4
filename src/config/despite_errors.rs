//! Finds two paths in a configuration file that has errors: the control socket of the running daemon, which still uses
//! the file as it was before, and the spool, where a message can be left until the file is corrected.
//!
//! Promises: each line is read by itself, so that an error in another line hides nothing.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{CONTROL, SPOOL};

/// Returns the path of the control socket: `admin.control` in the text, else the default.
pub(super) fn control_in(text: &str) -> PathBuf {
    let told = lines(text).find_map(|(section, line)| {
        let table = line.parse::<Table>().ok()?;
        let found = match section {
            "" => table.get("admin").and_then(|admin| admin.get("control")),
            "[admin]" => table.get("control"),
            _ => None,
        };
        found.and_then(Value::as_str).map(PathBuf::from)
    });
    told.unwrap_or_else(|| CONTROL.into())
}

/// Returns the spool directory: `spool` in the text, or the default if the text does not have that key. Returns `None` if
/// the line of the key has an error, or if a misspelled line may be meant for it: a message left in the wrong spool would
/// stay there for ever.
pub(super) fn spool_in(text: &str) -> Option<PathBuf> {
    let mut found = SPOOL.into();
    for (_, line) in lines(text).filter(|(section, line)| section.is_empty() && may_be_spool(line)) {
        let table = line.parse::<Table>().ok()?;
        found = PathBuf::from(table.get("spool")?.as_str()?);
    }
    Path::new(&found).is_absolute().then_some(found)
}

/// Returns whether a line above the first section may be meant for `spool`: its key is none of the other known keys.
fn may_be_spool(line: &str) -> bool {
    const OTHERS: [&str; 13] = [
        "relayhost",
        "route",
        "limit",
        "auth",
        "tls",
        "listen",
        "rewrite",
        "queue",
        "relay",
        "log",
        "admin",
        "alarm",
        "heartbeat",
    ];
    let Some((key, _)) = line.split_once('=') else { return line.starts_with("spool") };
    let name = key.split('.').next().unwrap_or_default().trim_matches([' ', '\t', '"', '\'']);
    !line.starts_with('#') && !OTHERS.contains(&name)
}

/// Returns each line with the heading of its section, such as `[admin]`; the heading is empty above the first section.
fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut section = "";
    text.lines().map(str::trim).map(move |line| {
        if line.starts_with('[') {
            section = line.split('#').next().unwrap_or_default().trim();
        }
        // A whole line is a whole key here, or none of this file's forms of it.
        (section, line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigError;
    use crate::config::file::ConfigFile;

    /// A key of the file that this did not know would be taken for a misspelled `spool`, and `sendmail` would not leave mail.
    #[test]
    fn every_key_above_the_sections_is_known() {
        let fault = ConfigFile::parse("unknown = 1").err().unwrap();
        let error = ConfigError::new(Path::new("x"), fault).to_string();
        let (_, keys) = error.split_once("expected one of ").unwrap();
        let may_be: Vec<&str> = keys.split(", ").filter(|key| may_be_spool(&format!("{key} = 1"))).collect();
        assert_eq!(may_be, ["spool"], "{keys}");
    }

    #[test]
    fn the_control_socket_is_found_among_errors() {
        for (text, expected) in [
            ("relayhost = \n[admin] # ours\ncontrol = \"/a\" # x\n[queue]\ncontrol = \"/b\"\n", "/a"),
            ("admin.control = \"/a\"\nspool = 1\n", "/a"),
            ("admin = { control = \"/a\" }\nwhat\n", "/a"),
            ("[queue]\ncontrol = \"/b\"\n", CONTROL),
            ("# control = \"/b\"\n[admin]\ncontrol = 1\n", CONTROL),
            ("", CONTROL),
        ] {
            assert_eq!(control_in(text), PathBuf::from(expected), "{text}");
        }
    }

    #[test]
    fn the_spool_is_found_among_errors_but_never_guessed() {
        for (text, expected) in [
            ("relayhost = \nspool = \"/a\" # x\n", Some("/a")),
            ("relayhost = [\n  \"a\",\n  \"b\n]\n\"spool\" = '/a'\n[queue]\nspool = 1\n", Some("/a")),
            ("relayhost = \"x\"\n# spool = \"/b\"\n[rewrite]\nsendr = 1\n", Some(SPOOL)),
            ("auth.usrname = 1\nwhat\n", Some(SPOOL)),
            ("", Some(SPOOL)),
            ("spool = \"/a\n", None),
            ("spool = 1\n", None),
            ("spool = \"a\"\n", None),
            ("spool /a\n", None),
            ("sppol = \"/a\"\n", None),
            ("relayhots = \"x\"\n", None),
            ("spool = \"/a\"\nspol = \"/b\"\n", None),
        ] {
            assert_eq!(spool_in(text), expected.map(PathBuf::from), "{text}");
        }
    }

    #[test]
    fn every_other_key_of_the_file_is_known() {
        let everything: Table = include_str!("../../tests/good_config/everything.toml").parse().unwrap();
        for key in everything.keys().filter(|key| *key != "spool") {
            assert!(!may_be_spool(&format!("{key} = 1")), "{key}");
        }
    }
}
