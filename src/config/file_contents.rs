//! Notices that a file which the configuration names has another content, though its key says the same.
//!
//! Promises: only a print of a content is kept, made with a key of this run, which tells nothing about the content. A file that
//! cannot be read, or is none, counts as one without content.
//!
//! The file with the users is left out: it counts without a reload, and no reload waits for the disk that has it.
//!
//! Not here: which files are named (`named_file.rs`), the keys that say something else (`changes.rs`).

use std::fs::metadata;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::content::read_all;
use super::{Config, SecretFile, SecretSource};

/// The contents of the files that a configuration names, at one time.
#[derive(Clone)]
pub struct FileContents {
    prints: RandomState,
    found: Vec<FileContent>,
}

#[derive(Clone)]
struct FileContent {
    /// The key that names the file, such as `tls.ca-file`.
    setting: String,
    path: PathBuf,
    print: Option<u64>,
}

impl FileContents {
    /// Returns the contents of the files that `config` names now. Blocks on the disk.
    pub fn of(config: &Config) -> Self {
        FileContents { prints: RandomState::new(), found: Vec::new() }.again(config)
    }

    /// Returns the contents of the files that `newer` names now, to compare with these. Blocks on the disk.
    pub fn again(&self, newer: &Config) -> Self {
        let files = newer.files_in_force().into_iter().map(|file| (file.setting, file.path.to_owned()));
        let files = files.chain(credentials(newer));
        let content = |(setting, path): (String, PathBuf)| {
            let print = print(&self.prints, &path);
            FileContent { setting, path, print }
        };
        FileContents { prints: self.prints.clone(), found: files.map(content).collect() }
    }

    /// Returns the keys of the files that `newer` has with another content under the same path, such as
    /// `auth.password-file (its content)`, but not of those that are ours: what the daemon itself wrote is no change.
    pub fn changed(&self, newer: &FileContents, is_ours: impl Fn(&Path) -> bool) -> Vec<String> {
        let is_same_file = |one: &FileContent, other: &FileContent| {
            (&one.setting, &one.path) == (&other.setting, &other.path)
        };
        let is_changed = |file: &&FileContent| {
            self.found.iter().any(|known| is_same_file(known, file) && known.print != file.print)
        };
        let changed = newer.found.iter().filter(is_changed).filter(|file| !is_ours(&file.path));
        changed.map(|file| format!("{} (its content)", file.setting)).collect()
    }
}

/// Returns the files of the systemd credentials that `config` names, each with its key.
fn credentials(config: &Config) -> Vec<(String, PathBuf)> {
    let tables = std::iter::once(String::new()).chain((1..).map(|place| format!("route[{place}].")));
    let credential = |(table, relay): (String, &super::RelayConfig)| match &relay.auth.as_ref()?.secret {
        SecretSource::Credential(name) => {
            let file = SecretFile::of_credential(name).ok()?;
            Some((format!("{table}auth.credential"), file.path))
        }
        _ => None,
    };
    tables.zip(config.relays()).filter_map(credential).collect()
}

fn print(prints: &RandomState, path: &Path) -> Option<u64> {
    // To open a pipe would wait for its writer.
    let is_file = metadata(path).is_ok_and(|found| found.is_file());
    let octets = is_file.then(|| read_all(path).ok()).flatten().map(Zeroizing::new)?;
    Some(prints.hash_one(&octets[..]))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::Environment;

    /// A start and a reload waited for a disk with this file alone, as long as it hung.
    #[test]
    fn the_file_with_the_users_is_not_looked_at() {
        let text = "relayhost = \"a.example\"\nlisten.users-file = \"/users\"\n";
        let environment = Environment { hostname: "web1.example".into() };
        let config = Config::parse(text, Path::new("nullmta.toml"), &environment).unwrap();
        assert!(FileContents::of(&config).found.is_empty());
        assert!(config.named_files().iter().any(|file| file.setting == "listen.users-file"));
        let missing =
            |warnings: Vec<String>| warnings.iter().any(|warning| warning.contains("cannot read /users"));
        assert!(missing(config.warnings(Path::new("/nullmta.toml"))));
        assert!(!missing(config.warnings_without_users(Path::new("/nullmta.toml"))));
    }

    /// A reload after another password or another CA was written said "changed: nothing".
    #[test]
    fn a_file_with_another_content_is_named_by_its_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let config = |secret: &str| {
            let text = format!(
                "relayhost = \"a.example\"\nauth.username = \"u\"\nauth.password-file = \"{}\"\n\
                 [[route]]\nuid = 1\nrelayhost = \"b.example\"\ntls.ca-file = \"{}\"\n",
                path(secret).display(),
                path("ca").display()
            );
            let environment = Environment { hostname: "web1.example".into() };
            Config::parse(&text, Path::new("nullmta.toml"), &environment).unwrap()
        };
        let write = |name: &str, text: &str| fs::write(path(name), text).unwrap();
        write("secret", "one");
        let old = FileContents::of(&config("secret"));
        let changed = |config: &Config| old.changed(&old.again(config), |_| false);
        assert_eq!(changed(&config("secret")), [""; 0]);
        write("ca", "there now");
        assert_eq!(changed(&config("secret")), ["route[1].tls.ca-file (its content)"]);
        write("secret", "two");
        assert_eq!(
            changed(&config("secret")),
            ["auth.password-file (its content)", "route[1].tls.ca-file (its content)"]
        );
        let but_ours = old.changed(&old.again(&config("secret")), |file| file == path("secret"));
        assert_eq!(but_ours, ["route[1].tls.ca-file (its content)"]);
        write("other", "three");
        assert_eq!(changed(&config("other")), ["route[1].tls.ca-file (its content)"], "the key says it");
        fs::remove_file(path("secret")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path("secret"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert!(changed(&config("secret")).contains(&"auth.password-file (its content)".into()), "a pipe");
        write("secret2", "one");
        fs::rename(path("secret2"), path("secret")).unwrap();
        assert_eq!(changed(&config("secret")), ["route[1].tls.ca-file (its content)"], "as it was");
    }
}
