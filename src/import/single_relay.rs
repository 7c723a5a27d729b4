//! The part that the configurations of small programs share: one relay, one user, and how TLS is used.
//!
//! Promises: as in `postfix/tls.rs`, no key makes verification weaker than the default of nullmta; if the program
//! verified nothing, a warning says so.

use super::ImportOptions;
use super::draft::{Cited, ConfigDraft, DraftKey, Omission};
use super::location::SourceLocation;
use super::nexthop::Nexthop;
use super::postfix::password_file;
use crate::secret::Secret;

/// The encryption of the connection from the program to its relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    None,
    StartTls,
    Implicit,
}

/// Adds the relays `nexthops`, which are not empty and all use the same encryption.
pub(super) fn carry_relay(
    nexthops: &[Nexthop],
    encryption: Encryption,
    from: Vec<Cited>,
    draft: &mut ConfigDraft,
) {
    let written: Vec<String> = nexthops.iter().map(Nexthop::written).collect();
    draft.set(DraftKey::new("relayhost", written, from));
    let on_loopback = nexthops.iter().all(Nexthop::is_loopback);
    let implicit = encryption == Encryption::Implicit || nexthops.iter().any(|nexthop| nexthop.port == 465);
    if implicit {
        draft.set(DraftKey::new("tls.mode", "implicit", Vec::new()));
    } else if encryption == Encryption::None && on_loopback {
        draft.set(DraftKey::new("tls.mode", "none", Vec::new()));
    } else if encryption == Encryption::None {
        draft.warn(
            "The relay was spoken to without TLS; nullmta requires STARTTLS and verifies the certificate.",
        );
    }
}

/// Adds the login; `location` is that of the secret.
pub(super) fn carry_auth(
    username: &str,
    secret: &Secret,
    location: &SourceLocation,
    from: Vec<Cited>,
    options: &ImportOptions<'_>,
    draft: &mut ConfigDraft,
) {
    let file = password_file(options.secret_file, secret, username, location, draft);
    draft.set_together(vec![DraftKey::new("auth.username", username, from), file]);
}

/// Lists `cited` as a setting that became no key, with the reason from a table.
pub(super) fn account(cited: Cited, reasons: &[(&str, Omission, &str)], draft: &mut ConfigDraft) {
    let known = reasons.iter().find(|(name, ..)| cited.name.eq_ignore_ascii_case(name));
    match known {
        Some((_, omission, why)) => draft.remark(*omission, vec![cited], why),
        None => draft.not_carried(vec![cited], "nullmta has nothing like it"),
    }
}

/// Lists the lines that have no effect because a later one has the same name.
pub(super) fn account_for_overridden(lines: impl Iterator<Item = Cited>, draft: &mut ConfigDraft) {
    for cited in lines {
        let why = format!("a later line sets {} again", cited.name);
        draft.already_so(vec![cited], &why);
    }
}
