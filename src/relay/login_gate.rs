//! The gate before AUTH: it keeps the logins of an account that are refused at one moment few, since providers lock an account
//! after five to ten.
//!
//! Promises:
//! 1. No more than [`AT_ONCE`] logins are under way at a time.
//! 2. A connection on which opening had begun before a login at the same host failed does not log in: it ends with the trouble
//!    of that login. So a password that is revoked while many connections are being opened costs a few logins, and not one
//!    for each.
//!
//! A connection that is begun later is let through: when that may be is for the pauses (`queue/breaker.rs`, `host_rests.rs`).
//!
//! Not here: the exchange (`sasl.rs`).

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::trouble::{Peer, Phase, Trouble};

/// The number of logins that may be under way at a time: one less than the fewest refusals after which a provider locks an
/// account.
const AT_ONCE: usize = 4;

/// A login that failed.
struct FailedLogin {
    /// The host, by its name and port.
    host: (String, u16),
    at: Instant,
    trouble: Trouble,
}

/// The gate of one account.
pub(super) struct LoginGate {
    turns: Semaphore,
    /// The last login that failed at each host.
    failed: Mutex<Vec<FailedLogin>>,
}

impl Default for LoginGate {
    fn default() -> Self {
        LoginGate { turns: Semaphore::new(AT_ONCE), failed: Mutex::default() }
    }
}

impl LoginGate {
    /// Runs `login` at `peer` when it is its turn. A connection that had `begun` before another one's login failed there gets the
    /// trouble of that one instead.
    pub(super) async fn pass<T>(
        &self,
        peer: &Peer,
        begun: Instant,
        login: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        // It is never closed.
        let _turn = self.turns.acquire().await;
        let host = (peer.name.clone(), peer.address.port());
        if let Some(trouble) = self.failed_since(&host, begun) {
            return Err(trouble);
        }
        let result = login.await;
        if let Err(trouble) = &result
            && trouble.phase == Phase::Auth
        {
            let failed = FailedLogin { host, at: Instant::now(), trouble: trouble.clone() };
            let mut all = self.failed();
            all.retain(|other| other.host != failed.host);
            all.push(failed);
        }
        result
    }

    fn failed_since(&self, host: &(String, u16), begun: Instant) -> Option<Trouble> {
        let failed = self.failed();
        failed.iter().find(|login| login.host == *host && login.at > begun).map(|login| login.trouble.clone())
    }

    fn failed(&self) -> MutexGuard<'_, Vec<FailedLogin>> {
        // It is whole at each moment.
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;
    use crate::relay::trouble::Cause;

    fn peer(name: &str) -> Peer {
        Peer { name: name.into(), address: "192.0.2.1:587".parse().unwrap(), route: None, tls: None }
    }

    fn refused(peer: &Peer) -> Trouble {
        let cause = Cause::Other("535 5.7.8 no".into());
        Trouble { phase: Phase::Auth, peer: Some(Box::new(peer.clone())), cause }
    }

    /// Seven connections that were being opened when the password was revoked made seven logins within 0.07 s.
    #[tokio::test(start_paused = true)]
    async fn a_refusal_costs_a_few_logins_and_not_one_for_each_connection() {
        let (gate, tried) = (Arc::new(LoginGate::default()), Arc::new(AtomicUsize::new(0)));
        let begun = Instant::now();
        let logins: Vec<_> = (0..20)
            .map(|_| {
                let (gate, tried) = (Arc::clone(&gate), Arc::clone(&tried));
                tokio::spawn(async move {
                    let login = async {
                        tried.fetch_add(1, Ordering::SeqCst);
                        sleep(Duration::from_millis(300)).await;
                        Err::<(), _>(refused(&peer("mx")))
                    };
                    gate.pass(&peer("mx"), begun, login).await
                })
            })
            .collect();
        for login in logins {
            assert_eq!(login.await.unwrap().unwrap_err().cause.to_string(), "535 5.7.8 no");
        }
        assert_eq!(tried.load(Ordering::SeqCst), AT_ONCE);
        // Another host, and a connection that is begun later, are let through.
        assert!(gate.pass(&peer("other"), begun, async { Ok(()) }).await.is_ok());
        sleep(Duration::from_millis(1)).await;
        assert!(gate.pass(&peer("mx"), Instant::now(), async { Ok(()) }).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn trouble_that_is_not_of_the_login_holds_nobody_back() {
        let (gate, begun) = (LoginGate::default(), Instant::now());
        sleep(Duration::from_secs(1)).await;
        let trouble = Trouble { phase: Phase::Tls, ..refused(&peer("mx")) };
        assert!(gate.pass(&peer("mx"), begun, async { Err::<(), _>(trouble) }).await.is_err());
        assert!(gate.pass(&peer("mx"), begun, async { Ok(()) }).await.is_ok());
    }
}
