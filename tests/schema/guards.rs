//! The database's own guards: the audit is append-only, and at most one incident or alert is open for each key.

use harness::Database;
use tokio_postgres::error::SqlState;

const APPEND_ONLY: &str = "agent_actions is append-only";

/// Postgres's refusal of a statement: the code, and the constraint or else the message.
async fn refusal(database: &Database, sql: &str) -> (SqlState, String) {
    let error = database.client().batch_execute(sql).await.expect_err(sql);
    let refusal = error.as_db_error().unwrap();
    (refusal.code().clone(), refusal.constraint().unwrap_or(refusal.message()).to_owned())
}

async fn assert_append_only(database: &Database, sql: &str) {
    let (code, message) = refusal(database, sql).await;
    assert_eq!(code, SqlState::INSUFFICIENT_PRIVILEGE, "{sql}: {message}");
    assert!(message.starts_with(APPEND_ONLY), "{sql}: {message}");
}

async fn action(database: &Database, timestamp: &str) -> uuid::Uuid {
    database
        .value(&format!("INSERT INTO agent_actions (agent_id, timestamp) VALUES ('agent', {timestamp}) RETURNING id"))
        .await
}

async fn incident(database: &Database, application: &str, environment: &str, status: &str) -> uuid::Uuid {
    database.value(&insert_incident(application, environment, status)).await
}

fn insert_incident(application: &str, environment: &str, status: &str) -> String {
    format!(
        "INSERT INTO incidents
            (incident_id, title, severity, category, error_message, fingerprint, application, environment, status)
        VALUES (left('INC-' || gen_random_uuid(), 30), 't', 'LOW', 'unknown', 'm', 'v2:same', '{application}',
            '{environment}', '{status}')
        RETURNING id"
    )
}

fn insert_alert(service: &str, environment: &str, alert_type: &str, status: &str) -> String {
    format!(
        "INSERT INTO alert_events (service_name, environment, alert_type, status)
        VALUES ('{service}', '{environment}', '{alert_type}', '{status}')
        RETURNING id"
    )
}

#[tokio::test]
async fn an_audit_row_can_not_be_changed_however_old_it_is() {
    let database = Database::migrated().await;
    let old = action(&database, "now() - interval '1 year'").await;
    assert_append_only(&database, "UPDATE agent_actions SET agent_id = 'someone else'").await;
    // Not to make it old enough to be deleted, not by an upsert, and not where no row matches.
    assert_append_only(&database, "UPDATE agent_actions SET timestamp = '2000-01-01'").await;
    assert_append_only(
        &database,
        &format!(
            "INSERT INTO agent_actions (id, agent_id) VALUES ('{old}', 'a')
            ON CONFLICT (id) DO UPDATE SET agent_id = 'someone else'"
        ),
    )
    .await;
    assert_append_only(&database, "UPDATE agent_actions SET agent_id = 'x' WHERE false").await;
    assert_eq!(database.count("agent_actions WHERE agent_id = 'agent'").await, 1);
}

#[tokio::test]
async fn the_audit_can_not_be_truncated_even_by_cascade() {
    let database = Database::migrated().await;
    action(&database, "now() - interval '1 year'").await;
    for sql in [
        "TRUNCATE agent_actions",
        "TRUNCATE agent_actions CASCADE",
        "TRUNCATE incidents CASCADE",
        "TRUNCATE error_knowledge CASCADE",
    ] {
        assert_append_only(&database, sql).await;
    }
    assert_eq!(database.count("agent_actions").await, 1);
}

#[tokio::test]
async fn an_audit_row_can_be_deleted_after_ninety_days_and_not_before() {
    let database = Database::migrated().await;
    let young = action(&database, "now()").await;
    let almost = action(&database, "now() - interval '90 days' + interval '1 hour'").await;
    let timeless = action(&database, "NULL").await;
    let old = action(&database, "now() - interval '90 days 1 second'").await;
    for id in [young, almost, timeless] {
        assert_append_only(&database, &format!("DELETE FROM agent_actions WHERE id = '{id}'")).await;
    }
    // All or none: one young row keeps the old ones of its statement.
    assert_append_only(&database, "DELETE FROM agent_actions").await;
    assert_eq!(database.count("agent_actions").await, 4);
    database.execute(&format!("DELETE FROM agent_actions WHERE id = '{old}'")).await;
    assert_eq!(database.count("agent_actions").await, 3);
}

#[tokio::test]
async fn the_audit_s_guards_apply_even_with_triggers_switched_off() {
    let database = Database::migrated().await;
    action(&database, "now()").await;
    database.execute("SET session_replication_role = replica").await;
    for sql in ["UPDATE agent_actions SET agent_id = 'x'", "DELETE FROM agent_actions", "TRUNCATE agent_actions"] {
        assert_append_only(&database, sql).await;
    }
}

#[tokio::test]
async fn an_incident_with_audit_rows_can_not_be_deleted() {
    let database = Database::migrated().await;
    let incident = incident(&database, "shop", "production", "resolved").await;
    database.execute(&format!("INSERT INTO agent_actions (agent_id, incident_id) VALUES ('a', '{incident}')")).await;
    let (code, _) = refusal(&database, "DELETE FROM incidents").await;
    assert_eq!(code, SqlState::FOREIGN_KEY_VIOLATION);
}

#[tokio::test]
async fn at_most_one_incident_is_open_per_application_environment_and_fingerprint() {
    let database = Database::migrated().await;
    let first = incident(&database, "shop", "production", "detected").await;
    for status in ["detected", "acknowledged"] {
        let (code, constraint) = refusal(&database, &insert_incident("shop", "production", status)).await;
        assert_eq!((code, constraint.as_str()), (SqlState::UNIQUE_VIOLATION, "incidents_open_fingerprint_key"));
    }
    // Other keys are other incidents, and any number may be resolved.
    incident(&database, "shop", "staging", "detected").await;
    incident(&database, "admin", "production", "detected").await;
    incident(&database, "shop", "production", "resolved").await;
    incident(&database, "shop", "production", "resolved").await;

    database.execute(&format!("UPDATE incidents SET status = 'acknowledged' WHERE id = '{first}'")).await;
    refusal(&database, &insert_incident("shop", "production", "detected")).await;
    database.execute(&format!("UPDATE incidents SET status = 'resolved' WHERE id = '{first}'")).await;
    incident(&database, "shop", "production", "detected").await;
    // An incident can't reopen beside its open successor.
    let reopen = format!("UPDATE incidents SET status = 'detected' WHERE id = '{first}'");
    assert_eq!(refusal(&database, &reopen).await.0, SqlState::UNIQUE_VIOLATION);
}

#[tokio::test]
async fn incidents_of_others_without_a_fingerprint_never_conflict() {
    let database = Database::migrated().await;
    for number in 1..=3 {
        database
            .execute(&format!(
                "INSERT INTO incidents (incident_id, title, severity, category, application, error_message)
                VALUES ('INC-{number}', 't', 'LOW', 'unknown', 'a', 'm')"
            ))
            .await;
    }
    assert_eq!(database.count("incidents WHERE status = 'detected'").await, 3);
}

#[tokio::test]
async fn at_most_one_alert_is_unresolved_per_service_environment_and_type() {
    let database = Database::migrated().await;
    database.execute(&insert_alert("shop", "production", "service_down", "active")).await;
    for status in ["active", "acknowledged"] {
        let (code, constraint) = refusal(&database, &insert_alert("shop", "production", "service_down", status)).await;
        assert_eq!((code, constraint.as_str()), (SqlState::UNIQUE_VIOLATION, "alert_events_unresolved_key"));
    }
    for (service, environment, alert_type, status) in [
        ("shop", "production", "service_degraded", "active"),
        ("shop", "staging", "service_down", "acknowledged"),
        ("admin", "production", "service_down", "active"),
        ("shop", "production", "service_down", "resolved"),
        ("shop", "production", "service_down", "resolved"),
    ] {
        database.execute(&insert_alert(service, environment, alert_type, status)).await;
    }
    database.execute("UPDATE alert_events SET status = 'resolved'").await;
    database.execute(&insert_alert("shop", "production", "service_down", "active")).await;
}
