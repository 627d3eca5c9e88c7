//! The tasks, one file each: which rows are deleted.

mod check_ins;
mod daily_rollups;
mod health_checks;
mod hourly_rollups;
mod intake_counters;
mod monitoring_checks;
mod notification_groups;
mod notifications;
mod published_events;
mod quota_counters;
mod report_keys;
mod security_event_counts;
mod security_events;
mod silences;
mod step_keys;

use shared::store::retention::Rows;

use crate::keep::Keep;

/// Rows that age, and how long they are kept.
pub(crate) struct Task {
    /// Its name in logs.
    pub(crate) name: &'static str,
    pub(crate) keep: Keep,
    pub(crate) rows: Rows,
}

/// In the order of their turns.
pub(crate) const ALL: [Task; 15] = [
    health_checks::TASK,
    monitoring_checks::TASK,
    hourly_rollups::TASK,
    daily_rollups::TASK,
    security_events::TASK,
    security_event_counts::TASK,
    report_keys::TASK,
    step_keys::TASK,
    published_events::TASK,
    notification_groups::TASK,
    notifications::TASK,
    silences::TASK,
    check_ins::TASK,
    intake_counters::TASK,
    quota_counters::TASK,
];
