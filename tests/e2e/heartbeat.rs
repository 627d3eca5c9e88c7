//! `POST /api/heartbeat/{token}`: heartbeats of jobs, and which requests are refused.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use harness::lambda::Lambda;
use harness::{Answer, Database, TestStack};
use serde_json::{Value, json};
use shared::heartbeat::HeartbeatToken;
use shared::model::{Kind, ServiceSpec, ServiceState};
use shared::store::heartbeats;
use shared::store::probing::{self, Beat, Round};
use shared::store::services::{self, Wanted};
use uuid::Uuid;

fn spec(name: &str) -> ServiceSpec {
    let mut spec = ServiceSpec::http(name, "production", "");
    spec.kind = Kind::Heartbeat;
    spec
}

fn token(name: &str) -> HeartbeatToken {
    HeartbeatToken::of(&TestStack::dsn_secret(), name, "production")
}

/// The path of a job's heartbeat.
fn path(name: &str) -> String {
    token(name).url("")
}

/// Stores these jobs, as `watchkeeper apply` does.
async fn apply(database: &Database, names: &[&str]) {
    let specs: Vec<ServiceSpec> = names.iter().map(|name| spec(name)).collect();
    let token_hashes: BTreeMap<usize, String> =
        names.iter().enumerate().map(|(place, name)| (place, token(name).hash())).collect();
    let wanted = &Wanted { services: &specs, token_hashes: &token_hashes, removed: &[], routing: None };
    let store = database.store();
    store.run(|client| async move { services::apply(&client, wanted, Utc::now()).await }).await.unwrap();
}

async fn jobs(names: &[&str]) -> TestStack {
    let stack = TestStack::start().await;
    apply(&stack.database, names).await;
    stack
}

async fn post(stack: &TestStack, path: &str, body: impl Into<reqwest::Body>) -> Answer {
    stack.send(stack.request("POST", path).body(body)).await
}

/// The last heartbeat of a job: its time, whether it reported a failure, and its message.
async fn last_beat(database: &Database, name: &str) -> (Option<DateTime<Utc>>, bool, Option<String>) {
    let sql = "SELECT beat_at, failed, message FROM service_heartbeats
        JOIN services ON services.id = service_id WHERE name = $1";
    let rows = database.rows(sql, &[&name]).await;
    (rows[0].get(0), rows[0].get(1), rows[0].get(2))
}

#[tokio::test]
async fn a_heartbeat_is_stored_with_its_time_and_the_last_one_counts() {
    let stack = jobs(&["nightly", "weekly"]).await;
    assert_eq!(last_beat(&stack.database, "nightly").await, (None, false, None));
    let before = Utc::now();
    let answer = post(&stack, &path("nightly"), "").await;
    assert_eq!((answer.status, &answer.body), (200, &json!({"received": true})));
    let (first, failed, message) = last_beat(&stack.database, "nightly").await;
    assert!(first.is_some_and(|first| (before..=Utc::now()).contains(&first)), "{first:?}");
    assert_eq!((failed, message), (false, None));
    // A second heartbeat replaces the first.
    assert_eq!(post(&stack, &path("nightly"), "").await.status, 200);
    assert!(last_beat(&stack.database, "nightly").await.0 > first);
    assert_eq!(last_beat(&stack.database, "weekly").await.0, None, "another job's token changes only that job");
}

#[tokio::test]
async fn a_failure_is_reported_by_query_or_body_and_a_good_heartbeat_clears_it() {
    let stack = jobs(&["nightly"]).await;
    let nightly = path("nightly");
    for (query, body, failed, message) in [
        ("?status=fail", String::new(), true, None),
        ("", String::new(), false, None),
        (
            "",
            json!({"status": "fail", "message": "disk full, ask ann@example.com"}).to_string(),
            true,
            Some("disk full, ask [email]"),
        ),
        ("", "all is well\n".to_owned(), false, None),
        ("?status=ok&message=17%20rows", String::new(), false, Some("17 rows")),
    ] {
        assert_eq!(post(&stack, &format!("{nightly}{query}"), body).await.status, 200);
        let (_, was_failed, stored) = last_beat(&stack.database, "nightly").await;
        assert_eq!((was_failed, stored.as_deref()), (failed, message));
    }
}

#[tokio::test]
async fn an_unknown_token_is_refused_and_recorded() {
    let stack = jobs(&["nightly"]).await;
    let other = HeartbeatToken::of(&TestStack::dsn_secret(), "nightly", "test").url("");
    for path in [&other, "/api/heartbeat/x", "/api/heartbeat/%00", "/api/heartbeat/%FF", "/api/heartbeat/'%20OR%201=1"]
    {
        let answer = post(&stack, path, "").await;
        assert_eq!((answer.status, answer.error()), (404, "no heartbeat has this token"), "{path}");
    }
    let hash = format!("/api/heartbeat/{}", token("nightly").hash());
    assert_eq!(post(&stack, &hash, "").await.status, 404, "the stored hash is not the token");
    for method in ["GET", "HEAD", "PUT"] {
        let answer = stack.send(stack.request(method, &path("nightly"))).await;
        assert_eq!(answer.status, 405, "{method}: a link preview must not count as a heartbeat");
    }
    assert_eq!(last_beat(&stack.database, "nightly").await.0, None);
    let database = stack.stop().await;
    let seen: i64 = database.value("SELECT sum((metadata ->> 'count')::bigint)::bigint FROM security_events").await;
    assert_eq!(seen, 6);
    assert_eq!(database.count("security_events WHERE event_type <> 'wrong_key'").await, 0);
}

#[tokio::test]
async fn hostile_bodies_are_refused_and_change_nothing() {
    let stack = jobs(&["nightly"]).await;
    let nightly = path("nightly");
    assert_eq!(post(&stack, &nightly, "").await.status, 200);
    let before = last_beat(&stack.database, "nightly").await;
    let deep = format!("{{\"a\":{}", "[".repeat(8_000));
    for (body, status) in [
        (vec![b'x'; 16 * 1024 + 1], 413),
        (b"{\"status\":".to_vec(), 400),
        (b"{\"status\":\"maybe\"}".to_vec(), 400),
        (b"{\"message\":{\"a\":1}}".to_vec(), 400),
        (b"{\xFF\xFE}".to_vec(), 400),
        (deep.into_bytes(), 400),
    ] {
        let answer = post(&stack, &nightly, body).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    assert_eq!(post(&stack, &format!("{nightly}?status=maybe"), "").await.status, 400);
    assert_eq!(last_beat(&stack.database, "nightly").await, before);
    // Unusual but harmless bodies are accepted.
    let odd = json!({"message": format!("a\0b\u{202E}{}", "ü".repeat(4_000))}).to_string();
    assert_eq!(post(&stack, &nightly, odd).await.status, 200);
    let message = last_beat(&stack.database, "nightly").await.2.unwrap();
    assert!(message.starts_with("a\u{FFFD}b") && message.chars().count() == 1_000, "{message}");
    assert_eq!(post(&stack, &nightly, vec![0xFF_u8; 100]).await.status, 200);
}

#[tokio::test]
async fn without_a_database_a_job_is_answered_with_503_and_retry_after() {
    let nowhere = "postgresql://u:p@127.0.0.1:9/none?sslmode=disable".to_owned();
    let stack = TestStack::builder().database_url(nowhere).start(Database::empty().await).await;
    let answer = post(&stack, &path("nightly"), "").await;
    assert_eq!((answer.status, &answer.body["error"]["code"]), (503, &json!("unavailable")));
    assert!(answer.headers.contains_key("retry-after"));
    assert!(!answer.body.to_string().contains("127.0.0.1"), "{answer:?}");
}

#[tokio::test]
async fn a_heartbeat_does_not_replace_a_later_one() {
    let database = Database::migrated().await;
    apply(&database, &["nightly"]).await;
    let (store, hash) = (database.store(), &token("nightly").hash());
    let now = Utc::now();
    let later = &Beat { at: now, failed: true, message: Some("disk full".to_owned()) };
    let earlier = &Beat { at: now - TimeDelta::seconds(1), failed: false, message: None };
    for beat in [later, earlier, later] {
        let known = store.run(|client| async move { heartbeats::beat(&client, hash, beat).await }).await.unwrap();
        assert!(known);
        let (_, failed, message) = last_beat(&database, "nightly").await;
        assert_eq!((failed, message.as_deref()), (true, Some("disk full")));
    }
    let unknown = store.run(|client| async move { heartbeats::beat(&client, "none", later).await }).await.unwrap();
    assert!(!unknown);
}

#[tokio::test]
async fn a_missing_heartbeat_is_noticed_within_a_minute_after_the_interval() {
    let stack = TestStack::start().await;
    let mut daily = spec("nightly");
    daily.interval = Some(Duration::from_hours(24));
    let (specs, token_hashes) = (&[daily], BTreeMap::from([(0, token("nightly").hash())]));
    let wanted = &Wanted { services: specs, token_hashes: &token_hashes, removed: &[], routing: None };
    let store = stack.database.store();
    store.run(|client| async move { services::apply(&client, wanted, Utc::now()).await }).await.unwrap();
    let state = async |age: &str| {
        stack.database.execute(&format!("UPDATE service_heartbeats SET created_at = now() - interval '{age}'")).await;
        stack.check_now().await.checked[0].state
    };
    assert_eq!(state("23 hours").await, ServiceState::Healthy);
    assert_eq!(state("25 hours").await, ServiceState::Down);
    assert_eq!(post(&stack, &path("nightly"), "").await.status, 200);
    stack.check_now().await;
    assert_eq!(state("25 hours").await, ServiceState::Healthy);
    // The interval is a day, but the job is evaluated each minute.
    let tick = Utc::now().duration_trunc(TimeDelta::minutes(1)).unwrap();
    for minute in 0..2 {
        let round = probe::handle(stack.probe(), tick + TimeDelta::minutes(minute)).await.unwrap();
        assert_eq!(round.checked.len(), 1, "minute {minute}");
    }
}

/// A stack with one job whose interval is an hour.
async fn hourly() -> TestStack {
    let stack = jobs(&["hourly"]).await;
    let interval = Some(Duration::from_hours(1));
    stack.apply(&[ServiceSpec { interval, ..spec("hourly") }]).await;
    stack
}

#[tokio::test]
async fn after_a_pause_of_ours_a_job_has_its_whole_interval_again() {
    let stack = hourly().await;
    assert_eq!(post(&stack, &path("hourly"), "").await.status, 200);
    let state = async || stack.check_now().await.checked[0].state;
    assert_eq!(state().await, ServiceState::Healthy);
    assert_eq!(stack.database.count("service_heartbeats WHERE resumed_at IS NOT NULL").await, 0);
    // For an hour nothing was checked and no heartbeat received.
    let pause = "UPDATE services SET last_checked_at = now() - interval '1 hour'";
    stack.database.execute(pause).await;
    stack.database.execute("UPDATE service_heartbeats SET beat_at = now() - interval '70 minutes'").await;
    for round in 0..3 {
        assert_eq!(state().await, ServiceState::Healthy, "round {round}");
    }
    let resumed: DateTime<Utc> = stack.database.value("SELECT resumed_at FROM service_heartbeats").await;
    assert!(Utc::now() - resumed < TimeDelta::minutes(1), "{resumed}");
    // Silent since we resumed.
    stack.database.execute("UPDATE service_heartbeats SET resumed_at = resumed_at - interval '61 minutes'").await;
    assert_eq!(state().await, ServiceState::Down);
    let error: String = stack.database.value("SELECT last_error FROM services").await;
    let since = (resumed - TimeDelta::minutes(61)).format("no heartbeat since %Y-%m-%dT%H:%M:%SZ").to_string();
    assert!(error.starts_with(&since), "{error}");
    // A pause is no heartbeat: a job that was silent before is still down.
    stack.database.execute(pause).await;
    for _ in 0..2 {
        assert_eq!(state().await, ServiceState::Down);
    }
}

#[tokio::test]
async fn a_claim_that_is_repeated_after_a_pause_returns_the_same() {
    let stack = hourly().await;
    stack.database.execute("UPDATE services SET last_checked_at = now() - interval '1 day'").await;
    stack.database.execute("UPDATE service_heartbeats SET beat_at = now() - interval '1 day'").await;
    let store = stack.database.store();
    let awaited_since = async |id: Uuid, now: DateTime<Utc>| {
        let round = Round::All(now);
        let claim = store.run(|client| async move { probing::claim(&client, id, round, "test", now).await });
        claim.await.unwrap().services[0].beat.as_ref().unwrap().at
    };
    let (id, now) = (Uuid::new_v4(), Utc::now().duration_trunc(TimeDelta::milliseconds(1)).unwrap());
    for _ in 0..2 {
        assert_eq!(awaited_since(id, now).await, now);
    }
    // A claim that ended without a result counts as no check.
    let later = now + TimeDelta::hours(1);
    assert_eq!(awaited_since(Uuid::new_v4(), later).await, later);
    assert_eq!(stack.database.value::<DateTime<Utc>>("SELECT resumed_at FROM service_heartbeats").await, later);
}

#[tokio::test]
async fn an_enabled_job_is_not_judged_by_heartbeats_from_before_it_was_disabled() {
    let stack = jobs(&["nightly"]).await;
    assert_eq!(post(&stack, &format!("{}?status=fail&message=full", path("nightly")), "").await.status, 200);
    assert_eq!(stack.check_now().await.checked[0].state, ServiceState::Down);
    let store = stack.database.store();
    let switch = async |enabled: bool| {
        let (services, token_hashes) = (&[ServiceSpec { enabled, ..spec("nightly") }], token("nightly").hash());
        let wanted =
            &Wanted { services, token_hashes: &BTreeMap::from([(0, token_hashes)]), removed: &[], routing: None };
        store.run(|client| async move { services::apply(&client, wanted, Utc::now()).await }).await.unwrap();
    };
    switch(true).await;
    assert_eq!(stack.database.count("service_heartbeats WHERE failed AND resumed_at IS NULL").await, 1, "unchanged");
    switch(false).await;
    stack.database.execute("UPDATE service_heartbeats SET beat_at = now() - interval '2 days'").await;
    switch(true).await;
    assert_eq!(stack.check_now().await.checked[0].state, ServiceState::Healthy);
    assert_eq!(stack.database.count("service_heartbeats WHERE resumed_at IS NOT NULL AND message IS NULL").await, 1);
}

#[tokio::test]
async fn a_service_of_another_kind_accepts_no_heartbeats() {
    let stack = jobs(&["nightly"]).await;
    stack.apply(&[ServiceSpec::http("nightly", "production", "https://shop.example/")]).await;
    assert_eq!(post(&stack, &path("nightly"), "").await.status, 404);
    assert_eq!(stack.database.count("service_heartbeats").await, 0);
}

#[tokio::test]
async fn a_default_service_of_the_same_name_does_not_remove_the_token() {
    let database = Database::migrated().await;
    apply(&database, &["backend"]).await;
    let same_name = ServiceSpec::http("backend", "production", "https://shop.example/");
    let stack = TestStack::builder().default_services(vec![same_name]).start(database).await;
    stack.check_now().await;
    assert_eq!(post(&stack, &path("backend"), "").await.status, 200);
}

#[tokio::test]
async fn the_lambda_answers_over_the_gateway() {
    let database = Database::migrated().await;
    apply(&database, &["nightly"]).await;
    let lambda =
        Lambda::start("heartbeat", &[("DATABASE_URL", &database.url()), ("REDACT_PATTERNS", "ACME-\\d+")]).await;
    let fixture = include_str!("../../functions/heartbeat/fixtures/api-gateway-v2.json");
    let mut event: Value = serde_json::from_str(fixture).unwrap();
    assert_eq!(lambda.invoke(event.clone()).await.unwrap()["statusCode"], 404, "the fixture's token is unknown");
    event["rawPath"] = path("nightly").into();
    event["requestContext"]["http"]["path"] = path("nightly").into();
    event["body"] = json!({"status": "fail", "message": "ACME-17 is full"}).to_string().into();
    let answer = lambda.invoke(event).await.unwrap();
    assert_eq!(answer["statusCode"], 200, "{answer}");
    let (_, failed, message) = last_beat(&database, "nightly").await;
    assert_eq!((failed, message.as_deref()), (true, Some("[redacted] is full")));
}

#[tokio::test]
async fn after_a_missed_round_a_late_job_has_ten_minutes_for_a_deferred_heartbeat() {
    let stack = hourly().await;
    assert_eq!(post(&stack, &path("hourly"), "").await.status, 200);
    let state = async || stack.check_now().await.checked[0].state;
    assert_eq!(state().await, ServiceState::Healthy);
    // One round was missed: the heartbeat may be deferred in a queue.
    stack.database.execute("UPDATE services SET last_checked_at = now() - interval '2 minutes'").await;
    stack.database.execute("UPDATE service_heartbeats SET beat_at = now() - interval '70 minutes'").await;
    for round in 0..2 {
        assert_eq!(state().await, ServiceState::Healthy, "round {round}");
    }
    stack.database.execute("UPDATE service_heartbeats SET resumed_at = resumed_at - interval '9 minutes'").await;
    assert_eq!(state().await, ServiceState::Healthy);
    // No heartbeat arrived: down now, not an hour later as after a long pause.
    stack.database.execute("UPDATE service_heartbeats SET resumed_at = resumed_at - interval '2 minutes'").await;
    assert_eq!(state().await, ServiceState::Down);
}

#[tokio::test]
async fn a_silent_job_is_noticed_even_if_every_round_is_late() {
    let stack = jobs(&["hourly"]).await;
    let interval = Some(Duration::from_mins(10));
    stack.apply(&[ServiceSpec { interval, ..spec("hourly") }]).await;
    assert_eq!(post(&stack, &path("hourly"), "").await.status, 200);
    assert_eq!(stack.check_now().await.checked[0].state, ServiceState::Healthy);
    let mut down_at = None;
    for minute in (2..=40).step_by(2) {
        let pass = "UPDATE services SET last_checked_at = last_checked_at - interval '2 minutes'";
        stack.database.execute(pass).await;
        let pass = "UPDATE service_heartbeats
            SET beat_at = beat_at - interval '2 minutes', resumed_at = resumed_at - interval '2 minutes'";
        stack.database.execute(pass).await;
        if stack.check_now().await.checked[0].state == ServiceState::Down {
            down_at = Some(minute);
            break;
        }
    }
    // The first late round grants ten more minutes.
    assert!(down_at.is_some_and(|minute| (12..=16).contains(&minute)), "{down_at:?}");
}
