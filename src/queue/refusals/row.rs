//! A row of messages that were refused alike.
//!
//! Promises: a message counts once, however often it is tried. What differs from message to message within a text (an
//! address, a queue id, a number) does not make another text. A text that does not say what it is about makes a full
//! row only if recipients of two domains were refused with it, since one domain may be wrong by itself. A row keeps no
//! more than what makes it full, however many messages are refused.
//!
//! Pure. Not here: when a row begins again, and what follows from a full one (`refusals.rs`).

use std::collections::BTreeSet;

use crate::queue_id::QueueId;
use crate::relay::Subject;

/// The number of domains that a full row of unclear refusals has.
const DOMAINS: usize = 2;

/// The messages that were refused with one text, with none taken in between.
#[derive(Debug)]
pub(super) struct Row {
    /// The number of messages that make it full.
    full_at: usize,
    text: String,
    is_unclear: bool,
    messages: BTreeSet<QueueId>,
    domains: BTreeSet<String>,
}

impl Row {
    /// Returns a row that so many messages make full, and that has none.
    pub(super) fn of(full_at: usize) -> Self {
        Row {
            full_at,
            text: String::new(),
            is_unclear: false,
            messages: BTreeSet::new(),
            domains: BTreeSet::new(),
        }
    }

    /// Adds a refusal; one with another text begins another row.
    pub(super) fn add(&mut self, id: QueueId, said: &str, about: Subject, domains: &BTreeSet<String>) {
        let text = without_particulars(said);
        if self.text != text {
            *self = Row { text, ..Row::of(self.full_at) };
        }
        self.is_unclear = about == Subject::Unclear;
        if self.messages.len() < self.full_at {
            self.messages.insert(id);
        }
        if self.domains.len() < DOMAINS {
            self.domains.extend(domains.iter().take(DOMAINS).cloned());
        }
    }

    /// Returns the number of messages, up to a full row.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Returns whether so many messages were refused alike that the messages are not the reason.
    pub(super) fn is_full(&self) -> bool {
        self.len() >= self.full_at && !(self.is_unclear && self.domains.len() < DOMAINS)
    }
}

/// Returns `said` without everything that differs from message to message: addresses, queue ids, numbers.
fn without_particulars(said: &str) -> String {
    let mut words = said.split_whitespace();
    // The code and the status are numbers, too, but they are the same for the same reason.
    let mut text = words.next().unwrap_or_default().to_owned();
    for (position, word) in words.enumerate() {
        text.push(' ');
        let is_status = position == 0 && word.bytes().all(|octet| octet.is_ascii_digit() || octet == b'.');
        let is_particular = word.contains('@') || word.bytes().any(|octet| octet.is_ascii_digit());
        text.push_str(if is_particular && !is_status { "*" } else { word });
    }
    text.make_ascii_lowercase();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(row: &mut Row, raw: u64, about: Subject, domain: &str) {
        row.add(QueueId::from_raw(raw), "550 no", about, &[domain.to_owned()].into());
    }

    #[test]
    fn what_is_unclear_needs_two_domains() {
        for (about, is_full) in
            [(Subject::Unclear, false), (Subject::Permission, true), (Subject::Login, true)]
        {
            let mut row = Row::of(20);
            (0..20).for_each(|raw| add(&mut row, raw, about, "example.net"));
            assert_eq!((row.len(), row.is_full()), (20, is_full), "{about:?}");
            add(&mut row, 19, about, "example.org");
            assert!(row.is_full(), "{about:?}");
        }
    }

    #[test]
    fn a_message_counts_once() {
        let mut row = Row::of(20);
        (0..100).for_each(|raw| add(&mut row, raw % 19, Subject::Permission, "example.net"));
        assert_eq!((row.len(), row.is_full()), (19, false));
    }

    /// A million messages to one domain, refused with one unclear text, were all kept in memory.
    #[test]
    fn a_row_keeps_no_more_than_makes_it_full() {
        let mut row = Row::of(20);
        (0..1000).for_each(|raw| add(&mut row, raw, Subject::Unclear, "example.net"));
        assert_eq!((row.messages.len(), row.domains.len(), row.is_full()), (20, 1, false));
        (0..1000).for_each(|raw| add(&mut row, raw, Subject::Unclear, &format!("host{raw}.example")));
        assert_eq!((row.messages.len(), row.domains.len(), row.is_full()), (20, 2, true));
    }

    #[test]
    fn particulars_do_not_count() {
        let cases = [
            ("550 5.7.1 <a@x>: no", "550 5.7.1 <b@y>: no", true),
            ("554 rejected (id 4F1C9A)", "554 rejected (id 77A)", true),
            ("550 Quota of 100 used", "550 quota of 200 used", true),
            ("550 5.7.1 no", "550 5.7.2 no", false),
            ("550 no", "554 no", false),
            ("550 no", "550 never", false),
        ];
        for (one, other, expected) in cases {
            assert_eq!(without_particulars(one) == without_particulars(other), expected, "{one} / {other}");
        }
    }
}
