//! The JSON of `nullmta probe --json`: one object for each address.
//!
//! Promises: its fields are those of config/commands.md, which a test holds; one that has nothing to say is absent.

use jiff::Timestamp;
use serde::Serialize;

use super::text::use_words;
use crate::key_names::on_route;
use crate::relay::{
    AddressProbe, LoginFacts, MechanismUse, OfferedFacts, ProbeFault, ProbeStep, ProbedCertificate,
    StepFacts, TlsFacts, WeighedMechanism,
};

/// One address, as it is shown.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ShownProbe {
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    host: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    result: &'static str,
    steps: Vec<ShownStep>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct ShownStep {
    step: String,
    result: &'static str,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    addresses: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    said: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offers: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cipher: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_exchange: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<Vec<ProbedCertificateShown>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mechanisms: Option<Vec<ShownMechanism>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mechanism: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_seconds: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ProbedCertificateShown {
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pin_sha256: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ShownMechanism {
    name: String,
    usable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why_not: Option<String>,
}

impl ShownProbe {
    pub(super) fn of(found: &AddressProbe) -> Self {
        ShownProbe {
            route: found.route.clone(),
            host: found.host.clone(),
            address: found.address.map(|address| address.to_string()),
            result: result_name(found.fault()),
            steps: found.steps.iter().map(|step| ShownStep::of(step, found.route.as_deref())).collect(),
        }
    }
}

fn result_name(fault: Option<ProbeFault>) -> &'static str {
    match fault {
        None => "ok",
        Some(ProbeFault::Temporary) => "temporary",
        Some(ProbeFault::Unusable) => "unusable",
        Some(ProbeFault::LoginRefused) => "login-refused",
        Some(ProbeFault::Configuration) => "configuration",
    }
}

impl ShownStep {
    /// Returns a step at a relay to which `route` leads.
    fn of(step: &ProbeStep, route: Option<&str>) -> Self {
        let shown = ShownStep {
            step: step.phase.to_string().to_lowercase().replace(' ', "-"),
            result: result_name(step.fault.as_ref().map(|fault| fault.kind)),
            seconds: step.took.as_micros() as f64 / 1e6,
            why: step.fault.as_ref().map(|fault| fault.words.clone()),
            ..ShownStep::default()
        };
        match &step.facts {
            StepFacts::Nothing | StepFacts::Unanswered | StepFacts::NoLogin => shown,
            StepFacts::Addresses(addresses) => ShownStep { addresses: Some(*addresses), ..shown },
            StepFacts::Said(said) => ShownStep { said: Some(said.clone()), ..shown },
            StepFacts::Offered(offered) => shown.offered(offered),
            StepFacts::Tls(tls) => shown.tls(tls),
            StepFacts::Login(login) => shown.login(login, route),
        }
    }

    fn offered(self, offered: &OfferedFacts) -> Self {
        ShownStep { offers: Some(offered.lines.clone()), size_limit: offered.size_limit, ..self }
    }

    fn tls(self, tls: &TlsFacts) -> Self {
        let session = tls.session.clone();
        ShownStep {
            chain: Some(tls.chain.iter().map(ProbedCertificateShown::of).collect()),
            tls_version: session.as_ref().map(|session| session.version.clone()),
            cipher: session.as_ref().map(|session| session.cipher.clone()),
            key_exchange: session.map(|session| session.key_exchange),
            ..self
        }
    }

    fn login(self, login: &LoginFacts, route: Option<&str>) -> Self {
        let mechanism = |mechanism| ShownMechanism::of(mechanism, route);
        ShownStep {
            mechanisms: Some(login.offered.iter().map(mechanism).collect()),
            mechanism: login.taken.clone(),
            token_seconds: login.token.and_then(|token| token.valid_for).map(|valid| valid.as_secs()),
            ..self
        }
    }
}

impl ProbedCertificateShown {
    fn of(certificate: &ProbedCertificate) -> Self {
        let time = |seconds| Timestamp::from_second(seconds).ok().map(|time| time.to_string());
        let (from, until) = certificate.validity.unzip();
        ProbedCertificateShown {
            subject: certificate.subject.clone(),
            issuer: certificate.issuer.clone(),
            names: certificate.names.clone(),
            valid_from: from.and_then(time),
            valid_until: until.and_then(time),
            pin_sha256: certificate.pin.clone(),
        }
    }
}

impl ShownMechanism {
    fn of(mechanism: &WeighedMechanism, route: Option<&str>) -> Self {
        let usable = mechanism.usability == MechanismUse::Usable;
        let why_not = (!usable).then(|| on_route(use_words(mechanism.usability), route).into_owned());
        ShownMechanism { name: mechanism.name.clone(), usable, why_not }
    }
}
