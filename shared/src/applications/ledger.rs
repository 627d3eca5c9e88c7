//! One process's cached applications and its own counts: decides admissions. Pure.
//!
//! Invariant: an application's usage is the sum of the total that was last read or flushed, the batch in flight and the
//! pending counts. An event is in exactly one of the three.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Admission, AdmissionRefusal, Application};
use crate::batches::{Batch, Batches, is_within};
use crate::dsn::KeyVersion;
use crate::model::{Limits, Quota};
use crate::store::applications::{StoredApplication, Usage};
use crate::store::quotas::{Counted, Window};

/// The maximum age of a cached application.
const MAX_AGE: TimeDelta = TimeDelta::seconds(10);
/// A key version newer than the cached one is read again, but no more often than this.
const NEWER_KEY: TimeDelta = TimeDelta::seconds(1);
/// Counts are flushed when the oldest of them is this old …
const WRITE_AFTER: TimeDelta = TimeDelta::seconds(1);
/// … or there are this many events.
const WRITE_EVENTS: i64 = 100;
/// A decompression bomb costs this fraction of the burst quota.
const BOMBS_A_BURST: i64 = 100;
/// Bounds of the memory: unauthenticated clients choose the numbers.
const APPLICATIONS: usize = 10_000;
const WINDOWS: usize = 3_000;

/// Cached applications and own counts of one process.
#[derive(Default)]
pub(super) struct Ledger {
    known: HashMap<i64, Known>,
    /// Counts of this process that are not confirmed yet.
    pub(super) counted: Batches<Window, Counted>,
    /// Events admitted since the last batch was taken.
    new_events: i64,
    /// The burst window in which the counts reached their bound.
    full_in: Option<DateTime<Utc>>,
}

struct Known {
    read_at: DateTime<Utc>,
    /// None = there is no such application.
    found: Option<KnownUsage>,
}

struct KnownUsage {
    stored: StoredApplication,
    /// Events admitted by all processes, in the windows of [`Quota::ALL`].
    accepted: [(DateTime<Utc>, i64); 3],
}

impl Ledger {
    /// Whether the application is cached, however old.
    pub(super) fn knows(&self, project: i64) -> bool {
        self.known.contains_key(&project)
    }

    /// Whether the application should be read.
    pub(super) fn is_read_due(&self, project: i64, version: KeyVersion, now: DateTime<Utc>) -> bool {
        if self.counted.is_unavailable(now) {
            return false;
        }
        self.known.get(&project).is_none_or(|known| {
            let newer = known.found.as_ref().is_some_and(|found| version > found.stored.key_version);
            !is_within(known.read_at, now, if newer { NEWER_KEY } else { MAX_AGE })
        })
    }

    /// Whether counts should be flushed now.
    pub(super) fn is_flush_due(&self, now: DateTime<Utc>) -> bool {
        self.counted.is_due(WRITE_AFTER, now) || (self.new_events >= WRITE_EVENTS && !self.counted.is_unavailable(now))
    }

    /// Caches what was read.
    pub(super) fn read(&mut self, project: i64, usage: Option<Usage>, now: DateTime<Utc>) {
        if self.known.len() >= APPLICATIONS && !self.known.contains_key(&project) {
            self.known.retain(|_, known| known.found.is_some() && is_within(known.read_at, now, MAX_AGE));
            if self.known.len() >= APPLICATIONS {
                self.known.clear();
            }
        }
        let found = usage.map(|usage| {
            let [burst, hour, month] = Quota::ALL.map(|quota| quota.window_start(now));
            let [in_burst, in_hour, in_month] = usage.accepted;
            KnownUsage { stored: usage.stored, accepted: [(burst, in_burst), (hour, in_hour), (month, in_month)] }
        });
        self.known.insert(project, Known { read_at: now, found });
    }

    /// The batch to flush.
    pub(super) fn batch(&mut self) -> Option<Batch<Window, Counted>> {
        self.new_events = 0;
        self.counted.take()
    }

    /// The batch in flight was written; these are the new totals of all processes.
    pub(super) fn confirm(&mut self, totals: &[(Window, i64)]) {
        self.counted.mark_done();
        for (window, total) in totals {
            let Some(found) = self.known.get_mut(&window.application).and_then(|known| known.found.as_mut()) else {
                continue;
            };
            let stored = &mut found.accepted[window.quota as usize];
            if stored.0 <= window.start {
                *stored = (window.start, *total);
            }
        }
    }

    /// The application of a key, if it is cached; or why the key is refused.
    pub(super) fn recognise(
        &self,
        project: i64,
        version: KeyVersion,
        now: DateTime<Utc>,
    ) -> Result<Option<Application>, AdmissionRefusal> {
        match self.known.get(&project) {
            Some(Known { read_at, found: None }) if is_within(*read_at, now, MAX_AGE) => Err(AdmissionRefusal::Unknown),
            // It may exist by now.
            None | Some(Known { found: None, .. }) => Ok(None),
            Some(Known { found: Some(found), .. }) if found.stored.removed || version < found.stored.key_version => {
                Err(AdmissionRefusal::Revoked)
            }
            Some(Known { found: Some(found), .. }) => Ok(Some(found.stored.application.clone())),
        }
    }

    /// Decides whether one event is admitted; if so, counts it.
    pub(super) fn decide(&mut self, project: i64, version: KeyVersion, now: DateTime<Utc>) -> Admission {
        let windows = Quota::ALL.map(|quota| Window { application: project, quota, start: quota.window_start(now) });
        let application = match self.recognise(project, version, now) {
            Ok(application) => application,
            Err(refusal) => return Admission::Refused(refusal),
        };
        let found = self.known.get(&project).and_then(|known| known.found.as_ref());
        let longest = found.and_then(|found| windows.iter().rev().find(|window| self.is_used_up(found, window)));
        let used_up = longest.map(|window| window.quota);
        let counted = match used_up {
            Some(_) => Counted { accepted: 0, refused: 1 },
            None => Counted { accepted: 1, refused: 0 },
        };
        self.count(&windows, counted, now);
        match used_up {
            Some(scope) => Admission::Refused(AdmissionRefusal::OverQuota { scope, retry_after: scope.time_left(now) }),
            None => Admission::Admitted(application),
        }
    }

    fn is_used_up(&self, found: &KnownUsage, window: &Window) -> bool {
        let (start, stored) = found.accepted[window.quota as usize];
        let stored = if start == window.start { stored } else { 0 };
        let counted: i64 = self.counted.get(window).into_iter().flatten().map(|counted| counted.accepted).sum();
        let limit = found.stored.limits.of(window.quota);
        limit.is_some_and(|limit| stored.saturating_add(counted) >= limit)
    }

    /// Counts a decompression bomb: as a hundredth of the burst quota, since a client with a public key must not
    /// exhaust the longer quotas, and as one refused event of those.
    pub(super) fn charge_bomb(&mut self, project: i64, now: DateTime<Utc>) {
        let windows = Quota::ALL.map(|quota| Window { application: project, quota, start: quota.window_start(now) });
        let (burst, longer) = windows.split_at(1);
        let found = self.known.get(&project).and_then(|known| known.found.as_ref());
        let limit = found.and_then(|found| found.stored.limits.of(Quota::Burst)).unwrap_or(Limits::DEFAULT_BURST);
        self.count(burst, Counted { accepted: (limit / BOMBS_A_BURST).max(1), refused: 1 }, now);
        self.count(longer, Counted { accepted: 0, refused: 1 }, now);
    }

    fn count(&mut self, windows: &[Window], counted: Counted, now: DateTime<Utc>) {
        let is_new = self.counted.get(&windows[0])[0].is_none();
        if is_new && self.counted.len() + windows.len() > WINDOWS {
            // The database has been unavailable for long: drop the counts of ended windows.
            if self.full_in.replace(windows[0].start) != Some(windows[0].start) {
                self.counted.retain(|window| window.start == window.quota.window_start(now));
            }
            if self.counted.len() + windows.len() > WINDOWS {
                return;
            }
        }
        for window in windows {
            let sum = self.counted.add_to(*window, now);
            sum.accepted += counted.accepted;
            sum.refused += counted.refused;
        }
        self.new_events += counted.accepted;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::AllowedOrigins;

    const KEY: KeyVersion = KeyVersion(2);

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-11-23T{text}Z").parse().unwrap()
    }

    fn usage(limits: Limits, accepted: [i64; 3]) -> Usage {
        let application = Application {
            number: 1,
            name: "shop".to_owned(),
            environment: None,
            allowed_origins: AllowedOrigins::default(),
        };
        let stored = StoredApplication {
            application,
            key_version: KEY,
            removed: false,
            limits,
            max_severity: None,
            new_incidents_per_hour: 100,
        };
        Usage { stored, accepted, refused_in_month: 0 }
    }

    fn limits(burst: i64, hour: i64, month: i64) -> Limits {
        Limits { burst: Some(burst), hour: Some(hour), month: Some(month) }
    }

    /// A ledger that has read its one application at this time.
    fn ledger(limits: Limits, accepted: [i64; 3], now: &str) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.read(1, Some(usage(limits, accepted)), at(now));
        ledger
    }

    fn refused(scope: Quota, seconds: u64) -> Admission {
        Admission::Refused(AdmissionRefusal::OverQuota { scope, retry_after: Duration::from_secs(seconds) })
    }

    fn is_admitted(admission: &Admission) -> bool {
        matches!(admission, Admission::Admitted(_))
    }

    #[test]
    fn an_exceeded_quota_refuses_until_the_longest_window_ends() {
        for (limits, accepted, expected) in [
            (limits(5, 9, 9), [5, 5, 5], Some(refused(Quota::Burst, 60))),
            (limits(5, 5, 9), [5, 5, 5], Some(refused(Quota::Hour, 3_360))),
            (limits(5, 5, 5), [5, 5, 5], Some(refused(Quota::Month, 7 * 86_400 + 13 * 3_600 + 3_360))),
            (limits(9, 9, 9), [5, 5, 8], None),
            (limits(0, 9, 9), [0, 0, 0], Some(refused(Quota::Burst, 60))),
            (Limits::default(), [4_999, 19_999, i64::MAX], None),
            (Limits::default(), [5_000, 5_000, 5_000], Some(refused(Quota::Burst, 60))),
        ] {
            let admission = ledger(limits, accepted, "10:04:00").decide(1, KEY, at("10:04:00"));
            match expected {
                Some(expected) => assert_eq!(admission, expected, "{limits:?} {accepted:?}"),
                None => assert!(is_admitted(&admission), "{limits:?} {accepted:?}: {admission:?}"),
            }
        }
    }

    #[test]
    fn stored_in_flight_and_pending_counts_add_up_once() {
        let mut ledger = ledger(limits(5, 100, 100), [2, 2, 2], "10:00:00");
        assert!(is_admitted(&ledger.decide(1, KEY, at("10:00:00"))));
        let batch = ledger.batch().unwrap();
        assert_eq!(batch.counts.len(), 3);
        assert!(is_admitted(&ledger.decide(1, KEY, at("10:00:01"))));
        assert!(is_admitted(&ledger.decide(1, KEY, at("10:00:01"))));
        assert_eq!(ledger.decide(1, KEY, at("10:00:02")), refused(Quota::Burst, 298));
        // The unconfirmed batch is retried before a new one.
        ledger.counted.mark_unconfirmed();
        assert_eq!(ledger.batch().unwrap().id, batch.id);
        let totals: Vec<_> = batch.counts.iter().map(|(window, _)| (*window, 3)).collect();
        ledger.confirm(&totals);
        assert_eq!(ledger.decide(1, KEY, at("10:00:02")), refused(Quota::Burst, 298));
        let counts = ledger.batch().unwrap().counts;
        assert!(counts.iter().all(|(_, counted)| *counted == Counted { accepted: 2, refused: 2 }), "{counts:?}");
    }

    #[test]
    fn a_bomb_costs_a_hundredth_of_the_burst_and_nothing_of_the_longer_quotas() {
        let mut ledger = ledger(limits(1_000, 400, 400), [0, 0, 0], "10:00:00");
        (0..99).for_each(|_| ledger.charge_bomb(1, at("10:00:00")));
        assert!(is_admitted(&ledger.decide(1, KEY, at("10:00:00"))));
        ledger.charge_bomb(1, at("10:00:00"));
        assert_eq!(ledger.decide(1, KEY, at("10:00:00")), refused(Quota::Burst, 300));
        assert!(is_admitted(&ledger.decide(1, KEY, at("10:05:00"))));
        let counts = ledger.batch().unwrap().counts;
        let month = counts.iter().find(|(window, _)| window.quota == Quota::Month).unwrap();
        assert_eq!(month.1, Counted { accepted: 2, refused: 101 });
    }

    #[test]
    fn events_of_other_processes_count_after_a_flush() {
        let mut ledger = ledger(limits(100, 1_000, 1_000), [0, 0, 0], "10:00:00");
        assert!(is_admitted(&ledger.decide(1, KEY, at("10:00:00"))));
        let counts = ledger.batch().unwrap().counts;
        ledger.confirm(&counts.iter().map(|(window, _)| (*window, 100)).collect::<Vec<_>>());
        assert_eq!(ledger.decide(1, KEY, at("10:00:01")), refused(Quota::Burst, 299));
    }

    #[test]
    fn a_new_window_starts_at_zero_and_the_longer_ones_continue() {
        let mut ledger = ledger(limits(1, 2, 9), [0, 0, 0], "10:04:59");
        assert!(is_admitted(&ledger.decide(1, KEY, at("10:04:59"))));
        assert_eq!(ledger.decide(1, KEY, at("10:04:59")), refused(Quota::Burst, 1));
        assert!(is_admitted(&ledger.decide(1, KEY, at("10:05:00"))));
        assert_eq!(ledger.decide(1, KEY, at("10:10:00")), refused(Quota::Hour, 3_000));
    }

    #[test]
    fn old_keys_removed_and_unknown_applications_are_refused() {
        let mut ledger = ledger(Limits::default(), [0, 0, 0], "10:00:00");
        let now = at("10:00:00");
        assert_eq!(ledger.decide(1, KeyVersion(1), now), Admission::Refused(AdmissionRefusal::Revoked));
        assert!(is_admitted(&ledger.decide(1, KeyVersion(3), now)), "rotated since it was read");
        let mut removed = usage(Limits::default(), [0, 0, 0]);
        removed.stored.removed = true;
        ledger.read(1, Some(removed), now);
        assert_eq!(ledger.decide(1, KEY, now), Admission::Refused(AdmissionRefusal::Revoked));
        ledger.read(2, None, now);
        assert_eq!(ledger.decide(2, KEY, at("10:00:09")), Admission::Refused(AdmissionRefusal::Unknown));
        // The cached answer is too old.
        assert_eq!(ledger.decide(2, KEY, at("10:00:10")), Admission::Admitted(None));
        assert_eq!(ledger.decide(3, KEY, now), Admission::Admitted(None));
    }

    #[test]
    fn reads_and_flushes_are_due_by_age_and_not_in_backoff() {
        let mut ledger = ledger(Limits::default(), [0, 0, 0], "10:00:00");
        for (version, now, due) in [
            (KEY, "10:00:09", false),
            (KEY, "10:00:10", true),
            (KEY, "09:59:50", true),
            (KeyVersion(3), "10:00:00", false),
            (KeyVersion(3), "10:00:01", true),
        ] {
            assert_eq!(ledger.is_read_due(1, version, at(now)), due, "{version:?} {now}");
        }
        assert!(ledger.is_read_due(2, KEY, at("10:00:00")) && !ledger.is_flush_due(at("10:00:00")));
        ledger.decide(1, KEY, at("10:00:00"));
        assert!(!ledger.is_flush_due(at("10:00:00")) && ledger.is_flush_due(at("10:00:01")));
        for _ in 1..100 {
            ledger.decide(1, KEY, at("10:00:00"));
        }
        assert!(ledger.is_flush_due(at("10:00:00")), "a hundred events");
        ledger.counted.mark_unavailable(at("10:00:10"));
        assert!(!ledger.is_read_due(1, KEY, at("10:00:11")) && !ledger.is_flush_due(at("10:00:11")));
        assert!(ledger.is_read_due(1, KEY, at("10:00:12")) && ledger.is_flush_due(at("10:00:12")));
    }

    #[test]
    fn unknown_numbers_do_not_fill_the_memory() {
        let mut ledger = ledger(limits(1, 9, 9), [1, 1, 1], "10:00:00");
        for number in 2..30_000 {
            ledger.decide(number, KEY, at("10:00:00"));
            ledger.read(number, None, at("10:00:00"));
        }
        assert!(ledger.known.len() <= APPLICATIONS && ledger.counted.len() <= WINDOWS);
        assert_eq!(ledger.decide(1, KEY, at("10:00:00")), refused(Quota::Burst, 300), "it stays cached");
        for number in 2..30_000 {
            ledger.read(number, Some(usage(Limits::default(), [0, 0, 0])), at("10:00:00"));
        }
        assert!(ledger.known.len() <= APPLICATIONS);
    }
}
