//! A Bcc that others would read, and that nobody can mend: such a message is refused.
//!
//! Promises: each kind has one sentence, which says what is wrong and what to do; SMTP (550 5.6.0), `sendmail`
//! (65) and `nullmta rewrite` (1) say the same.
//!
//! Not here: where such a Bcc is found (`bare_cr.rs`, `mend.rs`).

use std::fmt;

/// Where the Bcc stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HiddenBcc {
    /// Behind a CR that has no LF behind it.
    BehindCr,
    /// On a line that goes on with another field.
    Indented,
    /// Behind more lines that are no header than can be held.
    BehindTooMuch,
}

impl HiddenBcc {
    /// What the submitter is told.
    pub fn sentence(self) -> &'static str {
        match self {
            HiddenBcc::BehindCr => "a Bcc stands behind a CR that ends no line: end lines with CRLF",
            HiddenBcc::Indented => "a Bcc stands on an indented line within another field: indent no field",
            HiddenBcc::BehindTooMuch => {
                "a Bcc stands behind too many lines that are no header: begin with the header, end it with an empty line"
            }
        }
    }
}

impl fmt::Display for HiddenBcc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}
