//! Values behind a name and `=`, `:` or a space: `password=hunter2`, `"api_key": "…"`, `Cookie: a=b; c=d`,
//! `?token=…&sig=…`, `user[password]=…`, `ENV["SECRET"] = '…'`, `--token …`; plain, escaped as JSON in JSON is, and
//! percent-encoded.
//!
//! Users: `scan`.

use super::keys::{self, Secret, Strength, ends_with_ignoring_case};
use super::kind::Kind;
use super::scan::{Mode, SecretMatch, at_word_start, behind_escape, meaning};
use super::value::{self, ValueContext};

/// The value behind the `=` or `:` (of this width) that begins `rest`.
pub(super) fn find(left: &str, rest: &str, width: usize, mode: Mode) -> Option<SecretMatch> {
    let (sign, _) = meaning(rest.as_bytes());
    let name = Name::before(left)?;
    let tail = &rest[width..];
    if sign == b':' && tail.starts_with(':') {
        return None;
    }
    let in_query = sign == b'=' && name.follows_query_sign(left);
    let secret = match keys::secret(name.text) {
        Some(secret) => secret,
        None if in_query && is_secret_in_query(name.text) => Secret { kind: Kind::Token, strength: Strength::Weak },
        None => return None,
    };
    if mode == Mode::Prose && sign == b':' && !name.quoted && is_complaint(&left[..name.start]) {
        return None;
    }
    // `=>`, `==`, `:=`.
    let begin = width + tail.bytes().take(2).take_while(|byte| matches!(byte, b'=' | b'>')).count();
    let spaced = left.ends_with([' ', '\t']) || rest[begin..].starts_with([' ', '\t']);
    let context = ValueContext {
        name: name.text,
        colon: sign == b':',
        spaced,
        encoded: width > 1,
        quoted_name: name.quoted,
        in_settings: sign == b'=' && left[..name.start].trim_end_matches(' ').ends_with(';'),
        in_query,
        is_path: left[..name.start].ends_with('/'),
        is_header: is_header(name.text),
        secret,
    };
    let (start, end) = value::find(&rest[begin..], &context)?;
    Some(SecretMatch::ahead(begin + start, begin + end, secret.kind))
}

/// The value behind `--password`, after a blank; `rest` begins with the dashes.
pub(super) fn flag(left: &str, rest: &str) -> Option<SecretMatch> {
    const LONGEST: usize = 64;
    let name = rest.strip_prefix("--")?;
    let length = name.bytes().take(LONGEST).take_while(|byte| is_name(*byte)).count();
    let secret = keys::secret(&name[..length]).filter(|secret| secret.strength == Strength::Strong)?;
    if !at_word_start(left) || !name[length..].starts_with(' ') || name[length + 1..].starts_with('-') {
        return None;
    }
    let begin = 2 + length;
    let context = ValueContext {
        name: &name[..length],
        colon: false,
        spaced: true,
        encoded: false,
        quoted_name: false,
        in_settings: false,
        in_query: false,
        is_path: false,
        is_header: false,
        secret,
    };
    let (start, end) = value::find(&rest[begin..], &context)?;
    Some(SecretMatch::ahead(begin + start, begin + end, secret.kind))
}

/// Whether this header's value extends to the end of its line.
pub(super) fn is_header(name: &str) -> bool {
    let name = name.as_bytes();
    ["cookie", "cookie2", "authorization", "authentication"]
        .iter()
        .any(|end| ends_with_ignoring_case(name, end.as_bytes()))
}

/// The name at the end of `left`, before white space, quotes and brackets.
struct Name<'text> {
    text: &'text str,
    start: usize,
    quoted: bool,
}

impl<'text> Name<'text> {
    /// The longest name that is read.
    const LONGEST: usize = 96;

    fn before(left: &'text str) -> Option<Self> {
        let blanks = left.bytes().rev().take(16).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let mut end = left.len() - blanks;
        let (mut quoted, mut bracket) = (false, false);
        for _ in 0..4 {
            let Some((closer, width)) = closer_at_end(&left.as_bytes()[..end]) else { break };
            quoted |= closer != b']';
            bracket |= closer == b']';
            end -= width;
        }
        let length = left[..end].bytes().rev().take(Self::LONGEST).take_while(|byte| is_name(*byte)).count();
        let start = behind_escape(left, end - length).min(end);
        let text = left[start..end].rsplit('.').next()?;
        if !text.bytes().any(|byte| byte.is_ascii_alphabetic()) {
            return None;
        }
        // Our own word, unless something is indexed by it (`user[password]=`).
        let before = &left[..start];
        if bracket && !quoted && !before.strip_suffix('[').or(before.strip_suffix("%5B")).is_some_and(ends_like_name) {
            return None;
        }
        Some(Self { text, start, quoted })
    }

    fn follows_query_sign(&self, left: &str) -> bool {
        let left = &left[..self.start];
        ["?", "&", "%3F", "%26", "%3f", "%253F", "%2526", "&amp;", "\\u0026"].iter().any(|sign| left.ends_with(sign))
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

fn ends_like_name(text: &str) -> bool {
    text.bytes().next_back().is_some_and(|byte| is_name(byte) || byte == b']')
}

/// A closing quote or bracket, escaped or not.
fn closer_at_end(text: &[u8]) -> Option<(u8, usize)> {
    let last = *text.last()?;
    match last {
        b'"' | b'\'' | b'`' => {
            let escapes = text.iter().rev().skip(1).take_while(|byte| **byte == b'\\').count();
            Some((last, 1 + escapes))
        }
        b']' => Some((b']', 1)),
        b';' if text.ends_with(b"&quot;") => Some((b'"', 6)),
        b';' if text.ends_with(b"&#34;") || text.ends_with(b"&#39;") => Some((b'"', 5)),
        _ => [5, 3].into_iter().find_map(|width| {
            let (meant, taken) = meaning(text.get(text.len().checked_sub(width)?..)?);
            (taken == width && matches!(meant, b'"' | b'\'' | b']')).then_some((meant, width))
        }),
    }
}

/// Names with secret values in URLs only; a short value or a word is none.
fn is_secret_in_query(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    matches!(
        lower.as_str(),
        "sig" | "code" | "key" | "hash" | "signature" | "access" | "ticket" | "nonce" | "assertion"
    ) || lower.ends_with("-signature")
        || lower.ends_with("_signature")
        || lower.ends_with("-credential")
}

/// `Unexpected token: }`, `invalid secret: …`: a parser's token, or no secret.
fn is_complaint(before: &str) -> bool {
    let before = before.trim_end_matches(' ').as_bytes();
    ["unexpected", "illegal", "expected"].iter().any(|word| ends_with_ignoring_case(before, word.as_bytes()))
}
