//! Counts aggregated in memory and flushed in batches; a batch's id makes its retry idempotent. Pure: the owner flushes
//! within a caller's request, since Lambda runs nothing between requests.
//!
//! Users: `applications`, `counters`, `security`.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::store::StoreError;

/// After the database was unavailable, no flush is tried for this time, so that not every caller waits for it.
const BACKOFF: TimeDelta = TimeDelta::seconds(2);

/// Counts by key: pending ones, and one batch in flight.
pub(crate) struct Batches<K, V> {
    pending: BTreeMap<K, V>,
    pending_since: Option<DateTime<Utc>>,
    sending: Option<Batch<K, V>>,
    /// Whether the outcome of the batch in flight is unknown.
    is_unconfirmed: bool,
    failed_at: Option<DateTime<Utc>>,
}

/// A batch in flight, sorted by key.
pub(crate) struct Batch<K, V> {
    /// The idempotency key: the same in each attempt.
    pub(crate) id: Uuid,
    /// The counts to add.
    pub(crate) counts: Arc<Vec<(K, V)>>,
}

impl<K, V> Clone for Batch<K, V> {
    fn clone(&self) -> Self {
        Self { id: self.id, counts: Arc::clone(&self.counts) }
    }
}

impl<K, V> Default for Batches<K, V> {
    fn default() -> Self {
        Self { pending: BTreeMap::new(), pending_since: None, sending: None, is_unconfirmed: false, failed_at: None }
    }
}

impl<K: Ord, V: Default> Batches<K, V> {
    /// The pending count of a key, to be added to.
    pub(crate) fn add_to(&mut self, key: K, now: DateTime<Utc>) -> &mut V {
        self.pending_since.get_or_insert(now);
        self.pending.entry(key).or_default()
    }

    /// The pending count of a key, and the one in flight.
    pub(crate) fn get(&self, key: &K) -> [Option<&V>; 2] {
        let sending = self.sending.as_ref().and_then(|batch| {
            let at = batch.counts.binary_search_by(|(each, _)| each.cmp(key)).ok()?;
            Some(&batch.counts[at].1)
        });
        [self.pending.get(key), sending]
    }

    /// The number of pending keys.
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Drops pending counts of all other keys.
    pub(crate) fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        self.pending.retain(|key, _| keep(key));
    }

    /// Whether to flush: a batch is unconfirmed, or a count has been pending for this long, and the database is not in
    /// back-off.
    pub(crate) fn is_due(&self, after: TimeDelta, now: DateTime<Utc>) -> bool {
        let waited = self.pending_since.is_some_and(|since| !is_within(since, now, after));
        (self.is_unconfirmed || waited) && !self.is_unavailable(now)
    }

    /// The batch to send: the unconfirmed one, else all pending counts.
    pub(crate) fn take(&mut self) -> Option<Batch<K, V>> {
        if self.sending.is_none() && !self.pending.is_empty() {
            let counts = std::mem::take(&mut self.pending).into_iter().collect();
            self.pending_since = None;
            self.sending = Some(Batch { id: Uuid::new_v4(), counts: Arc::new(counts) });
        }
        self.sending.clone()
    }

    /// The batch in flight was written, or is given up.
    pub(crate) fn mark_done(&mut self) {
        (self.sending, self.is_unconfirmed) = (None, false);
    }

    /// The outcome of the batch in flight is unknown; it is retried.
    pub(crate) fn mark_unconfirmed(&mut self) {
        self.is_unconfirmed = true;
    }

    /// Records the outcome of the batch in flight. A permanent error would repeat, so that batch is given up.
    pub(crate) fn settle(&mut self, written: Result<(), &StoreError>) {
        match written {
            Ok(()) => {
                self.mark_done();
                self.mark_available();
            }
            Err(error) if error.is_transient() => self.mark_unconfirmed(),
            Err(_) => self.mark_done(),
        }
    }

    /// The database did not answer in time: back off.
    pub(crate) fn mark_unavailable(&mut self, now: DateTime<Utc>) {
        self.failed_at = Some(now);
    }

    /// The database answered: end the back-off.
    pub(crate) fn mark_available(&mut self) {
        self.failed_at = None;
    }

    /// Whether the database is in back-off.
    pub(crate) fn is_unavailable(&self, now: DateTime<Utc>) -> bool {
        self.failed_at.is_some_and(|since| is_within(since, now, BACKOFF))
    }
}

/// Whether two instants are close, in either order: concurrent requests read the clock a moment before they call this.
pub(crate) fn is_within(then: DateTime<Utc>, now: DateTime<Utc>, limit: TimeDelta) -> bool {
    (now - then).abs() < limit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    #[test]
    fn an_unconfirmed_batch_is_retried_with_its_id_before_a_new_one() {
        let mut batches: Batches<&str, i64> = Batches::default();
        assert!(batches.take().is_none());
        *batches.add_to("a", at(0)) += 1;
        let first = batches.take().unwrap();
        *batches.add_to("a", at(1)) += 2;
        batches.mark_unconfirmed();
        let again = batches.take().unwrap();
        assert_eq!((again.id, again.counts.as_slice()), (first.id, [("a", 1)].as_slice()));
        assert_eq!(batches.get(&"a"), [Some(&2), Some(&1)]);
        batches.mark_done();
        let second = batches.take().unwrap();
        assert_eq!(second.counts.as_slice(), [("a", 2)]);
        assert_ne!(second.id, first.id);
    }

    #[test]
    fn a_batch_is_due_after_its_time_unless_in_backoff() {
        let mut batches: Batches<&str, i64> = Batches::default();
        let after = TimeDelta::seconds(5);
        assert!(!batches.is_due(after, at(0)));
        *batches.add_to("a", at(10)) += 1;
        *batches.add_to("b", at(14)) += 1;
        assert!(!batches.is_due(after, at(14)) && batches.is_due(after, at(15)));
        batches.mark_unavailable(at(15));
        assert!(!batches.is_due(after, at(16)) && batches.is_due(after, at(17)));
        batches.mark_available();
        assert!(batches.is_due(after, at(16)));
        batches.take();
        assert!(!batches.is_due(after, at(30)), "it is in flight");
        batches.mark_unconfirmed();
        assert!(batches.is_due(after, at(30)));
    }
}
