//! `sendmail`, `mailq` and `newaliases`, which cron, PHP and monitoring programs call.
//!
//! Promises: exit code 0 of a submission means that the message is durably queued. Every other code means that nothing was
//! queued, except for a 74 that says `possible duplicate`. Neither a privilege nor a set-id bit is needed: an ordinary user
//! who can use one of the ways (`ways.rs`) can send mail.
//!
//! ```text
//!  arguments ─▶ message ◀─ input           ways: socket, TCP, drop directory
//!                │  ├ recipients (-t)        │
//!                │  └ known                  │
//!             content ──▶ submit ◀───────────┘
//!                └ overflow └ client, or spool/drop
//! ```
//! Not here: changes to a message (`message/`), which the daemon makes.

mod arguments;
mod client;
mod connection;
mod content;
mod input;
mod known;
mod message;
mod overflow;
mod recipients;
mod sender;
mod session;
mod submit;
#[cfg(test)]
mod testing;
mod ways;

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};

use super::exit::{Exit, Failure};
use super::mailq;
use super::output::printed;
use crate::config;
use crate::envelope::{Address, Envelope, Recipient, ReversePath};
use crate::queue_id::QueueId;
use crate::smtp::reply::Reply;
use arguments::{Invocation, Mode};
use connection::AnswerLimits;
use content::RewindableContent;
use input::{Input, InputEnd};
use known::refuse_unknown;
use message::{InputMessage, MessageOptions};
use overflow::Overflow;
use ways::Ways;

pub use arguments::Program;
pub(super) use sender::login;

/// Returns which of these programs `command_line` calls, by its own name or as `nullmta sendmail`, and the arguments;
/// `None` if it calls another program.
pub fn called(command_line: &[OsString]) -> Option<(Program, &[OsString])> {
    let (name, arguments) = command_line.split_first()?;
    let base_name = Path::new(name).file_name()?.to_str()?;
    if let Some(program) = Program::by_name(base_name) {
        return Some((program, arguments));
    }
    let (name, arguments) = arguments.split_first()?;
    Program::by_name(name.to_str()?).map(|program| (program, arguments))
}

/// Runs `program` and returns its exit code. The reason for a failure is printed on standard error.
pub fn main(program: Program, arguments: &[OsString]) -> ExitCode {
    survive_file_size_limit();
    match arguments::parse(program, arguments).and_then(|invocation| run(&invocation)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}: {failure}", program.name());
            failure.exit().into()
        }
    }
}

/// Makes a write beyond `ulimit -f` return an error, in this thread and those that it starts. Otherwise the signal would
/// kill the process without a message, and leave its file in the drop directory.
fn survive_file_size_limit() {
    // This cannot fail: SIGXFSZ is a valid signal that may be blocked.
    let _ = SigSet::from(Signal::SIGXFSZ).thread_block();
}

fn run(invocation: &Invocation) -> Result<(), Failure> {
    let mut output = io::stdout();
    match invocation.mode {
        Mode::Nothing => return Ok(()),
        Mode::Help => return printed(output.write_all(arguments::help().as_bytes())),
        Mode::Version => return printed(writeln!(output, "nullmta {}", env!("CARGO_PKG_VERSION"))),
        _ => {}
    }
    let ways = Ways::find(invocation.config.as_deref())?;
    if let Some(warning) = &ways.warning {
        eprintln!("sendmail: warning: {warning}");
    }
    let mut silent = io::sink();
    let transcript: &mut dyn Write = if invocation.verbose { &mut output } else { &mut silent };
    match invocation.mode {
        Mode::ListQueue => mailq::list(&ways.control, &mut output),
        Mode::Session => session::hold(&ways, AnswerLimits::USUAL, io::stdin(), &mut output),
        Mode::Flush => submit::flush(&ways, AnswerLimits::USUAL, transcript),
        Mode::Verify => {
            refuse_unknown(&invocation.doubtful, ways.rules.as_deref(), Exit::Usage)?;
            submit::verify(&ways, AnswerLimits::USUAL, &envelope(invocation, Vec::new()), &mut output)
        }
        Mode::Submit => submit(&ways, invocation, transcript),
        Mode::Nothing | Mode::Help | Mode::Version => Ok(()),
    }
}

/// Hands a message to the daemon, by one of the sockets that the configuration at `config` names. Returns its queue id. Unlike
/// `sendmail` it leaves nothing in the drop directory.
pub(super) fn hand_in(config: &Path, envelope: &Envelope, content: Vec<u8>) -> Result<QueueId, Failure> {
    let ways = Ways::find((config != Path::new(config::FILE)).then_some(config))?;
    let (input, overflow) = (Input::new(io::empty(), InputEnd::Eof), Overflow::new(env::temp_dir(), 0));
    let mut content = RewindableContent::new(content, input, overflow);
    let reply = submit::to_running(&ways, AnswerLimits::USUAL, envelope, &mut content)?;
    queue_id_in(&reply).ok_or_else(|| {
        let words = format!(
            "what has taken the message has named no queue id: it is no nullmta, or an older one: {reply}"
        );
        Failure::new(Exit::Unavailable, words)
    })
}

/// Returns the queue id that the reply to the end of data names.
fn queue_id_in(reply: &Reply) -> Option<QueueId> {
    reply.lines().iter().find_map(|line| line.split(' ').find_map(|word| word.parse().ok()))
}

fn submit(ways: &Ways, invocation: &Invocation, transcript: &mut dyn Write) -> Result<(), Failure> {
    let rules = ways.rules.as_deref();
    refuse_unknown(&invocation.doubtful, rules, Exit::Usage)?;
    let author = invocation.reverse_path.as_ref().and_then(ReversePath::mailbox).cloned();
    let from_field = |name: &String| sender::from_field(name, &author.unwrap_or_else(login));
    let wanted = MessageOptions {
        recipients: invocation.recipients_in_header,
        from_field: invocation.full_name.as_ref().map(from_field),
    };
    let input = Input::new(io::stdin().lock(), invocation.input_end);
    let overflow = Overflow::new(env::temp_dir(), ways.max_message_size);
    let InputMessage { named, mut content } = InputMessage::read(input, &wanted, overflow)?;
    refuse_unknown(&named.doubtful, rules, Exit::DataErr)?;
    let envelope = envelope(invocation, named.addresses);
    if envelope.recipients.is_empty() {
        return Err(arguments::usage("no recipients in the message's header; nothing was queued"));
    }
    submit::submit(ways, AnswerLimits::USUAL, &envelope, &mut content, transcript)
}

/// Returns the envelope, with the recipients of the command line and the recipients `named` in the header.
fn envelope(invocation: &Invocation, named: Vec<Address>) -> Envelope {
    let reverse_path = invocation.reverse_path.clone();
    let mut envelope = Envelope::from(reverse_path.unwrap_or_else(|| ReversePath::Mailbox(login())));
    let all = invocation.recipients.iter().cloned().chain(named).collect();
    let recipient = |address| Recipient { notify: invocation.notify, ..Recipient::plain(address) };
    envelope.recipients = recipients::without_duplicates(all).into_iter().map(recipient).collect();
    envelope.body = invocation.body;
    envelope.ret = invocation.ret;
    envelope.envid = invocation.envid.clone();
    envelope.smtputf8 = envelope.needs_smtputf8();
    envelope
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_name_or_the_first_argument_decides() {
        for (line, expected) in [
            ("sendmail -t", Some((Program::Sendmail, 1))),
            ("/usr/sbin/sendmail -t -i", Some((Program::Sendmail, 2))),
            ("/usr/bin/mailq", Some((Program::Mailq, 0))),
            ("newaliases", Some((Program::Newaliases, 0))),
            ("/usr/bin/nullmta sendmail -t", Some((Program::Sendmail, 1))),
            ("nullmta mailq", Some((Program::Mailq, 0))),
            ("nullmta run", None),
            ("nullmta", None),
            ("nullmta run sendmail", None),
        ] {
            let line_words = words(line);
            let found = called(&line_words).map(|(program, arguments)| (program, arguments.len()));
            assert_eq!(found, expected, "{line}");
        }
        assert!(called(&[]).is_none());
    }
}
