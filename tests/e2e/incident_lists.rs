//! Lists of incidents: their order, and their pages.

use harness::TestStack;
use serde_json::{Value, json};

/// A stack with so many incidents, a fifth of them resolved, of two severities.
pub(crate) async fn stack_with_incidents(count: u32) -> TestStack {
    let stack = TestStack::start().await;
    stack
        .database
        .execute(&format!(
            "INSERT INTO incidents (incident_id, title, severity, category, application, error_message, environment, detected_at, status)
            SELECT 'INC-' || n, 'incident ' || n, (ARRAY['LOW', 'HIGH'])[1 + n % 2], 'backend', 'app' || n % 3, 'm',
                (ARRAY['production', 'test'])[1 + n % 2],
                -- Several at the same instant: the page's edge must not lose any.
                timestamptz '2026-01-01 00:00:00Z' + (n / 4) * interval '1 s',
                CASE WHEN n % 5 = 0 THEN 'resolved' ELSE 'detected' END
            FROM generate_series(1, {count}) AS n"
        ))
        .await;
    stack
}

#[tokio::test]
async fn pages_hold_every_incident_once_open_ones_first() {
    let stack = stack_with_incidents(57).await;
    let mut seen = Vec::new();
    let mut path = "/api/incidents?limit=10".to_owned();
    loop {
        let page = stack.get(&path).await;
        assert_eq!(page.status, 200, "{page:?}");
        let is_one_of_them = |incident: &&Value| incident["application"].as_str().unwrap().starts_with("app");
        for incident in page.body["incidents"].as_array().unwrap().iter().filter(is_one_of_them) {
            seen.push((incident["status"] != "resolved", incident["incident_id"].to_string()));
        }
        // What is new meanwhile moves none of them to another page.
        stack.report_ok(json!({"error": {"message": format!("new {}", seen.len())}})).await;
        match page.body["next_cursor"].as_str() {
            Some(cursor) => path = format!("/api/incidents?limit=10&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 57);
    assert!(seen.is_sorted_by(|a, b| a.0 >= b.0), "{seen:?}");
    let distinct: std::collections::BTreeSet<&String> = seen.iter().map(|(_, id)| id).collect();
    assert_eq!(distinct.len(), 57);
}

#[tokio::test]
async fn errors_that_repeat_push_no_outage_off_the_first_page() {
    let stack = stack_with_incidents(0).await;
    stack
        .database
        .execute(
            "INSERT INTO incidents (incident_id, title, severity, category, application, error_message, detected_at,
                updated_at, status)
            SELECT 'INC-' || n, 'title', CASE n WHEN 0 THEN 'CRITICAL' WHEN 1 THEN 'HIGH' ELSE 'LOW' END, 'backend', 'shop',
                'm', now() - interval '3 days', now() - make_interval(hours => 20 - n), 'detected'
            FROM generate_series(0, 9) AS n",
        )
        .await;
    let mut seen = Vec::new();
    let mut path = "/api/incidents?limit=3".to_owned();
    while seen.len() < 20 {
        let page = stack.get(&path).await.body;
        let ids = page["incidents"].as_array().unwrap().iter().map(|it| it["incident_id"].as_str().unwrap().to_owned());
        seen.extend(ids);
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/incidents?limit=3&cursor={cursor}");
    }
    assert_eq!(seen, [0, 1, 9, 8, 7, 6, 5, 4, 3, 2].map(|n| format!("INC-{n}")));
}

#[tokio::test]
async fn an_old_outage_that_is_on_stands_before_newer_ones_that_are_over() {
    let stack = stack_with_incidents(0).await;
    stack
        .database
        .execute(
            "INSERT INTO incidents (incident_id, title, severity, category, application, error_message, detected_at,
                updated_at, status, resolved_at)
            SELECT id, id, 'LOW', 'backend', 'shop', 'm', now() - began::interval, now() - changed::interval, status,
                CASE status WHEN 'resolved' THEN now() - changed::interval END
            FROM (VALUES
                ('INC-OUTAGE', '3 days', '1 min', 'detected'),
                ('INC-TAKEN', '2 days', '1 hour', 'acknowledged'),
                ('INC-OVER', '1 hour', '1 s', 'resolved'),
                ('INC-LONG-OVER', '4 days', '3 hours', 'resolved'),
                ('INC-BACK', '5 days', '1 s', 'detected')
            ) AS given (id, began, changed, status)",
        )
        .await;
    let ids = async |query: &str| {
        let page = stack.get(&format!("/api/incidents?{query}")).await.body;
        let ids = page["incidents"].as_array().unwrap().iter();
        ids.map(|incident| incident["incident_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(ids("").await, "INC-BACK INC-OUTAGE INC-TAKEN INC-OVER INC-LONG-OVER");
    assert_eq!(ids("limit=2").await, "INC-BACK INC-OUTAGE");
    assert_eq!(ids("status=resolved&limit=1").await, "INC-OVER");
}
