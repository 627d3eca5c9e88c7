//! The problems of a group, as they are now: what is told by time must not tell what has changed since something was heard of
//! them. Their events may be on their way still; of a silence that was made, or a parent that went down, there is none.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use shared::model::{Labels, Subject};
use shared::store::StoreError;
use shared::store::notifications::groups::{self, Member, Named};
use shared::store::notifications::standing;
use shared::store::notifications::subjects;

use crate::looking::store;
use crate::muting::Mute;
use crate::notification::Notification;
use crate::problem;
use crate::rules::Rules;
use crate::telling::Held;

/// So often those that a message would name are looked at: some may be muted, and others come in their place.
const ROUNDS: usize = 10;

/// Stores where the problems of this group stand now: all that a silence means, all that a message would name, and those
/// whose incident has changed.
pub(crate) async fn refresh(held: &Held<'_>, rules: &Rules, now: DateTime<Utc>) -> Result<(), StoreError> {
    silence(held, rules, now).await?;
    let mut seen = BTreeSet::new();
    for _ in 0..ROUNDS {
        let mut members = standing::list_stale(held.transaction, held.group_key, Notification::PROBLEMS).await?;
        let named =
            groups::list_members(held.transaction, held.group_key, Named::Active, Notification::PROBLEMS).await?;
        members.extend(named.0);
        members.retain(|member| seen.insert(member.subject.clone()));
        if members.is_empty() {
            break;
        }
        for member in members {
            refresh_one(held, rules, &member, now).await?;
        }
    }
    Ok(())
}

/// However many there are: a silence needs only what is known of them.
async fn silence(held: &Held<'_>, rules: &Rules, now: DateTime<Utc>) -> Result<(), StoreError> {
    if rules.silences.is_empty() {
        return Ok(());
    }
    let mut muted = Vec::new();
    for (subject, labels) in standing::list_heard(held.transaction, held.group_key).await? {
        let Ok(labels) = serde_json::from_value::<Labels>(labels) else { continue };
        if let Some(silence) = rules.silences.iter().find(|silence| silence.mutes(&labels, now)) {
            muted.push((subject, Mute::Silence(silence.id).to_string()));
        }
    }
    standing::mute(held.transaction, held.group_key, &muted).await
}

async fn refresh_one(held: &Held<'_>, rules: &Rules, member: &Member, now: DateTime<Utc>) -> Result<(), StoreError> {
    let Some(subject) = Subject::parse(&member.subject) else { return Ok(()) };
    let Some(present) = subjects::find_within(held.transaction, &subject, None).await? else {
        return groups::delete_member(held.transaction, held.group_key, &member.subject).await;
    };
    let member = problem::member(rules, &subject, &present, Some(member), now)?;
    store(held, &member, now).await
}
