//! Finds the addresses in a field that is not a list of addresses.
//!
//! Such a field stays as it is, since its meaning is not known. But everybody can read the addresses in it, so they
//! are rewritten like those in a list.
//!
//! Promises: a second reading of the result finds the same addresses. The time is in proportion to the length, and
//! only a position is kept.
//!
//! | text | address |
//! |---|---|
//! | `<ann@x>`, `<ann>`, `<@a,@b:ann@x>` | the text in the brackets |
//! | `ann@x`, `ann @ x` | with its domain, up to the next white space that is not around the `@` |
//! | the same within quotes or a comment | none |
//! | the same after a quote or a parenthesis that does not end | it is one, since it is not known what is within the quotes |
//! | `ann`, `ann@@x`, `a@b!c` | none |
//!
//! Not here: lists (`address.rs`).

use std::ops::Range;

use super::lexer::{Lexer, Token, TokenKind};
use super::{AddrSpec, Mailbox, mailbox_at};

/// Returns the addresses in `body`, in order.
pub fn scattered(body: &[u8]) -> Scattered<'_> {
    let (lexer, spec) = (Lexer::new(body, 0..body.len()), AddrSpec::default());
    Scattered { lexer, spec, last: None, brackets: None, ended: false }
}

/// An iterator over the addresses of a body, made by [`scattered`].
#[derive(Debug)]
pub struct Scattered<'a> {
    lexer: Lexer<'a>,
    /// The parts of the next address so far.
    spec: AddrSpec,
    /// The last token of these parts.
    last: Option<Token>,
    /// The route after a `<` that is still open.
    brackets: Option<Brackets>,
    ended: bool,
}

/// The text between `<` and an address.
#[derive(Debug, Default)]
struct Brackets {
    route: Option<Range<usize>>,
    /// True if the colon of the route is still missing.
    in_route: bool,
}

impl Iterator for Scattered<'_> {
    type Item = Mailbox;

    fn next(&mut self) -> Option<Mailbox> {
        while !self.ended {
            let found = match self.lexer.next_of_any() {
                Some(Ok(token)) => self.take(token),
                Some(Err(_)) => self.end_spec(),
                None => {
                    self.ended = true;
                    self.end_spec()
                }
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

impl Scattered<'_> {
    /// Takes the next token. Returns the address that ended before it, if there is one.
    fn take(&mut self, token: Token) -> Option<Mailbox> {
        match token.kind {
            TokenKind::Less => {
                let found = self.end_spec();
                self.brackets = Some(Brackets::default());
                found
            }
            TokenKind::Greater => match self.brackets.take().filter(|brackets| !brackets.in_route) {
                Some(Brackets { route, .. }) => self.spec_read().map(|mailbox| Mailbox { route, ..mailbox }),
                None => self.end_spec(),
            },
            TokenKind::Comma | TokenKind::Colon => self.separator(&token),
            TokenKind::Semicolon => self.end_spec(),
            _ => self.word(token),
        }
    }

    /// Ends an address and its brackets at a separator, unless the separator belongs to a route.
    fn separator(&mut self, token: &Token) -> Option<Mailbox> {
        let spec = &self.spec;
        match &mut self.brackets {
            Some(Brackets { route: Some(route), in_route }) if *in_route && spec.local.is_none() => {
                route.end = token.range.end;
                *in_route = token.kind == TokenKind::Comma;
                (self.spec, self.last) = (AddrSpec::default(), None);
                None
            }
            _ => self.end_spec(),
        }
    }

    fn word(&mut self, token: Token) -> Option<Mailbox> {
        let in_brackets = self.brackets.is_some();
        let joins =
            |token: &Token| token.kind == TokenKind::At || (token.kind == TokenKind::Dot && in_brackets);
        let is_apart = self
            .last
            .as_ref()
            .is_some_and(|last| last.range.end != token.range.start && !joins(last) && !joins(&token));
        let found = if is_apart { self.end_spec() } else { None };
        if let Some(brackets) = &mut self.brackets
            && self.spec.is_empty()
            && token.kind == TokenKind::At
        {
            let start = brackets.route.as_ref().map_or(token.range.start, |route| route.start);
            (brackets.route, brackets.in_route) = (Some(start..token.range.end), true);
        }
        self.spec.add(&token);
        self.last = Some(token);
        found
    }

    /// Returns the address that ends here, if it has a domain, and closes the brackets.
    fn end_spec(&mut self) -> Option<Mailbox> {
        self.brackets = None;
        self.spec_read().filter(|mailbox| mailbox.domain.is_some())
    }

    fn spec_read(&mut self) -> Option<Mailbox> {
        self.last = None;
        let (local, domain) = std::mem::take(&mut self.spec).parts()?;
        mailbox_at(self.lexer.octets(), local, domain)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Each of these was sent unchanged, although tables or `masquerade` had a rule for the addresses in it.
    #[test]
    fn addresses_are_found_in_whatever_is_no_list() {
        for (body, expected) in [
            ("<ann@x> word <bob@y>", "ann@x bob@y"),
            ("<ann@x> <bob>", "ann@x bob"),
            ("Ann <ann@x> Bob <bob@y>, carl", "ann@x bob@y"),
            ("ann@x bob@y", "ann@x bob@y"),
            ("Joe joe@x", "joe@x"),
            ("Joe <joe@x", "joe@x"),
            ("joe@x>", "joe@x"),
            ("<<joe@x>>", "joe@x"),
            ("<ann smith@x>", "smith@x"),
            ("<ann@x, bob@y>", "ann@x bob@y"),
            ("< ann . smith @ x > Ann <", "ann.smith@x"),
            ("the end. ann @ x <", "ann@x"),
            ("a: b: mailto:ann@x;", "ann@x"),
            ("ann@x\\ \"bob@y\" <\"c d\"@z> <", "ann@x \"c d\"@z"),
            ("ann@[192.0.2.1] \u{1} <", "ann@[192.0.2.1]"),
            ("<@a,@b:ann@x> <@c : @d:bob> <@e,carl> <@f>", "ann@x bob"),
            // A quote or comment without an end hides nothing, since it is not known where it should end.
            ("(ann@x) <bob@y> (carl@z", "bob@y carl@z"),
            // One that is closed before it does.
            ("(ann@x) \"bob@y", "bob@y"),
            ("(ann@x) (bob@y) (carl@z (dora@w)", "carl@z dora@w"),
            ("(ann@x) a@[192.0.2.1 bob@y", "bob@y"),
            ("<bob@y> (ann@x) \"Carl", "bob@y"),
            ("\"ann@x\" (carl@z) bob@y \\ (dora@w) \"", "bob@y"),
            ("\"ann@x\" bob@y \"carl@z <dora@w> (d)", "bob@y carl@z dora@w"),
            ("a@[192.0.2.1 ann@x", "ann@x"),
            ("ann, <bob, <at home> <", ""),
            ("ann@@x @y ann@ a@b!c <>", ""),
            ("", ""),
        ] {
            let found: Vec<_> =
                scattered(body.as_bytes()).map(|mailbox| mailbox.address.to_string()).collect();
            assert_eq!(found.join(" "), expected, "{body:?}");
        }
    }

    #[test]
    fn a_route_is_known_by_its_place() {
        for (body, routes) in
            [("<@a,@b:ann@x> < @c : @d : bob> <", &["@a,@b:", "@c : @d :"][..]), ("<ann@x> <", &[])]
        {
            let found: Vec<_> =
                scattered(body.as_bytes()).filter_map(|mailbox| Some(&body[mailbox.route?])).collect();
            assert_eq!(found, routes);
        }
    }

    #[test]
    fn time_is_in_proportion() {
        for pattern in ["(", "\"", "a@x ", "<", "[", "@", "\\", "<@a,", "(a@x) "] {
            // The test is that this ends soon.
            let _ = scattered(pattern.repeat(300_000 / pattern.len()).as_bytes()).count();
        }
    }

    proptest! {
        /// In a body that is a list, the same addresses are found at the same positions, except for bare words
        /// without brackets.
        #[test]
        fn of_a_list_no_domain_is_passed_over(
            words in prop::collection::vec(prop::sample::select(WORDS), 0..12)
        ) {
            let body = words.concat();
            let list: Vec<_> = super::super::mailboxes(body.as_bytes()).collect();
            if let Ok(list) = list.into_iter().collect::<Result<Vec<_>, _>>() {
                let found: Vec<_> = scattered(body.as_bytes()).collect();
                for mailbox in list.iter().filter(|mailbox| mailbox.domain.is_some()) {
                    prop_assert!(found.contains(mailbox), "{:?} of {}", mailbox, body);
                }
            }
        }

        /// A comment before a quote without an end was read as text, and the address in it was rewritten.
        #[test]
        fn a_closed_comment_in_front_changes_nothing(
            words in prop::collection::vec(prop::sample::select(WORDS), 0..8),
            open in prop::sample::select(&["", "\"", "(", "[", "\"f@u ", "(f@u, ", "[f@u "][..]),
            behind in prop::collection::vec(prop::sample::select(WORDS), 0..4),
        ) {
            let body = [&words.concat(), open, &behind.concat()].concat();
            let addresses = |body: &str| scattered(body.as_bytes()).map(|found| found.address).collect::<Vec<_>>();
            prop_assert_eq!(addresses(&format!("(g@t) {body}")), addresses(&body), "{}", body);
        }
    }

    const WORDS: &[&str] = &[
        "ann@x",
        "<bob@y>",
        "<ann>",
        "carl",
        " ",
        ",",
        ";",
        "(c@z)",
        "\"d@w\"",
        "<@a,@b:e@v>",
        ", ",
        "Ann",
        "<",
        ">",
        "@",
        ":",
    ];
}
