//! The envelope of a message: its reverse-path, its recipients, and what the submitter asked for.
//!
//! Not here: addresses themselves (`envelope/address.rs`), DSN parameters (`envelope/dsn.rs`), MAIL and RCPT on the wire
//! (`smtp/`), completing and rewriting addresses (`message/`).
//!
//! RFC 5321 2.3.1.

pub(crate) mod address;
mod dsn;
mod international;
pub(crate) mod quoted;
mod reverse_path_key;
pub(crate) mod spelling;
pub(crate) mod xtext;

use std::fmt;

pub use address::{Address, BadAddress, MAX_ADDRESS_OCTETS};
pub use dsn::{Notify, Ret};
pub use reverse_path_key::ReversePathKey;

/// The envelope of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The reverse-path of MAIL FROM.
    pub reverse_path: ReversePath,
    /// The recipients of RCPT TO, in the order given; never empty for a message in the spool.
    pub recipients: Vec<Recipient>,
    /// RET: how much of the message a failure DSN returns (RFC 3461 4.3).
    pub ret: Option<Ret>,
    /// ENVID as it was given, in xtext (RFC 3461 4.4).
    pub envid: Option<Box<str>>,
    /// BODY: what the submitter declared about the content (RFC 6152).
    pub body: Body,
    /// True if SMTPUTF8 was given on MAIL (RFC 6531).
    pub smtputf8: bool,
}

impl Envelope {
    /// Returns an envelope with `reverse_path`, without recipients and parameters.
    pub fn from(reverse_path: ReversePath) -> Self {
        Envelope {
            reverse_path,
            recipients: Vec::new(),
            ret: None,
            envid: None,
            body: Body::SevenBit,
            smtputf8: false,
        }
    }

    /// Returns whether an address in it may be sent only to a relay that offers SMTPUTF8.
    pub fn needs_smtputf8(&self) -> bool {
        self.reverse_path.mailbox().is_some_and(Address::needs_smtputf8)
            || self.recipients.iter().any(|recipient| recipient.address.needs_smtputf8())
    }
}

/// The mailbox that failures are reported to, or `<>`, which asks for no reports (RFC 5321 4.5.5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// The null reverse-path `<>`.
    Null,
    /// The mailbox that a DSN goes to.
    Mailbox(Address),
}

impl ReversePath {
    /// Returns the mailbox; `None` for `<>`.
    pub fn mailbox(&self) -> Option<&Address> {
        match self {
            ReversePath::Null => None,
            ReversePath::Mailbox(address) => Some(address),
        }
    }

    /// Returns the same reverse-path, with `address`, if there is one, in place of `<>`.
    pub fn or_for_null(&self, address: Option<&Address>) -> ReversePath {
        match (self, address) {
            (ReversePath::Null, Some(address)) => ReversePath::Mailbox(address.clone()),
            (ReversePath::Null | ReversePath::Mailbox(_), _) => self.clone(),
        }
    }
}

/// Displays as the text between the brackets, which is empty for the null reverse-path.
impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.mailbox().map_or(Ok(()), |address| address.fmt(f))
    }
}

/// One recipient of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The address that the relay gets.
    pub address: Address,
    /// The address that the submitter gave, if rewriting changed it (`orig_to=` in the log).
    pub original: Option<Address>,
    /// NOTIFY: when the submitter wants a DSN (RFC 3461 4.1).
    pub notify: Notify,
    /// ORCPT as it was given, `addr-type;xtext` (RFC 3461 4.2).
    pub orcpt: Option<Box<str>>,
}

impl Recipient {
    /// Returns a recipient without parameters.
    pub fn plain(address: Address) -> Self {
        Recipient { address, original: None, notify: Notify::Unstated, orcpt: None }
    }
}

/// BODY: what the submitter declared about the content (RFC 6152).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Body {
    /// `BODY=7BIT`, or no BODY parameter.
    #[default]
    SevenBit,
    /// `BODY=8BITMIME`.
    EightBitMime,
}

/// The submitter of a message, as far as it is known. It decides about ownership, and about fair shares of limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Submitter {
    /// A local user, known by SO_PEERCRED or by the owner of a dropped file. The message belongs to them.
    Uid(u32),
    /// A loopback TCP client whose connection belongs to this user. That says whose share it is, but it gives no right to
    /// the message: behind the connection there may be a proxy, a tunnel or a forwarded port, with mail of other users.
    LoopbackUid(u32),
    /// A loopback TCP client, of which only is known that it is on this host.
    Loopback,
    /// nullmta itself (a DSN).
    Ourselves,
}

impl Submitter {
    /// Returns the user, whichever way the mail came: for routes, limits and fair shares. Rights are given by
    /// [`Submitter::Uid`] alone.
    pub fn user(self) -> Option<u32> {
        match self {
            Submitter::Uid(uid) | Submitter::LoopbackUid(uid) => Some(uid),
            Submitter::Loopback | Submitter::Ourselves => None,
        }
    }

    /// Returns whether both have one share: it is the same user, over the socket or TCP, or neither is known.
    pub fn shares_with(self, other: Submitter) -> bool {
        self == other || self.user().is_some_and(|uid| other.user() == Some(uid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_one_share_over_the_socket_and_over_tcp() {
        let [ann, root, unknown, ourselves] =
            [Submitter::Uid(1), Submitter::Uid(0), Submitter::Loopback, Submitter::Ourselves];
        assert!(ann.shares_with(Submitter::LoopbackUid(1)) && Submitter::LoopbackUid(0).shares_with(root));
        assert!(unknown.shares_with(unknown) && ourselves.shares_with(ourselves));
        for (one, other) in
            [(ann, root), (ann, unknown), (unknown, root), (unknown, ourselves), (root, ourselves)]
        {
            assert!(!one.shares_with(other) && !other.shares_with(one), "{one:?} {other:?}");
        }
    }

    #[test]
    fn smtputf8_is_needed_only_for_addresses_that_have_it() {
        let mut envelope = Envelope::from(ReversePath::Null);
        envelope.smtputf8 = true;
        envelope.recipients.push(Recipient::plain(Address::parse("ann@example.org").unwrap()));
        assert!(!envelope.needs_smtputf8());
        envelope.recipients.push(Recipient::plain(Address::parse("ann@exämple.org").unwrap()));
        assert!(envelope.needs_smtputf8());
    }
}
