//! The login of one session: the exchange that is under way, and its end.
//!
//! Promises: see `login.rs`. A name counts as tried when the message that decides arrives: before that message is looked at, the
//! attempt waits.

use std::future::pending;
use std::sync::Arc;

use tokio::time::Instant;

use super::delays::LoginClient;
use super::users::AskedUsers;
use super::{Accepted, LoginDesk};
use crate::config::LoginUser;
use crate::listener::backend::AuthStep;
use crate::listener::peer::LocalPeer;
use crate::listener::repeats::{RepeatKind, SessionLines};
use crate::listener::stop::StopSignal;
use crate::log::{self, LoginLine};
use crate::routing::AddressPattern;
use crate::sasl_server::{
    ClaimedLogin, ExporterOctets, LoginFault, LoginKeys, SaslExchange, SaslMechanism, SaslStep, ScramHash,
};
use crate::sender_policy::{AllowedSenders, SenderPolicy};

/// Who has logged in, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn {
    /// The name.
    pub user: String,
    /// The mechanism.
    pub mechanism: String,
    /// As whom the user may send; `None` for everybody.
    pub senders: Option<Arc<SenderPolicy>>,
}

/// The reason why an attempt is not decided if the daemon stops.
const STOPPING: &str = "the daemon is stopping";

/// The logins of one session.
pub(in crate::listener) struct SessionLogin {
    desk: Arc<LoginDesk>,
    client: LoginClient,
    /// The domain that addresses without one get.
    origin: String,
    stop: Option<StopSignal>,
    under_way: Option<LoginAttempt>,
    done: Option<LoggedIn>,
}

/// An exchange that is under way.
struct LoginAttempt {
    exchange: SaslExchange,
    mechanism: String,
    judge: LoginJudge,
}

/// Who decides about a login.
struct LoginJudge {
    users: Arc<AskedUsers>,
    /// True if any name and any password will do.
    takes_any: bool,
}

/// The end of an attempt.
enum LoginVerdict {
    Proven(String),
    Failed(Option<String>, LoginFault),
    /// It was not decided, since it would have to wait for too long, or the daemon stops.
    Undecided(Option<String>, &'static str),
}

impl SessionLogin {
    /// Returns the logins of a session of `peer`, of which there is none yet; `origin` is the domain that addresses without one
    /// get.
    pub(in crate::listener) fn new(desk: Arc<LoginDesk>, peer: LocalPeer, origin: &str) -> Self {
        let (client, origin) = (LoginClient::of(peer), origin.to_owned());
        SessionLogin { desk, client, origin, stop: None, under_way: None, done: None }
    }

    /// Makes the wait of an attempt end when `stop` is given.
    pub(in crate::listener) fn end_with(&mut self, stop: StopSignal) {
        self.stop = Some(stop);
    }

    /// Returns who has logged in.
    pub(in crate::listener) fn logged_in(&self) -> Option<&LoggedIn> {
        self.done.as_ref()
    }

    /// Forgets who has logged in, as after STARTTLS.
    pub(in crate::listener) fn forget(&mut self) {
        (self.under_way, self.done) = (None, None);
    }

    /// Begins an attempt. `exporter` is known within TLS 1.3.
    pub(in crate::listener) async fn start(
        &mut self,
        mechanism: &str,
        initial: Option<&[u8]>,
        exporter: Option<ExporterOctets>,
        lines: &mut SessionLines,
    ) -> AuthStep {
        // A mechanism that is offered is known.
        let Some(parsed) = SaslMechanism::parse(mechanism) else { return AuthStep::Unavailable };
        let judge = match self.login_judge().await {
            Ok(judge) => judge,
            Err(why) => {
                let line = LoginLine { client: "", mechanism, name: None, why: Some(&why) };
                tell(lines, RepeatKind::LoginFailed, line);
                return AuthStep::Unavailable;
            }
        };
        let mut attempt = LoginAttempt {
            exchange: SaslExchange::new(parsed, exporter),
            mechanism: mechanism.into(),
            judge,
        };
        let step = attempt.exchange.begin(initial, &*attempt.judge.users);
        self.go_on(attempt, step, lines).await
    }

    /// Returns who decides about an attempt that begins now; an error with the reason if nobody can.
    async fn login_judge(&self) -> Result<LoginJudge, &'static str> {
        match self.desk.accepted() {
            Accepted::Nobody => Err("nobody may log in any more, by the configuration"),
            Accepted::Anybody(users) => Ok(LoginJudge { users, takes_any: true }),
            Accepted::Users(users) => tokio::select! {
                biased;
                () = self.stopped() => Err(STOPPING),
                users = users.now() => {
                    let users = users.ok_or("listen.users-file could not be used yet")?;
                    Ok(LoginJudge { users, takes_any: false })
                }
            },
        }
    }

    /// Waits until the daemon stops.
    async fn stopped(&self) {
        match self.stop.clone() {
            Some(mut stop) => drop(stop.given().await),
            None => pending().await,
        }
    }

    /// Processes the next response of the client.
    pub(in crate::listener) async fn respond(
        &mut self,
        response: &[u8],
        lines: &mut SessionLines,
    ) -> AuthStep {
        let Some(mut attempt) = self.under_way.take() else { return AuthStep::Failed };
        if let Some(name) = attempt.exchange.about_to_prove().map(str::to_owned)
            && let Err(why) = self.wait(&name).await
        {
            return self.end(&attempt, LoginVerdict::Undecided(Some(name), why), lines);
        }
        let step = attempt.exchange.respond(response, &*attempt.judge.users);
        self.go_on(attempt, step, lines).await
    }

    async fn go_on(&mut self, attempt: LoginAttempt, step: SaslStep, lines: &mut SessionLines) -> AuthStep {
        let verdict = match step {
            SaslStep::Challenge(challenge) => {
                self.under_way = Some(attempt);
                return AuthStep::Challenge(challenge);
            }
            SaslStep::Proven(name) => LoginVerdict::Proven(name),
            SaslStep::Failed(name, why) => LoginVerdict::Failed(name, why),
            SaslStep::Password(claimed) => self.judge(&attempt.judge, claimed).await,
        };
        self.end(&attempt, verdict, lines)
    }

    /// Decides about a name and a password.
    async fn judge(&self, judge: &LoginJudge, claimed: ClaimedLogin) -> LoginVerdict {
        if judge.takes_any {
            return LoginVerdict::Proven(claimed.name);
        }
        let users = &judge.users;
        if let Err(why) = self.wait(&claimed.name).await {
            return LoginVerdict::Undecided(Some(claimed.name), why);
        }
        // The semaphore is never closed.
        let Ok(_permit) = self.desk.hashing.acquire().await else {
            return LoginVerdict::Undecided(Some(claimed.name), "no thread");
        };
        let ClaimedLogin { name, password } = claimed;
        let found = users.keys_of(&name, ScramHash::Sha256);
        let compared =
            tokio::task::spawn_blocking(move || found.keys.is_password(&password) && found.is_known);
        match compared.await {
            Ok(true) => LoginVerdict::Proven(users.find(&name).map_or(name, |user| user.name.clone())),
            Ok(false) if users.find(&name).is_none() => {
                LoginVerdict::Failed(Some(name), LoginFault::UnknownUser)
            }
            Ok(false) => LoginVerdict::Failed(Some(name), LoginFault::WrongPassword),
            Err(_) => LoginVerdict::Undecided(Some(name), "no thread"),
        }
    }

    /// Waits as long as failures before say; an error with the reason if the attempt is not to be decided.
    async fn wait(&self, name: &str) -> Result<(), &'static str> {
        let wait = self.desk.delays.wait(self.client, name, Instant::now().into_std());
        let wait = wait.ok_or("too many attempts have failed, and others wait")?;
        if wait.is_zero() {
            return Ok(());
        }
        tokio::select! {
            biased;
            () = self.stopped() => Err(STOPPING),
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }

    /// Logs the end of an attempt, and notes it.
    fn end(&mut self, attempt: &LoginAttempt, verdict: LoginVerdict, lines: &mut SessionLines) -> AuthStep {
        let now = Instant::now().into_std();
        let mechanism = attempt.mechanism.as_str();
        let line = |name, why| LoginLine { client: "", mechanism, name, why };
        match verdict {
            LoginVerdict::Proven(user) => {
                self.desk.delays.succeeded(self.client, &user, now);
                tell(lines, RepeatKind::LoggedIn, line(Some(&user), None));
                let known = attempt.judge.users.find(&user);
                let senders = known.and_then(|known| senders_of(known, &self.origin)).map(Arc::new);
                let (mechanism, told) = (mechanism.into(), senders.clone());
                self.done = Some(LoggedIn { user: user.clone(), mechanism, senders });
                AuthStep::Succeeded { user, senders: told }
            }
            LoginVerdict::Failed(name, why) => {
                self.desk.delays.failed_for(self.client, name.as_deref(), now);
                tell(lines, RepeatKind::LoginFailed, line(name.as_deref(), Some(&why)));
                AuthStep::Failed
            }
            LoginVerdict::Undecided(name, why) => {
                tell(lines, RepeatKind::LoginFailed, line(name.as_deref(), Some(&why)));
                AuthStep::Unavailable
            }
        }
    }
}

/// Returns as whom a user may send; `None` for everybody.
fn senders_of(user: &LoginUser, origin: &str) -> Option<SenderPolicy> {
    let only = |allowed: &[AddressPattern]| AllowedSenders { allowed: allowed.to_vec(), denied: Vec::new() };
    let (reverse_paths, authors) = (only(&user.reverse_paths), only(&user.from_domains));
    let is_free = user.reverse_paths.is_empty() && user.from_domains.is_empty();
    let who = format!("user {}", user.name);
    (!is_free).then(|| SenderPolicy { who, origin: origin.into(), reverse_paths, authors })
}

fn tell(lines: &mut SessionLines, kind: RepeatKind, line: LoginLine<'_>) {
    if lines.tell(kind) {
        log::login(&LoginLine { client: lines.client(), ..line });
    }
}
