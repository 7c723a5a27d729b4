use super::*;
use crate::admin::protocol::QueuedRecipient;

const TROUBLE: &str = "connect to mx.example.net[192.0.2.1]:587: Connection refused, as it was an hour ago";

fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn to(address: &str, route: Option<&str>, reason: Option<&str>) -> QueuedRecipient {
    QueuedRecipient {
        address: address.into(),
        route: route.map(str::to_owned),
        reason: reason.map(str::to_owned),
    }
}

fn message(recipients: Vec<QueuedRecipient>) -> QueuedMessage {
    QueuedMessage {
        id: "18A4F1C9A02B3D40".into(),
        state: MessageState::Deferred,
        held_by: None,
        original_from: None,
        marked: None,
        uid: None,
        from: String::new(),
        reason: recipients.iter().find_map(|recipient| recipient.reason.clone()),
        recipients,
        size: 4096,
        arrived: "2026-11-21T09:58:20Z".into(),
        age: 7300,
        next_attempt: None,
    }
}

fn relay(route: Option<&str>) -> RelayHeadline {
    RelayHeadline {
        route: route.map(str::to_owned),
        relay: Some("mx.example.net:587 as web1".into()),
        state: "paused".into(),
        paused_since: Some("2026-11-21T11:48:00Z".into()),
        next_probe: Some("2026-11-21T12:03:00Z".into()),
        keeps_mail: Some(TROUBLE.into()),
        held_because: None,
    }
}

fn layout(width: Option<usize>) -> Layout {
    Layout { width, relays: vec![relay(None)] }
}

fn shown(width: Option<usize>, message: &QueuedMessage) -> String {
    layout(width).message(message, now())
}

/// The relay's trouble stood at each of a thousand messages.
#[test]
fn the_relay_s_trouble_is_said_once() {
    assert_eq!(
        layout(Some(80)).headlines(now()),
        "mx.example.net:587 as web1 is paused for 12m, and probed again in 3m:\n\
         \u{20} connect to mx.example.net[192.0.2.1]:587: Connection refused, as it was an\n\
         \u{20} hour ago\n"
    );
    let waiting = QueuedMessage {
        state: MessageState::Ready,
        uid: Some(33),
        from: "app@example.org".into(),
        ..message(vec![to("ann@x", None, Some(TROUBLE)), to("bob@x", Some("news"), Some(TROUBLE))])
    };
    assert_eq!(
        shown(None, &waiting),
        format!(
            "18A4F1C9A02B3D40 ready      2h  4.0K    -  app@example.org (uid 33)\n\
             \u{20} to ann@x\n\
             \u{20}    waits for the relay, as said above\n\
             \u{20} to bob@x by route news\n\
             \u{20}    {TROUBLE}\n"
        )
    );
}

#[test]
fn a_headline_says_what_is_known() {
    let of_a_route =
        RelayHeadline { relay: None, paused_since: None, next_probe: None, ..relay(Some("news")) };
    let held = RelayHeadline {
        route: None,
        state: "usable".into(),
        keeps_mail: None,
        held_because: Some("such mail is held".into()),
        ..of_a_route.clone()
    };
    let layout = Layout { width: None, relays: vec![of_a_route, relay(Some("bulk")), held] };
    assert_eq!(
        layout.headlines(now()),
        format!(
            "The relay of route news is paused:\n\
             \u{20} {TROUBLE}\n\
             mx.example.net:587 as web1, the relay of route bulk, is paused for 12m, and probed again in 3m:\n\
             \u{20} {TROUBLE}\n\
             The relay is usable:\n\
             \u{20} such mail is held\n"
        )
    );
}

/// Of several recipients only the first one's reason was shown.
#[test]
fn recipients_stand_with_their_reason() {
    let busy = |address| to(address, None, Some("450 4.2.1 busy\r\n"));
    let several = QueuedMessage {
        next_attempt: Some("2026-11-21T12:12:00Z".into()),
        ..message(vec![
            busy("a@x"),
            to("z@x", None, None),
            busy("b@x"),
            busy("c@x"),
            busy("d@x"),
            busy("e@x"),
        ])
    };
    assert_eq!(
        shown(Some(80), &several),
        "18A4F1C9A02B3D40 deferred   2h  4.0K  12m  <>\n\
         \u{20} to a@x, b@x, c@x and 2 more\n\
         \u{20}    450 4.2.1 busy\\r\\n\n\
         \u{20} to z@x\n\
         \u{20}    waits for its next attempt; what the relay said is not known\n"
    );
}

#[test]
fn what_cannot_be_read_has_a_reason_alone() {
    let damaged = QueuedMessage { reason: Some("its record is damaged".into()), ..message(Vec::new()) };
    assert_eq!(shown(None, &damaged).lines().nth(1), Some("     its record is damaged"));
}

#[test]
fn nothing_runs_over_the_edge() {
    let long = |c: &str| format!("{}@example.org", c.repeat(60));
    let recipients =
        vec![to(&long("a"), Some("r"), Some(&"reply ".repeat(40))), to(&long("漢"), Some("r"), Some("x"))];
    let wide = QueuedMessage {
        from: long("f"),
        uid: Some(1000),
        ..message([recipients, vec![to("b@x", Some("r"), Some("x")); 4]].concat())
    };
    for width in [20, 80, 132] {
        let layout = layout(Some(width));
        let text = layout.headlines(now()) + &layout.message(&wide, now());
        assert!(text.lines().all(|line| columns(line) <= width), "{width}:\n{text}");
    }
    for (length, line) in [
        (50, format!("  to {}@example.org and 1 more", "a".repeat(50))),
        (90, format!("  to {}... and 1 more", "a".repeat(61))),
    ] {
        let address = format!("{}@example.org", "a".repeat(length));
        let text =
            shown(Some(80), &message(vec![to(&address, None, None), to("bob@example.org", None, None)]));
        assert_eq!(text.lines().nth(1), Some(&*line), "as many as fit are named");
    }
    assert!(shown(None, &wide).contains(&long("f")), "without a width nothing is cut");
}

#[test]
fn a_total_counts_each_state() {
    let mut total = ListTotal::default();
    for state in [MessageState::Dead, MessageState::Ready, MessageState::Dead] {
        total.count(&QueuedMessage { state, ..message(Vec::new()) });
    }
    assert_eq!(total.text(), "3 messages, 12288 octets: 1 ready, 2 dead.");
}

#[test]
fn ages_in_the_largest_unit_of_which_they_are_two() {
    let cases = [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (5400, "90m"),
        (86_399, "23h"),
        (172_799, "47h"),
        (500_000, "5d"),
    ];
    for (seconds, text) in cases {
        assert_eq!(age_in_words(seconds), text);
    }
}

#[test]
fn sizes_take_five_columns() {
    let cases = [
        (0, "0"),
        (999, "999"),
        (1000, "1.0K"),
        (10_180, "9.9K"),
        (10_240, "10K"),
        (1_023_000, "999K"),
        (1_100_000, "1.0M"),
        (5 << 30, "5.0G"),
        (3 << 40, "3T"),
    ];
    for (octets, text) in cases {
        assert_eq!(size(octets), text);
    }
}
