//! The groups of a subject: those that it is in, or those that its routes lead to; and joining all of them at once.

use chrono::{DateTime, Utc};
use shared::model::{IncidentStatus, Subject};
use shared::store::notifications::groups::{self, Group};
use shared::store::notifications::members;
use shared::store::notifications::subjects::{self, Present};
use shared::store::{StoreError, Transaction};

use crate::App;
use crate::apply::LockedGroup;
use crate::decide::is_due_soon;
use crate::plan::Trigger;
use crate::problem;
use crate::routing::{RoutedGroup, route_to_groups};
use crate::rules::Rules;

/// A group to lock: one that a route leads to, or one that exists.
#[derive(Debug, Clone)]
pub(crate) enum GroupRef {
    Routed(Box<RoutedGroup>),
    Existing(String),
}

impl GroupRef {
    pub(crate) fn key(&self) -> &str {
        match self {
            Self::Routed(group) => &group.group_key,
            Self::Existing(key) => key,
        }
    }

    /// Takes the group's lock; none: it is deleted.
    pub(crate) async fn lock(
        &self,
        transaction: &Transaction<'_>,
        now: DateTime<Utc>,
    ) -> Result<Option<Group>, StoreError> {
        match self {
            Self::Routed(group) => {
                let settings = serde_json::to_value(&group.settings).map_err(StoreError::internal)?;
                groups::lock(transaction, &group.group_key, &group.route, &settings, now).await.map(Some)
            }
            Self::Existing(key) => groups::lock_known(transaction, key).await,
        }
    }
}

/// A subject as it is now, and the keys of the groups that it is in; read without a lock.
async fn find(app: &App, subject: &Subject) -> Result<Option<(Present, Vec<String>)>, StoreError> {
    let found = app.store.run(|client| async move {
        tokio::try_join!(subjects::find(&client, subject), groups::list_of_subject(&client, subject))
    });
    let (present, groups) = found.await?;
    Ok(present.map(|present| (present, groups)))
}

/// The groups to evaluate for a subject. One that was notified stays in its groups, so that a changed route notifies no
/// receiver twice.
pub(crate) async fn groups_to_evaluate(
    app: &App,
    rules: &Rules,
    subject: &Subject,
    trigger: &Trigger,
    now: DateTime<Utc>,
) -> Result<(Option<Present>, Vec<GroupRef>), StoreError> {
    let Some((present, keys)) = find(app, subject).await? else { return Ok((None, Vec::new())) };
    let is_routed_again = *trigger == Trigger::SeverityRaised || keys.is_empty();
    if present.status == IncidentStatus::Resolved || !is_routed_again {
        return Ok((Some(present), keys.into_iter().map(GroupRef::Existing).collect()));
    }
    if !present.is_announced {
        return Ok((None, Vec::new()));
    }
    let routed = routed(rules, subject, &present, now);
    let is_routed = |key: &String| routed.iter().any(|group| group.key() == key);
    // Those that it is in come first: receivers that know of it there are not added by another.
    let mut all: Vec<_> = keys.into_iter().filter(|key| !is_routed(key)).map(GroupRef::Existing).collect();
    all.extend(routed);
    Ok((Some(present), all))
}

/// The groups that a subject is in, or else those that its routes lead to.
pub(crate) async fn groups_of(
    app: &App,
    rules: &Rules,
    subject: &Subject,
    now: DateTime<Utc>,
) -> Result<Vec<GroupRef>, StoreError> {
    let Some((present, keys)) = find(app, subject).await? else { return Ok(Vec::new()) };
    if keys.is_empty() && present.is_announced {
        return Ok(routed(rules, subject, &present, now));
    }
    Ok(keys.into_iter().map(GroupRef::Existing).collect())
}

/// The groups that the routes lead to. A problem without any receiver is worth a warning, once for each event.
fn routed(rules: &Rules, subject: &Subject, present: &Present, now: DateTime<Utc>) -> Vec<GroupRef> {
    let groups = route_to_groups(&rules.routing, &rules.configured, &subject.to_string(), &present.labels, now);
    if groups.is_empty() && rules.configured.all().is_empty() {
        tracing::warn!(%subject, "{subject} is not notified: no channel is configured");
    }
    groups.into_iter().map(|group| GroupRef::Routed(Box::new(group))).collect()
}

/// Puts a subject into all of its groups at once, before any is notified: a failure between two of them then loses none. They
/// are due at once, so that a sweep notifies what the caller does not reach.
pub(crate) async fn join(
    app: &App,
    rules: &Rules,
    subject: &Subject,
    groups: &[GroupRef],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut groups: Vec<&GroupRef> = groups.iter().collect();
    // In one order, so that two that join the same groups wait for each other.
    groups.sort_unstable_by_key(|group| group.key());
    let groups = groups.as_slice();
    app.store
        .transaction(|mut client| async move {
            let transaction = client.transaction().await?;
            for group in groups {
                if !join_one(&transaction, rules, subject, group, now).await? {
                    return Ok(());
                }
            }
            Ok(transaction.commit().await?)
        })
        .await
}

/// Puts a subject into a group; false: it is not to be notified any more.
async fn join_one(
    transaction: &Transaction<'_>,
    rules: &Rules,
    subject: &Subject,
    group: &GroupRef,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let Some(mut locked) = LockedGroup::lock(transaction, group, now).await? else { return Ok(true) };
    let present = subjects::find_within(transaction, subject, None).await?;
    let Some(present) = present.filter(may_join) else { return Ok(false) };
    if members::find(transaction, locked.key, subject).await?.is_some() {
        return Ok(true);
    }
    let member = problem::member(rules, subject, &present, None, now)?;
    members::upsert(transaction, locked.key, &member, now).await?;
    if locked.progress.due_at.is_none() && !locked.count(None).await?.counts.is_known() {
        locked.progress.first_seen_at = now;
    }
    let interval = match group {
        GroupRef::Routed(group) => group.settings.group_interval_seconds,
        GroupRef::Existing(_) => 0,
    };
    if !is_due_soon(&locked.progress, interval, now) {
        locked.progress.due_at = Some(now);
    }
    groups::update(transaction, locked.key, &locked.progress).await?;
    Ok(true)
}

/// Whether people who don't know of it should.
pub(crate) fn may_join(present: &Present) -> bool {
    present.is_announced && present.status != IncidentStatus::Resolved
}
