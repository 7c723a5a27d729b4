//! `relay.address-family` and `relay.source-address`: over which of IPv4 and IPv6 a relay is reached, and from which
//! addresses of this host.
//!
//! Promises: at least one family is used. A family that is not used has no source address. With `source-address` alone,
//! only its families are used, since a relay or a firewall that knows this host by that address would refuse another.
//! Not here: connecting (`relay/dial.rs`).

use std::net::{IpAddr, SocketAddr};

use super::error::ConfigFault;
use super::file;
use super::relayhost::{HostOrIp, WrittenHost};
use super::setting::SourceAddress;
use super::table::{LocatedList, given, location_of};
use super::words::AddressFamily;

/// The use of one family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyUse {
    /// No connection is made over it.
    Unused,
    /// The system chooses the address of our end.
    AnySource,
    /// Connections come from this address, which is of the family.
    From(IpAddr),
}

/// The use of both families. One of them is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Families {
    ipv4: FamilyUse,
    ipv6: FamilyUse,
}

impl Default for Families {
    fn default() -> Self {
        Families { ipv4: FamilyUse::AnySource, ipv6: FamilyUse::AnySource }
    }
}

impl Families {
    /// Returns what `relay` says of the families, for the relays of `relayhost`.
    pub(super) fn of(
        relay: &file::RelayTable,
        relayhost: &LocatedList<WrittenHost>,
    ) -> Result<Families, ConfigFault> {
        let sources = sources_of(relay)?;
        let chosen = given(&relay.address_family).copied();
        let used = |is_six: bool| {
            let source = sources.iter().copied().find(|source| source.is_ipv6() == is_six);
            let is_wanted = match chosen {
                Some(AddressFamily::Any) => true,
                Some(AddressFamily::Ipv4) => !is_six,
                Some(AddressFamily::Ipv6) => is_six,
                None => sources.is_empty() || source.is_some(),
            };
            match source {
                _ if !is_wanted => FamilyUse::Unused,
                Some(source) => FamilyUse::From(source),
                None => FamilyUse::AnySource,
            }
        };
        let families = Families { ipv4: used(false), ipv6: used(true) };
        families.refuse_unused_source(relay)?;
        families.refuse_unreachable(relayhost)?;
        Ok(families)
    }

    /// Returns the addresses of this host from which connections come, where they are named.
    pub fn sources(&self) -> impl Iterator<Item = IpAddr> {
        [self.ipv4, self.ipv6].into_iter().filter_map(|family| match family {
            FamilyUse::From(source) => Some(source),
            FamilyUse::AnySource | FamilyUse::Unused => None,
        })
    }

    /// Returns the use of the family that `address` is of.
    pub fn for_address(&self, address: &IpAddr) -> FamilyUse {
        if address.is_ipv6() { self.ipv6 } else { self.ipv4 }
    }

    /// Returns true if connections to `address` may be made.
    pub fn reach(&self, address: &SocketAddr) -> bool {
        self.for_address(&address.ip()) != FamilyUse::Unused
    }

    /// Returns the name of the only family that is used; `None` if both are.
    pub fn only(&self) -> Option<&'static str> {
        match (self.ipv4, self.ipv6) {
            (FamilyUse::Unused, _) => Some("IPv6"),
            (_, FamilyUse::Unused) => Some("IPv4"),
            _ => None,
        }
    }

    fn refuse_unused_source(&self, relay: &file::RelayTable) -> Result<(), ConfigFault> {
        let unused = relay.source_address.iter().flat_map(|list| &list.entries);
        let mut unused = unused.filter(|entry| self.for_address(&entry.value.0) == FamilyUse::Unused);
        match (unused.next(), location_of(&relay.address_family)) {
            (Some(entry), Some(chosen)) => Err(entry.location.expected(
                format!("an address of the family that relay.address-family chooses on line {}", chosen.line),
                entry.value.0,
            )),
            _ => Ok(()),
        }
    }

    /// Returns an error for a relayhost that is an address of a family that is not used.
    fn refuse_unreachable(&self, relayhost: &LocatedList<WrittenHost>) -> Result<(), ConfigFault> {
        for entry in &relayhost.entries {
            let HostOrIp::Address(address) = &entry.value.host else { continue };
            if self.for_address(address) == FamilyUse::Unused {
                return Err(entry.location.expected(
                    "a relay that relay.address-family and relay.source-address let us reach",
                    format!("{}, and only {} is used", entry.value.host, self.only().unwrap_or_default()),
                ));
            }
        }
        Ok(())
    }
}

/// Returns the source addresses; an error if two are of one family.
fn sources_of(relay: &file::RelayTable) -> Result<Vec<IpAddr>, ConfigFault> {
    let mut sources: Vec<IpAddr> = Vec::new();
    for entry in relay.source_address.iter().flat_map(|list| &list.entries) {
        let SourceAddress(address) = entry.value;
        if let Some(other) = sources.iter().find(|other| other.is_ipv6() == address.is_ipv6()) {
            return Err(entry
                .location
                .expected("at most one IPv4 and one IPv6 address", format!("{address} beside {other}")));
        }
        sources.push(address);
    }
    Ok(sources)
}
