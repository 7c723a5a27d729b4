use super::*;
use crate::config::Mechanism;
use crate::config::units::PositiveCount;

/// Returns true if `toml` is a value of `T`; panics if it is no TOML.
fn accepts<T: Setting>(toml: &str) -> bool {
    T::read(DeValue::parse(toml).unwrap().get_ref()).is_some()
}

fn check<T: Setting>(good: &[&str], bad: &[&str]) {
    for toml in good {
        assert!(accepts::<T>(toml), "refused {toml}");
    }
    for toml in bad {
        assert!(!accepts::<T>(toml), "accepted {toml}");
    }
}

#[test]
fn every_type_keeps_its_rule() {
    check::<PositiveCount>(&["1", "4_294_967_295", "0x10"], &["0", "-1", "4294967296", "1.0", "'1'", "true"]);
    check::<CivilDay>(
        &["2027-01-31", "'2027-01-31'", "2028-02-29"],
        &[
            "'2027-02-29'",
            "'31.1.2027'",
            "20270131",
            "2027-01-31T00:00:00Z",
            "00:00:00",
            "'2027-W04-7'",
            "''",
        ],
    );
    check::<AbsolutePath>(&["'/'", "'/a b'"], &["''", "'a'", "'./a'", "'~/a'", r#""/a\nb""#, r#""/\u0000""#]);
    check::<HostName>(
        &["'host'", "'a.b-c.example'", "'host_1'", "'xn--bcher-kva.example'"],
        &["''", "'a..b'", "'-a.b'", "'a.b.'", "'a b'", "'bücher.example'", "'10.0.0.1'", "'[::1]'"],
    );
    check::<CertificateName>(
        &["'mx.example'", "'192.0.2.1'", "'2001:db8::1'"],
        &["''", "'*.example'", "'a b'"],
    );
    check::<HeloName>(
        &["'web1.example.com'", "'[192.0.2.1]'", "'[IPv6:2001:db8::1]'"],
        &[
            "''",
            "'web1'",
            "'localhost'",
            "'localhost.localdomain'",
            "'web1.example.com.'",
            "'192.0.2.1'",
            "'[::1]'",
            "'a b.c'",
        ],
    );
    check::<SourceAddress>(
        &["'192.0.2.7'", "'2001:db8::7'", "'127.0.0.2'"],
        &[
            "''",
            "'0.0.0.0'",
            "'::'",
            "'[::1]'",
            "'::ffff:192.0.2.7'",
            "'224.0.0.1'",
            "'eth0'",
            "'192.0.2.7:25'",
        ],
    );
    check::<LoopbackAddress>(
        &["'127.0.0.1:25'", "'127.255.0.3:0'", "'[::1]:2525'"],
        &[
            "'0.0.0.0:25'",
            "'[::]:25'",
            "'192.0.2.1:25'",
            "'[::ffff:127.0.0.1]:25'",
            "'localhost:25'",
            "'127.0.0.1'",
        ],
    );
    check::<HttpSetting>(
        &["'127.0.0.1:9925'", "'[::1]:9925'", "'unix:/run/nullmta/http.sock'"],
        &["'0.0.0.0:9925'", "'localhost:9925'", "'unix:http.sock'", "'unix:'", "'/run/nullmta/http.sock'"],
    );
    check::<Username>(
        &["'apikey'", "'ann@example.org'", "'ünï'"],
        &["''", r#""a\u0000b""#, r#""a\r\nb""#, "5"],
    );
    check::<CredentialName>(
        &["'relay'", "'relay.password'"],
        &["''", "'.'", "'..'", "'../etc/passwd'", "'a/b'", "'a:b'", r#""a\u0000""#],
    );
    check::<CommandLine>(
        &["['/bin/x']", "['/bin/x', '', 'a b']"],
        &["[]", "['x']", "'/bin/x y'", "['/bin/x', 5]", r#"["/bin/x", "\u0000"]"#],
    );
    check::<Address>(&["'root'", "'ann@example.org'"], &["''", "'a b'", "'<a@b>'"]);
    check::<Mechanism>(&["'PLAIN'", "'SCRAM-SHA-256'", "'XOAUTH2'"], &["'plain'", "'XOAUTH'", "''"]);
    check::<OrOff<PositiveCount>>(&["'off'", "5"], &["'on'", "false", "0"]);
}

#[test]
fn a_socket_path_fits_its_address() {
    let path = |octets: usize| format!("'/{}'", "x".repeat(octets - 1));
    check::<SocketPath>(&[&path(107)], &[&path(108), "'run/x.sock'"]);
}

#[test]
fn errors_show_values_short_and_escaped_and_possible_secrets_never() {
    let shown = |toml: &str| found(DeValue::parse(toml).unwrap().get_ref());
    assert_eq!(shown(r#""a\nb""#), r#""a\nb""#);
    assert_eq!(shown(&format!("'{}'", "x".repeat(70))), format!("\"{}\"…", "x".repeat(60)));
    assert_eq!(shown("0x1F"), "0x1F");
    let secret = "'hunter2'";
    for shown in [
        SecretPath::found(DeValue::parse(secret).unwrap().get_ref()),
        CredentialName::found(DeValue::parse(secret).unwrap().get_ref()),
        CommandLine::found(DeValue::parse(secret).unwrap().get_ref()),
        CommandLine::found(DeValue::parse("['echo', 'hunter2']").unwrap().get_ref()),
    ] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
