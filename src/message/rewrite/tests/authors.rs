//! Tests of From fields as programs write them, with each way of rewriting.

use super::*;

/// A body of From, and its results with only the origin, with sender, senders and masquerade; `=` means unchanged.
type Row = (&'static str, [&'static str; 4]);

/// `Acme, Inc. <n@…>` got a second author, `Acme@origin`, or the one sender twice. If the list was broken, or its
/// comma was in an encoded word, `sender` was not applied, and the relay refused the message.
const ROWS: &[Row] = &[
    ("n@h.acme.example", ["=", "s@x.example", "n@brand.example", "n@acme.example"]),
    ("Ann <n@h.acme.example>", ["=", "Ann <s@x.example>", "Ann <n@brand.example>", "Ann <n@acme.example>"]),
    ("root", ["root@o.example", "s@x.example", "root@o.example", "root@o.example"]),
    (
        "root (Cron)",
        ["root@o.example (Cron)", "s@x.example (Cron)", "root@o.example (Cron)", "root@o.example (Cron)"],
    ),
    (
        "\"Acme, Inc.\" <n@h.acme.example>",
        [
            "=",
            "\"Acme, Inc.\" <s@x.example>",
            "\"Acme, Inc.\" <n@brand.example>",
            "\"Acme, Inc.\" <n@acme.example>",
        ],
    ),
    (
        "Acme, Inc. <n@h.acme.example>",
        [
            "\"Acme, Inc.\" <n@h.acme.example>",
            "\"Acme, Inc.\" <s@x.example>",
            "\"Acme, Inc.\" <n@brand.example>",
            "\"Acme, Inc.\" <n@acme.example>",
        ],
    ),
    (
        "Smith, John, Dr. <root>",
        [
            "\"Smith, John, Dr.\" <root@o.example>",
            "\"Smith, John, Dr.\" <s@x.example>",
            "\"Smith, John, Dr.\" <root@o.example>",
            "\"Smith, John, Dr.\" <root@o.example>",
        ],
    ),
    (
        "=?utf-8?Q?Acme,_Inc?= <n@h.acme.example>",
        [
            "=?utf-8?Q?Acme=2C_Inc?= <n@h.acme.example>",
            "=?utf-8?Q?Acme=2C_Inc?= <s@x.example>",
            "=?utf-8?Q?Acme=2C_Inc?= <n@brand.example>",
            "=?utf-8?Q?Acme=2C_Inc?= <n@acme.example>",
        ],
    ),
    // These were sent unchanged, and a relay refused them, or read a group or a second author in them.
    (
        "Acme: Inc <n@h.acme.example>",
        [
            "\"Acme: Inc\" <n@h.acme.example>",
            "\"Acme: Inc\" <s@x.example>",
            "\"Acme: Inc\" <n@brand.example>",
            "\"Acme: Inc\" <n@acme.example>",
        ],
    ),
    (
        "Joe [x] <n@h.acme.example>",
        [
            "\"Joe [x]\" <n@h.acme.example>",
            "\"Joe [x]\" <s@x.example>",
            "\"Joe [x]\" <n@brand.example>",
            "\"Joe [x]\" <n@acme.example>",
        ],
    ),
    (
        "n@h.acme.example <n@h.acme.example>",
        [
            "\"n@h.acme.example\" <n@h.acme.example>",
            "\"n@h.acme.example\" <s@x.example>",
            "\"n@h.acme.example\" <n@brand.example>",
            "\"n@h.acme.example\" <n@acme.example>",
        ],
    ),
    (
        "Joe @ Home <n@h.acme.example>",
        [
            "\"Joe @ Home\" <n@h.acme.example>",
            "\"Joe @ Home\" <s@x.example>",
            "\"Joe @ Home\" <n@brand.example>",
            "\"Joe @ Home\" <n@acme.example>",
        ],
    ),
    (
        "mailto:n@h.acme.example <n@h.acme.example>",
        [
            "\"mailto:n@h.acme.example\" <n@h.acme.example>",
            "\"mailto:n@h.acme.example\" <s@x.example>",
            "\"mailto:n@h.acme.example\" <n@brand.example>",
            "\"mailto:n@h.acme.example\" <n@acme.example>",
        ],
    ),
    (
        "Müller: Jörg <n@h.acme.example>",
        [
            "=?UTF-8?B?TcO8bGxlcjogSsO2cmc=?= <n@h.acme.example>",
            "=?UTF-8?B?TcO8bGxlcjogSsO2cmc=?= <s@x.example>",
            "=?UTF-8?B?TcO8bGxlcjogSsO2cmc=?= <n@brand.example>",
            "=?UTF-8?B?TcO8bGxlcjogSsO2cmc=?= <n@acme.example>",
        ],
    ),
    ("mailto:n@h.acme.example", ["n@h.acme.example", "s@x.example", "n@brand.example", "n@acme.example"]),
    (
        "Joe <mailto:n@h.acme.example>,",
        ["Joe <n@h.acme.example>", "Joe <s@x.example>", "Joe <n@brand.example>", "Joe <n@acme.example>"],
    ),
    (
        "\"Ann <n@h.acme.example>",
        ["Ann <n@h.acme.example>", "Ann <s@x.example>", "Ann <n@brand.example>", "Ann <n@acme.example>"],
    ),
    // With `sender`, these kept a route or a group, or lost their end.
    (
        "<@a.example,@b.example:n@h.acme.example>",
        [
            "<n@h.acme.example>",
            "\"<@a.example,@b.example:n@h.acme.example>\" <s@x.example>",
            "<n@brand.example>",
            "<n@acme.example>",
        ],
    ),
    (
        "Ann <n@h.acme.example>, Bob",
        [
            "=",
            "\"Ann <n@h.acme.example>, Bob\" <s@x.example>",
            "Ann <n@brand.example>, Bob",
            "Ann <n@acme.example>, Bob",
        ],
    ),
    (
        "Team: Ann <n@h.acme.example>;",
        [
            "=",
            "\"Team: Ann <n@h.acme.example>;\" <s@x.example>",
            "Team: Ann <n@brand.example>;",
            "Team: Ann <n@acme.example>;",
        ],
    ),
    // The addresses in these were sent unchanged, even if a rule hides them. They cannot become one mailbox, but
    // anybody can read them.
    (
        "Ann <n@h.acme.example",
        ["=", "\"Ann <n@h.acme.example\" <s@x.example>", "Ann <n@brand.example", "Ann <n@acme.example"],
    ),
    (
        "Ann n@h.acme.example",
        ["=", "\"Ann n@h.acme.example\" <s@x.example>", "Ann n@brand.example", "Ann n@acme.example"],
    ),
    (
        "<n@h.acme.example> word <root>",
        [
            "<n@h.acme.example> word <root@o.example>",
            "\"<n@h.acme.example> word <root>\" <s@x.example>",
            "<n@brand.example> word <root@o.example>",
            "<n@acme.example> word <root@o.example>",
        ],
    ),
    (
        "Ann <n@h.acme.example> Bob <@a:b@h.acme.example>",
        [
            "Ann <n@h.acme.example> Bob <b@h.acme.example>",
            "\"Ann <n@h.acme.example> Bob <@a:b@h.acme.example>\" <s@x.example>",
            "Ann <n@brand.example> Bob <b@brand.example>",
            "Ann <n@acme.example> Bob <b@acme.example>",
        ],
    ),
    (
        "n@h.acme.example b@h.acme.example",
        [
            "=",
            "\"n@h.acme.example b@h.acme.example\" <s@x.example>",
            "n@brand.example b@brand.example",
            "n@acme.example b@acme.example",
        ],
    ),
    (
        "<<n@h.acme.example>>",
        ["=", "\"<<n@h.acme.example>>\" <s@x.example>", "<<n@brand.example>>", "<<n@acme.example>>"],
    ),
    (
        "n@h.acme.example (c <b@h.acme.example>",
        [
            "\"n@h.acme.example (c\" <b@h.acme.example>",
            "\"n@h.acme.example (c\" <s@x.example>",
            "\"n@h.acme.example (c\" <b@brand.example>",
            "\"n@h.acme.example (c\" <b@acme.example>",
        ],
    ),
    ("Ann <not an address>", ["=", "\"Ann <not an address>\" <s@x.example>", "=", "="]),
    (
        "Ann <n@h.acme.example>, Bob <bob>",
        [
            "Ann <n@h.acme.example>, Bob <bob@o.example>",
            "\"Ann <n@h.acme.example>, Bob <bob>\" <s@x.example>",
            "Ann <n@brand.example>, Bob <bob@o.example>",
            "Ann <n@acme.example>, Bob <bob@o.example>",
        ],
    ),
    (
        "ann, bob",
        [
            "ann@o.example, bob@o.example",
            "\"ann, bob\" <s@x.example>",
            "ann@o.example, bob@o.example",
            "ann@o.example, bob@o.example",
        ],
    ),
    ("", ["=", "s@x.example", "=", "="]),
    ("<>", ["=", "s@x.example", "=", "="]),
    ("Nobody:;", ["=", "\"Nobody:;\" <s@x.example>", "=", "="]),
];

/// Returns the settings of each column.
pub(super) fn ways() -> [RewriteSettings; 4] {
    let settings = || RewriteSettings::new("o.example", "web1.o.example");
    let brand = (Selector::parse("@h.acme.example").unwrap(), Replacement::parse("@brand.example").unwrap());
    [
        settings(),
        RewriteSettings { sender: Template::parse("s@x.example").ok(), ..settings() },
        RewriteSettings { senders: [brand].into(), ..settings() },
        RewriteSettings { masquerade: vec![MasqueradeDomain::parse("acme.example").unwrap()], ..settings() },
    ]
}

/// Returns the From that results, and the fields that were left alone.
fn became(settings: RewriteSettings, from: &str) -> (String, Vec<String>) {
    let header = format!("From: {from}\r\n");
    let rewritten = rewritten(settings, envelope("app", &[]), &header).unwrap();
    let fields = header::split(&rewritten.header).header;
    let from = fields.find("From").unwrap().unfolded().into_owned();
    let left = rewritten.changes.left_alone().iter().map(LeftAlone::to_string).collect();
    (String::from_utf8(from).unwrap(), left)
}

#[test]
fn each_from_each_way() {
    for (from, expected) in ROWS {
        for (settings, expected) in ways().into_iter().zip(expected) {
            let expected = if *expected == "=" { from } else { expected };
            assert_eq!(became(settings.clone(), from).0, *expected, "{from}");
        }
        // Without any rewriting, the name of this host is the origin.
        let bare = became(RewriteSettings::new("web1.o.example", "web1.o.example"), from).0;
        let expected = if expected[0] == "=" { from } else { expected[0] };
        assert_eq!(bare, expected.replace("@o.example", "@web1.o.example"), "{from}");
    }
}

/// Adding quotes to a name that is signed without them would have broken the signature.
#[test]
fn a_signed_name_stays_but_for_one_sender() {
    let [origin, sender, ..] = ways();
    let header = "DKIM-Signature: v=1\r\nFrom: Acme: Inc <n@x>\r\nReply-To: Acme: Inc <n@x>\r\n";
    let both = |settings: RewriteSettings| {
        let rewritten = rewritten(settings, envelope("app", &[]), header).unwrap();
        let fields = header::split(&rewritten.header).header;
        let bodies = ["From", "Reply-To"].map(|name| fields.find(name).unwrap().unfolded().into_owned());
        let left: Vec<_> = rewritten.changes.left_alone().iter().map(LeftAlone::to_string).collect();
        (bodies.map(|body| String::from_utf8(body).unwrap()).join("; "), left)
    };
    let why = "(its name needs quotes, but the message is signed: the relay may refuse it)";
    let left = |name: &str| format!("{name}: Acme: Inc <n@x> {why}");
    assert_eq!(
        both(origin),
        ("Acme: Inc <n@x>; Acme: Inc <n@x>".into(), vec![left("From"), left("Reply-To")])
    );
    let with_sender = "\"Acme: Inc\" <s@x.example>; Acme: Inc <s@x.example>";
    assert_eq!(both(sender), (with_sender.into(), vec![left("Reply-To")]));
}

#[test]
fn what_is_mended_is_said() {
    for (settings, expected) in ways().into_iter().zip([
        &["From: Acme: Inc <n@x> -> \"Acme: Inc\" <n@x> (always)"][..],
        &[
            "From: Acme: Inc <n@x> -> \"Acme: Inc\" <n@x> (always)",
            "From: n@x -> s@x.example (rewrite.sender)",
        ],
    ]) {
        let header = COMPLETE.replace("From: ann@x.example", "From: Acme: Inc <n@x>");
        let changes = rewritten(settings, envelope("app@x.example", &[]), &header).unwrap().changes;
        let of_from =
            changes.kept().iter().filter(|change| change.place == ChangePlace::Field("From".to_owned()));
        assert_eq!(of_from.map(Change::to_string).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn what_is_left_alone_is_said_with_its_reason() {
    let [origin, sender, ..] = ways();
    let name = "words beside an address in brackets are taken for a part of its name, which lacks quotes";
    for (from, left) in [
        ("Ann <n@x>", None),
        ("Acme, Inc. <n@x>", None),
        ("Ann <n@x>, Bob", Some(name)),
        ("Acme, Inc. <n@x>, Bob <b@x>", Some(name)),
        (
            "Ann <n@x",
            Some(
                "no list of addresses: those that can be read in it are rewritten, the rest stays; the relay may refuse it",
            ),
        ),
        ("a@b@c, ann", Some("no list of addresses")),
        ("\u{1}", Some("no list of addresses")),
        ("<a@b!c>, ann", Some("one of its addresses cannot be read, and stays as it is")),
    ] {
        let left: Vec<_> =
            left.iter().map(|why| format!("From: {} ({why})", from.replace('\u{1}', "?"))).collect();
        assert_eq!(became(origin.clone(), from).1, left);
        assert_eq!(became(sender.clone(), from).1, [""; 0], "written anew");
    }
    let settings = RewriteSettings { reply_to_original: true, ..sender };
    let header = format!("{COMPLETE}Reply-To: ann@x.example\r\nCc: <\r\n");
    let changes = rewritten(settings, envelope("app", &[]), &header).unwrap().changes;
    let left: Vec<_> = changes.left_alone().iter().map(LeftAlone::to_string).collect();
    assert_eq!(
        left,
        ["Reply-To: ann@x.example (kept by rewrite.reply-to-original)", "Cc: < (no list of addresses)"]
    );
}
