//! Secrets with a name that is not before `=` or `:`: pairs (`('cookie', 'a=b')`, as Python prints headers), elements
//! (`<password>…</password>`), and SQL (`IDENTIFIED BY '…'`).
//!
//! Users: `scan`.

use super::assignment::is_header;
use super::keys::{self, Strength, ends_with_ignoring_case};
use super::kind::{Kind, is_mask};
use super::scan::SecretMatch;
use super::value::inside_quotes;

/// The longest name.
const NAME: usize = 64;

/// The second text of a quoted pair; `rest` begins with the comma between them.
pub(super) fn pair(left: &str, rest: &str) -> Option<SecretMatch> {
    let mark = left.bytes().next_back().filter(|byte| matches!(byte, b'"' | b'\''))?;
    let inner = left[..left.len() - 1].trim_end_matches('\\');
    let length = inner.bytes().rev().take(NAME).take_while(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(byte));
    let name = &inner[inner.len() - length.count()..];
    let before = inner[..inner.len() - name.len()].strip_suffix(char::from(mark))?.trim_end_matches('\\');
    let before = before.strip_suffix(['b', 'u']).unwrap_or(before);
    if !before.ends_with(['(', '[']) {
        return None;
    }
    let secret = keys::secret(name).filter(|secret| secret.strength != Strength::Counted)?;
    let gap = 1 + rest[1..].bytes().take(4).take_while(|byte| *byte == b' ').count();
    let (start, end) = inside_quotes(&rest[gap..])?;
    let value = &rest[gap + start..gap + end];
    // A list of names is no pair.
    let is_name = value.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && !is_header(name);
    let closing = rest[gap + end..].trim_start_matches(['\\', '"', '\'', ' ']);
    if is_mask(value) || is_name || !(closing.is_empty() || closing.starts_with([')', ']'])) {
        return None;
    }
    Some(SecretMatch::ahead(gap + start, gap + end, secret.kind))
}

/// The text of an element; `rest` begins with the `>` of its opening tag.
pub(super) fn element(left: &str, rest: &str) -> Option<SecretMatch> {
    const LONGEST: usize = 4_096;
    let length =
        left.bytes().rev().take(NAME).take_while(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(byte));
    let start = left.len() - length.count();
    if !left[..start].ends_with('<') {
        return None;
    }
    let secret = keys::secret(&left[start..])?;
    let length = rest[1..].bytes().take(LONGEST).position(|byte| byte == b'<')?;
    let value = &rest[1..=length];
    if value.trim().is_empty() || is_mask(value.trim()) || !rest[1 + length..].starts_with("</") {
        return None;
    }
    Some(SecretMatch::ahead(1, 1 + length, secret.kind))
}

/// The quoted text behind `password` or `identified by`; `rest` begins with the quote.
pub(super) fn after_word(left: &str, rest: &str) -> Option<SecretMatch> {
    if !left.ends_with(' ') {
        return None;
    }
    let called =
        ["password ", "identified by "].iter().any(|word| ends_with_ignoring_case(left.as_bytes(), word.as_bytes()));
    let (start, end) = called.then(|| inside_quotes(rest)).flatten()?;
    let value = &rest[start..end];
    let is_one_word = !value.is_empty() && !value.contains([' ', '\n', ',']) && !is_mask(value);
    is_one_word.then(|| SecretMatch::ahead(start, end, Kind::Password))
}
