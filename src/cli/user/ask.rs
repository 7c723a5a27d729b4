//! Asks for a password.
//!
//! Promises: on a terminal nothing of it is shown, and the terminal is left as it was, also after Ctrl-C, which cancels. If
//! standard input is no terminal, the password is its first line.
//!
//! Fails: with a [`Failure`]; then there is no password.

use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::cli::exit::{Exit, Failure};
use crate::secret::{self, Secret};

/// Asks for the new password of `name`, on a terminal twice.
pub(super) fn ask_new_password(name: &str) -> Result<Secret, Failure> {
    let password = ask_password(&format!("New password of {name}: "))?;
    if io::stdin().is_terminal() {
        let again = ask_password("The same again: ")?;
        if again.expose() != password.expose() {
            return Err(Failure::new(Exit::Failed, "the two passwords differ: nothing was changed"));
        }
    }
    Ok(password)
}

/// Asks for a password, with `question` on a terminal.
pub(super) fn ask_password(question: &str) -> Result<Secret, Failure> {
    let stdin = io::stdin();
    let octets = if stdin.is_terminal() { typed(question) } else { first_line(stdin.lock()) };
    let octets = octets.map_err(|error| Failure::new(Exit::IoError, format!("no password: {error}")))?;
    Secret::of_octets(octets)
        .map_err(|bad| Failure::new(Exit::DataErr, format!("this is no password: {bad}")))
}

/// Reads up to the end of the first line.
fn first_line(mut input: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut octets = secret::buffer();
    let mut octet = Zeroizing::new([0]);
    while octets.len() < secret::MOST_READ && input.read(&mut octet[..])? == 1 {
        octets.push(octet[0]);
        if octet[0] == b'\n' {
            break;
        }
    }
    Ok(octets)
}

/// Reads a line from the terminal without showing it.
fn typed(question: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    let stdin = io::stdin();
    let quiet = Quiet::of(&stdin)?;
    write!(io::stderr(), "{question}")?;
    let line = line_of_keys(stdin.lock());
    drop(quiet);
    writeln!(io::stderr())?;
    line
}

/// A terminal that shows nothing and hands over each key, until this is dropped.
struct Quiet<'a, T: AsFd>(&'a T, Termios);

impl<'a, T: AsFd> Quiet<'a, T> {
    fn of(terminal: &'a T) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Quiet(terminal, before))
    }
}

impl<T: AsFd> Drop for Quiet<'_, T> {
    fn drop(&mut self) {
        // There is nobody to tell that a terminal has gone.
        let _ = tcsetattr(self.0, OptionalActions::Flush, &self.1);
    }
}

/// Reads keys up to Enter: Backspace takes the last character back, Ctrl-U all of them, and Ctrl-C and Ctrl-D cancel.
fn line_of_keys(mut keys: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = secret::buffer();
    let mut key = Zeroizing::new([0]);
    while line.len() < secret::MOST_READ {
        if keys.read(&mut key[..])? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match key[0] {
            b'\r' | b'\n' => break,
            0x03 | 0x04 => return Err(io::Error::new(io::ErrorKind::Interrupted, "cancelled")),
            0x15 => line.clear(),
            0x08 | 0x7f => {
                // A character of UTF-8 ends at the octet that does not continue another one.
                while line.pop().is_some_and(|octet| octet & 0xc0 == 0x80) {}
            }
            other => line.push(other),
        }
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_edited_as_a_terminal_does_it() {
        for (keys, expected) in [
            (&b"secret\n"[..], Some(&b"secret"[..])),
            (b"secrx\x7fet\rmore", Some(b"secret")),
            (b"\x7fp\xc3\xa4\x08\xc3\xa4ss\n", Some(b"p\xc3\xa4ss")),
            (b"wrong\x15secret\n", Some(b"secret")),
            (b"\n", Some(b"")),
            (b"sec\x03ret\n", None),
            (b"sec\x04", None),
            (b"secret", None),
        ] {
            assert_eq!(line_of_keys(keys).ok().map(|line| line.to_vec()).as_deref(), expected, "{keys:?}");
        }
    }

    #[test]
    fn the_first_line_is_the_password() {
        for (input, expected) in [("secret\nsecond\n", "secret\n"), ("secret", "secret"), ("", "")] {
            assert_eq!(first_line(input.as_bytes()).unwrap().to_vec(), expected.as_bytes());
        }
        assert_eq!(first_line(&[b'x'; 1 << 20][..]).unwrap().len(), secret::MOST_READ);
    }
}
