//! Mutes: silences, and parent services that are down.

use chrono::{TimeDelta, Utc};
use serde_json::json;

use super::inbox::Inbox;
use super::who::{pagerduty, sms};
use super::{Notifier, event, of_incident, webhook};

pub(super) async fn silence(notifier: &Notifier, minutes: f64) {
    notifier
        .database
        .rows(
            "INSERT INTO silences (id, matchers, starts_at, ends_at, author, comment, created_at)
            VALUES (gen_random_uuid(), $1, now() - interval '1 second', now() + make_interval(secs => $2::float8 * 60), 'ana', 'moving', now())",
            &[&json!({"application": ["shop"]}), &minutes],
        )
        .await;
}

#[tokio::test]
async fn a_problem_in_a_silence_is_notified_after_it_if_it_still_fires() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    silence(&notifier, 10.0).await;
    notifier.open("INC-1", "HIGH").await;
    notifier.incident_of("INC-2", "HIGH", "bank").await;
    notifier.receive(&[of_incident("IncidentOpened", "INC-2")]).await;
    notifier.sweep(Utc::now() + TimeDelta::minutes(9)).await;
    assert_eq!(inbox.got().iter().map(|got| got.title().to_owned()).collect::<Vec<_>>(), ["It broke: INC-2"]);
    notifier.sweep(Utc::now() + TimeDelta::minutes(11)).await;
    notifier.sweep(Utc::now() + TimeDelta::minutes(12)).await;
    assert_eq!(inbox.kinds(), "firing firing");
    assert_eq!(inbox.got()[1].title(), "It broke: INC-1");
}

#[tokio::test]
async fn problems_that_fired_and_ended_in_a_silence_are_one_summary() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    silence(&notifier, 10.0).await;
    for nth in 0..12 {
        let id = format!("INC-{nth}");
        notifier.open(&id, if nth == 7 { "CRITICAL" } else { "LOW" }).await;
        notifier.resolve(&id).await;
    }
    notifier.sweep(Utc::now() + TimeDelta::minutes(5)).await;
    assert_eq!(inbox.kinds(), "");
    notifier.sweep(Utc::now() + TimeDelta::minutes(11)).await;
    notifier.sweep(Utc::now() + TimeDelta::minutes(12)).await;
    assert_eq!(inbox.kinds(), "summary");
    let data = inbox.got()[0].body["data"].clone();
    assert_eq!((&data["problems"][0]["title"], &data["more"]), (&json!("It broke: INC-7"), &json!(2)));
    assert_eq!(data["remark"], "ana: moving");
    assert_eq!(notifier.database.count("notification_members").await, 0);
}

#[tokio::test]
async fn an_end_within_a_silence_is_notified_after_it_to_receivers_of_the_beginning() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier.open("INC-1", "HIGH").await;
    silence(&notifier, 10.0).await;
    notifier.resolve("INC-1").await;
    assert_eq!(inbox.kinds(), "firing");
    // It is deleted early.
    notifier.database.execute("UPDATE silences SET ends_at = now()").await;
    notifier.sweep(Utc::now() + TimeDelta::seconds(1)).await;
    assert_eq!(inbox.kinds(), "firing resolved");
}

#[tokio::test]
async fn while_a_parent_is_down_its_children_are_muted() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier
        .database
        .execute(
            "INSERT INTO services (name, application, target, state, policy) VALUES
                ('database', 'shop', 'tcp://x', 'down', '{}'), ('api', 'shop', 'http://x', 'down', '{\"parents\": [\"database\"]}');
            INSERT INTO incidents (incident_id, title, severity, category, application, error_message, error_type)
            SELECT 'INC-' || n, 'down', 'CRITICAL', 'infrastructure', 'shop', 'down', 'health_check_failure'
            FROM generate_series(1, 2) AS n;
            INSERT INTO alert_events (service_name, alert_type, status, incident_id)
            SELECT 'api', CASE incident_id WHEN 'INC-1' THEN 'service_down' ELSE 'service_degraded' END, 'active', id
            FROM incidents",
        )
        .await;
    notifier.receive(&[of_incident("IncidentOpened", "INC-1"), of_incident("IncidentOpened", "INC-2")]).await;
    assert_eq!(inbox.kinds(), "");
    // One ends while the parent is down: that is not notified. The other still fires after the parent's recovery.
    notifier.resolve("INC-2").await;
    notifier.sweep(Utc::now()).await;
    assert_eq!(inbox.kinds(), "");
    notifier.database.execute("UPDATE services SET state = 'healthy' WHERE name = 'database'").await;
    notifier.sweep(Utc::now()).await;
    notifier.sweep(Utc::now()).await;
    assert_eq!(inbox.kinds(), "firing");
    assert_eq!(inbox.got()[0].body["data"]["problems"][0]["incident_id"], "INC-1");
    notifier.resolve("INC-1").await;
    assert_eq!(inbox.kinds(), "firing resolved");
}

#[tokio::test]
async fn a_problem_that_a_parent_muted_is_notified_only_if_it_outlasts_the_parent_s_outage() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier
        .database
        .execute(
            "INSERT INTO services (name, application, target, state, policy) VALUES
                ('database', 'shop', 'tcp://x', 'down', '{}'), ('api', 'shop', 'http://x', 'down', '{\"parents\": [\"database\"]}');
            INSERT INTO incidents (incident_id, title, severity, category, application, error_message, error_type)
            SELECT 'INC-' || n, 'down', 'CRITICAL', 'infrastructure', 'shop', 'down', 'health_check_failure'
            FROM generate_series(1, 2) AS n;
            INSERT INTO alert_events (service_name, alert_type, status, incident_id)
            SELECT 'api', CASE incident_id WHEN 'INC-1' THEN 'service_down' ELSE 'service_degraded' END, 'active', id
            FROM incidents",
        )
        .await;
    notifier.receive(&[of_incident("IncidentOpened", "INC-1"), of_incident("IncidentOpened", "INC-2")]).await;
    let up = "UPDATE services SET state = 'healthy', state_changed_at = now() WHERE name = 'database'";
    notifier.database.execute(up).await;
    notifier.sweep(Utc::now() + TimeDelta::seconds(90)).await;
    notifier.receive(&[of_incident("IncidentOpened", "INC-1")]).await;
    assert_eq!(inbox.kinds(), "");
    notifier.resolve("INC-2").await;
    notifier.sweep(Utc::now() + TimeDelta::seconds(125)).await;
    assert_eq!(inbox.kinds(), "firing");
    assert_eq!(inbox.got()[0].body["data"]["problems"][0]["incident_id"], "INC-1");
}

#[tokio::test]
async fn each_of_several_muted_problems_is_notified() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier
        .route(json!({"routes": [
            {"name": "all", "channels": ["webhook"], "group_by": ["application"], "group_interval_seconds": 0}
        ]}))
        .await;
    for id in ["INC-1", "INC-2", "INC-3"] {
        notifier.open(id, "LOW").await;
    }
    silence(&notifier, 10.0).await;
    for id in ["INC-1", "INC-2", "INC-3"] {
        notifier.acknowledge(id).await;
    }
    inbox.forget();
    notifier.sweep(Utc::now() + TimeDelta::minutes(11)).await;
    assert_eq!(inbox.kinds(), "acknowledged acknowledged acknowledged");
    let titles: std::collections::BTreeSet<_> = inbox.got().iter().map(|got| got.title().to_owned()).collect();
    assert_eq!(titles.len(), 3);
}

#[tokio::test]
async fn the_ends_of_several_in_a_silence_are_notified_together_after_it() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier
        .route(json!({"routes": [
            {"name": "all", "channels": ["webhook"], "group_by": ["environment"], "group_interval_seconds": 0}
        ]}))
        .await;
    for id in ["INC-1", "INC-2"] {
        notifier.open(id, "LOW").await;
    }
    notifier.incident_of("INC-3", "LOW", "bank").await;
    notifier.receive(&[of_incident("IncidentOpened", "INC-3")]).await;
    silence(&notifier, 10.0).await;
    for id in ["INC-1", "INC-2", "INC-3"] {
        notifier.resolve(id).await;
    }
    // The silence does not match the third: its end is notified, as of a part of the group.
    notifier.sweep(Utc::now()).await;
    assert_eq!(inbox.kinds(), "firing firing firing repeat");
    let part = inbox.got()[3].body["data"].clone();
    assert_eq!((&part["problems"][0]["title"], &part["is_part"]), (&json!("It broke: INC-3"), &json!(true)));
    assert_eq!(part["remark"], "3 of 3 are over");
    inbox.forget();
    notifier.sweep(Utc::now() + TimeDelta::minutes(11)).await;
    let over: std::collections::BTreeSet<_> = inbox
        .got()
        .iter()
        .flat_map(|got| got.body["data"]["problems"].as_array().unwrap().clone())
        .map(|problem| problem["title"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(over.into_iter().collect::<Vec<_>>(), ["It broke: INC-1", "It broke: INC-2"]);
    assert_eq!(inbox.got().last().unwrap().kind(), "resolved");
    assert_eq!(notifier.database.count("notification_members").await, 0);
}

#[tokio::test]
async fn a_problem_that_fired_in_a_silence_is_notified_in_each_of_its_groups() {
    let inbox = Inbox::open().await;
    let variables: Vec<_> = webhook(&inbox).into_iter().chain(pagerduty(&inbox)).collect();
    let notifier = Notifier::with(&variables).await;
    notifier
        .route(json!({"routes": [
            {"name": "one", "channels": ["pagerduty"], "continue": true}, {"name": "two", "channels": ["webhook"]}
        ]}))
        .await;
    silence(&notifier, 10.0).await;
    notifier.open("INC-1", "HIGH").await;
    assert_eq!(notifier.messages().await, [] as [&str; 0]);
    notifier.sweep(Utc::now() + TimeDelta::minutes(11)).await;
    assert_eq!(notifier.messages().await, ["sent firing pagerduty", "sent firing webhook"]);
}

#[tokio::test]
async fn an_acknowledged_incident_that_is_reopened_in_a_silence_is_notified_after_it() {
    let inbox = Inbox::open().await;
    let variables: Vec<_> = webhook(&inbox).into_iter().chain(pagerduty(&inbox)).collect();
    let notifier = Notifier::with(&variables).await;
    notifier
        .route(
            json!({"routes": [{"name": "all", "channels": ["webhook", "pagerduty"], "repeat_interval_seconds": 60}]}),
        )
        .await;
    notifier.open("INC-1", "HIGH").await;
    notifier.acknowledge("INC-1").await;
    silence(&notifier, 10.0).await;
    notifier.resolve("INC-1").await;
    notifier.reopen("INC-1").await;
    notifier.sweep(Utc::now() + TimeDelta::minutes(11)).await;
    // PagerDuty's are in between.
    let kinds = inbox.kinds();
    assert_eq!(kinds.split_whitespace().collect::<Vec<_>>(), ["firing", "acknowledged", "firing"]);
    assert_eq!(notifier.database.count("notifications WHERE kind IN ('repeat', 'escalated')").await, 0);
}

#[tokio::test]
async fn a_severity_raised_in_a_silence_adds_receivers_after_it() {
    let inbox = Inbox::open().await;
    let variables: Vec<_> = webhook(&inbox).into_iter().chain(pagerduty(&inbox)).collect();
    let notifier = Notifier::with(&variables).await;
    // Without the webhook as the receiver of the lower severity, email would get it, too.
    notifier
        .route(json!({"routes": [
            {"name": "bad", "match": {"severity": ["CRITICAL"]}, "channels": ["pagerduty"], "continue": true},
            {"name": "all", "channels": ["webhook"]}
        ]}))
        .await;
    notifier.open("INC-1", "MEDIUM").await;
    silence(&notifier, 10.0).await;
    notifier.set("INC-1", "severity = 'CRITICAL'").await;
    let worse = event("AlertEscalated", json!({"reason": "severity", "incident_id": "INC-1"}));
    notifier.receive(&[worse]).await;
    assert_eq!(notifier.messages().await, ["sent firing webhook"]);
    notifier.sweep(Utc::now() + TimeDelta::minutes(11)).await;
    assert_eq!(notifier.messages().await, ["sent firing webhook", "sent escalated pagerduty"]);
}

#[tokio::test]
async fn a_reopening_with_a_higher_severity_in_a_silence_adds_receivers_after_it() {
    let inbox = Inbox::open().await;
    let variables: Vec<_> = webhook(&inbox).into_iter().chain(pagerduty(&inbox)).chain(sms(&inbox)).collect();
    let notifier = Notifier::with(&variables).await;
    notifier
        .database
        .execute("UPDATE system_config SET value = '{\"email\": null}' WHERE key = 'notification_email'")
        .await;
    notifier
        .route(json!({"routes": [
            {"name": "bad", "match": {"severity": ["CRITICAL"]}, "channels": ["webhook", "sms"]},
            {"name": "all", "channels": ["webhook"]}
        ]}))
        .await;
    notifier.open("INC-1", "MEDIUM").await;
    silence(&notifier, 10.0).await;
    notifier.resolve("INC-1").await;
    // As record_reports does: one statement, whose trigger writes the event.
    notifier.set("INC-1", "severity = 'CRITICAL', status = 'detected', resolved_at = NULL, reopened_at = now()").await;
    let sql = "SELECT detail FROM event_outbox WHERE detail_type = 'AlertEscalated'";
    let detail: serde_json::Value = notifier.database.value(sql).await;
    notifier.receive(&[of_incident("IncidentReopened", "INC-1"), event("AlertEscalated", detail)]).await;
    notifier.sweep(Utc::now() + TimeDelta::minutes(11)).await;
    assert_eq!(notifier.messages().await, ["sent firing webhook", "sent escalated sms"]);
}

#[tokio::test]
async fn a_silence_that_starts_while_a_group_waits_mutes_all_of_it() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::to(&inbox).await;
    notifier
        .route(json!({"routes": [
            {"name": "all", "channels": ["webhook"], "group_by": ["severity"], "group_wait_seconds": 30}
        ]}))
        .await;
    for nth in 0..15 {
        notifier.open(&format!("INC-{nth}"), "LOW").await;
    }
    notifier.incident_of("INC-15", "LOW", "bank").await;
    notifier.receive(&[of_incident("IncidentOpened", "INC-15")]).await;
    silence(&notifier, 10.0).await;
    notifier.pass(31).await;
    notifier.sweep(Utc::now()).await;
    assert_eq!(inbox.kinds(), "firing");
    assert_eq!((inbox.got()[0].title(), &inbox.got()[0].body["data"]["more"]), ("It broke: INC-15", &json!(0)));
    assert_eq!(notifier.database.count("notification_members WHERE told IS NULL AND muted_by IS NOT NULL").await, 15);
}

#[tokio::test]
async fn a_summary_of_a_silence_is_one_text_message() {
    let inbox = Inbox::open().await;
    let notifier = Notifier::with(&[
        ("TWILIO_ACCOUNT_SID", "AC1".to_owned()),
        ("TWILIO_AUTH_TOKEN", "secret".to_owned()),
        ("TWILIO_FROM", "+15005550006".to_owned()),
        ("SMS_TO", "+4915112345678".to_owned()),
        ("TWILIO_API_URL", inbox.url("/twilio")),
    ])
    .await;
    silence(&notifier, 10.0).await;
    notifier.open("INC-1", "CRITICAL").await;
    notifier.resolve("INC-1").await;
    notifier.sweep(Utc::now() + TimeDelta::minutes(11)).await;
    assert_eq!(notifier.messages().await, ["sent summary sms"]);
}
