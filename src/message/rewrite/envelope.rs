//! The envelope's addresses.
//!
//! Promises: the null reverse-path stays what it is, and what the relay is told for it is noted; a recipient that was changed keeps what the submitter
//! wrote beside it, and a mailbox that two recipients became, or that an alias leads to, is told once.

use std::collections::HashMap;

use super::change::{ChangePlace, Changes, Rule};
use super::fields::note;
use super::rules::{Class, Rules};
use crate::envelope::{Address, Envelope, Recipient, ReversePath};

impl Rules {
    /// The envelope that a message with this one goes out with.
    pub fn envelope(&self, envelope: Envelope) -> Envelope {
        rewrite_envelope(envelope, self, &mut Changes::default())
    }
}

/// Sends each address of `envelope` on its way.
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

/// What becomes of one recipient: one, or several where it is an alias; each with whether it is the submitter's own,
/// which neither an alias gave nor a rule changed.
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

/// Recipients, with those that became the same one told once.
#[derive(Default)]
struct Gathered {
    recipients: Vec<Recipient>,
    /// Where the recipients of an address stand, and whether they are the submitter's own.
    places: HashMap<Address, Vec<(usize, bool)>>,
}

impl Gathered {
    fn add(&mut self, recipient: Recipient, is_own: bool) {
        let places = self.places.entry(recipient.address.clone()).or_default();
        // What was asked for a recipient is told for each who asked; the submitter's own repetitions stay.
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
