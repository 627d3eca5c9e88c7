//! Guards against server-side request forgery: which addresses may be checked. Each address is checked just before the
//! connection is made, so that no name, no redirect and no second DNS answer bypasses it.
//!
//! All special-purpose addresses of the IANA registries are refused, unless the operator allows them
//! (`PROBE_ALLOW_CIDRS`). Cloud metadata services (they hand out credentials) and Lambda's Runtime API are always
//! refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A range of addresses, such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr(IpNet);

/// Why a text is not an address range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Invalid syntax.
    #[error("{0:?} is no range of addresses such as 10.0.0.0/8")]
    Form(String),
    /// The address has bits beyond the prefix.
    #[error("{text:?} has bits beyond its prefix; perhaps {meant} is meant")]
    Host {
        /// What was written.
        text: String,
        /// The range that contains it.
        meant: String,
    },
}

impl Cidr {
    /// Parses `address/prefix`, or a single address.
    ///
    /// # Errors
    /// When the syntax is invalid, or the address is not the start of the range.
    pub fn parse(text: &str) -> Result<Self, CidrError> {
        let form = || CidrError::Form(text.to_owned());
        let bare = text.trim();
        let range = bare.parse().or_else(|_| bare.parse::<IpAddr>().map(IpNet::from)).map_err(|_| form())?;
        if range.trunc() != range {
            return Err(CidrError::Host { text: text.to_owned(), meant: range.trunc().to_string() });
        }
        Ok(Self(range))
    }

    /// The loopback interface: for checks on a developer's machine.
    #[must_use]
    pub fn loopback() -> Vec<Self> {
        vec![
            Self(IpNet::new_assert(Ipv4Addr::new(127, 0, 0, 0).into(), 8)),
            Self(IpNet::from(IpAddr::from(Ipv6Addr::LOCALHOST))),
        ]
    }

    /// Whether the range contains the address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

/// An address that the guard refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {what}")]
pub struct Blocked {
    /// The address.
    pub address: IpAddr,
    /// Why it is refused.
    pub what: &'static str,
}

/// The IANA registry of special-purpose IPv4 addresses, with multicast.
const SPECIAL_V4: [(Ipv4Addr, u8, &str); 18] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, "this network"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "shared (carrier-grade NAT)"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "for protocols"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "for documentation"),
    (Ipv4Addr::new(192, 31, 196, 0), 24, "for AS112"),
    (Ipv4Addr::new(192, 52, 193, 0), 24, "for AMT"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "for 6to4 relays"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(192, 175, 48, 0), 24, "for AS112"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "for benchmarks"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "for documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "for documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
];

/// The IANA registry of special-purpose IPv6 addresses, with multicast and deprecated ranges. The first range that
/// contains an address names it.
const SPECIAL_V6: [(Ipv6Addr, u8, &str); 19] = [
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified"),
    (Ipv6Addr::LOCALHOST, 128, "loopback"),
    (Ipv6Addr::UNSPECIFIED, 96, "IPv4-compatible"),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, "IPv4-mapped"),
    (Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96, "IPv4-translated"),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, "local NAT64"),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, "for discarding"),
    (Ipv6Addr::new(0x100, 0, 0, 1, 0, 0, 0, 0), 64, "a dummy"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, "Teredo"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "for protocols"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "for documentation"),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "6to4"),
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48, "for AS112"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "for documentation"),
    (Ipv6Addr::new(0x5f00, 0, 0, 0, 0, 0, 0, 0), 16, "for segment routing"),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "private"),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "link-local"),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "site-local"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "multicast"),
];

/// The metadata services of the known clouds.
const METADATA: [IpAddr; 9] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// The NAT64 prefix, by which IPv6-only networks reach IPv4: the embedded address counts.
const NAT64: (Ipv6Addr, u8) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// The global unicast range: all other addresses are special or not assigned.
const GLOBAL_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Decides which addresses may be checked.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allow: Vec<Cidr>,
    runtime_api: Option<SocketAddr>,
}

impl Guard {
    /// Refuses all special addresses outside these ranges.
    #[must_use]
    pub fn new(allow: Vec<Cidr>) -> Self {
        Self { allow, runtime_api: None }
    }

    /// Refuses the Runtime API of Lambda too, given as in `AWS_LAMBDA_RUNTIME_API`.
    #[must_use]
    pub fn closing_runtime_api(mut self, address: Option<&str>) -> Self {
        self.runtime_api = address.and_then(|address| {
            let address = address.trim().trim_start_matches("http://");
            let place = address.split('/').next()?;
            place.replace("localhost", "127.0.0.1").parse().ok()
        });
        self
    }

    /// Whether the guard permits the address.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn permits(&self, address: IpAddr) -> Result<(), Blocked> {
        let blocked = |what| Err(Blocked { address, what });
        if is_metadata(address) {
            return blocked("a cloud's metadata service");
        }
        let address = effective(address);
        if self.allow.iter().any(|range| range.contains(address)) {
            return Ok(());
        }
        match special(address) {
            Some(what) => blocked(what),
            None => Ok(()),
        }
    }

    /// Whether the guard permits a connection to the address and port.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn permits_socket(&self, socket: SocketAddr) -> Result<(), Blocked> {
        self.permits(socket.ip())?;
        let Some(closed) = self.runtime_api else { return Ok(()) };
        // A listener on one loopback address may be reachable by another, and by the unspecified one.
        let here = |address: IpAddr| address.is_loopback() || address.is_unspecified();
        let asked = effective(socket.ip());
        if closed.port() == socket.port() && (closed.ip() == asked || here(closed.ip()) && here(asked)) {
            return Err(Blocked { address: socket.ip(), what: "the Runtime API of this Lambda" });
        }
        Ok(())
    }
}

/// The effective address: of a mapped or NAT64 address, the embedded IPv4 address.
fn effective(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if within(v6, NAT64) => IpAddr::V4(last_32(v6)),
        canonical => canonical,
    }
}

fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => SPECIAL_V4
            .iter()
            .find(|(first, prefix, _)| Ipv4Net::new(*first, *prefix).is_ok_and(|range| range.contains(&v4)))
            .map(|(_, _, what)| *what),
        IpAddr::V6(v6) => SPECIAL_V6
            .iter()
            .find(|(first, prefix, _)| within(v6, (*first, *prefix)))
            .map(|(_, _, what)| *what)
            .or_else(|| (!within(v6, GLOBAL_V6)).then_some("not assigned")),
    }
}

fn within(address: Ipv6Addr, (first, prefix): (Ipv6Addr, u8)) -> bool {
    Ipv6Net::new(first, prefix).is_ok_and(|range| range.contains(&address))
}

fn last_32(address: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b, c, d] = address.octets();
    Ipv4Addr::new(a, b, c, d)
}

/// Whether it is a metadata service, in any notation or embedding.
fn is_metadata(address: IpAddr) -> bool {
    if METADATA.contains(&address) {
        return true;
    }
    let IpAddr::V6(v6) = address else { return false };
    let octets = v6.octets();
    let at = |start: usize| Ipv4Addr::new(octets[start], octets[start + 1], octets[start + 2], octets[start + 3]);
    // RFC 6052 leaves out the ninth octet where the prefix has 48 bits.
    let local_nat64 = Ipv4Addr::new(octets[6], octets[7], octets[9], octets[10]);
    let teredo_client = Ipv4Addr::from_bits(!last_32(v6).to_bits());
    // Mapped, compatible, translated, NAT64, ISATAP; 6to4; Teredo's server and client; NAT64 with a local prefix.
    [last_32(v6), at(2), at(4), teredo_client, local_nat64].into_iter().any(|v4| METADATA.contains(&IpAddr::V4(v4)))
}

#[cfg(test)]
#[path = "guard/tests.rs"]
mod tests;
