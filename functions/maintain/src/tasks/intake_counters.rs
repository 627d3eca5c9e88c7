//! Intake counters, by hour.

use shared::store::retention;

use super::Task;
use crate::keep::{self, Keep};

pub(super) const TASK: Task =
    Task { name: "intake_counters", keep: Keep::As(&keep::INTAKE_COUNTERS), rows: retention::INTAKE_COUNTERS };
