//! Why notifications of a problem are suppressed for a while: a silence that matches it, or a service that it needs and that is
//! down. Pure.
//!
//! What began in a mute is notified when the mute ends, if it still fires. What also ended within a silence is part of one
//! summary when the silence ends; what ended under a parent that was down is not notified, since the parent was. What people
//! know of and ended within a silence ends for them with the silence. A parent delays no end. For [`RECOVERY`] after it is up
//! again its children stay muted.

use chrono::{DateTime, Utc};
use shared::model::{Labels, Silence};
use shared::store::notifications::members::Member;
use shared::store::notifications::mutes::{Mute, RECOVERY};
use shared::store::notifications::subjects::Parents;

/// What mutes a problem now; `member.muted_by` is what has muted it so far.
pub(crate) fn mute(
    member: &Member,
    labels: &Labels,
    parents: &Parents,
    silences: &[Silence],
    now: DateTime<Utc>,
) -> Option<Mute> {
    let muted_by = member.muted_by.as_ref();
    let mut matching = silences.iter().filter(|silence| silence.mutes(labels, now));
    // The one that mutes it already stays, so that its end is this silence's.
    let first = matching.clone().next();
    let silence = matching.find(|it| muted_by == Some(&Mute::Silence(it.id))).or(first).map(|it| Mute::Silence(it.id));
    if member.is_active() {
        let recovers = |parent: &str| parents.up.iter().any(|(name, up)| name == parent && *up + RECOVERY > now);
        let recovering = muted_by.filter(|it| matches!(it, Mute::Parent(parent) if recovers(parent)));
        return silence
            .or_else(|| parents.down.first().map(|parent| Mute::Parent(parent.clone())))
            .or_else(|| recovering.cloned());
    }
    match muted_by {
        // It waits for the summary, also for a moment after the silence has ended.
        Some(Mute::Silence(_)) if !member.is_known() => silence.or_else(|| muted_by.cloned()),
        Some(Mute::Silence(_) | Mute::Parent(_)) | None => silence.filter(|_| member.is_known()),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;
    use shared::model::{Category, Matchers, Severity, Subject};
    use uuid::Uuid;

    use super::*;
    use crate::notification::ProblemState;

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

    fn member(state: ProblemState, notified: Option<ProblemState>, muted_by: Option<Mute>) -> Member {
        Member {
            subject: Subject::parse("INC-1").unwrap(),
            state,
            notified,
            muted_by,
            labels: None,
            problem: serde_json::Value::Null,
            fired_at: DateTime::UNIX_EPOCH,
            renewed: false,
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
            state in 0..3_usize, notified in proptest::option::of(0..3_usize), before in proptest::option::of(any::<u128>()),
        ) {
            let before = before.map(|id| Mute::Silence(Uuid::from_u128(id)));
            let member = member(STATES[state], notified.map(|it| STATES[it]), before.clone());
            let now = mute(&member, &labels(), &Parents::default(), &[], DateTime::UNIX_EPOCH);
            let is_known = matches!(notified, Some(0 | 1));
            // Only what waits for a summary goes on waiting.
            prop_assert_eq!(now, if state == 2 && !is_known { before } else { None });
        }

        #[test]
        fn a_silence_mutes_what_it_matches_while_it_lasts(
            hour in 0..10_i64, state in 0..2_usize, notified in proptest::option::of(0..3_usize), parent: bool,
        ) {
            let down = if parent { vec!["database".to_owned()] } else { Vec::new() };
            let silences = [silence(1, 2..4, "other"), silence(2, 3..6, "shop"), silence(3, 5..8, "shop")];
            let member = member(STATES[state], notified.map(|it| STATES[it]), None);
            let wanted = match hour {
                3..6 => Some(Mute::Silence(Uuid::from_u128(2))),
                6..8 => Some(Mute::Silence(Uuid::from_u128(3))),
                _ if parent => Some(Mute::Parent("database".to_owned())),
                _ => None,
            };
            let now = DateTime::UNIX_EPOCH + chrono::TimeDelta::hours(hour);
            let parents = Parents { down, up: Vec::new() };
            prop_assert_eq!(mute(&member, &labels(), &parents, &silences, now), wanted);
        }
    }

    #[test]
    fn an_end_waits_for_the_silence_and_not_for_a_parent() {
        let now = DateTime::UNIX_EPOCH + chrono::TimeDelta::hours(3);
        let parents = Parents { down: vec!["database".to_owned()], up: Vec::new() };
        let (own, parent) = (Mute::Silence(Uuid::from_u128(1)), Mute::Parent("database".to_owned()));
        let of = |notified, muted_by: Option<&Mute>, silences: &[Silence]| {
            let member = member(ProblemState::Resolved, notified, muted_by.cloned());
            mute(&member, &labels(), &parents, silences, now)
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
    fn children_of_a_recovered_parent_stay_muted_for_two_minutes() {
        let parents = Parents { down: Vec::new(), up: vec![("database".to_owned(), DateTime::UNIX_EPOCH)] };
        let (database, cache) = (Mute::Parent("database".to_owned()), Mute::Parent("cache".to_owned()));
        let of = |muted_by: Option<&Mute>, state, seconds| {
            let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
            mute(&member(state, None, muted_by.cloned()), &labels(), &parents, &[], now)
        };
        use ProblemState::{Firing, Resolved};
        assert_eq!(of(Some(&database), Firing, 119), Some(database.clone()));
        assert_eq!(of(Some(&database), Firing, 120), None);
        assert_eq!(of(Some(&database), Resolved, 1), None);
        // What it did not mute is notified at once.
        assert_eq!(of(Some(&cache), Firing, 1), None);
        assert_eq!(of(None, Firing, 1), None);
    }
}
