//! Steps in an incident's life, taken: redacted, stored in one statement, told to the bus, answered. Every text that is
//! kept of a delivery that is no report passes here.

use std::time::Duration;

use axum::response::Response;
use serde_json::Value;
use shared::model::Report;
use shared::model::text::first_chars;
use shared::redact::Redactor;
use shared::store::StoreError;
use shared::store::lifecycle::{self, Earlier, Step, Touched};

use crate::refusal::Refusal;
use crate::resource::Change;
use crate::{App, answers};

/// A text in a step's details is cut to this many characters.
const DETAIL_CHARS: usize = 1_000;

/// A note with more bytes of JSON than this is kept as text, cut to a quarter as many characters.
const NOTE_BYTES: usize = 16 * 1024;

/// What became of a step.
enum Taken {
    /// What it did to the incident that it is about, if one is known.
    Done(Option<Touched>),
    /// Nothing: no incident is known, and nothing was kept.
    Unknown,
}

/// A step can't be deferred, and Sentry waits for one second: a database that takes longer is away.
const PATIENCE: Duration = Duration::from_millis(800);

impl App {
    /// Takes a step and answers.
    pub(crate) async fn take_step(&self, change: Change, step: Step) -> Result<Response, Refusal> {
        Ok(match self.take(change, step).await? {
            Taken::Done(touched) => answers::step(touched.as_ref()),
            Taken::Unknown => answers::step(None),
        })
    }

    /// Reopens what the step is about; where nothing is known, stores the report instead.
    pub(crate) async fn take_return(&self, step: Step, report: Option<Report>) -> Result<Response, Refusal> {
        match (self.take(Change::Reopen, step).await?, report) {
            (Taken::Done(Some(touched)), _) => Ok(answers::step(Some(&touched))),
            // A repetition of a delivery that was stored as this report finds its answer there.
            (Taken::Done(None) | Taken::Unknown, Some(report)) => self.record(report).await,
            (Taken::Done(None) | Taken::Unknown, None) => Ok(answers::step(None)),
        }
    }

    async fn take(&self, change: Change, step: Step) -> Result<Taken, StoreError> {
        let step = &presentable(step, self.means.intake.redactor());
        let store = &self.means.store;
        let done = store.run_within(PATIENCE, |client| async move {
            match change {
                Change::Resolve => lifecycle::resolve_group(&client, step).await,
                Change::Reopen => lifecycle::reopen_group(&client, step).await,
                Change::Acknowledge => lifecycle::acknowledge_group(&client, step).await,
                Change::Note => lifecycle::note_group(&client, step).await,
            }
        });
        let Some(touched) = done.await? else {
            let key = &step.delivery_key;
            let earlier =
                store.run_within(PATIENCE, |client| async move { lifecycle::find_earlier(&client, key).await });
            let earlier = earlier.await?;
            return Ok(earlier.map_or(Taken::Unknown, |Earlier { touched }| Taken::Done(touched)));
        };
        let events: Vec<_> = touched.iter().filter_map(|touched| touched.event_id).collect();
        self.means.publisher.publish(&events).await;
        let kind = &step.action_type;
        match touched.first() {
            Some(first) => {
                let id = &first.incident_id;
                tracing::info!(incident.id = %id, kind, changed = first.changed, "{kind} is noted on {id}");
            }
            None => tracing::info!(kind, "{kind} is kept; no incident is known for it"),
        }
        Ok(Taken::Done(touched.into_iter().next()))
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
