//! Results of checks, added up by hour.

use shared::store::retention;

use super::Task;
use crate::keep::{self, Keep};

pub(super) const TASK: Task =
    Task { name: "hourly_rollups", keep: Keep::As(&keep::ROLLUPS), rows: retention::HOURLY_ROLLUPS };
