//! IP addresses.
//!
//! Private addresses are redacted too: in an office they identify a person. Not redacted: loopback, unspecified and
//! broadcast addresses, netmasks and networks (`10.0.0.0`), and versions (`v1.2.3.4`, `Version=4.0.0.0`). An
//! abbreviated IPv6 address is redacted only in a range in use: `dead::beef` may be a path in code.
//!
//! Users: `scan`.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;

use super::keys::ends_with_ignoring_case;
use super::kind::Kind;
use super::scan::{SecretMatch, escape_at_end};

/// The longest address as text, `xxxx:` eight times with an IPv4 address at its end.
const LONGEST: usize = 45;

/// IPv6 ranges in use: NAT64, global unicast, unique local, link-local, multicast.
const IN_USE: [Ipv6Net; 5] = [range(0x64, 16), range(0x2000, 3), range(0xfc00, 7), range(0xfe80, 10), range(0xff00, 8)];

const fn range(first: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0), prefix)
}

/// The IPv4 address that begins `rest`; called where a run of digits begins.
pub(super) fn ipv4(left: &str, rest: &str) -> Option<SecretMatch> {
    let length = quad(rest.as_bytes())?;
    let address = rest[..length].parse::<Ipv4Addr>().ok()?;
    let part_of_longer = |text: &[u8]| text.len() > 1 && text[0] == b'.' && text[1].is_ascii_digit();
    let mut before = left.bytes().rev();
    let before = [before.next().unwrap_or(b' '), before.next().unwrap_or(b' ')];
    if part_of_longer(&before) || part_of_longer(&rest.as_bytes()[length..]) {
        return None;
    }
    let [.., b, c, d] = address.octets();
    let is_network = b == 0 && c == 0 && d == 0;
    let is_mask = matches!(address.octets(), [255, 255, 255, _] | [255, 255, 0, 0]);
    if is_network || is_mask || address == Ipv4Addr::LOCALHOST || is_version(left, before) {
        return None;
    }
    Some(SecretMatch::ahead(0, length, Kind::Ip))
}

/// The IPv6 address whose first colon begins `rest`.
pub(super) fn ipv6(left: &str, rest: &str) -> Option<SecretMatch> {
    let left = left.as_bytes();
    let back = left.iter().rev().take(5).take_while(|byte| byte.is_ascii_hexdigit()).count();
    let back = if escape_at_end(left) { 0 } else { back };
    let before = left[..left.len() - back].last().copied().unwrap_or(b' ');
    let joined = (before.is_ascii_alphanumeric() || before == b'_') && !escape_at_end(&left[..left.len() - back]);
    if back > 4 || (joined && back > 0) || (back == 0 && (!rest.starts_with("::") || joined)) {
        return None;
    }
    let is_part = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let length = rest.bytes().take(LONGEST + 3).take_while(is_part).count();
    if length + back > LONGEST + 2 || rest[..length].bytes().filter(|byte| *byte == b':').count() < 2 {
        return None;
    }
    let run = format!("{}{}", std::str::from_utf8(&left[left.len() - back..]).ok()?, &rest[..length]);
    let trimmed = run.trim_end_matches('.');
    let trimmed = if trimmed.ends_with("::") { trimmed } else { trimmed.trim_end_matches(':') };
    let address = trimmed.parse::<Ipv6Addr>().ok()?;
    if address.is_loopback() || address.is_unspecified() || !is_in_use(address, trimmed) {
        return None;
    }
    Some(SecretMatch { back, start: 0, end: trimmed.len() - back, kind: Kind::Ip })
}

/// The length of four numbers with dots between.
fn quad(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    for part in 0..4 {
        if part > 0 {
            at += usize::from(text.get(at) == Some(&b'.'));
        }
        let digits = text[at..].iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=3).contains(&digits) {
            return None;
        }
        at += digits;
    }
    Some(at)
}

/// Whether the word before the address marks it as a version.
fn is_version(left: &str, before: [u8; 2]) -> bool {
    if matches!(before, [b'v' | b'V', other] if !other.is_ascii_alphanumeric()) {
        return true;
    }
    let left = left.as_bytes();
    let separators =
        left.iter().rev().take(6).take_while(|byte| matches!(byte, b' ' | b'"' | b'\'' | b'=' | b':' | b'/' | b'\\'));
    let word = &left[..left.len() - separators.count()];
    ["version", "release", "build", "firmware"].iter().any(|name| ends_with_ignoring_case(word, name.as_bytes()))
}

fn is_in_use(address: Ipv6Addr, text: &str) -> bool {
    let groups = text.split(':').filter(|group| !group.is_empty()).count();
    groups > 3
        || (text.bytes().any(|byte| byte.is_ascii_digit()) && IN_USE.iter().any(|range| range.contains(&address)))
        || address.to_ipv4_mapped().is_some()
}
