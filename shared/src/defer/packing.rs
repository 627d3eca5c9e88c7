//! Records as the detail of an event `ReportDeferred`, and back. Pure.
//!
//! Plain JSON where it fits, so that a person can read what waits in a queue; else gzip in base64. Several records share
//! an event as far as they fit. Details of before, which hold bare reports, are read too.
//!
//! Users: `bus`, `replay`.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::json::{self as nesting, Unreadable};
use super::{DeferError, Deferred};
use crate::events::{self, Event, OutboxEvent, ReportDeferred};
use crate::model::Report;

/// What an entry of `PutEvents` may have; it would be 256 kB, the event's frame and name included.
const ENTRY_BYTES: usize = 200_000;
/// The detail's own frame: version, id and the names.
const FRAME_BYTES: usize = 200;
/// What was compressed may become this large again; a report has at most some 3 MB.
const UNPACKED_BYTES: usize = 16 * 1024 * 1024;
/// Deeper JSON than this is packed even when it is small: the services on its way read it too.
const PLAIN_LEVELS: usize = 32;

/// Why a detail gives no records.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It is not of the version that this program knows.
    #[error("the detail is not of version {}", events::VERSION)]
    Version,
    /// It holds no records.
    #[error("the detail holds no records")]
    Missing,
    /// A record is not of the known shape. The parser's own words are left out: they show what it holds.
    #[error("a record has an unknown shape")]
    Shape,
    /// What is packed can't be unpacked.
    #[error("the packed records can't be unpacked")]
    Packed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The events that hold these records, as few as fit.
///
/// # Errors
/// When one of the records does not fit into an event by itself.
pub(crate) fn pack(records: &[Deferred], now: DateTime<Utc>) -> Result<Vec<OutboxEvent>, DeferError> {
    match (pack_together(records, now), records.len()) {
        (Ok(event), _) => Ok(vec![event]),
        (Err(error), 0 | 1) => Err(error),
        (Err(_), count) => {
            let (first, second) = records.split_at(count / 2);
            let mut events = pack(first, now)?;
            events.extend(pack(second, now)?);
            Ok(events)
        }
    }
}

fn pack_together(records: &[Deferred], now: DateTime<Utc>) -> Result<OutboxEvent, DeferError> {
    let unavailable = |error: Box<dyn std::error::Error + Send + Sync>| DeferError::Unavailable(error);
    let limit = ENTRY_BYTES - FRAME_BYTES;
    let text = serde_json::to_vec(records).map_err(|error| unavailable(error.into()))?;
    if text.len() <= limit && nesting::levels(&text) <= PLAIN_LEVELS {
        let records = Some(serde_json::to_value(records).map_err(|error| unavailable(error.into()))?);
        return event(ReportDeferred { records, records_gzip: None }, now);
    }
    if text.len() > UNPACKED_BYTES {
        return Err(DeferError::TooLarge { bytes: text.len(), limit: UNPACKED_BYTES });
    }
    let packed = compress(&text).map_err(|error| unavailable(error.into()))?;
    if packed.len() > limit {
        return Err(DeferError::TooLarge { bytes: packed.len(), limit });
    }
    event(ReportDeferred { records: None, records_gzip: Some(packed) }, now)
}

fn event(deferred: ReportDeferred, now: DateTime<Utc>) -> Result<OutboxEvent, DeferError> {
    Event::ReportDeferred(deferred).into_outbox(now).map_err(|error| DeferError::Unavailable(error.into()))
}

/// The detail that holds one record, as it is written, however large: for what was kept outside of a bus.
#[must_use]
pub fn detail_of(record: Value) -> Value {
    json!({ "version": events::VERSION, "records": [record] })
}

fn compress(text: &[u8]) -> std::io::Result<String> {
    // The fastest: a caller waits for an answer.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text)?;
    Ok(BASE64.encode(encoder.finish()?))
}

/// The records that an event's detail holds.
///
/// # Errors
/// When it is not what was packed: never to be tried again.
pub fn unpack(mut detail: Value) -> Result<Vec<Deferred>, UnpackError> {
    // Not by index: that panics where there is no object.
    let mut take = |name: &str| detail.get_mut(name).map(Value::take);
    if take("version").is_none_or(|version| version != events::VERSION) {
        return Err(UnpackError::Version);
    }
    let mut list = |plain: &str, packed: &str| match take(packed) {
        Some(Value::String(packed)) => decompress(&packed).map(Some),
        _ => Ok(take(plain)),
    };
    if let Some(records) = list("records", "records_gzip")? {
        return serde_json::from_value(records).map_err(|_| UnpackError::Shape);
    }
    // What was deferred before there were other records than reports.
    let reports = list("reports", "reports_gzip")?.ok_or(UnpackError::Missing)?;
    let reports: Vec<Report> = serde_json::from_value(reports).map_err(|_| UnpackError::Shape)?;
    Ok(reports.into_iter().map(Deferred::from).collect())
}

fn decompress(packed: &str) -> Result<Value, UnpackError> {
    let packed = BASE64.decode(packed).map_err(|error| UnpackError::Packed(error.into()))?;
    let mut text = Vec::new();
    let most = UNPACKED_BYTES as u64 + 1;
    GzDecoder::new(packed.as_slice())
        .take(most)
        .read_to_end(&mut text)
        .map_err(|error| UnpackError::Packed(error.into()))?;
    if text.len() > UNPACKED_BYTES {
        return Err(UnpackError::Packed("it becomes too large".into()));
    }
    nesting::read(&text).map_err(|error: Unreadable| UnpackError::Packed(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DeliveryKey;

    fn bare(message: &str) -> Report {
        Report::new(DeliveryKey::named("api", message.as_bytes()), "api", message.to_owned(), Utc::now())
    }

    fn report(message: &str) -> Deferred {
        bare(message).into()
    }

    /// Text without any pattern, in letters of base64, which packing can't make smaller.
    fn noise(bytes: usize) -> String {
        BASE64.encode(random().take(bytes * 3 / 4).collect::<Vec<_>>())
    }

    fn random() -> impl Iterator<Item = u8> {
        use sha2::Digest as _;
        (0_u64..).flat_map(|block| sha2::Sha256::digest(block.to_le_bytes()))
    }

    fn nested(levels: usize) -> Value {
        (1..levels).fold(json!([]), |inner, _| json!([inner]))
    }

    #[test]
    fn what_is_packed_is_unpacked_as_it_was() {
        let mut deep = bare("deep");
        deep.context.insert("a".to_owned(), nested(125));
        for (records, is_packed) in [
            (vec![report("boom")], false),
            (vec![report("boom"), report("bang \u{1F9E8} \u{202e}")], false),
            (vec![report(&"x".repeat(1_000_000))], true),
            (vec![report(&random().take(120_000).map(|byte| format!("{byte:02x}")).collect::<String>())], true),
            (vec![deep.into()], true),
        ] {
            let events = pack(&records, Utc::now()).unwrap();
            assert_eq!(events.len(), 1);
            let text = events[0].detail.to_string();
            assert!(text.len() < ENTRY_BYTES, "{}", text.len());
            assert_eq!((&*events[0].detail_type, text.contains("records_gzip")), ("ReportDeferred", is_packed));
            assert_eq!(unpack(nesting::read(text.as_bytes()).unwrap()).unwrap(), records);
        }
    }

    #[test]
    fn reports_that_do_not_fit_together_travel_apart() {
        let reports: Vec<Deferred> = (0..5).map(|number| report(&format!("{number}{}", noise(190_000)))).collect();
        let events = pack(&reports, Utc::now()).unwrap();
        assert!(events.iter().all(|event| event.detail.to_string().len() < ENTRY_BYTES));
        let ids: std::collections::BTreeSet<_> = events.iter().map(|event| event.id).collect();
        assert_eq!(ids.len(), events.len());
        let back: Vec<Deferred> = events.into_iter().flat_map(|event| unpack(event.detail).unwrap()).collect();
        assert_eq!(back, reports);
    }

    #[test]
    fn a_report_that_does_not_fit_is_refused_with_its_size() {
        let error = pack(&[report("small"), report(&noise(400_000))], Utc::now()).unwrap_err();
        let DeferError::TooLarge { bytes, limit } = error else { panic!("{error}") };
        assert!(bytes > 200_000 && limit < 200_000, "{bytes} {limit}");
    }

    #[test]
    fn what_was_not_packed_is_refused() {
        let good = pack(&[report("boom")], Utc::now()).unwrap().remove(0).detail;
        let with = |name: &str, value: Value| {
            let mut detail = good.clone();
            detail[name] = value;
            detail
        };
        let bomb = compress(&vec![b' '; UNPACKED_BYTES + 1]).unwrap();
        for detail in [
            Value::Null,
            json!([]),
            json!("text"),
            json!({}),
            json!({"version": 1}),
            with("version", json!(2)),
            with("version", json!("1")),
            with("version", Value::Null),
            with("records", json!({})),
            with("records", json!([{}])),
            with("records", json!([null])),
            with("records_gzip", json!("!")),
            with("records_gzip", json!("AAAA")),
            with("records_gzip", json!(BASE64.encode([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]))),
            with("records_gzip", json!(compress(b"[").unwrap())),
            with("records_gzip", json!(compress("[".repeat(100_000).as_bytes()).unwrap())),
            with("records_gzip", json!(bomb)),
        ] {
            assert!(unpack(detail.clone()).is_err(), "{detail:.100}");
        }
    }

    #[test]
    fn what_was_deferred_as_bare_reports_is_read_too() {
        let reports = vec![bare("boom"), bare("bang")];
        let packed = compress(&serde_json::to_vec(&reports).unwrap()).unwrap();
        let wanted: Vec<Deferred> = reports.iter().cloned().map(Deferred::from).collect();
        for detail in [json!({"version": 1, "reports": reports}), json!({"version": 1, "reports_gzip": packed})] {
            assert_eq!(unpack(detail).unwrap(), wanted);
        }
        for reports in [json!({}), json!([{}]), json!([null])] {
            assert!(unpack(json!({"version": 1, "reports": reports})).is_err(), "{reports}");
        }
    }
}
