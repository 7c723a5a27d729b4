use std::fs;
use std::path::Path;
use std::time::Duration;

use super::text::{MAX_FOREIGN_OCTETS, Seconds};
use super::*;
use crate::envelope::{Address, ReversePath};
use crate::journal::testing::Captured;
use crate::outcome::{Delays, HeldUntil, Outcome};
use crate::queue_id::QueueId;
use crate::status::Status;

const ID: QueueId = QueueId::from_raw(0x18A4_F1C9_A02B_3D40);

fn relay() -> LoggedRelay<'static> {
    LoggedRelay { name: "mx.example.net", address: "192.0.2.5:587".parse().unwrap(), tls: Some("TLSv1.3") }
}

#[test]
fn the_delivery_line_is_postfix_s() {
    let (to, orig_to) = (Address::parse("ann@example.org").unwrap(), Address::parse("root").unwrap());
    let line = DeliveryLine {
        id: ID,
        to: &to,
        orig_to: Some(&orig_to),
        relay: Some(relay()),
        route: None,
        delays: Delays {
            before: Duration::from_millis(10),
            queued: Duration::ZERO,
            connecting: Duration::from_millis(2600),
            transmitting: Duration::from_millis(500),
        },
        status: Status::success(0, 0),
        outcome: Outcome::Sent,
        said: "250 2.0.0 ok",
    };
    assert_eq!(
        line.to_string(),
        "18A4F1C9A02B3D40: to=<ann@example.org>, orig_to=<root>, relay=mx.example.net[192.0.2.5]:587, \
         delay=3.1, delays=0.01/0/2.6/0.5, tls=TLSv1.3, dsn=2.0.0, status=sent (250 2.0.0 ok)"
    );
    let by_route = DeliveryLine { orig_to: None, route: Some("news"), ..line };
    assert_eq!(
        by_route.to_string(),
        "18A4F1C9A02B3D40: to=<ann@example.org>, relay=mx.example.net[192.0.2.5]:587, delay=3.1, \
         delays=0.01/0/2.6/0.5, tls=TLSv1.3, route=news, dsn=2.0.0, status=sent (250 2.0.0 ok)"
    );
    let line = DeliveryLine { orig_to: Some(&orig_to), route: None, ..by_route };
    let turned = Address::parse("ann\u{202e}@example.org").unwrap();
    let hostile = DeliveryLine { to: &turned, ..line };
    assert!(hostile.to_string().contains("to=<ann\\u{202e}@example.org>"), "{hostile}");
    let unreached = DeliveryLine {
        orig_to: None,
        relay: None,
        delays: Delays::default(),
        status: Status::permanent(4, 7),
        outcome: Outcome::Expired,
        said: "queue lifetime\r\n18A4: status=sent",
        ..line
    };
    assert_eq!(
        unreached.to_string(),
        "18A4F1C9A02B3D40: to=<ann@example.org>, relay=none, delay=0, delays=0/0/0/0, dsn=5.4.7, \
         status=expired (queue lifetime\\r\\n18A4: status=sent)"
    );
}

#[test]
fn the_lines_about_a_sender_whose_mail_is_held() {
    let from = ReversePath::Mailbox(Address::parse("shop@example.org").unwrap());
    let lines = logged(|| {
        sender_held(None, &from, "554 not\u{7}verified", Some("verify it"), Duration::from_secs(3600));
        sender_held(None, &from, "554 no", None, Duration::from_secs(60));
        sender_stopped(None, &from, "554 not\u{7}verified", Duration::from_secs(3600));
        sender_taken(None, &from, 20);
    });
    let expected = [
        "mail from <shop@example.org> is held, other mail goes on: 554 not\\\\u{7}verified; verify it; one is tried again \
         every 3600s",
        "mail from <shop@example.org> is held, other mail goes on: 554 no; one is tried again every 60s",
        "all mail from <shop@example.org> is held now, since the relay refused several messages in a row; one is tried every \
         3600s: 554 not\\\\u{7}verified",
        "mail from <shop@example.org> is taken again; 20 that were held are tried",
    ];
    for (line, expected) in lines.lines().zip(expected) {
        assert!(line.contains(expected), "{line}");
    }
    assert_eq!(lines.lines().count(), expected.len());
}

/// Of several relays no line said which one it was about.
#[test]
fn a_line_about_the_relay_of_a_route_names_it_and_one_about_the_first_relay_is_as_before() {
    let from = ReversePath::Null;
    let said = HeldBack { said: "550 no", until: HeldUntil::Mended, has_null_sender: true };
    let minute = Duration::from_secs(60);
    let sender = Address::parse("ops@example.org").unwrap();
    let all = |route: Option<&str>| {
        logged(|| {
            relay_paused(route, &"x", 1, minute, true);
            relay_paused(route, &"x", 1, minute, false);
            relay_slowed(route, &"x", 1);
            relay_trouble(route, &"x");
            relay_resumed(route, 1);
            relay_flickered(route, 3, 1);
            lock_step(route, minute, &"x");
            dsn_refused(route, &"mx", "x");
            parameter_refused(route, &"mx", &"SIZE", "x");
            classical_key_exchange(route, &"x");
            no_greeting_yet(route, &"x", minute);
            relayhost_passed_over(route, &"mx1:587", "x", minute, true);
            relayhost_passed_over(route, &"mx1:587", "x", minute, false);
            relayhost_left_alone(route, &"mx1:587", Some("x"), minute);
            relayhost_works_again(route, &"mx1:587");
            certificate_expires(route, "x");
            client_secret_expires(route, "x");
            refresh_token_not_written(route, &"/token", &"x", true);
            refresh_token_not_written(route, &"/token", &"x", false);
            refresh_token_written(route, &"/token");
            token_not_renewed(route, "ann", "x", minute);
            refusal_held(route, &said);
            sender_held(route, &from, "x", None, minute);
            sender_stopped(route, &from, "x", minute);
            sender_taken(route, &from, 1);
            null_sender_refused(route, "x", &sender, true);
            null_sender_refused(route, "x", &sender, false);
        })
    };
    let (with, without) = (all(Some("news")), all(None));
    assert_eq!(with.lines().count(), 27);
    for (with, without) in with.lines().zip(without.lines()) {
        let [with, without] =
            [with, without].map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let text = without["message"].as_str().unwrap();
        assert_eq!(
            with["message"],
            format!("route news: {}", text.replace("set tls.mode", "set route.tls.mode"))
        );
        assert_eq!((&with["route"], without.get("route")), (&"news".into(), None));
    }
    let text = logged(|| recoded(ID, Some("news"), &"mx"));
    assert!(text.contains(r#""route":"news""#), "{text}");
    let text = logged(|| not_recoded(ID, Some("news"), &"mx", &"8-bit octets stay, since it is signed"));
    let line =
        "not encoded for mx: 8-bit octets stay, since it is signed; the relay may refuse or change them";
    assert!(text.contains(r#""route":"news""#) && text.contains(line), "{text}");
}

#[test]
fn why_mail_is_held() {
    let said = "553 5.7.1 no\r\n18A4: status=sent";
    assert_eq!(
        HeldBack { said, until: HeldUntil::FirstTaken, has_null_sender: false }.to_string(),
        "this relay has never taken a message from here, so what it refuses is held: 553 5.7.1 no\\r\\n18A4: \
         status=sent; have the relay take this sender, or set rewrite.sender for the mail to come, \
         rewrite.null-sender for mail from <>; a reload tries what is held again"
    );
    assert_eq!(
        HeldBack { said: "550 no", until: HeldUntil::Mended, has_null_sender: false }.to_string(),
        "what the relay refuses is held: 550 no; have the relay take this sender, or set rewrite.sender for the \
         mail to come, rewrite.null-sender for mail from <>; a reload tries what is held again"
    );
    assert_eq!(
        HeldBack { said: "550 no", until: HeldUntil::NextTaken, has_null_sender: false }.to_string(),
        "the relay refuses messages and their bounces, so the bounces are held until it takes a message: 550 no; have \
         the relay take this sender, or set rewrite.sender for the mail to come, rewrite.null-sender for mail from <>; a \
         reload tries what is held again"
    );
    assert_eq!(
        HeldBack { said: "550 no", until: HeldUntil::Mended, has_null_sender: true }.to_string(),
        "what the relay refuses is held: 550 no; have the relay take this sender, or set rewrite.sender for the \
         mail to come; a reload tries what is held again"
    );
}

#[test]
fn the_accepted_line() {
    let from = ReversePath::Mailbox(Address::parse("app@example.org").unwrap());
    let mut line = AcceptedLine {
        id: ID,
        client: "localhost[127.0.0.1]",
        user: None,
        login: None,
        from: &from,
        size: 1234,
        nrcpt: 2,
        protocol: "ESMTP",
        helo: Some("x\u{7}y"),
        message_id: None,
        process: None,
    };
    assert_eq!(
        line.to_string(),
        "18A4F1C9A02B3D40: client=localhost[127.0.0.1], from=<app@example.org>, size=1234, nrcpt=2, \
         proto=ESMTP, helo=<x\\u{7}y> (queued)"
    );
    line.helo = None;
    line.from = &ReversePath::Null;
    assert_eq!(
        line.to_string(),
        "18A4F1C9A02B3D40: client=localhost[127.0.0.1], from=<>, size=1234, nrcpt=2, proto=ESMTP (queued)"
    );
    (line.client, line.user, line.message_id) = ("uid 1000", Some("ann"), Some("<1@web1>"));
    assert_eq!(
        line.to_string(),
        "18A4F1C9A02B3D40: client=uid 1000 (ann), from=<>, size=1234, nrcpt=2, proto=ESMTP, \
         message-id=<1@web1> (queued)"
    );
    let json: serde_json::Value = serde_json::from_str(&logged(|| accepted(&line))).unwrap();
    assert_eq!((&json["user"], &json["message_id"]), (&"ann".into(), &"<1@web1>".into()), "{json}");
    let absent = ["gid", "pid", "command", "unit", "sasl_method", "sasl_username"];
    assert_eq!(absent.map(|field| json[field].is_null()), [true; 6], "{json}");
}

/// With any login taken, a client chooses the name freely, and could have forged the rest of the line.
#[test]
fn the_lines_of_a_login_show_its_name_as_one_word() {
    let forged = "x, from=<b@y> (queued)\n";
    let line = AcceptedLine {
        id: ID,
        client: "localhost[127.0.0.1] uid 33",
        user: None,
        login: Some((forged, "PLAIN")),
        from: &ReversePath::Null,
        size: 1,
        nrcpt: 1,
        protocol: "ESMTPA",
        helo: None,
        message_id: None,
        process: None,
    };
    assert_eq!(
        line.to_string(),
        "18A4F1C9A02B3D40: client=localhost[127.0.0.1] uid 33, sasl_method=PLAIN, sasl_username=x??from??b@y???queued??, \
         from=<>, size=1, nrcpt=1, proto=ESMTPA (queued)"
    );
    let json: serde_json::Value = serde_json::from_str(&logged(|| accepted(&line))).unwrap();
    assert_eq!(
        (&json["sasl_method"], &json["sasl_username"]),
        (&"PLAIN".into(), &"x??from??b@y???queued??".into())
    );
    let attempt = |name, why: Option<&dyn std::fmt::Display>| {
        logged(|| login(&LoginLine { client: "uid 33", mechanism: "LOGIN", name, why }))
    };
    let went_well: serde_json::Value = serde_json::from_str(&attempt(Some("shop"), None)).unwrap();
    assert_eq!(went_well["message"], "login: uid 33, sasl_method=LOGIN, sasl_username=shop");
    let failed: serde_json::Value = serde_json::from_str(&attempt(None, Some(&"malformed message"))).unwrap();
    assert_eq!(
        failed["message"],
        "login failed: uid 33, sasl_method=LOGIN, sasl_username=?: malformed message"
    );
    assert_eq!((&failed["level"], &failed["client"]), (&"WARN".into(), &"uid 33".into()));
}

#[test]
fn the_accepted_line_of_a_process_that_is_known() {
    let mut process = ClientProcess { gid: 1000, pid: None, command: None, unit: None };
    let line = |process: &ClientProcess| {
        let line = AcceptedLine {
            id: ID,
            client: "uid 1000",
            user: Some("ann"),
            login: None,
            from: &ReversePath::Null,
            size: 1234,
            nrcpt: 1,
            protocol: "ESMTP",
            helo: None,
            message_id: None,
            process: Some(process),
        };
        (line.to_string(), logged(|| accepted(&line)))
    };
    let begin = "18A4F1C9A02B3D40: client=uid 1000 (ann), from=<>, size=1234, nrcpt=1, proto=ESMTP, gid=1000";
    assert_eq!(line(&process).0, format!("{begin} (queued)"));
    process = ClientProcess {
        pid: Some(4711),
        command: Some("x\n: y".into()),
        unit: Some("cron.service".into()),
        ..process
    };
    let (text, json) = line(&process);
    assert_eq!(text, format!("{begin}, pid=4711, command=<x\\n: y>, unit=cron.service (queued)"));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["gid"], &json["pid"]), (&1000.into(), &4711.into()), "{json}");
    assert_eq!((&json["command"], &json["unit"]), (&"x\n: y".into(), &"cron.service".into()), "{json}");
}

#[test]
fn seconds_have_two_significant_digits() {
    let cases = [
        (0, "0"),
        (4, "0"),
        (10, "0.01"),
        (94, "0.09"),
        (100, "0.1"),
        (126, "0.13"),
        (999, "1"),
        (1000, "1"),
        (2649, "2.6"),
        (9960, "10"),
        (31_400, "31"),
        (100_000, "100"),
        (4_711_000, "4711"),
    ];
    for (millis, text) in cases {
        assert_eq!(Seconds(Duration::from_millis(millis)).to_string(), text, "{millis} ms");
    }
}

#[test]
fn foreign_text_forges_no_line_and_turns_no_terminal() {
    assert_eq!(
        Foreign("ok\r\n\u{1b}[2Jé\u{202e}x\u{2028}").to_string(),
        "ok\\r\\n\\u{1b}[2Jé\\u{202e}x\\u{2028}"
    );
}

/// A refusal of fifty long lines made one log line of 96 KB, which journald splits and syslog loses.
#[test]
fn foreign_text_takes_a_bounded_part_of_its_line() {
    let whole = "x".repeat(MAX_FOREIGN_OCTETS);
    assert_eq!(Foreign(&whole).to_string(), whole);
    let lines = format!("550-{}\r\n", "y".repeat(2000)).repeat(50);
    for text in [lines, "\u{1b}\u{202e}".repeat(50_000), "é".repeat(50_000), "\0".repeat(50_000)] {
        let shown = Foreign(&text).to_string();
        assert!(shown.len() <= MAX_FOREIGN_OCTETS + 30, "{}", shown.len());
        let (_, end) = shown.rsplit_once("... (").unwrap();
        let more: usize = end.strip_suffix(" octets more)").unwrap().parse().unwrap();
        assert!(more > text.len() / 2 && text.is_char_boundary(text.len() - more), "{shown}");
    }
}

/// U+202E was written as it is in `queue list --json`, and in the fields of the JSON log.
#[test]
fn no_format_character_of_unicode_is_raw() {
    let hidden = [
        '\u{ad}',
        '\u{61c}',
        '\u{200b}',
        '\u{200f}',
        '\u{202e}',
        '\u{2066}',
        '\u{feff}',
        '\u{e0041}',
        '\u{9b}',
    ];
    for c in hidden {
        let text = format!("a{c}b");
        let json = serde_json::to_string(&text).unwrap();
        let visible = visible_json(&json);
        assert!(!visible.contains(c) && !Foreign(&text).to_string().contains(c), "{visible}");
        assert_eq!(serde_json::from_str::<String>(&visible).unwrap(), text);
    }
    assert_eq!(visible_json("\"Jörg ✓\""), "\"Jörg ✓\"");
}

/// The delays were only in the text of the message, where no program can sum them.
#[test]
fn delays_are_numbers_in_json() {
    let to = Address::parse("ann@example.org").unwrap();
    let text = logged(|| {
        delivery(&DeliveryLine {
            id: ID,
            to: &to,
            orig_to: None,
            relay: None,
            route: Some("news"),
            delays: Delays { before: Duration::from_micros(61_234_567), ..Delays::default() },
            status: Status::success(0, 0),
            outcome: Outcome::Sent,
            said: "250 ok",
        });
    });
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["route"], "news", "{text}");
    let expected = [61.234, 61.234, 0.0, 0.0, 0.0];
    let names = ["delay", "delay_before", "delay_queued", "delay_connecting", "delay_transmitting"];
    for (name, seconds) in names.into_iter().zip(expected) {
        assert_eq!(line[name], seconds, "{name}: {text}");
    }
}

/// Returns the text of all files with lines.
fn source() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/log");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| !path.ends_with("tests.rs")).map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// Returns the beginning of each line: the first words of its text, up to the first variable part.
fn beginnings(source: &str) -> impl Iterator<Item = String> {
    let calls = ["info!(", "warn!(", "error!("].into_iter().flat_map(move |call| source.split(call).skip(1));
    calls.filter_map(|call| {
        let (arguments, _) = call.split_once(");\n")?;
        let text = arguments.split('"').skip(1).step_by(2).last()?;
        let text = text.split("\\\n").map(str::trim_start).collect::<String>();
        let piece = text.split(['{', '}']).step_by(2).find(|piece| piece.len() > 2)?;
        Some(piece.chars().take(40).collect())
    })
}

#[test]
fn every_line_but_those_of_debug_is_in_the_list() {
    let list = include_str!("../../config/log.md");
    let source = source();
    let missing: Vec<_> =
        beginnings(&source).filter(|beginning| !list.contains(beginning.as_str())).collect();
    assert!(beginnings(&source).count() >= 40, "{}", beginnings(&source).count());
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn who_lifts_an_order_adds_no_line() {
    let by = "uid 0 (ro\not)";
    for said in
        [logged(|| super::hold_rule_lifted(1, 2, 0, &by)), logged(|| super::resumed(&"delivery", 0, &by))]
    {
        assert!(said.contains(r"ro\\not"), "{said}");
    }
}

/// Returns what is written with `log.format = "json"`, without the time.
fn logged(say: impl FnOnce()) -> String {
    let captured = Captured::default();
    let sink = captured.clone();
    let journal = tracing_subscriber::fmt().json().flatten_event(true).with_target(false).without_time();
    tracing::subscriber::with_default(journal.with_writer(move || sink.clone()).finish(), say);
    captured.text()
}

#[test]
fn the_lines_of_the_drop_directory() {
    let (file, to, dsn) = ("/spool/drop/1.claimed", "/spool/corrupt/drop-1.claimed", QueueId::from_raw(1));
    let lines = logged(|| {
        picked_up(ID, &file, 1000);
        not_picked_up(&file, "452 4.3.1 no room\u{1b}");
        drop_trouble(&file, "is taken, but cannot be removed: x");
        set_aside(&file, "it has more than one name", &to);
        bounced_at_pick_up(ID, dsn, &file, "550 5.7.1 no\r\n", &to);
        dead_at_pick_up(&file, "550 5.7.1 no", &to);
    });
    let expected = [
        r#"{"level":"INFO","message":"18A4F1C9A02B3D40: picked up from /spool/drop/1.claimed of uid 1000","queue_id":"18A4F1C9A02B3D40"}"#,
        r#"{"level":"INFO","message":"/spool/drop/1.claimed: not picked up yet: 452 4.3.1 no room\\u{1b}"}"#,
        r#"{"level":"WARN","message":"/spool/drop/1.claimed: is taken, but cannot be removed: x; will try again"}"#,
        r#"{"level":"WARN","message":"/spool/drop/1.claimed: not picked up: it has more than one name; it is now /spool/corrupt/drop-1.claimed"}"#,
        r#"{"level":"WARN","message":"18A4F1C9A02B3D40: not picked up from /spool/drop/1.claimed: 550 5.7.1 no\\r\\n; sender non-delivery notification: 0000000000000001; it is now /spool/corrupt/drop-1.claimed","queue_id":"18A4F1C9A02B3D40","notification":"0000000000000001"}"#,
        r#"{"level":"WARN","message":"/spool/drop/1.claimed: dead, not picked up: 550 5.7.1 no; it can be reported to nobody; it is now /spool/corrupt/drop-1.claimed"}"#,
    ];
    assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn the_lines_of_what_comes_again_and_again() {
    let lines = logged(|| {
        refused_more("uid 1000", "RCPT", 553, 95);
        not_queued_more("uid 1000", "no room on the spool", 95);
        no_tls_more("uid 1000", 95);
        session_ended_more("uid 1000", "lost connection", 95);
    });
    let expected = [
        r#"{"level":"INFO","message":"NOQUEUE: reject: 95 more like this: RCPT from uid 1000: 553","client":"uid 1000","verb":"RCPT","code":553,"more":95}"#,
        r#"{"level":"WARN","message":"NOQUEUE: not queued: 95 more like this from uid 1000: no room on the spool","client":"uid 1000","more":95}"#,
        r#"{"level":"INFO","message":"NOQUEUE: TLS handshake failed: 95 more like this from uid 1000","client":"uid 1000","more":95}"#,
        r#"{"level":"INFO","message":"lost connection within a transaction: 95 more like this from uid 1000","client":"uid 1000","more":95}"#,
    ];
    assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn one_of_a_thing_is_said_in_the_singular() {
    let texts = [0_usize, 1, 2].map(|number| counted(number, "message"));
    assert_eq!(texts, ["0 messages", "1 message", "2 messages"]);
    assert_eq!(counted(1_i64, "day"), "1 day");
}
