//! Splits a field with addresses into tokens (RFC 5322 3.2), without comments and white space.
//!
//! Promises: a token is a range of the octets. Between two tokens there are only white space, line breaks and
//! comments. Nested comments need no recursion. A quote or comment that does not end is [`Malformed`], and so is a
//! control character outside quotes and comments. [`Lexer::next_of_any`] goes on after either.

use std::ops::Range;

use super::Malformed;
use crate::envelope::quoted::closed_len;
use crate::message::encoded_word::EncodedWord;

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::message) enum TokenKind {
    /// A run of octets that are neither white space nor special. It may contain 8-bit octets.
    Atom,
    /// A quoted string, with its quotes.
    Quoted,
    /// A domain literal, with its brackets.
    Literal,
    Dot,
    At,
    Comma,
    Semicolon,
    Colon,
    Less,
    Greater,
}

/// A token with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::message) struct Token {
    pub(in crate::message) kind: TokenKind,
    pub(in crate::message) range: Range<usize>,
}

/// Reads tokens one by one.
#[derive(Clone, Debug)]
pub(in crate::message) struct Lexer<'a> {
    octets: &'a [u8],
    /// True if the octets are only read, and not changed in place.
    is_text: bool,
    position: usize,
    end: usize,
    /// True if a quote, comment or literal that has no end was met. The octets after its first one are read as text.
    is_open: bool,
}

impl<'a> Lexer<'a> {
    /// Returns a lexer for `range` of `octets`.
    pub(super) fn new(octets: &'a [u8], range: Range<usize>) -> Self {
        Lexer { octets, is_text: false, position: range.start, end: range.end, is_open: false }
    }

    /// Returns a lexer for `text` that is only read, and not changed in place. An encoded word (RFC 2047) is one atom,
    /// even with a comma or a space in it; and an atom may contain backslashes and control characters.
    pub(in crate::message) fn of_text(text: &'a str) -> Self {
        Lexer { is_text: true, ..Lexer::new(text.as_bytes(), 0..text.len()) }
    }

    pub(super) fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// Returns the next token; `None` at the end. After an error, the position is that of the octet which begins no
    /// token, or which opens a quote or comment that does not end.
    pub(in crate::message) fn next(&mut self) -> Result<Option<Token>, Malformed> {
        self.skip_comments_and_space()?;
        let start = self.position;
        let Some(first) = self.peek() else { return Ok(None) };
        let kind = match first {
            b'"' => {
                self.skip_to_closing(b'"')?;
                TokenKind::Quoted
            }
            b'[' => {
                self.skip_to_closing(b']')?;
                TokenKind::Literal
            }
            octet => match self.encoded_word_len() {
                Some(len) => {
                    self.position += len;
                    TokenKind::Atom
                }
                None => self.plain(octet).ok_or(Malformed)?,
            },
        };
        Ok(Some(Token { kind, range: start..self.position }))
    }

    /// Returns the next token of octets that may be malformed. An octet that begins no token gives an error, and
    /// reading goes on after it.
    pub(super) fn next_of_any(&mut self) -> Option<Result<Token, Malformed>> {
        if !self.is_open {
            match self.next() {
                Ok(token) => return token.map(Ok),
                Err(Malformed) => {
                    self.is_open = self.peek().is_some_and(|octet| b"\"[(".contains(&octet));
                    self.position += 1;
                    return Some(Err(Malformed));
                }
            }
        }
        while self.peek().is_some_and(is_space) {
            self.position += 1;
        }
        let (start, octet) = (self.position, self.peek()?);
        let Some(kind) = self.plain(octet) else {
            self.position += 1;
            return Some(Err(Malformed));
        };
        Some(Ok(Token { kind, range: start..self.position }))
    }

    /// Reads a token that begins with `octet` and needs no closing octet.
    fn plain(&mut self, octet: u8) -> Option<TokenKind> {
        let kind = match octet {
            b'.' => TokenKind::Dot,
            b'@' => TokenKind::At,
            b',' => TokenKind::Comma,
            b';' => TokenKind::Semicolon,
            b':' => TokenKind::Colon,
            b'<' => TokenKind::Less,
            b'>' => TokenKind::Greater,
            octet if self.is_atom_octet(octet) => {
                self.skip_atom();
                return Some(TokenKind::Atom);
            }
            _ => return None,
        };
        self.position += 1;
        Some(kind)
    }

    /// Returns the length of the encoded word that is one atom here.
    fn encoded_word_len(&self) -> Option<usize> {
        if !self.is_text {
            return None;
        }
        EncodedWord::begun_by(&self.octets[self.position..self.end])?.whole_len()
    }

    /// Returns whether an octet may be in an atom: atext (RFC 5322 3.2.3), UTF-8 (RFC 6532 3.2), and any other octet
    /// from 128.
    fn is_atom_octet(&self, octet: u8) -> bool {
        let is_atext = octet.is_ascii_graphic() && octet != b'\\' || octet >= 128;
        !is_special(octet) && !is_space(octet) && (is_atext || self.is_text)
    }

    fn peek(&self) -> Option<u8> {
        self.octets[..self.end].get(self.position).copied()
    }

    fn skip_atom(&mut self) {
        while self.peek().is_some_and(|octet| self.is_atom_octet(octet)) {
            self.position += 1;
        }
    }

    /// Skips from the opening octet to after the closing one. A backslash escapes the next octet.
    fn skip_to_closing(&mut self, closing: u8) -> Result<(), Malformed> {
        self.position += closed_len(&self.octets[self.position..self.end], closing).ok_or(Malformed)?;
        Ok(())
    }

    fn skip_comments_and_space(&mut self) -> Result<(), Malformed> {
        let (mut depth, mut opened): (usize, usize) = (0, self.position);
        while let Some(octet) = self.peek() {
            if octet == b'(' && depth == 0 {
                opened = self.position;
            }
            match octet {
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b'\\' if depth > 0 => self.position += 1,
                octet if is_space(octet) => {}
                _ if depth > 0 => {}
                _ => break,
            }
            self.position += 1;
        }
        if depth > 0 {
            self.position = opened;
            return Err(Malformed);
        }
        Ok(())
    }
}

fn is_space(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_special(octet: u8) -> bool {
    b"()<>[]:;@,.\"".contains(&octet)
}
