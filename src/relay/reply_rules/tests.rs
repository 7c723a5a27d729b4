use super::super::reply_meaning::WaitClass;
use super::*;
use crate::config::ReplyPhase::{Auth, Data, Dot, Ehlo, Mail, Rcpt};
use crate::status::Status;

/// The class of a reply: a letter for that of its rule, or for what its code says where none fits.
fn class(host: &str, phase: ReplyPhase, said: &str) -> &'static str {
    let explained = ReplyRules::new(&[], host).explain(phase, said, Timestamp::now()).expect(said);
    match explained.becomes {
        ReplyConsequence::Waits(WaitReason { class, .. }) => match class {
            WaitClass::Throttle(_) => "T",
            WaitClass::Quota => "Q",
            WaitClass::Configuration(RuleScope::Route) => "C",
            WaitClass::Configuration(RuleScope::Sender) => "C of the sender",
        },
        ReplyConsequence::Deferred => "D",
        ReplyConsequence::Bounced => "P",
        ReplyConsequence::RelayTrouble => "R",
        ReplyConsequence::Sent | ReplyConsequence::GoesOn => "ok",
    }
}

/// The rows that were found to differ from those that were expected.
fn differing<'r, R: PartialEq>(found: &'r [R], expected: &'r [R]) -> Vec<&'r R> {
    found.iter().zip(expected).filter(|(found, expected)| found != expected).map(|(found, _)| found).collect()
}

const SES: &str = "email-smtp.eu-west-1.amazonaws.com";
const M365: &str = "smtp.office365.com";
const GMAIL: &str = "smtp-relay.gmail.com";
const SENDGRID: &str = "smtp.sendgrid.net";
const ANY: &str = "mail.hoster.example";

#[test]
fn replies_of_providers() {
    let table = [
        (SES, Dot, "454 Throttling failure: Maximum sending rate exceeded.", "T"),
        (SES, Dot, "454 4.7.0 Throttling failure: Maximum sending rate exceeded.", "T"),
        (SES, Dot, "454 Throttling failure: Daily message quota exceeded.", "Q"),
        (SES, Ehlo, "421 Too many concurrent SMTP connections", "R"),
        (SES, Mail, "421 Too many concurrent SMTP connections", "R"),
        (SES, Dot, "451 Temporary service failure", "D"),
        (SES, Dot, "454 Temporary service failure", "D"),
        (SES, Auth, "535 Authentication Credentials Invalid", "C"),
        (SES, Mail, "530 Authentication required", "C"),
        (
            SES,
            Dot,
            "554 Access denied: User `arn:aws:iam::1:user/app' is not authorized to perform `ses:SendRawEmail' on resource `x'",
            "C",
        ),
        (
            SES,
            Dot,
            "554 Message rejected: Email address is not verified. The following identities failed the check in region EU-WEST-1: app@example.org",
            "C of the sender",
        ),
        (
            SES,
            Dot,
            "554 Transaction failed: Sending suspended for this account. For more information, please check the inbox of the email address associated with your AWS account.",
            "C",
        ),
        (SES, Dot, "554 Message rejected: Sending paused for this account.", "C"),
        (SES, Dot, "554 Message rejected: Account is paused", "C"),
        (SES, Dot, "554 Message rejected: Identity paused", "C"),
        (SES, Mail, "501 Invalid MAIL FROM address provided", "P"),
        (SES, Dot, "552 Message is too long.", "P"),
        (
            M365,
            Auth,
            "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled",
            "C",
        ),
        (
            M365,
            Auth,
            "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox.",
            "C",
        ),
        (M365, Auth, "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.", "C"),
        (
            M365,
            Auth,
            "535 5.7.139 Authentication unsuccessful, user is locked by your organization's security defaults policy.",
            "C",
        ),
        (M365, Auth, "550 5.7.30 Basic authentication is not supported for Client Submission.", "C"),
        (M365, Auth, "535 5.7.3 Authentication unsuccessful", "C"),
        (M365, Mail, "530 5.7.57 Client not authenticated to send mail.", "C"),
        (
            M365,
            Data,
            "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending",
            "T",
        ),
        (M365, Dot, "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", "T"),
        (
            M365,
            Dot,
            "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message",
            "Q",
        ),
        (
            M365,
            Dot,
            "554 5.2.2 mailbox full; STOREDRV.Submission.Exception:QuotaExceededException",
            "C of the sender",
        ),
        (
            M365,
            Dot,
            "550 5.7.232 Your message can't be sent because your trial tenant has exceeded its daily limit",
            "Q",
        ),
        (
            M365,
            Dot,
            "550 5.7.233 Your message can't be sent because your tenant exceeded its daily limit",
            "Q",
        ),
        (M365, Dot, "550 5.7.705 Access denied, tenant has exceeded threshold", "Q"),
        (M365, Dot, "550 5.2.251 throttled", "Q"),
        (M365, Dot, "550 5.2.252 throttled", "Q"),
        (M365, Dot, "550 5.2.253 throttled", "Q"),
        (M365, Dot, "550 5.2.254 throttled", "Q"),
        (M365, Dot, "550 5.2.255 throttled", "Q"),
        (
            M365,
            Dot,
            "554 5.2.252 SendAsDenied; app@example.org not allowed to send as ann@example.org; STOREDRV.Submission.Exception:SendAsDeniedException",
            "C of the sender",
        ),
        (
            M365,
            Mail,
            "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
            "C of the sender",
        ),
        (M365, Dot, "550 5.1.8 Access denied, bad outbound sender AS(42004)", "C of the sender"),
        (M365, Dot, "550 5.7.501 Access denied, spam abuse detected", "C of the sender"),
        (
            M365,
            Dot,
            "550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP.",
            "C",
        ),
        (
            M365,
            Dot,
            "550 5.7.750 Service unavailable. Client blocked from sending from unregistered domains.",
            "C",
        ),
        (
            GMAIL,
            Mail,
            "550 5.7.1 Invalid credentials for relay [192.0.2.1]. The IP address you've registered in your G Suite SMTP Relay service doesn't match domain of the account",
            "C",
        ),
        (GMAIL, Rcpt, "550 5.7.1 Mail relay denied [192.0.2.1].", "C"),
        (GMAIL, Dot, "550 5.4.5 Daily user sending limit exceeded.", "Q"),
        (GMAIL, Rcpt, "550 5.4.5 Daily SMTP relay limit exceeded for user.", "Q"),
        (GMAIL, Dot, "550 5.7.1 Daily SMTP relay limit exceeded for customer.", "Q"),
        (GMAIL, Dot, "450 4.2.1 Peak SMTP relay limit exceeded for customer.", "T"),
        (GMAIL, Ehlo, "421 4.7.0 Try again later, closing connection.", "C"),
        (GMAIL, Auth, "454 4.7.0 Too many login attempts, please try again later.", "C"),
        (GMAIL, Auth, "534 5.7.9 Application-specific password required.", "C"),
        (GMAIL, Auth, "535 5.7.8 Username and Password not accepted.", "C"),
        (GMAIL, Rcpt, "452 4.5.3 Your message has too many recipients.", "D"),
        (
            GMAIL,
            Rcpt,
            "452 4.5.3 Domain policy size per transaction exceeded, please try this recipient in a separate transaction.",
            "D",
        ),
        (
            GMAIL,
            Rcpt,
            "451 4.3.0 Multiple destination domains per transaction is unsupported. Please try again.",
            "D",
        ),
        (SENDGRID, Auth, "451 Authentication failed: Maximum credits exceeded", "Q"),
        (SENDGRID, Dot, "403 You are not authorized to send from that email address", "C of the sender"),
        (
            SENDGRID,
            Dot,
            "550 The from address does not match a verified Sender Identity. Mail cannot be sent until this error is resolved.",
            "C of the sender",
        ),
        (SENDGRID, Mail, "550 Unauthenticated senders not allowed", "C"),
        (SENDGRID, Rcpt, "452 too many recipients this hour", "T"),
        (SENDGRID, Mail, "450 too frequent connects", "T"),
        ("smtp-relay.brevo.com", Mail, "502 5.7.0 Your SMTP account is not yet activated.", "C"),
        ("smtp-relay.brevo.com", Auth, "525 5.7.1 Unauthorized IP address", "C"),
        (
            "smtp.mailgun.org",
            Dot,
            "550 Domain example.org is not allowed to send: recipients hourly limit (100) exceeded.",
            "Q",
        ),
        (
            "smtp.mailgun.org",
            Data,
            "421 Domain example.org is not allowed to send: recipient limit exceeded, try again after Sun, 05 Oct 2025 19:22:44 UTC",
            "Q",
        ),
        (
            "smtp.mailgun.org",
            Mail,
            "421 Domain example.org is not allowed to send: Please activate your Mailgun account.",
            "C",
        ),
        ("smtp.zoho.eu", Rcpt, "553 Relaying disallowed as app@example.org", "C of the sender"),
        (
            "smtp.zoho.com",
            Dot,
            "550 5.4.6 Unusual sending activity detected. Please try after sometime.",
            "Q",
        ),
        ("smtp.zeptomail.eu", Auth, "535 Authentication Failed", "C"),
        (
            "smtp.mailersend.net",
            Dot,
            "450 The from.email domain must be verified in your account to send emails. #MS42207",
            "C of the sender",
        ),
        ("smtp.mailersend.net", Dot, "450 The subject is required. #MS42208", "P"),
        ("smtp.emailit.com", Mail, "452 4.4.5 Messages per second limit exceeded", "T"),
        ("smtp.emailit.com", Mail, "452 4.5.3 Daily message limit exceeded", "Q"),
        ("smtp.msndr.example", Auth, "550 Too many messages. Try again in 92 seconds", "T"),
        ("smtp.email.eu-frankfurt-1.oci.oraclecloud.com", Dot, "254 4.7.1 Suppression list", "ok"),
        ("smtp.email.eu-frankfurt-1.oci.oraclecloud.com", Auth, "421 Too many auth failures", "C"),
        (
            ANY,
            Dot,
            "554 5.7.0 Your message could not be sent. The limit on the number of allowed outgoing messages was exceeded. Try again later.",
            "Q",
        ),
        (ANY, Rcpt, "550 User has exceeded outgoing email quota", "Q"),
        (
            "smtp.sparkpostmail.com",
            Dot,
            "550 5.7.1 Unconfigured Sending Domain <example.org>",
            "C of the sender",
        ),
        ("smtp.sparkpostmail.com", Dot, "451 4.3.0 try again", "D"),
        ("smtp.sparkpostmail.com", Auth, "535 5.7.8 Sorry.", "C"),
        ("smtp.yandex.ru", Auth, "535 5.7.8 Error: authentication failed: Invalid user or password!", "C"),
        ("smtp.yandex.com", Dot, "554 5.7.1 Message rejected under suspicion of SPAM", "P"),
        ("smtp.yandex.com", Rcpt, "450 4.7.1 daily sending limit exceeded", "Q"),
        ("smtp.yandex.com", Rcpt, "452 4.5.3 too many recipients", "D"),
        ("smtp.purelymail.com", Rcpt, "450 4.7.1 account is out of credit", "Q"),
        ("smtp.purelymail.com", Auth, "550 5.7.1 account disabled", "Q"),
        ("smtp.purelymail.com", Rcpt, "550 5.1.1 no such user", "P"),
    ];
    let found = table.map(|(host, phase, said, _)| (host, phase, said, class(host, phase, said)));
    assert_eq!(differing(&found, &table), Vec::<&_>::new());
}

/// There are no rules for these providers.
#[test]
fn the_rules_for_any_relay_know_the_replies_of_emailit_oci_and_msndr() {
    let table = [
        ("smtp.emailit.com", Mail, "452 4.4.5 Messages per second limit exceeded", "too fast"),
        ("smtp.emailit.com", Mail, "452 4.5.3 Daily message limit exceeded", "quota for sending"),
        ("smtp.msndr.example", Auth, "550 Too many messages. Try again in 92 seconds", "slower logins"),
        (
            "smtp.email.eu-frankfurt-1.oci.oraclecloud.com",
            Auth,
            "421 Too many auth failures",
            "too many logins",
        ),
    ];
    for (host, phase, said, name) in table {
        let rules = ReplyRules::new(&[], host);
        assert_eq!(rules.provider(), None, "{host}");
        assert_eq!(
            rules.explain(phase, said, Timestamp::now()).unwrap().rule,
            Some(RuleName::General(name)),
            "{host}: {said}"
        );
    }
}

/// Each message on such a connection was deferred by its age where the relay said it at RCPT or at the final dot.
#[test]
fn a_session_that_is_full_is_told_from_one_that_is_one_too_many() {
    let table = [
        (Rcpt, "451 4.7.0 too many messages in this session", "a full session"),
        (Dot, "452 4.5.3 Too many recipients in this connection", "a full session"),
        (Dot, "450 4.7.1 message limit of this connection reached", "a full session"),
        (Mail, "452 4.3.1 this session has sent enough", "a full session"),
        (Data, "451 4.3.0 session limit, try again on another connection", "a full session"),
        (Rcpt, "452 4.4.5 maximum number of messages per connection exceeded", "a full session"),
        (Dot, "450 too many emails in one session", "a full session"),
        (Dot, "451 4.7.1 connection limit exceeded", "a full session"),
        (Mail, "550 too many messages in a single connection", "a full session"),
        (Rcpt, "552 recipients per session exceeded", "a full session"),
        (Mail, "432 4.3.2 concurrent connection limit exceeded", "too many connections"),
        (Dot, "451 too many open connections from your address", "too many connections"),
        (Dot, "451 4.7.1 simultaneous sessions exceeded", "too many connections"),
        (Mail, "421 4.7.0 too many messages in this session", "the connection"),
        (Rcpt, "452 4.5.3 too many recipients", "about the message or its recipients"),
        (Dot, "450 too many messages this hour", "quota for sending"),
    ];
    for (phase, said, name) in table {
        let explained = ReplyRules::new(&[], ANY).explain(phase, said, Timestamp::now()).unwrap();
        assert_eq!(explained.rule, Some(RuleName::General(name)), "{said}");
        let ReplyConsequence::Waits(reason) = explained.becomes else { continue };
        let is_session = reason.class == WaitClass::Throttle(Excess::Session);
        assert_eq!(is_session, name == "a full session", "{said}");
    }
    for (phase, said) in [
        (Dot, "554 5.7.1 this message was rejected in our session policy"),
        (Rcpt, "550 5.7.1 this connection is not allowed to relay"),
        (Dot, "451 4.3.0 mail server temporarily rejected message"),
        (Mail, "550 5.1.8 sender rejected"),
    ] {
        let explained = ReplyRules::new(&[], ANY).explain(phase, said, Timestamp::now()).unwrap();
        assert_ne!(explained.rule, Some(RuleName::General("a full session")), "{said}");
    }
}

/// A used-up quota bounced the whole queue where the relay was not one of the known ones.
#[test]
fn any_relay_may_speak_of_rates_quotas_and_limits() {
    let table = [
        (Dot, "550 5.7.1 Rate limit exceeded", "Q"),
        (Dot, "550 Domain example.org has exceeded the max emails per hour (500/500 (100%)) allowed.", "Q"),
        (Dot, "552 5.2.2 your account has exceeded its sending quota", "Q"),
        (Dot, "554 5.7.1 quota exceeded, try again in 3 hours", "Q"),
        (Dot, "554 try again in 90 seconds", "Q"),
        (Mail, "550 5.7.1 hourly sending limit reached", "Q"),
        (Mail, "452 4.7.1 quota exceeded", "Q"),
        (Data, "451 4.7.1 limit of messages reached", "Q"),
        (Mail, "451 4.7.1 slow down", "T"),
        (Dot, "451 4.7.1 rate limited", "T"),
        (Dot, "450 4.7.0 try again in 30 seconds", "T"),
        (Dot, "450 4.7.0 try again in 30m", "T"),
        (Dot, "554 try again after Sun, 29 Nov 2026 00:00:00 GMT", "Q"),
        (Mail, "550 5.7.1 blocked until 2026-11-29T00:00:00Z", "Q"),
        (Data, "451 4.7.1 please try again after 2026-11-29 00:00:00 UTC", "Q"),
        (Dot, "450 4.7.0 try again after 29 Mar 2027 00:00:00 GMT", "Q"),
        (Auth, "454 4.7.0 retry after 29 Sep 2027 00:00:00 GMT", "Q"),
        (Rcpt, "450 4.7.1 rate limit exceeded", "T"),
        (Auth, "454 4.7.0 daily sending limit reached", "Q"),
        (Ehlo, "554 too many failed logins from your address", "C"),
    ];
    let found = table.map(|(phase, said, _)| (phase, said, class(ANY, phase, said)));
    assert_eq!(differing(&found, &table), Vec::<&_>::new());
}

/// Up to nineteen messages bounced for the account's sake, until the twentieth was refused alike.
#[test]
fn any_relay_may_speak_of_the_account_and_its_senders() {
    let table = [
        (Dot, "554 5.7.1 Your account has been suspended", "C"),
        (Mail, "550 5.7.1 your email account is disabled", "C"),
        (Dot, "550 Sending suspended for this account, check the inbox of its owner", "C"),
        (Dot, "550 5.2.0 outgoing mail has been temporarily blocked", "C"),
        (Rcpt, "553 5.7.1 <a@example.org>: Sender address rejected: not owned by user b", "C of the sender"),
        (Mail, "553 5.7.1 Sender address rejected: not owned by auth user.", "C of the sender"),
        (Mail, "550 5.7.1 shop@example.org is not a verified sender", "C of the sender"),
        (
            Dot,
            "554 Message rejected: Email address is not verified. The following identities failed",
            "C of the sender",
        ),
        (Dot, "550 You are not allowed to send as ann@example.org", "C of the sender"),
        (Dot, "550 5.7.1 The from address is not verified", "C of the sender"),
        // These are about a recipient, or about the message, or may pass by themselves.
        (Mail, "450 4.1.8 the sender is not verified yet, come back", "D"),
        (Rcpt, "550 5.2.1 The email account that you tried to reach is disabled", "P"),
        (Rcpt, "550 5.7.1 your account has been suspended", "P"),
        (
            Dot,
            "550 5.7.26 Unauthenticated email from example.org is not accepted due to the domain's DMARC policy",
            "P",
        ),
        (Dot, "554 5.7.1 Message rejected: the sender is blocked for spam", "P"),
        (Dot, "550 5.7.1 <bob@example.net>: not allowed to send to this list", "P"),
    ];
    let found = table.map(|(phase, said, _)| (phase, said, class(ANY, phase, said)));
    assert_eq!(differing(&found, &table), Vec::<&_>::new());
}

/// A rule that reads too much into words would keep a message, and other mail with it, that can never be sent.
#[test]
fn what_only_looks_like_a_quota_stays_what_it_is() {
    let table = [
        (Mail, "552 5.3.4 message size exceeds fixed maximum message size", "P"),
        (Dot, "554 5.3.4 message size exceeds limit", "P"),
        (Dot, "552 Message size exceeds fixed limit", "P"),
        (Dot, "552 5.3.4 Message too big for system, limit is 10 MB", "P"),
        (Mail, "452 4.3.4 message size exceeds the limit", "D"),
        (Dot, "550 attachment limit exceeded", "P"),
        (Dot, "554 5.6.0 line length limit exceeded", "P"),
        (Dot, "554 5.4.6 Too many hops, limit exceeded", "P"),
        (Dot, "554 5.4.14 hop count exceeded - possible mail loop", "P"),
        (Rcpt, "552 5.2.2 mailbox full", "D"),
        (Rcpt, "552 5.2.2 <ann@example.net>: over quota", "D"),
        (Rcpt, "550 5.2.2 <ann@example.net>: user is over quota", "P"),
        (Rcpt, "452 4.2.2 The email account that you tried to reach is over quota", "D"),
        (
            Rcpt,
            "450 4.2.1 The user you are trying to contact is receiving mail at a rate that prevents more",
            "D",
        ),
        (Dot, "450 4.2.1 The user you are trying to contact is receiving mail too quickly, rate limit", "D"),
        (Dot, "550 5.2.1 The user you are trying to contact has exceeded the limit", "P"),
        (Dot, "552 5.2.2 The recipient's mailbox is over its quota", "P"),
        (
            Rcpt,
            "450 4.2.0 <ann@example.net>: Recipient address rejected: Greylisted, try again in 300 seconds",
            "D",
        ),
        (Dot, "451 4.7.1 Greylisting in action, please try again in 5 minutes", "D"),
        (Rcpt, "451 4.7.1 Please try again after 2026-11-29T00:00:00Z", "D"),
        (Dot, "451 4.7.1 Greylisting in action, try again after 2026-11-29T00:00:00Z", "D"),
        (Dot, "554 5.7.1 certificate of 2026-11-29T00:00:00Z refused", "P"),
        (Rcpt, "452 4.5.3 too many recipients", "D"),
        (Rcpt, "452 recipient limit exceeded", "D"),
        (Dot, "554 5.7.1 spam score 9.8 exceeds limit 5.0", "P"),
        (Dot, "550 High probability of spam, rate 0.98", "P"),
        (Dot, "550 5.7.26 rejected: DMARC policy limits this domain", "P"),
        (Dot, "554 virus found: Worm.Rate.A", "P"),
        (Dot, "452 4.3.1 insufficient system storage", "D"),
        (Dot, "452 4.3.1 disk quota exceeded", "D"),
        (Mail, "451 4.4.2 timeout, limit reached", "D"),
        (Dot, "550 5.7.1 accurate, corporate and unlimited separate generations", "P"),
        (Rcpt, "550 5.1.1 user unknown", "P"),
        (Rcpt, "550 5.7.1 relaying denied", "P"),
        (Dot, "554 5.7.1 refused by policy", "P"),
        (Mail, "421 4.7.0 rate limit exceeded, try again in 5 minutes", "R"),
        (Dot, "503 limit of commands", "R"),
        (Dot, "250 quota 3 of 100, rate limit 5", "ok"),
        (Auth, "535 5.7.8 bad credentials", "R"),
    ];
    let found = table.map(|(phase, said, _)| (phase, said, class(ANY, phase, said)));
    assert_eq!(differing(&found, &table), Vec::<&_>::new());
}

#[test]
fn the_pause_is_that_of_the_reply_or_else_of_the_rule() {
    let pause = |host: &str, phase, said: &str| match ReplyRules::new(&[], host)
        .explain(phase, said, Timestamp::now())
        .unwrap()
    {
        ExplainedReply { becomes: ReplyConsequence::Waits(reason), .. } => reason.pause.map(|p| p.as_secs()),
        _ => panic!("{said}"),
    };
    assert_eq!(pause(ANY, Auth, "550 Too many messages. Try again in 92 seconds"), Some(92));
    assert_eq!(pause(ANY, Dot, "554 quota exceeded, try again in 3 hours"), Some(3 * 3600));
    let soon = Timestamp::now() + jiff::SignedDuration::from_mins(20);
    for date in [soon.to_string(), soon.strftime("%a, %d %b %Y %H:%M:%S UTC").to_string()] {
        let said = format!(
            "421 Domain a.example is not allowed to send: recipient limit exceeded, try again after {date}"
        );
        let named = pause("smtp.mailgun.org", Data, &said).unwrap();
        assert!((19 * 60..=20 * 60 + 1).contains(&named), "{said}: {named}, and no hour");
    }
    assert_eq!(pause("smtp.yandex.ru", Auth, "535 5.7.8 no"), Some(3600));
    assert_eq!(pause("smtp.yandex.ru", Rcpt, "450 4.7.1 daily sending limit exceeded"), Some(87_000));
    assert_eq!(pause(SES, Dot, "454 Throttling failure: Daily message quota exceeded."), Some(3600));
    assert_eq!(pause("smtp.zoho.com", Dot, "550 5.4.6 Unusual sending activity detected."), None);
}

#[test]
fn the_rules_of_the_configuration_come_first_and_in_their_order() {
    let rule = |pattern: &'static str, phases: &[ReplyPhase], means, pause| ReplyRule {
        pattern: crate::config::ReplyPattern::of_table(pattern),
        phases: phases.to_vec(),
        means,
        pause,
        scope: RuleScope::Sender,
    };
    let day = Duration::from_secs(24 * 3600);
    let own = [
        rule("^554 .*daily", &[Dot], Means::Configuration, None),
        rule("^(454|530) ", &[], Means::Permanent, None),
        rule("^5", &[Mail], Means::Deferral, None),
        rule("quota", &[], Means::Quota, Some(day)),
    ];
    let rules = ReplyRules::new(&own, SES);
    let cases = [
        (Dot, "554 daily quota", Some(RuleName::Own(1))),
        (Mail, "554 daily quota", Some(RuleName::Own(3))),
        (Dot, "454 Throttling failure: Daily message quota exceeded.", Some(RuleName::Own(2))),
        (Mail, "530 who", Some(RuleName::Own(2))),
        (Rcpt, "550 quota, try again in 5 minutes", Some(RuleName::Own(4))),
        (Dot, "554 not verified", Some(RuleName::Provider { provider: "Amazon SES", rule: "not verified" })),
        (Dot, "550 rate limit", Some(RuleName::General("used up, said after the content"))),
        (Rcpt, "550 no", None),
    ];
    for (phase, said, expected) in cases {
        assert_eq!(rules.explain(phase, said, Timestamp::now()).unwrap().rule, expected, "{phase:?} {said}");
    }
    let becomes = |phase, said: &str| rules.explain(phase, said, Timestamp::now()).unwrap().becomes;
    assert_eq!(becomes(Mail, "530 who"), ReplyConsequence::Bounced);
    assert_eq!(becomes(Mail, "554 daily quota"), ReplyConsequence::Deferred);
    let ReplyConsequence::Waits(reason) = becomes(Rcpt, "550 quota, try again in 5 minutes") else {
        panic!()
    };
    assert_eq!(reason.pause, Some(day), "what the operator says counts before what the relay says");
    // The connection is at fault, whatever its words.
    assert_eq!(becomes(Dot, "421 454 who"), ReplyConsequence::RelayTrouble);
    let all = [rule("", &[], Means::Permanent, None)];
    for said in ["421 no", "503 no"] {
        let explained = ReplyRules::new(&all, ANY).explain(Dot, said, Timestamp::now()).unwrap();
        assert_eq!(explained.becomes, ReplyConsequence::RelayTrouble, "{said}");
    }
}

#[test]
fn every_pattern_compiles_and_no_name_is_given_twice() {
    let hosts = [SES, M365, GMAIL, SENDGRID, "smtp.zoho.eu", "smtp.zeptomail.com", "smtp.mailersend.net"];
    let others = ["smtp.eu.sparkpostmail.com", "smtp.yandex.com", "smtp.purelymail.com"];
    for host in hosts.into_iter().chain(others) {
        let rules = ReplyRules::new(&[], host);
        assert!(rules.provider().is_some(), "{host}");
        let mut names: Vec<String> = rules.in_force().map(|rule| rule.name.to_string()).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!((names.len(), all > 9), (all, true), "{host}");
    }
    for host in ["smtp.example.com", "notamazonaws.com", "localhost", "192.0.2.1", "smtp.gmail.com.example"] {
        assert_eq!(ReplyRules::new(&[], host).provider(), None, "{host}");
    }
}

/// A refused access token was explained as a wrong password, and a login that had been taken as one that was not set.
#[test]
fn the_advice_is_for_what_we_log_in_with() {
    use LoginShown::{Password, Token, Unknown};
    const GMAIL_SUBMISSION: &str = "smtp.gmail.com";
    let refused = "535 5.7.3 Authentication unsuccessful [X.outlook.com]";
    let disabled =
        "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox.";
    let basic = "550 5.7.30 Basic authentication is not supported for Client Submission.";
    let anonymous = "530 5.7.57 Client not authenticated to send mail.";
    let bad = "535 5.7.8 Username and Password not accepted. For more information, go to https://x";
    let often = "454 4.7.0 Too many login attempts, please try again later.";
    let cases = [
        (M365, Auth, refused, Token, "Object ID of the Enterprise application"),
        (M365, Auth, refused, Token, "SMTP.SendAsApp"),
        (M365, Auth, refused, Token, "SmtpClientAuthenticationDisabled $false"),
        (M365, Auth, refused, Password, "the user name is the mailbox's own (UPN)"),
        (M365, Auth, refused, Unknown, "the user name is the mailbox's own (UPN)"),
        (M365, Auth, disabled, Token, "which tokens need, too"),
        (M365, Auth, disabled, Password, "turn SMTP AUTH on"),
        (M365, Auth, basic, Token, "https://outlook.office365.com/.default"),
        (M365, Auth, basic, Password, "log in with OAuth"),
        (M365, Mail, anonymous, Unknown, "set [auth]"),
        (M365, Mail, anonymous, Password, "it took the login and lets it send nothing"),
        (M365, Mail, anonymous, Token, "it took the login and lets it send nothing"),
        (GMAIL_SUBMISSION, Auth, bad, Token, "https://mail.google.com/"),
        (GMAIL_SUBMISSION, Auth, bad, Token, "auth.username the address of the user"),
        (GMAIL_SUBMISSION, Auth, bad, Password, "app password"),
        (GMAIL_SUBMISSION, Auth, often, Password, "it passes by itself"),
        (GMAIL_SUBMISSION, Auth, often, Password, "correct [auth]"),
        (GMAIL_SUBMISSION, Auth, often, Token, "log in less often"),
        (GMAIL_SUBMISSION, Auth, often, Token, "be for the address in auth.username"),
        (ANY, Auth, "421 Too many auth failures", Password, "correct [auth], or wait"),
        (
            ANY,
            Auth,
            "421 Too many auth failures",
            Token,
            "a token that is for it and for the mailbox in auth.username, or wait",
        ),
        (SES, Auth, "535 Authentication Credentials Invalid", Password, "SMTP credential of this region"),
    ];
    for (host, phase, said, login, expected) in cases {
        let rules = ReplyRules { login, ..ReplyRules::new(&[], host) };
        let ReplyConsequence::Waits(reason) = rules.explain(phase, said, Timestamp::now()).unwrap().becomes
        else {
            panic!("{host}: {said}")
        };
        let hint = reason.hint.unwrap();
        assert!(hint.contains(expected), "{host}, {login:?}: {said}: {hint}");
        assert_eq!(
            hint.contains("app password"),
            host == GMAIL_SUBMISSION && login == Password && said == bad
        );
        assert!(login != Token || !hint.contains("correct [auth]"), "{host}: {said}: {hint}");
    }
}

/// The reason that a relay had given in its challenge was lost where a rule knew its reply.
#[test]
fn a_refused_token_keeps_the_reason_of_the_relay() {
    let trouble = |said: &str| {
        let (reply, _) = Reply::parse(format!("{said}\r\n").as_bytes()).unwrap().unwrap();
        let token = TokenRefusal { reason: Some("status 400".into()), remedy: Some("mend the token") };
        let cause = Cause::LoginRefused {
            said: format!("XOAUTH2: the relay said: {said}"),
            for_good: reply.severity() == Severity::Permanent,
            reply: Some(Box::new(reply)),
            token: Some(Box::new(token)),
            advice: None,
        };
        Trouble { phase: Phase::Auth, peer: None, cause }
    };
    let told = |host: &str, said: &str| {
        ReplyRules { login: LoginShown::Token, ..ReplyRules::new(&[], host) }
            .read(trouble(said), Timestamp::now())
            .to_string()
    };
    let of_provider = told("smtp.gmail.com", "535 5.7.8 no");
    let begin = "configuration: AUTH: the relay said: 535 5.7.8 no (its reason: status 400) (it does not take the token";
    assert!(of_provider.starts_with(begin) && !of_provider.contains("mend the token"), "{of_provider}");
    let of_any = "AUTH: XOAUTH2: the relay said: 535 5.7.8 no (its reason: status 400); mend the token";
    assert_eq!(told(ANY, "535 5.7.8 no"), of_any);
    let too_often = told(ANY, "454 4.7.0 too many messages, try again in 30 s");
    assert!(too_often.starts_with("throttle: ") && !too_often.contains("mend the token"), "{too_often}");
}

/// Mail that is held for a sender or on the first day ends where the operator says that the reply is permanent.
#[test]
fn what_the_operator_calls_permanent_is_about_its_message_alone() {
    let own = ReplyRule {
        pattern: crate::config::ReplyPattern::of_table("not known here"),
        phases: vec![],
        means: Means::Permanent,
        pause: None,
        scope: RuleScope::Sender,
    };
    let (with, without) = (ReplyRules::new(&[own], ANY), ReplyRules::new(&[], ANY));
    let table = [
        (Phase::Mail, "553 5.7.1 sender not known here", Subject::Message, Subject::Permission),
        (Phase::Rcpt, "550 5.7.1 sender not known here", Subject::Recipient, Subject::Permission),
        (Phase::Rcpt, "530 5.7.8 not known here", Subject::Recipient, Subject::Login),
        (Phase::Dot, "554 not known here", Subject::Message, Subject::Permission),
        (Phase::Dot, "554 refused", Subject::Permission, Subject::Permission),
    ];
    for (phase, said, narrowed, else_about) in table {
        let about = |rules: &ReplyRules| {
            let (reply, _) = Reply::parse(format!("{said}\r\n").as_bytes()).unwrap().unwrap();
            let mut told = [RecipientReport {
                index: 0,
                verdict: Verdict::Bounced,
                status: Status::permanent(7, 1),
                said: reply.to_string(),
                from_relay: true,
                phase,
                about: Subject::of(phase, &reply),
            }];
            rules.narrow(&mut told);
            told[0].about
        };
        assert_eq!((about(&with), about(&without)), (narrowed, else_about), "{phase:?} {said}");
    }
}
