//! Standard output of the commands.
//!
//! Promise: if the reader closes the pipe early, as `head` does, this is not a failure: the command prints no error and
//! exits with the same code. The exception is `sink`, whose output is its log: it ends when nobody reads it.

use std::fmt;
use std::io::{self, Write};

use super::exit::{Exit, Failure};

/// Turns the result of writing to standard output into that of the command: a closed pipe is no failure.
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

/// Prints a line as `println!` does, but returns a [`Result`] where `println!` would panic.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::cli::output::print_line(format_args!($($text)*))
    };
}

pub(super) use say;
