//! Any octets from a relay as a reply, in pieces of any size, and what the rules make of it.
//!
//! Promises: nothing panics; a rule makes no mail wait longer than a day for what a reply says, and a second at least; the
//! result does not depend on the pieces; a reply can be logged, sent and put into a DSN: it has a code, lines of bounded number
//! and length without control characters, and is read the same once it is written again.

#![no_main]

use std::time::Duration;

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use nullmta::config::ReplyPhase;
use nullmta::relay::{ReplyConsequence, ReplyRules};
use nullmta::smtp::reply::{BadReply, Reply, ReplyReader};

/// Reads a reply in pieces of this size.
fn read(octets: &[u8], piece: usize) -> Result<Option<(Reply, usize)>, BadReply> {
    let (mut reading, mut taken) = (ReplyReader::default(), 0);
    for piece in octets.chunks(piece) {
        let (octets, reply) = reading.take(piece)?;
        taken += octets;
        if let Some(reply) = reply {
            return Ok(Some((reply, taken)));
        }
        assert_eq!(octets, piece.len(), "what is no whole reply is taken in");
    }
    if let Some(reply) = reading.cut_off() {
        check(&reply);
    }
    Ok(None)
}

fn check(reply: &Reply) {
    assert!((200..600).contains(&reply.code()) && !reply.lines().is_empty() && reply.lines().len() <= 64);
    assert!(reply.lines().iter().all(|line| line.len() <= 1024 && !line.chars().any(char::is_control)));
    assert!(!reply.to_string().contains(['\r', '\n', '\u{2028}', '\u{2029}']));
}

/// Asks the rules of a provider without pauses of its own, and of any relay.
fn explain(reply: &Reply) {
    let now = Timestamp::from_second(1_795_867_200).expect("a day in 2026");
    let rules = ReplyRules::new(&[], "smtp.example.com");
    for phase in [ReplyPhase::Auth, ReplyPhase::Mail, ReplyPhase::Dot] {
        // Its lines may be too many octets for one line.
        let explained = rules.explain(phase, &reply.to_string(), now);
        let Some(ReplyConsequence::Waits(reason)) = explained.map(|explained| explained.becomes) else { continue };
        let day = Duration::from_secs(24 * 60 * 60);
        assert!(reason.pause.is_none_or(|pause| (Duration::from_secs(1)..=day).contains(&pause)), "{reason:?}");
    }
}

fuzz_target!(|octets: &[u8]| {
    let Some((piece, octets)) = octets.split_first() else { return };
    let whole = Reply::parse(octets);
    assert_eq!(whole, read(octets, usize::from(*piece) + 1));
    let Ok(Some((reply, taken))) = whole else { return };
    assert!(taken <= octets.len() && octets[taken - 1] == b'\n');
    check(&reply);
    explain(&reply);
    let mut written = Vec::new();
    reply.encode(&mut written);
    let (again, octets) = Reply::parse(&written).expect("still a reply").expect("still whole");
    assert_eq!(octets, written.len());
    assert_eq!((again.code(), again.lines().len()), (reply.code(), reply.lines().len()));
});
