//! A day of mail through the relay of each provider: the queue, its spool and the client are those of the daemon, and the
//! relay is the sink that plays the provider. One paused clock is that of all of them.
//!
//! Promises, of each day: all mail is delivered, each message once for each recipient; only those recipients bounce whom
//! the relay refuses for good, or whose message is larger than it takes, and the sender is told of each once; the relay
//! refuses less for its limits than it takes.
//!
//! There are two days. On the first one the configuration is that of `config/providers/`, and no limit is met at all. On
//! the second one nothing is configured but the login, and the quotas are so small that the day's mail is beyond them: the
//! replies teach the queue.

mod bench;

use std::collections::{BTreeMap, BTreeSet};

use super::super::limit::LimitKind;
use super::*;
use bench::Day;

/// The senders: of the second one's address the relay may know nothing at first.
const KNOWN: &str = "app@example.com";
const UNKNOWN: &str = "shop@example.org";

/// The recipients of whom the relay knows nothing at all.
fn nobody(number: usize) -> String {
    format!("nobody{number}@example.net")
}

fn user(number: usize) -> String {
    format!("user{number}@example.net")
}

/// What was submitted, as it has to end.
#[derive(Default)]
struct Expected {
    /// Each recipient who gets a message.
    delivered: BTreeSet<String>,
    /// Each recipient of whom the sender is told that it failed.
    bounced: BTreeSet<String>,
}

impl Expected {
    /// Submits a message to recipients of its own.
    async fn submit(&mut self, day: &Day, from: &str, to: Vec<String>, octets: usize) {
        day.submit(from, &to, octets).await;
        let is_too_large = octets > bench::LARGEST as usize;
        let (bounced, delivered): (Vec<_>, Vec<_>) =
            to.into_iter().partition(|to| is_too_large || to.starts_with("nobody"));
        self.delivered.extend(delivered);
        self.bounced.extend(bounced);
    }
}

/// Checks that a day has ended as expected.
fn check(day: &Day, expected: &Expected, name: &str) {
    let mut delivered: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, recipient) in day.delivered() {
        *delivered.entry(recipient).or_default() += 1;
    }
    let twice: Vec<_> = delivered.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{name}: more than once: {twice:?}");
    let delivered: BTreeSet<&str> = delivered.into_keys().collect();
    let expected_ones: BTreeSet<&str> = expected.delivered.iter().map(String::as_str).collect();
    let missing: Vec<_> = expected_ones.symmetric_difference(&delivered).collect();
    assert!(missing.is_empty(), "{name}: not as submitted: {missing:?}");
    let mut bounced = day.failed_recipients();
    bounced.sort_unstable();
    let expected_ones: Vec<&String> = expected.bounced.iter().collect();
    assert_eq!(bounced.iter().collect::<Vec<_>>(), expected_ones, "{name}");
}

/// With the file of `config/providers/` no limit of the provider is met.
async fn by_the_book(name: &str) {
    let profile = SinkProfile::named(name).unwrap();
    let mut day = Day::new(profile, |text| text, |_| {}).await;
    let mut expected = Expected::default();
    for number in 0..MESSAGES_BY_THE_BOOK {
        expected.submit(&day, KNOWN, vec![user(number)], 1000).await;
    }
    expected.submit(&day, KNOWN, vec![nobody(0)], 1000).await;
    expected.submit(&day, KNOWN, vec![user(1000)], bench::LARGEST as usize + 1000).await;
    day.pass_until(|day| day.is_over()).await;
    check(&day, &expected, name);
    let refused = day.refused_for_limits();
    let (for_rate, others): (Vec<_>, Vec<_>) = refused.iter().partition(|text| text.contains("rate limit"));
    assert!(others.is_empty(), "{name}: {others:?}");
    assert!(for_rate.len() <= MOST_TOGETHER, "{name}: {} came too fast", for_rate.len());
}

/// The relay counts at the final dot what the queue counts at the beginning: where one message is held up, two may come
/// together.
const MOST_TOGETHER: usize = MESSAGES_BY_THE_BOOK / 4;

const MESSAGES_BY_THE_BOOK: usize = 120;
const MESSAGES: usize = 300;
const LISTS: usize = 4;
const LIST: usize = 120;
const OF_UNKNOWN: usize = 6;

/// Without limits in the configuration, the replies teach them.
async fn by_trial(name: &str) {
    let profile = SinkProfile::named(name).unwrap();
    let has_sender_rule = profile.unverified.is_some();
    let mut day = Day::new(profile, without_limits, smaller).await;
    let mut expected = Expected::default();
    for number in 0..MESSAGES {
        expected.submit(&day, KNOWN, vec![user(number)], 1000).await;
    }
    for list in 0..LISTS {
        let mut to: Vec<String> = (0..LIST).map(|place| user(1000 * (list + 1) + place)).collect();
        to.insert(LIST / 2, nobody(list));
        expected.submit(&day, KNOWN, to, 1000).await;
    }
    for number in 0..2 {
        expected.submit(&day, KNOWN, vec![user(9000 + number)], bench::LARGEST as usize + 1000).await;
    }
    if has_sender_rule {
        day.pass_until(|day| day.is_over()).await;
        for number in 0..OF_UNKNOWN {
            expected.submit(&day, UNKNOWN, vec![user(8000 + number)], 1000).await;
        }
        day.pass(std::time::Duration::from_secs(5 * 3600)).await;
        assert_eq!(day.left(), OF_UNKNOWN as u64, "{name}: what is held waits for an operator");
        let tries = day.refused_senders();
        assert!((1..=OF_UNKNOWN + 6).contains(&tries), "{name}: {tries} tries in five hours");
        day.verify(UNKNOWN);
    }
    day.pass_until(|day| day.is_over()).await;
    check(&day, &expected, name);
    let refused = day.refused_for_limits();
    assert!(
        refused.len() <= MOST_REFUSED,
        "{name}: {} refused for its limits: {:?}",
        refused.len(),
        summed(&refused)
    );
    assert!(day.most_open() <= 20, "{name}");
    let has_quota = profile
        .options(options().certificate)
        .limits
        .iter()
        // One that is told only at the login is met only by connections that come later.
        .any(|limit| matches!(limit.kind, LimitKind::Quota(_)) && limit.counted == limit.phase);
    assert!(!has_quota || !refused.is_empty(), "{name}: its limits were not met");
}

/// What the first moments cost where the relay takes a few of very many, and the tries of each hour.
const MOST_REFUSED: usize = MESSAGES;

/// Returns each text with the number of times that it is there.
fn summed(texts: &[String]) -> BTreeMap<&str, usize> {
    let mut summed = BTreeMap::new();
    texts.iter().for_each(|text| *summed.entry(text.as_str()).or_default() += 1);
    summed
}

/// Returns the configuration without the provider's limits.
fn without_limits(text: String) -> String {
    let is_limit = |line: &&str| {
        ["rate = ", "recipients-per-message = ", "max-connections = ", "messages-per-connection = "]
            .iter()
            .any(|key| line.starts_with(key))
    };
    text.lines().filter(|line| !is_limit(line)).collect::<Vec<_>>().join("\n") + "\n"
}

/// Makes the account so small that the mail of the day is beyond each of its numbers.
fn smaller(options: &mut SinkOptions) {
    for limit in &mut options.limits {
        let most = match limit.kind {
            LimitKind::Quota(window) if window.recipients => 500,
            LimitKind::Quota(_) => 200,
            LimitKind::Messages => 20,
            LimitKind::Connections => 5,
            LimitKind::Recipients | LimitKind::Rate(_) => continue,
        };
        limit.most = limit.most.min(most);
    }
}

macro_rules! days {
    ($day:ident, $all:ident: $($test:ident $name:literal;)+) => {
        mod $all {
            pub(super) const NAMES: &[&str] = &[$($name),+];

            $(#[tokio::test(start_paused = true)]
            async fn $test() {
                super::$day($name).await;
            })+
        }
    };
}

days! {
    by_the_book, by_the_book_of:
    amazon_ses "amazon-ses";
    azure "azure-communication-services";
    brevo "brevo";
    fastmail "fastmail";
    gmail "gmail";
    google_workspace_relay "google-workspace-relay";
    mailgun "mailgun";
    mailjet "mailjet";
    mandrill "mandrill";
    microsoft_365 "microsoft-365";
    ovh "ovh";
    postmark "postmark";
    resend "resend";
    scaleway "scaleway";
    sendgrid "sendgrid";
    sparkpost "sparkpost";
    yandex "yandex";
    zoho "zoho";
}

days! {
    by_trial, by_trial_at:
    amazon_ses "amazon-ses";
    azure "azure-communication-services";
    brevo "brevo";
    emailit "emailit";
    fastmail "fastmail";
    gmail "gmail";
    google_workspace_relay "google-workspace-relay";
    hoster "hoster";
    mailersend "mailersend";
    mailgun "mailgun";
    mailjet "mailjet";
    mandrill "mandrill";
    microsoft_365 "microsoft-365";
    microsoft_365_high_volume "microsoft-365-high-volume";
    msndr "msndr";
    oracle "oracle";
    outlook "outlook";
    ovh "ovh";
    postmark "postmark";
    purelymail "purelymail";
    resend "resend";
    scaleway "scaleway";
    sendgrid "sendgrid";
    sparkpost "sparkpost";
    yandex "yandex";
    zeptomail "zeptomail";
    zoho "zoho";
}

#[test]
fn every_provider_has_its_days() {
    let names = || SinkProfile::all().iter().map(|profile| profile.names[0]);
    let configured: Vec<&str> = names().filter(|name| bench::configuration(name).is_some()).collect();
    assert_eq!(configured, by_the_book_of::NAMES);
    assert_eq!(names().collect::<Vec<_>>(), by_trial_at::NAMES);
}
