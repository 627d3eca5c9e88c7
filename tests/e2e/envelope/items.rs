//! Each kind of item: reports, check-ins, and what is only counted.

use serde_json::json;

use super::{Sdk, envelope, event};

#[tokio::test]
async fn every_other_kind_of_item_is_accepted_and_counted() {
    let sdk = Sdk::start().await;
    let kinds = [
        "transaction",
        "session",
        "sessions",
        "client_report",
        "attachment",
        "profile",
        "profile_chunk",
        "replay_event",
        "replay_recording",
        "replay_video",
        "feedback",
        "user_report",
        "statsd",
        "metric_buckets",
        "log",
        "span",
        "something_of_next_year",
    ];
    for kind in kinds {
        let answer = sdk.envelope(envelope(&[(kind, "any payload at all"), (kind, "")])).await;
        assert_eq!((answer.status, answer.text("id").len()), (200, 32), "{kind}: {answer:?}");
    }
    let old_transaction = json!({"type": "transaction", "event_id": "a".repeat(32)}).to_string();
    assert_eq!(sdk.envelope(envelope(&[("event", &old_transaction)])).await.status, 200);
    assert_eq!(sdk.incidents().await, 0);
    let database = sdk.stack.stop().await;
    let sql = "SELECT kind, sum(count)::bigint FROM intake_counters WHERE source = 'sentry-envelope' GROUP BY kind";
    let counted = database.rows(sql, &[]).await;
    let count = |kind: &str| counted.iter().find(|row| row.get::<_, &str>(0) == kind).map(|row| row.get::<_, i64>(1));
    for kind in kinds {
        let (name, times) = match kind {
            "transaction" => (kind, 3),
            "something_of_next_year" => ("unknown", 2),
            _ => (kind, 2),
        };
        assert_eq!(count(name), Some(times), "{kind}");
    }
}

#[tokio::test]
async fn a_check_in_is_stored() {
    let sdk = Sdk::start().await;
    for (status, duration) in [("in_progress", None), ("ok", Some(1.5))] {
        let check_in = json!({
            "check_in_id": "83a7c03ed0a04e1b97e2e3b18d38f244", "monitor_slug": "nightly", "status": status,
            "duration": duration, "environment": "live", "release": "1.0",
            "monitor_config": {"schedule": {"type": "crontab", "value": "0 0 * * *"}, "timezone": "UTC"},
        });
        let answer = sdk.envelope(envelope(&[("check_in", &check_in.to_string())])).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let sql = "SELECT application, environment, monitor_slug, check_in_id, status, duration_ms,
        config #>> '{schedule,value}' FROM check_ins";
    let rows = sdk.stack.database.rows(sql, &[]).await;
    assert_eq!((rows.len(), rows[0].get::<_, i64>(0)), (1, sdk.project));
    let texts: Vec<&str> = [1, 2, 3, 4, 6].iter().map(|column| rows[0].get(*column)).collect();
    assert_eq!(texts, ["live", "nightly", "83a7c03ed0a04e1b97e2e3b18d38f244", "ok", "0 0 * * *"]);
    assert_eq!(rows[0].get::<_, Option<i64>>(5), Some(1_500));
    assert_eq!(sdk.incidents().await, 0);
}

#[tokio::test]
async fn a_check_in_stores_no_secrets() {
    let sdk = Sdk::start().await;
    let check_in = json!({
        "monitor_slug": "mail to ann@example.com", "status": "ok", "environment": "of bob@example.com",
        "monitor_config": {"owner": "user:carl@example.com", "api_key": "planted", "timezone": "UTC"},
    });
    assert_eq!(sdk.envelope(envelope(&[("check_in", &check_in.to_string())])).await.status, 200);
    let sql = "SELECT environment, monitor_slug, config ->> 'owner', config ->> 'api_key', config ->> 'timezone'
        FROM check_ins";
    let rows = sdk.stack.database.rows(sql, &[]).await;
    let texts: Vec<&str> = (0..5).map(|column| rows[0].get(column)).collect();
    assert_eq!(texts, ["of [email]", "mail to [email]", "user:[email]", "[token]", "UTC"]);
}

#[tokio::test]
async fn an_event_is_stored_even_if_the_check_in_beside_it_can_not_be() {
    let sdk = Sdk::start().await;
    sdk.stack.database.execute("ALTER TABLE check_ins RENAME TO missing").await;
    let check_in = json!({"monitor_slug": "nightly", "status": "error"}).to_string();
    let answer = sdk.envelope(envelope(&[("check_in", &check_in), ("event", &event("beside it").to_string())])).await;
    assert_ne!(answer.status, 200);
    assert_eq!(sdk.incidents().await, 1);
}

#[tokio::test]
async fn invalid_check_ins_are_refused_by_name_or_stored_without_the_invalid_fields() {
    let sdk = Sdk::start().await;
    for (check_in, status) in [
        (json!({"monitor_slug": "a", "status": "ok", "duration": "long", "environment": 7, "check_in_id": []}), 200),
        (json!({"monitor_slug": "b", "status": "ok", "duration": -1, "monitor_config": 1}), 200),
        (json!({"monitor_slug": "c", "status": "ok", "duration": 1e300, "check_in_id": "0".repeat(32)}), 200),
        (json!({"monitor_slug": "d".repeat(5_000), "status": "error", "environment": "\u{0}"}), 200),
        (json!({"monitor_slug": "e", "status": "splendid"}), 400),
        (json!({"monitor_slug": null, "status": "ok"}), 400),
        (json!({"status": "ok"}), 400),
        (json!([]), 400),
    ] {
        let answer = sdk.envelope(envelope(&[("check_in", &check_in.to_string())])).await;
        assert_eq!(answer.status, status, "{check_in:.100}: {answer:?}");
    }
    assert_eq!(sdk.stack.database.count("check_ins").await, 4);
}

#[tokio::test]
async fn a_large_attachment_does_not_lose_the_event_beside_it() {
    for event_first in [true, false] {
        let sdk = Sdk::start().await;
        let error = event("with a screenshot").to_string();
        let screenshot = "\u{1}".repeat(2_000_000);
        let mut items = [("event", error.as_str()), ("attachment", screenshot.as_str())];
        if !event_first {
            items.reverse();
        }
        let answer = sdk.envelope(envelope(&items)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(sdk.incidents().await, 1);
    }
}

#[tokio::test]
async fn several_events_in_one_envelope_are_several_reports() {
    let sdk = Sdk::start().await;
    let events = ["first thing", "second thing", "third thing"].map(|message| event(message).to_string());
    let items: Vec<_> = events.iter().map(|event| ("event", event.as_str())).collect();
    assert_eq!(sdk.envelope(envelope(&items)).await.status, 200);
    assert_eq!(sdk.incidents().await, 3);
}

#[tokio::test]
async fn an_event_that_is_not_json_loses_only_itself() {
    let sdk = Sdk::start().await;
    let good = event("whole").to_string();
    let answer = sdk.envelope(envelope(&[("event", "{broken"), ("event", &good)])).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text("detail").contains("item 1"), "{answer:?}");
    assert_eq!(sdk.incidents().await, 1);
}
