//! `nullmta import-postfix` from outside: each directory under `tests/import` is a host with a
//! configuration, and beside it stands what must come of it; under `tests/import/broken`, the error.
//!
//! Every password in them is `hunter2`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nullmta::config::{Config, Environment};
use nullmta::envelope::{Address, ReversePath, Submitter};
use nullmta::import::{ImportOptions, Imported, import};
use nullmta::routing::{RoutedMail, Routes};

const HOSTNAME: &str = "web1.example.com";
const PASSWORD: &str = "hunter2";

/// What an import starts from, where it is there.
const STARTS: [&str; 5] =
    ["/etc/postfix", "/etc/nullmailer", "/etc/msmtprc", "/etc/ssmtp/ssmtp.conf", "/node.json"];

/// A host: its files by their paths.
struct Host {
    name: String,
    directory: PathBuf,
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Host {
    fn read(directory: PathBuf) -> Host {
        let mut files = BTreeMap::new();
        collect(&directory, &directory, &mut files);
        Host { name: directory.file_name().unwrap().to_str().unwrap().into(), directory, files }
    }

    fn start(&self) -> &'static str {
        let here = |start: &&&str| self.files.keys().any(|path| path.starts_with(start));
        STARTS.iter().find(here).unwrap_or_else(|| panic!("{}: nothing to import", self.name))
    }

    fn open(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self.files.get(path) {
            Some(octets) => Ok(octets.clone()),
            None if self.files.keys().any(|file| file.starts_with(path)) => {
                Err(io::ErrorKind::IsADirectory.into())
            }
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn import(&self) -> Result<Imported, String> {
        let options = ImportOptions { hostname: HOSTNAME, secret_file: None };
        import(Path::new(self.start()), None, &|path| self.open(path), &options)
            .map_err(|error| error.to_string())
    }

    /// The text of a file that stands beside the host's own.
    fn beside(&self, name: &str) -> String {
        fs::read_to_string(self.directory.join(name)).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }
}

fn collect(directory: &Path, root: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, root, files);
        } else {
            files.insert(Path::new("/").join(path.strip_prefix(root).unwrap()), fs::read(&path).unwrap());
        }
    }
}

fn hosts(under: &str) -> Vec<Host> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(under);
    let mut directories: Vec<PathBuf> =
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    directories.retain(|path| path.is_dir() && !path.ends_with("broken"));
    directories.sort();
    directories.into_iter().map(Host::read).collect()
}

fn parse(toml: &str) -> Result<Config, String> {
    let environment = Environment { hostname: HOSTNAME.into() };
    Config::parse(toml, Path::new("nullmta.toml"), &environment).map_err(|error| error.to_string())
}

#[test]
fn every_host_gives_the_file_beside_it() {
    let hosts = hosts("import");
    assert!(hosts.len() >= 20, "{} found", hosts.len());
    let mut wrong = Vec::new();
    for host in hosts {
        let given = host.import().unwrap_or_else(|error| panic!("{}: {error}", host.name)).toml;
        if given != host.beside("expected.toml") {
            wrong.push(format!("{}:\n{given}", host.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_broken_host_gives_the_error_beside_it() {
    let hosts = hosts("import/broken");
    assert!(hosts.len() >= 15, "{} found", hosts.len());
    let mut wrong = Vec::new();
    for host in hosts {
        let given = host.import().map_or_else(|error| error, |_| "accepted".into());
        assert!(!given.contains(PASSWORD), "{}: {given}", host.name);
        if given != host.beside("expected.error").trim_end() {
            wrong.push(format!("{}: {given}", host.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_comes_out_is_accepted_and_holds_no_secret() {
    for host in hosts("import") {
        let imported = host.import().unwrap();
        let config = parse(&imported.toml).unwrap_or_else(|error| panic!("{}: {error}", host.name));
        assert!(!imported.toml.contains(PASSWORD), "{}", host.name);
        let logins = std::iter::once(&config.relay).chain(config.routes.iter().map(|route| &route.relay));
        let logins = logins.filter(|relay| relay.auth.is_some()).count();
        assert!(imported.secrets.len() <= logins, "{}", host.name);
        for (path, secret) in &imported.secrets {
            assert!(imported.toml.contains(&format!("password-file = \"{path}\"")), "{}: {path}", host.name);
            assert!([PASSWORD, "server-token"].contains(&secret.text().unwrap()), "{}", host.name);
            assert!(!format!("{imported:?}").contains(PASSWORD), "{}", host.name);
        }
    }
}

/// Mail of the host `routes`, with the relay and the user that Postfix finds for it, but for the lines whose remark says
/// another way.
const WAYS: [(&str, &str, &str, Option<&str>); 18] = [
    ("x@example.com", "y@net.example", "smtp.example.com:587,backup.example.com:587", Some("main")),
    ("bob@example.com", "y@net.example", "smtp.example.com:587,backup.example.com:587", Some("bob")),
    ("x@brand.example", "y@net.example", "smtp.brand.example:587", Some("brand")),
    ("ann@brand.example", "y@net.example", "smtp.example.com:587,backup.example.com:587", Some("main")),
    ("Shop@Brand.example", "y@net.example", "smtp.shop.example:587", Some("shop")),
    ("news@brand.example", "y@net.example", "bulk.brand.example:2525", None),
    ("x@other.example", "y@net.example", "smtp.example.com:587,backup.example.com:587", Some("main")),
    ("root@web1.example.com", "y@net.example", "smtp.root.example:587", None),
    ("<>", "y@net.example", "bounces.example:587", None),
    ("x@a.branches.example", "y@net.example", "branches.example:587", None),
    ("x@example.com", "y@partner.example", "mx.partner.example:25", None),
    ("x@brand.example", "y@partner.example", "mx.partner.example:25", None),
    ("x@example.com", "y@a.partner.example", "mx.partner.example:25", None),
    ("x@example.com", "y@eu.partner.example", "mx.partner.example:25", None),
    ("x@example.com", "y@a.eu.partner.example", "eu.partner.example:587", None),
    ("x@example.com", "ann@partner.example", "smtp.example.com:587,backup.example.com:587", Some("main")),
    ("x@example.com", "y@list.example", "lists.example:465,lists2.example:465", None),
    ("x@example.com", "y@a.lab.example", "127.0.0.1:2500", None),
];

/// Relays by sender were comments that somebody had to turn into routes, with the secrets copied by hand.
#[test]
fn relays_by_sender_and_recipient_are_routes() {
    let host = hosts("import").into_iter().find(|host| host.name == "routes").unwrap();
    let imported = host.import().unwrap();
    let config = parse(&imported.toml).unwrap();
    let routes = Routes(config.routes.iter().map(|route| route.rule.clone()).collect());
    assert!(routes.shadowed().is_empty(), "{:?}", routes.shadowed());
    for (from, to, relay, user) in WAYS {
        let reverse_path = match from {
            "<>" => ReversePath::Null,
            from => ReversePath::Mailbox(Address::parse(from).unwrap()),
        };
        let mail = RoutedMail {
            reverse_path: &reverse_path,
            authors: &[],
            submitter: Submitter::Loopback,
            assigned: None,
        };
        let place = routes.place_of(&mail, &Address::parse(to).unwrap());
        let found = if place == 0 { &config.relay } else { &config.routes[place - 1].relay };
        let hosts: Vec<String> = found.hosts.iter().map(ToString::to_string).collect();
        assert_eq!(hosts.join(","), relay, "{from} {to}");
        assert_eq!(found.auth.as_ref().map(|auth| auth.username.as_str()), user, "{from} {to}");
    }
}

#[test]
fn every_parameter_that_is_set_is_named() {
    for host in hosts("import") {
        let Some(main) = host.files.get(Path::new("/etc/postfix/main.cf")) else { continue };
        let toml = host.import().unwrap().toml;
        let main = String::from_utf8_lossy(main);
        let lines = main.lines().filter(|line| !line.starts_with([' ', '\t', '#']));
        for name in lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim()) {
            let named =
                toml.lines().any(|line| line.starts_with('#') && line.contains(&format!(": {name} ")));
            assert!(named, "{}: {name}\n{toml}", host.name);
        }
    }
}

/// What another account of msmtp has, what a later line sets again, `eval` and most attributes of the cookbook were in no key
/// and unsaid.
#[test]
fn every_line_and_every_attribute_of_other_formats_is_named() {
    for host in hosts("import") {
        let toml = host.import().unwrap().toml;
        let lines = |path: &str, begins: &[&str]| {
            let text = host.files.get(Path::new(path)).map(|text| String::from_utf8_lossy(text).into_owned());
            let lines: Vec<_> = text.unwrap_or_default().lines().map(|line| line.trim().to_owned()).collect();
            let is_asked = |line: &(usize, String)| {
                !line.1.is_empty() && !begins.iter().any(|begin| line.1.to_lowercase().starts_with(begin))
            };
            lines.into_iter().enumerate().filter(is_asked).collect::<Vec<_>>()
        };
        let msmtp = ("/etc/msmtprc", &["#", "account", "defaults", "password"][..]);
        let ssmtp = ("/etc/ssmtp/ssmtp.conf", &["#", "authpass"][..]);
        for (path, begins) in [msmtp, ssmtp] {
            for (index, line) in lines(path, begins) {
                let named = format!("{path}:{}", index + 1);
                let is_named = toml
                    .match_indices(&named)
                    .any(|(at, _)| !toml[at + named.len()..].starts_with(|next: char| next.is_ascii_digit()));
                assert!(is_named, "{}: {named}: {line}\n{toml}", host.name);
            }
        }
        let Some(node) = host.files.get(Path::new("/node.json")) else { continue };
        let node: serde_json::Value = serde_json::from_slice(node).unwrap();
        let attributes = node.pointer("/override_attributes/postfix").unwrap().as_object().unwrap();
        let carried =
            |name: &str| ["main", "sasl", "aliases"].contains(&name) || name.ends_with("_map_entries");
        for name in attributes.keys().filter(|name| !carried(name) && name.as_str() != "virtual_aliases") {
            assert!(toml.contains(&format!("# /node.json: {name} = ")), "{}: {name}\n{toml}", host.name);
        }
    }
}

/// A file that was cut off, or that something foreign got into, gives an error or a configuration, never
/// half of one.
#[test]
fn a_damaged_file_gives_an_error_or_a_valid_configuration() {
    for mut host in hosts("import") {
        for (path, whole) in host.files.clone() {
            for (round, at) in (0..whole.len()).step_by(67).enumerate() {
                let foreign: &[u8] =
                    [b"".as_slice(), b"\n", b"$", b"{", b"\xff", b"\0", b" ", b"[", b"\"", b":"][round % 10];
                let mut damaged = whole[..at].to_vec();
                damaged.extend_from_slice(foreign);
                if round % 10 != 0 {
                    damaged.extend_from_slice(&whole[at..]);
                }
                host.files.insert(path.clone(), damaged);
                check_damaged(&host);
            }
            host.files.insert(path, whole);
        }
    }
}

fn check_damaged(host: &Host) {
    match host.import() {
        Ok(imported) => assert!(parse(&imported.toml).is_ok(), "{}\n{}", host.name, imported.toml),
        Err(error) => assert!(!error.contains(PASSWORD) && !error.contains('\n'), "{}: {error}", host.name),
    }
}

#[test]
fn the_secret_goes_where_it_is_told() {
    let host = hosts("import").into_iter().find(|host| host.name == "recipe-null-client").unwrap();
    let options = ImportOptions { hostname: HOSTNAME, secret_file: Some("/run/secret") };
    let imported = import(Path::new("/etc/postfix"), None, &|path| host.open(path), &options).unwrap();
    assert!(imported.toml.contains("\npassword-file = \"/run/secret\"\n"), "{}", imported.toml);
    let [(path, secret)] = imported.secrets.as_slice() else { panic!("{imported:?}") };
    assert_eq!((path.as_str(), secret.text()), ("/run/secret", Some(PASSWORD)));
}
