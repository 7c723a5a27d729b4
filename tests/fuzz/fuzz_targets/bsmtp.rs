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
use nullmta::smtp::session::{SessionAction, Durable, SessionPolicy, Session};

struct Proof;

impl Durable for Proof {
    fn queue_id(&self) -> String {
        "X".into()
    }
}

static POLICY: LazyLock<Arc<SessionPolicy>> = LazyLock::new(|| Arc::new(SessionPolicy::plain("h", 1 << 20, 100)));

#[derive(Debug, PartialEq)]
struct Taken {
    messages: Vec<(Envelope, Vec<u8>)>,
    was_closed: bool,
}

/// Returns the messages that a session takes from the pieces of a dialogue.
fn take<'o>(pieces: impl Iterator<Item = &'o [u8]>) -> Taken {
    let mut session = Session::<Proof>::new(POLICY.clone());
    let mut taken = Taken { messages: Vec::new(), was_closed: false };
    let (mut input, mut open) = (Vec::new(), None);
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            let (consumed, action) = session.advance(&input);
            input.drain(..consumed);
            match action {
                SessionAction::Open(envelope) => {
                    open = Some((*envelope, Vec::new()));
                    session.opened();
                }
                SessionAction::Content(octets) => open.as_mut().unwrap().1.extend_from_slice(&octets),
                SessionAction::Commit => {
                    taken.messages.extend(open.take());
                    session.committed(&Proof);
                }
                SessionAction::Close(..) => return Taken { was_closed: true, ..taken },
                SessionAction::Wait => break,
                _ => {}
            }
        }
    }
    taken
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
        assert_eq!(take(file.chunks(64)), Taken { messages: vec![(envelope, content)], was_closed: true });
    }
});
