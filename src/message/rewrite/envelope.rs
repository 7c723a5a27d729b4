//! Rewrites the addresses of the envelope.
//!
//! Promises: the null reverse-path stays, and the address that the relay will get for it is noted. A recipient that
//! was changed keeps the original address beside the new one. A mailbox that results from two recipients, or from an
//! alias, is in the envelope once.

use std::collections::HashMap;

use super::change::{ChangePlace, Changes, Rule};
use super::fields::note;
use super::rules::{Class, Rules};
use crate::envelope::{Address, Envelope, Recipient, ReversePath};

impl Rules {
    /// Returns the envelope with which a message that came with `envelope` is sent.
    pub fn envelope(&self, envelope: Envelope) -> Envelope {
        rewrite_envelope(envelope, self, &mut Changes::default())
    }
}

impl Rules {
    /// Returns the reverse-path that was handed in, with the domain that completes bare addresses, and no other change.
    pub fn completed(&self, handed_in: &ReversePath) -> ReversePath {
        match handed_in {
            ReversePath::Null => ReversePath::Null,
            ReversePath::Mailbox(address) => ReversePath::Mailbox(address.completed_with(self.origin())),
        }
    }
}

/// Rewrites each address of `envelope`.
pub(super) fn rewrite_envelope(envelope: Envelope, rules: &Rules, changes: &mut Changes) -> Envelope {
    let reverse_path = match envelope.reverse_path {
        ReversePath::Null => {
            if let Some(address) = rules.null_sender() {
                changes.address(Rule::NullSender, &ChangePlace::ReversePath, "<>", address.to_string());
            }
            ReversePath::Null
        }
        ReversePath::Mailbox(address) => {
            let steps = rules.steps(&address, Class::EnvelopeSender);
            note(&address, &steps, &ChangePlace::ReversePath, changes);
            ReversePath::Mailbox(last(&steps, address))
        }
    };
    let mut gathered = Gathered::default();
    for recipient in envelope.recipients {
        let expanded = expanded(recipient, rules, changes);
        expanded.into_iter().for_each(|(recipient, is_own)| gathered.add(recipient, is_own));
    }
    Envelope { reverse_path, recipients: gathered.recipients, ..envelope }
}

fn last(steps: &[super::mapping::AddressStep], address: Address) -> Address {
    steps.last().map_or(address, |step| step.to.clone())
}

/// Returns the recipients that result from one recipient: one, or several if it is an alias. Each has a flag that
/// says whether it is the submitter's own: neither from an alias, nor changed by a rule.
fn expanded(recipient: Recipient, rules: &Rules, changes: &mut Changes) -> Vec<(Recipient, bool)> {
    let steps = rules.steps(&recipient.address, Class::EnvelopeRecipient);
    note(&recipient.address, &steps, &ChangePlace::Recipient, changes);
    let mapped = last(&steps, recipient.address.clone());
    let Some(targets) = rules.targets(&mapped) else {
        let recipient = renamed(&recipient, mapped);
        let is_own = recipient.original.is_none();
        return vec![(recipient, is_own)];
    };
    let words: Vec<_> = targets.iter().map(Address::as_str).collect();
    if words != [mapped.as_str()] {
        changes.address(Rule::Aliases, &ChangePlace::Recipient, &mapped, words.join(", "));
    }
    targets.into_iter().map(|target| (renamed(&recipient, target), false)).collect()
}

fn renamed(recipient: &Recipient, address: Address) -> Recipient {
    let written = (address != recipient.address).then(|| recipient.address.clone());
    Recipient { address, original: recipient.original.clone().or(written), ..recipient.clone() }
}

/// The recipients so far, without repetitions that rewriting has made.
#[derive(Default)]
struct Gathered {
    recipients: Vec<Recipient>,
    /// The positions of the recipients with an address, each with the flag for the submitter's own.
    places: HashMap<Address, Vec<(usize, bool)>>,
}

impl Gathered {
    fn add(&mut self, recipient: Recipient, is_own: bool) {
        let places = self.places.entry(recipient.address.clone()).or_default();
        // Recipients with different DSN parameters are kept apart, and so are repetitions of the submitter's own.
        let is_same = |(place, other_is_own): &(usize, bool)| {
            let other = &self.recipients[*place];
            (other.notify, &other.orcpt) == (recipient.notify, &recipient.orcpt) && !(*other_is_own && is_own)
        };
        if places.iter().any(is_same) {
            return;
        }
        places.push((self.recipients.len(), is_own));
        self.recipients.push(recipient);
    }
}
