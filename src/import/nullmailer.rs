//! nullmailer's directory: `remotes`, `me`, `defaultdomain`, `defaulthost`, `adminaddr` and the like.
//!
//! Promises: the relays in `remotes` keep their order, as in nullmailer. From `remotes`, only hosts, users and the names
//! of options are shown, since its lines hold passwords.
//!
//! Fails: a line of `remotes` that names no SMTP relay.

use std::iter::Peekable;

use super::ImportOptions;
use super::draft::{Cited, ConfigDraft, DraftKey, DraftValue};
use super::files::SourceFiles;
use super::location::{ImportError, SourceLocation};
use super::nexthop::{Nexthop, port};
use super::single_relay::{Encryption, carry_auth, carry_relay};
use super::times::{seconds, words};
use crate::secret::Secret;

/// A line of `remotes`.
struct Remote {
    location: SourceLocation,
    nexthop: Nexthop,
    encryption: Encryption,
    username: Option<String>,
    password: Option<Secret>,
    ca_file: Option<String>,
    /// Options that become no key.
    left: Vec<String>,
}

/// Options whose value may be a separate word.
const WITH_VALUE: [&str; 4] = ["port", "user", "pass", "x509cafile"];

/// Options that become no key.
const NOT_CARRIED: [&str; 5] = ["insecure", "source", "x509certfile", "x509crlfile", "x509derfmt"];

/// Files of one line that become a key.
const FILES: [(&str, &str); 5] = [
    ("me", "listen.hostname"),
    ("helohost", "relay.helo-name"),
    ("defaulthost", "rewrite.origin"),
    ("allmailfrom", "rewrite.sender"),
    ("doublebounceto", "queue.postmaster"),
];

/// Files of one line, with a number of seconds, that become a key.
const SECONDS: [(&str, &str); 3] =
    [("queuelifetime", "queue.lifetime"), ("maxpause", "queue.retry-max"), ("pausetime", "queue.retry-min")];

/// Files of one line that become no key, with the reasons.
const NOT_CARRIED_FILES: [(&str, &str); 4] = [
    (
        "defaultdomain",
        "a domain without a dot is left as it is; bare users are completed with rewrite.origin",
    ),
    ("idhost", "a Message-ID that is missing is made with listen.hostname"),
    ("sendtimeout", "each step has its own: relay.timeouts"),
    ("bouncefrom", "bounces are from <> and say MAILER-DAEMON in From"),
];

/// Adds the configuration in the directory to `draft`; `text` is the content of `remotes`.
pub(super) fn carry(
    files: &SourceFiles<'_>,
    location: &SourceLocation,
    text: &str,
    options: &ImportOptions<'_>,
    draft: &mut ConfigDraft,
) -> Result<(), ImportError> {
    let lines = text
        .lines()
        .enumerate()
        .map(|(index, line)| (SourceLocation::line(&location.file, index + 1), line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let remotes = lines.map(|(location, line)| remote(location, line)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = remotes.first() else { return Err(location.error("expected a relay")) };
    let alike = || remotes.iter().filter(|remote| remote.is_like(first));
    let nexthops: Vec<Nexthop> = alike().map(|remote| remote.nexthop.clone()).collect();
    let from = alike().map(|remote| Cited {
        shown: Some(remote.nexthop.host.clone()),
        ..Cited::entry(&remote.location, "smtp")
    });
    carry_relay(&nexthops, first.encryption, from.collect(), draft);
    if let (Some(username), Some(secret)) = (&first.username, &first.password) {
        let from = vec![Cited { shown: Some(username.clone()), ..Cited::entry(&first.location, "user") }];
        carry_auth(username, secret, &first.location, from, options, draft);
    }
    if let Some(file) = &first.ca_file {
        draft.set(DraftKey::new(
            "tls.ca-file",
            file.as_str(),
            vec![Cited::entry(&first.location, "x509cafile")],
        ));
    }
    account_for_remotes(&remotes, draft);
    carry_files(files, draft)
}

impl Remote {
    /// Returns whether login and encryption are the same as for `other`. A secret must not be offered to a relay that it
    /// was not meant for.
    fn is_like(&self, other: &Remote) -> bool {
        let secret = |remote: &Remote| remote.password.as_ref().map(|secret| secret.expose().to_owned());
        self.username == other.username
            && self.encryption == other.encryption
            && secret(self) == secret(other)
    }
}

fn remote(location: SourceLocation, line: &str) -> Result<Remote, ImportError> {
    let mut words = split(line).into_iter().peekable();
    let host = words.next().unwrap_or_default();
    match words.next_if(|word| !word.starts_with("--") && !word.contains('=')).as_deref() {
        None | Some("smtp") => {}
        Some(_) => return Err(location.error("expected the protocol smtp")),
    }
    let mut remote = Remote {
        nexthop: Nexthop::parse(&bracketed(&host), 25).ok_or_else(|| location.error("expected a host"))?,
        location,
        encryption: Encryption::None,
        username: None,
        password: None,
        ca_file: None,
        left: Vec::new(),
    };
    let mut own_port = None;
    while let Some((name, value)) = option(&mut words) {
        match name.as_str() {
            "port" => own_port = Some(port(&value).ok_or_else(|| remote.location.error("expected a port"))?),
            "user" => remote.username = Some(value),
            "pass" => remote.password = Some(Secret::new(value)),
            "starttls" => remote.encryption = Encryption::StartTls,
            "ssl" | "tls" => remote.encryption = Encryption::Implicit,
            "x509cafile" => remote.ca_file = Some(value),
            "auth-login" => {}
            _ => remote.left.push(name),
        }
    }
    let usual = if remote.encryption == Encryption::Implicit { 465 } else { 25 };
    remote.nexthop.port = own_port.unwrap_or(usual);
    Ok(remote)
}

/// Returns the next option and its value, written as `--pass=x`, `pass=x` or `--pass x`.
fn option(words: &mut Peekable<impl Iterator<Item = String>>) -> Option<(String, String)> {
    let word = words.next()?;
    let text = word.trim_start_matches('-');
    Some(match text.split_once('=') {
        Some((name, value)) => (name.into(), value.into()),
        None if WITH_VALUE.contains(&text) => (text.into(), words.next().unwrap_or_default()),
        None => (text.into(), String::new()),
    })
}

/// Splits a line into words as nullmailer does: `'a b'`, `"a \" b"` and `a\ b` are one word each.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            ('\'' | '"', None) => (quote, word) = (Some(c), Some(word.unwrap_or_default())),
            (c, Some(begun)) if c == begun => quote = None,
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(chars.next()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

fn bracketed(host: &str) -> String {
    if host.starts_with('[') { host.into() } else { format!("[{host}]") }
}

fn account_for_remotes(remotes: &[Remote], draft: &mut ConfigDraft) {
    for remote in remotes {
        draft.hidden.extend(remote.password.clone());
        for name in &remote.left {
            let why = match name.as_str() {
                "insecure" => {
                    "the certificate is always verified; tls.ca-file or tls.pin-sha256 say what is trusted"
                }
                _ => "nullmta has nothing like it",
            };
            draft.not_carried(vec![cited_option(&remote.location, name)], why);
        }
    }
    let Some(first) = remotes.first() else { return };
    for other in remotes.iter().filter(|remote| !remote.is_like(first)) {
        let cited =
            Cited { shown: Some(other.nexthop.host.clone()), ..Cited::entry(&other.location, "smtp") };
        draft.not_carried(
            vec![cited],
            "all relays of relayhost have the TLS mode, the user and the secret of the first",
        );
    }
}

/// Returns a citation of an option. The name of an unknown one is not shown, since it may be a piece of a secret.
fn cited_option(location: &SourceLocation, name: &str) -> Cited {
    match NOT_CARRIED.contains(&name) {
        true => Cited::entry(location, name),
        false => Cited { shown: None, ..Cited::entry(location, "an option") },
    }
}

fn carry_files(files: &SourceFiles<'_>, draft: &mut ConfigDraft) -> Result<(), ImportError> {
    for (name, key) in FILES {
        match first_line(files, name)? {
            Some((_, cited)) if draft.has(key) => draft.not_carried(cited, "EHLO says listen.hostname"),
            Some((value, cited)) => draft.set(DraftKey::new(key, value, cited)),
            None => {}
        }
    }
    for (name, key) in SECONDS {
        let Some((value, cited)) = first_line(files, name)? else { continue };
        match seconds(&value, 's') {
            Some(seconds) => draft.set(DraftKey::new(key, words(seconds), cited)),
            None => draft.not_carried(cited, "it is no number"),
        }
    }
    for (name, why) in NOT_CARRIED_FILES {
        if let Some((_, cited)) = first_line(files, name)? {
            draft.not_carried(cited, why);
        }
    }
    if let (Some((_, cited)), None) = (first_line(files, "me")?, first_line(files, "defaulthost")?) {
        draft.already_so(cited, "without a defaulthost bare addresses are completed with it");
    }
    carry_admin(files, draft)
}

/// Adds `adminaddr`, the address that gets the mail for users of this host, under both names of the host.
fn carry_admin(files: &SourceFiles<'_>, draft: &mut ConfigDraft) -> Result<(), ImportError> {
    let Some((address, cited)) = first_line(files, "adminaddr")? else { return Ok(()) };
    let mut domains = vec!["localhost".to_owned()];
    domains.extend(first_line(files, "me")?.map(|(me, _)| me));
    let location = SourceLocation::line(&files.own("adminaddr"), 1);
    let entry = |domain: String| (format!("@{domain}"), vec![address.clone()], location.clone());
    let entries = domains.into_iter().map(entry).collect();
    draft.set(DraftKey::new("rewrite.recipients", DraftValue::Map(entries), cited));
    Ok(())
}

/// Returns the first line of a file, unless it is empty.
fn first_line(files: &SourceFiles<'_>, name: &str) -> Result<Option<(String, Vec<Cited>)>, ImportError> {
    let path = files.own(name);
    let Some(text) = files.text(&path)? else { return Ok(None) };
    let line = text.lines().next().unwrap_or_default().trim().to_owned();
    let cited =
        Cited { location: SourceLocation::line(&path, 1), name: name.into(), shown: Some(line.clone()) };
    Ok(Some((line, vec![cited])).filter(|(line, _)| !line.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Remote, String> {
        remote(SourceLocation::line("remotes", 1), line).map_err(|error| error.to_string())
    }

    #[test]
    fn the_lines_of_remotes() {
        for (line, written, encryption) in [
            ("smtp.example.com", "smtp.example.com:25", Encryption::None),
            (
                "smtp.example.com smtp --port=587 --starttls --user=a --pass=b",
                "smtp.example.com:587",
                Encryption::StartTls,
            ),
            ("smtp.example.com smtp --ssl", "smtp.example.com:465", Encryption::Implicit),
            ("192.0.2.1 port=2525 starttls", "192.0.2.1:2525", Encryption::StartTls),
        ] {
            let remote = read(line).unwrap();
            assert_eq!(
                (remote.nexthop.written(), remote.encryption),
                (written.to_owned(), encryption),
                "{line}"
            );
        }
        // Cut at its blank, a password was wrong, and its end stood in the account.
        for (line, password) in [
            ("a smtp --pass='p w#x' --user=me", "p w#x"),
            ("a smtp --user=me --pass=\"p \\\" 'w\"", "p \" 'w"),
            ("a smtp --user=me '--pass=p w'", "p w"),
            ("a smtp --user=me --pass=p\\ w\\'", "p w'"),
            ("a smtp --user me --pass hunter2", "hunter2"),
            ("a smtp --user=me --pass=''", ""),
            ("a smtp --user=me --pass='open end", "open end"),
        ] {
            let remote = read(line).unwrap();
            assert_eq!((remote.username.as_deref(), remote.left.len()), (Some("me"), 0), "{line}");
            assert_eq!(remote.password.unwrap().text(), Some(password), "{line}");
        }
        let remote = read("a smtp --user=me --pass=hunter2=x --insecure").unwrap();
        assert_eq!(remote.username.as_deref(), Some("me"));
        assert_eq!(remote.password.unwrap().text(), Some("hunter2=x"));
        assert_eq!(remote.left, ["insecure"]);
    }

    #[test]
    fn a_word_that_is_no_option_is_not_shown() {
        let location = SourceLocation::line("remotes", 1);
        assert_eq!(cited_option(&location, "insecure").to_string(), "remotes:1: insecure = …");
        let shown = cited_option(&location, "secret's").to_string();
        assert_eq!(shown, "remotes:1: an option (value not shown: it may hold a secret)");
    }

    #[test]
    fn broken_lines_are_said() {
        for line in ["a qmqp", "[ smtp", "a smtp --port=x"] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
