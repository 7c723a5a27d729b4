//! The setting `sender`: one address for all mail of this host, in which `%u`, `%h` and `%d` are variables.
//!
//! Promises: a result is always a valid address, with quotes if its local part needs them. A template recognises its
//! own results, so that they are not rewritten again.

use super::pattern::Pattern;
use crate::envelope::address::quoted_local_part;
use crate::envelope::quoted::unquote;
use crate::envelope::spelling::{folded_domain, folded_labels};
use crate::envelope::{Address, BadAddress};

/// An address with `%u` (the local part), `%h` (the name of this host), `%d` (the domain) and `%%`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    local: Vec<Piece>,
    /// The domain; `None` stands for the origin.
    domain: Option<Vec<Piece>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    User,
    Host,
    Domain,
}

impl Template {
    /// Parses an address that may contain variables.
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        let (local, domain) = match text.rsplit_once('@') {
            Some((local, domain)) => (local, Some(domain)),
            None => (text, None),
        };
        // A local part that needs quotes must have them.
        Address::parse(&local.replace('%', "x"))?;
        let local = pieces(&unquote(local))?;
        let domain = domain.map(pieces).transpose()?;
        let template = Template { local, domain };
        template.address("user", "domain.example", "host.example", "origin.example").map(|_| template)
    }

    /// Returns whether the template gives a domain; otherwise the origin is used.
    pub fn has_domain(&self) -> bool {
        self.domain.is_some()
    }

    /// Returns the template that replaces every address with `address`, which is complete.
    pub(super) fn fixed(address: &Address) -> Self {
        let local = vec![Piece::Text((*unquote(address.local_part())).into())];
        let domain = address.domain().map(|domain| vec![Piece::Text(domain.into())]);
        Template { local, domain }
    }

    /// Returns the result for `address`, which is complete; `None` if it is not a valid address.
    pub(super) fn apply(&self, address: &Address, host: &str, origin: &str) -> Option<Address> {
        let user = unquote(address.local_part());
        self.address(&user, address.domain()?, host, origin).ok()
    }

    fn address(&self, user: &str, domain: &str, host: &str, origin: &str) -> Result<Address, BadAddress> {
        let write = |pieces: &[Piece]| -> String {
            let word = |piece: &Piece| match piece {
                Piece::Text(text) => text.to_string(),
                Piece::User => user.to_owned(),
                Piece::Host => host.to_owned(),
                Piece::Domain => domain.to_owned(),
            };
            pieces.iter().map(word).collect()
        };
        let at = self.domain.as_ref().map_or_else(|| origin.to_owned(), |pieces| write(pieces));
        Address::parse(&format!("{}@{at}", quoted_local_part(&write(&self.local))))
    }

    /// Returns a pattern for all results in their folded form. A domain without variables also matches in the form that
    /// `masqueraded` gives.
    pub(super) fn form(
        &self,
        host: &str,
        origin: &str,
        masqueraded: impl Fn(&str) -> String,
    ) -> Option<Pattern> {
        let origin = [Piece::Text(origin.into())];
        let domain = self.domain.as_deref().unwrap_or(&origin);
        let as_it_is = form_of(domain, host, folded_labels);
        let domain = match fixed(domain, host) {
            Some(text) => format!("(?:{as_it_is}|{})", regex::escape(&folded_domain(&masqueraded(&text)))),
            None => as_it_is,
        };
        Pattern::of_addresses(&format!("^{}@{domain}$", form_of(&self.local, host, str::to_lowercase))).ok()
    }
}

/// Returns the text of `pieces` if the name of the host is all that they need.
fn fixed(pieces: &[Piece], host: &str) -> Option<String> {
    let word = |piece: &Piece| match piece {
        Piece::Text(text) => Some(text.to_string()),
        Piece::Host => Some(host.to_owned()),
        Piece::User | Piece::Domain => None,
    };
    pieces.iter().map(word).collect()
}

/// Returns `pieces` as a regular expression for their results after `fold`.
fn form_of(pieces: &[Piece], host: &str, fold: impl Fn(&str) -> String) -> String {
    let word = |piece: &Piece| match piece {
        Piece::Text(text) => regex::escape(&fold(text)),
        Piece::Host => regex::escape(&fold(host)),
        Piece::User | Piece::Domain => ".+".to_owned(),
    };
    pieces.iter().map(word).collect()
}

fn pieces(text: &str) -> Result<Vec<Piece>, BadAddress> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('%') {
        pieces.push(Piece::Text(before.into()));
        pieces.push(match behind.chars().next() {
            Some('u') => Piece::User,
            Some('h') => Piece::Host,
            Some('d') => Piece::Domain,
            Some('%') => Piece::Text("%".into()),
            _ => return Err(BadAddress::BadCharacter),
        });
        // The character that was matched is ASCII.
        rest = &behind[1..];
    }
    pieces.push(Piece::Text(rest.into()));
    pieces.retain(|piece| *piece != Piece::Text("".into()));
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::spelling::folded;

    fn made(template: &str, from: &str) -> Option<String> {
        let address = Address::parse(from).unwrap();
        let made = Template::parse(template).unwrap().apply(&address, "web1.example.org", "example.org");
        made.map(|address| address.to_string())
    }

    #[test]
    fn variables_stand_for_user_host_and_domain() {
        for (template, from, expected) in [
            ("ops@example.com", "root@web1", "ops@example.com"),
            ("pi", "root@web1", "pi@example.org"),
            ("%u@example.com", "Root@web1", "Root@example.com"),
            ("%u+%h@example.com", "root@x", "root+web1.example.org@example.com"),
            ("%u=%d@%h", "root@x.example", "root=x.example@web1.example.org"),
            ("100%%-%u@example.com", "root@x", "100%-root@example.com"),
            // Quotes are added only if they are needed.
            ("%u@example.com", "\"a b\"@x", "\"a b\"@example.com"),
            ("x-%u@example.com", "\"a b\"@x", "\"x-a b\"@example.com"),
            ("%u@example.com", "\"root\"@x", "root@example.com"),
            ("%d@example.com", "root@[192.0.2.1]", "\"[192.0.2.1]\"@example.com"),
            ("bounce@%d", "root@[192.0.2.1]", "bounce@[192.0.2.1]"),
        ] {
            assert_eq!(made(template, from).as_deref(), Some(expected), "{template} {from}");
        }
        let long = format!("{}@x", "a".repeat(990));
        assert_eq!(made("%u@example.com", &long), None, "too long for an address");
    }

    #[test]
    fn what_makes_no_address_is_no_template() {
        for text in ["", "@example.com", "%x@example.com", "a%", "a@", "a@b@", "a@%", "a@b c", "a\r\n@b"] {
            assert!(Template::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_template_knows_its_own_work() {
        let masqueraded = |domain: &str| domain.replace("web1.", "");
        for (template, address, is_own) in [
            ("ops@example.com", "OPS@example.com", true),
            ("ops@example.com", "ann@example.com", false),
            ("%u-%h@example.com", "root-web1.example.org@example.com", true),
            ("%u-%h@example.com", "root@example.com", false),
            ("%u@%h", "ann@web1.example.org", true),
            ("%u@%h", "ann@example.org", true),
            ("%u@%h", "ann@example.net", false),
            ("pi", "pi@example.org", true),
            ("x.y@example.com", "xzy@example.com", false),
            ("%u@%d", "ann@anywhere", true),
            ("x-%u@xn--bcher-kva.example", "x-ann@bücher.example", true),
            ("x-%u@bücher.example", "x-ann@xn--bcher-kva.example", true),
            ("x-%u@%h.xn--bcher-kva.example", "x-ann@web1.example.org.xn--bcher-kva.example", true),
        ] {
            let form =
                Template::parse(template).unwrap().form("web1.example.org", "example.org", masqueraded);
            let address = folded(&Address::parse(address).unwrap());
            assert_eq!(form.unwrap().matches(address.as_bytes()), is_own, "{template} {address}");
        }
    }
}
