//! Each special range is refused from its first to its last address, and no more.

use proptest::prelude::*;

use super::*;

fn judge(guard: &Guard, address: &str) -> Result<(), &'static str> {
    guard.permits(address.parse().unwrap()).map_err(|blocked| blocked.what)
}

fn open(ranges: &[&str]) -> Guard {
    Guard::new(ranges.iter().map(|range| Cidr::parse(range).unwrap()).collect())
}

#[test]
fn each_special_range_is_refused_from_its_first_to_its_last_address() {
    let cases = [
        ("0.0.0.0", "0.255.255.255", "this network"),
        ("10.0.0.0", "10.255.255.255", "private"),
        ("100.64.0.0", "100.127.255.255", "shared (carrier-grade NAT)"),
        ("127.0.0.0", "127.255.255.255", "loopback"),
        ("169.254.0.0", "169.254.255.255", "link-local"),
        ("172.16.0.0", "172.31.255.255", "private"),
        ("192.0.0.0", "192.0.0.255", "for protocols"),
        ("192.0.2.0", "192.0.2.255", "for documentation"),
        ("192.31.196.0", "192.31.196.255", "for AS112"),
        ("192.52.193.0", "192.52.193.255", "for AMT"),
        ("192.88.99.0", "192.88.99.255", "for 6to4 relays"),
        ("192.168.0.0", "192.168.255.255", "private"),
        ("192.175.48.0", "192.175.48.255", "for AS112"),
        ("198.18.0.0", "198.19.255.255", "for benchmarks"),
        ("198.51.100.0", "198.51.100.255", "for documentation"),
        ("203.0.113.0", "203.0.113.255", "for documentation"),
        ("224.0.0.0", "239.255.255.255", "multicast"),
        ("240.0.0.0", "255.255.255.255", "reserved"),
        ("::", "::", "unspecified"),
        ("::1", "::1", "loopback"),
        ("::2", "::ffff:ffff", "IPv4-compatible"),
        ("::ffff:0:0:0", "::ffff:0:ffff:ffff", "IPv4-translated"),
        ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "local NAT64"),
        ("100::", "100::ffff:ffff:ffff:ffff", "for discarding"),
        ("100:0:0:1::", "100::1:ffff:ffff:ffff:ffff", "a dummy"),
        ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "Teredo"),
        ("2001:1::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "for protocols"),
        ("2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", "for protocols"),
        ("2001:10::", "2001:3f:ffff:ffff:ffff:ffff:ffff:ffff", "for protocols"),
        ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "for documentation"),
        ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "6to4"),
        ("2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", "for AS112"),
        ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "for documentation"),
        ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "for segment routing"),
        ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "private"),
        ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local"),
        ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "site-local"),
        ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast"),
        ("4000::", "5eff:ffff::", "not assigned"),
        ("200::", "1fff::", "not assigned"),
    ];
    for (first, last, what) in cases {
        for address in [first, last] {
            assert_eq!(judge(&Guard::default(), address), Err(what), "{address}");
        }
    }
}

#[test]
fn all_ranges_are_tested_above() {
    // The mapped range is evaluated as IPv4.
    assert_eq!(SPECIAL_V4.len() + SPECIAL_V6.len(), 37);
}

#[test]
fn public_addresses_are_permitted_up_to_the_edge_of_a_special_range() {
    for address in [
        "1.0.0.0",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.0.3.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "203.0.114.0",
        "223.255.255.255",
        "168.63.129.15",
        "2000::",
        "2001:200::",
        "2001:db7:ffff::",
        "2001:db9::",
        "2003::",
        "2606:4700::1111",
        "3ffe:ffff::",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
    ] {
        assert_eq!(judge(&Guard::default(), address), Ok(()), "{address}");
    }
}

#[test]
fn an_embedded_address_is_evaluated() {
    let guard = Guard::default();
    for (address, what) in [
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:10.1.2.3", "private"),
        ("::ffff:203.0.113.7", "for documentation"),
        ("64:ff9b::127.0.0.1", "loopback"),
        ("64:ff9b::192.168.1.1", "private"),
        ("::127.0.0.1", "IPv4-compatible"),
        ("::8.8.8.8", "IPv4-compatible"),
    ] {
        assert_eq!(judge(&guard, address), Err(what), "{address}");
    }
    assert_eq!(judge(&open(&["10.0.0.0/8"]), "::ffff:10.1.2.3"), Ok(()));
    assert_eq!(judge(&open(&["10.0.0.0/8"]), "64:ff9b::10.1.2.3"), Ok(()));
}

#[test]
fn metadata_services_are_refused_even_when_their_range_is_allowed() {
    let guard = open(&["0.0.0.0/0", "::/0"]);
    assert_eq!(judge(&guard, "10.1.2.3"), Ok(()));
    assert_eq!(judge(&guard, "169.254.1.1"), Ok(()));
    for address in [
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "::ffff:0:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::169.254.169.254",
        "64:ff9b:1:a9fe:a9:fe00::",
        "2002:a9fe:a9fe::1",
        "2001:0:a9fe:a9fe::1",
        "2001::5601:5601",
        "2600::5efe:169.254.169.254",
    ] {
        assert_eq!(judge(&guard, address), Err("a cloud's metadata service"), "{address}");
    }
}

#[test]
fn the_runtime_api_is_refused_under_each_of_its_addresses() {
    let guard = open(&["127.0.0.0/8", "0.0.0.0/8", "::1/128", "169.254.0.0/16"]);
    let judge = |guard: &Guard, socket: &str| guard.permits_socket(socket.parse().unwrap()).is_ok();
    for variable in ["127.0.0.1:9001", "localhost:9001", "http://127.0.0.1:9001/.rt/probe"] {
        let guard = guard.clone().closing_runtime_api(Some(variable));
        for socket in ["127.0.0.1:9001", "127.0.0.2:9001", "0.0.0.0:9001", "[::1]:9001", "[::ffff:127.0.0.1]:9001"] {
            assert!(!judge(&guard, socket), "{variable} {socket}");
        }
        assert!(judge(&guard, "127.0.0.1:9002"));
    }
    let guard = guard.closing_runtime_api(Some("169.254.100.1:9001"));
    assert!(!judge(&guard, "169.254.100.1:9001"));
    assert!(judge(&guard, "169.254.100.2:9001"));
}

#[test]
fn only_the_allowed_ranges_are_permitted() {
    let guard = open(&["10.1.0.0/16", "127.0.0.1", "fd12::/16"]);
    for address in ["10.1.255.255", "127.0.0.1", "fd12:1::1"] {
        assert_eq!(judge(&guard, address), Ok(()), "{address}");
    }
    for address in ["10.2.0.0", "127.0.0.2", "fd13::1", "192.168.0.1"] {
        assert!(judge(&guard, address).is_err(), "{address}");
    }
}

#[test]
fn a_range_is_parsed_strictly() {
    for text in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "x/8", "10.0.0.0/-1", "10.0.0.0/8/8"] {
        assert!(matches!(Cidr::parse(text), Err(CidrError::Form(_))), "{text}");
    }
    let error = Cidr::parse("10.1.2.3/8").unwrap_err().to_string();
    assert!(error.contains("10.0.0.0/8"), "{error}");
    assert!(Cidr::parse(" 0.0.0.0/0 ").unwrap().contains("9.9.9.9".parse().unwrap()));
    assert!(!Cidr::parse("0.0.0.0/0").unwrap().contains("::1".parse().unwrap()));
}

#[test]
fn the_refusal_names_the_address_and_what_it_is() {
    let blocked = Guard::default().permits("10.1.2.3".parse().unwrap()).unwrap_err();
    assert_eq!(blocked.to_string(), "10.1.2.3 is private");
}

proptest! {
    #[test]
    fn no_notation_of_an_ipv4_address_bypasses_the_guard(bits in any::<u32>()) {
        let v4 = Ipv4Addr::from_bits(bits);
        let [a, b, c, d] = v4.octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let guard = Guard::default();
        let plain = guard.permits(v4.into()).is_ok();
        for same in [v4.to_ipv6_mapped(), Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low)] {
            prop_assert_eq!(guard.permits(same.into()).is_ok(), plain);
        }
        for never in [
            v4.to_ipv6_compatible(),
            Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            Ipv6Addr::new(0x2001, 0, high, low, 0, 0, 0, 0),
            Ipv6Addr::new(0x64, 0xff9b, 1, high, low, 0, 0, 0),
        ] {
            prop_assert!(guard.permits(never.into()).is_err());
        }
    }
}
