//! The secrets that were told to a relay, so that none of them comes back out of its mouth into the log.
//!
//! Promises: in text that has passed [`ToldSecrets::masked`], a secret that was kept, in the forms that `secret/masks.rs`
//! knows, and each line that held a secret are `***`, and so is the beginning of one where the text is cut off in it. When the
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
}
