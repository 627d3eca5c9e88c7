//! Captures a failed target's answer for diagnosis, without secrets and personal data.

use hyper::HeaderMap;
use serde_json::{Map, Value, json};
use shared::model::text::{first_chars, storable};

use super::Tools;
use super::secrets::Sent;

/// The most that is kept of a body, in bytes.
pub(super) const BODY_BYTES: usize = 1_024;

const HEADERS: usize = 20;
const NAME_BYTES: usize = 100;
const VALUE_CHARS: usize = 200;

/// Headers that hold credentials by their nature.
const SECRET_HEADERS: [&str; 3] = ["set-cookie", "authorization", "www-authenticate"];

/// The redacted answer.
pub(super) fn of(tools: &Tools, sent: &Sent, headers: &HeaderMap, body: Option<&[u8]>) -> Value {
    let mut kept = Map::new();
    for (name, value) in headers.iter().filter(|(name, _)| name.as_str().len() <= NAME_BYTES).take(HEADERS) {
        let value = if SECRET_HEADERS.contains(&name.as_str()) {
            "[redacted]".to_owned()
        } else {
            let value = sent.hide(String::from_utf8_lossy(value.as_bytes()).into_owned());
            first_chars(&tools.redactor.text(&value), VALUE_CHARS).to_owned()
        };
        kept.insert(name.as_str().to_owned(), value.into());
    }
    // Redacted as a whole too: some header names mark their value as secret.
    let mut captured = json!({ "headers": tools.redactor.value(kept.into()) });
    if let Some(body) = body {
        // Redacted before it is cut: half a secret is not recognised.
        let text = sent.hide(String::from_utf8_lossy(body).into_owned());
        // Made storable before it is cut: that makes it longer.
        captured["body"] = first_bytes(&storable(&tools.redactor.text(&text)), BODY_BYTES).into();
    }
    captured
}

/// The first `limit` bytes, cut between characters.
pub(super) fn first_bytes(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(first_bytes("aé", 2), "a");
        assert_eq!(first_bytes("aé", 3), "aé");
        assert_eq!(first_bytes("aé", 30), "aé");
    }
}
