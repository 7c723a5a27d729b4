//! BSMTP: a whole dialogue in a file, which `sendmail` writes while the daemon is down.
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
//! Every line ends with CRLF. A server session that reads the file gets exactly one message.
//!
//! Promises:
//! 1. All parameters and addresses of an envelope are written as they were given, since our own session reads them.
//! 2. [`is_whole`] recognises a complete file by its end. One that was cut off never has that end, since stuffed content
//!    does not contain CRLF `.` CRLF.
//!
//! Not here: the file itself (`spool/drop.rs`), the commands (`client.rs`), stuffing (`dot.rs`).

use super::client::{Capabilities, Dialect, Mail, Spelling};
use crate::envelope::Envelope;

/// The end of a complete file: the end of data, and QUIT.
const END: &[u8] = b"\r\n.\r\nQUIT\r\n";

/// The most octets before the content of a file.
pub const MAX_ENVELOPE_OCTETS: usize = 4 << 20;

/// The number of octets at the end of a file that [`is_whole`] needs.
pub const END_OCTETS: usize = END.len();

/// Appends the commands before the content of a file.
pub fn begin(envelope: &Envelope, out: &mut Vec<u8>) {
    let dialect = Dialect { offered: &Capabilities::OURS, spelling: Spelling::AsGiven };
    out.extend_from_slice(b"EHLO localhost\r\n");
    dialect.group(&Mail::from(envelope), &envelope.recipients).write(out);
}

/// Appends the commands after the end of data in a file.
pub fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"QUIT\r\n");
}

/// Returns whether a file is complete that ends in these octets: the last [`END_OCTETS`], or all if it has fewer.
pub fn is_whole(last_octets: &[u8]) -> bool {
    last_octets.ends_with(END)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::envelope::{Address, Body, Notify, Recipient, Ret, ReversePath};
    use crate::smtp::dot::Stuffer;
    use crate::smtp::play::{Played, play};
    use crate::smtp::session::SessionPolicy;

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

    /// Returns the messages that a session finds in a file, and whether it ended with QUIT.
    fn read_back(file: &[u8]) -> (Vec<(Envelope, Vec<u8>)>, bool) {
        let policy = SessionPolicy { max_errors: 1, ..SessionPolicy::plain("h", 1 << 20, 100) };
        let Played { messages, closed_with } = play(Arc::new(policy), [file]);
        (messages, closed_with == Some(221))
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

    proptest! {
        /// Promise 2.
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
