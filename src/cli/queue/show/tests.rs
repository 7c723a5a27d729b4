use super::*;
use crate::admin::protocol::MessageState;

fn to(address: &str, state: &str, reply: Option<&str>, reason: Option<&str>) -> RecipientDetail {
    RecipientDetail {
        address: address.into(),
        original: None,
        state: state.into(),
        route: None,
        attempts: reply.map(|_| 5),
        last_reply: reply.map(str::to_owned),
        reason: reason.map(str::to_owned),
    }
}

fn message() -> MessageDetail {
    let busy = Some("450 4.2.1 busy\r\nForged: x");
    MessageDetail {
        id: "18A4F1C9A02B3D40".into(),
        state: MessageState::Deferred,
        held_by: None,
        original_from: None,
        marked: None,
        assigned_route: None,
        uid: Some(33),
        came_by: "socket".into(),
        from: "app@example.org".into(),
        recipients: vec![
            to("ann@x", "open", busy, busy),
            to("bob@x", "sent", None, None),
            RecipientDetail {
                original: Some("root".into()),
                route: Some("news".into()),
                ..to("ops@x", "open", None, Some("mx: connect: refused"))
            },
        ],
        size: 4096,
        arrived: "2026-11-21T09:58:20Z".into(),
        age: 7300,
        next_attempt: Some("2026-11-21T12:12:00Z".into()),
        envid: None,
        ret: None,
        body: "7bit".into(),
        smtputf8: false,
    }
}

const CONTENT: &str = "From: =?utf-8?q?J=C3=BCrgen?= <j@x>, root\r\nTo: friends: a@x, B <b@x>;\r\nSubject: \
    =?utf-8?b?R3LDvMOfZRtbMko=?=\r\nDate: Sat, 21 Nov 2026 10:00:00 +0100\r\nMessage-ID: <1@x>\r\nContent-Type: \
    multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\nContent-Type: application/pdf; \
    name=\"a\u{1b}.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAAAAAA\r\n--b--\r\n";

#[test]
fn a_message_is_shown_whole_and_harmless() {
    let now = "2026-11-21T12:00:00Z".parse().unwrap();
    let content = ContentOutline::of(CONTENT.as_bytes(), true);
    assert_eq!(
        text(&message(), &content, now),
        "18A4F1C9A02B3D40 deferred\n\
         \u{20} accepted    2026-11-21T09:58:20Z, 2h ago, by sendmail or the socket, uid 33\n\
         \u{20} next try    2026-11-21T12:12:00Z, in 12m\n\
         \u{20} from        app@example.org\n\
         \u{20} size        4096 octets\n\
         \u{20} to          ann@x: open, 5 attempts with a reply\n\
         \u{20}             last reply: 450 4.2.1 busy\\r\\nForged: x\n\
         \u{20} to          bob@x: sent\n\
         \u{20} to          ops@x (given as root) by route news: open\n\
         \u{20}             mx: connect: refused\n\
         \n\
         \u{20} Subject:    Grüße\\u{1b}[2J\n\
         \u{20} Date:       2026-11-21T10:00:00+01:00\n\
         \u{20} From:       Jürgen <j@x>, root\n\
         \u{20} To:         a@x, B <b@x>\n\
         \u{20} Message-ID: <1@x>\n\
         \n\
         \u{20} 1           multipart/mixed                119 octets\n\
         \u{20} 1.1         text/plain                       7 octets\n\
         \u{20} 1.2         application/pdf                  6 octets  a\\u{1b}.pdf\n"
    );
}

#[test]
fn many_people_are_counted() {
    let one = Person { name: None, address: Some("a@x".into()) };
    assert!(people(&vec![one; 12]).unwrap().ends_with("a@x, a@x and 2 more"));
    assert_eq!(people(&[]), None);
}

#[test]
fn json_is_one_object_with_the_fields_that_are_documented() {
    let (message, content) = (message(), ContentOutline::of(CONTENT.as_bytes(), true));
    let mut line = Vec::new();
    write_json(&mut line, &ShownMessage { message: &message, content: &content }).unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&line).unwrap();
    let keys = |value: &serde_json::Value| {
        let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys.join(" ")
    };
    assert_eq!(
        keys(&shown),
        "age arrived body came-by content envid from id next-attempt recipients ret size smtputf8 state uid"
    );
    assert_eq!(keys(&shown["recipients"][0]), "address attempts last-reply original reason route state");
    assert_eq!(
        keys(&shown["content"]),
        "cc complete date from header-complete message-id parts reply-to subject to"
    );
    assert_eq!(keys(&shown["content"]["from"][0]), "address name");
    assert_eq!(keys(&shown["content"]["parts"][0]), "name place size type");
    let commands = include_str!("../../../../config/commands.md");
    for key in keys(&shown).split(' ').chain(keys(&shown["content"]).split(' ')) {
        assert!(commands.contains(&format!("`{key}`")), "{key} is not in config/commands.md");
    }
}
