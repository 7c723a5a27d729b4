//! The relays: their names, and what a probe finds at each address.

use std::path::Path;

use super::super::exit::Exit;
use super::super::probe::all_found;
use super::finding::Finding;
use crate::config::Config;
use crate::relay::lookup::lookup_warnings;
use crate::relay::{AddressProbe, ProbeFault, StepFacts};

const TO_DO: &str = "nullmta probe shows each step";

/// Returns what there is to be said of the names of the relays.
pub(super) fn name_findings(config: &Config) -> Vec<Finding> {
    const CHECK: &str = "relay names";
    let doubts: Vec<Finding> =
        lookup_warnings(config).into_iter().map(|words| Finding::doubt(CHECK, words)).collect();
    if doubts.is_empty() { vec![Finding::ok(CHECK, "each relayhost has an address")] } else { doubts }
}

/// Returns what a probe finds at each address of the relays of `config`, which was read from the file at `path`.
pub(super) fn probe_findings(path: &Path, config: Config) -> Vec<Finding> {
    match all_found(path, config) {
        Ok(found) => found.iter().map(|probed| about(probed, &found)).collect(),
        Err(failure) if failure.exit() == Exit::NoPermission => {
            vec![Finding::look(CHECK, failure.to_string(), "run nullmta doctor as root")]
        }
        Err(failure) => vec![Finding::broken(CHECK, failure.to_string(), TO_DO)],
    }
}

const CHECK: &str = "probe";

/// Returns what there is to be said of one address among `all`.
fn about(probed: &AddressProbe, all: &[AddressProbe]) -> Finding {
    let at = probed.address.map_or(String::new(), |address| format!(", at {}", address.ip()));
    let route = probed.route.as_ref().map_or(String::new(), |route| format!(" (route {route})"));
    let place = format!("{}{at}{route}", probed.host);
    let Some(fault) = probed.fault() else {
        return Finding::ok(CHECK, format!("{place}: {}", agreed(probed)));
    };
    let faulty = probed.steps.iter().find_map(|step| Some((step.phase, step.fault.as_ref()?)));
    let words = faulty.map_or(place.clone(), |(phase, fault)| format!("{place}: {phase}: {}", fault.words));
    let is_spare = all.iter().any(|other| other.route == probed.route && other.fault().is_none());
    match fault {
        ProbeFault::Temporary => Finding::look(CHECK, words, TO_DO),
        ProbeFault::Unusable if is_spare => Finding::look(CHECK, words, TO_DO),
        ProbeFault::Unusable | ProbeFault::LoginRefused | ProbeFault::Configuration => {
            Finding::broken(CHECK, words, TO_DO)
        }
    }
}

/// Returns what was agreed on at an address that can be used.
fn agreed(probed: &AddressProbe) -> String {
    let facts = probed.steps.iter().filter_map(|step| match &step.facts {
        StepFacts::Tls(tls) => tls.session.as_ref().map(|session| session.version.clone()),
        StepFacts::Login(login) => login.taken.as_ref().map(|taken| format!("login by {taken}")),
        StepFacts::NoLogin => Some("no login".into()),
        _ => None,
    });
    facts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::finding::Health;
    use super::*;
    use crate::relay::{Phase, ProbeStep, StepFault};

    fn at(route: Option<&str>, fault: Option<ProbeFault>) -> AddressProbe {
        let fault = fault.map(|kind| StepFault { kind, words: "no".into() });
        let step =
            ProbeStep { phase: Phase::Connect, took: Duration::ZERO, facts: StepFacts::NoLogin, fault };
        let address = Some("192.0.2.1:25".parse().unwrap());
        AddressProbe { route: route.map(String::from), host: "mx:25".into(), address, steps: vec![step] }
    }

    #[test]
    fn one_address_of_several_that_is_down_breaks_nothing() {
        let (fine, down) = (at(None, None), at(None, Some(ProbeFault::Unusable)));
        let news = at(Some("news"), Some(ProbeFault::Unusable));
        let refused = at(None, Some(ProbeFault::LoginRefused));
        let all = [fine.clone(), down.clone(), news.clone(), refused.clone()];
        let said = |probed: &AddressProbe| about(probed, &all).result;
        assert_eq!(
            [said(&fine), said(&down), said(&news), said(&refused)],
            [Health::Ok, Health::Look, Health::Broken, Health::Broken]
        );
        assert_eq!(about(&news, &all).words, "mx:25, at 192.0.2.1 (route news): connect: no");
        assert_eq!(about(&fine, &all).words, "mx:25, at 192.0.2.1: no login");
    }
}
