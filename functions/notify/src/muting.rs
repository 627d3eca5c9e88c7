//! Why nobody is told of a problem for a while: a silence that means it, or a service that it needs and that is down. Pure.
//!
//! What fired while it was muted is told when the mute ends, if it still fires. What also ended within a silence is told as
//! one summary when the silence ends; under a parent that was down it is told nobody, since the parent was. What people know
//! of and ended within a silence ends for them with the silence. A parent keeps no end back. For two minutes after it is up
//! again its children stay muted: their next check may find that they are, too.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use shared::model::{Labels, Silence};
use uuid::Uuid;

use crate::notification::ProblemState;

/// What a parent has muted is told so long after its outage. `mutes` in the store knows it too.
const RECOVERY: TimeDelta = TimeDelta::minutes(2);

/// Why nobody is told. Its text is what `notification_members.muted_by` holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mute {
    /// This silence means it.
    Silence(Uuid),
    /// This service is down, which it needs.
    Parent(String),
}

impl Mute {
    /// As stored; nothing else is any.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("silence", id) => id.parse().ok().map(Self::Silence),
            ("parent", name) => Some(Self::Parent(name.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for Mute {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence(id) => write!(formatter, "silence:{id}"),
            Self::Parent(name) => write!(formatter, "parent:{name}"),
        }
    }
}

/// What is known of a problem before it is decided whether it is muted.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// Where it stands.
    pub state: ProblemState,
    /// What people know of it.
    pub told: Option<ProblemState>,
    /// What has muted it so far.
    pub muted_by: Option<&'a Mute>,
    /// What silences pick it by.
    pub labels: &'a Labels,
    /// The services that it needs and that are down.
    pub parents_down: &'a [String],
    /// The services that it needs and that are not down, since then.
    pub parents_up: &'a [(String, DateTime<Utc>)],
}

/// What mutes a problem now.
#[must_use]
pub fn mute(standing: Standing<'_>, silences: &[Silence], now: DateTime<Utc>) -> Option<Mute> {
    let Standing { state, told, muted_by, labels, parents_down, parents_up } = standing;
    let is_known = matches!(told, Some(ProblemState::Firing | ProblemState::Acknowledged));
    let mut means_it = silences.iter().filter(|silence| silence.mutes(labels, now));
    // The one that mutes it already goes on, so that its end is this silence's.
    let first = means_it.clone().next();
    let silence = means_it.find(|it| muted_by == Some(&Mute::Silence(it.id))).or(first).map(|it| Mute::Silence(it.id));
    match state {
        ProblemState::Firing | ProblemState::Acknowledged => {
            let recovers = |parent: &str| parents_up.iter().any(|(name, up)| name == parent && *up + RECOVERY > now);
            let recovering = muted_by.filter(|it| matches!(it, Mute::Parent(parent) if recovers(parent)));
            silence
                .or_else(|| parents_down.first().map(|parent| Mute::Parent(parent.clone())))
                .or_else(|| recovering.cloned())
        }
        ProblemState::Resolved if is_known => silence,
        // It waits for the summary, also for a moment after the silence has ended.
        ProblemState::Resolved => match muted_by {
            Some(Mute::Silence(_)) => silence.or_else(|| muted_by.cloned()),
            Some(Mute::Parent(_)) | None => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::model::{Category, Matchers, Severity};

    use super::*;

    fn labels() -> Labels {
        Labels {
            severity: Severity::High,
            category: Category::Backend,
            application: "shop".to_owned(),
            environment: "production".to_owned(),
            service: None,
            tags: Vec::new(),
        }
    }

    fn silence(id: u128, hours: std::ops::Range<i64>, application: &str) -> Silence {
        let at = |hour| DateTime::UNIX_EPOCH + chrono::TimeDelta::hours(hour);
        Silence {
            id: Uuid::from_u128(id),
            matchers: Matchers { application: vec![application.to_owned()], ..Matchers::default() },
            starts_at: at(hours.start),
            ends_at: at(hours.end),
            author: "ana".to_owned(),
            comment: "moving".to_owned(),
            created_at: at(0),
        }
    }

    const STATES: [ProblemState; 3] = [ProblemState::Firing, ProblemState::Acknowledged, ProblemState::Resolved];

    proptest! {
        #[test]
        fn a_mute_is_kept_as_its_text(id: u128, name in "[a-z:]{1,20}") {
            for mute in [Mute::Silence(Uuid::from_u128(id)), Mute::Parent(name)] {
                prop_assert_eq!(Mute::parse(&mute.to_string()), Some(mute));
            }
        }

        #[test]
        fn without_silences_and_parents_nothing_that_fires_is_muted(
            state in 0..3_usize, told in proptest::option::of(0..3_usize), before in proptest::option::of(any::<u128>()),
        ) {
            let before = before.map(|id| Mute::Silence(Uuid::from_u128(id)));
            let standing = Standing {
                state: STATES[state], told: told.map(|it| STATES[it]), muted_by: before.as_ref(), labels: &labels(),
                parents_down: &[], parents_up: &[],
            };
            let now = mute(standing, &[], DateTime::UNIX_EPOCH);
            let is_known = matches!(told, Some(0 | 1));
            // Only what waits for a summary goes on waiting.
            prop_assert_eq!(now, if state == 2 && !is_known { before } else { None });
        }

        #[test]
        fn a_silence_mutes_what_it_means_while_it_lasts(
            hour in 0..10_i64, state in 0..2_usize, told in proptest::option::of(0..3_usize), parent: bool,
        ) {
            let parents = if parent { vec!["database".to_owned()] } else { Vec::new() };
            let silences = [silence(1, 2..4, "other"), silence(2, 3..6, "shop"), silence(3, 5..8, "shop")];
            let standing = Standing {
                state: STATES[state], told: told.map(|it| STATES[it]), muted_by: None, labels: &labels(),
                parents_down: &parents, parents_up: &[],
            };
            let wanted = match hour {
                3..6 => Some(Mute::Silence(Uuid::from_u128(2))),
                6..8 => Some(Mute::Silence(Uuid::from_u128(3))),
                _ if parent => Some(Mute::Parent("database".to_owned())),
                _ => None,
            };
            let now = DateTime::UNIX_EPOCH + chrono::TimeDelta::hours(hour);
            prop_assert_eq!(mute(standing, &silences, now), wanted);
        }
    }

    #[test]
    fn an_end_waits_for_the_silence_and_not_for_a_parent() {
        let now = DateTime::UNIX_EPOCH + chrono::TimeDelta::hours(3);
        let parents = ["database".to_owned()];
        let (own, parent) = (Mute::Silence(Uuid::from_u128(1)), Mute::Parent("database".to_owned()));
        let of = |told, muted_by, silences: &[Silence]| {
            let (state, labels) = (ProblemState::Resolved, labels());
            let standing = Standing { state, told, muted_by, labels: &labels, parents_down: &parents, parents_up: &[] };
            mute(standing, silences, now)
        };
        let silences = [silence(2, 2..4, "shop"), silence(1, 2..4, "shop")];
        assert_eq!(of(Some(ProblemState::Firing), None, &silences), Some(Mute::Silence(Uuid::from_u128(2))));
        assert_eq!(of(Some(ProblemState::Firing), None, &[]), None);
        // Of two the one that mutes it already goes on.
        assert_eq!(of(None, Some(&own), &silences), Some(own.clone()));
        assert_eq!(of(None, Some(&parent), &silences), None);
        assert_eq!(of(None, None, &silences), None);
    }

    #[test]
    fn what_a_parent_has_muted_gets_two_minutes_to_recover() {
        let up = [("database".to_owned(), DateTime::UNIX_EPOCH)];
        let (database, cache) = (Mute::Parent("database".to_owned()), Mute::Parent("cache".to_owned()));
        let of = |muted_by, state, seconds| {
            let labels = labels();
            let standing =
                Standing { state, told: None, muted_by, labels: &labels, parents_down: &[], parents_up: &up };
            mute(standing, &[], DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds))
        };
        use ProblemState::{Firing, Resolved};
        assert_eq!(of(Some(&database), Firing, 119), Some(database.clone()));
        assert_eq!(of(Some(&database), Firing, 120), None);
        assert_eq!(of(Some(&database), Resolved, 1), None);
        // What it did not mute is told at once.
        assert_eq!(of(Some(&cache), Firing, 1), None);
        assert_eq!(of(None, Firing, 1), None);
    }
}
