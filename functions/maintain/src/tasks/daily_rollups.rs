//! Results of checks, added up by day.

use shared::store::retention;

use super::Task;
use crate::keep::{self, Keep};

pub(super) const TASK: Task =
    Task { name: "daily_rollups", keep: Keep::As(&keep::ROLLUPS), rows: retention::DAILY_ROLLUPS };
