//! What to do about a refusal, for the mistakes that are made most.
//!
//! Sources: Microsoft's list of AADSTS codes and its guide to SMTP by OAuth; Google's guide to OAuth.

/// The codes of Microsoft that begin an `error_description`, each with what to do.
const AADSTS: &[(&str, &str)] = &[
    (
        "AADSTS7000215",
        "the client secret is wrong; client-secret-file must hold the secret's Value, not its Secret ID",
    ),
    (
        "AADSTS7000222",
        "the client secret has expired; make a new one in the app registration and put it into the file",
    ),
    (
        "AADSTS700016",
        "the tenant knows no app with this client-id; is the id, and the tenant in token-url, right?",
    ),
    (
        "AADSTS900144",
        "scope is missing; set auth.oauth.scope, such as \"https://outlook.office365.com/.default\"",
    ),
    (
        "AADSTS1002012",
        "scope must end in /.default for client credentials: \"https://outlook.office365.com/.default\"",
    ),
    (
        "AADSTS70011",
        "scope is wrong; for client credentials it is \"https://outlook.office365.com/.default\"",
    ),
    ("AADSTS90002", "there is no such tenant; is the tenant in token-url right?"),
    ("AADSTS700027", "the certificate is not one of the app registration; upload client-certificate there"),
    ("AADSTS700024", "the assertion was not valid at this time; is the clock of this host right?"),
    ("AADSTS70008", "the refresh token has expired, since it was not used for too long; log in again"),
    ("AADSTS700082", "the refresh token has expired, since it was not used for too long; log in again"),
    ("AADSTS50173", "the refresh token was revoked, mostly by a new password; log in again"),
    (
        "AADSTS50076",
        "the account needs a second factor; log in again on a terminal, or use client credentials",
    ),
    (
        "AADSTS50079",
        "the account needs a second factor; log in again on a terminal, or use client credentials",
    ),
    ("AADSTS65001", "nobody has consented to the app; an admin grants SMTP.SendAsApp (or SMTP.Send) to it"),
    (
        "AADSTS7000218",
        "the app is not public; set client-secret-file, or allow public client flows in its registration",
    ),
    ("AADSTS7000112", "the app is disabled in the tenant"),
    ("AADSTS53003", "a Conditional Access policy of the tenant forbids it"),
];

/// The errors of RFC 6749 5.2 and RFC 8628 3.5, each with what to do.
const ERRORS: &[(&str, &str)] = &[
    (
        "invalid_grant",
        "the refresh token or the assertion is not accepted any more; log in again (nullmta oauth login). At Google, a \
         refresh token of an app in testing dies after 7 days, and a service account needs domain-wide delegation for the \
         scope; the clock of this host must be right",
    ),
    ("invalid_client", "client-id and its secret or certificate do not fit"),
    ("unauthorized_client", "the client may not use this grant, or not this scope"),
    ("invalid_scope", "auth.oauth.scope is not known, or not allowed"),
    ("unsupported_grant_type", "the endpoint does not know this grant; is token-url right?"),
    ("invalid_request", "something is missing in the request, mostly auth.oauth.scope"),
    ("access_denied", "the user said no, or a policy did"),
    ("expired_token", "the code has expired; begin again"),
];

/// Returns what to do about `error` with this `description`; `None` if nothing is known of it.
pub(super) fn remedy(error: &str, description: &str) -> Option<&'static str> {
    let code = description.trim_start().split([':', ' ']).next().unwrap_or_default();
    let found = AADSTS.iter().find(|(known, _)| *known == code);
    found.or_else(|| ERRORS.iter().find(|(known, _)| *known == error)).map(|(_, remedy)| *remedy)
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
        let secret =
            remedy("invalid_client", "AADSTS7000215: Invalid client secret provided. Ensure …").unwrap();
        assert!(secret.contains("Value, not its Secret ID"));
        assert!(remedy("invalid_client", "AADSTS7000222: expired").unwrap().contains("expired"));
        assert!(
            remedy("invalid_request", "AADSTS900144: The request body must contain …")
                .unwrap()
                .contains("scope")
        );
        assert!(remedy("invalid_client", "AADSTS1: new").unwrap().contains("do not fit"));
        assert!(remedy("invalid_grant", "").unwrap().contains("nullmta oauth login"));
        assert_eq!(remedy("other", ""), None);
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
