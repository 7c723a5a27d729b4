//! The rules for rewriting: as they are configured, and prepared for use.
//!
//! Promises: with [`Rules`], rewriting ends for every address (`mapping.rs`, `aliases.rs`).
//!
//! Not here: reading the configuration (`config/`), applying the rules to a message (`rewrite.rs`).

use std::collections::{BTreeMap, BTreeSet};

use super::aliases::Aliases;
use super::change::Rule;
use super::header_rule::HeaderRule;
use super::mapping::{AddressStep, Course, Finished, Host, Mapping};
use super::masquerade::Masquerade;
use super::table::{Replacement, Selector, Table};
use super::template::Template;
use crate::envelope::spelling::folded_local;
use crate::envelope::{Address, BadAddress};
use crate::message::long_lines::LongLines;

/// The place and the role of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The reverse-path of the envelope.
    EnvelopeSender,
    /// A recipient of the envelope.
    EnvelopeRecipient,
    /// An address in From, Sender, Reply-To and similar fields.
    HeaderSender,
    /// An address in To, Cc and similar fields.
    HeaderRecipient,
}

impl Class {
    fn is_sender(self) -> bool {
        matches!(self, Class::EnvelopeSender | Class::HeaderSender)
    }
}

/// An entry of `masquerade`: a parent domain that replaces others, or `!domain`, which keeps what is below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasqueradeDomain {
    /// The domain, without the `!`.
    pub name: Box<str>,
    /// True if the entry begins with `!`.
    pub is_exception: bool,
}

impl MasqueradeDomain {
    /// Parses an entry.
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        let name = text.strip_prefix('!').unwrap_or(text);
        if name.ends_with('.') || name.starts_with('[') {
            return Err(BadAddress::BadDomain);
        }
        Address::parse(&format!("x@{name}"))?;
        Ok(MasqueradeDomain { name: name.into(), is_exception: name.len() < text.len() })
    }
}

/// The settings of the section `[rewrite]`; `config/nullmta.toml` documents them.
#[derive(Clone, Debug)]
pub struct RewriteSettings {
    /// The setting `origin`: the domain that completes bare addresses.
    pub origin: String,
    /// The name of this host. Users in this domain are users of this host.
    pub hostname: String,
    /// The setting `masquerade`: the domains that replace the hosts in them. The first one that matches counts.
    pub masquerade: Vec<MasqueradeDomain>,
    /// The setting `masquerade-except`: the local parts of users to which `masquerade` does not apply.
    pub masquerade_except: Vec<String>,
    /// The setting `masquerade-classes`: the addresses to which `masquerade` applies.
    pub masquerade_classes: Vec<Class>,
    /// The setting `sender`: one address for all senders that have no entry in `senders`.
    pub sender: Option<Template>,
    /// The setting `null-sender`: the reverse-path that the relay gets in place of `<>`.
    pub null_sender: Option<Address>,
    /// The setting `recipient`: one address for all recipients that have no entry in `recipients`.
    pub recipient: Option<Address>,
    /// The setting `senders`: senders with the addresses that replace them.
    pub senders: BTreeMap<Selector, Replacement>,
    /// The setting `recipients`: recipients with the addresses that replace them.
    pub recipients: BTreeMap<Selector, Replacement>,
    /// The setting `aliases`: local parts of this host with the addresses to which their mail goes.
    pub aliases: BTreeMap<String, Vec<Address>>,
    /// The setting `verified-domains`: the domains of senders that `sender` does not change.
    pub verified_domains: Vec<String>,
    /// The setting `keep-original`: true if the original From and To are kept in X-Original-From and X-Original-To.
    pub keep_original: bool,
    /// The setting `reply-to-original`: true if answers go where they would go without `sender` and `senders`.
    pub reply_to_original: bool,
    /// The setting `hide-received`: true if all Received fields are removed, our own too.
    pub hide_received: bool,
    /// The setting `long-lines`: the treatment of lines of more than 998 octets.
    pub long_lines: LongLines,
    /// The rules of `[[rewrite.header]]`, in their order.
    pub header: Vec<HeaderRule>,
}

impl RewriteSettings {
    /// Returns settings that only add `origin` to bare addresses.
    pub fn new(origin: impl Into<String>, hostname: impl Into<String>) -> Self {
        use Class::{EnvelopeSender, HeaderRecipient, HeaderSender};
        RewriteSettings {
            origin: origin.into(),
            hostname: hostname.into(),
            masquerade: Vec::new(),
            masquerade_except: Vec::new(),
            masquerade_classes: vec![EnvelopeSender, HeaderSender, HeaderRecipient],
            sender: None,
            null_sender: None,
            recipient: None,
            senders: BTreeMap::new(),
            recipients: BTreeMap::new(),
            aliases: BTreeMap::new(),
            verified_domains: Vec::new(),
            keep_original: false,
            reply_to_original: false,
            hide_received: false,
            long_lines: LongLines::Fold,
            header: Vec::new(),
        }
    }
}

/// An entry for which rewriting would not end, or would need more than 50 steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Circle {
    /// An entry of `senders`.
    Senders(Selector),
    /// An entry of `recipients`.
    Recipients(Selector),
    /// An entry of `aliases`.
    Aliases(String),
}

/// The rules, prepared for use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    pub(super) host: Host,
    pub(super) masquerade: Masquerade,
    pub(super) senders: Mapping,
    null_sender: Option<Address>,
    pub(super) recipients: Mapping,
    pub(super) aliases: Aliases,
    pub(super) keep_original: bool,
    pub(super) reply_to_original: bool,
    pub(super) hide_received: bool,
    pub(in crate::message) long_lines: LongLines,
    pub(super) header: Vec<HeaderRule>,
}

impl Rules {
    /// Prepares the rules of `settings`.
    pub fn new(settings: RewriteSettings) -> Result<Self, Circle> {
        let host = Host { origin: settings.origin.clone(), name: settings.hostname.clone() };
        let masquerade = Masquerade {
            domains: settings.masquerade.clone(),
            except: settings.masquerade_except.iter().map(|user| folded_local(user)).collect(),
            classes: settings.masquerade_classes.iter().copied().collect(),
        };
        let senders = senders_of(&settings, &host, &masquerade)?;
        let (recipients, aliases) = recipients_of(&settings, &host, &masquerade)?;
        Ok(Rules {
            host,
            masquerade,
            senders,
            null_sender: settings.null_sender,
            recipients,
            aliases,
            keep_original: settings.keep_original,
            reply_to_original: settings.reply_to_original,
            hide_received: settings.hide_received,
            long_lines: settings.long_lines,
            header: settings.header,
        })
    }

    /// Returns the domain that completes bare addresses.
    pub fn origin(&self) -> &str {
        &self.host.origin
    }

    /// Returns the author of a DSN in its header: `MAILER-DAEMON` of this host, rewritten like every other sender.
    ///
    /// A relay that accepts verified senders only checks this address, too.
    pub fn dsn_author(&self) -> Address {
        self.sent_as(&Rules::daemon(), Class::HeaderSender)
    }

    /// Returns the address that the relay gets in place of `<>`; `None` if it gets `<>`. The message itself keeps
    /// `<>`.
    pub fn null_sender(&self) -> Option<&Address> {
        self.null_sender.as_ref()
    }

    /// Returns the reverse-path with which mail from `address` is sent.
    pub fn sender_for(&self, address: &Address) -> Address {
        self.sent_as(address, Class::EnvelopeSender)
    }

    /// Returns the author with which mail from the author `address` is sent.
    pub fn author_for(&self, address: &Address) -> Address {
        self.sent_as(address, Class::HeaderSender)
    }

    /// Returns the author of mail from `<>`.
    pub(super) fn daemon() -> Address {
        // Letters and a hyphen are always an address.
        Address::parse("MAILER-DAEMON").unwrap()
    }

    /// Returns whether one address is the sender of all mail for which no entry exists.
    pub(super) fn has_one_sender(&self) -> bool {
        self.senders.for_all.is_some()
    }

    /// Returns the final form of an address of `class`.
    pub(super) fn sent_as(&self, address: &Address, class: Class) -> Address {
        let rest = self.steps(address, class).pop();
        rest.map_or_else(|| address.completed_with(self.origin()), |step| step.to)
    }

    /// Returns whether mail for this user of the host has a place to go: there is an alias or an entry of
    /// `recipients` for the user, or all mail goes to one `recipient`.
    pub fn is_named(&self, user: &Address) -> bool {
        let address = user.completed_with(self.origin());
        self.recipients.for_all.is_some()
            || self.recipients.table.names(user)
            || self.targets(&address).is_some()
    }

    /// Returns the compiled size of all header rules together, in KiB.
    pub fn header_rules_kib(&self) -> u32 {
        self.header.iter().map(|rule| rule.pattern.kib()).sum()
    }

    /// Returns the steps of rewriting an address of `class`.
    pub(super) fn steps(&self, address: &Address, class: Class) -> Vec<AddressStep> {
        let mapping = if class.is_sender() { &self.senders } else { &self.recipients };
        self.course(Some(mapping), class).steps(address)
    }

    /// Returns the steps of rewriting an address without the tables.
    pub(super) fn steps_unmapped(&self, address: &Address, class: Class) -> Vec<AddressStep> {
        self.course(None, class).steps(address)
    }

    fn course<'r>(&'r self, mapping: Option<&'r Mapping>, class: Class) -> Course<'r> {
        Course { host: &self.host, mapping, masquerade: &self.masquerade, class }
    }

    /// Returns the targets if a complete address is an alias.
    pub(super) fn targets(&self, address: &Address) -> Option<Vec<Address>> {
        self.aliases.expand(address, &self.host)
    }
}

fn senders_of(settings: &RewriteSettings, host: &Host, masquerade: &Masquerade) -> Result<Mapping, Circle> {
    let mut mapping = Mapping {
        table: Table::new(&settings.senders, &host.origin),
        by_table: Rule::Senders,
        for_all: settings.sender.clone(),
        by_for_all: Rule::Sender,
        finished: Finished::default(),
    };
    finish(&mut mapping, host, masquerade);
    for domain in &settings.verified_domains {
        mapping.finished.add_domain(domain, masquerade);
    }
    match circle(&mapping, host, masquerade, Class::HeaderSender) {
        Some(selector) => Err(Circle::Senders(selector)),
        None => Ok(mapping),
    }
}

fn recipients_of(
    settings: &RewriteSettings,
    host: &Host,
    masquerade: &Masquerade,
) -> Result<(Mapping, Aliases), Circle> {
    let mut mapping = Mapping {
        table: Table::new(&settings.recipients, &host.origin),
        by_table: Rule::Recipients,
        for_all: None,
        by_for_all: Rule::Recipient,
        finished: Finished::default(),
    };
    let class = Class::EnvelopeRecipient;
    if let Some(selector) = circle(&mapping, host, masquerade, class) {
        return Err(Circle::Recipients(selector));
    }
    let course = Course { host, mapping: Some(&mapping), masquerade, class };
    let finished =
        |target: &Address| course.steps(target).pop().map_or_else(|| target.clone(), |step| step.to);
    let aliases = Aliases::new(&settings.aliases, host, finished);
    let aliases = aliases.map_err(|circle| Circle::Aliases(circle.0))?;
    mapping.for_all =
        settings.recipient.as_ref().map(|address| Template::fixed(&address.completed_with(&host.origin)));
    finish(&mut mapping, host, masquerade);
    for target in aliases.targets() {
        mapping.finished.add_address(target, masquerade);
    }
    Ok((mapping, aliases))
}

fn finish(mapping: &mut Mapping, host: &Host, masquerade: &Masquerade) {
    mapping.finished.add_table(&mapping.table, masquerade);
    if let Some(template) = &mapping.for_all {
        mapping.finished.add_template(template, host, masquerade);
    }
}

/// Returns an entry of the table that leads in a circle, with or without masquerading.
fn circle(mapping: &Mapping, host: &Host, masquerade: &Masquerade, class: Class) -> Option<Selector> {
    let on = Masquerade { classes: BTreeSet::from([class]), ..masquerade.clone() };
    [on, masquerade.off()]
        .iter()
        .find_map(|masquerade| Course { host, mapping: Some(mapping), masquerade, class }.circle().cloned())
}
