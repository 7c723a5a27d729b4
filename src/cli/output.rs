//! Standard output of the commands.
//!
//! Promise: a reader that has seen enough, such as `head`, is no failure: the command says nothing of it, and exits as
//! it would have done. Not so for `sink`, whose output is its log: it ends where nobody reads it.

use std::fmt;
use std::io::{self, Write};

use super::exit::{Exit, Failure};

/// The outcome of writing to standard output.
pub(super) fn printed(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::IoError, format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes one line; [`say`] is its short form.
pub(super) fn print_line(line: fmt::Arguments<'_>) -> Result<(), Failure> {
    printed(writeln!(io::stdout(), "{line}"))
}

/// `println!`, which panics where nobody reads, as a [`Result`].
macro_rules! say {
    ($($text:tt)*) => {
        $crate::cli::output::print_line(format_args!($($text)*))
    };
}

pub(super) use say;
