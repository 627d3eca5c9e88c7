//! Private keys in PEM, from `-----BEGIN … PRIVATE KEY-----` to the end, also truncated ones.
//!
//! Users: `scan`.

use super::kind::Kind;
use super::scan::SecretMatch;

/// The private key that begins `rest`.
pub(super) fn find(rest: &str) -> Option<SecretMatch> {
    const LABEL: usize = 64;
    let label = rest.strip_prefix("-----BEGIN ")?;
    let close = label.as_bytes().iter().take(LABEL).position(|byte| *byte == b'-')?;
    if !label[..close].contains("PRIVATE KEY") {
        return None;
    }
    let body = label[close..].trim_start_matches('-');
    // Base64, line breaks, headers of encrypted keys; also with escaped line breaks.
    let inside = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/= \r\n\t\\:,".contains(byte);
    let length = body.bytes().take_while(inside).count();
    let after = &body[length..];
    let tail = after.strip_prefix("-----END ").map_or(0, |name| {
        let length = name.bytes().take(LABEL).take_while(|byte| *byte != b'-').count();
        let dashes = name.bytes().skip(length).take(5).take_while(|byte| *byte == b'-').count();
        "-----END ".len() + length + dashes
    });
    let end = rest.len() - after.len() + tail;
    rest.is_char_boundary(end).then(|| SecretMatch::ahead(0, end, Kind::PrivateKey))
}
