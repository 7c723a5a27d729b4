//! Takes the addresses out of a body, to see that the octets around them stay. `tests/fuzz` calls it; it is built for that
//! and for tests alone.

use super::Mailbox;

/// Returns `body` without these addresses of it, and without their routes.
pub fn around_mailboxes(body: &[u8], mailboxes: impl IntoIterator<Item = Mailbox>) -> Vec<u8> {
    let (mut around, mut done) = (Vec::new(), 0);
    for mailbox in mailboxes {
        if let Some(route) = mailbox.route {
            around.extend_from_slice(&body[done..route.start]);
            done = route.end;
        }
        around.extend_from_slice(&body[done..mailbox.local.start]);
        done = mailbox.domain.unwrap_or(mailbox.local).end;
    }
    around.extend_from_slice(&body[done..]);
    around
}
