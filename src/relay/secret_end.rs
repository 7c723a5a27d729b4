//! Says ahead when the client secret of `[auth.oauth]` expires: no token says so, and only the operator knows the date
//! (`auth.oauth.secret-expires`).
//!
//! Promises: the secret is told of from two weeks before that day, whose beginning (UTC) counts as its end; it is logged once
//! a day, while there are connections.
//!
//! Not here: a secret that has expired, which the endpoint says (`oauth/remedies.rs`); certificates (`expiry.rs`).

use jiff::tz::TimeZone;

use super::expiry::soon;
use super::remembered::Remembered;
use crate::config::RelayConfig;
use crate::log;

/// The end of the client secret of one relay.
#[derive(Default)]
pub(super) struct SecretEnd {
    /// In seconds since 1970; `None` if nobody has said it.
    until: Option<i64>,
    told: Remembered,
}

impl SecretEnd {
    pub(super) fn of(settings: &RelayConfig) -> Self {
        let oauth = settings.auth.as_ref().and_then(|auth| auth.secret.oauth());
        let day = oauth.and_then(|oauth| oauth.secret_expires());
        let until = day.and_then(|day| day.to_zoned(TimeZone::UTC).ok());
        SecretEnd { until: until.map(|day| day.timestamp().as_second()), told: Remembered::default() }
    }

    /// Returns a sentence if the secret expires within two weeks after `now`, in seconds since 1970.
    pub(super) fn notice(&self, now: i64) -> Option<String> {
        let whose = "the client secret in auth.oauth.client-secret-file";
        let remedy = "make a new one at the provider, put it into the file, and its end into auth.oauth.secret-expires";
        soon(whose, self.until?, now, remedy)
    }

    /// Logs this sentence, unless that was done within the last day.
    pub(super) fn log(&self, route: Option<&str>, now: i64) {
        if let Some(notice) = self.notice(now)
            && !self.told.is_now()
            && self.told.begin()
        {
            log::client_secret_expires(route, &notice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};
    use crate::journal::testing::Captured;

    const DAY: i64 = 24 * 60 * 60;
    /// The first of January 2030.
    const END: i64 = 1_893_456_000;

    fn end_of(key: &str) -> SecretEnd {
        let text = format!(
            "relayhost = 'smtp.example.com'\nauth.username = 'u'\n[auth.oauth]\ngrant = 'client-credentials'\n\
             token-url = 'https://login.example.com/token'\nclient-id = 'app'\nclient-secret-file = '/s'\n{key}\n"
        );
        let environment = Environment { hostname: "web1.example.com".into() };
        SecretEnd::of(&Config::parse(&text, "x.toml".as_ref(), &environment).unwrap().relay)
    }

    /// A secret ended in the night, and the first who heard of it was whoever missed the mail.
    #[test]
    fn a_secret_is_told_of_two_weeks_before_its_end() {
        let end = end_of("secret-expires = 2030-01-01");
        for (before, expected) in [
            (15 * DAY, None),
            (14 * DAY - 1, Some("expires in 13 days, on 2030-01-01: make a new one at the provider")),
            (DAY / 2, Some("expires within a day, on 2030-01-01: ")),
            (0, Some("expired on 2030-01-01: ")),
        ] {
            let notice = end.notice(END - before);
            let begins =
                format!("the client secret in auth.oauth.client-secret-file {}", expected.unwrap_or(""));
            assert_eq!(
                notice.as_ref().map(|notice| notice.starts_with(&begins)),
                expected.map(|_| true),
                "{notice:?}"
            );
        }
        assert_eq!(end_of("").notice(END), None);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_logged_once_a_day() {
        let log = Captured::default();
        let written = log.clone();
        let journal = tracing_subscriber::fmt().with_ansi(false).without_time().with_target(false);
        let _guard = tracing::subscriber::set_default(journal.with_writer(move || written.clone()).finish());
        let end = end_of("secret-expires = '2030-01-01'");
        for (hours, lines) in [(0, 1), (23, 1), (2, 2)] {
            tokio::time::advance(std::time::Duration::from_secs(3600 * hours)).await;
            end.log(None, END);
            assert_eq!(log.text().lines().count(), lines, "{}", log.text());
        }
    }
}
