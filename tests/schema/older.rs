//! A database from before Watchkeeper: after migrating it has the required schema and every row it had, and it works.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDateTime, Utc};
use harness::{Database, TestStack};
use local::migrations::{FILES, apply};
use serde_json::{Map, Value, json};
use shared::store::incidents::{self, Filter};
use shared::store::{alerts, health_checks};

use crate::catalog::{lines, rows, snapshot};
use crate::contract::{Difference, TABLES, difference};
use crate::indexes::missing_indexes;

/// Its rows by table and key.
type Rows = BTreeMap<(&'static str, String), Map<String, Value>>;

/// An older database. The sessions that migrate it have a time zone in which the fixture's times are not UTC, and one of
/// them does not exist (the clocks went forward).
async fn older() -> Database {
    let database = Database::empty().await;
    database.execute(include_str!("../fixtures/older_schema.sql")).await;
    database
        .execute("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone TO ''Europe/Berlin''', current_database()); END $$")
        .await;
    database
}

async fn migrated_older() -> Database {
    let database = older().await;
    assert_eq!(apply(&database.config()).await.unwrap().len(), FILES.len());
    database
}

async fn all_rows(database: &Database) -> Rows {
    let mut all = Rows::new();
    for table in TABLES {
        for row in rows(database, table).await {
            let Value::Object(row) = row else { panic!("a row of {table} is no object") };
            let key = row.get("key").or_else(|| row.get("id")).and_then(Value::as_str).unwrap().to_owned();
            all.insert((table, key), row);
        }
    }
    all
}

/// The key of the fixture's row `number` of this kind.
fn id(kind: u8, number: u8) -> String {
    format!("{kind}0000000-0000-4000-8000-00000000000{number}")
}

fn instant(value: &Value) -> Option<DateTime<Utc>> {
    let text = value.as_str()?;
    let zoned = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
    Some(
        zoned
            .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").map(|time| time.and_utc()))
            .unwrap(),
    )
}

async fn zoneless_times(database: &Database) -> BTreeSet<(String, String)> {
    let sql = "SELECT table_name::text, column_name::text FROM information_schema.columns
        WHERE table_schema = 'public' AND data_type = 'timestamp without time zone'";
    database.rows(sql, &[]).await.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn no_row_is_lost_and_only_values_that_the_checks_refuse_change() {
    let database = older().await;
    let (before, times, started) = (all_rows(&database).await, zoneless_times(&database).await, Utc::now());
    apply(&database.config()).await.unwrap();
    let after = all_rows(&database).await;

    let mut changes = Vec::new();
    for ((table, key), old) in &before {
        let new = after.get(&(*table, key.clone())).unwrap_or_else(|| panic!("{table} has lost {key}"));
        for (column, old) in old {
            // Generated today; the hand-written value stays in another column.
            let kept = if column == "success_rate" { "success_rate_recorded" } else { column };
            let new = new.get(kept).unwrap_or_else(|| panic!("{table} has lost {column}"));
            let same = if times.contains(&((*table).to_owned(), column.clone())) {
                instant(old) == instant(new)
            } else {
                old == new
            };
            if !same {
                let is_now = column == "resolved_at" && instant(new).is_some_and(|time| time >= started);
                changes.push((*table, key.clone(), column.as_str(), if is_now { json!("now") } else { new.clone() }));
            }
        }
    }
    assert_eq!(changes, expected_changes());
}

/// By table and key, then by column.
fn expected_changes() -> Vec<(&'static str, String, &'static str, Value)> {
    let alert = |number, column, value| ("alert_events", id(9, number), column, value);
    let incident = |number, column, value| ("incidents", id(2, number), column, value);
    vec![
        // Of three unresolved alerts of one service and type, the newest (the third) stays.
        alert(1, "details", json!({"n": 1, "previous_status": "active"})),
        alert(1, "resolved_at", json!("now")),
        alert(1, "status", json!("resolved")),
        alert(2, "details", json!({"previous_status": "acknowledged"})),
        alert(2, "resolved_at", json!("now")),
        alert(2, "status", json!("resolved")),
        // A recovery is stored as resolved.
        alert(4, "details", json!({"previous_status": "active"})),
        alert(4, "resolved_at", json!("2025-03-30T03:00:00+00:00")),
        alert(4, "status", json!("resolved")),
        // An alert of a type that the check refuses could never be resolved later.
        alert(5, "details", json!({"previous_status": "active"})),
        alert(5, "resolved_at", json!("now")),
        alert(5, "status", json!("resolved")),
        alert(6, "details", json!({"previous_status": "open"})),
        alert(6, "status", json!("active")),
        incident(1, "context", json!({"user": "u1", "previous_status": "open"})),
        incident(1, "severity", json!("CRITICAL")),
        incident(1, "status", json!("detected")),
        incident(2, "context", json!({"previous_status": "open"})),
        incident(2, "status", json!("detected")),
        incident(3, "context", json!({"previous_context": ["a", "list"], "previous_status": "investigating"})),
        incident(3, "severity", json!("MEDIUM")),
        incident(3, "status", json!("acknowledged")),
        incident(4, "context", json!({"previous_status": "closed", "previous_severity": "sev1"})),
        incident(4, "severity", json!("MEDIUM")),
        incident(4, "status", json!("resolved")),
        incident(5, "context", json!({"previous_status": null})),
        incident(5, "detected_at", json!("2025-02-02T02:02:02+00:00")),
        incident(5, "severity", json!("LOW")),
        incident(5, "status", json!("detected")),
    ]
}

#[tokio::test]
async fn every_time_has_a_zone_and_the_columns_are_those_of_the_contract() {
    let database = migrated_older().await;
    assert_eq!(zoneless_times(&database).await, BTreeSet::new());
    let expected = Difference {
        lacking: vec![
            // It has an additional default, which does no harm.
            "alert_events.status text not null".to_owned(),
            // One older row has no status, and none is invented for it.
            "service_health_checks.status text not null".to_owned(),
        ],
        unexpected: vec![
            "alert_events.status text not null default 'active'".to_owned(),
            "error_knowledge.success_rate_recorded numeric(5,2) default 0".to_owned(),
            "service_health_checks.status text".to_owned(),
        ],
    };
    assert_eq!(difference(database.client()).await, expected);
}

#[tokio::test]
async fn ivfflat_is_gone_and_every_index_of_the_contract_is_there() {
    let database = migrated_older().await;
    assert_eq!(missing_indexes(database.client()).await, Vec::<String>::new());
    assert_eq!(database.count("pg_class JOIN pg_am ON pg_am.oid = relam WHERE amname = 'ivfflat'").await, 0);
}

#[tokio::test]
async fn an_older_incident_was_last_seen_when_it_was_detected() {
    let database = migrated_older().await;
    let differing = "incidents WHERE last_seen_at <> coalesce(detected_at, updated_at)";
    assert_eq!(database.count(differing).await, 0);
    assert_eq!(database.count("incidents WHERE environment = 'production' AND occurrences = 1").await, 6);
    assert_eq!(database.value::<i64>("SELECT count(DISTINCT fingerprint) FROM incidents").await, 6);
}

#[tokio::test]
async fn the_success_rate_is_computed_from_the_existing_counts() {
    let database = migrated_older().await;
    let rates = lines(
        database.client(),
        "SELECT error_id || ' ' || trim_scale(success_rate) FROM error_knowledge ORDER BY error_id",
    )
    .await;
    assert_eq!(rates, ["ERR-001 0.75", "ERR-002 0", "ERR-003 0"]);
}

#[tokio::test]
async fn an_operator_s_settings_stay_and_the_missing_ones_are_seeded() {
    let database = migrated_older().await;
    let stopped =
        "system_config WHERE key = 'agent_kill_switch' AND value = '{\"enabled\": true}' AND updated_by = 'ops'";
    assert_eq!(database.count(stopped).await, 1);
    assert_eq!(database.count("system_config").await, 9 + 1);
}

#[tokio::test]
async fn every_table_is_secured_and_a_foreign_trigger_is_enabled_again() {
    let database = migrated_older().await;
    let open = "pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND NOT relrowsecurity";
    assert_eq!(database.count(open).await, 0);
    assert_eq!(database.count("pg_trigger WHERE tgname = 'incidents_set_updated_at' AND tgenabled = 'O'").await, 1);
}

#[tokio::test]
async fn the_audit_is_append_only_for_the_older_rows_too() {
    let database = migrated_older().await;
    for sql in [
        "UPDATE agent_actions SET agent_id = 'x'".to_owned(),
        format!("DELETE FROM agent_actions WHERE id = '{}'", id(4, 2)),
        // Without a time, its age is not known.
        format!("DELETE FROM agent_actions WHERE id = '{}'", id(4, 3)),
    ] {
        let error = database.client().batch_execute(&sql).await.unwrap_err();
        assert!(error.as_db_error().unwrap().message().starts_with("agent_actions is append-only"), "{sql}");
    }
    database.execute(&format!("DELETE FROM agent_actions WHERE id = '{}'", id(4, 1))).await;
    assert_eq!(database.count("agent_actions").await, 2);
}

#[tokio::test]
async fn migrating_again_changes_nothing() {
    let database = migrated_older().await;
    let before = (snapshot(database.client()).await, all_rows(&database).await);
    assert_eq!(apply(&database.config()).await.unwrap(), Vec::<String>::new());
    // Without the history, every file runs once more, as psql does.
    database.execute("DROP TABLE watchkeeper_migrations").await;
    assert_eq!(apply(&database.config()).await.unwrap().len(), FILES.len());
    let (schema, rows) = (snapshot(database.client()).await, all_rows(&database).await);
    assert_eq!(schema, before.0);
    assert_eq!(rows, before.1);
}

#[tokio::test]
async fn an_error_that_is_reported_to_it_becomes_an_incident() {
    let stack = TestStack::builder().start(migrated_older().await).await;
    let answer = stack.report_ok(json!({"error": {"message": "remaining connection slots are reserved"}})).await;
    assert_eq!(answer.body["created"], true);
    assert_eq!(stack.database.count("incidents").await, 6 + 1);
    assert_eq!(stack.database.count("agent_actions").await, 3 + 1);
}

#[tokio::test]
async fn its_incidents_and_alerts_are_readable() {
    let database = migrated_older().await;
    let store = database.store();
    let filter = &Filter::default();
    let incidents = store.run(|client| async move { incidents::list(&client, filter, None, 100).await }).await.unwrap();
    assert_eq!(incidents.len(), 6);
    let active = store.run(|client| async move { alerts::list_active(&client, None).await }).await.unwrap();
    assert_eq!(active.iter().map(|alert| alert.id.to_string()).collect::<Vec<_>>(), [id(9, 6), id(9, 3)]);
}

#[tokio::test]
async fn its_health_checks_are_readable() {
    // Two of the three have no status that is valid today: one of another vocabulary, and none.
    let database = migrated_older().await;
    let store = database.store();
    let latest = store.run(|client| async move { health_checks::find_latest(&client, "frontend").await }).await;
    let all = store.run(|client| async move { health_checks::list(&client, None, 100).await }).await;
    assert!(latest.is_ok() && all.is_ok(), "{latest:?}\n{all:?}");
    assert!(all.unwrap().iter().any(|check| check.id.to_string() == id(8, 1)));
}
