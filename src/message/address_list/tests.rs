use proptest::prelude::*;

use super::*;
use crate::message::address::mailboxes;

fn read(body: &str) -> Result<Vec<String>, String> {
    let found = addresses_of(body.as_bytes()).map_err(|error| error.to_string())?;
    Ok(found.addresses.iter().map(ToString::to_string).collect())
}

#[test]
fn lists_as_they_are_written() {
    let cases: [(&str, &[&str]); 41] = [
        ("", &[]),
        (" \r\n", &[]),
        ("root", &["root"]),
        ("ann@example.org", &["ann@example.org"]),
        ("a@x, b@y,c@z", &["a@x", "b@y", "c@z"]),
        ("a@x,\r\n b@y,\r\n\tc@z\r\n", &["a@x", "b@y", "c@z"]),
        (",a@x,, b@y,", &["a@x", "b@y"]),
        ("Ann <ann@example.org>", &["ann@example.org"]),
        ("Ann Example<ann@example.org>, root", &["ann@example.org", "root"]),
        ("\"Doe, John; <x@y>\" <john@example.org>", &["john@example.org"]),
        ("\"quo\\\"te, <x>\" <q@x>", &["q@x"]),
        ("=?utf-8?q?J=C3=B6rg?= <j@x>", &["j@x"]),
        ("=?utf-8?q?Smith,_J=C3=B6rg?= <j@x>", &["j@x"]),
        ("=?utf-8?q?A, <b@y>: C?= <j@x>", &["j@x"]),
        ("Jörg <j@x>", &["j@x"]),
        ("Cron Daemon <root> (by cron, at noon)", &["root"]),
        ("(a, b) a@x (c (nested, d@y) \\) e)", &["a@x"]),
        ("ann(comment)@(and)example.org", &["ann@example.org"]),
        ("ann @ example . org", &["ann@example.org"]),
        ("<ann\r\n @example.org>", &["ann@example.org"]),
        ("\"a b\"@example.org", &["\"a b\"@example.org"]),
        ("<\"a, b\"@example.org>", &["\"a, b\"@example.org"]),
        ("\"a@b\"@example.org", &["\"a@b\"@example.org"]),
        ("\"fold\r\n ed\"@x", &["\"fold ed\"@x"]),
        ("\"john\".\"d o e\"@x", &["\"john.d o e\"@x"]),
        ("john.\"doe\"@x", &["\"john.doe\"@x"]),
        ("x@[192.0.2.1], y@[IPv6:2001:db8::1]", &["x@[192.0.2.1]", "y@[IPv6:2001:db8::1]"]),
        ("undisclosed-recipients:;", &[]),
        ("Team: a@x, B <b@y>;", &["a@x", "b@y"]),
        ("A: a@x; c@z, B:b@y,;, d@w", &["a@x", "c@z", "b@y", "d@w"]),
        ("\"A: group\": a@x;", &["a@x"]),
        ("Group: ;, a@x", &["a@x"]),
        ("<@a.example,@b.example:ann@example.org>", &["ann@example.org"]),
        ("<@[IPv6:2001:db8::1]:ann@example.org>", &["ann@example.org"]),
        ("<a@x> <b@y>", &["a@x", "b@y"]),
        ("<a@x> trailing words", &["a@x"]),
        ("John Q. Public <jqp@x>", &["jqp@x"]),
        ("пример@пример.рф", &["пример@пример.рф"]),
        ("o'brien+tag=x@example.org", &["o'brien+tag=x@example.org"]),
        ("user%host@gateway", &["user%host@gateway"]),
        ("a..b.@x", &["a..b.@x"]),
    ];
    for (body, expected) in cases {
        assert_eq!(read(body), Ok(expected.iter().map(ToString::to_string).collect()), "{body:?}");
    }
}

#[test]
fn what_cannot_be_read_is_named_and_never_passed_over() {
    for (body, entry) in [
        ("a@x, two words, b@y", "two words"),
        ("a@x b@y", "a@x b@y"),
        ("<>", "<>"),
        ("Ann <>", "Ann <>"),
        ("a@x, <b@y", "<b@y"),
        ("a@x, (unclosed, b@y", "(unclosed"),
        ("a@x (unclosed, b@y", "a@x (unclosed"),
        ("\"unclosed, a@x", "\\\"unclosed"),
        ("a@x>, b@y", "a@x>"),
        ("a@@x", "a@@x"),
        ("@x", "@x"),
        ("a@", "a@"),
        ("a@[192.0.2.1", "a@[192.0.2.1"),
        ("a@x)", "a@x)"),
        (":include:/etc/passwd", ":include:/etc/passwd"),
        ("<a@x, b@y>", "<a@x"),
        ("a\0b@x", "a\\0b@x"),
        ("a\u{1b}b@x", "a\\u{1b}b@x"),
        ("a\\b@x", "a\\\\b@x"),
        ("a@x: b@y", "a@x: b@y"),
    ] {
        assert_eq!(read(body), Err(format!("not an address: {entry}")), "{body:?}");
    }
}

/// `To: a@x Ann <b@y>` was sent to b@y only, and `<a@x> b@y` to a@x only, with exit 0. Nobody learned that the other
/// got nothing.
#[test]
fn an_address_beside_brackets_is_never_passed_over() {
    let sentence =
        "an address stands beside one in brackets: put a comma between them, or quotes around what is a name";
    for body in [
        "a@x Ann <b@y>",
        "a@x <b@y>",
        "Ann a@x <b@y>",
        "Ann <b@y> a@x",
        "<b@y> (and) a@x",
        "a@x c@z <b@y>",
        "a@x <b@y> <c@z>",
        "c@z, Team: a@x <b@y>;",
        "a@[192.0.2.1] <b@y>",
        "<@r:b@y> a@x",
    ] {
        let entry = body.trim_start_matches("c@z, Team:").trim_end_matches(';').trim();
        assert_eq!(read(body), Err(format!("{sentence}: {entry}")), "{body:?}");
    }
    for body in [
        "b@y <b@y>",
        "B@Y (at home) <b@y>",
        "<b@y> b@y",
        "'a@x' <b@y>",
        "\"a@x\" <b@y>",
        "(a@x) <b@y> (a@x)",
        "Joe @ Home <b@y>",
        "me@ <b@y>",
        "=?utf-8?Q?a@x.example?= <b@y>",
        "<b@y> trailing words",
    ] {
        assert_eq!(read(body), Ok(vec!["b@y".to_owned()]), "{body:?}");
    }
}

/// `"ann@x, bob@y"` was queued, with exit 0, for a user of this host with that name.
#[test]
fn addresses_in_quotes_are_refused_with_a_sentence() {
    let sentence = "an address within quotes and no domain behind them: leave the quotes out";
    for (body, entry) in [
        ("\"ann@x\"", "\"ann@x\""),
        ("\"ann@x, bob@y\"", "\"ann@x, bob@y\""),
        ("carl@z, Ann <\"ann,bob\">", "\"ann,bob\""),
        ("Team: \"ann@x\";", "\"ann@x\""),
    ] {
        assert_eq!(read(body), Err(format!("{sentence}: {entry}")), "{body:?}");
    }
    assert_eq!(read("\"ann, bob\" <c@x>, \"a b\"@x, \"a@b\"@x").unwrap().len(), 3);
    let sentence = "a name within quotes and no domain behind it: write the address, in <> behind the name";
    for body in ["\"Ann Smith\"", "c@x, <\"Ann Smith\">", "\"Ann Smith\", <a@x>"] {
        assert_eq!(read(body), Err(format!("{sentence}: \"Ann Smith\"")), "{body:?}");
    }
}

/// `=?utf-8?q?a=40x.example?=` was queued, with exit 0, for a user of this host with that name.
#[test]
fn an_encoded_word_is_no_address() {
    let sentence = "an encoded word (=?...?=) is a name, not an address: write the address as it is";
    for (body, entry) in [
        ("=?utf-8?q?a=40x.example?=", "=?utf-8?q?a=40x.example?="),
        ("Ann <a@x>, =?utf-8?Q?Smith", "=?utf-8?Q?Smith"),
        ("b@y, =?utf-8?B?YUB4?=@x.example", "=?utf-8?B?YUB4?=@x.example"),
        ("Ann <=?utf-8?q?a=40x?=>", "=?utf-8?q?a=40x?="),
    ] {
        assert_eq!(read(body), Err(format!("{sentence}: {entry}")), "{body:?}");
    }
    let with_its_at = "=?utf-8?q?a@x.example?=";
    assert!(read(with_its_at).is_err() && read("=?utf-8?q?Ann?= =?utf-8?q?a=40x?=").is_err());
}

/// `Smith, Ann <a@x>` was queued for Ann and for a user of this host with the name Smith.
#[test]
fn a_bare_word_beside_brackets_is_in_doubt() {
    for (body, doubtful) in [
        ("Smith, Ann <a@x>", "Smith"),
        ("Ann <a@x>, Inc.", "Inc."),
        ("Acme, \"Inc.\", Team: Ltd, <a@x>;", "Acme \"Inc.\" Ltd"),
        ("root, ann", ""),
        ("<root>, ann@x, Bob <bob>", ""),
        ("Smith (<a@x>), \"<a@x>\"@y", ""),
    ] {
        let listed = addresses_of(body.as_bytes()).unwrap();
        let words: Vec<_> = listed.doubtful.iter().map(Address::as_str).collect();
        assert_eq!(words.join(" "), doubtful, "{body:?}");
        assert!(listed.doubtful.iter().all(|word| listed.addresses.contains(word)), "they stay recipients");
    }
}

#[test]
fn octets_that_are_no_utf8_are_for_display_names() {
    let latin = addresses_of(b"J\xf6rg <j@x>").unwrap().addresses;
    assert_eq!(latin, [Address::parse("j@x").unwrap()]);
    assert!(addresses_of(b"j\xf6rg@x").is_err());
}

/// An independent parser finds the same addresses in each list.
#[test]
fn another_parser_finds_the_same() {
    for body in [
        "a@x.example",
        "Ann <a@x.example>, b@y.example",
        "Ann\r\n <a@x.example>,\r\n\tBob <b@y.example>",
        "\"Smith, Ann; <c@z.example>\" <a@x.example>, b@y.example",
        "=?utf-8?Q?Smith=2C_Ann?= <a@x.example>, =?utf-8?B?SsO2cmc=?= <j@x.example>",
        "Team: a@x.example, Bob <b@y.example>;, c@z.example",
        "undisclosed-recipients:;",
        "a@x.example (at home), (c@z.example) b@y.example",
        "\"ann\" <a.b+c@x.example>, o'brien@x.example",
        "a@[192.0.2.1], Jörg <j@x.example>",
    ] {
        assert_eq!(read(body), Ok(by_mail_parser(body)), "{body:?}");
    }
}

/// Returns the addresses that mail-parser finds in a field with this body.
fn by_mail_parser(body: &str) -> Vec<String> {
    let content = format!("To: {body}\r\n\r\n");
    let message = mail_parser::MessageParser::default().parse(&content).unwrap();
    let addresses = message.to().into_iter().flat_map(|to| to.iter());
    addresses.filter_map(|to| to.address()).map(str::to_owned).collect()
}

fn mailbox() -> impl Strategy<Value = String> {
    let local = prop_oneof!["[a-z0-9+=_-]{1,8}", "[a-z]{1,3}\\.[a-z]{1,3}", "\"[a-z ,;:<>@()]{0,8}\""];
    let domain = prop_oneof!["@[a-z]{1,5}", "@[a-z]{1,5}\\.[a-z]{2}", ""];
    let is_meant =
        |text: &String| Address::parse(text).is_ok_and(|address| address.fault_as_recipient().is_none());
    (local, domain).prop_map(|(a, b)| a + &b).prop_filter("an address in quotes", is_meant)
}

/// Generates an entry, and the mailbox in it.
fn entry() -> impl Strategy<Value = (String, String)> {
    let name = prop_oneof!["", "[A-Za-z ]{0,9} ", "\"[A-Za-z ,;:<>@]{0,9}\" ", "\\([a-z,<>@;]{0,9}\\) "];
    let comment = prop_oneof!["", " ", "\r\n ", " \\([a-z,<>@;]{0,9}\\)"];
    (name, mailbox(), comment).prop_map(|(name, mailbox, comment)| {
        let bare = name.is_empty() && comment.is_empty();
        let entry = if bare { mailbox.clone() } else { format!("{name}<{mailbox}>{comment}") };
        (entry, mailbox)
    })
}

proptest! {
    #[test]
    fn another_parser_finds_the_same_in_any_list(
        entries in proptest::collection::vec(
            (
                prop_oneof!["[A-Z][a-z]{1,6} ", "\"[A-Za-z ,;:<>@]{1,9}\" ", "=\\?utf-8\\?Q\\?[A-Za-z_=2C]{1,9}\\?= ", ""],
                "[a-z][a-z0-9+=_.-]{0,6}[a-z]@[a-z]{1,5}\\.[a-z]{2}",
                prop_oneof!["", " \\([a-z ]{0,9}\\)"],
            ),
            1..6,
        ),
        gaps in proptest::collection::vec(prop::sample::select(vec![", ", ",", ",\r\n ", " ,\r\n\t"]), 6),
    ) {
        let (mut body, last) = (String::new(), entries.len() - 1);
        for (index, ((name, address, comment), gap)) in entries.iter().zip(&gaps).enumerate() {
            body += &if name.is_empty() { address.clone() } else { format!("{name}<{address}>") };
            body += comment;
            body += if index < last { gap } else { "" };
        }
        prop_assert_eq!(read(&body), Ok(by_mail_parser(&body)), "{}", body);
    }

    #[test]
    fn every_entry_of_a_list_is_found(entries in proptest::collection::vec(entry(), 0..6)) {
        let (texts, expected): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        prop_assert_eq!(read(&texts.join(",\r\n ")), Ok(expected.clone()));
        prop_assert_eq!(read(&format!("Team: {};", texts.join(","))), Ok(expected));
    }

    #[test]
    fn no_octets_make_it_panic_or_yield_an_unsafe_address(body in proptest::collection::vec(any::<u8>(), 0..64)) {
        for address in addresses_of(&body).unwrap_or_default().addresses {
            prop_assert!(!address.as_str().chars().any(char::is_control));
        }
    }

    #[test]
    fn syntax_in_any_order_does_not_make_it_panic(body in "[a<>@,;:.()\\[\\]\"\\\\ \r\n]{0,24}") {
        let _ = addresses_of(body.as_bytes());
    }

    /// `sendmail -t` takes the recipients from here, and rewriting finds the same addresses in the header. The
    /// exception is an address that rewriting leaves as it is: a quoted string next to another word.
    #[test]
    fn both_parsers_find_the_same_addresses(words in proptest::collection::vec(proptest::sample::select(WORDS), 0..12)) {
        let body = words.concat();
        let there: Result<Vec<_>, _> = mailboxes(body.as_bytes()).collect();
        if let (Ok(here), Ok(there)) = (addresses_of(body.as_bytes()), there) {
            let mut there = there.into_iter().map(|mailbox| mailbox.address).peekable();
            for address in here.addresses {
                let is_there = there.next_if_eq(&address).is_some();
                prop_assert!(is_there || address.as_str().starts_with('"'), "{} is not in {:?}", address, body);
            }
            prop_assert_eq!(there.next(), None);
        }
    }
}

/// The pieces of which address lists consist.
const WORDS: &[&str] = &[
    "ann",
    "ben",
    "x.example",
    "@",
    "@",
    ".",
    ",",
    ", ",
    ":",
    ";",
    "<",
    ">",
    " ",
    "\r\n ",
    "(c, <d@y>)",
    "\"q\"",
    "\"q \\\" @\"",
    "[192.0.2.1]",
    "@r:",
    "<ann@x>",
    "\u{e4}",
];
