//! The network that an address belongs to, as far as a stranger chooses within it freely: /24 of IPv4, /64 of IPv6.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network, written as `203.0.113.0/24` or `2001:db8:0:1::/64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network(IpAddr);

impl Network {
    const BITS_V4: u32 = 24;
    const BITS_V6: u32 = 64;

    /// The network of an address; an IPv4 address that is written as IPv6 is one all the same.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << (32 - Self::BITS_V4))).into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - Self::BITS_V6))).into(),
        })
    }

    /// Its first address.
    #[must_use]
    pub fn first(self) -> IpAddr {
        self.0
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = if self.0.is_ipv4() { Self::BITS_V4 } else { Self::BITS_V6 };
        write!(formatter, "{}/{bits}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_its_network_however_it_is_written() {
        for (address, network) in [
            ("203.0.113.7", "203.0.113.0/24"),
            ("::ffff:203.0.113.255", "203.0.113.0/24"),
            ("127.0.0.1", "127.0.0.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("::1", "::/64"),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff::/64"),
        ] {
            let network_of_it = Network::of(address.parse().unwrap());
            assert_eq!(network_of_it.to_string(), network, "{address}");
            assert_eq!(Network::of(network_of_it.first()), network_of_it);
        }
    }
}
