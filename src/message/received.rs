//! The Received field that nullmta adds in front of a message.
//!
//! Promises:
//! 1. The field is ASCII and well-formed, whatever the client gave for its name. So it never makes a message need
//!    8BITMIME or SMTPUTF8, and the name cannot look like the facts after it.
//! 2. Lines have less than 78 columns, unless a single name or address is longer.
//! 3. The recipient is named only if there is one, so that recipients do not learn of each other.
//!
//! Not here: counting Received fields (`fixup.rs`).
//!
//! RFC 5321 4.4 (the field), RFC 3848 and RFC 6531 4.3 (protocol names).

use std::net::IpAddr;

use jiff::Zoned;

use super::date::rfc5322;
use super::fold::Folded;
use crate::envelope::Address;
use crate::queue_id::QueueId;

/// The longest HELO name that is used, which is that of a domain (RFC 5321 4.5.3.1.2). A longer one is cut.
const MAX_HELO_OCTETS: usize = 255;

/// The longest address that is named, since a line has at most 998 octets (RFC 5322 2.1.1).
const MAX_FOR_OCTETS: usize = 900;

/// The origin of a message, as we know it without asking the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A TCP client at this address, whose connection belongs to this user, if that is known and is to be named.
    Tcp(IpAddr, Option<u32>),
    /// A local user, known by the unix socket or the drop directory.
    Uid(u32),
    /// nullmta itself, which writes DSNs.
    Ourselves,
}

/// The facts for the field.
#[derive(Clone, Debug)]
pub struct Received<'a> {
    /// The name that the client gave in HELO or EHLO, which is not trusted.
    pub helo: Option<&'a str>,
    /// The origin of the message.
    pub origin: Origin,
    /// The name of this host.
    pub hostname: &'a str,
    /// The protocol: `SMTP`, `ESMTP`, `ESMTPS`, …; empty if it is not given.
    pub protocol: &'a str,
    /// The TLS version of the session, such as `TLSv1.3`.
    pub tls: Option<&'a str>,
    /// The queue id of the message.
    pub queue_id: QueueId,
    /// The recipient, if the message has only one.
    pub only_recipient: Option<&'a Address>,
    /// The time at which it was received.
    pub now: &'a Zoned,
}

impl Received<'_> {
    /// Returns the field, folded, with its line end.
    pub fn field(&self) -> String {
        let field = self.by(self.from(Folded::field("Received")));
        let id = format!("id {}", self.queue_id);
        let date = rfc5322(self.now);
        match self.recipient_to_name() {
            Some(recipient) => {
                field.word(&id).fold().word(&format!("for <{recipient}>;")).word(&date).finish()
            }
            None => field.word(&format!("{id};")).fold().word(&date).finish(),
        }
    }

    fn from(&self, field: Folded) -> Folded {
        let (helo, facts) = match self.origin {
            Origin::Ourselves => return field,
            Origin::Uid(uid) => (sanitized_helo(self.helo.unwrap_or("localhost")), format!("(uid {uid})")),
            Origin::Tcp(address, _) => (sanitized_helo(self.helo.unwrap_or_default()), tcp_info(address)),
        };
        let field = field.word("from").word(&helo).word(&facts);
        match self.tls {
            Some(version) => field.fold().word(&format!("(using {version})")).fold(),
            None => field.fold(),
        }
    }

    fn by(&self, field: Folded) -> Folded {
        let field = field.word("by").word(self.hostname).word("(nullmta)");
        let user = match self.origin {
            Origin::Tcp(_, Some(uid)) => format!(" (uid {uid})"),
            Origin::Tcp(_, None) | Origin::Uid(_) | Origin::Ourselves => String::new(),
        };
        if self.protocol.is_empty() { field } else { field.word(&format!("with {}{user}", self.protocol)) }
    }

    fn recipient_to_name(&self) -> Option<&str> {
        let address = self.only_recipient?.as_str();
        (address.is_ascii() && address.len() <= MAX_FOR_OCTETS).then_some(address)
    }
}

/// Returns the address of a client as `(localhost [127.0.0.1])` or `(localhost [IPv6:::1])` (RFC 5321 4.1.3).
fn tcp_info(address: IpAddr) -> String {
    let address = address.to_canonical();
    let name = if address.is_loopback() { "localhost" } else { "unknown" };
    match address {
        IpAddr::V4(v4) => format!("({name} [{v4}])"),
        IpAddr::V6(v6) => format!("({name} [IPv6:{v6}])"),
    }
}

/// Returns a HELO name as a domain or an address literal, with `?` in place of all other characters.
fn sanitized_helo(helo: &str) -> String {
    let may_be_in_literal = |c: char| c.is_ascii_alphanumeric() || ".:-".contains(c);
    let literal = helo.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if literal.is_some_and(|l| !l.is_empty() && l.len() < MAX_HELO_OCTETS && l.chars().all(may_be_in_literal))
    {
        return helo.to_owned();
    }
    let may_be_in_name = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
    let name = helo.chars().take(MAX_HELO_OCTETS).map(|c| if may_be_in_name(c) { c } else { '?' });
    if helo.is_empty() { "unknown".to_owned() } else { name.collect() }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use jiff::tz::TimeZone;

    use super::*;

    const ID: QueueId = QueueId::from_raw(0x18A4_F1C9_A02B_3D40);

    fn now() -> Zoned {
        date(2026, 11, 21).at(2, 10, 0, 0).to_zoned(TimeZone::UTC).unwrap()
    }

    fn plain(now: &Zoned) -> Received<'_> {
        Received {
            helo: Some("app.example.org"),
            origin: Origin::Tcp([127, 0, 0, 1].into(), None),
            hostname: "web1.example.org",
            protocol: "ESMTP",
            tls: None,
            queue_id: ID,
            only_recipient: None,
            now,
        }
    }

    #[test]
    fn golden_shapes() {
        let now = now();
        let ann = Address::parse("ann@example.org").unwrap();
        let mapped: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
        let cases = [
            (
                Received { only_recipient: Some(&ann), ..plain(&now) },
                "Received: from app.example.org (localhost [127.0.0.1])\r\n\
                 \tby web1.example.org (nullmta) with ESMTP id 18A4F1C9A02B3D40\r\n\
                 \tfor <ann@example.org>; Sat, 21 Nov 2026 02:10:00 +0000\r\n",
            ),
            (
                plain(&now),
                "Received: from app.example.org (localhost [127.0.0.1])\r\n\
                 \tby web1.example.org (nullmta) with ESMTP id 18A4F1C9A02B3D40;\r\n\
                 \tSat, 21 Nov 2026 02:10:00 +0000\r\n",
            ),
            (
                Received {
                    helo: Some("[::1]"),
                    origin: Origin::Tcp([0, 0, 0, 0, 0, 0, 0, 1].into(), None),
                    protocol: "UTF8SMTPS",
                    tls: Some("TLSv1.3"),
                    ..plain(&now)
                },
                "Received: from [::1] (localhost [IPv6:::1])\r\n\
                 \t(using TLSv1.3)\r\n\
                 \tby web1.example.org (nullmta) with UTF8SMTPS id 18A4F1C9A02B3D40;\r\n\
                 \tSat, 21 Nov 2026 02:10:00 +0000\r\n",
            ),
            (
                Received { helo: None, origin: Origin::Tcp(mapped, None), protocol: "SMTP", ..plain(&now) },
                "Received: from unknown (localhost [127.0.0.1])\r\n\
                 \tby web1.example.org (nullmta) with SMTP id 18A4F1C9A02B3D40;\r\n\
                 \tSat, 21 Nov 2026 02:10:00 +0000\r\n",
            ),
            (
                Received { origin: Origin::Tcp(mapped, Some(33)), ..plain(&now) },
                "Received: from app.example.org (localhost [127.0.0.1])\r\n\
                 \tby web1.example.org (nullmta) with ESMTP (uid 33) id 18A4F1C9A02B3D40;\r\n\
                 \tSat, 21 Nov 2026 02:10:00 +0000\r\n",
            ),
            (
                Received { helo: None, origin: Origin::Uid(1000), only_recipient: Some(&ann), ..plain(&now) },
                "Received: from localhost (uid 1000)\r\n\
                 \tby web1.example.org (nullmta) with ESMTP id 18A4F1C9A02B3D40\r\n\
                 \tfor <ann@example.org>; Sat, 21 Nov 2026 02:10:00 +0000\r\n",
            ),
            (
                Received { helo: None, origin: Origin::Ourselves, protocol: "", ..plain(&now) },
                "Received: by web1.example.org (nullmta) id 18A4F1C9A02B3D40;\r\n\
                 \tSat, 21 Nov 2026 02:10:00 +0000\r\n",
            ),
        ];
        for (received, expected) in cases {
            assert_eq!(received.field(), expected);
        }
    }

    #[test]
    fn helo_is_never_trusted() {
        let cases = [
            ("host_1-a.example:2", "host_1-a.example:2"),
            ("[127.0.0.1]", "[127.0.0.1]"),
            ("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
            ("", "unknown"),
            ("[]", "??"),
            ("[127.0.0.1](x)", "?127.0.0.1??x?"),
            ("[a]b]", "?a?b?"),
            ("bank.example (bank.example [192.0.2.1])", "bank.example??bank.example??192.0.2.1??"),
            ("a; Mon, 1 Jan", "a??Mon??1?Jan"),
            ("a\r\nBcc: b\0", "a??Bcc:?b?"),
            ("exämple\u{202E}", "ex?mple?"),
        ];
        for (helo, expected) in cases {
            assert_eq!(sanitized_helo(helo), expected, "{helo:?}");
        }
        assert_eq!(sanitized_helo(&"x".repeat(9999)).len(), MAX_HELO_OCTETS);
        assert_eq!(sanitized_helo(&format!("[{}]", "1".repeat(9999))).len(), MAX_HELO_OCTETS);
    }

    #[test]
    fn lines_stay_under_78_columns_and_ascii() {
        let now = now();
        let long = "a-rather-long-label-for-a-host.in-a-rather-long.domain.example.org";
        let address = Address::parse(&format!("somebody.with.a.long.name@{long}")).unwrap();
        let received = Received {
            helo: Some(long),
            hostname: long,
            protocol: "UTF8SMTPSA",
            tls: Some("TLSv1.3"),
            only_recipient: Some(&address),
            ..plain(&now)
        };
        let field = received.field();
        let too_long: Vec<_> = field.lines().filter(|line| line.len() >= 78).collect();
        assert_eq!(too_long, [format!("\tfor <{address}>;")], "only what cannot be folded is longer");
        assert!(field.is_ascii());
    }

    #[test]
    fn recipients_that_would_spoil_the_field_are_not_named() {
        let now = now();
        for address in ["пример@example.org", &format!("{}@example.org", "x".repeat(900))] {
            let address = Address::parse(address).unwrap();
            let field = Received { only_recipient: Some(&address), ..plain(&now) }.field();
            assert!(field.is_ascii() && !field.contains("for <"), "{field}");
        }
    }
}
