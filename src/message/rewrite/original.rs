//! X-Original-From and X-Original-To: the text of a field before it was replaced.
//!
//! Promises: the result is fit for any relay: printable ASCII on the lines of one field, with encoded words for other
//! text. Text that was already so is kept octet by octet, with its folds. A control character becomes `?`.
//!
//! RFC 5322 2.2, RFC 2047 5 (1).

use crate::message::display_name::line_of;
use crate::message::encoded_word::encoded;
use crate::message::fold::Folded;

/// Returns the field `name` with this body and a line end.
pub(super) fn original_field(name: &str, body: &[u8]) -> Vec<u8> {
    let text = body.strip_suffix(b"\n").map_or(body, |rest| rest.strip_suffix(b"\r").unwrap_or(rest));
    if is_printable(text) {
        return [name.as_bytes(), b":", text, b"\r\n"].concat();
    }
    let line = line_of(text);
    let words: Vec<_> = line.split(' ').collect();
    let runs = words.chunk_by(|one, other| one.is_ascii() == other.is_ascii()).map(|run| run.join(" "));
    let words = runs.map(|run| if run.is_ascii() { run } else { encoded(&run) });
    words.fold(Folded::field(name), |field, run| field.words(&run)).finish().into_bytes()
}

/// Returns whether the text consists of printable ASCII, white space and folds.
fn is_printable(text: &[u8]) -> bool {
    let mut lines = text.split(|octet| *octet == b'\n').peekable();
    std::iter::from_fn(|| {
        let line = lines.next()?;
        // A CR is allowed as a part of a fold only.
        Some(if lines.peek().is_some() { line.strip_suffix(b"\r").unwrap_or(line) } else { line })
    })
    .flatten()
    .all(|octet| octet.is_ascii_graphic() || matches!(octet, b' ' | b'\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_fit_for_a_relay() {
        for (body, expected) in [
            (&b" Ann <ann>,\r\n\tBob <bob>\r\n"[..], " Ann <ann>,\r\n\tBob <bob>\r\n"),
            (b" ann", " ann\r\n"),
            (b"", "\r\n"),
            (
                " Ann <a@x>, Jörg Müller <j@x>\r\n".as_bytes(),
                " Ann <a@x>, =?UTF-8?B?SsO2cmcgTcO8bGxlcg==?= <j@x>\r\n",
            ),
            (b" J\xF6rg <j\r\n", " =?UTF-8?B?SsO2cmc=?= <j\r\n"),
            (b" \0, a <b@x>\r\n", " ?, a <b@x>\r\n"),
            (b" a\rb\r", " a b\r\n"),
        ] {
            let field = String::from_utf8(original_field("X-Original-From", body)).unwrap();
            assert_eq!(field, format!("X-Original-From:{expected}"), "{}", body.escape_ascii());
        }
        let long = format!(" {}, é", "Ann <ann@x.example>, ".repeat(100));
        let field = String::from_utf8(original_field("X-Original-From", long.as_bytes())).unwrap();
        assert!(field.lines().all(|line| line.len() <= 78) && field.matches("ann@x.example").count() == 100);
    }
}
