//! The ways in which a line of a routing table of Postfix sends mail.
//!
//! Promises: a transport is one to a relay if `master.cf` runs `smtp` for it; without a line there, its name decides.

use std::collections::BTreeMap;

use super::super::files::SourceFiles;
use super::super::lines::logical_lines;
use super::super::location::ImportError;

/// The way of mail that a line of a table names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MailWay {
    /// To these relays, as they are written.
    Relay(String),
    /// The way that the mail has without the line.
    Usual,
    /// To the hosts of each recipient's own domain.
    Direct,
    /// To no relay: into a mailbox, to a program, or back to its sender.
    Nowhere,
}

/// Transports that lead to no relay, where `master.cf` does not say what they are.
const NO_RELAYS: [&str; 12] = [
    "error", "retry", "discard", "local", "virtual", "lmtp", "pipe", "uucp", "cyrus", "maildrop", "mailman",
    "procmail",
];

/// The program that `master.cf` runs for each transport.
#[derive(Default)]
pub(super) struct Transports(BTreeMap<String, String>);

impl Transports {
    /// Reads the transports of `master.cf`; there may be none.
    pub(super) fn read(files: &SourceFiles<'_>) -> Result<Transports, ImportError> {
        let path = files.own("master.cf");
        let Some(text) = files.text(&path)? else { return Ok(Transports::default()) };
        let mut programs = BTreeMap::new();
        for line in logical_lines(&path, &text)? {
            let words: Vec<&str> = line.text.split_whitespace().collect();
            if let [name, "unix", _, _, _, _, _, program, ..] = words.as_slice() {
                programs.insert((*name).to_owned(), (*program).to_owned());
            }
        }
        Ok(Transports(programs))
    }

    fn lead_to_a_relay(&self, name: &str) -> bool {
        self.0.get(name).map_or(!NO_RELAYS.contains(&name), |program| program == "smtp")
    }

    /// Returns the way that `text` means in `transport_maps`: `transport:nexthop`, of which both may be missing.
    pub(super) fn of_recipient(&self, text: &str) -> MailWay {
        match text.split_once(':').unwrap_or((text, "")) {
            ("", "") => MailWay::Usual,
            ("", nexthop) => MailWay::Relay(nexthop.into()),
            (name, _) if !self.lead_to_a_relay(name) => MailWay::Nowhere,
            (_, "") => MailWay::Direct,
            (_, nexthop) => MailWay::Relay(nexthop.into()),
        }
    }

    /// Returns the way that `text` means as a transport for all mail, or for that of a sender. Without a nexthop the relay
    /// is the usual one.
    pub(super) fn of_sender(&self, text: &str) -> MailWay {
        match self.of_recipient(text) {
            _ if text.eq_ignore_ascii_case("dunno") => MailWay::Usual,
            MailWay::Direct => MailWay::Usual,
            way => way,
        }
    }
}

/// Returns the way that `text` means as the relayhost of a sender.
pub(super) fn of_relayhost(text: &str) -> MailWay {
    if text.eq_ignore_ascii_case("dunno") { MailWay::Usual } else { MailWay::Relay(text.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::path::Path;

    #[test]
    fn transports_have_their_ways() {
        let text = "smtp unix - - y - - smtp\n  -o a=b\nslow unix - - y - 1 smtp\nshop unix - n n - - pipe user=x\n\
                    smtp inet n - y - - smtpd\nlocal unix - n n - - local\n";
        let read = |path: &Path| match path.ends_with("master.cf") {
            true => Ok(text.as_bytes().to_vec()),
            false => Err(io::ErrorKind::NotFound.into()),
        };
        let files = SourceFiles::new(Path::new("/etc/postfix"), "/etc/postfix", &read);
        let transports = Transports::read(&files).unwrap();
        let relay = |text: &str| MailWay::Relay(text.into());
        for (text, of_recipient, of_sender) in [
            ("smtp:[a]:25", relay("[a]:25"), relay("[a]:25")),
            ("slow:[a]:25,[b]:25", relay("[a]:25,[b]:25"), relay("[a]:25,[b]:25")),
            ("relay:a", relay("a"), relay("a")),
            (":[a]", relay("[a]"), relay("[a]")),
            (":", MailWay::Usual, MailWay::Usual),
            ("smtp", MailWay::Direct, MailWay::Usual),
            ("slow:", MailWay::Direct, MailWay::Usual),
            ("error:no mail", MailWay::Nowhere, MailWay::Nowhere),
            ("shop:x", MailWay::Nowhere, MailWay::Nowhere),
            ("local:", MailWay::Nowhere, MailWay::Nowhere),
        ] {
            assert_eq!(transports.of_recipient(text), of_recipient, "{text}");
            assert_eq!(transports.of_sender(text), of_sender, "{text}");
        }
        assert_eq!(transports.of_sender("Dunno"), MailWay::Usual);
        assert_eq!([of_relayhost("DUNNO"), of_relayhost("[a]:587")], [MailWay::Usual, relay("[a]:587")]);
    }
}
