//! Builds the record of a check: its result, the service's new standing, and the incidents and alerts that it opens,
//! continues or ends. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use shared::events::ServiceStateChanged;
use shared::fingerprint::Fingerprint;
use shared::model::{
    BreakerState, CheckId, FailureReason, IncidentId, Kind, Service, ServiceSpec, Verdict, latency,
    severity_of_failed_check, text::first_chars, uuid_at,
};
use shared::store::checks::{AlertRecord, CheckRecord, FailureRecord, RecoveryRecord, StandingRecord};
use shared::store::probing::{Breaker, ClaimedService, Vote, Votes};
use uuid::Uuid;

use crate::check::Outcome;
use crate::decide::{Around, Decision, DegradedAlert, Outage, Parents, decide};
use crate::{breaker, votes};

/// The length of the title and target columns, in characters.
const TITLE_CHARS: usize = 255;

/// A completed check with its circumstances.
#[derive(Debug)]
pub struct Ended<'a> {
    /// The service.
    pub claimed: &'a ClaimedService,
    /// The claim under which it was checked.
    pub claim: Uuid,
    /// The result.
    pub outcome: &'a Outcome,
    /// The region of the probe.
    pub region: &'a str,
    /// The state of the services that it depends on.
    pub parents: Parents,
    /// Whether our own network may have failed: then a failure is not counted.
    pub suspect: bool,
}

/// The record of one check.
#[must_use]
pub fn of(ended: Ended<'_>) -> CheckRecord {
    let Ended { claimed, claim, outcome, region, parents, suspect } = ended;
    let service = &claimed.service;
    let (spec, at) = (&service.spec, outcome.checked_at);
    let maintenance = spec.policy.maintenance.iter().any(|window| window.contains(at));
    let not_counted = suspect && outcome.verdict == Verdict::Failed;
    let votes = (claimed.other_regions > 0 && claimed.slot.period_seconds > 0 && !not_counted)
        .then(|| with_vote(claimed, outcome, region));
    let decided = if not_counted { None } else { verdict_of_all(claimed, outcome, votes.as_ref()) };
    let decision = decided
        .map(|(_, verdict)| decide(&service.standing, &spec.policy, verdict, &Around { at, maintenance, parents }));
    let fails = decided.is_some_and(|(_, verdict)| verdict == Verdict::Failed);
    let outage = decision.as_ref().map_or(Outage::None, |decision| decision.outage);
    let degraded_alert = decision.as_ref().map_or(DegradedAlert::None, |decision| decision.degraded_alert);
    let (certificate, renewed) = certificate(claimed, outcome);
    CheckRecord {
        service_id: service.id,
        claim,
        revision: service.standing.revision,
        row_id: uuid_at(at),
        check_id: CheckId::of(service.id, region, claimed.slot),
        verdict: outcome.verdict.as_status(),
        counts_as: match (not_counted, maintenance) {
            (true, _) => None,
            (false, true) => Some("maintenance"),
            (false, false) => Some(outcome.verdict.as_status()),
        },
        target: first_chars(&shown(spec), TITLE_CHARS).to_owned(),
        http_status: outcome.http_status,
        response_time_ms: milliseconds(outcome),
        latency_bucket: (outcome.verdict != Verdict::Failed && !maintenance)
            .then(|| latency::bucket(outcome.response_time) + 1),
        error: outcome.failure.as_ref().map(|failure| failure.text.clone()),
        error_code: outcome.failure.as_ref().map(|failure| failure.reason),
        checked_at: at,
        fingerprint: Fingerprint::of_health_check(&spec.name),
        details: details(outcome, not_counted, maintenance),
        votes,
        certificate_expires_at: outcome.certificate_expires_at,
        measurements: outcome.measurements.clone(),
        breaker: decided.and_then(|(_, verdict)| breaker_after(claimed, verdict, at)),
        failure: (fails && matches!(outage, Outage::Opens | Outage::Lasts))
            .then(|| failure_record(service, outcome, decision.as_ref())),
        recovery: (outage == Outage::Ends).then(|| recovery_record(service)),
        degraded: (degraded_alert == DegradedAlert::Begins).then(|| degraded_record(service, outcome)),
        degraded_resolved: degraded_alert == DegradedAlert::Ends,
        certificate: certificate.filter(|_| !maintenance),
        renewed,
        state_changed: decision.as_ref().filter(|it| it.changed).map(|it| state_changed(service, it, at)),
        standing: decision.map(|Decision { after, suppressed_by, .. }| StandingRecord {
            after,
            decided_slot: decided.and_then(|(slot, _)| slot),
            held_by: suppressed_by,
        }),
    }
}

fn state_changed(service: &Service, decision: &Decision, at: DateTime<Utc>) -> ServiceStateChanged {
    ServiceStateChanged {
        service: service.spec.name.clone(),
        environment: service.spec.environment.clone(),
        from: service.standing.state,
        to: decision.after.state,
        changed_at: at,
    }
}

/// The verdict of all regions, including ours, with its slot (none for an unscheduled check). None = the required
/// regions have not all voted.
fn verdict_of_all(
    claimed: &ClaimedService,
    outcome: &Outcome,
    votes: Option<&Votes>,
) -> Option<(Option<i64>, Verdict)> {
    let slot = claimed.slot.start.timestamp();
    if claimed.slot.period_seconds == 0 {
        // An unscheduled check decides on its own where at most one region checks.
        return (claimed.other_regions <= 1).then_some((None, outcome.verdict));
    }
    let Some(votes) = votes else { return Some((Some(slot), outcome.verdict)) };
    let quorum = claimed.service.spec.policy.quorum;
    let regions = claimed.other_regions + 1;
    let tallied = votes::tally(votes, slot, claimed.slot.period_seconds, regions, quorum, claimed.decided_slot);
    tallied.map(|(slot, verdict)| (Some(slot), verdict))
}

fn with_vote(claimed: &ClaimedService, outcome: &Outcome, region: &str) -> Votes {
    let mut votes = claimed.votes.clone();
    let slot = claimed.slot.start.timestamp();
    // Drops regions that no longer vote.
    votes.retain(|_, vote| vote.slot > slot - 10 * claimed.slot.period_seconds);
    let before = votes.get(region).and_then(|last| last.slots().find(|(voted_on, _)| *voted_on < slot));
    votes.insert(region.to_owned(), Vote { slot, at: outcome.checked_at, verdict: outcome.verdict, before });
    votes
}

/// The new state of the circuit breaker, if it changed.
fn breaker_after(claimed: &ClaimedService, verdict: Verdict, now: DateTime<Utc>) -> Option<Breaker> {
    let spec = &claimed.service.spec;
    if !spec.policy.is_external() {
        return None;
    }
    let interval = spec.interval.unwrap_or(ServiceSpec::DEFAULT_INTERVAL);
    let next = breaker::next(claimed.breaker.as_ref(), verdict, interval, now).unwrap_or(Breaker {
        state: BreakerState::Closed,
        failures: 0,
        backoff_seconds: 0,
        opened_at: None,
        retry_at: None,
    });
    let still_clean = claimed.breaker.is_none() && next.state == BreakerState::Closed && next.failures == 0;
    (!still_clean && claimed.breaker.as_ref() != Some(&next)).then_some(next)
}

fn failure_record(service: &Service, outcome: &Outcome, decision: Option<&Decision>) -> FailureRecord {
    let (spec, now) = (&service.spec, outcome.checked_at);
    let name = &spec.name;
    let began_at = decision.and_then(|decision| decision.after.failing_since).unwrap_or(now);
    let incident_id = IncidentId::for_failed_check(now);
    let severity = severity_of_failed_check(&spec.environment);
    let title = first_chars(&format!("Health check failed: {name}"), TITLE_CHARS).to_owned();
    let message = match (&outcome.failure, outcome.http_status) {
        (Some(failure), Some(status)) if failure.reason == FailureReason::Status => {
            format!("{name} health check failed. Status: {status}, Expected: {}", spec.check.expected_statuses)
        }
        (Some(failure), _) => format!("{name} health check failed with error: {}", failure.text),
        (None, _) => format!("{name} health check failed in other regions"),
    };
    let delay = TimeDelta::from_std(spec.policy.page_delay(&spec.environment)).unwrap_or_default();
    FailureRecord {
        context: context(service, outcome),
        alert: alert(message.clone(), began_at + delay, now),
        incident_id,
        title,
        message,
        severity,
        began_at,
    }
}

/// An alert that is announced at this time, or now if that has passed.
fn alert(message: String, announce_at: DateTime<Utc>, now: DateTime<Utc>) -> AlertRecord {
    AlertRecord { id: Uuid::new_v4(), message, announce_at: announce_at.max(now) }
}

fn degraded_record(service: &Service, outcome: &Outcome) -> AlertRecord {
    let why = outcome.failure.as_ref().map_or("it answers slowly", |failure| &failure.text);
    let message = format!("{} is degraded: {why}", service.spec.name);
    let now = outcome.checked_at;
    let delay = TimeDelta::from_std(service.spec.policy.page_delay(&service.spec.environment)).unwrap_or_default();
    alert(message, now + delay, now)
}

/// The alert of an expiring certificate, and whether the certificate was renewed.
fn certificate(claimed: &ClaimedService, outcome: &Outcome) -> (Option<AlertRecord>, bool) {
    let service = &claimed.service;
    let now = outcome.checked_at;
    let warning = TimeDelta::days(service.spec.check.certificate_warning_days.into());
    let soon = |end: DateTime<Utc>| end - now < warning;
    match (outcome.certificate_expires_at, claimed.certificate_expires_at) {
        (Some(end), _) if soon(end) => {
            let days = (end - now).num_days();
            let message = if end <= now {
                format!("The certificate of {} ended on {}", service.spec.name, end.format("%Y-%m-%d"))
            } else {
                format!("The certificate of {} ends in {days} days, on {}", service.spec.name, end.format("%Y-%m-%d"))
            };
            (Some(alert(message, now, now)), false)
        }
        // Also if the previous expiry is unknown: its alert may be open.
        (Some(end), before) => (None, before != Some(end)),
        _ => (None, false),
    }
}

fn recovery_record(service: &Service) -> RecoveryRecord {
    RecoveryRecord { alert_id: Uuid::new_v4(), message: format!("{} is healthy again", service.spec.name) }
}

fn context(service: &Service, outcome: &Outcome) -> Value {
    let mut context = json!({
        "check_name": service.spec.name,
        "kind": service.spec.kind,
        "url": shown(&service.spec),
        "http_status": outcome.http_status,
        "response_time_ms": milliseconds(outcome),
        "attempts": outcome.attempts,
    });
    if let Some(failure) = &outcome.failure {
        context["error"] = failure.text.clone().into();
        context["error_code"] = failure.reason.as_str().into();
    }
    if let Some(captured) = &outcome.captured {
        context["captured"] = captured.clone();
    }
    context
}

fn details(outcome: &Outcome, suspect: bool, maintenance: bool) -> Value {
    let mut details = outcome.details();
    for (name, holds) in [("suspect", suspect), ("maintenance", maintenance)] {
        if holds {
            details[name] = true.into();
        }
    }
    details
}

/// The target without user, password and query, which may be secret.
fn shown(spec: &ServiceSpec) -> String {
    match spec.kind {
        Kind::Http => crate::check::shown(&spec.target),
        Kind::Heartbeat => "heartbeat".to_owned(),
        Kind::Tcp | Kind::Tls | Kind::Dns | Kind::Postgres => spec.target.clone(),
    }
}

fn milliseconds(outcome: &Outcome) -> u32 {
    u32::try_from(outcome.response_time.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
