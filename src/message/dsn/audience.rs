//! Decides who is told about a failure. It is the one rule for what a relay refuses, what expires, and what is
//! refused at pick-up.
//!
//! Each recipient that failed asks for a report or does not (NOTIFY, RFC 3461 4.1). Those that ask are reported
//! together to one address, which depends on the envelope:
//!
//! | reverse-path | `queue.postmaster` | recipients that failed | who is told |
//! |---|---|---|---|
//! | an address | any | any | that address |
//! | `<>` | none | any | nobody |
//! | `<>` | an address | others than the postmaster | the postmaster |
//! | `<>` | an address | the postmaster, alone or with others | nobody: a report would fail as this message did |
//!
//! `queue.bounce-copy` gets the same report as the reverse-path, if that is another address and none of those that
//! failed. It gets no report about a message from `<>`, so that a report that fails makes no copy.
//!
//! A message from `<>` is usually a report itself, so its failure is not reported to its reverse-path (RFC 5321
//! 4.5.5). This holds with `rewrite.null-sender`, too, which only the relay gets: the envelope keeps `<>`.
//!
//! Not here: delays and successes, about which only the reverse-path is told; messages whose failure nobody is told
//! about (`queue/settlement.rs`, `listener/pickup.rs`).

use crate::envelope::{Address, Envelope, ReversePath};

/// The address that is told about the failure of some recipients of a message. Recipients are given by their index in
/// the envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience<'a> {
    /// The recipients whose failure is reported.
    pub wanted: Vec<usize>,
    /// The recipients whose failure is not reported, because of their NOTIFY.
    pub unwanted: Vec<usize>,
    /// The address that is told about `wanted`; `None` if nobody can be told.
    pub to: Option<&'a Address>,
    /// The address that is told as well.
    pub copy: Option<&'a Address>,
}

/// The addresses of the configuration that are told about failures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overseers {
    /// The value of `queue.postmaster`.
    pub postmaster: Option<Address>,
    /// The value of `queue.bounce-copy`.
    pub bounce_copy: Option<Address>,
}

impl<'a> Audience<'a> {
    /// Returns the audience if the recipients `failed` of a message with this envelope have failed.
    pub fn of(
        envelope: &'a Envelope,
        failed: impl IntoIterator<Item = usize>,
        overseers: &'a Overseers,
    ) -> Self {
        let asks = |index: &usize| envelope.recipients[*index].notify.wants_failure();
        let (wanted, unwanted): (Vec<usize>, Vec<usize>) = failed.into_iter().partition(asks);
        let has_failed =
            |address: &&Address| wanted.iter().any(|index| envelope.recipients[*index].address == **address);
        let Overseers { postmaster, bounce_copy } = overseers;
        let (to, copy) = match &envelope.reverse_path {
            ReversePath::Mailbox(address) => (Some(address), bounce_copy.as_ref()),
            ReversePath::Null => (postmaster.as_ref().filter(|postmaster| !has_failed(postmaster)), None),
        };
        let copy = copy.filter(|copy| to != Some(*copy) && !has_failed(copy));
        Audience { wanted, unwanted, to, copy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Notify, Recipient};

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn told(reverse_path: &str, failed: &[&str], postmaster: Option<&str>) -> Option<String> {
        let reverse_path = match reverse_path {
            "" => ReversePath::Null,
            text => ReversePath::Mailbox(address(text)),
        };
        let mut envelope = Envelope::from(reverse_path);
        envelope.recipients = failed.iter().map(|text| Recipient::plain(address(text))).collect();
        let overseers = Overseers { postmaster: postmaster.map(address), bounce_copy: None };
        let audience = Audience::of(&envelope, 0..failed.len(), &overseers);
        assert_eq!((audience.wanted.len(), audience.unwanted.len()), (failed.len(), 0));
        audience.to.map(ToString::to_string)
    }

    #[test]
    fn the_envelope_decides_who_is_told() {
        let ops = Some("ops@x");
        for (reverse_path, failed, postmaster, expected) in [
            ("app@x", &["ann@y"][..], None, Some("app@x")),
            ("app@x", &["ann@y", "ops@x"], ops, Some("app@x")),
            ("app@x", &["app@x"], ops, Some("app@x")),
            ("", &["ann@y"], None, None),
            ("", &["ann@y", "ben@y"], ops, ops),
            ("", &["ops@x"], ops, None),
            ("", &["ann@y", "ops@x"], ops, None),
        ] {
            let to = told(reverse_path, failed, postmaster);
            assert_eq!(to.as_deref(), expected, "<{reverse_path}> to {failed:?}, postmaster {postmaster:?}");
        }
    }

    #[test]
    fn a_copy_goes_beside_the_reverse_path_and_nowhere_else() {
        let overseers =
            Overseers { postmaster: Some(address("ops@x")), bounce_copy: Some(address("copy@x")) };
        for (reverse_path, failed, expected) in [
            (ReversePath::Mailbox(address("app@x")), "ann@y", Some("copy@x")),
            (ReversePath::Mailbox(address("app@x")), "copy@x", None),
            (ReversePath::Mailbox(address("copy@x")), "ann@y", None),
            (ReversePath::Null, "ann@y", None),
        ] {
            let mut envelope = Envelope::from(reverse_path);
            envelope.recipients = vec![Recipient::plain(address(failed))];
            let audience = Audience::of(&envelope, [0], &overseers);
            assert_eq!(audience.copy.map(Address::as_str), expected, "{} to {failed}", envelope.reverse_path);
            envelope.recipients[0].notify = Notify::Never;
            assert!(Audience::of(&envelope, [0], &overseers).wanted.is_empty());
        }
    }

    #[test]
    fn a_recipient_has_its_failure_reported_unless_it_says_otherwise() {
        let mut envelope = Envelope::from(ReversePath::Null);
        let recipient = |text, notify| Recipient { notify, ..Recipient::plain(address(text)) };
        envelope.recipients = vec![
            recipient("ann@y", Notify::Unstated),
            recipient("ops@x", Notify::Never),
            recipient("ben@y", Notify::On { success: true, failure: false, delay: true }),
            recipient("cat@y", Notify::On { success: false, failure: true, delay: false }),
            recipient("dan@y", Notify::Unstated),
        ];
        let postmaster = address("ops@x");
        let overseers = Overseers { postmaster: Some(postmaster.clone()), bounce_copy: None };
        let audience = Audience::of(&envelope, [0, 1, 2, 3], &overseers);
        assert_eq!((audience.wanted, audience.unwanted), (vec![0, 3], vec![1, 2]));
        assert_eq!(audience.to, Some(&postmaster), "the postmaster's own failure was not to be reported");
    }
}
