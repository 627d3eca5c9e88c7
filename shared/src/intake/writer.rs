//! Writes one batch of reports to the database, and returns an answer for each.

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use super::IntakeError;
use crate::model::{DEFAULT_ENVIRONMENT, Report};
use crate::publish::Publisher;
use crate::store::applications;
use crate::store::reports::{self, ClassifiedReport, Receipt, Recorded};
use crate::store::{Store, StoreError};

/// Writes reports. Cheap to clone.
#[derive(Clone)]
pub(super) struct Writer {
    store: Store,
    publisher: Publisher,
}

/// The result of a batch.
pub(super) struct Written {
    /// One for each report, in their order.
    pub(super) answers: Vec<Result<Receipt, IntakeError>>,
    /// Events to publish.
    pub(super) events: Vec<Uuid>,
}

impl Writer {
    pub(super) fn new(store: Store, publisher: Publisher) -> Self {
        Self { store, publisher }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn close(&self) {
        self.store.close();
    }

    /// Publishes events on the bus.
    pub(super) async fn publish(&self, events: &[Uuid]) {
        self.publisher.publish(events).await;
    }

    /// Writes up to 100 reports as one statement. If the database refuses a value, each report is written on its own,
    /// so that only the refused one fails.
    pub(super) async fn write(
        &self,
        batch: &[ClassifiedReport],
        reopen_within: Duration,
        budget: Option<Duration>,
    ) -> Written {
        let mut written = match self.rows(batch, reopen_within, budget).await {
            Ok(rows) => answered(batch, &rows),
            Err(error) if batch.len() == 1 || error.is_transient() => {
                let error = IntakeError::from(error);
                return Written { answers: vec![Err(error); batch.len()], events: Vec::new() };
            }
            Err(_) => self.write_one_by_one(batch, reopen_within, budget).await,
        };
        written.events.sort_unstable();
        written.events.dedup();
        for receipt in written.answers.iter().flatten() {
            let id = &receipt.incident_id;
            tracing::info!(incident.id = %id, created = receipt.created, "report stored as {id}");
        }
        written
    }

    /// A transient error ends the loop: the remaining reports are not tried one after the other.
    async fn write_one_by_one(
        &self,
        batch: &[ClassifiedReport],
        reopen_within: Duration,
        budget: Option<Duration>,
    ) -> Written {
        let mut all = Written { answers: Vec::with_capacity(batch.len()), events: Vec::new() };
        for alone in batch.chunks(1) {
            match self.rows(alone, reopen_within, budget).await {
                Ok(rows) => {
                    let written = answered(alone, &rows);
                    all.answers.extend(written.answers);
                    all.events.extend(written.events);
                }
                Err(error) if error.is_transient() => {
                    all.answers.resize(batch.len(), Err(error.into()));
                    return all;
                }
                Err(error) => all.answers.push(Err(error.into())),
            }
        }
        all
    }

    /// Completes reports that carry only a project's number: its name, and its environment if they name none.
    pub(super) async fn name_projects(&self, reports: &mut [Report], budget: Duration) -> Result<(), StoreError> {
        let nameless = |report: &Report| report.project.filter(|_| report.application.trim().is_empty());
        let mut numbers: Vec<i64> = reports.iter().filter_map(nameless).collect();
        if numbers.is_empty() {
            return Ok(());
        }
        numbers.sort_unstable();
        numbers.dedup();
        let numbers = numbers.as_slice();
        let found = self
            .store
            .run_within(budget, |client| async move { applications::list_by_numbers(&client, numbers).await });
        let found = found.await?;
        for report in reports {
            let Some(number) = nameless(report) else { continue };
            let application = found.iter().find(|application| application.number == number);
            report.application = application.map_or_else(|| format!("project-{number}"), |it| it.name.clone());
            if report.environment.trim().is_empty() {
                let environment = application.and_then(|it| it.environment.as_deref());
                environment.unwrap_or(DEFAULT_ENVIRONMENT).clone_into(&mut report.environment);
            }
        }
        Ok(())
    }

    /// Records the batch; one row for each delivery. A repeated delivery whose incident was deleted is recorded as a
    /// new one.
    async fn rows(
        &self,
        batch: &[ClassifiedReport],
        reopen_within: Duration,
        budget: Option<Duration>,
    ) -> Result<Vec<Recorded>, StoreError> {
        let budget = budget.unwrap_or(Store::DEADLINE);
        let statements = self.store.statements();
        let record = || {
            self.store.run_within(budget, |client| async move {
                reports::record(&client, batch, reopen_within, statements).await
            })
        };
        let mut rows = record().await?;
        let forgotten: Vec<String> =
            rows.iter().filter(|row| row.receipt.is_none()).map(|row| row.delivery_key.clone()).collect();
        if forgotten.is_empty() {
            return Ok(rows);
        }
        let forgotten = forgotten.as_slice();
        self.store
            .run_within(budget, |client| async move { reports::delete_forgotten(&client, forgotten).await })
            .await?;
        let again = record().await?;
        rows.retain(|row| !forgotten.contains(&row.delivery_key));
        rows.extend(again.into_iter().filter(|row| forgotten.contains(&row.delivery_key)));
        Ok(rows)
    }
}

/// The writer is gone: the caller may retry.
pub(super) fn writer_gone() -> IntakeError {
    StoreError::Unavailable("the writer is gone".into()).into()
}

/// The database returned no row for a delivery.
pub(super) fn unanswered() -> IntakeError {
    StoreError::Internal("the answer has no row for a delivery".into()).into()
}

fn answered(batch: &[ClassifiedReport], rows: &[Recorded]) -> Written {
    let by_key: HashMap<&str, &Recorded> = rows.iter().map(|row| (row.delivery_key.as_str(), row)).collect();
    let answers = batch.iter().map(|classified| {
        let key = &classified.report.delivery_key;
        let row = by_key.get(key.as_str()).ok_or_else(unanswered)?;
        let receipt = row.receipt.clone().ok_or_else(unanswered)?;
        let another = || row.content_hash.as_ref().is_some_and(|hash| *hash != classified.report.content_hash());
        if key.chosen_by_caller() && another() { Err(IntakeError::KeyReused) } else { Ok(receipt) }
    });
    Written { answers: answers.collect(), events: rows.iter().filter_map(|row| row.event).collect() }
}
