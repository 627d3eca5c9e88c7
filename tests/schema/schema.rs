//! The migrated schema against the contract, and against the Rust enums that are stored in it.

use std::collections::BTreeSet;

use harness::Database;
use notify::notification::NotificationKind;
use serde_json::{Value, json};
use shared::model::{
    AlertStatus, AlertType, Channel, CheckInStatus, IncidentStatus, Kind, Quota, ServiceState, Severity,
};
use shared::store::services::Origin;

use crate::catalog::lines;
use crate::contract::{Difference, TABLES, difference};
use crate::indexes::missing_indexes;

/// Our tables that the contract does not name.
const OWN_TABLES: &[&str] = &[
    "watchkeeper_migrations",
    "services",
    "inbound_deliveries",
    "event_outbox",
    "incident_occurrences",
    "incident_samples",
    "incident_users",
    "service_claims",
    "service_heartbeats",
    "service_hourly",
    "service_daily",
    "circuit_breakers",
    "notification_groups",
    "notification_members",
    "notifications",
    "notification_receivers",
    "silences",
    "escalations",
];

#[tokio::test]
async fn every_column_is_as_the_contract_says() {
    let database = Database::migrated().await;
    let none = Difference { lacking: Vec::new(), unexpected: Vec::new() };
    assert_eq!(difference(database.client()).await, none);
}

#[tokio::test]
async fn no_required_index_is_missing() {
    let database = Database::migrated().await;
    assert_eq!(missing_indexes(database.client()).await, Vec::<String>::new());
}

#[tokio::test]
async fn every_time_has_a_zone_and_no_type_is_an_enum() {
    let database = Database::migrated().await;
    let zoneless = lines(
        database.client(),
        "SELECT table_name || '.' || column_name FROM information_schema.columns
        WHERE table_schema = 'public' AND data_type LIKE 'time%without time zone'",
    )
    .await;
    assert_eq!(zoneless, Vec::<String>::new());
    assert_eq!(database.count("pg_type WHERE typtype = 'e'").await, 0);
}

#[tokio::test]
async fn every_table_has_row_level_security_and_only_the_policy_of_the_functions_role() {
    let database = Database::migrated().await;
    let secured = lines(
        database.client(),
        "SELECT relname::text FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relrowsecurity",
    )
    .await;
    for table in TABLES.iter().chain(OWN_TABLES) {
        assert!(secured.contains(&(*table).to_owned()), "{table} has no row level security");
    }
    let open = "pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relrowsecurity";
    assert_eq!(database.count(open).await, 0);
    assert_eq!(database.count("pg_policies WHERE policyname <> 'watchkeeper_agent'").await, 0);
}

#[tokio::test]
async fn nothing_is_granted_to_public() {
    let database = Database::migrated().await;
    let functions = lines(
        database.client(),
        "SELECT proname::text FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND has_function_privilege('public', oid, 'EXECUTE')
            AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')",
    )
    .await;
    assert_eq!(functions, Vec::<String>::new());
    let tables = lines(
        database.client(),
        "SELECT relname::text FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
            AND has_table_privilege('public', oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')",
    )
    .await;
    assert_eq!(tables, Vec::<String>::new());
}

#[tokio::test]
async fn the_checks_allow_exactly_the_words_of_the_enums() {
    let database = Database::migrated().await;
    let results = ServiceState::ALL.into_iter().filter(|state| *state != ServiceState::Unknown);
    let states = ["firing", "acknowledged", "resolved"];
    let cases: [(&str, &str, BTreeSet<&str>); 16] = [
        ("incidents", "status", IncidentStatus::ALL.map(IncidentStatus::as_str).into()),
        ("incidents", "severity", Severity::ALL.map(Severity::as_str).into()),
        ("alert_events", "alert_type", AlertType::ALL.map(AlertType::as_str).into()),
        ("alert_events", "status", AlertStatus::ALL.map(AlertStatus::as_str).into()),
        ("services", "state", ServiceState::ALL.map(ServiceState::as_str).into()),
        ("services", "kind", Kind::ALL.map(Kind::as_str).into()),
        ("services", "origin", [Origin::File, Origin::Environment].map(Origin::as_str).into()),
        ("quota_counters", "quota", Quota::ALL.map(Quota::as_str).into()),
        ("applications", "max_severity", Severity::ALL.map(Severity::as_str).into()),
        ("check_ins", "status", CheckInStatus::ALL.map(CheckInStatus::as_str).into()),
        ("notifications", "channel", Channel::ALL.map(Channel::as_str).into()),
        ("notification_receivers", "channel", Channel::ALL.map(Channel::as_str).into()),
        ("notifications", "kind", NotificationKind::ALL.map(NotificationKind::as_str).into()),
        ("notification_members", "state", states.into()),
        ("notification_members", "told", states.into()),
        ("service_health_checks", "status", results.map(ServiceState::as_str).collect()),
    ];
    for (table, column, words) in cases {
        let sql = format!(
            "SELECT m[1]
            FROM pg_constraint c
            JOIN pg_attribute a ON attrelid = conrelid AND conkey = ARRAY[attnum],
            LATERAL regexp_matches(pg_get_constraintdef(c.oid), '''([^'']*)''', 'g') AS m
            WHERE conrelid = 'public.{table}'::regclass AND contype = 'c' AND convalidated AND attname = '{column}'"
        );
        let allowed = lines(database.client(), &sql).await;
        assert_eq!(allowed.iter().map(String::as_str).collect::<BTreeSet<_>>(), words, "{table}.{column}");
    }
    assert_eq!(
        ServiceState::ALL.map(ServiceState::as_str).into_iter().filter(|word| *word != "unknown").collect::<Vec<_>>(),
        ["healthy", "degraded", "down"]
    );
}

#[tokio::test]
async fn an_incident_without_a_status_is_refused() {
    // It would be neither open nor resolved, and escape the index of open incidents.
    let database = Database::migrated().await;
    let error = database
        .client()
        .batch_execute(
            "INSERT INTO incidents (incident_id, title, status, severity, category, application, error_message)
            VALUES ('INC-1', 't', NULL, 'LOW', 'unknown', 'a', 'm')",
        )
        .await
        .unwrap_err();
    assert_eq!(error.as_db_error().unwrap().constraint(), Some("incidents_status_check"));
}

#[tokio::test]
async fn the_success_rate_is_successes_over_uses_and_zero_without_uses() {
    let database = Database::migrated().await;
    let most = i32::MAX;
    for (successes, failures, rate) in [
        ("3".to_owned(), "1".to_owned(), "0.75"),
        ("0".into(), "0".into(), "0"),
        ("0".into(), "5".into(), "0"),
        ("NULL".into(), "NULL".into(), "0"),
        ("2".into(), "NULL".into(), "1"),
        (most.to_string(), most.to_string(), "0.5"),
    ] {
        let found: bool = database
            .value(&format!(
                "INSERT INTO error_knowledge
                    (error_id, title, error_message, solution_description, success_count, failure_count)
                VALUES (left(gen_random_uuid()::text, 20), 't', 'm', 's', {successes}, {failures})
                RETURNING success_rate = {rate}"
            ))
            .await;
        assert!(found, "{successes} of {successes} + {failures} should be {rate}");
    }
}

#[tokio::test]
async fn the_nine_switches_and_limits_have_their_initial_values() {
    let database = Database::migrated().await;
    let values: Vec<(String, Value)> = database
        .rows("SELECT key::text, value FROM system_config ORDER BY key", &[])
        .await
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let expected = [
        ("agent_auto_fix_enabled", json!({"enabled": false})),
        ("agent_kill_switch", json!({"enabled": false})),
        ("agent_monitoring_enabled", json!({"enabled": true})),
        ("deployment_window_end", json!({"hour": 21})),
        ("deployment_window_start", json!({"hour": 9})),
        ("max_deployments_per_hour", json!({"value": 10})),
        ("monitoring_interval_seconds", json!({"value": 60})),
        ("notification_email", json!({"email": null})),
        ("require_human_approval_critical", json!({"enabled": true})),
    ];
    assert_eq!(values, expected.map(|(key, value)| (key.to_owned(), value)));
}
