//! A relay that offers an extension and refuses its parameter: each reply, at each command, with each parameter.

use super::*;
use crate::config::EightBit;

/// The replies that may be about a parameter.
const REPLIES: [&str; 9] = [
    "501 5.5.4 SIZE not supported",
    "501 Syntax error",
    "504 5.5.4 no",
    "555 5.5.4 no",
    "500 5.5.2 Error: bad syntax",
    "500 no",
    "455 4.5.4 no",
    "553 5.5.4 no",
    "451 4.5.4 no",
];

/// One relay that offers an extension, and a message that uses it.
struct Case {
    offers: Capabilities,
    message: fn() -> Transaction,
    eight_bit: EightBit,
    /// The commands with the parameter, and without it.
    with: [&'static str; 2],
    without: [&'static str; 2],
    /// The names of what is left out.
    left_out: &'static str,
}

const MAIL: &str = "MAIL FROM:<ann@example.org>";
const RCPT: &str = "RCPT TO:<ben@example.net>";

fn one() -> Transaction {
    message(1, "one")
}

fn eight_bit() -> Transaction {
    Transaction { body: Body::EightBitMime, ..message(1, "one") }
}

fn declared() -> Transaction {
    Transaction { wants_smtputf8: true, ..message(1, "one") }
}

fn asking() -> Transaction {
    let mut message = one();
    message.envid = Some("x1".into());
    message
}

fn asking_at_rcpt() -> Transaction {
    let mut message = one();
    message.recipients[0].1.notify = Notify::Never;
    message
}

/// Its domains alone need SMTPUTF8: it bounced.
fn international() -> Transaction {
    let content = one().content;
    let message = transaction(1, "ann@exämple.org", &["bob@bücher.example"], "one\r\n");
    Transaction { wants_smtputf8: true, content, ..message }
}

fn cases() -> Vec<Case> {
    let none = Capabilities::default;
    let mail = |offers, message, with, left_out| Case {
        offers,
        message,
        eight_bit: EightBit::Keep,
        with: [with, RCPT],
        without: [MAIL, RCPT],
        left_out,
    };
    vec![
        mail(Capabilities { size: true, ..none() }, one, "MAIL FROM:<ann@example.org> SIZE=5", "size"),
        mail(
            Capabilities { eight_bit_mime: true, ..none() },
            eight_bit,
            "MAIL FROM:<ann@example.org> BODY=8BITMIME",
            "body=8bitmime",
        ),
        mail(
            Capabilities { smtputf8: true, ..none() },
            declared,
            "MAIL FROM:<ann@example.org> SMTPUTF8",
            "smtputf8",
        ),
        mail(Capabilities { dsn: true, ..none() }, asking, "MAIL FROM:<ann@example.org> ENVID=x1", "dsn"),
        Case {
            with: [MAIL, "RCPT TO:<ben@example.net> NOTIFY=NEVER"],
            ..mail(Capabilities { dsn: true, ..none() }, asking_at_rcpt, MAIL, "dsn")
        },
        Case {
            with: ["MAIL FROM:<ann@exämple.org> SMTPUTF8", "RCPT TO:<bob@bücher.example>"],
            without: ["MAIL FROM:<ann@xn--exmple-cua.org>", "RCPT TO:<bob@xn--bcher-kva.example>"],
            ..mail(Capabilities { smtputf8: true, ..none() }, international, MAIL, "smtputf8")
        },
    ]
}

impl Case {
    /// Returns the script up to `refused`, the reply to the first command that has the parameter or the place of it.
    fn refused(&self, [mail, rcpt]: [&str; 2], refused: &str) -> String {
        if self.with[0] == MAIL {
            format!("C: {mail}\nS: 250 ok\nC: {rcpt}\nS: {refused}\n")
        } else {
            format!("C: {mail}\nS: {refused}\n")
        }
    }

    async fn told(&self, script: &str) -> Vec<String> {
        let settings = config::RelayConfig { eight_bit: self.eight_bit, ..settings() };
        let messages = vec![(self.message)(), (self.message)()];
        let ended = run_with(self.offers.clone(), settings, script, messages).await;
        ended.result.unwrap();
        assert_eq!(ended.rest, "");
        ended.given.told()
    }
}

const RESET: &str = "C: RSET\nS: 250 ok\n";
const QUIT: &str = "C: QUIT\nS: 221 bye";

/// All of these but 501, 504 and 555 to those of DSN bounced or held mail that the relay takes without the parameter, with
/// advice about its sender or its size.
#[tokio::test(start_paused = true)]
async fn what_is_refused_with_a_parameter_goes_again_without_it() {
    for case in cases() {
        for reply in REPLIES {
            let refused = case.refused(case.with, reply);
            let [mail, rcpt] = case.without;
            let taken = format!(
                "C: {mail}\nS: 250 ok\nC: {rcpt}\nS: 250 ok\nC: DATA\nS: 354 go on\nC: one\nC: .\nS: 250 2.0.0 ok\n"
            );
            let told = case.told(&format!("{refused}{RESET}{RESET}{taken}{QUIT}")).await;
            let left_out = format!("1/0 without {} 4.3.0 {reply}", case.left_out);
            assert_eq!(told, [left_out.as_str(), "1/0 sent 2.0.0 250 2.0.0 ok"], "{reply}");
            // The same reply without it is one about the message, and the parameter is sent again.
            let again = case.refused(case.without, reply);
            let told = case.told(&format!("{refused}{RESET}{RESET}{again}{RESET}{QUIT}")).await;
            let verdict = if reply.starts_with('4') { "deferred" } else { "bounced" };
            assert_eq!(told[0], left_out, "{reply}");
            assert!(told[1].starts_with(&format!("1/0 {verdict} ")), "{reply}: {told:?}");
        }
    }
}

/// A refusal that is about something else counts at once.
#[tokio::test(start_paused = true)]
async fn a_refusal_of_another_subject_is_not_about_a_parameter() {
    for case in cases() {
        for reply in
            ["550 5.7.1 no", "552 5.3.4 too large", "501 5.1.7 bad address", "450 4.2.1 later", "550 no"]
        {
            let refused = case.refused(case.with, reply);
            let told = case.told(&format!("{refused}{RESET}{RESET}{refused}{RESET}{QUIT}")).await;
            assert!(!told[0].contains("without"), "{reply}: {told:?}");
        }
    }
}

/// What a message needs is not left out, and the refusal is its own.
#[tokio::test(start_paused = true)]
async fn a_parameter_that_is_needed_is_not_left_out() {
    let needs_smtputf8 = || {
        let mut message = transaction(1, "änn@example.org", &["ben@example.net"], "one\r\n");
        message.wants_smtputf8 = true;
        message
    };
    let is_eight_bit = || Transaction {
        body: Body::EightBitMime,
        ..transaction(1, "ann@example.org", &["ben@example.net"], "é\r\n")
    };
    let offers = Capabilities { size: true, eight_bit_mime: true, smtputf8: true, ..Capabilities::default() };
    for (message, left) in [
        (needs_smtputf8(), "MAIL FROM:<änn@example.org> SMTPUTF8"),
        (is_eight_bit(), "MAIL FROM:<ann@example.org> BODY=8BITMIME"),
    ] {
        let (mail, parameter) = left.rsplit_once(' ').unwrap();
        let again = Transaction { content: Box::new(std::io::Cursor::new("é\r\n")), ..is_eight_bit() };
        let again = Transaction {
            reverse_path: message.reverse_path.clone(),
            wants_smtputf8: message.wants_smtputf8,
            body: message.body,
            size: message.size,
            content: if message.wants_smtputf8 { needs_smtputf8().content } else { again.content },
            ..again
        };
        let script = format!(
            "C: {mail} SIZE={} {parameter}\nS: 555 5.5.4 no\n{RESET}{RESET}C: {left}\nS: 555 5.5.4 no\n{RESET}{QUIT}",
            message.size
        );
        let settings = config::RelayConfig { eight_bit: EightBit::Bounce, ..settings() };
        let ended = run_with(offers.clone(), settings, &script, vec![message, again]).await;
        ended.result.unwrap();
        let expected = ["1/0 without size 4.3.0 555 5.5.4 no", "1/0 bounced 5.5.4 555 5.5.4 no"];
        assert_eq!((ended.given.told(), ended.rest.as_str()), (expected.map(String::from).to_vec(), ""));
    }
}

/// With `eight-bit = "encode"` a message is encoded where BODY=8BITMIME is left out.
#[tokio::test(start_paused = true)]
async fn what_is_not_declared_is_encoded_where_that_is_asked_for() {
    let message = || {
        let text = "Subject: x\r\n\r\né and text that has no such letter\r\n";
        Transaction {
            body: Body::EightBitMime,
            ..transaction(1, "ann@example.org", &["ben@example.net"], text)
        }
    };
    let encoded = "C: Subject: x\nC: MIME-Version: 1.0\nC: Content-Type: text/plain; charset=utf-8\n\
                   C: Content-Transfer-Encoding: quoted-printable\nC: \nC: =C3=A9 and text that has no such letter\n";
    let script = format!(
        "C: {MAIL} BODY=8BITMIME\nS: 501 no\n{RESET}{RESET}C: {MAIL}\nS: 250 ok\nC: {RCPT}\nS: 250 ok\nC: DATA\n\
         S: 354 go on\n{encoded}C: .\nS: 250 ok\n{QUIT}"
    );
    let settings = config::RelayConfig { eight_bit: EightBit::Encode, ..settings() };
    let offers = Capabilities { eight_bit_mime: true, ..Capabilities::default() };
    let ended = run_with(offers, settings, &script, vec![message(), message()]).await;
    ended.result.unwrap();
    assert_eq!(ended.given.told()[1], "1/0 sent 2.0.0 250 ok");
}
