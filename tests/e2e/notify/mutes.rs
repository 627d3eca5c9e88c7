//! Silences, and services that others need.

use chrono::{TimeDelta, Utc};
use serde_json::json;

use super::inbox::Inbox;
use super::{Telling, of_incident};

async fn silence(telling: &Telling, minutes: f64) {
    telling
        .database
        .rows(
            "INSERT INTO silences (id, matchers, starts_at, ends_at, author, comment, created_at)
            VALUES (gen_random_uuid(), $1, now() - interval '1 second', now() + make_interval(secs => $2::float8 * 60), 'ana', 'moving', now())",
            &[&json!({"application": ["shop"]}), &minutes],
        )
        .await;
}

#[tokio::test]
async fn what_fires_in_a_silence_is_told_when_it_ends_if_it_still_fires() {
    let inbox = Inbox::open().await;
    let telling = Telling::to(&inbox).await;
    silence(&telling, 10.0).await;
    telling.open("INC-1", "HIGH").await;
    telling.incident_of("INC-2", "HIGH", "bank").await;
    telling.hear(&[of_incident("IncidentOpened", "INC-2")]).await;
    telling.sweep(Utc::now() + TimeDelta::minutes(9)).await;
    assert_eq!(inbox.got().iter().map(|got| got.title().to_owned()).collect::<Vec<_>>(), ["It broke: INC-2"]);
    telling.sweep(Utc::now() + TimeDelta::minutes(11)).await;
    telling.sweep(Utc::now() + TimeDelta::minutes(12)).await;
    assert_eq!(inbox.kinds(), "firing firing");
    assert_eq!(inbox.got()[1].title(), "It broke: INC-1");
}

#[tokio::test]
async fn what_fired_and_ended_in_a_silence_is_one_summary() {
    let inbox = Inbox::open().await;
    let telling = Telling::to(&inbox).await;
    silence(&telling, 10.0).await;
    for nth in 0..12 {
        let id = format!("INC-{nth}");
        telling.open(&id, if nth == 7 { "CRITICAL" } else { "LOW" }).await;
        telling.resolve(&id).await;
    }
    telling.sweep(Utc::now() + TimeDelta::minutes(5)).await;
    assert_eq!(inbox.kinds(), "");
    telling.sweep(Utc::now() + TimeDelta::minutes(11)).await;
    telling.sweep(Utc::now() + TimeDelta::minutes(12)).await;
    assert_eq!(inbox.kinds(), "summary");
    let data = inbox.got()[0].body["data"].clone();
    assert_eq!((&data["problems"][0]["title"], &data["more"]), (&json!("It broke: INC-7"), &json!(2)));
    assert_eq!(data["remark"], "ana: moving");
    assert_eq!(telling.database.count("notification_members").await, 0);
}

#[tokio::test]
async fn an_end_within_a_silence_is_told_after_it_to_those_who_knew() {
    let inbox = Inbox::open().await;
    let telling = Telling::to(&inbox).await;
    telling.open("INC-1", "HIGH").await;
    silence(&telling, 10.0).await;
    telling.resolve("INC-1").await;
    assert_eq!(inbox.kinds(), "firing");
    // It is taken away early.
    telling.database.execute("UPDATE silences SET ends_at = now()").await;
    telling.sweep(Utc::now() + TimeDelta::seconds(1)).await;
    assert_eq!(inbox.kinds(), "firing resolved");
}

#[tokio::test]
async fn while_a_parent_is_down_nobody_hears_of_its_children() {
    let inbox = Inbox::open().await;
    let telling = Telling::to(&inbox).await;
    telling
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
    telling.hear(&[of_incident("IncidentOpened", "INC-1"), of_incident("IncidentOpened", "INC-2")]).await;
    assert_eq!(inbox.kinds(), "");
    // One ends while the parent is down: that is told nobody. The other is still there when it is up again.
    telling.resolve("INC-2").await;
    telling.sweep(Utc::now()).await;
    assert_eq!(inbox.kinds(), "");
    telling.database.execute("UPDATE services SET state = 'healthy' WHERE name = 'database'").await;
    telling.sweep(Utc::now()).await;
    telling.sweep(Utc::now()).await;
    assert_eq!(inbox.kinds(), "firing");
    assert_eq!(inbox.got()[0].body["data"]["problems"][0]["incident_id"], "INC-1");
    telling.resolve("INC-1").await;
    assert_eq!(inbox.kinds(), "firing resolved");
}
