//! The network of an address, as rate limits count clients: /24 of IPv4, /64 of IPv6, since a client may choose any
//! address within it.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// A network, written as `203.0.113.0/24` or `2001:db8:0:1::/64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network(IpNet);

impl Network {
    const BITS_V4: u8 = 24;
    const BITS_V6: u8 = 64;

    /// The network of an address; an IPv4-mapped IPv6 address counts as IPv4.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let bits = if address.is_ipv4() { Self::BITS_V4 } else { Self::BITS_V6 };
        Self(IpNet::new(address, bits).map_or_else(|_| address.into(), |network| network.trunc()))
    }

    /// Its first address.
    #[must_use]
    pub fn first(self) -> IpAddr {
        self.0.addr()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
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
