//! The `GET` routes.

use harness::{Behaviour, Database, Target, TestStack};
use serde_json::{Value, json};

#[tokio::test]
async fn health_and_readiness_are_public() {
    let stack = TestStack::builder().read_token("r").start(Database::migrated().await).await;
    let health = stack.get("/health").await;
    assert_eq!((health.status, health.text("status")), (200, "healthy"));
    assert!(health.body["timestamp"].is_string());
    let ready = stack.get("/ready").await;
    assert_eq!((ready.status, ready.text("status")), (200, "ready"));
    assert_eq!(ready.body["outbox_lag_seconds"], 0.0);
}

#[tokio::test]
async fn state_is_read_with_the_token_only() {
    let stack = TestStack::builder().read_token("r").start(Database::migrated().await).await;
    for path in ["/status", "/api/incidents", "/api/incidents/INC-1"] {
        let answer = stack.get(path).await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.headers.contains_key("www-authenticate"));
        let basic = stack.send(stack.request("GET", path).basic_auth("anybody", Some("r"))).await;
        assert_ne!(basic.status, 401, "{path}");
        let bearer = stack.send(stack.request("GET", path).bearer_auth("r")).await;
        assert_ne!(bearer.status, 401, "{path}");
    }
}

#[tokio::test]
async fn the_outbox_lag_is_the_age_of_the_oldest_unpublished_event() {
    let stack = TestStack::start().await;
    stack
        .database
        .execute("INSERT INTO event_outbox (id, detail_type, detail, created_at) VALUES (gen_random_uuid(), 'IncidentOpened', '{}', now() - interval '90 s')")
        .await;
    let lag = stack.get("/ready").await.body["outbox_lag_seconds"].as_f64().unwrap();
    assert!((89.0..120.0).contains(&lag), "{lag}");
}

#[tokio::test]
async fn the_status_tells_each_environment_and_service() {
    let (well, ill) = (Target::start(Behaviour::Status(200)).await, Target::start(Behaviour::Status(500)).await);
    let stack = TestStack::start().await;
    assert_eq!(stack.get("/status").await.text("status"), "unknown");
    stack.apply(&[well.spec("well", "production"), ill.spec("ill", "test")]).await;
    stack.check_now().await;
    let status = stack.get("/status").await.body;
    assert_eq!((&status["status"], &status["score"]), (&json!("down"), &json!(50.0)));
    assert_eq!(status["open_incidents"], json!({"HIGH": 1}));
    assert_eq!(status["environments"]["production"]["status"], "healthy");
    assert_eq!(status["environments"]["test"]["services"][0]["name"], "ill");
    assert_eq!(status["environments"]["test"]["services"][0]["state"], "down");
    assert!(!status.to_string().contains("127.0.0.1"), "addresses may hold secrets: {status}");
}

async fn stack_with_incidents(count: u32) -> TestStack {
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
async fn pages_hold_every_incident_once_newest_first() {
    let stack = stack_with_incidents(57).await;
    let mut seen = Vec::new();
    let mut path = "/api/incidents?limit=10".to_owned();
    loop {
        let page = stack.get(&path).await;
        assert_eq!(page.status, 200, "{page:?}");
        for incident in page.body["incidents"].as_array().unwrap() {
            seen.push((incident["detected_at"].as_str().unwrap().to_owned(), incident["incident_id"].clone()));
        }
        // What is new meanwhile does not move the pages.
        stack.report_ok(json!({"error": {"message": format!("new {}", seen.len())}})).await;
        match page.body["next_cursor"].as_str() {
            Some(cursor) => path = format!("/api/incidents?limit=10&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 57);
    assert!(seen.is_sorted_by(|a, b| a.0 >= b.0));
    let distinct: std::collections::BTreeSet<String> = seen.iter().map(|(_, id)| id.to_string()).collect();
    assert_eq!(distinct.len(), 57);
}

#[tokio::test]
async fn filters_narrow_the_list_and_wrong_ones_are_named() {
    let stack = stack_with_incidents(30).await;
    for (query, count) in [
        ("status=resolved", 6),
        ("severity=high", 15),
        ("environment=test&severity=LOW", 0),
        ("application=app1", 10),
        ("category=backend", 30),
        ("category=security", 0),
        ("status=detected&application=app0", 8),
    ] {
        let page = stack.get(&format!("/api/incidents?{query}")).await;
        assert_eq!(page.body["incidents"].as_array().map(Vec::len), Some(count), "{query}");
    }
    for (query, named) in
        [("status=open", "`status`"), ("cursor=x", "`cursor`"), ("limit=-1", "`limit`"), ("sort=up", "`sort`")]
    {
        let answer = stack.get(&format!("/api/incidents?{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.error().contains(named), "{answer:?}");
    }
}

#[tokio::test]
async fn an_incident_is_found_by_its_id_and_no_id_is_an_error_of_ours() {
    let stack = stack_with_incidents(1).await;
    assert_eq!(stack.get("/api/incidents/INC-1").await.body["title"], "incident 1");
    for id in ["INC-2", "%00", "%F0%9F%98%80", "'%20OR%20true", &"x".repeat(5_000), "..%2F..%2Fetc"] {
        let answer = stack.get(&format!("/api/incidents/{id}")).await;
        assert_eq!(answer.status, 404, "{id}");
        assert_ne!(answer.body, Value::Null);
    }
    let no_text = stack.get("/api/incidents/%FF").await;
    assert_eq!((no_text.status, &no_text.body["error"]["code"]), (404, &json!("not_found")));
}
