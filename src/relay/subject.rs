//! What a refusal is about: one table, for those who look at more than one message.
//!
//! | refusal | about |
//! |---|---|
//! | 4xx: 432, 451, 452 or 454 at MAIL, DATA or the final dot | pace (1) |
//! | any other 4xx | the recipient at RCPT, else the message |
//! | 5xx whose words ask for a login, or refuse to relay | login (2) |
//! | 5xx x.7.*, x.1.7, x.1.8, x.4.5 (sending limit) | permission |
//! | 5xx x.1.\*, x.2.\* | the recipient |
//! | 5xx x.3.4 (size), x.6.\* (content) | the message |
//! | 5xx of another status or of none, at MAIL, DATA or the final dot: 500, 501, 504, 552, 555 | the message |
//! | the same, any other code | permission (3) |
//! | the same at RCPT: 554, or words about the sender | permission |
//! | the same at RCPT, anything else | the recipient |
//!
//! 1. One reply proves nothing: it is the message's own, unless many messages are told so in one moment
//!    (`queue/pace.rs`).
//! 2. Postfix says `554 5.7.1 … Relay access denied`, Exim `550 relay not permitted`, and no status of RFC
//!    3463 tells that from other matters of policy.
//! 3. Amazon SES refuses an unverified sender at the final dot with a bare 554.
//!
//! Not here: what a reply means for its own message (`verdict.rs`), what is done about many (`queue/refusals.rs`).

use super::trouble::Phase;
use crate::smtp::reply::{Reply, Severity};

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// This recipient.
    Recipient,
    /// This message: its size, its content, its parameters.
    Message,
    /// The sender, the account or the relay's policy: what is set up, rather than what is sent.
    Permission,
    /// We have not shown who we are.
    Login,
    /// How much, or how much at once, the relay is given.
    Pace,
}

impl Subject {
    /// What the refusal `reply` at `phase` is about.
    pub(crate) fn of(phase: Phase, reply: &Reply) -> Subject {
        if reply.severity() != Severity::Permanent {
            return of_transient(phase, reply.code());
        }
        let words = reply.lines().join(" ").to_lowercase();
        if asks_for_login(&words) {
            return Subject::Login;
        }
        match reply.status().map(|status| (status.subject(), status.detail())) {
            Some((7, _) | (1, 7 | 8) | (4, 5)) => Subject::Permission,
            Some((1 | 2, _)) => Subject::Recipient,
            Some((3, 4) | (6, _)) => Subject::Message,
            Some(_) | None => of_bare(phase, reply.code(), &words),
        }
    }
}

fn of_transient(phase: Phase, code: u16) -> Subject {
    match (phase, code) {
        (Phase::Mail | Phase::Data | Phase::Dot, 432 | 451 | 452 | 454) => Subject::Pace,
        (Phase::Rcpt, _) => Subject::Recipient,
        _ => Subject::Message,
    }
}

/// A permanent refusal whose status tells nothing.
fn of_bare(phase: Phase, code: u16, words: &str) -> Subject {
    match (phase, code) {
        (Phase::Mail | Phase::Data | Phase::Dot, 500 | 501 | 504 | 552 | 555) => Subject::Message,
        (Phase::Mail | Phase::Data | Phase::Dot, _) | (Phase::Rcpt, 554) => Subject::Permission,
        (Phase::Rcpt, _) if words.contains("sender") => Subject::Permission,
        (Phase::Rcpt, _) => Subject::Recipient,
        _ => Subject::Message,
    }
}

/// `words` in lower case. DMARC's "unauthenticated email" is none of these.
fn asks_for_login(words: &str) -> bool {
    const ASK: [&str; 16] = [
        "not authenticated",
        "authentication required",
        "authentication is required",
        "requires authentication",
        "must authenticate",
        "must be authenticated",
        "authenticate first",
        "please authenticate",
        "need to authenticate",
        "login required",
        "log in first",
        "relay access denied",
        "relaying denied",
        "relay not permitted",
        "not permitted to relay",
        "unable to relay",
    ];
    ASK.iter().any(|words_that_ask| words.contains(words_that_ask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_real_relays() {
        let table = [
            (Phase::Rcpt, "550 5.1.1 <nobody@example.net>: user unknown", Subject::Recipient),
            (Phase::Rcpt, "550 5.2.1 mailbox disabled", Subject::Recipient),
            (Phase::Dot, "552 5.2.2 mailbox full", Subject::Recipient),
            (Phase::Rcpt, "550 5.1.2 bad destination", Subject::Recipient),
            (Phase::Rcpt, "550 no such user here", Subject::Recipient),
            (Phase::Rcpt, "550 Sender verify failed", Subject::Permission),
            (Phase::Rcpt, "554 Client host rejected", Subject::Permission),
            (Phase::Rcpt, "554 5.7.1 <ann@example.net>: Relay access denied", Subject::Login),
            (Phase::Rcpt, "550 relay not permitted", Subject::Login),
            (Phase::Mail, "550 5.7.1 Client was not authenticated", Subject::Login),
            (Phase::Mail, "550 5.1.8 sender rejected", Subject::Permission),
            (Phase::Mail, "553 5.7.1 not owned by user", Subject::Permission),
            (Phase::Mail, "550 no mail from root@vm", Subject::Permission),
            (Phase::Mail, "552 5.3.4 too large", Subject::Message),
            (Phase::Mail, "552 too large", Subject::Message),
            (Phase::Mail, "555 parameters not recognized", Subject::Message),
            (Phase::Dot, "554 Message rejected: Email address is not verified.", Subject::Permission),
            (Phase::Dot, "550 5.4.5 Daily user sending limit exceeded", Subject::Permission),
            (Phase::Dot, "550-5.7.26 Unauthenticated email from x is not accepted", Subject::Permission),
            (Phase::Dot, "554 5.6.0 malformed", Subject::Message),
            (Phase::Dot, "500 line too long", Subject::Message),
            (Phase::Content, "554 no", Subject::Message),
            (Phase::Mail, "432 4.3.2 concurrent connections limit exceeded", Subject::Pace),
            (Phase::Mail, "452 4.3.1 too much", Subject::Pace),
            (Phase::Data, "451 4.7.1 try later", Subject::Pace),
            (Phase::Dot, "454 throttling failure: maximum sending rate exceeded", Subject::Pace),
            (Phase::Dot, "450 4.2.1 busy", Subject::Message),
            (Phase::Rcpt, "451 4.7.1 greylisted", Subject::Recipient),
        ];
        for (phase, said, expected) in table {
            let said = said.replacen("550-", "550 ", 1);
            let (reply, _) = Reply::parse(format!("{said}\r\n").as_bytes()).unwrap().unwrap();
            assert_eq!(Subject::of(phase, &reply), expected, "{phase:?} {said}");
        }
    }
}
