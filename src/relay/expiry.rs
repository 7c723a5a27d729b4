//! Says ahead which certificates are about to expire: those that a relay shows, and our own for it.
//!
//! Promises: a certificate is told of from two weeks before its end. Those of a relay are told of where their dates are
//! checked, as they were shown at the last handshake; our own always. It is logged once a day, while there are
//! connections.
//!
//! Not here: a certificate that has expired (`distrust.rs`), the dates in a certificate (`certificate.rs`).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use rustls::pki_types::CertificateDer;

use super::certificate::{issuer_of, validity_of};
use super::distrust::day;
use super::remembered::Remembered;
use crate::log;

const DAY: i64 = 24 * 60 * 60;
/// The time before its end from which a certificate is told of.
const NOTICE: i64 = 14 * DAY;

/// The certificates of one relay, and ours for it.
#[derive(Default)]
pub(crate) struct Expiries {
    /// Our own, with those of its issuers.
    ours: Vec<Expiry>,
    /// Those that were shown at the last handshake, by the name that was expected.
    shown: Mutex<BTreeMap<String, Vec<Expiry>>>,
    told: Remembered,
}

/// The end of one certificate.
struct Expiry {
    whose: String,
    until: i64,
    /// The name of what to set or to ask for.
    remedy: &'static str,
}

impl Expiries {
    /// Returns the expiries with the chain of our own certificate, which is empty if there is none.
    pub(crate) fn new(ours: &[CertificateDer<'_>]) -> Self {
        let ours = ours.iter().enumerate().filter_map(|(place, certificate)| {
            let until = validity_of(certificate)?.1;
            let whose = match place {
                0 => "the certificate of this host for the relay (tls.client-certificate)".into(),
                _ => "the certificate of an issuer in tls.client-certificate".into(),
            };
            Some(Expiry { whose, until, remedy: "put a new one there, and reload" })
        });
        Expiries { ours: ours.collect(), ..Expiries::default() }
    }

    /// Notes the certificates that a relay has shown under the name `expected`, its own first.
    pub(crate) fn note(&self, expected: &str, shown: &[CertificateDer<'_>]) {
        let expiries = shown.iter().enumerate().filter_map(|(place, certificate)| {
            let until = validity_of(certificate)?.1;
            let issuer = issuer_of(certificate).unwrap_or_else(|| "an issuer without a name".into());
            let whose = match place {
                0 => format!("the certificate of the relay {expected}, issued by {issuer},"),
                _ => format!(
                    "the certificate of an issuer that the relay {expected} shows, issued by {issuer},"
                ),
            };
            Some(Expiry { whose, until, remedy: "from then on no mail goes there: have it renewed" })
        });
        let expiries = expiries.collect();
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).insert(expected.into(), expiries);
    }

    /// Returns a sentence for each certificate that expires within two weeks after `now`, in seconds since 1970.
    pub(crate) fn notices(&self, now: i64) -> Vec<String> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self.ours.iter().chain(shown.values().flatten());
        let soon = all.filter(|expiry| expiry.until - now < NOTICE);
        soon.map(|expiry| {
            let Expiry { whose, until, remedy } = expiry;
            match (until - now) / DAY {
                _ if *until <= now => format!("{whose} expired on {}: {remedy}", day(*until)),
                0 => format!("{whose} expires within a day, on {}: {remedy}", day(*until)),
                days => {
                    format!("{whose} expires in {}, on {}: {remedy}", log::counted(days, "day"), day(*until))
                }
            }
        })
        .collect()
    }

    /// Logs these sentences, unless that was done within the last day.
    pub(crate) fn log(&self, route: Option<&str>, now: i64) {
        let notices = self.notices(now);
        if !notices.is_empty() && !self.told.is_now() && self.told.begin() {
            notices.iter().for_each(|notice| log::certificate_expires(route, notice));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::authority::Authority;
    use super::*;
    use crate::journal::testing::Captured;

    /// The first of January 2030.
    const END: i64 = 1_893_456_000;

    /// A relay's certificate ended on a Sunday, and the first who heard of it was whoever missed the mail.
    #[test]
    fn a_certificate_is_told_of_two_weeks_before_its_end() {
        let authority = Authority::named("Our CA");
        let (short, long) =
            (authority.issue(&["mx.example"], (2020, 2030)), authority.identity("mx.example"));
        let expiries = Expiries::new(&[]);
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
        let issuers = Expiries::new(&[]);
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
            Expiries::new(&ours.chain()).notices(END - 3 * DAY),
            [
                "the certificate of this host for the relay (tls.client-certificate) expires in 3 days, on 2030-01-01: \
              put a new one there, and reload"
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_logged_once_a_day() {
        let log = Captured::default();
        let written = log.clone();
        let journal = tracing_subscriber::fmt().with_ansi(false).without_time().with_target(false);
        let _guard = tracing::subscriber::set_default(journal.with_writer(move || written.clone()).finish());
        let expiries = Expiries::new(&Authority::new().issue(&["web1.example"], (2020, 2030)).chain());
        for (hours, lines) in [(0, 1), (1, 1), (22, 1), (2, 2)] {
            tokio::time::advance(std::time::Duration::from_secs(3600 * hours)).await;
            expiries.log(None, END);
            assert_eq!(log.text().lines().count(), lines, "{}", log.text());
        }
    }
}
