//! What the small programs configure: one relay, one user, and how TLS is spoken to it.
//!
//! Promises: as in `postfix/tls.rs`, what is carried is never weaker than nullmta's own; where the
//! program verified nothing, the account says so.

use super::Options;
use super::draft::{Cited, Draft, Fate, Key};
use super::nexthop::Nexthop;
use super::postfix::password_file;
use crate::secret::Secret;

/// How the program spoke to its relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    None,
    StartTls,
    Implicit,
}

/// Carries the relays: `nexthops` is not empty. All of them are spoken to in the same way.
pub(super) fn carry_relay(nexthops: &[Nexthop], encryption: Encryption, from: Vec<Cited>, draft: &mut Draft) {
    let written: Vec<String> = nexthops.iter().map(Nexthop::written).collect();
    draft.set(Key::new("relayhost", written, from));
    let on_loopback = nexthops.iter().all(Nexthop::is_loopback);
    let implicit = encryption == Encryption::Implicit || nexthops.iter().any(|nexthop| nexthop.port == 465);
    if implicit {
        draft.set(Key::new("tls.mode", "implicit", Vec::new()));
    } else if encryption == Encryption::None && on_loopback {
        draft.set(Key::new("tls.mode", "none", Vec::new()));
    } else if encryption == Encryption::None {
        draft.warn(
            "The relay was spoken to without TLS; nullmta requires STARTTLS and verifies the certificate.",
        );
    }
}

/// Carries the user; `source` says where the secret stands.
pub(super) fn carry_auth(
    username: &str,
    secret: Secret,
    source: &str,
    from: Vec<Cited>,
    options: &Options<'_>,
    draft: &mut Draft,
) {
    let username = Key::new("auth.username", username, from);
    draft.set_together(vec![username, password_file(options.secret_file, source)]);
    draft.hidden.push(secret.clone());
    draft.secret = Some(secret);
}

/// Accounts for `cited` by a table of names, fates and reasons.
pub(super) fn account(cited: Cited, reasons: &[(&str, Fate, &str)], draft: &mut Draft) {
    let known = reasons.iter().find(|(name, ..)| cited.name.eq_ignore_ascii_case(name));
    match known {
        Some((_, Fate::AlreadySo, why)) => draft.already_so(vec![cited], why),
        Some((_, Fate::NotCarried, why)) => draft.not_carried(vec![cited], why),
        None => draft.not_carried(vec![cited], "nullmta has nothing like it"),
    }
}
