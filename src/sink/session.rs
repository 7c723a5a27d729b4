//! One session of the sink: a backend that stores the messages it gets, unless a fault or a limit strikes.
//!
//! Promises:
//! 1. A message is acknowledged only with [`StoredProof`], which is made after its file is durable.
//! 2. A fault has its effect exactly at its phase: earlier phases are answered as usual, and a command that depends on a
//!    refused one is refused as by a real relay (503 to RCPT after a refused MAIL, 554 to DATA without recipients).
//! 3. A recipient that a fault refused is not in the envelope that is stored.
//!
//! A session that a fault drops is closed without a reply. Replies to pipelined commands before it may be lost, too, as
//! when a relay dies.
//!
//! Not here: the dialogue (`smtp/session/`), the choice of what strikes (`visit.rs`).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::bearer::SinkExchange;
use super::fault::{FaultEffect, SinkPhase};
use super::line::Hangup;
use super::maildir::{Maildir, MaildirDraft};
use super::visit::Visit;
use super::{ReceivedContent, ReceivedMessage, Shared, SinkEvent};
use crate::envelope::{Envelope, Recipient};
use crate::listener::backend::{AuthStep, Backend, BoxStream, ClientAnswer, CoveredStream, Hello};
use crate::smtp::command::Command;
use crate::smtp::reply::{Reply, Severity};
use crate::smtp::session::{Answered, Durable, HostTrouble, MessageRefusal};
use crate::status::Status;

/// Time for which a stalled session is kept open: longer than any client waits.
const STALL: Duration = Duration::from_secs(3600);

/// Proof that a message is stored.
#[derive(Debug)]
pub(super) struct StoredProof {
    id: String,
}

impl Durable for StoredProof {
    fn queue_id(&self) -> String {
        self.id.clone()
    }
}

/// The backend of one session.
pub(super) struct SinkBackend {
    shared: Arc<Shared>,
    visit: Visit,
    line: Hangup,
    exchange: Option<SinkExchange>,
    user: Option<String>,
    transaction: SinkTransaction,
    /// The effect of a fault that replaces the next reply.
    instead: Option<Instead>,
}

enum Instead {
    Answer(ClientAnswer),
    Nothing,
}

/// The effects of faults on the present transaction, which the session core does not know.
#[derive(Debug, Default)]
struct SinkTransaction {
    /// The reverse-path, as the client gave it.
    sender: String,
    mail_refused: bool,
    /// The number of recipients that the core accepted, and the positions of those that faults refused.
    recipients: usize,
    refused: Vec<usize>,
}

/// A message that is being received.
pub(super) struct SinkIntake {
    envelope: Envelope,
    protocol: &'static str,
    begun: bool,
    keep: Keep,
}

enum Keep {
    Memory(Vec<u8>),
    File(MaildirDraft),
}

impl SinkBackend {
    pub(super) fn new(shared: Arc<Shared>, visit: Visit, line: Hangup) -> Self {
        let transaction = SinkTransaction::default();
        SinkBackend { shared, visit, line, exchange: None, user: None, transaction, instead: None }
    }

    /// Returns the effect of the fault or limit that strikes here, if any. If it is a stall, this returns only after it.
    async fn strike(&mut self, phase: SinkPhase, address: Option<&str>) -> Option<FaultEffect> {
        let effect = self.visit.strike(phase, &self.transaction.sender, address)?;
        if effect == FaultEffect::Stall {
            stall().await;
            return Some(FaultEffect::Drop);
        }
        Some(effect)
    }

    /// Returns the answer with which `effect` replaces a positive reply; `None` after ending the connection.
    fn answer_of(&self, effect: FaultEffect, phase: SinkPhase) -> Option<ClientAnswer> {
        let goes_on = effect.goes_on_at(phase);
        // RFC 5321 3.1: a greeting that refuses is all that it says. 421 closes by itself.
        if phase == SinkPhase::Greeting && !goes_on {
            self.line.hang_up();
        }
        match effect {
            FaultEffect::Answer(reply) => Some(ClientAnswer::Reply(reply)),
            FaultEffect::Odd(odd) => {
                let severity = if goes_on { Severity::Positive } else { Severity::Permanent };
                Some(ClientAnswer::Octets(severity, odd.octets().into()))
            }
            FaultEffect::Stall | FaultEffect::Drop | FaultEffect::LoseReply => {
                self.line.hang_up();
                None
            }
        }
    }

    /// Sets what `effect` says as the next answer.
    fn answer_next(&mut self, effect: FaultEffect, phase: SinkPhase) {
        let answer = self.answer_of(effect, phase);
        self.instead = Some(answer.map_or(Instead::Nothing, Instead::Answer));
    }

    /// Lets what strikes at `phase`, for which the backend has a method, have its effect. Returns the refusal if the
    /// command is not done.
    async fn strike_method(&mut self, phase: SinkPhase) -> Result<(), MessageRefusal> {
        let Some(effect) = self.strike(phase, None).await else { return Ok(()) };
        let is_done = effect.goes_on_at(phase) || effect == FaultEffect::LoseReply;
        self.answer_next(effect, phase);
        if is_done { Ok(()) } else { Err(HostTrouble::Failing.into()) }
    }

    /// Returns the envelope without the recipients that faults refused; a refusal if nothing is left of it.
    fn salvage(&self, mut envelope: Envelope) -> Result<Envelope, MessageRefusal> {
        if self.transaction.mail_refused {
            return Err(MessageRefusal::Client(no_mail()));
        }
        let refused = &self.transaction.refused;
        let mut index = 0..;
        envelope.recipients.retain(|_: &Recipient| index.next().is_some_and(|n| !refused.contains(&n)));
        if envelope.recipients.is_empty() {
            let reply = Reply::new(554, Status::permanent(5, 1), "no valid recipients");
            return Err(MessageRefusal::Client(reply));
        }
        Ok(envelope)
    }

    /// Returns the answer to a command that the core has accepted, as faults and limits change it.
    async fn answer_accepted(&mut self, command: &[u8], reply: Reply) -> Option<ClientAnswer> {
        let reply = ClientAnswer::Reply(reply);
        let Some((phase, mailbox)) = phase_of(command) else { return Some(reply) };
        match phase {
            SinkPhase::Mail => {
                let sender = mailbox.clone().unwrap_or_default();
                self.transaction = SinkTransaction { sender, ..SinkTransaction::default() };
            }
            SinkPhase::Rcpt => self.transaction.recipients += 1,
            _ => {}
        }
        if phase == SinkPhase::Rcpt && self.transaction.mail_refused {
            return Some(ClientAnswer::Reply(no_mail()));
        }
        let Some(effect) = self.strike(phase, mailbox.as_deref()).await else { return Some(reply) };
        match phase {
            _ if effect.goes_on_at(phase) => {}
            SinkPhase::Mail => self.transaction.mail_refused = true,
            SinkPhase::Rcpt => self.transaction.refused.push(self.transaction.recipients - 1),
            _ => {}
        }
        self.answer_of(effect, phase)
    }

    /// Returns the refusal `reply` in the words of the relay that the sink plays.
    fn in_its_words(&self, reply: Reply) -> ClientAnswer {
        match self.shared.words.iter().find(|(code, _)| *code == reply.code()) {
            Some((_, words)) => ClientAnswer::Octets(reply.severity(), format!("{words}\r\n").into_bytes()),
            None => ClientAnswer::Reply(reply),
        }
    }

    async fn begin(&self, envelope: Envelope, protocol: &'static str) -> io::Result<SinkIntake> {
        let head = if self.shared.envelope_fields { envelope_fields(&envelope) } else { Vec::new() };
        let keep = match &self.shared.maildir {
            None => Keep::Memory(head),
            Some(maildir) => Keep::File(begin_file(maildir, &head).await?),
        };
        Ok(SinkIntake { envelope, protocol, begun: false, keep })
    }

    /// Makes the message durable and reports it as an event.
    async fn store(&self, intake: SinkIntake) -> io::Result<StoredProof> {
        let SinkIntake { envelope, protocol, keep, .. } = intake;
        let (id, content) = match keep {
            Keep::Memory(octets) => (self.shared.fresh_id(), ReceivedContent::Memory(octets)),
            Keep::File(draft) => (draft.name().to_owned(), ReceivedContent::File(draft.deliver().await?)),
        };
        let user = self.user.clone();
        self.shared.tell(SinkEvent::Received(ReceivedMessage {
            id: id.clone(),
            envelope,
            protocol,
            user,
            content,
        }));
        Ok(StoredProof { id })
    }

    fn trouble(&self, error: &io::Error) -> MessageRefusal {
        self.shared.tell(SinkEvent::Trouble(error.to_string()));
        HostTrouble::Failing.into()
    }

    fn note_auth(&mut self, exchange: Option<SinkExchange>, step: &AuthStep) {
        self.exchange = exchange.filter(|_| matches!(step, AuthStep::Challenge(_)));
        if let AuthStep::Succeeded { user, .. } = step {
            self.user = Some(user.clone());
        }
    }
}

impl Backend for SinkBackend {
    type Proof = StoredProof;
    type Intake = SinkIntake;

    async fn open(&mut self, envelope: Envelope, hello: Hello<'_>) -> Result<SinkIntake, MessageRefusal> {
        let envelope = self.salvage(envelope)?;
        self.strike_method(SinkPhase::Data).await?;
        self.begin(envelope, hello.protocol).await.map_err(|error| self.trouble(&error))
    }

    async fn write(&mut self, intake: &mut SinkIntake, octets: &[u8]) -> Result<(), MessageRefusal> {
        if !std::mem::replace(&mut intake.begun, true) {
            self.strike_method(SinkPhase::Content).await?;
        }
        match &mut intake.keep {
            Keep::Memory(content) => {
                content.extend_from_slice(octets);
                Ok(())
            }
            Keep::File(draft) => draft.write(octets).await.map_err(|error| self.trouble(&error)),
        }
    }

    async fn commit(&mut self, intake: SinkIntake) -> Result<StoredProof, MessageRefusal> {
        self.strike_method(SinkPhase::Dot).await?;
        match self.store(intake).await {
            Ok(stored) => {
                self.visit.note_message();
                Ok(stored)
            }
            Err(error) => {
                self.instead = None;
                Err(self.trouble(&error))
            }
        }
    }

    async fn starttls(&mut self, plain: BoxStream) -> io::Result<CoveredStream> {
        // It offers no mechanism with -PLUS.
        Ok(CoveredStream { stream: self.shared.handshake(plain).await?, can_bind: false })
    }

    async fn auth_start(&mut self, mechanism: &str, initial_response: Option<&[u8]>) -> AuthStep {
        if let Some(effect) = self.strike(SinkPhase::Auth, None).await {
            self.answer_next(effect, SinkPhase::Auth);
            return AuthStep::Failed;
        }
        let (exchange, step) = self.shared.admitted.start(mechanism, initial_response);
        self.note_auth(exchange, &step);
        step
    }

    async fn auth_response(&mut self, response: &[u8]) -> AuthStep {
        let Some(exchange) = self.exchange.take() else { return AuthStep::Failed };
        let (exchange, step) = self.shared.admitted.go_on(exchange, response);
        self.note_auth(exchange, &step);
        step
    }

    async fn answer(&mut self, answered: Answered, command: &[u8], reply: Reply) -> Option<ClientAnswer> {
        match (self.instead.take(), answered) {
            (Some(Instead::Nothing), _) => None,
            (Some(Instead::Answer(instead)), _) => Some(instead),
            (None, Answered::Connection) => match self.strike(SinkPhase::Greeting, None).await {
                Some(effect) => self.answer_of(effect, SinkPhase::Greeting),
                None => Some(ClientAnswer::Reply(reply)),
            },
            (None, Answered::Command) if reply.severity() == Severity::Positive => {
                self.answer_accepted(command, reply).await
            }
            (None, Answered::Command | Answered::Line | Answered::Chunk | Answered::EndOfData) => {
                Some(self.in_its_words(reply))
            }
        }
    }
}

/// Waits for the time of a stall.
pub(super) async fn stall() {
    tokio::time::sleep(STALL).await;
}

fn no_mail() -> Reply {
    Reply::new(503, Status::permanent(5, 1), "need MAIL before RCPT")
}

/// Returns the phase of a command for which a backend has no method, and the mailbox in the command.
fn phase_of(line: &[u8]) -> Option<(SinkPhase, Option<String>)> {
    match Command::parse(line.trim_ascii_end()).ok()? {
        Command::Ehlo(_) | Command::Helo(_) => Some((SinkPhase::Ehlo, None)),
        Command::StartTls => Some((SinkPhase::StartTls, None)),
        Command::Mail { envelope, .. } => Some((SinkPhase::Mail, Some(envelope.reverse_path.to_string()))),
        Command::Rcpt(recipient) => Some((SinkPhase::Rcpt, Some(recipient.address.to_string()))),
        Command::Quit => Some((SinkPhase::Quit, None)),
        _ => None,
    }
}

/// Returns the envelope as header fields, for those who read the file.
fn envelope_fields(envelope: &Envelope) -> Vec<u8> {
    let mut fields = format!("Return-Path: <{}>\r\n", envelope.reverse_path);
    for recipient in &envelope.recipients {
        fields += &format!("X-Envelope-To: <{}>\r\n", recipient.address);
    }
    fields.into_bytes()
}

async fn begin_file(maildir: &Maildir, head: &[u8]) -> io::Result<MaildirDraft> {
    let mut draft = maildir.draft().await?;
    draft.write(head).await?;
    Ok(draft)
}
