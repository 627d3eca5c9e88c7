//! The record of each kind of check.

use std::time::Duration;

use shared::model::{MaintenanceWindow, ServiceState, Severity, Slot};

use super::*;
use crate::check::Failure;
use crate::decide::tests::service;

fn claimed(state: ServiceState) -> ClaimedService {
    ClaimedService::new(service(state), Slot { start: DateTime::UNIX_EPOCH, period_seconds: 60 })
}

fn outcome(verdict: Verdict, http_status: Option<u16>, reason: Option<FailureReason>) -> Outcome {
    Outcome {
        verdict,
        failure: reason.map(|reason| Failure::new(reason, "connection refused")),
        http_status,
        response_time: Duration::from_millis(12),
        hops: Vec::new(),
        certificate_expires_at: None,
        measurements: None,
        captured: None,
        attempts: 1,
        checked_at: DateTime::UNIX_EPOCH,
    }
}

fn record(claimed: &ClaimedService, outcome: &Outcome) -> CheckRecord {
    let ended = Ended { claimed, claim: Uuid::nil(), outcome, region: "eu", parents: Parents::Fine, suspect: false };
    of(ended)
}

fn failed(reason: FailureReason, status: Option<u16>) -> Outcome {
    outcome(Verdict::Failed, status, Some(reason))
}

#[test]
fn a_wrong_status_is_reported_with_the_expected_one() {
    let failure = record(&claimed(ServiceState::Healthy), &failed(FailureReason::Status, Some(500))).failure.unwrap();
    assert_eq!(failure.title, "Health check failed: backend");
    assert_eq!(failure.message, "backend health check failed. Status: 500, Expected: 200");
    assert_eq!(failure.severity, Severity::Critical);
    assert_eq!(failure.context["http_status"], 500);
}

#[test]
fn an_error_is_reported_with_its_reason() {
    let refused = failed(FailureReason::ConnectionRefused, None);
    let failure = record(&claimed(ServiceState::Healthy), &refused).failure.unwrap();
    assert_eq!(failure.message, "backend health check failed with error: connection refused");
    assert_eq!(failure.context["error_code"], "connection_refused");
    assert!(failure.incident_id.as_str().starts_with("INC-HEALTH-"));
}

#[test]
fn a_change_of_state_is_an_event_and_no_change_is_none() {
    let timeout = failed(FailureReason::Timeout, None);
    let down = record(&claimed(ServiceState::Healthy), &timeout);
    assert_eq!(down.state_changed.unwrap().to, ServiceState::Down);
    assert!(record(&claimed(ServiceState::Down), &timeout).state_changed.is_none());
    let passed = outcome(Verdict::Healthy, Some(200), None);
    assert!(record(&claimed(ServiceState::Healthy), &passed).state_changed.is_none());
}

#[test]
fn a_suspect_failure_decides_nothing_and_is_not_counted() {
    let (claimed, outcome) = (claimed(ServiceState::Healthy), failed(FailureReason::Timeout, None));
    let ended = Ended {
        claimed: &claimed,
        claim: Uuid::nil(),
        outcome: &outcome,
        region: "eu",
        parents: Parents::Fine,
        suspect: true,
    };
    let record = of(ended);
    assert!(record.standing.is_none() && record.failure.is_none());
    assert_eq!((record.verdict, record.counts_as), ("down", None));
    assert_eq!(record.details["suspect"], true);
}

#[test]
fn maintenance_is_counted_apart() {
    let mut claimed = claimed(ServiceState::Healthy);
    let window =
        MaintenanceWindow::Once { from: DateTime::UNIX_EPOCH, until: DateTime::UNIX_EPOCH + TimeDelta::hours(1) };
    claimed.service.spec.policy.maintenance = vec![window];
    let record = record(&claimed, &failed(FailureReason::Timeout, None));
    assert_eq!((record.counts_as, record.latency_bucket), (Some("maintenance"), None));
    assert!(record.failure.is_none());
    assert_eq!(record.standing.unwrap().held_by.as_deref(), Some("maintenance"));
}

#[test]
fn an_expiring_certificate_and_its_successor_are_alerts() {
    let days = |days| Some(DateTime::UNIX_EPOCH + TimeDelta::days(days));
    for (before, now, expiring, renewed) in [
        (None, 90, false, true),
        (None, 13, true, false),
        (days(13), 12, true, false),
        (days(12), 90, false, true),
        (days(90), 180, false, true),
        (days(90), 90, false, false),
        (None, -1, true, false),
    ] {
        let mut claimed = claimed(ServiceState::Healthy);
        claimed.certificate_expires_at = before;
        let mut passed = outcome(Verdict::Healthy, Some(200), None);
        passed.certificate_expires_at = days(now);
        let record = record(&claimed, &passed);
        assert_eq!((record.certificate.is_some(), record.renewed), (expiring, renewed), "{before:?} {now}");
        assert!(record.failure.is_none(), "it is never an outage");
    }
}

#[test]
fn an_outage_in_a_low_priority_environment_is_announced_later() {
    let mut claimed = claimed(ServiceState::Healthy);
    claimed.service.spec.environment = "development".to_owned();
    let alert = record(&claimed, &failed(FailureReason::Timeout, None)).failure.unwrap().alert;
    assert_eq!(alert.announce_at, DateTime::UNIX_EPOCH + TimeDelta::minutes(2));
}

#[test]
fn one_region_alone_decides_nothing_where_others_check_too() {
    let mut claimed = claimed(ServiceState::Healthy);
    claimed.other_regions = 2;
    let first = record(&claimed, &failed(FailureReason::Timeout, None));
    assert!(first.standing.is_none() && first.failure.is_none());
    let votes = first.votes.unwrap();
    assert_eq!(votes["eu"].verdict, Verdict::Failed);
    let mut votes_of_another = votes.clone();
    votes_of_another.insert("us".to_owned(), votes["eu"].clone());
    votes_of_another.remove("eu");
    claimed.votes = votes_of_another;
    assert!(record(&claimed, &failed(FailureReason::Timeout, None)).failure.is_some(), "two of three");
}

#[test]
fn the_shown_address_holds_no_secret() {
    let mut spec = service(ServiceState::Healthy).spec;
    spec.target = "https://u:p@x.example/health?token=1#f".to_owned();
    assert_eq!(shown(&spec), "https://x.example/health");
}
