//! Says ahead what is about to expire: the certificates that a relay shows, its authorities, our own for it, and the client
//! secret of `[auth.oauth]`.
//!
//! Promises: a certificate is told of from two weeks before its end: our own, each authority in `tls.ca-file`, and those
//! that the relay showed at the last handshake. Where the relay is known by a pinned key, no dates are checked, and its own
//! certificate is told of only ahead, since the next one may have another key. So is a client secret from two weeks before the
//! day in `auth.oauth.secret-expires`, whose beginning (UTC) counts as its end: no token says it, and only the operator knows
//! it. Each is logged once a day, while there are connections.
//!
//! Not here: what has expired (`distrust.rs`, `oauth/remedies.rs`), the dates in a certificate (`certificate.rs`).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::tz::TimeZone;
use rustls::pki_types::CertificateDer;

use super::certificate::{issuer_of, subject_of, validity_of};
use super::distrust::day;
use super::remembered::Remembered;
use crate::config::RelayConfig;
use crate::log;

const DAY: i64 = 24 * 60 * 60;
/// The time before its end from which it is told of.
const NOTICE: i64 = 14 * DAY;

/// The certificates of one relay, and ours for it; or the client secret for it.
#[derive(Default)]
pub(crate) struct Expiries {
    kind: Dated,
    /// What is in files: our own certificate, with those of its issuers, and the authorities; or the secret.
    kept: Vec<Expiry>,
    authorities: Vec<CertificateDer<'static>>,
    /// Those that were shown at the last handshake, by the name that was expected.
    shown: Mutex<BTreeMap<String, Vec<Expiry>>>,
    told: Remembered,
}

/// The kind of what expires.
#[derive(Clone, Copy, Debug, Default)]
enum Dated {
    #[default]
    Certificate,
    ClientSecret,
}

/// The end of one certificate, or of the secret.
struct Expiry {
    /// What expires, as the beginning of a sentence.
    whose: String,
    /// In seconds since 1970.
    until: i64,
    /// What to do about it.
    remedy: &'static str,
    /// True if mail goes on after the end, so that nothing is said of it any more.
    is_harmless: bool,
}

/// The end of a certificate or a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownExpiry {
    /// What expires, as the beginning of a sentence.
    pub what: String,
    /// In seconds since 1970.
    pub until: i64,
}

impl Expiries {
    /// Returns the expiries with the chain of our own certificate, which is empty if there is none, and with the
    /// authorities in `tls.ca-file`.
    pub(crate) fn new(ours: &[CertificateDer<'_>], authorities: &[CertificateDer<'static>]) -> Self {
        let ours = ours.iter().enumerate().filter_map(|(place, certificate)| {
            let until = validity_of(certificate)?.1;
            let whose = match place {
                0 => "the certificate of this host for the relay (tls.client-certificate)".into(),
                _ => "the certificate of an issuer in tls.client-certificate".into(),
            };
            Some(Expiry { whose, until, remedy: "put a new one there, and reload", is_harmless: false })
        });
        let of_authorities = authorities.iter().filter_map(|certificate| {
            let until = validity_of(certificate)?.1;
            let name = subject_of(certificate).unwrap_or_else(|| "without a name".into());
            let whose = format!("the certificate of the authority {name} in tls.ca-file");
            let remedy = "the relay will soon show a certificate of another one: put the new authority beside it, and reload";
            Some(Expiry { whose, until, remedy, is_harmless: false })
        });
        Expiries {
            kept: ours.chain(of_authorities).collect(),
            authorities: authorities.into(),
            ..Expiries::default()
        }
    }

    /// Returns the end of the client secret of `settings`, if its day is said there.
    pub(crate) fn of_client_secret(settings: &RelayConfig) -> Self {
        let oauth = settings.auth.as_ref().and_then(|auth| auth.secret.oauth());
        let day = oauth.and_then(|oauth| oauth.secret_expires());
        let until = day.and_then(|day| day.to_zoned(TimeZone::UTC).ok());
        let expiry = until.map(|until| Expiry {
            whose: "the client secret in auth.oauth.client-secret-file".into(),
            until: until.timestamp().as_second(),
            remedy: "make a new one at the provider, put it into the file, and its end into auth.oauth.secret-expires",
            is_harmless: false,
        });
        Expiries { kind: Dated::ClientSecret, kept: Vec::from_iter(expiry), ..Expiries::default() }
    }

    /// Notes the certificates that a relay has shown under the name `expected`, its own first. One of an authority in
    /// `tls.ca-file` is told of already.
    pub(crate) fn note(&self, expected: &str, shown: &[CertificateDer<'_>]) {
        let is_told = |(place, shown): &(usize, &CertificateDer<'_>)| {
            *place > 0 && self.authorities.iter().any(|authority| authority == *shown)
        };
        let shown = shown.iter().enumerate().filter(|shown| !is_told(shown));
        let expiries = shown.filter_map(|(place, certificate)| {
            let until = validity_of(certificate)?.1;
            let issuer = issuer_of(certificate).unwrap_or_else(|| "an issuer without a name".into());
            let whose = match place {
                0 => format!("the certificate of the relay {expected}, issued by {issuer},"),
                _ => format!(
                    "the certificate of an issuer that the relay {expected} shows, issued by {issuer},"
                ),
            };
            let remedy = "from then on no mail goes there: have it renewed";
            Some(Expiry { whose, until, remedy, is_harmless: false })
        });
        self.set_shown(expected, expiries.collect());
    }

    /// Notes the certificate of a relay that is known by its pinned key, under the name `expected`.
    pub(crate) fn note_pinned(&self, expected: &str, certificate: &CertificateDer<'_>) {
        let expiry = validity_of(certificate).map(|(_, until)| Expiry {
            whose: format!("the certificate of the relay {expected}, whose key is pinned,"),
            until,
            remedy: "the next one may have another key, and then no mail goes there: add its pin to tls.pin-sha256 in time",
            is_harmless: true,
        });
        self.set_shown(expected, Vec::from_iter(expiry));
    }

    fn set_shown(&self, expected: &str, expiries: Vec<Expiry>) {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).insert(expected.into(), expiries);
    }

    /// Returns a sentence for each of them that expires within two weeks after `now`, in seconds since 1970.
    pub(crate) fn notices(&self, now: i64) -> Vec<String> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self.kept.iter().chain(shown.values().flatten());
        let worth_telling = all.filter(|expiry| !(expiry.is_harmless && expiry.until <= now));
        worth_telling.filter_map(|expiry| soon(&expiry.whose, expiry.until, now, expiry.remedy)).collect()
    }

    /// Returns all of them whose end matters after `now`, in seconds since 1970, however far away it is.
    pub(crate) fn ends(&self, now: i64) -> Vec<KnownExpiry> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self.kept.iter().chain(shown.values().flatten());
        let matters = all.filter(|expiry| !(expiry.is_harmless && expiry.until <= now));
        matters.map(|expiry| KnownExpiry { what: expiry.whose.clone(), until: expiry.until }).collect()
    }

    /// Returns the same at a start, which logs them: a client secret is not logged again within the next day. For
    /// certificates the relay may show others, which are logged with them.
    pub(crate) fn notices_at_start(&self, now: i64) -> Vec<String> {
        let notices = self.notices(now);
        if matches!(self.kind, Dated::ClientSecret) && !notices.is_empty() {
            self.told.begin();
        }
        notices
    }

    /// Logs these sentences, unless that was done within the last day.
    pub(crate) fn log(&self, route: Option<&str>, now: i64) {
        let notices = self.notices(now);
        if !notices.is_empty() && !self.told.is_now() && self.told.begin() {
            let line = match self.kind {
                Dated::Certificate => log::certificate_expires,
                Dated::ClientSecret => log::client_secret_expires,
            };
            notices.iter().for_each(|notice| line(route, notice));
        }
    }
}

/// Returns a sentence if what `whose` names expires at `until`, within two weeks after `now`; both in seconds since 1970.
fn soon(whose: &str, until: i64, now: i64, remedy: &str) -> Option<String> {
    (until - now < NOTICE).then(|| match (until - now) / DAY {
        _ if until <= now => format!("{whose} expired on {}: {remedy}", day(until)),
        0 => format!("{whose} expires within a day, on {}: {remedy}", day(until)),
        days => format!("{whose} expires in {}, on {}: {remedy}", log::counted(days, "day"), day(until)),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::authority::Authority;
    use super::*;
    use crate::config::{Config, Environment};
    use crate::journal::testing::Captured;

    /// The first of January 2030.
    const END: i64 = 1_893_456_000;

    /// A relay's certificate ended on a Sunday, and the first who heard of it was whoever missed the mail.
    #[test]
    fn a_certificate_is_told_of_two_weeks_before_its_end() {
        let authority = Authority::named("Our CA");
        let (short, long) =
            (authority.issue(&["mx.example"], (2020, 2030)), authority.identity("mx.example"));
        let expiries = Expiries::new(&[], &[]);
        let chain = [short.chain(), long.chain()].concat();
        expiries.note("mx.example", &chain);
        for (before, expected) in [
            (15 * DAY, None),
            (14 * DAY - 1, Some("expires in 13 days, on 2030-01-01")),
            (DAY / 2, Some("expires within a day, on 2030-01-01")),
            (0, Some("expired on 2030-01-01")),
        ] {
            let notices = expiries.notices(END - before);
            let expected = expected.map(|expires| {
                format!(
                    "the certificate of the relay mx.example, issued by Our CA, {expires}: from then on no mail goes \
                     there: have it renewed"
                )
            });
            assert_eq!(notices, Vec::from_iter(expected));
        }
        let issuers = Expiries::new(&[], &[]);
        issuers.note("mx.example", &[long.chain(), short.chain()].concat());
        let [notice] = &issuers.notices(END)[..] else { panic!("{:?}", issuers.notices(END)) };
        assert!(
            notice.starts_with("the certificate of an issuer that the relay mx.example shows"),
            "{notice}"
        );
        issuers.note("mx.example", &long.chain());
        assert!(issuers.notices(END).is_empty(), "it was renewed");
    }

    #[test]
    fn our_own_is_told_of_as_well() {
        let ours = Authority::new().issue(&["web1.example"], (2020, 2030));
        assert_eq!(
            Expiries::new(&ours.chain(), &[]).notices(END - 3 * DAY),
            [
                "the certificate of this host for the relay (tls.client-certificate) expires in 3 days, on 2030-01-01: \
              put a new one there, and reload"
            ]
        );
    }

    /// An authority of a company's own ended, and all mail waited from the day on which the relay got its next certificate.
    #[test]
    fn an_authority_in_the_ca_file_is_told_of_as_well() {
        let authority = Authority::new().issue_as(&[], |parameters| {
            parameters.distinguished_name.push(rcgen::DnType::CommonName, "Our CA");
            parameters.not_after = rcgen::date_time_ymd(2030, 1, 1);
        });
        let expiries = Expiries::new(&[], &authority.chain());
        let said = |before: i64| expiries.notices(END - before).concat();
        assert_eq!(said(15 * DAY), "");
        assert!(said(3 * DAY).starts_with(
            "the certificate of the authority Our CA in tls.ca-file expires in 3 days, on 2030-01-01: the relay will soon"
        ));
        assert!(said(-DAY).contains(" expired on 2030-01-01: "), "{}", said(-DAY));
    }

    /// Its dates are not checked, but the next certificate has another key as a rule.
    #[test]
    fn a_pinned_certificate_is_told_of_ahead() {
        let pinned = Authority::new().issue(&["mx.example"], (2020, 2030));
        let expiries = Expiries::new(&[], &[]);
        expiries.note_pinned("mx.example", &pinned.chain()[0]);
        let said = |before: i64| expiries.notices(END - before).concat();
        assert!(said(3 * DAY).starts_with(
            "the certificate of the relay mx.example, whose key is pinned, expires in 3 days, on 2030-01-01: the next one may"
        ));
        assert_eq!((said(15 * DAY), said(0)), (String::new(), String::new()));
    }

    fn end_of(key: &str) -> Expiries {
        let text = format!(
            "relayhost = 'smtp.example.com'\nauth.username = 'u'\n[auth.oauth]\ngrant = 'client-credentials'\n\
             token-url = 'https://login.example.com/token'\nclient-id = 'app'\nclient-secret-file = '/s'\n{key}\n"
        );
        let environment = Environment { hostname: "web1.example.com".into() };
        Expiries::of_client_secret(&Config::parse(&text, "x.toml".as_ref(), &environment).unwrap().relay)
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
            let notice = end.notices(END - before).pop();
            let begins =
                format!("the client secret in auth.oauth.client-secret-file {}", expected.unwrap_or(""));
            assert_eq!(
                notice.as_ref().map(|notice| notice.starts_with(&begins)),
                expected.map(|_| true),
                "{notice:?}"
            );
        }
        assert!(end_of("").notices(END).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_logged_once_a_day() {
        let log = Captured::default();
        let written = log.clone();
        let journal = tracing_subscriber::fmt().with_ansi(false).without_time().with_target(false);
        let _guard = tracing::subscriber::set_default(journal.with_writer(move || written.clone()).finish());
        let certificate =
            Expiries::new(&Authority::new().issue(&["web1.example"], (2020, 2030)).chain(), &[]);
        let secret = end_of("secret-expires = '2030-01-01'");
        for (hours, lines) in [(0, 1), (1, 1), (22, 1), (2, 2)] {
            tokio::time::advance(std::time::Duration::from_secs(3600 * hours)).await;
            certificate.log(None, END);
            secret.log(None, END);
            for words in ["certificate about to expire: ", "client secret about to expire: "] {
                assert_eq!(log.text().matches(words).count(), lines, "{}", log.text());
            }
        }
        // The start has logged it, and the first connection logged it again.
        let told = end_of("secret-expires = '2030-01-01'");
        assert_eq!(told.notices_at_start(END).len(), 1);
        let before = log.text();
        told.log(None, END);
        assert_eq!(log.text(), before);
        tokio::time::advance(std::time::Duration::from_secs(3600 * 25)).await;
        told.log(None, END);
        assert_ne!(log.text(), before);
    }
}
