//! The units of systemd, and the daemon behind its control socket.

use std::path::Path;

use super::super::control_client::{self, ClientError};
use super::super::unit::{UnitState, unit_states};
use super::super::{pause::words as pause_words, queue::hold_rules};
use super::finding::Finding;
use crate::admin::protocol::{ControlRequest, DaemonStatus, ListedHoldRule, ListedPause, RelayFigures};
use crate::config::Config;
use crate::log::counted;

/// What is found about the units.
pub(super) struct UnitFindings {
    pub(super) findings: Vec<Finding>,
    /// The addresses of TCP that systemd holds for the daemon.
    pub(super) sockets: Vec<String>,
}

const UNIT: &str = "unit";
const START: &str = "systemctl enable --now nullmta.socket nullmta.service";
const JOURNAL: &str = "journalctl -u nullmta -n 50 says why; then systemctl restart nullmta";

/// Returns what systemd says of the units.
pub(super) fn unit_findings() -> UnitFindings {
    match unit_states() {
        None => UnitFindings {
            findings: vec![Finding::ok(UNIT, "systemd does not answer: nothing is known of units")],
            sockets: Vec::new(),
        },
        Some([service, socket]) => {
            let sockets = if socket.is_active() { socket.listens.clone() } else { Vec::new() };
            UnitFindings { findings: of_units(&service, &socket), sockets }
        }
    }
}

fn of_units(service: &UnitState, socket: &UnitState) -> Vec<Finding> {
    if !service.is_loaded {
        let words = "there is no unit nullmta.service: nothing starts the daemon when the host boots";
        return vec![Finding::look(UNIT, words, "install it, as the README says (Set it up)")];
    }
    let mut findings = vec![activity(service, socket)];
    if service.is_disabled && (socket.is_disabled || !socket.is_loaded) {
        findings.push(Finding::look(UNIT, "nothing starts the daemon when the host boots", START));
    }
    if service.needs_reload || socket.needs_reload {
        findings.push(Finding::look(UNIT, "the files of the units are newer than what systemd has read", {
            "systemctl daemon-reload, then systemctl restart nullmta"
        }));
    }
    findings
}

/// Returns what there is to be said of what runs now.
fn activity(service: &UnitState, socket: &UnitState) -> Finding {
    let state = &service.state;
    match (service.is_active(), socket.is_active()) {
        (true, true) => Finding::ok(UNIT, "nullmta.service and nullmta.socket are active"),
        (true, false) => Finding::ok(UNIT, "nullmta.service is active, without nullmta.socket"),
        (false, true) if service.has_failed() => Finding::broken(
            UNIT,
            format!(
                "systemd holds the ports, and the daemon does not start ({state}): clients are refused with 421, and \
                 sendmail leaves its mail in the drop directory"
            ),
            JOURNAL,
        ),
        (false, true) => Finding::look(
            UNIT,
            format!(
                "systemd holds the ports, and the daemon does not run ({state}): it starts with the next client"
            ),
            START,
        ),
        (false, false) if service.has_failed() => {
            Finding::broken(UNIT, format!("the daemon does not start ({state})"), JOURNAL)
        }
        (false, false) => Finding::broken(UNIT, format!("the daemon does not run ({state})"), START),
    }
}

const DAEMON: &str = "daemon";

/// What is found about the daemon.
pub(super) struct DaemonFindings {
    pub(super) findings: Vec<Finding>,
    /// Its process; `None` if it does not say.
    pub(super) pid: Option<u32>,
}

/// Returns what the daemon says of itself.
pub(super) fn daemon_findings(path: &Path, config: Option<&Config>) -> DaemonFindings {
    let control = config.map_or_else(|| Config::control_in(path), |config| config.control.clone());
    let mut status = None;
    let answer = control_client::ask(&control, &ControlRequest::Status, &mut |told: DaemonStatus| {
        status = Some(told);
        Ok(())
    });
    let pid = status.as_ref().map(|status| status.pid);
    let findings = match (answer, status) {
        (_, Some(status)) => of_status(&status),
        (Err(error @ ClientError::Denied(_)), _) => {
            vec![Finding::look(DAEMON, error.to_string(), "run nullmta doctor as root to have it looked at")]
        }
        (Err(error), _) => vec![Finding::broken(DAEMON, error.to_string(), remedy(&error))],
        (Ok(_), None) => vec![Finding::look(DAEMON, "the daemon is stopping", "look again")],
    };
    DaemonFindings { findings, pid }
}

/// Returns what to do about a daemon that does not answer: one that hangs is there, and starting it changes nothing.
fn remedy(error: &ClientError) -> &'static str {
    match error {
        ClientError::Silent { .. } => JOURNAL,
        _ => "systemctl start nullmta",
    }
}

fn of_status(status: &DaemonStatus) -> Vec<Finding> {
    let DaemonStatus { version, pid, messages, configuration, .. } = status;
    let runs = format!("nullmta {version} runs (pid {pid}), {} in the queue", counted(*messages, "message"));
    let mut findings = vec![Finding::ok(DAEMON, runs)];
    if version != env!("CARGO_PKG_VERSION") {
        findings.push(Finding::look(
            DAEMON,
            "it is of another version than this program",
            "systemctl restart nullmta",
        ));
    }
    if let Some(refused) = &configuration.refused {
        findings.push(Finding::broken(
            DAEMON,
            format!("the configuration of {} is not in force: {}", refused.at, refused.why),
            "correct it, then nullmta reload",
        ));
    }
    if !configuration.needs_restart.is_empty() {
        let words = format!("not in force before a restart: {}", configuration.needs_restart.join(", "));
        findings.push(Finding::look(DAEMON, words, "systemctl restart nullmta"));
    }
    if let Some(trouble) = &status.spool_trouble {
        findings.push(Finding::broken("spool", format!("{trouble}; mail is refused"), "make room for it"));
    }
    findings.extend(status.users_trouble.iter().map(|trouble| Finding::doubt("logins", &**trouble)));
    if status.dead > 0 {
        let words = format!(
            "{}: nobody could be told that it was not delivered",
            counted(status.dead, "dead message")
        );
        findings.push(Finding::look("queue", words, "nullmta queue list; nullmta queue retry or delete"));
    }
    if status.on_hold > 0 {
        let words = format!("{} on hold, by an operator", counted(status.on_hold, "message"));
        findings.push(Finding::look("queue", words, "nullmta queue release, or delete"));
    }
    findings.extend(status.pauses.iter().map(of_ordered_pause));
    findings.extend(status.pauses_without_route().map(|(paused, _)| {
        Finding::broken("pauses", pause_words::without_route(paused), pause_words::ends(paused))
    }));
    findings.extend(status.hold_rules.iter().map(of_hold_rule));
    findings.extend(status.relays.iter().flat_map(of_relay));
    findings
}

/// Returns the pause that an operator has ordered, and may have forgotten.
fn of_ordered_pause(paused: &ListedPause) -> Finding {
    Finding::look(
        "pauses",
        pause_words::said(paused),
        format!("{}, when it is to go on", pause_words::ends(paused)),
    )
}

/// Returns the hold rule that an operator has made, and may have forgotten.
fn of_hold_rule(rule: &ListedHoldRule) -> Finding {
    let number = rule.number.map_or("--all".into(), |number| number.to_string());
    let to_do = format!("nullmta queue release --new {number}, when new mail is to be sent");
    Finding::look("hold rules", hold_rules::line(rule), to_do)
}

/// Returns what the daemon has met at a relay lately.
fn of_relay(relay: &RelayFigures) -> Vec<Finding> {
    const CHECK: &str = "relay lately";
    let name = match &relay.route {
        Some(route) => format!("{} (route {route})", relay.relay),
        None => relay.relay.clone(),
    };
    let trouble = relay.trouble.as_deref().unwrap_or("no reason is known");
    let paused = relay.paused_since.as_ref().map(|since| {
        let waiting = counted(relay.messages, "message");
        let words = format!("{name} is paused since {since}, with {waiting} waiting: {trouble}");
        Finding::broken(CHECK, words, "when its cause is gone, nullmta flush tries at once")
    });
    let token = relay.unwritten_token.as_ref().map(|words| {
        Finding::broken(CHECK, format!("{name}: {words}"), "a crash now would lose the login: mend it first")
    });
    let last = relay.trouble.as_ref().filter(|_| relay.paused_since.is_none());
    let doubts = last.into_iter().chain(&relay.held_because).chain(&relay.expiring).chain(&relay.passed_over);
    let doubts = doubts.map(|words| Finding::doubt(CHECK, format!("{name}: {words}")));
    let found: Vec<Finding> = paused.into_iter().chain(token).chain(doubts).collect();
    match found.is_empty() {
        true => vec![Finding::ok(CHECK, format!("{name}: {}, and nothing went wrong", relay.state))],
        false => found,
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Health;
    use super::*;

    fn unit(state: &str) -> UnitState {
        UnitState {
            is_loaded: true,
            state: state.into(),
            is_disabled: false,
            needs_reload: false,
            listens: Vec::new(),
        }
    }

    fn told(service: &UnitState, socket: &UnitState) -> Vec<(Health, String)> {
        of_units(service, socket).into_iter().map(|finding| (finding.result, finding.words)).collect()
    }

    /// It hung, and "systemctl start" did nothing, since it was started.
    #[test]
    fn a_daemon_that_hangs_is_to_be_restarted() {
        let silent =
            ClientError::Silent { socket: "/s".into(), patience: std::time::Duration::from_secs(30) };
        assert!(remedy(&silent).contains("systemctl restart nullmta"));
        let gone =
            ClientError::Unreachable { socket: "/s".into(), source: std::io::ErrorKind::NotFound.into() };
        assert_eq!(remedy(&gone), "systemctl start nullmta");
    }

    /// The port answered, so that everybody looked elsewhere.
    #[test]
    fn a_port_that_systemd_holds_for_a_daemon_that_does_not_start_is_told() {
        let failing = unit("activating, auto-restart, exit-code");
        let active = unit("active, running");
        let first = |service: &UnitState, socket: &UnitState| told(service, socket).remove(0);
        let (health, words) = first(&failing, &active);
        assert_eq!(health, Health::Broken);
        assert!(
            words.starts_with("systemd holds the ports, and the daemon does not start (activating"),
            "{words}"
        );
        assert_eq!(first(&unit("inactive, dead, success"), &active).0, Health::Look);
        assert_eq!(first(&unit("failed, failed, exit-code"), &unit("inactive, dead")).0, Health::Broken);
        assert_eq!(first(&unit("inactive, dead, success"), &unit("inactive, dead")).0, Health::Broken);
        assert_eq!(first(&active, &active).0, Health::Ok);
        assert_eq!(told(&active, &active).len(), 1);
    }

    #[test]
    fn a_unit_that_is_not_there_or_not_started_at_a_boot_is_told() {
        let missing = UnitState { is_loaded: false, ..unit("inactive, dead") };
        assert_eq!(told(&missing, &missing)[0].0, Health::Look);
        let off = UnitState { is_disabled: true, ..unit("active, running") };
        let last = |service: &UnitState, socket: &UnitState| told(service, socket).pop().unwrap();
        assert_eq!(last(&off, &off), (Health::Look, "nothing starts the daemon when the host boots".into()));
        assert_eq!(last(&off, &unit("active, running")).0, Health::Ok);
        let stale = UnitState { needs_reload: true, ..unit("active, running") };
        assert_eq!(last(&stale, &unit("active, running")).0, Health::Look);
    }
}
