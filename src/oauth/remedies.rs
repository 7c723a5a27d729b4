//! What to do about a refusal, for the mistakes that are made most; and which refusals pass without anybody.
//!
//! Promises: one table says of each error whether an operator must act, and how. An error that is not in it is for an
//! operator.
//!
//! Sources: Microsoft's list of AADSTS codes and its guide to SMTP by OAuth; Google's guide to OAuth.

/// The grant that a token was asked for with, as far as what to do about a refusal depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenGrant {
    /// The client's own credentials (RFC 6749 4.4).
    ClientCredentials,
    /// A refresh token that an operator has put into its file (RFC 6749 6).
    RefreshToken,
    /// A login on a terminal, or the refresh token that it left (RFC 8628).
    DeviceCode,
    /// An assertion that we sign (RFC 7523 2.1).
    JwtBearer,
}

/// The way in which a denial ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DenialEnd {
    /// An operator must act.
    ByOperator,
    /// The user must log in again, which an operator sees to.
    AnotherLogin,
    /// It passes.
    ByItself,
}

use DenialEnd::{AnotherLogin, ByItself, ByOperator};

/// A word of an endpoint, how that ends, and what to do about it.
type KnownDenial = (&'static str, DenialEnd, &'static str);

const SECOND_FACTOR: &str =
    "the account needs a second factor; log in again on a terminal, or use client credentials";
const NO_TENANT: &str = "token-url names no tenant; put the tenant's ID in the place of \"common\"";

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
    ("AADSTS700082", AnotherLogin, "the refresh token has expired, since it was not used for too long"),
    (
        "AADSTS700084",
        AnotherLogin,
        "the refresh token is that of a page in a browser, and is dead after 24 hours",
    ),
    ("AADSTS70008", AnotherLogin, "the refresh token has expired, since it was not used for too long"),
    (
        "AADSTS70011",
        ByOperator,
        "scope is wrong; for client credentials it is \"https://outlook.office365.com/.default\"",
    ),
    (
        "AADSTS70043",
        AnotherLogin,
        "the refresh token has expired by a rule of the tenant about how often users log in",
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
    (
        "AADSTS900023",
        ByOperator,
        "token-url names no tenant; put the tenant's ID or one of its domains there, and into device-url",
    ),
    (
        "AADSTS50194",
        ByOperator,
        "the app is for one tenant, and token-url says \"common\"; put that tenant's ID there, and into device-url",
    ),
    ("AADSTS50059", ByOperator, NO_TENANT),
    ("AADSTS90019", ByOperator, NO_TENANT),
    (
        "AADSTS9001023",
        ByOperator,
        "this grant needs a tenant; put the tenant's ID in the place of \"common\" in token-url and device-url",
    ),
    (
        "AADSTS700025",
        ByOperator,
        "the app is public, and proves nothing; leave client-secret-file, or client-certificate and key-file, out",
    ),
    ("AADSTS50034", ByOperator, "the tenant has no such account; log in again as auth.username"),
    ("AADSTS50057", ByOperator, "the account is disabled"),
    ("AADSTS50074", ByOperator, SECOND_FACTOR),
    ("AADSTS50076", ByOperator, SECOND_FACTOR),
    ("AADSTS50079", ByOperator, SECOND_FACTOR),
    (
        "AADSTS50105",
        ByOperator,
        "the account is not assigned to the app; an admin assigns it in the Enterprise application",
    ),
    ("AADSTS50173", AnotherLogin, "the refresh token was revoked, mostly by a new password"),
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

/// The errors of RFC 6749 5.2 whose cause depends on the grant.
const BY_GRANT: &[(&str, &[TokenGrant], DenialEnd, &str)] = &[
    (
        "invalid_grant",
        &[TokenGrant::RefreshToken, TokenGrant::DeviceCode],
        AnotherLogin,
        "the refresh token is not accepted any more (that of an app in testing at Google dies after 7 days)",
    ),
    (
        "invalid_grant",
        &[TokenGrant::JwtBearer],
        ByOperator,
        "the assertion is not accepted; is the clock of this host right, is key-file still a key of the service account, is \
         client-id (or client_email in key-file) the account's e-mail address, and may it act for auth.username \
         (domain-wide delegation for the scope)?",
    ),
    (
        "invalid_grant",
        &[TokenGrant::ClientCredentials],
        ByOperator,
        "the client's proof is not accepted; is the clock of this host right, and does the secret, or the certificate and \
         its key, belong to client-id?",
    ),
    (
        "unauthorized_client",
        &[TokenGrant::JwtBearer],
        ByOperator,
        "the service account may not act for this user with this scope; an admin of the domain gives its client ID \
         domain-wide delegation for auth.oauth.scope (https://mail.google.com/)",
    ),
    (
        "unauthorized_client",
        &[TokenGrant::RefreshToken],
        ByOperator,
        "the refresh token was given to another client-id, or the client may not use this grant or this scope",
    ),
    (
        "unauthorized_client",
        &[TokenGrant::ClientCredentials, TokenGrant::DeviceCode],
        ByOperator,
        "the client may not use this grant, or not this scope; allow it in the registration of the app",
    ),
];

/// The errors of RFC 6749 4.1.2.1 and 5.2, RFC 8628 3.5, RFC 8707 2, OpenID Connect and Google.
const ERRORS: &[KnownDenial] = &[
    ("invalid_client", ByOperator, "client-id and its secret or certificate do not fit"),
    ("invalid_scope", ByOperator, "auth.oauth.scope is not known, or not allowed"),
    ("unsupported_grant_type", ByOperator, "the endpoint does not know this grant; is token-url right?"),
    ("invalid_request", ByOperator, "something is missing in the request, mostly auth.oauth.scope"),
    (
        "invalid_target",
        ByOperator,
        "the endpoint does not know what the token is wanted for; is auth.oauth.scope right?",
    ),
    ("access_denied", ByOperator, "the user said no, or a policy did"),
    // The word of Microsoft for it.
    ("authorization_declined", ByOperator, "the user said no, or a policy did"),
    ("expired_token", ByOperator, "the code has expired; begin again"),
    ("interaction_required", AnotherLogin, "the provider asks for the user"),
    ("login_required", AnotherLogin, "the provider asks for the user"),
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
pub(super) fn known(grant: TokenGrant, error: &str, description: &str) -> (DenialEnd, Option<String>) {
    let code = description.trim_start().split([':', ' ']).next().unwrap_or_default();
    let in_table = |table: &'static [KnownDenial], word: &str| {
        table.iter().find(|(known, ..)| *known == word).map(|(_, end, words)| (*end, *words))
    };
    let by_grant = || {
        let fits = |known: &str, grants: &[TokenGrant]| known == error && grants.contains(&grant);
        let found = BY_GRANT.iter().find(|(known, grants, ..)| fits(known, grants));
        found.map(|(.., end, words)| (*end, *words))
    };
    match in_table(AADSTS, code).or_else(by_grant).or_else(|| in_table(ERRORS, error)) {
        Some((AnotherLogin, words)) => (AnotherLogin, Some(format!("{words}; {}", login_again(grant)))),
        Some((end, words)) => (end, Some(words.into())),
        None => (ByOperator, None),
    }
}

/// Returns the way to log in again, where tokens are asked for with `grant`.
fn login_again(grant: TokenGrant) -> &'static str {
    match grant {
        TokenGrant::DeviceCode => "log in again (nullmta oauth login)",
        TokenGrant::RefreshToken => {
            "log in again, and put the new refresh token into auth.oauth.refresh-token-file"
        }
        TokenGrant::ClientCredentials | TokenGrant::JwtBearer => "log in again",
    }
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
        "either the token is not for SMTP (auth.oauth.scope, the tenant in token-url), or it is good and the mailbox refuses \
         it: New-ServicePrincipal needs the Object ID of the Enterprise application, not that of the app registration; the app \
         needs SMTP.SendAsApp with admin consent and Add-MailboxPermission (FullAccess) for this mailbox; auth.username is the \
         mailbox",
    ),
    ("5.7.30", "the relay took this for a password: it wants XOAUTH2"),
    (
        "5.7.8",
        "the token is not for this mailbox, or its scope is not for SMTP (Google: https://mail.google.com/)",
    ),
];

/// The statuses that mean this at Microsoft's relays alone, and elsewhere that the proof is not accepted.
const ONLY_AT_MICROSOFT: &[&str] = &["5.7.3"];
/// What to do about them elsewhere.
const ELSEWHERE: &str = "the token is not for this mailbox, or its scope not for this relay: are auth.username and \
                         auth.oauth.scope right?";
/// The ends of the names of Microsoft's relays.
const MICROSOFT: &[&str] = &[".office365.com", ".outlook.com", ".office365.us", ".outlook.cn"];

/// Returns what to do about the relay `host` that refuses a fresh token with the words `said`; `None` if nothing is known of
/// it.
pub fn remedy_at_relay(host: &str, said: &str) -> Option<&'static str> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let is_microsoft = MICROSOFT.iter().any(|end| host.ends_with(end));
    let has = |status: &str| said.split([' ', ';', ',']).any(|word| word == status);
    let (status, remedy) = AT_THE_RELAY.iter().find(|(status, _)| has(status))?;
    let is_foreign = !is_microsoft && ONLY_AT_MICROSOFT.contains(status);
    Some(if is_foreign { ELSEWHERE } else { remedy })
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
            (
                "invalid_request",
                "AADSTS900023: Specified tenant identifier 'TENANT' is neither …",
                "names no tenant",
            ),
            (
                "unauthorized_client",
                "AADSTS50194: Application 'x'(app) is not configured as a multi-tenant application. Usage of …",
                "token-url says \"common\"",
            ),
        ];
        for (error, description, expected) in cases {
            let (end, remedy) = known(TokenGrant::ClientCredentials, error, description);
            assert_eq!(end, ByOperator, "{error} {description}");
            assert!(remedy.unwrap().contains(expected), "{error} {description}");
        }
        let known = |error, description| known(TokenGrant::RefreshToken, error, description);
        assert_eq!(known("other", ""), (ByOperator, None));
        assert_eq!(known("invalid_grant", "AADSTS90033: A transient error has occurred.").0, ByItself);
        assert_eq!(known("temporarily_unavailable", "").0, ByItself);
    }

    /// A service account was told to log in on a terminal, and one whose refresh token comes from elsewhere to use a
    /// command that knows no login for it.
    #[test]
    fn what_to_do_depends_on_the_grant() {
        use TokenGrant::{ClientCredentials, DeviceCode, JwtBearer, RefreshToken};
        let expired = "AADSTS700082: The refresh token has expired due to inactivity.";
        let by_hand = "put the new refresh token into auth.oauth.refresh-token-file";
        let cases = [
            (
                DeviceCode,
                "invalid_grant",
                "",
                AnotherLogin,
                "dies after 7 days); log in again (nullmta oauth login)",
            ),
            (
                DeviceCode,
                "invalid_grant",
                expired,
                AnotherLogin,
                "too long; log in again (nullmta oauth login)",
            ),
            (RefreshToken, "invalid_grant", "", AnotherLogin, by_hand),
            (RefreshToken, "invalid_grant", expired, AnotherLogin, by_hand),
            (RefreshToken, "login_required", "", AnotherLogin, by_hand),
            (RefreshToken, "unauthorized_client", "", ByOperator, "given to another client-id"),
            (
                JwtBearer,
                "invalid_grant",
                "Invalid JWT Signature.",
                ByOperator,
                "is the clock of this host right",
            ),
            (JwtBearer, "invalid_grant", "", ByOperator, "domain-wide delegation for the scope"),
            (JwtBearer, "unauthorized_client", "", ByOperator, "an admin of the domain gives its client ID"),
            (ClientCredentials, "invalid_grant", "", ByOperator, "the client's proof is not accepted"),
            (ClientCredentials, "unauthorized_client", "", ByOperator, "allow it in the registration"),
        ];
        for (grant, error, description, end, expected) in cases {
            let (found, remedy) = known(grant, error, description);
            let remedy = remedy.unwrap();
            assert!(found == end && remedy.contains(expected), "{grant:?} {error}: {remedy}");
            let can_log_in = grant == DeviceCode;
            assert_eq!(
                remedy.contains("nullmta oauth login"),
                can_log_in && end == AnotherLogin,
                "{grant:?} {error}"
            );
        }
    }

    /// A code that is the beginning of another one must not hide it.
    #[test]
    fn each_word_is_known_once() {
        let known = |error: &str, description: &str| known(TokenGrant::DeviceCode, error, description);
        for table in [AADSTS, ERRORS] {
            for (place, (word, end, remedy)) in table.iter().enumerate() {
                assert!(table[..place].iter().all(|(earlier, ..)| earlier != word), "{word}");
                let (found, words) =
                    if table == AADSTS { known("", &format!("{word}: x")) } else { known(word, "") };
                assert!(found == *end && words.unwrap().starts_with(remedy), "{word}");
            }
        }
        for (place, (word, grants, ..)) in BY_GRANT.iter().enumerate() {
            let is_other = |(earlier, of, ..): &(&str, &[TokenGrant], DenialEnd, &str)| {
                earlier != word || of.iter().all(|grant| !grants.contains(grant))
            };
            assert!(BY_GRANT[..place].iter().all(is_other), "{word}");
        }
    }

    #[test]
    fn a_relay_that_refuses_a_good_token_is_explained() {
        let said = "XOAUTH2: the relay said: 535 5.7.3 Authentication unsuccessful [X]";
        let remedy = |said| remedy_at_relay("smtp.Office365.com.", said);
        assert!(
            remedy(said).unwrap().contains("or it is good and the mailbox refuses it: New-ServicePrincipal")
        );
        assert_eq!(remedy_at_relay("smtp.example.com", said), Some(ELSEWHERE));
        assert_eq!(remedy_at_relay("myoffice365.com", said), Some(ELSEWHERE));
        for host in ["smtp.office365.us", "smtp-mail.outlook.com", "smtp.partner.outlook.cn"] {
            assert_eq!(remedy_at_relay(host, said), remedy(said), "{host}");
        }
        let said =
            "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox.";
        assert!(remedy(said).unwrap().contains("Set-CASMailbox"));
        assert_eq!(remedy("454 4.7.0 later"), None);
    }
}
