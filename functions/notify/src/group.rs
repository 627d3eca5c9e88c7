//! Whether people are told of a group now, and when to look again: Alertmanager's table, over counts. Pure.
//!
//! - Told at once: the first problem (after the group's wait), the end of all, and that somebody is on it.
//! - Told with the group's interval after what was told last: problems that joined, and those of several that ended.
//! - Told again after the repeat interval, while nobody has reacted.
//! - Never told: the end of what nobody was told of.
//!
//! Two differences to Alertmanager: what fired and ended between two messages is not told even while others fire, and
//! acknowledgements, which it does not know.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::routing::Settings;

/// The problems of a group, as many as there are of each. Those that are muted are left out, but for the last two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Not over.
    pub active: i64,
    /// Not over, and nobody is on it.
    pub unacknowledged: i64,
    /// Not over, and people don't know.
    pub new: i64,
    /// People think that it is not over.
    pub known: i64,
    /// People think that it is not over, but it is.
    pub ended: i64,
    /// People think that nobody is on it, but somebody is.
    pub taken: i64,
    /// Muted, not over, and people know.
    pub muted_known: i64,
    /// Muted, over, and people think that it is not.
    pub muted_ended: i64,
}

impl Counts {
    /// Whether people think that something is not over.
    #[must_use]
    pub fn is_known(self) -> bool {
        self.known + self.muted_known + self.muted_ended > 0
    }
}

/// When the group was told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// When the first problem came that nobody was told of.
    pub first_seen_at: DateTime<Utc>,
    /// When people were told of something last.
    pub last_told_at: Option<DateTime<Utc>>,
}

/// What is told of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tell {
    /// Something that people did not know.
    Firing,
    /// How it stands: some of it is over.
    Update,
    /// It still is as it was.
    Repeat,
    /// Somebody is on it.
    Acknowledged,
    /// All of it is over.
    Resolved,
}

/// What is to be done about a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// What is told now.
    pub tell: Option<Tell>,
    /// When to decide again, if nothing is heard until then.
    pub next_at: Option<DateTime<Utc>>,
}

/// What is to be done about a group now.
#[must_use]
pub fn decide(counts: Counts, clock: Clock, settings: &Settings, now: DateTime<Utc>) -> Decision {
    let mut next_at: Option<DateTime<Utc>> = None;
    for (tell, at) in wishes(counts, clock, settings) {
        if at <= now {
            let (counts, clock) = after(tell, counts, clock, now);
            let next_at = wishes(counts, clock, settings).map(|(_, at)| at).min();
            return Decision { tell: Some(tell), next_at };
        }
        next_at = Some(next_at.map_or(at, |next| next.min(at)));
    }
    Decision { tell: None, next_at }
}

/// What there is to tell and from when on, the most important first.
fn wishes(counts: Counts, clock: Clock, settings: &Settings) -> impl Iterator<Item = (Tell, DateTime<Utc>)> + use<> {
    let began = clock.first_seen_at;
    let told = clock.last_told_at.unwrap_or(began);
    let interval = told + seconds(settings.group_interval_seconds);
    // The end of what is muted is told with the mute's: the group goes on until then.
    let is_over = counts.active + counts.muted_known + counts.muted_ended == 0;
    let joined = if counts.is_known() { interval } else { began + seconds(settings.group_wait_seconds) };
    let repeat = settings.repeat_interval_seconds.filter(|_| counts.unacknowledged > 0 && counts.known > 0);
    [
        (counts.ended > 0 && is_over).then_some((Tell::Resolved, DateTime::<Utc>::MIN_UTC)),
        (counts.new > 0).then_some((Tell::Firing, joined)),
        (counts.taken > 0).then_some((Tell::Acknowledged, DateTime::<Utc>::MIN_UTC)),
        (counts.ended > 0 && !is_over).then_some((Tell::Update, interval)),
        // As in Alertmanager, nothing is repeated before the group's interval.
        repeat.map(|repeat| (Tell::Repeat, told + seconds(repeat.max(settings.group_interval_seconds)))),
    ]
    .into_iter()
    .flatten()
}

/// How it stands once that is told.
fn after(tell: Tell, counts: Counts, clock: Clock, now: DateTime<Utc>) -> (Counts, Clock) {
    match tell {
        // Only that is told of it: what waits for its time goes on waiting.
        Tell::Acknowledged => (Counts { taken: 0, ..counts }, clock),
        _ => {
            let told = Counts { new: 0, ended: 0, taken: 0, known: counts.active, ..counts };
            (told, Clock { last_told_at: Some(now), ..clock })
        }
    }
}

fn seconds(seconds: u32) -> TimeDelta {
    TimeDelta::from_std(Duration::from_secs(seconds.into())).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests;
