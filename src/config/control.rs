//! Where the control socket is, by a file that may have errors: the running daemon follows an older one, and can still
//! be asked.

use std::path::PathBuf;

use toml::Table;

use super::defaults;

/// What the file's text says of `admin.control`, whatever its other lines are; else the default.
pub(super) fn control_in(text: &str) -> PathBuf {
    let mut section = String::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line.split('#').next().unwrap_or_default().trim().to_owned();
        }
        // A whole line is a whole key here, or none of this file's forms of it.
        let Ok(table) = line.parse::<Table>() else { continue };
        let found = match section.as_str() {
            "" => table.get("admin").and_then(|admin| admin.get("control")),
            "[admin]" => table.get("control"),
            _ => None,
        };
        if let Some(path) = found.and_then(|path| path.as_str()) {
            return path.into();
        }
    }
    defaults::CONTROL.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_among_errors() {
        for (text, expected) in [
            ("relayhost = \n[admin] # ours\ncontrol = \"/a\" # x\n[queue]\ncontrol = \"/b\"\n", "/a"),
            ("admin.control = \"/a\"\nspool = 1\n", "/a"),
            ("admin = { control = \"/a\" }\nwhat\n", "/a"),
            ("[queue]\ncontrol = \"/b\"\n", defaults::CONTROL),
            ("# control = \"/b\"\n[admin]\ncontrol = 1\n", defaults::CONTROL),
            ("", defaults::CONTROL),
        ] {
            assert_eq!(control_in(text), PathBuf::from(expected), "{text}");
        }
    }
}
