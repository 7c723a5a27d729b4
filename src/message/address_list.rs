//! The addresses in a field such as To, or in a command-line argument: read, not rewritten.
//!
//! Promises: every recipient that is written there is in the result or makes an error of it; none is
//! passed over. Read are RFC 5322 address lists, obsolete forms included: groups, comments (nested),
//! quoted strings, folds, source routes (dropped), domain literals, spaces around `.` and `@`, and bare
//! local parts. An empty list or group has no addresses, which is no error.
//!
//! Fails: [`Unreadable`], with the entry it was about. A list with an unreadable entry has no meaning: to
//! guess would send mail to strangers, to skip would lose it. So has one that nobody means as a recipient
//! (`Address::fault_as_recipient`): that stands in quotes as a whole, or is an encoded word or a name. And so has an address beside
//! another one in brackets, with no comma between them:
//!
//! | the entry | is |
//! |---|---|
//! | `a@x Ann <b@y>`, `a@x <b@y>`, `<b@y> a@x` | refused: `a@x` is a recipient, or a name without quotes |
//! | `b@y <b@y>`, `'a@x' <b@y>`, `"a@x" <b@y>`, `Joe @ Home <b@y>`, `(a@x) <b@y>` | `b@y` |
//!
//! A bare word in a list with brackets, `Smith` in `Smith, Ann <a@x>`, may be a part of a name that lacks its
//! quotes. It is in the result, and [`ListedAddresses::doubtful`] has it too, for who knows the users of this host.
//!
//! Not here: changing addresses in place (`address.rs`, `rewrite/`).
//!
//! RFC 5322 3.4, 4.4; RFC 6532 (UTF-8); RFC 2047 (encoded words).

use std::fmt;

use super::address::{Mailbox, scattered};
use super::display_name::encoded_word_len;
use crate::envelope::{Address, BadAddress};

/// What a list names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedAddresses {
    /// All addresses, in their order.
    pub addresses: Vec<Address>,
    /// Those of them that are a bare word, where another entry of the list has brackets.
    pub doubtful: Vec<Address>,
}

/// An entry of an address list that is no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    entry: String,
    fault: Fault,
}

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Malformed,
    /// An address stands beside another one in brackets.
    NoComma,
    /// It is an address, but no recipient.
    NoRecipient(BadAddress),
}

impl From<Malformed> for Fault {
    fn from(_: Malformed) -> Self {
        Fault::Malformed
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.entry.trim();
        match self.fault {
            Fault::Malformed => write!(f, "not an address: {}", entry.escape_debug()),
            Fault::NoComma => write!(
                f,
                "an address stands beside one in brackets: put a comma between them, or quotes around what is a name: {}",
                entry.escape_debug()
            ),
            Fault::NoRecipient(fault) => write!(f, "{fault}: {entry}"),
        }
    }
}

impl std::error::Error for Unreadable {}

/// The addresses of a field's body.
pub fn addresses_of(body: &[u8]) -> Result<ListedAddresses, Unreadable> {
    // Octets that are no UTF-8 stand in display names of old mail; within an address they are an error.
    let text = String::from_utf8_lossy(body);
    let (entry, found, bare_words) = (Entry::default(), Vec::new(), Vec::new());
    let mut list = List { rest: &text, entry, entry_start: &text, has_brackets: false, found, bare_words };
    list.read().map_err(|fault| Unreadable { entry: list.entry_text().into(), fault })?;
    let faulty = list.found.iter().find_map(|address| Some((address, address.fault_as_recipient()?)));
    if let Some((address, fault)) = faulty {
        return Err(Unreadable { entry: address.to_string(), fault: Fault::NoRecipient(fault) });
    }
    let doubtful = if list.has_brackets { list.bare_words } else { Vec::new() };
    Ok(ListedAddresses { addresses: list.found, doubtful })
}

struct Malformed;

/// What was read of one entry so far.
#[derive(Default)]
struct Entry {
    /// The words of a display name or of an address without brackets.
    words: Vec<Word>,
    /// What was read before or behind brackets, with what is no address left out: quotes, comments, encoded words.
    text: String,
    /// An address in brackets was taken from it.
    taken: Option<Address>,
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
    has_brackets: bool,
    found: Vec<Address>,
    /// Those of `found` that have neither brackets nor a domain.
    bare_words: Vec<Address>,
}

impl<'a> List<'a> {
    fn read(&mut self) -> Result<(), Fault> {
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
                    return Err(Fault::Malformed);
                }
                ':' => {
                    self.skip(c);
                    (self.entry, self.entry_start) = (Entry::default(), self.rest);
                }
                '<' => self.angle_address()?,
                _ => {
                    let word = self.word()?;
                    self.entry.text += word.as_ref().map_or(" ", Word::open_text);
                    self.entry.words.extend(word);
                }
            }
        }
        self.end_entry()
    }

    fn end_entry(&mut self) -> Result<(), Fault> {
        if let Some(address) = &self.entry.taken {
            self.entry.refuse_beside(address)?;
        } else if !self.entry.words.is_empty() {
            let address = address(std::mem::take(&mut self.entry.words))?;
            if address.domain().is_none() {
                self.bare_words.push(address.clone());
            }
            self.found.push(address);
        }
        self.entry = Entry::default();
        Ok(())
    }

    /// `<@route:local@domain>`. What stood before it was a display name.
    fn angle_address(&mut self) -> Result<(), Fault> {
        self.skip('<');
        let mut words = Vec::new();
        loop {
            match self.rest.chars().next().ok_or(Fault::Malformed)? {
                '>' => break self.skip('>'),
                // RFC 5322 4.4: obs-route is to be ignored.
                c @ (':' | ',') if matches!(words.first(), Some(Word::Joint('@')) | None) => {
                    self.skip(c);
                    words.clear();
                }
                ':' | ',' | ';' | '<' => return Err(Fault::Malformed),
                _ => words.extend(self.word()?),
            }
        }
        let address = address(words)?;
        self.entry.refuse_beside(&address)?;
        self.found.push(address.clone());
        (self.entry, self.has_brackets) = (Entry { taken: Some(address), ..Entry::default() }, true);
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
            Some(_) => {
                let len = encoded_word_len(self.rest).unwrap_or_else(|| atom_len(self.rest));
                Ok(Some(Word::Atom(self.take(len).into())))
            }
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

impl Entry {
    /// Fails where an address was read beside brackets that have another one in them.
    fn refuse_beside(&self, in_brackets: &Address) -> Result<(), Fault> {
        let is_at = |mailbox: &Mailbox| {
            let end = mailbox.domain.as_ref().map_or(0, |domain| domain.start);
            self.text.get(mailbox.local.end..end) == Some("@")
        };
        let is_other =
            |mailbox: &Mailbox| !mailbox.address.as_str().eq_ignore_ascii_case(in_brackets.as_str());
        let is_beside = scattered(self.text.as_bytes()).any(|mailbox| is_at(&mailbox) && is_other(&mailbox));
        if is_beside { Err(Fault::NoComma) } else { Ok(()) }
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
    /// What there is of it in which an address may stand.
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
