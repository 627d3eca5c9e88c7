//! Refusals of one process that are not flushed yet. Pure.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use uuid::Uuid;

use super::{SecurityEvent, SecurityKind};
use crate::batches::Batches;
use crate::model::Network;
use crate::model::text::{first_chars, one_line};
use crate::store::security_events::Refusals;

/// Repeats are flushed when the oldest of them is this old.
const WRITE_AFTER: TimeDelta = TimeDelta::seconds(5);
/// The most networks with their own rows in a minute; all others share one row for each kind, without a network.
const NETWORKS: usize = 100;
/// The most pending rows while the database is unavailable; further refusals are not recorded.
const ROWS: usize = 2_000;
/// A description is cut to this many characters.
const CHARS: usize = 200;

/// The key of a row.
type Key = (DateTime<Utc>, SecurityKind, Option<Network>);

/// Refusals that are not flushed yet.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) refusals: Batches<Key, Sum>,
    /// Kinds and networks seen in this minute and the adjacent ones: concurrent requests arrive in any order.
    seen: HashMap<DateTime<Utc>, HashSet<(SecurityKind, Option<Network>)>>,
    /// Whether a first refusal is pending.
    is_urgent: bool,
}

#[derive(Default)]
pub(super) struct Sum {
    description: String,
    count: i64,
    first_at: DateTime<Utc>,
    last_at: DateTime<Utc>,
}

impl Notes {
    /// Records one refusal.
    pub(super) fn note(&mut self, event: SecurityEvent, now: DateTime<Utc>) {
        let minute = now.duration_trunc(TimeDelta::minutes(1)).unwrap_or(now);
        self.seen.retain(|other, _| (*other - minute).abs() <= TimeDelta::minutes(1));
        let seen = self.seen.entry(minute).or_default();
        let mut source = event.source_ip.map(Network::of);
        if !seen.contains(&(event.kind, source)) && seen.len() >= NETWORKS {
            source = None;
        }
        let is_new = seen.insert((event.kind, source));
        let key = (minute, event.kind, source);
        if self.refusals.len() >= ROWS && self.refusals.get(&key)[0].is_none() {
            return;
        }
        if is_new {
            let from = event.source_ip.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
            tracing::warn!(kind = event.kind.as_str(), source.ip = %from, "refused {}", event.kind.as_str());
            self.is_urgent = true;
        }
        let sum = self.refusals.add_to(key, now);
        if sum.count == 0 {
            (sum.description, sum.first_at, sum.last_at) = (one_line(first_chars(&event.description, CHARS)), now, now);
        }
        sum.count += 1;
        (sum.first_at, sum.last_at) = (sum.first_at.min(now), sum.last_at.max(now));
    }

    /// Whether to flush now.
    pub(super) fn are_due(&self, now: DateTime<Utc>) -> bool {
        self.refusals.is_due(WRITE_AFTER, now) || (self.is_urgent && !self.refusals.is_unavailable(now))
    }

    /// The batch to flush, and its id.
    pub(super) fn take(&mut self) -> Option<(Uuid, Vec<Refusals>)> {
        self.is_urgent = false;
        let batch = self.refusals.take()?;
        Some((batch.id, batch.counts.iter().map(|(key, sum)| row(key, sum)).collect()))
    }
}

fn row((minute, kind, source): &Key, sum: &Sum) -> Refusals {
    let from = source.map(|network| network.to_string()).unwrap_or_default();
    let name = format!("watchkeeper-security:{kind}:{from}:{}", minute.timestamp(), kind = kind.as_str());
    Refusals {
        id: Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()),
        event_type: kind.as_str(),
        severity: kind.severity(),
        source_ip: source.map(Network::first),
        description: sum.description.clone(),
        count: sum.count,
        first_at: sum.first_at,
        last_at: sum.last_at,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-11-23T{text}Z").parse().unwrap()
    }

    fn refused(kind: SecurityKind, source: Option<[u8; 4]>) -> SecurityEvent {
        SecurityEvent { kind, source_ip: source.map(IpAddr::from), description: "a\0b\n".repeat(200) }
    }

    #[test]
    fn the_first_of_a_kind_source_and_minute_is_written_at_once_and_repeats_later_in_the_same_row() {
        let mut notes = Notes::default();
        let event = refused(SecurityKind::WrongKey, Some([192, 0, 2, 1]));
        notes.note(event.clone(), at("10:00:00"));
        assert!(notes.are_due(at("10:00:00")));
        let (_, first) = notes.take().unwrap();
        notes.refusals.mark_done();
        notes.note(event.clone(), at("10:00:01"));
        notes.note(event.clone(), at("10:00:03"));
        assert!(!notes.are_due(at("10:00:05")) && notes.are_due(at("10:00:06")));
        let (_, repeats) = notes.take().unwrap();
        notes.refusals.mark_done();
        assert_eq!((first.len(), repeats.len(), first[0].id), (1, 1, repeats[0].id));
        assert_eq!((repeats[0].count, repeats[0].first_at, repeats[0].last_at), (2, at("10:00:01"), at("10:00:03")));
        assert!(first[0].description.chars().count() <= CHARS && !first[0].description.contains(char::is_control));
        for event in [
            refused(SecurityKind::BadSignature, Some([192, 0, 2, 1])),
            refused(SecurityKind::WrongKey, Some([198, 51, 100, 1])),
            refused(SecurityKind::WrongKey, None),
        ] {
            notes.note(event, at("10:00:07"));
            assert!(notes.are_due(at("10:00:07")));
            assert_ne!(notes.take().unwrap().1[0].id, first[0].id);
            notes.refusals.mark_done();
        }
        notes.note(event, at("10:01:00"));
        assert_ne!(notes.take().unwrap().1[0].id, first[0].id, "another minute, another row");
    }

    #[test]
    fn a_mapped_address_is_the_same_source() {
        let mut notes = Notes::default();
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        for source_ip in [Some(IpAddr::from([192, 0, 2, 1])), Some(mapped)] {
            let event = SecurityEvent { source_ip, ..refused(SecurityKind::WrongKey, None) };
            notes.note(event, at("10:00:00"));
        }
        let rows = notes.take().unwrap().1;
        assert_eq!((rows.len(), rows[0].count), (1, 2));
    }

    #[test]
    fn an_attack_from_everywhere_fills_neither_table_nor_memory() {
        let mut notes = Notes::default();
        for number in 0..10_000_u16 {
            let [high, low] = number.to_be_bytes();
            notes.note(refused(SecurityKind::BadSignature, Some([10, high, low, 1])), at("10:00:00"));
        }
        let rows = notes.take().unwrap().1;
        assert_eq!(rows.len(), NETWORKS + 1);
        let rest = rows.iter().find(|row| row.source_ip.is_none()).unwrap();
        assert_eq!(rest.count, 10_000 - i64::try_from(NETWORKS).unwrap());
        for minute in 0..60 {
            for number in 0..300_u16 {
                let [high, low] = number.to_be_bytes();
                notes
                    .note(refused(SecurityKind::WrongKey, Some([10, high, low, 1])), at(&format!("11:{minute:02}:00")));
            }
        }
        assert!(notes.refusals.len() <= ROWS && notes.seen.len() <= 2);
    }
}
