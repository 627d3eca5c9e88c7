//! What is evaluated by time: groups that are due, mutes that have ended, events that were missed.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use shared::model::Subject;
use shared::store::notifications::{groups, mutes, stale};
use shared::store::{StoreError, chain};

use crate::App;
use crate::evaluate::{self, Evaluation};
use crate::membership::GroupRef;
use crate::plan::Trigger;
use crate::rules::Rules;
use crate::summary::summarise;

/// At most as many of each at a time; the sweep goes on while there are more, and it has time.
pub(crate) const LIMIT: usize = 200;
/// The event of a change that is as old was received, unless something went wrong.
const MISSED: TimeDelta = TimeDelta::minutes(2);
/// A group that can't be evaluated is postponed for this time, so that it does not block the others.
const POSTPONED: TimeDelta = TimeDelta::seconds(30);

/// Evaluates the groups that are due.
pub(crate) async fn evaluate_due(
    app: &App,
    rules: &Rules,
    now: DateTime<Utc>,
    until: Instant,
) -> Result<usize, StoreError> {
    let groups = app.store.run(|client| async move { groups::list_due(&client, now, LIMIT).await }).await?;
    for group_key in &groups {
        if Instant::now() >= until {
            break;
        }
        if let Err(error) = evaluate::run_due(app, rules, group_key, now).await {
            skip(group_key, error)?;
            let later = now + POSTPONED;
            app.store.run(|client| async move { groups::postpone(&client, group_key, now, later).await }).await?;
        }
    }
    Ok(groups.len())
}

/// Logs why something can't be evaluated, which must not block the rest; but while the database is unavailable, nothing can be.
fn skip(what: &str, error: StoreError) -> Result<(), StoreError> {
    if matches!(error, StoreError::Unavailable(_)) {
        return Err(error);
    }
    tracing::error!(error = %chain(&error), "{what} can't be evaluated now");
    Ok(())
}

/// Evaluates what has changed without an event: it is a dead letter, or came before the events that it follows.
pub(crate) async fn evaluate_missed(
    app: &App,
    rules: &Rules,
    now: DateTime<Utc>,
    until: Instant,
) -> Result<usize, StoreError> {
    let before = now - MISSED;
    let missed = app.store.run(|client| async move { stale::list_missed(&client, before, LIMIT).await }).await?;
    evaluate_members(app, rules, &missed, now, until).await
}

/// Evaluates these, each in its group; returns how many.
async fn evaluate_members(
    app: &App,
    rules: &Rules,
    members: &[(String, String)],
    now: DateTime<Utc>,
    until: Instant,
) -> Result<usize, StoreError> {
    let mut evaluated = 0;
    for (group_key, subject) in members {
        if Instant::now() >= until {
            break;
        }
        let Some(subject) = Subject::parse(subject) else { continue };
        let (group, trigger) = (&GroupRef::Existing(group_key.clone()), &Trigger::Event);
        let evaluation = Evaluation { rules, group, subject: &subject, trigger, before: None, event_id: None, now };
        match evaluation.run(app).await {
            Ok(()) => evaluated += 1,
            Err(error) => skip(&subject.to_string(), error)?,
        }
    }
    Ok(evaluated)
}

/// Evaluates what was muted until now, and summarises the silences that have ended.
pub(crate) async fn evaluate_unmuted(
    app: &App,
    rules: &Rules,
    now: DateTime<Utc>,
    until: Instant,
) -> Result<usize, StoreError> {
    let ended = app.store.run(|client| async move { mutes::list_ended(&client, now, LIMIT).await }).await?;
    let mut evaluated = evaluate_members(app, rules, &ended, now, until).await?;
    let silences = app.store.run(|client| async move { mutes::list_ended_silences(&client, now).await }).await?;
    for silence in &silences {
        match summarise(app, rules, silence, now).await {
            Ok(()) => evaluated += 1,
            Err(error) => skip(&format!("silence {}", silence.id), error)?,
        }
    }
    Ok(evaluated)
}
