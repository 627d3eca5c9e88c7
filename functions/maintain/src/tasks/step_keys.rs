//! Delivery keys of steps that no sender retries any more.

use shared::store::retention;

use super::Task;
use crate::keep::{self, Keep};

pub(super) const TASK: Task = Task { name: "step_keys", keep: Keep::As(&keep::STEP_KEYS), rows: retention::STEP_KEYS };
