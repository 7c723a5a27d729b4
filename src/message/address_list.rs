//! The addresses in a field such as To, or in a command-line argument: read, not rewritten.
//!
//! Promises: every recipient that is written there is in the result or makes an error of it; none is
//! passed over. Read are RFC 5322 address lists, obsolete forms included: groups, comments (nested),
//! quoted strings, folds, source routes (dropped), domain literals, spaces around `.` and `@`, and bare
//! local parts. An empty list or group has no addresses, which is no error.
//!
//! Fails: [`Unreadable`], with the entry it was about. A list with an unreadable entry has no meaning: to
//! guess would send mail to strangers, to skip would lose it. So is one that stands in quotes as a whole: by the
//! book it is a user of this host whose name has an `@` or a comma in it, and nobody means that.
//!
//! Not here: changing addresses in place (`address.rs`, `rewrite/`).
//!
//! RFC 5322 3.4, 4.4; RFC 6532 (UTF-8).

use std::fmt;

use crate::envelope::{Address, BadAddress};

/// An entry of an address list that is no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    entry: String,
    is_in_quotes: bool,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.entry.trim();
        if self.is_in_quotes {
            return write!(f, "{}: {entry}", BadAddress::InQuotes);
        }
        write!(f, "not an address: {}", entry.escape_debug())
    }
}

impl std::error::Error for Unreadable {}

/// The addresses of a field's body, in their order.
pub fn addresses_of(body: &[u8]) -> Result<Vec<Address>, Unreadable> {
    // Octets that are no UTF-8 stand in display names of old mail; within an address they are an error.
    let text = String::from_utf8_lossy(body);
    let mut list = List { rest: &text, entry: Entry::default(), entry_start: &text, found: Vec::new() };
    list.read().map_err(|Malformed| Unreadable { entry: list.entry_text().into(), is_in_quotes: false })?;
    match list.found.iter().find(|address| address.is_address_in_quotes()) {
        Some(address) => Err(Unreadable { entry: address.to_string(), is_in_quotes: true }),
        None => Ok(list.found),
    }
}

struct Malformed;

/// What was read of one entry so far.
#[derive(Default)]
struct Entry {
    /// The words of a display name or of an address without brackets.
    words: Vec<Word>,
    /// An address in brackets was taken from it.
    is_taken: bool,
}

/// A piece of an address.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    /// Letters as they are, and domain literals.
    Atom(String),
    /// A quoted string with its quotes.
    Quoted(String),
    /// `.` or `@`, which join what stands around them, whatever space is between.
    Joint(char),
}

struct List<'a> {
    rest: &'a str,
    entry: Entry,
    entry_start: &'a str,
    found: Vec<Address>,
}

impl<'a> List<'a> {
    fn read(&mut self) -> Result<(), Malformed> {
        while let Some(c) = self.rest.chars().next() {
            match c {
                ',' | ';' => {
                    self.end_entry()?;
                    self.skip(c);
                    self.entry_start = self.rest;
                }
                // A group's name; its members follow. An address there would be passed over; and without a
                // name this is something else: to aliases(5), `:include:/a/file`.
                ':' if self.entry.words.is_empty() || self.entry.words.contains(&Word::Joint('@')) => {
                    return Err(Malformed);
                }
                ':' => {
                    self.skip(c);
                    (self.entry, self.entry_start) = (Entry::default(), self.rest);
                }
                '<' => self.angle_address()?,
                _ => {
                    let word = self.word()?;
                    self.entry.words.extend(word);
                }
            }
        }
        self.end_entry()
    }

    fn end_entry(&mut self) -> Result<(), Malformed> {
        let entry = std::mem::take(&mut self.entry);
        if !entry.is_taken && !entry.words.is_empty() {
            self.found.push(address(entry.words)?);
        }
        Ok(())
    }

    /// `<@route:local@domain>`. What stood before it was a display name.
    fn angle_address(&mut self) -> Result<(), Malformed> {
        self.skip('<');
        let mut words = Vec::new();
        loop {
            match self.rest.chars().next().ok_or(Malformed)? {
                '>' => break self.skip('>'),
                // RFC 5322 4.4: obs-route is to be ignored.
                c @ (':' | ',') if matches!(words.first(), Some(Word::Joint('@')) | None) => {
                    self.skip(c);
                    words.clear();
                }
                ':' | ',' | ';' | '<' => return Err(Malformed),
                _ => words.extend(self.word()?),
            }
        }
        self.found.push(address(words)?);
        self.entry.is_taken = true;
        Ok(())
    }

    /// The next word; `None` for a comment or white space.
    fn word(&mut self) -> Result<Option<Word>, Malformed> {
        match self.rest.chars().next() {
            Some('(') => self.delimited(comment_len).map(|_| None),
            Some('"') => self.delimited(quoted_len).map(|text| Some(Word::Quoted(without_folds(text)))),
            Some('[') => self.delimited(literal_len).map(|text| Some(Word::Atom(without_space(text)))),
            Some(c @ ('.' | '@')) => {
                self.skip(c);
                Ok(Some(Word::Joint(c)))
            }
            Some(c) if is_space(c) => {
                self.skip(c);
                Ok(None)
            }
            Some(')' | ']' | '>') | None => Err(Malformed),
            Some(_) => Ok(Some(Word::Atom(self.take(atom_len(self.rest)).into()))),
        }
    }

    fn delimited(&mut self, len: fn(&str) -> Option<usize>) -> Result<&'a str, Malformed> {
        Ok(self.take(len(self.rest).ok_or(Malformed)?))
    }

    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }

    fn skip(&mut self, c: char) {
        self.take(c.len_utf8());
    }

    /// What an error shows: the entry at hand, as far as a person wants to read it.
    fn entry_text(&self) -> &'a str {
        const SHOWN_OCTETS: usize = 100;
        let entry = self.entry_start;
        let end = entry.find([',', ';', '\r', '\n']).unwrap_or(entry.len());
        &entry[..entry.floor_char_boundary(end.min(SHOWN_OCTETS))]
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn atom_len(text: &str) -> usize {
    let ends = |c: char| is_space(c) || "()<>[]:;@,.\"".contains(c);
    text.find(ends).unwrap_or(text.len())
}

fn comment_len(text: &str) -> Option<usize> {
    let (mut depth, mut escaped) = (0_usize, false);
    text.char_indices().find_map(|(index, c)| {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        (depth == 0).then_some(index + 1)
    })
}

fn quoted_len(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().skip(1).find_map(|(index, c)| match c {
        _ if escaped => {
            escaped = false;
            None
        }
        '\\' => {
            escaped = true;
            None
        }
        '"' => Some(index + 1),
        _ => None,
    })
}

fn literal_len(text: &str) -> Option<usize> {
    text.find(']').map(|index| index + 1)
}

fn without_folds(text: &str) -> String {
    text.replace("\r\n", "")
}

fn without_space(text: &str) -> String {
    text.chars().filter(|c| !is_space(*c)).collect()
}

/// One address of its words: no two words may stand side by side without a joint.
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

/// The local part as an envelope has it: of several words, `"a".b` for one, one quoted string is made.
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
    fn text(&self) -> String {
        match self {
            Word::Atom(text) | Word::Quoted(text) => text.clone(),
            Word::Joint(c) => c.to_string(),
        }
    }
}

#[cfg(test)]
mod tests;
