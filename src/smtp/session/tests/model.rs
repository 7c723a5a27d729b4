//! A model of the transaction, against random commands of a client and random verdicts of the shell.
//!
//! Promises: a command that is refused changes nothing; a message that is refused, whatever by and wherever, leaves what RSET
//! leaves; an envelope has what its own transaction said. The octets may come in any pieces.

use proptest::prelude::*;

use super::*;

/// A step of a client, with the verdict of the shell where it is asked for one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum ModelStep {
    Hello(&'static str),
    Mail,
    /// MAIL with a SIZE over the limit.
    LargeMail,
    Rcpt,
    Data(ShellVerdict),
    Chunk {
        is_last: bool,
        verdict: ShellVerdict,
    },
    Rset,
    /// A line that is answered so, and changes nothing, wherever it stands.
    Line(&'static str, u16),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum ShellVerdict {
    Taken,
    NotOpened,
    FailsWithin,
    TooLarge,
    Refused,
}

/// What a session may know of its transaction.
#[derive(Debug, Default, PartialEq)]
struct TransactionModel {
    has_greeted: bool,
    reverse_path: Option<String>,
    recipients: Vec<String>,
    has_begun_chunks: bool,
}

impl TransactionModel {
    /// Returns the code of the reply to a step, which gives the address `name` if it gives one.
    fn answer(&mut self, step: ModelStep, name: &str) -> u16 {
        let after_rset = TransactionModel { has_greeted: self.has_greeted, ..TransactionModel::default() };
        match step {
            ModelStep::Line(_, code) => return code,
            ModelStep::Rset => *self = after_rset,
            ModelStep::Hello(_) => {
                *self = TransactionModel { has_greeted: true, ..TransactionModel::default() }
            }
            ModelStep::Mail | ModelStep::LargeMail if !self.has_greeted || self.reverse_path.is_some() => {
                return 503;
            }
            ModelStep::LargeMail => return 552,
            ModelStep::Mail => self.reverse_path = Some(name.to_owned()),
            ModelStep::Rcpt if self.reverse_path.is_none() || self.has_begun_chunks => return 503,
            ModelStep::Rcpt => self.recipients.push(name.to_owned()),
            ModelStep::Data(_) if self.has_begun_chunks => return 503,
            ModelStep::Data(_) if self.reverse_path.is_some() && self.recipients.is_empty() => return 554,
            ModelStep::Data(_) if self.reverse_path.is_none() => return 503,
            ModelStep::Data(verdict) | ModelStep::Chunk { verdict, .. } => {
                let code = match (&self.reverse_path, verdict) {
                    (None, _) => 503,
                    (Some(_), _) if self.recipients.is_empty() => 554,
                    (Some(_), ShellVerdict::NotOpened) if !self.has_begun_chunks => 452,
                    (Some(_), ShellVerdict::TooLarge) => 552,
                    (Some(_), ShellVerdict::FailsWithin) => 451,
                    (Some(_), ShellVerdict::Refused)
                        if !matches!(step, ModelStep::Chunk { is_last: false, .. }) =>
                    {
                        550
                    }
                    (Some(_), _) => 250,
                };
                self.has_begun_chunks =
                    code == 250 && matches!(step, ModelStep::Chunk { is_last: false, .. });
                if !self.has_begun_chunks {
                    *self = after_rset;
                }
                return code;
            }
        }
        250
    }
}

/// A session with its shell, which gives one verdict at a time.
struct PlayedSession {
    session: Session<Stored>,
    verdict: ShellVerdict,
    /// The envelope of the last message that was opened.
    opened: Option<(Option<String>, Vec<String>)>,
}

/// The largest content.
const LIMIT: u64 = 1000;

impl PlayedSession {
    fn new() -> Self {
        let policy = SessionPolicy {
            max_errors: u32::MAX,
            max_junk_commands: u32::MAX,
            ..SessionPolicy::plain("h", LIMIT, 100)
        };
        PlayedSession { session: Session::new(Arc::new(policy)), verdict: ShellVerdict::Taken, opened: None }
    }

    /// Sends a text in pieces of so many octets. Returns the codes of the replies.
    fn send(&mut self, text: &str, piece: usize) -> Vec<u16> {
        let (mut input, mut codes) = (Vec::new(), Vec::new());
        for piece in text.as_bytes().chunks(piece) {
            input.extend_from_slice(piece);
            loop {
                let (consumed, action) = self.session.advance(&input);
                input.drain(..consumed);
                if action == SessionAction::Wait {
                    break;
                }
                codes.extend(self.act(action).map(|reply| reply.code()));
            }
        }
        assert!(input.is_empty(), "{text:?}");
        codes
    }

    fn act(&mut self, action: SessionAction) -> Option<Reply> {
        match action {
            SessionAction::Reply(_, reply) => Some(reply),
            SessionAction::Open(envelope) => {
                let text = |address: &crate::envelope::Address| address.to_string();
                let recipients =
                    envelope.recipients.iter().map(|recipient| text(&recipient.address)).collect();
                self.opened = Some((envelope.reverse_path.mailbox().map(text), recipients));
                match self.verdict {
                    ShellVerdict::NotOpened => self.session.not_opened(Host(HostTrouble::NoRoom)),
                    _ => self.session.opened(),
                }
            }
            SessionAction::Content(_) => {
                if self.verdict == ShellVerdict::FailsWithin {
                    self.session.content_failed(Host(HostTrouble::Failing));
                }
                None
            }
            SessionAction::Commit if self.verdict == ShellVerdict::Refused => {
                let rejected = crate::message::unacceptable::Unacceptable::Rejected("no".into());
                Some(self.session.refused(MessageRefusal::Message(rejected)))
            }
            SessionAction::Commit => Some(self.session.committed(&Stored)),
            SessionAction::Skipped | SessionAction::Discard { .. } => None,
            other => panic!("{other:?}"),
        }
    }

    /// Takes a step, which gives the address `name` if it gives one. Returns the code of the reply, the last one for DATA.
    fn step(&mut self, step: ModelStep, name: &str, piece: usize) -> u16 {
        let content = |verdict| {
            if verdict == ShellVerdict::TooLarge { "y".repeat(2 * LIMIT as usize) } else { "MAIL".into() }
        };
        let codes = match step {
            ModelStep::Line(line, _) => self.send(&format!("{line}\r\n"), piece),
            ModelStep::Rset => self.send("RSET\r\n", piece),
            ModelStep::Hello(verb) => self.send(&format!("{verb} c\r\n"), piece),
            ModelStep::Mail => self.send(&format!("MAIL FROM:<{name}>\r\n"), piece),
            ModelStep::LargeMail => self.send(&format!("MAIL FROM:<{name}> SIZE={}\r\n", LIMIT + 1), piece),
            ModelStep::Rcpt => self.send(&format!("RCPT TO:<{name}>\r\n"), piece),
            ModelStep::Data(verdict) => {
                self.verdict = verdict;
                match self.send("DATA\r\n", piece)[..] {
                    [354] => self.send(&format!("{}\r\n.\r\n", content(verdict)), piece),
                    [refused] => vec![refused],
                    ref codes => panic!("{codes:?}"),
                }
            }
            ModelStep::Chunk { is_last, verdict } => {
                self.verdict = verdict;
                let (content, last) = (content(verdict), if is_last { " LAST" } else { "" });
                self.send(&format!("BDAT {}{last}\r\n{content}", content.len()), piece)
            }
        };
        let [code] = codes[..] else { panic!("{step:?}: {codes:?}") };
        code
    }
}

fn step() -> impl Strategy<Value = ModelStep> {
    let verdict = prop_oneof![
        4 => Just(ShellVerdict::Taken),
        1 => Just(ShellVerdict::NotOpened),
        1 => Just(ShellVerdict::FailsWithin),
        1 => Just(ShellVerdict::TooLarge),
        1 => Just(ShellVerdict::Refused),
    ];
    let lines = prop::sample::select(vec![
        ModelStep::Line("NOOP", 250),
        ModelStep::Line("VRFY ann", 252),
        ModelStep::Line("XYZZY", 500),
        ModelStep::Line("MAIL FROM:<a b>", 501),
        ModelStep::Line("MAIL FROM:<a@x> NO=SUCH", 555),
        ModelStep::Line("RCPT TO:<>", 501),
        ModelStep::Line("RCPT TO:<bob@@x>", 501),
        ModelStep::Line("DATA now", 501),
        ModelStep::Line("RSET now", 501),
        ModelStep::Line("EHLO", 501),
        ModelStep::Line("NOOP \0", 500),
    ]);
    prop_oneof![
        1 => prop::sample::select(vec![ModelStep::Hello("EHLO"), ModelStep::Hello("HELO")]),
        4 => Just(ModelStep::Mail),
        1 => Just(ModelStep::LargeMail),
        5 => Just(ModelStep::Rcpt),
        3 => verdict.clone().prop_map(ModelStep::Data),
        4 => (any::<bool>(), verdict).prop_map(|(is_last, verdict)| ModelStep::Chunk { is_last, verdict }),
        1 => Just(ModelStep::Rset),
        2 => lines,
    ]
}

proptest! {
    #[test]
    fn every_refusal_leaves_what_the_model_has(
        steps in prop::collection::vec(step(), 1..40),
        piece in prop_oneof![Just(1_usize), Just(7), Just(10_000)],
    ) {
        let (mut played, mut model) = (PlayedSession::new(), TransactionModel::default());
        played.step(ModelStep::Hello("EHLO"), "", piece);
        model.answer(ModelStep::Hello("EHLO"), "");
        for (number, step) in steps.into_iter().enumerate() {
            let name = format!("a{number}@x");
            let envelope = (model.reverse_path.clone(), model.recipients.clone());
            let (expected, before) = (model.answer(step, &name), played.opened.take());
            prop_assert_eq!(played.step(step, &name, piece), expected, "{} {:?} {:?}", number, step, before);
            if let Some(opened) = &played.opened {
                prop_assert_eq!(opened, &envelope, "{} {:?}", number, step);
            }
            prop_assert_eq!(played.session.is_idle(), model.reverse_path.is_none(), "{} {:?}", number, step);
        }
    }
}
