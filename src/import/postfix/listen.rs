//! The parameters about clients: interfaces, networks, local domains.

use std::net::IpAddr;

use super::super::draft::{ConfigDraft, DraftKey, DraftValue};
use super::super::lines::items;
use super::super::location::ImportError;
use super::PostfixSource;

/// Adds these parameters to `draft`.
pub(super) fn carry(source: &PostfixSource<'_>, draft: &mut ConfigDraft) -> Result<(), ImportError> {
    carry_interfaces(source, draft)?;
    let networks = source.value("mynetworks")?;
    let cited = source.parameters.cited(&["mynetworks"]);
    match items(&networks).into_iter().all(is_loopback_network) {
        true => draft.already_so(cited, ONLY_HERE),
        false => draft.not_carried(cited, ONLY_HERE),
    }
    let destinations = source.value("mydestination")?;
    let cited = source.parameters.cited(&["mydestination"]);
    match destinations.is_empty() {
        true => draft.already_so(cited, "nothing is delivered on this host"),
        false => draft.not_carried(
            cited,
            "nothing is delivered on this host: mail for its users goes to the relay as well",
        ),
    }
    carry_source_addresses(source, draft)?;
    carry_names(source, draft)
}

const ONLY_HERE: &str = "only programs on this host hand in mail";

fn carry_interfaces(source: &PostfixSource<'_>, draft: &mut ConfigDraft) -> Result<(), ImportError> {
    let interfaces = source.value("inet_interfaces")?;
    let cited = source.parameters.cited(&["inet_interfaces"]);
    match items(&interfaces).into_iter().all(is_loopback_interface) {
        true => draft.already_so(cited, "nullmta listens on loopback addresses"),
        false => draft.not_carried(cited, "nullmta listens on loopback addresses and nowhere else"),
    }
    let protocols = source.value("inet_protocols")?;
    let cited = source.parameters.cited(&["inet_protocols"]);
    match items(&protocols).as_slice() {
        ["ipv4"] => {
            draft.set(DraftKey::new("listen.addresses", "127.0.0.1:25", cited.clone()));
            draft.set(DraftKey::new("relay.address-family", "ipv4", cited));
        }
        ["ipv6"] => {
            draft.set(DraftKey::new("listen.addresses", "[::1]:25", cited.clone()));
            draft.set(DraftKey::new("relay.address-family", "ipv6", cited));
        }
        _ => draft.already_so(cited, "IPv6 and IPv4"),
    }
    Ok(())
}

/// Adds `smtp_bind_address` and `smtp_bind_address6`. Postfix lets the other family come from any address.
fn carry_source_addresses(source: &PostfixSource<'_>, draft: &mut ConfigDraft) -> Result<(), ImportError> {
    let (mut addresses, mut cited) = (Vec::new(), Vec::new());
    let protocols = source.value("inet_protocols")?;
    for (name, unused) in [("smtp_bind_address", ["ipv6"]), ("smtp_bind_address6", ["ipv4"])] {
        let Some(value) = source.set_value(name)?.filter(|value| !value.is_empty()) else { continue };
        let own = source.parameters.cited(&[name]);
        let bare = value.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(_) if items(&protocols).as_slice() == unused.as_slice() => {
                draft.already_so(own, "inet_protocols leaves that kind of address out");
            }
            Ok(address) if !address.is_unspecified() => {
                addresses.push(address.to_string());
                cited.extend(own);
            }
            Ok(_) => draft.already_so(own, "the system chooses the address that connections come from"),
            Err(_) => draft.not_carried(own, "it is no address"),
        }
    }
    let is_any = !draft.has("relay.address-family");
    if addresses.len() == 1 && is_any {
        draft.set(DraftKey::new("relay.address-family", "any", cited.clone()));
    }
    if !addresses.is_empty() {
        draft.set(DraftKey::new("relay.source-address", DraftValue::Texts(addresses), cited));
    }
    Ok(())
}

/// Adds `smtp_helo_name`, if it is a name that relays take.
fn carry_names(source: &PostfixSource<'_>, draft: &mut ConfigDraft) -> Result<(), ImportError> {
    let Some(helo) = source.set_value("smtp_helo_name")? else { return Ok(()) };
    let cited = source.parameters.cited(&["smtp_helo_name"]);
    if helo == source.value("myhostname")? {
        draft.already_so(cited, "EHLO says listen.hostname");
    } else if helo.contains('.') {
        draft.set(DraftKey::new("relay.helo-name", helo, cited));
    } else {
        draft.not_carried(
            cited,
            "relays refuse a name without a domain: EHLO says listen.hostname, or an address",
        );
    }
    Ok(())
}

fn is_loopback_interface(name: &str) -> bool {
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    ["loopback-only", "localhost"].contains(&name) || address.is_ok_and(|address| address.is_loopback())
}

/// Returns whether all of `network` is loopback, as are `127.0.0.0/8`, `[::1]/128` and `[::ffff:127.0.0.0]/104`.
fn is_loopback_network(network: &str) -> bool {
    let (address, bits) = network.split_once('/').unwrap_or((network, "128"));
    let Ok(address) = address.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() else {
        return false;
    };
    let mapped = matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some());
    let least = match (address, mapped) {
        (_, true) => 104,
        (IpAddr::V4(_), _) => 8,
        (IpAddr::V6(_), _) => 128,
    };
    address.to_canonical().is_loopback() && bits.parse::<u8>().is_ok_and(|bits| bits >= least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_what_looks_like_it() {
        for (network, loopback) in [
            ("127.0.0.0/8", true),
            ("127.0.0.1", true),
            ("[::1]/128", true),
            ("[::ffff:127.0.0.0]/104", true),
            ("127.0.0.0/4", false),
            ("[::1]/64", false),
            ("10.0.0.0/8", false),
            ("hash:/etc/postfix/networks", false),
        ] {
            assert_eq!(is_loopback_network(network), loopback, "{network}");
        }
        for (interface, loopback) in [
            ("loopback-only", true),
            ("[::1]", true),
            ("127.0.0.1", true),
            ("all", false),
            ("192.0.2.1", false),
        ] {
            assert_eq!(is_loopback_interface(interface), loopback, "{interface}");
        }
    }
}
