//! What a job says: `?status=fail`, or JSON with `status` and `message`. Nothing at all means that it is well.

use serde_json::Value;
use shared::http::{ApiError, read_json};
use shared::model::text::first_chars;
use url::form_urlencoded;

/// A message has at most this many characters; the rest is cut off.
const MESSAGE: usize = 1_000;

/// What a job says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// Whether it tells of a failure.
    pub failed: bool,
    /// In its own words.
    pub message: Option<String>,
}

/// Reads the query and the body. A failure that one of them tells is one; a body that is no JSON object says nothing.
///
/// # Errors
/// 400 for a status that is neither `ok` nor `fail`, and for what claims to be a JSON object and is none.
pub fn said(query: Option<&str>, body: &[u8]) -> Result<Said, ApiError> {
    let mut said = Said::default();
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match name.as_ref() {
            "status" => said.failed |= fails(&value)?,
            "message" => said.message = text(&value),
            // Schedulers add words of their own.
            _ => {}
        }
    }
    // Many jobs post whatever they print: only an object speaks to us.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Ok(said);
    }
    let body = read_json(body)?;
    match &body["status"] {
        Value::Null => {}
        Value::String(status) => said.failed |= fails(status)?,
        _ => return Err(ApiError::invalid("`status` must be \"ok\" or \"fail\"")),
    }
    match &body["message"] {
        Value::Null => {}
        Value::String(message) => said.message = text(message),
        _ => return Err(ApiError::invalid("`message` must be text")),
    }
    Ok(said)
}

fn fails(status: &str) -> Result<bool, ApiError> {
    match status {
        "ok" => Ok(false),
        "fail" => Ok(true),
        _ => Err(ApiError::invalid("`status` must be \"ok\" or \"fail\"")),
    }
}

/// The message as Postgres takes it; none if it says nothing.
fn text(message: &str) -> Option<String> {
    let clean = message.replace('\0', "\u{FFFD}");
    Some(first_chars(clean.trim(), MESSAGE).to_owned()).filter(|message| !message.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_means_well_and_a_failure_is_told_in_either_place() {
        for (query, body, failed, message) in [
            (None, "", false, None),
            (Some(""), "  done, 17 rows  ", false, None),
            (Some("status=ok&run=7"), "", false, None),
            (Some("status=fail"), "", true, None),
            (Some("status=fail&message=disk%20full"), "", true, Some("disk full")),
            (None, r#"{"status":"fail","message":"disk full"}"#, true, Some("disk full")),
            (Some("status=fail"), r#"{"status":"ok"}"#, true, None),
            (None, r#" {"rows": 17}"#, false, None),
            (None, r#"{"status":"ok","message":" \u0000 "}"#, false, Some("\u{FFFD}")),
        ] {
            let expected = Said { failed, message: message.map(str::to_owned) };
            assert_eq!(said(query, body.as_bytes()), Ok(expected), "{query:?} {body}");
        }
        let long = format!(r#"{{"message":"{}"}}"#, "é".repeat(5_000));
        assert_eq!(said(None, long.as_bytes()).unwrap().message.unwrap().chars().count(), MESSAGE);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (query, body, told) in [
            (Some("status=dead"), "", "`status`"),
            (None, r#"{"status":1}"#, "`status`"),
            (None, r#"{"status":"dead"}"#, "`status`"),
            (None, r#"{"message":["a"]}"#, "`message`"),
            (None, r#"{"status":"#, "JSON"),
        ] {
            let refusal = said(query, body.as_bytes()).unwrap_err();
            assert!(refusal.status() == 400 && refusal.message().contains(told), "{body}: {refusal:?}");
        }
    }
}
