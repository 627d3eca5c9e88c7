//! Payment card numbers: 13 to 19 digits, joined or in a card's groups, with a brand's prefix for that length and a
//! valid check digit (Luhn). Order numbers and timestamps hardly ever match all of that.
//!
//! Users: `scan` (text), `json` (numbers).

use super::kind::Kind;
use super::scan::{SecretMatch, escape_at_end};

/// The most digits of a card number.
const LONGEST: usize = 19;

/// The card's number that begins `rest`; called where a run of digits begins.
pub(super) fn find(left: &str, rest: &str) -> Option<SecretMatch> {
    let left = left.as_bytes();
    let mut before = left.iter().rev();
    if let (Some(b'.'), Some(b'0'..=b'9')) = (before.next(), before.next()) {
        return None;
    }
    let end = longest_number(rest.as_bytes())?;
    (!is_hexadecimal_around(left, &rest.as_bytes()[end..])).then(|| SecretMatch::ahead(0, end, Kind::Card))
}

/// Whether these digits are a card number.
pub(super) fn is_number(digits: &[u8]) -> bool {
    brand_has_length(digits) && luhn(digits)
}

/// The end of the longest card number that begins here.
fn longest_number(text: &[u8]) -> Option<usize> {
    let mut digits = [0_u8; LONGEST];
    let (mut count, mut at, mut found) = (0, 0, None);
    let mut groups = [0_usize; 8];
    for index in 0..groups.len() {
        let group = text[at..].iter().take(LONGEST + 1).take_while(|byte| byte.is_ascii_digit()).count();
        if group == 0 || count + group > LONGEST {
            break;
        }
        digits[count..count + group].copy_from_slice(&text[at..at + group]);
        count += group;
        at += group;
        groups[index] = group;
        if is_grouping(&groups[..=index]) && is_number(&digits[..count]) {
            found = Some(at);
        }
        match text.get(at) {
            Some(b' ' | b'-') => at += 1,
            _ => break,
        }
    }
    found
}

/// Whether the groups are those of a printed card.
fn is_grouping(groups: &[usize]) -> bool {
    let fours = groups.split_last().is_some_and(|(last, all)| *last <= 4 && all.iter().all(|group| *group == 4));
    groups.len() == 1 || fours || matches!(groups, [4, 6, 4 | 5])
}

/// Whether some brand uses this prefix with this length.
fn brand_has_length(digits: &[u8]) -> bool {
    if digits.len() < 13 || digits.len() > LONGEST {
        return false;
    }
    let prefix = digits[..4].iter().fold(0_u32, |number, digit| number * 10 + u32::from(digit - b'0'));
    matches!(
        (prefix, digits.len()),
        (4000..=4999, 13 | 16 | 19)
            | (5100..=5599 | 2221..=2720, 16)
            | (3400..=3499 | 3700..=3799, 15)
            | (3000..=3059 | 3095 | 3600..=3699 | 3800..=3999, 14..=19)
            | (3528..=3589 | 6011 | 6440..=6599 | 6200..=6299 | 8100..=8171 | 2200..=2204, 16..=19)
            | (5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763, 13..=19)
    )
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| match (index % 2, u32::from(digit - b'0')) {
            (0, value) => value,
            (_, value) if value > 4 => 2 * value - 9,
            (_, value) => 2 * value,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether the digits are the middle of a hexadecimal id.
fn is_hexadecimal_around(left: &[u8], right: &[u8]) -> bool {
    let left = if escape_at_end(left) { &[][..] } else { left };
    let is_word = |byte: &&u8| byte.is_ascii_alphanumeric();
    let mut letters = left.iter().rev().take(32).take_while(is_word).chain(right.iter().take(32).take_while(is_word));
    let mut any = false;
    let all = letters.all(|byte| {
        any |= byte.is_ascii_alphabetic();
        byte.is_ascii_hexdigit()
    });
    any && all
}
