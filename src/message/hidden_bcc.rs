//! A Bcc that other recipients would read and that cannot be mended; the message is refused.
//!
//! Promises: each kind has one sentence, which says what is wrong and what to do. SMTP (550 5.6.0), `sendmail` (exit
//! 65) and `nullmta rewrite` (exit 1) use the same sentence.
//!
//! Not here: finding such a Bcc (`bare_cr.rs`, `mend.rs`).

use std::fmt;

/// The place of the Bcc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HiddenBcc {
    /// It follows a CR that has no LF after it.
    BehindCr,
    /// It is on a line that continues another field.
    Indented,
    /// It follows more lines that are not header than can be held.
    BehindTooMuch,
}

impl HiddenBcc {
    /// Returns the sentence for the submitter.
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
