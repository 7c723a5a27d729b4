//! The rules for the relays of single providers, which their host names tell.
//!
//! The texts are those of the providers' own pages, and of public reports of what their relays said.

use std::sync::LazyLock;

use super::super::reply_meaning::RuleName;
use super::built_in::{BuiltIn, CompiledRule};
use crate::config::ReplyPhase::{self, Auth, Data, Dot, Ehlo, Greeting, Mail, Rcpt};

const TRANSACTION: &[ReplyPhase] = &[Mail, Rcpt, Data, Dot];

/// The pause where each hour may bring some of a quota back, since it is of the last day, and where tries do no harm.
const HOURLY: u64 = 60 * 60;

/// A provider, and what its relays say.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) name: &'static str,
    /// Its host names: `.example.com` is the end of one, `smtp.example.` the beginning, and others are whole.
    hosts: &'static [&'static str],
    rules: LazyLock<Vec<CompiledRule>>,
}

impl Provider {
    /// Returns the provider whose relay has this host name.
    pub(super) fn of(host: &str) -> Option<&'static Provider> {
        let host = host.to_ascii_lowercase();
        PROVIDERS.iter().find(|provider| provider.hosts.iter().any(|form| is_of_form(&host, form)))
    }

    /// Returns its rules in their order.
    pub(super) fn rules(&'static self) -> &'static [CompiledRule] {
        &self.rules
    }
}

fn is_of_form(host: &str, form: &str) -> bool {
    match form {
        end if end.starts_with('.') => host.ends_with(end),
        beginning if beginning.ends_with('.') => host.starts_with(beginning),
        whole => host == whole,
    }
}

fn compiled(provider: &'static str, rules: &'static [BuiltIn]) -> Vec<CompiledRule> {
    rules.iter().map(|rule| rule.compiled(RuleName::Provider { provider, rule: rule.name })).collect()
}

/// Declares the providers: their names, their host names and their rules.
macro_rules! providers {
    ($($name:literal, $hosts:expr, $rules:ident;)+) => {
        static PROVIDERS: [Provider; [$($name),+].len()] = [$(Provider {
            name: $name,
            hosts: &$hosts,
            rules: LazyLock::new(|| compiled($name, $rules)),
        }),+];
    };
}

providers! {
    "Amazon SES", [".amazonaws.com"], AMAZON_SES;
    "Microsoft 365", [".office365.com", ".outlook.com"], MICROSOFT_365;
    "Gmail", ["smtp.gmail.com", "smtp-relay.gmail.com", "smtp.googlemail.com"], GMAIL;
    "SendGrid", [".sendgrid.net"], SENDGRID;
    "Brevo", [".brevo.com", ".sendinblue.com"], BREVO;
    "Mailgun", [".mailgun.org"], MAILGUN;
    "ZeptoMail", ["smtp.zeptomail."], ZEPTOMAIL;
    "Zoho", ["smtp.zoho.", "smtppro.zoho."], ZOHO;
    "MailerSend", [".mailersend.net"], MAILERSEND;
    "SparkPost", [".sparkpostmail.com"], SPARKPOST;
    "Yandex", ["smtp.yandex."], YANDEX;
    "Purelymail", ["smtp.purelymail.com"], PURELYMAIL;
}

const AMAZON_SES: &[BuiltIn] = &[
    BuiltIn::quota("daily quota", TRANSACTION, r"^454 .*daily message quota exceeded")
        .paused(HOURLY)
        .hinting("ask SES for a higher daily sending quota, or send less"),
    BuiltIn::throttle("sending rate", TRANSACTION, r"^454 .*(throttling failure|sending rate exceeded)"),
    BuiltIn::route(
        "not authorized",
        TRANSACTION,
        r"^554 .*not authorized to perform",
        "give the IAM user behind the SMTP credential the permission ses:SendRawEmail",
    ),
    BuiltIn::route(
        "account paused",
        TRANSACTION,
        r"^554 .*(sending|account|identity)( is)? (paused|suspended|disabled|shut ?down)",
        "SES has stopped the account or the identity: see its messages to the account's owner, and the SES console",
    ),
    BuiltIn::sender(
        "not verified",
        TRANSACTION,
        r"^554 .*not verified",
        "verify the address or its domain with SES in this region; in the sandbox the recipients need that, too",
    ),
    BuiltIn::route(
        "login",
        &[Auth, Mail],
        r"^53[05]",
        "SES takes an SMTP credential of this region, which is not the AWS access key",
    ),
];

/// The advice where the relay speaks of passwords and was shown a token.
const TAKEN_FOR_A_PASSWORD: &str = "it takes this for a login with a password: the token must be one for Exchange Online \
                                    (scope https://outlook.office365.com/.default, or SMTP.Send for a user)";

const GMAIL_TOKEN: &str = "it does not take the token for this account: its scope must be https://mail.google.com/, and \
                           auth.username the address of the user who has consented, or for whom the service account acts";

const MICROSOFT_365: &[BuiltIn] = &[
    BuiltIn::route(
        "SMTP AUTH is turned off",
        &[Auth],
        r"SmtpClientAuthentication is disabled",
        "turn SMTP AUTH on for the tenant or the mailbox: Set-CASMailbox -SmtpClientAuthenticationDisabled $false",
    )
    .for_tokens(
        "turn SMTP AUTH on for the tenant or the mailbox, which tokens need, too: Set-CASMailbox \
         -SmtpClientAuthenticationDisabled $false",
    ),
    BuiltIn::route(
        "security defaults",
        &[Auth],
        r"security defaults",
        "the tenant's security defaults forbid logins with a password: log in with OAuth",
    )
    .for_tokens(TAKEN_FOR_A_PASSWORD),
    BuiltIn::route(
        "no passwords",
        &[Auth],
        r"basic authentication|^550 5\.7\.30",
        "Microsoft takes no password here any more: log in with OAuth",
    )
    .for_tokens(TAKEN_FOR_A_PASSWORD),
    BuiltIn::route(
        "login",
        &[Auth],
        r"^535 5\.7\.(3|139)\b",
        "the user name is the mailbox's own (UPN); with OAuth, the application needs SMTP.SendAsApp and the mailbox",
    )
    .for_tokens(
        "it does not take the token for this mailbox: give the app SMTP.SendAsApp with admin consent, make its service \
         principal in Exchange Online (New-ServicePrincipal, with the Object ID of the Enterprise application, not of the \
         app registration), give that the mailbox (Add-MailboxPermission, FullAccess), and turn SMTP AUTH on for it \
         (Set-CASMailbox -SmtpClientAuthenticationDisabled $false); auth.username is the mailbox's own (UPN), and a \
         user's token needs the scope SMTP.Send",
    ),
    BuiltIn::route(
        "not authenticated",
        &[Mail],
        r"^530 5\.7\.57",
        "set [auth]: this relay takes no mail without a login",
    )
    .behind_a_login(
        "it took the login and lets it send nothing: does auth.username have a mailbox with a licence, and is SMTP AUTH \
         turned on for it (Set-CASMailbox -SmtpClientAuthenticationDisabled $false)?",
    ),
    BuiltIn::throttle("connections", TRANSACTION, r"^4\d\d 4\.3\.2 .*(concurrent connections|thread limit)")
        .of_connections(),
    BuiltIn::quota("submission quota", TRANSACTION, r"SubmissionQuotaExceeded").paused(HOURLY),
    BuiltIn::sender(
        "the sender's mailbox is full",
        &[Dot],
        r"^554 5\.2\.2 ",
        "the mailbox that sends is full (each message goes to its Sent Items, too): make room there",
    ),
    BuiltIn::sender(
        "not allowed to send as",
        TRANSACTION,
        r"SendAsDenied|^550 5\.7\.60\b",
        "give the account that logs in the right to send as this address (Add-RecipientPermission)",
    ),
    BuiltIn::sender(
        "restricted account",
        TRANSACTION,
        r"^550 5\.(1\.8|7\.50[1-3])\b",
        "Microsoft has stopped this account for outbound spam: secure it, then remove it from the restricted entities",
    ),
    BuiltIn::route(
        "blocked tenant",
        TRANSACTION,
        r"^550 5\.7\.(70[0-46-9]|7[1-4]\d|750)\b",
        "Microsoft takes no mail of this tenant now: see the tenant's admin centre (registered domains, outbound spam)",
    ),
    BuiltIn::quota("tenant's limit", TRANSACTION, r"^5\d\d 5\.7\.(232|233|705)\b")
        .paused(HOURLY)
        .hinting("the tenant has sent more to others than it may; Microsoft lets it go on by and by"),
    BuiltIn::quota("throttled for errors", TRANSACTION, r"^55\d 5\.2\.25[1-5]\b")
        .hinting("too many messages of this account failed: look for what was refused before this"),
];

const GMAIL: &[BuiltIn] = &[
    BuiltIn::quota(
        "daily limit",
        TRANSACTION,
        r"^550 5\.4\.5\b|daily (user sending|smtp relay) (quota|limit) exceeded",
    )
    .paused(HOURLY),
    BuiltIn::route(
        "not allowed to relay",
        TRANSACTION,
        r"invalid credentials for relay|mail relay denied",
        "the relay knows neither this IP address nor a login: register the address in the admin console, or set [auth]",
    ),
    BuiltIn::throttle("peak limit", TRANSACTION, r"^4\d\d 4\.2\.1 .*peak smtp relay limit"),
    BuiltIn::route(
        "EHLO name",
        &[Greeting, Ehlo],
        r"^421 4\.7\.0 .*try again later",
        "the relay wants a full name in EHLO, best of a domain of its own: set listen.hostname",
    )
    .paused(5 * 60),
    BuiltIn::route(
        "too many logins",
        &[Auth],
        r"^454 4\.7\.0 .*too many login attempts",
        "Google has counted too many logins of this account, good ones, too: it passes by itself; let it log in less often \
         (fewer hosts and programs with this account, a lower relay.max-connections), and correct [auth] if none was taken",
    )
    .for_tokens(
        "Google has counted too many logins of this account, good ones, too: it passes by itself; let it log in less often \
         (fewer hosts and programs with this account, a lower relay.max-connections); if none was taken, the token must have \
         the scope https://mail.google.com/ and be for the address in auth.username",
    )
    .paused(30 * 60),
    BuiltIn::route(
        "app password",
        &[Auth],
        r"^534 5\.7\.9",
        "this account needs an app password in place of its own, or OAuth",
    )
    .for_tokens(GMAIL_TOKEN),
    BuiltIn::route(
        "login",
        &[Auth],
        r"^535 5\.7\.8",
        "user name and app password do not fit; the account's own password is never taken",
    )
    .for_tokens(GMAIL_TOKEN),
];

const SENDGRID: &[BuiltIn] = &[
    BuiltIn::quota("credits", &[Auth, Mail, Rcpt, Data, Dot], r"maximum credits exceeded")
        .paused(HOURLY)
        .hinting("the plan's credits are used up: buy more, or wait for the next period"),
    BuiltIn::route(
        "not logged in",
        TRANSACTION,
        r"unauthenticated senders not allowed",
        "set [auth]: the user name is the word apikey, the password an API key with the right \"Mail Send\"",
    ),
    BuiltIn::sender(
        "not authorized for this address",
        TRANSACTION,
        r"not authorized to send from|not match a verified sender identity",
        "verify this address or its domain as a sender at SendGrid",
    ),
    // Each try within the hour is refused again.
    BuiltIn::throttle("recipients of an hour", TRANSACTION, r"too many recipients this hour").paused(10 * 60),
    BuiltIn::throttle("too often", TRANSACTION, r"too frequent connects").paused(60),
];

const BREVO: &[BuiltIn] = &[
    BuiltIn::route(
        "not activated",
        &[Auth, Mail, Rcpt, Data, Dot],
        r"account is not (yet )?activated",
        "ask Brevo to turn on transactional mail for this account",
    ),
    BuiltIn::route(
        "unknown IP address",
        &[Auth],
        r"unauthorized ip|ip address .*not (authorized|allowed)|^525",
        "Brevo blocks IP addresses that it does not know: authorize this one under \"Security\" in the account",
    ),
];

const MAILGUN: &[BuiltIn] = &[
    BuiltIn::quota("limit of the plan", TRANSACTION, r"not allowed to send: .*(limit|quota)").paused(HOURLY),
    BuiltIn::route(
        "domain or account",
        TRANSACTION,
        r"not allowed to send: ",
        "Mailgun takes no mail of this domain now: see the domain and the account in its control panel",
    ),
];

const ZOHO: &[BuiltIn] = &[
    BuiltIn::sender(
        "not allowed to send as",
        TRANSACTION,
        r"^553 .*relaying disallowed",
        "the account may send only as its own addresses: add this one as an alias, or use that account",
    ),
    BuiltIn::quota("unusual activity", TRANSACTION, r"unusual sending activity")
        .hinting("Zoho has blocked the account for a while: see its mails to the account's owner"),
];

const ZEPTOMAIL: &[BuiltIn] = &[BuiltIn::route(
    "login",
    &[Auth],
    r"^535",
    "ZeptoMail says this also when the credits are used up, or the account is blocked",
)];

const MAILERSEND: &[BuiltIn] = &[
    BuiltIn::sender(
        "not verified",
        TRANSACTION,
        r"^450 .*must be verified",
        "verify the domain of this address at MailerSend",
    ),
    // MailerSend says 450 of what its interface calls a validation error, which no later try changes.
    BuiltIn::permanent(
        "validation",
        TRANSACTION,
        r"^450 .*(validation|#MS422|is required|is invalid|must be (a|an) )",
    ),
];

const SPARKPOST: &[BuiltIn] = &[
    BuiltIn::sender(
        "unconfigured domain",
        TRANSACTION,
        r"^550 5\.7\.1 .*unconfigured sending domain",
        "add and verify the domain of this address as a sending domain at SparkPost",
    ),
    BuiltIn::route(
        "login",
        &[Auth],
        r"^535",
        "the user name is SMTP_Injection, the password an API key with \"Send via SMTP\"",
    ),
];

const YANDEX: &[BuiltIn] = &[
    BuiltIn::route(
        "login",
        &[Auth],
        r"^535",
        "use an app password, and allow mail programs in the account's settings",
    )
    // Each try may prolong a block, which ends a day after the last one.
    .paused_ever_longer(60 * 60),
    // A block ends 24 hours after the last try: whoever tries each hour never gets out of it.
    BuiltIn::quota(
        "daily limit",
        TRANSACTION,
        r"(daily|sending|outgoing) .{0,20}(limit|quota)|(limit|quota) exceeded",
    )
    .paused(24 * 60 * 60 + 10 * 60)
    .hinting("Yandex takes 500 recipients a day from a mailbox, and each try prolongs its block"),
];

const PURELYMAIL: &[BuiltIn] = &[
    BuiltIn::quota("login of an account without money", &[Auth], r"^550")
        .paused(HOURLY)
        .hinting(OUT_OF_MONEY),
    BuiltIn::quota("out of money", &[Rcpt], r"^450 .*(credit|balance|payment|billing|funds|money)")
        .paused(HOURLY)
        .hinting(OUT_OF_MONEY),
];

const OUT_OF_MONEY: &str = "Purelymail says this to an account that is out of money: look there";
