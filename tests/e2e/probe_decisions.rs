//! The probe's decisions over several services, minutes and regions.

use std::time::Duration;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use harness::events::published;
use harness::{Behaviour, Database, Target, TestStack, spec};
use serde_json::{Value, json};
use shared::events::Event;
use shared::model::{AlertPolicy, MaintenanceWindow, ServiceSpec, ServiceState, Severity};
use tokio::net::{TcpListener, UdpSocket};

fn this_minute() -> DateTime<Utc> {
    Utc::now().duration_trunc(TimeDelta::minutes(1)).unwrap()
}

/// The URL of a closed port.
async fn closed_port() -> String {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}/", closed.local_addr().unwrap())
}

#[tokio::test]
async fn a_failed_parent_suppresses_the_incidents_of_its_five_dependents() {
    let database = Target::start(Behaviour::Status(500)).await;
    let behind = Target::start(Behaviour::Status(503)).await;
    let stack = TestStack::start().await;
    let mut services = vec![database.spec("database", "production")];
    for number in 0..5 {
        let mut service = behind.spec(&format!("api-{number}"), "production");
        service.policy.parents = vec!["database".to_owned()];
        services.push(service);
    }
    stack.apply(&services).await;
    let report = stack.check_now().await;
    assert!(report.checked.iter().all(|checked| checked.state == ServiceState::Down));
    let titles: Value = stack.database.value("SELECT jsonb_agg(title) FROM incidents").await;
    assert_eq!(titles, json!(["Health check failed: database"]));
    assert_eq!(stack.database.count("alert_events").await, 1);
    assert_eq!(stack.database.count("services WHERE held_by = 'parent database'").await, 5);

    // The database recovered, its dependents did not: each opens an incident of its own.
    database.behave(Behaviour::Status(200));
    for _ in 0..2 {
        stack.check_now().await;
    }
    assert_eq!(stack.database.count("incidents WHERE status <> 'resolved' AND title LIKE '%api-%'").await, 5);
    assert_eq!(stack.database.count("incidents WHERE status = 'resolved'").await, 1);
}

#[tokio::test]
async fn a_maintenance_window_suppresses_incidents_alerts_and_downtime() {
    let target = Target::start(Behaviour::Status(500)).await;
    let stack = TestStack::start().await;
    let mut service = target.spec("shop", "production");
    let (from, until) = (Utc::now() - TimeDelta::hours(1), Utc::now() + TimeDelta::hours(1));
    service.policy.maintenance = vec![MaintenanceWindow::Once { from, until }];
    stack.apply(std::slice::from_ref(&service)).await;
    stack.check_now().await;
    assert_eq!(stack.database.count("incidents").await, 0);
    assert_eq!(stack.database.count("alert_events").await, 0);
    assert_eq!(stack.database.count("service_health_checks WHERE status = 'down'").await, 1);
    assert_eq!(stack.database.count("service_daily WHERE maintenance = 1 AND down = 0").await, 1);
    assert_eq!(stack.database.count("services WHERE held_by = 'maintenance' AND state = 'down'").await, 1);

    // The maintenance is over, the service still fails.
    service.policy.maintenance = Vec::new();
    stack.apply(&[service]).await;
    stack.check_now().await;
    assert_eq!(stack.database.count("incidents").await, 1);
    let began: bool = stack
        .database
        .value("SELECT detected_at = min(h.checked_at) FROM incidents, service_health_checks h GROUP BY detected_at")
        .await;
    assert!(began, "detected at the first failed check");
}

#[tokio::test]
async fn a_flapping_service_is_one_incident() {
    let target = Target::start(Behaviour::Status(200)).await;
    let stack = TestStack::start().await;
    stack.apply(&[target.spec("shop", "production")]).await;
    stack.check_now().await;
    for _ in 0..5 {
        for behaviour in [500, 200, 200] {
            target.behave(Behaviour::Status(behaviour));
            stack.check_now().await;
        }
    }
    assert_eq!(stack.database.count("incidents").await, 1);
    assert_eq!(stack.database.count("incidents WHERE status <> 'resolved'").await, 1, "flapping keeps it open");
    assert_eq!(stack.database.count("services WHERE flapping").await, 1);
    assert!(stack.database.count("alert_events WHERE alert_type = 'service_down'").await <= 2);
    for _ in 0..10 {
        stack.check_now().await;
    }
    assert_eq!(stack.database.count("incidents WHERE status <> 'resolved'").await, 0);
    assert_eq!(stack.database.count("services WHERE flapping").await, 0);
}

#[tokio::test]
async fn a_slow_service_is_degraded_and_opens_no_incident() {
    let target = Target::start(Behaviour::Slow(Duration::from_millis(1_500))).await;
    let stack = TestStack::start().await;
    let mut service = target.spec("shop", "production");
    service.check.degraded_above_ms = Some(1_000);
    stack.apply(&[service]).await;
    for _ in 0..3 {
        stack.check_now().await;
    }
    assert_eq!(stack.database.count("incidents").await, 0);
    let alerts = "alert_events WHERE alert_type = 'service_degraded' AND status = 'active'";
    assert_eq!(stack.database.count(alerts).await, 1);
    assert_eq!(stack.database.count("services WHERE state = 'degraded' AND last_reason = 'slow'").await, 1);
    assert_eq!(stack.database.count("service_hourly WHERE degraded = 3 AND latency_sum_ms > 300").await, 1);
    target.behave(Behaviour::Status(200));
    for _ in 0..2 {
        stack.check_now().await;
    }
    assert_eq!(stack.database.count("alert_events WHERE status <> 'resolved'").await, 0);
    assert_eq!(stack.database.count("services WHERE state = 'healthy'").await, 1);
}

#[tokio::test]
async fn a_network_failure_of_the_probe_is_one_incident_and_no_service_is_down() {
    // A name server that never answers.
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let name_servers = vec![silent.local_addr().unwrap()];
    let stack = TestStack::builder().name_servers(name_servers).start(Database::migrated().await).await;
    let unanswered = |number| ServiceSpec {
        timeout: Duration::from_secs(1),
        ..spec(&format!("s{number}"), "production", format!("http://host-{number}.example/"))
    };
    let services: Vec<_> = (0..8).map(unanswered).collect();
    stack.apply(&services).await;
    for _ in 0..2 {
        let tick = this_minute();
        probe::handle(stack.probe(), tick).await.unwrap();
        stack.check_now().await;
    }
    let incidents: Value = stack.database.value("SELECT jsonb_agg(error_type) FROM incidents").await;
    assert_eq!(incidents, json!(["probe_network"]));
    assert_eq!(stack.database.count("services WHERE state = 'down'").await, 0);
    assert_eq!(stack.database.count("service_daily").await, 0, "it counts as downtime of no service");
    assert!(stack.database.count("service_health_checks WHERE probe_details ->> 'suspect' = 'true'").await >= 8);

    // The network recovered.
    let target = Target::start(Behaviour::Status(200)).await;
    let at = |number| target.url().replace("127.0.0.1", &format!("host-{number}.localhost"));
    let services: Vec<_> = (0..8).map(|number| spec(&format!("s{number}"), "production", at(number))).collect();
    stack.apply(&services).await;
    stack.check_now().await;
    assert_eq!(stack.database.count("incidents WHERE status = 'resolved'").await, 1);
    assert_eq!(stack.database.count("services WHERE state = 'healthy'").await, 8);
}

#[tokio::test]
async fn two_of_three_regions_must_agree_that_a_service_is_down() {
    let target = Target::start(Behaviour::Status(200)).await;
    let stack = TestStack::start().await;
    stack.apply(&[target.spec("shop", "production")]).await;
    let regions = ["eu", "us", "ap"].map(|region| stack.probe_in(region));
    let tick = this_minute();
    let minute = |minutes: i64| tick + TimeDelta::minutes(minutes);
    let check = async |region: usize, at: DateTime<Utc>, status: u16| {
        target.behave(Behaviour::Status(status));
        assert_eq!(probe::handle(&regions[region], at).await.unwrap().checked.len(), 1);
    };
    // In the first minute the regions register.
    for region in 0..3 {
        check(region, minute(0), 200).await;
    }
    // One region alone sees it down: no incident.
    check(0, minute(1), 500).await;
    check(1, minute(1), 200).await;
    check(2, minute(1), 200).await;
    assert_eq!(stack.database.count("incidents").await, 0);
    // Two regions see it down.
    check(0, minute(2), 500).await;
    assert_eq!(stack.database.count("incidents").await, 0);
    check(1, minute(2), 500).await;
    assert_eq!(stack.database.count("incidents").await, 1);
    check(2, minute(2), 500).await;
    let occurrences: i64 = stack.database.value("SELECT occurrences FROM incidents").await;
    assert_eq!(occurrences, 1, "a slot counts once, however many regions report it");
    assert_eq!(stack.database.count("service_health_checks").await, 9);
    assert_eq!(stack.database.count("services WHERE state = 'down' AND consecutive_failures = 1").await, 1);
}

#[tokio::test]
async fn regions_that_write_concurrently_lose_no_check() {
    let target = Target::start(Behaviour::Status(500)).await;
    let stack = TestStack::start().await;
    let services: Vec<_> = (0..20).map(|number| target.spec(&format!("s{number}"), "production")).collect();
    stack.apply(&services).await;
    let (eu, us) = (stack.probe_in("eu"), stack.probe_in("us"));
    let tick = this_minute();
    for minutes in 0..3 {
        let at = tick + TimeDelta::minutes(minutes);
        let (one, other) = tokio::join!(probe::handle(&eu, at), probe::handle(&us, at));
        assert_eq!((one.unwrap().checked.len(), other.unwrap().checked.len()), (20, 20));
    }
    assert_eq!(stack.database.count("monitoring_checks").await, 120);
    assert_eq!(stack.database.count("service_claims WHERE claimed_by IS NOT NULL").await, 0);
    assert_eq!(stack.database.count("incidents WHERE status <> 'resolved'").await, 20);
    assert_eq!(stack.database.count("services WHERE state = 'down'").await, 20);
}

#[tokio::test]
async fn the_circuit_breaker_throttles_checks_of_an_external_service_that_is_down() {
    let target = Target::start(Behaviour::Status(500)).await;
    let stack = TestStack::start().await;
    let mut service = target.spec("payments", "production");
    service.policy.tags = vec![AlertPolicy::EXTERNAL.to_owned()];
    stack.apply(&[service]).await;
    for _ in 0..3 {
        stack.check_now().await;
    }
    let breaker: Value = stack.database.value("SELECT to_jsonb(b) FROM circuit_breakers b").await;
    assert_eq!(breaker["state"], "open", "{breaker}");
    let asked = target.requests();
    probe::handle(stack.probe(), this_minute()).await.unwrap();
    assert_eq!(target.requests(), asked, "the open breaker skips the check");
    stack.database.execute("UPDATE circuit_breakers SET retry_at = now() - interval '1 s'").await;
    target.behave(Behaviour::Status(200));
    probe::handle(stack.probe(), this_minute() + TimeDelta::minutes(1)).await.unwrap();
    let state: String = stack.database.value("SELECT state FROM circuit_breakers").await;
    assert_eq!(state, "half_open");
    probe::handle(stack.probe(), this_minute() + TimeDelta::minutes(2)).await.unwrap();
    let state: String = stack.database.value("SELECT state FROM circuit_breakers").await;
    assert_eq!(state, "closed");
    assert_eq!(stack.database.count("incidents WHERE status = 'resolved'").await, 1);
}

#[tokio::test]
async fn an_alert_of_a_test_environment_is_announced_after_its_delay_unless_it_is_resolved() {
    let target = Target::start(Behaviour::Status(500)).await;
    let stack = TestStack::start().await;
    stack.apply(&[target.spec("shop", "test"), target.spec("mail", "test")]).await;
    let dispatch = stack.dispatch();
    stack.check_now().await;
    let announced = "event_outbox WHERE detail_type = 'AlertRaised'";
    dispatch::handle(&dispatch, Utc::now()).await.unwrap();
    assert_eq!(stack.database.count(announced).await, 0);
    assert_eq!(stack.database.count("alert_events WHERE status = 'active'").await, 2);
    // One of them recovers before its announcement: it is never announced.
    target.behave(Behaviour::Status(200));
    let mut mail = target.spec("mail", "test");
    mail.enabled = false;
    stack.apply(&[mail]).await;
    assert_eq!(dispatch::announce(&dispatch, Utc::now() + TimeDelta::seconds(31)).await.unwrap(), 1);
    assert_eq!(dispatch::announce(&dispatch, Utc::now() + TimeDelta::seconds(32)).await.unwrap(), 0);
    let events = published(&stack.database).await;
    let raised = events.into_iter().find_map(|received| match received.event {
        Event::AlertRaised(event) => Some(event.alert),
        _ => None,
    });
    let alert = raised.unwrap();
    assert_eq!((alert.service.as_str(), alert.severity), ("shop", Severity::High));
    assert!(alert.incident_id.unwrap().as_str().starts_with("INC-HEALTH-"));
    for _ in 0..2 {
        stack.check_now().await;
    }
    assert_eq!(stack.database.count("event_outbox WHERE detail_type = 'AlertResolved'").await, 1);
}

#[tokio::test]
async fn the_result_of_a_service_that_changed_during_its_check_is_discarded() {
    let target = Target::start(Behaviour::Slow(Duration::from_millis(600))).await;
    let stack = TestStack::start().await;
    let mut service = target.spec("shop", "production");
    service.timeout = Duration::from_secs(5);
    stack.apply(std::slice::from_ref(&service)).await;
    let round = probe::handle(stack.probe(), this_minute());
    let change = async {
        while target.requests() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        service.target = closed_port().await;
        stack.apply(std::slice::from_ref(&service)).await;
    };
    let (report, ()) = tokio::join!(round, change);
    assert_eq!(report.unwrap().checked.len(), 0, "the result is of the old target");
    assert_eq!(stack.database.count("monitoring_checks").await, 0);
}
