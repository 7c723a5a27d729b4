//! Enhanced status codes: the three numbers in a reply that programs can understand (RFC 3463).
//!
//! Promises: a [`Status`] that exists has class 2, 4 or 5 and two numbers of at most three digits.
//! Not here: replies (`smtp/reply.rs`), what a status means for a message (`relay/verdict.rs`).

use std::fmt;

/// The class of a status: its first digit (RFC 3463 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StatusClass {
    /// `2`: success.
    Success,
    /// `4`: a failure for now; a later attempt may succeed.
    Transient,
    /// `5`: a failure for good; the same attempt will never succeed.
    Permanent,
}

/// An enhanced status code `class.subject.detail`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status {
    class: StatusClass,
    subject: u16,
    detail: u16,
}

impl Status {
    /// Returns whether this is about a command, and not about an address, a message or a login (`x.5.x`, RFC 3463 3.6).
    pub fn is_of_protocol(self) -> bool {
        self.subject == 5
    }

    /// Returns `2.subject.detail`.
    pub const fn success(subject: u16, detail: u16) -> Self {
        Status { class: StatusClass::Success, subject, detail }
    }

    /// Returns `4.subject.detail`.
    pub const fn transient(subject: u16, detail: u16) -> Self {
        Status { class: StatusClass::Transient, subject, detail }
    }

    /// Returns `5.subject.detail`.
    pub const fn permanent(subject: u16, detail: u16) -> Self {
        Status { class: StatusClass::Permanent, subject, detail }
    }

    /// Returns the class, the first number.
    pub const fn class(self) -> StatusClass {
        self.class
    }

    /// Returns the subject, the second number.
    pub const fn subject(self) -> u16 {
        self.subject
    }

    /// Returns the detail, the third number.
    pub const fn detail(self) -> u16 {
        self.detail
    }

    /// Parses a status such as `5.7.1` at the start of `text`. Returns it with the text after it and its space.
    pub fn split_from(text: &str) -> Option<(Status, &str)> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let mut parts = text[..end].split('.');
        let class = match parts.next()? {
            "2" => StatusClass::Success,
            "4" => StatusClass::Transient,
            "5" => StatusClass::Permanent,
            _ => return None,
        };
        let mut number = || {
            let digits = parts.next()?;
            (1..=3).contains(&digits.len()).then(|| digits.parse::<u16>().ok()).flatten()
        };
        let status = Status { class, subject: number()?, detail: number()? };
        if parts.next().is_some() {
            return None;
        }
        match &text[end..] {
            "" => Some((status, "")),
            rest => rest.strip_prefix(' ').map(|rest| (status, rest)),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = match self.class {
            StatusClass::Success => 2,
            StatusClass::Transient => 4,
            StatusClass::Permanent => 5,
        };
        write!(f, "{class}.{}.{}", self.subject, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_from_the_front_of_reply_texts() {
        let cases = [
            ("2.0.0 ok", Some((Status::success(0, 0), "ok"))),
            ("5.7.1", Some((Status::permanent(7, 1), ""))),
            ("4.7.123 x y", Some((Status::transient(7, 123), "x y"))),
            ("3.0.0 no such class", None),
            ("5.7 short", None),
            ("5.7.1.2 long", None),
            ("5.7.1234 wide", None),
            ("5.7.1x", None),
            ("ok", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Status::split_from(text), expected, "{text:?}");
        }
    }

    #[test]
    fn written_with_dots() {
        assert_eq!(Status::permanent(3, 4).to_string(), "5.3.4");
    }
}
