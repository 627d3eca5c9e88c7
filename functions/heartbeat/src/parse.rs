//! Parses a heartbeat: `?status=fail`, or JSON with `status` and `message`. Without a status, the job succeeded.

use serde_json::Value;
use shared::http::{ApiError, read_json};
use shared::model::text::first_chars;
use url::form_urlencoded;

/// The longest message; the rest is cut off.
const MESSAGE: usize = 1_000;

/// A job's report.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobReport {
    /// Whether the job failed.
    pub failed: bool,
    /// Its message.
    pub message: Option<String>,
}

/// Parses the query and the body. The job failed if either says so; a body that is not a JSON object is ignored.
///
/// # Errors
/// 400 for a status that is neither `ok` nor `fail`, and for an invalid JSON object.
pub fn report(query: Option<&str>, body: &[u8]) -> Result<JobReport, ApiError> {
    let mut report = JobReport::default();
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match name.as_ref() {
            "status" => report.failed |= fails(&value)?,
            "message" => report.message = text(&value),
            // Schedulers add parameters of their own.
            _ => {}
        }
    }
    // Many jobs post their output: only an object is parsed.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Ok(report);
    }
    let body = read_json(body)?;
    match &body["status"] {
        Value::Null => {}
        Value::String(status) => report.failed |= fails(status)?,
        _ => return Err(ApiError::invalid("`status` must be \"ok\" or \"fail\"")),
    }
    match &body["message"] {
        Value::Null => {}
        Value::String(message) => report.message = text(message),
        _ => return Err(ApiError::invalid("`message` must be text")),
    }
    Ok(report)
}

fn fails(status: &str) -> Result<bool, ApiError> {
    match status {
        "ok" => Ok(false),
        "fail" => Ok(true),
        _ => Err(ApiError::invalid("`status` must be \"ok\" or \"fail\"")),
    }
}

/// The message as Postgres accepts it; none if it is empty.
fn text(message: &str) -> Option<String> {
    let clean = message.replace('\0', "\u{FFFD}");
    Some(first_chars(clean.trim(), MESSAGE).to_owned()).filter(|message| !message.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_status_means_success_and_a_failure_may_be_in_query_or_body() {
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
            let expected = JobReport { failed, message: message.map(str::to_owned) };
            assert_eq!(report(query, body.as_bytes()), Ok(expected), "{query:?} {body}");
        }
        let long = format!(r#"{{"message":"{}"}}"#, "é".repeat(5_000));
        assert_eq!(report(None, long.as_bytes()).unwrap().message.unwrap().chars().count(), MESSAGE);
    }

    #[test]
    fn an_invalid_field_is_named() {
        for (query, body, named) in [
            (Some("status=dead"), "", "`status`"),
            (None, r#"{"status":1}"#, "`status`"),
            (None, r#"{"status":"dead"}"#, "`status`"),
            (None, r#"{"message":["a"]}"#, "`message`"),
            (None, r#"{"status":"#, "JSON"),
        ] {
            let refusal = report(query, body.as_bytes()).unwrap_err();
            assert!(refusal.status() == 400 && refusal.message().contains(named), "{body}: {refusal:?}");
        }
    }
}
