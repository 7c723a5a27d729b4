//! The page `/` of `admin.http`: whether mail gets through, for people without a dashboard.
//!
//! Promises
//! 1. It is one document: nothing is loaded for it, no script is in it, and its policy ([`POLICY`]) allows its own style sheet
//!    alone. It works without a mouse, at the width of a phone, in dark and in light, and read aloud: each picture has a title, a
//!    description and a table.
//! 2. It tells what anybody on this host may know: numbers, states and our own words. What comes from elsewhere is escaped.
//! 3. It is loaded anew each minute, unless the reader asks for it to stay: whoever listens to it would begin anew each time.
//!
//! Pure. Not here: who may ask (`http.rs`), what is wrong (`health.rs`), the pictures (`page/curve.rs`).

mod curve;
mod markup;

use std::fmt::Write as _;
use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;

use super::health::{HealthBounds, HealthFinding, HealthLevel, findings, waiting};
use super::protocol::{DaemonStatus, FlowRates, RelayFigures, SpoolFigures};
use crate::history::{FlowSpan, MinuteOfDay, RecentFailure};
use crate::log::{age_in_words, capitalized, counted};
use curve::{AGE, DEPTH, curves};
use markup::Escaped;

/// The style sheet.
const STYLE: &str = include_str!("page/style.css");

/// The Content-Security-Policy of the page.
pub(super) static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = BASE64_STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// The seconds after which the page is loaded anew.
const REFRESH_SECONDS: u32 = 60;

/// What the page shows.
pub(super) struct PageFacts<'a> {
    /// The state of the daemon, as anybody may know it.
    pub(super) status: &'a DaemonStatus,
    /// The number of hold rules.
    pub(super) hold_rules: usize,
    /// The last day.
    pub(super) day: &'a [MinuteOfDay],
    pub(super) now: Timestamp,
    /// True if the page is not loaded anew by itself.
    pub(super) stays: bool,
}

/// Returns the page.
pub(super) fn page(facts: &PageFacts<'_>) -> String {
    let PageFacts { status, day, now, .. } = facts;
    let found = findings(status, &HealthBounds::default(), *now);
    let worst = found.first().map_or(HealthLevel::Well, |worst| worst.health);
    let body: String = [
        state(worst, &found),
        relays(&status.relays, *now),
        numbers(status, facts.hold_rules),
        curves(&[&DEPTH, &AGE], day),
        rates(&status.rates),
        failures(&status.failures),
    ]
    .concat();
    format!(
        "{}{}<main id=\"main\">\n{body}</main>\n{}",
        head(worst, facts),
        header(facts),
        footer(status, *now)
    )
}

fn head(worst: HealthLevel, facts: &PageFacts<'_>) -> String {
    let refresh = match facts.stays {
        true => String::new(),
        false => format!("<meta http-equiv=\"refresh\" content=\"{REFRESH_SECONDS}\">\n"),
    };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n{refresh}\
         <title>{}, {} to be sent – nullmta</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
        verdict(worst).0,
        counted(waiting(facts.status) as u64, "message"),
    )
}

fn header(facts: &PageFacts<'_>) -> String {
    let refresh = match facts.stays {
        true => "This page stays as it is. <a href=\"/\">Load it anew each minute</a>",
        false => "This page is loaded anew each minute. <a href=\"/?stay\">Let it stay as it is</a>",
    };
    format!(
        "<a class=\"skip\" href=\"#main\">Skip to the state of the mail</a>\n\
         <header>\n<h1>nullmta</h1>\n<p>{refresh}</p>\n</header>\n"
    )
}

/// Returns the words for a state, and its class in the style sheet.
fn verdict(worst: HealthLevel) -> (&'static str, &'static str) {
    match worst {
        HealthLevel::Well => ("Mail gets through", "well"),
        HealthLevel::Warning => ("Something wants a look", "warning"),
        HealthLevel::Critical => ("Somebody must act now", "critical"),
    }
}

/// Returns the part that says in words whether mail gets through.
fn state(worst: HealthLevel, found: &[HealthFinding]) -> String {
    let (words, class) = verdict(worst);
    let items: String =
        found.iter().map(|finding| format!("<li>{}</li>\n", sentence(&finding.words))).collect();
    let list = match items.is_empty() {
        true => "<p>Nothing is wrong.</p>\n".to_owned(),
        false => format!(
            "<ul>\n{items}</ul>\n<p class=\"soft\">More is told to root and the daemon's own user and group by <code>nullmta status</code> and <code>nullmta doctor</code>.</p>\n"
        ),
    };
    format!(
        "<section class=\"state {class}\" aria-labelledby=\"state\">\n<h2 id=\"state\">{words}</h2>\n{list}</section>\n"
    )
}

/// Returns the part about each relay.
fn relays(relays: &[RelayFigures], now: Timestamp) -> String {
    let title = if relays.len() == 1 { "The relay" } else { "The relays" };
    let parts: String = relays.iter().map(|figures| relay(figures, relays.len() > 1, now)).collect();
    format!("<section aria-labelledby=\"relays\">\n<h2 id=\"relays\">{title}</h2>\n{parts}</section>\n")
}

fn relay(relay: &RelayFigures, is_named: bool, now: Timestamp) -> String {
    let name = match &relay.route {
        Some(route) => format!("Route {}", Escaped(route)),
        None => "Mail that no route takes".to_owned(),
    };
    let name = if is_named { format!("<h3>{name}</h3>\n") } else { String::new() };
    let class = if relay.paused_since.is_some() { "critical" } else { "well" };
    let since = relay
        .paused_since
        .as_ref()
        .map_or(String::new(), |since| format!(" for {}", age_in_words(age_of(since, now))));
    let trouble = relay.trouble_outline.as_deref().map_or(String::new(), |outline| {
        let advice = relay.trouble_advice.as_deref().unwrap_or_default();
        let (outline, advice) = (sentence(outline), sentence(advice));
        format!("<p>{outline}.</p>\n<p class=\"todo\"><strong>What to do:</strong> {advice}.</p>\n")
    });
    let probe = relay.next_probe.as_ref().map_or(String::new(), |probe| {
        format!("It is tried again in {}. ", age_in_words(seconds_until(probe, now)))
    });
    let last = match &relay.last_success {
        Some(time) => format!("It last took a message {} ago", age_in_words(age_of(time, now))),
        None => "It has taken no message since the start".to_owned(),
    };
    format!(
        "<div class=\"relay {class}\">\n{name}<p><span class=\"word\">{}{since}</span>; {}, {} for it.</p>\n{trouble}\
         <p class=\"soft\">{probe}{last}.</p>\n</div>\n",
        sentence(&relay.state),
        counted(relay.connections as u64, "open connection"),
        counted(relay.messages as u64, "message"),
    )
}

/// Returns the part with the numbers of the queue.
fn numbers(status: &DaemonStatus, hold_rules: usize) -> String {
    let SpoolFigures { free, .. } = status.spool;
    let oldest = status.oldest_age.map_or("none".to_owned(), age_in_words);
    let free =
        free.map_or("not known".to_owned(), |free| format!("{:.1} GiB", free as f64 / f64::from(1 << 30)));
    let numbers = [
        ("To be sent", waiting(status).to_string()),
        ("Oldest of them", oldest),
        ("Deferred", status.deferred.to_string()),
        ("Held after a refusal", status.held.to_string()),
        ("On hold", status.on_hold.to_string()),
        ("Dead", status.dead.to_string()),
        ("Hold rules", hold_rules.to_string()),
        ("Ordered pauses", status.pauses.len().to_string()),
        ("Alarms", status.alarms.len().to_string()),
        ("Free on the disk", free),
    ];
    let list: String = numbers
        .iter()
        .map(|(name, number)| format!("<div><dt>{name}</dt><dd>{number}</dd></div>\n"))
        .collect();
    format!(
        "<section aria-labelledby=\"queue\">\n<h2 id=\"queue\">The queue</h2>\n<dl>\n{list}</dl>\n</section>\n"
    )
}

/// Returns the part about what came and went lately.
fn rates(rates: &FlowRates) -> String {
    let FlowRates { last_minute, last_hour } = rates;
    let rows = [
        ("Accepted messages", last_minute.counts.accepted, last_hour.counts.accepted),
        ("Refusals", last_minute.counts.refused, last_hour.counts.refused),
        ("Sent to recipients", last_minute.counts.sent, last_hour.counts.sent),
        ("Deferred", last_minute.counts.deferred, last_hour.counts.deferred),
        ("Bounced", last_minute.counts.bounced, last_hour.counts.bounced),
    ];
    let row = |(name, minute, hour): (&str, u64, u64)| {
        format!("<tr><th scope=\"row\">{name}</th><td>{minute}</td><td>{hour}</td></tr>\n")
    };
    let name = |name: &str, span: &FlowSpan, length: u64| match span.is_shorter_than(length) {
        true => format!("{} since the start", age_in_words(span.seconds)),
        false => format!("Last {name}"),
    };
    format!(
        "<section aria-labelledby=\"rates\">\n<h2 id=\"rates\">Lately</h2>\n<table>\n<thead><tr><th scope=\"col\">What</th>\
         <th scope=\"col\">{}</th><th scope=\"col\">{}</th></tr></thead>\n<tbody>\n{}</tbody>\n</table>\n</section>\n",
        name("minute", last_minute, 60),
        name("hour", last_hour, 3600),
        rows.map(row).concat(),
    )
}

/// Returns the part about what has failed lately.
fn failures(failures: &[RecentFailure]) -> String {
    let rows = failures.iter().fold(String::new(), |mut rows, RecentFailure { reason, times, last_age }| {
        let (reason, last) = (Escaped(reason), age_in_words(*last_age));
        // Writing to a string does not fail.
        let _ = writeln!(
            rows,
            "<tr><th scope=\"row\">{reason}</th><td>{times}</td><td>{last}&nbsp;ago</td></tr>"
        );
        rows
    });
    let list = match rows.is_empty() {
        true => "<p>Nothing has failed in the last hour.</p>\n".to_owned(),
        false => format!(
            "<table>\n<thead><tr><th scope=\"col\">Reason</th><th scope=\"col\">Times</th>\
             <th scope=\"col\">Last</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n"
        ),
    };
    format!(
        "<section aria-labelledby=\"failures\">\n<h2 id=\"failures\">Failures of the last hour</h2>\n{list}</section>\n"
    )
}

fn footer(status: &DaemonStatus, now: Timestamp) -> String {
    format!(
        "<footer>\n<p>nullmta {}, as of {now:.0}. Also: <a href=\"/metrics\">metrics</a>, <a href=\"/readyz\">readiness</a>, \
         <a href=\"/healthz\">liveness</a>.</p>\n</footer>\n</body>\n</html>\n",
        Escaped(&status.version)
    )
}

/// Returns the seconds since a time of RFC 3339; 0 if it is none.
fn age_of(time: &str, now: Timestamp) -> u64 {
    time.parse().map_or(0, |time: Timestamp| u64::try_from(now.duration_since(time).as_secs()).unwrap_or(0))
}

/// Returns the seconds until a time of RFC 3339; 0 if it is none.
fn seconds_until(time: &str, now: Timestamp) -> u64 {
    time.parse().map_or(0, |time: Timestamp| u64::try_from(time.duration_since(now).as_secs()).unwrap_or(0))
}

/// Returns words as the beginning of a sentence, escaped.
fn sentence(words: &str) -> String {
    Escaped(&capitalized(words)).to_string()
}

#[cfg(test)]
mod tests;
