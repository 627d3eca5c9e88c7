//! `POST /webhooks/pagerduty`: acknowledging and resolving in `PagerDuty` is applied here, once, and only if signed.

use harness::{Answer, Database, TestStack};
use local::stack::VendorsConfig;
use pagerduty_events::app::PagerDutyConfig;
use pagerduty_events::signature::sign;
use secrecy::SecretString;
use serde_json::{Value, json};
use shared::address::Address;
use uuid::Uuid;
use wiremock::matchers::{header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::operators::{alert, audit, events, incident, with_alert, with_incident};

const SECRET: &str = "lDQHScfUeXUKaQRNF+8XIiDKZ7XX3itBAYzwU0TARw8lJqRnkKl2iB1anSb0Z+IK";
const KEY: &str = "wk-group-1";
const BY: &str = "pagerduty:Earline Greenholt";

async fn stack_on(database: Database) -> TestStack {
    TestStack::builder().vendors(vendors(None)).start(database).await
}

/// With `PagerDuty`'s REST API at this address.
fn vendors(api: Option<&str>) -> VendorsConfig {
    let pagerduty = PagerDutyConfig {
        webhook_secret: Some(SecretString::from(SECRET)),
        api_token: api.map(|_| SecretString::from("u+token")),
        api: api.map(|api| Address::parse(api).unwrap()),
    };
    VendorsConfig { pagerduty, ..VendorsConfig::default() }
}

/// Stores a notification under [`KEY`] about these subjects, in one group.
async fn notify(database: &Database, subjects: &[String]) {
    let sql = "INSERT INTO notification_groups (group_key, route, settings, first_seen_at)
        VALUES ('group-1', 'default', '{}', now())";
    database.execute(sql).await;
    for subject in subjects {
        let sql = "INSERT INTO notification_members (group_key, subject, state, told, details, fired_at, changed_at)
            VALUES ('group-1', $1, 'firing', 'firing', '{}', now(), now())";
        database.rows(sql, &[subject]).await;
    }
    let sql = "INSERT INTO notifications (id, event_id, channel, recipient, kind, group_key, dedup_key, content, status,
            next_attempt_at, created_at)
        SELECT gen_random_uuid(), gen_random_uuid(), channel, 'default', 'firing', 'group-1', $1, '{}', 'sent', now(), now()
        FROM unnest(ARRAY['pagerduty', 'slack']) AS channel";
    database.rows(sql, &[&KEY]).await;
}

/// An event about [`KEY`], as `PagerDuty` sends it of an incident that was opened under a key of its own.
fn event(kind: &str) -> Value {
    let mut body: Value =
        serde_json::from_str(include_str!("../../functions/pagerduty-events/fixtures/incident-acknowledged.json"))
            .unwrap();
    body["event"]["id"] = Uuid::new_v4().to_string().into();
    body["event"]["event_type"] = kind.into();
    body["event"]["occurred_at"] = json!(chrono::Utc::now());
    body["event"]["data"]["incident_key"] = KEY.into();
    body
}

async fn send(stack: &TestStack, body: &Value) -> Answer {
    let body = body.to_string();
    let signature = sign(&SecretString::from(SECRET), body.as_bytes());
    let request = stack.request("POST", "/webhooks/pagerduty").header("x-pagerduty-signature", signature);
    stack.send(request.header("content-type", "application/json").body(body)).await
}

#[tokio::test]
async fn an_action_in_pagerduty_is_applied_to_all_members_of_the_group() {
    let (database, of_incident) = with_incident().await;
    let alone = with_alert(&database, "mail").await;
    notify(&database, &["incident:INC-HEALTH-1".to_owned(), format!("alert:{alone}")]).await;
    let stack = stack_on(database).await;
    let answer = send(&stack, &event("incident.acknowledged")).await;
    assert_eq!((answer.status, &answer.body["changed"]), (200, &json!(2)), "{answer:?}");
    assert_eq!(incident(&stack.database).await, ("acknowledged".to_owned(), Some(BY.to_owned())));
    for id in [of_incident, alone] {
        assert_eq!(alert(&stack.database, id).await.0, "acknowledged");
    }
    let answer = send(&stack, &event("incident.resolved")).await;
    assert_eq!((answer.status, &answer.body["changed"]), (200, &json!(2)), "{answer:?}");
    assert_eq!(incident(&stack.database).await.0, "resolved");
    let mut published: Vec<String> = events(&stack.database).await.into_iter().map(|(what, _)| what).collect();
    published.sort();
    assert_eq!(published, ["AlertAcknowledged", "AlertResolved", "IncidentAcknowledged", "IncidentResolved"]);
}

#[tokio::test]
async fn a_redelivered_event_is_applied_once() {
    let (database, _) = with_incident().await;
    notify(&database, &["incident:INC-HEALTH-1".to_owned()]).await;
    let stack = stack_on(database).await;
    let resolved = event("incident.resolved");
    assert_eq!(send(&stack, &resolved).await.body["changed"], 1);
    stack.database.execute("UPDATE incidents SET status = 'detected', resolved_at = NULL").await;
    let again = send(&stack, &resolved).await;
    assert_eq!((again.status, &again.body["changed"]), (200, &json!(0)));
    assert_eq!(incident(&stack.database).await.0, "detected");
    assert_eq!(send(&stack, &event("incident.resolved")).await.body["changed"], 1, "another event");
}

#[tokio::test]
async fn an_action_from_before_the_incident_reopened_does_not_resolve_it() {
    let (database, _) = with_incident().await;
    notify(&database, &["incident:INC-HEALTH-1".to_owned()]).await;
    let stack = stack_on(database).await;
    let late = event("incident.resolved");
    stack.database.execute("UPDATE incidents SET reopened_at = now() + interval '1 millisecond'").await;
    for _ in 0..2 {
        let answer = send(&stack, &late).await;
        assert_eq!((answer.status, &answer.body["changed"]), (200, &json!(0)));
    }
    assert_eq!(incident(&stack.database).await.0, "detected");
    stack.database.execute("UPDATE incidents SET reopened_at = now() - interval '1 hour'").await;
    assert_eq!(send(&stack, &event("incident.resolved")).await.body["changed"], 1);
}

#[tokio::test]
async fn all_members_of_a_large_group_are_changed() {
    let (database, _) = with_incident().await;
    let mut subjects = vec!["incident:INC-HEALTH-1".to_owned()];
    for nth in 0..250 {
        subjects.push(format!("alert:{}", with_alert(&database, &format!("mail-{nth}")).await));
    }
    notify(&database, &subjects).await;
    let stack = stack_on(database).await;
    let answer = send(&stack, &event("incident.acknowledged")).await;
    assert_eq!((answer.status, &answer.body["changed"]), (200, &json!(251)), "{}", answer.status);
}

#[tokio::test]
async fn an_undone_action_is_noted_on_the_timeline() {
    let (database, _) = with_incident().await;
    let alone = with_alert(&database, "mail").await;
    notify(&database, &["incident:INC-HEALTH-1".to_owned(), format!("alert:{alone}")]).await;
    let stack = stack_on(database).await;
    for kind in ["incident.unacknowledged", "incident.reopened"] {
        assert_eq!(send(&stack, &event(kind)).await.status, 200);
    }
    assert_eq!(incident(&stack.database).await, ("detected".to_owned(), None));
    let mut audit = audit(&stack.database).await;
    audit.sort();
    let expected = [
        ("alert_noted", format!("Reopened in PagerDuty by {BY}")),
        ("alert_noted", format!("Unacknowledged in PagerDuty by {BY}")),
        ("incident_noted", format!("Reopened in PagerDuty by {BY}")),
        ("incident_noted", format!("Unacknowledged in PagerDuty by {BY}")),
    ];
    assert_eq!(audit, expected.map(|(what, words)| (what.to_owned(), words)));
    assert_eq!(events(&stack.database).await.len(), 0);
}

#[tokio::test]
async fn events_that_do_not_concern_us_are_ignored() {
    let (database, _) = with_incident().await;
    notify(&database, &["incident:INC-HEALTH-1".to_owned()]).await;
    let stack = stack_on(database).await;
    let mut other = event("incident.resolved");
    other["event"]["data"]["incident_key"] = "another tool's".into();
    // Our own notifications are echoed as actions of the integration.
    let mut ours = event("incident.resolved");
    ours["event"]["agent"]["type"] = "inbound_integration_reference".into();
    for body in
        [other, ours, event("pagey.ping"), event("incident.triggered"), event("service.updated"), json!({}), json!([])]
    {
        let answer = send(&stack, &body).await;
        assert_eq!((answer.status, answer.body["ignored"].is_string()), (200, true), "{body}");
    }
    assert_eq!(incident(&stack.database).await.0, "detected");
    assert_eq!(stack.database.count("inbound_deliveries").await, 0);
}

#[tokio::test]
async fn unsigned_events_are_refused_and_recorded() {
    let (database, _) = with_incident().await;
    notify(&database, &["incident:INC-HEALTH-1".to_owned()]).await;
    let stack = stack_on(database).await;
    let body = event("incident.resolved").to_string();
    let right = sign(&SecretString::from(SECRET), body.as_bytes());
    let wrong = sign(&SecretString::from("another secret"), body.as_bytes());
    let post = |signature: Option<String>, body: &str| {
        let mut request = stack.request("POST", "/webhooks/pagerduty").body(body.to_owned());
        if let Some(signature) = signature {
            request = request.header("x-pagerduty-signature", signature);
        }
        stack.send(request)
    };
    for signature in
        [None, Some(String::new()), Some(wrong.clone()), Some(right[3..].to_owned()), Some(format!("{right}0"))]
    {
        assert_eq!(post(signature.clone(), &body).await.status, 401, "{signature:?}");
    }
    assert_eq!(post(Some(right.clone()), &body.replacen("resolved", "acknowledged", 1)).await.status, 401);
    assert_eq!(post(Some(right.clone()), &"x".repeat(1024 * 1024 + 1)).await.status, 413);
    assert_eq!(incident(&stack.database).await.0, "detected");
    assert_eq!(post(Some(format!("{wrong},{right}")), &body).await.status, 200, "one of several");
    let no_json = sign(&SecretString::from(SECRET), b"{");
    assert_eq!(post(Some(no_json), "{").await.status, 400);
    let database = stack.stop().await;
    let sql = "SELECT DISTINCT event_type::text FROM security_events ORDER BY 1";
    let noted: Vec<String> = database.rows(sql, &[]).await.iter().map(|row| row.get(0)).collect();
    assert_eq!(noted, ["bad_signature", "oversized_body"]);
}

#[tokio::test]
async fn without_a_secret_the_route_is_closed() {
    let stack = TestStack::start().await;
    assert_eq!(send(&stack, &event("incident.resolved")).await.status, 401);
}

#[tokio::test]
async fn without_a_database_pagerduty_is_answered_with_503_and_sends_it_again() {
    let nowhere = "postgresql://u:p@127.0.0.1:9/none?sslmode=disable".to_owned();
    let builder = TestStack::builder().vendors(vendors(None)).database_url(nowhere);
    let stack = builder.start(Database::empty().await).await;
    assert_eq!(send(&stack, &event("incident.resolved")).await.status, 503);
    assert_eq!(send(&stack, &event("pagey.ping")).await.status, 200);
}

/// An event of an incident that was opened by events: only its alerts have keys.
fn event_without_key(kind: &str) -> Value {
    let mut body = event(kind);
    body["event"]["data"]["incident_key"] = Value::Null;
    body
}

/// A page of the alerts of the incident `PGR0VU2`.
async fn alerts(api: &MockServer, offset: usize, answer: ResponseTemplate) {
    Mock::given(method("GET"))
        .and(path("/incidents/PGR0VU2/alerts"))
        .and(query_param("offset", offset.to_string()))
        .and(header("authorization", "Token token=u+token"))
        .and(header("accept", "application/vnd.pagerduty+json;version=2"))
        .respond_with(answer)
        .mount(api)
        .await;
}

#[tokio::test]
async fn an_event_without_a_key_is_applied_by_the_keys_of_its_alerts() {
    let (database, _) = with_incident().await;
    let alone = with_alert(&database, "mail").await;
    notify(&database, &["incident:INC-HEALTH-1".to_owned(), format!("alert:{alone}")]).await;
    let api = MockServer::start().await;
    let first = json!({"alerts": [{"alert_key": "another tool's"}, {"alert_key": null}, {}], "more": true});
    alerts(&api, 0, ResponseTemplate::new(200).set_body_json(first)).await;
    let second = json!({"alerts": [{"alert_key": KEY}, {"alert_key": KEY}], "more": false});
    alerts(&api, 100, ResponseTemplate::new(200).set_body_json(second)).await;
    let stack = TestStack::builder().vendors(vendors(Some(&api.uri()))).start(database).await;
    let answer = send(&stack, &event_without_key("incident.acknowledged")).await;
    assert_eq!((answer.status, &answer.body["changed"]), (200, &json!(2)), "{answer:?}");
    assert_eq!(incident(&stack.database).await, ("acknowledged".to_owned(), Some(BY.to_owned())));
}

#[tokio::test]
async fn temporary_errors_of_pagerduty_s_api_are_answered_with_503_and_permanent_ones_are_ignored() {
    let (database, _) = with_incident().await;
    notify(&database, &["incident:INC-HEALTH-1".to_owned()]).await;
    let api = MockServer::start().await;
    let stack = TestStack::builder().vendors(vendors(Some(&api.uri()))).start(database).await;
    let late = std::time::Duration::from_secs(60);
    for (answer, status) in [
        (ResponseTemplate::new(500), 503),
        (ResponseTemplate::new(429), 503),
        (ResponseTemplate::new(200).set_body_string("<html>"), 503),
        (ResponseTemplate::new(200).set_delay(late), 503),
        (ResponseTemplate::new(302).insert_header("location", "/elsewhere"), 200),
        (ResponseTemplate::new(401), 200),
        (ResponseTemplate::new(404), 200),
        (ResponseTemplate::new(200).set_body_json(json!({"alerts": "none"})), 200),
    ] {
        api.reset().await;
        alerts(&api, 0, answer).await;
        let answer = send(&stack, &event_without_key("incident.resolved")).await;
        assert_eq!((answer.status, answer.body["ignored"].is_string()), (status, status == 200), "{answer:?}");
    }
    assert_eq!(incident(&stack.database).await.0, "detected");
    let stack = TestStack::builder().vendors(vendors(Some("http://127.0.0.1:9"))).start(stack.stop().await).await;
    assert_eq!(send(&stack, &event_without_key("incident.resolved")).await.status, 503);
    // Without an API token no request is made, and the answer says why.
    let (database, _) = with_incident().await;
    let stack = stack_on(database).await;
    let answer = send(&stack, &event_without_key("incident.resolved")).await;
    assert!(answer.status == 200 && answer.body["ignored"].to_string().contains("PAGERDUTY_API_TOKEN"), "{answer:?}");
}

#[tokio::test]
async fn members_that_were_not_notified_or_fired_later_stay_open() {
    let (database, _) = with_incident().await;
    let (unnotified, later) = (with_alert(&database, "mail").await, with_alert(&database, "queue").await);
    let subjects = [format!("alert:{unnotified}"), format!("alert:{later}")];
    notify(&database, &["incident:INC-HEALTH-1".to_owned(), subjects[0].clone(), subjects[1].clone()]).await;
    let change = "UPDATE notification_members SET told = NULL WHERE subject = $1";
    database.rows(change, &[&subjects[0]]).await;
    let change = "UPDATE notification_members SET fired_at = now() + interval '1 minute' WHERE subject = $1";
    database.rows(change, &[&subjects[1]]).await;
    let stack = stack_on(database).await;
    let answer = send(&stack, &event("incident.resolved")).await;
    assert_eq!((answer.status, &answer.body["changed"]), (200, &json!(1)), "{answer:?}");
    for id in [unnotified, later] {
        assert_eq!(alert(&stack.database, id).await.0, "active");
    }
}

#[tokio::test]
async fn merged_incidents_and_automatic_actions_change_nothing() {
    let (database, _) = with_incident().await;
    notify(&database, &["incident:INC-HEALTH-1".to_owned()]).await;
    let stack = stack_on(database).await;
    let mut merged = event("incident.resolved");
    merged["event"]["data"]["resolve_reason"] = json!({"type": "merge_resolve_reason", "incident": {"id": "PGR0VU1"}});
    let mut timed_out = event("incident.resolved");
    timed_out["event"]["agent"] = Value::Null;
    for body in [merged, timed_out] {
        let answer = send(&stack, &body).await;
        assert_eq!((answer.status, answer.body["ignored"].is_string()), (200, true), "{answer:?}");
    }
    assert_eq!(incident(&stack.database).await.0, "detected");
}
