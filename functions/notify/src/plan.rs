//! What [`decide`](crate::decide) takes and returns: a snapshot of a group, and the plan of what is written about it.

use chrono::{DateTime, Utc};
use serde_json::Value;
use shared::model::{EscalationPolicy, Receiver, Subject};
use shared::store::notifications::groups::Progress;
use shared::store::notifications::informed::Informed;
use shared::store::notifications::members::{Counts, Member, Named, Notified};

use crate::decide::joins_waiting;
use crate::notification::NotificationKind;
use crate::routing::Settings;

/// Why a subject is evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// An event said that it has changed.
    Event,
    /// Its severity was raised: its routes are evaluated again, and receivers that don't know of it are added.
    SeverityRaised,
    /// Healing gave up: the receivers of all escalation steps are notified; without a policy all of the group.
    HealFailed {
        /// What was tried.
        remark: String,
    },
}

/// A locked group: all that a decision needs.
#[derive(Debug)]
pub(crate) struct Snapshot<'a> {
    pub(crate) progress: &'a Progress,
    pub(crate) settings: &'a Settings,
    /// The members but for the changed one.
    pub(crate) counts: Counts,
    /// The `PagerDuty` receivers whose incident is acknowledged.
    pub(crate) acknowledged_pages: Vec<Receiver>,
    pub(crate) change: Change,
}

/// What has changed in a group.
#[derive(Debug)]
pub(crate) enum Change {
    /// Nothing: it is due.
    None,
    /// This member's incident or alert was deleted.
    Deleted(Subject),
    /// A member is new, or as it is now.
    Updated(Box<Update>),
}

/// A member as it is now.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    pub(crate) member: Member,
    /// Whether it was no member before.
    pub(crate) is_new: bool,
    /// Whether it was muted before.
    pub(crate) was_muted: bool,
    pub(crate) trigger: Trigger,
    /// The receivers that know of it by any group; read only if it [may add receivers](Self::may_add_receivers).
    pub(crate) informed: Vec<Informed>,
}

impl Update {
    /// Whether receivers may be notified of it that don't know of it. What changed while it was muted may have become more
    /// severe, or have ended and come back.
    pub(crate) fn may_add_receivers(&self) -> bool {
        let is_reason = self.trigger != Trigger::Event || self.was_muted;
        is_reason && self.member.is_active() && self.member.muted_by.is_none()
    }

    /// Whether it only joins others that wait already: then nothing needs to be counted, however many they are.
    pub(crate) fn only_waits(&self, progress: &Progress, settings: &Settings, now: DateTime<Utc>) -> bool {
        !self.may_add_receivers() && joins_waiting(&self.member, progress, settings, now)
    }
}

/// What is written about a group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) member: Option<MemberChange>,
    /// In their order.
    pub(crate) notifications: Vec<Planned>,
    pub(crate) mark: Option<Notified>,
    pub(crate) escalation: Vec<EscalationChange>,
    pub(crate) progress: Progress,
}

/// What is written about the changed member.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum MemberChange {
    Store(Box<Member>),
    Delete(Subject),
}

/// What happens to a group's escalation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EscalationChange {
    Start { policy: EscalationPolicy, restarts: bool },
    RestartEnded(EscalationPolicy),
    End,
}

/// A notification to these receivers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Planned {
    pub(crate) kind: NotificationKind,
    pub(crate) about: About,
    /// Whether it leaves out problems that people know of.
    pub(crate) is_part: bool,
    pub(crate) remark: Option<String>,
    pub(crate) receivers: Vec<Receiver>,
    pub(crate) key: Key,
}

/// The problems that a notification names.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum About {
    /// This one.
    One(Value),
    /// Those of the group.
    Group(Named),
    /// Those of the group, all in the state that the kind says: only `PagerDuty`, which reads the kind, gets it.
    Pages(Named),
}

/// What makes a notification the same if its event is delivered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// The event.
    Event,
    /// The event, if the group was not notified of it before: it may be delivered again when the group has changed.
    Unused,
    /// As `Unused`, but before the notification that reopens an incident of `PagerDuty`.
    Reopening,
    /// A new one: the progress of the group says that it was sent.
    New,
}
