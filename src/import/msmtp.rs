//! `msmtprc`: the account `default`.
//!
//! Promises: the account `default`, or else the first one, gives the relay and the login; each other account with a `from`
//! and with another relay or user becomes a `[[route]]` for that sender, with its own TLS and login.
//!
//! Not here: reading the accounts (`msmtp/accounts.rs`).

mod accounts;

use super::ImportOptions;
use super::draft::{Cited, ConfigDraft, DraftKey, DraftValue, Omission, Remark, Route};
use super::lines::first_word;
use super::location::{ImportError, SourceLocation};
use super::nexthop::{Nexthop, port};
use super::postfix::TOKENS;
use super::single_relay::{Encryption, account, account_for_overridden, carry_auth, carry_relay};
use crate::config::Mechanism;
use crate::secret::Secret;
use Omission::{AlreadySo, NotCarried};
use accounts::{MsmtpAccount, MsmtpAccounts, MsmtpCommand};

/// Commands that become no key, with the reasons.
const REASONS: [(&str, Omission, &str); 25] = [
    ("tls_trust_file", AlreadySo, "the system's CA bundle is trusted"),
    (
        "tls_certcheck",
        NotCarried,
        "the certificate is always verified; tls.ca-file or tls.pin-sha256 say what is trusted",
    ),
    ("tls_fingerprint", NotCarried, "it is a certificate's; tls.pin-sha256 is the SHA-256 of the public key"),
    ("tls_crl_file", NotCarried, "revocation lists are not read"),
    ("tls_priorities", NotCarried, "TLS is rustls with its own defaults, 1.2 and 1.3"),
    ("tls_min_dh_prime_bits", AlreadySo, "there is no Diffie-Hellman of short primes in rustls"),
    ("tls_force_sslv3", AlreadySo, "TLS 1.2 and 1.3, nothing older"),
    ("protocol", AlreadySo, "SMTP"),
    ("logfile", AlreadySo, "nullmta logs to the journal"),
    ("logfile_time_format", AlreadySo, "nullmta logs to the journal"),
    ("syslog", AlreadySo, "nullmta logs to the journal"),
    ("add_missing_from_header", AlreadySo, "From is added where it is missing"),
    ("add_missing_date_header", AlreadySo, "Date is added where it is missing"),
    ("set_date_header", AlreadySo, "Date is added where it is missing"),
    ("set_msgid_header", AlreadySo, "Message-ID is added where it is missing"),
    ("eval", NotCarried, "it is not run, so its output is not known here"),
    ("remove_bcc_headers", AlreadySo, "Bcc is removed"),
    ("undisclosed_recipients", NotCarried, "recipients stay as they are"),
    ("auto_from", NotCarried, "addresses are the submitter's, completed with rewrite.origin"),
    ("set_from_header", AlreadySo, "rewrite.sender changes envelope and header"),
    ("keepbcc", NotCarried, "Bcc is removed"),
    ("dsn_notify", NotCarried, "each message says so itself"),
    ("dsn_return", NotCarried, "each message says so itself"),
    ("timeout", NotCarried, "each step has its own: relay.timeouts"),
    ("aliases", NotCarried, "rewrite.aliases has users and their addresses: copy them there"),
];

/// Methods of authentication with a token, which `passwordeval` prints.
const OF_TOKENS: [&str; 2] = ["oauthbearer", "xoauth2"];

/// Methods of authentication that nullmta does not have.
const UNKNOWN: [&str; 2] = ["gssapi", "ntlm"];
const UNKNOWN_REMARK: &str = "nullmta speaks SCRAM, CRAM-MD5, PLAIN, LOGIN, XOAUTH2, OAUTHBEARER and EXTERNAL: [auth] has to be \
                              written by hand";

/// Adds the account `default` in `text` to `draft`.
pub(super) fn carry(
    location: &SourceLocation,
    text: &str,
    options: &ImportOptions<'_>,
    draft: &mut ConfigDraft,
) -> Result<(), ImportError> {
    let MsmtpAccounts { accounts, replaced } = MsmtpAccounts::read(&location.file, text)?;
    let first = accounts.iter().find(|account| account.name == "default").or(accounts.first());
    let default = first.ok_or_else(|| location.error("expected an account"))?;
    default.carry_relay(location, draft)?;
    default.carry_auth(options, draft);
    default.carry_names(draft);
    default.account(draft);
    let others = || accounts.iter().filter(|other| other.name != default.name);
    let mut kept = Vec::new();
    for other in others().filter(|other| other.is_other_relay(default)) {
        other.carry_route(location, default, options, &mut kept, draft)?;
    }
    keep_senders(kept, draft);
    let mut named = default.commands.clone();
    others().for_each(|other| other.account_beside(default, &mut named, draft));
    let is_new = |command: &&MsmtpCommand| named.iter().all(|known| known.location != command.location);
    let replaced = replaced.iter().filter(is_new).map(cite).collect();
    draft.already_so(replaced, "a later `defaults` replaces it before an account begins");
    Ok(())
}

impl MsmtpAccount {
    fn cited(&self, names: &[&str]) -> Vec<Cited> {
        names.iter().filter_map(|name| self.get(name)).map(cite).collect()
    }

    fn encryption(&self) -> Encryption {
        match (self.is_on("tls", false), self.is_on("tls_starttls", true)) {
            (false, _) => Encryption::None,
            (true, true) => Encryption::StartTls,
            (true, false) => Encryption::Implicit,
        }
    }

    fn nexthop(&self, location: &SourceLocation) -> Result<Nexthop, ImportError> {
        let host = self.get("host").ok_or_else(|| location.error("expected a host in the account"))?;
        let usual = if self.encryption() == Encryption::Implicit { 465 } else { 25 };
        let port = self.value("port").map_or(Some(usual), port);
        let nexthop = port.and_then(|port| Nexthop::parse(&format!("[{}]", host.value), port));
        nexthop.ok_or_else(|| host.location.error("expected a host and a port"))
    }

    fn carry_relay(&self, location: &SourceLocation, draft: &mut ConfigDraft) -> Result<(), ImportError> {
        let from = self.cited(&["host", "port", "tls", "tls_starttls"]);
        carry_relay(&[self.nexthop(location)?], self.encryption(), from, draft);
        if let Some(file) = self.value("tls_trust_file").filter(|file| !is_system_bundle(file)) {
            draft.set(DraftKey::new("tls.ca-file", file, self.cited(&["tls_trust_file"])));
        }
        if let Some(address) = self.value("source_ip") {
            draft.set(DraftKey::new("relay.source-address", address, self.cited(&["source_ip"])));
        }
        if let Some(name) = self.value("tls_host_override") {
            draft.set(DraftKey::new("tls.server-name", name, self.cited(&["tls_host_override"])));
        }
        if let (Some(certificate), Some(key)) = (self.value("tls_cert_file"), self.value("tls_key_file")) {
            draft.set_together(vec![
                DraftKey::new("tls.client-certificate", certificate, self.cited(&["tls_cert_file"])),
                DraftKey::new("tls.client-key", key, self.cited(&["tls_key_file"])),
            ]);
        } else {
            let alone = self.cited(&["tls_cert_file", "tls_key_file"]);
            if !alone.is_empty() {
                draft.not_carried(alone, "tls_cert_file and tls_key_file go together, and one is not set");
            }
        }
        Ok(())
    }

    fn carry_auth(&self, options: &ImportOptions<'_>, draft: &mut ConfigDraft) {
        let cited = self.cited(&["auth", "user"]);
        let method = self.value("auth").unwrap_or("off");
        if method == "external" {
            return self.carry_external(draft);
        }
        let Some(username) = self.value("user").filter(|_| !["off", "none"].contains(&method)) else {
            draft.already_so(cited, "no authentication");
            return;
        };
        let is_token = OF_TOKENS.contains(&method);
        let has_token_command =
            is_token && self.get("password").is_none() && self.get("passwordeval").is_some();
        if UNKNOWN.contains(&method) || (is_token && !has_token_command) {
            let why = if is_token { TOKENS } else { UNKNOWN_REMARK };
            draft.hidden.extend(self.value("password").map(|secret| Secret::new(secret.into())));
            draft.not_carried(self.cited(&["auth", "user", "password", "passwordeval"]), why);
            return;
        }
        if let Some(password) = self.get("password") {
            let secret = Secret::new(password.value.clone());
            carry_auth(username, &secret, &password.location, cited, options, draft);
        } else if let Some(command) =
            self.get("passwordeval").filter(|command| prints_what_it_says(&command.value))
        {
            draft.not_carried(
                vec![cite(command)],
                "the command holds the secret itself: put that into a file, and [auth] beside it",
            );
        } else if let Some(command) = self.value("passwordeval") {
            let command = ["/bin/sh", "-c", command].map(String::from).to_vec();
            let key = if is_token { "auth.token-command" } else { "auth.password-command" };
            let command = DraftKey::new(key, command, self.cited(&["passwordeval"]));
            draft.set_together(vec![DraftKey::new("auth.username", username, cited), command]);
        } else {
            draft.not_carried(cited, "no password stands here: [auth] has to be written by hand");
        }
        let name = method.to_uppercase();
        let is_chosen = is_token && draft.has("auth.token-command");
        if is_chosen || Mechanism::OF_PASSWORDS.iter().any(|ours| ours.name() == name) {
            draft.set(DraftKey::new("auth.mechanisms", name, self.cited(&["auth"])));
        }
    }

    /// Adds the login by the client certificate, with the user to act as if there is one.
    fn carry_external(&self, draft: &mut ConfigDraft) {
        if self.get("tls_cert_file").is_none() || self.get("tls_key_file").is_none() {
            let why = "EXTERNAL is a login by tls_cert_file and tls_key_file, which are not set";
            return draft.not_carried(self.cited(&["auth", "user"]), why);
        }
        let mechanism = DraftKey::new("auth.mechanisms", "EXTERNAL", self.cited(&["auth"]));
        let username =
            self.value("user").map(|user| DraftKey::new("auth.username", user, self.cited(&["user"])));
        draft.set_together(username.into_iter().chain([mechanism]).collect());
    }

    fn carry_names(&self, draft: &mut ConfigDraft) {
        for (command, key) in [("domain", "listen.hostname"), ("maildomain", "rewrite.origin")] {
            if let Some(value) = self.value(command).filter(|value| *value != "localhost") {
                draft.set(DraftKey::new(key, value, self.cited(&[command])));
            }
        }
        if let Some(from) = self.value("from").filter(|from| from.contains('@')) {
            // msmtp's own variables, in nullmta's letters.
            let address =
                from.replace("%U", "\0u").replace("%H", "\0h").replace('%', "%%").replace('\0', "%");
            let key = DraftKey::new("rewrite.sender", address, self.cited(&["from"]));
            draft.set(key.advised("msmtp changes the envelope so; nullmta, From as well."));
        }
    }

    fn account(&self, draft: &mut ConfigDraft) {
        let is_secret = |command: &&MsmtpCommand| command.name.starts_with("password");
        let is_last = |at: usize| {
            let name = &self.commands[at].name;
            name == "eval" || self.commands[at + 1..].iter().all(|later| later.name != *name)
        };
        let (last, earlier): (Vec<_>, Vec<_>) = (0..self.commands.len()).partition(|at| is_last(*at));
        let left = last.into_iter().map(|at| &self.commands[at]);
        let left: Vec<&MsmtpCommand> = left.filter(|command| !draft.accounts_for(&command.name)).collect();
        for command in left.into_iter().filter(|command| !is_secret(command)) {
            match without_effect(command) {
                Some(why) => draft.not_carried(vec![cite(command)], why),
                None => account(cite(command), &REASONS, draft),
            }
        }
        account_for_overridden(earlier.into_iter().map(|at| cite(&self.commands[at])), draft);
    }

    /// Returns whether its mail goes to another relay, or with another login or other TLS, than that of `default`.
    fn is_other_relay(&self, default: &MsmtpAccount) -> bool {
        const NAMES: [&str; 12] = [
            "host",
            "port",
            "source_ip",
            "domain",
            "auth",
            "user",
            "password",
            "passwordeval",
            "tls_trust_file",
            "tls_host_override",
            "tls_cert_file",
            "tls_key_file",
        ];
        self.encryption() != default.encryption()
            || NAMES.iter().any(|name| self.value(name) != default.value(name))
    }

    /// Lists the commands that become no key because they belong to another account; `named` has those already listed.
    fn account_beside(&self, default: &MsmtpAccount, named: &mut Vec<MsmtpCommand>, draft: &mut ConfigDraft) {
        let is_new = |command: &&MsmtpCommand| named.iter().all(|known| known.location != command.location);
        let own: Vec<MsmtpCommand> = self.commands.iter().filter(is_new).cloned().collect();
        draft.hidden.extend(self.value("password").map(|password| Secret::new(password.into())));
        let name = &self.name;
        let sender = self.value("from").and_then(route_sender);
        let (omission, why) = match (self.is_other_relay(default), sender) {
            (false, _) => (
                Omission::AlreadySo,
                format!("it is the account {name}'s; its relay, TLS and login are those of {}", default.name),
            ),
            (true, Some(_)) if draft.routes.iter().any(|route| route.name == *name) => (
                Omission::NotCarried,
                format!("it is the account {name}'s: a route has its relay, TLS, login and sender"),
            ),
            (true, Some(_)) => (
                Omission::GoesElsewhere,
                format!(
                    "it is the account {name}'s, and another account has the same `from`: only -a {name} leads to it"
                ),
            ),
            (true, None) => (
                Omission::GoesElsewhere,
                format!(
                    "it is the account {name}'s, which has no `from` of one address or domain: nullmta chooses a relay by \
                     the sender, and not by the name that -a gives"
                ),
            ),
        };
        let left = own.iter().filter(|command| !is_accounted(draft, command)).map(cite).collect();
        draft.remark(omission, left, &why);
        named.extend(own);
    }

    /// Adds the route for the sender of this account; none if it is for no sender in particular. `kept` has the senders of
    /// routes, with their locations.
    fn carry_route(
        &self,
        location: &SourceLocation,
        default: &MsmtpAccount,
        options: &ImportOptions<'_>,
        kept: &mut Vec<(String, SourceLocation)>,
        draft: &mut ConfigDraft,
    ) -> Result<(), ImportError> {
        draft.hidden.extend(self.value("password").map(|password| Secret::new(password.into())));
        let Some(from) = self.get("from") else { return Ok(()) };
        let Some(sender) = route_sender(&from.value) else { return Ok(()) };
        // msmtp takes the first account of a sender, and without -f that of `default`.
        if kept.iter().any(|(known, _)| *known == sender) || default.value("from") == Some(&from.value) {
            return Ok(());
        }
        kept.push((sender.clone(), from.location.clone()));
        let mut own = ConfigDraft { secrets: std::mem::take(&mut draft.secrets), ..ConfigDraft::default() };
        let done = self.carry_relay(location, &mut own);
        if let Some(name) = self.value("domain").filter(|name| Some(*name) != default.value("domain")) {
            own.set(DraftKey::new("relay.helo-name", name, self.cited(&["domain"])));
        }
        self.carry_auth(options, &mut own);
        draft.secrets = std::mem::take(&mut own.secrets);
        done?;
        let mut groups = std::mem::take(&mut own.groups);
        if let Some(relayhost) = groups.iter_mut().flatten().next() {
            relayhost.from.extend(self.cited(&["from"]));
        }
        draft.absorb(own);
        draft.add_route(Route { name: self.name.clone(), senders: vec![sender], groups, ..Route::default() });
        Ok(())
    }
}

/// Keeps rewrite.sender, which is for all mail of `default`, away from the senders of routes.
fn keep_senders(kept: Vec<(String, SourceLocation)>, draft: &mut ConfigDraft) {
    if kept.is_empty() || !draft.has("rewrite.sender") {
        return;
    }
    let entries =
        kept.into_iter().map(|(sender, location)| (sender.clone(), vec![sender], location)).collect();
    let key = DraftKey::new("rewrite.senders", DraftValue::Map(entries), Vec::new());
    draft.set(
        key.advised("Senders with a relay of their own stay as they are; all others become rewrite.sender."),
    );
}

/// Returns whether a key of a route was made from this command, or a remark says why not.
fn is_accounted(draft: &ConfigDraft, command: &MsmtpCommand) -> bool {
    let in_route = |route: &Route| {
        let mut from = route.keys().flat_map(|key| &key.from);
        from.any(|cited| cited.location == command.location)
    };
    let in_remark =
        |remark: &Remark| remark.about.as_ref().is_some_and(|cited| cited.location == command.location);
    let is_secret = draft.secrets.iter().any(|secret| secret.location == command.location);
    is_secret || draft.routes.iter().any(in_route) || draft.remarks.iter().any(in_remark)
}

/// Returns the sender, or the `@domain`, that an account with that `from` is for. Routes have no variables, but may name
/// a whole domain.
fn route_sender(from: &str) -> Option<String> {
    let is_fixed = |text: &str| !text.contains(['%', '*', '?']);
    let (user, domain) = from.rsplit_once('@')?;
    match (is_fixed(user), is_fixed(domain)) {
        (true, true) => Some(from.into()),
        (false, true) => Some(format!("@{domain}")),
        (_, false) => None,
    }
}

/// Returns whether `command` only prints its argument, as `echo secret` does, and so contains the secret itself.
fn prints_what_it_says(command: &str) -> bool {
    ["echo", "printf", "/bin/echo", "/usr/bin/printf"].contains(&first_word(command.trim()).0)
}

/// Returns the reason why a command has no effect with its value; `None` if it may have one.
fn without_effect(command: &MsmtpCommand) -> Option<&'static str> {
    match (command.name.as_str(), command.value.as_str()) {
        ("protocol", "lmtp") => Some("nullmta speaks SMTP, and no LMTP"),
        ("remove_bcc_headers", "off") => Some("Bcc is removed"),
        (
            "add_missing_from_header" | "add_missing_date_header" | "set_date_header" | "set_msgid_header",
            "off",
        ) => Some("it is added where it is missing"),
        _ => None,
    }
}

fn is_system_bundle(file: &str) -> bool {
    file == "system" || file.starts_with("/etc/ssl/certs/ca-") || file.starts_with("/etc/pki/tls/")
}

fn cite(command: &MsmtpCommand) -> Cited {
    // What `eval` runs may print a secret, and hold it.
    let may_be_secret = command.name.starts_with("password") || command.name == "eval";
    let shown = (!may_be_secret).then(|| command.value.clone());
    Cited { location: command.location.clone(), name: command.name.clone(), shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_for_addresses_and_domains() {
        for (from, expected) in [
            ("ann@a.example", Some("ann@a.example")),
            ("%U@a.example", Some("@a.example")),
            ("*@a.example", Some("@a.example")),
            ("%U@%H", None),
            ("ann", None),
        ] {
            assert_eq!(route_sender(from).as_deref(), expected, "{from}");
        }
    }

    #[test]
    fn tls_has_three_ways() {
        for (text, expected) in [
            ("tls off", Encryption::None),
            ("tls", Encryption::StartTls),
            ("tls on\ntls_starttls off", Encryption::Implicit),
        ] {
            let accounts = MsmtpAccounts::read("m", &format!("account a\n{text}")).unwrap().accounts;
            assert_eq!(accounts[0].encryption(), expected);
        }
    }
}
