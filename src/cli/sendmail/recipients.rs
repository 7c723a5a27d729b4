//! `-t`: finds the recipients that the header of a message names.
//!
//! Promises: the recipients are those of To, Cc and Bcc. If the message was resent, they are those of Resent-To,
//! Resent-Cc and Resent-Bcc alone, since the To fields belong to an earlier sending (RFC 5322 3.6.6). A missing comma is
//! added if its place is certain (`message/forgotten_comma.rs`).
//!
//! Fails with [`Exit::DataErr`] if an entry is not an address: it may be a recipient who would get nothing.

use crate::cli::exit::{Exit, Failure};
use crate::envelope::Address;
use crate::log::Foreign;
use crate::message::address_list::{ListedAddresses, addresses_of};
use crate::message::forgotten_comma::with_commas;
use crate::message::header::{Field, Header};
use crate::message::rewrite::LocalUser;

const FIELDS: [&str; 3] = ["To", "Cc", "Bcc"];
const RESENT_FIELDS: [&str; 3] = ["Resent-To", "Resent-Cc", "Resent-Bcc"];

/// Returns the recipients that `header` names.
pub(super) fn named_in(header: Header<'_>) -> Result<ListedAddresses, Failure> {
    let is_resent = header.fields().any(|field| is_resent(&field));
    let wanted = if is_resent { RESENT_FIELDS } else { FIELDS };
    let mut named = ListedAddresses::default();
    for field in header.fields().filter(|field| wanted.iter().any(|name| field.is(name))) {
        let ListedAddresses { addresses, doubtful } = listed_in(&field)?;
        named.addresses.extend(addresses);
        named.doubtful.extend(doubtful);
    }
    Ok(named)
}

/// Returns each of `recipients` once, in their order. Local parts that differ in case are different recipients
/// (RFC 5321 2.4), except for users of this host (`Root`), as in Postfix's local(8). The case of a domain does not matter.
pub(super) fn without_duplicates(recipients: Vec<Address>) -> Vec<Address> {
    let mut seen = std::collections::HashSet::new();
    let key = |address: &Address| match address.domain() {
        Some(domain) => (address.local_part().to_owned(), Some(domain.to_ascii_lowercase())),
        None => {
            let [_, in_lower_case] = LocalUser::logins(address.local_part());
            (in_lower_case, None)
        }
    };
    recipients.into_iter().filter(|recipient| seen.insert(key(recipient))).collect()
}

fn is_resent(field: &Field<'_>) -> bool {
    field.name().get(..7).is_some_and(|start| start.eq_ignore_ascii_case("Resent-"))
}

fn listed_in(field: &Field<'_>) -> Result<ListedAddresses, Failure> {
    let refused = |why: &dyn std::fmt::Display| {
        let message = format!("{}: {}", field.name(), Foreign(&why.to_string()));
        Failure::new(Exit::DataErr, message)
    };
    let body = field.unfolded();
    if body.iter().any(|octet| matches!(octet, b'\r' | b'\n' | 0)) {
        return Err(refused(&"line break or NUL in an address field"));
    }
    let list = with_commas(field.raw_body());
    addresses_of(list.as_deref().unwrap_or(&body)).map_err(|error| refused(&error))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::header::split;

    fn named(header: &str) -> Result<Vec<String>, Failure> {
        let found = named_in(split(header.as_bytes()).header)?;
        Ok(without_duplicates(found.addresses).iter().map(ToString::to_string).collect())
    }

    #[test]
    fn recipients_of_a_header() {
        let cases: [(&str, &[&str]); 18] = [
            ("To: a@x\r\nCc: b@y\r\nBcc: c@z\r\n\r\nTo: body@x\r\n", &["a@x", "b@y", "c@z"]),
            ("TO: a@x\r\nto : b@y\r\n\r\n", &["a@x", "b@y"]),
            ("To: Ann\r\n <a@x>,\r\n\t\"B, C\" <b@y>\r\n\r\n", &["a@x", "b@y"]),
            // It was refused for what its writer could not see.
            ("To: a@x\r\n b@y\r\n Ann\r\n <c@z>\r\n\r\n", &["a@x", "b@y", "c@z"]),
            ("To: a@x b@y\r\nCc: Ann <c@z> d@w\r\n\r\n", &["a@x", "b@y", "c@z", "d@w"]),
            ("To: Team: a@x, b@y;\r\nCc: undisclosed-recipients:;\r\n\r\n", &["a@x", "b@y"]),
            ("To: a@x (not (b@y),\r\n c@z)\r\n\r\n", &["a@x"]),
            ("To: \"a, b\"@x\r\n\r\n", &["\"a, b\"@x"]),
            ("To: root\r\n\r\n", &["root"]),
            ("To: a@x\r\nCc: a@x, b@y\r\n\r\n", &["a@x", "b@y"]),
            ("To: a@x, A@x, a@X\r\n\r\n", &["a@x", "A@x"]),
            // They were three, and root got three copies.
            ("To: Root, ROOT, \"root\", root@x\r\n\r\n", &["Root", "root@x"]),
            ("From: a@x\r\nReply-To: b@y\r\nX-To: c@z\r\nSender: d@w\r\n\r\n", &[]),
            (
                "To: a@x\r\nResent-To: b@y\r\nResent-Cc: c@z\r\nresent-bcc: d@w\r\n\r\n",
                &["b@y", "c@z", "d@w"],
            ),
            // Without Resent-To there is nobody to resend it to: certainly not the first recipients.
            ("To: a@x\r\nResent-From: b@y\r\n\r\n", &[]),
            ("To:\r\nCc: \r\nBcc: a@x\r\n\r\n", &["a@x"]),
            ("From mbox Sat Nov 21 02:10:00 2026\r\nTo: a@x\r\n\r\n", &["a@x"]),
            ("no header at all\r\nTo: a@x\r\n", &[]),
        ];
        for (header, expected) in cases {
            assert_eq!(named(header).unwrap(), expected, "{header:?}");
        }
    }

    #[test]
    fn what_may_be_a_recipient_and_cannot_be_read_is_refused() {
        for (header, reason) in [
            ("To: a@x, no address\r\n\r\n", "To: not an address: no address"),
            ("To: a@x\r\n bob\r\n\r\n", "To: not an address: a@x bob"),
            (
                "To: a@x Ann <b@y>\r\n\r\n",
                "To: an address stands beside one in brackets: put a comma between them, or quotes around what is a name: \
                 a@x Ann <b@y>",
            ),
            ("Bcc: a@x <b@y\r\n\r\n", "Bcc: not an address: a@x <b@y"),
            ("To: a\0@x\r\n\r\n", "To: line break or NUL in an address field"),
            ("To: a@x\rBcc: b@y\r\n\r\n", "To: line break or NUL in an address field"),
            (
                "To: \"a@x, b@y\"\r\n\r\n",
                "To: an address within quotes and no domain behind them: leave the quotes out: \"a@x, b@y\"",
            ),
            (
                "Cc: a@x, =?utf-8?q?b=40y?=\r\n\r\n",
                "Cc: an encoded word (=?...?=) is a name, not an address: write the address as it is: =?utf-8?q?b=40y?=",
            ),
            ("To: J\u{f6}rg@\r\n\r\n", "To: not an address: J\u{f6}rg@"),
        ] {
            let failure = named(header).unwrap_err();
            assert_eq!((failure.exit(), failure.to_string().as_str()), (Exit::DataErr, reason));
        }
    }

    proptest! {
        #[test]
        fn folding_and_the_order_of_fields_lose_nobody(
            users in proptest::collection::btree_set("[a-z]{1,5}@[a-z]{1,5}", 1..8),
            choices in proptest::collection::vec((0_usize..3, 0_usize..3), 8),
        ) {
            let mut header = String::from("Subject: x\r\n");
            for (user, (field, form)) in users.iter().zip(&choices) {
                let body = [user.clone(), format!("\r\n {user}"), format!("\"x, y\"\r\n\t<{user}>,")];
                header += &format!("{}: {}\r\n", FIELDS[*field], body[*form]);
            }
            let found = named(&(header + "\r\n")).unwrap();
            prop_assert_eq!(found, users.into_iter().collect::<Vec<_>>());
        }
    }
}
