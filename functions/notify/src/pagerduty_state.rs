//! The incident that `PagerDuty` has for a group, as a state machine. Pure.
//!
//! Unlike any other channel, `PagerDuty` keeps a state of its own: it pages until the incident is acknowledged or resolved there,
//! pages again for nothing that joins an acknowledged incident, and a trigger after the end opens a new incident. So it gets
//! updates that no other receiver gets, and lacks some that all others get.

use shared::model::{Channel, Receiver};
use shared::store::notifications::members::Counts;
use uuid::Uuid;

use crate::decide::schedule::Step;
use crate::notification::{Notification, NotificationKind, ProblemState};

/// The incident of a group at one receiver, by what was sent last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Incident {
    /// There is none.
    Closed,
    /// It pages.
    Triggered,
    /// It does not page any more.
    Acknowledged,
}

impl Incident {
    /// The incident of a group that has notified these receivers.
    pub(crate) fn of(page: &Receiver, notified: &[Receiver], acknowledged: &[Receiver]) -> Self {
        match notified.contains(page) {
            true if acknowledged.contains(page) => Self::Acknowledged,
            true => Self::Triggered,
            false => Self::Closed,
        }
    }
}

/// What happens to an incident there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// It pages; opens it, if it is closed.
    Trigger,
    /// It ends the paging.
    Acknowledge,
    /// It closes the incident.
    Resolve,
}

impl Action {
    /// The Events API's spelling.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Trigger => "trigger",
            Self::Acknowledge => "acknowledge",
            Self::Resolve => "resolve",
        }
    }
}

/// The actions that follow when a group takes this step, in order.
pub(crate) fn actions(incident: Incident, step: Step, counts: Counts) -> &'static [Action] {
    let is_open = incident != Incident::Closed;
    let is_acknowledged = counts.unacknowledged == 0;
    match step {
        // It pages for nothing that joins an acknowledged incident: only a new one does.
        Step::Firing if !is_acknowledged && incident == Incident::Acknowledged => &[Action::Resolve, Action::Trigger],
        Step::Firing if !is_acknowledged => &[Action::Trigger],
        Step::Repeat => &[Action::Trigger],
        // What is left open is acknowledged already.
        Step::Update if is_acknowledged && counts.active > 0 && incident == Incident::Triggered => {
            &[Action::Acknowledge]
        }
        // A page that others still wait for goes on.
        Step::Acknowledged if is_acknowledged && is_open => &[Action::Acknowledge],
        Step::Resolved if is_open => &[Action::Resolve],
        Step::Firing | Step::Update | Step::Acknowledged | Step::Resolved => &[],
    }
}

/// The action that a notification is there; none: it is not sent. A trigger after the end would open a new incident.
pub(crate) fn action(notification: &Notification) -> Option<Action> {
    let any = |state: ProblemState| notification.problems.iter().any(|problem| problem.state == state);
    let is_firing = any(ProblemState::Firing);
    let is_open = is_firing || any(ProblemState::Acknowledged);
    match notification.kind {
        NotificationKind::Summary => None,
        NotificationKind::Resolved if !is_open => Some(Action::Resolve),
        NotificationKind::Acknowledged if !is_firing => Some(Action::Acknowledge),
        NotificationKind::Heal | NotificationKind::Digest if !is_open => None,
        _ => Some(Action::Trigger),
    }
}

/// Splits receivers into those on `PagerDuty` and the rest.
pub(crate) fn split(receivers: Vec<Receiver>) -> (Vec<Receiver>, Vec<Receiver>) {
    receivers.into_iter().partition(|receiver| receiver.channel() == Channel::PagerDuty)
}

/// The event's id in a notification to `PagerDuty`: it has an incident for each group, so it gets one notification of an event
/// for each group. For other receivers one is enough.
pub(crate) fn event_id(event_id: Uuid, group_key: &str) -> Uuid {
    Uuid::new_v5(&event_id, group_key.as_bytes())
}

/// Whether a receiver may have an incident although no notification of it counts as sent: the answer may have been lost. An
/// unneeded resolve does no harm there.
pub(crate) fn may_be_open(channel: Channel, was_tried: bool) -> bool {
    channel == Channel::PagerDuty && was_tried
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Action::{Acknowledge, Resolve, Trigger};
    use super::*;

    fn counts(active: i64, unacknowledged: i64) -> Counts {
        Counts { active, unacknowledged, ..Counts::default() }
    }

    #[test]
    fn each_step_has_its_actions() {
        use Incident::{Acknowledged, Closed, Triggered};
        for (incident, step, active, unacknowledged, wanted) in [
            (Closed, Step::Firing, 1, 1, &[Trigger][..]),
            (Triggered, Step::Firing, 2, 2, &[Trigger][..]),
            (Acknowledged, Step::Firing, 2, 1, &[Resolve, Trigger][..]),
            (Acknowledged, Step::Firing, 2, 0, &[][..]),
            (Closed, Step::Firing, 1, 0, &[][..]),
            (Triggered, Step::Repeat, 1, 1, &[Trigger][..]),
            (Triggered, Step::Update, 1, 1, &[][..]),
            (Triggered, Step::Update, 1, 0, &[Acknowledge][..]),
            (Acknowledged, Step::Update, 1, 0, &[][..]),
            (Triggered, Step::Update, 0, 0, &[][..]),
            (Triggered, Step::Acknowledged, 1, 0, &[Acknowledge][..]),
            (Triggered, Step::Acknowledged, 2, 1, &[][..]),
            (Triggered, Step::Resolved, 0, 0, &[Resolve][..]),
            (Acknowledged, Step::Resolved, 0, 0, &[Resolve][..]),
            (Closed, Step::Resolved, 0, 0, &[][..]),
        ] {
            let found = actions(incident, step, counts(active, unacknowledged));
            assert_eq!(found, wanted, "{incident:?} {step:?} {active} {unacknowledged}");
        }
    }

    proptest! {
        #[test]
        fn it_pages_exactly_while_something_is_unacknowledged(
            steps in prop::collection::vec((prop::sample::select(Step::ALL.to_vec()), 0..3_i64, 0..3_i64), 1..20),
        ) {
            let mut incident = Incident::Closed;
            for (step, active, unacknowledged) in steps {
                let is_possible = match step {
                    Step::Firing => active > 0,
                    Step::Repeat => unacknowledged > 0 && incident != Incident::Closed,
                    Step::Update | Step::Acknowledged => active > 0 && incident != Incident::Closed,
                    Step::Resolved => active == 0,
                };
                if unacknowledged > active || !is_possible {
                    continue;
                }
                let before = incident;
                for action in actions(incident, step, counts(active, unacknowledged)) {
                    incident = match (action, incident) {
                        (Trigger, Incident::Acknowledged) => Incident::Acknowledged,
                        (Trigger, _) => Incident::Triggered,
                        (Acknowledge, Incident::Closed) | (Resolve, _) => Incident::Closed,
                        (Acknowledge, _) => Incident::Acknowledged,
                    };
                }
                match step {
                    Step::Firing if unacknowledged > 0 => prop_assert_eq!(incident, Incident::Triggered),
                    Step::Resolved => prop_assert_eq!(incident, Incident::Closed),
                    Step::Acknowledged if unacknowledged == 0 => prop_assert_eq!(incident, Incident::Acknowledged),
                    Step::Firing => prop_assert_eq!(incident, before, "nothing to page for"),
                    Step::Repeat | Step::Update | Step::Acknowledged => {}
                }
            }
        }
    }
}
