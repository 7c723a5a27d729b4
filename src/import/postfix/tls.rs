//! TLS to the relay: `smtp_tls_*`.
//!
//! Promises: no key makes verification weaker than the default of nullmta; if Postfix verified less, a remark says which
//! keys may be needed (`tls.ca-file`, `tls.pin-sha256`).

use super::super::draft::{Cited, ConfigDraft, DraftKey};
use super::super::lines::{first_word, items};
use super::super::location::ImportError;
use super::super::maps::{Shape, lookup};
use super::super::nexthop::Nexthop;
use super::PostfixSource;

/// Paths of the CA bundle of the system.
const SYSTEM_BUNDLES: [&str; 9] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/certs/ca-bundle.crt",
    "/etc/ssl/certs/ca-bundle.trust.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
];

const LEVELS: [&str; 4] =
    ["smtp_tls_security_level", "smtp_use_tls", "smtp_enforce_tls", "smtp_tls_enforce_peername"];

/// Postfix's use of TLS with the relay.
struct Policy {
    /// `none`, `may`, `encrypt`, `verify`, `secure`, `fingerprint`, `dane`, `dane-only`.
    level: String,
    names: String,
    /// The fingerprints of the table, which stand in place of those of the parameter; `None` if it has none.
    fingerprints: Option<String>,
    protocols: String,
    from: Vec<Cited>,
    /// True if the policy comes from the policy table and not from the parameters.
    is_of_table: bool,
}

/// Adds the settings for the relays `nexthops` to `draft`; `all` are those of all mail.
pub(super) fn carry(
    source: &PostfixSource<'_>,
    nexthops: &[Nexthop],
    all: &[Nexthop],
    draft: &mut ConfigDraft,
) -> Result<(), ImportError> {
    let policy = policy(source, nexthops, all, draft)?;
    carry_mode(source, nexthops, &policy, draft)?;
    carry_trust(source, nexthops, &policy, draft)?;
    carry_client_certificate(source, draft)?;
    carry_protocols(source, &policy, draft)?;
    Ok(())
}

impl Policy {
    /// Returns citations of the source: the policy table, or those of `parameters` that are set.
    fn cited(&self, source: &PostfixSource<'_>, parameters: &[&str]) -> Vec<Cited> {
        if self.is_of_table { self.from.clone() } else { source.parameters.cited(parameters) }
    }
}

fn policy(
    source: &PostfixSource<'_>,
    nexthops: &[Nexthop],
    all: &[Nexthop],
    draft: &mut ConfigDraft,
) -> Result<Policy, ImportError> {
    let level = level(source)?;
    let mut policy = Policy {
        names: source.value(match level.as_str() {
            "secure" => "smtp_tls_secure_cert_match",
            _ => "smtp_tls_verify_cert_match",
        })?,
        protocols: source.value(if level == "may" {
            "smtp_tls_protocols"
        } else {
            "smtp_tls_mandatory_protocols"
        })?,
        fingerprints: None,
        from: source.parameters.cited(&LEVELS),
        is_of_table: false,
        level,
    };
    let tables = source.tables("smtp_tls_policy_maps", Shape::Postmap, "", draft)?;
    let of = |hops: &[Nexthop]| {
        let mut hops = hops.iter();
        hops.find_map(|hop| lookup(&tables, &hop.text).or_else(|| lookup(&tables, &hop.host)))
    };
    let cited = source.parameters.cited(&["smtp_tls_policy_maps"]);
    let Some(entry) = of(nexthops) else {
        if of(all).is_some() {
            draft.already_so(cited, "read; see tls, and that of the routes");
        // Of a table that was not read nothing more is known.
        } else if !draft.accounts_for("smtp_tls_policy_maps") {
            draft.not_carried(cited, "it has nothing for the relayhost");
        }
        return Ok(policy);
    };
    let (level, attributes) = first_word(&entry.value);
    draft.already_so(std::mem::replace(&mut policy.from, cited), "smtp_tls_policy_maps overrules it");
    policy.level = level.into();
    policy.is_of_table = true;
    for attribute in attributes.split_whitespace() {
        match attribute.split_once('=') {
            // A colon is a part of a fingerprint, and stands between names.
            Some(("match", prints)) if level == "fingerprint" => {
                let known = policy.fingerprints.take().map_or(String::new(), |known| known + "|");
                policy.fingerprints = Some(known + prints);
            }
            Some(("match", names)) => policy.names = names.replace(':', " "),
            Some(("protocols", protocols)) => policy.protocols = protocols.replace(':', " "),
            // Ciphers and the like.
            _ => {}
        }
    }
    Ok(policy)
}

fn level(source: &PostfixSource<'_>) -> Result<String, ImportError> {
    let level = source.value("smtp_tls_security_level")?.to_ascii_lowercase();
    if !level.is_empty() {
        return Ok(level);
    }
    let parameters = source.parameters;
    Ok(match (parameters.is_yes("smtp_enforce_tls")?, parameters.is_yes("smtp_use_tls")?) {
        (true, _) if parameters.is_yes("smtp_tls_enforce_peername")? => "verify",
        (true, _) => "encrypt",
        (_, true) => "may",
        _ => "none",
    }
    .into())
}

fn carry_mode(
    source: &PostfixSource<'_>,
    nexthops: &[Nexthop],
    policy: &Policy,
    draft: &mut ConfigDraft,
) -> Result<(), ImportError> {
    let wrapped = source.parameters.is_yes("smtp_tls_wrappermode")?;
    let cited = source.parameters.cited(&["smtp_tls_wrappermode"]);
    let on_loopback = nexthops.iter().all(Nexthop::is_loopback);
    if wrapped {
        draft.set(DraftKey::new("tls.mode", "implicit", cited));
    } else if nexthops.iter().any(|nexthop| nexthop.port == 465) {
        let key = DraftKey::new("tls.mode", "implicit", cited);
        draft.set(key.advised("Port 465 speaks TLS from the first octet, whatever main.cf says."));
    } else {
        draft.already_so(cited, "STARTTLS is the default");
        if on_loopback && ["none", "may"].contains(&policy.level.as_str()) {
            let key = DraftKey::new("tls.mode", "none", policy.from.clone());
            draft.set(key.advised("The relay is on this host, and Postfix asked for no TLS."));
            return Ok(());
        }
    }
    account_for_level(policy, draft);
    Ok(())
}

fn account_for_level(policy: &Policy, draft: &mut ConfigDraft) {
    const UNVERIFIED: &str = "nullmta requires TLS and verifies the certificate, always; should a public CA \
                              not have signed it, tls.ca-file or tls.pin-sha256 say what is trusted";
    let cited = policy.from.clone();
    match policy.level.as_str() {
        "verify" | "secure" | "fingerprint" => {
            draft.already_so(cited, "TLS is required, and the certificate verified");
        }
        "dane" | "dane-only" => {
            draft.not_carried(
                cited,
                "certificates are verified by CA or tls.pin-sha256, TLSA records are not asked",
            );
        }
        _ if cited.is_empty() => draft.warn(&format!("Postfix spoke without TLS to the relay: {UNVERIFIED}")),
        _ => draft.not_carried(cited, UNVERIFIED),
    }
}

fn carry_trust(
    source: &PostfixSource<'_>,
    nexthops: &[Nexthop],
    policy: &Policy,
    draft: &mut ConfigDraft,
) -> Result<(), ImportError> {
    let parameters = source.parameters;
    if policy.level == "fingerprint" {
        carry_fingerprints(source, nexthops, policy, draft)?;
    }
    let ca_file = source.value("smtp_tls_CAfile")?;
    let cited = parameters.cited(&["smtp_tls_CAfile"]);
    match ca_file.as_str() {
        "" => draft.already_so(cited, "the system's CA bundle is trusted"),
        bundle if SYSTEM_BUNDLES.contains(&bundle) => {
            draft.already_so(cited, "the system's CA bundle is trusted");
        }
        _ if policy.level == "fingerprint" => draft.not_carried(cited, "a pin is in the place of any CA"),
        bundle => draft.set(DraftKey::new("tls.ca-file", bundle, cited).advised(
            "Only what is in there is trusted; without this line, the system's bundle, which stays fresh.",
        )),
    }
    match source.value("smtp_tls_CApath")?.as_str() {
        "" | "/etc/ssl/certs" | "/etc/ssl/certs/" | "/etc/pki/tls/certs" => {
            draft.already_so(parameters.cited(&["smtp_tls_CApath"]), "the system's CA bundle is trusted");
        }
        _ => draft.not_carried(
            parameters.cited(&["smtp_tls_CApath"]),
            "tls.ca-file is one file: cat the certificates of the directory into it",
        ),
    }
    carry_server_name(source, policy, draft);
    Ok(())
}

/// Carries the fingerprints. Postfix takes those of a certificate and those of its public key alike, by any digest; a pin is the
/// SHA-256 of the public key. So a SHA-256 is carried, and may be the right one; what another digest gave cannot be made into one.
fn carry_fingerprints(
    source: &PostfixSource<'_>,
    nexthops: &[Nexthop],
    policy: &Policy,
    draft: &mut ConfigDraft,
) -> Result<(), ImportError> {
    const PARAMETER: &str = "smtp_tls_fingerprint_cert_match";
    const DIGEST: &str = "smtp_tls_fingerprint_digest";
    let (value, cited) = match &policy.fingerprints {
        Some(prints) => (prints.clone(), policy.from.clone()),
        None => (source.value(PARAMETER)?, source.parameters.cited(&[PARAMETER])),
    };
    let cited = [cited, source.parameters.cited(&[DIGEST])].concat();
    let prints = value.split(|c: char| c.is_whitespace() || c == ',' || c == '|').map(String::from);
    let prints: Vec<String> = prints.filter(|print| !print.is_empty()).collect();
    match no_pins(&prints, &source.value(DIGEST)?) {
        Some(why) => {
            // One table has the fingerprints of several relays.
            let whose = nexthops.first().filter(|_| policy.fingerprints.is_some());
            let whose = whose.map_or(String::new(), |relay| format!("of {}: ", relay.host));
            draft.not_carried(cited, &(whose + &why));
        }
        None => draft.set(DraftKey::new("tls.pin-sha256", prints, cited).advised(format!(
            "Right if this is the SHA-256 of the relay's public key. Postfix takes a certificate's as well; if it is that, no \
             connection is made, the log says the right one, and so does: {PIN}"
        ))),
    }
    Ok(())
}

/// The command that prints the pin of a certificate.
const PIN: &str = "openssl x509 -in relay.pem -pubkey -noout | openssl pkey -pubin -outform der | sha256sum";

/// Returns why these fingerprints, by this digest, are no pins; `None` if they may be.
fn no_pins(prints: &[String], digest: &str) -> Option<String> {
    let digits = |print: &String| print.chars().filter(char::is_ascii_hexdigit).count();
    let what = if prints.is_empty() {
        "no fingerprint is named, so that Postfix sent nothing".to_owned()
    } else if !digest.is_empty() && !digest.eq_ignore_ascii_case("sha256") {
        format!("no {digest} can be made into it")
    } else if let Some(other) = prints.iter().map(digits).find(|digits| *digits != 64) {
        format!("{other} hexadecimal digits are no SHA-256 and cannot be made into one")
    } else {
        return None;
    };
    Some(format!(
        "tls.pin-sha256 is the SHA-256 of the relay's public key; {what}. Until it is set, the certificate must be of a trusted \
         CA. This prints it: {PIN}"
    ))
}

fn carry_server_name(source: &PostfixSource<'_>, policy: &Policy, draft: &mut ConfigDraft) {
    const NAMES: [&str; 2] = ["smtp_tls_verify_cert_match", "smtp_tls_secure_cert_match"];
    let cited = source.parameters.cited(&NAMES);
    let known = ["hostname", "nexthop", "dot-nexthop"];
    let names: Vec<&str> = items(&policy.names).into_iter().filter(|name| !known.contains(name)).collect();
    match (names.as_slice(), items(&policy.names).len()) {
        ([], _) => draft.already_so(cited, "the certificate must be for the relayhost"),
        ([name], 1) if !name.starts_with('.') => {
            draft.set(DraftKey::new("tls.server-name", *name, policy.cited(source, &NAMES)));
        }
        _ => draft.not_carried(cited, "tls.server-name is one name; by default the relayhost's"),
    }
}

fn carry_client_certificate(source: &PostfixSource<'_>, draft: &mut ConfigDraft) -> Result<(), ImportError> {
    const CHAINS: &str = "smtp_tls_chain_files";
    const PAIRS: [[&str; 2]; 2] =
        [["smtp_tls_cert_file", "smtp_tls_key_file"], ["smtp_tls_eccert_file", "smtp_tls_eckey_file"]];
    const ONE: &str =
        "there are several: tls.client-certificate and tls.client-key are one chain and its key";
    let chains = source.value(CHAINS)?;
    let cited = source.parameters.cited(&[CHAINS]);
    match items(&chains).as_slice() {
        [] => draft.already_so(cited, "no client certificate"),
        [only] => set_client_certificate([only, only], [cited, Vec::new()], draft),
        // Each has a key and a chain, or they take turns.
        _ => draft.not_carried(cited, ONE),
    }
    for pair in PAIRS {
        let [certificate, key] = [source.value(pair[0])?, source.value(pair[1])?];
        let cited = pair.map(|name| source.parameters.cited(&[name]));
        match certificate.as_str() {
            "" | "none" => draft.already_so(cited.concat(), "no client certificate"),
            _ if !chains.is_empty() => draft.already_so(cited.concat(), "smtp_tls_chain_files overrules it"),
            _ if draft.has("tls.client-certificate") => draft.not_carried(cited.concat(), ONE),
            path => set_client_certificate([path, if key.is_empty() { path } else { &key }], cited, draft),
        }
    }
    Ok(())
}

fn set_client_certificate([certificate, key]: [&str; 2], cited: [Vec<Cited>; 2], draft: &mut ConfigDraft) {
    let [of_certificate, of_key] = cited;
    draft.set_together(vec![
        DraftKey::new("tls.client-certificate", certificate, of_certificate),
        DraftKey::new("tls.client-key", key, of_key),
    ]);
}

fn carry_protocols(
    source: &PostfixSource<'_>,
    policy: &Policy,
    draft: &mut ConfigDraft,
) -> Result<(), ImportError> {
    const PROTOCOLS: [&str; 2] = ["smtp_tls_mandatory_protocols", "smtp_tls_protocols"];
    let cited = source.parameters.cited(&PROTOCOLS);
    match oldest_version(&policy.protocols) {
        Some("1.3") => draft.set(DraftKey::new("tls.minimum", "1.3", policy.cited(source, &PROTOCOLS))),
        Some(_) => draft.already_so(cited, "TLS 1.2 and 1.3, nothing older"),
        None => draft.not_carried(cited, "nullmta speaks TLS 1.2 and 1.3 and nothing older"),
    }
    Ok(())
}

/// Returns the oldest version of TLS that a list of protocols allows nullmta; `None` if it allows none.
fn oldest_version(protocols: &str) -> Option<&'static str> {
    let protocols: Vec<String> = protocols
        .split([' ', ',', ':', '\t'])
        .filter(|item| !item.is_empty())
        .map(str::to_lowercase)
        .collect();
    let names = [("tlsv1.2", "1.2"), ("tlsv1.3", "1.3")];
    let only = protocols.iter().any(|item| item.starts_with("tls") || item.starts_with("ssl"));
    let allowed = |name: &str| {
        let excluded = protocols.iter().any(|item| item.strip_prefix('!') == Some(name));
        let above = |item: &String| item.strip_prefix(">=").is_some_and(|least| least > name);
        let below = |item: &String| item.strip_prefix("<=").is_some_and(|most| most < name);
        let listed = !only || protocols.iter().any(|item| item == name);
        listed && !excluded && !protocols.iter().any(above) && !protocols.iter().any(below)
    };
    names.into_iter().find(|(name, _)| allowed(name)).map(|(_, version)| version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sha256_may_be_a_pin() {
        let (sha256, sha1) = (["AB"; 32].join(":"), ["AB"; 20].join(":"));
        for (prints, digest, expected) in [
            (vec![sha256.clone()], "sha256", None),
            (vec![sha256.clone()], "SHA256", None),
            (vec![sha256.clone(), sha256.clone()], "", None),
            (vec![sha256.clone(), sha1.clone()], "", Some("40 hexadecimal digits are no SHA-256")),
            (vec![sha1], "sha1", Some("no sha1 can be made into it")),
            (vec![sha256], "sm3", Some("no sm3 can be made into it")),
            (Vec::new(), "sha256", Some("no fingerprint is named")),
        ] {
            let why = no_pins(&prints, digest);
            match expected {
                None => assert_eq!(why, None),
                Some(part) => assert!(why.as_ref().is_some_and(|why| why.contains(part)), "{part}: {why:?}"),
            }
        }
    }

    #[test]
    fn the_oldest_version_of_a_list() {
        for (protocols, oldest) in [
            ("", Some("1.2")),
            ("!SSLv2, !SSLv3", Some("1.2")),
            ("!SSLv2,!SSLv3,!TLSv1,!TLSv1.1", Some("1.2")),
            (">=TLSv1.2", Some("1.2")),
            (">=TLSv1", Some("1.2")),
            (">=TLSv1.3", Some("1.3")),
            ("TLSv1.3", Some("1.3")),
            ("TLSv1.2 TLSv1.3", Some("1.2")),
            ("!TLSv1.2", Some("1.3")),
            ("TLSv1", None),
            ("<=TLSv1.1", None),
            ("<=TLSv1.2", Some("1.2")),
        ] {
            assert_eq!(oldest_version(protocols), oldest, "{protocols}");
        }
    }
}
