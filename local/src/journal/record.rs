//! A line of the journal: the checksum of a JSON document, and the document. Pure.
//!
//! `89abcdef {"kind":"event","queue":"Notices","event":{…}}`: eight hexadecimal digits of the CRC-32 of what follows the
//! space. Earlier versions wrote deferred records as separate lines
//! (`{"kind":"report_deferred","report":{…}}`, or `step`, `check_in`, `beat`): such a line is read as the event
//! `ReportDeferred` that holds the record.

use serde::Serialize;
use serde_json::{Value, json};
use shared::defer::json::{self as deep, Unreadable};
use shared::defer::packing;

/// A line may have this many bytes; a report has at most some 3 MB.
pub(super) const LINE_BYTES: usize = 16 * 1024 * 1024;

const EVENT: &str = "event";

/// The kind of a record that an earlier version deferred, and the queue of the template that deferred records go to.
const REPORT_DEFERRED: &str = "report_deferred";
const DEFERRED_QUEUE: &str = "DeferredReports";

/// Checksum and space.
const HEAD_BYTES: usize = 9;

/// An event that the bus accepted, for one queue.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct QueuedEvent {
    /// The queue's name in the template.
    pub(crate) queue: String,
    /// The event, as a consumer reads it.
    pub(crate) event: Value,
}

/// Why a line is not a valid event.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    #[error("the line does not fit its checksum")]
    Checksum,
    #[error("the line is larger than any record")]
    TooLarge,
    #[error("the line can't be read")]
    Json(#[from] Unreadable),
    #[error("the record's kind is unknown")]
    Kind,
    /// Without the parser's message, which may contain data of the record.
    #[error("the record has an unknown shape")]
    Shape,
}

/// The line of an event, with the line end.
pub(super) fn line_of(queued: &QueuedEvent) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Fields<'a> {
        kind: &'static str,
        queue: &'a str,
        event: &'a Value,
    }
    let mut line = b"00000000 ".to_vec();
    serde_json::to_writer(&mut line, &Fields { kind: EVENT, queue: &queued.queue, event: &queued.event })?;
    let checksum = format!("{:08x}", crc32fast::hash(&line[HEAD_BYTES..]));
    line[..checksum.len()].copy_from_slice(checksum.as_bytes());
    line.push(b'\n');
    Ok(line)
}

/// The event in a line, with or without the line end: the checksum proves that it is complete.
pub(super) fn event_in(line: &[u8]) -> Result<QueuedEvent, LineError> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let (head, text) = line.split_at_checked(HEAD_BYTES).ok_or(LineError::Checksum)?;
    if head != format!("{:08x} ", crc32fast::hash(text)).as_bytes() {
        return Err(LineError::Checksum);
    }
    let Value::Object(mut record) = deep::read(text)? else { return Err(LineError::Kind) };
    match record.remove("kind") {
        Some(kind) if kind == EVENT => match (record.remove("queue"), record.remove("event")) {
            (Some(Value::String(queue)), Some(event @ Value::Object(_))) => Ok(QueuedEvent { queue, event }),
            _ => Err(LineError::Shape),
        },
        Some(kind) if kind == REPORT_DEFERRED => {
            let detail = packing::detail_of(Value::Object(record));
            let event = json!({ "detail-type": "ReportDeferred", "detail": detail });
            Ok(QueuedEvent { queue: DEFERRED_QUEUE.to_owned(), event })
        }
        _ => Err(LineError::Kind),
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use shared::defer::Deferred;
    use shared::model::{DeliveryKey, Report};

    use super::*;

    fn line(text: &str) -> Vec<u8> {
        format!("{:08x} {text}\n", crc32fast::hash(text.as_bytes())).into_bytes()
    }

    fn event() -> QueuedEvent {
        let event = json!({"detail-type": "AlertRaised", "detail": {"message": "a\nb\u{2028}", "deep": [[1.5], null]}});
        QueuedEvent { queue: "Notices".to_owned(), event }
    }

    #[test]
    fn an_event_comes_back_as_it_was_on_one_line() {
        let line = line_of(&event()).unwrap();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(event_in(&line).unwrap(), event());
        assert_eq!(event_in(line.strip_suffix(b"\n").unwrap()).unwrap(), event());
    }

    #[test]
    fn a_record_of_an_earlier_version_is_read_as_the_event_that_replay_reads() {
        let key = DeliveryKey::named("api", b"key");
        let mut report = Report::new(key, "api", "boom".to_owned(), Utc::now());
        report.context.insert("a".to_owned(), (1..125).fold(json!([]), |inner, _| json!([inner])));
        let QueuedEvent { queue, event } =
            event_in(&line(&json!({"kind": "report_deferred", "report": &report}).to_string())).unwrap();
        assert_eq!(queue, "DeferredReports");
        assert_eq!(replay::message::records(&event.to_string()).unwrap(), [Deferred::from(report)]);
    }

    #[test]
    fn the_checksum_detects_a_torn_or_changed_line() {
        let whole = line_of(&event()).unwrap();
        for end in 0..whole.len() - 1 {
            assert!(matches!(event_in(&whole[..end]), Err(LineError::Checksum)), "cut at {end}");
        }
        for at in 0..whole.len() - 1 {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            assert!(matches!(event_in(&changed), Err(LineError::Checksum)), "changed at {at}");
        }
        assert!(event_in(&[0; 4096]).is_err());
    }

    #[test]
    fn other_lines_are_refused() {
        for text in [
            "",
            "{",
            "null",
            "[]",
            "{}",
            r#"{"kind": "else"}"#,
            r#"{"kind": 1}"#,
            r#"{"kind": "event"}"#,
            r#"{"kind": "event", "queue": "Notices"}"#,
            r#"{"kind": "event", "queue": 1, "event": {}}"#,
            r#"{"kind": "event", "queue": "Notices", "event": []}"#,
            &"[".repeat(100_000),
        ] {
            let refused = event_in(&line(text));
            assert!(!matches!(refused, Ok(_) | Err(LineError::Checksum)), "{text:.50}: {refused:?}");
        }
    }
}
