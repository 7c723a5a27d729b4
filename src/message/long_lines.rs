//! Folds lines that are longer than SMTP allows.
//!
//! Promises:
//! 1. The output of a [`Folder`] has no line over [`MAX_LINE_OCTETS`], and does not depend on the pieces in which the
//!    octets arrive. Content without such a line is not changed, so folding it again changes nothing.
//! 2. No octet is removed. CRLF is added before a space or tab, or else CRLF and a space, as Postfix does. In a
//!    header section both are folds (RFC 5322 2.2.3). In a body that is quoted-printable a soft line break is added, where a
//!    decoder does not see it.
//! 3. No character of UTF-8 is cut in two. In other 8-bit text, no character next to ASCII is cut.
//! 4. Memory is at most one line.
//!
//! An existing space is preferred, since a line of HTML or of a log that is broken between two words keeps its
//! meaning. One that is broken at its 998th octet gets a space within a word, an attribute or an address.
//!
//! Not here: whether a message is folded at all (`fixup.rs`).
//!
//! RFC 5321 4.5.3.1.6, RFC 5322 2.1.1 (998 octets and CRLF), RFC 2045 6.7 (soft line breaks).

use memchr::{memchr, memrchr};

use super::header::{MAX_LINE_OCTETS, is_wsp, line_len};

/// The longest line with its CRLF. As many octets without a line end are the beginning of a line that is too long.
const MAX_WHOLE_LINE: usize = MAX_LINE_OCTETS + CRLF.len();

/// The shortest line that is made if there is no space and no end of an item in a list or of a tag. The second half of a
/// line is searched for ASCII before two neighbouring characters are separated. So lines stay long, and text in any charset
/// is kept intact.
const MIN_LINE_OCTETS: usize = MAX_LINE_OCTETS / 2;

const CRLF: &[u8] = b"\r\n";
const SOFT_BREAK: &[u8] = b"=\r\n";

/// The setting `long-lines`: what is done with lines that are too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongLines {
    /// Long lines are folded, unless the message is signed.
    Fold,
    /// Long lines are kept as they are.
    Keep,
    /// Long lines of a header section are folded. A body with long lines is kept, and encoded on its way to the relay
    /// (`recode.rs`), unless the message is signed.
    Encode,
}

/// The way in which a line that is too long is broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineBreak {
    /// By CRLF before a space or tab, or by CRLF and a space.
    #[default]
    Fold,
    /// By a soft line break of quoted-printable.
    Soft,
}

/// Folds lines that are too long in content that is still arriving, or keeps them and notes that there are some.
#[derive(Debug)]
pub struct Folder {
    way: LongLines,
    /// The beginning of a line whose end has not arrived, and which is not too long yet.
    held: Vec<u8>,
    /// The way in which that line is broken.
    line_break: LineBreak,
    /// True if a line was too long.
    has_met: bool,
}

impl Folder {
    /// Returns a folder that treats lines that are too long in this way.
    pub fn new(way: LongLines) -> Self {
        Folder { way, held: Vec::new(), line_break: LineBreak::Fold, has_met: false }
    }

    /// Takes `octets`, and appends to `out` what is decided.
    pub fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        self.push_as(octets, LineBreak::Fold, out);
    }

    /// Does the same with lines that are broken in this way if they begin here.
    pub fn push_as(&mut self, octets: &[u8], line_break: LineBreak, out: &mut Vec<u8>) {
        let mut rest = octets;
        while !rest.is_empty() {
            if self.has_met && self.way == LongLines::Keep {
                // It is known already that there is such a line.
                return out.extend_from_slice(rest);
            }
            if self.held.is_empty() {
                self.line_break = line_break;
                let (lines, behind) = rest.split_at(short_lines(rest));
                out.extend_from_slice(lines);
                rest = behind;
            }
            let room = rest.len().min(MAX_WHOLE_LINE - self.held.len());
            let taken = line_len(&rest[..room]);
            self.held.extend_from_slice(&rest[..taken]);
            rest = &rest[taken..];
            if self.held.ends_with(b"\n") {
                out.append(&mut self.held);
            } else if self.held.len() == MAX_WHOLE_LINE {
                self.meet(out);
            }
        }
    }

    /// Ends the content, and appends the rest to `out`. Returns whether any line was too long.
    pub fn finish(mut self, out: &mut Vec<u8>) -> bool {
        // The last line has no line end, so up to two octets more than allowed may be held.
        if self.held.strip_suffix(b"\r").unwrap_or(&self.held).len() > MAX_LINE_OCTETS {
            self.meet(out);
        }
        out.append(&mut self.held);
        self.has_met
    }

    /// Ends the held line, which is too long, at the best place. The rest of it stays held.
    fn meet(&mut self, out: &mut Vec<u8>) {
        self.has_met = true;
        if self.way == LongLines::Keep {
            return out.append(&mut self.held);
        }
        let end = match self.line_break {
            LineBreak::Fold => fold_of(&self.held),
            LineBreak::Soft => soft_break_of(&self.held),
        };
        out.extend_from_slice(&self.held[..end]);
        self.held.drain(..end);
        match self.line_break {
            LineBreak::Soft => out.extend_from_slice(SOFT_BREAK),
            LineBreak::Fold => {
                out.extend_from_slice(CRLF);
                if !is_wsp(&self.held[0]) {
                    self.held.insert(0, b' ');
                }
            }
        }
    }
}

/// Returns `octets` with lines that are too long folded.
pub fn folded(octets: &[u8]) -> Vec<u8> {
    let (mut folder, mut out) = (Folder::new(LongLines::Fold), Vec::with_capacity(octets.len()));
    folder.push(octets, &mut out);
    folder.finish(&mut out);
    out
}

/// Returns whether a line of `octets` is too long.
#[cfg(test)]
pub(super) fn has_long_line(octets: &[u8]) -> bool {
    let rest = &octets[short_lines(octets)..];
    let line = rest.split(|octet| *octet == b'\n').next().unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line).len() > MAX_LINE_OCTETS
}

/// Returns the number of octets at the beginning that are whole lines, of which none is too long.
///
/// It searches backwards from the end of the longest allowed line, so that few octets of usual lines are looked at.
fn short_lines(octets: &[u8]) -> usize {
    let mut end = 0;
    loop {
        let window = &octets[end..octets.len().min(end + MAX_WHOLE_LINE)];
        match memrchr(b'\n', window) {
            Some(index) => end += index + 1,
            None => return end,
        }
    }
}

/// Returns the position at which to end a line. `line` is its beginning, with more than [`MAX_LINE_OCTETS`].
fn fold_of(line: &[u8]) -> usize {
    // No line may be white space alone, since programs disagree on its meaning in a header section.
    let last_text = line.iter().rposition(|octet| !is_wsp(octet)).unwrap_or(0);
    // The name of a field must not be separated from its colon, before which blanks may stand (RFC 5322 4.5.3). A line that
    // begins with a blank has no name.
    let colon = memchr(b':', line).filter(|_| !is_wsp(&line[0])).unwrap_or(0);
    let ends_name = |at: usize| at < colon && line[at..colon].iter().all(is_wsp);
    let is_between_words =
        |at: &usize| !is_wsp(&line[at - 1]) && is_wsp(&line[*at]) && *at < last_text && !ends_name(*at);
    // Those characters may stand in the name of a field, too (RFC 5322 2.2).
    let ends_item = |at: &usize| *at > colon && matches!(line[at - 1], b',' | b';' | b'>');
    let is_between_ascii = |at: &usize| line[at - 1].is_ascii() && line[*at].is_ascii();
    let starts_character = |at: &usize| !matches!(line[*at], 0x80..=0xBF);
    (1..=MAX_LINE_OCTETS)
        .rev()
        .find(is_between_words)
        // Even far in front: an address that is cut is none any more.
        .or_else(|| (1..=MAX_LINE_OCTETS).rev().find(ends_item))
        .or_else(|| (MIN_LINE_OCTETS..=MAX_LINE_OCTETS).rev().find(is_between_ascii))
        // A character of UTF-8 has at most four octets (RFC 3629 3).
        .or_else(|| (MAX_LINE_OCTETS - 3..=MAX_LINE_OCTETS).rev().find(starts_character))
        .unwrap_or(MAX_LINE_OCTETS)
}

/// Returns the position at which a line of quoted-printable may end in a soft line break: not within `=XX`, and not within
/// blanks at its end, which a decoder removes. `line` is its beginning, with more than [`MAX_LINE_OCTETS`].
fn soft_break_of(line: &[u8]) -> usize {
    let last_text = line.iter().rposition(|octet| !is_wsp(octet) && *octet != b'\r').unwrap_or(0);
    let is_whole = |at: &usize| *at <= last_text && !line[at - 2..*at].contains(&b'=');
    let starts_character = |at: &usize| !matches!(line[*at], 0x80..=0xBF);
    // The equals sign of the break needs a place.
    let places = || (2..MAX_LINE_OCTETS).rev().filter(is_whole);
    places().find(starts_character).or_else(|| places().next()).unwrap_or(MAX_LINE_OCTETS - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(text: &str) -> Vec<String> {
        let out = String::from_utf8(folded(text.as_bytes())).expect("no character is cut");
        out.split("\r\n").map(str::to_owned).collect()
    }

    #[test]
    fn a_line_of_998_octets_stays_and_one_of_999_is_folded() {
        let (a, b) = ("x".repeat(998), "x".repeat(999));
        for text in [a.clone(), format!("{a}\r\n{a}\r\n"), format!("\r\n{a}\r\n\r\ny"), format!("{a}\r")] {
            assert_eq!(folded(text.as_bytes()), text.as_bytes());
            assert!(!has_long_line(text.as_bytes()));
        }
        for text in [format!("{b}\r\nz"), format!("y\r\n{b}\r\nz"), format!("{b}\r\n{a}\r\nz")] {
            let folded = lines(&text);
            assert_eq!(folded.concat().replace(' ', ""), text.replace("\r\n", ""));
            assert!(folded.contains(&a) && folded.contains(&" x".to_owned()), "{folded:?}");
            assert!(has_long_line(text.as_bytes()) && !has_long_line(&super::folded(text.as_bytes())));
        }
        assert_eq!(lines(&b), [a, " x".to_owned()], "also without its end");
    }

    #[test]
    fn the_best_place_is_taken() {
        let x = |len| "x".repeat(len);
        let eight_bit = |character: &str, len| character.repeat(len);
        for (line, first, second) in [
            // Blanks before a colon were separated from the name of the field, and the header section ended there.
            (format!("Subject \t:{}", x(990)), format!("Subject \t:{}", x(988)), format!(" {}", x(2))),
            (format!("a b \t:{}", x(993)), "a".to_owned(), format!(" b \t:{}", x(993))),
            // Only the first colon ends a name, and none on a line that goes on with a field.
            (format!("To: {} :{}", x(500), x(600)), format!("To: {}", x(500)), format!(" :{}", x(600))),
            (format!(" {} :{}", x(500), x(600)), format!(" {}", x(500)), format!(" :{}", x(600))),
            (format!("X;Y>Z:{}", x(1000)), format!("X;Y>Z:{}", x(992)), format!(" {}", x(8))),
            // The last space that leaves text on both sides is used.
            (format!("{} {}", x(500), x(900)), x(500), format!(" {}", x(900))),
            (format!("Subject: {}", x(990)), "Subject:".to_owned(), format!(" {}", x(990))),
            (format!("{}\t {}", x(997), x(5)), x(997), format!("\t {}", x(5))),
            (format!("{} \t{}", x(500), x(900)), x(500), format!(" \t{}", x(900))),
            (format!("{} ", x(998)), x(998), " ".to_owned()),
            (format!(" {}", x(1000)), format!(" {}", x(997)), format!(" {}", x(3))),
            // A place with ASCII on both sides is used before a character is separated from its neighbour.
            (format!("{}<b>{}", eight_bit("é", 400), eight_bit("é", 400)), String::new(), String::new()),
            // Characters of two, three and four octets.
            (eight_bit("é", 600), eight_bit("é", 499), format!(" {}", eight_bit("é", 101))),
            (eight_bit("€", 400), eight_bit("€", 332), format!(" {}", eight_bit("€", 68))),
            (eight_bit("😀", 300), eight_bit("😀", 249), format!(" {}", eight_bit("😀", 51))),
        ] {
            let folded = lines(&line);
            assert!(folded.iter().all(|line| line.len() <= MAX_LINE_OCTETS), "{folded:?}");
            if !second.is_empty() {
                assert_eq!(folded, [first, second]);
            }
        }
        // The line ends after a comma, so that no address gets a space.
        let list = vec!["ann@x.example"; 100].join(",");
        assert_eq!(lines(&list)[0], format!("{},", vec!["ann@x.example"; 71].join(",")));
        // An address of over half a line was cut within, where the line began with short ones.
        let short = vec!["ann@x.example"; 20].join(",");
        let long = format!("{}@x.example", x(900));
        assert_eq!(lines(&format!("{short},{long}")), [format!("{short},"), format!(" {long}")]);
        let html = format!("{}<b>{}", "é".repeat(400), "é".repeat(400));
        assert_eq!(lines(&html)[0], format!("{}<b>", "é".repeat(400)));
    }

    #[test]
    fn octets_of_no_charset_get_on_too() {
        for octet in [0x80, 0xBF, 0xFF, 0] {
            let out = folded(&vec![octet; 100_000]);
            assert!(!has_long_line(&out));
            assert_eq!(out.iter().filter(|found| **found == octet).count(), 100_000);
            assert!(out.len() < 100_400, "{octet}: lines stay long");
        }
    }

    /// A fold within `=3D` damaged the text.
    #[test]
    fn a_line_of_quoted_printable_gets_a_soft_break_at_a_safe_place() {
        let x = |len| "x".repeat(len);
        for (line, first, second) in [
            (x(999), x(997) + "=", x(2)),
            (x(996) + "=3Dyy", x(996) + "=", "=3Dyy".to_owned()),
            (x(995) + "=3Dyy", x(995) + "=", "=3Dyy".to_owned()),
            (x(994) + "=3Dyy", x(994) + "=3D=", "yy".to_owned()),
            (x(996) + "éyy", x(996) + "=", "éyy".to_owned()),
            // Blanks at the end of a line are none of the text, and stay there.
            (x(996) + "    ", x(995) + "=", "x    ".to_owned()),
            (x(990) + &" ".repeat(9) + "y", x(990) + &" ".repeat(7) + "=", "  y".to_owned()),
            (x(999) + "=", x(997) + "=", "xx=".to_owned()),
        ] {
            let (mut folder, mut out) = (Folder::new(LongLines::Fold), Vec::new());
            folder.push_as(format!("{line}\r\n").as_bytes(), LineBreak::Soft, &mut out);
            assert!(folder.finish(&mut out));
            assert_eq!(String::from_utf8(out).unwrap(), format!("{first}\r\n{second}\r\n"));
        }
    }

    /// Generates content of long and short runs, and the positions at which it is cut.
    fn content_and_cuts() -> impl Strategy<Value = (Vec<u8>, Vec<usize>)> {
        let atoms = ["\r\n", " ", "\t", "x", "é", "😀", "long", "very long"];
        let long = |atom: &str| match atom {
            "long" => "y".repeat(499).into_bytes(),
            "very long" => "ü".repeat(700).into_bytes(),
            other => other.as_bytes().to_vec(),
        };
        let content = prop::collection::vec(prop::sample::select(atoms.to_vec()).prop_map(long), 0..24);
        content.prop_map(|atoms| atoms.concat()).prop_flat_map(|content| {
            let cuts = prop::collection::vec(0..=content.len(), 0..8);
            (Just(content), cuts)
        })
    }

    proptest! {
        /// Promises 1 to 3.
        #[test]
        fn no_line_is_too_long_and_nothing_is_lost((content, mut cuts) in content_and_cuts()) {
            let out = folded(&content);
            prop_assert!(!has_long_line(&out));
            prop_assert_eq!(out == content, !has_long_line(&content), "only what is too long is touched");
            prop_assert!(std::str::from_utf8(&out).is_ok());
            let bare = |octets: &[u8]| -> Vec<u8> {
                octets.iter().copied().filter(|octet| !matches!(octet, b'\r' | b'\n' | b' ')).collect()
            };
            prop_assert_eq!(bare(&out), bare(&content));
            cuts.extend([0, content.len()]);
            cuts.sort_unstable();
            for (way, expected) in [(LongLines::Fold, &out), (LongLines::Keep, &content)] {
                let (mut folder, mut in_pieces) = (Folder::new(way), Vec::new());
                for cut in cuts.windows(2) {
                    folder.push(&content[cut[0]..cut[1]], &mut in_pieces);
                    prop_assert!(folder.held.len() <= MAX_WHOLE_LINE);
                }
                prop_assert_eq!(folder.finish(&mut in_pieces), out != content);
                prop_assert_eq!(&in_pieces, expected);
            }
        }
    }
}
