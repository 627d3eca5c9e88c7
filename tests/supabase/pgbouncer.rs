//! The product's paths through `PgBouncer` in transaction mode: all clients share two backends.

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, Utc};
use harness::lambda::{KEY, Lambda};
use harness::proxy::Proxy;
use harness::{Answer, Behaviour, Database, Target, TestStack};
use secrecy::SecretString;
use serde_json::json;
use shared::config::DatabaseConfig;
use shared::model::{AlertStatus, AlertType, DeliveryKey, ServiceState, Subject};
use shared::store::alerts::NewAlert;
use shared::store::health_checks::NewHealthCheck;
use shared::store::lifecycle::Agent;
use shared::store::reactions::{Action, Reacted, Reaction, react};
use shared::store::services::{self, Origin};
use shared::store::{PoolSize, Store, StoreError, alerts, chain, health_checks};
use tokio::task::JoinSet;

use crate::certificates::Authority;
use crate::pooler::{BACKENDS, Pooler};

const ROUTE: &str = "/api/autonomous/error";

/// A stack on a database of its own, through a pooler.
async fn pooled_stack() -> (Pooler, TestStack) {
    let database = Database::migrated().await;
    let pooler = Pooler::start_for_a_crowd(&database.url()).await;
    let stack = TestStack::builder().database_url(pooler.url()).start(database).await;
    (pooler, stack)
}

/// Reports so many errors of these kinds concurrently; all must be accepted.
async fn report_at_once(stacks: &[&TestStack], kinds: &[&str], count: usize) {
    let mut sent = JoinSet::new();
    for number in 0..count {
        let body = json!({"error": {"message": format!("kind {}", kinds[number % kinds.len()])}});
        sent.spawn(stacks[number % stacks.len()].request("POST", ROUTE).json(&body).send());
    }
    for answer in sent.join_all().await {
        let answer = answer.unwrap();
        let status = answer.status();
        assert_eq!(status, 200, "{}", answer.text().await.unwrap());
    }
}

async fn occurrences(database: &Database) -> Vec<i64> {
    // Including the counts of `incident_occurrences`, which are not folded yet.
    let sql = "
        SELECT occurrences + coalesce((
            SELECT sum(waiting.occurrences) FROM incident_occurrences AS waiting WHERE incident = incidents.id
        ), 0)::bigint
        FROM incidents
        ORDER BY title";
    let rows = database.rows(sql, &[]).await;
    rows.iter().map(|row| row.get(0)).collect()
}

/// The pooler's backends, according to the server.
async fn backends(database: &Database) -> BTreeSet<i32> {
    let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    database.rows(sql, &[]).await.iter().map(|row| row.get(0)).collect()
}

async fn kill_backends(database: &Database) {
    for backend in backends(database).await {
        database.execute(&format!("SELECT pg_terminate_backend({backend})")).await;
    }
}

#[tokio::test]
async fn an_error_and_an_outage_are_stored_through_the_pooler() {
    let database = Database::migrated().await;
    let wire = Proxy::start(&database).await;
    let pooler = Pooler::start(&wire.url(&database)).await;
    let stack = TestStack::builder().database_url(pooler.url()).start(database).await;

    let first = stack.report_ok(json!({"error": {"message": "Database connection failed"}})).await;
    let again = stack.report_ok(json!({"error": {"message": "Database connection failed"}})).await;
    assert_eq!((&first.body["created"], &again.body["created"]), (&json!(true), &json!(false)));
    let incident = stack.get(&format!("/api/incidents/{}", first.text("incident_id"))).await;
    assert_eq!((incident.text("severity"), &incident.body["occurrences"]), ("CRITICAL", &json!(2)));
    assert_eq!(stack.database.count("agent_actions").await, 1);
    assert_eq!(stack.database.count("event_outbox WHERE detail_type = 'IncidentOpened'").await, 1);

    let target = Target::start(Behaviour::Status(500)).await;
    let specs = [target.spec("shop", "production")];
    pooler
        .store()
        .run(|client| {
            let specs = &specs;
            async move { services::upsert(&client, specs, Origin::File, Utc::now()).await }
        })
        .await
        .unwrap();
    assert_eq!(stack.check_now().await.checked[0].state, ServiceState::Down);
    assert_eq!(stack.database.count("alert_events WHERE status = 'active'").await, 1);
    assert_eq!(stack.get("/status").await.text("status"), "down");
    target.behave(Behaviour::Status(200));
    stack.check_now().await;
    assert_eq!(stack.check_now().await.checked[0].state, ServiceState::Healthy);
    assert_eq!(stack.database.count("alert_events WHERE status = 'active' AND alert_type = 'service_down'").await, 0);

    for path in ["/health", "/ready", "/status", "/api/incidents", "/api/incidents?limit=1&severity=CRITICAL"] {
        assert_eq!(stack.get(path).await.status, 200, "{path}");
    }
    assert!(wire.round_trips() > 10, "all of it used this connection");
    assert_eq!(wire.named_statements(), 0, "a named statement is unknown to the next backend");
}

#[tokio::test]
async fn alerts_and_health_checks_are_stored_and_read_through_the_pooler() {
    let database = Database::migrated().await;
    let pooler = Pooler::start(&database.url()).await;
    let store = &pooler.store();
    let now = DateTime::UNIX_EPOCH + Duration::days(20_000);
    let alert = &NewAlert {
        service_name: "shop",
        environment: "production",
        alert_type: AlertType::ServiceDown,
        status: None,
        message: Some("it does not answer"),
    };
    let id = store.run(|client| async move { alerts::insert(&client, alert, now).await }).await.unwrap().unwrap().id;
    let second = store.run(|client| async move { alerts::insert(&client, alert, now).await }).await.unwrap();
    assert!(second.is_none(), "{second:?}");
    let active = store.run(|client| async move { alerts::list_active(&client, Some("shop")).await }).await.unwrap();
    assert_eq!(active.iter().map(|alert| alert.id).collect::<Vec<_>>(), [id]);
    let window = Duration::minutes(30);
    let recent = store
        .run(|client| async move { alerts::find_recent(&client, "shop", AlertType::ServiceDown, window, now).await });
    assert_eq!(recent.await.unwrap().unwrap().id, id);
    for (action, status) in [(Action::Acknowledge, AlertStatus::Acknowledged), (Action::Resolve, AlertStatus::Resolved)]
    {
        let reaction = &Reaction {
            delivery_key: DeliveryKey::unique("test", now),
            action,
            by: "ann".to_owned(),
            comment: None,
            agent: Agent::new("test", "operator"),
            at: now,
            done_at: None,
        };
        let subject = &Subject::Alert(id);
        let reacted = store.run(|client| async move { react(&client, subject, reaction).await }).await.unwrap();
        assert!(matches!(reacted, Reacted::Done(Some(_))), "{reacted:?}");
        let alert = store.run(|client| async move { alerts::find(&client, id).await }).await.unwrap();
        assert_eq!(alert.unwrap().status, status);
    }
    let later = now + Duration::days(91);
    let deleted = store.run(|client| async move { alerts::delete_older_than(&client, 90, later).await });
    assert_eq!(deleted.await.unwrap(), 1);

    let check = &NewHealthCheck {
        service_name: "shop",
        status: ServiceState::Degraded,
        latency_ms: Some(12),
        error_message: None,
        checked_at: now,
    };
    let stored = store.run(|client| async move { Ok(health_checks::insert(&client, check).await) }).await.unwrap();
    let id = stored.unwrap();
    let latest = store.run(|client| async move { health_checks::find_latest(&client, "shop").await }).await.unwrap();
    assert_eq!(latest.map(|check| (check.id, check.latency_ms)), Some((id, Some(12))));
    let listed = store.run(|client| async move { health_checks::list(&client, None, 10).await }).await.unwrap();
    assert_eq!(listed.len(), 1);
    let deleted = store.run(|client| async move { health_checks::delete_older_than(&client, 30, later).await });
    assert_eq!(deleted.await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_requests_at_once_to_two_stacks_share_two_backends_and_count_exactly() {
    let (pooler, stack) = pooled_stack().await;
    // The second one uses the first one's database, not its own.
    let second = TestStack::builder().database_url(pooler.url()).start(Database::empty().await).await;
    report_at_once(&[&stack, &second], &["a", "b", "c", "d"], 60).await;
    assert_eq!(occurrences(&stack.database).await, [15, 15, 15, 15]);
    assert!((1..=BACKENDS).contains(&backends(&stack.database).await.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_share_backends_do_not_conflict_in_statement_names() {
    let database = Database::migrated().await;
    let pooler = Pooler::start_for_a_crowd(&database.url()).await;
    let url = pooler.url();
    let environment = [("DATABASE_URL", url.as_str()), ("INGEST_API_KEY", KEY)];
    // The driver numbers its statements from 0 in each process: processes conflict at once, as on Lambda.
    let lambdas =
        (Lambda::start("report-error", &environment).await, Lambda::start("report-error", &environment).await);
    let requests = async |lambda: &Lambda| {
        for _ in 0..30 {
            let answer = lambda.request("POST", ROUTE, Some(r#"{"error": {"message": "boom"}}"#), false).await;
            assert_eq!(answer.0, 200, "{answer:?}");
        }
    };
    // Meanwhile forty other clients connect, query once and disconnect.
    let mut storm = JoinSet::new();
    for _ in 0..40 {
        let store = pooler.store();
        storm.spawn(async move { store.run(|client| async move { alerts::list_active(&client, None).await }).await });
    }
    tokio::join!(requests(&lambdas.0), requests(&lambdas.1));
    for listed in storm.join_all().await {
        assert!(listed.unwrap().is_empty());
    }
    assert_eq!(occurrences(&database).await, [60]);
}

#[tokio::test]
async fn a_backend_closed_between_two_requests_is_replaced() {
    let (_pooler, stack) = pooled_stack().await;
    for round in 0..5 {
        stack.report_ok(json!({"error": {"message": "boom"}})).await;
        assert!(!backends(&stack.database).await.is_empty(), "round {round}: the pooler has a backend");
        kill_backends(&stack.database).await;
    }
    stack.report_ok(json!({"error": {"message": "boom"}})).await;
    assert_eq!(occurrences(&stack.database).await, [6]);
}

#[tokio::test]
async fn a_request_whose_backend_is_closed_is_retried_and_counts_once() {
    let (_pooler, stack) = pooled_stack().await;
    stack.report_ok(json!({"error": {"message": "boom"}})).await;
    // The test locks the table that the next report needs.
    stack.database.execute("BEGIN; LOCK TABLE inbound_deliveries").await;
    let report = async { stack.report(json!({"error": {"message": "boom"}})).await };
    let accident = async {
        let waiting = "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(4);
        while stack.database.count(waiting).await == 0 {
            assert!(std::time::Instant::now() < deadline, "the report should wait for the table");
            // Statistics are a snapshot of the transaction's first read, unless cleared.
            stack.database.execute("SELECT pg_stat_clear_snapshot()").await;
        }
        kill_backends(&stack.database).await;
        stack.database.execute("COMMIT").await;
    };
    let (answer, ()): (Answer, ()) = tokio::join!(report, accident);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(occurrences(&stack.database).await, [2]);
}

#[tokio::test]
async fn a_pooler_restart_between_two_requests_is_tolerated() {
    let (mut pooler, stack) = pooled_stack().await;
    for _ in 0..3 {
        // Several connections, all of which are closed.
        report_at_once(&[&stack], &["a"], 8).await;
        pooler.restart().await;
    }
    report_at_once(&[&stack], &["a"], 1).await;
    assert_eq!(occurrences(&stack.database).await, [25]);
}

/// Why `pgbouncer=true` matters on another port: a pooler refuses start-up options.
#[tokio::test]
async fn an_undeclared_pooler_is_reported_with_the_option_that_it_refuses() {
    let database = Database::migrated().await;
    let pooler = Pooler::start(&database.url()).await;
    let url = SecretString::from(pooler.url_with("127.0.0.1", "?sslmode=disable"));
    let store = Store::new(&DatabaseConfig::at(url), "test", PoolSize::LAMBDA).unwrap();
    let error = store.run(|client| async move { alerts::list_active(&client, None).await }).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(chain(&error).contains("unsupported startup parameter"), "{}", chain(&error));
}

#[tokio::test]
async fn a_lambda_reaches_an_encrypted_pooler_with_its_ca_and_no_other() {
    let database = Database::migrated().await;
    let authority = Authority::with_an_intermediate();
    let pooler = Pooler::start_encrypted(&database.url(), &authority.identity("DNS:localhost")).await;
    let url = pooler.url_with("localhost", "?sslmode=verify-full&pgbouncer=true");
    for (ca, expected) in [(authority.pem(), 200), (Authority::new().pem(), 503)] {
        // With escaped newlines, as environment variables often have it.
        let ca = ca.replace('\n', "\\n");
        let environment = [("DATABASE_URL", url.as_str()), ("DATABASE_CA", &ca), ("INGEST_API_KEY", KEY)];
        let lambda = Lambda::start("report-error", &environment).await;
        let (status, body) = lambda.request("POST", ROUTE, Some(r#"{"error": {"message": "boom"}}"#), false).await;
        assert_eq!(status, expected, "{body}");
    }
    assert_eq!(occurrences(&database).await, [1]);
}
