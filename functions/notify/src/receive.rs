//! Receives events: reads a batch of the queue and evaluates what each event is about, several at a time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use chrono::{DateTime, Utc};
use shared::events::{AlertSubject, Escalation, Event, IncidentSubject, ReceivedEvent};
use shared::model::Subject;
use shared::store::notifications::subjects;
use shared::store::{StoreError, chain};
use tokio::task::{JoinError, JoinSet};
use uuid::Uuid;

use crate::App;
use crate::plan::Trigger;
use crate::rules::Rules;
use crate::{evaluate, heal, step};

/// Events that are not evaluated by then are returned to the queue.
const DEADLINE: Duration = Duration::from_secs(20);
/// So many events of a batch at a time: each takes a connection.
const AT_ONCE: usize = 4;

/// Evaluates what these events are about, but delivers nothing ([`crate::send_waiting`] does). Returns the ids of the messages
/// that have to be received again. One that can't be read is logged, and not received again.
pub async fn receive(app: &App, batch: SqsEvent) -> SqsBatchResponse {
    let now = Utc::now();
    let mut events = Vec::with_capacity(batch.records.len());
    for message in batch.records {
        let id = message.message_id.unwrap_or_default();
        match Event::read(message.body.as_deref().unwrap_or_default()) {
            Ok(None) => tracing::debug!(message.id = id, "ignored message {id}: an event of another version"),
            Ok(Some(event)) => events.push((id, event)),
            Err(error) => {
                tracing::error!(message.id = id, error = %chain(&error), "refused message {id}: it can't be read");
            }
        }
    }
    let mut response = SqsBatchResponse::default();
    if events.is_empty() {
        return response;
    }
    let failed = match Rules::load(app, now).await {
        Ok(rules) => evaluate_all(app, Arc::new(rules), events, now).await,
        Err(error) => {
            let count = events.len();
            tracing::warn!(error = %chain(&error), count, "returned {count} messages to the queue for retry");
            events.into_iter().map(|(id, _)| id).collect()
        }
    };
    response.set_failures(failed);
    response
}

/// Evaluates several events at a time; returns the ids of those that failed or were not reached in time.
async fn evaluate_all(
    app: &App,
    rules: Arc<Rules>,
    events: Vec<(String, ReceivedEvent)>,
    now: DateTime<Utc>,
) -> Vec<String> {
    let mut failed: BTreeSet<String> = events.iter().map(|(id, _)| id.clone()).collect();
    let mut evaluations: JoinSet<Option<String>> = JoinSet::new();
    // A task that does not return its id has failed, for whatever reason.
    let settle = |failed: &mut BTreeSet<String>, joined: Option<Result<Option<String>, JoinError>>| {
        if let Some(Ok(Some(id))) = joined {
            failed.remove(&id);
        }
    };
    let until = tokio::time::Instant::now() + DEADLINE;
    for (id, event) in events {
        if evaluations.len() >= AT_ONCE {
            match tokio::time::timeout_at(until, evaluations.join_next()).await {
                Ok(joined) => settle(&mut failed, joined),
                Err(_) => break,
            }
        }
        let (app, rules) = (app.clone(), Arc::clone(&rules));
        evaluations.spawn(async move {
            let evaluated = evaluate_event(&app, &rules, &event, now).await;
            evaluated.map_err(|error| log_failure(event.id, &error)).ok().map(|()| id)
        });
    }
    while !evaluations.is_empty() {
        match tokio::time::timeout_at(until, evaluations.join_next()).await {
            Ok(joined) => settle(&mut failed, joined),
            // What still runs ends with its task.
            Err(_) => break,
        }
    }
    failed.into_iter().collect()
}

async fn evaluate_event(
    app: &App,
    rules: &Rules,
    received: &ReceivedEvent,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let id = received.id;
    let of = |incident: &IncidentSubject| Some(Subject::Incident(incident.incident_id.clone()));
    let (subject, trigger) = match &received.event {
        Event::IncidentOpened(event) => (of(&event.incident), Trigger::Event),
        Event::IncidentReopened(event) => (of(&event.incident), Trigger::Event),
        Event::IncidentAcknowledged(event) => (of(&event.incident), Trigger::Event),
        Event::IncidentResolved(event) => (of(&event.incident), Trigger::Event),
        Event::AlertRaised(event) => (subject_of(app, &event.alert).await?, Trigger::Event),
        Event::AlertAcknowledged(event) => (subject_of(app, &event.alert).await?, Trigger::Event),
        Event::AlertResolved(event) => (subject_of(app, &event.alert).await?, Trigger::Event),
        Event::AlertEscalated(event) => match &event.escalation {
            Escalation::Severity(incident) => (of(incident), Trigger::SeverityRaised),
            Escalation::Unacknowledged(step) => return step::run(app, rules, step, id, now).await,
        },
        Event::HealFinished(run) => return heal::run(app, rules, run, id, now).await,
        Event::ServiceStateChanged(_) | Event::ReportDeferred(_) => return Ok(()),
    };
    match subject {
        Some(subject) => evaluate::run(app, rules, &subject, &trigger, id, now).await,
        None => Ok(()),
    }
}

/// The incident of an alert, or the alert itself; none if it was deleted.
async fn subject_of(app: &App, alert: &AlertSubject) -> Result<Option<Subject>, StoreError> {
    if let Some(incident_id) = &alert.incident_id {
        return Ok(Some(Subject::Incident(incident_id.clone())));
    }
    let id = alert.alert_id;
    app.store.run(|client| async move { subjects::subject_of_alert(&client, id).await }).await
}

/// Logs why an event was not evaluated. It is received again, whatever the reason: a defect of ours may be fixed by then, and
/// what always fails ends in the dead-letter queue, which has an alarm.
fn log_failure(event_id: Uuid, error: &StoreError) {
    let error_text = chain(error);
    if error.is_transient() {
        tracing::warn!(event.id = %event_id, error = error_text, "returned event {event_id} to the queue for retry");
    } else {
        tracing::error!(event.id = %event_id, error = error_text, "event {event_id} can't be evaluated; returned it to the queue");
    }
}
