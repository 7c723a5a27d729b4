//! Compares addresses that may be spelled differently.
//!
//! Promises: tables, lists and routes ignore case, quotes that a local part does not need, and a dot at the end of a
//! domain, as those of Postfix do. (RFC 5321 2.4 allows a host to distinguish `Ann` from `ann`, but nobody relies on it.)
//! An international domain is the same in its `xn--` form and in letters.

use super::Address;
use super::international::u_label;
use super::quoted::unquote;

/// Returns the folded form of a local part, which is the same for all its spellings.
pub(crate) fn folded_local(local: &str) -> String {
    unquote(local).to_lowercase()
}

/// Returns the folded form of a domain, which is the same for all its spellings.
pub(crate) fn folded_domain(domain: &str) -> String {
    folded_labels(domain.strip_suffix('.').unwrap_or(domain))
}

/// Returns the folded form of a part of a domain: of some labels with the dots between, before or behind them.
pub(crate) fn folded_labels(labels: &str) -> String {
    let lower = labels.to_lowercase();
    if !lower.contains("xn--") {
        return lower;
    }
    let folded: Vec<String> =
        lower.split('.').map(|label| u_label(label).unwrap_or_else(|| label.to_owned())).collect();
    folded.join(".")
}

/// Returns the folded form of an address, which is the same for all its spellings.
pub(crate) fn folded(address: &Address) -> String {
    let local = folded_local(address.local_part());
    match address.domain() {
        Some(domain) => format!("{local}@{}", folded_domain(domain)),
        None => local,
    }
}

/// Returns `address` with another domain, or unchanged if it would become too long.
pub(crate) fn at_domain(address: &Address, domain: &str) -> Address {
    Address::parse(&format!("{}@{domain}", address.local_part())).unwrap_or_else(|_| address.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_address_in_any_spelling() {
        for (one, other) in [
            ("Ann@Example.ORG", "ann@example.org"),
            ("ann@example.org.", "ann@example.org"),
            ("\"ann\"@example.org", "ann@example.org"),
            ("\"\\ann\"", "Ann"),
            ("ÄNN@EXÄMPLE.org", "änn@exämple.org"),
            ("ann@XN--bcher-kva.example", "ann@bücher.example"),
            ("ann@mail.xn--bcher-kva.xn--e1afmkfd.", "ann@Mail.BÜCHER.пример"),
        ] {
            let [one, other] = [one, other].map(|text| folded(&Address::parse(text).unwrap()));
            assert_eq!(one, other);
        }
    }

    #[test]
    fn a_domain_that_makes_an_address_too_long_is_not_taken() {
        let address = Address::parse(&format!("{}@x", "a".repeat(900))).unwrap();
        assert_eq!(at_domain(&address, "y.example").domain(), Some("y.example"));
        assert_eq!(at_domain(&address, &"y".repeat(200)), address);
    }
}
