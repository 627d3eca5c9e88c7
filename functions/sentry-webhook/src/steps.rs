//! Steps in an incident's life, taken: redacted, stored in one statement, told to the bus, answered. What the database
//! does not take in time is deferred like a report: Sentry does not send it again. Every text that is kept of a delivery
//! that is no report passes here.

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

use crate::refusal::Refusal;
use crate::{App, answers};

/// A text in a step's details is cut to this many characters.
const DETAIL_CHARS: usize = 1_000;

/// A note with more bytes of JSON than this is kept as text, cut to a quarter as many characters.
const NOTE_BYTES: usize = 16 * 1024;

/// Where nothing can be deferred: Sentry waits for one second, so a database that takes longer is away.
const PATIENCE: Duration = Duration::from_millis(800);

impl App {
    /// Takes a step and answers.
    pub(crate) async fn take_step(&self, change: Change, step: Step) -> Result<Response, Refusal> {
        let key = step.delivery_key.clone();
        Ok(match self.take(self.alone(change, step)).await? {
            Kept::Stored(Taken::New(touched)) => answers::step(touched.first()),
            Kept::Stored(Taken::Before(Earlier { touched })) => answers::step(touched.as_ref()),
            Kept::Stored(Taken::Unknown) => answers::step(None),
            Kept::Deferred => Outcome::Deferred(key).into_response(),
        })
    }

    /// Takes the step that follows a report. The report is stored or deferred already: where it is deferred, the step
    /// brings it along, so that neither has to be replayed first, and the database is not asked again: Sentry has waited
    /// for it once.
    pub(crate) async fn take_following(&self, step: Step, report: Option<Report>) -> Result<(), Refusal> {
        let wanted = self.alone(Change::Note, step);
        let Some(report) = report else {
            self.take(wanted).await?;
            return Ok(());
        };
        let after = Some(Box::new(self.means.intake.presentable(report)));
        let record = Deferred::Step(Box::new(DeferredStep { after, ..wanted }));
        self.means.intake.deferral(PATIENCE).keep(record).await.map_err(|error| {
            tracing::error!(error = %chain(&error), "the step of a deferred report could not be kept for later");
            ApiError::unavailable().into()
        })
    }

    /// Reopens what the step is about; where nothing is known, stores the report instead.
    pub(crate) async fn take_return(&self, step: Step, report: Option<Report>) -> Result<Response, Refusal> {
        let key = step.delivery_key.clone();
        let otherwise = report.clone().map(|report| Box::new(self.means.intake.presentable(report)));
        let taken = self.take(DeferredStep { otherwise, ..self.alone(Change::Reopen, step) }).await?;
        let touched = match taken {
            Kept::Stored(Taken::New(touched)) => touched.into_iter().next(),
            Kept::Stored(Taken::Before(Earlier { touched })) => touched,
            Kept::Stored(Taken::Unknown) => None,
            Kept::Deferred => return Ok(Outcome::Deferred(key).into_response()),
        };
        match (touched, report) {
            (Some(touched), _) => Ok(answers::step(Some(&touched))),
            // A repetition of a delivery that was stored as this report finds its answer there.
            (None, Some(report)) => self.record(report).await,
            (None, None) => Ok(answers::step(None)),
        }
    }

    /// A step that belongs to no report.
    fn alone(&self, change: Change, step: Step) -> DeferredStep {
        let step = presentable(step, self.means.intake.redactor());
        DeferredStep { change, step, after: None, otherwise: None }
    }

    async fn take(&self, wanted: DeferredStep) -> Result<Kept<Taken>, StoreError> {
        let DeferredStep { change, step, .. } = &wanted;
        let take = |client: Arc<_>| async move { lifecycle::take_step(&client, *change, step, Arrival::Live).await };
        let deferral = self.means.intake.deferral(PATIENCE.max(self.means.intake.store_budget()));
        let kept = deferral.store(&self.means.store, take, || Some(Deferred::Step(Box::new(wanted.clone())))).await?;
        let kind = &step.action_type;
        let Kept::Stored(Taken::New(touched)) = &kept else { return Ok(kept) };
        let events: Vec<_> = touched.iter().filter_map(|touched| touched.event_id).collect();
        self.means.publisher.publish(&events).await;
        match touched.first() {
            Some(first) => {
                let id = &first.incident_id;
                tracing::info!(incident.id = %id, kind, changed = first.changed, "{kind} is noted on {id}");
            }
            None => tracing::info!(kind, "{kind} is kept; no incident is known for it"),
        }
        Ok(kept)
    }
}

/// The step without secrets, and no longer than what a timeline can show. Redacted first: half a secret is not found.
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
