//! The secrets that were told to a relay, so that none of them comes back out of its mouth into the log.
//!
//! Promises: in text that has passed [`ToldSecrets::masked`], a secret that was kept, in the forms that `secret/masks.rs`
//! knows, and each line that held a secret are `***`, and so is the beginning of one where the text, or a word
//! of it, is cut off in it. When the
//! login is accepted all are forgotten: what a relay says of a message is never changed, whatever word the password is.
//!
//! RFC 4954 4 (the lines of AUTH).

use zeroize::Zeroizing;

use crate::secret::SecretMasks;
use crate::smtp::reply::Reply;

/// The texts by which one connection has told its secrets.
#[derive(Default)]
pub(super) struct ToldSecrets(SecretMasks);

impl ToldSecrets {
    /// Keeps `secret`, which will be told in one form or another.
    pub(super) fn keep(&mut self, secret: &[u8]) {
        self.0.keep(&as_quoted(secret));
        self.0.keep_base64(secret);
    }

    /// Keeps also what `secrets` keeps.
    pub(super) fn keep_all(&mut self, secrets: &SecretMasks) {
        self.0.keep_all(secrets);
    }

    /// Keeps the words of `line`, which holds a secret; AUTH and the name of the mechanism are none.
    pub(super) fn keep_line(&mut self, line: &[u8]) {
        let line = Zeroizing::new(String::from_utf8_lossy(line).into_owned());
        let named = if line.starts_with("AUTH ") { 2 } else { 0 };
        line.split(' ').skip(named).for_each(|word| self.0.keep_text(word));
    }

    /// Forgets them: no more is told.
    pub(super) fn forget(&mut self) {
        self.0.forget();
    }

    /// Returns `reply` without the secrets.
    pub(super) fn masked_reply(&self, reply: Reply) -> Reply {
        if self.0.is_empty() { reply } else { reply.with_text(|line| self.0.masked(line)) }
    }

    /// Returns the secrets, for text that is read out of a reply.
    pub(super) fn masks(&self) -> &SecretMasks {
        &self.0
    }

    /// Returns `text` without the secrets.
    pub(super) fn masked(&self, text: &str) -> String {
        self.0.masked(text)
    }
}

/// Returns the octets as the reader of replies gives them back.
fn as_quoted(octets: &[u8]) -> Zeroizing<String> {
    if let Ok(text) = str::from_utf8(octets) {
        return Zeroizing::new(text.to_owned());
    }
    let line = Zeroizing::new([b"500 ", octets, b"\r\n"].concat());
    let quoted = match Reply::parse(&line) {
        Ok(Some((reply, _))) => reply.lines().first().cloned(),
        // It has a line break, and cannot be told on one line.
        _ => None,
    };
    Zeroizing::new(quoted.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> ToldSecrets {
        let mut told = ToldSecrets::default();
        told.keep(b"hunter22 is long");
        told.keep_line(b"AUTH PLAIN AHVzZXIAaHVudGVyMjIgaXMgbG9uZw==");
        told
    }

    #[test]
    fn what_was_told_is_masked_in_each_of_its_forms() {
        let table = [
            ("5.7.8 no such password hunter22 is long", "5.7.8 no such password ***"),
            ("bad AHVzZXIAaHVudGVyMjIgaXMgbG9uZw==!", "bad ***!"),
            ("unrecognized: AUTH PLAIN AHVzZXIAaHVudGVyMjIgaXMgbG9uZw==", "unrecognized: AUTH PLAIN ***"),
            ("aHVudGVyMjIgaXMgbG9uZw== was said", "*** was said"),
            ("cut off in hunter22 is", "cut off in ***"),
            ("PLAIN is off, hunter of user", "PLAIN is off, hunter of user"),
        ];
        for (said, expected) in table {
            assert_eq!(told().masked(said), expected);
        }
    }

    #[test]
    fn octets_of_any_charset_are_found_as_they_are_quoted() {
        let mut told = ToldSecrets::default();
        told.keep(b"pass\xe4w\xf6rter");
        let (reply, _) = Reply::parse(b"535 not pass\xe4w\xf6rter\r\n").unwrap().unwrap();
        assert_eq!(told.masked_reply(reply).lines(), ["not ***"]);
    }

    /// Only what the reader of replies keeps of a line was looked for, and the end of a long token was left.
    #[test]
    fn a_long_token_is_masked_to_its_end() {
        let mut told = ToldSecrets::default();
        let token = "tOken.".repeat(400);
        told.keep(token.as_bytes());
        assert_eq!(told.masked(&format!("no {token}: {token}")), "no ***: ***");
    }

    #[test]
    fn a_short_secret_leaves_words_alone() {
        let mut told = ToldSecrets::default();
        told.keep(b"a");
        assert_eq!(told.masked("a bad password"), "a bad password");
    }

    /// A relay repeated the beginning of a login in quotes, and it stood in the log.
    #[test]
    fn the_beginning_of_what_was_told_is_masked_where_a_word_ends_in_it() {
        let mut told = told();
        told.keep(b"Authentication of the relay Failed2day");
        told.keep_line(b"cMOkJnNzK3clcmQvPSJ4PTEyMzQ1Njc4");
        for (said, expected) in [
            ("unrecognized: 'cMOkJnNzK3clcmQvPSJ4'", "unrecognized: '***'"),
            ("unrecognized: \"cMOkJnNz\" (cut)", "unrecognized: \"***\" (cut)"),
            ("AUTH PLAIN AHVzZXIAaHVu...: no", "AUTH PLAIN ***...: no"),
            ("no (AHVzZXIAaHVudGVy) at all", "no (***) at all"),
            // Fewer than eight octets, and words that a secret begins with by chance.
            ("cMOkJnN is short", "cMOkJnN is short"),
            ("Authentication failed", "Authentication failed"),
            ("Authentication of the relay failed, see", "Authentication of the relay failed, see"),
            (
                "5.7.8 Error: authentication failed: UGFzc3dvcmQ6",
                "5.7.8 Error: authentication failed: UGFzc3dvcmQ6",
            ),
            ("Username and Password not accepted", "Username and Password not accepted"),
            ("cMOkJnNzyyy goes on in another way", "cMOkJnNzyyy goes on in another way"),
        ] {
            assert_eq!(told.masked(said), expected);
        }
    }

    /// A sign of base64 parted what was cut off into words that people write, and it stood in the log.
    #[test]
    fn a_part_of_base64_that_is_like_two_words_is_masked() {
        for part in ["Abcd/efgh", "ABCD+EFGH", "abcdefg=", "+abcdefg", "Abcdefg/"] {
            let mut told = ToldSecrets::default();
            told.keep_line(format!("{part}IjKl1234").as_bytes());
            assert_eq!(told.masked(&format!("unrecognized: '{part}'")), "unrecognized: '***'");
        }
    }

    proptest::proptest! {
        /// Whatever the secret is, and wherever the relay cuts it.
        #[test]
        fn the_base64_of_a_secret_is_masked_however_it_is_cut(
            secret in proptest::collection::vec(proptest::prelude::any::<u8>(), 12..40),
            cut in 8_usize..60,
        ) {
            use base64::Engine;
            let line = base64::engine::general_purpose::STANDARD.encode(secret);
            let cut = &line[..cut.min(line.len())];
            // Letters with one capital at the front are a word that people write; random base64 is so once in thousands.
            let has_sign = cut.chars().any(|c| !c.is_alphabetic()) || cut.chars().skip(1).any(char::is_uppercase);
            proptest::prop_assume!(has_sign && !cut.chars().all(char::is_uppercase));
            let mut told = ToldSecrets::default();
            told.keep_line(line.as_bytes());
            for (front, behind) in [("'", "'"), ("\"", "\" too long"), ("<", ">"), ("", " was said"), ("(", "...)")] {
                let said = told.masked(&format!("unrecognized: {front}{cut}{behind}"));
                proptest::prop_assert!(!said.contains(cut) && said.contains("***"), "{}", said);
            }
        }
    }
}
