//! The rounds' own results, `monitoring_checks`.

use shared::store::retention;

use super::Task;
use crate::keep::{self, Keep};

pub(super) const TASK: Task =
    Task { name: "monitoring_checks", keep: Keep::As(&keep::CHECKS), rows: retention::MONITORING_CHECKS };
