//! The counters that bound `security_events`. A counter is read for an hour; a refusal that is stored late counts in its own
//! hour.

use chrono::TimeDelta;
use shared::store::retention;

use super::Task;
use crate::keep::Keep;

pub(super) const TASK: Task =
    Task { name: "security_event_counts", keep: Keep::For(TimeDelta::days(1)), rows: retention::SECURITY_EVENT_COUNTS };
