//! Stores steps in an incident's lifecycle: redacts, stores in one statement, publishes, answers. A step that the
//! database does not store in time is deferred like a report, since Sentry does not retry. All texts of deliveries that
//! are not reports are redacted here.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use shared::defer::{Deferred, DeferredStep, Kept};
use shared::http::ApiError;
use shared::intake::Outcome;
use shared::model::Report;
use shared::model::text::first_chars;
use shared::redact::Redactor;
use shared::store::lifecycle::{self, Arrival, Change, Earlier, Step, Taken};
use shared::store::{StoreError, chain};

use crate::refusal::WebhookRefusal;
use crate::{App, answers};

/// A detail's text is cut to this many characters.
const DETAIL_CHARS: usize = 1_000;

/// A note with more bytes of JSON than this is stored as text, cut to a quarter as many characters.
const NOTE_BYTES: usize = 16 * 1024;

/// The database's timeout where nothing can be deferred: Sentry waits for one second.
const TIMEOUT: Duration = Duration::from_millis(800);

impl App {
    /// Stores a step and answers.
    pub(crate) async fn take_step(&self, change: Change, step: Step) -> Result<Response, WebhookRefusal> {
        let key = step.delivery_key.clone();
        Ok(match self.take(self.alone(change, step)).await? {
            Kept::Stored(Taken::New(touched)) => answers::step(touched.first()),
            Kept::Stored(Taken::Before(Earlier { touched })) => answers::step(touched.as_ref()),
            Kept::Stored(Taken::Unknown) => answers::step(None),
            Kept::Deferred => Outcome::Deferred(key).into_response(),
        })
    }

    /// Stores the step that follows a report. If the report was deferred, the step is deferred with a copy of it, so
    /// that either may be replayed first, and without waiting for the database again.
    pub(crate) async fn take_following(&self, step: Step, report: Option<Report>) -> Result<(), WebhookRefusal> {
        let wanted = self.alone(Change::Note, step);
        let Some(report) = report else {
            self.take(wanted).await?;
            return Ok(());
        };
        let after = Some(Box::new(self.deps.intake.presentable(report)));
        let record = Deferred::Step(Box::new(DeferredStep { after, ..wanted }));
        self.deps.intake.deferral(TIMEOUT).keep(record).await.map_err(|error| {
            tracing::error!(error = %chain(&error), "the step of a deferred report could not be deferred");
            ApiError::unavailable().into()
        })
    }

    /// Reopens the step's incident; if there is none, stores the report instead.
    pub(crate) async fn take_return(&self, step: Step, report: Option<Report>) -> Result<Response, WebhookRefusal> {
        let key = step.delivery_key.clone();
        let otherwise = report.clone().map(|report| Box::new(self.deps.intake.presentable(report)));
        let taken = self.take(DeferredStep { otherwise, ..self.alone(Change::Reopen, step) }).await?;
        let touched = match taken {
            Kept::Stored(Taken::New(touched)) => touched.into_iter().next(),
            Kept::Stored(Taken::Before(Earlier { touched })) => touched,
            Kept::Stored(Taken::Unknown) => None,
            Kept::Deferred => return Ok(Outcome::Deferred(key).into_response()),
        };
        match (touched, report) {
            (Some(touched), _) => Ok(answers::step(Some(&touched))),
            // A retry of a delivery that was stored as this report gets the same answer.
            (None, Some(report)) => self.record(report).await,
            (None, None) => Ok(answers::step(None)),
        }
    }

    /// A step without a report.
    fn alone(&self, change: Change, step: Step) -> DeferredStep {
        let step = presentable(step, self.deps.intake.redactor());
        DeferredStep { change, step, after: None, otherwise: None }
    }

    async fn take(&self, wanted: DeferredStep) -> Result<Kept<Taken>, StoreError> {
        let DeferredStep { change, step, .. } = &wanted;
        let take = |client: Arc<_>| async move { lifecycle::take_step(&client, *change, step, Arrival::Live).await };
        let deferral = self.deps.intake.deferral(TIMEOUT.max(self.deps.intake.store_budget()));
        let kept = deferral.store(&self.deps.store, take, || Some(Deferred::Step(Box::new(wanted.clone())))).await?;
        let kind = &step.action_type;
        let Kept::Stored(Taken::New(touched)) = &kept else { return Ok(kept) };
        let events: Vec<_> = touched.iter().filter_map(|touched| touched.event_id).collect();
        self.deps.publisher.publish(&events).await;
        match touched.first() {
            Some(first) => {
                let id = &first.incident_id;
                tracing::info!(incident.id = %id, kind, changed = first.changed, "{kind} was added to {id}");
            }
            None => tracing::info!(kind, "{kind} was stored; there is no incident for it"),
        }
        Ok(kept)
    }
}

/// Redacts the step, then cuts it to what a timeline shows: half a secret would not be found.
fn presentable(mut step: Step, redactor: &Redactor) -> Step {
    step.description = redactor.text(&step.description).into_owned();
    for value in step.details.values_mut() {
        if let Value::String(text) = value {
            *text = first_chars(&redactor.text(text), DETAIL_CHARS).to_owned();
        }
    }
    step.note = step.note.take().map(|note| bounded(redactor.value(note)));
    step
}

fn bounded(note: Value) -> Value {
    let text = note.to_string();
    if text.len() <= NOTE_BYTES { note } else { first_chars(&text, NOTE_BYTES / 4).into() }
}
