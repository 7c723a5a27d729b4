//! Reads the addresses in a field such as To, or in a command-line argument, without changing them.
//!
//! Promises: every recipient in the text is in the result, or makes the whole text an error; none is passed over. The
//! text is an address list of RFC 5322, with its obsolete forms: groups, nested comments, quoted strings, folds, source
//! routes (which are dropped), domain literals, spaces around `.` and `@`, and bare local parts. An empty list or group
//! has no addresses, and is not an error.
//!
//! Fails: with [`Unreadable`], which names the entry. A list with an entry that cannot be read has no meaning: guessing
//! would send mail to strangers, and skipping would lose it. An entry is also refused if it is certainly not meant as a
//! recipient (`Address::fault_as_recipient`): all of it is in quotes, or it is an encoded word or a name. And so is an
//! address next to another one in brackets, without a comma between them:
//!
//! | entry | result |
//! |---|---|
//! | `a@x Ann <b@y>`, `a@x <b@y>`, `<b@y> a@x` | refused: `a@x` is a recipient, or a name without quotes |
//! | `b@y <b@y>`, `'a@x' <b@y>`, `"a@x" <b@y>`, `Joe @ Home <b@y>`, `(a@x) <b@y>` | `b@y` |
//!
//! A bare word in a list with brackets, such as `Smith` in `Smith, Ann <a@x>`, may be a part of a name without quotes.
//! It is in the result, and also in [`ListedAddresses::doubtful`], for a caller who knows the users of this host.
//!
//! Not here: tokens (`address/lexer.rs`), changing addresses in place (`address.rs`, `rewrite/`).
//!
//! RFC 5322 3.4, 4.4; RFC 6532 (UTF-8); RFC 2047 (encoded words).

use std::fmt;

use super::address::{Lexer, Mailbox, Malformed, Token, TokenKind, scattered};
use crate::envelope::{Address, BadAddress};

/// The addresses of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedAddresses {
    /// All addresses, in their order.
    pub addresses: Vec<Address>,
    /// Those of them that are a bare word, if another entry of the list has brackets.
    pub doubtful: Vec<Address>,
}

/// The error for an entry of an address list that is not an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    entry: String,
    fault: EntryFault,
}

/// The fault of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EntryFault {
    Malformed,
    /// It has an address next to another one in brackets.
    NoComma,
    /// It is an address, but not one of a recipient.
    NoRecipient(BadAddress),
}

impl From<Malformed> for EntryFault {
    fn from(_: Malformed) -> Self {
        EntryFault::Malformed
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.entry.trim();
        match self.fault {
            EntryFault::Malformed => write!(f, "not an address: {}", entry.escape_debug()),
            EntryFault::NoComma => write!(
                f,
                "an address stands beside one in brackets: put a comma between them, or quotes around what is a name: {}",
                entry.escape_debug()
            ),
            EntryFault::NoRecipient(fault) => write!(f, "{fault}: {entry}"),
        }
    }
}

impl std::error::Error for Unreadable {}

/// Reads the addresses of a field's body.
pub fn addresses_of(body: &[u8]) -> Result<ListedAddresses, Unreadable> {
    // Display names in old mail may have octets that are not UTF-8. Within an address they are an error.
    let text = String::from_utf8_lossy(body);
    let mut list = List::of(&text);
    list.read().map_err(|fault| Unreadable { entry: list.entry_text().into(), fault })?;
    let faulty = list.found.iter().find_map(|address| Some((address, address.fault_as_recipient()?)));
    if let Some((address, fault)) = faulty {
        return Err(Unreadable { entry: address.to_string(), fault: EntryFault::NoRecipient(fault) });
    }
    let doubtful = if list.has_brackets { list.bare_words } else { Vec::new() };
    Ok(ListedAddresses { addresses: list.found, doubtful })
}

/// The part of one entry that was read.
#[derive(Default)]
struct ListEntry {
    /// The words of a display name, or of an address without brackets.
    words: Vec<Word>,
    /// The text outside brackets, without parts that cannot be an address: quoted strings, comments, encoded words.
    text: String,
    /// The address in brackets that was found in it.
    taken: Option<Address>,
}

/// A part of an address.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    /// An atom or a domain literal.
    Atom(String),
    /// A quoted string with its quotes.
    Quoted(String),
    /// A `.` or `@`, which joins the words around it, even with space between them.
    Joint(char),
}

/// A list that is being read.
struct List<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    /// The position after the last token.
    position: usize,
    entry: ListEntry,
    /// The position at which the entry begins.
    entry_start: usize,
    has_brackets: bool,
    found: Vec<Address>,
    /// Those of `found` that have neither brackets nor a domain.
    bare_words: Vec<Address>,
}

impl<'a> List<'a> {
    fn of(text: &'a str) -> Self {
        List {
            text,
            lexer: Lexer::of_text(text),
            position: 0,
            entry: ListEntry::default(),
            entry_start: 0,
            has_brackets: false,
            found: Vec::new(),
            bare_words: Vec::new(),
        }
    }

    fn read(&mut self) -> Result<(), EntryFault> {
        while let Some(token) = self.lexer.next()? {
            let is_apart = token.range.start > self.position;
            self.position = token.range.end;
            match token.kind {
                TokenKind::Comma | TokenKind::Semicolon => {
                    self.end_entry()?;
                    self.entry_start = self.position;
                }
                TokenKind::Colon => self.begin_group()?,
                TokenKind::Less => self.angle_address()?,
                _ => {
                    let word = self.word(&token)?;
                    self.entry.text += if is_apart { " " } else { "" };
                    self.entry.text += word.open_text();
                    self.entry.words.push(word);
                }
            }
        }
        self.end_entry()
    }

    /// Takes the words before a colon for the name of a group. An address must not be passed over as one. Without a name,
    /// the colon has another meaning: to aliases(5), `:include:/a/file`.
    fn begin_group(&mut self) -> Result<(), Malformed> {
        if self.entry.words.is_empty() || self.entry.words.contains(&Word::Joint('@')) {
            return Err(Malformed);
        }
        (self.entry, self.entry_start) = (ListEntry::default(), self.position);
        Ok(())
    }

    fn end_entry(&mut self) -> Result<(), EntryFault> {
        if let Some(address) = &self.entry.taken {
            self.entry.refuse_beside(address)?;
        } else if !self.entry.words.is_empty() {
            let address = address(std::mem::take(&mut self.entry.words))?;
            if address.domain().is_none() {
                self.bare_words.push(address.clone());
            }
            self.found.push(address);
        }
        self.entry = ListEntry::default();
        Ok(())
    }

    /// Reads `@route:local@domain>` after a `<`. The words before it were a display name.
    fn angle_address(&mut self) -> Result<(), EntryFault> {
        let mut words = Vec::new();
        loop {
            let token = self.lexer.next()?.ok_or(Malformed)?;
            self.position = token.range.end;
            match token.kind {
                TokenKind::Greater => break,
                // RFC 5322 4.4: obs-route is to be ignored.
                TokenKind::Colon | TokenKind::Comma
                    if matches!(words.first(), Some(Word::Joint('@')) | None) =>
                {
                    words.clear();
                }
                _ => words.push(self.word(&token)?),
            }
        }
        let address = address(words)?;
        self.entry.refuse_beside(&address)?;
        self.found.push(address.clone());
        (self.entry, self.has_brackets) = (ListEntry { taken: Some(address), ..ListEntry::default() }, true);
        Ok(())
    }

    /// Returns a token as a part of an address.
    fn word(&self, token: &Token) -> Result<Word, Malformed> {
        let text = &self.text[token.range.clone()];
        match token.kind {
            TokenKind::Atom => Ok(Word::Atom(text.to_owned())),
            TokenKind::Quoted => Ok(Word::Quoted(text.replace("\r\n", ""))),
            TokenKind::Literal => Ok(Word::Atom(text.replace([' ', '\t', '\r', '\n'], ""))),
            TokenKind::Dot => Ok(Word::Joint('.')),
            TokenKind::At => Ok(Word::Joint('@')),
            TokenKind::Comma
            | TokenKind::Semicolon
            | TokenKind::Colon
            | TokenKind::Less
            | TokenKind::Greater => Err(Malformed),
        }
    }

    /// Returns the beginning of the current entry, for an error.
    fn entry_text(&self) -> &'a str {
        const SHOWN_OCTETS: usize = 100;
        let entry = &self.text[self.entry_start..];
        let end = entry.find([',', ';', '\r', '\n']).unwrap_or(entry.len());
        &entry[..entry.floor_char_boundary(end.min(SHOWN_OCTETS))]
    }
}

impl ListEntry {
    /// Fails if there is an address next to brackets that contain another one.
    fn refuse_beside(&self, in_brackets: &Address) -> Result<(), EntryFault> {
        let is_at = |mailbox: &Mailbox| {
            let end = mailbox.domain.as_ref().map_or(0, |domain| domain.start);
            self.text.get(mailbox.local.end..end) == Some("@")
        };
        let is_other =
            |mailbox: &Mailbox| !mailbox.address.as_str().eq_ignore_ascii_case(in_brackets.as_str());
        let is_beside = scattered(self.text.as_bytes()).any(|mailbox| is_at(&mailbox) && is_other(&mailbox));
        if is_beside { Err(EntryFault::NoComma) } else { Ok(()) }
    }
}

/// Returns the address that consists of `words`. Two words without a joint between them are an error.
fn address(words: Vec<Word>) -> Result<Address, Malformed> {
    let is_joint = |word: &Word| matches!(word, Word::Joint(_));
    if words.windows(2).any(|pair| !is_joint(&pair[0]) && !is_joint(&pair[1])) {
        return Err(Malformed);
    }
    let local_end = words.iter().position(|word| *word == Word::Joint('@')).unwrap_or(words.len());
    let (local, domain) = words.split_at(local_end);
    let mut text = local_part(local);
    domain.iter().for_each(|word| text.push_str(&word.text()));
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Malformed);
    }
    Address::parse(&text).map_err(|_| Malformed)
}

/// Returns the local part in the form for an envelope. Several words with quotes, such as `"a".b`, become one quoted string.
fn local_part(words: &[Word]) -> String {
    let is_mixed = words.len() > 1 && words.iter().any(|word| matches!(word, Word::Quoted(_)));
    let text: String = words.iter().map(Word::text).collect();
    if !is_mixed {
        return text;
    }
    let pieces = words.iter().map(|word| match word {
        Word::Quoted(quoted) => quoted[1..quoted.len() - 1].to_owned(),
        other => other.text(),
    });
    format!("\"{}\"", pieces.collect::<String>())
}

impl Word {
    /// Returns its text for a search for addresses, without parts that cannot be one.
    fn open_text(&self) -> &str {
        match self {
            Word::Atom(text) if !text.starts_with("=?") => text,
            Word::Atom(_) | Word::Quoted(_) => "q",
            Word::Joint('@') => "@",
            Word::Joint(_) => ".",
        }
    }

    fn text(&self) -> String {
        match self {
            Word::Atom(text) | Word::Quoted(text) => text.clone(),
            Word::Joint(c) => c.to_string(),
        }
    }
}

#[cfg(test)]
mod tests;
