//! The relays that get a message on the spool.
//!
//! Promises: the answer follows from what the spool has of the message, and from the routes. A message whose every
//! recipient has had its end belongs to the first relay.
//!
//! Reads the content of a large message from its file, and only if a route asks for the From field. Not here: the rules
//! (`routing.rs`), the messages that wait for an answer (`unrouted.rs`).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::os::unix::fs::FileExt;

use super::RelayPlace;
use crate::envelope::{Address, Envelope};
use crate::message::address::authors;
use crate::message::header;
use crate::queue_id::QueueId;
use crate::routing::{RoutedMail, Routes};
use crate::spool::{Spool, Stored, StoredContent};

/// The number of octets in which the From field is looked for.
const LOOKED_AT: usize = 256 << 10;

/// Returns the relay of each of these recipients of a message, given by their indices.
pub(super) fn relays_of(
    routes: &Routes,
    mail: &RoutedMail<'_>,
    envelope: &Envelope,
    recipients: impl Iterator<Item = usize>,
) -> Vec<(usize, RelayPlace)> {
    let known = recipients.filter_map(|index| Some((index, envelope.recipients.get(index)?)));
    known.map(|(index, of)| (index, RelayPlace(routes.place_of(mail, &of.address)))).collect()
}

/// Returns the relays that get this message. Blocking.
pub(super) fn relays_of_message(routes: &Routes, spool: &Spool, id: QueueId) -> Vec<RelayPlace> {
    if routes.0.is_empty() {
        return vec![RelayPlace(0)];
    }
    // The first relay finds out why a message cannot be read.
    let Ok(stored) = spool.peek(id) else { return vec![RelayPlace(0)] };
    let open = places_of(routes, &stored, stored.ledger.open());
    let places: BTreeSet<RelayPlace> = open.into_iter().map(|(_, place)| place).collect();
    if places.is_empty() { vec![RelayPlace(0)] } else { places.into_iter().collect() }
}

/// Returns the open recipients of a message that another relay than this one gets.
pub(super) fn elsewhere(routes: &Routes, relay: RelayPlace, stored: &Stored) -> BTreeSet<usize> {
    if routes.0.is_empty() {
        return BTreeSet::new();
    }
    let others = places_of(routes, stored, stored.ledger.open()).into_iter();
    let others = others.filter(|(_, place)| *place != relay);
    others.map(|(index, _)| index).collect()
}

/// Returns the relay of each of these recipients of a message, given by their indices.
pub(super) fn places_of(
    routes: &Routes,
    stored: &Stored,
    recipients: impl Iterator<Item = usize>,
) -> Vec<(usize, RelayPlace)> {
    let authors = if routes.ask_for_header() { authors_of(&stored.content) } else { Vec::new() };
    let Stored { envelope, submitter, assigned_route, .. } = stored;
    let mail = RoutedMail {
        reverse_path: &envelope.reverse_path,
        authors: &authors,
        submitter: *submitter,
        assigned: assigned_route.as_deref(),
    };
    relays_of(routes, &mail, envelope, recipients)
}

/// Returns the addresses in the From field; none if there is none that can be read.
fn authors_of(content: &StoredContent) -> Vec<Address> {
    let octets = match content {
        StoredContent::Memory(content) => {
            let octets = content.as_ref();
            Cow::Borrowed(&octets[..octets.len().min(LOOKED_AT)])
        }
        StoredContent::File { file, .. } => {
            let mut octets = vec![0; LOOKED_AT];
            // It does not move the position at which the content is read for the relay.
            let read = file.read_at(&mut octets, 0).unwrap_or_default();
            octets.truncate(read);
            Cow::Owned(octets)
        }
    };
    let from = header::split(&octets).header.find("From");
    from.map(|from| authors(from.raw_body()).filter_map(Result::ok).map(|mailbox| mailbox.address).collect())
        .unwrap_or_default()
}
