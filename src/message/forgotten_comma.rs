//! A list of addresses that goes on on the next line, and the comma between them was forgotten.
//!
//! As it stands it is no list, which a relay may refuse, and rewriting and `sendmail -t` cannot read; or all but the last
//! address are a name that lacks its quotes, and whoever they belong to gets nothing. What was meant is certain where
//! each line, or a few of them, is a list of its own, and so more addresses are found.
//!
//! Promises: nothing but commas is added, at the ends of lines; the result is a list.
//!
//! | the body | becomes |
//! |---|---|
//! | `a@x` / `b@y` | `a@x,` / `b@y` |
//! | `Ann` / `<a@x>` / `<b@y>` | `Ann` / `<a@x>,` / `<b@y>` |
//! | `a@x` / `Ann <b@y>` | `a@x,` / `Ann <b@y>` |
//! | `ann@x` / `<b@y>`: the name of what is in brackets | the same |
//! | `a@x b@y` on one line, or a line that is no list: `a@x` / `odd one` | the same |
//! | `root` / `bob@y`: an address without a domain may be a part of a name | the same |
//!
//! Not here: what is done to a field that stays unreadable (`rewrite/`, `cli/sendmail/recipients.rs`).

use super::address::mailboxes;

/// An element of a list is not folded over more lines than this.
const MAX_ELEMENT_LINES: usize = 4;

/// `body` with the commas that it lacks; `None`: it lacks none, or it is not certain where.
pub fn with_commas(body: &[u8]) -> Option<Vec<u8>> {
    if !body.trim_ascii().contains(&b'\n') {
        return None;
    }
    let (lists, rest) = lists_in(body)?;
    let found: usize = lists.iter().copied().filter_map(count).sum();
    if count(body).is_some_and(|count| count >= found) {
        return None;
    }
    let mut out = Vec::new();
    for (index, list) in lists.iter().enumerate() {
        let text = list.trim_ascii_end();
        let next = lists.get(index + 1);
        let has_comma = text.ends_with(b",") || next.is_some_and(|next| next.trim_ascii().starts_with(b","));
        out.extend_from_slice(text);
        out.extend_from_slice(if next.is_none() || has_comma { b"" } else { b"," });
        out.extend_from_slice(&list[text.len()..]);
    }
    out.extend_from_slice(rest);
    (count(&out) == Some(found)).then_some(out)
}

/// `body` in lists of whole lines, and what has no address in it at the end.
fn lists_in(body: &[u8]) -> Option<(Vec<&[u8]>, &[u8])> {
    let (mut lists, mut start, mut end, mut lines) = (Vec::new(), 0, 0, 0);
    for line in body.split_inclusive(|octet| *octet == b'\n') {
        (end, lines) = (end + line.len(), lines + 1);
        let list = &body[start..end];
        // `ann@x` may be the name of what stands in brackets on the next line.
        let is_closed = list.trim_ascii_end().ends_with(b">") || !body[end..].trim_ascii().starts_with(b"<");
        if is_closed && count(list).is_some_and(|count| count > 0) {
            lists.push(list);
            (start, lines) = (end, 0);
        } else if lines == MAX_ELEMENT_LINES {
            return None;
        }
    }
    Some((lists, &body[start..]))
}

/// How many addresses there are, each with a domain. `None`: it is no such list.
fn count(list: &[u8]) -> Option<usize> {
    mailboxes(list).try_fold(0, |count, mailbox| mailbox.ok()?.domain.map(|_| count + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `To: a@x` and `b@y` on a line of its own went to the relay as one field that nobody can read.
    #[test]
    fn commas_are_added_between_lines_where_it_is_certain() {
        for (body, expected) in [
            (" a@x\r\n b@y\r\n", Some(" a@x,\r\n b@y\r\n")),
            (" a@x \r\n\tAnn <b@y>, c@z\r\n d@w", Some(" a@x, \r\n\tAnn <b@y>, c@z,\r\n d@w")),
            (" Ann\r\n <a@x>\r\n <b@y>\r\n", Some(" Ann\r\n <a@x>,\r\n <b@y>\r\n")),
            ("\r\n a@x,\r\n b@y\r\n c@z\r\n", Some("\r\n a@x,\r\n b@y,\r\n c@z\r\n")),
            (" a@x\r\n b@y\r\n , c@z\r\n", Some(" a@x,\r\n b@y\r\n , c@z\r\n")),
            (" a@x\r\n b@y\r\n (both)\r\n", Some(" a@x,\r\n b@y\r\n (both)\r\n")),
            (" a@x\r\n \r\n b@y\r\n", Some(" a@x,\r\n \r\n b@y\r\n")),
            (" a@x,\r\n b@y\r\n", None),
            (" \"Ann,\r\n <b@y>\" <a@x>\r\n", None),
            // Only the last was a recipient.
            (" a@x\r\n b@y\r\n Ann\r\n <c@z>\r\n", Some(" a@x,\r\n b@y,\r\n Ann\r\n <c@z>\r\n")),
            (" a@x\r\n Ann <b@y>,\r\n c@z", Some(" a@x,\r\n Ann <b@y>,\r\n c@z")),
            (" ann@x\r\n <a@x>\r\n", None),
            (" ann@x\r\n <a@x>\r\n b@y", Some(" ann@x\r\n <a@x>,\r\n b@y")),
            (" a@x\r\n (b@y)\r\n", None),
            (" a@x b@y\r\n", None),
            (" a@x\r\n odd one\r\n", None),
            (" odd one\r\n a@x\r\n", None),
            (" root\r\n bob@y\r\n", None),
            (" a\r\n b\r\n c\r\n d\r\n <e@x> f\r\n", None),
            ("\r\n", None),
            ("", None),
        ] {
            let found = with_commas(body.as_bytes()).map(|found| String::from_utf8(found).unwrap());
            assert_eq!(found.as_deref(), expected, "{body:?}");
            assert_eq!(found.and_then(|found| with_commas(found.as_bytes())), None, "twice is once");
        }
    }
}
