//! Quota counters of applications, by window.

use shared::store::retention;

use super::Task;
use crate::keep::{self, Keep};

pub(super) const TASK: Task =
    Task { name: "quota_counters", keep: Keep::As(&keep::QUOTA_COUNTERS), rows: retention::QUOTA_COUNTERS };
