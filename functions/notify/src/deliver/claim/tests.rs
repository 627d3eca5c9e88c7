//! What goes, what waits, what is left out.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::limits::HOLD;

fn waiting(kind: NotificationKind) -> QueuedNotification {
    QueuedNotification {
        id: Uuid::new_v4(),
        kind: kind.as_str().to_owned(),
        dedup_key: String::new(),
        content: Value::Null,
        attempts: 0,
        created_at: DateTime::UNIX_EPOCH,
        is_replayed: false,
        is_over: false,
        is_taken: false,
        was_told: true,
        was_tried: true,
        earlier: None,
    }
}

fn bucket(channel: Channel, tokens: f64) -> Option<(Bucket, Limit)> {
    limit(channel).map(|limit| (Bucket { tokens, refilled_at: now() }, limit))
}

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(1)
}

#[test]
fn what_is_over_wakes_nobody_and_what_nobody_knows_does_not_end() {
    use NotificationKind::{Acknowledged, Firing, Heal, Resolved};
    for (channel, kind, is_over, was_told, was_tried, is_sent) in [
        (Channel::Sms, Firing, true, false, false, false),
        (Channel::PagerDuty, Firing, true, false, true, false),
        (Channel::Slack, Firing, true, false, false, true),
        (Channel::Sms, Firing, false, false, false, true),
        (Channel::Slack, Resolved, false, false, true, false),
        (Channel::Slack, Resolved, false, true, true, true),
        (Channel::Slack, Acknowledged, false, false, false, false),
        (Channel::PagerDuty, Resolved, false, false, true, true),
        (Channel::PagerDuty, Resolved, false, false, false, false),
        (Channel::Sms, Heal, true, true, true, false),
    ] {
        let message = QueuedNotification { is_over, was_told, was_tried, ..waiting(kind) };
        assert_eq!(pointless(channel, &message).is_none(), is_sent, "{channel} {kind:?}");
        let again = QueuedNotification { is_replayed: true, ..message };
        assert_eq!(pointless(channel, &again), None, "who wants it sent gets it");
    }
}

#[test]
fn what_somebody_is_on_by_now_wakes_nobody() {
    use NotificationKind::{Acknowledged, Escalated, Firing, Heal, Repeat};
    for kind in [Firing, Repeat, Escalated, Heal] {
        for (channel, is_sent) in [(Channel::Sms, false), (Channel::PagerDuty, false), (Channel::Slack, true)] {
            let message = QueuedNotification { is_taken: true, ..waiting(kind) };
            assert_eq!(pointless(channel, &message).is_none(), is_sent, "{channel} {kind:?}");
        }
    }
    // PagerDuty may have an incident of what was tried: there it is taken, too.
    let message = QueuedNotification { was_told: false, ..waiting(Acknowledged) };
    assert_eq!(pointless(Channel::PagerDuty, &message), None);
}

#[test]
fn an_escalation_waits_for_no_token_and_heeds_the_day() {
    let messages = vec![waiting(NotificationKind::Escalated), waiting(NotificationKind::Firing)];
    let found = plan(Channel::Sms, messages.clone(), bucket(Channel::Sms, 0.0), None, 9, now());
    assert_eq!((found.go.len(), found.taken, found.is_held), (1, 1, true));
    let found = plan(Channel::Sms, messages, bucket(Channel::Sms, 5.0), None, 0, now());
    assert_eq!((found.go.len(), found.skip.len()), (0, 2));
    assert!(found.skip.iter().all(|it| it.is_failure), "somebody should have got them");
}

#[test]
fn a_storm_of_escalations_is_some_of_them_and_a_digest_of_the_rest() {
    let messages: Vec<_> = (0..30).map(|_| waiting(NotificationKind::Escalated)).collect();
    // The burst of five, and as many in debt.
    let found = plan(Channel::Sms, messages.clone(), bucket(Channel::Sms, 5.0), None, 99, now());
    assert_eq!((found.go.len(), found.taken, found.is_held, found.makes_digest), (10, 10, true, false));
    let held_since = Some(now() - HOLD);
    let found = plan(Channel::Sms, messages.clone(), bucket(Channel::Sms, -5.0), held_since, 99, now());
    assert_eq!((found.go.len(), found.makes_digest), (0, true));
    let found = plan(Channel::Sms, messages.clone(), bucket(Channel::Sms, -6.5), held_since, 99, now());
    assert_eq!((found.is_held, found.makes_digest), (true, false));
    let found = plan(Channel::PagerDuty, messages, bucket(Channel::PagerDuty, -60.0), held_since, 99, now());
    assert_eq!((found.is_held, found.makes_digest), (true, false));
}

#[test]
fn pages_wait_for_their_token_and_become_no_digest() {
    let messages =
        vec![waiting(NotificationKind::Firing), waiting(NotificationKind::Firing), waiting(NotificationKind::Resolved)];
    let found =
        plan(Channel::PagerDuty, messages, bucket(Channel::PagerDuty, 0.5), Some(now() - HOLD), usize::MAX, now());
    assert!(!found.makes_digest && found.is_held && found.go.is_empty() && found.skip.is_empty());
}

proptest! {
    #[test]
    fn each_message_goes_waits_or_is_left_out(
        kinds in prop::collection::vec(prop::sample::select(NotificationKind::ALL.to_vec()), 0..60), tokens in -1.0..30.0_f64,
        channel in prop::sample::select(Channel::ALL.to_vec()), held in prop::option::of(0..60_i64), left in 0..40_usize,
    ) {
        let messages: Vec<_> = kinds.into_iter().map(waiting).collect();
        let urgent = messages.iter().filter(|it| is_urgent(it)).count();
        let held_since = held.map(|seconds| now() - TimeDelta::seconds(seconds));
        let unlimited = messages.iter().filter(|it| is_unlimited(it)).count();
        let bucket = bucket(channel, tokens);
        let found = plan(channel, messages.clone(), bucket, held_since, left, now());
        let ids: std::collections::BTreeSet<_> =
            found.go.iter().map(|it| it.id).chain(found.skip.iter().map(|it| it.id)).collect();
        prop_assert_eq!(ids.len(), found.go.len() + found.skip.len());
        let fits = bucket.map_or(usize::MAX, |(bucket, limit)| {
            let owed = bucket.fits_urgent(limit).min(urgent);
            bucket.fits().max(owed)
        });
        prop_assert!(found.taken <= fits);
        prop_assert!(found.go.len() <= unlimited + found.taken);
        // Nothing is forgotten: what neither goes nor is left out is held, or a line of the digest.
        let rest = messages.len() - ids.len();
        prop_assert!(rest == 0 || found.is_held || found.makes_digest);
        prop_assert!(!found.makes_digest || held.is_some_and(|seconds| seconds >= HOLD.num_seconds()));
        prop_assert!(found.go.len() <= left.max(urgent + unlimited));
    }
}
