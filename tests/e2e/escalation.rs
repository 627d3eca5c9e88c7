//! Escalations: an event for each step, once, until everything is acknowledged.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use harness::{Database, TestStack};
use serde_json::{Value, json};
use shared::publish::{BusConfig, Publisher};

fn app(database: &Database) -> dispatch::App {
    let store = database.store();
    dispatch::App::new(store.clone(), Publisher::new(store, BusConfig::default()))
}

/// An open incident, an active alert, and a group of the two with an escalation of three steps that started just now.
async fn escalation(database: &Database) -> DateTime<Utc> {
    database
        .execute(
            "INSERT INTO incidents (incident_id, title, severity, category, application, error_message)
            VALUES ('INC-1', 'boom', 'HIGH', 'backend', 'shop', 'boom');
            INSERT INTO alert_events (id, service_name, alert_type, status)
            VALUES ('00000000-0000-0000-0000-000000000001', 'shop', 'service_down', 'active');
            INSERT INTO notification_groups (group_key, route, settings, first_seen_at) VALUES ('g', 'all', '{}', now());
            INSERT INTO notification_members (group_key, subject, state, details, fired_at, changed_at)
            SELECT 'g', subject, 'firing', '{}', now(), now()
            FROM unnest(ARRAY['incident:INC-1', 'alert:00000000-0000-0000-0000-000000000001']) AS subject;
            INSERT INTO escalations (group_key, policy, steps, next_at, started_at)
            SELECT 'g', 'on call', '[{\"after_seconds\": 300, \"channels\": [\"sms\"]},
                {\"after_seconds\": 900, \"channels\": [\"pagerduty\", \"slack:#ops\"]},
                {\"after_seconds\": 1800, \"channels\": [\"email:boss@example.com\"]}]',
                now() + interval '300 s', now()",
        )
        .await;
    database.value("SELECT started_at FROM escalations").await
}

async fn escalate(database: &Database, now: DateTime<Utc>) -> usize {
    dispatch::escalate(&app(database), now).await.unwrap()
}

/// The steps that were taken, with their receivers.
async fn taken(database: &Database) -> Vec<(i64, Value)> {
    let rows = database.rows("SELECT detail FROM event_outbox ORDER BY (detail ->> 'step')::int", &[]).await;
    let details = rows.iter().map(|row| row.get::<_, Value>(0));
    details.map(|detail| (detail["step"].as_i64().unwrap(), detail["receivers"].clone())).collect()
}

async fn ending(database: &Database) -> (bool, bool, Option<String>) {
    let sql = "SELECT next_at IS NULL, ended_at IS NOT NULL, ended_by FROM escalations";
    let row = &database.rows(sql, &[]).await[0];
    (row.get(0), row.get(1), row.get(2))
}

fn minutes(minutes: i64) -> TimeDelta {
    TimeDelta::minutes(minutes)
}

#[tokio::test]
async fn each_step_is_taken_once_at_its_time() {
    let database = Database::migrated().await;
    let start = escalation(&database).await;
    assert_eq!(escalate(&database, start + TimeDelta::seconds(299)).await, 0);
    assert_eq!(escalate(&database, start + minutes(5)).await, 1);
    assert_eq!(escalate(&database, start + minutes(6)).await, 0);
    let detail: Value = database.value("SELECT detail FROM event_outbox").await;
    let at: DateTime<Utc> = database.value("SELECT created_at FROM event_outbox").await;
    assert!((at - start - minutes(5)).abs() < TimeDelta::milliseconds(1), "{at}");
    assert_eq!(
        detail,
        json!({"version": 1, "id": detail["id"], "reason": "unacknowledged", "group_key": "g", "policy": "on call",
            "step": 1, "receivers": ["sms"]})
    );
    assert_eq!(escalate(&database, start + minutes(15)).await, 1);
    assert_eq!(escalate(&database, start + minutes(30)).await, 1);
    assert_eq!(escalate(&database, start + minutes(600)).await, 0);
    let wanted = [(1, json!(["sms"])), (2, json!(["pagerduty", "slack:#ops"])), (3, json!(["email:boss@example.com"]))];
    assert_eq!(taken(&database).await, wanted);
    assert_eq!(ending(&database).await, (true, false, None), "there is no further step, and it is not acknowledged");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_concurrent_sweeps_take_each_step_once() {
    let database = Database::migrated().await;
    let start = escalation(&database).await;
    database
        .execute(
            "INSERT INTO notification_groups (group_key, route, settings, first_seen_at)
            SELECT 'g' || n, 'all', '{}', now() FROM generate_series(1, 300) AS n;
            INSERT INTO notification_members (group_key, subject, state, details, fired_at, changed_at)
            SELECT 'g' || n, 'incident:INC-1', 'firing', '{}', now(), now() FROM generate_series(1, 300) AS n;
            INSERT INTO escalations (group_key, policy, steps, next_at, started_at)
            SELECT 'g' || n, policy, steps, next_at, started_at FROM escalations, generate_series(1, 300) AS n",
        )
        .await;
    let now = start + minutes(5);
    let sweeps = (0..4).map(|_| {
        let app = app(&database);
        tokio::spawn(async move { dispatch::escalate(&app, now).await.unwrap() })
    });
    let mut sum = 0;
    for sweep in sweeps.collect::<Vec<_>>() {
        sum += sweep.await.unwrap();
    }
    sum += escalate(&database, now).await;
    assert_eq!(sum, 301);
    assert_eq!(database.count("(SELECT DISTINCT detail ->> 'group_key' FROM event_outbox) AS taken").await, 301);
    assert_eq!(database.count("event_outbox").await, 301);
}

#[tokio::test]
async fn an_escalation_ends_when_everything_is_acknowledged_and_names_the_assignee() {
    for (change, by) in [
        ("UPDATE incidents SET status = 'acknowledged', handled_by = 'slack:ada', updated_at = now()", "slack:ada"),
        ("UPDATE incidents SET status = 'resolved', handled_by = 'operator', updated_at = now()", "operator"),
        ("UPDATE incidents SET status = 'acknowledged'", "acknowledged"),
        ("DELETE FROM incidents", "acknowledged"),
    ] {
        let database = Database::migrated().await;
        let start = escalation(&database).await;
        database.execute(change).await;
        assert_eq!(escalate(&database, start + minutes(5)).await, 1, "the alert is still active: {change}");
        database.execute("UPDATE alert_events SET status = 'acknowledged', acknowledged_at = now()").await;
        assert_eq!(escalate(&database, start + minutes(15)).await, 0, "{change}");
        assert_eq!(ending(&database).await, (true, true, Some(by.to_owned())), "{change}");
        assert_eq!(escalate(&database, start + minutes(600)).await, 0);
    }
}

#[tokio::test]
async fn the_assignee_of_an_alert_without_an_incident_is_named_too() {
    let database = Database::migrated().await;
    let start = escalation(&database).await;
    database
        .execute(
            "UPDATE incidents SET status = 'resolved';
            UPDATE alert_events SET status = 'resolved', resolved_at = now(), details = '{\"handled_by\": \"ada\"}'",
        )
        .await;
    assert_eq!(escalate(&database, start + minutes(5)).await, 0);
    assert_eq!(ending(&database).await, (true, true, Some("ada".to_owned())));
}

#[tokio::test]
async fn an_escalation_waits_during_a_silence() {
    let database = Database::migrated().await;
    let start = escalation(&database).await;
    database.execute("UPDATE notification_members SET muted_by = 'silence:1'").await;
    assert_eq!(escalate(&database, start + minutes(5)).await, 0);
    assert_eq!(escalate(&database, start + minutes(7)).await, 0);
    assert_eq!(ending(&database).await, (false, false, None));
    database.execute("UPDATE notification_members SET muted_by = NULL").await;
    assert_eq!(escalate(&database, start + minutes(9)).await, 1);
    assert_eq!(taken(&database).await[0].0, 1);
}

#[tokio::test]
async fn after_a_long_silence_the_steps_keep_their_interval() {
    let database = Database::migrated().await;
    let start = escalation(&database).await;
    assert_eq!(escalate(&database, start + minutes(120)).await, 1, "one step, not all that lie in the past");
    assert_eq!(escalate(&database, start + minutes(129)).await, 0);
    assert_eq!(escalate(&database, start + minutes(130)).await, 1);
    assert_eq!(escalate(&database, start + minutes(144)).await, 0);
    assert_eq!(escalate(&database, start + minutes(145)).await, 1);
    assert_eq!(ending(&database).await, (true, false, None));
}

#[tokio::test]
async fn escalations_that_only_end_do_not_block_others() {
    let database = Database::migrated().await;
    let start = escalation(&database).await;
    database
        .execute(
            "INSERT INTO notification_groups (group_key, route, settings, first_seen_at)
            SELECT 'a' || n, 'all', '{}', now() FROM generate_series(1, 150) AS n;
            INSERT INTO escalations (group_key, policy, steps, next_at, started_at)
            SELECT 'a' || n, policy, steps, next_at - interval '1 second', started_at
            FROM escalations, generate_series(1, 150) AS n",
        )
        .await;
    assert_eq!(escalate(&database, start + minutes(5)).await, 1);
    assert_eq!(database.count("escalations WHERE ended_at IS NOT NULL").await, 150);
}

#[tokio::test]
async fn the_local_stack_takes_a_due_step_within_seconds() {
    let stack = TestStack::builder().local_bus().start(Database::migrated().await).await;
    escalation(&stack.database).await;
    stack.database.execute("UPDATE escalations SET next_at = now()").await;
    let published = "SELECT count(*) = 1 FROM event_outbox WHERE published_at IS NOT NULL";
    tokio::time::timeout(Duration::from_secs(20), stack.database.wait_until(published)).await.unwrap();
}
