//! What an operator is told to do when a relay refuses our login, and no rule knows better.
//!
//! Promises: each refusal has a sentence. It says what the relay refuses, which keys and which file hold what is in force,
//! what to do, that mail waits meanwhile, and how a correction comes into force. Neither the secret nor a part of it is in it.
//!
//! | the relay says | at | what it refuses |
//! |---|---|---|
//! | 523, 524, 530, 538, X.7.10, X.7.11 | AUTH | a login without encryption |
//! | 534, X.7.9 | AUTH | this way to log in, as too weak |
//! | 422, 432, X.7.12 | AUTH | a password that it has in another form |
//! | 525, X.7.13 | AUTH | the account |
//! | 500 to 504 without a status of security | AUTH | the command, or the mechanism |
//! | 535, any other 5xx; SCRAM, that the proof is wrong | AUTH | user name and secret |
//! | any other 4xx, 454 | AUTH | nothing for good: it cannot check the login now |
//! | no reply, but an exchange that cannot be right | AUTH | nothing in words |
//! | 530 | behind the login | mail of this login |
//! | 454, 534, 535, 538 | behind the login | the login that it took |
//!
//! Pure. Not here: what the words of single relays mean (`reply_rules/`), how long the next login waits
//! (`queue/breaker.rs`), a changed secret (`login.rs`), the names that keys have on a route (`key_names.rs`).
//!
//! RFC 4954 6; RFC 5248 and RFC 4954 4 for the codes and statuses.

use super::trouble::Phase;
use crate::config::{RelayConfig, SecretSource, TlsSettings, TokenSource};
use crate::smtp::reply::{Reply, Severity};
use crate::status::Status;

/// What is refused by a reply to a login, or behind one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoginRefusal {
    /// User name and secret.
    Credentials,
    /// A login without encryption.
    InClear,
    /// This way to log in.
    TooWeak,
    /// A password that the relay has in another form.
    OtherForm,
    /// The account.
    Account,
    /// The command, or the mechanism.
    Mechanism,
    /// Nothing for good.
    PutOff,
    /// Nothing in words: the exchange cannot be right.
    Exchange,
    /// Mail of this login.
    MailOfLogin,
    /// The login that was taken.
    TakenLogin,
}

impl LoginRefusal {
    /// Returns what `reply` at `phase` refuses; `None` if it is about no login.
    pub(super) fn of(phase: Phase, reply: &Reply) -> Option<LoginRefusal> {
        let code = reply.code();
        match phase {
            Phase::Auth if code == 421 => None,
            Phase::Auth => LoginRefusal::at_auth(code, reply),
            Phase::Mail | Phase::Rcpt | Phase::Data | Phase::Content | Phase::Dot => match code {
                530 => Some(LoginRefusal::MailOfLogin),
                454 | 534 | 535 | 538 => Some(LoginRefusal::TakenLogin),
                _ => None,
            },
            _ => None,
        }
    }

    fn at_auth(code: u16, reply: &Reply) -> Option<LoginRefusal> {
        // RFC 3463 3.8: X.7 is security.
        let detail = reply.status().filter(|status| status.subject() == 7).map(Status::detail);
        let is_security = |known| detail == Some(known);
        let refusal = match (code, reply.severity()) {
            (_, Severity::Positive | Severity::Intermediate) => return None,
            _ if is_security(10) || is_security(11) => LoginRefusal::InClear,
            _ if is_security(9) => LoginRefusal::TooWeak,
            _ if is_security(12) => LoginRefusal::OtherForm,
            _ if is_security(13) => LoginRefusal::Account,
            (523 | 524 | 530 | 538, _) => LoginRefusal::InClear,
            (534, _) => LoginRefusal::TooWeak,
            (422 | 432, _) => LoginRefusal::OtherForm,
            (525, _) => LoginRefusal::Account,
            (500..=504, _) if detail.is_none() => LoginRefusal::Mechanism,
            (_, Severity::Permanent) => LoginRefusal::Credentials,
            (_, Severity::Transient) => LoginRefusal::PutOff,
        };
        Some(refusal)
    }
}

/// The login that is in force at a relay, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LoginInForce {
    /// The user name, with its key; `None` if the certificate of this host stands for it.
    user: Option<String>,
    /// The secret or the certificate, with its key and where it is.
    proof: String,
    kind: ProofKind,
    /// True if the relay is spoken to without TLS.
    is_in_clear: bool,
}

/// The kind of what proves a login, which decides how a correction comes into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProofKind {
    PasswordFile,
    Credential,
    Command,
    TokenFile,
    OAuth,
    /// The certificate of this host, as EXTERNAL has it.
    Certificate,
    /// The same, with no login at all: the relay may know the host by it.
    CertificateAlone,
}

impl LoginInForce {
    /// Returns the login at `relay`; `None` if nothing there says who we are.
    pub(super) fn of(relay: &RelayConfig) -> Option<LoginInForce> {
        let tls = relay.tls.settings();
        let certificate = |tls: &TlsSettings| {
            let client = tls.client.as_ref()?;
            Some(format!("the certificate in {} (tls.client-certificate)", client.certificate.display()))
        };
        let certificate = tls.and_then(certificate);
        let is_in_clear = tls.is_none();
        let Some(auth) = &relay.auth else {
            let kind = ProofKind::CertificateAlone;
            return certificate.map(|proof| LoginInForce { user: None, proof, kind, is_in_clear });
        };
        let (proof, kind) = match &auth.secret {
            SecretSource::File(path) => {
                (format!("the password in {} (auth.password-file)", path.display()), ProofKind::PasswordFile)
            }
            SecretSource::Credential(name) => {
                (format!("the password in the credential {name} (auth.credential)"), ProofKind::Credential)
            }
            SecretSource::Command(words) => (
                format!("the password that {} prints (auth.password-command)", program(words)),
                ProofKind::Command,
            ),
            SecretSource::Token(TokenSource::File(path)) => {
                (format!("the access token in {} (auth.token-file)", path.display()), ProofKind::TokenFile)
            }
            SecretSource::Token(TokenSource::Command(words)) => (
                format!("the access token that {} prints (auth.token-command)", program(words)),
                ProofKind::Command,
            ),
            SecretSource::Token(TokenSource::OAuth(_)) => {
                ("the access token of the endpoint ([auth.oauth])".into(), ProofKind::OAuth)
            }
            // The configuration has one beside EXTERNAL.
            SecretSource::Certificate => (certificate.unwrap_or_default(), ProofKind::Certificate),
        };
        let user = Some(&auth.username).filter(|name| !name.is_empty());
        let user = user.map(|name| format!("the user name {name:?} (auth.username)"));
        Some(LoginInForce { user, proof, kind, is_in_clear })
    }

    /// Returns what to do about `refusal`, in words to stand behind those of the relay. Where something better is known to do
    /// about it, that is `remedy`.
    pub(super) fn advice(&self, refusal: LoginRefusal, remedy: Option<&str>) -> String {
        let login = self.login();
        let what = match remedy {
            Some(remedy) => format!("{remedy}; in force is {login}"),
            None => self.remedy(refusal, &login),
        };
        format!(
            "{what}; mail waits meanwhile, and nothing bounces for it; {}",
            self.comes_into_force(refusal)
        )
    }

    fn login(&self) -> String {
        match &self.user {
            Some(user) => format!("{user} with {}", self.proof),
            None => self.proof.clone(),
        }
    }

    fn remedy(&self, refusal: LoginRefusal, login: &str) -> String {
        match refusal {
            LoginRefusal::Credentials => self.remedy_for_credentials(login),
            LoginRefusal::InClear if self.is_in_clear => format!(
                "it wants a login under TLS only: set tls.mode = \"starttls\" or \"implicit\"; in force is {login}"
            ),
            LoginRefusal::InClear => format!(
                "it wants more encryption for this mechanism than the connection has: allow another mechanism that it offers \
                 (auth.mechanisms); in force is {login}"
            ),
            LoginRefusal::TooWeak => format!(
                "it wants another way to log in than this one: allow a stronger mechanism that it offers \
                 (auth.mechanisms), or get a password for programs (an app password) or an access token from its operator; \
                 in force is {login}"
            ),
            LoginRefusal::OtherForm => format!(
                "it has this account's password in a form that does not serve this mechanism: log in by PLAIN once \
                 (auth.mechanisms), or have the password set anew at the relay; in force is {login}"
            ),
            LoginRefusal::Account => format!(
                "the relay has closed this account: ask its operator, or log in with another one; in force is {login}"
            ),
            LoginRefusal::Mechanism => format!(
                "it does not take this mechanism, or no login on this port: allow another mechanism that it offers \
                 (auth.mechanisms), or try another port; in force is {login}"
            ),
            LoginRefusal::PutOff => format!(
                "it cannot check a login now, and does not say that this one is wrong: if that lasts, ask its operator; in \
                 force is {login}"
            ),
            LoginRefusal::Exchange => format!(
                "this is no login as its mechanism has it: allow another one (auth.mechanisms), and ask the relay's \
                 operator; in force is {login}"
            ),
            LoginRefusal::MailOfLogin if self.kind == ProofKind::CertificateAlone => format!(
                "it does not know this host by {login}, or wants a login as well: have the certificate registered there, or set \
                 [auth]"
            ),
            LoginRefusal::MailOfLogin => format!(
                "it took the login and asks for one all the same: ask its operator whether this account may send from here, and \
                 whether every server behind its name knows the account; in force is {login}"
            ),
            LoginRefusal::TakenLogin if self.kind == ProofKind::CertificateAlone => {
                format!(
                    "it does not take {login} for a login any more: have it registered there, or set [auth]"
                )
            }
            LoginRefusal::TakenLogin => format!(
                "it had taken the login, and refuses it now: see whether the account is still good and has this secret; in \
                 force is {login}"
            ),
        }
    }

    fn remedy_for_credentials(&self, login: &str) -> String {
        match self.kind {
            ProofKind::TokenFile | ProofKind::OAuth => format!(
                "it refuses {login}: is the token for this account and for this relay, and not expired?"
            ),
            ProofKind::Certificate | ProofKind::CertificateAlone => {
                format!("it refuses {login}: have the certificate registered there for this account")
            }
            ProofKind::PasswordFile | ProofKind::Credential | ProofKind::Command => {
                format!("it refuses {login}: correct the one that is wrong")
            }
        }
    }

    fn comes_into_force(&self, refusal: LoginRefusal) -> &'static str {
        // The file is watched only while the login itself is refused.
        let is_behind_login = matches!(refusal, LoginRefusal::MailOfLogin | LoginRefusal::TakenLogin);
        match self.kind {
            ProofKind::PasswordFile | ProofKind::TokenFile | ProofKind::OAuth if is_behind_login => {
                "another secret there is used at the next try, and nullmta flush tries at once; another user name needs nullmta \
                 reload"
            }
            ProofKind::PasswordFile | ProofKind::TokenFile | ProofKind::OAuth => {
                "another secret there is noticed within seconds, another user name at nullmta reload"
            }
            ProofKind::Credential => {
                "another credential is noticed once the unit is restarted, another user name at nullmta reload"
            }
            ProofKind::Command => {
                "the command is run anew at each login, and nullmta flush tries at once; another user name needs nullmta reload"
            }
            ProofKind::Certificate | ProofKind::CertificateAlone => {
                "a change comes into force at nullmta reload"
            }
        }
    }
}

fn program(words: &[String]) -> &str {
    words.first().map_or("the command", String::as_str)
}

#[cfg(test)]
mod tests;
