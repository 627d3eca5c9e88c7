//! Delivery keys of reports that no sender retries any more.

use shared::store::retention;

use super::Task;
use crate::keep::{self, Keep};

pub(super) const TASK: Task =
    Task { name: "report_keys", keep: Keep::As(&keep::REPORT_KEYS), rows: retention::REPORT_KEYS };
