//! Routing: which relay gets a recipient of a message.
//!
//! Promises: the route is a function of the message (its reverse-path, the author in its From field where a route asks
//! for that, its submitter), of the recipient, and of the configuration; of nothing else. The first route that takes
//! the recipient wins. What no route takes goes to the relay of the top-level `relayhost`.
//!
//! A route takes a recipient if each of its conditions holds. A condition is a list, of which one entry must fit.
//! Addresses are those that the relay would get: after rewriting. They are compared as rewriting compares them
//! (`envelope/spelling.rs`). A DSN is from `<>`, and goes by the same rules: a route
//! with `senders` takes it only if `"<>"` is among them.
//!
//! Pure. Not here: which messages wait for which relay (`queue/`), reading the From field (`queue/routes.rs`).

use std::fmt;

use crate::envelope::spelling::{folded, folded_domain};
use crate::envelope::{Address, ReversePath, Submitter};

/// All routes of the configuration, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes(pub Vec<RouteRule>);

/// The conditions of one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteRule {
    /// The name of the route, which is unique.
    pub name: String,
    /// The senders whose mail it takes; empty for those of every sender.
    pub senders: Vec<SenderPattern>,
    /// The place in which a sender is looked for.
    pub senders_in: SendersIn,
    /// The recipients that it takes; empty for all.
    pub recipients: Vec<AddressPattern>,
    /// The users whose mail it takes; empty for those of every user, and of clients whose user is not known.
    pub uids: Vec<u32>,
}

/// The place in which a sender is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SendersIn {
    /// The reverse-path.
    #[default]
    Envelope,
    /// The addresses in the From field.
    HeaderFrom,
}

/// A sender as a route names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SenderPattern {
    /// The null reverse-path, `<>`.
    Null,
    /// The addresses that fit this pattern.
    Address(AddressPattern),
}

/// An address, a domain, or everything below a domain, each in its folded form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressPattern {
    /// This address.
    Whole(String),
    /// All addresses of this domain.
    Domain(String),
    /// All addresses of the domains below this one, which has the dot in front.
    Below(String),
}

/// The part of a message that decides about its routes.
#[derive(Clone, Copy, Debug)]
pub struct RoutedMail<'a> {
    /// The reverse-path.
    pub reverse_path: &'a ReversePath,
    /// The addresses in the From field; they may be missing if no route asks for them ([`Routes::ask_for_header`]).
    pub authors: &'a [Address],
    /// The submitter.
    pub submitter: Submitter,
    /// The name of the route that an operator has assigned it to; empty for the top-level `relayhost`.
    pub assigned: Option<&'a str>,
}

impl Routes {
    /// Returns the place of the relay that gets this recipient: 0 is that of the top-level `relayhost`, 1 the first
    /// route.
    pub fn place_of(&self, mail: &RoutedMail<'_>, recipient: &Address) -> usize {
        let assigned = mail.assigned.and_then(|name| self.place_named(name));
        let by_rules =
            || self.0.iter().position(|route| route.takes(mail, recipient)).map_or(0, |route| route + 1);
        assigned.unwrap_or_else(by_rules)
    }

    /// Returns the place of the relay of this route, or of the top-level `relayhost` if the name is empty; `None` if there is no such
    /// route, so that the rules decide.
    fn place_named(&self, name: &str) -> Option<usize> {
        match name {
            "" => Some(0),
            name => self.0.iter().position(|route| route.name == name).map(|route| route + 1),
        }
    }

    /// Returns whether a route looks for senders in the From field.
    pub fn ask_for_header(&self) -> bool {
        self.0.iter().any(|route| route.senders_in == SendersIn::HeaderFrom)
    }

    /// Returns the routes that can never take anything, each with the earlier one that takes all of its mail.
    pub fn shadowed(&self) -> Vec<(&RouteRule, &RouteRule)> {
        let routes = self.0.iter().enumerate();
        let earlier = |(place, route)| {
            let taker = self.0[..place].iter().find(|earlier| earlier.covers(route));
            taker.map(|earlier| (route, earlier))
        };
        routes.filter_map(earlier).collect()
    }
}

impl RouteRule {
    fn takes(&self, mail: &RoutedMail<'_>, recipient: &Address) -> bool {
        let is_user = |uid: &u32| mail.submitter.user() == Some(*uid);
        (self.senders.is_empty() || self.senders.iter().any(|sender| self.is_from(sender, mail)))
            && (self.recipients.is_empty() || self.recipients.iter().any(|pattern| pattern.fits(recipient)))
            && (self.uids.is_empty() || self.uids.iter().any(is_user))
    }

    fn is_from(&self, sender: &SenderPattern, mail: &RoutedMail<'_>) -> bool {
        match (sender, self.senders_in) {
            (SenderPattern::Null, _) | (_, SendersIn::Envelope) => sender.takes(mail.reverse_path),
            (SenderPattern::Address(pattern), SendersIn::HeaderFrom) => {
                *mail.reverse_path != ReversePath::Null
                    && mail.authors.iter().any(|author| pattern.fits(author))
            }
        }
    }

    /// Returns whether it takes everything that `later` takes.
    fn covers(&self, later: &RouteRule) -> bool {
        let each_of = |mine: &[AddressPattern], theirs: &[AddressPattern]| {
            mine.is_empty()
                || (!theirs.is_empty() && theirs.iter().all(|their| mine.iter().any(|my| my.covers(their))))
        };
        let is_sender = |their: &SenderPattern| {
            self.senders.iter().any(|my| match (my, their) {
                (SenderPattern::Address(my), SenderPattern::Address(their)) => my.covers(their),
                _ => my == their,
            })
        };
        let senders = self.senders.is_empty()
            || (self.senders_in == later.senders_in
                && !later.senders.is_empty()
                && later.senders.iter().all(is_sender));
        let uids = self.uids.is_empty()
            || (!later.uids.is_empty() && later.uids.iter().all(|uid| self.uids.contains(uid)));
        senders && uids && each_of(&self.recipients, &later.recipients)
    }
}

impl SenderPattern {
    /// Parses an address, `@domain`, `@.domain` or `<>`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "<>" {
            Some(SenderPattern::Null)
        } else {
            AddressPattern::parse(text).map(SenderPattern::Address)
        }
    }

    /// Returns whether this reverse-path is one of these.
    pub fn takes(&self, reverse_path: &ReversePath) -> bool {
        match self {
            SenderPattern::Null => *reverse_path == ReversePath::Null,
            SenderPattern::Address(pattern) => {
                reverse_path.mailbox().is_some_and(|mailbox| pattern.fits(mailbox))
            }
        }
    }
}

impl AddressPattern {
    /// Parses an address with its domain, `@domain`, or `@.domain` for everything below that domain. An asterisk outside of
    /// quotes would look like a wildcard, and is refused.
    pub fn parse(text: &str) -> Option<Self> {
        let Some(domain) = text.strip_prefix('@') else {
            let address = Address::parse(text).ok()?;
            let is_plain = address.local_part().starts_with('"') || !text.contains('*');
            return (is_plain && is_domain(address.domain()?))
                .then(|| AddressPattern::Whole(folded(&address)));
        };
        match domain.strip_prefix('.') {
            Some(above) => {
                is_domain(above).then(|| AddressPattern::Below(format!(".{}", folded_domain(above))))
            }
            None => is_domain(domain).then(|| AddressPattern::Domain(folded_domain(domain))),
        }
    }

    /// Returns whether `address` is one of these.
    pub fn fits(&self, address: &Address) -> bool {
        let domain = || address.domain().map(folded_domain);
        match self {
            AddressPattern::Whole(whole) => folded(address) == *whole,
            AddressPattern::Domain(of) => domain().is_some_and(|domain| domain == *of),
            AddressPattern::Below(end) => domain().is_some_and(|domain| domain.ends_with(end.as_str())),
        }
    }

    /// Returns one of the addresses that fit; with the local part `local` where any may be.
    pub fn sample(&self, local: &str) -> Option<Address> {
        let text = match self {
            AddressPattern::Whole(whole) => whole.clone(),
            AddressPattern::Domain(domain) => format!("{local}@{domain}"),
            AddressPattern::Below(end) => format!("{local}@below{end}"),
        };
        Address::parse(&text).ok()
    }

    fn covers(&self, other: &AddressPattern) -> bool {
        let domain_of =
            |whole: &str| whole.rsplit_once('@').map_or(String::new(), |(_, domain)| domain.into());
        match (self, other) {
            (AddressPattern::Domain(domain), AddressPattern::Whole(whole)) => domain_of(whole) == *domain,
            (AddressPattern::Below(end), AddressPattern::Whole(whole)) => {
                domain_of(whole).ends_with(end.as_str())
            }
            (AddressPattern::Below(end), AddressPattern::Domain(other)) => other.ends_with(end.as_str()),
            (AddressPattern::Below(end), AddressPattern::Below(other)) => other.ends_with(end.as_str()),
            _ => self == other,
        }
    }
}

impl fmt::Display for SenderPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SenderPattern::Null => f.write_str("<>"),
            SenderPattern::Address(pattern) => pattern.fmt(f),
        }
    }
}

impl fmt::Display for AddressPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressPattern::Whole(whole) => f.write_str(whole),
            AddressPattern::Domain(rest) | AddressPattern::Below(rest) => write!(f, "@{rest}"),
        }
    }
}

/// Returns whether `text` is what can stand behind a local part, without an asterisk.
fn is_domain(text: &str) -> bool {
    let is_valid = Address::parse(&format!("x@{text}")).is_ok_and(|address| address.domain().is_some());
    is_valid && !text.contains('*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn patterns(texts: &[&str]) -> Vec<AddressPattern> {
        texts.iter().map(|text| AddressPattern::parse(text).unwrap()).collect()
    }

    fn route(name: &str, senders: &[&str], recipients: &[&str], uids: &[u32]) -> RouteRule {
        RouteRule {
            name: name.into(),
            senders: senders.iter().map(|text| SenderPattern::parse(text).unwrap()).collect(),
            senders_in: SendersIn::Envelope,
            recipients: patterns(recipients),
            uids: uids.into(),
        }
    }

    fn place(routes: &Routes, from: &str, to: &str, submitter: Submitter) -> usize {
        let reverse_path =
            if from.is_empty() { ReversePath::Null } else { ReversePath::Mailbox(address(from)) };
        let mail = RoutedMail { reverse_path: &reverse_path, authors: &[], submitter, assigned: None };
        routes.place_of(&mail, &address(to))
    }

    #[test]
    fn the_first_route_whose_conditions_all_hold_wins() {
        let routes = Routes(vec![
            route("both", &["@shop.example", "app@x.example"], &["@.partner.example"], &[]),
            route("user", &[], &[], &[33, 34]),
            route("sender", &["@shop.example", "<>"], &[], &[]),
        ]);
        let loopback = Submitter::Loopback;
        for (from, to, submitter, expected) in [
            ("a@shop.example", "b@eu.partner.example", loopback, 1),
            ("APP@X.example", "b@EU.Partner.Example", loopback, 1),
            ("a@shop.example", "b@partner.example", loopback, 3),
            ("a@x.example", "b@eu.partner.example", loopback, 0),
            ("a@shop.example", "b@y.example", Submitter::Uid(33), 2),
            ("a@shop.example", "b@y.example", Submitter::Uid(35), 3),
            ("a@x.example", "b@y.example", Submitter::LoopbackUid(34), 2),
            ("a@x.example", "b@y.example", Submitter::LoopbackUid(35), 0),
            ("a@sub.shop.example", "b@y.example", loopback, 0),
            ("", "b@y.example", Submitter::Ourselves, 3),
            ("", "b@eu.partner.example", Submitter::Ourselves, 3),
        ] {
            assert_eq!(place(&routes, from, to, submitter), expected, "{from} {to} {submitter:?}");
        }
    }

    /// A route for `@bücher.example` took no mail of programs that write the `xn--` form, and the other way round.
    #[test]
    fn one_address_takes_one_route_however_it_is_spelled() {
        let xn = ["a@xn--bcher-kva.example", "@xn--bcher-kva.example", "@.xn--bcher-kva.example"];
        let letters = ["A@Bücher.example", "@BÜCHER.example.", "@.bücher.example"];
        let mail = |domain: &str| [format!("a@{domain}"), format!("\"a\"@{domain}"), format!("a@x.{domain}")];
        for patterns in [xn, letters] {
            for domain in ["bücher.example", "XN--BCHER-KVA.Example", "bÜcher.example."] {
                let fits = |pattern: &&str, mail: &String| {
                    AddressPattern::parse(pattern).unwrap().fits(&address(mail))
                };
                let [whole, quoted, below] = mail(domain);
                for (pattern, mail) in patterns.iter().zip([&quoted, &whole, &below]) {
                    assert!(fits(pattern, mail), "{pattern} {mail}");
                    assert!(!fits(pattern, &"a@bucher.example".into()), "{pattern}");
                }
            }
        }
        for pattern in xn.iter().zip(letters) {
            let [one, other] = [pattern.0, pattern.1].map(|text| AddressPattern::parse(text).unwrap());
            assert!(one == other && one.covers(&other));
        }
    }

    #[test]
    fn the_author_in_the_header_counts_where_a_route_asks_for_it() {
        let mut routes = Routes(vec![route("header", &["@shop.example"], &[], &[])]);
        assert!(!routes.ask_for_header());
        routes.0[0].senders_in = SendersIn::HeaderFrom;
        assert!(routes.ask_for_header());
        let reverse_path = ReversePath::Mailbox(address("bounce@shop.example"));
        let submitter = Submitter::Loopback;
        for (authors, expected) in [(vec![], 0), (vec![address("a@x"), address("b@Shop.example")], 1)] {
            let mail =
                RoutedMail { reverse_path: &reverse_path, authors: &authors, submitter, assigned: None };
            assert_eq!(routes.place_of(&mail, &address("b@y.example")), expected);
            // A bounce of ours took the route of its own From field.
            let bounce = RoutedMail { reverse_path: &ReversePath::Null, ..mail };
            assert_eq!(routes.place_of(&bounce, &address("b@y.example")), 0);
        }
    }

    #[test]
    fn a_pattern_is_an_address_or_a_domain() {
        for text in ["", "@", "@.", "root", "a b@x", "@x y", "x@", "<>", "@@x", "*@x y"] {
            assert_eq!(AddressPattern::parse(text), None, "{text:?}");
        }
        // They were taken, and no mail ever went by them.
        for text in ["*@x.example", "a*@x.example", "*", "@*", "@*.x.example", "@.*.example", "a@*.example"] {
            assert_eq!(AddressPattern::parse(text), None, "{text:?}");
        }
        for text in ["a@x.example", "@x.example", "@.x.example", "@[192.0.2.1]"] {
            assert_eq!(AddressPattern::parse(text).unwrap().to_string(), text);
        }
        assert!(AddressPattern::parse("\"a*\"@x.example").unwrap().fits(&address("a*@X.example")));
    }

    #[test]
    fn a_route_behind_one_that_takes_all_of_its_mail_is_shadowed() {
        let shadowed =
            |first: RouteRule, second: RouteRule| !Routes(vec![first, second]).shadowed().is_empty();
        for (first, second, expected) in [
            (route("1", &["@x.example"], &[], &[]), route("2", &["a@x.example"], &["@y.example"], &[]), true),
            (route("1", &["@.example"], &[], &[]), route("2", &["@x.example"], &[], &[7]), true),
            (route("1", &["@x.example"], &[], &[]), route("2", &["a@x.example", "<>"], &[], &[]), false),
            (route("1", &["@x.example"], &["@y.example"], &[]), route("2", &["@x.example"], &[], &[]), false),
            (route("1", &[], &[], &[7]), route("2", &[], &["@x.example"], &[]), false),
            (route("1", &[], &[], &[7, 8]), route("2", &[], &[], &[8]), true),
        ] {
            assert_eq!(shadowed(first.clone(), second.clone()), expected, "{first:?} {second:?}");
        }
    }

    /// What an operator has assigned goes there, whatever the rules say, as long as there is that route.
    #[test]
    fn an_assigned_message_goes_by_its_route() {
        let rule = |name: &str| RouteRule {
            name: name.into(),
            senders: Vec::new(),
            senders_in: SendersIn::Envelope,
            recipients: Vec::new(),
            uids: Vec::new(),
        };
        let routes = Routes(vec![rule("one"), rule("two")]);
        let to = Address::parse("a@b.example").unwrap();
        let place = |assigned| {
            let mail = RoutedMail {
                reverse_path: &ReversePath::Null,
                authors: &[],
                submitter: Submitter::Loopback,
                assigned,
            };
            routes.place_of(&mail, &to)
        };
        assert_eq!([None, Some("two"), Some(""), Some("gone")].map(place), [1, 2, 0, 1]);
    }
}
