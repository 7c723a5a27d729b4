//! Tests of what a From cannot keep: a further From, and text that is too long for a display name. Both go to
//! X-Original-From, and the author to Reply-To.

use super::authors::ways;
use super::*;

/// A message with two From fields was sent with both: relays refuse it, and readers disagree about the author.
#[test]
fn a_message_leaves_with_one_from() {
    let [origin, _, senders, _] = ways();
    let authors = |settings: &RewriteSettings, header: &str| {
        let rewritten = rewritten(settings.clone(), envelope("app", &[]), header).unwrap();
        let is_author = |field: &Field<'_>| ["From", "X-Original-From"].iter().any(|name| field.is(name));
        let fields = header::split(&rewritten.header).header.fields().filter(is_author);
        let kept: Vec<_> = fields.flat_map(|field| field.octets()).copied().collect();
        let left: Vec<_> = rewritten.changes.left_alone().iter().map(LeftAlone::to_string).collect();
        (String::from_utf8(kept).unwrap(), left)
    };
    for (header, with_origin, with_senders) in [
        (
            "From: n@h.acme.example\r\nFrom: Bob <b@h.acme.example>,\r\n <root>\r\n",
            "From: n@h.acme.example\r\nX-Original-From: Bob <b@h.acme.example>,\r\n <root@o.example>\r\n",
            "From: n@brand.example\r\nX-Original-From: Bob <b@brand.example>,\r\n <root@o.example>\r\n",
        ),
        // The author is in the From that is a list with an address, or else in one that contains an address.
        (
            "From:\r\nFrom: Ann\r\nFROM: Joe <\r\nFrom: x <n@h.acme.example\r\n",
            "X-Original-From:\r\nFrom: Ann@o.example\r\nX-Original-From: Joe <\r\nX-Original-From: x <n@h.acme.example\r\n",
            "X-Original-From:\r\nFrom: Ann@o.example\r\nX-Original-From: Joe <\r\nX-Original-From: x <n@brand.example\r\n",
        ),
        (
            "From: Ann <n@h.acme.example\r\nFrom: Acme: Inc <n@h.acme.example>\r\n",
            "X-Original-From: Ann <n@h.acme.example\r\nFrom: \"Acme: Inc\" <n@h.acme.example>\r\n",
            "X-Original-From: Ann <n@brand.example\r\nFrom: \"Acme: Inc\" <n@brand.example>\r\n",
        ),
        (
            "From: <\r\nFrom: Joe <\r\nFrom: x <n@h.acme.example\r\n",
            "X-Original-From: <\r\nX-Original-From: Joe <\r\nFrom: x <n@h.acme.example\r\n",
            "X-Original-From: <\r\nX-Original-From: Joe <\r\nFrom: x <n@brand.example\r\n",
        ),
        ("From: <\r\nFrom:\r\n", "From: <\r\nX-Original-From:\r\n", "From: <\r\nX-Original-From:\r\n"),
    ] {
        assert_eq!(authors(&origin, header).0, with_origin);
        assert_eq!(authors(&senders, header).0, with_senders);
    }
    let signed = "DKIM-Signature: v=1\r\nFrom: a@x\r\nFrom: <@r:b@y>\r\n";
    let why = "(a message has one From, but this one is signed with more of them: the relay may refuse it)";
    let route = "(a source route stands in it, but the message is signed: the relay may refuse it)";
    let left = [why, route].map(|why| format!("From: <@r:b@y> {why}")).to_vec();
    assert_eq!(authors(&origin, signed), ("From: a@x\r\nFrom: <@r:b@y>\r\n".to_owned(), left));
}

#[test]
fn what_the_name_cannot_say_is_kept() {
    let [_, sender, ..] = ways();
    let header = |settings: &RewriteSettings, fields: &[u8]| {
        let fields = header::split(fields).header;
        let rules = Rules::new(settings.clone()).unwrap();
        let rewritten = rewrite(envelope("app", &["b@x"]), fields, &rules, &facts()).unwrap().header;
        let kept = header::split(&rewritten)
            .header
            .fields()
            .filter(|field| ["From", "X-Original-From", "Reply-To"].iter().any(|name| field.is(name)));
        kept.map(|field| field.octets().escape_ascii().to_string()).collect::<Vec<_>>().join("")
    };
    let long = "word ".repeat(50);
    let (cut, line) = (&long[..199], long.trim_end());
    for (fields, expected) in [
        (&b"From: J\xF6rg <j\r\n"[..], r"From: =?UTF-8?B?SsO2cmcgPGo=?= <s@x.example>\r\n".to_owned()),
        (b"From: \0, a <b@x>\r\n", "From: \\\"?, a\\\" <s@x.example>\\r\\n".to_owned()),
        (
            b"From: a@x\r\nX-Original-From: c@z\r\nFrom: J\xF6 <b@y>\r\n",
            r"From: s@x.example\r\nX-Original-From: c@z\r\nX-Original-From: =?UTF-8?B?SsO2?= <b@y>\r\n"
                .to_owned(),
        ),
        // An X-Original-From of an earlier host prevented that of this host.
        (
            format!("X-Original-From: c@z\r\nFrom: {line}\r\n").as_bytes(),
            format!(r"X-Original-From: c@z\r\nFrom: {cut} <s@x.example>\r\nX-Original-From: {line}\r\n"),
        ),
        (
            format!("From: {line}\r\n").as_bytes(),
            format!(r"From: {cut} <s@x.example>\r\nX-Original-From: {line}\r\n"),
        ),
        (b"From: a@x\r\nFrom: b@y\r\n", r"From: s@x.example\r\nX-Original-From: b@y\r\n".to_owned()),
    ] {
        assert_eq!(header(&sender, fields), expected);
    }
    let settings = RewriteSettings { reply_to_original: true, ..sender };
    for (from, reply_to) in [
        ("Acme, Inc. <n@acme.example>", r#""Acme, Inc." <n@acme.example>"#),
        ("a@acme.example, bob", "a@acme.example, bob@o.example"),
        ("a@acme.example, <", r#""a@acme.example, <" <a@acme.example>"#),
    ] {
        let found = header(&settings, format!("From: {from}\r\n").as_bytes());
        assert!(found.ends_with(&format!(r"Reply-To: {reply_to}\r\n").replace('"', "\\\"")), "{found}");
    }
    assert!(!header(&settings, b"From: <\r\n").contains("Reply-To"));
}
