//! Somebody who watches how a session is opened, to show it: `nullmta probe` (`probe.rs`).
//!
//! Promises: a witness sees each step in its order, and changes none of them; it is never told a secret. The connections of a
//! daemon have [`Unwatched`], which sees nothing and costs nothing.
//!
//! Not here: the steps (`opening.rs`, `tls.rs`).

use rustls::ClientConnection;
use rustls::pki_types::CertificateDer;

use super::trouble::Phase;
use crate::smtp::reply::Reply;

/// Sees the steps by which a session is opened.
pub(crate) trait OpeningWitness: Send + Sync {
    /// A session is begun on a new connection: what was seen on an earlier one has come to nothing.
    fn begins(&self);
    /// The relay has agreed at `phase`, in these words.
    fn heard(&self, phase: Phase, reply: &Reply);
    /// The certificate was verified, in this session of TLS.
    fn shook_hands(&self, session: &ClientConnection);
    /// These certificates were shown, the relay's own first, and are refused.
    fn distrusted(&self, shown: &[CertificateDer<'_>]);
}

/// Nobody watches.
pub(crate) struct Unwatched;

impl OpeningWitness for Unwatched {
    fn begins(&self) {}
    fn heard(&self, _phase: Phase, _reply: &Reply) {}
    fn shook_hands(&self, _session: &ClientConnection) {}
    fn distrusted(&self, _shown: &[CertificateDer<'_>]) {}
}
