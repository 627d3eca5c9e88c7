use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::*;

/// The snapshots: one file per event (and per shape of it), as it is on the bus.
fn samples() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/events/samples");
    let mut samples: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap()))
        .collect();
    samples.sort();
    samples
}

#[test]
fn each_event_has_a_sample() {
    let named: BTreeSet<String> =
        samples().into_iter().map(|(name, _)| name.split('.').next().unwrap().to_owned()).collect();
    assert_eq!(named, Event::TYPES.map(str::to_owned).into());
}

#[test]
fn each_sample_is_read_and_written_as_it_is() {
    for (name, text) in samples() {
        let read = Event::read(&text).unwrap().unwrap();
        let written = read.event.with_id(read.id).unwrap();
        let again = json!({"detail-type": written.detail_type, "detail": written.detail});
        assert_eq!(again, serde_json::from_str::<Value>(&text).unwrap(), "{name}");
    }
}

#[test]
fn an_event_of_the_version_before_is_read_by_its_subject() {
    let id = "01939b1e-0000-7000-8000-000000000008";
    for (name, detail) in [
        (
            "IncidentResolved",
            json!({"incident_id": "INC-1", "application": "shop", "environment": "test",
            "resolved_at": "2026-11-24T00:00:00Z"}),
        ),
        (
            "AlertRaised",
            json!({"alert_id": id, "service": "shop", "environment": "test", "alert_type": "service_down",
            "severity": "HIGH", "message": "m"}),
        ),
        (
            "AlertResolved",
            json!({"alert_id": id, "service": "shop", "environment": "test",
            "resolved_at": "2026-11-24T00:00:00Z"}),
        ),
        (
            "AlertEscalated",
            json!({"reason": "severity", "incident_id": "INC-1", "application": "shop",
            "environment": "test", "severity": "HIGH", "escalated_at": "2026-11-24T00:00:00Z"}),
        ),
    ] {
        let mut message = json!({"detail-type": name, "detail": detail});
        message["detail"]["version"] = json!(1);
        message["detail"]["id"] = json!(id);
        assert!(Event::read(&message.to_string()).unwrap().is_some(), "{name}");
    }
}

#[test]
fn an_event_without_one_of_its_fields_is_incomplete() {
    let optional = ["incident_id", "records", "records_gzip", "version", "id"];
    for (name, text) in samples() {
        let sample: Value = serde_json::from_str(&text).unwrap();
        for field in sample["detail"].as_object().unwrap().keys() {
            let is_of_alert = sample["detail"].get("alert_id").is_some();
            if optional.contains(&field.as_str()) && (field != "incident_id" || is_of_alert) {
                continue;
            }
            let mut damaged = sample.clone();
            damaged["detail"].as_object_mut().unwrap().remove(field);
            assert!(serde_json::from_str::<Event>(&damaged.to_string()).is_err(), "{name} without {field}");
        }
    }
}

#[test]
fn another_version_is_refused_and_an_unknown_event_is_left_to_others() {
    let mut event: Value = serde_json::from_str(&samples()[0].1).unwrap();
    event["detail"]["version"] = json!(2);
    assert!(matches!(Event::read(&event.to_string()), Err(EventError::Version { found: 2, .. })));
    event["detail-type"] = json!("PatternFound");
    assert_eq!(Event::read(&event.to_string()).unwrap(), None);
    for damaged in
        ["", "{}", "[]", r#"{"detail-type": "IncidentOpened"}"#, r#"{"detail-type": "IncidentOpened", "detail": 1}"#]
    {
        assert!(matches!(Event::read(damaged), Err(EventError::Envelope(_))), "{damaged}");
    }
}

#[test]
fn a_row_without_its_subject_is_not_complete() {
    for detail_type in Event::TYPES.into_iter().filter(|name| !["ServiceStateChanged", "ReportDeferred"].contains(name))
    {
        let row = PendingEvent {
            id: Uuid::nil(),
            detail_type: detail_type.to_owned(),
            detail: json!({
                "reason": "severity", "playbook": "p", "attempt": 1, "outcome": "failed", "message": "m",
            }),
            at: DateTime::UNIX_EPOCH,
            incident: None,
            alert: None,
            attempts: 0,
        };
        assert!(matches!(complete(&row), Err(IncompleteEvent::SubjectDeleted)), "{detail_type}");
        let unknown = PendingEvent { detail_type: "PatternFound".to_owned(), ..row };
        assert!(matches!(complete(&unknown), Err(IncompleteEvent::UnknownType(_))));
    }
}
