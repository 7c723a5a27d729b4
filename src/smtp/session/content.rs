//! DATA, BDAT and the octets behind them.
//!
//! Promises: content is read to its real end whatever becomes of the message, so that none of it is
//! ever taken for commands. A message that grows over `max_message_size` is given up at once
//! (`Discard`) and refused at its end; one with a chunk refused is over with that chunk.
//! Runs of octets are copied once, not looked at one by one (see `dot.rs`).
//!
//! RFC 5321 4.1.1.4 (DATA), RFC 3030 (BDAT), RFC 1870 (SIZE).

use super::state::{CollectedEnvelope, State};
use super::{Action, Answered, Durable, Refusal, Session, error, ok, say_hello_first};
use crate::message::bare_cr::BareCrs;
use crate::smtp::dot::{Decoder, LineEnd};
use crate::smtp::reply::Reply;

/// The content of one message on its way in.
#[derive(Debug)]
pub(super) struct Transfer {
    decoder: Decoder,
    bare_crs: BareCrs,
    extent: Extent,
    /// Decoded so far.
    octets: u64,
    /// SIZE=, or the first chunk's where that is more.
    pub(super) declared_size: u64,
    pub(super) smtputf8: bool,
}

/// What is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// All up to the end of data.
    Dot,
    /// So many octets of a chunk.
    Chunk { remaining: u64, last: bool },
    /// Nothing of this chunk.
    ChunkRead,
    /// Nothing of this message.
    Whole,
}

impl Transfer {
    fn data(command_end: LineEnd) -> Self {
        Transfer {
            decoder: Decoder::for_data(command_end),
            bare_crs: BareCrs::default(),
            extent: Extent::Dot,
            octets: 0,
            declared_size: 0,
            smtputf8: false,
        }
    }

    fn first_chunk(octets: u64, last: bool) -> Self {
        Transfer {
            decoder: Decoder::for_chunks(),
            bare_crs: BareCrs::default(),
            extent: Extent::Chunk { remaining: octets, last },
            octets: 0,
            declared_size: octets,
            smtputf8: false,
        }
    }

    fn of(self, transaction: &CollectedEnvelope) -> Self {
        let declared_size = self.declared_size.max(transaction.declared_size);
        Transfer { declared_size, smtputf8: transaction.envelope.smtputf8, ..self }
    }

    fn next_chunk(self, octets: u64, last: bool) -> Self {
        Transfer { extent: Extent::Chunk { remaining: octets, last }, ..self }
    }

    /// Takes what belongs to the content from the front of `input`; says how many octets that was.
    fn read(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let taken = match self.extent {
            Extent::Dot => self.read_data(input, out),
            Extent::Chunk { remaining, last } => self.read_chunk(input, remaining, last, out),
            Extent::ChunkRead | Extent::Whole => 0,
        };
        self.bare_crs.push(&input[..taken]);
        self.octets += out.len() as u64;
        taken
    }

    fn read_data(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        out.reserve(input.len());
        let progress = self.decoder.push(input, out);
        if progress.ended {
            self.extent = Extent::Whole;
        }
        progress.octets
    }

    fn read_chunk(&mut self, input: &[u8], remaining: u64, last: bool, out: &mut Vec<u8>) -> usize {
        let wanted = usize::try_from(remaining).unwrap_or(usize::MAX);
        let octets = &input[..input.len().min(wanted)];
        out.reserve(octets.len());
        self.decoder.push(octets, out);
        self.extent = match remaining - octets.len() as u64 {
            0 if last => {
                self.decoder.finish(out);
                Extent::Whole
            }
            0 => Extent::ChunkRead,
            remaining => Extent::Chunk { remaining, last },
        };
        octets.len()
    }

    fn is_read(&self) -> bool {
        matches!(self.extent, Extent::ChunkRead | Extent::Whole)
    }
}

impl<P: Durable> Session<P> {
    pub(super) fn data(&mut self, command_end: LineEnd) -> Action {
        match self.take_transaction() {
            Ok(transaction) => {
                self.state = State::ExpectIntake(Transfer::data(command_end).of(&transaction));
                Action::Open(transaction.envelope)
            }
            Err(refusal) => self.answer(refusal),
        }
    }

    /// `None`: there is nothing to say or do before the chunk is read.
    pub(super) fn bdat(&mut self, octets: u64, last: bool) -> Option<Action> {
        let limit = self.policy.max_message_size;
        if matches!(self.state, State::ExpectChunk(_))
            && let Some(begun) = self.state.take_transfer()
        {
            let fits = begun.octets.saturating_add(octets) <= limit;
            let transfer = begun.next_chunk(octets, last);
            if fits {
                self.state = State::ExpectContent(transfer);
                return None;
            }
            self.state = State::skip(transfer, too_large());
            return Some(Action::Discard { refusal: Some(too_large()) });
        }
        let transfer = Transfer::first_chunk(octets, last);
        match self.take_transaction() {
            Ok(transaction) if octets <= limit => {
                self.state = State::ExpectIntake(transfer.of(&transaction));
                return Some(Action::Open(transaction.envelope));
            }
            Ok(_) => self.state = State::skip(transfer, too_large()),
            Err(reply) => self.state = State::Skip { transfer, answered: Answered::Chunk, reply },
        }
        None
    }

    /// The intake is open. Write the reply if there is one: 354 for DATA; to BDAT nothing is said
    /// until the chunk is in.
    pub fn opened(&mut self) -> Option<Reply> {
        let transfer = self.state.take_transfer()?;
        let is_data = transfer.extent == Extent::Dot;
        self.state = State::ExpectContent(transfer);
        is_data.then(|| Reply::bare(354, "end data with <CR><LF>.<CR><LF>"))
    }

    /// There is no intake. For DATA the reply goes out in place of the 354; for BDAT the octets of
    /// the chunk are read and dropped first, and `advance` gives the reply.
    pub fn not_opened(&mut self, why: Refusal) -> Option<Reply> {
        let transfer = self.state.take_transfer()?;
        if transfer.extent == Extent::Dot {
            self.state = self.between_transactions();
            return Some(self.said(why.reply()));
        }
        self.state = State::skip(transfer, why.reply());
        None
    }

    /// The intake took no more and is void: the rest is read and dropped, then the refusal is said.
    pub fn content_failed(&mut self, why: Refusal) {
        self.refuse_at_end(why.reply());
    }

    /// The message is on stable storage: the 250 that says so.
    pub fn committed(&mut self, proof: &P) -> Reply {
        self.state = self.between_transactions();
        (self.errors, self.junk_commands, self.surplus) = (0, 0, 0);
        ok(0, 0, format!("Ok: queued as {}", proof.queue_id()))
    }

    /// The message was not taken, and nothing of it is kept: the reply that says so.
    pub fn refused(&mut self, why: Refusal) -> Reply {
        self.state = self.between_transactions();
        self.said(why.reply())
    }

    /// Content for the open intake, or what its end leads to.
    pub(super) fn content(&mut self, input: &[u8]) -> (usize, Action) {
        let State::ExpectContent(transfer) = &mut self.state else { return (0, Action::Wait) };
        let mut content = Vec::new();
        let taken = transfer.read(input, &mut content);
        let extent = transfer.extent;
        if transfer.octets > self.policy.max_message_size {
            return (taken, self.give_up(too_large()));
        }
        if let Some(hidden) = transfer.bare_crs.hidden_bcc() {
            return (taken, self.give_up(error(550, 6, 0, hidden.sentence())));
        }
        if !content.is_empty() {
            return (taken, Action::Content(content));
        }
        let action = match extent {
            Extent::Dot | Extent::Chunk { .. } => Action::Wait,
            Extent::ChunkRead => {
                self.pass_on(State::ExpectChunk);
                self.answer_to(Answered::Chunk, ok(0, 0, "chunk taken"))
            }
            Extent::Whole => {
                self.pass_on(State::ExpectCommit);
                Action::Commit
            }
        };
        (taken, action)
    }

    /// Content that nobody wants, or the reply at its end.
    pub(super) fn skip(&mut self, input: &[u8]) -> (usize, Action) {
        let State::Skip { transfer, answered, reply } = &mut self.state else { return (0, Action::Wait) };
        let taken = transfer.read(input, &mut Vec::new());
        if !transfer.is_read() {
            return (taken, if taken == 0 { Action::Wait } else { Action::Skipped });
        }
        let (answered, reply) = (*answered, reply.clone());
        self.state = self.between_transactions();
        (taken, self.answer_to(answered, reply))
    }

    /// Wants nothing more of a message, whose intake is void.
    fn give_up(&mut self, reply: Reply) -> Action {
        self.refuse_at_end(reply.clone());
        Action::Discard { refusal: Some(reply) }
    }

    fn refuse_at_end(&mut self, reply: Reply) {
        self.pass_on(|transfer| State::skip(transfer, reply));
    }

    fn pass_on(&mut self, to: impl FnOnce(Transfer) -> State) {
        if let Some(transfer) = self.state.take_transfer() {
            self.state = to(transfer);
        }
    }

    /// The transaction at hand, if content may follow now.
    fn take_transaction(&mut self) -> Result<CollectedEnvelope, Reply> {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::ExpectRecipient(transaction) if !transaction.envelope.recipients.is_empty() => {
                Ok(transaction)
            }
            before => {
                let refusal = match &before {
                    State::ExpectHello => say_hello_first(),
                    // RFC 5321 3.3.
                    State::ExpectRecipient(_) => error(554, 5, 1, "no valid recipients"),
                    State::ExpectChunk(_) => error(503, 5, 1, "BDAT has begun"),
                    _ => error(503, 5, 1, "need MAIL first"),
                };
                self.state = before;
                Err(refusal)
            }
        }
    }
}

pub(super) fn too_large() -> Reply {
    error(552, 3, 4, "message too large")
}
