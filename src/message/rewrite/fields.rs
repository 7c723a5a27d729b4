//! Rewrites the addresses in header fields.
//!
//! Promises:
//! 1. Only the octets of an address that changes are replaced in a field. In addition, a fold is added before an
//!    address for which its line has no room, and a source route is removed (RFC 5322 4.4), unless the message is
//!    signed.
//! 2. A field that is not a list of addresses stays as it is, except for the addresses in it
//!    (`address/scattered.rs`). These are rewritten like others, so that no address becomes public that a rule hides.

use std::ops::Range;

use memchr::memrchr;

use super::change::{ChangePlace, Changes, LeftWhy, Rule};
use super::mapping::AddressStep;
use super::rules::Class;
use crate::envelope::Address;
use crate::message::address::{Mailbox, Mailboxes, authors, mailboxes, scattered};
use crate::message::fold::one_line;
use crate::message::header::MAX_LINE_OCTETS;
use crate::message::unacceptable::Unacceptable;

/// The largest rewritten header section, in octets. Addresses become longer when they are completed.
pub(super) const MAX_REWRITTEN_OCTETS: usize = 4 * 1024 * 1024;

/// Returns the class of the addresses in the field `name`, as Postfix has it; `None` if it has no addresses.
pub(super) fn class_of(name: &str) -> Option<Class> {
    const SENDERS: [&str; 9] = [
        "From",
        "Sender",
        "Reply-To",
        "Errors-To",
        "Return-Receipt-To",
        "Disposition-Notification-To",
        "Mail-Followup-To",
        "Resent-From",
        "Resent-Sender",
    ];
    const RECIPIENTS: [&str; 6] = ["To", "Cc", "Apparently-To", "Resent-To", "Resent-Cc", "Resent-Reply-To"];
    let is_in = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    if is_in(&SENDERS) {
        Some(Class::HeaderSender)
    } else {
        is_in(&RECIPIENTS).then_some(Class::HeaderRecipient)
    }
}

/// A body in which addresses were rewritten.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RewrittenBody {
    pub(super) body: Vec<u8>,
    /// True if an address was changed by more than adding the origin.
    pub(super) is_other: bool,
    /// True if an address was replaced by a table, or by the one address for all mail.
    pub(super) is_mapped: bool,
}

/// Rewrites each address in `body`, which belongs to the field `name`. Returns `None` if nothing was changed.
pub(super) fn rewrite_body(
    name: &str,
    class: Class,
    body: &[u8],
    is_signed: bool,
    steps_of: impl Fn(&Address) -> Vec<AddressStep>,
    changes: &mut Changes,
) -> Result<Option<RewrittenBody>, Unacceptable> {
    let (left, is_list) = left_of(class, body, is_signed);
    if let Some(why) = left {
        changes.left(name, why, body);
    }
    let place = ChangePlace::Field(name.to_owned());
    let mut edited = Edited { body, done: 0, out: Vec::new(), line: 0, name_len: name.len() + 1 };
    let (mut is_other, mut is_mapped) = (false, false);
    for mailbox in addresses_of(class, body, is_list) {
        if let Some(route) = mailbox.route.clone().filter(|_| !is_signed) {
            let routed = [&body[route.clone()], mailbox.address.as_str().as_bytes()].concat();
            let routed = one_line(&String::from_utf8_lossy(&routed), usize::MAX);
            changes.address(Rule::FixUp, &place, routed, mailbox.address.to_string());
            edited.leave_out(route);
        }
        let steps = steps_of(&mailbox.address);
        let Some(last) = steps.last() else { continue };
        edited.replace(&mailbox, &last.to)?;
        note(&mailbox.address, &steps, &place, changes);
        is_other |= steps.iter().any(|step| step.rule != Rule::Origin);
        is_mapped |= steps.iter().any(|step| !matches!(step.rule, Rule::Origin | Rule::Masquerade));
    }
    let body = edited.finish();
    Ok(body.map(|body| RewrittenBody { body, is_other, is_mapped }))
}

/// Returns the addresses in a body, in order, whether or not it is a list of addresses.
pub(super) fn addresses_in(class: Class, body: &[u8]) -> impl Iterator<Item = Mailbox> {
    addresses_of(class, body, is_list(class, body))
}

fn addresses_of(class: Class, body: &[u8], is_list: bool) -> impl Iterator<Item = Mailbox> {
    let list = is_list.then(|| listed(class, body).flatten());
    let others = (!is_list).then(|| scattered(body));
    list.into_iter().flatten().chain(others.into_iter().flatten())
}

/// Returns whether a body is a list of addresses, or empty.
pub(super) fn is_list(class: Class, body: &[u8]) -> bool {
    listed(class, body).all(|mailbox| mailbox.is_ok())
}

fn listed(class: Class, body: &[u8]) -> Mailboxes<'_> {
    if class == Class::HeaderSender { authors(body) } else { mailboxes(body) }
}

/// Returns why this body, or a part of it, is left alone, if it is; and whether it is a list of addresses.
fn left_of(class: Class, body: &[u8], is_signed: bool) -> (Option<LeftWhy>, bool) {
    let (mut list, mut is_malformed, mut has_route) = (listed(class, body), false, false);
    for mailbox in list.by_ref() {
        is_malformed |= mailbox.is_err();
        has_route |= mailbox.is_ok_and(|mailbox| mailbox.route.is_some());
    }
    let why = match () {
        () if is_malformed && scattered(body).next().is_none() => Some(LeftWhy::NoAddresses),
        () if is_malformed => Some(LeftWhy::NoList),
        () if list.has_unread() => Some(LeftWhy::BadAddress),
        () if list.has_names() => Some(LeftWhy::Name),
        () => (has_route && is_signed).then_some(LeftWhy::SignedRoute),
    };
    (why, !is_malformed)
}

/// Notes each step of an address.
pub(super) fn note(address: &Address, steps: &[AddressStep], place: &ChangePlace, changes: &mut Changes) {
    let mut before = address;
    for step in steps {
        changes.address(step.rule, place, before, step.to.to_string());
        before = &step.to;
    }
}

/// A body that is being copied with changes.
struct Edited<'a> {
    body: &'a [u8],
    /// The number of octets of `body` that were copied or replaced.
    done: usize,
    out: Vec<u8>,
    /// The position in `out` at which the last line begins.
    line: usize,
    /// The octets before the body on its first line.
    name_len: usize,
}

impl Edited<'_> {
    fn replace(&mut self, mailbox: &Mailbox, to: &Address) -> Result<(), Unacceptable> {
        self.keep_to(mailbox.local.start);
        if self.out.ends_with(b",") || self.out.ends_with(b" ") {
            let column = self.out.len() - self.line + if self.line == 0 { self.name_len } else { 0 };
            if column + to.as_str().len() >= MAX_LINE_OCTETS {
                self.out.extend_from_slice(b"\r\n ");
                self.line = self.out.len() - 1;
            }
        }
        let (range, text) = mailbox.edit_to(to);
        self.keep_to(range.start);
        self.out.extend_from_slice(text.as_bytes());
        self.done = range.end;
        if self.out.len() > MAX_REWRITTEN_OCTETS { Err(Unacceptable::HeaderTooLarge) } else { Ok(()) }
    }

    fn leave_out(&mut self, range: Range<usize>) {
        self.keep_to(range.start);
        self.done = range.end;
    }

    fn keep_to(&mut self, position: usize) {
        let kept = &self.body[self.done..position];
        if let Some(at) = memrchr(b'\n', kept) {
            self.line = self.out.len() + at + 1;
        }
        self.out.extend_from_slice(kept);
        self.done = position;
    }

    /// Returns the changed body; `None` if nothing was replaced.
    fn finish(mut self) -> Option<Vec<u8>> {
        if self.done == 0 {
            return None;
        }
        self.keep_to(self.body.len());
        Some(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns `body` with every bare address completed.
    fn completed(body: &[u8]) -> Option<Vec<u8>> {
        let steps = |address: &Address| {
            let to = address.completed_with("x.example");
            if to == *address { vec![] } else { vec![AddressStep { rule: Rule::Origin, to }] }
        };
        let class = Class::HeaderRecipient;
        let rewritten = rewrite_body("To", class, body, false, steps, &mut Changes::default()).unwrap();
        rewritten.map(|rewritten| rewritten.body)
    }

    #[test]
    fn octets_around_an_address_stay() {
        for (body, expected) in [
            (&b" root\r\n"[..], &b" root@x.example\r\n"[..]),
            (
                b" \"Cron, D.\" <root>\t(a (b)) ,\r\n\t=?utf-8?Q?=C3=A4?= < ann > , x@y\r\n",
                b" \"Cron, D.\" <root@x.example>\t(a (b)) ,\r\n\t=?utf-8?Q?=C3=A4?= < ann@x.example > , x@y\r\n",
            ),
            (b" Us: root, \xff <ann>;", b" Us: root@x.example, \xff <ann@x.example>;"),
        ] {
            assert_eq!(completed(body).as_deref(), Some(expected));
        }
        for body in [&b" ann@y\r\n"[..], b"", b" Ann Smith, root\r\n", b" root, <\r\n"] {
            assert_eq!(completed(body), None, "nothing to change, or malformed");
        }
        let routed = completed(b" Ann <@a.example,@b:ann@y>, <\t@a (c) : root>\r\n");
        assert_eq!(routed.as_deref(), Some(&b" Ann <ann@y>, <\t root@x.example>\r\n"[..]));
    }

    #[test]
    fn an_address_that_does_not_fit_goes_to_the_next_line() {
        let body = format!(" {}\r\n", vec!["root"; 500].join(","));
        let out = completed(body.as_bytes()).unwrap();
        let lines: Vec<_> = out.split(|octet| *octet == b'\n').collect();
        assert!(lines.iter().all(|line| line.len() <= MAX_LINE_OCTETS + 1), "without LF, with CR");
        assert_eq!(mailboxes(&out).flatten().count(), 500);
        assert_eq!(completed(&out), None, "twice is once");
    }

    #[test]
    fn growth_is_bounded() {
        let body = "a,".repeat(MAX_REWRITTEN_OCTETS / 10);
        let steps = |address: &Address| {
            vec![AddressStep { rule: Rule::Origin, to: address.completed_with("long.x.example") }]
        };
        let (class, changes) = (Class::HeaderRecipient, &mut Changes::default());
        let refused = rewrite_body("To", class, body.as_bytes(), false, steps, changes);
        assert_eq!(refused, Err(Unacceptable::HeaderTooLarge));
    }

    #[test]
    fn fields_have_classes() {
        for (name, class) in [
            ("FROM", Some(Class::HeaderSender)),
            ("return-receipt-to", Some(Class::HeaderSender)),
            ("Resent-cc", Some(Class::HeaderRecipient)),
            ("Subject", None),
            ("X-From", None),
        ] {
            assert_eq!(class_of(name), class, "{name}");
        }
    }
}
