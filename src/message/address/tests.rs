use proptest::prelude::*;

use super::*;

/// Returns the addresses of `body`, or that it is malformed.
fn addresses(body: &[u8]) -> Result<Vec<String>, Malformed> {
    mailboxes(body).map(|mailbox| mailbox.map(|mailbox| mailbox.address.to_string())).collect()
}

#[test]
fn lists_as_they_are_met() {
    let cases: &[(&str, &[&str])] = &[
        ("", &[]),
        ("root", &["root"]),
        (" ann@example.org\r\n", &["ann@example.org"]),
        ("Ann <ann@example.org>, root", &["ann@example.org", "root"]),
        // Comments: nested, escaped, between all parts.
        ("root (Charlie \\) (Root))", &["root"]),
        ("(a) ann (b) . (c) smith (d) @ (e) example (f) . org (g)", &["ann.smith@example.org"]),
        ("Ann (the \"one) < (x) ann@example.org (y) > (z), bob", &["ann@example.org", "bob"]),
        // Quoted strings as display names and local parts.
        ("\"Smith, Ann <x@y>\" <ann@example.org>", &["ann@example.org"]),
        ("\"ann \\\" smith\"@example.org, \"root\"", &["\"ann \\\" smith\"@example.org", "\"root\""]),
        ("\"a\r\n b\"@example.org", &["\"a b\"@example.org"]),
        // Encoded words are atoms. Programs write dots, `@` and brackets without quotes in display names.
        ("=?utf-8?Q?Ann_=C3=84?= <ann@example.org>", &["ann@example.org"]),
        ("John Q. Public <john>, ann@example.org <ann@example.org>", &["john", "ann@example.org"]),
        ("[Dev] Ann <ann@example.org>", &["ann@example.org"]),
        // Groups: with a name, empty, in the middle, without an end.
        ("undisclosed-recipients:;", &[]),
        ("undisclosed-recipients: ", &[]),
        ("Us: ann, Bob <bob@x>; carl, Them:;", &["ann", "bob@x", "carl"]),
        ("Us: <ann>", &["ann"]),
        // Empty elements; semicolons in place of commas.
        (", ,root,,\r\n ann@x,", &["root", "ann@x"]),
        ("ann@x; Bob <bob@x>; carl@x", &["ann@x", "bob@x", "carl@x"]),
        // Routes, the null address, literals.
        ("<@a.example,@[192.0.2.1]:ann@example.org>", &["ann@example.org"]),
        ("<>", &[]),
        ("Nobody <>, x@[IPv6:2001:db8::1]", &["x@[IPv6:2001:db8::1]"]),
        // Text that is not ASCII.
        ("Jürgen <jürgen@exämple.org>, 用户", &["jürgen@exämple.org", "用户"]),
        // Folds at every possible place.
        ("Ann\r\n\t<ann\r\n @example.org>\r\n ,\r\n root\r\n", &["ann@example.org", "root"]),
        // An address that `Address` does not accept is passed over.
        ("a@b..c, root, a.\"b c\"@x", &["root"]),
        ("host!user, user%host", &["host!user", "user%host"]),
    ];
    for (body, expected) in cases {
        let expected = expected.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(addresses(body.as_bytes()), Ok(expected), "{body:?}");
    }
    assert_eq!(addresses(b"J\xfcrgen <j@x>, j\xfcrgen@x, root"), Ok(vec!["j@x".into(), "root".into()]));
}

#[test]
fn what_is_no_list_is_malformed() {
    for body in [
        "Ann Smith",
        "root, Ann Smith",
        "ann smith@example.org",
        "ann@example org",
        "@example.org",
        "ann@",
        "a@b@c",
        "<ann@example.org",
        "ann@example.org>",
        "<<ann@example.org>>",
        "<ann@example.org> smith",
        "<ann@example.org> <bob@example.org>",
        "<ann,bob>",
        "<@example.org>",
        "<@example.org,ann>",
        "\"ann@example.org",
        "\"ann\\",
        "root (Charlie",
        "root)",
        "ann@[192.0.2.1",
        "[192.0.2.1]",
        "ann@\"example.org\"",
        "\"a\"b@example.org",
        "a:b:c;",
        ": root",
        "ann\\smith",
        "ro\0ot",
        "ro\u{1b}ot",
        "=?utf-8?Q?Smith,_Ann?= <ann@example.org>",
    ] {
        assert_eq!(addresses(body.as_bytes()).err(), Some(Malformed), "{body:?}");
    }
    assert_eq!(mailboxes(b"root, <, ann").count(), 2, "nothing comes behind what is malformed");
}

#[test]
fn an_edit_takes_no_more_than_differs() {
    for (body, other, expected) in [
        ("root", "root@x.example", "root@x.example"),
        ("Cron <root> (daemon)", "root@x.example", "Cron <root@x.example> (daemon)"),
        (" root (Charlie)\r\n", "root@x.example", " root@x.example (Charlie)\r\n"),
        ("a (b) @ (c) host . example (d)", "a@x.example", "a (b) @ (c) x.example (d)"),
        ("a (b) @ (c) host . example (d)", "z@x.example", "z@x.example (d)"),
        ("<@r.example:root>", "root@x.example", "<@r.example:root@x.example>"),
        ("ann@x.example", "root", "root"),
        ("ann@x.example", "ann", "ann"),
        ("\"a b\"", "\"a b\"@x.example", "\"a b\"@x.example"),
    ] {
        let mailbox = mailboxes(body.as_bytes()).next().unwrap().unwrap();
        let (range, text) = mailbox.edit_to(&Address::parse(other).unwrap());
        let mut edited = body.to_owned();
        edited.replace_range(range, &text);
        assert_eq!(edited, expected, "{body:?}");
    }
}

#[test]
fn a_hostile_body_costs_time_in_proportion_to_its_length() {
    let body = |pattern: &str| pattern.repeat(300_000 / pattern.len());
    for pattern in ["(", "\"", "a,", "a.", "<", "@", "a:", ";", "\\", "[", "(a)", "a "] {
        // The test is that this ends soon.
        let _ = mailboxes(body(pattern).as_bytes()).count();
    }
}

/// Generates bodies of pieces that matter to the parser.
fn arbitrary_body() -> impl Strategy<Value = Vec<u8>> {
    let atoms: &[&[u8]] = &[
        b"ann",
        b"root",
        b"@",
        b".",
        b",",
        b";",
        b":",
        b"<",
        b">",
        b"(",
        b")",
        b"\"",
        b"\\",
        b"[",
        b"]",
        b" ",
        b"\r\n ",
        b"\r",
        b"example.org",
        b"\xff",
        b"\xc3\xa4",
        b"=?",
        b"\0",
        b"<ann@x>",
        b"a@b",
        b"\"q\"",
    ];
    prop::collection::vec(prop::sample::select(atoms), 0..16).prop_map(|atoms| atoms.concat())
}

proptest! {
    #[test]
    fn ranges_are_in_order_and_hold_the_address(body in arbitrary_body()) {
        let mut behind = 0;
        for mailbox in mailboxes(&body).flatten() {
            let Mailbox { address, local, domain, .. } = mailbox;
            prop_assert!(behind <= local.start && local.start < local.end);
            behind = local.end;
            if let Some(domain) = &domain {
                prop_assert!(local.end < domain.start && domain.start < domain.end);
                behind = domain.end;
            }
            prop_assert!(behind <= body.len());
            prop_assert_eq!(address.domain().is_some(), domain.is_some());
        }
    }

    /// Promise 1, and a parser of the result sees this change and no other.
    #[test]
    fn an_edit_is_read_back(body in arbitrary_body()) {
        let Ok(before) = mailboxes(&body).collect::<Result<Vec<_>, _>>() else { return Ok(()) };
        let other = Address::parse("new.one@origin.example").unwrap();
        for (index, mailbox) in before.iter().enumerate() {
            let (range, text) = mailbox.edit_to(&other);
            let edited = [&body[..range.start], text.as_bytes(), &body[range.end..]].concat();
            let after: Vec<_> = mailboxes(&edited).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(after.len(), before.len());
            for (at, mailbox) in after.iter().enumerate() {
                prop_assert_eq!(&mailbox.address, if at == index { &other } else { &before[at].address });
            }
        }
    }

    #[test]
    fn octets_of_any_kind_do_no_harm(body in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = mailboxes(&body).count();
    }
}
