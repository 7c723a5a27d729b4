//! The host: its name, and its clock.

use std::fs;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use jiff::Timestamp;

use super::finding::Finding;
use crate::config::Config;

/// Returns what there is to be said of the host.
pub(super) fn findings(config: Option<&Config>) -> Vec<Finding> {
    vec![
        name(config.map(|config| &*config.listen.hostname)),
        clock(program_made(), SystemTime::now(), is_kept()),
    ]
}

/// Returns what there is to be said of the name that the configuration gives this host, or that it has.
fn name(configured: Option<&str>) -> Finding {
    const CHECK: &str = "host name";
    let own = rustix::system::uname();
    let own = own.nodename().to_string_lossy();
    match configured.unwrap_or(&own) {
        name if name.contains('.') => Finding::ok(CHECK, name),
        name => Finding::look(
            CHECK,
            format!(
                "{name} has no dot: it is not the full name of a host, and relays refuse mail of such names"
            ),
            "set listen.hostname, or the name of the host (hostnamectl set-hostname web1.example.com)",
        ),
    }
}

/// Returns when our program was made; `None` if that is not known.
fn program_made() -> Option<SystemTime> {
    fs::metadata(std::env::current_exe().ok()?).ok()?.modified().ok()
}

/// Returns whether something keeps the clock right; `None` if systemd does not say.
fn is_kept() -> Option<bool> {
    let mut command = Command::new("timedatectl");
    command.args(["show", "--property", "NTPSynchronized", "--value"]);
    let done = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    match done.status.success().then(|| String::from_utf8_lossy(&done.stdout).trim().to_owned())?.as_str() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

/// Returns what there is to be said of the clock, which shows `now`.
fn clock(program_made: Option<SystemTime>, now: SystemTime, is_kept: Option<bool>) -> Finding {
    const CHECK: &str = "clock";
    const KEEP: &str = "let something keep it right (timedatectl set-ntp true, or chrony)";
    let time = |time: SystemTime| Timestamp::try_from(time).map_or("?".into(), |time| format!("{time:.0}"));
    match (program_made, is_kept) {
        (Some(made), _) if now < made => Finding::broken(
            CHECK,
            format!(
                "{} is before {}, when this program was made: certificates and tokens are refused for it",
                time(now),
                time(made)
            ),
            KEEP,
        ),
        (_, Some(false)) => Finding::look(
            CHECK,
            format!("{}; nothing keeps it right, as far as systemd knows", time(now)),
            KEEP,
        ),
        _ => Finding::ok(CHECK, time(now)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::finding::Health;
    use super::*;

    #[test]
    fn a_name_without_a_dot_is_something_to_look_at() {
        assert_eq!(name(Some("web1.example.com")).result, Health::Ok);
        assert_eq!(name(Some("web1")).result, Health::Look);
    }

    #[test]
    fn a_clock_from_before_the_program_is_wrong() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for (made, now, is_kept, expected) in [
            (Some(100), 99, Some(true), Health::Broken),
            (Some(100), 101, Some(false), Health::Look),
            (Some(100), 101, Some(true), Health::Ok),
            (None, 101, None, Health::Ok),
        ] {
            assert_eq!(clock(made.map(at), at(now), is_kept).result, expected);
        }
        assert!(clock(Some(at(100)), at(99), None).words.starts_with("1970-01-01T00:01:39Z is before"));
    }
}
