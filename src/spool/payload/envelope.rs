//! The envelope in the payload of a Message record; its octets are described in `payload.rs`.

use super::bounded_count;
use crate::envelope::{Address, Body, Envelope, Notify, Recipient, Ret, ReversePath};
use crate::spool::octets::{MalformedOctets, OctetReader, optional, pack, put_text, put_u32, unpack};

/// Adds an envelope to a payload.
pub(super) fn encode_envelope(out: &mut Vec<u8>, envelope: &Envelope) {
    let mailbox = envelope.reverse_path.mailbox();
    let flags = [
        mailbox.is_none(),
        envelope.smtputf8,
        envelope.body == Body::EightBitMime,
        envelope.ret.is_some(),
        envelope.ret == Some(Ret::Full),
        envelope.envid.is_some(),
    ];
    out.push(pack(flags));
    put_optional(out, mailbox.map(Address::as_str));
    put_optional(out, envelope.envid.as_deref());
    put_u32(out, envelope.recipients.len() as u32);
    envelope.recipients.iter().for_each(|recipient| encode_recipient(out, recipient));
}

/// Takes an envelope apart.
pub fn decode_envelope(octets: &[u8]) -> Result<Envelope, MalformedOctets> {
    let mut reader = OctetReader::new(octets);
    let [null, smtputf8, eight_bit, ret_given, ret_full, has_envid, ..] = unpack(reader.u8()?);
    let reverse_path = match null {
        true => ReversePath::Null,
        false => ReversePath::Mailbox(address(&mut reader)?),
    };
    let ret = ret_given.then_some(if ret_full { Ret::Full } else { Ret::Headers });
    let envid = optional(has_envid, || Ok(reader.text()?.into()))?;
    let body = if eight_bit { Body::EightBitMime } else { Body::SevenBit };
    let count = bounded_count(&mut reader, 3)?;
    let recipients = (0..count).map(|_| decode_recipient(&mut reader)).collect::<Result<_, _>>()?;
    reader.end()?;
    Ok(Envelope { reverse_path, recipients, ret, envid, body, smtputf8 })
}

/// Returns the text of the reverse-path of an envelope; it is empty for `<>`.
pub(super) fn reverse_path_text(octets: &[u8]) -> Result<&str, MalformedOctets> {
    let mut reader = OctetReader::new(octets);
    let [null, ..] = unpack(reader.u8()?);
    if null { Ok("") } else { reader.text() }
}

fn encode_recipient(out: &mut Vec<u8>, recipient: &Recipient) {
    let (stated, success, failure, delay) = match recipient.notify {
        Notify::Unstated => (false, false, false, false),
        Notify::Never => (true, false, false, false),
        Notify::On { success, failure, delay } => (true, success, failure, delay),
    };
    let (original, orcpt) = (recipient.original.as_ref(), recipient.orcpt.as_deref());
    out.push(pack([original.is_some(), orcpt.is_some(), stated, success, failure, delay]));
    put_text(out, recipient.address.as_str());
    put_optional(out, original.map(Address::as_str));
    put_optional(out, orcpt);
}

fn decode_recipient(reader: &mut OctetReader<'_>) -> Result<Recipient, MalformedOctets> {
    let [has_original, has_orcpt, stated, success, failure, delay, ..] = unpack(reader.u8()?);
    let notify = match stated {
        false => Notify::Unstated,
        true if success || failure || delay => Notify::On { success, failure, delay },
        true => Notify::Never,
    };
    let address_ = address(reader)?;
    let original = optional(has_original, || address(reader))?;
    let orcpt = optional(has_orcpt, || Ok(reader.text()?.into()))?;
    Ok(Recipient { address: address_, original, notify, orcpt })
}

fn address(reader: &mut OctetReader<'_>) -> Result<Address, MalformedOctets> {
    Address::parse(reader.text()?).map_err(|_| MalformedOctets)
}

fn put_optional(out: &mut Vec<u8>, text: Option<&str>) {
    if let Some(text) = text {
        put_text(out, text);
    }
}
