//! Whether a group is notified now, and when it is evaluated again: Alertmanager's table, over counts. Pure.
//!
//! - At once: the first problem (after the group's wait), the end of all, and an acknowledgement.
//! - After the group's interval: problems that joined, and those of several that ended.
//! - After the repeat interval: what is not acknowledged, again.
//! - Never: the end of what people don't know of.
//!
//! Two differences to Alertmanager: what fired and ended between two notifications is left out even while others fire, and
//! acknowledgements, which it does not have.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use shared::store::notifications::members::Counts;

use crate::routing::Settings;

/// When the group was notified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock {
    /// When the first problem came that people don't know of.
    pub(crate) first_seen_at: DateTime<Utc>,
    /// When people were notified last.
    pub(crate) last_notified_at: Option<DateTime<Utc>>,
}

/// What a group is notified of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// A new problem.
    Firing,
    /// Some of it is over.
    Update,
    /// It is open still.
    Repeat,
    /// It was acknowledged.
    Acknowledged,
    /// All of it is over.
    Resolved,
}

impl Step {
    /// Every step.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 5] = [Self::Firing, Self::Update, Self::Repeat, Self::Acknowledged, Self::Resolved];
}

/// What happens to a group next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Next {
    /// What it is notified of now.
    pub(crate) step: Option<Step>,
    /// When to evaluate it again, if no event comes before.
    pub(crate) due_at: Option<DateTime<Utc>>,
}

/// What happens to a group next, as of now.
pub(crate) fn next(counts: Counts, clock: Clock, settings: &Settings, now: DateTime<Utc>) -> Next {
    let mut due_at: Option<DateTime<Utc>> = None;
    for (step, at) in pending(counts, clock, settings) {
        if at <= now {
            let (counts, clock) = after(step, counts, clock, now);
            let due_at = pending(counts, clock, settings).map(|(_, at)| at).min();
            return Next { step: Some(step), due_at };
        }
        due_at = Some(due_at.map_or(at, |due| due.min(at)));
    }
    Next { step: None, due_at }
}

/// The steps that are pending and from when on they may be taken, the most important first.
fn pending(counts: Counts, clock: Clock, settings: &Settings) -> impl Iterator<Item = (Step, DateTime<Utc>)> + use<> {
    let began = clock.first_seen_at;
    let last = clock.last_notified_at.unwrap_or(began);
    let interval = last + seconds(settings.group_interval_seconds);
    // The end of what is muted is notified with the end of the mute: the group stays open until then.
    let is_over = counts.active + counts.muted_known + counts.muted_ended == 0;
    let joined = if counts.is_known() { interval } else { began + seconds(settings.group_wait_seconds) };
    let repeat = settings.repeat_interval_seconds.filter(|_| counts.unacknowledged > 0 && counts.known > 0);
    [
        (counts.ended > 0 && is_over).then_some((Step::Resolved, DateTime::<Utc>::MIN_UTC)),
        (counts.new > 0).then_some((Step::Firing, joined)),
        (counts.taken > 0).then_some((Step::Acknowledged, DateTime::<Utc>::MIN_UTC)),
        (counts.ended > 0 && !is_over).then_some((Step::Update, interval)),
        // As in Alertmanager, nothing is repeated before the group's interval.
        repeat.map(|repeat| (Step::Repeat, last + seconds(repeat.max(settings.group_interval_seconds)))),
    ]
    .into_iter()
    .flatten()
}

/// The counts and the clock after a step.
fn after(step: Step, counts: Counts, clock: Clock, now: DateTime<Utc>) -> (Counts, Clock) {
    match step {
        // The rest waits for its time.
        Step::Acknowledged => (Counts { taken: 0, ..counts }, clock),
        _ => {
            let counts = Counts { new: 0, ended: 0, taken: 0, known: counts.active, ..counts };
            (counts, Clock { last_notified_at: Some(now), ..clock })
        }
    }
}

fn seconds(seconds: u32) -> TimeDelta {
    TimeDelta::from_std(Duration::from_secs(seconds.into())).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests;
