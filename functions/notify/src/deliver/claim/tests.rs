//! What goes, what waits, what is skipped.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::limits::HOLD;

fn waiting(kind: NotificationKind) -> QueuedNotification {
    QueuedNotification {
        id: Uuid::new_v4(),
        kind,
        dedup_key: String::new(),
        content: Value::Null,
        attempts: 0,
        created_at: DateTime::UNIX_EPOCH,
        is_replayed: false,
        is_over: false,
        is_taken: false,
        was_notified: true,
        was_tried: true,
        earlier: None,
    }
}

fn bucket(channel: Channel, tokens: f64) -> Option<(Bucket, RateLimit)> {
    channel.traits().rate_limit.map(|limit| (Bucket { tokens, refilled_at: now() }, limit))
}

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(1)
}

#[test]
fn no_page_for_what_is_over_and_no_end_of_what_was_not_notified() {
    use NotificationKind::{Acknowledged, Firing, Heal, Resolved};
    for (channel, kind, is_over, was_notified, was_tried, is_sent) in [
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
        let message = QueuedNotification { is_over, was_notified, was_tried, ..waiting(kind) };
        assert_eq!(pointless(channel, &message).is_none(), is_sent, "{channel} {kind:?}");
        let again = QueuedNotification { is_replayed: true, ..message };
        assert_eq!(pointless(channel, &again), None, "a replay is sent");
    }
}

#[test]
fn no_page_for_what_is_acknowledged_by_now() {
    use NotificationKind::{Acknowledged, Escalated, Firing, Heal, Repeat};
    for kind in [Firing, Repeat, Escalated, Heal] {
        for (channel, is_sent) in [(Channel::Sms, false), (Channel::PagerDuty, false), (Channel::Slack, true)] {
            let message = QueuedNotification { is_taken: true, ..waiting(kind) };
            assert_eq!(pointless(channel, &message).is_none(), is_sent, "{channel} {kind:?}");
        }
    }
    // PagerDuty may have an incident of what was tried: there it is acknowledged, too.
    let message = QueuedNotification { was_notified: false, ..waiting(Acknowledged) };
    assert_eq!(pointless(Channel::PagerDuty, &message), None);
}

#[test]
fn an_escalation_waits_for_no_token_and_heeds_the_day() {
    let messages = vec![waiting(NotificationKind::Escalated), waiting(NotificationKind::Firing)];
    let found = select(Channel::Sms, messages.clone(), bucket(Channel::Sms, 0.0), None, 9, now());
    assert_eq!((found.go.len(), found.taken, found.is_throttled), (1, 1, true));
    let found = select(Channel::Sms, messages, bucket(Channel::Sms, 5.0), None, 0, now());
    assert_eq!((found.go.len(), found.skip.len()), (0, 2));
    assert!(found.skip.iter().all(|it| it.is_failure), "they should have been sent");
}

#[test]
fn a_storm_of_escalations_is_some_of_them_and_a_digest_of_the_rest() {
    let messages: Vec<_> = (0..30).map(|_| waiting(NotificationKind::Escalated)).collect();
    // The burst of five, and as many in debt.
    let found = select(Channel::Sms, messages.clone(), bucket(Channel::Sms, 5.0), None, 99, now());
    assert_eq!((found.go.len(), found.taken, found.is_throttled, found.makes_digest), (10, 10, true, false));
    let throttled_since = Some(now() - HOLD);
    let found = select(Channel::Sms, messages.clone(), bucket(Channel::Sms, -5.0), throttled_since, 99, now());
    assert_eq!((found.go.len(), found.makes_digest), (0, true));
    let found = select(Channel::Sms, messages.clone(), bucket(Channel::Sms, -6.5), throttled_since, 99, now());
    assert_eq!((found.is_throttled, found.makes_digest), (true, false));
    let found = select(Channel::PagerDuty, messages, bucket(Channel::PagerDuty, -60.0), throttled_since, 99, now());
    assert_eq!((found.is_throttled, found.makes_digest), (true, false));
}

#[test]
fn pages_wait_for_their_token_and_become_no_digest() {
    let messages =
        vec![waiting(NotificationKind::Firing), waiting(NotificationKind::Firing), waiting(NotificationKind::Resolved)];
    let found =
        select(Channel::PagerDuty, messages, bucket(Channel::PagerDuty, 0.5), Some(now() - HOLD), usize::MAX, now());
    assert!(!found.makes_digest && found.is_throttled && found.go.is_empty() && found.skip.is_empty());
}

proptest! {
    #[test]
    fn each_notification_goes_waits_or_is_skipped(
        kinds in prop::collection::vec(prop::sample::select(NotificationKind::ALL.to_vec()), 0..60), tokens in -1.0..30.0_f64,
        channel in prop::sample::select(Channel::ALL.to_vec()), throttled in prop::option::of(0..60_i64), left in 0..40_usize,
    ) {
        let messages: Vec<_> = kinds.into_iter().map(waiting).collect();
        let urgent = messages.iter().filter(|it| is_urgent(it)).count();
        let throttled_since = throttled.map(|seconds| now() - TimeDelta::seconds(seconds));
        let unlimited = messages.iter().filter(|it| is_unlimited(it)).count();
        let bucket = bucket(channel, tokens);
        let found = select(channel, messages.clone(), bucket, throttled_since, left, now());
        let ids: std::collections::BTreeSet<_> =
            found.go.iter().map(|it| it.id).chain(found.skip.iter().map(|it| it.id)).collect();
        prop_assert_eq!(ids.len(), found.go.len() + found.skip.len());
        let fits = bucket.map_or(usize::MAX, |(bucket, limit)| {
            let owed = bucket.fits_urgent(limit).min(urgent);
            bucket.fits().max(owed)
        });
        prop_assert!(found.taken <= fits);
        prop_assert!(found.go.len() <= unlimited + found.taken);
        // None is lost: what neither goes nor is skipped is throttled, or a line of the digest.
        let rest = messages.len() - ids.len();
        prop_assert!(rest == 0 || found.is_throttled || found.makes_digest);
        prop_assert!(!found.makes_digest || throttled.is_some_and(|seconds| seconds >= HOLD.num_seconds()));
        prop_assert!(found.go.len() <= left.max(urgent + unlimited));
    }
}
