//! Golden texts in `tests/golden/probe/*.txt`, and the table of fields in config/commands.md.
//!
//! `NULLMTA_BLESS=1 cargo test --lib cli::probe` writes the texts again; read the diff.

use std::collections::BTreeMap;

use serde_json::Value;

use super::*;
use crate::relay::{
    LoginFacts, MechanismUse, OfferedFacts, Phase, ProbeStep, ProbedCertificate, ProbedSession, StepFacts,
    StepFault, TlsFacts, TokenFacts, WeighedMechanism,
};

const LARGEST: u64 = 104_857_600;

fn step(phase: Phase, millis: u64, facts: StepFacts) -> ProbeStep {
    ProbeStep { phase, took: std::time::Duration::from_millis(millis), facts, fault: None }
}

fn failed(phase: Phase, facts: StepFacts, kind: ProbeFault, words: &str) -> ProbeStep {
    ProbeStep { fault: Some(StepFault { kind, words: words.into() }), ..step(phase, 20, facts) }
}

fn offered(lines: &[&str], size_limit: Option<u64>) -> StepFacts {
    StepFacts::Offered(OfferedFacts { lines: lines.iter().map(|line| (*line).into()).collect(), size_limit })
}

fn at(host: &str, address: Option<&str>, steps: Vec<ProbeStep>) -> AddressProbe {
    let address = address.map(|address| address.parse().unwrap());
    AddressProbe { route: None, host: host.into(), address, steps }
}

fn chain() -> Vec<ProbedCertificate> {
    let relay = ProbedCertificate {
        subject: Some("smtp.example.com".into()),
        issuer: Some("Example CA R3".into()),
        names: vec!["smtp.example.com".into(), "smtp-eu.example.com".into()],
        validity: Some((1_760_000_000, 1_790_000_000)),
        pin: Some("ab".repeat(32)),
    };
    let issuer = ProbedCertificate {
        subject: Some("Example CA R3".into()),
        issuer: Some("Example Root".into()),
        names: Vec::new(),
        validity: Some((1_700_000_000, 1_890_000_000)),
        pin: Some("cd".repeat(32)),
    };
    vec![relay, issuer]
}

fn login() -> LoginFacts {
    let weighed = |(name, usability): (&str, MechanismUse)| WeighedMechanism { name: name.into(), usability };
    let offered = [
        ("SCRAM-SHA-256", MechanismUse::Usable),
        ("PLAIN", MechanismUse::Usable),
        ("SCRAM-SHA-256-PLUS", MechanismUse::NeedsTls13),
        ("LOGIN", MechanismUse::LeftOut),
        ("CRAM-MD5", MechanismUse::OnlyByName),
        ("XOAUTH2", MechanismUse::ProvesToken),
        ("NTLM\u{1b}", MechanismUse::Unknown),
    ];
    LoginFacts { offered: offered.map(weighed).into(), ..LoginFacts::default() }
}

/// An address at which all goes well.
fn fine() -> AddressProbe {
    let session = ProbedSession {
        version: "TLSv1.3".into(),
        cipher: "TLS13_AES_256_GCM_SHA384".into(),
        key_exchange: "X25519MLKEM768".into(),
    };
    let taken = LoginFacts {
        taken: Some("XOAUTH2".into()),
        token: Some(TokenFacts { valid_for: Some(std::time::Duration::from_secs(3599)) }),
        ..login()
    };
    let steps = vec![
        step(Phase::Resolve, 2, StepFacts::Addresses(3)),
        step(Phase::Connect, 12, StepFacts::Nothing),
        step(Phase::Greeting, 3200, StepFacts::Said("220 smtp.example.com ESMTP\u{1b}[2J".into())),
        step(Phase::Ehlo, 13, offered(&["SIZE 36700160", "STARTTLS"], Some(36_700_160))),
        step(Phase::StartTls, 12, StepFacts::Said("220 2.0.0 go ahead".into())),
        step(Phase::Tls, 30, StepFacts::Tls(TlsFacts { session: Some(session), chain: chain() })),
        step(
            Phase::Ehlo,
            12,
            offered(
                &["SIZE 36700160", "AUTH XOAUTH2 PLAIN", "PIPELINING", "LIMITS RCPTMAX=100"],
                Some(36_700_160),
            ),
        ),
        step(Phase::Auth, 300, StepFacts::Login(taken)),
        step(Phase::Quit, 12, StepFacts::Nothing),
    ];
    at("smtp.example.com:587", Some("192.0.2.5:587"), steps)
}

/// Addresses at which something is wrong, one for each kind of fault.
fn faulty() -> Vec<AddressProbe> {
    let lookup = || step(Phase::Resolve, 2, StepFacts::Addresses(1));
    let connected = || step(Phase::Connect, 0, StepFacts::Nothing);
    let refused = TlsFacts { session: None, chain: chain() };
    let untrusted = format!(
        "the relay's certificate is not trusted; if it is your relay's own all the same, trust its key alone: \
         tls.pin-sha256 = \"{}\"",
        "ab".repeat(32)
    );
    let steps = [
        vec![failed(
            Phase::Resolve,
            StepFacts::Nothing,
            ProbeFault::Unusable,
            "gone.example.com cannot be looked up",
        )],
        vec![
            lookup(),
            failed(Phase::Connect, StepFacts::Nothing, ProbeFault::Unusable, "connection refused"),
        ],
        vec![
            lookup(),
            connected(),
            failed(
                Phase::Greeting,
                StepFacts::Nothing,
                ProbeFault::Temporary,
                "the relay said: 421 4.3.2 busy",
            ),
        ],
        vec![lookup(), failed(Phase::Tls, StepFacts::Tls(refused), ProbeFault::Unusable, &untrusted)],
        vec![
            failed(
                Phase::Auth,
                StepFacts::Login(login()),
                ProbeFault::LoginRefused,
                "the relay said: 535 5.7.8 no; see auth.username and auth.password-file",
            ),
            step(Phase::Auth, 0, StepFacts::NoLogin),
            step(Phase::Quit, 1, StepFacts::Nothing),
        ],
    ];
    let hosts =
        ["gone.example.com:587", "a.example.com:587", "b.example.com:587", "c.example.com:465", "d:25"];
    let mut found: Vec<AddressProbe> = hosts
        .into_iter()
        .zip(steps)
        .map(|(host, steps)| at(host, Some("[2001:db8::5]:587").filter(|_| steps.len() > 1), steps))
        .collect();
    if let Some(last) = found.last_mut() {
        last.route = Some("news".into());
    }
    found
}

#[test]
fn the_text_fits_a_terminal_and_says_what_to_do() {
    let texts = [("fine", vec![fine()]), ("faulty", faulty())];
    for (name, found) in texts {
        let shown: String = found.iter().map(|found| probe_text(found, LARGEST)).collect();
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/probe").join(format!("{name}.txt"));
        if std::env::var_os("NULLMTA_BLESS").is_some() {
            std::fs::write(&path, &shown).unwrap();
        }
        assert_eq!(shown, std::fs::read_to_string(&path).unwrap(), "{name}");
    }
}

/// Adds the fields of `value`, which is at `path`, with their types.
fn fields(value: &Value, path: &str, all: &mut BTreeMap<String, &'static str>) {
    let kind = match value {
        Value::Object(object) => {
            for (name, value) in object {
                let dot = if path.is_empty() { "" } else { "." };
                fields(value, &format!("{path}{dot}{name}"), all);
            }
            return;
        }
        Value::Array(items) if items.first().is_some_and(Value::is_object) => {
            items.iter().for_each(|item| fields(item, &format!("{path}[]"), all));
            return;
        }
        Value::Array(_) => "strings",
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "boolean",
        Value::Null => panic!("{path}: a field without a value is absent"),
    };
    all.insert(path.into(), kind);
}

#[test]
fn each_field_of_the_json_is_described() {
    let mut shown = BTreeMap::new();
    for found in [vec![fine()], faulty()].concat() {
        fields(&serde_json::to_value(ShownProbe::of(&found)).unwrap(), "", &mut shown);
    }
    let commands = include_str!("../../../config/commands.md");
    let section = commands.split("## The JSON of `nullmta probe`").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        Some((cells.next()?.trim_end_matches('`').to_owned(), cells.next()?))
    });
    let described: BTreeMap<String, &str> = rows.collect();
    assert_eq!(shown, described);
}

#[test]
fn the_worst_fault_is_the_exit_code() {
    let exit = |faults: &[ProbeFault]| {
        let sum = ProbeSum { addresses: 2, faults: faults.into(), ..ProbeSum::default() };
        sum.outcome().map_err(|failure| (failure.exit(), failure.to_string()))
    };
    let told = |words: &str| format!("{words}; no mail was sent");
    assert!(exit(&[]).is_ok());
    assert_eq!(
        exit(&[ProbeFault::Temporary]),
        Err((Exit::TempFail, told("1 of 2 addresses cannot be used now")))
    );
    assert_eq!(
        exit(&[ProbeFault::LoginRefused, ProbeFault::Unusable]),
        Err((Exit::Config, told("none of 2 addresses can be used now")))
    );
    assert_eq!(exit(&[ProbeFault::Unusable, ProbeFault::Temporary]).unwrap_err().0, Exit::Unavailable);
}
