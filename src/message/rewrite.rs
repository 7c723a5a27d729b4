//! Rewriting: changes the addresses and the header of a message before it is spooled.
//!
//! The steps and their order are those of cleanup(8) with trivial-rewrite(8) in Postfix:
//!
//! ```text
//!  header                                          envelope
//!  1. [[rewrite.header]]: the first that matches
//!  2. Bcc, Resent-Bcc, Return-Path, Content-Length
//!     dropped; Received with hide-received;
//!     forgotten commas are added
//!  3. From, To, Date, Message-ID where missing;
//!     with any Resent field: Resent-From, Resent-Date, Resent-Message-ID
//!  4. addresses                                    addresses
//!     a. origin                                    a. origin
//!     b. senders, else sender                      b. senders, else sender; recipients, else recipient
//!        recipients, else recipient                c. masquerade
//!     c. masquerade                                d. aliases (recipients)
//!  5. X-Original-From, X-Original-To, Reply-To
//! ```
//!
//! Promises:
//! 1. Octets of the header to which no rule applies stay as they are (`fields.rs`), and the body is not seen here, so
//!    that signatures over either stay valid. An author's name that is not a phrase gets quotes (`author_name.rs`), a
//!    source route is removed (`fields.rs`), and a second From becomes X-Original-From, but none of this in a signed
//!    message. With `sender`, a From that does not have exactly one mailbox is written anew (`author.rs`), and a
//!    second From is always moved. Fields with addresses that were left alone or mended are listed in [`Changes`],
//!    with the reason.
//! 2. Rewriting a result again changes nothing: steps b and c are repeated until no rule changes the address any
//!    more. The exception is `[[rewrite.header]]`, which adds its field again.
//! 3. Every address of the envelope has a domain. `<>` stays `<>` in the queue, so that a failure does not cause
//!    another bounce; the relay gets the address of `null-sender` for it (`queue/null_sender.rs`).
//! 4. Time and memory are in proportion to the header and bounded ([`Unacceptable::HeaderTooLarge`],
//!    [`Unacceptable::TooMuchEffort`]).
//!
//! Differences from Postfix: `<>` is never mapped. A masqueraded address is looked up again. The result of a table is
//! not replaced with `sender` or `recipient`. Tables and aliases that lead in circles are refused when they are read,
//! and not when mail arrives.
//!
//! Fails: with [`Unacceptable`]; then the message must not be queued.
//! Not here: the end of the header and its limits (`fixup.rs`), reading the configuration (`config/`).

mod aliases;
mod author;
mod change;
mod effort;
mod envelope;
mod fields;
mod header_rule;
mod local_user;
mod mapping;
mod masquerade;
mod missing;
mod original;
mod outgoing;
mod pattern;
mod rules;
mod table;
mod template;

use jiff::Zoned;

pub use change::{Change, ChangePlace, Changes, LeftAlone, LeftWhy, MAX_CHANGES, Rule};
pub use effort::{MAX_EFFORT, MAX_RULES_KIB};
pub use header_rule::{BadFieldText, FieldText, HeaderAction, HeaderRule, RejectText};
pub use local_user::LocalUser;
pub use pattern::{BadPattern, MAX_COMPILED_KIB, MAX_PATTERN_OCTETS, Pattern};
pub use rules::{Circle, Class, MasqueradeDomain, RewriteSettings, Rules};
pub use table::{Replacement, Selector};
pub use template::Template;

use super::author_name;
use super::forgotten_comma::with_commas;
use super::header::{self, Field, Header};
use super::unacceptable::Unacceptable;
use crate::envelope::{Address, Envelope, ReversePath};
use author::{OneAuthor, one_author};
use effort::RuleEffort;
use fields::{MAX_REWRITTEN_OCTETS, RewrittenBody, addresses_in, class_of, is_list, rewrite_body};
use header_rule::RuleOutcome;
use missing::{SeenField, SeenFields, is_dropped};
use original::original_field;

/// The facts about a message that are not in its octets.
#[derive(Clone, Debug)]
pub struct MessageFacts {
    /// Our Received field with its line end (`received.rs`); may be empty.
    pub received: String,
    /// The name of this host, for the right side of a Message-ID.
    pub hostname: String,
    /// The left side of a Message-ID.
    pub message_id_left: String,
    /// The time at which the message was received, for Date.
    pub now: Zoned,
    /// The user who sent it, for From.
    pub user: Option<LocalUser>,
}

/// The envelope and the header section of a message after rewriting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// The envelope, with the sender and the recipients that the rules made of it.
    pub envelope: Envelope,
    /// The header section: only fields, each with its line end.
    pub header: Vec<u8>,
    /// The changes that were made, which are logged.
    pub changes: Changes,
}

/// Applies `rules` to a message. The last field of `header` may lack its line end.
pub fn rewrite(
    envelope: Envelope,
    header: Header<'_>,
    rules: &Rules,
    facts: &MessageFacts,
) -> Result<Rewritten, Unacceptable> {
    let is_signed = header.find("DKIM-Signature").is_some();
    let mut pass = Pass::new(rules, &envelope.reverse_path, is_signed);
    pass.best_from = best_from(&header);
    // As a rule only our Received field is added.
    pass.out.reserve(facts.received.len() + header.octets().len());
    pass.each_field(&header::split(facts.received.as_bytes()).header)?;
    pass.each_field(&header)?;
    for (name, body) in pass.seen.missing(facts, &envelope.reverse_path, rules) {
        pass.add_missing(name, body.as_bytes())?;
    }
    pass.keep_originals()?;
    let Pass { out, mut changes, .. } = pass;
    let envelope = envelope::rewrite_envelope(envelope, rules, &mut changes);
    Ok(Rewritten { envelope, header: out, changes })
}

/// The state while the fields of a header section are rewritten one by one.
struct Pass<'r> {
    rules: &'r Rules,
    /// True if the message has a signature, which covers at least From.
    is_signed: bool,
    /// The quality of the best From. Of several, the first one with this quality is kept.
    best_from: FromWorth,
    /// The author of the message if From does not give one.
    sender: Address,
    /// The work that header rules may still do.
    effort: RuleEffort,
    out: Vec<u8>,
    changes: Changes,
    seen: SeenFields,
    /// The bodies of From and To before they were replaced.
    original_from: Option<OriginalField>,
    original_to: Option<OriginalField>,
}

struct OriginalField {
    body: Vec<u8>,
    /// The body of a Reply-To that reaches the author, if a table or the one address for all has replaced the
    /// address.
    reply_to: Option<Vec<u8>>,
    /// True if it is kept whatever `keep-original` says, since the text is nowhere else.
    must_stay: bool,
}

impl<'r> Pass<'r> {
    fn new(rules: &'r Rules, reverse_path: &ReversePath, is_signed: bool) -> Self {
        Pass {
            rules,
            is_signed,
            best_from: FromWorth::Nobody,
            sender: reverse_path.mailbox().cloned().unwrap_or_else(Rules::daemon),
            effort: RuleEffort::new(),
            out: Vec::new(),
            changes: Changes::default(),
            seen: SeenFields::default(),
            original_from: None,
            original_to: None,
        }
    }

    fn each_field(&mut self, header: &Header<'_>) -> Result<(), Unacceptable> {
        header.fields().try_for_each(|field| self.field(&field))
    }

    /// Applies the first header rule that matches the field, and then the steps for all fields.
    fn field(&mut self, field: &Field<'_>) -> Result<(), Unacceptable> {
        let first = header_rule::first_outcome(&self.rules.header, field, &mut self.effort)?;
        let Some((number, outcome)) = first else { return self.ruled(field) };
        let (name, rule) = (field.name(), Rule::Header(number));
        match outcome {
            RuleOutcome::Removed => {
                self.changes.field(rule, name, Some(field.raw_body()), None);
                Ok(())
            }
            RuleOutcome::Rejected(text) => Err(Unacceptable::Rejected(text.into())),
            RuleOutcome::Kept => self.ruled(field),
            RuleOutcome::Replaced(octets) => {
                self.changes.field(rule, name, Some(field.octets()), Some(&octets));
                self.each_ruled(&octets)
            }
            RuleOutcome::Prepended(octets) => {
                self.changes.field(rule, name, None, Some(&octets));
                self.each_ruled(&octets)?;
                self.ruled(field)
            }
        }
    }

    fn each_ruled(&mut self, octets: &[u8]) -> Result<(), Unacceptable> {
        header::split(octets).header.fields().try_for_each(|field| self.ruled(&field))
    }

    fn ruled(&mut self, field: &Field<'_>) -> Result<(), Unacceptable> {
        let name = field.name();
        let is_hidden = self.rules.hide_received && field.is("Received");
        if is_hidden || is_dropped(name) {
            let rule = if is_hidden { Rule::HideReceived } else { Rule::FixUp };
            self.changes.field(rule, name, Some(field.raw_body()), None);
            return Ok(());
        }
        if !field.is("From") {
            return self.any_ruled(field);
        }
        if self.rules.has_one_sender() {
            return self.one_from(field);
        }
        if self.seen.has(SeenField::From) || self.is_surpassed(field) {
            self.further_from(field)
        } else {
            self.any_ruled(field)
        }
    }

    /// Returns whether a later From tells the author better than this one.
    fn is_surpassed(&self, from: &Field<'_>) -> bool {
        self.best_from > FromWorth::Nobody && FromWorth::of(from) < self.best_from
    }

    /// Processes a second From. A relay refuses a message with two, or readers disagree about the author.
    fn further_from(&mut self, field: &Field<'_>) -> Result<(), Unacceptable> {
        let body = field.raw_body();
        if self.is_signed {
            self.changes.left(field.name(), LeftWhy::SignedFrom, body);
            return self.any_ruled(field);
        }
        let rewritten = self.addresses(field, body)?;
        let body = rewritten.as_ref().map_or(body, |rewritten| &rewritten.body);
        self.changes.field(Rule::FixUp, field.name(), Some(field.raw_body()), None);
        self.add_original("X-Original-From", body, Rule::FixUp)
    }

    /// Processes From when one address sends all mail: there is one From, with one mailbox.
    fn one_from(&mut self, field: &Field<'_>) -> Result<(), Unacceptable> {
        let (name, body) = (field.name(), field.raw_body());
        if self.seen.has(SeenField::From) {
            return self.add_original("X-Original-From", body, Rule::Sender);
        }
        let rules = self.rules;
        let sent_as = |address: &Address| rules.sent_as(address, Class::HeaderSender);
        let Some(author) = one_author(body, &self.sender, sent_as) else { return self.any_ruled(field) };
        let OneAuthor { body: after, reply_to, is_cut } = author;
        self.seen.note(name);
        self.changes.field(Rule::Sender, name, Some(body), Some(&after));
        self.original_from = Some(OriginalField { body: body.to_owned(), reply_to, must_stay: is_cut });
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b':');
        self.out.extend_from_slice(&after);
        self.end_line()
    }

    fn any_ruled(&mut self, field: &Field<'_>) -> Result<(), Unacceptable> {
        let name = field.name();
        self.seen.note(name);
        let mended = self.mended(field);
        let body = mended.as_deref().unwrap_or(field.raw_body());
        let rewritten = self.addresses(field, body)?;
        if let Some(rewritten) = &rewritten {
            self.keep(field, rewritten);
        }
        let before_body = &field.octets()[..field.octets().len() - field.raw_body().len()];
        self.out.extend_from_slice(before_body);
        self.out.extend_from_slice(rewritten.as_ref().map_or(body, |rewritten| &rewritten.body));
        self.end_line()
    }

    /// Returns the mended body of a field with addresses: an author's name gets quotes, a list of recipients its
    /// commas. Returns `None` if the body stays.
    fn mended(&mut self, field: &Field<'_>) -> Option<Vec<u8>> {
        let (name, body) = (field.name(), field.raw_body());
        let (mended, why) = match class_of(name)? {
            Class::HeaderSender => (author_name::mended(body)?, LeftWhy::Signed),
            _ => (with_commas(body)?, LeftWhy::SignedList),
        };
        if self.is_signed && !(field.is("From") && self.rules.has_one_sender()) {
            self.changes.left(name, why, body);
            return None;
        }
        self.changes.field(Rule::FixUp, name, Some(body), Some(&mended));
        Some(mended)
    }

    /// Rewrites the addresses in this body of a field. Returns `None` if nothing was changed.
    fn addresses(&mut self, field: &Field<'_>, body: &[u8]) -> Result<Option<RewrittenBody>, Unacceptable> {
        let Some(class) = class_of(field.name()) else { return Ok(None) };
        let (rules, name, is_signed) = (self.rules, field.name(), self.is_signed);
        if !rules.reply_to_original || !field.is("Reply-To") {
            let steps = |address: &Address| rules.steps(address, class);
            return rewrite_body(name, class, body, is_signed, steps, &mut self.changes);
        }
        let is_mapped =
            |address: &Address| rules.steps(address, class) != rules.steps_unmapped(address, class);
        if addresses_in(class, body).any(|mailbox| is_mapped(&mailbox.address)) {
            self.changes.left(name, LeftWhy::ReplyToOriginal, body);
        }
        let steps = |address: &Address| rules.steps_unmapped(address, class);
        rewrite_body(name, class, body, is_signed, steps, &mut self.changes)
    }

    /// Keeps the original body of From and To for the fields that are added at the end.
    fn keep(&mut self, field: &Field<'_>, rewritten: &RewrittenBody) {
        let original = match field.name().to_ascii_lowercase().as_str() {
            "from" => &mut self.original_from,
            "to" => &mut self.original_to,
            _ => return,
        };
        if rewritten.is_other && original.is_none() {
            let body = field.raw_body().to_owned();
            let reply_to = rewritten.is_mapped.then(|| body.clone());
            *original = Some(OriginalField { body, reply_to, must_stay: false });
        }
    }

    fn add_missing(&mut self, name: &str, body: &[u8]) -> Result<(), Unacceptable> {
        self.changes.field(Rule::FixUp, name, None, Some(body));
        self.each_ruled(&[name.as_bytes(), b":", body].concat())
    }

    fn keep_originals(&mut self) -> Result<(), Unacceptable> {
        let (from, to) = (self.original_from.take(), self.original_to.take());
        let all = self.rules.keep_original;
        let rule = if all { Rule::KeepOriginal } else { Rule::Sender };
        if let Some(from) =
            from.as_ref().filter(|from| from.must_stay || (all && !self.seen.has(SeenField::OriginalFrom)))
        {
            self.add_original("X-Original-From", &from.body, rule)?;
        }
        if let Some(to) = to.as_ref().filter(|_| all && !self.seen.has(SeenField::OriginalTo)) {
            self.add_original("X-Original-To", &to.body, rule)?;
        }
        match from.and_then(|from| from.reply_to).filter(|_| !self.seen.has(SeenField::ReplyTo)) {
            Some(reply_to) if self.rules.reply_to_original => {
                self.changes.field(Rule::ReplyToOriginal, "Reply-To", None, Some(&reply_to));
                self.each_ruled(&[b"Reply-To:", &reply_to[..]].concat())
            }
            _ => Ok(()),
        }
    }

    fn add_original(&mut self, name: &str, body: &[u8], rule: Rule) -> Result<(), Unacceptable> {
        self.changes.field(rule, name, None, Some(body));
        self.out.extend_from_slice(&original_field(name, body));
        self.end_line()
    }

    /// Adds a line end to the last field if it has none.
    fn end_line(&mut self) -> Result<(), Unacceptable> {
        if !self.out.ends_with(b"\n") {
            // The content may end in a single CR, which is then the first half of this line end.
            self.out.extend_from_slice(if self.out.ends_with(b"\r") { b"\n" } else { b"\r\n" });
        }
        if self.out.len() > MAX_REWRITTEN_OCTETS { Err(Unacceptable::HeaderTooLarge) } else { Ok(()) }
    }
}

/// The quality of a From: how well it tells the author of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum FromWorth {
    Nobody,
    /// It contains an address, but is not a list of addresses, even after its name was mended.
    Address,
    List,
}

impl FromWorth {
    fn of(field: &Field<'_>) -> FromWorth {
        let mended = author_name::mended(field.raw_body());
        let body = mended.as_deref().unwrap_or(field.raw_body());
        match addresses_in(Class::HeaderSender, body).next() {
            None => FromWorth::Nobody,
            Some(_) if is_list(Class::HeaderSender, body) => FromWorth::List,
            Some(_) => FromWorth::Address,
        }
    }
}

/// Returns the quality of the best of several Froms. A single From is used whatever its quality, which takes long to tell.
fn best_from(header: &Header<'_>) -> FromWorth {
    let froms: Vec<Field<'_>> = header.fields().filter(|field| field.is("From")).collect();
    match &froms[..] {
        [] | [_] => FromWorth::Nobody,
        several => several.iter().map(FromWorth::of).max().unwrap_or(FromWorth::Nobody),
    }
}

#[cfg(test)]
mod tests;
