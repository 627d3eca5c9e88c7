//! A line of the journal: the checksum of a JSON document, and the document. Pure.
//!
//! `89abcdef {"kind":"report_deferred","report":{…}}`: eight hexadecimal digits of the CRC-32 of what follows the space.
//! The kind leaves room for what else the journal will hold.

use serde::Serialize;
use serde_json::Value;
use shared::defer::json;
use shared::model::Report;

/// A line may have this many bytes; a report has at most some 3 MB.
pub(super) const LINE_BYTES: usize = 16 * 1024 * 1024;

/// The kind of a deferred report.
const REPORT_DEFERRED: &str = "report_deferred";

/// Checksum and space.
const HEAD_BYTES: usize = 9;

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
    #[error("the report has an unknown shape")]
    Shape,
}

/// The line of a deferred report, its end included.
pub(super) fn line_of(report: &Report) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Record<'a> {
        kind: &'static str,
        report: &'a Report,
    }
    let mut line = b"00000000 ".to_vec();
    serde_json::to_writer(&mut line, &Record { kind: REPORT_DEFERRED, report })?;
    let checksum = format!("{:08x}", crc32fast::hash(&line[HEAD_BYTES..]));
    line[..checksum.len()].copy_from_slice(checksum.as_bytes());
    line.push(b'\n');
    Ok(line)
}

/// The report in a line, whether or not its end is there: what fits its checksum is whole.
pub(super) fn report_in(line: &[u8]) -> Result<Report, LineError> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let (head, text) = line.split_at_checked(HEAD_BYTES).ok_or(LineError::Checksum)?;
    if head != format!("{:08x} ", crc32fast::hash(text)).as_bytes() {
        return Err(LineError::Checksum);
    }
    let mut record = json::read(text)?;
    if record["kind"] != REPORT_DEFERRED {
        return Err(LineError::Kind);
    }
    let report = record.get_mut("report").map(Value::take).unwrap_or_default();
    serde_json::from_value(report).map_err(|_| LineError::Shape)
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use serde_json::json;
    use shared::model::DeliveryKey;

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
            let line = line_of(&report).unwrap();
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            assert_eq!(report_in(&line).unwrap(), report);
            assert_eq!(report_in(line.strip_suffix(b"\n").unwrap()).unwrap(), report);
        }
    }

    #[test]
    fn a_torn_or_changed_line_is_known_by_its_checksum() {
        let whole = line_of(&report("boom")).unwrap();
        for end in 0..whole.len() - 1 {
            assert!(matches!(report_in(&whole[..end]), Err(LineError::Checksum)), "cut at {end}");
        }
        for at in 0..whole.len() - 1 {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            assert!(matches!(report_in(&changed), Err(LineError::Checksum)), "changed at {at}");
        }
        assert!(report_in(&[0; 4096]).is_err());
    }

    #[test]
    fn a_line_of_anything_else_is_no_report() {
        for text in [
            "",
            "{",
            "null",
            "[]",
            "{}",
            r#"{"kind": "else"}"#,
            r#"{"kind": "report_deferred"}"#,
            r#"{"kind": "report_deferred", "report": []}"#,
            r#"{"kind": "report_deferred", "report": {"message": 1}}"#,
            &"[".repeat(100_000),
        ] {
            let refused = report_in(&line(text));
            assert!(!matches!(refused, Ok(_) | Err(LineError::Checksum)), "{text:.50}: {refused:?}");
        }
    }
}
