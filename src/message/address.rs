//! Finds the addresses in a header field, with their positions.
//!
//! Promises:
//! 1. Each [`Mailbox`] says which octets of the body are its local part and its domain, so that one address can be
//!    replaced without changing any other octet: display names, comments, groups, encoded words, routes, folds.
//! 2. A body that is not a list of addresses is [`Malformed`], and should be left alone. Whatever the octets are,
//!    nothing panics, and only a position is kept.
//!
//! It understands (RFC 5322 3.4, 4.4): nested comments; quoted strings; groups; routes; white space and comments
//! around every `.` and `@`; empty list elements; local parts without a domain. It also accepts what programs write
//! besides: 8-bit octets anywhere; dots, `@` and brackets without quotes in a display name; `;` in place of `,`; a
//! group that does not end; `<>`.
//!
//! An address that [`Address`] does not accept is passed over, so it is not changed. A body in which an encoded word
//! (RFC 2047) stands alone in place of an address is not changed either: a comma in it was never a separator.
//!
//! Not here: the addresses in a body that is not a list (`scattered.rs`), which fields contain addresses, and
//! rewriting (`rewrite/`).

#[cfg(any(test, feature = "fuzz"))]
mod around;
mod lexer;
mod scattered;

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr;

use crate::envelope::Address;
#[cfg(any(test, feature = "fuzz"))]
pub use around::around_mailboxes;
pub(super) use lexer::{Lexer, Token, TokenKind};

pub use scattered::{Scattered, scattered};

/// The error for a body that is not a list of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// An address in a field, with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// The address, without white space and comments.
    pub address: Address,
    /// The position of its local part.
    pub local: Range<usize>,
    /// The position of its domain; `None` for a bare local part.
    pub domain: Option<Range<usize>>,
    /// The position of the source route before it, from the first `@` to the colon (RFC 5322 4.4, obs-route). It has
    /// no meaning.
    pub route: Option<Range<usize>>,
}

impl Mailbox {
    /// Returns the range to replace and the text for it that turn this address into `other`, changing as little as
    /// possible.
    pub fn edit_to(&self, other: &Address) -> (Range<usize>, String) {
        let end = self.domain.as_ref().unwrap_or(&self.local).end;
        if self.address.local_part() != other.local_part() {
            return (self.local.start..end, other.as_str().to_owned());
        }
        match (&self.domain, other.domain()) {
            (Some(range), Some(domain)) => (range.clone(), domain.to_owned()),
            (None, Some(domain)) => (end..end, format!("@{domain}")),
            (_, None) => (self.local.start..end, other.as_str().to_owned()),
        }
    }
}

/// Returns the addresses in the body of a field, in order. An error is the last item.
pub fn mailboxes(body: &[u8]) -> Mailboxes<'_> {
    Mailboxes {
        lexer: Lexer::new(body, 0..body.len()),
        bare_words: BareWords::Addresses,
        in_group: false,
        ended: false,
        has_names: false,
        has_unread: false,
    }
}

/// Returns the addresses in a field that names authors: `Acme, Inc. <n@acme.example>` has one.
///
/// If one element has brackets, another element without brackets and `@` is a part of a display name that lacks its
/// quotes. In a list of recipients it would be a recipient; but nobody writes two authors of which one has no domain.
pub fn authors(body: &[u8]) -> Mailboxes<'_> {
    let has_brackets = tokens(body).map_while(Result::ok).any(|token| token.kind == TokenKind::Less);
    let bare_words = if has_brackets { BareWords::Names } else { BareWords::Addresses };
    Mailboxes { bare_words, ..mailboxes(body) }
}

/// Returns whether a body is one mailbox (RFC 5322 3.4): no list, no group and no route.
pub(super) fn is_one_mailbox(body: &[u8]) -> bool {
    let mut list = authors(body);
    let is_one = matches!((list.next(), list.next()), (Some(Ok(_)), None));
    let joins =
        |token: Token| matches!(token.kind, TokenKind::Comma | TokenKind::Semicolon | TokenKind::Colon);
    is_one && !list.has_names() && !list.has_unread() && !tokens(body).map_while(Result::ok).any(joins)
}

/// Returns whether the text before brackets is a phrase (RFC 5322 3.2.5) or empty. Dots (4.1) and octets that are not
/// ASCII are allowed.
pub(super) fn is_phrase(before: &[u8]) -> bool {
    let is_word = |token: Token| matches!(token.kind, TokenKind::Atom | TokenKind::Quoted | TokenKind::Dot);
    tokens(before).all(|token| token.is_ok_and(is_word))
}

/// Returns whether the text before the brackets of one author may contain another author: an address in brackets, or
/// one with a domain that is followed by a separator.
pub(super) fn holds_author(before: &[u8]) -> bool {
    let text = without_quotes(before);
    let is_address = |octets: &[u8], is_enough: fn(&Mailbox) -> bool| {
        let mut list = mailboxes(octets);
        let found = list.next();
        let is_unread = |list: Mailboxes<'_>| list.has_unread() && octets.contains(&b'@');
        list.next().is_none()
            && (is_unread(list) || matches!(found, Some(Ok(mailbox)) if is_enough(&mailbox)))
    };
    let in_brackets = text.split(|octet| *octet == b'<').skip(1).filter_map(|rest| {
        let end = memchr(b'>', rest)?;
        Some([b"<", &rest[..end], b">"].concat())
    });
    let in_list = text.split(|octet| matches!(octet, b',' | b';' | b':')).rev().skip(1);
    in_brackets.into_iter().any(|octets| is_address(&octets, |_| true))
        || in_list.into_iter().any(|octets| is_address(octets, |mailbox| mailbox.domain.is_some()))
}

/// Returns `text` with one letter in place of each quoted string and domain literal; unchanged if it cannot be read
/// as tokens.
fn without_quotes(text: &[u8]) -> Cow<'_, [u8]> {
    let words: Result<Vec<_>, _> = tokens(text)
        .map(|token| {
            token.map(|token| match token.kind {
                TokenKind::Quoted | TokenKind::Literal => &b"q"[..],
                _ => &text[token.range],
            })
        })
        .collect();
    words.map_or(Cow::Borrowed(text), |words| Cow::Owned(words.join(&b' ')))
}

/// Returns the tokens of `octets`, up to the first error.
pub(super) fn tokens(octets: &[u8]) -> impl Iterator<Item = Result<Token, Malformed>> {
    let mut lexer = Lexer::new(octets, 0..octets.len());
    std::iter::from_fn(move || lexer.next().transpose())
}

/// An iterator over the addresses of a body, made by [`mailboxes`] or [`authors`]. Its flags are independent of one another:
/// a body may end within a group (RFC 5322 3.4), and have names and unread addresses in any place before.
#[derive(Clone, Debug)]
pub struct Mailboxes<'a> {
    lexer: Lexer<'a>,
    bare_words: BareWords,
    in_group: bool,
    ended: bool,
    has_names: bool,
    has_unread: bool,
}

/// The meaning of an element without brackets and `@`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BareWords {
    Addresses,
    Names,
}

impl Mailboxes<'_> {
    /// Returns whether there were bare words so far that are part of a name.
    pub fn has_names(&self) -> bool {
        self.has_names
    }

    /// Returns whether an address was passed over so far, since [`Address`] does not accept it.
    pub fn has_unread(&self) -> bool {
        self.has_unread
    }
}

impl Iterator for Mailboxes<'_> {
    type Item = Result<Mailbox, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            match self.element() {
                Ok(None) => {}
                Ok(Some(mailbox)) => return Some(Ok(mailbox)),
                Err(malformed) => {
                    self.ended = true;
                    return Some(Err(malformed));
                }
            }
        }
        None
    }
}

impl Mailboxes<'_> {
    /// Reads up to the next separator, or the name of a group. Returns the address, if there was one.
    fn element(&mut self) -> Result<Option<Mailbox>, Malformed> {
        let mut bare = AddrSpec::default();
        loop {
            let Some(token) = self.lexer.next()? else {
                self.ended = true;
                return self.bare(bare);
            };
            match token.kind {
                TokenKind::Comma => return self.bare(bare),
                TokenKind::Semicolon => {
                    self.in_group = false;
                    return self.bare(bare);
                }
                TokenKind::Colon if self.in_group || bare.is_empty() => return Err(Malformed),
                TokenKind::Colon => {
                    self.in_group = true;
                    return Ok(None);
                }
                TokenKind::Less => return self.bracketed(),
                TokenKind::Greater => return Err(Malformed),
                _ => bare.add(&token),
            }
        }
    }

    /// Returns the address of an element without brackets; `None` if the element is empty.
    fn bare(&mut self, spec: AddrSpec) -> Result<Option<Mailbox>, Malformed> {
        if spec.is_empty() {
            return Ok(None);
        }
        if self.bare_words == BareWords::Names && !spec.has_at {
            self.has_names = true;
            return Ok(None);
        }
        let local = spec.local.clone().unwrap_or_default();
        if spec.domain.is_none() && self.lexer.octets()[local].starts_with(b"=?") {
            return Err(Malformed);
        }
        self.mailbox(spec)
    }

    /// Reads the address between `<`, which was read before, and `>`, and the separator after it.
    fn bracketed(&mut self) -> Result<Option<Mailbox>, Malformed> {
        let (mut spec, mut route) = (AddrSpec::default(), None);
        loop {
            let token = self.lexer.next()?.ok_or(Malformed)?;
            match token.kind {
                TokenKind::Greater => break,
                // RFC 5322 4.4, obs-route: everything before the colon has no meaning.
                TokenKind::At if spec.is_empty() => {
                    let start = route.map_or(token.range.start, |route: Range<usize>| route.start);
                    route = Some(start..self.skip_route()?);
                }
                TokenKind::Less | TokenKind::Comma | TokenKind::Semicolon | TokenKind::Colon => {
                    return Err(Malformed);
                }
                _ => spec.add(&token),
            }
        }
        self.separator()?;
        if spec.is_empty() {
            return Ok(None);
        }
        let mailbox = self.mailbox(spec)?;
        Ok(mailbox.map(|mailbox| Mailbox { route, ..mailbox }))
    }

    /// Skips a route. Returns the position of its end.
    fn skip_route(&mut self) -> Result<usize, Malformed> {
        loop {
            let token = self.lexer.next()?.ok_or(Malformed)?;
            match token.kind {
                TokenKind::Colon => return Ok(token.range.end),
                TokenKind::At | TokenKind::Atom | TokenKind::Dot | TokenKind::Literal | TokenKind::Comma => {}
                _ => return Err(Malformed),
            }
        }
    }

    fn separator(&mut self) -> Result<(), Malformed> {
        match self.lexer.next()?.map(|token| token.kind) {
            None => self.ended = true,
            Some(TokenKind::Comma) => {}
            Some(TokenKind::Semicolon) => self.in_group = false,
            Some(_) => return Err(Malformed),
        }
        Ok(())
    }

    fn mailbox(&mut self, spec: AddrSpec) -> Result<Option<Mailbox>, Malformed> {
        let (local, domain) = spec.parts().ok_or(Malformed)?;
        let mailbox = mailbox_at(self.lexer.octets(), local, domain);
        self.has_unread |= mailbox.is_none();
        Ok(mailbox)
    }
}

/// Returns the mailbox with its parts at these positions; `None` if [`Address`] does not accept it.
fn mailbox_at(octets: &[u8], local: Range<usize>, domain: Option<Range<usize>>) -> Option<Mailbox> {
    let mut text = text_at(octets, local.clone());
    if let Some(domain) = &domain {
        text.push(b'@');
        text.extend(text_at(octets, domain.clone()));
    }
    let address = String::from_utf8(text).ok().and_then(|text| Address::parse(&text).ok())?;
    Some(Mailbox { address, local, domain, route: None })
}

/// Returns the tokens of `range` without comments and white space.
fn text_at(octets: &[u8], range: Range<usize>) -> Vec<u8> {
    let mut lexer = Lexer::new(octets, range);
    let mut text = Vec::new();
    // The range was read before, so it contains only tokens and comments.
    while let Ok(Some(token)) = lexer.next() {
        let octets = &octets[token.range];
        text.extend(octets.iter().filter(|octet| !matches!(octet, b'\r' | b'\n')));
    }
    text
}

/// The parts of `local`, of `local@domain`, or of a phrase that is neither. Each flag may be set without the others: a phrase
/// may have an `@` or not, and end with a word or a dot.
#[derive(Debug, Default)]
struct AddrSpec {
    local: Option<Range<usize>>,
    domain: Option<Range<usize>>,
    has_at: bool,
    /// True if the last token was a word, after which another word is not allowed.
    behind_word: bool,
    is_phrase: bool,
}

impl AddrSpec {
    fn is_empty(&self) -> bool {
        self.local.is_none() && !self.has_at && !self.is_phrase
    }

    fn add(&mut self, token: &Token) {
        if token.kind == TokenKind::At {
            self.is_phrase |= self.has_at || self.local.is_none();
            self.has_at = true;
            self.behind_word = false;
            return;
        }
        let is_word = token.kind != TokenKind::Dot;
        self.is_phrase |= is_word && self.behind_word;
        self.is_phrase |= token.kind == TokenKind::Literal && (!self.has_at || self.domain.is_some());
        self.is_phrase |= token.kind == TokenKind::Quoted && self.has_at;
        self.behind_word = is_word;
        let part = if self.has_at { &mut self.domain } else { &mut self.local };
        let start = part.as_ref().map_or(token.range.start, |range| range.start);
        *part = Some(start..token.range.end);
    }

    fn parts(self) -> Option<(Range<usize>, Option<Range<usize>>)> {
        let whole = !self.is_phrase && self.has_at == self.domain.is_some();
        self.local.filter(|_| whole).map(|local| (local, self.domain))
    }
}

#[cfg(test)]
mod tests;
