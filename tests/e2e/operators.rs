//! Fixtures of what people do about an incident, shared by the tests of `admin`, `slack_actions` and
//! `pagerduty_events`.

use harness::Database;
use serde_json::Value;
use uuid::Uuid;

/// A database with one open incident of a failed check, `INC-HEALTH-1`, and its alert, which is not announced yet.
pub(crate) async fn with_incident() -> (Database, Uuid) {
    let database = Database::migrated().await;
    let sql = "
        WITH incident AS (
            INSERT INTO incidents (incident_id, title, status, severity, category, application, error_message, fingerprint)
            VALUES ('INC-HEALTH-1', 'Health check failed: shop', 'detected', 'CRITICAL', 'infrastructure', 'shop', 'boom',
                'health:shop')
            RETURNING id
        )
        INSERT INTO alert_events (service_name, alert_type, status, message, incident_id, announce_at)
        SELECT 'shop', 'service_down', 'active', 'it fails', id, now() + interval '1 hour' FROM incident
        RETURNING id";
    let alert = database.rows(sql, &[]).await[0].get(0);
    (database, alert)
}

/// An alert that belongs to no incident, and is announced.
pub(crate) async fn with_alert(database: &Database, service: &str) -> Uuid {
    let sql = "INSERT INTO alert_events (service_name, alert_type, status, message, announce_at, announced_at)
        VALUES ($1, 'service_degraded', 'active', 'it is slow', now(), now()) RETURNING id";
    database.rows(sql, &[&service]).await[0].get(0)
}

/// The incident's status and assignee.
pub(crate) async fn incident(database: &Database) -> (String, Option<String>) {
    let rows = database.rows("SELECT status::text, handled_by::text FROM incidents", &[]).await;
    (rows[0].get(0), rows[0].get(1))
}

/// The alert's status, and whether its announcement is pending.
pub(crate) async fn alert(database: &Database, id: Uuid) -> (String, bool) {
    let sql = "SELECT status, announced_at IS NULL AND announce_at IS NOT NULL AND status = 'active'
        FROM alert_events WHERE id = $1";
    let rows = database.rows(sql, &[&id]).await;
    (rows[0].get(0), rows[0].get(1))
}

/// The unpublished events, oldest first: name and detail.
pub(crate) async fn events(database: &Database) -> Vec<(String, Value)> {
    let rows = database.rows("SELECT detail_type, detail FROM event_outbox ORDER BY created_at, id", &[]).await;
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// The audit rows, oldest first: type and description.
pub(crate) async fn audit(database: &Database) -> Vec<(String, String)> {
    let sql = "SELECT action_type::text, action_description FROM agent_actions ORDER BY timestamp, id";
    database.rows(sql, &[]).await.iter().map(|row| (row.get(0), row.get(1))).collect()
}
