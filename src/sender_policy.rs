//! Sender policy: as whom a client may send.
//!
//! Promises: a policy is a function of the addresses alone, as the client gives them, with their domain (before rewriting, which
//! is the administrator's). Without a pattern that allows, everything that is not denied is allowed. `<>` is always allowed in
//! MAIL, as Postfix's reject_sender_login_mismatch does it: a report of a program is sent as nobody.
//!
//! Not here: who a client is (`listener/login.rs`), and the addresses in a header (`message/`).

use std::fmt;

use crate::envelope::{Address, ReversePath};
use crate::routing::AddressPattern;

/// The senders that one client may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderPolicy {
    /// The client in words, such as `user shop`, for the sentence of a refusal.
    pub who: String,
    /// The domain that an address without one gets.
    pub origin: String,
    /// The reverse-paths in MAIL.
    pub reverse_paths: AllowedSenders,
    /// The authors in the header.
    pub authors: AllowedSenders,
}

/// Patterns that allow, and patterns that deny.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedSenders {
    /// Only what fits one of these is allowed; empty for everything.
    pub allowed: Vec<AddressPattern>,
    /// What fits one of these is not, whatever `allowed` says.
    pub denied: Vec<AddressPattern>,
}

/// The reason why a sender is refused. Displays as a sentence for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRefusal {
    who: String,
    /// The sender; `None` if it cannot be read, or cannot stand in a reply.
    sender: Option<String>,
    place: &'static str,
    allowed: Vec<AddressPattern>,
}

/// The number of patterns that a refusal names.
const NAMED: usize = 3;

impl fmt::Display for PolicyRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PolicyRefusal { who, sender, place, allowed } = self;
        match sender {
            Some(sender) => write!(f, "{who} may not send as <{sender}> ({place})")?,
            None => write!(f, "{who} may not send as this sender ({place})")?,
        }
        if !allowed.is_empty() {
            let named: Vec<String> = allowed.iter().take(NAMED).map(AddressPattern::to_string).collect();
            let more = if allowed.len() > NAMED { " and others" } else { "" };
            write!(f, ", only as {}{more}", named.join(", "))?;
        }
        Ok(())
    }
}

impl SenderPolicy {
    /// Returns an error if the client may not give this reverse-path.
    pub fn check_reverse_path(&self, path: &ReversePath) -> Result<(), PolicyRefusal> {
        match path {
            ReversePath::Null => Ok(()),
            ReversePath::Mailbox(mailbox) => self.check(&self.reverse_paths, mailbox, "MAIL FROM"),
        }
    }

    /// Returns an error if the client may not name this author in the header field `place`.
    pub fn check_author(&self, author: &Address, place: &'static str) -> Result<(), PolicyRefusal> {
        self.check(&self.authors, author, place)
    }

    /// Returns the refusal of authors in the header field `place` that cannot be read, of whom nobody knows who they are.
    pub fn unreadable_author(&self, place: &'static str) -> PolicyRefusal {
        self.refusal(&self.authors, None, place)
    }

    /// Returns whether every author is allowed, so that the header need not be looked at.
    pub fn allows_every_author(&self) -> bool {
        self.authors == AllowedSenders::default()
    }

    fn check(
        &self,
        rule: &AllowedSenders,
        address: &Address,
        place: &'static str,
    ) -> Result<(), PolicyRefusal> {
        let whole = address.completed_with(&self.origin);
        if rule.allows(&whole) {
            return Ok(());
        }
        let sender = Some(whole.to_string()).filter(|text| text.is_ascii());
        Err(self.refusal(rule, sender, place))
    }

    fn refusal(&self, rule: &AllowedSenders, sender: Option<String>, place: &'static str) -> PolicyRefusal {
        PolicyRefusal { who: self.who.clone(), sender, place, allowed: rule.allowed.clone() }
    }
}

impl AllowedSenders {
    fn allows(&self, address: &Address) -> bool {
        let fits = |patterns: &[AddressPattern]| patterns.iter().any(|pattern| pattern.fits(address));
        (self.allowed.is_empty() || fits(&self.allowed)) && !fits(&self.denied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(allowed: &[&str], denied: &[&str]) -> AllowedSenders {
        let patterns =
            |texts: &[&str]| texts.iter().map(|text| AddressPattern::parse(text).unwrap()).collect();
        AllowedSenders { allowed: patterns(allowed), denied: patterns(denied) }
    }

    fn policy(reverse_paths: AllowedSenders, authors: AllowedSenders) -> SenderPolicy {
        SenderPolicy { who: "user shop".into(), origin: "web1.example".into(), reverse_paths, authors }
    }

    #[test]
    fn a_client_sends_as_whom_it_may() {
        let free = || AllowedSenders::default();
        let only = || rule(&["shop@a.example", "@b.example", "@.c.example"], &["ceo@b.example"]);
        for (rule, address, is_allowed) in [
            (free(), "anybody@anywhere.example", true),
            (free(), "root", true),
            (only(), "shop@a.example", true),
            (only(), "Shop@A.example", true),
            (only(), "other@a.example", false),
            (only(), "any@b.example", true),
            (only(), "ceo@b.example", false),
            (only(), "any@x.c.example", true),
            (only(), "any@c.example", false),
            (only(), "any@evilb.example", false),
            (only(), "root", false),
            (super::tests::rule(&["@web1.example"], &[]), "root", true),
            (super::tests::rule(&[], &["@b.example"]), "any@b.example", false),
            (super::tests::rule(&[], &["@b.example"]), "any@a.example", true),
        ] {
            let address = Address::parse(address).unwrap();
            let (as_path, as_author) = (policy(rule.clone(), free()), policy(free(), rule));
            let path = ReversePath::Mailbox(address.clone());
            assert_eq!(as_path.check_reverse_path(&path).is_ok(), is_allowed, "{address}");
            assert!(as_author.check_reverse_path(&path).is_ok() && as_path.allows_every_author());
            assert_eq!(as_author.check_author(&address, "From").is_ok(), is_allowed, "{address}");
        }
        assert!(policy(only(), only()).check_reverse_path(&ReversePath::Null).is_ok());
    }

    #[test]
    fn a_refusal_is_a_sentence() {
        let policy = policy(rule(&["@b.example"], &[]), AllowedSenders::default());
        let root = ReversePath::Mailbox(Address::parse("root").unwrap());
        assert_eq!(
            policy.check_reverse_path(&root).unwrap_err().to_string(),
            "user shop may not send as <root@web1.example> (MAIL FROM), only as @b.example"
        );
        let foreign = Address::parse("b\u{fc}ro@a.example").unwrap();
        let many = rule(&["@b.example", "@c.example", "@d.example", "@e.example"], &[]);
        let policy = self::policy(AllowedSenders::default(), many);
        assert_eq!(
            policy.check_author(&foreign, "From").unwrap_err().to_string(),
            "user shop may not send as this sender (From), only as @b.example, @c.example, @d.example and others"
        );
        let denied = self::policy(rule(&[], &["@a.example"]), AllowedSenders::default());
        let path = ReversePath::Mailbox(Address::parse("x@a.example").unwrap());
        assert_eq!(
            denied.check_reverse_path(&path).unwrap_err().to_string(),
            "user shop may not send as <x@a.example> (MAIL FROM)"
        );
    }
}
