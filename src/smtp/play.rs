//! Plays a whole dialogue to a session that takes every message. `tests/fuzz` calls it; it is built for that and for tests
//! alone.

use std::sync::Arc;

use super::session::{Durable, Session, SessionAction, SessionPolicy};
use crate::envelope::Envelope;

/// The messages of a dialogue, and its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Played {
    /// The messages that the session took.
    pub messages: Vec<(Envelope, Vec<u8>)>,
    /// The code of the reply with which the session closed the connection; `None` if it waits for more.
    pub closed_with: Option<u16>,
}

struct Proof;

impl Durable for Proof {
    fn queue_id(&self) -> String {
        "X".into()
    }
}

/// Plays these pieces of a dialogue to a session.
pub fn play<'o>(policy: Arc<SessionPolicy>, pieces: impl IntoIterator<Item = &'o [u8]>) -> Played {
    let mut session = Session::<Proof>::new(policy);
    let (mut input, mut messages, mut open) = (Vec::new(), Vec::new(), None);
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
                SessionAction::Content(octets) => {
                    open.as_mut().expect("it was opened").1.extend_from_slice(&octets);
                }
                SessionAction::Commit => {
                    messages.extend(open.take());
                    session.committed(&Proof);
                }
                SessionAction::Close(_, reply) => {
                    return Played { messages, closed_with: Some(reply.code()) };
                }
                SessionAction::Wait => break,
                _ => {}
            }
        }
    }
    Played { messages, closed_with: None }
}
