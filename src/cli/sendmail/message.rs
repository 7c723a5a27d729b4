//! Reads the message from standard input, as far as its header section, and prepares it for submission.
//!
//! Promises:
//! 1. The header section is read before anything is sent, so the recipients that it names are known.
//! 2. No Bcc or Resent-Bcc field leaves this process, however broken the header section is (`message/mend.rs`). A From
//!    field is added if the caller asks for it and the header has none. Everything else is sent as it came, normalised.
//! 3. Memory is bounded: about [`HELD_OCTETS`] of a message are held in memory; the rest is read while it is sent.
//!
//! Fails if the header section is too large or hides a Bcc (65), or if the input cannot be read (74).
//!
//! Not here: how the rest is kept (`content.rs`); other fields that a message may lack, which the daemon adds
//! (`message/`).

use std::io::{self, Read};

use super::content::RewindableContent;
use super::input::Input;
use super::overflow::Overflow;
use super::recipients;
use crate::cli::exit::{Exit, Failure};
use crate::message::address_list::ListedAddresses;
use crate::message::header::{MAX_HEADER_OCTETS, Scan, Split};
use crate::message::hidden_bcc::HiddenBcc;
use crate::message::mend::{Mender, makes_a_message};

/// The number of octets of a message that are held in memory: the header section, and the whole body of most messages.
const HELD_OCTETS: usize = MAX_HEADER_OCTETS + 128 * 1024;

/// A message whose header section was read.
pub(super) struct InputMessage<R> {
    /// The recipients that the header names; empty without `-t`.
    pub(super) named: ListedAddresses,
    /// The content to send, which can be read again if a further way is tried.
    pub(super) content: RewindableContent<R>,
}

/// The options of the command line that are about the header section.
#[derive(Debug, Default)]
pub(super) struct MessageOptions {
    /// True if its recipients are wanted (`-t`).
    pub(super) recipients: bool,
    /// The field, with its line end, to add if there is no From field (`-F`).
    pub(super) from_field: Option<String>,
}

impl<R: Read> InputMessage<R> {
    /// Reads the header section, and as much of the body as is held in memory. The rest is kept in `overflow` when it is
    /// read.
    pub(super) fn read(
        mut input: Input<R>,
        wanted: &MessageOptions,
        overflow: Overflow,
    ) -> Result<Self, Failure> {
        let (mut octets, mut has_rest, mut scan) = (Vec::new(), true, Scan::default());
        let (mut mender, mut raw) = (Mender::default(), Vec::new());
        while has_rest && octets.len() < HELD_OCTETS {
            has_rest = input.read(&mut raw).map_err(|error| unreadable(&error))?;
            // The mender would see spaces in place of the bare CRs, so this is checked first.
            input.hidden_bcc().map_or(Ok(()), |hidden| Err(refused(hidden)))?;
            mender.push(&raw, &mut octets).map_err(refused)?;
            raw.clear();
        }
        // The mender still holds octets only if the header section, or the input, has not ended.
        mender.finish(&mut octets).map_err(refused)?;
        let extent = match scan.advance(&octets) {
            Some(extent) => extent,
            None if has_rest => return Err(header_too_large()),
            None => scan.finish(&octets),
        };
        let split = extent.split(&octets);
        if split.header.octets().len() > MAX_HEADER_OCTETS {
            return Err(header_too_large());
        }
        let named =
            if wanted.recipients { recipients::named_in(split.header)? } else { ListedAddresses::default() };
        let held = fitted(&split, wanted.from_field.as_deref());
        Ok(InputMessage { named, content: RewindableContent::new(held, input, overflow) })
    }
}

/// Returns the failure for a standard input that cannot be read to its end; the message must not be sent.
pub(super) fn unreadable(error: &io::Error) -> Failure {
    Failure::new(Exit::IoError, format!("standard input: {error}; nothing was queued"))
}

fn refused(why: HiddenBcc) -> Failure {
    Failure::new(Exit::DataErr, format!("{why}; nothing was queued"))
}

fn header_too_large() -> Failure {
    Failure::new(Exit::DataErr, "header section too large; nothing was queued")
}

/// Returns `content` without Bcc, and with `from_field` if it has no From field.
fn fitted(content: &Split<'_>, from_field: Option<&str>) -> Vec<u8> {
    let mut out = content.mbox_line.to_vec();
    let is_secret = |name: &str| ["Bcc", "Resent-Bcc"].iter().any(|bcc| name.eq_ignore_ascii_case(bcc));
    let (secret, open): (Vec<_>, Vec<_>) = content.header.fields().partition(|field| is_secret(field.name()));
    open.iter().for_each(|field| out.extend_from_slice(field.octets()));
    let from_field = from_field.filter(|_| content.header.find("From").is_none());
    out.extend_from_slice(from_field.unwrap_or_default().as_bytes());
    let is_headed = from_field.is_some() || !content.header.octets().is_empty();
    let is_message = from_field.is_some() || open.iter().any(|field| makes_a_message(field.name()));
    if !secret.is_empty() && !is_message {
        // Without any field the body could be read as a header section.
        out.extend_from_slice(b"Bcc:\r\n");
    }
    if is_headed && content.blank_line.is_empty() {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(content.blank_line);
    out.extend_from_slice(content.body);
    out
}

#[cfg(test)]
mod tests {
    use super::super::input::InputEnd;
    use super::*;
    use crate::envelope::Address;

    const FROM: &str = "From: Ann <ann>\r\n";

    fn read<'a>(octets: &'a [u8], wanted: &MessageOptions) -> Result<InputMessage<&'a [u8]>, Failure> {
        InputMessage::read(Input::new(octets, InputEnd::Eof), wanted, Overflow::new("/nonexistent".into(), 0))
    }

    fn sent(octets: &str, from_field: Option<&str>) -> String {
        let wanted = MessageOptions { recipients: false, from_field: from_field.map(String::from) };
        String::from_utf8(read(octets.as_bytes(), &wanted).unwrap().content.rest()).unwrap()
    }

    #[test]
    fn bcc_goes_and_nothing_else_changes() {
        for (octets, expected) in [
            ("To: a\n\nbody\n", "To: a\r\n\r\nbody\r\n"),
            ("Bcc: a\nTo: b\nbcc: c,\n d\nSubject: x\n\nBcc: e\n", "To: b\r\nSubject: x\r\n\r\nBcc: e\r\n"),
            ("Resent-Bcc: a\nResent-To: b\n\n", "Resent-To: b\r\n\r\n"),
            ("X-Bcc: a\n\n", "X-Bcc: a\r\n\r\n"),
            ("Bcc: a\n\nFrom: looks@like a header\n", "Bcc:\r\n\r\nFrom: looks@like a header\r\n"),
            ("Bcc: a\nand text\n", "Bcc:\r\n\r\nand text\r\n"),
            ("Bcc: a", "Bcc:\r\n\r\n"),
            ("text\n", "text\r\n"),
            ("", ""),
        ] {
            assert_eq!(sent(octets, None), expected, "{octets:?}");
        }
    }

    #[test]
    fn from_is_added_where_there_is_none() {
        for (octets, expected) in [
            ("To: a\n\nbody\n", "To: a\r\nFrom: Ann <ann>\r\n\r\nbody\r\n"),
            ("FROM: b\n\nbody\n", "FROM: b\r\n\r\nbody\r\n"),
            ("To: a", "To: a\r\nFrom: Ann <ann>\r\n\r\n"),
            ("text\n", "From: Ann <ann>\r\n\r\ntext\r\n"),
            ("\ntext\n", "From: Ann <ann>\r\n\r\ntext\r\n"),
            ("", "From: Ann <ann>\r\n\r\n"),
        ] {
            assert_eq!(sent(octets, Some(FROM)), expected, "{octets:?}");
        }
    }

    /// With a byte order mark in front, `-t` found no recipients, and without it Bcc was published.
    #[test]
    fn a_broken_header_names_its_recipients_and_publishes_none() {
        let wanted = MessageOptions { recipients: true, from_field: Some(FROM.to_owned()) };
        for (octets, named, expected) in [
            ("\u{feff}To: a@x\nBcc: s@y\n\nb\n", "a@x s@y", "To: a@x\r\nFrom: Ann <ann>\r\n\r\nb\r\n"),
            ("\nFrom: f@z\nTo: a@x\nBcc: s@y\n\nb\n", "a@x s@y", "From: f@z\r\nTo: a@x\r\n\r\nb\r\n"),
            (
                "To: a@x,\nc@z\nFrom: f@z\nBcc: s@y\n\n",
                "a@x c@z s@y",
                "To: a@x,\r\n c@z\r\nFrom: f@z\r\n\r\n",
            ),
            // The second was published, and got no copy.
            (
                "Bcc: s@y,\nt@z\nFrom: f@z\nTo: a@x,\nodd@x\n\nb\n",
                "s@y t@z a@x odd@x",
                "From: f@z\r\nTo: a@x,\r\n odd@x\r\n\r\nb\r\n",
            ),
            ("From: f@z\nBcc\n : s@y\nBcc; t\n\nb\n", "s@y t", "From: f@z\r\n\r\nb\r\n"),
            ("From: f@z\nB cc: s@y\n\nb\n", "s@y", "From: f@z\r\n\r\nb\r\n"),
        ] {
            let message = read(octets.as_bytes(), &wanted).unwrap();
            let found: Vec<_> = message.named.addresses.iter().map(Address::as_str).collect();
            assert_eq!(found.join(" "), named, "{octets:?}");
            let mut content = message.content;
            assert_eq!(String::from_utf8(content.rest()).unwrap(), expected, "{octets:?}");
        }
        let hidden = read(b"To: a@x\rBcc: s@y\nSubject: x\n\n", &wanted).err().unwrap();
        assert!(hidden.exit() == Exit::DataErr && hidden.to_string().starts_with("a Bcc stands behind a CR"));
        // What may be a recipient who gets nothing is refused, not guessed.
        let failure = read(b"To: a@x\nodd one\nBcc: s@y\n\n", &wanted).err().unwrap();
        assert_eq!(failure.exit(), Exit::DataErr, "{failure}");
    }

    #[test]
    fn recipients_are_read_only_when_wanted() {
        let wanted = MessageOptions { recipients: true, from_field: None };
        assert_eq!(read(b"Bcc: a@x\n\n", &wanted).unwrap().named.addresses, [Address::parse("a@x").unwrap()]);
        assert_eq!(
            read(b"To: no address\n\n", &MessageOptions::default()).unwrap().named,
            ListedAddresses::default()
        );
        assert_eq!(read(b"To: no address\n\n", &wanted).err().map(|it| it.exit()), Some(Exit::DataErr));
    }

    #[test]
    fn of_a_large_one_a_part_is_held_in_memory() {
        let octets = [b"Subject: x\n\n".to_vec(), b"0123456789abcde\n".repeat(256 * 1024)].concat();
        let mut content = read(&octets, &MessageOptions::default()).unwrap().content;
        let in_memory = content.piece().unwrap().unwrap().len();
        assert!((HELD_OCTETS..2 * HELD_OCTETS).contains(&in_memory), "{in_memory}");
        assert_eq!(in_memory + content.rest().len(), octets.len() + 256 * 1024 + 2);
    }

    #[test]
    fn an_endless_header_is_refused() {
        let octets = b"X: y\n".repeat(MAX_HEADER_OCTETS / 5 + 1);
        for octets in [octets.clone(), [&octets[..], b"\nbody"].concat()] {
            let failure = read(&octets, &MessageOptions::default()).err().unwrap();
            assert_eq!(failure.exit(), Exit::DataErr, "{failure}");
        }
    }
}
