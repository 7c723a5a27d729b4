//! The name of this host, which the configuration uses where the file gives none.

use std::fs;

/// The facts about this host that the parser uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The name of this host, with its domain if one is known.
    pub hostname: String,
}

impl Environment {
    /// Returns the facts about the host that this process runs on. Its node name is completed from `/etc/hosts`, as
    /// `hostname --fqdn` would do. No name server is asked, so that this never waits.
    pub fn of_host() -> Environment {
        let uname = rustix::system::uname();
        let name = uname.nodename().to_string_lossy();
        // Without the file there is nothing to complete the name with.
        let hosts = fs::read("/etc/hosts").unwrap_or_default();
        Environment { hostname: qualified(&name, &hosts) }
    }
}

/// Returns whether other hosts may know a host by `name`: it has a domain, and is not one of the names that every host
/// has for itself, such as `localhost.localdomain`.
pub(super) fn is_full_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_lowercase();
    let means_itself = name.starts_with("localhost.")
        || [".localhost", ".localdomain", ".localdomain4", ".localdomain6"]
            .iter()
            .any(|end| name.ends_with(end));
    name.contains('.') && !means_itself
}

/// Returns the name with a domain that a line of `hosts` (hosts(5)) gives next to `name`; otherwise `name` itself.
fn qualified(name: &str, hosts: &[u8]) -> String {
    if name.contains('.') {
        return name.into();
    }
    // A remark may be in anything.
    let hosts = String::from_utf8_lossy(hosts);
    let extends = |other: &&str| other.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    let names_of = |line: &'_ str| -> Vec<String> {
        let names = line.split('#').next().unwrap_or_default().split_whitespace().skip(1);
        names.map(str::to_owned).collect()
    };
    hosts
        .lines()
        .map(names_of)
        .filter(|names| names.iter().any(|other| other == name))
        .find_map(|names| names.iter().map(String::as_str).find(|other| extends(other)).map(str::to_owned))
        .unwrap_or_else(|| name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_completed_from_its_own_line_only() {
        let hosts = b"127.0.0.1 localhost localhost.localdomain # f\xfcr uns\n\
                     # 192.0.2.9 web1.commented.example web1\n\
                     192.0.2.7 web1.other.example\n\
                     127.0.1.1\tweb1.example.org web1 # web1.remark.example\n\
                     192.0.2.8 web10.example.org web10 mail.example.org\n";
        for (name, expected) in [
            ("web1", "web1.example.org"),
            ("web10", "web10.example.org"),
            ("mail", "mail"),
            ("db1", "db1"),
            ("web1.example.net", "web1.example.net"),
            ("localhost", "localhost.localdomain"),
            ("", ""),
        ] {
            assert_eq!(qualified(name, hosts), expected, "{name}");
        }
    }

    #[test]
    fn what_every_host_calls_itself_is_no_name_for_others() {
        for (name, full) in [
            ("web1.example.org", true),
            ("web1.example.org.", true),
            ("a.b", true),
            ("web1", false),
            ("3f2a9c0d1e4b", false),
            ("localhost", false),
            ("LocalHost.LocalDomain", false),
            ("localhost.localdomain.", false),
            ("localhost4.localdomain4", false),
            ("localhost6.localdomain6", false),
            ("localhost6.localdomain", false),
            ("localhost.example.org", false),
            ("web1.localdomain", false),
            ("web1.localhost", false),
            ("", false),
        ] {
            assert_eq!(is_full_name(name), full, "{name}");
        }
    }

    #[test]
    fn this_host_has_a_name() {
        assert!(!Environment::of_host().hostname.is_empty());
    }
}
