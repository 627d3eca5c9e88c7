//! Tells the bus what has happened: right after the commit that made it true, while the caller still waits (nothing runs
//! after a Lambda's answer); and in sweeps what could not be told then.
//!
//! Invariants: an event is claimed before it is offered, so that two who look at once share the work; it is marked as
//! published only when its own entry was taken; it stays in the outbox until then, however often it was refused.
//!
//! Users: `intake`, `probe`, `dispatch`, and whatever changes an incident.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;
use uuid::Uuid;

use crate::back_off::equal_jitter;
pub use crate::bus::BusConfig;
use crate::bus::{Bus, Entry};
use crate::store::outbox::{self, Attempt, Failure, PendingEvent};
use crate::store::{Store, StoreError, chain};

/// A sweep begins nothing after this time; the next one goes on.
const SWEEP: Duration = Duration::from_secs(25);
/// What the events that are claimed together get of it.
const PIECE: Duration = Duration::from_secs(10);
/// Those of a sweep are nobody else's for this long: offering them and writing down what came of it take less.
const CLAIM: TimeDelta = TimeDelta::seconds(30);

/// Publishes events from the outbox. Cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    store: Store,
    bus: Option<Bus>,
    patience: Duration,
}

/// What a sweep did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Events that the bus took.
    pub taken: usize,
    /// Events that it did not take.
    pub refused: usize,
}

impl Publisher {
    /// A publisher of this store's events.
    #[must_use]
    pub fn new(store: Store, config: BusConfig) -> Self {
        Self { store, patience: config.publish_budget, bus: Bus::new(config) }
    }

    /// A publisher on a bus that is there already; a caller waits for it this long at most.
    #[must_use]
    pub fn over(store: Store, bus: Bus, patience: Duration) -> Self {
        Self { store, bus: Some(bus), patience }
    }

    /// Where it publishes, if anywhere.
    #[must_use]
    pub fn bus(&self) -> Option<&Bus> {
        self.bus.as_ref()
    }

    /// How long a caller waits for the bus.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Publishes those of these events that the outbox holds. Never fails its caller: what was not told is logged,
    /// and stays in the outbox.
    pub async fn publish(&self, ids: &[Uuid]) {
        let Some(bus) = &self.bus else { return };
        if ids.is_empty() {
            return;
        }
        // Boxed: the client's future is large, and would make every caller's as large.
        if let Err(error) = Box::pin(self.publish_to(bus, ids)).await {
            tracing::warn!(error = %chain(&error), "events stay in the outbox");
        }
    }

    async fn publish_to(&self, bus: &Bus, ids: &[Uuid]) -> Result<(), StoreError> {
        let (started, now) = (Instant::now(), Utc::now());
        let until = now + TimeDelta::from_std(4 * self.patience).unwrap_or(CLAIM);
        let claimed =
            self.store.run_within(self.patience, |client| async move { outbox::claim(&client, ids, until, now).await });
        let claimed = claimed.await?;
        // Claiming and offering share the time; that something was taken is written down in any case.
        let attempts = offer(bus, &claimed, self.patience.saturating_sub(started.elapsed()), now).await.attempts;
        let (attempts, now) = (attempts.as_slice(), Utc::now());
        self.store
            .run_within(self.patience, |client| async move { outbox::mark_attempted(&client, attempts, now).await })
            .await
    }

    /// Publishes what waits and is due. Ends early when the bus takes nothing at all: what was not claimed by then waits
    /// as it is.
    ///
    /// # Errors
    /// When the database can't be used; what was claimed is due again soon.
    pub async fn sweep(&self, now: DateTime<Utc>) -> Result<Published, StoreError> {
        let mut published = Published::default();
        let Some(bus) = &self.bus else { return Ok(published) };
        let started = Instant::now();
        while started.elapsed() < SWEEP {
            let now = now + TimeDelta::from_std(started.elapsed()).unwrap_or_default();
            let until = now + CLAIM;
            let claimed = self.store.run(|client| async move { outbox::claim_due(&client, until, now).await }).await?;
            let Offered { attempts, is_away } = &Box::pin(offer(bus, &claimed, PIECE, now)).await;
            if !attempts.is_empty() {
                self.store.run(|client| async move { outbox::mark_attempted(&client, attempts, now).await }).await?;
            }
            let refused = attempts.iter().filter(|attempt| attempt.failure.is_some()).count();
            published.taken += attempts.len() - refused;
            published.refused += refused;
            if claimed.len() < outbox::CLAIM_LIMIT || *is_away {
                break;
            }
        }
        Ok(published)
    }
}

/// What became of events that were offered.
struct Offered {
    attempts: Vec<Attempt>,
    /// Whether the bus took none at all, for a reason of its own.
    is_away: bool,
}

/// Offers these events to the bus, as many at a time as it takes.
async fn offer(bus: &Bus, events: &[PendingEvent], patience: Duration, now: DateTime<Utc>) -> Offered {
    let started = Instant::now();
    let mut attempts = Vec::with_capacity(events.len());
    let (mut answered, mut failed) = (false, false);
    let entries: Vec<Entry> = events.iter().map(entry_of).collect();
    for (from, to) in pieces(&entries) {
        let (events, entries) = (&events[from..to], &entries[from..to]);
        let refusals: Vec<Option<Refusal>> = if entries.iter().any(|entry| entry.bytes() >= Bus::BYTES) {
            entries.iter().map(|entry| Some(Refusal::too_large(entry.bytes()))).collect()
        } else {
            match bus.put(entries, patience.saturating_sub(started.elapsed())).await {
                Ok(taken) => {
                    answered = true;
                    taken.into_iter().map(|taken| taken.err().map(Refusal::of_entry)).collect()
                }
                Err(error) => {
                    failed = true;
                    entries.iter().map(|_| Some(Refusal::of_bus(error.to_string()))).collect()
                }
            }
        };
        attempts.extend(events.iter().zip(refusals).map(|(event, refusal)| attempt(event, refusal, now)));
    }
    Offered { attempts, is_away: failed && !answered }
}

fn entry_of(event: &PendingEvent) -> Entry {
    Entry { detail_type: event.detail_type.clone(), detail: event.detail.to_string() }
}

fn attempt(event: &PendingEvent, refusal: Option<Refusal>, now: DateTime<Utc>) -> Attempt {
    let failure = refusal.map(|refusal| {
        let error = &refusal.error;
        tracing::warn!(event.id = %event.id, error, "event {} was not taken by the bus", event.id);
        let wait = back_off(event, refusal.longest_wait);
        Failure { error: refusal.error, next_attempt_at: now + wait }
    });
    Attempt { id: event.id, failure }
}

/// Where to cut a list of entries, as (from, to): no piece has more than the bus takes at a time. One that is too large by
/// itself is alone.
fn pieces(entries: &[Entry]) -> Vec<(usize, usize)> {
    let (mut pieces, mut from, mut bytes) = (Vec::new(), 0, 0);
    for (at, entry) in entries.iter().enumerate() {
        if at > from && (at - from == Bus::ENTRIES || bytes + entry.bytes() >= Bus::BYTES) {
            pieces.push((from, at));
            (from, bytes) = (at, 0);
        }
        bytes += entry.bytes();
    }
    if from < entries.len() {
        pieces.push((from, entries.len()));
    }
    pieces
}

/// Why an event was not taken, and how long it may wait at most before it is offered again.
struct Refusal {
    error: String,
    longest_wait: TimeDelta,
}

impl Refusal {
    /// The event's own fault, as far as we know.
    fn of_entry(error: String) -> Self {
        Self { error, longest_wait: TimeDelta::minutes(15) }
    }

    /// The bus was away: what waits should be told soon after it is back.
    fn of_bus(error: String) -> Self {
        Self { error, longest_wait: TimeDelta::minutes(1) }
    }

    fn too_large(bytes: usize) -> Self {
        Self::of_entry(format!("the event has {bytes} bytes, and the bus takes less than {}", Bus::BYTES))
    }
}

/// How long an event waits after one more refusal: nothing after the first (the next sweep offers it), then 10 s, doubled
/// each time, between a half and all of it, so that many do not come back at once.
fn back_off(event: &PendingEvent, longest: TimeDelta) -> TimeDelta {
    let Some(doublings) = u32::try_from(event.attempts).ok().and_then(|attempts| attempts.checked_sub(1)) else {
        return TimeDelta::zero();
    };
    // The end of an id is random, and the same event should not wait alike each time.
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
        PendingEvent { id, detail_type: "IncidentOpened".to_owned(), detail: json!({}), attempts }
    }

    fn entry(bytes: usize) -> Entry {
        let frame = Entry { detail_type: "X".to_owned(), detail: String::new() }.bytes();
        Entry { detail_type: "X".to_owned(), detail: "x".repeat(bytes - frame) }
    }

    #[test]
    fn no_piece_has_more_entries_or_bytes_than_the_bus_takes() {
        let small = vec![entry(100); 25];
        assert_eq!(pieces(&small), [(0, 10), (10, 20), (20, 25)]);
        assert_eq!(pieces(&[]), []);
        let limit = Bus::BYTES;
        assert_eq!(pieces(&[entry(limit / 2), entry(limit / 2)]), [(0, 1), (1, 2)], "256 kB is too much");
        assert_eq!(pieces(&[entry(limit / 2), entry(limit / 2 - 1)]), [(0, 2)]);
        assert_eq!(pieces(&[entry(20), entry(limit), entry(20)]), [(0, 1), (1, 2), (2, 3)], "too large: alone");
    }

    #[test]
    fn an_entry_is_measured_as_aws_does_by_source_name_and_detail_in_utf_8() {
        let entry = Entry { detail_type: "AlertRaised".to_owned(), detail: "{\"a\":\"ü\"}".to_owned() };
        assert_eq!(entry.bytes(), "watchkeeper".len() + "AlertRaised".len() + 10);
    }

    #[test]
    fn what_is_refused_waits_longer_each_time_and_never_longer_than_its_limit() {
        let (entry, bus) = (Refusal::of_entry(String::new()), Refusal::of_bus(String::new()));
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
        assert!(spread.len() > 100, "they do not come back at once");
    }
}
