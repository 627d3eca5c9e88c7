//! `replay`: batches of the queue, in Lambda's form.

use harness::Database;
use harness::lambda::Lambda;
use serde_json::{Value, json};
use shared::model::{DeliveryKey, Report};

use super::{batch, failed, occurrences, poison, report};

/// The event of the bus that holds these reports, as its queue gets it.
fn event(reports: &[Report]) -> String {
    let detail = json!({"version": 1, "id": uuid::Uuid::new_v4(), "reports": reports});
    json!({"version": "0", "detail-type": "ReportDeferred", "source": "watchkeeper", "detail": detail}).to_string()
}

async fn replay(database: &Database) -> Lambda {
    Lambda::start("replay", &[("DATABASE_URL", &database.url())]).await
}

#[tokio::test]
async fn a_poison_message_fails_alone_and_the_rest_of_its_batch_is_stored() {
    let database = Database::migrated().await;
    let (good, better) = (report("good"), report("better"));
    let another_version = event(std::slice::from_ref(&good)).replace("\"version\":1", "\"version\":99");
    let messages = [
        ("1", event(std::slice::from_ref(&good))),
        ("2", "nonsense".to_owned()),
        ("3", event(&[poison()])),
        ("4", another_version),
        ("5", event(&[]).replace("ReportDeferred", "IncidentOpened")),
        ("6", "[".repeat(100_000)),
        ("7", String::new()),
        ("8", event(&[report("beside poison"), poison()])),
        ("9", event(&[better])),
    ];
    let replay = replay(&database).await;
    for _ in 0..2 {
        let answer = replay.invoke(batch(&messages)).await.unwrap();
        let mut failed = failed(&answer);
        failed.sort_unstable();
        assert_eq!(failed, ["2", "3", "4", "5", "6", "7", "8"]);
        for message in ["good", "better", "beside poison"] {
            assert_eq!(occurrences(&database, message).await, 1, "{message}");
        }
    }
    let (_, logs) = replay.terminate().await;
    let errors = logs.iter().filter(|line| line.contains("\"level\":\"ERROR\"")).count();
    assert_eq!(errors, 2 * 7, "each refusal rings: {logs:#?}");
}

#[tokio::test]
async fn while_the_database_is_unavailable_every_message_is_retried() {
    let database = Database::migrated().await;
    let nowhere = "postgresql://agent:nothing@127.0.0.1:9/none?sslmode=disable";
    let without = Lambda::start("replay", &[("DATABASE_URL", nowhere)]).await;
    let messages: Vec<(&str, String)> =
        ["1", "2", "3"].into_iter().map(|id| (id, event(&[report(id), report("each")]))).collect();
    let answer = without.invoke(batch(&messages)).await.unwrap();
    assert_eq!(failed(&answer), ["1", "2", "3"]);
    let (_, logs) = without.terminate().await;
    assert!(!logs.iter().any(|line| line.contains("\"level\":\"ERROR\"")), "an outage is no refusal: {logs:#?}");
    let answer = replay(&database).await.invoke(batch(&messages)).await.unwrap();
    assert_eq!(failed(&answer), Vec::<&str>::new());
    assert_eq!(occurrences(&database, "each").await, 1, "one key is one delivery");
    assert_eq!(database.count("inbound_deliveries").await, 4);
}

#[tokio::test]
async fn records_wait_for_a_database_that_is_not_migrated_yet() {
    let database = Database::empty().await;
    let replay = replay(&database).await;
    let messages = [("1", event(&[report("boom")]))];
    assert_eq!(failed(&replay.invoke(batch(&messages)).await.unwrap()), ["1"]);
    local::migrations::apply(&database.config()).await.unwrap();
    assert_eq!(failed(&replay.invoke(batch(&messages)).await.unwrap()), Vec::<&str>::new());
    assert_eq!(occurrences(&database, "boom").await, 1);
}

#[tokio::test]
async fn a_database_that_recovers_within_the_invocation_fails_no_message() {
    let database = Database::migrated().await;
    let replay = replay(&database).await;
    database.execute("ALTER TABLE inbound_deliveries RENAME TO elsewhere").await;
    let messages = [("1", event(&[report("boom")])), ("2", event(&[report("bang")]))];
    let comes_back = async {
        let tried = "SELECT count(*) > 0 FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'watchkeeper-replay' AND state = 'idle'";
        database.wait_until(tried).await;
        database.execute("ALTER TABLE elsewhere RENAME TO inbound_deliveries").await;
    };
    let (answer, ()) = tokio::join!(replay.invoke(batch(&messages)), comes_back);
    assert_eq!(failed(&answer.unwrap()), Vec::<&str>::new());
    assert_eq!(database.count("incidents").await, 2);
}

#[tokio::test]
async fn a_reused_key_of_another_error_loses_neither_report() {
    let database = Database::migrated().await;
    let with_key = |message: &str| Report { delivery_key: DeliveryKey::named("api", b"same"), ..report(message) };
    let messages = [("1", event(&[with_key("first")])), ("2", event(&[with_key("second")]))];
    let replay = replay(&database).await;
    for _ in 0..2 {
        assert_eq!(failed(&replay.invoke(batch(&messages)).await.unwrap()), Vec::<&str>::new());
        assert_eq!(occurrences(&database, "first").await, 1);
        assert_eq!(occurrences(&database, "second").await, 1);
    }
}

#[tokio::test]
async fn a_report_that_was_stored_before_it_was_deferred_counts_once() {
    let database = Database::migrated().await;
    // It was committed, but the answer exceeded the deadline.
    super::intake(&database).record(report("late")).await.unwrap();
    let answer = replay(&database).await.invoke(batch(&[("1", event(&[report("late")]))])).await.unwrap();
    assert_eq!(answer, json!({"batchItemFailures": []}));
    assert_eq!(occurrences(&database, "late").await, 1);
}

#[tokio::test]
async fn an_empty_batch_and_hundreds_of_reports_are_stored() {
    let database = Database::migrated().await;
    let replay = replay(&database).await;
    assert_eq!(replay.invoke(json!({"Records": []})).await.unwrap(), json!({"batchItemFailures": []}));
    let reports: Vec<Report> = (0..250).map(|number| report(&format!("number {number}"))).collect();
    let messages: Vec<(&str, String)> = reports.chunks(50).map(|some| ("x", event(some))).collect();
    let answer: Value = replay.invoke(batch(&messages)).await.unwrap();
    assert_eq!(failed(&answer), Vec::<&str>::new());
    assert_eq!(database.count("inbound_deliveries").await, 250);
}
