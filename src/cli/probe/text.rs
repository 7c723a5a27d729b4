//! The text of `nullmta probe`, for a terminal of 80 columns.
//!
//! Promises: a key pin stands on one line, as it is pasted. Words of the relay are printed escaped. Each step says `ok`, or what
//! is wrong, and what to do.

use std::time::Duration;

use jiff::Timestamp;

use super::super::paragraph::labelled;
use crate::key_names::on_route;
use crate::log::Foreign;
use crate::relay::{
    AddressProbe, LoginFacts, MechanismUse, OfferedFacts, Phase, ProbeFault, ProbeStep, ProbedCertificate,
    StepFacts, TlsFacts,
};

/// A step that takes longer has its time told.
const SLOW: Duration = Duration::from_secs(1);

/// Returns the text about one address. `largest` is the size of the largest message that nullmta takes.
pub(super) fn probe_text(found: &AddressProbe, largest: u64) -> String {
    let route = found.route.as_deref();
    let mut text = heading(found) + "\n";
    for step in &found.steps {
        let mark = if step.fault.is_none() { "ok" } else { "FAILS" };
        let label = format!("  {mark:<5} {:<13} ", step.phase.to_string());
        text += &labelled(&label, &paragraphs(step, largest, route));
    }
    text
}

/// Returns the first line: the host, its address, and the route that leads there.
fn heading(found: &AddressProbe) -> String {
    let at = found.address.map_or(String::new(), |address| format!(", at {}", address.ip()));
    let route = found.route.as_deref().map_or(String::new(), |route| format!("route {}: ", Foreign(route)));
    format!("{route}{}{at}", Foreign(&found.host))
}

/// Returns what there is to be said of a step at a relay to which `route` leads, each on a line of its own.
fn paragraphs(step: &ProbeStep, largest: u64, route: Option<&str>) -> Vec<String> {
    let mut said = match &step.facts {
        StepFacts::Nothing => nothing_else(step),
        StepFacts::Unanswered => vec!["no answer, which does no harm; no mail was sent".into()],
        StepFacts::Addresses(1) => vec!["1 address".into()],
        StepFacts::Addresses(number) => vec![format!("{number} addresses")],
        StepFacts::Said(said) => vec![Foreign(said).to_string()],
        StepFacts::Offered(offered) => offered_lines(offered, largest),
        StepFacts::Tls(tls) => tls_lines(tls),
        StepFacts::Login(login) => login_lines(login, route),
        StepFacts::NoLogin => vec![on_route("no login: the configuration has no [auth]", route).into_owned()],
    };
    if let Some(fault) = &step.fault {
        said.insert(0, Foreign(&fault.words).to_string());
        said.extend(advice(step.phase, fault.kind).map(String::from));
    }
    if step.took >= SLOW && step.phase != Phase::Connect {
        said.push(format!("took {:.1} s", step.took.as_secs_f64()));
    }
    said
}

/// Returns what there is to be said of a step that has found out nothing else.
fn nothing_else(step: &ProbeStep) -> Vec<String> {
    match (step.phase, &step.fault) {
        (Phase::Connect, None) => {
            vec![format!("{:.1} ms for a round trip", step.took.as_secs_f64() * 1000.0)]
        }
        (Phase::Quit, None) => vec!["no mail was sent".into()],
        _ => Vec::new(),
    }
}

/// Returns what to do about a step that failed, where its words do not say it.
fn advice(phase: Phase, fault: ProbeFault) -> Option<&'static str> {
    match (phase, fault) {
        (_, ProbeFault::Temporary) => Some("It may pass: nullmta tries again by itself."),
        (Phase::Resolve, ProbeFault::Unusable) => {
            Some("Is the name right? Does this host have a name server (/etc/resolv.conf)?")
        }
        (Phase::Connect, ProbeFault::Unusable) => Some(
            "Are the host and the port right? Does a firewall let this host connect there? Many networks let nobody out to \
             port 25: 587 or 465 may do.",
        ),
        (Phase::Greeting, ProbeFault::Unusable) => Some(
            "Is this the port of a mail relay, and does tls.mode fit it? If the relay itself refuses this host, whoever runs it must \
             let its address in.",
        ),
        _ => None,
    }
}

fn offered_lines(offered: &OfferedFacts, largest: u64) -> Vec<String> {
    let offers = if offered.lines.is_empty() { "no extension".into() } else { offered.lines.join(", ") };
    // Before TLS it may say something else.
    let is_last = !offered.lines.iter().any(|line| line.eq_ignore_ascii_case("STARTTLS"));
    let smaller = offered.size_limit.filter(|limit| is_last && *limit < largest).map(|limit| {
        format!("It takes {limit} octets at most; larger ones, up to listen.max-message-size, would bounce.")
    });
    std::iter::once(Foreign(&offers).to_string()).chain(smaller).collect()
}

fn tls_lines(tls: &TlsFacts) -> Vec<String> {
    let session = tls.session.as_ref().map(|session| {
        format!("{}, {}, key exchange {}", session.version, session.cipher, session.key_exchange)
    });
    let chain = tls.chain.iter().enumerate().flat_map(|(place, certificate)| {
        let mut lines = vec![certificate_line(certificate, place == 0)];
        let pin = certificate.pin.as_deref().filter(|_| place == 0);
        if let Some(pin) = pin {
            lines.push("The pin of its key, as [tls] would have it:".into());
            lines.push(format!("pin-sha256\u{a0}=\u{a0}\"{pin}\""));
        }
        lines
    });
    session.into_iter().chain(chain).collect()
}

/// Returns the line about a certificate of a chain.
fn certificate_line(certificate: &ProbedCertificate, is_of_relay: bool) -> String {
    let text = |text: &Option<String>| Foreign(text.as_deref().unwrap_or("no name")).to_string();
    let whose = match is_of_relay {
        true if certificate.names.is_empty() => "certificate for no host name".into(),
        true => format!("certificate for {}", Foreign(&certificate.names.join(", "))),
        false => format!("issuer {}", text(&certificate.subject)),
    };
    let day = |seconds| match Timestamp::from_second(seconds) {
        Ok(time) => time.strftime("%Y-%m-%d").to_string(),
        Err(_) => "?".into(),
    };
    let valid = certificate
        .validity
        .map_or(String::new(), |(from, until)| format!(", valid from {} to {}", day(from), day(until)));
    format!("{whose}{valid}, issued by {}", text(&certificate.issuer))
}

fn login_lines(login: &LoginFacts, route: Option<&str>) -> Vec<String> {
    let name = |name: &str| Foreign(name).to_string();
    let taken = login.taken.as_ref().map(|taken| format!("logged in by {}", name(taken)));
    let is_usable = |usability| usability == MechanismUse::Usable;
    let usable: Vec<String> = login
        .offered
        .iter()
        .filter(|offered| is_usable(offered.usability))
        .map(|offered| name(&offered.name))
        .collect();
    let usable = (!usable.is_empty()).then(|| format!("offered, best first: {}", usable.join(", ")));
    let others = login.offered.iter().filter(|offered| !is_usable(offered.usability));
    let others = others.map(|other| {
        let why_not = on_route(use_words(other.usability), route);
        format!("not used: {}, {why_not}", name(&other.name))
    });
    let token = login.token.map(|token| match token.valid_for {
        Some(valid_for) => format!("access token fetched, valid for {} min", valid_for.as_secs() / 60),
        None => "access token fetched; its endpoint does not say for how long it is valid".into(),
    });
    taken.into_iter().chain(usable).chain(others).chain(token).collect()
}

/// Returns why a mechanism is not used.
pub(super) fn use_words(usability: MechanismUse) -> &'static str {
    match usability {
        MechanismUse::Usable => "it may be used",
        MechanismUse::NeedsTls13 => "it needs TLS 1.3",
        MechanismUse::LeftOut => "auth.mechanisms leaves it out",
        MechanismUse::OnlyByName => "used only if auth.mechanisms names it",
        MechanismUse::ProvesToken => "it needs an access token, and [auth] has none",
        MechanismUse::ProvesPassword => "it needs a password, and [auth] has none",
        MechanismUse::Unknown => "nullmta does not speak it",
    }
}
