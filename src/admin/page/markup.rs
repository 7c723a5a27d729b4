//! Text within HTML.
//!
//! Promise: what is written by [`Escaped`] is text wherever it stands between elements, whoever made it: it opens no element, and
//! has no character that is invisible or changes the direction of text.

use std::fmt::{self, Write as _};

use crate::log::Foreign;

/// Shows foreign text as text of a document.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in Foreign(self.0).to_string().chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
