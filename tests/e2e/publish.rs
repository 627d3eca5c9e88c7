//! Events of new incidents and changed services are published before the caller has its answer.

use axum::Router;
use axum::routing::post;
use harness::lambda::{KEY, Lambda};
use harness::moto::Moto;
use harness::{Behaviour, Database, Target, TestStack};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const ROUTE: &str = "/api/autonomous/error";
const ERROR: &str = r#"{"error": {"message": "data loss"}}"#;

/// A function with the bus at this address, and a publish budget that is enough on a busy machine.
async fn lambda(function: &str, database: &Database, endpoint: &str) -> Lambda {
    lambda_within(function, database, endpoint, "5000").await
}

async fn lambda_within(function: &str, database: &Database, endpoint: &str, budget_ms: &str) -> Lambda {
    Lambda::start(
        function,
        &[
            ("DATABASE_URL", &database.url()),
            ("INGEST_API_KEY", KEY),
            ("EVENT_BUS_NAME", "watchkeeper"),
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_REGION", Moto::REGION),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("PUBLISH_BUDGET_MS", budget_ms),
        ],
    )
    .await
}

/// The one event in the outbox: published, attempts, error.
async fn outbox(database: &Database) -> (bool, i32, Option<String>) {
    let rows = database.rows("SELECT published_at IS NOT NULL, attempts, last_error FROM event_outbox", &[]).await;
    assert_eq!(rows.len(), 1);
    (rows[0].get(0), rows[0].get(1), rows[0].get(2))
}

#[tokio::test]
async fn a_new_incident_is_published_once_and_marked_in_the_outbox() {
    let (database, moto) = (Database::migrated().await, Moto::start().await);
    let lambda = lambda("report-error", &database, moto.url()).await;
    let (status, answer) = lambda.request("POST", ROUTE, Some(ERROR), false).await;
    assert_eq!(status, 200);
    let events = moto.events().await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!((&events[0]["source"], &events[0]["detail-type"]), (&json!("watchkeeper"), &json!("IncidentOpened")));
    assert_eq!(events[0]["detail"]["incident_id"], answer["incident_id"]);
    assert_eq!(events[0]["detail"]["severity"], "CRITICAL");
    assert_eq!(outbox(&database).await, (true, 1, None));
    lambda.request("POST", ROUTE, Some(ERROR), false).await;
    assert_eq!(moto.events().await.len(), 0, "one more occurrence is no new incident");
}

#[tokio::test]
async fn an_outage_is_published_as_a_change_an_incident_and_an_alert() {
    let (target, moto) = (Target::start(Behaviour::Status(500)).await, Moto::start().await);
    let stack = TestStack::start().await;
    stack.apply(&[target.spec("shop", "production")]).await;
    let lambda = lambda("probe", &stack.database, moto.url()).await;
    lambda.invoke(super::lambda::scheduled_event()).await.unwrap();
    let mut published: Vec<String> =
        moto.events().await.iter().map(|event| event["detail-type"].as_str().unwrap().to_owned()).collect();
    published.sort();
    assert_eq!(published, ["AlertRaised", "IncidentOpened", "ServiceStateChanged"]);
    assert_eq!(stack.database.count("event_outbox WHERE published_at IS NULL").await, 0);
}

/// A bus that gives every request this answer.
pub(crate) async fn bus(answer: Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", post(move || async move { axum::Json(answer) }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[tokio::test]
async fn an_entry_that_the_bus_refuses_stays_in_the_outbox_with_its_error() {
    let database = Database::migrated().await;
    let failing = json!({
        "FailedEntryCount": 1,
        "Entries": [{"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}],
    });
    let lambda = lambda("report-error", &database, &bus(failing).await).await;
    assert_eq!(lambda.request("POST", ROUTE, Some(ERROR), false).await.0, 200);
    assert_eq!(outbox(&database).await, (false, 1, Some("ThrottlingException: slow down".to_owned())));
}

#[tokio::test]
async fn a_bus_that_is_down_or_hangs_loses_no_incident() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hanging = format!("http://{}", silent.local_addr().unwrap());
    for endpoint in ["http://127.0.0.1:9".to_owned(), hanging] {
        let database = Database::migrated().await;
        let lambda = lambda_within("report-error", &database, &endpoint, "200").await;
        assert_eq!(lambda.request("POST", ROUTE, Some(ERROR), false).await.0, 200);
        assert_eq!(database.count("incidents").await, 1);
        let (published, attempts, error) = outbox(&database).await;
        assert_eq!((published, attempts), (false, 1));
        assert!(error.unwrap().contains("the bus"), "{endpoint}");
    }
}

#[tokio::test]
async fn without_a_bus_events_wait_in_the_outbox() {
    let stack = TestStack::start().await;
    stack.report_ok(json!({"error": {"message": "boom"}})).await;
    assert_eq!(outbox(&stack.database).await, (false, 0, None));
}
