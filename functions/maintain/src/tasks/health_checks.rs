//! Results of checks, one a service, region and slot.

use shared::store::retention;

use super::Task;
use crate::keep::{self, Keep};

pub(super) const TASK: Task =
    Task { name: "health_checks", keep: Keep::As(&keep::CHECKS), rows: retention::HEALTH_CHECKS };
