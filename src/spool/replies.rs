//! The last reply to each recipient of a message, the number of attempts that got one, and the patience that the message had
//! used by then: the payload of a Note.
//!
//! Promises: what was encoded decodes to the same, but for texts that had to be cut: one to 1,000 octets, all
//! together to 32 KiB, evenly. Octets that are none of it decode to no reply: a note is a hint. A text that many
//! recipients share is stored once.
//!
//! ```text
//! version 1  the one reason for all recipients, UTF-8
//! version 2  0 (1), then for each reply: text (length 2, UTF-8), recipients: count (4), index (4) ...;
//!            a count of 0 is for all recipients that nothing else is said of
//! version 3  1 (1), seconds of patience used (4), then the replies as in version 2
//! version 4  2 (1), seconds of patience used (4), then the replies as in version 2, each text with attempts (4) behind it
//! ```
//! Not here: when one is written (`queue/settlement.rs`), where it is (`index.rs`).

use std::collections::BTreeMap;
use std::time::Duration;

use super::octets::{MalformedOctets, OctetReader, cut, put_text, put_u32};

/// Number of octets to which longer texts are cut.
const LONGEST: usize = 1000;
/// Upper bound, in octets, of all texts of one message together.
const ALL_TEXTS: usize = 32 << 10;
/// The first octet of a note of version 2; no note of version 1 began with it.
const VERSION_2: u8 = 0;
/// The first octet of a note of version 3; no note of version 1 began with it: a reply begins with a digit.
const VERSION_3: u8 = 1;

/// The first octet of a note of version 4.
const VERSION_4: u8 = 2;

/// The last reply to one recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct LastReply {
    said: String,
    /// The number of attempts that got a reply about the recipient; 0 if that is not known.
    attempts: u32,
}

/// The last reply to each recipient of one message, by the recipient's index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replies {
    of_each: BTreeMap<u32, LastReply>,
    /// The one text for all recipients that version 1 kept.
    of_others: Option<String>,
    /// The patience that the message had used when it was deferred, in seconds.
    patience_used: u32,
}

impl Replies {
    /// Returns the last reply to the recipient of this index.
    pub fn of(&self, recipient: usize) -> Option<&str> {
        let own = self.own(recipient).map(|last| &last.said);
        own.or(self.of_others.as_ref()).map(String::as_str)
    }

    /// Returns the number of attempts that got a reply about the recipient of this index; `None` if that is not known.
    pub fn attempts(&self, recipient: usize) -> Option<u32> {
        self.own(recipient).map(|last| last.attempts).filter(|attempts| *attempts > 0)
    }

    fn own(&self, recipient: usize) -> Option<&LastReply> {
        u32::try_from(recipient).ok().and_then(|index| self.of_each.get(&index))
    }

    /// Notes that one more attempt got a reply to the recipient of this index, and that it was `said`.
    pub fn set(&mut self, recipient: usize, said: &str) {
        let was_told = self.of(recipient).is_some();
        // Recipients are counted in 32 bits on disk; an envelope of more does not fit a record.
        let last = self.of_each.entry(recipient as u32).or_default();
        // Of those that a note of an older version is about the number is not known, and stays so.
        if last.attempts > 0 || !was_told {
            last.attempts = last.attempts.saturating_add(1);
        }
        said.clone_into(&mut last.said);
    }

    /// Notes how much of its patience the message had used when it got these replies.
    pub fn set_patience_used(&mut self, used: Duration) {
        self.patience_used = u32::try_from(used.as_secs()).unwrap_or(u32::MAX);
    }

    /// Returns the seconds of its patience that the message had used when it got these replies; 0 if that is not known.
    pub fn patience_used(&self) -> u32 {
        self.patience_used
    }

    /// Forgets the replies to recipients for whose index `keep` returns false.
    pub fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        self.of_each.retain(|index, _| keep(*index as usize));
    }

    /// Returns the Note payload.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut shared: BTreeMap<(&str, u32), Vec<u32>> = BTreeMap::new();
        for (index, LastReply { said, attempts }) in &self.of_each {
            shared.entry((said, *attempts)).or_default().push(*index);
        }
        let limit = LONGEST.min(ALL_TEXTS / (shared.len() + 1));
        let mut out = vec![VERSION_4];
        put_u32(&mut out, self.patience_used);
        let others = self.of_others.as_deref().map(|said| ((said, 0), Vec::new()));
        for ((said, attempts), recipients) in shared.into_iter().chain(others) {
            put_text(&mut out, cut(said, limit));
            put_u32(&mut out, attempts);
            put_u32(&mut out, recipients.len() as u32);
            recipients.iter().for_each(|index| put_u32(&mut out, *index));
        }
        out
    }

    /// Takes a Note payload apart.
    pub(super) fn decode(payload: &[u8]) -> Replies {
        match payload.split_first() {
            Some((&VERSION_2, replies)) => {
                decode_replies(OctetReader::new(replies), 0, false).unwrap_or_default()
            }
            Some((&version @ (VERSION_3 | VERSION_4), rest)) => {
                let mut reader = OctetReader::new(rest);
                let counts = version == VERSION_4;
                reader.u32().and_then(|used| decode_replies(reader, used, counts)).unwrap_or_default()
            }
            _ => Replies {
                of_others: std::str::from_utf8(payload).ok().map(str::to_owned),
                ..Replies::default()
            },
        }
    }
}

/// Returns the patience that a Note payload says was used, in seconds; 0 if it says none.
pub(super) fn patience_used_in(payload: &[u8]) -> u32 {
    let mut reader = OctetReader::new(payload);
    match reader.u8() {
        Ok(VERSION_3 | VERSION_4) => reader.u32().unwrap_or(0),
        _ => 0,
    }
}

/// Reads the replies; if `counts`, each with the number of attempts.
fn decode_replies(
    mut reader: OctetReader<'_>,
    patience_used: u32,
    counts: bool,
) -> Result<Replies, MalformedOctets> {
    let mut replies = Replies { patience_used, ..Replies::default() };
    while reader.left() > 0 {
        let said = reader.text()?;
        let attempts = if counts { reader.u32()? } else { 0 };
        match reader.u32()? {
            0 => replies.of_others = Some(said.to_owned()),
            count => {
                for _ in 0..count {
                    let last = LastReply { said: said.to_owned(), attempts };
                    replies.of_each.insert(reader.u32()?, last);
                }
            }
        }
    }
    Ok(replies)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replies(said: &[(usize, &str)]) -> Replies {
        let mut replies = Replies::default();
        said.iter().for_each(|(recipient, said)| replies.set(*recipient, said));
        replies
    }

    #[test]
    fn each_recipient_keeps_its_own_last_reply() {
        let mut kept = replies(&[(0, "450 4.2.1 busy"), (3, "451 4.7.1 später"), (4, "450 4.2.1 busy")]);
        kept.set(0, "550 5.1.1 gone");
        kept.set_patience_used(Duration::from_secs(3600));
        assert_eq!((kept.patience_used(), patience_used_in(&kept.encode())), (3600, 3600));
        let mut back = Replies::decode(&kept.encode());
        assert_eq!(back, kept);
        assert_eq!(
            (back.of(0), back.of(1), back.of(4)),
            (Some("550 5.1.1 gone"), None, Some("450 4.2.1 busy"))
        );
        back.retain(|recipient| recipient == 3);
        assert_eq!((back.of(0), back.of(3)), (None, Some("451 4.7.1 später")));
    }

    #[test]
    fn a_note_of_version_1_is_for_all_until_more_is_known() {
        let mut replies = Replies::decode("450 4.2.1 später".as_bytes());
        assert_eq!((replies.of(0), replies.of(7)), (Some("450 4.2.1 später"), Some("450 4.2.1 später")));
        replies.set(7, "550 5.1.1 no");
        assert_eq!(Replies::decode(&replies.encode()), replies);
        assert_eq!((replies.of(0), replies.of(7)), (Some("450 4.2.1 später"), Some("550 5.1.1 no")));
    }

    /// Earlier versions did not note what was used of the patience, nor how many attempts there were.
    #[test]
    fn notes_of_versions_2_and_3_are_read() {
        let reply = b"\x08\x00450 busy\x01\0\0\0\x03\0\0\0";
        for (head, used) in [(&b"\0"[..], 0), (b"\x01\x07\0\0\0", 7)] {
            let payload = [head, reply].concat();
            let mut old = Replies::decode(&payload);
            assert_eq!((old.of(3), old.attempts(3), old.patience_used()), (Some("450 busy"), None, used));
            assert_eq!(patience_used_in(&payload), used);
            old.set(3, "450 busy");
            assert_eq!(old.attempts(3), None, "what is not known stays so");
            assert_eq!(Replies::decode(&old.encode()), old);
        }
    }

    #[test]
    fn attempts_are_counted_for_each_recipient() {
        let mut kept =
            replies(&[(0, "450 busy"), (0, "450 busy"), (0, "451 later"), (1, "450 busy"), (2, "450 busy")]);
        kept.set(2, "450 busy");
        let back = Replies::decode(&kept.encode());
        assert_eq!(back, kept);
        let attempts: Vec<_> = (0..4).map(|recipient| back.attempts(recipient)).collect();
        assert_eq!(attempts, [Some(3), Some(1), Some(2), None]);
        let mut first = Replies::decode(b"450 for all");
        first.set(1, "450 busy");
        assert_eq!(first.attempts(1), None, "a note of version 1 was about it");
    }

    #[test]
    fn long_replies_are_cut_and_many_of_them_more() {
        let long = replies(&[(0, &"450 ü".repeat(500))]);
        let kept = Replies::decode(&long.encode());
        assert!((990..=1000).contains(&kept.of(0).unwrap().len()));
        let said: Vec<String> = (0..2000).map(|number| format!("450 {number} {}", "x".repeat(200))).collect();
        let many: Vec<(usize, &str)> = said.iter().map(String::as_str).enumerate().collect();
        let encoded = replies(&many).encode();
        assert!(encoded.len() < ALL_TEXTS + 2000 * 14, "{}", encoded.len());
        assert_eq!(Replies::decode(&encoded).of(1999), Some("450 1999 xxxxxxx"));
    }

    #[test]
    fn what_is_no_note_says_nothing() {
        for bad in [&b"\0\x05"[..], b"\0\x01\0a\xff\xff\xff\xff", b"\xff", b"\x01\x01\0"] {
            assert_eq!(patience_used_in(bad), 0, "{bad:?}");
            assert_eq!(Replies::decode(bad), Replies::default(), "{bad:?}");
        }
    }
}
