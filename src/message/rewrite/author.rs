//! From where one address sends for all (`sender`): a relay that knows one sender takes one author.
//!
//! Promises:
//! 1. Whatever stood in From, it leaves with exactly one mailbox, as any reader counts them: no list, no group, no route.
//!    What has one already, or has one once its name is mended (`author_name.rs`), is none of this module's
//!    business: its name stays, and the address alone is changed (`fields.rs`).
//! 2. Of anything else nothing is lost. It becomes the display name as a whole, addresses, group and route too. What is
//!    longer than such a name goes into X-Original-From in full, and so does each further From (`original.rs`).
//!
//! Whose address: the first that can be read, else that of the envelope.

use crate::envelope::Address;
use crate::message::address::{authors, is_one_mailbox};
use crate::message::author_name::mended;
use crate::message::display_name::{MAX_NAME_OCTETS, display_name_of_field, line_of};

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
