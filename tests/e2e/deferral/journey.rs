//! The whole journey on Lambda: `report-error` without its database, bus, queue, `replay`, incident.

use harness::Database;
use harness::lambda::{KEY, Lambda};
use harness::moto::Moto;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::bus::{moto, replay, waiting};
use super::occurrences;

const ROUTE: &str = "/api/autonomous/error";
const NOWHERE: &str = "postgresql://agent:nothing@127.0.0.1:9/none?sslmode=disable";

/// `report-error` with this database, a bus at this address, and this deadline in milliseconds for both.
async fn report_error(database: &str, bus: &str, budget_ms: &str) -> Lambda {
    let variables = [
        ("STORE_BUDGET_MS", budget_ms),
        ("PUBLISH_BUDGET_MS", budget_ms),
        ("DATABASE_URL", database),
        ("INGEST_API_KEY", KEY),
        ("EVENT_BUS_NAME", "watchkeeper"),
        ("AWS_ENDPOINT_URL", bus),
        ("AWS_REGION", Moto::REGION),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ];
    Lambda::start("report-error", &variables).await
}

fn error(message: &str) -> String {
    json!({"error": {"message": message}}).to_string()
}

#[tokio::test]
async fn a_report_without_a_database_is_deferred_and_stored_later() {
    let (database, moto) = (Database::migrated().await, moto().await);
    let function = report_error(NOWHERE, moto.url(), "5000").await;
    let (status, answer) = function.request("POST", ROUTE, Some(&error("data loss")), false).await;
    assert_eq!((status, &answer["deferred"]), (202, &json!(true)), "{answer}");
    let key = answer["report_id"].as_str().unwrap().to_owned();
    assert_eq!(replay(&database).await.invoke(waiting(&moto).await).await.unwrap(), json!({"batchItemFailures": []}));
    assert_eq!(occurrences(&database, "data loss").await, 1);
    let stored: String = database.value("SELECT delivery_key FROM inbound_deliveries").await;
    assert_eq!(stored, key, "the answer names the delivery");
}

#[tokio::test]
async fn a_database_that_hangs_exceeds_the_deadline_and_nothing_counts_twice() {
    let (database, moto) = (Database::migrated().await, moto().await);
    let function = report_error(&database.url(), moto.url(), "3000").await;
    // The first login may exceed the deadline of a report.
    while function.request("POST", ROUTE, Some(&error("warm up")), false).await.0 != 200 {}
    let other = database.client();
    other.batch_execute("BEGIN; LOCK TABLE inbound_deliveries IN EXCLUSIVE MODE").await.unwrap();
    let (status, answer) = function.request("POST", ROUTE, Some(&error("boom")), false).await;
    assert_eq!(status, 202, "{answer}");
    other.batch_execute("COMMIT").await.unwrap();
    // The statement that exceeded the deadline may have been committed or not.
    let batch = waiting(&moto).await;
    for _ in 0..2 {
        replay(&database).await.invoke(batch.clone()).await.unwrap();
    }
    assert_eq!(occurrences(&database, "boom").await, 1);
}

#[tokio::test]
async fn without_database_and_bus_or_with_a_report_that_fits_no_event_the_answer_is_503() {
    let moto = moto().await;
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let noise: String = (0..20_000).map(|_| uuid::Uuid::new_v4().simple().to_string()).collect();
    for (bus, message) in [
        ("http://127.0.0.1:9".to_owned(), "boom".to_owned()),
        (format!("http://{}", hanging.local_addr().unwrap()), "boom".to_owned()),
        (moto.url().to_owned(), noise),
    ] {
        let function = report_error(NOWHERE, &bus, "1000").await;
        let (status, answer) = function.request("POST", ROUTE, Some(&error(&message)), false).await;
        assert_eq!((status, &answer["error"]["code"]), (503, &json!("unavailable")), "{bus}");
    }
    assert_eq!(moto.messages("deferred").await, Vec::<Value>::new());
}
