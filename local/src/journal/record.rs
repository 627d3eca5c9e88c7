//! A line of the journal: the checksum of a JSON document, and the document. Pure.
//!
//! `89abcdef {"kind":"report_deferred","report":{…}}`: eight hexadecimal digits of the CRC-32 of what follows the space.
//! The kind says what it is: something that waits for the database (`report`, or `step`, `check_in`, `beat`), or an event
//! that waits for a function of ours.

use serde::Serialize;
use serde_json::Value;
use shared::defer::{Deferred, json};

/// A line may have this many bytes; a report has at most some 3 MB.
pub(super) const LINE_BYTES: usize = 16 * 1024 * 1024;

/// The kind of what is deferred (named when that was reports only), and of an event on its way.
const REPORT_DEFERRED: &str = "report_deferred";
const EVENT: &str = "event";

/// Checksum and space.
const HEAD_BYTES: usize = 9;

/// An event that the bus has taken, on its way to one queue.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct QueuedEvent {
    /// The queue's name in the template.
    pub(crate) queue: String,
    /// The event, as a consumer reads it.
    pub(crate) event: Value,
}

/// What a line holds.
#[derive(Debug, PartialEq)]
pub(super) enum Record {
    /// It waits for the database.
    Deferred(Deferred),
    /// It waits for its consumer.
    Event(QueuedEvent),
}

/// Why a line gives no record.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    #[error("the line does not fit its checksum")]
    Checksum,
    #[error("the line is larger than any record")]
    TooLarge,
    #[error("the line can't be read")]
    Json(#[from] json::Unreadable),
    #[error("the record's kind is unknown")]
    Kind,
    /// The parser's own words are left out: they show what it holds.
    #[error("the record has an unknown shape")]
    Shape,
}

/// The line of what is deferred, its end included.
pub(super) fn line_of(deferred: &Deferred) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Fields<'a> {
        kind: &'static str,
        #[serde(flatten)]
        deferred: &'a Deferred,
    }
    line(&Fields { kind: REPORT_DEFERRED, deferred })
}

/// The line of an event, its end included.
pub(super) fn line_of_event(queued: &QueuedEvent) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Fields<'a> {
        kind: &'static str,
        queue: &'a str,
        event: &'a Value,
    }
    line(&Fields { kind: EVENT, queue: &queued.queue, event: &queued.event })
}

fn line(record: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = b"00000000 ".to_vec();
    serde_json::to_writer(&mut line, record)?;
    let checksum = format!("{:08x}", crc32fast::hash(&line[HEAD_BYTES..]));
    line[..checksum.len()].copy_from_slice(checksum.as_bytes());
    line.push(b'\n');
    Ok(line)
}

/// The record in a line, whether or not its end is there: what fits its checksum is whole.
pub(super) fn record_in(line: &[u8]) -> Result<Record, LineError> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let (head, text) = line.split_at_checked(HEAD_BYTES).ok_or(LineError::Checksum)?;
    if head != format!("{:08x} ", crc32fast::hash(text)).as_bytes() {
        return Err(LineError::Checksum);
    }
    let mut record = json::read(text)?;
    let mut take = |name: &str| record.get_mut(name).map(Value::take).unwrap_or_default();
    let kind = take("kind");
    match kind.as_str() {
        Some(REPORT_DEFERRED) => {
            if let Value::Object(fields) = &mut record {
                fields.remove("kind");
            }
            serde_json::from_value(record).map(Record::Deferred).map_err(|_| LineError::Shape)
        }
        Some(EVENT) => match (take("queue"), take("event")) {
            (Value::String(queue), event @ Value::Object(_)) => Ok(Record::Event(QueuedEvent { queue, event })),
            _ => Err(LineError::Shape),
        },
        _ => Err(LineError::Kind),
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use serde_json::json;
    use shared::defer::DeferredBeat;
    use shared::model::{DeliveryKey, Report};
    use shared::store::probing::Beat;

    use super::*;

    fn report(message: &str) -> Report {
        Report::new(DeliveryKey::named("api", message.as_bytes()), "api", message.to_owned(), Utc::now())
    }

    fn line(text: &str) -> Vec<u8> {
        format!("{:08x} {text}\n", crc32fast::hash(text.as_bytes())).into_bytes()
    }

    #[test]
    fn a_report_comes_back_as_it_was_on_one_line() {
        let mut deep = report("deep");
        deep.context.insert("a".to_owned(), (1..125).fold(json!([]), |inner, _| json!([inner])));
        for report in [report("boom"), report("a\nb\r\n\u{2028}\0\u{1F9E8}"), report(""), deep] {
            let report = Deferred::from(report);
            let line = line_of(&report).unwrap();
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            let wanted = Record::Deferred(report);
            assert_eq!(record_in(&line).unwrap(), wanted);
            assert_eq!(record_in(line.strip_suffix(b"\n").unwrap()).unwrap(), wanted);
        }
    }

    #[test]
    fn a_line_says_what_it_holds_and_a_report_s_reads_as_it_always_did() {
        let report = report("boom");
        let text = json!({"kind": "report_deferred", "report": &report}).to_string();
        assert_eq!(record_in(&line(&text)).unwrap(), Record::Deferred(report.into()));
        let beat = Beat { at: Utc::now(), failed: true, message: Some("a\nb".to_owned()) };
        let beat = Deferred::Beat(DeferredBeat { token_hash: "0".repeat(64), beat });
        let line = line_of(&beat).unwrap();
        assert!(String::from_utf8_lossy(&line).contains(r#"{"kind":"report_deferred","beat":{"#), "{line:?}");
        assert_eq!(record_in(&line).unwrap(), Record::Deferred(beat));
    }

    #[test]
    fn an_event_comes_back_as_it_was_with_its_queue() {
        let event = json!({"detail-type": "AlertRaised", "detail": {"message": "a\nb", "deep": [[1.5], null]}});
        let queued = QueuedEvent { queue: "Notices".to_owned(), event };
        let line = line_of_event(&queued).unwrap();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(record_in(&line).unwrap(), Record::Event(queued));
    }

    #[test]
    fn a_torn_or_changed_line_is_known_by_its_checksum() {
        let whole = line_of(&report("boom").into()).unwrap();
        for end in 0..whole.len() - 1 {
            assert!(matches!(record_in(&whole[..end]), Err(LineError::Checksum)), "cut at {end}");
        }
        for at in 0..whole.len() - 1 {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            assert!(matches!(record_in(&changed), Err(LineError::Checksum)), "changed at {at}");
        }
        assert!(record_in(&[0; 4096]).is_err());
    }

    #[test]
    fn a_line_of_anything_else_is_no_record() {
        for text in [
            "",
            "{",
            "null",
            "[]",
            "{}",
            r#"{"kind": "else"}"#,
            r#"{"kind": "report_deferred"}"#,
            r#"{"kind": "event"}"#,
            r#"{"kind": "event", "queue": "Notices"}"#,
            r#"{"kind": "event", "queue": 1, "event": {}}"#,
            r#"{"kind": "event", "queue": "Notices", "event": []}"#,
            r#"{"kind": "report_deferred", "report": []}"#,
            r#"{"kind": "report_deferred", "report": {"message": 1}}"#,
            r#"{"kind": "report_deferred", "else": {}}"#,
            &"[".repeat(100_000),
        ] {
            let refused = record_in(&line(text));
            assert!(!matches!(refused, Ok(_) | Err(LineError::Checksum)), "{text:.50}: {refused:?}");
        }
    }
}
