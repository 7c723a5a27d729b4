//! Parses the command line of `sendmail`, `mailq` and `newaliases`.
//!
//! Promises:
//! 1. A value may be a separate argument or follow its flag directly (`-fann`), and flags may be combined (`-ti`). Options
//!    end at `--` or at the first recipient. `-q` never takes the next argument.
//! 2. An option that Sendmail or Postfix accept and nullmta has no use for is ignored; an unknown option is refused.
//! 3. An [`Invocation`] is consistent: a message has recipients, a listing has none. No address in it contains NUL or a
//!    line break.
//!
//! Fails with [`Exit::Usage`]; nothing was read or queued.
//!
//! Not here: recipients in the header (`recipients.rs`), the name of the user (`sender.rs`). Error modes (`-oem`,
//! `-oep`, …) are ignored: a failure is reported on standard error and by the exit code, never by mail and never in a
//! dead.letter.

mod flags;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;

use super::input::InputEnd;
use crate::cli::exit::{Exit, Failure};
use crate::envelope::{Address, Body, Notify, Ret, ReversePath};
use crate::message::address_list::ListedAddresses;
use flags::{FLAGS, FlagEffect, Takes};

pub(super) use flags::help;

/// The name by which the program was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `sendmail`, which submits a message.
    Sendmail,
    /// `mailq`, which lists the queue.
    Mailq,
    /// `newaliases`, which does nothing.
    Newaliases,
}

impl Program {
    /// Returns the program with this name.
    pub fn by_name(name: &str) -> Option<Program> {
        match name {
            "sendmail" => Some(Program::Sendmail),
            "mailq" => Some(Program::Mailq),
            "newaliases" => Some(Program::Newaliases),
            _ => None,
        }
    }

    /// Returns the name, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Program::Sendmail => "sendmail",
            Program::Mailq => "mailq",
            Program::Newaliases => "newaliases",
        }
    }

    fn mode(self) -> Mode {
        match self {
            Program::Sendmail => Mode::Submit,
            Program::Mailq => Mode::ListQueue,
            Program::Newaliases => Mode::Nothing,
        }
    }
}

/// The task that the command line names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// `-bm`: take a message from standard input.
    Submit,
    /// `-bs`: speak SMTP on standard input and output.
    Session,
    /// `-bv`: print what would be done.
    Verify,
    /// `-bp`: list the queue.
    ListQueue,
    /// `-q`: try the queue now.
    Flush,
    /// `-bi`, `-bh`, `-q15m`: tasks of other mail programs that nullmta does not have.
    Nothing,
    /// `--help`: show the usage.
    Help,
    /// `--version`: show the version.
    Version,
}

/// A parsed command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invocation {
    pub(super) mode: Mode,
    /// `-C`: the configuration file.
    pub(super) config: Option<PathBuf>,
    /// The end of the message, which `-i` changes.
    pub(super) input_end: InputEnd,
    /// `-t`: true if the header names the recipients.
    pub(super) recipients_in_header: bool,
    /// `-f` or `-r`: the reverse-path.
    pub(super) reverse_path: Option<ReversePath>,
    /// `-F`: the full name of the sender.
    pub(super) full_name: Option<String>,
    /// The recipients on the command line, in their order.
    pub(super) recipients: Vec<Address>,
    /// Those of `recipients` that may be a part of a name (`known.rs`).
    pub(super) doubtful: Vec<Address>,
    /// `-B`: the type of the body (RFC 6152).
    pub(super) body: Body,
    /// `-N`: the outcomes of which the sender asks to hear (RFC 3461 4.1).
    pub(super) notify: Notify,
    /// `-R`: the part of the message that a bounce returns (RFC 3461 4.3).
    pub(super) ret: Option<Ret>,
    /// `-V`: the ENVID, in xtext (RFC 3461 4.4).
    pub(super) envid: Option<Box<str>>,
    /// `-v`.
    pub(super) verbose: bool,
}

/// Parses the arguments of `program`.
pub(super) fn parse(program: Program, arguments: &[OsString]) -> Result<Invocation, Failure> {
    // Octets that are not UTF-8 make an address invalid; in a full name they do no harm.
    let words: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let mut reader = ArgumentReader::of(program);
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word.strip_prefix('-') {
            Some("-") => {
                reader.recipients(words)?;
                break;
            }
            Some("-help") => reader.invocation.mode = Mode::Help,
            Some("-version") => reader.invocation.mode = Mode::Version,
            Some(long) if long.starts_with('-') => return Err(usage(format!("unknown option {word}"))),
            Some(letters) if !letters.is_empty() => reader.flags(letters, &mut words)?,
            _ => {
                reader.recipients(
                    std::iter::once(word).chain(words.map(no_option).collect::<Result<Vec<_>, _>>()?),
                )?;
                break;
            }
        }
    }
    reader.finish()
}

/// Returns `word`, which follows a recipient; fails if it looks like an option, since options end at the first recipient.
fn no_option(word: &str) -> Result<&str, Failure> {
    if word.len() > 1 && word.starts_with('-') {
        return Err(usage(format!("option {word} stands behind a recipient; options go first")));
    }
    Ok(word)
}

pub(super) fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, message.into())
}

/// A command line while it is parsed.
struct ArgumentReader {
    invocation: Invocation,
    flush: bool,
    interval: bool,
}

impl ArgumentReader {
    fn of(program: Program) -> Self {
        let invocation = Invocation {
            mode: program.mode(),
            config: None,
            input_end: InputEnd::Dot,
            recipients_in_header: false,
            reverse_path: None,
            full_name: None,
            recipients: Vec::new(),
            doubtful: Vec::new(),
            body: Body::SevenBit,
            notify: Notify::Unstated,
            ret: None,
            envid: None,
            verbose: false,
        };
        ArgumentReader { invocation, flush: false, interval: false }
    }

    /// Parses one argument of flags, without its hyphen. A value may be the next of `words`.
    fn flags<'a>(
        &mut self,
        mut letters: &'a str,
        words: &mut (impl Iterator<Item = &'a str> + Clone),
    ) -> Result<(), Failure> {
        while let Some(letter) = letters.chars().next() {
            letters = &letters[letter.len_utf8()..];
            let known = FLAGS.iter().find(|(known, ..)| *known == letter);
            let (_, takes, meaning, _) = known.ok_or_else(|| usage(format!("unknown option -{letter}")))?;
            let is_number = |word: &str| !word.is_empty() && word.bytes().all(|octet| octet.is_ascii_digit());
            let value = match takes {
                Takes::Nothing => "",
                Takes::Value if letters.is_empty() => {
                    words.next().ok_or_else(|| usage(format!("option -{letter} needs a value")))?
                }
                Takes::Number if letters.is_empty() && words.clone().next().is_some_and(is_number) => {
                    words.next().unwrap_or_default()
                }
                Takes::Number if !is_number(letters) => "",
                Takes::Value | Takes::Glued | Takes::Number => std::mem::take(&mut letters),
            };
            self.set(*meaning, value)?;
        }
        Ok(())
    }

    fn set(&mut self, meaning: FlagEffect, value: &str) -> Result<(), Failure> {
        let invocation = &mut self.invocation;
        match meaning {
            FlagEffect::Ignored => {}
            FlagEffect::Mode => invocation.mode = values::mode(value)?,
            FlagEffect::Aliases => invocation.mode = Mode::Nothing,
            FlagEffect::Hops if value.is_empty() => invocation.mode = Mode::Help,
            FlagEffect::Hops => {}
            FlagEffect::Body => invocation.body = values::body(value)?,
            FlagEffect::Config => invocation.config = Some(value.into()),
            FlagEffect::FullName => invocation.full_name = Some(value.into()),
            FlagEffect::ReversePath => invocation.reverse_path = Some(values::reverse_path(value)?),
            FlagEffect::Dots => invocation.input_end = InputEnd::Eof,
            FlagEffect::Option if value.starts_with('i') => invocation.input_end = InputEnd::Eof,
            FlagEffect::Option => {}
            FlagEffect::Notify => invocation.notify = values::notify(value)?,
            FlagEffect::Ret => invocation.ret = Some(values::ret(value)?),
            FlagEffect::Envid => invocation.envid = Some(values::envid(value)?),
            FlagEffect::Recipients => invocation.recipients_in_header = true,
            FlagEffect::Verbose => invocation.verbose = true,
            FlagEffect::Queue if value.starts_with(|c: char| c.is_ascii_digit()) => self.interval = true,
            FlagEffect::Queue => self.flush = true,
        }
        Ok(())
    }

    fn recipients<'a>(&mut self, words: impl IntoIterator<Item = &'a str>) -> Result<(), Failure> {
        for word in words {
            let ListedAddresses { addresses, doubtful } = values::addresses(word)?;
            if addresses.is_empty() {
                return Err(usage(format!("no recipient in {word:?}")));
            }
            self.invocation.recipients.extend(addresses);
            self.invocation.doubtful.extend(doubtful);
        }
        Ok(())
    }

    fn finish(self) -> Result<Invocation, Failure> {
        let ArgumentReader { mut invocation, flush, interval } = self;
        let in_header = invocation.recipients_in_header;
        let has_recipients = in_header || !invocation.recipients.is_empty();
        match invocation.mode {
            Mode::Submit if flush => invocation.mode = Mode::Flush,
            // The interval of a queue runner: the daemon has its own. With recipients a message is still submitted.
            Mode::Submit if interval && !has_recipients => invocation.mode = Mode::Nothing,
            _ => {}
        }
        match invocation.mode {
            Mode::Submit if !has_recipients => {
                Err(usage("no recipients: name them on the command line, or in the header with -t"))
            }
            Mode::Verify if in_header || !has_recipients => {
                Err(usage("-bv takes recipients from the command line"))
            }
            Mode::Session | Mode::ListQueue | Mode::Flush | Mode::Nothing if has_recipients => {
                Err(usage("this mode of operation takes no recipients"))
            }
            _ => Ok(invocation),
        }
    }
}

#[cfg(test)]
mod tests;
