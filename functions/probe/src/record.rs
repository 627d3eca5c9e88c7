//! What is written of a check: its result, and what it opens, continues or ends. Pure.

use serde_json::{Value, json};
use shared::events::Event;
use shared::fingerprint::Fingerprint;
use shared::model::{
    AlertType, Category, CheckId, IncidentId, Service, ServiceState, Verdict, severity_of_failed_check,
    text::first_chars,
};
use shared::store::checks::{CheckRecord, FailureRecord, RecoveryRecord};
use shared::store::probing::ClaimedService;
use uuid::Uuid;

use crate::attempt::Failure;
use crate::check::Outcome;
use crate::decide::{Around, Parents, decide};

/// A title column holds this many characters.
const TITLE_CHARS: usize = 255;

/// The record of one check.
#[must_use]
pub fn of(claimed: &ClaimedService, outcome: &Outcome, region: &str) -> CheckRecord {
    let service = &claimed.service;
    let verdict = if outcome.passed() { Verdict::Healthy } else { Verdict::Failed };
    let around = Around { at: outcome.checked_at, maintenance: false, parents: Parents::Fine };
    let decision = decide(&service.standing, &service.spec.policy, verdict, &around).after;
    let failure = outcome.attempt.failure.as_ref();
    let recovered = decision.state == ServiceState::Healthy && service.standing.state != ServiceState::Healthy;
    let state_changed = (decision.state != service.standing.state).then(|| {
        Event::ServiceStateChanged {
            service: &service.spec.name,
            environment: &service.spec.environment,
            from: service.standing.state,
            to: decision.state,
            changed_at: outcome.checked_at,
        }
        .into_outbox(outcome.checked_at)
    });
    CheckRecord {
        service_id: service.id,
        check_id: CheckId::of(service.id, region, claimed.slot),
        passed: outcome.passed(),
        http_status: outcome.http_status(),
        response_time_ms: milliseconds(outcome),
        error: failure.map(|failure| failure.text.clone()),
        error_code: failure.map(|failure| failure.reason),
        state: decision.state,
        consecutive_failures: decision.consecutive_failures,
        consecutive_successes: decision.consecutive_successes,
        checked_at: outcome.checked_at,
        fingerprint: Fingerprint::of_health_check(&service.spec.name),
        details: json!({
            "url": shown(&service.spec.target),
            "http_status": outcome.http_status(),
            "attempts": outcome.attempts,
        }),
        failure: failure.map(|failure| failure_record(service, outcome, failure)),
        recovery: recovered.then(|| recovery_record(service, outcome)),
        state_changed,
    }
}

fn failure_record(service: &Service, outcome: &Outcome, failure: &Failure) -> FailureRecord {
    let name = &service.spec.name;
    let now = outcome.checked_at;
    let incident_id = IncidentId::for_failed_check(now);
    let alert_id = Uuid::new_v4();
    let severity = severity_of_failed_check(&service.spec.environment);
    let title = first_chars(&format!("Health check failed: {name}"), TITLE_CHARS).to_owned();
    let message = match outcome.http_status() {
        Some(status) => {
            format!("{name} health check failed. Status: {status}, Expected: {}", service.spec.check.expected_statuses)
        }
        None => format!("{name} health check failed with error: {}", failure.text),
    };
    let opened = Event::IncidentOpened {
        incident_id: &incident_id,
        severity,
        category: Category::Infrastructure,
        application: &service.spec.application,
        environment: &service.spec.environment,
        title: &title,
        detected_at: now,
    }
    .into_outbox(now);
    let alerted = Event::AlertRaised {
        alert_id,
        service: name,
        environment: &service.spec.environment,
        alert_type: AlertType::ServiceDown,
        message: &message,
    }
    .into_outbox(now);
    FailureRecord {
        context: context(service, outcome, failure),
        incident_id,
        title,
        message,
        severity,
        alert_id,
        opened,
        alerted,
    }
}

fn context(service: &Service, outcome: &Outcome, failure: &Failure) -> Value {
    let mut context = json!({
        "check_name": service.spec.name,
        "url": shown(&service.spec.target),
        "http_status": outcome.http_status(),
        "response_time_ms": milliseconds(outcome),
    });
    if outcome.http_status().is_none() {
        context["error"] = failure.text.clone().into();
        context["error_code"] = failure.reason.as_str().into();
    }
    context
}

fn recovery_record(service: &Service, outcome: &Outcome) -> RecoveryRecord {
    let now = outcome.checked_at;
    let environment = &service.spec.environment;
    RecoveryRecord {
        alert_id: Uuid::new_v4(),
        message: format!("{} is healthy again", service.spec.name),
        incident_resolved: Event::IncidentResolved {
            application: &service.spec.application,
            environment,
            resolved_at: now,
        }
        .into_outbox(now),
        alert_resolved: Event::AlertResolved { service: &service.spec.name, environment, resolved_at: now }
            .into_outbox(now),
    }
}

/// The address without what may be secret in it: user, password and query.
fn shown(url: &str) -> String {
    let Ok(mut url) = reqwest::Url::parse(url) else { return String::new() };
    // Fails only for addresses that have no host, which a service's never is.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

fn milliseconds(outcome: &Outcome) -> u32 {
    u32::try_from(outcome.attempt.took.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::DateTime;
    use shared::model::{FailureReason, Severity, Slot};

    use super::*;
    use crate::attempt::Attempt;
    use crate::decide::tests::service;

    fn outcome(http_status: Option<u16>, reason: Option<FailureReason>) -> Outcome {
        Outcome {
            attempt: Attempt {
                http_status,
                took: Duration::from_millis(12),
                failure: reason.map(|reason| Failure { reason, text: "connection refused".into() }),
            },
            attempts: 1,
            checked_at: DateTime::UNIX_EPOCH,
        }
    }

    fn record(state: ServiceState, http_status: Option<u16>, reason: Option<FailureReason>) -> CheckRecord {
        let slot = Slot { start: DateTime::UNIX_EPOCH, period_seconds: 60 };
        let claimed = ClaimedService::new(service(state), slot);
        of(&claimed, &outcome(http_status, reason), "local")
    }

    #[test]
    fn a_wrong_status_is_told_with_the_expected_one() {
        let failure = record(ServiceState::Healthy, Some(500), Some(FailureReason::Status)).failure.unwrap();
        assert_eq!(failure.title, "Health check failed: backend");
        assert_eq!(failure.message, "backend health check failed. Status: 500, Expected: 200");
        assert_eq!(failure.severity, Severity::Critical);
        assert_eq!(failure.context["http_status"], 500);
        assert_eq!(failure.context.get("error"), None);
    }

    #[test]
    fn an_error_is_told_with_its_reason() {
        let failure = record(ServiceState::Healthy, None, Some(FailureReason::ConnectionRefused)).failure.unwrap();
        assert_eq!(failure.message, "backend health check failed with error: connection refused");
        assert_eq!(failure.context["error_code"], "connection_refused");
        assert!(failure.incident_id.as_str().starts_with("INC-HEALTH-"));
    }

    #[test]
    fn a_change_of_state_is_an_event_and_no_change_is_none() {
        let down = record(ServiceState::Healthy, None, Some(FailureReason::Timeout));
        assert_eq!(down.state_changed.unwrap().detail["to"], "down");
        assert!(record(ServiceState::Down, None, Some(FailureReason::Timeout)).state_changed.is_none());
        assert!(record(ServiceState::Healthy, Some(200), None).state_changed.is_none());
    }

    #[test]
    fn the_shown_address_holds_no_secret() {
        assert_eq!(shown("https://u:p@x.example/health?token=1#f"), "https://x.example/health");
    }
}
