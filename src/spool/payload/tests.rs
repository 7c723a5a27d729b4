use proptest::prelude::*;

use super::*;
use crate::envelope::{Address, Body, Notify, Recipient, Ret, ReversePath};
use crate::spool::change::{Carried, IndexChange};
use crate::spool::format::RecordKind;
use crate::spool::marks;

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn envelope() -> Envelope {
    let mut envelope = Envelope::from(ReversePath::Mailbox(address("ann@example.org")));
    let on = |success, failure, delay| Notify::On { success, failure, delay };
    for notify in [Notify::Unstated, Notify::Never, on(true, false, false), on(false, true, true)] {
        let recipient = Recipient { notify, ..Recipient::plain(address("bob@example.net")) };
        envelope.recipients.push(recipient);
    }
    envelope.recipients.push(Recipient {
        original: Some(address("root")),
        orcpt: Some("rfc822;ro+2Bot".into()),
        ..Recipient::plain(address("пример@пример.рф"))
    });
    envelope
}

fn meta() -> Meta {
    Meta {
        arrived: Timestamp::new(1_800_000_000, 123_456_789).unwrap(),
        submitter: Submitter::Uid(1000),
        lane: u64::MAX - 1,
        patience_mark: 77,
        effect: DsnEffect::Nothing,
        large: None,
        on_hold: None,
        original_from: None,
    }
}

fn round_trip(meta: &Meta, envelope: &Envelope, content: &[u8]) {
    let mut payload = encode_message(meta, envelope);
    payload.extend_from_slice(content);
    let message = decode_message(&payload).unwrap();
    assert_eq!((&message.meta, message.content), (meta, content));
    assert_eq!(decode_envelope(message.envelope).as_ref(), Ok(envelope));
}

#[test]
fn every_shape_of_message_comes_back_the_same() {
    round_trip(&meta(), &envelope(), b"Subject: x\r\n\r\nbody\r\n");
    let of = QueueId::from_raw(9);
    let effects = [DsnEffect::Closes { of, recipients: vec![0, 3, u32::MAX] }, DsnEffect::Warns { of }];
    for effect in effects {
        round_trip(&Meta { effect, submitter: Submitter::Ourselves, ..meta() }, &envelope(), b"");
    }
    let large = Some(Large { length: 1 << 40, sum: 0xDEAD_BEEF });
    round_trip(&Meta { large, submitter: Submitter::Loopback, ..meta() }, &envelope(), b"");
    for why in ["", "hold rule 3"] {
        let on_hold = Some(HeldFromFirst { by: MailHolder::rule(3), words: why.to_owned() });
        let effect = DsnEffect::Warns { of };
        let original_from = Some("cron@web1.example.com".to_owned());
        round_trip(&Meta { on_hold, large, effect, original_from, ..meta() }, &envelope(), b"");
    }
    for uid in [0, 33, u32::MAX - 1] {
        round_trip(&Meta { submitter: Submitter::LoopbackUid(uid), ..meta() }, &envelope(), b"");
    }
    let early = Timestamp::new(-5, -7).unwrap();
    round_trip(&Meta { arrived: early, ..meta() }, &envelope(), b"x");
}

/// The number of the user was not stored for loopback: what is there from before means that it is not known.
#[test]
fn a_loopback_client_of_an_older_version_has_no_user() {
    let mut payload = encode_message(&Meta { submitter: Submitter::Loopback, ..meta() }, &envelope());
    let submitter = 13..18;
    assert_eq!(payload[submitter.clone()], [1, 0, 0, 0, 0]);
    payload[submitter].copy_from_slice(&[1, 34, 0, 0, 0]);
    assert_eq!(decode_message(&payload).unwrap().meta.submitter, Submitter::LoopbackUid(33));
}

#[test]
fn every_shape_of_envelope_comes_back_the_same() {
    for (ret, envid) in [(None, None), (Some(Ret::Full), Some("QQ+20x".into())), (Some(Ret::Headers), None)] {
        for (body, smtputf8) in [(Body::SevenBit, true), (Body::EightBitMime, false)] {
            let envelope = Envelope { ret, envid: envid.clone(), body, smtputf8, ..envelope() };
            round_trip(&meta(), &envelope, b"");
            round_trip(&meta(), &Envelope { reverse_path: ReversePath::Null, ..envelope }, b"");
        }
    }
}

#[test]
fn what_the_cleaner_carries_forward_comes_back_the_same() {
    let note = Some(&b"a note"[..]);
    let by = encode_hold(&MailHolder::user(HolderKind::Operator, 0, Some("root")));
    for (note, state) in [(None, EntryState::Held), (note, EntryState::Dead), (note, EntryState::OnHold)] {
        let hold = (state == EntryState::OnHold).then_some(&*by);
        let fates = vec![(0, Fate::Sent), (7, Fate::Bounced), (8, Fate::Dead)];
        let marks = Marks::from(state).and(Mark::InFlight, true).and(Mark::Deferred, note.is_some());
        let route = note.map(|_| &b"\x06\x03\0one"[..]);
        let moved = MovedPayload { marks, fates, note, hold, route, message: b"as it was" };
        let mut payload = encode_moved(&moved);
        payload.extend_from_slice(moved.message);
        assert_eq!(decode_moved(&payload), Ok(moved));
    }
}

/// The index learns the same of a moved message while the spool runs as the next start reads, for all marks, with a
/// note and without.
#[test]
fn what_is_carried_is_the_same_after_a_restart() {
    for (marks, note) in marks::tests::all().flat_map(|marks| [(marks, None), (marks, Some(&b"a note"[..]))])
    {
        if note.is_some() && !marks.has(Mark::Deferred) {
            continue;
        }
        let large = marks.has(Mark::Large).then_some(Large { length: 1 << 40, sum: 7 });
        let message = encode_message(&Meta { large, ..meta() }, &envelope());
        let carried = Carried { marks, fates: vec![(1, Fate::Sent)], patience_used: 0, uid: Some(1000) };
        let (hold, route) = (None, None);
        let moved =
            MovedPayload { marks, fates: carried.fates.clone(), note, hold, route, message: &message };
        let payload = [encode_moved(&moved), message.clone()].concat();
        let (change, _) = IndexChange::decode(RecordKind::Moved, &payload).unwrap();
        assert_eq!(change, IndexChange::Move(Box::new(carried)));
    }
}

/// The content of a spool of format version 1 reads as it did.
#[test]
fn a_moved_record_of_version_1_is_understood() {
    let octets = b"\x02\x05\x01\0\0\0\x07\0\0\0\x02\x06\x00450 noas it was";
    let moved = decode_moved(octets).unwrap();
    assert_eq!((moved.note, moved.message), (Some(&b"450 no"[..]), &b"as it was"[..]));
    assert_eq!(
        (moved.marks, moved.fates),
        (
            Marks::from(EntryState::Dead).and(Mark::InFlight, true).and(Mark::Deferred, true),
            vec![(7, Fate::Bounced)]
        )
    );
}

/// Who holds a message reads as it was written; a version that did not record it had the state alone.
#[test]
fn who_holds_a_message_comes_back_the_same() {
    let long = "x".repeat(LONGEST_LOGIN);
    for holder in [
        MailHolder::user(HolderKind::Operator, 0, Some("root")),
        MailHolder::user(HolderKind::Submitter, u32::MAX, None),
        MailHolder::user(HolderKind::Submitter, 33, Some(&long)),
        MailHolder::rule(7),
        MailHolder::of(HolderKind::Limit),
        MailHolder::of(HolderKind::Unknown),
    ] {
        assert_eq!(decode_hold(&encode_hold(&holder)), holder);
    }
    assert_eq!(decode_hold(&encode_state(EntryState::OnHold)), MailHolder::of(HolderKind::Unknown));
    assert_eq!(decode_state(&[HELD_BY]), Err(MalformedOctets));
}

/// A message that version 4 had put on hold as it came in.
#[test]
fn a_message_of_version_4_is_held_by_somebody_who_is_not_known() {
    let by = MailHolder::of(HolderKind::Unknown);
    let meta = Meta { on_hold: Some(HeldFromFirst { by, words: "hold rule 3".into() }), ..meta() };
    let mut octets = encode_message(&meta, &envelope());
    // Without the flag for the holder and without the holder, which stands before the length of the envelope.
    octets[0] &= !16;
    let at = octets.windows(11).position(|octets| octets == b"hold rule 3").unwrap() + 11;
    octets.drain(at..at + 7);
    assert_eq!(decode_message(&octets).unwrap().meta, meta);
}

/// A record that was moved before the last flag was written tells by the one before it that the relay may have a copy.
#[test]
fn a_moved_record_without_the_flag_for_earlier_copies_is_understood() {
    let marks = |flags| decode_moved(&[0, flags, 0, 0, 0, 0]).unwrap().marks;
    let told = Marks::default().and(Mark::InFlight, true).and(Mark::Told, true);
    assert_eq!(marks(0x21), told.and(Mark::MayHaveArrived, true));
    assert_eq!(marks(0x40), Marks::default().and(Mark::MayHaveArrived, true));
    assert_eq!(marks(0x01), Marks::default().and(Mark::InFlight, true));
}

/// Layout as documented: a change here makes spools unreadable.
#[test]
fn small_payloads_have_the_documented_octets() {
    assert_eq!(
        encode_fates(&[(3, Fate::Sent), (4, Fate::Bounced)]),
        b"\x02\0\0\0\x03\0\0\0\x01\x04\0\0\0\x02"
    );
    for (octet, state) in (0..).zip(marks::tests::STATES) {
        assert_eq!((encode_state(state), decode_state(&[octet])), ([octet], Ok((state, false))));
    }
    assert_eq!(decode_state(&[REOPENED]), Ok((EntryState::Held, true)));
    let by_root = encode_hold(&MailHolder::user(HolderKind::Operator, 0, Some("root")));
    assert_eq!(by_root, b"\x05\x01\0\0\0\0\x04\0root");
    assert_eq!(decode_state(&by_root), Ok((EntryState::OnHold, false)));
    assert_eq!(encode_route("one"), b"\x06\x03\0one");
    assert_eq!(decode_route(b"\x06\0\0"), Some(String::new()));
    assert_eq!((decode_route(&by_root), decode_route(b"\x06\x09\0one")), (None, None));
    let mut envelope = Envelope::from(ReversePath::Mailbox(address("a")));
    envelope.recipients.push(Recipient::plain(address("b@c")));
    let octets = encode_message(&Meta { arrived: Timestamp::new(1, 2).unwrap(), ..meta() }, &envelope);
    let expected = b"\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\xe8\x03\0\0\xfe\xff\xff\xff\xff\xff\xff\xff\x4d\0\0\0\
        \x0e\0\0\0\0\x01\0a\x01\0\0\0\0\x03\0b@c";
    assert_eq!(octets, expected);
}

#[test]
fn nonsense_is_malformed() {
    for bad in [&b""[..], &[5], &[0, 0]] {
        assert_eq!(decode_state(bad), Err(MalformedOctets), "{bad:?}");
    }
    for bad in [&b"\x01\0\0\0"[..], b"\xff\xff\xff\xff", b"\x01\0\0\0\0\0\0\0\x04", b"\0\0\0\0\0"] {
        assert_eq!(decode_fates(bad), Err(MalformedOctets), "{bad:?}");
    }
    let mut payload = encode_message(&meta(), &envelope());
    payload[0] = 6;
    assert!(decode_message(&payload).is_err(), "closes and warns at once");
}

#[test]
fn a_huge_count_allocates_nothing() {
    let mut octets = Vec::new();
    encode_envelope(&mut octets, &Envelope::from(ReversePath::Null));
    let count = octets.len() - 4;
    octets[count..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(decode_envelope(&octets), Err(MalformedOctets));
}

proptest! {
    /// Octets from nowhere give an error or a value, never a panic.
    #[test]
    fn anything_can_be_decoded(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_message(&octets).map(|message| decode_envelope(message.envelope).is_ok());
        let _ = decode_moved(&octets);
        let _ = decode_fates(&octets);
        let _ = decode_envelope(&octets);
    }

    /// A cut payload never passes for a whole envelope.
    #[test]
    fn a_cut_envelope_is_malformed(cut in 0usize..1000) {
        let mut octets = Vec::new();
        encode_envelope(&mut octets, &envelope());
        prop_assert!(decode_envelope(&octets[..cut % octets.len()]).is_err());
    }
}
