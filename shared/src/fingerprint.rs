//! What makes two errors the same one. Pure.
//!
//! Version 1: the exception's type and its message with everything replaced that differs from one occurrence to
//! the next: numbers, UUIDs, hexadecimal and mixed ids, memory and network addresses, e-mail addresses. The version
//! stands in the fingerprint, so that a later way of grouping never mixes with this one.
//!
//! Users: `intake`, `probe`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::model::Report;
use crate::model::text::{first_chars, hex};

/// Under this name a report's context may hold what its message looked like before values were put into it.
pub const MESSAGE_TEMPLATE: &str = "message_template";

/// A grouping key: one open incident per application, environment and fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Of a message, this much is looked at: what tells two errors apart stands at the beginning, while dumps and
    /// generated SQL at the end differ each time.
    const MESSAGE_CHARS: usize = 1_000;

    /// An upstream group's id up to this length stands in the fingerprint as it is.
    const UPSTREAM_CHARS: usize = 64;

    /// The fingerprint of a report: its reporter's own grouping where it has one (`sentry:4711`), else the error's.
    #[must_use]
    pub fn of_report(report: &Report) -> Self {
        match &report.upstream_group {
            Some(group) if group.id.len() <= Self::UPSTREAM_CHARS && group.id.bytes().all(|b| b.is_ascii_graphic()) => {
                Self(format!("{}:{}", group.system, group.id))
            }
            Some(group) => Self(format!("{}:{}", group.system, hex(&Sha256::digest(&group.id)))),
            None => Self::of_error(report.error_type.as_deref(), &report.message),
        }
    }

    /// The fingerprint of an error.
    #[must_use]
    pub fn of_error(error_type: Option<&str>, message: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(error_type.unwrap_or_default());
        hasher.update([0]);
        hasher.update(normalise(first_chars(message, Self::MESSAGE_CHARS)));
        let digest = hasher.finalize();
        Self(format!("v1:{}", hex(&digest[..16])))
    }

    /// The fingerprint of a service's failing health check.
    #[must_use]
    pub fn of_health_check(service_name: &str) -> Self {
        Self(format!("health:{service_name}"))
    }

    /// The key as stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The message with each changing part replaced by its kind in angle brackets, and white space folded.
fn normalise(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    let mut rest = message.trim();
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| !is_token_char(c)).unwrap_or(rest.len());
        if end > 0 {
            push_token(&mut text, &rest[..end]);
            rest = &rest[end..];
        } else if first.is_whitespace() {
            text.push(' ');
            rest = rest.trim_start();
        } else {
            text.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    text
}

/// The characters that ids, addresses and numbers are made of.
fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '@' | '+' | '%')
}

fn push_token(text: &mut String, token: &str) {
    let core = token.trim_end_matches(['.', ':', '-']);
    let tail = &token[core.len()..];
    match kind_of(core) {
        Some(kind) => text.push_str(kind),
        None => push_segments(text, core),
    }
    text.push_str(tail);
}

fn kind_of(token: &str) -> Option<&'static str> {
    if uuid::Uuid::try_parse(token).is_ok() {
        return Some("<uuid>");
    }
    if token.contains(['.', ':']) && (token.parse::<IpAddr>().is_ok() || token.parse::<SocketAddr>().is_ok()) {
        return Some("<ip>");
    }
    is_email(token).then_some("<email>")
}

fn is_email(token: &str) -> bool {
    token.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.') && !host.contains('@'))
}

/// A token that is nothing as a whole: its parts between punctuation, each an id, or a word with its numbers replaced.
fn push_segments(text: &mut String, token: &str) {
    for segment in token.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let word = segment.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        if is_hexadecimal(word) {
            text.push_str("<hex>");
        } else if is_mixed_id(word) {
            text.push_str("<id>");
        } else {
            push_without_numbers(text, word);
        }
        text.push_str(&segment[word.len()..]);
    }
}

/// `0x7ffe12`, or at least eight hexadecimal digits with a number among them.
fn is_hexadecimal(word: &str) -> bool {
    let digits = word.strip_prefix("0x").unwrap_or(word);
    let prefixed = digits.len() < word.len();
    !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        && (prefixed
            || (digits.len() >= 8
                && digits.bytes().any(|byte| byte.is_ascii_digit())
                && digits.bytes().any(|byte| byte.is_ascii_alphabetic())))
}

/// At least eight letters and digits that change places at least three times, such as `7fGh3kL9sPq2`.
fn is_mixed_id(word: &str) -> bool {
    let changes =
        word.as_bytes().windows(2).filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit()).count();
    word.len() >= 8 && changes >= 3
}

fn push_without_numbers(text: &mut String, word: &str) {
    let mut in_number = false;
    for c in word.chars() {
        if !c.is_ascii_digit() {
            text.push(c);
        } else if !in_number {
            text.push_str("<n>");
        }
        in_number = c.is_ascii_digit();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Fingerprint, normalise};

    #[test]
    fn what_changes_from_one_occurrence_to_the_next_is_replaced() {
        for (message, normalised) in [
            ("user 42 not found", "user <n> not found"),
            ("took 12.5 ms", "took <n>.<n> ms"),
            ("order 3f2504e0-4f89-41d3-9a0c-0305e82c3301 failed", "order <uuid> failed"),
            ("segfault at 0x7ffe12ab", "segfault at <hex>"),
            ("commit 9fceb02d0ae598e9 missing", "commit <hex> missing"),
            ("connect 10.0.0.7:5432: refused", "connect <ip>: refused"),
            ("no route to fe80::1ff:fe23", "no route to <ip>"),
            ("mail to ann.lee@example.com bounced", "mail to <email> bounced"),
            ("request req_7fGh3kL9sPq2 died", "request req_<id> died"),
            ("line 10:\n\t at x", "line <n>: at x"),
            ("plain words stay", "plain words stay"),
            ("deadbeef is a word, decade too", "deadbeef is a word, decade too"),
        ] {
            assert_eq!(normalise(message), normalised);
        }
    }

    #[test]
    fn the_type_is_part_of_it() {
        let of = |kind| Fingerprint::of_error(kind, "boom");
        assert_ne!(of(Some("TypeError")), of(Some("RangeError")));
        assert_ne!(of(None), of(Some("TypeError")));
        assert_eq!(of(Some("TypeError")).as_str().len(), 35);
    }

    proptest! {
        #[test]
        fn any_text_has_one_short_stable_fingerprint(message in any::<String>()) {
            let once = Fingerprint::of_error(None, &message);
            prop_assert_eq!(&once, &Fingerprint::of_error(None, &message));
            prop_assert!(once.as_str().len() == 35);
        }

        #[test]
        fn numbers_never_tell_two_errors_apart(a in any::<u64>(), b in any::<u64>()) {
            let of = |number: u64| Fingerprint::of_error(None, &format!("row {number} is gone"));
            prop_assert_eq!(of(a), of(b));
        }
    }
}
