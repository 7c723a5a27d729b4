//! Doubts about an `[auth.oauth]` that has all its keys, and that its endpoint will refuse all the same.
//!
//! Promises: each sentence says what will be refused and what to set. Nobody is asked, and no file is read.
//!
//! Not here: what the endpoint says to it (`oauth/remedies.rs`), the files (`oauth.rs`).

use super::oauth::{OAuthConfig, OAuthGrant};
use super::relayhost::HostOrIp;
use super::web_address::WebAddress;

/// The ends of the names of Microsoft's token endpoints.
const MICROSOFT: [&str; 3] =
    ["login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn"];

/// The name of Google's token endpoint.
const GOOGLE: &str = "oauth2.googleapis.com";

impl OAuthConfig {
    /// Returns a sentence for each thing that the endpoint is known to refuse.
    pub fn doubts(&self) -> Vec<&'static str> {
        [self.unnamed_tenant(), self.missing_scope()].into_iter().flatten().collect()
    }

    fn unnamed_tenant(&self) -> Option<&'static str> {
        let device_url = match &self.grant {
            OAuthGrant::RefreshToken { device_url, .. } => device_url.as_ref(),
            OAuthGrant::ClientCredentials { .. } | OAuthGrant::JwtBearer { .. } => None,
        };
        let is_unnamed = |url: &WebAddress| url.path.split('/').any(|part| part == "TENANT");
        let is_it = std::iter::once(&self.token_url).chain(device_url).any(is_unnamed);
        is_it.then_some(
            "auth.oauth.token-url or device-url says TENANT: no token will be given, and mail will wait; put the tenant's ID, \
             or one of its domains, in its place",
        )
    }

    fn missing_scope(&self) -> Option<&'static str> {
        if self.scope.is_some() {
            return None;
        }
        let HostOrIp::Name(host) = &self.token_url.host else { return None };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        match &self.grant {
            OAuthGrant::ClientCredentials { .. } if MICROSOFT.contains(&host.as_str()) => Some(
                "auth.oauth.scope is missing: Microsoft will give no token (AADSTS900144), and mail will wait; set \
                 \"https://outlook.office365.com/.default\"",
            ),
            OAuthGrant::RefreshToken { .. } if MICROSOFT.contains(&host.as_str()) => Some(
                "auth.oauth.scope is missing: Microsoft will give no token (AADSTS900144), and mail will wait; set \
                 \"https://outlook.office.com/SMTP.Send offline_access\"",
            ),
            OAuthGrant::JwtBearer { .. } if host == GOOGLE => Some(
                "auth.oauth.scope is missing: Google will give no token, and mail will wait; set \"https://mail.google.com/\"",
            ),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Environment};

    fn doubts(grant: &str, url: &str, more: &str) -> Vec<&'static str> {
        let keys = match grant {
            "client-credentials" => "client-id = 'app'\nclient-secret-file = '/s'",
            "jwt-bearer" => "key-file = '/k'",
            _ => "client-id = 'app'\nrefresh-token-file = '/r'",
        };
        let text = format!(
            "relayhost = 'smtp.example.com'\nauth.username = 'u'\n[auth.oauth]\ngrant = '{grant}'\ntoken-url = '{url}'\n{keys}\n\
             {more}\n"
        );
        let environment = Environment { hostname: "web1.example.com".into() };
        let config = Config::parse(&text, "x.toml".as_ref(), &environment).unwrap();
        config.relay.auth.unwrap().secret.oauth().unwrap().doubts()
    }

    /// `check` said "ok" of them, and the first message waited.
    #[test]
    fn what_the_endpoint_will_refuse_is_said_ahead() {
        let microsoft = "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token";
        let placeholder = "https://login.microsoftonline.com/TENANT/oauth2/v2.0/token";
        let google = "https://oauth2.googleapis.com/token";
        let scope = "scope = 'x'";
        let cases: [(&str, &str, &str, &[&str]); 9] = [
            ("client-credentials", microsoft, scope, &[]),
            ("client-credentials", placeholder, scope, &["says TENANT"]),
            ("client-credentials", microsoft, "", &["https://outlook.office365.com/.default"]),
            (
                "client-credentials",
                placeholder,
                "",
                &["says TENANT", "https://outlook.office365.com/.default"],
            ),
            ("refresh-token", microsoft, "", &["SMTP.Send offline_access"]),
            ("refresh-token", google, "", &[]),
            ("jwt-bearer", google, "", &["https://mail.google.com/"]),
            ("jwt-bearer", google, scope, &[]),
            ("client-credentials", "https://login.example.com/token", "", &[]),
        ];
        for (grant, url, more, expected) in cases {
            let found = doubts(grant, url, more);
            assert_eq!(found.len(), expected.len(), "{grant} {url}: {found:?}");
            assert!(
                found.iter().zip(expected).all(|(found, part)| found.contains(part)),
                "{grant} {url}: {found:?}"
            );
        }
        let device = format!("device-url = '{}'\nscope = 'x'", placeholder.replace("token", "devicecode"));
        assert_eq!(doubts("device-code", microsoft, &device).len(), 1);
    }
}
