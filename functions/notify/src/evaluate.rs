//! Evaluates a group: locks it, loads a snapshot of it, decides and writes the plan, in one transaction.
//!
//! An event only says what to evaluate; what is notified is what is true now. So an event that comes twice, late or out of order
//! notifies nothing twice and nothing wrong.

use chrono::{DateTime, Utc};
use shared::model::{Subject, uuid_at};
use shared::store::notifications::informed;
use shared::store::notifications::members::{self, Counted, Member};
use shared::store::notifications::subjects::{self, Present};
use shared::store::{StoreError, Transaction};
use uuid::Uuid;

use crate::App;
use crate::apply::LockedGroup;
use crate::decide::decide;
use crate::membership::{GroupRef, groups_to_evaluate, join, may_join};
use crate::plan::{Change, Trigger, Update};
use crate::problem;
use crate::refresh::refresh;
use crate::rules::Rules;

/// Evaluates a subject in each of its groups.
pub(crate) async fn run(
    app: &App,
    rules: &Rules,
    subject: &Subject,
    trigger: &Trigger,
    event_id: Uuid,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let (present, groups) = groups_to_evaluate(app, rules, subject, trigger, now).await?;
    let is_new = groups.iter().any(|group| matches!(group, GroupRef::Routed(_)));
    // A raised severity evaluates the routes again each time.
    if is_new && groups.len() > 1 && *trigger != Trigger::SeverityRaised {
        join(app, rules, subject, &groups, now).await?;
    }
    for group in &groups {
        let before = present.as_ref();
        Evaluation { rules, group, subject, trigger, before, event_id: Some(event_id), now }.run(app).await?;
    }
    Ok(())
}

/// Evaluates a group that is due.
pub(crate) async fn run_due(app: &App, rules: &Rules, group_key: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
    let group = &GroupRef::Existing(group_key.to_owned());
    app.store
        .transaction(|mut client| async move {
            let transaction = client.transaction().await?;
            let locked = LockedGroup::lock(&transaction, group, now).await?;
            let is_due = |locked: &LockedGroup<'_>| locked.progress.due_at.is_some_and(|due| due <= now);
            let Some(locked) = locked.filter(is_due) else { return Ok(()) };
            refresh(&locked, rules, now).await?;
            let snapshot = locked.snapshot(locked.count(None).await?, Change::None);
            let Some(plan) = decide(&snapshot, rules, now) else { return Ok(()) };
            locked.apply(plan, uuid_at(now), now).await?;
            Ok(transaction.commit().await?)
        })
        .await
}

/// The evaluation of a subject in one of its groups.
pub(crate) struct Evaluation<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) group: &'a GroupRef,
    pub(crate) subject: &'a Subject,
    pub(crate) trigger: &'a Trigger,
    /// The subject as it was a moment ago, where that is known.
    pub(crate) before: Option<&'a Present>,
    /// What happened; none = its mute has ended, or an event was missed.
    pub(crate) event_id: Option<Uuid>,
    pub(crate) now: DateTime<Utc>,
}

impl Evaluation<'_> {
    pub(crate) async fn run(&self, app: &App) -> Result<(), StoreError> {
        app.store
            .transaction(|mut client| async move {
                let transaction = client.transaction().await?;
                if self.run_in(&transaction).await? {
                    transaction.commit().await?;
                }
                Ok(())
            })
            .await
    }

    /// Whether there is something to commit.
    async fn run_in(&self, transaction: &Transaction<'_>) -> Result<bool, StoreError> {
        let Some(locked) = LockedGroup::lock(transaction, self.group, self.now).await? else { return Ok(false) };
        let (present, known) = tokio::try_join!(
            subjects::find_within(transaction, self.subject, self.before),
            members::find(transaction, locked.key, self.subject)
        )?;
        let new_id = uuid_at(self.now);
        let (change, event_id) = match present {
            // What is deleted neither goes on nor ends.
            None => (Change::Deleted(self.subject.clone()), new_id),
            Some(present) if known.is_none() && !may_join(&present) => return Ok(false),
            Some(present) => {
                let update = self.update(transaction, &present, known.as_ref()).await?;
                (Change::Updated(Box::new(update)), self.event_id.unwrap_or(new_id))
            }
        };
        let counted = match &change {
            Change::Updated(update) if update.only_waits(&locked.progress, &locked.settings, self.now) => {
                Counted::default()
            }
            _ => locked.count(Some(self.subject)).await?,
        };
        let Some(plan) = decide(&locked.snapshot(counted, change), self.rules, self.now) else { return Ok(false) };
        locked.apply(plan, event_id, self.now).await?;
        Ok(true)
    }

    async fn update(
        &self,
        transaction: &Transaction<'_>,
        present: &Present,
        known: Option<&Member>,
    ) -> Result<Update, StoreError> {
        let member = problem::member(self.rules, self.subject, present, known, self.now)?;
        let mut update = Update {
            member,
            is_new: known.is_none(),
            was_muted: known.is_some_and(|known| known.muted_by.is_some()),
            trigger: self.trigger.clone(),
            informed: Vec::new(),
        };
        if update.may_add_receivers() {
            update.informed = informed::list_of_subject(transaction, self.subject, self.now).await?;
        }
        Ok(update)
    }
}
