//! What systemd says of the two units now.

use super::{SERVICE, systemctl};

/// The socket unit.
const SOCKET: &str = "nullmta.socket";

/// The properties that systemd is asked for.
const PROPERTIES: &str = "LoadState,ActiveState,SubState,Result,UnitFileState,NeedDaemonReload,Listen";

/// What systemd says of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct UnitState {
    /// True if there are files of it.
    pub(in crate::cli) is_loaded: bool,
    /// Its state, in the words of systemd, the main one first, such as `activating, auto-restart, exit-code`.
    pub(in crate::cli) state: String,
    /// True if nothing starts it at a boot.
    pub(in crate::cli) is_disabled: bool,
    /// True if its files are newer than what systemd has read.
    pub(in crate::cli) needs_reload: bool,
    /// The addresses of TCP on which a socket unit listens.
    pub(in crate::cli) listens: Vec<String>,
}

impl UnitState {
    /// True if it runs.
    pub(in crate::cli) fn is_active(&self) -> bool {
        self.state.starts_with("active") || self.state.starts_with("reloading")
    }

    /// True if its last start failed.
    pub(in crate::cli) fn has_failed(&self) -> bool {
        self.state.starts_with("failed") || self.state.starts_with("activating, auto-restart")
    }

    /// Parses what `systemctl show` prints of one unit.
    fn parse(text: &str) -> Self {
        let values = |name: &'static str| {
            text.lines().filter_map(move |line| line.strip_prefix(name)?.strip_prefix('='))
        };
        let value = |name| values(name).next().unwrap_or_default();
        let state: Vec<&str> = [value("ActiveState"), value("SubState"), value("Result")]
            .into_iter()
            .filter(|s| !s.is_empty())
            .collect();
        UnitState {
            is_loaded: value("LoadState") == "loaded",
            state: state.join(", "),
            is_disabled: value("UnitFileState") == "disabled",
            needs_reload: value("NeedDaemonReload") == "yes",
            listens: values("Listen")
                .filter_map(|one| one.strip_suffix(" (Stream)"))
                .map(String::from)
                .collect(),
        }
    }
}

/// Returns what systemd says of the service and of its socket unit; `None` if it does not answer.
pub(in crate::cli) fn unit_states() -> Option<[UnitState; 2]> {
    let text = systemctl(&["show", "--no-pager", "--property", PROPERTIES, SERVICE, SOCKET])?;
    let (service, socket) = text.split_once("\n\n")?;
    Some([UnitState::parse(service), UnitState::parse(socket)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemctl_prints_is_read() {
        let socket = UnitState::parse(
            "Listen=127.0.0.1:25 (Stream)\nListen=[::1]:25 (Stream)\nListen=/run/nullmta/submit.sock (Stream)\n\
             LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\nNeedDaemonReload=no\n\
             Result=success\n",
        );
        assert!(socket.is_loaded && socket.is_active() && !socket.has_failed() && !socket.is_disabled);
        assert_eq!(socket.listens[..2], ["127.0.0.1:25", "[::1]:25"]);
        let failing = UnitState::parse(
            "LoadState=loaded\nActiveState=activating\nSubState=auto-restart\nResult=exit-code\n\
             UnitFileState=disabled\nNeedDaemonReload=yes\n",
        );
        assert_eq!(failing.state, "activating, auto-restart, exit-code");
        assert!(failing.has_failed() && !failing.is_active() && failing.is_disabled && failing.needs_reload);
        assert!(!UnitState::parse("LoadState=not-found\nActiveState=inactive\n").is_loaded);
    }
}
