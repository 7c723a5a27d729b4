//! Checks the authors in a header section against those as whom the client may send.
//!
//! Promises: each address in each From and Resent-From is checked as the client wrote it, before rewriting; of a field that is no
//! list of addresses, everything in it that looks like one. A field in which an address cannot be read is refused, since a reader
//! of the mail may see an author there. Where no author is given, the reverse-path is checked, of which the missing one is
//! made.
//!
//! Not here: the policy (`sender_policy.rs`), the reply (550 5.7.1, by [`Unacceptable::Rejected`]).

use std::sync::Arc;

use super::address::{authors, scattered};
use super::header::Header;
use super::unacceptable::Unacceptable;
use crate::envelope::{Address, ReversePath};
use crate::sender_policy::{PolicyRefusal, SenderPolicy};

/// The fields that name authors, each with the words for a refusal.
const AUTHOR_FIELDS: [&str; 2] = ["From", "Resent-From"];

/// Returns a refusal if `header` has an author whom one of these policies does not let the client name.
pub(super) fn check_authors(
    policies: &[Arc<SenderPolicy>],
    header: Header<'_>,
    reverse_path: &ReversePath,
) -> Result<(), Unacceptable> {
    let mut asked = policies.iter().filter(|senders| !senders.allows_every_author());
    let checked = asked.try_for_each(|senders| check(senders, header, reverse_path));
    checked.map_err(|refusal| Unacceptable::Rejected(refusal.to_string().into()))
}

fn check(
    senders: &SenderPolicy,
    header: Header<'_>,
    reverse_path: &ReversePath,
) -> Result<(), PolicyRefusal> {
    let mut has_author = false;
    for field in header.fields() {
        let Some(place) = AUTHOR_FIELDS.into_iter().find(|name| field.is(name)) else { continue };
        for author in authors_in(field.raw_body()).ok_or_else(|| senders.unreadable_author(place))? {
            senders.check_author(&author, place)?;
            has_author |= place == "From";
        }
    }
    match reverse_path {
        ReversePath::Mailbox(mailbox) if !has_author => {
            senders.check_author(mailbox, "MAIL FROM, without From")
        }
        _ => Ok(()),
    }
}

/// Returns the addresses in the body of a field; `None` if there is one that cannot be read.
fn authors_in(body: &[u8]) -> Option<Vec<Address>> {
    let (mut list, mut found, mut is_list) = (authors(body), Vec::new(), true);
    for mailbox in list.by_ref() {
        match mailbox {
            Ok(mailbox) => found.push(mailbox.address),
            Err(_) => is_list = false,
        }
    }
    if list.has_unread() {
        return None;
    }
    if !is_list {
        // Without any address it is a text, and the author is made of the reverse-path.
        found = scattered(body).map(|mailbox| mailbox.address).collect();
        if body.iter().filter(|octet| **octet == b'@').count() > found.len() {
            return None;
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::header::split;
    use crate::routing::AddressPattern;
    use crate::sender_policy::AllowedSenders;

    fn checked(header: &str, reverse_path: &str) -> Result<(), String> {
        let authors = AllowedSenders {
            allowed: vec![AddressPattern::parse("@b.example").unwrap()],
            denied: Vec::new(),
        };
        let (who, origin, reverse_paths) =
            ("user shop".into(), "web1.example".into(), AllowedSenders::default());
        let senders = SenderPolicy { who, origin, reverse_paths, authors };
        let path = match reverse_path {
            "" => ReversePath::Null,
            text => ReversePath::Mailbox(Address::parse(text).unwrap()),
        };
        let content = format!("{header}\r\n\r\nbody\r\n");
        check_authors(&[Arc::new(senders)], split(content.as_bytes()).header, &path)
            .map_err(|why| why.to_string())
    }

    #[test]
    fn each_author_is_checked_as_the_client_wrote_it() {
        for (header, is_allowed) in [
            ("From: shop@b.example", true),
            ("From: \"Boss <ceo@a.example>\" <shop@b.example>", true),
            ("From: Shop <shop@B.example>\r\nSubject: x", true),
            ("From: shop@b.example, ann@b.example", true),
            ("From: shop@b.example, ceo@a.example", false),
            ("from : ceo@a.example", false),
            ("From: ceo@a.example (shop@b.example)", false),
            ("From: <@b.example:ceo@a.example>", false),
            ("From: root", false),
            ("From: shop@b.example\r\nFrom: ceo@a.example", false),
            ("From: shop@b.example\r\nResent-From: ceo@a.example", false),
            ("From: shop@b.example\r\nReply-To: ceo@a.example\r\nSender: x@a.example", true),
            ("From: ceo@a.example <shop@b.example> <ceo@a.example>", false),
            ("From: <ceo@a..example> <shop@b.example", false),
            ("From: group: shop@b.example, ceo@a.example;", false),
        ] {
            assert_eq!(checked(header, "shop@b.example").is_ok(), is_allowed, "{header}");
        }
    }

    /// The author of mail without From is made of the reverse-path, which was not looked at.
    #[test]
    fn a_missing_author_is_the_reverse_path() {
        for header in ["Subject: x", "From:", "From: ()"] {
            assert_eq!(checked(header, "shop@b.example"), Ok(()), "{header}");
            assert_eq!(
                checked(header, "ceo@a.example").unwrap_err(),
                "user shop may not send as <ceo@a.example> (MAIL FROM, without From), only as @b.example"
            );
            assert_eq!(checked(header, ""), Ok(()), "{header}");
        }
    }

    #[test]
    fn a_refusal_names_the_field() {
        assert_eq!(
            checked("From: ceo@a.example", "").unwrap_err(),
            "user shop may not send as <ceo@a.example> (From), only as @b.example"
        );
        let senders = SenderPolicy {
            who: "user shop".into(),
            origin: "web1.example".into(),
            reverse_paths: AllowedSenders::default(),
            authors: AllowedSenders::default(),
        };
        let header = split(b"From: <\r\n\r\n").header;
        assert_eq!(check_authors(&[Arc::new(senders)], header, &ReversePath::Null), Ok(()));
    }
}
