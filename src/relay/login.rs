//! Our login at one relay, and what is remembered of it.
//!
//! Promises: the secret is read anew for each login, so that a rotated one is used without a restart; a secret that differs
//! from that of the last login is noticed without sending anything to the relay. A mechanism that cannot work is remembered
//! for a day, or until there is another secret. A host that refused the login for good is remembered as well, for half an
//! hour: the same account is not tried at the next host in the same attempt, since some providers count both as one, and lock
//! it; the next attempt begins with the hosts that have not refused it. What is remembered is forgotten with the
//! [`Relay`](super::Relay), at a reload and at the end.
//!
//! Not here: the order of the hosts (`host_memory.rs`), the end of an attempt (`failover.rs`), reading the secret
//! (`password.rs`), the proof to the relay (`sasl.rs`), how long a refused login waits (`queue/breaker.rs`).

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::password::{self, PasswordError};
use super::remembered::Remembered;
use super::token::{HandedToken, TokenDesk};
use super::trouble::{Cause, Trouble};
use crate::config::{AuthConfig, Mechanism, RelayHost};
use crate::oauth::{AccessToken, Denial};
use crate::secret::Secret;

/// Time for which a host that refused the login comes behind the others: the longest pause after a refused login.
const REFUSED: Duration = Duration::from_secs(30 * 60);

/// Our login at one relay.
pub(super) struct Login {
    pub(super) auth: AuthConfig,
    /// A hash with random keys for each run, so that its result tells nothing about a secret.
    prints: RandomState,
    /// The print of the secret of the last login; `None` if there was no login yet, or its secret could not be read.
    last: Mutex<Option<u64>>,
    /// The source of access tokens, if an endpoint hands them out.
    pub(super) tokens: Option<Arc<TokenDesk>>,
    /// The mechanisms that prove a password, each with whether it was found to be of no use.
    unusable: [(Mechanism, Remembered); Mechanism::OF_PASSWORDS.len()],
    /// The hosts that refused the login for good, each with whether that still counts.
    refused_by: Mutex<Vec<(RelayHost, Remembered)>>,
}

impl Login {
    pub(super) fn new(auth: AuthConfig) -> Self {
        let unusable = Mechanism::OF_PASSWORDS.map(|mechanism| (mechanism, Remembered::default()));
        Login {
            auth,
            prints: RandomState::new(),
            last: Mutex::default(),
            tokens: None,
            unusable,
            refused_by: Mutex::default(),
        }
    }

    /// Returns the same login, with the access tokens of `tokens`.
    pub(super) fn with_tokens(self, tokens: Option<Arc<TokenDesk>>) -> Self {
        Login { tokens, ..self }
    }

    /// Reads the secret for a login.
    pub(super) async fn secret(&self) -> Result<Secret, PasswordError> {
        let secret = password::read(&self.auth.secret).await;
        self.note(secret.as_ref().ok().map(|secret| self.print(secret)));
        secret
    }

    /// Reads the access token for a login.
    pub(super) async fn token(&self) -> Result<AccessToken, PasswordError> {
        password::token_of(self.secret().await?)
    }

    /// Gets an access token for a login from `tokens`.
    pub(super) async fn handed_token(&self, tokens: &Arc<TokenDesk>) -> Result<HandedToken, Denial> {
        let handed = tokens.token().await;
        // Behind the request, which may have written another refresh token.
        let print = tokens.secrets().await.map(|secrets| self.prints.hash_one(&*secrets));
        self.note(print);
        handed
    }

    /// Remembers the print of the secret of this login. Behind another secret, what was learnt by the last one is forgotten.
    fn note(&self, print: Option<u64>) {
        let last = std::mem::replace(&mut *self.last.lock().unwrap_or_else(PoisonError::into_inner), print);
        if last != print {
            // A relay that gets another password may keep it in another form.
            self.unusable.iter().for_each(|(_, unusable)| unusable.end());
            self.refusals().clear();
        }
    }

    /// Remembers `host` if `trouble` is its refusal of this login for good. Returns whether it is, so that the login is tried
    /// nowhere else now.
    pub(super) fn note_refusal(&self, host: &RelayHost, trouble: &Trouble) -> bool {
        if !matches!(trouble.cause, Cause::LoginRefused { for_good: true, .. }) {
            return false;
        }
        let refused = Remembered::default();
        refused.begin_for(REFUSED);
        let mut refusals = self.refusals();
        refusals.retain(|(known, _)| known != host);
        refusals.push((host.clone(), refused));
        true
    }

    /// Returns whether `host` has refused this login for good, not long ago.
    pub(super) fn was_refused_by(&self, host: &RelayHost) -> bool {
        self.refusals().iter().any(|(known, refused)| known == host && refused.is_now())
    }

    fn refusals(&self) -> MutexGuard<'_, Vec<(RelayHost, Remembered)>> {
        self.refused_by.lock().unwrap_or_else(PoisonError::into_inner)
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
            let print = self.prints.hash_one(&*secrets);
            return *self.last.lock().unwrap_or_else(PoisonError::into_inner) != Some(print);
        }
        // A secret that cannot be read is being written.
        let Ok(secret) = password::read(&self.auth.secret).await else { return false };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) != Some(self.print(&secret))
    }

    fn print(&self, secret: &Secret) -> u64 {
        self.prints.hash_one(secret.expose())
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
