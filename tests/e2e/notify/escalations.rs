//! Escalations: an incident is not acknowledged in time, or healing gave up.

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use super::inbox::Inbox;
use super::{Notifier, event, named, webhook};

async fn with_escalation(inbox: &Inbox) -> Notifier {
    let variables: Vec<_> = webhook(inbox).into_iter().chain(named(inbox, "SENIOR")).collect();
    let notifier = Notifier::with(&variables).await;
    notifier
        .route(json!({
            "routes": [{"name": "all", "channels": ["webhook"], "escalation": "on-call"}],
            "escalations": [{"name": "on-call", "steps": [
                {"after_seconds": 300, "channels": ["webhook:SENIOR"]}, {"after_seconds": 600, "channels": ["webhook:SENIOR"]}
            ]}]
        }))
        .await;
    notifier
}

/// A step, as `dispatch` writes it.
async fn step(notifier: &Notifier, step: u32) -> Value {
    let moved = format!("UPDATE escalations SET next_step = {step} WHERE ended_at IS NULL");
    notifier.database.execute(&moved).await;
    let group_key: String = notifier.database.value("SELECT group_key FROM escalations").await;
    event(
        "AlertEscalated",
        json!({"reason": "unacknowledged", "group_key": group_key, "policy": "on-call", "step": step,
            "receivers": ["webhook:SENIOR"], "escalated_at": Utc::now()}),
    )
}

#[tokio::test]
async fn a_step_is_notified_unless_the_incident_is_acknowledged() {
    let inbox = Inbox::open().await;
    let notifier = with_escalation(&inbox).await;
    notifier.open("INC-1", "HIGH").await;
    let due: bool = notifier
        .database
        .value(
            "SELECT ended_at IS NULL AND next_step = 0 AND policy = 'on-call' AND jsonb_array_length(steps) = 2
                AND next_at BETWEEN now() + interval '290 seconds' AND now() + interval '310 seconds' FROM escalations",
        )
        .await;
    assert!(due);
    let first = step(&notifier, 1).await;
    notifier.receive(std::slice::from_ref(&first)).await;
    notifier.receive(&[first]).await;
    assert_eq!(inbox.kinds(), "firing escalated");
    assert_eq!(inbox.got()[1].path, "/SENIOR");
    assert_eq!(inbox.got()[1].body["data"]["remark"], "Not acknowledged: step 1 of \"on-call\".");
    notifier.acknowledge("INC-1").await;
    notifier.receive(&[step(&notifier, 2).await]).await;
    // Both receivers were notified, so both get the acknowledgement and the end.
    assert_eq!(inbox.got().len(), 4);
    let ended: String = notifier.database.value("SELECT ended_by FROM escalations WHERE ended_at IS NOT NULL").await;
    assert_eq!(ended, "ana");
    notifier.resolve("INC-1").await;
    assert_eq!(notifier.database.count("notifications WHERE kind = 'resolved' AND status = 'sent'").await, 2);
    // A reopened incident starts from the first step.
    notifier.reopen("INC-1").await;
    assert_eq!(
        notifier.database.count("escalations WHERE ended_at IS NULL AND next_step = 0 AND next_at > now()").await,
        1
    );
    assert_eq!(
        notifier.database.count("notifications WHERE kind = 'firing'").await,
        2,
        "only the first receiver is notified"
    );
}

#[tokio::test]
async fn a_step_after_the_stored_acknowledgement_is_ignored() {
    let inbox = Inbox::open().await;
    let notifier = with_escalation(&inbox).await;
    notifier.open("INC-1", "HIGH").await;
    // The event of the acknowledgement is not delivered yet.
    notifier.set("INC-1", "status = 'acknowledged'").await;
    notifier.receive(&[step(&notifier, 1).await]).await;
    assert_eq!(inbox.kinds(), "firing");
}

pub(super) fn healed(attempt: u32, outcome: &str) -> Value {
    event(
        "HealFinished",
        json!({"incident_id": "INC-1", "playbook": "restart", "attempt": attempt, "outcome": outcome,
            "message": "it did not answer", "finished_at": Utc::now()}),
    )
}

#[tokio::test]
async fn a_playbook_is_notified_from_its_third_attempt_on() {
    let inbox = Inbox::open().await;
    let notifier = with_escalation(&inbox).await;
    notifier.open("INC-1", "HIGH").await;
    notifier.receive(&[healed(1, "failed"), healed(2, "failed")]).await;
    assert_eq!(inbox.kinds(), "firing");
    notifier.receive(&[healed(3, "failed")]).await;
    assert_eq!(inbox.kinds(), "firing heal");
    assert_eq!(inbox.got()[1].body["data"]["remark"], "restart, attempt 3: it did not answer");
    notifier.receive(&[healed(4, "gave_up")]).await;
    assert_eq!(inbox.kinds(), "firing heal escalated");
    assert_eq!(inbox.got()[2].path, "/SENIOR");
    // It succeeded in the end: the chat is notified, also if the incident is resolved by then.
    notifier.resolve("INC-1").await;
    notifier.receive(&[healed(5, "succeeded")]).await;
    assert_eq!(notifier.database.count("notifications WHERE kind = 'resolved' AND status = 'sent'").await, 2);
    assert_eq!(notifier.database.count("notifications WHERE kind = 'heal' AND status = 'sent'").await, 2);
}

#[tokio::test]
async fn a_silence_mutes_an_escalation() {
    let inbox = Inbox::open().await;
    let notifier = with_escalation(&inbox).await;
    notifier.open("INC-1", "HIGH").await;
    notifier
        .database
        .execute(
            "INSERT INTO silences VALUES (gen_random_uuid(), '{}', now(), now() + interval '1 hour', 'ana', 'x', now());
            UPDATE notification_members SET muted_by = 'silence:' || (SELECT id FROM silences)",
        )
        .await;
    notifier.receive(&[step(&notifier, 1).await, healed(3, "failed")]).await;
    notifier.sweep(Utc::now() + TimeDelta::minutes(1)).await;
    assert_eq!(inbox.kinds(), "firing");
}

#[tokio::test]
async fn a_silence_after_the_first_notification_postpones_the_step() {
    let inbox = Inbox::open().await;
    let notifier = with_escalation(&inbox).await;
    notifier.open("INC-1", "HIGH").await;
    notifier
        .database
        .execute(
            "INSERT INTO silences VALUES (gen_random_uuid(), '{}', now(), now() + interval '1 hour', 'ana', 'x', now())",
        )
        .await;
    notifier.receive(&[step(&notifier, 1).await]).await;
    assert_eq!(inbox.kinds(), "firing");
    let put_back = "escalations WHERE next_step = 0 AND ended_at IS NULL AND next_at > now() + interval '50 seconds'";
    assert_eq!(notifier.database.count(put_back).await, 1);
    assert_eq!(
        notifier.database.count("notification_members WHERE muted_by LIKE 'silence:%'").await,
        1,
        "so dispatch sees it"
    );
}

#[tokio::test]
async fn a_parent_that_fails_after_the_first_notification_postpones_the_step() {
    let inbox = Inbox::open().await;
    let notifier = with_escalation(&inbox).await;
    notifier
        .database
        .execute(
            "INSERT INTO services (name, application, target, state, policy) VALUES
                ('database', 'shop', 'tcp://x', 'healthy', '{}'), ('api', 'shop', 'http://x', 'down', '{\"parents\": [\"database\"]}');
            INSERT INTO incidents (incident_id, title, severity, category, application, error_message, error_type)
            VALUES ('INC-1', 'down', 'CRITICAL', 'infrastructure', 'shop', 'down', 'health_check_failure');
            INSERT INTO alert_events (service_name, alert_type, status, incident_id)
            SELECT 'api', 'service_down', 'active', id FROM incidents",
        )
        .await;
    notifier.receive(&[super::of_incident("IncidentOpened", "INC-1")]).await;
    notifier.database.execute("UPDATE services SET state = 'down'").await;
    notifier.receive(&[step(&notifier, 1).await]).await;
    assert_eq!(inbox.kinds(), "firing");
    assert_eq!(notifier.database.count("escalations WHERE next_step = 0 AND next_at > now()").await, 1);
}

#[tokio::test]
async fn a_late_step_of_an_escalation_that_has_ended_or_restarted_is_ignored() {
    let inbox = Inbox::open().await;
    let notifier = with_escalation(&inbox).await;
    notifier.open("INC-1", "HIGH").await;
    let late = step(&notifier, 1).await;
    notifier.acknowledge("INC-1").await;
    // The event of the reopening is not delivered yet.
    notifier.set("INC-1", "status = 'detected', handled_by = NULL, reopened_at = now()").await;
    notifier.receive(std::slice::from_ref(&late)).await;
    assert_eq!(inbox.kinds(), "firing acknowledged");
    notifier.receive(&[super::of_incident("IncidentReopened", "INC-1"), late]).await;
    assert_eq!(inbox.kinds(), "firing acknowledged firing");
    assert_eq!(notifier.database.count("escalations WHERE ended_at IS NULL AND next_step = 0").await, 1);
}

#[tokio::test]
async fn an_escalation_restarts_where_a_problem_is_reopened_before_its_end_was_notified() {
    let inbox = Inbox::open().await;
    let notifier = with_escalation(&inbox).await;
    let again = "escalations WHERE ended_at IS NULL AND next_step = 0 AND next_at > now()";
    notifier.open("INC-1", "HIGH").await;
    notifier.receive(&[step(&notifier, 1).await]).await;
    super::mutes::silence(&notifier, 10.0).await;
    notifier.resolve("INC-1").await;
    assert_eq!(notifier.database.count("escalations WHERE ended_at IS NOT NULL").await, 1);
    notifier.reopen("INC-1").await;
    assert_eq!(notifier.database.count(again).await, 0, "a silence holds");
    notifier.database.execute("UPDATE silences SET ends_at = now()").await;
    notifier.sweep(Utc::now()).await;
    assert_eq!(inbox.kinds(), "firing escalated", "they know of it");
    assert_eq!(notifier.database.count(again).await, 1);
    // An escalation that took its last step does not restart by itself.
    notifier.database.execute("UPDATE escalations SET next_step = 2, next_at = NULL").await;
    notifier.receive(&[super::of_incident("IncidentReopened", "INC-1")]).await;
    assert_eq!(notifier.database.count("escalations WHERE next_step = 2 AND next_at IS NULL").await, 1);
}

#[tokio::test]
async fn a_new_member_of_an_acknowledged_group_starts_its_escalation_when_notified() {
    let inbox = Inbox::open().await;
    let notifier = with_escalation(&inbox).await;
    notifier
        .route(json!({
            "routes": [{"name": "all", "channels": ["webhook"], "escalation": "on-call", "group_by": ["application"],
                "group_interval_seconds": 60}],
            "escalations": [{"name": "on-call", "steps": [{"after_seconds": 30, "channels": ["webhook:SENIOR"]}]}]
        }))
        .await;
    notifier.open("INC-1", "HIGH").await;
    notifier.acknowledge("INC-1").await;
    notifier.open("INC-2", "HIGH").await;
    assert_eq!(inbox.kinds(), "firing acknowledged");
    assert_eq!(notifier.database.count("escalations WHERE ended_at IS NOT NULL").await, 1);
    notifier.pass(61).await;
    notifier.sweep(Utc::now()).await;
    assert_eq!(inbox.kinds(), "firing acknowledged firing");
    assert_eq!(notifier.database.count("escalations WHERE ended_at IS NULL AND next_step = 0").await, 1);
}

#[tokio::test]
async fn where_healing_gave_up_before_the_first_notification_all_receivers_are_notified() {
    let inbox = Inbox::open().await;
    let notifier = with_escalation(&inbox).await;
    notifier.incident("INC-1", "HIGH").await;
    // One after the other: the events of a batch are evaluated concurrently.
    notifier.receive(&[healed(4, "gave_up")]).await;
    notifier.receive(&[super::of_incident("IncidentOpened", "INC-1")]).await;
    assert_eq!(inbox.kinds(), "escalated escalated");
    let mut paths: Vec<_> = inbox.got().into_iter().map(|got| got.path).collect();
    paths.sort();
    assert_eq!(paths, ["/", "/SENIOR"]);
}

#[tokio::test]
async fn too_many_escalations_are_one_digest_with_the_rest() {
    let chat = Inbox::open().await;
    let notifier = Notifier::with(&[("SLACK_WEBHOOK_URL", chat.url("/slack"))]).await;
    notifier.open("INC-0", "LOW").await;
    let many = "INSERT INTO notifications (id, event_id, channel, recipient, kind, group_key, dedup_key, content,
            next_attempt_at, created_at)
        SELECT gen_random_uuid(), gen_random_uuid(), channel, recipient, 'escalated', 'group ' || n, 'key ' || n, content,
            now(), now()
        FROM notifications, generate_series(1, 200) AS n;
        UPDATE notification_receivers SET tokens = 20, refilled_at = now() + interval '1 hour'";
    notifier.database.execute(many).await;
    notifier.sweep(Utc::now()).await;
    // The burst, and as many that the next minute owes.
    assert_eq!(notifier.database.count("notifications WHERE kind = 'escalated' AND status = 'sent'").await, 40);
    notifier.sweep(Utc::now() + TimeDelta::seconds(31)).await;
    assert_eq!(notifier.database.count("notifications WHERE status = 'digested'").await, 160);
    assert_eq!(notifier.database.count("notifications WHERE kind = 'digest' AND status = 'sent'").await, 1);
}
