//! A Bcc that others would read, and that nobody can mend: such a message is refused.
//!
//! Promises: each kind has one sentence, which says what is wrong and what to do; SMTP (550 5.6.0), `sendmail`
//! (65) and `nullmta rewrite` (1) say the same.
//!
//! Not here: where such a Bcc is found (`bare_cr.rs`).

use std::fmt;

/// Where the Bcc stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HiddenBcc {
    /// Behind a CR that has no LF behind it.
    BehindCr,
}

impl HiddenBcc {
    /// What the submitter is told.
    pub fn sentence(self) -> &'static str {
        match self {
            HiddenBcc::BehindCr => "a Bcc stands behind a CR that ends no line: end lines with CRLF",
        }
    }
}

impl fmt::Display for HiddenBcc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}
