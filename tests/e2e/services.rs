//! Changing, disabling and removing a service: its open incidents and alerts, and its stored measurements.

use std::collections::BTreeMap;

use chrono::Utc;
use harness::{Behaviour, Target, TestStack};
use serde_json::{Value, json};
use shared::model::ServiceSpec;
use shared::store::services::{self, Applied, Wanted};

/// Removes these services of production, as `watchkeeper apply --prune` does.
async fn prune(stack: &TestStack, names: &[&str]) -> Applied {
    let removed: Vec<_> = names.iter().map(|name| ((*name).to_owned(), "production".to_owned())).collect();
    let wanted = &Wanted { services: &[], token_hashes: &BTreeMap::new(), removed: &removed, routing: None };
    let store = stack.database.store();
    store.run(|client| async move { services::apply(&client, wanted, Utc::now()).await }).await.unwrap()
}

fn disabled(spec: &ServiceSpec) -> ServiceSpec {
    ServiceSpec { enabled: false, ..spec.clone() }
}

/// The ends of incidents and alerts in the outbox, with what names their subjects.
async fn resolutions(stack: &TestStack) -> Vec<Value> {
    let sql = "SELECT coalesce(jsonb_agg(
            jsonb_strip_nulls(jsonb_build_object(
                'type', detail_type, 'id', event.id, 'incident_id', incident.incident_id, 'alert_id', alert.id,
                'application', incident.application, 'service', alert.service_name
            ))
            ORDER BY detail_type DESC, alert.service_name
        ), '[]')
        FROM event_outbox AS event
        LEFT JOIN incidents AS incident ON incident.incident_id = detail ->> 'incident_id'
        LEFT JOIN alert_events AS alert ON alert.id::text = detail ->> 'alert_id'
        WHERE detail_type IN ('IncidentResolved', 'AlertResolved')";
    let resolutions: Value = stack.database.value(sql).await;
    resolutions.as_array().cloned().unwrap_or_default()
}

#[tokio::test]
async fn disabling_or_removing_a_service_resolves_its_announced_outage_and_publishes_that() {
    let target = Target::start(Behaviour::Status(500)).await;
    let stack = TestStack::start().await;
    let (shop, mail) = (target.spec("shop", "production"), target.spec("mail", "production"));
    stack.apply(&[shop.clone(), mail.clone()]).await;
    stack.check_now().await;
    assert_eq!(stack.database.count("event_outbox WHERE detail_type = 'AlertRaised'").await, 2);
    // A second alert of the same service: each has a resolution of its own.
    let sql = "INSERT INTO alert_events (service_name, environment, alert_type, status, message)
        VALUES ('shop', 'production', 'certificate_expiring', 'active', 'soon')";
    stack.database.execute(sql).await;

    stack.apply(&[disabled(&shop)]).await;
    let ends = resolutions(&stack).await;
    let kinds: Vec<_> = ends.iter().map(|end| end["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["IncidentResolved", "AlertResolved", "AlertResolved"]);
    assert_ne!(ends[1]["id"], ends[2]["id"]);
    assert_ne!(ends[1]["alert_id"], ends[2]["alert_id"]);
    let sql = "SELECT jsonb_build_object('incident_id', incident_id, 'application', application)
        FROM incidents WHERE fingerprint = 'health:shop'";
    let incident: Value = stack.database.value(sql).await;
    assert_eq!(
        (&ends[0]["incident_id"], &ends[0]["application"]),
        (&incident["incident_id"], &incident["application"])
    );
    assert!(ends[1..].iter().all(|end| end["service"] == "shop"), "{ends:?}");
    let sql = "event_outbox JOIN alert_events alert ON alert.id::text = detail ->> 'alert_id'
        WHERE detail_type = 'AlertResolved' AND alert.status = 'resolved'";
    assert_eq!(stack.database.count(sql).await, 2);
    // Applied again: nothing is left to resolve.
    stack.apply(&[disabled(&shop)]).await;
    assert_eq!(resolutions(&stack).await.len(), 3);

    assert_eq!(prune(&stack, &["mail"]).await.removed, 1);
    let ends = resolutions(&stack).await;
    let of_mail: Vec<_> = ends.iter().filter(|end| end["service"] == "mail").collect();
    assert_eq!((ends.len(), of_mail.len()), (5, 1), "{ends:?}");
    assert_eq!(stack.database.count("incidents WHERE status <> 'resolved'").await, 0);
    assert_eq!(prune(&stack, &["mail"]).await.removed, 0);
    assert_eq!(resolutions(&stack).await.len(), 5);
}

#[tokio::test]
async fn an_unannounced_alert_is_resolved_without_an_event() {
    let target = Target::start(Behaviour::Status(500)).await;
    let stack = TestStack::start().await;
    let mut shop = target.spec("shop", "production");
    shop.policy.page_after_seconds = Some(600);
    stack.apply(std::slice::from_ref(&shop)).await;
    stack.check_now().await;
    assert_eq!(
        stack
            .database
            .count("alert_events WHERE announced_at IS NULL AND announce_at IS NOT NULL AND status = 'active'")
            .await,
        1
    );
    stack.apply(&[disabled(&shop)]).await;
    let ends: Vec<_> = resolutions(&stack).await.into_iter().map(|end| end["type"].clone()).collect();
    assert_eq!(ends, [json!("IncidentResolved")], "the incident was published at once");
    assert_eq!(stack.database.count("alert_events WHERE status <> 'resolved'").await, 0);
}

#[tokio::test]
async fn measurements_of_another_target_are_deleted() {
    let (first, second) = (Target::start(Behaviour::Status(200)).await, Target::start(Behaviour::Status(200)).await);
    let stack = TestStack::start().await;
    let shop = first.spec("shop", "production");
    stack.apply(std::slice::from_ref(&shop)).await;
    let sql = "UPDATE services SET votes = '{\"eu\": {}}', measurements = '{}', certificate_expires_at = now()";
    stack.database.execute(sql).await;
    let sql = "INSERT INTO alert_events (service_name, environment, alert_type, status, message)
        VALUES ('shop', 'production', 'certificate_expiring', 'active', 'soon')";
    stack.database.execute(sql).await;
    let kept = "services WHERE votes <> '{}' AND measurements IS NOT NULL AND certificate_expires_at IS NOT NULL";
    let mut slower = shop.clone();
    slower.timeout = std::time::Duration::from_secs(3);
    stack.apply(&[slower]).await;
    assert_eq!((stack.database.count(kept).await, resolutions(&stack).await.len()), (1, 0), "the target is unchanged");
    stack.apply(&[second.spec("shop", "production")]).await;
    let gone = "services WHERE votes = '{}' AND measurements IS NULL AND certificate_expires_at IS NULL";
    assert_eq!(stack.database.count(gone).await, 1);
    let ends = resolutions(&stack).await;
    assert_eq!((ends.len(), &ends[0]["service"]), (1, &json!("shop")), "the former certificate is forgotten");
}
