//! Reports: every field that a client sets.

use chrono::DateTime;
use serde_json::json;

use super::super::Redactor;
use crate::model::{DeliveryKey, Report, UpstreamGroup, UserKey};

#[test]
fn no_field_of_a_report_keeps_a_secret() {
    let secret = "ghp_16C7e42F292c6912E7710c838347Ae178B4a";
    let text = || Some(format!("x {secret}"));
    let mut report = Report {
        title: text(),
        error_type: text(),
        stack: text(),
        crash_frame: text(),
        client_fingerprint: vec![secret.to_owned()],
        application: secret.to_owned(),
        environment: secret.to_owned(),
        release: text(),
        endpoint: text(),
        ..Report::new(DeliveryKey::named("api", b"1"), secret, secret.to_owned(), DateTime::UNIX_EPOCH)
    };
    report.context.insert(secret.to_owned(), json!({"password": "hunter2", "a": [secret]}));
    let redacted = serde_json::to_string(&Redactor::default().report(report)).unwrap();
    assert!(!redacted.contains(secret) && !redacted.contains("hunter2"), "{redacted}");
}

#[test]
fn keys_of_a_report_and_ordinary_fields_stay() {
    let mut report = Report {
        error_type: Some("jwt.InvalidTokenError".into()),
        crash_frame: Some("auth.token:refresh".into()),
        release: Some("shop@1.2.3.4".into()),
        endpoint: Some("GET /orders/4711?page=2".into()),
        application: "shop".into(),
        user: Some(UserKey::of("shop", "a@b.io")),
        client_fingerprint: vec!["{{ default }}".into(), "session:create".into()],
        upstream_group: Some(UpstreamGroup { system: "sentry".into(), id: "4711".into() }),
        ..Report::new(DeliveryKey::named("api", b"1"), "api", "boom".into(), DateTime::UNIX_EPOCH)
    };
    report.context.insert("tags".into(), json!([["browser", "Chrome 120"], ["level", "error"]]));
    assert_eq!(Redactor::default().report(report.clone()), report);
}
