//! What is decided about a group is written here, in the transaction that holds its lock: messages, what people know of its
//! problems, when it is looked at again, its ladder.

use chrono::{DateTime, Utc};
use shared::model::{Channel, Receiver, uuid_at};
use shared::store::notifications::groups::{self, Counted, Group, Named, Told};
use shared::store::notifications::{escalation, queue};
use shared::store::{StoreError, Transaction};
use uuid::Uuid;

use crate::group::{Clock, Counts, Decision, Tell, decide};
use crate::notification::{Notification, NotificationKind, ProblemState};
use crate::problem::Details;
use crate::routing::{Settings, dedup_key};

/// How an incident of `PagerDuty` stands, by what it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PageState {
    /// It may wake people.
    Open,
    /// Somebody is on it.
    Acknowledged,
}

/// A group under its lock.
pub(crate) struct Held<'a> {
    pub(crate) transaction: &'a Transaction<'a>,
    pub(crate) group_key: &'a str,
    pub(crate) group: Group,
    pub(crate) settings: Settings,
}

impl<'a> Held<'a> {
    pub(crate) fn new(transaction: &'a Transaction<'a>, group_key: &'a str, group: Group) -> Result<Self, StoreError> {
        let settings = serde_json::from_value(group.settings.clone());
        let settings = settings.map_err(StoreError::internal)?;
        Ok(Self { transaction, group_key, group, settings })
    }

    /// Decides what is told of the group now, and writes it.
    pub(crate) async fn decide(&mut self, event_id: Uuid, now: DateTime<Utc>) -> Result<(), StoreError> {
        let counted = groups::count_members(self.transaction, self.group_key).await?;
        let counts = counts(counted);
        if !counts.is_known() && self.group.due_at.is_none() {
            self.group.first_seen_at = now;
        }
        let clock = Clock { first_seen_at: self.group.first_seen_at, last_told_at: self.group.last_told_at };
        let Decision { tell, next_at } = decide(counts, clock, &self.settings, now);
        let ends_ladder = self.settings.escalation.is_some() && counts.unacknowledged + counts.muted_known == 0;
        let handled_by = if ends_ladder { self.handled_by().await? } else { None };
        if let Some(tell) = tell {
            // An event that comes again, when the group stands elsewhere by now: that is another thing to tell.
            let ids = [event_id, self.paged(event_id)];
            let is_spent = groups::has_told(self.transaction, self.group_key, &ids).await?;
            let event_id = if is_spent { uuid_at(now) } else { event_id };
            self.tell(tell, counts, event_id, now).await?;
            // Whoever acknowledges one thing does not keep back the next.
            if tell != Tell::Acknowledged {
                self.group.last_told_at = Some(now);
            }
        }
        if counts.active + counts.muted_known == 0 && counts.muted_ended > 0 {
            self.end_pages(Named::EndedMuted, now).await?;
        }
        self.group.due_at = next_at;
        if ends_ladder {
            escalation::end(self.transaction, self.group_key, handled_by.as_deref(), now).await?;
        } else if let Some(policy) = &self.settings.escalation
            && counts.unacknowledged > counts.new
        {
            // What people know of is back before they were told that it was over. What is new begins it when it is told.
            escalation::revive(self.transaction, self.group_key, policy, now).await?;
        }
        groups::update(self.transaction, self.group_key, &self.group).await
    }

    async fn tell(&mut self, tell: Tell, counts: Counts, event_id: Uuid, now: DateTime<Utc>) -> Result<(), StoreError> {
        let (kind, named, told) = match tell {
            // It tells those that are over too: nothing else will.
            Tell::Firing if counts.ended > 0 => (NotificationKind::Firing, Named::Changed, Told::All),
            Tell::Firing => (NotificationKind::Firing, Named::Active, Told::All),
            Tell::Update => (NotificationKind::Repeat, Named::Changed, Told::All),
            Tell::Repeat => (NotificationKind::Repeat, Named::Active, Told::All),
            Tell::Acknowledged => (NotificationKind::Acknowledged, Named::Taken, Told::Taken),
            Tell::Resolved => (NotificationKind::Resolved, Named::Ended, Told::All),
        };
        let names_both = named == Named::Changed;
        let muted = counts.muted_known + counts.muted_ended;
        let all = counts.active + counts.ended + muted;
        let remark = names_both.then(|| format!("{} of {all} are over", counts.ended + counts.muted_ended));
        let mut notification = self.notification(kind, named, remark, now).await?;
        notification.is_part = match tell {
            Tell::Acknowledged => is_part(counts),
            Tell::Update => muted > 0,
            Tell::Firing | Tell::Repeat | Tell::Resolved => false,
        };
        let known = self.told();
        match tell {
            Tell::Firing if counts.unacknowledged > 0 => self.page_anew(event_id, now).await?,
            Tell::Update if counts.unacknowledged == 0 && counts.active > 0 => self.take_pages(event_id, now).await?,
            _ => {}
        }
        let receivers = match tell {
            // Somebody is on it already: nobody is woken for that.
            Tell::Firing if counts.unacknowledged == 0 => awake(self.settings.receivers.clone()),
            Tell::Firing => self.settings.receivers.clone(),
            Tell::Update => awake(known),
            Tell::Repeat | Tell::Resolved => known,
            // A page that others still wait for is not taken from them.
            Tell::Acknowledged if counts.unacknowledged > 0 => awake(known),
            Tell::Acknowledged => known,
        };
        self.send(&notification, &receivers, event_id).await?;
        match tell {
            Tell::Firing => {
                self.add_told(&receivers);
                if let Some(policy) = self.settings.escalation.as_ref().filter(|_| counts.unacknowledged > 0) {
                    escalation::start(self.transaction, self.group_key, policy, !counts.is_known(), now).await?;
                }
            }
            Tell::Resolved => self.group.told.clear(),
            Tell::Update | Tell::Repeat | Tell::Acknowledged => {}
        }
        groups::mark_told(self.transaction, self.group_key, told).await
    }

    /// `PagerDuty` wakes nobody about what is acknowledged there. Where something new joins that, it is ended there first, so
    /// that the next message opens it again.
    async fn page_anew(&self, event_id: Uuid, now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut taken = self.pages(PageState::Acknowledged).await?;
        taken.retain(|page| self.settings.receivers.contains(page));
        let event_id = Uuid::new_v5(&event_id, b"anew");
        self.tell_pages(&taken, NotificationKind::Resolved, Named::Active, event_id, now).await
    }

    /// What was left is taken by somebody already: `PagerDuty` should wake nobody else.
    async fn take_pages(&self, event_id: Uuid, now: DateTime<Utc>) -> Result<(), StoreError> {
        let open = self.pages(PageState::Open).await?;
        self.tell_pages(&open, NotificationKind::Acknowledged, Named::Active, event_id, now).await
    }

    /// All is over, and people hear of some of it only with the end of a silence. `PagerDuty` would go on waking them until
    /// then; an end wakes nobody there.
    async fn end_pages(&mut self, named: Named, now: DateTime<Utc>) -> Result<(), StoreError> {
        let known = self.told();
        let (pages, others): (Vec<_>, Vec<_>) = known.into_iter().partition(|it| it.channel() == Channel::PagerDuty);
        // Once, because it is written down under the group's lock who knows: an event may have told them something already.
        self.tell_pages(&pages, NotificationKind::Resolved, named, timed_event(now), now).await?;
        self.group.told = others.iter().map(ToString::to_string).collect();
        Ok(())
    }

    /// What people knew of is deleted. Where nothing is left, `PagerDuty` would hear of no end any more.
    pub(crate) async fn end_forgotten(&mut self, now: DateTime<Utc>) -> Result<(), StoreError> {
        if !counts(groups::count_members(self.transaction, self.group_key).await?).is_known() {
            self.end_pages(Named::Ended, now).await?;
            self.group.told.clear();
        }
        self.decide(timed_event(now), now).await
    }

    /// Those on `PagerDuty` who know of the group and whose incident there stands so.
    async fn pages(&self, state: PageState) -> Result<Vec<Receiver>, StoreError> {
        let mut pages: Vec<_> = self.told().into_iter().filter(|it| it.channel() == Channel::PagerDuty).collect();
        if !pages.is_empty() {
            let taken = queue::list_acknowledged_pages(self.transaction, self.group_key).await?;
            let is_taken = |page: &Receiver| taken.iter().any(|recipient| recipient == page.recipient());
            pages.retain(|page| is_taken(page) == (state == PageState::Acknowledged));
        }
        Ok(pages)
    }

    /// Tells these how their incident is changed. `PagerDuty` reads of such a message only what is done; its problems are for
    /// who lists messages here.
    async fn tell_pages(
        &self,
        pages: &[Receiver],
        kind: NotificationKind,
        named: Named,
        event_id: Uuid,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        if pages.is_empty() {
            return Ok(());
        }
        let mut notification = self.notification(kind, named, None, now).await?;
        let state =
            if kind == NotificationKind::Resolved { ProblemState::Resolved } else { ProblemState::Acknowledged };
        notification.problems.iter_mut().for_each(|problem| problem.state = state);
        self.send(&notification, pages, event_id).await
    }

    /// What is said of the group's problems.
    pub(crate) async fn notification(
        &self,
        kind: NotificationKind,
        named: Named,
        remark: Option<String>,
        now: DateTime<Utc>,
    ) -> Result<Notification, StoreError> {
        let (members, total) =
            groups::list_members(self.transaction, self.group_key, named, Notification::PROBLEMS).await?;
        let problems = members.into_iter().map(|it| Ok(Details::read(it.details)?.problem));
        let mut problems = problems.collect::<Result<Vec<_>, StoreError>>()?;
        problems.sort_by_key(|problem| (problem.state == ProblemState::Resolved, std::cmp::Reverse(problem.severity)));
        let more = usize::try_from(total).unwrap_or(0).saturating_sub(problems.len());
        Ok(Notification { kind, at: now, problems, more, group: self.settings.label.clone(), is_part: false, remark })
    }

    /// Stores a message for each of these receivers.
    pub(crate) async fn send(
        &self,
        notification: &Notification,
        receivers: &[Receiver],
        event_id: Uuid,
    ) -> Result<(), StoreError> {
        if receivers.is_empty() {
            return Ok(());
        }
        let content = serde_json::to_value(notification).map_err(StoreError::internal)?;
        let dedup_key = dedup_key(self.group_key);
        // PagerDuty knows each group by its own key, and ends only what it is told the end of: one message of an event for
        // each group. Elsewhere one is enough.
        let (pages, others): (Vec<_>, Vec<_>) =
            receivers.iter().cloned().partition(|receiver| receiver.channel() == Channel::PagerDuty);
        for (receivers, event_id) in [(others, event_id), (pages, self.paged(event_id))] {
            let message = queue::NewNotification {
                id: None,
                event_id,
                kind: notification.kind.as_str(),
                group_key: self.group_key,
                dedup_key: &dedup_key,
                content: &content,
            };
            if !receivers.is_empty() {
                queue::insert(self.transaction, &message, &receivers, notification.at).await?;
            }
        }
        Ok(())
    }

    /// The event's id in what is told of it to PagerDuty.
    fn paged(&self, event_id: Uuid) -> Uuid {
        Uuid::new_v5(&event_id, self.group_key.as_bytes())
    }

    /// Who knows of something in the group that is not over.
    pub(crate) fn told(&self) -> Vec<Receiver> {
        self.group.told.iter().filter_map(|text| Receiver::parse(text).ok()).collect()
    }

    /// Remembers that these know of it.
    pub(crate) fn add_told(&mut self, receivers: &[Receiver]) {
        for receiver in receivers.iter().map(ToString::to_string) {
            if !self.group.told.contains(&receiver) {
                self.group.told.push(receiver);
            }
        }
    }

    /// Whether a message about one problem leaves others of the group out.
    pub(crate) async fn has_several(&self) -> Result<bool, StoreError> {
        let Counted { active, ended, muted_known, muted_ended, .. } =
            groups::count_members(self.transaction, self.group_key).await?;
        Ok(active + ended + muted_known + muted_ended > 1)
    }

    /// Begins the group's ladder, if it has one and nobody is on it.
    pub(crate) async fn start_ladder(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        match &self.settings.escalation {
            Some(policy) => escalation::start(self.transaction, self.group_key, policy, false, now).await,
            None => Ok(()),
        }
    }

    /// Who has taken or ended what people know of.
    async fn handled_by(&self) -> Result<Option<String>, StoreError> {
        let (members, _) = groups::list_members(self.transaction, self.group_key, Named::Changed, 1).await?;
        let first = members.into_iter().next().map(|member| Details::read(member.details)).transpose()?;
        Ok(first.and_then(|details| details.problem.handled_by))
    }
}

/// The id of what is told because its time has come. Always a new one: it is told once because who tells it holds the
/// group's lock and writes down with it that it is told.
pub(crate) fn timed_event(now: DateTime<Utc>) -> Uuid {
    uuid_at(now)
}

/// Those of them whom a message does not wake.
pub(crate) fn awake(receivers: Vec<Receiver>) -> Vec<Receiver> {
    receivers.into_iter().filter(|receiver| !receiver.channel().is_page()).collect()
}

/// Whether a message about those that were taken leaves others of the group out.
fn is_part(counts: Counts) -> bool {
    counts.active + counts.ended + counts.muted_known + counts.muted_ended > counts.taken
}

pub(crate) fn counts(counted: Counted) -> Counts {
    let Counted { active, unacknowledged, new, known, ended, taken, muted_known, muted_ended } = counted;
    Counts { active, unacknowledged, new, known, ended, taken, muted_known, muted_ended }
}
