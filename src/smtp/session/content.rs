//! DATA, BDAT, and the content after them.
//!
//! Promises: content is read to its real end, even if the message is refused, so that none of it is ever taken for
//! commands. A message that becomes larger than `max_message_size` is given up at once (`Discard`) and refused at its
//! end; if a chunk is refused, its message ends with that chunk. Runs of octets are copied once, and not processed one
//! by one (`dot.rs`).
//!
//! RFC 5321 4.1.1.4 (DATA), RFC 3030 (BDAT), RFC 1870 (SIZE).

use super::refusal::{MessageRefusal, too_large};
use super::state::{CollectedEnvelope, SessionState};
use super::{Answered, Durable, Session, SessionAction, error, ok, say_hello_first};
use crate::message::bare_cr::BareCrs;
use crate::smtp::dot::{Decoder, LineEnd};
use crate::smtp::reply::Reply;

/// The transfer of the content of one message.
#[derive(Debug)]
pub(super) struct Transfer {
    decoder: Decoder,
    bare_crs: BareCrs,
    extent: Extent,
    /// The number of octets that were decoded so far.
    octets: u64,
    /// The value of SIZE=, or the size of the first chunk if that is larger.
    pub(super) declared_size: u64,
    pub(super) smtputf8: bool,
}

/// The part of the content that is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// Everything up to the end of data.
    Dot,
    /// The remaining octets of a chunk.
    Chunk { remaining: u64, last: bool },
    /// Nothing of this chunk; another chunk may follow.
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

    /// Reads the part of `input` that belongs to the content, and returns its number of octets.
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
    pub(super) fn data(&mut self, command_end: LineEnd) -> SessionAction {
        match self.take_transaction() {
            Ok(transaction) => {
                self.state = SessionState::ExpectIntake(Transfer::data(command_end).of(&transaction));
                SessionAction::Open(transaction.envelope)
            }
            Err(refusal) => self.answer(refusal),
        }
    }

    /// Processes BDAT. Returns `None` if nothing has to be done before the chunk is read.
    pub(super) fn bdat(&mut self, octets: u64, last: bool) -> Option<SessionAction> {
        let limit = self.policy.max_message_size;
        if matches!(self.state, SessionState::ExpectChunk(_))
            && let Some(begun) = self.state.take_transfer()
        {
            let fits = begun.octets.saturating_add(octets) <= limit;
            let transfer = begun.next_chunk(octets, last);
            if fits {
                self.state = SessionState::ExpectContent(transfer);
                return None;
            }
            self.state = SessionState::skip(transfer, too_large());
            return Some(SessionAction::Discard { refusal: Some(too_large()) });
        }
        let transfer = Transfer::first_chunk(octets, last);
        match self.take_transaction() {
            Ok(transaction) if octets <= limit => {
                self.state = SessionState::ExpectIntake(transfer.of(&transaction));
                return Some(SessionAction::Open(transaction.envelope));
            }
            Ok(_) => self.state = SessionState::skip(transfer, too_large()),
            Err(reply) => self.state = SessionState::Skip { transfer, answered: Answered::Chunk, reply },
        }
        None
    }

    /// Tells the session that the intake is open. Returns the reply to send: 354 for DATA; none for BDAT, which is
    /// answered after the chunk.
    pub fn opened(&mut self) -> Option<Reply> {
        let transfer = self.state.take_transfer()?;
        let is_data = transfer.extent == Extent::Dot;
        self.state = SessionState::ExpectContent(transfer);
        is_data.then(|| Reply::bare(354, "end data with <CR><LF>.<CR><LF>"))
    }

    /// Tells the session that no intake was opened. Returns the reply to send in place of 354 for DATA; none for BDAT,
    /// where the octets of the chunk are first read and dropped, and `advance` returns the reply.
    pub fn not_opened(&mut self, why: MessageRefusal) -> Option<Reply> {
        let transfer = self.state.take_transfer()?;
        if transfer.extent == Extent::Dot {
            self.state = self.between_transactions();
            return Some(self.said(why.reply()));
        }
        self.state = SessionState::skip(transfer, why.reply());
        None
    }

    /// Tells the session that writing to the intake failed. The rest of the content is read and dropped, and then the
    /// refusal is sent.
    pub fn content_failed(&mut self, why: MessageRefusal) {
        self.refuse_at_end(why.reply());
    }

    /// Tells the session that the message is on stable storage. Returns the 250 reply.
    pub fn committed(&mut self, proof: &P) -> Reply {
        self.state = self.between_transactions();
        (self.errors, self.junk_commands, self.surplus) = (0, 0, 0);
        ok(0, 0, format!("Ok: queued as {}", proof.queue_id()))
    }

    /// Tells the session that the message was not accepted, and nothing of it is kept. Returns the reply.
    pub fn refused(&mut self, why: MessageRefusal) -> Reply {
        self.state = self.between_transactions();
        self.said(why.reply())
    }

    /// Processes content for the open intake, or its end.
    pub(super) fn content(&mut self, input: &[u8]) -> (usize, SessionAction) {
        let SessionState::ExpectContent(transfer) = &mut self.state else { return (0, SessionAction::Wait) };
        let mut content = Vec::new();
        let taken = transfer.read(input, &mut content);
        let extent = transfer.extent;
        if transfer.octets > self.policy.max_message_size {
            return (taken, self.give_up(too_large()));
        }
        if let Some(hidden) = transfer.bare_crs.hidden_bcc() {
            return (taken, self.give_up(MessageRefusal::Message(hidden.into()).reply()));
        }
        if !content.is_empty() {
            return (taken, SessionAction::Content(content));
        }
        let action = match extent {
            Extent::Dot | Extent::Chunk { .. } => SessionAction::Wait,
            Extent::ChunkRead => {
                self.pass_on(SessionState::ExpectChunk);
                self.answer_to(Answered::Chunk, ok(0, 0, "chunk taken"))
            }
            Extent::Whole => {
                self.pass_on(SessionState::ExpectCommit);
                SessionAction::Commit
            }
        };
        (taken, action)
    }

    /// Processes content of a refused message, or its end, at which the reply is sent.
    pub(super) fn skip(&mut self, input: &[u8]) -> (usize, SessionAction) {
        let SessionState::Skip { transfer, answered, reply } = &mut self.state else {
            return (0, SessionAction::Wait);
        };
        let taken = transfer.read(input, &mut Vec::new());
        if !transfer.is_read() {
            return (taken, if taken == 0 { SessionAction::Wait } else { SessionAction::Skipped });
        }
        let (answered, reply) = (*answered, reply.clone());
        self.state = self.between_transactions();
        (taken, self.answer_to(answered, reply))
    }

    /// Gives a message up: its intake is discarded, and `reply` follows at its end.
    fn give_up(&mut self, reply: Reply) -> SessionAction {
        self.refuse_at_end(reply.clone());
        SessionAction::Discard { refusal: Some(reply) }
    }

    fn refuse_at_end(&mut self, reply: Reply) {
        self.pass_on(|transfer| SessionState::skip(transfer, reply));
    }

    fn pass_on(&mut self, to: impl FnOnce(Transfer) -> SessionState) {
        if let Some(transfer) = self.state.take_transfer() {
            self.state = to(transfer);
        }
    }

    /// Takes the current transaction, if content may follow now; else returns the reply to the command.
    fn take_transaction(&mut self) -> Result<CollectedEnvelope, Reply> {
        match std::mem::replace(&mut self.state, SessionState::Closed) {
            SessionState::ExpectRecipient(transaction) if !transaction.envelope.recipients.is_empty() => {
                Ok(transaction)
            }
            before => {
                let refusal = match &before {
                    SessionState::ExpectHello => say_hello_first(),
                    // RFC 5321 3.3.
                    SessionState::ExpectRecipient(_) => error(554, 5, 1, "no valid recipients"),
                    SessionState::ExpectChunk(_) => error(503, 5, 1, "BDAT has begun"),
                    _ => error(503, 5, 1, "need MAIL first"),
                };
                self.state = before;
                Err(refusal)
            }
        }
    }
}
