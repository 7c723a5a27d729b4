//! SASL: `smtp_sasl_*` and the passwords.
//!
//! Promises: a password is only ever in a [`Secret`]. The password of a relay is found in the same order as in Postfix:
//! by the sender, if authentication depends on it, then by the name of the relay, then by the relay as it is written.

use super::super::draft::{Cited, ConfigDraft, DraftKey, Route};
use super::super::lines::items;
use super::super::location::{ImportError, SourceLocation};
use super::super::maps::{LookupTable, MapEntry, Shape, lookup};
use super::super::nexthop::Nexthop;
use super::PostfixSource;
use crate::config::Mechanism;
use crate::secret::Secret;

pub(super) const MAPS: &str = "smtp_sasl_password_maps";

/// The default path for the file of the secret.
const SECRET_FILE: &str = "/etc/nullmta.secret";

/// A username with its password, and their location.
#[derive(Clone)]
pub(super) struct Credential {
    pub(super) location: SourceLocation,
    pub(super) username: String,
    pub(super) secret: Secret,
}

/// The password tables, and the entry that was chosen for `[auth]`.
#[derive(Default)]
pub(super) struct PasswordTables {
    tables: Vec<LookupTable>,
    /// The keys that are senders, in their order; empty if authentication does not depend on the sender.
    pub(super) senders: Vec<String>,
    /// The entry for `[auth]`.
    chosen: Option<Credential>,
    /// True if the entry was found by the sender, and so is used for any relay.
    is_senders: bool,
    /// True if it depends on the routes what is to be said of the lines that name the tables.
    is_unexplained: bool,
}

impl PasswordTables {
    /// Returns the entry for the first of `keys` that has one.
    fn of(&self, keys: &[&str]) -> Result<Option<Credential>, ImportError> {
        keys.iter().find_map(|key| lookup(&self.tables, key)).map(credential).transpose()
    }

    /// Returns the entry for a sender or its domain, if authentication depends on the sender.
    pub(super) fn of_sender(&self, sender: &str) -> Result<Option<Credential>, ImportError> {
        if self.senders.is_empty() { Ok(None) } else { self.of(&keys_of(sender)) }
    }

    /// Returns whether Postfix would use the entry of `[auth]` for the relay `nexthop`.
    pub(super) fn are_for(&self, nexthop: &Nexthop) -> bool {
        let known = |one: &Credential| (one.username.clone(), one.secret.expose().to_owned());
        let own = self.of_relay(nexthop).ok().flatten();
        self.is_senders || own.as_ref().map(known) == self.chosen.as_ref().map(known)
    }

    /// Returns the entry of `[auth]`.
    pub(super) fn chosen(&self) -> Option<&Credential> {
        self.chosen.as_ref()
    }

    /// Returns the entry for the relay `nexthop`.
    pub(super) fn of_relay(&self, nexthop: &Nexthop) -> Result<Option<Credential>, ImportError> {
        self.of(&[&nexthop.host, &nexthop.text])
    }

    fn entries(&self) -> impl Iterator<Item = &MapEntry> {
        self.tables.iter().flat_map(|table| match table {
            LookupTable::Static(entry) => std::slice::from_ref(entry),
            LookupTable::Pairs(entries) => entries.as_slice(),
            LookupTable::Patterns(_) | LookupTable::Unread(_) => &[],
        })
    }
}

fn credential(entry: &MapEntry) -> Result<Credential, ImportError> {
    let (username, password) = entry
        .value
        .split_once(':')
        .filter(|(username, password)| !username.is_empty() && !password.is_empty())
        .ok_or_else(|| entry.location.error("expected `relay user:password`"))?;
    Ok(Credential {
        location: entry.location.clone(),
        username: username.into(),
        secret: Secret::new(password.into()),
    })
}

/// Adds the login for the relays `nexthops`. `fixed_sender` is the sender of all mail, if there is one.
pub(super) fn carry(
    source: &PostfixSource<'_>,
    nexthops: &[Nexthop],
    fixed_sender: Option<&str>,
    draft: &mut ConfigDraft,
) -> Result<PasswordTables, ImportError> {
    let cited = source.parameters.cited(&["smtp_sasl_auth_enable", MAPS]);
    let mut credentials = read(source, draft)?;
    for entry in credentials.entries() {
        draft.hidden.push(credential(entry)?.secret);
    }
    if !source.parameters.is_yes("smtp_sasl_auth_enable")? {
        draft.already_so(cited, "no authentication: smtp_sasl_auth_enable is not yes");
        return Ok(PasswordTables::default());
    }
    if wants_tokens(source, &credentials)? {
        let names = ["smtp_sasl_auth_enable", MAPS, FILTER, SENDER_DEPENDENT];
        draft.not_carried(source.parameters.cited(&names), TOKENS);
        return Ok(PasswordTables::default());
    }
    let of_sender = fixed_sender.map_or(Ok(None), |sender| credentials.of_sender(sender))?;
    credentials.is_senders = of_sender.is_some();
    // There is always a first relay.
    let of_relay = nexthops.first().map_or(Ok(None), |nexthop| credentials.of_relay(nexthop))?;
    credentials.chosen = of_sender.or(of_relay);
    match &credentials.chosen {
        Some(credential) => set(source, credential.clone(), draft),
        None if !credentials.senders.is_empty() => draft.already_so(cited, "see the routes above"),
        None if draft.accounts_for(MAPS) => {
            draft.not_carried(
                source.parameters.cited(&["smtp_sasl_auth_enable"]),
                "no user and no secret were found",
            );
        }
        None => credentials.is_unexplained = true,
    }
    draft.already_so(source.parameters.cited(&[SENDER_DEPENDENT]), "read; see auth");
    carry_mechanisms(source, draft)?;
    Ok(credentials)
}

const SENDER_DEPENDENT: &str = "smtp_sender_dependent_authentication";
const FILTER: &str = "smtp_sasl_mechanism_filter";

/// The reason why the text after a username is not used as a password.
pub(in crate::import) const TOKENS: &str = "it logs in by OAuth: what stands here is a token or its file, and no password; [auth] has to be written by hand";

/// Returns whether the tables hold tokens or paths of token files, as SASL plug-ins for XOAUTH2 need them: only
/// mechanisms of OAuth are set, or each password is a path.
fn wants_tokens(source: &PostfixSource<'_>, credentials: &PasswordTables) -> Result<bool, ImportError> {
    let filter = source.value(FILTER)?.to_lowercase();
    let listed = items(&filter);
    let is_oauth = |name: &str| ["xoauth2", "oauthbearer"].contains(&name);
    let mut wanted = listed.iter().filter(|name| !name.starts_with('!')).peekable();
    if wanted.peek().is_some() && wanted.all(|name| is_oauth(name)) {
        return Ok(true);
    }
    let is_path = |entry: &MapEntry| entry.value.split_once(":/").is_some_and(|(_, path)| path.contains('/'));
    Ok(credentials.entries().next().is_some() && credentials.entries().all(is_path))
}

/// Returns the keys with which Postfix looks up a sender.
fn keys_of(sender: &str) -> Vec<&str> {
    let at = sender.find('@').unwrap_or(sender.len());
    vec![sender, &sender[..at], &sender[at..]]
}

fn read(source: &PostfixSource<'_>, draft: &mut ConfigDraft) -> Result<PasswordTables, ImportError> {
    let advice = "; [auth] has to be written by hand";
    let tables = source.tables(MAPS, Shape::Postmap, advice, draft)?;
    if tables.iter().any(|table| matches!(table, LookupTable::Patterns(_))) {
        let why = "passwords by pattern have no equivalent; [auth] has to be written by hand";
        draft.not_carried(source.parameters.cited(&[MAPS]), why);
    }
    let mut credentials = PasswordTables { tables, ..PasswordTables::default() };
    if source.parameters.is_yes(SENDER_DEPENDENT)? {
        let keys = credentials.entries().filter(|entry| entry.key.contains('@'));
        credentials.senders = keys.map(|entry| entry.key.clone()).collect();
    }
    Ok(credentials)
}

fn set(source: &PostfixSource<'_>, credential: Credential, draft: &mut ConfigDraft) {
    let Credential { location, username, secret } = credential;
    let mut key = DraftKey::new("auth.username", username.as_str(), source.parameters.cited(&[MAPS]));
    if secret.text() == Some(&username) {
        // Some providers have one token for both.
        key = key
            .advised(
                "Here the username is the secret, and every user of this host may read this file. Without",
            )
            .advised(
                "that (mode 0640) their sendmail knows the usual sockets only, and fails while the daemon",
            )
            .advised("is down: better another user of the relay, whose name is no secret.");
    }
    draft.already_so(source.parameters.cited(&["smtp_sasl_auth_enable"]), "a username says so");
    let file = password_file(source.options.secret_file, &secret, &username, &location, draft);
    draft.set_together(vec![key, file]);
}

/// Returns the key that names the file of `secret`, which was read at `location`.
pub(in crate::import) fn password_file(
    file: Option<&str>,
    secret: &Secret,
    username: &str,
    location: &SourceLocation,
    draft: &mut ConfigDraft,
) -> DraftKey {
    let path = draft.file_for(secret, username, location, file.unwrap_or(SECRET_FILE));
    let key = DraftKey::new("auth.password-file", path.as_str(), Vec::new());
    match file {
        Some(_) => key.advised(format!(
            "The secret of {location} was put there. It must be the daemon's: chown nullmta {path}"
        )),
        None => key
            .advised(format!("The secret stands in {location}. Put it, alone on one line, into this file:"))
            .advised(format!("    install -m 600 -o nullmta /dev/stdin {path}")),
    }
}

/// Says what has become of the tables that have nothing for the relayhost, once the routes are known.
pub(super) fn account_for_tables(
    source: &PostfixSource<'_>,
    credentials: &PasswordTables,
    draft: &mut ConfigDraft,
) {
    if !credentials.is_unexplained {
        return;
    }
    let cited = source.parameters.cited(&["smtp_sasl_auth_enable", MAPS]);
    let is_used = draft.routes.iter().flat_map(Route::keys).any(|key| key.name == "auth.username");
    if is_used {
        draft.already_so(cited, "see the routes above; it has nothing for the relayhost");
    } else {
        draft.not_carried(cited, "it has nothing for the relayhost: Postfix did not authenticate");
    }
}

/// Lists the entries that no mail of this configuration uses, neither for the relays `nexthops` nor by a route.
pub(super) fn account_for_other_relays(
    credentials: &PasswordTables,
    nexthops: &[Nexthop],
    draft: &mut ConfigDraft,
) {
    let in_routes: Vec<SourceLocation> = draft
        .routes
        .iter()
        .flat_map(Route::keys)
        .flat_map(|key| key.from.iter().map(|cited| cited.location.clone()))
        .collect();
    let is_used = |entry: &MapEntry| {
        let relay = |nexthop: &Nexthop| {
            [&nexthop.host, &nexthop.text].iter().any(|key| key.to_lowercase() == entry.key)
        };
        entry.key.is_empty()
            || nexthops.iter().any(relay)
            || credentials.senders.contains(&entry.key)
            || in_routes.contains(&entry.location)
    };
    for entry in credentials.entries().filter(|entry| !is_used(entry)) {
        let cited = Cited { shown: None, ..Cited::entry(&entry.location, &entry.key) };
        draft.not_carried(vec![cited], "it is not for the relayhost or a route, as those are written");
    }
}

fn carry_mechanisms(source: &PostfixSource<'_>, draft: &mut ConfigDraft) -> Result<(), ImportError> {
    let ours = Mechanism::OF_PASSWORDS;
    let value = source.value(FILTER)?.to_uppercase();
    let cited = source.parameters.cited(&[FILTER]);
    let listed = items(&value);
    let excluded = |name: &str| listed.iter().any(|item| item.strip_prefix('!') == Some(name));
    let all = listed.contains(&"STATIC:ALL") || listed.iter().all(|item| item.starts_with('!'));
    let by_default =
        |name: &str| ours.iter().any(|mechanism| mechanism.name() == name && !mechanism.is_only_by_name());
    let left: Vec<String> = ours
        .map(Mechanism::name)
        .into_iter()
        .filter(|name| !excluded(name) && (all && by_default(name) || listed.contains(name)))
        .map(String::from)
        .collect();
    let usual = ours.into_iter().filter(|mechanism| !mechanism.is_only_by_name()).map(Mechanism::name);
    match left.as_slice() {
        [] => draft.not_carried(
            cited,
            "nullmta speaks SCRAM, CRAM-MD5, PLAIN and LOGIN; without CRAM-MD5, it takes any of them that the relay offers",
        ),
        left if usual.eq(left.iter().map(String::as_str)) => {
            draft.already_so(cited, "any mechanism that both sides have, the strongest first")
        }
        _ => draft.set(DraftKey::new("auth.mechanisms", left, cited)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::maps::pairs;

    fn credentials(text: &str) -> PasswordTables {
        let entries = pairs("/etc/postfix/sasl_passwd", text, Shape::Postmap).unwrap();
        let senders = entries.iter().map(|entry| entry.key.clone()).filter(|key| key.contains('@')).collect();
        PasswordTables { tables: vec![LookupTable::Pairs(entries)], senders, ..PasswordTables::default() }
    }

    #[test]
    fn the_name_counts_before_the_relay_as_it_is_written() {
        let credentials = credentials("[a.example]:587 written:p\nA.example name:p\n[b.example] only:p\n");
        for (relay, username) in
            [("[a.example]:587", Some("name")), ("[b.example]", Some("only")), ("[b.example]:587", None)]
        {
            let found = credentials.of_relay(&Nexthop::parse(relay, 25).unwrap()).unwrap();
            assert_eq!(found.map(|one| one.username).as_deref(), username, "{relay}");
        }
    }

    #[test]
    fn a_secret_is_for_the_relays_that_it_was_for() {
        let mut credentials = credentials("[a]:587 me:one\n[b]:587 me:one\n[c]:587 me:two\n");
        credentials.chosen = credentials.of_relay(&Nexthop::parse("[a]:587", 25).unwrap()).unwrap();
        let are_for = |relay: &str| credentials.are_for(&Nexthop::parse(relay, 25).unwrap());
        assert_eq!(["[a]:587", "[b]:587", "[c]:587", "[d]:587"].map(are_for), [true, true, false, false]);
    }

    #[test]
    fn what_is_no_user_and_password_is_an_error_that_quotes_nothing() {
        for value in ["hunter2", ":hunter2", "user:"] {
            let entry =
                MapEntry { location: SourceLocation::line("s", 3), key: "k".into(), value: value.into() };
            let error = credential(&entry).err().unwrap().to_string();
            assert_eq!(error, "s:3: expected `relay user:password`");
        }
    }
}
