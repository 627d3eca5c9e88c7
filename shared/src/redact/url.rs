//! Passwords in URLs: `postgres://app:hunter2@db/shop`, also percent-encoded and in the shape of a Sentry DSN's secret.
//!
//! Users: `scan`.

use super::kind::word_at_start;
use super::scan::meaning;

/// The position of the password in a text that begins with `://`.
pub(super) fn password(rest: &str) -> Option<(usize, usize)> {
    const LONGEST: usize = 1_024;
    let bytes = rest.as_bytes();
    let (_, width) = meaning(bytes);
    let begin = 3 * width;
    let (mut at, mut colon, mut end, mut in_path) = (begin, None, None, false);
    while at < bytes.len().min(begin + LONGEST) {
        let (meant, taken) = meaning(&bytes[at..]);
        match meant {
            b'@' if taken == width => end = Some(at),
            b':' if taken == width && colon.is_none() => colon = Some(at + taken),
            // Passwords are often not encoded; a part with a port, or without a colon, is a host.
            b'/' | b'?' | b'#' if taken == width && !in_path => {
                if end.is_some() || colon.is_none_or(|colon| is_port(&bytes[colon..at])) {
                    break;
                }
                in_path = true;
            }
            b'"' | b'\'' | b'<' | b'>' | b'`' | b'\\' => break,
            _ if meant.is_ascii_whitespace() && taken == 1 => break,
            b':' if in_path && rest[at..].starts_with("://") => break,
            _ => {}
        }
        at += taken;
    }
    let (start, end) = (colon?, end?);
    (start < end && word_at_start(&rest[start..]).is_none()).then_some((start, end))
}

fn is_port(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_digit)
}
