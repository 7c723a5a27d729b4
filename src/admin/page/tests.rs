//! Tests of the page: what it is made of, whom it names, and whether it can be read.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::admin::protocol::ListedPause;
use crate::history::{FlowCounts, FlowSample};
use crate::standing_orders::PausedPart;

const NOW: &str = "2026-11-21T02:00:00Z";

fn relay() -> RelayFigures {
    RelayFigures {
        route: Some("news".into()),
        relay: "mx.secret.example:587 as ann".into(),
        state: "paused".into(),
        paused_since: Some("2026-11-21T01:00:00Z".into()),
        next_probe: Some("2026-11-21T02:04:10Z".into()),
        trouble: Some("connect to mx.secret.example: refused".into()),
        trouble_outline: Some("relay trouble, connect".into()),
        trouble_advice: Some("check the host and the port".into()),
        messages: 7,
        ..RelayFigures::default()
    }
}

fn minute(minutes_ago: u64, waiting: u64, paused: bool) -> MinuteOfDay {
    let counts = FlowCounts { accepted: 2, sent: 1, ..FlowCounts::default() };
    MinuteOfDay { minutes_ago, sample: FlowSample { counts, waiting, oldest_age: waiting * 60, paused } }
}

/// Returns a day with a gap of two hours, and an outage in its last hour.
fn day() -> Vec<MinuteOfDay> {
    let minutes = (0..DAY).rev().filter(|ago| !(600..720).contains(ago));
    minutes.map(|ago| minute(ago, if ago < 60 { 600 - 10 * ago } else { ago % 7 }, ago < 60)).collect()
}

const DAY: u64 = 1440;

fn status(relays: Vec<RelayFigures>) -> DaemonStatus {
    let failure = RecentFailure { reason: "relay trouble, connect".into(), times: 40, last_age: 12 };
    DaemonStatus {
        version: "0.1.0".into(),
        messages: 7,
        relays,
        failures: vec![failure],
        ..DaemonStatus::default()
    }
}

fn shown_with(status: &DaemonStatus, day: &[MinuteOfDay], stays: bool) -> String {
    page(&PageFacts { status, hold_rules: 3, day, now: NOW.parse().unwrap(), stays })
}

fn shown(status: &DaemonStatus) -> String {
    shown_with(&status.clone().for_anybody(), &day(), false)
}

/// Returns the elements of a document in their order, without their attributes; `/name` for the end of one.
fn elements(page: &str) -> Vec<&str> {
    let tags = page.split('<').skip(1).filter_map(|rest| rest.split_once('>')).map(|(tag, _)| tag);
    tags.map(|tag| if tag.ends_with('/') { "" } else { tag.split([' ', '\n']).next().unwrap_or_default() })
        .collect()
}

#[test]
fn it_is_one_well_formed_document_that_loads_nothing() {
    let page = shown(&status(vec![relay(), RelayFigures::default()]));
    let mut open = Vec::new();
    for element in elements(&page) {
        match element.strip_prefix('/') {
            Some(end) => assert_eq!(open.pop(), Some(end), "{open:?}"),
            None if ["", "!doctype", "meta"].contains(&element) => {}
            None => open.push(element),
        }
    }
    assert_eq!(open, [""; 0]);
    let known = [
        "",
        "!doctype",
        "a",
        "body",
        "caption",
        "code",
        "dd",
        "desc",
        "details",
        "div",
        "dl",
        "dt",
        "figcaption",
        "figure",
        "footer",
        "h1",
        "h2",
        "h3",
        "head",
        "header",
        "html",
        "li",
        "main",
        "meta",
        "p",
        "section",
        "span",
        "strong",
        "style",
        "summary",
        "svg",
        "path",
        "rect",
        "table",
        "tbody",
        "td",
        "th",
        "thead",
        "title",
        "tr",
        "ul",
    ];
    let unknown =
        elements(&page).into_iter().find(|element| !known.contains(&element.trim_start_matches('/')));
    assert_eq!(unknown, None);
    let tags: Vec<&str> = page.split('<').skip(1).filter_map(|rest| rest.split('>').next()).collect();
    let loads = |tag: &&&str| [" src=", " style=", " on", "://"].iter().any(|outside| tag.contains(outside));
    assert_eq!(tags.iter().find(loads), None);
    for outside in ["url(", "@import", "http", "//"] {
        assert!(!STYLE.contains(outside), "{outside}");
    }
    let ids: Vec<&str> = page.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    let named =
        page.split("labelledby=\"").skip(1).flat_map(|rest| rest.split('"').next().unwrap().split(' '));
    named.for_each(|name| assert!(ids.contains(&name), "{name}"));
}

#[test]
fn its_policy_allows_its_own_style_sheet_alone() {
    let page = shown(&status(vec![relay()]));
    let style = page.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    let hash = BASE64_STANDARD.encode(digest(&SHA256, style.as_bytes()));
    assert_eq!(POLICY.split("; ").nth(1), Some(&*format!("style-src 'sha256-{hash}'")));
    assert!(POLICY.starts_with("default-src 'none'; ") && !POLICY.contains("unsafe"));
}

#[test]
fn it_says_in_words_what_is_wrong_and_what_to_do() {
    let page = shown(&status(vec![relay()]));
    for words in [
        "<title>Somebody must act now, 7 messages to be sent – nullmta</title>",
        "<li>The relay of route news is paused for 60m: relay trouble, connect</li>",
        "<span class=\"word\">Paused for 60m</span>; 0 open connections, 7 messages for it.",
        "<p>Relay trouble, connect.</p>",
        "<strong>What to do:</strong> Check the host and the port.</p>",
        "It is tried again in 4m. It has taken no message since the start.",
        "<th scope=\"row\">relay trouble, connect</th><td>40</td>",
        "<dt>Hold rules</dt><dd>3</dd>",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(!page.contains("secret.example") && !page.contains("ann"), "{page}");
    let well = shown(&DaemonStatus { failures: Vec::new(), ..status(vec![RelayFigures::default()]) });
    assert!(
        well.contains("<p>Nothing is wrong.</p>") && well.contains("Nothing has failed in the last hour.")
    );
}

/// Whoever listens to the page began anew each minute.
#[test]
fn it_is_loaded_anew_unless_the_reader_wants_it_to_stay() {
    let status = status(vec![relay()]);
    let refresh = "<meta http-equiv=\"refresh\" content=\"60\">";
    assert!(shown_with(&status, &[], false).contains(refresh));
    let stays = shown_with(&status, &[], true);
    assert!(!stays.contains("http-equiv") && stays.contains("<a href=\"/\">Load it anew each minute</a>"));
}

#[test]
fn what_comes_from_elsewhere_opens_no_element() {
    let hostile = "\"'><script>alert(1)</script><img src=x>&lt;\u{202e}\u{0}\r\n";
    let words = || Some(hostile.to_owned());
    let relay = RelayFigures {
        route: words(),
        state: hostile.into(),
        trouble_outline: words(),
        trouble_advice: words(),
        held_because: words(),
        held: 1,
        paused_since: Some(NOW.into()),
        ..RelayFigures::default()
    };
    let pause = ListedPause {
        part: PausedPart::Delivery,
        route: words(),
        by: hostile.into(),
        since: hostile.into(),
        until: None,
        reason: words(),
    };
    let failure = RecentFailure { reason: hostile.into(), times: 1, last_age: 0 };
    let status = DaemonStatus {
        version: hostile.into(),
        spool_trouble: words(),
        users_trouble: words(),
        failures: vec![failure],
        pauses: vec![pause],
        relays: vec![relay.clone(), relay],
        ..DaemonStatus::default()
    };
    let page = shown_with(&status, &[], false);
    assert_eq!(page.matches("&lt;script&gt;alert(1)").count(), page.matches("alert(1)").count());
    assert!(page.matches("alert(1)").count() >= 9, "{page}");
    for harmful in ["<script", "<img", "\u{202e}", "\u{0}", "\r"] {
        assert!(!page.contains(harmful), "{harmful:?}");
    }
}

#[test]
fn a_picture_shows_outages_and_gaps_and_its_table_says_the_same() {
    let page = shown(&status(vec![relay()]));
    let depth = page.split("id=\"depth-title\"").nth(1).unwrap().split("</svg>").next().unwrap();
    assert!(depth.contains("Now 600, at most 600. The table below"), "{depth}");
    assert_eq!(
        depth.matches("<rect class=\"pause\" x=\"1380\" y=\"0\" width=\"60\" height=\"100\"/>").count(),
        1
    );
    let area = depth.split(" d=\"").last().unwrap();
    assert_eq!(area.matches('M').count(), 2, "one area before the gap, and one behind it: {area}");
    assert!(area.starts_with("M0 100V") && area.contains("ZM840 100V"), "{area}");
    // 600 messages on a scale of 1000.
    assert!(area.contains("V40H1440V100Z"), "{area}");
    let row = "<tr><th scope=\"row\">0 to 1</th><td>600</td><td>10h</td><td>120</td><td>60</td><td>0</td><td>0</td><td>60</td></tr>";
    assert!(page.contains(row), "{page}");
    assert_eq!(page.matches("<th scope=\"row\">10 to 11</th>").count(), 0, "nothing is known of it");
    let unknown = shown_with(&status(vec![relay()]), &[], true);
    assert!(unknown.contains("Now not known, at most 0.") && !unknown.contains("class=\"area\""));
}

#[test]
fn a_picture_of_a_day_is_small() {
    let day: Vec<MinuteOfDay> =
        (0..DAY).rev().map(|ago| minute(ago, (ago * 7919) % 1_000_003, ago % 20 < 10)).collect();
    let page = shown_with(&status(vec![relay()]), &day, false);
    assert!(page.len() < 48 << 10, "{} octets", page.len());
}

/// Returns the colours of the style sheet by their names: in light, and in dark.
fn colours() -> [BTreeMap<&'static str, [f64; 3]>; 2] {
    let (light, dark) = STYLE.split_once("@media").unwrap();
    [light, dark].map(|part| {
        let declared =
            part.split(['{', '}', ';']).filter_map(|line| line.trim().strip_prefix("--")?.split_once(": #"));
        let colour = |hex: &str| {
            [0, 2, 4].map(|at| f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0)
        };
        declared.map(|(name, hex)| (name, colour(hex))).collect()
    })
}

/// Returns the contrast of two colours (WCAG 2.2).
fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let luminance = |colour: [f64; 3]| {
        let [r, g, b] =
            colour.map(|c| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) });
        0.2126 * r + 0.7152 * g + 0.0722 * b
    };
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn every_text_has_enough_contrast_in_light_and_in_dark() {
    for colours in colours() {
        for text in ["text", "soft", "line", "well", "warning", "critical"] {
            for back in ["card", "back"] {
                let contrast = contrast(colours[text], colours[back]);
                assert!(contrast >= 4.5, "{text} on {back}: {contrast:.2}");
            }
        }
        assert!(contrast(colours["focus"], colours["card"]) >= 3.0);
    }
}
