//! What to do about a refusal, for the mistakes that are made most; and which refusals pass without anybody.
//!
//! Promises: one table says of each error whether an operator must act, and how. An error that is not in it is for an
//! operator.
//!
//! Sources: Microsoft's list of AADSTS codes and its guide to SMTP by OAuth; Google's guide to OAuth.

/// The way in which a denial ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DenialEnd {
    /// An operator must act.
    ByOperator,
    /// It passes.
    ByItself,
}

use DenialEnd::{ByItself, ByOperator};

/// A word of an endpoint, how that ends, and what to do about it.
type KnownDenial = (&'static str, DenialEnd, &'static str);

/// The codes of Microsoft that begin an `error_description`.
const AADSTS: &[KnownDenial] = &[
    (
        "AADSTS7000215",
        ByOperator,
        "the client secret is wrong; client-secret-file must hold the secret's Value, not its Secret ID",
    ),
    (
        "AADSTS7000222",
        ByOperator,
        "the client secret has expired; make a new one in the app registration and put it into the file",
    ),
    (
        "AADSTS7000216",
        ByOperator,
        "the app must prove itself; set client-secret-file, or client-certificate and key-file",
    ),
    (
        "AADSTS7000218",
        ByOperator,
        "the app is not public; set client-secret-file, or allow public client flows in its registration",
    ),
    ("AADSTS7000112", ByOperator, "the app is disabled in the tenant"),
    (
        "AADSTS700016",
        ByOperator,
        "the tenant knows no app with this client-id; is the id, and the tenant in token-url, right?",
    ),
    (
        "AADSTS700024",
        ByOperator,
        "the assertion was not valid at this time; is the clock of this host right?",
    ),
    (
        "AADSTS700027",
        ByOperator,
        "the certificate is not one of the app registration; upload client-certificate there",
    ),
    (
        "AADSTS700082",
        ByOperator,
        "the refresh token has expired, since it was not used for too long; log in again",
    ),
    (
        "AADSTS700084",
        ByOperator,
        "the refresh token is that of a page in a browser, and is dead after 24 hours; log in again",
    ),
    (
        "AADSTS70008",
        ByOperator,
        "the refresh token has expired, since it was not used for too long; log in again",
    ),
    (
        "AADSTS70011",
        ByOperator,
        "scope is wrong; for client credentials it is \"https://outlook.office365.com/.default\"",
    ),
    (
        "AADSTS70043",
        ByOperator,
        "the refresh token has expired by a rule of the tenant about how often users log in; log in again",
    ),
    (
        "AADSTS900144",
        ByOperator,
        "scope is missing; set auth.oauth.scope, such as \"https://outlook.office365.com/.default\"",
    ),
    (
        "AADSTS1002012",
        ByOperator,
        "scope must end in /.default for client credentials: \"https://outlook.office365.com/.default\"",
    ),
    (
        "AADSTS500011",
        ByOperator,
        "scope names a service that the tenant does not know: \"https://outlook.office365.com/.default\"",
    ),
    ("AADSTS90002", ByOperator, "there is no such tenant; is the tenant in token-url right?"),
    ("AADSTS50034", ByOperator, "the tenant has no such account; log in again as auth.username"),
    ("AADSTS50057", ByOperator, "the account is disabled"),
    (
        "AADSTS50074",
        ByOperator,
        "the account needs a second factor; log in again on a terminal, or use client credentials",
    ),
    (
        "AADSTS50076",
        ByOperator,
        "the account needs a second factor; log in again on a terminal, or use client credentials",
    ),
    (
        "AADSTS50079",
        ByOperator,
        "the account needs a second factor; log in again on a terminal, or use client credentials",
    ),
    (
        "AADSTS50105",
        ByOperator,
        "the account is not assigned to the app; an admin assigns it in the Enterprise application",
    ),
    ("AADSTS50173", ByOperator, "the refresh token was revoked, mostly by a new password; log in again"),
    (
        "AADSTS65001",
        ByOperator,
        "nobody has consented to the app; an admin grants SMTP.SendAsApp (or SMTP.Send) to it",
    ),
    ("AADSTS53003", ByOperator, "a Conditional Access policy of the tenant forbids it"),
    ("AADSTS50196", ByItself, "the app asks too often; is it used by many hosts?"),
    ("AADSTS90006", ByItself, "the endpoint has trouble of its own"),
    ("AADSTS90012", ByItself, "the endpoint has trouble of its own"),
    ("AADSTS90024", ByItself, "the endpoint has trouble of its own"),
    ("AADSTS90033", ByItself, "the endpoint has trouble of its own"),
    ("AADSTS90055", ByItself, "the tenant asks too often"),
];

/// The errors of RFC 6749 4.1.2.1 and 5.2, RFC 8628 3.5, RFC 8707 2, OpenID Connect and Google.
const ERRORS: &[KnownDenial] = &[
    (
        "invalid_grant",
        ByOperator,
        "the refresh token or the assertion is not accepted any more; log in again (nullmta oauth login). At Google, a \
         refresh token of an app in testing dies after 7 days, and a service account needs domain-wide delegation for the \
         scope; the clock of this host must be right",
    ),
    ("invalid_client", ByOperator, "client-id and its secret or certificate do not fit"),
    ("unauthorized_client", ByOperator, "the client may not use this grant, or not this scope"),
    ("invalid_scope", ByOperator, "auth.oauth.scope is not known, or not allowed"),
    ("unsupported_grant_type", ByOperator, "the endpoint does not know this grant; is token-url right?"),
    ("invalid_request", ByOperator, "something is missing in the request, mostly auth.oauth.scope"),
    (
        "invalid_target",
        ByOperator,
        "the endpoint does not know what the token is wanted for; is auth.oauth.scope right?",
    ),
    ("access_denied", ByOperator, "the user said no, or a policy did"),
    ("expired_token", ByOperator, "the code has expired; begin again"),
    ("interaction_required", ByOperator, "the user must log in again (nullmta oauth login)"),
    ("login_required", ByOperator, "the user must log in again (nullmta oauth login)"),
    (
        "consent_required",
        ByOperator,
        "nobody has consented to the app; an admin does, or the user by a login",
    ),
    (
        "deleted_client",
        ByOperator,
        "the app was deleted at the provider; make a new one, and set its client-id",
    ),
    ("disabled_client", ByOperator, "the app is disabled at the provider"),
    ("admin_policy_enforced", ByOperator, "an admin of the domain has not allowed the app or its scope"),
    ("org_internal", ByOperator, "the app is for accounts of another organization"),
    ("temporarily_unavailable", ByItself, "the endpoint has trouble of its own"),
    ("server_error", ByItself, "the endpoint has trouble of its own"),
    ("internal_failure", ByItself, "the endpoint has trouble of its own"),
    ("rate_limit_exceeded", ByItself, "the app asks too often"),
];

/// Returns how `error` with this `description` ends, and what to do about it, if that is known. What is not known is for an
/// operator: it does not pass by being asked again.
pub(super) fn known(error: &str, description: &str) -> (DenialEnd, Option<&'static str>) {
    let code = description.trim_start().split([':', ' ']).next().unwrap_or_default();
    let of_microsoft = AADSTS.iter().find(|(known, ..)| *known == code);
    let found = of_microsoft.or_else(|| ERRORS.iter().find(|(known, ..)| *known == error));
    found.map_or((ByOperator, None), |(_, end, remedy)| (*end, Some(*remedy)))
}

/// What a relay says when it refuses a token that the endpoint has just handed out, each with what to do.
const AT_THE_RELAY: &[(&str, &str)] = &[
    (
        "5.7.139",
        "SMTP AUTH is disabled for the mailbox or the tenant: Set-CASMailbox -SmtpClientAuthenticationDisabled $false, \
         which tokens need, too",
    ),
    (
        "5.7.3",
        "the token is good and the mailbox refuses it: New-ServicePrincipal needs the Object ID of the Enterprise \
         application, not that of the app registration; the app needs SMTP.SendAsApp with admin consent and \
         Add-MailboxPermission (FullAccess) for this mailbox; auth.username is the mailbox",
    ),
    ("5.7.30", "the relay took this for a password: it wants XOAUTH2"),
    (
        "5.7.8",
        "the token is not for this mailbox, or its scope is not for SMTP (Google: https://mail.google.com/)",
    ),
];

/// Returns what to do about a relay that refuses a fresh token with the words `said`; `None` if nothing is known of it.
pub fn remedy_at_relay(said: &str) -> Option<&'static str> {
    let has = |status: &str| said.split([' ', ';', ',']).any(|word| word == status);
    AT_THE_RELAY.iter().find(|(status, _)| has(status)).map(|(_, remedy)| *remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_microsoft_goes_first() {
        let cases = [
            (
                "invalid_client",
                "AADSTS7000215: Invalid client secret provided. Ensure …",
                "Value, not its Secret ID",
            ),
            ("invalid_client", "AADSTS7000222: expired", "expired"),
            ("invalid_request", "AADSTS900144: The request body must contain …", "scope"),
            ("invalid_client", "AADSTS1: new", "do not fit"),
            ("invalid_grant", "", "nullmta oauth login"),
        ];
        for (error, description, expected) in cases {
            let (end, remedy) = known(error, description);
            assert_eq!(end, ByOperator, "{error} {description}");
            assert!(remedy.unwrap().contains(expected), "{error} {description}");
        }
        assert_eq!(known("other", ""), (ByOperator, None));
        assert_eq!(known("invalid_grant", "AADSTS90033: A transient error has occurred.").0, ByItself);
        assert_eq!(known("temporarily_unavailable", "").0, ByItself);
    }

    /// A code that is the beginning of another one must not hide it.
    #[test]
    fn each_word_is_known_once() {
        for table in [AADSTS, ERRORS] {
            for (place, (word, end, remedy)) in table.iter().enumerate() {
                assert!(table[..place].iter().all(|(earlier, ..)| earlier != word), "{word}");
                let found = if table == AADSTS { known("", &format!("{word}: x")) } else { known(word, "") };
                assert_eq!(found, (*end, Some(*remedy)), "{word}");
            }
        }
    }

    #[test]
    fn a_relay_that_refuses_a_good_token_is_explained() {
        let said = "XOAUTH2: the relay said: 535 5.7.3 Authentication unsuccessful [X]";
        assert!(remedy_at_relay(said).unwrap().contains("Enterprise application"));
        let said =
            "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox.";
        assert!(remedy_at_relay(said).unwrap().contains("Set-CASMailbox"));
        assert_eq!(remedy_at_relay("454 4.7.0 later"), None);
    }
}
