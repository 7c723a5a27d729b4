//! Golden DSNs: `tests/golden/dsn/*.eml`, with LF line ends, so that diffs are readable.
//!
//! `NULLMTA_BLESS=1 cargo test --lib golden` writes them again; read the diff.

use std::path::Path;

use super::returned::split_returned;
use super::*;

/// Compares a DSN with its golden file, and checks its three parts with another parser.
fn check_golden(name: &str, dsn: Dsn<'_>) {
    let content = dsn.content();
    let lines_ended = content.windows(2).filter(|pair| pair[1] == b'\n').all(|pair| pair[0] == b'\r');
    assert!(lines_ended, "{name}: every line ends with CRLF");
    let shown: Vec<u8> = content.iter().copied().filter(|octet| *octet != b'\r').collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/dsn").join(name);
    if std::env::var_os("NULLMTA_BLESS").is_some() {
        std::fs::write(&path, &shown).unwrap();
    }
    let golden = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(String::from_utf8_lossy(&shown), String::from_utf8_lossy(&golden), "{name}");
    assert!(shown == golden, "{name}: octets that are not UTF-8 differ");
    check_structure(&content, dsn);
}

#[test]
fn golden_failed() {
    let mut ann = Recipient::plain(address("ann@example.org"));
    ann.original = Some(address("root"));
    ann.orcpt = Some("rfc822;ann+2Bbills@example.org".into());
    let mut envelope = envelope_from("app@web1.example.org");
    envelope.envid = Some("QQ+2B314159".into());
    let affected = [refused(&ann, "550 5.1.1 <ann@example.org>: no such user here")];
    with_dsn(DsnKind::Failed, &envelope, CONTENT.as_bytes(), &affected, |dsn| {
        check_golden("failed.eml", dsn);
        assert_eq!(returned_octets(&dsn.content()), CONTENT.as_bytes());
    });
}

#[test]
fn golden_failed_in_our_own_words() {
    let ann = Recipient::plain(address("ann@example.org"));
    let mut envelope = envelope_from("app@web1.example.org");
    envelope.ret = Some(Ret::Headers);
    let expired = Affected {
        status: Status::transient(4, 7),
        from_relay: false,
        remote_mta: None,
        ..refused(
            &ann,
            "not delivered within 5 days; last: connect to smtp.example.com[192.0.2.5]:587: timed out",
        )
    };
    with_dsn(DsnKind::Failed, &envelope, CONTENT.as_bytes(), &[expired], |dsn| {
        check_golden("failed-expired-headers-only.eml", dsn);
    });
}

#[test]
fn golden_delayed() {
    let ann = Recipient::plain(address("ann@example.org"));
    let late = Affected { status: Status::transient(2, 2), ..refused(&ann, "452 4.2.2 mailbox full") };
    let kind = DsnKind::Delayed { retrying_until: seconds(-417_600) };
    with_dsn(kind, &envelope_from("app@web1.example.org"), CONTENT.as_bytes(), &[late], |dsn| {
        check_golden("delayed.eml", dsn);
    });
}

#[test]
fn golden_relayed() {
    let ann = Recipient::plain(address("ann@example.org"));
    let sent =
        Affected { status: Status::success(0, 0), ..refused(&ann, "250 2.0.0 Ok: queued as 4F1C9A02") };
    with_dsn(DsnKind::Relayed, &envelope_from("app@web1.example.org"), CONTENT.as_bytes(), &[sent], |dsn| {
        check_golden("relayed.eml", dsn);
    });
}

#[test]
fn golden_postmaster_copy() {
    let app = Recipient::plain(address("app@web1.example.org"));
    let postmaster = address("postmaster@example.org");
    let affected = [refused(&app, "550 5.1.1 no such user")];
    with_dsn(DsnKind::Failed, &envelope_from("app@web1.example.org"), CONTENT.as_bytes(), &affected, |dsn| {
        let of_dsn = Envelope::from(ReversePath::Null);
        let original = Original { envelope: &of_dsn, ..dsn.original };
        check_golden("postmaster-copy.eml", Dsn { to: &postmaster, original, ..dsn });
        let of_message = human::part(&Dsn { to: &postmaster, ..dsn }).body;
        assert!(
            String::from_utf8(of_message).unwrap().contains("A message from <app@web1.example.org> could")
        );
    });
}

#[test]
fn golden_with_a_copy() {
    let ann = Recipient::plain(address("ann@example.org"));
    let ops = address("ops@example.org");
    let affected = [refused(&ann, "550 5.1.1 no such user")];
    with_dsn(DsnKind::Failed, &envelope_from("noreply@example.org"), CONTENT.as_bytes(), &affected, |dsn| {
        let dsn = Dsn { copy: Some(&ops), ..dsn };
        check_golden("failed-with-copy.eml", dsn);
        let to: Vec<_> = dsn.envelope().recipients.iter().map(|to| to.address.to_string()).collect();
        assert_eq!(to, ["noreply@example.org", "ops@example.org"]);
        assert_eq!(dsn.envelope().reverse_path, ReversePath::Null);
    });
}

#[test]
fn golden_many_recipients() {
    let recipients: Vec<_> =
        (1..=12).map(|n| Recipient::plain(address(&format!("user{n}@example.org")))).collect();
    let mut affected: Vec<_> = recipients.iter().map(|r| refused(r, "550 5.1.1 no such user")).collect();
    affected[1].status = Status::permanent(7, 1);
    affected[1].diagnostic = "554 5.7.1 not on my watch";
    with_dsn(DsnKind::Failed, &envelope_from("app@web1.example.org"), CONTENT.as_bytes(), &affected, |dsn| {
        check_golden("many-recipients.eml", dsn);
        let report = String::from_utf8(report::part(&dsn).body).unwrap();
        assert_eq!(report.matches("\r\n\r\n").count(), 12, "all of them are in the report");
        assert!(human::part(&dsn).body.split(|octet| *octet == b'\n').count() < 50, "one screen");
    });
}

#[test]
fn golden_utf8_addresses() {
    let mut recipient = Recipient::plain(address("пример@пример.рф"));
    recipient.orcpt = Some("utf-8;пример@пример.рф".into());
    let mut envelope = envelope_from("jörg@web1.example.org");
    envelope.smtputf8 = true;
    let content = CONTENT.replace("your invoice", "счёт");
    let affected = [refused(&recipient, "550 5.1.1 нет такого")];
    with_dsn(DsnKind::Failed, &envelope, content.as_bytes(), &affected, |dsn| {
        check_golden("utf8-addresses.eml", dsn);
        assert_eq!(returned_octets(&dsn.content()), content.as_bytes());
        let header = split_returned(Dsn { kind: DsnKind::Relayed, ..dsn });
        assert_eq!(header.0, "message/global-headers");
    });
}

#[test]
fn golden_utf8_diagnostic_about_an_ascii_address() {
    let mut ann = Recipient::plain(address("ann@example.org"));
    ann.orcpt = Some("utf-8;\\x+7B43F+7Dann@example.org".into());
    let affected = [refused(&ann, "550 5.1.1 нет такого")];
    let content = [CONTENT.as_bytes(), b"\xe4 in latin1\r\n"].concat();
    with_dsn(DsnKind::Failed, &envelope_from("app@web1.example.org"), &content, &affected, |dsn| {
        check_golden("utf8-diagnostic-8bit-body.eml", dsn);
        assert!(report::part(&dsn).body.is_ascii(), "message/delivery-status is ASCII");
        assert_eq!(returned_octets(&dsn.content()), content);
    });
}

#[test]
fn golden_hostile_texts() {
    let mut ann = Recipient::plain(address("ann\u{202E}@example.org"));
    ann.orcpt = Some("rfc822;ann+0D+0A+0D+0A--=_18A4F1C9A02B3D40.0--+0D+0ABcc:+20eve@example.org".into());
    let mut bob = Recipient::plain(address("bob@example.org"));
    bob.orcpt = Some("rfc822\r\nBcc: eve@example.org;bob".into());
    let mut envelope = envelope_from("app@web1.example.org");
    envelope.envid = Some("x+0D+0AFinal-Recipient:+20rfc822;eve@example.org".into());
    let injection =
        "550 5.1.1 no\r\n\r\n--=_18A4F1C9A02B3D40.1\r\nContent-Type: text/html\r\n\r\n<b>\0\x1b[2J\u{9b}";
    let long = format!("550 {} {}", "very long ".repeat(300), "x".repeat(5000));
    let mut affected = [refused(&ann, injection), refused(&bob, &long)];
    affected[0].remote_mta = Some("mx\r\nAction: delivered\r\n");
    let content = CONTENT.replace("<invoice-1@app.example.org>", "<a@b>\r\n\tBcc: <eve@example.org>")
        + "\r\n--=_18A4F1C9A02B3D40.2\r\nContent-Type: text/html\r\n\r\n<b>\r\n--=_18A4F1C9A02B3D40.2--\r\n";
    with_dsn(DsnKind::Failed, &envelope, content.as_bytes(), &affected, |dsn| {
        check_golden("hostile-texts.eml", dsn);
        assert_eq!(returned_octets(&dsn.content()), content.as_bytes());
        let report = report::part(&dsn).body;
        let injected = ["Bcc", "Content-Type"];
        for group in String::from_utf8(report).unwrap().split("\r\n\r\n") {
            let fields: Vec<_> = header::split(group.as_bytes()).header.fields().map(|f| f.name()).collect();
            assert_eq!(fields.iter().filter(|name| injected.contains(name)).count(), 0, "{fields:?}");
            assert!(fields.iter().filter(|name| **name == "Final-Recipient").count() <= 1, "{fields:?}");
        }
        assert!(dsn.content().split(|octet| *octet == b'\n').all(|line| line.len() < 998));
    });
}
