//! Records the steps of a probe at one address, with the time that each took.
//!
//! Not here: what is made of them (`probe.rs`).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::ClientConnection;
use rustls::pki_types::CertificateDer;
use tokio::time::Instant;

use super::super::trouble::Phase;
use super::super::witness::OpeningWitness;
use super::facts::{OfferedFacts, ProbeStep, StepFacts, StepFault, TlsFacts};
use crate::smtp::reply::Reply;

/// The steps of a probe at one address.
pub(super) struct StepRecorder(Mutex<Recorded>);

struct Recorded {
    steps: Vec<ProbeStep>,
    /// The end of the last step.
    since: Instant,
    /// The certificates of a handshake that failed by them.
    refused: Option<TlsFacts>,
}

impl StepRecorder {
    /// Returns a recorder to which `first` has happened.
    pub(super) fn new(first: ProbeStep) -> Self {
        StepRecorder(Mutex::new(Recorded { steps: vec![first], since: Instant::now(), refused: None }))
    }

    /// Records a step that is done.
    pub(super) fn done(&self, phase: Phase, facts: StepFacts) {
        self.record(phase, facts, None);
    }

    /// Records the step that failed. A handshake has the certificates that were refused.
    pub(super) fn failed(&self, phase: Phase, facts: StepFacts, fault: StepFault) {
        let refused = self.recorded().refused.take().filter(|_| phase == Phase::Tls);
        self.record(phase, refused.map_or(facts, StepFacts::Tls), Some(fault));
    }

    /// Returns the time since the end of the last step.
    pub(super) fn waited(&self) -> Duration {
        self.recorded().since.elapsed()
    }

    /// Returns the step that comes next, as far as the last one tells.
    pub(super) fn awaited(&self) -> Phase {
        let recorded = self.recorded();
        let is_protected = recorded.steps.iter().any(|step| step.phase == Phase::Tls);
        match recorded.steps.last().map(|step| step.phase) {
            None | Some(Phase::Resolve) => Phase::Connect,
            Some(Phase::Connect) => Phase::Greeting,
            Some(Phase::Greeting) => Phase::Ehlo,
            Some(Phase::Ehlo) if is_protected => Phase::Auth,
            Some(Phase::Ehlo) => Phase::StartTls,
            Some(Phase::StartTls) => Phase::Tls,
            Some(Phase::Tls) => Phase::Ehlo,
            Some(_) => Phase::Quit,
        }
    }

    /// Returns the steps.
    pub(super) fn into_steps(self) -> Vec<ProbeStep> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).steps
    }

    fn record(&self, phase: Phase, facts: StepFacts, fault: Option<StepFault>) {
        let mut recorded = self.recorded();
        let took = recorded.since.elapsed();
        recorded.since = Instant::now();
        recorded.steps.push(ProbeStep { phase, took, facts, fault });
    }

    /// It is whole between any two statements that can panic.
    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpeningWitness for StepRecorder {
    fn begins(&self) {
        let mut recorded = self.recorded();
        recorded.steps.retain(|step| matches!(step.phase, Phase::Resolve | Phase::Connect));
        recorded.since = Instant::now();
    }

    fn heard(&self, phase: Phase, reply: &Reply) {
        let facts = match phase {
            Phase::Ehlo => StepFacts::Offered(OfferedFacts::of(reply)),
            _ => StepFacts::Said(reply.to_string()),
        };
        self.done(phase, facts);
    }

    fn shook_hands(&self, session: &ClientConnection) {
        self.done(Phase::Tls, StepFacts::Tls(TlsFacts::of(session)));
    }

    fn distrusted(&self, shown: &[CertificateDer<'_>]) {
        self.recorded().refused = Some(TlsFacts::refused(shown));
    }
}
