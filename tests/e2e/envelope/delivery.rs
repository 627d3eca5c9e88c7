//! Deliveries are idempotent, and answered as an SDK expects.

use super::{Sdk, capture, envelope, event};

async fn occurrences(sdk: &Sdk) -> i64 {
    sdk.stack.database.value("SELECT sum(occurrences)::bigint FROM incidents").await
}

#[tokio::test]
async fn an_envelope_delivered_twice_counts_once() {
    let sdk = Sdk::start().await;
    for name in ["py-2", "node-4"] {
        let ids = [sdk.envelope(capture(name)).await, sdk.envelope(capture(name)).await].map(|answer| answer.body);
        assert_eq!(ids[0], ids[1]);
    }
    assert_eq!(sdk.incidents().await, 2);
    assert_eq!(occurrences(&sdk).await, 2);
}

#[tokio::test]
async fn the_id_of_the_envelope_identifies_an_event_without_one() {
    let sdk = Sdk::start().await;
    let id = "9ec79c33ec9942ab8353589fcb2e04dc";
    let body = format!("{{\"event_id\":\"{id}\"}}\n{{\"type\":\"event\"}}\n{{\"message\":\"x\"}}\n");
    for _ in 0..2 {
        assert_eq!(sdk.envelope(body.clone()).await.text("id"), id);
    }
    assert_eq!(occurrences(&sdk).await, 1);
}

#[tokio::test]
async fn events_without_any_id_are_all_counted() {
    let sdk = Sdk::start().await;
    let body = envelope(&[("event", r#"{"message":"x"}"#)]);
    let ids = [sdk.envelope(body.clone()).await, sdk.envelope(body).await].map(|it| it.text("id").to_owned());
    assert!(ids[0] != ids[1] && ids.iter().all(|id| id.len() == 32), "{ids:?}");
    assert_eq!((sdk.incidents().await, occurrences(&sdk).await), (1, 2));
}

#[tokio::test]
async fn the_store_and_envelope_routes_deduplicate_by_the_same_event_id() {
    let sdk = Sdk::start().await;
    let event = event("said twice");
    let answer = sdk.store(event.to_string()).await;
    assert_eq!((answer.status, answer.text("id")), (200, event["event_id"].as_str().unwrap()), "{answer:?}");
    let upper = event.to_string().to_uppercase().replace("MESSAGE", "message").replace("EVENT_ID", "event_id");
    assert_eq!(sdk.envelope(envelope(&[("event", &event.to_string())])).await.status, 200);
    assert_eq!(sdk.store(upper).await.status, 200);
    assert_eq!(occurrences(&sdk).await, 1);
}

#[tokio::test]
async fn the_same_error_twice_is_one_incident_with_two_occurrences() {
    let sdk = Sdk::start().await;
    let other = capture("py-2").replace("4785fc6015d440708a0c1093cce93cff", "4785fc6015d440708a0c1093cce93c00");
    for body in [capture("py-2").to_owned(), other] {
        assert_eq!(sdk.envelope(body).await.status, 200);
    }
    assert_eq!((sdk.incidents().await, occurrences(&sdk).await), (1, 2));
}
