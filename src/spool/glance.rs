//! A glance at the envelope of a message, for a look through a million of them: from the first octets of its record, without
//! the content and the checksum over both.
//!
//! Promise: nothing is left out of a look for a glance: where the first octets do not tell, there is no answer, and the caller
//! reads the message as a whole. An answer is as true as the disk: a caller reads what it leads to as a whole, too.

use super::entry::GlancedEnvelope;
use super::format::{HEAD, Head};
use super::fs::read_full_at;
use super::index::{Extra, Slot};
use super::ledger::Ledger;
use super::payload::{self, MessagePayload};
use super::read::{base_of, look_up};
use super::shared::SharedSpool;
use crate::queue_id::QueueId;

/// The number of octets of a record that are read: an envelope of some recipients fits.
const LOOKED_AT: usize = 1024;

/// Looks at a message, as [`super::Spool::glance`] describes.
pub(super) fn glance(shared: &SharedSpool, id: QueueId) -> Option<GlancedEnvelope> {
    let (Slot { place, .. }, Extra { fates, .. }) = look_up(shared, id)?;
    let file = shared.segment_file(place.segment).ok()?;
    let mut octets = [0; LOOKED_AT];
    let length = LOOKED_AT.min((HEAD + place.payload_length) as usize);
    let length = read_full_at(&*file, &mut octets[..length], place.offset.into()).ok()?;
    let head = Head::decode(&octets[..length], shared.spool.seed(place.segment), place.offset)?;
    if head.id != id || head.payload_length != place.payload_length {
        return None;
    }
    let base = base_of(head.kind, &octets[HEAD as usize..length]).ok()?;
    let MessagePayload { meta, envelope, .. } = payload::decode_message(base.payload).ok()?;
    let envelope = payload::decode_envelope(envelope).ok()?;
    let ledger = Ledger::new(id, envelope.recipients.len(), &fates);
    Some(GlancedEnvelope {
        uid: meta.submitter.user(),
        reverse_path: envelope.reverse_path.to_string(),
        original_from: meta.original_from,
        recipients: ledger.unsettled().map(|index| envelope.recipients[index].address.to_string()).collect(),
    })
}
