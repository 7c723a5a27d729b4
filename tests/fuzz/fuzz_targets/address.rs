//! Any octets as an address, as a list of addresses, and as a field whose addresses are changed in place.
//!
//! Promises: nothing panics; an address is read the same once it is written again; a change of
//! the addresses leaves every octet around them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nullmta::envelope::Address;
use nullmta::message::address::{Mailbox, mailboxes};
use nullmta::message::address_list::addresses_of;

/// Returns the mailboxes of a body that is a list of addresses.
fn all_of(body: &[u8]) -> Option<Vec<Mailbox>> {
    mailboxes(body).collect::<Result<_, _>>().ok()
}

/// Returns the body with every address changed to `other`, and the body without its addresses.
fn change_all(body: &[u8], mailboxes: &[Mailbox], other: &Address) -> (Vec<u8>, Vec<u8>) {
    let (mut changed, mut around, mut done) = (Vec::new(), Vec::new(), 0);
    for mailbox in mailboxes {
        let end = mailbox.domain.as_ref().unwrap_or(&mailbox.local).end;
        let (range, text) = mailbox.edit_to(other);
        assert!(mailbox.local.start >= done && range.start >= mailbox.local.start && range.end <= end);
        changed.extend_from_slice(&body[done..range.start]);
        changed.extend_from_slice(text.as_bytes());
        changed.extend_from_slice(&body[range.end..end]);
        around.extend_from_slice(&body[done..mailbox.local.start]);
        done = end;
    }
    changed.extend_from_slice(&body[done..]);
    around.extend_from_slice(&body[done..]);
    (changed, around)
}

fuzz_target!(|octets: &[u8]| {
    if let Some(address) = std::str::from_utf8(octets).ok().and_then(|text| Address::parse(text).ok()) {
        assert_eq!(Address::parse(address.as_str()), Ok(address.clone()));
        assert!(Address::parse(address.completed_with("example.org").as_str()).is_ok());
    }
    if let Ok(list) = addresses_of(octets) {
        let written: Vec<_> = list.addresses.iter().map(Address::as_str).collect();
        let again = addresses_of(written.join(", ").as_bytes()).map(|again| again.addresses);
        assert_eq!(again, Ok(list.addresses));
    }
    if let Some(found) = all_of(octets) {
        let other = Address::parse("ops@b.example").unwrap();
        let (changed, around) = change_all(octets, &found, &other);
        let again = all_of(&changed).expect("still a list of addresses");
        assert_eq!(again.len(), found.len());
        assert!(again.iter().all(|mailbox| mailbox.address == other));
        assert_eq!(change_all(&changed, &again, &other), (changed.clone(), around));
    }
});
