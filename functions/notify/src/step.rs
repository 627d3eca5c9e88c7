//! A step of an escalation: its receivers are notified of what is unacknowledged, if that is still so.

use chrono::{DateTime, TimeDelta, Utc};
use shared::events::EscalationStep;
use shared::store::notifications::members::Named;
use shared::store::notifications::{escalation, groups};
use shared::store::{StoreError, Transaction};
use uuid::Uuid;

use crate::App;
use crate::apply::LockedGroup;
use crate::membership::GroupRef;
use crate::notification::NotificationKind;
use crate::plan::{About, Key, Planned};
use crate::refresh::refresh;
use crate::routing::expanded;
use crate::rules::Rules;

/// A step whose problems are all muted is tried again after this time.
const MUTED: TimeDelta = TimeDelta::minutes(1);

/// Notifies the receivers of a step.
///
/// # Errors
/// When the database can't be used: the event has to be received again.
pub(crate) async fn run(
    app: &App,
    rules: &Rules,
    step: &EscalationStep,
    event_id: Uuid,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let group = &GroupRef::Existing(step.group_key.clone());
    app.store
        .transaction(|mut client| async move {
            let transaction = client.transaction().await?;
            if notify(&transaction, rules, (step, group), event_id, now).await? {
                transaction.commit().await?;
            }
            Ok(())
        })
        .await
}

/// Whether there is something to commit.
async fn notify(
    transaction: &Transaction<'_>,
    rules: &Rules,
    (step, group): (&EscalationStep, &GroupRef),
    event_id: Uuid,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let Some(mut locked) = LockedGroup::lock(transaction, group, now).await? else { return Ok(false) };
    let key = locked.key;
    if !escalation::has_reached(transaction, key, step.step).await? {
        tracing::debug!(group = key, "ignored an escalation step: the escalation has ended or restarted");
        return Ok(false);
    }
    refresh(&locked, rules, now).await?;
    if !groups::is_unacknowledged(transaction, key).await? {
        tracing::debug!(group = key, "ignored an escalation step: all is acknowledged or muted");
        escalation::put_back(transaction, key, step.step, now + MUTED).await?;
        return Ok(true);
    }
    let receivers = expanded(&rules.configured, &step.receivers);
    for receiver in &receivers {
        if !locked.progress.receivers.contains(receiver) {
            locked.progress.receivers.push(receiver.clone());
        }
    }
    let planned = Planned {
        kind: NotificationKind::Escalated,
        about: About::Group(Named::Active),
        is_part: false,
        remark: Some(format!("Not acknowledged: step {} of \"{}\".", step.step, step.policy)),
        receivers,
        key: Key::Event,
    };
    locked.insert(planned, event_id, now).await?;
    groups::update(transaction, key, &locked.progress).await?;
    Ok(true)
}
