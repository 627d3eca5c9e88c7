//! Metric alerts: a rule has one incident, which is resolved with the alert.

use serde_json::json;

use super::{METRIC_ALERT, changed, deliver, occurrences, stack, yesterday};

#[tokio::test]
async fn a_metric_alert_becomes_an_incident_and_its_changes_stay_in_it() {
    let stack = stack().await;
    let warning = changed(METRIC_ALERT, |it| it["action"] = json!("warning"));
    let first = deliver(&stack, "metric_alert", &warning).await;
    assert_eq!((first.status, first.text("severity")), (200, "MEDIUM"));
    let second = deliver(&stack, "metric_alert", METRIC_ALERT).await;
    assert_eq!((second.text("severity"), second.text("incident_id")), ("CRITICAL", first.text("incident_id")));
    let incident = stack.get(&format!("/api/incidents/{}", first.text("incident_id"))).await.body;
    assert_eq!((&incident["title"], &incident["severity"]), (&json!("Too many failed checkouts"), &json!("CRITICAL")));
    assert_eq!((&incident["application"], &incident["environment"]), (&json!("shop-web"), &json!("production")));
}

#[tokio::test]
async fn a_rule_that_fires_again_has_still_one_incident() {
    let stack = stack().await;
    for (firing, text) in [("902", "120 events"), ("903", "130 events")] {
        let body = changed(METRIC_ALERT, |it| {
            it["data"]["metric_alert"]["id"] = json!(firing);
            it["data"]["description_text"] = json!(text);
        });
        for _ in 0..2 {
            assert_eq!(deliver(&stack, "metric_alert", &body).await.status, 200);
        }
    }
    assert_eq!(occurrences(&stack).await, [2]);
}

/// A change of a firing, dated minutes ago.
fn firing(action: &str, id: &str, detected: u32, closed: Option<u32>) -> String {
    let date = |minute: u32| format!("{}T10:{minute:02}:00Z", yesterday());
    changed(METRIC_ALERT, |it| {
        it["action"] = json!(action);
        let alert = &mut it["data"]["metric_alert"];
        alert["id"] = json!(id);
        alert["date_detected"] = json!(date(detected));
        alert["date_closed"] = json!(closed.map(date));
    })
}

#[tokio::test]
async fn a_rule_s_incident_is_resolved_with_it_and_a_resolution_of_an_earlier_firing_is_ignored() {
    let stack = stack().await;
    let first = deliver(&stack, "metric_alert", &firing("critical", "902", 0, None)).await;
    let ended = deliver(&stack, "metric_alert", &firing("resolved", "902", 0, Some(5))).await;
    assert_eq!((ended.text("incident_id"), &ended.body["changed"]), (first.text("incident_id"), &json!(true)));
    assert_eq!(deliver(&stack, "metric_alert", &firing("resolved", "902", 0, Some(5))).await.body, ended.body);
    // The rule fires twice more; the resolution of the first of these is delivered last.
    deliver(&stack, "metric_alert", &firing("open", "903", 10, None)).await;
    deliver(&stack, "metric_alert", &firing("critical", "904", 20, None)).await;
    let late = deliver(&stack, "metric_alert", &firing("resolved", "903", 10, Some(15))).await;
    assert_eq!(late.body["changed"], false);
    assert_eq!(stack.database.count("incidents WHERE status <> 'resolved'").await, 1);
    let end = deliver(&stack, "metric_alert", &firing("resolved", "904", 20, Some(25))).await;
    assert_eq!(end.body["changed"], true);
    assert_eq!(stack.database.count("incidents WHERE status <> 'resolved'").await, 0);
}

#[tokio::test]
async fn an_open_alert_has_at_least_medium_severity() {
    let stack = stack().await;
    let quiet = changed(&firing("open", "905", 0, None), |it| it["data"]["description_text"] = json!("cache warning"));
    assert_eq!(deliver(&stack, "metric_alert", &quiet).await.text("severity"), "MEDIUM");
}
