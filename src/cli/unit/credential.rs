//! The systemd credential that holds the password: from where the unit loads it, and whether a secret is there.
//!
//! Promises: a finding is true for the unit of this host with its drop-ins, as `systemctl cat` prints them. If systemd
//! prints nothing, or if only systemd can read the credential, the finding says that it was not looked at, and why.
//!
//! Not here: a credential that this process itself has been given (`config/secret_source.rs`).

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use crate::config::SecretSource;

/// Something that the operator must know about a credential; the text says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum CredentialFinding {
    /// The service would have no password.
    Missing(String),
    /// It is not known whether the service would have a password.
    NotSeen(String),
}

/// Looks for the credential `name` of the unit whose files are `text`; `text` is `None` if `systemctl cat` printed none.
/// Returns `None` if the service would have the credential.
pub(super) fn look(name: &str, text: Option<&str>) -> Option<CredentialFinding> {
    let not_looked_at = |why: &str| {
        Some(CredentialFinding::NotSeen(format!("auth.credential: {name} was not looked at: {why}")))
    };
    let Some(text) = text else {
        return not_looked_at("systemctl cat does not show the unit nullmta.service, which has to load it");
    };
    match origin_of(name, &text.replace("\\\n", " ")) {
        CredentialOrigin::None => Some(CredentialFinding::Missing(format!(
            "auth.credential: the unit has no credential {name}, so the service has no password: add \
             LoadCredential={name}:PATH to [Service] with systemctl edit nullmta"
        ))),
        CredentialOrigin::File(path) if is_socket(path) => {
            not_looked_at(&format!("the unit has it from the socket {path}"))
        }
        CredentialOrigin::File(path) => SecretSource::check_loaded(Path::new(path)).err().map(|error| {
            CredentialFinding::Missing(format!(
                "auth.credential: {error}; the unit loads the credential {name} from there"
            ))
        }),
        CredentialOrigin::Elsewhere(setting) => {
            not_looked_at(&format!("the unit has it by {setting}=, which only systemd can follow"))
        }
    }
}

/// Returns whether `path` is a socket. systemd connects to it, and reads the secret from there.
fn is_socket(path: &str) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

/// From where a unit has a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CredentialOrigin<'a> {
    None,
    /// The file at this path.
    File(&'a str),
    /// A place that only systemd knows, by this setting.
    Elsewhere(&'a str),
}

/// Returns from where the unit with the files in `text` has the credential `name`. systemd.exec(5): the last setting that
/// loads the credential counts; a setting with the value itself is used if nothing can be loaded; an empty setting
/// cancels those of its kind above it.
fn origin_of<'a>(name: &str, text: &'a str) -> CredentialOrigin<'a> {
    let (mut loaded, mut set, mut imported) =
        (CredentialOrigin::None, CredentialOrigin::None, CredentialOrigin::None);
    for line in text.lines() {
        let Some((setting, value)) = line.trim().split_once('=') else { continue };
        let (setting, value) = (setting.trim_end(), value.trim_start());
        let kept = match setting {
            "LoadCredential" | "LoadCredentialEncrypted" => &mut loaded,
            "SetCredential" | "SetCredentialEncrypted" => &mut set,
            "ImportCredential" => &mut imported,
            _ => continue,
        };
        let (id, rest) = value.split_once(':').unwrap_or((value, ""));
        // If a directory is loaded as `a`, its file `b` is the credential `a_b`.
        let is_in_directory = name.strip_prefix(id).is_some_and(|file| file.starts_with('_'));
        if value.is_empty() {
            *kept = CredentialOrigin::None;
        } else if setting == "LoadCredential" && id == name && rest.starts_with('/') && !rest.contains('%') {
            *kept = CredentialOrigin::File(rest);
        } else if setting == "ImportCredential" || id == name || id.contains('%') || is_in_directory {
            *kept = CredentialOrigin::Elsewhere(setting);
        }
    }
    [set, loaded, imported]
        .into_iter()
        .find(|origin| *origin != CredentialOrigin::None)
        .unwrap_or(CredentialOrigin::None)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_last_setting_for_a_credential_counts() {
        let load = "[Service]\nLoadCredential=relay:/etc/nullmta.secret\n";
        for (text, expected) in [
            (load.to_owned(), CredentialOrigin::File("/etc/nullmta.secret")),
            ("LoadCredential = relay:/a\nLoadCredential=relay:/b\n".into(), CredentialOrigin::File("/b")),
            (format!("{load}LoadCredential=\n"), CredentialOrigin::None),
            (format!("{load}LoadCredential=\nLoadCredential=other:/a\n"), CredentialOrigin::None),
            (format!("{load}SetCredential=\n"), CredentialOrigin::File("/etc/nullmta.secret")),
            ("# LoadCredential=relay:/a\n#LoadCredential=relay:/a\n".into(), CredentialOrigin::None),
            ("LoadCredential=relay\n".into(), CredentialOrigin::Elsewhere("LoadCredential")),
            ("LoadCredential=relay:%h/a\n".into(), CredentialOrigin::Elsewhere("LoadCredential")),
            (
                "LoadCredentialEncrypted=relay:/a\n".into(),
                CredentialOrigin::Elsewhere("LoadCredentialEncrypted"),
            ),
            ("SetCredential=relay:secret\n".into(), CredentialOrigin::Elsewhere("SetCredential")),
            (format!("SetCredential=relay:secret\n{load}"), CredentialOrigin::Elsewhere("SetCredential")),
            (
                format!("LoadCredentialEncrypted=relay:/a\n{load}"),
                CredentialOrigin::File("/etc/nullmta.secret"),
            ),
            ("LoadCredentialEncrypted=relay:/a\nLoadCredential=\n".into(), CredentialOrigin::None),
            (format!("{load}LoadCredential=other:/a\n"), CredentialOrigin::File("/etc/nullmta.secret")),
            ("LoadCredential=%p:/a\n".into(), CredentialOrigin::Elsewhere("LoadCredential")),
            ("ImportCredential=nullmta.*\n".into(), CredentialOrigin::Elsewhere("ImportCredential")),
            (format!("{load}ImportCredential=nullmta.*\n"), CredentialOrigin::File("/etc/nullmta.secret")),
            ("User=nullmta\n".into(), CredentialOrigin::None),
        ] {
            assert_eq!(origin_of("relay", &text), expected, "{text}");
        }
        let directory = "LoadCredential=all:/etc/secrets\n";
        assert_eq!(origin_of("all_relay", directory), CredentialOrigin::Elsewhere("LoadCredential"));
    }

    /// A credential that the unit did not load, or whose file was not there, passed in silence.
    #[test]
    fn what_the_service_would_miss_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        let said = || look("relay", Some(&format!("LoadCredential=relay:{}\n", file.display())));
        assert!(matches!(said(), Some(CredentialFinding::Missing(words)) if words.contains("No such file")));
        let write = |content: &str, mode| {
            fs::write(&file, content).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        };
        write("", 0o600);
        assert!(
            matches!(said(), Some(CredentialFinding::Missing(words)) if words.contains("expected one line"))
        );
        write("secret\n", 0o600);
        assert_eq!(said(), None);
        write("secret\n", 0o644);
        assert!(
            matches!(said(), Some(CredentialFinding::Missing(words)) if words.contains("open to others"))
        );
        let socket = directory.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        let continued = format!("LoadCredential=\\\n  relay:{}\n", socket.display());
        assert!(
            matches!(look("relay", Some(&continued)), Some(CredentialFinding::NotSeen(words)) if words.contains("socket"))
        );
        assert!(matches!(look("relay", Some("")), Some(CredentialFinding::Missing(_))));
        assert!(matches!(look("relay", Some("SetCredential=relay:x")), Some(CredentialFinding::NotSeen(_))));
        assert!(matches!(look("relay", None), Some(CredentialFinding::NotSeen(_))));
    }
}
