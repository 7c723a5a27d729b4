//! The table of the providers.
//!
//! The limits and the replies are those of the providers' own pages, and of public reports of what their relays said. `raw`
//! stands before a reply without an enhanced status, which the sink would add otherwise. Where nothing is published, the
//! choice is plain:
//!
//! * extensions: SIZE, 8BITMIME, PIPELINING and ENHANCEDSTATUSCODES ([`USUAL`]);
//! * a number that each account has its own of: that of the smallest plan, or of an account that is new;
//! * replies: [`TOO_MANY_RECIPIENTS`] and its like below.

use super::ProfileLimit::{MaxConnections, MaxRecipients, MessagesPerSession, Quota, Rate};
use super::{ProfileLimit, SinkProfile};
use crate::sink::fault::SinkPhase::Dot;
use crate::sink::options::Security::{Implicit, StartTls};
use crate::smtp::session::ServiceExtension::{
    self, Chunking, Dsn, EightBitMime, EnhancedStatusCodes, Pipelining, Size, SmtpUtf8,
};

const USUAL: &[ServiceExtension] = &[Pipelining, Size, EnhancedStatusCodes, EightBitMime];
const OF_GOOGLE: &[ServiceExtension] =
    &[Pipelining, Size, EnhancedStatusCodes, EightBitMime, SmtpUtf8, Chunking];
const OF_MICROSOFT: &[ServiceExtension] =
    &[Pipelining, Size, EnhancedStatusCodes, EightBitMime, SmtpUtf8, Dsn, Chunking];

const PASSWORDS: &[&str] = &["PLAIN", "LOGIN"];
const MICROSOFT_LOGINS: &[&str] = &["LOGIN", "XOAUTH2"];
const GOOGLE_LOGINS: &[&str] = &["LOGIN", "PLAIN", "XOAUTH2", "OAUTHBEARER"];

/// Whoever has no limit of recipients of its own.
const NO_LIMITS: &[ProfileLimit] = &[];
const TOO_MANY_RECIPIENTS_OF_50: ProfileLimit = MaxRecipients("50=452 4.5.3 too many recipients");

const fn mebibytes(number: u64) -> u64 {
    number << 20
}

/// What most have in common.
const PLAIN: SinkProfile = SinkProfile {
    names: &[],
    provider: "",
    host: "",
    security: StartTls,
    mechanisms: PASSWORDS,
    extensions: USUAL,
    max_message_size: mebibytes(25),
    limits: NO_LIMITS,
    faults: &[],
    unverified: None,
    idle: None,
    words: &[],
};

const MICROSOFT_WORDS: &[(u16, &str)] = &[
    (530, "530 5.7.57 Client not authenticated to send mail."),
    (535, "535 5.7.3 Authentication unsuccessful"),
];

/// Longer than the 1,024 octets that some clients read.
const SEND_AS_DENIED: &str = "long 1200 554 5.2.252 SendAsDenied; not allowed to send as {sender}; \
     STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message";

macro_rules! microsoft_quota {
    ($number:literal) => {
        Quota(concat!(
            $number,
            "=554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message"
        ))
    };
}

const GOOGLE_WORDS: &[(u16, &str)] =
    &[(530, "530 5.7.0 Authentication Required."), (535, "535 5.7.8 Username and Password not accepted.")];

pub(super) const ALL: &[SinkProfile] = &[
    SinkProfile {
        names: &["amazon-ses", "ses"],
        provider: "Amazon SES",
        host: "email-smtp.eu-west-1.amazonaws.com",
        extensions: &[Size, EightBitMime],
        max_message_size: mebibytes(40),
        limits: &[
            MaxRecipients("50@dot=raw 554 Transaction failed: Recipient count exceeds 50."),
            MaxConnections("20@ehlo=raw 421 Too many concurrent SMTP connections"),
            Rate("14/s=raw 454 Throttling failure: Maximum sending rate exceeded."),
            Quota("50000/day=raw 454 Throttling failure: Daily message quota exceeded."),
        ],
        faults: &["mail:=raw 501 Invalid MAIL FROM address provided"],
        unverified: Some((
            Dot,
            "raw 554 Message rejected: Email address is not verified. The following identities failed the check in \
             region EU-WEST-1: {sender}",
        )),
        words: &[
            (530, "530 Authentication required"),
            (535, "535 Authentication Credentials Invalid"),
            (552, "552 Message is too long."),
        ],
        ..PLAIN
    },
    SinkProfile {
        names: &["azure-communication-services", "azure"],
        provider: "Azure Communication Services",
        host: "smtp.azurecomm.net",
        max_message_size: mebibytes(10),
        limits: &[
            TOO_MANY_RECIPIENTS_OF_50,
            MaxConnections("250=421 4.7.0 too many connections"),
            Rate("30/min=451 4.7.1 rate limit exceeded, try again later"),
            Quota("100/h=452 4.7.1 hourly sending limit exceeded"),
        ],
        ..PLAIN
    },
    SinkProfile {
        names: &["brevo"],
        provider: "Brevo",
        host: "smtp-relay.brevo.com",
        max_message_size: mebibytes(20),
        limits: &[Quota("300/day=452 4.7.1 daily sending limit exceeded")],
        ..PLAIN
    },
    SinkProfile {
        names: &["emailit"],
        provider: "Emailit",
        host: "smtp.emailit.com",
        limits: &[
            Rate("2/s@mail=452 4.4.5 Messages per second limit exceeded"),
            Quota("5000/day@mail=452 4.5.3 Daily message limit exceeded"),
        ],
        ..PLAIN
    },
    SinkProfile {
        names: &["fastmail"],
        provider: "Fastmail",
        host: "smtp.fastmail.com",
        security: Implicit,
        max_message_size: mebibytes(70),
        limits: &[Quota("4000/day=452 4.7.1 daily sending limit exceeded")],
        ..PLAIN
    },
    SinkProfile {
        names: &["gmail"],
        provider: "Gmail",
        host: "smtp.gmail.com",
        mechanisms: GOOGLE_LOGINS,
        extensions: OF_GOOGLE,
        limits: &[
            MaxRecipients("100=452 4.5.3 too many recipients"),
            Rate("30/min@auth=454 4.7.0 Too many login attempts, please try again later."),
            Quota("500/day=550 5.4.5 Daily user sending limit exceeded"),
        ],
        words: GOOGLE_WORDS,
        ..PLAIN
    },
    SinkProfile {
        names: &["google-workspace-relay", "workspace"],
        provider: "Google Workspace relay",
        host: "smtp-relay.gmail.com",
        mechanisms: GOOGLE_LOGINS,
        extensions: OF_GOOGLE,
        limits: &[
            MaxRecipients("100=452 4.5.3 too many recipients"),
            Rate("319444/10min=450 4.2.1 Peak SMTP relay limit exceeded"),
            Quota("10000/day=550 5.4.5 Daily SMTP relay limit exceeded for user"),
            Quota("10000rcpt/day=550 5.4.5 Daily SMTP relay limit exceeded for user"),
        ],
        words: GOOGLE_WORDS,
        ..PLAIN
    },
    SinkProfile {
        names: &["hoster", "plesk"],
        provider: "a hoster with Plesk",
        host: "mail.hoster.example",
        limits: &[Quota(
            "200/h=554 5.7.0 Your message could not be sent. The limit on the number of allowed outgoing messages was \
             exceeded. Try again later.",
        )],
        ..PLAIN
    },
    SinkProfile {
        names: &["mailersend"],
        provider: "MailerSend",
        host: "smtp.mailersend.net",
        limits: &[TOO_MANY_RECIPIENTS_OF_50, Quota("500/day=452 4.7.1 daily sending limit exceeded")],
        unverified: Some((
            Dot,
            "raw 450 The from.email domain must be verified in your account to send emails. #MS42207",
        )),
        ..PLAIN
    },
    SinkProfile {
        names: &["mailgun"],
        provider: "Mailgun",
        host: "smtp.mailgun.org",
        limits: &[MaxRecipients("1000=452 4.5.3 too many recipients")],
        ..PLAIN
    },
    SinkProfile {
        names: &["mailjet"],
        provider: "Mailjet",
        host: "in-v3.mailjet.com",
        max_message_size: mebibytes(15),
        limits: &[TOO_MANY_RECIPIENTS_OF_50],
        ..PLAIN
    },
    // What is beyond its quota it takes, and keeps for later.
    SinkProfile { names: &["mandrill"], provider: "Mandrill", host: "smtp.mandrillapp.com", ..PLAIN },
    SinkProfile {
        names: &["microsoft-365", "m365"],
        provider: "Microsoft 365",
        host: "smtp.office365.com",
        mechanisms: MICROSOFT_LOGINS,
        extensions: OF_MICROSOFT,
        max_message_size: mebibytes(150),
        limits: &[
            MaxRecipients("500=452 4.5.3 Too many recipients"),
            MaxConnections(
                "3@data=432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending",
            ),
            Rate("30/min=432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded"),
            microsoft_quota!("10000rcpt/day"),
        ],
        unverified: Some((Dot, SEND_AS_DENIED)),
        words: MICROSOFT_WORDS,
        ..PLAIN
    },
    SinkProfile {
        names: &["microsoft-365-high-volume", "hve"],
        provider: "Microsoft 365 High Volume Email",
        host: "smtp-hve.office365.com",
        mechanisms: MICROSOFT_LOGINS,
        extensions: OF_MICROSOFT,
        limits: &[microsoft_quota!("100000rcpt/day")],
        unverified: Some((Dot, SEND_AS_DENIED)),
        words: MICROSOFT_WORDS,
        ..PLAIN
    },
    SinkProfile {
        names: &["msndr"],
        provider: "msndr",
        host: "smtp.msndr.net",
        limits: &[Rate("100/10min@dot,auth=raw 550 Too many messages. Try again in 92 seconds")],
        ..PLAIN
    },
    SinkProfile {
        names: &["oracle", "oci"],
        provider: "Oracle Cloud Infrastructure",
        host: "smtp.email.eu-frankfurt-1.oci.oraclecloud.com",
        max_message_size: mebibytes(2),
        // It takes mail to an address on its list of suppressed ones, too, and says so.
        faults: &["dot=raw 254 4.7.1 Suppression list entry exists for a recipient%5"],
        words: &[(535, "421 Too many auth failures")],
        ..PLAIN
    },
    SinkProfile {
        names: &["outlook"],
        provider: "outlook.com",
        host: "smtp-mail.outlook.com",
        mechanisms: MICROSOFT_LOGINS,
        extensions: OF_MICROSOFT,
        limits: &[MaxRecipients("100=452 4.5.3 Too many recipients"), microsoft_quota!("300/day")],
        unverified: Some((Dot, SEND_AS_DENIED)),
        words: MICROSOFT_WORDS,
        ..PLAIN
    },
    SinkProfile {
        names: &["ovh"],
        provider: "OVH",
        host: "ssl0.ovh.net",
        max_message_size: mebibytes(10),
        limits: &[Quota("200/h=550 5.7.1 User has exceeded outgoing email quota")],
        ..PLAIN
    },
    SinkProfile {
        names: &["postmark"],
        provider: "Postmark",
        host: "smtp.postmarkapp.com",
        mechanisms: &["PLAIN", "CRAM-MD5", "DIGEST-MD5"],
        max_message_size: mebibytes(10),
        limits: &[TOO_MANY_RECIPIENTS_OF_50],
        ..PLAIN
    },
    SinkProfile {
        names: &["purelymail"],
        provider: "Purelymail",
        host: "smtp.purelymail.com",
        limits: &[
            Quota("300/day@dot,rcpt=450 4.7.1 account is out of credit"),
            Quota("300/day@dot,auth=550 5.7.1 account is out of credit"),
        ],
        ..PLAIN
    },
    SinkProfile {
        names: &["resend"],
        provider: "Resend",
        host: "smtp.resend.com",
        max_message_size: mebibytes(40),
        limits: &[TOO_MANY_RECIPIENTS_OF_50, Rate("2/s=451 4.7.1 rate limit exceeded, try again later")],
        ..PLAIN
    },
    SinkProfile {
        names: &["scaleway"],
        provider: "Scaleway TEM",
        host: "smtp.tem.scaleway.com",
        max_message_size: mebibytes(10),
        limits: &[Quota("300/day=452 4.7.1 daily sending quota exceeded")],
        ..PLAIN
    },
    SinkProfile {
        names: &["sendgrid"],
        provider: "SendGrid",
        host: "smtp.sendgrid.net",
        max_message_size: mebibytes(30),
        limits: &[
            MaxRecipients("1000=452 4.5.3 too many recipients"),
            MessagesPerSession("5000=421 4.7.0 too many messages in this session"),
            Quota("10000rcpt/h@rcpt=raw 452 too many recipients this hour"),
            Quota("10000/day@dot,auth=raw 451 Authentication failed: Maximum credits exceeded"),
        ],
        unverified: Some((Dot, "raw 403 You are not authorized to send from that email address")),
        ..PLAIN
    },
    SinkProfile {
        names: &["sparkpost"],
        provider: "SparkPost",
        host: "smtp.sparkpostmail.com",
        max_message_size: mebibytes(20),
        limits: &[MessagesPerSession("100=421 4.7.0 too many messages in this session")],
        unverified: Some((Dot, "550 5.7.1 Unconfigured Sending Domain <{domain}>")),
        idle: Some(60),
        words: &[(535, "535 5.7.8 Authentication failed")],
        ..PLAIN
    },
    SinkProfile {
        names: &["yandex"],
        provider: "Yandex",
        host: "smtp.yandex.com",
        security: Implicit,
        limits: &[
            MaxRecipients("35=452 4.5.3 too many recipients"),
            // Each try prolongs the block.
            Quota("500rcpt/day@rcpt!=450 4.7.1 daily sending limit exceeded"),
        ],
        words: &[(535, "535 5.7.8 Error: authentication failed: Invalid user or password!")],
        ..PLAIN
    },
    SinkProfile {
        names: &["zeptomail"],
        provider: "ZeptoMail",
        host: "smtp.zeptomail.com",
        max_message_size: mebibytes(15),
        limits: &[Quota("10000/day@dot,auth=535 5.7.8 Authentication Failed")],
        ..PLAIN
    },
    SinkProfile {
        names: &["zoho"],
        provider: "Zoho",
        host: "smtp.zoho.com",
        limits: &[Quota("50/h=550 5.4.6 Unusual sending activity detected. Please try after sometime.")],
        unverified: Some((Dot, "raw 553 Relaying disallowed as {sender}")),
        ..PLAIN
    },
];
