//! The addresses in a header field, where they stand.
//!
//! Promises:
//! 1. Every [`Mailbox`] says which octets of the body are its local part and which are its domain, so
//!    that a change of one address leaves every other octet as it was: display names, comments, groups,
//!    encoded words, routes, folds.
//! 2. A body that is no list of addresses is [`Malformed`], and is best left alone; whatever the octets
//!    are, nothing panics, and nothing is kept but a position.
//!
//! What is understood (RFC 5322 3.4, 4.4): comments, nested; quoted strings; groups; routes; white space
//! and comments around every `.` and `@`; empty list elements; local parts without a domain. And what is
//! met besides: 8-bit octets anywhere; unquoted dots, `@` and brackets in a display name; `;` for `,`;
//! a group that does not end; `<>`.
//!
//! An address that [`Address`] does not accept is passed over: it stays as it is. So does a body with a
//! bare encoded word (RFC 2047) where an address should be: the comma in it was never a separator.
//!
//! Not here: the addresses in a body that is no list (`scattered.rs`), which fields hold addresses, and what becomes of
//! them (`rewrite/`).

mod lexer;
mod scattered;

use std::borrow::Cow;
use std::ops::Range;

use crate::envelope::Address;
use lexer::Lexer;
pub(super) use lexer::{Token, TokenKind};

pub use scattered::{Scattered, scattered};

/// Not a list of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// One address of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// What it says, without white space and comments.
    pub address: Address,
    /// Its local part, from its first to its last octet.
    pub local: Range<usize>,
    /// Its domain; `None` for a bare local part.
    pub domain: Option<Range<usize>>,
    /// The source route before it, from its first `@` to its colon (RFC 5322 4.4, obs-route): it says nothing.
    pub route: Option<Range<usize>>,
}

impl Mailbox {
    /// What to replace, and by what, to make it `other`: no more than differs.
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

/// The addresses of a field's body, in their order; the first `Err` is the last item.
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

/// The addresses of a field that says who wrote: `Acme, Inc. <n@acme.example>` has one.
///
/// Beside an element in brackets, what has none and no `@` is a part of a display name that lacks its quotes.
/// In a list of recipients it is one of them; two authors, one of them local, nobody has met.
pub fn authors(body: &[u8]) -> Mailboxes<'_> {
    let has_brackets = tokens(body).map_while(Result::ok).any(|token| token.kind == TokenKind::Less);
    let bare_words = if has_brackets { BareWords::Names } else { BareWords::Addresses };
    Mailboxes { bare_words, ..mailboxes(body) }
}

/// Whether a body is one mailbox as RFC 5322 3.4 has it: no list, no group and no route.
pub(super) fn is_one_mailbox(body: &[u8]) -> bool {
    let mut list = authors(body);
    let is_one = matches!((list.next(), list.next()), (Some(Ok(_)), None));
    let joins =
        |token: Token| matches!(token.kind, TokenKind::Comma | TokenKind::Semicolon | TokenKind::Colon);
    is_one && !list.has_names() && !list.has_unread() && !tokens(body).map_while(Result::ok).any(joins)
}

/// Whether what stands before brackets is a phrase (RFC 5322 3.2.5), with the dots of 4.1 and any octets beyond ASCII;
/// or nothing.
pub(super) fn is_phrase(before: &[u8]) -> bool {
    let is_word = |token: Token| matches!(token.kind, TokenKind::Atom | TokenKind::Quoted | TokenKind::Dot);
    tokens(before).all(|token| token.is_ok_and(is_word))
}

/// Whether an author may stand before the brackets of another: an address in brackets, or one with its domain and a
/// separator behind it.
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
        let end = rest.iter().position(|octet| *octet == b'>')?;
        Some([b"<", &rest[..end], b">"].concat())
    });
    let in_list = text.split(|octet| matches!(octet, b',' | b';' | b':')).rev().skip(1);
    in_brackets.into_iter().any(|octets| is_address(&octets, |_| true))
        || in_list.into_iter().any(|octets| is_address(octets, |mailbox| mailbox.domain.is_some()))
}

/// The words of `text`, with one letter for each quoted string and domain literal; as it is where it has no words.
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

/// The tokens of `octets`, up to where they are malformed.
pub(super) fn tokens(octets: &[u8]) -> impl Iterator<Item = Result<Token, Malformed>> {
    let mut lexer = Lexer::new(octets, 0..octets.len());
    std::iter::from_fn(move || lexer.next().transpose())
}

/// See [`mailboxes`].
#[derive(Clone, Debug)]
pub struct Mailboxes<'a> {
    lexer: Lexer<'a>,
    bare_words: BareWords,
    in_group: bool,
    ended: bool,
    has_names: bool,
    has_unread: bool,
}

/// What an element without brackets and `@` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BareWords {
    Addresses,
    Names,
}

impl Mailboxes<'_> {
    /// Whether so far there were bare words that are part of a name.
    pub fn has_names(&self) -> bool {
        self.has_names
    }

    /// Whether so far an address was passed over, since [`Address`] does not accept it.
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
    /// Reads up to the next separator, or the name of a group: the address that was there.
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

    /// An address without brackets, or an element with nothing in it.
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

    /// The address between `<`, which was read, and `>`, and the separator behind it.
    fn bracketed(&mut self) -> Result<Option<Mailbox>, Malformed> {
        let (mut spec, mut route) = (AddrSpec::default(), None);
        loop {
            let token = self.lexer.next()?.ok_or(Malformed)?;
            match token.kind {
                TokenKind::Greater => break,
                // RFC 5322 4.4, obs-route: nothing counts before the colon.
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

    /// Where it ends.
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

/// The mailbox whose parts stand there; `None`: [`Address`] does not accept it.
fn mailbox_at(octets: &[u8], local: Range<usize>, domain: Option<Range<usize>>) -> Option<Mailbox> {
    let mut text = text_at(octets, local.clone());
    if let Some(domain) = &domain {
        text.push(b'@');
        text.extend(text_at(octets, domain.clone()));
    }
    let address = String::from_utf8(text).ok().and_then(|text| Address::parse(&text).ok())?;
    Some(Mailbox { address, local, domain, route: None })
}

/// The tokens of `range` without what stands between them.
fn text_at(octets: &[u8], range: Range<usize>) -> Vec<u8> {
    let mut lexer = Lexer::new(octets, range);
    let mut text = Vec::new();
    // The range was read before: it has tokens and comments only.
    while let Ok(Some(token)) = lexer.next() {
        let octets = &octets[token.range];
        text.extend(octets.iter().filter(|octet| !matches!(octet, b'\r' | b'\n')));
    }
    text
}

/// `local`, `local@domain`, or a phrase that is neither.
#[derive(Debug, Default)]
struct AddrSpec {
    local: Option<Range<usize>>,
    domain: Option<Range<usize>>,
    has_at: bool,
    /// The last token was a word, behind which no other word may stand.
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
