//! From where one address sends for all (`sender`): a relay that knows one sender takes one author.
//!
//! Promises:
//! 1. Whatever stood in From, it leaves with exactly one mailbox, as any reader counts them. What has one already is
//!    none of this module's business: there the address alone is changed (`fields.rs`).
//! 2. What stood there stays to be read: it is the display name, or else it goes into X-Original-From.
//!
//! Whose address: the first that can be read, else that of the envelope.

use std::borrow::Cow;

use crate::envelope::Address;
use crate::message::address::{Mailbox, authors};
use crate::message::display_name::{MAX_NAME_OCTETS, display_name_of_field};

/// A From that is written anew.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OneAuthor {
    /// Its body, with its line end.
    pub(super) body: Vec<u8>,
    /// The body of a Reply-To that leads to who wrote; `None`: that cannot be read.
    pub(super) reply_to: Option<Vec<u8>>,
    /// The display name does not say all that stood there.
    pub(super) is_cut: bool,
}

/// What a From of this body becomes; `None`: it has one mailbox and nothing else. `sent_as` is what becomes of an
/// address, `otherwise` the one that counts where none can be read.
pub(super) fn one_author(
    body: &[u8],
    otherwise: &Address,
    sent_as: impl Fn(&Address) -> Address,
) -> Option<OneAuthor> {
    let mut list = authors(body);
    let (mut first, mut count, mut is_malformed) = (None, 0_usize, false);
    for mailbox in list.by_ref() {
        match mailbox {
            Ok(mailbox) => {
                count += 1;
                first.get_or_insert(mailbox);
            }
            Err(_) => is_malformed = true,
        }
    }
    let is_list = !is_malformed && !list.has_unread();
    if is_list && count == 1 && !list.has_names() {
        return None;
    }
    let is_one = is_list && count == 1;
    let text = first.as_ref().filter(|_| is_one).map_or(body, |mailbox| before_brackets(body, mailbox));
    let (name, is_cut) = name_of(text);
    let address = first.as_ref().map_or(otherwise, |mailbox| &mailbox.address);
    let reply_to = match &first {
        Some(_) if is_list && !list.has_names() => Some(body.to_owned()),
        Some(mailbox) => Some(written(&name, &mailbox.address)),
        None => None,
    };
    Some(OneAuthor { body: written(&name, &sent_as(address)), reply_to, is_cut })
}

fn written(name: &str, address: &Address) -> Vec<u8> {
    let body = if name.is_empty() { format!(" {address}\r\n") } else { format!(" {name} <{address}>\r\n") };
    body.into_bytes()
}

/// What stands before the `<` of `mailbox`.
fn before_brackets<'b>(body: &'b [u8], mailbox: &Mailbox) -> &'b [u8] {
    let before = &body[..mailbox.local.start];
    before.iter().rposition(|octet| *octet == b'<').map_or(before, |bracket| &before[..bracket])
}

/// `text` as a display name, and whether something of it is missing there.
fn name_of(text: &[u8]) -> (String, bool) {
    let text = String::from_utf8_lossy(text);
    let line = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let is_readable = matches!(text, Cow::Borrowed(_)) && !line.chars().any(char::is_control);
    if !is_readable {
        return (String::new(), true);
    }
    // A comma alone, or `<>`, is nobody's name.
    if !line.chars().any(char::is_alphanumeric) {
        return (String::new(), false);
    }
    let is_cut = line.len() > MAX_NAME_OCTETS;
    let line = &line[..line.floor_char_boundary(MAX_NAME_OCTETS)];
    (display_name_of_field(&line.replace('"', "")), is_cut)
}
