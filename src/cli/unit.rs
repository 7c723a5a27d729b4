//! The systemd unit: files that it hides from the daemon, directories that it creates or makes read-only, and the
//! credential that it loads.
//!
//! Promises: a warning is true for the unit of this host with its drop-ins, since systemd is asked; if systemd does not
//! answer, a warning is true for the shipped unit. Links in a path are followed.
//!
//! Not here: which files the user of the service may read (`service_user.rs`); whether it runs (`unit/states.rs`).

mod credential;
mod states;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::config::{Config, SecretSource};
pub(super) use credential::CredentialFinding;
pub(super) use states::{UnitState, unit_states};

/// The name of the unit.
const SERVICE: &str = "nullmta.service";

/// The properties of the unit that systemd is asked for.
const PROPERTIES: &str = "LoadState,PrivateTmp,ProtectHome,ProtectSystem,ReadWritePaths,BindPaths,BindReadOnlyPaths,\
                          RuntimeDirectory,StateDirectory";

/// The output of `systemctl show` for the shipped unit.
const SHIPPED: &str = "LoadState=loaded\nPrivateTmp=yes\nProtectHome=yes\nProtectSystem=strict\n\
                       ReadWritePaths=/var/spool/nullmta\nRuntimeDirectory=nullmta\n";

/// The directories that `PrivateTmp=` and `ProtectHome=` hide.
const HIDDEN: [(&str, &str); 5] = [
    ("/tmp", "PrivateTmp"),
    ("/var/tmp", "PrivateTmp"),
    ("/home", "ProtectHome"),
    ("/root", "ProtectHome"),
    ("/run/user", "ProtectHome"),
];

/// The settings of a unit that decide which files the daemon can use.
pub(super) struct Unit {
    /// The directories that it hides, each with the setting that does so.
    hidden: Vec<(&'static str, &'static str)>,
    /// The only directories that it can write to; `None` if the unit sets no limit.
    writable: Option<Vec<PathBuf>>,
    /// The paths at which the unit mounts something else.
    bound: Vec<PathBuf>,
    /// The directories under /var/lib that systemd creates at each start of the unit and gives to its user.
    state: Vec<PathBuf>,
    /// The files of the unit, as `systemctl cat` prints them; `None` if systemd does not answer.
    text: Option<String>,
}

impl Unit {
    /// Returns the unit of this host.
    pub(super) fn of_host() -> Unit {
        let shown = systemctl(&["show", "--no-pager", "--property", PROPERTIES, SERVICE]);
        let known = shown.filter(|text| text.lines().any(|line| line == "LoadState=loaded"));
        let text = known.as_ref().and_then(|_| systemctl(&["cat", "--no-pager", SERVICE]));
        Unit { text, ..Unit::parse(known.as_deref().unwrap_or(SHIPPED)) }
    }

    /// Parses the output of `systemctl show`.
    fn parse(text: &str) -> Unit {
        let value = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
        };
        let hides = |setting: &str| !matches!(value(setting), "" | "no" | "read-only");
        let paths =
            |name: &str| value(name).split_whitespace().map(|path| path.trim_start_matches(['-', '+']));
        let below = |name: &str, parent: &'static str| {
            value(name).split_whitespace().map(move |name| Path::new(parent).join(name)).collect::<Vec<_>>()
        };
        let bound = paths("BindPaths").chain(paths("BindReadOnlyPaths"));
        let bound: Vec<PathBuf> =
            bound.filter_map(|path| path.split(':').nth(1)).map(PathBuf::from).collect();
        let mut writable: Vec<PathBuf> = paths("ReadWritePaths").map(PathBuf::from).collect();
        writable.extend(below("RuntimeDirectory", "/run"));
        let state = below("StateDirectory", "/var/lib");
        writable.extend(state.iter().cloned());
        writable.extend(bound.iter().cloned());
        Unit {
            hidden: HIDDEN.into_iter().filter(|(_, setting)| hides(setting)).collect(),
            writable: (value("ProtectSystem") == "strict").then_some(writable),
            bound,
            state,
            text: None,
        }
    }

    /// Returns the directories that systemd creates at each start and gives to the user of the service.
    pub(super) fn state_directories(&self) -> &[PathBuf] {
        &self.state
    }

    /// Looks for the credentials that hold passwords in `config`. Returns what was found about those that the service would
    /// not have, or may not.
    pub(super) fn credentials(&self, config: &Config) -> Vec<CredentialFinding> {
        let secrets = config.relays().filter_map(|relay| Some(&relay.auth.as_ref()?.secret));
        let found = secrets.filter_map(|secret| match secret {
            SecretSource::Credential(name) => credential::look(name, self.text.as_deref()),
            SecretSource::File(_)
            | SecretSource::Command(_)
            | SecretSource::Token(_)
            | SecretSource::Certificate => None,
        });
        found.collect()
    }

    /// Returns a warning for each file in `config` that is hidden, and each directory that is read-only.
    pub(super) fn warnings(&self, config: &Config) -> Vec<String> {
        let read = files(config).into_iter().filter_map(|file| self.hides(file, "move it, to /etc say"));
        let written = directories(config).into_iter().filter_map(|directory| {
            self.hides(directory, "name another directory").or_else(|| self.locks(directory))
        });
        read.chain(written).collect()
    }

    fn hides(&self, path: &Path, remedy: &str) -> Option<String> {
        let place = place_of(path);
        if is_below(&place, &self.bound) {
            return None;
        }
        let (directory, setting) = self.hidden.iter().find(|(directory, _)| place.starts_with(directory))?;
        Some(format!(
            "{} is hidden from the service: {setting}= of its unit has {directory} empty; {remedy}",
            named(path, &place)
        ))
    }

    fn locks(&self, directory: &Path) -> Option<String> {
        let place = place_of(directory);
        let writable = self.writable.as_ref()?;
        (!is_below(&place, writable)).then(|| {
            format!(
                "{} is read-only for the service: ProtectSystem= of its unit; add ReadWritePaths={} to [Service] with \
                 systemctl edit nullmta, and give it to its user",
                named(directory, &place),
                place.display()
            )
        })
    }
}

/// Runs systemctl with `arguments`. Returns its output; `None` if it fails.
fn systemctl(arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("systemctl");
    let done = command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Returns `path` with all links followed, as far as it exists.
fn place_of(path: &Path) -> PathBuf {
    let mut missing = Vec::new();
    for ancestor in path.ancestors() {
        if let Ok(place) = ancestor.canonicalize() {
            return missing.into_iter().rev().fold(place, |place: PathBuf, name| place.join(name));
        }
        missing.extend(ancestor.file_name());
    }
    path.into()
}

fn is_below(path: &Path, directories: &[PathBuf]) -> bool {
    directories.iter().any(|directory| path.starts_with(directory))
}

fn named(path: &Path, place: &Path) -> String {
    let way = if path == place { String::new() } else { format!(", which is {},", place.display()) };
    format!("{}{way}", path.display())
}

/// Returns the files that the daemon reads, and the program that it runs.
fn files(config: &Config) -> Vec<&Path> {
    let secrets = config.relays().filter_map(|relay| Some(&relay.auth.as_ref()?.secret));
    let programs = secrets.filter_map(|secret| Some(Path::new(secret.command()?.first()?)));
    programs.chain(config.named_files().into_iter().map(|file| file.path)).collect()
}

/// Returns the directories that the daemon writes to: the spool, and that of the control socket. The socket of `sendmail`
/// is made by the socket unit.
fn directories(config: &Config) -> Vec<&Path> {
    let refresh_tokens = config
        .relays()
        .filter_map(|relay| relay.auth.as_ref()?.secret.oauth()?.refresh_token_file()?.parent());
    [Some(&*config.spool), config.control.parent()].into_iter().flatten().chain(refresh_tokens).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::config::Environment;

    fn config(text: &str) -> Config {
        let environment = Environment { hostname: "web1.example.com".into() };
        let text = format!("relayhost = \"smtp.example.com\"\n{text}");
        Config::parse(&text, Path::new("x.toml"), &environment).unwrap()
    }

    /// A file under /tmp passed `check`, and the service, which has a /tmp of its own, did not start. So did a link to it,
    /// a program in somebody's home, and a spool that the unit has read-only.
    #[test]
    fn what_the_shipped_unit_keeps_from_the_daemon_is_named() {
        let directory = tempfile::tempdir_in("/tmp").unwrap();
        let (there, link) = (directory.path().join("ca.pem"), directory.path().join("link.pem"));
        std::fs::write(&there, "").unwrap();
        symlink(&there, &link).unwrap();
        let auth = "auth.username = \"u\"\nauth.password-";
        let cases: [(String, &[&str]); 9] = [
            (String::new(), &[]),
            (
                "tls.ca-file = \"/tmp/ca.pem\"\n".into(),
                &["/tmp/ca.pem is hidden from the service: PrivateTmp="],
            ),
            (
                "tls.ca-file = \"/etc/../tmp/ca.pem\"\n".into(),
                &["/etc/../tmp/ca.pem, which is /tmp/ca.pem, is hidden"],
            ),
            (format!("{auth}file = \"/tmpfile/secret\"\n"), &[]),
            (format!("{auth}command = [\"/home/ann/pw\", \"/tmp\"]\n"), &["/home/ann/pw is hidden"]),
            (
                "spool = \"/srv/spool\"\n".into(),
                &["/srv/spool is read-only for the service: ProtectSystem= of"],
            ),
            ("spool = \"/home/spool\"\n".into(), &["/home/spool is hidden from the service: ProtectHome="]),
            ("spool = \"/var/spool/nullmta/a\"\nadmin.control = \"/run/nullmta/x/c\"\n".into(), &[]),
            ("admin.control = \"/run/control\"\n".into(), &["/run is read-only for the service"]),
        ];
        let unit = Unit::parse(SHIPPED);
        for (text, expected) in cases {
            let said = unit.warnings(&config(&text));
            let fits = said.len() == expected.len()
                && said.iter().zip(expected).all(|(said, begin)| said.starts_with(begin));
            assert!(fits, "{text}: {said:#?}");
        }
        let said = unit.warnings(&config(&format!("tls.ca-file = \"{}\"\n", link.display()))).concat();
        let begin = format!("{}, which is {}, is hidden", link.display(), there.display());
        assert!(said.starts_with(&begin), "{said}");
    }

    /// An operator who had given the unit another directory was warned of it at every check.
    #[test]
    fn the_unit_of_the_host_counts() {
        let text =
            "spool = \"/srv/spool\"\ntls.ca-file = \"/tmp/ca.pem\"\nadmin.control = \"/run/control\"\n";
        let said = |shown: &str| Unit::parse(shown).warnings(&config(text)).len();
        assert_eq!(said(SHIPPED), 3);
        assert_eq!(said(&SHIPPED.replace("ReadWritePaths=", "ReadWritePaths=-/srv/spool ")), 2);
        assert_eq!(
            said(&format!("{SHIPPED}BindPaths=/a:/srv/spool:rbind\nBindReadOnlyPaths=/b:/tmp/ca.pem:\n")),
            1
        );
        assert_eq!(said(&SHIPPED.replace("PrivateTmp=yes", "PrivateTmp=no")), 2);
        assert_eq!(said("LoadState=loaded\nProtectSystem=full\nProtectHome=no\nPrivateTmp=no\n"), 0);
    }

    #[test]
    fn state_directories_are_known() {
        let unit = Unit::parse("LoadState=loaded\nStateDirectory=nullmta other/a\n");
        assert_eq!(unit.state_directories(), [Path::new("/var/lib/nullmta"), Path::new("/var/lib/other/a")]);
        assert!(Unit::parse(SHIPPED).state_directories().is_empty());
    }

    #[test]
    fn what_stands_here_is_what_is_shipped() {
        let unit = include_str!("../../systemd/nullmta.service");
        let settings = SHIPPED.lines().filter(|line| !line.starts_with("LoadState="));
        settings.for_each(|line| assert!(unit.lines().any(|other| other == line), "{line}"));
    }
}
