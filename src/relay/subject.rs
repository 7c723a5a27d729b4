//! The subject of a refusal: one table, for code that compares several messages.
//!
//! 4xx:
//!
//! | refusal | about |
//! |---|---|
//! | 432, 451, 452 or 454 at MAIL, DATA or the final dot | pace (1) |
//! | any other | the recipient at RCPT, else the message |
//!
//! 5xx, by the first row that fits:
//!
//! | refusal at RCPT | about |
//! |---|---|
//! | words that ask for a login, or refuse to relay; x.7.8, x.7.9, x.7.11, x.7.57 | login (2) |
//! | words about the sender or our name | permission |
//! | words about the mailbox, as "no such user" | the recipient |
//! | x.1.1, x.1.3, x.1.4, x.1.6, x.1.10 | the recipient |
//! | x.1.2, x.2.0 to x.2.99 without words about an account or a policy (3) | the recipient |
//! | x.3.4 (size), x.6.\* (content) | the message |
//! | 554, x.7.\*, x.1.7, x.1.8, x.4.5 (sending limit), x.2.100 and over (4), words about an account or a policy | permission |
//! | anything else | unclear |
//!
//! | refusal at MAIL | about |
//! |---|---|
//! | words that ask for a login; x.7.8, x.7.9, x.7.11, x.7.57 | login (2) |
//! | x.3.4, x.6.\*; words about the size, 552 or 555, without another status or words about an account | the message |
//! | 500, 501, 504 or 553 with x.5.4, without words about a sender or an account | unclear |
//! | 500, 501 or 504 without another status or words about a sender or an account | unclear |
//! | anything else | permission: no recipient was named yet |
//!
//! | refusal at DATA or the final dot | about |
//! |---|---|
//! | words that ask for a login; x.7.8, x.7.9, x.7.11, x.7.57 | login (2) |
//! | x.7.\*, x.1.7, x.1.8, x.4.5, x.2.100 and over (4); 554 with x.2.\* (5) | permission |
//! | x.1.\*, x.2.\* without words about an account or a policy (3) | the recipient |
//! | x.1.\*, x.2.\* with them | permission |
//! | x.3.4, x.6.\*; words about the size; 500, 501, 504, 552 or 555, without words about an account | the message |
//! | anything else | permission (6) |
//!
//! 1. One reply proves nothing: it is the message's own, unless many messages get it in one moment
//!    (`queue/throttle.rs`).
//! 2. Postfix says `554 5.7.1 … Relay access denied`, Exim `550 relay not permitted`, and no status of RFC 3463
//!    distinguishes that from other matters of policy.
//! 3. With x.2.\*, only words count that are never about a mailbox: Gmail's x.2.2 names the recipient's account and
//!    quota.
//! 4. Microsoft 365 throttles with 5.2.251 to 5.2.255 and says SendAsDenied with 5.2.252.
//! 5. Microsoft 365 says `554 5.2.2 mailbox full` of our own Sent Items, and 554 5.2.0 of our quota.
//! 6. Amazon SES refuses an unverified sender at the final dot with a bare 554.
//!
//! Not here: what a reply means for its own message (`verdict.rs`), what is done about many (`queue/refusals.rs`).

mod words;

use words::Words;

use super::trouble::Phase;
use crate::smtp::reply::{Reply, Severity};

/// The subject of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The recipient of this RCPT.
    Recipient,
    /// The message: its size, its content, its parameters.
    Message,
    /// The sender, the account or the policy of the relay: the configuration, and not the message.
    Permission,
    /// The login: we have not authenticated.
    Login,
    /// The amount of mail, or its rate.
    Pace,
    /// Unknown: the recipient, or the configuration.
    Unclear,
}

impl Subject {
    /// Returns the subject of the refusal `reply` at `phase`.
    pub(crate) fn of(phase: Phase, reply: &Reply) -> Subject {
        if reply.severity() != Severity::Permanent {
            return of_transient(phase, reply.code());
        }
        let words = Words::of(reply.lines());
        let status = reply.status().map_or((0, 0), |status| (status.subject(), status.detail()));
        if asks_for_login(status) || words.ask_for_login() {
            return Subject::Login;
        }
        match phase {
            Phase::Rcpt => at_rcpt(reply.code(), status, &words),
            Phase::Mail => at_mail(reply.code(), status, &words),
            Phase::Data | Phase::Dot => of_content(reply.code(), status, &words),
            _ => Subject::Message,
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

/// Returns the subject of a permanent refusal at RCPT; `status` has no class.
fn at_rcpt(code: u16, status: (u16, u16), words: &Words) -> Subject {
    if words.blame_sender() {
        return Subject::Permission;
    }
    if words.blame_recipient() {
        return Subject::Recipient;
    }
    match status {
        (1, 1 | 3 | 4 | 6 | 10) => Subject::Recipient,
        (1, 2) if !words.blame_account() => Subject::Recipient,
        (2, 0..=99) if !words.surely_blame_account() => Subject::Recipient,
        (3, 4) | (6, _) => Subject::Message,
        _ if code == 554 || is_permission(status) || words.blame_account() => Subject::Permission,
        _ => Subject::Unclear,
    }
}

/// Returns the subject of a permanent refusal at MAIL; `status` has no class.
fn at_mail(code: u16, status: (u16, u16), words: &Words) -> Subject {
    let tells_more = is_permission(status) || matches!(status.0, 1 | 2);
    match (code, status) {
        (_, (3, 4) | (6, _)) => Subject::Message,
        _ if tells_more => Subject::Permission,
        // "SIZE not supported" is about the parameter.
        (500 | 501 | 504 | 553, (5, 4)) if !words.blame_sender() && !words.blame_account() => {
            Subject::Unclear
        }
        _ if is_size(code, words) => Subject::Message,
        (555, _) => Subject::Message,
        (500 | 501 | 504, _) if !words.blame_sender() && !words.blame_account() => Subject::Unclear,
        _ => Subject::Permission,
    }
}

/// Returns the subject of a permanent refusal at DATA or the final dot; `status` has no class.
fn of_content(code: u16, status: (u16, u16), words: &Words) -> Subject {
    match (code, status) {
        (554, (2, _)) => Subject::Permission,
        _ if is_permission(status) => Subject::Permission,
        (_, (1 | 2, _)) if words.surely_blame_account() => Subject::Permission,
        (_, (1 | 2, _)) => Subject::Recipient,
        (_, (3, 4) | (6, _)) => Subject::Message,
        _ if is_size(code, words) => Subject::Message,
        (500 | 501 | 504 | 555, _) => Subject::Message,
        _ => Subject::Permission,
    }
}

/// Returns whether the reply asks for a login, by its status (RFC 4954 6; Microsoft 365 has x.7.57 for "client not
/// authenticated").
fn asks_for_login(status: (u16, u16)) -> bool {
    matches!(status, (7, 8 | 9 | 11 | 57))
}

/// Returns whether the status is about the sender, the account or a policy.
fn is_permission(status: (u16, u16)) -> bool {
    matches!(status, (7, _) | (1, 7 | 8) | (4, 5) | (2, 100..))
}

/// Returns whether code or words are about the size.
fn is_size(code: u16, words: &Words) -> bool {
    words.blame_size() || (code == 552 && !words.blame_account() && !words.blame_sender())
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
            (Phase::Rcpt, "550 5.7.1 <nobody@example.net>: User unknown", Subject::Recipient),
            (Phase::Rcpt, "550 Requested action not taken: mailbox not found", Subject::Recipient),
            (Phase::Rcpt, "551 User not local", Subject::Recipient),
            (Phase::Rcpt, "553 mailbox name invalid", Subject::Recipient),
            (Phase::Rcpt, "554 5.1.1 user doesn't exist", Subject::Recipient),
            (
                Phase::Rcpt,
                "550-5.1.1 The email account that you tried to reach does not exist.",
                Subject::Recipient,
            ),
            (
                Phase::Rcpt,
                "550 5.2.1 The email account that you tried to reach is disabled",
                Subject::Recipient,
            ),
            (Phase::Rcpt, "552 5.2.2 The recipient's account is over quota", Subject::Recipient),
            (Phase::Rcpt, "552 5.2.2 your account has exceeded its sending quota", Subject::Permission),
            (Phase::Rcpt, "550 5.2.0 outgoing mail of this user is suspended", Subject::Permission),
            (Phase::Rcpt, "550 5.1.2 this account may not send there", Subject::Permission),
            (Phase::Rcpt, "550 5.1.2 recipient domain refused by policy", Subject::Permission),
            (Phase::Rcpt, "550 5.2.252 SendAsDenied", Subject::Permission),
            (Phase::Rcpt, "550 5.4.5 Daily SMTP relay limit exceeded for user", Subject::Permission),
            (Phase::Rcpt, "550 User has exceeded outgoing email quota", Subject::Permission),
            (Phase::Rcpt, "550 quota exceeded", Subject::Permission),
            (Phase::Rcpt, "550 account suspended", Subject::Permission),
            (Phase::Rcpt, "550 5.0.0 refused by policy", Subject::Permission),
            (Phase::Rcpt, "550 5.5.0 <ann@example.net>: this account is blocked", Subject::Permission),
            (Phase::Rcpt, "553 sorry, your envelope sender is in my badmailfrom list", Subject::Permission),
            (Phase::Rcpt, "553 sender address not owned by user app@example.org", Subject::Permission),
            (Phase::Rcpt, "550 bad HELO name", Subject::Permission),
            (Phase::Rcpt, "550 5.1.8 <a@vm>: Sender address rejected: Domain not found", Subject::Permission),
            (Phase::Rcpt, "553 sorry, that domain isn't in my list of allowed rcpthosts", Subject::Login),
            (Phase::Rcpt, "553 Relaying disallowed as app@example.org", Subject::Login),
            (Phase::Mail, "550 5.7.57 client refused", Subject::Login),
            (Phase::Dot, "550 5.7.8 no", Subject::Login),
            (Phase::Mail, "550 SMTP authentication needed", Subject::Login),
            (Phase::Rcpt, "550 Must login before sending", Subject::Login),
            (Phase::Rcpt, "554 Relaying is prohibited", Subject::Login),
            (Phase::Rcpt, "550 Invalid recipient", Subject::Unclear),
            (Phase::Rcpt, "550 mailbox unavailable", Subject::Unclear),
            (Phase::Rcpt, "550 5.1.0 address rejected", Subject::Unclear),
            (Phase::Rcpt, "550 5.0.0 no", Subject::Unclear),
            (Phase::Rcpt, "501 no", Subject::Unclear),
            (Phase::Rcpt, "552 5.3.4 message size exceeds fixed limit", Subject::Message),
            (Phase::Rcpt, "550 5.6.7 no SMTPUTF8 there", Subject::Message),
            (Phase::Rcpt, "550 Sender verify failed", Subject::Permission),
            (Phase::Rcpt, "554 Client host rejected", Subject::Permission),
            (Phase::Rcpt, "554 5.7.1 <ann@example.net>: Relay access denied", Subject::Login),
            (Phase::Rcpt, "550 relay not permitted", Subject::Login),
            (Phase::Mail, "550 5.7.1 Client was not authenticated", Subject::Login),
            (Phase::Mail, "550 5.1.8 sender rejected", Subject::Permission),
            (Phase::Mail, "553 5.7.1 not owned by user", Subject::Permission),
            (Phase::Mail, "550 no mail from root@vm", Subject::Permission),
            (Phase::Mail, "550 5.1.0 <root@vm>: address rejected", Subject::Permission),
            (Phase::Mail, "550 5.1.1 user unknown", Subject::Permission),
            (Phase::Mail, "552 5.2.2 account over quota", Subject::Permission),
            (Phase::Mail, "552 your account is over its limit", Subject::Permission),
            (Phase::Mail, "501 invalid sender address", Subject::Permission),
            (Phase::Mail, "501 5.1.7 bad address", Subject::Permission),
            (Phase::Mail, "501 Syntax error", Subject::Unclear),
            (Phase::Mail, "501 5.5.4 Invalid arguments", Subject::Unclear),
            (Phase::Mail, "501 5.5.4 SIZE not supported", Subject::Unclear),
            (Phase::Mail, "553 5.5.4 message size parameter not supported", Subject::Unclear),
            (Phase::Mail, "500 5.5.2 unrecognized", Subject::Unclear),
            (Phase::Mail, "552 message size exceeds the size limit", Subject::Message),
            (Phase::Mail, "550 5.6.7 no SMTPUTF8 there", Subject::Message),
            (Phase::Mail, "552 5.3.4 too large", Subject::Message),
            (Phase::Mail, "552 too large", Subject::Message),
            (Phase::Mail, "555 parameters not recognized", Subject::Message),
            (Phase::Dot, "554 Message rejected: Email address is not verified.", Subject::Permission),
            (Phase::Dot, "550 5.4.5 Daily user sending limit exceeded", Subject::Permission),
            (Phase::Dot, "550-5.7.26 Unauthenticated email from x is not accepted", Subject::Permission),
            (
                Phase::Dot,
                "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceeded",
                Subject::Permission,
            ),
            (Phase::Dot, "554 5.2.2 mailbox full", Subject::Permission),
            (Phase::Dot, "554 5.2.252 SendAsDenied", Subject::Permission),
            (Phase::Dot, "552 5.2.2 your account is over its sending limit", Subject::Permission),
            (Phase::Dot, "550 5.1.1 no such user", Subject::Recipient),
            (Phase::Data, "550 5.1.2 refused by policy", Subject::Permission),
            (Phase::Dot, "550 User has exceeded outgoing email quota", Subject::Permission),
            (Phase::Dot, "552 Message is too long", Subject::Message),
            (Phase::Dot, "552 exceeds size limit", Subject::Message),
            (Phase::Dot, "552 daily quota exceeded", Subject::Permission),
            (Phase::Dot, "550 message too large", Subject::Message),
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
