//! The problems of a group as they are now, before it is notified because it is due. Their events may be on their way still; a
//! new silence, and a parent that went down, have none.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use shared::store::StoreError;
use shared::store::notifications::members::{self, Member, Named};
use shared::store::notifications::mutes::{self, Mute};
use shared::store::notifications::stale;
use shared::store::notifications::subjects;

use crate::apply::LockedGroup;
use crate::notification::Notification;
use crate::problem;
use crate::rules::Rules;

/// How often those that a notification would name are read: some may be muted, and others come in their place.
const ROUNDS: usize = 10;

/// Stores the problems of this group as they are now: all that a silence matches, all that a notification would name, and those
/// whose incident has changed.
pub(crate) async fn refresh(locked: &LockedGroup<'_>, rules: &Rules, now: DateTime<Utc>) -> Result<(), StoreError> {
    silence(locked, rules, now).await?;
    let mut seen = BTreeSet::new();
    for _ in 0..ROUNDS {
        let mut members = stale::list_stale(locked.transaction, locked.key, Notification::PROBLEMS).await?;
        let (named, _) = members::list(locked.transaction, locked.key, Named::Active, Notification::PROBLEMS).await?;
        members.extend(named);
        members.retain(|member| seen.insert(member.subject.to_string()));
        if members.is_empty() {
            break;
        }
        for member in members {
            refresh_one(locked, rules, &member, now).await?;
        }
    }
    Ok(())
}

/// However many there are: a silence needs only their labels.
async fn silence(locked: &LockedGroup<'_>, rules: &Rules, now: DateTime<Utc>) -> Result<(), StoreError> {
    if rules.silences.is_empty() {
        return Ok(());
    }
    let mut muted = Vec::new();
    for (subject, labels) in mutes::list_unmuted(locked.transaction, locked.key).await? {
        if let Some(silence) = rules.silences.iter().find(|silence| silence.mutes(&labels, now)) {
            muted.push((subject, Mute::Silence(silence.id)));
        }
    }
    mutes::mute(locked.transaction, locked.key, &muted).await
}

async fn refresh_one(
    locked: &LockedGroup<'_>,
    rules: &Rules,
    member: &Member,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let (transaction, key) = (locked.transaction, locked.key);
    let Some(present) = subjects::find_within(transaction, &member.subject, None).await? else {
        return members::delete(transaction, key, &member.subject).await;
    };
    let member = problem::member(rules, &member.subject, &present, Some(member), now)?;
    if member.is_settled() {
        return members::delete(transaction, key, &member.subject).await;
    }
    members::upsert(transaction, key, &member, now).await
}
