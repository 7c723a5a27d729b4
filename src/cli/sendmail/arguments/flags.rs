//! The flags of `sendmail` in one table, which the parser and the help use.

/// The value that a flag takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    /// The rest of the argument, or the next argument if the rest is empty.
    Value,
    /// The rest of the argument, which may be empty.
    Glued,
    /// A number, which is the rest of the argument or the next argument; the number may be missing.
    Number,
}

/// The effect of a flag.
#[derive(Clone, Copy)]
pub(super) enum FlagEffect {
    Ignored,
    Mode,
    Body,
    Config,
    FullName,
    ReversePath,
    /// A hop count, which is ignored; without a number, a request for help.
    Hops,
    /// A request to rebuild the aliases, as by `newaliases`.
    Aliases,
    Dots,
    Notify,
    /// An option with a long name; only those that begin with `i` have a meaning here.
    Option,
    Queue,
    Ret,
    Recipients,
    Envid,
    Verbose,
}

/// All flags: letter, value, meaning, and the text for the help, which omits those without a text.
pub(super) const FLAGS: [(char, Takes, FlagEffect, &str); 31] = [
    (
        'b',
        Takes::Value,
        FlagEffect::Mode,
        "-bm submit (default), -bs SMTP on standard input, -bv verify, -bp list the queue",
    ),
    ('B', Takes::Value, FlagEffect::Body, "7BIT or 8BITMIME: the kind of the message's body"),
    ('C', Takes::Value, FlagEffect::Config, "FILE: the configuration (default /etc/nullmta.toml)"),
    (
        'f',
        Takes::Value,
        FlagEffect::ReversePath,
        "ADDRESS: where failures are reported to; '' or '<>' for nowhere",
    ),
    ('F', Takes::Value, FlagEffect::FullName, "NAME: the full name, where the message has no From"),
    ('i', Takes::Nothing, FlagEffect::Dots, "a line of one dot does not end the message; also -oi"),
    ('N', Takes::Value, FlagEffect::Notify, "never, or some of success,failure,delay: when to report"),
    ('q', Takes::Glued, FlagEffect::Queue, "try the queue now"),
    ('r', Takes::Value, FlagEffect::ReversePath, "the same as -f"),
    ('R', Takes::Value, FlagEffect::Ret, "full or hdrs: how much of the message reports return"),
    ('t', Takes::Nothing, FlagEffect::Recipients, "take recipients from To, Cc and Bcc, too"),
    ('v', Takes::Nothing, FlagEffect::Verbose, "show the SMTP session"),
    ('V', Takes::Value, FlagEffect::Envid, "ID: the envelope's name in reports"),
    ('h', Takes::Number, FlagEffect::Hops, "this help; with a number, ignored"),
    ('I', Takes::Nothing, FlagEffect::Aliases, ""),
    ('o', Takes::Value, FlagEffect::Option, ""),
    ('A', Takes::Value, FlagEffect::Ignored, ""),
    ('c', Takes::Nothing, FlagEffect::Ignored, ""),
    ('d', Takes::Glued, FlagEffect::Ignored, ""),
    ('D', Takes::Value, FlagEffect::Ignored, ""),
    ('e', Takes::Value, FlagEffect::Ignored, ""),
    ('G', Takes::Nothing, FlagEffect::Ignored, ""),
    ('L', Takes::Value, FlagEffect::Ignored, ""),
    ('m', Takes::Nothing, FlagEffect::Ignored, ""),
    ('M', Takes::Value, FlagEffect::Ignored, ""),
    ('n', Takes::Nothing, FlagEffect::Ignored, ""),
    ('O', Takes::Value, FlagEffect::Ignored, ""),
    ('p', Takes::Value, FlagEffect::Ignored, ""),
    ('U', Takes::Nothing, FlagEffect::Ignored, ""),
    ('X', Takes::Value, FlagEffect::Ignored, ""),
    ('x', Takes::Nothing, FlagEffect::Ignored, ""),
];

/// Returns the text of `--help`.
pub(in crate::cli::sendmail) fn help() -> String {
    let mut text = String::from(
        "Usage: sendmail [OPTION]... [--] [RECIPIENT]...\n\
         Submits the message on standard input to nullmta. Exits with 0 only when it is durably queued.\n\n",
    );
    for (letter, _, _, explanation) in FLAGS.iter().filter(|(.., explanation)| !explanation.is_empty()) {
        text += &format!("  -{letter}  {explanation}\n");
    }
    let ignored = FLAGS.iter().filter(|(.., meaning, _)| matches!(meaning, FlagEffect::Ignored));
    let letters: Vec<String> = ignored.map(|(letter, ..)| format!("-{letter}")).collect();
    text += &format!("\nIgnored, for the sake of callers: {} -o…\n", letters.join(" "));
    text + "Exit codes: 64 usage, 65 malformed message or address, 67 recipient refused, 69 refused,\n\
            74 input cannot be read, or the daemon is gone behind the end of the message (it says so),\n\
            75 not now: nothing was queued, 78 configuration.\n"
}
