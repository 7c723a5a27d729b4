//! The From field when one address sends all mail (`sender`): a relay that knows one sender accepts one author only.
//!
//! Promises:
//! 1. Whatever From contains, it leaves with exactly one mailbox for any reader: no list, no group, no route. A From
//!    that has one mailbox, or has one after its name was mended (`author_name.rs`), is not changed here: its name
//!    stays, and only the address is replaced (`fields.rs`).
//! 2. Nothing of any other From is lost. Its whole text, with addresses, group and route, becomes the display name.
//!    If it is too long for a name, all of it is kept in X-Original-From, and so is each further From
//!    (`original.rs`).
//!
//! The address is the first one that can be read, or else that of the envelope.

use crate::envelope::Address;
use crate::message::address::{authors, is_one_mailbox};
use crate::message::author_name::mended;
use crate::message::display_name::{MAX_NAME_OCTETS, display_name_of_field, line_of};

/// A From that was written anew.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OneAuthor {
    /// The body of the field, with its line end.
    pub(super) body: Vec<u8>,
    /// The body of a Reply-To that reaches the authors; `None` if no address could be read.
    pub(super) reply_to: Option<Vec<u8>>,
    /// True if the display name is shorter than the original text.
    pub(super) is_cut: bool,
}

/// Returns the new From for this body; `None` if it is one mailbox and nothing else. `sent_as` rewrites an address;
/// `otherwise` is used if no address can be read.
pub(super) fn one_author(
    body: &[u8],
    otherwise: &Address,
    sent_as: impl Fn(&Address) -> Address,
) -> Option<OneAuthor> {
    if is_one_mailbox(mended(body).as_deref().unwrap_or(body)) {
        return None;
    }
    let mut list = authors(body);
    let first = list.find_map(Result::ok);
    let is_list = list.all(|mailbox| mailbox.is_ok()) && !list.has_unread() && !list.has_names();
    let name = display_name_of_field(body, MAX_NAME_OCTETS);
    let address = first.as_ref().map_or(otherwise, |mailbox| &mailbox.address);
    let reply_to = match &first {
        Some(_) if is_list => Some(body.to_owned()),
        Some(mailbox) => Some(written(&name, &mailbox.address)),
        None => None,
    };
    let is_cut = line_of(body).len() > MAX_NAME_OCTETS;
    Some(OneAuthor { body: written(&name, &sent_as(address)), reply_to, is_cut })
}

fn written(name: &str, address: &Address) -> Vec<u8> {
    let body = if name.is_empty() { format!(" {address}\r\n") } else { format!(" {name} <{address}>\r\n") };
    body.into_bytes()
}
