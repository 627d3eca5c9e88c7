//! A look at a subject: under the lock of each of its groups, where it stands now is stored and what that means is decided.
//!
//! The event that it was heard of by only says what to look at; what is told is what is true now. So an event that comes
//! twice, late or out of order tells nothing twice and nothing wrong.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use shared::model::{IncidentStatus, Receiver, Subject};
use shared::store::notifications::groups::{self, Group, Member};
use shared::store::notifications::informed::{self, Informed};
use shared::store::notifications::subjects::{self, Present};
use shared::store::{Store, StoreError, Transaction};
use uuid::Uuid;

use crate::App;
use crate::notification::{Notification, NotificationKind};
use crate::problem::{self, Details, is_known};
use crate::routing::{RoutedGroup, route_to_groups};
use crate::rules::Rules;
use crate::telling::{Held, awake, counts, timed_event};

/// How often a transaction that met another, or a dead connection, is tried.
const ATTEMPTS: u32 = 4;

/// Why a subject is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// Something was heard of it.
    Heard,
    /// It has become worse: the routes are asked again, and who did not know is told.
    Worse,
    /// Nothing helped against it: all of its ladder are told, whether they know or not; without a ladder all of the group.
    Hopeless {
        /// What was tried.
        remark: String,
    },
}

/// A group to look at: one that a route leads to, or one that is there.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    RoutedGroup(Box<RoutedGroup>),
    Known(String),
}

impl Entry {
    pub(crate) fn group_key(&self) -> &str {
        match self {
            Self::RoutedGroup(way) => &way.group_key,
            Self::Known(group_key) => group_key,
        }
    }

    /// Takes the group's lock; none: there is no such group any more.
    pub(crate) async fn lock(
        &self,
        transaction: &Transaction<'_>,
        now: DateTime<Utc>,
    ) -> Result<Option<Group>, StoreError> {
        match self {
            Self::RoutedGroup(way) => {
                let settings = json(&way.settings)?;
                groups::lock(transaction, &way.group_key, &way.route, &settings, now).await.map(Some)
            }
            Self::Known(group_key) => groups::lock_known(transaction, group_key).await,
        }
    }
}

pub(crate) fn json(value: &impl serde::Serialize) -> Result<Value, StoreError> {
    serde_json::to_value(value).map_err(StoreError::internal)
}

/// Runs a transaction within the store's deadline, and again where it met another one or a dead connection. One that was cut
/// off may have left its connection busy: none that is in the pool then is for the next caller.
pub(crate) async fn within_deadline<T, F>(store: &Store, attempt: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut attempts = 1;
    loop {
        let answer = tokio::time::timeout(Store::DEADLINE, attempt()).await;
        let answer = answer.unwrap_or_else(|_| {
            store.hang_up();
            Err(StoreError::Timeout(Store::DEADLINE))
        });
        match answer {
            Err(StoreError::Conflict(_) | StoreError::Unavailable(_)) if attempts < ATTEMPTS => {
                attempts += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            answer => return answer,
        }
    }
}

/// What is known of a subject without any lock: enough to find its groups.
struct Found {
    present: Present,
    groups: Vec<String>,
}

async fn find(app: &App, subject: &Subject) -> Result<Option<Found>, StoreError> {
    let found = app.store.run(|client| async move {
        let name = subject.to_string();
        tokio::try_join!(subjects::find(&client, subject), groups::list_of_subject(&client, &name))
    });
    let (present, groups) = found.await?;
    Ok(present.map(|present| Found { present, groups }))
}

/// The groups to look at. What people are told of already stays in its groups, so that a changed route tells nobody twice.
pub(crate) async fn entries(
    app: &App,
    rules: &Rules,
    subject: &Subject,
    why: &Why,
    now: DateTime<Utc>,
) -> Result<(Option<Present>, Vec<Entry>), StoreError> {
    let Some(Found { present, groups }) = find(app, subject).await? else { return Ok((None, Vec::new())) };
    let known = || groups.iter().map(|group_key| Entry::Known(group_key.clone()));
    if present.status == IncidentStatus::Resolved || (*why != Why::Worse && !groups.is_empty()) {
        let known = known().collect();
        return Ok((Some(present), known));
    }
    if !present.is_announced {
        return Ok((None, Vec::new()));
    }
    let ways = routed(rules, subject, &present, now);
    let new: Vec<Entry> = ways.into_iter().map(|way| Entry::RoutedGroup(Box::new(way))).collect();
    let is_new = |entry: &Entry| new.iter().any(|it| it.group_key() == entry.group_key());
    let old: Vec<Entry> = known().filter(|entry| !is_new(entry)).collect();
    // Those that it is in already come first: who was told there is not told again.
    Ok((Some(present), old.into_iter().chain(new).collect()))
}

/// Where the routes lead. That nobody is named for a problem is worth a warning, once for each time it is heard of.
fn routed(rules: &Rules, subject: &Subject, present: &Present, now: DateTime<Utc>) -> Vec<RoutedGroup> {
    let ways = route_to_groups(&rules.routing, &rules.configured, &subject.to_string(), &problem::labels(present), now);
    if ways.is_empty() && rules.configured.all().is_empty() {
        tracing::warn!(%subject, "nobody is told of {subject}: no way to people is configured");
    }
    ways
}

/// The groups of an incident, or those that it would be in.
pub(crate) async fn groups_of(
    app: &App,
    rules: &Rules,
    subject: &Subject,
    now: DateTime<Utc>,
) -> Result<Vec<Entry>, StoreError> {
    let Some(Found { present, groups }) = find(app, subject).await? else { return Ok(Vec::new()) };
    if !groups.is_empty() {
        return Ok(groups.into_iter().map(Entry::Known).collect());
    }
    let ways = if present.is_announced { routed(rules, subject, &present, now) } else { Vec::new() };
    Ok(ways.into_iter().map(|way| Entry::RoutedGroup(Box::new(way))).collect())
}

/// Puts a subject into all of its groups at once, before anybody is told: what goes wrong between two of them then loses
/// none. They are due at once, so that a sweep tells what the caller does not come to.
pub(crate) async fn join(
    app: &App,
    rules: &Rules,
    subject: &Subject,
    entries: &[Entry],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut entries: Vec<&Entry> = entries.iter().collect();
    // In one order, so that two who join the same groups wait for each other.
    entries.sort_unstable_by_key(|entry| entry.group_key());
    within_deadline(&app.store, || join_once(app, rules, subject, &entries, now)).await
}

async fn join_once(
    app: &App,
    rules: &Rules,
    subject: &Subject,
    entries: &[&Entry],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut client = app.store.connection().await?;
    let transaction = client.transaction().await?;
    let name = subject.to_string();
    for entry in entries {
        let group_key = entry.group_key();
        let Some(mut group) = entry.lock(&transaction, now).await? else { continue };
        let present = subjects::find_within(&transaction, subject, None).await?;
        let Some(present) = present.filter(is_to_be_told) else { return Ok(()) };
        if groups::find_member(&transaction, group_key, &name).await?.is_some() {
            continue;
        }
        let member = problem::member(rules, subject, &present, None, now)?;
        groups::upsert_member(&transaction, group_key, &member, now).await?;
        if group.due_at.is_none() && !counts(groups::count_members(&transaction, group_key).await?).is_known() {
            group.first_seen_at = now;
        }
        let interval = match entry {
            Entry::RoutedGroup(way) => way.settings.group_interval_seconds,
            Entry::Known(_) => 0,
        };
        if !is_due_soon(&group, interval, now) {
            group.due_at = Some(now);
        }
        groups::update(&transaction, group_key, &group).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Whether people who do not know of it should.
fn is_to_be_told(present: &Present) -> bool {
    present.is_announced && present.status != IncidentStatus::Resolved
}

/// One look: a subject in one of its groups, and why.
pub(crate) struct Look<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) entry: &'a Entry,
    pub(crate) subject: &'a Subject,
    pub(crate) why: &'a Why,
    /// Where it stood a moment ago, where that is known.
    pub(crate) before: Option<&'a Present>,
    /// What happened; none = its time has come.
    pub(crate) event_id: Option<Uuid>,
    pub(crate) now: DateTime<Utc>,
}

impl Look<'_> {
    /// Looks, decides, and stores what is told.
    pub(crate) async fn take(&self, app: &App) -> Result<(), StoreError> {
        within_deadline(&app.store, || self.take_once(app)).await
    }

    async fn take_once(&self, app: &App) -> Result<(), StoreError> {
        let mut client = app.store.connection().await?;
        let transaction = client.transaction().await?;
        let group_key = self.entry.group_key();
        let Some(group) = self.entry.lock(&transaction, self.now).await? else { return Ok(()) };
        let mut held = Held::new(&transaction, group_key, group)?;
        let name = self.subject.to_string();
        let (present, known) = tokio::try_join!(
            subjects::find_within(&transaction, self.subject, self.before),
            groups::find_member(&transaction, group_key, &name)
        )?;
        let Some(present) = present else {
            // What is deleted neither goes on nor ends.
            groups::delete_member(&transaction, group_key, &name).await?;
            held.end_forgotten(self.now).await?;
            return Ok(transaction.commit().await?);
        };
        if known.is_none() && !is_to_be_told(&present) {
            return Ok(());
        }
        let mut member = problem::member(self.rules, self.subject, &present, known.as_ref(), self.now)?;
        let event_id = self.event_id.unwrap_or_else(|| timed_event(self.now));
        // What became worse while it was muted, or ended and came back, has people who do not know.
        let was_muted = known.as_ref().is_some_and(|known| known.muted_by.is_some());
        let why = if *self.why == Why::Heard && was_muted { &Why::Worse } else { self.why };
        if *why != Why::Heard && present.status != IncidentStatus::Resolved && member.muted_by.is_none() {
            let informed = informed::list_of_subject(&transaction, &name, self.now).await?;
            let told = self.tell_more(why, &mut held, &mut member, &informed, event_id).await?;
            if !told && known.is_none() && !informed.is_empty() {
                // A route that leads only to people who know.
                return Ok(());
            }
        }
        store(&held, &member, self.now).await?;
        if is_looked_at_soon(&held, &member, self.now) {
            groups::update(&transaction, group_key, &held.group).await?;
        } else {
            held.decide(event_id, self.now).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// More people are told of something, now and not in its group's time; whether anybody is.
    async fn tell_more(
        &self,
        why: &Why,
        held: &mut Held<'_>,
        member: &mut Member,
        informed: &[Informed],
        event_id: Uuid,
    ) -> Result<bool, StoreError> {
        let (receivers, remark): (Vec<Receiver>, _) = match why {
            Why::Heard => return Ok(false),
            Why::Worse => {
                let knows = |it: &Receiver| informed.iter().any(|informed| informed.receiver == it.to_string());
                let named = held.settings.receivers.iter().filter(|it| !knows(it));
                let remark = if self.why == why { "It has become worse." } else { "It changed while it was muted." };
                (named.cloned().collect(), remark.to_owned())
            }
            Why::Hopeless { remark } => {
                let steps = held.settings.escalation.iter().flat_map(|policy| &policy.steps);
                let mut whom: Vec<_> = steps.flat_map(|step| step.channels.clone()).collect();
                if whom.is_empty() || !is_known(member) {
                    whom.extend(held.settings.receivers.clone());
                }
                (crate::routing::expanded(&self.rules.configured, &whom), remark.clone())
            }
        };
        // Somebody is on it already: nobody is woken for that.
        let receivers = if member.state == "acknowledged" { awake(receivers) } else { receivers };
        // Another of its groups may have been told a moment ago, when the same mute ended: that makes it no other news here.
        let is_known_elsewhere = informed.iter().any(|it| it.is_earlier || self.why == why);
        let is_news = (!is_known(member) && !is_known_elsewhere) || member.renewed;
        if receivers.is_empty() || (is_news && *why == Why::Worse) {
            // Where nobody knows yet, or people think that somebody is on it, it is told like any other.
            return Ok(false);
        }
        let problem = Details::read(member.details.clone())?.problem;
        let notification = Notification {
            kind: NotificationKind::Escalated,
            at: self.now,
            problems: vec![problem],
            more: 0,
            group: None,
            is_part: held.has_several().await?,
            remark: Some(remark),
        };
        held.send(&notification, &receivers, event_id).await?;
        held.add_told(&receivers);
        if !is_known(member) || member.renewed {
            member.told = Some(member.state.clone());
            member.renewed = false;
        }
        // That was a repetition, too.
        let repeat = held.settings.repeat_interval_seconds.map(|seconds| TimeDelta::seconds(seconds.into()));
        let is_due = |told: DateTime<Utc>| repeat.is_some_and(|repeat| told + repeat <= self.now);
        if held.group.last_told_at.is_none_or(is_due) {
            held.group.last_told_at = Some(self.now);
        }
        if *why == Why::Worse && member.state == "firing" {
            held.start_ladder(self.now).await?;
        }
        Ok(true)
    }
}

/// Stores where a problem stands; what is over and nobody was told of is forgotten.
pub(crate) async fn store(held: &Held<'_>, member: &Member, now: DateTime<Utc>) -> Result<(), StoreError> {
    if member.state == "resolved" && !is_known(member) && member.muted_by.is_none() {
        return groups::delete_member(held.transaction, held.group_key, &member.subject).await;
    }
    groups::upsert_member(held.transaction, held.group_key, member, now).await
}

/// Whether this problem only joins others that wait already: then there is nothing to count, however many they are.
fn is_looked_at_soon(held: &Held<'_>, member: &Member, now: DateTime<Utc>) -> bool {
    let joins = member.state == "firing" && !is_known(member) && member.muted_by.is_none();
    joins && is_due_soon(&held.group, held.settings.group_interval_seconds, now)
}

/// Whether a group is looked at as soon as its interval allows.
fn is_due_soon(group: &Group, interval_seconds: u32, now: DateTime<Utc>) -> bool {
    let interval = TimeDelta::seconds(interval_seconds.into());
    let Group { due_at, last_told_at, .. } = group;
    due_at.is_some_and(|due| due > now && last_told_at.is_none_or(|told| due <= told + interval))
}
