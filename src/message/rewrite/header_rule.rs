//! The rules of `[[rewrite.header]]`: a pattern for header fields, and an action for the fields that it matches.
//!
//! Promises:
//! 1. A rule writes exactly one field: the text of a matched group cannot end it or begin another one. If the result
//!    would not be one field, the original field stays.
//! 2. A pattern is matched against a whole field, with name and colon, but without folds. A field that is written has
//!    at most 64 KiB, and lines under 998 octets if there is white space for folds.
//! 3. The first rule that matches a field decides, as in header_checks(5).
//!
//! Fails: with [`Unacceptable::TooMuchEffort`]. Then the message must be refused, since a rule might have rejected
//! it.
//! Not here: the limit on the effort (`effort.rs`).

use std::fmt;

use regex::bytes::Captures;

use super::effort::RuleEffort;
use super::pattern::Pattern;
use crate::message::header::{self, Field, MAX_LINE_OCTETS};
use crate::message::unacceptable::Unacceptable;

/// The longest field that is written, in octets.
const MAX_WRITTEN_OCTETS: usize = 64 * 1024;

/// The longest text of a refusal, in octets, since it is part of a reply.
const MAX_REFUSAL_OCTETS: usize = 400;

/// A rule: a pattern and an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderRule {
    /// The pattern for the fields.
    pub pattern: Pattern,
    /// The action for the fields that match.
    pub action: HeaderAction,
}

/// The action of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderAction {
    /// The field is replaced with this one.
    Replace(FieldText),
    /// The field is removed.
    Remove,
    /// This field is added before it.
    Prepend(FieldText),
    /// The message is refused with 550 5.7.1.
    Reject(RejectText),
    /// The field stays, and later rules do not see it.
    Keep,
}

/// The result of a rule for one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RuleOutcome<'r> {
    Replaced(Vec<u8>),
    Removed,
    Prepended(Vec<u8>),
    Rejected(&'r str),
    Kept,
}

/// Returns the result for `field`, and the number of the rule, counted from 1: the first rule that matches and whose
/// text, if any, makes a field.
pub(super) fn first_outcome<'r>(
    rules: &'r [HeaderRule],
    field: &Field<'_>,
    effort: &mut RuleEffort,
) -> Result<Option<(usize, RuleOutcome<'r>)>, Unacceptable> {
    if rules.is_empty() {
        return Ok(None);
    }
    let unfolded = unfolded(field);
    for (number, rule) in (1..).zip(rules) {
        if !effort.spend(unfolded.len(), &rule.pattern) {
            return Err(Unacceptable::TooMuchEffort);
        }
        if let Some(outcome) = rule.apply(&unfolded) {
            return Ok(Some((number, outcome)));
        }
    }
    Ok(None)
}

impl HeaderRule {
    /// Returns the result; `None` if the pattern does not match, or the text does not make a field.
    fn apply(&self, unfolded: &[u8]) -> Option<RuleOutcome<'_>> {
        let matched = self.pattern.captures(unfolded)?;
        match &self.action {
            HeaderAction::Replace(text) => text.write(&matched).map(RuleOutcome::Replaced),
            HeaderAction::Remove => Some(RuleOutcome::Removed),
            HeaderAction::Prepend(text) => text.write(&matched).map(RuleOutcome::Prepended),
            HeaderAction::Reject(refusal) => Some(RuleOutcome::Rejected(&refusal.0)),
            HeaderAction::Keep => Some(RuleOutcome::Kept),
        }
    }
}

/// Returns the whole field on one line, without its line end.
fn unfolded(field: &Field<'_>) -> Vec<u8> {
    let lines = field.octets().split(|octet| *octet == b'\n');
    lines.flat_map(|line| line.strip_suffix(b"\r").unwrap_or(line)).copied().collect()
}

/// The text of a field: `$1` and `${1}` stand for what a group of the pattern matched, and `$$` for a dollar sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldText(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Group(usize),
}

/// The reason why a text is not a [`FieldText`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFieldText {
    /// It begins neither with a name and a colon, nor with a group.
    NoField,
    /// It contains a control character.
    Control,
    /// A `$` is followed neither by the number of a group nor by another `$`.
    Dollar,
    /// It names a group that the pattern does not have.
    NoSuchGroup,
}

impl fmt::Display for BadFieldText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadFieldText::NoField => "one without a name and a colon at its beginning",
            BadFieldText::Control => "one with a control character",
            BadFieldText::Dollar => "one with a lone $ (write $$)",
            BadFieldText::NoSuchGroup => "one with a group that `match` does not have",
        })
    }
}

impl std::error::Error for BadFieldText {}

impl FieldText {
    /// Parses the text for a pattern with so many groups.
    pub fn parse(text: &str, groups: usize) -> Result<Self, BadFieldText> {
        if text.chars().any(|c| c.is_control() && c != '\t') {
            return Err(BadFieldText::Control);
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('$') {
            pieces.push(Piece::Text(before.into()));
            let piece;
            (piece, rest) = dollar(behind)?;
            pieces.push(piece);
        }
        pieces.push(Piece::Text(rest.into()));
        pieces.retain(|piece| *piece != Piece::Text("".into()));
        if pieces.iter().any(|piece| matches!(piece, Piece::Group(number) if *number > groups)) {
            return Err(BadFieldText::NoSuchGroup);
        }
        if begins_field(&pieces) { Ok(FieldText(pieces)) } else { Err(BadFieldText::NoField) }
    }

    /// Returns the field with its line end; `None` if the result is not a field.
    fn write(&self, matched: &Captures<'_>) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(fixed) => text.extend_from_slice(fixed.as_bytes()),
                Piece::Group(number) => {
                    text.extend_from_slice(matched.get(*number).map_or(b"", |group| group.as_bytes()));
                }
            }
            if text.len() > MAX_WRITTEN_OCTETS {
                return None;
            }
        }
        for octet in text.iter_mut().filter(|octet| matches!(**octet, b'\r' | b'\n' | b'\0')) {
            *octet = b' ';
        }
        let line = [text.trim_ascii_end(), b"\r\n"].concat();
        let is_field = header::split(&line).header.octets() == line;
        is_field.then(|| folded(&line))
    }
}

/// Parses what follows a `$`. Returns it with the rest of the text.
fn dollar(behind: &str) -> Result<(Piece, &str), BadFieldText> {
    if let Some(rest) = behind.strip_prefix('$') {
        return Ok((Piece::Text("$".into()), rest));
    }
    let (digits, rest) = match behind.strip_prefix('{') {
        Some(inside) => inside.split_once('}').ok_or(BadFieldText::Dollar)?,
        None => behind.split_at(behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len())),
    };
    let number = digits.parse().map_err(|_| BadFieldText::Dollar)?;
    Ok((Piece::Group(number), rest))
}

/// Returns whether `pieces` can make a field: there is a name before the first colon, or a group that may contain
/// both.
fn begins_field(pieces: &[Piece]) -> bool {
    let mut name_octets = 0;
    for piece in pieces {
        let Piece::Text(text) = piece else { return true };
        let end = text.find(|c: char| !c.is_ascii_graphic() || c == ':').unwrap_or(text.len());
        name_octets += end;
        if end < text.len() {
            return name_octets > 0 && text[end..].starts_with(':');
        }
    }
    false
}

/// Returns `line` with folds before white space if it is too long. Unfolding gives the same line.
fn folded(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line;
    while rest.len() > MAX_LINE_OCTETS + 2 {
        let is_wsp = |octet: &u8| matches!(octet, b' ' | b'\t');
        // The first octet is the white space of the fold before, and a line must not consist of white space alone.
        let wide = &rest[..MAX_LINE_OCTETS];
        let Some(at) = wide.iter().rposition(is_wsp).filter(|at| !wide[..*at].iter().all(is_wsp)) else {
            break;
        };
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(b"\r\n");
        rest = &rest[at..];
    }
    out.extend_from_slice(rest);
    out
}

/// The text of the reply to a client whose message is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectText(Box<str>);

impl RejectText {
    /// Returns `text` if it is fit for a reply: printable ASCII, and not too long.
    pub fn parse(text: &str) -> Option<Self> {
        let is_printable = text.bytes().all(|octet| octet.is_ascii_graphic() || octet == b' ');
        let fits = !text.trim().is_empty() && text.len() <= MAX_REFUSAL_OCTETS;
        (is_printable && fits).then(|| RejectText(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(pattern: &str, text: &str, field: &[u8]) -> Option<String> {
        let pattern = Pattern::new(pattern).unwrap();
        let text = FieldText::parse(text, pattern.groups()).unwrap();
        let rule = HeaderRule { pattern, action: HeaderAction::Replace(text) };
        let field = header::split(field).header.fields().next().unwrap();
        match rule.apply(&unfolded(&field))? {
            RuleOutcome::Replaced(octets) => Some(octets.escape_ascii().to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn groups_are_filled_in() {
        for (pattern, text, field, expected) in [
            ("^Reply-To:.*", "Reply-To: me@x", &b"reply-to: a,\r\n b\r\n"[..], Some(r"Reply-To: me@x\r\n")),
            (r"^(Subject): (.*)", "$1: [web1] $2", b"subject: hi\r\n", Some(r"subject: [web1] hi\r\n")),
            (r"^Subject: (a)(b)?", "Subject: ${1}0$2$$1", b"Subject: ab\r\n", Some(r"Subject: a0b$1\r\n")),
            (r"^Subject: (a)(b)?", "Subject: ${1}0$2$$1", b"Subject: ac\r\n", Some(r"Subject: a0$1\r\n")),
            (
                "^Subject: one two$",
                "Subject: $0",
                b"Subject: one\r\n two\r\n",
                Some(r"Subject: Subject: one two\r\n"),
            ),
            ("^X:", "Y: z  ", b"X: \r\n", Some(r"Y: z\r\n")),
            ("^To:", "X: y", b"Subject: To:\r\n", None),
            // Text that was matched cannot end a field or begin one.
            ("^X: (.*)", "Y: $1", b"X: a\rBcc: b\0\r\n", Some(r"Y: a Bcc: b\r\n")),
            ("^X: (.*)", "$1", b"X: no field\r\n", None),
            ("^X: (.*)", "$1", b"X: Y: field\r\n", Some(r"Y: field\r\n")),
            ("^X: (.*)", "$1: y", b"X:  \r\n", None),
            ("^X: (.*)", "X-$1: y", b"X: a b\r\n", None),
            ("^X: (.*)", "Y: $1", b"X: \xff\r\n", Some(r"Y: \xff\r\n")),
        ] {
            assert_eq!(replaced(pattern, text, field).as_deref(), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_written_is_bounded_and_folded() {
        let words = b"word ".repeat(1000);
        let field = [b"X: ", &words[..], b"\r\n"].concat();
        let out = replaced("^X: (.*)", "Y: $1", &field).unwrap();
        let lines: Vec<_> = out.split(r"\r\n").collect();
        assert!(lines.len() > 5 && lines.iter().all(|line| line.len() <= MAX_LINE_OCTETS), "{out}");
        assert_eq!(lines.concat(), format!("Y: {}", "word ".repeat(1000).trim_end()), "folds aside");
        let long = [b"X: ", &b"x".repeat(MAX_WRITTEN_OCTETS)[..], b" end\r\n"].concat();
        assert_eq!(replaced("end", "Y: z", &long).as_deref(), Some(r"Y: z\r\n"), "matched to its end");
        assert_eq!(replaced("^X: (.*)", "Y: $1$1", &long), None, "too long");
        assert!(replaced("^X: (.*)", "Y: z", &long).is_some());
    }

    #[test]
    fn texts_refused() {
        for (text, expected) in [
            ("", BadFieldText::NoField),
            ("no field", BadFieldText::NoField),
            (": x", BadFieldText::NoField),
            ("Subject", BadFieldText::NoField),
            ("X$$", BadFieldText::NoField),
            ("X$$ y: $1", BadFieldText::NoField),
            ("n m: x", BadFieldText::NoField),
            ("ä: x", BadFieldText::NoField),
            ("X: a\r\nBcc: b", BadFieldText::Control),
            ("X: $", BadFieldText::Dollar),
            ("X: $x", BadFieldText::Dollar),
            ("X: ${1", BadFieldText::Dollar),
            ("X: ${x}", BadFieldText::Dollar),
            ("X: $2", BadFieldText::NoSuchGroup),
        ] {
            assert_eq!(FieldText::parse(text, 1), Err(expected), "{text:?}");
        }
        for text in ["X:", "X$$: y", "$1", "X-$1", "X$$-$1"] {
            assert!(FieldText::parse(text, 1).is_ok(), "{text:?}");
        }
        for text in ["no good\r\n250 ok", "", "  ", "nö", &"x".repeat(401)] {
            assert_eq!(RejectText::parse(text), None, "{text:?}");
        }
    }
}
