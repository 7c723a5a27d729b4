//! Counts the messages of a queue for its shape.
//!
//! Promises: a message counts once in each row that it belongs to (one to several recipients may belong to several), and once in
//! the total. Memory is bounded whatever the messages say: at most [`MOST_KEYS`] rows of [`LONGEST_KEY`] octets; beyond, the
//! smallest ones become part of the others, so that a row that is among the first may show too little, by what it had when it was
//! small. Pure.
//!
//! Not here: which messages are counted (`selection.rs`, `from_spool.rs`).

use std::collections::{BTreeSet, HashMap};

use super::protocol::QueuedMessage;
use super::shape::{AGES, COLUMNS, ShapeBy, ShapeRow, ShapeRowKind};

/// The most rows in memory.
const MOST_KEYS: usize = 20_000;
/// The number of rows that stay when there were too many.
const KEPT_KEYS: usize = 10_000;
/// The most octets of a key.
const LONGEST_KEY: usize = 200;

/// Counts the messages of a queue.
pub struct ShapeTally {
    by: ShapeBy,
    total: [u64; COLUMNS],
    rows: HashMap<String, [u64; COLUMNS]>,
    others: [u64; COLUMNS],
}

impl ShapeTally {
    /// Returns a tally of nothing.
    pub fn new(by: ShapeBy) -> Self {
        ShapeTally { by, total: [0; COLUMNS], rows: HashMap::new(), others: [0; COLUMNS] }
    }

    /// Counts a message.
    pub fn count(&mut self, message: &QueuedMessage) {
        let column = AGES.iter().position(|minutes| message.age < minutes * 60).unwrap_or(AGES.len());
        self.total[column] += 1;
        for key in keys(self.by, message) {
            self.rows.entry(key).or_default()[column] += 1;
        }
        if self.rows.len() > MOST_KEYS {
            let kept = self.greatest(KEPT_KEYS);
            self.rows = kept.into_iter().collect();
        }
    }

    /// Returns the total, the `top` greatest rows, and the others if there are any.
    pub fn rows(mut self, top: usize) -> Vec<ShapeRow> {
        let greatest = self.greatest(top);
        let row = |kind, key, ages: [u64; COLUMNS]| ShapeRow { kind, key, messages: ages.iter().sum(), ages };
        let mut rows = vec![row(ShapeRowKind::Total, String::new(), self.total)];
        rows.extend(greatest.into_iter().map(|(key, ages)| row(ShapeRowKind::Key, key, ages)));
        rows.extend(
            self.others
                .iter()
                .any(|count| *count > 0)
                .then(|| row(ShapeRowKind::Others, String::new(), self.others)),
        );
        rows
    }

    /// Takes the `number` greatest rows, the greatest first; the rest becomes part of the others.
    fn greatest(&mut self, number: usize) -> Vec<(String, [u64; COLUMNS])> {
        let mut rows: Vec<_> = self.rows.drain().collect();
        rows.sort_by(|(key, ages), (other_key, other)| {
            other.iter().sum::<u64>().cmp(&ages.iter().sum()).then_with(|| key.cmp(other_key))
        });
        for (_, ages) in rows.drain(number.min(rows.len())..) {
            self.others.iter_mut().zip(ages).for_each(|(sum, count)| *sum += count);
        }
        rows
    }
}

/// Returns the keys of the rows to which a message belongs.
fn keys(by: ShapeBy, message: &QueuedMessage) -> BTreeSet<String> {
    let recipients = message.recipients.iter();
    let keys: BTreeSet<String> = match by {
        ShapeBy::Reason if message.recipients.is_empty() => {
            BTreeSet::from([outline(message.reason.as_deref())])
        }
        ShapeBy::Reason => recipients.map(|recipient| outline(recipient.reason.as_deref())).collect(),
        ShapeBy::Domain => recipients.map(|recipient| domain(&recipient.address)).collect(),
        ShapeBy::Submitter => BTreeSet::from([submitter(message)]),
        ShapeBy::Sender => BTreeSet::from([sender(message)]),
        ShapeBy::Route => {
            recipients.map(|recipient| recipient.route.clone().unwrap_or("(no route)".into())).collect()
        }
    };
    keys.into_iter().map(shortened).collect()
}

fn submitter(message: &QueuedMessage) -> String {
    match message.uid {
        Some(uid) => format!("uid {uid}"),
        None => sender(message),
    }
}

fn sender(message: &QueuedMessage) -> String {
    let from = message.original_from.as_ref().unwrap_or(&message.from);
    if from.is_empty() { "<>".into() } else { from.clone() }
}

fn domain(address: &str) -> String {
    address.rsplit_once('@').map_or("(no domain)".into(), |(_, domain)| domain.to_lowercase())
}

/// Returns a reason with `*` for each word that is about one message alone: an address, or the name that a relay gives to it.
/// What comes out is a pattern for `--reason`.
fn outline(reason: Option<&str>) -> String {
    let Some(reason) = reason else { return "(waits for a free connection)".into() };
    let words = reason.split_whitespace().map(|word| if is_of_one_message(word) { "*" } else { word });
    words.collect::<Vec<&str>>().join(" ")
}

fn is_of_one_message(word: &str) -> bool {
    let digits = word.chars().filter(char::is_ascii_digit).count();
    let has_letters = word.chars().any(|c| c.is_ascii_alphabetic());
    let is_name = word.len() >= 8 && digits >= 3 && has_letters && !word.contains(['.', ':', '[']);
    word.contains('@') || is_name
}

fn shortened(key: String) -> String {
    if key.len() <= LONGEST_KEY {
        return key;
    }
    let end = (0..=LONGEST_KEY).rev().find(|at| key.is_char_boundary(*at)).unwrap_or(0);
    format!("{}*", &key[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::protocol::{MessageState, QueuedRecipient};

    fn message(age: u64, recipients: &[(&str, Option<&str>)]) -> QueuedMessage {
        let recipient = |(address, reason): &(&str, Option<&str>)| QueuedRecipient {
            address: (*address).into(),
            route: None,
            reason: reason.map(str::to_owned),
        };
        QueuedMessage {
            id: "18A4F1C9A02B3D40".into(),
            state: MessageState::Deferred,
            held_by: None,
            original_from: None,
            marked: None,
            uid: None,
            from: "app@x".into(),
            recipients: recipients.iter().map(recipient).collect(),
            size: 1,
            arrived: String::new(),
            age,
            next_attempt: None,
            reason: None,
        }
    }

    fn shape(by: ShapeBy, messages: &[QueuedMessage], top: usize) -> Vec<(String, u64)> {
        let mut tally = ShapeTally::new(by);
        messages.iter().for_each(|message| tally.count(message));
        tally.rows(top).into_iter().map(|row| (row.key, row.messages)).collect()
    }

    fn expected(rows: &[(&str, u64)]) -> Vec<(String, u64)> {
        rows.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect()
    }

    #[test]
    fn each_message_stands_in_the_column_of_its_age() {
        let mut tally = ShapeTally::new(ShapeBy::Domain);
        for minutes in [0, 5, 9, 10, 39, 1279, 1280, 100_000] {
            tally.count(&message(minutes * 60, &[("a@x", None)]));
        }
        let rows = tally.rows(1);
        assert_eq!(rows[0].ages, [1, 2, 1, 1, 0, 0, 0, 0, 1, 2]);
        assert_eq!((rows[0].messages, &rows[1].ages), (8, &rows[0].ages));
    }

    #[test]
    fn a_message_counts_once_in_each_row() {
        let several = message(0, &[("a@X", Some("450 busy")), ("b@x", None), ("c@y", Some("450 busy"))]);
        let other = message(0, &[("c@y", None)]);
        let both = [several, other];
        assert_eq!(shape(ShapeBy::Domain, &both, 9), expected(&[("", 2), ("y", 2), ("x", 1)]));
        assert_eq!(
            shape(ShapeBy::Reason, &both, 9),
            expected(&[("", 2), ("(waits for a free connection)", 2), ("450 busy", 1)])
        );
        assert_eq!(shape(ShapeBy::Submitter, &both, 9), expected(&[("", 2), ("app@x", 2)]));
        assert_eq!(shape(ShapeBy::Route, &both, 9), expected(&[("", 2), ("(no route)", 2)]));
        let named = [
            QueuedMessage { uid: Some(33), ..message(0, &[]) },
            QueuedMessage { from: String::new(), ..message(0, &[]) },
        ];
        assert_eq!(shape(ShapeBy::Submitter, &named, 9), expected(&[("", 2), ("<>", 1), ("uid 33", 1)]));
    }

    #[test]
    fn what_is_of_one_message_does_not_make_a_row() {
        for (reason, key) in [
            ("450 4.2.0 <ann@x.example>: greylisted, id 4XyZ12abC9", "450 4.2.0 * greylisted, id *"),
            ("mx.example[192.0.2.1]:587: connect: refused", "mx.example[192.0.2.1]:587: connect: refused"),
            (
                "452 4.3.1 insufficient storage, 12345678 octets",
                "452 4.3.1 insufficient storage, 12345678 octets",
            ),
        ] {
            assert_eq!(outline(Some(reason)), key);
        }
        assert_eq!(shortened("ä".repeat(300)).len(), LONGEST_KEY + 1);
    }

    /// A sender with a new domain in each message filled the memory of the daemon.
    #[test]
    fn rows_are_bounded_and_what_is_frequent_is_found_late() {
        let mut tally = ShapeTally::new(ShapeBy::Domain);
        for number in 0..50_000 {
            tally.count(&message(0, &[(&format!("a@{number}.example"), None)]));
            assert!(tally.rows.len() <= MOST_KEYS);
        }
        (0..3).for_each(|_| tally.count(&message(0, &[("a@late.example", None)])));
        let rows = tally.rows(1);
        assert_eq!((rows[0].messages, &*rows[1].key, rows[1].messages), (50_003, "late.example", 3));
        assert_eq!((rows[2].kind, rows[2].messages), (ShapeRowKind::Others, 50_000));
    }
}
