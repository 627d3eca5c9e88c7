//! The admin API: acknowledging and resolving incidents and alerts, and silences; each writes an audit row and an event.

use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use harness::{Answer, Database, TestStack};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::operators::{alert, audit, events, incident, with_alert, with_incident};

const TOKEN: &str = "admin-token-of-the-tests";

async fn stack_on(database: Database) -> TestStack {
    TestStack::builder().admin_token(TOKEN).start(database).await
}

async fn send(stack: &TestStack, method: &str, path: &str, body: Value) -> Answer {
    stack.send(stack.request(method, path).bearer_auth(TOKEN).json(&body)).await
}

async fn post(stack: &TestStack, path: &str, body: Value) -> Answer {
    send(stack, "POST", path, body).await
}

#[tokio::test]
async fn acknowledging_an_incident_acknowledges_its_alerts() {
    let (database, id) = with_incident().await;
    let stack = stack_on(database).await;
    let body = json!({"by": "ann", "comment": "on it, password=hunter2"});
    let answer = post(&stack, "/api/incidents/INC-HEALTH-1/acknowledge", body).await;
    assert_eq!((answer.status, answer.text("status"), answer.text("handled_by")), (200, "acknowledged", "ann"));
    assert_eq!(answer.text("incident_id"), "INC-HEALTH-1");
    assert_eq!(alert(&stack.database, id).await, ("acknowledged".to_owned(), false));
    let audit = audit(&stack.database).await;
    assert_eq!(audit.len(), 1);
    assert_eq!(audit[0].0, "incident_acknowledged");
    assert!(audit[0].1.starts_with("Acknowledged by ann: on it") && !audit[0].1.contains("hunter2"));
    let events = events(&stack.database).await;
    assert_eq!((events.len(), events[0].0.as_str()), (1, "IncidentAcknowledged"));
    assert_eq!(events[0].1["incident_id"], "INC-HEALTH-1");
    let details: Value = stack.database.value("SELECT action_details FROM agent_actions").await;
    assert_eq!((&details["by"], &details["changed"]), (&json!("ann"), &json!(true)));
}

#[tokio::test]
async fn repeated_requests_are_idempotent() {
    let (database, id) = with_incident().await;
    let stack = stack_on(database).await;
    for (path, status) in [("acknowledge", "acknowledged"), ("resolve", "resolved")] {
        for by in ["ann", "bob"] {
            let answer = post(&stack, &format!("/api/incidents/INC-HEALTH-1/{path}"), json!({ "by": by })).await;
            assert_eq!((answer.status, answer.text("status"), answer.text("handled_by")), (200, status, "ann"));
        }
    }
    assert_eq!(alert(&stack.database, id).await.0, "resolved");
    let done: Vec<String> = audit(&stack.database).await.into_iter().map(|(what, _)| what).collect();
    assert_eq!(done, ["incident_acknowledged", "incident_resolved"]);
    let published: Vec<String> = events(&stack.database).await.into_iter().map(|(what, _)| what).collect();
    assert_eq!(published, ["IncidentAcknowledged", "IncidentResolved"]);
}

#[tokio::test]
async fn a_resolved_incident_can_t_be_acknowledged_and_an_unknown_one_is_not_found() {
    let (database, id) = with_incident().await;
    let stack = stack_on(database).await;
    post(&stack, "/api/incidents/INC-HEALTH-1/resolve", json!({})).await;
    assert_eq!(incident(&stack.database).await, ("resolved".to_owned(), Some("api".to_owned())));
    for path in ["/api/incidents/INC-HEALTH-1/acknowledge".to_owned(), format!("/api/alerts/{id}/acknowledge")] {
        let answer = post(&stack, &path, json!({})).await;
        assert_eq!((answer.status, answer.body["error"]["code"].as_str()), (409, Some("conflict")), "{path}");
        assert!(answer.error().contains("resolved"), "{answer:?}");
    }
    let unknown = Uuid::new_v4();
    for path in [
        "/api/incidents/INC-NONE/acknowledge".to_owned(),
        "/api/incidents/%00/resolve".to_owned(),
        "/api/incidents/%ff/resolve".to_owned(),
        format!("/api/alerts/{unknown}/resolve"),
        "/api/alerts/7/acknowledge".to_owned(),
    ] {
        assert_eq!(post(&stack, &path, json!({})).await.status, 404, "{path}");
    }
    assert_eq!(events(&stack.database).await.len(), 1);
}

#[tokio::test]
async fn an_alert_of_an_incident_changes_the_incident_and_a_standalone_alert_itself() {
    let (database, of_incident) = with_incident().await;
    let alone = with_alert(&database, "mail").await;
    let stack = stack_on(database).await;
    let answer = post(&stack, &format!("/api/alerts/{of_incident}/acknowledge"), json!({"by": "ann"})).await;
    assert_eq!(
        (answer.status, answer.text("status"), answer.text("incident_id")),
        (200, "acknowledged", "INC-HEALTH-1")
    );
    assert_eq!(incident(&stack.database).await, ("acknowledged".to_owned(), Some("ann".to_owned())));
    let answer = post(&stack, &format!("/api/alerts/{alone}/acknowledge"), json!({"by": "bob"})).await;
    assert_eq!(
        (answer.status, answer.text("status"), &answer.body["incident_id"]),
        (200, "acknowledged", &Value::Null)
    );
    for _ in 0..2 {
        let answer = post(&stack, &format!("/api/alerts/{alone}/resolve"), json!({"by": "bob"})).await;
        assert_eq!((answer.status, answer.text("status")), (200, "resolved"));
    }
    let events = events(&stack.database).await;
    let published: Vec<&str> = events.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(published, ["IncidentAcknowledged", "AlertAcknowledged", "AlertResolved"]);
    for (_, detail) in &events[1..] {
        assert_eq!(detail["alert_id"], json!(alone));
    }
    let audit = audit(&stack.database).await;
    assert_eq!(audit[1], ("alert_acknowledged".to_owned(), "Acknowledged by bob".to_owned()));
    let details: Value =
        stack.database.value("SELECT action_details FROM agent_actions WHERE action_type = 'alert_resolved'").await;
    assert_eq!(details, json!({"by": "bob", "alert_id": alone, "changed": true}));
    let named: Value = stack.database.value("SELECT details FROM alert_events WHERE incident_id IS NULL").await;
    assert_eq!(named["handled_by"], "bob", "shown in messages and to escalations");
}

#[tokio::test]
async fn resolving_an_unannounced_alert_publishes_no_event() {
    let database = Database::migrated().await;
    let id = with_alert(&database, "mail").await;
    database.execute("UPDATE alert_events SET announced_at = NULL, announce_at = now() + interval '1 hour'").await;
    let stack = stack_on(database).await;
    assert_eq!(post(&stack, &format!("/api/alerts/{id}/resolve"), json!({})).await.status, 200);
    assert_eq!(alert(&stack.database, id).await, ("resolved".to_owned(), false));
    assert_eq!((events(&stack.database).await.len(), audit(&stack.database).await.len()), (0, 1));
}

#[tokio::test]
async fn twenty_concurrent_requests_change_it_once() {
    let (database, _) = with_incident().await;
    let alone = with_alert(&database, "mail").await;
    let stack = Arc::new(stack_on(database).await);
    let paths = ["/api/incidents/INC-HEALTH-1/acknowledge".to_owned(), format!("/api/alerts/{alone}/acknowledge")];
    let mut tasks = JoinSet::new();
    for number in 0..20 {
        let (stack, path) = (Arc::clone(&stack), paths[number % 2].clone());
        tasks.spawn(async move { post(&stack, &path, json!({ "by": format!("person {number}") })).await.status });
    }
    let statuses = tasks.join_all().await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!(events(&stack.database).await.len(), 2);
}

#[tokio::test]
async fn changes_require_the_token_and_refusals_are_recorded() {
    let (database, _) = with_incident().await;
    let stack = TestStack::builder().admin_token(TOKEN).start(database).await;
    let silence = Uuid::new_v4();
    for (method, path) in [
        ("POST", "/api/incidents/INC-HEALTH-1/acknowledge".to_owned()),
        ("POST", "/api/incidents/INC-HEALTH-1/resolve".to_owned()),
        ("POST", format!("/api/alerts/{silence}/acknowledge")),
        ("POST", "/api/silences".to_owned()),
        ("GET", "/api/silences".to_owned()),
        ("DELETE", format!("/api/silences/{silence}")),
    ] {
        for token in [None, Some("wrong"), Some(TestStack::READ_TOKEN)] {
            let mut request = stack.request(method, &path).body("not even JSON");
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            assert_eq!(stack.send(request).await.status, 401, "{method} {path} {token:?}");
        }
    }
    assert_eq!(incident(&stack.database).await.0, "detected");
    // Stopping the stack flushes what is buffered.
    let database = stack.stop().await;
    let sql = "SELECT sum((metadata ->> 'count')::bigint)::bigint FROM security_events
        WHERE event_type = 'wrong_key' AND source_ip = '127.0.0.0/24'";
    assert_eq!(database.value::<i64>(sql).await, 18);
}

#[tokio::test]
async fn an_invalid_body_is_refused() {
    let (database, _) = with_incident().await;
    let stack = stack_on(database).await;
    for (body, status) in [
        ("[]", 400),
        ("{", 400),
        ("\"ann\"", 400),
        (r#"{"by": 7}"#, 400),
        (r#"{"who": "ann"}"#, 400),
        (&format!("{{\"comment\": \"{}\"}}", "x".repeat(1024 * 1024)), 413),
    ] {
        let request = stack.request("POST", "/api/incidents/INC-HEALTH-1/acknowledge").bearer_auth(TOKEN);
        let request = request.header("content-type", "application/json");
        assert_eq!(stack.send(request.body(body.to_owned())).await.status, status, "{}", &body[..body.len().min(40)]);
    }
    let name = format!("  {}\n\u{202E}", "ü".repeat(80));
    let answer = post(&stack, "/api/incidents/INC-HEALTH-1/acknowledge", json!({"by": name, "comment": "a\0b"})).await;
    assert_eq!((answer.status, answer.text("handled_by")), (200, "ü".repeat(50).as_str()));
    // Without a body, the person is "api".
    let request = stack.request("POST", "/api/incidents/INC-HEALTH-1/resolve").bearer_auth(TOKEN);
    assert_eq!(stack.send(request).await.text("handled_by"), "api");
}

fn silence() -> Value {
    json!({"matchers": {"application": ["shop"]}, "duration": "2h", "author": "ann", "comment": "deploying"})
}

#[tokio::test]
async fn a_silence_is_created_listed_and_ended() {
    let stack = stack_on(Database::migrated().await).await;
    let made = post(&stack, "/api/silences", silence()).await;
    assert_eq!((made.status, made.text("author"), made.text("comment")), (201, "ann", "deploying"));
    assert_eq!(made.body["matchers"]["application"], json!(["shop"]));
    let listed = send(&stack, "GET", "/api/silences", json!({})).await;
    assert_eq!((listed.status, &listed.body["silences"]), (200, &json!([made.body])));
    let in_three_days = Utc::now() + TimeDelta::days(3);
    let planned = json!({
        "all": true, "starts_at": in_three_days, "duration": "1h", "author": "ann", "comment": "planned"
    });
    let planned = post(&stack, "/api/silences", planned).await;
    assert_eq!(planned.status, 201, "{planned:?}");
    for (id, left) in [(made.text("id"), 1), (planned.text("id"), 0), (made.text("id"), 0)] {
        let ended = send(&stack, "DELETE", &format!("/api/silences/{id}"), json!({"by": "bob"})).await;
        assert_eq!((ended.status, ended.text("id")), (200, id));
        let listed = send(&stack, "GET", "/api/silences", json!({})).await;
        assert_eq!(listed.body["silences"].as_array().map(Vec::len), Some(left));
    }
    let audit: Vec<String> = audit(&stack.database).await.into_iter().map(|(what, _)| what).collect();
    assert_eq!(audit, ["silence_created", "silence_created", "silence_ended", "silence_ended"]);
    for id in [Uuid::new_v4().to_string(), "7".to_owned()] {
        assert_eq!(send(&stack, "DELETE", &format!("/api/silences/{id}"), json!({})).await.status, 404);
    }
}

#[tokio::test]
async fn a_silence_requires_comment_author_duration_and_matchers() {
    let stack = stack_on(Database::migrated().await).await;
    for (change, named) in [
        (json!({"comment": ""}), "`comment`"),
        (json!({"author": null}), "author"),
        (json!({"duration": "31 days"}), "30 days"),
        (json!({"matchers": {}}), "\"all\": true"),
        (json!({"matchers": {"colour": ["red"]}}), "colour"),
    ] {
        let mut body = silence();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let answer = post(&stack, "/api/silences", body).await;
        assert_eq!(answer.status, 400, "{change}");
        assert!(answer.error().contains(named), "{change}: {answer:?}");
    }
    assert_eq!(stack.database.count("silences").await, 0);
}

#[tokio::test]
async fn without_a_configured_token_every_change_is_refused() {
    let (database, _) = with_incident().await;
    let stack = TestStack::builder().start(database).await;
    let request = || stack.request("POST", "/api/incidents/INC-HEALTH-1/acknowledge");
    assert_eq!(stack.send(request().header("origin", "https://evil.example")).await.status, 403);
    assert_eq!(stack.send(request()).await.status, 401);
    assert_eq!(stack.send(request().bearer_auth("")).await.status, 401);
    assert_eq!(incident(&stack.database).await.0, "detected");
}

#[tokio::test]
async fn without_a_database_requests_are_answered_with_503_and_retry_after() {
    let nowhere = "postgresql://u:p@127.0.0.1:9/none?sslmode=disable".to_owned();
    let builder = TestStack::builder().admin_token(TOKEN).database_url(nowhere);
    let stack = builder.start(Database::empty().await).await;
    for (path, body) in [("/api/incidents/INC-HEALTH-1/resolve", json!({})), ("/api/silences", silence())] {
        let answer = post(&stack, path, body).await;
        assert_eq!((answer.status, answer.headers.contains_key("retry-after")), (503, true), "{path}");
    }
}
