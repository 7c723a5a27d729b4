//! A client's commands in writing: MAIL and RCPT with their parameters, and BSMTP, a whole dialogue in a
//! file, which `sendmail` leaves for a daemon that is down.
//!
//! ```text
//! EHLO localhost
//! MAIL FROM:<root> BODY=8BITMIME ENVID=4711
//! RCPT TO:<ann@example.org> NOTIFY=NEVER
//! DATA
//! content, normalised, its dots stuffed
//! .
//! QUIT
//! ```
//! Every line ends with CRLF. A server session that is fed the file takes exactly one message from it.
//!
//! Promises:
//! 1. A command is one line: nothing that an envelope holds can end it or add another.
//! 2. A parameter is written only where its extension is offered; BSMTP is for our own session, which
//!    offers them all.
//! 3. A file that is whole ends as [`is_whole`] says; one that was cut off anywhere does not, since stuffed
//!    content never holds CRLF `.` CRLF.
//!
//! Not here: the file itself (`spool/drop.rs`), stuffing (`dot.rs`), what the relay is told
//! (`relay/group.rs`).
//!
//! RFC 5321 4.1.1, RFC 3461 4 (DSN), RFC 6152 (BODY), RFC 6531 3.4 (SMTPUTF8).

use super::parameters;
use super::reply::Reply;
use crate::envelope::{Body, Envelope, Recipient};

/// What a whole file ends in: the end of data and QUIT.
const END: &[u8] = b"\r\n.\r\nQUIT\r\n";

/// What stands before the content of a file has no more octets.
pub const MAX_ENVELOPE_OCTETS: usize = 4 << 20;

/// How many octets of a file's end [`is_whole`] looks at.
pub const END_OCTETS: usize = END.len();

/// The extensions that parameters of an envelope need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offered {
    /// BODY.
    pub eight_bit_mime: bool,
    /// SMTPUTF8.
    pub smtputf8: bool,
    /// RET, ENVID, NOTIFY and ORCPT.
    pub dsn: bool,
    /// The most octets of content; `None` where no limit is told (RFC 1870 4).
    pub size: Option<u64>,
}

impl Offered {
    /// What our own session offers.
    pub const ALL: Offered = Offered { eight_bit_mime: true, smtputf8: true, dsn: true, size: None };

    /// What a positive reply to EHLO offers.
    pub fn by(ehlo: &Reply) -> Self {
        let lines = ehlo.lines().iter().skip(1);
        let of = |keyword: &str| {
            lines.clone().find_map(|line| {
                let mut words = line.split(' ');
                words.next()?.eq_ignore_ascii_case(keyword).then_some(words.next().unwrap_or_default())
            })
        };
        Offered {
            eight_bit_mime: of("8BITMIME").is_some(),
            smtputf8: of("SMTPUTF8").is_some(),
            dsn: of("DSN").is_some(),
            size: of("SIZE").and_then(|limit| limit.parse().ok()).filter(|limit| *limit > 0),
        }
    }
}

/// The MAIL command, without its line end.
pub fn mail(envelope: &Envelope, offered: Offered) -> String {
    let mut line = format!("MAIL FROM:<{}>", envelope.reverse_path);
    if offered.eight_bit_mime && envelope.body == Body::EightBitMime {
        line.push_str(" BODY=8BITMIME");
    }
    if offered.smtputf8 && envelope.smtputf8 {
        line.push_str(" SMTPUTF8");
    }
    if offered.dsn {
        parameters::push_mail_dsn(&mut line, envelope.ret, envelope.envid.as_deref());
    }
    line
}

/// The RCPT command of one recipient, without its line end.
pub fn rcpt(recipient: &Recipient, offered: Offered) -> String {
    let mut line = format!("RCPT TO:<{}>", recipient.address);
    if offered.dsn {
        parameters::push_rcpt_dsn(&mut line, recipient);
    }
    line
}

/// Appends all that stands before the content in a file.
pub fn begin(envelope: &Envelope, out: &mut Vec<u8>) {
    let rcpts = envelope.recipients.iter().map(|recipient| rcpt(recipient, Offered::ALL));
    let before = ["EHLO localhost".to_owned(), mail(envelope, Offered::ALL)];
    for line in before.into_iter().chain(rcpts).chain(["DATA".to_owned()]) {
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends what stands behind the end of data in a file.
pub fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"QUIT\r\n");
}

/// Whether a file that ends in these octets ([`END_OCTETS`] of them, if it has so many) was written to
/// its end.
pub fn is_whole(last_octets: &[u8]) -> bool {
    last_octets.ends_with(END)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::envelope::{Address, Notify, Ret, ReversePath};
    use crate::smtp::dot::Stuffer;
    use crate::smtp::session::{Action, Durable, Policy, Session};

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn full_envelope() -> Envelope {
        let mut envelope = Envelope::from(ReversePath::Mailbox(address("röot")));
        envelope.smtputf8 = true;
        envelope.body = Body::EightBitMime;
        envelope.ret = Some(Ret::Headers);
        envelope.envid = Some("a+2Bb".into());
        let notify = Notify::On { success: true, failure: false, delay: true };
        let orcpt = Some("rfc822;ann@example.org".into());
        let ann = Recipient { notify, orcpt, ..Recipient::plain(address("ann@example.org")) };
        let quoted = Recipient { notify: Notify::Never, ..Recipient::plain(address("\"b > b\"@x")) };
        envelope.recipients = vec![ann, quoted, Recipient::plain(address("root"))];
        envelope
    }

    fn file(envelope: &Envelope, content: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        begin(envelope, &mut file);
        let mut stuffer = Stuffer::new();
        stuffer.push(content, &mut file);
        stuffer.finish(&mut file);
        end(&mut file);
        file
    }

    struct Proof;

    impl Durable for Proof {
        fn queue_id(&self) -> String {
            "X".into()
        }
    }

    /// What a session makes of a file: its messages, and whether it ended with QUIT.
    fn read_back(file: &[u8]) -> (Vec<(Envelope, Vec<u8>)>, bool) {
        let policy = Policy { max_errors: 1, ..Policy::plain("h", 1 << 20, 100) };
        let mut session = Session::<Proof>::new(Arc::new(policy));
        let (mut rest, mut messages, mut open) = (file, Vec::new(), None);
        loop {
            let (taken, action) = session.advance(rest);
            rest = &rest[taken..];
            match action {
                Action::Open(envelope) => {
                    open = Some((*envelope, Vec::new()));
                    session.opened();
                }
                Action::Content(octets) => open.as_mut().unwrap().1.extend_from_slice(&octets),
                Action::Commit => {
                    messages.extend(open.take());
                    session.committed(&Proof);
                }
                Action::Close(_, reply) => return (messages, reply.code() == 221),
                Action::Wait => return (messages, false),
                _ => {}
            }
        }
    }

    #[test]
    fn a_file_reads_as_documented() {
        let mut envelope = full_envelope();
        envelope.recipients.truncate(2);
        assert_eq!(
            String::from_utf8(file(&envelope, b"Subject: x\r\n\r\n.dot\r\n")).unwrap(),
            "EHLO localhost\r\n\
             MAIL FROM:<röot> BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb\r\n\
             RCPT TO:<ann@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;ann@example.org\r\n\
             RCPT TO:<\"b > b\"@x> NOTIFY=NEVER\r\n\
             DATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n"
        );
    }

    #[test]
    fn a_session_reads_back_what_was_written() {
        let content = b"Subject: x\r\n\r\n.\r\nQUIT\r\n".to_vec();
        let file = file(&full_envelope(), &content);
        assert_eq!(read_back(&file), (vec![(full_envelope(), content)], true));
    }

    #[test]
    fn only_what_is_offered_is_asked_for() {
        let ehlo = |lines: &[&str]| Reply::multiline(250, lines.iter().map(|&line| line.into()).collect());
        assert_eq!(
            Offered::by(&ehlo(&["DSN", "8BITMIME"])),
            Offered { eight_bit_mime: true, ..Offered::default() }
        );
        assert_eq!(Offered::by(&ehlo(&["h", "dsn", "8bitmime x", "SMTPUTF8"])), Offered::ALL);
        let (envelope, none) = (full_envelope(), Offered::default());
        assert_eq!(mail(&envelope, none), "MAIL FROM:<röot>");
        assert_eq!(rcpt(&envelope.recipients[0], none), "RCPT TO:<ann@example.org>");
    }

    #[test]
    fn the_null_reverse_path_is_a_pair_of_brackets() {
        assert_eq!(mail(&Envelope::from(ReversePath::Null), Offered::ALL), "MAIL FROM:<>");
    }

    #[test]
    fn no_parameter_adds_a_line() {
        let mut envelope = Envelope::from(ReversePath::Null);
        envelope.envid = Some("x\r\nRCPT TO:<y>".into());
        assert_eq!(mail(&envelope, Offered::ALL), "MAIL FROM:<>");
    }

    proptest! {
        /// Invariant 3.
        #[test]
        fn a_file_is_whole_only_with_its_last_octet(content in "(\\.|\r\n|QUIT|x)*") {
            let content = if content.ends_with("\r\n") { content } else { content + "\r\n" };
            let file = file(&full_envelope(), content.as_bytes());
            prop_assert!(is_whole(&file));
            prop_assert!((0..file.len()).all(|len| !is_whole(&file[..len])));
            prop_assert_eq!(read_back(&file), (vec![(full_envelope(), content.into_bytes())], true));
        }
    }
}
