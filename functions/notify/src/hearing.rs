//! An event, acted upon: each kind leads to a look at what it is about.

use chrono::{DateTime, TimeDelta, Utc};
use shared::model::{Channel, IncidentId, Receiver, Subject};
use shared::store::notifications::escalation;
use shared::store::notifications::groups::{self, Named};
use shared::store::notifications::subjects;
use shared::store::{StoreError, chain};
use uuid::Uuid;

use crate::App;
use crate::event::{HealRun, Heard, Step, What};
use crate::ladder;
use crate::looking::{Entry, Look, Why, entries, groups_of, join, within_deadline};
use crate::notification::{Notification, NotificationKind};
use crate::problem::{self, is_known};
use crate::refresh::refresh;
use crate::routing::expanded;
use crate::rules::Rules;
use crate::telling::Held;

/// A step that is muted is looked at again after so long.
const MUTED: TimeDelta = TimeDelta::minutes(1);

/// Acts on an event.
///
/// # Errors
/// When the database can't be used: the event has to come again.
pub(crate) async fn hear(app: &App, rules: &Rules, heard: &Heard, now: DateTime<Utc>) -> Result<(), StoreError> {
    let Heard { id, what } = heard;
    match what {
        What::Nothing => Ok(()),
        What::Incident(incident) => {
            look(app, rules, &Subject::Incident(IncidentId::from_stored(incident.clone())), &Why::Heard, *id, now).await
        }
        What::Worse(incident) => {
            look(app, rules, &Subject::Incident(IncidentId::from_stored(incident.clone())), &Why::Worse, *id, now).await
        }
        What::Alert(alert) => {
            let alert = *alert;
            let subject = app.store.run(|client| async move { subjects::subject_of_alert(&client, alert).await });
            match subject.await? {
                Some(subject) => look(app, rules, &subject, &Why::Heard, *id, now).await,
                None => Ok(()),
            }
        }
        What::Unacknowledged(step) => within_deadline(&app.store, || escalate(app, rules, step, *id, now)).await,
        What::Heal(run) => heal(app, rules, run, *id, now).await,
    }
}

async fn look(
    app: &App,
    rules: &Rules,
    subject: &Subject,
    why: &Why,
    event_id: Uuid,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let (present, entries) = entries(app, rules, subject, why, now).await?;
    // What has become worse asks its routes again each time.
    let is_new = entries.iter().any(|entry| matches!(entry, Entry::RoutedGroup(_)));
    if is_new && entries.len() > 1 && *why != Why::Worse {
        join(app, rules, subject, &entries, now).await?;
    }
    for entry in entries {
        let before = present.as_ref();
        Look { rules, entry: &entry, subject, why, before, event_id: Some(event_id), now }.take(app).await?;
    }
    Ok(())
}

/// A step of a ladder: these are told of what nobody has taken, if that is still so.
async fn escalate(app: &App, rules: &Rules, step: &Step, event_id: Uuid, now: DateTime<Utc>) -> Result<(), StoreError> {
    let mut client = app.store.connection().await?;
    let transaction = client.transaction().await?;
    let Some(group) = groups::lock_known(&transaction, &step.group_key).await? else { return Ok(()) };
    let mut held = Held::new(&transaction, &step.group_key, group)?;
    if !escalation::is_climbed(&transaction, &step.group_key, step.step).await? {
        tracing::debug!(group = step.group_key, "the ladder has ended, or begun anew: the step is not told");
        return Ok(());
    }
    refresh(&held, rules, now).await?;
    if !groups::is_unacknowledged(&transaction, &step.group_key).await? {
        tracing::debug!(group = step.group_key, "somebody has reacted, or it is muted: the step is not told");
        escalation::put_back(&transaction, &step.group_key, step.step, now + MUTED).await?;
        transaction.commit().await?;
        return Ok(());
    }
    let remark = format!("Nobody has reacted: step {} of \"{}\".", step.step, step.policy);
    let notification = held.notification(NotificationKind::Escalated, Named::Active, Some(remark), now).await?;
    let receivers = expanded(&rules.configured, &step.receivers);
    held.send(&notification, &receivers, event_id).await?;
    held.add_told(&receivers);
    groups::update(&transaction, &step.group_key, &held.group).await?;
    transaction.commit().await?;
    Ok(())
}

async fn heal(app: &App, rules: &Rules, run: &HealRun, event_id: Uuid, now: DateTime<Utc>) -> Result<(), StoreError> {
    let HealRun { incident_id, playbook, attempt, message, .. } = run;
    let subject = Subject::Incident(IncidentId::from_stored(incident_id.clone()));
    let remark = format!("{playbook}, attempt {attempt}: {message}");
    match ladder::heard(*attempt, run.outcome) {
        ladder::Heard::Nothing => Ok(()),
        ladder::Heard::Logged => {
            tracing::warn!(incident.id = incident_id, "{playbook} ran a second time for {incident_id}: {message}");
            Ok(())
        }
        ladder::Heard::Escalated => look(app, rules, &subject, &Why::Hopeless { remark }, event_id, now).await,
        ladder::Heard::Told { on_call } => {
            for entry in groups_of(app, rules, &subject, now).await? {
                let told =
                    HealTold { rules, entry: &entry, subject: &subject, on_call, remark: &remark, event_id, now };
                within_deadline(&app.store, || told.write(app)).await?;
            }
            Ok(())
        }
    }
}

/// What a group's people hear of a playbook. It changes nothing of what they know of the problem.
struct HealTold<'a> {
    rules: &'a Rules,
    entry: &'a Entry,
    subject: &'a Subject,
    on_call: bool,
    remark: &'a str,
    event_id: Uuid,
    now: DateTime<Utc>,
}

impl HealTold<'_> {
    async fn write(&self, app: &App) -> Result<(), StoreError> {
        let mut client = app.store.connection().await?;
        let transaction = client.transaction().await?;
        let group_key = self.entry.group_key();
        let Some(group) = self.entry.lock(&transaction, self.now).await? else { return Ok(()) };
        let held = Held::new(&transaction, group_key, group)?;
        let name = self.subject.to_string();
        let (present, known) = tokio::try_join!(
            subjects::find_within(&transaction, self.subject, None),
            groups::find_member(&transaction, group_key, &name)
        )?;
        let Some(present) = present else { return Ok(()) };
        let member = problem::member(self.rules, self.subject, &present, known.as_ref(), self.now)?;
        if let Some(mute) = member.muted_by {
            tracing::debug!(incident = name, mute, "a playbook ran; nobody is told");
            return Ok(());
        }
        let notification = Notification {
            kind: NotificationKind::Heal,
            at: self.now,
            problems: vec![problem::problem(self.subject, &present, self.rules.public_url.as_deref())],
            more: 0,
            group: None,
            is_part: held.has_several().await?,
            remark: Some(self.remark.to_owned()),
        };
        // Who is on it already hears of it in the chat; and a page needs somebody who is told of its end.
        let on_call = self.on_call && member.state != "acknowledged" && is_known(&member);
        held.send(&notification, &audience(&held.settings.receivers, on_call), self.event_id).await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// The chat, and who is on call; where there is neither, everybody.
fn audience(receivers: &[Receiver], on_call: bool) -> Vec<Receiver> {
    let hears = |receiver: &&Receiver| match receiver.channel() {
        Channel::Slack | Channel::Discord | Channel::Webhook => true,
        Channel::Sms | Channel::PagerDuty => on_call,
        Channel::Email => false,
    };
    let some: Vec<_> = receivers.iter().filter(hears).cloned().collect();
    let is_silent = some.is_empty() && on_call;
    if is_silent { receivers.to_vec() } else { some }
}

/// Logs why an event was not acted upon. It has to come again, whatever the reason: a defect of ours may be mended by then,
/// and what never can be told ends among the dead letters, where somebody is told of it.
pub(crate) fn log_failure(event_id: Uuid, error: &StoreError) {
    let error_text = chain(error);
    if error.is_transient() {
        tracing::warn!(event.id = %event_id, error = error_text, "event {event_id} has to come again");
    } else {
        tracing::error!(event.id = %event_id, error = error_text, "event {event_id} can't be told; it has to come again");
    }
}
