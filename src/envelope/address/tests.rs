use super::*;
use crate::envelope::quoted::unquote;

#[test]
fn addresses_accepted_and_split() {
    let cases = [
        ("root", "root", None),
        ("ann@example.org", "ann", Some("example.org")),
        ("ann@example.org.", "ann", Some("example.org.")),
        ("\"a b@c\"@example.org", "\"a b@c\"", Some("example.org")),
        ("\"a\\\"b\"@example.org", "\"a\\\"b\"", Some("example.org")),
        ("\"quoted\"", "\"quoted\"", None),
        ("x@[192.0.2.1]", "x", Some("[192.0.2.1]")),
        ("x@[IPv6:2001:db8::1]", "x", Some("[IPv6:2001:db8::1]")),
        ("пример@пример.рф", "пример", Some("пример.рф")),
        ("a..b.@host_1", "a..b.", Some("host_1")),
        ("bounce+x=y@[127.0.0.1]", "bounce+x=y", Some("[127.0.0.1]")),
    ];
    for (text, local, domain) in cases {
        let address = Address::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!((address.local_part(), address.domain()), (local, domain), "{text}");
        assert_eq!(address.as_str(), text);
    }
}

#[test]
fn addresses_refused() {
    let cases = [
        ("", BadAddress::Empty),
        ("a\r\nRCPT TO:<b>", BadAddress::BadCharacter),
        ("a\0b", BadAddress::BadCharacter),
        ("a b@c", BadAddress::BadCharacter),
        ("<a@b>", BadAddress::BadCharacter),
        ("@example.org", BadAddress::BadLocalPart),
        ("\"open@example.org", BadAddress::BadLocalPart),
        ("\"a\"b@example.org", BadAddress::BadLocalPart),
        ("a@", BadAddress::BadDomain),
        ("a@b@c", BadAddress::BadDomain),
        ("a@b..c", BadAddress::BadDomain),
        ("a@[", BadAddress::BadDomain),
        ("a@[]", BadAddress::BadDomain),
        ("a@b c", BadAddress::BadDomain),
    ];
    for (text, expected) in cases {
        assert_eq!(Address::parse(text), Err(expected), "{text:?}");
    }
    assert_eq!(Address::parse(&"x".repeat(MAX_ADDRESS_OCTETS + 1)), Err(BadAddress::TooLong));
}

#[test]
fn origin_completes_only_bare_addresses() {
    let bare = Address::parse("root").unwrap();
    assert_eq!(bare.completed_with("example.org").as_str(), "root@example.org");
    let whole = Address::parse("root@host").unwrap();
    assert_eq!(whole.completed_with("example.org"), whole);
    for (text, expected) in [("root@host.", "root@host"), ("root@[192.0.2.1]", "root@[192.0.2.1]")] {
        assert_eq!(Address::parse(text).unwrap().completed_with("example.org").as_str(), expected);
    }
    assert_eq!(Address::parse("root.").unwrap().completed_with("example.org").as_str(), "root.@example.org");
}

#[test]
fn dots_that_no_atom_has_are_quoted_for_smtp() {
    for (text, expected) in [
        ("a.b@x", "a.b@x"),
        ("a..b@x", "\"a..b\"@x"),
        (".a@x", "\".a\"@x"),
        ("a.", "\"a.\""),
        ("\"a..b\"@x", "\"a..b\"@x"),
        ("\"a b\"@x", "\"a b\"@x"),
        ("a@[192.0.2.1]", "a@[192.0.2.1]"),
    ] {
        assert_eq!(Address::parse(text).unwrap().to_mailbox(), expected, "{text}");
    }
}

/// An address of 995 octets was accepted, completed to 1007 octets, and could not be read back from the spool.
#[test]
fn what_is_completed_is_an_address_still() {
    let origin = format!("{}x", "abcdefg.".repeat(MAX_HOST_NAME_OCTETS / 8));
    let bare = |octets| Address::parse(&"x".repeat(octets));
    let completed = bare(MAX_BARE_OCTETS).unwrap().completed_with(&origin);
    assert_eq!(Address::parse(completed.as_str()), Ok(completed.clone()));
    assert_eq!(bare(MAX_BARE_OCTETS + 1), Err(BadAddress::TooLong));
}

#[test]
fn some_addresses_nobody_can_mean_as_a_recipient() {
    let (in_quotes, encoded) = (Some(BadAddress::InQuotes), Some(BadAddress::EncodedWord));
    let name = Some(BadAddress::NameInQuotes);
    for (text, fault) in [
        ("\"a@x.example\"", in_quotes),
        ("\"a@x.example, b\"", in_quotes),
        ("\"a,b\"", in_quotes),
        // It was queued, with exit 0, for a user of this host with that name.
        ("\"Ann Smith\"", name),
        ("\"Team: Ann\"", name),
        ("\"Ann <ann>\"", name),
        ("\"Ann (at home)\"", name),
        ("\"Ann [ops]\"", name),
        ("\"ann\"", None),
        ("\"DOMAIN\\\\ann\"", None),
        ("\"a b\"@x.example", None),
        ("\"a@b\"@x.example", None),
        ("\"a,b\"@x.example", None),
        ("ann@x.example", None),
        ("ann", None),
        ("=?utf-8?q?a=40x.example?=", encoded),
        ("=?utf-8?B?YUB4?=@x.example", encoded),
        ("\"=?utf-8?q?a@x.example?=\"", encoded),
        ("=?utf-8?Q?Smith", encoded),
        ("\"=?utf-8?Q?Smith, A\"", encoded),
        ("=?utf-8?=", encoded),
        ("=?utf-8?=@x.example", None),
        ("bounces=?a?b?c@x.example", None),
    ] {
        assert_eq!(Address::parse(text).unwrap().fault_as_recipient(), fault, "{text}");
    }
}

#[test]
fn quotes_are_put_where_they_are_needed() {
    for (text, spelt) in [
        ("ann", "ann"),
        ("a.b+c", "a.b+c"),
        ("a b", "\"a b\""),
        ("a\"\\b", "\"a\\\"\\\\b\""),
        ("a@b", "\"a@b\""),
        ("", "\"\""),
    ] {
        assert_eq!(quoted_local_part(text), spelt);
        assert_eq!(unquote(spelt), text);
    }
}
