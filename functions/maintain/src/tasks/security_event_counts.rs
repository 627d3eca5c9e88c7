//! What bounds those requests. A count is read for an hour; a request that is noted late counts in its own time.

use chrono::TimeDelta;
use shared::store::retention;

use super::Task;
use crate::keep::Keep;

pub(super) const TASK: Task =
    Task { name: "security_event_counts", keep: Keep::For(TimeDelta::days(1)), rows: retention::SECURITY_EVENT_COUNTS };
