//! Parses a request into a report. Every refusal names the field.

use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use shared::http::{ApiError, read_json};
use shared::model::{DeliveryKey, Report, Severity};

/// The source of reports whose caller names none.
const SOURCE: &str = "api";

/// Refuses a body that is compressed or not JSON, by its headers.
///
/// # Errors
/// 415.
pub fn check_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers.get(CONTENT_ENCODING).is_some_and(|value| !plain(value)) {
        return Err(unsupported("Content-Encoding is not supported: send the body as it is"));
    }
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || essence.ends_with("+json") || essence == "text/json" {
        return Ok(());
    }
    Err(unsupported("Content-Type must be application/json"))
}

fn unsupported(message: &str) -> ApiError {
    ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
}

/// Parses the report in a request's body.
///
/// # Errors
/// 400, naming the field, when the body is not JSON or not of the documented form.
pub fn report(headers: &HeaderMap, body: &[u8], now: DateTime<Utc>) -> Result<Report, ApiError> {
    let Value::Object(mut body) = read_json(body)? else {
        return Err(ApiError::invalid("the body must be a JSON object"));
    };
    let mut error = required_object(&mut body, "error")?;
    let message = required_text(&mut error, "message", "error.message")?;
    let error_type = optional_text(&mut error, "type", "error.type")?;
    let stack = optional_text(&mut error, "stack", "error.stack")?;
    let context = optional_object(&mut body, "context")?.unwrap_or_default();
    let of_context = |name: &str| text_of(context.get(name), &format!("context.{name}"));
    let application = of_context("application")?;
    let environment = of_context("environment")?;
    let endpoint = of_context("endpoint")?;
    let chosen = optional_text(&mut body, "severity", "severity")?;
    let severity = chosen.as_deref().and_then(Severity::parse);
    let source = optional_text(&mut body, "source", "source")?.filter(|source| !source.trim().is_empty());
    let source = source.as_deref().unwrap_or(SOURCE);
    let mut report = Report {
        error_type,
        stack,
        application: application.unwrap_or_default(),
        environment: environment.unwrap_or_default(),
        endpoint,
        severity,
        context,
        ..Report::new(delivery_key(headers, now), source, message, now)
    };
    // Other fields are kept in the context.
    if !error.is_empty() {
        report.keep_in_context("error", Value::Object(error));
    }
    for (name, value) in body {
        report.keep_in_context(&name, value);
    }
    if let (Some(word), None) = (chosen, severity) {
        report.keep_in_context("severity", Value::String(word));
    }
    Ok(report)
}

fn delivery_key(headers: &HeaderMap, now: DateTime<Utc>) -> DeliveryKey {
    match headers.get("idempotency-key").map(|key| key.as_bytes().trim_ascii()) {
        Some(key) if !key.is_empty() => DeliveryKey::named("api", key),
        _ => DeliveryKey::unique("api", now),
    }
}

fn required_object(parent: &mut Map<String, Value>, name: &str) -> Result<Map<String, Value>, ApiError> {
    optional_object(parent, name)?.ok_or_else(|| ApiError::invalid(format!("`{name}` is missing")))
}

fn optional_object(parent: &mut Map<String, Value>, name: &str) -> Result<Option<Map<String, Value>>, ApiError> {
    match parent.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(ApiError::invalid(format!("`{name}` must be an object"))),
    }
}

fn required_text(parent: &mut Map<String, Value>, name: &str, path: &str) -> Result<String, ApiError> {
    let text = optional_text(parent, name, path)?.ok_or_else(|| ApiError::invalid(format!("`{path}` is missing")))?;
    if text.trim().is_empty() {
        return Err(ApiError::invalid(format!("`{path}` must not be empty")));
    }
    Ok(text)
}

fn optional_text(parent: &mut Map<String, Value>, name: &str, path: &str) -> Result<Option<String>, ApiError> {
    text_of(parent.remove(name).as_ref(), path)
}

fn text_of(value: Option<&Value>, path: &str) -> Result<Option<String>, ApiError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(ApiError::invalid(format!("`{path}` must be a string"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<Report, ApiError> {
        report(&HeaderMap::new(), body.as_bytes(), DateTime::UNIX_EPOCH)
    }

    #[test]
    fn a_full_request_becomes_a_report() {
        let report = parse(include_str!("../fixtures/full.json")).unwrap();
        assert_eq!(report.message, "Payment processing failed: card 4242 declined");
        assert_eq!(report.error_type.as_deref(), Some("PaymentError"));
        assert_eq!(report.application, "shop-backend");
        assert_eq!(report.environment, "staging");
        assert_eq!(report.endpoint.as_deref(), Some("/api/checkout"));
        assert_eq!(report.severity, Some(Severity::Critical));
        assert_eq!(report.source, "checkout-worker");
        assert_eq!(report.context["order"], 1017);
    }

    #[test]
    fn each_wrong_field_is_named() {
        for (body, named) in [
            ("", "not JSON"),
            ("[]", "JSON object"),
            ("null", "JSON object"),
            ("{}", "`error` is missing"),
            (r#"{"error": "boom"}"#, "`error` must be an object"),
            (r#"{"error": {}}"#, "`error.message` is missing"),
            (r#"{"error": {"message": null}}"#, "`error.message` is missing"),
            (r#"{"error": {"message": "  "}}"#, "`error.message` must not be empty"),
            (r#"{"error": {"message": 42}}"#, "`error.message` must be a string"),
            (r#"{"error": {"message": "x", "type": []}}"#, "`error.type`"),
            (r#"{"error": {"message": "x", "stack": {}}}"#, "`error.stack`"),
            (r#"{"error": {"message": "x"}, "context": "c"}"#, "`context` must be an object"),
            (r#"{"error": {"message": "x"}, "context": {"application": 1}}"#, "`context.application`"),
            (r#"{"error": {"message": "x"}, "context": {"endpoint": 1}}"#, "`context.endpoint`"),
            (r#"{"error": {"message": "x"}, "severity": 1}"#, "`severity`"),
            (r#"{"error": {"message": "x"}, "source": true}"#, "`source`"),
            (r#"{"error": {"message": "x"#, "not JSON"),
        ] {
            let message = format!("{:?}", parse(body).unwrap_err());
            assert!(message.contains(named), "{body} → {message}");
        }
    }

    #[test]
    fn an_unknown_severity_is_ignored_and_kept() {
        let report = parse(r#"{"error": {"message": "x"}, "severity": "urgent"}"#).unwrap();
        assert_eq!((report.severity, &report.context["severity"]), (None, &Value::from("urgent")));
    }

    #[test]
    fn half_an_emoji_does_not_lose_the_error() {
        for (escaped, read) in [
            (r"cut \ud83d", "cut \u{FFFD}"),
            (r"\ude00 tail", "\u{FFFD} tail"),
            (r"\ud83d\ud83d\ude00 whole", "\u{FFFD}😀 whole"),
            (r"\\ud83d and \ud83d", "\\ud83d and \u{FFFD}"),
        ] {
            let report = parse(&format!(r#"{{"error": {{"message": "{escaped}"}}}}"#)).unwrap();
            assert_eq!(report.message, read);
        }
    }

    #[test]
    fn an_idempotency_key_deduplicates_and_without_one_each_request_counts() {
        let key = |value: &str| {
            let headers = HeaderMap::from_iter([(
                axum::http::HeaderName::from_static("idempotency-key"),
                value.parse().unwrap(),
            )]);
            delivery_key(&headers, DateTime::UNIX_EPOCH)
        };
        assert_eq!(key("order-1"), key(" order-1 "));
        assert_ne!(key("order-1"), key("order-2"));
        assert_ne!(key(""), key(""));
    }

    #[test]
    fn only_json_content_types_are_accepted() {
        for (value, taken) in [
            ("application/json", true),
            ("application/json; charset=utf-8", true),
            ("application/problem+json", true),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, value.parse().unwrap())]);
            assert_eq!(check_content_type(&headers).is_ok(), taken, "{value}");
        }
        assert!(check_content_type(&HeaderMap::new()).is_ok());
    }
}
