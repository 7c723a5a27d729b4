//! The meaning of a reply, or of its absence, for the mail: one table.
//!
//! | phase | 2xx | 3xx | 4xx | 5xx | 421 | garbage, close, timeout |
//! |---|---|---|---|---|---|---|
//! | Resolve, Connect, Tls | relay | relay | relay | relay | relay | relay |
//! | Greeting, Ehlo, StartTls, Rset, Quit | go on | relay | relay | relay | relay | relay |
//! | Auth | go on | go on | relay | relay | relay | relay |
//! | Mail | go on | relay | defer all (1) | bounce all (2) (5) | relay | relay |
//! | Rcpt | go on | relay | defer it | bounce it (2) (3) (5) | relay | relay |
//! | Data | relay | go on | defer all | bounce all (2) | relay | relay |
//! | Content | relay | relay | defer all | defer all (4) | relay | relay |
//! | Dot | sent all | relay | defer all | bounce all | relay | relay |
//!
//! *relay*: `Untold`, scope [`Scope::Relay`]: relay trouble, which says nothing about a message (README
//! promise 4). *it*: this recipient; *all*: every recipient of the transaction still open.
//!
//! Before the table, the rules for replies (`reply_rules.rs`) say what a 4xx or 5xx means by its words. A meaning changes
//! an entry of the table so:
//!
//! | meaning | at a recipient or message | at relay trouble |
//! |---|---|---|
//! | throttle, quota, configuration | [`Verdict::Waits`]: the message is not charged, whatever the code | trouble, with this reason |
//! | permanent, deferral | bounce, defer (7) | the same for 530, 534, 535, 538 and 454 at Mail, Rcpt, Data, Dot |
//! | as said, or no rule | as the table says | as the table says |
//!
//! 1. 454 4.7.0, temporary authentication failure (RFC 4954 6), is relay trouble, unless its words are about the pace.
//! 2. 530, 534, 535 and 538 (RFC 4954 6) and 503 are relay trouble: the message is not at fault for lost or missing
//!    authentication, or for a sequence that the relay does not follow. That holds at the final dot, too, but for 534,
//!    535 and 538 only with a status of security: Courier answers 534 to a header that is too large.
//! 3. 552 means too many recipients (RFC 5321 4.5.3.1.10), and so does X.5.3 (RFC 3463 3.6) with any code:
//!    the recipient is deferred, as with 452. These words mean the same where there is no status. After recipients that
//!    were taken, it says that this transaction is full ([`is_too_many`]).
//! 4. A refusal before the final dot is an early answer to the content, or a late one to the envelope. The relay has not
//!    seen all of it, so it is taken for no more than a deferral. A 5xx behind some content is [`Verdict::Unproven`] at a
//!    further try, where it cannot be of the envelope (`rule_open_early` of `open_transaction.rs`).
//! 5. 455, 500, 501, 504 and 555 without a status or with X.5.\*, and X.5.4 with any code, may be about parameters, where
//!    that command had some that the message can do without ([`refused_parameters`]): some relays offer an extension and
//!    do not take its parameters, or not these. The recipients are tried once more without them
//!    ([`Verdict::WithoutParameters`]).
//!
//! 6. Where more was sent than the relay had answered, a refusal that speaks of pipelining is relay trouble
//!    ([`is_about_pipelining`]): no message is at fault.
//! 7. At Content nothing is permanent (4). 421 and 503 are about the connection, whatever their words.
//!
//! A 5xx bounces only where the relay has then shown that it was in step (`dialog/step.rs`); else it is
//! [`Verdict::Unproven`], or a deferral where more was written than the relay had answered.
//!
//! Not here: HELO where a relay on loopback refuses EHLO (`opening.rs`), the results (`open_transaction.rs`), when the
//! next attempt is (`queue/schedule.rs`).

use super::reply_meaning::{ReplyMeaning, WaitReason};
use super::trouble::Phase;
use crate::smtp::client::{ExtensionParameter, ParameterSet};
use crate::smtp::reply::{Reply, Severity};
use crate::status::Status;

/// The result of an attempt for a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The relay has taken responsibility.
    Sent,
    /// Refused for now, by a reply about this message.
    Deferred,
    /// Refused for good, by a reply about this message.
    Bounced,
    /// Refused for good, and then the connection was lost before anything showed that the reply was not one too many,
    /// about something else.
    Unproven,
    /// Refused for a reason that is about more than this message: it waits, and is not charged.
    Waits(WaitReason),
    /// Relay trouble or connection lost: says nothing about this message.
    Untold,
    /// The transaction is full: this recipient goes in a further one, at once.
    TooMany,
    /// The transaction has recipients in too many domains: this one goes in a further one, at once.
    TooManyDomains,
    /// These parameters of the command may be to blame: this recipient goes in a further transaction without them, at once.
    WithoutParameters(ParameterSet),
}

/// The recipients that a verdict applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The recipient of this RCPT.
    Recipient,
    /// Every recipient of the transaction that is still open.
    Message,
    /// No recipient: the verdict is about no message at all.
    Relay,
}

/// An entry of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// The dialogue goes on.
    GoOn,
    /// The reply has this verdict, for these recipients.
    Ruled(Verdict, Scope),
}

const RELAY: Judgement = Judgement::Ruled(Verdict::Untold, Scope::Relay);

/// Looks `answer` up in the table. No reply means garbage, a closed connection, or a timeout.
pub(crate) fn judge(phase: Phase, answer: Option<&Reply>) -> Judgement {
    use Judgement::{GoOn, Ruled};
    use Scope::{Message, Recipient};
    use Severity::{Intermediate, Permanent, Positive, Transient};
    use Verdict::{Bounced, Deferred, Sent};
    let Some(reply) = answer else { return RELAY };
    if is_about_the_relay(phase, reply) {
        return RELAY;
    }
    match (phase, reply.severity()) {
        (Phase::Greeting | Phase::Ehlo | Phase::StartTls | Phase::Rset | Phase::Quit, Positive) => GoOn,
        (Phase::Auth, Positive | Intermediate) => GoOn,
        (Phase::Mail | Phase::Rcpt, Positive) | (Phase::Data, Intermediate) => GoOn,
        (Phase::Mail | Phase::Data | Phase::Dot, Transient) => Ruled(Deferred, Message),
        (Phase::Mail | Phase::Data | Phase::Dot, Permanent) => Ruled(Bounced, Message),
        (Phase::Rcpt, Transient) => Ruled(Deferred, Recipient),
        (Phase::Rcpt, Permanent) if reply.code() == 552 || is_too_many(reply) => Ruled(Deferred, Recipient),
        (Phase::Rcpt, Permanent) => Ruled(Bounced, Recipient),
        (Phase::Content, Transient | Permanent) => Ruled(Deferred, Message),
        (Phase::Dot, Positive) => Ruled(Sent, Message),
        _ => RELAY,
    }
}

/// Looks `reply` up in the table, where it has this meaning by a rule.
pub(crate) fn judge_by(meaning: Option<ReplyMeaning>, phase: Phase, reply: &Reply) -> Judgement {
    let judged = judge(phase, Some(reply));
    let Judgement::Ruled(verdict, scope) = judged else { return judged };
    let is_of_transaction = matches!(phase, Phase::Mail | Phase::Rcpt | Phase::Data | Phase::Dot);
    let may_be_of_message = is_of_transaction && !matches!(reply.code(), 421 | 503);
    let about = if phase == Phase::Rcpt { Scope::Recipient } else { Scope::Message };
    match meaning {
        Some(ReplyMeaning::Waits(reason)) if scope != Scope::Relay && verdict != Verdict::Sent => {
            Judgement::Ruled(Verdict::Waits(reason), scope)
        }
        Some(ReplyMeaning::Permanent(_)) if may_be_of_message => Judgement::Ruled(Verdict::Bounced, about),
        Some(ReplyMeaning::Deferral(_)) if may_be_of_message => Judgement::Ruled(Verdict::Deferred, about),
        _ => judged,
    }
}

/// Returns whether a reply to RCPT may say that the transaction has too many recipients: by status X.5.3; without a
/// status, by 452 or 552 (RFC 5321 4.5.3.1.10), or in words: Courier says `431 Too many recipients.`
pub(crate) fn is_too_many(reply: &Reply) -> bool {
    let is_refusal = matches!(reply.severity(), Severity::Transient | Severity::Permanent);
    match reply.status() {
        Some(status) => is_refusal && (status.subject(), status.detail()) == (5, 3),
        None => matches!(reply.code(), 452 | 552) || is_refusal && says_too_many(reply),
    }
}

/// Returns whether a refusal says that the recipients of a transaction must have one domain: Google's relay says `451 4.3.0
/// Multiple destination domains per transaction is unsupported.`
pub(crate) fn is_one_domain_only(reply: &Reply) -> bool {
    let says = |line: &String| line.to_ascii_lowercase().contains("multiple destination domains");
    reply.severity() == Severity::Transient && reply.lines().iter().any(says)
}

fn says_too_many(reply: &Reply) -> bool {
    reply.lines().iter().any(|line| line.to_ascii_lowercase().contains("too many recipients"))
}

/// Returns whether `reply` says in words that it wants less, or less at once.
fn speaks_of_pace(reply: &Reply) -> bool {
    const WORDS: [&str; 6] = ["throttl", "rate", "too many", "too fast", "slow down", "concurrent"];
    let says = |line: &String| {
        let line = without_addresses(line).to_ascii_lowercase();
        WORDS.iter().any(|word| line.contains(word)) && !line.contains("auth")
    };
    reply.lines().iter().any(says)
}

/// Returns the parameters that a refusal of MAIL or RCPT may be about, out of those that the command had and that can be
/// left out: those that it names, else all. There are none if it is about something else.
pub(crate) fn refused_parameters(reply: &Reply, optional: ParameterSet) -> ParameterSet {
    if !is_about_parameters(reply) {
        return ParameterSet::default();
    }
    let text = without_addresses(&reply.lines().join(" ")).to_ascii_uppercase();
    let words: Vec<&str> = text.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let is_named = |parameter: &ExtensionParameter| parameter.names().iter().any(|name| words.contains(name));
    let named = optional.and(ParameterSet::of(ExtensionParameter::ALL.into_iter().filter(is_named)));
    if named.is_empty() { optional } else { named }
}

/// Returns whether a refusal of MAIL or RCPT may be about its parameters (RFC 5321 4.2.2 and 4.1.1.11, RFC 3463 3.6).
fn is_about_parameters(reply: &Reply) -> bool {
    let is_refusal = matches!(reply.severity(), Severity::Transient | Severity::Permanent);
    let subject = reply.status().map(|status| (status.subject(), status.detail()));
    let is_syntax = subject.is_none_or(|(subject, _)| subject == 5);
    let by_code = matches!(reply.code(), 455 | 500 | 501 | 504 | 555) && is_syntax;
    is_refusal && (by_code || subject == Some((5, 4))) && !is_too_many(reply)
}

/// Returns whether a refusal says that commands came before earlier ones were answered: Postfix says `503 5.5.0 …
/// Improper use of SMTP command pipelining`, Exim `554 SMTP synchronization error`.
pub(crate) fn is_about_pipelining(reply: &Reply) -> bool {
    const WORDS: [&str; 3] = ["pipelining", "synchronization error", "synchronisation error"];
    let is_refusal = matches!(reply.severity(), Severity::Transient | Severity::Permanent);
    let text = without_addresses(&reply.lines().join(" ")).to_ascii_lowercase();
    is_refusal && WORDS.iter().any(|words| text.contains(words))
}

/// Returns `text` without what stands within `<` and `>`: relays repeat addresses there, and an address is no word of theirs.
fn without_addresses(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, (_, behind))) =
        rest.split_once('<').and_then(|(before, opened)| Some((before, opened.split_once('>')?)))
    {
        out.push_str(before);
        out.push_str("<>");
        rest = behind;
    }
    out + rest
}

/// Returns whether a reply is about the relay as a whole: 421 anywhere, and notes 1 and 2 of the table.
fn is_about_the_relay(phase: Phase, reply: &Reply) -> bool {
    match reply.code() {
        421 => true,
        503 | 530 => matches!(phase, Phase::Mail | Phase::Rcpt | Phase::Data | Phase::Dot),
        534 | 535 | 538 => match phase {
            Phase::Mail | Phase::Rcpt | Phase::Data => true,
            Phase::Dot => reply.status().is_some_and(|status| status.subject() == 7),
            _ => false,
        },
        454 => {
            phase == Phase::Mail && reply.status() == Some(Status::transient(7, 0)) && !speaks_of_pace(reply)
        }
        _ => false,
    }
}

/// Returns the enhanced status for `verdict` by `reply`: that of the reply if it fits, else a general one.
pub(crate) fn status_of(verdict: Verdict, reply: &Reply) -> Status {
    use Severity::{Permanent, Positive, Transient};
    match (verdict, reply.severity()) {
        (Verdict::Waits(_), _) => reply.status().unwrap_or(Status::transient(0, 0)),
        (Verdict::Bounced, Transient) => Status::permanent(0, 0),
        (Verdict::Sent, Positive) => reply.status().unwrap_or(Status::success(0, 0)),
        (Verdict::Deferred, Transient) => reply.status().unwrap_or(Status::transient(0, 0)),
        (Verdict::Bounced, Permanent) => reply.status().unwrap_or(Status::permanent(0, 0)),
        // A 5xx read as a deferral: 552 at RCPT (4.5.3, too many recipients) or refused content.
        (Verdict::Deferred | Verdict::TooMany, _) if reply.code() == 552 || is_too_many(reply) => {
            Status::transient(5, 3)
        }
        (Verdict::Deferred, _) => Status::transient(0, 0),
        _ => Status::transient(3, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GO: Judgement = Judgement::GoOn;
    const SENT: Judgement = Judgement::Ruled(Verdict::Sent, Scope::Message);
    const DEFER: Judgement = Judgement::Ruled(Verdict::Deferred, Scope::Message);
    const BOUNCE: Judgement = Judgement::Ruled(Verdict::Bounced, Scope::Message);
    const DEFER_IT: Judgement = Judgement::Ruled(Verdict::Deferred, Scope::Recipient);
    const BOUNCE_IT: Judgement = Judgement::Ruled(Verdict::Bounced, Scope::Recipient);

    /// The table of the module header, with columns 250, 354, 451, 550, 421, failure.
    #[test]
    fn every_phase_and_answer() {
        let table = [
            (Phase::Resolve, [RELAY, RELAY, RELAY, RELAY]),
            (Phase::Connect, [RELAY, RELAY, RELAY, RELAY]),
            (Phase::Tls, [RELAY, RELAY, RELAY, RELAY]),
            (Phase::Greeting, [GO, RELAY, RELAY, RELAY]),
            (Phase::Ehlo, [GO, RELAY, RELAY, RELAY]),
            (Phase::StartTls, [GO, RELAY, RELAY, RELAY]),
            (Phase::Auth, [GO, GO, RELAY, RELAY]),
            (Phase::Mail, [GO, RELAY, DEFER, BOUNCE]),
            (Phase::Rcpt, [GO, RELAY, DEFER_IT, BOUNCE_IT]),
            (Phase::Data, [RELAY, GO, DEFER, BOUNCE]),
            (Phase::Content, [RELAY, RELAY, DEFER, DEFER]),
            (Phase::Dot, [SENT, RELAY, DEFER, BOUNCE]),
            (Phase::Rset, [GO, RELAY, RELAY, RELAY]),
            (Phase::Quit, [GO, RELAY, RELAY, RELAY]),
        ];
        for (phase, row) in table {
            for (code, expected) in [250, 354, 451, 550].into_iter().zip(row) {
                let reply = Reply::bare(code, "words");
                assert_eq!(judge(phase, Some(&reply)), expected, "{phase:?} {code}");
            }
            assert_eq!(judge(phase, Some(&Reply::bare(421, "bye"))), RELAY, "{phase:?} 421");
            assert_eq!(judge(phase, None), RELAY, "{phase:?} failure");
        }
    }

    #[test]
    fn replies_with_a_meaning_of_their_own() {
        let cases = [
            (Phase::Mail, "530 5.7.0", RELAY),
            (Phase::Mail, "534 5.7.9", RELAY),
            (Phase::Mail, "535 5.7.8", RELAY),
            (Phase::Mail, "538 5.7.11", RELAY),
            (Phase::Mail, "503 5.5.1", RELAY),
            (Phase::Mail, "454 4.7.0", RELAY),
            (Phase::Mail, "454 4.7.0 Temporary authentication failure, too many", RELAY),
            // Each connection of a burst was taken for relay trouble, and its message charged with that.
            (Phase::Mail, "454 4.7.0 Throttling failure: maximum sending rate exceeded", DEFER),
            (Phase::Mail, "454 4.7.0 too many connections", DEFER),
            (Phase::Mail, "454 4.7.1", DEFER),
            (Phase::Mail, "452 4.3.1", DEFER),
            (Phase::Mail, "552 5.3.4", BOUNCE),
            (Phase::Mail, "550 5.7.1", BOUNCE),
            (Phase::Rcpt, "530 5.7.0", RELAY),
            (Phase::Rcpt, "454 4.7.1", DEFER_IT),
            (Phase::Rcpt, "452 4.5.3", DEFER_IT),
            (Phase::Rcpt, "552 5.5.3", DEFER_IT),
            (Phase::Rcpt, "550 5.5.3", DEFER_IT),
            (Phase::Rcpt, "531 Too many recipients.", DEFER_IT),
            (Phase::Rcpt, "550 5.7.1 Too many recipients.", BOUNCE_IT),
            (Phase::Rcpt, "251 2.1.5", GO),
            (Phase::Rcpt, "252 2.1.5", GO),
            (Phase::Data, "503 5.5.1", RELAY),
            (Phase::Data, "554 5.5.1", BOUNCE),
            (Phase::Dot, "530 5.7.0", RELAY),
            (Phase::Dot, "503 5.5.1", RELAY),
            (Phase::Dot, "534 5.7.9", RELAY),
            (Phase::Dot, "535 5.7.8", RELAY),
            (Phase::Dot, "538 5.7.11", RELAY),
            (Phase::Dot, "534", BOUNCE),
            (Phase::Dot, "552 5.3.4", BOUNCE),
            (Phase::Content, "552 5.3.4", DEFER),
        ];
        for (phase, said, expected) in cases {
            let (reply, _) = Reply::parse(format!("{said} words\r\n").as_bytes()).unwrap().unwrap();
            assert_eq!(judge(phase, Some(&reply)), expected, "{phase:?} {said}");
        }
    }

    /// Courier says 431 and no status behind the tenth: the rest of 120 waited ever longer, ten at each try.
    #[test]
    fn a_full_transaction_is_known_by_status_or_code_or_words() {
        let cases = [
            ("431 Too many recipients.", true),
            ("450 too many recipients", true),
            ("531 Too many recipients.", true),
            ("451 4.5.3 Too many recipients", true),
            ("452 later", true),
            ("450 4.7.1 Too many recipients", false),
            ("450 greylisted", false),
            ("250 not too many recipients", false),
        ];
        for (said, expected) in cases {
            let (reply, _) = Reply::parse(format!("{said}\r\n").as_bytes()).unwrap().unwrap();
            assert_eq!(is_too_many(&reply), expected, "{said}");
        }
    }

    #[test]
    fn parameters_are_refused_by_code_unless_the_status_has_another_subject() {
        let cases = [
            ("501 Syntax error in parameters", true),
            ("504 Command parameter not implemented", true),
            ("555 MAIL FROM/RCPT TO parameters not recognized", true),
            ("501 5.5.4 Invalid arguments", true),
            ("504 5.5.4 no", true),
            ("555 5.5.2 Syntax error", true),
            ("501 5.1.3 Bad recipient address syntax", false),
            ("501 5.1.7 Bad sender address syntax", false),
            ("555 5.7.1 no", false),
            ("501 5.5.3 too many recipients", false),
            ("552 4.5.3 too many recipients", false),
            ("502 not implemented", false),
            ("552 5.3.4 too large", false),
            ("450 4.2.1 no", false),
            ("550 5.1.1 no such user", false),
            ("250 ok", false),
            ("250 2.5.4 ok", false),
            // These bounced or held mail that the relay takes without the parameters.
            ("500 5.5.2 unrecognized", true),
            ("500 Syntax error", true),
            ("455 4.5.4 SIZE not supported", true),
            ("553 5.5.4 SIZE not supported", true),
            ("550 5.5.4 no", true),
            ("451 4.5.4 no", true),
        ];
        for (said, expected) in cases {
            let (reply, _) = Reply::parse(format!("{said}\r\n").as_bytes()).unwrap().unwrap();
            assert_eq!(is_about_parameters(&reply), expected, "{said}");
        }
    }

    #[test]
    fn a_refusal_may_name_the_parameters() {
        use ExtensionParameter::{Body, Dsn, Size, SmtpUtf8};
        let all = [Size, Body, SmtpUtf8, Dsn];
        let cases: [(&str, &[ExtensionParameter], &[ExtensionParameter]); 12] = [
            ("555 5.5.4 Unsupported option: SIZE=70", &all, &[Size]),
            ("501 5.5.4 size not supported", &all, &[Size]),
            ("555 5.5.4 BODY=8BITMIME", &all, &[Body]),
            ("504 5.5.4 NOTIFY and SIZE", &all, &[Size, Dsn]),
            ("555 5.5.4 SMTPUTF8", &all, &[SmtpUtf8]),
            ("555 5.5.4 SMTPUTF8", &[Size, Dsn], &[Size, Dsn]),
            ("501 Syntax error", &all, &all),
            ("501 Syntax error", &[], &[]),
            ("550 5.7.1 SIZE", &all, &[]),
            // An address was taken for a parameter, and the true one was sent again.
            ("555 5.5.4 <size@lists.example>: unsupported option", &all, &all),
            ("555 5.5.4 <size@lists.example> <ret@a.example>: no BODY", &all, &[Body]),
            ("555 5.5.4 SIZE of <body", &all, &[Size, Body]),
        ];
        for (said, optional, expected) in cases {
            let (reply, _) = Reply::parse(format!("{said}\r\n").as_bytes()).unwrap().unwrap();
            let found = refused_parameters(&reply, ParameterSet::of(optional.iter().copied()));
            assert_eq!(found, ParameterSet::of(expected.iter().copied()), "{said}");
        }
    }

    #[test]
    fn an_address_says_nothing_of_pace() {
        for (said, expected) in [
            ("454 4.7.0 <rate@lists.example>: try later", false),
            ("454 4.7.0 <a@b.example>: slow down", true),
        ] {
            let (reply, _) = Reply::parse(format!("{said}\r\n").as_bytes()).unwrap().unwrap();
            assert_eq!(speaks_of_pace(&reply), expected, "{said}");
        }
    }

    #[test]
    fn a_refusal_may_speak_of_pipelining() {
        for (said, expected) in [
            ("554 5.5.0 Error: SMTP command pipelining not allowed", true),
            ("550 5.7.1 Unauthorized command pipelining", true),
            ("421 4.7.0 pipelining", true),
            ("503 5.5.0 <DATA>: Data command rejected: Improper use of SMTP command pipelining", true),
            ("554 SMTP synchronization error", true),
            ("250 PIPELINING", false),
            ("550 5.7.1 no", false),
            // A mailbox of this name put the relay to one command at a time.
            ("550 5.1.1 <pipelining@lists.example>: user unknown", false),
            ("554 5.5.0 <ann@example.org>: improper pipelining", true),
        ] {
            let (reply, _) = Reply::parse(format!("{said}\r\n").as_bytes()).unwrap().unwrap();
            assert_eq!(is_about_pipelining(&reply), expected, "{said}");
        }
    }

    #[test]
    fn the_status_fits_the_verdict() {
        let cases = [
            (Verdict::Sent, "250 2.6.0 queued", "2.6.0"),
            (Verdict::Sent, "250 ok", "2.0.0"),
            (Verdict::Sent, "254 4.7.1 Suppression list", "2.0.0"),
            (Verdict::Deferred, "451 4.7.1 greylisted", "4.7.1"),
            (Verdict::Deferred, "451 later", "4.0.0"),
            (Verdict::Deferred, "552 5.5.3 too many", "4.5.3"),
            (Verdict::Deferred, "554 5.7.1 no", "4.0.0"),
            (Verdict::Bounced, "550 5.1.1 nobody", "5.1.1"),
            (Verdict::Bounced, "550 nobody", "5.0.0"),
            (Verdict::Untold, "535 5.7.8 who", "4.3.0"),
        ];
        for (verdict, said, expected) in cases {
            let (reply, _) = Reply::parse(format!("{said}\r\n").as_bytes()).unwrap().unwrap();
            assert_eq!(status_of(verdict, &reply).to_string(), expected, "{said}");
        }
    }
}
