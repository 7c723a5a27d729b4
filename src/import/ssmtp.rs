//! `ssmtp.conf`, and `revaliases` beside it.
//!
//! Promises: as in ssmtp, the case of keys does not matter. The password is never shown.
//!
//! Fails: a line without `=`; no `mailhub`.

use super::ImportOptions;
use super::draft::{Cited, ConfigDraft, DraftKey, DraftValue, Omission, Route};
use super::files::SourceFiles;
use super::location::{ImportError, SourceLocation};
use super::nexthop::Nexthop;
use super::single_relay::{Encryption, account, account_for_overridden, carry_auth, carry_relay};
use crate::secret::Secret;
use Omission::{AlreadySo, NotCarried};

/// One line of the file.
struct SsmtpSetting {
    location: SourceLocation,
    name: String,
    value: String,
}

struct SsmtpSettings(Vec<SsmtpSetting>);

/// Keys of ssmtp that become no key of ours, with the reasons.
const REASONS: [(&str, Omission, &str); 7] = [
    ("usetls", AlreadySo, "TLS is always used"),
    ("usestarttls", AlreadySo, "TLS is always used"),
    ("usetlscert", AlreadySo, "a client certificate is used where one is named"),
    ("tls_ca_dir", NotCarried, "tls.ca-file is one file: cat the certificates of the directory into it"),
    ("debug", NotCarried, "log.level = \"debug\" shows the dialogue"),
    ("minuserid", NotCarried, "aliases are for users by name"),
    ("rewritedomain", NotCarried, "overruled by hostname"),
];

/// Adds `revaliases`, whose lines `user:address[:mailhub[:port]]` give the sender address of a user and maybe a relay.
fn carry_revaliases(files: &SourceFiles<'_>, draft: &mut ConfigDraft) -> Result<(), ImportError> {
    let path = files.own("revaliases");
    let Some(text) = files.text(&path)? else { return Ok(()) };
    let mut senders = Vec::new();
    for (index, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let location = SourceLocation::line(&path, index + 1);
        let mut parts = line.splitn(3, ':').map(str::trim);
        let (user, address) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if user.is_empty() || !address.contains('@') {
            return Err(location.error("expected `user:address` or `user:address:mailhub:port`"));
        }
        if let Some(mailhub) = parts.next() {
            let nexthop = Nexthop::parse(mailhub, 25).ok_or_else(|| location.error("expected a mailhub"))?;
            let cited = Cited { shown: Some(line.into()), ..Cited::entry(&location, user) };
            let relayhost = DraftKey::new("relayhost", nexthop.written(), vec![cited]).advised(
                "ssmtp logs in at each mailhub with AuthUser and AuthPass: add [route.auth] if this relay wants that.",
            );
            let mode = (nexthop.port == 465).then(|| DraftKey::new("tls.mode", "implicit", Vec::new()));
            draft.add_route(Route {
                name: nexthop.host.clone(),
                senders: vec![address.to_owned()],
                groups: vec![std::iter::once(relayhost).chain(mode).collect()],
                ..Route::default()
            });
        }
        senders.push((user.to_owned(), vec![address.to_owned()], location));
    }
    if let Some((.., location)) = senders.first() {
        let cited = Cited { shown: Some("one line a user".into()), ..Cited::entry(location, "revaliases") };
        draft.set(DraftKey::new("rewrite.senders", DraftValue::Map(senders), vec![cited]));
    }
    Ok(())
}

/// Adds the configuration in `text`, the content of `ssmtp.conf`, to `draft`.
pub(super) fn carry(
    files: &SourceFiles<'_>,
    location: &SourceLocation,
    text: &str,
    options: &ImportOptions<'_>,
    draft: &mut ConfigDraft,
) -> Result<(), ImportError> {
    let settings = SsmtpSettings::read(&location.file, text)?;
    let mailhub = settings.get("mailhub").ok_or_else(|| location.error("expected mailhub=HOST:PORT"))?;
    let encryption = match (settings.is_yes("usestarttls"), settings.is_yes("usetls")) {
        (true, _) => Encryption::StartTls,
        (false, true) => Encryption::Implicit,
        (false, false) => Encryption::None,
    };
    let usual = if encryption == Encryption::Implicit { 465 } else { 25 };
    let nexthop = Nexthop::parse(&mailhub.value, usual)
        .ok_or_else(|| mailhub.location.error("expected mailhub=HOST:PORT"))?;
    carry_relay(&[nexthop], encryption, settings.cited(&["mailhub", "usetls", "usestarttls"]), draft);
    settings.carry_auth(options, draft);
    for (name, key) in
        [("hostname", "listen.hostname"), ("rewritedomain", "rewrite.origin"), ("tls_ca_file", "tls.ca-file")]
    {
        if let Some(setting) = settings.get(name) {
            draft.set(DraftKey::new(key, setting.value.as_str(), settings.cited(&[name])));
        }
    }
    if let (Some(certificate), Some(key)) = (settings.get("tlscert"), settings.get("tlskey")) {
        draft.set_together(vec![
            DraftKey::new("tls.client-certificate", certificate.value.as_str(), settings.cited(&["tlscert"])),
            DraftKey::new("tls.client-key", key.value.as_str(), settings.cited(&["tlskey"])),
        ]);
    }
    settings.carry_root(draft);
    carry_revaliases(files, draft)?;
    settings.account_for_from(draft);
    settings.account(draft);
    Ok(())
}

impl SsmtpSettings {
    fn read(file: &str, text: &str) -> Result<SsmtpSettings, ImportError> {
        let mut settings = Vec::new();
        for (index, line) in text.lines().enumerate().map(|(index, line)| (index, line.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let location = SourceLocation::line(file, index + 1);
            let (name, value) = line.split_once('=').ok_or_else(|| location.error("expected `key=value`"))?;
            settings.push(SsmtpSetting {
                location,
                name: name.trim().to_lowercase(),
                value: value.trim().into(),
            });
        }
        Ok(SsmtpSettings(settings))
    }

    /// Returns the last line of that name, unless its value is empty.
    fn get(&self, name: &str) -> Option<&SsmtpSetting> {
        self.0.iter().rev().find(|setting| setting.name == name).filter(|setting| !setting.value.is_empty())
    }

    fn is_yes(&self, name: &str) -> bool {
        self.get(name).is_some_and(|setting| setting.value.eq_ignore_ascii_case("yes"))
    }

    fn cited(&self, names: &[&str]) -> Vec<Cited> {
        names.iter().filter_map(|name| self.get(name)).map(cite).collect()
    }

    fn carry_auth(&self, options: &ImportOptions<'_>, draft: &mut ConfigDraft) {
        let Some(user) = self.get("authuser") else { return };
        let cited = self.cited(&["authuser"]);
        match self.get("authpass") {
            Some(pass) => {
                let secret = Secret::new(pass.value.clone());
                carry_auth(&user.value, &secret, &pass.location, cited, options, draft);
            }
            None => draft.not_carried(cited, "no password stands here: [auth] has to be written by hand"),
        }
        let cited = self.cited(&["authmethod"]);
        match self.get("authmethod").map(|setting| setting.value.to_uppercase()).as_deref() {
            Some(method @ ("LOGIN" | "CRAM-MD5")) => {
                draft.set(DraftKey::new("auth.mechanisms", method, cited))
            }
            _ => draft.not_carried(cited, "nullmta speaks SCRAM, CRAM-MD5, PLAIN and LOGIN"),
        }
    }

    /// Adds `root=`, the address that gets the mail for system users.
    fn carry_root(&self, draft: &mut ConfigDraft) {
        let Some(root) = self.get("root") else { return };
        if root.value == "root" {
            return draft.already_so(self.cited(&["root"]), "mail for root goes to root at the origin");
        }
        let entry = ("root".to_owned(), vec![root.value.clone()], root.location.clone());
        let key = DraftKey::new("rewrite.aliases", DraftValue::Map(vec![entry]), self.cited(&["root"]));
        draft
            .set(key.advised("ssmtp did so for every user with a uid below 1000; name those that get mail."));
    }

    /// Lists `FromLineOverride`. Unless it is `YES`, ssmtp always replaces From.
    fn account_for_from(&self, draft: &mut ConfigDraft) {
        const OVERRULED: &str = "ssmtp writes From anew, of the user who submits; nullmta leaves it to the message, \
                                 unless rewrite.sender says otherwise";
        match self.cited(&["fromlineoverride"]) {
            cited if self.is_yes("fromlineoverride") => {
                draft.already_so(cited, "who submits chooses From; rewrite.sender would overrule it");
            }
            cited if cited.is_empty() => draft.warn(OVERRULED),
            cited => draft.not_carried(cited, OVERRULED),
        }
    }

    fn account(&self, draft: &mut ConfigDraft) {
        let left = self.0.iter().enumerate();
        let (last, earlier): (Vec<_>, Vec<_>) =
            left.partition(|(at, setting)| !self.0[at + 1..].iter().any(|later| later.name == setting.name));
        let last = last.into_iter().map(|(_, setting)| setting).filter(|setting| setting.name != "authpass");
        let last: Vec<Cited> = last.filter(|setting| !draft.accounts_for(&setting.name)).map(cite).collect();
        last.into_iter().for_each(|cited| account(cited, &REASONS, draft));
        account_for_overridden(earlier.into_iter().map(|(_, setting)| cite(setting)), draft);
    }
}

fn cite(setting: &SsmtpSetting) -> Cited {
    let shown = (setting.name != "authpass").then(|| setting.value.clone());
    Cited { location: setting.location.clone(), name: setting.name.clone(), shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_without_case_and_the_last_counts() {
        let settings = SsmtpSettings::read("s", "UseTLS=No\n# x\nusetls = YES\nroot=\n").unwrap();
        assert!(settings.is_yes("usetls"));
        assert!(settings.get("root").is_none());
    }

    #[test]
    fn a_line_that_is_none_is_an_error_that_quotes_nothing() {
        let error = SsmtpSettings::read("s", "mailhub=a\nhunter2\n").err().unwrap();
        assert_eq!(error.to_string(), "s:2: expected `key=value`");
    }
}
