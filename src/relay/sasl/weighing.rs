//! What there is to be said of each mechanism that a relay offers, for an operator who asks why one of them is used.
//!
//! Promises: a mechanism is [`MechanismUse::Usable`] if a login may try it, as `sasl.rs` decides. Pure.

use super::{PLUS, allowed};
use crate::config::{AuthConfig, Mechanism};

/// A mechanism that the relay offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeighedMechanism {
    /// Its name, in upper case, as the relay says it.
    pub name: String,
    /// Whether a login may try it.
    pub usability: MechanismUse,
}

/// Whether a login may try a mechanism, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MechanismUse {
    /// It may; the best one is tried first.
    Usable,
    /// It binds the login to a session of TLS 1.3, and this one is older, or none.
    NeedsTls13,
    /// The configuration names mechanisms, and not this one.
    LeftOut,
    /// It is used only where the configuration names it.
    OnlyByName,
    /// It proves an access token, and there is another kind of secret.
    ProvesToken,
    /// It proves a password, and there is another kind of secret.
    ProvesPassword,
    /// It is not spoken here.
    Unknown,
}

/// Returns what there is to be said of each mechanism in `offered` for a login with `auth`: first those that may be tried, in
/// their order, the best one first. With `can_bind` a login can be bound to the TLS session.
pub(in crate::relay) fn weighed(
    offered: &[String],
    auth: &AuthConfig,
    can_bind: bool,
) -> Vec<WeighedMechanism> {
    let allowed = allowed(auth);
    let mut weighed: Vec<(usize, WeighedMechanism)> = Vec::new();
    for name in offered {
        let place = allowed.iter().position(|mechanism| mechanism.name() == name);
        let usability = match place {
            Some(_) if can_bind || !name.ends_with(PLUS) => MechanismUse::Usable,
            Some(_) => MechanismUse::NeedsTls13,
            None => refused(name, auth),
        };
        let rank = place.filter(|_| usability == MechanismUse::Usable).unwrap_or(usize::MAX);
        weighed.push((rank, WeighedMechanism { name: name.clone(), usability }));
    }
    weighed.sort_by_key(|(rank, _)| *rank);
    weighed.into_iter().map(|(_, mechanism)| mechanism).collect()
}

/// Returns why the mechanism `name` is not allowed.
fn refused(name: &str, auth: &AuthConfig) -> MechanismUse {
    let is_among = |mechanisms: &[Mechanism]| mechanisms.iter().find(|known| known.name() == name).copied();
    if let Some(mechanism) = is_among(auth.secret.mechanisms()) {
        let is_by_name = auth.mechanisms.is_none() && mechanism.is_only_by_name();
        return if is_by_name { MechanismUse::OnlyByName } else { MechanismUse::LeftOut };
    }
    if is_among(&Mechanism::OF_TOKENS).is_some() {
        return MechanismUse::ProvesToken;
    }
    if is_among(&Mechanism::OF_PASSWORDS).is_some() {
        return MechanismUse::ProvesPassword;
    }
    match is_among(&Mechanism::OF_CERTIFICATES) {
        Some(_) => MechanismUse::OnlyByName,
        None => MechanismUse::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecretSource;

    fn auth(mechanisms: Option<Vec<Mechanism>>) -> AuthConfig {
        AuthConfig { username: "u".into(), secret: SecretSource::File("/s".into()), mechanisms }
    }

    fn told(offered: &str, auth: &AuthConfig, can_bind: bool) -> String {
        let offered: Vec<String> = offered.split(' ').map(String::from).collect();
        let told = weighed(&offered, auth, can_bind).into_iter();
        told.map(|mechanism| format!("{}={:?} ", mechanism.name, mechanism.usability)).collect()
    }

    #[test]
    fn each_mechanism_has_its_reason_and_the_best_one_stands_first() {
        let offered = "LOGIN XOAUTH2 NTLM CRAM-MD5 EXTERNAL PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS";
        assert_eq!(
            told(offered, &auth(None), false),
            "SCRAM-SHA-256=Usable PLAIN=Usable LOGIN=Usable XOAUTH2=ProvesToken NTLM=Unknown CRAM-MD5=OnlyByName \
             EXTERNAL=OnlyByName SCRAM-SHA-256-PLUS=NeedsTls13 "
        );
        assert!(
            told(offered, &auth(None), true).starts_with("SCRAM-SHA-256-PLUS=Usable SCRAM-SHA-256=Usable")
        );
        assert_eq!(
            told("PLAIN CRAM-MD5", &auth(Some(vec![Mechanism::CramMd5])), true),
            "CRAM-MD5=Usable PLAIN=LeftOut "
        );
        let certificate =
            AuthConfig { secret: SecretSource::Certificate, ..auth(Some(vec![Mechanism::External])) };
        assert_eq!(told("PLAIN EXTERNAL", &certificate, true), "EXTERNAL=Usable PLAIN=ProvesPassword ");
    }
}
