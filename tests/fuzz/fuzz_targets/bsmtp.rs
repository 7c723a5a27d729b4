//! Any octets as a dialogue with our session, as one may stand in a file of the drop directory.
//!
//! Promises: nothing panics; how the octets are cut does not matter; each message that a session took,
//! written as BSMTP, is whole, not whole without its last octet, and read back the same.

#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use nullmta::envelope::Envelope;
use nullmta::smtp::bsmtp;
use nullmta::smtp::dot::Stuffer;
use nullmta::smtp::play::{Played, play};
use nullmta::smtp::session::SessionPolicy;

static POLICY: LazyLock<Arc<SessionPolicy>> = LazyLock::new(|| Arc::new(SessionPolicy::plain("h", 1 << 20, 100)));

/// Returns what a session takes from the pieces of a dialogue.
fn take<'o>(pieces: impl Iterator<Item = &'o [u8]>) -> Played {
    play(POLICY.clone(), pieces)
}

fn written(envelope: &Envelope, content: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    bsmtp::begin(envelope, &mut file);
    let mut stuffer = Stuffer::new();
    stuffer.push(content, &mut file);
    stuffer.finish(&mut file);
    bsmtp::end(&mut file);
    file
}

fuzz_target!(|octets: &[u8]| {
    let taken = take(std::iter::once(octets));
    assert_eq!(taken, take(octets.chunks(1)));
    for (envelope, mut content) in taken.messages {
        let file = written(&envelope, &content);
        assert!(bsmtp::is_whole(&file) && !bsmtp::is_whole(&file[..file.len() - 1]));
        // Chunks may end within a line.
        if !content.is_empty() && !content.ends_with(b"\r\n") {
            content.extend_from_slice(b"\r\n");
        }
        let expected = Played { messages: vec![(envelope, content)], closed_with: Some(221) };
        assert_eq!(take(file.chunks(64)), expected);
    }
});
