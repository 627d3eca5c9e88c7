//! The `GET` routes: health, readiness, status, metrics, incidents and alerts.

use harness::{Behaviour, Database, Target, TestStack};
use serde_json::{Value, json};

#[tokio::test]
async fn health_and_readiness_are_public() {
    let stack = TestStack::start().await;
    let health = stack.send(stack.request("GET", "/health")).await;
    assert_eq!((health.status, health.text("status")), (200, "healthy"));
    assert!(health.body["timestamp"].is_string());
    let ready = stack.send(stack.request("GET", "/ready")).await;
    assert_eq!((ready.status, ready.text("status")), (200, "ready"));
    assert_eq!(ready.body["outbox_lag_seconds"], 0.0);
}

#[tokio::test]
async fn state_is_readable_only_with_the_token() {
    let stack = TestStack::start().await;
    for path in ["/status", "/api/incidents", "/api/incidents/INC-1"] {
        let answer = stack.send(stack.request("GET", path)).await;
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(answer.headers["www-authenticate"], "Basic realm=\"watchkeeper\"");
        let basic = stack.send(stack.request("GET", path).basic_auth("user", Some(TestStack::READ_TOKEN))).await;
        assert_ne!(basic.status, 401, "{path}");
        let bearer = stack.send(stack.request("GET", path).bearer_auth(TestStack::READ_TOKEN)).await;
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
async fn failing_notifications_show_as_warnings() {
    let stack = TestStack::builder().without_sweeps().start(Database::migrated().await).await;
    let warnings = async || stack.get("/ready").await.body["warnings"].clone();
    assert_eq!(warnings().await, json!(["no channel is configured: no notifications are sent"]));
    let receivers =
        "INSERT INTO notification_receivers (channel, recipient, seen_at, failing_since, last_error) VALUES ";
    stack.database.execute(&format!("{receivers} ('sms', '+491', now() - interval '2 h', NULL, NULL)")).await;
    assert_eq!(warnings().await.as_array().unwrap().len(), 1, "it was configured before");
    stack.database.execute(&format!("{receivers} ('slack', 'default', now(), NULL, NULL)")).await;
    assert_eq!(warnings().await, json!([]));
    stack
        .database
        .execute(&format!(
            "{receivers} ('email', 'ops@example.com', now(), now() - interval '5 min', 'refused');
            INSERT INTO notifications (id, event_id, channel, recipient, kind, group_key, dedup_key, content, status,
                next_attempt_at, created_at)
            SELECT gen_random_uuid(), gen_random_uuid(), 'slack', 'default', 'firing', 'g', 'g', '{{}}', status, now(),
                now() - age::interval
            FROM (VALUES ('failed', '1 h'), ('failed', '3 d'), ('pending', '0'), ('sent', '0')) AS message (status, age)"
        ))
        .await;
    let expected_warnings = json!(["1 receiver is not reached", "1 message was given up within a day"]);
    let ready = stack.send(stack.request("GET", "/ready")).await;
    assert_eq!((ready.status, &ready.body["warnings"]), (200, &expected_warnings));
    assert!(!ready.body.to_string().contains("example.com"), "the route is public");
    let status = stack.get("/status").await.body;
    assert_eq!((&status["warnings"], &status["notifications"]["failed"]), (&expected_warnings, &json!(2)));
    assert_eq!(status["notifications"]["failing"][0]["receiver"], "email:ops@example.com");
}

#[tokio::test]
async fn metrics_are_prometheus_text_and_need_the_token() {
    let stack = TestStack::builder().without_sweeps().start(Database::migrated().await).await;
    assert_eq!(stack.send(stack.request("GET", "/metrics")).await.status, 401);
    let sql = "INSERT INTO event_outbox (id, detail_type, detail, attempts)
        SELECT gen_random_uuid(), 'X', '{}', n FROM generate_series(1, 4) AS n";
    stack.database.execute(sql).await;
    let answer = stack.request("GET", "/metrics").basic_auth("user", Some(TestStack::READ_TOKEN)).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text().await.unwrap();
    for line in [
        "# TYPE watchkeeper_outbox_waiting gauge",
        "watchkeeper_outbox_waiting 4",
        "watchkeeper_outbox_failing 2",
        "watchkeeper_notifications{status=\"failed\"} 0",
        "watchkeeper_notification_receivers{state=\"configured\"} 0",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}: {text}");
    }
}

#[tokio::test]
async fn the_status_lists_each_environment_and_service() {
    let (healthy, failing) = (Target::start(Behaviour::Status(200)).await, Target::start(Behaviour::Status(500)).await);
    let stack = TestStack::start().await;
    assert_eq!(stack.get("/status").await.text("status"), "unknown");
    stack.apply(&[healthy.spec("healthy", "production"), failing.spec("failing", "test")]).await;
    stack.check_now().await;
    let status = stack.get("/status").await.body;
    assert_eq!((&status["status"], &status["score"]), (&json!("down"), &json!(50.0)));
    assert_eq!(status["open_incidents"], json!({"HIGH": 1}));
    assert_eq!(status["environments"]["production"]["status"], "healthy");
    assert_eq!(status["environments"]["test"]["services"][0]["name"], "failing");
    assert_eq!(status["environments"]["test"]["services"][0]["state"], "down");
    assert!(!status.to_string().contains("127.0.0.1"), "addresses may contain secrets: {status}");
}

#[tokio::test]
async fn the_status_of_a_service_shows_results_and_no_configuration() {
    let target = Target::start(Behaviour::Status(200)).await;
    let stack = TestStack::start().await;
    let mut shop = target.spec("shop", "production");
    shop.group = Some("shops".to_owned());
    shop.check.headers.insert("x-marker".to_owned(), "marker".to_owned());
    shop.check.conditions = vec!["[RESPONSE_TIME] < 4181ms".to_owned()];
    shop.policy.tags = vec!["external".to_owned()];
    stack.apply(&[shop]).await;
    let service = async || stack.get("/status").await.body["environments"]["production"]["services"][0].clone();
    let unchecked = service().await;
    assert_eq!((&unchecked["state"], &unchecked["latency_ms"]), (&json!("unknown"), &json!(null)));
    stack.check_now().await;
    let up = service().await;
    assert_eq!((&up["kind"], &up["group"], &up["state"]), (&json!("http"), &json!("shops"), &json!("healthy")));
    assert!(up["latency_ms"].is_number() && up["last_checked_at"].is_string() && up["since"].is_string());
    assert_eq!((&up["uptime_24h"], &up["reason"], &up["flapping"]), (&json!(100.0), &json!(null), &json!(false)));
    assert!(up["p99_ms"].as_f64() >= up["p50_ms"].as_f64() && up["p50_ms"].is_number(), "{up}");
    target.behave(Behaviour::Status(500));
    for _ in 0..3 {
        stack.check_now().await;
    }
    let down = service().await;
    assert_eq!(
        (&down["state"], &down["reason"], &down["uptime_24h"]),
        (&json!("down"), &json!("status"), &json!(25.0))
    );
    assert!(down["error"].as_str().unwrap().contains("500") && down["failing_since"].is_string(), "{down}");
    assert_eq!(down["breaker"]["state"], "open");
    assert!(down["breaker"]["retry_at"].is_string());
    let status = stack.get("/status").await.body.to_string();
    assert!(!status.contains("marker") && !status.contains("4181") && !status.contains("127.0.0.1"), "{status}");
}

#[tokio::test]
async fn a_service_not_checked_lately_is_unknown_unless_its_breaker_is_open() {
    let stack = TestStack::start().await;
    stack
        .database
        .execute(
            "INSERT INTO services (name, environment, application, target, state, policy, last_checked_at)
            SELECT name, 'production', 'shop', 'http://127.0.0.1:1/', 'down', '{\"tags\": [\"external\"]}',
                now() - interval '10 min'
            FROM unnest(ARRAY['broken', 'forgotten', 'overdue']) AS name;
            INSERT INTO circuit_breakers (key, state, retry_at)
            SELECT 'service:' || id, 'open', now() + CASE name WHEN 'broken' THEN '5 min' ELSE '-5 min' END::interval
            FROM services WHERE name IN ('broken', 'overdue')",
        )
        .await;
    let status = stack.get("/status").await.body;
    let states: Vec<(&Value, &Value)> = status["environments"]["production"]["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|service| (&service["name"], &service["state"]))
        .collect();
    let (down, unknown) = (json!("down"), json!("unknown"));
    let expected = [(&json!("broken"), &down), (&json!("forgotten"), &unknown), (&json!("overdue"), &unknown)];
    assert_eq!(states, expected);
}

#[tokio::test]
async fn a_daily_job_that_is_not_evaluated_is_unknown_within_minutes() {
    let stack = TestStack::start().await;
    let sql =
        "INSERT INTO services (name, environment, application, kind, target, interval_seconds, state, last_checked_at)
        SELECT age, 'production', 'shop', 'heartbeat', '', 86400, 'healthy', now() - age::interval
        FROM unnest(ARRAY['2 min', '4 min']) AS age";
    stack.database.execute(sql).await;
    let status = stack.get("/status").await.body;
    let services = &status["environments"]["production"]["services"];
    assert_eq!((&services[0]["state"], &services[1]["state"]), (&json!("healthy"), &json!("unknown")));
}

#[tokio::test]
async fn uptime_sums_the_last_24_hours_only() {
    let stack = TestStack::start().await;
    stack.apply(&[harness::spec("shop", "production", "http://127.0.0.1:1/".to_owned())]).await;
    // 26 hours, each with three good checks of some 10 ms and a failure; the oldest two are outside of the last day.
    stack
        .database
        .execute(
            "INSERT INTO service_hourly (service_id, hour, healthy, down, maintenance, latency_counts)
            SELECT services.id, date_trunc('hour', now()) - number * interval '1 hour',
                CASE WHEN number < 25 THEN 3 ELSE 100 END, 1, 5, array_fill(0::smallint, ARRAY[10]) || 3::smallint
            FROM services, generate_series(0, 25) AS number",
        )
        .await;
    let service = stack.get("/status").await.body["environments"]["production"]["services"][0].clone();
    assert_eq!(service["uptime_24h"], 75.0);
    let median = service["p50_ms"].as_f64().unwrap();
    assert!((9.3..=11.7).contains(&median), "{median}");
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
async fn pages_list_every_incident_once_and_open_ones_first() {
    let stack = stack_with_incidents(57).await;
    let mut seen = Vec::new();
    let mut path = "/api/incidents?limit=10".to_owned();
    loop {
        let page = stack.get(&path).await;
        assert_eq!(page.status, 200, "{page:?}");
        for incident in page.body["incidents"].as_array().unwrap() {
            seen.push((incident["status"] != "resolved", incident["incident_id"].to_string()));
        }
        // New incidents do not shift the pages.
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
async fn an_old_open_outage_is_listed_before_newer_resolved_ones() {
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

#[tokio::test]
async fn alerts_are_paged_with_unresolved_ones_first() {
    let stack = TestStack::start().await;
    assert_eq!(stack.send(stack.request("GET", "/api/alerts")).await.status, 401);
    stack
        .database
        .execute(
            "INSERT INTO alert_events (service_name, environment, alert_type, status, message, created_at)
            SELECT 'service ' || n, (ARRAY['production', 'test'])[1 + n % 2], 'service_down',
                (ARRAY['active', 'acknowledged', 'resolved'])[1 + n % 3], 'm', now() - (n / 3) * interval '1 min'
            FROM generate_series(1, 31) AS n",
        )
        .await;
    let get = async |query: &str| stack.get(&format!("/api/alerts?{query}")).await;
    let mut seen: Vec<(bool, String, String)> = Vec::new();
    let mut query = "limit=7".to_owned();
    loop {
        let page = get(&query).await;
        assert_eq!(page.status, 200, "{page:?}");
        for alert in page.body["alerts"].as_array().unwrap() {
            let text = |name: &str| alert[name].as_str().unwrap().to_owned();
            seen.push((alert["status"] != "resolved", text("created_at"), text("id")));
        }
        match page.body["next_cursor"].as_str() {
            Some(cursor) => query = format!("limit=7&cursor={cursor}"),
            None => break,
        }
    }
    assert!(seen.is_sorted_by(|a, b| a > b), "{seen:?}");
    assert_eq!(seen.len(), 31);
    for (query, count) in [
        ("status=active", 10),
        ("service=service%205", 1),
        ("environment=test&status=resolved", 5),
        ("service=none", 0),
    ] {
        let page = get(query).await;
        assert_eq!(page.body["alerts"].as_array().map(Vec::len), Some(count), "{query}");
    }
    assert_eq!(get("status=open").await.status, 400);
}

#[tokio::test]
async fn open_incidents_lower_status_and_score_by_severity() {
    let stack = TestStack::builder().without_sweeps().start(Database::migrated().await).await;
    let target = Target::start(Behaviour::Status(200)).await;
    stack.apply(&[target.spec("shop", "production")]).await;
    stack.check_now().await;
    let current = async || {
        let status = stack.get("/status").await.body;
        let metrics = stack.request("GET", "/metrics").bearer_auth(TestStack::READ_TOKEN).send().await.unwrap();
        let metrics = metrics.text().await.unwrap();
        let word = status["status"].as_str().unwrap().to_owned();
        let score = status["score"].as_f64().unwrap();
        for line in [format!("watchkeeper_status{{status=\"{word}\"}} 1"), format!("watchkeeper_score {score}")] {
            assert!(metrics.lines().any(|it| it == line), "{line}: {metrics}");
        }
        (word, score)
    };
    assert_eq!(current().await, ("healthy".to_owned(), 100.0));
    for (severity, expected) in [
        ("LOW", ("healthy", 100.0)),
        ("MEDIUM", ("healthy", 100.0)),
        ("HIGH", ("degraded", 95.0)),
        ("CRITICAL", ("unhealthy", 89.0)),
    ] {
        stack.report_ok(json!({"error": {"message": severity}, "severity": severity})).await;
        assert_eq!(current().await, (expected.0.to_owned(), expected.1), "{severity}");
    }
    let acknowledge = "UPDATE incidents SET status = 'acknowledged'";
    stack.database.execute(acknowledge).await;
    assert_eq!(current().await.0, "unhealthy", "acknowledged incidents still count");
    stack.database.execute("UPDATE incidents SET status = 'resolved' WHERE severity = 'CRITICAL'").await;
    assert_eq!(current().await, ("degraded".to_owned(), 95.0));
    stack.database.execute("UPDATE incidents SET status = 'resolved'").await;
    assert_eq!(current().await, ("healthy".to_owned(), 100.0));
}

#[tokio::test]
async fn filters_narrow_the_list_and_invalid_ones_are_named() {
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
async fn an_incident_is_found_by_its_id_and_invalid_ids_are_not_found() {
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
