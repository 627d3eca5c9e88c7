//! Requests that were refused.

use shared::store::retention;

use super::Task;
use crate::keep::{self, Keep};

pub(super) const TASK: Task =
    Task { name: "security_events", keep: Keep::As(&keep::SECURITY_EVENTS), rows: retention::SECURITY_EVENTS };
