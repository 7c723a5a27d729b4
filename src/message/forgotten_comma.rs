//! Adds the commas that were forgotten in a list of addresses.
//!
//! Without them the text is not a list: a relay may refuse it, and rewriting and `sendmail -t` cannot read it. Or
//! everything before the last address is taken for a name without quotes, and those other recipients get nothing. The
//! meaning is certain if there are only whole addresses between two separators.
//!
//! Promises: only commas are added, each after an address, and the result is a list.
//!
//! | body | result |
//! |---|---|
//! | `a@x b@y`, on one line or two | `a@x, b@y` |
//! | `Ann <a@x> Bob <b@y>`, `<a@x> b@y` | `Ann <a@x>, Bob <b@y>`, `<a@x>, b@y` |
//! | `a@x` / `Ann <b@y>`; `/` ends a line | `a@x,` / `Ann <b@y>` |
//! | `a@x Ann <b@y>` on one line, `ann@x <b@y>` on one or two: may be a name | unchanged |
//! | `a@x odd one`, `<a@x> word` | unchanged |
//! | `root bob@y`: an address without a domain may be part of a name | unchanged |
//!
//! Not here: what happens to a field that cannot be read (`rewrite/`, `cli/sendmail/recipients.rs`).

use std::ops::Range;

use super::address::{Token, TokenKind, mailboxes, tokens};

/// The most words and addresses between two separators.
const MAX_PIECES: usize = 4096;

/// Returns `body` with the missing commas; `None` if none is missing, or the meaning is not certain.
pub fn with_commas(body: &[u8]) -> Option<Vec<u8>> {
    let commas = missing_commas(body)?;
    if commas.is_empty() {
        return None;
    }
    let (mut out, mut done) = (Vec::with_capacity(body.len() + commas.len()), 0);
    for comma in commas {
        out.extend_from_slice(&body[done..comma]);
        out.push(b',');
        done = comma;
    }
    out.extend_from_slice(&body[done..]);
    mailboxes(&out).all(|mailbox| mailbox.is_ok()).then_some(out)
}

/// Returns the positions of missing commas, in order; `None` if the meaning is not certain.
fn missing_commas(body: &[u8]) -> Option<Vec<usize>> {
    let (mut commas, mut pieces) =
        (Vec::new(), Pieces { body, list: Vec::new(), bracket: None, is_joined: false });
    for token in tokens(body) {
        let token = token.ok()?;
        match token.kind {
            TokenKind::Comma | TokenKind::Semicolon | TokenKind::Colon if pieces.bracket.is_none() => {
                let is_name = token.kind == TokenKind::Colon;
                pieces.end(is_name, &mut commas)?;
            }
            _ => pieces.take(token)?,
        }
    }
    let is_open = pieces.bracket.is_some();
    pieces.end(false, &mut commas)?;
    (!is_open).then_some(commas)
}

/// The words and addresses between two separators.
struct Pieces<'a> {
    body: &'a [u8],
    list: Vec<Piece>,
    /// The position of a `<` that is still open.
    bracket: Option<usize>,
    /// True if the last token joins the next one to it.
    is_joined: bool,
}

struct Piece {
    range: Range<usize>,
    is_bracketed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Brackets,
    /// One address with its domain.
    Address,
    Word,
}

impl Pieces<'_> {
    fn take(&mut self, token: Token) -> Option<()> {
        let joins = matches!(token.kind, TokenKind::Dot | TokenKind::At);
        match (self.bracket, token.kind) {
            (None, TokenKind::Greater) | (Some(_), TokenKind::Less) => return None,
            (None, TokenKind::Less) => self.bracket = Some(token.range.start),
            (Some(start), TokenKind::Greater) => {
                self.bracket = None;
                self.list.push(Piece { range: start..token.range.end, is_bracketed: true });
            }
            (Some(_), _) => {}
            (None, _) => match self.list.last_mut() {
                Some(last) if !last.is_bracketed && (joins || self.is_joined) => {
                    last.range.end = token.range.end
                }
                _ => self.list.push(Piece { range: token.range, is_bracketed: false }),
            },
        }
        self.is_joined = joins;
        (self.list.len() <= MAX_PIECES).then_some(())
    }

    /// Ends the element before a separator, and adds the commas that are missing in it. `is_group` says that the
    /// separator ends the name of a group. Returns `None` if the element cannot be understood for certain.
    fn end(&mut self, is_group: bool, commas: &mut Vec<usize>) -> Option<()> {
        self.is_joined = false;
        let list = std::mem::take(&mut self.list);
        let meanings: Vec<_> = list.iter().map(|piece| self.meaning(piece)).collect();
        if is_group || meanings == [Meaning::Word] {
            return meanings.iter().all(|meaning| *meaning == Meaning::Word).then_some(());
        }
        let (first, mut in_name) = (commas.len(), false);
        for (index, meaning) in meanings.iter().enumerate().rev() {
            let next = list.get(index + 1);
            let is_end = match meaning {
                Meaning::Brackets => true,
                Meaning::Address if in_name => next.is_some_and(|next| self.is_apart(&list[index], next)),
                Meaning::Address => true,
                Meaning::Word if in_name => false,
                Meaning::Word => return None,
            };
            in_name = *meaning == Meaning::Brackets || (in_name && !is_end);
            commas.extend(next.filter(|_| is_end).map(|_| list[index].range.end));
        }
        commas[first..].reverse();
        Some(())
    }

    fn meaning(&self, piece: &Piece) -> Meaning {
        let mut list = mailboxes(&self.body[piece.range.clone()]);
        match (list.next(), list.next()) {
            _ if piece.is_bracketed => Meaning::Brackets,
            (Some(Ok(mailbox)), None) if mailbox.domain.is_some() => Meaning::Address,
            _ => Meaning::Word,
        }
    }

    /// Returns whether an address ends its line, and is not followed by brackets of which it may be the name.
    fn is_apart(&self, address: &Piece, next: &Piece) -> bool {
        !next.is_bracketed && self.body[address.range.end..next.range.start].contains(&b'\n')
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `To: a@x`, followed by `b@y` on the same line or on the next, was sent to the relay as one field that nobody
    /// can read.
    #[test]
    fn commas_are_added_where_it_is_certain() {
        for (body, expected) in [
            (" a@x\r\n b@y\r\n", Some(" a@x,\r\n b@y\r\n")),
            (" a@x \r\n\tAnn <b@y>, c@z\r\n d@w", Some(" a@x, \r\n\tAnn <b@y>, c@z,\r\n d@w")),
            (" Ann\r\n <a@x>\r\n <b@y>\r\n", Some(" Ann\r\n <a@x>,\r\n <b@y>\r\n")),
            ("\r\n a@x,\r\n b@y\r\n c@z\r\n", Some("\r\n a@x,\r\n b@y,\r\n c@z\r\n")),
            (" a@x\r\n b@y\r\n , c@z\r\n", Some(" a@x,\r\n b@y\r\n , c@z\r\n")),
            (" a@x\r\n b@y\r\n (both)\r\n", Some(" a@x,\r\n b@y\r\n (both)\r\n")),
            (" a@x\r\n \r\n b@y\r\n", Some(" a@x,\r\n \r\n b@y\r\n")),
            (" a@x,\r\n b@y\r\n", None),
            (" \"Ann,\r\n <b@y>\" <a@x>\r\n", None),
            // Only the last address was a recipient.
            (" a@x\r\n b@y\r\n Ann\r\n <c@z>\r\n", Some(" a@x,\r\n b@y,\r\n Ann\r\n <c@z>\r\n")),
            (" a@x\r\n Ann <b@y>,\r\n c@z", Some(" a@x,\r\n Ann <b@y>,\r\n c@z")),
            (" ann@x\r\n <a@x>\r\n", None),
            (" ann@x\r\n <a@x>\r\n b@y", Some(" ann@x\r\n <a@x>,\r\n b@y")),
            (" a@x\r\n (b@y)\r\n", None),
            (" a@x\r\n odd one\r\n", None),
            (" odd one\r\n a@x\r\n", None),
            (" root\r\n bob@y\r\n", None),
            (" a\r\n b\r\n c\r\n d\r\n <e@x> f\r\n", None),
            // On one line these were not changed, or the second address was passed over.
            (" a@x b@y\r\n", Some(" a@x, b@y\r\n")),
            ("a@x b@y c . d@z", Some("a@x, b@y, c . d@z")),
            (" Ann <a@x> Bob <b@y>\r\n", Some(" Ann <a@x>, Bob <b@y>\r\n")),
            ("<a@x> b@y (c), \"d e\"@z <f>", Some("<a@x>, b@y (c), \"d e\"@z <f>")),
            ("<@r,@s:a@x> <b@y>", Some("<@r,@s:a@x>, <b@y>")),
            ("Team: a@x b@y; root, c@z d@[192.0.2.1]", Some("Team: a@x, b@y; root, c@z, d@[192.0.2.1]")),
            ("a@x b@y\r\n Ann <c@z>", Some("a@x, b@y,\r\n Ann <c@z>")),
            // It is not certain who is meant.
            ("a@x Ann <b@y>", None),
            ("a@x b@y <c@z>", None),
            ("a@x <b@y> word", None),
            ("a@x word b@y", None),
            ("a@x b@y, odd one", None),
            ("a@x b@y <c@z", None),
            ("a@x b@y: c@z;", None),
            ("a@x <b@y> <>, <c d>", None),
            ("a@x b@y (c", None),
            ("\r\n", None),
            ("", None),
        ] {
            let found = with_commas(body.as_bytes()).map(|found| String::from_utf8(found).unwrap());
            assert_eq!(found.as_deref(), expected, "{body:?}");
            assert_eq!(found.and_then(|found| with_commas(found.as_bytes())), None, "twice is once");
        }
        assert!(with_commas("a@x ".repeat(MAX_PIECES).as_bytes()).is_some());
        assert!(with_commas("a@x ".repeat(MAX_PIECES + 1).as_bytes()).is_none(), "memory is bounded");
    }

    proptest! {
        #[test]
        fn whole_addresses_are_a_list_however_they_are_apart(
            elements in prop::collection::vec(("([A-Z][a-z]{2} )?", "[a-z]{1,4}@[a-z]{1,4}"), 1..6),
            gaps in prop::collection::vec(prop::sample::select(vec![" ", ", ", "\r\n ", ",\r\n\t", " ; "]), 6),
        ) {
            let (mut body, mut is_certain) = (String::new(), true);
            for (index, ((name, address), gap)) in elements.iter().zip(&gaps).enumerate() {
                let is_bare = name.is_empty();
                body += &if is_bare { address.clone() } else { format!("{name}<{address}>") };
                body += if index + 1 < elements.len() { gap } else { "" };
                // On one line it would be a name.
                let is_next_named = elements.get(index + 1).is_some_and(|(name, _)| !name.is_empty());
                is_certain &= !(is_bare && is_next_named && *gap == " ");
            }
            let mended = with_commas(body.as_bytes()).unwrap_or(body.clone().into_bytes());
            let list: Vec<_> = mailboxes(&mended).map(|mailbox| mailbox.map(|it| it.address.to_string())).collect();
            let expected: Vec<_> = elements.into_iter().map(|(_, address)| Ok(address)).collect();
            prop_assert!(!is_certain || list == expected, "{} {:?}", body, list);
            prop_assert_eq!(with_commas(&mended), None);
            let without: Vec<_> = mended.iter().filter(|octet| **octet != b',').collect();
            prop_assert_eq!(without, body.as_bytes().iter().filter(|octet| **octet != b',').collect::<Vec<_>>());
        }
    }
}
