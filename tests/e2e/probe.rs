//! Failed checks: incidents, alerts, claims, retries and due times of the probe.

use std::time::Duration;

use chrono::{DurationRound as _, TimeDelta, Utc};
use harness::{Behaviour, Database, Target, TestStack, spec};
use serde_json::{Value, json};
use shared::model::{ServiceSpec, ServiceState};
use tokio::net::TcpListener;

#[tokio::test]
async fn an_outage_is_one_incident_and_one_alert_until_two_good_checks_resolve_it() {
    let target = Target::start(Behaviour::Status(200)).await;
    let stack = TestStack::start().await;
    stack.apply(&[target.spec("shop", "production")]).await;
    assert_eq!(stack.check_now().await.checked[0].state, ServiceState::Healthy);
    assert_eq!(stack.database.count("incidents").await, 0);

    target.behave(Behaviour::Status(500));
    for _ in 0..3 {
        let report = stack.check_now().await;
        assert_eq!(report.checked[0].state, ServiceState::Down);
    }
    assert_eq!(stack.database.count("incidents").await, 1);
    assert_eq!(stack.database.count("alert_events WHERE status = 'active' AND alert_type = 'service_down'").await, 1);
    let incident: Value = stack.database.value("SELECT to_jsonb(i) FROM incidents i").await;
    assert!(incident["incident_id"].as_str().unwrap().starts_with("INC-HEALTH-"));
    assert_eq!(incident["title"], "Health check failed: shop");
    assert_eq!(incident["error_message"], "shop health check failed. Status: 500, Expected: 200");
    assert_eq!(incident["error_type"], "health_check_failure");
    assert_eq!((&incident["severity"], &incident["category"]), (&json!("CRITICAL"), &json!("infrastructure")));
    assert_eq!(incident["application"], "shop-app");
    assert_eq!(incident["occurrences"], 3);
    assert_eq!(incident["context"]["check_name"], "shop");
    assert_eq!(incident["context"]["http_status"], 500);

    target.behave(Behaviour::Status(200));
    assert_eq!(stack.check_now().await.checked[0].state, ServiceState::Down);
    assert_eq!(stack.database.count("incidents WHERE status = 'resolved'").await, 0);
    assert_eq!(stack.check_now().await.checked[0].state, ServiceState::Healthy);
    let ended: bool = stack
        .database
        .value("SELECT status = 'resolved' AND resolved_at IS NOT NULL AND time_to_resolution > '0' FROM incidents")
        .await;
    assert!(ended);
    assert_eq!(stack.database.count("alert_events WHERE status <> 'resolved'").await, 0);
    assert_eq!(stack.database.count("alert_events WHERE alert_type = 'recovery'").await, 1);
    stack.check_now().await;
    assert_eq!(stack.database.count("alert_events WHERE alert_type = 'recovery'").await, 1);
}

#[tokio::test]
async fn each_check_stores_its_measurements_and_an_audit_row() {
    let target = Target::start(Behaviour::Status(503)).await;
    let stack = TestStack::start().await;
    stack.apply(&[target.spec("shop", "test")]).await;
    stack.check_now().await;
    let check: Value = stack
        .database
        .value("SELECT to_jsonb(c) || jsonb_build_object('incident', i.incident_id) FROM monitoring_checks c JOIN incidents i ON i.id = c.incident_created")
        .await;
    assert!(check["check_id"].as_str().unwrap().starts_with("CHK-"));
    assert_eq!((&check["check_type"], &check["status"]), (&json!("health"), &json!("error")));
    assert_eq!((&check["http_status"], &check["errors_detected"]), (&json!(503), &json!(1)));
    assert_eq!(check["error_details"], json!({"error": "status 503 instead of 200", "code": "status"}));
    let health: Value = stack.database.value("SELECT to_jsonb(h) FROM service_health_checks h").await;
    assert_eq!((&health["service_name"], &health["status"]), (&json!("shop"), &json!("down")));
    assert_eq!((&health["environment"], &health["region"]), (&json!("test"), &json!("test")));
    let audit: Value = stack.database.value("SELECT to_jsonb(a) FROM agent_actions a").await;
    assert_eq!(audit["agent_id"], "health-monitor");
    assert_eq!(audit["action_type"], "health_check_failure");
    assert_eq!(audit["action_success"], false);
    let events: Vec<String> = stack
        .database
        .rows("SELECT detail_type FROM event_outbox ORDER BY 1", &[])
        .await
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(events, ["IncidentOpened", "ServiceStateChanged"], "a test environment's alert is announced later");
    let severity: String = stack.database.value("SELECT severity FROM incidents").await;
    assert_eq!(severity, "HIGH");
}

#[tokio::test]
async fn a_failure_that_a_retry_does_not_confirm_opens_no_incident() {
    let target = Target::start(Behaviour::FailTimes(1, 500)).await;
    let stack = TestStack::start().await;
    stack.apply(&[target.spec("shop", "production")]).await;
    assert_eq!(stack.check_now().await.checked[0].state, ServiceState::Healthy);
    assert_eq!(target.requests(), 2);
    assert_eq!(stack.database.count("incidents").await, 0);
}

#[tokio::test]
async fn a_failure_is_confirmed_by_two_retries() {
    let target = Target::start(Behaviour::Status(500)).await;
    let stack = TestStack::start().await;
    stack.apply(&[target.spec("shop", "production")]).await;
    stack.check_now().await;
    assert_eq!(target.requests(), 3);
}

#[tokio::test]
async fn each_kind_of_failure_has_its_reason() {
    let slow = Target::start(Behaviour::Slow(Duration::from_secs(3))).await;
    let hanging = Target::start(Behaviour::Hang).await;
    let failing = Target::start(Behaviour::Status(500)).await;
    let circle = Target::start(Behaviour::Redirect("/again".into())).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refusing = format!("http://{}/", closed.local_addr().unwrap());
    drop(closed);
    // A resolver may be slow to answer that the name does not exist.
    let mut nameless = spec("nameless", "production", "http://no-such-host.invalid/".into());
    nameless.timeout = Duration::from_secs(5);
    let impatient = |spec: ServiceSpec| ServiceSpec { timeout: Duration::from_millis(400), ..spec };
    let stack = TestStack::start().await;
    stack
        .apply(&[
            impatient(slow.spec("slow", "production")),
            impatient(hanging.spec("hanging", "production")),
            failing.spec("failing", "production"),
            circle.spec("circle", "production"),
            spec("refusing", "production", refusing),
            nameless,
        ])
        .await;
    let report = stack.check_now().await;
    assert_eq!(report.checked.len(), 6);
    let codes: Vec<(String, String)> = stack
        .database
        .rows(
            "SELECT i.context ->> 'check_name', coalesce(i.context ->> 'error_code', 'status') FROM incidents i ORDER BY 1",
            &[],
        )
        .await
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let codes: Vec<(&str, &str)> = codes.iter().map(|(name, code)| (name.as_str(), code.as_str())).collect();
    assert_eq!(
        codes,
        [
            ("circle", "redirect"),
            ("failing", "status"),
            ("hanging", "timeout"),
            ("nameless", "dns"),
            ("refusing", "connection_refused"),
            ("slow", "timeout"),
        ]
    );
    let message: String =
        stack.database.value("SELECT error_message FROM incidents WHERE title LIKE '%refusing'").await;
    assert_eq!(message, "refusing health check failed with error: connection refused");
}

#[tokio::test]
async fn a_minute_that_is_delivered_twice_is_checked_once() {
    let target = Target::start(Behaviour::Status(200)).await;
    let stack = TestStack::start().await;
    stack.apply(&[target.spec("shop", "production")]).await;
    let tick = Utc::now().duration_trunc(TimeDelta::minutes(1)).unwrap();
    let (first, second) = tokio::join!(probe::handle(stack.probe(), tick), probe::handle(stack.probe(), tick));
    let third = probe::handle(stack.probe(), tick).await.unwrap();
    assert_eq!(first.unwrap().checked.len() + second.unwrap().checked.len(), 1);
    assert_eq!(third.checked.len(), 0);
    let next = probe::handle(stack.probe(), tick + TimeDelta::minutes(1)).await.unwrap();
    assert_eq!(next.checked.len(), 1);
    assert_eq!(stack.database.count("monitoring_checks").await, 2);
}

#[tokio::test]
async fn a_service_is_due_once_in_each_of_its_slots() {
    let target = Target::start(Behaviour::Status(200)).await;
    let stack = TestStack::start().await;
    let mut every_five_minutes = target.spec("shop", "production");
    every_five_minutes.interval = Some(Duration::from_secs(300));
    stack.apply(&[every_five_minutes]).await;
    let slot = Utc::now().duration_trunc(TimeDelta::minutes(5)).unwrap() + TimeDelta::minutes(5);
    let mut checked = Vec::new();
    for minute in 0..11 {
        let report = probe::handle(stack.probe(), slot + TimeDelta::minutes(minute)).await.unwrap();
        checked.push(report.checked.len());
    }
    assert_eq!(checked, [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
}

#[tokio::test]
async fn a_late_tick_is_a_missed_window() {
    let target = Target::start(Behaviour::Status(500)).await;
    let stack = TestStack::start().await;
    stack.apply(&[target.spec("shop", "production")]).await;
    let report = probe::handle(stack.probe(), Utc::now() - TimeDelta::minutes(3)).await.unwrap();
    assert_eq!((report.checked.len(), target.requests()), (0, 0));
}

#[tokio::test]
async fn the_default_interval_is_read_from_system_config() {
    let target = Target::start(Behaviour::Status(200)).await;
    let stack = TestStack::start().await;
    stack.apply(&[target.spec("shop", "production")]).await;
    let slot = Utc::now().duration_trunc(TimeDelta::minutes(2)).unwrap() + TimeDelta::minutes(2);
    let rounds = async |minutes: i64| {
        let mut checked = 0;
        for minute in 0..minutes {
            checked += probe::handle(stack.probe(), slot + TimeDelta::minutes(minute)).await.unwrap().checked.len();
        }
        checked
    };
    stack
        .database
        .execute("UPDATE system_config SET value = '{\"value\": 120}' WHERE key = 'monitoring_interval_seconds'")
        .await;
    assert_eq!(rounds(4).await, 2);
    for nonsense in ["{\"value\": 0}", "{\"value\": \"soon\"}", "[]", "{\"value\": null}"] {
        let sql = format!("UPDATE system_config SET value = '{nonsense}' WHERE key = 'monitoring_interval_seconds'");
        stack.database.execute(&sql).await;
        probe::handle(stack.probe(), slot + TimeDelta::minutes(9)).await.unwrap();
    }
}

#[tokio::test]
async fn default_services_come_from_the_environment_and_a_services_file_takes_precedence() {
    let target = Target::start(Behaviour::Status(200)).await;
    let base = target.url().replace("/health", "");
    let services = shared::config::Environment::from_lookup(move |name| {
        ["BACKEND_API_URL", "ADMIN_CONSOLE_URL"].contains(&name).then(|| base.clone())
    })
    .read(probe::defaults::read)
    .unwrap();
    let stack = TestStack::builder().default_services(services).start(Database::migrated().await).await;
    stack.apply(&[target.spec("backend", "production")]).await;
    let report = stack.check_now().await;
    let names: Vec<&str> = report.checked.iter().map(|checked| checked.service.as_str()).collect();
    assert_eq!(names, ["backend", "database", "frontend"]);
    let application: String = stack.database.value("SELECT application FROM services WHERE name = 'backend'").await;
    assert_eq!(application, "backend-app", "the operator's file is not overwritten");
}

#[tokio::test]
async fn an_outage_that_was_resolved_too_early_is_reopened() {
    let target = Target::start(Behaviour::Status(500)).await;
    let stack = TestStack::start().await;
    stack.apply(&[target.spec("shop", "production")]).await;
    stack.check_now().await;
    stack
        .database
        .execute(
            "UPDATE incidents SET status = 'resolved', handled_by = 'ann'; UPDATE alert_events SET status = 'resolved'",
        )
        .await;
    stack.check_now().await;
    // The reopened incident loses its assignee.
    assert_eq!(stack.database.count("incidents WHERE status = 'detected' AND handled_by IS NULL").await, 1);
    assert_eq!(stack.database.count("alert_events WHERE status = 'active'").await, 1);
}

#[tokio::test]
async fn a_claim_that_expired_is_checked_at_the_next_tick() {
    let target = Target::start(Behaviour::Status(500)).await;
    let stack = TestStack::start().await;
    let mut daily = target.spec("shop", "production");
    daily.interval = Some(Duration::from_secs(86_400));
    stack.apply(&[daily]).await;
    let tick = Utc::now().duration_trunc(TimeDelta::minutes(1)).unwrap();
    // The claim of a process that was killed.
    stack
        .database
        .execute(
            "INSERT INTO service_claims (service_id, region, claimed_by, claimed_until, last_slot)
            SELECT id, 'test', gen_random_uuid(), now() - interval '1 s', floor(extract(epoch FROM now()) / 86400)
            FROM services",
        )
        .await;
    let report = probe::handle(stack.probe(), tick).await.unwrap();
    assert_eq!(report.checked.len(), 1);
    assert_eq!(stack.database.count("incidents").await, 1);
}

#[tokio::test]
async fn a_changed_interval_skips_no_check() {
    let target = Target::start(Behaviour::Status(200)).await;
    let stack = TestStack::start().await;
    let tick = Utc::now().duration_trunc(TimeDelta::minutes(2)).unwrap() + TimeDelta::minutes(2);
    stack.apply(&[target.spec("shop", "production")]).await;
    probe::handle(stack.probe(), tick).await.unwrap();
    let mut slower = target.spec("shop", "production");
    slower.interval = Some(Duration::from_secs(120));
    stack.apply(&[slower]).await;
    target.behave(Behaviour::Status(500));
    let report = probe::handle(stack.probe(), tick + TimeDelta::minutes(1)).await.unwrap();
    assert_eq!(report.checked.len(), 1);
    assert_eq!(stack.database.count("monitoring_checks").await, 2);
    assert_eq!(stack.database.count("incidents").await, 1);
}

#[tokio::test]
async fn a_service_that_hangs_does_not_delay_the_results_of_others() {
    let hanging = Target::start(Behaviour::Hang).await;
    let failing = Target::start(Behaviour::Status(500)).await;
    let stack = TestStack::start().await;
    let mut slow = hanging.spec("slow", "production");
    slow.timeout = Duration::from_secs(5);
    stack.apply(&[slow, failing.spec("quick", "production")]).await;
    let tick = Utc::now().duration_trunc(TimeDelta::minutes(1)).unwrap();
    let round = probe::handle(stack.probe(), tick);
    tokio::pin!(round);
    let stored_early = loop {
        tokio::select! {
            _ = &mut round => break false,
            () = tokio::time::sleep(Duration::from_millis(50)) => {
                if stack.database.count("incidents WHERE title LIKE '%quick'").await == 1 {
                    break true;
                }
            }
        }
    };
    assert!(stored_early, "the quick result is stored while the slow check still runs");
}

#[tokio::test]
async fn an_outage_survives_a_change_of_application_and_is_resolved_when_its_service_is_disabled() {
    let target = Target::start(Behaviour::Status(500)).await;
    let stack = TestStack::start().await;
    stack.apply(&[target.spec("shop", "production")]).await;
    stack.check_now().await;
    let mut moved = target.spec("shop", "production");
    moved.application = "another".into();
    stack.apply(std::slice::from_ref(&moved)).await;
    stack.check_now().await;
    let occurrences: i64 = stack.database.value("SELECT occurrences FROM incidents").await;
    assert_eq!(occurrences, 2);
    moved.enabled = false;
    stack.apply(&[moved]).await;
    assert_eq!(stack.database.count("incidents WHERE status <> 'resolved'").await, 0);
    assert_eq!(stack.database.count("alert_events WHERE status <> 'resolved'").await, 0);
    assert_eq!(stack.check_now().await.checked.len(), 0);
}

#[tokio::test]
async fn concurrent_rounds_share_the_due_services_and_skip_none() {
    let target = Target::start(Behaviour::Status(200)).await;
    let stack = TestStack::start().await;
    // More than one round checks; none was claimed before.
    let mut services: Vec<_> = (0..2_600).map(|number| target.spec(&format!("s{number}"), "production")).collect();
    // Long time-outs, so that a busy machine causes no retry.
    services.iter_mut().for_each(|service| service.timeout = Duration::from_secs(25));
    stack.apply(&services).await;
    let minute = Utc::now().duration_trunc(TimeDelta::minutes(1)).unwrap();
    let round = || probe::handle(stack.probe(), minute);
    let (one, two) = tokio::join!(round(), round());
    let checked = [one, two].map(|report| report.unwrap().checked.len());
    assert_eq!(checked.iter().sum::<usize>(), 2_600, "{checked:?}");
    assert_eq!(target.requests(), 2_600);
}

#[tokio::test]
async fn more_services_than_one_claim_takes_are_all_checked_once() {
    let target = Target::start(Behaviour::Status(200)).await;
    let stack = TestStack::start().await;
    let services: Vec<_> = (0..560).map(|number| target.spec(&format!("s{number}"), "production")).collect();
    stack.apply(&services).await;
    let tick = Utc::now().duration_trunc(TimeDelta::minutes(1)).unwrap();
    assert_eq!(probe::handle(stack.probe(), tick).await.unwrap().checked.len(), 560);
    assert_eq!(probe::handle(stack.probe(), tick).await.unwrap().checked.len(), 0);
    let report = stack.check_now().await;
    let failed: Vec<_> = report.checked.iter().filter(|checked| !checked.passed).collect();
    assert_eq!(report.checked.len(), 560);
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(target.requests(), 1_120);
}
