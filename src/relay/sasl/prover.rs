//! Our side of each mechanism that proves a password, or that leaves the proof to the client certificate: what is said
//! first, and what to a challenge.
//!
//! Promises: a message says whether anything in it was made of the password; a secret is in no error. Each of the two
//! answers of LOGIN is given once. LOGIN's prompts may be in any words and any order, or be no base64, or be empty.
//!
//! Not here: base64 and the AUTH line (`exchange.rs`), SCRAM (`scram.rs`), access tokens (`bearer.rs`).
//!
//! RFC 4616 (PLAIN), RFC 2195 (CRAM-MD5), RFC 4422 A (EXTERNAL), draft-murchison-sasl-login.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use md5::Md5;
use zeroize::Zeroizing;

use super::scram::{Binding, ScramProver};
use super::{Message, TOO_MANY_CHALLENGES};
use crate::config::Mechanism;
use crate::secret::Secret;

/// Our side of one exchange.
pub(super) enum Prover {
    Scram(ScramProver),
    Plain { username: String, secret: Secret },
    Login { username: Option<String>, secret: Option<Secret> },
    CramMd5 { username: String, secret: Option<Secret> },
    External { authorization: String },
}

impl Message {
    fn of(parts: &[&[u8]], proves: bool) -> Self {
        Message { octets: Zeroizing::new(parts.concat()), proves }
    }
}

impl Prover {
    /// Returns our side of a mechanism that proves a password.
    pub(super) fn of_password(
        mechanism: Mechanism,
        username: &str,
        secret: &Secret,
        binding: Binding,
    ) -> Result<Self, String> {
        let (username, secret) = (username.to_owned(), secret.clone());
        Ok(match mechanism {
            Mechanism::Plain => Prover::Plain { username, secret },
            Mechanism::Login => Prover::Login { username: Some(username), secret: Some(secret) },
            Mechanism::CramMd5 => Prover::CramMd5 { username, secret: Some(secret) },
            scram => Prover::Scram(ScramProver::new(scram, username, &secret, binding)?),
        })
    }

    /// Returns our side of EXTERNAL. `authorization` is the user to act as; if it is empty, that of the certificate.
    pub(super) fn external(authorization: &str) -> Self {
        Prover::External { authorization: authorization.to_owned() }
    }

    /// Returns the first message, if it does not answer a challenge.
    pub(super) async fn begin(&mut self) -> Result<Option<Message>, String> {
        Ok(match self {
            Prover::Scram(scram) => Some(scram.begin().await?),
            Prover::Plain { username, secret } => {
                Some(Message::of(&[b"\0", username.as_bytes(), b"\0", secret.expose()], true))
            }
            Prover::External { authorization } => Some(Message::of(&[authorization.as_bytes()], false)),
            Prover::Login { .. } | Prover::CramMd5 { .. } => None,
        })
    }

    /// Returns whether a challenge behind the first message says something that the mechanism needs.
    pub(super) fn reads_challenges(&self) -> bool {
        !matches!(self, Prover::Plain { .. } | Prover::External { .. })
    }

    /// Returns the answer to `challenge`, the text of a 334 reply.
    pub(super) async fn answer(&mut self, challenge: &str) -> Result<Message, String> {
        match self {
            Prover::Scram(scram) => scram.answer(decoded(challenge)?).await,
            Prover::Login { username, secret } => login_answer(challenge, username, secret),
            Prover::CramMd5 { username, secret } => {
                let secret = secret.take().ok_or(TOO_MANY_CHALLENGES)?;
                cram_md5_answer(&decoded(challenge)?, username, &secret)
            }
            Prover::Plain { .. } | Prover::External { .. } => Err(TOO_MANY_CHALLENGES.into()),
        }
    }

    /// Checks, after the relay accepted the login, that the relay has proved its part, if the mechanism asks for that.
    pub(super) async fn finish(&mut self) -> Result<(), String> {
        match self {
            Prover::Scram(scram) => scram.finish().await,
            _ => Ok(()),
        }
    }
}

fn decoded(challenge: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(challenge).map_err(|_| "the relay's challenge is not base64".into())
}

/// Returns the one of the two answers of LOGIN that `prompt` asks for. A prompt that says neither asks for the username
/// first.
fn login_answer(
    prompt: &str,
    username: &mut Option<String>,
    secret: &mut Option<Secret>,
) -> Result<Message, String> {
    if let Some(name) = username.take_if(|_| secret.is_none() || !asks_for_password(prompt)) {
        return Ok(Message::of(&[name.as_bytes()], false));
    }
    let secret = secret.take().ok_or(TOO_MANY_CHALLENGES)?;
    Ok(Message::of(&[secret.expose()], true))
}

/// Returns whether the words of a prompt, in base64 or as they are, ask for a password.
fn asks_for_password(prompt: &str) -> bool {
    let decoded = STANDARD.decode(prompt).ok().and_then(|octets| String::from_utf8(octets).ok());
    let words = decoded.unwrap_or_else(|| prompt.to_owned()).to_lowercase();
    // Password, passwort, passphrase, mot de passe; pwd; Kennwort; contraseña, senha, wachtwoord.
    ["pass", "pwd", "kennwort", "contrase", "senha", "wachtwoord"].iter().any(|word| words.contains(word))
        && !words.contains("user")
}

fn cram_md5_answer(challenge: &[u8], username: &str, secret: &Secret) -> Result<Message, String> {
    if challenge.is_empty() {
        return Err("the relay's challenge is empty".into());
    }
    // HMAC takes a key of any length (RFC 2104).
    let mut hmac = Hmac::<Md5>::new_from_slice(secret.expose()).expect("a key of any length");
    hmac.update(challenge);
    let digest: String = hmac.finalize().into_bytes().iter().map(|octet| format!("{octet:02x}")).collect();
    Ok(Message::of(&[username.as_bytes(), b" ", digest.as_bytes()], true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(message: &Message) -> &str {
        str::from_utf8(&message.octets).unwrap()
    }

    fn prover(mechanism: Mechanism, username: &str, secret: &str) -> Prover {
        Prover::of_password(mechanism, username, &Secret::new(secret.into()), Binding::None).unwrap()
    }

    /// The example of RFC 2195 2.
    #[tokio::test]
    async fn cram_md5_as_the_rfc_shows_it() {
        let mut prover = prover(Mechanism::CramMd5, "tim", "tanstaaftanstaaf");
        assert!(prover.begin().await.unwrap().is_none());
        let challenge = STANDARD.encode("<1896.697170952@postoffice.reston.mci.net>");
        let answer = prover.answer(&challenge).await.unwrap();
        assert_eq!(text(&answer), "tim b913a602c7eda7a495b4e6e7334d3890");
        assert!(answer.proves);
        assert_eq!(prover.answer(&challenge).await.err().as_deref(), Some(TOO_MANY_CHALLENGES));
    }

    #[tokio::test]
    async fn cram_md5_needs_a_challenge() {
        for (challenge, expected) in [
            ("", "the relay's challenge is empty"),
            ("<1896.697170952@postoffice>", "the relay's challenge is not base64"),
        ] {
            let mut prover = prover(Mechanism::CramMd5, "tim", "x");
            assert_eq!(prover.answer(challenge).await.err().as_deref(), Some(expected));
        }
    }

    /// Relays that ask in words of their own, or for the password first, got the username as a password.
    #[tokio::test]
    async fn login_answers_what_is_asked() {
        let base64 = |words: &str| STANDARD.encode(words);
        let (name, word) = ("user", "pencil");
        for (prompts, expected) in [
            ([base64("Username:"), base64("Password:")], [name, word]),
            ([base64("User Name\0"), base64("Password\0")], [name, word]),
            ([base64("USERNAME:"), base64("PASSWORD:")], [name, word]),
            ([base64("Benutzername:"), base64("Passwort:")], [name, word]),
            ([base64("your account?"), base64("and its secret?")], [name, word]),
            ([String::new(), String::new()], [name, word]),
            (["Username:".into(), "Password:".into()], [name, word]),
            (["=".into(), "!!!".into()], [name, word]),
            ([base64("Password:"), base64("Username:")], [word, name]),
            (["Kennwort".into(), String::new()], [word, name]),
            ([base64("Username and password?"), base64("Password:")], [name, word]),
            ([base64("Username:"), base64("Username:")], [name, word]),
        ] {
            let mut prover = prover(Mechanism::Login, name, word);
            for (prompt, expected) in prompts.iter().zip(expected) {
                let answer = prover.answer(prompt).await.unwrap();
                assert_eq!((text(&answer), answer.proves), (expected, expected == word), "{prompts:?}");
            }
            assert!(prover.answer("").await.is_err(), "{prompts:?}");
        }
    }
}
