//! Our login at one relay, and what is remembered of it.
//!
//! Promises: the secret is read anew for each login, so that a rotated one is used without a restart; a secret that differs
//! from that of the last login is noticed without sending anything to the relay. A mechanism that cannot work is remembered
//! for a day, or until there is another secret. What is remembered is forgotten with the [`Relay`](super::Relay), at a reload
//! and at the end.
//!
//! Not here: the hosts at which the login failed (`host_memory.rs`), the end of an attempt (`failover.rs`), reading the
//! secret (`password.rs`), the proof to the relay (`sasl.rs`), how long a refused login waits (`queue/breaker.rs`).

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use super::login_gate::LoginGate;
use super::password::{self, PasswordError};
use super::remembered::Remembered;
use super::token::{HandedToken, TokenDesk};
use crate::config::{AuthConfig, Mechanism};
use crate::oauth::{AccessToken, Denial};
use crate::secret::Secret;

/// A print of the secret of a login, which tells whether another one has the same secret, and nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SecretPrint(Option<u64>);

/// Our login at one relay.
pub(super) struct Login {
    pub(super) auth: AuthConfig,
    /// A hash with random keys for each run, so that its result tells nothing about a secret.
    prints: RandomState,
    /// The print of the secret of the last login; that of none if there was no login yet, or its secret could not be read.
    last: Mutex<SecretPrint>,
    /// The source of access tokens, if an endpoint hands them out.
    pub(super) tokens: Option<Arc<TokenDesk>>,
    /// The gate before each login.
    pub(super) gate: LoginGate,
    /// The mechanisms that prove a password, each with whether it was found to be of no use.
    unusable: [(Mechanism, Remembered); Mechanism::OF_PASSWORDS.len()],
}

impl Login {
    pub(super) fn new(auth: AuthConfig) -> Self {
        let unusable = Mechanism::OF_PASSWORDS.map(|mechanism| (mechanism, Remembered::default()));
        Login {
            auth,
            prints: RandomState::new(),
            last: Mutex::default(),
            tokens: None,
            gate: LoginGate::default(),
            unusable,
        }
    }

    /// Returns the same login, with the access tokens of `tokens`.
    pub(super) fn with_tokens(self, tokens: Option<Arc<TokenDesk>>) -> Self {
        Login { tokens, ..self }
    }

    /// Reads the secret for a login.
    pub(super) async fn secret(&self) -> Result<Secret, PasswordError> {
        let secret = password::read(&self.auth.secret).await;
        self.note(secret.as_ref().map_or_else(|_| SecretPrint::default(), |secret| self.print(secret)));
        secret
    }

    /// Reads the access token for a login.
    pub(super) async fn token(&self) -> Result<AccessToken, PasswordError> {
        password::token_of(&self.auth.secret, self.secret().await?)
    }

    /// Gets an access token for a login from `tokens`.
    pub(super) async fn handed_token(&self, tokens: &Arc<TokenDesk>) -> Result<HandedToken, Denial> {
        let handed = tokens.token().await;
        // Behind the request, which may have written another refresh token.
        self.note(SecretPrint(tokens.secrets().await.map(|secrets| self.prints.hash_one(&*secrets))));
        handed
    }

    /// Remembers the print of the secret of this login. Behind another secret, what was learnt by the last one is forgotten.
    fn note(&self, print: SecretPrint) {
        let last = std::mem::replace(&mut *self.last.lock().unwrap_or_else(PoisonError::into_inner), print);
        if last != print {
            // A relay that gets another password may keep it in another form.
            self.unusable.iter().for_each(|(_, unusable)| unusable.end());
        }
    }

    /// Remembers that this mechanism cannot work.
    pub(super) fn cannot_use(&self, mechanism: Mechanism) {
        if let Some((_, unusable)) = self.unusable.iter().find(|(known, _)| *known == mechanism) {
            unusable.begin();
        }
    }

    /// Returns `mechanisms` without those that are known to be of no use; all of them if none is left.
    pub(super) fn worth_trying(&self, mechanisms: Vec<Mechanism>) -> Vec<Mechanism> {
        let is_of_use = |mechanism: &&Mechanism| {
            !self.unusable.iter().any(|(known, unusable)| known == *mechanism && unusable.is_now())
        };
        let of_use: Vec<Mechanism> = mechanisms.iter().filter(is_of_use).copied().collect();
        if of_use.is_empty() { mechanisms } else { of_use }
    }

    /// Returns whether there is a secret now, and it is another one than that of the last login. A command that prints the
    /// secret is not run for this: it may ask somebody, or be counted.
    pub(super) async fn has_another_secret(&self) -> bool {
        if self.auth.secret.command().is_some() {
            return false;
        }
        if let Some(tokens) = &self.tokens {
            let Some(secrets) = tokens.secrets().await else { return false };
            return self.last_secret() != SecretPrint(Some(self.prints.hash_one(&*secrets)));
        }
        // A secret that cannot be read is being written.
        let Ok(secret) = password::read(&self.auth.secret).await else { return false };
        self.last_secret() != self.print(&secret)
    }

    /// Returns the print of the secret of the last login.
    pub(super) fn last_secret(&self) -> SecretPrint {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn print(&self, secret: &Secret) -> SecretPrint {
        SecretPrint(Some(self.prints.hash_one(secret.expose())))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::SecretSource;

    fn login(secret: SecretSource) -> Login {
        Login::new(AuthConfig { username: "user".into(), secret, mechanisms: None })
    }

    /// A password that was mended while the relay took its time to refuse the old one was taken for the refused one, and
    /// waited for the end of the pause.
    #[tokio::test]
    async fn another_secret_is_one_that_was_not_tried() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let login = login(SecretSource::File(path.clone()));
        let write = |text: &str| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        };
        assert!(login.secret().await.is_err());
        assert!(!login.has_another_secret().await, "still none");
        write("one\n");
        assert!(login.has_another_secret().await, "one at last");
        login.secret().await.unwrap();
        assert!(!login.has_another_secret().await, "the same");
        write("one");
        assert!(!login.has_another_secret().await, "the same, without its line break");
        write("two");
        assert!(login.has_another_secret().await, "another one");
        write("");
        assert!(!login.has_another_secret().await, "it is being written");
        fs::remove_file(&path).unwrap();
        assert!(!login.has_another_secret().await, "it is being replaced");
    }

    #[tokio::test]
    async fn a_command_is_not_run_to_look_at_the_secret() {
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("mark");
        let words = ["/bin/sh", "-c", &format!("touch {}; echo two", mark.display())].map(String::from);
        assert!(!login(SecretSource::Command(words.to_vec())).has_another_secret().await);
        assert!(!mark.exists());
    }
}
