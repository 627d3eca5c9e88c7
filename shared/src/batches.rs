//! Counts that wait to be written: added up in memory, taken in batches, each with an id that makes sending it again
//! harmless. Pure: who owns them writes, within a call of somebody's, since on Lambda nothing runs beside that.
//!
//! Users: `applications`, `counters`, `security`.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::store::StoreError;

/// A database that was away is left alone for this time: not everybody has to wait for it.
const AWAY: TimeDelta = TimeDelta::seconds(2);

/// Counts by their keys: new ones, and those on their way.
pub(crate) struct Batches<K, V> {
    pending: BTreeMap<K, V>,
    pending_since: Option<DateTime<Utc>>,
    sending: Option<Batch<K, V>>,
    /// Whether it is not known that what is on its way has arrived.
    is_lost: bool,
    away_since: Option<DateTime<Utc>>,
}

/// Counts on their way, sorted by their keys.
pub(crate) struct Batch<K, V> {
    /// The same each time that it is sent.
    pub(crate) id: Uuid,
    /// What to add.
    pub(crate) counts: Arc<Vec<(K, V)>>,
}

impl<K, V> Clone for Batch<K, V> {
    fn clone(&self) -> Self {
        Self { id: self.id, counts: Arc::clone(&self.counts) }
    }
}

impl<K, V> Default for Batches<K, V> {
    fn default() -> Self {
        Self { pending: BTreeMap::new(), pending_since: None, sending: None, is_lost: false, away_since: None }
    }
}

impl<K: Ord, V: Default> Batches<K, V> {
    /// What waits under a key, to be added to.
    pub(crate) fn add_to(&mut self, key: K, now: DateTime<Utc>) -> &mut V {
        self.pending_since.get_or_insert(now);
        self.pending.entry(key).or_default()
    }

    /// What waits and what is on its way under a key.
    pub(crate) fn get(&self, key: &K) -> [Option<&V>; 2] {
        let sending = self.sending.as_ref().and_then(|batch| {
            let at = batch.counts.binary_search_by(|(each, _)| each.cmp(key)).ok()?;
            Some(&batch.counts[at].1)
        });
        [self.pending.get(key), sending]
    }

    /// How many keys wait.
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Forgets what waits under other keys than these.
    pub(crate) fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        self.pending.retain(|key, _| keep(key));
    }

    /// Whether something did not arrive, or has waited for this long, and the database is thought to be there.
    pub(crate) fn is_due(&self, after: TimeDelta, now: DateTime<Utc>) -> bool {
        let waited = self.pending_since.is_some_and(|since| !is_within(since, now, after));
        (self.is_lost || waited) && !self.is_away(now)
    }

    /// What is to be sent: what did not arrive the last time, else all that waits.
    pub(crate) fn take(&mut self) -> Option<Batch<K, V>> {
        if self.sending.is_none() && !self.pending.is_empty() {
            let counts = std::mem::take(&mut self.pending).into_iter().collect();
            self.pending_since = None;
            self.sending = Some(Batch { id: Uuid::new_v4(), counts: Arc::new(counts) });
        }
        self.sending.clone()
    }

    /// What was sent has arrived, or never will.
    pub(crate) fn mark_done(&mut self) {
        (self.sending, self.is_lost) = (None, false);
    }

    /// Whether what was sent has arrived is not known.
    pub(crate) fn mark_lost(&mut self) {
        self.is_lost = true;
    }

    /// Takes note of what became of what was sent. A defect would be the same each time, so that batch is given up.
    pub(crate) fn settle(&mut self, written: Result<(), &StoreError>) {
        match written {
            Ok(()) => {
                self.mark_done();
                self.mark_back();
            }
            Err(error) if error.is_transient() => self.mark_lost(),
            Err(_) => self.mark_done(),
        }
    }

    /// The database did not answer in time.
    pub(crate) fn mark_away(&mut self, now: DateTime<Utc>) {
        self.away_since = Some(now);
    }

    /// It has answered.
    pub(crate) fn mark_back(&mut self) {
        self.away_since = None;
    }

    /// Whether it was away a moment ago.
    pub(crate) fn is_away(&self, now: DateTime<Utc>) -> bool {
        self.away_since.is_some_and(|since| is_within(since, now, AWAY))
    }
}

/// Whether two instants are close, whichever came first: requests read the clock a moment before they come here.
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
    fn what_was_lost_goes_again_under_its_id_before_anything_new() {
        let mut batches: Batches<&str, i64> = Batches::default();
        assert!(batches.take().is_none());
        *batches.add_to("a", at(0)) += 1;
        let first = batches.take().unwrap();
        *batches.add_to("a", at(1)) += 2;
        batches.mark_lost();
        let again = batches.take().unwrap();
        assert_eq!((again.id, again.counts.as_slice()), (first.id, [("a", 1)].as_slice()));
        assert_eq!(batches.get(&"a"), [Some(&2), Some(&1)]);
        batches.mark_done();
        let second = batches.take().unwrap();
        assert_eq!(second.counts.as_slice(), [("a", 2)]);
        assert_ne!(second.id, first.id);
    }

    #[test]
    fn a_batch_is_due_after_its_time_unless_the_database_is_away() {
        let mut batches: Batches<&str, i64> = Batches::default();
        let after = TimeDelta::seconds(5);
        assert!(!batches.is_due(after, at(0)));
        *batches.add_to("a", at(10)) += 1;
        *batches.add_to("b", at(14)) += 1;
        assert!(!batches.is_due(after, at(14)) && batches.is_due(after, at(15)));
        batches.mark_away(at(15));
        assert!(!batches.is_due(after, at(16)) && batches.is_due(after, at(17)));
        batches.mark_back();
        assert!(batches.is_due(after, at(16)));
        batches.take();
        assert!(!batches.is_due(after, at(30)), "it is on its way");
        batches.mark_lost();
        assert!(batches.is_due(after, at(30)));
    }
}
