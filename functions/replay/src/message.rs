//! From a message to the records in it. Pure.

use serde_json::Value;
use shared::defer::Deferred;
use shared::defer::json::{self, Unreadable};
use shared::defer::packing::{self, UnpackError};

/// The only event in this queue.
const DETAIL_TYPE: &str = "ReportDeferred";

/// Why a message can't be parsed: a retry is pointless.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// Its body is no event.
    #[error("the message is no event")]
    NoEvent(#[from] Unreadable),
    /// It is another event.
    #[error("the message is not {DETAIL_TYPE}")]
    OtherEvent,
    /// Its records can't be parsed.
    #[error("the event can't be read")]
    Detail(#[from] UnpackError),
}

/// The records of a message whose body is the event as EventBridge puts it into a queue.
///
/// # Errors
/// When it is anything else.
pub fn records(body: &str) -> Result<Vec<Deferred>, MessageError> {
    let mut event = json::read(body.as_bytes())?;
    if event["detail-type"] != DETAIL_TYPE {
        return Err(MessageError::OtherEvent);
    }
    let detail = event.get_mut("detail").map(Value::take).unwrap_or_default();
    Ok(packing::unpack(detail)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = include_str!("../fixtures/report-deferred.json");

    #[test]
    fn the_event_s_reports_are_parsed() {
        let records = records(EVENT).unwrap();
        let [Deferred::Report(first), Deferred::Report(second)] = records.as_slice() else { panic!("{records:?}") };
        assert_eq!([&first.message, &second.message], ["Database connection failed", "cut \u{FFFD}"]);
        assert_eq!(first.delivery_key.as_str(), "api:0193a5e6-0000-7000-8000-000000000001");
        assert_eq!(first.context["order"], 1017);
    }

    #[test]
    fn other_messages_are_refused() {
        for (body, why) in [
            (String::new(), "no event"),
            ("nonsense".into(), "no event"),
            ("[".repeat(100_000), "no event"),
            ("null".into(), "not ReportDeferred"),
            ("[]".into(), "not ReportDeferred"),
            ("\"ReportDeferred\"".into(), "not ReportDeferred"),
            (EVENT.replace("ReportDeferred", "IncidentOpened"), "not ReportDeferred"),
            (r#"{"detail-type": "ReportDeferred"}"#.into(), "can't be read"),
            (EVENT.replace("\"version\": 1", "\"version\": 2"), "can't be read"),
            (EVENT.replace("\"received_at\"", "\"x\""), "can't be read"),
            (EVENT.replace("\"occurrence\"", "\"else\""), "can't be read"),
        ] {
            let error = records(&body).unwrap_err().to_string();
            assert!(error.contains(why), "{body:.60} → {error}");
        }
        for cut in 0..EVENT.trim_end().len() {
            assert!(EVENT.get(..cut).is_none_or(|body| records(body).is_err()), "{cut}");
        }
    }
}
