//! Hourly counters of received items, by source and kind. Counts are flushed in batches within a caller's request,
//! since Lambda runs nothing between requests.
//!
//! Users: `sentry-envelope`, `sentry-webhook`, the local stack.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::batches::Batches;
use crate::model::text::{first_chars, storable};
use crate::store::counters::{Counted, add, hour_of};
use crate::store::{Store, StoreError, chain};

/// The key of a count: hour, source, kind.
type Key = (DateTime<Utc>, String, String);

/// Counts received items. Cheap to clone; clones share their counts.
#[derive(Clone)]
pub struct Counters {
    store: Store,
    state: Arc<Mutex<State>>,
    /// One flush at a time.
    flush_lock: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    counted: Batches<Key, i64>,
    /// The words counted in the current hour.
    words: HashSet<(String, String)>,
    hour: DateTime<Utc>,
}

impl Counters {
    /// Counts are flushed when the oldest of them is this old.
    const WRITE_AFTER: TimeDelta = TimeDelta::seconds(10);
    /// The longest that a caller waits for a flush.
    const TIMEOUT: Duration = Duration::from_millis(100);
    /// The longest that the last flush of a process may take.
    const LAST_TIMEOUT: Duration = Duration::from_millis(500);
    /// External clients may choose the kinds: beyond this many in an hour they count as [`Self::OTHER`].
    const WORDS: usize = 200;
    const OTHER: &str = "other";
    /// The most pending rows while the database is unavailable; further items are not counted.
    const ROWS: usize = 5_000;
    /// A word is cut to this many characters.
    const CHARS: usize = 64;

    /// Counters in this store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, state: Arc::default(), flush_lock: Arc::default() }
    }

    /// Counts one. Never fails its caller.
    pub async fn count(&self, source: &str, kind: &str, now: DateTime<Utc>) {
        let is_due = {
            let mut state = self.state();
            state.count(source, kind, now);
            state.counted.is_due(Self::WRITE_AFTER, now)
        };
        if !is_due {
            return;
        }
        let this = self.clone();
        let task = tokio::spawn(async move {
            let _lock = this.flush_lock.lock().await;
            // Another task may have flushed in the meantime.
            let is_due = this.state().counted.is_due(Self::WRITE_AFTER, now);
            if is_due && this.write().await.is_err() {
                this.state().counted.mark_unavailable(now);
            }
        });
        if tokio::time::timeout(Self::TIMEOUT, task).await.is_err() {
            self.state().counted.mark_unavailable(now);
        }
    }

    /// Flushes all counts: the process is about to end.
    pub async fn flush(&self) {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let _lock = this.flush_lock.lock().await;
            while matches!(this.write().await, Ok(true)) {}
        });
        if tokio::time::timeout(Self::LAST_TIMEOUT, task).await.is_err() {
            tracing::warn!("the last counters were not flushed in time");
        }
    }

    /// Writes one batch, if there is any.
    async fn write(&self) -> Result<bool, StoreError> {
        let Some(batch) = ({ self.state().counted.take() }) else { return Ok(false) };
        let written = self.write_by_hours(batch.id, &batch.counts).await;
        if let Err(error) = &written {
            tracing::warn!(error = %chain(error), "counters could not be flushed; will retry");
        }
        self.state().counted.settle(written.as_ref().copied());
        written.map(|()| true)
    }

    async fn write_by_hours(&self, id: uuid::Uuid, counts: &[(Key, i64)]) -> Result<(), StoreError> {
        for counts in counts.chunk_by(|(one, _), (next, _)| one.0 == next.0) {
            let Some(((hour, ..), _)) = counts.first() else { continue };
            let counted: Vec<Counted<'_>> =
                counts.iter().map(|((_, source, kind), count)| Counted { source, kind, count: *count }).collect();
            let counted = counted.as_slice();
            self.store.run(|client| async move { add(&client, id, counted, *hour).await }).await?;
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count(&mut self, source: &str, kind: &str, now: DateTime<Utc>) {
        let hour = hour_of(now);
        if hour > self.hour {
            self.hour = hour;
            self.words.clear();
        }
        let word = |text: &str| first_chars(&storable(text), Counters::CHARS).to_owned();
        let mut words = (word(source), word(kind));
        if !self.words.contains(&words) {
            if self.words.len() >= Counters::WORDS {
                Counters::OTHER.clone_into(&mut words.1);
            } else {
                self.words.insert(words.clone());
            }
        }
        let key = (hour, words.0, words.1);
        if self.counted.len() < Counters::ROWS || self.counted.get(&key)[0].is_some() {
            *self.counted.add_to(key, now) += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-11-23T{text}Z").parse().unwrap()
    }

    #[test]
    fn kinds_that_clients_choose_are_bounded() {
        let mut state = State::default();
        for number in 0..1_000 {
            state.count("sdk", &format!("kind{number}\0{}", "ü".repeat(100)), at("10:00:00"));
        }
        state.count("sdk", "kind0", at("11:00:00"));
        let counts = state.counted.take().unwrap().counts;
        assert_eq!(counts.len(), Counters::WORDS + 2);
        assert_eq!(counts.iter().map(|(_, count)| count).sum::<i64>(), 1_001);
        assert!(counts.iter().all(|((_, _, kind), _)| kind.chars().count() <= 64 && !kind.contains('\0')));
        let other = (at("10:00:00"), "sdk".to_owned(), "other".to_owned());
        assert!(counts.contains(&(other, 800)));
    }
}
