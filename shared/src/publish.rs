//! Publishes the events of the outbox: right after the commit, while the caller still waits (nothing runs after a
//! Lambda's answer); and in sweeps, which retry failed events with back-off.
//!
//! Invariants: an event is claimed before it is sent, so that concurrent publishers share the work; it is marked as
//! published only when the bus has accepted its entry; until then it stays in the outbox, whatever the number of
//! attempts.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;
use uuid::Uuid;

use crate::back_off::equal_jitter;
pub use crate::bus::BusConfig;
use crate::bus::{Bus, Entry};
use crate::events::{IncompleteEvent, PendingEvent, complete};
use crate::store::outbox::{self, Attempt, Failure};
use crate::store::{Store, StoreError, chain};

/// A sweep starts no batch after this time; the next sweep continues.
const SWEEP: Duration = Duration::from_secs(25);
/// The deadline of one batch of a sweep.
const BATCH_BUDGET: Duration = Duration::from_secs(10);
/// How long a sweep's claim lasts: longer than sending a batch and recording its results.
const CLAIM: TimeDelta = TimeDelta::seconds(30);

/// Publishes events from the outbox. Cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    store: Store,
    bus: Option<Bus>,
    budget: Duration,
}

/// The result of a sweep.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Events that the bus accepted.
    pub taken: usize,
    /// Events that failed.
    pub refused: usize,
}

impl Publisher {
    /// A publisher of this store's outbox.
    #[must_use]
    pub fn new(store: Store, config: BusConfig) -> Self {
        Self { store, budget: config.publish_budget, bus: Bus::new(config) }
    }

    /// A publisher on an existing bus; [`Publisher::publish`] takes at most `budget`.
    #[must_use]
    pub fn over(store: Store, bus: Bus, budget: Duration) -> Self {
        Self { store, bus: Some(bus), budget }
    }

    /// The bus, if one is configured.
    #[must_use]
    pub fn bus(&self) -> Option<&Bus> {
        self.bus.as_ref()
    }

    /// How long a caller waits for the bus.
    pub(crate) fn budget(&self) -> Duration {
        self.budget
    }

    /// Publishes these events of the outbox. Never fails its caller: failures are logged, and the events stay in the
    /// outbox.
    pub async fn publish(&self, ids: &[Uuid]) {
        let Some(bus) = &self.bus else { return };
        if ids.is_empty() {
            return;
        }
        // Boxed: the client's future is large, and would enlarge every caller's.
        if let Err(error) = Box::pin(self.publish_to(bus, ids)).await {
            tracing::warn!(error = %chain(&error), "events stay in the outbox");
        }
    }

    async fn publish_to(&self, bus: &Bus, ids: &[Uuid]) -> Result<(), StoreError> {
        let (started, now) = (Instant::now(), Utc::now());
        let until = now + TimeDelta::from_std(4 * self.budget).unwrap_or(CLAIM);
        let claimed =
            self.store.run_within(self.budget, |client| async move { outbox::claim(&client, ids, until, now).await });
        let claimed = claimed.await?;
        // Claiming and sending share the budget; the results are recorded in any case.
        let attempts = send(bus, &claimed, self.budget.saturating_sub(started.elapsed()), now).await.attempts;
        let (attempts, now) = (attempts.as_slice(), Utc::now());
        self.store
            .run_within(self.budget, |client| async move { outbox::mark_attempted(&client, attempts, now).await })
            .await
    }

    /// Publishes the due events in batches. Ends early if the bus is unavailable: further events stay unclaimed.
    ///
    /// # Errors
    /// When the database can't be used; claimed events are due again when their claim expires.
    pub async fn sweep(&self, now: DateTime<Utc>) -> Result<Published, StoreError> {
        let mut published = Published::default();
        let Some(bus) = &self.bus else { return Ok(published) };
        let started = Instant::now();
        while started.elapsed() < SWEEP {
            let now = now + TimeDelta::from_std(started.elapsed()).unwrap_or_default();
            let until = now + CLAIM;
            let claimed = self.store.run(|client| async move { outbox::claim_due(&client, until, now).await }).await?;
            let SendResult { attempts, bus_unavailable } = &Box::pin(send(bus, &claimed, BATCH_BUDGET, now)).await;
            if !attempts.is_empty() {
                self.store.run(|client| async move { outbox::mark_attempted(&client, attempts, now).await }).await?;
            }
            let refused = attempts.iter().filter(|attempt| attempt.failure.is_some()).count();
            published.taken += attempts.len() - refused;
            published.refused += refused;
            if claimed.len() < outbox::CLAIM_LIMIT || *bus_unavailable {
                break;
            }
        }
        Ok(published)
    }
}

/// The result of sending events.
struct SendResult {
    attempts: Vec<Attempt>,
    /// Whether every request to the bus failed.
    bus_unavailable: bool,
}

/// Sends these events to the bus, in batches of its maximum size.
async fn send(bus: &Bus, events: &[PendingEvent], budget: Duration, now: DateTime<Utc>) -> SendResult {
    let started = Instant::now();
    let (mut attempts, ready, entries) = entries_of(events, now);
    let (mut answered, mut failed) = (false, false);
    for (from, to) in batches(&entries) {
        let (events, entries) = (&ready[from..to], &entries[from..to]);
        let failures: Vec<Option<SendFailure>> = if entries.iter().any(|entry| entry.bytes() >= Bus::BYTES) {
            entries.iter().map(|entry| Some(SendFailure::too_large(entry.bytes()))).collect()
        } else {
            match bus.put(entries, budget.saturating_sub(started.elapsed())).await {
                Ok(taken) => {
                    answered = true;
                    taken.into_iter().map(|taken| taken.err().map(SendFailure::of_entry)).collect()
                }
                Err(error) => {
                    failed = true;
                    entries.iter().map(|_| Some(SendFailure::of_bus(error.to_string()))).collect()
                }
            }
        };
        attempts.extend(events.iter().zip(failures).map(|(event, failure)| attempt(event, failure, now)));
    }
    SendResult { attempts, bus_unavailable: failed && !answered }
}

/// The attempts of incomplete events, and the other events with their entries.
fn entries_of(events: &[PendingEvent], now: DateTime<Utc>) -> (Vec<Attempt>, Vec<&PendingEvent>, Vec<Entry>) {
    let (mut attempts, mut ready, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    for event in events {
        match entry_of(event) {
            Ok(entry) => {
                ready.push(event);
                entries.push(entry);
            }
            // There is nothing to publish, and a retry would not change that.
            Err(IncompleteEvent::SubjectDeleted) => {
                tracing::warn!(event.id = %event.id, "event {} is dropped: its subject was deleted", event.id);
                attempts.push(Attempt { id: event.id, failure: None });
            }
            Err(error) => attempts.push(attempt(event, Some(SendFailure::of_entry(chain(&error).to_string())), now)),
        }
    }
    (attempts, ready, entries)
}

fn entry_of(event: &PendingEvent) -> Result<Entry, IncompleteEvent> {
    let detail_type = || event.detail_type.clone();
    let entry = complete(event)?
        .with_id(event.id)
        .map_err(|source| IncompleteEvent::Row { detail_type: detail_type(), source })?;
    Ok(Entry { detail_type: entry.detail_type, detail: entry.detail.to_string() })
}

fn attempt(event: &PendingEvent, failure: Option<SendFailure>, now: DateTime<Utc>) -> Attempt {
    let failure = failure.map(|failure| {
        let error = &failure.error;
        tracing::warn!(event.id = %event.id, error, "event {} was not accepted by the bus", event.id);
        let wait = back_off(event, failure.longest_wait);
        Failure { error: failure.error, next_attempt_at: now + wait }
    });
    Attempt { id: event.id, failure }
}

/// Splits the entries into batches (from, to) of at most the size that the bus accepts. An entry that is too large is a
/// batch of its own.
fn batches(entries: &[Entry]) -> Vec<(usize, usize)> {
    let (mut batches, mut from, mut bytes) = (Vec::new(), 0, 0);
    for (at, entry) in entries.iter().enumerate() {
        if at > from && (at - from == Bus::ENTRIES || bytes + entry.bytes() >= Bus::BYTES) {
            batches.push((from, at));
            (from, bytes) = (at, 0);
        }
        bytes += entry.bytes();
    }
    if from < entries.len() {
        batches.push((from, entries.len()));
    }
    batches
}

/// Why the bus did not accept an event, and the longest back-off before a retry.
struct SendFailure {
    error: String,
    longest_wait: TimeDelta,
}

impl SendFailure {
    /// The bus refused this event.
    fn of_entry(error: String) -> Self {
        Self { error, longest_wait: TimeDelta::minutes(15) }
    }

    /// The bus was unavailable: retry soon after it recovers.
    fn of_bus(error: String) -> Self {
        Self { error, longest_wait: TimeDelta::minutes(1) }
    }

    fn too_large(bytes: usize) -> Self {
        Self::of_entry(format!("the event has {bytes} bytes, and the bus takes less than {}", Bus::BYTES))
    }
}

/// The back-off after a failed attempt: none after the first (the next sweep retries), then 10 s, doubled each time,
/// with a jitter of up to a half, so that events are not retried all together.
fn back_off(event: &PendingEvent, longest: TimeDelta) -> TimeDelta {
    let Some(doublings) = u32::try_from(event.attempts).ok().and_then(|attempts| attempts.checked_sub(1)) else {
        return TimeDelta::zero();
    };
    // The end of an id is random; the jitter of an event varies with each attempt.
    let random = event.id.as_bytes()[15].wrapping_add(event.id.as_bytes()[14].wrapping_mul(doublings as u8));
    let longest = longest.to_std().unwrap_or_default();
    let wait = equal_jitter(Duration::from_secs(10), doublings, longest, f64::from(random) / 255.0);
    TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(attempts: i32, last_byte: u128) -> PendingEvent {
        let id = Uuid::from_u128(last_byte);
        let detail_type = "IncidentOpened".to_owned();
        let at = DateTime::UNIX_EPOCH;
        PendingEvent { id, detail_type, detail: json!({}), at, incident: None, alert: None, attempts }
    }

    fn entry(bytes: usize) -> Entry {
        let frame = Entry { detail_type: "X".to_owned(), detail: String::new() }.bytes();
        Entry { detail_type: "X".to_owned(), detail: "x".repeat(bytes - frame) }
    }

    #[test]
    fn no_batch_has_more_entries_or_bytes_than_the_bus_takes() {
        let small = vec![entry(100); 25];
        assert_eq!(batches(&small), [(0, 10), (10, 20), (20, 25)]);
        assert_eq!(batches(&[]), []);
        let limit = Bus::BYTES;
        assert_eq!(batches(&[entry(limit / 2), entry(limit / 2)]), [(0, 1), (1, 2)], "256 kB is too much");
        assert_eq!(batches(&[entry(limit / 2), entry(limit / 2 - 1)]), [(0, 2)]);
        assert_eq!(batches(&[entry(20), entry(limit), entry(20)]), [(0, 1), (1, 2), (2, 3)], "too large: alone");
    }

    #[test]
    fn the_size_of_an_entry_counts_source_type_and_detail_in_utf_8() {
        let entry = Entry { detail_type: "AlertRaised".to_owned(), detail: "{\"a\":\"ü\"}".to_owned() };
        assert_eq!(entry.bytes(), "watchkeeper".len() + "AlertRaised".len() + 10);
    }

    #[test]
    fn the_back_off_grows_up_to_its_limit() {
        let (entry, bus) = (SendFailure::of_entry(String::new()), SendFailure::of_bus(String::new()));
        assert_eq!(back_off(&event(0, 77), entry.longest_wait), TimeDelta::zero(), "the next sweep");
        for (attempts, seconds) in [(1, 10), (2, 20), (3, 40), (6, 320), (7, 640), (8, 900), (1_000, 900)] {
            for byte in [0, 100, 255] {
                let waited = back_off(&event(attempts, byte), entry.longest_wait);
                let full = TimeDelta::seconds(seconds);
                assert!((full / 2..=full).contains(&waited), "{attempts}: {waited}");
                assert!(back_off(&event(attempts, byte), bus.longest_wait) <= TimeDelta::minutes(1));
            }
        }
        let spread: std::collections::BTreeSet<_> =
            (0..256).map(|byte| back_off(&event(3, byte), entry.longest_wait)).collect();
        assert!(spread.len() > 100, "the retries are spread");
    }
}
